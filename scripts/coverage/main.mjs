/**
 * `npm run coverage`: makes a build of the engine with a counter at each branch, runs the suites on Node over it, and
 * prints which branches were taken. Fails below 95 %.
 *
 *   npm run coverage -- [--keep] [--seeds N] [--write] [test/folder, test/file ...]
 *
 * `--keep` adds to what earlier runs over the same sources took; with `--keep --none` nothing is run. `--seeds` is how many
 * of the simulation are run (default 60; 0 with suites of one's own). `--write` writes docs/coverage.md.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { leb, withNames } from "../component-names.mjs";
import { compile, instrumentAll } from "./instrument.mjs";
import { REASONS } from "./reasons.mjs";
import { figures, reportPage, reportText, shareOf } from "./report.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER = join(ROOT, "build/coverage");
const SHARE_LEAST = 0.95;
/** Folders of tests; those that a state of the repository does not have are left out. */
const SUITES = ["unit", "store", "hosts", "crash", "every-call", "fuzz", "cli", "component"]
  .map((name) => `test/${name}`)
  .filter((name) => existsSync(join(ROOT, name)));

/** What draws the moments at which a device fails is run with these seeds as well. */
const SEEDED = ["test/store/core-faults.test.ts", "test/store/verify-steps.test.ts"];
const MORE_SEEDS = ["8", "9", "10"];

/** Ten million keys take no branch that fewer do not, and too long here. */
const SLOW = ["--exclude", "test/store/node-ten-million.test.ts"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    keep: { type: "boolean", default: false },
    none: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    seeds: { type: "string" },
  },
});

const instrumented = instrumentAll(ROOT);
const { branches } = instrumented;
const hitsFile = join(FOLDER, "hits");
const listFile = join(FOLDER, "branches.json");
const list = JSON.stringify(branches);
if (values.keep && contentOf(listFile) !== list) {
  console.error("coverage: --keep: the sources have changed since the earlier run; run it without --keep");
  process.exit(2);
}
if (!values.keep) {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  await buildAll();
  writeFileSync(listFile, list);
  writeFileSync(hitsFile, new Uint8Array(branches.length));
}

const env = {
  // What the tests try a share of, they try more of here; the same each time.
  CAIRN_SEED: "7",
  CAIRN_FORGED_SHARE: "5",
  CAIRN_FAULTS_STRIDE: "11",
  CAIRN_CRASH_RUNS: "1",
  ...process.env,
  CAIRN_COVERAGE: FOLDER,
  NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import=${pathToFileURL(join(ROOT, "scripts/coverage/preload.mjs"))}`,
};
let failed = false;
if (!values.none) {
  const suites = positionals.length > 0 ? positionals : SUITES;
  failed = test([...suites, ...SLOW]) !== 0;
  for (const seed of positionals.length > 0 ? [] : MORE_SEEDS) failed = test(SEEDED, seed) !== 0 || failed;
  const seeds = values.seeds ?? (positionals.length > 0 ? "0" : "60");
  if (seeds !== "0") failed = start(["scripts/simulate.mjs", "--seed", "1", "--count", seeds]) !== 0 || failed;
}

const hits = readFileSync(hitsFile);
console.log(reportText(branches, hits, REASONS));
if (values.write) writeFileSync(join(ROOT, "docs/coverage.md"), reportPage(branches, hits, REASONS));
if (failed) console.log("\nsome tests failed: what stands behind the failure may be missing here");
process.exitCode = !failed && shareOf(figures(branches, hits).all) >= SHARE_LEAST ? 0 : 1;

/** The binaries that are exchanged, and those that they are exchanged for. */
async function buildAll() {
  const original = readFileSync(join(ROOT, "build/cairn.wasm"));
  copyFileSync(join(ROOT, "build/cairn.wasm"), join(FOLDER, "index.original.wasm"));
  copyFileSync(join(ROOT, "build/cairn.units.wasm"), join(FOLDER, "units.original.wasm"));
  const index = await compile(ROOT, "assembly/index.ts", ["--target", "debug"], instrumented);
  writeFileSync(join(FOLDER, "index.wasm"), withTextModule(index, original));
  const units = await compile(ROOT, "assembly/units.ts", ["--target", "debug"], instrumented);
  writeFileSync(join(FOLDER, "units.wasm"), units);
  const component = await compile(ROOT, "assembly/component/index.ts", ["--target", "component"], instrumented);
  writeFileSync(join(FOLDER, "component.wasm"), withNames(component));
}

/**
 * A binary with the custom section that the product's has.
 *
 * @param {Uint8Array} binary
 * @param {Uint8Array} original
 */
function withTextModule(binary, original) {
  const SECTION_NAME = "cairn.text";
  const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(Buffer.from(original)), SECTION_NAME);
  if (section === undefined) throw new Error(`build/cairn.wasm has no section ${SECTION_NAME}: npm run build`);
  const name = Buffer.from(SECTION_NAME);
  const content = [...leb(name.length), ...name, ...new Uint8Array(section)];
  return Buffer.concat([binary, Buffer.from([0, ...leb(content.length), ...content])]);
}

/**
 * @param {string[]} files
 * @param {string} [seed]
 */
function test(files, seed) {
  const limits = ["--testTimeout=900000", "--hookTimeout=900000"];
  return start(["scripts/test.mjs", "--runtime", "node", ...files, ...limits], seed);
}

/**
 * @param {string[]} words
 * @param {string} [seed]
 */
function start(words, seed) {
  const seeded = seed === undefined ? env : { ...env, CAIRN_SEED: seed };
  return spawnSync(process.execPath, words, { cwd: ROOT, stdio: "inherit", env: seeded }).status;
}

/** @param {string} path */
function contentOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
