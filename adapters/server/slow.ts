/** The newest slow operations, for the console and for whoever asks why. */
import type { Activity } from "./activity.ts";
import type { SlowOperation, SlowOperations } from "./context.ts";

const COUNT_MAX = 128;
const THRESHOLD_MS = 100;

export class SlowRing implements SlowOperations {
  readonly thresholdMs: number;
  private readonly onSlow: ((operation: SlowOperation) => void) | undefined;
  private readonly activity: Activity | undefined;
  private readonly ring: SlowOperation[] = [];
  private next = 0;
  /** How many there were. */
  count = 0;
  /** Told of each one that is noted here, for another process. */
  onKept: ((operation: SlowOperation) => void) | undefined;

  /** `onSlow` is told of each slow operation, `activity` of every one. */
  constructor(onSlow?: (operation: SlowOperation) => void, activity?: Activity, thresholdMs = THRESHOLD_MS) {
    this.thresholdMs = thresholdMs;
    this.onSlow = onSlow;
    this.activity = activity;
  }

  note(operation: string, ms: number, tenant: string, requestId?: string): void {
    this.activity?.took(ms);
    if (ms < this.thresholdMs) return;
    const slow: SlowOperation = {
      at: Date.now() - ms,
      operation,
      ms,
      tenant,
      ...(requestId === undefined ? {} : { requestId }),
    };
    this.keep(slow);
    this.count++;
    this.onKept?.(slow);
    this.onSlow?.(slow);
  }

  /** Keeps one that another process has noted. */
  keep(slow: SlowOperation): void {
    this.ring[this.next] = slow;
    this.next = (this.next + 1) % COUNT_MAX;
  }

  list(): SlowOperation[] {
    return [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)].reverse();
  }
}
