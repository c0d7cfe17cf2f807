/** Simulated crashes: the same seed does the same, run twice, and on Node, Bun and Deno. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { bundleSimulation, type Line, path, simulate } from "./lanes.ts";

const BINARY = path("build/cairn.wasm");
/** Seconds on a machine that has nothing else to do. */
const TIMEOUT_MS = 400_000;
/** Of seeds in which what is left of a dead store once reached the next life, at a moment that runtimes differ in. */
const SEEDS = [
  [BINARY, "--seed", "1", "--count", "3"],
  [BINARY, "--seed", "1022", "--count", "3"],
  // With readers beside the writer, and backups.
  [BINARY, "--seed", "4235"],
];
/** Seeds that failed once, and what was wrong. */
const MENDED = {
  "a superblock in flight that came to lie over the successor's hid it: the older store acknowledged a write":
    "37038663",
  "a full compaction that paid for itself, and a record that expired meanwhile": "37038613",
  "a file whose growth met a full disk half-way was cut again below what a superblock says": "888775",
  "the oracle took a key that came and went for one that a transaction had read": "37038386",
};
let folder = "";
let program = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "cairn-simulation-"));
  program = join(folder, "simulation.mjs");
  await bundleSimulation(program);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function runsOn(command: Command): Promise<Line[]> {
  const lines: Line[] = [];
  for (const words of SEEDS) lines.push(...(await simulate(command, program, words)).slice(0, -1));
  return lines;
}

test("a seed run twice does the same", { timeout: TIMEOUT_MS }, async () => {
  const here = commandOf(RUNTIME) as Command;
  const once = await runsOn(here);
  expect(once.filter(({ failure }) => failure !== undefined)).toEqual([]);
  expect(once).toHaveLength(7);
  expect(await runsOn(here)).toEqual(once);
  expect(new Set(once.map(({ hash }) => hash)).size).toBe(7);
});

test.each(Object.entries(MENDED))("no more: %s", { timeout: TIMEOUT_MS }, async (_, seed) => {
  const [line] = await simulate(commandOf(RUNTIME) as Command, program, [BINARY, "--seed", seed, "--no-shrink"]);
  expect(line?.failure).toBeUndefined();
  expect(line?.schedules).toBeGreaterThan(0);
});

test.skipIf(RUNTIME !== "node")(
  "a seed does the same on Node, Bun and Deno",
  { timeout: TIMEOUT_MS },
  async (context) => {
    const others = (["bun", "deno"] as const).map(commandOf).filter((command) => command !== undefined);
    if (others.length === 0) context.skip();
    const here = await runsOn(commandOf("node") as Command);
    for (const command of others) expect(await runsOn(command)).toEqual(here);
  },
);
