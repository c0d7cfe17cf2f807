/** Checkpoints: opening from one gives what a map holds, whatever was written, moved, deleted or damaged since. */
import { describe, expect, test } from "vitest";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { StoreEvent, StoreProgress } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { checkpointBlocks } from "./kept-checkpoints.ts";
import { expectSame, MapModel } from "./map-model.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const BLOCK = 4096;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB };
/** Twenty segments of 16 blocks. */
const TWENTY = 2.25 * MIB;
/** A checkpoint as often as a segment is filled, in steps of a block. */
const OFTEN: CheckpointPace = { logBytes: 1, liveThousandths: 0, stepBlocks: 1 };
const MANUAL = { ...SMALL, durability: "manual" } as const;

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

async function expectSound(store: Store): Promise<void> {
  const report = await store.verify();
  expect(report.faults).toEqual([]);
}

describe(`checkpoints, seed ${seed}`, () => {
  for (const growable of [true, false]) {
    test(`made and opened from all the time keep what a map keeps (${growable ? "a file" : "twenty segments"})`, async () => {
      const random = new Random(seed);
      const device = new ImageDevice(growable ? 0 : TWENTY, growable);
      const options = { ...MANUAL, compaction: { auto: random.chance(0.5), garbageRatio: 0.05 } };
      let made = 0;
      const again = async (): Promise<Store> => openTiny(device.reopen(), options, 16, OFTEN);
      let store = await again();
      const writes = new MapModel(random);
      const model = writes.map;
      let durable = new Map<string, string>();
      const leave = (): void => {
        made += store.stats().checkpointMadeCount;
      };
      for (let i = 0; i < 1500; i++) {
        const key = writes.key();
        const choice = random.below(100);
        try {
          if (choice < 55) {
            writes.set(store, key, i);
          } else if (choice < 75) {
            writes.delete(store, key);
          } else if (choice < 80) {
            await writes.batch(store, key, i);
          } else if (choice < 92) {
            store.flushSync();
            durable = new Map(model);
          } else if (choice < 94) {
            expectSame(store, model);
          } else if (choice < 97) {
            // As after a crash: what was durable is there, whichever way it is found.
            store.flushSync();
            durable = new Map(model);
            const crashed = await openTiny(ImageDevice.of(device.image(), growable), options, 16, OFTEN);
            expectSame(crashed, durable);
            expect(crashed.stats().checkpointFallbackCount).toBe(0);
            await expectSound(crashed);
            await crashed.close();
          } else {
            leave();
            await store.close();
            store = await again();
            expectSame(store, model);
            expect(store.stats().checkpointFallbackCount).toBe(0);
            await expectSound(store);
          }
        } catch (error) {
          if ((error as { code?: string }).code !== "NO_SPACE" || growable) throw error;
        }
        if (random.chance(0.5)) await store.compact({ maxMs: 1e-9 });
      }
      leave();
      await expectSound(store);
      await store.close();
      const last = await again();
      expectSame(last, model);
      await expectSound(last);
      expect(last.stats().checkpointFallbackCount).toBe(0);
      await last.close();
      expect(made).toBeGreaterThan(5);
    });
  }

  /** A store with two checkpoints, and what it holds; `later` is what came behind the newer one. */
  async function twoKept(later: boolean) {
    const device = new ImageDevice();
    const model = new Map<string, string>();
    const pace = { logBytes: 1, liveThousandths: 0, auto: false };
    for (let round = 0; round < 2; round++) {
      const store = await openTiny(device.reopen(), MANUAL, 16, pace);
      for (let i = 0; i < 900; i++) {
        const key = `${(i * 7919) % 600}:${round}`.padEnd(70, "k");
        model.set(key, `${i}`.padEnd(60, "v"));
        store.set(key, model.get(key) as string);
      }
      store.set("large", "L".repeat(200_000 + round));
      model.set("large", "L".repeat(200_000 + round));
      await store.close();
    }
    // What nothing vouches for yet, a `readOnly` opening does not show.
    const proven = new Map(model);
    if (later) {
      const store = await openTiny(device.reopen(), MANUAL, 16, { auto: false });
      expect(store.stats().checkpointCount).toBe(2);
      store.set("later", "x");
      expect(store.delete(`1:0`.padEnd(70, "k"))).toBe(true);
      model.set("later", "x");
      model.delete(`1:0`.padEnd(70, "k"));
      store.flushSync();
    }
    return { device, model, proven };
  }

  const DAMAGES: [string, (image: Uint8Array, at: number, random: Random) => void][] = [
    ["a bit flipped", (image, at, random) => (image[at + random.below(BLOCK)]! ^= 1 << random.below(8))],
    ["zeroed", (image, at) => image.fill(0, at, at + BLOCK)],
    ["half written", (image, at) => image.fill(0xee, at + 2048, at + BLOCK)],
    ["another block's bytes", (image, at) => image.copyWithin(at, MIB + BLOCK, MIB + 2 * BLOCK)],
  ];

  test("damaged in any block give way to the older one, and that to the log", async () => {
    const random = new Random(seed);
    const { device, model, proven } = await twoKept(true);
    const image = device.image();
    const [newer, older] = checkpointBlocks(image);
    expect(newer.length).toBeGreaterThan(17);
    expect(older.length).toBeGreaterThan(8);
    for (const [name, damage] of DAMAGES) {
      for (const at of newer) {
        // Each kind in the summary, and in some of the others.
        if (at !== newer.at(-1) && !random.chance(0.12)) continue;
        const events: StoreEvent[] = [];
        const damaged = image.slice();
        damage(damaged, at, random);
        const both = random.chance(0.3);
        if (both) damage(damaged, older[random.below(older.length)]!, random);
        const readOnly = random.chance(0.3);
        const options = { ...MANUAL, readOnly, onEvent: (event: StoreEvent) => void events.push(event) };
        const copy = ImageDevice.of(damaged);
        const store = await openTiny(copy, options, 16, { auto: false });
        expectSame(store, readOnly ? proven : model);
        const fellBack = `${name} at ${at}`;
        expect(store.stats().checkpointFallbackCount, fellBack).toBe(both ? 2 : 1);
        expect(store.stats().checkpointCount, fellBack).toBe(both ? 0 : 1);
        expect(events.find(({ type }) => type === "checkpointDamaged")).toMatchObject({ used: both ? "log" : "older" });
        if (random.chance(0.2)) await expectSound(store);
        await store.close();
        if (readOnly) expect(copy.image()).toEqual(damaged);
        const again = await openTiny(copy.reopen(), MANUAL, 16, { auto: false });
        expectSame(again, model);
        if (!readOnly) expect(again.stats().checkpointFallbackCount).toBe(0);
        await again.close();
      }
    }
  });

  test("are proven by verify, which tells what is wrong with one", async () => {
    const { device, model } = await twoKept(true);
    const store = await openTiny(ImageDevice.of(device.image()), MANUAL, 16, { auto: false });
    await expectSound(store);
    await store.close();
    const copy = ImageDevice.of(device.image());
    const opened = await openTiny(copy, MANUAL, 16, { auto: false });
    expectSame(opened, model);
    const [newer, older] = checkpointBlocks(copy.image());
    for (const at of [newer[3]!, older[2]!]) copy.bytes[at + 100]! ^= 4;
    const { faults } = await opened.verify();
    expect(faults.map(({ kind, place }) => [kind, place?.offset])).toEqual([
      ["checkpoint", newer[3]],
      ["checkpoint", older[2]],
    ]);
    expect(faults[0]?.message).toContain("newer checkpoint");
  });

  test("never bring back what was deleted since, however often segments are used anew", async () => {
    const random = new Random(seed);
    const device = new ImageDevice();
    const options = { ...MANUAL, compaction: { auto: false, garbageRatio: 0.05 } };
    const store = await openTiny(device, options, 16, { ...OFTEN, stepBlocks: 15 });
    for (let i = 0; i < 300; i++) store.set(`old ${i}`, "o".repeat(1000));
    let opened = 0;
    for (let round = 0; round < 25; round++) {
      for (let i = 0; i < 10; i++) store.delete(`old ${random.below(300)}`);
      const gone = Array.from({ length: 300 }, (_, i) => `old ${i}`).filter((key) => !store.has(key));
      for (let i = 0; i < 80; i++) store.set(`new ${i % 10}`, `${round},${i}`.padEnd(3500, "n"));
      await store.compact({ full: true });
      store.flushSync();
      const image = device.image();
      const [newer, older] = checkpointBlocks(image);
      for (const damage of [0, 1]) {
        // From the newer one, then from the older one.
        if (damage && (newer.length === 0 || older.length === 0)) continue;
        const copy = image.slice();
        if (damage) copy[newer[newer.length - 1]! + 60]! ^= 1;
        const crashed = await openTiny(ImageDevice.of(copy), MANUAL, 16, { auto: false });
        expect(crashed.stats().checkpointFallbackCount).toBe(damage);
        opened += crashed.stats().checkpointCount;
        for (const key of gone) expect(crashed.has(key)).toBe(false);
        expect(crashed.count()).toBe(310 - gone.length);
        await crashed.close();
      }
    }
    expect(opened).toBeGreaterThan(30);
    await store.close();
  });

  test("hold no values, and small ones come back to memory when they are read", async () => {
    const { device, model } = await twoKept(false);
    const store = await openTiny(device.reopen(), MANUAL, 16, { auto: false });
    const [key] = [...model.keys()];
    const value = model.get(key as string);
    expect(store.get(key as string)).toBe(value);
    const before = store.stats();
    for (let i = 0; i < 10; i++) expect(store.get(key as string)).toBe(value);
    const after = store.stats();
    expect(after.cacheHitCount + after.cacheMissCount).toBe(before.cacheHitCount + before.cacheMissCount);
    expectSame(store, model);
    await expectSound(store);
    await store.close();
  });

  test("are made by themselves while a store is written to, and told of", async () => {
    const events: StoreEvent[] = [];
    const device = new ImageDevice();
    const options = { ...SMALL, flushIntervalMs: 5, onEvent: (event: StoreEvent) => void events.push(event) };
    const store = await openTiny(device, options, 16, { logBytes: 500_000, liveThousandths: 1667 });
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 300; i++) store.set(`key ${i}`, `${round},${i}`.padEnd(200, "b"));
      await store.flush();
      // What a step makes goes to the host in a turn of the event loop.
      await turn();
    }
    const stats = store.stats();
    expect(stats.checkpointMadeCount).toBeGreaterThan(2);
    expect(stats.checkpointMadeCount).toBeLessThan(6);
    expect(stats.checkpointCount).toBe(2);
    expect(stats.checkpointKeyCount).toBe(300);
    const made = events.filter((event) => event.type === "checkpointed");
    expect(made).toHaveLength(stats.checkpointMadeCount);
    expect(made[0]).toMatchObject({ records: 300 });
    await store.close();
  });

  test("are read with progress, which never goes back", async () => {
    const { device, model } = await twoKept(true);
    const told: StoreProgress[] = [];
    const options = { ...MANUAL, onProgress: (progress: StoreProgress) => void told.push(progress) };
    const store = await openTiny(device.reopen(), options, 16, { auto: false });
    expect(store.count()).toBe(model.size);
    expect(told.length).toBeGreaterThan(1);
    const shares = told.map(({ done, total }) => done / total);
    expect([...shares].sort((a, b) => a - b)).toEqual(shares);
    expect(shares.at(-1)).toBe(1);
    expect(new Set(told.map(({ phase }) => phase))).toEqual(new Set(["recovery"]));
    await store.compact({ full: true });
    const looked = told.filter(({ phase }) => phase === "compaction");
    expect(looked.length).toBeGreaterThan(0);
    expect(looked.every(({ done, total }) => done <= total)).toBe(true);
    expect(looked.at(-1)?.done).toBe(looked.at(-1)?.total);
    await store.close();
  });
});
