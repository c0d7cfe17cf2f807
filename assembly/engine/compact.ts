/**
 * Compaction: what is live in a segment with much garbage is copied, so that the segment can be used anew.
 *
 * It runs in steps between operations, each of which looks at no more than 16 blocks of one segment and ends when its time
 * is over. A record is looked up by its key: it is live when a node, or an extent table, says that it lies here. It keeps
 * its sequence, so for recovery copy and original are the same. A version that only a snapshot needs stays where it is
 * and keeps its segment; deletions that are still needed are copied as well.
 *
 * A step that waits never blocks on the device: it stops where a window of the source has not landed (engine/source.ts), or
 * where copies find no frame before those in flight are written (log/side.ts), and goes on from there.
 *
 * Invariants: (1) only segments whose last group is durable are read; (2) a segment that is being moved is not emptied
 * before its last block was looked at; (3) a record's copy is complete before its node says so.
 */

import { copyBytes, pad8 } from "../bytes/compare";
import { monotonicClockNow } from "../device/imports";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, blockValid } from "../format/block";
import { noteSizeFor } from "../format/note";
import { Record, RecordFlags, RecordKind, recordExtentAt, recordKeyOffset, recordPartSize } from "../format/record";
import { extentAddress, extentCount, extentSet, extentSize } from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags, placeOf } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, KEY_SIZE_MAX } from "../limits";
import { noteAppend, segmentAbandonRest, segmentRoom } from "../log/append";
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
import { SIDE_WAITS, sideAdmit, sideAlign, sideBytes, sideClose, sidePlace, sideReady } from "../log/side";
import { notedAwaitsMark, Space, spaceSurvey, tombstoneDrop, tombstonesNeeded } from "../log/space";
import { Attention, KEY_C, root } from "../root";
import { Status } from "../status";
import { laterApply } from "./later";
import { lastClose, lastIsOpen, lastMovable } from "./lower";
import { CompactMode, fullIsDue, paceSet, Stuck, victimFind } from "./pace";
import { sourceBlock, sourceOpen, WINDOW_BLOCKS } from "./source";

/** Bytes that compaction may be behind by itself before its steps read and write, where they may. */
const BEHIND_MAX: i64 = 2 << 20;
/** A note by itself may take this part of a segment. */
const NOTE_SHARE: u32 = 64;

/** Whether a step leaves what the device does to the host. */
export namespace StepWaits {
  export const NEVER: u32 = 0;
  /** As long as compaction by itself is not far behind: where the event loop does not turn, nothing lands. */
  export const UNLESS_BEHIND: u32 = 1;
  export const ALWAYS: u32 = 2;
}

/** What a step did. */
export namespace CompactResult {
  /** There is nothing to do. */
  export const IDLE: i32 = 0;
  /** It read and copied. */
  export const MOVED: i32 = 1;
  /** Segments are emptied, or copies wait to count: a note and two groups make the sources free. */
  export const SETTLE: i32 = 2;
  /** It goes on when what was planned (`sourcePlan`, `sideBegin`) has landed. */
  export const WAITS: i32 = 3;
}

/**
 * Begins a full compaction: the open segments are closed, and lives that begin from now on are left alone. 1 when it did,
 * 0 when nothing is to be gained. What is being moved was moved to its end. WAITS, NO_SPACE, DEVICE_WRITE.
 */
export function compactBegin(): i32 {
  if (root.blocked) return root.blocked;
  laterApply();
  root.takesLowest = root.growable;
  spaceSurvey();
  if (!fullIsDue() && !sourcesWait(CompactMode.FULL)) return 0;
  root.stepWaits = 1;
  const closed = sideClose();
  root.stepWaits = 0;
  if (closed != Status.OK) return closed == SIDE_WAITS ? CompactResult.WAITS : closed;
  root.compactBefore = ((<u64>root.epoch) << 32) | root.generationCounter;
  const noted = noteAppend();
  if (noted < 0) return noted;
  segmentAbandonRest();
  return 1;
}

/**
 * One step of compaction, of at most 16 blocks and about `microseconds`: a CompactResult, or a status. `waits` is a StepWaits:
 * a step that waits leaves reads and writes to the host. CORRUPT and DEVICE_READ leave the segment
 * alone from then on; NO_SPACE leaves what was begun to be gone on with; DEVICE_WRITE must poison.
 */
export function compactStep(mode: u32, waits: u32, microseconds: u32): i32 {
  if (root.blocked || root.batchOpen || root.streamActive) return CompactResult.IDLE;
  root.stepEnd = monotonicClockNow() + <u64>microseconds * 1000;
  root.stepWaits = waits;
  if (root.compactCredit >= BEHIND_MAX) {
    if (waits == StepWaits.UNLESS_BEHIND) root.stepWaits = 0;
    root.compactCredit = min(root.compactCredit, BEHIND_MAX * 2);
  }
  const result = step(mode);
  root.stepWaits = 0;
  return result;
}

function step(mode: u32): i32 {
  laterApply();
  if (root.surveyDue) {
    spaceSurvey();
    if (mode == CompactMode.AUTO && root.emptiedCount) noteEarly();
  }
  if (root.paceDue) paceSet();
  if (mode == CompactMode.AUTO && (!root.compactActive || root.compactCredit <= 0)) return CompactResult.IDLE;
  const asked = mode == CompactMode.ASKED || mode == CompactMode.FULL || mode == CompactMode.LOWER;
  if (!root.moveSegment) {
    // What is emptied becomes free before more is copied, where room is short.
    const short = asked && root.segmentFreeCount <= segmentsKept(For.MOVING) + 2;
    if (short && (root.emptiedCount || root.notedCount)) return CompactResult.SETTLE;
    if (!moveBegin(mode)) return idle(mode);
  } else if (mode == CompactMode.NEED) {
    // What was begun goes first; but how much of the reserve its copies may use is to be seen anew.
    victimFind(mode);
  }
  const moved = moveStep();
  if (moved == Status.NO_SPACE && asked && settleGain(mode)) return CompactResult.SETTLE;
  if (moved < 0) return moved;
  if (mode == CompactMode.AUTO && root.compactCredit > 0) {
    root.attention |= Attention.COMPACTION_DUE;
    // The next source is read while the event loop turns.
    if (!root.moveSegment) moveBegin(mode);
  }
  return moved == WAITS ? CompactResult.WAITS : CompactResult.MOVED;
}

/** Begins to move the segment that is worth most: whether there is one. */
function moveBegin(mode: u32): bool {
  const victim = mode == CompactMode.LOWER ? lastMovable() : victimFind(mode);
  if (!victim) return false;
  root.moveSegment = victim;
  root.moveBlock = segmentAt(victim - 1).headerBlocks;
  root.moveOffset = 0;
  root.moveCarry = 0;
  return true;
}

/** Notes at once what is emptied, where the open segment has room for that, so that it is free one segment sooner. */
function noteEarly(): void {
  const size = noteSizeFor(root.segmentCount);
  const capacity = (root.segmentBlocks - 1) * BLOCK_PAYLOAD_SIZE;
  if (size * NOTE_SHARE <= capacity && segmentRoom() > size + 3 * BLOCK_PAYLOAD_SIZE) noteAppend();
}

/** What is left to do when no segment is worth moving. */
function idle(mode: u32): i32 {
  if (mode == CompactMode.AUTO) {
    root.compactActive = 0;
    root.compactCredit = 0;
    return CompactResult.IDLE;
  }
  const due = settleGain(mode) || (mode == CompactMode.LOWER && lastIsOpen());
  return due ? CompactResult.SETTLE : CompactResult.IDLE;
}

/** Whether a note, now, would make segments free, and more of them than it costs. */
export function settleGain(mode: u32): bool {
  // Who needs room now cannot wait for the host's reports.
  const noted = mode == CompactMode.NEED ? notedAwaitsMark() : root.notedCount != 0;
  return root.emptiedCount != 0 || noted || sourcesWait(mode);
}

/** Whether enough sources wait for the open segment of copies to close it early. */
function sourcesWait(mode: u32): bool {
  let waiting: u32 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space == Space.LIVE && !state.liveBytes && state.movedTo > root.sideClosed) waiting++;
  }
  return waiting > (mode == CompactMode.FULL || mode == CompactMode.LOWER ? 0 : 1);
}

/**
 * Closes the copies if sources wait for them, and notes what is emptied. WAITS: to be called again when what is in flight
 * (`sideBegin`) has landed. NO_SPACE, DEVICE_WRITE.
 */
export function compactSettle(mode: u32): i32 {
  if (root.blocked) return root.blocked;
  laterApply();
  spaceSurvey();
  if (!root.emptiedCount && !root.notedCount && sourcesWait(mode)) {
    root.stepWaits = 1;
    const closed = sideClose();
    root.stepWaits = 0;
    if (closed != Status.OK) return closed == SIDE_WAITS ? CompactResult.WAITS : closed;
    spaceSurvey();
  }
  if (mode == CompactMode.LOWER && !root.emptiedCount && !(root.moveSegment && root.moveCarry && root.moveTarget)) {
    root.stepWaits = 1;
    const closed = lastClose();
    root.stepWaits = 0;
    if (closed != Status.OK) return closed == SIDE_WAITS ? CompactResult.WAITS : closed;
  }
  return root.emptiedCount ? noteAppend() : Status.OK;
}

/** Beside statuses: a step stopped to wait for the device. */
const WAITS: i32 = 1;

if (WAITS != SIDE_WAITS) ERROR("what waits is passed on");

/** Moves what is live in the next blocks of the present source: OK, WAITS or a status. */
function moveStep(): i32 {
  const index = root.moveSegment - 1;
  const state = segmentAt(index);
  const base = segmentOffset(index);
  const opened = sourceOpen(root.moveSegment, state, root.moveBlock);
  if (opened == Status.OUT_OF_MEMORY || opened == WAITS) return opened;
  if (opened < 0) return moveGiveUp(state, opened);
  const end = (root.moveBlock | (WINDOW_BLOCKS - 1)) + 1;
  while (root.moveBlock < end) {
    const offset = base + ((<u64>root.moveBlock) << BLOCK_SIZE_LOG2);
    const found = sourceBlock(offset, root.moveBlock);
    if (found < 0) return moveGiveUp(state, found);
    const frame = <usize>root.moveFrame;
    const header = changetype<BlockHeader>(frame);
    if (!root.moveInMemory && !isSound(frame, state.generation, offset)) {
      root.faultOffset = offset;
      return moveGiveUp(state, Status.CORRUPT);
    }
    const last = (header.flags & BlockFlags.SEGMENT_END) != 0 || root.moveBlock + 1 == root.segmentBlocks;
    if (!(header.flags & BlockFlags.SEGMENT_HEADER)) {
      const moved = moveBlock(frame, offset);
      if (moved == Status.CORRUPT) return moveGiveUp(state, moved);
      if (moved != Status.OK) return moved;
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
    if (monotonicClockNow() >= root.stepEnd) break;
  }
  return Status.OK;
}

function isSound(frame: usize, generation: u64, offset: u64): bool {
  return changetype<BlockHeader>(frame).generation == generation && blockValid(frame, offset >> BLOCK_SIZE_LOG2);
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
      if (ready != Status.OK) return ready;
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
    const partSize = recordPartSize(record);
    const here = min(partSize, used - at - head);
    const total = pad8(head + partSize);
    root.moveTarget = 0;
    const address = offset + BLOCK_HEADER_SIZE + at;
    if (kind != RecordKind.VOID && kind != RecordKind.NOTE) {
      copyBytes(KEY_C, record + recordKeyOffset(flags), keySize);
      store<u64>(KEY_C + keySize, 0);
      root.moveKind = kind;
      root.moveKeySize = keySize;
      root.movePart =
        flags & RecordFlags.EXTENTS ? (kind == RecordKind.SET ? 0 : load<u32>(recordExtentAt(record), 4)) : 0;
      root.moveSequence = changetype<Record>(record).sequence;
      root.moveSource = address;
      if (moveWanted()) {
        const admitted = sideAdmit(head, total);
        if (admitted != Status.OK) return admitted;
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
    root.tombstonesMoved++;
    if (tombstonesNeeded(root.moveSegment - 1, root.moveSequence)) return true;
    tombstoneDrop(root.moveSequence);
    return false;
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
