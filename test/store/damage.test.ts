/** Damage: what is broken is named with its place, what is whole is served, and what is refused keeps every byte. */
import { describe, expect, test } from "vitest";
import type { CairnError, CairnErrorCode } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, open, openTiny, pause, repair } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { changeSuperblocks, FIELD, putText, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;
const NO_CACHE = { writeBufferBytes: 262_144, cacheBytes: 0 };

/** A store that was closed: ten small values, ten that need a read. */
async function storeImage(): Promise<Uint8Array> {
  const device = new ImageDevice();
  const store = await open(device);
  for (let i = 0; i < 10; i++) {
    store.set(`small ${i}`, `${i}`);
    store.set(`large ${i}`, `${i}`.repeat(5000));
    store.flushSync();
  }
  await store.close();
  return device.image();
}

function expectAll(store: Store): void {
  for (let i = 0; i < 10; i++) {
    expect(store.get(`small ${i}`)).toBe(`${i}`);
    expect(store.get(`large ${i}`)).toBe(`${i}`.repeat(5000));
  }
  expect(store.count()).toBe(20);
}

/** Opening the image fails, and leaves each of its bytes. */
async function expectRefused(image: Uint8Array, code: CairnErrorCode, options = {}): Promise<CairnError> {
  const device = ImageDevice.of(image);
  const error = await errorOf(() => open(device, options));
  expect(error.code).toBe(code);
  expect(Buffer.compare(device.image(), image)).toBe(0);
  expect(device.events).toEqual([]);
  return error;
}

test("XXH64 is the published one", () => {
  expect(xxh64(new Uint8Array(0), 0n)).toBe(0xef46db3751d8e999n);
  expect(xxh64(new TextEncoder().encode("abc"), 0n)).toBe(0x44bc2cf5ad770999n);
});

describe("superblocks", () => {
  test("opens as long as one copy of four is whole", async () => {
    const image = await storeImage();
    for (let whole = 0; whole < SUPERBLOCK_COPIES; whole++) {
      for (const damage of ["flip", "zero", "noise"]) {
        const damaged = image.slice();
        for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
          const bytes = damaged.subarray(copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK);
          if (copy === whole) continue;
          if (damage === "flip") bytes[2000] = (bytes[2000] as number) ^ 1;
          else if (damage === "zero") bytes.fill(0);
          else crypto.getRandomValues(bytes);
        }
        const device = ImageDevice.of(damaged);
        const store = await open(device);
        expectAll(store);
        store.set("more", "1");
        await store.close();
        const again = await open(device.reopen());
        expect(again.get("more")).toBe("1");
        expect(again.count()).toBe(21);
        await again.close();
      }
    }
  });

  test("is CORRUPT when no copy is whole", async () => {
    const image = await storeImage();
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      const at = copy * SUPERBLOCK_STRIDE + 100 + copy;
      image[at] = (image[at] as number) ^ 0x10;
    }
    await expectRefused(image, "CORRUPT");
    await expectRefused(image, "CORRUPT", { readOnly: true });
    const device = ImageDevice.of(image);
    const fresh = await open(device, { format: true });
    expect(fresh.count()).toBe(0);
    await fresh.close();
  });

  test("that are all zeros make no store a blank device: it is CORRUPT, and never formatted over", async () => {
    const image = await storeImage();
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      image.fill(0, copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK);
    }
    const error = await expectRefused(image, "CORRUPT");
    expect(error.message).toContain("repair");
    await expectRefused(image, "CORRUPT", { create: false });
    // Whatever else lies where a segment would is no reason to write over it, either.
    image.fill(7, SEGMENTS_OFFSET, SEGMENTS_OFFSET + BLOCK);
    await expectRefused(image, "NOT_A_STORE");
  });

  test("of a newer format are refused, and the feature and the version are named", async () => {
    const image = await storeImage();
    changeSuperblocks(image, (superblock) => {
      superblock.setUint32(FIELD.formatVersion, 4, true);
      putText(superblock, FIELD.featureName, "folded-segments");
      putText(superblock, FIELD.versionNeeded, "3.1.0");
    });
    for (const options of [{}, { readOnly: true }]) {
      const error = await expectRefused(image, "UNSUPPORTED_FORMAT", options);
      expect(error.message).toContain("folded-segments");
      expect(error.message).toContain("3.1.0");
    }
  });

  test("of a newer format without a name are refused with its number", async () => {
    const image = await storeImage();
    changeSuperblocks(image, (superblock) => superblock.setUint32(FIELD.formatVersion, 4, true));
    expect((await expectRefused(image, "UNSUPPORTED_FORMAT")).message).toContain("the newer format 4");
  });

  test("of an older format are refused, also for reading and for repair, and the version that reads them is named", async () => {
    const image = await storeImage();
    expect(new DataView(image.buffer).getUint32(FIELD.formatVersion, true)).toBe(3);
    for (const older of [1, 2]) {
      changeSuperblocks(image, (superblock) => superblock.setUint32(FIELD.formatVersion, older, true));
      for (const options of [{}, { readOnly: true }, { create: false }]) {
        const error = await expectRefused(image, "UNSUPPORTED_FORMAT", options);
        expect(error.message).toContain(`the older format ${older}`);
        expect(error.message).toContain("format 3");
      }
      const device = ImageDevice.of(image);
      expect(await codeOf(() => repair(device, { output: new ImageDevice() }))).toBe("UNSUPPORTED_FORMAT");
      expect(device.events).toEqual([]);
    }
  });

  test("with an incompatible feature are refused, named or not", async () => {
    for (const bit of [1n, 5n, 63n]) {
      const image = await storeImage();
      changeSuperblocks(image, (superblock) => {
        superblock.setBigUint64(FIELD.incompatible, 1n << bit, true);
        if (bit === 5n) putText(superblock, FIELD.featureName, "range-tombstones");
      });
      for (const options of [{}, { readOnly: true }]) {
        const error = await expectRefused(image, "UNSUPPORTED_FORMAT", options);
        expect(error.message).toContain(bit === 5n ? "range-tombstones" : "newer");
      }
    }
  });

  test("with a read-compatible feature open for reading alone", async () => {
    const image = await storeImage();
    changeSuperblocks(image, (superblock) => {
      superblock.setBigUint64(FIELD.readCompatible, 1n << 40n, true);
      putText(superblock, FIELD.featureName, "expiry-index");
      putText(superblock, FIELD.versionNeeded, "1.4.0");
    });
    const error = await expectRefused(image, "UNSUPPORTED_FORMAT");
    expect(error.message).toContain("expiry-index");
    expect(error.message).toContain("1.4.0");
    const device = ImageDevice.of(image);
    const store = await open(device, { readOnly: true });
    expectAll(store);
    await store.close();
    expect(Buffer.compare(device.image(), image)).toBe(0);
  });

  test("with a compatible feature open as usual", async () => {
    const image = await storeImage();
    changeSuperblocks(image, (superblock) => superblock.setBigUint64(FIELD.compatible, 1n << 63n, true));
    const store = await open(ImageDevice.of(image));
    expectAll(store);
    await store.close();
  });

  test("of another engine are ENGINE_MISMATCH", async () => {
    for (const engine of [2, 3, 4]) {
      const image = await storeImage();
      changeSuperblocks(image, (superblock) => superblock.setUint32(FIELD.engine, engine, true));
      await expectRefused(image, "ENGINE_MISMATCH");
    }
  });

  test("that make no sense are CORRUPT", async () => {
    const changes: [string, (superblock: DataView) => void][] = [
      ["no segment", (superblock) => superblock.setUint32(FIELD.segmentCount, 0, true)],
      ["an odd segment size", (superblock) => superblock.setUint32(FIELD.segmentBlocks, 100, true)],
      ["tiny segments", (superblock) => superblock.setUint32(FIELD.segmentBlocks, 1, true)],
      ["huge segments", (superblock) => superblock.setUint32(FIELD.segmentBlocks, 0x80000000, true)],
      ["an allotment beyond the end", (superblock) => superblock.setUint32(FIELD.allotmentEnd, 0xffffffff, true)],
      ["an epoch at its end", (superblock) => superblock.setUint32(FIELD.epoch, 0xffffffff, true)],
      ["generations at their end", (superblock) => superblock.setBigUint64(FIELD.generation, 2n ** 64n - 1n, true)],
      ["sequences at their end", (superblock) => superblock.setBigUint64(FIELD.sequenceCeiling, 2n ** 64n - 1n, true)],
    ];
    for (const [, change] of changes) {
      const image = await storeImage();
      changeSuperblocks(image, change);
      await expectRefused(image, "CORRUPT");
    }
  });
});

describe("a device that is not what it was", () => {
  test("is DEVICE_SHRUNK when it ends before its last segment", async () => {
    const image = await storeImage();
    for (const size of [image.length - BLOCK, SEGMENTS_OFFSET + BLOCK, SEGMENTS_OFFSET, BLOCK]) {
      await expectRefused(image.slice(0, size), "DEVICE_SHRUNK");
      await expectRefused(image.slice(0, size), "DEVICE_SHRUNK", { readOnly: true });
    }
  });

  test("is NOT_A_STORE when it holds something else, wherever it begins", async () => {
    const text = new TextEncoder().encode("precious");
    for (const offset of [0, 100, BLOCK, 3 * BLOCK + 17, SUPERBLOCK_STRIDE, SEGMENTS_OFFSET - text.length]) {
      const image = new Uint8Array(2 * SEGMENTS_OFFSET);
      image.set(text, offset);
      await expectRefused(image, "NOT_A_STORE");
      await expectRefused(image, "NOT_A_STORE", { readOnly: true });
    }
    const image = new Uint8Array(3 * BLOCK);
    image.set(text, 2 * BLOCK);
    await expectRefused(image, "NOT_A_STORE");
  });

  test("is erased with format: true, and only then", async () => {
    const image = new Uint8Array(2 * SEGMENTS_OFFSET).fill(0x5a);
    const device = ImageDevice.of(image);
    const store = await open(device, { format: true });
    store.set("a", "1");
    await store.close();
    const again = await open(device.reopen(), { format: true });
    expect(again.get("a")).toBe("1");
    await again.close();
  });

  test("is NOT_A_STORE when it is blank and only to be read", async () => {
    await expectRefused(new Uint8Array(2 * SEGMENTS_OFFSET), "NOT_A_STORE", { readOnly: true });
    await expectRefused(new Uint8Array(0), "NOT_A_STORE", { readOnly: true });
  });

  test("is NO_SPACE when it is too small for a store and cannot grow", async () => {
    for (const size of [0, BLOCK, SEGMENTS_OFFSET, 3 * SEGMENTS_OFFSET]) {
      const device = new ImageDevice(size, false);
      expect(await codeOf(() => open(device))).toBe("NO_SPACE");
      expect(device.events).toEqual([]);
    }
  });
});

describe("rot under an open store", () => {
  test("is CORRUPT with its place, for the value that it hit and no other", async () => {
    const device = new ImageDevice();
    const store = await open(device, NO_CACHE);
    for (let i = 0; i < 60; i++) store.set(`key ${i}`, `${i},`.repeat(3000));
    await store.flush();
    for (let i = 0; i < 30; i++) store.set(`more ${i}`, "m".repeat(20_000));
    await store.flush();
    // The first block that carries the value's text.
    const at = Buffer.from(device.bytes).indexOf("7,7,7,7,7,7,7,7,", SEGMENTS_OFFSET) + 8;
    expect(at).toBeGreaterThan(SEGMENTS_OFFSET);
    device.bytes[at] = (device.bytes[at] as number) ^ 0x04;
    const offset = at - (at % BLOCK);
    for (const read of [() => store.get("key 7"), () => store.getMany(["key 7"]), () => [...store.entries()]]) {
      const error = await errorOf(read);
      expect(error.code).toBe("CORRUPT");
      expect(error.message).toContain(`offset ${offset}`);
    }
    // Values that share no block with it.
    for (let i = 0; i < 60; i++) {
      if (Math.abs(i - 7) > 1) expect(store.get(`key ${i}`) === `${i},`.repeat(3000)).toBe(true);
    }
    expect(store.has("key 7")).toBe(true);
    expect(store.count()).toBe(90);
    expect([...store.keys()].length).toBe(90);
    // It is not poisoned, and what is written anew is whole.
    store.set("key 7", "new");
    store.set("key 6", "shared its block");
    await store.put("another", "1");
    expect(store.get("key 7")).toBe("new");
    expect([...store.values()].length).toBe(91);
    await store.close();
  });

  test("is CORRUPT for blocks in each other's place, for old bytes, and for zeros", async () => {
    const device = new ImageDevice();
    const store = await open(device, NO_CACHE);
    store.set("old", "o".repeat(20_000));
    store.set("a", "a".repeat(20_000));
    store.set("b", "b".repeat(20_000));
    await store.flush();
    for (let i = 0; i < 30; i++) store.set(`more ${i}`, "m".repeat(20_000));
    await store.flush();
    const bytes = Buffer.from(device.bytes.buffer);
    const blockOf = (text: string): number => {
      const at = bytes.indexOf(text.repeat(4000), SEGMENTS_OFFSET);
      return at - (at % BLOCK) + BLOCK;
    };
    const a = blockOf("a");
    const b = blockOf("b");
    const blockA = device.bytes.slice(a, a + BLOCK);
    device.bytes.set(device.bytes.slice(b, b + BLOCK), a);
    device.bytes.set(blockA, b);
    expect(await codeOf(() => store.get("a"))).toBe("CORRUPT");
    expect(await codeOf(() => store.get("b"))).toBe("CORRUPT");
    const old = blockOf("o");
    device.bytes.fill(0, old, old + BLOCK);
    expect(await codeOf(() => store.get("old"))).toBe("CORRUPT");
    expect(store.get("more 3")).toBe("m".repeat(20_000));
    // Put right, it is read again: what was bad was not kept.
    device.bytes.set(device.bytes.slice(b, b + BLOCK), a);
    expect(store.get("a")).toBe("a".repeat(20_000));
    await store.close();
  });
});

describe("a device that fails", () => {
  test("to read is DEVICE_READ, with its cause, and goes on when it reads again", async () => {
    const device = new ImageDevice();
    const store = await open(device, NO_CACHE);
    store.set("cold", "c".repeat(30_000));
    for (let i = 0; i < 30; i++) store.set(`more ${i}`, "m".repeat(20_000));
    await store.flush();
    const cause = new Error("the disk is tired");
    device.before = (operation, offset) => {
      if (operation === "read" && offset >= SEGMENTS_OFFSET) throw cause;
    };
    for (const read of [() => store.get("cold"), () => store.getMany(["cold"]), () => [...store.values()]]) {
      const error = await errorOf(read);
      expect(error.code).toBe("DEVICE_READ");
      expect(error.cause).toBe(cause);
      expect(error.message).toContain("offset");
    }
    expect([...store.keys({ prefix: "c" })]).toEqual(["cold"]);
    await store.put("a", "1");
    device.before = undefined;
    expect(store.get("cold")).toBe("c".repeat(30_000));
    await store.close();
  });

  for (const [name, fails] of [
    ["to sync", (operation: string) => operation === "sync"],
    ["to write", (operation: string) => operation === "write"],
  ] as const) {
    test(`${name} poisons the store, and rejects every promise that waits`, async () => {
      const device = new ImageDevice();
      const events: string[] = [];
      const store = await open(device, { onEvent: (event) => events.push(event.type) });
      await store.batch([{ type: "set", key: "durable", value: "1" }]);
      const kept = device.image();
      const cause = new Error("gone");
      device.before = (operation) => {
        if (fails(operation)) throw cause;
      };
      const proceed = device.holdWrites();
      const waiting = [store.put("a", "1"), store.del("durable"), store.batch([{ type: "set", key: "b", value: "2" }])];
      const early = Promise.allSettled(waiting);
      await pause(1);
      const late = Promise.allSettled([store.put("c", "3"), store.flush()]);
      proceed();
      const results = [...(await early), ...(await late)];
      expect(results.length).toBe(5);
      for (const result of results) {
        const error = (result as PromiseRejectedResult).reason as CairnError;
        expect(error.code).toBe("DEVICE_WRITE");
        expect(error.cause).toBe(cause);
      }
      device.before = undefined;
      const calls = [
        () => store.get("durable"),
        () => store.has("durable"),
        () => store.set("d", "4"),
        () => store.delete("durable"),
        () => store.put("d", "4"),
        () => store.getMany(["durable"]),
        () => store.batch([]),
        () => store.keys(),
        () => store.count(),
        () => store.clear(),
        () => store.flush(),
        () => store.flushSync(),
        () => store.stats(),
      ];
      for (const call of calls) {
        const error = await errorOf(call);
        expect(error.code).toBe("POISONED");
        expect((error.cause as CairnError).code).toBe("DEVICE_WRITE");
      }
      expect(events.filter((type) => type === "poisoned")).toEqual(["poisoned"]);
      const writes = device.count("write");
      await store.close();
      expect(device.count("write")).toBe(writes);
      const again = await open(ImageDevice.of(kept));
      expect(again.get("durable")).toBe("1");
      await again.close();
    });

    test(`${name} in a synchronous call throws, and poisons the store`, async () => {
      for (const durability of ["sync", "manual"] as const) {
        const device = new ImageDevice();
        const store = await open(device, { durability });
        const waiting = store.put("a", "1").catch((error: CairnError) => error.code);
        device.before = (operation) => {
          if (fails(operation)) throw new Error("gone");
        };
        const call = durability === "sync" ? () => store.set("b", "2") : () => store.flushSync();
        expect(await codeOf(call)).toBe("DEVICE_WRITE");
        expect(await waiting).toBe("DEVICE_WRITE");
        expect(await codeOf(() => store.get("a"))).toBe("POISONED");
        device.before = undefined;
        await store.close();
      }
    });
  }

  test("with something that is no error is reported all the same", async () => {
    const device = new ImageDevice();
    const store = await open(device);
    device.writeAsync = () => Promise.reject(undefined);
    expect(await codeOf(() => store.put("a", "1"))).toBe("DEVICE_WRITE");
    expect(await codeOf(() => store.get("a"))).toBe("POISONED");
    await store.close();
  });

  test("by shrinking is DEVICE_SHRUNK, and poisons the store", async () => {
    const device = new ImageDevice();
    const store = await open(device, NO_CACHE);
    store.set("cold", "c".repeat(30_000));
    for (let i = 0; i < 30; i++) store.set(`more ${i}`, "m".repeat(20_000));
    await store.flush();
    device.resize(SEGMENTS_OFFSET);
    expect(await codeOf(() => store.get("cold"))).toBe("DEVICE_SHRUNK");
    expect(await codeOf(() => store.get("more 1"))).toBe("POISONED");
    await store.close();
  });

  test("by calling the store back gets REENTRANT, and breaks nothing", async () => {
    const device = new ImageDevice();
    const store = await open(device, NO_CACHE);
    store.set("cold", "c".repeat(30_000));
    for (let i = 0; i < 30; i++) store.set(`more ${i}`, "m".repeat(20_000));
    await store.flush();
    const codes: string[] = [];
    const calls = [
      () => store.get("more 1"),
      () => store.set("x", "1"),
      () => store.delete("cold"),
      () => store.flushSync(),
      () => store.count(),
      () => store.keys(),
      () => store.clear(),
      () => store.stats(),
    ];
    device.before = () => {
      for (const call of calls) {
        try {
          call();
          codes.push("none");
        } catch (error) {
          codes.push((error as CairnError).code);
        }
      }
    };
    expect(store.get("cold")).toBe("c".repeat(30_000));
    store.flushSync();
    device.before = undefined;
    expect(codes.length).toBeGreaterThanOrEqual(calls.length);
    expect(new Set(codes)).toEqual(new Set(["REENTRANT"]));
    expect(store.count()).toBe(31);
    await store.put("after", "1");
    await store.close();
  });
});

test("a hostile length is CORRUPT, in segments of every size", async () => {
  for (const opener of [open, openTiny]) {
    const device = new ImageDevice();
    const store = await opener(device);
    await store.put("the first group", "1");
    for (let i = 0; i < 50; i++) store.set(`key ${i}`, "v".repeat(100 + i * 40));
    await store.close();
    const image = device.image();
    const at = Buffer.from(image).indexOf("key 20", SEGMENTS_OFFSET);
    const block = at - (at % BLOCK);
    image[at - 16] = 0xff;
    const error = await expectRefused(image, "CORRUPT");
    expect(error.message).toContain(String(block));
  }
});
