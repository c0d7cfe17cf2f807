/** The face of a store that somebody else holds, a worker of a page or a server: the calls of `Store`, as promises. */
import type { BackupOptions, BackupStream } from "../backup/stream.ts";
import type { BatchOperation, SubOperation } from "../batch.ts";
import { type CompactOptions, type CompactReport, readCompactOptions } from "../compaction.ts";
import type { KeyEncoding, ValueEncoding } from "../encoding.ts";
import { DELETE_OPTIONS, type DeleteOptions, isConditional, readWriteOptions, type WriteOptions } from "../entry.ts";
import { CairnError } from "../error.ts";
import { prefixOf, subFormats } from "../namespace.ts";
import type { Durability, KeyOf, ValueOf } from "../options.ts";
import { merging, refusePromise } from "../partial.ts";
import type { Range } from "../range.ts";
import { invalid } from "../refusals.ts";
import { NO_PREFIX } from "../scope.ts";
import type { StoreStats } from "../stats.ts";
import type { TransactOptions } from "../transaction.ts";
import { checkVerifyOptions, type VerifyOptions, type VerifyReport } from "../verify.ts";
import type { WatchOptions, WatchRange } from "../watch.ts";
import { backupOver } from "./backup.ts";
import { ConnectionBatch, wireOperations } from "./batch.ts";
import type { Conversation } from "./conversation.ts";
import { ConnectionFace, checkWritable, pieceOf, spaceIn, transferOf } from "./face.ts";
import { type ConnectionRange, ConnectionReads } from "./reads.ts";
import { ConnectionSnapshot } from "./snapshot.ts";
import { type ConnectionTransaction, transactOver } from "./transaction.ts";
import { type ConnectionWatch, watchOver } from "./watch.ts";

/** Times that `update` begins anew because the key was written meanwhile. */
const REPLACE_TRIES = 100;

/** What a connection was opened with. */
export interface ConnectionSettings {
  durability: Durability;
  readOnly: boolean;
}

/** The way to whoever holds the store. */
export interface Line {
  readonly conversation: Conversation;
  /** Leaves in order: what was asked is answered, and what was written is durable. Later calls are refused for this reason. */
  close(reason: CairnError): Promise<void>;
}

/**
 * An open connection. Connections come from `connect`.
 *
 * Calls are done in the order in which they were made, and those of one turn of the event loop travel together. When the
 * worker that holds the store ends, whether its tab was closed or it was killed, another takes over: reads are asked
 * again, writes that were answered are there, and a write that was sent and not answered rejects with `DEVICE_WRITE`:
 * it may have happened or not.
 */
export class Connection<K = string, V = string> extends ConnectionReads<K, V> {
  protected readonly line: Line;
  protected readonly settings: ConnectionSettings;

  /** Connections come from `connect`, and from `sub`. @internal */
  constructor(line: Line, settings: ConnectionSettings, face: ConnectionFace) {
    super(face);
    this.line = line;
    this.settings = settings;
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
    return (await this.face.ask(call, [this.face.key(key, "delete"), options])) as boolean;
  }

  /** Deletes a key: whether it was there, when that is on stable storage. */
  async del(key: K, options?: DeleteOptions): Promise<boolean> {
    this.writable("del");
    if (options !== undefined) readWriteOptions(options, "del", DELETE_OPTIONS);
    return (await this.face.ask("del", [this.face.key(key, "del"), options])) as boolean;
  }

  /** Appends bytes to the stored value; a key that is absent is created. Always `true`. Durable as `set` is. */
  async append(key: K, bytes: string | Uint8Array): Promise<boolean> {
    this.writable("append");
    return (await this.partly("append", [this.face.key(key, "append"), pieceOf(bytes, "append")])) as boolean;
  }

  /** Writes bytes over the stored value from byte `offset` on. Always `true`. Durable as `set` is. */
  async patch(key: K, offset: number, bytes: string | Uint8Array): Promise<boolean> {
    this.writable("patch");
    return (await this.partly("patch", [this.face.key(key, "patch"), offset, pieceOf(bytes, "patch")])) as boolean;
  }

  /** Adds to a number of 64 bits: the new value. Durable as `set` is. */
  async increment(key: K, by = 1n): Promise<bigint> {
    this.writable("increment");
    return (await this.partly("increment", [this.face.key(key, "increment"), by])) as bigint;
  }

  /** Merges a patch into a JSON value as RFC 7396 says. Always `true`. In the way of `update`. */
  async merge(key: K, patch: unknown): Promise<boolean> {
    this.writable("merge");
    const merged = merging(this.face.values, key, patch);
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
  batch(operations: readonly (BatchOperation<K, V> | SubOperation)[]): Promise<boolean[]>;
  batch(operations?: readonly (BatchOperation<K, V> | SubOperation)[]): ConnectionBatch<K, V> | Promise<boolean[]> {
    if (operations !== undefined) return this.runBatch(operations, true);
    return new ConnectionBatch<K, V>({
      operations: [],
      check: (sub) => spaceIn(sub, this.face.conversation, "in"),
      run: (list, durable) => this.runBatch(list, durable || this.isSync),
    });
  }

  /**
   * A read-only view of the moment at which this call reaches the store, held by the worker that owns it. Close it, or use
   * `await using`.
   */
  snapshot(): Promise<ConnectionSnapshot<K, V>> {
    return ConnectionSnapshot.take<K, V>(this.face);
  }

  /**
   * Runs `fn(tx)` on the page over a snapshot of its beginning, and does all that it wrote at once, on stable storage when it
   * resolves, provided that nothing it read has changed, walks as far as they were fetched. Otherwise `fn` runs again, after a
   * random pause that grows, at most `retries` times (10); then it rejects with `CONFLICT`. So it does when the worker that
   * owns the store ends meanwhile, but for its end: a transaction that was being done then rejects with `DEVICE_WRITE`, since
   * it may have happened or not. What `fn` rejects with, it rejects with, and nothing is done.
   */
  transact<T>(fn: (tx: ConnectionTransaction<K, V>) => Promise<T> | T, options?: TransactOptions): Promise<T> {
    return transactOver<K, V, T>(this.face, this.settings.readOnly, fn, options);
  }

  /**
   * A namespace: see `Store.sub`. It is the same connection: `flush`, `stats`, `verify`, `compact`, `backup` and `close` are
   * the whole one's.
   */
  sub<SubK extends KeyEncoding = "utf8", SubV extends ValueEncoding = "utf8">(
    name: string,
    encodings: { keyEncoding?: SubK; valueEncoding?: SubV } = {},
  ): Connection<KeyOf<SubK>, ValueOf<SubV>> {
    const { line, settings } = this;
    return new Connection(line, settings, this.faceBelow(name, encodings));
  }

  /**
   * What is written to a range, or to the keys in an array, by whichever tab: as `Store.watch`, but always when it is on stable
   * storage. When another worker takes the store over the watch goes on there, without a gap.
   */
  watch(what?: WatchRange<K> | readonly K[], options: Omit<WatchOptions, "durable"> = {}): ConnectionWatch<K, V> {
    return watchOver<K, V>(this.face, what, options);
  }

  /** Deletes the keys of a range, all at once, without one the whole store: how many there were. Durable as `set` is. `INVALID_ARGUMENT` for a range without a bound. */
  async clear(range?: Range<K>): Promise<number> {
    this.writable("clear");
    const wire = this.face.rangeToClear(range);
    const cleared = this.face.ask("clear", [wire]);
    if (this.isSync) await Promise.all([cleared, this.flush()]);
    return (await cleared) as number;
  }

  /** Resolves when everything written before is on stable storage, what other tabs wrote included. */
  async flush(): Promise<void> {
    await this.face.ask("flush", []);
  }

  /** Counters and gauges, every name with its unit. */
  async stats(): Promise<StoreStats> {
    return (await this.face.ask("stats", [])) as StoreStats;
  }

  /**
   * Walks every block, every record, both indexes and all accounts of the store, in the worker that holds it, and reports
   * what is wrong with its place. Other calls go on meanwhile. When another worker takes the store over before the end,
   * that one begins anew, and so does the progress.
   */
  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    checkVerifyOptions(options);
    const { onProgress } = options;
    return (await this.face.ask("verify", [onProgress !== undefined], undefined, onProgress)) as VerifyReport;
  }

  /**
   * Copies what is live in segments with much garbage, in the worker that holds the store, so that their space can be used
   * anew: one bounded step, or all of it with `full`. `READ_ONLY` for a connection that was opened so.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    this.writable("compact");
    return (await this.face.ask("compact", [readCompactOptions(options)])) as CompactReport;
  }

  /**
   * A consistent image of the whole store, as a stream of bytes that `restore` takes: as `Store.backup`, made by the worker
   * that holds the store, in parts of at most 1 MiB, as the reader asks for them. What it still reads is not freed until then,
   * so read it to its end, cancel it, or abort `signal`; it also ends with this page, and one that is dropped when it is collected.
   *
   * The stream errors as a store's does, with `SNAPSHOT_EXPIRED` when the worker that holds the store ends before its end, and
   * with `CLOSED` when this connection is closed. `since` goes on working when another worker has taken the store over.
   */
  backup(options?: BackupOptions): BackupStream {
    return backupOver(this.face.conversation, options);
  }

  /** Makes everything durable and leaves. */
  close(): Promise<void> {
    return this.line.close(new CairnError("CLOSED", "connection", "the connection is closed. Connect again."));
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The face of a namespace. `INVALID_ARGUMENT`. */
  protected faceBelow(name: string, encodings: object): ConnectionFace {
    const { face } = this;
    const path = [...face.path, name];
    let prefix = NO_PREFIX;
    for (const step of path) prefix = prefixOf(prefix, step);
    return new ConnectionFace(face.conversation, { path, ...subFormats(encodings) });
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
    const encodedKey = this.face.key(key, operation);
    const encoded = this.face.encoded(value, key, operation);
    // What is not durable when it is answered may have to be sent again.
    const transfer = call === "put" ? transferOf(encoded) : undefined;
    return (await this.face.ask(call, [encodedKey, encoded, options], transfer)) as boolean;
  }

  private async runBatch(operations: readonly unknown[], durable: boolean): Promise<boolean[]> {
    this.writable("batch");
    const wire = wireOperations(operations, this.face);
    const call = durable || wire.some(([, , options]) => isConditional(options)) ? "batchDurable" : "batch";
    return (await this.face.ask(call, [wire])) as boolean[];
  }

  /** A partial update, durable as the store's writes are. */
  private async partly(call: "append" | "patch" | "increment", args: unknown[]): Promise<unknown> {
    const done = this.face.ask(call, args);
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

  protected reading(range: ConnectionRange<K> | undefined, operation: string): ConnectionFace {
    const snapshot = (range as ConnectionRange | null | undefined)?.snapshot;
    return snapshot === undefined ? this.face : ConnectionSnapshot.faceFor(snapshot, this.face, operation);
  }

  private writable(operation: string): void {
    checkWritable(this.settings.readOnly, operation);
  }
}
