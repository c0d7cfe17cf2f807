/** What a store tells about itself, as metrics: its figures, and how long what it tells events of took. */
import type { StoreEvent } from "../../../store/options.ts";
import type { StoreStats } from "../../../store/stats.ts";
import type { Family } from "./families.ts";
import { Histograms } from "./histogram.ts";

type Figure = Exclude<keyof StoreStats, "persisted">;
type Row = readonly [name: string, type: "counter" | "gauge", figure: Figure, help: string, factor?: number];

const MS = 1 / 1000;

/** One figure a row. */
export const STORE_FIGURES: readonly Row[] = [
  ["keys", "gauge", "keyCount", "Keys in the store, those of all tenants."],
  ["key_bytes", "gauge", "keyBytes", "Bytes of all keys."],
  ["value_bytes", "gauge", "valueBytes", "Bytes of all values, not compressed."],
  ["value_stored_bytes", "gauge", "valueStoredBytes", "Bytes of all values as they lie in the log."],
  ["compressed_values", "gauge", "compressedValueCount", "Values that are stored compressed."],
  ["expiring_keys", "gauge", "expiringKeyCount", "Keys that have an expiry."],
  ["expired_keys_total", "counter", "expiredKeyCount", "Keys that had expired and were taken away."],
  ["version", "gauge", "version", "The newest version."],
  ["durable_version", "gauge", "durableVersion", "The newest version that is on stable storage."],
  ["snapshots", "gauge", "snapshotCount", "Open iterators and snapshots."],
  ["older_versions", "gauge", "olderVersionCount", "Older versions of records that are kept for snapshots."],
  ["oldest_snapshot_age_seconds", "gauge", "oldestSnapshotAgeMs", "Age of the oldest open iterator or snapshot.", MS],
  ["memory_used_bytes", "gauge", "memoryUsedBytes", "Memory of the store in use."],
  ["memory_free_bytes", "gauge", "memoryFreeBytes", "What is left of the store's memory."],
  ["memory_budget_bytes", "gauge", "memoryBudgetBytes", "The store's memory in all."],
  ["node_memory_bytes", "gauge", "nodeMemoryBytes", "Memory of keys with their small values."],
  ["hash_index_memory_bytes", "gauge", "hashIndexMemoryBytes", "Memory of the hash index."],
  ["ordered_index_memory_bytes", "gauge", "orderedIndexMemoryBytes", "Memory of the ordered index."],
  ["cache_used_bytes", "gauge", "cacheUsedBytes", "Memory of blocks that were read from the device."],
  ["cache_hits_total", "counter", "cacheHitCount", "Blocks that were found in the cache."],
  ["cache_misses_total", "counter", "cacheMissCount", "Blocks that were not found in the cache."],
  ["read_ahead_blocks_total", "counter", "readAheadBlockCount", "Blocks that were read because their neighbours were."],
  ["device_bytes", "gauge", "deviceBytes", "Size of the device or file."],
  ["device_reads_total", "counter", "deviceReadCount", "Reads of the device."],
  ["device_writes_total", "counter", "deviceWriteCount", "Writes to the device."],
  ["device_syncs_total", "counter", "deviceSyncCount", "Syncs (fsync, fdatasync) of the device."],
  ["flushes_total", "counter", "flushCount", "Commit groups that were written."],
  ["log_appended_bytes_total", "counter", "appendedBytes", "Bytes of records that were appended to the log."],
  ["log_blocks_written_total", "counter", "blockWriteCount", "Blocks of the log that were written."],
  ["log_buffered_bytes", "gauge", "bufferedBytes", "Bytes that wait in the write buffer."],
  ["in_place_updates_total", "counter", "inPlaceUpdateCount", "Writes that replaced one in the write buffer."],
  ["segments", "gauge", "segmentCount", "Segments of the log."],
  ["segments_free", "gauge", "segmentFreeCount", "Segments that hold nothing."],
  ["segments_used", "gauge", "segmentUsedCount", "Segments of records that are in use."],
  ["segment_bytes", "gauge", "segmentBytes", "Size of a segment."],
  ["live_bytes", "gauge", "liveBytes", "Bytes of records that are live."],
  ["garbage_ratio", "gauge", "garbageRatio", "Share of the used segments that no live record fills, 0 to 1."],
  ["compaction_relocated_bytes_total", "counter", "relocatedBytes", "Bytes of records that compaction copied."],
  ["compaction_segments_total", "counter", "compactedSegmentCount", "Segments that compaction emptied."],
  ["segments_freed_total", "counter", "freedSegmentCount", "Segments that became free."],
  ["segments_cut_total", "counter", "cutSegmentCount", "Segments that were given back to the file system."],
  ["compaction_longest_step_seconds", "gauge", "compactionLongestMs", "The longest step of compaction.", MS],
  ["checkpoints_made_total", "counter", "checkpointMadeCount", "Checkpoints that were made."],
  ["checkpoints_given_up_total", "counter", "checkpointGivenUpCount", "Checkpoints that were begun and given up."],
  ["checkpoint_bytes", "gauge", "checkpointBytes", "Bytes of the newest checkpoint."],
  ["checkpoint_log_bytes", "gauge", "checkpointLogBytes", "Bytes of log behind it: what opening would read beside it."],
  ["checkpoint_longest_step_seconds", "gauge", "checkpointLongestMs", "The longest step of a checkpoint.", MS],
  ["backup_held_bytes", "gauge", "backupHeldBytes", "Bytes that are kept for backups under way alone."],
  ["epoch", "gauge", "epoch", "How often the store was opened for writing."],
];

const TIMED = ["flushed", "compacted", "checkpointed"] as const;
const TYPES = ["flushed", "compacted", "checkpointed", "checkpointDamaged", "full", "poisoned", "slow"] as const;

/** The store's part of the metrics. */
export class StoreMetrics {
  private readonly durations = new Histograms(TIMED.length);
  private readonly counts = new Float64Array(TYPES.length);
  private flushedBytes = 0;

  /** An event of the store. */
  event(event: StoreEvent): void {
    const at = TYPES.indexOf(event.type as (typeof TYPES)[number]);
    if (at >= 0) (this.counts[at] as number)++;
    if (event.type === "flushed") this.flushedBytes += event.bytes;
    if (event.type === "flushed" || event.type === "compacted" || event.type === "checkpointed") {
      this.durations.add(TIMED.indexOf(event.type), event.ms);
    }
  }

  /** `stats`: `undefined` while the store cannot tell. */
  families(stats: StoreStats | undefined): Family[] {
    const families: Family[] = [
      {
        name: "cairn_store_up",
        type: "gauge",
        help: "Whether the store takes calls.",
        samples: [{ labels: [], value: stats === undefined ? 0 : 1 }],
      },
    ];
    for (const [name, type, figure, help, factor = 1] of STORE_FIGURES) {
      const samples = stats === undefined ? [] : [{ labels: [], value: stats[figure] * factor }];
      families.push({ name: `cairn_store_${name}`, type, help, samples });
    }
    const timed = [
      ["flush_duration_seconds", "How long writing and syncing a commit group took."],
      ["compaction_duration_seconds", "How long runs of compaction took, with the waiting for the device."],
      ["checkpoint_duration_seconds", "How long checkpoints took, with the operations between their steps."],
    ] as const;
    for (const [at, [name, help]] of timed.entries()) {
      const samples = [{ labels: [], distribution: this.durations.read(at) }];
      families.push({ name: `cairn_store_${name}`, type: "histogram", help, samples });
    }
    families.push({
      name: "cairn_store_flushed_bytes_total",
      type: "counter",
      help: "Bytes of blocks of the commit groups that reached stable storage.",
      samples: [{ labels: [], value: this.flushedBytes }],
    });
    families.push({
      name: "cairn_store_events_total",
      type: "counter",
      help: "Events of the store since the server was made, by type.",
      samples: TYPES.map((type, at) => ({ labels: [["type", type]], value: this.counts[at] as number })),
    });
    return families;
  }
}
