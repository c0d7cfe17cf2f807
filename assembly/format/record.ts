/**
 * The record: one key's new state.
 *
 * ```
 *   0  value size    u32; of the whole value, or of this part in an EXTENT record
 *   4  key size      u16
 *   6  kind          1 set, 2 delete, 3 extent, 4 void, 7 note; 5 range tombstone and 6 run entry are reserved
 *   7  flags         1 expiry, 2 timestamp, 4 value is ASCII, 8 key is ASCII, 16 several extents, 32 value is compressed
 *   8  sequence      u48; the two bytes above it are reserved
 *  16  expiry        u64 milliseconds since 1970, where flagged
 *      timestamp     u64, where flagged; like the expiry, of a value of several extents only the first record has it
 *      raw size      u32, where compressed: bytes of the value as it was given, more than the stored form has
 *                    (format/compressed.ts), which is what value and part sizes count; of several extents as the expiry
 *      extent        where flagged: u32 size of this part, u32 number of this part; the first record's number is the
 *                    count of parts
 *      key, value    without a gap; then padding to 8 bytes
 * ```
 *
 * Header and key lie within one block. A value runs on over the payloads of the blocks that follow in its segment.
 * Nothing points to another record: compaction moves them.
 */
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from "../limits";
import { BLOCK_PAYLOAD_SIZE } from "./block";

export const RECORD_HEADER_SIZE: u32 = 16;
export const EXTENT_FIELD_SIZE: u32 = 8;
export const RAW_FIELD_SIZE: u32 = 4;
const SEQUENCE_MASK: u64 = 0xffffffffffff;
/** The highest time that an expiry can be: in the year 10889. */
export const EXPIRY_MAX: u64 = (1 << 48) - 1;

export namespace RecordKind {
  export const SET: u32 = 1;
  export const DELETE: u32 = 2;
  export const EXTENT: u32 = 3;
  export const VOID: u32 = 4;
  /** A note (format/note.ts) as its value, and no key. */
  export const NOTE: u32 = 7;
}

export namespace RecordFlags {
  export const EXPIRY: u32 = 1;
  export const TIMESTAMP: u32 = 2;
  export const ASCII_VALUE: u32 = 4;
  export const ASCII_KEY: u32 = 8;
  export const EXTENTS: u32 = 16;
  export const COMPRESSED: u32 = 32;
  export const KNOWN: u32 = 63;
}

@unmanaged
export class Record {
  valueSize: u32;
  keySize: u16;
  kind: u8;
  flags: u8;
  sequenceWord: u64;

  get sequence(): u64 {
    return this.sequenceWord & SEQUENCE_MASK;
  }
}

if (offsetof<Record>() != RECORD_HEADER_SIZE) ERROR("Record layout");
if (RecordFlags.COMPRESSED >>> 3 != RAW_FIELD_SIZE) ERROR("the raw size's field");

/** Bytes from the record's start to its key. */
export function recordKeyOffset(flags: u32): u32 {
  let size = RECORD_HEADER_SIZE;
  if (flags & RecordFlags.EXPIRY) size += 8;
  if (flags & RecordFlags.TIMESTAMP) size += 8;
  if (flags & RecordFlags.COMPRESSED) size += RAW_FIELD_SIZE;
  if (flags & RecordFlags.EXTENTS) size += EXTENT_FIELD_SIZE;
  return size;
}

/** Bytes of expiry and timestamp, which stand behind the header. */
export function recordWordsSize(flags: u32): u32 {
  return ((flags & RecordFlags.EXPIRY) + ((flags & RecordFlags.TIMESTAMP) >>> 1)) << 3;
}

/** Bytes of expiry, timestamp and raw size. */
export function recordFieldsSize(flags: u32): u32 {
  return recordWordsSize(flags) + ((flags & RecordFlags.COMPRESSED) >>> 3);
}

/** Where a record with the flag COMPRESSED has the size of its value as it was given. */
export function recordRawAt(record: usize): usize {
  return record + RECORD_HEADER_SIZE + recordWordsSize(changetype<Record>(record).flags);
}

/** Writes the 16 bytes that every record starts with. */
export function recordHeaderStore(
  record: usize,
  kind: u32,
  flags: u32,
  sequence: u64,
  keySize: u32,
  valueSize: u32,
): void {
  store<u64>(record, <u64>valueSize | ((<u64>keySize) << 32) | ((<u64>kind) << 48) | ((<u64>flags) << 56));
  store<u64>(record, sequence, 8);
}

/** Where a record with the flag EXTENTS has the size and the number of its part. */
export function recordExtentAt(record: usize): usize {
  return record + RECORD_HEADER_SIZE + recordFieldsSize(changetype<Record>(record).flags);
}

/** Bytes of the value that the record itself holds: all of it, or its part where there are several extents. */
export function recordPartSize(record: usize): u32 {
  return <u32>changetype<Record>(record).flags & RecordFlags.EXTENTS
    ? load<u32>(recordExtentAt(record))
    : changetype<Record>(record).valueSize;
}

/**
 * Whether bytes of an intact block make a record whose every size fits: `left` bytes of the block's records lie from
 * its start on, and `blocksLeft` blocks of the segment follow. Of a valid record, `min(recordPartSize, left - head)`
 * bytes of the value lie in this block.
 */
export function recordValid(record: usize, left: u32, blocksLeft: u32): bool {
  if (left < RECORD_HEADER_SIZE) return false;
  const view = changetype<Record>(record);
  const kind = <u32>view.kind;
  const flags = <u32>view.flags;
  const keySize = <u32>view.keySize;
  const isNote = kind == RecordKind.NOTE;
  if (kind < RecordKind.SET || (kind > RecordKind.VOID && !isNote) || flags & ~RecordFlags.KNOWN) return false;
  const head = recordKeyOffset(flags) + keySize;
  if (isNote ? keySize | flags : keySize - 1 >= KEY_SIZE_MAX) return false;
  if (head > left || view.valueSize > VALUE_SIZE_MAX) return false;
  if (flags & RecordFlags.EXPIRY && load<u64>(record, RECORD_HEADER_SIZE) > EXPIRY_MAX) return false;
  if (kind == RecordKind.EXTENT && !(flags & RecordFlags.EXTENTS)) return false;
  // Sequences begin at 1: a replay without a checkpoint has 0 for its floor.
  if (kind <= RecordKind.EXTENT && !view.sequence) return false;
  if (flags & RecordFlags.COMPRESSED) {
    // What is void was a value.
    const rawSize = load<u32>(recordRawAt(record));
    if ((kind != RecordKind.SET && kind != RecordKind.VOID) || rawSize > VALUE_SIZE_MAX) return false;
    if (!view.valueSize || view.valueSize >= rawSize) return false;
  }
  const partSize = recordPartSize(record);
  if (partSize > view.valueSize || (kind == RecordKind.DELETE && partSize)) return false;
  // A value that runs on must fill this block, and end within the segment.
  const here = min(partSize, left - head);
  return here == partSize || (head + here == left && <u64>(partSize - here) <= <u64>blocksLeft * BLOCK_PAYLOAD_SIZE);
}

/** Bytes that a valid record takes of its block, padding included, of the `left` that lie there from its start on. */
export function recordSpan(record: usize, left: u32): u32 {
  const view = changetype<Record>(record);
  const head = recordKeyOffset(view.flags) + view.keySize;
  return min((head + min(recordPartSize(record), left - head) + 7) & ~7, left);
}
