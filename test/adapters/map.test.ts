/** The persistent `Map`: the same calls on it and on a `Map`, what differs, and what is there after a restart. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PersistentMap } from "../../adapters/map/index.ts";
import { codeOf, MEMORY_BYTES, open, runSeed, scratchPaths } from "../store/harness.ts";
import { Random } from "../store/random.ts";

const newPath = scratchPaths();
const memoryBytes = MEMORY_BYTES;

describe("a persistent map", () => {
  let map: PersistentMap<string, unknown>;

  beforeEach(async () => {
    map = await PersistentMap.open(":memory:", { memoryBytes });
  });

  afterEach(() => map.close());

  test("answers as a Map does whose keys are sorted", () => {
    const seed = runSeed();
    const random = new Random(seed);
    const model = new Map<string, unknown>();
    const sorted = () => [...model].sort(([a], [b]) => (a < b ? -1 : 1));
    for (let step = 0; step < 2000; step++) {
      const key = `k${random.below(50)}`;
      const what = random.below(10);
      const note = `seed ${seed}, step ${step}`;
      if (what < 4) {
        const value = [{ step }, step, `v${step}`, null, [step], true][random.below(6)];
        expect(map.set(key, value), note).toBe(map);
        model.set(key, value);
      } else if (what < 6) expect(map.delete(key), note).toBe(model.delete(key));
      else if (what < 8) {
        expect(map.get(key), note).toEqual(model.get(key));
        expect(map.has(key), note).toBe(model.has(key));
      } else if (what < 9) expect([...map], note).toEqual(sorted());
      else if (random.below(20) === 0) {
        map.clear();
        model.clear();
      }
      expect(map.size, note).toBe(model.size);
    }
    expect([...map.keys()]).toEqual(sorted().map(([key]) => key));
    expect([...map.values()]).toEqual(sorted().map(([, value]) => value));
    const seen: unknown[] = [];
    map.forEach(function (this: unknown, value, key, whole) {
      seen.push([key, value]);
      expect(whole).toBe(map);
      expect(this).toBe(seen);
    }, seen);
    expect(seen).toEqual(sorted());
  });

  test("iterates over a snapshot of the moment that the iterator was made", () => {
    map.set("a", 1).set("b", 2);
    const entries = map.entries();
    const keys = map.keys();
    const values = map.values();
    map.set("c", 3).delete("a");
    expect([...entries]).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    expect([...keys]).toEqual(["a", "b"]);
    expect([...values]).toEqual([1, 2]);
    expect([...map.keys()]).toEqual(["b", "c"]);
  });

  test("gives iterators that are released when a loop breaks off", () => {
    map.set("a", 1).set("b", 2);
    for (const _ of map) break;
    expect(map.store.stats().snapshotCount).toBe(0);
  });

  test("passes for a Map where one is asked for", () => {
    map.set("b", { x: 1 }).set("a", "text");
    expect(new Map(map)).toEqual(
      new Map<string, unknown>([
        ["a", "text"],
        ["b", { x: 1 }],
      ]),
    );
    expect(Object.fromEntries(map)).toEqual({ a: "text", b: { x: 1 } });
    expect(String(map)).toBe("[object PersistentMap]");
  });

  test("keeps a value as it was when it was set", () => {
    const value = { count: 1 };
    map.set("a", value);
    value.count = 2;
    expect(map.get("a")).toEqual({ count: 1 });
  });

  test("refuses what the store refuses, and is as it was then", async () => {
    map.set("a", 1);
    expect(await codeOf(() => map.set("", 2))).toBe("KEY_SIZE");
    expect(await codeOf(() => map.set("a", () => 3))).toBe("INVALID_ARGUMENT");
    expect([...map]).toEqual([["a", 1]]);
  });
});

test("a persistent map has after a restart what it had before", async () => {
  const path = newPath();
  const map = await PersistentMap.open<number>(path, { memoryBytes });
  map.set("b", 2).set("a", 1);
  await map.close();
  const again = await PersistentMap.open<number>(path, { memoryBytes });
  expect([...again]).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  await again.close();
});

test("a persistent map over a store of a program's own has its encodings", async () => {
  const store = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" });
  const map: Map<Uint8Array, Uint8Array> = new PersistentMap(store);
  map.set(Uint8Array.of(2), Uint8Array.of(20)).set(Uint8Array.of(1), Uint8Array.of(10));
  expect([...map.values()].map((value) => value[0])).toEqual([10, 20]);
  await store.close();
});
