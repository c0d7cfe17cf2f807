/** Hunting planted bugs: seeds of the simulation, one after another, until one of them fails. */
import { spawn } from "node:child_process";
import process from "node:process";
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
export function hunt(
  planted: PlantedBuild,
  name: string,
  first: number,
  count: number,
  seconds: number,
): Promise<Catch> {
  const number = BUGS.findIndex((bug) => bug.name === name) + 1;
  if (number === 0 && name !== "none") throw new Error(`there is no planted bug ${name}`);
  const words = [planted.program, planted.binary, "--planted", String(number), "--until-failure", "--no-shrink"];
  const start = performance.now();
  const child = spawn(process.execPath, [...words, "--seed", String(first), "--count", String(count)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  // A bug may keep the core busy for good.
  const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
  let text = "";
  let complaint = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  child.stderr.on("data", (data) => {
    complaint += data;
  });
  return new Promise((resolve) => {
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      const caught = { name, number, seconds: (performance.now() - start) / 1000 };
      const lines = text.trim().split("\n").filter(Boolean);
      const failed = lines.map((line) => JSON.parse(line)).find(({ failure }) => failure !== undefined);
      if (failed !== undefined) resolve({ ...caught, seed: failed.seed, failure: failed.failure });
      else if (signal !== null) resolve({ ...caught, seed: undefined, failure: `no verdict within ${seconds} s` });
      else if (status !== 0) resolve({ ...caught, seed: undefined, failure: `the simulation failed: ${complaint}` });
      else resolve({ ...caught, seed: undefined, failure: `not caught by ${count} seeds` });
    });
  });
}
