/**
 * The damaged device, as `repair` reads it: in windows of 1 MiB, block by block, each block judged by the core before
 * anything in it is believed (`assembly/verify/salvage.ts`). Nothing is mounted and nothing is written.
 */
import { Core, type CoreHost } from "../core.ts";
import type { BlockDevice } from "../device.ts";
import { CairnError } from "../error.ts";
import { fieldOf } from "../inspect.ts";
import { BLOCK_SIZE, LAYOUT, SEGMENTS_OFFSET, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../layout.ts";
import { shrunk } from "../typed-device.ts";
import { turn } from "../verify.ts";

/** Blocks that one window holds. */
const WINDOW_BLOCKS = 256;
const WINDOW_BYTES = WINDOW_BLOCKS * BLOCK_SIZE;
const CACHE_BYTES = 262_144;
/** The memory of the core that looks: one window, and what every core has. */
const CORE_MEMORY_BYTES = 16 * 1_048_576;
const LAYOUT_SUPERBLOCK_B = 10;
const LAYOUT_WORKSPACE = 11;
const RECORD_ENTRY_WORDS = 10;
const LOOK_HEADER = 16;
const STATUS_UNSUPPORTED_FORMAT = -2;

export const BLOCK_HEADER_SIZE = 56;
export const BLOCK_PAYLOAD_SIZE = BLOCK_SIZE - BLOCK_HEADER_SIZE;
export const FIRST_BLOCK = SEGMENTS_OFFSET / BLOCK_SIZE;
export const FLAG_GROUP_END = 1;
export const FLAG_SEGMENT_HEADER = 2;
export const FLAG_SEGMENT_END = 4;
export const NO_RECORD = 0xffff;

export const KIND_SET = 1;
export const KIND_DELETE = 2;
export const KIND_EXTENT = 3;
export const FLAG_EXTENTS = 16;

/** What a block turned out to be. */
export type BlockLook = "sound" | "damaged" | "misplaced" | "blank" | "foreign" | "unreadable";
const LOOKS: readonly BlockLook[] = ["sound", "damaged", "misplaced", "blank", "foreign"];

/** What a superblock says, as far as a repair needs it. */
export interface SuperblockFacts {
  generation: bigint;
  seed: bigint;
  segmentBlocks: number;
  segmentCount: number;
  epoch: bigint;
  durableGroup: bigint;
  logEpoch: bigint;
  sequenceCeiling: number;
  highestTimeMs: number;
  closed: boolean;
}

/** A block of the window, until the next one is looked at. Fields of a block that is not sound say nothing. */
export interface Block {
  /** Number of the block on the device. */
  block: number;
  look: BlockLook;
  /** Whether it is the first block of a segment's life. */
  isHeader: boolean;
  generation: bigint;
  group: bigint;
  used: number;
  flags: number;
  first: number;
  /** Its place in the window. */
  index: number;
}

/** A record as it stands in its block. */
export interface RecordHere {
  /** Offset in the block. */
  offset: number;
  kind: number;
  flags: number;
  /** Bytes up to the key, and of the key. */
  keyOffset: number;
  keySize: number;
  valueSize: number;
  /** Bytes of the value that belong to this record. */
  partSize: number;
  /** Number of the part; in a value's first record the count of parts; 0 where there is one record. */
  part: number;
  sequence: number;
}

/** See the head of this file. */
export class SalvageImage {
  readonly device: BlockDevice;
  readonly core: Core;
  /** Blocks of the device, its superblocks included. */
  readonly blockCount: number;
  private readonly list: number;
  private window = 0;
  private longs: BigUint64Array;
  private halves: Uint16Array;
  private seed = 0n;
  /** What `at` holds in the window. */
  private heldFrom = 0;
  private heldTo = 0;
  private heldReadable: boolean[] = [];
  /** Blocks in a segment, once it is known. */
  segmentBlocks = 0;
  /** What the first read failed with that did. */
  readFailure: { cause: unknown } | undefined;

  private constructor(core: Core) {
    this.core = core;
    this.device = core.device;
    this.blockCount = Math.floor(core.device.size() / BLOCK_SIZE);
    this.list = (core.exports.layout(LAYOUT_WORKSPACE) >>> 0) >> 2;
    this.longs = new BigUint64Array(core.memory.buffer);
    this.halves = new Uint16Array(core.memory.buffer);
  }

  /** Begins to look. `UNSUPPORTED_FORMAT` for a store of another format. */
  static async create(device: BlockDevice, host: CoreHost): Promise<SalvageImage> {
    const core = await Core.create(host, device, CORE_MEMORY_BYTES);
    const ready = core.exports.initialize(core.memory.buffer.byteLength, WINDOW_BYTES, CACHE_BYTES, 0);
    if (ready < 0) throw core.error(ready, "repair");
    const found = core.exports.inspectBegin(core.handle);
    if (found === STATUS_UNSUPPORTED_FORMAT) throw core.error(found, "repair");
    return new SalvageImage(core);
  }

  /** Sets by which seed blocks are proven, and how many make a segment. */
  use(seed: bigint, segmentBlocks: number): void {
    this.seed = seed;
    this.segmentBlocks = segmentBlocks;
    const half = 0xffff_ffffn;
    this.window = this.core.exports.salvageBegin(Number(seed & half), Number(seed >> 32n), segmentBlocks) >>> 0;
  }

  /** All copies of the superblock: what they say, and whether each is intact. Copies beyond the device are left out. */
  superblocks(): { intact: boolean; blank: boolean; facts: SuperblockFacts }[] {
    const copies: { intact: boolean; blank: boolean; facts: SuperblockFacts }[] = [];
    const at = this.core.exports.layout(LAYOUT_SUPERBLOCK_B) >>> 0;
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      if (copy * SUPERBLOCK_STRIDE + BLOCK_SIZE > this.device.size()) break;
      const look = this.core.exports.inspectSuperblock(copy);
      if (look < 0) continue;
      const view = new DataView(this.core.memory.buffer, at);
      const fields = LAYOUT.Superblock.map(({ name, offset, size, meaning }) => {
        const value = size === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
        return { name, value, meaning };
      });
      const field = (name: string): bigint => fieldOf(fields, name);
      const high = field("storeIdHigh");
      copies.push({
        intact: look === 1,
        blank: look === 3,
        facts: {
          generation: field("generation"),
          seed: field("storeIdLow") ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n)),
          segmentBlocks: Number(field("segmentBlocks")),
          segmentCount: Number(field("segmentCount")),
          epoch: field("epoch"),
          durableGroup: field("durableGroup"),
          logEpoch: field("logEpoch"),
          sequenceCeiling: Number(field("sequenceCeiling")),
          highestTimeMs: Number(field("highestTimeMs")),
          closed: field("closed") === 1n,
        },
      });
    }
    return copies;
  }

  /** Calls `visit` with each block of a span, in their order. The event loop turns between windows. */
  async each(
    from: number,
    to: number,
    visit: (block: Block) => void | Promise<void>,
    onProgress?: (done: number) => void,
  ): Promise<void> {
    for (let start = from; start < to; start += WINDOW_BLOCKS) {
      const count = Math.min(WINDOW_BLOCKS, to - start);
      const readable = this.read(start, count);
      for (let i = 0; i < count; i++) {
        const waits = visit(this.blockAt(start + i, i, readable[i] !== false));
        if (waits !== undefined) await waits;
      }
      onProgress?.(start + count - from);
      await turn();
    }
  }

  /** One block, in the window's first place. */
  one(block: number): Block {
    return this.blockAt(block, 0, this.read(block, 1)[0] !== false);
  }

  /** A block, out of a window that begins with it when the present one lacks it: for reading in ascending order. */
  at(block: number): Block {
    if (block < this.heldFrom || block >= this.heldTo) {
      const count = Math.min(WINDOW_BLOCKS, this.blockCount - block);
      this.heldReadable = this.read(block, count);
      this.heldFrom = block;
      this.heldTo = block + count;
    }
    const index = block - this.heldFrom;
    return this.blockAt(block, index, this.heldReadable[index] !== false);
  }

  /** The seed in a segment's header that proves itself by it. */
  seedOf(block: Block): bigint | undefined {
    const { exports, words, result } = this.core;
    if (exports.salvageSeed(block.index, block.block) !== 1) return undefined;
    return BigInt((words[result] as number) >>> 0) | (BigInt((words[result + 1] as number) >>> 0) << 32n);
  }

  /** The records that start in a sound block, and whether bytes follow them that are no record. */
  records(block: Block): { records: RecordHere[]; brokenOff: boolean } {
    const found = this.core.exports.salvageRecords(block.index);
    const count = found < 0 ? -1 - found : found;
    const { words, floats } = this.core;
    const records: RecordHere[] = [];
    for (let i = 0; i < count; i++) {
      const at = this.list + i * RECORD_ENTRY_WORDS;
      const word = (n: number): number => (words[at + n] as number) >>> 0;
      records.push({
        offset: word(0),
        kind: word(1),
        flags: word(2),
        keyOffset: word(3),
        keySize: word(4),
        valueSize: word(5),
        partSize: word(6),
        part: word(7),
        sequence: floats[(at >> 1) + 4] as number,
      });
    }
    return { records, brokenOff: found < 0 };
  }

  /** Offset of the first note of a sound block at or behind an offset; 0 when there is none. */
  noteIn(block: Block, from: number): number {
    return this.core.exports.salvageNote(block.index, from);
  }

  /** Bytes of a block of the window. They are gone with the next window. */
  bytes(block: Block, from: number, to: number): Uint8Array {
    const at = this.window + block.index * BLOCK_SIZE;
    return this.core.bytes.subarray(at + from, at + to);
  }

  /** A view on a block of the window. */
  view(block: Block): DataView {
    return new DataView(this.core.memory.buffer, this.window + block.index * BLOCK_SIZE, BLOCK_SIZE);
  }

  /** The segment of a block. */
  segmentOf(block: number): number {
    return Math.floor((block - FIRST_BLOCK) / this.segmentBlocks);
  }

  /** Reads a span to the window: which of its blocks could be read, all when the answer is empty. */
  private read(start: number, count: number): boolean[] {
    if (this.window === 0) this.use(this.seed, this.segmentBlocks);
    this.heldTo = 0;
    const { bytes } = this.core;
    if (this.readInto(start, bytes.subarray(this.window, this.window + count * BLOCK_SIZE))) return [];
    // One bad sector must not cost its neighbours.
    return Array.from({ length: count }, (_, i) => {
      const at = this.window + i * BLOCK_SIZE;
      return this.readInto(start + i, bytes.subarray(at, at + BLOCK_SIZE));
    });
  }

  private readInto(block: number, target: Uint8Array): boolean {
    try {
      const count = this.device.read(block * BLOCK_SIZE, target);
      if (count === target.length) return true;
      this.readFailure ??= { cause: shrunk("repair", block * BLOCK_SIZE + count) };
      return false;
    } catch (error) {
      // A device of a program's own may throw anything.
      if (error instanceof CairnError && error.code !== "DEVICE_READ" && error.code !== "DEVICE_SHRUNK") throw error;
      this.readFailure ??= { cause: error };
      return false;
    }
  }

  private blockAt(block: number, index: number, readable: boolean): Block {
    const code = readable ? this.core.exports.salvageLook(index, block) : 1;
    const look = readable ? (LOOKS[code & ~LOOK_HEADER] ?? "damaged") : "unreadable";
    const at = this.window + index * BLOCK_SIZE;
    return {
      block,
      look,
      isHeader: (code & LOOK_HEADER) !== 0,
      generation: this.longs[(at + 16) / 8] as bigint,
      group: this.longs[(at + 32) / 8] as bigint,
      used: this.halves[(at + 40) / 2] as number,
      flags: this.halves[(at + 42) / 2] as number,
      first: this.halves[(at + 44) / 2] as number,
      index,
    };
  }
}
