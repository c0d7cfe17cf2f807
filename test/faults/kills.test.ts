/** Processes killed in the midst of writes, on each runtime, over a file and a loop device. `npm run test:kills` kills more. */
import { beforeEach, describe, expect, test } from "vitest";
import type { RuntimeName } from "../runtime.ts";
import { path } from "../simulation/lanes.ts";
import { commandIn } from "./children.ts";
import { killLoop, LOOP_SIZE } from "./kill-loop.ts";
import { privilegeMissing, refusalOf } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";

const { CAIRN_KILLS = "25", CAIRN_SEED = "20261130" } = process.env;
const SECONDS_MAX = 20;
const ROOT = path("");
const RUNTIMES: RuntimeName[] = ["node", "bun", "deno"];

const machine = machineOfTests();

describe.each(RUNTIMES)("a process of %s that is killed over and over", (runtime) => {
  beforeEach(({ skip }) => {
    if (commandIn(ROOT, runtime) === undefined) skip(`${runtime} is not installed`);
  });

  test("loses nothing that was acknowledged, of a file and of a loop device", async () => {
    const paths = [machine.path("store")];
    const missing = privilegeMissing() ?? refusalOf(() => void paths.push(machine.loop(LOOP_SIZE).loop));
    if (missing !== undefined) console.log(`without a loop device: ${missing}`);
    const seed = Number(CAIRN_SEED) % 2 ** 32;
    const endMs = performance.now() + SECONDS_MAX * 1000;
    const report = await killLoop({ root: ROOT, runtime, paths, count: Number(CAIRN_KILLS), seed, endMs });
    console.log(`${runtime}, seed ${seed}: ${JSON.stringify(report)}`);
    expect(report.failure).toBeUndefined();
    expect(report.kills).toBeGreaterThan(4);
    expect(report.judged).toBeGreaterThan(report.kills - report.killsWhileOpening);
    expect(report.durable).toBeGreaterThan(report.kills);
  });
});
