/**
 * Every call of every workload fails in every way, and every growth of the memory is refused (test/every-call):
 * `npm run test:calls -- [--only calls|memory] [--workload NAME] [--at N --kind NAME --lasts NAME] [--stride N --offset N]`. On as many
 * cores as there are. Ends with `N faults of N calls, N failed`.
 */
import { availableParallelism } from "node:os";
import { BINARY, bundled, runByLines } from "./program.mjs";

const given = process.argv.slice(2);
const isShare = given.includes("--stride");
const lanes = isShare ? 1 : availableParallelism();
const program = await bundled("test/every-call/program.ts", "every-call");
let trials = 0;
let memories = 0;
let calls = 0;
let failed = 0;
const runs = Array.from({ length: lanes }, async (_, lane) => {
  const share = isShare ? [] : ["--stride", String(lanes), "--offset", String(lane)];
  let ended = false;
  await runByLines(program, [BINARY, ...share, ...given], ({ total }, line) => {
    console.log(line);
    if (total === undefined) return;
    ended = true;
    calls = Math.max(calls, total.calls);
    trials += total.trials;
    memories += total.memories;
    failed += total.failed;
  });
  // One that ended before its time says nothing of what it did not try.
  if (!ended) failed += 1;
});
await Promise.all(runs);
console.log(`${trials} faults of ${calls} calls, ${memories} sizes of the memory, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
