/**
 * `npm run test:kills`: kills children with `kill -9` over and over; `scripts/kills.mjs` starts it.
 *
 *   program ROOT [--count N] [--runtime node,bun,deno] [--on file,loop] [--seed N] [--minutes N] [--keep FOLDER]
 *
 * Of each runtime so many kills, 200 unless asked for, or as many as the minutes allow; each child writes into a store on all
 * that `--on` names, a file and a loop device by default. `--keep` copies the stores before each child opens them, so that
 * what fails can be looked at. The last line reads `N kills, N failed`.
 */
import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { RuntimeName } from "../runtime.ts";
import { killLoop, LOOP_SIZE } from "./kill-loop.ts";
import { Machine } from "./machine.ts";

const [root = ".", ...words] = process.argv.slice(2);
const { values } = parseArgs({
  args: words,
  options: {
    count: { type: "string", default: "200" },
    runtime: { type: "string", default: "node,bun,deno" },
    on: { type: "string", default: "file,loop" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    minutes: { type: "string" },
    keep: { type: "string" },
  },
});
const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
let kills = 0;
let failed = 0;
// A stop takes effect after the next kill, so that what was done is told, and nothing is left behind.
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
for (const runtime of values.runtime.split(",") as RuntimeName[]) {
  if (stop.signal.aborted) break;
  const machine = new Machine();
  try {
    const paths = values.on
      .split(",")
      .map((on) => (on === "loop" ? machine.loop(LOOP_SIZE).loop : machine.path("store")));
    const { keep } = values;
    const copy = (): void => {
      if (keep === undefined) return;
      fs.mkdirSync(keep, { recursive: true });
      for (const [index, path] of paths.entries()) {
        if (fs.existsSync(path)) fs.writeFileSync(join(keep, `${runtime}-${index}.image`), fs.readFileSync(path));
      }
    };
    const report = await killLoop({
      root: resolve(root),
      runtime,
      paths,
      count: Number(values.count),
      seed: Number(values.seed),
      endMs: performance.now() + minutes * 60_000,
      abort: stop.signal,
      before: copy,
      after: (count) => {
        if (count % 100 === 0) console.log(`${runtime}: ${count} kills so far`);
      },
    });
    kills += report.kills;
    if (report.failure !== undefined) failed += 1;
    console.log(JSON.stringify({ runtime, on: values.on, seed: values.seed, ...report }));
  } finally {
    machine.end();
  }
}
console.log(`${kills} kills, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
