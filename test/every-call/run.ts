/** Runs of the program in processes of their own, for tests. */
import type { Command } from "../runtime.ts";
import { path, startSimulation } from "../simulation/lanes.ts";

/** A program that takes longer hangs. */
const RUN_MS_MAX = 240_000;

/** What went wrong in one trial, and how to see it again. */
export interface CallsFailure {
  failure: string;
  call?: string;
  again?: string;
}

/** A line of the program: a workload, or the last one, over all. */
export interface CallsLine {
  workload?: string;
  memory?: string;
  failures?: CallsFailure[];
  total?: {
    calls: number;
    trials: number;
    memories: number;
    refusals: number;
    failed: number;
    seconds: number;
    byCall: Record<string, number>;
  };
}

/** Bundles the program into a file. */
export async function bundle(outfile: string): Promise<void> {
  const { build } = await import("esbuild");
  const entryPoints = [path("test/every-call/program.ts")];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", logLevel: "silent" });
}

/** The lines of the program. Rejects when it does not end by itself, with what it was `at`. */
export async function callsOf(
  command: Command,
  program: string,
  words: readonly string[],
  at: () => string,
): Promise<readonly CallsLine[]> {
  const { status, signal, text, complaint } = await startSimulation(
    command,
    program,
    [path("build/cairn.wasm"), ...words],
    RUN_MS_MAX,
  );
  if (status !== 0 && status !== 1)
    throw new Error(`the program ended with ${status ?? signal}, at ${at()}: ${complaint}`);
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}
