/**
 * Which segments hold what, and when one may be used anew.
 *
 * ```
 * FREE ─ taken ─> OPEN or COPYING ─ closed ─> LIVE ─ survey ─> EMPTIED ─ note ─> NOTED ─ mark ─> FREE
 * ```
 *
 * A segment that is to be FREE while backups still read it is HELD until the last of them is done: nothing counts it, and
 * nothing is written to it.
 *
 * A checkpoint's segments are CHECKPOINT from when they are taken until no superblock names it: notes do not count them.
 *
 * A segment is EMPTIED when no record of it is live, no deletion in it is needed, and the copies that were made of its
 * records lie in closed segments. The next note no longer counts it: NOTED. It is FREE when a durable group says that the
 * note's group was durable: from then on recovery reads that note or a newer one, whatever a crash does.
 *
 * Invariants: (1) a segment is written to only when the newest note that is proven does not count it; (2) the blocks of a
 * group in flight that was not reported yet keep their segments; (3) a survey runs only between operations, when
 * every record in the log is applied to its node; (4) a deletion is dropped only when no segment that may still be read
 * was born before it, so none can hold an older record of its key, when each kept checkpoint is of a later state, and when it
 * is no part of the past that can be counted on; (5) what was dropped is told by the note that no longer counts it.
 */
import { NOTE_HEADER_SIZE, Note, noteSizeFor } from "../format/note";
import { SegmentKind } from "../format/segment";
import { Attention, root } from "../root";
import { historyHolds, historyTrim } from "./history";
import { SegmentState, segmentAt, segmentFree } from "./segments";

export namespace Space {
  export const FREE: u32 = 0;
  /** The log's tail fills it. */
  export const OPEN: u32 = 1;
  /** Compaction fills it: it does not count yet, and what is copied there counts where it came from. */
  export const COPYING: u32 = 2;
  export const LIVE: u32 = 3;
  export const EMPTIED: u32 = 4;
  export const NOTED: u32 = 5;
  export const CHECKPOINT: u32 = 6;
  export const HELD: u32 = 7;
}

/** Whether a segment in such a state holds records that count, or did until a note says otherwise. */
export function spaceCounts(space: u32): bool {
  return space != Space.FREE && space != Space.CHECKPOINT && space != Space.HELD;
}

const FOREVER: u64 = u64.MAX_VALUE;

/** Lets notes count a segment from now on. */
export function noteCounts(index: u32): void {
  const at = <usize>root.note + NOTE_HEADER_SIZE + (index >>> 3);
  const bit = <u8>((<u32>1) << (index & 7));
  if (load<u8>(at) & bit) return;
  store<u8>(at, load<u8>(at) | bit);
  changetype<Note>(<usize>root.note).generationSum += segmentAt(index).generation;
}

/** Lets notes count a segment no longer. */
export function noteForgets(index: u32): void {
  const at = <usize>root.note + NOTE_HEADER_SIZE + (index >>> 3);
  const bit = <u8>((<u32>1) << (index & 7));
  if (!(load<u8>(at) & bit)) return;
  store<u8>(at, load<u8>(at) & ~bit);
  changetype<Note>(<usize>root.note).generationSum -= segmentAt(index).generation;
}

/** Whether the note in memory counts a segment. */
export function noteHas(index: u32): bool {
  return (load<u8>(<usize>root.note + NOTE_HEADER_SIZE + (index >>> 3)) & <u8>((<u32>1) << (index & 7))) != 0;
}

/**
 * Makes the note in memory the one to write into the group that is being filled, and gives its size. What was emptied is
 * NOTED then. The generation sum covers the lives that the map counts.
 */
export function noteMake(): u32 {
  if (root.emptiedCount) {
    for (let i: u32 = 0; i < root.segmentCount; i++) {
      const state = segmentAt(i);
      if (state.space != Space.EMPTIED) continue;
      noteForgets(i);
      state.space = Space.NOTED;
      state.noteGroup = root.group;
      root.notedCount++;
    }
    root.emptiedCount = 0;
  }
  const note = changetype<Note>(<usize>root.note);
  root.noteSerial++;
  note.serial = ((<u64>root.epoch) << 32) | root.noteSerial;
  note.segmentCount = root.segmentCount;
  note.reserved = 0;
  note.droppedTombstones = root.droppedTombstones;
  return noteSizeFor(root.segmentCount);
}

/** Takes back what the notes of a group said that never ends. */
export function noteTakeBack(group: u64): void {
  if (!root.notedCount) return;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space != Space.NOTED || state.noteGroup != group) continue;
    state.space = Space.EMPTIED;
    noteCounts(i);
    root.notedCount--;
    root.emptiedCount++;
  }
}

/** Whether a mark would make segments free: not when all that is noted only waits for the report on a group in flight. */
export function notedAwaitsMark(): bool {
  if (!root.notedCount) return false;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space == Space.NOTED && state.noteGroup > root.provenMark) return true;
  }
  return false;
}

/** Frees what proven notes no longer count. */
export function spaceSettle(): void {
  if (!root.notedCount) return;
  if (root.compactAuto) root.attention |= Attention.COMPACTION_DUE;
  const flying = root.flightFrom != root.flightTo || root.sideFlightFrom != root.sideFlightTo;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.space != Space.NOTED || state.noteGroup > root.provenMark) continue;
    if (flying && inFlight(state)) continue;
    segmentFree(i);
    root.notedCount--;
    root.segmentsFreed++;
  }
}

/** Whether the host may still be writing blocks of a segment. */
function inFlight(state: SegmentState): bool {
  if (!state.firstBlock) return false;
  const end = state.firstBlock + root.segmentBlocks;
  if (state.kind != SegmentKind.LOG) return state.firstBlock < root.sideFlightTo && end > root.sideFlightFrom;
  return state.firstBlock < root.flightTo && end > root.flightFrom;
}

/** Whether the deletions of a segment may still be needed. After a survey. */
export function tombstonesNeeded(index: u32, newest: u64): bool {
  if (!newest) return false;
  // Opening may begin with a checkpoint in which the key still is.
  if (root.checkpointFloor && newest > root.checkpointFloor) return true;
  return historyHolds(newest) || tombstonesHeld(index, newest);
}

/** A deletion, or all of a segment up to this sequence, goes: no note may say so without saying this. */
export function tombstoneDrop(sequence: u64): void {
  if (sequence > root.droppedTombstones) root.droppedTombstones = sequence;
}

/** Whether the deletions of a segment may hide records of a segment that was born before them. After a survey. */
function tombstonesHeld(index: u32, newest: u64): bool {
  return newest > (index + 1 == root.bornOldestSegment ? root.bornSecond : root.bornOldest);
}

/**
 * Looks at all segments: which ones are emptied, how much is live in the closed ones, which two were born first. Between
 * operations only, with every record applied. O(segments).
 */
export function spaceSurvey(): void {
  root.surveyDue = 0;
  historyTrim();
  root.paceDue = 1;
  let oldest: u64 = FOREVER;
  let second: u64 = FOREVER;
  let oldestSegment: u32 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!spaceCounts(state.space)) continue;
    if (state.born < oldest) {
      second = oldest;
      oldest = state.born;
      oldestSegment = i + 1;
    } else if (state.born < second) {
      second = state.born;
    }
  }
  root.bornOldest = oldest;
  root.bornSecond = second;
  root.bornOldestSegment = oldestSegment;
  let live: u64 = 0;
  let tombstones: u64 = 0;
  let held: u64 = 0;
  let past: u64 = 0;
  let count: u32 = 0;
  let moved: u32 = 0;
  let used: u32 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!spaceCounts(state.space)) continue;
    used++;
    if (state.space != Space.LIVE) continue;
    const needed = tombstonesNeeded(i, state.newestTombstone);
    if (!state.liveBytes && !needed && state.movedTo <= root.sideClosed && i + 1 != root.moveSegment) {
      state.space = Space.EMPTIED;
      root.emptiedCount++;
      root.segmentsEmptied++;
      if (state.newestTombstone) {
        tombstoneDrop(state.newestTombstone);
        root.tombstonesMoved++;
      }
      continue;
    }
    count++;
    if (!state.liveBytes && !needed) moved++;
    live += state.liveBytes;
    if (needed) tombstones += state.tombstoneBytes;
    if (needed && tombstonesHeld(i, state.newestTombstone)) held += state.tombstoneBytes;
    else if (needed && historyHolds(state.newestTombstone)) past += state.tombstoneBytes;
  }
  root.surveyCount = count;
  root.surveyUsed = used;
  root.surveyMoved = moved;
  root.surveyLive = live;
  root.surveyTombstones = tombstones;
  root.surveyTombstonesHeld = held;
  root.surveyTombstonesPast = past;
}
