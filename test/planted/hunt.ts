/** Hunting planted bugs: seeds of the simulation, one after another, until one of them fails. */
import process from "node:process";
import { linesOf, startSimulation } from "../simulation/lanes.ts";
import { BUGS } from "./bugs.ts";
import type { PlantedBuild } from "./build.ts";

/** How a hunt ended. */
export interface Catch {
  name: string;
  number: number;
  /** The first seed that failed, and how; `undefined` when none did. */
  seed: string | undefined;
  failure: string;
  seconds: number;
}

/** Looks for the bug of a name (`none`: for no bug), from seed `first` on, at most `count` seeds and `seconds` long. */
export async function hunt(
  planted: PlantedBuild,
  name: string,
  first: number,
  count: number,
  seconds: number,
): Promise<Catch> {
  const number = BUGS.findIndex((bug) => bug.name === name) + 1;
  if (number === 0 && name !== "none") throw new Error(`there is no planted bug ${name}`);
  const words = [planted.binary, "--planted", String(number), "--until-failure", "--no-shrink"];
  const start = performance.now();
  // A bug may keep the core busy for good.
  const { status, signal, text, complaint } = await startSimulation(
    { command: process.execPath, args: [] },
    planted.program,
    [...words, "--seed", String(first), "--count", String(count)],
    seconds * 1000,
  );
  const caught = { name, number, seconds: (performance.now() - start) / 1000 };
  const failed = linesOf(text).find(({ failure }) => failure !== undefined);
  if (failed !== undefined) return { ...caught, seed: failed.seed, failure: failed.failure as string };
  if (signal !== null) return { ...caught, seed: undefined, failure: `no verdict within ${seconds} s` };
  if (status !== 0) return { ...caught, seed: undefined, failure: `the simulation failed: ${complaint}` };
  return { ...caught, seed: undefined, failure: `not caught by ${count} seeds` };
}
