/**
 * Commit groups: what is handed to the device together and becomes durable together.
 *
 * A group in flight is a copy: its blocks are laid side by side in the flight area and the host writes from there,
 * waits for all, syncs once and reports. The frames stay free to be reused, and a synchronous flush in the meantime
 * writes the flight's identical bytes again before its own, then syncs: a sync covers only writes that had completed
 * before it was issued, and the flight's may not have.
 *
 * ```
 * piece of the plan, 16 bytes:  0 f64 device offset    8 u32 pointer    12 u32 size (bit 31: keep out of caches)
 * ```
 */

import { deviceSync, deviceWrite } from "../device/device";
import { BlockHeader } from "../format/block";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { Attention, PLAN, PLAN_PIECES_MAX, root } from "../root";
import { Status } from "../status";
import { checksAdvance, frameOf, groupSeal, groupTouch, handOver, runLength, writeOut } from "./append";
import { spaceSettle } from "./space";
import { fenceCheck } from "./superblock-store";

const PIECE_SIZE_LOG2: usize = 4;
/** In a piece's size: it will hardly be read back. */
export const UNCACHED_BIT: u32 = 0x80000000;

/** How the host says that a group in flight ended. */
export namespace FlightResult {
  export const DONE: u32 = 0;
  export const NO_SPACE: u32 = 1;
  export const FAILED: u32 = 2;
}

/** Whether anything waits to be handed over. */
export function groupPending(): bool {
  return root.groupDirty != 0 || root.handedBlock <= root.tailBlock || sealedPending();
}

/** Whether a sealed group was written before its time, and no sync that is under way covers it. */
function sealedPending(): bool {
  return root.sealedGroup > (root.flightFrom != root.flightTo ? root.flightGroup : root.durableGroup);
}

/**
 * Seals the current group and puts it in flight: the number of pieces in the plan, 0 when there is nothing to write
 * or a group is in flight already, or a status. Copies at most the flight area; what a larger group has beyond it is
 * written here, synchronously.
 */
export function groupBegin(): i32 {
  // A group that is held has no frame that waits, and yet it is not durable.
  if (root.blocked == Status.NO_SPACE) return Status.NO_SPACE;
  if (root.flightFrom != root.flightTo || !groupPending()) return 0;
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  // Where all is written already, the sync comes with a group of its own.
  if (root.handedBlock > root.tailBlock) groupTouch();
  if (root.groupDirty) {
    const ended = groupSeal();
    if (ended < 0) return hold(ended);
  }
  const end = root.tailBlock + 1;
  const pending = end - root.handedBlock;
  if (pending > <u64>root.flightCapacity) {
    const status = writeOut(end - root.flightCapacity);
    if (status < 0) return hold(status);
  }
  checksAdvance(end);
  root.flightFrom = root.handedBlock;
  root.flightTo = end;
  root.flightGroup = root.sealedGroup;
  root.flightMark = root.sealedMark;
  root.flightDurable = 0;
  root.flightHeld = 0;
  root.flightSequence = root.sequence;
  root.flightTimeMs = root.sealedTimeMs;
  planBuild();
  handOver(end);
  return root.planPieceCount;
}

/** Takes the host's report on the group in flight. FENCED or POISONED when nothing of it may be acknowledged. */
export function groupFinish(result: u32): i32 {
  if (root.flightFrom == root.flightTo) return Status.INVALID_ARGUMENT;
  if (result == FlightResult.NO_SPACE) {
    // What a synchronous flush has made durable meanwhile need not be written again.
    if (!root.flightDurable) {
      root.flightHeld = 1;
      return hold(Status.NO_SPACE);
    }
  } else if (result != FlightResult.DONE) {
    return Status.DEVICE_WRITE;
  }
  const blocks = root.flightTo - root.flightFrom;
  root.flightFrom = root.flightTo;
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  root.blocksWritten += blocks;
  root.flushes++;
  durableAt(root.flightGroup, root.flightSequence, root.flightMark, root.flightTimeMs);
  return Status.OK;
}

/**
 * Makes everything written so far durable before it returns, a group in flight included. NO_SPACE holds the group:
 * it stays visible and is written again, unchanged, by the next flush.
 */
export function flushSync(): i32 {
  const inFlight = root.flightFrom != root.flightTo;
  if (!groupPending() && (!inFlight || root.flightDurable)) {
    // What was refused has landed in the meantime.
    if (root.blocked == Status.NO_SPACE) root.blocked = 0;
    return Status.OK;
  }
  const fencedBefore = fenceCheck();
  if (fencedBefore < 0) return fencedBefore;
  if (inFlight && !root.flightDurable) {
    for (let i: u32 = 0; i < root.planPieceCount; i++) {
      const piece = PLAN + ((<usize>i) << PIECE_SIZE_LOG2);
      const status = deviceWrite(<u64>load<f64>(piece), load<u32>(piece, 8), load<u32>(piece, 12) & ~UNCACHED_BIT);
      if (status < 0) return hold(status);
    }
  }
  if (root.groupDirty) {
    const ended = groupSeal();
    if (ended < 0) return hold(ended);
  }
  const written = writeOut(root.tailBlock + 1);
  if (written < 0) return hold(written);
  const synced = deviceSync();
  if (synced < 0) return synced;
  const fencedAfter = fenceCheck();
  if (fencedAfter < 0) return fencedAfter;
  // A flight that was held has no write under way; any other is still the host's to report.
  if (root.flightHeld) {
    root.flightFrom = root.flightTo;
    root.flightHeld = 0;
  }
  root.flightDurable = 1;
  if (root.blocked == Status.NO_SPACE) root.blocked = 0;
  root.flushes++;
  durableAt(root.sealedGroup, root.sequence, root.sealedMark, root.sealedTimeMs);
  return Status.OK;
}

/** A group, and all before it, is durable: so are the mark and the time that its end names. */
function durableAt(group: u64, sequence: u64, mark: u64, timeMs: u64): void {
  if (group > root.durableGroup) root.durableGroup = group;
  if (sequence > root.durableSequence) root.durableSequence = sequence;
  if (mark > root.provenMark) root.provenMark = mark;
  if (timeMs > root.durableTimeMs) root.durableTimeMs = timeMs;
  if (root.expiringCount) root.attention |= Attention.EXPIRY_DUE;
  spaceSettle();
}

function hold(status: i32): i32 {
  if (status == Status.NO_SPACE) root.blocked = Status.NO_SPACE;
  return status;
}

/** Copies the blocks of the flight and lists them, neighbours on the device as one piece. */
function planBuild(): void {
  let target = <usize>root.flightArea;
  let count: u32 = 0;
  let expected: u64 = 0;
  for (let block = root.flightFrom; block < root.flightTo; ) {
    const run = runLength(block, root.flightTo);
    const frame = frameOf(block);
    const size = run << BLOCK_SIZE_LOG2;
    const deviceBlock = changetype<BlockHeader>(frame).deviceBlock;
    memory.copy(target, frame, size);
    if (count && deviceBlock == expected) {
      const last = PLAN + ((<usize>(count - 1)) << PIECE_SIZE_LOG2);
      store<u32>(last, load<u32>(last, 12) + size, 12);
    } else {
      // The flight area holds fewer segments than the plan has room for.
      assert(count < PLAN_PIECES_MAX);
      const piece = PLAN + ((<usize>count) << PIECE_SIZE_LOG2);
      store<f64>(piece, <f64>(deviceBlock << BLOCK_SIZE_LOG2));
      store<u32>(piece, <u32>target, 8);
      store<u32>(piece, root.readBack ? size : size | UNCACHED_BIT, 12);
      count++;
    }
    expected = deviceBlock + run;
    target += size;
    block += run;
  }
  root.planPieceCount = count;
}

if (BLOCK_SIZE != 4096) ERROR("the plan counts in blocks of 4,096 bytes");
