/**
 * What compaction reads: windows of 16 blocks of the segment that is being moved, ahead of their use where the host reads
 * without blocking.
 *
 * A window that landed may be stale: it is used only for the segment, the life and the place that it was read for. A
 * block of a durable, closed segment never changes in a life, so nothing else can be wrong with it but the device.
 *
 * ```
 * window, 24 bytes
 *   0  u64 generation    8  u32 segment, index plus 1    12  u32 number in its segment    16  u32 frames
 *  20  u32 state: 0 free, 1 being read, 2 landed, 3 could not be read
 * ```
 */
import { deviceRead } from "../device/device";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2 } from "../limits";
import { frameAtAddress } from "../log/append";
import { SegmentState, segmentAt, segmentOffset } from "../log/segments";
import { chunkTake } from "../memory/chunks";
import { MOVE_WINDOWS, root } from "../root";
import { Status } from "../status";

/** Whether a window is being read, of the present source or of one that was left. */
export function sourceIsRead(): bool {
  for (let i: u32 = 0; i < WINDOWS; i++)
    if (windowOf(i << WINDOW_BLOCKS_LOG2).state == WindowState.READING) return true;
  return false;
}

/** Blocks of a window. */
export const WINDOW_BLOCKS: u32 = 16;
const WINDOW_BLOCKS_LOG2: u32 = 4;
/** Windows that are read ahead. */
const WINDOWS: u32 = 8;

namespace WindowState {
  export const FREE: u32 = 0;
  export const READING: u32 = 1;
  export const LANDED: u32 = 2;
  export const FAILED: u32 = 3;
}

@unmanaged
class Window {
  generation: u64;
  segment: u32;
  number: u32;
  frames: u32;
  state: u32;
}

if (offsetof<Window>() != 24) ERROR("Window layout");

/** Beside statuses: the window is being read, or has yet to be. */
export const SOURCE_WAITS: i32 = 1;

/**
 * Makes the window of block `block` of the source readable through `sourceFrame`. SOURCE_WAITS in a step that waits for its
 * reads; DEVICE_READ, DEVICE_SHRUNK, OUT_OF_MEMORY.
 */
export function sourceOpen(segment: u32, state: SegmentState, block: u32): i32 {
  const window = windowOf(block);
  if (isOf(window, segment, state, block) && window.state == WindowState.LANDED) {
    root.moveFrames = window.frames;
    root.moveIsRead = 1;
    return Status.OK;
  }
  if (!root.moveOwnFrames) {
    root.moveOwnFrames = <u32>chunkTake();
    if (!root.moveOwnFrames) return Status.OUT_OF_MEMORY;
  }
  const first = block & (WINDOW_BLOCKS - 1);
  const base = segmentOffset(segment - 1);
  if (isResident(base, block, state)) {
    root.moveFrames = root.moveOwnFrames;
    root.moveIsRead = 0;
    return Status.OK;
  }
  // One that could not be read ahead is read here, so that the failure is told as any other.
  const failed = isOf(window, segment, state, block) && window.state == WindowState.FAILED;
  if (root.stepWaits && !failed) return SOURCE_WAITS;
  root.moveFrames = root.moveOwnFrames;
  root.moveIsRead = 1;
  const size = (WINDOW_BLOCKS - first) << (<u32>BLOCK_SIZE_LOG2);
  const target = <usize>root.moveFrames + ((<usize>first) << BLOCK_SIZE_LOG2);
  return deviceRead(base + ((<u64>block) << BLOCK_SIZE_LOG2), target, size);
}

/**
 * Finds a block of the window that is open: `moveFrame`, and in `moveInMemory` whether this mount wrote it and still holds
 * it. DEVICE_READ, DEVICE_SHRUNK.
 */
export function sourceBlock(offset: u64, block: u32): i32 {
  const inMemory = frameAtAddress(offset);
  root.moveInMemory = inMemory ? 1 : 0;
  root.moveFrame = <u32>inMemory;
  if (inMemory) return Status.OK;
  root.moveFrame = root.moveFrames + ((block & (WINDOW_BLOCKS - 1)) << (<u32>BLOCK_SIZE_LOG2));
  return root.moveIsRead ? Status.OK : deviceRead(offset, <usize>root.moveFrame, <u32>BLOCK_SIZE);
}

/**
 * The next read ahead of the segment that is being moved: its device offset, with the place in `resultPointer`, the size in
 * `resultSize` and the window in `resultFlags`; -1 when there is none. The host reads, and reports with `sourceLanded`.
 */
export function sourcePlan(): f64 {
  if (!root.moveSegment || root.blocked) return -1;
  const segment = root.moveSegment;
  const state = segmentAt(segment - 1);
  const end = state.end ? min(state.end, root.segmentBlocks) : root.segmentBlocks;
  const from = root.moveBlock & ~(WINDOW_BLOCKS - 1);
  for (let block = from; block < end && block < from + WINDOWS * WINDOW_BLOCKS; block += WINDOW_BLOCKS) {
    const window = windowOf(block);
    if (window.state == WindowState.READING || isOf(window, segment, state, block)) continue;
    const offset = segmentOffset(segment - 1) + ((<u64>block) << BLOCK_SIZE_LOG2);
    if (isResident(segmentOffset(segment - 1), max(block, root.moveBlock), state)) continue;
    if (!window.frames) {
      window.frames = <u32>chunkTake();
      if (!window.frames) return -1;
    }
    window.segment = segment;
    window.generation = state.generation;
    window.number = block >>> WINDOW_BLOCKS_LOG2;
    window.state = WindowState.READING;
    root.resultPointer = window.frames;
    root.resultSize = WINDOW_BLOCKS << (<u32>BLOCK_SIZE_LOG2);
    root.resultFlags = windowIndex(block);
    root.deviceReads++;
    return <f64>offset;
  }
  return -1;
}

/** Takes the host's report on a read ahead. */
export function sourceLanded(index: u32, ok: bool): void {
  if (index >= WINDOWS) return;
  const window = windowAt(index);
  if (window.state == WindowState.READING) window.state = ok ? WindowState.LANDED : WindowState.FAILED;
}

/** Whether memory still holds what is left of a window: its ends, and so most of what lies between. */
function isResident(base: u64, block: u32, state: SegmentState): bool {
  const end = min((block | (WINDOW_BLOCKS - 1)) + 1, state.end ? state.end : root.segmentBlocks);
  if (block >= end) return false;
  return frameOfBlock(base, block) != 0 && frameOfBlock(base, end - 1) != 0;
}

function frameOfBlock(base: u64, block: u32): usize {
  return frameAtAddress(base + ((<u64>block) << BLOCK_SIZE_LOG2));
}

function isOf(window: Window, segment: u32, state: SegmentState, block: u32): bool {
  if (window.state == WindowState.FREE || window.segment != segment) return false;
  return window.number == block >>> WINDOW_BLOCKS_LOG2 && window.generation == state.generation;
}

function windowOf(block: u32): Window {
  return windowAt(windowIndex(block));
}

function windowIndex(block: u32): u32 {
  return (block >>> WINDOW_BLOCKS_LOG2) & (WINDOWS - 1);
}

function windowAt(index: u32): Window {
  return changetype<Window>(MOVE_WINDOWS + <usize>index * offsetof<Window>());
}

if (<u32>BLOCK_SIZE * WINDOW_BLOCKS != 65536) ERROR("a window fills a chunk");
