/**
 * Forged images: blocks with right checks that say what cannot be. Each is refused with an error that says so, or
 * opens; then all of it can be read, verified, inspected, closed and repaired, or is told to be damaged. Nothing traps and nothing goes on
 * for ever (G4).
 */
import { describe, expect, test } from "vitest";
import { Inspector } from "../../store/inspect.ts";
import type { Store } from "../../store/store.ts";
import { AT, BLOCK, FORGED_OPTIONS, Forgery, richImage, SEGMENT_BLOCKS, SEGMENTS_OFFSET, setting } from "./forging.ts";
import { errorOf, host, openTiny, repair, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
/** One in so many of the fields is forged, and so many images at random; with 1, all fields. */
const SHARE = setting("CAIRN_FORGED_SHARE", 23);
const FORGERIES = setting("CAIRN_FORGERIES", 24);
const OPTIONS = { ...FORGED_OPTIONS, durability: "manual", compaction: { auto: false } } as const;

/** What may be said of an image that was tampered with. */
const CODES = new Set([
  "CORRUPT",
  "NOT_A_STORE",
  "UNSUPPORTED_FORMAT",
  "ENGINE_MISMATCH",
  "DEVICE_SHRUNK",
  "OUT_OF_MEMORY",
  "NO_SPACE",
  "POISONED",
  "OUT_OF_RANGE",
]);

/** Runs a step: whether it was done, or refused for the image's sake. Everything else is thrown. */
async function attempt<T>(step: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await step();
  } catch (error) {
    const { code, cause } = error as { code?: string; cause?: unknown };
    if (code === undefined || !CODES.has(code)) throw error;
    if (cause instanceof WebAssembly.RuntimeError) throw cause;
    return undefined;
  }
}

/** Reads all that a store gives, in each way. */
async function readAll(store: Store): Promise<void> {
  const keys: string[] = [];
  await attempt(() => void keys.push(...store.keys()));
  for (const key of keys) await attempt(() => store.getEntry(key));
  await attempt(() => [...store.entries({ reverse: true })]);
  await attempt(() => store.getMany(keys));
}

/** Does all that can be done with an image: whether it could be opened. */
async function tryAll(image: Uint8Array): Promise<boolean> {
  const reader = await attempt(() => openTiny(ImageDevice.of(image), { ...OPTIONS, readOnly: true }));
  if (reader !== undefined) {
    await readAll(reader);
    await attempt(() => reader.verify());
    await reader.close();
  }
  const device = ImageDevice.of(image);
  const store = await attempt(() => openTiny(device, OPTIONS));
  if (store !== undefined) {
    await attempt(() => store.verify());
    await readAll(store);
    await attempt(() => store.set("more", "m".repeat(3000)));
    await attempt(() => store.delete("key 1".padEnd(8, "k")));
    await attempt(() => store.compact({ full: true }));
    await attempt(() => store.flush());
    await attempt(() => store.close());
  }
  const looked = ImageDevice.of(image);
  const inspector = await attempt(async () =>
    Inspector.create(looked, await host(), OPTIONS.memoryBytes, () => looked.close()),
  );
  if (inspector !== undefined) {
    inspector.mount();
    inspector.superblocks();
    for (let i = 0; i < Math.min(inspector.segmentCount, 64); i++) await attempt(() => inspector.segment(i));
    await attempt(() => inspector.find(new TextEncoder().encode("large")));
    inspector.close();
  }
  const [output, unproven] = [new ImageDevice(), new ImageDevice()];
  await attempt(() => repair(ImageDevice.of(image), { output, unproven, memoryBytes: OPTIONS.memoryBytes }));
  return store !== undefined;
}

/** What a field of so many bytes could be made to say. */
function forgedValue(random: Random, present: bigint, bytes: number): bigint {
  const word = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  const values = [
    0n,
    1n,
    -1n,
    present + 1n,
    present - 1n,
    present + 8n,
    present << 1n,
    present ^ (1n << BigInt(random.below(bytes * 8))),
    BigInt(random.below(256)),
    word,
  ];
  return BigInt.asUintN(bytes * 8, random.pick(values));
}

function forgeField(random: Random, block: DataView, at: number, bytes: number): void {
  if (at < 0 || at + bytes > block.byteLength) return;
  let present = 0n;
  for (let i = bytes - 1; i >= 0; i--) present = (present << 8n) | BigInt(block.getUint8(at + i));
  let value = forgedValue(random, present, bytes);
  for (let i = 0; i < bytes; i++, value >>= 8n) block.setUint8(at + i, Number(value & 255n));
}

const FIELDS_OF_BLOCK: readonly (readonly [number, number])[] = [
  [AT.generation, 8],
  [AT.deviceBlock, 8],
  [AT.group, 8],
  [AT.used, 2],
  [AT.flags, 2],
  [AT.first, 2],
  [AT.trailer, 8],
  [AT.trailer + 16, 8],
  [AT.trailer + 24, 8],
];
const FIELDS_OF_RECORD: readonly (readonly [number, number])[] = [
  [0, 4],
  [4, 2],
  [6, 1],
  [7, 1],
  [8, 6],
  [16, 8],
  [16, 4],
  [20, 4],
  [24, 4],
];
/** Behind a block's header: of the segment's, then of its note. */
const FIELDS_OF_SEGMENT: readonly (readonly [number, number])[] = [
  [0, 4],
  [4, 4],
  [8, 8],
  [16, 8],
  [24, 4],
  [28, 4],
  [32, 8],
  [64, 8],
  [72, 8],
  [80, 4],
  [88, 8],
  [96, 8],
];
const FIELDS_OF_SUMMARY: readonly (readonly [number, number])[] = [
  ...[0, 4, 24, 28, 88, 92].map((at) => [at, 4] as const),
  ...[8, 16, 32, 40, 48, 56, 64, 72, 80, 96].map((at) => [at, 8] as const),
];
const FIELDS_OF_SUPERBLOCK: readonly (readonly [number, number])[] = [
  ...[16, 20, 80, 84, 88, 92, 96, 100, 160].map((at) => [at, 4] as const),
  ...[24, 32, 40, 48, 64, 72, 104, 112, 120, 128, 152, 184, 192, 200, 216, 512, 520, 528].map((at) => [at, 8] as const),
  [176, 2],
  [178, 2],
  [180, 4],
  [208, 2],
];

/** Forges one field of an image: what it was, for the message. */
function forge(random: Random, forgery: Forgery): string {
  const inBlock = (at: number, [field, bytes]: readonly [number, number]) =>
    forgery.change(at, (block) => forgeField(random, block, field, bytes));
  const choice = random.below(10);
  if (choice < 1) {
    const [field, bytes] = random.pick(FIELDS_OF_SUPERBLOCK);
    forgery.changeSuperblocks((superblock) => forgeField(random, superblock, field, bytes));
    return `superblock ${field}`;
  }
  const segment = random.below(forgery.segmentCount);
  const at = forgery.segmentAt(segment) + random.below(SEGMENT_BLOCKS) * BLOCK;
  const place = `block ${(at - SEGMENTS_OFFSET) / BLOCK} of kind ${forgery.kindOf(segment)}`;
  if (choice < 3) {
    const [field, bytes] = random.pick(FIELDS_OF_SEGMENT);
    inBlock(forgery.segmentAt(segment), [AT.payload + field, bytes]);
    return `segment ${segment} of kind ${forgery.kindOf(segment)}, ${field}`;
  }
  if (choice < 5) {
    const field = random.pick(FIELDS_OF_BLOCK);
    inBlock(at, field);
    return `${place}, ${field[0]}`;
  }
  if (choice < 8) {
    const [checkpoints, records] = [random.chance(0.4), forgery.recordsOf(at)];
    const blocks = checkpoints ? forgery.checkpointBlocks(random.below(2)) : [];
    if (blocks.length > 0) {
      const block = random.chance(0.3) ? (blocks.at(-1) as number) : random.pick(blocks);
      const isSummary = block === blocks.at(-1);
      const [field, bytes] = isSummary ? random.pick(FIELDS_OF_SUMMARY) : [random.below(random.pick([24, 4000])), 1];
      forgery.changeCheckpoint(block, (view) => forgeField(random, view, AT.payload + field, bytes));
      return `checkpoint, block ${(block - SEGMENTS_OFFSET) / BLOCK}, ${field}`;
    }
    if (records.length > 0) {
      const record = random.pick(records) - at;
      const [field, bytes] = random.pick(FIELDS_OF_RECORD);
      inBlock(at, [record + field, bytes]);
      return `${place}, record at ${record}, ${field}`;
    }
  }
  const byte = random.below(BLOCK - AT.payload);
  inBlock(at, [AT.payload + byte, 1]);
  return `${place}, byte ${byte}`;
}

/** A forgery of one field: where its block lies, and how it is sealed. */
interface Place {
  name: string;
  at: number;
  field: number;
  bytes: number;
  isCheckpoint: boolean;
}

/** Fields of an image's blocks: of every structure, of records and entries of each kind once. */
function placesOf(forgery: Forgery): Place[] {
  const places: Place[] = [];
  const add = (name: string, at: number, fields: Iterable<readonly [number, number]>, isCheckpoint = false): void => {
    for (const [field, bytes] of fields) places.push({ name, at, field, bytes, isCheckpoint });
  };
  const behind = (from: number, fields: readonly (readonly [number, number])[]) =>
    fields.map(([field, bytes]) => [from + field, bytes] as const);
  const kinds = new Set<string>();
  for (let segment = 0; segment < forgery.segmentCount; segment++) {
    const start = forgery.segmentAt(segment);
    const kind = forgery.kindOf(segment);
    if (kind < 1 || kind > 3) continue;
    if (segment % 3 === 0 || !kinds.has(`segment ${kind}`)) {
      kinds.add(`segment ${kind}`);
      add(`header of a segment of kind ${kind}`, start, behind(AT.payload, FIELDS_OF_SEGMENT));
      for (const block of [1, 2, 9]) add(`block ${block} of kind ${kind}`, start + block * BLOCK, FIELDS_OF_BLOCK);
    }
    if (kind === 3) continue;
    for (let block = 1; block < SEGMENT_BLOCKS; block++) {
      const at = start + block * BLOCK;
      for (const record of forgery.recordsOf(at)) {
        const what = `record of kind ${forgery.view.getUint8(record + 6)}, flags ${forgery.view.getUint8(record + 7) & ~12}`;
        const name = `${what}, in a segment of kind ${kind}`;
        if (record + 28 > at + BLOCK || kinds.has(name)) continue;
        kinds.add(name);
        add(name, at, behind(record - at, FIELDS_OF_RECORD));
      }
    }
  }
  for (const which of [0, 1]) {
    const blocks = forgery.checkpointBlocks(which);
    const summary = blocks.at(-1);
    if (summary === undefined) continue;
    add("summary of a checkpoint", summary, behind(AT.payload, FIELDS_OF_SUMMARY), true);
    add("summary of a checkpoint", summary, FIELDS_OF_BLOCK, true);
    for (const at of [blocks[0], blocks[1], blocks.at(-2)]) {
      if (at === undefined || at === summary) continue;
      const head = Array.from({ length: 56 }, (_, i) => [AT.payload + i, 1] as const);
      add("entries of a checkpoint", at, [...head, [AT.used, 2], [AT.flags, 2]], true);
    }
    for (const at of blocks.slice(0, -1)) {
      // Where a value has several parts, and where what is known of segments begins.
      for (let i = AT.payload + 8; i < BLOCK - 32; i++) {
        const word = forgery.view.getUint32(at + i, true);
        const isExtents = (word & 0xffff) === 4 && word >>> 16 > 1 && word >>> 16 < 20;
        const isSegment = (word & 0xffff00ff) === 32 && ((word >>> 8) & 255) < 3 && ((word >>> 8) & 255) > 0;
        if (!isExtents && !isSegment) continue;
        add(
          isExtents ? "parts" : "segment",
          at,
          Array.from({ length: 32 }, (_, j) => [i + j, 1] as const),
          true,
        );
        break;
      }
    }
  }
  return places;
}

/** Forges a field to each of some values, in a copy of the image. */
function* forgeriesOf(image: Uint8Array, places: readonly Place[]): Generator<[string, Forgery]> {
  let number = 0;
  for (const { name, at, field, bytes, isCheckpoint } of places) {
    for (const value of [0, 1, 2, 3]) {
      if (number++ % SHARE !== seed % SHARE) continue;
      const forgery = new Forgery(image);
      const change = (block: DataView): void => {
        for (let i = 0; i < bytes; i++) {
          const byte = block.getUint8(field + i);
          const forged = [0, 255, i === 0 ? byte + 1 : byte, i === bytes - 1 ? byte ^ 64 : byte][value] as number;
          block.setUint8(field + i, forged);
        }
      };
      if (isCheckpoint) forgery.changeCheckpoint(at, change);
      else forgery.change(at, change);
      yield [`${name}, field ${field}, value ${value}`, forgery];
    }
  }
}

describe(`forged images, seed ${seed}`, () => {
  for (const compression of ["none", "lz4"] as const) {
    test(`are refused, or told to be damaged, or read: nothing traps, nothing hangs (compression ${compression})`, async () => {
      const random = new Random(seed);
      const image = await richImage(random, compression);
      expect(await tryAll(image)).toBe(true);
      let opened = 0;
      const count = FORGERIES / 2;
      for (let round = 0; round < count; round++) {
        const forgery = new Forgery(image);
        const what: string[] = [];
        for (let i = random.pick([1, 1, 1, 2, 5]); i > 0; i--) what.push(forge(random, forgery));
        try {
          if (await tryAll(forgery.image)) opened++;
        } catch (error) {
          throw new Error(`round ${round}: ${what.join("; ")}: ${(error as Error).message}`, { cause: error });
        }
      }
      // Most fields are not looked at by an opening, so some of the images open.
      expect(opened).toBeGreaterThan(0);
    });
  }

  for (const compression of ["none", "lz4"] as const) {
    test(`are refused or read, whichever field of whichever structure says what it should not (${compression})`, async () => {
      const image = await richImage(new Random(seed), compression);
      const whole = new Forgery(image);
      const places = placesOf(whole);
      expect(places.length).toBeGreaterThan(300);
      const live = ImageDevice.of(image);
      const store = await openTiny(live, { ...OPTIONS, cacheBytes: 0 });
      const before = live.image();
      const keys = [...store.keys()];
      for (const [what, forgery] of forgeriesOf(image, places)) {
        try {
          for (const readOnly of [true, false]) {
            const opened = await attempt(() => openTiny(ImageDevice.of(forgery.image), { ...OPTIONS, readOnly }));
            await attempt(() => opened?.count());
            await attempt(() => opened?.close());
          }
        } catch (error) {
          throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
        }
      }
      // Beneath a store that is open: it tells of the damage, or does not read what is damaged.
      for (const [what, forgery] of forgeriesOf(before, places)) {
        live.bytes.set(forgery.image);
        try {
          await store.verify();
          for (const key of keys) await attempt(() => store.get(key));
        } catch (error) {
          throw new Error(`${what}, beneath a store: ${(error as Error).message}`, { cause: error });
        }
      }
      live.bytes.set(before);
      expect((await store.verify()).faults).toEqual([]);
      await store.close();
    });
  }

  test("a forged block is taken for sound, so that the forgeries reach what is behind the checks", async () => {
    const image = await richImage(new Random(seed), "none");
    const forgery = new Forgery(image);
    const at = forgery.segmentAt(0) + BLOCK;
    forgery.change(at, () => undefined);
    for (const block of forgery.checkpointBlocks(0)) forgery.changeCheckpoint(block, () => undefined);
    expect(Buffer.compare(forgery.image, image)).toBe(0);
    forgery.change(forgery.segmentAt(0), (block) => block.setBigUint64(AT.generation, 0xfffffen << 32n, true));
    const error = await errorOf(() => openTiny(ImageDevice.of(forgery.image), OPTIONS));
    expect(error.code).toBe("CORRUPT");
  });
});
