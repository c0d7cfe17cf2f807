/**
 * Entry of the units binary: inner functions, for unit tests and micro-benchmarks alone. The engine's own entry is
 * index.ts; nothing imports this file.
 */

import { identityOf, KeyNode, nodeSetKey, nodeSizeOf, placeOf } from "./index/key-node";
import { treeInsert, treeRemove } from "./index/ordered-index";
import { treeCollectForward, treeFirst, treeSeek } from "./index/tree-cursor";
import { chunkGive, chunksInitialize, chunkTake } from "./memory/chunks";
import { slabClassOf, slabGive, slabInitialize, slabTake } from "./memory/slab";
import { KEY_A, root } from "./root";

export {
  treeBytes,
  treeInitialize,
  treeInsert,
  treeRemove,
  treeReplace,
  treeReserve,
} from "./index/ordered-index";
export {
  treeCollectBackward,
  treeCollectForward,
  treeFirst,
  treeLast,
  treeNext,
  treePrevious,
  treeSeek,
} from "./index/tree-cursor";
export { treeVerify } from "./index/tree-verify";
export { chunksAvailable } from "./memory/chunks";

/** Sets up chunks and slabs over [start, end). */
export function memoryInitialize(start: usize, end: usize): void {
  chunksInitialize(start, end);
  slabInitialize();
}

/** A key node of the key in KEY_A, which is padded, or 0. */
export function keyNodeTake(size: u32): usize {
  const sizeClass = slabClassOf(nodeSizeOf(size, 0));
  const node = changetype<KeyNode>(slabTake(sizeClass));
  if (!changetype<usize>(node)) return 0;
  node.place = placeOf(0, sizeClass, 0);
  node.identity = identityOf(0, size);
  node.valueSize = 0;
  node.older = 0;
  nodeSetKey(node, KEY_A, size);
  return changetype<usize>(node);
}

export function keyNodeGive(node: usize): void {
  slabGive(node);
}

/** Chunks and slab items taken on purpose, to make memory short. */
export { chunkGive, chunkTake };

export function chunksUsed(): u32 {
  return root.chunkUsedCount;
}
export function treeNodeCount(): u32 {
  return root.treeNodeCount;
}
export function treeHeight(): u32 {
  return root.treeHeight;
}
export function treeVersion(): u32 {
  return root.treeVersion;
}
export function treeSeparatorBytes(): u32 {
  return root.treeSeparatorBytes;
}
export function treePositionLeaf(): u32 {
  return root.treePositionLeaf;
}
export function treePositionIndex(): u32 {
  return root.treePositionIndex;
}
export function treePositionSet(leaf: u32, index: u32): void {
  root.treePositionLeaf = leaf;
  root.treePositionIndex = index;
}
export function treeFingerForget(): void {
  root.treeFingerLeaf = 0;
}

/** Inserts the key nodes (u32) of a list in its order: how many inserts failed. */
export function treeInsertList(list: usize, count: u32): u32 {
  let failed: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (treeInsert(load<u32>(list + ((<usize>i) << 2)))) failed++;
  return failed;
}

/** Removes the key nodes (u32) of a list in its order: how many were absent. */
export function treeRemoveList(list: usize, count: u32): u32 {
  let absent: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (!treeRemove(load<u32>(list + ((<usize>i) << 2)))) absent++;
  return absent;
}

/** Seeks padded keys that lie `stride` bytes apart: how many were met. */
export function treeSeekList(keys: usize, stride: u32, size: u32, count: u32, mode: u32): u32 {
  let met: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (treeSeek(keys + <usize>i * stride, size, mode)) met++;
  return met;
}

/** Walks all entries in blocks of `block` key nodes, written to `out`: how many there are. */
export function treeWalk(out: usize, block: u32): u32 {
  treeFirst();
  let count: u32 = 0;
  let taken = block;
  while (taken == block) {
    taken = treeCollectForward(out, block, 0, 0);
    count += taken;
  }
  return count;
}
