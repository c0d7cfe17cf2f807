/**
 * Reads of cold blocks that leave the event loop free: what the core has planned goes to the device, and whoever waits is
 * called when it has landed.
 *
 * 1. A frame of a plan is pinned in the core until it is released, and in flight until its read has landed. Whoever
 *    waits releases all that it took, in the turn in which the last of it has landed, whatever comes of it.
 * 2. What has landed is no answer: whoever waited asks the core again. So a key that was changed meanwhile, and a segment
 *    that was used again, need no care here.
 * 3. Several who wait for a block share its read.
 * 4. When no frame is free, callers queue, in the order in which they came.
 * 5. Reads go out once a turn, all together. One by one each would wake a thread of its own: where the host has the data
 *    in its cache, that is dearer than the read.
 */
import { AHEAD_BUSY, AHEAD_READS, type Core } from "./core.ts";
import type { DeviceTarget } from "./device.ts";
import { CairnError } from "./error.ts";
import { BLOCK_SIZE } from "./layout.ts";
import { ReadPace } from "./read-pace.ts";
import { nextTurn } from "./turn.ts";

/** Neighbours that go to the device as one read. */
const RUN_COUNT_MAX = 16;
/** Blocks that are read in a turn from a device that only reads synchronously: about a millisecond at worst. */
const BLOCKS_PER_TURN = 16;

/** Somebody who waits for the blocks of a plan. */
export interface Waiter {
  /** Claims on frames, to be released. */
  claims: number[];
  /** How many have not landed. */
  missing: number;
  /** What became of one that could not be read. */
  failure: CairnError | undefined;
  /** Called when none is missing any more. It must release the claims, and must not throw. */
  landed(): void;
}

/** Neighbouring blocks that are read together. */
interface Run {
  pieces: DeviceTarget[];
  claims: number[];
}

/** The cold reads of one store. */
export class ColdReads {
  /** Whether lookups read at once. */
  readonly pace: ReadPace;
  private readonly core: Core;
  private readonly isDirect: boolean;
  /** Calls an export; what it throws poisons. */
  private readonly guard: <T>(run: () => T) => T;
  /** Whether the core may be called. */
  private readonly isUsable: () => boolean;
  /** A failed read as an error of the store; one that leaves the device in doubt poisons. */
  private readonly fail: (cause: unknown, offset: number) => CairnError;
  private readonly flights = new Map<number, Waiter[]>();
  private inFlightCount = 0;
  private queue: (() => boolean)[] = [];
  private queueHead = 0;
  private isDraining = false;
  private outgoing: Run[] = [];
  private isReading = false;
  private idlers: (() => void)[] = [];

  constructor(
    core: Core,
    isDirect: boolean,
    guard: <T>(run: () => T) => T,
    isUsable: () => boolean,
    fail: (cause: unknown, offset: number) => CairnError,
  ) {
    this.core = core;
    this.pace = new ReadPace(core.device.hasHostCache === true && !isDirect);
    this.isDirect = isDirect;
    this.guard = guard;
    this.isUsable = isUsable;
    this.fail = fail;
  }

  /** Whether somebody queues for a frame: then others queue behind. */
  get isCrowded(): boolean {
    return this.queueHead < this.queue.length;
  }

  /** Whether anything is in flight, or somebody queues. */
  get isBusy(): boolean {
    return this.inFlightCount > 0 || this.isCrowded;
  }

  /** Reads what the core has just planned, and calls the waiter when all of it has landed. */
  take(waiter: Waiter): void {
    const { core } = this;
    const { words, floats } = core;
    const count = words[core.result] as number;
    const runs: Run[] = [];
    let run: Run | undefined;
    let end = -1;
    // Neighbours on the device whose frames are neighbours too are one piece.
    let pieceStart = 0;
    let pieceEnd = -1;
    for (let i = 0, at = core.readPlan; i < count; i++, at += 4) {
      const word = words[at + 3] as number;
      const claim = word & 0x7fff_ffff;
      waiter.claims.push(claim);
      waiter.missing++;
      if (word < 0) {
        this.flights.get(claim)?.push(waiter);
        continue;
      }
      this.flights.set(claim, [waiter]);
      const offset = floats[at >> 1] as number;
      const pointer = (words[at + 2] as number) >>> 0;
      if (run === undefined || offset !== end || run.claims.length === RUN_COUNT_MAX) {
        run = { pieces: [], claims: [] };
        runs.push(run);
        pieceEnd = -1;
      }
      run.claims.push(claim);
      if (pointer === pieceEnd) {
        const { pieces } = run;
        const last = pieces[pieces.length - 1] as DeviceTarget;
        last.target = core.bytes.subarray(pieceStart, pointer + BLOCK_SIZE);
      } else {
        pieceStart = pointer;
        run.pieces.push({ offset, target: core.bytes.subarray(pointer, pointer + BLOCK_SIZE) });
      }
      pieceEnd = pointer + BLOCK_SIZE;
      end = offset + BLOCK_SIZE;
    }
    for (const one of runs) this.read(one);
  }

  /** Gives back what a waiter took. */
  release(waiter: Waiter): void {
    const { claims } = waiter;
    if (this.isUsable()) {
      const { exports } = this.core;
      this.guard(() => {
        for (let i = 0; i < claims.length; i++) exports.readRelease(claims[i] as number);
      });
    }
    claims.length = 0;
    if (this.isCrowded) this.drain();
  }

  /** Calls `body` now, or when frames are free again, until it does not return false. It must not throw. */
  whenFree(body: () => boolean): void {
    this.queue.push(body);
    // Nothing in flight: whoever holds the frames releases them in this turn.
    if (this.inFlightCount === 0) queueMicrotask(() => this.drain());
  }

  /**
   * Runs `plan` until it plans nothing more, at most `tries` times, and waits each time for what it planned. `plan` gets
   * whether it is asked again, and uses what the core answers before it returns the status. Resolves with the status
   * that it returned last; rejects with what it throws, and with the failure of a read.
   */
  async settle(plan: (again: boolean) => number, tries: number, operation: string): Promise<number> {
    for (let tried = 0; ; tried++) {
      const waiter: Waiter = { claims: [], missing: 0, failure: undefined, landed: () => undefined };
      const status = await this.ask(() => plan(tried > 0), waiter);
      if (status !== AHEAD_READS) return status;
      this.release(waiter);
      const { failure } = waiter;
      if (failure !== undefined && failure.code !== "CORRUPT") throw failureOf(failure, operation);
      if (tried + 1 >= tries) return status;
    }
  }

  /** Starts what was just planned, for whoever comes later. */
  prefetch(): void {
    const waiter: Waiter = { claims: [], missing: 0, failure: undefined, landed: () => this.release(waiter) };
    this.take(waiter);
  }

  /** Resolves when nothing is in flight and nobody queues. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      await new Promise<void>((resolve) => {
        this.idlers.push(resolve);
        if (this.inFlightCount === 0) queueMicrotask(() => this.drain());
      });
    }
  }

  /** The status of `plan`; when that is READS, after they have landed. */
  private ask(plan: () => number, waiter: Waiter): Promise<number> {
    return new Promise<number>((resolve, reject) => {
      const attempt = (): boolean => {
        try {
          const status = plan();
          if (status === AHEAD_BUSY) return false;
          if (status === AHEAD_READS) {
            waiter.landed = () => resolve(status);
            this.take(waiter);
          } else resolve(status);
        } catch (error) {
          reject(error);
        }
        return true;
      };
      if (this.isCrowded || !attempt()) this.whenFree(attempt);
    });
  }

  /** Puts a run among those that go to the device in the next turn. */
  private read(run: Run): void {
    this.inFlightCount++;
    this.outgoing.push(run);
    if (this.outgoing.length > 1 || this.isReading) return;
    nextTurn(() => this.submit());
  }

  private submit(): void {
    const { device } = this.core;
    if (device.readAsync === undefined) {
      this.readInTurn();
      return;
    }
    const runs = this.outgoing;
    this.outgoing = [];
    for (const run of runs) {
      let reading: Promise<void>;
      try {
        reading = device.readAsync(run.pieces, this.isDirect);
      } catch (cause) {
        reading = Promise.reject(cause);
      }
      reading.then(
        () => this.land(run, undefined),
        (cause) => this.land(run, cause ?? new Error("the device rejected without a reason")),
      );
    }
  }

  /** Reads from a device that only reads synchronously, a few blocks between two turns of the event loop. */
  private readInTurn(): void {
    const { device } = this.core;
    this.isReading = true;
    for (let blocks = 0; blocks < BLOCKS_PER_TURN; ) {
      const run = this.outgoing.shift();
      if (run === undefined) break;
      let failure: unknown;
      try {
        for (const { offset, target } of run.pieces) {
          const count =
            this.isDirect && device.readUncached !== undefined
              ? device.readUncached(offset, target)
              : device.read(offset, target);
          if (count < target.length) throw shrunk(offset + count);
        }
      } catch (cause) {
        failure = cause ?? new Error("the device threw without a reason");
      }
      blocks += run.claims.length;
      this.land(run, failure);
    }
    this.isReading = false;
    if (this.outgoing.length > 0) nextTurn(() => this.readInTurn());
  }

  private land(run: Run, cause: unknown): void {
    const { exports } = this.core;
    this.inFlightCount--;
    const failure = cause === undefined ? undefined : this.fail(cause, (run.pieces[0] as DeviceTarget).offset);
    const ready: Waiter[] = [];
    for (let i = 0; i < run.claims.length; i++) {
      const claim = run.claims[i] as number;
      let failed = failure;
      if (this.isUsable()) {
        try {
          const status = this.guard(() => exports.readLanded(claim, failure === undefined ? 1 : 0));
          if (status < 0 && failed === undefined) failed = this.core.error(status, "read");
        } catch (error) {
          failed = this.fail(error, (run.pieces[0] as DeviceTarget).offset);
        }
      }
      for (const waiter of this.flights.get(claim) ?? []) {
        if (failed !== undefined) waiter.failure ??= failed;
        if (--waiter.missing === 0) ready.push(waiter);
      }
      this.flights.delete(claim);
    }
    for (const waiter of ready) waiter.landed();
    this.drain();
  }

  private drain(): void {
    if (!this.isDraining) {
      this.isDraining = true;
      while (this.isCrowded && (this.queue[this.queueHead] as () => boolean)()) this.queueHead++;
      this.isDraining = false;
      if (this.queueHead > 1024 || !this.isCrowded) {
        this.queue.splice(0, this.queueHead);
        this.queueHead = 0;
      }
    }
    if (this.inFlightCount === 0 && !this.isCrowded) for (const resolve of this.idlers.splice(0)) resolve();
  }
}

function shrunk(offset: number): CairnError {
  const message = `the device ends at offset ${offset}, within the store. Restore its size, or restore a backup.`;
  return new CairnError("DEVICE_SHRUNK", "read", message);
}

/** The failure of a read as what an operation that needed it rejects with. */
export function failureOf(failure: CairnError, operation: string): CairnError {
  const message = failure.message.replace(/^read: /, `${operation}: `);
  return new CairnError(failure.code, operation, message, { cause: failure.cause });
}
