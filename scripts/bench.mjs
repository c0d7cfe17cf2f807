/**
 * Runs a benchmark: `npm run bench -- point`. The peers that it measures against have a package file of their own in
 * bench/, and are installed there the first time.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const BENCH = new URL("bench/", ROOT);

/**
 * @param {string} command
 * @param {string[]} args
 * @param {URL} folder
 */
function run(command, args, folder) {
  const { status, error } = spawnSync(command, args, { cwd: fileURLToPath(folder), stdio: "inherit" });
  if (error) console.error(error.message);
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(new URL("node_modules/.package-lock.json", BENCH))) {
  console.error("bench: installing the peers");
  run("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock"], BENCH);
}
run("npm", ["run", "--silent", "build"], ROOT);
run(process.execPath, ["--expose-gc", "build/bench/main.js", ...process.argv.slice(2)], ROOT);
