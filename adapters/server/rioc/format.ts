/**
 * The bytes of RIOC, version 2: HPKV's binary protocol. All integers are little-endian; nothing is aligned.
 *
 *     request   = batch header, then `count` operations back to back        a single call is a batch of one
 *     operation = operation header, first payload, second payload
 *     reply     = status and size, then a body                              one for each operation, in order; nothing around them
 *
 *     batch header, 12 bytes           operation header, 16 bytes              reply header, 8 bytes
 *     0  u32  magic "CIOR"             0  u16  command                         0  i32  status: 0, or a negative error
 *     4  u16  version, 2               2  u16  size of the first payload       4  u32  size of the body; of RANGE: records
 *     6  u16  count, 1 to 128          4  u32  size of the second payload
 *     8  u32  flags, ignored           8  u64  timestamp, nanoseconds          record of a range: u16, key, u64, value
 *
 * Source: the published C client of the protocol, and what its test programs accept.
 */

/** "CIOR" on the wire. */
export const MAGIC = 0x524f4943;
export const VERSION = 2;
export const BATCH_HEADER_SIZE = 12;
export const OPERATION_HEADER_SIZE = 16;
export const REPLY_HEADER_SIZE = 8;
/** Operations of a batch at most. */
export const BATCH_COUNT_MAX = 128;
/** Bytes of a key at most. */
export const KEY_SIZE_MAX = 512;
/** Bytes of a value at most, in requests and in replies: clients have no room for more. */
export const VALUE_SIZE_MAX = 102_400;
/** Bytes of the records of one range reply at most: clients copy them into a block of that size without looking. */
export const RANGE_SIZE_MAX = 1_024_000;
/** What a record of a range takes beside its key and its value. */
export const RANGE_RECORD_OVERHEAD = 10;
/** The body of an addition: a 64-bit integer. */
export const INTEGER_SIZE = 8;

export const Command = {
  GET: 1,
  INSERT: 2,
  DELETE: 3,
  PARTIAL_UPDATE: 4,
  RANGE_QUERY: 6,
  ATOMIC_INC_DEC: 7,
} as const;

export const Status = {
  SUCCESS: 0,
  /** Bad sizes, a value that is no number, and what the certificate does not allow. */
  PARAM: -1,
  MEMORY: -2,
  IO: -3,
  /** An unknown command. */
  PROTOCOL: -4,
  DEVICE: -5,
  NO_ENTRY: -6,
  /** Over a limit of rate or bytes: worth another try. */
  BUSY: -7,
  /** Too large, or outside 64 bits. */
  OVERFLOW: -8,
  /** Older than the record that is there. */
  STALE: -17,
} as const;
export type Status = (typeof Status)[keyof typeof Status];
