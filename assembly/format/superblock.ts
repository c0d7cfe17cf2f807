/**
 * The superblock: what must be known before anything else can be read. One block, kept four times in the first MiB of
 * the device, 256 KiB apart: copies 0 and 1 hold the even generations, 2 and 3 the odd ones.
 *
 * ```
 *     0  magic              "CAIRNKV1"
 *     8  check              XXH64 of bytes 16 to 4,095 under a fixed seed
 *    16  format version     u32, 3
 *    20  engine             u32: 1 dual, 2 append-log, 3 hybrid-log, 4 lsm
 *    24  incompatible       u64 feature bits: an opener that does not know one must refuse
 *    32  read-compatible    u64 feature bits: an opener that does not know one may only read
 *    40  compatible         u64 feature bits: may be ignored
 *    48  store id           16 random bytes
 *    64  hash seed          u64 secret of the hash index
 *    72  generation         u64, grows by one with each superblock
 *    80  epoch              u32, grows by one with each mount
 *    84  segment blocks     u32
 *    88  segment count      u32; the device is at least SEGMENTS_OFFSET and so many segments long
 *    92  allotment end      u32; the mount of this epoch writes to segments from `allotment start` up to it
 *    96  allotment start    u32
 *   100  closed             u32; 1 when the last mount closed in order
 *   104  sequence ceiling   u64; every sequence ever issued is below it
 *   112  durable group      u64
 *   120  log epoch          u64, epoch of the mount whose groups may follow the durable one
 *   128  highest time       u64, milliseconds since 1970
 *   136  mount salt         16 bytes
 *   152  dropped tombstones u64, highest sequence of a tombstone that is gone
 *   160  image              u32; 1 in an image that a backup made, until a mount writes a superblock of its own
 *   176  roots              8 typed roots of 32 bytes, of which two are in use: the kept checkpoints, the newer one first
 *   432  feature name       64 bytes, ASCII, zero-padded: what the newest unknown bit stands for
 *   496  version needed     16 bytes, ASCII, zero-padded
 *   512  backups            16 points of 64 bytes, at which backups were taken, the newest one first
 * ```
 *
 * Feature bit 1 of `incompatible` says that values may be compressed (format/compressed.ts), and blocks of checkpoints packed.
 *
 * A root names the block that says what a structure is. Feature bit 1 of `compatible` says that roots are kept; a version
 * that does not know it writes neither, and does without. Bit 2 says the same of the points of backups.
 *
 * A superblock is written to one copy, synced, written to the other, synced: at every instant both copies of the
 * generation before are whole. Where what an old generation names is to be reused, a second superblock follows first.
 */
import { xxh64 } from "../bytes/xxh64";
import { BLOCK_SIZE } from "../limits";

/** "CAIRNKV1" read as a little-endian word. */
export const SUPERBLOCK_MAGIC: u64 = 0x31564b4e52494143;
export const FORMAT_VERSION: u32 = 3;
const CHECK_SEED: u64 = 0x636169726e2d7362;
const CHECK_FROM: usize = 16;

/** Feature bits that this build knows. */
export const INCOMPATIBLE_KNOWN: u64 = 1;
export const READ_COMPATIBLE_KNOWN: u64 = 0;

/** Bits that an opener must know. */
export namespace Incompatible {
  /** Values may be compressed: set before the first one that is. Checkpoints may be packed: set with the first root of one. */
  export const LZ4: u64 = 1;
}

/** "compression-lz4", "0.1.0": what the field of names says of it, as little-endian words. */
export const LZ4_NAME_LOW: u64 = 0x73736572706d6f63;
export const LZ4_NAME_HIGH: u64 = 0x00347a6c2d6e6f69;
export const LZ4_VERSION: u64 = 0x000000302e312e30;
export const FEATURE_NAME_OFFSET: usize = 432;
export const VERSION_NEEDED_OFFSET: usize = 496;

/** Bits that may be ignored. */
export namespace Compatible {
  /** The roots name checkpoints. */
  export const CHECKPOINTS: u64 = 1;
  /** The points at which backups were taken are kept. */
  export const BACKUPS: u64 = 2;
}

/** Roots that are in use, and where they lie in a superblock. */
export const ROOT_COUNT: u32 = 2;
export const ROOTS_OFFSET: usize = 176;
export const ROOT_SIZE: usize = 32;

/** Points of backups, and where they lie in a superblock. */
export const POINT_COUNT: u32 = 16;
export const POINTS_OFFSET: usize = 512;
export const POINT_SIZE: usize = 64;

export namespace EngineKind {
  export const DUAL: u32 = 1;
  export const APPEND_LOG: u32 = 2;
  export const HYBRID_LOG: u32 = 3;
  export const LSM: u32 = 4;
}

@unmanaged
export class Superblock {
  magic: u64;
  check: u64;
  formatVersion: u32;
  engine: u32;
  incompatible: u64;
  readCompatible: u64;
  compatible: u64;
  storeIdLow: u64;
  storeIdHigh: u64;
  hashSeed: u64;
  generation: u64;
  epoch: u32;
  segmentBlocks: u32;
  segmentCount: u32;
  allotmentEnd: u32;
  allotmentStart: u32;
  closed: u32;
  sequenceCeiling: u64;
  durableGroup: u64;
  logEpoch: u64;
  highestTimeMs: u64;
  saltLow: u64;
  saltHigh: u64;
  droppedTombstones: u64;
  image: u32;
  reservedWord: u32;
}

/** What is named by kind and place: for a checkpoint, its summary. */
@unmanaged
export class SuperblockRoot {
  /** Kind of the segment that it lies in: 3 is a checkpoint; 0 names nothing. */
  kind: u16;
  /** Its block in that segment. */
  block: u16;
  /** The segment. */
  segment: u32;
  /** The segment's life. */
  generation: u64;
  /** The state that a checkpoint is of. */
  sequence: u64;
  /** The check of that block. */
  check: u64;
}

/** Where a store stood when a backup was taken: what a later one need not carry. */
@unmanaged
export class BackupPoint {
  /** 16 random bytes; 0 names no point. */
  tagLow: u64;
  tagHigh: u64;
  /** The last sequence in it. */
  version: u64;
  /** The newest life of any segment then. */
  generation: u64;
  /** The life of the log's newest segment then; 0 when there was none. */
  logGeneration: u64;
  /** Copies of this life and newer ones were not in it; all bits set when none was being made. */
  copiesGeneration: u64;
  /** The life that the root of the checkpoint in it names; 0 when there was none. */
  checkpointGeneration: u64;
  /** Blocks of the log's newest segment that were in it. */
  logBlocks: u32;
  reserved: u32;
}

if (offsetof<BackupPoint>() != POINT_SIZE) ERROR("BackupPoint layout");
if (offsetof<SuperblockRoot>() != ROOT_SIZE) ERROR("SuperblockRoot layout");
if (offsetof<Superblock>("check") != 8) ERROR("Superblock.check");
if (offsetof<Superblock>("epoch") != 80) ERROR("Superblock.epoch");
if (offsetof<Superblock>("sequenceCeiling") != 104) ERROR("Superblock.sequenceCeiling");
if (offsetof<Superblock>() != 168) ERROR("Superblock layout");

/** Writes the checksum. */
export function superblockSeal(superblock: Superblock): void {
  superblock.check = superblockCheck(superblock);
}

/** Whether the bytes are an intact superblock of any version. */
export function superblockIntact(superblock: Superblock): bool {
  return superblock.magic == SUPERBLOCK_MAGIC && superblock.check == superblockCheck(superblock);
}

function superblockCheck(superblock: Superblock): u64 {
  return xxh64(changetype<usize>(superblock) + CHECK_FROM, <u32>(BLOCK_SIZE - CHECK_FROM), CHECK_SEED);
}
