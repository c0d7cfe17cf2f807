/**
 * Bringing the log's end to safety before anything of it is served.
 *
 * Groups behind the mark are complete, but what was read may come from a cache that the device never took. Their blocks
 * are written again, the same bytes to the same places, and synced. In a segment that the log fills only in part, blocks of
 * a torn group may follow, so what counts of it is copied to a fresh segment, as one group of this mount, in which the log
 * goes on; the original goes. Both count from the superblock on that says so: until then the originals still stand. Where
 * the log ends with a segment, there is nothing to copy, and a fresh segment begins with the mount's note alone; but when
 * only one is free, the log's last segment is copied all the same: its original is free then, and the next recovery finds a segment.
 */
import { deviceSync, deviceWrite } from "../device/device";
import { BlockFlags, BlockHeader, blockBegin, blockCheck, blockValid, trailerOf } from "../format/block";
import { SegmentKind } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { headerBlockFill, logContinue, segmentBegin } from "../log/append";
import {
  For,
  headerBlocks,
  segmentAt,
  segmentFree,
  segmentOffset,
  segmentsRecount,
  segmentsReserve,
  segmentTake,
} from "../log/segments";
import { noteCounts, noteForgets, noteHas, noteMake, Space } from "../log/space";
import { superblockCommit } from "../log/superblock-store";
import { root } from "../root";
import { Status } from "../status";
import { checkpointsTake } from "./checkpoint-load";
import { corruptAt } from "./fault";
import { blockAt, logEndSealed, segmentReplay } from "./log-replay";
import { ScanState, successor } from "./log-scan";
import { ReplayPass } from "./replay";

/** The frame in which a block is made, behind those that reading uses. */
const MAKE_FRAME: usize = 48;

/** Takes over the segments that count, and frees all others. */
export function segmentsTake(): void {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (noteHas(i)) state.space = Space.LIVE;
  }
  checkpointsTake();
  let at = lifeFirst();
  while (at) {
    segmentAt(at - 1).space = Space.LIVE;
    noteCounts(at - 1);
    if (at == root.logEndSegment) break;
    at = lifeNext(at);
  }
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space == Space.FREE) state.kind = SegmentKind.FREE;
  }
  segmentsRecount();
}

/** Brings complete groups behind the mark, and a segment that is filled in part, to safety, and replays them. */
export function tailSecure(frame: usize): i32 {
  const partial = !logEndSealed() || (root.tailFromSegment && isTight());
  const last = root.logEndSegment;
  let status = tailRewrite(partial, frame);
  if (status < 0) return status;
  let copy: u32 = 0;
  if (partial) {
    const copied = lastCopy(frame);
    if (copied < 0) return <i32>copied;
    copy = <u32>copied + 1;
  }
  let noted: u32 = 0;
  if (!partial && root.tailFromSegment) {
    const made = noteStart(frame);
    if (made < 0) return <i32>made;
    noted = <u32>made + 1;
  }
  status = deviceSync();
  if (status < 0) return status;
  root.durableGroup = partial || noted ? root.group : root.tailGroup;
  if (partial || noted) root.group++;
  root.logEpoch = root.epoch;
  status = superblockCommit();
  if (status < 0) return status;
  root.replayPass = ReplayPass.LOG;
  root.windowCount = 0;
  for (let at = root.tailFromSegment; at; at = lifeNext(at)) {
    if (partial && at == last) break;
    status = segmentReplay(at - 1, at == root.tailFromSegment ? root.tailFromBlock : 0, frame);
    if (status < 0) return status;
    if (at == last) break;
  }
  if (partial) {
    root.logEndSegment = copy;
    root.logEndBlock = root.copyBlocks;
    const records = root.recoveredRecords;
    status = segmentReplay(copy - 1, 0, frame);
    if (status < 0) return status;
    if (segmentAt(copy - 1).extents) {
      // Parts whose place a checkpoint told lie in the copy, too, before the original goes.
      root.replayPass = ReplayPass.PARTS;
      status = segmentReplay(copy - 1, 0, frame);
      if (status < 0) return status;
    }
    // What was replayed from the original already is no record more.
    if (root.tailFromSegment != last || root.tailFromBlock) root.recoveredRecords = records;
    segmentFree(last - 1);
  }
  root.previousSegment = (partial ? copy : noted ? noted : last) - 1;
  root.previousGeneration = segmentAt(root.previousSegment).generation;
  if ((partial || noted) && root.copyBlocks < root.segmentBlocks) logContinue(root.previousSegment, root.copyBlocks);
  return Status.OK;
}

/** Whether the one segment that is left is recovery's, on a device that does not grow. */
function isTight(): bool {
  return !root.growable && root.segmentFreeCount == 1;
}

/** Writes the blocks of the groups behind the mark again, but for a last segment that is copied. */
function tailRewrite(partial: bool, frame: usize): i32 {
  const last = root.logEndSegment;
  for (let at = root.tailFromSegment; at; at = lifeNext(at)) {
    if (partial && at == last) return Status.OK;
    const end = at == last ? root.logEndBlock : root.segmentBlocks;
    for (let block = at == root.tailFromSegment ? root.tailFromBlock : 0; block < end; block++) {
      const pointer = blockChecked(at - 1, block, frame);
      if (pointer < 0) return <i32>pointer;
      const offset = segmentOffset(at - 1) + ((<u64>block) << BLOCK_SIZE_LOG2);
      const written = deviceWrite(offset, <usize>pointer, <u32>BLOCK_SIZE);
      if (written < 0) return written;
      root.recoveredTailBlocks++;
      if (changetype<BlockHeader>(<usize>pointer).flags & BlockFlags.SEGMENT_END) break;
    }
    if (at == last) return Status.OK;
  }
  return Status.OK;
}

/**
 * Copies what counts of the last segment to a fresh one, behind a header with the note of how things stand then: its index,
 * or a status.
 */
function lastCopy(frame: usize): i64 {
  const source = root.logEndSegment - 1;
  const from = segmentAt(source);
  const reserved = segmentsReserve(1, For.RECOVERY);
  if (reserved < 0) return reserved;
  const blocks = headerBlocks();
  root.copyBlocks = 0;
  const kept = root.logEndBlock > from.headerBlocks ? root.logEndBlock - from.headerBlocks : 0;
  if (blocks + max<u32>(kept, 1) > root.segmentBlocks) return Status.NO_SPACE;
  root.previousSegment = from.previousSegment;
  root.previousGeneration = from.previousGeneration;
  const made = <usize>root.frames + (MAKE_FRAME << BLOCK_SIZE_LOG2);
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.LOG, 0);
  const state = segmentAt(index);
  state.space = Space.LIVE;
  state.scan = ScanState.HEADER;
  state.born = from.born;
  noteForgets(source);
  noteCounts(index);
  const headed = headerWrite(made, index, former, blocks);
  if (headed < 0) return headed;
  for (let i: u32 = 0; i < kept; i++) {
    const pointer = blockChecked(source, from.headerBlocks + i, frame);
    if (pointer < 0) return pointer;
    const header = changetype<BlockHeader>(<usize>pointer);
    const flags = <u32>header.flags & ~(BlockFlags.GROUP_END | BlockFlags.SEGMENT_END);
    const used = header.used;
    const first = header.first;
    memory.copy(made, <usize>pointer, BLOCK_SIZE);
    const unproven =
      root.tailFromSegment != 0 && (root.tailFromSegment - 1 != source || from.headerBlocks + i >= root.tailFromBlock);
    if (unproven) root.recoveredTailBlocks++;
    blockPlace(made, index, blocks + i);
    const copied = changetype<BlockHeader>(made);
    copied.used = used;
    copied.first = first;
    copied.flags = <u16>flags;
    if (i + 1 == kept) groupEnd(made);
    const written = blockWrite(made);
    if (written < 0) return written;
  }
  if (!kept) {
    const written = endWrite(made, index, blocks, root.replaySequence);
    if (written < 0) return written;
  }
  root.copyBlocks = blocks + max<u32>(kept, 1);
  return <i64>index;
}

/**
 * Begins a fresh segment behind a log that ends with its last one: a header, with the note of how things stand, and the end
 * of a group: its index, or a status. Else the groups that are brought to safety would bring a note of theirs to rule,
 * which counts copies that no sync may have covered.
 */
function noteStart(frame: usize): i64 {
  const last = root.logEndSegment - 1;
  const pointer = blockChecked(last, root.logEndBlock - 1, frame);
  if (pointer < 0) return pointer;
  const ends = (changetype<BlockHeader>(<usize>pointer).flags & BlockFlags.GROUP_END) != 0;
  const sequence = ends ? max<u64>(root.replaySequence, trailerOf(<usize>pointer).sequence) : root.replaySequence;
  const reserved = segmentsReserve(1, For.RECOVERY);
  if (reserved < 0) return reserved;
  root.previousSegment = last;
  root.previousGeneration = segmentAt(last).generation;
  const blocks = headerBlocks();
  const made = <usize>root.frames + (MAKE_FRAME << BLOCK_SIZE_LOG2);
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.LOG, 0);
  const state = segmentAt(index);
  state.space = Space.LIVE;
  state.scan = ScanState.HEADER;
  noteCounts(index);
  const headed = headerWrite(made, index, former, blocks);
  if (headed < 0) return headed;
  const written = endWrite(made, index, blocks, sequence);
  if (written < 0) return written;
  root.copyBlocks = blocks + 1;
  return <i64>index;
}

/** Writes the header of a segment that was begun, with the note of how things stand now, through the frame `made`. */
function headerWrite(made: usize, index: u32, former: u64, blocks: u32): i32 {
  const noteSize = noteMake();
  let noted: u32 = 0;
  for (let block: u32 = 0; block < blocks; block++) {
    blockMake(made, index, block);
    noted = headerBlockFill(made, index, former, block, noted, noteSize);
    const written = blockWrite(made);
    if (written < 0) return written;
  }
  return Status.OK;
}

/** Writes a block that holds nothing but the end of a group. */
function endWrite(made: usize, index: u32, block: u32, sequence: u64): i32 {
  blockMake(made, index, block);
  groupEnd(made);
  const trailer = trailerOf(made);
  trailer.sequence = sequence;
  trailer.highestTimeMs = root.highestTimeMs;
  return blockWrite(made);
}

function groupEnd(frame: usize): void {
  changetype<BlockHeader>(frame).flags |= <u16>BlockFlags.GROUP_END;
  trailerOf(frame).durableGroup = root.durableGroup;
}

/** An empty block for a place in a segment. */
function blockMake(frame: usize, index: u32, block: u32): void {
  memory.fill(frame, 0, BLOCK_SIZE);
  blockPlace(frame, index, block);
}

function blockPlace(frame: usize, index: u32, block: u32): void {
  blockBegin(frame, segmentAt(index).generation, (segmentOffset(index) >> BLOCK_SIZE_LOG2) + block);
}

function blockWrite(frame: usize): i32 {
  const header = changetype<BlockHeader>(frame);
  header.check = blockCheck(frame);
  return deviceWrite(header.deviceBlock << BLOCK_SIZE_LOG2, frame, <u32>BLOCK_SIZE);
}

/** A block that was intact before; a device that gives other bytes now has nothing to offer. */
function blockChecked(index: u32, block: u32, frame: usize): i64 {
  const pointer = blockAt(index, block, frame);
  if (pointer < 0) return pointer;
  const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
  const intact =
    changetype<BlockHeader>(<usize>pointer).generation == segmentAt(index).generation &&
    blockValid(<usize>pointer, offset >> BLOCK_SIZE_LOG2);
  return intact ? pointer : <i64>corruptAt(offset);
}

/** The first life that the walk went through, index plus 1: where groups behind the mark begin, or where the log ends. */
function lifeFirst(): u32 {
  if (root.tailFromSegment) return root.tailFromSegment;
  return root.logEndSegment;
}

/** The life behind another one. */
function lifeNext(at: u32): u32 {
  return successor(root.replayLogs, at - 1, segmentAt(at - 1).generation, root.walkMark);
}
