/**
 * Compressed values: that each of them decompresses to exactly the bytes that its record promises.
 *
 * What is one LZ4 block is gathered while the log is scanned, and decompressed where a node or a version names it. A value of
 * several pieces, or in several records, is read piece by piece when the walk over the keys comes to it; so is one that
 * was written behind the scan's back.
 *
 * Invariant: a step ends after a piece, and goes on with the next one of the same version of the same key.
 */
import { lz4Decompress } from "../bytes/lz4";
import { CacheMode } from "../cache/block-cache";
import { tickMs } from "../device/device";
import { pieceAt } from "../engine/compress";
import { compressedCopy } from "../engine/decompress";
import { valueSelect } from "../engine/value";
import { PIECE_SIZE, PIECE_SIZE_LOG2, pieceCount, pieceSizeOf } from "../format/compressed";
import { RecordFlags, RecordKind, recordWordsSize } from "../format/record";
import { KeyNode, NodeFlags, VERSION_HEADER_SIZE } from "../index/key-node";
import { segmentMovedOn } from "../log/beside";
import { segmentOf } from "../log/segments";
import { CHUNK_SIZE } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";
import { BUFFER_BLOCKS, bufferBlock, Fault, fault, recordWordsAt, VerifyState, verifyState } from "./state";

/** Whether a value is read piece by piece by the walk over the keys. */
export function isRead(candidate: KeyNode): bool {
  return candidate.isCompressed && (candidate.valueSize > PIECE_SIZE || (candidate.flags & NodeFlags.EXTENTS) != 0);
}

/** Begins to gather the value of the record under way, where it is one LZ4 block. */
export function gatherBegin(state: VerifyState): void {
  state.gathered = 0;
  const flags = state.recordFlags;
  const single = flags & (RecordFlags.COMPRESSED | RecordFlags.EXTENTS);
  const rawSize = load<u32>(recordWordsAt() + recordWordsSize(flags));
  state.gathers =
    state.gather != 0 &&
    state.recordKind == RecordKind.SET &&
    single == RecordFlags.COMPRESSED &&
    rawSize <= PIECE_SIZE &&
    state.recordPartSize <= <u32>CHUNK_SIZE
      ? rawSize
      : 0;
}

/** Gathers bytes of it. */
export function gatherTake(state: VerifyState, source: usize, size: u32): void {
  memory.copy(<usize>state.gather + state.gathered, source, size);
  state.gathered += size;
}

/** Decompresses what was gathered, which a node or a version names. False when it is no value. */
export function gatheredProve(state: VerifyState): bool {
  return !state.gathers || lz4Decompress(<usize>state.gather, state.gathered, pieceAt(), state.gathers);
}

/** Proves a value of one piece that was not gathered. It notes a fault when it is none. */
export function singleProve(candidate: KeyNode, key: usize, keySize: u32, body: usize): void {
  valueSelect(candidate, keySize, body);
  pieceProve(candidate, 0, key, keySize);
}

/**
 * Proves the values of a key and its older versions that are read piece by piece, until `deadline` (tickMs): false when that
 * came before their end. Called again with the same key, it goes on.
 */
export function valuesProve(state: VerifyState, node: KeyNode, deadline: u64): bool {
  let candidate = node;
  let body = node.body;
  for (let hops: u32 = 0; hops <= root.versionCount; hops++) {
    // A newer one was written since, or is done.
    if (candidate.sequence <= state.valueSequence && isRead(candidate) && !(candidate.flags & NodeFlags.DELETED)) {
      if (candidate.sequence != state.valueSequence) state.valuePiece = 0;
      state.valueSequence = candidate.sequence;
      valueSelect(candidate, node.keySize, body);
      const count = pieceCount(candidate.valueSize);
      while (state.valuePiece < count && !state.expired) {
        const sound = pieceProve(candidate, state.valuePiece, node.key, node.keySize);
        state.valuePiece = sound ? state.valuePiece + 1 : count;
        if (tickMs() >= deadline) return false;
      }
    }
    const older = <usize>candidate.older;
    if (!older) break;
    candidate = changetype<KeyNode>(older);
    body = older + VERSION_HEADER_SIZE;
  }
  return true;
}

/** Reads a piece of the selected value. False when it noted a fault, or the writer beside this store has gone on. */
function pieceProve(candidate: KeyNode, piece: u32, key: usize, keySize: u32): bool {
  const mode = root.cacheMode;
  root.cacheMode = mode | CacheMode.SCAN;
  const status = compressedCopy(piece << PIECE_SIZE_LOG2, pieceAt(), pieceSizeOf(candidate.valueSize, piece));
  root.cacheMode = mode;
  if (status == Status.OK) return true;
  const address = candidate.address;
  if (status == Status.SNAPSHOT_EXPIRED || segmentMovedOn(segmentOf(address), bufferBlock(BUFFER_BLOCKS))) {
    verifyState().expired = 1;
  } else if (status == Status.CORRUPT) {
    fault(Fault.VALUE, <f64>address, 0, 0, key, keySize);
  } else {
    fault(Fault.DEVICE, <f64>address, <f64>status, 0, key, keySize);
  }
  return false;
}
