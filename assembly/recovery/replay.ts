/**
 * Replay: rebuilding key nodes from the records of the log, block by block in the order of the stream.
 *
 * Nothing read here is trusted beyond what its checksum proves: every size is checked against the block and the segment
 * that it lies in.
 *
 * Of each key the record of the highest sequence stands. Copies are replayed first, in any order of sequences; so a
 * deletion among them keeps its node, marked, until everything was replayed. The log follows in its own order, in which
 * sequences only grow: there, of two records with one sequence the later one stands (a batch may write a key twice), but a
 * copy stands before its original. Further parts of values are entered last, when every first part is in its place.
 *
 * Where a checkpoint was loaded, a record up to its sequence (`replayFloor`) only tells where the record lies that a node
 * of the checkpoint means: it creates nothing, and deletes nothing.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { inlineAllowed, nodeEnter, nodeHolds, nodeTake } from "../engine/dual";
import {
  compressedEnter,
  compressedLeave,
  partRecordSize,
  recordsDead,
  recordsLive,
  recordsUnplaced,
} from "../engine/live";
import { nodeForget, nodeGive } from "../engine/snapshots";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, NO_RECORD, trailerOf } from "../format/block";
import { NOTE_HEADER_SIZE, NOTE_SEGMENTS_MAX } from "../format/note";
import {
  RECORD_HEADER_SIZE,
  Record,
  RecordFlags,
  RecordKind,
  recordExtentAt,
  recordKeyOffset,
  recordPartSize,
  recordRawAt,
  recordValid,
  recordWordsSize,
} from "../format/record";
import { SegmentKind } from "../format/segment";
import { wheelEnter, wheelLeave } from "../index/expiry-wheel";
import {
  extentAddress,
  extentCount,
  extentSet,
  extentSize,
  extentTableGive,
  extentTableTake,
} from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import {
  identityOf,
  KeyNode,
  NodeFlags,
  nodeSetKey,
  nodeSizeOf,
  placeOf,
  storedSet,
  storedSizeOf,
  wordsOf,
  wordsSizeInNode,
  wordsSizeOf,
} from "../index/key-node";
import { treeReplace } from "../index/ordered-index";
import { INLINE_VALUE_SIZE_MAX } from "../limits";
import { liveAdd, liveSubtract, segmentAt, segmentOf, tombstoneAdd } from "../log/segments";
import { chunksAvailable } from "../memory/chunks";
import { slabClassSize } from "../memory/slab";
import { KEY_A, root } from "../root";
import { Status } from "../status";
import { noteAccept, noteScratch } from "./log-scan";
import { recordsTouch } from "./replay-touch";

/**
 * Chunks that one record may take. Less than a write must find free (engine/dual.ts), so that a store whose memory was
 * used up opens again with as much of it.
 */
const CHUNKS_PER_RECORD: u32 = 12;
const NOTE_SIZE_MAX: u32 = NOTE_HEADER_SIZE + NOTE_SEGMENTS_MAX / 8;

/** What a replay does with records. */
export namespace ReplayPass {
  /** Nothing, but find notes. */
  export const NOTES: u32 = 0;
  /** Copies: everything but further parts. */
  export const COPIES: u32 = 1;
  /** The log: everything but further parts. */
  export const LOG: u32 = 2;
  /** Further parts of values. */
  export const PARTS: u32 = 3;
}

/** Forgets a value that ran on from an earlier block. */
export function replayReset(): void {
  root.replayCarry = 0;
  root.replayNode = 0;
  root.replayNoteSize = 0;
}

/**
 * Replays the records of one intact block; `blocksLeft` is how many of the stream's blocks follow in its segment.
 * CORRUPT or OUT_OF_MEMORY.
 */
export function replayBlock(frame: usize, deviceOffset: u64, blocksLeft: u32): i32 {
  const header = changetype<BlockHeader>(frame);
  const used = <u32>header.used;
  if (header.flags & BlockFlags.GROUP_END) {
    const trailer = trailerOf(frame);
    if (trailer.highestTimeMs > root.highestTimeMs) root.highestTimeMs = trailer.highestTimeMs;
    if (trailer.sequence > root.replaySequence) root.replaySequence = trailer.sequence;
  }
  if (header.flags & BlockFlags.SEGMENT_HEADER) return root.replayCarry ? Status.CORRUPT : Status.OK;
  let at: u32 = 0;
  if (root.replayCarry) {
    at = min(root.replayCarry, BLOCK_PAYLOAD_SIZE);
    if (at > used) return Status.CORRUPT;
    carry(frame + BLOCK_HEADER_SIZE, at);
    if (root.replayCarry) return used == at && header.first == <u16>NO_RECORD ? Status.OK : Status.CORRUPT;
    if (root.replayNoteSize && noteEnd(0) < 0) return Status.CORRUPT;
    at = pad8(at);
  }
  if (at < used ? header.first != <u16>at : header.first != <u16>NO_RECORD) return Status.CORRUPT;
  if (root.replayPass == ReplayPass.COPIES || root.replayPass == ReplayPass.LOG) recordsTouch(frame, blocksLeft);
  while (at < used) {
    const size = replayRecord(
      frame + BLOCK_HEADER_SIZE + at,
      used - at,
      deviceOffset + BLOCK_HEADER_SIZE + at,
      blocksLeft,
    );
    if (size < 0) return size;
    at += <u32>size;
  }
  return Status.OK;
}

/** Replays the record at `record`, of which `left` bytes lie in this block: its padded size there, or a status. */
function replayRecord(pointer: usize, left: u32, address: u64, blocksLeft: u32): i32 {
  if (!recordValid(pointer, left, blocksLeft)) return Status.CORRUPT;
  const record = changetype<Record>(pointer);
  const flags = <u32>record.flags;
  const kind = <u32>record.kind;
  const keySize = <u32>record.keySize;
  const keyOffset = recordKeyOffset(flags);
  const head = keyOffset + keySize;
  if (kind == RecordKind.NOTE) return noteReplay(pointer, left);
  const partSize = recordPartSize(pointer);
  const here = min(partSize, left - head);
  const carried = partSize - here;
  if (root.sequenceCeiling && record.sequence >= root.sequenceCeiling) return Status.CORRUPT;
  const size = min(pad8(head + here), left);
  root.replayCarry = carried;
  root.replayNode = 0;
  if (kind == RecordKind.VOID || root.replayPass == ReplayPass.NOTES) return <i32>size;
  if (root.replayPass == ReplayPass.PARTS) {
    if (kind != RecordKind.EXTENT) return <i32>size;
    keyTake(pointer + keyOffset, keySize);
    const entered = extentApply(keySize, record.sequence, load<u32>(recordExtentAt(pointer), 4), partSize, address);
    return entered < 0 ? entered : <i32>size;
  }
  root.recoveredRecords++;
  if (record.sequence > root.replaySequence) root.replaySequence = record.sequence;
  keyTake(pointer + keyOffset, keySize);
  const part = load<u32>(recordExtentAt(pointer), 4);
  const status = apply(record, kind, flags, keySize, partSize, part, pointer + head, here, address);
  return status < 0 ? status : <i32>size;
}

/** Replays a note: in the pass that looks for them, it is put together in the scratch area. */
function noteReplay(pointer: usize, left: u32): i32 {
  const record = changetype<Record>(pointer);
  const size = record.valueSize;
  if (size > NOTE_SIZE_MAX) return Status.CORRUPT;
  const here = min(size, left - RECORD_HEADER_SIZE);
  const carried = size - here;
  root.replayCarry = carried;
  root.replayNode = 0;
  if (root.replayPass == ReplayPass.NOTES) {
    copyBytes(noteScratch(), pointer + RECORD_HEADER_SIZE, here);
    root.replayNode = <u32>(noteScratch() + here);
    root.replayNoteSize = size;
    if (!carried) return noteEnd(<i32>min(pad8(RECORD_HEADER_SIZE + here), left));
  }
  return <i32>min(pad8(RECORD_HEADER_SIZE + here), left);
}

function noteEnd(result: i32): i32 {
  const size = root.replayNoteSize;
  root.replayNoteSize = 0;
  root.replayNode = 0;
  return noteAccept(size) ? result : Status.CORRUPT;
}

function apply(
  record: Record,
  kind: u32,
  flags: u32,
  keySize: u32,
  partSize: u32,
  part: u32,
  value: usize,
  here: u32,
  address: u64,
): i32 {
  if (kind == RecordKind.EXTENT) {
    segmentAt(segmentOf(address)).extents = 1;
    root.replayExtents = 1;
    return Status.OK;
  }
  if (kind != RecordKind.DELETE || root.replayPass == ReplayPass.COPIES) {
    if (chunksAvailable() < CHUNKS_PER_RECORD) return Status.OUT_OF_MEMORY;
  }
  const hash = keyHash(KEY_A, keySize, root.hashSeed);
  const slot = hashFind(KEY_A, keySize, hash);
  const known = slot ? <usize>load<u32>(slot) : 0;
  if (kind == RecordKind.DELETE) {
    tombstoneAdd(address, pad8(RECORD_HEADER_SIZE + keySize), record.sequence);
    if (record.sequence <= root.replayFloor) return Status.OK;
    return deleteApply(record, keySize, known, hash);
  }
  if (record.sequence <= root.replayFloor) {
    if (known) placeApply(record, flags, changetype<KeyNode>(known), keySize, part, partSize, address);
    return Status.OK;
  }
  if (known) {
    const node = changetype<KeyNode>(known);
    if (!stands(record, node)) return Status.OK;
    if (node.flags & NodeFlags.DELETED) {
      root.replayDeleted--;
      root.liveKeyCount++;
      root.keyBytes += keySize;
    } else {
      stateDrop(node, keySize);
    }
  }
  return setApply(record, flags, keySize, part, partSize, value, here, address, slot, hash);
}

/** Whether a record takes the place of what a node holds. */
function stands(record: Record, node: KeyNode): bool {
  if (record.sequence != node.sequence) return record.sequence > node.sequence;
  if (node.flags & NodeFlags.DELETED) return false;
  if (!node.address) return true;
  return root.replayPass == ReplayPass.COPIES || segmentAt(segmentOf(node.address)).kind != SegmentKind.COPIES;
}

/**
 * Lets a node of the checkpoint lie where its record was found. A record of the same sequence that says something else is
 * an earlier one, of a batch that wrote the key twice.
 */
function placeApply(
  record: Record,
  recordFlags: u32,
  node: KeyNode,
  keySize: u32,
  parts: u32,
  partSize: u32,
  address: u64,
): void {
  const flags = node.flags;
  const isExtents = (recordFlags & RecordFlags.EXTENTS) != 0;
  if (flags & NodeFlags.DELETED || node.sequence != record.sequence) return;
  const isCompressed = (recordFlags & RecordFlags.COMPRESSED) != 0;
  if (isCompressed != node.isCompressed || storedSizeOf(node, node.body) != record.valueSize) return;
  if (isCompressed && node.valueSize != load<u32>(recordRawAt(changetype<usize>(record)))) return;
  if (isExtents != ((flags & NodeFlags.EXTENTS) != 0) || !stands(record, node)) return;
  if (recordWordsSize(recordFlags) != wordsSizeOf(flags)) return;
  if (!isExtents) {
    if (node.address) recordsDead(node, keySize, node.body);
    else root.unplaced--;
    node.place = placeOf(address, node.sizeClass, flags);
    recordsLive(node, keySize, node.body);
    return;
  }
  const table = <usize>load<u32>(node.body);
  if (extentCount(table) != parts || extentSize(table, 0) != partSize) return;
  node.place = placeOf(address, node.sizeClass, flags);
  partPlace(node, table, 0, keySize, partSize, address);
}

/** Lets a part of a value lie where its record was found. */
function partPlace(node: KeyNode, table: usize, part: u32, keySize: u32, partSize: u32, address: u64): void {
  const present = extentAddress(table, part);
  if (present) liveSubtract(present, partRecordSize(node, keySize, table, part));
  else root.unplaced--;
  extentSet(table, part, address, partSize);
  liveAdd(address, partRecordSize(node, keySize, table, part));
}

/** Takes a node's value out of the accounts. */
function stateDrop(node: KeyNode, keySize: u32): void {
  root.unplaced -= recordsUnplaced(node, node.body);
  recordsDead(node, keySize, node.body);
  root.valueBytes -= node.valueSize;
  compressedLeave(node);
  if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
  if (node.flags & NodeFlags.EXTENTS) extentTableGive(<usize>load<u32>(node.body));
  node.place = placeOf(node.address, node.sizeClass, node.flags & ~(NodeFlags.EXTENTS | NodeFlags.EXPIRY));
  node.valueSize = 0;
}

function deleteApply(record: Record, keySize: u32, known: usize, hash: u64): i32 {
  const sequence = record.sequence;
  let node = changetype<KeyNode>(known);
  if (known && !stands(record, node)) return Status.OK;
  if (root.replayPass == ReplayPass.LOG) {
    if (!known) return Status.OK;
    // Nothing older follows in the log, and the copies were before it.
    if (node.flags & NodeFlags.DELETED) {
      root.replayDeleted--;
    } else {
      stateDrop(node, keySize);
      root.liveKeyCount--;
      root.keyBytes -= keySize;
    }
    nodeForget(node);
    return Status.OK;
  }
  if (!known) {
    node = changetype<KeyNode>(nodeTake(keySize, 0));
    nodeSetKey(node, KEY_A, keySize);
    node.identity = identityOf(sequence, keySize);
    node.valueSize = 0;
    nodeEnter(node, hash);
  } else if (!(node.flags & NodeFlags.DELETED)) {
    stateDrop(node, keySize);
  } else {
    node.identity = identityOf(sequence, keySize);
    return Status.OK;
  }
  node.place = placeOf(0, node.sizeClass, NodeFlags.DELETED);
  node.identity = identityOf(sequence, keySize);
  node.valueSize = 0;
  root.liveKeyCount--;
  root.keyBytes -= keySize;
  root.replayDeleted++;
  return Status.OK;
}

function setApply(
  record: Record,
  flags: u32,
  keySize: u32,
  parts: u32,
  partSize: u32,
  value: usize,
  here: u32,
  address: u64,
  slot: usize,
  hash: u64,
): i32 {
  const valueSize = record.valueSize;
  const compressed = (flags & RecordFlags.COMPRESSED) != 0;
  let nodeFlags = flags & RecordFlags.ASCII_VALUE ? NodeFlags.ASCII_VALUE : 0;
  if (flags & RecordFlags.ASCII_KEY) nodeFlags |= NodeFlags.ASCII_KEY;
  if (flags & RecordFlags.EXPIRY) nodeFlags |= NodeFlags.EXPIRY;
  if (flags & RecordFlags.TIMESTAMP) nodeFlags |= NodeFlags.TIMESTAMP;
  let table: usize = 0;
  if (flags & RecordFlags.EXTENTS) {
    // Each further part has a byte at least, so this bounds what a hostile record can ask for.
    if (parts < 2 || parts > valueSize + 1) return Status.CORRUPT;
    table = extentTableTake(parts);
    if (!table) return Status.CORRUPT;
    extentSet(table, 0, address, partSize);
    root.unplaced += parts - 1;
    nodeFlags |= NodeFlags.EXTENTS;
  }
  let node = slot ? <usize>load<u32>(slot) : 0;
  // A node is not moved for the sake of its value, which comes back to it when it is read.
  const words = wordsSizeInNode(nodeFlags);
  const fits = node ? nodeHolds(changetype<KeyNode>(node), keySize, pad8(valueSize) + words) : inlineAllowed();
  const inline = !table && !compressed && valueSize <= INLINE_VALUE_SIZE_MAX && fits;
  const bodySize: u32 = (table || compressed ? 8 : inline ? pad8(valueSize) : 0) + words;
  if (node && slabClassSize(changetype<KeyNode>(node).sizeClass) < nodeSizeOf(keySize, bodySize)) {
    const taken = nodeTake(keySize, bodySize);
    changetype<KeyNode>(taken).identity = changetype<KeyNode>(node).identity;
    copyBytes(changetype<KeyNode>(taken).key, changetype<KeyNode>(node).key, pad8(keySize));
    store<u32>(slot, <u32>taken);
    treeReplace(node, taken);
    nodeGive(changetype<KeyNode>(node));
    node = taken;
  }
  const fresh = !node;
  if (fresh) node = nodeTake(keySize, bodySize);
  const target = changetype<KeyNode>(node);
  // An inline value that runs on is filled in as its blocks come.
  nodeSetKey(target, KEY_A, keySize);
  target.place = placeOf(address, target.sizeClass, inline ? nodeFlags | NodeFlags.INLINE : nodeFlags);
  target.identity = identityOf(record.sequence, keySize);
  target.valueSize = valueSize;
  if (inline) {
    memory.fill(target.body, 0, pad8(valueSize));
    copyBytes(target.body, value, here);
    root.replayNode = <u32>(target.body + here);
  }
  if (table || compressed) {
    const rawSize = compressed ? load<u32>(recordRawAt(changetype<usize>(record))) : valueSize;
    storedSet(target, target.body, table, rawSize, valueSize);
  }
  const wordsSize = recordWordsSize(flags);
  if (wordsSize) copyBytes(wordsOf(target, target.body), changetype<usize>(record) + RECORD_HEADER_SIZE, wordsSize);
  if (flags & RecordFlags.EXPIRY) wheelEnter(target);
  recordsLive(target, keySize, target.body);
  if (fresh) nodeEnter(target, hash);
  else {
    root.valueBytes += target.valueSize;
    compressedEnter(target);
  }
  return Status.OK;
}

/**
 * Enters a further part, of the key in KEY_A, in its value's table. A part without its first record is left over, and so is
 * one beyond the value's parts: of an earlier, longer value that the same batch gave the key.
 */
function extentApply(keySize: u32, sequence: u64, part: u32, partSize: u32, address: u64): i32 {
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  if (!slot) return Status.OK;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (node.sequence != sequence || !(node.flags & NodeFlags.EXTENTS)) return Status.OK;
  const table = <usize>load<u32>(node.body);
  if (!part) return Status.CORRUPT;
  if (part >= extentCount(table)) return Status.OK;
  // A copy stands before its original.
  const present = extentAddress(table, part);
  if (present && segmentAt(segmentOf(present)).kind == SegmentKind.COPIES) return Status.OK;
  partPlace(node, table, part, keySize, partSize, address);
  return Status.OK;
}

/** Takes bytes that a value has in the next block. */
function carry(source: usize, size: u32): void {
  if (root.replayNode) {
    copyBytes(<usize>root.replayNode, source, size);
    root.replayNode += size;
  }
  root.replayCarry -= size;
  if (!root.replayCarry) root.replayNode = 0;
}

/** Copies a key to KEY_A, padded. */
function keyTake(key: usize, keySize: u32): void {
  copyBytes(KEY_A, key, keySize);
  store<u64>(KEY_A + keySize, 0);
}
