/**
 * Images whose blocks say what nobody wrote, with checks that are right: what a bug, a foreign tool or an attacker leaves, and
 * what no checksum finds.
 */
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import type { Random } from "./random.ts";
import { changeSuperblocks, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

export const BLOCK = 4096;
export const SEGMENTS_OFFSET = 1_048_576;
export const SEGMENT_BLOCKS = 16;
export const FORGED_OPTIONS = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * 1_048_576 } as const;

/** Offsets in a block; see assembly/format. */
export const AT = {
  generation: 16,
  deviceBlock: 24,
  group: 32,
  used: 40,
  flags: 42,
  first: 44,
  payload: 56,
  trailer: 4064,
} as const;
const SUMMARY_BLOCKS_CHECK = AT.payload + 80;
const ROOTS = 176;
const ROOT_SIZE = 32;
const KIND_OF_CHECKPOINT = 3;
const NO_RECORD = 0xffff;

/** A number that the environment may set; a worker of a browser has none. */
export function setting(name: string, byDefault: number): number {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return Number(process?.env?.[name] ?? byDefault);
}

/** An image that is changed here and there, each time with the checks that belong to it. */
export class Forgery {
  readonly image: Uint8Array;
  readonly view: DataView;
  /** Segments that the image holds. */
  readonly segmentCount: number;
  private readonly seed: bigint;

  constructor(image: Uint8Array) {
    this.image = image.slice();
    this.view = new DataView(this.image.buffer);
    this.segmentCount = Math.floor((image.length - SEGMENTS_OFFSET) / (SEGMENT_BLOCKS * BLOCK));
    const high = this.view.getBigUint64(56, true);
    this.seed = this.view.getBigUint64(48, true) ^ rotate(high, 32n);
  }

  /** Where a segment begins. */
  segmentAt(index: number): number {
    return SEGMENTS_OFFSET + index * SEGMENT_BLOCKS * BLOCK;
  }

  /** The kind that a segment's header names. */
  kindOf(index: number): number {
    return this.view.getUint32(this.segmentAt(index) + AT.payload + 4, true);
  }

  /** Changes the block at an offset, and gives it its check. */
  change(at: number, change: (block: DataView) => void): void {
    change(new DataView(this.image.buffer, at, BLOCK));
    this.seal(at);
  }

  /** Changes all copies of the superblock, each with its check. */
  changeSuperblocks(change: (superblock: DataView) => void): void {
    changeSuperblocks(this.image, change);
  }

  /** Offsets of the records that start in a block of whole records, as far as they can be followed. */
  recordsOf(at: number): number[] {
    const offsets: number[] = [];
    const used = this.view.getUint16(at + AT.used, true);
    let record = this.view.getUint16(at + AT.first, true);
    if (record === NO_RECORD) return offsets;
    while (record + 16 <= used) {
      const start = at + AT.payload + record;
      offsets.push(start);
      const flags = this.view.getUint8(start + 7);
      const fields = [8, 8, 0, 0, 8, 4].reduce((sum, size, bit) => sum + (flags & (1 << bit) ? size : 0), 0);
      const extent = start + 16 + fields - 8;
      const valueSize = this.view.getUint32(flags & 16 ? extent : start, true);
      record += (16 + fields + this.view.getUint16(start + 4, true) + valueSize + 7) & ~7;
    }
    return offsets;
  }

  /** Offsets of the blocks of the checkpoint that root `which` of a copy of the superblock names, its summary last. */
  checkpointBlocks(which: number, copy = this.newestCopy()): number[] {
    const root = copy * SUPERBLOCK_STRIDE + ROOTS + which * ROOT_SIZE;
    const offsets: number[] = [];
    if (this.view.getUint16(root, true) !== KIND_OF_CHECKPOINT) return offsets;
    let last = this.view.getUint16(root + 2, true);
    let segment = this.view.getUint32(root + 4, true);
    let generation = this.view.getBigUint64(root + 8, true);
    while (generation !== 0n) {
      const start = this.segmentAt(segment);
      for (let block = last; block >= 0; block--) offsets.unshift(start + block * BLOCK);
      generation = this.view.getBigUint64(start + AT.payload + 16, true);
      segment = this.view.getUint32(start + AT.payload + 24, true);
      last = SEGMENT_BLOCKS - 1;
    }
    return offsets;
  }

  /** Changes a block of a checkpoint, and gives it, the checkpoint's summary and the superblocks the checks that follow. */
  changeCheckpoint(at: number, change: (block: DataView) => void): void {
    const chains = new Map<string, number[]>();
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      for (const which of [0, 1]) chains.set(`${copy} ${which}`, this.checkpointBlocks(which, copy));
    }
    this.change(at, change);
    for (const [name, chain] of chains) {
      if (!chain.includes(at)) continue;
      const [copy, which] = name.split(" ").map(Number) as [number, number];
      const summary = chain.at(-1) as number;
      if (at !== summary) this.foldChecks(chain, summary);
      const superblock = copy * SUPERBLOCK_STRIDE;
      this.view.setBigUint64(superblock + ROOTS + which * ROOT_SIZE + 24, this.view.getBigUint64(summary, true), true);
    }
    this.changeSuperblocks(() => undefined);
  }

  private foldChecks(chain: readonly number[], summary: number): void {
    let sum = 0n;
    for (const block of chain) {
      const isHeader = (this.view.getUint16(block + AT.flags, true) & 2) !== 0;
      if (block !== summary && !isHeader) sum = rotate(sum, 9n) ^ this.view.getBigUint64(block, true);
    }
    this.change(summary, (block) => block.setBigUint64(SUMMARY_BLOCKS_CHECK, sum, true));
  }

  private newestCopy(): number {
    let newest = 0;
    for (let copy = 1; copy < SUPERBLOCK_COPIES; copy++) {
      const generation = this.view.getBigUint64(copy * SUPERBLOCK_STRIDE + 72, true);
      if (generation > this.view.getBigUint64(newest * SUPERBLOCK_STRIDE + 72, true)) newest = copy;
    }
    return newest;
  }

  private seal(at: number): void {
    this.view.setBigUint64(at, xxh64(this.image.subarray(at + 16, at + BLOCK), this.seed), true);
  }
}

/**
 * An image with segments of every kind: a log over several mounts, copies, two checkpoints; values of all sizes, expiries,
 * timestamps, deletions, batches. It was not closed, and its last groups are not known to be durable.
 */
export async function richImage(random: Random, compression: "none" | "lz4"): Promise<Uint8Array> {
  const device = new ImageDevice();
  const options = { ...FORGED_OPTIONS, durability: "manual", compaction: { auto: false }, compression } as const;
  for (let mount = 0; mount < 4; mount++) {
    const pace = { logBytes: 1, liveThousandths: 0, auto: false };
    const store = await openTiny(device.reopen(), options, SEGMENT_BLOCKS, pace);
    for (let i = 0; i < 160; i++) {
      const key = `key ${random.below(90)}`.padEnd(random.pick([8, 30, 120]), "k");
      const value = `${i} of ${mount} `.padEnd(random.pick([8, 60, 500, 3000, 9000]), "value ");
      const choice = random.below(20);
      if (choice < 3) store.delete(key);
      else if (choice < 5) store.set(key, value, { expiresIn: 3_600_000 * (1 + random.below(1000)) });
      else if (choice < 7) store.set(key, value, { timestamp: mount * 1000 + i });
      else if (choice < 8) store.set(key, value, { timestamp: mount * 1000 + i, expiresIn: 3_600_000 });
      else if (choice < 9)
        await store.batch([
          { type: "set", key, value },
          { type: "set", key: `${key}b`, value },
          { type: "set", key, value },
        ]);
      else store.set(key, value);
      if (random.chance(0.1)) store.flushSync();
    }
    store.set("large", randomText(random, 150_000 + mount));
    store.set("large and old", randomText(random, 90_000), { timestamp: 1, expiresIn: 3_600_000 });
    store.flushSync();
    if (mount > 0) await store.compact({ full: true });
    // The last one ends in the midst of things.
    if (mount === 3) {
      store.set("last", "1");
      store.flushSync();
      store.set("last", "2".repeat(5000));
      store.flushSync();
      return device.image();
    }
    await store.close();
  }
  return device.image();
}

/** Text that no compressor makes much smaller, here and there. */
function randomText(random: Random, size: number): string {
  let text = "";
  while (text.length < size) text += random.chance(0.5) ? String(random.u32()) : "the same again ".repeat(20);
  return text.slice(0, size);
}

function rotate(value: bigint, bits: bigint): bigint {
  return BigInt.asUintN(64, (value << bits) | (value >> (64n - bits)));
}
