/** What `stats()` reports. Every name carries its unit. */
import type { Core } from "./core.ts";

/** Counters since opening, and gauges. Sizes in bytes. */
export interface StoreStats {
  /** Keys in the store, those of namespaces included. */
  keyCount: number;
  /** Bytes of all keys as stored, of records included that have expired and are not taken away yet. */
  keyBytes: number;
  /** Bytes of all values, encoded but not compressed, of such records included. */
  valueBytes: number;
  /** Values that are stored compressed. */
  compressedValueCount: number;
  /** Bytes of all values as they lie in the log. */
  valueStoredBytes: number;
  /** The newest version. */
  version: number;
  /** The newest version that is on stable storage. */
  durableVersion: number;
  /** Keys that have an expiry, those included that have expired and are not taken away yet. */
  expiringKeyCount: number;
  /** Keys that had expired and were taken away, since opening. */
  expiredKeyCount: number;
  /** Open iterators and snapshots. */
  snapshotCount: number;
  /** Older versions of records that are kept for them. */
  olderVersionCount: number;
  /** Age of the oldest open iterator or snapshot, in milliseconds; 0 when there is none. */
  oldestSnapshotAgeMs: number;
  /** Memory of key nodes with their small values. */
  nodeMemoryBytes: number;
  /** Memory of the hash index. */
  hashIndexMemoryBytes: number;
  /** Memory of the ordered index. */
  orderedIndexMemoryBytes: number;
  /** Memory of everything. */
  memoryUsedBytes: number;
  /** What is left of the budget. */
  memoryFreeBytes: number;
  /** The option `memoryBytes`, rounded to pages. */
  memoryBudgetBytes: number;
  /** Longest chain of buckets in the hash index. More than 8 means that something is wrong with the keys' hashes. */
  hashChainLongest: number;
  /** Levels of the ordered index. */
  orderedIndexHeight: number;
  /** Size of the device. */
  deviceBytes: number;
  /** Segments of the device. */
  segmentCount: number;
  /** Segments that hold nothing. */
  segmentFreeCount: number;
  /** Segments of records that are in use. */
  segmentUsedCount: number;
  /** Size of a segment. */
  segmentBytes: number;
  /** Bytes of records that are live. */
  liveBytes: number;
  /** Share of the used segments that no live record fills: garbage, and room at the end of the log. */
  garbageRatio: number;
  /** Bytes of records that compaction has copied since opening. */
  relocatedBytes: number;
  /** Segments that compaction has emptied since opening. */
  compactedSegmentCount: number;
  /** Segments that became free since opening. */
  freedSegmentCount: number;
  /** Segments of the file that were given back to the file system since opening. */
  cutSegmentCount: number;
  /** The longest step of compaction since opening, in milliseconds. */
  compactionLongestMs: number;
  /** Checkpoints that are kept: two, once two were made. */
  checkpointCount: number;
  /** The version that the newest one is of. */
  checkpointVersion: number;
  /** Keys in the newest one. */
  checkpointKeyCount: number;
  /** Bytes of the newest one. */
  checkpointBytes: number;
  /** Bytes of the segments of all that are kept. */
  checkpointSegmentBytes: number;
  /** Bytes of log behind the newest one: what opening would read beside it. */
  checkpointLogBytes: number;
  /** Checkpoints made since opening. */
  checkpointMadeCount: number;
  /** Checkpoints begun and given up since opening. */
  checkpointGivenUpCount: number;
  /** The longest step of a checkpoint since opening, in milliseconds. */
  checkpointLongestMs: number;
  /** Damaged checkpoints that opening met. */
  checkpointFallbackCount: number;
  /** Bytes of segments that backups under way still read. */
  backupPinnedBytes: number;
  /** Of these, what is kept for backups alone, and free when they are done. */
  backupHeldBytes: number;
  /** Commit groups written since opening. */
  flushCount: number;
  /** Blocks written since opening. */
  blockWriteCount: number;
  /** Bytes of records appended since opening. */
  appendedBytes: number;
  /** Bytes that wait in the write buffer. */
  bufferedBytes: number;
  /** Writes since opening that replaced one in the write buffer, and took no room in the log. */
  inPlaceUpdateCount: number;
  /** Reads of the device since opening. */
  deviceReadCount: number;
  /** Writes to the device since opening. */
  deviceWriteCount: number;
  /** Syncs of the device since opening. */
  deviceSyncCount: number;
  /** Memory of blocks that were read from the device. */
  cacheUsedBytes: number;
  /** Blocks found in that cache since opening. */
  cacheHitCount: number;
  /** Blocks not found there since opening. */
  cacheMissCount: number;
  /** Blocks that were read because their neighbours had been. */
  readAheadBlockCount: number;
  /** Records that opening replayed. */
  recoveredRecordCount: number;
  /** Blocks that opening brought to safety from behind the last durable mark. */
  recoveredTailBlockCount: number;
  /** Number of mounts of this store so far. */
  epoch: number;
  /** In browsers: whether the origin's files are kept when space runs out. Absent: the browser has not said. */
  persisted?: boolean;
}

type Gauge = Exclude<keyof StoreStats, "persisted">;

const NUMBERS: Partial<Record<Gauge, number>> = {
  keyCount: 0,
  keyBytes: 1,
  valueBytes: 2,
  compressedValueCount: 170,
  valueStoredBytes: 171,
  version: 3,
  durableVersion: 4,
  snapshotCount: 5,
  olderVersionCount: 6,
  nodeMemoryBytes: 7,
  hashIndexMemoryBytes: 8,
  orderedIndexMemoryBytes: 9,
  hashChainLongest: 10,
  orderedIndexHeight: 11,
  memoryUsedBytes: 12,
  memoryFreeBytes: 13,
  segmentCount: 14,
  segmentFreeCount: 15,
  segmentBytes: 16,
  liveBytes: 17,
  epoch: 18,
  flushCount: 19,
  blockWriteCount: 20,
  appendedBytes: 21,
  deviceReadCount: 22,
  deviceWriteCount: 23,
  deviceSyncCount: 24,
  cacheUsedBytes: 25,
  cacheHitCount: 26,
  cacheMissCount: 27,
  inPlaceUpdateCount: 28,
  recoveredRecordCount: 29,
  recoveredTailBlockCount: 30,
  bufferedBytes: 32,
  expiringKeyCount: 130,
  expiredKeyCount: 131,
  readAheadBlockCount: 64,
  checkpointMadeCount: 80,
  checkpointVersion: 81,
  checkpointSegmentBytes: 82,
  checkpointFallbackCount: 83,
  checkpointGivenUpCount: 84,
  checkpointCount: 85,
  checkpointBytes: 86,
  checkpointLogBytes: 87,
  checkpointKeyCount: 89,
  backupPinnedBytes: 160,
  backupHeldBytes: 161,
  relocatedBytes: 37,
  compactedSegmentCount: 38,
  freedSegmentCount: 39,
  cutSegmentCount: 110,
};

const STAT_SEGMENTS_USED = 42;

/** Reads all counters and gauges of a core. */
export function readStats(
  core: Core,
  oldestSnapshotAgeMs: number,
  compactionLongestMs: number,
  checkpointLongestMs: number,
): StoreStats {
  const stats: Partial<StoreStats> = {};
  for (const [name, number] of Object.entries(NUMBERS)) {
    stats[name as Gauge] = core.exports.stat(number);
  }
  stats.oldestSnapshotAgeMs = oldestSnapshotAgeMs;
  stats.compactionLongestMs = compactionLongestMs;
  stats.checkpointLongestMs = checkpointLongestMs;
  const { segmentBytes = 0, liveBytes = 0 } = stats;
  stats.segmentUsedCount = core.exports.stat(STAT_SEGMENTS_USED);
  stats.garbageRatio =
    stats.segmentUsedCount === 0 ? 0 : Math.max(0, 1 - liveBytes / (stats.segmentUsedCount * segmentBytes));
  stats.memoryBudgetBytes = core.memory.buffer.byteLength;
  stats.deviceBytes = core.device.size();
  if (core.device.persisted !== undefined) stats.persisted = core.device.persisted;
  return stats as StoreStats;
}
