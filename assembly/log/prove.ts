/**
 * Room on the file system for a batch that outgrows the write buffer.
 *
 * A batch changes nodes while it is logged. What fits the buffer is written when it is complete, and held when the disk
 * is full; a larger one is written out on its way, and could not be taken back. So the places that it will be written to
 * are filled with zeros first: a disk that is full says so before anything changes. No runtime offers `fallocate`.
 *
 * Invariants: (1) only blocks that were never handed to the device in this life of their segment are filled; (2) the
 * batch takes the segments that were filled, and no others.
 */
import { deviceWriteUncached } from "../device/device";
import { SegmentKind } from "../format/segment";
import { BLOCK_SIZE_LOG2 } from "../limits";
import { CHUNK_SIZE } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";
import { framesEnsure, writeOut } from "./append";
import { headerBlocks, segmentAt, segmentOffset } from "./segments";
import { fenceCheck } from "./superblock-store";

/** Blocks that a record may ask for beyond what it takes, and per segment: its header, its end, what a value's parts skip. */
const SLACK_BLOCKS: u32 = 32;
const SLACK_PER_SEGMENT: u32 = 3;

/**
 * Makes sure that a batch of at most `blocks` blocks, over at most `segments` segments beyond the open one, which were
 * reserved, meets no full disk before its end. NO_SPACE, DEVICE_WRITE, FENCED. Writes as much as the batch itself where
 * that outgrows the write buffer, else nothing.
 */
export function roomProve(blocks: u32, segments: u32): i32 {
  const most = blocks + SLACK_BLOCKS + (SLACK_PER_SEGMENT + headerBlocks()) * (segments + 2);
  if (most < root.frameCount) return framesEnsure(most);
  const fenced = fenceCheck();
  if (fenced < 0) return fenced;
  // What was written before the batch leaves the buffer with its first blocks.
  const written = writeOut(root.tailBlock + (root.tailOpen ? 0 : 1));
  if (written < 0) return written;
  memory.fill(<usize>root.readStaging, 0, CHUNK_SIZE);
  if (root.segmentOpenBlock < root.segmentBlocks) {
    const from = root.segmentOpenBlock + (root.tailOpen ? 0 : 1);
    const filled = fill(root.segmentOpen, from);
    if (filled < 0) return filled;
  }
  let first: u32 = 0;
  let last: u32 = 0;
  for (let i = root.allotmentStart; segments && i < root.allotmentEnd; i++) {
    const state = segmentAt(i);
    if (state.kind != SegmentKind.FREE) continue;
    // What this mount wrote before, and synced, has its place.
    const from = state.closedGroup && state.closedGroup <= root.durableGroup ? state.end : 0;
    const filled = fill(i, from);
    if (filled < 0) return filled;
    state.next = 0;
    if (last) segmentAt(last - 1).next = i + 1;
    else first = i + 1;
    last = i + 1;
    segments--;
  }
  root.takeFirst = first;
  return Status.OK;
}

/** Fills a segment with zeros from a block on. */
function fill(index: u32, from: u32): i32 {
  const end = segmentOffset(index + 1);
  for (let offset = segmentOffset(index) + ((<u64>from) << BLOCK_SIZE_LOG2); offset < end; ) {
    const size = <u32>min<u64>(end - offset, <u64>CHUNK_SIZE);
    const status = deviceWriteUncached(offset, root.readStaging, size);
    if (status < 0) return status;
    offset += size;
  }
  return Status.OK;
}
