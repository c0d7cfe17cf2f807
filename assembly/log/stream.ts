/**
 * Values that are too large for one call, or for what is left of a segment, enter the log in pieces.
 *
 * A value that fits the open segment is one record. One that does not is cut into extents, one a segment: the first
 * record carries the whole size and the number of parts, each further part is a record of its own under the same key
 * and sequence, and the key's node lists them in an extent table.
 *
 * Nothing of the key changes before the last byte is buffered. A value that fits the write buffer cannot fail once it
 * began. For a larger one the buffer is emptied first; should the device then refuse a block on the way for want of
 * room, the log is cut back to where the value started: the segment ends there, and the next one's header says so.
 */
import { pad8 } from "../bytes/compare";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { EXTENT_FIELD_SIZE, RECORD_HEADER_SIZE, RecordFlags, RecordKind } from "../format/record";
import { SegmentKind } from "../format/segment";
import { extentSet, extentTableGive, extentTableTake } from "../index/extent-table";
import { KEY_A, root } from "../root";
import { Status } from "../status";
import {
  framesEnsure,
  logAlign,
  logAppendHead,
  logBytes,
  logReserve,
  segmentAbandonRest,
  segmentRoom,
  tailSeal,
  writeOut,
} from "./append";
import { segmentAt, segmentsRecount, segmentsReserve } from "./segments";

/** A first part smaller than this is not worth a read of its own. */
const FIRST_PART_MIN: u32 = 16384;
/** Values are appended in pieces of this size, so that the write buffer is asked for room in bounded steps. */
const PIECE_SIZE: u32 = 65536;
const PIECE_BLOCKS: u32 = PIECE_SIZE / BLOCK_PAYLOAD_SIZE + 4;

/** Bytes that a part's record takes in the log. */
export function extentRecordSize(keySize: u32, partSize: u32): u32 {
  return pad8(RECORD_HEADER_SIZE + EXTENT_FIELD_SIZE + keySize + partSize);
}

/**
 * Starts a value of `size` bytes for the key in KEY_A; `streamWrite` follows until all of it is there. NO_SPACE or
 * OUT_OF_MEMORY before anything changes.
 */
export function streamBegin(keySize: u32, size: u32, flags: u32, sequence: u64): i32 {
  const reserved = logReserve(0, false);
  if (reserved < 0) return reserved;
  const head = RECORD_HEADER_SIZE + EXTENT_FIELD_SIZE + keySize;
  // One block's payload is slack: the head may not fit the end of the open block, the group's end wants a block too.
  const slack = head + 2 * BLOCK_PAYLOAD_SIZE;
  const partMax = (root.segmentBlocks - 1) * BLOCK_PAYLOAD_SIZE - slack;
  const room = segmentRoom();
  let first = size;
  if (size + slack > room) {
    const left = room > slack ? room - slack : 0;
    first = left >= FIRST_PART_MIN && size > FIRST_PART_MIN ? left : min(size, partMax);
  }
  const parts = 1 + (size - first + partMax - 1) / partMax;
  const segments = segmentsReserve(parts + 2, false);
  if (segments < 0) return segments;
  // What the pieces will ask for at most, so that a value that fits the buffer never hands anything over on its way.
  const blocks = size / BLOCK_PAYLOAD_SIZE + 3 * parts + PIECE_BLOCKS;
  if (root.tailBlock + 1 - root.handedBlock + blocks > root.frameCount) {
    if (blocks + 1 >= root.frameCount) tailSeal();
    const emptied = writeOut(root.tailBlock + (root.tailOpen ? 0 : 1));
    if (emptied < 0) return emptied;
  }
  root.streamTable = 0;
  if (parts > 1) {
    root.streamTable = <u32>extentTableTake(parts);
    if (!root.streamTable) return Status.OUT_OF_MEMORY;
  }
  remember();
  root.streamActive = 1;
  root.readBack = 1;
  root.streamKeySize = keySize;
  root.streamSize = size;
  root.streamWritten = 0;
  root.streamFlags = parts > 1 ? flags | RecordFlags.EXTENTS : flags;
  root.streamParts = parts;
  root.streamPart = 0;
  root.streamPartMax = partMax;
  root.streamSequence = sequence;
  root.streamPartRemaining = first;
  if (first + slack > room) segmentAbandonRest();
  root.streamAddress = logAppendHead(RecordKind.SET, root.streamFlags, sequence, KEY_A, keySize, size, first, parts);
  if (parts > 1) extentSet(root.streamTable, 0, root.streamAddress, first);
  if (!first) logAlign();
  return Status.OK;
}

/** Appends `size` bytes at `source`. NO_SPACE cuts the log back: nothing of the value is there. */
export function streamWrite(source: usize, size: u32): i32 {
  while (size) {
    if (!root.streamPartRemaining) partNext();
    const piece = min(size, min(root.streamPartRemaining, PIECE_SIZE));
    const status = framesEnsure(piece / BLOCK_PAYLOAD_SIZE + 3);
    if (status < 0) {
      streamAbort();
      return status;
    }
    logBytes(source, piece);
    source += piece;
    size -= piece;
    root.streamWritten += piece;
    root.streamPartRemaining -= piece;
    if (!root.streamPartRemaining) logAlign();
  }
  return Status.OK;
}

/** Forgets the value that is under way and cuts the log back to where it started. */
export function streamAbort(): void {
  if (!root.streamActive) return;
  root.streamActive = 0;
  if (root.streamTable) extentTableGive(root.streamTable);
  root.streamTable = 0;
  // Segments that were opened on the way are free again; what was written to them is never part of the stream.
  const hadSegment = root.streamStartOpenBlock < root.segmentBlocks;
  let index = root.segmentOpen;
  while (segmentAt(index).kind == SegmentKind.LOG && segmentAt(index).ordinal > root.streamStartOrdinal) {
    const state = segmentAt(index);
    state.kind = SegmentKind.FREE;
    state.firstBlock = 0;
    if (!state.previousGeneration) break;
    index = state.previousSegment;
  }
  root.segmentOrdinal = root.streamStartOrdinal;
  root.previousSegment = root.streamStartPrevious;
  root.previousEnd = root.streamStartPreviousEnd;
  root.previousGeneration = root.streamStartPreviousGeneration;
  if (hadSegment) {
    const start = segmentAt(root.streamStartSegment);
    start.end = root.streamStartOpenBlock + 1;
    start.next = 0;
    root.previousSegment = root.streamStartSegment;
    root.previousEnd = start.end;
    root.previousGeneration = start.generation;
  }
  root.segmentOpen = root.streamStartSegment;
  root.segmentOpenBlock = root.segmentBlocks;
  root.tailOpen = 0;
  // Only a value that outgrows the buffer comes here, and the buffer was empty when it began.
  root.handedBlock = root.tailBlock + 1;
  root.checkedBlock = root.handedBlock;
  root.mutableFrom = 0;
  root.mutableTo = 0;
  root.groupDirty = root.streamStartDirty;
  segmentsRecount();
}

function remember(): void {
  root.streamStartSegment = root.segmentOpen;
  root.streamStartOpenBlock = root.segmentOpenBlock;
  root.streamStartOrdinal = root.segmentOrdinal;
  root.streamStartPrevious = root.previousSegment;
  root.streamStartPreviousEnd = root.previousEnd;
  root.streamStartPreviousGeneration = root.previousGeneration;
  root.streamStartDirty = root.groupDirty;
}

function partNext(): void {
  root.streamPart++;
  const size = min(root.streamSize - root.streamWritten, root.streamPartMax);
  segmentAbandonRest();
  const address = logAppendHead(
    RecordKind.EXTENT,
    root.streamFlags,
    root.streamSequence,
    KEY_A,
    root.streamKeySize,
    size,
    size,
    root.streamPart,
  );
  extentSet(root.streamTable, root.streamPart, address, size);
  root.streamPartRemaining = size;
}
