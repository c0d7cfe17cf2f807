/** The runtime that a test file runs on, and how to start programs on this one and on the others. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import type { Open } from "../hosts/opening.ts";

/** What a program is started with, its file and arguments to follow. */
export interface Command {
  command: string;
  args: readonly string[];
}

export type RuntimeName = "node" | "bun" | "deno";

/** The runtime that this is. */
export const RUNTIME: RuntimeName = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

const { CAIRN_RUNTIME } = process.env;
if (CAIRN_RUNTIME !== undefined && !CAIRN_RUNTIME.startsWith(RUNTIME)) {
  throw new Error(`the tests were to run on ${CAIRN_RUNTIME}, and run on ${RUNTIME}`);
}

/** `open` of this runtime's entry point, from the sources. */
export async function openOfRuntime(): Promise<Open> {
  if (RUNTIME === "deno") return (await import("../hosts/deno.ts")).open;
  if (RUNTIME === "bun") return (await import("../hosts/bun.ts")).open;
  return (await import("../hosts/node.ts")).open;
}

/** The entry point of a runtime in the built package, as a `file:` URL. */
export function builtEntry(runtime: RuntimeName): string {
  return new URL(`../build/hosts/${runtime}.js`, import.meta.url).href;
}

/** How programs run on a runtime, with every permission; `undefined` when it is not installed. */
export function commandOf(runtime: RuntimeName): Command | undefined {
  if (runtime === RUNTIME) return { command: process.execPath, args: runtime === "deno" ? ["run", "-A"] : [] };
  if (runtime === "node") return { command: "node", args: [] };
  const command = fileURLToPath(new URL(`peers/node_modules/.bin/${runtime}`, import.meta.url));
  return existsSync(command) ? { command, args: runtime === "deno" ? ["run", "-A"] : [] } : undefined;
}

/** How a program ended, and the values that it said. */
export interface ProgramResult {
  status: number | null;
  said: unknown[];
  failed: string;
}

let folder: string | undefined;
let programCount = 0;

/** A file that holds a program: `open` of the built package, `target`, `memoryBytes` and `say` are there. */
export function programFile(body: string, runtime: RuntimeName = RUNTIME): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), "cairn-program-"));
    folder = made;
    afterAll(() => rmSync(made, { recursive: true, force: true }));
  }
  const path = join(folder, `${programCount++}.mjs`);
  writeFileSync(
    path,
    `import process from "node:process";
     import { open } from ${JSON.stringify(builtEntry(runtime))};
     const [target] = process.argv.slice(2);
     const memoryBytes = 67_108_864;
     const say = (value) => console.log(JSON.stringify(value));
     ${body}`,
  );
  return path;
}

/** Runs a program over the built package on a runtime, by default this one, and waits for its end. */
export function runProgram(body: string, target: string, runtime: RuntimeName = RUNTIME): ProgramResult {
  const start = commandOf(runtime);
  if (start === undefined) throw new Error(`${runtime} is not installed`);
  return runCommand(start, programFile(body, runtime), target);
}

/** Runs a program's file. */
export function runCommand({ command, args }: Command, file: string, target: string): ProgramResult {
  const { status, stdout, stderr, error } = spawnSync(command, [...args, file, target], {
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: "1" },
  });
  if (error !== undefined) throw error;
  const said = stdout.split("\n").filter((line) => line !== "");
  return { status, said: said.map((line) => JSON.parse(line)), failed: stderr };
}
