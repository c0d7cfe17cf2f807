/**
 * The block: 4,096 bytes, the unit of I/O and of checksums.
 *
 * ```
 *     0  check        XXH64 over bytes 16 to 4,095, seeded with the store's id; bytes 8 to 15 are room for a longer tag
 *    16  generation   of the segment's life: mount epoch in the high half, a counter in the low one
 *    24  device block index of this block on the device
 *    32  group        number of the commit group: mount epoch in the high 24 bits, a counter below
 *    40  used         bytes of the payload that hold records
 *    42  flags        1 ends a group, 2 segment header, 4 ends its segment
 *    44  first        offset in the payload of the first record that starts in this block, or 0xffff
 *    46  reserved
 *    56  payload      records, 8-byte aligned
 *  4064  trailer      only where flag 1 is set: the durable marks
 * ```
 *
 * A block that names another place, another life of its segment or another store fails, whatever its checksum says.
 */
import { xxh64 } from "../bytes/xxh64";
import { BLOCK_SIZE } from "../limits";
import { root } from "../root";

export const BLOCK_HEADER_SIZE: u32 = 56;
export const BLOCK_PAYLOAD_SIZE: u32 = <u32>BLOCK_SIZE - BLOCK_HEADER_SIZE;
export const GROUP_TRAILER_SIZE: u32 = 32;
export const GROUP_TRAILER_OFFSET: usize = BLOCK_SIZE - GROUP_TRAILER_SIZE;
/** What the payload of a group's last block holds at most. */
export const LAST_PAYLOAD_SIZE: u32 = BLOCK_PAYLOAD_SIZE - GROUP_TRAILER_SIZE;
export const NO_RECORD: u32 = 0xffff;
const CHECK_FROM: usize = 16;

export namespace BlockFlags {
  export const GROUP_END: u32 = 1;
  export const SEGMENT_HEADER: u32 = 2;
  export const SEGMENT_END: u32 = 4;
}

@unmanaged
export class BlockHeader {
  check: u64;
  checkHigh: u64;
  generation: u64;
  deviceBlock: u64;
  group: u64;
  used: u16;
  flags: u16;
  first: u16;
  reserved: u16;
  reservedLong: u64;
}

/** The end of a group: what was durable when the group was handed to the device. */
@unmanaged
export class GroupTrailer {
  /** Newest durable group. */
  durableGroup: u64;
  reserved: u64;
  /** Highest wall-clock time seen, milliseconds since 1970. */
  highestTimeMs: u64;
  /** Highest sequence in this and all earlier groups. */
  sequence: u64;
}

if (offsetof<BlockHeader>("generation") != 16) ERROR("BlockHeader.generation");
if (offsetof<BlockHeader>("used") != 40) ERROR("BlockHeader.used");
if (offsetof<BlockHeader>() != BLOCK_HEADER_SIZE) ERROR("BlockHeader layout");
if (offsetof<GroupTrailer>() != GROUP_TRAILER_SIZE) ERROR("GroupTrailer layout");

/** The trailer of the block in a frame. */
export function trailerOf(frame: usize): GroupTrailer {
  return changetype<GroupTrailer>(frame + GROUP_TRAILER_OFFSET);
}

/** Begins a block in a frame: the header of an empty one, of the group that is being filled, at its place in its life. */
export function blockBegin(frame: usize, generation: u64, deviceBlock: u64): void {
  const header = changetype<BlockHeader>(frame);
  header.check = 0;
  header.checkHigh = 0;
  header.generation = generation;
  header.deviceBlock = deviceBlock;
  header.group = root.group;
  header.used = 0;
  header.flags = 0;
  header.first = <u16>NO_RECORD;
  header.reserved = 0;
  header.reservedLong = 0;
}

/** Checksum of the block in a frame. 0.4 µs. */
export function blockCheck(frame: usize): u64 {
  return xxh64(frame + CHECK_FROM, <u32>(BLOCK_SIZE - CHECK_FROM), root.checkSeed);
}

/** Whether a frame holds an intact block of this store that belongs at `deviceBlock`. */
export function blockValid(frame: usize, deviceBlock: u64): bool {
  const header = changetype<BlockHeader>(frame);
  return (
    header.deviceBlock == deviceBlock &&
    header.checkHigh == 0 &&
    header.used <= <u16>BLOCK_PAYLOAD_SIZE &&
    header.check == blockCheck(frame)
  );
}

/** Whether all of a block is zero. */
export function blockIsZero(frame: usize): bool {
  let any: u64 = 0;
  for (let i: usize = 0; i < BLOCK_SIZE; i += 8) any |= load<u64>(frame + i);
  return any == 0;
}
