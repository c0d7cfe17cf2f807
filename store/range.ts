/** Ranges: what a program asks for, as the half-open span of encoded keys that the core walks. */
import type { Format } from "./encoding.ts";
import { CairnError } from "./error.ts";

/** Which keys, in which order, and how many. Bounds of one side may be combined; the tighter one counts. */
export interface Range<K = string> {
  /** Keys above this one. */
  gt?: K;
  /** Keys at or above this one. */
  gte?: K;
  /** Keys below this one. */
  lt?: K;
  /** Keys at or below this one. */
  lte?: K;
  /** Keys that start with this one; for the encodings utf8 and binary. */
  prefix?: K;
  /** From the last key to the first. */
  reverse?: boolean;
  /** At most so many entries. Default: all. */
  limit?: number;
}

/** A range in encoded form: [lower, upper), either end open when absent. */
export interface Span {
  lower: Uint8Array | undefined;
  upper: Uint8Array | undefined;
  reverse: boolean;
  limit: number;
}

const KNOWN = ["gt", "gte", "lt", "lte", "prefix", "reverse", "limit"];
const encoder = new TextEncoder();
const KEY_SIZE_MAX = 2048;

/** Everything. */
export const WHOLE: Span = { lower: undefined, upper: undefined, reverse: false, limit: Number.POSITIVE_INFINITY };

/** Checks a range and encodes it. `INVALID_ARGUMENT` names what is wrong; `KEY_SIZE` for a bound that no key reaches. */
export function spanOf(range: unknown, keys: Format, operation: string): Span {
  if (range === undefined) return WHOLE;
  if (typeof range !== "object" || range === null) throw invalid(operation, "the range must be an object.");
  const given = range as Record<string, unknown>;
  for (const name of Object.keys(given)) {
    if (given[name] === undefined || KNOWN.includes(name)) continue;
    if (name === "snapshot") {
      throw new CairnError(
        "UNSUPPORTED",
        operation,
        `${operation}: the range's snapshot is not supported by this version.`,
      );
    }
    throw invalid(operation, `a range has no ${name}.`);
  }
  const reverse = given["reverse"] ?? false;
  if (typeof reverse !== "boolean") throw invalid(operation, "reverse must be true or false.");
  const limit = given["limit"] ?? Number.POSITIVE_INFINITY;
  if (typeof limit !== "number" || Number.isNaN(limit) || limit < 0) {
    throw invalid(operation, "limit must be a number of entries, 0 or more.");
  }
  let lower: Uint8Array | undefined;
  let upper: Uint8Array | undefined;
  const bound = (name: string): Uint8Array | undefined =>
    given[name] === undefined ? undefined : bytesOf(given[name], keys, operation);
  const gte = bound("gte");
  const gt = bound("gt");
  const lt = bound("lt");
  const lte = bound("lte");
  const prefix = bound("prefix");
  if (gte !== undefined) lower = gte;
  if (gt !== undefined) lower = later(lower, behind(gt));
  if (lt !== undefined) upper = lt;
  if (lte !== undefined) upper = earlier(upper, behind(lte));
  if (prefix !== undefined) {
    if (keys.kind === "codec") {
      throw invalid(operation, `a prefix needs the key encoding utf8 or binary, not ${keys.name}.`);
    }
    lower = later(lower, prefix);
    const end = prefixEnd(prefix);
    if (end !== undefined) upper = earlier(upper, end);
  }
  return { lower, upper, reverse, limit: Math.floor(limit) };
}

/** The bytes of a key that bounds a range. It may be empty. */
export function bytesOf(key: unknown, keys: Format, operation: string): Uint8Array {
  const encoded = keys.encode(key, "key", operation);
  const bytes = typeof encoded === "string" ? encoder.encode(encoded) : encoded;
  if (bytes.length > KEY_SIZE_MAX) {
    const message = `${operation}: a bound of ${bytes.length} bytes is longer than any key; the limit is ${KEY_SIZE_MAX}.`;
    throw new CairnError("KEY_SIZE", operation, message);
  }
  return bytes;
}

/** The first key behind this one: itself with a zero byte appended. */
export function behind(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** Order of two encoded keys. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const size = Math.min(a.length, b.length);
  for (let i = 0; i < size; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** The first key that does not start with a prefix; none when it is all 0xff. */
function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let size = prefix.length;
  while (size > 0 && prefix[size - 1] === 0xff) size--;
  if (size === 0) return undefined;
  // A copy also of a Buffer, whose `slice` is a view.
  const end = new Uint8Array(prefix.subarray(0, size));
  end[size - 1] = (end[size - 1] as number) + 1;
  return end;
}

function later(a: Uint8Array | undefined, b: Uint8Array): Uint8Array {
  return a === undefined || compareBytes(a, b) < 0 ? b : a;
}

function earlier(a: Uint8Array | undefined, b: Uint8Array): Uint8Array {
  return a === undefined || compareBytes(a, b) > 0 ? b : a;
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
