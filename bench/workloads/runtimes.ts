/**
 * The same calls on every runtime, beside Node's: each runtime in a process of its own, in turn, round by round; and in
 * Chromium the same 100,000 writes by Cairn, IndexedDB and SQLite on one page.
 *
 * A runtime that is not installed is left out, and the notes say so.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { OURS } from "../figures.ts";
import { inFolder, inTurn, type Run } from "../run.ts";
import { type BenchPage, openBenchPage } from "../runtimes/chromium.ts";
import type { Extent, ProbeFigures } from "../runtimes/probe.ts";

const WORKLOAD = "runtimes";
const EXTENT: Extent = { records: 100_000, coldRecords: 20_000 };
const WRITE_COUNT = 100_000;
const VALUE_SIZE = 100;
const PAGE_WRITES = "100,000 sets and flush";
/** On the same page, each in a worker of its own. */
const WORKER_WRITES = `${PAGE_WRITES}, in a worker`;
/** What verifying and finding a record may take beside the read. */
const FINDING_NS = 800;
const PEERS = new URL("../../../test/peers/node_modules/.bin/", import.meta.url);
const SCRIPT = fileURLToPath(new URL("../runtimes/files.js", import.meta.url));

/** How a runtime runs a script. */
interface LocalRuntime {
  name: string;
  /** The column of the table. Node's is Cairn's own. */
  store: string;
  command: string;
  args: string[];
}

/** Runs it. */
export async function runRuntimes(run: Run): Promise<void> {
  const { options, progress } = run;
  const locals = localRuntimes().filter(({ name, command }) => {
    const stands = command === process.execPath || existsSync(command);
    if (!stands) run.notes.push(`${name} is not installed: npm run peers brings it.`);
    return stands;
  });
  const page = await openBenchPage().catch((error: Error) => {
    run.notes.push(`Chromium was left out: ${error.message.split("\n", 1)[0]}`);
    return undefined;
  });
  progress.expect(options.rounds * (locals.length + (page === undefined ? 0 : 2)));
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const local of inTurn(locals, round)) {
        progress.step(`${local.name}, round ${round + 1}`);
        await inFolder(run, async (folder) => enter(run, local.store, probeLocal(local, folder)));
      }
      if (page !== undefined) await runPage(run, page, round);
    }
  } finally {
    await page?.close();
  }
  run.notes.push(
    "page: IndexedDB is called on the page, SQLite in a worker, Cairn in both ways.",
    "runtimes: nanoseconds of wall time, the median of series of calls; in brackets: how many times Node's.",
    "cold get over ...: what 4 KiB cold takes, over the runtime's bare positioned read and 0.8 µs.",
  );
}

function localRuntimes(): LocalRuntime[] {
  const peer = (name: string): string => fileURLToPath(new URL(name, PEERS));
  return [
    { name: "Node", store: OURS, command: process.execPath, args: [] },
    { name: "the newest Node LTS", store: "node-lts", command: peer("node"), args: [] },
    { name: "Bun", store: "bun", command: peer("bun"), args: [] },
    { name: "Deno", store: "deno", command: peer("deno"), args: ["run", "-A"] },
  ];
}

function probeLocal(local: LocalRuntime, folder: string): ProbeFigures {
  const args = [...local.args, SCRIPT, local.name.toLowerCase(), folder, `${EXTENT.records}`, `${EXTENT.coldRecords}`];
  const { status, stdout, stderr } = spawnSync(local.command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${local.name} failed: ${stderr}`);
  return JSON.parse(stdout) as ProbeFigures;
}

async function runPage(run: Run, page: BenchPage, round: number): Promise<void> {
  run.progress.step(`Chromium, round ${round + 1}`);
  enter(run, "chromium", await page.probe(EXTENT));
  run.progress.step(`Chromium's page, round ${round + 1}`);
  const writes = await page.writes(WRITE_COUNT);
  for (const [name, store, ms] of [
    [PAGE_WRITES, OURS, writes.cairn],
    [PAGE_WRITES, "IndexedDB", writes.indexedDb],
    [PAGE_WRITES, "SQLite", writes.sqlite],
    [WORKER_WRITES, OURS, writes.cairnInWorker],
    [WORKER_WRITES, "SQLite", writes.sqlite],
  ] as const) {
    run.ledger.add(
      {
        workload: "page",
        name,
        store,
        unit: "ms",
        records: WRITE_COUNT,
        valueSize: VALUE_SIZE,
      },
      ms,
    );
  }
}

function enter(run: Run, store: string, figures: ProbeFigures): void {
  const id = { workload: WORKLOAD, store, records: EXTENT.records, valueSize: VALUE_SIZE };
  for (const [name, ns] of Object.entries(figures)) run.ledger.add({ ...id, name, unit: "ns" }, ns);
  for (const bare of ["bare read", "bare read, new buffer"] as const) {
    const share = figures["cold get"] / (figures[bare] + FINDING_NS);
    run.ledger.add({ ...id, name: `cold get over ${bare}`, unit: "times" }, share);
  }
}
