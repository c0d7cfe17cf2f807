/**
 * Keys of Deno KV as bytes whose order is theirs, and back. It is Deno's own encoding, that of FoundationDB's tuples:
 *
 *   bytes     01, each 00 as 00 ff, 00
 *   string    02, its UTF-8 likewise, 00
 *   bigint    14 for 0; 15 to 1c and as many bytes; 1d, their count, and the bytes; negative ones below 14, inverted
 *   number    21, its 8 bytes, inverted when it is negative, with the sign turned when it is not
 *   false 26, true 27
 *
 * So parts of one type are in their own order, and types as the first bytes say.
 */
import { CairnError } from "cairn-kv";
import type { KvKey, KvKeyPart } from "./types.ts";

const BYTES = 0x01;
const STRING = 0x02;
const BIGINT_NEGATIVE_LONG = 0x0b;
const BIGINT_ZERO = 0x14;
const BIGINT_POSITIVE_LONG = 0x1d;
const NUMBER = 0x21;
const FALSE = 0x26;
const TRUE = 0x27;
/** Bytes of a bigint that the tag counts; longer ones, up to 255 bytes, have a count of their own. */
const BIGINT_SIZE_SHORT_MAX = 8;
const BIGINT_SIZE_MAX = 255;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const double = new DataView(new ArrayBuffer(8));

/** A key as bytes; an empty one has none. `INVALID_ARGUMENT` names the part that is of no type of a key. */
export function encodeKey(key: KvKey, operation: string): Uint8Array {
  if (!Array.isArray(key)) throw invalid(operation, "a key must be an array of parts.");
  const bytes: number[] = [];
  for (const [index, part] of key.entries()) encodePart(bytes, part, index, operation);
  return Uint8Array.from(bytes);
}

/** The parts of a key's bytes. */
export function decodeKey(bytes: Uint8Array): KvKeyPart[] {
  const parts: KvKeyPart[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] as number;
    if (tag === BYTES || tag === STRING) {
      const { plain, end } = readEscaped(bytes, at + 1);
      parts.push(tag === BYTES ? plain : decoder.decode(plain));
      at = end;
    } else if (tag === NUMBER) {
      parts.push(readNumber(bytes, at + 1));
      at += 9;
    } else if (tag === FALSE || tag === TRUE) {
      parts.push(tag === TRUE);
      at += 1;
    } else {
      const { value, end } = readBigint(bytes, at, tag);
      parts.push(value);
      at = end;
    }
  }
  return parts;
}

function encodePart(bytes: number[], part: unknown, index: number, operation: string): void {
  if (typeof part === "string") writeEscaped(bytes, STRING, encoder.encode(part));
  else if (typeof part === "number") writeNumber(bytes, part);
  else if (typeof part === "bigint") writeBigint(bytes, part, operation);
  else if (typeof part === "boolean") bytes.push(part ? TRUE : FALSE);
  else if (ArrayBuffer.isView(part)) {
    writeEscaped(bytes, BYTES, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  } else {
    const got = part === null ? "null" : typeof part;
    throw invalid(operation, `part ${index} of a key must be a string, number, bigint, boolean or bytes, not ${got}.`);
  }
}

function writeEscaped(bytes: number[], tag: number, plain: Uint8Array): void {
  bytes.push(tag);
  for (const byte of plain) {
    bytes.push(byte);
    if (byte === 0) bytes.push(0xff);
  }
  bytes.push(0);
}

function readEscaped(bytes: Uint8Array, start: number): { plain: Uint8Array; end: number } {
  const plain: number[] = [];
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at] as number;
    if (byte === 0) {
      if (bytes[at + 1] !== 0xff) break;
      at += 1;
    }
    plain.push(byte);
    at += 1;
  }
  return { plain: Uint8Array.from(plain), end: at + 1 };
}

function writeNumber(bytes: number[], value: number): void {
  // NaN has one form here, so that a key that holds one is found again.
  double.setFloat64(0, value);
  const isNegative = (double.getUint8(0) & 0x80) !== 0 && !Number.isNaN(value);
  if (Number.isNaN(value)) double.setBigUint64(0, 0x7ff8000000000000n);
  bytes.push(NUMBER);
  for (let i = 0; i < 8; i++) bytes.push(double.getUint8(i) ^ (isNegative ? 0xff : i === 0 ? 0x80 : 0));
}

function readNumber(bytes: Uint8Array, at: number): number {
  const isNegative = ((bytes[at] as number) & 0x80) === 0;
  for (let i = 0; i < 8; i++) double.setUint8(i, (bytes[at + i] as number) ^ (isNegative ? 0xff : i === 0 ? 0x80 : 0));
  return double.getFloat64(0);
}

function writeBigint(bytes: number[], value: bigint, operation: string): void {
  const isNegative = value < 0n;
  const hex = value === 0n ? "" : (isNegative ? -value : value).toString(16);
  const size = Math.ceil(hex.length / 2);
  if (size > BIGINT_SIZE_MAX) throw invalid(operation, `a bigint in a key has at most ${BIGINT_SIZE_MAX} bytes.`);
  const inversion = isNegative ? 0xff : 0;
  if (size > BIGINT_SIZE_SHORT_MAX) {
    bytes.push(isNegative ? BIGINT_NEGATIVE_LONG : BIGINT_POSITIVE_LONG, size ^ inversion);
  } else bytes.push(BIGINT_ZERO + (isNegative ? -size : size));
  const digits = hex.padStart(size * 2, "0");
  for (let i = 0; i < size; i++) bytes.push(Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16) ^ inversion);
}

function readBigint(bytes: Uint8Array, at: number, tag: number): { value: bigint; end: number } {
  const isNegative = tag < BIGINT_ZERO;
  const isLong = tag === BIGINT_NEGATIVE_LONG || tag === BIGINT_POSITIVE_LONG;
  const inversion = isNegative ? 0xff : 0;
  const size = isLong ? (bytes[at + 1] as number) ^ inversion : Math.abs(tag - BIGINT_ZERO);
  const start = at + (isLong ? 2 : 1);
  let value = 0n;
  for (let i = 0; i < size; i++) value = (value << 8n) | BigInt((bytes[start + i] as number) ^ inversion);
  return { value: isNegative ? -value : value, end: start + size };
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
