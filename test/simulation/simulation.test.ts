/** Simulated crashes: fixed seeds without a violation, and the same trace of a seed on Node and Bun. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandOf, RUNTIME, type RuntimeName } from "../runtime.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const SEEDS = ["--seed", "1", "--count", "12"];
let folder = "";
let program = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "cairn-simulation-"));
  program = join(folder, "simulation.mjs");
  const { build } = await import("esbuild");
  const entryPoints = [path("test/simulation/program.ts")];
  await build({ entryPoints, outfile: program, bundle: true, platform: "node", format: "esm", logLevel: "silent" });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function simulate(runtime: RuntimeName, words: readonly string[]): Record<string, unknown>[] {
  const start = commandOf(runtime);
  if (start === undefined) throw new Error(`${runtime} is not installed`);
  const all = [...start.args, program, path("build/cairn.wasm"), ...words];
  const { stdout, stderr, status } = spawnSync(start.command, all, { encoding: "utf8", timeout: 110_000 });
  if (status !== 0 && status !== 1) throw new Error(`the simulation ended with ${status}: ${stderr}`);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("a seed run twice does the same, and loses nothing", () => {
  const once = simulate(RUNTIME, SEEDS);
  expect(once.filter(({ failure }) => failure !== undefined)).toEqual([]);
  expect(once.at(-1)).toMatchObject({ total: { runs: 12, failed: 0 } });
  const schedules = once.reduce((sum, line) => sum + Number(line["schedules"] ?? 0), 0);
  expect(schedules).toBeGreaterThan(400);
  expect(simulate(RUNTIME, SEEDS).slice(0, -1)).toEqual(once.slice(0, -1));
});

test.skipIf(RUNTIME !== "node")("a seed does the same on Node and Bun", (context) => {
  const others = (["bun"] as const).filter((name) => commandOf(name) !== undefined);
  if (others.length === 0) context.skip();
  const here = simulate("node", SEEDS).slice(0, -1);
  for (const name of others) expect(simulate(name, SEEDS).slice(0, -1)).toEqual(here);
});
