/**
 * `cairn-kv/map`: a `Map` that is still there after a restart.
 *
 * @module cairn-kv/map
 */
import { type BlockDevice, type KeyEncoding, type OpenOptions, open, type Store, type ValueEncoding } from "cairn-kv";

/**
 * The interface of `Map` over a store. Differences to a `Map` in memory:
 *
 * - Keys come in the order of their encoded bytes, not of insertion. Under the default encodings keys are strings, not
 *   empty, of at most 2,048 bytes, and values are what JSON represents.
 * - A value is what was encoded when it was set: changing an object that was got, or set, changes nothing in the map.
 * - Iterators read a snapshot of the moment that they were made. What is set or deleted meanwhile does not change them.
 * - `set` and `delete` are visible at once, and durable as the store's option `durability` says; `flush` waits for it.
 *
 * Calls throw `CairnError` as those of the store do. Two maps over one store show the same entries.
 */
export class PersistentMap<K = string, V = unknown> implements Map<K, V> {
  /** The store beneath. */
  readonly store: Store<K, V>;

  /** A map of all entries of a store, which stays the caller's to close. */
  constructor(store: Store<K, V>) {
    this.store = store;
  }

  /**
   * Opens a store as a map, which `close` closes. Targets, options and errors are those of `open`, but that values are JSON
   * unless `valueEncoding` says otherwise.
   */
  static async open<V = unknown>(
    location: string | URL | BlockDevice,
    options?: Omit<OpenOptions, "keyEncoding" | "valueEncoding">,
  ): Promise<PersistentMap<string, V>>;
  static async open<K = string, V = unknown>(
    location: string | URL | BlockDevice,
    options: OpenOptions<KeyEncoding, ValueEncoding>,
  ): Promise<PersistentMap<K, V>>;
  static async open<K, V>(
    location: string | URL | BlockDevice,
    options: OpenOptions<KeyEncoding, ValueEncoding> = {},
  ): Promise<PersistentMap<K, V>> {
    const store = await open<KeyEncoding, ValueEncoding>(location, { valueEncoding: "json", ...options });
    return new PersistentMap(store as Store<unknown, unknown> as Store<K, V>);
  }

  /** How many entries there are. At once for a whole store. */
  get size(): number {
    return this.store.count();
  }

  /** The value of a key, or `undefined`. */
  get(key: K): V | undefined {
    return this.store.get(key);
  }

  /** Whether a key is there. */
  has(key: K): boolean {
    return this.store.has(key);
  }

  /** Stores a value. */
  set(key: K, value: V): this {
    this.store.set(key, value);
    return this;
  }

  /** Deletes a key: whether it was there. */
  delete(key: K): boolean {
    return this.store.delete(key);
  }

  /** Deletes all entries, at once: after a crash all of them are gone, or none. */
  clear(): void {
    this.store.clear();
  }

  /** Calls a function with each entry of this moment, in the order of keys. */
  forEach(call: (value: V, key: K, map: Map<K, V>) => void, thisArgument?: unknown): void {
    for (const [key, value] of this.store.entries()) call.call(thisArgument, value, key, this);
  }

  /** Keys with their values. */
  entries(): MapIterator<[K, V]> {
    return walked(this.store.entries());
  }

  /** Keys, in order. */
  keys(): MapIterator<K> {
    return walked(this.store.keys());
  }

  /** Values, in the order of their keys. */
  values(): MapIterator<V> {
    return walked(this.store.values());
  }

  /** `entries`: `for (const [key, value] of map)`. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  /** As of a `Map`. */
  get [Symbol.toStringTag](): string {
    return "PersistentMap";
  }

  /** Resolves when everything that was set and deleted before is on stable storage. */
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
}

/** A walk, whose snapshot is taken already, as the iterator of a language that gives iterators methods. */
function* walked<T>(walk: Iterable<T>): Generator<T, undefined> {
  yield* walk;
  return undefined;
}
