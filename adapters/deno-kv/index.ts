/**
 * `cairn-kv/deno-kv`: the interface of `Deno.Kv` over a store, on every runtime.
 *
 * @module cairn-kv/deno-kv
 */
import { type BlockDevice, CairnError, type OpenOptions, open, type Store } from "cairn-kv";
import { type AtomicGround, AtomicOperation, checkExpiry, expiryOf, type KvOperation, noQueues } from "./atomic.ts";
import { encodeKey } from "./keys.ts";
import { listOf, type ReadBatch } from "./list.ts";
import type {
  KvCommitResult,
  KvConsistencyLevel,
  KvEntryMaybe,
  KvKey,
  KvListIterator,
  KvListOptions,
  KvListSelector,
} from "./types.ts";
import { decodeValue, encodeValue } from "./values.ts";
import { watchStream } from "./watch.ts";

export type { AtomicOperation } from "./atomic.ts";
export type * from "./types.ts";
export { KvU64 } from "./values.ts";

/** The store beneath: keys as Deno encodes them, values as `values.ts` says. */
export type KvStore = Store<Uint8Array, Uint8Array>;

/** Options of `openKv`: those of `open` but encodings, and when writes resolve. */
export interface KvOptions extends Omit<OpenOptions, "keyEncoding" | "valueEncoding"> {
  /**
   * Whether writes resolve only when they are on stable storage. Default `true`; with `false` they resolve at once, and are
   * durable as the option `durability` says.
   */
  sync?: boolean;
}

/**
 * Opens a store with the interface of `Deno.Kv`. `location` is what `open` takes, and so are the errors.
 *
 * As in Deno: keys of parts and their order, `get`, `getMany`, `set`, `delete`, `list` with its selectors and cursors,
 * `atomic`, `watch`, versionstamps, `expireIn`, and values that `structuredClone` takes. Different: a key has at most 2,048
 * bytes, as there, but a value 64 MiB, and calls take any number of keys, checks and mutations; errors are `CairnError`; an
 * entry is gone the moment that it expires. Queues are not there: `enqueue` and `listenQueue` throw `UNSUPPORTED`.
 */
export async function openKv(location: string | URL | BlockDevice, options: KvOptions = {}): Promise<Kv> {
  const { sync = true, ...rest } = options;
  const store = await open(location, { ...rest, keyEncoding: "binary", valueEncoding: "binary" });
  return new Kv(store, sync);
}

/** What `openKv` gives: `Deno.Kv`. */
export class Kv {
  /** The store beneath. `watch` sees what is written there directly as well. */
  readonly store: KvStore;
  private readonly syncs: boolean;
  private readonly ground: AtomicGround;

  /** Made by `openKv`. @internal */
  constructor(store: KvStore, syncs: boolean) {
    this.store = store;
    this.syncs = syncs;
    this.ground = {
      versionstampOf: (key) => stampOf(store.getEntry(key)?.version),
      get: (key) => store.get(key),
      write: (operations) => this.write(operations),
    };
  }

  /** The entry of a key: `value` and `versionstamp` are `null` when there is none. */
  async get<T = unknown>(key: KvKey, options?: { consistency?: KvConsistencyLevel }): Promise<KvEntryMaybe<T>> {
    checkConsistency(options, "get");
    const bytes = encodeKey(key, "get");
    // A value that is not in memory is read without blocking; then all of the entry is taken at once.
    if (bytes.length > 0) await this.store.getAsync(bytes);
    return this.look<T>(key, bytes).entry;
  }

  /** The entries of many keys, all of one moment. */
  // biome-ignore lint/suspicious/noExplicitAny: as in Deno's own types.
  async getMany<T extends readonly unknown[] = any[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
    options?: { consistency?: KvConsistencyLevel },
  ): Promise<{ [K in keyof T]: KvEntryMaybe<T[K]> }> {
    checkConsistency(options, "getMany");
    const encoded = keys.map((key: KvKey) => encodeKey(key, "getMany"));
    await this.store.getMany(encoded.filter(({ length }) => length > 0));
    return keys.map((key: KvKey, index) => this.look(key, encoded[index] as Uint8Array).entry) as {
      [K in keyof T]: KvEntryMaybe<T[K]>;
    };
  }

  /** Stores a value, for ever or for `expireIn` milliseconds. */
  async set(key: KvKey, value: unknown, options: { expireIn?: number } = {}): Promise<KvCommitResult> {
    const { expireIn } = options;
    checkExpiry(expireIn, "set");
    const bytes = encodeKey(key, "set");
    const operation: KvOperation = { type: "set", key: bytes, value: encodeValue(value, "set"), ...expiryOf(expireIn) };
    return { ok: true, versionstamp: await this.write([operation]) };
  }

  /** Deletes an entry, if it is there. */
  async delete(key: KvKey): Promise<void> {
    await this.write([{ type: "delete", key: encodeKey(key, "delete") }]);
  }

  /**
   * Entries in the order of their keys. They are read `batchSize` at a time, each batch of one moment; its values that are
   * not in memory are read without blocking.
   */
  list<T = unknown>(selector: KvListSelector, options: KvListOptions = {}): KvListIterator<T> {
    const { store } = this;
    const read: ReadBatch = async (span, limit) => {
      await store.getMany([...store.keys({ ...span, limit })]);
      return Array.from(store.keys({ ...span, limit }), (bytes) => {
        const { value, version } = store.getEntry(bytes) as { value: Uint8Array; version: number };
        return { bytes, value: decodeValue(value), versionstamp: stampOf(version) };
      });
    };
    return listOf<T>(selector, options, read);
  }

  /** An atomic operation to fill. */
  atomic(): AtomicOperation {
    return new AtomicOperation(this.ground);
  }

  /**
   * A stream of the entries of some keys: at first, and whenever one of them was changed, by whatever call, or expired. Who
   * reads slowly gets the newest entries and not those between. It ends when the `Kv` is closed.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as in Deno's own types.
  watch<T extends readonly unknown[] = any[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
  ): ReadableStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }> {
    const list = keys.map((key: KvKey) => ({ key, bytes: encodeKey(key, "watch") }));
    return watchStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }>({
      look: () => {
        const seen = list.map(({ key, bytes }) => this.look(key, bytes));
        return {
          entries: seen.map(({ entry }) => entry) as { [K in keyof T]: KvEntryMaybe<T[K]> },
          state: seen.map(({ entry }) => entry.versionstamp).join(),
          expiresAt: seen.reduce<number | undefined>(
            (first, { expiresAt }) =>
              expiresAt === undefined ? first : first === undefined ? expiresAt : Math.min(first, expiresAt),
            undefined,
          ),
        };
      },
      changes: () => {
        const watched = list.map(({ bytes }) => bytes).filter(({ length }) => length > 0);
        return this.store.watch(watched, { durable: this.syncs });
      },
    });
  }

  /** Queues are not there: rejects with `UNSUPPORTED`. */
  async enqueue(_value?: unknown, _options?: object): Promise<KvCommitResult> {
    throw noQueues("enqueue");
  }

  /** Queues are not there: rejects with `UNSUPPORTED`. */
  async listenQueue(_handler?: unknown): Promise<void> {
    throw noQueues("listenQueue");
  }

  /** Keys that hold their own versionstamp are not there: throws `UNSUPPORTED`. */
  commitVersionstamp(): symbol {
    const message =
      "commitVersionstamp: versionstamps in keys are not supported. Use the one that a commit resolves to.";
    throw new CairnError("UNSUPPORTED", "commitVersionstamp", message);
  }

  /** Closes the store, with everything durable. Deno's returns nothing; this promise says when the lock is given up. */
  close(): Promise<void> {
    return this.store.close();
  }

  /** `close`, for `using`, which does not wait for it. */
  [Symbol.dispose](): void {
    void this.close();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private look<T>(key: KvKey, bytes: Uint8Array): { entry: KvEntryMaybe<T>; expiresAt: number | undefined } {
    const found = bytes.length === 0 ? undefined : this.store.getEntry(bytes);
    const copy = [...key];
    if (found === undefined) return { entry: { key: copy, value: null, versionstamp: null }, expiresAt: undefined };
    const { value, version, expiresAt } = found;
    return { entry: { key: copy, value: decodeValue(value) as T, versionstamp: stampOf(version) }, expiresAt };
  }

  private write(operations: KvOperation[]): Promise<string> {
    const { store } = this;
    let durable: Promise<unknown> | undefined;
    if (this.syncs) durable = store.batch(operations);
    else {
      const batch = store.batch();
      for (const operation of operations) {
        if (operation.type !== "set") batch.delete(operation.key);
        else batch.set(operation.key, operation.value, { expiresIn: operation.expiresIn });
      }
      batch.commit();
    }
    const versionstamp = stampOf(store.version);
    return durable === undefined ? Promise.resolve(versionstamp) : durable.then(() => versionstamp);
  }
}

/** A version of the store as 20 hexadecimal digits, the last four of which count within a commit in Deno. */
function stampOf(version: number): string;
function stampOf(version: number | undefined): string | null;
function stampOf(version: number | undefined): string | null {
  return version === undefined ? null : `${version.toString(16).padStart(16, "0")}0000`;
}

function checkConsistency(options: { consistency?: KvConsistencyLevel } | undefined, operation: string): void {
  const consistency = options?.consistency;
  if (consistency === undefined || consistency === "strong" || consistency === "eventual") return;
  const message = `${operation}: consistency must be "strong" or "eventual", not ${consistency}.`;
  throw new CairnError("INVALID_ARGUMENT", operation, message);
}
