/**
 * The store: the synchronous calls over the core, and their promises.
 *
 * A call encodes its key and value, puts them into the exchange areas, calls the core once and reads the result out of
 * memory. Code of the program's own (codecs) runs before anything is put there, so it may use the store itself.
 */
import { type PushOptions, type PushReport, pushSnapshot } from "./backup/push.ts";
import type { Remote } from "./backup/remote.ts";
import { type BackupOptions, type BackupStream, backupStream } from "./backup/stream.ts";
import { Batch, type BatchOperation, type SubOperation } from "./batch.ts";
import type { CompactOptions, CompactReport } from "./compaction.ts";
import { AT_MEMORY, RESULT_ASCII_VALUE } from "./core.ts";
import type { CursorState } from "./cursors.ts";
import type { Format, KeyEncoding, ValueEncoding } from "./encoding.ts";
import {
  DELETE_OPTIONS,
  type DeleteOptions,
  type Entry,
  factsOf,
  readWriteOptions,
  type WriteOptions,
} from "./entry.ts";
import { EntryIterator, KeyIterator, ValueIterator } from "./iterator.ts";
import { named } from "./key-errors.ts";
import { prefixOf, subFormats } from "./namespace.ts";
import type { KeyOf, ValueOf } from "./options.ts";
import { Partials } from "./partial.ts";
import { type Range, spanOf } from "./range.ts";
import { countKeys, spanToClear, valueFound } from "./reads.ts";
import { invalid } from "./refusals.ts";
import { type Face, faceOf, NO_PREFIX, Scope } from "./scope.ts";
import { readSegments, type SegmentUse } from "./segments.ts";
import type { Session } from "./session.ts";
import { Snapshot } from "./snapshot.ts";
import { entrySoon, valueSoon } from "./soon.ts";
import { readStats, type StoreStats } from "./stats.ts";
import { type Transaction, type TransactOptions, transact, transaction } from "./transaction.ts";
import { checkVerifyOptions, type VerifyOptions, type VerifyReport, verifyCore } from "./verify.ts";
import { type Watch, type WatchOptions, type WatchRange, watchOf } from "./watch.ts";

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
  private readonly partials: Partials;
  private present: Scope;

  /** Stores come from `open`, and from `sub`. @internal */
  constructor(session: Session, keys: Format, values: Format, prefix = NO_PREFIX) {
    this.session = session;
    const store = this;
    this.face = {
      keys,
      values,
      prefix,
      get scope(): Scope {
        return store.scope;
      },
    };
    this.present = new Scope(session, this.face);
    this.partials = new Partials(session, this.face);
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
    if (status !== AT_MEMORY || !scope.valuesAreText) return valueFound(session, scope, status, key, "get") as V;
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
    const found = scope.lookups.get(encoded) as Promise<V | undefined>;
    if (scope.values.kind !== "codec") return found;
    return found.catch((error: unknown) => {
      throw named(error, key, scope.values.name);
    });
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
    return found.map((bytes, at) => {
      if (bytes === undefined) return bytes;
      try {
        return valueReader.own(bytes as Uint8Array, "getMany") as V;
      } catch (error) {
        throw named(error, keys[at], scope.values.name);
      }
    });
  }

  /** The value of a key with its version, expiry and timestamp, or `undefined`. Reads the device as `get` does. */
  getEntry(key: K): Entry<V> | undefined {
    const { session, scope } = this;
    session.ready("getEntry");
    const size = scope.keyIn(key, "getEntry");
    const { core } = scope;
    const facts = session.guard(() => factsOf(core, size));
    if (facts === undefined) return undefined;
    const status = session.guard(() => core.exports.get(size));
    // It has expired in between.
    if (status === 0) return undefined;
    return { value: valueFound(session, scope, status, key, "getEntry") as V, ...facts };
  }

  /**
   * The value of a key, at once where it is in memory, else as a promise of what the key held at this call: for servers, which
   * neither block nor make a promise where none is needed. @internal
   */
  getSoon(key: K): V | undefined | Promise<V | undefined> {
    return valueSoon(this.session, this.scope, key) as V | undefined | Promise<V | undefined>;
  }

  /** `getEntry` in the way of `getSoon`. @internal */
  getEntrySoon(key: K): Entry<V> | undefined | Promise<Entry<V> | undefined> {
    return entrySoon(this.session, this.scope, key) as Entry<V> | undefined | Promise<Entry<V> | undefined>;
  }

  /** Whether a key is there. Never reads the device. */
  has(key: K): boolean {
    const { session, scope } = this;
    session.ready("has");
    const size = scope.keyIn(key, "has");
    return session.guard(() => session.core.exports.has(size)) === 1;
  }

  /**
   * Stores a value. Visible when it returns; durable as the option `durability` says. `true`, or `false` when `ifVersion`
   * is given and the key has another version: nothing has changed then. An expiry or a timestamp that the key had is gone
   * unless the options give it a new one. `KEY_SIZE`, `VALUE_SIZE`, `STALE_TIMESTAMP`, `NO_SPACE` and `OUT_OF_MEMORY`
   * before anything changes.
   */
  set(key: K, value: V, options?: WriteOptions): boolean {
    const { session, scope } = this;
    session.ready("set");
    const words = options === undefined ? undefined : readWriteOptions(options, "set");
    const stored = session.writes.write(scope, key, value, "set", words);
    if (session.durability === "sync") session.committer.sync("set");
    return stored;
  }

  /**
   * Deletes a key: whether it was there, and had the version that `ifVersion` asks for. Visible when it returns; durable as
   * the option `durability` says. A deletion leaves no timestamp behind. `STALE_TIMESTAMP` before anything changes.
   */
  delete(key: K, options?: DeleteOptions): boolean {
    const { session, scope } = this;
    session.ready("delete");
    const words = options === undefined ? undefined : readWriteOptions(options, "delete", DELETE_OPTIONS);
    const deleted = session.writes.erase(scope, key, "delete", words);
    if (session.durability === "sync") session.committer.sync("delete");
    return deleted;
  }

  /** `set`, as a promise that resolves when the write is on stable storage. Concurrent ones share one sync. */
  put(key: K, value: V, options?: WriteOptions): Promise<boolean> {
    const { session, scope } = this;
    let stored: boolean;
    try {
      session.ready("put");
      const words = options === undefined ? undefined : readWriteOptions(options, "put");
      stored = session.writes.write(scope, key, value, "put", words);
    } catch (error) {
      return Promise.reject(error);
    }
    return session.committer.durable(stored);
  }

  /** `delete`, as a promise that resolves when the deletion is on stable storage. */
  del(key: K, options?: DeleteOptions): Promise<boolean> {
    const { session, scope } = this;
    try {
      session.ready("del");
      const words = options === undefined ? undefined : readWriteOptions(options, "del", DELETE_OPTIONS);
      return session.committer.durable(session.writes.erase(scope, key, "del", words));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Appends bytes to the stored value; a key that is absent is created. Always `true`. A string counts as UTF-8, under every
   * encoding. Expiry and timestamp stay as they are. `VALUE_SIZE` when the new value would exceed the limit, before anything changes.
   */
  append(key: K, bytes: string | Uint8Array): boolean {
    return this.partials.append(key, bytes);
  }

  /**
   * Writes bytes over the stored value from byte `offset` on, beyond its end where it is shorter; a key that is absent
   * counts as empty. Always `true`. A string counts as UTF-8, under every encoding. Expiry and timestamp stay as they are.
   * `OUT_OF_RANGE` when the value ends before `offset`, `VALUE_SIZE`, before anything changes.
   */
  patch(key: K, offset: number, bytes: string | Uint8Array): boolean {
    return this.partials.patch(key, offset, bytes);
  }

  /**
   * Adds to a number of 64 bits, stored as decimal digits under every encoding; a key that is absent counts as 0. The new
   * value. Expiry and timestamp stay as they are. `NOT_A_NUMBER` when the value is none, or has leading zeros;
   * `OUT_OF_RANGE` when the sum has more than 64 bits, before anything changes.
   */
  increment(key: K, by = 1n): bigint {
    return this.partials.increment(key, by);
  }

  /**
   * Merges a patch into a JSON value as RFC 7396 says: an object patches member by member, `null` takes a member away, anything
   * else is the new value. Always `true`. Under `utf8` and `binary` the stored bytes are the JSON, else what the encoding
   * makes of them. Expiry and timestamp stay as they are. `INVALID_ARGUMENT` when the value is not JSON, with the key
   * and the encoding; nothing has changed then.
   */
  merge(key: K, patch: unknown): boolean {
    return this.partials.merge(key, patch);
  }

  /**
   * Reads, changes and writes a value in one step: `fn` gets the value, or `undefined`, and returns the new one, or `undefined`
   * to delete the key. What `fn` returned. Expiry and timestamp stay as they are. `fn` is synchronous, and may use the store, but
   * when it writes this very key the call throws `REENTRANT`. What `fn` throws comes through. Either way nothing of this
   * call has changed then.
   */
  update<R extends V | undefined>(key: K, fn: (value: V | undefined) => R): R {
    return this.partials.update(key, fn) as R;
  }

  /** A batch to fill. */
  batch(): Batch<K, V>;
  /**
   * Does all operations at once, as a promise that resolves, with what each of them returned, when they are on stable
   * storage. After a crash all of them are there, or none. Conditions and timestamps are checked first, against what is
   * there before the batch: when one of the conditions does not hold nothing is done, and each answer is `false`.
   * An operation with `sub` is one on that namespace of the same store. `BATCH_SIZE` over 1 GiB, `STALE_TIMESTAMP`.
   */
  batch(operations: readonly (BatchOperation<K, V> | SubOperation)[]): Promise<boolean[]>;
  batch(operations?: readonly (BatchOperation<K, V> | SubOperation)[]): Batch<K, V> | Promise<boolean[]> {
    const { session, scope } = this;
    if (operations === undefined) {
      session.ready("batch");
      return new Batch<K, V>({
        operations: [],
        check: (sub) => faceOf(sub, session, "in"),
        run: (list) => session.writes.runBatch(this.scope, list, true),
        durable: (value) => session.committer.durable(value),
      });
    }
    try {
      return session.committer.durable(session.writes.runBatch(scope, operations, false));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keys and values of a range, through a snapshot of this moment or the one that the range names. */
  entries(range?: Range<K>): EntryIterator<K, V> {
    const { session, scope } = this;
    session.ready("entries");
    return new EntryIterator<K, V>(scope, spanOf(range, scope, "entries"), this.viewOf(range, "entries"));
  }

  /** Keys of a range, through a snapshot of this moment. Never reads the device. */
  keys(range?: Range<K>): KeyIterator<K> {
    const { session, scope } = this;
    session.ready("keys");
    return new KeyIterator<K>(scope, spanOf(range, scope, "keys"), this.viewOf(range, "keys"));
  }

  /** Values of a range in the order of their keys, through a snapshot of this moment. */
  values(range?: Range<K>): ValueIterator<K, V> {
    const { session, scope } = this;
    session.ready("values");
    return new ValueIterator<K, V>(scope, spanOf(range, scope, "values"), this.viewOf(range, "values"));
  }

  /** All entries: `for (const [key, value] of store)`. */
  [Symbol.iterator](): EntryIterator<K, V> {
    return this.entries();
  }

  /**
   * How many keys a range holds. About 1 ns a key; without a range, for a whole store, at once, but for the keys of its
   * namespaces, which are counted to be left out.
   */
  count(range?: Range<K>): number {
    const { session, scope } = this;
    session.ready("count");
    return countKeys(session, scope, range, this.viewOf(range, "count"));
  }

  /**
   * Deletes the keys of a range, all at once; without one everything, the namespaces in it included: how many there were.
   * Visible when it returns, durable as the option `durability` says; after a crash all of them are gone, or none. Values
   * are not read. `INVALID_ARGUMENT` for a range without a bound.
   */
  clear(range?: Range<K>): number {
    const { session, scope } = this;
    session.ready("clear");
    const span = spanToClear(scope, range);
    const deleted = session.writes.clearSpan(span);
    session.afterWrite();
    if (session.durability === "sync") session.committer.sync("clear");
    return deleted;
  }

  /**
   * A read-only view of this moment. It copies nothing; what it costs is what is written while it is open. Close it, or use
   * `using`. `OUT_OF_MEMORY`.
   */
  snapshot(): Snapshot<K, V> {
    const { session, face } = this;
    const { cursors } = session;
    session.ready("snapshot");
    const state = cursors.takeView("snapshot");
    const snapshot = new Snapshot<K, V>({ session, cursors, state }, face);
    cursors.watch(snapshot, state);
    return snapshot;
  }

  /**
   * Runs `fn(tx)` and does all that it wrote at once: after a crash all of it is there, or none. When `fn` throws, nothing is
   * done, and it throws on. Returns what `fn` returns; durable as the option `durability` says. While `fn` runs, the store
   * itself, its namespaces included, is not written to: `REENTRANT`, and so is a transaction in a transaction. A function
   * that returns a promise is `INVALID_ARGUMENT`, and nothing is done: see `transact`. Otherwise throws as `batch` does.
   */
  transaction<T>(fn: (tx: Transaction<K, V>) => T): T {
    return transaction(this.session, this.face, fn as (tx: Transaction<unknown, unknown>) => T);
  }

  /**
   * Runs `fn(tx)`, which may await, over a snapshot of its beginning, and does all that it wrote at once, provided that
   * nothing it read has changed: no key, no absence, no range, as far as it was walked. Otherwise `fn` runs again over a
   * new snapshot, after a random pause that grows, at most `retries` times (10); then it rejects with `CONFLICT`. Resolves
   * with what `fn` returned when all is on stable storage. What `fn` rejects with, it rejects with, and nothing is done.
   */
  transact<T>(fn: (tx: Transaction<K, V>) => Promise<T> | T, options?: TransactOptions): Promise<T> {
    return transact(this.session, this.face, fn as (tx: Transaction<unknown, unknown>) => Promise<T> | T, options);
  }

  /**
   * A namespace: a store of its own behind a prefix, which this store's ranges leave out, with its own encodings (`"utf8"`
   * unless given). It is the same file: `flush`, `stats`, `verify`, `compact`, `version` and `close` are the whole
   * store's. Each key takes the bytes of the name and two more, and its size counts with them. The same name with other
   * encodings is the same keys. Where this store's keys are bytes or a codec's, its ranges show the namespaces' keys, too.
   */
  sub<SubK extends KeyEncoding = "utf8", SubV extends ValueEncoding = "utf8">(
    name: string,
    encodings: { keyEncoding?: SubK; valueEncoding?: SubV } = {},
  ): Store<KeyOf<SubK>, ValueOf<SubV>> {
    const { session, face } = this;
    session.ready("sub");
    const prefix = prefixOf(face.prefix, name);
    const { keys, values } = subFormats(encodings);
    return new Store(session, keys, values, prefix);
  }

  /** The same keys under other encodings, for what serves them to others. @internal */
  withEncodings<OtherK extends KeyEncoding, OtherV extends ValueEncoding>(encodings: {
    keyEncoding: OtherK;
    valueEncoding: OtherV;
  }): Store<KeyOf<OtherK>, ValueOf<OtherV>> {
    const { session, face } = this;
    session.ready("withEncodings");
    const { keys, values } = subFormats(encodings);
    return new Store(session, keys, values, face.prefix);
  }

  /**
   * What is written from now on, in the order of commits, each change once: of the keys of a range, of the keys in an array, or
   * of all. Shown when it is on stable storage, or with `durable: false` at once. With `since`, first each key's latest
   * change after that version. What a slow consumer gets: docs/guide/watch.md. It costs memory until the loop over it ends, `return` is
   * called, or `signal` aborts. `VERSION_COMPACTED`, here or while it runs, when deletions after `since` may be gone;
   * `UNSUPPORTED` for a `readOnly` store; `OUT_OF_MEMORY`.
   */
  watch(what?: WatchRange<K> | readonly K[], options: WatchOptions = {}): Watch<K, V> {
    const { session, face } = this;
    session.ready("watch");
    return watchOf<K, V>(session, face, what, options);
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
    return session.guard(() => readStats(core, cursors.oldestAgeMs(), compactor.longestMs, checkpointer.longestMs));
  }

  /**
   * What each segment of the device holds, from the `first` one on and `count` of them at most; by default all, of which
   * `stats()` has the number. About 0.1 µs a segment.
   */
  segments(first = 0, count = Number.POSITIVE_INFINITY): SegmentUse[] {
    const { session } = this;
    session.ready("segments");
    if (!Number.isSafeInteger(first) || first < 0) {
      throw invalid("segments", `first must be a whole number from 0 on, not ${String(first)}.`);
    }
    return session.guard(() => readSegments(session.core, first, count));
  }

  /**
   * Copies what is live in segments with much garbage, so that their space can be used anew: for `maxMs` of the event
   * loop's time, or all of it with `full`. What it frees is free when the promise resolves. `CORRUPT` and `DEVICE_READ` when a segment cannot be
   * read; it is left alone then, and nothing is lost.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    const { session } = this;
    session.ready("compact");
    if (session.settings.readOnly) throw session.error(STATUS_READ_ONLY, "compact");
    await session.sweep();
    try {
      return await session.compactor.run(options);
    } catch (error) {
      session.committer.tell();
      throw error;
    }
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
   * Moves a `readOnly` store to the newest state that is proven durable: what its writer had made durable when this was
   * called, but for its last commit while no other has followed. Iterators that are open throw `SNAPSHOT_EXPIRED` from
   * then on. Opens anew beneath, so it takes as long as opening, and for that long twice the memory; when it rejects,
   * the store still shows the state that it had. `INVALID_ARGUMENT` for a store that was not opened `readOnly`, which
   * sees its own writes at once.
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
        session.settings.onProgress,
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

  /**
   * A consistent image of the whole store, as a stream of bytes that `restore` takes, while reading and writing go on. It
   * shows what was there when it began, a turn or two after the call: the promise `version` of the stream tells which
   * version that is. It is read from the device in pieces of at most 1 MiB, as the reader asks for them; each block is
   * proven. What it still reads is not freed until then, so read it to its end, cancel it, or abort `signal`; one that is
   * dropped is let go when it is collected.
   *
   * `since` is the version of an earlier backup of this store: what that one held is left out. `VERSION_COMPACTED` when it
   * is not among the last 15. The stream errors with `NO_SPACE` while the newest writes find no room, with `CORRUPT` and
   * `DEVICE_READ` where the device does not give what was written, with `SNAPSHOT_EXPIRED` when the writer beside a
   * `readOnly` store has gone on over what it reads, and with `CLOSED` when the store is closed before its end.
   */
  backup(options?: BackupOptions): BackupStream {
    const { session } = this;
    session.ready("backup");
    return backupStream(session, options);
  }

  /**
   * Keeps the present state in a remote (`folderRemote`, or `s3Remote` of `cairn-kv/s3`) under an id, while reading and writing
   * go on: any version that is kept there can be restored with `restoreSnapshot`. Only pieces that changed since the newest
   * snapshot there that is among this store's last 15 backups are read, and only what the remote lacks is sent. The
   * snapshot is there when the promise resolves, and not before; what a push that failed has sent stays for the next one, or
   * until `remote.gc()`. `INVALID_ARGUMENT` when the id is taken, `LOCKED` while pieces are collected there, what `backup`
   * fails with, and what the remote does.
   */
  async pushSnapshot(remote: Remote, id: string, options?: PushOptions): Promise<PushReport> {
    const { session } = this;
    session.ready("pushSnapshot");
    return pushSnapshot(session, remote, id, options);
  }

  /**
   * Makes everything durable, records an orderly end, gives up the lock. A second call waits for the first. `NO_SPACE`,
   * `DEVICE_WRITE`, `FENCED` when that could not be done; `POISONED` when the store was poisoned and no call has told of it yet.
   */
  close(): Promise<void> {
    return this.session.close();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What a snapshot or a transaction of a session needs of one of its stores. `INVALID_ARGUMENT` for another one's. @internal */
  faceIn(session: Session, operation: string): Face {
    if (session === this.session) return this.face;
    throw invalid(operation, "this is a namespace of another store.");
  }

  /** What a range's snapshot shows; `undefined` where the range has none. */
  private viewOf(range: Range<K> | undefined, operation: string): CursorState | undefined {
    const snapshot = (range as Range<K> | null | undefined)?.snapshot;
    return snapshot === undefined ? undefined : Snapshot.viewOf(snapshot, this.session, operation);
  }

  /** Over the core that the session works on now. */
  private get scope(): Scope {
    if (this.present.core !== this.session.core) this.present = new Scope(this.session, this.face);
    return this.present;
  }
}
