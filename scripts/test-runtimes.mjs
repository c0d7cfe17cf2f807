/**
 * The runtimes that tests run on: how vitest is started there, and which tests make sense.
 *
 * A runtime is `{ command, args, folders, env, config, browser }`: what vitest's own file and arguments are appended to; the folders,
 * or parts of file names, that are run when none are asked for (none: all that the configuration includes); further
 * environment; a configuration of its own.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);

/**
 * @typedef {object} TestRuntime
 * @property {string} command a program, by path or as `PATH` finds it
 * @property {string[]} args what stands before vitest's file
 * @property {string[]} folders filters of vitest when none are asked for; empty: everything
 * @property {string} [config] a configuration of vitest, relative to the root
 * @property {Record<string, string>} [env]
 * @property {string} [browser] the program of the browser that is driven
 */

/** Of each further runtime: the store, the devices and locks, crashes of fewer runs, adapters with the suites of others, the server. */
const FOLDERS = ["test/store", "test/hosts", "test/crash", "test/adapters", "test/server", "test/cli/keys"];

const BROWSER_CONFIG = "vitest.browser.config.ts";

/** @type {Record<string, TestRuntime>} */
export const RUNTIMES = {
  node: { command: process.execPath, args: [], folders: [] },
  "node-lts": { command: peer("node"), args: [], folders: FOLDERS, env: { CAIRN_CRASH_RUNS: "2" } },
  bun: { command: peer("bun"), args: ["--bun"], folders: FOLDERS, env: { CAIRN_CRASH_RUNS: "1" } },
  deno: {
    command: peer("deno"),
    args: ["run", "--allow-all", "--no-prompt", "--unstable-kv"],
    folders: FOLDERS,
    env: { CAIRN_CRASH_RUNS: "1", DENO_NO_UPDATE_CHECK: "1" },
  },
  // Node drives the browsers: the store's tests in a worker of Chromium, then tabs of each.
  chromium: { command: process.execPath, args: [], folders: [], config: BROWSER_CONFIG, browser: chromium() },
  firefox: { command: process.execPath, args: [], folders: [], config: BROWSER_CONFIG, browser: firefox() },
};

/**
 * Whether a runtime can be started here.
 *
 * @param {string} name
 */
export function isInstalled(name) {
  const runtime = RUNTIMES[name];
  if (runtime === undefined) return false;
  const program = runtime.browser ?? runtime.command;
  if (program.includes("/") && !existsSync(program)) return false;
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}

/** @param {string} name */
function peer(name) {
  return fileURLToPath(new URL(`test/peers/node_modules/.bin/${name}`, ROOT));
}

/** As in test/browser/browsers.ts. */
function chromium() {
  return process.env["CAIRN_CHROMIUM"] ?? "/usr/bin/chromium";
}

function firefox() {
  return process.env["CAIRN_FIREFOX"] ?? "/usr/bin/firefox-esr";
}
