/** Packed checkpoints: of stores opened with compression, and what opening makes of them whatever they hold. */
import { describe, expect, test } from "vitest";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { OpenOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { backupOf, restored as restoredFrom } from "./backups.ts";
import { openTiny, repair, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import {
  checkpointBlocks,
  forgeCheckpoint,
  newestSuperblock,
  packedSizeAt,
  sealBlock,
  versionOf,
} from "./kept-checkpoints.ts";
import { expectSame } from "./map-model.ts";
import { Random } from "./random.ts";
import { changeSuperblocks, FIELD, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "./superblock.ts";

const seed = runSeed();
const BLOCK = 4096;
const PAYLOAD = 56;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * 1_048_576 };
const MANUAL = { ...SMALL, durability: "manual" } as const;
const LZ4 = { ...MANUAL, compression: "lz4" } as const;
const PLAIN = { ...MANUAL, compression: "none" } as const;
/** At close, whatever was written. */
const AT_CLOSE: CheckpointPace = { logBytes: 1, liveThousandths: 0, auto: false };
/** All the time, a block at a step. */
const OFTEN: CheckpointPace = { logBytes: 1, liveThousandths: 0, stepBlocks: 1 };

/** Keys that get smaller by different shares: numbers, paths, what repeats, noise, and long ones. */
const KEYS: Readonly<Record<string, (i: number, random: Random) => string>> = {
  numbered: (i) => `user:${String(i).padStart(9, "0")}`,
  paths: (i) => `tenant-${i % 7}/projects/${(i * 7919) % 97}/files/${i}/meta`,
  repeated: (i) => `${String(i).padStart(6, "0")}${"=".repeat(i % 120)}`,
  noise: (i, random) => `${i}${Array.from({ length: 4 }, () => random.u32().toString(36)).join("")}`,
  long: (i) => `${String((i * 7919) % 1000).padStart(3, "0")}${String(i % 5).repeat(1500)}`,
};

async function filled(options: OpenOptions, keys: Iterable<string>, device = new ImageDevice()): Promise<ImageDevice> {
  const store = await openTiny(device.reopen(), options, 16, AT_CLOSE);
  let i = 0;
  for (const key of keys) store.set(key, `${i++}`);
  await store.close();
  return device;
}

async function expectSound(store: Store): Promise<void> {
  expect((await store.verify()).faults).toEqual([]);
}

function keysOf(kind: string, count: number): string[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i) => (KEYS[kind] as (i: number, random: Random) => string)(i, random));
}

/** Blocks of the newer checkpoint that hold entries: packed ones, and others. */
function shares(image: Uint8Array): { packed: number; plain: number } {
  const [newer] = checkpointBlocks(image);
  const entries = newer.slice(0, -1).filter((at) => (image[at + 42]! & 2) === 0);
  const packed = entries.filter((at) => packedSizeAt(image, at) > 0).length;
  return { packed, plain: entries.length - packed };
}

describe(`packed checkpoints, CAIRN_SEED=${seed}`, () => {
  test.each(Object.keys(KEYS))("of %s keys open to the same store, in fewer blocks or as many", async (kind) => {
    const keys = keysOf(kind, kind === "long" ? 120 : 2000);
    const model = new Map(keys.map((key, i) => [key, `${i}`]));
    const bytes: number[] = [];
    for (const options of [PLAIN, LZ4]) {
      const device = await filled(options, keys);
      const image = device.image();
      const { packed, plain } = shares(image);
      expect(plain + packed).toBeGreaterThan(3);
      const isPacked = versionOf(image, checkpointBlocks(image)[0]) === 2;
      expect(isPacked).toBe(packed > 0);
      expect(newestSuperblock(image).getBigUint64(FIELD.incompatible, true)).toBe(isPacked ? 1n : 0n);
      if (options === PLAIN) expect(packed).toBe(0);
      // With the option and without it, to be written and only to be read.
      for (const reading of [MANUAL, { ...MANUAL, readOnly: true }, LZ4]) {
        const store = await openTiny(device.reopen(), reading, 16, { auto: false });
        expect(store.stats()).toMatchObject({ checkpointFallbackCount: 0, checkpointCount: 1 });
        expectSame(store, model);
        await expectSound(store);
        if (reading === MANUAL) bytes.push(store.stats().checkpointBytes);
        await store.close();
      }
    }
    const [plain, packed] = bytes as [number, number];
    expect(packed).toBeLessThanOrEqual(plain);
    if (kind !== "noise") expect(packed).toBeLessThan(plain * (kind === "numbered" ? 0.8 : 0.9));
  });

  test("made and opened from all the time keep what a map keeps", async () => {
    const random = new Random(seed + 1);
    const device = new ImageDevice();
    const model = new Map<string, string>();
    let durable = new Map<string, string>();
    let store = await openTiny(device, LZ4, 16, OFTEN);
    const kinds = Object.keys(KEYS).filter((kind) => kind !== "long");
    const names = kinds.flatMap((kind) => keysOf(kind, 500));
    let packed = 0;
    for (let i = 0; i < 4000; i++) {
      const key = random.pick(names);
      const choice = random.below(1000);
      if (choice < 800) {
        const value = `${i}`.padEnd(random.pick([4, 90, 700]), "v");
        store.set(key, value);
        model.set(key, value);
      } else if (choice < 960) {
        expect(store.delete(key)).toBe(model.delete(key));
      } else if (choice < 990) {
        store.flushSync();
        durable = new Map(model);
      } else if (choice < 995) {
        const crashed = await openTiny(ImageDevice.of(device.image()), LZ4, 16, OFTEN);
        // What was flushed is there; what came later may be, in its order.
        if (store.stats().durableVersion === store.stats().version) expectSame(crashed, model);
        for (const name of names.slice(0, 50)) {
          if (durable.get(name) === model.get(name)) expect(crashed.get(name)).toBe(durable.get(name));
        }
        expect(crashed.stats().checkpointFallbackCount).toBe(0);
        await expectSound(crashed);
        await crashed.close();
      } else {
        await store.close();
        if (shares(device.image()).packed > 0) packed++;
        const options = random.chance(0.7) ? LZ4 : PLAIN;
        store = await openTiny(device.reopen(), options, 16, OFTEN);
        expectSame(store, model);
        expect(store.stats().checkpointFallbackCount).toBe(0);
        durable = new Map(model);
      }
      if (i % 3 === 0) await store.compact({ maxMs: 1e-9 });
    }
    await expectSound(store);
    await store.close();
    const last = await openTiny(device.reopen(), MANUAL, 16, { auto: false });
    expectSame(last, model);
    await last.close();
    expect(packed).toBeGreaterThan(2);
  });

  test("the mark is in each superblock that names one", async () => {
    const device = new ImageDevice();
    const named = (): { packed: number; plain: number } => {
      const found = { packed: 0, plain: 0 };
      const { bytes } = device;
      for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        const view = new DataView(bytes.buffer, bytes.byteOffset + copy * SUPERBLOCK_STRIDE, BLOCK);
        const marked = view.getBigUint64(FIELD.incompatible, true) === 1n;
        for (const root of [176, 208]) {
          if (view.getUint16(root, true) === 0) continue;
          const block = view.getUint16(root + 2, true);
          const at = 1_048_576 + (view.getUint32(root + 4, true) * 16 + block) * BLOCK;
          const summary = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK);
          // Its segment was used anew: no newer superblock names it.
          if (summary.getBigUint64(0, true) !== view.getBigUint64(root + 24, true)) continue;
          const isPacked = summary.getUint32(PAYLOAD + 4, true) === 2;
          if (isPacked && !marked) throw new Error("a packed checkpoint is named without the mark");
          found[isPacked ? "packed" : "plain"]++;
        }
      }
      return found;
    };
    let looks = 0;
    const store = await openTiny(device, { ...SMALL, compression: "lz4", flushIntervalMs: 5 }, 16, OFTEN);
    device.before = (operation) => {
      if (operation !== "sync") return;
      looks++;
      named();
    };
    for (const [i, key] of keysOf("numbered", 4000).entries()) {
      store.set(key, `${i}`);
      if (i % 500 !== 499) continue;
      await store.flush();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await store.close();
    expect(looks).toBeGreaterThan(20);
    expect(named().packed).toBeGreaterThan(0);
  });

  /** A store with two checkpoints, the newer one packed, and what it holds. */
  async function twoKept(older: OpenOptions): Promise<{ image: Uint8Array; model: Map<string, string> }> {
    const device = await filled(older, keysOf("paths", 800));
    await filled(LZ4, keysOf("numbered", 2000), device);
    const model = new Map<string, string>();
    for (const [i, key] of keysOf("paths", 800).entries()) model.set(key, `${i}`);
    for (const [i, key] of keysOf("numbered", 2000).entries()) model.set(key, `${i}`);
    const image = device.image();
    expect(shares(image).packed).toBeGreaterThan(5);
    expect(versionOf(image, checkpointBlocks(image)[1])).toBe(older === LZ4 ? 2 : 1);
    return { image, model };
  }

  async function expectFallback(image: Uint8Array, model: Map<string, string>, what: string): Promise<void> {
    const store = await openTiny(ImageDevice.of(image), MANUAL, 16, { auto: false });
    expect(store.stats().checkpointFallbackCount, what).toBe(1);
    expectSame(store, model);
    await store.close();
  }

  test.each([
    ["packed", LZ4],
    ["plain", PLAIN],
  ] as const)("damaged anywhere give way to the older one, which is %s", async (_name, older) => {
    const random = new Random(seed + 2);
    const { image, model } = await twoKept(older);
    const [newer] = checkpointBlocks(image);
    for (const at of newer) {
      const damaged = image.slice();
      damaged[at + random.below(BLOCK)]! ^= 1 << random.below(8);
      await expectFallback(damaged, model, `at ${at}`);
    }
  });

  test("blocks that no writer made, under checks that hold, give way to the older one", async () => {
    const { image, model } = await twoKept(PLAIN);
    const size = (view: DataView): number => view.getUint16(PAYLOAD + 6, true);
    const used = (view: DataView): number => view.getUint16(40, true);
    const wrongs: [string, (view: DataView, blocks: DataView[], summary: DataView) => void][] = [
      ["a byte more", (view) => view.setUint16(PAYLOAD + 6, size(view) + 1, true)],
      ["a byte less", (view) => view.setUint16(PAYLOAD + 6, size(view) - 1, true)],
      ["as much as can be said", (view) => view.setUint16(PAYLOAD + 6, 0xffff, true)],
      ["more than may be", (view) => view.setUint16(PAYLOAD + 6, 32_769, true)],
      ["one byte", (view) => view.setUint16(PAYLOAD + 6, 1, true)],
      ["said to be as it is", (view) => view.setUint16(PAYLOAD + 6, 0, true)],
      ["the LZ4 block cut off", (view) => view.setUint16(40, used(view) - 1, true)],
      ["no LZ4 block at all", (view) => view.setUint16(40, 8, true)],
      ["not even a head", (view) => view.setUint16(40, 7, true)],
      ["a count that does not end", (view) => new Uint8Array(view.buffer, view.byteOffset + 64, 3900).fill(255)],
      ["zeros", (view) => new Uint8Array(view.buffer, view.byteOffset + 64, 3900).fill(0)],
      ["the version of plain ones", (_view, _blocks, summary) => summary.setUint32(PAYLOAD + 4, 1, true)],
      ["a version of later", (_view, _blocks, summary) => summary.setUint32(PAYLOAD + 4, 3, true)],
      ["more keys than fit", (_view, _blocks, summary) => summary.setUint32(PAYLOAD + 60, 1, true)],
    ];
    const sound = image.slice();
    forgeCheckpoint(sound, () => undefined);
    expect(sound).toEqual(image);
    for (const [what, change] of wrongs) {
      const forged = image.slice();
      forgeCheckpoint(forged, (blocks, summary) => {
        const packed = blocks.filter((view) => size(view) > 0);
        change(packed[packed.length >> 1] as DataView, blocks, summary);
      });
      await expectFallback(forged, model, what);
    }
  });

  test("a packed one in a store without the mark is not believed", async () => {
    const { image, model } = await twoKept(PLAIN);
    changeSuperblocks(image, (superblock) => superblock.setBigUint64(FIELD.incompatible, 0n, true));
    await expectFallback(image, model, "without the mark");
  });

  test("noise under checks that hold is refused or read within its bounds, by opening and by verify", async () => {
    const random = new Random(seed + 3);
    const { image } = await twoKept(LZ4);
    let refused = 0;
    for (let round = 0; round < 25; round++) {
      const forged = image.slice();
      forgeCheckpoint(forged, (blocks) => {
        const block = random.pick(blocks);
        for (let i = random.between(1, 4); i > 0; i--) {
          block.setUint8(random.between(PAYLOAD, BLOCK - 1), random.pick([0, 255, random.below(256)]));
        }
      });
      try {
        const store = await openTiny(ImageDevice.of(forged), { ...MANUAL, readOnly: true }, 16, { auto: false });
        refused += store.stats().checkpointFallbackCount;
        // It may hold other keys now, whose records are not there.
        await store.verify();
        await store.close();
      } catch (error) {
        expect((error as { code?: string }).code).toBe("CORRUPT");
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(8);
  });

  test("verify names the block that does not decompress", async () => {
    const { image } = await twoKept(LZ4);
    const device = ImageDevice.of(image);
    const store = await openTiny(device, MANUAL, 16, { auto: false });
    await expectSound(store);
    const { bytes } = device;
    const at = checkpointBlocks(bytes)[0].find((offset) => packedSizeAt(bytes, offset) > 4032) as number;
    const block = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK);
    block.setUint16(PAYLOAD + 6, packedSizeAt(bytes, at) - 1, true);
    sealBlock(block, newestSuperblock(bytes));
    const { faults } = await store.verify();
    expect(faults.map(({ kind, place }) => [kind, place?.offset])).toEqual([["checkpoint", at]]);
    await store.close();
  });

  test("a backup carries them, and a repair without superblocks does without", async () => {
    const { image, model } = await twoKept(LZ4);
    const source = await openTiny(ImageDevice.of(image), PLAIN, 16, { auto: false });
    const { bytes } = await backupOf(source);
    await source.close();
    const restored = await restoredFrom([bytes], new ImageDevice(), { auto: false });
    expect(restored.stats()).toMatchObject({ checkpointFallbackCount: 0, checkpointKeyCount: model.size });
    expectSame(restored, model);
    await restored.close();
    const damaged = image.slice();
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      damaged.fill(0, copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK);
    }
    const output = new ImageDevice();
    await repair(ImageDevice.of(damaged), { output, unproven: new ImageDevice(), memoryBytes: SMALL.memoryBytes });
    const repaired = await openTiny(output.reopen(), MANUAL, 16, { auto: false });
    expectSame(repaired, model);
    await repaired.close();
  });
});
