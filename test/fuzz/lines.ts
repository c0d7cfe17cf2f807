/** Runs of the fuzzer's program in processes of their own, for tests. */
import { fileURLToPath } from "node:url";
import { commandOf, RUNTIME } from "../runtime.ts";
import { startSimulation } from "../simulation/lanes.ts";

/** The file of a name in the repository. */
export const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** A line of the program: a finding, or the last one. */
export interface Line {
  number?: number;
  message?: string;
  notes?: string[];
  again?: string;
  total?: { images: number; findings: number; opened: number; refused: number; repaired: number; perMinute: number };
}

/** Bundles the program into a file. */
export async function bundleFuzz(outfile: string): Promise<void> {
  const { build } = await import("esbuild");
  const entryPoints = [path("test/fuzz/program.ts")];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", logLevel: "silent" });
}

/** The lines of the program, when it has ended. Rejects when it ended otherwise than by itself. */
export async function fuzz(program: string, binary: string, words: readonly string[]): Promise<Line[]> {
  const command = commandOf(RUNTIME);
  if (command === undefined) throw new Error("this runtime cannot start itself");
  const { status, signal, text, complaint } = await startSimulation(command, program, [binary, ...words]);
  if (status !== 0 && status !== 1) throw new Error(`the fuzzer ended with ${status ?? signal}: ${complaint}`);
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}
