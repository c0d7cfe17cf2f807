/**
 * `npm run test:planted`: deliberate bugs in core and hosts, each of which the simulation must catch: test/planted/program.ts.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/planted-program.mjs");
buildSync({
  entryPoints: [path("test/planted/program.ts")],
  outfile: PROGRAM,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
const run = spawnSync(process.execPath, [PROGRAM, path("."), ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = run.status ?? 2;
