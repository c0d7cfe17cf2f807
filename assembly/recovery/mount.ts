/**
 * Formatting and mounting.
 *
 * A mount reads the superblock, finds the log, replays what is durable, and then, before anything of it is served,
 * copies whatever complete groups lie behind the durable mark to fresh segments and syncs them: they may have been
 * acknowledged, and they may also have been read from a cache that the device never took. The copies keep the layout
 * of their blocks, so the same replay reads them. A torn tail is left behind; the next segment says where it begins.
 */
import { deviceRead, deviceSetSize, deviceSize, deviceSync, deviceWrite } from "../device/device";
import { randomU64 } from "../device/imports";
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader, blockCheck, blockValid, trailerOf } from "../format/block";
import { SEGMENT_HEADER_SIZE, SegmentKind, segmentHeaderOf } from "../format/segment";
import {
  FORMAT_VERSION,
  INCOMPATIBLE_KNOWN,
  READ_COMPATIBLE_KNOWN,
  SUPERBLOCK_MAGIC,
  Superblock,
  superblockIntact,
} from "../format/superblock";
import {
  BLOCK_SIZE,
  BLOCK_SIZE_LOG2,
  SEGMENT_BLOCKS_MAX,
  SEGMENT_BLOCKS_MIN,
  SEGMENTS_OFFSET,
  SEQUENCE_STRIDE,
  SUPERBLOCK_COPIES,
  SUPERBLOCK_STRIDE,
} from "../limits";
import { segmentBegin, segmentHeaderFill } from "../log/append";
import {
  segmentAt,
  segmentOffset,
  segmentsEnsure,
  segmentsRecount,
  segmentsReserve,
  segmentTake,
} from "../log/segments";
import { superblockCommit } from "../log/superblock-store";
import { root, SUPERBLOCK_A, SUPERBLOCK_B } from "../root";
import { Status } from "../status";
import { replayBlock, replayReset } from "./replay";
import { durableMark, headersScan, ScanState, streamChoose, streamFirst } from "./stream-scan";

/** What `probe` answers beside a status. */
export namespace Probe {
  /** A store. */
  export const STORE: i32 = 1;
  /** Nothing but zeros, or nothing at all. */
  export const BLANK: i32 = 0;
}

export namespace MountFlags {
  export const READ_ONLY: u32 = 1;
  export const GROWABLE: u32 = 2;
  /** Whoever had the store before may still be running: none of its allotment is used. */
  export const PREDECESSOR_ALIVE: u32 = 4;
  /** Cold blocks are read through the handle that bypasses the host's cache. */
  export const DIRECT_READS: u32 = 8;
}

/**
 * Looks at a device without changing it: STORE, with the best superblock in SUPERBLOCK_A, or BLANK; NOT_A_STORE when it
 * holds something else, CORRUPT when it was a store and no copy of the superblock is whole, UNSUPPORTED_FORMAT.
 */
export function probe(device: u32): i32 {
  root.device = device;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  const best = changetype<Superblock>(SUPERBLOCK_A);
  const copy = changetype<Superblock>(SUPERBLOCK_B);
  best.generation = 0;
  let found = false;
  let traces = false;
  let blank = true;
  for (let i = 0; i < SUPERBLOCK_COPIES; i++) {
    const offset = <u64>i * SUPERBLOCK_STRIDE;
    if (offset + BLOCK_SIZE > <u64>size) break;
    const status = deviceRead(offset, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!isZero(SUPERBLOCK_B)) blank = false;
    if (copy.magic == SUPERBLOCK_MAGIC) traces = true;
    if (!superblockIntact(copy) || (found && copy.generation <= best.generation)) continue;
    memory.copy(SUPERBLOCK_A, SUPERBLOCK_B, BLOCK_SIZE);
    found = true;
  }
  if (!found) {
    if (traces) return Status.CORRUPT;
    if (!blank) return Status.NOT_A_STORE;
    return restIsZero(<u64>size);
  }
  if (best.formatVersion > FORMAT_VERSION || best.incompatible & ~INCOMPATIBLE_KNOWN) return Status.UNSUPPORTED_FORMAT;
  return Probe.STORE;
}

/**
 * Writes an empty store: two segments on a device that grows, all that fit on one that does not. NO_SPACE when not even
 * these fit. `segmentBlocks` is a power of two.
 */
export function format(device: u32, engine: u32, segmentBlocks: u32, flags: u32): i32 {
  root.device = device;
  root.growable = flags & MountFlags.GROWABLE ? 1 : 0;
  root.engine = engine;
  if (!geometrySet(segmentBlocks)) return Status.INVALID_ARGUMENT;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  const needed = segmentOffset(2);
  if (root.growable) {
    if (<u64>size < needed) {
      const grown = deviceSetSize(needed);
      if (grown < 0) return grown;
      const synced = deviceSync();
      if (synced < 0) return synced;
    }
    root.segmentCount = 2;
  } else {
    const count = (<u64>size - min<u64>(SEGMENTS_OFFSET, <u64>size)) >> root.segmentSizeLog2;
    // The reserve, a segment to write to, and one to spare.
    if (count < 5) return Status.NO_SPACE;
    root.segmentCount = <u32>min<u64>(count, 0x7fffffff);
  }
  root.storeIdLow = randomU64();
  root.storeIdHigh = randomU64();
  root.hashSeed = randomU64();
  root.epoch = 0;
  root.superblockGeneration = 0;
  root.sequenceCeiling = 1;
  root.closed = 1;
  // Twice: all four copies.
  for (let i = 0; i < 2; i++) {
    const status = superblockCommit();
    if (status < 0) return status;
  }
  return Status.OK;
}

/** Mounts the store that `probe` found. See the head of this file; statuses of all kinds, none of them an assertion. */
export function mount(device: u32, uncached: u32, engine: u32, flags: u32, frame: usize): i32 {
  const superblock = changetype<Superblock>(SUPERBLOCK_A);
  root.device = device;
  root.deviceUncached = uncached;
  root.readOnly = flags & MountFlags.READ_ONLY ? 1 : 0;
  root.growable = flags & MountFlags.GROWABLE ? 1 : 0;
  const accepted = superblockAccept(superblock, engine);
  if (accepted < 0) return accepted;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  if (<u64>size < segmentOffset(root.segmentCount)) return Status.DEVICE_SHRUNK;
  if (!root.growable && !root.readOnly) {
    // A device that was enlarged is used to its end.
    root.segmentCount = <u32>max<u64>(root.segmentCount, (<u64>size - SEGMENTS_OFFSET) >> root.segmentSizeLog2);
  }
  const ensured = segmentsEnsure(root.segmentCount);
  if (ensured < 0) return ensured;
  const scanned = headersScan(frame);
  if (scanned < 0) return scanned;
  const chosen = streamChoose(frame);
  if (chosen < 0) return <i32>chosen;
  const mark = chosen ? durableMark(<u32>chosen - 1, frame) : noStreamMark(frame);
  root.previousGroup = 0;
  root.previousGeneration = 0;
  root.segmentOrdinal = 0;
  root.tailFromSegment = 0;
  if (chosen) {
    const replayed = streamReplay(streamFirst(<u32>chosen - 1) - 1, mark, frame);
    if (replayed < 0) return replayed;
  }
  // A group that something vouches for must have been found.
  if (root.previousGroup < mark && mark > 1) return corruptAt(doubtfulOffset());
  root.durableGroup = root.previousGroup;
  if (root.readOnly) {
    root.sequence = root.replaySequence;
    streamKeep();
    root.blocked = Status.READ_ONLY;
    return Status.OK;
  }
  return mountForWriting(flags, frame);
}

function mountForWriting(flags: u32, frame: usize): i32 {
  root.sequence = root.sequenceCeiling - 1;
  root.sequenceCeiling += SEQUENCE_STRIDE;
  root.epoch++;
  root.generationCounter = 0;
  root.group = ((<u64>root.epoch) << 40) + 1;
  root.saltLow = randomU64();
  root.saltHigh = randomU64();
  // The allotment: what an opener that may still be alive can write to is left alone.
  const startAfter = !root.closed && flags & MountFlags.PREDECESSOR_ALIVE ? root.allotmentEnd : 0;
  root.closed = 0;
  root.allotmentStart = startAfter;
  root.allotmentEnd = root.growable ? root.segmentCount : min(root.segmentCount, max(startAfter, root.allotmentEnd));
  const committed = superblockCommit();
  if (committed < 0) return committed;
  segmentsRecount();
  if (root.tailFromSegment) {
    const moved = tailMove(frame);
    if (moved < 0) return moved;
  }
  streamKeep();
  root.durableGroup = root.previousGroup;
  root.durableSequence = root.sequence;
  return Status.OK;
}

/** Frees every segment that is not part of the stream as it now stands. */
function streamKeep(): void {
  for (let i: u32 = 0; i < root.segmentCount; i++) segmentAt(i).kind = SegmentKind.FREE;
  let generation = root.previousGeneration;
  let index = root.previousSegment;
  let end = root.previousEnd;
  while (generation) {
    const state = segmentAt(index);
    state.kind = SegmentKind.LOG;
    state.end = end;
    end = state.previousEnd;
    generation = state.previousGeneration;
    index = state.previousSegment;
  }
  segmentsRecount();
}

/** Takes over what a superblock says. UNSUPPORTED_FORMAT, ENGINE_MISMATCH, CORRUPT when it says what cannot be. */
export function superblockAccept(superblock: Superblock, engine: u32): i32 {
  if (superblock.readCompatible & ~READ_COMPATIBLE_KNOWN && !root.readOnly) return Status.UNSUPPORTED_FORMAT;
  if (superblock.engine != engine) return Status.ENGINE_MISMATCH;
  if (!geometrySet(superblock.segmentBlocks)) return Status.CORRUPT;
  if (!superblock.segmentCount || superblock.allotmentEnd > superblock.segmentCount) return Status.CORRUPT;
  if (superblock.epoch > 0xfffffe || superblock.sequenceCeiling >= 0xffffff000000) return Status.CORRUPT;
  root.engine = engine;
  root.storeIdLow = superblock.storeIdLow;
  root.storeIdHigh = superblock.storeIdHigh;
  root.checkSeed = superblock.storeIdLow ^ rotl<u64>(superblock.storeIdHigh, 32);
  root.hashSeed = superblock.hashSeed;
  root.superblockGeneration = superblock.generation;
  root.epoch = superblock.epoch;
  root.segmentCount = superblock.segmentCount;
  root.allotmentStart = superblock.allotmentStart;
  root.allotmentEnd = superblock.allotmentEnd;
  root.closed = superblock.closed;
  root.sequenceCeiling = superblock.sequenceCeiling;
  root.durableGroup = superblock.durableGroup;
  root.highestTimeMs = superblock.highestTimeMs;
  root.droppedTombstones = superblock.droppedTombstones;
  return Status.OK;
}

/**
 * Replays the stream from its first segment up to the last group at or below the durable mark, and finds out whether
 * complete groups follow: then `tailFrom...` and `tailTo...` enclose them.
 */
function streamReplay(first: u32, mark: u64, frame: usize): i32 {
  let index = first;
  let applying = true;
  let group: u64 = 0;
  let ended = true;
  replayReset();
  while (true) {
    const state = segmentAt(index);
    const base = segmentOffset(index);
    for (let block: u32 = 0; block < state.end; block++) {
      const offset = base + ((<u64>block) << BLOCK_SIZE_LOG2);
      const status = deviceRead(offset, frame, <u32>BLOCK_SIZE);
      if (status < 0) return status;
      const header = changetype<BlockHeader>(frame);
      const intact =
        header.generation == state.generation &&
        blockValid(frame, offset >> BLOCK_SIZE_LOG2) &&
        (ended ? header.group > group : header.group == group);
      if (!intact) return streamEnd(offset, mark);
      if (ended) {
        group = header.group;
        if (applying && group > mark) {
          // From here on groups are only counted; they are replayed from their copies.
          applying = false;
          placeSet(index, block);
          root.tailFromSegment = index + 1;
          root.tailFromBlock = block;
          root.tailToSegment = 0;
        }
      }
      ended = (header.flags & BlockFlags.GROUP_END) != 0;
      if (applying) {
        const replayed = replayBlock(frame, offset, state.end - block - 1);
        if (replayed < 0) {
          root.faultOffset = offset;
          return replayed;
        }
        if (ended) {
          if (root.replayCarry) return corruptAt(offset);
          root.previousGroup = group;
        }
      } else if (ended) {
        root.tailToSegment = index + 1;
        root.tailToBlock = block + 1;
      }
      if (applying) placeSet(index, block + 1);
    }
    if (!state.next) return streamEnd(base + ((<u64>state.end) << BLOCK_SIZE_LOG2), mark);
    index = state.next - 1;
  }
}

/** The stream ends before `offset`. CORRUPT when what is missing there was durable. */
function streamEnd(offset: u64, mark: u64): i32 {
  if (root.previousGroup < mark && mark > 1) return corruptAt(offset);
  // Behind the mark there may be no complete group.
  if (!root.tailToSegment) root.tailFromSegment = 0;
  return Status.OK;
}

/** The stream, as far as it is replayed, ends before `block` of a segment. */
function placeSet(segment: u32, block: u32): void {
  const state = segmentAt(segment);
  if (!block) {
    root.previousSegment = state.previousSegment;
    root.previousEnd = state.previousEnd;
    root.previousGeneration = state.previousGeneration;
    root.segmentOrdinal = state.ordinal - 1;
    return;
  }
  root.previousSegment = segment;
  root.previousEnd = block;
  root.previousGeneration = state.generation;
  root.segmentOrdinal = state.ordinal;
}

/** Without a stream, a mark can only come from segments that cannot be read. */
function noStreamMark(frame: usize): u64 {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!state.scan) continue;
    for (let block: u32 = 0; block < root.segmentBlocks; block++) {
      const offset = segmentOffset(i) + ((<u64>block) << BLOCK_SIZE_LOG2);
      if (deviceRead(offset, frame, <u32>BLOCK_SIZE) < 0) continue;
      const header = changetype<BlockHeader>(frame);
      if (!blockValid(frame, offset >> BLOCK_SIZE_LOG2) || !(header.flags & BlockFlags.GROUP_END)) continue;
      if (header.generation >> 32 > <u64>root.epoch) continue;
      root.durableGroup = max<u64>(root.durableGroup, trailerOf(frame).durableGroup);
    }
  }
  return root.durableGroup;
}

/**
 * Copies the groups behind the mark to fresh segments, one for each that they lie in, with the layout of their blocks,
 * as one group, so that either all of them are taken over or the originals still stand; syncs; replays the copies.
 * The log goes on behind them.
 */
function tailMove(frame: usize): i32 {
  const lastSource = root.tailToSegment - 1;
  let source = root.tailFromSegment - 1;
  let block = root.tailFromBlock;
  let firstCopy: u32 = 0;
  while (true) {
    const state = segmentAt(source);
    const last = source == lastSource;
    const end = last ? root.tailToBlock : state.end;
    // The first copy takes the place of what follows in the stream.
    const following = state.next;
    const reserved = segmentsReserve(2, true);
    if (reserved < 0) return reserved;
    const index = copyOpen(frame);
    if (index < 0) return <i32>index;
    if (!firstCopy) firstCopy = <u32>index + 1;
    let at: u32 = 1;
    // A segment's own header is not part of what it holds.
    for (let b = block ? block : 1; b < end; b++, at++) {
      const status = copyBlock(source, b, <u32>index, at, last && b + 1 == end, frame);
      if (status < 0) return status;
    }
    segmentAt(<u32>index).end = at;
    placeSet(<u32>index, at);
    if (last) break;
    if (!following) return corruptAt(segmentOffset(source));
    source = following - 1;
    block = 0;
  }
  const synced = deviceSync();
  if (synced < 0) return synced;
  root.group++;
  return copiesReplay(firstCopy - 1, frame);
}

/** Opens a fresh segment for copies, behind the present end of the stream: its index, or a status. */
function copyOpen(frame: usize): i64 {
  const index = segmentTake();
  const former = segmentBegin(index, 0);
  memory.fill(frame, 0, BLOCK_SIZE);
  const header = changetype<BlockHeader>(frame);
  header.generation = segmentAt(index).generation;
  header.deviceBlock = segmentOffset(index) >> BLOCK_SIZE_LOG2;
  header.group = root.group;
  header.used = <u16>SEGMENT_HEADER_SIZE;
  header.flags = <u16>BlockFlags.SEGMENT_HEADER;
  header.first = 0xffff;
  segmentHeaderFill(segmentHeaderOf(frame), index, former);
  header.check = blockCheck(frame);
  const written = deviceWrite(segmentOffset(index), frame, <u32>BLOCK_SIZE);
  return written < 0 ? written : <i64>index;
}

/** Copies one block of an unproven group: same payload, its new place and group in the header. */
function copyBlock(source: u32, block: u32, target: u32, at: u32, last: bool, frame: usize): i32 {
  const from = segmentOffset(source) + ((<u64>block) << BLOCK_SIZE_LOG2);
  const status = deviceRead(from, frame, <u32>BLOCK_SIZE);
  if (status < 0) return status;
  // It was intact when the tail was measured; a device that gives other bytes now has nothing to offer.
  const header = changetype<BlockHeader>(frame);
  if (!blockValid(frame, from >> BLOCK_SIZE_LOG2)) return corruptAt(from);
  const to = segmentOffset(target) + ((<u64>at) << BLOCK_SIZE_LOG2);
  header.generation = segmentAt(target).generation;
  header.deviceBlock = to >> BLOCK_SIZE_LOG2;
  header.group = root.group;
  if (last) trailerOf(frame).durableGroup = root.durableGroup;
  else header.flags &= ~(<u16>BlockFlags.GROUP_END);
  header.check = blockCheck(frame);
  root.recoveredTailBlocks++;
  return deviceWrite(to, frame, <u32>BLOCK_SIZE);
}

function copiesReplay(first: u32, frame: usize): i32 {
  let index = first;
  replayReset();
  while (true) {
    const state = segmentAt(index);
    for (let block: u32 = 0; block < state.end; block++) {
      const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
      const status = deviceRead(offset, frame, <u32>BLOCK_SIZE);
      if (status < 0) return status;
      if (!blockValid(frame, offset >> BLOCK_SIZE_LOG2)) return corruptAt(offset);
      const replayed = replayBlock(frame, offset, state.end - block - 1);
      if (replayed < 0) return replayed;
      root.previousGroup = changetype<BlockHeader>(frame).group;
    }
    if (!state.next) return Status.OK;
    index = state.next - 1;
  }
}

/** Where to look when the log, or its beginning, is not found at all: the first segment that is not what it should be. */
function doubtfulOffset(): u64 {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const scan = segmentAt(i).scan;
    if (scan == ScanState.UNREADABLE || scan == ScanState.REJECTED) return segmentOffset(i);
  }
  return segmentOffset(0);
}

function corruptAt(offset: u64): i32 {
  root.faultOffset = offset;
  return Status.CORRUPT;
}

function geometrySet(segmentBlocks: u32): bool {
  if (segmentBlocks < SEGMENT_BLOCKS_MIN || segmentBlocks > SEGMENT_BLOCKS_MAX) return false;
  if (segmentBlocks & (segmentBlocks - 1)) return false;
  root.segmentBlocks = segmentBlocks;
  root.segmentSizeLog2 = <u32>ctz(segmentBlocks) + <u32>BLOCK_SIZE_LOG2;
  root.segmentOpen = 0;
  root.segmentOpenBlock = segmentBlocks;
  return true;
}

function isZero(frame: usize): bool {
  let any: u64 = 0;
  for (let i: usize = 0; i < BLOCK_SIZE; i += 8) any |= load<u64>(frame + i);
  return any == 0;
}

/** BLANK when the device's first MiB is zero, else NOT_A_STORE. */
function restIsZero(size: u64): i32 {
  for (let offset: u64 = 0; offset + BLOCK_SIZE <= min<u64>(size, SEGMENTS_OFFSET); offset += BLOCK_SIZE) {
    const status = deviceRead(offset, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!isZero(SUPERBLOCK_B)) return Status.NOT_A_STORE;
  }
  return Probe.BLANK;
}

if (BLOCK_HEADER_SIZE != 56) ERROR("copies keep the layout of the payload");
