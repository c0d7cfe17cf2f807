/**
 * Finding the log on the device: which segments count, and which group is the newest that something vouches for.
 *
 * The newest end of a group that is intact names a durable group: the mark. Of the segments whose headers lie in groups
 * up to it, the newest one holds the note that rules; what that note counts must be there. Behind the mark the log
 * goes on in that segment, and from segment to segment by what each header names as its predecessor, as far as groups
 * are complete.
 *
 * Invariant: no segment that the note counts, and none that the log behind the mark goes through, was ever written to
 * again, since only a note of a durable group, proven by a durable mark, lets a segment be used anew.
 */
import { deviceRead, deviceSize } from "../device/device";
import { BLOCK_HEADER_SIZE, BlockFlags, BlockHeader, blockIsZero, blockValid, trailerOf } from "../format/block";
import { NOTE_HEADER_SIZE, Note, noteSizeFor } from "../format/note";
import { SEGMENT_HEADER_SIZE, SegmentKind, segmentHeaderOf, segmentHeaderValid } from "../format/segment";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { SegmentState, segmentAt, segmentCountMax, segmentOffset } from "../log/segments";
import { noteHas } from "../log/space";
import { root } from "../root";
import { Status } from "../status";
import { corruptAt } from "./fault";
import { blockAt } from "./log-replay";

/** What the first look at a segment found. */
export namespace ScanState {
  /** Zeros, and zeros behind it. */
  export const BLANK: u32 = 0;
  /** A header of the log, of copies, or of a checkpoint. */
  export const HEADER: u32 = 1;
  /** Bytes that are not an intact header. */
  export const UNREADABLE: u32 = 2;
  /** A header of a kind that this engine does not write. */
  export const FOREIGN: u32 = 3;
}

/** Blocks behind a header of zeros that are looked at. */
const LOOKED_AT_BEHIND: u32 = 3;

/** Segments behind the last one that are looked at. Two superblocks that follow each other are not that far apart. */
const BEYOND_MAX: u32 = 4096;

/** Reads all segment headers into the table. DEVICE_READ, DEVICE_SHRUNK, CORRUPT. One block read a segment. */
export function headersScan(frame: usize): i32 {
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    memory.fill(changetype<usize>(state), 0, offsetof<SegmentState>());
    const status = deviceRead(segmentOffset(i), frame, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    const block = changetype<BlockHeader>(frame);
    if (!blockValid(frame, segmentOffset(i) >> BLOCK_SIZE_LOG2) || !segmentHeaderValid(frame)) {
      state.scan = blockIsZero(frame) && isBlankBehind(i, frame) ? ScanState.BLANK : ScanState.UNREADABLE;
      continue;
    }
    // The superblock of a mount is synced before its first write, so a later mount's segment means that it was lost.
    if (block.generation >> 32 > <u64>root.epoch) return corruptAt(segmentOffset(i));
    const header = segmentHeaderOf(frame);
    state.generation = block.generation;
    state.headerGroup = block.group;
    state.born = header.born;
    state.previousGeneration = header.previousGeneration;
    state.previousSegment = header.previousSegment;
    state.headerBlocks = header.headerBlocks;
    const known = header.kind <= SegmentKind.CHECKPOINT;
    state.scan = known && header.headerBlocks < root.segmentBlocks ? ScanState.HEADER : ScanState.FOREIGN;
    scanFold(block.generation + i);
    // While opening, the kind of a life that may not count; `segmentsTake` frees those that do not.
    state.kind = header.kind;
  }
  return Status.OK;
}

/**
 * Whether nothing follows a header that is all zeros: what lost only that holds blocks that may vouch for groups. One read, of the
 * segments that were never written.
 */
function isBlankBehind(index: u32, frame: usize): bool {
  const offset = segmentOffset(index) + BLOCK_SIZE;
  if (deviceRead(offset, frame, LOOKED_AT_BEHIND << (<u32>BLOCK_SIZE_LOG2)) < 0) return false;
  for (let i: usize = 0; i < LOOKED_AT_BEHIND; i++) if (!blockIsZero(frame + (i << BLOCK_SIZE_LOG2))) return false;
  return true;
}

/**
 * Looks whether the log goes on behind the last segment: then a later superblock, of which both copies were synced before, is
 * lost, and what it named with it. CORRUPT, DEVICE_READ. `logs` is the list of the log's lives. A cut that a crash kept from being
 * made leaves free segments there, whose lives are older than that which is open.
 */
export function headersBeyond(logs: u32, frame: usize): i32 {
  if (!root.growable || root.readOnly) return Status.OK;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  let newest: u64 = 0;
  for (let at = logs; at; at = segmentAt(at - 1).next) newest = segmentAt(at - 1).generation;
  for (let i = root.segmentCount; i - root.segmentCount < BEYOND_MAX; i++) {
    if (segmentOffset(i + 1) > <u64>size) break;
    const status = deviceRead(segmentOffset(i), frame, <u32>BLOCK_SIZE);
    if (status < 0) return status;
    if (!blockValid(frame, segmentOffset(i) >> BLOCK_SIZE_LOG2) || !segmentHeaderValid(frame)) continue;
    if (segmentHeaderOf(frame).kind == SegmentKind.LOG && changetype<BlockHeader>(frame).generation > newest) {
      return corruptAt(segmentOffset(i));
    }
  }
  return Status.OK;
}

/** Folds what was found of the device into `root.scanFold`. */
export function scanFold(value: u64): void {
  root.scanFold = rotl<u64>((root.scanFold ^ value) * 0x9e3779b97f4a7c15, 31);
}

/** The lives of a kind, by their generations from the oldest on, as a list through `next`: its first, index plus 1. */
export function livesSort(kind: u32): u32 {
  let head: u32 = 0;
  for (let i = root.segmentCount; i > 0; i--) {
    const state = segmentAt(i - 1);
    if (state.scan != ScanState.HEADER || state.kind != kind) continue;
    state.next = head;
    head = i;
  }
  // Merge sort from the bottom up: runs of 1, 2, 4 and so on, in place.
  let run: u32 = 1;
  while (true) {
    let left = head;
    let tail: u32 = 0;
    let merges: u32 = 0;
    head = 0;
    while (left) {
      merges++;
      let right = left;
      let leftCount: u32 = 0;
      while (leftCount < run && right) {
        leftCount++;
        right = segmentAt(right - 1).next;
      }
      let rightCount = run;
      while (leftCount || (rightCount && right)) {
        let taken: u32;
        const fromLeft =
          leftCount && (!rightCount || !right || segmentAt(left - 1).generation <= segmentAt(right - 1).generation);
        if (fromLeft) {
          taken = left;
          left = segmentAt(left - 1).next;
          leftCount--;
        } else {
          taken = right;
          right = segmentAt(right - 1).next;
          rightCount--;
        }
        if (tail) segmentAt(tail - 1).next = taken;
        else head = taken;
        tail = taken;
      }
      left = right;
    }
    if (tail) segmentAt(tail - 1).next = 0;
    if (merges <= 1) return head;
    run <<= 1;
  }
}

/**
 * The newest durable group that any block on the device vouches for, beside what the superblock says. `first` is the list
 * of the log's lives. The newest life that holds the end of a group knows best, but segments whose header cannot be read
 * are asked as well: they may be newer.
 */
export function durableMark(first: u32, frame: usize): u64 {
  let mark = root.durableGroup;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    if (segmentAt(i).scan == ScanState.UNREADABLE) mark = max<u64>(mark, segmentMark(i, 0, frame) >> 1);
  }
  // From the newest to the oldest: the list is walked once for each life, newest first, until one has an end.
  let bound: u64 = u64.MAX_VALUE;
  while (true) {
    let newest: u32 = 0;
    for (let at = first; at; at = segmentAt(at - 1).next) {
      if (segmentAt(at - 1).generation < bound) newest = at;
    }
    if (!newest) return mark;
    const found = segmentMark(newest - 1, segmentAt(newest - 1).generation, frame);
    if (found) return max<u64>(mark, found >> 1);
    bound = segmentAt(newest - 1).generation;
  }
}

/**
 * Highest durable group named by an intact end of a group in a segment, times 2, plus 1; 0 when there is no such end.
 * With a generation, only blocks of that life count: what is left of a former one knows less, and must not end a search.
 */
function segmentMark(index: u32, generation: u64, frame: usize): u64 {
  let mark: u64 = 0;
  const base = segmentOffset(index);
  for (let block: u32 = 0; block < root.segmentBlocks; block++) {
    const offset = base + ((<u64>block) << BLOCK_SIZE_LOG2);
    let at = blockAt(index, block, frame);
    if (at < 0) {
      // What does not come together is asked for block by block.
      root.windowCount = 0;
      if (deviceRead(offset, frame, <u32>BLOCK_SIZE) < 0) continue;
      at = <i64>frame;
    }
    const pointer = <usize>at;
    const header = changetype<BlockHeader>(pointer);
    if (generation && header.generation != generation) continue;
    if (!header.generation || header.generation >> 32 > <u64>root.epoch) continue;
    if (!blockValid(pointer, offset >> BLOCK_SIZE_LOG2) || !(header.flags & BlockFlags.GROUP_END)) continue;
    mark = max<u64>(mark, (trailerOf(pointer).durableGroup << 1) | 1);
  }
  return mark;
}

/** Index plus 1 of the newest life whose header lies in a group up to the mark, 0 when there is none. */
export function provenLast(first: u32, mark: u64): u32 {
  let found: u32 = 0;
  for (let at = first; at; at = segmentAt(at - 1).next) {
    if (segmentAt(at - 1).headerGroup <= mark) found = at;
  }
  return found;
}

/**
 * Index plus 1 of the life behind the mark that names this one as its predecessor (none: the log's first), 0 when there
 * is none. The newest one: an older one was given up.
 */
export function successor(first: u32, index: u32, generation: u64, mark: u64): u32 {
  let found: u32 = 0;
  for (let at = first; at; at = segmentAt(at - 1).next) {
    const state = segmentAt(at - 1);
    if (state.previousGeneration != generation || (generation && state.previousSegment != index)) continue;
    if (state.headerGroup <= mark || state.headerGroup >> 40 != root.walkEpoch) continue;
    if (state.generation > generation) found = at;
  }
  return found;
}

/** Where a note is put together before it is known to be the newest: behind the frames that replay uses. */
const NOTE_FRAMES: usize = 16;

/** The place for a note that is being read. */
export function noteScratch(): usize {
  return <usize>root.frames + (NOTE_FRAMES << BLOCK_SIZE_LOG2);
}

/** Takes over the note of `size` bytes in the scratch area, if it is the newest so far. False when it makes no sense. */
export function noteAccept(size: u32): bool {
  const note = changetype<Note>(noteScratch());
  if (size < NOTE_HEADER_SIZE || note.segmentCount > segmentCountMax() || size != noteSizeFor(note.segmentCount)) {
    return false;
  }
  if (note.serial <= root.replayNoteSerial) return true;
  root.replayNoteSerial = note.serial;
  root.droppedTombstones = max(root.droppedTombstones, note.droppedTombstones);
  const kept = noteSizeFor(root.segmentCount);
  root.replayNoteBeyond = countsBeyond(note.segmentCount, size, kept) ? 1 : 0;
  memory.fill(<usize>root.note, 0, kept);
  memory.copy(<usize>root.note, noteScratch(), min(size, kept));
  return true;
}

/** Whether the note in the scratch area counts segments behind the device's last one. */
function countsBeyond(count: u32, size: u32, kept: u32): bool {
  for (let i = root.segmentCount; i < count && i & 63; i++) {
    if (load<u8>(noteScratch() + NOTE_HEADER_SIZE + (i >>> 3)) & <u8>((<u32>1) << (i & 7))) return true;
  }
  for (let at = kept; at < size; at += 8) if (load<u64>(noteScratch() + at)) return true;
  return false;
}

/** Takes the part of a note that a header block holds: bytes there are now, from `noted` on. */
export function noteFromHeader(frame: usize, block: u32, noted: u32): u32 {
  const used = <u32>changetype<BlockHeader>(frame).used;
  const from: u32 = block ? 0 : SEGMENT_HEADER_SIZE;
  if (used < from || noted + used - from > 65536) return noted;
  memory.copy(noteScratch() + noted, frame + BLOCK_HEADER_SIZE + from, used - from);
  return noted + used - from;
}

/** Proves that all segments that the note counts are there. CORRUPT. */
export function countedCheck(proven: u32): i32 {
  // The file was cut off only where no note that may rule counts anything.
  if (root.replayNoteBeyond) return corruptAt(segmentOffset(root.segmentCount));
  let sum: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    if (!noteHas(i)) continue;
    const state = segmentAt(i);
    if (state.scan != ScanState.HEADER || state.kind == SegmentKind.CHECKPOINT) return corruptAt(segmentOffset(i));
    if (state.generation > segmentAt(proven - 1).generation && state.kind == SegmentKind.LOG) {
      return corruptAt(segmentOffset(i));
    }
    sum += state.generation;
  }
  if (sum != changetype<Note>(<usize>root.note).generationSum) return corruptAt(segmentOffset(proven - 1));
  return Status.OK;
}
