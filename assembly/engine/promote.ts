/**
 * Small values that come back to their nodes: a checkpoint holds none, so a node that was opened from one has its value in
 * the log alone until it is read for the first time.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { wheelEnter, wheelLeave } from "../index/expiry-wheel";
import { KeyNode, NodeFlags, placeOf, wordsOf, wordsSizeInNode, wordsSizeOf } from "../index/key-node";
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
  if (opened != ValueAt.MEMORY || size > INLINE_VALUE_SIZE_MAX || node.isCompressed) return;
  if (node.flags & (NodeFlags.INLINE | NodeFlags.EXTENTS) || !inlineAllowed()) return;
  const value = <usize>root.resultPointer;
  // Expiry and timestamp stand behind the value.
  const words = wordsSizeOf(node.flags);
  const at = wordsOf(node, node.body);
  const first: u64 = words ? load<u64>(at) : 0;
  const second: u64 = words > 8 ? load<u64>(at, 8) : 0;
  if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
  const bodySize = pad8(size) + wordsSizeInNode(node.flags);
  const kept = nodeHolds(node, keySize, bodySize) ? node : nodeMove(slot, node, keySize, bodySize);
  memory.fill(kept.body, 0, pad8(size));
  copyBytes(kept.body, value, size);
  kept.place = placeOf(kept.address, kept.sizeClass, kept.flags | NodeFlags.INLINE);
  const to = wordsOf(kept, kept.body);
  if (words) store<u64>(to, first);
  if (words > 8) store<u64>(to, second, 8);
  if (kept.flags & NodeFlags.EXPIRY) wheelEnter(kept);
}
