/**
 * The hash index: linear hashing over cache-line buckets.
 *
 * ```
 * bucket, 64 bytes
 *   0  u16 tag[10]      hash bits 12 to 27; 0 marks a free slot
 *  20  u32 overflow     next bucket of the chain, or 0
 *  24  u32 node[10]     key nodes
 * ```
 *
 * Buckets lie in chunks of 64 KiB named by a directory, so growth never copies: each insert beyond seven keys a bucket
 * splits one bucket. Tags hold the hash bits that decide a split, so a split reads no key. Overflow buckets come from
 * the slab. The scheme is Litwin's linear hashing (VLDB 1980) with the tags of Swiss tables.
 *
 * Invariants: (1) bucket `b` holds a key exactly when the low bits of its hash, folded at the split point, give `b`;
 * (2) tag 0 never stands for a key; (3) a bucket pointer is aligned to 64 bytes.
 */
import { keyEquals } from "../bytes/compare";
import { CHUNK_SIZE, chunksAvailable, chunksHold, chunkTake } from "../memory/chunks";
import { slabClassOf, slabGive, slabTake } from "../memory/slab";
import { HASH_DIRECTORY, HASH_DIRECTORY_SIZE, root } from "../root";
import { Status } from "../status";
import { KeyNode } from "./key-node";

const BUCKET_SIZE: u32 = 64;
const SLOTS: usize = 10;
const SLOT_MASK: i32 = 0x3ff;
const OVERFLOW: usize = 20;
const NODES: usize = 24;
const KEYS_PER_BUCKET: u32 = 7;
/** Tags start at hash bit 12, so the table starts with as many buckets as bits below it can tell apart. */
const BUCKETS_INITIAL: u32 = 4096;
const TAG_SHIFT: u32 = 12;
const BUCKETS_PER_CHUNK_LOG2: u32 = 10;
const DIRECTORY_CAPACITY: u32 = <u32>(HASH_DIRECTORY_SIZE >> 2);

/** Sets up an empty index of 4,096 buckets. OUT_OF_MEMORY when not even these fit. */
export function hashInitialize(): i32 {
  for (let i: u32 = 0; i < BUCKETS_INITIAL >>> BUCKETS_PER_CHUNK_LOG2; i++) {
    const chunk = chunkTake();
    if (!chunk) return Status.OUT_OF_MEMORY;
    memory.fill(chunk, 0, CHUNK_SIZE);
    store<u32>(HASH_DIRECTORY + ((<usize>i) << 2), <u32>chunk);
  }
  root.hashBucketCount = BUCKETS_INITIAL;
  root.hashMaskHigh = BUCKETS_INITIAL - 1;
  root.hashMaskLow = BUCKETS_INITIAL - 1;
  root.hashOverflowCount = 0;
  root.hashChainLongest = 1;
  root.keyCount = 0;
  return Status.OK;
}

/**
 * Makes the empty index as large as `count` keys need, so that putting them in splits nothing. OUT_OF_MEMORY; then it is as
 * large as memory allowed, and whole.
 */
export function hashGrow(count: u64): i32 {
  const wanted = <u32>min<u64>(count / KEYS_PER_BUCKET + 1, (<u64>DIRECTORY_CAPACITY) << BUCKETS_PER_CHUNK_LOG2);
  while (root.hashBucketCount < wanted) {
    if (chunksAvailable() < 4) return Status.OUT_OF_MEMORY;
    const chunk = chunkTake();
    memory.fill(chunk, 0, CHUNK_SIZE);
    store<u32>(HASH_DIRECTORY + ((<usize>(root.hashBucketCount >>> BUCKETS_PER_CHUNK_LOG2)) << 2), <u32>chunk);
    root.hashBucketCount += 1 << BUCKETS_PER_CHUNK_LOG2;
  }
  const bits = 32 - <u32>clz(root.hashBucketCount - 1);
  root.hashMaskHigh = <u32>(((<u64>1) << bits) - 1);
  root.hashMaskLow = root.hashBucketCount & (root.hashBucketCount - 1) ? root.hashMaskHigh >>> 1 : root.hashMaskHigh;
  return Status.OK;
}

/** First bucket of the chain that a hash belongs to. */
export function hashBucketOf(hash: u64): usize {
  let index = <u32>hash & root.hashMaskHigh;
  if (index >= root.hashBucketCount) index &= root.hashMaskLow;
  return bucketAt(index);
}

/** The slot (address of a u32 node pointer) that holds the key, or 0. Two dependent misses when cold. */
export function hashFind(key: usize, size: u32, hash: u64): usize {
  const tag = i16x8.splat(<i16>tagOf(hash));
  let bucket = hashBucketOf(hash);
  do {
    let matches = matchMask(bucket, tag);
    while (matches) {
      const slot = bucket + NODES + ((<usize>ctz(matches)) << 2);
      const node = changetype<KeyNode>(<usize>load<u32>(slot));
      if (node.keySize == size && keyEquals(node.key, key, size)) return slot;
      matches &= matches - 1;
    }
    bucket = load<u32>(bucket, OVERFLOW);
  } while (bucket);
  return 0;
}

/**
 * Touches what a later `hashFind` will need, without waiting for it: for groups of keys, so that their misses overlap.
 * Returns the node of the first tag match, or 0.
 */
export function hashPeek(bucket: usize, hash: u64): usize {
  const matches = matchMask(bucket, i16x8.splat(<i16>tagOf(hash)));
  return matches ? <usize>load<u32>(bucket + NODES + ((<usize>ctz(matches)) << 2)) : 0;
}

/** Whether `count` inserts are sure to find memory. */
export function hashReserve(count: u32): bool {
  // Each insert adds at most one overflow bucket, and each split at most two; a split that finds none is put off.
  return (count >>> 9) + 2 < chunksAvailable();
}

/** Adds a node whose key is absent; memory was reserved. Splits at most one bucket. */
export function hashInsert(hash: u64, node: usize): i32 {
  if (!put(hashBucketOf(hash), tagOf(hash), <u32>node)) return Status.OUT_OF_MEMORY;
  root.keyCount++;
  if (root.keyCount > root.hashBucketCount * KEYS_PER_BUCKET) split();
  return Status.OK;
}

/** Empties the slot that `hashFind` gave. */
export function hashRemove(slot: usize): void {
  // Slots are 24 to 60 bytes into a bucket that is aligned to its size.
  const bucket = slot & ~(<usize>BUCKET_SIZE - 1);
  store<u16>(bucket + ((slot - bucket - NODES) >>> 1), 0);
  store<u32>(slot, 0);
  root.keyCount--;
}

/** Bytes of buckets in use, overflow included. */
export function hashBytes(): f64 {
  return <f64>(root.hashBucketCount + root.hashOverflowCount) * <f64>BUCKET_SIZE;
}

/** Walks all chains and counts the entries; for verifying. O(buckets). */
export function hashCount(): u32 {
  let count: u32 = 0;
  for (let i: u32 = 0; i < root.hashBucketCount; i++) {
    let bucket = bucketAt(i);
    do {
      for (let slot: usize = 0; slot < SLOTS; slot++) {
        if (load<u16>(bucket + (slot << 1))) count++;
      }
      bucket = load<u32>(bucket, OVERFLOW);
    } while (bucket);
  }
  return count;
}

/**
 * Writes the slots (u32) in use of the whole chain of bucket `index`, below `root.hashBucketCount`, to `out`, at most `capacity` of them: how many there are, or
 * -1 when the chain does not end, or leads nowhere. For verifying.
 */
export function hashCollect(index: u32, out: usize, capacity: u32): i32 {
  let bucket = bucketAt(index);
  let count: u32 = 0;
  for (let hops: u32 = 0; hops <= root.hashOverflowCount; hops++) {
    if (bucket & (BUCKET_SIZE - 1) || !chunksHold(bucket, BUCKET_SIZE)) return -1;
    for (let slot: usize = 0; slot < SLOTS; slot++) {
      if (!load<u16>(bucket + (slot << 1))) continue;
      if (count < capacity) store<u32>(out + ((<usize>count) << 2), <u32>(bucket + NODES + (slot << 2)));
      count++;
    }
    bucket = load<u32>(bucket, OVERFLOW);
    if (!bucket) return <i32>count;
  }
  return -1;
}

function bucketAt(index: u32): usize {
  const chunk = <usize>load<u32>(HASH_DIRECTORY + ((<usize>(index >>> BUCKETS_PER_CHUNK_LOG2)) << 2));
  return chunk + ((<usize>(index & ((1 << BUCKETS_PER_CHUNK_LOG2) - 1))) << 6);
}

function tagOf(hash: u64): u32 {
  const tag = <u32>(hash >>> TAG_SHIFT) & 0xffff;
  return tag ? tag : 0x8000;
}

/** Bit i is set when slot i carries the tag. */
function matchMask(bucket: usize, tag: v128): i32 {
  const low = i16x8.eq(v128.load(bucket), tag);
  const high = i16x8.eq(v128.load(bucket, 16), tag);
  return i8x16.bitmask(i8x16.narrow_i16x8_s(low, high)) & SLOT_MASK;
}

function put(bucket: usize, tag: u32, node: u32): bool {
  let length: u32 = 1;
  while (true) {
    const free = matchMask(bucket, i16x8.splat(0));
    if (free) {
      const slot = <usize>ctz(free);
      store<u16>(bucket + (slot << 1), <u16>tag);
      store<u32>(bucket + NODES + (slot << 2), node);
      return true;
    }
    let next = <usize>load<u32>(bucket, OVERFLOW);
    if (!next) {
      next = slabTake(slabClassOf(BUCKET_SIZE));
      if (!next) return false;
      memory.fill(next, 0, BUCKET_SIZE);
      store<u32>(bucket, <u32>next, OVERFLOW);
      root.hashOverflowCount++;
    }
    bucket = next;
    length++;
    if (length > root.hashChainLongest) root.hashChainLongest = length;
  }
}

/** Splits the next bucket in turn. Put off when memory is short. */
function split(): void {
  const target = root.hashBucketCount;
  if (target >>> BUCKETS_PER_CHUNK_LOG2 >= DIRECTORY_CAPACITY) return;
  if (chunksAvailable() < 4) return;
  if (!(target & ((1 << BUCKETS_PER_CHUNK_LOG2) - 1))) {
    const chunk = chunkTake();
    memory.fill(chunk, 0, CHUNK_SIZE);
    store<u32>(HASH_DIRECTORY + ((<usize>(target >>> BUCKETS_PER_CHUNK_LOG2)) << 2), <u32>chunk);
  }
  if (target > root.hashMaskHigh) {
    root.hashMaskLow = root.hashMaskHigh;
    root.hashMaskHigh = (root.hashMaskHigh << 1) | 1;
  }
  const bit = root.hashMaskLow + 1;
  const from = bucketAt(target & root.hashMaskLow);
  const to = bucketAt(target);
  root.hashBucketCount = target + 1;
  distribute(from, to, bit >>> TAG_SHIFT);
}

/** Sends the entries of a chain whose tags hold `tagBit` to `to`, and closes up what stays. Overflow buckets that are left over are freed. */
function distribute(from: usize, to: usize, tagBit: u32): void {
  let bucket = <usize>load<u32>(from, OVERFLOW);
  store<u32>(from, 0, OVERFLOW);
  for (let slot: usize = 0; slot < SLOTS; slot++) {
    const tag = <u32>load<u16>(from + (slot << 1));
    if (!(tag & tagBit)) continue;
    put(to, tag, load<u32>(from + NODES + (slot << 2)));
    store<u16>(from + (slot << 1), 0);
  }
  while (bucket) {
    for (let slot: usize = 0; slot < SLOTS; slot++) {
      const tag = <u32>load<u16>(bucket + (slot << 1));
      if (tag) put(tag & tagBit ? to : from, tag, load<u32>(bucket + NODES + (slot << 2)));
    }
    const next = <usize>load<u32>(bucket, OVERFLOW);
    slabGive(bucket);
    root.hashOverflowCount--;
    bucket = next;
  }
}
