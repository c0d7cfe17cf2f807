/** The cache: what stays and what goes, times, single flights, and all of that after a restart. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cache, type CacheOptions } from "../../adapters/cache/index.ts";
import { codeOf, MEMORY_BYTES, pause, runSeed, scratchPaths } from "../store/harness.ts";
import { Random } from "../store/random.ts";

const newPath = scratchPaths();

function openCache<V = unknown>(options: Partial<CacheOptions> = {}, path = ":memory:"): Promise<Cache<V>> {
  return Cache.open<V>(path, { memoryBytes: MEMORY_BYTES, maxBytes: 100, ...options });
}

describe("a cache", () => {
  let cache: Cache<string>;

  beforeEach(async () => {
    cache = await openCache<string>({ valueEncoding: "utf8" });
  });

  afterEach(() => cache.close());

  /** 10 bytes each. */
  const fill = (...keys: string[]): void => {
    for (const key of keys) cache.set(key, "v".repeat(10 - key.length));
  };

  test("keeps what fits, and counts it", () => {
    fill("a", "b", "c");
    expect(cache.get("a")).toBe("v".repeat(9));
    expect(cache.get("x")).toBeUndefined();
    expect([cache.has("b"), cache.has("x")]).toEqual([true, false]);
    expect([...cache.keys()]).toEqual(["a", "b", "c"]);
    expect(cache.stats()).toEqual({ hits: 1, misses: 1, evictions: 0, expirations: 0, count: 3, bytes: 30 });
    expect([cache.delete("b"), cache.delete("b")]).toEqual([true, false]);
    expect([cache.size, cache.stats().bytes]).toEqual([2, 20]);
    cache.clear();
    expect([cache.size, cache.stats().bytes, cache.has("a")]).toEqual([0, 0, false]);
  });

  test("lets what was used longest ago make room", () => {
    fill(..."abcdefghij");
    expect(cache.stats().evictions).toBe(0);
    cache.get("a");
    cache.get("c");
    fill("k", "l");
    expect([...cache.keys()]).toEqual([..."acefghijkl"]);
    expect(cache.stats()).toMatchObject({ evictions: 2, count: 10, bytes: 100 });
    cache.set("big", "v".repeat(57));
    expect([...cache.keys()]).toEqual(["a", "big", "c", "k", "l"]);
  });

  test("counts a replaced value once", () => {
    fill("a", "b");
    cache.set("a", "longer than before");
    expect(cache.stats()).toMatchObject({ count: 2, bytes: 10 + 19 });
    fill("a");
    expect(cache.stats()).toMatchObject({ count: 2, bytes: 20 });
  });

  test("keeps nothing of a value that is larger than all of it", () => {
    fill("a", "b");
    expect(cache.set("a", "v".repeat(100))).toBe(false);
    expect([...cache.keys()]).toEqual(["b"]);
    expect(cache.stats()).toMatchObject({ count: 1, bytes: 10, evictions: 0 });
  });

  test("forgets an entry when its time is over, and what its space was", async () => {
    cache.set("a", "soon", { ttl: 30 });
    cache.set("b", "soon", { ttl: 30 });
    fill("c");
    expect([cache.has("a"), cache.get("a")]).toEqual([true, "soon"]);
    await pause(45);
    expect([cache.has("a"), cache.get("a"), [...cache.keys()]]).toEqual([false, undefined, ["c"]]);
    expect(cache.stats()).toMatchObject({ count: 2, expirations: 1 });
    // A write sweeps what nobody asked for.
    fill("d");
    expect(cache.stats()).toMatchObject({ count: 2, expirations: 2, bytes: 20 });
    expect(await codeOf(() => cache.set("a", "v", { ttl: 0 }))).toBe("INVALID_ARGUMENT");
  });

  test("a new value has its own time", async () => {
    cache.set("a", "soon", { ttl: 30 });
    cache.set("a", "for ever");
    await pause(45);
    fill("b");
    expect(cache.get("a")).toBe("for ever");
  });

  test("refuses keys and values that cannot be stored, and is as it was then", async () => {
    fill("a");
    expect(await codeOf(() => cache.set("", "v"))).toBe("KEY_SIZE");
    expect(await codeOf(() => cache.get("k".repeat(2040)))).toBe("KEY_SIZE");
    expect(await codeOf(() => cache.set("a", 1 as unknown as string))).toBe("INVALID_ARGUMENT");
    expect(cache.stats()).toMatchObject({ count: 1, bytes: 10 });
    expect(cache.has("a")).toBe(true);
  });
});

describe("getOrSet", () => {
  let cache: Cache<number>;

  beforeEach(async () => {
    cache = await openCache<number>();
  });

  afterEach(() => cache.close());

  test("makes a value once, however many ask for it at once", async () => {
    let calls = 0;
    const make = async (): Promise<number> => {
      calls += 1;
      await pause(5);
      return 7;
    };
    expect(await Promise.all(Array.from({ length: 10 }, () => cache.getOrSet("a", make)))).toEqual(Array(10).fill(7));
    expect(await cache.getOrSet("a", make)).toBe(7);
    expect(calls).toBe(1);
    expect(cache.get("a")).toBe(7);
  });

  test("stores nothing when making fails, and tries again then", async () => {
    const fail = () => Promise.reject(new Error("no answer"));
    const both = await Promise.allSettled([cache.getOrSet("a", fail), cache.getOrSet("a", fail)]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(cache.has("a")).toBe(false);
    expect(await cache.getOrSet("a", () => 1, { ttl: 30 })).toBe(1);
    await pause(45);
    expect(await cache.getOrSet("a", () => 2)).toBe(2);
  });

  test("does not store what was made for a key that was set, deleted or cleared meanwhile", async () => {
    for (const [key, change, left] of [
      ["a", () => cache.set("a", 2), 2],
      ["b", () => cache.delete("b"), undefined],
      ["c", () => cache.clear(), undefined],
    ] as const) {
      const made = cache.getOrSet(key, async () => {
        await pause(5);
        return 1;
      });
      change();
      expect(await made).toBe(1);
      expect(cache.get(key)).toBe(left);
    }
  });
});

test("values have the encoding that was asked for", async () => {
  const bytes = await openCache<Uint8Array>({ valueEncoding: "binary" });
  bytes.set("a", Uint8Array.of(1, 2));
  expect(bytes.get("a")).toEqual(Uint8Array.of(1, 2));
  expect(await bytes.getAsync("a")).toEqual(Uint8Array.of(1, 2));
  await bytes.close();
  const codec = {
    name: "number",
    encode: String,
    decode: (stored: Uint8Array) => Number(new TextDecoder().decode(stored)),
  };
  const numbers = await openCache<number>({ valueEncoding: codec });
  numbers.set("a", 12);
  expect(numbers.get("a")).toBe(12);
  await numbers.close();
  const json = await openCache();
  json.set("a", { b: [1] });
  expect(json.get("a")).toEqual({ b: [1] });
  expect(await codeOf(() => json.set("a", undefined))).toBe("INVALID_ARGUMENT");
  await json.close();
});

test("a cache has its entries, their times and the order of their use after a restart", async () => {
  const path = newPath();
  const cache = await openCache<string>({ valueEncoding: "utf8", ttl: 100_000 }, path);
  for (const key of "abcdefghij") cache.set(key, "v".repeat(9));
  cache.get("a");
  cache.set("short", "v", { ttl: 20 });
  expect([...cache.keys()]).not.toContain("b");
  await cache.close();
  await pause(30);
  const again = await openCache<string>({ valueEncoding: "utf8" }, path);
  expect([...again.keys()]).toEqual([..."acdefghij"]);
  expect(again.stats()).toMatchObject({ count: 9, bytes: 90, expirations: 1 });
  again.set("new", "v".repeat(17));
  expect([...again.keys()]).toEqual([..."adefghij", "new"]);
  await again.close();
  const smaller = await openCache<string>({ valueEncoding: "utf8", maxBytes: 40 }, path);
  expect([...smaller.keys()].length).toBe(3);
  expect(smaller.has("new")).toBe(true);
  await smaller.close();
});

test("what is counted is what is there, after any calls and a restart", async () => {
  const seed = runSeed();
  const random = new Random(seed);
  const path = newPath();
  let cache = await openCache<string>({ valueEncoding: "utf8", maxBytes: 2000 }, path);
  for (let step = 0; step < 1500; step++) {
    const key = `k${random.below(60)}`;
    const what = random.below(20);
    if (what < 9) cache.set(key, "v".repeat(random.below(120)), random.chance(0.3) ? { ttl: 1 + random.below(5) } : {});
    else if (what < 17) cache.get(key);
    else if (what < 19) cache.delete(key);
    else if (random.below(10) === 0) await pause(2);
    expect(cache.stats().bytes, `seed ${seed}, step ${step}`).toBeLessThanOrEqual(2000);
  }
  await pause(10);
  await cache.close();
  cache = await openCache<string>({ valueEncoding: "utf8", maxBytes: 2000 }, path);
  const entries = [...cache.keys()].map((key) => key.length + (cache.get(key) as string).length);
  expect(cache.stats(), `seed ${seed}`).toMatchObject({
    count: entries.length,
    bytes: entries.reduce((sum, size) => sum + size, 0),
  });
  await cache.close();
});

test("a cache without a size is refused", async () => {
  expect(await codeOf(() => Cache.open(":memory:", {} as CacheOptions))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(() => openCache({ ttl: -1 }))).toBe("INVALID_ARGUMENT");
});
