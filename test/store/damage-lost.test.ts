/** Blocks that are lost, so that zeros lie in their place: what shows that something was there is believed. */
import { expect, test } from "vitest";
import { codeOf, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const BLOCK = 4096;
const FIRST = 256 * BLOCK;
const SEGMENT = 16 * BLOCK;
const OPTIONS = { writeBufferBytes: 262_144, cacheBytes: 262_144, durability: "manual" } as const;

/** A store of some segments whose process was killed: only what is in the log says how far it was durable. */
async function killed(groups: number): Promise<Uint8Array> {
  const device = new ImageDevice();
  const store = await openTiny(device, OPTIONS);
  for (let i = 0; i < groups; i++) {
    store.set(`key ${i}`, `${i}`.repeat(1000));
    store.flushSync();
  }
  const image = device.image();
  await store.close();
  return image;
}

/** Opening the image is CORRUPT, and leaves each of its bytes. */
async function expectCorrupt(image: Uint8Array): Promise<void> {
  for (const readOnly of [false, true]) {
    const device = ImageDevice.of(image);
    expect(await codeOf(() => openTiny(device, { ...OPTIONS, readOnly }))).toBe("CORRUPT");
    expect(Buffer.compare(device.image(), image)).toBe(0);
  }
}

test("a header of the log that was lost is CORRUPT, and not a log that ends before it", async () => {
  const image = await killed(40);
  let headers = 0;
  for (let at = FIRST; at < image.length; at += SEGMENT) {
    // Whatever segment is the newest, blocks of it vouch for groups in it.
    if (image.subarray(at + 2 * BLOCK, at + 3 * BLOCK).every((byte) => byte === 0)) continue;
    headers++;
    const lost = image.slice();
    lost.fill(0, at, at + BLOCK);
    await expectCorrupt(lost);
    lost.fill(0, at + BLOCK, at + 2 * BLOCK);
    await expectCorrupt(lost);
    const torn = image.slice();
    torn.fill(0, at, at + BLOCK - 512);
    torn[at + BLOCK - 1] = 1;
    await expectCorrupt(torn);
  }
  expect(headers).toBeGreaterThan(1);
});

test("the only segment of a store whose header was lost is CORRUPT, and no empty store", async () => {
  const image = await killed(4);
  image.fill(0, FIRST, FIRST + BLOCK);
  await expectCorrupt(image);
});
