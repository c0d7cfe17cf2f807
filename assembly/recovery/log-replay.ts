/**
 * Replaying what was found: the note that rules, the segments that it counts, then the last segment of the durable log
 * and, behind the mark, as far as groups are complete.
 */
import { deviceRead } from "../device/device";
import { BlockFlags, BlockHeader, blockValid } from "../format/block";
import { SegmentKind } from "../format/segment";
import { BLOCK_SIZE_LOG2 } from "../limits";
import { segmentAt, segmentOffset } from "../log/segments";
import { noteHas } from "../log/space";
import { root } from "../root";
import { Status } from "../status";
import { corruptAt } from "./fault";
import { livesSort, noteAccept, noteFromHeader, successor } from "./log-scan";
import { ReplayPass, replayBlock, replayReset } from "./replay";
import { deletedForget } from "./replay-deleted";

/**
 * Blocks that are read at a time: to the first frames of the write buffer, or, where that is large, a MiB to frames behind
 * those that opening uses otherwise.
 */
const WINDOW_BLOCKS: u32 = 16;
const LARGE_WINDOW_BLOCKS: u32 = 256;
const LARGE_WINDOW_FRAME: usize = 64;
const LARGE_WINDOW_FRAMES_FROM: u32 = 512;

/** Sets all up for a replay. */
export function replayBegin(): void {
  root.windowCount = 0;
  root.previousGroup = 0;
  root.previousGeneration = 0;
  root.tailFromSegment = 0;
  root.logEndSegment = 0;
  root.replayNoteSerial = 0;
  root.replayDeleted = 0;
  root.replayExtents = 0;
  root.replayFloor = 0;
  root.unplaced = 0;
  replayReset();
}

/** A block of a segment, in memory until the next call: a pointer, or a status. */
export function blockAt(index: u32, block: u32, frame: usize): i64 {
  const deviceBlock = (segmentOffset(index) >> BLOCK_SIZE_LOG2) + block;
  const within = deviceBlock - root.windowFrom;
  const isLarge = root.frameCount >= LARGE_WINDOW_FRAMES_FROM;
  const window = isLarge ? frame + (LARGE_WINDOW_FRAME << BLOCK_SIZE_LOG2) : frame;
  if (deviceBlock >= root.windowFrom && within < <u64>root.windowCount) {
    return <i64>(window + ((<usize>within) << BLOCK_SIZE_LOG2));
  }
  const count = min(isLarge ? LARGE_WINDOW_BLOCKS : WINDOW_BLOCKS, root.segmentBlocks - block);
  root.windowCount = 0;
  const status = deviceRead(deviceBlock << BLOCK_SIZE_LOG2, window, count << (<u32>BLOCK_SIZE_LOG2));
  if (status < 0) return status;
  root.windowFrom = deviceBlock;
  root.windowCount = count;
  root.progressDone += count;
  return <i64>window;
}

/** Finds the newest note of a life within groups up to the mark. CORRUPT when there is none. */
export function noteFind(index: u32, mark: u64, frame: usize): i32 {
  const state = segmentAt(index);
  let noted: u32 = 0;
  root.replayPass = ReplayPass.NOTES;
  replayReset();
  for (let block: u32 = 0; block < root.segmentBlocks; block++) {
    const at = blockAt(index, block, frame);
    if (at < 0) return <i32>at;
    const header = changetype<BlockHeader>(<usize>at);
    const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
    if (header.generation != state.generation || !blockValid(<usize>at, offset >> BLOCK_SIZE_LOG2)) break;
    if (header.group > mark) break;
    if (block < state.headerBlocks) {
      noted = noteFromHeader(<usize>at, block, noted);
      if (block + 1 == state.headerBlocks && !noteAccept(noted)) return corruptAt(offset);
      continue;
    }
    const status = replayBlock(<usize>at, offset, root.segmentBlocks - block - 1);
    if (status < 0) return status == Status.CORRUPT ? corruptAt(offset) : status;
    if (header.flags & BlockFlags.SEGMENT_END) break;
  }
  replayReset();
  return root.replayNoteSerial ? Status.OK : corruptAt(segmentOffset(index));
}

/**
 * Replays all segments that the note counts but the last one of the log: the copies, then the log. Where a checkpoint was
 * loaded, only what it does not tell of.
 */
export function countedReplay(copies: u32, logs: u32, proven: u32, frame: usize): i32 {
  root.replayLogs = logs;
  root.replayedSegments = 0;
  root.replaySegments = 0;
  if (!proven) return Status.OK;
  for (let i: u32 = 0; i < root.segmentCount; i++) if (noteHas(i)) root.replaySegments++;
  root.replayPass = ReplayPass.COPIES;
  for (let at = copies; at; at = segmentAt(at - 1).next) {
    if (!noteHas(at - 1) || segmentAt(at - 1).believed) continue;
    const status = segmentReplay(at - 1, 0, frame);
    if (status < 0) return status;
    root.replayedSegments++;
  }
  root.replayPass = ReplayPass.LOG;
  for (let at = logs; at; at = segmentAt(at - 1).next) {
    if (at == proven || !noteHas(at - 1) || segmentAt(at - 1).believed >= root.segmentBlocks) continue;
    const status = segmentReplay(at - 1, segmentAt(at - 1).believed, frame);
    if (status < 0) return status;
    root.replayedSegments++;
  }
  return Status.OK;
}

/** Replays a segment from a block on, to where it ends; each block must be there. */
export function segmentReplay(index: u32, from: u32, frame: usize): i32 {
  const state = segmentAt(index);
  const end = index + 1 == root.logEndSegment ? root.logEndBlock : root.segmentBlocks;
  replayReset();
  for (let block = from; block < end; block++) {
    const at = blockAt(index, block, frame);
    if (at < 0) return <i32>at;
    const header = changetype<BlockHeader>(<usize>at);
    const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
    if (header.generation != state.generation || !blockValid(<usize>at, offset >> BLOCK_SIZE_LOG2)) {
      return corruptAt(offset);
    }
    const status = replayBlock(<usize>at, offset, root.segmentBlocks - block - 1);
    if (status < 0) return status == Status.CORRUPT ? corruptAt(offset) : status;
    // Looking for parts goes over what a `readOnly` store does not serve.
    if (root.replayPass != ReplayPass.PARTS) state.end = block + 1;
    if (header.flags & BlockFlags.SEGMENT_END) break;
  }
  return root.replayCarry ? corruptAt(segmentOffset(index)) : Status.OK;
}

/**
 * Walks the log from its last proven segment on, or from its first: replays groups up to the mark, and finds out where
 * complete groups behind it begin and end (`tailFrom...`, `logEnd...`).
 */
export function logWalk(logs: u32, proven: u32, mark: u64, frame: usize): i32 {
  let at = proven ? proven : successor(logs, 0, 0, mark);
  let group: u64 = 0;
  let ended = true;
  let started = false;
  root.replayPass = ReplayPass.LOG;
  root.tailGroup = 0;
  root.walkMark = mark;
  replayReset();
  while (at) {
    const index = at - 1;
    const state = segmentAt(index);
    for (let block: u32 = 0; block < root.segmentBlocks; block++) {
      const pointer = blockAt(index, block, frame);
      if (pointer < 0) return <i32>pointer;
      const header = changetype<BlockHeader>(<usize>pointer);
      const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
      let intact = header.generation == state.generation && blockValid(<usize>pointer, offset >> BLOCK_SIZE_LOG2);
      // The last proven segment may begin in the midst of a group.
      if (started) intact = intact && (ended ? header.group > group : header.group == group);
      const behind = header.group > mark;
      if (behind) intact = intact && header.group >> 40 == root.walkEpoch;
      if (!intact) return walkEnd(offset, mark);
      if (ended || !started) {
        group = header.group;
        if (behind && !root.tailFromSegment) {
          root.tailFromSegment = at;
          root.tailFromBlock = block;
        }
      }
      started = true;
      ended = (header.flags & BlockFlags.GROUP_END) != 0;
      const last = (header.flags & BlockFlags.SEGMENT_END) != 0 || block + 1 == root.segmentBlocks;
      if (!behind && block >= state.believed) {
        const status = replayBlock(<usize>pointer, offset, root.segmentBlocks - block - 1);
        if (status < 0) return status == Status.CORRUPT ? corruptAt(offset) : status;
        if (ended && root.replayCarry) return corruptAt(offset);
        state.end = block + 1;
      }
      if (ended) {
        if (behind) root.tailGroup = group;
        else root.previousGroup = group;
        root.logEndSegment = at;
        root.logEndBlock = block + 1;
        root.logEndIsSealed = last ? 1 : 0;
      }
      if (last) break;
    }
    at = successor(logs, index, state.generation, mark);
  }
  return walkEnd(segmentOffset(0), mark);
}

/** The log ends before `offset`. CORRUPT when what is missing there was durable. */
function walkEnd(offset: u64, mark: u64): i32 {
  if (root.previousGroup < mark) return corruptAt(offset);
  if (!root.tailGroup) root.tailFromSegment = 0;
  return Status.OK;
}

/** Whether the last segment of the log ends where the log does. */
export function logEndSealed(): bool {
  return root.logEndIsSealed != 0;
}

/** Enters the further parts of values that lie in the lives of a list. */
function partsReplay(first: u32, frame: usize): i32 {
  for (let at = first; at; at = segmentAt(at - 1).next) {
    if (!segmentAt(at - 1).extents) continue;
    const status = segmentReplay(at - 1, 0, frame);
    if (status < 0) return status;
  }
  return Status.OK;
}

/**
 * Proves, once all that is durable was replayed, that every node of a checkpoint has the place of its record.
 * CHECKPOINT_DAMAGED.
 */
export function placesCheck(frame: usize): i32 {
  if (!root.replayFloor || !root.unplaced) return Status.OK;
  const replayed = extentsReplay(frame);
  if (replayed < 0) return replayed;
  return root.unplaced ? Status.CHECKPOINT_DAMAGED : Status.OK;
}

/** Enters what could not be entered before every record was seen, and forgets what was kept for that. */
export function replayFinish(frame: usize): i32 {
  const replayed = extentsReplay(frame);
  if (replayed < 0) return replayed;
  deletedForget();
  return Status.OK;
}

function extentsReplay(frame: usize): i32 {
  if (!root.replayExtents) return Status.OK;
  root.replayPass = ReplayPass.PARTS;
  const copied = partsReplay(livesSort(SegmentKind.COPIES), frame);
  if (copied < 0) return copied;
  // In the order of the log: where a batch gave a key two values, the parts of the later one stand.
  return partsReplay(livesSort(SegmentKind.LOG), frame);
}
