/**
 * What a role allows: for each verb the keys that begin with one of some prefixes.
 *
 * The prefixes of a verb are kept as intervals [start, end) of keys in the order of bytes, those that touch or overlap made
 * one. So a range lies wholly in what is allowed exactly when it lies in one interval: behind the end of an interval, that
 * end itself is a key that is not allowed.
 */
import { compareBytes, prefixEnd } from "../../../store/range.ts";
import { VERBS, type Verb } from "../principal.ts";
import type { RoleRule } from "./keys-format.ts";

type Key = string | Uint8Array;

interface Interval {
  readonly start: Uint8Array;
  /** The first key behind it; `undefined`: none. */
  end: Uint8Array | undefined;
}

interface Allowed {
  /** Whether every key is. */
  readonly all: boolean;
  /** Of text; none of them begins another one. */
  readonly prefixes: readonly string[];
  readonly encoded: readonly Uint8Array[];
  readonly intervals: readonly Interval[];
}

const NONE: Allowed = { all: false, prefixes: [], encoded: [], intervals: [] };
const encoder = new TextEncoder();

/** A role, ready to be asked. */
export class Role {
  readonly #allowed: ReadonlyMap<Verb, Allowed>;

  constructor(rules: readonly RoleRule[]) {
    const allowed = new Map<Verb, Allowed>();
    for (const verb of VERBS) {
      const prefixes = rules
        .filter(({ verbs }) => verbs.includes(verb) || verbs.includes("admin"))
        .map(({ prefix }) => prefix);
      allowed.set(verb, allowedOf(prefixes));
    }
    this.#allowed = allowed;
  }

  /** Whether `verb` is allowed for every key. */
  mayAll(verb: Verb): boolean {
    return this.#of(verb).all;
  }

  /** Whether `verb` is allowed for some key. */
  mayAny(verb: Verb): boolean {
    const { all, prefixes } = this.#of(verb);
    return all || prefixes.length > 0;
  }

  /** Whether `verb` is allowed for `key`. */
  may(verb: Verb, key: Key): boolean {
    const { all, prefixes, encoded } = this.#of(verb);
    if (all) return true;
    if (typeof key === "string") return prefixes.some((prefix) => key.startsWith(prefix));
    return encoded.some((prefix) => startsWith(key, prefix));
  }

  /** Whether `verb` is allowed for every key of a range. `end` is inclusive; `undefined`: no end. A range without keys is allowed. */
  mayRange(verb: Verb, start: Key | undefined, end: Key | undefined): boolean {
    const { all, intervals } = this.#of(verb);
    if (all) return true;
    const from = start === undefined ? new Uint8Array(0) : bytesOf(start);
    const to = end === undefined ? undefined : bytesOf(end);
    if (to !== undefined && compareBytes(from, to) > 0) return true;
    for (const interval of intervals) {
      if (compareBytes(from, interval.start) < 0) continue;
      if (interval.end === undefined || (to !== undefined && compareBytes(to, interval.end) < 0)) return true;
    }
    return false;
  }

  #of(verb: Verb): Allowed {
    return this.#allowed.get(verb) ?? NONE;
  }
}

function allowedOf(given: readonly string[]): Allowed {
  if (given.length === 0) return NONE;
  const prefixes = given.filter(
    (prefix, at) =>
      given.indexOf(prefix) === at && !given.some((other) => other !== prefix && prefix.startsWith(other)),
  );
  const encoded = prefixes.map((prefix) => encoder.encode(prefix)).sort(compareBytes);
  const intervals: Interval[] = [];
  for (const start of encoded) {
    const end = start.length === 0 ? undefined : prefixEnd(start);
    const last = intervals.at(-1);
    // Sorted, and none begins another: one begins where the last ends, or behind.
    if (last?.end !== undefined && compareBytes(start, last.end) === 0) last.end = end;
    else intervals.push({ start, end });
  }
  return { all: prefixes.includes(""), prefixes, encoded, intervals };
}

function bytesOf(key: Key): Uint8Array {
  return typeof key === "string" ? encoder.encode(key) : key;
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false;
  for (let at = 0; at < prefix.length; at++) if (key[at] !== prefix[at]) return false;
  return true;
}
