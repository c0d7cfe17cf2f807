/**
 * Runs the simulation (test/simulation): `npm run simulate -- --seed N [--count N] [--ops ..] [--faults ..] [--dense]` in one
 * process; `npm run test:soak -- --minutes N` with new seeds on all cores. Ends with `N schedules, N failed`.
 */
import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/simulation.mjs");
const BINARY = path("build/cairn.wasm");
buildSync({
  entryPoints: [path("test/simulation/program.ts")],
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
  outfile: PROGRAM,
});

const given = process.argv.slice(2);
const soak = given.includes("--soak");
const words = given.filter((word) => word !== "--soak");
if (!soak) {
  process.exit(spawnSync(process.execPath, [PROGRAM, BINARY, ...words], { stdio: "inherit" }).status ?? 2);
}
const first = BigInt(Math.floor(Math.random() * 0x7fff_ffff)) << 32n;
let schedules = 0;
let failed = 0;
const runs = Array.from({ length: availableParallelism() }, (_, i) => {
  const seed = String(first + (BigInt(i) << 24n));
  const child = spawn(process.execPath, [PROGRAM, BINARY, "--seed", seed, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      const { total, failure } = JSON.parse(line);
      if (failure !== undefined) console.log(line);
      if (total === undefined) continue;
      schedules += total.schedules;
      failed += total.failed;
      console.log(line);
    }
  });
  return new Promise((resolve) => {
    child.on("close", (status) => {
      // One that ended before its time says nothing of the schedules that it did.
      if (status !== 0 && status !== 1) failed += 1;
      resolve(undefined);
    });
  });
});
await Promise.all(runs);
console.log(`${schedules} schedules, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
