/** Calls that have to read before they write, or to tell what was: what they say when the device fails then, or lost something. */
import { describe, expect, test } from "vitest";
import { errorOf, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { take, told } from "./watched.ts";

const OPTIONS = {
  durability: "manual",
  writeBufferBytes: 262_144,
  cacheBytes: 262_144,
  memoryBytes: 16 * 1_048_576,
} as const;
const BLOCK = 4096;
const SEGMENTS_OFFSET = 1_048_576;

/** Lets every read of the log fail until the function that this gives is called. */
function failReads(device: ImageDevice): () => void {
  device.before = (operation, offset) => {
    if (operation === "read" && offset >= SEGMENTS_OFFSET)
      throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
  };
  return () => {
    device.before = undefined;
  };
}

describe("a value whose record cannot be read", () => {
  test("is neither added to nor changed in part, and is what it was once it can", async () => {
    const device = new ImageDevice();
    const filling = await openTiny(device, OPTIONS, 16, { logBytes: 1, liveThousandths: 0 });
    filling.set("number", "41");
    filling.set("text", "t".repeat(3000));
    for (let i = 0; i < 300; i++) filling.set(`key ${i}`, "v".repeat(1000));
    await filling.close();
    // Opened from a checkpoint, values are not in memory, not even small ones.
    const store = await openTiny(device.reopen(), OPTIONS);
    expect(store.stats().checkpointKeyCount).toBeGreaterThan(300);
    const version = store.version;
    const restore = failReads(device);
    for (const change of [
      () => store.increment("number"),
      () => store.append("text", "more"),
      () => store.append("number", "0"),
    ]) {
      expect((await errorOf(change)).code).toBe("DEVICE_READ");
    }
    restore();
    expect(store.version).toBe(version);
    expect(store.increment("number")).toBe(42n);
    store.append("text", "more");
    expect(store.get("text")).toBe(`${"t".repeat(3000)}more`);
    await store.close();
  });

  test("is not added to on a device without room either", async () => {
    const device = new ImageDevice(SEGMENTS_OFFSET + 24 * 65_536, false);
    const store = await openTiny(device, OPTIONS);
    store.set("number", "9223372036854775806");
    let refused: unknown;
    for (let i = 0; refused === undefined; i++) {
      try {
        store.set(`key ${i}`, "v".repeat(9000));
      } catch (error) {
        refused = (error as { code: string }).code;
      }
    }
    expect(refused).toBe("NO_SPACE");
    // What is left of the open segment is filled, until not even a number finds room.
    let said: unknown;
    let value = 9_223_372_036_854_775_806n;
    for (let i = 0; i < 5000 && said === undefined; i++) {
      try {
        store.set(`small ${i}`, "s".repeat(500));
        store.increment("number", i % 2 === 0 ? 1n : -1n);
        value += i % 2 === 0 ? 1n : -1n;
      } catch (error) {
        said = (error as { code: string }).code;
      }
    }
    expect(said).toBe("NO_SPACE");
    expect((await errorOf(() => store.increment("number", -2n))).code).toBe("NO_SPACE");
    expect(store.get("number")).toBe(String(value));
    await store.close();
  });
});

describe("deletions that are told of since a version", () => {
  /** A store with deletions in segments that are not in memory any more. */
  async function deleted() {
    const device = new ImageDevice();
    const store = await openTiny(device, OPTIONS);
    for (let i = 0; i < 40; i++) store.set(`gone ${i}`, "g");
    const since = store.version;
    for (let i = 0; i < 40; i++) store.delete(`gone ${i}`);
    store.flushSync();
    const at = device.image().length;
    for (let i = 0; i < 400; i++) store.set(`key ${i}`, "v".repeat(2000));
    store.flushSync();
    return { device, store, since, at };
  }

  test("cannot be told while the device fails to read, and the watch says so", async () => {
    const { device, store, since } = await deleted();
    const restore = failReads(device);
    const failing = store.watch(["gone 7"], { since });
    expect((await errorOf(() => take(failing, 1))).code).toBe("DEVICE_READ");
    restore();
    const watch = store.watch(["gone 7"], { since });
    expect((await take(watch, 1)).map(told)).toEqual(["-gone 7"]);
    await store.close();
  });

  test("cannot be told where their block is damaged, and the watch says where", async () => {
    const { device, store, since } = await deleted();
    const image = device.bytes;
    const key = Buffer.from(image.buffer).indexOf("gone 39", SEGMENTS_OFFSET + BLOCK);
    const last = Buffer.from(image.buffer).lastIndexOf("gone 39", device.size());
    for (const at of new Set([key, last])) image[at] = (image[at] as number) ^ 1;
    const watch = store.watch(["gone 7"], { since });
    const error = await errorOf(() => take(watch, 1));
    expect(error.code).toBe("CORRUPT");
    await store.close();
  });
});
