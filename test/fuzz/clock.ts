/**
 * Time for the fuzzer's own process: clocks go on a little with each look at them, so that what they bound ends after as many
 * steps in every run, and timers fire with the next turn of the event loop. What waits for more than a second never fires.
 */
import type { WasiSources } from "../../hosts/wasi.ts";
import type { Random } from "../simulation/random.ts";

/** 2026-01-01, in milliseconds since 1970: when references are made. */
export const START_MS = 1_767_225_600_000;
/** How much later images are looked at: records that expire in less are gone by then. */
export const LATER_MS = 86_400_000;
const LONGEST_WAIT_MS = 1000;
const LOOK_US = 20;

const realNow = performance.now.bind(performance);
const realImmediate = globalThis.setImmediate;

/** Milliseconds of the machine's own clock. */
export function realMs(): number {
  return realNow();
}

let us = 0;
let wallMs = START_MS;

/** Begins anew, for one image: every image sees the same times. */
export function clockReset(ms: number): void {
  us = 0;
  wallMs = ms;
}

/** What the core asks its host for. */
export function sources(random: Random): WasiSources {
  return {
    monotonicNs: () => {
      us += LOOK_US;
      return BigInt(us) * 1000n;
    },
    wallMs: () => wallMs,
    randomU64: () => random.long(),
  };
}

/** Something that waits; what Node's own timers offer of it that the store uses. */
interface Waiting {
  body: (() => void) | undefined;
  unref(): Waiting;
  ref(): Waiting;
}

/** Puts these clocks and timers in the place of the process's own, for good. */
export function clockInstall(): void {
  const replace = (object: object, name: string, value: unknown): void => {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  };
  replace(globalThis, "setTimeout", (body: () => void, ms = 0): Waiting => {
    const waiting: Waiting = { body, unref: () => waiting, ref: () => waiting };
    if (ms <= LONGEST_WAIT_MS) realImmediate(() => waiting.body?.());
    return waiting;
  });
  replace(globalThis, "clearTimeout", (waiting: Waiting | undefined) => {
    if (waiting !== undefined) waiting.body = undefined;
  });
  replace(performance, "now", () => {
    us += LOOK_US;
    return us / 1000;
  });
  replace(Date, "now", () => wallMs);
}
