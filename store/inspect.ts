/**
 * Looking at a device as it is: superblocks, segments, blocks, records. Nothing is written and nothing need be whole.
 *
 * What proves a block, and where its records lie, the core says (`assembly/verify/inspect.ts`); what its fields are
 * called and where they stand comes out of the sources of the format (`layout.ts`).
 */
import { Core, type CoreHost, MOUNT_READ_ONLY } from "./core.ts";
import type { BlockDevice } from "./device.ts";
import { CairnError } from "./error.ts";
import {
  BLOCK_SIZE,
  LAYOUT,
  type LayoutField,
  ROOTS_OFFSET,
  SEGMENTS_OFFSET,
  SUPERBLOCK_COPIES,
  SUPERBLOCK_STRIDE,
} from "./layout.ts";
import { SEGMENT_KINDS } from "./segments.ts";
import { placeOf, turn } from "./verify.ts";

const ENGINE_DUAL = 1;
const WRITE_BUFFER_BYTES = 262_144;
const CACHE_BYTES = 262_144;
const LAYOUT_SUPERBLOCK_B = 10;
const LAYOUT_WORKSPACE = 11;
const STAT_SEGMENT_COUNT = 14;
const STAT_SEGMENT_BYTES = 16;
const RECORD_ENTRY_SIZE = 40;
const BLOCK_FLAG_GROUP_END = 1;
const RECORD_FLAG_EXTENTS = 16;
const RECORD_FLAG_COMPRESSED = 32;
/** Bytes between what comes before the key of a record: its raw size, and what it says of its part. */
const RAW_FIELD_SIZE = 4;
const EXTENT_FIELD_SIZE = 8;
const LOOK_HEADER = 16;
const LOOKS = ["sound", "damaged", "misplaced", "blank"] as const;
/** Blocks between two turns of the event loop. */
const BLOCKS_PER_TURN = 512;

export const RECORD_KINDS = ["", "set", "delete", "extent", "void", "", "", "note"] as const;
export const RECORD_FLAGS = ["expiry", "timestamp", "asciiValue", "asciiKey", "extents", "compressed"] as const;
export { SEGMENT_KINDS };

/** A field of a structure, with its value as an unsigned number. */
export interface FieldValue {
  /** What the source of the format calls it. */
  name: string;
  /** Its bytes as a little-endian number. */
  value: bigint;
  /** What it says. */
  meaning: string;
}

/** Whether a block proves itself: it is what was written there, it is not, it belongs elsewhere, it was never written. */
export type BlockState = "sound" | "damaged" | "misplaced" | "blank" | "unreadable";

/** A copy of the superblock. */
export interface SuperblockCopy {
  /** Which copy, from 0. */
  copy: number;
  /** Bytes from the device's start. */
  offset: number;
  /** Whether it proves itself. */
  state: "intact" | "damaged" | "blank" | "unreadable";
  /** Whether it is the newest one that is intact, the one by which the store is opened. */
  counts: boolean;
  /** What stands in it. */
  fields: FieldValue[];
}

/** A record. */
export interface RecordView {
  /** Bytes from the device's start, which is what names a record. */
  address: number;
  /** What it does. */
  kind: (typeof RECORD_KINDS)[number];
  /** What it has beside key and value. */
  flags: string[];
  /** Its version: that of its commit. */
  sequence: number;
  /** The key, as encoded. */
  key: Uint8Array;
  /** Bytes of the whole value. */
  valueSize: number;
  /** Bytes of the value that this record holds. */
  partSize: number;
  /** Bytes of the value as it was given, where `valueSize` is what it is compressed to. */
  rawSize?: number;
  /** Number of this part, or in a value's first record the count of parts; absent where a value has one record. */
  part?: number;
  /** Whether its block is sound. Otherwise this is what damaged bytes can be taken for. */
  sound: boolean;
}

/** A block. */
export interface BlockView {
  /** Its number on the device, from 0. */
  block: number;
  /** Bytes from the device's start. */
  offset: number;
  /** The segment that it lies in. Absent before the first one. */
  segment?: number;
  /** Its place in its segment, from 0. Absent before the first one. */
  blockOfSegment?: number;
  /** Whether it proves itself. */
  state: BlockState;
  /** The fields of its header. */
  fields: FieldValue[];
  /** The fields of its segment's header, where the block has them. */
  segmentHeader?: FieldValue[];
  /** The fields of the end of a commit group, where the block has them. */
  groupTrailer?: FieldValue[];
  /** The records that begin in it. */
  records: RecordView[];
  /** Whether bytes follow the last record that are no record. */
  brokenOff: boolean;
}

/** A segment. */
export interface SegmentView {
  /** Its number, from 0. */
  segment: number;
  /** Bytes from the device's start. */
  offset: number;
  /** What its first block is. */
  header: BlockState;
  /** Its kind while it holds something that counts, else `"free"`; absent when the store cannot be opened. */
  kind?: (typeof SEGMENT_KINDS)[number];
  /** Blocks of it that count. Absent when the store cannot be opened. */
  blocks?: number;
  /** Bytes of records in them that are live. */
  liveBytes?: number;
  /** The fields of its header, where it has one. */
  fields: FieldValue[];
  /** Which filling of the segment this is: the mount in the high half, a counter in the low one. */
  generation?: bigint;
}

/** See the head of this file. It is opened by a host, and closed by whoever opened it. */
export class Inspector {
  /** What is looked at. */
  readonly device: BlockDevice;
  /** Blocks in a segment, as the best superblock says; 0 when none says it. */
  readonly segmentBlocks: number;
  /** Segments, as the best superblock says; 0 when none says it. */
  readonly segmentCount: number;
  /** Why the store could not be opened; absent when it could, or nobody has tried. */
  refusal: CairnError | undefined;
  private readonly core: Core;
  private readonly scratch: number;
  private readonly list: number;
  private readonly release: () => void;
  private mounted = false;

  private constructor(core: Core, release: () => void) {
    this.core = core;
    this.device = core.device;
    this.release = release;
    this.scratch = core.exports.layout(LAYOUT_SUPERBLOCK_B) >>> 0;
    this.list = core.exports.layout(LAYOUT_WORKSPACE) >>> 0;
    this.segmentBlocks = core.exports.stat(STAT_SEGMENT_BYTES) / BLOCK_SIZE;
    this.segmentCount = core.exports.stat(STAT_SEGMENT_COUNT);
  }

  /** Begins to look at a device. `NOT_A_STORE` when there is no trace of a store; damage is no reason to refuse. */
  static async create(
    device: BlockDevice,
    host: CoreHost,
    memoryBytes: number,
    release: () => void,
  ): Promise<Inspector> {
    const core = await Core.create(host, device, memoryBytes);
    const ready = core.exports.initialize(core.memory.buffer.byteLength, WRITE_BUFFER_BYTES, CACHE_BYTES, 0);
    if (ready < 0) throw core.error(ready, "inspect");
    const found = core.exports.inspectBegin(core.handle);
    if (found === 0)
      throw new CairnError("NOT_A_STORE", "inspect", "inspect: the target holds no store. Check the path.");
    const refusal = found < 0 ? core.error(found, "inspect") : undefined;
    if (refusal?.code === "NOT_A_STORE") throw refusal;
    const inspector = new Inspector(core, release);
    inspector.refusal = refusal;
    return inspector;
  }

  /** Whether the store can be opened for reading. Then segments show what is live in them. It costs an opening. */
  mount(): boolean {
    if (this.mounted) return true;
    if (this.refusal !== undefined) return false;
    const { exports, handle } = this.core;
    let status = exports.probe(handle);
    if (status > 0) status = exports.mount(handle, handle, ENGINE_DUAL, MOUNT_READ_ONLY);
    if (status < 0) this.refusal = this.core.error(status, "open");
    else this.mounted = true;
    return status >= 0;
  }

  /** All copies of the superblock. */
  superblocks(): SuperblockCopy[] {
    const copies: SuperblockCopy[] = [];
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      const look = this.core.exports.inspectSuperblock(copy);
      const state = look < 0 ? "unreadable" : look === 1 ? "intact" : look === 0 ? "damaged" : "blank";
      const fields = look < 0 || state === "blank" ? [] : [...this.fields(LAYOUT.Superblock, 0), ...this.roots()];
      copies.push({ copy, offset: copy * SUPERBLOCK_STRIDE, state, counts: false, fields });
    }
    const intact = copies.filter(({ state }) => state === "intact");
    const newest = intact.reduce<bigint>((best, { fields }) => max(best, fieldOf(fields, "generation")), 0n);
    for (const copy of intact) copy.counts = fieldOf(copy.fields, "generation") === newest;
    return copies;
  }

  /** What the superblock that was read last names: the kept checkpoints. */
  private roots(): FieldValue[] {
    return ["newer", "older"].flatMap((which, i) => {
      const fields = this.fields(LAYOUT.SuperblockRoot, ROOTS_OFFSET + i * sizeOf(LAYOUT.SuperblockRoot));
      if (fieldOf(fields, "kind") === 0n) return [];
      return fields.map((field) => ({ ...field, name: `${which}.${field.name}` }));
    });
  }

  /** One segment: its header, and, once mounted, what counts in it. */
  segment(index: number): SegmentView {
    const offset = SEGMENTS_OFFSET + index * this.segmentBlocks * BLOCK_SIZE;
    const look = this.core.exports.inspectBlock(offset / BLOCK_SIZE);
    const view: SegmentView = { segment: index, offset, header: stateOf(look), fields: [] };
    if (look >= 0 && (look & LOOK_HEADER) !== 0) {
      view.fields = this.fields(LAYOUT.SegmentHeader, sizeOf(LAYOUT.BlockHeader));
      view.generation = fieldOf(this.fields(LAYOUT.BlockHeader, 0), "generation");
    }
    if (this.mounted) {
      const { exports } = this.core;
      view.kind = SEGMENT_KINDS[exports.segmentFigure(index, 0)] ?? "free";
      view.blocks = exports.segmentFigure(index, 1);
      view.liveBytes = exports.segmentFigure(index, 2);
    }
    return view;
  }

  /** One block, by its number on the device. `OUT_OF_RANGE` beyond the device's end. */
  block(block: number): BlockView {
    const offset = block * BLOCK_SIZE;
    if (!Number.isSafeInteger(block) || block < 0 || offset + BLOCK_SIZE > this.device.size()) {
      const last = Math.floor(this.device.size() / BLOCK_SIZE) - 1;
      throw new CairnError("OUT_OF_RANGE", "inspect", `inspect: the device has the blocks 0 to ${last}, not ${block}.`);
    }
    const place = placeOf(offset, this.segmentBlocks * BLOCK_SIZE);
    const look = this.core.exports.inspectBlock(block);
    const state = stateOf(look);
    const view: BlockView = { block, offset, state, fields: [], records: [], brokenOff: false };
    if (place.segment !== undefined) {
      view.segment = place.segment;
      view.blockOfSegment = place.block ?? 0;
    }
    if (look < 0 || state === "blank") return view;
    view.fields = this.fields(LAYOUT.BlockHeader, 0);
    if ((look & LOOK_HEADER) !== 0) {
      view.segmentHeader = this.fields(LAYOUT.SegmentHeader, sizeOf(LAYOUT.BlockHeader));
    } else {
      if ((Number(fieldOf(view.fields, "flags")) & BLOCK_FLAG_GROUP_END) !== 0) {
        view.groupTrailer = this.fields(LAYOUT.GroupTrailer, BLOCK_SIZE - sizeOf(LAYOUT.GroupTrailer));
      }
      const count = this.core.exports.inspectRecords();
      view.brokenOff = count < 0;
      view.records = this.recordsHere(offset, count < 0 ? -1 - count : count, state === "sound");
    }
    return view;
  }

  /** The record at an address, or `undefined` when none starts there. */
  record(address: number): RecordView | undefined {
    const { records } = this.block(Math.floor(address / BLOCK_SIZE));
    return records.find((record) => record.address === address);
  }

  /**
   * Bytes of a record's value as it is stored, compressed or not, as many as can be had: up to `limit`, or up to the first block of it that is not sound.
   */
  value(record: RecordView, limit: number): Uint8Array {
    const wanted = Math.min(record.partSize, limit);
    const value = new Uint8Array(wanted);
    let block = Math.floor(record.address / BLOCK_SIZE);
    const headerSize = sizeOf(LAYOUT.BlockHeader);
    let from = (record.address % BLOCK_SIZE) + this.valueOffset(record);
    for (let taken = 0; taken < wanted; block++, from = headerSize) {
      const look = stateOf(this.core.exports.inspectBlock(block));
      if (look === "unreadable" || (look !== "sound" && taken > 0)) return value.subarray(0, taken);
      const end = Math.min(BLOCK_SIZE, from + wanted - taken);
      value.set(this.core.bytes.subarray(this.scratch + from, this.scratch + end), taken);
      taken += end - from;
    }
    return value;
  }

  /** All records of a key, of all sound blocks, in the order of their versions. Reads the whole device. */
  async find(key: Uint8Array, onProgress?: (done: number, total: number) => void): Promise<RecordView[]> {
    const found: RecordView[] = [];
    await this.eachBlock((view) => {
      if (view.state !== "sound") return;
      for (const record of view.records) if (sameBytes(record.key, key)) found.push(record);
    }, onProgress);
    return found.sort((a, b) => a.sequence - b.sequence || a.address - b.address);
  }

  /** Calls `visit` with each block from the first segment to the device's end. The event loop turns now and then. */
  async eachBlock(visit: (view: BlockView) => void, onProgress?: (done: number, total: number) => void): Promise<void> {
    const first = SEGMENTS_OFFSET / BLOCK_SIZE;
    const end = Math.min(Math.floor(this.device.size() / BLOCK_SIZE), first + this.segmentCount * this.segmentBlocks);
    for (let block = first; block < end; block++) {
      visit(this.block(block));
      if ((block + 1 - first) % BLOCKS_PER_TURN !== 0 && block + 1 < end) continue;
      onProgress?.(block + 1 - first, end - first);
      await turn();
    }
  }

  /** Gives up the device. */
  close(): void {
    this.release();
  }

  /** Where a record's value starts in it. */
  private valueOffset(record: RecordView): number {
    const { exports } = this.core;
    exports.inspectBlock(Math.floor(record.address / BLOCK_SIZE));
    const count = exports.inspectRecords();
    for (let i = 0; i < (count < 0 ? -1 - count : count); i++) {
      const at = (this.list + i * RECORD_ENTRY_SIZE) >> 2;
      if (this.word(at) !== record.address % BLOCK_SIZE) continue;
      return this.word(at + 3) + this.word(at + 4);
    }
    return 0;
  }

  private recordsHere(offset: number, count: number, sound: boolean): RecordView[] {
    const records: RecordView[] = [];
    for (let i = 0; i < count; i++) {
      const at = (this.list + i * RECORD_ENTRY_SIZE) >> 2;
      const start = this.scratch + this.word(at);
      const flags = this.word(at + 2);
      const keyAt = start + this.word(at + 3);
      const record: RecordView = {
        address: offset + this.word(at),
        kind: RECORD_KINDS[this.word(at + 1)] ?? "",
        flags: RECORD_FLAGS.filter((_, bit) => (flags & (1 << bit)) !== 0),
        sequence: this.core.floats[(at >> 1) + 4] as number,
        key: this.core.bytes.slice(keyAt, keyAt + this.word(at + 4)),
        valueSize: this.word(at + 5),
        partSize: this.word(at + 6),
        sound,
      };
      const isExtent = (flags & RECORD_FLAG_EXTENTS) !== 0;
      if (isExtent) record.part = this.word(at + 7);
      if ((flags & RECORD_FLAG_COMPRESSED) !== 0) {
        const rawAt = keyAt - (isExtent ? EXTENT_FIELD_SIZE : 0) - RAW_FIELD_SIZE;
        record.rawSize = new DataView(this.core.memory.buffer).getUint32(rawAt, true);
      }
      records.push(record);
    }
    return records;
  }

  private word(at: number): number {
    return (this.core.words[at] as number) >>> 0;
  }

  /** The fields of a structure that lies at an offset of the block that was read last. */
  private fields(layout: readonly LayoutField[], from: number): FieldValue[] {
    const view = new DataView(this.core.memory.buffer, this.scratch + from);
    return layout.map(({ name, offset, size, meaning }) => {
      let value = 0n;
      for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(offset + i));
      return { name, value, meaning };
    });
  }
}

/** The value of a field by its name; 0 when there is none. */
export function fieldOf(fields: readonly FieldValue[], name: string): bigint {
  return fields.find((field) => field.name === name)?.value ?? 0n;
}

function stateOf(look: number): BlockState {
  return look < 0 ? "unreadable" : (LOOKS[look & ~LOOK_HEADER] ?? "damaged");
}

function sizeOf(layout: readonly LayoutField[]): number {
  const last = layout.at(-1);
  return last === undefined ? 0 : last.offset + last.size;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
