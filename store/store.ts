/**
 * The store: the synchronous calls over the core, and their promises.
 *
 * A call encodes its key and value, puts them into the exchange areas, calls the core once and reads the result out of
 * memory. Code of the program's own (codecs) runs before anything is put there, so it may use the store itself.
 */
import {
  Batch,
  type BatchOperation,
  type PreparedOperation,
  prepare,
  refuseOptions,
  sizeOf,
  type Weight,
  weigh,
} from "./batch.ts";
import { ColdReads } from "./cold.ts";
import { Committer, trap } from "./commit.ts";
import { type CompactOptions, Compactor, type CompactReport } from "./compaction.ts";
import {
  ASCII_KEY,
  ASCII_VALUE,
  AT_MEMORY,
  BUFFER_FULL,
  COMPACTION_DUE,
  type Core,
  FLUSH_DUE,
  RESULT_ASCII_VALUE,
  VERSIONS_DUE,
} from "./core.ts";
import { Cursors } from "./cursors.ts";
import type { Format } from "./encoding.ts";
import { CairnError } from "./error.ts";
import { EntryIterator, KeyIterator, readPieces, ValueIterator } from "./iterator.ts";
import { Lookups } from "./lookups.ts";
import type { Durability, Settings, StoreEvent } from "./options.ts";
import { type Range, spanOf, WHOLE } from "./range.ts";
import type { Reader } from "./reader.ts";
import { readStats, type StoreStats } from "./stats.ts";
import { ASCII_LOOP_SIZE_MAX, asciiIn } from "./text.ts";
import { checkVerifyOptions, type VerifyOptions, type VerifyReport, verifyCore } from "./verify.ts";

/** Longest key, in bytes as encoded. */
export const KEY_SIZE_MAX = 2048;
/** Longest value, in bytes as encoded. */
export const VALUE_SIZE_MAX = 64 * 1024 * 1024;
const BATCH_SIZE_MAX = 1024 * 1024 * 1024;
/** Keys that one call of the core deletes. */
const CLEAR_COUNT = 256;
/** Steps of freeing older versions, 64 each, that a write which found no memory takes before it is refused. */
const FREE_STEPS_MAX = 1024;
const STAT_VERSION = 3;
const STAT_DURABLE_VERSION = 4;
const STAT_RECOVERED_VERSION = 36;
/** A stretch of synchronous waiting that is worth an event. */
const SLOW_MS = 100;

const encoder = new TextEncoder();

/** What a store needs of whoever opened its device. */
export interface Ending {
  /** Gives up the device and its lock. */
  release(): void;
}

/** What a store needs to move to a newer state. */
export interface Renewal {
  /** Mounts the newest durable state, for reading alone. */
  remount(): Promise<Core>;
}

/** An open store. `K` and `V` are what keys and values are under its encodings. */
export class Store<K = string, V = string> {
  private core: Core;
  private readonly settings: Settings;
  private readonly keyFormat: Format;
  private readonly valueFormat: Format;
  private readonly keysAreText: boolean;
  private readonly valuesAreText: boolean;
  private valueReader: Reader;
  private committer: Committer;
  private readonly compactor: Compactor;
  private cursors: Cursors;
  private cold: ColdReads;
  private lookups: Lookups;
  /** Reads on cores that the store has moved on from. */
  private olderReads: ColdReads[] = [];
  private readonly durability: Durability;
  private readonly ending: Ending & Renewal;
  private readonly onEvent: ((event: StoreEvent) => void) | undefined;
  private keyArea: Uint8Array;
  private valueArea: Uint8Array;
  private keyFlags = 0;
  private verifying: Promise<unknown> = Promise.resolve();
  private open = true;
  /** Whether the core takes no calls any more. */
  private isEnded = false;
  private closing: Promise<void> | undefined;
  private offExit: (() => void) | undefined;
  private refreshing: Promise<void> = Promise.resolve();

  /** Stores come from `open`. */
  constructor(core: Core, settings: Settings, ending: Ending & Renewal) {
    this.core = core;
    this.settings = settings;
    this.keyFormat = settings.keys;
    this.valueFormat = settings.values;
    this.keysAreText = settings.keys.kind === "utf8";
    this.valuesAreText = settings.values.kind === "utf8";
    this.durability = settings.durability;
    this.ending = ending;
    this.onEvent = settings.onEvent;
    const parts = this.partsOn(core);
    this.keyArea = parts.keyArea;
    this.valueArea = parts.valueArea;
    this.committer = parts.committer;
    this.cursors = parts.cursors;
    this.cold = parts.cold;
    this.lookups = parts.lookups;
    this.valueReader = parts.cursors.valueReader;
    core.exports.compactConfigure(
      settings.compaction.auto && !settings.readOnly,
      Math.round(settings.compaction.garbageRatio * 1000),
    );
    this.compactor = new Compactor({
      core,
      committer: this.committer,
      ready: (operation) => this.ready(operation),
      error: (status, operation) => this.error(status, operation),
      guard: (run) => this.guard(run),
      report: (report) => this.emit({ type: "compacted", ...report }),
    });
    if (!settings.readOnly) this.offExit = core.host.onExit?.((mayGoOn) => this.exit(mayGoOn));
  }

  /** The value of a key, or `undefined`. Reads the device only when the value is neither small nor cached. */
  get(key: K): V | undefined {
    this.ready("get");
    const size = this.keyIn(key, "get");
    const { core } = this;
    let status: number;
    try {
      status = core.exports.get(size);
    } catch (cause) {
      throw this.trapped(cause);
    }
    if (status === 0) return undefined;
    if (status !== AT_MEMORY) return this.getSlowly(status, "get");
    const { words, result } = core;
    return this.valueReader.read(
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
    let encoded: unknown;
    try {
      this.ready("getAsync");
      encoded = this.keysAreText ? key : this.keyFormat.encode(key, "key", "getAsync");
    } catch (error) {
      return Promise.reject(error);
    }
    return this.lookups.get(encoded) as Promise<V | undefined>;
  }

  /**
   * The values of many keys, in their order, `undefined` for those that are not there. Values that are not in memory are
   * read at the same time, without blocking; each value is what its key held at some moment of the call.
   */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    this.ready("getMany");
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    // A codec is the program's own code: it runs before anything is put into the exchange area.
    const isCodec = this.keyFormat.kind === "codec";
    const encoded = isCodec ? keys.map((key) => this.keyFormat.encode(key, "key", "getMany")) : keys;
    const found = (await this.lookups.getMany(encoded)) as (V | undefined)[];
    const { valueReader } = this;
    if (!valueReader.isForeign) return found;
    return found.map((bytes) => (bytes === undefined ? bytes : (valueReader.own(bytes as Uint8Array, "getMany") as V)));
  }

  /** Whether a key is there. Never reads the device. */
  has(key: K): boolean {
    this.ready("has");
    const size = this.keyIn(key, "has");
    return this.guard(() => this.core.exports.has(size)) === 1;
  }

  /**
   * Stores a value. Visible when it returns; durable as the option `durability` says. Always `true`. `KEY_SIZE`,
   * `VALUE_SIZE`, `NO_SPACE` and `OUT_OF_MEMORY` before anything changes.
   */
  set(key: K, value: V, options?: object): boolean {
    this.ready("set");
    if (options !== undefined) refuseOptions(options, "set");
    this.write(key, value, "set");
    if (this.durability === "sync") this.committer.flushSync("set");
    return true;
  }

  /** Deletes a key: whether it was there. Visible when it returns; durable as the option `durability` says. */
  delete(key: K, options?: object): boolean {
    this.ready("delete");
    if (options !== undefined) refuseOptions(options, "delete");
    const deleted = this.erase(key, "delete");
    if (deleted && this.durability === "sync") this.committer.flushSync("delete");
    return deleted;
  }

  /** `set`, as a promise that resolves when the write is on stable storage. Concurrent ones share one sync. */
  put(key: K, value: V, options?: object): Promise<boolean> {
    try {
      this.ready("put");
      if (options !== undefined) refuseOptions(options, "put");
      this.write(key, value, "put");
    } catch (error) {
      return Promise.reject(error);
    }
    return this.committer.durable(true);
  }

  /** `delete`, as a promise that resolves when the deletion is on stable storage. */
  del(key: K, options?: object): Promise<boolean> {
    try {
      this.ready("del");
      if (options !== undefined) refuseOptions(options, "del");
      return this.committer.durable(this.erase(key, "del"));
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
    if (operations === undefined) {
      this.ready("batch");
      return new Batch<K, V>(
        (list) => this.runBatch(list, true),
        (value) => this.committer.durable(value),
      );
    }
    try {
      return this.committer.durable(this.runBatch(operations, false));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keys and values of a range, through a snapshot of this moment. */
  entries(range?: Range<K>): EntryIterator<K, V> {
    this.ready("entries");
    return new EntryIterator<K, V>(this.cursors, spanOf(range, this.keyFormat, "entries"));
  }

  /** Keys of a range, through a snapshot of this moment. Never reads the device. */
  keys(range?: Range<K>): KeyIterator<K> {
    this.ready("keys");
    return new KeyIterator<K>(this.cursors, spanOf(range, this.keyFormat, "keys"));
  }

  /** Values of a range in the order of their keys, through a snapshot of this moment. */
  values(range?: Range<K>): ValueIterator<K, V> {
    this.ready("values");
    return new ValueIterator<K, V>(this.cursors, spanOf(range, this.keyFormat, "values"));
  }

  /** All entries: `for (const [key, value] of store)`. */
  [Symbol.iterator](): EntryIterator<K, V> {
    return this.entries();
  }

  /** How many keys a range holds. About 1 ns a key; without a range, at once. */
  count(range?: Range<K>): number {
    this.ready("count");
    if (range === undefined) return this.core.exports.stat(0);
    const span = spanOf(range, this.keyFormat, "count");
    const cursor = this.cursors.take({ ...span, reverse: false }, "count");
    try {
      return Math.min(
        this.guard(() => this.core.exports.cursorCount(cursor.handle)),
        span.limit,
      );
    } finally {
      this.cursors.close(cursor);
    }
  }

  /**
   * Deletes the keys of a range, all at once, without one the whole store: how many there were. Visible when it returns,
   * durable as the option `durability` says; after a crash all of them are gone, or none. Values are not read.
   */
  clear(range?: Range<K>): number {
    this.ready("clear");
    const span = range === undefined ? WHOLE : spanOf(range, this.keyFormat, "clear");
    if (span.reverse || span.limit !== Number.POSITIVE_INFINITY) {
      throw invalid("clear", "a range to clear has no reverse and no limit.");
    }
    const deleted = this.clearSpan(span);
    this.afterWrite();
    if (deleted > 0 && this.durability === "sync") this.committer.flushSync("clear");
    return deleted;
  }

  /** Resolves when everything written before is on stable storage. */
  flush(): Promise<void> {
    try {
      this.ready("flush");
    } catch (error) {
      return Promise.reject(error);
    }
    return this.committer.durable(undefined);
  }

  /** Returns when everything written before is on stable storage. Blocks the thread for a sync of the device. */
  flushSync(): void {
    this.ready("flushSync");
    const start = performance.now();
    this.committer.flushSync("flushSync");
    const ms = performance.now() - start;
    if (ms > SLOW_MS) this.emit({ type: "slow", operation: "flushSync", ms });
  }

  /** Counters and gauges, every name with its unit. */
  stats(): StoreStats {
    this.ready("stats");
    return readStats(this.core, this.cursors.oldestAgeMs(), this.compactor.longestMs);
  }

  /**
   * Copies what is live in segments with much garbage, so that their space can be used anew: one bounded step, or all of
   * it with `full`. What it frees is free when the promise resolves. `CORRUPT` and `DEVICE_READ` when a segment cannot be
   * read; it is left alone then, and nothing is lost.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    this.ready("compact");
    if (this.settings.readOnly) throw this.error(STATUS_READ_ONLY, "compact");
    return this.compactor.run(options);
  }

  /** The newest version: that of the last write. */
  get version(): number {
    return this.core.exports.stat(STAT_VERSION);
  }

  /** The newest version that is on stable storage. */
  get durableVersion(): number {
    return this.core.exports.stat(STAT_DURABLE_VERSION);
  }

  /** The newest version that was there when the store was opened; later ones of an earlier opening are lost. */
  get recoveredVersion(): number {
    return this.core.exports.stat(STAT_RECOVERED_VERSION);
  }

  /**
   * Moves a `readOnly` store to the newest durable state: what its writer had made durable when this was called. Iterators
   * that are open throw `SNAPSHOT_EXPIRED` from then on. Opens anew beneath, so it takes as long as opening, and for that
   * long twice the memory; when it rejects, the store still shows the state that it had. `INVALID_ARGUMENT` for a store
   * that was not opened `readOnly`, which sees its own writes at once.
   */
  async refresh(): Promise<void> {
    this.ready("refresh");
    if (!this.settings.readOnly) {
      throw invalid(
        "refresh",
        "only a store opened with readOnly: true is refreshed; this one shows its newest state.",
      );
    }
    const turn = this.refreshing.then(() => this.renew());
    this.refreshing = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Walks every block, every record, both indexes and all accounts, holds them against each other, and reports what is
   * wrong with its place. Nothing is written, and other calls go on meanwhile: it works in steps of a few milliseconds.
   * A second one waits for the first. A fault is never thrown; `OUT_OF_MEMORY`, `CLOSED` when the store is closed before
   * its end, and `SNAPSHOT_EXPIRED` when the writer beside a `readOnly` store has gone on over what this one shows.
   */
  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    const run = (): Promise<VerifyReport> =>
      verifyCore(
        this.core,
        (call) => {
          this.ready("verify");
          return this.guard(call);
        },
        options,
      );
    try {
      this.ready("verify");
      checkVerifyOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    const report = this.verifying.then(run, run);
    this.verifying = report.catch(() => undefined);
    return report;
  }

  /** Makes everything durable, records an orderly end, gives up the lock. A second call waits for the first. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async renew(): Promise<void> {
    this.ready("refresh");
    const core = await this.ending.remount();
    this.ready("refresh");
    this.cursors.supersede();
    this.core = core;
    const { keyArea, valueArea, committer, cursors, cold, lookups } = this.partsOn(core);
    // What is in flight into the memory of the former core lands there; who waits for it looks up here.
    this.lookups.supersede(lookups);
    this.olderReads = this.olderReads.filter((older) => older.isBusy);
    this.olderReads.push(this.cold);
    this.cold = cold;
    this.lookups = lookups;
    this.keyArea = keyArea;
    this.valueArea = valueArea;
    this.committer = committer;
    this.cursors = cursors;
    this.valueReader = cursors.valueReader;
  }

  /** What works on one core. */
  private partsOn(core: Core) {
    const { settings } = this;
    const ready = (operation: string): void => this.ready(operation);
    const error = (status: number, operation: string): CairnError => this.error(status, operation);
    const committer = new Committer(
      core,
      settings.durability === "manual" ? 0 : settings.flushIntervalMs,
      (event) => this.emit(event),
      (error) => this.emit({ type: "poisoned", error }),
    );
    const guard = <T>(run: () => T): T => {
      try {
        return run();
      } catch (cause) {
        throw committer.poison(trap(cause));
      }
    };
    const cold = new ColdReads(
      core,
      settings.directReads,
      guard,
      () => committer.poisoned === undefined && !this.isEnded,
      (cause, offset) => this.readFailed(cause, offset),
    );
    const cursors = new Cursors(core, settings.keys, settings.values, ready, error);
    const lookups = new Lookups({
      core,
      cold,
      valueReader: cursors.valueReader,
      ready,
      closing: (operation) => this.closingError(operation),
      keyIn: (key, operation) => this.keyEncodedIn(key, operation),
      keyAt: (key, at, operation) => this.keyAt(key, at, operation),
      error,
      guard,
    });
    cursors.awaits(cold, (key, handle) => lookups.parts(key, handle, "entries"));
    const keyArea = core.bytes.subarray(core.keyA, core.keyA + KEY_SIZE_MAX);
    const valueArea = core.bytes.subarray(core.exchangeIn, core.exchangeIn + core.exchangeSize);
    return { keyArea, valueArea, committer, cursors, cold, lookups };
  }

  private async end(): Promise<void> {
    this.open = false;
    this.offExit?.();
    this.committer.stop();
    this.cursors.abandon();
    try {
      // What is on its way into the store's memory lands first; who waits for it still gets it.
      for (const reads of [...this.olderReads, this.cold]) await reads.idle();
      await this.committer.idle();
      this.isEnded = true;
      if (this.committer.poisoned !== undefined) return;
      const status = this.guard(() => this.core.exports.close());
      if (status === STATUS_NO_SPACE) {
        const message = "close: no room is left on the device. What was durable is kept; what was not is lost.";
        throw new CairnError("NO_SPACE", "close", message, { cause: this.error(status, "close").cause });
      }
      if (status < 0) throw this.error(status, "close");
      await this.committer.durable(undefined).catch(() => undefined);
    } finally {
      this.ending.release();
    }
  }

  /** The process ends in order and nobody closed the store. Never throws. */
  private exit(mayGoOn: boolean): void {
    try {
      if (this.open && this.committer.poisoned === undefined) this.core.exports.flushSync();
      if (!mayGoOn) this.ending.release();
    } catch {
      // What could not be flushed was not acknowledged either.
    }
  }

  /** Throws when the store takes no calls. */
  private ready(operation: string): void {
    if (this.open && this.committer.poisoned === undefined && !this.core.entered) return;
    if (!this.open) throw closedError(operation);
    if (this.committer.poisoned !== undefined) throw this.committer.poisonError();
    const message = `${operation}: the store was called from inside one of its own device's calls.`;
    throw new CairnError("REENTRANT", operation, message);
  }

  /** What to say when the store is being closed, and its core still answers. */
  private closingError(operation: string): CairnError | undefined {
    if (this.open || this.isEnded || this.committer.poisoned !== undefined) return undefined;
    return closedError(operation);
  }

  /** What a read that the host did meanwhile failed with. */
  private readFailed(cause: unknown, offset: number): CairnError {
    const known = cause instanceof CairnError ? cause : undefined;
    if (known?.code === "DEVICE_SHRUNK") return this.committer.poison(known);
    if (known !== undefined && known.code !== "DEVICE_READ") return known;
    return new CairnError("DEVICE_READ", "read", `read: the device failed to read. Device offset ${offset}.`, {
      cause,
    });
  }

  private write(key: K, value: V, operation: string): void {
    const encodedKey = this.keysAreText ? key : this.keyFormat.encode(key, "key", operation);
    const encoded = this.valuesAreText ? value : this.valueFormat.encode(value, "value", operation);
    if (typeof encoded === "string") {
      if (!this.writeText(encodedKey, encoded, operation)) {
        this.writeLarge(encodedKey, encoder.encode(encoded), sizeOf(encoded) === encoded.length, operation);
      }
    } else if (!this.valuesAreText && encoded instanceof Uint8Array) {
      this.writeBytes(encodedKey, encoded, operation);
    } else {
      this.valueFormat.encode(value, "value", operation);
    }
    this.afterWrite();
  }

  /** False when the text does not fit the exchange area. */
  private writeText(key: unknown, text: string, operation: string): boolean {
    const { core } = this;
    const { length } = text;
    let size = this.asciiAt(text, core.exchangeIn);
    let flags = ASCII_VALUE;
    if (size < 0) {
      if (core.text.write !== undefined && length * 3 <= core.exchangeSize) {
        size = core.text.write(text, core.exchangeIn);
      } else {
        if (length > core.exchangeSize) return false;
        const { read, written } = encoder.encodeInto(text, this.valueArea);
        if (read < length) return false;
        size = written;
      }
      if (size !== length) flags = 0;
    }
    this.commitSet(this.keyEncodedIn(key, operation), size, flags, operation);
    return true;
  }

  private writeBytes(key: unknown, bytes: Uint8Array, operation: string): void {
    const size = bytes.length;
    if (size > this.valueArea.length) {
      this.writeLarge(key, bytes, false, operation);
      return;
    }
    this.core.bytes.set(bytes, this.core.exchangeIn);
    this.commitSet(this.keyEncodedIn(key, operation), size, 0, operation);
  }

  private commitSet(keySize: number, valueSize: number, flags: number, operation: string): void {
    const { core } = this;
    let status: number;
    try {
      status = core.exports.set(keySize, valueSize, flags | this.keyFlags);
    } catch (cause) {
      throw this.trapped(cause);
    }
    if (status >= 0) return;
    // A group that met a full device is held; when it can be written now, so can this.
    if (this.retries(status)) status = this.guard(() => core.exports.set(keySize, valueSize, flags | this.keyFlags));
    if (status < 0) throw this.error(status, operation);
  }

  private writeLarge(key: unknown, bytes: Uint8Array, ascii: boolean, operation: string): void {
    const { core } = this;
    const size = bytes.length;
    if (size > VALUE_SIZE_MAX) throw valueSize(size, operation);
    const keySize = this.keyEncodedIn(key, operation);
    const flags = this.keyFlags | (ascii ? ASCII_VALUE : 0);
    let status = this.guard(() => core.exports.writeBegin(keySize, size, flags));
    if (status < 0 && this.retries(status)) status = this.guard(() => core.exports.writeBegin(keySize, size, flags));
    if (status < 0) throw this.error(status, operation);
    for (let offset = 0; offset < size; ) {
      const piece = bytes.subarray(offset, offset + core.exchangeSize);
      core.bytes.set(piece, core.exchangeIn);
      status = this.guard(() => core.exports.writePart(piece.length));
      if (status < 0) throw this.error(status, operation);
      offset += piece.length;
    }
  }

  private erase(key: K, operation: string): boolean {
    const size = this.keyIn(key, operation);
    const { core } = this;
    let status: number;
    try {
      status = core.exports.remove(size);
    } catch (cause) {
      throw this.trapped(cause);
    }
    if (status < 0 && this.retries(status)) status = this.guard(() => core.exports.remove(size));
    if (status < 0) throw this.error(status, operation);
    if (status === 1) this.afterWrite();
    return status === 1;
  }

  private runBatch(operations: readonly BatchOperation<K, V>[], syncs: boolean): boolean[] {
    this.ready("batch");
    if (!Array.isArray(operations)) throw invalid("batch", "the operations must be an array.");
    if (operations.length === 0) return [];
    const weight = { records: 0, resident: 0, keyMax: 0, valueMax: 0, givesBack: true };
    const prepared: PreparedOperation[] = [];
    for (let i = 0; i < operations.length; i++) {
      const operation = prepare(operations[i], i, this.keyFormat, this.valueFormat);
      this.checkSizes(operation, i);
      weigh(operation, weight);
      prepared.push(operation);
    }
    if (weight.records > BATCH_SIZE_MAX) {
      const exact = prepared.reduce((sum, { key, value = "" }) => sum + sizeOf(key) + sizeOf(value) + 24, 0);
      if (exact > BATCH_SIZE_MAX) {
        const message = `batch: ${prepared.length} operations of ${exact} bytes exceed the limit of ${BATCH_SIZE_MAX}. Split them.`;
        throw new CairnError("BATCH_SIZE", "batch", message);
      }
    }
    const { core } = this;
    this.setAside(prepared.length, weight, "batch");
    try {
      return this.apply(prepared);
    } finally {
      core.exports.batchEnd();
      this.afterWrite();
      if (syncs && this.durability === "sync" && this.committer.poisoned === undefined) {
        this.committer.flushSync("batch");
      }
    }
  }

  /** Does a batch whose needs are set aside. What fails now is the device, and half a batch is never made durable. */
  private apply(prepared: readonly PreparedOperation[]): boolean[] {
    const results: boolean[] = [];
    try {
      for (const { key, value } of prepared) {
        if (value === undefined) {
          const size = this.keyEncodedIn(key, "batch");
          const status = this.guard(() => this.core.exports.remove(size));
          if (status < 0) throw this.error(status, "batch");
          results.push(status === 1);
          continue;
        }
        if (typeof value !== "string") this.writeBytes(key, value, "batch");
        else if (!this.writeText(key, value, "batch")) {
          this.writeLarge(key, encoder.encode(value), sizeOf(value) === value.length, "batch");
        }
        results.push(true);
      }
    } catch (error) {
      throw this.committer.poison(trap(error));
    }
    return results;
  }

  private checkSizes(operation: PreparedOperation, index: number): void {
    const keySize = sizeOf(operation.key);
    if (keySize === 0 || keySize > KEY_SIZE_MAX) throw keySizeError(keySize, `batch: operation ${index}`, "batch");
    const { value } = operation;
    if (value !== undefined && value.length > VALUE_SIZE_MAX / 3 && sizeOf(value) > VALUE_SIZE_MAX) {
      throw valueSize(sizeOf(value), "batch");
    }
  }

  /** Makes the core set aside what a batch needs. */
  private setAside(count: number, weight: Weight, operation: string): void {
    const { exports } = this.core;
    const { records, resident, keyMax, valueMax, givesBack } = weight;
    const begin = (): number => exports.batchBegin(count, records, resident, keyMax, valueMax, givesBack);
    let status = this.guard(begin);
    if (status < 0 && this.retries(status)) status = this.guard(begin);
    if (status < 0) throw this.error(status, operation);
  }

  private clearSpan(span: typeof WHOLE): number {
    const { core } = this;
    const walk = this.cursors.take(span, "clear", true);
    try {
      const records = this.guard(() => core.exports.cursorWeigh(walk.handle));
      const keyMax = core.words[core.result + 1] as number;
      const count = core.words[core.result] as number;
      if (count === 0) return 0;
      this.setAside(count, { records, resident: 0, keyMax, valueMax: 0, givesBack: true }, "clear");
      try {
        let deleted = 0;
        while (true) {
          const status = this.guard(() => core.exports.cursorDelete(walk.handle, CLEAR_COUNT));
          if (status === 0) return deleted;
          if (status < 0) throw this.committer.poison(this.error(status, "clear"));
          deleted += status;
        }
      } finally {
        core.exports.batchEnd();
      }
    } finally {
      this.cursors.close(walk);
    }
  }

  /** What the core asks for after a write. */
  private afterWrite(): void {
    const { core } = this;
    if ((core.words[core.attention] as number) !== 0) this.attend();
    this.committer.wrote();
  }

  private attend(): void {
    const { core, committer } = this;
    const attention = core.words[core.attention] as number;
    core.words[core.attention] = 0;
    if ((attention & VERSIONS_DUE) !== 0) this.guard(() => core.exports.maintain());
    if ((attention & COMPACTION_DUE) !== 0) this.compactor.auto();
    if (this.durability === "manual") return;
    if ((attention & (FLUSH_DUE | BUFFER_FULL)) === 0) return;
    if (!committer.busy) committer.begin();
    // The event loop does not turn: what is due goes out here.
    else if ((attention & FLUSH_DUE) !== 0) this.flushDue();
  }

  /** The write that set this off is done. Where there is no room the group is held, and the next write is refused. */
  private flushDue(): void {
    try {
      this.committer.flushSync("flush");
    } catch (error) {
      if ((error as CairnError).code !== "NO_SPACE") throw error;
    }
  }

  /** Whether a write that was refused for want of room, or of memory, may be tried again. */
  private retries(status: number): boolean {
    const { committer } = this;
    if (status === STATUS_OUT_OF_MEMORY) return this.freeVersions();
    if (status !== STATUS_NO_SPACE || !committer.holds) return false;
    if (committer.resubmit()) return true;
    if (committer.poisoned !== undefined) throw committer.poisoned;
    return false;
  }

  /** Frees older versions that nobody needs any more, a bounded number: whether there were any. */
  private freeVersions(): boolean {
    const { core } = this;
    let steps = 0;
    while (steps < FREE_STEPS_MAX && ((core.words[core.attention] as number) & VERSIONS_DUE) !== 0) {
      this.guard(() => core.exports.maintain());
      steps++;
    }
    return steps > 0;
  }

  /** Encodes a key into KEY_A: its size. */
  private keyIn(key: unknown, operation: string): number {
    return this.keyEncodedIn(this.keysAreText ? key : this.keyFormat.encode(key, "key", operation), operation);
  }

  /** Puts an encoded key into KEY_A: its size. */
  private keyEncodedIn(key: unknown, operation: string): number {
    const { core } = this;
    if (typeof key === "string") {
      const { length } = key;
      const size = this.asciiAt(key, core.keyA);
      if (size > 0) {
        this.keyFlags = ASCII_KEY;
        return size;
      }
      const { read, written } = encoder.encodeInto(key, this.keyArea);
      if (read < length || length === 0) throw keySizeError(sizeOf(key), operation, operation);
      this.keyFlags = written === length ? ASCII_KEY : 0;
      return written;
    }
    if (this.keysAreText || !(key instanceof Uint8Array)) {
      this.keyFormat.encode(key, "key", operation);
      throw invalid(operation, "the key could not be encoded.");
    }
    if (key.length === 0 || key.length > KEY_SIZE_MAX) throw keySizeError(key.length, operation, operation);
    core.bytes.set(key, core.keyA);
    this.keyFlags = 0;
    return key.length;
  }

  /** Writes ASCII text at a multiple of 4, where that beats encoding: its size, or -1; then what was written is void. */
  private asciiAt(text: string, at: number): number {
    const { core } = this;
    if (core.text.writeAscii !== undefined) return core.text.writeAscii(text, at);
    return text.length <= ASCII_LOOP_SIZE_MAX ? asciiIn(core.bytes, core.words, at, text) : -1;
  }

  /** Puts an encoded key at a multiple of 8, padded with zeros to one: its size. */
  private keyAt(key: unknown, at: number, operation: string): number {
    const { core } = this;
    if (typeof key === "string") {
      const { length } = key;
      let size = -1;
      if (length <= ASCII_LOOP_SIZE_MAX) {
        core.floats[(at + length - 1) >> 3] = 0;
        size = asciiIn(core.bytes, core.words, at, key);
      }
      if (size < 0) {
        if (length > KEY_SIZE_MAX) throw keySizeError(sizeOf(key), operation, operation);
        if (core.text.write !== undefined) size = core.text.write(key, at);
        else size = encoder.encodeInto(key, core.bytes.subarray(at, at + KEY_SIZE_MAX * 3)).written;
        for (let end = at + size; (end & 7) !== 0; end++) core.bytes[end] = 0;
      }
      if (size === 0 || size > KEY_SIZE_MAX) throw keySizeError(size, operation, operation);
      return size;
    }
    if (this.keysAreText || !(key instanceof Uint8Array)) {
      this.keyFormat.encode(key, "key", operation);
      throw invalid(operation, "the key could not be encoded.");
    }
    const { length } = key;
    if (length === 0 || length > KEY_SIZE_MAX) throw keySizeError(length, operation, operation);
    core.floats[(at + length - 1) >> 3] = 0;
    core.bytes.set(key, at);
    return length;
  }

  private getSlowly(status: number, operation: string): V {
    if (status < 0) throw this.error(status, operation);
    const { core } = this;
    const bytes = readPieces(core, core.words[core.result + 1] as number, (failed) => this.error(failed, operation));
    return this.valueReader.own(bytes, operation) as V;
  }

  /** A status as an error. What leaves the device in doubt poisons the store. */
  private error(status: number, operation: string): CairnError {
    const error = this.core.error(status, operation);
    if (error.code === "DEVICE_WRITE" || error.code === "FENCED") return this.committer.poison(error);
    if (error.code === "DEVICE_SHRUNK") return this.committer.poison(error);
    return error;
  }

  private guard<T>(run: () => T): T {
    try {
      return run();
    } catch (cause) {
      throw this.trapped(cause);
    }
  }

  private trapped(cause: unknown): CairnError {
    return this.committer.poison(trap(cause));
  }

  private emit(event: StoreEvent): void {
    if (this.onEvent === undefined) return;
    try {
      this.onEvent(event);
    } catch {
      // A listener's failure is not the store's.
    }
  }
}

const STATUS_NO_SPACE = -8;
const STATUS_READ_ONLY = -17;
const STATUS_OUT_OF_MEMORY = -9;

function closedError(operation: string): CairnError {
  return new CairnError("CLOSED", operation, `${operation}: the store is closed. Open it again.`);
}

function keySizeError(size: number, prefix: string, operation: string): CairnError {
  const message =
    size === 0
      ? `${prefix}: a key is not empty.`
      : `${prefix}: a key of ${size} bytes exceeds the limit of ${KEY_SIZE_MAX}.`;
  return new CairnError("KEY_SIZE", operation, message);
}

function valueSize(size: number, operation: string): CairnError {
  const message = `${operation}: a value of ${size} bytes exceeds the limit of ${VALUE_SIZE_MAX}.`;
  return new CairnError("VALUE_SIZE", operation, message);
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
