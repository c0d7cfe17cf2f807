/**
 * Both indexes against each other, against the log, and each in itself. The ordered index is walked in the order of the
 * keys, the hash index bucket by bucket: each finds every key of the other, so they hold the same.
 *
 * A step changes nothing and nothing changes within one. Between two, the store may be written to: the walk goes on
 * behind the last key that it had, and totals are compared only when nothing was written at all.
 */
import { compareKeys, copyWords } from "../bytes/compare";
import { tickMs } from "../device/device";
import { hashCollect, hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags, storedSizeOf, VERSION_HEADER_SIZE } from "../index/key-node";
import { SeekMode, treeFirst, treeNext, treeSeek } from "../index/tree-cursor";
import { TreeNode } from "../index/tree-node";
import { descend, pathIndex, pathNode } from "../index/tree-path";
import { treeNodeFault } from "../index/tree-verify";
import { CHUNK_SIZE } from "../memory/chunks";
import { root } from "../root";
import { keptCount } from "./checkpoints";
import { candidateProve } from "./proof";
import { descendSound, keyNodeIsSound, leafIsSound, pointerIsSound } from "./sound";
import {
  bufferBlock,
  Fault,
  fault,
  Total,
  TreeTrouble,
  VerifyPhase,
  VerifyState,
  verifyState,
  walkKeyAt,
} from "./state";
import { valuesProve } from "./values";

/** Keys between two looks at the clock. */
const KEYS_PER_LOOK: u32 = 64;
/** Chains between two looks at the clock, where only they are walked. */
const CHAINS_PER_LOOK: u32 = 4096;
/** How much longer than the index a walk may be while the store is written to. */
const WALK_SLACK: u32 = 1 << 20;

/**
 * Walks the chains of the hash index, which everything else is looked up by, until `deadline` (tickMs) or their end: whether they
 * can be followed, as far as it came. When not, that was told.
 */
export function chainsProve(state: VerifyState, deadline: u64): bool {
  const slots = bufferBlock(0);
  const capacity = <u32>(CHUNK_SIZE >> 2);
  const first = state.bucket;
  for (; state.bucket < root.hashBucketCount; state.bucket++) {
    const looks = !(state.bucket & (CHAINS_PER_LOOK - 1)) && state.bucket != first;
    if (looks && tickMs() >= deadline) return true;
    const count = hashCollect(state.bucket, slots, capacity);
    let sound: bool = count >= 0 && <u32>count <= capacity;
    for (let i: i32 = 0; sound && i < count; i++) {
      sound = pointerIsSound(<usize>load<u32>(<usize>load<u32>(slots + ((<usize>i) << 2))));
    }
    if (!sound) {
      fault(Fault.HASH_INDEX, -1, 0, 0, 0, 0);
      return false;
    }
  }
  state.bucket = 0;
  state.chainsProven = 1;
  return true;
}

/** Walks the ordered index until `deadline` (tickMs) or its end. */
export function orderedStep(deadline: u64): void {
  const state = verifyState();
  if (!state.walkEntries) walkBegin(state);
  if (state.valueOpen && !valuesGoOn(state, deadline)) return;
  if (walk(state, deadline)) state.phase = VerifyPhase.HASH_INDEX;
}

/** Walks on: whether the end was reached, or a place from where there is no going on. */
function walk(state: VerifyState, deadline: u64): bool {
  let before: usize = 0;
  let leaf: u32 = 0;
  // Behind the key that the last step ended with; its leaf was looked at then, unless this is another.
  const start = state.walkKeySize ? descendSound(walkKeyAt(), state.walkKeySize) : <usize>root.treeLeafFirst;
  if (!enters(state, start)) return true;
  let node = state.walkKeySize ? treeSeek(walkKeyAt(), state.walkKeySize, SeekMode.GT) : treeFirst();
  if (root.treePositionIndex) leaf = root.treePositionLeaf;
  for (let count: u32 = 0; node; count++) {
    if (count == KEYS_PER_LOOK) {
      count = 0;
      if (tickMs() >= deadline) {
        walkLeave(state, changetype<KeyNode>(before));
        return false;
      }
    }
    if (root.treePositionLeaf != leaf) {
      leaf = root.treePositionLeaf;
      if (!leafProve(state, changetype<TreeNode>(<usize>leaf), before)) return true;
    }
    state.walkEntries++;
    if (walkIsEndless(state)) {
      unsound(TreeTrouble.ENDLESS, 0);
      return true;
    }
    nodeProve(state, changetype<KeyNode>(node));
    if (state.valueOpen) {
      state.valueSequence = u64.MAX_VALUE;
      if (!valuesProve(state, changetype<KeyNode>(node), deadline)) {
        walkLeave(state, changetype<KeyNode>(node));
        return false;
      }
      state.valueOpen = 0;
    }
    if (state.expired) return false;
    before = node;
    node = treeNext();
  }
  return true;
}

/** Whether a leaf, and the one behind it, can be looked at: nothing goes further before they are looked at in turn. */
function enters(state: VerifyState, leaf: usize): bool {
  if (leafIsSound(leaf)) {
    const next = <usize>changetype<TreeNode>(leaf).next;
    if (!next || leafIsSound(next)) return true;
  }
  state.treeSpoilt = 1;
  return unsound(TreeTrouble.POINTER, 0);
}

/** Walks the hash index until `deadline` (tickMs) or its end. */
export function hashStep(deadline: u64): void {
  const state = verifyState();
  const slots = bufferBlock(0);
  const capacity = <u32>(CHUNK_SIZE >> 2);
  const first = state.bucket;
  for (; state.bucket < root.hashBucketCount; state.bucket++) {
    // At least one bucket a step.
    const looks = !(state.bucket & (KEYS_PER_LOOK - 1)) && state.bucket != first;
    if (looks && tickMs() >= deadline) return;
    bucketProve(state, slots, capacity);
  }
  state.phase = VerifyPhase.SUMS;
}

/** Compares the totals, as far as they can be. */
export function indexSums(): void {
  const state = verifyState();
  total(Total.INDEXES, root.keyCount, root.treeEntryCount);
  state.keysProven = root.liveKeyCount;
  if (!isQuiet(state)) return;
  state.totalsCompared = 1;
  total(Total.ORDERED_ENTRIES, root.treeEntryCount, state.walkEntries);
  total(Total.HASH_ENTRIES, root.keyCount, state.hashEntries);
  total(Total.KEYS, root.liveKeyCount, state.walkKeyCount);
  total(Total.KEY_BYTES, root.keyBytes, state.walkKeyBytes);
  total(Total.VALUE_BYTES, root.valueBytes, state.walkValueBytes);
  total(Total.COMPRESSED_SAVED, root.compressedSaved, state.walkCompressedSaved);
  total(Total.EXPIRING, root.expiringCount, state.walkExpiringCount);
}

/** Notes a total that is not what was counted. */
export function total(which: u32, kept: u64, counted: u64): void {
  if (kept != counted) fault(Fault.TOTAL, -1, which, <f64>kept - <f64>counted, 0, 0);
}

/** Leaves the walk at a key: it goes on behind it. */
function walkLeave(state: VerifyState, node: KeyNode): void {
  state.walkKeySize = node.keySize;
  copyWords(walkKeyAt(), node.key, node.keySize);
  store<u64>(walkKeyAt() + node.keySize, 0);
}

/** Goes on with the values of the key that the walk was left at, where it is still there. False at the deadline. */
function valuesGoOn(state: VerifyState, deadline: u64): bool {
  const keySize = state.walkKeySize;
  const slot = hashFind(walkKeyAt(), keySize, keyHash(walkKeyAt(), keySize, root.hashSeed));
  if (slot && !valuesProve(state, changetype<KeyNode>(<usize>load<u32>(slot)), deadline)) return false;
  state.valueOpen = 0;
  return true;
}

function walkBegin(state: VerifyState): void {
  state.walkSequence = root.sequence;
  state.walkTreeVersion = root.treeVersion;
  state.walkVersionCount = root.versionCount;
}

/** Whether nothing was written, and no older version freed, since the walks began. */
function isQuiet(state: VerifyState): bool {
  return (
    state.walkSequence == root.sequence &&
    state.walkTreeVersion == root.treeVersion &&
    state.walkVersionCount == root.versionCount
  );
}

function walkIsEndless(state: VerifyState): bool {
  if (state.walkEntries <= root.treeEntryCount) return false;
  return isQuiet(state) || state.walkEntries > (root.treeEntryCount << 1) + WALK_SLACK;
}

/** Proves a leaf, which can be looked at, and what leads to it. False when there is no going on from it. */
function leafProve(state: VerifyState, leaf: TreeNode, before: usize): bool {
  if (!enters(state, changetype<usize>(leaf))) return false;
  const count = <u32>leaf.count;
  const wrong = treeNodeFault(leaf, root.treeHeight - 1);
  const first = changetype<KeyNode>(leaf.keyNode(0));
  if (wrong) unsound(wrong, changetype<usize>(first));
  const last = changetype<KeyNode>(leaf.keyNode(count - 1));
  if (before) {
    const key = changetype<KeyNode>(before);
    if (compareKeys(key.key, key.keySize, first.key, first.keySize) >= 0) {
      unsound(TreeTrouble.SEARCH, changetype<usize>(first));
    }
  }
  if (!leads(state, last, leaf)) unsound(TreeTrouble.SEARCH, changetype<usize>(last));
  if (!leads(state, first, leaf)) {
    unsound(TreeTrouble.SEARCH, changetype<usize>(first));
    return true;
  }
  // An inner node is looked at where the walk enters it, by its first child.
  for (let depth = root.treeHeight - 1; depth > 0 && !pathIndex(depth - 1); depth--) {
    const innerWrong = treeNodeFault(pathNode(depth - 1), depth - 1);
    if (innerWrong) unsound(innerWrong, changetype<usize>(first));
  }
  return true;
}

/** Whether a search for a key leads to a leaf; when it does, the path is the one to it. */
function leads(state: VerifyState, key: KeyNode, leaf: TreeNode): bool {
  const found = descendSound(key.key, key.keySize);
  if (found == changetype<usize>(leaf)) return descend(key.key, key.keySize) == leaf;
  if (!leafIsSound(found)) state.treeSpoilt = 1;
  return false;
}

/** Proves a key: that the hash index finds it, and that its records are there. */
function nodeProve(state: VerifyState, node: KeyNode): void {
  const keySize = node.keySize;
  const key = node.key;
  if (!keySize) {
    fault(Fault.KEY_NODE, <f64>node.address, 0, 0, 0, 0);
    return;
  }
  const slot = hashFind(key, keySize, keyHash(key, keySize, root.hashSeed));
  if (!slot || <usize>load<u32>(slot) != changetype<usize>(node)) fault(Fault.HASH_INDEX, -1, 0, 0, key, keySize);
  if (node.flags & NodeFlags.DELETED) {
    if (!node.older) fault(Fault.KEY_NODE, <f64>node.address, 0, 0, key, keySize);
  } else {
    state.walkKeyCount++;
    state.walkKeyBytes += keySize;
    if (node.flags & NodeFlags.EXPIRY) state.walkExpiringCount++;
    state.walkValueBytes += node.valueSize;
    if (node.isCompressed) state.walkCompressedSaved += node.valueSize - storedSizeOf(node, node.body);
    keptCount(state, node);
    candidateProve(node, key, keySize, node.body);
  }
  let at = <usize>node.older;
  for (let hops: u32 = 0; at; hops++) {
    if (hops >= root.versionCount || !pointerIsSound(at)) {
      fault(Fault.KEY_NODE, <f64>node.address, 0, 0, key, keySize);
      return;
    }
    const version = changetype<KeyNode>(at);
    if (!(version.flags & NodeFlags.DELETED)) candidateProve(version, key, keySize, at + VERSION_HEADER_SIZE);
    at = version.older;
  }
}

/** Proves that the ordered index finds each key of a bucket. */
function bucketProve(state: VerifyState, slots: usize, capacity: u32): void {
  const count = hashCollect(state.bucket, slots, capacity);
  if (count < 0 || <u32>count > capacity) {
    fault(Fault.HASH_INDEX, -1, 0, 0, 0, 0);
    return;
  }
  state.hashEntries += <u32>count;
  for (let i: i32 = 0; i < count; i++) {
    const node = <usize>load<u32>(<usize>load<u32>(slots + ((<usize>i) << 2)));
    if (!keyNodeIsSound(node) || !changetype<KeyNode>(node).keySize) {
      fault(Fault.HASH_INDEX, -1, 0, 0, 0, 0);
      continue;
    }
    const key = changetype<KeyNode>(node).key;
    // An index that cannot be searched was told of.
    if (state.treeSpoilt) continue;
    if (treeSeek(key, changetype<KeyNode>(node).keySize, SeekMode.GE) != node) unsound(TreeTrouble.ABSENT, node);
  }
}

/** Notes a trouble of the ordered index, at a node's key. */
function unsound(what: u32, node: usize): bool {
  const key = node ? changetype<KeyNode>(node).key : 0;
  fault(Fault.ORDERED_INDEX, -1, what, 0, key, node ? changetype<KeyNode>(node).keySize : 0);
  return false;
}
