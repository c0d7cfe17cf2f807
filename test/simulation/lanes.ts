/** Runs of the simulation's program in processes of their own, for tests. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Command } from "../runtime.ts";

/** The file of a name in the repository. */
export const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** A line of the program: a run, or the last one, with what all of them were. */
export interface Line {
  seed?: string;
  hash?: string;
  schedules?: number;
  failure?: string;
  /** Which check of the oracle found it, in a build that names them. */
  check?: string;
  /** Set where a planted bug was on, and the run fails without it, too. */
  innocent?: boolean;
  again?: string;
  total?: { runs: number; failed: number; schedules: number; seconds: number; coverage: Record<string, number> };
}

/** Bundles the program into a file. */
export async function bundleSimulation(outfile: string): Promise<void> {
  const { build } = await import("esbuild");
  const entryPoints = [path("test/simulation/program.ts")];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", logLevel: "silent" });
}

/** What no run of a test takes: one that does not end is ended. */
const RUN_MS_MAX = 420_000;

/** How the program ended, and what it said. */
export interface Ended {
  status: number | null;
  signal: string | null;
  text: string;
  complaint: string;
}

/** Starts the program on a runtime, and ends it when it takes longer than `ms`. */
export function startSimulation(
  { command, args }: Command,
  program: string,
  words: readonly string[],
  ms = RUN_MS_MAX,
): Promise<Ended> {
  const child = spawn(command, [...args, program, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: ms,
    killSignal: "SIGKILL",
    env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
  });
  let text = "";
  let complaint = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  child.stderr.on("data", (data) => {
    complaint += data;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, text, complaint }));
  });
}

/** The whole lines of what the program printed. */
export function linesOf(text: string): Line[] {
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** The lines of the program, when it has ended. Rejects when it ended otherwise than by itself. */
export async function simulate(command: Command, program: string, words: readonly string[]): Promise<Line[]> {
  const { status, signal, text, complaint } = await startSimulation(command, program, words);
  if (status === 0 || status === 1) return linesOf(text);
  throw new Error(`the simulation ended with ${status ?? signal}: ${complaint}`);
}
