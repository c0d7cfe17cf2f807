/**
 * Runs the randomised tests with new seeds, one after another, until the time is over: `npm run soak -- [minutes]`, 30 by
 * default. Ends with `N passed, N failed`, counted in seeds; each that failed is named, with how to run it again.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const VITEST = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
const TESTS = ["test/store/model", "test/store/compaction", "test/crash"];

const minutes = Number(process.argv[2] ?? 30);
if (!(minutes > 0)) {
  console.error("soak: how many minutes? npm run soak -- 30");
  process.exit(2);
}
const end = performance.now() + minutes * 60_000;
let passed = 0;
let failed = 0;
while (performance.now() < end) {
  const seed = 1 + Math.floor(Math.random() * 0x7fffff00);
  const env = { ...process.env, CAIRN_SEED: String(seed), CAIRN_CRASH_RUNS: "1" };
  const run = spawnSync(process.execPath, [VITEST, "run", ...TESTS], { cwd: ROOT, env, encoding: "utf8" });
  if (run.status === 0) {
    passed += 1;
    console.log(`seed ${seed} passed`);
  } else {
    failed += 1;
    console.log(run.stdout);
    console.log(`FAILED: CAIRN_SEED=${seed} npx vitest run ${TESTS.join(" ")}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
