/** Superblocks as bytes, and XXH64 in JavaScript, so that tests can make what a newer version would have written. */

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
/** What the checks of superblocks are seeded with. */
export const CHECK_SEED = 0x636169726e2d7362n;
const BLOCK_SIZE = 4096;

/** Bytes between the copies, and how many there are. */
export const SUPERBLOCK_STRIDE = 256 * 1024;
export const SUPERBLOCK_COPIES = 4;

/** Fields by their offset; see assembly/format/superblock.ts. */
export const FIELD = {
  formatVersion: 16,
  engine: 20,
  incompatible: 24,
  readCompatible: 32,
  compatible: 40,
  generation: 72,
  epoch: 80,
  segmentBlocks: 84,
  segmentCount: 88,
  allotmentEnd: 92,
  sequenceCeiling: 104,
  featureName: 432,
  versionNeeded: 496,
} as const;

/** Changes every copy of the superblock in an image, each with its checksum. */
export function changeSuperblocks(image: Uint8Array, change: (superblock: DataView) => void): void {
  for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
    const bytes = image.subarray(copy * SUPERBLOCK_STRIDE, copy * SUPERBLOCK_STRIDE + BLOCK_SIZE);
    const view = new DataView(bytes.buffer, bytes.byteOffset, BLOCK_SIZE);
    change(view);
    view.setBigUint64(8, xxh64(bytes.subarray(16), CHECK_SEED), true);
  }
}

/** Puts ASCII text at an offset of a superblock. */
export function putText(superblock: DataView, offset: number, text: string): void {
  for (let i = 0; i < text.length; i++) superblock.setUint8(offset + i, text.charCodeAt(i));
}

/** XXH64 as published. */
export function xxh64(bytes: Uint8Array, seed: bigint): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let hash: bigint;
  if (bytes.length >= 32) {
    const lanes = [seed + P1 + P2, seed + P2, seed, seed - P1];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i] as bigint, view.getBigUint64(at + i * 8, true));
    }
    const [a, b, c, d] = lanes.map(wrap) as [bigint, bigint, bigint, bigint];
    hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
    for (const lane of [a, b, c, d]) hash = wrap((hash ^ round(0n, lane)) * P1 + P4);
  } else {
    hash = wrap(seed + P5);
  }
  hash = wrap(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8) {
    hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  }
  if (at + 4 <= bytes.length) {
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
    at += 4;
  }
  for (; at < bytes.length; at++) hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint8(at)) * P5), 11n) * P1);
  hash = wrap((hash ^ (hash >> 33n)) * P2);
  hash = wrap((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}

function round(lane: bigint, word: bigint): bigint {
  return wrap(rotate(wrap(lane + word * P2), 31n) * P1);
}

function rotate(value: bigint, bits: bigint): bigint {
  return wrap((value << bits) | (value >> (64n - bits)));
}

function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}
