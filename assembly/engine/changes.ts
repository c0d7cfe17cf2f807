/**
 * Each key's latest change after a version: sets from the nodes of a range, deletions from the tombstones in the log.
 *
 * Both are walked in bounded steps, and writes go on meanwhile. That loses nothing for a host that keeps what is written
 * from the first step on: a node that was changed after it is newer than the walk, and its change is among what was kept.
 * Whether a tombstone tells the last of a key is asked of a view that was opened before the first step: a batch that deletes a key
 * and sets it again leaves a tombstone, too. Tombstones are looked for only in segments whose newest one is younger than the version. Compaction moves tombstones:
 * `tombstonesMoved` tells the host that it must look again.
 *
 * ```
 * entry at EXCHANGE_OUT, 16 bytes:  0 u32 key pointer    4 u32 key size    8 f64 sequence
 * ```
 */
import { pad8 } from "../bytes/compare";
import { deviceRead } from "../device/device";
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader, NO_RECORD } from "../format/block";
import { Record, RecordKind, recordKeyOffset, recordPartSize, recordValid } from "../format/record";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags } from "../index/key-node";
import { SeekMode, treeCollectForward, treeFirst, treeSeek } from "../index/tree-cursor";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { segmentAt, segmentOffset } from "../log/segments";
import { Space } from "../log/space";
import { EXCHANGE_OUT, KEY_A, KEY_B, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { blockFault, frameInMemory, segmentEnd, usedOf } from "../verify/source";
import { CursorFlags } from "./cursor";
import { nodeHidden } from "./expiry";
import { laterApply } from "./later";
import { Snapshot } from "./snapshots";

const ENTRY_SIZE_LOG2: usize = 4;
/** Nodes of a step, and those of them that are collected together. */
const STEP: u32 = 4096;
const GROUP: u32 = 512;
/** Blocks of a step, read in one piece behind the entries. */
const STEP_BLOCKS: u32 = 16;
const BLOCKS: usize = EXCHANGE_OUT + 0x10000;
/** For `changesDeleted`: the segment is done. */
const NO_MORE: u32 = u32.MAX_VALUE;

/**
 * Writes those of the next nodes from the key in KEY_A on (behind it unless `flags` has FROM_HERE) up to below the key in
 * KEY_B that are visible, newer than `since` and not newer than `most`: how many. `resultFlags` is 1 at the end of the range; else the
 * key to go on behind is at `resultPointer`, `resultSize` bytes. `flags` are `CursorFlags`, LOWER and UPPER, and FROM_HERE.
 */
export function changesSet(flags: u32, lowerSize: u32, upperSize: u32, since: f64, most: f64): u32 {
  laterApply();
  store<u64>(KEY_A + lowerSize, 0);
  store<u64>(KEY_B + upperSize, 0);
  const floor = <u64>since;
  const ceiling = <u64>most;
  const mode = flags & FROM_HERE ? SeekMode.GE : SeekMode.GT;
  root.resultFlags = 1;
  let found: u32 = 0;
  if (!(flags & CursorFlags.LOWER ? treeSeek(KEY_A, lowerSize, mode) : treeFirst())) return 0;
  const bound: usize = flags & CursorFlags.UPPER ? KEY_B : 0;
  for (let visited: u32 = 0; visited < STEP; ) {
    const count = treeCollectForward(WORKSPACE, GROUP, bound, upperSize);
    visited += count;
    for (let i: u32 = 0; i < count; i++) {
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      root.resultPointer = <u32>node.key;
      root.resultSize = node.keySize;
      const sequence = node.sequence;
      if (sequence > floor && sequence <= ceiling && !nodeHidden(node)) {
        found = entryAdd(found, node.key, node.keySize, sequence);
      }
    }
    if (count < GROUP) return found;
  }
  root.resultFlags = 0;
  return found;
}

/** With `changesSet`: the key in KEY_A is in the range. */
const FROM_HERE: u32 = 256;

/**
 * Writes the deletions in the next blocks of a segment, from `block` on, that are newer than `since` and whose key the view
 * knows no record of: how many, or a status: DEVICE_READ, CORRUPT. `resultSize` is the block to go on with, or u32.MAX_VALUE.
 */
export function changesDeleted(index: u32, block: u32, since: f64, view: usize): i32 {
  laterApply();
  const floor = <u64>since;
  const state = segmentAt(index);
  root.resultSize = NO_MORE;
  if (state.space == Space.FREE || state.space == Space.CHECKPOINT || state.newestTombstone <= floor) return 0;
  const end = segmentEnd(index);
  block = max(block, state.headerBlocks);
  if (block >= end) return 0;
  let count: u32 = 0;
  while (count < STEP_BLOCKS && block + count < end && !frameInMemory(index, block + count)) count++;
  const offset = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
  if (count) {
    const read = deviceRead(offset, BLOCKS, count << BLOCK_SIZE_LOG2);
    if (read < 0) return read;
  }
  let found: u32 = 0;
  for (let i: u32 = 0; i < max<u32>(count, 1); i++) {
    let frame = frameInMemory(index, block + i);
    if (count) {
      frame = BLOCKS + ((<usize>i) << BLOCK_SIZE_LOG2);
      const at = offset + ((<u64>i) << BLOCK_SIZE_LOG2);
      if (blockFault(frame, at >> BLOCK_SIZE_LOG2, state.generation)) {
        root.faultOffset = at;
        return Status.CORRUPT;
      }
    }
    found = tombstonesFind(frame, end - block - i - 1, floor, found, changetype<Snapshot>(view).sequence);
  }
  const next = block + max<u32>(count, 1);
  root.resultSize = next < end ? next : NO_MORE;
  return found;
}

/** The highest sequence of a deletion in a segment that counts, 0 when there is none. */
export function changesNewest(index: u32): f64 {
  const state = segmentAt(index);
  if (state.space == Space.FREE || state.space == Space.CHECKPOINT) return 0;
  return <f64>state.newestTombstone;
}

function tombstonesFind(frame: usize, blocksLeft: u32, floor: u64, found: u32, until: u64): u32 {
  const header = changetype<BlockHeader>(frame);
  if (header.flags & BlockFlags.SEGMENT_HEADER || header.first == <u16>NO_RECORD) return found;
  const used = usedOf(frame);
  let at = <u32>header.first;
  while (at < used) {
    const pointer = frame + BLOCK_HEADER_SIZE + at;
    if (!recordValid(pointer, used - at, blocksLeft)) return found;
    const record = changetype<Record>(pointer);
    const keySize = <u32>record.keySize;
    const key = pointer + recordKeyOffset(<u32>record.flags);
    if (record.kind == <u8>RecordKind.DELETE && record.sequence > floor && isAbsent(key, keySize, until)) {
      found = entryAdd(found, key, keySize, record.sequence);
    }
    at += pad8(recordKeyOffset(<u32>record.flags) + keySize + recordPartSize(pointer));
  }
  return found;
}

/** Whether a key had no record, expired or not, at a sequence that a view is open for. */
function isAbsent(key: usize, keySize: u32, until: u64): bool {
  memory.copy(KEY_A, key, keySize);
  store<u64>(KEY_A + keySize, 0);
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  if (!slot) return true;
  // A version begins as a node does.
  let state = changetype<KeyNode>(<usize>load<u32>(slot));
  while (state.sequence > until) {
    if (!state.older) return true;
    state = changetype<KeyNode>(<usize>state.older);
  }
  return (state.flags & NodeFlags.DELETED) != 0;
}

function entryAdd(index: u32, key: usize, keySize: u32, sequence: u64): u32 {
  const entry = EXCHANGE_OUT + ((<usize>index) << ENTRY_SIZE_LOG2);
  store<u32>(entry, <u32>key);
  store<u32>(entry, keySize, 4);
  store<f64>(entry, <f64>sequence, 8);
  return index + 1;
}

// A step's entries end before its blocks; the smallest tombstone takes 24 bytes.
if (((STEP_BLOCKS * <u32>BLOCK_SIZE) / 24) << (<u32>ENTRY_SIZE_LOG2) > 0x10000) ERROR("entries of deletions");
if ((STEP + GROUP) << (<u32>ENTRY_SIZE_LOG2) > 0x20000) ERROR("entries of sets");
