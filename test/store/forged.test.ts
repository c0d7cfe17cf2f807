/**
 * Forged images: blocks with right checks that say what cannot be. Each is refused with an error that says so, or
 * opens; then all of it can be read, verified, inspected, closed and repaired, or is told to be damaged. Nothing traps and nothing goes on
 * for ever (G4).
 */
import { describe, expect, test } from "vitest";
import { Inspector } from "../../store/inspect.ts";
import type { Store } from "../../store/store.ts";
import { AT, BLOCK, FORGED_OPTIONS, Forgery, richImage, SEGMENT_BLOCKS, SEGMENTS_OFFSET } from "./forging.ts";
import { errorOf, host, openTiny, repair, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const { CAIRN_FORGERIES = "120" } = process.env;
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

describe(`forged images, seed ${seed}`, () => {
  for (const compression of ["none", "lz4"] as const) {
    test(`are refused, or told to be damaged, or read: nothing traps, nothing hangs (compression ${compression})`, async () => {
      const random = new Random(seed);
      const image = await richImage(random, compression);
      expect(await tryAll(image)).toBe(true);
      let opened = 0;
      const count = Number(CAIRN_FORGERIES) / 2;
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
      // Some hit what counts, and some do not.
      expect(opened).toBeGreaterThan(count / 10);
      expect(opened).toBeLessThan(count);
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
