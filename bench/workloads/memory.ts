/**
 * Memory a record takes beside its key and value, each store in a process of its own: what the process grew by, and what
 * Cairn says of itself.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Unit } from "../figures.ts";
import { KEY_SIZE } from "../records.ts";
import { inFolder, type Run } from "../run.ts";

const WORKLOAD = "memory";
const PROBE = fileURLToPath(new URL("./memory-probe.js", import.meta.url));

/** What the probe prints. */
export interface ProbeResult {
  /** Growth of the process's resident memory, in bytes: its own pages, and mapped pages of files. */
  ownBytes: number;
  mappedBytes: number;
  /** What the store itself counts beside keys and values, in bytes. */
  overheadBytes?: number;
}

/** Runs it, for the largest store of `point`. Once: memory does not vary as time does. */
export async function runMemory(run: Run): Promise<void> {
  const records = Math.max(...run.options.records);
  const valueSize = run.options.values.includes(100) ? 100 : run.options.values[0]!;
  run.progress.expect(run.kinds.length);
  for (const kind of run.kinds) {
    run.progress.step(`${kind.name}: memory of ${records} records`);
    const { ownBytes, mappedBytes, overheadBytes } = await inFolder(run, (folder) =>
      probe([kind.name, folder, String(records), String(valueSize)]),
    );
    const add = (name: string, bytes: number): void => {
      const unit: Unit = "bytes";
      run.ledger.add({ workload: WORKLOAD, name, store: kind.name, unit, records, valueSize }, bytes / records);
    };
    const payload = records * (KEY_SIZE + valueSize);
    if (overheadBytes !== undefined) add("beside key and value, from stats()", overheadBytes);
    add("beside key and value, resident", ownBytes - payload);
    add("mapped pages of files, with keys and values", mappedBytes);
  }
  run.notes.push(
    "Memory a record: growth of the process from before opening to after writing, each store in a process of its own. " +
      "Resident figures hold the fixed write buffers and caches too; a store that leaves values on disk can be below 0.",
  );
}

async function probe(args: string[]): Promise<ProbeResult> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", PROBE, ...args]);
  return JSON.parse(stdout) as ProbeResult;
}
