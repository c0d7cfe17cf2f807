/**
 * What a verification under way knows, and the faults that it has found and not yet handed out. Both lie in two chunks
 * of the pool, taken at its beginning and given back at its end; a third one is for compressed values (verify/values.ts).
 *
 * ```
 * first chunk                              second chunk
 *      0  15 blocks as read                      0  VerifyState
 *  61440  one more block                      1024  key of the record under way, zero-padded
 *                                             3136  first bytes of its value
 *                                             3392  the key that the walk over the ordered index has come to
 *                                             5632  faults
 *
 * fault, 32 bytes and its key
 *   0  u32 kind            4  u32 key size
 *   8  f64 device offset, -1 when there is none
 *  16  f64 first detail   24  f64 second detail
 *  32  key, padded to 8
 * ```
 */

import { copyBytes, pad8 } from "../bytes/compare";
import { memoryEnsure } from "../cache/block-cache";
import { BLOCK_SIZE, INLINE_VALUE_SIZE_MAX, KEY_SIZE_MAX } from "../limits";
import { CHUNK_SIZE, chunkGive, chunkTake } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";

/** Blocks that one read of the device brings at most. */
export const BUFFER_BLOCKS: u32 = 15;
const RECORD_KEY: usize = 1024;
const RECORD_VALUE: usize = 3136;
const WALK_KEY: usize = 3392;
const FAULTS: usize = 5632;
const FAULT_SIZE: u32 = 32;
const FAULTS_SIZE: u32 = <u32>(CHUNK_SIZE - FAULTS);

/** What is done, in this order. */
export namespace VerifyPhase {
  export const SUPERBLOCKS: u32 = 0;
  export const LOG: u32 = 1;
  export const ORDERED_INDEX: u32 = 2;
  export const HASH_INDEX: u32 = 3;
  export const SUMS: u32 = 4;
  export const DONE: u32 = 5;
  /** Comes behind the log. */
  export const CHECKPOINTS: u32 = 6;
}

/** Kinds of faults, and their details (a, b). The store has a name and a sentence for each, in this order. */
export namespace Fault {
  /** The device failed to read. a: status. */
  export const DEVICE: u32 = 1;
  /** A copy of the superblock is not intact. a: copy. */
  export const SUPERBLOCK_DAMAGED: u32 = 2;
  /** An intact copy that is not what was written there last. a: copy, b: its generation. */
  export const SUPERBLOCK_OTHER: u32 = 3;
  /** A block's checksum fails. a: 1 when all of it is zero. */
  export const BLOCK_DAMAGED: u32 = 4;
  /** An intact block that belongs elsewhere. a: the device block that it names. */
  export const BLOCK_MISPLACED: u32 = 5;
  /** An intact block of another life of its segment. a: its generation, b: the one expected. */
  export const BLOCK_STALE: u32 = 6;
  /** A block's commit group does not follow the one before it. a: its group, b: the one before. */
  export const GROUP_ORDER: u32 = 7;
  /** A segment's header is not one, or not the one that the store knows. */
  export const SEGMENT_HEADER: u32 = 8;
  /** Bytes of an intact block that are no record. */
  export const RECORD_MALFORMED: u32 = 9;
  /** A record is newer than what the indexes hold of its key. a: its sequence, b: theirs. */
  export const RECORD_NEWER: u32 = 10;
  /** The record that a key's node names is not there. a: 1 when its block cannot be read or is damaged. */
  export const RECORD_MISSING: u32 = 11;
  /** It is there, but its size, flags or value are not the node's. */
  export const RECORD_DIFFERS: u32 = 12;
  /** A segment's count of live bytes is wrong. a: counted, b: found. */
  export const LIVE_BYTES: u32 = 13;
  /** The ordered index is unsound around this key. a: TreeFault, or 100 and above: see TreeTrouble. */
  export const ORDERED_INDEX: u32 = 14;
  /** The hash index does not find a key of the ordered index. */
  export const HASH_INDEX: u32 = 15;
  /** A key's node names a place where no record can be. */
  export const KEY_NODE: u32 = 16;
  /** A total is not what is counted. a: which (Total), b: the difference, kept minus counted. */
  export const TOTAL: u32 = 17;
  /** A kept checkpoint is not what opening could rely on. a: CheckpointTrouble, b: 0 the newer one, 1 the older one. */
  export const CHECKPOINT: u32 = 18;
  /** A compressed value does not decompress to the size that its record says. */
  export const VALUE: u32 = 19;
}

/** What is wrong with a checkpoint. */
export namespace CheckpointTrouble {
  /** It cannot be read, or its checks fail. */
  export const DAMAGED: u32 = 0;
  /** Its blocks are sound, but they do not make a checkpoint. */
  export const MALFORMED: u32 = 1;
  /** An entry is not what the key's node says, and replay would not make up for it. */
  export const DIFFERS: u32 = 2;
  /** Keys are missing in it that replay would not find. */
  export const LACKS: u32 = 3;
}

/** Troubles of the ordered index beside those of TreeFault. */
export namespace TreeTrouble {
  /** A pointer leads outside the memory of nodes. */
  export const POINTER: u32 = 100;
  /** A search for a key of a leaf does not lead to the leaf. */
  export const SEARCH: u32 = 101;
  /** A key of the hash index is not there. */
  export const ABSENT: u32 = 102;
  /** A walk over the leaves does not end. */
  export const ENDLESS: u32 = 103;
}

/** Totals that are compared when nothing was written meanwhile. */
export namespace Total {
  export const ORDERED_ENTRIES: u32 = 0;
  export const HASH_ENTRIES: u32 = 1;
  export const KEYS: u32 = 2;
  export const KEY_BYTES: u32 = 3;
  export const VALUE_BYTES: u32 = 4;
  export const FREE_SEGMENTS: u32 = 5;
  /** Entries of the hash index beside those of the ordered one. */
  export const INDEXES: u32 = 6;
  /** Keys in the expiry wheel. */
  export const EXPIRING: u32 = 7;
  /** Bytes that compressed values have less in the log. */
  export const COMPRESSED_SAVED: u32 = 8;
}

@unmanaged
export class VerifyState {
  buffer: u32;
  phase: u32;
  faultsUsed: u32;
  faultsLost: u32;

  // The segment that is scanned
  segment: u32;
  block: u32;
  started: u32;
  /** Its space (Space) when the scan of it began, where it was appended to then; else 0. */
  openBefore: u32;
  damaged: u32;
  generation: u64;
  liveBefore: u64;
  appendedBefore: u64;
  confirmed: u64;
  /** Commit group of the last block, and whether that ended it; what is known of it: see `GroupKnown`. */
  group: u64;
  groupEnded: u32;
  groupKnown: u32;
  /** What comes before the next record's start is not known. */
  lost: u32;

  // The record that is scanned
  recordRemaining: u32;
  recordAddress: u64;
  recordSequence: u64;
  recordValueSize: u32;
  recordPartSize: u32;
  recordPart: u32;
  recordKeySize: u32;
  recordKind: u32;
  recordFlags: u32;
  recordExpiry: u64;
  recordTimestamp: u64;
  /** Its raw size stands here where it has both of these, and as far before as it has not. */
  recordRawSize: u32;
  recordValueHere: u32;
  /** The chunk that a compressed value is gathered in, or 0; bytes of it so far; its size as it was given, 0 where it is not. */
  gather: u32;
  gathered: u32;
  gathers: u32;

  // The walks over the indexes
  walkKeySize: u32;
  walkSequence: u64;
  walkTreeVersion: u32;
  walkVersionCount: u32;
  walkEntries: u32;
  walkKeyCount: u32;
  walkExpiringCount: u32;
  walkKeyBytes: u64;
  walkValueBytes: u64;
  walkCompressedSaved: u64;
  /** The key that the walk has come to has values that are read: of which version, and the next piece. */
  valueOpen: u32;
  valuePiece: u32;
  valueSequence: u64;
  bucket: u32;
  /** Whether the chains of the hash index can be followed, and whether some node of the ordered one cannot be looked at. */
  chainsProven: u32;
  treeSpoilt: u32;
  hashEntries: u32;
  /** What the buffer's first block holds: device block plus 1, and the generation that it was checked for. */
  proofBlock: u64;
  proofGeneration: u64;

  // The checkpoint that is read back, 0 the newer one
  kept: u32;
  keptStarted: u32;
  /** The segment of it, index plus 1, and the next block there. */
  keptSegment: u32;
  keptBlock: u32;
  keptGeneration: u64;
  keptCheck: u64;
  keptEntries: u64;
  keptKeyBytes: u64;
  /** Where the store stood when it was begun. */
  keptSequence: u64;
  keptMoved: u64;
  /** Nodes that each checkpoint must have, and that it has. */
  newerExpected: u64;
  newerFound: u64;
  olderExpected: u64;
  olderFound: u64;

  // Results
  blocksRead: u64;
  blocksBuffered: u64;
  blocksTotal: u64;
  recordsRead: u64;
  keysProven: u64;
  faultCount: u64;
  segmentsUsed: u32;
  segmentsFree: u32;
  totalsCompared: u32;
  /** Whether the writer beside a `readOnly` store has gone on over what this one shows. */
  expired: u32;
}

if (offsetof<VerifyState>() > RECORD_KEY) ERROR("VerifyState outgrew its place");
if (RECORD_KEY + <usize>KEY_SIZE_MAX + 8 > RECORD_VALUE) ERROR("a key outgrew its place");
if (RECORD_VALUE + <usize>INLINE_VALUE_SIZE_MAX + 8 > WALK_KEY) ERROR("a value outgrew its place");
if (WALK_KEY + <usize>KEY_SIZE_MAX + 8 > FAULTS) ERROR("a key outgrew its place");
if ((<usize>BUFFER_BLOCKS + 1) * BLOCK_SIZE != CHUNK_SIZE) ERROR("the buffer is a chunk");

/** The verification under way; there is one. */
export function verifyState(): VerifyState {
  return changetype<VerifyState>(<usize>root.verifyState);
}

/** Takes the memory of a verification. OUT_OF_MEMORY when not even two chunks are left, three where values may be compressed. */
export function stateTake(): i32 {
  const gathers = root.compressArea != 0;
  memoryEnsure(gathers ? 3 : 2);
  const buffer = chunkTake();
  if (!buffer) return Status.OUT_OF_MEMORY;
  const memory_ = chunkTake();
  if (!memory_) {
    chunkGive(buffer);
    return Status.OUT_OF_MEMORY;
  }
  memory.fill(memory_, 0, FAULTS);
  root.verifyState = <u32>memory_;
  verifyState().buffer = <u32>buffer;
  if (!gathers) return Status.OK;
  verifyState().gather = <u32>chunkTake();
  if (verifyState().gather) return Status.OK;
  stateGive();
  return Status.OUT_OF_MEMORY;
}

/** Gives the memory of a verification back. */
export function stateGive(): void {
  if (!root.verifyState) return;
  chunkGive(<usize>verifyState().buffer);
  if (verifyState().gather) chunkGive(<usize>verifyState().gather);
  chunkGive(<usize>root.verifyState);
  root.verifyState = 0;
}

/** Block `index` of the buffer; BUFFER_BLOCKS is the one beside it. */
export function bufferBlock(index: u32): usize {
  return <usize>verifyState().buffer + <usize>index * BLOCK_SIZE;
}

/** Where the key of the record under way lies. */
export function recordKeyAt(): usize {
  return <usize>root.verifyState + RECORD_KEY;
}

/** Where its expiry, its timestamp and its raw size lie, those that it has. */
export function recordWordsAt(): usize {
  return <usize>root.verifyState + offsetof<VerifyState>("recordExpiry");
}

/** Where the first bytes of its value lie. */
export function recordValueAt(): usize {
  return <usize>root.verifyState + RECORD_VALUE;
}

/** Where the key lies that the walk has come to. */
export function walkKeyAt(): usize {
  return <usize>root.verifyState + WALK_KEY;
}

/** Where the faults lie that were found since `faultsReset`. */
export function faultsAt(): usize {
  return <usize>root.verifyState + FAULTS;
}

/** Forgets the faults that were handed out. */
export function faultsReset(): void {
  verifyState().faultsUsed = 0;
}

/** Notes a fault. One that finds no room is counted all the same. */
export function fault(kind: u32, offset: f64, a: f64, b: f64, key: usize, keySize: u32): void {
  const state = verifyState();
  state.faultCount++;
  const size = FAULT_SIZE + pad8(keySize);
  if (state.faultsUsed + size > FAULTS_SIZE) {
    state.faultsLost++;
    return;
  }
  const at = faultsAt() + state.faultsUsed;
  store<u32>(at, kind);
  store<u32>(at, keySize, 4);
  store<f64>(at, offset, 8);
  store<f64>(at, a, 16);
  store<f64>(at, b, 24);
  copyBytes(at + FAULT_SIZE, key, keySize);
  state.faultsUsed += size;
}

/** Notes a fault of a place on the device. */
export function faultAt(kind: u32, offset: u64, a: f64, b: f64): void {
  fault(kind, <f64>offset, a, b, 0, 0);
}
