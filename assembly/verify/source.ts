/**
 * Where a verification takes a block from: the device, which is what it is to prove, or memory where the block was not
 * handed to the device yet, or is on its way there.
 */
import { deviceRead } from "../device/device";
import { BlockHeader, blockCheck } from "../format/block";
import { SegmentKind } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { frameOf } from "../log/append";
import { segmentAt, segmentOffset } from "../log/segments";
import { sideFrameAt } from "../log/side";
import { Space, spaceCounts } from "../log/space";
import { root } from "../root";
import { Fault } from "./state";

/** Whether a segment holds records that count, or did until a note says otherwise. */
export function segmentCounts(index: u32): bool {
  return spaceCounts(segmentAt(index).space);
}

/** Whether a segment is one that the log, or copies, are appended to. */
export function segmentIsOpen(index: u32): bool {
  const space = segmentAt(index).space;
  return space == Space.OPEN || space == Space.COPYING;
}

/** How many blocks of a segment that counts belong to it now. */
export function segmentEnd(index: u32): u32 {
  if (index + 1 == root.sideSegment) return root.sideBlock + 1;
  return segmentAt(index).space == Space.OPEN ? root.segmentOpenBlock + 1 : segmentAt(index).end;
}

/** Whether the last record of a segment was copied in part so far: the next steps of compaction go on with it. */
export function isHalfCopied(index: u32): bool {
  return index + 1 == root.sideSegment && root.moveTarget != 0;
}

/** The frame of a block that need not be on the device, or 0. */
export function frameInMemory(index: u32, block: u32): usize {
  const first = segmentAt(index).firstBlock;
  if (!first) return 0;
  const number = first + block;
  if (segmentAt(index).kind != SegmentKind.LOG) return sideFrameAt(number);
  if (number > root.tailBlock) return 0;
  if (number >= root.handedBlock) return frameOf(number);
  if (number < root.flightFrom || number >= root.flightTo) return 0;
  return <usize>root.flightArea + ((<usize>(number - root.flightFrom)) << BLOCK_SIZE_LOG2);
}

/** Bytes of records in a block, which for the open one its header does not say yet. */
export function usedOf(frame: usize): u32 {
  if (root.tailOpen && frame == <usize>root.tailFrame) return root.tailUsed;
  if (root.sideSegment && frame == sideFrameAt(root.sideTail)) return root.sideUsed;
  return <u32>changetype<BlockHeader>(frame).used;
}

/** What is wrong with a block as it came from the device: 0, or a kind of Fault. `generation` 0 is any. */
export function blockFault(frame: usize, deviceBlock: u64, generation: u64): u32 {
  const header = changetype<BlockHeader>(frame);
  if (header.checkHigh || header.check != blockCheck(frame)) return Fault.BLOCK_DAMAGED;
  if (header.deviceBlock != deviceBlock) return Fault.BLOCK_MISPLACED;
  return generation && header.generation != generation ? Fault.BLOCK_STALE : 0;
}

/** The block of a segment that counts, from memory or read to `target` and found sound: its frame, or 0. */
export function blockProven(index: u32, block: u32, target: usize): usize {
  const frame = frameInMemory(index, block);
  if (frame) return frame;
  const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
  if (deviceRead(offset, target, <u32>BLOCK_SIZE) < 0) return 0;
  return blockFault(target, offset >> BLOCK_SIZE_LOG2, segmentAt(index).generation) ? 0 : target;
}
