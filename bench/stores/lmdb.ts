/**
 * lmdb (lmdb-js over LMDB). Reads are synchronous, writes go to a thread of its own.
 *
 * Its `put` resolves when the transaction is committed. With `overlappingSync`, its default, that is before the sync
 * that makes it durable; without it, after. Both are measured where durability is.
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { loadPeer, versionOfPeer } from "./peers.ts";
import type { BatchEntry, BenchStore, Promised, StoreKind, Visitor } from "./store.ts";

interface Database {
  get(key: string): string | undefined;
  getMany(keys: string[]): Promise<(string | undefined)[]>;
  put(key: string, value: string): Promise<boolean>;
  remove(key: string): Promise<boolean>;
  batch(action: () => void): Promise<boolean>;
  getRange(): Iterable<{ key: string; value: string }>;
  getKeys(): Iterable<string>;
  flushed: Promise<boolean>;
  close(): Promise<void>;
}

type OpenDatabase = (options: Record<string, unknown>) => Database;

class LmdbStore implements BenchStore {
  readonly #database: Database;
  #last: Promise<unknown> = Promise.resolve();

  constructor(database: Database) {
    this.#database = database;
  }

  get(key: string): string | undefined {
    return this.#database.get(key);
  }

  getMany(keys: string[]): Promise<(string | undefined)[]> {
    return this.#database.getMany(keys);
  }

  set(key: string, value: string): void {
    this.#last = this.#database.put(key, value);
  }

  delete(key: string): void {
    this.#last = this.#database.remove(key);
  }

  async turn(): Promise<void> {
    await setImmediate();
  }

  async settle(): Promise<void> {
    await this.#last;
  }

  async quiesce(): Promise<void> {
    await this.#database.flushed;
  }

  async scan(visitor: Visitor): Promise<void> {
    for (const { key, value } of this.#database.getRange()) visitor.entry(key, value);
  }

  async scanKeys(visitor: Visitor): Promise<void> {
    for (const key of this.#database.getKeys()) visitor.key(key);
  }

  put(key: string, value: string): Promise<boolean> {
    return this.#database.put(key, value);
  }

  batch(records: readonly BatchEntry[]): Promise<boolean> {
    return this.#database.batch(() => {
      for (const { key, value } of records) this.#database.put(key, value);
    });
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

/** The kind named `name`, opened with `options` for either promise. */
function lmdbKind(
  name: string,
  settings: Record<Promised, string>,
  options: Record<Promised, Record<string, unknown>>,
): StoreKind {
  return {
    name,
    version: versionOfPeer("lmdb"),
    settings,
    isOrdered: true,
    isDurable: true,
    writesAtOnce: false,
    async open(folder, promised) {
      const { open } = loadPeer<{ open: OpenDatabase }>("lmdb");
      return new LmdbStore(open({ path: join(folder, "lmdb"), encoding: "string", ...options[promised] }));
    },
  };
}

export const kind = lmdbKind(
  "lmdb",
  {
    buffered: 'noSync, encoding "string"; puts not awaited, the last one is',
    durable: 'default sync (overlappingSync: resolves at commit), encoding "string"; each put awaited',
  },
  { buffered: { noSync: true }, durable: {} },
);

/** lmdb whose `put` resolves when it is durable: the promise that Cairn's `put` gives. */
export const strictKind = lmdbKind(
  "lmdb-strict",
  {
    buffered: "as lmdb",
    durable: 'overlappingSync: false (resolves when synced), encoding "string"; each put awaited',
  },
  { buffered: { noSync: true }, durable: { overlappingSync: false } },
);
