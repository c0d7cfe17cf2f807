/**
 * The segment table: what is known of each segment of the device, in memory.
 *
 * ```
 * segment state, 128 bytes
 *   0  u64 generation           of this life; 0 when none was found
 *   8  u64 first block          number of its block 0 in the write buffer's count, or in that of the copies; 0 when
 *                               this mount did not write it
 *  16  u64 live bytes           of records that a node or a version reaches
 *  24  u64 born                 see format/segment.ts
 *  32  u64 previous generation  the life of its predecessor in the log
 *  40  u64 header group         group of its header, while opening
 *  48  u64 closed group         the group that was being filled when it was closed; 0 when this mount did not fill it
 *  56  u64 note group           group of the note that no longer counts it
 *  64  u64 newest tombstone     highest sequence of a deletion in it; 0 when there is none
 *  72  u32 tombstone bytes      76  u32 previous segment
 *  80  u32 kind                 84  u32 space: log/space.ts
 *  88  u32 next                 index of the next one in a list plus 1, or 0; while opening, and while a batch has
 *                               segments set aside: log/prove.ts
 *  92  u32 scan state           while opening
 *  96  u32 moved to             number of the segment of copies that its records were last moved to
 * 100  u32 stuck                1 an older version pins a record, 2 it cannot be read: compaction passes it by
 * 104  u32 extents              it holds parts of values, while opening
 * 108  u32 header blocks         112  u32 end: blocks of it that count, once it is closed
 * 116  u32 packed               of a segment of copies that was filled to its end: the bytes of records that it was given
 * 120  u32 believed             while opening: blocks of it whose records the checkpoint tells of; the others are replayed
 * 124  u32 pins                 backups that still read it: log/pins.ts
 * ```
 *
 * States lie in chunks named by a directory, so the table grows without copying. A mount takes segments only from its
 * allotment, which the synced superblock names.
 */
import { deviceSetSize, deviceSize, deviceSync } from "../device/device";
import { NOTE_SEGMENTS_MAX, noteSizeFor } from "../format/note";
import { headerBlocksFor, SegmentKind } from "../format/segment";
import { BLOCK_SIZE_LOG2, SEGMENTS_OFFSET } from "../limits";
import { CHUNK_SIZE, chunkTake } from "../memory/chunks";
import { Attention, root } from "../root";
import { Status } from "../status";
import { segmentHold } from "./pins";
import { ceilingIsLow, fenceCheck, superblockCommit } from "./superblock-store";

const STATE_SIZE_LOG2: u32 = 7;
const STATES_PER_CHUNK_LOG2: u32 = 9;
const STATES_PER_CHUNK_MASK: u32 = 511;
const GROWTH_MAX_BYTES: u64 = 64 << 20;
/** A growing file of so many segments keeps some free, so that it can be compacted when the disk is full. */
const GROWABLE_KEEPS_FROM: u32 = 32;
/** Devices of fewer segments keep none for a checkpoint. */
const CHECKPOINT_ROOM_FROM: u32 = 64;
/** What an entry of a checkpoint takes beside its key. */
const CHECKPOINT_ENTRY_BYTES: u64 = 16;

/** Free segments, beyond as many as are used, that take turns in any case. */
const TURN_SEGMENTS_MIN: u32 = 8;
const PEAK_PERIOD_MIN: u32 = 16;
/** So many free segments, beyond those that are kept, let the allotment be raised ahead: what is written meanwhile fits. */
const LEAD_MAX: u32 = 8;
const LEAD_MIN: u32 = 2;
const LEAD_FROM: u32 = 4;

/** What segments are asked for. Each purpose leaves some to those behind it; the last segment is recovery's. */
export namespace For {
  export const WRITING: u32 = 0;
  /** Copies of live records. */
  export const MOVING: u32 = 1;
  export const DELETING: u32 = 2;
  /** A checkpoint: it is given up rather than that anything else finds no room. */
  export const CHECKPOINT: u32 = 6;
  /** Copies that make room for deletions. */
  export const RESCUING: u32 = 3;
  /** A note: what turns segments that were emptied into free ones. */
  export const NOTING: u32 = 4;
  /** The end of a group, and the copy of a log's torn end. */
  export const RECOVERY: u32 = 5;
}

@unmanaged
export class SegmentState {
  generation: u64;
  firstBlock: u64;
  liveBytes: u64;
  born: u64;
  previousGeneration: u64;
  headerGroup: u64;
  closedGroup: u64;
  noteGroup: u64;
  newestTombstone: u64;
  tombstoneBytes: u32;
  previousSegment: u32;
  kind: u32;
  space: u32;
  next: u32;
  scan: u32;
  movedTo: u32;
  stuck: u32;
  extents: u32;
  headerBlocks: u32;
  end: u32;
  packed: u32;
  believed: u32;
  pins: u32;
}

if (offsetof<SegmentState>() != 128) ERROR("SegmentState layout");

/** Most segments that a store of this geometry can have: a note must fit a quarter of a segment, and one chunk. */
export function segmentCountMax(): u32 {
  let most = NOTE_SEGMENTS_MAX;
  while (headerBlocksFor(noteSizeFor(most)) > root.segmentBlocks >>> 2) most >>>= 1;
  return most;
}

/** Blocks that the header of the next log segment takes. */
export function headerBlocks(): u32 {
  return headerBlocksFor(noteSizeFor(root.segmentCount));
}

/** Makes the table hold `count` segments. OUT_OF_MEMORY, NO_SPACE when no store can have so many. */
export function segmentsEnsure(count: u32): i32 {
  if (count > segmentCountMax()) return Status.NO_SPACE;
  if (!root.segmentDirectory) {
    const directory = chunkTake();
    const note = chunkTake();
    if (!directory || !note) return Status.OUT_OF_MEMORY;
    memory.fill(directory, 0, CHUNK_SIZE);
    memory.fill(note, 0, CHUNK_SIZE);
    root.segmentDirectory = <u32>directory;
    root.note = <u32>note;
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

/** Accounts for a deletion's record. */
export function tombstoneAdd(address: u64, size: u32, sequence: u64): void {
  const state = segmentAt(segmentOf(address));
  state.tombstoneBytes += size;
  if (sequence > state.newestTombstone) state.newestTombstone = sequence;
}

/** Segments that must stay free when some are taken for a purpose. */
export function segmentsKept(purpose: u32): u32 {
  if (root.growable) {
    const keeps = purpose == For.WRITING || purpose == For.CHECKPOINT;
    return keeps && root.segmentCount >= GROWABLE_KEEPS_FROM ? 4 : 0;
  }
  switch (purpose) {
    case For.WRITING:
      return 4 + root.segmentCount / 50 + checkpointRoom();
    case For.CHECKPOINT:
      return 4;
    case For.MOVING:
      return 3;
    case For.DELETING:
      return 2;
    case For.RESCUING:
    case For.NOTING:
      return 1;
    default:
      return 0;
  }
}

/**
 * Segments that writes leave to the next checkpoint: as many as it is about to take, less those that it can have of the
 * ones that are kept; at most one in eight, and none on a small device, where a checkpoint gives little.
 */
function checkpointRoom(): u32 {
  if (root.segmentCount < CHECKPOINT_ROOM_FROM) return 0;
  const bytes = root.keyBytes + <u64>root.liveKeyCount * CHECKPOINT_ENTRY_BYTES;
  const needed: u32 = 1 + <u32>(bytes >> root.segmentSizeLog2);
  const kept: u32 = root.checkpointSegments;
  return kept >= needed ? 0 : min(needed - kept, root.segmentCount >>> 3);
}

/**
 * Makes sure that `count` segments beyond the open one can be opened, growing the allotment, and the device where it
 * can grow. NO_SPACE, DEVICE_WRITE.
 */
export function segmentsReserve(count: u32, purpose: u32): i32 {
  const kept = segmentsKept(purpose);
  if (root.segmentFreeCount >= count + kept) return Status.OK;
  return allotmentGrow(count, kept);
}

/** Takes a free segment of the allotment: its index. The caller reserved it. */
export function segmentTake(): u32 {
  const listed = root.takeFirst;
  const index = listed ? listed - 1 : segmentNextFree();
  if (listed) root.takeFirst = segmentAt(index).next;
  root.segmentSearch = index + 1;
  root.segmentFreeCount--;
  if (root.hostFlies && (allotmentIsLow() || ceilingIsLow())) root.attention |= Attention.SUPERBLOCK_DUE;
  peakNote();
  return index;
}

/** Keeps the peak of what is used, over two periods, each as long as it takes to take as many segments as are used. */
function peakNote(): void {
  const used = segmentsUsed();
  root.peakTaken++;
  if (root.peakTaken > max<u32>(PEAK_PERIOD_MIN, used)) {
    root.peakTaken = 0;
    root.usedPeakBefore = root.usedPeak;
    root.usedPeak = used;
  } else if (used > root.usedPeak) {
    root.usedPeak = used;
  }
}

/** Most segments that were used at once of late. */
export function segmentsPeak(): u32 {
  return max(segmentsUsed(), max(root.usedPeak, root.usedPeakBefore));
}

/**
 * The next free segment of the allotment. They take turns, so that a reader beside this writer has time; but where a file
 * has much more room than it needs, only those near its beginning do, so that its end comes free (log/shrink.ts).
 */
function segmentNextFree(): u32 {
  const from = root.segmentSearch;
  const start = root.allotmentStart;
  const limit = takeLimit();
  let index = from >= limit || from < start || root.takesLowest ? start : from;
  for (let i = start; i < limit; i++) {
    if (segmentAt(index).kind == SegmentKind.FREE) return index;
    index = index + 1 == limit ? start : index + 1;
  }
  // Reserved segments are counted exactly, and below the limit there are more than are used: a bug of this file.
  assert(false);
  return 0;
}

/** Where the segments end that are taken for now. */
function takeLimit(): u32 {
  if (!root.growable) return root.allotmentEnd;
  const used = segmentsUsed();
  const room = max(used + max(TURN_SEGMENTS_MIN, used >>> 2), segmentsPeak());
  return min(root.allotmentEnd, root.allotmentStart + room);
}

/** Segments of the allotment that are not free. */
export function segmentsUsed(): u32 {
  return root.allotmentEnd - root.allotmentStart - root.segmentFreeCount;
}

/** Gives a segment back: nothing on the device that counts names it any more. What backups still read is free after them. */
export function segmentFree(index: u32): void {
  const state = segmentAt(index);
  state.liveBytes = 0;
  if (state.pins) {
    segmentHold(state);
    return;
  }
  state.kind = SegmentKind.FREE;
  state.space = 0;
  state.firstBlock = 0;
  state.tombstoneBytes = 0;
  state.newestTombstone = 0;
  if (index >= root.allotmentStart && index < root.allotmentEnd) root.segmentFreeCount++;
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

/** Segments that the allotment is raised by, where `missing` are missing. */
export function allotmentStride(missing: u32): u32 {
  const strideMax = <u32>(GROWTH_MAX_BYTES >> root.segmentSizeLog2);
  return max<u32>(missing, min(max<u32>(1, strideMax), max<u32>(2, root.allotmentEnd >>> 1)));
}

/** Whether the allotment is to be raised before anybody has to wait for that. */
export function allotmentIsLow(): bool {
  // A file that holds next to nothing stays small.
  if (root.growthRefused || root.allotmentEnd < LEAD_FROM) return false;
  const lead = min<u32>(LEAD_MAX, max<u32>(LEAD_MIN, root.allotmentEnd >>> 3));
  if (root.segmentFreeCount > segmentsKept(For.WRITING) + lead) return false;
  return root.growable ? root.allotmentEnd < segmentCountMax() : root.allotmentEnd < root.segmentCount;
}

/** Whether there is so much room that what gives more of it back may wait for the host. */
export function roomIsAmple(): bool {
  return root.growable != 0 || root.segmentFreeCount > segmentsKept(For.WRITING) + LEAD_MAX;
}

/** Raises the allotment to what a synced superblock says. */
export function allotmentApply(segmentCount: u32, end: u32): void {
  root.segmentCount = max(root.segmentCount, segmentCount);
  for (let i = root.allotmentEnd; i < end; i++) {
    if (segmentAt(i).kind == SegmentKind.FREE) root.segmentFreeCount++;
  }
  root.allotmentEnd = max(root.allotmentEnd, end);
  root.growthRefused = 0;
}

/**
 * Makes the file as large as `count` segments need, and never smaller: a superblock whose second copy met a full disk may name
 * what an earlier growth had made. NO_SPACE, DEVICE_READ, DEVICE_WRITE.
 */
export function fileRaise(count: u32): i32 {
  const size = deviceSize();
  if (size < 0) return <i32>size;
  return <u64>size < segmentOffset(count) ? deviceSetSize(segmentOffset(count)) : Status.OK;
}

function allotmentGrow(count: u32, kept: u32): i32 {
  const wanted = count + kept;
  const missing = wanted > root.segmentFreeCount ? wanted - root.segmentFreeCount : 0;
  const outside = root.segmentCount - root.allotmentEnd;
  if (!root.growable && outside < missing) return Status.NO_SPACE;
  const stride = allotmentStride(missing);
  let count2 = root.segmentCount;
  if (outside < missing) {
    count2 = root.allotmentEnd + stride;
    // A file that is growing already does not shrink.
    if (root.superblockStep) count2 = max(count2, root.superblockSegments);
    const ensured = segmentsEnsure(count2);
    if (ensured < 0) return ensured;
    // A successor may have grown the file further: setting the size would cut off what it has written.
    const fenced = fenceCheck();
    if (fenced < 0) return fenced;
    const grown = fileRaise(count2);
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
  root.allotmentEnd = before;
  allotmentApply(count2, end);
  return Status.OK;
}
