/**
 * Backups beside a plain copy: of a store that is open, to a file, and back.
 *
 * 1. The copy is a stream of the store's file to another one, in chunks of 1 MiB, with a sync at its end, as the backup's is.
 * 2. Both take turns, in the page cache: what is compared is what they do.
 * 3. Rates are of wall time; the CPU time is that of all threads.
 */
import { closeSync, createReadStream, createWriteStream, fsyncSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { open, restore } from "../../hosts/node.ts";
import type { Unit } from "../figures.ts";
import { collectGarbage } from "../measure.ts";
import { Records } from "../records.ts";
import { inFolder, type Run } from "../run.ts";

const WORKLOAD = "backup";
const COUNT = 200_000;
const VALUE_SIZE = 1024;
const CHUNK_BYTES = 1_048_576;
/** Copies and backups a round. */
const TURN_COUNT = 3;

/** Runs it. */
export async function runBackup(run: Run): Promise<void> {
  run.progress.expect(run.options.rounds);
  await inFolder(run, async (folder) => {
    const path = join(folder, "store.cairn");
    const store = await open(path);
    const records = new Records(COUNT, VALUE_SIZE);
    for (const { keys, values } of records.pass(1, 0)) {
      keys.forEach((key, i) => void store.set(key, values[i]!));
      await store.flush();
    }
    const add = (name: string, unit: Unit, value: number): void =>
      run.ledger.add({ workload: WORKLOAD, name, store: "cairn", unit, records: COUNT, valueSize: VALUE_SIZE }, value);
    const copy = join(folder, "copy");
    const backup = join(folder, "backup");
    const back = join(folder, "back.cairn");
    for (let round = 0; round < run.options.rounds; round += 1) {
      run.progress.step(`backup: round ${round + 1}`);
      for (let turn = 0; turn < TURN_COUNT; turn += 1) {
        for (const file of [copy, backup, back]) rmSync(file, { force: true });
        const copied = await timed(copy, () => createReadStream(path, { highWaterMark: CHUNK_BYTES }));
        const backedUp = await timed(backup, () => store.backup());
        add("backup, share of a copy", "of raw", backedUp.rate / copied.rate);
        add("backup, CPU time by that of a copy", "times", backedUp.cpu / copied.cpu);
        add("backup, a GiB", "ms", 2 ** 30 / backedUp.rate);
        const startMs = performance.now();
        await restore(back, createReadStream(backup, { highWaterMark: CHUNK_BYTES }));
        add("restore, a GiB", "ms", (2 ** 30 * (performance.now() - startMs)) / statSync(backup).size);
      }
    }
    await store.close();
    const restored = await open(back, { readOnly: true });
    if (restored.count() !== COUNT) throw new Error(`${restored.count()} records came back, not ${COUNT}`);
    await restored.close();
  });
}

/** Bytes a millisecond, and milliseconds of CPU time for each byte. */
async function timed(
  path: string,
  source: () => NodeJS.ReadableStream | ReadableStream<Uint8Array>,
): Promise<{ rate: number; cpu: number }> {
  await collectGarbage();
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  await pipeline(source() as NodeJS.ReadableStream, createWriteStream(path));
  const file = openSync(path, "r+");
  fsyncSync(file);
  closeSync(file);
  const ms = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  const { size } = statSync(path);
  return { rate: size / ms, cpu: (user + system) / size };
}
