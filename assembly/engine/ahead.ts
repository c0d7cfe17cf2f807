/**
 * Reads ahead: which blocks values need, and plans for the host to read them while the program goes on.
 *
 * A list names the cold blocks of one value, or of the entries that a cursor gives next, in the order of the device. A
 * call that may block reads it at once, neighbours in one piece. For one that must not, it becomes a plan: each block
 * gets a frame, pinned and in flight, and the host reads into it. When a read has landed the block is verified and is
 * like any other in the cache; whoever waited asks again, and finds it, or finds that the key was changed meanwhile. So
 * nothing read ahead is ever taken for the answer: at worst it is not needed.
 *
 * ```
 * list   WORKSPACE + 0x1000: u32 device blocks
 * plan   READ_PLAN: 16 bytes a block: f64 device offset, u32 frame, u32 claim (bit 31: another plan reads it already)
 * ```
 */
import {
  CacheMode,
  cacheBlock,
  cacheClaim,
  cacheCount,
  cacheDrop,
  cacheFlightBegin,
  cacheFlightEnd,
  cacheFrame,
  cacheInFlight,
  cachePeek,
  cachePin,
  cachePinnable,
  cacheScanShare,
  cacheUnpin,
} from "../cache/block-cache";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { PIECE_SIZE, PIECE_SIZE_LOG2 } from "../format/compressed";
import { EXTENT_FIELD_SIZE, RECORD_HEADER_SIZE } from "../format/record";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { fieldsSizeOf, KeyNode, NodeFlags, storedSizeOf, VERSION_HEADER_SIZE } from "../index/key-node";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { frameAtAddress } from "../log/append";
import { segmentAt, segmentOf } from "../log/segments";
import { EXCHANGE_OUT, EXCHANGE_SIZE, KEY_A, READ_PLAN, READ_PLAN_MAX, root, WORKSPACE } from "../root";
import { Status } from "../status";
import { pieceFind, placesFrom, placesTo } from "./decompress";
import { nodeHidden } from "./expiry";
import { blockIs, blocksFetch } from "./fetch";
import { laterApply } from "./later";
import { valueKeep } from "./promote";
import { Snapshot, versionAt } from "./snapshots";
import { ValueAt, valueOpen, valuePart, valueSelect } from "./value";

const LIST: usize = WORKSPACE + 0x1000;
const LIST_MAX: u32 = READ_PLAN_MAX;
/** Blocks that a value in one block of entries spans at most. */
const VALUE_BLOCKS_MAX: u32 = EXCHANGE_SIZE / BLOCK_PAYLOAD_SIZE + 2;
const JOINED: u32 = 0x80000000;
/** A larger value is read in parts of this size, so that its blocks fit the smallest cache. */
export const PART_SIZE: u32 = 65536;

/** How a plan is asked for. */
namespace Ask {
  export const FIRST: u32 = 0;
  /** The reads of an earlier plan have landed. */
  export const AGAIN: u32 = 1;
  /** Nothing is planned: READS says that something would be. */
  export const NO_READS: u32 = 2;
  /** What is missing is read now. */
  export const READ_NOW: u32 = 3;
}

/** What plans answer, beside what `valueOpen` does. */
export namespace Ahead {
  /** Nothing has to be read. */
  export const READY: i32 = 0;
  /** `resultPointer` blocks stand in the plan: they land by `readLanded`, and are given back by `readRelease`. */
  export const READS: i32 = 3;
  /** No frame is free: to be asked again when a read has landed. */
  export const BUSY: i32 = 4;
}

/**
 * `get` for a caller that waits, as a view sees the key, or as it is now when `handle` is 0: 0 when absent, MEMORY as `get`
 * has it, PIECES when the value is larger than PART_SIZE (`partAhead` gives it), READS, BUSY, or a status. `ask` is `Ask`.
 */
export function getAhead(keySize: u32, ask: u32, handle: usize): i32 {
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  if (!slot) return 0;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  const seen = seenBy(node, handle);
  if (!seen) return 0;
  const shown = changetype<KeyNode>(seen);
  const body = bodyOf(node, seen);
  const size = shown.valueSize;
  if (!(shown.flags & NodeFlags.INLINE)) {
    if (size > PART_SIZE) {
      root.resultSize = size;
      return ValueAt.PIECES;
    }
    const planned = valuePlan(shown, keySize, body, 0, size, CacheMode.SINGLE, ask);
    if (planned) return planned;
    if (ask == Ask.AGAIN) root.cacheMode = CacheMode.PLANNED;
  }
  const opened = valueOpen(shown, keySize, body, EXCHANGE_OUT, EXCHANGE_SIZE, true);
  root.cacheMode = CacheMode.SINGLE;
  if (!(node.flags & NodeFlags.INLINE)) valueKeep(slot, node, keySize, opened);
  return opened;
}

/**
 * The part of a value at `offset` for a caller that waits, PART_SIZE bytes but for the last: of the key in KEY_A, as the
 * cursor sees it, or as it is now when `handle` is 0. Answers what `getAhead` does; MEMORY: the bytes are at
 * `resultPointer`, `resultSize` is the size of the whole value, `readVersion` tells whether it is still the same one.
 */
export function partAhead(keySize: u32, offset: u32, handle: usize, ask: u32): i32 {
  laterApply();
  store<u64>(KEY_A + keySize, 0);
  const slot = hashFind(KEY_A, keySize, keyHash(KEY_A, keySize, root.hashSeed));
  if (!slot) return 0;
  const node = changetype<KeyNode>(<usize>load<u32>(slot));
  const seen = seenBy(node, handle);
  if (!seen) return 0;
  const shown = changetype<KeyNode>(seen);
  const size = shown.valueSize;
  if (offset > size) return Status.INVALID_ARGUMENT;
  const body = bodyOf(node, seen);
  root.readSequence = shown.sequence;
  if (shown.flags & NodeFlags.INLINE) {
    root.resultPointer = <u32>body + offset;
    root.resultSize = size;
    return ValueAt.MEMORY;
  }
  const piece = min(size - offset, PART_SIZE);
  const planned = valuePlan(shown, keySize, body, offset, piece, CacheMode.SCAN, ask);
  if (planned) return planned;
  root.cacheMode = ask == Ask.AGAIN ? CacheMode.SCAN | CacheMode.PLANNED : CacheMode.SCAN;
  const status = valuePart(shown, keySize, body, offset, EXCHANGE_OUT, piece);
  root.cacheMode = CacheMode.SINGLE;
  root.resultPointer = <u32>EXCHANGE_OUT;
  root.resultSize = size;
  return status < 0 ? status : ValueAt.MEMORY;
}

/** The version of the value that `partAhead` gave a part of. */
export function readVersion(): f64 {
  return <f64>root.readSequence;
}

/**
 * Lists the cold blocks of the nodes in the working space from `from` on, as a snapshot sees them, as far as their values
 * fit `room` bytes and the blocks a scan's share: the index of the first node that was left out. `counts`: values that need
 * no read count as found.
 */
export function listNodes(snapshot: Snapshot, from: u32, to: u32, room: u32, counts: bool): u32 {
  listBegin();
  const limit = min(cacheScanShare(), LIST_MAX - VALUE_BLOCKS_MAX);
  let hits: u32 = 0;
  let i = from;
  for (; i < to; i++) {
    const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
    const seen = versionAt(node, snapshot);
    if (!seen) continue;
    const shown = changetype<KeyNode>(seen);
    if (shown.flags & NodeFlags.INLINE) continue;
    const padded = (shown.valueSize + 7) & ~7;
    if (padded > room) break;
    room -= padded;
    const before = root.planBlockCount;
    if (before >= limit) break;
    const body = bodyOf(node, seen);
    listValue(shown, node.keySize, body, 0, storedSizeOf(shown, body));
    if (root.planBlockCount == before) hits++;
  }
  if (counts) cacheCount(hits, 0);
  return max(i, from + 1);
}

/** Reads the list now. */
export function listRead(): void {
  if (root.planBlockCount) blocksFetch(LIST, listSort());
}

/**
 * Makes the list a plan for the host. READS or BUSY. Blocks that are beyond what may be in flight at once are left out
 * when `mode` is SCAN, and are a reason to wait when it is not.
 */
export function planMake(mode: u32, again: bool): i32 {
  let count = listSort();
  const pinnable = cachePinnable();
  if (count > pinnable) {
    if (mode == CacheMode.SINGLE || !pinnable) return Ahead.BUSY;
    count = pinnable;
  }
  root.cacheMode = mode;
  let made: u32 = 0;
  for (; made < count; made++) {
    const deviceBlock = load<u32>(LIST + ((<usize>made) << 2));
    const entry = READ_PLAN + ((<usize>made) << 4);
    let claim = cacheInFlight(deviceBlock);
    if (claim) {
      cachePin(claim);
      store<u32>(entry, claim | JOINED, 12);
      continue;
    }
    claim = cacheClaim(deviceBlock);
    if (!claim) break;
    cachePin(claim);
    cacheFlightBegin(claim, deviceBlock);
    store<f64>(entry, <f64>deviceBlock * <f64>BLOCK_SIZE);
    store<u32>(entry, <u32>cacheFrame(claim), 8);
    store<u32>(entry, claim, 12);
  }
  root.cacheMode = CacheMode.SINGLE;
  if (made < count && (mode == CacheMode.SINGLE || !made)) {
    planUndo(made);
    return Ahead.BUSY;
  }
  if (!again) cacheCount(0, made);
  root.resultPointer = made;
  return Ahead.READS;
}

/** A read into the frame of a claim has ended. OK; CORRUPT when what came is not what was written; DEVICE_READ. */
export function readLanded(claim: u32, ok: u32): i32 {
  const deviceBlock = cacheBlock(claim);
  const address = (<u64>deviceBlock) << BLOCK_SIZE_LOG2;
  root.deviceReads++;
  const segment = segmentOf(address);
  if (ok && segment < root.segmentCount && blockIs(cacheFrame(claim), deviceBlock, segmentAt(segment).generation)) {
    cacheFlightEnd(claim);
    return Status.OK;
  }
  cacheDrop(claim);
  root.faultOffset = address;
  return ok ? Status.CORRUPT : Status.DEVICE_READ;
}

/** Gives a block of a plan back: its frame may be used for others. */
export function readRelease(claim: u32): void {
  cacheUnpin(claim);
}

/** Plans the reads of a part of a value: READY, READS, BUSY. */
function valuePlan(node: KeyNode, keySize: u32, body: usize, offset: u32, size: u32, mode: u32, ask: u32): i32 {
  if (ask == Ask.READ_NOW) return Ahead.READY;
  listBegin();
  if (node.isCompressed) listPieces(node, keySize, body, offset, size);
  else listValue(node, keySize, body, offset, size);
  if (!root.planBlockCount) return Ahead.READY;
  if (ask != Ask.NO_READS) return planMake(mode, ask == Ask.AGAIN);
  root.resultPointer = 0;
  return Ahead.READS;
}

/** What a view or a cursor sees of a node, or, when `handle` is 0, what is there now: a node or a version, or 0. */
function seenBy(node: KeyNode, handle: usize): usize {
  if (handle) return versionAt(node, changetype<Snapshot>(handle));
  return nodeHidden(node) ? 0 : changetype<usize>(node);
}

/** Where the inline bytes, or the extent table, of a node or of one of its versions lie. */
function bodyOf(node: KeyNode, seen: usize): usize {
  return seen == changetype<usize>(node) ? node.body : seen + VERSION_HEADER_SIZE;
}

function listBegin(): void {
  root.planBlockCount = 0;
}

/**
 * Adds the cold blocks that a part of a compressed value needs; of one of several pieces first those that say where they
 * are, and when these have landed those of the pieces.
 */
function listPieces(node: KeyNode, keySize: u32, body: usize, offset: u32, size: u32): void {
  if (node.valueSize <= PIECE_SIZE) {
    listValue(node, keySize, body, 0, storedSizeOf(node, body));
    return;
  }
  const first = offset >>> PIECE_SIZE_LOG2;
  const last = (offset + size - 1) >>> PIECE_SIZE_LOG2;
  const places = placesFrom(first);
  listValue(node, keySize, body, places, placesTo(last) - places);
  if (root.planBlockCount) return;
  valueSelect(node, keySize, body);
  const mode = root.cacheMode;
  root.cacheMode = CacheMode.PLANNED;
  // What is wrong is for the read itself to say.
  for (let piece = first; piece <= last && pieceFind(piece) == Status.OK; piece++) {
    listValue(node, keySize, body, root.pieceFrom, root.pieceTo - root.pieceFrom);
  }
  root.cacheMode = mode;
}

/** Adds the cold blocks that `size` bytes from `offset` on of a value, as it is stored, lie in. */
function listValue(node: KeyNode, keySize: u32, body: usize, offset: u32, size: u32): void {
  if (!(node.flags & NodeFlags.EXTENTS)) {
    listRecord(node.address, RECORD_HEADER_SIZE + fieldsSizeOf(node) + keySize, offset, size);
    return;
  }
  const table = <usize>load<u32>(body);
  const parts = extentCount(table);
  for (let part: u32 = 0; part < parts && size; part++) {
    const partSize = extentSize(table, part);
    if (offset >= partSize) {
      offset -= partSize;
      continue;
    }
    const piece = min(size, partSize - offset);
    const fields = part ? 0 : fieldsSizeOf(node);
    listRecord(extentAddress(table, part), RECORD_HEADER_SIZE + fields + EXTENT_FIELD_SIZE + keySize, offset, piece);
    size -= piece;
    offset = 0;
  }
}

/** A record's head is always needed: it tells whether the record is the one that is meant. */
function listRecord(address: u64, head: u32, offset: u32, size: u32): void {
  const block = address & ~(<u64>BLOCK_SIZE - 1);
  listAdd(block);
  const start = (<u32>address & (<u32>BLOCK_SIZE - 1)) + head + offset;
  const end = start + size;
  if (end <= <u32>BLOCK_SIZE) return;
  const last: u32 = 1 + (end - 1 - <u32>BLOCK_SIZE) / BLOCK_PAYLOAD_SIZE;
  let index: u32 = start < <u32>BLOCK_SIZE ? 1 : 1 + (start - <u32>BLOCK_SIZE) / BLOCK_PAYLOAD_SIZE;
  for (; index <= last; index++) listAdd(block + ((<u64>index) << BLOCK_SIZE_LOG2));
}

function listAdd(address: u64): void {
  const count = root.planBlockCount;
  if (count >= LIST_MAX || frameAtAddress(address)) return;
  const deviceBlock = <u32>(address >> BLOCK_SIZE_LOG2);
  if (cachePeek(deviceBlock, segmentAt(segmentOf(address)).generation)) return;
  store<u32>(LIST + ((<usize>count) << 2), deviceBlock);
  root.planBlockCount = count + 1;
}

/** Puts the list in the order of the device, each block once: how many there are. Shell sort: a few hundred at most. */
function listSort(): u32 {
  const count = root.planBlockCount;
  for (let gap = firstGap(count); gap; gap = gap == 2 ? 1 : (gap * 5) / 11) {
    for (let i = gap; i < count; i++) {
      const block = load<u32>(LIST + ((<usize>i) << 2));
      let at = i;
      while (at >= gap) {
        const before = load<u32>(LIST + ((<usize>(at - gap)) << 2));
        if (before <= block) break;
        store<u32>(LIST + ((<usize>at) << 2), before);
        at -= gap;
      }
      store<u32>(LIST + ((<usize>at) << 2), block);
    }
  }
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const block = load<u32>(LIST + ((<usize>i) << 2));
    if (kept && load<u32>(LIST + ((<usize>(kept - 1)) << 2)) == block) continue;
    store<u32>(LIST + ((<usize>kept) << 2), block);
    kept++;
  }
  root.planBlockCount = kept;
  return kept;
}

function firstGap(count: u32): u32 {
  return count < 2 ? 0 : max<u32>(1, (count * 5) / 11);
}

function planUndo(count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const word = load<u32>(READ_PLAN + ((<usize>i) << 4), 12);
    const claim = word & ~JOINED;
    if (!(word & JOINED)) cacheDrop(claim);
    cacheUnpin(claim);
  }
}

if (LIST + ((<usize>LIST_MAX) << 2) > READ_PLAN) ERROR("the list reaches into the plan");
