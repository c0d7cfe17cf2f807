/** Watching keys: a stream of their entries, at first and whenever one of them has changed. */
import { CairnError } from "cairn-kv";

/** What a watch needs of its store. */
export interface WatchGround<T> {
  /** The entries of the watched keys now, with what tells a state of them from another, and when one of them expires. */
  look(): { entries: T; state: string; expiresAt: number | undefined };
  /** The changes of the watched keys from now on. */
  changes(): AsyncIterableIterator<unknown>;
}

/** Longest time, in milliseconds, that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The stream of a watch. It gives the newest state whenever it is read: who reads slowly misses states between, and none is
 * buffered. It ends with the store, and fails with what the store fails with.
 */
export function watchStream<T>(ground: WatchGround<T>): ReadableStream<T> {
  let shown: string | undefined;
  let wake: (() => void) | undefined;
  let isOver = false;
  let changes = ground.changes();

  const end = (finish: () => void): void => {
    if (isOver) return;
    isOver = true;
    finish();
    wake?.();
  };
  /** Wakes who reads with each change, until the store ends. */
  const follow = async (controller: ReadableStreamDefaultController<T>): Promise<void> => {
    while (!isOver) {
      try {
        for await (const _ of changes) wake?.();
        end(() => controller.close());
      } catch (error) {
        if (codeOf(error) === "CLOSED") end(() => controller.close());
        else if (codeOf(error) !== "VERSION_COMPACTED") end(() => controller.error(error));
        if (isOver) return;
        // What came between is seen by looking.
        changes = ground.changes();
        wake?.();
      }
    }
  };

  return new ReadableStream<T>(
    {
      start(controller) {
        void follow(controller);
      },
      async pull(controller) {
        while (!isOver) {
          let seen: ReturnType<typeof ground.look>;
          try {
            seen = ground.look();
          } catch (error) {
            if (codeOf(error) !== "CLOSED") throw error;
            end(() => controller.close());
            return;
          }
          if (seen.state !== shown) {
            shown = seen.state;
            controller.enqueue(seen.entries);
            return;
          }
          const { expiresAt } = seen;
          let timer: ReturnType<typeof setTimeout> | undefined;
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
      async cancel() {
        end(() => undefined);
        await changes.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof CairnError ? error.code : undefined;
}
