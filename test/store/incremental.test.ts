/** Backups that add to earlier ones: chains of them bring back what a map held, and little is in them. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { backupOf, bytesOf, failureOf, MANUAL, restored } from "./backups.ts";
import { open, openTiny, restore, runSeed, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { expectSame, MapModel } from "./map-model.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const OFTEN = { logBytes: 1, liveThousandths: 0, stepBlocks: 1 };

const nextPath = scratchPaths();

describe(`backups that add to others, seed ${seed}`, () => {
  test("chains hold what a map held, over compaction, checkpoints, openings and crashes", async () => {
    const random = new Random(seed);
    let device = new ImageDevice();
    const options = { ...MANUAL, compaction: { auto: true, garbageRatio: 0.05 } };
    let store = await openTiny(device, options, 16, OFTEN);
    const writes = new MapModel(random);
    /** Of each backup: its bytes, its version, what it holds, and the backup that it adds to. */
    const taken: { bytes: Uint8Array; version: number; map: Map<string, string>; base: number }[] = [];
    let i = 0;
    const write = async (count: number): Promise<void> => {
      for (; count > 0; count--, i++) {
        const choice = random.below(100);
        if (choice < 55) writes.set(store, writes.key(), i);
        else if (choice < 75) writes.delete(store, writes.key());
        else if (choice < 90) store.flushSync();
        else await store.compact({ maxMs: 1e-9 });
      }
    };
    for (let round = 0; round < 25; round++) {
      await write(random.below(120));
      // Two points may be of one version, and yet not of one device.
      if (random.chance(0.3)) await store.compact();
      const base = taken.length === 0 || random.chance(0.1) ? -1 : Math.max(0, taken.length - 1 - random.below(4));
      const since = taken[base]?.version;
      const stream = store.backup(since === undefined ? {} : { since });
      const version = await stream.version;
      const map = new Map(writes.map);
      taken.push({ bytes: await bytesOf(stream, () => write(random.below(3))), version, map, base });
      const chain: Uint8Array[] = [];
      for (let at = taken.length - 1; at >= 0; at = taken[at]?.base ?? -1)
        chain.unshift(taken[at]?.bytes as Uint8Array);
      const back = await restored(chain, new ImageDevice(), OFTEN);
      expectSame(back, map);
      expect((await back.verify()).faults).toEqual([]);
      expect(back.stats().checkpointFallbackCount).toBe(0);
      await back.close();
      const next = random.below(10);
      if (next < 2) {
        await store.close();
        store = await openTiny(device.reopen(), options, 16, OFTEN);
      } else if (next < 4) {
        store.flushSync();
        device = ImageDevice.of(device.image());
        store = await openTiny(device, options, 16, OFTEN);
      }
    }
    await store.close();
  });

  /** A store of some 100 segments. */
  async function large(): Promise<{ store: Store; device: ImageDevice }> {
    const device = new ImageDevice();
    const store = await openTiny(device, MANUAL);
    for (let i = 0; i < 300; i++) store.set(`key ${i}`, `${i}`.padEnd(20_000, "v"));
    return { store, device };
  }

  test("little is in one when little has changed, and nothing but the list when nothing has", async () => {
    const { store } = await large();
    const full = await backupOf(store);
    expect(full.bytes.length).toBeGreaterThan(6_000_000);
    const nothing = await backupOf(store, full.version);
    expect(nothing.bytes.length).toBeLessThan(10_000);
    store.set("key 7", "changed");
    const little = await backupOf(store, full.version);
    expect(little.bytes.length).toBeLessThan(3 * 65_536);
    const back = await restored([full.bytes, nothing.bytes, little.bytes]);
    expect(back.get("key 7")).toBe("changed");
    expect(back.count()).toBe(300);
    await Promise.all([store.close(), back.close()]);
  });

  test("a version of which no backup is remembered is refused, also behind 15 others", async () => {
    const { store } = await large();
    expect((await failureOf(backupOf(store, 3))).code).toBe("VERSION_COMPACTED");
    const first = await backupOf(store);
    for (let i = 0; i < 15; i++) {
      store.set("more", `${i}`);
      await (await backupOf(store, first.version)).version;
    }
    store.set("more", "x");
    const error = await failureOf(backupOf(store, first.version));
    expect([error.code, error.message.includes(`${first.version}`)]).toEqual(["VERSION_COMPACTED", true]);
    await store.close();
  });

  test("what does not follow is refused: no base, another store's, one that was written since, the wrong order", async () => {
    const { store } = await large();
    const full = await backupOf(store);
    store.set("a", "1");
    const one = await backupOf(store, full.version);
    store.set("a", "2");
    const two = await backupOf(store, one.version);
    const other = await large();
    const foreign = await backupOf(other.store);
    for (const chain of [[one], [full, two], [foreign, one], [full, one, full], [full, two, one]]) {
      const device = new ImageDevice();
      const sources = chain.map(({ bytes }) => [bytes]);
      expect((await failureOf(restore(device, sources))).code).toBe("INVALID_ARGUMENT");
      expect(device.size()).toBe(0);
    }
    const path = nextPath();
    await restore(path, [full.bytes]);
    await restore(path, [one.bytes]);
    expect((await failureOf(restore(path, [one.bytes.subarray(0, 50_000)]))).code).toBe("CORRUPT");
    // To look at it changes nothing.
    const reader = await open(path, { readOnly: true });
    expect(reader.get("a")).toBe("1");
    await reader.close();
    await restore(path, [two.bytes]);
    const writer = await open(path);
    expect(writer.get("a")).toBe("2");
    expect(writer.count()).toBe(301);
    await writer.close();
    const error = await failureOf(restore(path, [two.bytes]));
    expect([error.code, error.message.includes("written since")]).toEqual(["INVALID_ARGUMENT", true]);
    await Promise.all([store.close(), other.store.close()]);
  });

  test("a restored store goes on with the chain, and its future is not mixed with that of the original", async () => {
    const { store } = await large();
    const full = await backupOf(store);
    const copy = await restored([full.bytes]);
    copy.set("whose", "copy");
    store.set("whose", "original");
    const ofCopy = await backupOf(copy, full.version);
    const ofStore = await backupOf(store, full.version);
    expect(ofCopy.bytes.length).toBeLessThan(4 * 65_536);
    for (const [bytes, whose] of [
      [ofCopy.bytes, "copy"],
      [ofStore.bytes, "original"],
    ] as const) {
      const back = await restored([full.bytes, bytes]);
      expect(back.get("whose")).toBe(whose);
      expect((await back.verify()).faults).toEqual([]);
      await back.close();
    }
    expect((await failureOf(restored([full.bytes, ofCopy.bytes, ofStore.bytes]))).code).toBe("INVALID_ARGUMENT");
    await Promise.all([store.close(), copy.close()]);
  });
});
