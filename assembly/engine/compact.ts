/**
 * Compaction: what is live in a segment with much garbage is copied, so that the segment can be used anew.
 *
 * It runs in steps between operations, each of which reads at most 16 blocks of one segment. A record is looked up by its
 * key: it is live when a node, or an extent table, says that it lies here. It keeps its sequence, so for recovery copy and
 * original are the same. A version that only a snapshot needs stays where it is and keeps its segment; deletions
 * that are still needed are copied as well.
 *
 * Invariants: (1) only segments whose last group is durable are read; (2) a segment that is being moved is not emptied
 * before its last block was looked at; (3) a record's copy is complete before its node says so.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { deviceRead } from "../device/device";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, blockValid } from "../format/block";
import { Record, RecordFlags, RecordKind, recordKeyOffset } from "../format/record";
import { extentAddress, extentCount, extentSet, extentSize } from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags, placeOf } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, KEY_SIZE_MAX } from "../limits";
import { frameAtAddress, noteAppend, segmentAbandonRest } from "../log/append";
import {
  For,
  liveAdd,
  liveSubtract,
  SegmentState,
  segmentAt,
  segmentOffset,
  segmentsKept,
  tombstoneAdd,
} from "../log/segments";
import { sideAdmit, sideAlign, sideBytes, sideClose, sidePlace, sideReady } from "../log/side";
import { Space, spaceSurvey, tombstonesNeeded } from "../log/space";
import { chunkTake } from "../memory/chunks";
import { Attention, KEY_C, root } from "../root";
import { Status } from "../status";
import { laterApply } from "./later";

/** Blocks that one step reads. */
const STEP_BLOCKS: u32 = 16;
/** The least share of a segment that moving it must give, where room is short: one part in so many. */
const LEAST_GAIN_SHARE: u32 = 16;
/** Where deletions fill more than one part in so many of the closed segments, the oldest one is moved. */
const TOMBSTONE_SHARE: u64 = 4;

/** Why compaction runs: what it may do, and which segments are worth it. */
export namespace CompactMode {
  /** By itself, in proportion to what is written; free segments come with the notes that the log writes anyway. */
  export const AUTO: u32 = 0;
  /** Because somebody asks for it: segments above the ratio of garbage. */
  export const ASKED: u32 = 1;
  /** Everything that gives back at least a block. */
  export const FULL: u32 = 2;
  /** Because a write finds no room: the best segment that gives enough. */
  export const NEED: u32 = 3;
}

/** What a step did. */
export namespace CompactResult {
  /** There is nothing to do. */
  export const IDLE: i32 = 0;
  /** It read and copied. */
  export const MOVED: i32 = 1;
  /** Segments are emptied, or copies wait to count: a note and two groups make the sources free. */
  export const SETTLE: i32 = 2;
}

/** Sets whether compaction runs by itself, and above which share of garbage, in thousandths. */
export function compactConfigure(auto: bool, thousandths: u32): void {
  root.compactAuto = auto ? 1 : 0;
  root.compactThousandths = thousandths;
}

/**
 * Begins a full compaction: the open segments are closed, and lives that begin from now on are left alone. NO_SPACE,
 * DEVICE_WRITE.
 */
export function compactBegin(): i32 {
  if (root.blocked) return root.blocked;
  laterApply();
  while (root.moveSegment) {
    const moved = moveStep();
    if (moved < 0) return moved;
  }
  const closed = sideClose();
  if (closed < 0) return closed;
  root.compactBefore = ((<u64>root.epoch) << 32) | root.generationCounter;
  const noted = noteAppend();
  if (noted < 0) return noted;
  segmentAbandonRest();
  return Status.OK;
}

/**
 * One step of compaction, of at most 16 blocks: a CompactResult, or a status. CORRUPT and DEVICE_READ leave the segment
 * alone from then on; NO_SPACE leaves what was begun to be gone on with; DEVICE_WRITE must poison.
 */
export function compactStep(mode: u32): i32 {
  if (root.blocked || root.batchOpen || root.streamActive) return CompactResult.IDLE;
  laterApply();
  if (root.surveyDue) spaceSurvey();
  if (root.paceDue) paceSet();
  if (mode == CompactMode.AUTO && (!root.compactActive || root.compactCredit <= 0)) return CompactResult.IDLE;
  const asked = mode == CompactMode.ASKED || mode == CompactMode.FULL;
  if (!root.moveSegment) {
    // What is emptied becomes free before more is copied, where room is short.
    const short = asked && root.segmentFreeCount <= segmentsKept(For.MOVING) + 2;
    if (short && (root.emptiedCount || root.notedCount)) return CompactResult.SETTLE;
    const victim = victimFind(mode);
    if (!victim) return idle(mode);
    root.moveSegment = victim;
    root.moveBlock = segmentAt(victim - 1).headerBlocks;
    root.moveOffset = 0;
    root.moveCarry = 0;
  }
  const moved = moveStep();
  if (moved == Status.NO_SPACE && asked && settleGain(mode)) return CompactResult.SETTLE;
  if (moved < 0) return moved;
  if (mode == CompactMode.AUTO && root.compactCredit > 0) root.attention |= Attention.COMPACTION_DUE;
  return CompactResult.MOVED;
}

/** What is left to do when no segment is worth moving. */
function idle(mode: u32): i32 {
  if (mode == CompactMode.AUTO) {
    root.compactActive = 0;
    root.compactCredit = 0;
    return CompactResult.IDLE;
  }
  return settleGain(mode) ? CompactResult.SETTLE : CompactResult.IDLE;
}

/** Whether a note, now, would make segments free, and more of them than it costs. */
export function settleGain(mode: u32): bool {
  return root.emptiedCount != 0 || root.notedCount != 0 || sourcesWait(mode);
}

/** Whether enough sources wait for the open segment of copies to close it early. */
function sourcesWait(mode: u32): bool {
  let waiting: u32 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space == Space.LIVE && !state.liveBytes && state.movedTo > root.sideClosed) waiting++;
  }
  return waiting > (mode == CompactMode.FULL ? 0 : 1);
}

/** Closes the copies if sources wait for them, and notes what is emptied. NO_SPACE, DEVICE_WRITE. */
export function compactSettle(mode: u32): i32 {
  if (root.blocked) return root.blocked;
  laterApply();
  spaceSurvey();
  const copying = root.moveSegment && root.moveCarry && root.moveTarget;
  if (!root.emptiedCount && !root.notedCount && !copying && sourcesWait(mode)) {
    const closed = sideClose();
    if (closed < 0) return closed;
    spaceSurvey();
  }
  return root.emptiedCount ? noteAppend() : Status.OK;
}

/** After a survey: whether compaction runs by itself, and how many bytes it reads for each byte that is written. */
function paceSet(): void {
  root.paceDue = 0;
  root.compactActive = 0;
  if (!root.compactAuto || root.surveyCount < 3) return;
  const capacity = <f64>root.surveyCount * <f64>capacityOf();
  const garbage = 1.0 - (<f64>root.surveyLive + <f64>root.surveyTombstones) / capacity;
  const oldest = root.surveyTombstonesHeld * TOMBSTONE_SHARE > <u64>capacity;
  if (garbage * 1000.0 < <f64>root.compactThousandths && !oldest) return;
  root.compactActive = 1;
  // To give back a segment, as many are read as its garbage is a part of one; a little more, so as to get ahead.
  root.compactFactor = max<u32>(2, min<u32>(16, <u32>(1.5 / max(garbage, 0.05))));
}

/** Payload bytes of a segment. */
function capacityOf(): u32 {
  return (root.segmentBlocks - 1) * BLOCK_PAYLOAD_SIZE;
}

/** The segment that gives most, index plus 1, or 0 when none gives enough. */
function victimFind(mode: u32): u32 {
  const capacity = capacityOf();
  let least: u32 = capacity / LEAST_GAIN_SHARE;
  if (mode == CompactMode.FULL) least = BLOCK_PAYLOAD_SIZE;
  else if (mode != CompactMode.NEED) least = max<u32>(least, <u32>((<u64>capacity * root.compactThousandths) / 2000));
  let best: u32 = 0;
  let bestGain: u32 = least - 1;
  let gains: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!movable(state)) continue;
    if (mode == CompactMode.FULL && state.generation > root.compactBefore) continue;
    let kept = <u32>state.liveBytes;
    if (tombstonesNeeded(i, state.newestTombstone)) kept += state.tombstoneBytes;
    // A segment whose records were all moved waits for their copies.
    if (!kept && state.movedTo) continue;
    const gain = capacity > kept ? capacity - kept : 0;
    if (gain >= least) gains += gain;
    if (gain <= bestGain) continue;
    best = i + 1;
    bestGain = gain;
  }
  // Copies may use more of what is kept when they are sure to give back more than they take.
  root.rescuing = root.deleting || gains >= <u64>capacity * 2 ? 1 : 0;
  if (best || mode == CompactMode.NEED || !root.bornOldestSegment) return best;
  // Deletions are kept for the sake of the oldest segment: moving it makes them garbage.
  const used = <u64>root.surveyCount * capacity;
  if (mode != CompactMode.FULL && root.surveyTombstonesHeld * TOMBSTONE_SHARE <= used) return 0;
  const oldest = segmentAt(root.bornOldestSegment - 1);
  if (!movable(oldest) || !root.surveyTombstonesHeld) return 0;
  if (mode == CompactMode.FULL && oldest.generation > root.compactBefore) return 0;
  if (!oldest.liveBytes && oldest.movedTo) return 0;
  return root.bornOldestSegment;
}

function movable(state: SegmentState): bool {
  if (state.space != Space.LIVE || state.closedGroup > root.durableGroup) return false;
  return !state.stuck || (state.stuck == Stuck.PINNED && !root.versionCount);
}

/** Why compaction passes a segment by. */
namespace Stuck {
  export const PINNED: u32 = 1;
  export const UNREADABLE: u32 = 2;
}

/** Moves what is live in the next blocks of the present source. */
function moveStep(): i32 {
  if (!root.moveFrames) {
    const frames = chunkTake();
    if (!frames) return Status.OUT_OF_MEMORY;
    root.moveFrames = <u32>frames;
  }
  const index = root.moveSegment - 1;
  const state = segmentAt(index);
  const base = segmentOffset(index);
  const count = min(STEP_BLOCKS, root.segmentBlocks - root.moveBlock);
  const from = base + ((<u64>root.moveBlock) << BLOCK_SIZE_LOG2);
  const resident = frameAtAddress(from) && frameAtAddress(from + ((<u64>(count - 1)) << BLOCK_SIZE_LOG2));
  if (!resident) {
    const read = deviceRead(from, root.moveFrames, count << (<u32>BLOCK_SIZE_LOG2));
    if (read < 0) return moveGiveUp(state, read);
  }
  for (let i: u32 = 0; i < count; i++) {
    const offset = base + ((<u64>root.moveBlock) << BLOCK_SIZE_LOG2);
    // What this mount wrote may be in memory alone, or in flight.
    const inMemory = frameAtAddress(offset);
    const frame = inMemory ? inMemory : <usize>root.moveFrames + ((<usize>i) << BLOCK_SIZE_LOG2);
    if (!inMemory && resident) {
      const read = deviceRead(offset, frame, <u32>BLOCK_SIZE);
      if (read < 0) return moveGiveUp(state, read);
    }
    const header = changetype<BlockHeader>(frame);
    if (!inMemory && (header.generation != state.generation || !blockValid(frame, offset >> BLOCK_SIZE_LOG2))) {
      root.faultOffset = offset;
      return moveGiveUp(state, Status.CORRUPT);
    }
    const last = (header.flags & BlockFlags.SEGMENT_END) != 0 || root.moveBlock + 1 == root.segmentBlocks;
    if (!(header.flags & BlockFlags.SEGMENT_HEADER)) {
      const moved = moveBlock(frame, offset);
      if (moved == Status.CORRUPT) return moveGiveUp(state, moved);
      if (moved < 0) return moved;
    }
    root.bytesScanned += BLOCK_SIZE;
    root.compactCredit -= <i64>BLOCK_SIZE;
    root.moveBlock++;
    root.moveOffset = 0;
    if (last) {
      if (root.moveCarry) return moveGiveUp(state, Status.CORRUPT);
      moveEnd(state);
      break;
    }
  }
  return Status.OK;
}

function moveEnd(state: SegmentState): void {
  root.moveSegment = 0;
  state.movedTo = root.sideOpened;
  // The deletions that are still needed lie among the copies now.
  state.tombstoneBytes = 0;
  state.newestTombstone = 0;
  if (state.liveBytes) state.stuck = root.versionCount ? Stuck.PINNED : Stuck.UNREADABLE;
  root.surveyDue = 1;
}

/**
 * Leaves a source alone that cannot be read. A copy that is half done is not given up, for what was written of it cannot
 * be taken back: the same block is tried again with the next step.
 */
function moveGiveUp(state: SegmentState, status: i32): i32 {
  root.compactActive = 0;
  if (root.moveTarget && root.moveCarry) return status;
  state.stuck = Stuck.UNREADABLE;
  state.movedTo = root.sideOpened;
  root.moveCarry = 0;
  root.moveSegment = 0;
  return status;
}

/** Moves the records of one block, from `moveOffset` on. */
function moveBlock(frame: usize, offset: u64): i32 {
  const used = <u32>changetype<BlockHeader>(frame).used;
  let at = root.moveOffset;
  if (root.moveCarry) {
    const piece = min(root.moveCarry, BLOCK_PAYLOAD_SIZE);
    if (piece > used) return Status.CORRUPT;
    if (root.moveTarget) {
      const ready = sideReady();
      if (ready < 0) return ready;
      sideBytes(frame + BLOCK_HEADER_SIZE, piece);
    }
    root.moveCarry -= piece;
    if (root.moveCarry) return Status.OK;
    if (root.moveTarget) moveApply();
    at = pad8(piece);
    root.moveOffset = at;
  }
  while (at < used) {
    const record = frame + BLOCK_HEADER_SIZE + at;
    const flags = <u32>changetype<Record>(record).flags;
    const kind = <u32>changetype<Record>(record).kind;
    const keySize = <u32>changetype<Record>(record).keySize;
    const head = recordKeyOffset(flags) + keySize;
    if (head > used - at || keySize > KEY_SIZE_MAX) return Status.CORRUPT;
    const partSize = flags & RecordFlags.EXTENTS ? load<u32>(record, 16) : changetype<Record>(record).valueSize;
    const here = min(partSize, used - at - head);
    const total = pad8(head + partSize);
    root.moveTarget = 0;
    const address = offset + BLOCK_HEADER_SIZE + at;
    if (kind != RecordKind.VOID && kind != RecordKind.NOTE) {
      copyBytes(KEY_C, record + recordKeyOffset(flags), keySize);
      store<u64>(KEY_C + keySize, 0);
      root.moveKind = kind;
      root.moveKeySize = keySize;
      root.movePart = flags & RecordFlags.EXTENTS ? (kind == RecordKind.SET ? 0 : load<u32>(record, 20)) : 0;
      root.moveSequence = changetype<Record>(record).sequence;
      root.moveSource = address;
      if (moveWanted()) {
        const admitted = sideAdmit(head, total);
        if (admitted < 0) return admitted;
        root.moveTarget = sidePlace(head, total);
        sideBytes(record, head + here);
        root.moveTotal = total;
        root.bytesMoved += total;
      }
    }
    root.moveCarry = partSize - here;
    if (root.moveCarry) return Status.OK;
    if (root.moveTarget) moveApply();
    at += pad8(head + here);
    root.moveOffset = at;
  }
  return Status.OK;
}

/** Whether the record that is looked at must be copied. */
function moveWanted(): bool {
  const slot = hashFind(KEY_C, root.moveKeySize, keyHash(KEY_C, root.moveKeySize, root.hashSeed));
  const node = changetype<KeyNode>(slot ? <usize>load<u32>(slot) : 0);
  if (root.moveKind == RecordKind.DELETE) {
    // A newer state of the key makes a deletion superfluous, and so does the end of all that was written before it.
    if (slot && !(node.flags & NodeFlags.DELETED) && node.sequence >= root.moveSequence) return false;
    return tombstonesNeeded(root.moveSegment - 1, root.moveSequence);
  }
  return slot != 0 && reaches(node, node.body);
}

/** Whether a node's present state lies where the record that is looked at lies. */
function reaches(node: KeyNode, body: usize): bool {
  if (node.flags & NodeFlags.DELETED || node.sequence != root.moveSequence) return false;
  if (!(node.flags & NodeFlags.EXTENTS)) return root.moveKind == RecordKind.SET && node.address == root.moveSource;
  const table = <usize>load<u32>(body);
  return root.movePart < extentCount(table) && extentAddress(table, root.movePart) == root.moveSource;
}

/** The copy is complete: lets the node point to it, if it still is the key's state. */
function moveApply(): void {
  sideAlign();
  const target = root.moveTarget;
  root.moveTarget = 0;
  const keySize = root.moveKeySize;
  const recordSize = root.moveTotal;
  if (root.moveKind == RecordKind.DELETE) {
    tombstoneAdd(target, recordSize, root.moveSequence);
    return;
  }
  const slot = hashFind(KEY_C, keySize, keyHash(KEY_C, keySize, root.hashSeed));
  if (!slot) return;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (!reaches(node, node.body)) return;
  liveSubtract(root.moveSource, recordSize);
  liveAdd(target, recordSize);
  if (node.flags & NodeFlags.EXTENTS) {
    const table = <usize>load<u32>(node.body);
    extentSet(table, root.movePart, target, extentSize(table, root.movePart));
  }
  if (root.moveKind == RecordKind.SET) {
    // A verification that has seen the original has not seen the copy.
    node.place = placeOf(target, node.sizeClass, node.flags & ~NodeFlags.PROVEN);
  }
}
