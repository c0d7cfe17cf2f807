/**
 * The copies that compaction makes: blocks in a ring of 16 frames, in segments of their own, so that what has stayed long
 * does not mix with what is new.
 *
 * A segment of copies counts only when a note that was made after it was closed and written is proven. Until then
 * every record in it also stands where it came from, so nothing here needs groups or marks, and no crash can lose it.
 *
 * Invariants: (1) what was copied and not yet written is in a frame; (2) at most one closed segment waits to be written.
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
import { chunkTake } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";
import { segmentBegin, segmentHeaderFill, segmentsForNote } from "./append";
import { For, segmentAt, segmentOffset, segmentsReserve, segmentTake } from "./segments";
import { noteCounts, Space } from "./space";
import { fenceCheck } from "./superblock-store";

const FRAMES: u64 = 16;
/** Blocks that one block of a source can bring: a skipped end, its bytes, the next segment's header. */
const BLOCKS_PER_SOURCE: u64 = 6;

/** The frame of a block of copies by its number, or 0 when it was written. */
export function sideFrameAt(block: u64): usize {
  return block >= root.sideHanded && block <= root.sideTail ? frameOf(block) : 0;
}

/** Makes sure that the value that is under way finds frames for one more block of it. NO_SPACE, DEVICE_WRITE. */
export function sideReady(): i32 {
  return root.sideTail + 1 + BLOCKS_PER_SOURCE - root.sideHanded > FRAMES ? sideWrite() : Status.OK;
}

/**
 * Makes sure that a record of `total` bytes, whose first `head` must lie in one block, finds room. OUT_OF_MEMORY,
 * NO_SPACE, DEVICE_WRITE.
 */
export function sideAdmit(head: u32, total: u32): i32 {
  if (!root.sideFrames) {
    const frames = chunkTake();
    if (!frames) return Status.OUT_OF_MEMORY;
    root.sideFrames = <u32>frames;
    root.sideHanded = 1;
  }
  const ready = sideReady();
  if (ready < 0 || fits(head, total)) return ready;
  if (root.sideClosing) {
    const written = sideWrite();
    if (written < 0) return written;
  }
  return root.rescuing ? segmentsReserve(1 + segmentsForNote(), For.RESCUING) : segmentsReserve(1, For.MOVING);
}

/** Makes room for a record that was admitted: the address where it begins. */
export function sidePlace(head: u32, total: u32): u64 {
  if (!fits(head, total)) {
    if (root.sideSegment) sideEnd();
    sideOpen();
  }
  if (root.sideUsed + head > BLOCK_PAYLOAD_SIZE) blockNext();
  const header = changetype<BlockHeader>(frameOf(root.sideTail));
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
    copyBytes(frameOf(root.sideTail) + BLOCK_HEADER_SIZE + root.sideUsed, source, piece);
    root.sideUsed += piece;
    source += piece;
    size -= piece;
  }
}

/** Pads to 8 bytes behind a record. */
export function sideAlign(): void {
  while (root.sideUsed & 7) {
    store<u8>(frameOf(root.sideTail) + BLOCK_HEADER_SIZE + root.sideUsed, 0);
    root.sideUsed++;
  }
}

/** Closes the open segment of copies and writes it to its end. NO_SPACE, DEVICE_WRITE. */
export function sideClose(): i32 {
  if (root.sideSegment) {
    if (root.sideClosing) {
      const written = sideWrite();
      if (written < 0) return written;
    }
    sideEnd();
  }
  return sideWrite();
}

/** Writes all sealed blocks. NO_SPACE leaves them in their frames. */
function sideWrite(): i32 {
  // Nothing was ever copied: there is not even a frame.
  if (!root.sideFrames) return Status.OK;
  const to = root.sideTail + (root.sideSegment ? 0 : 1);
  if (root.sideHanded < to) {
    const fenced = fenceCheck();
    if (fenced < 0) return fenced;
  }
  while (root.sideHanded < to) {
    let run: u64 = 1;
    const first = frameOf(root.sideHanded);
    const start = changetype<BlockHeader>(first).deviceBlock;
    const limit = min<u64>(to - root.sideHanded, FRAMES - (root.sideHanded & (FRAMES - 1)));
    while (run < limit && changetype<BlockHeader>(frameOf(root.sideHanded + run)).deviceBlock == start + run) run++;
    const status = deviceWriteUncached(start << BLOCK_SIZE_LOG2, first, (<u32>run) << (<u32>BLOCK_SIZE_LOG2));
    if (status < 0) return status;
    root.sideHanded += run;
    root.blocksWritten += run;
  }
  if (root.sideClosing) {
    const index = root.sideClosing - 1;
    root.sideClosing = 0;
    root.sideClosed++;
    segmentAt(index).space = Space.LIVE;
    noteCounts(index);
    root.surveyDue = 1;
  }
  return Status.OK;
}

/** Seals the open segment's last block; it counts once it is written. */
function sideEnd(): void {
  // `sideAdmit` wrote whatever was closed before.
  assert(!root.sideClosing);
  blockSeal(BlockFlags.SEGMENT_END);
  const state = segmentAt(root.sideSegment - 1);
  state.end = root.sideBlock + 1;
  state.closedGroup = root.group;
  root.sideClosing = root.sideSegment;
  root.sideSegment = 0;
}

function sideOpen(): void {
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.COPIES, root.sideTail + 1);
  root.sideSegment = index + 1;
  root.sideOpened++;
  root.sideBlock = 0;
  blockStart();
  const frame = frameOf(root.sideTail);
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
  blockBegin(frameOf(root.sideTail), segmentAt(index).generation, deviceBlock);
  root.sideUsed = 0;
}

function blockSeal(flags: u32): void {
  const frame = frameOf(root.sideTail);
  const header = changetype<BlockHeader>(frame);
  header.used = <u16>root.sideUsed;
  header.flags = <u16>flags;
  memory.fill(frame + BLOCK_HEADER_SIZE + root.sideUsed, 0, BLOCK_PAYLOAD_SIZE - root.sideUsed);
  header.check = blockCheck(frame);
}

function frameOf(block: u64): usize {
  return <usize>root.sideFrames + ((<usize>(<u32>block & <u32>(FRAMES - 1))) << BLOCK_SIZE_LOG2);
}

if (BLOCK_SIZE << 4 != 65536) ERROR("16 frames fill a chunk");
