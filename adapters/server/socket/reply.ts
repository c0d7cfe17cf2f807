/**
 * Replies, written member by member: JSON of the whole would cost several times as much.
 *
 * Each is one object. `id` is what `messageIdMember` gives. A reply that tells of success has no `error`, one that tells of a failure
 * has no `success`: clients judge by either.
 */
import { base64Of, textOf } from "../bytes-as-text.ts";
import type { ServerFailure } from "../failure.ts";
import type { ServedPage, ServedRecord } from "../operations.ts";
import type { Bytes, Fields } from "./request.ts";

/** Longest key that an error reply repeats, in characters. */
const KEY_LENGTH_MAX = 1024;

/** The record of a `get`. */
export function recordReply(id: string, key: Bytes, value: Bytes): string {
  return `{"code":200${id},${keyMembers(key)},${valueMembers(value)}}`;
}

/** A write that is on stable storage. */
export function doneReply(id: string, message: string): string {
  return `{"code":200${id},"success":true,"message":"${message}"}`;
}

/** The sum of an atomic operation, all its digits. */
export function sumReply(id: string, key: Bytes, sum: bigint): string {
  return `{"code":200${id},"success":true,${keyMembers(key)},"newValue":${sum},"result":${sum}}`;
}

/** The records of a range, as many as fit into `lengthMax` characters; the first one in any case. */
export function rangeReply(id: string, { records, truncated }: ServedPage, lengthMax: number): string {
  let list = "";
  let count = 0;
  for (const record of records) {
    const next = recordOf(record);
    if (count > 0 && list.length + next.length > lengthMax) break;
    list += count === 0 ? next : `,${next}`;
    count++;
  }
  return `{"code":200${id},"records":[${list}],"count":${count},"truncated":${truncated || count < records.length}}`;
}

/** A refusal. It repeats the key that the request named, as it did, as far as that may be one. */
export function failureReply(id: string, fields: Fields | undefined, failure: ServerFailure): string {
  const { status, message, retryAfter } = failure;
  const retryMember = retryAfter === undefined ? "" : `,"retryAfter":${retryAfter}`;
  return `{"code":${status}${id}${namedKey(fields)},"error":${JSON.stringify(message)}${retryMember}}`;
}

function namedKey({ key, keyEncoding }: Fields = {}): string {
  if (typeof key !== "string" || key.length > KEY_LENGTH_MAX) return "";
  return `,"key":${JSON.stringify(key)}${keyEncoding === "base64" ? ',"keyEncoding":"base64"' : ""}`;
}

function recordOf({ key, value }: ServedRecord): string {
  return `{${keyMembers(key)},${valueMembers(value)}}`;
}

function keyMembers(key: Bytes): string {
  const text = typeof key === "string" ? key : textOf(key);
  if (text !== undefined) return `"key":${JSON.stringify(text)}`;
  return `"key":"${base64Of(key as Uint8Array)}","keyEncoding":"base64"`;
}

function valueMembers(value: Bytes): string {
  const text = typeof value === "string" ? value : textOf(value);
  if (text !== undefined) return `"value":${JSON.stringify(text)}`;
  return `"value":"${base64Of(value as Uint8Array)}","encoding":"base64"`;
}
