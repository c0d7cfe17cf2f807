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

/** After so long without a turn of the event loop, nobody waits for what lands in one. */
export const TURNLESS_MS = 20;

/** Whether the event loop turns, or a program keeps the thread to itself. */
export class Turns {
  /** When it turned last, as far as is known; since when that is looked for. */
  private turnedAt = Number.NEGATIVE_INFINITY;
  private watchedAt = 0;
  private isWatching = false;

  /** Whether it turned within so long before `now`, of `performance.now`; starts looking when that is not known. */
  isTurning(now: number, withinMs = TURNLESS_MS): boolean {
    if (now - this.turnedAt < withinMs) return true;
    if (!this.isWatching) {
      this.isWatching = true;
      nextTurn(() => {
        this.isWatching = false;
        this.turnedAt = performance.now();
      });
      this.watchedAt = now;
    }
    return now - this.watchedAt < withinMs;
  }
}

/**
 * Work that is put off to the next turn of the event loop, done once however often it was asked for. Handing something to the
 * host may hold the thread up (its thread pool has a lock): no operation pays for that.
 */
export class Later {
  private readonly body: () => void;
  private isDue = false;
  private askedAt = 0;

  /** `body` must not throw. */
  constructor(body: () => void) {
    this.body = body;
  }

  /** Asks for it. Where no turn came for long, it is done at once. */
  ask(): void {
    const now = performance.now();
    if (this.isDue) {
      if (now - this.askedAt >= TURNLESS_MS) this.body();
      return;
    }
    this.isDue = true;
    this.askedAt = now;
    nextTurn(() => {
      this.isDue = false;
      this.body();
    });
  }
}

/** Calls `body` when whoever waits for a commit group has been told: all of them in this turn, and what they do at once comes before. */
export function afterGroup(body: () => void): void {
  queueMicrotask(() => queueMicrotask(body));
}

/** `afterGroup`, done once however often it was asked for until then. */
export class AfterGroup {
  private readonly body: () => void;
  private isDue = false;

  /** `body` must not throw. */
  constructor(body: () => void) {
    this.body = body;
  }

  /** Asks for it. */
  ask(): void {
    if (this.isDue) return;
    this.isDue = true;
    afterGroup(() => {
      this.isDue = false;
      this.body();
    });
  }
}
