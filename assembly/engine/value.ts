/**
 * Reading a value that is not in its key node.
 *
 * The record's header is compared with the node before a byte of the value is given out, so a stale or misdirected
 * block is CORRUPT and never data. A value of many blocks passes through the cache as a scan does.
 */
import { copyBytes } from "../bytes/compare";
import { CacheMode, cacheCount } from "../cache/block-cache";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE } from "../format/block";
import { EXTENT_FIELD_SIZE, RECORD_HEADER_SIZE, Record, recordKeyOffset, recordPartSize } from "../format/record";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { fieldsSizeOf, KeyNode, NodeFlags, storedSizeOf } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { segmentBlockOf, segmentOf } from "../log/segments";
import { EXCHANGE_OUT, EXCHANGE_SIZE, root } from "../root";
import { Status } from "../status";
import { compressedCopy } from "./decompress";
import { blockFetch, runFetch } from "./fetch";

/** A larger value is read as a scan reads. */
const SINGLE_SIZE_MAX: u32 = 65536;

/** What `valueOpen` answers beside a status. */
export namespace ValueAt {
  /** `resultPointer` and `resultSize` say where the value is, until the next call. */
  export const MEMORY: i32 = 1;
  /** It is larger than the exchange area: `valueRead` gives it in pieces. */
  export const PIECES: i32 = 2;
}

/**
 * Finds the value of a node, or of a version (`body` is where its inline bytes or its extent table lie). Sets the
 * result words. A value that is not inline is copied to `gather` when `gatherSize` allows, or, with `direct`, pointed at
 * in its frame when it lies in one. MEMORY, PIECES, or CORRUPT, DEVICE_READ, DEVICE_SHRUNK.
 */
export function valueOpen(node: KeyNode, keySize: u32, body: usize, gather: usize, gatherSize: u32, direct: bool): i32 {
  const flags = node.flags;
  const size = node.valueSize;
  root.resultSize = size;
  root.resultFlags = flags;
  if (flags & NodeFlags.INLINE) {
    root.resultPointer = <u32>body;
    return ValueAt.MEMORY;
  }
  valueSelect(node, keySize, body);
  if (direct && !(flags & NodeFlags.EXTENTS) && !root.readCompressed) {
    // Most values lie within one block: no copy then.
    const start = (<u32>root.readAddress & (<u32>BLOCK_SIZE - 1)) + root.readKeyOffset + keySize;
    if (start + size <= <u32>BLOCK_SIZE) {
      const frame = recordFetch();
      if (frame < 0) return <i32>frame;
      root.resultPointer = <u32>(<usize>frame + start);
      return ValueAt.MEMORY;
    }
  }
  if (size > gatherSize) return ValueAt.PIECES;
  root.resultPointer = <u32>gather;
  const status = valueCopy(0, gather, size);
  return status < 0 ? status : ValueAt.MEMORY;
}

/**
 * Copies the next piece of the opened value to EXCHANGE_OUT: its size, at most the exchange area, or a status. The
 * store must not have been written to since `valueOpen`.
 */
export function valueRead(offset: u32): i32 {
  if (offset > root.readSize) return Status.INVALID_ARGUMENT;
  const size = min(root.readSize - offset, EXCHANGE_SIZE);
  const status = valueCopy(offset, EXCHANGE_OUT, size);
  return status < 0 ? status : <i32>size;
}

/** Copies `size` bytes from `offset` on of the value of a node, or of a version, that is not inline. OK or a status. */
export function valuePart(node: KeyNode, keySize: u32, body: usize, offset: u32, target: usize, size: u32): i32 {
  valueSelect(node, keySize, body);
  return valueCopy(offset, target, size);
}

/** Makes the value of a node, or of a version, that is not inline the one that is read. */
export function valueSelect(node: KeyNode, keySize: u32, body: usize): void {
  root.readTable = node.flags & NodeFlags.EXTENTS ? load<u32>(body) : 0;
  root.readAddress = node.address;
  root.readSequence = node.sequence;
  root.readSize = node.valueSize;
  root.readStored = storedSizeOf(node, body);
  root.readCompressed = node.isCompressed ? 1 : 0;
  root.readKeySize = keySize;
  root.readKeyOffset = RECORD_HEADER_SIZE + fieldsSizeOf(node);
}

/** Copies `size` bytes from `offset` on to `target`. */
function valueCopy(offset: u32, target: usize, size: u32): i32 {
  const mode = root.cacheMode;
  if (root.readStored > SINGLE_SIZE_MAX) root.cacheMode = mode | CacheMode.SCAN;
  const status = root.readCompressed ? compressedCopy(offset, target, size) : partsCopy(offset, target, size);
  root.cacheMode = mode;
  return status;
}

/** Copies bytes of the selected value as they are stored. */
export function partsCopy(offset: u32, target: usize, size: u32): i32 {
  if (!root.readTable) return recordCopy(root.readAddress, root.readKeyOffset, root.readStored, offset, target, size);
  const table = <usize>root.readTable;
  const parts = extentCount(table);
  for (let part: u32 = 0; part < parts && size; part++) {
    const partSize = extentSize(table, part);
    if (offset >= partSize) {
      offset -= partSize;
      continue;
    }
    const piece = min(size, partSize - offset);
    // Only the first part has expiry, timestamp and raw size.
    const keyOffset = (part ? RECORD_HEADER_SIZE : root.readKeyOffset) + EXTENT_FIELD_SIZE;
    const status = recordCopy(extentAddress(table, part), keyOffset, partSize, offset, target, piece);
    if (status < 0) return status;
    target += piece;
    size -= piece;
    offset = 0;
  }
  // The parts are together smaller than their value, or one of them is not there.
  return size ? corruptAt(root.readAddress) : Status.OK;
}

/** The frame with the start of the selected value's only record, or a status. */
export function recordFetch(): i64 {
  const frame = blockFetch(root.readAddress);
  if (frame < 0) return frame;
  const checked = recordCheck(<usize>frame, root.readAddress, root.readKeyOffset, root.readStored);
  return checked < 0 ? checked : frame;
}

/** Copies bytes of one record's value, all `stored` bytes of which run over the payloads of as many blocks as it takes. */
function recordCopy(address: u64, keyOffset: u32, stored: u32, offset: u32, target: usize, size: u32): i32 {
  const mode = root.cacheMode;
  let block = address & ~(<u64>BLOCK_SIZE - 1);
  const start = (<u32>address & (<u32>BLOCK_SIZE - 1)) + keyOffset + root.readKeySize;
  if (!isInSegment(address, start, stored)) return corruptAt(address);
  const inFirst = <u32>BLOCK_SIZE - start;
  let from: u32 = start + offset;
  // What lies side by side on the device is read in one piece, and counts as missed, not as found afterwards.
  let ahead = size > inFirst && !offset ? aheadFetch(block, start + size) : 0;
  if (ahead) root.cacheMode = mode | CacheMode.PLANNED;
  const frame = blockFetch(address);
  root.cacheMode = mode;
  if (frame < 0) return <i32>frame;
  const checked = recordCheck(<usize>frame, address, keyOffset, stored);
  if (checked < 0) return checked;
  if (offset >= inFirst) {
    const rest = offset - inFirst;
    block += (<u64>(1 + rest / BLOCK_PAYLOAD_SIZE)) << BLOCK_SIZE_LOG2;
    from = BLOCK_HEADER_SIZE + (rest % BLOCK_PAYLOAD_SIZE);
  }
  while (size) {
    if (!ahead && from + size > <u32>BLOCK_SIZE) ahead = aheadFetch(block, from + size);
    if (ahead) root.cacheMode = mode | CacheMode.PLANNED;
    const at = blockFetch(block);
    root.cacheMode = mode;
    if (at < 0) return <i32>at;
    if (ahead) ahead--;
    const piece = min(size, <u32>BLOCK_SIZE - from);
    copyBytes(target, <usize>at + from, piece);
    target += piece;
    size -= piece;
    block += BLOCK_SIZE;
    from = BLOCK_HEADER_SIZE;
  }
  return Status.OK;
}

/** Reads blocks of a value that ends `end` bytes behind the start of the first, or of some block behind it. */
function aheadFetch(block: u64, end: u32): u32 {
  const run = runFetch(block, 1 + (end - <u32>BLOCK_SIZE + BLOCK_PAYLOAD_SIZE - 1) / BLOCK_PAYLOAD_SIZE);
  const read = <u32>max(run, 0);
  cacheCount(0, read);
  return read;
}

/** Whether a record, whose value begins `start` bytes behind its first block's, can lie in a segment of the store. */
function isInSegment(address: u64, start: u32, stored: u32): bool {
  if (segmentOf(address) >= root.segmentCount || start > <u32>BLOCK_SIZE) return false;
  const end = start + stored;
  const more = end > <u32>BLOCK_SIZE ? (end - <u32>BLOCK_SIZE + BLOCK_PAYLOAD_SIZE - 1) / BLOCK_PAYLOAD_SIZE : 0;
  return segmentBlockOf(address) + more < root.segmentBlocks;
}

/** Whether the record at an address, with `stored` bytes of the value, is the one that the node means. */
function recordCheck(frame: usize, address: u64, keyOffset: u32, stored: u32): i32 {
  const inBlock = <u32>address & (<u32>BLOCK_SIZE - 1);
  const record = changetype<Record>(frame + inBlock);
  if (
    record.sequence == root.readSequence &&
    <u32>record.keySize == root.readKeySize &&
    recordKeyOffset(record.flags) == keyOffset &&
    recordPartSize(changetype<usize>(record)) == stored
  ) {
    return Status.OK;
  }
  return corruptAt(address);
}

function corruptAt(address: u64): i32 {
  root.faultOffset = address;
  return Status.CORRUPT;
}
