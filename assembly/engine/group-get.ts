/**
 * Looking up many keys in one call: in stages over a group, so that their cache misses overlap instead of following
 * each other.
 *
 * ```
 * keys at EXCHANGE_IN     u32 size, u32 reserved, key, zero-padded to 8; and so on
 * results at EXCHANGE_OUT 16 bytes each: u32 state (0 absent, 1 found, 2 to be read by `get`), u32 flags,
 *                         u32 value pointer, u32 value size
 * ```
 */
import { pad8 } from "../bytes/compare";
import { hashBucketOf, hashFind, hashPeek } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags } from "../index/key-node";
import { EXCHANGE_IN, EXCHANGE_OUT, root, WORKSPACE } from "../root";
import { nodeHidden } from "./expiry";
import { laterApply } from "./later";

const KEY_HEADER_SIZE: usize = 8;
/** Keys in a group. */
export const GROUP_MAX: u32 = 32;

@unmanaged
class Lookup {
  hash: u64;
  key: u32;
  bucket: u32;
}

/** Looks up `count` keys, 32 at most. Values that are not in their node are left to `get`. */
export function getGroup(count: u32): void {
  laterApply();
  let key = EXCHANGE_IN;
  let touched: u32 = 0;
  count = min(count, GROUP_MAX);
  for (let i: u32 = 0; i < count; i++) {
    const lookup = lookupAt(i);
    const size = load<u32>(key);
    lookup.key = <u32>key;
    lookup.hash = keyHash(key + KEY_HEADER_SIZE, size, root.hashSeed);
    lookup.bucket = <u32>hashBucketOf(lookup.hash);
    touched ^= load<u32>(lookup.bucket, 20);
    key += KEY_HEADER_SIZE + pad8(size);
  }
  for (let i: u32 = 0; i < count; i++) {
    const lookup = lookupAt(i);
    const node = hashPeek(lookup.bucket, lookup.hash);
    if (node) touched ^= load<u32>(node, 16);
  }
  root.touched = touched;
  for (let i: u32 = 0; i < count; i++) {
    const lookup = lookupAt(i);
    const result = EXCHANGE_OUT + ((<usize>i) << 4);
    const size = load<u32>(lookup.key);
    const slot = hashFind(<usize>lookup.key + KEY_HEADER_SIZE, size, lookup.hash);
    const node = changetype<KeyNode>(slot ? <usize>load<u32>(slot) : 0);
    if (!slot || nodeHidden(node)) {
      store<u32>(result, 0);
      continue;
    }
    store<u32>(result, node.flags & NodeFlags.INLINE ? 1 : 2);
    store<u32>(result, node.flags, 4);
    store<u32>(result, <u32>node.body, 8);
    store<u32>(result, node.valueSize, 12);
  }
}

function lookupAt(index: u32): Lookup {
  return changetype<Lookup>(WORKSPACE + ((<usize>index) << 4));
}

if (offsetof<Lookup>() != 16) ERROR("Lookup layout");
