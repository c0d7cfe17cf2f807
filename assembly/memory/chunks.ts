/**
 * The chunk pool: linear memory behind the fixed areas, given out in chunks of 64 KiB, aligned to their size.
 *
 * Fresh chunks are zero (the memory never grows, and nothing was there before); returned ones hold what they held.
 * A free chunk's first word links to the next free one.
 */
import { root } from "../root";

export const CHUNK_SIZE: usize = 65536;
export const CHUNK_MASK: usize = CHUNK_SIZE - 1;

/** Sets the pool to [start, end); `start` is rounded up to a chunk, `end` down. Too little for one is an empty pool. */
export function chunksInitialize(start: usize, end: usize): void {
  const first = (start + CHUNK_MASK) & ~CHUNK_MASK;
  root.poolStart = <u32>first;
  root.poolEnd = <u32>max(first, end & ~CHUNK_MASK);
  root.chunkFresh = <u32>first;
  root.chunkFree = 0;
  root.chunkFreeCount = 0;
  root.chunkUsedCount = 0;
}

/** Takes a chunk: its pointer, or 0 when the memory is used up. Contents are undefined. O(1). */
export function chunkTake(): usize {
  const free = <usize>root.chunkFree;
  if (free) {
    root.chunkFree = load<u32>(free);
    root.chunkFreeCount--;
    root.chunkUsedCount++;
    return free;
  }
  const fresh = <usize>root.chunkFresh;
  if (fresh >= <usize>root.poolEnd) return 0;
  root.chunkFresh = <u32>(fresh + CHUNK_SIZE);
  root.chunkUsedCount++;
  return fresh;
}

/** Takes `count` chunks that lie side by side, from fresh memory only: their pointer, or 0. Contents are zero. */
export function chunkTakeRun(count: u32): usize {
  const fresh = <usize>root.chunkFresh;
  if (<u64>count * CHUNK_SIZE > <u64>(<usize>root.poolEnd - fresh)) return 0;
  root.chunkFresh = <u32>(fresh + <usize>count * CHUNK_SIZE);
  root.chunkUsedCount += count;
  return fresh;
}

/** Gives a chunk back. O(1). */
export function chunkGive(chunk: usize): void {
  store<u32>(chunk, root.chunkFree);
  root.chunkFree = <u32>chunk;
  root.chunkFreeCount++;
  root.chunkUsedCount--;
}

/** Whether `size` bytes at `pointer` lie in memory that was given out. Whoever holds a pointer knows; `verify` asks. */
export function chunksHold(pointer: usize, size: u32): bool {
  const end = <usize>root.chunkFresh;
  return pointer >= <usize>root.poolStart && pointer < end && <usize>size <= end - pointer;
}

/** Chunks that can still be taken. */
export function chunksAvailable(): u32 {
  return root.chunkFreeCount + (root.poolEnd - root.chunkFresh) / <u32>CHUNK_SIZE;
}
