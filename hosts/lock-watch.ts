/** Whether the holder of a lock lives, as it turns out while somebody waits for it. See the head of `lock.ts`, point 3. */
import { holderState, type LockRecord } from "./lock-holder.ts";

/** How often a holder shows that it lives, and when one from elsewhere is given up. Tests shorten both. */
export interface LockTimings {
  heartbeatMs: number;
  staleMs: number;
}

/** How long a killed process is waited for until its last thread has ended. */
const DYING_MS_MAX = 5_000;

/** A lock file as it was found. */
export interface SeenLock {
  /** Its token, or what tells a torn lock file from others. Safe within a file name. */
  identity: string;
  /** What tells whose heartbeat it is. */
  beats: string;
  record: LockRecord | undefined;
  /** Not a lock file of ours, nor the torn beginning of one: it is nobody's to remove. */
  foreign: boolean;
  modifiedMs: number;
  /** When it was begun to be read, by `performance.now()`. */
  lookedMs: number;
}

/** The heartbeat of a lock from elsewhere, and for how long none followed it. */
interface Beat {
  modifiedMs: number;
  /** How old it was by our clock when it was seen first. */
  ageMs: number;
  watchedMs: number;
  /** When the last look had ended. */
  lookedMs: number;
}

/** Whether holders live, as it turns out while an opener waits for them. */
export class Watch {
  readonly pollMs: number;
  private readonly timings: LockTimings;
  private readonly startMs = performance.now();
  /** For locks and claims from elsewhere: what was seen of each. */
  private readonly beats = new Map<string, Beat>();
  private dyingSinceMs: number | undefined;

  constructor(timings: LockTimings) {
    this.timings = timings;
    this.pollMs = Math.min(20, timings.heartbeatMs / 4);
  }

  /** What the lock, or claim, that was seen at `path` says of its holder. `"unknown"` asks to be called again later. */
  judge(seen: SeenLock, path: string): "alive" | "dead" | "unknown" {
    const state = seen.record === undefined ? "elsewhere" : holderState(seen.record, path);
    if (state === "alive" || state === "dead") return state;
    const nowMs = performance.now();
    if (state === "dying") {
      this.dyingSinceMs ??= nowMs;
      return nowMs - this.dyingSinceMs > DYING_MS_MAX ? "alive" : "unknown";
    }
    if (seen.foreign) return "alive";
    const { heartbeatMs, staleMs } = this.timings;
    const beat = this.beats.get(seen.beats);
    if (beat === undefined) {
      const ageMs = Math.max(0, Date.now() - seen.modifiedMs);
      this.beats.set(seen.beats, { modifiedMs: seen.modifiedMs, ageMs, watchedMs: 0, lookedMs: nowMs });
      return "unknown";
    }
    if (seen.modifiedMs !== beat.modifiedMs) return "alive";
    // From the end of one look to the beginning of the next; of a pause no more than a part of a period.
    beat.watchedMs += Math.min(Math.max(0, seen.lookedMs - beat.lookedMs), heartbeatMs / 2);
    beat.lookedMs = nowMs;
    return beat.watchedMs > Math.max(heartbeatMs * 1.25, staleMs - beat.ageMs) ? "dead" : "unknown";
  }

  /** Whether waiting has lasted longer than any verdict takes: another taker hangs, or locks come and go. */
  isOver(): boolean {
    return performance.now() - this.startMs > 2 * this.timings.staleMs + DYING_MS_MAX;
  }
}
