/**
 * The segment header: the payload of a segment's first block.
 *
 * ```
 *   0  magic "CSEG"         4  kind: 1 log, 2 copies, 3 checkpoint, 4 sorted run
 *   8  born                 every record of a key that was deleted at or below this sequence is newer than the deletion
 *  16  previous generation  the life of the segment before it in the log; 0 for the first, and for copies
 *  24  previous segment     its index
 *  28  header blocks        blocks that the header and its note take; records begin behind them
 *  32  check seed           what the checks of this store's blocks are seeded with, so that they can be told without a superblock
 *  40  mount salt           16 random bytes of the mount that opened the segment
 *  56  former generation    the life of this segment that ended when it was opened; 0 when it had none
 * ```
 *
 * In a segment of the log a note follows (format/note.ts), running on over the payloads of the next header blocks where
 * it must. Every header block leaves room for a group's trailer.
 */
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader, LAST_PAYLOAD_SIZE } from "./block";

export const SEGMENT_MAGIC: u32 = 0x47455343;
export const SEGMENT_HEADER_SIZE: u32 = 64;

export namespace SegmentKind {
  export const FREE: u32 = 0;
  export const LOG: u32 = 1;
  export const COPIES: u32 = 2;
  export const CHECKPOINT: u32 = 3;
  export const SORTED_RUN: u32 = 4;
}

@unmanaged
export class SegmentHeader {
  magic: u32;
  kind: u32;
  born: u64;
  previousGeneration: u64;
  previousSegment: u32;
  headerBlocks: u32;
  checkSeed: u64;
  saltLow: u64;
  saltHigh: u64;
  formerGeneration: u64;
}

if (offsetof<SegmentHeader>() != SEGMENT_HEADER_SIZE) ERROR("SegmentHeader layout");

/** The header in a segment's first block. */
export function segmentHeaderOf(frame: usize): SegmentHeader {
  return changetype<SegmentHeader>(frame + BLOCK_HEADER_SIZE);
}

/** Whether an intact block is a segment's first one. */
export function segmentHeaderValid(frame: usize): bool {
  const block = changetype<BlockHeader>(frame);
  const header = segmentHeaderOf(frame);
  return (
    (block.flags & BlockFlags.SEGMENT_HEADER) != 0 &&
    block.used >= <u16>SEGMENT_HEADER_SIZE &&
    header.magic == SEGMENT_MAGIC &&
    header.kind >= SegmentKind.LOG &&
    header.kind <= SegmentKind.SORTED_RUN &&
    header.headerBlocks != 0
  );
}

/** Blocks that the header of a log segment takes with a note of `noteSize` bytes. */
export function headerBlocksFor(noteSize: u32): u32 {
  return (SEGMENT_HEADER_SIZE + noteSize + LAST_PAYLOAD_SIZE - 1) / LAST_PAYLOAD_SIZE;
}
