/** The memory budget: what is given back before a key is refused, and whether what the refusal says is true. */
import { expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { errorOf, open } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const MIB = 1_048_576;
const OPTIONS = { memoryBytes: 32 * MIB, writeBufferBytes: 262_144, durability: "manual" } as const;
const VALUE = "v".repeat(20);

/** Keys until the store takes no more: how many it has, and what it said. */
function fill(store: Store): { count: number; message: string } {
  for (let count = store.count(); ; count++) {
    try {
      store.set(`key ${String(count).padStart(8, "0")}`, VALUE);
    } catch (error) {
      expect((error as { code: string }).code).toBe("OUT_OF_MEMORY");
      return { count, message: (error as Error).message };
    }
  }
}

/** The number before a word of a message. */
function numberIn(message: string, pattern: RegExp): number {
  return Number(pattern.exec(message)?.[1]?.replaceAll(",", ""));
}

test("the cache gives its frames back before a key is refused, and reads go on", async () => {
  const device = new ImageDevice();
  const store = await open(device, { ...OPTIONS, cacheBytes: 12 * MIB });
  for (let i = 0; i < 3000; i++) store.set(`big ${i}`, `${i}`.padEnd(6000, "b"));
  await store.flush();
  for (let i = 0; i < 3000; i++) store.get(`big ${i}`);
  const before = store.stats();
  expect(before.cacheUsedBytes).toBeGreaterThan(10 * MIB);
  const { count } = fill(store);
  const after = store.stats();
  expect(after.cacheUsedBytes).toBeLessThan(MIB);
  // Without the frames there would be room for far fewer.
  expect(after.nodeMemoryBytes).toBeGreaterThan(14 * MIB);
  expect(after.memoryUsedBytes).toBeLessThanOrEqual(after.memoryBudgetBytes);
  expect(after.memoryBudgetBytes).toBe(32 * MIB);
  for (let i = 0; i < 3000; i += 7) expect(store.get(`big ${i}`)).toBe(`${i}`.padEnd(6000, "b"));
  expect([...store.values({ lt: "c" })].length).toBe(3000);
  expect(store.get("key 00003000")).toBe(VALUE);
  expect(store.count()).toBe(count);
  // When keys go, the cache may have frames again.
  expect(store.clear({ gte: "key" })).toBe(count - 3000);
  for (let i = 0; i < 3000; i++) store.get(`big ${i}`);
  expect(store.stats().cacheUsedBytes).toBeGreaterThan(10 * MIB);
  await store.close();
});

test("a refusal says how many keys the budget holds, and twice of it would; that is true", async () => {
  const store = await open(":memory:", { ...OPTIONS, cacheBytes: MIB });
  const { count, message } = fill(store);
  expect(numberIn(message, /([\d,]+) keys take/)).toBeCloseTo(count, -4);
  expect(message).toContain("budget of 32 MiB");
  expect(message).toContain("keeps every key in memory");
  expect(message).toContain("hybrid-log");
  const promised = numberIn(message, /Twice the budget would hold about ([\d,]+)\./);
  await store.close();
  const larger = await open(":memory:", { ...OPTIONS, cacheBytes: MIB, memoryBytes: 64 * MIB });
  const found = fill(larger).count;
  expect(promised).toBeGreaterThan(found * 0.8);
  expect(promised).toBeLessThan(found * 1.2);
  await larger.close();
});

test("opening with too little memory says how much is needed, and with that it opens", async () => {
  const device = new ImageDevice();
  const store = await open(device, { ...OPTIONS, memoryBytes: 128 * MIB });
  for (let i = 0; i < 500_000; i++) store.set(`key ${(i * 7919) % 500_000}`, VALUE);
  await store.close();
  const { message, code } = await errorOf(() => open(device.reopen(), OPTIONS));
  expect(code).toBe("OUT_OF_MEMORY");
  const keys = numberIn(message, /the store has about ([\d,]+)/);
  expect(keys).toBeGreaterThan(350_000);
  expect(keys).toBeLessThan(700_000);
  const needed = numberIn(message, /memoryBytes of about (\d+) MiB/);
  expect(needed).toBeLessThan(160);
  const again = await open(device.reopen(), { ...OPTIONS, memoryBytes: needed * MIB });
  expect(again.count()).toBe(500_000);
  await again.close();
});
