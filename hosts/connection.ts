/** A page's face of a store that a worker holds: the calls of `Store`, as promises. */
import { type BatchOperation, type PreparedOperation, prepare, refuseOptions } from "../store/batch.ts";
import { type CompactOptions, type CompactReport, readCompactOptions } from "../store/compaction.ts";
import type { Format } from "../store/encoding.ts";
import { CairnError } from "../store/error.ts";
import type { Durability } from "../store/options.ts";
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

  /** Connections come from `connect`. */
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

  /** Whether a key is there. */
  async has(key: K): Promise<boolean> {
    return (await this.ask("has", [this.key(key, "has")])) as boolean;
  }

  /** Stores a value: `true` when it is visible to all tabs, under the durability `"sync"` when it is durable. */
  async set(key: K, value: V, options?: object): Promise<boolean> {
    return this.write(this.isSync ? "put" : "set", key, value, options, "set");
  }

  /** Stores a value: `true` when it is on stable storage. */
  async put(key: K, value: V, options?: object): Promise<boolean> {
    return this.write("put", key, value, options, "put");
  }

  /** Deletes a key: whether it was there. Durable as `set` is. */
  async delete(key: K, options?: object): Promise<boolean> {
    this.writable("delete", options);
    return (await this.ask(this.isSync ? "del" : "delete", [this.key(key, "delete")])) as boolean;
  }

  /** Deletes a key: whether it was there, when that is on stable storage. */
  async del(key: K, options?: object): Promise<boolean> {
    this.writable("del", options);
    return (await this.ask("del", [this.key(key, "del")])) as boolean;
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
    this.writable("clear", undefined);
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
    this.writable("compact", undefined);
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
    options: object | undefined,
    operation: string,
  ): Promise<boolean> {
    this.writable(operation, options);
    const encodedKey = this.key(key, operation);
    const encoded = own(this.settings.values.encode(value, "value", operation));
    // What is not durable when it is answered may have to be sent again.
    const transfer = call === "put" ? transferOf(encoded) : undefined;
    return (await this.ask(call, [encodedKey, encoded], transfer)) as boolean;
  }

  private async runBatch(operations: readonly BatchOperation<K, V>[], durable: boolean): Promise<boolean[]> {
    this.writable("batch", undefined);
    if (!Array.isArray(operations)) throw invalid("batch", "the operations must be an array.");
    const wire = operations.map((operation, index): WireOperation => {
      const { key, value }: PreparedOperation = prepare(operation, index, this.settings);
      return value === undefined ? [own(key)] : [own(key), own(value)];
    });
    const call = durable ? "batchDurable" : "batch";
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

  private writable(operation: string, options: object | undefined): void {
    if (options !== undefined) refuseOptions(options, operation);
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
  set(key: K, value: V, options?: object): this {
    if (options !== undefined) refuseOptions(options, "batch");
    this.operations.push({ type: "set", key, value });
    return this;
  }

  /** Adds a deletion. */
  delete(key: K, options?: object): this {
    if (options !== undefined) refuseOptions(options, "batch");
    this.operations.push({ type: "delete", key });
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
