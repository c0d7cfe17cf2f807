/** Cairn on Bun: as on Node, through Bun's `node:fs`. */
import { type Inspect, inspectOn, type Open, openOn } from "./opening.ts";
import { type Repair, repairOn } from "./repairing.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "./restoring.ts";
import { systemRuntime } from "./system-runtime.ts";

export * from "./api.ts";
export { folderRemote } from "./folder-remote.ts";
export { connect } from "./no-page.ts";

/**
 * Opens a store: a path, a `file:` URL, a block device, `":memory:"` or a `BlockDevice`. Targets, options and errors are
 * those of `hosts/node.ts`.
 *
 * Text goes through `Buffer` both ways: for 100 characters `utf8Write` takes 24 ns on Bun where `encodeInto` takes 46, and
 * for 32 bytes its slices take half as long as `TextDecoder`.
 */
export const open: Open = openOn(
  systemRuntime({
    text: (buffer) => ({
      ascii: buffer.latin1Slice.bind(buffer),
      utf8: (start, end) => buffer.utf8Slice(start, end),
      write: (text, at) => buffer.utf8Write(text, at, text.length * 3),
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
