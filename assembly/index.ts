/**
 * The exports of the binary. They take and give numbers: pointers, sizes, statuses (see status.ts). Keys are placed in
 * the key exchange, values in the value exchange, whose addresses `layout` names; results stand in the root view's
 * first words. No call re-enters: the host's calls in between (device, clock, random) must not call back.
 */
import { cacheInitialize, cacheReserve, FRAMES_MIN } from "./cache/block-cache";
import { checkpointAtClose, checkpointIsOpen } from "./engine/checkpoint";
import { loggedBytes, rootAt } from "./engine/checkpoint-due";
import { cursorClose as cursorFree, cursorOpen as cursorTake } from "./engine/cursor";
import { visibleKeyCount } from "./engine/expiry";
import { laterApply } from "./engine/later";
import { versionsFree } from "./engine/snapshots";
import { sourceIsRead } from "./engine/source";
import { viewOpen as viewTake } from "./engine/views";
import { POINT_COUNT, POINT_SIZE, ROOT_COUNT, ROOT_SIZE } from "./format/superblock";
import { hashBytes, hashInitialize } from "./index/hash-index";
import { treeBytes, treeInitialize } from "./index/ordered-index";
import { BLOCK_SIZE } from "./limits";
import { groupTouch, logInitialize } from "./log/append";
import { flushSync } from "./log/group";
import { segmentAt } from "./log/segments";
import { Shrink, shrinkEnd, shrink as shrinkFile, shrinkTo } from "./log/shrink";
import { spaceCounts } from "./log/space";
import { superblockCommit } from "./log/superblock-store";
import { CHUNK_SIZE, chunksAvailable, chunksInitialize, chunkTake, chunkTakeRun } from "./memory/chunks";
import { slabInitialize } from "./memory/slab";
import {
  format as formatDevice,
  MountFlags,
  mount as mountDevice,
  Probe,
  probe as probeDevice,
} from "./recovery/mount";
import {
  BACKUP_POINTS,
  EXCHANGE_IN,
  EXCHANGE_OUT,
  EXCHANGE_SIZE,
  HASH_DIRECTORY,
  KEPT_ROOTS,
  KEY_A,
  KEY_B,
  MOVE_WINDOWS,
  PLAN,
  POOL,
  READ_PLAN,
  ROOT,
  Root,
  root,
  SIDE_PLAN,
  SUPERBLOCK_A,
  SUPERBLOCK_B,
  WORKSPACE,
} from "./root";
import { Status } from "./status";

export { getAhead, partAhead, readLanded, readRelease, readVersion } from "./engine/ahead";
export { backupBegin, backupBlocks, backupSegments, backupUnpin } from "./engine/backup";
export { changesDeleted, changesNewest, changesSet } from "./engine/changes";
export { checkpointConfigure, checkpointLanded, checkpointStep } from "./engine/checkpoint";
export { compactBegin, compactSettle, compactStep } from "./engine/compact";
export { compressMeasure } from "./engine/compress";
export { condition, entryFigure, entryOpen, removeWith, setWith } from "./engine/condition";
export { cursorAhead, cursorCount, cursorDelete, cursorNext, cursorSeek, cursorWeigh } from "./engine/cursor";
export { batchBegin, batchEnd, get, has, remove, set, writeAbort, writeBegin, writePart } from "./engine/dual";
export { expirySweep } from "./engine/expiry";
export { feedClose, feedOpen, feedTake } from "./engine/feed";
export { getGroup } from "./engine/group-get";
export { compactConfigure } from "./engine/pace";
export { append, increment, patch } from "./engine/partial";
export { sourceLanded, sourcePlan } from "./engine/source";
export { valueRead } from "./engine/value";
export { entryOpenAt, getAt, hasAt, keyChanged, rangeChanged, viewClose, viewVersion } from "./engine/views";
export { checkpointBegin } from "./log/checkpoint-flight";
export { flushSync, groupBegin, groupFinish, groupPending } from "./log/group";
export { historyConfigure } from "./log/history";
export { sideBegin, sideFinish } from "./log/side-flight";
export { superblockBegin, superblockLanded } from "./log/superblock-flight";
export { rebuildBytes, rebuildEnd, rebuildFinish, rebuildRecord } from "./recovery/rebuild";
export { inspectBegin, inspectBlock, inspectRecords, inspectSuperblock, segmentFigure } from "./verify/inspect";
export { salvageBegin, salvageLook, salvageNote, salvageRecords, salvageSeed } from "./verify/salvage";
export { verifyBegin, verifyEnd, verifyFigure, verifyStep } from "./verify/verify";
export { format, mount, probe };

/** How often a checkpoint is looked at that a writer may be replacing. */
const CHECKPOINT_LOOKS_MAX: u32 = 8;

/** Places that the host reads or writes, in the order of `Layout` in the store. */
export function layout(what: u32): u32 {
  switch (what) {
    case 0:
      return <u32>ROOT;
    case 1:
      return <u32>KEY_A;
    case 2:
      return <u32>KEY_B;
    case 3:
      return <u32>EXCHANGE_IN;
    case 4:
      return <u32>EXCHANGE_OUT;
    case 5:
      return EXCHANGE_SIZE;
    case 6:
      return <u32>PLAN;
    case 7:
      return <u32>SUPERBLOCK_A;
    case 8:
      return <u32>(ROOT + offsetof<Root>("resultPointer"));
    case 9:
      return <u32>(ROOT + offsetof<Root>("attention"));
    case 10:
      return <u32>SUPERBLOCK_B;
    case 11:
      return <u32>WORKSPACE;
    case 13:
      return <u32>(ROOT + offsetof<Root>("incremented"));
    case 20:
      return <u32>SIDE_PLAN;
    case 22:
      return <u32>BACKUP_POINTS;
    case 21:
      return <u32>(ROOT + offsetof<Root>("progressDone"));
    default:
      return <u32>READ_PLAN;
  }
}

/**
 * Lays out a fresh memory of `memorySize` bytes: a write buffer of `writeBufferSize` (a power of two, 64 blocks at
 * least), a cache of at most `cacheSize` bytes, the rest for the indexes. OUT_OF_MEMORY when it is too small.
 */
export function initialize(memorySize: f64, writeBufferSize: u32, cacheSize: u32, flushIntervalMs: u32): i32 {
  memory.fill(ROOT, 0, offsetof<Root>());
  memory.fill(MOVE_WINDOWS, 0, SIDE_PLAN - MOVE_WINDOWS);
  memory.fill(KEPT_ROOTS, 0, ROOT_SIZE * ROOT_COUNT);
  memory.fill(BACKUP_POINTS, 0, POINT_SIZE * POINT_COUNT);
  root.memorySize = <u32>memorySize;
  chunksInitialize(POOL, <usize>memorySize);
  slabInitialize();
  const frames = chunkTakeRun(writeBufferSize / <u32>CHUNK_SIZE);
  const flight = chunkTakeRun(writeBufferSize / <u32>CHUNK_SIZE / 4);
  if (!frames || !flight) return Status.OUT_OF_MEMORY;
  root.flightArea = <u32>flight;
  root.flightCapacity = writeBufferSize / <u32>BLOCK_SIZE / 4;
  root.flushIntervalMs = flushIntervalMs;
  if (!cacheInitialize(max(FRAMES_MIN, cacheSize / <u32>BLOCK_SIZE))) return Status.OUT_OF_MEMORY;
  root.readStaging = <u32>chunkTake();
  if (!root.readStaging) return Status.OUT_OF_MEMORY;
  const hash = hashInitialize();
  if (hash < 0) return hash;
  const tree = treeInitialize();
  if (tree < 0) return tree;
  logInitialize(frames, writeBufferSize / <u32>BLOCK_SIZE);
  return cacheReserve() && chunksAvailable() >= 64 ? Status.OK : Status.OUT_OF_MEMORY;
}

/** See recovery/mount.ts. */
function probe(device: u32): i32 {
  return probeDevice(device);
}

/** See recovery/mount.ts. */
function format(device: u32, engine: u32, segmentBlocks: u32, flags: u32): i32 {
  return formatDevice(device, engine, segmentBlocks, flags);
}

/** See recovery/mount.ts. `uncached` is a handle of the same device that bypasses the host's cache, or the same. */
function mount(device: u32, uncached: u32, engine: u32, flags: u32): i32 {
  let damaged: u32 = 0;
  let looks: u32 = 0;
  let status = mountOnce(device, uncached, engine, flags);
  let seen = root.scanFold;
  while (status == Status.CHECKPOINT_DAMAGED) {
    // Beside a writer that went on meanwhile it need not be damaged: it is, when all is as it was.
    const moved = looks == 0 || (looks < CHECKPOINT_LOOKS_MAX && seen != root.scanFold);
    seen = root.scanFold;
    if (flags & MountFlags.READ_ONLY && moved) {
      looks++;
    } else {
      looks = 0;
      damaged++;
      flags |= damaged > 1 ? MountFlags.NO_CHECKPOINT : MountFlags.OLDER_CHECKPOINT;
    }
    status = memoryAnew();
    // What the superblock says by now: a writer may have made another checkpoint.
    if (status == Status.OK) status = probeDevice(device);
    if (status == Probe.BLANK) status = Status.CORRUPT;
    if (status > 0) status = mountOnce(device, uncached, engine, flags);
  }
  root.checkpointFallbacks = damaged;
  if (status == Status.OK) root.opened = 1;
  // All that was read of the device so far is durable, and so is the time that it tells.
  root.durableTimeMs = root.highestTimeMs;
  return status;
}

function mountOnce(device: u32, uncached: u32, engine: u32, flags: u32): i32 {
  root.deviceCold = flags & MountFlags.DIRECT_READS ? uncached : device;
  return mountDevice(device, uncached, engine, flags, root.frames);
}

/** Lays the memory out anew as `initialize` did, with nothing of what an opening has left there. */
function memoryAnew(): i32 {
  const memorySize = <f64>root.memorySize;
  const frameCount = root.frameCount;
  const cacheCapacity = root.cacheCapacity;
  const flushIntervalMs = root.flushIntervalMs;
  memory.fill(HASH_DIRECTORY, 0, <usize>root.chunkFresh - HASH_DIRECTORY);
  return initialize(memorySize, frameCount * <u32>BLOCK_SIZE, cacheCapacity * <u32>BLOCK_SIZE, flushIntervalMs);
}

/**
 * Makes everything durable, writes a checkpoint where the next opening gains by it, and records an orderly end. The store
 * takes no further calls.
 */
export function close(): i32 {
  if (root.readOnly) return Status.OK;
  const flushed = flushSync();
  if (flushed < 0) return flushed;
  const kept = checkpointAtClose();
  if (kept < 0) return kept;
  const end = shrinkEnd(Shrink.CLOSE);
  root.closed = 1;
  root.sequenceCeiling = root.sequence + 1;
  const committed = end ? shrinkTo(end) : superblockCommit();
  if (committed < 0) return committed;
  root.opened = 0;
  root.blocked = Status.POISONED;
  return Status.OK;
}

/** Every later write is refused: something was not made durable, and nobody knows how much of it is on the device. */
export function poison(): void {
  root.blocked = Status.POISONED;
}

/** A cursor's handle as a number that crosses the boundary unsigned, or a status. */
export function cursorOpen(flags: u32, lowerSize: u32, upperSize: u32, view: u32): f64 {
  return <f64>cursorTake(flags, lowerSize, upperSize, view);
}

/** A view's handle as a number that crosses the boundary unsigned, or a status. */
export function viewOpen(): f64 {
  return <f64>viewTake();
}

/** Closes a cursor. */
export function cursorClose(handle: u32): void {
  cursorFree(handle);
}

/** Somebody has seen this time, in milliseconds since 1970: it is not earlier from now on. */
export function timeReach(ms: f64): void {
  root.highestTimeMs = max(root.highestTimeMs, <u64>ms);
}

/** Makes the present group worth writing for its mark alone, so that what an earlier note no longer counts becomes free. */
export function markDue(): void {
  groupTouch();
}

/** Gives free space at a file's end back: segments that were cut off, or a status. `mode` as in log/shrink.ts. */
export function shrink(mode: u32): i32 {
  if (mode == Shrink.FULL) root.takesLowest = 0;
  // A read behind the new end would find nothing there.
  if (sourceIsRead()) return 0;
  return shrinkFile(mode);
}

/** The host writes superblocks and checkpoints beside everything else from now on, and reports on them. */
export function hostFlies(): void {
  root.hostFlies = 1;
}

/** Frees a bounded number of old versions that no snapshot sees. */
export function maintain(): void {
  versionsFree();
}

/** The canonical ABI's allocator: hosts call it only to place what a read returns, and get the frame it is meant for. */
export function cabi_realloc(_old: usize, _oldSize: usize, _align: usize, _size: usize): usize {
  return root.wasiReadTarget;
}

/** A counter or gauge by number, in the order of `STAT_NAMES` in the store. */
export function stat(what: u32): f64 {
  laterApply();
  switch (what) {
    case 0:
      return <f64>visibleKeyCount();
    case 1:
      return <f64>root.keyBytes;
    case 2:
      return <f64>root.valueBytes;
    case 3:
      return <f64>root.sequence;
    case 4:
      return <f64>root.durableSequence;
    case 5:
      return <f64>root.snapshotCount;
    case 6:
      return <f64>root.versionCount;
    case 7:
      return <f64>root.nodeBytes;
    case 8:
      return hashBytes();
    case 9:
      return treeBytes();
    case 10:
      return <f64>root.hashChainLongest;
    case 11:
      return <f64>root.treeHeight;
    case 12:
      return <f64>root.chunkUsedCount * <f64>CHUNK_SIZE;
    case 13:
      return <f64>chunksAvailable() * <f64>CHUNK_SIZE;
    case 14:
      return <f64>root.segmentCount;
    case 15:
      return <f64>root.segmentFreeCount;
    case 16:
      return <f64>root.segmentBlocks * <f64>BLOCK_SIZE;
    case 17:
      return liveBytes();
    case 18:
      return <f64>root.epoch;
    case 19:
      return <f64>root.flushes;
    case 20:
      return <f64>root.blocksWritten;
    case 21:
      return <f64>root.bytesAppended;
    case 22:
      return <f64>root.deviceReads;
    case 23:
      return <f64>root.deviceWrites;
    case 24:
      return <f64>root.deviceSyncs;
    case 25:
      return <f64>root.cacheFrameCount * <f64>BLOCK_SIZE;
    case 26:
      return <f64>root.cacheHits;
    case 27:
      return <f64>root.cacheMisses;
    case 28:
      return <f64>root.inPlaceUpdates;
    case 29:
      return <f64>root.recoveredRecords;
    case 30:
      return <f64>root.recoveredTailBlocks;
    case 31:
      return <f64>root.highestTimeMs;
    case 32:
      return <f64>(root.tailBlock + 1 - root.handedBlock) * <f64>BLOCK_SIZE;
    case 33:
      return <f64>root.faultOffset;
    case 34:
      return <f64>root.wasiErrorCode;
    case 35:
      return <f64>root.blocked;
    case 36:
      return <f64>root.replaySequence;
    case 37:
      return <f64>root.bytesMoved;
    case 38:
      return <f64>root.segmentsEmptied;
    case 39:
      return <f64>root.segmentsFreed;
    case 40:
      return <f64>root.bytesScanned;
    case 42:
      return segmentsUsed();
    // Checkpoints
    case 80:
      return <f64>root.checkpointsMade;
    case 81:
      return <f64>rootAt(0).sequence;
    case 82:
      return <f64>root.checkpointSegments * <f64>root.segmentBlocks * <f64>BLOCK_SIZE;
    case 83:
      return <f64>root.checkpointFallbacks;
    case 84:
      return <f64>root.checkpointsGivenUp;
    case 85:
      return <f64>((rootAt(0).kind ? 1 : 0) + (rootAt(1).kind ? 1 : 0));
    case 86:
      return <f64>root.checkpointBlocks * <f64>BLOCK_SIZE;
    case 87:
      return <f64>loggedBytes();
    case 88:
      return checkpointIsOpen() ? 1 : 0;
    case 89:
      return <f64>root.checkpointKeys;
    // Compaction: whether a segment is being moved
    case 102:
      return <f64>root.moveSegment;
    // Expiry
    case 130:
      return <f64>root.expiringCount;
    case 131:
      return <f64>root.expiredRemoved;
    // Space
    case 115:
      return <f64>(root.scanFold >>> 11);
    case 110:
      return <f64>root.segmentsCut;
    case 111:
      return <f64>root.replaySegments;
    case 112:
      return <f64>root.replayedSegments;
    case 113:
      return <f64>root.keysToLoad;
    case 114:
      return <f64>root.keyBytesToLoad;
    // Backups: bytes of segments that they pin, and of those that are kept for them alone
    case 160:
      return <f64>root.segmentsPinned * <f64>root.segmentBlocks * <f64>BLOCK_SIZE;
    case 161:
      return <f64>root.segmentsHeld * <f64>root.segmentBlocks * <f64>BLOCK_SIZE;
    // Compression
    case 170:
      return <f64>root.compressedCount;
    case 171:
      return <f64>(root.valueBytes - root.compressedSaved);
    // Changes: the highest sequence of a dropped deletion; deletions that moved; what the feed holds, in bytes
    case 150:
      return <f64>root.droppedTombstones;
    case 151:
      return <f64>root.tombstonesMoved;
    case 152:
      return <f64>root.feedUsed;
    // Cold reads
    case 64:
      return <f64>root.readAheadBlocks;
    default:
      return -1;
  }
}

function segmentsUsed(): f64 {
  let used: u32 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    if (spaceCounts(segmentAt(i).space)) used++;
  }
  return <f64>used;
}

function liveBytes(): f64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) bytes += segmentAt(i).liveBytes;
  return <f64>bytes;
}
