/** A map that a store of strings is held against: random writes to both, and whether they agree. */
import { expect } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Random } from "./random.ts";

/** Random writes to a store and to its model. A write that the store refuses is not made in the model. */
export class MapModel {
  readonly map = new Map<string, string>();
  private readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  /** One of sixty keys. */
  key(): string {
    return `key ${this.random.below(60)}`;
  }

  /** Stores a value of up to 30,000 bytes, larger than half a segment of 16 blocks. `i` makes it another one each time. */
  set(store: Store, key: string, i: number): void {
    const { random } = this;
    const value = `${i}`.padEnd(random.pick([5, 100, 1000, 5000, random.below(30_000)]), ".");
    store.set(key, value);
    this.map.set(key, value);
  }

  delete(store: Store, key: string): void {
    expect(store.delete(key)).toBe(this.map.delete(key));
  }

  /** A batch that writes a key twice and deletes another one. */
  async batch(store: Store, key: string, i: number): Promise<void> {
    const other = this.key();
    await store.batch([
      { type: "set", key, value: "first" },
      { type: "delete", key: other },
      { type: "set", key, value: `${i} in a batch` },
    ]);
    this.map.delete(other);
    this.map.set(key, `${i} in a batch`);
  }
}

/** Scan, count and single reads of a store give what a map holds. */
export function expectSame(store: Store, model: ReadonlyMap<string, string>): void {
  expect(store.count()).toBe(model.size);
  for (const [key, value] of store.entries()) {
    if (model.get(key) !== value) throw new Error(`${key} is ${value.slice(0, 20)} of ${value.length} bytes`);
  }
  for (const [key, value] of model) if (store.get(key) !== value) throw new Error(`${key} is lost`);
}
