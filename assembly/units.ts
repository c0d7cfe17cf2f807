/**
 * Entry of the units binary: inner functions, for unit tests and micro-benchmarks alone. The engine's own entry is
 * index.ts; nothing imports this file.
 */

import { BlockHeader } from "./format/block";
import { Record } from "./format/record";
import { hashInitialize } from "./index/hash-index";
import { keyHash } from "./index/key-hash";
import { identityOf, KeyNode, nodeSetKey, nodeSizeOf, placeOf } from "./index/key-node";
import { treeInitialize, treeInsert, treeRemove } from "./index/ordered-index";
import { treeCollectForward, treeFirst, treeSeek } from "./index/tree-cursor";
import { BLOCK_SIZE_LOG2 } from "./limits";
import { logInitialize } from "./log/append";
import { segmentAt, segmentsEnsure, segmentsRecount } from "./log/segments";
import { superblockCommit } from "./log/superblock-store";
import { CHUNK_SIZE, chunkGive, chunksInitialize, chunkTake, chunkTakeRun } from "./memory/chunks";
import { SLAB_ITEM_SIZE_MAX, slabClassOf, slabGive, slabInitialize, slabTake } from "./memory/slab";
import { KEY_A, POOL, ROOT, Root, root, SLAB_CLASS_COUNT } from "./root";

export {
  bytesEqual,
  commonPrefix,
  compareKeys,
  copyBytes,
  copyWords,
  keyEquals,
  loadBigEndian,
  pad8,
} from "./bytes/compare";
export { lz4Compress, lz4Decompress } from "./bytes/lz4";
export { lz4Grow, lz4GrowBegin, lz4GrowEnd, lz4GrownSize } from "./bytes/lz4-growing";
export { xxh64 } from "./bytes/xxh64";
export {
  cacheClaim,
  cacheDrop,
  cacheFind,
  cacheFlightBegin,
  cacheFlightEnd,
  cacheFrame,
  cacheInFlight,
  cacheInitialize,
  cacheKeep,
  cachePeek,
  cachePin,
  cachePinnable,
  cacheScanShare,
  cacheUnpin,
} from "./cache/block-cache";
export { remove, set } from "./engine/dual";
export { laterApply } from "./engine/later";
export { blockCheck, blockValid } from "./format/block";
export { recordHeaderStore, recordKeyOffset } from "./format/record";
export { segmentHeaderValid } from "./format/segment";
export { superblockIntact, superblockSeal } from "./format/superblock";
export {
  extentAddress,
  extentCount,
  extentSet,
  extentSize,
  extentTableGive,
  extentTableTake,
} from "./index/extent-table";
export {
  hashBytes,
  hashCount,
  hashFind,
  hashInitialize,
  hashInsert,
  hashPeek,
  hashRemove,
  hashReserve,
} from "./index/hash-index";
export { keyHash } from "./index/key-hash";
export { nodeSizeOf } from "./index/key-node";
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
export {
  frameAtAddress,
  logAlign,
  logAppend,
  logAppendHead,
  logBytes,
  logReserve,
  logUpdateInPlace,
  logVoid,
  segmentRoom,
} from "./log/append";
export { flushSync, groupBegin, groupFinish, groupPending } from "./log/group";
export { liveAdd, tombstoneAdd } from "./log/segments";
export { noteHas, spaceSurvey } from "./log/space";
export { streamBegin, streamWrite } from "./log/stream";
export { superblockCommit } from "./log/superblock-store";
export { chunksAvailable, chunksInitialize, chunkTakeRun } from "./memory/chunks";
export { slabCanTake, slabClassOf, slabClassSize, slabGive, slabInitialize, slabTake } from "./memory/slab";
export { verifyBegin, verifyEnd, verifyFigure, verifyStep } from "./verify/verify";

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

export function slabClassCount(): u32 {
  return SLAB_CLASS_COUNT;
}
export function slabItemSizeMax(): u32 {
  return SLAB_ITEM_SIZE_MAX;
}

export function keyCount(): u32 {
  return root.keyCount;
}
export function hashBucketCount(): u32 {
  return root.hashBucketCount;
}
export function hashOverflowCount(): u32 {
  return root.hashOverflowCount;
}
export function hashChainLongest(): u32 {
  return root.hashChainLongest;
}

/** Hashes padded keys that lie `stride` bytes apart, whose sizes are a list of u32, to a list of u64. */
export function keyHashList(keys: usize, stride: u32, sizes: usize, count: u32, seed: u64, out: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u64>(out + ((<usize>i) << 3), keyHash(keys + <usize>i * stride, load<u32>(sizes + ((<usize>i) << 2)), seed));
  }
}

/** A key node whose packed words and key are as given, the key in KEY_A: for reading it back. 0 when memory is short. */
export function keyNodePack(
  address: u64,
  sizeClass: u32,
  flags: u32,
  sequence: u64,
  keySize: u32,
  bodySize: u32,
): usize {
  const node = changetype<KeyNode>(slabTake(slabClassOf(nodeSizeOf(keySize, bodySize))));
  if (!changetype<usize>(node)) return 0;
  node.place = placeOf(address, sizeClass, flags);
  node.identity = identityOf(sequence, keySize);
  nodeSetKey(node, KEY_A, keySize);
  return changetype<usize>(node);
}
export function keyNodeAddress(node: KeyNode): u64 {
  return node.address;
}
export function keyNodeSizeClass(node: KeyNode): u32 {
  return node.sizeClass;
}
export function keyNodeFlags(node: KeyNode): u32 {
  return node.flags;
}
export function keyNodeSequence(node: KeyNode): u64 {
  return node.sequence;
}
export function keyNodeKeySize(node: KeyNode): u32 {
  return node.keySize;
}
export function keyNodeKey(node: KeyNode): usize {
  return node.key;
}
export function keyNodeBody(node: KeyNode): usize {
  return node.body;
}

export function cacheFrameCount(): u32 {
  return root.cacheFrameCount;
}
export function cacheHits(): u64 {
  return root.cacheHits;
}
export function cacheMisses(): u64 {
  return root.cacheMisses;
}
export function cacheModeSet(mode: u32): void {
  root.cacheMode = mode;
}
/** Puts a frame's generation where the cache expects it, as a read of the block would. */
export function cacheFrameFill(frame: usize, deviceBlock: u64, generation: u64): void {
  const header = changetype<BlockHeader>(frame);
  header.deviceBlock = deviceBlock;
  header.generation = generation;
}

export function checkSeedSet(seed: u64): void {
  root.checkSeed = seed;
}
export function recordSequence(record: Record): u64 {
  return record.sequence;
}

/**
 * Sets up an empty log over a device: two segments of `segmentBlocks` blocks, a ring of `frameCount` frames, a flight
 * area of a quarter of it. The memory ends at `end`. False when it is too small.
 */
export function logSetUp(device: u32, end: usize, segmentBlocks: u32, frameCount: u32): bool {
  memory.fill(ROOT, 0, offsetof<Root>());
  memoryInitialize(POOL, end);
  const frames = chunkTakeRun((frameCount << BLOCK_SIZE_LOG2) / <u32>CHUNK_SIZE);
  root.flightCapacity = frameCount >>> 2;
  root.flightArea = <u32>(
    chunkTakeRun(((root.flightCapacity << BLOCK_SIZE_LOG2) + <u32>CHUNK_SIZE - 1) / <u32>CHUNK_SIZE)
  );
  root.device = device;
  root.deviceUncached = device;
  root.deviceCold = device;
  root.growable = 1;
  root.segmentBlocks = segmentBlocks;
  root.segmentSizeLog2 = ctz(segmentBlocks) + BLOCK_SIZE_LOG2;
  root.segmentCount = 2;
  root.allotmentEnd = 2;
  root.segmentOpenBlock = segmentBlocks;
  root.epoch = 1;
  root.group = (1 << 40) + 1;
  if (!frames || !root.flightArea || segmentsEnsure(2)) return false;
  segmentsRecount();
  logInitialize(frames, frameCount);
  return true;
}
export function groupNumber(): u64 {
  return root.group;
}
export function groupDirty(): u32 {
  return root.groupDirty;
}
/** As the engine does when the last byte of a streamed value is in. */
export function streamEnd(): void {
  root.streamActive = 0;
}
export function logSequenceSet(sequence: u64): void {
  root.sequence = sequence;
}

/** As in index.ts: where bytes of a read land. */
export function cabi_realloc(_old: usize, _oldSize: usize, _align: usize, _size: usize): usize {
  return root.wasiReadTarget;
}

/** Sets the field of the root view that a superblock keeps at `offset`. */
export function rootSetAt(offset: u32, value: u64): void {
  switch (offset) {
    case 20:
      root.engine = <u32>value;
      break;
    case 48:
      root.storeIdLow = value;
      break;
    case 56:
      root.storeIdHigh = value;
      break;
    case 64:
      root.hashSeed = value;
      break;
    case 80:
      root.epoch = <u32>value;
      break;
    case 84:
      root.segmentBlocks = <u32>value;
      break;
    case 88:
      root.segmentCount = <u32>value;
      break;
    case 92:
      root.allotmentEnd = <u32>value;
      break;
    case 96:
      root.allotmentStart = <u32>value;
      break;
    case 100:
      root.closed = <u32>value;
      break;
    case 104:
      root.sequenceCeiling = value;
      break;
    case 112:
      root.durableGroup = value;
      break;
    case 120:
      root.logEpoch = value;
      break;
    case 128:
      root.highestTimeMs = value;
      break;
    case 136:
      root.saltLow = value;
      break;
    case 144:
      root.saltHigh = value;
      break;
    case 152:
      root.droppedTombstones = value;
      break;
    default:
      unreachable();
  }
}

/** The engine over an empty log (`logSetUp`), with both indexes. False when the memory is too small. */
export function engineSetUp(): bool {
  root.sequenceCeiling = 1 << 24;
  root.superblockGeneration = 1;
  return hashInitialize() == 0 && treeInitialize() == 0 && superblockCommit() == 0 && superblockCommit() == 0;
}
export function resultPointer(): u32 {
  return root.resultPointer;
}
export function resultSize(): u32 {
  return root.resultSize;
}
export function treeLeafFirst(): u32 {
  return root.treeLeafFirst;
}
/** Sets a node's packed words, and a segment's live bytes, to what they should not be. */
export function keyNodeSet(node: KeyNode, address: u64, flags: u32, sequence: u64): void {
  node.place = placeOf(address, node.sizeClass, flags);
  node.identity = identityOf(sequence, node.keySize);
}
export function segmentLiveBytes(index: u32): u64 {
  return segmentAt(index).liveBytes;
}
export function segmentLiveBytesSet(index: u32, bytes: u64): void {
  segmentAt(index).liveBytes = bytes;
}
export function segmentFreeCountSet(count: u32): void {
  root.segmentFreeCount = count;
}
export function liveKeyCountSet(count: u32): void {
  root.liveKeyCount = count;
}
export function segmentSpace(index: u32): u32 {
  return segmentAt(index).space;
}
export function segmentCount(): u32 {
  return root.segmentCount;
}
