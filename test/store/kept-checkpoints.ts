/** Where the kept checkpoints of an image lie, and images whose checks hold over what nobody wrote. */
import { changeSuperblocks, FIELD, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

const MIB = 1_048_576;
const BLOCK = 4096;
/** Offset of a block's payload, and of the roots in a superblock. */
const PAYLOAD = 56;
const ROOTS = 176;
const ROOT_SIZE = 32;

/** The newest superblock of an image. */
export function newestSuperblock(image: Uint8Array): DataView {
  const copies = Array.from(
    { length: SUPERBLOCK_COPIES },
    (_, copy) => new DataView(image.buffer, image.byteOffset + copy * SUPERBLOCK_STRIDE, BLOCK),
  );
  return copies.reduce((best, view) =>
    view.getBigUint64(FIELD.generation, true) > best.getBigUint64(FIELD.generation, true) ? view : best,
  );
}

/** Offsets of the blocks of the kept checkpoints, of tiny segments: of the newer one, of the older one. */
export function checkpointBlocks(image: Uint8Array): [number[], number[]] {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const newest = newestSuperblock(image);
  const chain = (which: number): number[] => {
    const at = ROOTS + which * ROOT_SIZE;
    const offsets: number[] = [];
    let segment = newest.getUint32(at + 4, true);
    let last = newest.getUint16(at + 2, true);
    let generation = newest.getBigUint64(at + 8, true);
    while (generation !== 0n) {
      const start = MIB + segment * 16 * BLOCK;
      for (let block = last; block >= 0; block--) offsets.unshift(start + block * BLOCK);
      generation = view.getBigUint64(start + PAYLOAD + 16, true);
      segment = view.getUint32(start + PAYLOAD + 24, true);
      last = 15;
    }
    return offsets;
  };
  return [chain(0), chain(1)];
}

/** Bytes that the entries of a checkpoint's block have unpacked; 0 where they are not packed. */
export function packedSizeAt(image: Uint8Array, offset: number): number {
  return new DataView(image.buffer, image.byteOffset + offset + PAYLOAD, 8).getUint16(6, true);
}

/** The version that the summary of a checkpoint says, the last one of its blocks. */
export function versionOf(image: Uint8Array, blocks: readonly number[]): number {
  return new DataView(image.buffer, image.byteOffset + (blocks.at(-1) as number) + PAYLOAD, 8).getUint32(4, true);
}

/** Gives a block of a store with this superblock the check of its bytes: that check. */
export function sealBlock(block: DataView, superblock: DataView): bigint {
  const high = superblock.getBigUint64(56, true);
  const seed = superblock.getBigUint64(48, true) ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n));
  const check = xxh64(new Uint8Array(block.buffer, block.byteOffset + 16, BLOCK - 16), seed);
  block.setBigUint64(0, check, true);
  return check;
}

/**
 * Changes blocks of the newer checkpoint, and gives them, the summary and the superblocks the checks that belong to them: what
 * a bug, or somebody with bad intent, writes.
 */
export function forgeCheckpoint(image: Uint8Array, change: (blocks: DataView[], summary: DataView) => void): void {
  const [offsets] = checkpointBlocks(image);
  const views = offsets.map((offset) => new DataView(image.buffer, image.byteOffset + offset, BLOCK));
  const entries = views.filter((view) => (view.getUint16(42, true) & 2) === 0).slice(0, -1);
  const summary = views.at(-1) as DataView;
  change(entries, summary);
  const newest = newestSuperblock(image);
  const seal = (view: DataView): bigint => sealBlock(view, newest);
  let sum = 0n;
  for (const view of entries) sum = BigInt.asUintN(64, (sum << 9n) | (sum >> 55n)) ^ seal(view);
  summary.setBigUint64(PAYLOAD + 80, sum, true);
  const check = seal(summary);
  const generation = newest.getBigUint64(ROOTS + 8, true);
  changeSuperblocks(image, (superblock) => {
    for (const at of [ROOTS, ROOTS + ROOT_SIZE]) {
      if (superblock.getBigUint64(at + 8, true) === generation) superblock.setBigUint64(at + 24, check, true);
    }
  });
}
