/** `repair`: what it saves of damage of each kind, what it calls proven, and that the damaged store keeps every byte. */
import { describe, expect, test } from "vitest";
import type { RepairOptions } from "../../hosts/repairing.ts";
import { KeyTable } from "../../store/repair/key-table.ts";
import type { RepairReport } from "../../store/repair/report.ts";
import type { Store } from "../../store/store.ts";
import {
  BLOCK,
  expectAll,
  expectCurrent,
  expectNoWrongValue,
  present,
  referenceStore,
  SEGMENT,
  SEGMENTS_OFFSET,
  SMALL,
} from "./damaged-store.ts";
import { errorOf, open, openTiny, repair, runSeed, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

const seed = runSeed();
const paths = scratchPaths();
const reference = await referenceStore(new Random(seed), 110);

interface Repaired {
  report: RepairReport;
  store: Store;
  unproven: Store | undefined;
}

/** Repairs an image, proves that it was not touched, and opens what came of it. */
async function repaired(image: Uint8Array, options: RepairOptions = {}): Promise<Repaired> {
  const device = ImageDevice.of(image);
  const output = new ImageDevice();
  const apart = new ImageDevice();
  const report = await repair(device, { output, unproven: apart, memoryBytes: SMALL.memoryBytes, ...options });
  expect(Buffer.compare(device.image(), image)).toBe(0);
  expect(device.events).toEqual([]);
  const store = await open(output.reopen(), SMALL);
  const unproven = report.keysUnproven > 0 ? await open(apart.reopen(), SMALL) : undefined;
  expect((await store.verify()).faults).toEqual([]);
  expect(store.count()).toBe(report.keysRepaired);
  expect(unproven?.count() ?? 0).toBe(report.keysUnproven);
  return { report, store, unproven };
}

async function close({ store, unproven }: Repaired): Promise<void> {
  await store.close();
  await unproven?.close();
}

function damagedAt(image: Uint8Array, places: readonly number[], kind: Kind, random: Random) {
  const damaged = image.slice();
  for (const at of places) {
    const bytes = damaged.subarray(at, at + BLOCK);
    if (kind === "zero") bytes.fill(0);
    else if (kind === "flip") {
      const byte = random.below(BLOCK);
      bytes[byte] = (bytes[byte] as number) ^ 0x5a;
    } else for (let i = 0; i < BLOCK; i++) bytes[i] = random.below(256);
  }
  return damaged;
}

type Kind = "zero" | "flip" | "noise";
const KINDS: readonly Kind[] = ["zero", "flip", "noise"];
const SUPERBLOCKS = Array.from({ length: SUPERBLOCK_COPIES }, (_, copy) => copy * SUPERBLOCK_STRIDE);
const BLOCKS = Array.from(
  { length: (reference.image.length - SEGMENTS_OFFSET) / BLOCK },
  (_, i) => SEGMENTS_OFFSET + i * BLOCK,
);

describe(`repair, seed ${seed}`, () => {
  test("a sound store comes out whole, with its versions", async () => {
    const found = await repaired(reference.image);
    expectAll(found.store, reference);
    expect(found.report).toMatchObject({
      complete: true,
      superblocksIntact: 4,
      keysLost: 0,
      keysUnproven: 0,
      gaps: [],
    });
    const before = await open(ImageDevice.of(reference.image), SMALL);
    expect(found.store.version).toBeGreaterThanOrEqual(before.version);
    found.store.set("more", "1");
    expect(found.store.version).toBeGreaterThan(before.version);
    await before.close();
    await close(found);
  });

  test("superblocks that are gone, one by one and all, cost nothing", async () => {
    const random = new Random(seed);
    for (const kind of ["zero", "flip", "noise"] as const) {
      for (const gone of [
        ...SUPERBLOCKS.map((at) => [at]),
        SUPERBLOCKS.slice(0, 2),
        SUPERBLOCKS.slice(2),
        SUPERBLOCKS,
      ]) {
        const found = await repaired(damagedAt(reference.image, gone, kind, random));
        expectAll(found.store, reference);
        expect(found.report).toMatchObject({
          complete: true,
          superblocksIntact: 4 - gone.length,
          superblockRebuilt: gone.length === 4,
        });
        await close(found);
      }
    }
  });

  test("each block in turn: no deleted key, no older value, and all the rest is saved", async () => {
    const random = new Random(seed);
    let harmless = 0;
    for (const [i, at] of BLOCKS.entries()) {
      const found = await repaired(damagedAt(reference.image, [at], KINDS[i % 3] as Kind, random));
      try {
        expectCurrent(found.store, reference);
        if (found.unproven !== undefined) expectNoWrongValue(found.unproven, reference);
        if (found.report.complete) {
          expectAll(found.store, reference);
          harmless++;
        } else {
          expect(found.report.gapCount + found.report.keysLost).toBeGreaterThan(0);
        }
        // What is not in the block is saved, and what a value of many blocks has in it is one key.
        const inBlock = keysIn(reference.image, at);
        for (const [key, value] of present(reference)) {
          if (inBlock.has(key) || found.store.get(key) === value || found.unproven?.get(key) === value) continue;
          if (!found.report.lost.some((lost) => new TextDecoder().decode(lost.key) === key))
            throw new Error(`${key} is gone`);
        }
        expect(found.report.keysLost).toBeLessThanOrEqual(2);
      } catch (error) {
        throw new Error(`block ${(at - SEGMENTS_OFFSET) / BLOCK}: ${(error as Error).message}`, { cause: error });
      }
      await close(found);
    }
    // Free space and garbage of the reference are harmless, and not all of it is.
    expect(harmless).toBeGreaterThan(0);
    expect(harmless).toBeLessThan(BLOCKS.length);
  });

  test("several blocks at random, with superblocks or without: never a wrong value, never more than was there", async () => {
    const random = new Random(seed + 1);
    for (let round = 0; round < 40; round++) {
      const places = Array.from({ length: random.between(2, 12) }, () => random.pick(BLOCKS));
      const all = random.chance(0.3);
      if (all) places.push(...SUPERBLOCKS);
      const image = damagedAt(reference.image, places, random.pick(KINDS), random);
      const found = await repaired(image).catch((error) => {
        throw new Error(`round ${round}, blocks ${places}: ${error.message}`, { cause: error });
      });
      expectNoWrongValue(found.store, reference);
      if (found.unproven !== undefined) expectNoWrongValue(found.unproven, reference);
      // Without a superblock nothing says where the log ended, so a lost end is a torn one.
      if (!all) expectCurrent(found.store, reference);
      if (!all && found.report.complete) expectAll(found.store, reference);
      await close(found);
    }
  });

  test("all segment headers are gone: what the log proves by itself is saved, the rest apart", async () => {
    const headers = BLOCKS.filter((at) => (at - SEGMENTS_OFFSET) % SEGMENT === 0);
    const found = await repaired(damagedAt(reference.image, headers, "zero", new Random(seed)));
    expectCurrent(found.store, reference);
    let saved = 0;
    for (const [key, value] of present(reference)) {
      if (found.store.get(key) === value || found.unproven?.get(key) === value) saved++;
    }
    expect(saved).toBe(present(reference).size);
    // A note that stands in the log as a record, and whose sum fits, proves all of it.
    if (found.report.complete) expectAll(found.store, reference);
    await close(found);
  });

  test("without superblocks and segment headers nothing proves a block: CORRUPT or NOT_A_STORE, and nothing is made", async () => {
    const headers = BLOCKS.filter((at) => (at - SEGMENTS_OFFSET) % SEGMENT === 0);
    const image = damagedAt(reference.image, [...headers, ...SUPERBLOCKS], "zero", new Random(seed));
    const output = new ImageDevice();
    const error = await errorOf(() => repair(ImageDevice.of(image), { output, memoryBytes: SMALL.memoryBytes }));
    expect(error.code).toBe("NOT_A_STORE");
    const damaged = damagedAt(reference.image, headers, "zero", new Random(seed));
    for (const at of SUPERBLOCKS) damaged.fill(1, at + 48, at + 64);
    const corrupt = await errorOf(() => repair(ImageDevice.of(damaged), { output, memoryBytes: SMALL.memoryBytes }));
    expect(corrupt.code).toBe("CORRUPT");
    expect(corrupt.message).toContain("Restore a backup");
    expect(output.events).toEqual([]);
  });

  test("compressed values are saved as they are, and what rots of them is lost or right", async () => {
    const random = new Random(seed + 7);
    const compressed = await referenceStore(random, 90, true, "lz4");
    const sound = await repaired(compressed.image);
    expectAll(sound.store, compressed);
    expect(sound.store.stats().compressedValueCount).toBeGreaterThan(5);
    await close(sound);
    const blocks = (compressed.image.length - SEGMENTS_OFFSET) / BLOCK;
    for (let round = 0; round < 8; round++) {
      const places = Array.from({ length: 3 }, () => SEGMENTS_OFFSET + random.below(blocks) * BLOCK);
      if (round === 0) places.push(...SUPERBLOCKS);
      const found = await repaired(damagedAt(compressed.image, places, random.pick(KINDS), random));
      expectNoWrongValue(found.store, compressed);
      if (found.unproven !== undefined) expectNoWrongValue(found.unproven, compressed);
      // Without a superblock nothing says where the log ended, so a lost end is a torn one.
      if (round > 0) expectCurrent(found.store, compressed);
      await close(found);
    }
  });

  test("a device that ends too early gives what is before its end", async () => {
    for (const share of [0.3, 0.6, 0.9]) {
      const segments = Math.floor((BLOCKS.length / 16) * share);
      const image = reference.image.slice(0, SEGMENTS_OFFSET + segments * SEGMENT + 3 * BLOCK);
      expect((await errorOf(() => open(ImageDevice.of(image), SMALL))).code).toBe("DEVICE_SHRUNK");
      const found = await repaired(image);
      expectCurrent(found.store, reference);
      if (found.unproven !== undefined) expectNoWrongValue(found.unproven, reference);
      await close(found);
    }
  });

  test("a deletion that was in the lost block does not bring its key back", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false } });
    for (const key of ["kept", "deleted", "overwritten"]) store.set(key, "first");
    store.flushSync();
    store.delete("deleted");
    store.set("overwritten", "second");
    store.flushSync();
    store.set("later", "value");
    store.flushSync();
    await store.close();
    const image = damagedAt(device.image(), [SEGMENTS_OFFSET + 2 * BLOCK], "flip", new Random(seed));
    expect((await errorOf(() => open(ImageDevice.of(image), SMALL))).message).toContain("cairn repair");
    const found = await repaired(image);
    // "later" may be of a batch that began in the lost block: nothing says that it did not.
    expect([...found.store.keys()]).toEqual([]);
    expect([...(found.unproven as Store).entries()]).toEqual([
      ["deleted", "first"],
      ["kept", "first"],
      ["later", "value"],
      ["overwritten", "first"],
    ]);
    expect(found.report).toMatchObject({
      complete: false,
      gapCount: 1,
      gaps: [{ kind: "blocks", blocks: 1, place: { segment: 0, block: 2, offset: SEGMENTS_OFFSET + 2 * BLOCK } }],
      doubts: { exposed: 4, batch: 0, older: 0, apart: 0 },
    });
    await close(found);
    const kept = await repaired(image, { keepExposed: true });
    expect([...kept.store.keys()]).toEqual(["deleted", "kept", "later", "overwritten"]);
    await close(kept);
  });

  test("a value that is not whole is lost and told; its older value is apart, and no other key is in doubt", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false } });
    store.set("large", "old".repeat(1000));
    store.set("other", "value");
    store.set("large", "n".repeat(30_000));
    await store.close();
    const image = damagedAt(device.image(), [SEGMENTS_OFFSET + 4 * BLOCK], "noise", new Random(seed));
    const found = await repaired(image);
    expect([...found.store.entries()]).toEqual([["other", "value"]]);
    expect([...(found.unproven as Store).entries()]).toEqual([["large", "old".repeat(1000)]]);
    expect(found.report).toMatchObject({ complete: false, keysLost: 1, gapCount: 0, doubts: { older: 1 } });
    expect(found.report.lost[0]?.key).toEqual(new TextEncoder().encode("large"));
    await close(found);
  });

  test("half a batch is not served as if it were whole", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto: false } });
    await store.batch(["a", "b", "c"].map((key) => ({ type: "set" as const, key, value: key.repeat(5000) })));
    store.set("later", "value");
    await store.close();
    const image = damagedAt(device.image(), [SEGMENTS_OFFSET + 2 * BLOCK], "zero", new Random(seed));
    for (const keepExposed of [false, true]) {
      const found = await repaired(image, { keepExposed });
      expect(found.store.has("a") || found.store.has("b") || found.store.has("c")).toBe(false);
      expect(found.store.get("later")).toBe("value");
      expect(found.report.doubts.batch).toBe(1);
      await close(found);
    }
  });

  test("records keep their bytes: flags, expiry and timestamp with them", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, SMALL);
    store.set("key", "value");
    await store.close();
    const image = device.image();
    const at = SEGMENTS_OFFSET + BLOCK;
    const view = new DataView(image.buffer, at, BLOCK);
    // The record once more, as a version that knows expiry and timestamps writes it.
    const text = image.slice(at + 72, at + 80);
    view.setUint8(63, view.getUint8(63) | 3);
    view.setBigUint64(72, 1_900_000_000_000n, true);
    view.setBigUint64(80, 1_700_000_000_000n, true);
    image.set(text, at + 88);
    view.setUint16(40, 40, true);
    const facts = new DataView(image.buffer, 0, BLOCK);
    const high = facts.getBigUint64(56, true);
    const check = facts.getBigUint64(48, true) ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n));
    view.setBigUint64(0, xxh64(image.subarray(at + 16, at + BLOCK), check), true);
    const output = new ImageDevice();
    const report = await repair(ImageDevice.of(image), { output, memoryBytes: SMALL.memoryBytes });
    expect(report).toMatchObject({ complete: true, keysRepaired: 1, recordsRead: 1 });
    const record = image.subarray(at + 56, at + 56 + 40);
    expect(Buffer.from(output.image()).includes(Buffer.from(record))).toBe(true);
  });

  test("noise ends with an error or a report, in bounded time and memory", async () => {
    const random = new Random(seed + 2);
    for (let round = 0; round < 25; round++) {
      const image = reference.image.slice();
      const count = random.between(1, 400);
      for (let i = 0; i < count; i++) image[random.below(image.length)] = random.below(256);
      for (let i = 0; i < 3; i++) {
        const from = random.below(image.length / BLOCK) * BLOCK;
        image.copyWithin(random.below(image.length / BLOCK) * BLOCK, from, from + BLOCK * random.between(1, 8));
      }
      const start = performance.now();
      const found = await repaired(image).catch((error) => {
        if (!["CORRUPT", "NOT_A_STORE", "UNSUPPORTED_FORMAT"].includes(error.code)) throw error;
        return undefined;
      });
      expect(performance.now() - start).toBeLessThan(20_000);
      if (found === undefined) continue;
      expectNoWrongValue(found.store, reference);
      if (found.unproven !== undefined) expectNoWrongValue(found.unproven, reference);
      await close(found);
    }
  });

  test("what is found is counted: beyond memoryBytes it is OUT_OF_MEMORY", () => {
    const table = new KeyTable(100_000, () => 0);
    const fill = (): void => {
      for (let i = 0; i < 10_000; i++) table.entryOf(new TextEncoder().encode(`key ${i}`));
    };
    expect(fill).toThrow(expect.objectContaining({ code: "OUT_OF_MEMORY" }));
    expect(table.count).toBeGreaterThan(1000);
  });

  test("a file is repaired to another one beside it, and only while nobody has it open", async () => {
    const path = paths();
    const store = await open(path, SMALL);
    store.set("key", "value");
    expect((await errorOf(() => repair(path, { memoryBytes: SMALL.memoryBytes }))).code).toBe("LOCKED");
    await store.close();
    const report = await repair(path, { memoryBytes: SMALL.memoryBytes });
    expect(report).toMatchObject({ complete: true, keysRepaired: 1, output: `${path}.repaired` });
    for (const each of [path, `${path}.repaired`]) {
      const again = await open(each, SMALL);
      expect([...again.entries()]).toEqual([["key", "value"]]);
      await again.close();
    }
    expect((await errorOf(() => repair(path, { memoryBytes: SMALL.memoryBytes }))).code).toBe("INVALID_ARGUMENT");
  });

  test("wrong arguments are refused", async () => {
    const source = (): ImageDevice => ImageDevice.of(reference.image);
    const codeOf = async (target: unknown, options: unknown): Promise<string> =>
      (await errorOf(() => repair(target as string, options as RepairOptions))).code;
    const output = new ImageDevice();
    expect(await codeOf(source(), {})).toBe("INVALID_ARGUMENT");
    expect(await codeOf(source(), { output, inPlace: true })).toBe("INVALID_ARGUMENT");
    expect(await codeOf(source(), { output, nothing: 1 })).toBe("INVALID_ARGUMENT");
    expect(await codeOf(source(), { output: source() })).toBe("INVALID_ARGUMENT");
    expect(await codeOf(":memory:", {})).toBe("INVALID_ARGUMENT");
    expect(await codeOf(new ImageDevice(), { output })).toBe("NOT_A_STORE");
  });
});

/** The keys whose records begin in a block, by its bytes. */
function keysIn(image: Uint8Array, at: number): Set<string> {
  const text = new TextDecoder("latin1").decode(image.subarray(at, at + BLOCK));
  return new Set([...present(reference).keys()].filter((key) => text.includes(key)));
}
