/**
 * Blocks of a checkpoint in flight: the host writes them while the index is walked on.
 *
 * The writer's whole blocks are copied to the half of an area that is filled; the other half is in flight. Its writes need no
 * sync of their own: the checkpoint counts only after the sync of a group that is sealed when all of them have landed.
 *
 * ```
 * area, 4 chunks:   half 0, 31 frames   half 1, 31 frames   plan of half 0, 4 KiB   plan of half 1, 4 KiB
 * piece of a plan, 16 bytes:  0 f64 device offset    8 u32 pointer    12 u32 size, and UNCACHED_BIT
 * ```
 *
 * Invariants: (1) one half is in flight at a time; (2) while it is, no segment of a checkpoint comes free, and none is begun.
 */
import { deviceWriteUncached } from "../device/device";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { CHUNK_SIZE, chunksAvailable, chunkTakeRun } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";
import { FlightResult, UNCACHED_BIT } from "./group";
import { fenceCheck } from "./superblock-store";

const CHUNKS: u32 = 4;
/** Where fewer chunks are free, blocks are written within the steps. */
const CHUNKS_FREE: u32 = 128;
const HALF_FRAMES: u32 = 31;
const PIECES_MAX: u32 = 64;

/** Takes the area, where the host writes and there is memory for it. It is kept. */
export function flightAreaTake(): void {
  if (!root.hostFlies || root.checkpointArea || chunksAvailable() < CHUNKS_FREE) return;
  root.checkpointArea = <u32>chunkTakeRun(CHUNKS);
}

/** Whether so many more blocks can leave without waiting. */
export function flightTakes(count: u32): bool {
  if (!root.checkpointArea) return false;
  return root.checkpointFilled + count <= HALF_FRAMES && root.checkpointPieces < PIECES_MAX;
}

/** Whether any block that was handed to the flight is not known to be on the device. */
export function flightIsOpen(): bool {
  return root.checkpointFilled != 0 || (root.checkpointFlying != 0 && !root.checkpointFlownWritten);
}

/** Puts `count` neighbours that lie at `frames` into the half that is filled. `flightTakes` said that they fit. */
export function flightAdd(offset: u64, frames: usize, count: u32): void {
  const target = frameOf(root.checkpointHalf, root.checkpointFilled);
  memory.copy(target, frames, (<usize>count) << BLOCK_SIZE_LOG2);
  const piece = pieceOf(root.checkpointHalf, root.checkpointPieces);
  store<f64>(piece, <f64>offset);
  store<u32>(piece, <u32>target, 8);
  store<u32>(piece, (count << (<u32>BLOCK_SIZE_LOG2)) | UNCACHED_BIT, 12);
  root.checkpointPieces++;
  root.checkpointFilled += count;
}

/** Forgets what is not in flight yet: it belongs to a checkpoint that was given up. */
export function flightDrop(): void {
  root.checkpointFilled = 0;
  root.checkpointPieces = 0;
}

/**
 * Puts what was filled in flight: pieces of the plan at `resultPointer`, 0 when there is nothing, or something flies. FENCED,
 * DEVICE_READ.
 */
export function checkpointBegin(): i32 {
  if (root.blocked || root.checkpointFlying || !root.checkpointFilled) return 0;
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  root.resultPointer = <u32>pieceOf(root.checkpointHalf, 0);
  root.checkpointFlying = root.checkpointPieces;
  root.checkpointFlownWritten = 0;
  root.blocksWritten += root.checkpointFilled;
  root.checkpointHalf ^= 1;
  flightDrop();
  return root.checkpointFlying;
}

/** Takes the host's report. NO_SPACE: what flew is not there, unless it was written meanwhile. DEVICE_WRITE must poison. */
export function flightLanded(result: u32): i32 {
  if (!root.checkpointFlying) return Status.INVALID_ARGUMENT;
  root.checkpointFlying = 0;
  if (result == FlightResult.DONE) return Status.OK;
  if (result != FlightResult.NO_SPACE) return Status.DEVICE_WRITE;
  return root.checkpointFlownWritten ? Status.OK : Status.NO_SPACE;
}

/**
 * Writes all of it here, what is in flight once more: the same bytes do no harm. For callers in whose loops the host reports
 * nothing. NO_SPACE, DEVICE_WRITE, FENCED.
 */
export function flightWrite(): i32 {
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  if (root.checkpointFlying && !root.checkpointFlownWritten) {
    const status = piecesWrite(root.checkpointHalf ^ 1, root.checkpointFlying);
    if (status < 0) return status;
    root.checkpointFlownWritten = 1;
  }
  const status = piecesWrite(root.checkpointHalf, root.checkpointPieces);
  if (status < 0) return status;
  root.blocksWritten += root.checkpointFilled;
  flightDrop();
  return Status.OK;
}

function piecesWrite(half: u32, count: u32): i32 {
  for (let i: u32 = 0; i < count; i++) {
    const piece = pieceOf(half, i);
    const size = load<u32>(piece, 12) & ~UNCACHED_BIT;
    const status = deviceWriteUncached(<u64>load<f64>(piece), <usize>load<u32>(piece, 8), size);
    if (status < 0) return status;
  }
  return Status.OK;
}

function frameOf(half: u32, index: u32): usize {
  return <usize>root.checkpointArea + ((<usize>(half * HALF_FRAMES + index)) << BLOCK_SIZE_LOG2);
}

function pieceOf(half: u32, index: u32): usize {
  return frameOf(2, half) + ((<usize>index) << 4);
}

if (<usize>(HALF_FRAMES * 2 + 2) * BLOCK_SIZE > <usize>CHUNKS * CHUNK_SIZE) ERROR("the area outgrew its chunks");
if (<usize>PIECES_MAX * 16 > BLOCK_SIZE) ERROR("the plan outgrew its block");
