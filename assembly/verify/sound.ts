/**
 * Whether what a pointer leads to can be looked at. Memory may be spoilt, and a verification tells of that: it asks here
 * before it follows a pointer that no check of the device vouches for.
 *
 * What is sound here need not be right: it lies in memory that was given out, and has no size beyond that.
 */
import { pad8 } from "../bytes/compare";
import { extentCount, extentTableSize } from "../index/extent-table";
import { KeyNode, NODE_HEADER_SIZE } from "../index/key-node";
import { INNER_CAPACITY, innerSearch, LEAF_CAPACITY, TREE_NODE_SIZE, TreeNode } from "../index/tree-node";
import { TREE_HEIGHT_MAX } from "../index/tree-path";
import { KEY_SIZE_MAX } from "../limits";
import { chunksHold } from "../memory/chunks";
import { root } from "../root";

/** Whether a key node, or a version, can lie at `node`. */
export function pointerIsSound(node: usize): bool {
  return !(node & 7) && chunksHold(node, NODE_HEADER_SIZE);
}

/** Whether a key node lies there, with its whole key. */
export function keyNodeIsSound(node: usize): bool {
  if (!pointerIsSound(node)) return false;
  const keySize = changetype<KeyNode>(node).keySize;
  return keySize <= KEY_SIZE_MAX && chunksHold(node, NODE_HEADER_SIZE + pad8(keySize));
}

/** Whether an extent table lies there, with all its parts. */
export function tableIsSound(table: usize): bool {
  return !(table & 7) && chunksHold(table, 8) && chunksHold(table, extentTableSize(extentCount(table)));
}

/** Whether a leaf lies there that can be searched and walked, with its entries and their keys. */
export function leafIsSound(leaf: usize): bool {
  if (!nodeIsSound(leaf, 0)) return false;
  const node = changetype<TreeNode>(leaf);
  const count = <u32>node.count;
  // Only a root has no entries.
  if (count > LEAF_CAPACITY || (!count && root.treeHeight != 1)) return false;
  for (let i: u32 = 0; i < count; i++) if (!keyNodeIsSound(node.keyNode(i))) return false;
  return prefixIsSound(node);
}

/** Where a search for a padded key leads, when every node on its way can be searched; else 0. The leaf itself was not looked at. */
export function descendSound(key: usize, size: u32): usize {
  if (root.treeHeight - 1 >= TREE_HEIGHT_MAX) return 0;
  let node = <usize>root.treeRoot;
  for (let level = root.treeHeight - 1; level > 0; level--) {
    if (!innerIsSound(node, level)) return 0;
    const inner = changetype<TreeNode>(node);
    node = changetype<usize>(inner.child(innerSearch(inner, key, size)));
  }
  return node;
}

function innerIsSound(inner: usize, level: u32): bool {
  if (!nodeIsSound(inner, level)) return false;
  const node = changetype<TreeNode>(inner);
  const count = <u32>node.count;
  if (count > INNER_CAPACITY) return false;
  for (let i: u32 = 0; i < count; i++) {
    const separator = node.entry(i);
    if (separator & 7 || !chunksHold(separator, 8)) return false;
    const size = node.keySizeOf(separator);
    if (size > KEY_SIZE_MAX || !chunksHold(separator, 8 + pad8(size))) return false;
  }
  return prefixIsSound(node);
}

function nodeIsSound(node: usize, level: u32): bool {
  return !(node & 63) && chunksHold(node, TREE_NODE_SIZE) && <u32>changetype<TreeNode>(node).level == level;
}

/** A prefix that is not kept whole is read from the first entry. */
function prefixIsSound(node: TreeNode): bool {
  const size = <u32>node.prefixSize;
  return !size || (node.count > 0 && size <= node.keySizeOf(node.entry(0)));
}
