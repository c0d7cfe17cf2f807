/**
 * Sizes that the format and the memory layout share. Bytes unless the name says otherwise.
 */

/** The unit of I/O, of checksums and of the log. */
export const BLOCK_SIZE: usize = 4096;
export const BLOCK_SIZE_LOG2: u32 = 12;

/** The first MiB of a device holds the four copies of the superblock; segments follow. */
export const SEGMENTS_OFFSET: u64 = 1 << 20;
export const SUPERBLOCK_STRIDE: u64 = 256 << 10;
export const SUPERBLOCK_COPIES: i32 = 4;

export const SEGMENT_BLOCKS_MIN: u32 = 16;
export const SEGMENT_BLOCKS_MAX: u32 = 16384;
export const SEGMENT_BLOCKS_DEFAULT: u32 = 256;

export const KEY_SIZE_MAX: u32 = 2048;
export const VALUE_SIZE_MAX: u32 = 64 << 20;
/** A batch's records, headers included. */
export const BATCH_SIZE_MAX: f64 = 1073741824.0;

/** Values up to this size are kept in their key node while memory permits. */
export const INLINE_VALUE_SIZE_MAX: u32 = 128;

/** Sequences are issued under a durable ceiling that is raised by this much. */
export const SEQUENCE_STRIDE: u64 = 1 << 24;
export const SEQUENCE_MAX: u64 = (1 << 48) - 1;
