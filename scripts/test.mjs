/**
 * Runs vitest on one runtime after another, with its usual output, and ends with one line over all of them: `N passed,
 * N failed`. Before it stands each failed test by name, and each that passed at a second try.
 *
 *   node scripts/test.mjs [--runtime node,node-lts,bun,deno] [arguments of vitest: test/folder, test/file, -t name]
 *
 * Without `--runtime` all are run that are installed; one that is missing is named, and counts as a failure under CI. A
 * file that cannot be loaded counts as a failure; so does a run that went wrong without a failed test (an error outside
 * every test, a crash) or held no test at all.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isInstalled, RUNTIMES } from "./test-runtimes.mjs";

const ROOT = new URL("../", import.meta.url);
const VITEST = new URL("node_modules/vitest/vitest.mjs", ROOT);

/** @typedef {{ status: string, fullName: string, failureMessages?: string[] }} TestResult */
/** @typedef {{ status: string, name: string, message?: string, assertionResults: TestResult[] }} FileResult */
/** @typedef {{ runtime: string, passed: number, skipped: number, failures: string[], secondTries: string[], seconds: number }} RunResult */

/**
 * What vitest's report says. Of the names of files only what lies below the root is given.
 *
 * @param {URL} path
 */
function readReport(path) {
  /** @type {{ testResults: FileResult[] }} */
  const report = JSON.parse(readFileSync(path, "utf8"));
  let passed = 0;
  let skipped = 0;
  const failures = [];
  const secondTries = [];
  for (const file of report.testResults) {
    const name = relative(fileURLToPath(ROOT), file.name);
    let failedCount = 0;
    for (const test of file.assertionResults) {
      const [message = ""] = test.failureMessages ?? [];
      const told = `${name}: ${test.fullName}: ${firstLine(message)}${placeIn(message)}`;
      if (test.status === "passed") {
        passed += 1;
        if (message !== "") secondTries.push(told);
      } else if (test.status !== "failed") skipped += 1;
      else {
        failedCount += 1;
        failures.push(told);
      }
    }
    if (file.status === "failed" && failedCount === 0) failures.push(`${name}: ${firstLine(file.message)}`);
  }
  return { passed, skipped, failures, secondTries };
}

/** @param {string | undefined} message */
function firstLine(message) {
  return (message ?? "").split("\n").find((line) => line.trim() !== "") ?? "no message";
}

/**
 * Where in the tests it happened, by the first frame of the stack that lies there; nothing where none does.
 *
 * @param {string} message
 */
function placeIn(message) {
  const frame = /(?<=^\s+at .*)\btest\/[\w./-]+:\d+(?=:\d+)/m.exec(message);
  return frame === null ? "" : ` (${frame[0]})`;
}

/**
 * @param {string} name
 * @param {string[]} given
 * @returns {RunResult}
 */
function runOn(name, given) {
  const { command, args, folders, config, env } = /** @type {import("./test-runtimes.mjs").TestRuntime} */ (
    RUNTIMES[name]
  );
  const report = new URL(`build/test-report-${process.pid}-${name}.json`, ROOT);
  const startMs = performance.now();
  const run = spawnSync(
    command,
    [
      ...args,
      fileURLToPath(VITEST),
      "run",
      ...(config === undefined ? [] : [`--config=${config}`]),
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${fileURLToPath(report)}`,
      ...given,
      ...(given.some((word) => word.startsWith("test/")) ? [] : folders),
    ],
    {
      cwd: fileURLToPath(ROOT),
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...env, CAIRN_RUNTIME: name },
    },
  );
  let counts = {
    passed: 0,
    skipped: 0,
    failures: /** @type {string[]} */ ([]),
    secondTries: /** @type {string[]} */ ([]),
  };
  try {
    counts = readReport(report);
    if (counts.passed + counts.failures.length === 0) counts.failures.push("no test ran");
    else if (run.status !== 0 && counts.failures.length === 0) counts.failures.push(`vitest ended with ${run.status}`);
  } catch (error) {
    counts.failures.push(`no report of the run: ${error instanceof Error ? error.message : error}`);
  }
  rmSync(report, { force: true });
  return { runtime: name, ...counts, seconds: (performance.now() - startMs) / 1000 };
}

/** Splits `--runtime a,b` or `--runtime=a,b` from what vitest gets. */
function readArguments() {
  const given = process.argv.slice(2);
  const at = given.findIndex((word) => word === "--runtime" || word.startsWith("--runtime="));
  if (at < 0) return { names: undefined, given };
  const [word = ""] = given.splice(at, 1);
  const list = word.includes("=") ? word.slice(word.indexOf("=") + 1) : given.splice(at, 1)[0];
  return { names: (list ?? "").split(","), given };
}

const { names, given } = readArguments();
const unknown = names?.filter((name) => !(name in RUNTIMES)) ?? [];
if (unknown.length > 0) {
  console.error(`no runtime ${unknown.join(", ")}; there are ${Object.keys(RUNTIMES).join(", ")}`);
  process.exit(2);
}

mkdirSync(new URL("build/", ROOT), { recursive: true });
/** @type {RunResult[]} */
const results = [];
for (const name of names ?? Object.keys(RUNTIMES)) {
  if (isInstalled(name)) {
    console.log(`== ${name}`);
    results.push(runOn(name, given));
  } else if (names !== undefined || process.env["CI"]) {
    results.push({
      runtime: name,
      passed: 0,
      skipped: 0,
      failures: ["it is not installed"],
      secondTries: [],
      seconds: 0,
    });
  } else {
    console.log(`== ${name}: not installed, skipped (npm run peers)`);
  }
}

let passed = 0;
let failed = 0;
console.log("");
for (const { runtime, failures, secondTries } of results) {
  for (const first of secondTries) console.log(`PASSED AT THE SECOND TRY ${runtime}: ${first}`);
  for (const failure of failures) console.log(`FAILED ${runtime}: ${failure}`);
}
for (const result of results) {
  const { runtime, skipped, failures, seconds } = result;
  passed += result.passed;
  failed += failures.length;
  console.log(
    `${runtime}: ${result.passed} passed, ${failures.length} failed, ${skipped} skipped, ${seconds.toFixed(0)} s`,
  );
}
process.exitCode = failed > 0 ? 1 : 0;
console.log(`${passed} passed, ${failed} failed`);
