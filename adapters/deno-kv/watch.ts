/** Watching keys: a stream of their entries, at first and whenever one of them has changed. */

/** What a watch needs of its store. */
export interface WatchGround<T> {
  /** The entries of the watched keys now, with what tells a state of them from another, and when one of them expires. */
  look(): { entries: T; state: string; expiresAt: number | undefined };
  /** Calls back after each commit, until the function that it gives is called. */
  onCommit(call: () => void): () => void;
  /** Calls back when the store is closed. */
  onClose(call: () => void): () => void;
}

/** Longest time, in milliseconds, that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The stream of a watch. It gives the newest state whenever it is read: who reads slowly misses states between, and none is
 * buffered.
 */
export function watchStream<T>(ground: WatchGround<T>): ReadableStream<T> {
  let shown: string | undefined;
  let wake: (() => void) | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const releases: (() => void)[] = [];
  const release = (): void => {
    clearTimeout(timer);
    for (const end of releases.splice(0)) end();
    wake?.();
  };

  return new ReadableStream<T>(
    {
      start(controller) {
        releases.push(
          ground.onCommit(() => wake?.()),
          ground.onClose(() => {
            controller.close();
            release();
          }),
        );
      },
      async pull(controller) {
        while (releases.length > 0) {
          const { entries, state, expiresAt } = ground.look();
          if (state !== shown) {
            shown = state;
            controller.enqueue(entries);
            return;
          }
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (expiresAt === undefined) return;
            timer = setTimeout(resolve, Math.min(TIMER_MS_MAX, Math.max(1, expiresAt - Date.now() + 1)));
            // A watch does not keep a process alive.
            (timer as { unref?: () => void }).unref?.();
          });
          clearTimeout(timer);
          wake = undefined;
        }
      },
      cancel: release,
    },
    { highWaterMark: 0 },
  );
}
