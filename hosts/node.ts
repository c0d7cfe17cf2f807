/**
 * Cairn on Node: `open` over files, block devices, memory, and devices that a program brings.
 *
 * @module cairn-kv
 */
import process from "node:process";
import { type Inspect, inspectOn, type Open, openOn } from "./opening.ts";
import { type Repair, repairOn } from "./repairing.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "./restoring.ts";
import { systemRuntime } from "./system-runtime.ts";

export * from "./api.ts";
export { folderRemote } from "./folder-remote.ts";
export { connect } from "./no-page.ts";

/** Since Node 22 writing text through a buffer beats `encodeInto`; on Node 20 it is a fifth slower. */
const UTF8_WRITE_IS_FAST = Number(process.versions.node.split(".")[0]) >= 22;

/**
 * Opens a store.
 *
 * `target` is the path of a file (created when missing, unless `create: false`), a `file:` URL, the path of a block
 * device (formatted only when blank), `":memory:"`, or a `BlockDevice`. Rejects with `CairnError`: `LOCKED`,
 * `NOT_A_STORE`, `CORRUPT`, `DEVICE_SHRUNK`, `UNSUPPORTED_FORMAT`, `NO_SPACE`, `OUT_OF_MEMORY`, `INVALID_ARGUMENT`,
 * `UNSUPPORTED` and the device's own; then nothing on the target has changed.
 */
export const open: Open = openOn(
  systemRuntime({
    text: (buffer) => ({
      ascii: buffer.latin1Slice.bind(buffer),
      utf8: (start, end) => buffer.utf8Slice(start, end),
      ...(UTF8_WRITE_IS_FAST ? { write: (text, at) => buffer.utf8Write(text, at, text.length * 3) } : {}),
    }),
  }),
);

/** Looks at what lies on a target as it is, damaged or not: superblocks, segments, blocks, records. Writes nothing. */
export const inspect: Inspect = inspectOn(open);

/** Rebuilds a store from what is left of a damaged one, into a new file beside it. See docs/guide/repair.md. */
export const repair: Repair = repairOn(open);

/** Brings backups back as a store: into a file, a block device or a `BlockDevice`. See docs/guide/backup.md. */
export const restore: Restore = restoreOn(open);

/** Brings a snapshot back that a store has pushed to a remote: the newest one, or the one of an id. */
export const restoreSnapshot: RestoreSnapshot = restoreSnapshotWith(restore);
