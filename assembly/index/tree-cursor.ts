/**
 * Positions in the ordered index: seeking, stepping, and whole blocks of a walk at once.
 *
 * The position lies in the root: the leaf and the index of an entry, or leaf 0 beyond either end. A caller that walks
 * more than one range keeps the two words with `treeVersion`, and puts them back while `treeVersion` is the
 * same; otherwise the leaf may be gone, and it seeks again behind the last key that it had.
 */
import { root } from "../root";
import { FOUND, leafSearch, TreeNode } from "./tree-node";
import { descend } from "./tree-path";

/** Which entry beside a key is sought. */
export namespace SeekMode {
  /** The first at or above the key. */
  export const GE: u32 = 0;
  /** The first above it. */
  export const GT: u32 = 1;
  /** The last at or below it. */
  export const LE: u32 = 2;
  /** The last below it. */
  export const LT: u32 = 3;
}

/** Moves to the entry that `mode` (SeekMode) names beside a padded key: its key node, or 0 and beyond the end. O(log n). */
export function treeSeek(key: usize, size: u32, mode: u32): usize {
  const leaf = descend(key, size);
  const found = leafSearch(leaf, key, size);
  let index = found & ~FOUND;
  if (found & FOUND && (mode == SeekMode.GT || mode == SeekMode.LE)) index++;
  return mode == SeekMode.GE || mode == SeekMode.GT ? settleForward(leaf, index) : settleBackward(leaf, index);
}

/** Moves to the first entry: its key node, or 0 when there is none. */
export function treeFirst(): usize {
  return settleForward(changetype<TreeNode>(<usize>root.treeLeafFirst), 0);
}

/** Moves to the last entry: its key node, or 0 when there is none. */
export function treeLast(): usize {
  const leaf = changetype<TreeNode>(<usize>root.treeLeafLast);
  return settleBackward(leaf, leaf.count);
}

/** Moves to the next entry: its key node, or 0 and beyond the end. Beyond an end it stays there. */
export function treeNext(): usize {
  const leaf = changetype<TreeNode>(<usize>root.treePositionLeaf);
  if (!changetype<usize>(leaf)) return 0;
  return settleForward(leaf, root.treePositionIndex + 1);
}

/** Moves to the previous entry: its key node, or 0 and beyond the end. Beyond an end it stays there. */
export function treePrevious(): usize {
  const leaf = changetype<TreeNode>(<usize>root.treePositionLeaf);
  if (!changetype<usize>(leaf)) return 0;
  return settleBackward(leaf, root.treePositionIndex);
}

/**
 * Writes up to `count` key nodes (u32) to `out`, from the entry at the position on, upwards, and moves to the first one
 * not written. Stops before the first key at or above the padded key `bound`, and then is beyond the end; `bound` 0 is
 * none. A range that includes its upper key passes it with a zero byte appended. Gives the count written. About 1 ns a
 * key; a bound costs a search in each leaf.
 */
export function treeCollectForward(out: usize, count: u32, bound: usize, boundSize: u32): u32 {
  let leaf = changetype<TreeNode>(<usize>root.treePositionLeaf);
  let index = root.treePositionIndex;
  let written: u32 = 0;
  while (changetype<usize>(leaf) && written < count) {
    const leafCount = <u32>leaf.count;
    const end = bound ? leafSearch(leaf, bound, boundSize) & ~FOUND : leafCount;
    const taken = end > index ? min(end - index, count - written) : 0;
    copyPointers(out + ((<usize>written) << 2), leaf.entrySlot(index), taken);
    written += taken;
    index += taken;
    if (index < end) break;
    leaf = changetype<TreeNode>(end < leafCount ? <usize>0 : <usize>leaf.next);
    index = 0;
  }
  root.treePositionLeaf = <u32>changetype<usize>(leaf);
  root.treePositionIndex = index;
  return written;
}

/**
 * Writes up to `count` key nodes (u32) to `out`, from the entry at the position on, downwards, and moves to the first one
 * not written. Stops before the first key below the padded key `bound`, and then is beyond the end; `bound` 0 is none. A
 * range that excludes its lower key passes it with a zero byte appended. Gives the count written.
 */
export function treeCollectBackward(out: usize, count: u32, bound: usize, boundSize: u32): u32 {
  let leaf = changetype<TreeNode>(<usize>root.treePositionLeaf);
  // Entries [first, end) of the leaf remain to be written.
  let end = root.treePositionIndex + 1;
  let written: u32 = 0;
  while (changetype<usize>(leaf) && written < count) {
    const first = bound ? leafSearch(leaf, bound, boundSize) & ~FOUND : 0;
    const taken = end > first ? min(end - first, count - written) : 0;
    const target = out + ((<usize>written) << 2);
    for (let i: u32 = 0; i < taken; i++) store<u32>(target + ((<usize>i) << 2), <u32>leaf.keyNode(end - 1 - i));
    written += taken;
    end -= taken;
    if (end > first) break;
    leaf = changetype<TreeNode>(first ? <usize>0 : <usize>leaf.previous);
    if (changetype<usize>(leaf)) end = leaf.count;
  }
  root.treePositionLeaf = <u32>changetype<usize>(leaf);
  root.treePositionIndex = end - 1;
  return written;
}

/** Moves to entry `index` of a leaf, or, when that is its end, to the first of the next leaf. */
function settleForward(leaf: TreeNode, index: u32): usize {
  if (index >= <u32>leaf.count) {
    leaf = changetype<TreeNode>(<usize>leaf.next);
    index = 0;
  }
  root.treePositionLeaf = <u32>changetype<usize>(leaf);
  root.treePositionIndex = index;
  return changetype<usize>(leaf) ? leaf.keyNode(index) : 0;
}

/** Moves to the entry before `index` of a leaf, or, when that is 0, to the last of the previous leaf. */
function settleBackward(leaf: TreeNode, index: u32): usize {
  if (!index) {
    leaf = changetype<TreeNode>(<usize>leaf.previous);
    if (changetype<usize>(leaf)) index = leaf.count;
  }
  root.treePositionLeaf = <u32>changetype<usize>(leaf);
  root.treePositionIndex = index - 1;
  return changetype<usize>(leaf) ? leaf.keyNode(index - 1) : 0;
}

function copyPointers(target: usize, source: usize, count: u32): void {
  const size = (<usize>count) << 2;
  let i: usize = 0;
  for (; i + 16 <= size; i += 16) v128.store(target + i, v128.load(source + i));
  for (; i < size; i += 4) store<u32>(target + i, load<u32>(source + i));
}
