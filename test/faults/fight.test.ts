/** Processes that fight for one store: never two owners, and nothing that was acknowledged is lost. */
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import type { RuntimeName } from "../runtime.ts";
import { path as fileOf } from "../simulation/lanes.ts";
import { commandIn } from "./children.ts";
import { type FightReport, fight } from "./fight.ts";
import { MIB, privilegeMissing, refusalOf } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";

const ROOT = fileOf("");
const { CAIRN_FIGHT_MS = "2500", CAIRN_SEED = "20261130" } = process.env;
const SEED = Number(CAIRN_SEED) % 2 ** 32;
const installed = (["node", "bun", "deno"] as RuntimeName[]).filter((name) => commandIn(ROOT, name) !== undefined);
const plan = { root: ROOT, ms: Number(CAIRN_FIGHT_MS), msMax: Number(CAIRN_FIGHT_MS) + 30_000, seed: SEED };

const machine = machineOfTests();

/** Every number that was told to be durable is there, and is whose it was told to be. */
async function expectAll(path: string, { counted, wrong, owners }: FightReport): Promise<void> {
  expect(wrong, wrong.join("; ")).toEqual([]);
  expect(owners).toBeGreaterThan(2);
  expect(counted.size).toBeGreaterThan(20);
  const store = await open(path, { memoryBytes: 67_108_864 });
  try {
    const missing = [...counted]
      .map(([number, tag]) => ({ number, tag, found: store.get(`number ${number}`) }))
      .filter(({ tag, found }) => tag !== found)
      .map(({ number, tag, found }) => `number ${number} is durable of ${tag}, and there is ${found}`);
    expect(missing, `lost: ${missing.join("; ")}`).toEqual([]);
    expect(store.count()).toBe(Number(store.get("count")) + 1);
    const faults = (await store.verify()).faults.filter(({ kind }) => kind !== "superblock");
    expect(faults, JSON.stringify(faults)).toEqual([]);
  } finally {
    await store.close();
  }
}

const show = ({ counted, ...report }: FightReport): string => JSON.stringify({ ...report, counted: counted.size });

describe("processes that fight for one store", () => {
  test(`in a file: one has it, the others are LOCKED, seed ${SEED}`, async () => {
    const path = machine.path("store");
    const report = await fight({ ...plan, runtimes: installed, path, steals: false });
    console.log(`a file: ${show(report)}`);
    await expectAll(path, report);
    expect(Object.keys(report.codes)).toEqual(["LOCKED"]);
  });

  test(`in a file whose lock is taken away: the older one is FENCED, seed ${SEED}`, async () => {
    const path = machine.path("store");
    // Two that format the same file at once nothing could keep apart.
    await (await open(path)).close();
    const report = await fight({ ...plan, runtimes: installed, path, steals: true });
    console.log(`a file without its lock: ${show(report)}`);
    await expectAll(path, report);
    expect(report.codes["FENCED"], "somebody was fenced").toBeGreaterThan(0);
  });

  test(`on a loop device: one has it, the others are LOCKED, seed ${SEED}`, async ({ skip }) => {
    let loop = "";
    const missing =
      privilegeMissing() ??
      refusalOf(() => {
        ({ loop } = machine.loop(48 * MIB));
      });
    if (missing !== undefined) skip(missing);
    const report = await fight({ ...plan, runtimes: installed, path: loop, steals: false });
    console.log(`a loop device: ${show(report)}`);
    await expectAll(loop, report);
    expect(Object.keys(report.codes)).toEqual(["LOCKED"]);
  });
});
