/**
 * Building the ordered index from keys that come in order: whole leaves, each put behind the last one.
 *
 * A leaf is left with a tenth of its room, so that the first keys that come later do not split every one.
 */
import { commonPrefix } from "../bytes/compare";
import { root } from "../root";
import { Status } from "../status";
import { KeyNode } from "./key-node";
import { Edge, innerSplitsNeeded, linkBehind, nodesGive, nodesTake, putAbove, separatorTake } from "./ordered-index";
import { headOf, LEAF_CAPACITY, setPrefix, TreeNode } from "./tree-node";
import { pathSet } from "./tree-path";

/** Key nodes of a leaf that is built. */
export const LEAF_FILL: u32 = (LEAF_CAPACITY * 9) / 10;

/**
 * Appends the key nodes (u32) of a list, 1 to LEAF_FILL in ascending order and above all that are there, as a leaf.
 * OUT_OF_MEMORY changes nothing. About 5 ns a key.
 */
export function treeAppend(list: usize, count: u32): i32 {
  const before = changetype<TreeNode>(<usize>root.treeLeafLast);
  let leaf = before;
  if (before.count) {
    // The way to the last leaf, along which a new one is made known.
    let node = changetype<TreeNode>(<usize>root.treeRoot);
    for (let depth: u32 = 0; node.level; depth++) {
      pathSet(depth, node, node.count);
      node = node.child(node.count);
    }
    leaf = nodesTake(1 + innerSplitsNeeded());
    if (!changetype<usize>(leaf)) return Status.OUT_OF_MEMORY;
    const below = changetype<KeyNode>(before.keyNode(<u32>before.count - 1));
    const separator = separatorTake(below, changetype<KeyNode>(<usize>load<u32>(list)));
    if (!separator) {
      nodesGive(leaf);
      return Status.OUT_OF_MEMORY;
    }
    const spare = changetype<TreeNode>(<usize>leaf.next);
    leaf.level = 0;
    linkBehind(before, leaf);
    putAbove(separator, leaf, spare, Edge.LAST);
  }
  fill(leaf, list, count);
  root.treeEntryCount += count;
  root.treeVersion++;
  return Status.OK;
}

function fill(leaf: TreeNode, list: usize, count: u32): void {
  const first = changetype<KeyNode>(<usize>load<u32>(list));
  const last = changetype<KeyNode>(<usize>load<u32>(list + ((<usize>(count - 1)) << 2)));
  const prefixSize = commonPrefix(first.key, last.key, min(first.keySize, last.keySize));
  setPrefix(leaf, first.key, prefixSize);
  let largest = root.treeKeySizeMax;
  for (let i: u32 = 0; i < count; i++) {
    const node = changetype<KeyNode>(<usize>load<u32>(list + ((<usize>i) << 2)));
    const size = node.keySize;
    store<u32>(leaf.entrySlot(i), <u32>changetype<usize>(node));
    store<i64>(leaf.headSlot(i), headOf(node.key, size, prefixSize));
    largest = max(largest, size);
  }
  leaf.count = <u16>count;
  root.treeKeySizeMax = largest;
}
