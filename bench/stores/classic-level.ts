/** classic-level (LevelDB). Writes are promises, each a trip to a thread; buffered ones are awaited by the thousand. */
import { join } from "node:path";
import { loadPeer, versionOfPeer } from "./peers.ts";
import type { BatchEntry, BenchStore, Promised, StoreKind, Visitor } from "./store.ts";

interface Iterator<Item> {
  nextv(count: number): Promise<Item[]>;
  close(): Promise<void>;
}

interface Database {
  open(): Promise<void>;
  getSync(key: string): string | undefined;
  getMany(keys: string[]): Promise<(string | undefined)[]>;
  put(key: string, value: string, options?: { sync: boolean }): Promise<void>;
  del(key: string): Promise<void>;
  batch(operations: readonly BatchEntry[], options: { sync: boolean }): Promise<void>;
  iterator(): Iterator<[string, string]>;
  keys(): Iterator<string>;
  close(): Promise<void>;
}

type DatabaseClass = new (location: string, options: Record<string, unknown>) => Database;

const SCAN_COUNT = 1000;
const SYNC = { sync: true };

class ClassicLevelStore implements BenchStore {
  readonly #database: Database;
  #pending: Promise<void>[] = [];

  constructor(database: Database) {
    this.#database = database;
  }

  get(key: string): string | undefined {
    return this.#database.getSync(key);
  }

  getMany(keys: string[]): Promise<(string | undefined)[]> {
    return this.#database.getMany(keys);
  }

  set(key: string, value: string): void {
    this.#pending.push(this.#database.put(key, value));
  }

  delete(key: string): void {
    this.#pending.push(this.#database.del(key));
  }

  async turn(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
  }

  settle(): Promise<void> {
    return this.turn();
  }

  async quiesce(): Promise<void> {
    await this.turn();
  }

  async scan(visitor: Visitor): Promise<void> {
    const iterator = this.#database.iterator();
    for (;;) {
      const entries = await iterator.nextv(SCAN_COUNT);
      if (entries.length === 0) break;
      for (const [key, value] of entries) visitor.entry(key, value);
    }
    await iterator.close();
  }

  async scanKeys(visitor: Visitor): Promise<void> {
    const iterator = this.#database.keys();
    for (;;) {
      const keys = await iterator.nextv(SCAN_COUNT);
      if (keys.length === 0) break;
      for (const key of keys) visitor.key(key);
    }
    await iterator.close();
  }

  put(key: string, value: string): Promise<void> {
    return this.#database.put(key, value, SYNC);
  }

  batch(records: readonly BatchEntry[]): Promise<void> {
    return this.#database.batch(records, SYNC);
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

const OPTIONS = {
  keyEncoding: "utf8",
  valueEncoding: "utf8",
  compression: false,
  cacheSize: 256 * 2 ** 20,
  writeBufferSize: 16 * 2 ** 20,
};

const SETTING = "utf8, no compression, cacheSize 256 MiB, writeBufferSize 16 MiB";

export const kind: StoreKind = {
  name: "classic-level",
  version: versionOfPeer("classic-level"),
  settings: {
    buffered: `${SETTING}; puts awaited 1,000 at a time, getSync, nextv(1000)`,
    durable: `${SETTING}; sync: true, each put awaited`,
  } satisfies Record<Promised, string>,
  isOrdered: true,
  isDurable: true,
  writesAtOnce: false,
  async open(folder) {
    const { ClassicLevel } = loadPeer<{ ClassicLevel: DatabaseClass }>("classic-level");
    const database = new ClassicLevel(join(folder, "level"), OPTIONS);
    await database.open();
    return new ClassicLevelStore(database);
  },
};
