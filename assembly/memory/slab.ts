/**
 * Slabs: items of one size class cut from chunks of 64 KiB.
 *
 * ```
 * state of a chunk, 32 bytes
 *   0  u32 class        4  u32 live items     8  u32 free list      12  u32 next unused offset
 *  16  u32 next state  20  u32 previous state 24  u32 item size
 * ```
 *
 * States stand in one table, not in their chunks: at the starts of chunks they would all fall into the same few sets of
 * every cache.
 *
 * Invariants: a chunk is in its class's list exactly when it has room; a chunk without live items goes back to the
 * pool, so memory follows what the store holds when sizes shift. Free items link through their first word.
 * Classes: steps of 8 bytes to 256, of 32 to 1,024, of 128 to 2,304, then by a third to double, up to a whole chunk.
 */
import { ROOT, Root, SLAB_CLASS_COUNT, SLAB_TABLE } from "../root";
import { CHUNK_SIZE, chunkGive, chunksAvailable, chunkTake } from "./chunks";

/** The largest item leaves a cache line of its chunk. */
const ITEM_MARGIN: u32 = 64;
const STATE_SIZE_LOG2: u32 = 5;
const CHUNK_SIZE_LOG2: u32 = 16;
/** Class lists live right behind the root view. */
const LISTS: usize = ROOT + 0x800;
export const SLAB_ITEM_SIZE_MAX: u32 = <u32>CHUNK_SIZE - ITEM_MARGIN;

@unmanaged
class SlabChunk {
  sizeClass: u32;
  live: u32;
  free: u32;
  fresh: u32;
  next: u32;
  previous: u32;
  itemSize: u32;
  reserved: u32;
}

if (offsetof<SlabChunk>() != 1 << STATE_SIZE_LOG2) ERROR("SlabChunk layout");

if (offsetof<Root>() > 0x800) ERROR("Root overlaps the slab lists");
if (ROOT + 0x800 + <usize>SLAB_CLASS_COUNT * 4 > 0x2000) ERROR("slab lists overlap the key exchange");

/** The class whose items hold `size` bytes; `size` is at most SLAB_ITEM_SIZE_MAX. */
export function slabClassOf(size: u32): u32 {
  if (size <= 256) return size <= 16 ? 0 : ((size + 7) >>> 3) - 2;
  if (size <= 1024) return 31 + ((size - 256 - 1) >>> 5);
  if (size <= 2304) return 55 + ((size - 1024 - 1) >>> 7);
  if (size <= 4064) return 65;
  if (size <= 5440) return 66;
  if (size <= 8176) return 67;
  if (size <= 10912) return 68;
  if (size <= 16368) return 69;
  if (size <= 21824) return 70;
  if (size <= 32736) return 71;
  return 72;
}

/** Bytes in an item of a class. */
export function slabClassSize(sizeClass: u32): u32 {
  if (sizeClass < 31) return (sizeClass + 2) << 3;
  if (sizeClass < 55) return 256 + ((sizeClass - 30) << 5);
  if (sizeClass < 65) return 1024 + ((sizeClass - 54) << 7);
  switch (sizeClass) {
    case 65:
      return 4064;
    case 66:
      return 5440;
    case 67:
      return 8176;
    case 68:
      return 10912;
    case 69:
      return 16368;
    case 70:
      return 21824;
    case 71:
      return 32736;
    default:
      return SLAB_ITEM_SIZE_MAX;
  }
}

/** An item of `sizeClass`: its pointer, 8-byte aligned with undefined contents, or 0 when memory is used up. O(1). */
export function slabTake(sizeClass: u32): usize {
  const list = LISTS + ((<usize>sizeClass) << 2);
  let chunk = changetype<SlabChunk>(<usize>load<u32>(list));
  if (!changetype<usize>(chunk)) {
    const fresh = chunkTake();
    if (!fresh) return 0;
    chunk = stateOf(fresh);
    chunk.sizeClass = sizeClass;
    chunk.live = 0;
    chunk.free = 0;
    chunk.fresh = 0;
    chunk.next = 0;
    chunk.previous = 0;
    chunk.itemSize = slabClassSize(sizeClass);
    store<u32>(list, <u32>changetype<usize>(chunk));
  }
  let item: usize = chunk.free;
  if (item) {
    chunk.free = load<u32>(item);
  } else {
    item = chunkOf(chunk) + chunk.fresh;
    chunk.fresh += chunk.itemSize;
  }
  chunk.live++;
  if (isFull(chunk)) {
    const next = chunk.next;
    store<u32>(list, next);
    if (next) changetype<SlabChunk>(<usize>next).previous = 0;
    chunk.next = 0;
  }
  return item;
}

/** Gives an item back; its chunk knows its class. O(1). */
export function slabGive(item: usize): void {
  const chunk = stateOf(item);
  const list = LISTS + ((<usize>chunk.sizeClass) << 2);
  const wasFull = isFull(chunk);
  store<u32>(item, chunk.free);
  chunk.free = <u32>item;
  chunk.live--;
  if (!chunk.live) {
    if (!wasFull) unlink(list, chunk);
    chunkGive(chunkOf(chunk));
  } else if (wasFull) {
    const next = load<u32>(list);
    chunk.next = next;
    chunk.previous = 0;
    if (next) changetype<SlabChunk>(<usize>next).previous = <u32>changetype<usize>(chunk);
    store<u32>(list, <u32>changetype<usize>(chunk));
  }
}

/** Whether `count` items of a class could be taken now, by a safe estimate. */
export function slabCanTake(sizeClass: u32, count: u32): bool {
  const perChunk = (<u32>CHUNK_SIZE - ITEM_MARGIN) / slabClassSize(sizeClass);
  const chunks = (count + perChunk - 1) / perChunk;
  if (chunks < chunksAvailable()) return true;
  if (count != 1) return false;
  return load<u32>(LISTS + ((<usize>sizeClass) << 2)) != 0;
}

/** Empties all lists; for a fresh pool. */
export function slabInitialize(): void {
  memory.fill(LISTS, 0, (<usize>SLAB_CLASS_COUNT) << 2);
}

/** The state of the chunk that an item lies in. */
function stateOf(item: usize): SlabChunk {
  return changetype<SlabChunk>(SLAB_TABLE + ((item >>> CHUNK_SIZE_LOG2) << STATE_SIZE_LOG2));
}

/** The chunk of a state. */
function chunkOf(state: SlabChunk): usize {
  return ((changetype<usize>(state) - SLAB_TABLE) >>> STATE_SIZE_LOG2) << CHUNK_SIZE_LOG2;
}

function isFull(chunk: SlabChunk): bool {
  return !chunk.free && chunk.fresh + chunk.itemSize > <u32>CHUNK_SIZE;
}

function unlink(list: usize, chunk: SlabChunk): void {
  if (chunk.previous) changetype<SlabChunk>(<usize>chunk.previous).next = chunk.next;
  else store<u32>(list, chunk.next);
  if (chunk.next) changetype<SlabChunk>(<usize>chunk.next).previous = chunk.previous;
}
