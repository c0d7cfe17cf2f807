/** Hunting planted bugs: seeds of the simulation, one after another, until one of them fails; or a test that must. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { linesOf, startSimulation } from "../simulation/lanes.ts";
import type { Bug, NamedTest } from "./bug.ts";
import { BUGS } from "./bugs.ts";
import type { PlantedBuild } from "./build.ts";

/** What tests that take a seed get. */
const SEED = "20261130";

/** How a hunt ended. */
export interface Catch {
  name: string;
  /** What caught it: `seed N`, or the name of a test; `undefined` when nothing did. */
  by: string | undefined;
  seed?: string | undefined;
  /** The check of the oracle that it showed red. */
  check?: string | undefined;
  /** How it failed, or why it is not caught. */
  failure: string;
  seconds: number;
}

/** How far a hunt goes. */
export interface Hunt {
  /** The first seed. */
  first: string | number;
  /** Seeds, and seconds, at most. */
  count: number;
  seconds: number;
  /** The check that must find it; absent, any will do. */
  check?: string | undefined;
}

/** The number of the bug of a name, from 1 on; 0 for `none`. */
export function numberOf(name: string): number {
  const number = BUGS.findIndex((bug) => bug.name === name) + 1;
  if (number === 0 && name !== "none") throw new Error(`there is no planted bug ${name}`);
  return number;
}

/** Looks for the bug of a name (`none`: for no bug) with seeds of the simulation. */
export async function hunt(
  planted: PlantedBuild,
  name: string,
  { first, count, seconds, check }: Hunt,
): Promise<Catch> {
  const number = numberOf(name);
  const { with: words = [], options, live = false } = BUGS[number - 1]?.search ?? {};
  const given = [planted.binary, "--planted", String(number), "--no-shrink", "--seed", String(first)];
  given.push("--count", String(count), ...(check === undefined ? ["--until-failure"] : ["--until-check", check]));
  if (live) given.push("--live");
  if (words.length > 0) given.push("--with", words.join(","));
  if (options !== undefined) given.push("--options", JSON.stringify(options));
  const start = performance.now();
  // A bug may keep the core busy for good.
  const node = { command: process.execPath, args: [] };
  const { status, signal, text, complaint } = await startSimulation(node, planted.program, given, seconds * 1000);
  const caught: Catch = { name, by: undefined, failure: "", seconds: (performance.now() - start) / 1000 };
  const lines = linesOf(text);
  const failed = lines.find(
    (line) => line.failure !== undefined && !line.innocent && (check === undefined || line.check === check),
  );
  if (failed !== undefined) {
    const { seed, failure = "" } = failed;
    return { ...caught, by: `seed ${seed}`, seed, check: failed.check, failure };
  }
  if (signal !== null) return { ...caught, failure: `no verdict within ${seconds} s, after ${lines.length} seeds` };
  if (status !== 0 && status !== 1) return { ...caught, failure: `the simulation failed: ${complaint}` };
  const tried = lines.length - 1;
  return {
    ...caught,
    failure: check === undefined ? `not caught by ${tried} seeds` : `not by ${check}, in ${tried} seeds`,
  };
}

/** Runs tests over the build with the bug of a number on, 0 for none. The names of those that passed, and that failed. */
export async function runTests(root: string, planted: PlantedBuild, number: number, tests: readonly NamedTest[]) {
  const folder = mkdtempSync(join(tmpdir(), "cairn-planted-test-"));
  const report = join(folder, "report.json");
  const names = tests.map(({ name }) => `${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
  const words = ["node_modules/vitest/vitest.mjs", "run", "--config=test/planted/vitest.config.ts", "--reporter=json"];
  words.push(
    `--outputFile=${report}`,
    `--testNamePattern=${names.join("|")}`,
    ...new Set(tests.map(({ file }) => file)),
  );
  const build = dirname(planted.binary);
  const env = { ...process.env, CAIRN_SEED: SEED, CAIRN_PLANTED: String(number), CAIRN_PLANTED_BUILD: build };
  try {
    const child = spawn(process.execPath, words, {
      cwd: root,
      env,
      stdio: "ignore",
      timeout: 120_000,
      killSignal: "SIGKILL",
    });
    await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    const { testResults } = JSON.parse(readFileSync(report, "utf8")) as VitestReport;
    const results = testResults.flatMap(({ assertionResults }) => assertionResults);
    const of = (wanted: string): typeof results => results.filter(({ status }) => status === wanted);
    return {
      passed: of("passed").map(({ title }) => title),
      failed: new Map(of("failed").map(({ title, failureMessages }) => [title, failureMessages[0] ?? "it failed"])),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Looks for a bug with its test, which must fail. That it passes without the bug is for the caller to see. */
export async function huntByTest(
  root: string,
  planted: PlantedBuild,
  { name, test }: Bug & { test: NamedTest },
): Promise<Catch> {
  const start = performance.now();
  const { failed } = await runTests(root, planted, numberOf(name), [test]);
  const failure = failed.get(test.name);
  const seconds = (performance.now() - start) / 1000;
  if (failure === undefined) return { name, by: undefined, failure: `the test "${test.name}" does not fail`, seconds };
  return { name, by: `${test.file}: ${test.name}`, failure: failure.split("\n")[0] as string, seconds };
}

interface VitestReport {
  testResults: { assertionResults: { status: string; title: string; failureMessages: string[] }[] }[];
}
