/**
 * Cairn on Deno: as on Node, through Deno's `node:fs`, and with `flock` beside the lock file.
 *
 * Least permissions for a store in a file: `--allow-read` and `--allow-write` for its folder (the lock file and its drafts
 * lie there), and `--allow-read` for the package's `cairn.wasm` unless the option `wasm` is given; `readOnly: true` needs
 * `--allow-read` of the file alone. Deno opens `/proc`, `/sys` and `/dev` under `--allow-all` only. So block devices need
 * that, and without it openers cannot be judged by their process: another one is noticed by its next heartbeat (2 s), or
 * at once by `flock` when it is Deno too, and a dead one's lock is taken over when 10 s have brought no heartbeat.
 */
import { type Inspect, inspectOn, type Open, openOn } from "./opening.ts";
import { type Repair, repairOn } from "./repairing.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "./restoring.ts";
import { systemRuntime } from "./system-runtime.ts";

export * from "./api.ts";
export { folderRemote } from "./folder-remote.ts";
export { connect } from "./no-page.ts";

/** An open file of Deno. */
interface DenoFile {
  tryLockSync(exclusive: boolean): boolean;
  close(): void;
}
declare const Deno: { openSync(path: string, options: { read: boolean; write: boolean }): DenoFile };

/** Up to here `utf8Slice` is the faster one; at 1,000 bytes that are not ASCII it takes twice as long as the decoder. */
const UTF8_SLICE_SIZE_MAX = 128;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Opens a store: a path, a `file:` URL, a block device, `":memory:"` or a `BlockDevice`. Targets, options and errors are
 * those of `hosts/node.ts`. A missing permission is `DEVICE_READ` or `DEVICE_WRITE`, whose message names the flag.
 *
 * Text is written by `encodeInto`: `utf8Write` takes 70 ns more on Deno, whatever the length.
 */
export const open: Open = openOn(
  systemRuntime({
    text: (buffer) => ({
      ascii: buffer.latin1Slice.bind(buffer),
      utf8: (start, end) =>
        end - start <= UTF8_SLICE_SIZE_MAX
          ? buffer.utf8Slice(start, end)
          : // Not `buffer.subarray`: compiled for small buffers, Deno's cuts nothing out of one of 2 GiB, once.
            decoder.decode(new Uint8Array(buffer.buffer, start, end - start)),
    }),
    files: { opensExclusively: false, tryLock },
    exitMissesErrors: true,
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

/** Takes `flock` on a file through a descriptor of its own: how it is given up, or `undefined` when another has it. */
function tryLock(path: string): (() => void) | undefined {
  const file = Deno.openSync(path, { read: true, write: true });
  let isOpen = true;
  const close = (): void => {
    if (isOpen) file.close();
    isOpen = false;
  };
  let isTaken = false;
  try {
    isTaken = file.tryLockSync(true);
  } catch {
    // A file system without such locks: the lock file stands alone.
    isTaken = true;
  }
  if (isTaken) return close;
  close();
  return undefined;
}
