/** What a page that restores and the worker that writes for it say to each other. All of it can be cloned. */
import type { RestoreReport } from "../store/backup/restore.ts";
import type { WireError } from "../store/connection/wire.ts";
import type { StoreProgress } from "../store/options.ts";

/** From a page to a worker: the first message. Everything else goes through the port. */
export interface RestoreMessage {
  type: "restore";
  target: string;
  overwrite: boolean;
  /** How many backups there are. */
  sourceCount: number;
  /** Whether it is to tell how far it is. */
  wantsProgress: boolean;
  /** The lock that the worker holds while it lives. */
  lock: string;
  port: MessagePort;
}

/** From the worker: it wants the next bytes of a source, or no more of them; how far it is; how it ended. */
export type FromRestore =
  | { type: "alive" }
  | { type: "more"; source: number }
  | { type: "stop"; source: number }
  | { type: "progress"; progress: StoreProgress }
  | { type: "done"; report: RestoreReport }
  | { type: "failed"; error: WireError };

/** To the worker: bytes, its own; `undefined` at the end. Or that the source has failed, of which the page knows more. */
export type ToRestore = { bytes: Uint8Array | undefined } | { failed: true };
