/**
 * Group commit: when what was written is handed to the device, and who is told.
 *
 * One group is in flight at a time; while it is, the next one fills. Promises of a group settle together, when the host
 * has reported that all of it is written and synced. A group that met a full device is held and submitted again; one
 * that failed poisons the store.
 */
import { type Core, FLIGHT_DONE, FLIGHT_FAILED, FLIGHT_NO_SPACE } from "./core.ts";
import type { DevicePiece } from "./device.ts";
import { CairnError } from "./error.ts";
import { commitPieces } from "./in-flight.ts";

interface Waiter {
  resolve(value: unknown): void;
  reject(reason: unknown): void;
  value: unknown;
}

/** Turns of the microtask queue that a group waits for company: as many as an `await` or two of its writers take. */
const COMPANY_TURNS = 3;

type Timer = ReturnType<typeof setTimeout>;

/** Hands groups to the device for one store. */
export class Committer {
  /** Set when the store is poisoned: the first cause. */
  poisoned: CairnError | undefined;
  /** Whether a call has told of that, or a promise. */
  isTold = false;
  /** Set while a group that met a full device waits for room: what was written before is not durable. */
  private held: CairnError | undefined;
  private readonly core: Core;
  private readonly intervalMs: number;
  private readonly report: (event: { type: "flushed"; bytes: number; ms: number } | { type: "full" }) => void;
  private readonly onPoison: (error: CairnError) => void;
  private readonly onDurable: () => void;
  private waiting: Waiter[] = [];
  private flying: Waiter[] = [];
  private flight: Promise<void> | undefined;
  private scheduled = false;
  private timer: Timer | undefined;
  private armed = false;
  /** Who waits for what was written to become durable without having asked for it. */
  private awaiting = 0;

  /** `intervalMs` 0: nothing is written until somebody asks. */
  constructor(
    core: Core,
    intervalMs: number,
    report: (event: { type: "flushed"; bytes: number; ms: number } | { type: "full" }) => void,
    onPoison: (error: CairnError) => void,
    onDurable: () => void,
  ) {
    this.core = core;
    this.intervalMs = intervalMs;
    this.report = report;
    this.onPoison = onPoison;
    this.onDurable = onDurable;
  }

  /** Something was written: it will be on the device after the interval at the latest. */
  wrote(): void {
    if (!this.armed && this.intervalMs > 0) this.arm();
  }

  /**
   * Somebody waits for what was written, or will be, to become durable by itself: until the result is called, once, the process
   * stays for it.
   */
  awaited(): () => void {
    this.awaiting++;
    this.keepProcess();
    return () => {
      this.awaiting--;
      this.keepProcess();
    };
  }

  /** Resolves with `value` when everything written before this call is durable. */
  durable<T>(value: T): Promise<T> {
    if (this.poisoned !== undefined) return Promise.reject(this.poisonError());
    if (this.held !== undefined && !this.resubmit()) return Promise.reject(this.poisoned ?? this.held);
    if (this.core.exports.groupPending() === 0) {
      if (this.flight === undefined) return Promise.resolve(value);
      return new Promise<T>((resolve, reject) => {
        this.flying.push({ resolve: resolve as (value: unknown) => void, reject, value });
      });
    }
    this.schedule();
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({ resolve: resolve as (value: unknown) => void, reject, value });
    });
  }

  /** Puts the current group in flight now, unless one is. */
  begin(): void {
    this.scheduled = false;
    if (this.flight !== undefined || this.poisoned !== undefined) return;
    if (this.held !== undefined && !this.resubmit()) {
      this.reject(this.poisoned ?? this.held);
      return;
    }
    const { core } = this;
    let pieces: number;
    try {
      pieces = core.exports.groupBegin();
    } catch (cause) {
      this.poison(trap(cause));
      return;
    }
    if (pieces < 0) {
      this.failed(pieces);
      return;
    }
    if (pieces === 0) {
      this.settle(this.take());
      return;
    }
    this.flying = this.take();
    this.flight = this.fly(core.piecesAt(core.plan, pieces));
  }

  /** Makes everything durable before it returns; throws what `flushSync` of the store throws. */
  flushSync(operation: string): void {
    try {
      this.flushNow(operation);
    } catch (error) {
      this.tell();
      throw error;
    }
  }

  /**
   * Makes durable what a call under `durability: "sync"` says, before it returns. One that had nothing to change may rest on writes
   * whose promises still wait: a key that is absent, or has another version, is so only when these are on stable storage.
   */
  sync(operation: string): void {
    const isDurable = this.flight === undefined && this.held === undefined && this.core.exports.groupPending() === 0;
    if (!isDurable) this.flushSync(operation);
  }

  /** `flushSync` that nobody called for. */
  private flushNow(operation: string): void {
    if (this.poisoned !== undefined) throw this.poisonError();
    let status: number;
    try {
      status = this.core.exports.flushSync();
    } catch (cause) {
      throw this.poison(trap(cause));
    }
    if (status < 0) throw this.refused(status, operation);
    this.held = undefined;
    this.keepProcess();
    // Whoever waited for this group, or for the one in flight, whose bytes were written again, need wait no longer.
    const done = this.flying.concat(this.take());
    this.flying = [];
    this.settle(done);
  }

  /** Tries again to write a group that met a full device. True when none is held any more. */
  resubmit(): boolean {
    if (this.held === undefined) return true;
    if (this.flight !== undefined || this.poisoned !== undefined) return false;
    try {
      this.flushNow("flush");
      return true;
    } catch {
      return false;
    }
  }

  /** Resolves when nothing is in flight. */
  async idle(): Promise<void> {
    while (this.flight !== undefined) await this.flight;
  }

  /** No timer fires any more. */
  stop(): void {
    if (this.timer !== undefined) clearTimeout(this.timer);
    this.timer = undefined;
    this.armed = true;
  }

  /** Whether a group waits for room on the device. */
  get holds(): boolean {
    return this.held !== undefined;
  }

  /** Whether a group is in flight. */
  get busy(): boolean {
    return this.flight !== undefined;
  }

  /** From now on every call is refused with this cause. Returns it. */
  poison(error: CairnError): CairnError {
    if (this.poisoned !== undefined) return error;
    this.poisoned = error;
    try {
      this.core.exports.poison();
    } catch {
      // The instance trapped: it is not called again.
    }
    this.stop();
    this.reject(error);
    this.onPoison(error);
    return error;
  }

  /** A call fails. Where the store is poisoned, that is known from now on. */
  tell(): void {
    if (this.poisoned !== undefined) this.isTold = true;
  }

  /** What a call on a poisoned store throws. */
  poisonError(): CairnError {
    this.tell();
    const cause = this.poisoned as CairnError;
    const message = `the store takes no further calls: ${cause.message} Open it again.`;
    return new CairnError("POISONED", cause.operation, message, { cause });
  }

  private arm(): void {
    this.armed = true;
    const timer = setTimeout(() => {
      this.armed = false;
      this.timer = undefined;
      if (this.poisoned !== undefined) return;
      if (this.held === undefined && this.core.exports.groupPending() === 0) return;
      // A group that is in flight, or held, is looked at again after another interval.
      if (this.flight === undefined && this.resubmit()) this.begin();
      else this.wrote();
    }, this.intervalMs);
    this.timer = timer;
    this.keepProcess();
  }

  /** Whether the process stays for the timer. Not for a group that waits for room: that may take for ever. */
  private keepProcess(): void {
    const timer = this.timer as { ref?: () => void; unref?: () => void } | undefined;
    if (this.awaiting > 0 && this.held === undefined) timer?.ref?.();
    else timer?.unref?.();
  }

  private schedule(): void {
    if (this.scheduled || this.flight !== undefined) return;
    this.scheduled = true;
    let turns = COMPANY_TURNS;
    const turn = (): void => {
      if (turns-- > 0) queueMicrotask(turn);
      else this.begin();
    };
    queueMicrotask(turn);
  }

  private async fly(pieces: readonly DevicePiece[]): Promise<void> {
    const start = performance.now();
    let failure: unknown;
    try {
      await commitPieces(this.core.device, pieces, () => this.poisoned === undefined);
    } catch (cause) {
      failure = cause ?? new Error("the device rejected without a reason");
    }
    this.land(pieces, failure, performance.now() - start);
  }

  private land(pieces: readonly DevicePiece[], failure: unknown, ms: number): void {
    this.flight = undefined;
    if (this.poisoned !== undefined) return;
    const full = failure instanceof CairnError && failure.code === "NO_SPACE";
    let status: number;
    try {
      status = this.core.exports.groupFinish(
        failure === undefined ? FLIGHT_DONE : full ? FLIGHT_NO_SPACE : FLIGHT_FAILED,
      );
    } catch (cause) {
      this.poison(trap(cause));
      return;
    }
    if (status < 0) {
      this.failed(status, failure);
      return;
    }
    const done = this.flying;
    this.flying = [];
    this.settle(done);
    let bytes = 0;
    for (const piece of pieces) bytes += piece.source.length;
    this.report({ type: "flushed", bytes, ms });
    if (this.waiting.length > 0) this.schedule();
    else if (this.core.exports.groupPending() !== 0) this.wrote();
  }

  private failed(status: number, cause?: unknown): void {
    const error = this.refused(status, "flush", cause);
    if (error.code === "NO_SPACE" || error.code === "DEVICE_READ") this.reject(error);
  }

  private reject(error: CairnError): void {
    const waiters = this.flying.concat(this.take());
    this.flying = [];
    if (waiters.length > 0) this.tell();
    for (const waiter of waiters) waiter.reject(error);
  }

  /**
   * What a refused group means. For want of room it is held: its writes stay visible, its promises are refused, and it
   * is tried again with every call, and after each interval. Where nobody could look who has the store, nothing is
   * acknowledged, and the next group covers this one. Anything else poisons.
   */
  private refused(status: number, operation: string, cause?: unknown): CairnError {
    const plain = this.core.error(status, operation);
    if (plain.code === "DEVICE_READ") {
      this.wrote();
      return plain;
    }
    if (plain.code !== "NO_SPACE") {
      const options = { cause: cause ?? plain.cause };
      return this.poison(cause === undefined ? plain : new CairnError(plain.code, operation, plain.message, options));
    }
    const message = `${operation}: no room is left on the device. What was written stays visible, but it is not durable; it is written again when there is room.`;
    const error = new CairnError("NO_SPACE", operation, message, { cause: cause ?? plain.cause });
    const first = this.held === undefined;
    this.held = error;
    if (first) this.report({ type: "full" });
    this.wrote();
    return error;
  }

  private take(): Waiter[] {
    const waiters = this.waiting;
    this.waiting = [];
    return waiters;
  }

  private settle(waiters: readonly Waiter[]): void {
    this.onDurable();
    for (const waiter of waiters) waiter.resolve(waiter.value);
  }
}

/** A trap of the binary, which is a bug: the instance may be half updated. */
export function trap(cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  const message =
    "the engine stopped at an internal check. What was acknowledged is on the device; please report this.";
  return new CairnError("POISONED", "engine", message, { cause });
}
