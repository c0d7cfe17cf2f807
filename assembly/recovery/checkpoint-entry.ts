/** Reading the entries of a checkpoint; see format/checkpoint.ts. Every size is checked before it is used. */
import { compareKeys, copyBytes } from "../bytes/compare";
import { addressWidth, ENTRY_COMPRESSED, EntryFlags, sequenceWidth } from "../format/checkpoint";
import { ADDRESS_MASK, wordsSizeOf } from "../index/key-node";
import { KEY_SIZE_MAX, SEGMENTS_OFFSET } from "../limits";

/** What an entry says. */
@unmanaged
export class Entry {
  /** Flags of the key's node. */
  flags: u32;
  /** Size of the key, which lies where the reader wants it; 0 before the first. */
  keySize: u32;
  valueSize: u32;
  /** Bytes that it has in the log: fewer where it is compressed. */
  storedSize: u32;
  /** Extents of the value, 0 when it has one record. */
  parts: u32;
  address: u64;
  sequence: u64;
  /** Expiry and timestamp, in this order, as far as the flags say that there are any. */
  words: u64;
  wordsToo: u64;
}

const KNOWN: u32 = EntryFlags.LONG | EntryFlags.EXTENTS | 8 | 16 | EntryFlags.EXPIRY | EntryFlags.TIMESTAMP;

/**
 * Reads the entry of a key at `at`, which ends before `end`, into `entry`, and the key, zero-padded, to `key`, where the key
 * before it lies; `first` when it is the first one of its block. Where it ends, or 0 when it makes no sense or does not
 * ascend.
 */
export function entryRead(at: usize, end: usize, base: u64, entry: Entry, key: usize, first: bool): usize {
  // The fields are read as whole words, so that their sizes are looked at once, when all are known.
  if (at + 4 > end) return 0;
  const flags = <u32>load<u8>(at);
  const widths = <u32>load<u8>(at, 1);
  if (flags & ~KNOWN || widths >>> 7) return 0;
  let shared: u32;
  let suffix: u32;
  if (flags & EntryFlags.LONG) {
    shared = load<u16>(at, 2);
    suffix = load<u16>(at, 4);
    at += 6;
  } else {
    shared = load<u8>(at, 2);
    suffix = load<u8>(at, 3);
    at += 4;
  }
  const addressSize = addressWidth(widths & 3);
  const sequenceSize = sequenceWidth((widths >>> 2) & 3);
  const sizeSize = 1 + ((widths >>> 4) & 3);
  const address = load<u64>(at) & (((<u64>1) << (addressSize << 3)) - 1);
  at += addressSize;
  const distance = load<u64>(at) & (((<u64>1) << (sequenceSize << 3)) - 1);
  at += sequenceSize;
  entry.valueSize = <u32>(load<u64>(at) & (((<u64>1) << (sizeSize << 3)) - 1));
  at += sizeSize;
  entry.storedSize = entry.valueSize;
  if (widths & ENTRY_COMPRESSED) {
    entry.storedSize = load<u32>(at);
    at += 4;
    if (!entry.storedSize || entry.storedSize >= entry.valueSize) return 0;
  }
  const words = wordsSizeOf(flags);
  if (words) entry.words = load<u64>(at);
  if (words > 8) entry.wordsToo = load<u64>(at, 8);
  at += words;
  entry.parts = 0;
  if (flags & EntryFlags.EXTENTS) {
    entry.parts = load<u32>(at);
    at += 4;
  }
  const before = entry.keySize;
  const keySize = shared + suffix;
  if (!suffix || keySize > KEY_SIZE_MAX || at + suffix > end || shared > before) return 0;
  if (first) {
    if (shared || (before && !ascends(key, before, at, suffix))) return 0;
  } else if (shared < before && load<u8>(at) <= load<u8>(key + shared)) {
    return 0;
  }
  copyBytes(key + shared, at, suffix);
  store<u64>(key + keySize, 0);
  entry.flags = flags & ~EntryFlags.LONG;
  entry.keySize = keySize;
  entry.address = SEGMENTS_OFFSET + (address << 3);
  entry.sequence = (base - distance) & ADDRESS_MASK;
  return at + suffix;
}

/** Whether a key, which need not be padded, is above a padded one. */
function ascends(before: usize, beforeSize: u32, key: usize, size: u32): bool {
  const whole = min(beforeSize, size) & ~7;
  if (whole) {
    const order = compareKeys(before, whole, key, whole);
    if (order) return order < 0;
  }
  for (let i = whole; i < min(beforeSize, size); i++) {
    const a = load<u8>(before + i);
    const b = load<u8>(key + i);
    if (a != b) return a < b;
  }
  return beforeSize < size;
}
