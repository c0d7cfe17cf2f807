/**
 * Runs the simulation (test/simulation): `npm run simulate -- --seed N [--count N] [--ops ..] [--faults ..] [--dense]` in one
 * process; `npm run test:soak -- --minutes N` with new seeds on all cores. Ends with `N schedules, N failed`.
 */
import { availableParallelism } from "node:os";
import { BINARY, bundled, runByLines, runToEnd } from "./program.mjs";

const given = process.argv.slice(2);
const words = given.filter((word) => word !== "--soak");
const program = await bundled("test/simulation/program.ts", "simulation");
if (words.length === given.length) runToEnd(program, [BINARY, ...words]);
else await soak();

async function soak() {
  const first = BigInt(Math.floor(Math.random() * 0x7fff_ffff)) << 32n;
  let schedules = 0;
  let failed = 0;
  const runs = Array.from({ length: availableParallelism() }, async (_, i) => {
    const seed = String(first + (BigInt(i) << 24n));
    const status = await runByLines(program, [BINARY, "--seed", seed, ...words], ({ total, failure }, line) => {
      if (failure !== undefined) console.log(line);
      if (total === undefined) return;
      schedules += total.schedules;
      failed += total.failed;
      console.log(line);
    });
    // One that ended before its time says nothing of the schedules that it did.
    if (status !== 0 && status !== 1) failed += 1;
  });
  await Promise.all(runs);
  console.log(`${schedules} schedules, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
