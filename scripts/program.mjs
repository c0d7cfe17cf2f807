/** Programs of test/ that are bundled into build/ and started: what the commands of long runs share. */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** The file of a name in the repository. */
export const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** The core that programs run. */
export const BINARY = path("build/cairn.wasm");

/**
 * Bundles a program, and gives the file: `build/NAME.mjs`. With `packages` they stay where they are installed.
 *
 * @param {string} entry
 * @param {string} name
 * @param {{ packages?: "external", plugins?: import("esbuild").Plugin[] }} [options]
 */
export async function bundled(entry, name, options = {}) {
  const outfile = path(`build/${name}.mjs`);
  await build({
    entryPoints: [path(entry)],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "warning",
    ...options,
  });
  return outfile;
}

/**
 * Runs a program to its end, over this process's output, and ends as it does: the signal that ended it, if one did.
 *
 * @param {string} program
 * @param {readonly string[]} words
 */
export function runToEnd(program, words) {
  const { status, signal } = spawnSync(process.execPath, [program, ...words], { stdio: "inherit" });
  process.exitCode = status ?? 2;
  return signal;
}

/**
 * Runs a program that prints lines of JSON: its status, when it has ended. `each` gets what a line says, and the line.
 *
 * @param {string} program
 * @param {readonly string[]} words
 * @param {(said: any, line: string) => void} each
 * @returns {Promise<number | null>}
 */
export function runByLines(program, words, each) {
  const child = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) each(JSON.parse(line), line);
  });
  return new Promise((resolve) => {
    child.on("close", resolve);
  });
}
