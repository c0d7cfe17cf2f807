/**
 * Cairn in browsers: `open` in a dedicated worker, `connect` on a page.
 *
 * @module cairn-kv (browsers)
 */
import type { KeyEncoding, ValueEncoding } from "../store/encoding.ts";
import type { KeyOf, OpenOptions, ValueOf } from "../store/options.ts";
import { browserRuntime } from "./browser-runtime.ts";
import { connectInBrowser } from "./connect.ts";
import { type Inspect, inspectOn, type Open, openOn } from "./opening.ts";
import type { PageConnection } from "./page-connection.ts";
import { type Repair, repairOn } from "./repairing.ts";
import { restoreOnPages } from "./restore-on-page.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "./restoring.ts";

export * from "./api.ts";
export { folderRemote } from "./no-folder.ts";

/**
 * Opens a store in a dedicated worker.
 *
 * `target` is the name of a file in the origin private file system, which may have folders before it (all of them are
 * created when missing, unless `create: false`), `":memory:"`, or a `BlockDevice`. `memoryBytes` is 512 MiB unless given.
 * Rejects with `CairnError`: `UNSUPPORTED` with the reason on a page and where there is no such file system, `LOCKED`
 * when another tab or worker holds the file, `NOT_A_STORE`, `CORRUPT`, `UNSUPPORTED_FORMAT`, `NO_SPACE`,
 * `OUT_OF_MEMORY`, `INVALID_ARGUMENT` and the device's own; then nothing on the target has changed.
 *
 * One writer excludes every other; tabs that are to share a store `connect`. Readers with `readOnly` may be beside it, and
 * `refresh`; where the browser has only handles that exclude each other (Firefox), they are `LOCKED` then, as it is.
 */
export const open: Open = openOn(browserRuntime(0));

/** Looks at what lies on a target as it is, damaged or not, in a dedicated worker. Writes nothing. */
export const inspect: Inspect = inspectOn(open);

/**
 * Rebuilds a store from what is left of a damaged one, in a dedicated worker: into another file of the origin private file
 * system, with `.repaired` behind the name unless `output` says otherwise. See docs/guide/repair.md.
 */
export const repair: Repair = repairOn(open);

/**
 * Brings backups back as a store: into a file of the origin private file system, on a page as well as in a dedicated worker,
 * or in a worker into a `BlockDevice`. `LOCKED` while a connection holds the file. See docs/guide/backup.md.
 */
export const restore: Restore = restoreOnPages(restoreOn(open));

/** Brings a snapshot back that a store has pushed to a remote: the newest one, or the one of an id. */
export const restoreSnapshot: RestoreSnapshot = restoreSnapshotWith(restore);

/**
 * Connects a page to the store of a name, which all tabs of the origin share. The worker of one tab holds it; when that
 * tab is closed or crashes, the worker of another takes over, and nothing that was acknowledged is lost.
 *
 * `name` is as for `open`, but no `BlockDevice`; `":memory:"` is a store of this connection's own. The options are those
 * of `open`. Encodings, `onEvent`, `onProgress`, `readOnly` (which refuses writes of this connection) and the durability `"sync"` are
 * this connection's own; of the others those of the tab count that holds the store. Rejects as `open` does, and with
 * `UNSUPPORTED` where there are no workers, no Web Locks or no origin private file system.
 */
export function connect<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  name: string,
  options?: OpenOptions<K, V>,
): Promise<PageConnection<KeyOf<K>, ValueOf<V>>> {
  return connectInBrowser<K, V>(name, options);
}
