/**
 * Giving free segments at the end of a file back to the file system.
 *
 * The smaller size is synced into both generations of the superblock; then the file is cut. So at every instant each
 * superblock that opening may go by names no more than the file holds, and a crash between the two leaves a file that is
 * longer than it need be: the next cut, or growth, sets its size anew.
 *
 * Invariants: (1) what is cut off is free: no note that may still be proven counts it, and no group in flight lies in it
 * (log/space.ts); (2) no read is in flight; (3) nothing below `allotmentStart` is cut off, for an opener that had the store
 * before may still be writing there.
 */
import { deviceSetSize, deviceSize } from "../device/device";
import { SegmentKind } from "../format/segment";
import { root } from "../root";
import { Status } from "../status";
import { SegmentState, segmentAt, segmentOffset, segmentsPeak, segmentsRecount, segmentsUsed } from "./segments";
import { Space } from "./space";
import { superblockCommit } from "./superblock-store";

/** An empty file has so many segments. */
const SEGMENTS_MIN: u32 = 2;

/** When a file is made smaller, and how much of what is free it keeps. */
export namespace Shrink {
  /** By itself, after segments came free: when less than half was used at any time of late. Half of that stays as well. */
  export const AUTO: u32 = 0;
  /** At close: an eighth stays free, and less than that is not worth it. */
  export const CLOSE: u32 = 1;
  /** Because somebody asked for it: all but one segment. */
  export const FULL: u32 = 2;
}

/** More segments than twice what is used, beside this many, are too many. */
const ROOMY_MIN: u32 = 8;

/** Whether a segment holds anything that may be needed. */
export function segmentOccupied(state: SegmentState): bool {
  return state.space != Space.FREE || state.kind != SegmentKind.FREE;
}

/** Index of the last segment that is not free plus 1. O(free segments at the end). */
export function occupiedEnd(): u32 {
  let end = root.segmentCount;
  while (end > 0 && !segmentOccupied(segmentAt(end - 1))) end--;
  return end;
}

/** Whether a file holds so much free space that some is given back by itself. O(1). */
export function spaceIsRoomy(): bool {
  if (!root.growable) return false;
  return root.segmentCount > 2 * (root.allotmentStart + segmentsPeak()) + ROOMY_MIN;
}

/** Makes a file smaller where that is worth it: segments that were cut off, or DEVICE_WRITE, FENCED, which must poison. */
export function shrink(mode: u32): i32 {
  if (mode == Shrink.AUTO && !spaceIsRoomy()) return 0;
  const end = shrinkEnd(mode);
  if (!end) return 0;
  const cut = shrinkTo(end);
  return cut == Status.NO_SPACE ? 0 : cut;
}

/** Segments that a file is to keep, or 0 when it stays as it is. */
export function shrinkEnd(mode: u32): u32 {
  if (!root.growable || root.readOnly || root.blocked || root.batchOpen || root.streamActive) return 0;
  if (root.verifyState || root.cachePinned || root.superblockStep) return 0;
  const used = root.allotmentStart + (mode == Shrink.AUTO ? segmentsPeak() : segmentsUsed());
  let spare: u32 = 1;
  let least: u32 = 1;
  if (mode == Shrink.AUTO) {
    spare = ROOMY_MIN / 2 + (used >>> 1);
    least = spare >>> 1;
  } else if (mode == Shrink.CLOSE) {
    spare = 2 + (used >>> 3);
    least = spare;
  }
  const end = max(max(occupiedEnd(), used + spare), max(SEGMENTS_MIN, root.allotmentStart));
  if (end + least <= root.segmentCount) return end;
  // A crash, or a full disk, kept a cut from being made.
  const size = mode == Shrink.AUTO ? 0 : deviceSize();
  return size > <i64>segmentOffset(root.segmentCount) ? root.segmentCount : 0;
}

/** Cuts the file off behind its first `end` segments: how many that were. NO_SPACE leaves a state to go on from. */
export function shrinkTo(end: u32): i32 {
  const count = root.segmentCount;
  const allotmentEnd = root.allotmentEnd;
  const generation = root.superblockGeneration;
  root.segmentCount = end;
  root.allotmentEnd = min(allotmentEnd, end);
  const first = superblockCommit();
  if (first < 0 && generation == root.superblockGeneration) {
    root.segmentCount = count;
    root.allotmentEnd = allotmentEnd;
    return first;
  }
  // From here on one superblock may say so: what is behind is used no more, whether it can be cut off or not.
  for (let i = end; i < count; i++) memory.fill(changetype<usize>(segmentAt(i)), 0, offsetof<SegmentState>());
  segmentsRecount();
  if (first < 0) return first;
  const second = superblockCommit();
  if (second < 0) return second;
  const cut = deviceSetSize(segmentOffset(end));
  if (cut < 0) return cut;
  root.segmentsCut += count - end;
  return <i32>(count - end);
}
