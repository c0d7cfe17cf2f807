/** The types of `Deno.Kv`, for programs on every runtime. Each has the name that it has in Deno. */

/** A part of a key. */
export type KvKeyPart = Uint8Array | string | number | bigint | boolean;
/** A key: parts of any types, in the order of their types (bytes, strings, bigints, numbers, booleans) and values. */
export type KvKey = readonly KvKeyPart[];
/** Which state a read may show. Both are the newest here. */
export type KvConsistencyLevel = "strong" | "eventual";

/** An entry that is there. */
export interface KvEntry<T> {
  key: KvKey;
  value: T;
  /** 20 hexadecimal digits that only grow, the same for all that was written by one commit. */
  versionstamp: string;
}
/** An entry, or that there is none. */
export type KvEntryMaybe<T> = KvEntry<T> | { key: KvKey; value: null; versionstamp: null };

/** Which keys a list has: those below a prefix, without itself, or from `start` to before `end`. */
export type KvListSelector =
  | { prefix: KvKey }
  | { prefix: KvKey; start: KvKey }
  | { prefix: KvKey; end: KvKey }
  | { start: KvKey; end: KvKey };

/** How a list is read. */
export interface KvListOptions {
  /** At most so many entries, 1 or more. Default: all. */
  limit?: number;
  /** Where an earlier list with the same selector and direction stopped. */
  cursor?: string;
  /** From the last key to the first. */
  reverse?: boolean;
  consistency?: KvConsistencyLevel;
  /** Entries that are read at once, and so of one state. Default 100. */
  batchSize?: number;
}

/** An entry of a list after the other. */
export interface KvListIterator<T> extends AsyncIterableIterator<KvEntry<T>> {
  /** Where the list is, for the option `cursor` of another. Throws before the first entry. */
  readonly cursor: string;
  next(): Promise<IteratorResult<KvEntry<T>, undefined>>;
  [Symbol.asyncIterator](): KvListIterator<T>;
}

/** A commit that was done. */
export interface KvCommitResult {
  ok: true;
  /** That of all entries that it wrote. */
  versionstamp: string;
}
/** A commit that was not done, because a check failed. */
export interface KvCommitError {
  ok: false;
}

/** That an entry still has a versionstamp, or, with `null`, is not there. */
export interface AtomicCheck {
  key: KvKey;
  versionstamp: string | null;
}

/** What `atomic().mutate` takes. */
export type KvMutation = { key: KvKey } & (
  | { type: "set"; value: unknown; expireIn?: number }
  | { type: "delete" }
  | { type: "sum" | "min" | "max"; value: { readonly value: bigint } }
);
