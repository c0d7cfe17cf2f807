/** A worker's side of a restore that a page has asked for: fetches the bytes from the page as it needs them. */

import { toWireError } from "../store/connection/wire.ts";
import { CairnError } from "../store/error.ts";
import type { FromRestore, RestoreMessage, ToRestore } from "./restore-wire.ts";
import type { Restore } from "./restoring.ts";

/** Does what the message asks for, and says how it ended. */
export async function restoreForPage(restore: Restore, message: RestoreMessage): Promise<void> {
  const { target, overwrite, sourceCount, wantsProgress, lock, port } = message;
  const tell = (what: FromRestore): void => port.postMessage(what);
  void navigator.locks.request(lock, () => {
    tell({ type: "alive" });
    return new Promise(() => {});
  });
  let answered: ((answer: ToRestore) => void) | undefined;
  port.onmessage = ({ data }: MessageEvent<ToRestore>) => answered?.(data);
  const next = async (source: number): Promise<IteratorResult<Uint8Array, undefined>> => {
    tell({ type: "more", source });
    const answer = await new Promise<ToRestore>((resolve) => {
      answered = resolve;
    });
    if ("failed" in answer) throw new CairnError("INVALID_ARGUMENT", "restore", "restore: its source has failed.");
    const { bytes } = answer;
    return bytes === undefined ? { done: true, value: undefined } : { done: false, value: bytes };
  };
  const sources = Array.from({ length: sourceCount }, (_, source) => ({
    [Symbol.asyncIterator]: (): AsyncIterator<Uint8Array, undefined> => ({
      next: () => next(source),
      async return() {
        tell({ type: "stop", source });
        return { done: true, value: undefined };
      },
    }),
  }));
  try {
    const report = await restore(target, sources, {
      overwrite,
      ...(wantsProgress ? { onProgress: (progress) => tell({ type: "progress", progress }) } : {}),
    });
    tell({ type: "done", report });
  } catch (error) {
    tell({ type: "failed", error: toWireError(error, "restore") });
  }
}
