/** What a record has beside its value: version, expiry, timestamp; and what a write may ask for of them. */

import type { Core } from "./core.ts";
import { CairnError } from "./error.ts";
import { isPlain } from "./refusals.ts";

/** A record as `getEntry` gives it. */
export interface Entry<V = string> {
  /** Its value, decoded. */
  value: V;
  /** The sequence of its commit: a safe integer, one for a whole batch, and larger than that of every earlier commit. */
  version: number;
  /** When it expires, in milliseconds since 1970. Absent: never. */
  expiresAt?: number;
  /** What it was written with. Absent: nothing. */
  timestamp?: number;
}

/** What a deletion may ask for. */
export interface DeleteOptions {
  /** Only when the key has this version; `null`: only when it is absent. Else nothing happens, and the answer is `false`. */
  ifVersion?: number | null | undefined;
  /**
   * A time or a counter of the program's own, an integer from 0 on: the write throws `STALE_TIMESTAMP` when the record
   * there has a higher one. An equal one is accepted, and so is any where the record has none.
   */
  timestamp?: number | undefined;
}

/** What a write may ask for. Without `expiresIn` and `expiresAt` the record never expires, also where it did before. */
export interface WriteOptions extends DeleteOptions {
  /** Milliseconds, above 0, after which the record is no longer there. */
  expiresIn?: number | undefined;
  /** Milliseconds since 1970 from which on the record is no longer there. A time that is over is accepted. */
  expiresAt?: number | undefined;
}

/** Options in the core's terms. */
export interface WriteWords {
  /** Bits of a call's flags. */
  flags: number;
  version: number;
  expiry: number;
  timestamp: number;
}

/** Bits of a call's flags; see CallFlags in the core. */
const EXPIRY = 4;
const TIMESTAMP = 8;
const IF_VERSION = 16;
const EXPIRES_IN = 32;
const UNCHECKED = 64;
/** The latest expiry: in the year 10889. */
const EXPIRY_MAX = 2 ** 48 - 1;
/** What `entryFigure` of the core gives. */
const FIGURE_VERSION = 0;
const FIGURE_EXPIRY = 1;
const FIGURE_TIMESTAMP = 2;

/** The options of a write, or of a deletion. */
export const WRITE_OPTIONS: readonly string[] = ["ifVersion", "expiresIn", "expiresAt", "timestamp"];
export const DELETE_OPTIONS: readonly string[] = ["ifVersion", "timestamp"];

/**
 * Checks the options of a call; `undefined` when they ask for nothing. `INVALID_ARGUMENT` names what is wrong. With
 * `others`, an operation of a batch, whose other properties are not looked at.
 */
export function readWriteOptions(
  options: unknown,
  operation: string,
  names: readonly string[] = WRITE_OPTIONS,
  others: readonly string[] = [],
): WriteWords | undefined {
  if (!isPlain(options)) {
    throw invalid(operation, "options must be an object { name: value }.");
  }
  // No list of names is made: a write takes half a microsecond in all.
  for (const name in options) {
    if (names.includes(name) || others.includes(name) || !Object.hasOwn(options, name)) continue;
    if ((options as Record<string, unknown>)[name] !== undefined)
      throw invalid(operation, `there is no option ${name}.`);
  }
  const { ifVersion, expiresIn, expiresAt, timestamp } = options as WriteOptions;
  if (ifVersion === undefined && expiresIn === undefined && expiresAt === undefined && timestamp === undefined) {
    return undefined;
  }
  const words: WriteWords = { flags: 0, version: 0, expiry: 0, timestamp: 0 };
  if (ifVersion !== undefined) {
    if (ifVersion !== null && !(Number.isSafeInteger(ifVersion) && ifVersion > 0)) {
      throw invalid(operation, "ifVersion must be a version, as getEntry gives it, or null for an absent key.");
    }
    words.flags |= IF_VERSION;
    words.version = ifVersion ?? 0;
  }
  if (expiresIn !== undefined) {
    if (expiresAt !== undefined) throw invalid(operation, "expiresIn and expiresAt exclude each other.");
    if (typeof expiresIn !== "number" || !(expiresIn > 0 && expiresIn <= EXPIRY_MAX)) {
      throw invalid(operation, "expiresIn must be a number of milliseconds above 0.");
    }
    words.flags |= EXPIRY | EXPIRES_IN;
    words.expiry = Math.ceil(expiresIn);
  }
  if (expiresAt !== undefined) {
    if (typeof expiresAt !== "number" || !(expiresAt >= 0 && expiresAt <= EXPIRY_MAX)) {
      throw invalid(operation, "expiresAt must be a time in milliseconds since 1970.");
    }
    words.flags |= EXPIRY;
    words.expiry = Math.ceil(expiresAt);
  }
  if (timestamp !== undefined) {
    if (!(Number.isSafeInteger(timestamp) && timestamp >= 0)) {
      throw invalid(operation, "timestamp must be a safe integer from 0 on.");
    }
    words.flags |= TIMESTAMP;
    words.timestamp = timestamp;
  }
  return words.flags === 0 ? undefined : words;
}

/** The options of a write among the properties of an operation of a batch; `undefined` when there are none. */
export function optionsOf(operation: WriteOptions): WriteOptions | undefined {
  const options: WriteOptions = {};
  for (const name of WRITE_OPTIONS as (keyof WriteOptions)[]) {
    if (operation[name] !== undefined) Object.assign(options, { [name]: operation[name] });
  }
  return Object.keys(options).length === 0 ? undefined : options;
}

/** Whether a write may be refused because of what is there. */
export function isConditional(options: DeleteOptions | undefined): boolean {
  return options?.ifVersion !== undefined || options?.timestamp !== undefined;
}

/** The same for a write whose conditions were checked before. */
export function checkedBefore(words: WriteWords | undefined): WriteWords | undefined {
  return words === undefined ? undefined : { ...words, flags: (words.flags & ~IF_VERSION) | UNCHECKED };
}

/** Whether a write gives its record an expiry. */
export function expires(words: WriteWords): boolean {
  return (words.flags & EXPIRY) !== 0;
}

/** What is known of a record beside its value. */
export type Facts = Omit<Entry<unknown>, "value">;

/** What is known of the key in KEY_A beside its value, or `undefined` when it is absent; as a view sees it, with one. */
export function factsOf({ exports }: Core, keySize: number, view = 0): Facts | undefined {
  if ((view === 0 ? exports.entryOpen(keySize) : exports.entryOpenAt(keySize, view)) === 0) return undefined;
  const facts: Facts = { version: exports.entryFigure(FIGURE_VERSION) };
  const expiresAt = exports.entryFigure(FIGURE_EXPIRY);
  const timestamp = exports.entryFigure(FIGURE_TIMESTAMP);
  if (expiresAt >= 0) facts.expiresAt = expiresAt;
  if (timestamp >= 0) facts.timestamp = timestamp;
  return facts;
}

/** Options whose conditions were checked, with an expiry that a duration was counted to from `nowMs`. */
export function settledWords(words: WriteWords | undefined, nowMs: number): WriteWords | undefined {
  if (words === undefined) return undefined;
  const { flags, expiry, timestamp } = words;
  const isCounted = (flags & EXPIRES_IN) !== 0;
  return {
    flags: (flags & (EXPIRY | TIMESTAMP)) | UNCHECKED,
    version: 0,
    expiry: isCounted ? Math.min(nowMs + expiry, EXPIRY_MAX) : expiry,
    timestamp,
  };
}

/** What a write that waits will be known by. It has no version yet: 0. */
export function factsOfWords(words: WriteWords | undefined): Facts {
  const facts: Facts = { version: 0 };
  if (words === undefined) return facts;
  if (expires(words)) facts.expiresAt = words.expiry;
  if ((words.flags & TIMESTAMP) !== 0) facts.timestamp = words.timestamp;
  return facts;
}

/** Whether options ask for something of what is there. */
export function asksOf(words: WriteWords): boolean {
  return (words.flags & (IF_VERSION | TIMESTAMP)) !== 0;
}

/** Whether a record, or its absence, has the version that options ask for, if they do. */
export function hasVersion(words: WriteWords, facts: Facts | undefined): boolean {
  if ((words.flags & IF_VERSION) === 0) return true;
  return facts === undefined ? words.version === 0 : words.version !== 0 && facts.version === words.version;
}

/** Whether a record has a newer timestamp than a write. */
export function isStale(words: WriteWords, facts: Facts | undefined): boolean {
  return (words.flags & TIMESTAMP) !== 0 && facts?.timestamp !== undefined && facts.timestamp > words.timestamp;
}

/** What a write needs to leave expiry and timestamp as they are. */
export function wordsOf(facts: Facts | undefined): WriteWords | undefined {
  if (facts === undefined) return undefined;
  const { expiresAt, timestamp } = facts;
  const flags = (expiresAt === undefined ? 0 : EXPIRY) | (timestamp === undefined ? 0 : TIMESTAMP);
  return flags === 0
    ? undefined
    : { flags: flags | UNCHECKED, version: 0, expiry: expiresAt ?? 0, timestamp: timestamp ?? 0 };
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
