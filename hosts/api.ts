/** What every entry point exports beside `open`, `inspect` and `connect`: the error class and the types. */
export type { PushOptions, PushReport } from "../store/backup/push.ts";
export {
  type CollectReport,
  Remote,
  type RemoteFile,
  type RemoteFiles,
  type RemoteSnapshot,
} from "../store/backup/remote.ts";
export type { ByteSource, RestoreReport } from "../store/backup/restore.ts";
export type { BackupOptions, BackupStream } from "../store/backup/stream.ts";
export type { Batch, BatchOperation, SubOperation } from "../store/batch.ts";
export type { CheckpointReport } from "../store/checkpoints.ts";
export type { CompactOptions, CompactReport } from "../store/compaction.ts";
export type { ConnectionBatch } from "../store/connection/batch.ts";
export type { ConnectionRange } from "../store/connection/reads.ts";
export type { ConnectionSnapshot } from "../store/connection/snapshot.ts";
export type { ConnectionTransaction } from "../store/connection/transaction.ts";
export type { EntryWalk, KeyWalk, ValueWalk } from "../store/connection/walk.ts";
export type { ConnectionWatch } from "../store/connection/watch.ts";
export type { BlockDevice, DevicePiece, DeviceTarget } from "../store/device.ts";
export type { Codec, Encoded, KeyEncoding, ValueEncoding } from "../store/encoding.ts";
export type { DeleteOptions, Entry, WriteOptions } from "../store/entry.ts";
export { CAIRN_ERROR_CODES, CairnError, type CairnErrorCode } from "../store/error.ts";
export type {
  BlockState,
  BlockView,
  FieldValue,
  Inspector,
  RecordView,
  SegmentView,
  SuperblockCopy,
} from "../store/inspect.ts";
export type { EntryIterator, KeyIterator, ValueIterator } from "../store/iterator.ts";
export type {
  CompactionOptions,
  Compression,
  Durability,
  HistoryOptions,
  KeyOf,
  OpenOptions,
  StoreEvent,
  StoreProgress,
  ValueOf,
} from "../store/options.ts";
export type { Range } from "../store/range.ts";
export type { BlockCounts } from "../store/repair/lives.ts";
export type { RepairDoubt, RepairGap, RepairKey, RepairProgress, RepairReport } from "../store/repair/report.ts";
export type { SegmentUse } from "../store/segments.ts";
export type { Snapshot, SnapshotRange } from "../store/snapshot.ts";
export type { StoreStats } from "../store/stats.ts";
export type { Store } from "../store/store.ts";
export type { Transaction, TransactionRange, TransactOptions } from "../store/transaction.ts";
export type { TransactionWalk } from "../store/transaction-walk.ts";
export type { Tuple, TupleElement } from "../store/tuple.ts";
export type {
  FaultPlace,
  VerifyFault,
  VerifyFaultKind,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
} from "../store/verify.ts";
export type { Change, Watch, WatchOptions, WatchRange } from "../store/watch.ts";
export type { Inspect, Open } from "./opening.ts";
export type { ConnectionStats, PageConnection as Connection } from "./page-connection.ts";
export type { Repair, RepairOptions } from "./repairing.ts";
export type { BackupSource, Restore, RestoreOptions, RestoreSnapshot } from "./restoring.ts";
