/** A stream of bytes that are made as its reader asks for them, and that lets go of what it holds however it ends. */

/** What such a stream is read from. Nothing of it may hold the stream. */
export interface PulledSource {
  /** The next bytes, or `undefined` at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** Lets go of what it holds: at the end, after a failure, when the reader cancels, or drops the stream. May come twice. */
  end(): void;
}

/** Lets go of what streams hold that a program dropped. */
const dropped = new FinalizationRegistry<() => Promise<void>>((stop) => stop());

/** The stream of a source. It errors with what `begun` or `next` rejects with, and with the reason of `signal` when that aborts. */
export function pulledStream(
  begun: Promise<PulledSource>,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const stop = async (): Promise<void> => {
    signal?.removeEventListener("abort", abort);
    dropped.unregister(begun);
    (await begun.catch(() => undefined))?.end();
  };
  // A signal lives on, and the stream must not with it.
  let control: WeakRef<ReadableStreamDefaultController> | undefined;
  const abort = (): void => {
    control?.deref()?.error(signal?.reason);
    void stop();
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async start(controller) {
        control = new WeakRef(controller);
        signal?.addEventListener("abort", abort);
        try {
          await begun;
        } catch (error) {
          await stop();
          throw error;
        }
      },
      async pull(controller) {
        try {
          const part = await (await begun).next();
          if (signal?.aborted === true) return;
          if (part !== undefined) {
            controller.enqueue(part);
            return;
          }
          // What it held is free when its reader learns of the end.
          await stop();
          controller.close();
        } catch (error) {
          await stop();
          // What an abort has ended has its reason already.
          if (signal?.aborted !== true) throw error;
        }
      },
      cancel: stop,
    },
    { highWaterMark: 1 },
  );
  dropped.register(stream, stop, begun);
  return stream;
}
