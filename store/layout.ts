/**
 * Where the fields of the structures on the device lie, for programs that show them. Written from assembly/format by
 * scripts/format-docs.mjs; not to be changed by hand.
 */

/** A field: bytes from its structure's start, bytes of it (a little-endian number), and what it says. */
export interface LayoutField {
  name: string;
  offset: number;
  size: number;
  meaning: string;
}

export const BLOCK_SIZE = 4096;
export const SEGMENTS_OFFSET = 1048576;
export const SUPERBLOCK_STRIDE = 262144;
export const SUPERBLOCK_COPIES = 4;
export const FORMAT_VERSION = 3;
export const INCOMPATIBLE_KNOWN = 1n;
export const ROOTS_OFFSET = 176;
export const POINT_COUNT = 16;
export const POINTS_OFFSET = 512;
export const POINT_SIZE = 64;

export const LAYOUT = {
  BlockHeader: [
    {
      name: "check",
      offset: 0,
      size: 8,
      meaning: "XXH64 over bytes 16 to 4,095, seeded with the store's id; bytes 8 to 15 are room for a longer tag",
    },
    {
      name: "checkHigh",
      offset: 8,
      size: 8,
      meaning: "",
    },
    {
      name: "generation",
      offset: 16,
      size: 8,
      meaning: "of the segment's life: mount epoch in the high half, a counter in the low one",
    },
    {
      name: "deviceBlock",
      offset: 24,
      size: 8,
      meaning: "device block index of this block on the device",
    },
    {
      name: "group",
      offset: 32,
      size: 8,
      meaning: "number of the commit group: mount epoch in the high 24 bits, a counter below",
    },
    {
      name: "used",
      offset: 40,
      size: 2,
      meaning: "bytes of the payload that hold records",
    },
    {
      name: "flags",
      offset: 42,
      size: 2,
      meaning: "1 ends a group, 2 segment header, 4 ends its segment",
    },
    {
      name: "first",
      offset: 44,
      size: 2,
      meaning: "offset in the payload of the first record that starts in this block, or 0xffff",
    },
    {
      name: "reserved",
      offset: 46,
      size: 2,
      meaning: "reserved",
    },
    {
      name: "reservedLong",
      offset: 48,
      size: 8,
      meaning: "",
    },
  ],
  GroupTrailer: [
    {
      name: "durableGroup",
      offset: 0,
      size: 8,
      meaning: "Newest durable group.",
    },
    {
      name: "reserved",
      offset: 8,
      size: 8,
      meaning: "",
    },
    {
      name: "highestTimeMs",
      offset: 16,
      size: 8,
      meaning: "Highest wall-clock time seen, milliseconds since 1970.",
    },
    {
      name: "sequence",
      offset: 24,
      size: 8,
      meaning: "Highest sequence in this and all earlier groups.",
    },
  ],
  CheckpointSummary: [
    {
      name: "magic",
      offset: 0,
      size: 4,
      meaning: '"CCKP"',
    },
    {
      name: "version",
      offset: 4,
      size: 4,
      meaning: "1, or 2 where blocks may be packed",
    },
    {
      name: "sequence",
      offset: 8,
      size: 8,
      meaning: "of the last write when it was begun: whatever is newer is replayed from the log",
    },
    {
      name: "positionGeneration",
      offset: 16,
      size: 8,
      meaning: "generation of the segment of the log that was open then; 0 when none was",
    },
    {
      name: "positionSegment",
      offset: 24,
      size: 4,
      meaning: "position segment its index",
    },
    {
      name: "positionBlock",
      offset: 28,
      size: 4,
      meaning: "the first block of it that is replayed",
    },
    {
      name: "positionGroup",
      offset: 32,
      size: 8,
      meaning: "the commit group that was being filled",
    },
    {
      name: "logGeneration",
      offset: 40,
      size: 8,
      meaning: "segments of the log whose generation is above this one are replayed whole",
    },
    {
      name: "copiesGeneration",
      offset: 48,
      size: 8,
      meaning: "segments of copies from this generation on are replayed whole",
    },
    {
      name: "entryCount",
      offset: 56,
      size: 8,
      meaning: "keys",
    },
    {
      name: "keyBytes",
      offset: 64,
      size: 8,
      meaning: "of all keys",
    },
    {
      name: "valueBytes",
      offset: 72,
      size: 8,
      meaning: "of all values",
    },
    {
      name: "blocksCheck",
      offset: 80,
      size: 8,
      meaning: "checks of all its blocks before the summary, each rotated in to the left by 9 bits",
    },
    {
      name: "blockCount",
      offset: 88,
      size: 4,
      meaning: "blocks before the summary, without headers of segments",
    },
    {
      name: "segmentCount",
      offset: 92,
      size: 4,
      meaning: "entries that tell of segments",
    },
    {
      name: "highestTimeMs",
      offset: 96,
      size: 8,
      meaning: "u64, milliseconds since 1970",
    },
  ],
  Note: [
    {
      name: "serial",
      offset: 0,
      size: 8,
      meaning: "mount epoch in the high half, a counter in the low one; the highest is the newest",
    },
    {
      name: "generationSum",
      offset: 8,
      size: 8,
      meaning: "of the lives that count, wrapping",
    },
    {
      name: "segmentCount",
      offset: 16,
      size: 4,
      meaning: "bits in the map",
    },
    {
      name: "reserved",
      offset: 20,
      size: 4,
      meaning: "reserved",
    },
    {
      name: "droppedTombstones",
      offset: 24,
      size: 8,
      meaning: "highest sequence of a deletion that the lives which count need no longer hold",
    },
  ],
  Record: [
    {
      name: "valueSize",
      offset: 0,
      size: 4,
      meaning: "u32; of the whole value, or of this part in an EXTENT record",
    },
    {
      name: "keySize",
      offset: 4,
      size: 2,
      meaning: "u16",
    },
    {
      name: "kind",
      offset: 6,
      size: 1,
      meaning: "1 set, 2 delete, 3 extent, 4 void, 7 note; 5 range tombstone and 6 run entry are reserved",
    },
    {
      name: "flags",
      offset: 7,
      size: 1,
      meaning: "1 expiry, 2 timestamp, 4 value is ASCII, 8 key is ASCII, 16 several extents, 32 value is compressed",
    },
    {
      name: "sequenceWord",
      offset: 8,
      size: 8,
      meaning: "u48; the two bytes above it are reserved",
    },
  ],
  SegmentHeader: [
    {
      name: "magic",
      offset: 0,
      size: 4,
      meaning: 'magic "CSEG"',
    },
    {
      name: "kind",
      offset: 4,
      size: 4,
      meaning: "kind: 1 log, 2 copies, 3 checkpoint, 4 sorted run",
    },
    {
      name: "born",
      offset: 8,
      size: 8,
      meaning: "every record of a key that was deleted at or below this sequence is newer than the deletion",
    },
    {
      name: "previousGeneration",
      offset: 16,
      size: 8,
      meaning: "the life of the segment before it in the log; 0 for the first, and for copies",
    },
    {
      name: "previousSegment",
      offset: 24,
      size: 4,
      meaning: "its index",
    },
    {
      name: "headerBlocks",
      offset: 28,
      size: 4,
      meaning: "blocks that the header and its note take; records begin behind them",
    },
    {
      name: "checkSeed",
      offset: 32,
      size: 8,
      meaning: "what the checks of this store's blocks are seeded with, so that they can be told without a superblock",
    },
    {
      name: "saltLow",
      offset: 40,
      size: 8,
      meaning: "16 random bytes of the mount that opened the segment",
    },
    {
      name: "saltHigh",
      offset: 48,
      size: 8,
      meaning: "",
    },
    {
      name: "formerGeneration",
      offset: 56,
      size: 8,
      meaning: "the life of this segment that ended when it was opened; 0 when it had none",
    },
  ],
  Superblock: [
    {
      name: "magic",
      offset: 0,
      size: 8,
      meaning: '"CAIRNKV1"',
    },
    {
      name: "check",
      offset: 8,
      size: 8,
      meaning: "XXH64 of bytes 16 to 4,095 under a fixed seed",
    },
    {
      name: "formatVersion",
      offset: 16,
      size: 4,
      meaning: "u32, 3",
    },
    {
      name: "engine",
      offset: 20,
      size: 4,
      meaning: "u32: 1 dual, 2 append-log, 3 hybrid-log, 4 lsm",
    },
    {
      name: "incompatible",
      offset: 24,
      size: 8,
      meaning: "u64 feature bits: an opener that does not know one must refuse",
    },
    {
      name: "readCompatible",
      offset: 32,
      size: 8,
      meaning: "u64 feature bits: an opener that does not know one may only read",
    },
    {
      name: "compatible",
      offset: 40,
      size: 8,
      meaning: "u64 feature bits: may be ignored",
    },
    {
      name: "storeIdLow",
      offset: 48,
      size: 8,
      meaning: "16 random bytes",
    },
    {
      name: "storeIdHigh",
      offset: 56,
      size: 8,
      meaning: "",
    },
    {
      name: "hashSeed",
      offset: 64,
      size: 8,
      meaning: "u64 secret of the hash index",
    },
    {
      name: "generation",
      offset: 72,
      size: 8,
      meaning: "u64, grows by one with each superblock",
    },
    {
      name: "epoch",
      offset: 80,
      size: 4,
      meaning: "u32, grows by one with each mount",
    },
    {
      name: "segmentBlocks",
      offset: 84,
      size: 4,
      meaning: "u32",
    },
    {
      name: "segmentCount",
      offset: 88,
      size: 4,
      meaning: "u32; the device is at least SEGMENTS_OFFSET and so many segments long",
    },
    {
      name: "allotmentEnd",
      offset: 92,
      size: 4,
      meaning: "u32; the mount of this epoch writes to segments from `allotment start` up to it",
    },
    {
      name: "allotmentStart",
      offset: 96,
      size: 4,
      meaning: "u32",
    },
    {
      name: "closed",
      offset: 100,
      size: 4,
      meaning: "u32; 1 when the last mount closed in order",
    },
    {
      name: "sequenceCeiling",
      offset: 104,
      size: 8,
      meaning: "u64; every sequence ever issued is below it",
    },
    {
      name: "durableGroup",
      offset: 112,
      size: 8,
      meaning: "u64",
    },
    {
      name: "logEpoch",
      offset: 120,
      size: 8,
      meaning: "u64, epoch of the mount whose groups may follow the durable one",
    },
    {
      name: "highestTimeMs",
      offset: 128,
      size: 8,
      meaning: "u64, milliseconds since 1970",
    },
    {
      name: "saltLow",
      offset: 136,
      size: 8,
      meaning: "16 bytes",
    },
    {
      name: "saltHigh",
      offset: 144,
      size: 8,
      meaning: "",
    },
    {
      name: "droppedTombstones",
      offset: 152,
      size: 8,
      meaning: "dropped tombstones u64, highest sequence of a tombstone that is gone",
    },
    {
      name: "image",
      offset: 160,
      size: 4,
      meaning: "u32; 1 in an image that a backup made, until a mount writes a superblock of its own",
    },
    {
      name: "reservedWord",
      offset: 164,
      size: 4,
      meaning: "",
    },
  ],
  SuperblockRoot: [
    {
      name: "kind",
      offset: 0,
      size: 2,
      meaning: "Kind of the segment that it lies in: 3 is a checkpoint; 0 names nothing.",
    },
    {
      name: "block",
      offset: 2,
      size: 2,
      meaning: "Its block in that segment.",
    },
    {
      name: "segment",
      offset: 4,
      size: 4,
      meaning: "The segment.",
    },
    {
      name: "generation",
      offset: 8,
      size: 8,
      meaning: "The segment's life.",
    },
    {
      name: "sequence",
      offset: 16,
      size: 8,
      meaning: "The state that a checkpoint is of.",
    },
    {
      name: "check",
      offset: 24,
      size: 8,
      meaning: "The check of that block.",
    },
  ],
  BackupPoint: [
    {
      name: "tagLow",
      offset: 0,
      size: 8,
      meaning: "16 random bytes; 0 names no point.",
    },
    {
      name: "tagHigh",
      offset: 8,
      size: 8,
      meaning: "",
    },
    {
      name: "version",
      offset: 16,
      size: 8,
      meaning: "The last sequence in it.",
    },
    {
      name: "generation",
      offset: 24,
      size: 8,
      meaning: "The newest life of any segment then.",
    },
    {
      name: "logGeneration",
      offset: 32,
      size: 8,
      meaning: "The life of the log's newest segment then; 0 when there was none.",
    },
    {
      name: "copiesGeneration",
      offset: 40,
      size: 8,
      meaning: "Copies of this life and newer ones were not in it; all bits set when none was being made.",
    },
    {
      name: "checkpointGeneration",
      offset: 48,
      size: 8,
      meaning: "The life that the root of the checkpoint in it names; 0 when there was none.",
    },
    {
      name: "logBlocks",
      offset: 56,
      size: 4,
      meaning: "Blocks of the log's newest segment that were in it.",
    },
    {
      name: "reserved",
      offset: 60,
      size: 4,
      meaning: "",
    },
  ],
} as const satisfies Record<string, readonly LayoutField[]>;
