/** `repair` of segments that were used before: what is left there of a former life, when all of the present one is lost. */
import { describe, expect, test } from "vitest";
import { expectCurrent, expectNoWrongValue, type Reference, SMALL } from "./damaged-store.ts";
import { open, openTiny, repair, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const BLOCK = 4096;
const FIRST = 256;
const SEGMENT_BLOCKS = 16;
const SEGMENTS = 8;
const seed = runSeed();

/** A store on eight segments that were written over many times, by writes and by copies, with deletions in both. */
async function usedStore(random: Random): Promise<Reference> {
  const device = new ImageDevice((FIRST + SEGMENTS * SEGMENT_BLOCKS) * BLOCK, false);
  const history: Reference["history"] = new Map();
  const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false } });
  const tell = (key: string, value: string | undefined): void => {
    history.set(key, [...(history.get(key) ?? []), value]);
  };
  for (let i = 0; i < 40; i++) {
    const large = `${i} large`.padEnd(random.pick([500, 4000, 9000]), "l");
    store.set(`large ${i % 3}`, large);
    tell(`large ${i % 3}`, large);
    for (let j = 0; j < 3; j++) {
      const key = `key ${random.below(8)}`;
      if (random.chance(0.4)) {
        if (store.delete(key)) tell(key, undefined);
        continue;
      }
      const value = `${i} ${j}`.padEnd(random.pick([3, 200, 600]), "s");
      store.set(key, value);
      tell(key, value);
    }
    store.flushSync();
    if (i % 6 === 5) await store.compact({ full: true });
  }
  await store.close();
  return { image: device.image(), history };
}

/** The image without any block of the life that a segment's header begins; how many blocks of others are left there. */
function withoutLife(image: Uint8Array, segment: number): { damaged: Uint8Array; left: number } {
  const damaged = image.slice();
  const view = new DataView(damaged.buffer);
  const start = (FIRST + segment * SEGMENT_BLOCKS) * BLOCK;
  const generation = view.getBigUint64(start + 16, true);
  let left = 0;
  for (let at = start; at < start + SEGMENT_BLOCKS * BLOCK; at += BLOCK) {
    const other = view.getBigUint64(at + 16, true);
    if (other === generation) crypto.getRandomValues(damaged.subarray(at, at + BLOCK));
    else if (other !== 0n) left++;
  }
  return { damaged, left };
}

describe(`repair of used segments, seed ${seed}`, () => {
  test("a former life is not taken for the one that the note counts", async () => {
    let former = 0;
    for (let round = 0; round < 3; round++) {
      const reference = await usedStore(new Random(seed + round));
      for (let segment = 0; segment < SEGMENTS; segment++) {
        const { damaged, left } = withoutLife(reference.image, segment);
        former += left;
        const [output, apart] = [new ImageDevice(), new ImageDevice()];
        await repair(ImageDevice.of(damaged), { output, unproven: apart, memoryBytes: SMALL.memoryBytes });
        const store = await open(output.reopen(), SMALL);
        expectNoWrongValue(store, reference);
        expectCurrent(store, reference);
        await store.close();
      }
    }
    expect(former).toBeGreaterThan(0);
  });
});

test("a lost segment that held all durable notes is missed, and what was deleted in it stays away", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false } });
  // The first segment is filled to its end, so that the second one begins with a note of a group that nothing vouches for.
  store.set("gone", "1".repeat(3000));
  while (device.size() < (FIRST + 3 * SEGMENT_BLOCKS) * BLOCK) {
    store.set("kept", "2".repeat(3000));
    store.flushSync();
  }
  store.set("last", "3");
  store.flushSync();
  const image = device.image();
  const start = FIRST * BLOCK;
  image.fill(0, start, start + SEGMENT_BLOCKS * BLOCK);
  const output = new ImageDevice();
  const unproven = new ImageDevice();
  const report = await repair(ImageDevice.of(image), { output, unproven, memoryBytes: SMALL.memoryBytes });
  expect(report.complete).toBe(false);
  expect(report.gaps.length).toBeGreaterThan(0);
  await store.close();
});
