/**
 * Bodies that are made as their reader takes them.
 *
 * A stream ends when its reader goes, when it does not read for long, when its key is revoked, and when the server closes. Whatever
 * the end, what it holds is let go.
 */
import type { Call } from "./call.ts";

/** What makes the pieces of a body. */
export interface PieceSource {
  /** The next piece; `undefined` at the end. One call at a time. */
  next(): Promise<Uint8Array | undefined>;
  /** Lets go of what it holds, also while `next` is under way. Called once. */
  end(): void;
  /** Whether its end may come at any time: then closing the server ends it in order. */
  readonly isEndless?: boolean;
}

/** A body out of a source. */
export function streamOf(call: Call, source: PieceSource): ReadableStream<Uint8Array> {
  const { stallMs } = call.rest.settings;
  const signals = [call.principal.revoked, call.rest.context.closing];
  let stalled: ReturnType<typeof setTimeout> | undefined;
  let control: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isOver = false;
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(stalled);
    for (const signal of signals) signal.removeEventListener("abort", stop);
    source.end();
  };
  const fail = (error: unknown): void => {
    if (isOver) return;
    over();
    control?.error(error);
  };
  function stop(): void {
    if (isOver) return;
    if (source.isEndless !== true) {
      fail(new Error("the stream was ended by the server"));
      return;
    }
    over();
    control?.close();
  }
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        control = controller;
        for (const signal of signals) signal.addEventListener("abort", stop, { once: true });
        if (signals.some((signal) => signal.aborted)) stop();
      },
      async pull(controller) {
        clearTimeout(stalled);
        try {
          const piece = await source.next();
          if (isOver) return;
          if (piece === undefined) {
            over();
            controller.close();
            return;
          }
          controller.enqueue(piece);
          stalled = setTimeout(() => fail(new Error("the reader took nothing for too long")), stallMs);
          (stalled as { unref?(): void }).unref?.();
        } catch (error) {
          fail(error);
        }
      },
      cancel: over,
    },
    { highWaterMark: 1 },
  );
}
