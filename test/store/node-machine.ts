/** What the tests that need a real machine share: its tools. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Why loop devices and mounts cannot be used here; `undefined` when they may be tried. */
export function privilegeMissing(): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  return undefined;
}

/** Runs a system tool. Returns what it printed, or why it failed. */
export function run(tool: string, ...args: string[]): { output: string } | { failure: string } {
  const { status, stdout, stderr, error } = spawnSync(tool, args, { encoding: "utf8" });
  if (status === 0) return { output: stdout.trim() };
  return { failure: `${tool} ${args.join(" ")}: ${error?.message ?? stderr.trim()}` };
}

/** The SHA-256 of a file. */
export function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
