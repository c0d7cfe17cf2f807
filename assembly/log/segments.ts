/**
 * The segment table: what is known of each segment of the device, in memory.
 *
 * ```
 * segment state, 64 bytes
 *   0  u64 generation           of this life; 0 when none was found
 *   8  u64 first block          number of its block 0 in the write buffer's count; 0 when not written by this mount
 *  16  u64 live bytes           of records that a node or a version reaches
 *  24  u64 ordinal              place in the stream
 *  32  u64 previous generation  the life of its predecessor in the stream
 *  40  u32 previous segment    44  u32 previous end
 *  48  u32 kind                52  u32 end: blocks that belong to the stream
 *  56  u32 next                 index of its successor in the stream plus 1, or 0
 *  60  u32 scan state           used while opening
 * ```
 *
 * States lie in chunks named by a directory, so the table grows without copying. A mount takes segments only from its
 * allotment, which the synced superblock names.
 */
import { deviceSetSize, deviceSync } from "../device/device";
import { SegmentKind } from "../format/segment";
import { BLOCK_SIZE_LOG2, SEGMENTS_OFFSET } from "../limits";
import { CHUNK_SIZE, chunkTake } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";
import { superblockCommit } from "./superblock-store";

const STATE_SIZE_LOG2: u32 = 6;
const STATES_PER_CHUNK_LOG2: u32 = 10;
const STATES_PER_CHUNK_MASK: u32 = 1023;
/** Segments that one directory chunk can name. */
const SEGMENT_COUNT_MAX: u32 = (<u32>(CHUNK_SIZE >> 2)) << STATES_PER_CHUNK_LOG2;
const GROWTH_MAX_BYTES: u64 = 64 << 20;

@unmanaged
export class SegmentState {
  generation: u64;
  firstBlock: u64;
  liveBytes: u64;
  ordinal: u64;
  previousGeneration: u64;
  previousSegment: u32;
  previousEnd: u32;
  kind: u32;
  end: u32;
  next: u32;
  scan: u32;
}

if (offsetof<SegmentState>() != 64) ERROR("SegmentState layout");

/** Makes the table hold `count` segments. OUT_OF_MEMORY. */
export function segmentsEnsure(count: u32): i32 {
  if (count > SEGMENT_COUNT_MAX) return Status.OUT_OF_MEMORY;
  if (!root.segmentDirectory) {
    const directory = chunkTake();
    if (!directory) return Status.OUT_OF_MEMORY;
    memory.fill(directory, 0, CHUNK_SIZE);
    root.segmentDirectory = <u32>directory;
  }
  const chunks = (count + STATES_PER_CHUNK_MASK) >>> STATES_PER_CHUNK_LOG2;
  for (let i = chunks; i > 0; i--) {
    const entry = <usize>root.segmentDirectory + ((<usize>(i - 1)) << 2);
    if (load<u32>(entry)) break;
    const chunk = chunkTake();
    if (!chunk) return Status.OUT_OF_MEMORY;
    memory.fill(chunk, 0, CHUNK_SIZE);
    store<u32>(entry, <u32>chunk);
  }
  return Status.OK;
}

/** The state of a segment below `root.segmentCount`. */
export function segmentAt(index: u32): SegmentState {
  const chunk = <usize>load<u32>(<usize>root.segmentDirectory + ((<usize>(index >>> STATES_PER_CHUNK_LOG2)) << 2));
  return changetype<SegmentState>(chunk + ((<usize>(index & STATES_PER_CHUNK_MASK)) << STATE_SIZE_LOG2));
}

/** Device offset of a segment's first byte. */
export function segmentOffset(index: u32): u64 {
  return SEGMENTS_OFFSET + ((<u64>index) << root.segmentSizeLog2);
}

/** The segment that an address lies in. */
export function segmentOf(address: u64): u32 {
  return <u32>((address - SEGMENTS_OFFSET) >> root.segmentSizeLog2);
}

/** The block of its segment that an address lies in. */
export function segmentBlockOf(address: u64): u32 {
  return <u32>((address - SEGMENTS_OFFSET) >> BLOCK_SIZE_LOG2) & (root.segmentBlocks - 1);
}

/** Adds to the live bytes of the segment that an address lies in. */
export function liveAdd(address: u64, size: u32): void {
  const state = segmentAt(segmentOf(address));
  state.liveBytes += size;
}

/** Takes from the live bytes of the segment that an address lies in. */
export function liveSubtract(address: u64, size: u32): void {
  const state = segmentAt(segmentOf(address));
  state.liveBytes -= size;
}

/** Segments that a device which cannot grow keeps back, so that a full store still deletes, compacts and closes. */
export function segmentReserve(): u32 {
  return root.growable ? 0 : 2 + root.segmentCount / 50;
}

/**
 * Makes sure that `count` segments beyond the open one can be opened, growing the allotment, and the device where it
 * can grow. NO_SPACE, DEVICE_WRITE. `intoReserve` is for what gives space back.
 */
export function segmentsReserve(count: u32, intoReserve: bool): i32 {
  const kept = intoReserve ? 0 : segmentReserve();
  if (root.segmentFreeCount >= count && root.segmentFreeCount >= count + kept) return Status.OK;
  return allotmentGrow(count, kept);
}

/** Takes a free segment of the allotment: its index. The caller reserved it. */
export function segmentTake(): u32 {
  let index = root.segmentSearch;
  const span = root.allotmentEnd - root.allotmentStart;
  for (let i: u32 = 0; i < span; i++) {
    if (index >= root.allotmentEnd || index < root.allotmentStart) index = root.allotmentStart;
    if (segmentAt(index).kind == SegmentKind.FREE) {
      root.segmentSearch = index + 1;
      root.segmentFreeCount--;
      return index;
    }
    index++;
  }
  // Reserved segments are counted exactly: to come here is a bug of this file.
  assert(false);
  return 0;
}

/** Counts the free segments of the allotment anew. O(allotment). */
export function segmentsRecount(): void {
  let free: u32 = 0;
  for (let i = root.allotmentStart; i < root.allotmentEnd; i++) {
    if (segmentAt(i).kind == SegmentKind.FREE) free++;
  }
  root.segmentFreeCount = free;
  root.segmentSearch = root.allotmentStart;
}

function allotmentGrow(count: u32, kept: u32): i32 {
  const missing = count > root.segmentFreeCount ? count - root.segmentFreeCount : 0;
  const outside = root.segmentCount - root.allotmentEnd;
  if (!root.growable) {
    if (root.segmentFreeCount + outside < count + kept) return Status.NO_SPACE;
    if (!missing) return Status.OK;
  }
  const strideMax = <u32>(GROWTH_MAX_BYTES >> root.segmentSizeLog2);
  const stride = max<u32>(missing, min(max<u32>(1, strideMax), max<u32>(2, root.allotmentEnd >>> 1)));
  let count2 = root.segmentCount;
  if (outside < missing) {
    count2 = root.allotmentEnd + stride;
    const ensured = segmentsEnsure(count2);
    if (ensured < 0) return ensured;
    const grown = deviceSetSize(segmentOffset(count2));
    if (grown < 0) return grown;
    const synced = deviceSync();
    if (synced < 0) return synced;
  }
  const end = min(count2, root.allotmentEnd + stride);
  const before = root.allotmentEnd;
  const countBefore = root.segmentCount;
  root.segmentCount = count2;
  root.allotmentEnd = end;
  const committed = superblockCommit();
  if (committed < 0) {
    root.segmentCount = countBefore;
    root.allotmentEnd = before;
    return committed;
  }
  for (let i = before; i < end; i++) {
    if (segmentAt(i).kind == SegmentKind.FREE) root.segmentFreeCount++;
  }
  return Status.OK;
}
