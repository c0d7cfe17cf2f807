/**
 * Reading compressed values: as much of one as is asked for, piece by piece (format/compressed.ts). What does not
 * decompress to exactly the size that the record says is CORRUPT, and no byte of it is given out.
 */
import { copyBytes } from "../bytes/compare";
import { lz4Decompress } from "../bytes/lz4";
import { PIECE_RAW, PIECE_SIZE, PIECE_SIZE_LOG2, pieceIndexSize, pieceSizeOf } from "../format/compressed";
import { BLOCK_SIZE } from "../limits";
import { root } from "../root";
import { Status } from "../status";
import { compressPrepare, pieceAt, storedAt } from "./compress";
import { partsCopy, recordFetch } from "./value";

/** Copies `size` bytes from `offset` on of the selected value, which is compressed, to `target`. OK or a status. */
export function compressedCopy(offset: u32, target: usize, size: u32): i32 {
  if (!compressPrepare()) return Status.OUT_OF_MEMORY;
  for (let piece = offset >>> PIECE_SIZE_LOG2; size; piece++) {
    const within = offset - (piece << PIECE_SIZE_LOG2);
    const pieceSize = pieceSizeOf(root.readSize, piece);
    const count = min(size, pieceSize - within);
    const found = pieceFind(piece);
    if (found < 0) return found;
    let status: i32;
    if (root.pieceIsRaw) {
      status = partsCopy(root.pieceFrom + within, target, count);
    } else if (count == pieceSize) {
      status = pieceRead(target, pieceSize);
    } else {
      status = pieceRead(pieceAt(), pieceSize);
      if (status == Status.OK) copyBytes(target, pieceAt() + within, count);
    }
    if (status < 0) return status;
    offset += count;
    target += count;
    size -= count;
  }
  return Status.OK;
}

/**
 * Finds what stands for a piece of the selected value: [`pieceFrom`, `pieceTo`) of its stored form, `pieceIsRaw`. CORRUPT when
 * it cannot be there; else as reading.
 */
export function pieceFind(piece: u32): i32 {
  const rawSize = root.readSize;
  root.pieceFrom = 0;
  root.pieceTo = root.readStored;
  root.pieceIsRaw = 0;
  if (rawSize <= PIECE_SIZE) return Status.OK;
  if (!compressPrepare()) return Status.OUT_OF_MEMORY;
  const places = storedAt();
  const at = placesFrom(piece);
  const status = partsCopy(at, places, placesTo(piece) - at);
  if (status < 0) return status;
  const place = load<u32>(places + (piece ? 4 : 0));
  const from = piece ? load<u32>(places) & ~PIECE_RAW : pieceIndexSize(rawSize);
  const to = place & ~PIECE_RAW;
  const size = pieceSizeOf(rawSize, piece);
  const sound =
    from >= pieceIndexSize(rawSize) &&
    to > from &&
    to <= root.readStored &&
    (place & PIECE_RAW ? to - from == size : to - from < size);
  if (!sound) return corrupt();
  root.pieceFrom = from;
  root.pieceTo = to;
  root.pieceIsRaw = place >>> 31;
  return Status.OK;
}

/** Where in the stored form of a value of several pieces begins what says where a piece is, and where it ends. */
export function placesFrom(piece: u32): u32 {
  return piece ? (piece - 1) << 2 : 0;
}

/** See `placesFrom`. */
export function placesTo(piece: u32): u32 {
  return (piece + 1) << 2;
}

/** Decompresses the piece that was found. */
function pieceRead(target: usize, pieceSize: u32): i32 {
  const size = root.pieceTo - root.pieceFrom;
  const start =
    (<u32>root.readAddress & (<u32>BLOCK_SIZE - 1)) + root.readKeyOffset + root.readKeySize + root.pieceFrom;
  let source = storedAt();
  if (!root.readTable && start + size <= <u32>BLOCK_SIZE) {
    // Most lie within one block: no copy then.
    const frame = recordFetch();
    if (frame < 0) return <i32>frame;
    source = <usize>frame + start;
  } else {
    const status = partsCopy(root.pieceFrom, source, size);
    if (status < 0) return status;
  }
  return lz4Decompress(source, size, target, pieceSize) ? Status.OK : corrupt();
}

function corrupt(): i32 {
  root.faultOffset = root.readAddress;
  return Status.CORRUPT;
}
