/**
 * The segment header: the payload of a segment's first block.
 *
 * ```
 *   0  magic "CSEG"         4  kind: 1 log, 2 relocated log, 3 checkpoint, 4 sorted run
 *   8  ordinal              place of the segment in its stream, from 1
 *  16  previous generation  the life of the segment before it in the stream; 0 for the first
 *  24  previous segment     its index
 *  28  previous end         blocks of it that belong to the stream; what lies beyond is dead
 *  32  reserved
 *  40  mount salt           16 random bytes of the mount that opened the segment
 *  56  former generation    the life of this segment that ended when it was opened; 0 when it had none
 * ```
 *
 * The header names its predecessor and where that one ends, so a cut that recovery made is kept by the segment that
 * follows it, for as long as that segment lives. The header counts only once its mount's first group is complete.
 */
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader } from "./block";

export const SEGMENT_MAGIC: u32 = 0x47455343;
export const SEGMENT_HEADER_SIZE: u32 = 64;

export namespace SegmentKind {
  export const FREE: u32 = 0;
  export const LOG: u32 = 1;
  export const RELOCATED: u32 = 2;
  export const CHECKPOINT: u32 = 3;
  export const SORTED_RUN: u32 = 4;
}

@unmanaged
export class SegmentHeader {
  magic: u32;
  kind: u32;
  ordinal: u64;
  previousGeneration: u64;
  previousSegment: u32;
  previousEnd: u32;
  reserved: u64;
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
    header.ordinal != 0
  );
}
