/**
 * One key at a time: whether the record that a node, or a kept version, names is really there. Asked only of those that
 * the scan of the log has not proven on its way: what was written since, and what is damaged.
 */
import { bytesEqual } from "../bytes/compare";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE } from "../format/block";
import { Record, RecordKind, recordKeyOffset, recordPartSize, recordValid } from "../format/record";
import { extentAddress, extentCount, extentSize, extentsProven } from "../index/extent-table";
import { ADDRESS_MASK, KeyNode, NodeFlags, placeOf, storedSizeOf } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, SEGMENTS_OFFSET } from "../limits";
import { segmentMovedOn } from "../log/beside";
import { segmentAt, segmentBlockOf, segmentOf, segmentOffset } from "../log/segments";
import { root } from "../root";
import { recordAgrees } from "./records";
import { tableIsSound } from "./sound";
import { blockProven, frameInMemory, segmentCounts, segmentEnd, usedOf } from "./source";
import { BUFFER_BLOCKS, bufferBlock, Fault, fault, verifyState } from "./state";
import { isRead, singleProve } from "./values";

/** Details of RECORD_MISSING. */
const ANOTHER_THERE: f64 = 0;
const NOT_READABLE: f64 = 1;

/**
 * Proves what a node or version of the padded key at `key` names; `body` is where its value or extent table lies. Values that
 * are read piece by piece are proven afterwards (verify/values.ts).
 */
export function candidateProve(candidate: KeyNode, key: usize, keySize: u32, body: usize): void {
  const flags = candidate.flags;
  if (flags & NodeFlags.EXTENTS) {
    const table = <usize>load<u32>(body);
    if (!tableIsSound(table)) {
      tell(Fault.KEY_NODE, candidate.address, 0, key, keySize);
      return;
    }
    if (!extentsProven(table)) {
      for (let part: u32 = 0; part < extentCount(table); part++) {
        const address = extentAddress(table, part);
        const kind = part ? RecordKind.EXTENT : RecordKind.SET;
        if (!recordProve(candidate, key, keySize, body, address, kind, extentSize(table, part))) return;
      }
    }
  } else if (flags & NodeFlags.PROVEN) {
    candidate.place = placeOf(candidate.address, candidate.sizeClass, flags & ~NodeFlags.PROVEN);
  } else {
    const size = storedSizeOf(candidate, body);
    if (!recordProve(candidate, key, keySize, body, candidate.address, RecordKind.SET, size)) return;
    if (candidate.isCompressed && !isRead(candidate)) singleProve(candidate, key, keySize, body);
  }
  if (isRead(candidate)) verifyState().valueOpen = 1;
}

/** Proves one record. False when it noted a fault. */
function recordProve(
  candidate: KeyNode,
  key: usize,
  keySize: u32,
  body: usize,
  address: u64,
  kind: u32,
  partSize: u32,
): bool {
  const inline = candidate.flags & NodeFlags.INLINE ? body : 0;
  if (!addressIsSound(address)) return tell(Fault.KEY_NODE, address & ADDRESS_MASK, 0, key, keySize);
  const index = segmentOf(address);
  const block = segmentBlockOf(address);
  const frame = firstBlock(index, block);
  if (!frame) return missing(index, address, key, keySize);
  const inBlock = <u32>address & (<u32>BLOCK_SIZE - 1);
  const end = usedOf(frame) + BLOCK_HEADER_SIZE;
  const record = frame + inBlock;
  if (inBlock >= end || !recordValid(record, end - inBlock, segmentEnd(index) - block - 1)) {
    return tell(Fault.RECORD_MISSING, address, ANOTHER_THERE, key, keySize);
  }
  const view = changetype<Record>(record);
  const keyOffset = recordKeyOffset(view.flags);
  const same = <u32>view.keySize == keySize && bytesEqual(record + keyOffset, key, keySize);
  if (!same || <u32>view.kind != kind || view.sequence != candidate.sequence) {
    return tell(Fault.RECORD_MISSING, address, ANOTHER_THERE, key, keySize);
  }
  if (!recordAgrees(candidate, body, record) || recordPartSize(record) != partSize) {
    return tell(Fault.RECORD_DIFFERS, address, 0, key, keySize);
  }
  const head = keyOffset + keySize;
  let seen = min(partSize, end - inBlock - head);
  if (inline && !bytesEqual(record + head, inline, seen)) {
    return tell(Fault.RECORD_DIFFERS, address, 0, key, keySize);
  }
  // The rest of the value lies in the blocks that follow.
  for (let next = block + 1; seen < partSize; next++) {
    const following = blockProven(index, next, bufferBlock(BUFFER_BLOCKS));
    if (!following) {
      const offset = segmentOffset(index) + ((<u64>next) << BLOCK_SIZE_LOG2);
      return missing(index, offset, key, keySize);
    }
    const piece = min(partSize - seen, BLOCK_PAYLOAD_SIZE);
    if (inline && !bytesEqual(following + BLOCK_HEADER_SIZE, inline + seen, piece)) {
      return tell(Fault.RECORD_DIFFERS, address, 0, key, keySize);
    }
    seen += piece;
  }
  return true;
}

/** Whether a record can lie at an address. */
function addressIsSound(address: u64): bool {
  if (address < SEGMENTS_OFFSET || address & 7) return false;
  const index = (address - SEGMENTS_OFFSET) >> root.segmentSizeLog2;
  if (index >= <u64>root.segmentCount || !segmentCounts(<u32>index)) return false;
  const block = segmentBlockOf(address);
  return block > 0 && block < segmentEnd(<u32>index) && (<u32>address & (<u32>BLOCK_SIZE - 1)) >= BLOCK_HEADER_SIZE;
}

/** The block of a record. Neighbours in the index are often neighbours in the log, so the last block is kept. */
function firstBlock(index: u32, block: u32): usize {
  const resident = frameInMemory(index, block);
  if (resident) return resident;
  const state = verifyState();
  const deviceBlock = (segmentOffset(index) >> BLOCK_SIZE_LOG2) + block;
  const generation = segmentAt(index).generation;
  if (state.proofBlock == deviceBlock + 1 && state.proofGeneration == generation) return bufferBlock(0);
  state.proofBlock = 0;
  const frame = blockProven(index, block, bufferBlock(0));
  if (!frame) return 0;
  state.proofBlock = deviceBlock + 1;
  state.proofGeneration = generation;
  return frame;
}

/** A record cannot be read, which is no fault where the writer beside a `readOnly` store has gone on. */
function missing(index: u32, offset: u64, key: usize, keySize: u32): bool {
  if (segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))) {
    verifyState().expired = 1;
    return false;
  }
  return tell(Fault.RECORD_MISSING, offset, NOT_READABLE, key, keySize);
}

function tell(kind: u32, offset: u64, a: f64, key: usize, keySize: u32): bool {
  fault(kind, <f64>offset, a, 0, key, keySize);
  return false;
}
