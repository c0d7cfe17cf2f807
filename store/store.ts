/**
 * The store: the synchronous calls over the core, and their promises.
 *
 * A call encodes its key and value, puts them into the exchange areas, calls the core once and reads the result out of
 * memory. Code of the program's own (codecs) runs before anything is put there, so it may use the store itself.
 */
import { Batch, type BatchOperation, refuseOptions } from "./batch.ts";
import type { CompactOptions, CompactReport } from "./compaction.ts";
import { AT_MEMORY, RESULT_ASCII_VALUE } from "./core.ts";
import type { Format } from "./encoding.ts";
import { EntryIterator, KeyIterator, readPieces, ValueIterator } from "./iterator.ts";
import { type Range, spanOf, WHOLE } from "./range.ts";
import { invalid } from "./refusals.ts";
import { type Face, Scope } from "./scope.ts";
import type { Session } from "./session.ts";
import { readStats, type StoreStats } from "./stats.ts";
import { checkVerifyOptions, type VerifyOptions, type VerifyReport, verifyCore } from "./verify.ts";

export { KEY_SIZE_MAX, VALUE_SIZE_MAX } from "./refusals.ts";

const STAT_VERSION = 3;
const STAT_DURABLE_VERSION = 4;
const STAT_RECOVERED_VERSION = 36;
/** A stretch of synchronous waiting that is worth an event. */
const SLOW_MS = 100;
const STATUS_READ_ONLY = -17;

/** An open store. `K` and `V` are what keys and values are under its encodings. */
export class Store<K = string, V = string> {
  private readonly session: Session;
  private readonly face: Face;
  private present: Scope;

  /** Stores come from `open`. */
  constructor(session: Session, keys: Format, values: Format) {
    this.session = session;
    const store = this;
    this.face = {
      keys,
      values,
      get scope(): Scope {
        return store.scope;
      },
    };
    this.present = new Scope(session, this.face);
  }

  /** The value of a key, or `undefined`. Reads the device only when the value is neither small nor cached. */
  get(key: K): V | undefined {
    const { session, scope } = this;
    session.ready("get");
    const size = scope.keyIn(key, "get");
    const { core } = scope;
    let status: number;
    try {
      status = core.exports.get(size);
    } catch (cause) {
      throw session.trapped(cause);
    }
    if (status === 0) return undefined;
    if (status !== AT_MEMORY) return this.getSlowly(status, "get");
    const { words, result } = core;
    return scope.valueReader.read(
      (words[result] as number) >>> 0,
      words[result + 1] as number,
      ((words[result + 2] as number) & RESULT_ASCII_VALUE) !== 0,
      "get",
    ) as V;
  }

  /**
   * The value of a key, or `undefined`, without blocking: a value that is not in memory is read by the host meanwhile, and
   * what the key holds when the read has landed is the answer. Many at once share the device's queue. Rejects as `get`
   * throws; with `DEVICE_READ` only while the key still needs what could not be read.
   */
  getAsync(key: K): Promise<V | undefined> {
    const { session, scope } = this;
    let encoded: unknown;
    try {
      session.ready("getAsync");
      encoded = scope.keysAreText ? key : scope.keys.encode(key, "key", "getAsync");
    } catch (error) {
      return Promise.reject(error);
    }
    return scope.lookups.get(encoded) as Promise<V | undefined>;
  }

  /**
   * The values of many keys, in their order, `undefined` for those that are not there. Values that are not in memory are
   * read at the same time, without blocking; each value is what its key held at some moment of the call.
   */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    const { session, scope } = this;
    session.ready("getMany");
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    // A codec is the program's own code: it runs before anything is put into the exchange area.
    const isCodec = scope.keys.kind === "codec";
    const encoded = isCodec ? keys.map((key) => scope.keys.encode(key, "key", "getMany")) : keys;
    const found = (await scope.lookups.getMany(encoded)) as (V | undefined)[];
    const { valueReader } = scope;
    if (!valueReader.isForeign) return found;
    return found.map((bytes) => (bytes === undefined ? bytes : (valueReader.own(bytes as Uint8Array, "getMany") as V)));
  }

  /** Whether a key is there. Never reads the device. */
  has(key: K): boolean {
    const { session, scope } = this;
    session.ready("has");
    const size = scope.keyIn(key, "has");
    return session.guard(() => session.core.exports.has(size)) === 1;
  }

  /**
   * Stores a value. Visible when it returns; durable as the option `durability` says. Always `true`. `KEY_SIZE`,
   * `VALUE_SIZE`, `NO_SPACE` and `OUT_OF_MEMORY` before anything changes.
   */
  set(key: K, value: V, options?: object): boolean {
    const { session, scope } = this;
    session.ready("set");
    if (options !== undefined) refuseOptions(options, "set");
    session.writes.write(scope, key, value, "set");
    if (session.durability === "sync") session.committer.flushSync("set");
    return true;
  }

  /** Deletes a key: whether it was there. Visible when it returns; durable as the option `durability` says. */
  delete(key: K, options?: object): boolean {
    const { session, scope } = this;
    session.ready("delete");
    if (options !== undefined) refuseOptions(options, "delete");
    const deleted = session.writes.erase(scope, key, "delete");
    if (deleted && session.durability === "sync") session.committer.flushSync("delete");
    return deleted;
  }

  /** `set`, as a promise that resolves when the write is on stable storage. Concurrent ones share one sync. */
  put(key: K, value: V, options?: object): Promise<boolean> {
    const { session, scope } = this;
    try {
      session.ready("put");
      if (options !== undefined) refuseOptions(options, "put");
      session.writes.write(scope, key, value, "put");
    } catch (error) {
      return Promise.reject(error);
    }
    return session.committer.durable(true);
  }

  /** `delete`, as a promise that resolves when the deletion is on stable storage. */
  del(key: K, options?: object): Promise<boolean> {
    const { session, scope } = this;
    try {
      session.ready("del");
      if (options !== undefined) refuseOptions(options, "del");
      return session.committer.durable(session.writes.erase(scope, key, "del"));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** A batch to fill. */
  batch(): Batch<K, V>;
  /**
   * Does all operations at once, as a promise that resolves, with what each of them returned, when they are on stable
   * storage. After a crash all of them are there, or none. `BATCH_SIZE` over 1 GiB.
   */
  batch(operations: readonly BatchOperation<K, V>[]): Promise<boolean[]>;
  batch(operations?: readonly BatchOperation<K, V>[]): Batch<K, V> | Promise<boolean[]> {
    const { session, scope } = this;
    if (operations === undefined) {
      session.ready("batch");
      return new Batch<K, V>(
        (list) => session.writes.runBatch(scope, list, true),
        (value) => session.committer.durable(value),
      );
    }
    try {
      return session.committer.durable(session.writes.runBatch(scope, operations, false));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keys and values of a range, through a snapshot of this moment. */
  entries(range?: Range<K>): EntryIterator<K, V> {
    const { session, scope } = this;
    session.ready("entries");
    return new EntryIterator<K, V>(scope, spanOf(range, scope.keys, "entries"));
  }

  /** Keys of a range, through a snapshot of this moment. Never reads the device. */
  keys(range?: Range<K>): KeyIterator<K> {
    const { session, scope } = this;
    session.ready("keys");
    return new KeyIterator<K>(scope, spanOf(range, scope.keys, "keys"));
  }

  /** Values of a range in the order of their keys, through a snapshot of this moment. */
  values(range?: Range<K>): ValueIterator<K, V> {
    const { session, scope } = this;
    session.ready("values");
    return new ValueIterator<K, V>(scope, spanOf(range, scope.keys, "values"));
  }

  /** All entries: `for (const [key, value] of store)`. */
  [Symbol.iterator](): EntryIterator<K, V> {
    return this.entries();
  }

  /** How many keys a range holds. About 1 ns a key; without a range, at once. */
  count(range?: Range<K>): number {
    const { session, scope } = this;
    session.ready("count");
    if (range === undefined) return session.core.exports.stat(0);
    const span = spanOf(range, scope.keys, "count");
    const cursor = session.cursors.take({ ...span, reverse: false }, "count");
    try {
      return Math.min(
        session.guard(() => session.core.exports.cursorCount(cursor.handle)),
        span.limit,
      );
    } finally {
      session.cursors.close(cursor);
    }
  }

  /**
   * Deletes the keys of a range, all at once, without one the whole store: how many there were. Visible when it returns,
   * durable as the option `durability` says; after a crash all of them are gone, or none. Values are not read.
   */
  clear(range?: Range<K>): number {
    const { session, scope } = this;
    session.ready("clear");
    const span = range === undefined ? WHOLE : spanOf(range, scope.keys, "clear");
    if (span.reverse || span.limit !== Number.POSITIVE_INFINITY) {
      throw invalid("clear", "a range to clear has no reverse and no limit.");
    }
    const deleted = session.writes.clearSpan(span);
    session.afterWrite();
    if (deleted > 0 && session.durability === "sync") session.committer.flushSync("clear");
    return deleted;
  }

  /** Resolves when everything written before is on stable storage. */
  flush(): Promise<void> {
    const { session } = this;
    try {
      session.ready("flush");
    } catch (error) {
      return Promise.reject(error);
    }
    return session.committer.durable(undefined);
  }

  /** Returns when everything written before is on stable storage. Blocks the thread for a sync of the device. */
  flushSync(): void {
    const { session } = this;
    session.ready("flushSync");
    const start = performance.now();
    session.committer.flushSync("flushSync");
    const ms = performance.now() - start;
    if (ms > SLOW_MS) session.emit({ type: "slow", operation: "flushSync", ms });
  }

  /** Counters and gauges, every name with its unit. */
  stats(): StoreStats {
    const { session } = this;
    session.ready("stats");
    const { core, cursors, compactor, checkpointer } = session;
    return readStats(core, cursors.oldestAgeMs(), compactor.longestMs, checkpointer.longestMs);
  }

  /**
   * Copies what is live in segments with much garbage, so that their space can be used anew: one bounded step, or all of
   * it with `full`. What it frees is free when the promise resolves. `CORRUPT` and `DEVICE_READ` when a segment cannot be
   * read; it is left alone then, and nothing is lost.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    const { session } = this;
    session.ready("compact");
    if (session.settings.readOnly) throw session.error(STATUS_READ_ONLY, "compact");
    return session.compactor.run(options);
  }

  /** The newest version: that of the last write. */
  get version(): number {
    return this.session.core.exports.stat(STAT_VERSION);
  }

  /** The newest version that is on stable storage. */
  get durableVersion(): number {
    return this.session.core.exports.stat(STAT_DURABLE_VERSION);
  }

  /** The newest version that was there when the store was opened; later ones of an earlier opening are lost. */
  get recoveredVersion(): number {
    return this.session.core.exports.stat(STAT_RECOVERED_VERSION);
  }

  /**
   * Moves a `readOnly` store to the newest durable state: what its writer had made durable when this was called. Iterators
   * that are open throw `SNAPSHOT_EXPIRED` from then on. Opens anew beneath, so it takes as long as opening, and for that
   * long twice the memory; when it rejects, the store still shows the state that it had. `INVALID_ARGUMENT` for a store
   * that was not opened `readOnly`, which sees its own writes at once.
   */
  async refresh(): Promise<void> {
    const { session } = this;
    session.ready("refresh");
    if (!session.settings.readOnly) {
      throw invalid(
        "refresh",
        "only a store opened with readOnly: true is refreshed; this one shows its newest state.",
      );
    }
    return session.refresh();
  }

  /**
   * Walks every block, every record, both indexes and all accounts, holds them against each other, and reports what is
   * wrong with its place. Nothing is written, and other calls go on meanwhile: it works in steps of a few milliseconds.
   * A second one waits for the first. A fault is never thrown; `OUT_OF_MEMORY`, `CLOSED` when the store is closed before
   * its end, and `SNAPSHOT_EXPIRED` when the writer beside a `readOnly` store has gone on over what this one shows.
   */
  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    const { session } = this;
    const run = (): Promise<VerifyReport> =>
      verifyCore(
        session.core,
        (call) => {
          session.ready("verify");
          return session.guard(call);
        },
        options,
      );
    try {
      session.ready("verify");
      checkVerifyOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    const report = session.verifying.then(run, run);
    session.verifying = report.catch(() => undefined);
    return report;
  }

  /** Makes everything durable, records an orderly end, gives up the lock. A second call waits for the first. */
  close(): Promise<void> {
    return this.session.close();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private getSlowly(status: number, operation: string): V {
    const { session, scope } = this;
    if (status < 0) throw session.error(status, operation);
    const { core } = scope;
    const bytes = readPieces(core, core.words[core.result + 1] as number, (failed) => session.error(failed, operation));
    return scope.valueReader.own(bytes, operation) as V;
  }

  /** Over the core that the session works on now. */
  private get scope(): Scope {
    if (this.present.core !== this.session.core) this.present = new Scope(this.session, this.face);
    return this.present;
  }
}
