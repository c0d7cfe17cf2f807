/** `watch`: its arguments, and the iterator that a program gets. */
import { checkSince } from "./changes-since.ts";
import { CairnError } from "./error.ts";
import { type Range, spanOf } from "./range.ts";
import { invalid, isPlain } from "./refusals.ts";
import type { Face } from "./scope.ts";
import type { Session } from "./session.ts";
import { type Change, Watcher } from "./watcher.ts";

export type { Change } from "./watcher.ts";

/** Which keys to watch. */
export type WatchRange<K = string> = Pick<Range<K>, "gt" | "gte" | "lt" | "lte" | "prefix">;

/** How to watch. */
export interface WatchOptions {
  /**
   * First each key's latest change after this version, deletions included, in the order of versions; then what is written
   * meanwhile and from then on. 0: first all records that are there. Default: only what is written from now on.
   */
  since?: number | undefined;
  /** Ends it: the next `next()`, and one that waits, reject with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Whether a change is shown only when it is on stable storage, so that no crash takes it back. Default `true`. */
  durable?: boolean | undefined;
  /**
   * Bytes of changes that wait for a slow consumer at most, their overhead included; beyond, it is given each key's latest
   * change instead of all. Default 4 MiB, at least 1,024.
   */
  bufferBytes?: number | undefined;
}

const BUFFER_BYTES = 4 * 1024 * 1024;
const BUFFER_BYTES_MIN = 1024;
const OPTIONS = ["since", "signal", "durable", "bufferBytes"];

/** What is left of an iterator that a program drops. */
interface Left {
  watcher: Watcher;
  release: () => void;
}

const dropped = new FinalizationRegistry<Left>(({ watcher, release }) => {
  release();
  watcher.stop();
});

/** The changes of a store: for `for await`. One consumer; calls of `next` are answered in their order. */
export class Watch<K = string, V = string> implements AsyncIterableIterator<Change<K, V>> {
  private readonly watcher: Watcher;
  private readonly release: () => void;
  private turn: Promise<unknown> = Promise.resolve();

  /** Stores make these: `store.watch()`. */
  constructor(watcher: Watcher, release: () => void) {
    this.watcher = watcher;
    this.release = release;
    dropped.register(this, { watcher, release }, watcher);
  }

  /**
   * The version to go on from, with `since`: all changes up to it were given. It grows also while nothing is written that this
   * watch is about. Where a part of a commit was given it is below that commit, whose changes would all come again.
   */
  get version(): number {
    return this.watcher.version;
  }

  /** Whether a `next` waits, and nothing that is durable is kept from it. */
  get isIdle(): boolean {
    return this.watcher.isIdle;
  }

  /** The next change. Waits for it. `CLOSED` when the store was closed before all was given, `POISONED`, `VERSION_COMPACTED`. */
  next(): Promise<IteratorResult<Change<K, V>, undefined>> {
    const { watcher } = this;
    const next = this.turn.then(async (): Promise<IteratorResult<Change<K, V>, undefined>> => {
      let change: Change<unknown, unknown> | undefined;
      try {
        change = await watcher.next();
      } catch (error) {
        // `for await` does not call `return` then.
        this.release();
        throw error;
      }
      if (change !== undefined) return { done: false, value: change as Change<K, V> };
      this.release();
      return { done: true, value: undefined };
    });
    this.turn = next.catch(() => undefined);
    return next;
  }

  /** Ends it, one that waits included. */
  async return(): Promise<IteratorResult<Change<K, V>, undefined>> {
    this.release();
    dropped.unregister(this.watcher);
    this.watcher.stop();
    return { done: true, value: undefined };
  }

  /** `return`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Itself: `for await (const change of …)`. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** See `Store.watch`. */
export function watchOf<K, V>(session: Session, face: Face, what: unknown, options: unknown): Watch<K, V> {
  const { since, signal, durable, bufferBytes } = readWatchOptions(options);
  if (session.settings.readOnly) {
    const message =
      "watch: a store that is open readOnly does not see what its writer writes. Watch it where it is written.";
    throw new CairnError("UNSUPPORTED", "watch", message);
  }
  const { scope } = face;
  let keys: Map<string, Uint8Array> | undefined;
  let span = scope.whole;
  if (Array.isArray(what)) {
    keys = new Map();
    for (const key of what) {
      const id = scope.idOf(scope.keptKey(key, "watch"));
      keys.set(id, bytesOfId(id));
    }
  } else {
    const range = what as Range | undefined;
    span = spanOf(range, scope, "watch");
    if (
      range !== undefined &&
      (span.reverse || span.limit !== Number.POSITIVE_INFINITY || range.snapshot !== undefined)
    ) {
      throw invalid("watch", "a range to watch has no reverse, no limit and no snapshot.");
    }
  }
  if (since !== undefined && since !== 0) checkSince(session, since);
  signal?.throwIfAborted();
  const watcher = new Watcher(session, session.watched(), face, {
    span,
    keys,
    since,
    isDurable: durable,
    bytesMax: bufferBytes,
  });
  const onAbort = (): void => watcher.fail(signal?.reason, true);
  signal?.addEventListener("abort", onAbort, { once: true });
  return new Watch<K, V>(watcher, () => signal?.removeEventListener("abort", onAbort));
}

/** Checks the options of `watch`, and fills in their defaults. `INVALID_ARGUMENT`. */
export function readWatchOptions(options: unknown): {
  since: number | undefined;
  signal: AbortSignal | undefined;
  durable: boolean;
  bufferBytes: number;
} {
  if (!isPlain(options)) {
    throw invalid("watch", "options must be an object { name: value }, a signal one of them: { signal }.");
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !OPTIONS.includes(name)) throw invalid("watch", `there is no option ${name}.`);
  }
  const { since, signal, durable = true, bufferBytes = BUFFER_BYTES } = options as WatchOptions;
  if (since !== undefined && !(Number.isSafeInteger(since) && since >= 0)) {
    throw invalid("watch", "since must be a version, or 0.");
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid("watch", "signal must be an AbortSignal.");
  if (typeof durable !== "boolean") throw invalid("watch", "durable must be true or false.");
  if (!Number.isSafeInteger(bufferBytes) || bufferBytes < BUFFER_BYTES_MIN) {
    throw invalid("watch", `bufferBytes must be a safe integer from ${BUFFER_BYTES_MIN} on.`);
  }
  return { since, signal, durable, bufferBytes };
}

function bytesOfId(id: string): Uint8Array {
  const bytes = new Uint8Array(id.length);
  for (let i = 0; i < id.length; i++) bytes[i] = id.charCodeAt(i);
  return bytes;
}
