/**
 * The loops that are timed, and nothing else.
 *
 * `loopsFor` loads this module anew for each store. So the call sites in these loops see one store each, as they would in
 * a program that uses it, and no store is slowed down because another one ran before.
 */
import type { BenchStore } from "../stores/store.ts";

/** Writes between two turns of the event loop. */
const TURN_COUNT = 1000;

/** Keys that one getMany asks for. */
const GROUP_COUNT = 32;

/** This module, for one store alone. */
export async function loopsFor(store: string): Promise<typeof import("./point-loops.ts")> {
  return import(new URL(`./point-loops.js?store=${store}`, import.meta.url).href);
}

/** Sets every key to the value at its index. */
export async function setAll(store: BenchStore, keys: readonly string[], values: readonly string[]): Promise<void> {
  const { length } = keys;
  for (let from = 0; from < length; from += TURN_COUNT) {
    const to = Math.min(from + TURN_COUNT, length);
    for (let i = from; i < to; i += 1) store.set(keys[i]!, values[i]!);
    await store.turn();
  }
  await store.settle();
}

/** Deletes every key. */
export async function deleteAll(store: BenchStore, keys: readonly string[]): Promise<void> {
  const { length } = keys;
  for (let from = 0; from < length; from += TURN_COUNT) {
    const to = Math.min(from + TURN_COUNT, length);
    for (let i = from; i < to; i += 1) store.delete(keys[i]!);
    await store.turn();
  }
  await store.settle();
}

/** Gets every key: the size of all values together. A missing one counts nothing. */
export function getAll(store: BenchStore, keys: readonly string[]): number {
  let size = 0;
  for (let i = 0; i < keys.length; i += 1) {
    const value = store.get(keys[i]!);
    if (value !== undefined) size += value.length;
  }
  return size;
}

/** As `getAll`, 32 keys a call. */
export async function getManyAll(store: BenchStore, keys: readonly string[]): Promise<number> {
  let size = 0;
  for (let from = 0; from < keys.length; from += GROUP_COUNT) {
    const values = await store.getMany(keys.slice(from, from + GROUP_COUNT));
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i];
      if (value !== undefined) size += value.length;
    }
  }
  return size;
}

/** Gets every key, each call timed alone, in nanoseconds: the size of all values together. */
export function getEach(store: BenchStore, keys: readonly string[], samples: Float64Array): number {
  let size = 0;
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i]!;
    const start = performance.now();
    const value = store.get(key);
    samples[i] = (performance.now() - start) * 1e6;
    if (value !== undefined) size += value.length;
  }
  return size;
}

/** Sets every key, each call timed alone, in nanoseconds. */
export function setEach(
  store: BenchStore,
  keys: readonly string[],
  values: readonly string[],
  samples: Float64Array,
): void {
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i]!;
    const value = values[i]!;
    const start = performance.now();
    store.set(key, value);
    samples[i] = (performance.now() - start) * 1e6;
  }
}

/** Deletes every key, each call timed alone, in nanoseconds. */
export function deleteEach(store: BenchStore, keys: readonly string[], samples: Float64Array): void {
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i]!;
    const start = performance.now();
    store.delete(key);
    samples[i] = (performance.now() - start) * 1e6;
  }
}
