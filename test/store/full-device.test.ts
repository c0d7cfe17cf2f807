/** Devices without room whose process is killed, and killed again after each opening: the segment that is recovery's stays. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { codeOf, openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { changeSuperblocks, FIELD } from "./superblock.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SEGMENT = 65_536;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB, durability: "manual" } as const;
const BY_HAND = { ...SMALL, compaction: { auto: false } } as const;

/** What a call gave, or undefined when there was no room. */
async function attempt<T>(call: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    expect(error).toMatchObject({ code: "NO_SPACE" });
    return undefined;
  }
}

function contentOf(store: Store): string {
  return [...store.entries()].map(([key, value]) => `${key}:${value.length}${value[0] ?? ""}`).join();
}

/**
 * Fills a device, then kills and opens it again and again: after writes of one block each, so that groups end where segments do
 * in every other life. Gives the least number of free segments that was seen.
 */
async function live(random: Random, segments: number, lives: number): Promise<number> {
  let device = new ImageDevice(MIB + segments * SEGMENT, false);
  let store = await openTiny(device, BY_HAND);
  let fill = 0;
  while (await attempt(() => store.set(`fill ${fill}`, "f".repeat(3000 + (fill % 700))) || true)) fill++;
  let least = segments;
  for (let life = 0; life < lives; life++) {
    let image: Uint8Array | undefined;
    const killAt = random.below(50);
    let events = 0;
    device.before = (operation) => {
      if (operation !== "read" && events++ === killAt) image = device.image();
    };
    const auto = random.chance(0.3);
    for (let step = 0; step < 40 && image === undefined; step++) {
      const pick = random.below(12);
      const key = `fill ${random.below(fill)}`;
      least = Math.min(least, store.stats().segmentFreeCount);
      if (pick < 3) await attempt(() => store.put(key, "n".repeat(random.below(3000))));
      else if (pick < 9) await attempt(() => store.del(key));
      else if (pick < 10 && auto) await attempt(() => store.compact({ maxMs: 0.1 }));
      else if (pick < 11) await attempt(() => store.put("small", "s"));
      else await attempt(() => store.put(key, "n".repeat(random.below(20_000))));
    }
    device = ImageDevice.of(image ?? device.image(), false);
    store = await openTiny(device, { ...SMALL, compaction: { auto } });
    if (random.chance(0.3)) {
      // Killed before it did anything.
      const content = contentOf(store);
      device = ImageDevice.of(device.image(), false);
      store = await openTiny(device, { ...SMALL, compaction: { auto } });
      expect(contentOf(store)).toBe(content);
    }
    if (random.chance(0.2)) expect((await store.verify()).faults).toEqual([]);
  }
  for (const key of [...store.keys()]) expect(store.delete(key)).toBe(true);
  await store.compact({ full: true });
  for (let i = 0; i < 20; i++) await store.put(`after ${i}`, "a".repeat(3000));
  await store.close();
  return least;
}

test(`a device without room is opened again after each kill, and goes on, seed ${seed}`, async () => {
  const random = new Random(seed);
  for (let round = 0; round < 3; round++) expect(await live(random, 8 + random.below(5), 25)).toBeGreaterThan(0);
});

/** An image whose log ends, behind the durable mark, exactly with its segment; and how many segments that took. */
async function sealedTail(): Promise<{ image: Uint8Array; used: number; content: string }> {
  const device = new ImageDevice(MIB + 40 * SEGMENT, false);
  const store = await openTiny(device, BY_HAND);
  for (let i = 0; i < 70; i++) await store.put(`key ${i}`, `${i}`.padEnd(3000, "."));
  // Each put is a group of one block: one of the next sixteen ends with the last block of a segment.
  for (let i = 0; i < 16; i++) {
    await store.put(`last ${i}`, `${i}`.padEnd(3000, "."));
    const writes = device.events.flatMap((event) => (event.type === "write" ? [event] : []));
    const { offset, size } = writes[writes.length - 1] as (typeof writes)[number];
    const end = offset + size - MIB;
    if (end > 0 && end % SEGMENT === 0)
      return { image: device.image(), used: end / SEGMENT, content: contentOf(store) };
  }
  throw new Error("no group ended with a segment");
}

/** The first segments of an image, which then is all that the device has. */
function cutTo(image: Uint8Array, segments: number): ImageDevice {
  const cut = image.slice(0, MIB + segments * SEGMENT);
  changeSuperblocks(cut, (superblock) => {
    superblock.setUint32(FIELD.segmentCount, segments, true);
    superblock.setUint32(FIELD.allotmentEnd, segments, true);
  });
  return ImageDevice.of(cut, false);
}

describe("complete groups that end with their segment", () => {
  test("and one free segment: recovery leaves one to the next, so that kill upon kill it opens, with all that was there", async () => {
    const { image, used, content } = await sealedTail();
    let device = cutTo(image, used + 1);
    for (let kill = 0; kill < 4; kill++) {
      const store = await openTiny(device, BY_HAND);
      expect(contentOf(store)).toBe(content);
      expect(store.stats().segmentFreeCount).toBe(1);
      expect((await store.verify()).faults).toEqual([]);
      device = ImageDevice.of(device.image(), false);
    }
    const reader = await openTiny(device, { ...SMALL, readOnly: true });
    expect(contentOf(reader)).toBe(content);
    await reader.close();
  });

  test("and none: opening is NO_SPACE, and with a larger device all is there", async () => {
    const { image, used, content } = await sealedTail();
    const device = cutTo(image, used);
    expect(await codeOf(() => openTiny(device, BY_HAND))).toBe("NO_SPACE");
    const larger = new ImageDevice(MIB + (used + 6) * SEGMENT, false);
    larger.bytes.set(device.image());
    const store = await openTiny(larger, BY_HAND);
    expect(contentOf(store)).toBe(content);
    await store.put("after", "1");
    await store.close();
  });
});
