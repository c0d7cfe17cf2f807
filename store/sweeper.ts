/**
 * Takes expired records away: a bounded step with every block that is written, and by a timer where nothing is. They are
 * invisible from the moment of their expiry on; this gives back their memory and their space.
 */
import type { Core } from "./core.ts";
import type { CairnError } from "./error.ts";

const STAT_EXPIRING = 130;
/** What `expirySweep` answers. */
const MORE = 1;
const NOT_DURABLE = 2;
/** Between two looks at the clock when nothing is due, and when more is. */
const IDLE_MS = 1000;
const BUSY_MS = 2;
/** Of each turn of the timer. */
const TURN_MS = 1;

/** What the sweeper needs of its store. */
export interface SweptStore {
  core: Core;
  /** Whether the store may be written to now. */
  isOpen(): boolean;
  guard<T>(run: () => T): T;
  error(status: number, operation: string): CairnError;
  /** Something was written. */
  wrote(): void;
  /** A step is done: what it took away is to be told before the next one. */
  stepped(): void;
}

/** Takes the expired records of one store away. */
export class Sweeper {
  private readonly store: SweptStore;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;

  constructor(store: SweptStore) {
    this.store = store;
  }

  /** Looks after expired records from now on, as long as there are any that will expire. */
  arm(): void {
    if (this.timer === undefined && !this.stopped) this.wait(IDLE_MS);
  }

  /** One step; whether more could go now. Throws what poisons the store. */
  step(): boolean {
    const { core } = this.store;
    const status = this.store.guard(() => core.exports.expirySweep());
    if (status < 0) throw this.store.error(status, "expire");
    this.store.stepped();
    if (status === NOT_DURABLE) {
      // Nothing else may be written: the time itself must come to the device before it takes anything away.
      this.store.guard(() => core.exports.markDue());
      this.store.wrote();
    }
    return status === MORE;
  }

  /** No timer fires any more. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private wait(ms: number): void {
    // A store that was dropped without a close is not kept by its timer.
    const dropped = new WeakRef(this);
    this.timer = setTimeout(() => dropped.deref()?.fire(), ms);
    (this.timer as { unref?: () => void }).unref?.();
  }

  private fire(): void {
    this.timer = undefined;
    this.turn();
  }

  private turn(): void {
    if (!this.store.isOpen()) return;
    const start = performance.now();
    try {
      let more = this.step();
      while (more && performance.now() - start < TURN_MS) more = this.step();
      this.store.wrote();
      if (more) this.wait(BUSY_MS);
      else if (this.store.core.exports.stat(STAT_EXPIRING) > 0) this.wait(IDLE_MS);
    } catch {
      // The store is poisoned, and its next call says so.
    }
  }
}
