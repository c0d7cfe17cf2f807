/**
 * The stored form of a compressed value: what a record with the flag COMPRESSED holds instead of the value, whose size
 * its head says.
 *
 * ```
 * up to 64 KiB    one LZ4 block (bytes/lz4.ts)
 * more            u32 for each 64 KiB of the value: where what stands for them ends in the stored form; bit 31: they stand
 *                 there as they are, else as an LZ4 block; then one after the other
 * ```
 *
 * So 64 KiB of a large value are read without the others, and a value is written without all of it being in memory. A
 * stored form is at least a sixteenth smaller than its value, or the value is stored as it is.
 */
import { LZ4_SIZE_MAX } from "../bytes/lz4";
import { RAW_FIELD_SIZE } from "./record";

/** Bytes of a value that are compressed by themselves, but for the last ones. */
export const PIECE_SIZE: u32 = LZ4_SIZE_MAX;
export const PIECE_SIZE_LOG2: u32 = 16;
/** Bit of where a piece ends: it stands as it is. */
export const PIECE_RAW: u32 = 0x80000000;
const WORTH_SHARE: u32 = 16;

if (1 << PIECE_SIZE_LOG2 != PIECE_SIZE) ERROR("PIECE_SIZE");

/** Pieces of a value. */
export function pieceCount(rawSize: u32): u32 {
  return (rawSize + PIECE_SIZE - 1) >>> PIECE_SIZE_LOG2;
}

/** Bytes of a piece of a value. */
export function pieceSizeOf(rawSize: u32, piece: u32): u32 {
  return min(PIECE_SIZE, rawSize - (piece << PIECE_SIZE_LOG2));
}

/** Bytes before the first piece. */
export function pieceIndexSize(rawSize: u32): u32 {
  return rawSize > PIECE_SIZE ? pieceCount(rawSize) << 2 : 0;
}

/** Bytes that the stored form of a value has at most. */
export function storedSizeMax(rawSize: u32): u32 {
  return rawSize - rawSize / WORTH_SHARE - RAW_FIELD_SIZE;
}
