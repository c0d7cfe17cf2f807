/**
 * Values that are too large for one call of the core, compressed on their way into it: a piece of 64 KiB at a time, twice. The
 * first time each is measured, so that the record can say how large its value will be and where its pieces are; the second
 * time it is written. So no copy of the value is ever made, and one that would not get smaller is stored as it is.
 */
import type { Core } from "./core.ts";

/** Bytes of a value that are compressed by themselves. */
export const PIECE_SIZE = 65_536;
const PIECE_RAW = 0x8000_0000;
const SIZE_MASK = 0x7fff_ffff;
/** A stored form is so much smaller, or it is not worth it; see `assembly/format/compressed.ts`. */
const WORTH_SHARE = 16;
const RAW_FIELD_SIZE = 4;

/** Where the pieces of a value will end in its stored form, for `placesIn`; `undefined` when it is better stored as it is. */
export function measurePieces(core: Core, bytes: Uint8Array): Uint32Array | undefined {
  const count = Math.ceil(bytes.length / PIECE_SIZE);
  const places = new Uint32Array(count);
  const most = bytes.length - Math.floor(bytes.length / WORTH_SHARE) - RAW_FIELD_SIZE;
  let end = count * 4;
  for (let piece = 0; piece < count; piece++) {
    const source = bytes.subarray(piece * PIECE_SIZE, (piece + 1) * PIECE_SIZE);
    core.bytes.set(source, core.exchangeIn);
    const packed = core.exports.compressMeasure(source.length) >>> 0;
    end += packed & SIZE_MASK;
    if (end > most) return undefined;
    places[piece] = (end | (packed & PIECE_RAW)) >>> 0;
  }
  return places;
}

/** Puts what was measured into the exchange area, for `writeBegin`. */
export function placesIn(core: Core, places: Uint32Array): void {
  core.bytes.set(new Uint8Array(places.buffer), core.exchangeIn);
}

/** The bytes, in memory that no other thread writes to: they are looked at twice. */
export function unshared(bytes: Uint8Array): Uint8Array {
  return bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes);
}
