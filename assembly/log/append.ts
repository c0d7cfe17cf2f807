/**
 * The tail of the log: blocks in a ring of frames, filled by append.
 *
 * ```
 *   residentBlock         handedBlock                         tailBlock
 *        │ handed over, still    │ sealed, may be updated          │ open
 *        │ readable in memory    │ in place until handed over      │
 *        └───────────────────────┴────────────────────────────────┘
 * ```
 *
 * Invariants: (1) a block that was handed to the device keeps its bytes, unless its group was given up before its end; (2) every block not handed over belongs to
 * the current group; (3) a frame is used again only when its block was handed over; (4) checksums trail the tail, so
 * that no hand-over has more than CHECK_LAG of them to compute.
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { deviceWrite, deviceWriteUncached, tickMs, timeNowMs } from "../device/device";
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  BlockFlags,
  BlockHeader,
  blockBegin,
  blockCheck,
  LAST_PAYLOAD_SIZE,
  NO_RECORD,
  trailerOf,
} from "../format/block";
import { noteSizeFor } from "../format/note";
import {
  RECORD_HEADER_SIZE,
  Record,
  RecordFlags,
  RecordKind,
  recordExtentAt,
  recordFieldsSize,
  recordHeaderStore,
  recordKeyOffset,
} from "../format/record";
import {
  headerBlocksFor,
  SEGMENT_HEADER_SIZE,
  SEGMENT_MAGIC,
  SegmentHeader,
  SegmentKind,
  segmentHeaderOf,
} from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { Attention, root } from "../root";
import { Status } from "../status";
import { historySample } from "./history";
import {
  For,
  headerBlocks,
  segmentAt,
  segmentBlockOf,
  segmentOf,
  segmentOffset,
  segmentsReserve,
  segmentTake,
} from "./segments";
import { sideFrameAt } from "./side";
import { noteCounts, noteMake, Space, spaceSurvey } from "./space";
import { ceilingIsLow, fenceCheck } from "./superblock-store";

const CHECK_LAG: u64 = 64;
const FIELDS: u32 = RecordFlags.EXPIRY | RecordFlags.TIMESTAMP | RecordFlags.COMPRESSED;
const WRITE_OUT_BLOCKS: u64 = 64;
/** Blocks of a checkpoint that a block of the log pays for. */
const CHECKPOINT_FACTOR: u32 = 4;
/** Blocks at the log's end that deletions leave to a note, its group and its mark. */
const NOTE_BLOCKS: u32 = 5;

/** Sets up an empty ring of `frameCount` frames, a power of two, at `frames`. */
export function logInitialize(frames: usize, frameCount: u32): void {
  root.frames = <u32>frames;
  root.frameCount = frameCount;
  root.frameMask = frameCount - 1;
  root.tailBlock = 0;
  root.tailOpen = 0;
  root.handedBlock = 1;
  root.checkedBlock = 1;
  root.residentFrom = 1;
  root.mutableFrom = 0;
  root.mutableTo = 0;
  root.flightFrom = 0;
  root.flightTo = 0;
  root.groupDirty = 0;
}

/** The frame of a block that is in the ring. */
export function frameOf(block: u64): usize {
  return <usize>root.frames + ((<usize>(<u32>block & root.frameMask)) << BLOCK_SIZE_LOG2);
}

/**
 * The frame that holds the block at a device address, or 0 when neither the ring nor the flight area holds it. A block
 * in flight, or held for want of room, need not be on the device yet, though its frame may be in use again.
 */
export function frameAtAddress(address: u64): usize {
  const state = segmentAt(segmentOf(address));
  if (!state.firstBlock) return 0;
  const block = state.firstBlock + segmentBlockOf(address);
  if (state.kind != SegmentKind.LOG) return sideFrameAt(block);
  if (block > root.tailBlock) return 0;
  if (block >= root.residentFrom && block + root.frameCount > root.tailBlock) return frameOf(block);
  if (block < root.flightFrom || block >= root.flightTo) return 0;
  return <usize>root.flightArea + ((<usize>(block - root.flightFrom)) << BLOCK_SIZE_LOG2);
}

/**
 * Makes sure that records of `size` bytes in all can be appended: segments, frames. NO_SPACE before anything changes:
 * the callers in the engine first try to get some back (engine/reclaim.ts). Cheap when the open segment has room.
 */
export function logReserve(size: u32, purpose: u32): i32 {
  if (root.blocked) return root.blocked;
  // One block for a skipped end, two for the ends of the group and of the segment, and a segment's header.
  const blocks = size / BLOCK_PAYLOAD_SIZE + 5 + headerBlocks();
  const framed = framesEnsure(blocks);
  if (framed < 0) return framed;
  const left: u32 = purpose == For.DELETING ? NOTE_BLOCKS : 0;
  // A batch set aside what it needs, with what is kept, before it began.
  return segmentsReserve(segmentsFor(blocks + left), root.batchOpen ? For.RECOVERY : purpose);
}

/** Segments that copies must leave so that the note after them finds room. */
export function segmentsForNote(): u32 {
  return segmentsFor(NOTE_BLOCKS + headerBlocks());
}

/** Segments beyond the open one that so many blocks may need, and where none are kept, one for the end of the group. */
function segmentsFor(blocks: u32): u32 {
  const room = root.segmentBlocks - root.segmentOpenBlock;
  const ahead: u32 = root.growable ? 1 : 0;
  return room > blocks ? ahead : ahead + 1 + blocks / (root.segmentBlocks - headerBlocks() - 1);
}

/** Surveys the segments where one was closed since the last time. Between operations, with every record applied. */
export function surveyWhenDue(): void {
  if (root.surveyDue && !root.streamActive) spaceSurvey();
}

/** Makes sure that `blocks` more blocks find frames, handing sealed ones over when they do not. NO_SPACE. */
export function framesEnsure(blocks: u32): i32 {
  if (root.tailBlock + 1 - root.handedBlock + blocks <= root.frameCount) return Status.OK;
  return framesReserve(blocks);
}

/** Payload bytes that the open segment still takes. */
export function segmentRoom(): u32 {
  if (root.segmentOpenBlock >= root.segmentBlocks) return 0;
  const open = root.tailOpen ? BLOCK_PAYLOAD_SIZE - root.tailUsed : 0;
  return (root.segmentBlocks - 1 - root.segmentOpenBlock) * BLOCK_PAYLOAD_SIZE + open;
}

/**
 * Appends a record whose value lies in one piece and fits a segment. Everything was reserved. Its address, never 0.
 */
export function logAppend(
  kind: u32,
  flags: u32,
  sequence: u64,
  key: usize,
  keySize: u32,
  value: usize,
  valueSize: u32,
): u64 {
  const fields = flags & FIELDS ? recordFieldsSize(flags) : 0;
  const head = RECORD_HEADER_SIZE + fields + keySize;
  const total = pad8(head + valueSize);
  let used = root.tailUsed;
  if (!root.tailOpen || used + head > BLOCK_PAYLOAD_SIZE) {
    blockNext();
    used = root.tailUsed;
  }
  if (used + total > BLOCK_PAYLOAD_SIZE && total > segmentRoom()) {
    // The value would run out of the segment: it starts the next one.
    segmentAbandonRest();
    blockNext();
    used = root.tailUsed;
  }
  const frame = <usize>root.tailFrame;
  const record = frame + BLOCK_HEADER_SIZE + used;
  recordHeaderStore(record, kind, flags, sequence, keySize, valueSize);
  if (fields) fieldsStore(record, flags);
  const header = changetype<BlockHeader>(frame);
  if (header.first == <u16>NO_RECORD) header.first = <u16>used;
  const address = root.tailOffset + BLOCK_HEADER_SIZE + used;
  if (!root.groupDirty) groupOpen();
  root.bytesAppended += total;
  if (used + total <= BLOCK_PAYLOAD_SIZE) {
    store<u64>(record + total - 8, 0);
    copyBytes(record + RECORD_HEADER_SIZE + fields, key, keySize);
    copyBytes(record + head, value, valueSize);
    root.tailUsed = used + total;
  } else {
    copyBytes(record + RECORD_HEADER_SIZE + fields, key, keySize);
    root.tailUsed = used + head;
    logBytes(value, valueSize);
    logAlign();
  }
  return address;
}

/**
 * Appends the head of a record whose value comes in pieces: as many bytes as promised follow through `logBytes`, then
 * `logAlign`. With the flag EXTENTS, `partSize` and `part` stand between header and key. Its address.
 */
export function logAppendHead(
  kind: u32,
  flags: u32,
  sequence: u64,
  key: usize,
  keySize: u32,
  valueSize: u32,
  partSize: u32,
  part: u32,
): u64 {
  const keyOffset = recordKeyOffset(flags);
  const head = keyOffset + keySize;
  if (!root.tailOpen || root.tailUsed + head > BLOCK_PAYLOAD_SIZE) blockNext();
  const used = root.tailUsed;
  const frame = <usize>root.tailFrame;
  const record = frame + BLOCK_HEADER_SIZE + used;
  recordHeaderStore(record, kind, flags, sequence, keySize, valueSize);
  if (flags & FIELDS) fieldsStore(record, flags);
  if (flags & RecordFlags.EXTENTS) {
    const field = recordExtentAt(record);
    store<u32>(field, partSize);
    store<u32>(field, part, 4);
  }
  copyBytes(record + keyOffset, key, keySize);
  const header = changetype<BlockHeader>(frame);
  if (header.first == <u16>NO_RECORD) header.first = <u16>used;
  root.tailUsed = used + head;
  if (!root.groupDirty) groupOpen();
  root.bytesAppended += pad8(head + partSize);
  return root.tailOffset + BLOCK_HEADER_SIZE + used;
}

/** Writes expiry, timestamp and raw size of the write under way behind a record's header. */
function fieldsStore(record: usize, flags: u32): void {
  let at = record + RECORD_HEADER_SIZE;
  if (flags & RecordFlags.EXPIRY) {
    store<u64>(at, root.callExpiry);
    at += 8;
  }
  if (flags & RecordFlags.TIMESTAMP) {
    store<u64>(at, root.callTimestamp);
    at += 8;
  }
  if (flags & RecordFlags.COMPRESSED) store<u32>(at, root.callRawSize);
}

/** Appends bytes of the value that is under way, over as many blocks of the segment as it takes. */
export function logBytes(source: usize, size: u32): void {
  while (size) {
    if (root.tailUsed == BLOCK_PAYLOAD_SIZE) blockNext();
    const piece = min(size, BLOCK_PAYLOAD_SIZE - root.tailUsed);
    copyBytes(<usize>root.tailFrame + BLOCK_HEADER_SIZE + root.tailUsed, source, piece);
    root.tailUsed += piece;
    source += piece;
    size -= piece;
  }
}

/** Pads the tail to 8 bytes after a value. */
export function logAlign(): void {
  while (root.tailUsed & 7) {
    store<u8>(<usize>root.tailFrame + BLOCK_HEADER_SIZE + root.tailUsed, 0);
    root.tailUsed++;
  }
}

/**
 * Gives a record that was not handed over a new value of the same padded size, under a new sequence. The record lies
 * in one block. False when it cannot: the record is appended anew then.
 */
export function logUpdateInPlace(
  address: u64,
  flags: u32,
  sequence: u64,
  keySize: u32,
  value: usize,
  oldSize: u32,
  valueSize: u32,
): bool {
  if (address < root.mutableFrom || address >= root.mutableTo) return false;
  const head = recordKeyOffset(flags) + keySize;
  const total = pad8(head + valueSize);
  if (total != pad8(head + oldSize)) return false;
  const inBlock = <u32>address & (<u32>BLOCK_SIZE - 1);
  if (inBlock + total > <u32>BLOCK_SIZE) return false;
  const block = segmentAt(root.segmentOpen).firstBlock + segmentBlockOf(address);
  const record = frameOf(block) + inBlock;
  const previous = changetype<Record>(record);
  if ((<u32>previous.flags ^ flags) & ~(RecordFlags.ASCII_KEY | RecordFlags.ASCII_VALUE)) return false;
  recordHeaderStore(record, RecordKind.SET, flags, sequence, keySize, valueSize);
  if (flags & FIELDS) fieldsStore(record, flags);
  // The key's last bytes may share the final word: clear only what lies behind the new value.
  copyBytes(record + head, value, valueSize);
  for (let i = head + valueSize; i < total; i++) store<u8>(record + i, 0);
  checkAnew(block);
  root.inPlaceUpdates++;
  return true;
}

/** Turns a record that was not handed over into padding. False when it was. */
export function logVoid(address: u64): bool {
  if (address < root.mutableFrom || address >= root.mutableTo) return false;
  const block = segmentAt(root.segmentOpen).firstBlock + segmentBlockOf(address);
  changetype<Record>(frameOf(block) + (<u32>address & (<u32>BLOCK_SIZE - 1))).kind = <u8>RecordKind.VOID;
  checkAnew(block);
  return true;
}

function groupOpen(): void {
  root.groupDirty = 1;
  root.groupStartMs = tickMs();
}

/** Makes the group that is being filled worth writing, though nothing is in it: for the mark in its end. */
export function groupTouch(): void {
  if (!root.groupDirty) groupOpen();
}

/** Lets the log go on in a segment whose first `block` blocks are on the device, and behind which nothing was written. */
export function logContinue(index: u32, block: u32): void {
  const state = segmentAt(index);
  state.space = Space.OPEN;
  state.firstBlock = 1;
  root.segmentOpen = index;
  root.segmentOpenBlock = block - 1;
  root.tailBlock = block;
  root.tailOpen = 0;
  root.handedBlock = block + 1;
  root.checkedBlock = block + 1;
  root.residentFrom = block + 1;
  root.mutableFrom = segmentOffset(index) + ((<u64>block) << BLOCK_SIZE_LOG2);
  root.mutableTo = 0;
}

/**
 * Ends the current group: seals the tail under the end flag, with the durable mark. NO_SPACE when that needs a segment
 * and there is none.
 */
export function groupSeal(): i32 {
  if (!root.tailOpen || root.tailUsed > LAST_PAYLOAD_SIZE) {
    if (root.segmentOpenBlock + 1 >= root.segmentBlocks) {
      const reserved = segmentsReserve(1, For.RECOVERY);
      if (reserved < 0) return reserved;
    }
    const framed = framesEnsure(2 + headerBlocks());
    if (framed < 0) return framed;
    blockNext();
  }
  const frame = <usize>root.tailFrame;
  const trailer = trailerOf(frame);
  const header = changetype<BlockHeader>(frame);
  blockSeal();
  header.flags |= <u16>BlockFlags.GROUP_END;
  trailer.durableGroup = root.durableGroup;
  trailer.reserved = 0;
  root.sealedMark = root.durableGroup;
  root.sealedGroup = root.group;
  // Whether it is handed over now or later: what follows belongs to another group.
  mutableBegin(root.tailOffset + BLOCK_SIZE);
  root.sealedTimeMs = timeNowMs();
  trailer.highestTimeMs = root.sealedTimeMs;
  trailer.sequence = root.sequence;
  root.group++;
  root.groupDirty = 0;
  historySample();
  return Status.OK;
}

/** Computes the checksums of all blocks below `block`. */
export function checksAdvance(block: u64): void {
  while (root.checkedBlock < block) {
    const frame = frameOf(root.checkedBlock);
    changetype<BlockHeader>(frame).check = blockCheck(frame);
    root.checkedBlock++;
  }
}

/** Hands blocks below `to` to the device, synchronously and without a sync. NO_SPACE leaves them as they were. */
export function writeOut(to: u64): i32 {
  checksAdvance(to);
  while (root.handedBlock < to) {
    const from = root.handedBlock;
    const run = runLength(from, to);
    const frame = frameOf(from);
    const offset = changetype<BlockHeader>(frame).deviceBlock << BLOCK_SIZE_LOG2;
    const size = run << BLOCK_SIZE_LOG2;
    const status = root.readBack ? deviceWrite(offset, frame, size) : deviceWriteUncached(offset, frame, size);
    if (status < 0) return status;
    handOver(from + run);
    root.blocksWritten += run;
  }
  return Status.OK;
}

/** Marks blocks below `to` as handed over: from now on they keep their bytes. */
export function handOver(to: u64): void {
  root.handedBlock = to;
  if (to > root.tailBlock) root.readBack = 0;
  if (root.segmentOpenBlock < root.segmentBlocks) {
    const first = segmentAt(root.segmentOpen).firstBlock;
    if (to > first) mutableBegin(segmentOffset(root.segmentOpen) + ((to - first) << BLOCK_SIZE_LOG2));
  }
}

/** Records below an address, in the open segment, are no longer updated in place. */
function mutableBegin(address: u64): void {
  if (address > root.mutableFrom) root.mutableFrom = address;
}

/** Blocks from `from` on, below `to`, that are neighbours both in memory and on the device. */
export function runLength(from: u64, to: u64): u32 {
  const ringLeft = root.frameCount - (<u32>from & root.frameMask);
  const limit = <u32>min<u64>(to - from, <u64>ringLeft);
  const start = changetype<BlockHeader>(frameOf(from)).deviceBlock;
  let run: u32 = 1;
  while (run < limit && changetype<BlockHeader>(frameOf(from + run)).deviceBlock == start + run) run++;
  return run;
}

/** Seals the open block, so that the next record starts a new one. */
export function tailSeal(): void {
  if (root.tailOpen) blockSeal();
}

/** Ends the open block, and lets nothing that was appended so far change in place any more. */
export function tailCut(): void {
  if (root.segmentOpenBlock >= root.segmentBlocks) return;
  tailSeal();
  mutableBegin(segmentOffset(root.segmentOpen) + ((<u64>root.segmentOpenBlock + 1) << BLOCK_SIZE_LOG2));
}

/** Leaves the rest of the open segment unused. The caller reserved a block. */
export function segmentAbandonRest(): void {
  if (root.segmentOpenBlock >= root.segmentBlocks) return;
  if (!root.tailOpen && root.segmentOpenBlock + 1 < root.segmentBlocks) {
    root.segmentOpenBlock++;
    blockStart();
  }
  if (root.tailOpen) {
    changetype<BlockHeader>(<usize>root.tailFrame).flags |= <u16>BlockFlags.SEGMENT_END;
    blockSeal();
    if (!root.groupDirty) groupOpen();
  }
  segmentClose();
}

/**
 * Appends a note as a record, or opens the next segment, whose header holds one, when it does not fit the open one.
 * NO_SPACE.
 */
export function noteAppend(): i32 {
  if (root.blocked) return root.blocked;
  const size = noteSizeFor(root.segmentCount);
  const reserved = logReserve(size, For.NOTING);
  if (reserved < 0) return reserved;
  if (segmentRoom() < size + 2 * BLOCK_PAYLOAD_SIZE) {
    segmentAbandonRest();
    blockNext();
    groupTouch();
    return Status.OK;
  }
  if (!root.tailOpen || root.tailUsed + RECORD_HEADER_SIZE > BLOCK_PAYLOAD_SIZE) blockNext();
  noteMake();
  const before = root.bytesAppended;
  logAppendHead(RecordKind.NOTE, 0, root.sequence, 0, 0, size, size, 0);
  // Compaction brings notes about: they do not pay for more of it.
  root.bytesPaid += root.bytesAppended - before;
  logBytes(<usize>root.note, size);
  logAlign();
  return Status.OK;
}

/** Sealed blocks must leave so that `blocks` frames come free. */
function framesReserve(blocks: u32): i32 {
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  const sealed = root.tailBlock + (root.tailOpen ? 0 : 1);
  const needed = root.tailBlock + 1 + blocks - root.frameCount;
  return writeOut(min<u64>(sealed, max<u64>(needed, root.handedBlock + WRITE_OUT_BLOCKS)));
}

/** Seals the open block, if any, and opens the next one, in the next segment when this one is full. */
function blockNext(): void {
  if (root.tailOpen) blockSeal();
  if (root.segmentOpenBlock + 1 >= root.segmentBlocks) segmentNext();
  else root.segmentOpenBlock++;
  blockStart();
  if (root.tailBlock - root.checkedBlock > CHECK_LAG) checksAdvance(root.checkedBlock + 1);
  if (root.groupDirty && root.flushIntervalMs && tickMs() - root.groupStartMs >= root.flushIntervalMs)
    root.attention |= Attention.FLUSH_DUE;
  if (root.tailBlock - root.handedBlock > <u64>(root.frameCount >>> 4)) root.attention |= Attention.BUFFER_FULL;
  if (root.expiringCount) root.attention |= Attention.EXPIRY_DUE;
  if (root.hostFlies && ceilingIsLow()) root.attention |= Attention.SUPERBLOCK_DUE;
  if (root.checkpointAuto) {
    if (root.checkpointWork) root.checkpointCredit += CHECKPOINT_FACTOR;
    if (root.checkpointWork || root.bytesAppended >= root.checkpointDueAt) root.attention |= Attention.CHECKPOINT_DUE;
  }
  const unpaid = root.bytesAppended - root.bytesPaid;
  root.bytesPaid += min<u64>(unpaid, BLOCK_PAYLOAD_SIZE);
  if (root.compactActive && unpaid) {
    root.compactCredit += ((<i64>root.compactFactor) << BLOCK_SIZE_LOG2) / 1000;
    root.attention |= Attention.COMPACTION_DUE;
  }
}

function blockStart(): void {
  root.tailBlock++;
  const frame = frameOf(root.tailBlock);
  const offset = segmentOffset(root.segmentOpen) + ((<u64>root.segmentOpenBlock) << BLOCK_SIZE_LOG2);
  blockBegin(frame, segmentAt(root.segmentOpen).generation, offset >> BLOCK_SIZE_LOG2);
  root.tailFrame = <u32>frame;
  root.tailOffset = offset;
  root.tailUsed = 0;
  root.tailOpen = 1;
  root.mutableTo = offset + BLOCK_SIZE;
}

function blockSeal(): void {
  const frame = <usize>root.tailFrame;
  const used = root.tailUsed;
  changetype<BlockHeader>(frame).used = <u16>used;
  memory.fill(frame + BLOCK_HEADER_SIZE + used, 0, BLOCK_PAYLOAD_SIZE - used);
  root.tailOpen = 0;
}

/** Closes the open segment. */
function segmentClose(): void {
  if (root.segmentOpenBlock >= root.segmentBlocks) return;
  const state = segmentAt(root.segmentOpen);
  state.space = Space.LIVE;
  state.end = root.segmentOpenBlock + 1;
  state.closedGroup = root.group;
  root.surveyDue = 1;
  if (root.compactAuto) root.attention |= Attention.COMPACTION_DUE;
  root.previousSegment = root.segmentOpen;
  root.previousGeneration = state.generation;
  root.segmentOpenBlock = root.segmentBlocks;
  // What is handed over from now on is not looked for in the open segment.
  root.mutableFrom = 0;
  root.mutableTo = 0;
}

/**
 * Begins a new life of a segment, as one of the log or of the copies: the generation of its former life. `firstBlock` is
 * the number that its first block has in the write buffer or among the copies, 0 when it goes through neither.
 */
export function segmentBegin(index: u32, kind: u32, firstBlock: u64): u64 {
  const state = segmentAt(index);
  const former = state.generation;
  root.generationCounter++;
  state.generation = ((<u64>root.epoch) << 32) | root.generationCounter;
  state.kind = kind;
  state.space = kind == SegmentKind.LOG ? Space.OPEN : Space.COPYING;
  // The record that opens it may have the present sequence already, and so may others of its batch.
  state.born = root.sequence ? root.sequence - 1 : 0;
  state.previousSegment = kind == SegmentKind.LOG ? root.previousSegment : 0;
  state.previousGeneration = kind == SegmentKind.LOG ? root.previousGeneration : 0;
  state.headerBlocks = kind == SegmentKind.LOG ? headerBlocks() : 1;
  state.liveBytes = 0;
  state.tombstoneBytes = 0;
  state.newestTombstone = 0;
  // It is no longer what opening may have found here.
  state.headerGroup = 0;
  state.extents = 0;
  state.believed = 0;
  state.closedGroup = 0;
  state.movedTo = 0;
  state.packed = 0;
  state.stuck = 0;
  state.firstBlock = firstBlock;
  return former;
}

/** Opens a free segment and writes its header blocks. */
function segmentNext(): void {
  segmentClose();
  const index = segmentTake();
  const former = segmentBegin(index, SegmentKind.LOG, root.tailBlock + 1);
  noteCounts(index);
  const noteSize = noteMake();
  const blocks = headerBlocksFor(noteSize);
  root.segmentOpen = index;
  root.segmentOpenBlock = 0;
  let noted: u32 = 0;
  for (let block: u32 = 0; block < blocks; block++) {
    root.segmentOpenBlock = block;
    blockStart();
    noted = headerBlockFill(<usize>root.tailFrame, index, former, block, noted, noteSize);
    root.tailUsed = changetype<BlockHeader>(<usize>root.tailFrame).used;
    blockSeal();
  }
  root.segmentOpenBlock = blocks;
  root.mutableFrom = segmentOffset(index) + ((<u64>blocks) << BLOCK_SIZE_LOG2);
}

/**
 * Fills header block `block` of a log segment, whose frame's block header is set: flags, used, and the payload from
 * byte `noted` of the note on. How much of the note is written then.
 */
export function headerBlockFill(frame: usize, index: u32, former: u64, block: u32, noted: u32, noteSize: u32): u32 {
  const header = changetype<BlockHeader>(frame);
  let used: u32 = 0;
  if (!block) {
    segmentHeaderFill(segmentHeaderOf(frame), index, former);
    used = SEGMENT_HEADER_SIZE;
  }
  const piece = min(noteSize - noted, LAST_PAYLOAD_SIZE - used);
  memory.copy(frame + BLOCK_HEADER_SIZE + used, <usize>root.note + noted, piece);
  header.flags = <u16>BlockFlags.SEGMENT_HEADER;
  header.used = <u16>(used + piece);
  return noted + piece;
}

/** Fills a segment's header from its state. */
export function segmentHeaderFill(header: SegmentHeader, index: u32, former: u64): void {
  const state = segmentAt(index);
  header.magic = SEGMENT_MAGIC;
  header.kind = state.kind;
  header.born = state.born;
  header.previousGeneration = state.previousGeneration;
  header.previousSegment = state.previousSegment;
  header.headerBlocks = state.headerBlocks;
  header.checkSeed = root.checkSeed;
  header.saltLow = root.saltLow;
  header.saltHigh = root.saltHigh;
  header.formerGeneration = former;
}

/** Brings the checksum of a block that changed after it was computed up to date. */
function checkAnew(block: u64): void {
  if (block >= root.checkedBlock) return;
  const frame = frameOf(block);
  changetype<BlockHeader>(frame).check = blockCheck(frame);
}
