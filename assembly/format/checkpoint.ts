/**
 * The checkpoint: all key nodes in the order of their keys, without values, and what is known of the segments that hold
 * their records. It lies in segments of its own kind, whose headers name each other; a root in the superblock names its
 * last block, the summary.
 *
 * ```
 *   0  magic            "CCKP"
 *   4  version          1, or 2 where blocks may be packed
 *   8  sequence         of the last write when it was begun: whatever is newer is replayed from the log
 *  16  position life    generation of the segment of the log that was open then; 0 when none was
 *  24  position segment its index
 *  28  position block   the first block of it that is replayed
 *  32  position group   the commit group that was being filled
 *  40  log life         segments of the log whose generation is above this one are replayed whole
 *  48  copies life      segments of copies from this generation on are replayed whole
 *  56  entry count      keys
 *  64  key bytes        of all keys
 *  72  value bytes      of all values
 *  80  blocks check     checks of all its blocks before the summary, each rotated in to the left by 9 bits
 *  88  block count      blocks before the summary, without headers of segments
 *  92  segment count    entries that tell of segments
 *  96  highest time     u64, milliseconds since 1970
 * ```
 *
 * Each block before the summary stands for itself. Its payload starts with 8 bytes: in the lower 48 bits a sequence that the
 * entries count back from, in the upper 16 the size of its entries where they are packed, else 0. Packed ones are one LZ4 block
 * (bytes/lz4.ts) up to the end of what is in use, others stand as they are. An entry lies within its block, and the first one
 * shares nothing with a key before it.
 *
 * ```
 * entry of a key
 *   u8 flags           2 several extents, 8 value is ASCII, 16 key is ASCII, 1 sizes have two bytes, 64 expiry,
 *                      128 timestamp
 *   u8 widths          two bits each, from the lowest on: of address, sequence and value size; 64: compressed
 *   u8 or u16          bytes that the key shares with the one before it: all that it can
 *   u8 or u16          bytes that follow those
 *   3, 4, 5 or 6       address, less the offset of the first segment, in units of 8 bytes
 *   2, 3, 4 or 6       the block's sequence less the entry's, modulo 2^48
 *   1, 2, 3 or 4       value size, as it was given
 *   u32                bytes of its stored form, where compressed
 *   u64, u64           expiry and timestamp, where flagged
 *   u32                count of extents, where flagged
 *   the key's bytes that are not shared
 * entry of extents, behind their key's
 *   u8 4               u8 0                  u16 count
 *   u64 address and u32 size of each
 * entry of a segment that counts, behind all keys
 *   u8 32              u8 kind               u16 0             u32 index
 *   u64 generation     u64 newest deletion   u32 bytes of deletions      u32 blocks in use
 * ```
 */

export const CHECKPOINT_MAGIC: u32 = 0x504b4343;
export const CHECKPOINT_VERSION: u32 = 1;
/** That of one with packed blocks: only in a store whose superblock says that there is LZ4. */
export const CHECKPOINT_VERSION_PACKED: u32 = 2;
/** Bytes before a block's first entry. */
export const ENTRIES_OFFSET: u32 = 8;
/** Bytes that packed entries of one block may have. */
export const ENTRIES_SIZE_MAX: u32 = 32768;
/** Bytes of an entry beside its key, at most: head, fields, stored size, expiry, timestamp, count of extents. */
export const ENTRY_HEAD_MAX: u32 = 2 + 4 + 6 + 6 + 4 + 4 + 16 + 4;
const SIZE_SHIFT: u64 = 48;
/** Bit of an entry's widths: the value is compressed. */
export const ENTRY_COMPRESSED: u32 = 64;
export const EXTENTS_HEAD_SIZE: u32 = 4;
export const EXTENT_ITEM_SIZE: u32 = 12;
export const SEGMENT_ITEM_SIZE: u32 = 32;

/** What an entry's first byte says beside what the flags of a key node of the same number do. */
export namespace EntryFlags {
  export const LONG: u32 = 1;
  export const EXTENTS: u32 = 2;
  export const MORE_EXTENTS: u32 = 4;
  export const SEGMENT: u32 = 32;
  export const EXPIRY: u32 = 64;
  export const TIMESTAMP: u32 = 128;
}

@unmanaged
export class CheckpointSummary {
  magic: u32;
  version: u32;
  sequence: u64;
  positionGeneration: u64;
  positionSegment: u32;
  positionBlock: u32;
  positionGroup: u64;
  logGeneration: u64;
  copiesGeneration: u64;
  entryCount: u64;
  keyBytes: u64;
  valueBytes: u64;
  blocksCheck: u64;
  blockCount: u32;
  segmentCount: u32;
  highestTimeMs: u64;
}

if (offsetof<CheckpointSummary>("positionGroup") != 32) ERROR("CheckpointSummary layout");
if (offsetof<CheckpointSummary>() != 104) ERROR("CheckpointSummary layout");

/** Bytes of an address by its width's two bits. */
export function addressWidth(bits: u32): u32 {
  return 3 + bits;
}

/** Bytes of a sequence by its width's two bits. */
export function sequenceWidth(bits: u32): u32 {
  return bits == 3 ? 6 : 2 + bits;
}

/** What a block's payload starts with: the sequence, and the size of its entries where they are packed, else 0. */
export function entriesHead(sequence: u64, size: u32): u64 {
  return sequence | ((<u64>size) << SIZE_SHIFT);
}

/** The size of a block's entries by its first 8 bytes, where they are packed, else 0. */
export function entriesSizeOf(head: u64): u32 {
  return <u32>(head >> SIZE_SHIFT);
}

/** Adds a block's check to that of the blocks before it. */
export function checkFold(sum: u64, check: u64): u64 {
  return rotl<u64>(sum, 9) ^ check;
}
