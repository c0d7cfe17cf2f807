/**
 * What a frame asks for: HPKV's requests, checked member by member. Whatever is wrong throws `ServerFailure` 400, with the member's
 * name. Members that an operation does not use are not looked at. `null` counts as absent where a member is optional.
 */

import { bytesOfBase64, fits, isWellFormed, textOf } from "../bytes-as-text.ts";
import { ServerFailure } from "../failure.ts";
import { exactNumber } from "./exact-number.ts";

/** Bytes of a key at most. */
export const KEY_SIZE_MAX = 512;
/** Bytes of a range's ends at most: readers go on from the last key and one character more. */
const RANGE_END_SIZE_MAX = 1024;
const RANGE_LIMIT = 100;
const RANGE_LIMIT_MAX = 1000;
/** Characters of a `messageId` that is text. */
const MESSAGE_ID_LENGTH_MAX = 128;

export const GET = 1;
export const SET = 2;
export const PATCH = 3;
export const DELETE = 4;
export const RANGE = 5;
export const ATOMIC = 6;

/** The members that count, as they came. */
export interface Fields {
  readonly op?: unknown;
  readonly key?: unknown;
  readonly value?: unknown;
  readonly endKey?: unknown;
  readonly limit?: unknown;
  readonly messageId?: unknown;
  readonly timestamp?: unknown;
  readonly encoding?: unknown;
  readonly keyEncoding?: unknown;
}

/** Text, or bytes that are none. */
export type Bytes = string | Uint8Array;

/** A frame as text: binary ones are taken for UTF-8. */
export function frameText(frame: string | Uint8Array): string {
  if (typeof frame === "string") return frame;
  const text = textOf(frame);
  if (text === undefined) refuse("The frame is binary, and no UTF-8. Send one JSON object as text.");
  return text;
}

/** The object that a frame holds. */
export function fieldsOf(text: string): Fields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    refuse("The frame is no JSON. Send one JSON object as text.");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    refuse("The frame is JSON, but no object. Send { op, key, messageId, … }.");
  }
  return parsed;
}

/** The member that a reply repeats, with a comma before it: the same number, digit by digit; "" when there is none. */
export function messageIdMember({ messageId }: Fields, text: string): string {
  if (typeof messageId === "number") {
    if (Number.isSafeInteger(messageId)) return `,"messageId":${messageId}`;
    return `,"messageId":${exactNumber(text, "messageId")}`;
  }
  if (messageId === undefined || messageId === null) return "";
  if (typeof messageId === "string" && messageId.length <= MESSAGE_ID_LENGTH_MAX) {
    return `,"messageId":${JSON.stringify(messageId)}`;
  }
  refuse("messageId must be a number.");
}

/** The key of an operation on one record. */
export function keyOf({ key, keyEncoding }: Fields): Bytes {
  return checkedKey(key, "key", keyEncoding, KEY_SIZE_MAX);
}

/** Both ends of a range. Either may be longer than a key, since neither need be one. */
export function endsOf({ key, endKey, keyEncoding }: Fields): { start: Bytes; end: Bytes } {
  return {
    start: checkedKey(key, "key", keyEncoding, RANGE_END_SIZE_MAX),
    end: checkedKey(endKey, "endKey", keyEncoding, RANGE_END_SIZE_MAX),
  };
}

function checkedKey(key: unknown, name: string, encoding: unknown, sizeMax: number): Bytes {
  if (typeof key !== "string" || key === "") refuse(`${name} must be text that is not empty.`);
  if (isBase64(encoding, "keyEncoding")) {
    return decoded(key, name, sizeMax) ?? refuse(`${name} takes more than ${sizeMax} bytes.`);
  }
  if (!fits(key, sizeMax)) refuse(`${name} takes more than ${sizeMax} bytes.`);
  if (!isWellFormed(key)) refuse(`${name} has half of a surrogate pair, and is no Unicode text.`);
  return key;
}

/** The value to store, of less than `sizeLimit` bytes. */
export function givenValueOf({ value, encoding }: Fields, sizeLimit: number): Bytes {
  if (typeof value !== "string" || value === "") refuse("value must be text that is not empty.");
  if (isBase64(encoding, "encoding")) return decoded(value, "value", sizeLimit - 1) ?? refuse(tooLarge(sizeLimit));
  if (!fits(value, sizeLimit - 1)) refuse(tooLarge(sizeLimit));
  if (!isWellFormed(value)) {
    refuse('value has half of a surrogate pair. Bytes that are no text go with "encoding":"base64".');
  }
  return value;
}

function isBase64(encoding: unknown, name: string): boolean {
  if (encoding === undefined || encoding === null || encoding === "utf8") return false;
  return encoding === "base64" || refuse(`${name} must be "base64", or left out.`);
}

/** What base64 stands for; `undefined` when it is more than `sizeMax` bytes. */
function decoded(text: string, name: string, sizeMax: number): Uint8Array | undefined {
  if (text.length > Math.ceil(sizeMax / 3) * 4) return undefined;
  const bytes = bytesOfBase64(text) ?? refuse(`${name} is no base64 with padding.`);
  return bytes.length > sizeMax ? undefined : bytes;
}

function tooLarge(sizeLimit: number): string {
  return `value must take less than ${sizeLimit} bytes.`;
}

function refuse(message: string): never {
  throw new ServerFailure(400, message);
}

/** What an atomic operation adds: an integer of 64 bits, taken digit by digit. */
export function incrementOf({ value }: Fields, text: string): bigint {
  if (typeof value !== "number") refuse("value must be a number.");
  if (Number.isSafeInteger(value)) return BigInt(value);
  const exact = exactNumber(text, "value");
  if (!/^-?\d{1,19}$/.test(exact)) refuse("value must be an integer of 64 bits.");
  const by = BigInt(exact);
  if (by !== BigInt.asIntN(64, by)) refuse("value must be an integer of 64 bits.");
  return by;
}

/** Records of a range at most. */
export function limitOf({ limit }: Fields): number {
  if (limit === undefined || limit === null) return RANGE_LIMIT;
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1) {
    refuse(`limit must be an integer from 1 to ${RANGE_LIMIT_MAX}.`);
  }
  return Math.min(limit, RANGE_LIMIT_MAX);
}

/** The version of a write where the server orders by timestamps. */
export function timestampOf({ timestamp }: Fields): number | undefined {
  if (timestamp === undefined || timestamp === null) return undefined;
  if (!Number.isSafeInteger(timestamp) || (timestamp as number) < 0) {
    refuse("timestamp must be milliseconds since the epoch, an integer.");
  }
  return timestamp as number;
}
