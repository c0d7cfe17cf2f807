/**
 * Entries of a checkpoint: key nodes and segments, as format/checkpoint.ts has them.
 */
import { commonPrefix, copyBytes } from "../bytes/compare";
import {
  ENTRY_COMPRESSED,
  ENTRY_HEAD_MAX,
  EntryFlags,
  EXTENT_ITEM_SIZE,
  EXTENTS_HEAD_SIZE,
  SEGMENT_ITEM_SIZE,
} from "../format/checkpoint";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { ADDRESS_MASK, KeyNode, NodeFlags, storedSizeOf, wordsOf, wordsSizeOf } from "../index/key-node";
import { SEGMENTS_OFFSET } from "../limits";
import { CheckpointWork, entryRoom } from "../log/checkpoint-writer";
import { SegmentState } from "../log/segments";
import { Status } from "../status";

/** Flags of a node that its entry carries. */
const NODE_FLAGS: u32 =
  NodeFlags.EXTENTS | NodeFlags.ASCII_VALUE | NodeFlags.ASCII_KEY | NodeFlags.EXPIRY | NodeFlags.TIMESTAMP;
/** Extents of one entry, at most, so that an entry fits a block. */
const EXTENTS_PER_ENTRY: u32 = 256;

/**
 * Writes the entry of a node whose key is above all that were written; `before` is the last one's key, padded. NO_SPACE,
 * DEVICE_WRITE, FENCED.
 */
export function entryWrite(work: CheckpointWork, node: KeyNode, before: usize): i32 {
  const keySize = node.keySize;
  const room = entryRoom(ENTRY_HEAD_MAX + keySize);
  if (room < 0) return <i32>room;
  const start = <usize>room;
  const shared = work.shares ? commonPrefix(before, node.key, min(work.lastKeySize, keySize)) : 0;
  const suffix = keySize - shared;
  const flags = node.flags & NODE_FLAGS;
  const address = (node.address - SEGMENTS_OFFSET) >> 3;
  const distance = (work.blockSequence - node.sequence) & ADDRESS_MASK;
  const size = node.valueSize;
  const addressBits: u32 = address >> 24 == 0 ? 0 : address >> 32 == 0 ? 1 : address >> 40 == 0 ? 2 : 3;
  const sequenceBits: u32 = distance >> 16 == 0 ? 0 : distance >> 24 == 0 ? 1 : distance >> 32 == 0 ? 2 : 3;
  const sizeBits: u32 = size < 1 << 8 ? 0 : size < 1 << 16 ? 1 : size < 1 << 24 ? 2 : 3;
  const isLong = shared > 0xff || suffix > 0xff;
  store<u8>(start, <u8>(isLong ? flags | EntryFlags.LONG : flags));
  const compressed = node.isCompressed ? ENTRY_COMPRESSED : 0;
  store<u8>(start, <u8>(addressBits | (sequenceBits << 2) | (sizeBits << 4) | compressed), 1);
  let at = start + 2;
  if (isLong) {
    store<u16>(at, <u16>shared);
    store<u16>(at, <u16>suffix, 2);
    at += 4;
  } else {
    store<u8>(at, <u8>shared);
    store<u8>(at, <u8>suffix, 1);
    at += 2;
  }
  // Each is stored whole, and what is too much written over by what follows.
  store<u64>(at, address);
  at += 3 + addressBits;
  store<u64>(at, distance);
  at += sequenceBits == 3 ? 6 : 2 + sequenceBits;
  store<u32>(at, size);
  at += 1 + sizeBits;
  if (compressed) {
    store<u32>(at, storedSizeOf(node, node.body));
    at += 4;
  }
  const words = wordsSizeOf(flags);
  if (words) copyBytes(at, wordsOf(node, node.body), words);
  at += words;
  if (flags & NodeFlags.EXTENTS) {
    store<u32>(at, extentCount(<usize>load<u32>(node.body)));
    at += 4;
  }
  copyBytes(at, node.key + shared, suffix);
  at += suffix;
  work.used += <u32>(at - start);
  work.shares = 1;
  work.lastKeySize = keySize;
  work.entryCount++;
  work.keyBytes += keySize;
  work.valueBytes += size;
  return flags & NodeFlags.EXTENTS ? extentsWrite(work, <usize>load<u32>(node.body)) : Status.OK;
}

/** Writes where the parts of a value lie, in as many entries as it takes. */
function extentsWrite(work: CheckpointWork, table: usize): i32 {
  const count = extentCount(table);
  for (let part: u32 = 0; part < count; ) {
    const piece = min(count - part, EXTENTS_PER_ENTRY);
    const size = EXTENTS_HEAD_SIZE + piece * EXTENT_ITEM_SIZE;
    const room = entryRoom(size);
    if (room < 0) return <i32>room;
    let at = <usize>room;
    store<u16>(at, <u16>EntryFlags.MORE_EXTENTS);
    store<u16>(at, <u16>piece, 2);
    at += EXTENTS_HEAD_SIZE;
    for (const end = part + piece; part < end; part++) {
      store<u64>(at, extentAddress(table, part));
      store<u32>(at, extentSize(table, part), 8);
      at += EXTENT_ITEM_SIZE;
    }
    work.used += size;
  }
  return Status.OK;
}

/** Writes the entry of a segment. Statuses as `entryWrite`. */
export function segmentEntryWrite(work: CheckpointWork, index: u32, state: SegmentState): i32 {
  const room = entryRoom(SEGMENT_ITEM_SIZE);
  if (room < 0) return <i32>room;
  const at = <usize>room;
  // What was appended to it since is replayed.
  const isPosition = state.generation == work.positionGeneration;
  store<u32>(at, EntryFlags.SEGMENT | (state.kind << 8));
  store<u32>(at, index, 4);
  store<u64>(at, state.generation, 8);
  store<u64>(at, isPosition ? work.newestTombstone : state.newestTombstone, 16);
  store<u32>(at, isPosition ? work.tombstoneBytes : state.tombstoneBytes, 24);
  store<u32>(at, isPosition ? work.positionBlock : state.end, 28);
  work.used += SEGMENT_ITEM_SIZE;
  work.segmentEntries++;
  return Status.OK;
}
