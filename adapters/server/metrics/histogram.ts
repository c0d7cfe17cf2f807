/** Durations in buckets of fixed bounds. */

/** Upper ends of the buckets, in milliseconds; a last one has no end. */
export const BOUNDS_MS: readonly number[] = [
  0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
];
const BUCKETS = BOUNDS_MS.length + 1;
const bounds = Float64Array.from(BOUNDS_MS);

/** What one histogram holds. */
export interface Distribution {
  /** By bucket, not cumulated, the last one without end. */
  readonly buckets: readonly number[];
  readonly count: number;
  readonly sumMs: number;
}

/** So many histograms. Adding a duration touches two fixed arrays, and allocates nothing. */
export class Histograms {
  private readonly counts: Float64Array;
  private readonly sums: Float64Array;

  constructor(count: number) {
    this.counts = new Float64Array(count * BUCKETS);
    this.sums = new Float64Array(count);
  }

  /** Adds a duration to histogram `at`. */
  add(at: number, ms: number): void {
    let bucket = 0;
    while (bucket < bounds.length && ms > (bounds[bucket] as number)) bucket++;
    (this.counts[at * BUCKETS + bucket] as number)++;
    (this.sums[at] as number) += ms;
  }

  /** What histogram `at` holds. */
  read(at: number): Distribution {
    const buckets = [...this.counts.subarray(at * BUCKETS, (at + 1) * BUCKETS)];
    return { buckets, count: buckets.reduce((sum, count) => sum + count, 0), sumMs: this.sums[at] as number };
  }
}
