/**
 * Writes whose nodes are brought up to date a little later, in groups, so that their cache misses overlap.
 *
 * A `set` of a small value answers the same whether its key is new or not. So it only appends its record and leaves
 * the rest here, in a list of at most 32. When the list is full, or anything else wants to know what the store holds,
 * all of it is done in stages: ask for all buckets, ask for all likely nodes, then change one after the other. At a
 * million keys that turns two misses of 180 ns, one waiting for the other, into a few nanoseconds each.
 *
 * Invariants: (1) everything that looks at an index or a node applies the list first; (2) the memory that the list can
 * need was free when its entries were made; (3) entries are applied in the order of their sequences.
 *
 * ```
 * entry, 256 bytes
 *   0  u64 hash    8  u64 address   16  u64 sequence
 *  24  u16 key size   26  u16 value size   28  u32 flags of the call
 *  32  u32 likely bucket, while a group is applied
 *  40  key, zero-padded to 8, then the value
 * ```
 */
import { copyWords, pad8 } from "../bytes/compare";
import { hashBucketOf, hashFind, hashPeek } from "../index/hash-index";
import { descend } from "../index/tree-path";
import { INLINE_VALUE_SIZE_MAX } from "../limits";
import { chunksAvailable } from "../memory/chunks";
import { EXCHANGE_IN, KEY_A, LATER, root } from "../root";
import { inlineAllowed, nodeAdd, nodeReplace } from "./dual";

const COUNT_MAX: u32 = 32;
const ENTRY_SIZE_LOG2: u32 = 8;
const BODY: usize = 40;
/** Larger keys are not worth the room. */
const KEY_SIZE_MAX: u32 = 64;
/** Chunks that must be free: each entry may open a chunk for its node, for a version and for a split of each index. */
const CHUNKS_FREE: u32 = COUNT_MAX * 4 + 24;

@unmanaged
class Later {
  hash: u64;
  address: u64;
  sequence: u64;
  keySize: u16;
  valueSize: u16;
  callFlags: u32;
  bucket: u32;
  reserved: u32;
}

if (offsetof<Later>() != BODY) ERROR("Later layout");
if (BODY + KEY_SIZE_MAX + INLINE_VALUE_SIZE_MAX + 16 > 1 << ENTRY_SIZE_LOG2) ERROR("an entry outgrew its place");

/** Whether a write may wait. */
export function laterTakes(keySize: u32, valueSize: u32): bool {
  return (
    valueSize <= INLINE_VALUE_SIZE_MAX && keySize <= KEY_SIZE_MAX && chunksAvailable() >= CHUNKS_FREE && inlineAllowed()
  );
}

/** Leaves the write whose key is in KEY_A and whose value is in EXCHANGE_IN, and whose record is in the log. */
export function laterAdd(hash: u64, address: u64, sequence: u64, keySize: u32, valueSize: u32, callFlags: u32): void {
  const later = laterAt(root.laterCount);
  later.hash = hash;
  later.address = address;
  later.sequence = sequence;
  later.keySize = <u16>keySize;
  later.valueSize = <u16>valueSize;
  later.callFlags = callFlags;
  const key = changetype<usize>(later) + BODY;
  copyWords(key, KEY_A, keySize);
  copyWords(key + pad8(keySize), EXCHANGE_IN, valueSize);
  root.laterCount++;
  if (root.laterCount == COUNT_MAX) applyAll();
}

/** Brings the indexes and nodes up to date with every write so far. Bounded: 32 writes at most. */
export function laterApply(): void {
  if (root.laterCount) applyAll();
}

function applyAll(): void {
  const count = root.laterCount;
  root.laterCount = 0;
  let touched: u32 = 0;
  if (count > 2) {
    for (let i: u32 = 0; i < count; i++) {
      const later = laterAt(i);
      const bucket = hashBucketOf(later.hash);
      later.bucket = <u32>bucket;
      touched ^= load<u32>(bucket);
    }
    for (let i: u32 = 0; i < count; i++) {
      const later = laterAt(i);
      const node = hashPeek(<usize>later.bucket, later.hash);
      if (node) touched ^= load<u32>(node, 8) ^ load<u32>(node, 64) ^ load<u32>(node, 128);
      else touched ^= load<u32>(changetype<usize>(descend(changetype<usize>(later) + BODY, later.keySize)));
    }
    root.touched = touched;
  }
  for (let i: u32 = 0; i < count; i++) apply(laterAt(i));
}

function apply(later: Later): void {
  const key = changetype<usize>(later) + BODY;
  const keySize = <u32>later.keySize;
  const valueSize = <u32>later.valueSize;
  const value = key + pad8(keySize);
  const slot = hashFind(key, keySize, later.hash);
  if (slot) nodeReplace(slot, keySize, value, valueSize, later.callFlags, later.sequence, later.address);
  else nodeAdd(later.hash, key, keySize, value, valueSize, later.callFlags, later.sequence, later.address);
}

function laterAt(index: u32): Later {
  return changetype<Later>(LATER + ((<usize>index) << ENTRY_SIZE_LOG2));
}
