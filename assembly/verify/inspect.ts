/**
 * Looking at single blocks of a device that need not be mounted, and may be damaged: what a block claims to be, whether
 * that is proven, and where its records lie. What the fields say is shown by the store, from the layout that is written
 * out of assembly/format.
 *
 * ```
 * record as listed at WORKSPACE, 40 bytes
 *    0  u32 offset in the block    4  u32 kind          8  u32 flags       12  u32 offset of the key in the record
 *   16  u32 key size              20  u32 value size   24  u32 part size   28  u32 part, or count of parts
 *   32  f64 sequence
 * ```
 */
import { deviceRead } from "../device/device";
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  BlockFlags,
  BlockHeader,
  blockIsZero,
  NO_RECORD,
} from "../format/block";
import { Record, RecordFlags, recordKeyOffset, recordPartSize, recordSpan, recordValid } from "../format/record";
import { SegmentKind, segmentHeaderValid } from "../format/segment";
import { SUPERBLOCK_MAGIC, Superblock, superblockIntact } from "../format/superblock";
import {
  BLOCK_SIZE,
  BLOCK_SIZE_LOG2,
  SEGMENT_BLOCKS_MAX,
  SEGMENTS_OFFSET,
  SUPERBLOCK_COPIES,
  SUPERBLOCK_STRIDE,
} from "../limits";
import { segmentAt } from "../log/segments";
import { Space } from "../log/space";
import { probe, superblockAccept } from "../recovery/mount";
import { READ_PLAN, root, SUPERBLOCK_A, SUPERBLOCK_B, WORKSPACE } from "../root";
import { Status } from "../status";
import { blockFault, segmentEnd } from "./source";
import { Fault } from "./state";

const ENTRY_SIZE: usize = 40;

/** What `inspectBlock` answers beside a status: one of these, and HEADER where it applies. */
namespace BlockLook {
  export const SOUND: i32 = 0;
  export const DAMAGED: i32 = 1;
  export const MISPLACED: i32 = 2;
  export const BLANK: i32 = 3;
  /** It is a segment's header. */
  export const HEADER: i32 = 16;
}

/**
 * Looks for a store, as `probe`, and takes over the geometry and the seed of the checks. Where no copy of the superblock
 * is intact, those of the first one that can be: the answer is CORRUPT all the same.
 */
export function inspectBegin(device: u32): i32 {
  root.readOnly = 1;
  const probed = probe(device);
  const best = changetype<Superblock>(SUPERBLOCK_A);
  if (probed == Status.CORRUPT) {
    for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
      if (deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_A, <u32>BLOCK_SIZE) < 0) continue;
      if (best.magic == SUPERBLOCK_MAGIC && superblockAccept(best, best.engine) == Status.OK) break;
    }
    return probed;
  }
  if (probed < 0 && probed != Status.UNSUPPORTED_FORMAT) return probed;
  if (!probed) return probed;
  const accepted = superblockAccept(best, best.engine);
  return accepted < 0 && probed > 0 ? accepted : probed;
}

/** Reads a copy of the superblock to SUPERBLOCK_B: 1 when it is intact, 0 when not, 3 when all of it is zero; statuses. */
export function inspectSuperblock(copy: u32): i32 {
  const status = deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_B, <u32>BLOCK_SIZE);
  if (status < 0) return status;
  if (superblockIntact(changetype<Superblock>(SUPERBLOCK_B))) return 1;
  return blockIsZero(SUPERBLOCK_B) ? BlockLook.BLANK : 0;
}

/** Reads a device block to SUPERBLOCK_B: what it is (BlockLook), or DEVICE_READ or DEVICE_SHRUNK. */
export function inspectBlock(deviceBlock: f64): i32 {
  const block = <u64>deviceBlock;
  const status = deviceRead(block << BLOCK_SIZE_LOG2, SUPERBLOCK_B, <u32>BLOCK_SIZE);
  if (status < 0) return status;
  if (blockIsZero(SUPERBLOCK_B)) return BlockLook.BLANK;
  const kind = blockFault(SUPERBLOCK_B, block, 0);
  const header = segmentHeaderValid(SUPERBLOCK_B) ? BlockLook.HEADER : 0;
  if (!kind) return BlockLook.SOUND | header;
  return (kind == Fault.BLOCK_DAMAGED ? BlockLook.DAMAGED : BlockLook.MISPLACED) | header;
}

/**
 * Lists the records that start in the block in SUPERBLOCK_B: how many there are. When bytes follow that are no record it
 * is -1 minus the count. Of a damaged block, it is what its bytes can be taken for.
 */
export function inspectRecords(): i32 {
  return recordsList(SUPERBLOCK_B);
}

/** `inspectRecords` of the block in any frame. */
export function recordsList(frame: usize): i32 {
  const header = changetype<BlockHeader>(frame);
  if (header.flags & BlockFlags.SEGMENT_HEADER || header.first == <u16>NO_RECORD) return 0;
  const used = min(<u32>header.used, BLOCK_PAYLOAD_SIZE);
  // Without a geometry any value may fit.
  const segmentBlocks = root.segmentBlocks ? root.segmentBlocks : SEGMENT_BLOCKS_MAX;
  const first = <u32>header.deviceBlock - <u32>(SEGMENTS_OFFSET >> BLOCK_SIZE_LOG2);
  const blocksLeft = segmentBlocks - 1 - (first & (segmentBlocks - 1));
  let count: i32 = 0;
  for (let at = <u32>header.first; at < used; ) {
    const record = frame + BLOCK_HEADER_SIZE + at;
    if (!recordValid(record, used - at, blocksLeft)) return -1 - count;
    const entry = WORKSPACE + <usize>count * ENTRY_SIZE;
    const view = changetype<Record>(record);
    const keyOffset = recordKeyOffset(view.flags);
    store<u32>(entry, BLOCK_HEADER_SIZE + at);
    store<u32>(entry, view.kind, 4);
    store<u32>(entry, view.flags, 8);
    store<u32>(entry, keyOffset, 12);
    store<u32>(entry, view.keySize, 16);
    store<u32>(entry, view.valueSize, 20);
    store<u32>(entry, recordPartSize(record), 24);
    store<u32>(entry, <u32>view.flags & RecordFlags.EXTENTS ? load<u32>(record + keyOffset - 4) : 0, 28);
    store<f64>(entry, <f64>view.sequence, 32);
    count++;
    at += recordSpan(record, used - at);
  }
  return count;
}

/** A figure of a segment of a mounted store: 0 kind, 0 when free; 1 blocks in use; 2 live bytes. */
export function segmentFigure(segment: u32, what: u32): f64 {
  if (segment >= root.segmentCount) return -1;
  switch (what) {
    case 0:
      return isUsed(segment) ? <f64>segmentAt(segment).kind : <f64>SegmentKind.FREE;
    case 1:
      return isUsed(segment) ? <f64>segmentEnd(segment) : 0;
    default:
      return <f64>segmentAt(segment).liveBytes;
  }
}

function isUsed(segment: u32): bool {
  return segmentAt(segment).space != Space.FREE;
}

if (WORKSPACE + (<usize>BLOCK_PAYLOAD_SIZE / 24 + 1) * ENTRY_SIZE > READ_PLAN) ERROR("the list outgrew its place");
