/**
 * `restore` on a page: a worker writes, since synchronous access to files exists there alone. The page gives it the bytes
 * of the backups, a chunk at a time, as it asks for them.
 */
import { type ByteSource, type Chunks, chunksOf, type RestoreReport } from "../store/backup/restore.ts";
import { fromWireError } from "../store/connection/wire.ts";
import { CairnError } from "../store/error.ts";
import { handlesMissing, opfsMissing } from "./opfs-target.ts";
import { reasonOfWorker, startPageWorker } from "./page-worker.ts";
import type { FromRestore, RestoreMessage, ToRestore } from "./restore-wire.ts";
import { checkRestoreOptions, type Restore, type RestoreOptions, sourcesOf } from "./restoring.ts";

/** `restore` as it is in a worker, and for files also on a page. */
export function restoreOnPages(inWorker: Restore): Restore {
  return async (target, source, options = {}) => {
    if (typeof target !== "string" || target === ":memory:" || !isPage()) return inWorker(target, source, options);
    checkRestoreOptions(options);
    return restoreByWorker(target, sourcesOf(source), options);
  };
}

/** Whether this is where a worker has to be started for what a file needs. */
function isPage(): boolean {
  return typeof Worker !== "undefined" && opfsMissing() === undefined && handlesMissing() !== undefined;
}

async function restoreByWorker(
  target: string,
  sources: readonly ByteSource[],
  { overwrite = false, onProgress }: RestoreOptions,
): Promise<RestoreReport> {
  const { port1: own, port2: port } = new MessageChannel();
  const lock = `cairn-kv:restore:${crypto.randomUUID()}`;
  const watching = new AbortController();
  const worker = startPageWorker();
  const feed = new Feed(sources, own);
  try {
    return await new Promise<RestoreReport>((resolve, reject) => {
      worker.onerror = (event) => {
        event.preventDefault?.();
        const message = `restore: the worker could not be run: ${reasonOfWorker(event)}.`;
        reject(new CairnError("UNSUPPORTED", "restore", message));
      };
      own.onmessage = ({ data }: MessageEvent<FromRestore>) => {
        if (data.type === "more") void feed.more(data.source);
        else if (data.type === "stop") void feed.stop(data.source);
        else if (data.type === "done") resolve(data.report);
        else if (data.type === "failed") reject(feed.failure?.cause ?? fromWireError(data.error));
        else if (data.type === "alive") whenGiven(lock, watching.signal, () => reject(workerEnded()));
        else {
          try {
            onProgress?.(data.progress);
          } catch {
            // A listener's failure is not the restore's.
          }
        }
      };
      const wantsProgress = onProgress !== undefined;
      const { length: sourceCount } = sources;
      const message: RestoreMessage = { type: "restore", target, overwrite, sourceCount, wantsProgress, lock, port };
      worker.postMessage(message, [port]);
    });
  } finally {
    watching.abort();
    worker.terminate();
    own.close();
    await feed.stopAll();
  }
}

/** The sources that were begun, and what one of them has failed with. */
class Feed {
  failure: { cause: unknown } | undefined;
  private readonly sources: readonly ByteSource[];
  private readonly port: MessagePort;
  private readonly begun = new Map<number, Chunks>();

  constructor(sources: readonly ByteSource[], port: MessagePort) {
    this.sources = sources;
    this.port = port;
  }

  /** Sends the next chunk of a source. Never rejects. */
  async more(source: number): Promise<void> {
    try {
      const chunk = await this.chunks(source).next();
      // The program's buffer is its own, and a view of it would bring all of it.
      const bytes = chunk === undefined ? undefined : new Uint8Array(chunk);
      this.port.postMessage({ bytes } satisfies ToRestore, bytes === undefined ? [] : [bytes.buffer]);
    } catch (cause) {
      this.failure = { cause };
      this.port.postMessage({ failed: true } satisfies ToRestore);
    }
  }

  /** Nothing more of a source is wanted. Never rejects. */
  async stop(source: number): Promise<void> {
    const chunks = this.begun.get(source);
    this.begun.delete(source);
    await chunks?.stop();
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.begun.keys()].map((source) => this.stop(source)));
  }

  private chunks(source: number): Chunks {
    let chunks = this.begun.get(source);
    if (chunks === undefined) {
      chunks = chunksOf(this.sources[source] as ByteSource);
      this.begun.set(source, chunks);
    }
    return chunks;
  }
}

/** Calls `ended` when whoever holds a lock has ended. */
function whenGiven(lock: string, signal: AbortSignal, ended: () => void): void {
  navigator.locks.request(lock, { signal }, ended).catch(() => undefined);
}

function workerEnded(): CairnError {
  const message = "restore: the worker that wrote ended before its end. The target is what it was; restore it again.";
  return new CairnError("DEVICE_WRITE", "restore", message);
}
