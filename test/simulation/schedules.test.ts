/**
 * Crash schedules without a violation, on all cores: 100,000, or as many as four minutes allow. `CAIRN_SCHEDULES` asks for
 * another number, `CAIRN_SEED` for other seeds; the same of both are the same schedules.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { bundleSimulation, path, simulate } from "./lanes.ts";

const { CAIRN_SCHEDULES = "100000", CAIRN_SEED = "20261130" } = process.env;
const MINUTES = 4;
/** Fewer say nothing: the machine was as good as stopped. */
const LEAST = 2000;
/** Each lane has seeds of its own. */
const SEEDS_PER_LANE = 1 << 24;

test(`${CAIRN_SCHEDULES} crash schedules hold what the store promises`, { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "cairn-schedules-"));
  try {
    const program = join(folder, "simulation.mjs");
    await bundleSimulation(program);
    const lanes = availableParallelism();
    const share = String(Math.ceil(Number(CAIRN_SCHEDULES) / lanes));
    const runs = Array.from({ length: lanes }, (_, lane) => {
      const seed = String(Number(CAIRN_SEED) + lane * SEEDS_PER_LANE);
      const words = ["--seed", seed, "--schedules", share, "--minutes", String(MINUTES)];
      return simulate(commandOf(RUNTIME) as Command, program, [path("build/cairn.wasm"), ...words]);
    });
    const lines = (await Promise.all(runs)).flat();
    const schedules = lines.reduce((sum, { total }) => sum + (total?.schedules ?? 0), 0);
    const seconds = Math.max(...lines.map(({ total }) => total?.seconds ?? 0));
    console.log(
      `${schedules} crash schedules in ${seconds.toFixed(0)} s on ${lanes} cores, seeds from ${CAIRN_SEED} on`,
    );
    expect(lines.filter(({ failure }) => failure !== undefined)).toEqual([]);
    expect(schedules).toBeGreaterThanOrEqual(Math.min(LEAST, Number(CAIRN_SCHEDULES)));
    // A kind of crash that no run meets proves nothing.
    const coverage: Record<string, number> = {};
    for (const { total } of lines) {
      for (const [name, count] of Object.entries(total?.coverage ?? {})) coverage[name] = (coverage[name] ?? 0) + count;
    }
    const rare = ["refusedForSpace", "poisoned", "expired", "conflicts", "cuts", "takeOvers"];
    const never = Object.entries(coverage).filter(([name, count]) => count === 0 && !rare.includes(name));
    expect(never).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
