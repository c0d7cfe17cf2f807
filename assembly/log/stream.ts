/**
 * Values that are too large for one call, or for what is left of a segment, enter the log in pieces.
 *
 * A value that fits the open segment is one record. One that does not is cut into extents, one a segment: the first
 * record carries the whole size and the number of parts, each further part is a record of its own under the same key
 * and sequence, and the key's node lists them in an extent table.
 *
 * Nothing of the key changes before the last byte is buffered. A value that fits the write buffer cannot fail once it
 * began. A larger one starts a group of its own, with an empty buffer. Should the device then refuse a block on the way
 * for want of room, the log goes back to where the value started: the number of that group is never used again, so what
 * was written of it is behind the end of the log, and is written over. It goes on in a segment of its own, which is younger
 * than those that the value had begun: opening takes the youngest whose group a mark covers for the log's last. In a batch,
 * whose group cannot be parted, the store is poisoned instead.
 */
import { pad8 } from "../bytes/compare";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { EXTENT_FIELD_SIZE, RECORD_HEADER_SIZE, RecordFlags, RecordKind, recordFieldsSize } from "../format/record";
import { SegmentKind } from "../format/segment";
import { extentSet, extentTableGive, extentTableTake } from "../index/extent-table";
import { BLOCK_SIZE_LOG2 } from "../limits";
import { KEY_A, root } from "../root";
import { Status } from "../status";
import {
  framesEnsure,
  groupSeal,
  logAlign,
  logAppendHead,
  logBytes,
  logReserve,
  segmentAbandonRest,
  segmentRoom,
  tailSeal,
  writeOut,
} from "./append";
import { For, headerBlocks, segmentAt, segmentFree, segmentOffset, segmentsReserve } from "./segments";
import { noteForgets, noteTakeBack, Space } from "./space";

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
  const reserved = logReserve(0, For.WRITING);
  if (reserved < 0) return reserved;
  const head = RECORD_HEADER_SIZE + recordFieldsSize(flags) + EXTENT_FIELD_SIZE + keySize;
  // One block's payload is slack: the head may not fit the end of the open block, the group's end wants a block too.
  const slack = head + 2 * BLOCK_PAYLOAD_SIZE;
  const partMax = (root.segmentBlocks - headerBlocks()) * BLOCK_PAYLOAD_SIZE - slack;
  // A value that may outgrow the buffer starts with an empty one, and with a group of its own.
  const blocksMax = size / BLOCK_PAYLOAD_SIZE + (3 + headerBlocks()) * (2 + size / partMax) + PIECE_BLOCKS;
  const outgrows = blocksMax + 1 >= root.frameCount;
  if (outgrows) {
    const ended = root.groupDirty && !root.batchOpen ? groupSeal() : Status.OK;
    if (ended < 0) return ended;
    tailSeal();
    const emptied = writeOut(root.tailBlock + 1);
    if (emptied < 0) return emptied;
  }
  const room = segmentRoom();
  let first = size;
  if (size + slack > room) {
    const left = room > slack ? room - slack : 0;
    first = left >= FIRST_PART_MIN && size > FIRST_PART_MIN ? left : min(size, partMax);
  }
  const parts = 1 + (size - first + partMax - 1) / partMax;
  const segments = segmentsReserve(parts + 2, root.batchOpen ? For.RECOVERY : For.WRITING);
  if (segments < 0) return segments;
  // What the pieces will ask for at most, so that a value that fits the buffer never hands anything over on its way.
  const blocks = size / BLOCK_PAYLOAD_SIZE + (3 + headerBlocks()) * parts + PIECE_BLOCKS;
  if (root.tailBlock + 1 - root.handedBlock + blocks > root.frameCount) {
    const emptied = writeOut(root.tailBlock + (root.tailOpen ? 0 : 1));
    if (emptied < 0) return emptied;
  }
  root.streamTable = 0;
  if (parts > 1) {
    root.streamTable = <u32>extentTableTake(parts);
    if (!root.streamTable) return Status.OUT_OF_MEMORY;
  }
  remember();
  root.streamAlone = outgrows && !root.groupDirty ? 1 : 0;
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
    const status = framesEnsure(piece / BLOCK_PAYLOAD_SIZE + 4 + headerBlocks());
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

/** Forgets the value that is under way and goes back to where the log stood when it started. */
export function streamAbort(): void {
  if (!root.streamActive) return;
  root.streamActive = 0;
  if (root.streamTable) extentTableGive(root.streamTable);
  root.streamTable = 0;
  if (!root.streamAlone) {
    // The group holds other writes, and cannot be given up alone.
    root.blocked = Status.POISONED;
    return;
  }
  // Segments that were opened on the way are free again: no note that counts names them.
  for (let i = root.allotmentStart; i < root.allotmentEnd; i++) {
    const state = segmentAt(i);
    if (state.kind != SegmentKind.LOG || state.generation <= root.streamStartGeneration) continue;
    if (!state.firstBlock || state.generation >> 32 != <u64>root.epoch) continue;
    noteForgets(i);
    segmentFree(i);
  }
  noteTakeBack(root.group);
  root.group++;
  root.groupDirty = 0;
  root.previousSegment = root.streamStartPrevious;
  root.previousGeneration = root.streamStartPreviousGeneration;
  root.segmentOpen = root.streamStartSegment;
  root.segmentOpenBlock = root.streamStartOpenBlock;
  if (root.segmentOpenBlock < root.segmentBlocks) segmentAt(root.segmentOpen).space = Space.OPEN;
  // Only a value that outgrows the buffer comes here, and the buffer was empty when it began.
  root.tailBlock = root.streamStartBlock;
  root.tailOpen = 0;
  root.handedBlock = root.tailBlock + 1;
  root.checkedBlock = root.handedBlock;
  root.residentFrom = root.handedBlock;
  root.mutableFrom = segmentOffset(root.segmentOpen) + ((<u64>root.segmentOpenBlock + 1) << BLOCK_SIZE_LOG2);
  root.mutableTo = 0;
  segmentAbandonRest();
}

function remember(): void {
  root.streamStartSegment = root.segmentOpen;
  root.streamStartOpenBlock = root.segmentOpenBlock;
  root.streamStartPrevious = root.previousSegment;
  root.streamStartPreviousGeneration = root.previousGeneration;
  root.streamStartGeneration = ((<u64>root.epoch) << 32) | root.generationCounter;
  root.streamStartBlock = root.tailBlock;
}

function partNext(): void {
  root.streamPart++;
  const size = min(root.streamSize - root.streamWritten, root.streamPartMax);
  segmentAbandonRest();
  const address = logAppendHead(
    RecordKind.EXTENT,
    root.streamFlags & ~(RecordFlags.EXPIRY | RecordFlags.TIMESTAMP | RecordFlags.COMPRESSED),
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
