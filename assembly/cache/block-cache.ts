/**
 * The block cache: verified 4 KiB frames of the device, replaced under CLOCK (second chance), with a share for scans.
 *
 * A frame belongs to one life of one segment: the block's own header says which, so a frame of a former life is a miss
 * and is dropped when met. Frames come from the chunk pool as they are needed, sixteen a chunk, up to the capacity;
 * when the pool is short the cache makes do with what it has, and gives frames back before anything else is refused.
 *
 * ```
 * table      open addressing, u32 frame index + 1, at most half full
 * frame info 16 bytes: u32 device block, u8 used, u8 state, u16 unused, u32 pins, u32 slot in the probation ring + 1
 * ring       probation: u32 frame index + 1, a slot for each frame of the share
 * ```
 *
 * Invariants:
 * 1. A frame earns its second chance by being found a second time: the read that brought it in does not count.
 * 2. Once the cache is full, blocks that a scan brings in take turns in the slots of the probation ring, an eighth of the
 *    frames. One that a single read finds leaves the ring and competes with all others. So a scan of any length costs the
 *    others an eighth of the frames, once.
 * 3. A frame that is pinned is given to no other block; at most half of the frames, and PINNED_MAX, are pinned, so that a
 *    read always finds one. The frame of a read in flight is pinned, and nobody but the device touches its bytes.
 */
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { CHUNK_SIZE, chunkGive, chunksAvailable, chunkTake, chunkTakeRun } from "../memory/chunks";
import { root } from "../root";

const FRAMES_PER_CHUNK_LOG2: u32 = 4;
const CHUNKS_KEPT: u32 = 64;
const NO_BLOCK: u32 = 0xffffffff;
const INFO_SIZE_LOG2: u32 = 4;
const USED: usize = 4;
const STATE: usize = 5;
const PINS: usize = 8;
const SLOT: usize = 12;
/** The least capacity: what a cache has even where the pool is short later. */
export const FRAMES_MIN: u32 = 64;
/** More reads in flight are of no use to any device. */
const PINNED_MAX: u32 = 512;
const RING_SHARE_LOG2: u32 = 3;
const RING_MIN: u32 = 16;
/** Slots of the ring that a claim passes when their frames are pinned. */
const RING_TRIES: u32 = 8;

/** States of a frame. */
namespace FrameState {
  export const SETTLED: u8 = 0;
  export const IN_FLIGHT: u8 = 1;
}

/** Who reads: what finding a block, and bringing one in, does to its standing. */
export namespace CacheMode {
  export const SINGLE: u32 = 0;
  /** One of many blocks that are hardly read again soon. */
  export const SCAN: u32 = 1;
  /** Added by a read whose blocks were counted, and brought in, when it was planned. */
  export const PLANNED: u32 = 2;
}

/**
 * Sets up a cache of at most `capacity` frames, FRAMES_MIN at least. Takes about 25 bytes a frame at once. False when they
 * do not fit.
 */
export function cacheInitialize(capacity: u32): bool {
  let slots: u32 = 1024;
  while (slots < capacity << 1) slots <<= 1;
  const tableSize = slots << 2;
  const infoSize = capacity << INFO_SIZE_LOG2;
  const pointersSize = ((capacity >>> FRAMES_PER_CHUNK_LOG2) + 1) << 2;
  const ringSlots = max(RING_MIN, capacity >>> RING_SHARE_LOG2);
  const size = tableSize + infoSize + pointersSize + (ringSlots << 2);
  const table = chunkTakeRun((size + <u32>CHUNK_SIZE - 1) / <u32>CHUNK_SIZE);
  if (!table) return false;
  root.cacheTable = <u32>table;
  root.cacheTableMask = slots - 1;
  root.cacheInfo = <u32>(table + tableSize);
  root.cachePointers = <u32>(table + tableSize + infoSize);
  root.cacheRing = <u32>(table + tableSize + infoSize + pointersSize);
  root.cacheRingSlots = ringSlots;
  root.cacheRingHand = 0;
  root.cacheCapacity = capacity;
  root.cacheFrameCount = 0;
  root.cacheHand = 0;
  root.cachePinned = 0;
  root.cacheMode = CacheMode.SINGLE;
  return true;
}

/** Takes first chunks of frames, so that a store whose memory is used up later still reads. False when there are none. */
export function cacheReserve(): bool {
  const reserved = min<u32>(root.cacheCapacity, FRAMES_MIN);
  while (root.cacheFrameCount < reserved) {
    if (!frameAdd()) return false;
  }
  return true;
}

/**
 * Makes sure that `count` chunks can be taken, giving frames back for them: false when not even that is enough. Frames of
 * the first FRAMES_MIN, and of a chunk in which one is pinned, stay.
 */
export function memoryEnsure(count: u32): bool {
  while (chunksAvailable() < count) {
    if (!framesGive()) return false;
  }
  return true;
}

/** Gives the last chunk of frames back. */
function framesGive(): bool {
  const count = root.cacheFrameCount;
  if (count <= FRAMES_MIN) return false;
  const from = (count - 1) & ~((1 << FRAMES_PER_CHUNK_LOG2) - 1);
  if (from < FRAMES_MIN) return false;
  for (let frame = from; frame < count; frame++) if (load<u32>(infoOf(frame), PINS)) return false;
  for (let frame = from; frame < count; frame++) cacheDrop(frame + 1);
  root.cacheFrameCount = from;
  if (root.cacheHand >= from) root.cacheHand = 0;
  chunkGive(framePointer(from));
  return true;
}

/** The frame that holds a device block in this life of its segment, or 0. Counts a hit or a miss. */
export function cacheFind(deviceBlock: u32, generation: u64): usize {
  const claim = cachePeek(deviceBlock, generation);
  const mode = root.cacheMode;
  if (!claim) {
    root.cacheMisses++;
    return 0;
  }
  if (!(mode & CacheMode.PLANNED)) {
    root.cacheHits++;
    if (mode == CacheMode.SINGLE) {
      const info = infoOf(claim - 1);
      store<u8>(info, 1, USED);
      if (load<u32>(info, SLOT)) ringLeave(info);
    }
  }
  return framePointer(claim - 1);
}

/** Counts what a plan found: blocks that are there, and blocks that it brings in. */
export function cacheCount(hits: u32, misses: u32): void {
  root.cacheHits += hits;
  root.cacheMisses += misses;
}

/** The claim on the frame that holds a device block in this life of its segment, or 0. Changes and counts nothing. */
export function cachePeek(deviceBlock: u32, generation: u64): u32 {
  const claim = find(deviceBlock);
  if (!claim || load<u8>(infoOf(claim - 1), STATE) != FrameState.SETTLED) return 0;
  return load<u64>(framePointer(claim - 1), 16) == generation ? claim : 0;
}

/** The claim on the frame that a read of the block is in flight into, or 0. */
export function cacheInFlight(deviceBlock: u32): u32 {
  const claim = find(deviceBlock);
  return claim && load<u8>(infoOf(claim - 1), STATE) == FrameState.IN_FLIGHT ? claim : 0;
}

/**
 * A frame for a block that is about to be read: the caller fills it and then calls `cacheKeep`, or leaves it. An older
 * frame of the same block is the one that is given, unless a read into it is in flight. 0 when no frame is free.
 */
export function cacheClaim(deviceBlock: u32): u32 {
  const present = find(deviceBlock);
  if (present && load<u8>(infoOf(present - 1), STATE) == FrameState.SETTLED) return present;
  if (root.cacheFrameCount < root.cacheCapacity && frameAdd()) return root.cacheFrameCount;
  return root.cacheMode & CacheMode.SCAN ? evictScanned() : evict();
}

/** Enters the frame of a claim under its block, unless another frame waits for it. */
export function cacheKeep(claim: u32, deviceBlock: u32): void {
  const info = infoOf(claim - 1);
  store<u8>(info, 0, USED);
  if (load<u32>(info) == deviceBlock) return;
  if (find(deviceBlock)) return;
  store<u32>(info, deviceBlock);
  let slot = hashOf(deviceBlock);
  while (load<u32>(<usize>root.cacheTable + ((<usize>slot) << 2))) slot = (slot + 1) & root.cacheTableMask;
  store<u32>(<usize>root.cacheTable + ((<usize>slot) << 2), claim);
}

/** Drops the block of a claim, which turned out unreadable. The frame stays pinned if it was. */
export function cacheDrop(claim: u32): void {
  const info = infoOf(claim - 1);
  if (load<u32>(info) != NO_BLOCK) remove(load<u32>(info));
  store<u32>(info, NO_BLOCK);
  store<u8>(info, 0, USED);
  store<u8>(info, FrameState.SETTLED, STATE);
  if (load<u32>(info, SLOT)) ringLeave(info);
}

/** Where the frame of a claim lies. */
export function cacheFrame(claim: u32): usize {
  return framePointer(claim - 1);
}

/** The block of a claim, or 0xffffffff when it was dropped. */
export function cacheBlock(claim: u32): u32 {
  return load<u32>(infoOf(claim - 1));
}

/** Frames that may be pinned still. */
export function cachePinnable(): u32 {
  const limit = min(half(), PINNED_MAX);
  return limit > root.cachePinned ? limit - root.cachePinned : 0;
}

/** Pins the frame of a claim: until it is unpinned as often, no other block gets it. */
export function cachePin(claim: u32): void {
  const info = infoOf(claim - 1);
  const pins = load<u32>(info, PINS);
  if (!pins) root.cachePinned++;
  store<u32>(info, pins + 1, PINS);
}

/** Takes a pin back. */
export function cacheUnpin(claim: u32): void {
  const info = infoOf(claim - 1);
  const pins = load<u32>(info, PINS);
  assert(pins > 0);
  if (pins == 1) root.cachePinned--;
  store<u32>(info, pins - 1, PINS);
}

/** Enters a pinned claim under its block, whose read is in flight from now on. */
export function cacheFlightBegin(claim: u32, deviceBlock: u32): void {
  cacheKeep(claim, deviceBlock);
  store<u8>(infoOf(claim - 1), FrameState.IN_FLIGHT, STATE);
}

/** The read into the frame of a claim has landed well. */
export function cacheFlightEnd(claim: u32): void {
  store<u8>(infoOf(claim - 1), FrameState.SETTLED, STATE);
}

/** Frames that a scan may fill without losing the first of them. */
export function cacheScanShare(): u32 {
  return min(root.cacheRingSlots, half());
}

/** Half of the frames, those included that may still be added. */
function half(): u32 {
  const grows = root.cacheFrameCount < root.cacheCapacity && chunksAvailable() > CHUNKS_KEPT;
  return (grows ? root.cacheCapacity : root.cacheFrameCount) >>> 1;
}

function framePointer(frame: u32): usize {
  const chunk = <usize>load<u32>(<usize>root.cachePointers + ((<usize>(frame >>> FRAMES_PER_CHUNK_LOG2)) << 2));
  return chunk + ((<usize>(frame & ((1 << FRAMES_PER_CHUNK_LOG2) - 1))) << BLOCK_SIZE_LOG2);
}

function infoOf(frame: u32): usize {
  return <usize>root.cacheInfo + ((<usize>frame) << INFO_SIZE_LOG2);
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
  const info = infoOf(frame);
  store<u64>(info, <u64>NO_BLOCK);
  store<u64>(info, 0, PINS);
  root.cacheFrameCount = frame + 1;
  return true;
}

/** Frees the first frame that was not used since the hand passed: its claim. 0 when all are pinned. Two rounds at most. */
function evict(): u32 {
  const count = root.cacheFrameCount;
  for (let i: u32 = 0; i < count << 1; i++) {
    const frame = root.cacheHand;
    root.cacheHand = frame + 1 == count ? 0 : frame + 1;
    const info = infoOf(frame);
    if (load<u32>(info, PINS)) continue;
    if (load<u8>(info, USED)) {
      store<u8>(info, 0, USED);
      continue;
    }
    cacheDrop(frame + 1);
    return frame + 1;
  }
  return 0;
}

/** Frees the frame that has been longest in the ring, and puts it there anew: its claim. An empty slot takes one of the others. */
function evictScanned(): u32 {
  for (let i: u32 = 0; i < RING_TRIES; i++) {
    const slot = root.cacheRingHand;
    root.cacheRingHand = slot + 1 == root.cacheRingSlots ? 0 : slot + 1;
    const entry = <usize>root.cacheRing + ((<usize>slot) << 2);
    let claim = load<u32>(entry);
    if (claim) {
      if (load<u32>(infoOf(claim - 1), PINS)) continue;
      cacheDrop(claim);
    } else {
      claim = evict();
      if (!claim) return 0;
    }
    store<u32>(entry, claim);
    store<u32>(infoOf(claim - 1), slot + 1, SLOT);
    return claim;
  }
  return evict();
}

function ringLeave(info: usize): void {
  const slot = load<u32>(info, SLOT);
  store<u32>(<usize>root.cacheRing + ((<usize>(slot - 1)) << 2), 0);
  store<u32>(info, 0, SLOT);
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
