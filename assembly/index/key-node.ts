/**
 * Key nodes: what the engine knows of a key, held once; both indexes point here.
 *
 * ```
 *   0  u64  address (48 bits) | size class of the node (8) | flags (8)
 *   8  u64  sequence (48 bits) | key size (16)
 *  16  u32  value size, as it was given; bit 31: the value is compressed
 *  20  u32  newest older version that a snapshot may need, or 0
 *  24  key, zero-padded to 8
 *      value when INLINE, zero-padded to 8; else, when it has several extents or is compressed, u32 pointer to the extent
 *      table or 0, u32 bytes of its stored form or 0
 *      u64 expiry when EXPIRY, milliseconds since 1970
 *      u64 timestamp when TIMESTAMP
 *      u32 next, u32 previous in the expiry wheel, when EXPIRY; a version has none
 * ```
 *
 * What a read needs comes first: it does not have to know whether a record has an expiry or a timestamp to find its value.
 *
 * A version has the same first three words, so that reading one is reading a node; behind them its links:
 *
 * ```
 *   0  u64  address | size class | flags          8  u64  sequence | 0
 *  16  u32  value size, as in a node             20  u32  next older version
 *  24  u32  next newer version, or the node      28  u32  next in the order of replacement
 *  32  u64  sequence that replaced it            40  u32  1 when `newer` is the node
 *  48  value when INLINE; table and stored size, as in a node; expiry; timestamp
 * ```
 */
import { copyWords, pad8 } from "../bytes/compare";
import { RAW_FIELD_SIZE } from "../format/record";

export const NODE_HEADER_SIZE: u32 = 24;
export const VERSION_HEADER_SIZE: u32 = 48;
export const ADDRESS_MASK: u64 = 0xffffffffffff;
/** Bit of a value's size in a node. */
export const COMPRESSED: u32 = 0x80000000;

export namespace NodeFlags {
  /** The value follows the key. */
  export const INLINE: u32 = 1;
  /** The value lies in several extents, listed in a table. */
  export const EXTENTS: u32 = 2;
  /** The key was deleted; the node stays while a snapshot sees an older version. */
  export const DELETED: u32 = 4;
  /** The value's bytes are ASCII. */
  export const ASCII_VALUE: u32 = 8;
  /** The key's bytes are ASCII. */
  export const ASCII_KEY: u32 = 16;
  /** A verification that is under way has found the record. Whatever writes to the node clears it. */
  export const PROVEN: u32 = 32;
  /** The record has an expiry. */
  export const EXPIRY: u32 = 64;
  /** The record has a timestamp. */
  export const TIMESTAMP: u32 = 128;
}

@unmanaged
export class KeyNode {
  place: u64;
  identity: u64;
  sizeWord: u32;
  older: u32;

  /** Bytes of the value as it was given. Setting it says that the value is not compressed. */
  get valueSize(): u32 {
    return this.sizeWord & ~COMPRESSED;
  }
  set valueSize(size: u32) {
    this.sizeWord = size;
  }
  get isCompressed(): bool {
    return <i32>this.sizeWord < 0;
  }
  get address(): u64 {
    return this.place & ADDRESS_MASK;
  }
  get sizeClass(): u32 {
    return <u32>(this.place >>> 48) & 0xff;
  }
  get flags(): u32 {
    return <u32>(this.place >>> 56);
  }
  get sequence(): u64 {
    return this.identity & ADDRESS_MASK;
  }
  get keySize(): u32 {
    return <u32>(this.identity >>> 48);
  }
  get key(): usize {
    return changetype<usize>(this) + NODE_HEADER_SIZE;
  }
  /** Where the inline value, or the extent table's pointer and the stored size, lie. */
  get body(): usize {
    return changetype<usize>(this) + NODE_HEADER_SIZE + ((this.keySize + 7) & ~7);
  }
}

@unmanaged
export class Version {
  place: u64;
  identity: u64;
  sizeWord: u32;
  older: u32;
  newer: u32;
  queueNext: u32;
  replacedBy: u64;
  newerIsNode: u32;
  reserved: u32;
}

if (offsetof<KeyNode>() != NODE_HEADER_SIZE) ERROR("KeyNode layout");
if (offsetof<Version>() != VERSION_HEADER_SIZE) ERROR("Version layout");

/** Packs address, size class and flags into the first word. */
export function placeOf(address: u64, sizeClass: u32, flags: u32): u64 {
  return address | ((<u64>sizeClass) << 48) | ((<u64>flags) << 56);
}

/** Packs sequence and key size into the second word. */
export function identityOf(sequence: u64, keySize: u32): u64 {
  return sequence | ((<u64>keySize) << 48);
}

/** Bytes that a node of this shape takes. */
export function nodeSizeOf(keySize: u32, bodySize: u32): u32 {
  return NODE_HEADER_SIZE + pad8(keySize) + pad8(bodySize);
}

/** Bytes of the expiry and the timestamp that a node, or a version, with these flags has, and its record too. */
export function wordsSizeOf(flags: u32): u32 {
  return (((flags >>> 6) & 1) + (flags >>> 7)) << 3;
}

/** Bytes that a node with these flags has behind its value: expiry, timestamp, and its place in the expiry wheel. */
export function wordsSizeInNode(flags: u32): u32 {
  return (((flags >>> 5) & 2) + (flags >>> 7)) << 3;
}

/** Where expiry and timestamp of a node, or of a version, lie; `body` is where its value or its extent table lies. */
export function wordsOf(node: KeyNode, body: usize): usize {
  const flags = node.flags;
  if (flags & NodeFlags.INLINE) return body + pad8(node.valueSize);
  return flags & NodeFlags.EXTENTS || node.isCompressed ? body + 8 : body;
}

/** Bytes that the value of a node, or of a version, has in the log. */
export function storedSizeOf(node: KeyNode, body: usize): u32 {
  return node.isCompressed ? load<u32>(body, 4) : node.sizeWord;
}

/** Bytes of expiry, timestamp and raw size in the record, or the first of the records, of a node or of a version. */
export function fieldsSizeOf(node: KeyNode): u32 {
  return wordsSizeOf(node.flags) + (node.isCompressed ? RAW_FIELD_SIZE : 0);
}

/** Says of a node or version whose value is compressed, or has several extents, where and how large its stored form is. */
export function storedSet(node: KeyNode, body: usize, table: usize, rawSize: u32, storedSize: u32): void {
  const compressed = storedSize < rawSize;
  node.sizeWord = compressed ? rawSize | COMPRESSED : rawSize;
  store<u32>(body, <u32>table);
  store<u32>(body, compressed ? storedSize : 0, 4);
}

/** The expiry of a node, or of a version, that has one. */
export function expiryOf(node: KeyNode, body: usize): u64 {
  return load<u64>(wordsOf(node, body));
}

/** The timestamp of a node, or of a version, that has one. */
export function timestampOf(node: KeyNode, body: usize): u64 {
  return load<u64>(wordsOf(node, body) + (node.flags & NodeFlags.EXPIRY ? 8 : 0));
}

/** Where the links of a node that has an expiry lie. */
export function linksOf(node: KeyNode): usize {
  return wordsOf(node, node.body) + wordsSizeOf(node.flags);
}

/** Writes a node's key; the source is padded. */
export function nodeSetKey(node: KeyNode, key: usize, keySize: u32): void {
  copyWords(node.key, key, keySize);
}
