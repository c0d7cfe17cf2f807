/**
 * Fails every call of every workload in every way, and refuses every growth of the memory: a program for Node, Bun and Deno
 * alike. Prints one line of JSON a workload, with what went wrong and how to see it again, and one over all.
 *
 *   program BINARY [--only calls|memory] [--workload NAME] [--at N] [--kind NAME] [--lasts NAME] [--stride N] [--offset N]
 *                  [--progress FILE] [--seconds N]
 *
 * With `--seconds` what is left when they are over is left out, but for the first few: of each workload the same share.
 * `--stride 7` takes every seventh pair of a call and a fault of each workload, from `--offset` on. Into the file `--progress` goes
 * what is being tried: what a program that hangs was at.
 */
import { openSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { mix } from "../simulation/random.ts";
import { type CallKind, FAULTS_OF, type Fault, lastingsOf } from "./faults.ts";
import { Memories } from "./host.ts";
import type { World } from "./life.ts";
import { memoryTrial, weigh } from "./memory.ts";
import { countTask, TASKS, taskTrial } from "./tasks.ts";
import { type Counted, count, trial, type Workload } from "./trial.ts";
import { MEMORY_WORKLOADS, WORKLOADS } from "./workloads.ts";

const realNow = performance.now.bind(performance);
/** Failures of one workload that are told of: more of them say no more. */
const TOLD_MAX = 12;
/** So many are tried however long they take. */
const TRIALS_LEAST = 20;
/** Chunks below what a run needs, where the memories begin that are tried. */
const CHUNKS_BELOW = 70;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    workload: { type: "string" },
    at: { type: "string" },
    kind: { type: "string" },
    lasts: { type: "string" },
    stride: { type: "string", default: "1" },
    offset: { type: "string", default: "0" },
    progress: { type: "string" },
    seconds: { type: "string", default: "Infinity" },
  },
});
const world: World = {
  module: new WebAssembly.Module(readFileSync(positionals[0] as string)),
  memories: new Memories(),
};
const progress = values.progress === undefined ? -1 : openSync(values.progress, "w");
const start = realNow();
const total = {
  workloads: 0,
  calls: 0,
  pairs: 0,
  trials: 0,
  memories: 0,
  refusals: 0,
  failed: 0,
  seconds: 0,
  byCall: {} as Record<string, number>,
};

/** Something whose calls fail. */
interface Subject {
  name: string;
  count(): Promise<Counted>;
  trial(counted: Counted, fault: Fault): Promise<CallKind[]>;
}

/** What is said of one. */
interface SubjectLine {
  workload: string;
  calls: number;
  /** Pairs of a call and a fault, and how many of them were tried. */
  pairs: number;
  trials: number;
  failed: number;
  seconds: number;
  failures: { failure: string; call?: CallKind | undefined; again?: string }[];
}

const subjects: Subject[] = WORKLOADS.map((workload) => ({
  name: workload.name,
  count: () => count(world, workload),
  trial: (counted, fault) => trial(world, workload, counted, fault),
}));
for (const task of TASKS) {
  subjects.push({
    name: task.name,
    count: () => countTask(world, task),
    trial: (counted, fault) => taskTrial(world, task, counted, fault),
  });
}
if (values.only !== "memory") await failEach(subjects.filter(({ name }) => isAsked(name)));
if (values.only !== "calls") {
  for (const workload of MEMORY_WORKLOADS.filter(({ name }) => isAsked(name))) {
    console.log(JSON.stringify(await refuseEach(workload)));
  }
}
total.seconds = (realNow() - start) / 1000;
console.log(JSON.stringify({ total }));
process.exitCode = total.failed > 0 ? 1 : 0;

/** Every fault of all subjects, or those that were asked for, or as many as there is time for: then of each the same share. */
async function failEach(asked: readonly Subject[]): Promise<void> {
  const trials: { subject: Subject; counted: Counted; fault: Fault; line: SubjectLine }[] = [];
  const lines: SubjectLine[] = [];
  for (const subject of asked) {
    note(subject.name);
    const line: SubjectLine = {
      workload: subject.name,
      calls: 0,
      pairs: 0,
      trials: 0,
      failed: 0,
      seconds: 0,
      failures: [],
    };
    lines.push(line);
    try {
      const counted = await subject.count();
      line.calls = counted.calls.length;
      const faults = faultsOf(counted.calls);
      line.pairs = faults.length;
      for (const fault of faults) trials.push({ subject, counted, fault, line });
    } catch (error) {
      line.failed++;
      line.failures.push({ failure: `without a fault: ${told(error)}` });
    }
  }
  const isTimed = values.seconds !== "Infinity";
  const key = (i: number): number => mix(i * 2 + 1 + Number(values.offset) * 65_537);
  const order = trials.map((_, i) => i);
  if (isTimed) order.sort((a, b) => key(a) - key(b));
  let done = 0;
  for (const i of order) {
    const { subject, counted, fault, line } = trials[i] as (typeof trials)[number];
    const began = realNow();
    if (done++ >= TRIALS_LEAST && began - start > Number(values.seconds) * 1000) break;
    const words = `--workload "${subject.name}" --at ${fault.at} --kind ${fault.kind} --lasts ${fault.lasts}`;
    note(words);
    line.trials++;
    try {
      for (const call of await subject.trial(counted, fault)) total.byCall[call] = (total.byCall[call] ?? 0) + 1;
    } catch (error) {
      line.failed++;
      const call = counted.calls[fault.at];
      if (line.failures.length < TOLD_MAX) line.failures.push({ failure: told(error), call, again: words });
    }
    line.seconds += (realNow() - began) / 1000;
  }
  for (const line of lines) {
    total.workloads++;
    total.calls += line.calls;
    total.pairs += line.pairs;
    total.trials += line.trials;
    total.failed += line.failed;
    console.log(JSON.stringify(line));
  }
}

/** Every size of the memory of a workload, or those that were asked for. */
async function refuseEach(workload: Workload): Promise<object> {
  const began = realNow();
  const failures: object[] = [];
  note(`memory of ${workload.name}`);
  const weighed = await weigh(world, workload, CHUNKS_BELOW);
  const sizes = chosen(weighed.sizes).filter((size) => values.at === undefined || size === Number(values.at));
  let refusals = 0;
  let failed = 0;
  let tried = 0;
  for (const size of sizes) {
    if (tried > 0 && realNow() - start > Number(values.seconds) * 1000) break;
    tried++;
    const words = `--only memory --workload "${workload.name}" --at ${size}`;
    note(words);
    try {
      refusals += await memoryTrial(world, weighed, size);
    } catch (error) {
      failed++;
      if (failures.length < TOLD_MAX) failures.push({ failure: told(error), again: words });
    }
  }
  total.memories += tried;
  total.refusals += refusals;
  total.failed += failed;
  const seconds = (realNow() - began) / 1000;
  return { memory: workload.name, memories: tried, refusals, failed, seconds, failures };
}

function isAsked(name: string): boolean {
  return values.workload === undefined || values.workload === name;
}

function faultsOf(calls: readonly CallKind[]): readonly Fault[] {
  const faults: Fault[] = [];
  for (const [at, call] of calls.entries()) {
    for (const kind of FAULTS_OF[call]) {
      for (const lasts of lastingsOf(call, kind)) faults.push({ at, kind, lasts });
    }
  }
  const { at, kind, lasts } = values;
  return chosen(
    faults.filter(
      (fault) =>
        (at === undefined || fault.at === Number(at)) &&
        (kind === undefined || fault.kind === kind) &&
        (lasts === undefined || fault.lasts === lasts),
    ),
  );
}

function chosen<T>(list: readonly T[]): readonly T[] {
  const stride = Number(values.stride);
  return list.filter((_, i) => i % stride === Number(values.offset) % stride);
}

function told(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  return error.name === "Violation" ? error.message : (error.stack ?? error.message);
}

function note(what: string): void {
  if (progress >= 0) writeSync(progress, what.padEnd(200).slice(0, 200), 0);
}
