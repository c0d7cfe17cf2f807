/**
 * What superblocks and checkpoints leave to the host, so that no operation waits for the syncs of growing, or for the writes
 * of a checkpoint.
 *
 * 1. One superblock is in flight at a time, step by step: each step is reported before the next one begins.
 * 2. One part of a checkpoint is in flight at a time. Its writes need no sync of their own.
 * 3. What fails poisons the store. What finds no room is left: it is tried again when somebody needs it.
 */
import type { Core } from "./core.ts";
import type { CairnError } from "./error.ts";
import { commitPieces, flightResult, InFlight, syncDevice } from "./in-flight.ts";
import { BLOCK_SIZE } from "./layout.ts";
import { throwUnlessHarmless } from "./refusals.ts";
import { Later } from "./turn.ts";

/** What `superblockBegin` and `superblockLanded` answer: a step of which only the sync is to be done. */
const SIZE = 1;

/** What flights need of their store. */
export interface FlightsStore {
  core: Core;
  /** Whether calls are taken: nothing is begun after that. */
  isOpen(): boolean;
  /** Whether the core may be called. */
  isUsable(): boolean;
  guard<T>(run: () => T): T;
  /** A status as an error; one that leaves the device in doubt poisons, with the cause. */
  error(status: number, operation: string, cause?: unknown): CairnError;
}

/** The superblocks and checkpoints in flight of one store. */
export class Flights {
  private readonly store: FlightsStore;
  private readonly landed: () => void;
  private readonly issuing: Later;
  private readonly inFlight = new InFlight();

  /** `landed` is called when something has landed and the core may be called; it must not throw. */
  constructor(store: FlightsStore, landed: () => void) {
    this.store = store;
    this.landed = landed;
    this.issuing = new Later(() => {
      if (!store.isOpen()) return;
      try {
        this.issue();
      } catch {
        // The store is poisoned, and says so to whoever calls it next.
      }
    });
    store.core.exports.hostFlies();
  }

  /** Puts in flight, in the next turn of the event loop, what is due then. */
  issueLater(): void {
    this.issuing.ask();
  }

  private issue(): void {
    const { core, guard } = this.store;
    this.superblock(guard(() => core.exports.superblockBegin()));
    const count = guard(() => core.exports.checkpointBegin());
    if (count < 0) throw this.store.error(count, "checkpoint");
    if (count === 0) return;
    const pieces = core.piecesAt(this.pointer() >> 2, count);
    this.fly(
      () => core.device.writeAsync(pieces),
      (result, failure) => {
        const status = guard(() => core.exports.checkpointLanded(result));
        if (status < 0) throwUnlessHarmless(this.store.error(status, "checkpoint", failure));
        this.landed();
      },
    );
  }

  /** Resolves when nothing is in flight. */
  idle(): Promise<void> {
    return this.inFlight.idle();
  }

  /** Does a step of a superblock that the core asks for. */
  private superblock(step: number): void {
    const { core, guard } = this.store;
    if (step < 0) throwUnlessHarmless(this.store.error(step, "grow"));
    if (step <= 0) return;
    const { device } = core;
    let flight = (): Promise<void> => syncDevice(device);
    if (step !== SIZE) {
      const pointer = this.pointer();
      const offset = core.words[core.result + 1] as number;
      const piece = { offset, source: core.bytes.subarray(pointer, pointer + BLOCK_SIZE) };
      flight = () => commitPieces(device, [piece], () => this.store.isUsable());
    }
    this.fly(flight, (result, failure) => {
      const next = guard(() => core.exports.superblockLanded(result));
      if (next < 0) throwUnlessHarmless(this.store.error(next, "grow", failure));
      else if (next > 0) this.superblock(next);
      else {
        this.landed();
        // What became due meanwhile was not begun: one flies at a time.
        this.issueLater();
      }
    });
  }

  private pointer(): number {
    const { words, result } = this.store.core;
    return (words[result] as number) >>> 0;
  }

  private fly(start: () => Promise<void>, report: (result: number, failure: unknown) => void): void {
    this.inFlight.fly(start, (failure) => {
      if (!this.store.isUsable()) return;
      try {
        report(flightResult(failure), failure);
      } catch {
        // The store is poisoned, and says so to whoever calls it next.
      }
    });
  }
}
