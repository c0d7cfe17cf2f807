/** Compacting where nothing was ever copied. */
import { expect, test } from "vitest";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

test("a full compaction of a store without copies leaves the superblock alone", async () => {
  // One that grows would write its superblock anew in time.
  const device = new ImageDevice(1_048_576 + 40 * 65_536, false);
  const store = await openTiny(device, { compaction: { auto: false } });
  for (let i = 0; i < 100; i++) store.set(`key ${i % 10}`, "v".repeat(1000));
  store.flushSync();
  const before = device.image().slice(0, 1_048_576);
  await store.compact({ full: true });
  for (let copy = 0; copy < 4; copy++) {
    const magic = device.bytes.subarray(copy * 262_144, copy * 262_144 + 8);
    expect(Buffer.compare(magic, before.subarray(0, 8))).toBe(0);
  }
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
});
