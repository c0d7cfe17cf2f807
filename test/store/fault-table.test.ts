/**
 * Rows of the table of faults (docs/testing.md) that have no test of their own elsewhere, and what test/every-call has found:
 * each as the smallest thing that shows it.
 */
import { describe, expect, test } from "vitest";
import { CairnError } from "../../store/error.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { backupOf } from "./backups.ts";
import { Clock } from "./clock.ts";
import { codeOf, errorOf, host, MEMORY_BYTES, open, openTiny, pause, repair, restore } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "./superblock.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;
const MANUAL = { durability: "manual", writeBufferBytes: 262_144, cacheBytes: 0 } as const;

function failEio(): never {
  throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
}

/** Each of some puts is a group of its own, acknowledged. The device as a kill would leave it. */
async function killedAfter(count: number): Promise<Uint8Array> {
  const device = new ImageDevice();
  const store = await openTiny(device, MANUAL);
  for (let i = 0; i < count; i++) await store.put(`key ${i}`, `${i}`.repeat(500));
  const image = device.image();
  await store.close();
  return image;
}

/** How many of the puts an image holds, from the first on; the error when it does not open. */
async function heldBy(image: Uint8Array, count: number): Promise<{ held: number } | { error: CairnError }> {
  const device = ImageDevice.of(image);
  let store: Store;
  try {
    store = await openTiny(device, MANUAL);
  } catch (error) {
    expect(device.events).toEqual([]);
    return { error: error as CairnError };
  }
  const held = store.count();
  for (let i = 0; i < count; i++) expect(store.get(`key ${i}`)).toBe(i < held ? `${i}`.repeat(500) : undefined);
  await store.close();
  return { held };
}

describe("four copies of the superblock", () => {
  /** Images of a store that was killed, and closed; of one that has just grown, when `grows`. */
  async function images(grows: boolean): Promise<Uint8Array[]> {
    const device = new ImageDevice();
    let store = await openTiny(device, MANUAL);
    if (!grows) {
      // It has grown before: its superblocks agree on that.
      for (let i = 0; i < 40; i++) store.set(`key ${i}`, `${i}`.repeat(500));
      await store.close();
      store = await openTiny(device.reopen(), MANUAL);
    }
    for (let i = 0; i < 40; i++) await store.put(`key ${i}`, `${i}`.repeat(500));
    const killed = device.image();
    await store.close();
    return [killed, device.image()];
  }

  test("of which those of a growth are lost give CORRUPT, and never the state before it", async () => {
    const [killed = new Uint8Array(0)] = await images(true);
    let refused = 0;
    for (const pair of [0, 2]) {
      const damaged = killed.slice();
      for (const copy of [pair, pair + 1]) damaged.fill(0, copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK);
      const found = await heldBy(damaged, 40);
      if ("error" in found) {
        expect(found.error.code).toBe("CORRUPT");
        refused++;
      } else expect(found.held).toBe(40);
    }
    expect(refused).toBe(1);
  });

  test("of each of the 16 sets of damaged ones, all but that of all four opens, with everything", async () => {
    for (const image of await images(false)) {
      for (let set = 0; set < 16; set++) {
        for (const damage of ["flip", "zero", "noise"]) {
          const damaged = image.slice();
          for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
            if ((set & (1 << copy)) === 0) continue;
            const bytes = damaged.subarray(copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK);
            if (damage === "flip") bytes[70 + copy] = (bytes[70 + copy] as number) ^ 4;
            else if (damage === "zero") bytes.fill(0);
            else crypto.getRandomValues(bytes);
          }
          const found = await heldBy(damaged, 40);
          if (set < 15) expect(found).toEqual({ held: 40 });
          else expect(found).toMatchObject({ error: { code: damage === "noise" ? "NOT_A_STORE" : "CORRUPT" } });
        }
      }
    }
  });
});

describe("the durable mark", () => {
  test("parts what is CORRUPT and never cut off from a torn tail, block by block", async () => {
    const count = 9;
    const image = await killedAfter(count);
    let corrupt = 0;
    let cut = 0;
    for (let at = SEGMENTS_OFFSET; at < image.length; at += BLOCK) {
      if (image.subarray(at, at + BLOCK).every((byte) => byte === 0)) continue;
      const damaged = image.slice();
      damaged[at + 300] = (damaged[at + 300] as number) ^ 0x20;
      const found = await heldBy(damaged, count);
      if ("error" in found) {
        expect(found.error.code).toBe("CORRUPT");
        expect(found.error.message).toContain(`offset ${at}.`);
        corrupt++;
      } else {
        // Nothing says whether the last group was whole; all before it was named by a mark.
        expect(found.held).toBeGreaterThanOrEqual(count - 1);
        cut++;
      }
    }
    expect(corrupt).toBeGreaterThanOrEqual(count - 1);
    expect(cut).toBeGreaterThan(0);
  });

  test("finds a write that the device lost, and one that it put in another's place", async () => {
    const count = 9;
    const image = await killedAfter(count);
    const blocks: number[] = [];
    for (let at = SEGMENTS_OFFSET; at < image.length; at += BLOCK) {
      if (image.subarray(at, at + BLOCK).some((byte) => byte !== 0)) blocks.push(at);
    }
    for (const [i, at] of blocks.slice(0, -1).entries()) {
      const lost = image.slice();
      lost.fill(0, at, at + BLOCK);
      const misdirected = image.slice();
      misdirected.copyWithin(at, blocks[i + 1] as number, (blocks[i + 1] as number) + BLOCK);
      for (const damaged of [lost, misdirected]) {
        const found = await heldBy(damaged, count);
        if ("error" in found) expect(found.error.code).toBe("CORRUPT");
        else expect(found.held).toBeGreaterThanOrEqual(count - 1);
      }
    }
    // The last group alone is taken for one that never came.
    const tail = image.slice();
    tail.fill(0, blocks.at(-1) as number);
    expect(await heldBy(tail, count)).toEqual({ held: count - 1 });
  });
});

describe("a clock", () => {
  test("that jumps, stands, or shows no time at all changes no order and stops nothing", async () => {
    const clock = new Clock();
    const device = new ImageDevice();
    const store = await openTiny(device, MANUAL);
    const start = clock.now;
    const times = [
      1e15,
      0,
      -5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      1e300,
      start,
      0.5,
      start,
    ];
    let before = 0;
    store.set("expires", "1", { expiresAt: 2e14 });
    for (const [i, now] of times.entries()) {
      clock.now = now;
      store.set("key", `${i}`);
      const version = store.getEntry("key")?.version ?? 0;
      expect(version).toBeGreaterThan(before);
      before = version;
      expect(store.get("key")).toBe(`${i}`);
      // Once a time was seen, none before it comes back.
      expect(store.has("expires")).toBe(false);
      await store.flush();
    }
    await store.close();
    for (const now of [Number.NaN, start]) {
      clock.now = now;
      const again = await openTiny(device.reopen(), MANUAL);
      expect(again.get("key")).toBe(`${times.length - 1}`);
      expect(again.has("expires")).toBe(false);
      await again.close();
    }
  });
});

describe("a device that cannot be read while a commit looks who has the store", () => {
  for (const [name, commit] of [
    ["put", (store: Store) => store.put("a", "1")],
    [
      "flush",
      (store: Store) => {
        store.set("a", "1");
        return store.flush();
      },
    ],
    [
      "flushSync",
      async (store: Store) => {
        store.set("a", "1");
        store.flushSync();
      },
    ],
  ] as const) {
    test(`is DEVICE_READ by ${name}, poisons nothing, and the next commit makes all of it durable`, async () => {
      for (const skipped of [0, 1]) {
        const device = new ImageDevice();
        const store = await openTiny(device, MANUAL);
        await store.put("before", "1");
        // It looks before anything is written, and again after the sync.
        let looks = 0;
        device.before = (operation, offset) => {
          if (operation === "read" && offset < SEGMENTS_OFFSET && looks++ >= skipped) failEio();
        };
        expect((await errorOf(() => commit(store))).code).toBe("DEVICE_READ");
        expect(store.get("a")).toBe("1");
        expect(await codeOf(() => store.put("b", "2"))).toBe("DEVICE_READ");
        device.before = undefined;
        await store.put("c", "3");
        const again = await openTiny(ImageDevice.of(device.image()), MANUAL);
        expect([...again.keys()]).toEqual(["a", "b", "before", "c"]);
        await again.close();
        await store.close();
      }
    });
  }

  test("does not hold up a file's growth, or its shrinking, for good", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...MANUAL, durability: "interval", flushIntervalMs: 5 });
    let isSuperblockWritten = false;
    let failed = 0;
    device.before = (operation, offset) => {
      if (operation === "write" && offset < SEGMENTS_OFFSET) isSuperblockWritten = true;
      if (operation !== "read" || offset >= SEGMENTS_OFFSET || !isSuperblockWritten || failed > 3) return;
      isSuperblockWritten = false;
      failed++;
      failEio();
    };
    for (let i = 0; i < 60; i++) {
      for (let isStored = false; !isStored; ) {
        try {
          isStored = store.set(`key ${i}`, `${i}`.repeat(9000));
        } catch (error) {
          // Each attempt may write superblocks, and look again.
          expect((error as CairnError).code).toBe("DEVICE_READ");
          expect(failed).toBeLessThan(5);
        }
      }
      await pause(1);
    }
    expect(failed).toBeGreaterThan(0);
    device.before = undefined;
    const large = device.size();
    expect(store.clear()).toBe(60);
    await store.compact({ full: true });
    expect(device.size()).toBeLessThan(large / 2);
    await store.close();
  });

  test("gives a checkpoint up half-way, and what is made later is whole", async () => {
    const device = new ImageDevice();
    const pace = { logBytes: 40_000, liveThousandths: 0, stepBlocks: 1 };
    const store = await openTiny(device, { ...MANUAL, durability: "interval", flushIntervalMs: 5 }, 16, pace);
    let fails = false;
    device.before = (operation, offset) => {
      if (fails && operation === "read" && offset < SEGMENTS_OFFSET) failEio();
    };
    for (let round = 0; round < 40; round++) {
      fails = round % 4 === 1;
      for (let i = 0; i < 30; i++) {
        try {
          store.set(`key ${i}`, `${round} ${i}`.repeat(300));
        } catch (error) {
          expect((error as CairnError).code).toBe("DEVICE_READ");
        }
      }
      await pause(2);
    }
    fails = false;
    await store.flush();
    expect(store.stats().checkpointMadeCount).toBeGreaterThan(1);
    expect((await store.verify()).faults).toEqual([]);
    const killed = device.image();
    await store.close();
    for (const image of [killed, device.image()]) {
      const again = await openTiny(ImageDevice.of(image), MANUAL, 16, pace);
      expect(again.stats().checkpointFallbackCount).toBe(0);
      expect(again.count()).toBe(30);
      await again.close();
    }
  });
});

test("what cannot be read is read three times at most, also where it is read ahead", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, MANUAL);
  for (let i = 0; i < 8; i++) store.set(`key ${i}`, `${i}`.repeat(5000));
  await store.close();
  const again = await openTiny(device.reopen(), MANUAL);
  const reads = new Map<number, number>();
  device.before = (operation, offset) => {
    if (operation !== "read" || offset < SEGMENTS_OFFSET) return;
    reads.set(offset, (reads.get(offset) ?? 0) + 1);
    failEio();
  };
  expect(await codeOf(() => [...again.entries()])).toBe("DEVICE_READ");
  expect(Math.max(...reads.values())).toBeLessThanOrEqual(3);
  device.before = undefined;
  expect([...again.entries()].length).toBe(8);
  await again.close();
});

test("a sync that is refused for want of room is a failed sync: it poisons, and is never tried again", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, MANUAL);
  let syncs = 0;
  device.before = (operation) => {
    if (operation !== "sync") return;
    syncs++;
    throw new CairnError("NO_SPACE", "sync", "no room is left on the device");
  };
  expect(await codeOf(() => store.put("a", "1"))).toBe("DEVICE_WRITE");
  expect(await codeOf(() => store.get("a"))).toBe("POISONED");
  expect(await codeOf(() => store.flush())).toBe("POISONED");
  await store.close();
  expect(syncs).toBe(1);
});

test("a deletion whose file fails to grow, or to sync that, poisons at once and tries nothing again", async () => {
  for (const failing of ["resize", "sync"] as const) {
    const device = new ImageDevice();
    const store = await openTiny(device, MANUAL);
    const keys: string[] = [];
    for (let i = 0; i < 4000; i++) keys.push(`${i}`.padStart(200, "k"));
    for (const key of keys) store.set(key, "1");
    await store.flush();
    const tried: string[] = [];
    let grows = false;
    device.before = (operation) => {
      if (operation === "read") return;
      if (operation === "resize") grows = true;
      if (grows) tried.push(operation);
      if (grows && operation === failing) failEio();
    };
    let code = "";
    for (const key of keys) {
      try {
        store.delete(key);
      } catch (error) {
        code = (error as CairnError).code;
        break;
      }
      // What fails in flight is told at the next turn of the event loop.
      if (grows) await pause(1);
    }
    // A file that grows ahead of what is written does so behind a deletion: the next one is told then.
    expect(["DEVICE_WRITE", "POISONED"]).toContain(code);
    expect(await codeOf(() => store.get(keys[0] as string))).toBe("POISONED");
    expect(tried).toEqual(failing === "resize" ? ["resize"] : ["resize", "sync"]);
    await store.close();
  }
});

describe("close", () => {
  /** A store whose interval's group has failed, with nobody waiting for it. */
  async function failedAlone(): Promise<{ device: ImageDevice; store: Store }> {
    const device = new ImageDevice();
    const events: string[] = [];
    const store = await openTiny(device, { flushIntervalMs: 1, onEvent: ({ type }) => void events.push(type) });
    device.before = (operation) => {
      if (operation === "sync") failEio();
    };
    store.set("a", "1");
    // Tests in a browser's worker have no expect.poll.
    for (let i = 0; i < 1000 && !events.includes("poisoned"); i++) await pause(1);
    expect(events).toContain("poisoned");
    device.before = undefined;
    return { device, store };
  }

  test("rejects POISONED where the store failed by itself and nobody was told of it, and gives the device up", async () => {
    const { device, store } = await failedAlone();
    const error = await errorOf(() => store.close());
    expect(error.code).toBe("POISONED");
    expect((error.cause as CairnError).code).toBe("DEVICE_WRITE");
    expect(() => device.sync()).toThrow("the device is closed");
    expect(await codeOf(() => store.get("a"))).toBe("CLOSED");
  });

  test("resolves where a call has told", async () => {
    const { device, store } = await failedAlone();
    expect(await codeOf(() => store.get("a"))).toBe("POISONED");
    await store.close();
    expect(() => device.sync()).toThrow("the device is closed");
  });
});

describe("a device that throws what is no CairnError", () => {
  const odd: unknown[] = [new RangeError("out of range"), undefined, "tired", null, { code: 5 }];

  test("is DEVICE_WRITE by an opening that erases it, and by a restore", async () => {
    const source = await openTiny(new ImageDevice(), MANUAL);
    source.set("a", "1");
    const { bytes } = await backupOf(source);
    await source.close();
    for (const thrown of odd) {
      const device = ImageDevice.of(new Uint8Array(2 * SEGMENTS_OFFSET).fill(7));
      device.before = (operation) => {
        if (operation === "write" || operation === "resize") throw thrown;
      };
      expect(await codeOf(() => open(device, { format: true }))).toBe("DEVICE_WRITE");
      device.reopen();
      expect(await codeOf(() => restore(device, [bytes], { overwrite: true }))).toBe("DEVICE_WRITE");
    }
  });

  test("is DEVICE_READ by a repair that finds nothing, not NOT_A_STORE", async () => {
    const image = await killedAfter(3);
    for (const thrown of odd) {
      const device = ImageDevice.of(image);
      device.before = (operation) => {
        if (operation === "read") throw thrown;
      };
      expect(await codeOf(() => repair(device, { output: new ImageDevice() }))).toBe("DEVICE_READ");
    }
  });
});

describe("a device that gives no bytes inside its size", () => {
  test("is DEVICE_SHRUNK by a restore that looks whether it is blank, and not one byte changes", async () => {
    const source = await openTiny(new ImageDevice(), MANUAL);
    source.set("a", "1");
    const { bytes } = await backupOf(source);
    await source.close();
    const image = await killedAfter(3);
    const device = ImageDevice.of(image);
    device.read = () => 0;
    expect(await codeOf(() => restore(device, [bytes]))).toBe("DEVICE_SHRUNK");
    expect(device.events).toEqual([]);
  });

  test("is DEVICE_SHRUNK by a backup, and poisons", async () => {
    for (const isAsync of [false, true]) {
      const device = new ImageDevice();
      const store = await openTiny(device, MANUAL);
      for (let i = 0; i < 20; i++) store.set(`key ${i}`, `${i}`.repeat(3000));
      await store.flush();
      device.read = (offset, target) => {
        if (offset < SEGMENTS_OFFSET) return ImageDevice.prototype.read.call(device, offset, target);
        return 0;
      };
      if (isAsync) {
        Object.assign(device, {
          readAsync: () => Promise.reject(Object.assign(new Error("gone"), { code: "DEVICE_SHRUNK" })),
        });
      }
      const code = await codeOf(() => backupOf(store));
      // One that is no CairnError is a read that failed.
      expect(code).toBe(isAsync ? "DEVICE_READ" : "DEVICE_SHRUNK");
      if (!isAsync) expect(await codeOf(() => store.get("a"))).toBe("POISONED");
      await store.close();
    }
  });
});

describe("memory", () => {
  test("that the system refuses is OUT_OF_MEMORY, with its cause, before the device is looked at", async () => {
    const cause = new RangeError("could not allocate memory");
    const device = new ImageDevice();
    let looks = 0;
    device.before = () => {
      looks++;
    };
    const refusing = {
      ...(await host()),
      memory: () => {
        throw cause;
      },
    };
    const settings = readOptions({ memoryBytes: MEMORY_BYTES });
    const error = await errorOf(() =>
      openStore({ device, host: refusing, release: () => undefined, segmentBlocks: 16 }, settings),
    );
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.cause).toBe(cause);
    expect(looks).toBe(0);
  });
});

describe("a throw out of the core's imports, which is a trap", () => {
  const CLOCK = "wasi:clocks/wall-clock@0.2.12";

  /** A store whose host throws when it is asked for the time, once `arm` was called. */
  async function overBrokenHost(device: ImageDevice): Promise<{ store: Store; arm: () => void }> {
    const whole = await host();
    let armed = false;
    const broken: typeof whole = {
      ...whole,
      bind: (...given) => {
        const bound = whole.bind(...given);
        const now = (bound.imports[CLOCK] as { now(result: number): void }).now;
        const clock = {
          now: (result: number) => {
            if (armed) throw new Error("the host has no clock");
            now(result);
          },
        };
        return { ...bound, imports: { ...bound.imports, [CLOCK]: clock } };
      },
    };
    const settings = readOptions({ memoryBytes: MEMORY_BYTES, ...MANUAL });
    const opening = { device, host: broken, release: () => device.close(), segmentBlocks: 16 };
    const store = (await openStore<string, string>(opening, settings)) as Store;
    const arm = (): void => {
      armed = true;
    };
    return { store, arm };
  }

  const calls: Record<string, (store: Store) => unknown> = {
    get: (store) => store.get("soon"),
    has: (store) => store.has("soon"),
    getEntry: (store) => store.getEntry("soon"),
    getAsync: (store) => store.getAsync("soon"),
    getMany: (store) => store.getMany(["soon"]),
    keys: (store) => [...store.keys()],
    entries: (store) => [...store.entries()],
    nextv: (store) => store.entries().nextv(2),
    seek: (store) => {
      const walk = store.keys();
      walk.seek("b");
      return walk.next();
    },
    count: (store) => store.count({ gte: "a" }),
    clear: (store) => store.clear({ gte: "a" }),
    snapshot: (store) => store.snapshot().get("soon"),
    set: (store) => store.set("soon", "2", { expiresIn: 5 }),
    delete: (store) => store.delete("soon"),
    append: (store) => store.append("soon", "x"),
    increment: (store) => store.increment("soon"),
    update: (store) => store.update("soon", (old) => `${old}!`),
    put: (store) => store.put("a", "1"),
    batch: (store) => store.batch([{ type: "set", key: "a", value: "1" }]),
    flush: (store) => {
      store.set("a", "1");
      return store.flush();
    },
    flushSync: (store) => {
      store.set("a", "1");
      store.flushSync();
    },
    transaction: (store) => store.transaction((tx) => tx.get("soon")),
    transact: (store) => store.transact(async (tx) => tx.get("soon")),
    watch: async (store) => {
      for await (const _ of store.watch(undefined, { since: 0 })) break;
    },
    compact: (store) => store.compact({ full: true }),
    verify: (store) => store.verify(),
    backup: (store) => backupOf(store),
    stats: (store) => store.stats(),
    close: (store) => store.close(),
  };

  test.each(Object.entries(calls))("poisons the store by %s, and what was durable is there", async (_name, call) => {
    const device = new ImageDevice();
    const { store, arm } = await overBrokenHost(device);
    await store.put("soon", "1", { expiresIn: 3_600_000 });
    await store.put("stays", "1");
    arm();
    let thrown: unknown;
    try {
      await call(store);
    } catch (error) {
      thrown = error;
    }
    if (thrown !== undefined) {
      expect((thrown as CairnError).code).toBe("POISONED");
      expect(["POISONED", "CLOSED"]).toContain(await codeOf(() => store.get("stays")));
    }
    await store.close().catch((error: CairnError) => expect(error.code).toBe("POISONED"));
    const again = await openTiny(ImageDevice.of(device.image()), MANUAL);
    expect(again.get("stays")).toBe("1");
    await again.close();
  });
});
