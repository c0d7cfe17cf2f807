/**
 * Small values that come back to their nodes: a checkpoint holds none, so a node that was opened from one has its value in
 * the log alone until it is read for the first time.
 */
import { copyBytes } from "../bytes/compare";
import { KeyNode, NodeFlags, placeOf } from "../index/key-node";
import { INLINE_VALUE_SIZE_MAX } from "../limits";
import { root } from "../root";
import { inlineAllowed, nodeHolds, nodeMove } from "./dual";
import { ValueAt } from "./value";

/**
 * Keeps the value that was just opened (`opened` says where) in its node, which `slot` names, when it is small and memory
 * allows. What `valueOpen` said of the value's place stays true. O(log n), once for each node.
 */
export function valueKeep(slot: usize, node: KeyNode, keySize: u32, opened: i32): void {
  const size = node.valueSize;
  if (opened != ValueAt.MEMORY || size > INLINE_VALUE_SIZE_MAX) return;
  if (node.flags & (NodeFlags.INLINE | NodeFlags.EXTENTS) || !inlineAllowed()) return;
  const value = <usize>root.resultPointer;
  const kept = nodeHolds(node, keySize, size) ? node : nodeMove(slot, node, keySize, size);
  copyBytes(kept.body, value, size);
  kept.place = placeOf(kept.address, kept.sizeClass, kept.flags | NodeFlags.INLINE);
}
