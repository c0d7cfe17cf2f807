/**
 * A superblock in flight: the host raises the allotment, grows the file and names checkpoints beside everything else, so
 * that no operation waits for the syncs of that.
 *
 * ```
 * NONE ─> SIZE (the file is larger; its size is synced) ─> FIRST copy ─> SECOND copy ─> what it says holds
 * ```
 *
 * Invariants: (1) nothing that it raises is used before both copies are synced; (2) it names a size only when that is
 * synced; (3) a superblock that cannot wait meanwhile goes to the other pair of copies, under a greater number, so the flight
 * meets no other write of its copies; (4) while it flies no superblock says less than it does: files do not shrink.
 */
import { deviceRead } from "../device/device";
import { Superblock, superblockIntact } from "../format/superblock";
import { BLOCK_SIZE, SEQUENCE_STRIDE, SUPERBLOCK_STRIDE } from "../limits";
import { root, SUPERBLOCK_B, SUPERBLOCK_C } from "../root";
import { Status } from "../status";
import { FlightResult } from "./group";
import { allotmentApply, allotmentIsLow, allotmentStride, fileRaise, roomIsAmple, segmentsEnsure } from "./segments";
import { ceilingIsLow, fenceCheck, superblockBuild } from "./superblock-store";

/** What the host is at. */
export namespace SuperblockStep {
  export const NONE: u32 = 0;
  /** It syncs the size of the file. */
  export const SIZE: u32 = 1;
  /** It writes a copy and syncs it: the block at `resultPointer` to the device offset `resultSize`. */
  export const FIRST: u32 = 2;
  export const SECOND: u32 = 3;
}

/**
 * Puts a superblock in flight where one is due: the first step for the host, 0 when none is due or one flies already, or a
 * status: FENCED, DEVICE_READ, DEVICE_WRITE.
 */
export function superblockBegin(): i32 {
  if (!root.hostFlies || root.superblockStep || root.blocked || root.batchOpen || root.streamActive) return 0;
  const grows = allotmentIsLow();
  if (!grows && !(root.checkpointPending && roomIsAmple()) && !ceilingIsLow()) return 0;
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  root.superblockEnd = root.allotmentEnd;
  root.superblockSegments = root.segmentCount;
  if (grows) {
    const larger = sizeRaise();
    if (larger < 0) return larger;
    if (larger) {
      root.superblockStep = SuperblockStep.SIZE;
      return SuperblockStep.SIZE;
    }
  }
  return copiesBegin();
}

/**
 * Takes the host's report on the step: the next one, or 0 when what the superblock says holds. NO_SPACE and DEVICE_READ leave
 * everything as it was, to be tried again with the next superblock; FENCED and DEVICE_WRITE must poison.
 */
export function superblockLanded(result: u32): i32 {
  const step = root.superblockStep;
  if (!step) return Status.INVALID_ARGUMENT;
  if (result != FlightResult.DONE) {
    root.superblockStep = SuperblockStep.NONE;
    if (result != FlightResult.NO_SPACE) return Status.DEVICE_WRITE;
    root.growthRefused = 1;
    // Refused whole, and no other was written since: its number may be used again.
    if (step == SuperblockStep.FIRST && root.superblockGeneration == root.superblockFlight) root.superblockGeneration--;
    return Status.NO_SPACE;
  }
  if (step == SuperblockStep.SIZE) return copiesBegin();
  // A successor writes to both copies of a pair.
  const other = overtaken(step == SuperblockStep.FIRST ? 1 : 0);
  if (other < 0) return giveUp(other);
  if (step == SuperblockStep.FIRST) {
    root.superblockStep = SuperblockStep.SECOND;
    return copyPlan(1);
  }
  const fenced = fenceCheck();
  if (fenced < 0) return giveUp(fenced);
  root.superblockStep = SuperblockStep.NONE;
  allotmentApply(root.superblockSegments, root.superblockEnd);
  if (root.superblockCeiling > root.sequenceCeiling) root.sequenceCeiling = root.superblockCeiling;
  if (root.superblockMark > root.provenMark) root.provenMark = root.superblockMark;
  if (root.superblockCounts && root.checkpointPending) root.checkpointPending--;
  return SuperblockStep.NONE;
}

/** Whether a successor wrote could not be told, or one did: what this one raises is not used. A later one goes over it. */
function giveUp(status: i32): i32 {
  root.superblockStep = SuperblockStep.NONE;
  return status;
}

/** Makes the file larger: 1 when its size is to be synced, 0 when there is room, or no more of it. */
function sizeRaise(): i32 {
  const end = root.allotmentEnd + allotmentStride(1);
  if (!root.growable || end <= root.segmentCount) {
    root.superblockEnd = min(end, root.segmentCount);
    return 0;
  }
  let status = segmentsEnsure(end);
  if (status == Status.OK) status = fileRaise(end);
  if (status == Status.NO_SPACE || status == Status.OUT_OF_MEMORY) {
    root.growthRefused = 1;
    return 0;
  }
  if (status < 0) return status;
  root.superblockEnd = end;
  root.superblockSegments = end;
  return 1;
}

/** Makes the superblock that is written, of the state as it is now and of what is raised. */
function copiesBegin(): i32 {
  const segmentCount = root.segmentCount;
  const allotmentEnd = root.allotmentEnd;
  const ceiling = root.sequenceCeiling;
  root.superblockSegments = max(root.superblockSegments, segmentCount);
  root.superblockEnd = max(root.superblockEnd, allotmentEnd);
  root.superblockCeiling = ceilingIsLow() ? root.sequence + SEQUENCE_STRIDE : ceiling;
  root.superblockMark = root.durableGroup;
  root.superblockCounts = root.checkpointPending ? 1 : 0;
  root.superblockGeneration++;
  root.superblockFlight = root.superblockGeneration;
  root.segmentCount = root.superblockSegments;
  root.allotmentEnd = root.superblockEnd;
  root.sequenceCeiling = root.superblockCeiling;
  superblockBuild(changetype<Superblock>(SUPERBLOCK_C));
  root.segmentCount = segmentCount;
  root.allotmentEnd = allotmentEnd;
  root.sequenceCeiling = ceiling;
  root.superblockStep = SuperblockStep.FIRST;
  return copyPlan(0);
}

function copyPlan(which: u32): i32 {
  root.resultPointer = <u32>SUPERBLOCK_C;
  root.resultSize = copyOf(which) * <u32>SUPERBLOCK_STRIDE;
  return root.superblockStep;
}

/** One of the two copies of the superblock in flight. */
function copyOf(which: u32): u32 {
  return ((<u32>root.superblockFlight & 1) << 1) + which;
}

/** FENCED when a later mount has written one of the two copies. */
function overtaken(which: u32): i32 {
  const status = deviceRead(<u64>copyOf(which) * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
  if (status < 0) return status;
  const superblock = changetype<Superblock>(SUPERBLOCK_B);
  return superblockIntact(superblock) && superblock.epoch > root.epoch ? Status.FENCED : Status.OK;
}
