/**
 * Compressing values on their way into the log, where the store was opened with compression. Only what is not kept in a
 * key's node is worth it; what does not get smaller by a sixteenth goes as it is.
 *
 * ```
 * working memory, four chunks, for writing and reading
 *        0  the writer's table
 *   0x4000  a stored form: of a value of one call, or a piece of a larger one
 *  0x24100  a piece as it was given, or the places of the pieces of the value that is streamed
 * ```
 */
import { LZ4_SLACK, LZ4_TABLE_SIZE, lz4Compress } from "../bytes/lz4";
import {
  PIECE_RAW,
  PIECE_SIZE,
  PIECE_SIZE_LOG2,
  pieceCount,
  pieceIndexSize,
  pieceSizeOf,
  storedSizeMax,
} from "../format/compressed";
import { Incompatible } from "../format/superblock";
import { streamAbort, streamWrite } from "../log/stream";
import { featureReserve } from "../log/superblock-store";
import { CHUNK_SIZE, chunkTakeRun } from "../memory/chunks";
import { EXCHANGE_IN, EXCHANGE_SIZE, root } from "../root";
import { Status } from "../status";

/** Smaller values are stored as they are. */
export const COMPRESS_SIZE_MIN: u32 = 256;
const CHUNKS: u32 = 4;
const STORED: usize = LZ4_TABLE_SIZE;
const PIECE: usize = STORED + EXCHANGE_SIZE + 0x100;

if (PIECE + PIECE_SIZE > <usize>CHUNKS * CHUNK_SIZE || LZ4_SLACK > 0x80) ERROR("the working memory");

/** Makes sure of the working memory. False when there is none to be had. */
export function compressPrepare(): bool {
  if (!root.compressArea) root.compressArea = <u32>chunkTakeRun(CHUNKS);
  return root.compressArea != 0;
}

/** Where a stored form is put together. */
export function storedAt(): usize {
  return <usize>root.compressArea + STORED;
}

/** Where a piece is put that only part of is wanted of. */
export function pieceAt(): usize {
  return <usize>root.compressArea + PIECE;
}

/** Compresses the `size` bytes in EXCHANGE_IN to `storedAt`: bytes of the stored form, or 0 when it is not worth it. */
export function valueCompress(size: u32): u32 {
  const most = storedSizeMax(size);
  if (size <= PIECE_SIZE) return lz4Compress(EXCHANGE_IN, size, storedAt(), most, root.compressArea);
  let stored = pieceIndexSize(size);
  for (let piece: u32 = 0; piece < pieceCount(size); piece++) {
    const from = EXCHANGE_IN + ((<usize>piece) << PIECE_SIZE_LOG2);
    const packed = pieceCompress(from, pieceSizeOf(size, piece), storedAt() + stored);
    stored += packed & ~PIECE_RAW;
    if (stored > most) return 0;
    store<u32>(storedAt() + ((<usize>piece) << 2), stored | (packed & PIECE_RAW));
  }
  return stored;
}

/** Writes what stands for a piece: its size, with PIECE_RAW when that is the piece as it is. */
function pieceCompress(source: usize, size: u32, target: usize): u32 {
  const packed = lz4Compress(source, size, target, size - 1, root.compressArea);
  if (packed) return packed;
  memory.copy(target, source, size);
  return size | PIECE_RAW;
}

/** What stands for the piece of `size` bytes in EXCHANGE_IN, PIECE_SIZE at most: its size, with PIECE_RAW as it is. */
export function compressMeasure(size: u32): u32 {
  return pieceCompress(EXCHANGE_IN, min(size, PIECE_SIZE), storedAt());
}

/**
 * Looks at the places of the pieces of a value of `rawSize` bytes, which stand in EXCHANGE_IN: bytes of its stored form, or
 * 0 when they make no sense. They are kept for the pieces that follow.
 */
export function placesTake(rawSize: u32): u32 {
  if (rawSize <= PIECE_SIZE) return 0;
  const count = pieceCount(rawSize);
  let end = count << 2;
  for (let piece: u32 = 0; piece < count; piece++) {
    const place = load<u32>(EXCHANGE_IN + ((<usize>piece) << 2));
    const packed = (place & ~PIECE_RAW) - end;
    const size = pieceSizeOf(rawSize, piece);
    if (place & PIECE_RAW ? packed != size : packed - 1 >= size - 1) return 0;
    end = place & ~PIECE_RAW;
  }
  memory.copy(pieceAt(), EXCHANGE_IN, count << 2);
  root.streamPiece = 0;
  return end <= storedSizeMax(rawSize) ? end : 0;
}

/** Appends the places of the pieces, which come first. As `streamWrite`. */
export function placesWrite(rawSize: u32): i32 {
  return streamWrite(pieceAt(), pieceIndexSize(rawSize));
}

/**
 * Compresses the next piece of the streamed value, `size` bytes in EXCHANGE_IN, and appends it. INVALID_ARGUMENT, and the
 * value is given up, when it is not the piece that was measured; else as `streamWrite`.
 */
export function pieceWrite(size: u32): i32 {
  const piece = root.streamPiece;
  const places = pieceAt();
  const begin = piece ? load<u32>(places + ((<usize>piece) << 2) - 4) & ~PIECE_RAW : pieceIndexSize(root.streamRawSize);
  const known = piece < pieceCount(root.streamRawSize) && size == pieceSizeOf(root.streamRawSize, piece);
  const packed = known ? pieceCompress(EXCHANGE_IN, size, storedAt()) : 0;
  if (!known || load<u32>(places + ((<usize>piece) << 2)) != ((begin + packed) | (packed & PIECE_RAW))) {
    streamAbort();
    return Status.INVALID_ARGUMENT;
  }
  root.streamPiece = piece + 1;
  return streamWrite(storedAt(), packed & ~PIECE_RAW);
}

/** Makes sure that the superblock says that values are compressed. As `featureReserve`. */
export function compressReserve(): i32 {
  return featureReserve(Incompatible.LZ4);
}
