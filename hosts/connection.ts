/** A page's face of a store that a worker holds: the calls of `Store`, as promises. */
import { type BatchOperation, deleteOperation, type PreparedOperation, prepare, setOperation } from "../store/batch.ts";
import { type CompactOptions, type CompactReport, readCompactOptions } from "../store/compaction.ts";
import type { Format } from "../store/encoding.ts";
import {
  DELETE_OPTIONS,
  type DeleteOptions,
  type Entry,
  isConditional,
  optionsOf,
  readWriteOptions,
  type WriteOptions,
} from "../store/entry.ts";
import { CairnError } from "../store/error.ts";
import type { Durability } from "../store/options.ts";
import { merging, refusePromise } from "../store/partial.ts";
import { type Range, type Span, spanOf, WHOLE, wholeOf } from "../store/range.ts";
import { NO_PREFIX } from "../store/scope.ts";
import type { StoreStats } from "../store/stats.ts";
import { checkVerifyOptions, type VerifyOptions, type VerifyReport } from "../store/verify.ts";
import type { Tab } from "./browser-tab.ts";
import { EntryWalk, KeyWalk, ValueWalk } from "./connection-walk.ts";
import { decodeWire, type WireBytes, type WireCall, type WireOperation, type WireRange } from "./connection-wire.ts";
import type { Conversation } from "./conversation.ts";

/** Bytes from this size on are handed over to the worker, not copied a second time. */
const TRANSFER_SIZE_MIN = 4096;
/** Times that `update` begins anew because the key was written meanwhile. */
const REPLACE_TRIES = 100;

/** What `stats()` of a connection reports. */
export interface ConnectionStats extends StoreStats {
  /** Whether the worker of this tab holds the store. */
  isOwner: boolean;
}

/** What a connection was opened with. */
export interface ConnectionSettings {
  keys: Format;
  values: Format;
  durability: Durability;
  readOnly: boolean;
  /** What the browser said when it was asked to keep the origin's files; `undefined` before. */
  persisted(): boolean | undefined;
}

/**
 * An open connection. Connections come from `connect`.
 *
 * Calls are done in the order in which they were made, and those of one turn of the event loop travel together. When the
 * worker that holds the store ends, whether its tab was closed or it was killed, another takes over: reads are asked
 * again, writes that were answered are there, and a write that was sent and not answered rejects with `DEVICE_WRITE`:
 * it may have happened or not.
 */
export class Connection<K = string, V = string> {
  private readonly tab: Tab;
  private readonly conversation: Conversation;
  private readonly settings: ConnectionSettings;
  private closing: Promise<void> | undefined;

  /** Connections come from `connect`. @internal */
  constructor(tab: Tab, settings: ConnectionSettings) {
    this.tab = tab;
    this.conversation = tab.conversation;
    this.settings = settings;
  }

  /** The value of a key, or `undefined`. */
  async get(key: K): Promise<V | undefined> {
    return this.value(await this.ask("get", [this.key(key, "get")]), "get");
  }

  /** The values of many keys, in their order, `undefined` for those that are not there. */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    const found = await this.ask("getMany", [keys.map((key) => this.key(key, "getMany"))]);
    return (found as (WireBytes | undefined)[]).map((value) => this.value(value, "getMany"));
  }

  /** The value of a key with its version, expiry and timestamp, or `undefined`. */
  async getEntry(key: K): Promise<Entry<V> | undefined> {
    const entry = (await this.ask("getEntry", [this.key(key, "getEntry")])) as Entry<WireBytes> | undefined;
    if (entry === undefined) return undefined;
    return { ...entry, value: this.value(entry.value, "getEntry") as V };
  }

  /** Whether a key is there. */
  async has(key: K): Promise<boolean> {
    return (await this.ask("has", [this.key(key, "has")])) as boolean;
  }

  /**
   * Stores a value: `true` when it is visible to all tabs, under the durability `"sync"` when it is durable, and so where it
   * has a condition or a timestamp, for these cannot be judged again by another owner. `false` when `ifVersion` did not hold.
   */
  async set(key: K, value: V, options?: WriteOptions): Promise<boolean> {
    return this.write(this.isSync || isConditional(options) ? "put" : "set", key, value, options, "set");
  }

  /** Stores a value: `true` when it is on stable storage. */
  async put(key: K, value: V, options?: WriteOptions): Promise<boolean> {
    return this.write("put", key, value, options, "put");
  }

  /** Deletes a key: whether it was there. Durable as `set` is. */
  async delete(key: K, options?: DeleteOptions): Promise<boolean> {
    this.writable("delete");
    if (options !== undefined) readWriteOptions(options, "delete", DELETE_OPTIONS);
    const call = this.isSync || isConditional(options) ? "del" : "delete";
    return (await this.ask(call, [this.key(key, "delete"), options])) as boolean;
  }

  /** Deletes a key: whether it was there, when that is on stable storage. */
  async del(key: K, options?: DeleteOptions): Promise<boolean> {
    this.writable("del");
    if (options !== undefined) readWriteOptions(options, "del", DELETE_OPTIONS);
    return (await this.ask("del", [this.key(key, "del"), options])) as boolean;
  }

  /** Appends bytes to the stored value; a key that is absent is created. Always `true`. Durable as `set` is. */
  async append(key: K, bytes: string | Uint8Array): Promise<boolean> {
    this.writable("append");
    return (await this.partly("append", [this.key(key, "append"), pieceOf(bytes, "append")])) as boolean;
  }

  /** Writes bytes over the stored value from byte `offset` on. Always `true`. Durable as `set` is. */
  async patch(key: K, offset: number, bytes: string | Uint8Array): Promise<boolean> {
    this.writable("patch");
    return (await this.partly("patch", [this.key(key, "patch"), offset, pieceOf(bytes, "patch")])) as boolean;
  }

  /** Adds to a number of 64 bits: the new value. Durable as `set` is. */
  async increment(key: K, by = 1n): Promise<bigint> {
    this.writable("increment");
    return (await this.partly("increment", [this.key(key, "increment"), by])) as bigint;
  }

  /** Merges a patch into a JSON value as RFC 7396 says. Always `true`. In the way of `update`. */
  async merge(key: K, patch: unknown): Promise<boolean> {
    this.writable("merge");
    const merged = merging(this.settings.values, key, patch);
    await this.replace(key, "merge", (value) => merged(value) as V);
    return true;
  }

  /**
   * Reads, changes and writes a value, on stable storage when it resolves: what `fn` returned, which `undefined` deletes.
   * When somebody else has written the key meanwhile, `fn` is called again with the new value; `CONFLICT` after 100 times.
   */
  async update<R extends V | undefined>(key: K, fn: (value: V | undefined) => R): Promise<R> {
    this.writable("update");
    if (typeof fn !== "function") throw invalid("update", "fn must be a function.");
    return this.replace(key, "update", (value) => {
      const next = fn(value);
      refusePromise(next);
      return next;
    });
  }

  /** A batch to fill. */
  batch(): ConnectionBatch<K, V>;
  /** Does all operations at once: what each of them returned, when they are on stable storage. All of them, or none. */
  batch(operations: readonly BatchOperation<K, V>[]): Promise<boolean[]>;
  batch(operations?: readonly BatchOperation<K, V>[]): ConnectionBatch<K, V> | Promise<boolean[]> {
    if (operations !== undefined) return this.runBatch(operations, true);
    return new ConnectionBatch<K, V>((list, durable) => this.runBatch(list, durable || this.isSync));
  }

  /** Keys and values of a range, through a snapshot that is taken when this call reaches the store. */
  entries(range?: Range<K>): EntryWalk<K, V> {
    const { keys, values } = this.settings;
    return new EntryWalk<K, V>(this.conversation, this.range(range, "entries"), keys, values);
  }

  /** Keys of a range, through a snapshot as that of `entries`. */
  keys(range?: Range<K>): KeyWalk<K> {
    const { keys, values } = this.settings;
    return new KeyWalk<K>(this.conversation, this.range(range, "keys"), keys, values);
  }

  /** Values of a range in the order of their keys, through a snapshot as that of `entries`. */
  values(range?: Range<K>): ValueWalk<K, V> {
    const { keys, values } = this.settings;
    return new ValueWalk<K, V>(this.conversation, this.range(range, "values"), keys, values);
  }

  /** All entries: `for await (const [key, value] of connection)`. */
  [Symbol.asyncIterator](): EntryWalk<K, V> {
    return this.entries();
  }

  /** How many keys a range holds. */
  async count(range?: Range<K>): Promise<number> {
    return (await this.ask("count", [this.range(range, "count")])) as number;
  }

  /** Deletes the keys of a range, all at once, without one the whole store: how many there were. Durable as `set` is. */
  async clear(range?: Range<K>): Promise<number> {
    this.writable("clear");
    const wire = this.range(range, "clear");
    if (wire.reverse || wire.limit !== undefined)
      throw invalid("clear", "a range to clear has no reverse and no limit.");
    const cleared = this.ask("clear", [wire]);
    if (this.isSync) await Promise.all([cleared, this.flush()]);
    return (await cleared) as number;
  }

  /** Resolves when everything written before is on stable storage, what other tabs wrote included. */
  async flush(): Promise<void> {
    await this.ask("flush", []);
  }

  /** Counters and gauges, every name with its unit. */
  async stats(): Promise<ConnectionStats> {
    const stats = (await this.ask("stats", [])) as StoreStats;
    const persisted = this.settings.persisted() ?? stats.persisted;
    return { ...stats, ...(persisted === undefined ? {} : { persisted }), isOwner: this.tab.isOwner };
  }

  /**
   * Walks every block, every record, both indexes and all accounts of the store, in the worker that holds it, and reports
   * what is wrong with its place. Other calls go on meanwhile. When another worker takes the store over before the end,
   * that one begins anew, and so does the progress.
   */
  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    checkVerifyOptions(options);
    const { onProgress } = options;
    return (await this.ask("verify", [onProgress !== undefined], undefined, onProgress)) as VerifyReport;
  }

  /**
   * Copies what is live in segments with much garbage, in the worker that holds the store, so that their space can be used
   * anew: one bounded step, or all of it with `full`. `READ_ONLY` for a connection that was opened so.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    this.writable("compact");
    return (await this.ask("compact", [readCompactOptions(options)])) as CompactReport;
  }

  /** Makes everything durable and leaves. The tab that held the store hands it over to another. */
  close(): Promise<void> {
    this.closing ??= this.tab.close(new CairnError("CLOSED", "connection", "the connection is closed. Connect again."));
    return this.closing;
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the worker of this tab at once, as a crash would, and starts another: for tests and demonstrations. */
  killWorker(): void {
    this.tab.killWorker();
  }

  private get isSync(): boolean {
    return this.settings.durability === "sync";
  }

  private async write(
    call: "set" | "put",
    key: K,
    value: V,
    options: WriteOptions | undefined,
    operation: string,
  ): Promise<boolean> {
    this.writable(operation);
    if (options !== undefined) readWriteOptions(options, operation);
    const encodedKey = this.key(key, operation);
    const encoded = own(this.settings.values.encode(value, "value", operation));
    // What is not durable when it is answered may have to be sent again.
    const transfer = call === "put" ? transferOf(encoded) : undefined;
    return (await this.ask(call, [encodedKey, encoded, options], transfer)) as boolean;
  }

  private async runBatch(operations: readonly BatchOperation<K, V>[], durable: boolean): Promise<boolean[]> {
    this.writable("batch");
    if (!Array.isArray(operations)) throw invalid("batch", "the operations must be an array.");
    const wire = operations.map((operation, index): WireOperation => {
      const { key, value, words }: PreparedOperation = prepare(operation, index, this.settings);
      const encoded = value === undefined ? undefined : own(value);
      const options = words === undefined ? undefined : optionsOf(operation);
      if (options !== undefined) return [own(key), encoded, options];
      return encoded === undefined ? [own(key)] : [own(key), encoded];
    });
    const call = durable || wire.some(([, , options]) => isConditional(options)) ? "batchDurable" : "batch";
    return (await this.ask(call, [wire])) as boolean[];
  }

  private ask(
    call: WireCall,
    args: unknown[],
    transfer?: ArrayBuffer[],
    onProgress?: VerifyOptions["onProgress"],
  ): Promise<unknown> {
    return this.conversation.ask(call, args, transfer, onProgress);
  }

  /** A partial update, durable as the store's writes are. */
  private async partly(call: "append" | "patch" | "increment", args: unknown[]): Promise<unknown> {
    const done = this.ask(call, args);
    if (this.isSync) await Promise.all([done, this.flush()]);
    return done;
  }

  private async replace<R extends V | undefined>(
    key: K,
    operation: string,
    next: (value: V | undefined) => R,
  ): Promise<R> {
    for (let tries = 0; tries < REPLACE_TRIES; tries++) {
      const entry = await this.getEntry(key);
      const value = next(entry?.value);
      if (value === undefined && entry === undefined) return value;
      const { expiresAt, timestamp } = entry ?? {};
      const ifVersion = entry?.version ?? null;
      const done =
        value === undefined
          ? await this.del(key, { ifVersion })
          : await this.put(key, value as V, { ifVersion, expiresAt, timestamp });
      if (done) return value;
    }
    const message = `${operation}: the key was written by somebody else ${REPLACE_TRIES} times in a row. Nothing was changed; try again later.`;
    throw new CairnError("CONFLICT", operation, message);
  }

  private writable(operation: string): void {
    if (!this.settings.readOnly) return;
    throw new CairnError("READ_ONLY", operation, `${operation}: the connection was opened with readOnly: true.`);
  }

  private key(key: K, operation: string): WireBytes {
    return own(this.settings.keys.encode(key, "key", operation));
  }

  private value(wire: unknown, operation: string): V | undefined {
    return wire === undefined ? undefined : (decodeWire(this.settings.values, wire, "value", operation) as V);
  }

  private range(range: Range<K> | undefined, operation: string): WireRange {
    if ((range as Range | null | undefined)?.snapshot !== undefined) {
      throw new CairnError("UNSUPPORTED", operation, `${operation}: a connection has no snapshots.`);
    }
    const { keys } = this.settings;
    const space = { keys, prefix: NO_PREFIX, whole: wholeOf(keys, NO_PREFIX) };
    const isWhole = range === undefined && operation === "clear";
    const span: Span = isWhole ? WHOLE : spanOf(range, space, operation);
    const limit = span.limit === Number.POSITIVE_INFINITY ? undefined : span.limit;
    return { gte: span.lower, lt: span.upper, reverse: span.reverse, limit };
  }
}

/** Collects operations; nothing happens before `commit` or `commitDurable`, and then all of it. */
export class ConnectionBatch<K, V> {
  private operations: BatchOperation<K, V>[] = [];
  private readonly run: (operations: BatchOperation<K, V>[], durable: boolean) => Promise<boolean[]>;

  /** Connections make these: `connection.batch()`. */
  constructor(run: (operations: BatchOperation<K, V>[], durable: boolean) => Promise<boolean[]>) {
    this.run = run;
  }

  /** How many operations wait. */
  get length(): number {
    return this.operations.length;
  }

  /** Adds a write. */
  set(key: K, value: V, options?: WriteOptions): this {
    this.operations.push(setOperation(key, value, options));
    return this;
  }

  /** Adds a deletion. */
  delete(key: K, options?: DeleteOptions): this {
    this.operations.push(deleteOperation(key, options));
    return this;
  }

  /** Forgets all operations. */
  clear(): this {
    this.operations = [];
    return this;
  }

  /** Does all operations at once: visible when it resolves, durable as `set` is. What each of them returned. */
  commit(): Promise<boolean[]> {
    return this.take(false);
  }

  /** Does all operations at once: resolves when they are on stable storage. */
  commitDurable(): Promise<boolean[]> {
    return this.take(true);
  }

  private take(durable: boolean): Promise<boolean[]> {
    const { operations } = this;
    this.operations = [];
    return this.run(operations, durable);
  }
}

/** What is appended, or written over, in a form of our own. */
function pieceOf(bytes: unknown, operation: string): WireBytes {
  if (typeof bytes === "string" || bytes instanceof Uint8Array) return own(bytes);
  throw invalid(operation, "the bytes must be a string or a Uint8Array.");
}

/** Bytes of our own: the program may change its buffer once the call has returned, and a view would bring all of it. */
function own(encoded: WireBytes): WireBytes {
  return typeof encoded === "string" ? encoded : new Uint8Array(encoded);
}

function transferOf(encoded: WireBytes): ArrayBuffer[] | undefined {
  if (typeof encoded === "string" || encoded.length < TRANSFER_SIZE_MIN) return undefined;
  return [encoded.buffer as ArrayBuffer];
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
