/**
 * Replay: rebuilding key nodes from the records of the log, block by block in the order of the stream.
 *
 * Nothing read here is trusted beyond what its checksum proves: every size is checked against the block and the segment
 * that it lies in. Records of one key follow each other in the order of their sequences, so the last one stands.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { inlineAllowed, nodeEnter, nodeTake } from "../engine/dual";
import { recordsDead, recordsLive } from "../engine/live";
import { nodeForget, nodeGive } from "../engine/snapshots";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, NO_RECORD, trailerOf } from "../format/block";
import { Record, RecordFlags, RecordKind, recordKeyOffset, recordPartSize, recordValid } from "../format/record";
import { extentCount, extentSet, extentTableGive, extentTableTake } from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { identityOf, KeyNode, NodeFlags, nodeSetKey, nodeSizeOf, placeOf } from "../index/key-node";
import { treeReplace } from "../index/ordered-index";
import { INLINE_VALUE_SIZE_MAX } from "../limits";
import { chunksAvailable } from "../memory/chunks";
import { slabClassSize } from "../memory/slab";
import { KEY_A, root } from "../root";
import { Status } from "../status";

/**
 * Chunks that one record may take. Less than a write must find free (engine/dual.ts), so that a store whose memory was
 * used up opens again with as much of it.
 */
const CHUNKS_PER_RECORD: u32 = 12;

/** Forgets a value that ran on from an earlier block. */
export function replayReset(): void {
  root.replayCarry = 0;
  root.replayNode = 0;
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
    at = pad8(at);
  }
  if (at < used ? header.first != <u16>at : header.first != <u16>NO_RECORD) return Status.CORRUPT;
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
  const partSize = recordPartSize(pointer);
  const here = min(partSize, left - head);
  const carried = partSize - here;
  if (root.sequenceCeiling && record.sequence >= root.sequenceCeiling) return Status.CORRUPT;
  const size = min(pad8(head + here), left);
  root.replayCarry = carried;
  root.replayNode = 0;
  if (kind == RecordKind.VOID) return <i32>size;
  root.recoveredRecords++;
  if (record.sequence > root.replaySequence) root.replaySequence = record.sequence;
  keyTake(pointer + keyOffset, keySize);
  const status = apply(record, kind, flags, keySize, partSize, load<u32>(pointer, 20), pointer + head, here, address);
  return status < 0 ? status : <i32>size;
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
  if (kind != RecordKind.DELETE && chunksAvailable() < CHUNKS_PER_RECORD) return Status.OUT_OF_MEMORY;
  const hash = keyHash(KEY_A, keySize, root.hashSeed);
  const slot = hashFind(KEY_A, keySize, hash);
  const known = slot ? <usize>load<u32>(slot) : 0;
  if (kind == RecordKind.EXTENT) return extentApply(known, record.sequence, part, partSize, address);
  if (known) {
    const node = changetype<KeyNode>(known);
    recordsDead(node, keySize, node.body);
    root.valueBytes -= node.valueSize;
    if (node.flags & NodeFlags.EXTENTS) extentTableGive(<usize>load<u32>(node.body));
    node.place = placeOf(node.address, node.sizeClass, node.flags & ~NodeFlags.EXTENTS);
    if (kind == RecordKind.DELETE) {
      root.liveKeyCount--;
      root.keyBytes -= keySize;
      nodeForget(node);
      return Status.OK;
    }
  } else if (kind == RecordKind.DELETE) {
    return Status.OK;
  }
  return setApply(record, flags, keySize, part, partSize, value, here, address, slot, hash);
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
  let nodeFlags = flags & RecordFlags.ASCII_VALUE ? NodeFlags.ASCII_VALUE : 0;
  if (flags & RecordFlags.ASCII_KEY) nodeFlags |= NodeFlags.ASCII_KEY;
  let table: usize = 0;
  if (flags & RecordFlags.EXTENTS) {
    // Each further part has a byte at least, so this bounds what a hostile record can ask for.
    if (parts < 2 || parts > valueSize + 1) return Status.CORRUPT;
    table = extentTableTake(parts);
    if (!table) return Status.CORRUPT;
    extentSet(table, 0, address, partSize);
    nodeFlags |= NodeFlags.EXTENTS;
  }
  const inline = !table && valueSize <= INLINE_VALUE_SIZE_MAX && inlineAllowed();
  const bodySize: u32 = table ? 8 : inline ? valueSize : 0;
  let node = slot ? <usize>load<u32>(slot) : 0;
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
  if (table) store<u64>(target.body, table);
  recordsLive(target, keySize, target.body);
  if (fresh) nodeEnter(target, hash);
  else root.valueBytes += valueSize;
  return Status.OK;
}

/** Enters a further part in its value's table. A part without its first record is what an overwrite left. */
function extentApply(known: usize, sequence: u64, part: u32, partSize: u32, address: u64): i32 {
  if (!known) return Status.OK;
  const node = changetype<KeyNode>(known);
  if (node.sequence != sequence || !(node.flags & NodeFlags.EXTENTS)) return Status.OK;
  const table = <usize>load<u32>(node.body);
  if (!part || part >= extentCount(table)) return Status.CORRUPT;
  recordsDead(node, node.keySize, node.body);
  extentSet(table, part, address, partSize);
  recordsLive(node, node.keySize, node.body);
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
