/**
 * The ordered index: a B+tree over key nodes. Its leaves hold pointers to key nodes in the order of their keys.
 *
 * ```
 *                 inner node   s0 │ s1 │ s2           separators, owned by the tree
 *                 ┌──────────┘    │    └─────┐
 *   leaf  ⇄  leaf  ⇄  ...                  leaf       linked both ways
 *    │││      │││                           │││
 *   key nodes, owned by the engine
 * ```
 *
 * A separator is the shortest start of the first key at its right that is above the last key at its left when a leaf
 * splits; it stays when those keys go. Keys are compared by words of key nodes and separators, so a key node must
 * keep its bytes until `treeRemove` or `treeReplace` has taken it out.
 *
 * Invariants:
 * 1. An insert takes all the memory that it needs before it changes anything; a remove takes none.
 * 2. `treeVersion` changes with every insert and remove, since both move entries within a leaf at least.
 * 3. `treeFingerLeaf` is 0 or a leaf of the tree.
 * 4. A leaf or inner node that a remove brings below a quarter is merged with a sibling when both together fill at
 *    most three quarters: a merged node is far from the next split, a split one from the next merge.
 */
import { commonPrefix } from "../bytes/compare";
import { CHUNK_SIZE, chunksAvailable } from "../memory/chunks";
import { slabClassOf, slabClassSize, slabGive, slabTake } from "../memory/slab";
import { root } from "../root";
import { Status } from "../status";
import { KeyNode } from "./key-node";
import { innerMerge, innerPut, innerSplit, innerTake, leafMerge, leafPut, leafSplit, leafTake } from "./tree-entries";
import {
  FOUND,
  INNER_CAPACITY,
  LEAF_CAPACITY,
  leafHolds,
  leafSearch,
  SEPARATOR_SIZE_COUNT,
  separatorSet,
  separatorSizeOf,
  TREE_NODE_SIZE,
  TreeNode,
  tightenPrefix,
} from "./tree-node";
import { descend, pathIndex, pathNode, TREE_HEIGHT_MAX } from "./tree-path";

const LEAF_MERGE_BELOW: u32 = LEAF_CAPACITY / 4;
const LEAF_MERGED_MAX: u32 = (LEAF_CAPACITY * 3) / 4;
/** Inserts in a row, each right behind the one before, that are taken for a run of ascending keys. */
const RUN_MIN: u32 = 8;
const INNER_MERGE_BELOW: u32 = INNER_CAPACITY / 4;
const INNER_MERGED_MAX: u32 = (INNER_CAPACITY * 3) / 4;

/** Where a full leaf takes a key: beyond all others, before all others, or between. */
export namespace Edge {
  export const NONE: u32 = 0;
  export const FIRST: u32 = 1;
  export const LAST: u32 = 2;
}

/** Sets up an empty index over an initialized slab: one leaf. OUT_OF_MEMORY when there is no room for it. */
export function treeInitialize(): i32 {
  root.treeNodeCount = 0;
  const leaf = nodesTake(1);
  if (!changetype<usize>(leaf)) return Status.OUT_OF_MEMORY;
  leaf.level = 0;
  leaf.next = 0;
  root.treeRoot = <u32>changetype<usize>(leaf);
  root.treeLeafFirst = root.treeRoot;
  root.treeLeafLast = root.treeRoot;
  root.treeHeight = 1;
  root.treeEntryCount = 0;
  root.treeSeparatorBytes = 0;
  root.treeKeySizeMax = 0;
  root.treeVersion++;
  root.treeFingerLeaf = 0;
  root.treeFingerIndex = 0;
  root.treeFingerRun = 0;
  root.treePositionLeaf = 0;
  root.treePositionIndex = 0;
  return Status.OK;
}

/**
 * Whether `count` inserts of keys of at most `keySizeMax` bytes are sure to find memory, as long as nothing else takes
 * any before them. Counts free chunks only, and at most one split a key and a level, so it may say no although
 * the inserts would succeed; a single insert may as well be tried, since a failing one changes nothing. O(1).
 */
export function treeReserve(count: u32, keySizeMax: u32): bool {
  const nodesBefore = <u64>root.treeNodeCount;
  // A leaf that is full now may split by one insert, and again by a run of eight that a split left full; each further
  // split needs a leaf that filled up, by eight inserts at least.
  const leafSplits = min<u64>(count, 2 * nodesBefore + count / 4 + 2);
  const innerSplits = min<u64>(leafSplits * root.treeHeight, nodesBefore + leafSplits / 12) + 2 * TREE_HEIGHT_MAX;
  const separatorClass = slabClassOf(separatorSizeOf(max(root.treeKeySizeMax, keySizeMax)));
  const nodesPerChunk = <u64>(CHUNK_SIZE - 64) / TREE_NODE_SIZE;
  const separatorsPerChunk = <u64>(CHUNK_SIZE - 64) / slabClassSize(separatorClass);
  const chunks =
    (leafSplits + innerSplits) / nodesPerChunk +
    1 +
    leafSplits / separatorsPerChunk +
    min<u64>(leafSplits, SEPARATOR_SIZE_COUNT);
  return chunks <= <u64>chunksAvailable();
}

/**
 * Puts a key node in. INVALID_ARGUMENT when the key is present, OUT_OF_MEMORY when a node has to split and there is no
 * room; either changes nothing. Ascending keys, and sorted runs within a leaf, need no descent. O(log n).
 */
export function treeInsert(keyNode: usize): i32 {
  const key = changetype<KeyNode>(keyNode).key;
  const size = changetype<KeyNode>(keyNode).keySize;
  let leaf = changetype<TreeNode>(<usize>root.treeFingerLeaf);
  // A full leaf is split with the path at hand.
  if (!changetype<usize>(leaf) || <u32>leaf.count == LEAF_CAPACITY || !leafHolds(leaf, key, size)) {
    leaf = descend(key, size);
  }
  const index = leafSearch(leaf, key, size);
  if (index & FOUND) return Status.INVALID_ARGUMENT;
  const isNext = changetype<usize>(leaf) == <usize>root.treeFingerLeaf && index == root.treeFingerIndex + 1;
  const run = isNext ? root.treeFingerRun + 1 : 0;
  if (<u32>leaf.count == LEAF_CAPACITY) {
    const status = splitLeaf(leaf, index, keyNode, run >= RUN_MIN);
    if (status) return status;
  } else {
    leafPut(leaf, index, keyNode, key, size);
    root.treeFingerLeaf = <u32>changetype<usize>(leaf);
    root.treeFingerIndex = index;
  }
  root.treeFingerRun = run;
  root.treeEntryCount++;
  root.treeKeySizeMax = max(root.treeKeySizeMax, size);
  root.treeVersion++;
  return Status.OK;
}

/**
 * Takes out the entry of the key node's key: whether there was one. The key node itself is the caller's to free, after
 * this. Takes no memory and gives back what becomes empty. O(log n).
 */
export function treeRemove(keyNode: usize): bool {
  const key = changetype<KeyNode>(keyNode).key;
  const size = changetype<KeyNode>(keyNode).keySize;
  let leaf = changetype<TreeNode>(<usize>root.treeFingerLeaf);
  // A leaf that may have to be merged is reached with the path at hand.
  if (!changetype<usize>(leaf) || <u32>leaf.count <= LEAF_MERGE_BELOW || !leafHolds(leaf, key, size)) {
    leaf = descend(key, size);
  }
  const index = leafSearch(leaf, key, size);
  if (!(index & FOUND)) return false;
  leafTake(leaf, index & ~FOUND);
  root.treeFingerLeaf = <u32>changetype<usize>(leaf);
  root.treeFingerRun = 0;
  root.treeEntryCount--;
  root.treeVersion++;
  if (<u32>leaf.count < LEAF_MERGE_BELOW) shrink(leaf);
  return true;
}

/** Puts another key node of the same key in the place of `oldNode`: whether that was found. Moves no entry. O(log n). */
export function treeReplace(oldNode: usize, newNode: usize): bool {
  const key = changetype<KeyNode>(newNode).key;
  const size = changetype<KeyNode>(newNode).keySize;
  let leaf = changetype<TreeNode>(<usize>root.treeFingerLeaf);
  if (!changetype<usize>(leaf) || !leafHolds(leaf, key, size)) leaf = descend(key, size);
  const index = leafSearch(leaf, key, size);
  if (!(index & FOUND)) return false;
  const slot = leaf.entrySlot(index & ~FOUND);
  if (<usize>load<u32>(slot) != oldNode) return false;
  store<u32>(slot, <u32>newNode);
  return true;
}

/** Bytes of the tree nodes and separators, as the slab rounds them. */
export function treeBytes(): f64 {
  return <f64>root.treeNodeCount * <f64>TREE_NODE_SIZE + <f64>root.treeSeparatorBytes;
}

/**
 * Splits a full leaf at the end of the path and puts a key node in at `index`, which the finger then names. OUT_OF_MEMORY
 * changes nothing. A leaf is halved, with two exceptions that let keys in order fill their leaves: beyond the last key of
 * all, or before the first, it stays as it is and the key gets a leaf of its own; and within a run of ascending keys
 * it is split where the run is, which goes on in the smaller half.
 */
function splitLeaf(leaf: TreeNode, index: u32, keyNode: usize, isRun: bool): i32 {
  let spare = nodesTake(1 + innerSplitsNeeded());
  if (!changetype<usize>(spare)) return Status.OUT_OF_MEMORY;
  let edge = Edge.NONE;
  if (index == LEAF_CAPACITY && !leaf.next) edge = Edge.LAST;
  else if (!index && !leaf.previous) edge = Edge.FIRST;
  const goesRight = index > LEAF_CAPACITY / 2;
  const from = isRun || edge != Edge.NONE ? index : LEAF_CAPACITY / 2;
  const below = index == from && !goesRight ? keyNode : leaf.keyNode(from - 1);
  const above = index == from && goesRight ? keyNode : leaf.keyNode(from);
  const separator = separatorTake(changetype<KeyNode>(below), changetype<KeyNode>(above));
  if (!separator) {
    nodesGive(spare);
    return Status.OUT_OF_MEMORY;
  }

  const right = spare;
  spare = changetype<TreeNode>(<usize>right.next);
  right.level = 0;
  linkBehind(leaf, right);
  leafSplit(leaf, right, from);
  const target = goesRight ? right : leaf;
  const targetIndex = goesRight ? index - from : index;
  leafPut(target, targetIndex, keyNode, changetype<KeyNode>(keyNode).key, changetype<KeyNode>(keyNode).keySize);
  tightenPrefix(leaf);
  tightenPrefix(right);
  root.treeFingerLeaf = <u32>changetype<usize>(target);
  root.treeFingerIndex = targetIndex;
  putAbove(separator, right, spare, edge);
  return Status.OK;
}

/** Nodes that the inner levels need when the leaf at the end of the path splits, a new root included. */
export function innerSplitsNeeded(): u32 {
  const steps = root.treeHeight - 1;
  let depth = steps;
  while (depth && <u32>pathNode(depth - 1).count == INNER_CAPACITY) depth--;
  return steps - depth + (depth ? 0 : 1);
}

/**
 * Makes `child`, the fresh right part of the leaf at the end of the path, known to the inner nodes, which split as need
 * be with the nodes of `spare`: at an edge, too, when the leaf was.
 */
export function putAbove(separator: usize, child: TreeNode, spare: TreeNode, edge: u32): void {
  let from = INNER_CAPACITY / 2;
  if (edge == Edge.LAST) from = INNER_CAPACITY - 1;
  else if (edge == Edge.FIRST) from = 0;
  for (let depth = root.treeHeight - 1; depth > 0; depth--) {
    const inner = pathNode(depth - 1);
    const index = pathIndex(depth - 1);
    if (<u32>inner.count < INNER_CAPACITY) {
      innerPut(inner, index, separator, child);
      return;
    }
    const right = spare;
    spare = changetype<TreeNode>(<usize>right.next);
    right.level = inner.level;
    right.next = 0;
    const middle = innerSplit(inner, right, from);
    if (index > from) innerPut(right, index - from - 1, separator, child);
    else innerPut(inner, index, separator, child);
    tightenPrefix(inner);
    tightenPrefix(right);
    separator = middle;
    child = right;
  }
  assert(root.treeHeight < TREE_HEIGHT_MAX);
  const top = spare;
  top.level = <u8>root.treeHeight;
  top.next = 0;
  store<u32>(top.childSlot(0), root.treeRoot);
  innerPut(top, 0, separator, child);
  root.treeRoot = <u32>changetype<usize>(top);
  root.treeHeight++;
}

/** Goes up the path from a leaf that has become small: what is empty is dropped, what is small merged. */
function shrink(leaf: TreeNode): void {
  let node = leaf;
  let empty = !leaf.count;
  for (let depth = root.treeHeight - 1; depth > 0; depth--) {
    const parent = pathNode(depth - 1);
    const index = pathIndex(depth - 1);
    if (empty) {
      if (!node.level) unlink(node);
      nodesGive(node);
      empty = !parent.count;
      if (!empty) separatorGive(innerTake(parent, index));
    } else {
      if (<u32>node.count >= (node.level ? INNER_MERGE_BELOW : LEAF_MERGE_BELOW)) return;
      if (!mergeChildren(parent, index) && (!index || !mergeChildren(parent, index - 1))) return;
    }
    node = parent;
  }
  // A root has two children or none, so it never loses the last one above.
  while (node.level && !node.count) {
    root.treeRoot = load<u32>(node.childSlot(0));
    root.treeHeight--;
    nodesGive(node);
    node = changetype<TreeNode>(<usize>root.treeRoot);
  }
}

/** Merges child `index` with the next one if there is one and both together are small enough: whether it did. */
function mergeChildren(parent: TreeNode, index: u32): bool {
  if (index >= <u32>parent.count) return false;
  const left = parent.child(index);
  const right = parent.child(index + 1);
  const count = <u32>left.count + <u32>right.count;
  if (left.level) {
    if (count + 1 > INNER_MERGED_MAX) return false;
    innerMerge(left, innerTake(parent, index + 1), right);
  } else {
    if (count > LEAF_MERGED_MAX) return false;
    separatorGive(innerTake(parent, index + 1));
    leafMerge(left, right);
    unlink(right);
  }
  nodesGive(right);
  return true;
}

export function linkBehind(leaf: TreeNode, right: TreeNode): void {
  right.previous = <u32>changetype<usize>(leaf);
  right.next = leaf.next;
  if (leaf.next) changetype<TreeNode>(<usize>leaf.next).previous = <u32>changetype<usize>(right);
  else root.treeLeafLast = <u32>changetype<usize>(right);
  leaf.next = <u32>changetype<usize>(right);
}

function unlink(leaf: TreeNode): void {
  if (leaf.previous) changetype<TreeNode>(<usize>leaf.previous).next = leaf.next;
  else root.treeLeafFirst = leaf.next;
  if (leaf.next) changetype<TreeNode>(<usize>leaf.next).previous = leaf.previous;
  else root.treeLeafLast = leaf.previous;
  leaf.next = 0;
  if (root.treeFingerLeaf == <u32>changetype<usize>(leaf)) root.treeFingerLeaf = 0;
}

/** Takes `count` nodes without entries, linked by `next`: the first, or null and none taken when memory is short. */
export function nodesTake(count: u32): TreeNode {
  const sizeClass = slabClassOf(TREE_NODE_SIZE);
  let first = changetype<TreeNode>(0);
  for (let i: u32 = 0; i < count; i++) {
    const node = changetype<TreeNode>(slabTake(sizeClass));
    if (!changetype<usize>(node)) {
      nodesGive(first);
      return node;
    }
    root.treeNodeCount++;
    node.count = 0;
    node.prefixSize = 0;
    node.previous = 0;
    node.next = <u32>changetype<usize>(first);
    first = node;
  }
  return first;
}

/** Gives back a node and those that its `next` leads to. */
export function nodesGive(first: TreeNode): void {
  let node = first;
  while (changetype<usize>(node)) {
    const next = changetype<TreeNode>(<usize>node.next);
    slabGive(changetype<usize>(node));
    root.treeNodeCount--;
    node = next;
  }
}

/** The shortest separator of two neighbouring keys: what they share and one byte more of the upper one; 0 without room. */
export function separatorTake(below: KeyNode, above: KeyNode): usize {
  const shared = commonPrefix(below.key, above.key, min(below.keySize, above.keySize));
  const size = shared + 1;
  const sizeClass = slabClassOf(separatorSizeOf(size));
  const separator = slabTake(sizeClass);
  if (!separator) return 0;
  root.treeSeparatorBytes += slabClassSize(sizeClass);
  separatorSet(separator, above.key, size);
  return separator;
}

function separatorGive(separator: usize): void {
  root.treeSeparatorBytes -= slabClassSize(slabClassOf(separatorSizeOf(load<u32>(separator))));
  slabGive(separator);
}
