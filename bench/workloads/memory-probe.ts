/** The process that `memory.ts` starts for each store: `node memory-probe.js <store> <folder> <records> <value size>`. */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { collectGarbage } from "../measure.ts";
import { KEY_SIZE, Records } from "../records.ts";
import { kindOf } from "../stores/all.ts";
import type { ProbeResult } from "./memory.ts";

const SERIES_COUNT = 10_000;
const SETTLE_MS = 300;

/** Resident pages of the process itself, and of files that it has mapped, in bytes. */
function resident(): { own: number; mapped: number } {
  const text = readFileSync("/proc/self/status", "utf8");
  const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
  const mapped = (kilobytes("RssFile") + kilobytes("RssShmem")) * 1024;
  return { own: kilobytes("RssAnon") * 1024, mapped };
}

async function settled(): Promise<{ own: number; mapped: number }> {
  await collectGarbage();
  await setTimeout(SETTLE_MS);
  await collectGarbage();
  return resident();
}

const [name, folder, count, valueSize] = process.argv.slice(2);
const kind = await kindOf(name!);
const records = new Records(Number(count), Number(valueSize));
const before = await settled();
const store = await kind.open(folder!, "buffered");
for (const { keys, values } of records.series(0, 0, SERIES_COUNT)) {
  // A copy of its own for each record: a Map would share the string otherwise.
  for (let i = 0; i < keys.length; i += 1) store.set(keys[i]!, Buffer.from(values[i]!).toString("latin1"));
  await store.turn();
}
await store.settle();
await store.quiesce();
const after = await settled();
const overheadBytes = store.overheadBytes?.(records.count * (KEY_SIZE + records.valueSize));
const result: ProbeResult = {
  ownBytes: after.own - before.own,
  mappedBytes: after.mapped - before.mapped,
  ...(overheadBytes === undefined ? {} : { overheadBytes }),
};
console.log(JSON.stringify(result));
await store.close();
