/**
 * Compaction, as the store sees it: steps between operations, by themselves after writes or because somebody asked.
 *
 * A step reads at most 64 KiB. What it copied lets segments be used anew only when a note and its mark are durable: two
 * groups. Automatic compaction leaves those to the writes that follow anyway.
 */
import type { Committer } from "./commit.ts";
import { COMPACT_ASKED, COMPACT_AUTO, COMPACT_FULL, COMPACT_MOVED, COMPACT_SETTLE, type Core } from "./core.ts";
import { CairnError } from "./error.ts";

/** What `compact` takes. */
export interface CompactOptions {
  /** Stops after the step that ends later than this many milliseconds. Default 10, without end when `full`. */
  maxMs?: number;
  /** Compacts every segment that holds garbage, and not only those above `compaction.garbageRatio`. Default `false`. */
  full?: boolean;
}

/** What compaction did. Sizes in bytes. */
export interface CompactReport {
  /** Read from segments with garbage. */
  bytesRead: number;
  /** Live records, and deletions that are still needed, that were copied. */
  bytesWritten: number;
  /** Of segments that may be used anew. */
  bytesFreed: number;
  segmentsFreed: number;
  /** How long it took, with the waiting for the device. */
  ms: number;
  /** Whether nothing is left to do: not when time, or room for copies, ran out. */
  done: boolean;
}

const STAT_SEGMENT_BYTES = 16;
const STAT_MOVED = 37;
const STAT_FREED = 39;
const STAT_SEGMENTS_USED = 42;
const STAT_SCANNED = 40;
const STATUS_NO_SPACE = -8;
const STEP_MAX_MS = 10;
/** Milliseconds of steps after which the event loop turns. */
const TURN_MS = 4;
/** What a step may meet without harm: it goes on when that has changed. */
const HARMLESS = ["NO_SPACE", "CORRUPT", "DEVICE_READ", "OUT_OF_MEMORY"];

/** What compaction needs of its store. */
export interface CompactorStore {
  core: Core;
  committer: Committer;
  ready(operation: string): void;
  error(status: number, operation: string): CairnError;
  guard<T>(run: () => T): T;
  report(report: CompactReport): void;
  /** Told now and then how far `run` is. */
  progress: ((progress: { phase: "compaction"; done: number; total: number }) => void) | undefined;
}

/** Runs compaction for one store. */
export class Compactor {
  /** The longest step so far, in milliseconds. */
  longestMs = 0;
  private readonly store: CompactorStore;
  private reported: Tally;

  constructor(store: CompactorStore) {
    this.store = store;
    this.reported = tally(store.core);
  }

  /** One automatic step, if one is due. Throws only what poisons the store. */
  auto(): void {
    const status = this.step(COMPACT_AUTO);
    if (status < 0) {
      const error = this.store.error(status, "compact");
      if (!HARMLESS.includes(error.code)) throw error;
    }
    const now = tally(this.store.core);
    if (now.freed > this.reported.freed) this.tell(now, 0, false);
  }

  /** What `compact` of the store does. */
  async run(options: CompactOptions): Promise<CompactReport> {
    const { full, maxMs } = readCompactOptions(options);
    const { core, committer } = this.store;
    const mode = full ? COMPACT_FULL : COMPACT_ASKED;
    const start = performance.now();
    const before = tally(core);
    const total = core.exports.stat(STAT_SEGMENTS_USED) * core.exports.stat(STAT_SEGMENT_BYTES);
    let turned = start;
    let done = false;
    if (full) {
      await committer.durable(undefined);
      const begun = this.store.guard(() => core.exports.compactBegin());
      if (begun < 0 && begun !== STATUS_NO_SPACE) throw this.store.error(begun, "compact");
      await committer.durable(undefined);
    }
    let settledAt = -1;
    while (!done) {
      const result = this.step(mode);
      if (result === STATUS_NO_SPACE) break;
      if (result < 0) throw this.store.error(result, "compact");
      if (result === COMPACT_MOVED) {
        settledAt = -1;
      } else if (result === COMPACT_SETTLE && settledAt !== tally(core).freed) {
        settledAt = await this.settle(mode);
      } else {
        done = true;
      }
      const now = performance.now();
      this.told(before, total);
      if (now - start >= maxMs) break;
      if (now - turned < TURN_MS || done) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.store.ready("compact");
      turned = performance.now();
    }
    const report = this.report(before, tally(core), performance.now() - start, done);
    if (report.segmentsFreed > 0) this.tell(tally(core), report.ms, done);
    return report;
  }

  /** Makes a note and its mark durable: how many segments were freed until then. */
  private async settle(mode: number): Promise<number> {
    const { core, committer } = this.store;
    const before = tally(core).freed;
    const settled = this.store.guard(() => core.exports.compactSettle(mode));
    if (settled < 0 && settled !== STATUS_NO_SPACE) throw this.store.error(settled, "compact");
    await committer.durable(undefined);
    this.store.ready("compact");
    this.store.guard(() => core.exports.markDue());
    await committer.durable(undefined);
    this.store.ready("compact");
    const after = tally(core).freed;
    return after > before ? -1 : after;
  }

  private step(mode: number): number {
    const start = performance.now();
    const status = this.store.guard(() => this.store.core.exports.compactStep(mode));
    this.longestMs = Math.max(this.longestMs, performance.now() - start);
    return status;
  }

  /** How many bytes were looked at, of those that the segments in use had when it began. */
  private told(before: Tally, total: number): void {
    const { progress } = this.store;
    if (progress === undefined) return;
    const done = tally(this.store.core).scanned - before.scanned;
    try {
      progress({ phase: "compaction", done, total: Math.max(done, total) });
    } catch {
      // A listener's failure is not the store's.
    }
  }

  private tell(now: Tally, ms: number, done: boolean): void {
    const report = this.report(this.reported, now, ms, done);
    this.reported = now;
    this.store.report(report);
  }

  private report(before: Tally, after: Tally, ms: number, done: boolean): CompactReport {
    const segmentsFreed = after.freed - before.freed;
    return {
      bytesRead: after.scanned - before.scanned,
      bytesWritten: after.moved - before.moved,
      bytesFreed: segmentsFreed * this.store.core.exports.stat(STAT_SEGMENT_BYTES),
      segmentsFreed,
      ms,
      done,
    };
  }
}

interface Tally {
  moved: number;
  freed: number;
  scanned: number;
}

function tally(core: Core): Tally {
  const { stat } = core.exports;
  return { moved: stat(STAT_MOVED), freed: stat(STAT_FREED), scanned: stat(STAT_SCANNED) };
}

/** Fills in what was left out. `INVALID_ARGUMENT` names what is wrong. */
export function readCompactOptions(options: unknown): Required<CompactOptions> {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalid("the options must be an object { maxMs, full }.");
  }
  for (const name of Object.keys(options)) {
    if (name !== "maxMs" && name !== "full") throw invalid(`there is no option ${name}.`);
  }
  const { full = false, maxMs = full ? Number.POSITIVE_INFINITY : STEP_MAX_MS } = options as CompactOptions;
  if (typeof full !== "boolean") throw invalid("full must be true or false.");
  if (typeof maxMs !== "number" || !(maxMs > 0)) throw invalid("maxMs must be a number above 0.");
  return { full, maxMs };
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "compact", `compact: ${message}`);
}
