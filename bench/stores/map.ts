/** JavaScript's own `Map`: what a program uses that needs neither order nor a disk. */
import { setImmediate } from "node:timers/promises";
import type { BenchStore, StoreKind } from "./store.ts";

class MapStore implements BenchStore {
  readonly #map = new Map<string, string>();

  get(key: string): string | undefined {
    return this.#map.get(key);
  }

  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    return keys.map((key) => this.#map.get(key));
  }

  set(key: string, value: string): void {
    this.#map.set(key, value);
  }

  delete(key: string): void {
    this.#map.delete(key);
  }

  async turn(): Promise<void> {
    await setImmediate();
  }

  async settle(): Promise<void> {}

  async quiesce(): Promise<void> {}

  async scan(): Promise<void> {
    throw new Error("a Map has no order");
  }

  async scanKeys(): Promise<void> {
    throw new Error("a Map has no order");
  }

  async put(): Promise<void> {
    throw new Error("a Map is not durable");
  }

  async batch(): Promise<void> {
    throw new Error("a Map is not durable");
  }

  async close(): Promise<void> {
    this.#map.clear();
  }
}

export const kind: StoreKind = {
  name: "Map",
  version: process.version.slice(1),
  settings: { buffered: "in memory, no order, nothing kept", durable: "none" },
  isOrdered: false,
  isDurable: false,
  writesAtOnce: true,
  open: async () => new MapStore(),
};
