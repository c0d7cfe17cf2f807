/**
 * Comparing and copying bytes a word at a time.
 *
 * Keys that the engine holds, and the keys of the exchange area, are zero-padded to the next multiple of 8 bytes, so
 * whole words can be compared without a mask: equal words up to the shorter length, then the lengths decide. Zero
 * padding keeps the order of `memcmp` because a key that ends early sorts before every longer one with the same start.
 */

/** Rounds `size` up to a multiple of 8. */
export function pad8(size: u32): u32 {
  return (size + 7) & ~7;
}

/** Reads 8 bytes as a big-endian number, so that numbers compare as the bytes do. One shuffle: WASM has no swap. */
export function loadBigEndian(pointer: usize): u64 {
  const word = v128.load64_zero(pointer);
  return v128.extract_lane<u64>(v128.shuffle<u8>(word, word, 7, 6, 5, 4, 3, 2, 1, 0, 8, 8, 8, 8, 8, 8, 8, 8), 0);
}

/** Whether two padded keys of the same size hold the same bytes. */
export function keyEquals(a: usize, b: usize, size: u32): bool {
  for (const end = a + size; a < end; a += 8, b += 8) {
    if (load<u64>(a) != load<u64>(b)) return false;
  }
  return true;
}

/** Order of two padded keys: below zero, zero or above zero. */
export function compareKeys(a: usize, aSize: u32, b: usize, bSize: u32): i32 {
  const size = min(aSize, bSize);
  for (let i: u32 = 0; i < size; i += 8) {
    const x = load<u64>(a + i);
    const y = load<u64>(b + i);
    if (x != y) return bswap<u64>(x) < bswap<u64>(y) ? -1 : 1;
  }
  return aSize < bSize ? -1 : aSize > bSize ? 1 : 0;
}

/** Number of leading bytes that two padded keys share, at most `size`. */
export function commonPrefix(a: usize, b: usize, size: u32): u32 {
  let i: u32 = 0;
  while (i < size) {
    const difference = load<u64>(a + i) ^ load<u64>(b + i);
    if (difference) return min(size, i + (<u32>ctz(difference) >>> 3));
    i += 8;
  }
  return size;
}

/** Whether `size` bytes differ nowhere; the ends need no padding. */
export function bytesEqual(a: usize, b: usize, size: u32): bool {
  let i: u32 = 0;
  for (; i + 8 <= size; i += 8) {
    if (load<u64>(a + i) != load<u64>(b + i)) return false;
  }
  for (; i < size; i++) {
    if (load<u8>(a + i) != load<u8>(b + i)) return false;
  }
  return true;
}

/**
 * Copies `size` bytes rounded up to a multiple of 8: both sides must have room for the padding. Below 256 bytes a
 * word loop beats the engine's `memory.copy`, which is a call.
 */
export function copyWords(target: usize, source: usize, size: u32): void {
  if (size > 256) {
    memory.copy(target, source, (size + 7) & ~7);
    return;
  }
  let i: u32 = 0;
  for (; i + 16 <= size; i += 16) v128.store(target + i, v128.load(source + i));
  for (; i < size; i += 8) store<u64>(target + i, load<u64>(source + i));
}

/** Copies exactly `size` bytes between places that do not overlap. */
export function copyBytes(target: usize, source: usize, size: u32): void {
  if (size > 256) {
    memory.copy(target, source, size);
    return;
  }
  let i: u32 = 0;
  for (; i + 16 <= size; i += 16) v128.store(target + i, v128.load(source + i));
  for (; i + 8 <= size; i += 8) store<u64>(target + i, load<u64>(source + i));
  for (; i < size; i++) store<u8>(target + i, load<u8>(source + i));
}
