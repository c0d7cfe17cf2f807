/**
 * The simulation as a program, for Node, Bun and Deno alike; `scripts/simulate.mjs` bundles and starts it. Prints one line
 * of JSON a run, and one over all: hashes, counts, what failed, and how to see it again.
 *
 *   program BINARY [--seed N] [--count N] [--minutes N] [--schedules N] [--ops 1,2,5] [--faults 0] [--dense] [--no-shrink]
 *                  [--with rot,compacts] [--options JSON] [--live] [--until-failure] [--until-check NAME] [--planted N]
 *
 * `--live` looks at no crash images: a store that goes wrong while it lives is found sooner.
 * `--with` leaves out seeds whose plan has not all of these words, `--options` puts options in place of the seed's: asked.ts.
 * `--planted` is for the build of test/planted: which bug is on. `--until-check` ends with the first failure of that check.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Asked, askedPlan } from "./asked.ts";
import { expectDetermined } from "./determined.ts";
import { InstancePool } from "./host.ts";
import { run } from "./run.ts";
import { shrink } from "./shrink.ts";
import { checkOf } from "./violation.ts";
import type { Plan } from "./workload.ts";

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
    "until-check": { type: "string" },
    live: { type: "boolean", default: false },
    with: { type: "string" },
    options: { type: "string" },
  },
});
expectDetermined();
const planted = Number(values.planted);
const module = new WebAssembly.Module(readFileSync(positionals[0] as string));
/** By the number of the planted bug, which an instance gets when it is made. */
const pools = new Map<number, InstancePool>();
const end = realNow() + Number(values.minutes ?? 1e6) * 60_000;
const isCounted = values.minutes === undefined && values.schedules === "Infinity";
const count = isCounted ? Number(values.count) : Number.POSITIVE_INFINITY;
const schedules = Number(values.schedules);
const asked: Asked = {
  ...(values.with === undefined ? {} : { with: values.with.split(",") }),
  ...(values.options === undefined ? {} : { options: JSON.parse(values.options) }),
};
/** Seeds in a row that have not what is looked for, after which there is none. */
const SKIPPED_MAX = 1_000_000;
const total = {
  runs: 0,
  failed: 0,
  schedules: 0,
  recoveryCrashes: 0,
  seconds: 0,
  coverage: {} as Record<string, number>,
};
const start = realNow();
for (let seed = BigInt(values.seed); total.runs < count && total.schedules < schedules && realNow() < end; seed++) {
  const plan = only(nextPlan(seed));
  seed = plan.seed;
  const { dense } = values;
  const result = await runWith(planted, plan, dense);
  const { hash, failure, scheduleCount, recoveryCrashCount } = result;
  total.runs++;
  total.schedules += scheduleCount;
  total.recoveryCrashes += recoveryCrashCount;
  for (const [name, number] of Object.entries(result.coverage)) {
    total.coverage[name] = (total.coverage[name] ?? 0) + number;
  }
  // What goes wrong without the bug as well does not show it.
  const innocent =
    failure !== undefined && planted !== 0 && (await runWith(0, plan, dense)).failure !== undefined ? true : undefined;
  let again: string | undefined;
  if (failure !== undefined) {
    total.failed++;
    const smallest = values["no-shrink"] ? plan : await shrink(plan, poolWith(planted), dense);
    again = command(smallest, dense);
  }
  const check = failure === undefined ? undefined : checkOf(result.error);
  console.log(
    JSON.stringify({ seed: String(plan.seed), hash, schedules: scheduleCount, failure, check, innocent, again }),
  );
  if (
    failure !== undefined &&
    !innocent &&
    (values["until-failure"] || (check !== undefined && check === values["until-check"]))
  )
    break;
}
total.seconds = (realNow() - start) / 1000;
console.log(JSON.stringify({ total }));
process.exitCode = total.failed > 0 ? 1 : 0;

/** Runs a plan with a planted bug on; 0 for none. */
function runWith(bug: number, plan: Plan, dense: boolean): ReturnType<typeof run> {
  return run(plan, poolWith(bug), { dense, live: values.live });
}

/** Instances with a planted bug on, which is the one from now on. */
function poolWith(bug: number): InstancePool {
  (globalThis as { planted?: number }).planted = bug;
  const pool = pools.get(bug) ?? new InstancePool(module);
  pools.set(bug, pool);
  return pool;
}

/** The plan of the first seed from this one on that has what is looked for. */
function nextPlan(first: bigint): Plan {
  for (let i = 0n; i < SKIPPED_MAX; i++) {
    const plan = askedPlan(BigInt.asUintN(64, first + i), asked);
    if (plan !== undefined) return plan;
  }
  throw new Error(`no seed has all of ${values.with}`);
}

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
  const whole = nextPlan(seed);
  const words = [`npm run simulate -- --seed ${seed}`];
  const indexes = (list: readonly { index: number }[]): string => list.map(({ index }) => index).join(",");
  if (operations.length < whole.operations.length) words.push(`--ops ${indexes(operations)}`);
  if (faults.length < whole.faults.length) words.push(`--faults "${indexes(faults)}"`);
  if (values.options !== undefined) words.push(`--options '${values.options}'`);
  if (dense) words.push("--dense");
  return words.join(" ");
}
