/** Compaction and the full device: what is live stays, what is deleted stays deleted, and space comes back. */
import { describe, expect, test } from "vitest";
import type { DevicePiece } from "../../store/device.ts";
import type { StoreEvent } from "../../store/options.ts";
import { codeOf, open, openTiny, pause, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { expectSame, MapModel } from "./map-model.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB };
/** Twenty segments of 16 blocks. */
const TWENTY = 2.25 * MIB;

describe(`compaction, seed ${seed}`, () => {
  for (const growable of [false, true]) {
    test(`after every operation keeps what a map keeps, through reopening (${growable ? "a file" : "twenty segments"})`, async () => {
      const random = new Random(seed);
      const device = new ImageDevice(growable ? 0 : TWENTY, growable);
      const options = { ...SMALL, durability: "manual", compaction: { auto: random.chance(0.5) } } as const;
      let store = await openTiny(device, options);
      const writes = new MapModel(random);
      const model = writes.map;
      let freed = 0;
      let refused = 0;
      for (let i = 0; i < 1500; i++) {
        const key = writes.key();
        const choice = random.below(100);
        try {
          if (choice < 55) {
            writes.set(store, key, i);
          } else if (choice < 80) {
            writes.delete(store, key);
          } else if (choice < 88) {
            await writes.batch(store, key, i);
          } else if (choice < 97) {
            store.flushSync();
          } else if (choice < 98) {
            expectSame(store, model);
          } else {
            freed += store.stats().freedSegmentCount;
            await store.close();
            store = await openTiny(device.reopen(), options);
            expectSame(store, model);
          }
        } catch (error) {
          if ((error as { code?: string }).code !== "NO_SPACE" || growable) throw error;
          refused++;
        }
        await store.compact({ maxMs: 1e-9 });
      }
      freed += store.stats().freedSegmentCount;
      expectSame(store, model);
      await store.compact({ full: true });
      expectSame(store, model);
      await store.close();
      const last = await openTiny(device.reopen(), options);
      expectSame(last, model);
      await last.close();
      expect(freed).toBeGreaterThan(40);
      expect(refused).toBeLessThan(200);
    });
  }

  test("never brings back what was deleted, however often segments are used anew", async () => {
    const random = new Random(seed);
    const device = new ImageDevice(TWENTY, false);
    const options = { ...SMALL, durability: "manual" } as const;
    let store = await openTiny(device, options);
    let freed = 0;
    for (let i = 0; i < 40; i++) store.set(`old ${i}`, "o".repeat(3000));
    for (let round = 0; round < 12; round++) {
      const victim = `old ${random.below(40)}`;
      const there = store.has(victim);
      expect(store.delete(victim)).toBe(there);
      const gone = new Set(Array.from({ length: 40 }, (_, i) => `old ${i}`).filter((key) => !store.has(key)));
      // What follows turns the log over several times.
      for (let i = 0; i < 400; i++) {
        store.set(`new ${i % 20}`, `${round},${i}`.padEnd(3500, "n"));
        if (i % 50 === 0) await store.compact({ full: round % 3 === 0 });
      }
      await store.flush();
      const crashed = await openTiny(ImageDevice.of(device.image(), false), options);
      for (const key of gone) expect(crashed.has(key)).toBe(false);
      expect(crashed.count()).toBe(60 - gone.size);
      await crashed.close();
      if (round % 4 === 3) {
        freed += store.stats().freedSegmentCount;
        await store.close();
        store = await openTiny(device.reopen(), options);
      }
    }
    expect(freed).toBeGreaterThan(100);
    await store.close();
  });

  test("keeps a file small by itself, and old values for an iterator that needs them", async () => {
    const events: StoreEvent[] = [];
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, onEvent: (event) => events.push(event), flushIntervalMs: 5 });
    for (let i = 0; i < 300; i++) store.set(`key ${i}`, `${i}`.padEnd(1000, "a"));
    await store.flush();
    const old = store.values();
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 300; i++) store.set(`key ${i}`, `${round},${i}`.padEnd(1000, "b"));
      await store.flush();
      if (round === 20) {
        expect([...old].every((value) => value.endsWith("a"))).toBe(true);
        old.return();
      }
    }
    const stats = store.stats();
    // Written were 12 MB, of which 0.3 MB are live.
    expect(stats.appendedBytes).toBeGreaterThan(12_000_000);
    expect(device.size()).toBeLessThan(5 * MIB);
    expect(stats.freedSegmentCount).toBeGreaterThan(100);
    expect(events.some((event) => event.type === "compacted" && event.segmentsFreed > 0)).toBe(true);
    for (let i = 0; i < 300; i++) expect(store.get(`key ${i}`)).toBe(`39,${i}`.padEnd(1000, "b"));
    await store.close();
    const again = await openTiny(device.reopen(), SMALL);
    expect(again.count()).toBe(300);
    for (let i = 0; i < 300; i++) expect(again.get(`key ${i}`)).toBe(`39,${i}`.padEnd(1000, "b"));
    await again.close();
  });

  test("moves values of every size, in one extent and in many", async () => {
    const device = new ImageDevice();
    const options = { ...SMALL, durability: "manual", compaction: { auto: false } } as const;
    const store = await openTiny(device, options);
    const model = new Map<string, string>();
    const sizes = [0, 1, 127, 128, 129, 4000, 4040, 20_000, 59_000, 70_000, 300_000, 1_000_000];
    for (const [index, size] of sizes.entries()) {
      const value = `${index}`.padEnd(size, String.fromCharCode(97 + index)).slice(0, size);
      store.set(`kept ${index}`, value);
      store.set(`junk ${index}`, "j".repeat(30_000));
      model.set(`kept ${index}`, value);
    }
    for (let index = 0; index < sizes.length; index++) store.delete(`junk ${index}`);
    const report = await store.compact({ full: true });
    expect(report.done).toBe(true);
    expect(report.segmentsFreed).toBeGreaterThan(4);
    expect(report.bytesFreed).toBe(report.segmentsFreed * 65_536);
    expect(report.bytesRead).toBeGreaterThan(1_000_000);
    expect(report.bytesWritten).toBeGreaterThan(700_000);
    expectSame(store, model);
    const used = store.stats().segmentUsedCount;
    expect(used).toBeLessThan(40);
    await store.close();
    const again = await openTiny(device.reopen(), options);
    expectSame(again, model);
    await again.compact({ full: true });
    expectSame(again, model);
    await again.close();
  });

  test("uses no segment anew before it is proven that nothing counts it", async () => {
    const device = new ImageDevice();
    const options = { ...SMALL, durability: "manual" } as const;
    const store = await openTiny(device, options);
    const durable = new Map<string, string>();
    const written = new Map<string, string>();
    for (let round = 0; round < 12; round++) {
      // A group that outgrows the write buffer: much of it is on the device before it has an end.
      for (let i = 0; i < 150; i++) {
        const key = `key ${i % 20}`;
        const value = `${round},${i}`.padEnd(3500, "v");
        store.set(key, value);
        written.set(key, value);
        if (i % 25 !== 24) continue;
        const crashed = await openTiny(ImageDevice.of(device.image()), options);
        expectSame(crashed, durable);
        await crashed.close();
      }
      await store.flush();
      for (const [key, value] of written) durable.set(key, value);
    }
    expect(store.stats().freedSegmentCount).toBeGreaterThan(50);
    await store.close();
  });

  test("keeps the last of what a batch does with a key, when all of it is on the device", async () => {
    const device = new ImageDevice();
    const options = { ...SMALL, durability: "manual", compaction: { auto: false } } as const;
    let store = await openTiny(device, options);
    // More than the write buffer takes, so that nothing before it can be taken back in place.
    const filler = (name: string) =>
      Array.from({ length: 20 }, (_, i) => ({ type: "set" as const, key: `${name} ${i}`, value: "f".repeat(20_000) }));
    store.set("gone", "before");
    store.set("kept", "before");
    await store.batch([
      { type: "delete", key: "gone" },
      { type: "set", key: "kept", value: "first" },
      ...filler("a"),
      { type: "set", key: "gone", value: "between" },
      { type: "delete", key: "kept" },
      ...filler("b"),
      { type: "delete", key: "gone" },
      { type: "set", key: "kept", value: "last" },
      ...filler("c"),
    ]);
    const step = async (): Promise<void> => {
      const crashed = await openTiny(ImageDevice.of(device.image()), options);
      expect(crashed.get("gone")).toBe(undefined);
      expect(crashed.get("kept")).toBe("last");
      await crashed.close();
    };
    await store.flush();
    await step();
    for (const name of ["b", "a", "c"]) {
      for (let i = 0; i < 20; i += 1 + Number(name === "b")) store.delete(`${name} ${i}`);
      await store.flush();
      for (let i = 0; i < 40; i++) {
        const { done } = await store.compact({ maxMs: 1e-9 });
        await step();
        if (done) break;
      }
      await store.close();
      store = await openTiny(device.reopen(), options);
      expect(store.get("gone")).toBe(undefined);
      expect(store.get("kept")).toBe("last");
    }
    await store.compact({ full: true });
    await store.flush();
    await step();
    await store.close();
  });

  test("keeps the parts of the later of two long values that a batch gives a key, wherever they lie", async () => {
    const device = new ImageDevice(0, true);
    const options = { ...SMALL, durability: "manual" } as const;
    let store = await openTiny(device, options);
    for (let round = 0; round < 12; round++) {
      const long = `${round} long `.repeat(30_000);
      const last = `${round} last `.repeat(round % 2 === 0 ? 9_000 : 22_000);
      await store.batch([
        { type: "set", key: "key", value: long },
        { type: "set", key: "key", value: last },
      ]);
      store.set(`between ${round}`, "b".repeat(40_000));
      if (round % 3 === 2) await store.compact({ full: true });
      await store.close();
      store = await openTiny(device.reopen(), options);
      expect(store.get("key") === last).toBe(true);
      expect((await store.verify()).faults).toEqual([]);
    }
    await store.close();
  });

  test("finds nothing wrong in a verification while a value is copied in part", async () => {
    const store = await open(":memory:", { ...SMALL, durability: "manual", compaction: { auto: false } });
    const values = new Map<string, string>();
    for (let i = 0; i < 8; i++) {
      values.set(`small ${i}`, "s".repeat(i * 217));
      values.set(`key ${i}`, `${i}`.repeat(700_000));
      for (const key of [`small ${i}`, `key ${i}`]) store.set(key, values.get(key) as string);
      store.set("garbage", "g".repeat(300_000 + i));
    }
    await store.flush();
    // As bounded as steps are: most of them end within a value.
    for (let i = 0; i < 150; i++) {
      await store.compact({ full: i === 0, maxMs: 1e-9 });
      expect((await store.verify()).faults).toEqual([]);
    }
    for (const [key, value] of values) expect(store.get(key) === value).toBe(true);
    await store.close();
  });

  test("refuses options that make no sense, and a store that is only read", async () => {
    const device = new ImageDevice();
    const store = await open(device);
    for (const options of [{ full: 1 }, { maxMs: 0 }, { maxMs: Number.NaN }, { fast: true }, null, []]) {
      expect(await codeOf(() => store.compact(options as object))).toBe("INVALID_ARGUMENT");
    }
    expect((await store.compact()).done).toBe(true);
    await store.close();
    expect(await codeOf(() => store.compact())).toBe("CLOSED");
    for (const compaction of [true, { auto: 1 }, { garbageRatio: 0 }, { garbageRatio: 1 }, { ratio: 0.5 }]) {
      expect(await codeOf(() => open(device.reopen(), { compaction: compaction as object }))).toBe("INVALID_ARGUMENT");
    }
    const reader = await open(device.reopen(), { readOnly: true });
    expect(await codeOf(() => reader.compact())).toBe("READ_ONLY");
    await reader.close();
  });
});

describe("a full device", () => {
  for (const opener of [open, openTiny]) {
    test(`is brought back by deletions, without reopening (${opener.name})`, async () => {
      const device = new ImageDevice(opener === open ? 12 * MIB : TWENTY, false);
      const store = await opener(device, { ...SMALL, durability: "manual" });
      const key = (index: number): string => `key ${String(index).padStart(6, "0")}`;
      let count = 0;
      let code = "";
      while (code === "") {
        try {
          store.set(key(count), `${count}`.padEnd(2000, "."));
          count++;
        } catch (error) {
          code = (error as { code: string }).code;
        }
      }
      expect(code).toBe("NO_SPACE");
      // Every other one goes, to the last; then there is room for many of them, again and again.
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < count; i += 2) expect(store.delete(key(i))).toBe(true);
        if (round === 2) await store.flush();
        for (let i = 0; i < count * 0.6; i += 2) store.set(key(i), `${round}`.padEnd(2000, "+"));
        for (let i = 1; i < count; i += 2) expect(store.get(key(i))).toBe(`${i}`.padEnd(2000, "."));
        for (let i = 0; i < count; i += 2) if (i >= count * 0.6) store.set(key(i), "small");
      }
      for (let i = 0; i < count; i++) expect(store.delete(key(i))).toBe(true);
      expect(store.count()).toBe(0);
      for (let i = 0; i < count * 0.8; i++) store.set(key(i), `${i}`.padEnd(2000, "!"));
      await store.close();
      const again = await opener(device.reopen(), SMALL);
      expect(again.count()).toBe(Math.ceil(count * 0.8));
      for (let i = 0; i < count * 0.8; i++) expect(again.get(key(i))).toBe(`${i}`.padEnd(2000, "!"));
      await again.close();
    });
  }
});

/** A device whose asynchronous writes are made, and not reported while they are held. */
class HoldingDevice extends ImageDevice {
  held: (() => void) | undefined;
  holds = false;

  override async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    await super.writeAsync(pieces);
    if (!this.holds) return;
    await new Promise<void>((resolve) => {
      this.held = resolve;
    });
  }
}

test("a write finds room while the host has yet to report on a group whose segments are garbage already", async () => {
  const random = new Random(seed);
  const device = new HoldingDevice(4 * MIB, false);
  const store = await openTiny(device, { ...SMALL, durability: "manual" });
  const value = "v".repeat(400);
  for (let i = 0; i < 4000; i++) store.set(`key ${i}`, value);
  await store.flush();
  device.holds = true;
  for (let i = 0; i < 200; i++) store.set(`key ${i}`, value);
  const durable = store.flush();
  await pause();
  expect(device.held).toBeDefined();
  // The group in flight is overwritten whole; its segments cannot be used anew before the report.
  for (let i = 0; i < 200; i++) store.set(`key ${i}`, value);
  for (let i = 0; i < 40_000; i++) store.set(`key ${random.below(4000)}`, value);
  device.holds = false;
  device.held?.();
  await durable;
  expect((await store.verify()).faults).toEqual([]);
  expect(store.count()).toBe(4000);
  await store.close();
});
