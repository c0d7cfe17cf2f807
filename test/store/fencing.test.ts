/** Two openers of one device, which no lock kept apart: the older one is fenced, and nothing it does harms the younger. */
import { describe, expect, test } from "vitest";
import type { BlockDevice } from "../../store/device.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, host, MEMORY_BYTES } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { changeSuperblocks, FIELD, SUPERBLOCK_STRIDE } from "./superblock.ts";

/** Another opener's view of the same bytes, as two processes have it of one file. */
function viewOf(device: ImageDevice): BlockDevice {
  return {
    growable: true,
    size: () => device.size(),
    read: (offset, target) => device.read(offset, target),
    write: (offset, source) => device.write(offset, source),
    writeAsync: (pieces) => device.writeAsync(pieces),
    sync: () => device.sync(),
    syncAsync: () => device.syncAsync(),
    resize: (size) => device.resize(size),
    close: () => undefined,
  };
}

async function open(device: BlockDevice, predecessorAlive = false): Promise<Store> {
  const settings = readOptions({ memoryBytes: MEMORY_BYTES, durability: "manual" });
  const opening = { device, host: await host(), release: () => undefined, segmentBlocks: 16, predecessorAlive };
  return openStore<string, string>(opening, settings);
}

async function older(): Promise<{ device: ImageDevice; store: Store }> {
  const device = new ImageDevice();
  const store = await open(device);
  for (let i = 0; i < 100; i++) store.set(`key ${i}`, `value ${i}`.repeat(40));
  await store.flush();
  return { device, store };
}

describe("an opener that another one has taken over from", () => {
  test("is FENCED with its next commit, then POISONED; what it had made durable is there", async () => {
    const { device, store } = await older();
    const younger = await open(viewOf(device), true);
    expect(younger.stats().epoch).toBeGreaterThan(store.stats().epoch);
    store.set("late", "lost");
    const error = await errorOf(() => store.flush());
    expect(error.code).toBe("FENCED");
    expect(error.message).toContain("another opener");
    expect(await codeOf(() => store.get("key 1"))).toBe("POISONED");
    await store.close();
    expect(younger.get("late")).toBeUndefined();
    await younger.put("young", "kept");
    await younger.close();
    const again = await open(viewOf(device));
    expect(again.count()).toBe(101);
    expect(again.get("young")).toBe("kept");
    await again.close();
  });

  test.each(["put", "flushSync", "batch"] as const)("is FENCED by %s", async (call) => {
    const { device, store } = await older();
    const younger = await open(viewOf(device), true);
    const late = (): unknown => {
      if (call === "put") return store.put("late", "lost");
      if (call === "batch") return store.batch([{ type: "set", key: "late", value: "lost" }]);
      store.set("late", "lost");
      return store.flushSync();
    };
    expect(await codeOf(late)).toBe("FENCED");
    await younger.close();
    await store.close();
  });

  test("is FENCED by close, which leaves the younger one's superblock alone", async () => {
    const { device, store } = await older();
    const younger = await open(viewOf(device), true);
    const image = device.image().slice(0, 1 << 20);
    expect(await codeOf(() => store.close())).toBe("FENCED");
    expect(device.image().slice(0, 1 << 20)).toEqual(image);
    await younger.put("young", "kept");
    await younger.close();
  });

  test("acknowledges nothing of the group that was in flight, and its late writes harm nothing", async () => {
    const { device, store } = await older();
    // So much that its segments are in space that it may write to, and that nothing on the device names yet.
    for (let i = 0; i < 200; i++) store.set(`more ${i}`, `${i}`.padStart(20_000, "-"));
    await store.flush();
    const proceed = device.holdWrites();
    for (let i = 0; i < 30; i++) store.set(`late ${i}`, `${i}`.padStart(20_000, "+"));
    const late = store.flush();
    const refused = codeOf(() => late);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const younger = await open(viewOf(device), true);
    for (let i = 0; i < 100; i++) younger.set(`young ${i}`, `value ${i}`.repeat(1000));
    younger.flushSync();
    proceed();
    expect(await refused).toBe("FENCED");
    await younger.close();
    await store.close();
    const again = await open(viewOf(device));
    expect(again.count()).toBe(400);
    for (let i = 0; i < 100; i++) {
      expect(again.get(`key ${i}`)).toBe(`value ${i}`.repeat(40));
      expect(again.get(`young ${i}`)).toBe(`value ${i}`.repeat(1000));
    }
    await again.close();
  });

  test.each([
    ["a file", true],
    ["a block device", false],
  ])(
    "that commits while the younger one opens is FENCED, or what it acknowledged is there: in %s",
    async (_kind, growable) => {
      const device = new ImageDevice(growable ? 0 : 64 * 65_536 + 1_048_576, growable);
      const store = await open(device);
      await store.put("first", "1");
      const acknowledged = ["first"];
      const codes: string[] = [];
      const commit = (): void => {
        const key = `late ${acknowledged.length}`;
        try {
          store.set(key, "1");
          store.flushSync();
          acknowledged.push(key);
        } catch (error) {
          codes.push((error as { code: string }).code);
        }
      };
      // Each time that the younger one is about to read or to write, the older one commits.
      const view: BlockDevice = {
        ...viewOf(device),
        growable,
        read: (offset, target) => {
          commit();
          return device.read(offset, target);
        },
        write: (offset, source) => {
          commit();
          return device.write(offset, source);
        },
      };
      const younger = await open(view, true);
      expect(acknowledged.length).toBeGreaterThan(4);
      expect(codes[0]).toBe("FENCED");
      expect([...younger.keys()].filter((key) => acknowledged.includes(key)).sort()).toEqual([...acknowledged].sort());
      await younger.put("young", "kept");
      await younger.close();
      const again = await open({ ...viewOf(device), growable });
      for (const key of [...acknowledged, "young"]) expect(again.has(key), key).toBe(true);
      await again.close();
    },
  );
});

describe("an opening that fences one that may live on", () => {
  const ERRORS = ["DEVICE_READ", "DEVICE_WRITE", "DEVICE_SHRUNK", "FENCED", "CORRUPT", "NOT_A_STORE"];

  /** What a killed store has left. */
  async function killed(): Promise<Uint8Array> {
    const { device } = await older();
    return device.image();
  }

  async function expectAll(image: Uint8Array): Promise<void> {
    const store = await open(ImageDevice.of(image));
    for (let i = 0; i < 100; i++) expect(store.get(`key ${i}`)).toBe(`value ${i}`.repeat(40));
    await store.close();
  }

  test.each(["read", "write", "sync"] as const)("tells of each %s that fails, and loses nothing", async (fails) => {
    const image = await killed();
    let told = 0;
    for (let at = 0, reached = true; reached && at < 40; at++) {
      const device = ImageDevice.of(image);
      let count = 0;
      device.before = (operation) => {
        // A read is tried again twice.
        if (operation !== fails) return;
        const call = count++;
        if (fails === "read" ? call >= at && call < at + 3 : call === at) throw new Error("EIO: it fails");
      };
      try {
        const store = await open(device, true);
        await store.close().catch(() => undefined);
      } catch (error) {
        expect(ERRORS).toContain((error as { code: string }).code);
        told++;
      }
      reached = count > at;
      device.before = undefined;
      await expectAll(device.image());
    }
    expect(told).toBeGreaterThan(1);
  });

  test("goes by the other copy where one is torn, and by the other pair where both are", async () => {
    const image = await killed();
    for (const torn of [[0], [1], [2], [3], [0, 1], [2, 3]]) {
      const damaged = image.slice();
      for (const copy of torn) damaged.fill(0xee, copy * SUPERBLOCK_STRIDE + 100, copy * SUPERBLOCK_STRIDE + 600);
      // The pair that was written last is what says how far the store had come.
      const store = await open(ImageDevice.of(damaged), true).catch((error) => error as { code: string });
      if ("code" in store) {
        expect(store.code).toBe("CORRUPT");
        continue;
      }
      for (let i = 0; i < 100; i++) expect(store.get(`key ${i}`)).toBe(`value ${i}`.repeat(40));
      await store.close();
    }
  });

  test("is FENCED where another opener is ahead, before it or just now", async () => {
    const image = await killed();
    const ahead = (bytes: Uint8Array, copies: readonly number[]): void => {
      const whole = bytes.slice(0, 4 * SUPERBLOCK_STRIDE);
      changeSuperblocks(whole, (superblock) => {
        superblock.setUint32(FIELD.epoch, superblock.getUint32(FIELD.epoch, true) + 9, true);
        if (copies.length === 1) return;
        const generation = superblock.getBigUint64(FIELD.generation, true);
        superblock.setBigUint64(FIELD.generation, generation + 4n, true);
      });
      for (const copy of copies) {
        const from = copy * SUPERBLOCK_STRIDE;
        bytes.set(whole.subarray(from, from + 4096), from);
      }
    };
    // One copy of the pair that is not the newest says a later epoch: that opener is about to write the others.
    for (const copy of [1, 3]) {
      const bytes = image.slice();
      ahead(bytes, [copy]);
      const found = await open(ImageDevice.of(bytes), true).catch((error) => (error as { code: string }).code);
      if (typeof found !== "string") await found.close();
      else expect(["FENCED", "CORRUPT"]).toContain(found);
    }
    const device = ImageDevice.of(image);
    device.before = (operation) => {
      if (operation !== "sync") return;
      device.before = undefined;
      ahead(device.bytes, [0, 1, 2, 3]);
    };
    expect(await codeOf(() => open(device, true))).toBe("FENCED");
  });

  test("finds a device that shrank meanwhile", async () => {
    const image = await killed();
    const device = ImageDevice.of(image);
    device.before = (operation) => {
      if (operation !== "sync") return;
      device.before = undefined;
      device.resize(SUPERBLOCK_STRIDE * 4 + 65_536);
    };
    expect(await codeOf(() => open(device, true))).toBe("DEVICE_SHRUNK");
  });
});
