/** What `stats()` reports. Every name carries its unit. */
import type { Core } from "./core.ts";

/** Counters since opening, and gauges. Sizes in bytes. */
export interface StoreStats {
  /** Keys in the store. */
  keyCount: number;
  /** Bytes of all keys, and of all values, encoded but not compressed, of records included that have expired and are not taken away yet. */
  keyBytes: number;
  valueBytes: number;
  /** Values that are stored compressed, and bytes of all values as they lie in the log. */
  compressedValueCount: number;
  valueStoredBytes: number;
  /** Newest version, and the newest one that is on stable storage. */
  version: number;
  durableVersion: number;
  /** Keys that have an expiry, those included that have expired and are not taken away yet; taken away since opening. */
  expiringKeyCount: number;
  expiredKeyCount: number;
  /** Open iterators and snapshots, and older versions kept for them. */
  snapshotCount: number;
  olderVersionCount: number;
  /** Age of the oldest open iterator, in milliseconds; 0 when there is none. */
  oldestSnapshotAgeMs: number;
  /** Memory: key nodes with their small values; both indexes; everything; what is left of the budget. */
  nodeMemoryBytes: number;
  hashIndexMemoryBytes: number;
  orderedIndexMemoryBytes: number;
  memoryUsedBytes: number;
  memoryFreeBytes: number;
  memoryBudgetBytes: number;
  /** Longest chain of buckets in the hash index. More than 8 means that something is wrong with the keys' hashes. */
  hashChainLongest: number;
  orderedIndexHeight: number;
  /** The device: its size, its segments, those of records that are in use, bytes of records that are live. */
  deviceBytes: number;
  segmentCount: number;
  segmentFreeCount: number;
  segmentUsedCount: number;
  segmentBytes: number;
  liveBytes: number;
  /** Share of the used segments that no live record fills: garbage, and room at the end of the log. */
  garbageRatio: number;
  /** Compaction since opening: record bytes copied, segments emptied and freed, the longest step in milliseconds. */
  relocatedBytes: number;
  compactedSegmentCount: number;
  freedSegmentCount: number;
  compactionLongestMs: number;
  /**
   * Checkpoints: kept ones (two, once two were made), the version that the newest one is of, its keys and its bytes, bytes of
   * the segments of all, bytes of log behind the newest one.
   */
  checkpointCount: number;
  checkpointVersion: number;
  checkpointKeyCount: number;
  checkpointBytes: number;
  checkpointSegmentBytes: number;
  checkpointLogBytes: number;
  /** Since opening: checkpoints made and given up, the longest step in milliseconds; damaged ones that opening met. */
  checkpointMadeCount: number;
  checkpointGivenUpCount: number;
  checkpointLongestMs: number;
  checkpointFallbackCount: number;
  /** Written since opening: groups, blocks, record bytes; bytes that wait in the write buffer. */
  flushCount: number;
  blockWriteCount: number;
  appendedBytes: number;
  bufferedBytes: number;
  inPlaceUpdateCount: number;
  deviceReadCount: number;
  deviceWriteCount: number;
  deviceSyncCount: number;
  /** The cache of blocks read from the device. */
  cacheUsedBytes: number;
  cacheHitCount: number;
  cacheMissCount: number;
  /** Blocks that were read because their neighbours had been. */
  readAheadBlockCount: number;
  /** What opening replayed, and what it brought to safety from behind the last durable mark. */
  recoveredRecordCount: number;
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
  relocatedBytes: 37,
  compactedSegmentCount: 38,
  freedSegmentCount: 39,
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
