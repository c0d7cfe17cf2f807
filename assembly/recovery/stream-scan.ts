/**
 * Finding the log on the device: which segments belong to it, in which order, and where it ends.
 *
 * The newest segment whose predecessors are all there, back to the first, ends the stream; each header says which
 * segment comes before it and how many of that one's blocks belong to the stream. Newer segments that do not connect
 * are what a torn tail left, unless one of them proves that something of the stream was durable and is gone.
 *
 * Invariants: (1) walking back, generations and ordinals strictly fall, so it ends; (2) a mount's segments count only
 * if the mount's first group is complete: until then, what it would cut off still stands.
 */
import { deviceRead } from "../device/device";
import { BlockFlags, BlockHeader, blockValid, trailerOf } from "../format/block";
import { SegmentKind, segmentHeaderOf, segmentHeaderValid } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { SegmentState, segmentAt, segmentOffset } from "../log/segments";
import { root } from "../root";
import { Status } from "../status";

/** What the first look at a segment found. */
export namespace ScanState {
  /** Nothing that was ever a block of this store. */
  export const BLANK: u32 = 0;
  /** A log segment's header. */
  export const HEADER: u32 = 1;
  /** Bytes that are not an intact header. */
  export const UNREADABLE: u32 = 2;
  /** A header that turned out not to connect. */
  export const REJECTED: u32 = 3;
}

/** Reads all segment headers into the table. DEVICE_READ, DEVICE_SHRUNK, CORRUPT. One block read a segment. */
export function headersScan(frame: usize): i32 {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    memory.fill(changetype<usize>(state), 0, offsetof<SegmentState>());
    const status = deviceRead(segmentOffset(i), frame, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    const block = changetype<BlockHeader>(frame);
    if (!blockValid(frame, segmentOffset(i) >> BLOCK_SIZE_LOG2) || !segmentHeaderValid(frame)) {
      state.scan = block.check || block.generation || block.deviceBlock ? ScanState.UNREADABLE : ScanState.BLANK;
      continue;
    }
    // The superblock of a mount is synced before its first write, so a later mount's segment means that it was lost.
    if (block.generation >> 32 > <u64>root.epoch) {
      root.faultOffset = segmentOffset(i);
      return Status.CORRUPT;
    }
    const header = segmentHeaderOf(frame);
    state.generation = block.generation;
    state.ordinal = header.ordinal;
    state.previousGeneration = header.previousGeneration;
    state.previousSegment = header.previousSegment;
    state.previousEnd = header.previousEnd;
    state.scan = header.kind == SegmentKind.LOG ? ScanState.HEADER : ScanState.REJECTED;
  }
  return Status.OK;
}

/**
 * Chooses the last segment of the stream: its index plus 1, 0 when there is no stream, or a status. Marks the stream's
 * segments as LOG and links them forwards through `next`; `end` says how many blocks of each belong to it.
 */
export function streamChoose(frame: usize): i64 {
  for (let round: u32 = 0; round <= root.segmentCount; round++) {
    const candidate = newestHeader();
    if (!candidate) return 0;
    const index = candidate - 1;
    const state = segmentAt(index);
    const first = mountFirst(index);
    if (!first) {
      state.scan = ScanState.REJECTED;
      continue;
    }
    const complete = firstGroupComplete(first - 1, frame);
    if (complete < 0) return complete;
    if (!complete) {
      mountReject(state.generation >> 32);
      continue;
    }
    link(index);
    return <i64>candidate;
  }
  return 0;
}

/** The first segment of a linked stream plus 1, given its last. */
export function streamFirst(last: u32): u32 {
  let index = last;
  while (segmentAt(index).previousGeneration) index = segmentAt(index).previousSegment;
  return index + 1;
}

/**
 * The newest durable group that any block on the device vouches for, beside what the superblock says: from the tail of
 * the stream, and from all segments that were rejected although they are newer, or that cannot be read.
 */
export function durableMark(last: u32, frame: usize): u64 {
  let mark = root.durableGroup;
  const newest = segmentAt(last).generation;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    const suspicious =
      state.scan == ScanState.UNREADABLE || (state.scan == ScanState.REJECTED && state.generation > newest);
    if (suspicious) mark = max<u64>(mark, segmentMark(i, root.segmentBlocks, frame));
  }
  let index = last;
  while (true) {
    const state = segmentAt(index);
    const found = segmentMark(index, state.end, frame);
    mark = max<u64>(mark, found);
    if (found || !state.previousGeneration) return mark;
    index = state.previousSegment;
  }
}

/** Highest durable group named by an intact end of a group in a segment; 0 when there is none. */
function segmentMark(index: u32, end: u32, frame: usize): u64 {
  let mark: u64 = 0;
  const base = segmentOffset(index);
  for (let block: u32 = 0; block < end; block++) {
    const offset = base + ((<u64>block) << BLOCK_SIZE_LOG2);
    if (deviceRead(offset, frame, <u32>BLOCK_SIZE) < 0) continue;
    const header = changetype<BlockHeader>(frame);
    if (!header.generation || header.generation >> 32 > root.epoch) continue;
    if (!blockValid(frame, offset >> BLOCK_SIZE_LOG2) || !(header.flags & BlockFlags.GROUP_END)) continue;
    const trailer = trailerOf(frame);
    // An end of a group also proves that time and sequences were once this far.
    mark = max<u64>(mark, trailer.durableGroup);
    if (!mark) mark = 1;
  }
  return mark;
}

/** Index plus 1 of the newest header that was not rejected, 0 when none is left. */
function newestHeader(): u32 {
  let found: u32 = 0;
  let generation: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.scan != ScanState.HEADER || state.generation <= generation) continue;
    found = i + 1;
    generation = state.generation;
  }
  return found;
}

/** Walks back to the stream's start: index plus 1 of the first segment of the candidate's own mount, 0 when a link is broken. */
function mountFirst(index: u32): u32 {
  const epoch = segmentAt(index).generation >> 32;
  let own = index + 1;
  while (true) {
    const state = segmentAt(index);
    if (state.generation >> 32 == epoch) own = index + 1;
    if (!state.previousGeneration) return state.ordinal == 1 ? own : 0;
    const previous = state.previousSegment;
    if (previous >= root.segmentCount) return 0;
    const before = segmentAt(previous);
    if (before.scan != ScanState.HEADER || before.generation != state.previousGeneration) return 0;
    if (before.generation >= state.generation || before.ordinal + 1 != state.ordinal) return 0;
    if (!state.previousEnd || state.previousEnd > root.segmentBlocks) return 0;
    index = previous;
  }
}

/** 1 when the first group of a mount, which starts with a segment, has its end block; 0 when it is torn; or a status. */
function firstGroupComplete(index: u32, frame: usize): i32 {
  const group = (segmentAt(index).generation >> 32) << 40;
  let segment = index;
  let generation = segmentAt(index).generation;
  for (let hops: u32 = 0; hops < root.segmentCount; hops++) {
    const base = segmentOffset(segment);
    let block: u32 = 0;
    for (; block < root.segmentBlocks; block++) {
      const offset = base + ((<u64>block) << BLOCK_SIZE_LOG2);
      const status = deviceRead(offset, frame, <u32>BLOCK_SIZE);
      if (status < 0) return status;
      const header = changetype<BlockHeader>(frame);
      // A cut segment may go on elsewhere before it is full.
      if (header.generation != generation || !blockValid(frame, offset >> BLOCK_SIZE_LOG2)) break;
      if (header.group < group) return 0;
      if (header.flags & BlockFlags.GROUP_END) return 1;
    }
    const next = successor(segment, generation);
    // The group goes on only where its next segment says that this one ends.
    if (!next || segmentAt(next - 1).previousEnd != block) return 0;
    segment = next - 1;
    generation = segmentAt(segment).generation;
  }
  return 0;
}

/** Index plus 1 of the newest segment that names this one as its predecessor, 0 when there is none. */
function successor(index: u32, generation: u64): u32 {
  let found: u32 = 0;
  let newest: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.scan != ScanState.HEADER || state.previousSegment != index) continue;
    if (state.previousGeneration != generation || state.generation <= newest) continue;
    found = i + 1;
    newest = state.generation;
  }
  return found;
}

function mountReject(epoch: u64): void {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.scan == ScanState.HEADER && state.generation >> 32 == epoch) state.scan = ScanState.REJECTED;
  }
}

function link(last: u32): void {
  let index = last;
  let next: u32 = 0;
  let end = root.segmentBlocks;
  while (true) {
    const state = segmentAt(index);
    state.kind = SegmentKind.LOG;
    state.next = next;
    state.end = end;
    if (!state.previousGeneration) return;
    end = state.previousEnd;
    next = index + 1;
    index = state.previousSegment;
  }
}
