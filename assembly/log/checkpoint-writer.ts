/**
 * Writing a checkpoint to its segments: blocks in 15 frames, handed to the device in runs, without a sync; by the host,
 * from a copy, where it writes beside everything else (log/checkpoint-flight.ts).
 *
 * Nothing names these segments before the checkpoint is whole and durable, so whatever a crash leaves of them is free.
 *
 * Invariants: (1) frames hold neighbours of one segment; (2) the header of each segment names the one before it, and the
 * first one none.
 */
import { deviceWriteUncached } from "../device/device";
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  BlockFlags,
  BlockHeader,
  blockBegin,
  blockCheck,
} from "../format/block";
import { checkFold, ENTRIES_OFFSET } from "../format/checkpoint";
import { SEGMENT_HEADER_SIZE, SegmentKind, segmentHeaderOf } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, KEY_SIZE_MAX } from "../limits";
import { CHUNK_SIZE, chunkGive, chunkTake } from "../memory/chunks";
import { ScanState } from "../recovery/log-scan";
import { root } from "../root";
import { Status } from "../status";
import { segmentBegin, segmentHeaderFill } from "./append";
import { flightAdd, flightAreaTake, flightTakes } from "./checkpoint-flight";
import { packAt, packBegin, packEnd, packGive, packTake, packTakes } from "./checkpoint-pack";
import { For, segmentAt, segmentFree, segmentOffset, segmentsReserve, segmentTake } from "./segments";
import { Space } from "./space";
import { fenceCheck } from "./superblock-store";

export const WRITER_FRAMES: u32 = 15;
const WORK: usize = (<usize>WRITER_FRAMES) << BLOCK_SIZE_LOG2;
const LAST_KEY: usize = WORK + 512;

/** What is known of a checkpoint that is being written. Its key, and its frames, lie in the same chunk. */
@unmanaged
export class CheckpointWork {
  phase: u32;
  /** See format/checkpoint.ts. */
  positionSegment: u32;
  positionBlock: u32;
  blockCount: u32;
  sequence: u64;
  positionGeneration: u64;
  positionGroup: u64;
  logGeneration: u64;
  copiesGeneration: u64;
  entryCount: u64;
  keyBytes: u64;
  valueBytes: u64;
  blocksCheck: u64;
  segmentEntries: u32;
  /** What the segment of the position held of deletions when the checkpoint was begun. */
  tombstoneBytes: u32;
  newestTombstone: u64;
  /** Where the log stood when it was begun. */
  base: u64;
  /** The next segment of the table. */
  tableNext: u32;
  /** The segment that is filled, index plus 1, its next block, and frames in use, the open one among them. */
  segment: u32;
  block: u32;
  frames: u32;
  isOpen: u32;
  used: u32;
  /** What the entries of the open block count back from. */
  blockSequence: u64;
  /** Size of the last key; 0 before the first. Whether the next entry may share bytes with it. */
  lastKeySize: u32;
  shares: u32;
  /** The group of the note that counts all that entries name. */
  noteGroup: u64;
  /** The summary, when it is written. */
  summaryBlock: u32;
  /** Blocks whose entries are packed, and bytes of all entries, unpacked. */
  packedBlocks: u32;
  entryBytes: u64;
  summaryCheck: u64;
  segments: u32;
  startMs: u32;
}

if (offsetof<CheckpointWork>() > 512) ERROR("CheckpointWork outgrew its place");
if (LAST_KEY + <usize>KEY_SIZE_MAX + 16 > CHUNK_SIZE) ERROR("a key outgrew its place");

/** The checkpoint under way; there is one. */
export function checkpointWork(): CheckpointWork {
  return changetype<CheckpointWork>(<usize>root.checkpointWork + WORK);
}

/** Where the last key lies that was written, zero-padded. */
export function lastKeyAt(): usize {
  return <usize>root.checkpointWork + LAST_KEY;
}

/** Takes the memory of a checkpoint. OUT_OF_MEMORY. */
export function workTake(): i32 {
  const chunk = chunkTake();
  if (!chunk) return Status.OUT_OF_MEMORY;
  root.checkpointWork = <u32>chunk;
  packTake();
  flightAreaTake();
  memory.fill(chunk + WORK, 0, CHUNK_SIZE - WORK);
  return Status.OK;
}

/** Gives the memory back. */
export function workGive(): void {
  packGive();
  chunkGive(<usize>root.checkpointWork);
  root.checkpointWork = 0;
}

/**
 * Makes sure that an entry of `size` bytes finds room in the open block, or in a new one: where it begins, or a status:
 * NO_SPACE, DEVICE_WRITE, FENCED.
 */
export function entryRoom(size: u32): i64 {
  const work = checkpointWork();
  if (work.isOpen && !blockTakes(work, size)) entriesClose(work);
  if (!work.isOpen) {
    const begun = blockOpen(work);
    if (begun < 0) return begun;
  }
  return <i64>(root.checkpointPack ? packAt(work.used) : frameOf(work.frames - 1) + BLOCK_HEADER_SIZE + work.used);
}

/** Ends the open block, so that the next entry starts a new one. */
export function blockEnd(): void {
  const work = checkpointWork();
  if (work.isOpen) entriesClose(work);
}

/** Writes the summary, of `size` bytes, as the last block. Statuses as `entryRoom`. */
export function summaryWrite(summary: usize, size: u32): i32 {
  const work = checkpointWork();
  blockEnd();
  const begun = blockOpen(work);
  if (begun < 0) return begun;
  const sum = work.blocksCheck;
  const frame = frameOf(work.frames - 1);
  memory.copy(frame + BLOCK_HEADER_SIZE, summary, size);
  work.used = size;
  work.summaryBlock = work.block;
  blockClose(BlockFlags.SEGMENT_END);
  work.summaryCheck = changetype<BlockHeader>(frame).check;
  work.blocksCheck = sum;
  work.blockCount--;
  return framesWrite();
}

/** Hands all whole blocks to the flight, or to the device where that takes no more. NO_SPACE, DEVICE_WRITE, FENCED. */
export function framesWrite(): i32 {
  const work = checkpointWork();
  const count = work.frames - work.isOpen;
  if (!count) return Status.OK;
  const offset = changetype<BlockHeader>(frameOf(0)).deviceBlock << BLOCK_SIZE_LOG2;
  if (!root.checkpointNow && flightTakes(count)) {
    flightAdd(offset, frameOf(0), count);
  } else {
    const fenced = fenceCheck();
    if (fenced < 0) return fenced;
    const status = deviceWriteUncached(offset, frameOf(0), count << (<u32>BLOCK_SIZE_LOG2));
    if (status < 0) return status;
    root.blocksWritten += count;
  }
  if (work.isOpen) memory.copy(frameOf(0), frameOf(count), BLOCK_SIZE);
  work.frames = work.isOpen;
  return Status.OK;
}

/** Frees the segments of a checkpoint that nothing names: from its last one, index, and its life, to the first. */
export function segmentsGiveUp(index: u32, generation: u64): void {
  while (generation) {
    const state = segmentAt(index);
    // A chain that is not what it was has nothing that is ours.
    if (state.space != Space.CHECKPOINT || state.generation != generation) return;
    segmentFree(index);
    root.checkpointSegments--;
    index = state.previousSegment;
    generation = state.previousGeneration;
  }
}

function blockOpen(work: CheckpointWork): i32 {
  if (work.frames == WRITER_FRAMES || work.block == root.segmentBlocks) {
    const written = framesWrite();
    if (written < 0) return written;
  }
  if (!work.segment || work.block == root.segmentBlocks) {
    const begun = segmentOpen(work);
    if (begun < 0) return begun;
  }
  blockStart(work);
  work.blockSequence = root.sequence;
  store<u64>(frameOf(work.frames - 1) + BLOCK_HEADER_SIZE, root.sequence);
  work.used = ENTRIES_OFFSET;
  work.shares = 0;
  packBegin();
  return Status.OK;
}

function segmentOpen(work: CheckpointWork): i32 {
  const reserved = segmentsReserve(1, For.CHECKPOINT);
  if (reserved < 0) return reserved;
  const before = work.segment;
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.CHECKPOINT, 0);
  const state = segmentAt(index);
  state.space = Space.CHECKPOINT;
  state.scan = ScanState.HEADER;
  if (before) {
    state.previousSegment = before - 1;
    state.previousGeneration = segmentAt(before - 1).generation;
  }
  state.end = root.segmentBlocks;
  root.checkpointSegments++;
  work.segments++;
  work.segment = index + 1;
  work.block = 0;
  blockStart(work);
  segmentHeaderFill(segmentHeaderOf(frameOf(work.frames - 1)), index, former);
  work.used = SEGMENT_HEADER_SIZE;
  const sum = work.blocksCheck;
  blockClose(BlockFlags.SEGMENT_HEADER);
  work.blocksCheck = sum;
  work.blockCount--;
  return Status.OK;
}

function blockStart(work: CheckpointWork): void {
  const index = work.segment - 1;
  const frame = frameOf(work.frames);
  work.frames++;
  work.isOpen = 1;
  blockBegin(frame, segmentAt(index).generation, (segmentOffset(index) >> BLOCK_SIZE_LOG2) + work.block);
}

function blockTakes(work: CheckpointWork, size: u32): bool {
  return root.checkpointPack ? packTakes(work.used, size) : work.used + size <= BLOCK_PAYLOAD_SIZE;
}

/** Closes the open block, which holds entries. */
function entriesClose(work: CheckpointWork): void {
  const size = work.used;
  work.entryBytes += size;
  if (root.checkpointPack) {
    work.used = packEnd(size, work.blockSequence, frameOf(work.frames - 1) + BLOCK_HEADER_SIZE);
    if (work.used < size) work.packedBlocks++;
  }
  blockClose(0);
}

function blockClose(flags: u32): void {
  const work = checkpointWork();
  const frame = frameOf(work.frames - 1);
  const header = changetype<BlockHeader>(frame);
  header.used = <u16>work.used;
  header.flags = <u16>flags;
  memory.fill(frame + BLOCK_HEADER_SIZE + work.used, 0, BLOCK_PAYLOAD_SIZE - work.used);
  header.check = blockCheck(frame);
  work.blocksCheck = checkFold(work.blocksCheck, header.check);
  work.blockCount++;
  work.block++;
  work.isOpen = 0;
  if (flags & BlockFlags.SEGMENT_END) segmentAt(work.segment - 1).end = work.block;
}

function frameOf(index: u32): usize {
  return <usize>root.checkpointWork + ((<usize>index) << BLOCK_SIZE_LOG2);
}
