/** Reads for servers: at once what is in memory, else what the key held at the call. */
import { describe, expect, test } from "vitest";
import { codeOf, MemoryDevice, open } from "./harness.ts";
import { WaitingDevice } from "./waiting-device.ts";

const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };
const COUNT = 3000;
const keyOf = (i: number): string => `key ${i}`;
const textOf = (i: number): string => `${i}:${"v".repeat(900 + (i % 400))}`;

async function filled(device: MemoryDevice | WaitingDevice) {
  const store = await open(device, SMALL);
  for (let i = 0; i < COUNT; i++) store.set(keyOf(i), textOf(i));
  await store.flush();
  for (let i = 0; i < 400; i++) store.set(`filler ${i}`, "f".repeat(1000));
  await store.flush();
  return store;
}

describe("getSoon and getEntrySoon", () => {
  test("give no promise for what is in memory, and throw at once what is wrong", async () => {
    const store = await open(new MemoryDevice());
    store.set("a", "1", { expiresAt: Date.now() + 60_000, timestamp: 7 });
    store.set("large", "x".repeat(9000));
    expect(store.getSoon("a")).toBe("1");
    expect(store.getSoon("large")).toBe("x".repeat(9000));
    expect(store.getSoon("none")).toBeUndefined();
    expect(store.getEntrySoon("none")).toBeUndefined();
    expect(store.getEntrySoon("a")).toEqual(store.getEntry("a"));
    expect(await codeOf(() => store.getSoon(""))).toBe("KEY_SIZE");
    const json = store.sub("json", { valueEncoding: "json" });
    json.set("j", { a: 1 });
    expect(json.getSoon("j")).toEqual({ a: 1 });
    const same = store.withEncodings({ keyEncoding: "binary", valueEncoding: "binary" });
    expect(same.get(Uint8Array.of(0x61))).toEqual(Uint8Array.of(0x31));
    await store.close();
    expect(await codeOf(() => store.getSoon("a"))).toBe("CLOSED");
  });

  test("give what get gives, for every key at once, from the device", async () => {
    const store = await filled(new WaitingDevice());
    const found = await Promise.all(Array.from({ length: COUNT }, (_, i) => store.getSoon(keyOf(i))));
    found.forEach((value, i) => {
      if (value !== textOf(i)) throw new Error(`${keyOf(i)}: ${value?.slice(0, 20)}`);
    });
    const entries = await Promise.all(Array.from({ length: 50 }, (_, i) => store.getEntrySoon(keyOf(i))));
    expect(entries).toEqual(Array.from({ length: 50 }, (_, i) => store.getEntry(keyOf(i))));
    expect(store.stats().snapshotCount).toBe(0);
    await store.close();
  });

  test("give what the key held at the call, though it is written and deleted while the device reads", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const { version } = store.getEntry(keyOf(700)) ?? {};
    const release = device.holdReads();
    const values = [100, 200, 300].map((i) => store.getSoon(keyOf(i)));
    const entry = store.getEntrySoon(keyOf(1000));
    expect(values.every((value) => value instanceof Promise)).toBe(true);
    store.set(keyOf(100), "later");
    store.delete(keyOf(200));
    store.delete(keyOf(1000));
    expect(store.getSoon(keyOf(100))).toBe("later");
    expect(store.getSoon(keyOf(200))).toBeUndefined();
    release();
    expect(await Promise.all(values)).toEqual([100, 200, 300].map(textOf));
    expect((await entry)?.value).toBe(textOf(1000));
    expect((await entry)?.version).toBeLessThan(store.version);
    expect(version).toBeGreaterThan(0);
    expect(store.stats().snapshotCount).toBe(0);
    await store.close();
  });
});
