/** Runs the built tool as a user does, with the runtime that the tests run on: `node build/adapters/cli/main.js`. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { commandOf, RUNTIME } from "../runtime.ts";

/** The program of the tool. */
export const MAIN = fileURLToPath(new URL("../../build/adapters/cli/main.js", import.meta.url));

const { command, args } = commandOf(RUNTIME) ?? { command: process.execPath, args: [] };

/** How the tool ended. */
export interface Run {
  status: number | null;
  out: string;
  err: string;
}

/** Runs `cairn …words` with `input` on standard input, and waits for its end. */
export function cairn(words: string[], input: string | Uint8Array = ""): Run {
  const { status, stdout, stderr } = cairnBytes(words, input);
  return { status, out: stdout.toString(), err: stderr.toString() };
}

/** `cairn`, with what it printed as bytes. */
export function cairnBytes(words: string[], input: string | Uint8Array = "") {
  return spawnSync(command, [...args, MAIN, ...words], { input, maxBuffer: 1 << 28 });
}

/** Starts `cairn …words`, whose streams stay open. */
export function startCairn(words: string[]): ChildProcessWithoutNullStreams {
  return spawn(command, [...args, MAIN, ...words]);
}

/** Resolves with how `child` ended. */
export async function endOf(child: ChildProcessWithoutNullStreams): Promise<Run> {
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { status, out, err };
}

/** The objects of NDJSON. */
export function linesOf(ndjson: string): unknown[] {
  return ndjson
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
}

/** A function that gives paths in a new folder, which is removed after the test file's last test. */
export function scratchFolder(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (name) => join(folder, name);
}
