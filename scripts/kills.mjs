/**
 * Kills processes in the midst of writes, over and over (test/faults): `npm run test:kills -- --count N [--runtime node|bun|deno]
 * [--on file|loop] [--minutes N]`. Ends with `N kills, N failed`.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/kills-program.mjs");
buildSync({
  entryPoints: [path("test/faults/kills-program.ts")],
  outfile: PROGRAM,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
const run = spawnSync(process.execPath, [PROGRAM, path("."), ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = run.status ?? 2;
