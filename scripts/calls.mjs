/**
 * Every call of every workload fails in every way, and every growth of the memory is refused (test/every-call):
 * `npm run test:calls -- [--only calls|memory] [--workload NAME] [--at N --kind NAME --lasts NAME] [--stride N --offset N]`. On as many
 * cores as there are. Ends with `N faults of N calls, N failed`.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/every-call.mjs");
buildSync({
  entryPoints: [path("test/every-call/program.ts")],
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
  outfile: PROGRAM,
});

const given = process.argv.slice(2);
const isShare = given.includes("--stride");
const lanes = isShare ? 1 : availableParallelism();
let trials = 0;
let memories = 0;
let calls = 0;
let failed = 0;
const runs = Array.from({ length: lanes }, (_, lane) => {
  const share = isShare ? [] : ["--stride", String(lanes), "--offset", String(lane)];
  const words = [PROGRAM, path("build/cairn.wasm"), ...share, ...given];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  let ended = false;
  child.stdout.on("data", (data) => {
    text += data;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      console.log(line);
      const { total } = JSON.parse(line);
      if (total === undefined) continue;
      ended = true;
      calls = Math.max(calls, total.calls);
      trials += total.trials;
      memories += total.memories;
      failed += total.failed;
    }
  });
  return new Promise((resolve) => {
    child.on("close", () => {
      // One that ended before its time says nothing of what it did not try.
      if (!ended) failed += 1;
      resolve(undefined);
    });
  });
});
await Promise.all(runs);
console.log(`${trials} faults of ${calls} calls, ${memories} sizes of the memory, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
