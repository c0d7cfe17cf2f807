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
const RUN_MS_MAX = 300_000;

/** Starts the program on a runtime: its lines, when it has ended. Rejects when it ended otherwise than by itself. */
export function simulate({ command, args }: Command, program: string, words: readonly string[]): Promise<Line[]> {
  const child = spawn(command, [...args, program, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: RUN_MS_MAX,
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
    child.on("close", (status, signal) => {
      if (status !== 0 && status !== 1)
        reject(new Error(`the simulation ended with ${status ?? signal}: ${complaint}`));
      else
        resolve(
          text
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line)),
        );
    });
  });
}
