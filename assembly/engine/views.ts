/**
 * Views: snapshots that a program holds, single keys as one sees them, and whether anything has changed since.
 *
 * A view is a snapshot in memory of its own; its handle is its pointer. It costs the same to read through as the present,
 * but for keys that were written since, whose older versions are walked.
 *
 * Whether something changed is asked of nodes, not of a record of writes: a node tells the sequence of its last write, and a
 * node that was deleted stays in both indexes while a view sees what it was. So a view that is open answers for every key
 * and every range, absent keys included, at the cost of looking at them.
 */
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, VERSION_HEADER_SIZE } from "../index/key-node";
import { SeekMode, treeCollectForward, treeFirst, treeSeek } from "../index/tree-cursor";
import { slabClassOf, slabGive, slabTake } from "../memory/slab";
import { EXCHANGE_OUT, EXCHANGE_SIZE, KEY_A, KEY_B, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { entryFound } from "./condition";
import { CursorFlags } from "./cursor";
import { laterApply } from "./later";
import { Snapshot, snapshotClose, snapshotOpen, versionAt } from "./snapshots";
import { valueOpen } from "./value";

/** Nodes that are looked at together. */
const GROUP: u32 = 512;

/** Opens a view of the present: its handle, or OUT_OF_MEMORY. 16 bytes; beside them, what is written from now on. */
export function viewOpen(): i64 {
  laterApply();
  const memory = slabTake(slabClassOf(offsetof<Snapshot>()));
  if (!memory) return Status.OUT_OF_MEMORY;
  snapshotOpen(changetype<Snapshot>(memory));
  return <i64>memory;
}

/** Closes a view; its handle is void then. */
export function viewClose(handle: usize): void {
  snapshotClose(changetype<Snapshot>(handle));
  slabGive(handle);
}

/** The sequence that a view, or a cursor, shows. */
export function viewVersion(handle: usize): f64 {
  return <f64>changetype<Snapshot>(handle).sequence;
}

/** `get`, as a view sees the key. */
export function getAt(keySize: u32, handle: usize): i32 {
  const node = nodeOf(keySize);
  if (!node) return 0;
  const seen = versionAt(changetype<KeyNode>(node), changetype<Snapshot>(handle));
  if (!seen) return 0;
  const body = seen == node ? changetype<KeyNode>(node).body : seen + VERSION_HEADER_SIZE;
  return valueOpen(changetype<KeyNode>(seen), keySize, body, EXCHANGE_OUT, EXCHANGE_SIZE, true);
}

/** `has`, as a view sees the key. */
export function hasAt(keySize: u32, handle: usize): i32 {
  const node = nodeOf(keySize);
  return node && versionAt(changetype<KeyNode>(node), changetype<Snapshot>(handle)) ? 1 : 0;
}

/** `entryOpen`, as a view sees the key. */
export function entryOpenAt(keySize: u32, handle: usize): i32 {
  const node = nodeOf(keySize);
  if (!node) return 0;
  const seen = versionAt(changetype<KeyNode>(node), changetype<Snapshot>(handle));
  if (!seen) return 0;
  entryFound(changetype<KeyNode>(seen), seen == node ? changetype<KeyNode>(node).body : seen + VERSION_HEADER_SIZE);
  return 1;
}

/**
 * Whether the key in KEY_A was written or deleted since a view was opened: 1 or 0. A key that was absent then and is
 * absent now may answer either.
 */
export function keyChanged(keySize: u32, handle: usize): i32 {
  const node = nodeOf(keySize);
  return node && changetype<KeyNode>(node).sequence > changetype<Snapshot>(handle).sequence ? 1 : 0;
}

/**
 * Whether any key of a range was written or deleted since a view was opened: 1 or 0. The range is [KEY_A, KEY_B), an end
 * open unless `flags` has its bit (`CursorFlags`). Looks at the nodes of the range, no further than the first that was.
 */
export function rangeChanged(flags: u32, lowerSize: u32, upperSize: u32, handle: usize): i32 {
  laterApply();
  store<u64>(KEY_A + lowerSize, 0);
  store<u64>(KEY_B + upperSize, 0);
  const sequence = changetype<Snapshot>(handle).sequence;
  const first = flags & CursorFlags.LOWER ? treeSeek(KEY_A, lowerSize, SeekMode.GE) : treeFirst();
  if (!first) return 0;
  const bound: usize = flags & CursorFlags.UPPER ? KEY_B : 0;
  while (true) {
    const count = treeCollectForward(WORKSPACE, GROUP, bound, upperSize);
    let newest: u64 = 0;
    // Without a branch in between, the misses of a group overlap.
    for (let i: u32 = 0; i < count; i++) {
      newest = max(newest, changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2))).sequence);
    }
    if (newest > sequence) return 1;
    if (count < GROUP) return 0;
  }
}

/** The node of the key in KEY_A, deleted or not, or 0. */
function nodeOf(keySize: u32): usize {
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  return slot ? <usize>load<u32>(slot) : 0;
}
