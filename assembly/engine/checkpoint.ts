/**
 * Checkpoints: so that opening reads the keys in order instead of every record of the log.
 *
 * One is begun between two operations: the log's present block is ended, and the place behind it is the position. Then
 * the ordered index is walked in steps, and each key's node is written as it is by then, so that nothing has to be kept
 * for it; whatever changed since the position is in the log behind it. When the walk is done, what it named is made
 * to count, and is durable, before a superblock names the checkpoint: from then on checkpoint and log make the state.
 *
 * ```
 * KEYS ─> SEGMENTS ─> SETTLE (copies closed, a note) ─> DURABLE (its group) ─> superblock ─> superblock ─> replaced one freed
 * ```
 *
 * Invariants: (1) a superblock names a checkpoint only when all that its entries may name is durable and counts; (2) a
 * deletion is kept while a checkpoint that is kept, or under way, was begun before it; (3) the segments of a replaced
 * checkpoint are freed when no superblock names it; (4) one that finds no room is given up, and those before it stay.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { deviceSync, tickMs } from "../device/device";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import {
  CHECKPOINT_MAGIC,
  CHECKPOINT_VERSION,
  CHECKPOINT_VERSION_PACKED,
  CheckpointSummary,
} from "../format/checkpoint";
import { SegmentKind } from "../format/segment";
import { Incompatible, ROOT_SIZE } from "../format/superblock";
import { KeyNode, NodeFlags } from "../index/key-node";
import { SeekMode, treeCollectForward, treeFirst, treeSeek } from "../index/tree-cursor";
import { noteAppend, tailCut } from "../log/append";
import { flightDrop, flightIsOpen, flightLanded, flightTakes, flightWrite } from "../log/checkpoint-flight";
import {
  blockEnd,
  CheckpointWork,
  checkpointWork,
  framesWrite,
  lastKeyAt,
  segmentsGiveUp,
  summaryWrite,
  WRITER_FRAMES,
  workGive,
  workTake,
} from "../log/checkpoint-writer";
import { flushSync } from "../log/group";
import { roomIsAmple, segmentAt } from "../log/segments";
import { SIDE_WAITS, sideClose } from "../log/side";
import { Space, spaceCounts } from "../log/space";
import { SuperblockStep } from "../log/superblock-flight";
import { fenceCheck, superblockCommit } from "../log/superblock-store";
import { Attention, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { baseForget, dueSet, floorSet, isDue, loggedBytes, rootAt } from "./checkpoint-due";
import { entryWrite, segmentEntryWrite } from "./checkpoint-entries";
import { compactStep, StepWaits } from "./compact";
import { laterApply } from "./later";
import { CompactMode } from "./pace";

/** By default: see `checkpointConfigure`. */
const LOG_BYTES: u64 = 64 << 20;
const THOUSANDTHS: u32 = 1667;
const STEP_BLOCKS: u32 = 8;
/** Keys whose nodes are asked for together. */
const GROUP: u32 = 64;
/** Entries of segments that one step writes. */
const SEGMENTS_PER_STEP: u32 = 1024;
/** An opening may read so many bytes of log without a checkpoint of its end, or one part in so many of the keys. */
const CLOSE_LOG_BYTES: u64 = 1 << 20;
const CLOSE_SHARE: u64 = 16;
/** Blocks that the log has paid for and the host did not write, after which steps write themselves. */
const CREDIT_MAX: u32 = 65536;
/** Blocks that a step may hand over beyond its own: one that was open, a header, what the last group of keys brings. */
const STEP_SLACK: u32 = 3;
/** A step ends where its entries would fill so many times its blocks unpacked. */
const STEP_PACKED: u32 = 2;

namespace Phase {
  export const KEYS: u32 = 0;
  export const SEGMENTS: u32 = 1;
  export const SETTLE: u32 = 2;
  export const DURABLE: u32 = 3;
}

/** What a step did. */
export namespace CheckpointResult {
  /** None is under way, and none is due. */
  export const IDLE: i32 = 0;
  export const WORKED: i32 = 1;
  /** It goes on when what was written so far is durable. */
  export const WAITS: i32 = 2;
  /** The superblock names a new one. */
  export const DONE: i32 = 3;
  /** There was no room, in memory or on the device. */
  export const GIVEN_UP: i32 = 4;
}

/**
 * Sets whether checkpoints are made by themselves, and when one is due: so many bytes of log behind the last one, and so
 * many thousandths of the live bytes. A step writes `stepBlocks` blocks.
 */
export function checkpointConfigure(auto: bool, logBytes: f64, thousandths: u32, stepBlocks: u32): void {
  root.checkpointAuto = auto ? 1 : 0;
  root.checkpointLogBytes = <u64>logBytes;
  root.checkpointThousandths = thousandths;
  root.checkpointStepBlocks = max<u32>(1, stepBlocks);
  dueSet();
}

/**
 * A step, where one is due: begins a checkpoint, goes on with it, or ends it. A CheckpointResult, or a status: DEVICE_WRITE
 * and FENCED must poison.
 */
export function checkpointStep(): i32 {
  if (root.blocked || root.batchOpen || root.streamActive || root.readOnly) return CheckpointResult.IDLE;
  laterApply();
  const settled = replacedFree(!root.hostFlies || !roomIsAmple());
  if (settled < 0) return settled == Status.NO_SPACE ? CheckpointResult.IDLE : settled;
  if (root.checkpointUnnamed && root.checkpointPending < 2) {
    root.checkpointUnnamed = 0;
    return CheckpointResult.DONE;
  }
  if (!root.checkpointWork) {
    // What was replaced is freed before the next one is begun, and what flies has landed.
    if (root.checkpointPending || root.replacedGeneration || root.checkpointFlying) return CheckpointResult.IDLE;
    if (!root.checkpointAuto || root.bytesAppended < root.checkpointDueAt) return CheckpointResult.IDLE;
    if (!isDue()) {
      dueSet();
      return CheckpointResult.IDLE;
    }
    return outcome(begin());
  }
  const work = checkpointWork();
  if (work.phase < Phase.SETTLE) {
    if (root.checkpointCredit < root.checkpointStepBlocks) return CheckpointResult.IDLE;
    const waits = root.checkpointArea != 0 && !flightTakes(min(root.checkpointStepBlocks, WRITER_FRAMES) + STEP_SLACK);
    if (waits && root.checkpointCredit < CREDIT_MAX) return CheckpointResult.WAITS;
    root.checkpointNow = waits || !roomIsAmple() ? 1 : 0;
    root.checkpointCredit = min(root.checkpointCredit, CREDIT_MAX * 2) - root.checkpointStepBlocks;
  }
  const result = outcome(goOn(work, root.checkpointStepBlocks));
  root.checkpointNow = 0;
  if (result == CheckpointResult.WORKED || result == CheckpointResult.DONE) root.attention |= Attention.CHECKPOINT_DUE;
  return result;
}

/** Takes the host's report on blocks in flight. NO_SPACE gives the checkpoint up; DEVICE_WRITE must poison. */
export function checkpointLanded(result: u32): i32 {
  const landed = flightLanded(result);
  if (landed == Status.NO_SPACE) checkpointGiveUp();
  if (root.abandonedGeneration) segmentsGiveUp(root.abandonedSegment, root.abandonedGeneration);
  root.abandonedGeneration = 0;
  return landed;
}

/** Whether one is being written, named, or freed: then a landing may let it go on. */
export function checkpointIsOpen(): bool {
  return (root.checkpointWork | root.checkpointUnnamed | root.checkpointPending) != 0 || root.replacedGeneration != 0;
}

/** Makes a checkpoint of the present state, at once, where opening would gain by it. The caller writes the superblock. */
export function checkpointAtClose(): i32 {
  if (root.checkpointWork) checkpointGiveUp();
  if (!root.sequence || !root.checkpointStepBlocks) return Status.OK;
  const logged = loggedBytes();
  const least = min(CLOSE_LOG_BYTES, root.checkpointLogBytes);
  if (logged < max(least, (root.checkpointBlocks << 12) / CLOSE_SHARE) || (!root.liveKeyCount && !root.checkpointKeys))
    return Status.OK;
  laterApply();
  let status = begin();
  root.checkpointNow = 1;
  if (status >= 0) status = atOnce();
  if (status == Status.NO_SPACE || status == Status.OUT_OF_MEMORY) {
    checkpointGiveUp();
    return Status.OK;
  }
  return status < 0 ? status : Status.OK;
}

/** Forgets the checkpoint that is being written, if any. Its segments are free at once: nothing names them. */
export function checkpointGiveUp(): void {
  if (!root.checkpointWork) return;
  const work = checkpointWork();
  flightDrop();
  if (work.segment) {
    const generation = segmentAt(work.segment - 1).generation;
    if (root.checkpointFlying) {
      root.abandonedSegment = work.segment - 1;
      root.abandonedGeneration = generation;
    } else {
      segmentsGiveUp(work.segment - 1, generation);
    }
  }
  workGive();
  root.checkpointsGivenUp++;
  floorSet();
  dueSet();
  // Not at once again: half as much must come first.
  root.checkpointDueAt = max(root.checkpointDueAt, root.bytesAppended + root.checkpointLogBytes / 2);
}

/**
 * Gives room back where nothing else does: the checkpoint that is being written, the older one of those that are kept, and
 * with `all` the newer one. 1 when there was one, 0 when not, or a status.
 */
export function checkpointYield(all: bool): i32 {
  if (root.checkpointWork) {
    checkpointGiveUp();
    return 1;
  }
  const settled = replacedFree(true);
  if (settled) return settled;
  // What the host has not reported on keeps its segments.
  if (root.checkpointPending || root.replacedGeneration || root.checkpointFlying) return 0;
  const which: u32 = rootAt(1).kind ? 1 : 0;
  if (!rootAt(which).kind || (!which && !all)) return 0;
  const segment = rootAt(which).segment;
  // A backup keeps it.
  if (segmentAt(segment).pins) return 0;
  const generation = rootAt(which).generation;
  memory.fill(changetype<usize>(rootAt(which)), 0, ROOT_SIZE);
  root.replacedSegment = segment;
  root.replacedGeneration = generation;
  root.checkpointPending = 2;
  root.superblockCounts = 0;
  if (!which) baseForget();
  floorSet();
  const freed = replacedFree(true);
  return freed < 0 ? freed : root.replacedGeneration ? 0 : 1;
}

/** Takes over, when a store is opened, what its superblock names, and how many bytes of log lie behind the newest one. */
export function checkpointsMounted(logged: u64): void {
  root.checkpointBase = -(<i64>logged);
  root.checkpointLogBytes = LOG_BYTES;
  root.checkpointThousandths = THOUSANDTHS;
  root.checkpointStepBlocks = STEP_BLOCKS;
  floorSet();
}

/** Begins a checkpoint of the present state. OUT_OF_MEMORY. */
function begin(): i32 {
  const taken = workTake();
  if (taken < 0) return taken;
  tailCut();
  const work = checkpointWork();
  work.sequence = root.sequence;
  work.positionGroup = root.group;
  work.logGeneration = ((<u64>root.epoch) << 32) | root.generationCounter;
  work.copiesGeneration = work.logGeneration + 1;
  // Copies that are not closed yet take more of them.
  if (root.sideSegment) work.copiesGeneration = segmentAt(root.sideSegment - 1).generation;
  if (root.sideClosing) work.copiesGeneration = min(work.copiesGeneration, segmentAt(root.sideClosing - 1).generation);
  if (root.segmentOpenBlock < root.segmentBlocks) {
    const state = segmentAt(root.segmentOpen);
    work.positionSegment = root.segmentOpen;
    work.positionGeneration = state.generation;
    work.positionBlock = root.segmentOpenBlock + 1;
    work.tombstoneBytes = state.tombstoneBytes;
    work.newestTombstone = state.newestTombstone;
  }
  work.base = root.bytesAppended;
  work.startMs = <u32>tickMs();
  root.checkpointCredit = root.checkpointStepBlocks;
  floorSet();
  root.attention |= Attention.CHECKPOINT_DUE;
  return CheckpointResult.WORKED;
}

/** Goes on, by about `blocks` blocks. */
function goOn(work: CheckpointWork, blocks: u32): i32 {
  switch (work.phase) {
    case Phase.KEYS:
      return keysWrite(work, blocks);
    case Phase.SEGMENTS:
      return tableWrite(work);
    case Phase.SETTLE:
      return settle(work);
    default:
      return durable(work);
  }
}

/** All the rest of it, without a superblock. */
function atOnce(): i32 {
  const work = checkpointWork();
  while (work.phase < Phase.SETTLE) {
    const written = goOn(work, u32.MAX_VALUE);
    if (written < 0) return written;
  }
  if (root.sideOpened) {
    const copied = copyFinish();
    if (copied < 0) return copied;
    const settled = settle(work);
    if (settled < 0) return settled;
    if (work.phase != Phase.DURABLE) return Status.NO_SPACE;
  }
  const flushed = flushSync();
  if (flushed < 0) return flushed;
  // What was written of the checkpoint itself need not have come with a group.
  const synced = deviceSync();
  if (synced < 0) return synced;
  adopt(work);
  return Status.OK;
}

function keysWrite(work: CheckpointWork, blocks: u32): i32 {
  const isBounded = blocks != u32.MAX_VALUE;
  const end = isBounded ? work.blockCount + blocks : blocks;
  const entriesEnd = isBounded ? work.entryBytes + <u64>(blocks * STEP_PACKED) * BLOCK_PAYLOAD_SIZE : u64.MAX_VALUE;
  const first = work.lastKeySize ? treeSeek(lastKeyAt(), work.lastKeySize, SeekMode.GT) : treeFirst();
  let last: usize = 0;
  let status = Status.OK;
  for (let more = first != 0; more && status == Status.OK && work.blockCount < end && work.entryBytes < entriesEnd; ) {
    const count = treeCollectForward(WORKSPACE, GROUP, 0, 0);
    more = count == GROUP;
    let touched: u64 = 0;
    for (let i: u32 = 0; i < count; i++) touched ^= load<u64>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)), 24);
    root.touched = <u32>touched;
    for (let i: u32 = 0; i < count; i++) {
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      if (node.flags & NodeFlags.DELETED) continue;
      status = entryWrite(work, node, last ? changetype<KeyNode>(last).key : lastKeyAt());
      if (status < 0) break;
      last = changetype<usize>(node);
    }
    if (!more && status == Status.OK) work.phase = Phase.SEGMENTS;
  }
  if (!first) work.phase = Phase.SEGMENTS;
  if (status < 0) return status;
  if (last) {
    const key = changetype<KeyNode>(last);
    copyBytes(lastKeyAt(), key.key, pad8(key.keySize));
    store<u64>(lastKeyAt() + key.keySize, 0);
    work.lastKeySize = key.keySize;
  }
  return written();
}

function written(): i32 {
  const status = framesWrite();
  return status < 0 ? status : CheckpointResult.WORKED;
}

/** What is known of the segments that entries name, but for those that are replayed anyway. */
function tableWrite(work: CheckpointWork): i32 {
  if (!work.tableNext) blockEnd();
  const end = min(root.segmentCount, work.tableNext + SEGMENTS_PER_STEP);
  for (; work.tableNext < end; work.tableNext++) {
    const state = segmentAt(work.tableNext);
    if (!spaceCounts(state.space) || state.space == Space.COPYING) continue;
    if (state.generation > work.logGeneration) continue;
    if (state.kind == SegmentKind.COPIES && state.generation >= work.copiesGeneration) continue;
    const status = segmentEntryWrite(work, work.tableNext, state);
    if (status < 0) return status;
  }
  if (work.tableNext < root.segmentCount) return written();
  const summary = changetype<CheckpointSummary>(WORKSPACE);
  memory.fill(WORKSPACE, 0, offsetof<CheckpointSummary>());
  blockEnd();
  summary.magic = CHECKPOINT_MAGIC;
  summary.version = work.packedBlocks ? CHECKPOINT_VERSION_PACKED : CHECKPOINT_VERSION;
  summary.sequence = work.sequence;
  summary.positionGeneration = work.positionGeneration;
  summary.positionSegment = work.positionSegment;
  summary.positionBlock = work.positionBlock;
  summary.positionGroup = work.positionGroup;
  summary.logGeneration = work.logGeneration;
  summary.copiesGeneration = work.copiesGeneration;
  summary.entryCount = work.entryCount;
  summary.keyBytes = work.keyBytes;
  summary.valueBytes = work.valueBytes;
  summary.blocksCheck = work.blocksCheck;
  summary.blockCount = work.blockCount;
  summary.segmentCount = work.segmentEntries;
  summary.highestTimeMs = root.highestTimeMs;
  const status = summaryWrite(WORKSPACE, offsetof<CheckpointSummary>());
  if (status < 0) return status;
  work.phase = Phase.SETTLE;
  return CheckpointResult.WORKED;
}

/** Whether a record was copied in part. */
function isHalfCopied(): bool {
  return root.moveSegment != 0 && root.moveCarry != 0 && root.moveTarget != 0;
}

/** Goes on with a record that is half copied, to its end. */
function copyFinish(): i32 {
  for (let round: u32 = 0; isHalfCopied() && round < root.segmentBlocks; round++) {
    const moved = compactStep(CompactMode.NEED, StepWaits.NEVER, u32.MAX_VALUE);
    if (moved < 0) return moved;
  }
  return Status.OK;
}

/** Closes the copies that entries may name, and notes that they count. */
function settle(work: CheckpointWork): i32 {
  // It is gone on with by the next steps of compaction.
  if (isHalfCopied()) return CheckpointResult.WAITS;
  const waits = root.hostFlies && root.checkpointCredit < CREDIT_MAX;
  if (flightIsOpen()) {
    if (waits) return CheckpointResult.WAITS;
    const flown = flightWrite();
    if (flown < 0) return flown;
  }
  root.stepWaits = waits ? 1 : 0;
  const closed = sideClose();
  root.stepWaits = 0;
  if (closed == SIDE_WAITS) return CheckpointResult.WAITS;
  if (closed < 0) return closed;
  if (root.sideSegment || root.sideClosing) return CheckpointResult.WAITS;
  work.noteGroup = root.group;
  const noted = noteAppend();
  if (noted < 0) return noted;
  work.noteGroup = max(work.noteGroup, root.group);
  work.phase = Phase.DURABLE;
  return CheckpointResult.WORKED;
}

/** Names the checkpoint once the note's group, and with it all that was written before, is durable. */
function durable(work: CheckpointWork): i32 {
  if (root.durableGroup < work.noteGroup) return CheckpointResult.WAITS;
  const fenced = fenceCheck();
  if (fenced == Status.DEVICE_READ) return CheckpointResult.WAITS;
  if (fenced < 0) return fenced;
  if (root.hostFlies && roomIsAmple()) {
    if (root.checkpointPending || root.replacedGeneration) return CheckpointResult.WAITS;
    adopt(work);
    root.checkpointUnnamed = 1;
    root.attention |= Attention.SUPERBLOCK_DUE;
    dueSet();
    return CheckpointResult.WAITS;
  }
  adopt(work);
  const committed = superblockCommit();
  // Where it could not be written yet, the next superblock says it.
  if (committed < 0 && committed != Status.NO_SPACE && committed != Status.DEVICE_READ) return committed;
  dueSet();
  return CheckpointResult.DONE;
}

/** The checkpoint is whole: it is the newer one from the next superblock on. */
function adopt(work: CheckpointWork): void {
  const newer = rootAt(0);
  const older = rootAt(1);
  root.replacedSegment = older.segment;
  root.replacedGeneration = older.kind ? older.generation : 0;
  root.checkpointPending = 2;
  // A superblock in flight names the former ones.
  root.superblockCounts = 0;
  memory.copy(changetype<usize>(older), changetype<usize>(newer), ROOT_SIZE);
  newer.kind = <u16>SegmentKind.CHECKPOINT;
  newer.block = <u16>work.summaryBlock;
  newer.segment = work.segment - 1;
  newer.generation = segmentAt(work.segment - 1).generation;
  newer.sequence = work.sequence;
  newer.check = work.summaryCheck;
  // The superblock that names it first is the first one that must say so.
  if (work.packedBlocks) root.featuresNext |= Incompatible.LZ4;
  root.checkpointBlocks = work.blockCount + work.segments + 1;
  root.checkpointKeys = work.entryCount;
  root.checkpointBase = <i64>work.base;
  root.checkpointsMade++;
  workGive();
  floorSet();
}

/**
 * Lets both generations of the superblock name what is kept, `now` or by the host, and frees what neither does. 1 when it
 * freed something.
 */
function replacedFree(now: bool): i32 {
  // What is written now does not count while a superblock is in flight.
  while (now && root.checkpointPending && root.superblockStep < SuperblockStep.FIRST) {
    const fenced = fenceCheck();
    if (fenced < 0) return fenced;
    const committed = superblockCommit();
    if (committed < 0) return committed;
  }
  if (root.checkpointPending) {
    root.attention |= Attention.SUPERBLOCK_DUE;
    return 0;
  }
  if (!root.replacedGeneration || root.checkpointFlying) return 0;
  segmentsGiveUp(root.replacedSegment, root.replacedGeneration);
  root.replacedGeneration = 0;
  // Deletions that were needed for it may be garbage now.
  root.surveyDue = 1;
  return 1;
}

/**
 * A status of the work as a result: what only lacks room, or could not look who has the store, gives it up. It cannot be gone
 * on with: what the step had written before would be written again.
 */
function outcome(status: i32): i32 {
  if (status != Status.NO_SPACE && status != Status.OUT_OF_MEMORY && status != Status.DEVICE_READ) return status;
  checkpointGiveUp();
  return CheckpointResult.GIVEN_UP;
}
