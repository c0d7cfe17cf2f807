/**
 * Room for a write: what `logReserve` refuses is asked for again after some space was got back, in bounded steps.
 *
 * Only on a device that cannot grow, and never in a batch, whose group must not end. Each round either frees at least a
 * segment more than it costs, or copies one segment's live records, so it ends.
 */
import { groupTouch, logReserve, noteAppend, surveyWhenDue } from "../log/append";
import { flushSync, groupPending } from "../log/group";
import { For } from "../log/segments";
import { sideClose } from "../log/side";
import { notedAwaitsMark, spaceSurvey } from "../log/space";
import { root } from "../root";
import { Status } from "../status";
import { checkpointYield } from "./checkpoint";
import { CompactResult, compactStep, StepWaits, settleGain } from "./compact";
import { laterApply } from "./later";
import { CompactMode } from "./pace";

/** Rounds at most for one write: a segment that gives a sixteenth of itself is worth moving, and the settling between. */
const ROUNDS: u32 = 40;
/** Microseconds of a step that goes on for as long as it takes. */
const UNBOUNDED: u32 = u32.MAX_VALUE;

/** On a device of fewer segments writes may take the room of every checkpoint. */
const SMALL_SEGMENTS: u32 = 64;

/** `logReserve`, between operations: surveys what is due, and makes room where there is none. */
export function roomFor(size: u32, purpose: u32): i32 {
  if (root.surveyDue) {
    laterApply();
    surveyWhenDue();
  }
  let status = logReserve(size, purpose);
  for (let round: u32 = 0; status == Status.NO_SPACE && round < ROUNDS; round++) {
    const made = roomMake(purpose);
    if (made <= 0) return made < 0 ? made : status;
    status = logReserve(size, purpose);
  }
  return status;
}

/** Gets some space back: 1 when another round may help, 0 when there is nothing to get, or a status. */
export function roomMake(purpose: u32): i32 {
  if (root.growable || root.blocked || root.batchOpen || root.streamActive || root.readOnly) return 0;
  laterApply();
  spaceSurvey();
  if (root.checkpointWork) return checkpointYield(false);
  if (settleGain(CompactMode.NEED)) {
    // What waits for a report of the host frees nothing now: then another segment may.
    const settled = settle();
    if (settled) return settled;
  }
  root.deleting = purpose == For.DELETING ? 1 : 0;
  const made = moveOne();
  root.deleting = 0;
  if (made) return made;
  // A store that is full opens more slowly rather than that it refuses a deletion.
  return checkpointYield(purpose == For.DELETING || root.segmentCount < SMALL_SEGMENTS);
}

/** Moves one segment: 1, or 0 when none is worth it or there is no room for copies, or a status. */
function moveOne(): i32 {
  const result = compactStep(CompactMode.NEED, StepWaits.NEVER, UNBOUNDED);
  if (result != CompactResult.IDLE) return finish(result);
  // Only what is durable may be moved.
  if (!groupPending()) return 0;
  const flushed = flushSync();
  if (flushed < 0) return flushed;
  const later = compactStep(CompactMode.NEED, StepWaits.NEVER, UNBOUNDED);
  return later == CompactResult.IDLE ? 0 : finish(later);
}

/** Goes on with the segment that is being moved, to its end. */
function finish(result: i32): i32 {
  while (result == CompactResult.MOVED && root.moveSegment)
    result = compactStep(CompactMode.NEED, StepWaits.NEVER, UNBOUNDED);
  // A source that cannot be read is left alone, and another one may do.
  if (result == Status.CORRUPT || result == Status.DEVICE_READ) return root.moveSegment ? 0 : 1;
  if (result == Status.NO_SPACE || result == Status.OUT_OF_MEMORY) return 0;
  return result < 0 ? result : 1;
}

/** Makes segments free that are emptied or noted, else those whose records were copied: 1 when there were any, or a status. */
function settle(): i32 {
  if (root.emptiedCount || notedAwaitsMark()) {
    const proven = noteProve();
    if (proven) return proven;
  }
  // Copies that are closed let their sources go.
  const closed = sideClose();
  if (closed < 0) return closed == Status.NO_SPACE ? 0 : closed;
  spaceSurvey();
  return root.emptiedCount ? noteProve() : 0;
}

/** Notes what is emptied, and makes the note and its mark durable: 1 when that freed segments, or a status. */
function noteProve(): i32 {
  const before = root.segmentFreeCount;
  if (root.emptiedCount) {
    const noted = noteAppend();
    if (noted < 0) return noted == Status.NO_SPACE ? 0 : noted;
  }
  for (let i = 0; i < 2; i++) {
    groupTouch();
    const flushed = flushSync();
    if (flushed < 0) return flushed;
  }
  return root.segmentFreeCount > before ? 1 : 0;
}
