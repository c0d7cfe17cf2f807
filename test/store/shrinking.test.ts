/** Files that give free space at their end back: by compaction, by themselves, at close; and what does not. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { open, openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SEGMENT = 65_536;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB, durability: "manual" } as const;
const BY_HAND = { ...SMALL, compaction: { auto: false } } as const;

function key(index: number): string {
  return `key ${String(index).padStart(5, "0")}`;
}

/** Stores `count` values of 2,000 bytes. */
async function fill(store: Store, count: number): Promise<void> {
  for (let i = 0; i < count; i++) store.set(key(i), `${i}`.padEnd(2000, "."));
  await store.flush();
}

function expectValues(store: Store, from: number, to: number, step = 1): void {
  for (let i = from; i < to; i += step) expect(store.get(key(i))).toBe(`${i}`.padEnd(2000, "."));
}

describe("a file whose records were deleted", () => {
  test("is small after a full compaction, and grows again", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, BY_HAND);
    await fill(store, 4000);
    const large = device.size();
    expect(large).toBeGreaterThan(8 * MIB);
    // What stays lies all over the file, to its end.
    for (let i = 0; i < 4000; i++) if (i % 40 !== 39) store.delete(key(i));
    const report = await store.compact({ full: true });
    expect(report.done).toBe(true);
    const { segmentUsedCount, segmentFreeCount, segmentCount } = store.stats();
    expect(device.size()).toBe(MIB + segmentCount * SEGMENT);
    expect(device.size()).toBeLessThan(MIB + 12 * SEGMENT);
    expect(store.stats().cutSegmentCount).toBe((large - device.size()) / SEGMENT);
    expect(segmentCount).toBe(segmentUsedCount + segmentFreeCount);
    expect(segmentFreeCount).toBeLessThan(5);
    expectValues(store, 39, 4000, 40);
    await fill(store, 1000);
    expect(device.size()).toBeGreaterThan(3 * MIB);
    expectValues(store, 0, 1000);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    const again = await openTiny(device.reopen(), BY_HAND);
    expect(again.count()).toBe(1075);
    expectValues(again, 0, 1000);
    expectValues(again, 1039, 4000, 40);
    await again.close();
  });

  test("is small after a full compaction of a store that was emptied", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, BY_HAND);
    await fill(store, 3000);
    store.clear();
    await store.compact({ full: true });
    expect(device.size()).toBeLessThan(MIB + 6 * SEGMENT);
    await store.close();
    const again = await openTiny(device.reopen(), BY_HAND);
    expect(again.count()).toBe(0);
    await again.close();
  });

  test("is cut only after both generations of the superblock say so", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, BY_HAND);
    await fill(store, 2000);
    for (let i = 100; i < 2000; i++) store.delete(key(i));
    device.events = [];
    await store.compact({ full: true });
    const cut = device.events.findLastIndex((event) => event.type === "resize");
    const before = device.events.slice(0, cut);
    expect(before.slice(-8).map(({ type }) => type)).toEqual(Array(4).fill(["write", "sync"]).flat());
    const copies = before.slice(-8).flatMap((event) => (event.type === "write" ? [event.offset / (MIB / 4)] : []));
    expect(copies.toSorted()).toEqual([0, 1, 2, 3]);
    await store.close();
  });

  test("gives space back by itself while it is written, and at close", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, compaction: { auto: true } });
    await fill(store, 4000);
    const large = device.size();
    for (let i = 200; i < 4000; i++) store.delete(key(i));
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < 200; i++) store.set(key(i), `${i}`.padEnd(2000, "."));
      await store.flush();
    }
    expect(device.size()).toBeLessThan(large / 2);
    expectValues(store, 0, 200);
    await store.close();
    const closed = device.size();
    const again = await openTiny(device.reopen(), SMALL);
    const { segmentUsedCount, segmentFreeCount, checkpointSegmentBytes } = again.stats();
    expect(segmentFreeCount).toBeGreaterThanOrEqual(2);
    expect(closed).toBe(MIB + checkpointSegmentBytes + (segmentUsedCount + segmentFreeCount) * SEGMENT);
    expectValues(again, 0, 200);
    await again.close();
    // Opening and closing changes nothing any more.
    expect(device.size()).toBe(closed);
  });

  test("does not shrink and grow all the time when what it holds comes and goes", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, compaction: { auto: true } });
    await fill(store, 1000);
    const breathe = async (): Promise<void> => {
      for (let i = 500; i < 1000; i++) store.delete(key(i));
      for (let i = 0; i < 500; i++) store.set(key(i), `${i}`.padEnd(2000, "."));
      await store.flush();
      await fill(store, 1000);
    };
    for (let round = 0; round < 6; round++) await breathe();
    device.events = [];
    for (let round = 0; round < 10; round++) await breathe();
    expect(device.count("resize")).toBeLessThan(4);
    expectValues(store, 0, 1000);
    await store.close();
  });

  test("keeps what an open iterator still sees, and is cut when it has ended", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, BY_HAND);
    await fill(store, 2000);
    const values = store.values();
    store.clear();
    await store.compact({ full: true });
    expect(device.size()).toBeGreaterThan(4 * MIB);
    let seen = 0;
    for (const value of values) expect(value).toBe(`${seen++}`.padEnd(2000, "."));
    expect(seen).toBe(2000);
    store.set("after", "1");
    await store.compact({ full: true });
    expect(device.size()).toBeLessThan(2 * MIB);
    await store.close();
  });

  test(`keeps what a map keeps while it grows and shrinks, seed ${seed}`, async () => {
    const random = new Random(seed);
    const device = new ImageDevice();
    let store = await openTiny(device, SMALL);
    const model = new Map<string, string>();
    let cuts = 0;
    for (let round = 0; round < 60; round++) {
      for (let n = random.below(120); n > 0; n--) {
        const name = key(random.below(300));
        const value = `${round},${n}`.padEnd(random.pick([10, 1000, 4000, random.below(100_000)]), "v");
        store.set(name, value);
        model.set(name, value);
      }
      if (random.chance(0.5)) {
        for (const name of [...model.keys()]) {
          if (!random.chance(0.8)) continue;
          store.delete(name);
          model.delete(name);
        }
      }
      if (random.chance(0.6)) await store.flush();
      const size = device.size();
      if (random.chance(0.5)) await store.compact({ full: random.chance(0.7) });
      if (random.chance(0.2)) {
        await store.close();
        store = await openTiny(device.reopen(), SMALL);
      }
      if (device.size() < size) cuts++;
      expect(store.count()).toBe(model.size);
      for (const [name, value] of model) if (store.get(name) !== value) throw new Error(`${name} in round ${round}`);
      if (random.chance(0.2)) {
        await store.flush();
        const crashed = await openTiny(ImageDevice.of(device.image()), SMALL);
        expect(crashed.count()).toBe(model.size);
        for (const [name, value] of model) expect(crashed.get(name) === value).toBe(true);
        await crashed.close();
      }
    }
    expect(cuts).toBeGreaterThan(5);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });
});

describe("a device of fixed size", () => {
  test("never shrinks", async () => {
    const device = new ImageDevice(8 * MIB, false);
    const store = await open(device, SMALL);
    await fill(store, 500);
    store.clear();
    await store.compact({ full: true });
    await store.close();
    expect(device.size()).toBe(8 * MIB);
    expect(device.count("resize")).toBe(0);
  });
});
