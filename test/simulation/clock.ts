/**
 * Virtual time. Timers fire when the simulation says so, in the order of their times; no time passes by itself.
 *
 * The store asks the runtime for its timers, so `install` puts the virtual ones in the runtime's place. That is for the
 * simulation's own process alone.
 */
import type { WasiSources } from "../../hosts/wasi.ts";
import { mix, type Random } from "./random.ts";

/** 2026-01-01, in milliseconds since 1970: when virtual time begins. */
export const START_MS = 1_767_225_600_000;

/** Longer than anything takes that somebody waits for, in microseconds. */
const WAIT_US_MAX = 40_000_000;

/** What waits for its time. */
export interface Timer {
  timeUs: number;
  serial: number;
  body(): void;
  unref(): Timer;
}

const realImmediate = globalThis.setImmediate;
let current: VirtualClock | undefined;

/** Lets everything run that waits for promises alone. */
export function drain(): Promise<void> {
  return new Promise((resolve) => {
    realImmediate(resolve);
  });
}

/** See above. Times are whole microseconds since the clock was made. */
export class VirtualClock {
  nowUs = 0;
  private timers: Timer[] = [];
  private serialNext = 0;
  /** What the clock's wall time is off by, in milliseconds: a clock may jump. */
  skewMs = 0;

  /** Calls `body` at a time, or as soon as time gets on when that is over. */
  at(timeUs: number, body: () => void): Timer {
    const timer: Timer = { timeUs, serial: this.serialNext++, body, unref: () => timer };
    let place = this.timers.length;
    while (place > 0 && (this.timers[place - 1] as Timer).timeUs > timeUs) place--;
    this.timers.splice(place, 0, timer);
    return timer;
  }

  cancel(timer: Timer | undefined): void {
    const place = timer === undefined ? -1 : this.timers.indexOf(timer);
    if (place >= 0) this.timers.splice(place, 1);
  }

  /** Nothing waits any more: those who waited are gone. */
  clear(): void {
    this.timers = [];
  }

  /** Time of the next timer. */
  get nextUs(): number {
    return this.timers[0]?.timeUs ?? Number.POSITIVE_INFINITY;
  }

  /** Goes on to the next timer and calls it. False when there is none. */
  step(): boolean {
    const timer = this.timers.shift();
    if (timer === undefined) return false;
    if (timer.timeUs > this.nowUs) this.nowUs = timer.timeUs;
    timer.body();
    return true;
  }

  /** Lets a time go by, with everything that falls due in it. */
  async advance(us: number): Promise<void> {
    const end = this.nowUs + us;
    await drain();
    while (this.nextUs <= end) {
      this.step();
      await drain();
    }
    if (end > this.nowUs) this.nowUs = end;
  }

  /**
   * Waits for a promise, letting as much time go by as that takes. Throws `stuck` when it can never settle, or has not after
   * longer than anything takes: timers that are set again and again would let it wait for good.
   */
  async wait<T>(promise: Promise<T>, stuck: () => Error): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    await drain();
    const end = this.nowUs + WAIT_US_MAX;
    while (!settled) {
      if (this.nowUs > end) throw stuck();
      if (!this.step()) {
        await drain();
        if (settled) break;
        throw stuck();
      }
      await drain();
    }
    return promise;
  }

  /** What the core asks its host for. Each look at the clock takes up to 40 µs, so that loops which wait end. */
  sources(random: Random): WasiSources {
    return {
      monotonicNs: () => {
        this.nowUs += random.below(40);
        return BigInt(this.nowUs) * 1000n;
      },
      wallMs: () => this.wallMs(),
      randomU64: () => random.long(),
    };
  }

  /** A number in [0, 1), another one each time. */
  lot(): number {
    return mix(this.serialNext++) / 4_294_967_296;
  }

  wallMs(): number {
    return START_MS + this.skewMs + Math.floor(this.nowUs / 1000);
  }

  /** Makes this the clock, and the timers, of the runtime. */
  install(): void {
    if (current === undefined) installOnce();
    current = this;
  }
}

function installOnce(): void {
  const clock = (): VirtualClock => current as VirtualClock;
  const replace = (object: object, name: string, value: unknown): void => {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  };
  replace(globalThis, "setTimeout", (body: () => void, ms = 0) =>
    clock().at(clock().nowUs + Math.max(1, Math.round(ms * 1000)), body),
  );
  replace(globalThis, "clearTimeout", (timer: Timer | undefined) => clock().cancel(timer));
  replace(globalThis, "setImmediate", (body: () => void) => clock().at(clock().nowUs, body));
  replace(performance, "now", () => clock().nowUs / 1000);
  replace(Date, "now", () => clock().wallMs());
  // Pauses before another try have a random length.
  replace(Math, "random", () => clock().lot());
}
