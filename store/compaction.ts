/**
 * Compaction, as the store sees it: steps between operations, by themselves after writes or because somebody asked.
 *
 * A step looks at no more than 64 KiB and takes half a millisecond at most. It never waits for the device: sources are read
 * and copies are written beside everything else (store/copies.ts), and what has landed sets off the next step. Where the
 * event loop does not turn, nothing lands; once that is so for 20 ms and compaction is 2 MiB behind, its steps read and write
 * themselves.
 *
 * What was copied lets segments be used anew only when a note and its mark are durable: two groups. Automatic compaction
 * leaves those to the writes that follow anyway.
 */
import type { Committer } from "./commit.ts";
import { Copies, type CopiesStore } from "./copies.ts";
import {
  COMPACT_ASKED,
  COMPACT_AUTO,
  COMPACT_FULL,
  COMPACT_IDLE,
  COMPACT_LOWER,
  COMPACT_MOVED,
  COMPACT_SETTLE,
  COMPACT_WAITS,
  type Core,
  SHRINK_AUTO,
  SHRINK_FULL,
  WAITS_ALWAYS,
  WAITS_UNLESS_BEHIND,
} from "./core.ts";
import { CairnError } from "./error.ts";
import { isPlain, throwUnlessHarmless } from "./refusals.ts";
import { Later, nextTurn, type Turns } from "./turn.ts";

/** What `compact` takes. */
export interface CompactOptions {
  /**
   * Milliseconds that the call may keep the event loop busy, in steps of at most half a millisecond each; one step is
   * always done. Waiting for the device does not count. Default 10, without end when `full`.
   */
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
  /** Segments that became free. */
  segmentsFreed: number;
  /** How long it took, with the waiting for the device. */
  ms: number;
  /** Whether nothing is left to do: not when time, or room for copies, ran out. */
  done: boolean;
}

const STAT_VERSIONS = 6;
const STAT_SEGMENT_BYTES = 16;
const STAT_MOVED = 37;
const STAT_FREED = 39;
const STAT_SEGMENTS_USED = 42;
const STAT_SCANNED = 40;
const STATUS_NO_SPACE = -8;
const STAT_MOVING = 102;
const DEFAULT_MS = 10;
/** How long a step takes at most, and what it is granted at least, where little is left of `maxMs`. */
const STEP_MS = 0.5;
const STEP_LEAST_MS = 0.25;
/**
 * Settlings that may be needed behind the last move: for what was emptied before, to close what was filled last, to empty its
 * sources and to free them. What writes that go on meanwhile leave to be settled is no reason to go on for ever.
 */
const SETTLE_MAX = 4;
/** Milliseconds of steps after which the event loop turns. */
const TURN_MS = 1;

/** What compaction needs of its store. */
export interface CompactorStore extends CopiesStore {
  committer: Committer;
  ready(operation: string): void;
  report(report: CompactReport): void;
  /** Told now and then how far `run` is. */
  progress: ((progress: { phase: "compaction"; done: number; total: number }) => void) | undefined;
  /** Whether calls are taken: nothing that was put off is begun after that. */
  isOpen(): boolean;
  /** Whether the event loop turns. */
  turns: Turns;
}

/** Runs compaction for one store. */
export class Compactor {
  /** The longest step so far, in milliseconds. */
  longestMs = 0;
  private readonly store: CompactorStore;
  private readonly copies: Copies;
  private reported: Tally;
  private readonly next: Later;
  private readonly issuing: Later;

  constructor(store: CompactorStore) {
    this.store = store;
    this.next = new Later(() => this.usable(() => this.auto()));
    this.issuing = new Later(() => this.usable(() => this.copies.issue()));
    this.copies = new Copies(store, () => this.next.ask());
    this.reported = tally(store.core);
  }

  /** One automatic step, if one is due. Throws only what poisons the store. */
  auto(): void {
    const status = this.step(COMPACT_AUTO, STEP_MS);
    if (status < 0) throwUnlessHarmless(this.store.error(status, "compact"));
    this.shrink(SHRINK_AUTO);
    // What is left to do goes on in the event loop's turns, also when nobody writes any more.
    if (status === COMPACT_MOVED) this.next.ask();
    const now = tally(this.store.core);
    if (now.freed > this.reported.freed) this.tell(now, 0, false);
  }

  /** What `compact` of the store does. */
  async run(options: CompactOptions): Promise<CompactReport> {
    const { full, maxMs } = readCompactOptions(options);
    const { core } = this.store;
    const start = performance.now();
    const before = tally(core);
    const total = core.exports.stat(STAT_SEGMENTS_USED) * core.exports.stat(STAT_SEGMENT_BYTES);
    const told = (): void => this.told(before, total);
    let ended = true;
    if (full) {
      if (await this.begin()) ended = await this.steps(COMPACT_FULL, maxMs, told);
      const leftMs = maxMs - (performance.now() - start);
      if (ended && leftMs > 0) ended = await this.steps(COMPACT_LOWER, leftMs, told);
      else if (ended) ended = false;
      this.shrink(SHRINK_FULL);
    } else {
      ended = await this.steps(COMPACT_ASKED, maxMs, told);
    }
    const done = ended && !this.copies.isFull;
    if (done) this.told(before, total, true);
    const report = this.report(before, tally(core), performance.now() - start, done);
    if (report.segmentsFreed > 0) this.tell(tally(core), report.ms, done);
    return report;
  }

  /** Puts in flight, in the next turn of the event loop, what somebody else has closed. */
  issueLater(): void {
    this.issuing.ask();
  }

  /** Resolves when nothing of compaction is in flight. */
  idle(): Promise<void> {
    return this.copies.idle();
  }

  /** Steps until nothing is left to do (true), or until they took `maxMs`, or room for copies ran out. */
  private async steps(mode: number, maxMs: number, told: () => void): Promise<boolean> {
    let spentMs = 0;
    let turnMs = 0;
    // Settlings in a row; of these, how many freed nothing.
    let settlings = 0;
    let fruitless = 0;
    const most = mode === COMPACT_LOWER ? SETTLE_MAX : 1;
    for (;;) {
      const start = performance.now();
      const result = this.step(mode, Math.min(STEP_MS, Math.max(STEP_LEAST_MS, maxMs - spentMs)));
      const took = performance.now() - start;
      spentMs += took;
      turnMs += took;
      told();
      if (result === STATUS_NO_SPACE) return false;
      if (result < 0) throw this.store.error(result, "compact");
      if (result === COMPACT_WAITS) {
        if (!(await this.landed())) return false;
        turnMs = 0;
        continue;
      }
      if (result === COMPACT_MOVED) {
        settlings = 0;
        fruitless = 0;
      } else if (result === COMPACT_SETTLE && fruitless < most && settlings < SETTLE_MAX) {
        settlings++;
        const freed = await this.settle(mode);
        if (freed === undefined) return false;
        fruitless = freed ? 0 : fruitless + 1;
      } else return true;
      if (spentMs >= maxMs) return false;
      if (turnMs < TURN_MS) continue;
      await new Promise<void>((resolve) => nextTurn(resolve));
      this.store.ready("compact");
      turnMs = 0;
    }
  }

  /** Begins a full compaction: whether there is anything to gain. */
  private async begin(): Promise<boolean> {
    const { core, committer } = this.store;
    // What is half done is done first: it is older than what the full compaction leaves alone.
    await this.finishMove();
    await committer.durable(undefined);
    this.store.ready("compact");
    this.freeVersions();
    for (;;) {
      this.store.ready("compact");
      const begun = this.store.guard(() => core.exports.compactBegin());
      if (begun === COMPACT_WAITS) {
        this.copies.issue();
        if (await this.landed()) continue;
      } else if (begun < 0 && begun !== STATUS_NO_SPACE) throw this.store.error(begun, "compact");
      else if (begun === 0) return false;
      await committer.durable(undefined);
      this.store.ready("compact");
      return true;
    }
  }

  /** Goes on with the segment that is being moved, to its end or to what stops it. */
  private async finishMove(): Promise<void> {
    while (this.store.core.exports.stat(STAT_MOVING) !== 0) {
      const result = this.step(COMPACT_FULL, STEP_MS);
      if (result === COMPACT_WAITS && (await this.landed())) continue;
      if (result < 0 && result !== STATUS_NO_SPACE) throw this.store.error(result, "compact");
      if (result !== COMPACT_MOVED) return;
      await new Promise<void>((resolve) => nextTurn(resolve));
      this.store.ready("compact");
    }
  }

  /** Makes a note and its mark durable: whether segments were freed by that; undefined when copies found no room. */
  private async settle(mode: number): Promise<boolean | undefined> {
    const { core, committer } = this.store;
    const before = tally(core).freed;
    for (;;) {
      const settled = this.store.guard(() => core.exports.compactSettle(mode));
      if (settled < 0 && settled !== STATUS_NO_SPACE) throw this.store.error(settled, "compact");
      if (settled !== COMPACT_WAITS) break;
      this.copies.issue();
      if (!(await this.landed())) return undefined;
    }
    await committer.durable(undefined);
    this.store.ready("compact");
    this.store.guard(() => core.exports.markDue());
    await committer.durable(undefined);
    this.store.ready("compact");
    return tally(core).freed > before;
  }

  /** Frees the older versions that no snapshot sees any more: they keep their segments. */
  private freeVersions(): void {
    const { exports } = this.store.core;
    for (let count = exports.stat(STAT_VERSIONS); count > 0; ) {
      this.store.guard(() => exports.maintain());
      const left = exports.stat(STAT_VERSIONS);
      if (left === count) return;
      count = left;
    }
  }

  /** Gives free space at a file's end back to the file system. Throws only what poisons the store. */
  private shrink(mode: number): void {
    const cut = this.store.guard(() => this.store.core.exports.shrink(mode));
    if (cut < 0) throw this.store.error(cut, "compact");
  }

  /** Waits until something has landed: whether that can help. */
  private async landed(): Promise<boolean> {
    if (!this.copies.isBusy) return false;
    await this.copies.next();
    this.store.ready("compact");
    return !this.copies.isFull;
  }

  /** Does what was put off, where the store still takes it. */
  private usable(work: () => void): void {
    if (!this.store.isOpen()) return;
    try {
      work();
    } catch {
      // The store is poisoned, and says so to whoever calls it next.
    }
  }

  private step(mode: number, ms: number): number {
    const start = performance.now();
    const waits = mode === COMPACT_AUTO && !this.store.turns.isTurning(start) ? WAITS_UNLESS_BEHIND : WAITS_ALWAYS;
    const status = this.store.guard(() => this.store.core.exports.compactStep(mode, waits, ms * 1000));
    if (status !== COMPACT_IDLE && (status >= 0 || status === STATUS_NO_SPACE)) {
      if (mode === COMPACT_AUTO) this.issuing.ask();
      else this.copies.issue();
    }
    this.longestMs = Math.max(this.longestMs, performance.now() - start);
    return status;
  }

  /** How many bytes were looked at, of those that the segments in use had when it began; at its end, all of them. */
  private told(before: Tally, total: number, atEnd = false): void {
    const { progress } = this.store;
    if (progress === undefined) return;
    const scanned = tally(this.store.core).scanned - before.scanned;
    const most = Math.max(scanned, total);
    try {
      progress({ phase: "compaction", done: atEnd ? most : scanned, total: most });
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
  if (!isPlain(options)) {
    throw invalid("the options must be an object { maxMs, full }.");
  }
  for (const name of Object.keys(options)) {
    if (name !== "maxMs" && name !== "full") throw invalid(`there is no option ${name}.`);
  }
  const { full = false, maxMs = full ? Number.POSITIVE_INFINITY : DEFAULT_MS } = options as CompactOptions;
  if (typeof full !== "boolean") throw invalid("full must be true or false.");
  if (typeof maxMs !== "number" || !(maxMs > 0)) throw invalid("maxMs must be a number above 0.");
  return { full, maxMs };
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "compact", `compact: ${message}`);
}
