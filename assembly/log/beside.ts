/**
 * What a `readOnly` store asks when it does not find what it looked for: has the writer beside it gone on?
 *
 * That writer may use a segment anew, fill one with zeros before it does (log/prove.ts), or cut it off with the file's end
 * (log/shrink.ts), and may be at it in this moment. None of that is damage.
 */
import { deviceRead } from "../device/device";
import { BlockHeader, blockIsZero, blockValid } from "../format/block";
import { Superblock, superblockIntact } from "../format/superblock";
import { BLOCK_SIZE, BLOCK_SIZE_LOG2, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../limits";
import { root, SUPERBLOCK_B } from "../root";
import { Status } from "../status";
import { segmentAt, segmentOf, segmentOffset } from "./segments";

/** What is just being written looks torn for as long as it takes to copy a block. */
const LOOKS_MAX: u32 = 8;

/**
 * Looks again at a block of a segment that counted when this store was opened. OK: the block is in `frame` after all;
 * SNAPSHOT_EXPIRED: the writer has gone on over it; CORRUPT, DEVICE_SHRUNK, DEVICE_READ. A few reads.
 */
export function blockLookAgain(offset: u64, frame: usize): i32 {
  const index = segmentOf(offset);
  const generation = segmentAt(index).generation;
  let status: i32 = Status.CORRUPT;
  for (let look: u32 = 0; look < LOOKS_MAX; look++) {
    status = deviceRead(offset, frame, <u32>BLOCK_SIZE);
    if (status == Status.DEVICE_READ) return status;
    if (status == Status.OK) {
      if (blockValid(frame, offset >> BLOCK_SIZE_LOG2)) {
        const found = changetype<BlockHeader>(frame).generation;
        if (found == generation) return Status.OK;
        // An older one is what a lost write leaves.
        if (found > generation) return Status.SNAPSHOT_EXPIRED;
      }
      status = Status.CORRUPT;
    }
    if (segmentMovedOn(index, frame)) return Status.SNAPSHOT_EXPIRED;
  }
  root.faultOffset = offset;
  return status;
}

/**
 * Whether a segment is no more what it was when this `readOnly` store was opened. Reads its header to `frame`; where the
 * device ends before it, the superblock.
 */
export function segmentMovedOn(index: u32, frame: usize): bool {
  if (!root.readOnly) return false;
  const offset = segmentOffset(index);
  const status = deviceRead(offset, frame, <u32>BLOCK_SIZE);
  if (status == Status.DEVICE_SHRUNK) return index >= segmentCountNow();
  if (status < 0) return false;
  const header = changetype<BlockHeader>(frame);
  if (blockValid(frame, offset >> BLOCK_SIZE_LOG2)) return header.generation > segmentAt(index).generation;
  return blockIsZero(frame);
}

/** Segments that the device has by the newest superblock on it, or as many as can be when none is intact. */
function segmentCountNow(): u32 {
  const superblock = changetype<Superblock>(SUPERBLOCK_B);
  let generation: u64 = 0;
  let count = u32.MAX_VALUE;
  for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
    if (deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE) < 0) continue;
    if (!superblockIntact(superblock) || superblock.generation <= generation) continue;
    generation = superblock.generation;
    count = superblock.segmentCount;
  }
  return count;
}
