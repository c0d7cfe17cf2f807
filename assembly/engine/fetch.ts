/**
 * Bringing blocks of the log to where they can be read: from the write buffer, from the cache, else from the device.
 *
 * A block is verified once, when it comes from the device. Blocks that will be asked for next are read together with the
 * one that is missed: the rest of a value, the blocks of the entries that a walk gives next, and, once three neighbours
 * in a row were missed, those that follow. What is read ahead is advisory: what fails is left to the read that needs it.
 */
import {
  CacheMode,
  cacheClaim,
  cacheCount,
  cacheDrop,
  cacheFind,
  cacheFrame,
  cacheInFlight,
  cacheKeep,
  cachePeek,
  cachePin,
  cacheUnpin,
} from "../cache/block-cache";
import { deviceReadCold } from "../device/device";
import { BlockHeader, blockValid } from "../format/block";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { frameAtAddress } from "../log/append";
import { blockLookAgain } from "../log/beside";
import { segmentAt, segmentBlockOf, segmentOf } from "../log/segments";
import { CHUNK_SIZE } from "../memory/chunks";
import { RUN_CLAIMS, root } from "../root";
import { Status } from "../status";

/** Blocks that are read in one piece at most. */
export const RUN_BLOCKS_MAX: u32 = 16;

/**
 * The frame that holds the block at a device address: a pointer, valid until the next fetch, or a status below zero:
 * DEVICE_READ, DEVICE_SHRUNK, CORRUPT, SNAPSHOT_EXPIRED, OUT_OF_MEMORY. In memory: two to four misses; else one read of the device.
 */
export function blockFetch(address: u64): i64 {
  const resident = frameAtAddress(address);
  if (resident) return <i64>resident;
  const deviceBlock = <u32>(address >> BLOCK_SIZE_LOG2);
  const generation = segmentAt(segmentOf(address)).generation;
  const cached = cacheFind(deviceBlock, generation);
  if (cached) return <i64>cached;
  if (!(root.cacheMode & CacheMode.PLANNED) && neighboursFetch(address, deviceBlock)) {
    const claim = cachePeek(deviceBlock, generation);
    if (claim) return <i64>cacheFrame(claim);
  }
  return blockRead(deviceBlock, generation);
}

/** Reads a block that is not in the cache: its frame, or a status. */
function blockRead(deviceBlock: u32, generation: u64): i64 {
  const claim = cacheClaim(deviceBlock);
  if (!claim) return Status.OUT_OF_MEMORY;
  const frame = cacheFrame(claim);
  const offset = (<u64>deviceBlock) << BLOCK_SIZE_LOG2;
  let status = deviceReadCold(offset, frame, <u32>BLOCK_SIZE);
  if (status == Status.OK && !blockIs(frame, deviceBlock, generation)) {
    status = Status.CORRUPT;
    root.faultOffset = offset;
  }
  if (root.readOnly && (status == Status.CORRUPT || status == Status.DEVICE_SHRUNK)) {
    status = blockLookAgain(offset, frame);
  }
  if (status < 0) {
    cacheDrop(claim);
    return status;
  }
  cacheKeep(claim, deviceBlock);
  return <i64>frame;
}

/** Whether a frame holds an intact block of this life of its segment. */
export function blockIs(frame: usize, deviceBlock: u32, generation: u64): bool {
  return blockValid(frame, deviceBlock) && changetype<BlockHeader>(frame).generation == generation;
}

/** Whether a block of a segment has to come from the device. */
export function blockIsCold(address: u64): bool {
  if (frameAtAddress(address)) return false;
  return !cachePeek(<u32>(address >> BLOCK_SIZE_LOG2), segmentAt(segmentOf(address)).generation);
}

/**
 * Reads up to `count` blocks from `address` on, neighbours within a segment, in one piece, as far as they are cold, and
 * enters them in the cache: how many were read. 0: fewer than two are cold, and nothing happens; -1: they cannot be read.
 */
export function runFetch(address: u64, count: u32): i32 {
  const limit = min(min(count, RUN_BLOCKS_MAX), root.segmentBlocks - segmentBlockOf(address));
  let run: u32 = 0;
  while (run < limit && blockIsCold(address + ((<u64>run) << BLOCK_SIZE_LOG2))) run++;
  if (run < 2) return 0;
  const first = <u32>(address >> BLOCK_SIZE_LOG2);
  const generation = segmentAt(segmentOf(address)).generation;
  const frames = runClaim(first, run);
  const bytes = frames ? frames : <usize>root.readStaging;
  const isRead = deviceReadCold(address, bytes, run << BLOCK_SIZE_LOG2) >= 0;
  for (let i: u32 = 0; i < run; i++) {
    const claim = load<u32>(RUN_CLAIMS + ((<usize>i) << 2));
    if (!claim) continue;
    cacheUnpin(claim);
    const block = bytes + ((<usize>i) << BLOCK_SIZE_LOG2);
    if (!isRead || !blockIs(block, first + i, generation)) {
      cacheDrop(claim);
      continue;
    }
    if (!frames) memory.copy(cacheFrame(claim), block, BLOCK_SIZE);
    cacheKeep(claim, first + i);
  }
  return isRead ? <i32>run : -1;
}

/**
 * Claims frames for a run, and pins them, so that none is claimed twice: where they lie when they are neighbours in their
 * order, so that they can be read into as one, else 0. A block that is in flight, or finds no frame, has no claim.
 */
function runClaim(first: u32, run: u32): usize {
  let frames: usize = 0;
  let areNeighbours = true;
  for (let i: u32 = 0; i < run; i++) {
    const claim = cacheInFlight(first + i) ? 0 : cacheClaim(first + i);
    store<u32>(RUN_CLAIMS + ((<usize>i) << 2), claim);
    if (!claim) {
      areNeighbours = false;
      continue;
    }
    cachePin(claim);
    const frame = cacheFrame(claim);
    if (!i) frames = frame;
    else if (frame != frames + ((<usize>i) << BLOCK_SIZE_LOG2)) areNeighbours = false;
  }
  return areNeighbours ? frames : 0;
}

/** Reads the blocks of a list, device blocks in ascending order, neighbours together. Counts them as missed. */
export function blocksFetch(list: usize, count: u32): void {
  cacheCount(0, count);
  let i: u32 = 0;
  while (i < count) {
    const first = load<u32>(list + ((<usize>i) << 2));
    let run: u32 = 1;
    while (i + run < count && run < RUN_BLOCKS_MAX && load<u32>(list + ((<usize>(i + run)) << 2)) == first + run) run++;
    const address = (<u64>first) << BLOCK_SIZE_LOG2;
    const read = run > 1 ? runFetch(address, run) : 0;
    if (!read && blockIsCold(address)) blockRead(first, segmentAt(segmentOf(address)).generation);
    // What cannot be read is not read again before somebody needs it.
    i += read < 0 ? run : max<u32>(read, 1);
  }
}

/** A block was missed. When its neighbours were missed before it, it is read with those that follow: whether it was. */
function neighboursFetch(address: u64, deviceBlock: u32): bool {
  const follows = deviceBlock == root.readLast + 1;
  root.readLast = deviceBlock;
  root.readRun = follows ? min(max<u32>(1, root.readRun << 1), RUN_BLOCKS_MAX) : 0;
  if (root.readRun < 2) return false;
  const mode = root.cacheMode;
  root.cacheMode = CacheMode.SCAN;
  const read = runFetch(address, root.readRun);
  root.cacheMode = mode;
  if (read <= 0) return false;
  root.readLast = deviceBlock + read - 1;
  root.readAheadBlocks += read - 1;
  return true;
}

if ((<usize>RUN_BLOCKS_MAX) << BLOCK_SIZE_LOG2 > CHUNK_SIZE) ERROR("the staging area is a chunk");
