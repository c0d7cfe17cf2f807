/**
 * What a cache keeps in its store, in the order of keys. Numbers are 8 bytes, most significant first, so that they order.
 *
 *   "m" key             facts of the entry: epoch, expiry (0: never), size in bytes
 *   "r" epoch key       the entries from the one that was used longest ago to the newest
 *   "v" key             the value
 *   "x" expiry key      the entries that expire, the next one first
 *
 * 1. The records of an entry are written and deleted together, in one batch: after a crash all of them are there, or none.
 * 2. An epoch is a stretch of time in which a part of the cache was written. An entry that is used is moved to the present
 *    epoch at most once in it, so that most uses write nothing.
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const FACTS = 0x6d;
const RECENCY = 0x72;
const VALUE = 0x76;
const EXPIRY = 0x78;
const NUMBER_SIZE = 8;

/** Longest key of an entry, in bytes: that of a store, less what stands before it. */
export const ENTRY_KEY_SIZE_MAX = 2048 - 1 - NUMBER_SIZE;

/** What is known of an entry beside its value. */
export interface Facts {
  /** When it was last used, as the number of an epoch. */
  epoch: number;
  /** Milliseconds since 1970, or 0. */
  expiresAt: number;
  /** Bytes of key and value. */
  size: number;
}

/** A key of an entry as bytes. */
export function bytesOfKey(key: string): Uint8Array {
  return encoder.encode(key);
}

export function factsKey(key: Uint8Array): Uint8Array {
  return joined(FACTS, undefined, key);
}

export function valueKey(key: Uint8Array): Uint8Array {
  return joined(VALUE, undefined, key);
}

export function recencyKey(epoch: number, key: Uint8Array): Uint8Array {
  return joined(RECENCY, epoch, key);
}

export function expiryKey(expiresAt: number, key: Uint8Array): Uint8Array {
  return joined(EXPIRY, expiresAt, key);
}

/** All facts, recency or expiry records, as a range; of the latter those that are due at a time. */
export const ALL_FACTS = { gte: Uint8Array.of(FACTS), lt: Uint8Array.of(FACTS + 1) };
export const ALL_RECENCY = { gte: Uint8Array.of(RECENCY), lt: Uint8Array.of(RECENCY + 1) };
export function dueBy(now: number): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: Uint8Array.of(EXPIRY), lt: expiryKey(now + 1, new Uint8Array(0)) };
}

/** The number and the entry's key in a recency or expiry record's key. */
export function partsOf(record: Uint8Array): { number: number; key: Uint8Array } {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  return { number: Number(view.getBigUint64(1)), key: record.slice(1 + NUMBER_SIZE) };
}

/** The key of an entry in its facts record's key. */
export function keyOfFacts(record: Uint8Array): string {
  return decoder.decode(record.subarray(1));
}

export function encodeFacts({ epoch, expiresAt, size }: Facts): Uint8Array {
  const bytes = new Uint8Array(3 * NUMBER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(epoch));
  view.setBigUint64(NUMBER_SIZE, BigInt(expiresAt));
  view.setBigUint64(2 * NUMBER_SIZE, BigInt(size));
  return bytes;
}

export function decodeFacts(bytes: Uint8Array): Facts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const number = (index: number): number => Number(view.getBigUint64(index * NUMBER_SIZE));
  return { epoch: number(0), expiresAt: number(1), size: number(2) };
}

function joined(kind: number, number: number | undefined, key: Uint8Array): Uint8Array {
  const start = number === undefined ? 1 : 1 + NUMBER_SIZE;
  const bytes = new Uint8Array(start + key.length);
  bytes[0] = kind;
  if (number !== undefined) new DataView(bytes.buffer).setBigUint64(1, BigInt(number));
  bytes.set(key, start);
  return bytes;
}
