/** What is durable when: which syncs cover which writes, who shares them, and how long nothing waits. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { open, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const SEGMENTS_OFFSET = 1024 * 1024;

/** What a power cut right now would leave: the image as of the last sync. */
class PowerDevice extends ImageDevice {
  durable: Uint8Array = new Uint8Array(0);

  override sync(): void {
    super.sync();
    this.durable = this.image();
  }
}

/** The value of a key after a power cut. */
async function valueAfterCut(device: PowerDevice, key: string): Promise<string | undefined> {
  const store = await open(ImageDevice.of(device.durable));
  const value = store.get(key);
  await store.close();
  return value;
}

describe("a promise", () => {
  test("resolves only when a sync has covered the write", async () => {
    const device = new PowerDevice();
    const store = await open(device, { durability: "manual" });
    device.syncMs = 1;
    const steps: [string, () => Promise<unknown>, string, string | undefined][] = [
      ["put", () => store.put("a", "1"), "a", "1"],
      ["batch", () => store.batch([{ type: "set", key: "b", value: "2" }]), "b", "2"],
      ["commitDurable", () => store.batch().set("c", "3").commitDurable(), "c", "3"],
      ["del", () => store.del("a"), "a", undefined],
      ["commit, flush", () => [store.batch().set("d", "4").commit(), store.flush()][1] as Promise<void>, "d", "4"],
      ["large put", () => store.put("e", "5".repeat(300_000)), "e", "5".repeat(300_000)],
    ];
    for (const [name, step, key, value] of steps) {
      const done = step();
      const events = device.events.length;
      await pause(0);
      await done;
      expect((await valueAfterCut(device, key)) === value, name).toBe(true);
      const kinds = device.events.slice(events).map(({ type }) => type);
      expect(kinds.lastIndexOf("sync"), name).toBeGreaterThan(kinds.indexOf("write"));
    }
    await store.close();
  });

  test("of a flush covers what a set before it wrote, and what was in flight", async () => {
    const device = new PowerDevice();
    const store = await open(device, { durability: "manual" });
    const release = device.holdWrites();
    const first = store.put("a", "1");
    await pause(1);
    store.set("b", "2");
    let flushed = false;
    const flush = store.flush().then(() => {
      flushed = true;
    });
    await pause(5);
    expect(flushed).toBe(false);
    release();
    await Promise.all([first, flush]);
    expect(await valueAfterCut(device, "a")).toBe("1");
    expect(await valueAfterCut(device, "b")).toBe("2");
    await store.close();
  });

  test("shares its sync with a thousand others", async () => {
    const device = new PowerDevice();
    const store = await open(device, { durability: "manual" });
    await store.put("first", "0");
    device.syncMs = 2;
    const syncs = device.count("sync");
    const puts = Array.from({ length: 1000 }, (_, index) => store.put(`key ${index}`, `${index}`));
    await Promise.all(puts);
    expect(device.count("sync") - syncs).toBeLessThanOrEqual(2);
    // Writers that each wait for their own share syncs as well.
    const before = device.count("sync");
    const writer = async (name: number): Promise<void> => {
      for (let i = 0; i < 10; i++) await store.put(`writer ${name} ${i}`, `${i}`);
    };
    await Promise.all(Array.from({ length: 100 }, (_, index) => writer(index)));
    expect(device.count("sync") - before).toBeLessThanOrEqual(30);
    expect(store.count()).toBe(2001);
    const again = await open(ImageDevice.of(device.durable));
    expect(again.count()).toBe(2001);
    await again.close();
    await store.close();
  });

  test("resolves at once when nothing is left to write", async () => {
    const device = new PowerDevice();
    const store = await open(device);
    await store.put("a", "1");
    const events = device.events.length;
    await store.flush();
    expect(await store.del("absent")).toBe(false);
    store.flushSync();
    expect(device.events.length).toBe(events);
    await store.close();
  });
});

describe("interval", () => {
  test("leaves a write in memory for as long as it says, and no longer, while the event loop turns", async () => {
    const device = new PowerDevice();
    const store = await open(device, { flushIntervalMs: 20 });
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      store.set("key", `${round}`);
      while (store.stats().durableVersion < store.stats().version) {
        expect(performance.now() - start).toBeLessThan(1000);
        await pause(1);
      }
      expect(performance.now() - start).toBeGreaterThanOrEqual(5);
      expect(await valueAfterCut(device, "key")).toBe(`${round}`);
    }
    await store.close();
  });

  test("holds in a busy loop that never lets the event loop turn", async () => {
    const device = new PowerDevice();
    const store = await open(device, { flushIntervalMs: 10, writeBufferBytes: 8 * 1024 * 1024 });
    // A busy machine may leave this thread alone for longer than the interval.
    const end = performance.now() + 30_000;
    let count = 0;
    const first = store.stats().durableVersion;
    while (store.stats().flushCount <= 3 && performance.now() < end) {
      for (const batchEnd = count + 100; count < batchEnd; count++) store.set(`key ${count}`, "v".repeat(1000));
    }
    // Groups became durable on the way, not all of it at the end.
    expect(store.stats().durableVersion).toBeGreaterThan(first);
    expect(store.stats().flushCount).toBeGreaterThan(3);
    await store.flush();
    await store.close();
  });

  test("takes a large interval at its word", async () => {
    const device = new PowerDevice();
    const store = await open(device, { flushIntervalMs: 3_600_000 });
    const writes = device.count("write");
    store.set("a", "1");
    await pause(150);
    expect(device.count("write")).toBe(writes);
    await store.close();
  });
});

test("manual writes nothing by itself", async () => {
  const device = new PowerDevice();
  const store = await open(device, { durability: "manual", flushIntervalMs: 1 });
  const logWrites = (): number =>
    device.events.filter((event) => event.type === "write" && event.offset >= SEGMENTS_OFFSET).length;
  const before = logWrites();
  for (let i = 0; i < 500; i++) store.set(`key ${i}`, "v");
  store.delete("key 1");
  store.clear({ gt: "key 3" });
  store.batch().set("batch", "1").commit();
  await pause(50);
  expect(logWrites()).toBe(before);
  expect(await valueAfterCut(device, "batch")).toBe(undefined);
  store.flushSync();
  expect(await valueAfterCut(device, "batch")).toBe("1");
  await store.close();
});

test("sync returns from each call when the device has acknowledged it", async () => {
  const device = new PowerDevice();
  const store = await open(device, { durability: "sync" });
  store.set("a", "1");
  expect(await valueAfterCut(device, "a")).toBe("1");
  store.set("a", "2");
  expect(await valueAfterCut(device, "a")).toBe("2");
  store.delete("a");
  expect(await valueAfterCut(device, "a")).toBe(undefined);
  store.batch().set("b", "1").set("c", "1").commit();
  expect(await valueAfterCut(device, "c")).toBe("1");
  store.clear({ lte: "b" });
  expect(await valueAfterCut(device, "b")).toBe(undefined);
  store.set("large", "x".repeat(400_000));
  expect((await valueAfterCut(device, "large"))?.length).toBe(400_000);
  const syncs = device.count("sync");
  expect(store.delete("absent")).toBe(false);
  expect(store.clear({ gt: "z" })).toBe(0);
  expect(device.count("sync")).toBe(syncs);
  // A group in flight is covered as well.
  const release = device.holdWrites();
  const flying = store.put("flying", "1");
  await pause(1);
  store.set("after", "2");
  expect(await valueAfterCut(device, "flying")).toBe("1");
  expect(await valueAfterCut(device, "after")).toBe("2");
  release();
  expect(await flying).toBe(true);
  await store.close();
});

test("a batch is whole or absent after a cut, however large", async () => {
  const device = new PowerDevice();
  const store = await open(device, { durability: "manual", writeBufferBytes: 262_144 });
  await store.put("before", "1");
  const images: Uint8Array[] = [];
  let count = 0;
  device.before = (operation) => {
    // What is on its way without a sync may be there after a crash as well.
    if (operation === "write" && count++ % 3 === 0) images.push(device.image());
  };
  const operations = Array.from({ length: 300 }, (_, index) => ({
    type: "set" as const,
    key: `key ${index}`,
    value: `${index}`.repeat(2000),
  }));
  await store.batch([{ type: "delete", key: "before" }, ...operations]);
  device.before = undefined;
  expect(images.length).toBeGreaterThan(3);
  for (const image of [...images, device.durable]) {
    const after = await open(ImageDevice.of(image));
    const keys = after.count();
    expect([1, 300]).toContain(keys);
    expect(after.has("before")).toBe(keys === 1);
    await after.close();
  }
  await store.close();
});

test("closing makes everything durable, and opening finds nothing to mend", async () => {
  const device = new PowerDevice();
  const store = await open(device, { durability: "manual" });
  for (let i = 0; i < 100; i++) store.set(`key ${i}`, `${i}`);
  await store.close();
  const events: string[] = [];
  const again = await open(ImageDevice.of(device.durable), { onEvent: (event) => events.push(event.type) });
  expect(again.count()).toBe(100);
  expect(again.stats().recoveredTailBlockCount).toBe(0);
  expect(events).toEqual(["opened"]);
  await again.close();
});

test("a listener that throws disturbs nothing", async () => {
  const store = await open(new PowerDevice(), {
    onEvent: () => {
      throw new Error("not my day");
    },
  });
  await store.put("a", "1");
  expect(store.get("a")).toBe("1");
  await store.close();
});

test("transact resolves when what it was told is on stable storage, though it wrote nothing", async () => {
  const device = new PowerDevice();
  const store = await open(device, { durability: "manual" });
  await store.put("gone", "1");
  const promise = store.del("gone");
  expect(await store.transact((tx) => tx.delete("gone"))).toBe(false);
  expect(await valueAfterCut(device, "gone")).toBeUndefined();
  await promise;
  const syncs = device.count("sync");
  expect(await store.transact((tx) => tx.has("gone"))).toBe(false);
  expect(device.count("sync"), "nothing to make durable, no sync").toBe(syncs);
  await store.close();
});

describe('what a call under the durability "sync" says', () => {
  const CALLS: [string, (store: Store) => unknown, unknown][] = [
    ["delete of an absent key", (store) => store.delete("gone"), false],
    ["set with a version that is not there", (store) => store.set("held", "2", { ifVersion: null }), false],
    ["delete with a version that is not there", (store) => store.delete("held", { ifVersion: 1 }), false],
    ["clear of an empty range", (store) => store.clear({ prefix: "gone" }), 0],
    ["update of an absent key to nothing", (store) => store.update("gone", () => undefined), undefined],
    ["batch whose condition fails", (store) => store.batch().set("held", "2", { ifVersion: null }).commit(), [false]],
    ["batch without operations", (store) => store.batch().commit(), []],
    ["transaction that deletes an absent key", (store) => store.transaction((tx) => tx.delete("gone")), false],
    ["transaction that only reads", (store) => store.transaction((tx) => tx.get("gone")), undefined],
  ];

  for (const [name, call, answer] of CALLS) {
    test(`is durable when it returns, though it changed nothing: ${name}`, async () => {
      const device = new PowerDevice();
      const store = await open(device, { durability: "sync" });
      store.set("gone", "1");
      // Seen at once, and not durable yet: nobody has waited for the promises.
      const promises = [store.del("gone"), store.put("held", "1")];
      expect(call(store)).toEqual(answer);
      expect(store.durableVersion).toBe(store.version);
      expect(await valueAfterCut(device, "gone")).toBeUndefined();
      expect(await valueAfterCut(device, "held")).toBe("1");
      await Promise.all(promises);
      const syncs = device.count("sync");
      call(store);
      expect(device.count("sync"), "nothing to make durable, no sync").toBe(syncs);
      await store.close();
    });
  }
});
