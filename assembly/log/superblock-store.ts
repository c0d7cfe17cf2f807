/**
 * Writing and comparing superblocks. The one that is written is built from the root view; see format/superblock.ts
 * for the order of the copies.
 */
import { deviceRead, deviceSync, deviceWrite } from "../device/device";
import {
  Compatible,
  FEATURE_NAME_OFFSET,
  FORMAT_VERSION,
  Incompatible,
  LZ4_NAME_HIGH,
  LZ4_NAME_LOW,
  LZ4_VERSION,
  POINT_COUNT,
  POINT_SIZE,
  POINTS_OFFSET,
  ROOT_COUNT,
  ROOT_SIZE,
  ROOTS_OFFSET,
  SUPERBLOCK_MAGIC,
  Superblock,
  superblockIntact,
  superblockSeal,
  VERSION_NEEDED_OFFSET,
} from "../format/superblock";
import { BLOCK_SIZE, SEQUENCE_STRIDE, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../limits";
import { BACKUP_POINTS, KEPT_ROOTS, root, SUPERBLOCK_A, SUPERBLOCK_B } from "../root";
import { Status } from "../status";

/**
 * Writes the next superblock to its two copies, one after the other, each synced. NO_SPACE (a copy-on-write file
 * system may refuse even an overwrite) leaves a state to go on from; DEVICE_WRITE must poison. FENCED before anything is
 * written: a superblock of a successor is never overwritten.
 *
 * Between a look and a write a process may be stopped for as long as a successor takes to open. So the second copy is looked at
 * when the first one is written, and all again when both are: at least one copy of the successor's stays, and what this superblock
 * says is used only where there is none. DEVICE_READ where that cannot be told.
 */
export function superblockCommit(): i32 {
  const fenced = fenceCheck();
  return fenced < 0 ? fenced : copiesWrite(root.epoch);
}

/**
 * `superblockCommit` of a mount, whose epoch is a new one. Another opener that found the same state takes the same epoch: of
 * those that write at once at most one finds both copies its own at the end, and nobody overwrites both of them after that.
 * FENCED for the others, which have changed nothing. Six reads of a block more.
 */
export function superblockClaim(): i32 {
  const before = root.epoch - 1;
  const earlier = copiesCheck(before);
  if (earlier < 0) return earlier;
  const written = copiesWrite(before);
  if (written < 0) return written;
  const first = firstCopy();
  for (let copy = first; copy < first + 2; copy++) {
    const status = deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (memory.compare(SUPERBLOCK_A, SUPERBLOCK_B, BLOCK_SIZE)) return Status.FENCED;
  }
  return Status.OK;
}

/** Both copies of the next superblock. FENCED when others hold an epoch beyond `latest`: of the copies that are not ours. */
function copiesWrite(latest: u32): i32 {
  const before = root.superblockGeneration;
  root.superblockGeneration++;
  // A copy of that pair may be under way: it is left alone.
  const flies = root.superblockStep > 1;
  if (flies && !((root.superblockGeneration ^ root.superblockFlight) & 1)) root.superblockGeneration++;
  superblockBuild(changetype<Superblock>(SUPERBLOCK_A));
  const first = firstCopy();
  for (let copy = first; copy < first + 2; copy++) {
    if (copy != first) {
      const other = epochCheck(copy, latest);
      if (other < 0) return other;
    }
    const written = deviceWrite(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_A, <u32>BLOCK_SIZE);
    if (written < 0) {
      // Refused whole before anything of this generation was written: its number may be used again.
      if (written == Status.NO_SPACE && copy == first) root.superblockGeneration = before;
      return written;
    }
    const synced = deviceSync();
    if (synced < 0) return synced;
  }
  const overtaken = epochCheck(first, root.epoch);
  if (overtaken < 0) return overtaken;
  for (let copy = first ^ 2; copy < (first ^ 2) + 2; copy++) {
    const other = epochCheck(copy, latest);
    if (other < 0) return other;
  }
  // What it says is durable is proven by it.
  if (root.durableGroup > root.provenMark) root.provenMark = root.durableGroup;
  // The other pair still says what it said.
  if (root.checkpointPending && !flies) root.checkpointPending--;
  return Status.OK;
}

/** The first of the two copies of the present generation. */
function firstCopy(): u32 {
  return (<u32>root.superblockGeneration & 1) << 1;
}

/** FENCED when any copy is of a later epoch: another opener went ahead. DEVICE_READ. Four reads of a block. */
export function successorCheck(): i32 {
  return copiesCheck(root.epoch);
}

function copiesCheck(latest: u32): i32 {
  for (let copy: u32 = 0; copy < <u32>SUPERBLOCK_COPIES; copy++) {
    const status = epochCheck(copy, latest);
    if (status < 0) return status;
  }
  return Status.OK;
}

/** FENCED when a copy is whole and of a later epoch than `latest`. */
function epochCheck(copy: u32, latest: u32): i32 {
  const superblock = changetype<Superblock>(SUPERBLOCK_B);
  const status = deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
  if (status < 0) return status;
  return superblockIntact(superblock) && superblock.epoch > latest ? Status.FENCED : Status.OK;
}

/** Raises the ceiling of the sequences when `count` more would reach it. */
export function sequencesReserve(count: u64): i32 {
  if (root.sequence + count < root.sequenceCeiling) return Status.OK;
  const before = root.sequenceCeiling;
  root.sequenceCeiling = root.sequence + count + SEQUENCE_STRIDE;
  const committed = superblockCommit();
  // What no superblock says is not given out.
  if (committed < 0) root.sequenceCeiling = before;
  return committed;
}

/** Whether the ceiling is to be raised before anybody has to wait for that. */
export function ceilingIsLow(): bool {
  return root.sequence + SEQUENCE_STRIDE / 4 >= root.sequenceCeiling;
}

/**
 * Makes sure that the superblock has a feature bit, before anything on the device needs it. Two syncs the first time, then
 * nothing. NO_SPACE, FENCED; DEVICE_WRITE must poison.
 */
export function featureReserve(bit: u64): i32 {
  if (root.features & bit) return Status.OK;
  root.features |= bit;
  const committed = superblockCommit();
  // Refused before anything was written, or given up with the store.
  if (committed < 0) root.features &= ~bit;
  return committed;
}

/**
 * FENCED when a later mount has written a superblock: one that took over goes to the other pair of copies, and beside a flight,
 * whose number nothing on the device has yet, perhaps to that of the flight. One read of a block, two when the first copy is
 * just being written; as many again while a superblock flies.
 */
export function fenceCheck(): i32 {
  const pair = <u32>(root.superblockGeneration + 1) & 1;
  const status = pairCheck(pair, false);
  return status < 0 || root.superblockStep < 2 ? status : pairCheck(pair ^ 1, true);
}

/** With `all`, both copies count: one may be the flight's own, which came to lie over the successor's. */
function pairCheck(pair: u32, all: bool): i32 {
  const superblock = changetype<Superblock>(SUPERBLOCK_B);
  for (let copy = pair << 1; copy < (pair << 1) + 2; copy++) {
    const status = deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!superblockIntact(superblock)) continue;
    if (superblock.epoch > root.epoch) return Status.FENCED;
    if (!all) break;
  }
  return Status.OK;
}

/** Builds the superblock of the present state, sealed. */
export function superblockBuild(superblock: Superblock): void {
  memory.fill(changetype<usize>(superblock), 0, BLOCK_SIZE);
  superblock.magic = SUPERBLOCK_MAGIC;
  superblock.formatVersion = FORMAT_VERSION;
  superblock.engine = root.engine;
  superblock.storeIdLow = root.storeIdLow;
  superblock.storeIdHigh = root.storeIdHigh;
  superblock.hashSeed = root.hashSeed;
  superblock.generation = root.superblockGeneration;
  superblock.epoch = root.epoch;
  superblock.segmentBlocks = root.segmentBlocks;
  superblock.segmentCount = root.segmentCount;
  superblock.allotmentStart = root.allotmentStart;
  superblock.allotmentEnd = root.allotmentEnd;
  superblock.closed = root.closed;
  superblock.sequenceCeiling = root.sequenceCeiling;
  superblock.durableGroup = root.durableGroup;
  superblock.logEpoch = root.logEpoch;
  superblock.highestTimeMs = root.highestTimeMs;
  superblock.saltLow = root.saltLow;
  superblock.saltHigh = root.saltHigh;
  superblock.droppedTombstones = root.droppedTombstones;
  if (root.superblockStep > 1) {
    // This one overtakes a flight, and stays the newest when that lands: what the flight raises is used then.
    superblock.segmentCount = max(superblock.segmentCount, root.superblockSegments);
    superblock.allotmentEnd = max(superblock.allotmentEnd, root.superblockEnd);
    superblock.sequenceCeiling = max(superblock.sequenceCeiling, root.superblockCeiling);
  }
  superblock.compatible = Compatible.CHECKPOINTS | Compatible.BACKUPS;
  superblock.incompatible = root.features | root.featuresNext;
  if (superblock.incompatible & Incompatible.LZ4) {
    const at = changetype<usize>(superblock);
    store<u64>(at + FEATURE_NAME_OFFSET, LZ4_NAME_LOW);
    store<u64>(at + FEATURE_NAME_OFFSET, LZ4_NAME_HIGH, 8);
    store<u64>(at + VERSION_NEEDED_OFFSET, LZ4_VERSION);
  }
  memory.copy(changetype<usize>(superblock) + ROOTS_OFFSET, KEPT_ROOTS, ROOT_SIZE * ROOT_COUNT);
  memory.copy(changetype<usize>(superblock) + POINTS_OFFSET, BACKUP_POINTS, POINT_SIZE * POINT_COUNT);
  superblockSeal(superblock);
}
