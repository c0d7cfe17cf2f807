/**
 * The session: what an open store is beneath its faces. One core at a time with its commit groups, cursors and cold
 * reads; whether it takes calls, and how it ends.
 */
import { Changes } from "./changes.ts";
import { Checkpointer } from "./checkpoints.ts";
import { ColdReads } from "./cold.ts";
import { Committer, trap } from "./commit.ts";
import { Compactor } from "./compaction.ts";
import {
  BUFFER_FULL,
  CHANGES_DUE,
  CHECKPOINT_DUE,
  COMPACTION_DUE,
  type Core,
  EXPIRY_DUE,
  FLUSH_DUE,
  SUPERBLOCK_DUE,
  VERSIONS_DUE,
} from "./core.ts";
import { Cursors } from "./cursors.ts";
import { CairnError } from "./error.ts";
import { Flights } from "./flights.ts";
import type { LaterViews } from "./lookups.ts";
import type { Durability, Settings, StoreEvent } from "./options.ts";
import { closedError } from "./refusals.ts";
import { Sweeper } from "./sweeper.ts";
import { Later, TURNLESS_MS, Turns } from "./turn.ts";
import { Writes } from "./writes.ts";

/** Steps of freeing older versions, 64 each, that a write which found no memory takes before it is refused. */
const FREE_STEPS_MAX = 1024;
const STAT_VERSION = 3;
const STAT_HIGHEST_TIME = 31;
const STAT_EXPIRING = 130;
/** What is done at once between two turns of the event loop. */
const TURN_MS = 5;
const STATUS_NO_SPACE = -8;
const STATUS_OUT_OF_MEMORY = -9;

/** What a store needs of whoever opened its device. */
export interface Ending {
  /** Gives up the device and its lock. */
  release(): void;
}

/** What a store needs to move to a newer state. */
export interface Renewal {
  /** Mounts the newest durable state, for reading alone. */
  remount(): Promise<Core>;
}

/** An open store beneath its faces. */
export class Session {
  core: Core;
  committer: Committer;
  cursors: Cursors;
  cold: ColdReads;
  readonly settings: Settings;
  readonly durability: Durability;
  readonly compactor: Compactor;
  readonly sweeper: Sweeper;
  readonly checkpointer: Checkpointer;
  private readonly turns = new Turns();
  /** Puts the current group in flight. */
  private readonly beginning = new Later(() => {
    if (this.open && this.committer.poisoned === undefined) this.committer.begin();
  });
  /** Absent in a readOnly store. */
  private readonly flights: Flights | undefined;
  readonly writes: Writes;
  /** What is written, for those who watch; `undefined` while nobody does. */
  changes: Changes | undefined;
  /** The newest version when the store was opened: none that is lost is above it. */
  readonly openedVersion: number;
  /** Whether the function of a transaction runs: then only it writes. */
  transacting = false;
  /** Verifications run one after the other. */
  verifying: Promise<unknown> = Promise.resolve();
  /** Backups under way: how each is ended. */
  readonly backups = new Set<(error: CairnError) => Promise<void>>();
  /** Reads on cores that the store has moved on from. */
  private olderReads: ColdReads[] = [];
  private readonly ending: Ending & Renewal;
  /** Told of every event; see `events.ts`. */
  readonly listeners = new Set<(event: StoreEvent) => void>();
  /** What reads look through whose value comes later: nothing is written to a store that is open for reading. */
  readonly laterViews: LaterViews = {
    begin: (operation) => (this.settings.readOnly ? undefined : this.cursors.takeView(operation)),
    end: (view) => this.cursors.close(view),
  };
  private open = true;
  /** Whether the core takes no calls any more. */
  private isEnded = false;
  private closing: Promise<void> | undefined;
  private offExit: (() => void) | undefined;
  private refreshing: Promise<void> = Promise.resolve();

  constructor(core: Core, settings: Settings, ending: Ending & Renewal) {
    this.core = core;
    this.settings = settings;
    this.durability = settings.durability;
    this.ending = ending;
    if (settings.onEvent !== undefined) this.listeners.add(settings.onEvent);
    const parts = this.partsOn(core);
    this.committer = parts.committer;
    this.cursors = parts.cursors;
    this.cold = parts.cold;
    this.writes = new Writes(this);
    this.openedVersion = core.exports.stat(STAT_VERSION);
    if (!settings.readOnly) {
      const status = core.exports.historyConfigure(settings.history.bytes, settings.history.ms);
      if (status < 0) throw this.error(status, "open");
    }
    core.exports.compactConfigure(
      settings.compaction.auto && !settings.readOnly,
      Math.round(settings.compaction.garbageRatio * 1000),
    );
    // What the work that the store does by itself needs of it.
    const own = {
      core,
      isOpen: () => this.open && this.committer.poisoned === undefined,
      wrote: () => this.committer.wrote(),
      error: (status: number, operation: string, cause?: unknown) => this.failed(status, operation, cause),
      guard: <T>(run: () => T): T => {
        try {
          return run();
        } catch (cause) {
          throw this.committer.poison(trap(cause));
        }
      },
    };
    const isUsable = (): boolean => this.committer.poisoned === undefined && !this.isEnded;
    if (!settings.readOnly) {
      this.flights = new Flights({ ...own, isUsable }, () => this.checkpointer.landed());
    }
    this.compactor = new Compactor({
      ...own,
      committer: this.committer,
      isDirect: settings.directReads,
      isUsable,
      ready: (operation) => this.ready(operation),
      report: (report) => this.emit({ type: "compacted", ...report }),
      progress: settings.onProgress,
      turns: this.turns,
    });
    this.checkpointer = new Checkpointer({
      ...own,
      report: (report) => this.emit({ type: "checkpointed", ...report }),
      issueLater: () => {
        this.flights?.issueLater();
        this.compactor.issueLater();
      },
    });
    this.sweeper = new Sweeper({
      ...own,
      wrote: () => {
        this.changes?.wrote();
        this.committer.wrote();
      },
      stepped: () => this.changes?.collect(),
    });
    if (settings.readOnly) this.sweeper.stop();
    else if (core.exports.stat(STAT_EXPIRING) > 0) this.sweeper.arm();
    if (!settings.readOnly) this.offExit = core.host.onExit?.((mayGoOn) => this.exit(mayGoOn));
  }

  /** Moves on to the newest durable state, after those who asked before. */
  refresh(): Promise<void> {
    const turn = this.refreshing.then(() => this.renew());
    this.refreshing = turn.catch(() => undefined);
    return turn;
  }

  /** Takes everything away that has expired, so that its space can be got back. */
  async sweep(): Promise<void> {
    if (this.core.exports.stat(STAT_EXPIRING) === 0) return;
    // The time comes to the device with a group of its own.
    this.guard(() => this.core.exports.markDue());
    await this.committer.durable(undefined);
    this.ready("compact");
    for (let start = performance.now(); this.sweeper.step(); ) {
      if (performance.now() - start < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.ready("compact");
      start = performance.now();
    }
    this.committer.wrote();
  }

  /** Ends the session; a second call waits for the first. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async renew(): Promise<void> {
    this.ready("refresh");
    const core = await this.ending.remount();
    this.ready("refresh");
    // What had expired stays so, though the clock went back and the device tells of an earlier time.
    core.exports.timeReach(this.core.exports.stat(STAT_HIGHEST_TIME));
    this.cursors.supersede();
    // What is in flight into the memory of the former core lands there; who waits for it looks up in the present one.
    this.olderReads = this.olderReads.filter((older) => older.isBusy);
    this.olderReads.push(this.cold);
    this.core = core;
    const { committer, cursors, cold } = this.partsOn(core);
    this.committer = committer;
    this.cursors = cursors;
    this.cold = cold;
  }

  /** What works on one core. */
  private partsOn(core: Core) {
    const { settings } = this;
    const committer = new Committer(
      core,
      settings.durability === "manual" ? 0 : settings.flushIntervalMs,
      (event) => {
        this.emit(event);
        if (event.type === "flushed") this.checkpointer.landed();
      },
      (error) => {
        this.emit({ type: "poisoned", error });
        this.changes?.fail(committer.poisonError());
      },
      () => this.changes?.publish(),
    );
    const guard = <T>(run: () => T): T => {
      try {
        return run();
      } catch (cause) {
        const error = committer.poison(trap(cause));
        committer.tell();
        throw error;
      }
    };
    const cold = new ColdReads(
      core,
      settings.directReads,
      guard,
      () => committer.poisoned === undefined && !this.isEnded,
      (cause, offset) => this.readFailed(cause, offset),
    );
    const cursors = new Cursors(
      core,
      (operation) => this.ready(operation),
      (status, operation) => this.error(status, operation),
      guard,
    );
    return { committer, cursors, cold };
  }

  private async end(): Promise<void> {
    this.open = false;
    this.offExit?.();
    this.committer.stop();
    this.sweeper.stop();
    this.cursors.abandon();
    try {
      // What is on its way into the store's memory lands first; who waits for it still gets it.
      for (const reads of [...this.olderReads, this.cold]) await reads.idle();
      for (const end of [...this.backups]) await end(closedError("backup"));
      await this.committer.idle();
      await this.compactor.idle();
      await this.flights?.idle();
      this.isEnded = true;
      if (this.committer.poisoned !== undefined) {
        // Somebody has to hear of what was not made durable.
        if (!this.committer.isTold) throw this.committer.poisonError();
        return;
      }
      const status = this.guard(() => this.core.exports.close());
      if (status === STATUS_NO_SPACE) {
        const message = "close: no room is left on the device. What was durable is kept; what was not is lost.";
        throw new CairnError("NO_SPACE", "close", message, { cause: this.error(status, "close").cause });
      }
      if (status < 0) throw this.error(status, "close");
      await this.committer.durable(undefined).catch(() => undefined);
    } finally {
      // A group that left meanwhile lands before the device is given up, also where closing failed.
      await this.committer.idle();
      this.changes?.end();
      this.ending.release();
    }
  }

  /** The process ends in order and nobody closed the store. Never throws. */
  private exit(mayGoOn: boolean): void {
    try {
      if (this.open && this.committer.poisoned === undefined) this.core.exports.flushSync();
      if (!mayGoOn) this.ending.release();
    } catch {
      // What could not be flushed was not acknowledged either.
    }
  }

  /** Throws when the store takes no calls. */
  ready(operation: string): void {
    if (this.open && this.committer.poisoned === undefined && !this.core.entered) return;
    if (!this.open) throw closedError(operation);
    if (this.committer.poisoned !== undefined) throw this.committer.poisonError();
    const message = `${operation}: the store was called from inside one of its own device's calls.`;
    throw new CairnError("REENTRANT", operation, message);
  }

  /** What to say when the store is being closed, and its core still answers. */
  closingError(operation: string): CairnError | undefined {
    if (this.open || this.isEnded || this.committer.poisoned !== undefined) return undefined;
    return closedError(operation);
  }

  /** What a read that the host did meanwhile failed with. */
  private readFailed(cause: unknown, offset: number): CairnError {
    const known = cause instanceof CairnError ? cause : undefined;
    if (known?.code === "DEVICE_SHRUNK") {
      if (!this.settings.readOnly) return this.committer.poison(known);
      // The writer may have cut the device off: who asked looks again, through the core, which can tell.
      return new CairnError("CORRUPT", "read", known.message, { cause });
    }
    if (known !== undefined && known.code !== "DEVICE_READ") return known;
    return new CairnError("DEVICE_READ", "read", `read: the device failed to read. Device offset ${offset}.`, {
      cause,
    });
  }

  /** What a call gets that has found the device to be smaller than it was. Beside a writer, it may just have cut it off. */
  shrunk(error: CairnError): CairnError {
    return this.settings.readOnly ? error : this.committer.poison(error);
  }

  /** What the core asks for after a write. */
  afterWrite(): void {
    const { core } = this;
    if ((core.words[core.attention] as number) !== 0) this.attend();
    if (this.changes !== undefined) this.changes.wrote();
    this.committer.wrote();
  }

  private attend(): void {
    try {
      this.attendNow();
    } catch (error) {
      this.committer.tell();
      throw error;
    }
  }

  private attendNow(): void {
    const { core, committer } = this;
    const attention = core.words[core.attention] as number;
    core.words[core.attention] = 0;
    if ((attention & CHANGES_DUE) !== 0) this.changes?.collect();
    if ((attention & VERSIONS_DUE) !== 0) this.guard(() => core.exports.maintain());
    if ((attention & EXPIRY_DUE) !== 0) {
      this.sweeper.step();
      this.sweeper.arm();
    }
    if ((attention & COMPACTION_DUE) !== 0) this.compactor.auto();
    if ((attention & CHECKPOINT_DUE) !== 0) this.checkpointer.auto();
    else if ((attention & SUPERBLOCK_DUE) !== 0) this.flights?.issueLater();
    if (this.durability === "manual") return;
    if ((attention & (FLUSH_DUE | BUFFER_FULL)) === 0) return;
    if (this.turns.isTurning(performance.now(), Math.min(TURNLESS_MS, this.settings.flushIntervalMs))) {
      if (!committer.busy) this.beginning.ask();
      return;
    }
    // The event loop does not turn: what is due goes out here.
    if ((attention & FLUSH_DUE) !== 0) this.flushDue();
    else if (!committer.busy) committer.begin();
  }

  /** The write that set this off is done. Where there is no room the group is held, and the next write is refused. */
  private flushDue(): void {
    try {
      this.committer.flushSync("flush");
    } catch (error) {
      if ((error as CairnError).code !== "NO_SPACE") throw error;
    }
  }

  /** Whether a write that was refused for want of room, or of memory, may be tried again. */
  retries(status: number): boolean {
    const { committer } = this;
    if (status === STATUS_OUT_OF_MEMORY) return this.freeVersions();
    if (status !== STATUS_NO_SPACE || !committer.holds) return false;
    if (committer.resubmit()) return true;
    if (committer.poisoned !== undefined) throw committer.poisoned;
    return false;
  }

  /** Lets what is written be known from now on. `OUT_OF_MEMORY`. */
  watched(): Changes {
    if (this.changes !== undefined) return this.changes;
    const status = this.guard(() => this.core.exports.feedOpen());
    if (status < 0) throw this.error(status, "watch");
    this.changes = new Changes(this, () => {
      this.changes = undefined;
      if (!this.isEnded && this.committer.poisoned === undefined) this.guard(() => this.core.exports.feedClose());
    });
    return this.changes;
  }

  /** Frees older versions that nobody needs any more, a bounded number: whether there were any. */
  private freeVersions(): boolean {
    const { core } = this;
    let steps = 0;
    while (steps < FREE_STEPS_MAX && ((core.words[core.attention] as number) & VERSIONS_DUE) !== 0) {
      this.guard(() => core.exports.maintain());
      steps++;
    }
    return steps > 0;
  }

  /** A status as the error that a call gives. What leaves the device in doubt poisons the store. */
  error(status: number, operation: string, cause?: unknown): CairnError {
    const error = this.failed(status, operation, cause);
    this.committer.tell();
    return error;
  }

  /** `error`, of work that the store does by itself. */
  private failed(status: number, operation: string, cause?: unknown): CairnError {
    let error = this.core.error(status, operation);
    if (cause !== undefined) error = new CairnError(error.code, operation, error.message, { cause });
    if (error.code === "DEVICE_WRITE" || error.code === "FENCED") return this.committer.poison(error);
    if (error.code === "DEVICE_SHRUNK") return this.committer.poison(error);
    return error;
  }

  guard<T>(run: () => T): T {
    try {
      return run();
    } catch (cause) {
      throw this.trapped(cause);
    }
  }

  trapped(cause: unknown): CairnError {
    const error = this.committer.poison(trap(cause));
    this.committer.tell();
    return error;
  }

  emit(event: StoreEvent): void {
    for (const listener of this.listeners) {
      try {
        listener(event);
      } catch {
        // A listener's failure is not the store's.
      }
    }
  }
}
