/** Runs of the program in processes of their own, for tests. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Command } from "../runtime.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

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
export function callsOf(
  { command, args }: Command,
  program: string,
  words: readonly string[],
  at: () => string,
): Promise<readonly CallsLine[]> {
  const child = spawn(command, [...args, program, path("build/cairn.wasm"), ...words], {
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
      if (status === 0 || status === 1)
        resolve(
          text
            .split("\n")
            .filter(Boolean)
            .map((line) => JSON.parse(line)),
        );
      else reject(new Error(`the program ended with ${status ?? signal}, at ${at()}: ${complaint}`));
    });
  });
}
