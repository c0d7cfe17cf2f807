/** `npm run bench -- <workload>`: measures Cairn beside its peers. See `options.ts` for the command line. */
import { rmSync } from "node:fs";
import { Ledger } from "./figures.ts";
import { loadAverage, machineFacts } from "./machine.ts";
import { type Options, readOptions, USAGE, type Workload } from "./options.ts";
import { Progress } from "./progress.ts";
import { type Report, tablesOf, textOf, writeReport } from "./report.ts";
import type { Run } from "./run.ts";
import { kindOf } from "./stores/all.ts";
import { targetsOf } from "./targets.ts";
import { runBackup } from "./workloads/backup.ts";
import { runCompression } from "./workloads/compression.ts";
import { runDurable } from "./workloads/durable.ts";
import { runGrowth } from "./workloads/growth.ts";
import { runLarger } from "./workloads/larger.ts";
import { runLong } from "./workloads/long.ts";
import { runMemory } from "./workloads/memory.ts";
import { runPoint } from "./workloads/point.ts";
import { runRuntimes } from "./workloads/runtimes.ts";
import { runStart } from "./workloads/start.ts";
import { runTransactions } from "./workloads/transactions.ts";
import { runWire } from "./workloads/wire.ts";
import { runWrites } from "./workloads/writes.ts";

const RUNNERS: Record<Workload, (run: Run) => Promise<void>> = {
  point: async (run) => {
    await runPoint(run);
    await runMemory(run);
  },
  durable: runDurable,
  growth: runGrowth,
  writes: runWrites,
  compression: runCompression,
  runtimes: runRuntimes,
  larger: runLarger,
  transactions: runTransactions,
  long: runLong,
  start: runStart,
  backup: runBackup,
  wire: runWire,
};

async function main(options: Options): Promise<void> {
  const startedAt = new Date().toISOString();
  const startMs = performance.now();
  const loadBefore = loadAverage();
  const kinds = [];
  for (const name of options.stores) kinds.push(await kindOf(name));
  const run: Run = { options, kinds, ledger: new Ledger(), progress: new Progress(), notes: [] };
  try {
    for (const workload of options.workloads) await RUNNERS[workload](run);
  } finally {
    run.progress.pause();
    rmSync(options.folder, { recursive: true, force: true });
  }
  const tables = tablesOf(run.ledger);
  const report: Report = {
    startedAt,
    seconds: Math.round((performance.now() - startMs) / 1000),
    loadBefore,
    loadAfter: loadAverage(),
    machine: machineFacts(),
    options,
    stores: kinds.map(({ name, version, settings }) => ({ name, version, settings })),
    notes: run.notes,
    targets: targetsOf(run.ledger),
    figures: run.ledger.figures,
  };
  console.log(textOf(report, tables));
  console.log(`\n${writeReport(report, tables).join("\n")}`);
}

if (process.argv.includes("--help") || process.argv.includes("-h")) {
  console.log(USAGE);
} else {
  let options: Options | undefined;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    process.exitCode = 2;
  }
  if (options !== undefined) await main(options);
}
