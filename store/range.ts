/** Ranges: what a program asks for, as the half-open span of encoded keys that the core walks. */
import type { Format } from "./encoding.ts";
import { invalid, isPlain, KEY_SIZE_MAX, keySizeError } from "./refusals.ts";
import type { Snapshot } from "./snapshot.ts";

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
  /** Keys that start with this one: with its bytes under utf8 and binary, with its elements under tuple. */
  prefix?: K;
  /** From the last key to the first. */
  reverse?: boolean;
  /** At most so many entries. Default: all. */
  limit?: number;
  /** Read through this snapshot of the same store instead of one of this moment. */
  snapshot?: Snapshot<unknown, unknown>;
}

/** A range in encoded form: [lower, upper), either end open when absent. */
export interface Span {
  lower: Uint8Array | undefined;
  upper: Uint8Array | undefined;
  reverse: boolean;
  limit: number;
}

/** A stretch of keys that ranges are taken from: all that start with a prefix. */
export interface Keyspace {
  keys: Format;
  /** Of the namespace; empty for the store itself. */
  prefix: Uint8Array;
  /** The range that has no bounds: `wholeOf`. */
  whole: Readonly<Span>;
}

const BOUNDS = ["gt", "gte", "lt", "lte", "prefix"];
const KNOWN = ["gt", "gte", "lt", "lte", "prefix", "reverse", "limit", "snapshot"] as const;
/** What namespaces' prefixes begin and end with. */
const NAMESPACE = 0xff;
const SHORT_SIZE_MAX = 32;
const encoder = new TextEncoder();

/** Everything. */
export const WHOLE: Readonly<Span> = {
  lower: undefined,
  upper: undefined,
  reverse: false,
  limit: Number.POSITIVE_INFINITY,
};

/** The range without bounds: namespaces lie behind all other keys, and are left out where no other key can lie there. */
export function wholeOf(keys: Format, prefix: Uint8Array): Readonly<Span> {
  const all = allOf({ prefix });
  return keys.isApart ? { ...all, upper: joined(prefix, Uint8Array.of(NAMESPACE)) } : all;
}

/** All keys behind a prefix, those of namespaces included. */
export function allOf({ prefix }: Pick<Keyspace, "prefix">): Readonly<Span> {
  return prefix.length === 0 ? WHOLE : { ...WHOLE, lower: prefix, upper: prefixEnd(prefix) };
}

/** All keys of the namespaces in a keyspace. */
export function namespacesIn({ prefix }: Pick<Keyspace, "prefix">): Span {
  return { ...WHOLE, lower: joined(prefix, Uint8Array.of(NAMESPACE)), upper: prefixEnd(prefix) };
}

/** Checks a range and encodes it. `INVALID_ARGUMENT` names what is wrong; `KEY_SIZE` for a bound that no key reaches. */
export function spanOf(range: unknown, space: Keyspace, operation: string): Span {
  const { keys, whole } = space;
  if (range === undefined) return whole;
  if (!isPlain(range))
    throw invalid(operation, "the range must be an object { gt, gte, lt, lte, prefix }, or be left out.");
  const given = range as Partial<Record<(typeof KNOWN)[number], unknown>>;
  // No list of names is made: a walk of one entry takes 3 microseconds in all.
  for (const name in given) checkKnown(name, given, operation);
  const { reverse = false, limit = Number.POSITIVE_INFINITY } = given;
  if (typeof reverse !== "boolean") throw invalid(operation, "reverse must be true or false.");
  if (typeof limit !== "number" || Number.isNaN(limit) || limit < 0) {
    throw invalid(operation, "limit must be a number of entries, 0 or more.");
  }
  let { lower, upper } = whole;
  if (given.gte !== undefined) lower = later(lower, bytesOf(given.gte, space, operation));
  if (given.gt !== undefined) lower = later(lower, behind(bytesOf(given.gt, space, operation)));
  if (given.lt !== undefined) upper = earlier(upper, bytesOf(given.lt, space, operation));
  if (given.lte !== undefined) upper = earlier(upper, behind(bytesOf(given.lte, space, operation)));
  const prefix = given.prefix === undefined ? undefined : bytesOf(given.prefix, space, operation);
  if (prefix !== undefined) {
    if (keys.prefixes === "none") {
      throw invalid(operation, `a prefix needs the key encoding utf8, binary or tuple, not ${keys.name}.`);
    }
    lower = later(lower, prefix);
    // No element of a tuple starts with 0xff, and an element that only looks like the prefix goes on with it.
    const end = keys.prefixes === "elements" ? joined(prefix, Uint8Array.of(NAMESPACE)) : prefixEnd(prefix);
    if (end !== undefined) upper = earlier(upper, end);
  }
  return { lower, upper, reverse, limit: Math.floor(limit) };
}

/** Throws for a name that no range has. What lies in the prototype is nobody's bound. */
function checkKnown(name: string, given: object, operation: string): void {
  if ((KNOWN as readonly string[]).includes(name) || !Object.hasOwn(given, name)) return;
  if ((given as Record<string, unknown>)[name] !== undefined) throw invalid(operation, `a range has no ${name}.`);
}

/** Throws for a range to clear that has no bound: most likely a name was misspelt, or a value is missing. */
export function checkBounded(range: unknown): void {
  if (range === undefined) return;
  const given = range as Record<string, unknown>;
  if (BOUNDS.some((name) => given[name] !== undefined)) return;
  const message =
    "the range has no bound. Give it one; clear() without a range deletes everything, namespaces included.";
  throw invalid("clear", message);
}

/** The bytes of a key that bounds a range, with the keyspace's prefix. The key may be empty. */
export function bytesOf(
  key: unknown,
  { keys, prefix }: Pick<Keyspace, "keys" | "prefix">,
  operation: string,
): Uint8Array {
  const encoded = keys.encode(key, "key", operation);
  const bytes = typeof encoded === "string" ? utf8(encoded) : encoded;
  const limit = KEY_SIZE_MAX - prefix.length;
  if (bytes.length > limit) throw keySizeError(bytes.length, `${operation}: a bound`, operation, limit);
  return prefix.length === 0 ? bytes : joined(prefix, bytes);
}

/** A short ASCII text takes a third of the time of `encode`. */
function utf8(text: string): Uint8Array {
  const { length } = text;
  if (length > SHORT_SIZE_MAX) return encoder.encode(text);
  const bytes = new Uint8Array(length);
  let any = 0;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    bytes[i] = unit;
    any |= unit;
  }
  return any > 127 ? encoder.encode(text) : bytes;
}

/** Bytes behind bytes. */
export function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

/** The first key behind this one: itself with a zero byte appended. */
export function behind(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** Where a walk over a span goes on for a key: the bound that it seeks from, no further out than the span's own end. */
export function placeOfSeek({ reverse, lower, upper }: Span, key: Uint8Array): Uint8Array {
  if (!reverse) return lower === undefined ? key : later(key, lower);
  return upper === undefined ? behind(key) : earlier(behind(key), upper);
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
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
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
