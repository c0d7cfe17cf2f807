/**
 * Nodes of the ordered index: their layout, what is kept of the keys in them, and the search inside one.
 *
 * ```
 * tree node, 1,024 bytes, aligned to 64
 *     0  u16 count        2  u8  level, 0 is a leaf       4  u16 prefix size
 *     8  u32 next leaf   12  u32 previous leaf           16  u32 version, reserved for readers of other threads
 *    24  the first 40 bytes of the prefix
 *    64  i64 heads[]
 * leaf                                           inner node
 *   704  u32 key nodes[80]                         536  u32 separators[59]
 *                                                  772  u32 children[60]
 *
 * separator, a slab item
 *     0  u32 size         8  key, zero-padded to 8
 * ```
 *
 * An entry is a key node in a leaf and a separator in an inner node. Separator i lies above every key under child i
 * and at or below every key under child i + 1.
 *
 * Invariants:
 * 1. All entries of a node start with its prefix; the prefix may be shorter than what they share. Of a prefix longer
 *    than 40 bytes the rest is read from entry 0. A node without entries has no prefix.
 * 2. A head is the 8 bytes behind the prefix, zero-padded, big-endian, sign bit flipped: signed order is byte order.
 * 3. Entries ascend strictly, so heads ascend; equal heads are told apart by the keys themselves.
 * 4. Every leaf but a root has entries; every inner node but a root has at least one child, a root at least two.
 */
import { commonPrefix, loadBigEndian, pad8 } from "../bytes/compare";
import { KEY_SIZE_MAX } from "../limits";
import { KeyNode, NODE_HEADER_SIZE } from "./key-node";

export const TREE_NODE_SIZE: u32 = 1024;
export const LEAF_CAPACITY: u32 = 80;
export const INNER_CAPACITY: u32 = 59;
/** How many sizes `separatorSizeOf` can give. */
export const SEPARATOR_SIZE_COUNT: u32 = 9;
/** Set beside the index when `leafSearch` met the very key. */
export const FOUND: u32 = 1 << 16;

const PREFIX: usize = 24;
const PREFIX_INLINE_SIZE: u32 = 40;
const HEADS: usize = 64;
const LEAF_ENTRIES: usize = 704;
const INNER_ENTRIES: usize = 536;
const INNER_CHILDREN: usize = 772;
const SEPARATOR_KEY: usize = 8;
const SEPARATOR_SIZE_MAX: u32 = <u32>SEPARATOR_KEY + KEY_SIZE_MAX;
const SIGN: u64 = 0x8000000000000000;

@unmanaged
export class TreeNode {
  count: u16;
  level: u8;
  prefixSize: u16;
  next: u32;
  previous: u32;
  version: u32;

  /** Where entry `index` lies. */
  entrySlot(index: u32): usize {
    return changetype<usize>(this) + (this.level ? INNER_ENTRIES : LEAF_ENTRIES) + ((<usize>index) << 2);
  }
  entry(index: u32): usize {
    return load<u32>(this.entrySlot(index));
  }
  /** A leaf's entry, without the question whether this is a leaf. */
  keyNode(index: u32): usize {
    return load<u32>(changetype<usize>(this) + ((<usize>index) << 2), LEAF_ENTRIES);
  }
  headSlot(index: u32): usize {
    return changetype<usize>(this) + HEADS + ((<usize>index) << 3);
  }
  head(index: u32): i64 {
    return load<i64>(this.headSlot(index));
  }
  childSlot(index: u32): usize {
    return changetype<usize>(this) + INNER_CHILDREN + ((<usize>index) << 2);
  }
  child(index: u32): TreeNode {
    return changetype<TreeNode>(<usize>load<u32>(this.childSlot(index)));
  }
  /** First byte of an entry's key. */
  keyOf(entry: usize): usize {
    return entry + (this.level ? SEPARATOR_KEY : <usize>NODE_HEADER_SIZE);
  }
  keySizeOf(entry: usize): u32 {
    return this.level ? load<u32>(entry) : changetype<KeyNode>(entry).keySize;
  }
}

if (offsetof<TreeNode>("count") != 0) ERROR("TreeNode layout");
if (offsetof<TreeNode>("level") != 2) ERROR("TreeNode layout");
if (offsetof<TreeNode>("prefixSize") != 4) ERROR("TreeNode layout");
if (offsetof<TreeNode>("next") != 8) ERROR("TreeNode layout");
if (offsetof<TreeNode>("version") != 16) ERROR("TreeNode layout");
if (<u32>offsetof<TreeNode>() > <u32>PREFIX) ERROR("TreeNode fields reach into the prefix");
if (PREFIX + <usize>PREFIX_INLINE_SIZE != HEADS) ERROR("TreeNode prefix");
if (HEADS + <usize>LEAF_CAPACITY * 8 != LEAF_ENTRIES) ERROR("leaf heads");
if (LEAF_ENTRIES + <usize>LEAF_CAPACITY * 4 != <usize>TREE_NODE_SIZE) ERROR("leaf entries");
if (HEADS + <usize>INNER_CAPACITY * 8 != INNER_ENTRIES) ERROR("inner heads");
if (INNER_ENTRIES + <usize>INNER_CAPACITY * 4 != INNER_CHILDREN) ERROR("inner entries");
if (INNER_CHILDREN + <usize>(INNER_CAPACITY + 1) * 4 > <usize>TREE_NODE_SIZE) ERROR("inner children");

/**
 * Bytes of the item for a separator whose key has `size` bytes: 16, 24, 32, a power of two to 1,024, or 2,056. Each size
 * of the slab begins a chunk of its own, so separators come in few.
 */
export function separatorSizeOf(size: u32): u32 {
  const exact = <u32>SEPARATOR_KEY + pad8(size);
  if (exact <= 32) return exact;
  return exact <= 1024 ? 1 << (32 - clz(exact - 1)) : SEPARATOR_SIZE_MAX;
}

/** Fills a separator with the first `size` bytes of a padded key and zero padding. */
export function separatorSet(separator: usize, key: usize, size: u32): void {
  store<u32>(separator, size);
  const target = separator + SEPARATOR_KEY;
  for (let i: u32 = 0; i < size; i += 8) store<u64>(target + i, load<u64>(key + i));
  const spare = pad8(size) - size;
  if (spare) {
    const last = target + (size & ~7);
    store<u64>(last, load<u64>(last) & (u64.MAX_VALUE >>> ((<u64>spare) << 3)));
  }
}

/**
 * The head of a padded key behind `prefixSize` bytes. The last word of the key is shifted rather than the
 * load moved past it: a key may end where the memory ends.
 */
export function headOf(key: usize, size: u32, prefixSize: u32): i64 {
  if (prefixSize >= size) return <i64>SIGN;
  const padded = pad8(size);
  const start = prefixSize + 8;
  if (start <= padded) return <i64>(loadBigEndian(key + prefixSize) ^ SIGN);
  return <i64>((loadBigEndian(key + padded - 8) << ((<u64>(start - padded)) << 3)) ^ SIGN);
}

/**
 * Index of the first entry of a leaf at or above a padded key, from 0 to `count`; FOUND is added when it is the key
 * itself. Every head is looked at by SIMD: the lines of a cold leaf are then fetched at once, not one after another.
 */
export function leafSearch(leaf: TreeNode, key: usize, size: u32): u32 {
  const count = <u32>leaf.count;
  const prefixSize = <u32>leaf.prefixSize;
  if (prefixSize) {
    const order = comparePrefix(leaf, key, size, prefixSize);
    if (order) return order < 0 ? 0 : count;
  }
  const head = headOf(key, size, prefixSize);
  const index = headsBelow(leaf, count, head);
  if (index == count || leaf.head(index) != head) return index;
  return searchTies(leaf, index, key, size, false);
}

/** Index of the child under which a padded key belongs: the number of separators at or below it. */
export function innerSearch(inner: TreeNode, key: usize, size: u32): u32 {
  const count = <u32>inner.count;
  if (!count) return 0;
  const prefixSize = <u32>inner.prefixSize;
  if (prefixSize) {
    const order = comparePrefix(inner, key, size, prefixSize);
    if (order) return order < 0 ? 0 : count;
  }
  const head = headOf(key, size, prefixSize);
  let slot = inner.headSlot(0);
  const first = slot;
  // Without branches: inner nodes are warm, and which way a search turns cannot be predicted.
  for (let remaining = count; remaining > 1; ) {
    const half = remaining >>> 1;
    const middle = slot + ((<usize>half) << 3);
    slot = select<usize>(middle, slot, load<i64>(middle - 8) < head);
    remaining -= half;
  }
  const index = (<u32>(slot - first) >>> 3) + (load<i64>(slot) < head ? 1 : 0);
  if (index == count || inner.head(index) != head) return index;
  return searchTies(inner, index, key, size, true);
}

/**
 * Whether heads alone prove that a padded key, if it is present, is in this leaf, and if it is absent, belongs there:
 * it lies between two entries of the leaf, or beyond an end behind which there is no further leaf. Leaves hold
 * disjoint ranges in the order of their links, so no other leaf can hold a key between two entries of this one.
 */
export function leafHolds(leaf: TreeNode, key: usize, size: u32): bool {
  const count = <u32>leaf.count;
  if (!count) return false;
  const prefixSize = <u32>leaf.prefixSize;
  if (prefixSize) {
    const order = comparePrefix(leaf, key, size, prefixSize);
    if (order) return order < 0 ? !leaf.previous : !leaf.next;
  }
  const head = headOf(key, size, prefixSize);
  return (!leaf.previous || head > leaf.head(0)) && (!leaf.next || head < leaf.head(count - 1));
}

/** Makes the first `prefixSize` bytes of a key the prefix. Heads are the caller's to set. */
export function setPrefix(node: TreeNode, key: usize, prefixSize: u32): void {
  node.prefixSize = <u16>prefixSize;
  const size = min(prefixSize, PREFIX_INLINE_SIZE);
  for (let i: u32 = 0; i < size; i += 8) store<u64>(changetype<usize>(node) + PREFIX + i, load<u64>(key + i));
}

/** Copies the prefix of a node to another that is given some of its entries. */
export function copyPrefix(target: TreeNode, source: TreeNode): void {
  target.prefixSize = source.prefixSize;
  for (let i: usize = 0; i < <usize>PREFIX_INLINE_SIZE; i += 8) {
    store<u64>(changetype<usize>(target) + PREFIX + i, load<u64>(changetype<usize>(source) + PREFIX + i));
  }
}

/** Shortens the prefix, if need be, so that a padded key can become an entry. */
export function fitPrefix(node: TreeNode, key: usize, size: u32): void {
  const prefixSize = <u32>node.prefixSize;
  if (!node.count) setPrefix(node, key, size);
  else if (prefixSize) {
    const shared = sharedPrefix(node, key, min(size, prefixSize));
    if (shared < prefixSize) shortenPrefix(node, shared);
  }
}

/** Shortens the prefix to `size` bytes. Heads are made anew from the bytes that the prefix gives up: no key is read. */
export function shortenPrefix(node: TreeNode, size: u32): void {
  const prefixSize = <u32>node.prefixSize;
  const dropped = prefixSize - size;
  if (!dropped) return;
  let bytes: u64;
  if (prefixSize <= PREFIX_INLINE_SIZE) {
    bytes = loadBigEndian(changetype<usize>(node) + PREFIX + size);
  } else {
    const entry = node.entry(0);
    bytes = <u64>headOf(node.keyOf(entry), node.keySizeOf(entry), size) ^ SIGN;
  }
  const shift = (<u64>dropped) << 3;
  if (dropped < 8) bytes &= u64.MAX_VALUE << (64 - shift);
  const end = node.headSlot(node.count);
  for (let slot = node.headSlot(0); slot < end; slot += 8) {
    const rest = dropped < 8 ? (load<u64>(slot) ^ SIGN) >>> shift : 0;
    store<u64>(slot, (bytes | rest) ^ SIGN);
  }
  node.prefixSize = <u16>size;
}

/** Lengthens the prefix to all that the entries share when some heads are equal; reads the keys only then. */
export function tightenPrefix(node: TreeNode): void {
  const count = <u32>node.count;
  let tied = false;
  for (let i: u32 = 1; i < count && !tied; i++) tied = node.head(i) == node.head(i - 1);
  if (!tied) return;
  const first = node.entry(0);
  const last = node.entry(count - 1);
  const size = min(node.keySizeOf(first), node.keySizeOf(last));
  const shared = commonPrefix(node.keyOf(first), node.keyOf(last), size);
  if (shared <= <u32>node.prefixSize) return;
  setPrefix(node, node.keyOf(first), shared);
  for (let i: u32 = 0; i < count; i++) {
    const entry = node.entry(i);
    store<i64>(node.headSlot(i), headOf(node.keyOf(entry), node.keySizeOf(entry), shared));
  }
}

/** How many of the first `limit` bytes of a key are those of the prefix; `limit` is at most either's size. */
export function sharedPrefix(node: TreeNode, key: usize, limit: u32): u32 {
  const shared = commonPrefix(key, changetype<usize>(node) + PREFIX, min(limit, PREFIX_INLINE_SIZE));
  if (shared < PREFIX_INLINE_SIZE || limit == shared) return shared;
  const rest = node.keyOf(node.entry(0)) + PREFIX_INLINE_SIZE;
  return shared + commonPrefix(key + PREFIX_INLINE_SIZE, rest, limit - PREFIX_INLINE_SIZE);
}

/**
 * Order of a padded key against the prefix; 0 when they agree as far as both go. A key that ends within the prefix has
 * the lowest head and is told from the entries by its size.
 */
function comparePrefix(node: TreeNode, key: usize, size: u32, prefixSize: u32): i32 {
  // The usual case first: a prefix of at most two words, and a key that starts with it.
  const prefix = changetype<usize>(node) + PREFIX;
  if (size >= prefixSize && prefixSize <= 16) {
    const first = load<u64>(key) ^ load<u64>(prefix);
    if (prefixSize <= 8) {
      if (!(first << ((8 - <u64>prefixSize) << 3))) return 0;
    } else if (!(first | ((load<u64>(key, 8) ^ load<u64>(prefix, 8)) << ((16 - <u64>prefixSize) << 3)))) {
      return 0;
    }
  }
  const limit = min(size, prefixSize);
  const shared = sharedPrefix(node, key, limit);
  if (shared == limit) return 0;
  const other = shared < PREFIX_INLINE_SIZE ? load<u8>(prefix + shared) : load<u8>(node.keyOf(node.entry(0)) + shared);
  return load<u8>(key + shared) < other ? -1 : 1;
}

/** Number of heads below `head`, two accumulators of two lanes each. */
function headsBelow(leaf: TreeNode, count: u32, head: i64): u32 {
  const wanted = i64x2.splat(head);
  let even = i64x2.splat(0);
  let odd = i64x2.splat(0);
  let slot = leaf.headSlot(0);
  const end = slot + ((<usize>(count & ~3)) << 3);
  for (; slot < end; slot += 32) {
    even = i64x2.sub(even, i64x2.lt_s(v128.load(slot), wanted));
    odd = i64x2.sub(odd, i64x2.lt_s(v128.load(slot, 16), wanted));
  }
  even = i64x2.add(even, odd);
  let below = <u32>v128.extract_lane<i64>(even, 0) + <u32>v128.extract_lane<i64>(even, 1);
  for (const last = leaf.headSlot(count); slot < last; slot += 8) below += load<i64>(slot) < head ? 1 : 0;
  return below;
}

/**
 * Settles a search among entries whose heads equal the key's, of which `index` is the first: by the keys' bytes
 * behind the head, in at most seven reads. Gives the first entry at or above the key, with FOUND when they
 * are equal, or, for `above`, the first entry above it.
 */
function searchTies(node: TreeNode, index: u32, key: usize, size: u32, above: bool): u32 {
  const count = <u32>node.count;
  const head = node.head(index);
  let low = index;
  let high = index + 1;
  while (high < count && node.head(high) == head) high++;
  const from = (<u32>node.prefixSize + 8) & ~7;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = node.entry(middle);
    const order = compareFrom(key, size, node.keyOf(entry), node.keySizeOf(entry), from);
    if (!order) return above ? middle + 1 : middle | FOUND;
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Order of two padded keys that are known to agree on their first `from` bytes, a multiple of 8. */
function compareFrom(a: usize, aSize: u32, b: usize, bSize: u32, from: u32): i32 {
  const size = min(aSize, bSize);
  for (let i = from; i < size; i += 8) {
    const x = load<u64>(a + i);
    const y = load<u64>(b + i);
    if (x != y) return bswap<u64>(x) < bswap<u64>(y) ? -1 : 1;
  }
  return aSize < bSize ? -1 : aSize > bSize ? 1 : 0;
}
