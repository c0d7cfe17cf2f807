/**
 * Replies, written member by member: JSON of the whole would cost several times as much.
 *
 * Each is one object. `id` is what `messageIdMember` gives. A reply that tells of success has no `error`, one that tells of a failure
 * has no `success`: clients judge by either.
 */
import { base64Of, textOf } from "../bytes-as-text.ts";
import type { ServerFailure } from "../failure.ts";
import type { ServedPage, ServedRecord } from "../operations.ts";

/** Longest key that an error reply repeats, in characters. */
const KEY_LENGTH_MAX = 512;

/** The record of a `get`. */
export function recordReply(id: string, key: string, value: string | Uint8Array): string {
  return `{"code":200${id},"key":${JSON.stringify(key)},${valueMembers(value)}}`;
}

/** A write that is on stable storage. */
export function doneReply(id: string, message: string): string {
  return `{"code":200${id},"success":true,"message":"${message}"}`;
}

/** The sum of an atomic operation, all its digits. */
export function sumReply(id: string, key: string, sum: bigint): string {
  return `{"code":200${id},"success":true,"key":${JSON.stringify(key)},"newValue":${sum},"result":${sum}}`;
}

/** The records of a range. */
export function rangeReply(id: string, { records, truncated }: ServedPage): string {
  let list = "";
  for (const record of records) list += list === "" ? recordOf(record) : `,${recordOf(record)}`;
  return `{"code":200${id},"records":[${list}],"count":${records.length},"truncated":${truncated}}`;
}

/** A refusal. `key`: what the request named, as far as it is one. */
export function failureReply(id: string, key: unknown, { status, message, retryAfter }: ServerFailure): string {
  const keyMember = typeof key === "string" && key.length <= KEY_LENGTH_MAX ? `,"key":${JSON.stringify(key)}` : "";
  const retryMember = retryAfter === undefined ? "" : `,"retryAfter":${retryAfter}`;
  return `{"code":${status}${id}${keyMember},"error":${JSON.stringify(message)}${retryMember}}`;
}

function recordOf({ key, value }: ServedRecord): string {
  return `{${keyMembers(key)},${valueMembers(value)}}`;
}

function keyMembers(key: string | Uint8Array): string {
  const text = typeof key === "string" ? key : textOf(key);
  if (text !== undefined) return `"key":${JSON.stringify(text)}`;
  return `"key":"${base64Of(key as Uint8Array)}","keyEncoding":"base64"`;
}

function valueMembers(value: string | Uint8Array): string {
  const text = typeof value === "string" ? value : textOf(value);
  if (text !== undefined) return `"value":${JSON.stringify(text)}`;
  return `"value":"${base64Of(value as Uint8Array)}","encoding":"base64"`;
}
