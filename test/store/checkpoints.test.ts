/** Checkpoints: opening from one gives what a map holds, whatever was written, moved, deleted or damaged since. */
import { describe, expect, test } from "vitest";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { StoreEvent } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
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

function expectSame(store: Store, model: ReadonlyMap<string, string>): void {
  expect(store.count()).toBe(model.size);
  for (const [key, value] of store.entries()) {
    if (model.get(key) !== value) throw new Error(`${key} is ${value.slice(0, 20)} of ${value.length} bytes`);
  }
  for (const [key, value] of model) if (store.get(key) !== value) throw new Error(`${key} is lost`);
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
      let givenUp = 0;
      const again = async (): Promise<Store> => openTiny(device.reopen(), options, 16, OFTEN);
      let store = await again();
      const model = new Map<string, string>();
      let durable = new Map<string, string>();
      const leave = (): void => {
        made += store.stats().checkpointMadeCount;
        givenUp += store.stats().checkpointGivenUpCount;
      };
      for (let i = 0; i < 1500; i++) {
        const key = `key ${random.below(60)}`;
        const choice = random.below(100);
        try {
          if (choice < 55) {
            const value = `${i}`.padEnd(random.pick([5, 100, 1000, 5000, random.below(30_000)]), ".");
            store.set(key, value);
            model.set(key, value);
          } else if (choice < 75) {
            expect(store.delete(key)).toBe(model.delete(key));
          } else if (choice < 80) {
            const other = `key ${random.below(60)}`;
            await store.batch([
              { type: "set", key, value: "first" },
              { type: "delete", key: other },
              { type: "set", key, value: `${i} in a batch` },
            ]);
            model.delete(other);
            model.set(key, `${i} in a batch`);
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
      expect(made).toBeGreaterThan(20);
    });
  }
});
