/**
 * Entries of tree nodes: put in, taken out, and moved between two nodes when one splits or two merge.
 *
 * Nothing here takes or frees memory, and nothing here looks beyond the one or two nodes that it is given; the
 * invariants of tree-node.ts hold before and after each function.
 */
import { copyPrefix, fitPrefix, headOf, sharedPrefix, shortenPrefix, TreeNode, tightenPrefix } from "./tree-node";

/** Puts a key node into a leaf with room, at the index that `leafSearch` gave for its padded key. */
export function leafPut(leaf: TreeNode, index: u32, keyNode: usize, key: usize, size: u32): void {
  fitPrefix(leaf, key, size);
  putEntry(leaf, index, keyNode, headOf(key, size, leaf.prefixSize));
}

/** Takes the key node at `index` out of a leaf. */
export function leafTake(leaf: TreeNode, index: u32): void {
  takeEntry(leaf, index);
}

/** Puts a separator into an inner node with room, at `index`, and the child above it at `index + 1`. */
export function innerPut(inner: TreeNode, index: u32, separator: usize, child: TreeNode): void {
  const count = <u32>inner.count;
  const key = inner.keyOf(separator);
  const size = inner.keySizeOf(separator);
  fitPrefix(inner, key, size);
  shiftUp(inner.childSlot(index + 1), inner.childSlot(count + 1), 4);
  store<u32>(inner.childSlot(index + 1), <u32>changetype<usize>(child));
  putEntry(inner, index, separator, headOf(key, size, inner.prefixSize));
}

/**
 * Takes child `index` out of an inner node with at least one separator, and the separator at its lower edge; child
 * 0 goes with the separator at its upper edge, so that the next child covers its range. The separator is handed back.
 */
export function innerTake(inner: TreeNode, index: u32): usize {
  const count = <u32>inner.count;
  const separatorIndex = index ? index - 1 : 0;
  const separator = inner.entry(separatorIndex);
  shiftDown(inner.childSlot(index + 1), inner.childSlot(count + 1), 4);
  takeEntry(inner, separatorIndex);
  return separator;
}

/** Moves the entries of a leaf from index `from` on to a fresh one; either may be left without entries. */
export function leafSplit(leaf: TreeNode, right: TreeNode, from: u32): void {
  moveEntries(leaf, right, from);
  truncate(leaf, from);
}

/**
 * Moves the separators of an inner node behind index `from`, and their children, to a fresh node. Separator `from`,
 * which belongs between the two, is handed back.
 */
export function innerSplit(inner: TreeNode, right: TreeNode, from: u32): usize {
  const separator = inner.entry(from);
  copyRange(right.childSlot(0), inner.childSlot(from + 1), inner.childSlot(<u32>inner.count + 1));
  moveEntries(inner, right, from + 1);
  truncate(inner, from);
  return separator;
}

/** Appends all entries of the next leaf, which has at least one, to a leaf that has, too, and has room for them. */
export function leafMerge(leaf: TreeNode, right: TreeNode): void {
  appendEntries(leaf, right);
  tightenPrefix(leaf);
}

/** Appends the separator between two inner nodes, and all that is in the right one, to the left one, which has room. */
export function innerMerge(inner: TreeNode, separator: usize, right: TreeNode): void {
  innerPut(inner, inner.count, separator, right.child(0));
  const rightCount = <u32>right.count;
  if (rightCount) {
    copyRange(inner.childSlot(<u32>inner.count + 1), right.childSlot(1), right.childSlot(rightCount + 1));
    appendEntries(inner, right);
  }
  tightenPrefix(inner);
}

function putEntry(node: TreeNode, index: u32, entry: usize, head: i64): void {
  const count = <u32>node.count;
  const headSlot = node.headSlot(index);
  const entrySlot = node.entrySlot(index);
  shiftUp(headSlot, node.headSlot(count), 8);
  shiftUp(entrySlot, node.entrySlot(count), 4);
  store<i64>(headSlot, head);
  store<u32>(entrySlot, <u32>entry);
  node.count = <u16>(count + 1);
}

function takeEntry(node: TreeNode, index: u32): void {
  const count = <u32>node.count;
  shiftDown(node.headSlot(index + 1), node.headSlot(count), 8);
  shiftDown(node.entrySlot(index + 1), node.entrySlot(count), 4);
  truncate(node, count - 1);
}

/** Copies the entries from `from` on to a node without entries. */
function moveEntries(source: TreeNode, target: TreeNode, from: u32): void {
  const count = <u32>source.count;
  copyPrefix(target, source);
  copyRange(target.headSlot(0), source.headSlot(from), source.headSlot(count));
  copyRange(target.entrySlot(0), source.entrySlot(from), source.entrySlot(count));
  truncate(target, count - from);
}

function truncate(node: TreeNode, count: u32): void {
  node.count = <u16>count;
  if (!count) node.prefixSize = 0;
}

/** Appends all entries of `right` to those of `node`; both have some. The prefix becomes what both prefixes share. */
function appendEntries(node: TreeNode, right: TreeNode): void {
  const count = <u32>node.count;
  const rightCount = <u32>right.count;
  const limit = min(<u32>node.prefixSize, <u32>right.prefixSize);
  const first = right.entry(0);
  const shared = limit ? sharedPrefix(node, right.keyOf(first), limit) : 0;
  shortenPrefix(node, shared);
  shortenPrefix(right, shared);
  copyRange(node.headSlot(count), right.headSlot(0), right.headSlot(rightCount));
  copyRange(node.entrySlot(count), right.entrySlot(0), right.entrySlot(rightCount));
  node.count = <u16>(count + rightCount);
}

/** Copies [source, end) to a place in another node. */
function copyRange(target: usize, source: usize, end: usize): void {
  if (end > source) memory.copy(target, source, end - source);
}

/** Moves [start, end) up by `distance` bytes, 4 or 8. From the end on, each piece read before it is written over. */
function shiftUp(start: usize, end: usize, distance: usize): void {
  let at = end;
  for (; at >= start + 16; at -= 16) v128.store(at - 16 + distance, v128.load(at - 16));
  if (at >= start + 8) {
    at -= 8;
    store<u64>(at + distance, load<u64>(at));
  }
  if (at > start) store<u32>(start + distance, load<u32>(start));
}

/** Moves [start, end) down by `distance` bytes, 4 or 8. From the start on, each piece read before it is written over. */
function shiftDown(start: usize, end: usize, distance: usize): void {
  let at = start;
  for (; at + 16 <= end; at += 16) v128.store(at - distance, v128.load(at));
  if (at + 8 <= end) {
    store<u64>(at - distance, load<u64>(at));
    at += 8;
  }
  if (at < end) store<u32>(at - distance, load<u32>(at));
}
