/**
 * Copies in flight: blocks of copies that the host writes while everything goes on.
 *
 * The plan is a copy of the blocks, so the ring's frames are free at once. One flight is under way at a time. It needs no
 * sync of its own: what it writes counts only by a note that is made after the report, and the sync of that note's
 * group is issued later still.
 *
 * ```
 * piece of the plan, 16 bytes:  0 f64 device offset    8 u32 pointer    12 u32 size, and UNCACHED_BIT
 * ```
 */
import { BlockHeader } from "../format/block";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { root, SIDE_PLAN, SIDE_PLAN_MAX } from "../root";
import { Status } from "../status";
import { FlightResult, UNCACHED_BIT } from "./group";
import { flightFrameOf, runOf, sideFrameOf, sideFrames, sideSealedEnd, sideSettle } from "./side";
import { fenceCheck } from "./superblock-store";

/**
 * Puts what may leave in flight, or again what met a full device: the number of pieces in the plan, 0 when there is
 * nothing to write or a flight is under way. FENCED, DEVICE_READ. One read of a block, and a copy of at most 512 KiB.
 */
export function sideBegin(): i32 {
  if (root.blocked || !root.sideChunks) return 0;
  const flies = root.sideFlightFrom != root.sideFlightTo;
  if (flies && !root.sideFlightHeld) return 0;
  const end = min(sideSealedEnd(), root.sideHanded + sideFrames());
  if (!flies && root.sideHanded >= end) return 0;
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  if (!flies) {
    root.sideFlightFrom = root.sideHanded;
    root.sideFlightTo = end;
    root.sideFlightWritten = 0;
    for (let block = root.sideHanded; block < end; block++) {
      memory.copy(flightFrameOf(block), sideFrameOf(block), <usize>BLOCK_SIZE);
    }
    root.sideHanded = end;
  }
  root.sideFlightHeld = 0;
  return planBuild();
}

/**
 * Takes the host's report on the copies in flight. NO_SPACE keeps them, to be written again by the next flight; DEVICE_WRITE
 * must poison.
 */
export function sideFinish(result: u32): i32 {
  if (root.sideFlightFrom == root.sideFlightTo) return Status.INVALID_ARGUMENT;
  if (result == FlightResult.NO_SPACE) {
    // What was written synchronously meanwhile need not be written again.
    if (!root.sideFlightWritten) {
      root.sideFlightHeld = 1;
      root.compactActive = 0;
      return Status.NO_SPACE;
    }
  } else if (result != FlightResult.DONE) {
    return Status.DEVICE_WRITE;
  }
  root.blocksWritten += root.sideFlightTo - root.sideFlightFrom;
  root.sideFlightFrom = root.sideFlightTo;
  sideSettle();
  return Status.OK;
}

function planBuild(): i32 {
  let count: u32 = 0;
  for (let block = root.sideFlightFrom; block < root.sideFlightTo; ) {
    const frame = flightFrameOf(block);
    const run = runOf(frame, <u32>(block - root.sideFlightFrom), <u32>(root.sideFlightTo - block));
    if (count == SIDE_PLAN_MAX) {
      // Small segments make many pieces: the rest waits for the next flight.
      root.sideHanded = block;
      root.sideFlightTo = block;
      break;
    }
    const piece = SIDE_PLAN + ((<usize>count) << 4);
    store<f64>(piece, <f64>(changetype<BlockHeader>(frame).deviceBlock << BLOCK_SIZE_LOG2));
    store<u32>(piece, <u32>frame, 8);
    store<u32>(piece, (run << (<u32>BLOCK_SIZE_LOG2)) | UNCACHED_BIT, 12);
    count++;
    block += run;
  }
  return count;
}
