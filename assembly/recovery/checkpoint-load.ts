/**
 * Opening from a checkpoint: its entries become key nodes, both indexes are built in the order of the keys, and of the log
 * and of copies only what is younger is replayed.
 *
 * What an entry says of a place is believed only of segments that count and are as old as the checkpoint. Anything else
 * was written, moved or freed since: such a node has no place until what is replayed gives it one, and opening ends only
 * when every node has.
 *
 * Whatever is wrong with a checkpoint is CHECKPOINT_DAMAGED, before anything was written: another one, or the whole log,
 * gives the same state.
 */
import { pad8 } from "../bytes/compare";
import { rootAt } from "../engine/checkpoint-due";
import { nodeTake } from "../engine/dual";
import { compressedEnter } from "../engine/live";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockFlags, BlockHeader, blockValid } from "../format/block";
import {
  CHECKPOINT_MAGIC,
  CHECKPOINT_VERSION,
  CHECKPOINT_VERSION_PACKED,
  CheckpointSummary,
  checkFold,
  ENTRIES_SIZE_MAX,
  EntryFlags,
  EXTENT_ITEM_SIZE,
  EXTENTS_HEAD_SIZE,
  SEGMENT_ITEM_SIZE,
} from "../format/checkpoint";
import { EXPIRY_MAX, RAW_FIELD_SIZE, RECORD_HEADER_SIZE } from "../format/record";
import { SegmentKind } from "../format/segment";
import { Incompatible, ROOT_COUNT, ROOT_SIZE, SuperblockRoot } from "../format/superblock";
import { wheelEnter } from "../index/expiry-wheel";
import { extentSet, extentTableTake } from "../index/extent-table";
import { hashBucketOf, hashGrow, hashInsert } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import {
  identityOf,
  KeyNode,
  NodeFlags,
  nodeSetKey,
  placeOf,
  storedSet,
  wordsOf,
  wordsSizeInNode,
  wordsSizeOf,
} from "../index/key-node";
import { LEAF_FILL, treeAppend } from "../index/tree-build";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, SEGMENTS_OFFSET, VALUE_SIZE_MAX } from "../limits";
import {
  liveAdd,
  segmentAt,
  segmentBlockOf,
  segmentCountMax,
  segmentOf,
  segmentOffset,
  tombstoneAdd,
} from "../log/segments";
import { noteHas, Space } from "../log/space";
import { extentRecordSize } from "../log/stream";
import { chunksAvailable } from "../memory/chunks";
import { KEPT_ROOTS, KEY_A, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { Entry, entryRead } from "./checkpoint-entry";
import { entriesOf } from "./checkpoint-unpack";
import { blockAt } from "./log-replay";
import { ScanState } from "./log-scan";

/** In the working space: nodes of a leaf, their hashes, the entry under way, the summary. */
const NODES: usize = WORKSPACE;
const HASHES: usize = WORKSPACE + 0x200;
const ENTRY: usize = WORKSPACE + 0x600;
const SUMMARY: usize = WORKSPACE + 0x700;
const LOADING: usize = WORKSPACE + 0x800;
/** Chunks that must be free for one leaf's keys: nodes, tables of extents, tree nodes and separators, overflow buckets. */
const CHUNKS_PER_LEAF: u32 = 12;
/** An entry has no fewer bytes. */
const ENTRY_SIZE_MIN: u32 = 11;

/** What is known while a checkpoint is read. */
@unmanaged
class Loading {
  nodes: u32;
  segments: u32;
  /** Table of extents that is being filled, its next part and their count; the size of its key. */
  table: u32;
  part: u32;
  parts: u32;
  keySize: u32;
  /** Bytes of expiry, timestamp and raw size in the record of its first part. */
  fields: u32;
  /** Of segments that count and are old: how many there are, and of how many an entry told. */
  old: u32;
  told: u32;
  entries: u64;
  keyBytes: u64;
  valueBytes: u64;
  check: u64;
  blocks: u32;
}

if (HASHES < NODES + <usize>LEAF_FILL * 4 || ENTRY < HASHES + <usize>LEAF_FILL * 8) ERROR("a leaf outgrew its place");
if (offsetof<CheckpointSummary>() > LOADING - SUMMARY) ERROR("the summary outgrew its place");

/** Whether there is such a checkpoint. */
export function checkpointIsKept(which: u32): bool {
  return rootAt(which).kind != 0;
}

/** Forgets a checkpoint that cannot be used; the older one takes the place of the newer one. */
export function checkpointForget(which: u32): void {
  if (!which) memory.copy(KEPT_ROOTS, KEPT_ROOTS + ROOT_SIZE, ROOT_SIZE);
  memory.fill(KEPT_ROOTS + ROOT_SIZE, 0, ROOT_SIZE);
}

/**
 * Finds the segments of a kept checkpoint, from its first one on through `next`, by what their headers say: the first one,
 * index plus 1, or 0 when one is missing. `blocks` of the last one belong to it.
 */
export function checkpointChain(kept: SuperblockRoot): u32 {
  if (kept.kind != <u16>SegmentKind.CHECKPOINT || kept.segment >= root.segmentCount) return 0;
  let next: u32 = 0;
  let index = kept.segment;
  let generation = kept.generation;
  while (true) {
    const state = segmentAt(index);
    const isOurs = state.kind == SegmentKind.CHECKPOINT && state.generation == generation && generation != 0;
    if (!isOurs || state.scan != ScanState.HEADER || noteHas(index)) return 0;
    state.next = next;
    next = index + 1;
    // Lives grow, so this ends.
    if (!state.previousGeneration) return next;
    if (state.previousGeneration >= generation || state.previousSegment >= root.segmentCount) return 0;
    generation = state.previousGeneration;
    index = state.previousSegment;
  }
}

/** Lets the segments of the kept checkpoints be theirs, and forgets one that is not whole by the look of its headers. */
export function checkpointsTake(): void {
  root.checkpointSegments = 0;
  for (let which = ROOT_COUNT; which > 0; which--) {
    const kept = rootAt(which - 1);
    if (!kept.kind) continue;
    const first = checkpointChain(kept);
    if (!first) {
      checkpointForget(which - 1);
      continue;
    }
    for (let at = first; at; at = segmentAt(at - 1).next) {
      const state = segmentAt(at - 1);
      if (state.space == Space.CHECKPOINT) continue;
      state.space = Space.CHECKPOINT;
      state.end = at == kept.segment + 1 ? <u32>kept.block + 1 : root.segmentBlocks;
      root.checkpointSegments++;
    }
  }
}

/** Reads a kept checkpoint's summary to `target`. CHECKPOINT_DAMAGED when it is not there. */
export function summaryRead(kept: SuperblockRoot, block: usize, target: usize): i32 {
  const header = changetype<BlockHeader>(block);
  const deviceBlock = (segmentOffset(kept.segment) >> BLOCK_SIZE_LOG2) + kept.block;
  if (header.generation != kept.generation || header.check != kept.check || !blockValid(block, deviceBlock)) {
    return Status.CHECKPOINT_DAMAGED;
  }
  if (<u32>header.used != offsetof<CheckpointSummary>()) return Status.CHECKPOINT_DAMAGED;
  memory.copy(target, block + BLOCK_HEADER_SIZE, offsetof<CheckpointSummary>());
  const summary = changetype<CheckpointSummary>(target);
  const packed = summary.version == CHECKPOINT_VERSION_PACKED;
  // The mark also says that there is memory to unpack in.
  const known = packed ? (root.features | root.featuresNext) & Incompatible.LZ4 : summary.version == CHECKPOINT_VERSION;
  const sound =
    summary.magic == CHECKPOINT_MAGIC &&
    known &&
    summary.sequence == kept.sequence &&
    summary.sequence > 0 &&
    summary.sequence < root.sequenceCeiling &&
    summary.positionSegment < segmentCountMax() &&
    summary.positionBlock <= root.segmentBlocks &&
    <u64>summary.blockCount >> (root.segmentSizeLog2 - <u32>BLOCK_SIZE_LOG2) <= <u64>root.segmentCount &&
    summary.entryCount <= (<u64>summary.blockCount * (packed ? ENTRIES_SIZE_MAX : BLOCK_PAYLOAD_SIZE)) / ENTRY_SIZE_MIN;
  return sound ? Status.OK : Status.CHECKPOINT_DAMAGED;
}

/** How many blocks of a segment, from its first on, a checkpoint's entries are believed of: the others are replayed. */
export function blocksBelieved(summary: CheckpointSummary, index: u32): u32 {
  const state = segmentAt(index);
  if (state.kind == SegmentKind.COPIES) return state.generation < summary.copiesGeneration ? root.segmentBlocks : 0;
  if (state.generation > summary.logGeneration) return 0;
  const isPosition = index == summary.positionSegment && state.generation == summary.positionGeneration;
  return isPosition ? summary.positionBlock : root.segmentBlocks;
}

/** Loads a kept checkpoint. CHECKPOINT_DAMAGED, OUT_OF_MEMORY, or DEVICE_READ of what is not the checkpoint's alone. */
export function checkpointLoad(which: u32, frame: usize): i32 {
  const kept = rootAt(which);
  const first = checkpointChain(kept);
  if (!first) return Status.CHECKPOINT_DAMAGED;
  const last = blockAt(kept.segment, kept.block, frame);
  if (last < 0) return Status.CHECKPOINT_DAMAGED;
  const read = summaryRead(kept, <usize>last, SUMMARY);
  if (read < 0) return read;
  const summary = changetype<CheckpointSummary>(SUMMARY);
  const loading = changetype<Loading>(LOADING);
  memory.fill(LOADING, 0, offsetof<Loading>());
  memory.fill(ENTRY, 0, offsetof<Entry>());
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    if (!noteHas(i)) continue;
    segmentAt(i).believed = blocksBelieved(summary, i);
    if (segmentAt(i).believed) loading.old++;
  }
  progressSet(first);
  // What is missing can be said, should memory not suffice.
  root.keysToLoad = summary.entryCount;
  root.keyBytesToLoad = summary.keyBytes;
  if (hashGrow(summary.entryCount) < 0) return Status.OUT_OF_MEMORY;
  for (let at = first; at; at = segmentAt(at - 1).next) {
    const end = at == kept.segment + 1 ? <u32>kept.block : root.segmentBlocks;
    for (let block: u32 = 0; block < end; block++) {
      const pointer = blockAt(at - 1, block, frame);
      if (pointer < 0) return Status.CHECKPOINT_DAMAGED;
      const status = blockLoad(at - 1, block, <usize>pointer, loading);
      if (status < 0) return status;
    }
  }
  const flushed = leafFlush(loading);
  if (flushed < 0) return flushed;
  const whole =
    loading.entries == summary.entryCount &&
    loading.keyBytes == summary.keyBytes &&
    loading.valueBytes == summary.valueBytes &&
    loading.check == summary.blocksCheck &&
    loading.blocks == summary.blockCount &&
    loading.segments == summary.segmentCount &&
    loading.told == loading.old &&
    !loading.table;
  if (!whole) return Status.CHECKPOINT_DAMAGED;
  root.liveKeyCount = <u32>loading.entries;
  root.keyBytes = loading.keyBytes;
  root.valueBytes = loading.valueBytes;
  root.replayFloor = summary.sequence;
  root.replaySequence = max(root.replaySequence, summary.sequence);
  root.highestTimeMs = max(root.highestTimeMs, summary.highestTimeMs);
  root.checkpointBlocks = summary.blockCount;
  root.checkpointKeys = summary.entryCount;
  return Status.OK;
}

/** What is to be read: the checkpoint's segments from `first` on, index plus 1, and those that are replayed. */
export function progressSet(first: u32): void {
  let blocks: u32 = 0;
  for (let at = first; at; at = segmentAt(at - 1).next) blocks += root.segmentBlocks;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    if (noteHas(i) && segmentAt(i).believed < root.segmentBlocks) blocks += root.segmentBlocks;
  }
  root.progressTotal = blocks;
  root.progressDone = 0;
}

function blockLoad(index: u32, block: u32, frame: usize, loading: Loading): i32 {
  const header = changetype<BlockHeader>(frame);
  const deviceBlock = (segmentOffset(index) >> BLOCK_SIZE_LOG2) + block;
  if (header.generation != segmentAt(index).generation || !blockValid(frame, deviceBlock)) {
    return Status.CHECKPOINT_DAMAGED;
  }
  const isHeader = (header.flags & BlockFlags.SEGMENT_HEADER) != 0;
  if (isHeader != !block) return Status.CHECKPOINT_DAMAGED;
  if (isHeader) return Status.OK;
  loading.check = checkFold(loading.check, header.check);
  loading.blocks++;
  const start = entriesOf(frame, changetype<CheckpointSummary>(SUMMARY));
  if (!start) return Status.CHECKPOINT_DAMAGED;
  const entry = changetype<Entry>(ENTRY);
  const base = load<u64>(frame + BLOCK_HEADER_SIZE);
  const end = <usize>root.entriesTo;
  let isFirst = true;
  for (let at = start; at < end; ) {
    const flags = <u32>load<u8>(at);
    if (flags & (EntryFlags.MORE_EXTENTS | EntryFlags.SEGMENT)) {
      const size = flags == EntryFlags.SEGMENT ? segmentLoad(at, end, loading) : extentsLoad(at, end, flags, loading);
      if (!size) return Status.CHECKPOINT_DAMAGED;
      at += size;
      continue;
    }
    if (loading.table || loading.segments) return Status.CHECKPOINT_DAMAGED;
    const next = entryRead(at, end, base, entry, KEY_A, isFirst);
    if (!next) return Status.CHECKPOINT_DAMAGED;
    isFirst = false;
    const status = nodeLoad(entry, loading);
    if (status < 0) return status;
    at = next;
  }
  return Status.OK;
}

/** Makes the node of an entry. */
function nodeLoad(entry: Entry, loading: Loading): i32 {
  const keySize = entry.keySize;
  const valueSize = entry.valueSize;
  const flags = entry.flags;
  if (valueSize > VALUE_SIZE_MAX || entry.sequence >= root.sequenceCeiling) return Status.CHECKPOINT_DAMAGED;
  if (loading.nodes == LEAF_FILL) {
    const flushed = leafFlush(loading);
    if (flushed < 0) return flushed;
    if (chunksAvailable() < CHUNKS_PER_LEAF) return Status.OUT_OF_MEMORY;
  }
  if (flags & NodeFlags.EXPIRY && entry.words > EXPIRY_MAX) return Status.CHECKPOINT_DAMAGED;
  const storedSize = entry.storedSize;
  const compressed = storedSize < valueSize;
  const isStored = (flags & NodeFlags.EXTENTS) != 0 || compressed;
  const fields = wordsSizeOf(flags) + (compressed ? RAW_FIELD_SIZE : 0);
  const pointer = nodeTake(keySize, (isStored ? 8 : 0) + wordsSizeInNode(flags));
  if (!pointer) return Status.OUT_OF_MEMORY;
  const node = changetype<KeyNode>(pointer);
  nodeSetKey(node, KEY_A, keySize);
  node.identity = identityOf(entry.sequence, keySize);
  node.valueSize = valueSize;
  if (compressed) storedSet(node, node.body, 0, valueSize, storedSize);
  compressedEnter(node);
  let address = entry.address;
  if (flags & NodeFlags.EXTENTS) {
    const parts = entry.parts;
    if (parts < 2 || parts > storedSize + 1 || chunksAvailable() < CHUNKS_PER_LEAF) return Status.CHECKPOINT_DAMAGED;
    const table = extentTableTake(parts);
    if (!table) return Status.CHECKPOINT_DAMAGED;
    storedSet(node, node.body, table, valueSize, storedSize);
    loading.table = <u32>table;
    loading.part = 0;
    loading.parts = parts;
    loading.keySize = keySize;
    loading.fields = fields;
    if (!isPlaced(address)) address = 0;
  } else if (isPlaced(address)) {
    liveAdd(address, pad8(RECORD_HEADER_SIZE + fields + keySize + storedSize));
  } else {
    root.unplaced++;
    address = 0;
  }
  node.place = placeOf(address, node.sizeClass, flags);
  wordsLoad(node, entry);
  const i = <usize>loading.nodes;
  store<u32>(NODES + (i << 2), <u32>pointer);
  store<u64>(HASHES + (i << 3), keyHash(KEY_A, keySize, root.hashSeed));
  loading.nodes++;
  loading.entries++;
  loading.keyBytes += keySize;
  loading.valueBytes += valueSize;
  return Status.OK;
}

/** Gives a node, whose flags are set, its expiry and its timestamp. */
function wordsLoad(node: KeyNode, entry: Entry): void {
  const size = wordsSizeOf(node.flags);
  if (!size) return;
  const at = wordsOf(node, node.body);
  store<u64>(at, entry.words);
  if (size > 8) store<u64>(at, entry.wordsToo, 8);
  if (node.flags & NodeFlags.EXPIRY) wheelEnter(node);
}

/** Whether what an entry says of a place still holds. */
function isPlaced(address: u64): bool {
  if ((address - SEGMENTS_OFFSET) >> root.segmentSizeLog2 >= <u64>root.segmentCount) return false;
  const inBlock = <u32>address & (<u32>BLOCK_SIZE - 1);
  return segmentBlockOf(address) < segmentAt(segmentOf(address)).believed && inBlock >= BLOCK_HEADER_SIZE;
}

/** Enters the nodes that were made in both indexes: their buckets are asked for together. */
function leafFlush(loading: Loading): i32 {
  const count = loading.nodes;
  if (!count) return Status.OK;
  let touched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) touched ^= load<u32>(hashBucketOf(load<u64>(HASHES + ((<usize>i) << 3))));
  root.touched = touched;
  for (let i: u32 = 0; i < count; i++) {
    const status = hashInsert(load<u64>(HASHES + ((<usize>i) << 3)), <usize>load<u32>(NODES + ((<usize>i) << 2)));
    if (status < 0) return status;
  }
  loading.nodes = 0;
  return treeAppend(NODES, count);
}

/** Takes an entry of extents: its size, or 0 when it makes no sense. */
function extentsLoad(at: usize, end: usize, flags: u32, loading: Loading): usize {
  if (flags != EntryFlags.MORE_EXTENTS || !loading.table || at + EXTENTS_HEAD_SIZE > end) return 0;
  const count = <u32>load<u16>(at, 2);
  const size: usize = EXTENTS_HEAD_SIZE + count * EXTENT_ITEM_SIZE;
  if (!count || at + size > end || loading.part + count > loading.parts) return 0;
  for (let item = at + EXTENTS_HEAD_SIZE; item < at + size; item += EXTENT_ITEM_SIZE) {
    let address = load<u64>(item);
    const partSize = load<u32>(item, 8);
    if (partSize > VALUE_SIZE_MAX) return 0;
    if (isPlaced(address)) {
      liveAdd(address, extentRecordSize(loading.keySize + (loading.part ? 0 : loading.fields), partSize));
    } else {
      root.unplaced++;
      address = 0;
    }
    extentSet(<usize>loading.table, loading.part, address, partSize);
    loading.part++;
  }
  if (loading.part == loading.parts) loading.table = 0;
  return size;
}

/** Takes an entry of a segment: its size, or 0 when it makes no sense. */
function segmentLoad(at: usize, end: usize, loading: Loading): usize {
  if (at + SEGMENT_ITEM_SIZE > end || loading.table) return 0;
  loading.segments++;
  const index = load<u32>(at, 4);
  // A file may have been cut off since: what lay there was free.
  if (index >= root.segmentCount) return index < segmentCountMax() ? <usize>SEGMENT_ITEM_SIZE : 0;
  const state = segmentAt(index);
  // One that does not count any more is no matter.
  if (!state.believed || state.generation != load<u64>(at, 8)) return SEGMENT_ITEM_SIZE;
  if (<u32>load<u8>(at, 1) != state.kind || load<u32>(at, 28) > root.segmentBlocks) return 0;
  state.end = load<u32>(at, 28);
  tombstoneAdd(segmentOffset(index), load<u32>(at, 24), load<u64>(at, 16));
  loading.told++;
  return SEGMENT_ITEM_SIZE;
}
