/**
 * The root view: every piece of the engine's state that outlives a call hangs off it, in linear memory at a fixed
 * address, so that an instance attached to the same memory sees the same store. Module globals hold constants only.
 *
 * ```
 *        0  null guard, never used
 *    0x400  Root
 *   0x1800  lists of the expiry wheel, 776 bytes
 *   0x1C00  points of backups, as in the superblock, the newest one first
 *   0x2000  key exchange: key A, 2,048 bytes and padding      (the key of a call, a range's lower bound)
 *   0x2A00  key exchange: key B                               (a range's upper bound)
 *   0x3300  the key of the record that compaction looks at
 *   0x3B40  windows that compaction reads ahead into, 24 bytes each
 *   0x3C00  plan of copies: 16-byte pieces
 *   0x3DC0  the chunks that copies lie in
 *   0x3E00  WASI return area, 128 bytes
 *   0x3F00  path from the root of the ordered index to a leaf, 128 bytes
 *   0x3F80  claims on the frames of a run, 64 bytes
 *   0x3FC0  roots of the kept checkpoints, as in the superblock, the newer one first
 *   0x4000  superblock scratch, one block
 *   0x5000  superblock scratch, a second block
 *   0x6000  plan of a group: 16-byte pieces
 *   0x8000  working space of cursors and groups of keys
 *   0xA000  plan of reads: 16-byte pieces
 *   0xC000  writes that wait for their nodes
 *  0x10000  constants of the module
 *  0x20000  value exchange, inwards, 128 KiB
 *  0x40000  value exchange, outwards, 128 KiB and a block
 *  0x61000  superblock in flight, one block
 *  0x62000  chunk directory of the hash index
 *  0xA2000  states of the slabs' chunks, 2 MiB
 *   ......  write buffer, then chunks of 64 KiB to the end of the memory
 * ```
 */

export const ROOT: usize = 0x400;
/** Lists of the expiry wheel: index/expiry-wheel.ts. */
export const EXPIRY_LISTS: usize = 0x1800;
export const BACKUP_POINTS: usize = 0x1c00;
export const KEY_A: usize = 0x2000;
export const KEY_B: usize = 0x2a00;
export const KEY_C: usize = 0x3300;
export const MOVE_WINDOWS: usize = 0x3b40;
export const SIDE_PLAN: usize = 0x3c00;
export const SIDE_PLAN_MAX: u32 = 28;
/** Chunks that the ring of copies and the copy of what is in flight are made of: of each, 8 at most. */
export const SIDE_CHUNKS: usize = 0x3dc0;
export const WASI_RETURN: usize = 0x3e00;
export const TREE_PATH: usize = 0x3f00;
export const RUN_CLAIMS: usize = 0x3f80;
export const KEPT_ROOTS: usize = 0x3fc0;
export const SUPERBLOCK_A: usize = 0x4000;
export const SUPERBLOCK_B: usize = 0x5000;
export const PLAN: usize = 0x6000;
export const PLAN_PIECES_MAX: u32 = 512;
export const WORKSPACE: usize = 0x8000;
/** Apart from the plan of a group, which is looked at again while the group is in flight. */
export const READ_PLAN: usize = 0xa000;
export const READ_PLAN_MAX: u32 = 512;
/** Writes that wait for their nodes; behind what cursors and groups of keys use of the working space. */
export const LATER: usize = 0xc000;
export const EXCHANGE_IN: usize = 0x20000;
export const EXCHANGE_SIZE: u32 = 128 << 10;
export const EXCHANGE_OUT: usize = 0x40000;
/** The superblock in flight. */
export const SUPERBLOCK_C: usize = 0x61000;
export const HASH_DIRECTORY: usize = 0x62000;
export const HASH_DIRECTORY_SIZE: usize = 256 << 10;
/** States of the slabs' chunks, by chunk of the whole address space: memory/slab.ts. Untouched pages cost nothing. */
export const SLAB_TABLE: usize = HASH_DIRECTORY + HASH_DIRECTORY_SIZE;
const SLAB_TABLE_SIZE: usize = 2 << 20;
export const POOL: usize = SLAB_TABLE + SLAB_TABLE_SIZE;

/** Size classes of the slab allocator, see memory/slab.ts. */
export const SLAB_CLASS_COUNT: i32 = 80;

@unmanaged
export class Root {
  // What a call hands back beside its status; the store reads these words directly.
  resultPointer: u32 = 0;
  resultSize: u32 = 0;
  resultFlags: u32 = 0;
  /** Bit set for the store's attention after a write: see `Attention`. */
  attention: u32 = 0;

  // Life cycle
  opened: u32 = 0;
  device: u32 = 0;
  /** Handle of the same device whose writes bypass the host's cache; the same one where there is none. */
  deviceUncached: u32 = 0;
  readOnly: u32 = 0;
  growable: u32 = 0;

  // Memory: the chunk pool
  poolStart: u32 = 0;
  poolEnd: u32 = 0;
  chunkFresh: u32 = 0;
  chunkFree: u32 = 0;
  chunkFreeCount: u32 = 0;
  chunkUsedCount: u32 = 0;
  memorySize: u32 = 0;

  // Hash index
  hashSeed: u64 = 0;
  hashBucketCount: u32 = 0;
  hashMaskHigh: u32 = 0;
  hashMaskLow: u32 = 0;
  hashOverflowCount: u32 = 0;
  keyCount: u32 = 0;
  hashChainLongest: u32 = 0;

  // Ordered index
  treeRoot: u32 = 0;
  /** Levels: 1 when the root is a leaf. */
  treeHeight: u32 = 0;
  treeLeafFirst: u32 = 0;
  treeLeafLast: u32 = 0;
  treeNodeCount: u32 = 0;
  /** Entries, each a key node. */
  treeEntryCount: u32 = 0;
  /** Bytes of the slab items that hold separators. */
  treeSeparatorBytes: u32 = 0;
  /** The largest key that was put in since the index was set up; bounds the size of a separator. */
  treeKeySizeMax: u32 = 0;
  /** Changes whenever an entry may have moved or gone, so that a cursor knows when to seek again. */
  treeVersion: u32 = 0;
  /** The leaf of the last insert or remove, or 0. */
  treeFingerLeaf: u32 = 0;
  /** Where in it the last insert went, and how many before it went each right behind the other. */
  treeFingerIndex: u32 = 0;
  treeFingerRun: u32 = 0;
  /** The entry that a walk stands on; leaf 0 is beyond either end. */
  treePositionLeaf: u32 = 0;
  treePositionIndex: u32 = 0;

  // Key nodes and versions
  nodeBytes: u64 = 0;
  versionOldest: u32 = 0;
  versionNewest: u32 = 0;
  versionCount: u32 = 0;
  /** Open snapshots, oldest first, and the highest sequence that one of them sees. */
  snapshotOldest: u32 = 0;
  snapshotNewest: u32 = 0;
  snapshotCount: u32 = 0;
  snapshotSequence: u64 = 0;
  /** Keys that are visible now; `keyCount` also counts deleted ones that a snapshot still sees. */
  liveKeyCount: u32 = 0;
  inlineValueCount: u32 = 0;
  keyBytes: u64 = 0;
  valueBytes: u64 = 0;

  // Expiry: nodes in the wheel, those of them that are due, the newest of these, the time that the wheel has come to
  expiringCount: u32 = 0;
  expiredCount: u32 = 0;
  expiredNewest: u32 = 0;
  wheelTimeMs: u64 = 0;
  expiredRemoved: u64 = 0;
  /** The highest time that was seen when the newest sealed group, and the group in flight, were sealed; the one on the device. */
  sealedTimeMs: u64 = 0;
  flightTimeMs: u64 = 0;
  durableTimeMs: u64 = 0;
  /** Expiry and timestamp of the write under way, where its flags say that it has them. */
  callExpiry: u64 = 0;
  callTimestamp: u64 = 0;
  /** Size of its value as it was given, where it is compressed. */
  callRawSize: u32 = 0;
  // What `entryOpen` found
  entryVersion: f64 = 0;
  entryExpiry: f64 = 0;
  entryTimestamp: f64 = 0;
  /** What `increment` came to. */
  incremented: i64 = 0;

  /** Writes that wait for their nodes: engine/later.ts. */
  laterCount: u32 = 0;

  // Sequences
  sequence: u64 = 0;
  sequenceCeiling: u64 = 0;
  highestTimeMs: u64 = 0;
  batchSequence: u64 = 0;

  // Device and segments
  storeIdLow: u64 = 0;
  storeIdHigh: u64 = 0;
  checkSeed: u64 = 0;
  segmentBlocks: u32 = 0;
  segmentSizeLog2: u32 = 0;
  segmentCount: u32 = 0;
  /** Directory of the chunks that hold the segment table. */
  segmentDirectory: u32 = 0;
  /** Free segments of this mount's allotment, and where the search for the next one starts. */
  segmentFreeCount: u32 = 0;
  segmentSearch: u32 = 0;
  /** Index plus 1 of the segment that a batch set aside for itself to take next; 0 when there is none. */
  takeFirst: u32 = 0;
  /** Most segments that were used at once, of late and in the period before, and segments taken in this one. */
  usedPeak: u32 = 0;
  usedPeakBefore: u32 = 0;
  peakTaken: u32 = 0;
  /** The first free segment is taken: a full compaction moves everything towards the beginning. */
  takesLowest: u32 = 0;
  allotmentStart: u32 = 0;
  allotmentEnd: u32 = 0;
  /** The open segment of the log and the block of it that the tail fills; `segmentBlocks` when none is open. */
  segmentOpen: u32 = 0;
  segmentOpenBlock: u32 = 0;
  epoch: u32 = 0;
  generationCounter: u32 = 0;
  superblockGeneration: u64 = 0;
  /** Whether the host writes superblocks and checkpoints beside everything else, and reports. */
  hostFlies: u32 = 0;
  // The superblock in flight: log/superblock-flight.ts
  superblockStep: u32 = 0;
  /** Its number; what it raises; the mark that it names; whether it names the checkpoints as they are. */
  superblockFlight: u64 = 0;
  superblockSegments: u32 = 0;
  superblockEnd: u32 = 0;
  superblockCeiling: u64 = 0;
  superblockMark: u64 = 0;
  superblockCounts: u32 = 0;
  /** There was no room to grow ahead. */
  growthRefused: u32 = 0;
  engine: u32 = 0;
  closed: u32 = 0;
  saltLow: u64 = 0;
  saltHigh: u64 = 0;
  droppedTombstones: u64 = 0;
  // What the next segment's header names as its predecessor
  previousSegment: u32 = 0;
  previousGeneration: u64 = 0;
  /** The epoch of the mount whose groups may follow the durable one; while opening. */
  logEpoch: u64 = 0;
  /** Newest complete group that was replayed; while opening. */
  previousGroup: u64 = 0;

  // Space
  /** The chunk that holds the present note: its header, then the map. */
  note: u32 = 0;
  noteSerial: u32 = 0;
  /** Segments in each of these states. */
  emptiedCount: u32 = 0;
  notedCount: u32 = 0;
  /** A segment was closed since the last survey. */
  surveyDue: u32 = 0;
  /** There was a survey that compaction has not looked at. */
  paceDue: u32 = 0;
  /** The mark that the newest sealed group, and the group in flight, name; the newest mark that is durable itself. */
  sealedMark: u64 = 0;
  /** Newest sealed group: numbers of groups that were given up are left out. */
  sealedGroup: u64 = 0;
  flightMark: u64 = 0;
  provenMark: u64 = 0;
  // What the last survey found: closed segments and what is in them, the two oldest births
  surveyCount: u32 = 0;
  /** Segments that are not free; closed ones that hold nothing any more and wait for their copies. */
  surveyUsed: u32 = 0;
  surveyMoved: u32 = 0;
  surveyLive: u64 = 0;
  surveyTombstones: u64 = 0;
  /** Of those, what is needed for the sake of a segment that was born before. */
  surveyTombstonesHeld: u64 = 0;
  /** Of those, what is kept for the sake of the past alone, or beside another reason. */
  surveyTombstonesPast: u64 = 0;
  bornOldest: u64 = 0;
  bornSecond: u64 = 0;
  bornOldestSegment: u32 = 0;

  // Copies that compaction makes: a segment of their own, a ring of frames, and a copy of what is in flight
  /** Chunks that each of the two has: a power of two, or 0 before the first copy. */
  sideChunks: u32 = 0;
  /** Index plus 1 of the segment that is filled, and of one that is full but not written yet. */
  sideSegment: u32 = 0;
  sideClosing: u32 = 0;
  /** The last block of the one that is full. */
  sideClosingEnd: u64 = 0;
  /** The open block of its segment, bytes used of it. */
  sideBlock: u32 = 0;
  sideUsed: u32 = 0;
  /** Bytes of the records that it was given. */
  sidePlaced: u32 = 0;
  /** Numbers of blocks, from 1: the open one; the first that was neither written nor put in flight. */
  sideTail: u64 = 0;
  sideHanded: u64 = 0;
  /** Blocks in flight: [sideFlightFrom, sideFlightTo); none when equal. */
  sideFlightFrom: u64 = 0;
  sideFlightTo: u64 = 0;
  /** They were written synchronously meanwhile; the host's report is still to come. */
  sideFlightWritten: u32 = 0;
  /** They met a full device and wait to be written again. */
  sideFlightHeld: u32 = 0;
  /** Segments of copies that were opened, and that are closed and written. */
  sideOpened: u32 = 0;
  sideClosed: u32 = 0;

  // Compaction
  compactAuto: u32 = 0;
  /** Room is made for a deletion. */
  deleting: u32 = 0;
  /** Copies may use more of what is kept. */
  rescuing: u32 = 0;
  /** Share of garbage, in thousandths, above which it runs by itself. */
  compactThousandths: u32 = 0;
  compactActive: u32 = 0;
  compactCredit: i64 = 0;
  /** Of `bytesAppended`, what has paid for compaction; notes never do. */
  bytesPaid: u64 = 0;
  /** Bytes that it reads for each byte of the log, in thousandths. */
  compactFactor: u32 = 0;
  /** Mean of the segments that are on their way to be free. */
  givenMean: f64 = 0;
  /** Segments with younger lives are left alone by a full compaction. */
  compactBefore: u64 = 0;
  /** The segment that is being moved, index plus 1, its next block, and a value that runs on into it. */
  moveSegment: u32 = 0;
  moveBlock: u32 = 0;
  /** Where in that block to go on. */
  moveOffset: u32 = 0;
  moveCarry: u32 = 0;
  /** Bytes of the record that is being copied. */
  moveTotal: u32 = 0;
  moveKind: u32 = 0;
  movePart: u32 = 0;
  moveKeySize: u32 = 0;
  moveSequence: u64 = 0;
  moveSource: u64 = 0;
  moveTarget: u64 = 0;
  /** Frames of the window that is open; those for windows that are read here. */
  moveFrames: u32 = 0;
  moveOwnFrames: u32 = 0;
  /** The window that is open was read from the device; the block of it that is looked at, and whether it is in memory. */
  moveIsRead: u32 = 0;
  moveFrame: u32 = 0;
  moveInMemory: u32 = 0;
  /** Of the segment that was chosen last, how much of it is garbage, in thousandths. */
  moveGain: u32 = 0;
  /** When the step that runs must end, in nanoseconds, and whether it waits for the device rather than block. */
  stepEnd: u64 = 0;
  stepWaits: u32 = 0;
  bytesMoved: u64 = 0;
  bytesScanned: u64 = 0;
  segmentsEmptied: u64 = 0;
  segmentsFreed: u64 = 0;
  /** Segments that were given back to the file system. */
  segmentsCut: u64 = 0;

  // Write buffer: a ring of frames; blocks are numbered from 1 in the order in which they were opened
  frames: u32 = 0;
  frameCount: u32 = 0;
  frameMask: u32 = 0;
  tailFrame: u32 = 0;
  tailUsed: u32 = 0;
  tailOpen: u32 = 0;
  /** Number of the open block, or of the last one. */
  tailBlock: u64 = 0;
  /** Frames of blocks below this number hold nothing. */
  residentFrom: u64 = 0;
  /** Device offset of the payload of the open block. */
  tailOffset: u64 = 0;
  /** Blocks below this number were handed to the device. */
  handedBlock: u64 = 0;
  /** Blocks below this number carry their checksum. */
  checkedBlock: u64 = 0;
  /** Records at this address and above, in the open segment, may still be updated in place. */
  mutableFrom: u64 = 0;
  mutableTo: u64 = 0;
  /** Blocks of the group in flight: [flightFrom, flightTo); none when equal. */
  flightFrom: u64 = 0;
  flightTo: u64 = 0;
  flightGroup: u64 = 0;
  /** A synchronous flush has made the flight durable already; the host's report is still to come. */
  flightDurable: u32 = 0;
  /** Whether the flight met a full device and waits to be written again. */
  flightHeld: u32 = 0;
  flightSequence: u64 = 0;
  planPieceCount: u32 = 0;
  batchOpen: u32 = 0;
  /** Blocks not handed over hold values that are nowhere else in memory: they may be read back. */
  readBack: u32 = 0;
  group: u64 = 0;
  /** Whether the current group holds anything. */
  groupDirty: u32 = 0;
  flushIntervalMs: u32 = 0;
  groupStartMs: u64 = 0;
  durableGroup: u64 = 0;
  durableSequence: u64 = 0;
  /** Why writes are refused: 0, NO_SPACE while a group waits for room, POISONED, READ_ONLY. */
  blocked: i32 = 0;
  /** Copy of the blocks in flight, so that no frame is pinned while the host writes. */
  flightArea: u32 = 0;
  flightCapacity: u32 = 0;

  // The value that is being streamed into the log
  streamActive: u32 = 0;
  streamKeySize: u32 = 0;
  /** Its size as it was given, where it is compressed. */
  streamRawSize: u32 = 0;
  streamSize: u32 = 0;
  streamWritten: u32 = 0;
  streamPartRemaining: u32 = 0;
  streamPart: u32 = 0;
  streamFlags: u32 = 0;
  streamCallFlags: u32 = 0;
  streamTable: u32 = 0;
  streamParts: u32 = 0;
  streamPartMax: u32 = 0;
  streamSequence: u64 = 0;
  streamAddress: u64 = 0;
  // Where the log stood when it started
  streamStartSegment: u32 = 0;
  streamStartOpenBlock: u32 = 0;
  streamStartPreviousGeneration: u64 = 0;
  streamStartPrevious: u32 = 0;
  streamStartGeneration: u64 = 0;
  streamStartBlock: u64 = 0;
  /** The value has a group of its own, so it can be given up. */
  streamAlone: u32 = 0;

  // The value that is being read
  readAddress: u64 = 0;
  readSequence: u64 = 0;
  /** Its size as it was given, and that of its stored form; the same where it is not compressed. */
  readSize: u32 = 0;
  readStored: u32 = 0;
  readCompressed: u32 = 0;
  /** A piece of it: where in the stored form it lies, and whether as it is. */
  pieceFrom: u32 = 0;
  pieceTo: u32 = 0;
  pieceIsRaw: u32 = 0;
  readKeySize: u32 = 0;
  readTable: u32 = 0;
  /** Bytes from the start of its record to the key; of its first part, the extent's field apart. */
  readKeyOffset: u32 = 0;
  wasiReadTarget: u32 = 0;
  wasiErrorCode: u32 = 0;
  /** Device offset of the last fault, for messages. */
  faultOffset: u64 = 0;

  /** Where touched memory ends up, so that touching is not optimised away. */
  touched: u32 = 0;

  // Replay: a value that runs on into the next block
  replayCarry: u32 = 0;
  replayNode: u32 = 0;
  replaySequence: u64 = 0;
  /** The pass: see recovery/replay.ts. */
  replayPass: u32 = 0;
  replayDeleted: u32 = 0;
  /** The list of the log's lives, and the mark that the log was walked with. */
  replayLogs: u32 = 0;
  walkMark: u64 = 0;
  /** The epoch whose groups may follow the mark. */
  walkEpoch: u64 = 0;
  /** Blocks that are in memory: the first one's index on the device, and how many. */
  windowFrom: u64 = 0;
  windowCount: u32 = 0;
  replayNoteSize: u32 = 0;
  /** Folded from what of the device an opening goes by: another one when a writer has gone on. */
  scanFold: u64 = 0;
  /** Segments that are to be replayed, and that were. */
  replaySegments: u32 = 0;
  replayedSegments: u32 = 0;
  replayExtents: u32 = 0;
  /** The newest note that was found so far. */
  replayNoteSerial: u64 = 0;
  /** Keys of the checkpoint that is loaded, and their bytes. */
  keysToLoad: u64 = 0;
  keyBytesToLoad: u64 = 0;
  /** That note counts segments behind the device's last one. */
  replayNoteBeyond: u32 = 0;
  // Where the log ends: index plus 1 of its last segment, and blocks of it that belong to complete groups
  logEndSegment: u32 = 0;
  logEndBlock: u32 = 0;
  logEndIsSealed: u32 = 0;
  /** Blocks of the copy that was made of a segment filled in part. */
  copyBlocks: u32 = 0;
  /** Newest complete group behind the mark, 0 when there is none. */
  tailGroup: u64 = 0;
  /** Where the groups behind the durable mark begin: index plus 1, 0 when there are none. */
  tailFromSegment: u32 = 0;
  tailFromBlock: u32 = 0;

  // Progress of an opening, in blocks; the host reads these words while it is called
  progressDone: u32 = 0;
  progressTotal: u32 = 0;

  // Checkpoints
  /** What one that is being written knows (engine/checkpoint.ts); 0 when there is none. */
  checkpointWork: u32 = 0;
  checkpointAuto: u32 = 0;
  /** Lowest sequence of a kept checkpoint, and of one that is being written: newer deletions are needed. 0: no bound. */
  checkpointFloor: u64 = 0;
  /** When one may be due: `bytesAppended` then. */
  checkpointDueAt: u64 = 0;
  /** `bytesAppended` when the newest one was begun, less what was replayed behind it when the store was opened. */
  checkpointBase: i64 = 0;
  /** Bytes of log, and thousandths of the live bytes, after which one is due; blocks of a step. */
  checkpointLogBytes: u64 = 0;
  checkpointThousandths: u32 = 0;
  checkpointStepBlocks: u32 = 0;
  /** Steps that what was written to the log has paid for, in blocks. */
  checkpointCredit: u32 = 0;
  /** Superblocks that are still to be written until neither generation names another checkpoint than the kept ones. */
  checkpointPending: u32 = 0;
  /** A checkpoint that was replaced, as a root: freed when no superblock names it. */
  replacedSegment: u32 = 0;
  replacedGeneration: u64 = 0;
  /** Segments that kept checkpoints, and one that is being written, take. */
  checkpointSegments: u32 = 0;
  /** A superblock is to name the newest one for the first time. */
  checkpointUnnamed: u32 = 0;
  /** Blocks are written within the steps. */
  checkpointNow: u32 = 0;
  // Blocks in flight: log/checkpoint-flight.ts
  checkpointArea: u32 = 0;
  /** The half that is filled, its blocks and its pieces. */
  checkpointHalf: u32 = 0;
  checkpointFilled: u32 = 0;
  checkpointPieces: u32 = 0;
  /** Pieces in flight; whether they were written here meanwhile. */
  checkpointFlying: u32 = 0;
  checkpointFlownWritten: u32 = 0;
  /** One that was given up while blocks of it flew, as a root. */
  abandonedSegment: u32 = 0;
  abandonedGeneration: u64 = 0;
  /** The newest one: its blocks and its keys. */
  checkpointBlocks: u32 = 0;
  checkpointKeys: u64 = 0;
  checkpointsMade: u32 = 0;
  checkpointsGivenUp: u32 = 0;
  checkpointFallbacks: u32 = 0;
  // The one that opening started from
  /** Its sequence; 0 when all of the log is replayed. A record up to it moves what is there and creates nothing. */
  replayFloor: u64 = 0;
  /** Where the log is gone on with from it; see format/checkpoint.ts. */
  replayFromGeneration: u64 = 0;
  replayFromBlock: u32 = 0;
  replayLogGeneration: u64 = 0;
  replayCopiesGeneration: u64 = 0;
  /** Parts of values whose place is not known yet. */
  unplaced: u64 = 0;

  // Changes
  /** The chunk that tells of writes while somebody watches (engine/feed.ts), bytes of it, and whether some found no room. */
  feed: u32 = 0;
  feedUsed: u32 = 0;
  feedLost: u32 = 0;
  /** Deletions that compaction has copied, or dropped: whoever looks for them must look again. */
  tombstonesMoved: u32 = 0;
  /** The past that can be counted on (log/history.ts): samples, the bounds, and the highest sequence that is outside. */
  history: u32 = 0;
  historyCount: u32 = 0;
  historyBytes: u64 = 0;
  historyMs: u64 = 0;
  historyFloor: u64 = 0;

  /** What a verification that is under way knows; 0 when there is none: verify/state.ts. */
  verifyState: u32 = 0;

  // Backups: segments that they pin, and those of them that hold nothing any more
  segmentsPinned: u32 = 0;
  segmentsHeld: u32 = 0;

  // Block cache
  cacheInfo: u32 = 0;
  cachePointers: u32 = 0;
  cacheFrameCount: u32 = 0;
  cacheCapacity: u32 = 0;
  cacheHand: u32 = 0;
  cacheTable: u32 = 0;
  cacheTableMask: u32 = 0;
  /** Frames that scans take turns in, and where the next one goes. */
  cacheRing: u32 = 0;
  cacheRingSlots: u32 = 0;
  cacheRingHand: u32 = 0;
  cachePinned: u32 = 0;
  /** Who reads: `CacheMode`. */
  cacheMode: u32 = 0;
  cacheHits: u64 = 0;
  cacheMisses: u64 = 0;

  // Reads of the device
  /** Handle that cold blocks are read through. */
  deviceCold: u32 = 0;
  /** Where several neighbours are read in one piece. */
  readStaging: u32 = 0;
  /** The last block that was missed, and how many are read ahead when its neighbour is missed next. */
  readLast: u32 = 0;
  readRun: u32 = 0;
  /** Blocks of the plan that is being made; blocks that were read before they were asked for. */
  planBlockCount: u32 = 0;
  readAheadBlocks: u64 = 0;

  // Compression: whether values are compressed, and the working memory, 0 where no value can be (engine/compress.ts)
  compression: u32 = 0;
  compressArea: u32 = 0;
  /** Pieces of the streamed value that came. */
  streamPiece: u32 = 0;
  /** Compressed values, and the bytes that their stored forms have less. */
  compressedCount: u64 = 0;
  compressedSaved: u64 = 0;
  /** Incompatible feature bits that the superblock has. */
  features: u64 = 0;

  // Counters
  flushes: u64 = 0;
  blocksWritten: u64 = 0;
  bytesAppended: u64 = 0;
  deviceReads: u64 = 0;
  deviceWrites: u64 = 0;
  deviceSyncs: u64 = 0;
  recoveredRecords: u64 = 0;
  recoveredTailBlocks: u64 = 0;
  inPlaceUpdates: u64 = 0;
}

if (offsetof<Root>() > EXPIRY_LISTS - ROOT) ERROR("Root outgrew its place");

export namespace Attention {
  /** The oldest write that is not on the device is older than the flush interval. */
  export const FLUSH_DUE: u32 = 1;
  /** Enough is buffered that writing it out now is worth a trip. */
  export const BUFFER_FULL: u32 = 2;
  /** Old versions wait to be freed. */
  export const VERSIONS_DUE: u32 = 4;
  /** Compaction has a step to do. */
  export const COMPACTION_DUE: u32 = 8;
  /** Records may have expired. */
  export const EXPIRY_DUE: u32 = 16;
  /** A checkpoint is due, or a step of one. */
  export const CHECKPOINT_DUE: u32 = 32;
  /** A superblock is to be put in flight. */
  export const SUPERBLOCK_DUE: u32 = 64;
  /** What was written is to be taken from the feed before anything else is written. */
  export const CHANGES_DUE: u32 = 128;
}

// @ts-ignore: top-level constants of unmanaged views are how state is reached
export const root: Root = changetype<Root>(ROOT);
