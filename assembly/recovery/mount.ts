/**
 * Formatting and mounting.
 *
 * A mount reads the superblock, finds the log (log-scan.ts), replays what is durable (replay.ts), and then, before
 * anything is served, brings to safety whatever complete groups lie behind the durable mark (tail.ts): they may have been
 * acknowledged, and they may also have been read from a cache that the device never took.
 */
import { clockMs, deviceRead, deviceSetSize, deviceSize, deviceSync, deviceWrite } from "../device/device";
import { randomU64 } from "../device/imports";
import { checkpointsMounted } from "../engine/checkpoint";
import { compressPrepare } from "../engine/compress";
import { blockIsZero } from "../format/block";
import { SegmentKind, segmentHeaderValid } from "../format/segment";
import {
  Compatible,
  FORMAT_VERSION,
  INCOMPATIBLE_KNOWN,
  Incompatible,
  POINT_COUNT,
  POINT_SIZE,
  POINTS_OFFSET,
  READ_COMPATIBLE_KNOWN,
  ROOT_COUNT,
  ROOT_SIZE,
  ROOTS_OFFSET,
  SUPERBLOCK_MAGIC,
  Superblock,
  superblockIntact,
  superblockSeal,
} from "../format/superblock";
import { wheelBegin } from "../index/expiry-wheel";
import {
  BLOCK_SIZE,
  BLOCK_SIZE_LOG2,
  SEGMENT_BLOCKS_MAX,
  SEGMENT_BLOCKS_MIN,
  SEGMENTS_OFFSET,
  SEQUENCE_STRIDE,
  SUPERBLOCK_COPIES,
  SUPERBLOCK_STRIDE,
} from "../limits";
import { logContinue } from "../log/append";
import { segmentAt, segmentCountMax, segmentOffset, segmentsEnsure, segmentsRecount } from "../log/segments";
import { noteHas, Space } from "../log/space";
import { successorCheck, superblockClaim, superblockCommit } from "../log/superblock-store";
import { BACKUP_POINTS, KEPT_ROOTS, root, SUPERBLOCK_A, SUPERBLOCK_B } from "../root";
import { Status } from "../status";
import { checkpointForget, checkpointIsKept, checkpointLoad, checkpointsTake, progressSet } from "./checkpoint-load";
import { corruptAt } from "./fault";
import { countedReplay, logEndSealed, logWalk, noteFind, placesCheck, replayBegin, replayFinish } from "./log-replay";
import {
  countedCheck,
  durableMark,
  headersBeyond,
  headersScan,
  livesSort,
  provenLast,
  ScanState,
  scanFold,
} from "./log-scan";
import { segmentsTake, tailSecure } from "./tail";

/** How far into its segments a device is looked at before it counts as blank. */
const SEARCHED: u64 = 64 << 20;

/** What `probe` answers beside a status. */
export namespace Probe {
  /** A store. */
  export const STORE: i32 = 1;
  /** Nothing but zeros, or nothing at all. */
  export const BLANK: i32 = 0;
}

export namespace MountFlags {
  export const READ_ONLY: u32 = 1;
  export const GROWABLE: u32 = 2;
  /** Whoever had the store before may still be running: none of its allotment is used. */
  export const PREDECESSOR_ALIVE: u32 = 4;
  /** Cold blocks are read through the handle that bypasses the host's cache. */
  export const DIRECT_READS: u32 = 8;
  /** The newer checkpoint was found damaged: it is opened from the older one. */
  export const OLDER_CHECKPOINT: u32 = 16;
  /** No checkpoint can be used: the whole log is replayed. */
  export const NO_CHECKPOINT: u32 = 32;
  /** New values are compressed. */
  export const COMPRESSION: u32 = 64;
  /** Whoever had the store before may still be running: it is fenced before the log is read. */
  export const FENCE: u32 = 128;
}

/**
 * Looks at a device without changing it: STORE, with the best superblock in SUPERBLOCK_A, of the latest epoch that any
 * has, or BLANK; NOT_A_STORE when it
 * holds something else, CORRUPT when it was a store and no copy of the superblock is whole, UNSUPPORTED_FORMAT.
 */
export function probe(device: u32): i32 {
  root.device = device;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  const best = changetype<Superblock>(SUPERBLOCK_A);
  const copy = changetype<Superblock>(SUPERBLOCK_B);
  best.generation = 0;
  let found = false;
  let traces = false;
  let blank = true;
  let epoch: u32 = 0;
  for (let i = 0; i < SUPERBLOCK_COPIES; i++) {
    const offset = <u64>i * SUPERBLOCK_STRIDE;
    if (offset + BLOCK_SIZE > <u64>size) break;
    const status = deviceRead(offset, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!blockIsZero(SUPERBLOCK_B)) blank = false;
    if (copy.magic == SUPERBLOCK_MAGIC) traces = true;
    if (!superblockIntact(copy)) continue;
    const newer = !found || isNewer(copy, best);
    // An opener that gave up may have left a later epoch in an older superblock.
    if (found && isSameStore(copy, best)) epoch = max(epoch, copy.epoch);
    else if (newer) epoch = copy.epoch;
    if (!newer) continue;
    memory.copy(SUPERBLOCK_A, SUPERBLOCK_B, BLOCK_SIZE);
    found = true;
  }
  if (!found) {
    if (traces) return Status.CORRUPT;
    if (!blank) return Status.NOT_A_STORE;
    return restIsZero(<u64>size);
  }
  if (best.formatVersion != FORMAT_VERSION || best.incompatible & ~INCOMPATIBLE_KNOWN) return Status.UNSUPPORTED_FORMAT;
  best.epoch = epoch;
  return Probe.STORE;
}

/**
 * Writes an empty store: two segments on a device that grows, all that fit on one that does not. NO_SPACE when not even
 * these fit. `segmentBlocks` is a power of two.
 */
export function format(device: u32, engine: u32, segmentBlocks: u32, flags: u32): i32 {
  root.device = device;
  root.growable = flags & MountFlags.GROWABLE ? 1 : 0;
  root.engine = engine;
  if (!geometrySet(segmentBlocks)) return Status.INVALID_ARGUMENT;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  const needed = segmentOffset(2);
  if (root.growable) {
    if (<u64>size < needed) {
      const grown = deviceSetSize(needed);
      if (grown < 0) return grown;
      const synced = deviceSync();
      if (synced < 0) return synced;
    }
    root.segmentCount = 2;
  } else {
    const count = (<u64>size - min<u64>(SEGMENTS_OFFSET, <u64>size)) >> root.segmentSizeLog2;
    // The reserve, a segment to write to, and one to spare.
    if (count < 5) return Status.NO_SPACE;
    root.segmentCount = <u32>min<u64>(count, segmentCountMax());
  }
  root.storeIdLow = randomU64();
  root.storeIdHigh = randomU64();
  root.hashSeed = randomU64();
  root.epoch = 0;
  root.logEpoch = 0;
  root.superblockGeneration = 0;
  root.features = 0;
  root.sequenceCeiling = 1;
  root.closed = 1;
  // Twice: all four copies.
  for (let i = 0; i < 2; i++) {
    const status = superblockCommit();
    if (status < 0) return status;
  }
  return Status.OK;
}

/**
 * Mounts the store that `probe` found. See the head of this file; statuses of all kinds, none of them an assertion.
 * CHECKPOINT_DAMAGED before anything but a fence was written: the memory is to be laid out anew, and the mount tried with the next of
 * the flags OLDER_CHECKPOINT and NO_CHECKPOINT.
 */
export function mount(device: u32, uncached: u32, engine: u32, flags: u32, frame: usize): i32 {
  // What is found wrong before an epoch is taken is held against the one that was found.
  root.epoch = changetype<Superblock>(SUPERBLOCK_A).epoch;
  const status = mountFound(device, uncached, engine, flags, frame);
  if (root.readOnly || (status != Status.CORRUPT && status != Status.DEVICE_SHRUNK)) return status;
  // What another opener has written meanwhile does not fit what was read before.
  const other = successorCheck();
  return other == Status.FENCED ? other : status;
}

function mountFound(device: u32, uncached: u32, engine: u32, flags: u32, frame: usize): i32 {
  const superblock = changetype<Superblock>(SUPERBLOCK_A);
  root.device = device;
  root.deviceUncached = uncached;
  root.readOnly = flags & MountFlags.READ_ONLY ? 1 : 0;
  root.growable = flags & MountFlags.GROWABLE ? 1 : 0;
  const accepted = superblockAccept(superblock, engine);
  if (accepted < 0) return accepted;
  root.compression = flags & MountFlags.COMPRESSION ? 1 : 0;
  if ((root.compression || root.features & Incompatible.LZ4) && !compressPrepare()) return Status.OUT_OF_MEMORY;
  let size = deviceSize();
  if (size < 0) return <i32>size;
  if (<u64>size < segmentOffset(root.segmentCount)) return Status.DEVICE_SHRUNK;
  if (flags & MountFlags.FENCE && !root.readOnly && !root.closed) {
    const fenced = predecessorFence(engine);
    if (fenced < 0) return fenced;
    size = deviceSize();
    if (size < 0) return <i32>size;
    if (<u64>size < segmentOffset(root.segmentCount)) return Status.DEVICE_SHRUNK;
  }
  if (!root.growable && !root.readOnly) {
    // A device that was enlarged is used to its end.
    const fits = min<u64>(segmentCountMax(), (<u64>size - SEGMENTS_OFFSET) >> root.segmentSizeLog2);
    root.segmentCount = <u32>max<u64>(root.segmentCount, fits);
  }
  wheelBegin(max(clockMs(), root.highestTimeMs));
  const ensured = segmentsEnsure(root.segmentCount);
  if (ensured < 0) return ensured == Status.NO_SPACE ? Status.CORRUPT : ensured;
  if (flags & MountFlags.NO_CHECKPOINT) checkpointForget(0);
  if (flags & (MountFlags.NO_CHECKPOINT | MountFlags.OLDER_CHECKPOINT)) checkpointForget(0);
  const replayed = durableReplay(frame);
  if (replayed < 0) return replayed;
  if (root.readOnly) {
    const finished = replayFinish(frame);
    if (finished < 0) return finished;
    root.durableGroup = root.previousGroup;
    root.sequence = root.replaySequence;
    countedKeep();
    root.blocked = Status.READ_ONLY;
    return Status.OK;
  }
  return mountForWriting(flags, frame);
}

/**
 * Makes sure that an opener which still lives acknowledges nothing from here on: whatever it has acknowledged is read afterwards.
 * It looks for a later epoch in the first copy of a pair, so these are written as they are, but of the next epoch. What it
 * has just made durable itself is in the second copies, which are left alone, and of a higher generation. One sync. FENCED
 * when another opener is ahead.
 */
function predecessorFence(engine: u32): i32 {
  const best = changetype<Superblock>(SUPERBLOCK_A);
  const copy = changetype<Superblock>(SUPERBLOCK_B);
  const epoch = root.epoch + 1;
  for (let pair = 0; pair < SUPERBLOCK_COPIES; pair += 2) {
    let found: bool = false;
    for (let i = pair + 1; i >= pair && !found; i--) {
      const read = deviceRead(<u64>i * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
      if (read < 0) return read;
      found = superblockIntact(copy);
    }
    if (!found) {
      memory.copy(SUPERBLOCK_B, SUPERBLOCK_A, BLOCK_SIZE);
      copy.generation--;
    }
    if (copy.epoch >= epoch) return Status.FENCED;
    copy.epoch = epoch;
    superblockSeal(copy);
    const written = deviceWrite(<u64>pair * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (written < 0) return written;
  }
  const synced = deviceSync();
  if (synced < 0) return synced;
  const probed = probe(root.device);
  if (probed < 0) return probed;
  const accepted = superblockAccept(best, engine);
  if (accepted < 0) return accepted;
  if (root.epoch > epoch) return Status.FENCED;
  root.epoch = epoch;
  return Status.OK;
}

/** Without a log to go on with: what the note counts is what there is. */
function countedKeep(): void {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (noteHas(i)) state.space = Space.LIVE;
  }
  checkpointsTake();
  for (let i: u32 = 0; i < root.segmentCount; i++) if (!segmentAt(i).space) segmentAt(i).kind = SegmentKind.FREE;
  segmentsRecount();
}

/** Finds what is durable and replays it; finds out how far complete groups follow. */
function durableReplay(frame: usize): i32 {
  const scanned = headersScan(frame);
  if (scanned < 0) return scanned;
  const copies = livesSort(SegmentKind.COPIES);
  const logs = livesSort(SegmentKind.LOG);
  const beyond = headersBeyond(logs, frame);
  if (beyond < 0) return beyond;
  const mark = durableMark(logs, frame);
  root.durableGroup = mark;
  scanFold(mark);
  root.logEpoch = max<u64>(root.logEpoch, mark >> 40);
  root.walkEpoch = root.logEpoch;
  const proven = provenLast(logs, mark);
  // A group that something vouches for must be found.
  if (mark && !proven) return corruptAt(doubtfulOffset());
  replayBegin();
  if (proven) {
    const noted = noteFind(proven - 1, mark, frame);
    if (noted < 0) return noted;
    const checked = countedCheck(proven);
    if (checked < 0) return checked;
  }
  if (checkpointIsKept(0)) {
    const loaded = proven ? checkpointLoad(0, frame) : Status.CHECKPOINT_DAMAGED;
    if (loaded < 0) return loaded;
  } else {
    progressSet(0);
  }
  const replayed = countedReplay(copies, logs, proven, frame);
  if (replayed < 0) return replayed;
  const walked = logWalk(logs, proven, mark, frame);
  if (walked < 0) return walked;
  if (root.previousGroup < mark) return corruptAt(doubtfulOffset());
  return placesCheck(frame);
}

function mountForWriting(flags: u32, frame: usize): i32 {
  root.sequence = root.sequenceCeiling - 1;
  root.sequenceCeiling += SEQUENCE_STRIDE;
  root.epoch++;
  root.generationCounter = 0;
  root.noteSerial = 0;
  root.group = ((<u64>root.epoch) << 40) + 1;
  root.saltLow = randomU64();
  root.saltHigh = randomU64();
  // The allotment: what an opener that may still be alive can write to is left alone.
  const startAfter = !root.closed && flags & MountFlags.PREDECESSOR_ALIVE ? root.allotmentEnd : 0;
  const orderly = root.closed != 0;
  root.closed = 0;
  root.allotmentStart = startAfter;
  root.allotmentEnd = root.growable ? root.segmentCount : min(root.segmentCount, max(startAfter, root.allotmentEnd));
  // After an orderly end nothing was written behind the log's last block.
  const settled = !root.tailFromSegment && (!root.logEndSegment || logEndSealed() || orderly);
  // Only when nothing is left to be brought to safety may groups of this mount follow.
  if (settled) root.logEpoch = root.epoch;
  segmentsTake();
  const committed = superblockClaim();
  if (committed < 0) return committed;
  if (!settled) {
    const secured = tailSecure(frame);
    if (secured < 0) return secured;
  } else if (root.logEndSegment) {
    root.previousSegment = root.logEndSegment - 1;
    root.previousGeneration = segmentAt(root.previousSegment).generation;
    if (!logEndSealed()) logContinue(root.previousSegment, root.logEndBlock);
  }
  const finished = replayFinish(frame);
  if (finished < 0) return finished;
  root.provenMark = root.durableGroup;
  root.sealedMark = root.durableGroup;
  root.sealedGroup = root.durableGroup;
  root.durableSequence = root.sequence;
  root.surveyDue = 1;
  checkpointsMounted(logBytesReplayed());
  return Status.OK;
}

/** Bytes of the log's blocks that no checkpoint tells of. */
function logBytesReplayed(): u64 {
  let blocks: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.kind != SegmentKind.LOG || (state.space != Space.LIVE && state.space != Space.OPEN)) continue;
    const end = i + 1 == root.logEndSegment ? root.logEndBlock : state.end;
    if (end > state.believed) blocks += end - state.believed;
  }
  return blocks << BLOCK_SIZE_LOG2;
}

/** Takes over what a superblock says. UNSUPPORTED_FORMAT, ENGINE_MISMATCH, CORRUPT when it says what cannot be. */
export function superblockAccept(superblock: Superblock, engine: u32): i32 {
  if (superblock.readCompatible & ~READ_COMPATIBLE_KNOWN && !root.readOnly) return Status.UNSUPPORTED_FORMAT;
  if (superblock.engine != engine) return Status.ENGINE_MISMATCH;
  if (!geometrySet(superblock.segmentBlocks)) return Status.CORRUPT;
  if (!superblock.segmentCount || superblock.allotmentEnd > superblock.segmentCount) return Status.CORRUPT;
  if (superblock.generation > <u64>i64.MAX_VALUE) return Status.CORRUPT;
  if (superblock.epoch > 0xfffffe || superblock.sequenceCeiling >= 0xffffff000000) return Status.CORRUPT;
  root.engine = engine;
  root.storeIdLow = superblock.storeIdLow;
  root.storeIdHigh = superblock.storeIdHigh;
  root.checkSeed = superblock.storeIdLow ^ rotl<u64>(superblock.storeIdHigh, 32);
  root.hashSeed = superblock.hashSeed;
  root.superblockGeneration = superblock.generation;
  root.scanFold = superblock.generation;
  root.epoch = superblock.epoch;
  root.segmentCount = superblock.segmentCount;
  root.allotmentStart = superblock.allotmentStart;
  root.allotmentEnd = superblock.allotmentEnd;
  root.closed = superblock.closed;
  root.sequenceCeiling = superblock.sequenceCeiling;
  root.durableGroup = superblock.durableGroup;
  root.logEpoch = superblock.logEpoch;
  root.highestTimeMs = superblock.highestTimeMs;
  root.droppedTombstones = superblock.droppedTombstones;
  root.features = superblock.incompatible & INCOMPATIBLE_KNOWN;
  if (superblock.compatible & Compatible.CHECKPOINTS) {
    memory.copy(KEPT_ROOTS, changetype<usize>(superblock) + ROOTS_OFFSET, ROOT_SIZE * ROOT_COUNT);
  } else {
    memory.fill(KEPT_ROOTS, 0, ROOT_SIZE * ROOT_COUNT);
  }
  if (superblock.compatible & Compatible.BACKUPS) {
    memory.copy(BACKUP_POINTS, changetype<usize>(superblock) + POINTS_OFFSET, POINT_SIZE * POINT_COUNT);
  } else {
    memory.fill(BACKUP_POINTS, 0, POINT_SIZE * POINT_COUNT);
  }
  return Status.OK;
}

/** Where to look when the log, or its beginning, is not found at all: the first segment that is not what it should be. */
function doubtfulOffset(): u64 {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const scan = segmentAt(i).scan;
    if (scan == ScanState.UNREADABLE || scan == ScanState.FOREIGN) return segmentOffset(i);
  }
  return segmentOffset(0);
}

function geometrySet(segmentBlocks: u32): bool {
  if (segmentBlocks < SEGMENT_BLOCKS_MIN || segmentBlocks > SEGMENT_BLOCKS_MAX) return false;
  if (segmentBlocks & (segmentBlocks - 1)) return false;
  root.segmentBlocks = segmentBlocks;
  root.segmentSizeLog2 = <u32>ctz(segmentBlocks) + <u32>BLOCK_SIZE_LOG2;
  root.segmentOpen = 0;
  root.segmentOpenBlock = segmentBlocks;
  return true;
}

function isSameStore(superblock: Superblock, other: Superblock): bool {
  return superblock.storeIdLow == other.storeIdLow && superblock.storeIdHigh == other.storeIdHigh;
}

/** Of one number there may be two, where a successor took over from an opener that was just writing. */
function isNewer(superblock: Superblock, than: Superblock): bool {
  if (superblock.generation != than.generation) return superblock.generation > than.generation;
  return superblock.epoch > than.epoch;
}

/**
 * BLANK when the device's first MiB is zero, and so is every place in the next 64 MiB where a segment can begin: a store
 * that lost its superblocks is CORRUPT, and anything else NOT_A_STORE.
 */
function restIsZero(size: u64): i32 {
  for (let offset: u64 = 0; offset + BLOCK_SIZE <= min<u64>(size, SEGMENTS_OFFSET + SEARCHED); ) {
    const status = deviceRead(offset, SUPERBLOCK_B, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!blockIsZero(SUPERBLOCK_B)) {
      const isSegment = offset >= SEGMENTS_OFFSET && segmentHeaderValid(SUPERBLOCK_B);
      return isSegment ? corruptAt(0) : Status.NOT_A_STORE;
    }
    offset += offset < SEGMENTS_OFFSET ? BLOCK_SIZE : (<u64>SEGMENT_BLOCKS_MIN) << BLOCK_SIZE_LOG2;
  }
  return Probe.BLANK;
}
