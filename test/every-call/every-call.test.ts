/**
 * Every call that a store makes of its device and its host fails, in every way, and every growth of its memory is refused: a
 * share of all pairs of a call and a fault, another one with another seed, and no more than there is time for. All of them:
 * `npm run test:calls`.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { bundle, type CallsLine, callsOf } from "./run.ts";

const { CAIRN_SEED = "20261130" } = process.env;
/** Seconds of each part. */
const CALLS_SECONDS = 30;
const MEMORY_SECONDS = 15;
const OTHERS_SECONDS = 5;
/** Every how manieth size of the memory is tried: a prime, so that no workload meets the same ones. */
const MEMORY_STRIDE = 23;
/** The program tries so many however long they take; of so many, each kind of call is one. */
const TRIALS_LEAST = 20;
const TRIALS_OF_ALL_KINDS = 1000;

let folder = "";
let program = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "cairn-calls-"));
  program = join(folder, "program.mjs");
  await bundle(program);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the program; one that hangs says what it was at. */
async function run(command: Command, words: readonly string[]): Promise<readonly CallsLine[]> {
  const progress = join(folder, "progress");
  const seeded = ["--offset", CAIRN_SEED, "--progress", progress, ...words];
  return callsOf(command, program, seeded, () => readFileSync(progress, "utf8").trim());
}

function failuresOf(lines: readonly CallsLine[]): unknown[] {
  return lines.flatMap(({ workload, memory, failures = [] }) => failures.map((one) => ({ workload, memory, ...one })));
}

test("every call fails in every way, and the table of faults holds", { timeout: 300_000 }, async () => {
  const lines = await run(commandOf(RUNTIME) as Command, ["--only", "calls", "--seconds", String(CALLS_SECONDS)]);
  expect(failuresOf(lines)).toEqual([]);
  const total = lines.at(-1)?.total;
  console.log(`${total?.trials} faults of ${total?.calls} calls, ${total?.seconds.toFixed(0)} s, seed ${CAIRN_SEED}`);
  expect(total?.failed).toBe(0);
  expect(total?.trials).toBeGreaterThanOrEqual(TRIALS_LEAST);
  // A kind of call that never fails proves nothing.
  const kinds = [
    "read",
    "readAsync",
    "write",
    "writeAsync",
    "commitAsync",
    "sync",
    "syncAsync",
    "resize",
    "clock",
    "tick",
  ];
  if ((total?.trials ?? 0) >= TRIALS_OF_ALL_KINDS) {
    expect(Object.keys(total?.byCall ?? {})).toEqual(expect.arrayContaining(kinds));
  }
});

test("every growth of the memory is refused, and nothing is lost", { timeout: 300_000 }, async () => {
  const lines = await run(commandOf(RUNTIME) as Command, [
    "--only",
    "memory",
    ...["--seconds", String(MEMORY_SECONDS), "--stride", String(MEMORY_STRIDE)],
  ]);
  expect(failuresOf(lines)).toEqual([]);
  const total = lines.at(-1)?.total;
  console.log(`${total?.refusals} refusals over ${total?.memories} memories, ${total?.seconds.toFixed(0)} s`);
  expect(total?.failed).toBe(0);
  expect(total?.refusals).toBeGreaterThan(0);
});

test.skipIf(RUNTIME !== "node")(
  "the same holds on Bun and Deno, of fewer calls",
  { timeout: 300_000 },
  async (context) => {
    const others = (["bun", "deno"] as const).map(commandOf).filter((command) => command !== undefined);
    if (others.length === 0) context.skip();
    for (const command of others) {
      const lines = await run(command, ["--only", "calls", "--seconds", String(OTHERS_SECONDS)]);
      expect(failuresOf(lines)).toEqual([]);
      expect(lines.at(-1)?.total?.trials).toBeGreaterThanOrEqual(TRIALS_LEAST);
      expect(lines.at(-1)?.total?.failed).toBe(0);
    }
  },
);
