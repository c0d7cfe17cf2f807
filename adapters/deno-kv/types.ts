/** The types of `Deno.Kv`, for programs on every runtime. Each has the name that it has in Deno. */
import type { KvU64 } from "./values.ts";

/** A part of a key. */
export type KvKeyPart = Uint8Array | string | number | bigint | boolean;
/** A key: parts of any types, in the order of their types (bytes, strings, bigints, numbers, booleans) and values. */
export type KvKey = readonly KvKeyPart[];
/** Which state a read may show. Both are the newest here. */
export type KvConsistencyLevel = "strong" | "eventual";

/** An entry that is there. */
export interface KvEntry<T> {
  /** Its key. */
  key: KvKey;
  /** Its value: a copy of what was stored. */
  value: T;
  /** 20 hexadecimal digits that only grow, the same for all that was written by one commit. */
  versionstamp: string;
}
/** An entry, or that there is none. */
export type KvEntryMaybe<T> =
  | KvEntry<T>
  | {
      /** The key that was asked for. */
      key: KvKey;
      /** There is none. */
      value: null;
      /** There is none. */
      versionstamp: null;
    };

/** Which keys a list has: those below a prefix, without itself, or from `start` to before `end`. */
export type KvListSelector =
  | {
      /** Keys that begin with these parts. */
      prefix: KvKey;
    }
  | {
      /** Keys that begin with these parts. */
      prefix: KvKey;
      /** The first key. */
      start: KvKey;
    }
  | {
      /** Keys that begin with these parts. */
      prefix: KvKey;
      /** The key behind the last one. */
      end: KvKey;
    }
  | {
      /** The first key. */
      start: KvKey;
      /** The key behind the last one. */
      end: KvKey;
    };

/** How a list is read. */
export interface KvListOptions {
  /** At most so many entries, 1 or more. Default: all. */
  limit?: number;
  /** Where an earlier list with the same selector and direction stopped. */
  cursor?: string;
  /** From the last key to the first. */
  reverse?: boolean;
  /** Which state is shown. Both are the newest here. */
  consistency?: KvConsistencyLevel;
  /** Entries that are read at once, and so of one state. Default 100. */
  batchSize?: number;
}

/** An entry of a list after the other. */
export interface KvListIterator<T> extends AsyncIterableIterator<KvEntry<T>> {
  /** Where the list is, for the option `cursor` of another. Throws before the first entry. */
  readonly cursor: string;
  /** The next entry. */
  next(): Promise<IteratorResult<KvEntry<T>, undefined>>;
  /** Itself. */
  [Symbol.asyncIterator](): KvListIterator<T>;
}

/** A commit that was done. */
export interface KvCommitResult {
  /** That it was done. */
  ok: true;
  /** That of all entries that it wrote. */
  versionstamp: string;
}
/** A commit that was not done, because a check failed. */
export interface KvCommitError {
  /** That nothing of it was done. */
  ok: false;
}

/** That an entry still has a versionstamp, or, with `null`, is not there. */
export interface AtomicCheck {
  /** The key that is looked at. */
  key: KvKey;
  /** What its entry must have; `null`: there must be none. */
  versionstamp: string | null;
}

/** What `atomic().mutate` takes. */
export type KvMutation = {
  /** The key. */
  key: KvKey;
} & (
  | {
      /** A write. */
      type: "set";
      /** The new value. */
      value: unknown;
      /** Milliseconds that the entry lives. Default: for ever. */
      expireIn?: number;
    }
  | {
      /** A deletion. */
      type: "delete";
    }
  | {
      /** A `KvU64`, or its absence, that is added to, or compared with. */
      type: "sum" | "min" | "max";
      /** By what. */
      value: Pick<KvU64, "value">;
    }
);
