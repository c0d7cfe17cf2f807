/**
 * Looking at the blocks of a device that cannot be mounted, many at a time, so that `repair` can take from it what is whole.
 *
 * The host reads a window of blocks into the write buffer, which is not used otherwise; nothing is mounted. What proves a
 * block is its check under a seed that comes from a superblock, or from a segment's header, which proves itself by it.
 */
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  BlockHeader,
  blockCheck,
  blockIsZero,
  NO_RECORD,
} from "../format/block";
import { Record, RecordKind, recordSpan, recordValid } from "../format/record";
import { segmentHeaderOf, segmentHeaderValid } from "../format/segment";
import { BLOCK_SIZE_LOG2 } from "../limits";
import { root } from "../root";
import { recordsList } from "./inspect";

/** What `salvageLook` answers: one of these, and HEADER where it applies. */
namespace SalvageLook {
  export const SOUND: i32 = 0;
  export const DAMAGED: i32 = 1;
  /** A block of this store that belongs elsewhere. */
  export const MISPLACED: i32 = 2;
  export const BLANK: i32 = 3;
  /** A segment's header of another store. */
  export const FOREIGN: i32 = 4;
  export const HEADER: i32 = 16;
}

/**
 * Begins: the seed of the checks in two halves, and the blocks of a segment. Gives the pointer of the window, which has
 * room for as many blocks as the write buffer.
 */
export function salvageBegin(seedLow: u32, seedHigh: u32, segmentBlocks: u32): u32 {
  root.checkSeed = <u64>seedLow | ((<u64>seedHigh) << 32);
  root.segmentBlocks = segmentBlocks;
  return root.frames;
}

/** What the block at `index` of the window is (SalvageLook), when it lies at `deviceBlock` of the device. 0.4 µs. */
export function salvageLook(index: u32, deviceBlock: f64): i32 {
  const frame = frameAt(index);
  const header = changetype<BlockHeader>(frame);
  if (header.checkHigh == 0 && header.used <= <u16>BLOCK_PAYLOAD_SIZE && header.check == blockCheck(frame)) {
    if (header.deviceBlock != <u64>deviceBlock) return SalvageLook.MISPLACED;
    return segmentHeaderValid(frame) ? SalvageLook.SOUND | SalvageLook.HEADER : SalvageLook.SOUND;
  }
  if (salvageSeed(index, deviceBlock)) return SalvageLook.FOREIGN;
  return blockIsZero(frame) ? SalvageLook.BLANK : SalvageLook.DAMAGED;
}

/** 1 when the block is a segment's header that its own seed proves, which the result words give then; else 0. */
export function salvageSeed(index: u32, deviceBlock: f64): i32 {
  const frame = frameAt(index);
  if (!segmentHeaderValid(frame) || changetype<BlockHeader>(frame).deviceBlock != <u64>deviceBlock) return 0;
  const seed = segmentHeaderOf(frame).checkSeed;
  const present = root.checkSeed;
  root.checkSeed = seed;
  const proven = changetype<BlockHeader>(frame).check == blockCheck(frame);
  root.checkSeed = present;
  if (!proven) return 0;
  root.resultPointer = <u32>seed;
  root.resultSize = <u32>(seed >> 32);
  return 1;
}

/** Lists the records that start in a sound block of the window, as `inspectRecords` does. */
export function salvageRecords(index: u32): i32 {
  return recordsList(frameAt(index));
}

/** Offset in its block of the first note that is a record there, at or behind `from`; 0 when there is none. */
export function salvageNote(index: u32, from: u32): u32 {
  const frame = frameAt(index);
  const header = changetype<BlockHeader>(frame);
  if (header.first == <u16>NO_RECORD) return 0;
  const used = min(<u32>header.used, BLOCK_PAYLOAD_SIZE);
  for (let at = <u32>header.first; at < used; ) {
    const record = frame + BLOCK_HEADER_SIZE + at;
    if (!recordValid(record, used - at, root.segmentBlocks)) return 0;
    const offset = BLOCK_HEADER_SIZE + at;
    if (<u32>changetype<Record>(record).kind == RecordKind.NOTE && offset >= from) return offset;
    at += recordSpan(record, used - at);
  }
  return 0;
}

function frameAt(index: u32): usize {
  return <usize>root.frames + ((<usize>index) << BLOCK_SIZE_LOG2);
}
