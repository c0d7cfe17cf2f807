/**
 * The kept checkpoints, read back: that each is whole, and that it and the log behind it make the state.
 *
 * An entry must be what the key's node says, or the node's record must lie where opening from this checkpoint replays it.
 * A node whose record it would not replay must have its entry: there must be as many of these as entries that name them.
 */
import { deviceRead, tickMs } from "../device/device";
import { rootAt } from "../engine/checkpoint-due";
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader } from "../format/block";
import {
  CHECKPOINT_VERSION_PACKED,
  CheckpointSummary,
  checkFold,
  EntryFlags,
  EXTENT_ITEM_SIZE,
  EXTENTS_HEAD_SIZE,
  SEGMENT_ITEM_SIZE,
} from "../format/checkpoint";
import { ROOT_COUNT, SuperblockRoot } from "../format/superblock";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KeyNode, NodeFlags, storedSizeOf, wordsOf, wordsSizeOf } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, SEGMENTS_OFFSET } from "../limits";
import { segmentMovedOn } from "../log/beside";
import { segmentAt, segmentBlockOf, segmentOf, segmentOffset } from "../log/segments";
import { Entry, entryRead } from "../recovery/checkpoint-entry";
import { blocksBelieved, checkpointChain, summaryRead } from "../recovery/checkpoint-load";
import { entriesOf } from "../recovery/checkpoint-unpack";
import { root } from "../root";
import { blockFault, segmentCounts } from "./source";
import {
  BUFFER_BLOCKS,
  bufferBlock,
  CheckpointTrouble,
  Fault,
  fault,
  faultAt,
  recordKeyAt,
  recordValueAt,
  VerifyPhase,
  VerifyState,
  verifyState,
  walkKeyAt,
} from "./state";

/** Blocks between two looks at the clock, where each may hold as much as several. */
const PACKED_BLOCKS: u32 = 4;

/** Goes on until `deadline` (tickMs) or the end of the kept checkpoints. */
export function checkpointsStep(deadline: u64): void {
  const state = verifyState();
  // The last record's value lay here.
  if (!state.kept && !state.keptStarted) memory.fill(recordValueAt(), 0, offsetof<CheckpointSummary>() * ROOT_COUNT);
  while (state.kept < ROOT_COUNT) {
    const kept = rootAt(state.kept);
    if (!kept.kind) {
      keptNext(state);
      continue;
    }
    if (!state.keptStarted && !keptStart(state, kept)) {
      keptNext(state);
      continue;
    }
    // One that was replaced since the last step is no matter any more.
    if (kept.generation != state.keptGeneration || !checkpointChain(kept)) {
      keptForget(state);
      keptNext(state);
      continue;
    }
    while (state.keptSegment) {
      if (!blocksProve(state, kept)) {
        keptForget(state);
        break;
      }
      if (tickMs() >= deadline && state.keptSegment) return;
    }
    if (!state.keptSegment) keptEnd(state, kept);
    keptNext(state);
    if (tickMs() >= deadline) return;
  }
  state.phase = VerifyPhase.ORDERED_INDEX;
}

/** Counts a live node by each kept checkpoint that would not find its record by replay. */
export function keptCount(state: VerifyState, node: KeyNode): void {
  for (let which: u32 = 0; which < ROOT_COUNT; which++) {
    const summary = summaryOf(which);
    if (!summary.magic || isReplayed(summary, node.address)) continue;
    if (which) state.olderExpected++;
    else state.newerExpected++;
  }
}

/** Compares what was counted, where nothing was written or moved meanwhile. */
export function keptSums(state: VerifyState): void {
  if (state.keptSequence != root.sequence || state.keptMoved != root.bytesMoved || root.readOnly) return;
  for (let which: u32 = 0; which < ROOT_COUNT; which++) {
    if (!summaryOf(which).magic) continue;
    const expected = which ? state.olderExpected : state.newerExpected;
    const found = which ? state.olderFound : state.newerFound;
    if (expected != found) faultAt(Fault.CHECKPOINT, placeOf(rootAt(which)), CheckpointTrouble.LACKS, which);
  }
}

function summaryOf(which: u32): CheckpointSummary {
  return changetype<CheckpointSummary>(recordValueAt() + <usize>which * offsetof<CheckpointSummary>());
}

function placeOf(kept: SuperblockRoot): u64 {
  return segmentOffset(kept.segment) + ((<u64>kept.block) << BLOCK_SIZE_LOG2);
}

function keptNext(state: VerifyState): void {
  state.kept++;
  state.keptStarted = 0;
}

function keptForget(state: VerifyState): void {
  summaryOf(state.kept).magic = 0;
}

/** Reads the summary: false when there is no going on. */
function keptStart(state: VerifyState, kept: SuperblockRoot): bool {
  state.keptStarted = 1;
  state.keptGeneration = kept.generation;
  state.keptSequence = root.sequence;
  state.keptMoved = root.bytesMoved;
  state.keptCheck = 0;
  state.keptEntries = 0;
  state.keptKeyBytes = 0;
  changetype<Entry>(walkKeyAt()).keySize = 0;
  const offset = placeOf(kept);
  const first = checkpointChain(kept);
  const read = deviceRead(offset, bufferBlock(0), <u32>BLOCK_SIZE);
  if (!first || read < 0 || summaryRead(kept, bufferBlock(0), changetype<usize>(summaryOf(state.kept))) < 0) {
    keptForget(state);
    if (!segmentMovedOn(kept.segment, bufferBlock(BUFFER_BLOCKS))) {
      faultAt(Fault.CHECKPOINT, offset, CheckpointTrouble.DAMAGED, state.kept);
    }
    return false;
  }
  state.keptSegment = first;
  state.keptBlock = 0;
  return true;
}

/** Reads and proves the next blocks. False when it was told that the checkpoint is no good. */
function blocksProve(state: VerifyState, kept: SuperblockRoot): bool {
  const index = state.keptSegment - 1;
  const end = index == kept.segment ? <u32>kept.block : root.segmentBlocks;
  const most = summaryOf(state.kept).version == CHECKPOINT_VERSION_PACKED ? PACKED_BLOCKS : BUFFER_BLOCKS;
  const count = min(most, end - state.keptBlock);
  const offset = segmentOffset(index) + ((<u64>state.keptBlock) << BLOCK_SIZE_LOG2);
  const read = count ? deviceRead(offset, bufferBlock(0), count << BLOCK_SIZE_LOG2) : 0;
  for (let i: u32 = 0; i < count; i++) {
    const frame = bufferBlock(i);
    const at = offset + ((<u64>i) << BLOCK_SIZE_LOG2);
    const isHeader = state.keptBlock == 0;
    if (read < 0 || blockFault(frame, at >> BLOCK_SIZE_LOG2, segmentAt(index).generation)) {
      if (!segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))) {
        faultAt(Fault.CHECKPOINT, at, CheckpointTrouble.DAMAGED, state.kept);
      }
      return false;
    }
    state.blocksRead++;
    state.keptBlock++;
    if (((changetype<BlockHeader>(frame).flags & BlockFlags.SEGMENT_HEADER) != 0) != isHeader) {
      faultAt(Fault.CHECKPOINT, at, CheckpointTrouble.MALFORMED, state.kept);
      return false;
    }
    if (isHeader) continue;
    state.keptCheck = checkFold(state.keptCheck, changetype<BlockHeader>(frame).check);
    if (!entriesProve(state, frame)) {
      faultAt(Fault.CHECKPOINT, at, CheckpointTrouble.MALFORMED, state.kept);
      return false;
    }
  }
  if (state.keptBlock == end) {
    state.keptSegment = index == kept.segment ? 0 : segmentAt(index).next;
    state.keptBlock = 0;
  }
  return true;
}

function keptEnd(state: VerifyState, kept: SuperblockRoot): void {
  const summary = summaryOf(state.kept);
  if (!summary.magic) return;
  const whole =
    summary.blocksCheck == state.keptCheck &&
    summary.entryCount == state.keptEntries &&
    summary.keyBytes == state.keptKeyBytes;
  if (whole) return;
  faultAt(Fault.CHECKPOINT, placeOf(kept), CheckpointTrouble.MALFORMED, state.kept);
  keptForget(state);
}

/** Proves the entries of a block. False when it makes no sense. */
function entriesProve(state: VerifyState, frame: usize): bool {
  const start = entriesOf(frame, summaryOf(state.kept));
  if (!start) return false;
  const end = <usize>root.entriesTo;
  const base = load<u64>(frame + BLOCK_HEADER_SIZE);
  const entry = changetype<Entry>(walkKeyAt());
  let isFirst = true;
  for (let at = start; at < end; ) {
    const flags = <u32>load<u8>(at);
    if (flags == EntryFlags.MORE_EXTENTS || flags == EntryFlags.SEGMENT) {
      at += flags == EntryFlags.SEGMENT ? SEGMENT_ITEM_SIZE : EXTENTS_HEAD_SIZE + load<u16>(at, 2) * EXTENT_ITEM_SIZE;
      if (at > end) return false;
      continue;
    }
    at = entryRead(at, end, base, entry, recordKeyAt(), isFirst);
    if (!at) return false;
    isFirst = false;
    state.keptEntries++;
    state.keptKeyBytes += entry.keySize;
    entryProve(state, entry);
  }
  return true;
}

function entryProve(state: VerifyState, entry: Entry): void {
  const key = recordKeyAt();
  const slot = hashFind(key, entry.keySize, keyHash(key, entry.keySize, root.hashSeed));
  // A key that is gone since was deleted by a record that is replayed.
  if (!slot) return;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (node.flags & NodeFlags.DELETED) return;
  const replayed = isReplayed(summaryOf(state.kept), node.address);
  if (!replayed) {
    if (state.kept) state.olderFound++;
    else state.newerFound++;
  }
  const flags =
    NodeFlags.EXTENTS | NodeFlags.ASCII_KEY | NodeFlags.ASCII_VALUE | NodeFlags.EXPIRY | NodeFlags.TIMESTAMP;
  const same =
    node.sequence == entry.sequence &&
    node.valueSize == entry.valueSize &&
    storedSizeOf(node, node.body) == entry.storedSize &&
    (node.flags & flags) == entry.flags &&
    wordsAgree(node, entry);
  const sound = same ? replayed || node.address == entry.address : node.sequence > entry.sequence && replayed;
  if (!sound) fault(Fault.CHECKPOINT, <f64>node.address, CheckpointTrouble.DIFFERS, state.kept, key, entry.keySize);
}

/** Whether expiry and timestamp are the same, where the flags are. */
function wordsAgree(node: KeyNode, entry: Entry): bool {
  const size = wordsSizeOf(node.flags);
  const at = wordsOf(node, node.body);
  return (!size || load<u64>(at) == entry.words) && (size <= 8 || load<u64>(at, 8) == entry.wordsToo);
}

/** Whether opening from a checkpoint reads a record. */
function isReplayed(summary: CheckpointSummary, address: u64): bool {
  if (address < SEGMENTS_OFFSET || (address - SEGMENTS_OFFSET) >> root.segmentSizeLog2 >= <u64>root.segmentCount)
    return true;
  const index = segmentOf(address);
  return !segmentCounts(index) || segmentBlockOf(address) >= blocksBelieved(summary, index);
}
