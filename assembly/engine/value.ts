/**
 * Reading a value that is not in its key node: from the write buffer, from the cache, else from the device.
 *
 * A block is verified once, when it comes from the device; the record's header is compared with the node before a byte
 * of the value is given out, so a stale or misdirected block is CORRUPT and never data.
 */
import { copyBytes } from "../bytes/compare";
import { cacheClaim, cacheDrop, cacheFind, cacheFrame, cacheKeep } from "../cache/block-cache";
import { deviceRead } from "../device/device";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, BlockHeader, blockValid } from "../format/block";
import { EXTENT_FIELD_SIZE, RECORD_HEADER_SIZE, Record, RecordFlags } from "../format/record";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { KeyNode, NodeFlags } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { frameAtAddress } from "../log/append";
import { segmentAt, segmentOf } from "../log/segments";
import { EXCHANGE_OUT, EXCHANGE_SIZE, root } from "../root";
import { Status } from "../status";

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
  root.readTable = flags & NodeFlags.EXTENTS ? load<u32>(body) : 0;
  root.readAddress = node.address;
  root.readSequence = node.sequence;
  root.readSize = size;
  root.readKeySize = keySize;
  if (direct && !(flags & NodeFlags.EXTENTS)) {
    // Most values lie within one block: no copy then.
    const start = (<u32>root.readAddress & (<u32>BLOCK_SIZE - 1)) + RECORD_HEADER_SIZE + keySize;
    if (start + size <= <u32>BLOCK_SIZE) {
      const frame = blockFetch(root.readAddress);
      if (frame < 0) return <i32>frame;
      const checked = recordCheck(<usize>frame, root.readAddress);
      if (checked < 0) return checked;
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

/**
 * The frame that holds the block at a device address: a pointer, or a status below zero. In memory: two to four
 * misses; else one read of the device.
 */
export function blockFetch(address: u64): i64 {
  const resident = frameAtAddress(address);
  if (resident) return <i64>resident;
  const deviceBlock = address >> BLOCK_SIZE_LOG2;
  const generation = segmentAt(segmentOf(address)).generation;
  const cached = cacheFind(<u32>deviceBlock, generation);
  if (cached) return <i64>cached;
  const claim = cacheClaim(<u32>deviceBlock);
  if (!claim) return Status.OUT_OF_MEMORY;
  const frame = cacheFrame(claim);
  const status = deviceRead(deviceBlock << BLOCK_SIZE_LOG2, frame, <u32>BLOCK_SIZE);
  if (status < 0) {
    cacheDrop(claim);
    return status;
  }
  if (!blockValid(frame, deviceBlock) || changetype<BlockHeader>(frame).generation != generation) {
    cacheDrop(claim);
    root.faultOffset = deviceBlock << BLOCK_SIZE_LOG2;
    return Status.CORRUPT;
  }
  cacheKeep(claim, <u32>deviceBlock);
  return <i64>frame;
}

/** Copies `size` bytes from `offset` on to `target`. */
function valueCopy(offset: u32, target: usize, size: u32): i32 {
  if (!root.readTable) return recordCopy(root.readAddress, RECORD_HEADER_SIZE, offset, target, size);
  const table = <usize>root.readTable;
  const parts = extentCount(table);
  for (let part: u32 = 0; part < parts && size; part++) {
    const partSize = extentSize(table, part);
    if (offset >= partSize) {
      offset -= partSize;
      continue;
    }
    const piece = min(size, partSize - offset);
    const head = RECORD_HEADER_SIZE + EXTENT_FIELD_SIZE;
    const status = recordCopy(extentAddress(table, part), head, offset, target, piece);
    if (status < 0) return status;
    target += piece;
    size -= piece;
    offset = 0;
  }
  return Status.OK;
}

/** Copies bytes of one record's value, which runs over the payloads of as many blocks as it takes. */
function recordCopy(address: u64, keyOffset: u32, offset: u32, target: usize, size: u32): i32 {
  const frame = blockFetch(address);
  if (frame < 0) return <i32>frame;
  const checked = recordCheck(<usize>frame, address);
  if (checked < 0) return checked;
  const start = (<u32>address & (<u32>BLOCK_SIZE - 1)) + keyOffset + root.readKeySize;
  const inFirst = <u32>BLOCK_SIZE - start;
  let block = address & ~(<u64>BLOCK_SIZE - 1);
  let from: u32 = start + offset;
  if (offset >= inFirst) {
    const rest = offset - inFirst;
    block += (<u64>(1 + rest / BLOCK_PAYLOAD_SIZE)) << BLOCK_SIZE_LOG2;
    from = BLOCK_HEADER_SIZE + (rest % BLOCK_PAYLOAD_SIZE);
  }
  while (size) {
    const at = blockFetch(block);
    if (at < 0) return <i32>at;
    const piece = min(size, <u32>BLOCK_SIZE - from);
    copyBytes(target, <usize>at + from, piece);
    target += piece;
    size -= piece;
    block += BLOCK_SIZE;
    from = BLOCK_HEADER_SIZE;
  }
  return Status.OK;
}

/** Whether the record at an address is the one that the node means. */
function recordCheck(frame: usize, address: u64): i32 {
  const inBlock = <u32>address & (<u32>BLOCK_SIZE - 1);
  const record = changetype<Record>(frame + inBlock);
  const extents = (<u32>record.flags & RecordFlags.EXTENTS) != 0;
  if (
    record.sequence == root.readSequence &&
    <u32>record.keySize == root.readKeySize &&
    extents == (root.readTable != 0)
  ) {
    return Status.OK;
  }
  root.faultOffset = address;
  return Status.CORRUPT;
}
