/** Reads of what is no longer in memory: from the device, from the cache, and on the way between. */
import { describe, expect, test } from "vitest";
import type { BlockDevice } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { codeOf, errorOf, MemoryDevice, open, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };

test("a value that is on its way to the device is read, though its place in the write buffer was used again", async () => {
  const device = new ImageDevice();
  const store = await open(device, SMALL);
  const release = device.holdWrites();
  const value = "v".repeat(5000);
  const written = store.put("in flight", value);
  await pause(5);
  for (let i = 0; i < 300; i++) store.set(`more ${i}`, "m".repeat(2000));
  expect(store.get("in flight") === value).toBe(true);
  expect([...store.values({ prefix: "in" })][0] === value).toBe(true);
  release();
  await written;
  expect(store.get("in flight") === value).toBe(true);
  await store.close();
});

const COUNT = 6000;
const keyOf = (i: number): string => `key ${String(i).padStart(5, "0")}`;
const textOf = (i: number): string => `${i}:${"v".repeat(990)}`;

/** A store of 6 MiB whose values lie on the device, written in the order of their keys or scattered. */
async function filled(device: BlockDevice, cacheBytes: number, isScattered: boolean) {
  const store = await open(device, { writeBufferBytes: 262_144, cacheBytes });
  for (let i = 0; i < COUNT; i++) {
    const place = isScattered ? (i * 1009) % COUNT : i;
    store.set(keyOf(place), textOf(place));
  }
  await store.flush();
  for (let i = 0; i < 400; i++) store.set(`filler ${i}`, "f".repeat(1000));
  await store.flush();
  return store;
}

/** Hits and misses that `body` causes. */
async function countsOf(store: Awaited<ReturnType<typeof filled>>, body: () => unknown) {
  const before = store.stats();
  await body();
  const after = store.stats();
  return {
    hits: after.cacheHitCount - before.cacheHitCount,
    misses: after.cacheMissCount - before.cacheMissCount,
    reads: after.deviceReadCount - before.deviceReadCount,
    ahead: after.readAheadBlockCount - before.readAheadBlockCount,
  };
}

describe("a scan larger than the cache leaves what is read often in it", () => {
  const hot = Array.from({ length: 100 }, (_, i) => keyOf((i * 4001) % COUNT));
  const scans: [string, (store: Awaited<ReturnType<typeof filled>>) => unknown][] = [
    ["for of", (store) => [...store.entries()].length],
    ["values in reverse", (store) => [...store.values({ reverse: true })].length],
    [
      "for await",
      async (store) => {
        let count = 0;
        for await (const _ of store.entries()) count++;
        return count;
      },
    ],
    ["one large value", (store) => store.get("large")?.length],
    ["one large value, asynchronously", async (store) => (await store.getAsync("large"))?.length],
  ];
  test.each(scans)("%s", async (_, scan) => {
    const store = await filled(new ImageDevice(), 1_048_576, true);
    store.set("large", "l".repeat(4_000_000));
    for (let i = 0; i < 400; i++) store.set(`filler ${i}`, "f".repeat(1000));
    await store.flush();
    // What is read once does not count as hot, and the cache is full before.
    for (let i = 0; i < 1000; i++) store.get(keyOf(i));
    for (let round = 0; round < 3; round++) for (const key of hot) store.get(key);
    const before = await countsOf(store, () => hot.map((key) => store.get(key)));
    expect(before.misses).toBe(0);
    const scanned = await countsOf(store, () => scan(store));
    expect(scanned.misses).toBeGreaterThan(900);
    const after = await countsOf(store, () => hot.map((key) => store.get(key)));
    expect(after.misses).toBe(0);
    expect(after.hits).toBeGreaterThanOrEqual(hot.length);
    expect(store.stats().cacheUsedBytes).toBeLessThanOrEqual(1_048_576);
    await store.close();
  });

  test("reads of single keys do compete with it", async () => {
    const store = await filled(new ImageDevice(), 1_048_576, true);
    for (let round = 0; round < 3; round++) for (const key of hot) store.get(key);
    for (let i = 0; i < COUNT; i++) store.get(keyOf((i * 7) % COUNT));
    const after = await countsOf(store, () => hot.map((key) => store.get(key)));
    expect(after.misses).toBeGreaterThan(50);
    await store.close();
  });
});

test("a second scan of what fits the cache reads nothing", async () => {
  const store = await filled(new ImageDevice(), 16 * 1_048_576, true);
  const first = await countsOf(store, () => [...store.entries()]);
  expect(first.misses).toBeGreaterThan(1000);
  const second = await countsOf(store, () => [...store.entries()]);
  expect([second.misses, second.reads]).toEqual([0, 0]);
  expect(second.hits).toBeGreaterThan(COUNT / 2);
  await store.close();
});

describe("reading ahead", () => {
  const blocks = Math.ceil((COUNT * 1020) / 4040);

  test("a scan reads neighbouring blocks together, and each block of scattered ones once a block of entries", async () => {
    const ordered = await filled(new ImageDevice(), 1_048_576, false);
    const inOrder = await countsOf(ordered, () => [...ordered.entries()]);
    expect(inOrder.misses).toBeLessThan(blocks * 1.2);
    expect(inOrder.reads).toBeLessThan(blocks / 4);
    await ordered.close();
    const scattered = await filled(new ImageDevice(), 1_048_576, true);
    const inDisorder = await countsOf(scattered, () => [...scattered.entries()]);
    expect(inDisorder.reads).toBeLessThan(COUNT * 1.4);
    await scattered.close();
  });

  test("single reads of neighbours read ahead, others do not", async () => {
    const store = await filled(new ImageDevice(), 1_048_576, false);
    const inOrder = await countsOf(store, () => {
      for (let i = 0; i < COUNT; i++) if (store.get(keyOf(i)) !== textOf(i)) throw new Error(keyOf(i));
    });
    expect(inOrder.reads).toBeLessThan(blocks / 4);
    expect(inOrder.ahead).toBeGreaterThan(blocks / 2);
    const inDisorder = await countsOf(store, () => {
      for (let i = 0; i < COUNT; i++) {
        const place = (i * 1009) % COUNT;
        if (store.get(keyOf(place)) !== textOf(place)) throw new Error(keyOf(place));
      }
    });
    expect(inDisorder.ahead).toBeLessThan(COUNT / 20);
    await store.close();
  });

  test("a value of many blocks is read in few pieces", async () => {
    const store = await filled(new ImageDevice(), 0, false);
    store.set("large", "l".repeat(400_000));
    for (let i = 0; i < 400; i++) store.set(`filler ${i}`, "f".repeat(1000));
    await store.flush();
    const { reads, misses } = await countsOf(store, () => expect(store.get("large")?.length).toBe(400_000));
    expect(misses).toBeGreaterThanOrEqual(99);
    expect(reads).toBeLessThan(20);
    await store.close();
  });

  test("past damage gives all that is intact, and CORRUPT for what is not", async () => {
    const device = new ImageDevice();
    const store = await filled(device, 1_048_576, false);
    const mark = new TextEncoder().encode(`${keyOf(3000)}3000:vvv`);
    let at = -1;
    for (let i = 0; i < device.bytes.length && at < 0; i++) {
      if (mark.every((byte, j) => device.bytes[i + j] === byte)) at = i;
    }
    device.bytes[at + 50] = 0;
    const lost: number[] = [];
    for (let i = 0; i < COUNT; i++) {
      const code = await codeOf(() => {
        if (store.get(keyOf(i)) === textOf(i)) throw new CairnError("KEY_SIZE", "get", "intact");
      });
      if (code !== "KEY_SIZE") lost.push(i);
      if (code !== "KEY_SIZE") expect(code).toBe("CORRUPT");
    }
    expect(lost).toContain(3000);
    expect(lost.length).toBeLessThan(7);
    await store.close();
  });
});

test("a value of 64 MiB is read whole through the smallest cache, whichever way", async () => {
  const store = await open(new MemoryDevice(), {
    writeBufferBytes: 262_144,
    cacheBytes: 0,
    memoryBytes: 16 * 1_048_576,
    valueEncoding: "binary",
  });
  const value = new Uint8Array(64 * 1_048_576);
  const words = new Uint32Array(value.buffer);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e3779b1);
  store.set("large", value);
  for (let i = 0; i < 400; i++) store.set(`filler ${i}`, new Uint8Array(1000));
  const same = (other: Uint8Array | undefined): boolean => {
    if (other?.length !== value.length) return false;
    const theirs = new Uint32Array(other.buffer, other.byteOffset, words.length);
    for (let i = 0; i < words.length; i++) if (theirs[i] !== words[i]) return false;
    return true;
  };
  expect(same(store.get("large"))).toBe(true);
  expect(same(await store.getAsync("large"))).toBe(true);
  expect(same((await store.entries({ gte: "large" }).nextvAsync(1))[0]?.[1])).toBe(true);
  const { memoryUsedBytes, memoryFreeBytes, memoryBudgetBytes, cacheUsedBytes } = store.stats();
  expect(cacheUsedBytes).toBeLessThanOrEqual(262_144);
  expect(memoryUsedBytes + memoryFreeBytes).toBeLessThanOrEqual(memoryBudgetBytes);
  await store.close();
});

test("reads take no more memory than the budget, and the cache no more than its share", async () => {
  const store = await filled(new MemoryDevice(), 2_097_152, true);
  const budget = store.stats().memoryBudgetBytes;
  for (let round = 0; round < 2; round++) {
    await store.getMany(Array.from({ length: COUNT }, (_, i) => keyOf(i)));
    for await (const _ of store.entries());
    for (const _ of store.entries({ reverse: true }));
    const { cacheUsedBytes, memoryUsedBytes, memoryFreeBytes } = store.stats();
    expect(cacheUsedBytes).toBe(2_097_152);
    expect(memoryUsedBytes).toBeGreaterThan(cacheUsedBytes);
    expect(memoryUsedBytes + memoryFreeBytes).toBeLessThanOrEqual(budget);
  }
  await store.close();
});

test("directReads is refused where there is no cache to read past, and nothing is changed", async () => {
  expect(await codeOf(() => open(":memory:", { directReads: true }))).toBe("UNSUPPORTED");
  const device = new ImageDevice();
  const error = await errorOf(() => open(device, { directReads: true }));
  expect(error.code).toBe("UNSUPPORTED");
  expect(error.message).toMatch(/directReads/);
  expect(device.events).toEqual([]);
  expect(await codeOf(() => open(new ImageDevice(), { directReads: 1 as unknown as boolean }))).toBe(
    "INVALID_ARGUMENT",
  );
});
