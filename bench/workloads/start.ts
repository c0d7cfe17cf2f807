/**
 * How long it takes to open a store: after it was closed, and after its process was killed.
 *
 * 1. A kill leaves what the file holds at that moment, so a copy of the file of a store that is open, with everything
 *    flushed, is what a killed one leaves. Behind the last checkpoint lie overwrites of half of the records.
 * 2. The file is in the page cache. Everything is counted until `open` has resolved, and one value is read then.
 * 3. The bytes of a checkpoint are those of its blocks less those of its keys.
 */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../hosts/node.ts";
import type { Unit } from "../figures.ts";
import { collectGarbage } from "../measure.ts";
import { Records } from "../records.ts";
import { inFolder, type Run } from "../run.ts";

const WORKLOAD = "start";
const VALUE_SIZE = 100;
const MEMORY_BYTES = 3.5 * 2 ** 30;
const LOG_UNIT_BYTES = 256 * 2 ** 20;

/** Runs it. */
export async function runStart(run: Run): Promise<void> {
  const { start, rounds } = run.options;
  run.progress.expect(start.length * 2);
  for (const count of start) {
    await inFolder(run, async (folder) => {
      const records = new Records(count, VALUE_SIZE);
      const path = join(folder, "store.cairn");
      const add = (name: string, unit: Unit, value: number): void =>
        run.ledger.add(
          { workload: WORKLOAD, name, store: "cairn", unit, records: count, valueSize: VALUE_SIZE },
          value,
        );
      run.progress.step(`start: writing ${count} records`);
      const closeMs = await write(path, records);
      add("close", "ms", closeMs);
      run.progress.step(`start: opening ${count} records`);
      for (let round = 0; round < rounds; round += 1) {
        const closed = await timed(path, records);
        add("open after close", "ms", closed.ms);
        add("checkpoint, beside each key", "bytes", closed.entryBytes);
      }
      const killed = join(folder, "killed.cairn");
      const logBytes = await leave(path, killed, records);
      for (let round = 0; round < rounds; round += 1) {
        const copy = join(folder, `killed-${round}.cairn`);
        copyFileSync(killed, copy);
        const after = await timed(copy, records);
        add("open after a kill", "ms", after.ms);
        const closed = run.ledger.find({ workload: WORKLOAD, name: "open after close", records: count });
        const more = after.ms - Math.min(...(closed?.rounds ?? [0]));
        if (logBytes > LOG_UNIT_BYTES / 8)
          add("more after a kill, for 256 MiB of log", "ms", (more * LOG_UNIT_BYTES) / logBytes);
      }
    });
  }
}

async function write(path: string, records: Records): Promise<number> {
  const store = await open(path, { memoryBytes: MEMORY_BYTES });
  for (const { keys, values } of records.pass(1, 0)) keys.forEach((key, i) => void store.set(key, values[i]!));
  await store.flush();
  const startMs = performance.now();
  await store.close();
  return performance.now() - startMs;
}

/** Overwrites half of the records and leaves a copy of the file as a kill would: bytes of log behind the checkpoint. */
async function leave(path: string, copy: string, records: Records): Promise<number> {
  const store = await open(path, { memoryBytes: MEMORY_BYTES, compaction: { auto: false } });
  for (const { keys, values } of records.sample(2, 1, records.count / 2)) {
    keys.forEach((key, i) => void store.set(key, values[i]!));
  }
  await store.flush();
  const { checkpointLogBytes } = store.stats();
  copyFileSync(path, copy);
  await store.close();
  return checkpointLogBytes;
}

async function timed(path: string, records: Records): Promise<{ ms: number; entryBytes: number }> {
  await collectGarbage();
  const startMs = performance.now();
  const store = await open(path, { memoryBytes: MEMORY_BYTES, readOnly: true });
  const ms = performance.now() - startMs;
  const { keyCount, checkpointBytes, checkpointKeyCount } = store.stats();
  if (keyCount !== records.count) throw new Error(`${keyCount} records were there, not ${records.count}`);
  if (store.get(records.key(0)) === undefined) throw new Error("a record is not there");
  await store.close();
  const keyBytes = (checkpointKeyCount * records.size) / records.count - checkpointKeyCount * VALUE_SIZE;
  return { ms, entryBytes: checkpointKeyCount === 0 ? 0 : (checkpointBytes - keyBytes) / checkpointKeyCount };
}
