/** Full devices and full memory: refused before anything changes, and gone on from when there is room again. */
import { describe, expect, test } from "vitest";
import type { StoreEvent } from "../../store/options.ts";
import { codeOf, errorOf, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };

describe("a growing device that is full", () => {
  /** A store whose next group meets a full device. */
  async function fullStore(options: object = {}) {
    const device = new ImageDevice();
    const events: string[] = [];
    const onEvent = (event: StoreEvent): void => void events.push(event.type);
    const store = await open(device, { durability: "manual", onEvent, ...options });
    await store.put("before", "1");
    device.capacity = MIB;
    return { device, store, events };
  }

  test("rejects what waits with NO_SPACE, keeps it visible, and refuses further writes", async () => {
    const { device, store, events } = await fullStore();
    const results = await Promise.allSettled([
      store.put("a", "1"),
      store.del("before"),
      store.batch([{ type: "set", key: "b", value: "2" }]),
      store.flush(),
    ]);
    for (const result of results) expect((result as PromiseRejectedResult).reason.code).toBe("NO_SPACE");
    expect(events).toContain("full");
    expect([...store.keys()]).toEqual(["a", "b"]);
    const refused = [
      () => store.set("c", "3"),
      () => store.put("c", "3"),
      () => store.delete("a"),
      () => store.del("a"),
      () => store.batch([{ type: "set", key: "c", value: "3" }]),
      () => store.batch().delete("a").commit(),
      () => store.clear(),
      () => store.set("large", "x".repeat(500_000)),
    ];
    for (const call of refused) expect(await codeOf(call)).toBe("NO_SPACE");
    expect([...store.entries()]).toEqual([
      ["a", "1"],
      ["b", "2"],
    ]);
    device.capacity = Number.POSITIVE_INFINITY;
    store.set("c", "3");
    await store.put("d", "4");
    expect(events).not.toContain("poisoned");
    await store.close();
    const again = await open(device.reopen());
    expect([...again.keys()]).toEqual(["a", "b", "c", "d"]);
    await again.close();
  });

  test("never lets flush or put say that something is durable while it is not", async () => {
    const { device, store } = await fullStore();
    expect(await codeOf(() => store.put("a", "1"))).toBe("NO_SPACE");
    const version = store.stats().durableVersion;
    for (let i = 0; i < 3; i++) {
      expect(await codeOf(() => store.flush())).toBe("NO_SPACE");
      expect(await codeOf(() => store.flushSync())).toBe("NO_SPACE");
      expect(await codeOf(() => store.batch().commitDurable())).toBe("NO_SPACE");
      expect(await codeOf(() => store.del("absent"))).toBe("NO_SPACE");
    }
    expect(store.stats().durableVersion).toBe(version);
    device.capacity = Number.POSITIVE_INFINITY;
    await store.flush();
    expect(store.stats().durableVersion).toBeGreaterThan(version);
    await store.close();
  });

  test("resumes with each of its calls as soon as there is room", async () => {
    const calls = [
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void store.set("c", "3"),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void store.delete("a"),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void store.clear(),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void store.flushSync(),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void (await store.flush()),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void (await store.put("c", "3")),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) =>
        void (await store.batch([{ type: "del", key: "a" }])),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void store.set("c", "x".repeat(300_000)),
      async (store: Awaited<ReturnType<typeof fullStore>>["store"]) => void (await store.close()),
    ];
    for (const call of calls) {
      const { device, store } = await fullStore();
      expect(await codeOf(() => store.put("a", "1"))).toBe("NO_SPACE");
      device.capacity = Number.POSITIVE_INFINITY;
      await call(store);
      await store.close();
      const again = await open(device.reopen());
      expect(again.count()).toBeGreaterThanOrEqual(0);
      await again.close();
    }
  });

  test("is written by itself, under interval, once there is room", async () => {
    const { device, store } = await fullStore({ durability: "interval", flushIntervalMs: 5 });
    store.set("a", "1");
    await pause(30);
    expect(store.stats().durableVersion).toBeLessThan(store.stats().version);
    device.capacity = Number.POSITIVE_INFINITY;
    await pause(60);
    expect(store.stats().durableVersion).toBe(store.stats().version);
    store.set("b", "2");
    await store.close();
    const again = await open(device.reopen());
    expect([...again.keys()]).toEqual(["a", "b", "before"]);
    await again.close();
  });

  test("lets set return what it did, though the flush that it set off was refused", async () => {
    const { device, store } = await fullStore({ ...SMALL, durability: "interval", flushIntervalMs: 1 });
    let accepted = 0;
    let refused: string | undefined;
    const end = Date.now() + 5000;
    while (refused === undefined && Date.now() < end) {
      try {
        store.set(`key ${accepted}`, "v".repeat(3000));
        accepted++;
      } catch (error) {
        refused = (error as { code: string }).code;
      }
    }
    expect(refused).toBe("NO_SPACE");
    expect(store.has(`key ${accepted}`)).toBe(false);
    expect(store.count()).toBe(accepted + 1);
    for (let i = 0; i < accepted; i++) expect(store.get(`key ${i}`)).toBe("v".repeat(3000));
    device.capacity = Number.POSITIVE_INFINITY;
    await store.close();
    const again = await open(device.reopen());
    expect(again.count()).toBe(accepted + 1);
    await again.close();
  });

  test("may be met by a synchronous flush while another group is in flight", async () => {
    for (const [flightFails, flushes] of [
      [false, 1],
      [false, 2],
      [true, 1],
      [true, 2],
    ] as const) {
      const { device, store } = await fullStore();
      device.capacity = Number.POSITIVE_INFINITY;
      const release = device.holdWrites();
      const flying = store.put("in flight", "1").catch((error) => error.code);
      await pause(1);
      store.set("behind it", "2");
      device.capacity = MIB;
      expect(await codeOf(() => store.flushSync())).toBe("NO_SPACE");
      if (flushes === 2) {
        device.capacity = Number.POSITIVE_INFINITY;
        store.flushSync();
        expect(store.stats().durableVersion).toBe(store.stats().version);
      }
      device.capacity = flightFails ? MIB : Number.POSITIVE_INFINITY;
      release();
      expect(await flying).toBe(flightFails && flushes === 1 ? "NO_SPACE" : true);
      await pause(1);
      device.capacity = Number.POSITIVE_INFINITY;
      store.set("next", "3");
      await store.put("last", "4");
      expect([...store.keys()]).toEqual(["before", "behind it", "in flight", "last", "next"]);
      await store.close();
      const again = await open(device.reopen());
      expect(again.count()).toBe(5);
      await again.close();
    }
  });

  test("throws out of synchronous durability, and says that the write stays", async () => {
    const { device, store } = await fullStore({ durability: "sync" });
    const error = await errorOf(() => store.set("a", "1"));
    expect(error.code).toBe("NO_SPACE");
    expect(error.message).not.toContain("nothing was changed");
    expect(store.get("a")).toBe("1");
    expect(await codeOf(() => store.set("b", "2"))).toBe("NO_SPACE");
    expect(store.has("b")).toBe(false);
    device.capacity = Number.POSITIVE_INFINITY;
    store.set("b", "2");
    expect([...store.keys()]).toEqual(["a", "b", "before"]);
    await store.close();
  });

  test("refuses a value larger than the write buffer, leaves no trace, and goes on", async () => {
    const { device, store } = await fullStore(SMALL);
    device.capacity = 3 * MIB;
    store.set("small", "s");
    for (const key of ["small", "large"]) {
      for (const call of [() => store.set(key, "x".repeat(4 * MIB)), () => store.put(key, "x".repeat(4 * MIB))]) {
        expect(await codeOf(call)).toBe("NO_SPACE");
      }
    }
    expect([...store.entries()]).toEqual([
      ["before", "1"],
      ["small", "s"],
    ]);
    store.set("next", "n".repeat(1000));
    expect(store.get("next")).toBe("n".repeat(1000));
    device.capacity = Number.POSITIVE_INFINITY;
    store.set("large", "y".repeat(4 * MIB));
    await store.flush();
    expect(store.get("large") === "y".repeat(4 * MIB)).toBe(true);
    await store.close();
    const again = await open(device.reopen(), SMALL);
    expect([...again.keys()]).toEqual(["before", "large", "next", "small"]);
    expect(again.get("large") === "y".repeat(4 * MIB)).toBe(true);
    await again.close();
  });

  test("refuses a batch larger than the write buffer whole, and goes on", async () => {
    const { device, store, events } = await fullStore(SMALL);
    device.capacity = 2 * MIB;
    const operations = Array.from({ length: 400 }, (_, index) => ({
      type: "set" as const,
      key: `b${index}`,
      value: "v".repeat(10_000),
    }));
    expect(await codeOf(() => store.batch([{ type: "delete", key: "before" }, ...operations]))).toBe("NO_SPACE");
    expect(events).not.toContain("poisoned");
    expect([...store.entries()]).toEqual([["before", "1"]]);
    device.capacity = Number.POSITIVE_INFINITY;
    await store.batch(operations);
    expect(store.count()).toBe(401);
    await store.close();
  });
});

describe("a device of fixed size", () => {
  const SIZE = 8 * MIB;

  /** Fills a store until it refuses: how many keys it took. */
  async function filled(device: ImageDevice, opener: typeof open | typeof openTiny) {
    const store = await opener(device, { ...SMALL, durability: "manual" });
    let count = 0;
    let code = "";
    while (code === "") {
      try {
        store.set(`key ${String(count).padStart(6, "0")}`, `${count}`.padEnd(2000, "."));
        count++;
      } catch (error) {
        code = (error as { code: string }).code;
      }
    }
    expect(code).toBe("NO_SPACE");
    return { store, count };
  }

  for (const opener of [open, openTiny]) {
    test(`keeps a reserve: it reads, deletes, closes and opens when it is full (${opener.name})`, async () => {
      const device = new ImageDevice(SIZE, false);
      const { store, count } = await filled(device, opener);
      expect(count).toBeGreaterThan(1000);
      expect(store.count()).toBe(count);
      const reserved = store.stats().segmentFreeCount;
      expect(reserved).toBeGreaterThanOrEqual(2);
      const refused = [
        () => store.set("more", "m".repeat(5000)),
        () => store.put("more", "m".repeat(100_000)),
        () => store.set("more", "m".repeat(2 * MIB)),
        () => store.batch([{ type: "set", key: "more", value: "m".repeat(5000) }]),
        () =>
          store.batch(
            Array.from({ length: 100 }, (_, i) => ({ type: "set", key: `more ${i}`, value: "m".repeat(3000) })),
          ),
      ];
      for (const call of refused) expect(await codeOf(call)).toBe("NO_SPACE");
      expect(store.stats().segmentFreeCount).toBe(reserved);
      expect(store.count()).toBe(count);
      for (let i = 0; i < count; i += 7)
        expect(store.get(`key ${String(i).padStart(6, "0")}`)).toBe(`${i}`.padEnd(2000, "."));
      for (let i = 0; i < 50; i++) expect(store.delete(`key ${String(i).padStart(6, "0")}`)).toBe(true);
      await store.del("key 000050");
      await store.batch([
        { type: "delete", key: "key 000051" },
        { type: "delete", key: "key 000052" },
      ]);
      expect(store.clear({ lt: "key 000060" })).toBe(7);
      await store.flush();
      await store.close();
      const again = await open(device.reopen(), SMALL);
      expect(again.count()).toBe(count - 60);
      expect(again.keys().next().value).toBe("key 000060");
      // Small segments were emptied whole; in large ones there is too little garbage to gain one.
      if (opener === openTiny) again.set("key 000060", "m".repeat(5000));
      else expect(await codeOf(() => again.set("more", "m".repeat(5000)))).toBe("NO_SPACE");
      expect(again.delete("key 000060")).toBe(true);
      await again.close();
      const last = await open(device.reopen(), SMALL);
      expect(last.count()).toBe(count - 61);
      await last.close();
    });
  }

  test("refuses a batch that would not fit before it does any of it, whatever its keys and values", async () => {
    for (const opener of [open, openTiny]) {
      for (const [keySize, valueSize, count] of [
        [2000, 0, 4000],
        [1400, 1000, 2000],
        [10, 16_000, 300],
        [10, 20_000, 300],
        [2000, 30_000, 200],
        [10, 60_000, 100],
        [10, 300_000, 20],
        [10, 10, 100_000],
      ] as const) {
        const device = new ImageDevice(SIZE, false);
        const store = await opener(device, { ...SMALL, durability: "manual" });
        const keyOf = (index: number): string => `${index}`.padStart(keySize, "k");
        // Batches of every size up to what is too much; then again in what is left.
        let stored = 0;
        let refusals = 0;
        for (let share = 1; share > 0.001; share *= 0.6) {
          const part = Math.ceil(count * share);
          const operations = Array.from({ length: part }, (_, i) => ({
            type: "set" as const,
            key: keyOf(stored + i),
            value: "v".repeat(valueSize),
          }));
          try {
            await store.batch(operations);
            stored += part;
          } catch (error) {
            expect((error as { code: string }).code).toBe("NO_SPACE");
            refusals++;
          }
          expect(store.count()).toBe(stored);
        }
        expect(refusals).toBeGreaterThan(0);
        await store.close();
        const again = await opener(device.reopen(), SMALL);
        expect(again.count()).toBe(stored);
        if (stored > 0) expect(again.get(keyOf(stored - 1))?.length).toBe(valueSize);
        await again.close();
      }
    }
  });

  test("is used to its end once it has been enlarged", async () => {
    const device = new ImageDevice(SIZE, false);
    const { store, count } = await filled(device, open);
    await store.close();
    const larger = new ImageDevice(2 * SIZE, false);
    larger.bytes.set(device.image());
    const again = await open(larger, SMALL);
    expect(again.count()).toBe(count);
    for (let i = 0; i < count / 2; i++) again.set(`new ${i}`, "n".repeat(2000));
    await again.close();
  });
});

describe("memory that is used up", () => {
  const TIGHT = {
    memoryBytes: 16 * MIB,
    writeBufferBytes: 262_144,
    cacheBytes: 262_144,
    durability: "manual" as const,
  };

  test("is OUT_OF_MEMORY before anything changes; reads, deletions, close and opening go on", async () => {
    const device = new ImageDevice();
    const store = await open(device, TIGHT);
    let count = 0;
    let code = "";
    while (code === "") {
      try {
        store.set(`key ${String(count).padStart(7, "0")}`, `${count}`.padEnd(300, "."));
        count++;
      } catch (error) {
        code = (error as { code: string }).code;
      }
    }
    expect(code).toBe("OUT_OF_MEMORY");
    expect(store.count()).toBe(count);
    const key = (index: number): string => `key ${String(index).padStart(7, "0")}`;
    const refused = [
      () => store.set("more", "m"),
      () => store.put("more", "m".repeat(5000)),
      () => store.set("more", "m".repeat(500_000)),
      () => store.batch([{ type: "set", key: "more", value: "m" }]),
    ];
    for (const call of refused) expect(await codeOf(call)).toBe("OUT_OF_MEMORY");
    // Cold ones: the write buffer holds but the last few hundred.
    for (let i = 0; i < 2000; i += 3) expect(store.get(key(i))).toBe(`${i}`.padEnd(300, "."));
    expect([...store.keys({ limit: 3 })]).toEqual([key(0), key(1), key(2)]);
    expect([...store.values({ limit: 3 })].length).toBe(3);
    expect(store.count({ gte: key(10), lt: key(20) })).toBe(10);
    // What is deleted makes room at once.
    for (let i = count - 2000; i < count; i++) store.delete(key(i));
    for (let i = count - 2000; i < count - 1000; i++) store.set(key(i), `${i}`.padEnd(300, "."));
    count -= 1000;
    await store.flush();
    await store.close();

    const again = await open(device.reopen(), TIGHT);
    expect(again.count()).toBe(count);
    for (let i = 0; i < count; i += 997) expect(again.get(key(i))).toBe(`${i}`.padEnd(300, "."));
    for (let i = 0; i < count / 2; i++) expect(again.delete(key(i))).toBe(true);
    again.set("more", "m");
    await again.close();
  });

  test("does not keep clear from emptying the store", async () => {
    const store = await open(":memory:", TIGHT);
    let count = 0;
    try {
      for (; ; count++) store.set(`key ${String(count).padStart(7, "0")}`, "v".repeat(100));
    } catch {
      // Full.
    }
    expect(store.clear({ lt: "key 0000100" })).toBe(100);
    expect(store.clear()).toBe(count - 100);
    expect(store.count()).toBe(0);
    for (let i = 0; i < 1000; i++) store.set(`new ${i}`, "v".repeat(100));
    await store.flush();
    expect(store.stats().olderVersionCount).toBe(0);
    await store.close();
  });

  test("is OUT_OF_MEMORY to open a store that needs more, and nothing has changed", async () => {
    const device = new ImageDevice();
    const store = await open(device, { durability: "manual" });
    for (let i = 0; i < 200_000; i++) store.set(`a key of some length ${i}`, `value ${i}`);
    await store.close();
    const image = device.image();
    const error = await errorOf(() => open(device.reopen(), TIGHT));
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.message).toContain("memoryBytes");
    expect(Buffer.compare(device.image(), image)).toBe(0);
    const roomy = await open(device.reopen());
    expect(roomy.count()).toBe(200_000);
    await roomy.close();
  });

  test("by what one long walk kept is found by the next write after it", async () => {
    const store = await open(":memory:", TIGHT);
    let count = 0;
    while (store.stats().memoryFreeBytes > 5 * MIB) store.set(`key ${count++}`, "v".repeat(100));
    const walk = store.keys();
    let code = "";
    for (let i = 0; i < count && code === ""; i++) {
      try {
        store.set(`key ${i}`, "w".repeat(100));
      } catch (error) {
        code = (error as { code: string }).code;
      }
    }
    expect(code).toBe("OUT_OF_MEMORY");
    walk.return();
    store.set("new key", "v");
    for (let i = 0; i < count; i++) store.set(`key ${i}`, "x".repeat(100));
    await store.close();
  });

  test("by older versions that an iterator needs is given back when it ends", async () => {
    const store = await open(":memory:", TIGHT);
    for (let i = 0; i < 5000; i++) store.set(`key ${i}`, "v".repeat(100));
    const keys = store.keys();
    const pinned: { return(): unknown }[] = [];
    let code = "";
    for (let round = 0; code === "" && round < 200; round++) {
      // Each round is seen by an iterator of its own.
      pinned.push(store.keys());
      try {
        for (let i = 0; i < 5000; i++) store.set(`key ${i}`, `${round}`.padEnd(100, "w"));
      } catch (error) {
        code = (error as { code: string }).code;
      }
    }
    expect(code).toBe("OUT_OF_MEMORY");
    expect([...keys].length).toBe(5000);
    expect(store.count()).toBe(5000);
    expect(store.get("key 7")?.length).toBe(100);
    // Now that nothing needs them, the next write finds their room.
    for (const iterator of pinned) iterator.return();
    expect(store.stats().snapshotCount).toBe(0);
    store.set("key 7", "after");
    for (let i = 0; i < 5000; i++) store.set(`key ${i}`, "x".repeat(100));
    expect(store.stats().olderVersionCount).toBe(0);
    await store.close();
  });
});
