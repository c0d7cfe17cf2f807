/** Records that expire: invisible at once everywhere, reclaimed later, and the same after reopening. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { Clock } from "./clock.ts";
import { codeOf, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const MIB = 1_048_576;

/** Waits until what expired was taken away, for a second at most. */
async function swept(store: Store, count: number): Promise<void> {
  for (let i = 0; i < 300 && store.stats().expiringKeyCount > count; i++) await pause(10);
  expect(store.stats().expiringKeyCount).toBe(count);
}

/** All keys, by every call that can see one. */
async function seen(store: Store, keys: string[]): Promise<string[]> {
  const there = [...store.keys()];
  expect([...store.keys({ reverse: true })].reverse()).toEqual(there);
  expect([...store.entries()].map(([key]) => key)).toEqual(there);
  expect([...store.values()].length).toBe(there.length);
  expect(store.count()).toBe(there.length);
  expect(store.count({ gte: "" })).toBe(there.length);
  expect(store.stats().keyCount).toBe(there.length);
  const many = await store.getMany(keys);
  for (const [index, key] of keys.entries()) {
    const isThere = there.includes(key);
    expect(store.has(key), key).toBe(isThere);
    expect(store.get(key) !== undefined, key).toBe(isThere);
    expect(store.getEntry(key) !== undefined, key).toBe(isThere);
    expect((await store.getAsync(key)) !== undefined, key).toBe(isThere);
    expect(many[index] !== undefined, key).toBe(isThere);
  }
  return there;
}

/** Where the last block of a checkpoint lies that the newest superblock names: 0 the newer one, 1 the older one. */
function lastOfCheckpoint(image: Uint8Array, which: number): number {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const generation = (copy: number): bigint => view.getBigUint64(copy + 72, true);
  const newest = [0, 1, 2, 3].map((copy) => copy * 262_144).reduce((a, b) => (generation(b) > generation(a) ? b : a));
  const at = newest + 176 + which * 32;
  return MIB + (view.getUint32(at + 4, true) * 16 + view.getUint16(at + 2, true)) * 4096;
}

describe("an expiry", () => {
  test("takes a record away from every call in the millisecond that it names", async () => {
    const clock = new Clock();
    const store = await open(":memory:");
    const keys = ["a", "b", "c", "d", "large", "huge"];
    store.set("a", "stays");
    store.set("b", "by duration", { expiresIn: 100 });
    store.set("c", "by time", { expiresAt: clock.now + 200 });
    await store.put("d", "later", { expiresIn: 0.5 });
    store.set("large", "l".repeat(3000), { expiresIn: 100 });
    store.set("huge", "h".repeat(300_000), { expiresIn: 200 });
    expect(await seen(store, keys)).toEqual(["a", "b", "c", "d", "huge", "large"]);
    expect(store.getEntry("a")).not.toHaveProperty("expiresAt");
    expect(store.getEntry("b")).toMatchObject({ value: "by duration", expiresAt: clock.now + 100 });
    expect(store.getEntry("huge")).toMatchObject({ value: "h".repeat(300_000), expiresAt: clock.now + 200 });
    clock.turn(1);
    expect(await seen(store, keys)).toEqual(["a", "b", "c", "huge", "large"]);
    clock.turn(98);
    expect(await seen(store, keys)).toEqual(["a", "b", "c", "huge", "large"]);
    clock.turn(1);
    expect(await seen(store, keys)).toEqual(["a", "c", "huge"]);
    expect(store.delete("b")).toBe(false);
    clock.turn(100);
    expect(await seen(store, keys)).toEqual(["a"]);
    // A time that is over is a record that was never seen.
    expect(store.set("e", "gone", { expiresAt: clock.now })).toBe(true);
    expect(store.set("e", "gone", { expiresAt: 0 })).toBe(true);
    expect(await seen(store, [...keys, "e"])).toEqual(["a"]);
    await store.close();
  });

  test("ends with a plain write, and starts anew with another", async () => {
    const clock = new Clock();
    const store = await open(":memory:");
    store.set("a", "1", { expiresIn: 10 });
    store.set("b", "1", { expiresIn: 10 });
    store.set("c", "1", { expiresIn: 10 });
    store.set("a", "2");
    store.set("b", "2", { expiresIn: 20 });
    expect(store.getEntry("a")).not.toHaveProperty("expiresAt");
    clock.turn(10);
    expect([...store]).toEqual([
      ["a", "2"],
      ["b", "2"],
    ]);
    // What has expired is a new key.
    expect(store.count()).toBe(2);
    store.set("c", "2");
    expect(store.count()).toBe(3);
    clock.turn(10);
    expect([...store.keys()]).toEqual(["a", "c"]);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });

  test("does not change what a walk sees that has begun", async () => {
    const clock = new Clock();
    const store = await open(":memory:", { flushIntervalMs: 1 });
    for (let i = 0; i < 100; i++) store.set(`k${i % 10}${Math.floor(i / 10)}`, `${i}`, { expiresIn: i + 1 });
    clock.turn(50);
    const walk = store.entries();
    const keys = store.keys({ reverse: true });
    expect(walk.nextv(5).length).toBe(5);
    clock.turn(1000);
    // Neither time nor the removal of what has expired changes it.
    store.flushSync();
    await store.compact();
    expect(store.stats().expiringKeyCount).toBe(0);
    expect(store.count()).toBe(0);
    expect([...walk].length).toBe(45);
    expect([...keys].length).toBe(50);
    await store.close();
  });

  test("is not undone by a clock that goes back", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    let store = await open(device);
    store.set("a", "1", { expiresIn: 1000 });
    clock.turn(1000);
    expect(store.has("a")).toBe(false);
    clock.turn(-500);
    expect(store.has("a")).toBe(false);
    // Durations count from the highest time that was seen.
    store.set("b", "1", { expiresIn: 100 });
    expect(store.getEntry("b")?.expiresAt).toBe(clock.now + 600);
    store.flushSync();
    await store.close();
    clock.turn(-10_000);
    store = await open(device.reopen());
    expect([...store.keys()]).toEqual(["b"]);
    await store.close();
  });

  test("is not undone by a crash either, once something that was written later is durable, whichever checkpoint is left", async () => {
    for (const damaged of [0, 1, 2]) {
      const clock = new Clock();
      const options = { durability: "manual", memoryBytes: 16_777_216 } as const;
      const pace = { logBytes: 1, liveThousandths: 0, auto: false };
      let device = new ImageDevice();
      let store = await openTiny(device, options, 16, pace);
      store.set("a", "1", { expiresIn: 60_000 });
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 100; i++) store.set(`key ${i}`, `${round}`.padEnd(2000, "v"));
        clock.turn(1000);
        await store.close();
        device = device.reopen();
        store = await openTiny(device, options, 16, pace);
        expect(store.get("a")).toBe("1");
      }
      expect(store.stats().checkpointCount).toBe(2);
      clock.turn(100_000);
      expect(store.get("a")).toBeUndefined();
      store.set("later", "1");
      store.flushSync();
      // The time alone is on the device, and not yet the deletion that follows from it.
      expect(store.stats().expiringKeyCount).toBe(1);
      const image = device.image();
      for (let which = 0; which < damaged; which++) image[lastOfCheckpoint(image, which) + 100]! ^= 1;
      clock.turn(-150_000);
      let crashed = ImageDevice.of(image);
      for (let life = 0; life < 3; life++) {
        const again = await openTiny(crashed, options, 16, { auto: false });
        expect(again.stats().checkpointFallbackCount).toBe(life === 0 ? damaged : 0);
        expect(again.get("later")).toBe("1");
        expect(again.get("a")).toBeUndefined();
        expect(again.count()).toBe(101);
        // Each life ends without a close, and what it has written is durable.
        again.set("life", `${life}`);
        again.delete("life");
        again.flushSync();
        crashed = ImageDevice.of(crashed.image());
      }
      await store.close();
    }
  });

  test("is not undone when a reader moves on, while its clock went back", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    const writer = await open(device);
    writer.set("a", "1", { expiresIn: 1000 });
    await writer.close();
    const reader = await open(device.reopen(), { readOnly: true });
    expect(reader.get("a")).toBe("1");
    clock.turn(2000);
    expect(reader.get("a")).toBeUndefined();
    clock.turn(-1500);
    await reader.refresh();
    expect(reader.get("a")).toBeUndefined();
    await reader.close();
  });

  test("that a jump of the clock brought about destroys nothing that is not on the device", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    let store = await open(device, { durability: "manual" });
    store.set("a", "1", { expiresIn: 60_000 });
    store.flushSync();
    const image = device.image();
    clock.turn(1_000_000_000_000);
    expect(store.has("a")).toBe(false);
    // Nothing has told the device of that time: the record is still there.
    for (let i = 0; i < 5000; i++) store.set(`k${i}`, "v");
    expect(store.stats()).toMatchObject({ expiringKeyCount: 1, expiredKeyCount: 0 });
    await store.close();
    clock.turn(-1_000_000_000_000);
    store = await open(ImageDevice.of(image));
    expect(store.get("a")).toBe("1");
    await store.close();
  });

  test("holds after reopening, and in a reader beside the writer", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    let store = await open(device);
    store.set("short", "s", { expiresIn: 100 });
    store.set("long", "l".repeat(200), { expiresIn: 10_000, timestamp: 7 });
    store.set("stamped", "t", { timestamp: 9 });
    store.set("huge", "h".repeat(2_500_000), { expiresIn: 500, timestamp: 8 });
    store.set("none", "n");
    const expiresAt = clock.now + 10_000;
    await store.close();
    clock.turn(99);
    store = await open(device.reopen());
    expect(await seen(store, ["short", "long", "none", "huge", "stamped"])).toHaveLength(5);
    expect(store.getEntry("long")).toMatchObject({ value: "l".repeat(200), expiresAt, timestamp: 7 });
    expect(store.getEntry("stamped")).toMatchObject({ value: "t", timestamp: 9 });
    expect(store.getEntry("huge")).toMatchObject({ value: "h".repeat(2_500_000), timestamp: 8 });
    expect(store.getEntry("none")).toEqual({ value: "n", version: expect.any(Number) });
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    clock.turn(1);
    const reader = await open(device.reopen(), { readOnly: true });
    expect(await seen(reader, ["short", "long", "none", "huge", "stamped"])).toEqual([
      "huge",
      "long",
      "none",
      "stamped",
    ]);
    clock.turn(400);
    expect(reader.count()).toBe(3);
    await reader.close();
    store = await open(device.reopen());
    expect([...store.keys()]).toEqual(["long", "none", "stamped"]);
    await store.close();
  });

  test("of a batch's operations", async () => {
    const clock = new Clock();
    const store = await open(":memory:");
    await store.batch([
      { type: "set", key: "a", value: "1", expiresIn: 10 },
      { type: "put", key: "b", value: "2", expiresAt: clock.now + 20, timestamp: 3 },
      { type: "set", key: "c", value: "3" },
    ]);
    store.batch().set("d", "4", { expiresIn: 10 }).set("a", "5", { expiresIn: 30 }).commit();
    expect(store.getEntry("b")).toMatchObject({ expiresAt: clock.now + 20, timestamp: 3 });
    clock.turn(10);
    expect([...store.keys()]).toEqual(["a", "b", "c"]);
    clock.turn(10);
    expect([...store.keys()]).toEqual(["a", "c"]);
    await store.close();
  });

  test("passes for a deletion when a range is cleared", async () => {
    const clock = new Clock();
    const store = await open(":memory:");
    for (let i = 0; i < 600; i++) store.set(`k${i}`, "v", i % 3 === 0 ? { expiresIn: 5 } : {});
    clock.turn(5);
    expect(store.clear({ prefix: "k" })).toBe(400);
    expect(store.stats()).toMatchObject({ keyCount: 0, expiringKeyCount: 0 });
    expect(store.clear()).toBe(0);
    await store.close();
  });
});

describe("what has expired is taken away", () => {
  test("in bounded steps, with its memory and its space, where other writes go on", async () => {
    const clock = new Clock();
    const device = new ImageDevice(16 * MIB, false);
    const store = await openTiny(device, { writeBufferBytes: 262_144, cacheBytes: 262_144, flushIntervalMs: 1 });
    // More than twice what the device holds, each record for the time that a quarter of them takes.
    const value = "v".repeat(400);
    for (let i = 0; i < 80_000; i++) {
      store.set(`session:${i}`, i % 8 === 0 ? `${value}${value}` : value, { expiresIn: 5000 });
      if (i % 4 === 0) clock.turn(1);
      if (i % 2000 === 0) await pause();
    }
    expect(store.stats().keyCount).toBe(19_999);
    clock.turn(5000);
    expect(store.count()).toBe(0);
    await swept(store, 0);
    expect(store.stats()).toMatchObject({ keyCount: 0, keyBytes: 0, valueBytes: 0, liveBytes: 0, nodeMemoryBytes: 0 });
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  }, 60_000);

  test("also where nothing else is written", async () => {
    const clock = new Clock();
    const store = await open(":memory:", { flushIntervalMs: 1 });
    for (let i = 0; i < 1000; i++) store.set(`k${i}`, "v", { expiresIn: 100 });
    store.set("stays", "v", { expiresIn: 1e9 });
    await store.flush();
    clock.turn(100);
    await swept(store, 1);
    expect(store.stats()).toMatchObject({ keyCount: 1, expiredKeyCount: 1000 });
    await store.close();
  });

  test("with a full compaction, and does not come back", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    const settings = { compaction: { auto: false, garbageRatio: 0.3 }, writeBufferBytes: 262_144 };
    let store = await openTiny(device, settings);
    for (let i = 0; i < 3000; i++) store.set(`k${i}`, "old".repeat(100));
    await store.flush();
    for (let i = 0; i < 3000; i++) store.set(`k${i}`, "new".repeat(100), { expiresIn: 1000 + (i % 2) * 1e6 });
    await store.flush();
    clock.turn(1000);
    await store.compact({ full: true });
    expect(store.stats()).toMatchObject({ keyCount: 1500, expiringKeyCount: 1500, expiredKeyCount: 1500 });
    expect(store.getEntry("k1")).toMatchObject({ value: "new".repeat(100), expiresAt: clock.now + 1e6 });
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    clock.turn(-5000);
    store = await openTiny(device.reopen(), settings);
    expect(store.count()).toBe(1500);
    expect(store.has("k0")).toBe(false);
    expect(store.getEntry("k2999")?.value).toBe("new".repeat(100));
    await store.close();
  });

  test("a hundred thousand keys of all expiries, in their order", async () => {
    const clock = new Clock();
    const store = await open(":memory:", { durability: "manual" });
    const count = 100_000;
    for (let i = 0; i < count; i++) store.set(`k${i}`, "v", { expiresAt: clock.now + ((i * 7919) % count) + 1 });
    for (let turned = 0; turned < count; ) {
      const step = 1 + ((turned * 31) % 9000);
      clock.turn(step);
      turned += step;
      expect(store.stats().keyCount).toBe(Math.max(0, count - turned));
    }
    await store.close();
  });
});

describe("options of an expiry", () => {
  test("that are none are refused, and nothing has changed", async () => {
    const store = await open(":memory:");
    store.set("a", "1");
    const { version } = store.stats();
    const wrong: object[] = [
      { expiresIn: 0 },
      { expiresIn: -1 },
      { expiresIn: Number.NaN },
      { expiresIn: Number.POSITIVE_INFINITY },
      { expiresIn: 2 ** 48 },
      { expiresIn: "1" },
      { expiresIn: 1n },
      { expiresIn: null },
      { expiresAt: -1 },
      { expiresAt: Number.NaN },
      { expiresAt: 2 ** 48 },
      { expiresAt: new Date() },
      { expiresIn: 5, expiresAt: 5 },
    ];
    for (const options of wrong) {
      expect(await codeOf(() => store.set("a", "2", options)), JSON.stringify(Object.keys(options))).toBe(
        "INVALID_ARGUMENT",
      );
      expect(await codeOf(() => store.put("a", "2", options))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => store.batch([{ type: "set", key: "a", value: "2", ...options }]))).toBe(
        "INVALID_ARGUMENT",
      );
      expect(await codeOf(() => store.batch().set("a", "2", options))).toBe("INVALID_ARGUMENT");
    }
    expect(await codeOf(() => store.delete("a", { expiresIn: 5 } as object))).toBe("INVALID_ARGUMENT");
    const del = { type: "del", key: "a", expiresAt: 5 } as { type: "del"; key: string };
    expect(await codeOf(() => store.batch([del]))).toBe("INVALID_ARGUMENT");
    expect(store.stats().version).toBe(version);
    expect(store.get("a")).toBe("1");
    // The farthest times that there are.
    store.set("b", "1", { expiresAt: 2 ** 48 - 1 });
    store.set("c", "1", { expiresIn: 2 ** 48 - 1 });
    expect(store.getEntry("b")?.expiresAt).toBe(2 ** 48 - 1);
    expect(store.getEntry("c")?.expiresAt).toBe(2 ** 48 - 1);
    expect([...store.keys()]).toEqual(["a", "b", "c"]);
    await store.close();
  });
});
