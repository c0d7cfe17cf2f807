/**
 * Proof that the ordered index is sound, for tests and for `verify`: one walk in the order of the keys, without
 * recursion, over every node, separator and key.
 *
 * Between two leaves that follow each other in this order lies exactly one separator. When each separator is above the
 * last key before it and at or below the first key behind it, and all keys ascend, every search ends at the right leaf.
 */
import { compareKeys } from "../bytes/compare";
import { slabClassOf, slabClassSize } from "../memory/slab";
import { root } from "../root";
import { headOf, INNER_CAPACITY, LEAF_CAPACITY, separatorSizeOf, sharedPrefix, TreeNode } from "./tree-node";
import { pathIndex, pathNode, pathSet, TREE_HEIGHT_MAX } from "./tree-path";

/** What `treeVerify` found wrong; 0 is nothing. */
export namespace TreeFault {
  export const NONE: i32 = 0;
  /** A node's level is not one below its parent's, or the height is wrong. */
  export const LEVEL: i32 = 1;
  /** A node holds more or less than its kind may. */
  export const FILL: i32 = 2;
  /** An entry does not start with its node's prefix, or the prefix is longer than a key. */
  export const PREFIX: i32 = 3;
  /** A head is not that of its entry. */
  export const HEAD: i32 = 4;
  /** Two keys, or two separators of a node, do not ascend. */
  export const ORDER: i32 = 5;
  /** A separator is not above the key before it, or above the key behind it. */
  export const SEPARATOR: i32 = 6;
  /** A leaf's links, or the root's first and last leaf, are wrong. */
  export const LINK: i32 = 7;
  /** The number of nodes is not the root's, or a walk over them does not end. */
  export const NODE_COUNT: i32 = 8;
  /** The number of entries is not the root's. */
  export const ENTRY_COUNT: i32 = 9;
  /** The bytes of the separators are not the root's. */
  export const SEPARATOR_BYTES: i32 = 10;
  /** The finger is not a leaf of the tree. */
  export const FINGER: i32 = 11;
}

/** Walks the whole index: 0, or the TreeFault met first. Changes nothing but the path. O(n), each key is read. */
export function treeVerify(): i32 {
  const top = changetype<TreeNode>(<usize>root.treeRoot);
  if (!root.treeHeight || root.treeHeight > TREE_HEIGHT_MAX) return TreeFault.LEVEL;
  if (<u32>top.level != root.treeHeight - 1) return TreeFault.LEVEL;
  let node = top;
  let depth: u32 = 0;
  let nodes: u32 = 0;
  let entries: u32 = 0;
  let separatorBytes: u32 = 0;
  let fingerSeen = !root.treeFingerLeaf;
  let leafBefore = changetype<TreeNode>(0);
  let separator: usize = 0;
  for (;;) {
    // Down to the first leaf under `node`.
    for (;;) {
      if (++nodes > root.treeNodeCount) return TreeFault.NODE_COUNT;
      const fault = treeNodeFault(node, depth);
      if (fault) return fault;
      if (!node.level) break;
      separatorBytes += separatorBytesOf(node);
      pathSet(depth++, node, 0);
      node = node.child(0);
    }
    const fault = verifyBorder(leafBefore, separator, node);
    if (fault) return fault;
    entries += node.count;
    if (changetype<usize>(node) == <usize>root.treeFingerLeaf) fingerSeen = true;
    leafBefore = node;
    // Up to the nearest node with a further child.
    while (depth && pathIndex(depth - 1) == <u32>pathNode(depth - 1).count) depth--;
    if (!depth) break;
    const parent = pathNode(depth - 1);
    const index = pathIndex(depth - 1);
    separator = parent.entry(index);
    pathSet(depth - 1, parent, index + 1);
    node = parent.child(index + 1);
  }
  if (leafBefore.next || root.treeLeafLast != <u32>changetype<usize>(leafBefore)) return TreeFault.LINK;
  if (nodes != root.treeNodeCount) return TreeFault.NODE_COUNT;
  if (entries != root.treeEntryCount) return TreeFault.ENTRY_COUNT;
  if (separatorBytes != root.treeSeparatorBytes) return TreeFault.SEPARATOR_BYTES;
  return fingerSeen ? TreeFault.NONE : TreeFault.FINGER;
}

/** Checks what can be seen in one node alone, `depth` steps below the root: 0, or a TreeFault. Reads each key in it. */
export function treeNodeFault(node: TreeNode, depth: u32): i32 {
  const count = <u32>node.count;
  const prefixSize = <u32>node.prefixSize;
  if (<u32>node.level + depth + 1 != root.treeHeight) return TreeFault.LEVEL;
  if (count > (node.level ? INNER_CAPACITY : LEAF_CAPACITY)) return TreeFault.FILL;
  if (!count) {
    if (prefixSize) return TreeFault.PREFIX;
    // An empty leaf, or an inner node with one child: the one only, the other never a root.
    if (node.level ? !depth : <bool>depth) return TreeFault.FILL;
  }
  for (let i: u32 = 0; i < count; i++) {
    const entry = node.entry(i);
    const key = node.keyOf(entry);
    const size = node.keySizeOf(entry);
    if (size < prefixSize || sharedPrefix(node, key, prefixSize) != prefixSize) return TreeFault.PREFIX;
    if (node.head(i) != headOf(key, size, prefixSize)) return TreeFault.HEAD;
    if (i) {
      const before = node.entry(i - 1);
      if (compareKeys(node.keyOf(before), node.keySizeOf(before), key, size) >= 0) return TreeFault.ORDER;
    }
  }
  return TreeFault.NONE;
}

/** Checks a leaf against the one before it, or null, and the separator between them. */
function verifyBorder(before: TreeNode, separator: usize, leaf: TreeNode): i32 {
  if (<usize>leaf.previous != changetype<usize>(before)) return TreeFault.LINK;
  if (!changetype<usize>(before)) {
    return root.treeLeafFirst == <u32>changetype<usize>(leaf) ? TreeFault.NONE : TreeFault.LINK;
  }
  if (<usize>before.next != changetype<usize>(leaf)) return TreeFault.LINK;
  const last = before.keyNode(<u32>before.count - 1);
  const first = leaf.keyNode(0);
  const size = load<u32>(separator);
  const key = separator + 8;
  if (compareKeys(before.keyOf(last), before.keySizeOf(last), key, size) >= 0) return TreeFault.SEPARATOR;
  if (compareKeys(key, size, leaf.keyOf(first), leaf.keySizeOf(first)) > 0) return TreeFault.SEPARATOR;
  return TreeFault.NONE;
}

/** Bytes of the slab items of an inner node's separators. */
function separatorBytesOf(inner: TreeNode): u32 {
  let bytes: u32 = 0;
  for (let i: u32 = 0; i < <u32>inner.count; i++) {
    bytes += slabClassSize(slabClassOf(separatorSizeOf(inner.keySizeOf(inner.entry(i)))));
  }
  return bytes;
}
