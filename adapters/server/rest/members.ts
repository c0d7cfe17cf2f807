/** Members of JSON bodies, checked one by one: what is wrong is 400, with the member's name. */
import { sizeOf } from "../../../store/batch.ts";
import { ServerFailure } from "../failure.ts";
import type { ServedWriteOptions } from "../operations.ts";
import { digitsOnly } from "./address.ts";
import { base64Of, bytesOfBase64, isWellFormed } from "./base64.ts";
import { bytesOfKey, type Call } from "./call.ts";

type Key = string | Uint8Array;
export type Members = Readonly<Record<string, unknown>>;

/** Bytes of a key at HPKV's endpoints. */
export const HPKV_KEY_SIZE_MAX = 512;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped.
const ESCAPED = /["\\\0-\x1f\ud800-\udfff]/;
const EXPIRY_MAX = 2 ** 48 - 1;

/** The key of a record, of at most `sizeMax` bytes where that is given; else the store's limit holds. */
export function keyMember({ key, keyEncoding }: Members, sizeMax?: number): Key {
  if (typeof key !== "string" || key === "") throw new ServerFailure(400, "key must be text that is not empty.");
  const isBytes = isBase64(keyEncoding, "keyEncoding");
  const given = isBytes ? bytesOfKey(key, "key") : checkedText(key, "key");
  if (sizeMax !== undefined && !fits(given, sizeMax)) {
    throw new ServerFailure(400, `key has ${sizeOf(given)} bytes; the limit is ${sizeMax}.`);
  }
  return given;
}

/** The value of a record: text, or bytes that came as base64. */
export function valueMember({ value, encoding }: Members): string | Uint8Array {
  if (typeof value !== "string") throw new ServerFailure(400, "value must be text.");
  if (!isBase64(encoding, "encoding")) return checkedText(value, "value");
  const bytes = bytesOfBase64(value);
  if (bytes === undefined) throw new ServerFailure(400, "value is no base64.");
  return bytes;
}

/** A value within HPKV's limits: not empty, and below `sizeLimit` bytes. */
export function hpkvValueMember(members: Members, sizeLimit: number): string | Uint8Array {
  const value = valueMember(members);
  if (value.length === 0) throw new ServerFailure(400, "value is empty.");
  if (!fits(value, sizeLimit - 1)) {
    throw new ServerFailure(400, `value has ${sizeOf(value)} bytes; it must have less than ${sizeLimit}.`);
  }
  return value;
}

/** A member that is true or false, and false where it is absent. */
export function flagMember(members: Members, name: string): boolean {
  const flag = members[name];
  if (flag === undefined || flag === null) return false;
  if (typeof flag === "boolean") return flag;
  throw new ServerFailure(400, `${name} must be true or false.`);
}

/** What an increment adds: an integer of 64 bits, as a number or, so that it is exact, as text. */
export function incrementMember({ increment }: Members): bigint {
  if (typeof increment === "number" && Number.isSafeInteger(increment)) return BigInt(increment);
  if (typeof increment === "string" && digitsOnly(increment.startsWith("-") ? increment.slice(1) : increment)) {
    const by = BigInt(increment);
    if (BigInt.asIntN(64, by) === by) return by;
  }
  if (typeof increment === "number" && Number.isInteger(increment)) {
    throw new ServerFailure(400, "increment is too large to be exact as a number. Send its digits as text.");
  }
  throw new ServerFailure(400, "increment must be an integer of 64 bits.");
}

/** Expiry and timestamp of a write, from the body, the query (`ttl`, `timestamp`) or headers (`x-ttl`). */
export function writeOptionsOf(call: Call, members: Members): ServedWriteOptions | undefined {
  const { expiresIn, expiresAt, timestamp } = members;
  const ttl = call.hasQuery ? call.query.integer("ttl", 1) : undefined;
  const header = call.header("x-ttl");
  if (header !== undefined && !digitsOnly(header))
    throw new ServerFailure(400, "x-ttl must be milliseconds, an integer.");
  const queryTimestamp = call.hasQuery ? call.query.integer("timestamp", 0) : undefined;
  const given = [expiresIn ?? undefined, ttl, header === undefined ? undefined : Number(header)].filter(
    (time) => time !== undefined,
  );
  const options: ServedWriteOptions = {};
  if (given.length + (expiresAt === undefined || expiresAt === null ? 0 : 1) > 1) {
    throw new ServerFailure(400, "More than one of expiresIn, expiresAt, ttl and x-ttl is given.");
  }
  if (given.length > 0) {
    const [time] = given;
    if (typeof time !== "number" || !(time > 0 && time <= EXPIRY_MAX / 2)) {
      throw new ServerFailure(400, "The time to live must be a number of milliseconds above 0.");
    }
    options.expiresAt = Math.ceil(Date.now() + time);
  } else if (expiresAt !== undefined && expiresAt !== null) {
    if (typeof expiresAt !== "number" || !(expiresAt >= 0 && expiresAt <= EXPIRY_MAX)) {
      throw new ServerFailure(400, "expiresAt must be a time in milliseconds since 1970.");
    }
    options.expiresAt = Math.ceil(expiresAt);
  }
  const stamp = timestamp ?? queryTimestamp;
  if (stamp !== undefined && stamp !== null) {
    if (!Number.isSafeInteger(stamp) || (stamp as number) < 0) {
      throw new ServerFailure(400, "timestamp must be an integer from 0 on.");
    }
    options.timestamp = stamp as number;
  }
  return options.expiresAt === undefined && options.timestamp === undefined ? undefined : options;
}

/** The members of a record's JSON: text as it is, bytes as base64. Without braces. */
export function recordMembers(key: Key, value: string | Uint8Array | undefined): string {
  let members = typeof key === "string" ? `"key":${quoted(key)}` : `"key":"${base64Of(key)}","keyEncoding":"base64"`;
  if (typeof value === "string") members += `,"value":${quoted(value)}`;
  else if (value !== undefined) members += `,"value":"${base64Of(value)}","encoding":"base64"`;
  return members;
}

/** `JSON.stringify(text)`. Most text has nothing to escape, which is found out faster. */
function quoted(text: string): string {
  return ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function isBase64(encoding: unknown, name: string): boolean {
  if (encoding === undefined || encoding === null || encoding === "utf8") return false;
  if (encoding === "base64") return true;
  throw new ServerFailure(400, `${name} must be "base64", or left out.`);
}

function checkedText(text: string, name: string): string {
  if (isWellFormed(text)) return text;
  throw new ServerFailure(400, `${name} has half of a surrogate pair, and is no Unicode text. Bytes go as base64.`);
}

/** Whether text takes at most so many bytes. Counts only what is near the limit. */
function fits(text: string | Uint8Array, sizeMax: number): boolean {
  if (typeof text !== "string") return text.length <= sizeMax;
  return text.length * 3 <= sizeMax || (text.length <= sizeMax && sizeOf(text) <= sizeMax);
}
