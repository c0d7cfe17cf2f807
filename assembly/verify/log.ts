/**
 * The log, segment by segment and block by block, as it lies on the device.
 *
 * A segment of up to ATOMIC_BLOCKS is scanned in one go, so nothing is written meanwhile and its live bytes, as found,
 * are exactly those counted. A larger one is left off and gone on with; of such a segment records may die before or
 * after they were met, and its count must lie between.
 */
import { deviceRead, tickMs } from "../device/device";
import { BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, blockIsZero, LAST_PAYLOAD_SIZE } from "../format/block";
import { SegmentKind, segmentHeaderOf, segmentHeaderValid } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { blockLookAgain, segmentMovedOn } from "../log/beside";
import { segmentAt, segmentOffset } from "../log/segments";
import { Space } from "../log/space";
import { root } from "../root";
import { Status } from "../status";
import { recordsScan } from "./records";
import {
  blockFault,
  blockProven,
  frameInMemory,
  isHalfCopied,
  segmentCounts,
  segmentEnd,
  segmentIsOpen,
  usedOf,
} from "./source";
import { BUFFER_BLOCKS, bufferBlock, Fault, faultAt, VerifyPhase, VerifyState, verifyState } from "./state";

const ATOMIC_BLOCKS: u32 = 256;

/** What is known of the commit group before a block. */
namespace GroupKnown {
  export const NOTHING: u32 = 0;
  /** Some blocks since it could not be read. */
  export const ABOUT: u32 = 1;
  export const EXACTLY: u32 = 2;
}

/** Blocks of all segments that count. O(segments). */
export function logBlocks(): u64 {
  let blocks: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) if (segmentCounts(i)) blocks += segmentEnd(i);
  return blocks;
}

/** Goes on until `deadline` (tickMs) or the end of the log. */
export function logStep(deadline: u64): void {
  const state = verifyState();
  while (state.segment < root.segmentCount) {
    if (!segmentScan(state, deadline)) return;
    state.segment++;
    state.block = 0;
    state.started = 0;
    if (tickMs() >= deadline) return;
  }
  state.phase = VerifyPhase.CHECKPOINTS;
}

/** Scans the segment, or goes on with it: whether its end was reached. */
function segmentScan(state: VerifyState, deadline: u64): bool {
  const index = state.segment;
  const segment = segmentAt(index);
  if (!segmentCounts(index)) {
    if (!state.started && segment.space == Space.FREE) {
      state.segmentsFree++;
      if (segment.liveBytes) faultAt(Fault.LIVE_BYTES, segmentOffset(index), <f64>segment.liveBytes, 0);
    }
    return true;
  }
  if (!state.started) segmentStart(state);
  // Given back and taken anew between two steps: what it holds now is younger than this verification.
  if (segment.generation != state.generation) return true;
  while (state.block < segmentEnd(index)) {
    blocksScan(state);
    if (state.expired) return false;
    // Not behind the last block, which may be filled still: what comes into it and runs on would seem to come from nowhere.
    const leaves = root.segmentBlocks > ATOMIC_BLOCKS && state.block < segmentEnd(index);
    if (leaves && tickMs() >= deadline) return false;
  }
  segmentFinish(state);
  return true;
}

function segmentStart(state: VerifyState): void {
  const segment = segmentAt(state.segment);
  state.started = 1;
  state.segmentsUsed++;
  state.damaged = 0;
  state.confirmed = 0;
  state.lost = 0;
  state.recordRemaining = 0;
  state.generation = segment.generation;
  state.liveBefore = segment.liveBytes;
  state.appendedBefore = root.bytesAppended;
  state.openBefore = segmentIsOpen(state.segment) ? segment.space : 0;
  state.groupKnown = GroupKnown.NOTHING;
  predecessorRead(state);
}

/**
 * The commit group of the last block before a segment, where that still counts: the segment goes on with it or with a
 * later one, since what recovery copied is a group of its own.
 */
function predecessorRead(state: VerifyState): void {
  const segment = segmentAt(state.segment);
  const previous = segment.previousSegment;
  if (!segment.previousGeneration || previous >= root.segmentCount) return;
  if (segmentAt(previous).generation != segment.previousGeneration || !segmentCounts(previous)) return;
  const frame = blockProven(previous, segmentEnd(previous) - 1, bufferBlock(BUFFER_BLOCKS));
  // When it is damaged that is told of its own segment.
  if (!frame) return;
  groupTake(state, frame);
  state.groupKnown = GroupKnown.ABOUT;
}

function segmentFinish(state: VerifyState): void {
  const segment = segmentAt(state.segment);
  const offset = segmentOffset(state.segment);
  if (state.recordRemaining && !state.lost && !isHalfCopied(state.segment))
    faultAt(Fault.RECORD_MALFORMED, state.recordAddress, 0, 0);
  if (state.damaged || state.recordRemaining) return;
  const live = segment.liveBytes;
  if (live == state.confirmed) return;
  if (root.segmentBlocks > ATOMIC_BLOCKS) {
    if (state.confirmed > live && state.confirmed <= state.liveBefore) return;
    // It may be full by now.
    const isCopies = state.openBefore == Space.COPYING;
    if (state.openBefore && (isCopies || root.bytesAppended != state.appendedBefore)) return;
  }
  faultAt(Fault.LIVE_BYTES, offset, <f64>live, <f64>state.confirmed);
}

/** Scans the next block that lies in memory, or the next few that lie on the device. */
function blocksScan(state: VerifyState): void {
  const index = state.segment;
  const resident = frameInMemory(index, state.block);
  if (resident) {
    state.blocksBuffered++;
    blockScan(state, resident);
    return;
  }
  const end = segmentEnd(index);
  let count: u32 = 1;
  while (count < BUFFER_BLOCKS && state.block + count < end && !frameInMemory(index, state.block + count)) count++;
  const offset = segmentOffset(index) + ((<u64>state.block) << BLOCK_SIZE_LOG2);
  const whole = deviceRead(offset, bufferBlock(0), count << BLOCK_SIZE_LOG2);
  for (let i: u32 = 0; i < count; i++) {
    const at = offset + ((<u64>i) << BLOCK_SIZE_LOG2);
    // What does not come together is asked for block by block: only what is really gone is lost.
    const status = whole < 0 ? deviceRead(at, bufferBlock(i), <u32>BLOCK_SIZE) : whole;
    if (status < 0) {
      if (segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))) {
        state.expired = 1;
        return;
      }
      faultAt(Fault.DEVICE, at, <f64>status, 0);
      blockLose(state);
    } else {
      state.blocksRead++;
      blockFromDevice(state, bufferBlock(i), at);
      if (state.expired) return;
    }
  }
}

function blockFromDevice(state: VerifyState, frame: usize, offset: u64): void {
  const header = changetype<BlockHeader>(frame);
  const kind = blockFault(frame, offset >> BLOCK_SIZE_LOG2, state.generation);
  if (!kind) {
    blockScan(state, frame);
    return;
  }
  if (root.readOnly) {
    const again = blockLookAgain(offset, bufferBlock(BUFFER_BLOCKS));
    if (again == Status.SNAPSHOT_EXPIRED) {
      state.expired = 1;
      return;
    }
    if (again == Status.OK) {
      blockScan(state, bufferBlock(BUFFER_BLOCKS));
      return;
    }
  }
  if (kind == Fault.BLOCK_DAMAGED) faultAt(kind, offset, blockIsZero(frame) ? 1 : 0, 0);
  else if (kind == Fault.BLOCK_MISPLACED) faultAt(kind, offset, <f64>header.deviceBlock, 0);
  else faultAt(kind, offset, <f64>header.generation, <f64>state.generation);
  blockLose(state);
}

/** The next block cannot be used: what follows it starts anew. */
function blockLose(state: VerifyState): void {
  state.block++;
  state.damaged = 1;
  state.lost = 1;
  state.recordRemaining = 0;
  if (state.groupKnown == GroupKnown.EXACTLY) state.groupKnown = GroupKnown.ABOUT;
}

/** Scans the next block, which is sound. */
function blockScan(state: VerifyState, frame: usize): void {
  const header = changetype<BlockHeader>(frame);
  const block = state.block++;
  const offset = segmentOffset(state.segment) + ((<u64>block) << BLOCK_SIZE_LOG2);
  const used = usedOf(frame);
  const ends = (header.flags & BlockFlags.GROUP_END) != 0;
  if (groupIsWrong(state, header.group)) faultAt(Fault.GROUP_ORDER, offset, <f64>header.group, <f64>state.group);
  groupTake(state, frame);
  const isHeader = (header.flags & BlockFlags.SEGMENT_HEADER) != 0;
  if (block < segmentAt(state.segment).headerBlocks) {
    const sound = block ? isHeader : headerMatches(state.segment, frame);
    if (!sound) faultAt(Fault.SEGMENT_HEADER, offset, 0, 0);
    return;
  }
  if (isHeader || used > (ends ? LAST_PAYLOAD_SIZE : BLOCK_PAYLOAD_SIZE)) {
    faultAt(Fault.RECORD_MALFORMED, offset, 0, 0);
    state.damaged = 1;
    state.lost = 1;
    return;
  }
  const end = state.segment + 1 == root.sideSegment ? root.segmentBlocks : segmentEnd(state.segment);
  recordsScan(frame, offset, used, <u32>header.first, end - block - 1);
}

function groupIsWrong(state: VerifyState, group: u64): bool {
  if (state.groupKnown == GroupKnown.NOTHING) return false;
  if (state.groupKnown == GroupKnown.ABOUT) return group < state.group;
  return state.groupEnded ? group <= state.group : group != state.group;
}

function groupTake(state: VerifyState, frame: usize): void {
  const header = changetype<BlockHeader>(frame);
  state.group = header.group;
  state.groupEnded = header.flags & BlockFlags.GROUP_END;
  // Copies are made over several groups, and end none.
  const isLog = segmentAt(state.segment).kind == SegmentKind.LOG;
  state.groupKnown = isLog ? GroupKnown.EXACTLY : GroupKnown.ABOUT;
}

/** Whether a segment's first block says what the store knows of the segment. */
function headerMatches(index: u32, frame: usize): bool {
  if (!segmentHeaderValid(frame)) return false;
  const segment = segmentAt(index);
  const header = segmentHeaderOf(frame);
  return (
    header.kind == segment.kind &&
    header.born == segment.born &&
    header.previousGeneration == segment.previousGeneration &&
    header.previousSegment == segment.previousSegment &&
    header.headerBlocks == segment.headerBlocks
  );
}
