/**
 * The engine `dual`: every key in memory, found by a hash index and by an ordered index over the same nodes; values in
 * the log, small ones in their node as well.
 *
 * Each write first makes sure of everything it needs (sequence, room in the log, memory) and only then changes
 * anything, so a refused write leaves no trace. The order is: record into the log, then node, then indexes.
 */
import { copyWords, pad8 } from "../bytes/compare";
import { memoryEnsure } from "../cache/block-cache";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { RAW_FIELD_SIZE, RECORD_HEADER_SIZE, RecordFlags, RecordKind } from "../format/record";
import { wheelEnter, wheelLeave } from "../index/expiry-wheel";
import { extentTableGive } from "../index/extent-table";
import { hashBucketOf, hashFind, hashInsert, hashPeek, hashRemove } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import {
  identityOf,
  KeyNode,
  NodeFlags,
  nodeSetKey,
  nodeSizeOf,
  placeOf,
  storedSet,
  storedSizeOf,
  wordsOf,
  wordsSizeInNode,
} from "../index/key-node";
import { treeInsert, treeRemove, treeReplace } from "../index/ordered-index";
import { TREE_NODE_SIZE } from "../index/tree-node";
import { descend } from "../index/tree-path";
import { INLINE_VALUE_SIZE_MAX, KEY_SIZE_MAX, VALUE_SIZE_MAX } from "../limits";
import { logAppend, logUpdateInPlace, logVoid, segmentRoom } from "../log/append";
import { roomProve } from "../log/prove";
import { For, headerBlocks, liveAdd, segmentsReserve, tombstoneAdd } from "../log/segments";
import { extentRecordSize, streamAbort, streamBegin, streamWrite } from "../log/stream";
import { sequencesReserve } from "../log/superblock-store";
import { CHUNK_SIZE, chunksAvailable } from "../memory/chunks";
import { slabClassOf, slabClassSize, slabTake } from "../memory/slab";
import { EXCHANGE_IN, EXCHANGE_OUT, EXCHANGE_SIZE, KEY_A, root } from "../root";
import { Status } from "../status";
import {
  COMPRESS_SIZE_MIN,
  compressReserve,
  pieceWrite,
  placesTake,
  placesWrite,
  storedAt,
  valueCompress,
} from "./compress";
import { MAYBE_HIDDEN, nodeHidden } from "./expiry";
import { feedDelete, feedSet } from "./feed";
import { laterAdd, laterApply, laterTakes } from "./later";
import { compressedEnter, compressedLeave, recordsDead, recordsLive } from "./live";
import { valueKeep } from "./promote";
import { roomFor, roomMake } from "./reclaim";
import { nodeGive, snapshotSees, versionKeep, versionsFollow, versionTake } from "./snapshots";
import { valueOpen } from "./value";

/** Chunks that a write must find free: the worst case of one insert into both indexes, a node and a version. */
const CHUNKS_PER_WRITE: u32 = 24;
/** Below this share of the pool, values no longer go into their nodes. */
const INLINE_POOL_SHARE: u32 = 8;
/** A record above this size is cut at a segment's end rather than moved to the next. */
const WHOLE_RECORD_MAX: u32 = 16384;
/** Of the segments that a batch wants to see free, those that it does not fill. */
const AHEAD_FOR_END: u32 = 2;
/** What an index entry and a node's rounding may take beside key and inline value. */
const KEY_OVERHEAD: u32 = 152;
/** What keeping a key's former value for a snapshot takes at most, rounding included. */
const VERSION_SIZE_MAX: u32 = 208;
/** Bytes of expiry and timestamp in a record. */
const WORDS_SIZE_MAX: u32 = 16;

/** Flags of a call, as the store passes them. */
export namespace CallFlags {
  export const ASCII_VALUE: u32 = 1;
  export const ASCII_KEY: u32 = 2;
  /** The write has an expiry, or a timestamp: `callExpiry`, `callTimestamp` (engine/condition.ts). */
  export const EXPIRY: u32 = 4;
  export const TIMESTAMP: u32 = 8;
  export const WORDS: u32 = 12;
  /** What a record keeps. */
  export const OF_RECORD: u32 = 15;
  /** For `condition`: there is one; the expiry counts from now; all was checked before. */
  export const IF_VERSION: u32 = 16;
  export const EXPIRES_IN: u32 = 32;
  export const UNCHECKED: u32 = 64;
  /** The key was just looked at: nothing is won by leaving its node for later. */
  export const AT_ONCE: u32 = 128;
  /** The value is compressed: `callRawSize`. Of `writeBegin`: its pieces were measured. */
  export const COMPRESSED: u32 = 256;
}

/** The node of the key in KEY_A, or 0. The key is padded here. */
export function nodeFind(keySize: u32): usize {
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  if (!slot) return 0;
  const node = <usize>load<u32>(slot);
  return nodeHidden(changetype<KeyNode>(node)) ? 0 : node;
}

/** Looks up the key in KEY_A: 0 when absent, else what `valueOpen` answers. */
export function get(keySize: u32): i32 {
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const hash = keyHash(KEY_A, keySize, root.hashSeed);
  // The lines that a small value lies in are asked for together with the key's, not after it.
  const likely = hashPeek(hashBucketOf(hash), hash);
  root.touched = load<u32>(likely, 64) + load<u32>(likely, 128);
  const slot = hashFind(KEY_A, keySize, hash);
  if (!slot) return 0;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (node.flags & MAYBE_HIDDEN && nodeHidden(node)) return 0;
  const opened = valueOpen(node, keySize, node.body, EXCHANGE_OUT, EXCHANGE_SIZE, true);
  if (!(node.flags & NodeFlags.INLINE)) valueKeep(slot, node, keySize, opened);
  return opened;
}

/** Whether the key in KEY_A is there: 1 or 0. Never reads the device. */
export function has(keySize: u32): i32 {
  return nodeFind(keySize) ? 1 : 0;
}

/**
 * Stores the value in EXCHANGE_IN under the key in KEY_A: 1 when the key is new, 0 when it was there, or a status:
 * KEY_SIZE, VALUE_SIZE, NO_SPACE, OUT_OF_MEMORY before anything changes; DEVICE_WRITE poisons.
 */
export function set(keySize: u32, valueSize: u32, callFlags: u32): i32 {
  const stored = setNow(keySize, valueSize, callFlags);
  if (root.feed && stored >= 0) feedSet(KEY_A, keySize, EXCHANGE_IN, valueSize);
  return stored;
}

function setNow(keySize: u32, valueSize: u32, callFlags: u32): i32 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  if (valueSize > EXCHANGE_SIZE) return Status.VALUE_SIZE;
  let value = EXCHANGE_IN;
  if (root.compression && valueSize >= COMPRESS_SIZE_MIN) {
    const stored = valueCompress(valueSize);
    if (stored) {
      root.callRawSize = valueSize;
      callFlags |= CallFlags.COMPRESSED;
      valueSize = stored;
      value = storedAt();
    }
  }
  const total = RECORD_HEADER_SIZE + callFieldsSize(callFlags) + keySize + valueSize;
  const reserved = roomFor(total, For.WRITING);
  if (reserved < 0) return reserved;
  const ready = writeReady(callFlags);
  if (ready < 0) return ready;
  store<u64>(KEY_A + keySize, 0);
  const hash = keyHash(KEY_A, keySize, root.hashSeed);
  if (!(callFlags & (CallFlags.WORDS | CallFlags.AT_ONCE | CallFlags.COMPRESSED)) && laterTakes(keySize, valueSize)) {
    const sequence = nextSequence();
    root.sequence = sequence;
    const address = logAppend(RecordKind.SET, recordFlags(callFlags), sequence, KEY_A, keySize, EXCHANGE_IN, valueSize);
    laterAdd(hash, address, sequence, keySize, valueSize, callFlags);
    return 1;
  }
  laterApply();
  const slot = hashFind(KEY_A, keySize, hash);
  if (total > WHOLE_RECORD_MAX && total + 8192 > segmentRoom()) {
    const streamed = streamStart(keySize, valueSize, callFlags);
    if (streamed < 0) return streamed;
    const written = streamWrite(value, valueSize);
    return written < 0 ? written : streamApply(slot, hash, callFlags);
  }
  if (slot) return overwrite(slot, keySize, value, valueSize, callFlags);
  const sequence = nextSequence();
  root.sequence = sequence;
  const address = logAppend(RecordKind.SET, recordFlags(callFlags), sequence, KEY_A, keySize, value, valueSize);
  nodeAdd(hash, KEY_A, keySize, value, valueSize, callFlags, sequence, address);
  return 1;
}

/**
 * Starts to store a value that comes in pieces (`writePart`) under the key in KEY_A, which must stay there until the
 * last piece is in. Statuses as `set`. With COMPRESSED, the pieces are of PIECE_SIZE and were measured (`compressMeasure`):
 * where each ends in the stored form stands in EXCHANGE_IN, INVALID_ARGUMENT when it cannot.
 */
export function writeBegin(keySize: u32, valueSize: u32, callFlags: u32): i32 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  if (valueSize > VALUE_SIZE_MAX) return Status.VALUE_SIZE;
  laterApply();
  let stored = valueSize;
  if (callFlags & CallFlags.COMPRESSED) {
    stored = root.compression ? placesTake(valueSize) : 0;
    if (!stored) return Status.INVALID_ARGUMENT;
    root.callRawSize = valueSize;
  }
  const ready = writeReady(callFlags);
  if (ready < 0) return ready;
  store<u64>(KEY_A + keySize, 0);
  root.streamCallFlags = callFlags;
  const started = streamStart(keySize, stored, callFlags);
  return started < 0 || stored == valueSize ? started : placesWrite(valueSize);
}

/** `streamBegin`, with room made for it where there is none. */
function streamStart(keySize: u32, valueSize: u32, callFlags: u32): i32 {
  let round: u32 = 0;
  root.streamRawSize = callFlags & CallFlags.COMPRESSED ? root.callRawSize : valueSize;
  while (true) {
    const status = streamBegin(keySize, valueSize, recordFlags(callFlags), nextSequence());
    if (status != Status.NO_SPACE || round++ > root.segmentCount << 2) return status;
    const made = roomMake(For.WRITING);
    if (made <= 0) return made < 0 ? made : status;
  }
}

/** Takes the next `size` bytes from EXCHANGE_IN. After the last: 1 or 0 as `set`; before: 2. A failure ends the value. */
export function writePart(size: u32): i32 {
  const compressed = (root.streamCallFlags & CallFlags.COMPRESSED) != 0;
  if (!root.streamActive || size > EXCHANGE_SIZE) return Status.INVALID_ARGUMENT;
  if (!compressed && size > root.streamSize - root.streamWritten) return Status.INVALID_ARGUMENT;
  const written = compressed ? pieceWrite(size) : streamWrite(EXCHANGE_IN, size);
  if (written < 0) return written;
  if (root.streamWritten < root.streamSize) return 2;
  const hash = keyHash(KEY_A, root.streamKeySize, root.hashSeed);
  const stored = streamApply(hashFind(KEY_A, root.streamKeySize, hash), hash, root.streamCallFlags);
  if (root.feed && stored >= 0) feedSet(KEY_A, root.streamKeySize, 0, root.streamRawSize);
  return stored;
}

/** Gives up a value that was begun. */
export function writeAbort(): void {
  streamAbort();
}

/** Deletes the key in KEY_A: 1, or 0 when it was not there, or a status. A full store still deletes. */
export function remove(keySize: u32): i32 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  // Also where the key is absent: a reader's deletions are refused by what they are, not by what is there.
  if (root.readOnly) return Status.READ_ONLY;
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const hash = keyHash(KEY_A, keySize, root.hashSeed);
  removeTouch(hash, keySize);
  const slot = hashFind(KEY_A, keySize, hash);
  if (!slot) return 0;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  if (nodeHidden(node)) return 0;
  return removeAt(slot, node);
}

/**
 * Asks for the bucket and for the leaf that a key is to be taken out of together, and leaves the leaf as the place where
 * the ordered index looks first.
 */
function removeTouch(hash: u64, keySize: u32): void {
  let touched = load<u32>(hashBucketOf(hash));
  const leaf = changetype<usize>(descend(KEY_A, keySize));
  for (let line: usize = 64; line < TREE_NODE_SIZE; line += 64) touched += load<u32>(leaf + line);
  root.treeFingerLeaf = <u32>leaf;
  root.treeFingerRun = 0;
  root.touched = touched;
}

/** Deletes the key of a node that `slot` names. */
export function removeAt(slot: usize, node: KeyNode): i32 {
  const keySize = node.keySize;
  const reserved = roomFor(RECORD_HEADER_SIZE + keySize, For.DELETING);
  if (reserved < 0) return reserved;
  const raised = sequencesReserve(1);
  if (raised < 0) return raised;
  const keep = snapshotSees(node);
  let version: usize = 0;
  if (keep) {
    memoryEnsure(1);
    version = versionTake(node);
    if (!version) return Status.OUT_OF_MEMORY;
  }
  const sequence = nextSequence();
  root.sequence = sequence;
  liveDrop(node, keySize);
  if (repeatedInBatch(node)) logVoid(node.address);
  const flags = node.flags & NodeFlags.ASCII_KEY ? RecordFlags.ASCII_KEY : 0;
  const address = logAppend(RecordKind.DELETE, flags, sequence, node.key, keySize, 0, 0);
  tombstoneAdd(address, pad8(RECORD_HEADER_SIZE + keySize), sequence);
  if (root.feed) feedDelete(node);
  root.liveKeyCount--;
  root.keyBytes -= keySize;
  root.valueBytes -= node.valueSize;
  compressedLeave(node);
  if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
  if (keep) versionKeep(node, version, sequence);
  else if (node.flags & NodeFlags.EXTENTS) extentTableGive(<usize>load<u32>(node.body));
  if (node.older) {
    node.place = placeOf(address, node.sizeClass, (node.flags & NodeFlags.ASCII_KEY) | NodeFlags.DELETED);
    node.identity = identityOf(sequence, keySize);
    node.valueSize = 0;
  } else {
    hashRemove(slot);
    treeRemove(changetype<usize>(node));
    nodeGive(node);
  }
  return 1;
}

/**
 * Sets aside what a batch needs, so that it cannot fail half-way: `count` operations whose records take `bytes` in
 * all, of which `resident` may end up in memory; the largest key and the largest value have `keySizeMax` and
 * `valueSizeMax` bytes. All of them get one sequence. With `givesBack`, all are deletions: they may use the reserve, and
 * they take memory only for what a snapshot sees. NO_SPACE, OUT_OF_MEMORY.
 */
export function batchBegin(
  count: u32,
  bytes: f64,
  resident: f64,
  keySizeMax: u32,
  valueSizeMax: u32,
  givesBack: bool,
): i32 {
  if (root.blocked) return root.blocked;
  laterApply();
  const raised = sequencesReserve(1);
  if (raised < 0) return raised;
  if (!givesBack || root.snapshotCount) {
    const each = root.snapshotCount ? KEY_OVERHEAD + VERSION_SIZE_MAX : KEY_OVERHEAD;
    const chunks = (resident + <f64>count * <f64>each) / <f64>CHUNK_SIZE;
    if (!memoryEnsure(<u32>min<f64>(chunks, <f64>(CHUNKS_PER_WRITE << 20)) + CHUNKS_PER_WRITE + 1)) {
      return Status.OUT_OF_MEMORY;
    }
  }
  const purpose: u32 = givesBack ? For.DELETING : For.WRITING;
  for (let round: u32 = 0; ; round++) {
    const status = segmentsReserve(batchSegments(bytes, keySizeMax, valueSizeMax, givesBack), purpose);
    if (!status) break;
    const made = status == Status.NO_SPACE && round <= root.segmentCount << 2 ? roomMake(purpose) : 0;
    if (made <= 0) return made < 0 ? made : status;
  }
  const small = bytes < <f64>(root.frameCount << 10) ? <u32>bytes : 0;
  const framed = roomFor(small + (small >>> 3), purpose);
  if (framed < 0) return framed;
  if (root.compression && valueSizeMax >= COMPRESS_SIZE_MIN) {
    const said = compressReserve();
    if (said < 0) return said;
  }
  if (!small && root.growable) {
    const segments = batchSegments(bytes, keySizeMax, valueSizeMax, givesBack) - AHEAD_FOR_END;
    const proven = roomProve(batchBlocks(bytes, keySizeMax), segments);
    if (proven < 0) return proven;
  }
  root.batchOpen = 1;
  root.batchSequence = root.sequence + 1;
  return Status.OK;
}

/**
 * Segments that a batch opens at most, with those that its last write wants to see free. A block's end is wasted where
 * the next head does not fit, a segment's where the next record, or a first part worth reading, does not.
 */
function batchSegments(bytes: f64, keySizeMax: u32, valueSizeMax: u32, givesBack: bool): u32 {
  const head = extentRecordSize(keySizeMax, 0) + WORDS_SIZE_MAX;
  const cut = WHOLE_RECORD_MAX + 2 * BLOCK_PAYLOAD_SIZE + head;
  const atEnd = min<u32>(head + valueSizeMax + 8, cut);
  const blocks = batchBlocks(bytes, keySizeMax);
  const room = root.segmentBlocks - root.segmentOpenBlock;
  // What is kept on a fixed device lets each operation see more free than it takes; where nothing is kept, a deletion asks
  // for a free segment beyond the open one, or for two when that one is nearly full, and a write for three.
  const ahead: u32 = root.growable ? (givesBack ? 2 : 3) : 0;
  if (blocks + 11 + headerBlocks() < room) return max<u32>(ahead, 1);
  const ofSegment = <f64>((root.segmentBlocks - headerBlocks() - 1) * BLOCK_PAYLOAD_SIZE) - <f64>atEnd;
  const segments = <u32>((<f64>blocks * <f64>BLOCK_PAYLOAD_SIZE) / ofSegment) + 1;
  return segments + ahead;
}

/** Blocks that a batch's records take at most. */
function batchBlocks(bytes: f64, keySizeMax: u32): u32 {
  return <u32>(bytes / <f64>(BLOCK_PAYLOAD_SIZE - (extentRecordSize(keySizeMax, 0) + WORDS_SIZE_MAX))) + 4;
}

/** Ends a batch. Its writes are visible already: nothing else could run in between. */
export function batchEnd(): void {
  laterApply();
  root.batchOpen = 0;
  root.takeFirst = 0;
}

/** Enters a new node in both indexes. Memory was made sure of. */
export function nodeEnter(node: KeyNode, hash: u64): void {
  hashInsert(hash, changetype<usize>(node));
  treeInsert(changetype<usize>(node));
  root.liveKeyCount++;
  root.keyBytes += node.keySize;
  root.valueBytes += node.valueSize;
  compressedEnter(node);
}

/** Memory for a node, or 0. */
export function nodeTake(keySize: u32, bodySize: u32): usize {
  const sizeClass = slabClassOf(nodeSizeOf(keySize, bodySize));
  const node = slabTake(sizeClass);
  if (!node) return 0;
  changetype<KeyNode>(node).place = placeOf(0, sizeClass, 0);
  changetype<KeyNode>(node).older = 0;
  root.nodeBytes += slabClassSize(sizeClass);
  return node;
}

/** Whether values may go into their nodes. */
export function inlineAllowed(): bool {
  return chunksAvailable() > (root.poolEnd - root.poolStart) / (<u32>CHUNK_SIZE * INLINE_POOL_SHARE);
}

/** Writes a new value for a key that is there: in place where its record still allows that, else as a new record. */
function overwrite(slot: usize, keySize: u32, value: usize, valueSize: u32, callFlags: u32): i32 {
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  const sequence = nextSequence();
  const flags = recordFlags(callFlags);
  root.sequence = sequence;
  const inline = (node.flags & NodeFlags.INLINE) != 0;
  // A value that grows by less than a word may fit its record and not its node.
  if (
    !(node.flags & (NodeFlags.DELETED | NodeFlags.EXTENTS)) &&
    (!inline || nodeHolds(node, keySize, valueSize + wordsSizeInNode(nodeFlags(callFlags)))) &&
    !snapshotSees(node) &&
    logUpdateInPlace(node.address, flags, sequence, keySize, value, storedSizeOf(node, node.body), valueSize)
  ) {
    if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
    root.valueBytes -= node.valueSize;
    compressedLeave(node);
    nodeState(node, node.address, sequence, keySize, value, valueSize, callFlags, inline);
    root.valueBytes += node.valueSize;
    compressedEnter(node);
    return 0;
  }
  const address = logAppend(RecordKind.SET, flags, sequence, KEY_A, keySize, value, valueSize);
  return nodeReplace(slot, keySize, value, valueSize, callFlags, sequence, address);
}

/**
 * Makes a new node for a record that is in the log. Memory was made sure of. `valueSize` is what the record holds.
 */
export function nodeAdd(
  hash: u64,
  key: usize,
  keySize: u32,
  value: usize,
  valueSize: u32,
  callFlags: u32,
  sequence: u64,
  address: u64,
): void {
  const compressed = (callFlags & CallFlags.COMPRESSED) != 0;
  const inline = !compressed && valueSize <= INLINE_VALUE_SIZE_MAX && inlineAllowed();
  const words = wordsSizeInNode(nodeFlags(callFlags)) + (compressed ? 8 : 0);
  const node = changetype<KeyNode>(nodeTake(keySize, inline ? pad8(valueSize) + words : words));
  nodeSetKey(node, key, keySize);
  nodeState(node, address, sequence, keySize, value, valueSize, callFlags, inline);
  liveAdd(address, pad8(RECORD_HEADER_SIZE + callFieldsSize(callFlags) + keySize + valueSize));
  nodeEnter(node, hash);
}

/** Lets the node of a key that is there hold a new record: 1 when the key had been deleted, else 0. */
export function nodeReplace(
  slot: usize,
  keySize: u32,
  value: usize,
  valueSize: u32,
  callFlags: u32,
  sequence: u64,
  address: u64,
): i32 {
  let node = changetype<KeyNode>(<usize>load<u32>(slot));
  const wasDeleted = (node.flags & NodeFlags.DELETED) != 0;
  const compressed = (callFlags & CallFlags.COMPRESSED) != 0;
  const words = wordsSizeInNode(nodeFlags(callFlags)) + (compressed ? 8 : 0);
  const inline =
    !compressed &&
    valueSize <= INLINE_VALUE_SIZE_MAX &&
    (nodeHolds(node, keySize, pad8(valueSize) + words) || inlineAllowed());
  const bodySize = inline ? pad8(valueSize) + words : words;
  if (!wasDeleted) {
    liveDrop(node, keySize);
    if (repeatedInBatch(node)) logVoid(node.address);
    if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
  }
  if (snapshotSees(node)) versionKeep(node, versionTake(node), sequence);
  else if (node.flags & NodeFlags.EXTENTS) extentTableGive(<usize>load<u32>(node.body));
  root.valueBytes -= node.valueSize;
  compressedLeave(node);
  if (bodySize && !nodeHolds(node, keySize, bodySize)) node = nodeMove(slot, node, keySize, bodySize);
  nodeState(node, address, sequence, keySize, value, valueSize, callFlags, inline);
  root.valueBytes += node.valueSize;
  compressedEnter(node);
  liveAdd(address, pad8(RECORD_HEADER_SIZE + callFieldsSize(callFlags) + keySize + valueSize));
  if (wasDeleted) {
    root.liveKeyCount++;
    root.keyBytes += keySize;
  }
  return wasDeleted ? 1 : 0;
}

/** Writes what a node says of its record, and the value when it is inline. */
function nodeState(
  node: KeyNode,
  address: u64,
  sequence: u64,
  keySize: u32,
  value: usize,
  valueSize: u32,
  callFlags: u32,
  inline: bool,
): void {
  const flags = nodeFlags(callFlags);
  node.place = placeOf(address, node.sizeClass, inline ? flags | NodeFlags.INLINE : flags);
  node.identity = identityOf(sequence, keySize);
  if (callFlags & CallFlags.COMPRESSED) storedSet(node, node.body, 0, root.callRawSize, valueSize);
  else node.valueSize = valueSize;
  if (inline) copyWords(node.body, value, valueSize);
  else root.readBack = 1;
  if (callFlags & CallFlags.WORDS) wordsSet(node);
}

/** Writes expiry and timestamp of the write under way to a node whose flags and value are set, and enters it in the wheel. */
function wordsSet(node: KeyNode): void {
  const flags = node.flags;
  let at = wordsOf(node, node.body);
  if (flags & NodeFlags.EXPIRY) {
    store<u64>(at, root.callExpiry);
    at += 8;
  }
  if (flags & NodeFlags.TIMESTAMP) store<u64>(at, root.callTimestamp);
  if (flags & NodeFlags.EXPIRY) wheelEnter(node);
}

/** Lets a key's node say where the value that was streamed lies. */
function streamApply(slot: usize, hash: u64, callFlags: u32): i32 {
  const keySize = root.streamKeySize;
  const table = root.streamTable;
  const flags = table ? nodeFlags(callFlags) | NodeFlags.EXTENTS : nodeFlags(callFlags);
  const isStored = table != 0 || (callFlags & CallFlags.COMPRESSED) != 0;
  const bodySize = (isStored ? 8 : 0) + wordsSizeInNode(flags);
  const sequence = root.streamSequence;
  let node: KeyNode;
  let version: usize = 0;
  let created = true;
  if (slot) {
    node = changetype<KeyNode>(<usize>load<u32>(slot));
    created = (node.flags & NodeFlags.DELETED) != 0;
    if (snapshotSees(node)) {
      version = versionTake(node);
      if (!version) return refuse();
    }
    if (node.flags & NodeFlags.EXPIRY) wheelLeave(node);
    if (!nodeHolds(node, keySize, bodySize)) node = nodeMove(slot, node, keySize, bodySize);
    if (!created) {
      liveDrop(node, keySize);
      if (repeatedInBatch(node)) logVoid(node.address);
    }
    if (version) versionKeep(node, version, sequence);
    else if (node.flags & NodeFlags.EXTENTS) extentTableGive(<usize>load<u32>(node.body));
    root.valueBytes -= node.valueSize;
    compressedLeave(node);
  } else {
    const taken = nodeTake(keySize, bodySize);
    if (!taken) return refuse();
    node = changetype<KeyNode>(taken);
    node.valueSize = 0;
    node.identity = identityOf(sequence, keySize);
    nodeSetKey(node, KEY_A, keySize);
  }
  root.streamActive = 0;
  root.sequence = sequence;
  node.place = placeOf(root.streamAddress, node.sizeClass, flags);
  node.identity = identityOf(sequence, keySize);
  if (isStored) storedSet(node, node.body, table, root.streamRawSize, root.streamSize);
  else node.valueSize = root.streamSize;
  if (callFlags & CallFlags.WORDS) wordsSet(node);
  recordsLive(node, keySize, node.body);
  if (!slot) {
    nodeEnter(node, hash);
  } else {
    root.valueBytes += node.valueSize;
    compressedEnter(node);
    if (created) {
      root.liveKeyCount++;
      root.keyBytes += keySize;
    }
  }
  return created ? 1 : 0;
}

/** Memory ran out between a value's first and last byte, which the margin of `writeReady` does not let happen. */
function refuse(): i32 {
  streamAbort();
  return Status.OUT_OF_MEMORY;
}

/** What every write needs beside room in the log. */
function writeReady(callFlags: u32): i32 {
  if (!memoryEnsure(CHUNKS_PER_WRITE)) return Status.OUT_OF_MEMORY;
  if (callFlags & CallFlags.COMPRESSED) {
    const said = compressReserve();
    if (said < 0) return said;
  }
  if (root.sequence + 1 >= root.sequenceCeiling) return sequencesReserve(1);
  return Status.OK;
}

/** The sequence of the write under way: of its batch, or the next one. */
function nextSequence(): u64 {
  return root.batchOpen ? root.batchSequence : root.sequence + 1;
}

/** Whether a key was written before by the batch that is open: its record of then must not count. */
function repeatedInBatch(node: KeyNode): bool {
  return root.batchOpen != 0 && node.sequence == root.batchSequence;
}

export function nodeHolds(node: KeyNode, keySize: u32, bodySize: u32): bool {
  return slabClassSize(node.sizeClass) >= nodeSizeOf(keySize, bodySize);
}

/** Moves a node to memory that holds a larger body; both indexes and its versions follow. */
export function nodeMove(slot: usize, node: KeyNode, keySize: u32, bodySize: u32): KeyNode {
  const taken = changetype<KeyNode>(nodeTake(keySize, bodySize));
  const sizeClass = taken.sizeClass;
  const oldSize = slabClassSize(node.sizeClass);
  memory.copy(changetype<usize>(taken), changetype<usize>(node), oldSize);
  taken.place = placeOf(node.address, sizeClass, node.flags);
  store<u32>(slot, <u32>changetype<usize>(taken));
  treeReplace(changetype<usize>(node), changetype<usize>(taken));
  versionsFollow(taken);
  nodeGive(node);
  return taken;
}

// The flags of a call, of a record and of a node that mean the same stand in the same order.
if (RecordFlags.ASCII_VALUE != CallFlags.ASCII_VALUE << 2) ERROR("flags of a record");
if (RecordFlags.ASCII_KEY != CallFlags.ASCII_KEY << 2) ERROR("flags of a record");
if (RecordFlags.EXPIRY != CallFlags.EXPIRY >> 2) ERROR("flags of a record");
if (RecordFlags.TIMESTAMP != CallFlags.TIMESTAMP >> 2) ERROR("flags of a record");
if (RecordFlags.COMPRESSED != CallFlags.COMPRESSED >> 3) ERROR("flags of a record");
if (NodeFlags.ASCII_VALUE != CallFlags.ASCII_VALUE << 3) ERROR("flags of a node");
if (NodeFlags.ASCII_KEY != CallFlags.ASCII_KEY << 3) ERROR("flags of a node");
if (NodeFlags.EXPIRY != CallFlags.EXPIRY << 4) ERROR("flags of a node");
if (NodeFlags.TIMESTAMP != CallFlags.TIMESTAMP << 4) ERROR("flags of a node");

function recordFlags(callFlags: u32): u32 {
  return ((callFlags & 3) << 2) | ((callFlags & CallFlags.WORDS) >>> 2) | ((callFlags & CallFlags.COMPRESSED) >>> 3);
}

function nodeFlags(callFlags: u32): u32 {
  return ((callFlags & 3) << 3) | ((callFlags & CallFlags.WORDS) << 4);
}

/** Bytes of expiry, timestamp and raw size in the record of a write. */
function callFieldsSize(callFlags: u32): u32 {
  const words = (((callFlags >>> 2) & 1) + ((callFlags >>> 3) & 1)) << 3;
  return callFlags & CallFlags.COMPRESSED ? words + RAW_FIELD_SIZE : words;
}

/** Counts what a node holds as garbage, unless a snapshot still sees it. */
function liveDrop(node: KeyNode, keySize: u32): void {
  if (!snapshotSees(node)) recordsDead(node, keySize, node.body);
}
