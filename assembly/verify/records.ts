/**
 * The records of the log, held against the indexes as they are met: a record that a node or a kept version names is
 * proven when it says what the node says, to the last byte of a value that the node holds too.
 *
 * The first bytes of a record are copied, since its value may run on into a block that a later step reads, and the
 * store may have been written to in between; what it is held against is looked up when its last byte was seen.
 */
import { bytesEqual, copyBytes, pad8 } from "../bytes/compare";
import { partRecordSize, recordSizeOf } from "../engine/live";
import { BLOCK_HEADER_SIZE, BLOCK_PAYLOAD_SIZE, NO_RECORD } from "../format/block";
import {
  RECORD_HEADER_SIZE,
  Record,
  RecordFlags,
  RecordKind,
  recordExtentAt,
  recordFieldsSize,
  recordKeyOffset,
  recordPartSize,
  recordValid,
  recordWordsSize,
} from "../format/record";
import { extentAddress, extentCount, extentProve, extentSize } from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import {
  KeyNode,
  NodeFlags,
  placeOf,
  storedSizeOf,
  VERSION_HEADER_SIZE,
  wordsOf,
  wordsSizeOf,
} from "../index/key-node";
import { INLINE_VALUE_SIZE_MAX } from "../limits";
import { root } from "../root";
import { pointerIsSound, tableIsSound } from "./sound";
import { isHalfCopied } from "./source";
import { Fault, fault, faultAt, recordKeyAt, recordValueAt, recordWordsAt, VerifyState, verifyState } from "./state";
import { gatherBegin, gatheredProve, gatherTake } from "./values";

/** Scans the records of a sound block: `used` bytes of it; `first` is where its first record starts, or NO_RECORD. */
export function recordsScan(frame: usize, offset: u64, used: u32, first: u32, blocksLeft: u32): void {
  const state = verifyState();
  let at: u32 = 0;
  if (state.lost) {
    if (first == NO_RECORD) return;
    at = first;
    state.lost = 0;
  } else if (state.recordRemaining) {
    at = min(state.recordRemaining, BLOCK_PAYLOAD_SIZE);
    if (at > used) {
      if (!isHalfCopied(state.segment)) {
        malformed(state, offset);
        return;
      }
      // Should this block hold more when it is gone on with, its next record is where that begins.
      valueTake(state, frame + BLOCK_HEADER_SIZE, used);
      state.lost = 1;
      return;
    }
    valueTake(state, frame + BLOCK_HEADER_SIZE, at);
    if (state.recordRemaining) {
      if (used != at || first != NO_RECORD) malformed(state, offset);
      return;
    }
    recordMatch(state);
    at = pad8(at);
  }
  if (at < used ? first != at : first != NO_RECORD) {
    malformed(state, offset);
    return;
  }
  while (at < used) {
    const record = frame + BLOCK_HEADER_SIZE + at;
    const address = offset + BLOCK_HEADER_SIZE + at;
    const left = used - at;
    if (!recordValid(record, left, blocksLeft)) {
      malformed(state, address);
      return;
    }
    if (changetype<Record>(record).sequence >= root.sequenceCeiling) {
      malformed(state, address);
      return;
    }
    const size = recordTake(state, record, left, address);
    if (state.recordRemaining) return;
    recordMatch(state);
    at += size;
  }
}

/** Whether a node, or a version, says the same as the record at `record`, which is valid: all but value and place. */
export function recordAgrees(candidate: KeyNode, body: usize, record: usize): bool {
  const view = changetype<Record>(record);
  const words = record + RECORD_HEADER_SIZE;
  return (
    candidate.sequence == view.sequence &&
    headAgrees(candidate, body, <u32>view.flags, words, view.valueSize, <u32>view.kind)
  );
}

/** `words` is where the record has expiry, timestamp and raw size. */
function headAgrees(candidate: KeyNode, body: usize, recordFlags: u32, words: usize, valueSize: u32, kind: u32): bool {
  const flags = candidate.flags;
  // A further part of a value has none.
  const wordsSize = kind == RecordKind.EXTENT ? 0 : wordsSizeOf(flags);
  if (recordWordsSize(recordFlags) != wordsSize) return false;
  if (wordsSize) {
    if (((flags & NodeFlags.EXPIRY) != 0) != ((recordFlags & RecordFlags.EXPIRY) != 0)) return false;
    if (!bytesEqual(wordsOf(candidate, body), words, wordsSize)) return false;
  }
  if (kind != RecordKind.EXTENT) {
    const compressed = (recordFlags & RecordFlags.COMPRESSED) != 0;
    if (compressed != candidate.isCompressed) return false;
    if (compressed && load<u32>(words + wordsSize) != candidate.valueSize) return false;
  }
  const extents = (flags & NodeFlags.EXTENTS) != 0;
  return (
    // A further part of a value says its own size.
    (kind == RecordKind.EXTENT || storedSizeOf(candidate, body) == valueSize) &&
    extents == ((recordFlags & RecordFlags.EXTENTS) != 0) &&
    ((flags & NodeFlags.ASCII_KEY) != 0) == ((recordFlags & RecordFlags.ASCII_KEY) != 0) &&
    ((flags & NodeFlags.ASCII_VALUE) != 0) == ((recordFlags & RecordFlags.ASCII_VALUE) != 0)
  );
}

function malformed(state: VerifyState, offset: u64): void {
  faultAt(Fault.RECORD_MALFORMED, offset, 0, 0);
  state.recordRemaining = 0;
  state.lost = 1;
  state.damaged = 1;
}

/** Notes what a valid record says, and as much of its value as lies in this block: its size here. */
function recordTake(state: VerifyState, record: usize, left: u32, address: u64): u32 {
  const view = changetype<Record>(record);
  const flags = <u32>view.flags;
  const keySize = <u32>view.keySize;
  const keyOffset = recordKeyOffset(flags);
  const head = keyOffset + keySize;
  const partSize = recordPartSize(record);
  const here = min(partSize, left - head);
  state.recordAddress = address;
  state.recordSequence = view.sequence;
  state.recordValueSize = view.valueSize;
  state.recordPartSize = partSize;
  // The first record of several carries their count instead.
  state.recordPart = view.kind == <u8>RecordKind.EXTENT ? load<u32>(recordExtentAt(record), 4) : 0;
  state.recordKeySize = keySize;
  state.recordKind = view.kind;
  state.recordFlags = flags;
  copyBytes(recordWordsAt(), record + RECORD_HEADER_SIZE, recordFieldsSize(flags));
  state.recordValueHere = 0;
  state.recordRemaining = partSize;
  gatherBegin(state);
  copyBytes(recordKeyAt(), record + keyOffset, keySize);
  store<u64>(recordKeyAt() + keySize, 0);
  valueTake(state, record + head, here);
  return min(pad8(head + here), left);
}

/** Takes bytes of the value, of which only the first ones can matter where it is not gathered. */
function valueTake(state: VerifyState, source: usize, size: u32): void {
  const wanted = min(size, INLINE_VALUE_SIZE_MAX - state.recordValueHere);
  copyBytes(recordValueAt() + state.recordValueHere, source, wanted);
  state.recordValueHere += wanted;
  if (state.gathers) gatherTake(state, source, size);
  state.recordRemaining -= size;
}

function recordMatch(state: VerifyState): void {
  if (state.recordKind == RecordKind.VOID || state.recordKind == RecordKind.NOTE) return;
  state.recordsRead++;
  const keySize = state.recordKeySize;
  const slot = hashFind(recordKeyAt(), keySize, keyHash(recordKeyAt(), keySize, root.hashSeed));
  if (!slot) return;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (state.recordSequence > node.sequence) {
    const offset = <f64>state.recordAddress;
    fault(Fault.RECORD_NEWER, offset, <f64>state.recordSequence, <f64>node.sequence, recordKeyAt(), keySize);
  }
  if (state.recordKind == RecordKind.DELETE) return;
  candidateMatch(state, node, node.body);
  let at = <usize>node.older;
  // One that leads nowhere is told of with its key.
  for (let hops: u32 = 0; at && hops < root.versionCount && pointerIsSound(at); hops++) {
    candidateMatch(state, changetype<KeyNode>(at), at + VERSION_HEADER_SIZE);
    at = changetype<KeyNode>(at).older;
  }
}

/** Counts the record as live when a node or version names its place, and marks it proven when it says the same. */
function candidateMatch(state: VerifyState, candidate: KeyNode, body: usize): void {
  const flags = candidate.flags;
  if (flags & NodeFlags.DELETED) return;
  const keySize = state.recordKeySize;
  const sound =
    candidate.sequence == state.recordSequence &&
    headAgrees(candidate, body, state.recordFlags, recordWordsAt(), state.recordValueSize, state.recordKind);
  if (!(flags & NodeFlags.EXTENTS)) {
    if (candidate.address != state.recordAddress) return;
    state.confirmed += recordSizeOf(candidate, keySize, storedSizeOf(candidate, body));
    if (!sound || state.recordKind != RecordKind.SET) return;
    if (flags & NodeFlags.INLINE && !bytesEqual(body, recordValueAt(), candidate.valueSize)) return;
    if (!gatheredProve(state)) fault(Fault.VALUE, <f64>state.recordAddress, 0, 0, recordKeyAt(), keySize);
    candidate.place = placeOf(candidate.address, candidate.sizeClass, flags | NodeFlags.PROVEN);
    return;
  }
  const table = <usize>load<u32>(body);
  const part = state.recordPart;
  if (!tableIsSound(table)) return;
  if (part >= extentCount(table) || extentAddress(table, part) != state.recordAddress) return;
  const size = extentSize(table, part);
  state.confirmed += partRecordSize(candidate, keySize, table, part);
  if (sound && size == state.recordPartSize) extentProve(table);
}
