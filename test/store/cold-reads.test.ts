/** Reads of what is no longer in memory: from the device, from the cache, and on the way between. */
import { expect, test } from "vitest";
import { open, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };

test("a value that is on its way to the device is read, though its place in the write buffer was used again", async () => {
  const device = new ImageDevice();
  const store = await open(device, SMALL);
  const release = device.holdWrites();
  const value = "v".repeat(5000);
  const written = store.put("in flight", value);
  await pause(5);
  for (let i = 0; i < 300; i++) store.set(`more ${i}`, "m".repeat(2000));
  expect(store.get("in flight") === value).toBe(true);
  expect([...store.values({ prefix: "in" })][0] === value).toBe(true);
  release();
  await written;
  expect(store.get("in flight") === value).toBe(true);
  await store.close();
});
