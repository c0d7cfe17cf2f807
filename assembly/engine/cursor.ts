/**
 * Cursors: walking a range through a snapshot, a block of entries a call.
 *
 * A cursor's range is [lower, upper) of encoded keys, either end open; what a caller includes or excludes otherwise it
 * says by a zero byte appended to the key. Going on moves the end that it comes from: the lower one forwards, the upper
 * one in reverse. While the index has not changed in between, the place in the leaf is used again instead of a seek.
 *
 * ```
 * entry of a block, 16 bytes, at EXCHANGE_OUT
 *   0  u32 key pointer     4  u32 key size    (bit 31: ASCII)
 *   8  u32 value pointer  12  u32 value size  (bit 31: ASCII; bit 30: too large, `valueRead` gives it in pieces)
 * ```
 *
 * Pointers hold until the next call. Values that are not inline are gathered behind the entries.
 */

import { copyWords } from "../bytes/compare";
import { CacheMode, memoryEnsure } from "../cache/block-cache";
import { RECORD_HEADER_SIZE } from "../format/record";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags, VERSION_HEADER_SIZE } from "../index/key-node";
import { SeekMode, treeCollectBackward, treeCollectForward, treeFirst, treeLast, treeSeek } from "../index/tree-cursor";
import { slabClassOf, slabClassSize, slabGive, slabTake } from "../memory/slab";
import { EXCHANGE_OUT, EXCHANGE_SIZE, KEY_A, KEY_B, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { Ahead, listNodes, listRead, planMake } from "./ahead";
import { removeAt } from "./dual";
import { expiredBy, snapshotTimeMs } from "./expiry";
import { laterApply } from "./later";
import { Snapshot, snapshotClose, snapshotJoin, snapshotOpen, versionAt } from "./snapshots";
import { ValueAt, valueOpen } from "./value";

const ENTRY_SIZE_LOG2: usize = 4;
/** Entries in a block at most. */
export const BLOCK_ENTRIES_MAX: u32 = 1024;
const GATHER: usize = EXCHANGE_OUT + ((<usize>BLOCK_ENTRIES_MAX) << ENTRY_SIZE_LOG2);
const GATHER_SIZE: u32 = EXCHANGE_SIZE - (BLOCK_ENTRIES_MAX << (<u32>ENTRY_SIZE_LOG2));
/** A bound's memory starts with its size. */
const BOUND_HEADER: usize = 8;
const ASCII_BIT: u32 = 0x80000000;
const PIECES_BIT: u32 = 0x40000000;

export namespace CursorFlags {
  export const REVERSE: u32 = 1;
  export const LOWER: u32 = 2;
  export const UPPER: u32 = 4;
  export const DONE: u32 = 8;
  /** No snapshot: for deleting what it walks over, which nobody needs to see any more. */
  export const UNPINNED: u32 = 16;
}

/** What of an entry is wanted. */
export namespace CursorMode {
  export const KEYS: u32 = 1;
  export const VALUES: u32 = 2;
  /** The blocks of the values were counted, and read, before. */
  export const COUNTED: u32 = 4;
}

@unmanaged
export class Cursor extends Snapshot {
  flags: u32;
  treeVersion: u32;
  leaf: u32;
  index: u32;
  lowerSize: u32;
  upperSize: u32;
  lower: u32;
  upper: u32;
}

/**
 * Opens a cursor over the present, or over what a view sees whose handle is not 0, with the lower end in KEY_A and the
 * upper end in KEY_B where the flags say so: its handle, or a status: OUT_OF_MEMORY. The view may be closed before it.
 */
export function cursorOpen(flags: u32, lowerSize: u32, upperSize: u32, view: usize): i64 {
  laterApply();
  // The cursor, and its ends.
  memoryEnsure(3);
  const memory = slabTake(slabClassOf(offsetof<Cursor>()));
  if (!memory) return Status.OUT_OF_MEMORY;
  const cursor = changetype<Cursor>(memory);
  cursor.flags = flags;
  cursor.leaf = 0;
  cursor.lower = 0;
  cursor.upper = 0;
  cursor.lowerSize = 0;
  cursor.upperSize = 0;
  store<u64>(KEY_A + lowerSize, 0);
  store<u64>(KEY_B + upperSize, 0);
  const fits =
    (!(flags & CursorFlags.LOWER) || lowerSet(cursor, KEY_A, lowerSize, lowerSize)) &&
    (!(flags & CursorFlags.UPPER) || upperSet(cursor, KEY_B, upperSize, upperSize));
  if (!fits) {
    cursorFree(cursor);
    return Status.OUT_OF_MEMORY;
  }
  if (flags & CursorFlags.UNPINNED) {
    cursor.sequence = root.sequence;
    cursor.timeMs = snapshotTimeMs();
  } else if (view) {
    snapshotJoin(cursor, changetype<Snapshot>(view));
  } else {
    snapshotOpen(cursor);
  }
  return <i64>memory;
}

/** Closes a cursor; its handle is void then. */
export function cursorClose(handle: usize): void {
  const cursor = changetype<Cursor>(handle);
  if (!(cursor.flags & CursorFlags.UNPINNED)) snapshotClose(cursor);
  cursorFree(cursor);
}

/** Moves a cursor to the key in KEY_A: the next block starts there, forwards at or above it, in reverse at or below. */
export function cursorSeek(handle: usize, keySize: u32): i32 {
  const cursor = changetype<Cursor>(handle);
  store<u64>(KEY_A + keySize, 0);
  cursor.leaf = 0;
  cursor.flags &= ~CursorFlags.DONE;
  if (cursor.flags & CursorFlags.REVERSE) {
    cursor.flags |= CursorFlags.UPPER;
    return upperSet(cursor, KEY_A, keySize, keySize) ? Status.OK : Status.OUT_OF_MEMORY;
  }
  cursor.flags |= CursorFlags.LOWER;
  return lowerSet(cursor, KEY_A, keySize, keySize) ? Status.OK : Status.OUT_OF_MEMORY;
}

/**
 * Writes the next entries, at most `count`, to EXCHANGE_OUT: how many, or a status. `resultFlags` is 1 when the range
 * is at its end. `mode` is CursorMode, combined.
 */
export function cursorNext(handle: usize, count: u32, mode: u32): i32 {
  laterApply();
  // What a block of entries needs is read, and counted, before they are written.
  root.cacheMode = CacheMode.SCAN | CacheMode.PLANNED;
  const written = entriesWrite(changetype<Cursor>(handle), min(count, BLOCK_ENTRIES_MAX), mode);
  root.cacheMode = CacheMode.SINGLE;
  return written;
}

/**
 * Plans the reads of the blocks that the next `count` entries with their values need, as far as one `cursorNext` gives
 * them; the cursor stays where it is. READY, READS or BUSY: engine/ahead.ts. `again`: they were planned by a call before.
 */
export function cursorAhead(handle: usize, count: u32, again: u32): i32 {
  laterApply();
  const cursor = changetype<Cursor>(handle);
  if (cursor.flags & CursorFlags.DONE || !position(cursor)) return Ahead.READY;
  const collected = collectMore(cursor, min(count, BLOCK_ENTRIES_MAX));
  touch(collected, false);
  listNodes(cursor, 0, collected, GATHER_SIZE, again == 0);
  return root.planBlockCount ? planMake(CacheMode.SCAN, again != 0) : Ahead.READY;
}

function entriesWrite(cursor: Cursor, count: u32, mode: u32): i32 {
  root.resultFlags = 0;
  let written: u32 = 0;
  let gathered: u32 = 0;
  while (written < count && !(cursor.flags & CursorFlags.DONE)) {
    const asked = count - written;
    const collected = collect(cursor, asked);
    touch(collected, (mode & CursorMode.VALUES) != 0);
    let readTo = mode & CursorMode.VALUES ? 0 : collected;
    for (let i: u32 = 0; i < collected; i++) {
      if (i == readTo) {
        readTo = listNodes(cursor, i, collected, GATHER_SIZE - gathered, !(mode & CursorMode.COUNTED));
        listRead();
      }
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      const seen = versionAt(node, cursor);
      if (!seen) continue;
      const used = entryWrite(written, node, seen, mode, gathered, !written);
      if (used == ENTRY_LATER || used < 0) {
        const placed = resumeAt(cursor, node);
        if (placed < 0) return placed;
        return used == ENTRY_LATER ? <i32>written : <i32>used;
      }
      written++;
      if (used == ENTRY_PIECES) {
        // Its pieces are read before anything else is.
        const placed = resumeBehind(cursor, node);
        return placed < 0 ? placed : <i32>written;
      }
      gathered += <u32>used;
    }
    if (collected < asked) cursor.flags |= CursorFlags.DONE;
    else {
      const last = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>(collected - 1)) << 2)));
      const leaf = cursor.leaf;
      const placed = resumeBehind(cursor, last);
      if (placed < 0) return placed;
      cursor.leaf = leaf;
    }
  }
  if (cursor.flags & CursorFlags.DONE) root.resultFlags = 1;
  return <i32>written;
}

/** Counts the keys of a cursor's range, from where it stands; the cursor is at its end then. About 1 ns a key. */
export function cursorCount(handle: usize): u32 {
  laterApply();
  const cursor = changetype<Cursor>(handle);
  let total: u32 = 0;
  // Without older versions, and without expiries, every entry of the index is visible to a snapshot of the present.
  const all = !root.versionCount && !root.expiringCount && cursor.sequence == root.sequence;
  if (!position(cursor)) return 0;
  while (true) {
    const collected = collectMore(cursor, BLOCK_ENTRIES_MAX);
    if (all) {
      total += collected;
    } else {
      touch(collected, false);
      for (let i: u32 = 0; i < collected; i++) {
        const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
        if (versionAt(node, cursor)) total++;
      }
    }
    if (collected < BLOCK_ENTRIES_MAX) break;
  }
  cursor.flags |= CursorFlags.DONE;
  return total;
}

/**
 * Bytes that deleting a cursor's whole range would append to the log; `resultPointer` is how many keys that are,
 * `resultSize` the size of the largest. The cursor stays where it is.
 */
export function cursorWeigh(handle: usize): f64 {
  laterApply();
  const cursor = changetype<Cursor>(handle);
  let bytes: f64 = 0;
  let total: u32 = 0;
  let largest: u32 = 0;
  let more = position(cursor);
  while (more) {
    const collected = collectMore(cursor, BLOCK_ENTRIES_MAX);
    for (let i: u32 = 0; i < collected; i++) {
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      if (node.flags & NodeFlags.DELETED) continue;
      bytes += <f64>(RECORD_HEADER_SIZE + node.keySize + 8);
      largest = max(largest, node.keySize);
      total++;
    }
    more = collected == BLOCK_ENTRIES_MAX;
  }
  root.resultPointer = total;
  root.resultSize = largest;
  return bytes;
}

/**
 * Deletes the next keys of a forward cursor's range, at most `count`: how many, 0 at the end, or a status. `resultSize` is
 * how many of them had not expired.
 */
export function cursorDelete(handle: usize, count: u32): i32 {
  laterApply();
  const cursor = changetype<Cursor>(handle);
  count = min(count, BLOCK_ENTRIES_MAX);
  let deleted = 0;
  let visible: u32 = 0;
  while (!deleted && !(cursor.flags & CursorFlags.DONE)) {
    cursor.leaf = 0;
    const collected = collect(cursor, count);
    if (collected < count) cursor.flags |= CursorFlags.DONE;
    else {
      const last = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>(collected - 1)) << 2)));
      const placed = resumeBehind(cursor, last);
      if (placed < 0) return placed;
    }
    for (let i: u32 = 0; i < collected; i++) {
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      if (node.flags & NodeFlags.DELETED) continue;
      const slot = hashFind(node.key, node.keySize, keyHash(node.key, node.keySize, root.hashSeed));
      if (!expiredBy(node, node.body, cursor.timeMs)) visible++;
      const status = removeAt(slot, node);
      if (status < 0) return status;
      deleted++;
    }
  }
  root.resultSize = visible;
  return deleted;
}

const ENTRY_LATER: i64 = -1000;
const ENTRY_PIECES: i64 = 0x100000000;

/** Writes entry `index`: bytes gathered, ENTRY_LATER, ENTRY_PIECES, or a status. */
function entryWrite(index: u32, node: KeyNode, seen: usize, mode: u32, gathered: u32, first: bool): i64 {
  const entry = EXCHANGE_OUT + ((<usize>index) << ENTRY_SIZE_LOG2);
  const keySize = node.keySize;
  store<u32>(entry, <u32>node.key);
  store<u32>(entry, node.flags & NodeFlags.ASCII_KEY ? keySize | ASCII_BIT : keySize, 4);
  if (!(mode & CursorMode.VALUES)) return 0;
  const shown = changetype<KeyNode>(seen);
  const body = seen == changetype<usize>(node) ? node.body : seen + VERSION_HEADER_SIZE;
  const size = shown.valueSize;
  const flagged = shown.flags & NodeFlags.ASCII_VALUE ? size | ASCII_BIT : size;
  if (shown.flags & NodeFlags.INLINE) {
    store<u32>(entry, <u32>body, 8);
    store<u32>(entry, flagged, 12);
    return 0;
  }
  const padded = (size + 7) & ~7;
  if (!first && padded > GATHER_SIZE - gathered) return ENTRY_LATER;
  const opened = valueOpen(shown, keySize, body, GATHER + gathered, GATHER_SIZE - gathered, false);
  root.resultFlags = 0;
  if (opened < 0) return opened;
  store<u32>(entry, root.resultPointer, 8);
  store<u32>(entry, opened == ValueAt.PIECES ? flagged | PIECES_BIT : flagged, 12);
  return opened == ValueAt.PIECES ? ENTRY_PIECES : padded;
}

/** Asks for the lines of the nodes collected, with those of small values, without waiting for one before the next. */
function touch(count: u32, values: bool): void {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const node = <usize>load<u32>(WORKSPACE + ((<usize>i) << 2));
    sum += load<u32>(node, 16);
    if (values) sum += load<u32>(node, 64) + load<u32>(node, 128);
  }
  root.touched = sum;
}

/** Puts the index's position where the cursor goes on, and writes up to `count` nodes to the working space. */
function collect(cursor: Cursor, count: u32): u32 {
  if (!position(cursor)) return 0;
  const collected = collectMore(cursor, count);
  cursor.leaf = root.treePositionLeaf;
  cursor.index = root.treePositionIndex;
  cursor.treeVersion = root.treeVersion;
  return collected;
}

function collectMore(cursor: Cursor, count: u32): u32 {
  if (cursor.flags & CursorFlags.REVERSE) {
    const bound = cursor.flags & CursorFlags.LOWER ? <usize>cursor.lower : 0;
    return treeCollectBackward(WORKSPACE, count, bound, cursor.lowerSize);
  }
  const bound = cursor.flags & CursorFlags.UPPER ? <usize>cursor.upper : 0;
  return treeCollectForward(WORKSPACE, count, bound, cursor.upperSize);
}

/** False when nothing of the range is left. */
function position(cursor: Cursor): bool {
  if (cursor.leaf && cursor.treeVersion == root.treeVersion) {
    root.treePositionLeaf = cursor.leaf;
    root.treePositionIndex = cursor.index;
    return true;
  }
  if (cursor.flags & CursorFlags.REVERSE) {
    if (!(cursor.flags & CursorFlags.UPPER)) return treeLast() != 0;
    return treeSeek(cursor.upper, cursor.upperSize, SeekMode.LT) != 0;
  }
  if (!(cursor.flags & CursorFlags.LOWER)) return treeFirst() != 0;
  return treeSeek(cursor.lower, cursor.lowerSize, SeekMode.GE) != 0;
}

/** The cursor goes on with this node. */
function resumeAt(cursor: Cursor, node: KeyNode): i32 {
  cursor.leaf = 0;
  const forward = !(cursor.flags & CursorFlags.REVERSE);
  cursor.flags |= forward ? CursorFlags.LOWER : CursorFlags.UPPER;
  const fits = forward
    ? lowerSet(cursor, node.key, node.keySize, node.keySize)
    : upperSet(cursor, node.key, node.keySize, node.keySize + 1);
  return fits ? Status.OK : Status.OUT_OF_MEMORY;
}

/** The cursor goes on behind this node. */
function resumeBehind(cursor: Cursor, node: KeyNode): i32 {
  cursor.leaf = 0;
  const forward = !(cursor.flags & CursorFlags.REVERSE);
  cursor.flags |= forward ? CursorFlags.LOWER : CursorFlags.UPPER;
  const fits = forward
    ? lowerSet(cursor, node.key, node.keySize, node.keySize + 1)
    : upperSet(cursor, node.key, node.keySize, node.keySize);
  return fits ? Status.OK : Status.OUT_OF_MEMORY;
}

function lowerSet(cursor: Cursor, key: usize, keySize: u32, size: u32): bool {
  const memory = boundSet(cursor.lower, key, keySize, size);
  if (!memory) return false;
  cursor.lower = <u32>memory;
  cursor.lowerSize = size;
  return true;
}

function upperSet(cursor: Cursor, key: usize, keySize: u32, size: u32): bool {
  const memory = boundSet(cursor.upper, key, keySize, size);
  if (!memory) return false;
  cursor.upper = <u32>memory;
  cursor.upperSize = size;
  return true;
}

/**
 * Copies the first `size` bytes at a padded key to memory that holds them, the present one when that is large enough,
 * and pads them: the pointer, or 0. Where `size` is one more than the key's, the byte behind the key is a zero.
 */
function boundSet(present: usize, key: usize, keySize: u32, size: u32): usize {
  const needed = <u32>BOUND_HEADER + ((size + 7) & ~7) + 8;
  let bound = present;
  if (!bound || load<u32>(bound - BOUND_HEADER) < needed) {
    const sizeClass = slabClassOf(needed);
    const taken = slabTake(sizeClass);
    if (!taken) return 0;
    if (present) slabGive(present - BOUND_HEADER);
    store<u32>(taken, slabClassSize(sizeClass));
    bound = taken + BOUND_HEADER;
  }
  copyWords(bound, key, keySize);
  if (size > keySize && !(keySize & 7)) store<u64>(bound + keySize, 0);
  return bound;
}

function cursorFree(cursor: Cursor): void {
  if (cursor.lower) slabGive(<usize>cursor.lower - BOUND_HEADER);
  if (cursor.upper) slabGive(<usize>cursor.upper - BOUND_HEADER);
  slabGive(changetype<usize>(cursor));
}
