/**
 * Cairn on any runtime, workerd included: `open` over memory and devices that a program brings. It imports nothing of a
 * runtime and uses only what the web platform has.
 */
import { CairnError } from "../store/error.ts";
import { builtinText } from "./builtin-text.ts";
import { type Inspect, inspectOn, type Open, openOn } from "./opening.ts";
import { type Repair, repairOn } from "./repairing.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "./restoring.ts";

export * from "./api.ts";
export { folderRemote } from "./no-folder.ts";
export { connect } from "./no-page.ts";

/**
 * Opens a store: `target` is `":memory:"`, gone at close, or a `BlockDevice`; a path is `UNSUPPORTED`. `wasm`, the
 * compiled `cairn-kv/cairn.wasm`, is needed where a runtime forbids compiling or does not `fetch` the file beside this
 * module: then opening without it is `UNSUPPORTED`. Other options and errors are those of `hosts/node.ts`.
 */
export const open: Open = openOn({
  async loadModule() {
    try {
      const response = await fetch(new URL("../cairn.wasm", import.meta.url));
      if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
      return await WebAssembly.compile(await response.arrayBuffer());
    } catch (cause) {
      throw new CairnError(
        "UNSUPPORTED",
        "open",
        "open: this runtime does not load or compile cairn.wasm by itself. Pass it compiled: open(target, { wasm }), with wasm from cairn-kv/cairn.wasm.",
        { cause },
      );
    }
  },
  textOf: builtinText,
  async openTarget(target) {
    if (typeof target !== "string" && !(target instanceof URL)) {
      throw new CairnError("INVALID_ARGUMENT", "open", 'open: the target must be ":memory:" or a BlockDevice.');
    }
    throw new CairnError(
      "UNSUPPORTED",
      "open",
      `open: ${target} cannot be opened, because this entry point has no files. Pass ":memory:" or a BlockDevice.`,
    );
  },
});

/** Looks at what lies on a target as it is, damaged or not: superblocks, segments, blocks, records. Writes nothing. */
export const inspect: Inspect = inspectOn(open);

/** Rebuilds a store from what is left of a damaged one: from a `BlockDevice` into another, `output`. See docs/guide/repair.md. */
export const repair: Repair = repairOn(open);

/** Brings backups back as a store: into a file, a block device or a `BlockDevice`. See docs/guide/backup.md. */
export const restore: Restore = restoreOn(open);

/** Brings a snapshot back that a store has pushed to a remote: the newest one, or the one of an id. */
export const restoreSnapshot: RestoreSnapshot = restoreSnapshotWith(restore);
