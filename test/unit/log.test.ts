/**
 * The log's tail over a device in memory, by random operations: what lies on the device is read by a parser of its own,
 * written from the heads of assembly/format/, and must be what was appended.
 */
import { describe, expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import type { BlockDevice, DevicePiece } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import {
  BLOCK_SIZE,
  EXCHANGE,
  type Instance,
  instantiate,
  KEY_A,
  NO_SPACE,
  OK,
  PAGE,
  PLAN,
  POOL,
  Random,
  SEED,
  same,
  writeKey,
} from "./units.ts";

const SEGMENTS_OFFSET = 1 << 20;
const HEADER_SIZE = 56;
const PAYLOAD_SIZE = 4040;
const TRAILER_OFFSET = 4064;
const LAST_PAYLOAD_SIZE = 4008;
const NO_RECORD = 0xffff;
const FIRST_GROUP = (1n << 40n) + 1n;
const STORE_SEED = 0x0123_4567_89ab_cdefn;
const EXCHANGE_SIZE = 128 << 10;
const WHOLE_RECORD_MAX = 16_384;

const SET = 1;
const DELETE = 2;
const EXTENT = 3;
const VOID = 4;
const GROUP_END = 1;
const SEGMENT_HEADER = 2;
const SEGMENT_END = 4;
const EXTENTS = 16;
/** What log/segments.ts asks segments for. */
const WRITING = 0;
const DELETING = 2;

const FLIGHT_DONE = 0;
const FLIGHT_NO_SPACE = 1;

/** A device in memory that watches what is written, and can be full for a while. */
class WatchedDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable = true;
  readonly memory = new MemoryDevice(SEGMENTS_OFFSET);
  readonly written = new Map<number, Buffer>();
  /** Groups of values that were given up on the way. */
  readonly givenUp = new Set<bigint>();
  /** Refusals still to come, and calls until the next. */
  refusals = 0;
  refusalsSeen = 0;
  syncs = 0;

  private admit(): void {
    if (this.refusals === 0) return;
    this.refusals--;
    this.refusalsSeen++;
    throw new CairnError("NO_SPACE", "write", "the device is full.");
  }

  size(): number {
    return this.memory.size();
  }
  read(offset: number, target: Uint8Array): number {
    return this.memory.read(offset, target);
  }
  write(offset: number, source: Uint8Array): number {
    this.admit();
    return this.writeAnyhow(offset, source);
  }
  /** What the host writes, without asking whether there is room. */
  writeAnyhow(offset: number, source: Uint8Array): number {
    if (offset % BLOCK_SIZE || source.length % BLOCK_SIZE) throw new Error("a write that is not of blocks");
    for (let at = 0; offset >= SEGMENTS_OFFSET && at < source.length; at += BLOCK_SIZE) {
      const block = Buffer.from(source.subarray(at, at + BLOCK_SIZE));
      const index = (offset + at) / BLOCK_SIZE;
      const before = this.written.get(index);
      // The same life of the segment: the block must keep its bytes, unless its group was given up.
      const sameLife = before && before.readBigUInt64LE(16) === block.readBigUInt64LE(16);
      if (sameLife && before.compare(block) && !this.givenUp.has(before.readBigUInt64LE(32))) {
        throw new Error(`block ${index} was written again with other bytes`);
      }
      this.written.set(index, block);
    }
    return this.memory.write(offset, source);
  }
  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    for (const { offset, source } of pieces) this.write(offset, source);
  }
  sync(): void {
    this.syncs++;
  }
  async syncAsync(): Promise<void> {}
  resize(size: number): void {
    this.admit();
    this.memory.resize(size);
  }
  close(): void {}
}

interface Appended {
  /** Unknown for a value that was streamed. */
  address: bigint | undefined;
  kind: number;
  flags: number;
  sequence: bigint;
  key: string;
  value: Buffer;
}

interface Parsed extends Appended {
  address: bigint;
  valueSize: number;
  part: number;
}

/** What a parse found: the records of complete groups, in the order of the log. */
interface Image {
  records: Parsed[];
  /** Numbers of complete groups, with the sequence and the durable mark of their trailers. */
  groups: {
    group: bigint;
    sequence: bigint;
    durable: bigint;
    recordCount: number;
  }[];
}

/** Reads the log of a device: segments by their headers, blocks, records. A fault in the format throws. */
class Parser {
  private readonly device: WatchedDevice;
  private readonly segmentBlocks: number;
  private readonly check: (block: Buffer) => bigint;

  constructor(device: WatchedDevice, segmentBlocks: number) {
    this.device = device;
    this.segmentBlocks = segmentBlocks;
    const { units, bytes } = instantiate(1);
    this.check = (block) => {
      bytes.set(block, EXCHANGE);
      return BigInt.asUintN(64, units.xxh64(EXCHANGE + 16, BLOCK_SIZE - 16, STORE_SEED));
    };
  }

  /** A block of a segment, if it is intact and in its place. */
  private block(segment: number, block: number): Buffer | undefined {
    const bytes = Buffer.alloc(BLOCK_SIZE);
    const index = SEGMENTS_OFFSET / BLOCK_SIZE + segment * this.segmentBlocks + block;
    if (this.device.read(index * BLOCK_SIZE, bytes) < BLOCK_SIZE) return undefined;
    if (bytes.readBigUInt64LE(0) !== this.check(bytes)) {
      if (bytes.some((byte) => byte)) throw new Error(`block ${index} was written without its checksum`);
      return undefined;
    }
    same(bytes.readBigUInt64LE(8), 0n, "room for a longer tag");
    same(bytes.readBigUInt64LE(24), BigInt(index), "device block");
    same(bytes.readUInt16LE(46), 0, "reserved");
    same(bytes.readBigUInt64LE(48), 0n, "reserved");
    return bytes;
  }

  parse(): Image {
    const segmentCount = Math.floor((this.device.size() - SEGMENTS_OFFSET) / (this.segmentBlocks * BLOCK_SIZE));
    const heads = Array.from({ length: segmentCount }, (_, segment) => {
      const block = this.block(segment, 0);
      if (!block) return undefined;
      same(block.readUInt16LE(42), SEGMENT_HEADER, "flags of a segment's first block");
      same(block.readUInt16LE(40), 64 + 32 + 8 * Math.ceil(block.readUInt32LE(56 + 64 + 16) / 64), "used by a header");
      same(block.readUInt16LE(44), NO_RECORD, "first record, in a segment's first block");
      same(block.toString("latin1", 56, 60), "CSEG", "magic");
      same(block.readUInt32LE(60), 1, "kind of the segment");
      return {
        segment,
        generation: block.readBigUInt64LE(16),
        previousGeneration: block.readBigUInt64LE(72),
        previousSegment: block.readUInt32LE(80),
        headerBlocks: block.readUInt32LE(84),
      };
    }).filter((head) => head !== undefined);
    // Of several that name the same predecessor, the youngest counts: a value that was given up wrote the others.
    const successor = (generation: bigint, segment: number) =>
      heads
        .filter((head) => head.previousGeneration === generation && (!generation || head.previousSegment === segment))
        .sort((a, b) => (a.generation < b.generation ? 1 : -1))[0];
    const reader = new RecordReader();
    for (let head = successor(0n, 0); head; ) {
      same(head.headerBlocks, 1, "header blocks");
      const next = successor(head.generation, head.segment);
      for (let index = 0; index < this.segmentBlocks; index++) {
        const block = this.block(head.segment, index);
        // What follows may be there: a flight is written when the host comes to it.
        if (!block || block.readBigUInt64LE(16) !== head.generation) return reader.image;
        if (!reader.block(block, index === 0)) return reader.image;
        if (block.readUInt16LE(42) & SEGMENT_END) break;
      }
      reader.segmentEnd();
      head = next;
    }
    return reader.image;
  }
}

/** Takes the blocks of the log in order. */
class RecordReader {
  readonly image: Image = { records: [], groups: [] };
  private readonly open: Parsed[] = [];
  /** The group that is open, or the last one that ended. */
  private group = FIRST_GROUP - 1n;
  private ended = true;
  /** The record whose value runs on, and the bytes that it lacks. */
  private pending: { record: Parsed; parts: Buffer[]; missing: number; padding: number } | undefined;

  /** False when the log ended before this block: what follows is of a group that was given up. */
  block(block: Buffer, isSegmentHeader: boolean): boolean {
    const flags = block.readUInt16LE(42);
    const used = block.readUInt16LE(40);
    const isEnd = (flags & GROUP_END) !== 0;
    const group = block.readBigUInt64LE(32);
    if (this.ended ? group <= this.group : group !== this.group) return false;
    this.group = group;
    this.ended = isEnd;
    same(flags & ~SEGMENT_END, isSegmentHeader ? SEGMENT_HEADER : isEnd ? GROUP_END : 0, "flags");
    if (used > (isEnd ? LAST_PAYLOAD_SIZE : PAYLOAD_SIZE)) throw new Error(`${used} bytes used`);
    same(used % 8, 0, "alignment of what is used");
    const zeros = block.subarray(HEADER_SIZE + used, isEnd ? TRAILER_OFFSET : BLOCK_SIZE);
    if (zeros.some((byte) => byte)) throw new Error("bytes behind the last record");
    if (isSegmentHeader) return true;
    const base = block.readBigUInt64LE(24) * 4096n + BigInt(HEADER_SIZE);
    const payload = block.subarray(HEADER_SIZE, HEADER_SIZE + used);
    let at = this.continue(payload);
    same(block.readUInt16LE(44), at < used ? at : NO_RECORD, "offset of the first record");
    while (at < used) at = this.record(payload, at, base + BigInt(at));
    if (this.pending && used < PAYLOAD_SIZE) throw new Error("a value stops before the end of its block");
    if (isEnd) this.groupEnd(block);
    return true;
  }

  segmentEnd(): void {
    if (this.pending) throw new Error("a value runs over the end of its segment");
  }

  /** Takes what the pending value has in this payload: where the next record starts. */
  private continue(payload: Buffer): number {
    const { pending } = this;
    if (!pending) return 0;
    const taken = Math.min(pending.missing, payload.length);
    pending.parts.push(payload.subarray(0, taken));
    pending.missing -= taken;
    if (pending.missing) return taken;
    return this.finish(payload, taken);
  }

  private finish(payload: Buffer, at: number): number {
    const { record, parts, padding } = this.pending!;
    record.value = Buffer.concat(parts);
    this.pending = undefined;
    if (payload.subarray(at, at + padding).some((byte) => byte)) throw new Error("padding that is not zero");
    if (at + padding > payload.length) throw new Error("padding beyond the block");
    this.open.push(record);
    return at + padding;
  }

  private record(payload: Buffer, at: number, address: bigint): number {
    same(at % 8, 0, "alignment of a record");
    if (at + 16 > payload.length) throw new Error("a header over the end of its block");
    const valueSize = payload.readUInt32LE(at);
    const keySize = payload.readUInt16LE(at + 4);
    const kind = payload.readUInt8(at + 6);
    const flags = payload.readUInt8(at + 7);
    const word = payload.readBigUInt64LE(at + 8);
    same(word >> 48n, 0n, "reserved bytes above the sequence");
    const keyAt = at + 16 + (flags & EXTENTS ? 8 : 0);
    if (keyAt + keySize > payload.length) throw new Error("a key over the end of its block");
    const partSize = flags & EXTENTS ? payload.readUInt32LE(at + 16) : valueSize;
    const part = flags & EXTENTS ? payload.readUInt32LE(at + 20) : 0;
    if (kind < SET || kind > VOID) throw new Error(`kind ${kind}`);
    const key = payload.toString("latin1", keyAt, keyAt + keySize);
    const record = {
      address,
      kind,
      flags,
      sequence: word,
      key,
      value: Buffer.alloc(0),
      valueSize,
      part,
    };
    const end = keyAt + keySize;
    const taken = Math.min(partSize, payload.length - end);
    const total = end - at + partSize;
    const pending = {
      record,
      parts: [payload.subarray(end, end + taken)],
      missing: partSize - taken,
      padding: 0,
    };
    pending.padding = ((total + 7) & ~7) - total;
    this.pending = pending;
    return pending.missing ? payload.length : this.finish(payload, end + taken);
  }

  private groupEnd(block: Buffer): void {
    if (this.pending) throw new Error("a group ends within a value");
    this.image.records.push(...this.open.splice(0));
    this.image.groups.push({
      group: this.group,
      durable: block.readBigUInt64LE(TRAILER_OFFSET),
      sequence: block.readBigUInt64LE(TRAILER_OFFSET + 24),
      recordCount: this.image.records.length,
    });
    same(block.readBigUInt64LE(TRAILER_OFFSET + 8), 0n, "reserved in the trailer");
  }
}

/** Puts the parts of values together. */
function joined(records: Parsed[]): Appended[] {
  const whole: Appended[] = [];
  for (let i = 0; i < records.length; i++) {
    const { address, kind, flags, sequence, key, value, valueSize, part } = records[i]!;
    if (!(flags & EXTENTS)) {
      same(kind === EXTENT, false, "an extent without its field");
      same(value.length, valueSize, "value size");
      whole.push({ address, kind, flags, sequence, key, value });
      continue;
    }
    same(kind, SET, "kind of the first part");
    const parts = [value];
    for (let number = 1; number < part; number++) {
      const next = records[++i];
      if (!next) throw new Error("a part is missing");
      same(next.kind, EXTENT, "kind of a part");
      same(next.part, number, "number of a part");
      same(next.valueSize, next.value.length, "size of a part");
      same(next.flags, flags, "flags of a part");
      same(next.key, key, "key of a part");
      same(next.sequence, sequence, "sequence of a part");
      parts.push(next.value);
    }
    const bytes = Buffer.concat(parts);
    same(bytes.length, valueSize, "size of all parts");
    whole.push({
      address,
      kind,
      flags: flags & ~EXTENTS,
      sequence,
      key,
      value: bytes,
    });
  }
  return whole;
}

interface Flight {
  pieces: { offset: number; source: Uint8Array; copy: Buffer }[];
  recordCount: number;
  groupCount: number;
}

/** The log beside the list of what was appended. */
class Pair {
  readonly device = new WatchedDevice();
  readonly instance: Instance;
  private readonly segmentBlocks: number;
  private parser: Parser | undefined;
  readonly appended: Appended[] = [];
  /** Records of sealed groups, and of those that a sync covered; and groups, likewise. */
  sealedGroups = 0;
  durableRecords = 0;
  durableGroups = 0;
  dirty = false;
  /** The durable mark that each sealed group must name. */
  readonly marks: bigint[] = [];
  /** The number of each sealed group: those of values that were given up are left out. */
  readonly numbers: bigint[] = [];
  flight: Flight | undefined;
  /** The core refuses writes until a flush succeeds. */
  blocked = false;
  sequence = 1000n;
  readonly counts = {
    inPlace: 0,
    voided: 0,
    refused: 0,
    aborted: 0,
    streamed: 0,
    flights: 0,
    resident: 0,
  };
  private readonly noise: Buffer;

  constructor(random: Random, segmentBlocks: number, frameCount: number) {
    const chunks = 20 + (frameCount * BLOCK_SIZE * 1.25) / PAGE;
    this.instance = instantiate(chunks, this.device);
    const { units, device, bytes } = this.instance;
    this.device.resize(SEGMENTS_OFFSET + 2 * segmentBlocks * BLOCK_SIZE);
    // Frames are never cleared: what they held before must not reach the device.
    random.fill(bytes.subarray(POOL, POOL + frameCount * BLOCK_SIZE));
    same(units.logSetUp(device, POOL + chunks * PAGE, segmentBlocks, frameCount), 1, "logSetUp");
    units.checkSeedSet(STORE_SEED);
    this.segmentBlocks = segmentBlocks;
    this.noise = Buffer.from(random.fill(new Uint8Array(1 << 16)));
  }

  bytesOf(random: Random, size: number): Buffer {
    const from = random.below(1 << 15);
    const value = Buffer.alloc(size);
    for (let at = 0; at < size; at += 1 << 15)
      this.noise.copy(value, at, from, Math.min(this.noise.length, from + size - at));
    if (size >= 8) value.writeUInt32LE(this.appended.length, size - 4);
    return value;
  }

  keyOf(random: Random): string {
    return random.bytes(random.pick([1, 2, 7, 8, 9, 13, 40, 1 + random.below(300), 2048]), 256);
  }

  /** A status that only a full device explains. True when it was OK. */
  private accepted(status: number, refusalsBefore: number, blocked: boolean): boolean {
    if (status === OK) return true;
    same(status, NO_SPACE, "status");
    if (!blocked && this.device.refusalsSeen === refusalsBefore) throw new Error("NO_SPACE with room to spare");
    this.counts.refused++;
    return false;
  }

  private reserved(size: number, intoReserve: boolean): boolean {
    const refusals = this.device.refusalsSeen;
    const purpose = intoReserve ? DELETING : WRITING;
    return this.accepted(this.instance.units.logReserve(size, purpose), refusals, this.blocked);
  }

  append(random: Random): void {
    const { units, bytes } = this.instance;
    const kind = random.below(10) ? SET : DELETE;
    const key = this.keyOf(random);
    const size = kind === DELETE ? 0 : random.pick(SIZES)(random);
    const total = 16 + key.length + size;
    if (!this.reserved(total, kind === DELETE)) return;
    const value = this.bytesOf(random, size);
    const flags = random.pick([0, 4, 8, 12]);
    if (total > WHOLE_RECORD_MAX && total + 8192 > units.segmentRoom()) {
      this.stream(random, key, value, flags);
      return;
    }
    writeKey(bytes, KEY_A, key);
    // Keys are copied exactly: what lies behind one must not follow it into the log.
    bytes.fill(0xdd, KEY_A + key.length, KEY_A + ((key.length + 7) & ~7));
    bytes.set(value, EXCHANGE);
    const sequence = this.next();
    const address = units.logAppend(kind, flags, sequence, KEY_A, key.length, EXCHANGE, size);
    this.appended.push({ address, kind, flags, sequence, key, value });
    this.dirty = true;
  }

  /** A small value under a key, which must find room. */
  appendOne(key: string, value: Buffer): void {
    const { units, bytes } = this.instance;
    same(units.logReserve(16 + key.length + value.length, 0), OK, "logReserve");
    bytes.set(value, EXCHANGE);
    const sequence = this.next();
    const size = writeKey(bytes, KEY_A, key);
    const address = units.logAppend(SET, 0, sequence, KEY_A, size, EXCHANGE, value.length);
    this.appended.push({ address, kind: SET, flags: 0, sequence, key, value });
    this.dirty = true;
  }

  /** A value in pieces; when `refusing`, the device is full on the way, if it is asked. */
  stream(random: Random, key: string, value: Buffer, flags: number, refusing = false): void {
    const { units, bytes } = this.instance;
    writeKey(bytes, KEY_A, key);
    const sequence = this.sequence + 1n;
    let refusals = this.device.refusalsSeen;
    const groupBefore = units.groupNumber();
    const begun = this.accepted(units.streamBegin(key.length, value.length, flags, sequence), refusals, this.blocked);
    // One that may outgrow the buffer ends the group before it.
    if (units.groupNumber() > groupBefore) this.seal();
    if (!begun) return;
    const group = units.groupNumber();
    for (let at = 0; at < value.length; ) {
      const piece = Math.min(value.length - at, 1 + random.below(random.pick([1000, 50_000, EXCHANGE_SIZE])));
      bytes.set(value.subarray(at, at + piece), EXCHANGE);
      if (refusing && random.below(4) === 0) this.device.refusals = 1;
      refusals = this.device.refusalsSeen;
      if (!this.accepted(units.streamWrite(EXCHANGE, piece), refusals, this.blocked)) {
        this.device.givenUp.add(group);
        this.counts.aborted++;
        // The rest of its segment is left: that is a block of the next group.
        this.dirty = Boolean(units.groupDirty());
        return;
      }
      at += piece;
    }
    units.streamEnd();
    this.next();
    this.appended.push({
      address: undefined,
      kind: SET,
      flags,
      sequence,
      key,
      value,
    });
    this.dirty = true;
    this.counts.streamed++;
  }

  private next(): bigint {
    this.sequence += 1n;
    this.instance.units.logSequenceSet(this.sequence);
    return this.sequence;
  }

  private recent(random: Random): Appended | undefined {
    const span = random.pick([5, 60]);
    return this.appended[this.appended.length - 1 - random.below(Math.min(span, this.appended.length || 1))];
  }

  update(random: Random): void {
    const record = this.recent(random);
    if (!record?.address || record.kind !== SET) return;
    const { units, bytes } = this.instance;
    const size = Math.max(0, record.value.length + random.pick([0, 0, 0, 0, 1, -1, 3, -7, 8, 100]));
    if (size > EXCHANGE_SIZE || !this.reserved(16 + record.key.length + size, false)) return;
    const value = this.bytesOf(random, size);
    bytes.set(value, EXCHANGE);
    const sequence = this.sequence + 1n;
    const flags = random.pick([0, 4]) | (record.flags & 8);
    const done = units.logUpdateInPlace(
      record.address,
      flags,
      sequence,
      record.key.length,
      EXCHANGE,
      record.value.length,
      size,
    );
    if (!done) return;
    Object.assign(record, { value, flags, sequence: this.next() });
    this.counts.inPlace++;
  }

  voidOne(random: Random): void {
    const record = this.recent(random);
    if (!record?.address || !this.reserved(100, false) || !this.instance.units.logVoid(record.address)) return;
    record.kind = VOID;
    this.counts.voided++;
  }

  /** A record that is in memory reads as it was appended; one that is not is on the device. */
  readBack(random: Random): void {
    const record = random.below(2) ? this.recent(random) : this.appended[random.below(this.appended.length || 1)];
    if (!record?.address) return;
    const { units, bytes, view } = this.instance;
    const frame = units.frameAtAddress(record.address) >>> 0;
    const within = Number(record.address % 4096n);
    let at: Buffer;
    if (frame) {
      at = Buffer.from(bytes.subarray(frame + within, frame + BLOCK_SIZE));
      same(view.getBigUint64(frame + 24, true), record.address / 4096n, "device block of a frame");
      this.counts.resident++;
    } else {
      const block = this.device.written.get(Number(record.address / 4096n));
      if (!block) throw new Error("a record is neither in memory nor on the device");
      at = block.subarray(within);
    }
    const inBlock = Math.min(record.value.length, at.length - 16 - record.key.length);
    same(at.readUInt8(6), record.kind, "kind in memory");
    same(at.readBigUInt64LE(8), record.sequence, "sequence in memory");
    same(at.toString("latin1", 16, 16 + record.key.length), record.key, "key in memory");
    const valueAt = 16 + record.key.length;
    same(at.compare(record.value, 0, inBlock, valueAt, valueAt + inBlock), 0, "value in memory");
  }

  private seal(): void {
    if (!this.dirty) return;
    this.dirty = false;
    this.marks.push(this.durableGroups ? (this.numbers[this.durableGroups - 1] as bigint) : 0n);
    this.numbers.push(this.instance.units.groupNumber() - 1n);
    this.sealedGroups++;
  }

  flush(): void {
    const { units } = this.instance;
    const refusals = this.device.refusalsSeen;
    const syncs = this.device.syncs;
    const pending = units.groupPending() !== 0;
    const status = units.flushSync();
    // The group is sealed unless the flight before it was refused already.
    if (status !== OK && this.device.refusalsSeen > refusals) {
      this.accepted(status, refusals, this.blocked);
      this.blocked = true;
      this.sealedByRefusal();
      return;
    }
    same(status, OK, "flushSync");
    if (pending) expect(this.device.syncs).toBeGreaterThan(syncs);
    this.seal();
    this.blocked = false;
    this.durable(this.appended.length, this.sealedGroups);
  }

  /** After a refusal the group may be sealed or not: the number of the current group says which. */
  private sealedByRefusal(): void {
    if (this.dirty && !this.instance.units.groupDirty()) this.seal();
  }

  private durable(records: number, groups: number): void {
    this.durableRecords = Math.max(this.durableRecords, records);
    this.durableGroups = Math.max(this.durableGroups, groups);
  }

  begin(): void {
    const { units, view, bytes } = this.instance;
    const refusals = this.device.refusalsSeen;
    const groupBefore = units.groupNumber();
    const pieceCount = units.groupBegin();
    // A group that was written before its time, and not synced, is followed by an empty one.
    if (pieceCount > 0 && units.groupNumber() > groupBefore) this.dirty = true;
    if (this.flight) {
      if (pieceCount > 0) throw new Error("a second flight");
      return;
    }
    if (pieceCount < 0) {
      this.accepted(pieceCount, refusals, this.blocked);
      this.blocked = true;
      this.sealedByRefusal();
      return;
    }
    if (pieceCount === 0) {
      // The store then tells whoever waits that all is durable.
      same(this.dirty, false, "nothing to put in flight");
      same(this.durableRecords, this.appended.length, "records durable when nothing is to be put in flight");
      return;
    }
    this.seal();
    const pieces = Array.from({ length: pieceCount }, (_, index) => {
      const at = PLAN + 16 * index;
      const pointer = view.getUint32(at + 8, true);
      const source = bytes.subarray(pointer, pointer + (view.getUint32(at + 12, true) & 0x7fff_ffff));
      return {
        offset: view.getFloat64(at, true),
        source,
        copy: Buffer.from(source),
      };
    });
    this.flight = {
      pieces,
      recordCount: this.appended.length,
      groupCount: this.sealedGroups,
    };
    this.counts.flights++;
  }

  /** The host ends the flight; `refused` when the device had no room for all of it. */
  land(random: Random, refused: boolean): void {
    const { flight } = this;
    if (!flight) return;
    this.flight = undefined;
    for (const { offset, source, copy } of flight.pieces) {
      if (copy.compare(source)) throw new Error("the bytes of a flight changed under the host");
      if (!refused || random.below(2)) this.device.writeAnyhow(offset, source);
    }
    const status = this.instance.units.groupFinish(refused ? FLIGHT_NO_SPACE : FLIGHT_DONE);
    if (refused && this.durableGroups < flight.groupCount) {
      same(status, NO_SPACE, "a refused flight");
      this.blocked = true;
      return;
    }
    same(status, OK, "groupFinish");
    this.durable(flight.recordCount, flight.groupCount);
  }

  /** What the device holds is a beginning of what was appended, with all that is durable. */
  check(): void {
    this.parser ??= new Parser(this.device, this.segmentBlocks);
    const image = this.parser.parse();
    const records = joined(image.records);
    if (records.length < this.durableRecords) {
      throw new Error(`${records.length} records on the device, ${this.durableRecords} durable`);
    }
    if (records.length > this.appended.length) throw new Error("records that were never appended");
    for (const [index, found] of records.entries()) {
      const wanted = this.appended[index]!;
      if (wanted.address !== undefined) same(found.address, wanted.address, `address of record ${index}`);
      same(found.kind, wanted.kind, `kind of record ${index}`);
      same(found.flags, wanted.flags, `flags of record ${index}`);
      same(found.sequence, wanted.sequence, `sequence of record ${index}`);
      same(found.key, wanted.key, `key of record ${index}`);
      if (!found.value.equals(wanted.value)) throw new Error(`value of record ${index}`);
    }
    for (const [index, { group, durable, sequence, recordCount }] of image.groups.entries()) {
      same(group, this.numbers[index]!, "number of a group");
      same(durable, this.marks[index]!, `durable mark of group ${index}`);
      for (const record of image.records.slice(image.groups[index - 1]?.recordCount ?? 0, recordCount)) {
        if (record.sequence > sequence) throw new Error("a record above its group's sequence");
      }
    }
  }
}

/** Sizes of values: inline, within a block, to the byte at its end, over several blocks, over segments. */
const SIZES: ((random: Random) => number)[] = [
  () => 0,
  (random) => random.below(130),
  (random) => random.below(130),
  (random) => random.below(1000),
  (random) => random.below(5000),
  (random) => 4040 - 16 - random.below(64),
  (random) => 2 * 4040 - 16 - random.below(64),
  (random) => random.below(20_000),
  (random) => (random.below(8) ? random.below(500) : random.below(EXCHANGE_SIZE)),
];

describe(`log, seed ${SEED}`, () => {
  test.each([
    ["segments of 16 blocks, a ring of 64", 16, 64, 5000],
    ["segments of 16 blocks, a ring of 256", 16, 256, 4000],
    ["segments of 256 blocks, a ring of 128", 256, 128, 5000],
  ])("what is appended lies on the device: %s", (_, segmentBlocks, frameCount, steps) => {
    const random = new Random(SEED);
    const pair = new Pair(random, segmentBlocks, frameCount);
    for (let i = 0; i < steps; i++) {
      const choice = random.below(1000);
      if (choice < 640) pair.append(random);
      else if (choice < 780) pair.update(random);
      else if (choice < 800) pair.voidOne(random);
      else if (choice < 920) pair.readBack(random);
      else if (choice < 940) pair.flush();
      else if (choice < 965) pair.begin();
      else if (choice < 990) pair.land(random, false);
      else if (choice < 995) {
        const value = pair.bytesOf(random, random.below(random.pick([100_000, 800_000])));
        pair.stream(random, pair.keyOf(random), value, 4);
      } else if (choice < 996) pair.check();
    }
    pair.land(random, false);
    pair.flush();
    pair.check();
    expect(pair.durableRecords).toBe(pair.appended.length);
    expect(pair.counts.inPlace).toBeGreaterThan(10);
    expect(pair.counts.voided).toBeGreaterThan(5);
    expect(pair.counts.streamed).toBeGreaterThan(5);
    expect(pair.counts.flights).toBeGreaterThan(20);
    expect(pair.counts.resident).toBeGreaterThan(100);
    expect(pair.counts.refused).toBe(0);
  });

  test.each([
    ["segments of 16 blocks", 16, 64],
    ["segments of 256 blocks", 256, 64],
  ])(
    "a device that is full for a while loses nothing and lets nothing in halfway: %s",
    (_, segmentBlocks, frameCount) => {
      const random = new Random(SEED);
      const pair = new Pair(random, segmentBlocks, frameCount);
      for (let i = 0; i < 5000; i++) {
        const choice = random.below(1000);
        if (choice < 10) pair.device.refusals = 1 + random.below(3);
        else if (choice < 540) pair.append(random);
        else if (choice < 670) pair.update(random);
        else if (choice < 690) pair.voidOne(random);
        else if (choice < 800) pair.readBack(random);
        else if (choice < 870) pair.flush();
        else if (choice < 910) pair.begin();
        else if (choice < 960) pair.land(random, random.below(6) === 0);
        else if (choice < 998) {
          const value = pair.bytesOf(random, random.below(random.pick([100_000, 400_000, 800_000])));
          // A value that outgrows the buffer meets the full device on its way.
          if (value.length > 400_000) pair.device.refusals = 1;
          pair.stream(random, pair.keyOf(random), value, 4, random.below(3) === 0);
        } else pair.check();
      }
      pair.device.refusals = 0;
      pair.land(random, false);
      pair.flush();
      pair.flush();
      pair.check();
      expect(pair.durableRecords).toBe(pair.appended.length);
      expect(pair.counts.refused).toBeGreaterThan(20);
      expect(pair.counts.aborted).toBeGreaterThan(0);
    },
  );

  test("a record far behind the tail is updated, or made void, and its block gets a new checksum", () => {
    const random = new Random(SEED);
    const pair = new Pair(random, 256, 512);
    const { units, bytes } = pair.instance;
    // Each fills a block.
    for (let i = 1000; i < 1200; i++) pair.appendOne(String(i), pair.bytesOf(random, 4020 - random.below(8)));
    for (let i = 0; i < 200; i += 1 + random.below(5)) {
      const record = pair.appended[i]!;
      if (random.below(3) === 0) {
        expect(units.logVoid(record.address!)).toBe(1);
        record.kind = VOID;
        continue;
      }
      const value = pair.bytesOf(random, record.value.length);
      bytes.set(value, EXCHANGE);
      const size = value.length;
      expect(units.logUpdateInPlace(record.address!, 0, 5000n, record.key.length, EXCHANGE, size, size)).toBe(1);
      Object.assign(record, { value, sequence: 5000n });
    }
    units.logSequenceSet(5000n);
    pair.flush();
    pair.check();
    expect(pair.durableRecords).toBe(200);
    for (const { address } of pair.appended) {
      expect(units.logVoid(address!)).toBe(0);
      expect(units.logUpdateInPlace(address!, 0, 6000n, 4, EXCHANGE, 4020, 4020)).toBe(0);
    }
  });

  test("a flush that was refused while a flight landed leaves no write refused", () => {
    const random = new Random(SEED);
    const pair = new Pair(random, 16, 64);
    pair.appendOne("a", Buffer.from("1"));
    pair.begin();
    pair.device.refusals = 1;
    expect(pair.instance.units.flushSync()).toBe(NO_SPACE);
    pair.land(random, false);
    pair.flush();
    expect(pair.durableRecords).toBe(1);
    expect(pair.instance.units.logReserve(100, 0)).toBe(OK);
  });

  test("a value that fits the write buffer is not refused once it began, nor takes others with it", () => {
    const random = new Random(SEED);
    for (let before = 0; before < 16; before++) {
      for (let size = 17_000; size < 120_000; size += 9000) {
        const pair = new Pair(random, 16, 64);
        for (let i = 0; i < before; i++) pair.appendOne(`k${i}`, pair.bytesOf(random, 4000));
        const { units, bytes } = pair.instance;
        const value = pair.bytesOf(random, size);
        expect(units.streamBegin(writeKey(bytes, KEY_A, "large"), size, 0, 5000n)).toBe(OK);
        pair.device.refusals = 1000;
        bytes.set(value, EXCHANGE);
        expect(units.streamWrite(EXCHANGE, size), `${size} bytes behind ${before} records`).toBe(OK);
        units.streamEnd();
      }
    }
  });
});
