/**
 * The block cache: verified 4 KiB frames of the device, replaced under CLOCK (second chance).
 *
 * A frame belongs to one life of one segment: the block's own header says which, so a frame of a former life is a miss
 * and is dropped when met. Frames come from the chunk pool as they are needed, sixteen a chunk, up to the capacity;
 * when the pool is short the cache makes do with what it has.
 *
 * ```
 * table      open addressing, u32 frame index + 1, at most half full
 * frame info 8 bytes: u32 device block, u32 1 when used since the hand passed
 * ```
 */
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { CHUNK_SIZE, chunksAvailable, chunkTake, chunkTakeRun } from "../memory/chunks";
import { root } from "../root";

const FRAMES_PER_CHUNK_LOG2: u32 = 4;
const CHUNKS_KEPT: u32 = 64;
const NO_BLOCK: u32 = 0xffffffff;

/** Sets up a cache of at most `capacity` frames. Takes about 16 bytes a frame at once. False when they do not fit. */
export function cacheInitialize(capacity: u32): bool {
  let slots: u32 = 1024;
  while (slots < capacity << 1) slots <<= 1;
  const tableSize = slots << 2;
  const infoSize = capacity << 3;
  const pointersSize = ((capacity >>> FRAMES_PER_CHUNK_LOG2) + 1) << 2;
  const chunks = (tableSize + infoSize + pointersSize + <u32>CHUNK_SIZE - 1) / <u32>CHUNK_SIZE;
  const table = chunkTakeRun(chunks);
  if (!table) return false;
  root.cacheTable = <u32>table;
  root.cacheTableMask = slots - 1;
  root.cacheInfo = <u32>(table + tableSize);
  root.cachePointers = <u32>(table + tableSize + infoSize);
  root.cacheCapacity = capacity;
  root.cacheFrameCount = 0;
  root.cacheHand = 0;
  return true;
}

/** Takes a first chunk of frames, so that a store whose memory is used up later still reads. False when there is none. */
export function cacheReserve(): bool {
  const reserved = min<u32>(root.cacheCapacity, 1 << FRAMES_PER_CHUNK_LOG2);
  while (root.cacheFrameCount < reserved) {
    if (!frameAdd()) return false;
  }
  return true;
}

/** The frame that holds a device block in this life of its segment, or 0. */
export function cacheFind(deviceBlock: u32, generation: u64): usize {
  let slot = hashOf(deviceBlock);
  while (true) {
    const entry = load<u32>(<usize>root.cacheTable + ((<usize>slot) << 2));
    if (!entry) break;
    const info = infoOf(entry - 1);
    if (load<u32>(info) == deviceBlock) {
      const frame = framePointer(entry - 1);
      if (load<u64>(frame, 16) != generation) break;
      store<u32>(info, 1, 4);
      root.cacheHits++;
      return frame;
    }
    slot = (slot + 1) & root.cacheTableMask;
  }
  root.cacheMisses++;
  return 0;
}

/**
 * A frame for a block that is about to be read: the caller fills it and then calls `cacheKeep`, or leaves it. An older
 * frame of the same block is the one that is given. 0 only when the cache has no frame at all.
 */
export function cacheClaim(deviceBlock: u32): u32 {
  const present = find(deviceBlock);
  if (present) return present;
  if (root.cacheFrameCount < root.cacheCapacity && frameAdd()) return root.cacheFrameCount;
  return evict();
}

/** Enters the frame of a claim under its block. */
export function cacheKeep(claim: u32, deviceBlock: u32): void {
  const info = infoOf(claim - 1);
  store<u32>(info, 1, 4);
  if (load<u32>(info) == deviceBlock) return;
  store<u32>(info, deviceBlock);
  let slot = hashOf(deviceBlock);
  while (load<u32>(<usize>root.cacheTable + ((<usize>slot) << 2))) slot = (slot + 1) & root.cacheTableMask;
  store<u32>(<usize>root.cacheTable + ((<usize>slot) << 2), claim);
}

/** Drops the frame of a claim whose block turned out unreadable. */
export function cacheDrop(claim: u32): void {
  const info = infoOf(claim - 1);
  if (load<u32>(info) != NO_BLOCK) remove(load<u32>(info));
  store<u64>(info, <u64>NO_BLOCK);
}

/** Where the frame of a claim lies. */
export function cacheFrame(claim: u32): usize {
  return framePointer(claim - 1);
}

function framePointer(frame: u32): usize {
  const chunk = <usize>load<u32>(<usize>root.cachePointers + ((<usize>(frame >>> FRAMES_PER_CHUNK_LOG2)) << 2));
  return chunk + ((<usize>(frame & ((1 << FRAMES_PER_CHUNK_LOG2) - 1))) << BLOCK_SIZE_LOG2);
}

function infoOf(frame: u32): usize {
  return <usize>root.cacheInfo + ((<usize>frame) << 3);
}

function hashOf(deviceBlock: u32): u32 {
  const mixed = deviceBlock * 0x9e3779b1;
  return (mixed ^ (mixed >>> 15)) & root.cacheTableMask;
}

function find(deviceBlock: u32): u32 {
  let slot = hashOf(deviceBlock);
  while (true) {
    const entry = load<u32>(<usize>root.cacheTable + ((<usize>slot) << 2));
    if (!entry || load<u32>(infoOf(entry - 1)) == deviceBlock) return entry;
    slot = (slot + 1) & root.cacheTableMask;
  }
}

/** Adds a frame. False when the pool keeps its last chunks for the indexes. */
function frameAdd(): bool {
  const frame = root.cacheFrameCount;
  if (!(frame & ((1 << FRAMES_PER_CHUNK_LOG2) - 1))) {
    if (chunksAvailable() <= CHUNKS_KEPT) return false;
    const chunk = chunkTake();
    if (!chunk) return false;
    store<u32>(<usize>root.cachePointers + ((<usize>(frame >>> FRAMES_PER_CHUNK_LOG2)) << 2), <u32>chunk);
  }
  store<u64>(infoOf(frame), <u64>NO_BLOCK);
  root.cacheFrameCount = frame + 1;
  return true;
}

/** Frees the first frame that was not used since the hand passed. At most two rounds. */
function evict(): u32 {
  const count = root.cacheFrameCount;
  if (!count) return 0;
  for (let i: u32 = 0; i <= count; i++) {
    const frame = root.cacheHand;
    root.cacheHand = frame + 1 == count ? 0 : frame + 1;
    const info = infoOf(frame);
    if (load<u32>(info, 4)) {
      store<u32>(info, 0, 4);
      continue;
    }
    cacheDrop(frame + 1);
    return frame + 1;
  }
  cacheDrop(root.cacheHand + 1);
  return root.cacheHand + 1;
}

/** Takes a block out of the table and closes the gap behind it. */
function remove(deviceBlock: u32): void {
  const table = <usize>root.cacheTable;
  const mask = root.cacheTableMask;
  let hole = hashOf(deviceBlock);
  while (true) {
    const entry = load<u32>(table + ((<usize>hole) << 2));
    if (!entry) return;
    if (load<u32>(infoOf(entry - 1)) == deviceBlock) break;
    hole = (hole + 1) & mask;
  }
  let next = (hole + 1) & mask;
  while (true) {
    const entry = load<u32>(table + ((<usize>next) << 2));
    if (!entry) break;
    const home = hashOf(load<u32>(infoOf(entry - 1)));
    // The entry may fill the hole unless its home lies behind it.
    if (((next - home) & mask) >= ((next - hole) & mask)) {
      store<u32>(table + ((<usize>hole) << 2), entry);
      hole = next;
    }
    next = (next + 1) & mask;
  }
  store<u32>(table + ((<usize>hole) << 2), 0);
}

if (BLOCK_SIZE << FRAMES_PER_CHUNK_LOG2 != CHUNK_SIZE) ERROR("frames do not fill a chunk");
