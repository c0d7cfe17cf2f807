/** A store with a history to be damaged, and what a repaired one is held against. */
import { expect } from "vitest";
import type { Store } from "../../store/store.ts";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import type { Random } from "./random.ts";

export const BLOCK = 4096;
export const SEGMENTS_OFFSET = 1_048_576;
export const SEGMENT = 16 * BLOCK;
export const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * 1_048_576 };

/** An image, and all that its keys ever held: by key the values in their order, `undefined` where it was deleted. */
export interface Reference {
  image: Uint8Array;
  history: Map<string, (string | undefined)[]>;
}

/** Values of a key that it holds at the end. */
export function present({ history }: Reference): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, values] of history) {
    const last = values.at(-1);
    if (last !== undefined) found.set(key, last);
  }
  return found;
}

/** A store of tiny segments that was overwritten, deleted from, filled by batches and large values, and compacted. */
export async function referenceStore(
  random: Random,
  steps: number,
  compacts = true,
  compression: "none" | "lz4" = "none",
): Promise<Reference> {
  const device = new ImageDevice();
  const history: Reference["history"] = new Map();
  let store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false }, compression });
  const told = (key: string, value: string | undefined): void => {
    const values = history.get(key) ?? [];
    values.push(value);
    history.set(key, values);
  };
  for (let i = 0; i < steps; i++) {
    const key = `key ${random.below(60)}`;
    const choice = random.below(100);
    if (choice < 60) {
      const value = `${i} `.padEnd(random.pick([8, 100, 1000, 6000, random.below(20_000)]), `${i % 10}`);
      store.set(key, value);
      told(key, value);
    } else if (choice < 78) {
      if (store.delete(key)) told(key, undefined);
    } else if (choice < 86) {
      const keys = [`batch ${random.below(9)} a`, `batch ${random.below(9)} b`];
      const value = `${i} in a batch`.padEnd(random.pick([20, 3000]), "b");
      await store.batch(keys.map((each) => ({ type: "set" as const, key: each, value })));
      for (const each of new Set(keys)) told(each, value);
    } else if (choice < 88) {
      const value = `${i} large`.padEnd(random.between(70_000, 150_000), "l");
      store.set("large", value);
      told("large", value);
    } else if (choice < 96) {
      store.flushSync();
    } else if (choice < 98 && compacts) {
      await store.compact({ full: true });
    } else {
      await store.close();
      store = await openTiny(device.reopen(), {
        ...SMALL,
        durability: "manual",
        compaction: { auto: false },
        compression,
      });
    }
  }
  await store.close();
  return { image: device.image(), history };
}

/** No value in a store is one that its key never held. */
export function expectNoWrongValue(store: Store, { history }: Reference): void {
  for (const [key, value] of store.entries()) {
    if (history.get(key)?.includes(value) !== true) throw new Error(`${key} never was ${value.slice(0, 30)}`);
  }
}

/** Each value in a store is what its key held at the end. */
export function expectCurrent(store: Store, reference: Reference): void {
  const model = present(reference);
  for (const [key, value] of store.entries()) {
    if (model.get(key) === value) continue;
    const what = model.has(key) ? "an older value" : "deleted";
    throw new Error(`${key} is ${value.slice(0, 30)}, which is ${what}`);
  }
}

/** A store holds what all keys held at the end, and nothing else. */
export function expectAll(store: Store, reference: Reference): void {
  expectCurrent(store, reference);
  expect(store.count()).toBe(present(reference).size);
}
