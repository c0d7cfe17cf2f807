/**
 * `cairn-kv/cache`: a cache that is still warm after a restart.
 *
 * @module cairn-kv/cache
 */
import {
  type Batch,
  type BlockDevice,
  CairnError,
  type OpenOptions,
  open,
  type Store,
  type ValueEncoding,
} from "cairn-kv";
import { TEXT_OR_BYTES } from "../text-or-bytes.ts";
import {
  ALL_FACTS,
  ALL_RECENCY,
  bytesOfKey,
  decodeFacts,
  dueBy,
  ENTRY_KEY_SIZE_MAX,
  encodeFacts,
  expiryKey,
  type Facts,
  factsKey,
  keyOfFacts,
  partsOf,
  recencyKey,
  valueKey,
} from "./records.ts";
import { sizeOf, type ValueFormat, valueFormat } from "./values.ts";

/** Options of `Cache.open`, and those of `open`. */
export interface CacheOptions extends Omit<OpenOptions, "keyEncoding" | "valueEncoding"> {
  /** The most bytes of keys and values that are kept. */
  maxBytes: number;
  /** Milliseconds that an entry lives unless `set` says otherwise. Default: for ever. */
  ttl?: number;
  /** How values become bytes: `"json"`, the default, `"utf8"`, `"binary"` or a codec. */
  valueEncoding?: ValueEncoding;
}

/** Options of a write. */
export interface CacheSetOptions {
  /** Milliseconds that the entry lives, more than 0. Default: what the cache was opened with. */
  ttl?: number;
}

/** Counts since the cache was opened, and what is in it. */
export interface CacheStats {
  /** Reads that found their key. */
  hits: number;
  /** Reads that did not. */
  misses: number;
  /** Entries that made room for others. */
  evictions: number;
  /** Entries whose time was over. */
  expirations: number;
  /** Entries. */
  count: number;
  /** Bytes of their keys and values. */
  bytes: number;
}

type CacheStore = Store<Uint8Array, string | Uint8Array>;
type CacheBatch = Batch<Uint8Array, string | Uint8Array>;

/** Epochs in which the whole cache is written once: the order of use is kept to within such a part. */
const EPOCHS = 64;
/** Expired entries that a write removes beside. */
const SWEEP_COUNT = 16;
const NOTHING = new Uint8Array(0);

/**
 * A cache of bounded size in a store of its own: what was used longest ago makes room, and entries may expire. It survives
 * restarts and crashes with its entries, their times and the order of their use.
 *
 * The order of use is kept to within a 64th of the cache: of entries that were last used while as much was written, any may
 * go first. So most hits write nothing. Memory is what the store takes for keys, about 400 bytes an entry. Writes are
 * visible at once and durable as the option `durability` says, which for a cache may well be the default: what a crash takes
 * is made again.
 *
 * Keys are strings of 1 to 2,039 bytes. An entry larger than `maxBytes` is not kept. Errors are those of the store.
 */
export class Cache<V = unknown> {
  private readonly store: CacheStore;
  private readonly format: ValueFormat;
  private readonly maxBytes: number;
  private readonly ttl: number | undefined;
  private readonly flights = new Map<string, Promise<V>>();
  private readonly counts = { hits: 0, misses: 0, evictions: 0, expirations: 0 };
  private count = 0;
  private bytes = 0;
  private epoch = 0;
  private epochBytes = 0;

  private constructor(store: CacheStore, options: { maxBytes: number; ttl: number | undefined; format: ValueFormat }) {
    this.store = store;
    this.format = options.format;
    this.maxBytes = options.maxBytes;
    this.ttl = options.ttl;
    for (const facts of store.values(ALL_FACTS)) {
      this.count += 1;
      this.bytes += decodeFacts(facts as Uint8Array).size;
    }
    for (const newest of store.keys({ ...ALL_RECENCY, reverse: true, limit: 1 }))
      this.epoch = partsOf(newest).number + 1;
    this.sweep(Number.POSITIVE_INFINITY);
    const batch = store.batch();
    this.makeRoom(batch);
    batch.commit();
  }

  /** Opens a cache. Locations and errors are those of `open`; with a smaller `maxBytes` than before, entries make room. */
  static async open<V = unknown>(location: string | URL | BlockDevice, options: CacheOptions): Promise<Cache<V>> {
    const { maxBytes, ttl, valueEncoding = "json", ...rest } = options;
    if (typeof maxBytes !== "number" || !(maxBytes > 0)) throw invalid("open", "maxBytes must be a number above 0.");
    checkTtl(ttl, "open");
    const store = await open(location, { ...rest, keyEncoding: "binary", valueEncoding: TEXT_OR_BYTES });
    return new Cache<V>(store, { maxBytes, ttl, format: valueFormat(valueEncoding) });
  }

  /** Entries, those included whose time is over and that are not removed yet. */
  get size(): number {
    return this.count;
  }

  /** The value of a key, or `undefined`: a hit or a miss. A value that is not in memory is read, which blocks. */
  get(key: string): V | undefined {
    const bytes = this.keyBytes(key, "get");
    if (!this.use(bytes)) return undefined;
    return this.format.decode(this.store.get(valueKey(bytes)) as Uint8Array) as V;
  }

  /** `get`, without blocking. */
  async getAsync(key: string): Promise<V | undefined> {
    const bytes = this.keyBytes(key, "getAsync");
    if (!this.use(bytes)) return undefined;
    const value = await this.store.getAsync(valueKey(bytes));
    return value === undefined ? undefined : (this.format.decode(value) as V);
  }

  /** Whether a key is there. No hit, no miss, and no use. */
  has(key: string): boolean {
    const facts = this.factsOf(this.keyBytes(key, "has"));
    return facts !== undefined && !isOver(facts);
  }

  /** Stores a value: whether it is kept, which one larger than `maxBytes` is not; then the key holds nothing. */
  set(key: string, value: V, options: CacheSetOptions = {}): boolean {
    const { ttl = this.ttl } = options;
    checkTtl(ttl, "set");
    const bytes = this.keyBytes(key, "set");
    const stored = this.format.encode(value);
    this.flights.delete(key);
    const size = bytes.length + sizeOf(stored);
    this.sweep(SWEEP_COUNT);
    const batch = this.store.batch();
    const former = this.factsOf(bytes);
    if (former !== undefined) this.remove(batch, bytes, former);
    if (size <= this.maxBytes) {
      const expiresAt = ttl === undefined ? 0 : Date.now() + Math.ceil(ttl);
      const facts = { epoch: this.epoch, expiresAt, size };
      batch.set(factsKey(bytes), encodeFacts(facts)).set(valueKey(bytes), stored);
      batch.set(recencyKey(facts.epoch, bytes), NOTHING);
      if (expiresAt !== 0) batch.set(expiryKey(expiresAt, bytes), NOTHING);
      this.count += 1;
      this.bytes += size;
    }
    this.makeRoom(batch, bytes);
    this.commit(batch);
    this.turn(size);
    return size <= this.maxBytes;
  }

  /**
   * The value of a key, or else what `make` gives, which is stored. Many that ask for the same key at once wait for one call
   * of `make`. When it throws or rejects, so do they, and nothing is stored; nor is `undefined`, nor what was made for a key
   * that was set or deleted meanwhile.
   */
  async getOrSet(key: string, make: (key: string) => V | Promise<V>, options: CacheSetOptions = {}): Promise<V> {
    const flying = this.flights.get(key);
    if (flying !== undefined) return flying;
    const bytes = this.keyBytes(key, "getOrSet");
    checkTtl(options.ttl, "getOrSet");
    const run = async (): Promise<V> => {
      if (this.use(bytes)) {
        const stored = await this.store.getAsync(valueKey(bytes));
        if (stored !== undefined) return this.format.decode(stored) as V;
      }
      const value = await make(key);
      if (value !== undefined && this.flights.get(key) === flight) this.set(key, value, options);
      return value;
    };
    const flight = run();
    this.flights.set(key, flight);
    try {
      return await flight;
    } finally {
      if (this.flights.get(key) === flight) this.flights.delete(key);
    }
  }

  /** Deletes a key: whether it was there. */
  delete(key: string): boolean {
    const bytes = this.keyBytes(key, "delete");
    this.flights.delete(key);
    const facts = this.factsOf(bytes);
    if (facts === undefined) return false;
    const batch = this.store.batch();
    this.remove(batch, bytes, facts);
    this.commit(batch);
    return !isOver(facts);
  }

  /** Deletes all entries. */
  clear(): void {
    this.flights.clear();
    this.store.clear();
    this.count = 0;
    this.bytes = 0;
  }

  /** The keys that are there, in the order of their bytes. */
  *keys(): Generator<string, undefined> {
    for (const [record, facts] of this.store.entries(ALL_FACTS)) {
      if (!isOver(decodeFacts(facts as Uint8Array))) yield keyOfFacts(record);
    }
    return undefined;
  }

  /** Counts since the cache was opened, and what is in it. */
  stats(): CacheStats {
    return { ...this.counts, count: this.count, bytes: this.bytes };
  }

  /** Resolves when everything that was written before is on stable storage. */
  flush(): Promise<void> {
    return this.store.flush();
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Counts a hit or a miss, and moves what was hit to the present epoch. */
  private use(key: Uint8Array): boolean {
    const facts = this.factsOf(key);
    if (facts === undefined || isOver(facts)) {
      this.counts.misses += 1;
      if (facts === undefined) return false;
      const batch = this.store.batch();
      this.remove(batch, key, facts);
      this.counts.expirations += 1;
      this.commit(batch);
      return false;
    }
    this.counts.hits += 1;
    if (facts.epoch === this.epoch) return true;
    const batch = this.store.batch();
    batch.delete(recencyKey(facts.epoch, key)).set(recencyKey(this.epoch, key), NOTHING);
    batch.set(factsKey(key), encodeFacts({ ...facts, epoch: this.epoch }));
    this.commit(batch);
    return true;
  }

  private remove(batch: CacheBatch, key: Uint8Array, facts: Facts): void {
    batch.delete(factsKey(key)).delete(valueKey(key)).delete(recencyKey(facts.epoch, key));
    if (facts.expiresAt !== 0) batch.delete(expiryKey(facts.expiresAt, key));
    this.count -= 1;
    this.bytes -= facts.size;
  }

  /** Removes entries whose time is over. */
  private sweep(limit: number): void {
    const batch = this.store.batch();
    for (const record of this.store.keys({ ...dueBy(Date.now()), limit })) {
      const { key } = partsOf(record);
      this.remove(batch, key, this.factsOf(key) as Facts);
      this.counts.expirations += 1;
    }
    this.commit(batch);
  }

  /** Removes what was used longest ago until the rest fits, but the entry of `kept`. */
  private makeRoom(batch: CacheBatch, kept?: Uint8Array): void {
    if (this.bytes <= this.maxBytes) return;
    for (const record of this.store.keys(ALL_RECENCY)) {
      const { key } = partsOf(record);
      if (kept !== undefined && isSame(key, kept)) continue;
      this.remove(batch, key, this.factsOf(key) as Facts);
      this.counts.evictions += 1;
      if (this.bytes <= this.maxBytes) return;
    }
  }

  private commit(batch: CacheBatch): void {
    try {
      batch.commit();
    } catch (error) {
      // Nothing of it was done: what is counted is what is there.
      this.recount();
      throw error;
    }
  }

  private recount(): void {
    this.count = 0;
    this.bytes = 0;
    try {
      for (const facts of this.store.values(ALL_FACTS)) {
        this.count += 1;
        this.bytes += decodeFacts(facts as Uint8Array).size;
      }
    } catch {
      // A store that takes no calls any more says so to the next one.
    }
  }

  /** Ends the epoch when enough was written in it. */
  private turn(size: number): void {
    this.epochBytes += size;
    if (this.epochBytes * EPOCHS < this.maxBytes) return;
    this.epochBytes = 0;
    this.epoch += 1;
  }

  private factsOf(key: Uint8Array): Facts | undefined {
    const facts = this.store.get(factsKey(key));
    return facts === undefined ? undefined : decodeFacts(facts as Uint8Array);
  }

  private keyBytes(key: string, operation: string): Uint8Array {
    if (typeof key !== "string") throw invalid(operation, `the key must be a string, not ${typeof key}.`);
    const bytes = bytesOfKey(key);
    if (bytes.length > 0 && bytes.length <= ENTRY_KEY_SIZE_MAX) return bytes;
    const message = `${operation}: a key of a cache has 1 to ${ENTRY_KEY_SIZE_MAX} bytes, not ${bytes.length}.`;
    throw new CairnError("KEY_SIZE", operation, message);
  }
}

function isOver({ expiresAt }: Facts): boolean {
  return expiresAt !== 0 && expiresAt <= Date.now();
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function checkTtl(ttl: unknown, operation: string): void {
  if (ttl === undefined || (typeof ttl === "number" && ttl > 0 && Number.isFinite(ttl))) return;
  throw invalid(operation, `ttl must be a number of milliseconds above 0, not ${ttl}.`);
}

function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}
