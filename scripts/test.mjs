/**
 * Runs vitest with its usual output and ends with one line, `N passed, N failed`.
 *
 * Arguments go to vitest: folders, files, `-t name`. A file that cannot be loaded counts as a failure; so does a run that
 * went wrong without a failed test (an error outside every test, a crash) or held no test at all.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const VITEST = new URL("node_modules/vitest/vitest.mjs", ROOT);
const REPORT = new URL(`build/test-report-${process.pid}.json`, ROOT);

/** @typedef {{ status: string, assertionResults: { status: string }[] }} FileResult */

/**
 * @returns {{ passed: number, failed: number, skipped: number }}
 */
function readReport() {
  /** @type {{ testResults: FileResult[] }} */
  const report = JSON.parse(readFileSync(REPORT, "utf8"));
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  /** @param {string} status */
  const countOf = (status) => tests.filter((test) => test.status === status).length;
  const brokenFileCount = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  ).length;
  const passed = countOf("passed");
  const failed = countOf("failed");
  return { passed, failed: failed + brokenFileCount, skipped: tests.length - passed - failed };
}

mkdirSync(new URL("build/", ROOT), { recursive: true });
const run = spawnSync(
  process.execPath,
  [
    fileURLToPath(VITEST),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${fileURLToPath(REPORT)}`,
    ...process.argv.slice(2),
  ],
  { cwd: fileURLToPath(ROOT), stdio: ["ignore", "inherit", "inherit"] },
);

let counts = { passed: 0, failed: 0, skipped: 0 };
try {
  counts = readReport();
} catch (error) {
  console.error(`no report of the run: ${error instanceof Error ? error.message : error}`);
}
rmSync(REPORT, { force: true });

const isEmpty = counts.passed + counts.failed === 0;
if (isEmpty) console.error("no test ran");
if ((run.status !== 0 || isEmpty) && counts.failed === 0) counts.failed = 1;
process.exitCode = counts.failed > 0 ? 1 : 0;
if (counts.skipped > 0) console.log(`${counts.skipped} skipped`);
console.log(`${counts.passed} passed, ${counts.failed} failed`);
