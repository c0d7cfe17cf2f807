/** Cairn, through its public interface and with its default options. */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { open } from "../../hosts/node.ts";
import { versionOfCairn } from "./peers.ts";
import type { BatchEntry, BenchStore, StoreKind, Visitor } from "./store.ts";

type Store = Awaited<ReturnType<typeof open>>;

class CairnStore implements BenchStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  get(key: string): string | undefined {
    return this.#store.get(key) as string | undefined;
  }

  getMany(keys: string[]): Promise<(string | undefined)[]> {
    return this.#store.getMany(keys) as Promise<(string | undefined)[]>;
  }

  set(key: string, value: string): void {
    this.#store.set(key, value);
  }

  delete(key: string): void {
    this.#store.delete(key);
  }

  async turn(): Promise<void> {
    await setImmediate();
  }

  async settle(): Promise<void> {}

  async quiesce(): Promise<void> {
    await this.#store.flush();
  }

  async scan(visitor: Visitor): Promise<void> {
    for (const [key, value] of this.#store.entries()) visitor.entry(key as string, value as string);
  }

  async scanKeys(visitor: Visitor): Promise<void> {
    for (const key of this.#store.keys()) visitor.key(key as string);
  }

  put(key: string, value: string): Promise<unknown> {
    return this.#store.put(key, value);
  }

  batch(records: readonly BatchEntry[]): Promise<unknown> {
    return this.#store.batch(records);
  }

  /** Key nodes and both indexes, less what keys and values themselves take. Small values lie in their node. */
  overheadBytes(keyAndValueBytes: number): number {
    const { nodeMemoryBytes, hashIndexMemoryBytes, orderedIndexMemoryBytes } = this.#store.stats();
    return nodeMemoryBytes + hashIndexMemoryBytes + orderedIndexMemoryBytes - keyAndValueBytes;
  }

  async close(): Promise<void> {
    await this.#store.close();
  }
}

export const kind: StoreKind = {
  name: "cairn",
  version: versionOfCairn(),
  settings: {
    buffered: 'defaults (durability "interval"): set, delete',
    durable: "defaults: put, batch, each awaited",
  },
  isOrdered: true,
  isDurable: true,
  writesAtOnce: true,
  open: async (folder) => new CairnStore(await open(join(folder, "store.cairn"))),
};
