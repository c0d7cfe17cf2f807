/**
 * The end of a full compaction of a file: what lies in its last segments is moved to free ones before them, so that the
 * end comes free and can be cut off (log/shrink.ts). Each move lowers the last segment that is used, so it ends.
 */
import { noteAppend, segmentAbandonRest } from "../log/append";
import { segmentAt } from "../log/segments";
import { occupiedEnd } from "../log/shrink";
import { sideClose } from "../log/side";
import { Space } from "../log/space";
import { root } from "../root";
import { Status } from "../status";
import { checkpointYield } from "./checkpoint";
import { movable } from "./pace";

/** Free segments before the last one that moving it asks for: for its records, and for the note that frees it. */
const HOLES_MIN: u32 = 3;

/** Index plus 1 of the last segment that is used, if it lies behind free ones that take what it holds; else 0. */
function lastBehindHoles(): u32 {
  if (!root.growable) return 0;
  while (true) {
    const end = occupiedEnd();
    const behind = root.segmentCount - end;
    if (root.segmentFreeCount < behind + HOLES_MIN) return 0;
    // A checkpoint is not moved but made anew, when it is due or at close.
    if (segmentAt(end - 1).space != Space.CHECKPOINT) return end;
    if (checkpointYield(true) <= 0) return 0;
  }
}

/** The last segment, index plus 1, if it can be moved to free ones before it; else 0. */
export function lastMovable(): u32 {
  const last = lastBehindHoles();
  if (!last) return 0;
  const state = segmentAt(last - 1);
  // One whose records were all moved waits for their copies.
  if (!state.liveBytes && !state.tombstoneBytes && state.movedTo) return 0;
  return movable(state) ? last : 0;
}

/** Whether the last segment is one that log or copies still fill, though free ones lie before it. */
export function lastIsOpen(): bool {
  const last = lastBehindHoles();
  if (!last) return false;
  const space = segmentAt(last - 1).space;
  return space == Space.OPEN || space == Space.COPYING;
}

/** Closes the last segment, if it is still being filled, so that it can be moved. SIDE_WAITS, NO_SPACE, DEVICE_WRITE. */
export function lastClose(): i32 {
  if (!lastIsOpen()) return Status.OK;
  if (segmentAt(lastBehindHoles() - 1).space == Space.COPYING) return sideClose();
  const noted = noteAppend();
  if (noted < 0) return noted;
  segmentAbandonRest();
  return Status.OK;
}
