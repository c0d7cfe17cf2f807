/**
 * The simulation as a program, for Node, Bun and Deno alike; `scripts/simulate.mjs` bundles and starts it. Prints one line
 * of JSON a run, and one over all: hashes, counts, what failed, and how to see it again.
 *
 *   program BINARY [--seed N] [--count N] [--minutes N] [--schedules N] [--ops 1,2,5] [--faults 0] [--dense] [--no-shrink]
 *                  [--until-failure] [--planted N]
 *
 * `--planted` is for the build of test/planted: which bug is on.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { expectDetermined } from "./determined.ts";
import { InstancePool } from "./host.ts";
import { run } from "./run.ts";
import { shrink } from "./shrink.ts";
import { type Plan, planOf } from "./workload.ts";

const realNow = performance.now.bind(performance);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1" },
    minutes: { type: "string" },
    schedules: { type: "string", default: "Infinity" },
    ops: { type: "string" },
    faults: { type: "string" },
    dense: { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
    planted: { type: "string", default: "0" },
    "until-failure": { type: "boolean", default: false },
  },
});
expectDetermined();
(globalThis as { planted?: number }).planted = Number(values.planted);
const pool = new InstancePool(new WebAssembly.Module(readFileSync(positionals[0] as string)));
const end = realNow() + Number(values.minutes ?? 1e6) * 60_000;
const isCounted = values.minutes === undefined && values.schedules === "Infinity";
const count = isCounted ? Number(values.count) : Number.POSITIVE_INFINITY;
const schedules = Number(values.schedules);
const total = {
  runs: 0,
  failed: 0,
  schedules: 0,
  recoveryCrashes: 0,
  seconds: 0,
  coverage: {} as Record<string, number>,
};
const start = realNow();
for (let i = 0; i < count && total.schedules < schedules && realNow() < end; i++) {
  const plan = only(planOf(BigInt.asUintN(64, BigInt(values.seed) + BigInt(i))));
  const { dense } = values;
  const result = await run(plan, pool, { dense });
  const { hash, failure, scheduleCount, recoveryCrashCount } = result;
  total.runs++;
  total.schedules += scheduleCount;
  total.recoveryCrashes += recoveryCrashCount;
  for (const [name, number] of Object.entries(result.coverage)) {
    total.coverage[name] = (total.coverage[name] ?? 0) + number;
  }
  let again: string | undefined;
  if (failure !== undefined) {
    total.failed++;
    const smallest = values["no-shrink"] ? plan : await shrink(plan, pool, dense);
    again = command(smallest, dense);
  }
  console.log(JSON.stringify({ seed: String(plan.seed), hash, schedules: scheduleCount, failure, again }));
  if (failure !== undefined && values["until-failure"]) break;
}
total.seconds = (realNow() - start) / 1000;
console.log(JSON.stringify({ total }));
process.exitCode = total.failed > 0 ? 1 : 0;

/** The plan with the operations and faults that were asked for. */
function only(plan: Plan): Plan {
  const keep = <T extends { index: number }>(list: readonly T[], given: string | undefined): readonly T[] => {
    if (given === undefined) return list;
    const indexes = new Set(given.split(",").filter(Boolean).map(Number));
    return list.filter(({ index }) => indexes.has(index));
  };
  return { ...plan, operations: keep(plan.operations, values.ops), faults: keep(plan.faults, values.faults) };
}

/** What shows a run again. */
function command({ seed, operations, faults }: Plan, dense: boolean): string {
  const whole = planOf(seed);
  const words = [`npm run simulate -- --seed ${seed}`];
  const indexes = (list: readonly { index: number }[]): string => list.map(({ index }) => index).join(",");
  if (operations.length < whole.operations.length) words.push(`--ops ${indexes(operations)}`);
  if (faults.length < whole.faults.length) words.push(`--faults "${indexes(faults)}"`);
  if (dense) words.push("--dense");
  return words.join(" ");
}
