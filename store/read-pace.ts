/**
 * Whether a cold lookup reads at once, or leaves its read to a thread of the host.
 *
 * What the host's cache has comes in 2 µs; handing it to a thread takes five times that. Nobody says beforehand which it
 * will be, so it is tried: one slow read, and the next ones are left to threads, twice as many after each that was slow
 * again. So data that is not in the host's cache costs the event loop one read in thousands.
 *
 * In a turn of the event loop only so much is read at once; then reads go to threads, and the loop turns.
 */
import { Later } from "./turn.ts";

/** A lookup that read this long had to wait for the device. */
const QUICK_MS = 0.03;
/** Lookups that are left to threads after a slow one, and at most. */
const PAUSE_MIN = 64;
const PAUSE_MAX = 65_536;
/** Quick ones in a row after which the next pause is a short one. */
const TRUSTED_COUNT = 64;
/** What is read at once in a turn. */
const TURN_MS = 1;

/** Decides that for one store. */
export class ReadPace {
  private readonly isTried: boolean;
  private left = 0;
  private pause = PAUSE_MIN;
  private quickCount = 0;
  private spentMs = 0;
  private readonly turned = new Later(() => {
    this.spentMs = 0;
  });

  /** `isTried`: whether the host has a cache at all that reads go through. */
  constructor(isTried: boolean) {
    this.isTried = isTried;
  }

  /** Whether the next lookup reads at once. Then `took` is to be called. */
  readsNow(): boolean {
    if (!this.isTried) return false;
    if (this.left > 0) {
      this.left--;
      return false;
    }
    return this.spentMs < TURN_MS;
  }

  /** How long a lookup took that was to read at once. */
  took(ms: number): void {
    if (this.spentMs === 0) this.turned.ask();
    this.spentMs += ms;
    if (ms < QUICK_MS) {
      if (++this.quickCount >= TRUSTED_COUNT) this.pause = PAUSE_MIN;
      return;
    }
    this.quickCount = 0;
    this.left = this.pause;
    this.pause = Math.min(this.pause * 2, PAUSE_MAX);
  }
}
