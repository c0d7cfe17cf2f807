/**
 * Backups: an image of the store as it is on the device at one moment, read while writing goes on.
 *
 * The image is a superblock of its own and the blocks that count at that moment. No block of them is ever written again,
 * and their segments are pinned (log/pins.ts); the host reads them. Mounted, the image is a store that was closed then.
 *
 * Each backup leaves a point in the superblock: a later one that is told of it leaves out what was on the device by then.
 * What that is, the lives of the segments say, and of the log's newest one the count of its blocks.
 */
import { randomU64 } from "../device/imports";
import { BlockHeader } from "../format/block";
import { SegmentKind } from "../format/segment";
import {
  BackupPoint,
  POINT_COUNT,
  POINT_SIZE,
  ROOT_SIZE,
  ROOTS_OFFSET,
  Superblock,
  superblockSeal,
} from "../format/superblock";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { segmentPin, segmentUnpin } from "../log/pins";
import { segmentAt } from "../log/segments";
import { Space, spaceCounts } from "../log/space";
import { superblockBuild, superblockCommit } from "../log/superblock-store";
import { corruptAt } from "../recovery/fault";
import { BACKUP_POINTS, EXCHANGE_IN, EXCHANGE_OUT, EXCHANGE_SIZE, root, SUPERBLOCK_A } from "../root";
import { Status } from "../status";
import { blockFault, segmentEnd } from "../verify/source";
import { rootAt } from "./checkpoint-due";

/** Bytes of an entry that `backupSegments` lists: u32 index, kind, blocks, 0; u64 generation. */
const ENTRY_SIZE: u32 = 24;
const NONE: u64 = u64.MAX_VALUE;

/**
 * Takes a point at the present state, all of which the caller has flushed, and builds the image's superblock in
 * SUPERBLOCK_A. `backupSegments` is called before anything else is. REENTRANT when something is not on the device;
 * DEVICE_WRITE and FENCED must poison.
 */
export function backupBegin(): i32 {
  if (root.batchOpen || root.streamActive || (!root.readOnly && !isFlushed())) return Status.REENTRANT;
  pointTake();
  if (!root.readOnly) {
    const committed = superblockCommit();
    // Where there is no room for it yet, the next superblock says it.
    if (committed < 0 && committed != Status.NO_SPACE) return committed;
  }
  const image = changetype<Superblock>(SUPERBLOCK_A);
  superblockBuild(image);
  // The newer checkpoint is enough: whatever is damaged on the way is not restored.
  memory.fill(SUPERBLOCK_A + ROOTS_OFFSET + ROOT_SIZE, 0, ROOT_SIZE);
  image.closed = 1;
  image.image = 1;
  image.sequenceCeiling = root.sequence + 1;
  let end: u32 = 2;
  for (let i: u32 = 0; i < root.segmentCount; i++) if (isIncluded(i)) end = max(end, i + 1);
  image.segmentCount = end;
  image.allotmentStart = 0;
  image.allotmentEnd = end;
  superblockSeal(image);
  return Status.OK;
}

/** Pins segments of the image from index `from` on, and lists them in the outward exchange: how many, 0 behind the last. */
export function backupSegments(from: u32): u32 {
  let count: u32 = 0;
  for (let i = from; i < root.segmentCount && (count + 1) * ENTRY_SIZE <= EXCHANGE_SIZE; i++) {
    if (!isIncluded(i)) continue;
    segmentPin(i);
    const state = segmentAt(i);
    const entry = EXCHANGE_OUT + <usize>(count * ENTRY_SIZE);
    store<u32>(entry, i);
    store<u32>(entry, state.kind, 4);
    store<u32>(entry, segmentEnd(i), 8);
    store<u32>(entry, 0, 12);
    store<u64>(entry, state.generation, 16);
    count++;
  }
  return count;
}

/** Gives back a segment that `backupSegments` has listed. */
export function backupUnpin(index: u32): void {
  segmentUnpin(index);
}

/**
 * Proves `count` blocks in the inward exchange, read from device block `first` on in a segment of that life: CORRUPT, with
 * the place; SNAPSHOT_EXPIRED when the writer beside a `readOnly` store has begun another life there.
 */
export function backupBlocks(first: f64, count: u32, generationLow: u32, generationHigh: u32): i32 {
  const generation = ((<u64>generationHigh) << 32) | <u64>generationLow;
  for (let i: u32 = 0; i < count; i++) {
    const frame = EXCHANGE_IN + ((<usize>i) << BLOCK_SIZE_LOG2);
    const block = <u64>first + i;
    if (!blockFault(frame, block, generation)) continue;
    const younger = !blockFault(frame, block, 0) && changetype<BlockHeader>(frame).generation > generation;
    return root.readOnly && younger ? Status.SNAPSHOT_EXPIRED : corruptAt(block << BLOCK_SIZE_LOG2);
  }
  return Status.OK;
}

/** Whether all that was written is durable. A group in flight may be, before the host has reported on it. */
function isFlushed(): bool {
  return !root.groupDirty && root.handedBlock > root.tailBlock && root.sealedGroup <= root.durableGroup;
}

/** Puts a point before those that are kept. */
function pointTake(): void {
  memory.copy(BACKUP_POINTS + POINT_SIZE, BACKUP_POINTS, (<usize>POINT_COUNT - 1) * POINT_SIZE);
  const point = changetype<BackupPoint>(BACKUP_POINTS);
  memory.fill(BACKUP_POINTS, 0, POINT_SIZE);
  point.tagLow = randomU64();
  point.tagHigh = randomU64();
  point.version = root.sequence;
  // A reader sees no copies that are being made: where its image is gone on with, all lives are newer.
  point.generation = ((<u64>root.epoch) << 32) | (root.readOnly ? <u64>u32.MAX_VALUE : <u64>root.generationCounter);
  point.copiesGeneration = NONE;
  if (root.sideSegment) point.copiesGeneration = segmentAt(root.sideSegment - 1).generation;
  if (root.sideClosing) {
    point.copiesGeneration = min(point.copiesGeneration, segmentAt(root.sideClosing - 1).generation);
  }
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!isIncluded(i) || state.kind != SegmentKind.LOG || state.generation < point.logGeneration) continue;
    point.logGeneration = state.generation;
    point.logBlocks = segmentEnd(i);
  }
  if (rootAt(0).kind) point.checkpointGeneration = rootAt(0).generation;
}

/** Whether a segment belongs to the image: it counts, or it is the newer checkpoint's. Notes are durable here. */
function isIncluded(index: u32): bool {
  const space = segmentAt(index).space;
  if (space == Space.CHECKPOINT) return isOfCheckpoint(index);
  return spaceCounts(space) && space != Space.COPYING && space != Space.NOTED;
}

/** Whether a segment lies in the chain of the newer checkpoint. */
function isOfCheckpoint(index: u32): bool {
  const kept = rootAt(0);
  if (!kept.kind) return false;
  let at = kept.segment;
  let generation = kept.generation;
  while (generation) {
    const state = segmentAt(at);
    if (state.space != Space.CHECKPOINT || state.generation != generation) return false;
    if (at == index) return true;
    at = state.previousSegment;
    generation = state.previousGeneration;
  }
  return false;
}

if (BLOCK_SIZE != 4096) ERROR("entries count in blocks of 4,096 bytes");
