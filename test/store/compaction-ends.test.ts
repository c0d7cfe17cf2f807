/** Compaction ends: what gives nothing is not moved again, and what compaction itself writes does not pay for more of it. */
import { describe, expect, test } from "vitest";
import { openTiny, pause, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB };
/** Twenty-four segments of 16 blocks. */
const TWENTY_FOUR = 2.5 * MIB;
/** Of a segment, one such value fills two thirds, and leaves no room for another. */
const LARGE = 40_000;
const large = (i: number): string => `${i}`.padEnd(LARGE, "l");
/** What nothing here takes by far. */
const LONG_MS = 30_000;
const ROUNDS_MAX = 1500;

describe(`compaction ends, seed ${seed}`, () => {
  test("where values leave the ends of their segments empty, and the device is full", async () => {
    const device = new ImageDevice(TWENTY_FOUR, false);
    device.syncMs = 1;
    const options = { ...SMALL, durability: "manual", compaction: { auto: true, garbageRatio: 0.1 } } as const;
    let store = await openTiny(device, options);
    let count = 0;
    expect(() => {
      for (; ; count++) store.set(`large ${count}`, large(count));
    }).toThrow("no room");
    expect(count).toBeGreaterThan(15);
    await store.flush();
    await store.close();
    store = await openTiny(device.reopen(), options);
    const report = await Promise.race([store.compact({ full: true }), pause(LONG_MS)]);
    // Each segment once at most, after an opening, which does not know what is filled.
    expect(report).toMatchObject({ done: true });
    expect(report?.bytesRead).toBeLessThan(TWENTY_FOUR);
    expect(await store.compact({ full: true })).toMatchObject({ done: true, bytesWritten: 0 });
    for (let i = 0; i < count; i++) expect(store.get(`large ${i}`)).toBe(large(i));
    await store.close();
  });

  test("by itself, where small writes pay for it and no segment gives anything", async () => {
    const device = new ImageDevice(TWENTY_FOUR, false);
    const store = await openTiny(device, { ...SMALL, compaction: { auto: true, garbageRatio: 0.1 } });
    for (let i = 0; i < 17; i++) store.set(`large ${i}`, large(i));
    await store.flush();
    for (let i = 0; i < 600; i++) await store.put("small", `${i}`);
    // Each large value once, and the segments of small ones, which hold next to nothing.
    expect(store.stats().relocatedBytes).toBeLessThan(2 * 17 * LARGE);
    expect(store.stats().freedSegmentCount).toBeGreaterThan(20);
    for (let i = 0; i < 17; i++) expect(store.get(`large ${i}`)).toBe(large(i));
    await store.close();
  });

  test("though writes go on all the time, on a device that takes its time", async () => {
    const random = new Random(seed);
    const device = new ImageDevice();
    device.syncMs = 2;
    const store = await openTiny(device, { ...SMALL, flushIntervalMs: 1 });
    const write = (): boolean => store.set(`key ${random.below(60)}`, "w".repeat(1 + random.below(9000)));
    for (let i = 0; i < 400; i++) write();
    await store.flush();
    let ended = false;
    const compacted = store.compact({ full: true }).finally(() => {
      ended = true;
    });
    // Where nothing ends it, it goes on for good: rounds say so on a slow machine, too.
    let rounds = 0;
    for (; !ended && rounds < ROUNDS_MAX; rounds++) {
      for (let i = 0; i < 40; i++) write();
      await pause();
    }
    expect(rounds).toBeLessThan(ROUNDS_MAX);
    expect((await compacted).done).toBe(true);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });
});
