/**
 * What compaction leaves to the host: reads of its sources ahead of their use, and writes of its copies, beside everything
 * else and without blocking.
 *
 * 1. The core's memory that a read or a write in flight uses is the core's to know: it reuses none of it before the report.
 * 2. A write that fails poisons the store. One that finds no room is kept by the core, and written again with the next step.
 * 3. A read that fails is tried again by the step that needs it, synchronously, so that its failure is told as any other.
 */
import type { Core } from "./core.ts";
import type { DevicePiece } from "./device.ts";
import type { CairnError } from "./error.ts";
import { flightResult, InFlight } from "./in-flight.ts";

const STATUS_NO_SPACE = -8;

/** What it needs of its store. */
export interface CopiesStore {
  core: Core;
  /** Whether reads go past the host's cache. */
  isDirect: boolean;
  /** Whether the core may be called. */
  isUsable(): boolean;
  guard<T>(run: () => T): T;
  /** A status as an error; one that leaves the device in doubt poisons, with the cause. */
  error(status: number, operation: string, cause?: unknown): CairnError;
}

/** The reads and writes of one store's compaction. */
export class Copies {
  /** Whether the last write of copies found no room. */
  isFull = false;
  private readonly store: CopiesStore;
  private readonly landed: () => void;
  private readonly inFlight = new InFlight();

  /** `landed` is called when something has landed and the core may be called; it must not throw. */
  constructor(store: CopiesStore, landed: () => void) {
    this.store = store;
    this.landed = landed;
  }

  /** Whether anything is in flight. */
  get isBusy(): boolean {
    return this.inFlight.isBusy;
  }

  /** Puts all in flight that the core has planned. Throws what poisons. */
  issue(): void {
    const { core, guard } = this.store;
    const { exports, words } = core;
    for (;;) {
      const offset = guard(() => exports.sourcePlan());
      if (offset < 0) break;
      const pointer = (words[core.result] as number) >>> 0;
      const size = words[core.result + 1] as number;
      this.read(offset, core.bytes.subarray(pointer, pointer + size), words[core.result + 2] as number);
    }
    const count = guard(() => exports.sideBegin());
    if (count < 0) throw this.store.error(count, "compact");
    if (count > 0) this.write(core.piecesAt(core.sidePlan, count));
  }

  /** Resolves when something has landed; at once when nothing is in flight. */
  next(): Promise<void> {
    return this.inFlight.next();
  }

  /** Resolves when nothing is in flight. */
  idle(): Promise<void> {
    return this.inFlight.idle();
  }

  private read(offset: number, target: Uint8Array, window: number): void {
    this.fly(
      () =>
        this.store.core.device.readAsync?.([{ offset, target }], this.store.isDirect) ?? this.readNow(offset, target),
      (failure) => this.store.guard(() => this.store.core.exports.sourceLanded(window, failure === undefined)),
    );
  }

  /** For devices that only read synchronously: in a turn of its own, and not in the step. */
  private async readNow(offset: number, target: Uint8Array): Promise<void> {
    await Promise.resolve();
    const count = this.store.core.device.read(offset, target);
    if (count < target.length) throw new Error(`the device ends at offset ${offset + count}`);
  }

  private write(pieces: readonly DevicePiece[]): void {
    this.isFull = false;
    this.fly(
      () => this.store.core.device.writeAsync(pieces),
      (failure) => {
        const status = this.store.guard(() => this.store.core.exports.sideFinish(flightResult(failure)));
        if (status === STATUS_NO_SPACE) this.isFull = true;
        else if (status < 0) this.store.error(status, "compact", failure);
      },
    );
  }

  private fly(start: () => Promise<void>, report: (failure: unknown) => void): void {
    this.inFlight.fly(start, (failure) => {
      if (!this.store.isUsable()) return;
      try {
        report(failure);
      } catch {
        // The store is poisoned, and says so to whoever calls it next.
        return;
      }
      if (this.store.isUsable()) this.landed();
    });
  }
}
