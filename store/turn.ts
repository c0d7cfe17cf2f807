/** Turns of the event loop, on any runtime. */

/** What a runtime may have of it. */
interface Runtime {
  setImmediate?: (callback: () => void) => unknown;
  MessageChannel?: new () => {
    port1: { onmessage: (() => void) | null; close(): void };
    port2: { postMessage(message: unknown): void };
  };
}

/** Calls `body` after timers, input and output had their turn. It keeps the process alive until then. */
export function nextTurn(body: () => void): void {
  const { setImmediate, MessageChannel } = globalThis as Runtime;
  if (setImmediate !== undefined) {
    setImmediate(body);
  } else if (MessageChannel !== undefined) {
    // Timers of browsers wait 4 ms when they follow each other.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      body();
    };
    port2.postMessage(undefined);
  } else {
    setTimeout(body, 0);
  }
}
