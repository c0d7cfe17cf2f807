/**
 * The server over loopback, on each runtime: one core for it, one for the client. Beside it the runtime's own HTTP server and the same
 * listener, both answering from a `Map`.
 *
 * Shares are of operations for a second of the server's own time on a core: what else the machine does meanwhile counts for neither side.
 * Linux alone.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { OURS } from "../figures.ts";
import { inFolder, inTurn, type Run } from "../run.ts";
import type { Load } from "../wire/client.ts";
import { RECORD_COUNT } from "../wire/constants.ts";

const WORKLOAD = "wire";
const VALUE_SIZE = 100;
const WARM_SECONDS = 2;
const SECONDS = 4;
const PEERS = new URL("../../../test/peers/node_modules/.bin/", import.meta.url);
const SERVER = fileURLToPath(new URL("../wire/server.js", import.meta.url));
const CLIENT = fileURLToPath(new URL("../wire/client.js", import.meta.url));

interface Served {
  /** The column of the table. Node's is Cairn's own. */
  store: string;
  command: string;
  args: string[];
}

type What = "get" | "post" | "ws" | "rioc-get" | "rioc-set" | "rioc-alone" | "rioc-single" | "rioc-pipelined";
type Kind = "bare" | "adapter" | "echo" | "served";

const NAMES: Record<Kind, string> = {
  bare: "the runtime's own server, from a Map",
  adapter: "this listener, from a Map",
  echo: "the runtime's own sockets, an echo of as many bytes",
  served: "served",
};
const WHATS: Record<What, string> = {
  get: "GET",
  post: "POST, durable",
  ws: "WebSocket get, 64 under way on 8",
  "rioc-get": "RIOC get, batches of 16",
  "rioc-set": "RIOC insert, durable, batches of 16",
  "rioc-alone": "RIOC get, single, one connection",
  "rioc-single": "RIOC get, single",
  "rioc-pipelined": "RIOC get, single, 64 under way on 8",
};

/** Runs it. */
export async function runWire(run: Run): Promise<void> {
  const { options, progress } = run;
  const peer = (name: string): string => fileURLToPath(new URL(name, PEERS));
  const runtimes: Served[] = [
    { store: OURS, command: process.execPath, args: [] },
    { store: "bun", command: peer("bun"), args: [] },
    { store: "deno", command: peer("deno"), args: ["run", "-A"] },
  ].filter(({ command }) => existsSync(command));
  const loads: [Kind, What][] = [
    ["bare", "get"],
    ["adapter", "get"],
    ["served", "get"],
    ["bare", "post"],
    ["served", "post"],
    ["served", "ws"],
    ["served", "rioc-get"],
    ["served", "rioc-set"],
    ["echo", "rioc-alone"],
    ["served", "rioc-alone"],
    ["echo", "rioc-single"],
    ["served", "rioc-single"],
    ["echo", "rioc-pipelined"],
    ["served", "rioc-pipelined"],
  ];
  progress.expect(options.rounds * runtimes.length * loads.length);
  for (let round = 0; round < options.rounds; round++) {
    for (const runtime of inTurn(runtimes, round)) {
      const seen = new Map<string, Load>();
      for (const [kind, what] of loads) {
        progress.step(`${runtime.store}, ${kind} ${what}, round ${round + 1}`);
        const load = await inFolder(run, (folder) => measured(runtime, kind, what, folder));
        seen.set(`${kind} ${what}`, load);
        enter(run, runtime.store, `${WHATS[what]}, ${NAMES[kind]}`, load);
      }
      enterShares(run, runtime.store, seen);
    }
  }
  run.notes.push(
    "wire: 64 connections that pipeline nothing, or 8 of WebSocket with 64 calls under way on each; an operation is one record.",
    "wire: RIOC has 8 connections with 4 batches under way on each, and for single operations 1 or 64 with one, or 8 with 64.",
    "wire, operations/CPU s: of the server's own time on a core, all its threads counted; shares are of that, but of operations/s for POST, which waits for the device.",
    "wire: columns are the runtimes: cairn is Node.",
  );
}

function enter(run: Run, store: string, name: string, load: Load): void {
  const id = { workload: WORKLOAD, store, records: RECORD_COUNT, valueSize: VALUE_SIZE };
  run.ledger.add({ ...id, name, unit: "operations/CPU s" }, load.ratePerCpuSecond);
  run.ledger.add({ ...id, name, unit: "operations/s" }, load.rate);
  run.ledger.add({ ...id, name: `${name}, P99`, unit: "ms" }, load.p99Ms);
  if (load.clientShare > 0.9)
    run.notes.push(`wire: ${store}, ${name}: the client had no time left; the server could do more.`);
}

function enterShares(run: Run, store: string, seen: ReadonlyMap<string, Load>): void {
  const id = { workload: WORKLOAD, store, records: RECORD_COUNT, valueSize: VALUE_SIZE };
  const share = (name: string, ours: string, theirs: string, of: "rate" | "ratePerCpuSecond"): void => {
    const load = seen.get(ours);
    const other = seen.get(theirs);
    if (load !== undefined && other !== undefined)
      run.ledger.add({ ...id, name, unit: "of raw" }, load[of] / other[of]);
  };
  share("GET, share of the runtime's own server", "served get", "bare get", "ratePerCpuSecond");
  share("GET, share of this listener", "served get", "adapter get", "ratePerCpuSecond");
  share("POST, durable, share of the runtime's own server", "served post", "bare post", "rate");
  for (const what of ["rioc-single", "rioc-pipelined"] as const) {
    share(`${WHATS[what]}, share of an echo`, `served ${what}`, `echo ${what}`, "ratePerCpuSecond");
  }
  share(`${WHATS["rioc-alone"]}, share of an echo`, "served rioc-alone", "echo rioc-alone", "ratePerCpuSecond");
  share("WebSocket get, times GET", "served ws", "served get", "ratePerCpuSecond");
}

async function measured(runtime: Served, kind: Kind, what: What, folder: string): Promise<Load> {
  const server = spawn(runtime.command, [...runtime.args, SERVER, kind, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = await Promise.race([
      createInterface({ input: server.stdout })
        [Symbol.asyncIterator]()
        .next()
        .then(({ value }) => [String(value)]),
      new Promise<never>((_, reject) =>
        server.once("exit", (status) => reject(new Error(`the server ended with ${status}`))),
      ),
    ]);
    const said = JSON.parse(line as string) as { port: number; key: string; riocPort: number };
    const port = what.startsWith("rioc") ? said.riocPort : said.port;
    pin(server.pid as number, 0);
    const client = ["-c", pinned(`"$0" "$@"`), process.execPath, CLIENT, what];
    const { status, stdout, stderr } = spawnSync(
      "sh",
      [...client, `${port}`, said.key, `${server.pid}`, `${WARM_SECONDS}`, `${SECONDS}`],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`${runtime.store}, ${kind} ${what}: ${stderr}`);
    return JSON.parse(stdout) as Load;
  } finally {
    server.kill("SIGKILL");
  }
}

/** A command on the second core, where there is one. */
function pinned(command: string): string {
  return availableParallelism() > 1 && hasTaskset() ? `exec taskset -c 1 ${command}` : `exec ${command}`;
}

function pin(pid: number, core: number): void {
  if (availableParallelism() > 1 && hasTaskset()) spawnSync("taskset", ["-acp", `${core}`, `${pid}`]);
}

function hasTaskset(): boolean {
  return spawnSync("taskset", ["--version"]).status === 0;
}
