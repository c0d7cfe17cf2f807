/**
 * The note: which segments count. One stands in the header of every segment of the log, and one may stand in the log as a
 * record. The newest note of the durable groups rules: what it does not count may be used anew, what it counts must be
 * there.
 *
 * ```
 *   0  serial          mount epoch in the high half, a counter in the low one; the highest is the newest
 *   8  generation sum  of the lives that count, wrapping
 *  16  segment count   bits in the map
 *  20  reserved
 *  24  dropped tombstones  highest sequence of a deletion that the lives which count need no longer hold
 *  32  map             one bit a segment, from the lowest of the first byte on: set when the segment counts. Then zeros
 *                      to a multiple of 8 bytes
 * ```
 */

export const NOTE_HEADER_SIZE: u32 = 32;
/** The map fits one chunk of memory together with its note's header. */
export const NOTE_SEGMENTS_MAX: u32 = (65536 - NOTE_HEADER_SIZE) << 3;

@unmanaged
export class Note {
  serial: u64;
  generationSum: u64;
  segmentCount: u32;
  reserved: u32;
  droppedTombstones: u64;
}

if (offsetof<Note>() != NOTE_HEADER_SIZE) ERROR("Note layout");

/** Bytes of a note for so many segments. */
export function noteSizeFor(segmentCount: u32): u32 {
  return NOTE_HEADER_SIZE + (((segmentCount + 63) >>> 6) << 3);
}
