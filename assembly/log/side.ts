/**
 * The copies that compaction makes: blocks in a ring of frames, in segments of their own, so that what has stayed long does
 * not mix with what is new. The ring has 128 frames, or 32 where memory is short, and so many blocks may be in flight.
 *
 * A segment of copies counts only when a note that was made after it was closed and written is proven. Until then
 * every record in it also stands where it came from, so nothing here needs groups or marks, and no crash can lose it.
 *
 * ```
 *   sideFlightFrom  sideFlightTo   sideHanded          sideTail
 *        │ in flight      │ written      │ sealed, in the ring │ open
 *        └────────────────┴──────────────┴─────────────────────┘
 * ```
 *
 * Blocks leave in windows of 64 KiB, whole ones while the segment is open. The host writes them from a copy while the ring
 * fills on (log/side-flight.ts). Who cannot wait for that writes the same bytes once more, and then its own.
 *
 * Invariants: (1) what was copied and not yet written is in a frame or in flight; (2) at most one closed segment waits to be
 * written; (3) a segment counts in notes only after all writes of its blocks have completed, so that the sync of the
 * note's group, which is issued later, covers them; (4) a segment that blocks are in flight to is not freed.
 */
import { copyBytes } from "../bytes/compare";
import { deviceWriteUncached } from "../device/device";
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  BlockFlags,
  BlockHeader,
  blockBegin,
  blockCheck,
  NO_RECORD,
} from "../format/block";
import { SEGMENT_HEADER_SIZE, SegmentKind, segmentHeaderOf } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { chunksAvailable, chunkTake } from "../memory/chunks";
import { root, SIDE_CHUNKS } from "../root";
import { Status } from "../status";
import { segmentBegin, segmentHeaderFill, segmentsForNote } from "./append";
import { For, segmentAt, segmentOffset, segmentsReserve, segmentTake } from "./segments";
import { noteCounts, Space } from "./space";
import { fenceCheck } from "./superblock-store";

/** Frames of a chunk, and blocks of a window. */
const WINDOW: u32 = 16;
/** Chunks of the ring, where as many as the second figure are free, and else. */
const CHUNKS_MOST: u32 = 8;
const CHUNKS_FREE: u32 = 384;
const CHUNKS_LEAST: u32 = 2;
/** Blocks that one block of a source can bring: a skipped end, its bytes, the next segment's header. */
const BLOCKS_PER_SOURCE: u64 = 6;

/** Beside statuses: writes in flight must land first. */
export const SIDE_WAITS: i32 = 1;

/** The frame of a block of copies by its number, or 0 when it was written. */
export function sideFrameAt(block: u64): usize {
  if (block >= root.sideHanded) return block <= root.sideTail ? sideFrameOf(block) : 0;
  return block >= root.sideFlightFrom && block < root.sideFlightTo ? flightFrameOf(block) : 0;
}

/**
 * Makes sure that the value that is under way finds frames for one more block of it. NO_SPACE, DEVICE_WRITE, or SIDE_WAITS
 * in a step that waits.
 */
export function sideReady(): i32 {
  return root.sideTail + 1 + BLOCKS_PER_SOURCE - root.sideHanded > sideFrames() ? makeRoom() : Status.OK;
}

/**
 * Makes sure that a record of `total` bytes, whose first `head` must lie in one block, finds room. OUT_OF_MEMORY,
 * NO_SPACE, DEVICE_WRITE, or SIDE_WAITS in a step that waits.
 */
export function sideAdmit(head: u32, total: u32): i32 {
  if (!root.sideChunks && !framesTake()) return Status.OUT_OF_MEMORY;
  const ready = sideReady();
  if (ready != Status.OK || fits(head, total)) return ready;
  if (root.sideClosing) {
    const written = makeRoom();
    if (written != Status.OK) return written;
  }
  return root.rescuing ? segmentsReserve(1 + segmentsForNote(), For.RESCUING) : segmentsReserve(1, For.MOVING);
}

/** Makes room for a record that was admitted: the address where it begins. */
export function sidePlace(head: u32, total: u32): u64 {
  if (!fits(head, total)) {
    if (root.sideSegment) sideEnd(true);
    sideOpen();
  }
  if (root.sideUsed + head > BLOCK_PAYLOAD_SIZE) blockNext();
  root.sidePlaced += total;
  const header = changetype<BlockHeader>(sideFrameOf(root.sideTail));
  if (header.first == <u16>NO_RECORD) header.first = <u16>root.sideUsed;
  return (header.deviceBlock << BLOCK_SIZE_LOG2) + BLOCK_HEADER_SIZE + root.sideUsed;
}

/** Whether the open segment takes a record. */
function fits(head: u32, total: u32): bool {
  if (!root.sideSegment) return false;
  const blocks = (root.segmentBlocks - 1 - root.sideBlock) * BLOCK_PAYLOAD_SIZE;
  const open = BLOCK_PAYLOAD_SIZE - root.sideUsed;
  return head <= open ? total <= blocks + open : total <= blocks;
}

/** Appends bytes of the record that was placed. */
export function sideBytes(source: usize, size: u32): void {
  while (size) {
    if (root.sideUsed == BLOCK_PAYLOAD_SIZE) blockNext();
    const piece = min(size, BLOCK_PAYLOAD_SIZE - root.sideUsed);
    copyBytes(sideFrameOf(root.sideTail) + BLOCK_HEADER_SIZE + root.sideUsed, source, piece);
    root.sideUsed += piece;
    source += piece;
    size -= piece;
  }
}

/** Pads to 8 bytes behind a record. */
export function sideAlign(): void {
  while (root.sideUsed & 7) {
    store<u8>(sideFrameOf(root.sideTail) + BLOCK_HEADER_SIZE + root.sideUsed, 0);
    root.sideUsed++;
  }
}

/**
 * Closes the open segment of copies, which counts once it is written: OK when all that was closed is written. One that a
 * value was copied to in part stays open. SIDE_WAITS in a step that waits: to be called again when what is in flight has
 * landed. NO_SPACE, DEVICE_WRITE.
 */
export function sideClose(): i32 {
  const copying = root.moveSegment && root.moveCarry && root.moveTarget;
  if (root.sideSegment && !copying) {
    if (root.sideClosing) {
      const written = makeRoom();
      if (written != Status.OK) return written;
    }
    sideEnd(false);
  }
  return root.sideClosing ? makeRoom() : Status.OK;
}

/** The end of the blocks that may leave: whole windows of the open segment, and all of a closed one. */
export function sideSealedEnd(): u64 {
  if (!root.sideSegment) return root.sideTail + 1;
  const part = <u64>(root.sideBlock & (WINDOW - 1));
  const end = root.sideTail - part;
  return root.sideClosing ? max(end, root.sideClosingEnd + 1) : end;
}

/** Lets a closed segment count when its last block is written. */
export function sideSettle(): void {
  if (!root.sideClosing) return;
  const flying = root.sideFlightFrom != root.sideFlightTo && !root.sideFlightWritten;
  if ((flying ? root.sideFlightFrom : root.sideHanded) <= root.sideClosingEnd) return;
  const index = root.sideClosing - 1;
  root.sideClosing = 0;
  root.sideClosed++;
  segmentAt(index).space = Space.LIVE;
  noteCounts(index);
  root.surveyDue = 1;
}

/** Frames of the ring, and blocks that are in flight at most. */
export function sideFrames(): u64 {
  return <u64>root.sideChunks * WINDOW;
}

/** The frame of a block in the ring. */
export function sideFrameOf(block: u64): usize {
  return frameIn(SIDE_CHUNKS, <u32>block & (root.sideChunks * WINDOW - 1));
}

/** The frame of a block in flight, with a copy of it. */
export function flightFrameOf(block: u64): usize {
  return frameIn(SIDE_CHUNKS + CHUNKS_MOST * 4, <u32>(block - root.sideFlightFrom));
}

/** Frees frames: by waiting for what is in flight in a step that waits, else by writing all that may leave. */
function makeRoom(): i32 {
  if (root.stepWaits) return root.sideFlightHeld ? Status.NO_SPACE : SIDE_WAITS;
  return sideWrite();
}

/** Writes all blocks that may leave, synchronously. NO_SPACE leaves them where they are. */
function sideWrite(): i32 {
  const to = sideSealedEnd();
  const flying = root.sideFlightFrom != root.sideFlightTo && !root.sideFlightWritten;
  if (flying || root.sideHanded < to) {
    const fenced = fenceCheck();
    if (fenced < 0) return fenced;
  }
  if (flying) {
    // The host may be at it: the same bytes once more do no harm, and then they are there.
    for (let block = root.sideFlightFrom; block < root.sideFlightTo; ) {
      const run = runOf(flightFrameOf(block), <u32>(block - root.sideFlightFrom), <u32>(root.sideFlightTo - block));
      const status = runWrite(flightFrameOf(block), run);
      if (status < 0) return status;
      block += run;
    }
    root.sideFlightWritten = 1;
    // What was refused has no write under way.
    if (root.sideFlightHeld) {
      root.sideFlightHeld = 0;
      root.sideFlightFrom = root.sideFlightTo;
    }
  }
  while (root.sideHanded < to) {
    const frame = sideFrameOf(root.sideHanded);
    const run = runOf(frame, <u32>root.sideHanded, <u32>(to - root.sideHanded));
    const status = runWrite(frame, run);
    if (status < 0) return status;
    root.sideHanded += run;
    root.blocksWritten += run;
  }
  sideSettle();
  return Status.OK;
}

/** Of at most `limit` blocks from the one in `frame` on, how many are neighbours on the device and in memory. */
export function runOf(frame: usize, frameIndex: u32, limit: u32): u32 {
  const most = min(limit, WINDOW - (frameIndex & (WINDOW - 1)));
  const start = changetype<BlockHeader>(frame).deviceBlock;
  let run: u32 = 1;
  while (run < most && changetype<BlockHeader>(frame + ((<usize>run) << BLOCK_SIZE_LOG2)).deviceBlock == start + run)
    run++;
  return run;
}

function runWrite(frame: usize, run: u32): i32 {
  const offset = changetype<BlockHeader>(frame).deviceBlock << BLOCK_SIZE_LOG2;
  return deviceWriteUncached(offset, frame, run << (<u32>BLOCK_SIZE_LOG2));
}

/** Seals the open segment's last block; it counts once it is written. `full`: because nothing more fits it. */
function sideEnd(full: bool): void {
  // `sideAdmit` wrote whatever was closed before.
  assert(!root.sideClosing);
  blockSeal(BlockFlags.SEGMENT_END);
  const state = segmentAt(root.sideSegment - 1);
  state.end = root.sideBlock + 1;
  state.closedGroup = root.group;
  state.packed = full ? root.sidePlaced : 0;
  root.sideClosing = root.sideSegment;
  root.sideClosingEnd = root.sideTail;
  root.sideSegment = 0;
}

function sideOpen(): void {
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.COPIES, root.sideTail + 1);
  root.sideSegment = index + 1;
  root.sideOpened++;
  root.sidePlaced = 0;
  root.sideBlock = 0;
  blockStart();
  const frame = sideFrameOf(root.sideTail);
  segmentHeaderFill(segmentHeaderOf(frame), index, former);
  root.sideUsed = SEGMENT_HEADER_SIZE;
  blockSeal(BlockFlags.SEGMENT_HEADER);
  root.sideBlock = 1;
  blockStart();
}

function blockNext(): void {
  blockSeal(0);
  root.sideBlock++;
  blockStart();
}

function blockStart(): void {
  root.sideTail++;
  const index = root.sideSegment - 1;
  const deviceBlock = (segmentOffset(index) >> BLOCK_SIZE_LOG2) + root.sideBlock;
  blockBegin(sideFrameOf(root.sideTail), segmentAt(index).generation, deviceBlock);
  root.sideUsed = 0;
}

function blockSeal(flags: u32): void {
  const frame = sideFrameOf(root.sideTail);
  const header = changetype<BlockHeader>(frame);
  header.used = <u16>root.sideUsed;
  header.flags = <u16>flags;
  memory.fill(frame + BLOCK_HEADER_SIZE + root.sideUsed, 0, BLOCK_PAYLOAD_SIZE - root.sideUsed);
  header.check = blockCheck(frame);
}

/** Takes the memory for ring and flight: whether there was enough. */
function framesTake(): bool {
  const available = chunksAvailable();
  const count = available >= CHUNKS_FREE ? CHUNKS_MOST : CHUNKS_LEAST;
  if (available < 2 * count) return false;
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(SIDE_CHUNKS + ((<usize>i) << 2), <u32>chunkTake());
    store<u32>(SIDE_CHUNKS + ((<usize>(CHUNKS_MOST + i)) << 2), <u32>chunkTake());
  }
  root.sideChunks = count;
  root.sideHanded = 1;
  root.sideFlightFrom = 1;
  root.sideFlightTo = 1;
  return true;
}

function frameIn(chunks: usize, index: u32): usize {
  const chunk = <usize>load<u32>(chunks + ((<usize>(index / WINDOW)) << 2));
  return chunk + ((<usize>(index & (WINDOW - 1))) << BLOCK_SIZE_LOG2);
}

if (<u32>BLOCK_SIZE * WINDOW != 65536) ERROR("16 frames fill a chunk");
