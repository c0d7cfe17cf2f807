/**
 * How long steps of compaction take by themselves: without what the thread waited for a CPU meanwhile, and without the
 * runtime's garbage collection, which comes when it likes.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { Compactor } from "../store/compaction.ts";
import type { Waiting } from "./waiting.ts";

/** Shorter steps are not looked at. */
const LEAST_MS = 0.25;
/** Milliseconds after which the runtime has told of every collection. */
const TOLD_MS = 50;

interface Span {
  start: number;
  end: number;
}

/** Times the steps of all stores of this process, from when it is made until `stop`. */
export class StepTimes {
  readonly #steps: (Span & { waitedMs: number })[] = [];
  readonly #collections: Span[] = [];
  readonly #observer: PerformanceObserver;
  readonly #untimed: unknown;

  constructor(waiting: Waiting) {
    this.#observer = new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) {
        this.#collections.push({ start: startTime, end: startTime + duration });
      }
    });
    this.#observer.observe({ entryTypes: ["gc"] });
    const target = Compactor.prototype as unknown as { step(...args: unknown[]): unknown };
    const untimed = target.step;
    const steps = this.#steps;
    this.#untimed = untimed;
    target.step = function (...args) {
      const waitedNs = waiting.ns();
      const start = performance.now();
      const result = untimed.apply(this, args);
      const end = performance.now();
      if (end - start >= LEAST_MS) steps.push({ start, end, waitedMs: (waiting.ns() - waitedNs) / 1e6 });
      return result;
    };
  }

  /** Ends it: the longest step in milliseconds, 0 when none took a quarter of one. */
  async stop(): Promise<number> {
    (Compactor.prototype as unknown as { step: unknown }).step = this.#untimed;
    await setTimeout(TOLD_MS);
    this.#observer.disconnect();
    let longest = 0;
    for (const { start, end, waitedMs } of this.#steps) {
      let own = end - start - waitedMs;
      for (const collection of this.#collections) {
        own -= Math.max(0, Math.min(end, collection.end) - Math.max(start, collection.start));
      }
      longest = Math.max(longest, own);
    }
    return longest;
  }
}
