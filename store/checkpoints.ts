/**
 * Checkpoints, as the store sees them: steps between operations, by themselves. The core says when one is due and how much a
 * step does; see `assembly/engine/checkpoint.ts`. What is made at a close is made there.
 */
import type { Core } from "./core.ts";
import type { CairnError } from "./error.ts";
import { throwUnlessHarmless } from "./refusals.ts";

const CHECKPOINT_DONE = 3;
const STAT_KEYS = 89;
const STAT_BYTES = 86;
const STAT_UNDER_WAY = 88;

/** When a checkpoint is due, and how large a step of one is. Tests ask for more of them than anybody wants. */
export interface CheckpointPace {
  /** Bytes of log behind the last one. Default 64 MiB. */
  logBytes?: number;
  /** The same, as a share of the live bytes, in thousandths. Default 1,667. */
  liveThousandths?: number;
  /** Blocks of 4,096 bytes that a step writes. Default 8. */
  stepBlocks?: number;
  /** Whether they are made by themselves, and not at a close alone. Default `true`. */
  auto?: boolean;
}

/** A checkpoint that was made. */
export interface CheckpointReport {
  /** Keys in it. */
  records: number;
  /** Bytes of its blocks. */
  bytes: number;
  /** From its first step to its last one, with the operations between them. */
  ms: number;
}

/** What checkpoints need of their store. */
export interface CheckpointerStore {
  core: Core;
  /** Whether calls are taken. */
  isOpen(): boolean;
  /** Something was written to the log. */
  wrote(): void;
  error(status: number, operation: string): CairnError;
  guard<T>(run: () => T): T;
  report(report: CheckpointReport): void;
  /** Puts in flight what a step has made, in the next turn of the event loop. */
  issueLater(): void;
}

/** Sets when checkpoints of a core are due. */
export function paceCheckpoints(core: Core, pace: CheckpointPace, readOnly: boolean): void {
  const { auto = true, logBytes = 64 * 1_048_576, liveThousandths = 1667, stepBlocks = 8 } = pace;
  core.exports.checkpointConfigure(auto && !readOnly, logBytes, liveThousandths, stepBlocks);
}

/** Makes checkpoints for one store. */
export class Checkpointer {
  /** The longest step so far, in milliseconds. */
  longestMs = 0;
  private readonly store: CheckpointerStore;
  private startMs: number | undefined;

  constructor(store: CheckpointerStore) {
    this.store = store;
  }

  /** One step, if one is due. Throws only what poisons the store. */
  auto(): void {
    const { store } = this;
    const start = performance.now();
    const result = store.guard(() => store.core.exports.checkpointStep());
    const now = performance.now();
    this.longestMs = Math.max(this.longestMs, now - start);
    if (result < 0) {
      throwUnlessHarmless(store.error(result, "checkpoint"));
      return;
    }
    store.issueLater();
    const { stat } = store.core.exports;
    if (result === CHECKPOINT_DONE) {
      store.report({ records: stat(STAT_KEYS), bytes: stat(STAT_BYTES), ms: now - (this.startMs ?? start) });
      this.startMs = undefined;
      return;
    }
    if (stat(STAT_UNDER_WAY) === 0) this.startMs = undefined;
    else this.startMs ??= start;
  }

  /** Something has landed that a checkpoint may wait for: a group, blocks of its own, a superblock. */
  landed(): void {
    const { store } = this;
    try {
      if (!store.isOpen() || store.core.exports.stat(STAT_UNDER_WAY) === 0) return;
      this.auto();
      store.wrote();
    } catch {
      // The store is poisoned, and says so with the next call.
    }
  }
}
