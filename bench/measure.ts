/**
 * What every figure is made of: rounds, their median and spread, percentiles, CPU time and what the timer itself costs.
 *
 * 1. CPU time is the process's, all threads counted: work that a store hands to threads of its own is its work.
 * 2. A value that a store brings back is compared with the one it was given; a wrong one ends the run.
 */
import { setTimeout } from "node:timers/promises";
import { median } from "./median.ts";

/** Nanoseconds of wall time that `performance.now()` counts from the start of the process. */
export function wallNs(): number {
  return performance.now() * 1e6;
}

/** Nanoseconds of CPU time that the process has used, in user and system mode, on all its threads. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** What a span of work took. */
export interface Span {
  cpuNs: number;
  wallNs: number;
}

/** Runs `work` and says what it took. */
export async function span(work: () => void | Promise<void>): Promise<Span> {
  const cpuStart = cpuNs();
  const wallStart = wallNs();
  await work();
  return { cpuNs: cpuNs() - cpuStart, wallNs: wallNs() - wallStart };
}

/**
 * The smallest sample that at least `fraction` of the samples do not exceed (nearest rank). `sorted` ascends; `fraction`
 * lies in (0, 1].
 */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  if (sorted.length === 0) throw new RangeError("a percentile needs at least one sample");
  if (!(fraction > 0 && fraction <= 1)) throw new RangeError(`${fraction} is no fraction in (0, 1]`);
  return sorted[Math.ceil(sorted.length * fraction - 1e-9) - 1]!;
}

/** How far the rounds lie apart: the difference of the largest and the smallest, as a share of the median. */
export function spread(figures: readonly number[]): number {
  return (Math.max(...figures) - Math.min(...figures)) / median(figures);
}

/**
 * How many times `ours` is `theirs`: the median of the ratios of rounds that ran one after the other, so that what the
 * machine did meanwhile weighs on both sides. Throws when the rounds do not match.
 */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): number {
  if (ours.length !== theirs.length) throw new RangeError(`${ours.length} rounds against ${theirs.length}`);
  return median(ours.map((figure, round) => figure / theirs[round]!));
}

/** Nanoseconds between two readings of the timer with nothing in between: the median, to be taken off single timings. */
export function timerCostNs(): number {
  const samples = new Float64Array(200_000);
  for (let i = 0; i < samples.length; i += 1) {
    const start = performance.now();
    samples[i] = (performance.now() - start) * 1e6;
  }
  return median(samples.subarray(samples.length >> 1));
}

/** A store brought back something else than it was given. */
export class WrongValueError extends Error {
  override readonly name = "WrongValueError";
}

/** Throws when `actual` is not what `store` was given under `key`. */
export function expectValue(
  store: string,
  key: string,
  actual: string | undefined,
  expected: string | undefined,
): void {
  if (actual === expected) return;
  throw new WrongValueError(`${store} gave ${shown(actual)} for ${key}, not ${shown(expected)}`);
}

/** Throws when a store counted or summed up something else than what it was given: `what` names it. */
export function expectCount(store: string, what: string, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new WrongValueError(`${store} gave ${actual} ${what}, not ${expected}`);
}

function shown(value: string | undefined): string {
  if (value === undefined) return "nothing";
  return value.length <= 24
    ? JSON.stringify(value)
    : `${JSON.stringify(value.slice(0, 24))} (${value.length} characters)`;
}

/** What the collector leaves to its threads has ended after this. */
const SWEEP_MS = 20;

/** Frees what nothing holds any more, so that a span does not pay for what came before it. Needs `--expose-gc`. */
export async function collectGarbage(): Promise<void> {
  (globalThis as { gc?: () => void }).gc?.();
  await setTimeout(SWEEP_MS);
}
