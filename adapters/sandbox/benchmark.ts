/** What the benchmark's worker and its panel tell each other. */
import type { Point } from "../page/plot.ts";

/** The store that a benchmark runs in, and deletes. */
export const BENCHMARK_STORE = "sandbox-benchmark.cairn";

/** What to run. */
export interface BenchmarkOrder {
  /** Records to write. */
  count: number;
  /** Bytes of each value. */
  valueSize: number;
}

/** One result: `count` operations took `ms` milliseconds. */
export interface Figure {
  work: string;
  where: "worker" | "page";
  count: number;
  ms: number;
}

/** What the worker says. */
export type BenchmarkNews =
  | { type: "point"; work: string; point: Point }
  | { type: "figure"; figure: Figure }
  | { type: "done" }
  | { type: "failed"; reason: string };

/** Key of a record: 16 bytes. */
export const keyOf = (index: number): string => `bench:${String(index).padStart(10, "0")}`;

/** `count` numbers from 0 up to `range`, in an order that no cache foresees, the same in each run. */
export function* scattered(count: number, range: number): Generator<number> {
  let state = 0x2545_f491;
  for (let index = 0; index < count; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield (state >>> 0) % range;
  }
}
