/**
 * `verify`: proves, in bounded steps and without a write, that what the store holds in memory and what lies on its
 * device are the same and sound.
 *
 * ```
 * chains of the hash index → superblocks → log, segment by segment → checkpoints → ordered index, key by key → hash index → sums
 * ```
 *
 * A fault is noted and the walk goes on; only want of memory for the walk itself is a status. Each record that the
 * scan of the log meets is held against its key's node, and marks it; the walk over the keys takes the marks away and
 * looks up, one by one, what was not marked.
 */
import { deviceRead, deviceSize, tickMs } from "../device/device";
import { laterApply } from "../engine/later";
import { SegmentKind } from "../format/segment";
import { Superblock, superblockIntact } from "../format/superblock";
import { BLOCK_SIZE, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../limits";
import { segmentMovedOn } from "../log/beside";
import { segmentAt, segmentOffset } from "../log/segments";
import { root, SUPERBLOCK_A } from "../root";
import { Status } from "../status";
import { checkpointsStep, keptSums } from "./checkpoints";
import { chainsProve, hashStep, indexSums, orderedStep, total } from "./indexes";
import { logBlocks, logStep } from "./log";
import {
  bufferBlock,
  Fault,
  faultAt,
  faultsAt,
  faultsReset,
  stateGive,
  stateTake,
  Total,
  VerifyPhase,
  verifyState,
} from "./state";

/** A writer may be at work on a copy that a `readOnly` store reads. */
const COPY_READS: u32 = 3;

/** Begins a verification. INVALID_ARGUMENT while one is under way, OUT_OF_MEMORY. */
export function verifyBegin(): i32 {
  if (root.verifyState) return Status.INVALID_ARGUMENT;
  const taken = stateTake();
  if (taken < 0) return taken;
  verifyState().blocksTotal = logBlocks();
  return Status.OK;
}

/**
 * Goes on for about `milliseconds`: the phase that comes next (VerifyPhase; DONE is the end). The faults found meanwhile
 * lie at `resultPointer`, `resultSize` bytes, until the next step. A segment of up to 1 MiB is done in one step.
 * SNAPSHOT_EXPIRED when the writer beside a `readOnly` store has gone on over what this one shows.
 */
export function verifyStep(milliseconds: u32): i32 {
  if (!root.verifyState) return Status.INVALID_ARGUMENT;
  laterApply();
  faultsReset();
  const state = verifyState();
  const deadline = tickMs() + milliseconds;
  switch (state.phase) {
    case VerifyPhase.SUPERBLOCKS:
      if (!chainsProve(state, deadline)) state.phase = VerifyPhase.DONE;
      if (!state.chainsProven) break;
      superblocksProve();
      state.phase = VerifyPhase.LOG;
      break;
    case VerifyPhase.LOG:
      logStep(deadline);
      break;
    case VerifyPhase.CHECKPOINTS:
      checkpointsStep(deadline);
      break;
    case VerifyPhase.ORDERED_INDEX:
      orderedStep(deadline);
      break;
    case VerifyPhase.HASH_INDEX:
      hashStep(deadline);
      break;
    case VerifyPhase.SUMS:
      indexSums();
      segmentSums();
      keptSums(state);
      state.phase = VerifyPhase.DONE;
      break;
  }
  if (state.expired) return Status.SNAPSHOT_EXPIRED;
  root.resultPointer = <u32>faultsAt();
  root.resultSize = state.faultsUsed;
  return state.phase;
}

/** Ends a verification, whether it is done or not. */
export function verifyEnd(): void {
  stateGive();
}

/** A figure of the verification under way, in the order of `VerifyFigure` in the store. */
export function verifyFigure(what: u32): f64 {
  const state = verifyState();
  switch (what) {
    case 0:
      return <f64>state.blocksRead;
    case 1:
      return <f64>state.blocksBuffered;
    case 2:
      return <f64>state.recordsRead;
    case 3:
      return <f64>state.keysProven;
    case 4:
      return <f64>state.segmentsUsed;
    case 5:
      return <f64>state.segmentsFree;
    case 6:
      return <f64>state.faultCount;
    case 7:
      return <f64>state.faultsLost;
    case 8:
      return <f64>state.totalsCompared;
    case 9:
      return <f64>state.blocksTotal;
    case 10:
      return <f64>state.walkEntries;
    case 11:
      return <f64>root.treeEntryCount;
    default:
      return -1;
  }
}

function superblocksProve(): void {
  for (let copy: u32 = 0; copy < <u32>SUPERBLOCK_COPIES; copy++) superblockProve(copy);
}

function superblockProve(copy: u32): void {
  const offset = <u64>copy * SUPERBLOCK_STRIDE;
  const superblock = changetype<Superblock>(bufferBlock(0));
  let intact: bool = false;
  for (let i: u32 = 0; i < COPY_READS && !intact; i++) {
    const status = deviceRead(offset, bufferBlock(0), <u32>BLOCK_SIZE);
    if (status < 0) {
      faultAt(Fault.DEVICE, offset, <f64>status, 0);
      return;
    }
    intact = superblockIntact(superblock);
    if (!root.readOnly) break;
  }
  // The host is just writing it.
  if (root.superblockStep > 1 && (<u32>root.superblockFlight & 1) == copy >>> 1) return;
  if (!intact) {
    faultAt(Fault.SUPERBLOCK_DAMAGED, offset, copy, 0);
    return;
  }
  const generation = superblock.generation;
  const belongs =
    superblock.storeIdLow == root.storeIdLow &&
    superblock.storeIdHigh == root.storeIdHigh &&
    // Even generations lie in the first pair of copies.
    (<u32>generation & 1) == copy >>> 1;
  // What this mount wrote last, it wrote to both copies of a pair.
  const isNewest = (<u32>root.superblockGeneration & 1) == copy >>> 1;
  const expected = isNewest ? generation == root.superblockGeneration : generation < root.superblockGeneration;
  if (!belongs || (!root.readOnly && !expected)) faultAt(Fault.SUPERBLOCK_OTHER, offset, copy, <f64>generation);
}

/** Free segments as counted, and a device that holds all segments. */
function segmentSums(): void {
  let free: u64 = 0;
  for (let i = root.allotmentStart; i < root.allotmentEnd; i++) if (segmentAt(i).kind == SegmentKind.FREE) free++;
  total(Total.FREE_SEGMENTS, root.segmentFreeCount, free);
  const size = deviceSize();
  if (size < 0) faultAt(Fault.DEVICE, 0, <f64>size, 0);
  else if (<u64>size < segmentOffset(root.segmentCount) && !segmentMovedOn(root.segmentCount - 1, SUPERBLOCK_A)) {
    faultAt(Fault.DEVICE, size, Status.DEVICE_SHRUNK, 0);
  }
}
