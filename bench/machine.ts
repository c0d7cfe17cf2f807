/** What a run ran on: the machine's facts, its load, and the time of a dependent miss of its memory. */
import { readFileSync } from "node:fs";
import os from "node:os";
import { wallNs } from "./measure.ts";
import { median } from "./median.ts";
import { Random } from "./random.ts";

/** Facts for the report's head. */
export interface Machine {
  cpu: string;
  cpuCount: number;
  memoryBytes: number;
  platform: string;
  node: string;
  v8: string;
  hugePages: string;
}

/** Reads them. */
export function machineFacts(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cpuCount: cpus.length,
    memoryBytes: os.totalmem(),
    platform: `${os.platform()} ${os.release()} ${os.arch()}`,
    node: process.version.slice(1),
    v8: process.versions.v8,
    hugePages: hugePages(),
  };
}

/** The load average of the last minute. */
export function loadAverage(): number {
  return os.loadavg()[0] ?? 0;
}

function hugePages(): string {
  try {
    const text = readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "utf8");
    return /\[(\w+)\]/.exec(text)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}

const LINE_WORDS = 16;
const LINE_COUNT = (256 * 2 ** 20) / (LINE_WORDS * 4);
/** Short enough that most legs run through without the machine giving the CPU to another process. */
const LEG_STEPS = 512;
const LEG_COUNT = 4096;

/**
 * The pointer chase: one cycle through all cache lines of 256 MiB in random order, so that each step waits for the one
 * before it and finds neither its line nor, mostly, its page's translation at hand.
 */
export class PointerChase {
  readonly #words = new Int32Array(LINE_COUNT * LINE_WORDS);
  #at = 0;

  constructor() {
    // Sattolo's shuffle leaves a single cycle.
    const order = new Uint32Array(LINE_COUNT);
    for (let i = 0; i < LINE_COUNT; i += 1) order[i] = i;
    const random = new Random(256);
    for (let i = LINE_COUNT - 1; i > 0; i -= 1) {
      const j = random.below(i);
      const line = order[i]!;
      order[i] = order[j]!;
      order[j] = line;
    }
    for (let i = 0; i < LINE_COUNT; i += 1) this.#words[i * LINE_WORDS] = order[i]! * LINE_WORDS;
    this.#walk(LEG_STEPS);
  }

  /** Nanoseconds a step: the median of legs of 512 steps, about half a second in all. */
  missNs(): number {
    const legs = new Float64Array(LEG_COUNT);
    for (let leg = 0; leg < LEG_COUNT; leg += 1) {
      const start = wallNs();
      this.#walk(LEG_STEPS);
      legs[leg] = (wallNs() - start) / LEG_STEPS;
    }
    return median(legs);
  }

  #walk(steps: number): void {
    const words = this.#words;
    let at = this.#at;
    for (let i = 0; i < steps; i += 1) at = words[at]!;
    this.#at = at;
  }
}
