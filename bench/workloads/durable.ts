/**
 * Workload 2: writes that are on stable storage when they are acknowledged, beside the raw cost of it: appending 4 KiB
 * to a file and `fdatasync`, on the same file system.
 *
 * 1. A store's single writer takes turns with the raw appends that it is compared with.
 * 2. Rates are of wall time: the device is what is waited for.
 * 3. Every record is read back and compared in the end.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Unit } from "../figures.ts";
import { OURS } from "../figures.ts";
import { collectGarbage, expectValue, span, wallNs } from "../measure.ts";
import { median } from "../median.ts";
import { Records } from "../records.ts";
import { inFolder, inTurn, type Run } from "../run.ts";
import { kindOf } from "../stores/all.ts";
import type { BatchEntry, BenchStore, StoreKind } from "../stores/store.ts";

const WORKLOAD = "durable";
const VALUE_SIZE = 100;
const APPEND_SIZE = 4096;
/** Appends, and puts, in turn. */
const TURN_COUNT = 50;
/** The column of the raw cost. */
const RAW = "raw append";
const WARM_UP_COUNT = 2000;
const SINGLE_COUNT = 1500;
/** Writers at a time, and what they write together. */
const CROWDS = [
  { writers: 64, count: 20_000 },
  { writers: 1000, count: 100_000 },
];
const BATCHES = [
  { size: 100, count: 30_000 },
  { size: 1000, count: 100_000 },
];
const RECORD_COUNT =
  WARM_UP_COUNT + SINGLE_COUNT + [...CROWDS, ...BATCHES].reduce((total, part) => total + part.count, 0);

/** Runs it. */
export async function runDurable(run: Run): Promise<void> {
  const { options, progress } = run;
  const kinds = run.kinds.filter((kind) => kind.isDurable);
  if (kinds.some((kind) => kind.name === "lmdb") && !kinds.some((kind) => kind.name === "lmdb-strict")) {
    kinds.push(await kindOf("lmdb-strict"));
  }
  for (const kind of kinds) run.notes.push(`durable, ${kind.name}: ${kind.settings.durable}`);
  const records = new Records(RECORD_COUNT, VALUE_SIZE);
  progress.expect(options.rounds * kinds.length);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const kind of inTurn(kinds, round)) {
      progress.step(`${kind.name}: durable writes, round ${round + 1}`);
      await runRound(run, kind, records, round);
    }
  }
}

async function runRound(run: Run, kind: StoreKind, records: Records, round: number): Promise<void> {
  const add = (name: string, unit: Unit, figure: number, store = kind.name): void =>
    run.ledger.add({ workload: WORKLOAD, name, store, unit, records: RECORD_COUNT, valueSize: VALUE_SIZE }, figure);
  const [all] = records.pass(round, 0);
  const { keys, values } = all!;
  let used = 0;
  /** The next `count` records. */
  const take = (count: number): BatchEntry[] => {
    const from = used;
    used += count;
    return keys.slice(from, used).map((key, index): BatchEntry => ({ type: "put", key, value: values[from + index]! }));
  };
  const rateOf = async (entries: BatchEntry[], write: (entries: BatchEntry[]) => Promise<void>): Promise<number> => {
    await collectGarbage();
    const { wallNs } = await span(() => write(entries));
    return (entries.length * 1e9) / wallNs;
  };

  await inFolder(run, async (folder) => {
    const store = await kind.open(folder, "durable");
    await crowd(store, take(WARM_UP_COUNT), 100);
    const { ours, raw } = await besideRaw(store, take(SINGLE_COUNT), join(folder, "raw"));
    add("put, one writer", "operations/s", rateFrom(ours));
    add("put, one writer, P50", "ns", median(ours));
    add("one writer, share of raw append and sync", "of raw", rateFrom(ours) / rateFrom(raw));
    add("one writer, share of raw at P50", "of raw", median(raw) / median(ours));
    if (kind.name === OURS) {
      add("put, one writer", "operations/s", rateFrom(raw), RAW);
      add("put, one writer, P50", "ns", median(raw), RAW);
    }
    for (const { writers, count } of CROWDS) {
      const rate = await rateOf(take(count), (entries) => crowd(store, entries, writers));
      add(`put, ${writers.toLocaleString("en")} at a time`, "operations/s", rate);
    }
    for (const { size, count } of BATCHES) {
      const rate = await rateOf(take(count), (entries) => inBatches(store, entries, size));
      add(`batches of ${size.toLocaleString("en")}, records`, "operations/s", rate);
    }
    await store.quiesce();
    for (let i = 0; i < keys.length; i += 1) expectValue(kind.name, keys[i]!, store.get(keys[i]!), values[i]);
    await store.close();
  });
}

/** So many writers, each of which awaits its write before it issues the next. */
async function crowd(store: BenchStore, entries: readonly BatchEntry[], writers: number): Promise<void> {
  let next = 0;
  const writer = async (): Promise<void> => {
    while (next < entries.length) {
      const { key, value } = entries[next]!;
      next += 1;
      await store.put(key, value);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
}

/** One batch after the other, each awaited. */
async function inBatches(store: BenchStore, entries: readonly BatchEntry[], size: number): Promise<void> {
  for (let from = 0; from < entries.length; from += size) await store.batch(entries.slice(from, from + size));
}

/**
 * One writer, who awaits each put, in turns with raw appends of 4 KiB, each synced, to the growing file at `path`: what
 * the device does for others meanwhile weighs on both. Nanoseconds each took.
 */
async function besideRaw(
  store: BenchStore,
  entries: readonly BatchEntry[],
  path: string,
): Promise<{ ours: Float64Array; raw: Float64Array }> {
  const ours = new Float64Array(entries.length);
  const raw = new Float64Array(entries.length);
  const bytes = Buffer.alloc(APPEND_SIZE, 1);
  const file = openSync(path, "w");
  try {
    for (let from = 0; from < entries.length; from += TURN_COUNT) {
      const to = Math.min(from + TURN_COUNT, entries.length);
      for (let i = from; i < to; i += 1) {
        const start = wallNs();
        writeSync(file, bytes, 0, APPEND_SIZE, i * APPEND_SIZE);
        fdatasyncSync(file);
        raw[i] = wallNs() - start;
      }
      for (let i = from; i < to; i += 1) {
        const { key, value } = entries[i]!;
        const start = wallNs();
        await store.put(key, value);
        ours[i] = wallNs() - start;
      }
    }
  } finally {
    closeSync(file);
  }
  return { ours, raw };
}

/** Calls a second, of calls one after the other. */
function rateFrom(ns: Float64Array): number {
  return (ns.length * 1e9) / ns.reduce((total, one) => total + one, 0);
}
