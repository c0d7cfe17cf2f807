/**
 * The longest single `set` while a store grows from nothing: what a structure that grows all at once would show.
 *
 * 1. Cairn runs on a memory device, so that no wait for a device is in the figure, and on a file, where a full write
 *    buffer waits for it. A `Map`, and a loop that calls nothing, show what the runtime and the machine do meanwhile.
 * 2. A long call is not always the store's doing. Of each it is known how long it was in the device, how long the
 *    collector ran and, on Linux, how long the thread waited for a CPU; and its CPU time is at most that of the 256 calls
 *    around it. What remains is its `own time`.
 * 3. What grows has grown before, on a small scale, so that the compiler's work is not in the figure.
 */

import { join } from "node:path";
import { type EntryType, PerformanceObserver } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { open } from "../../hosts/node.ts";
import { openTarget } from "../../hosts/node-target.ts";
import type { Unit } from "../figures.ts";
import { collectGarbage, cpuNs, percentile } from "../measure.ts";
import { Records } from "../records.ts";
import { inFolder, type Run } from "../run.ts";
import { TimedDevice } from "../timed-device.ts";
import { Waiting } from "../waiting.ts";

const WORKLOAD = "growth";
const VALUE_SIZE = 16;
const MEMORY_BYTES = 3.5 * 2 ** 30;
/** Keys made between two series of calls, and calls between two readings of CPU time. */
const SERIES_COUNT = 65_536;
const WATCHED_COUNT = 256;
/** Calls shorter than this are not looked at one by one. */
const LONG_NS = 100_000;
/** How many of the longest calls the notes list. */
const SHOWN_COUNT = 5;
const WARM_UP_COUNT = 200_000;

/** A long call. */
interface LongCall {
  index: number;
  startMs: number;
  ns: number;
  deviceNs: number;
  waitedNs: number;
  cpuNsMax: number;
}

/** What is grown. */
interface Grower {
  set(key: string, value: string): void;
  /** Nanoseconds that calls have spent in the device so far. */
  deviceNs(): number;
  close(): Promise<void>;
}

/** Runs it. */
export async function runGrowth(run: Run): Promise<void> {
  const growers: [string, (folder: string) => Promise<Grower>][] = [
    ["cairn", () => cairnOn(":memory:")],
    ["cairn, file", (folder) => cairnOn(join(folder, "store.cairn"))],
    ["Map", mapGrower],
    ["no store", noGrower],
  ];
  run.progress.expect(growers.length);
  const records = new Records(run.options.growth, VALUE_SIZE);
  const warmUp = new Records(WARM_UP_COUNT, VALUE_SIZE);
  for (const [name, grower] of growers) {
    run.progress.step(`${name}: growing to ${records.count} records`);
    await inFolder(run, async (folder) => {
      const grown = await grower(folder);
      for (const { keys, values } of warmUp.pass(0, 0)) keys.forEach((key, i) => void grown.set(key, values[i]!));
      await grown.close();
    });
    await inFolder(run, async (folder) => grow(run, name, await grower(folder), records));
  }
}

async function cairnOn(target: string): Promise<Grower> {
  const opened = await openTarget(target, { create: true, readOnly: false, format: false });
  const device = new TimedDevice(opened.device);
  const store = await open(device, { memoryBytes: MEMORY_BYTES });
  return {
    set: (key, value) => store.set(key, value),
    deviceNs: () => device.spentNs,
    async close() {
      await store.close();
      opened.release();
    },
  };
}

async function mapGrower(): Promise<Grower> {
  const map = new Map<string, string>();
  return { set: (key, value) => map.set(key, value), deviceNs: () => 0, close: async () => map.clear() };
}

async function noGrower(): Promise<Grower> {
  return { set() {}, deviceNs: () => 0, async close() {} };
}

async function grow(run: Run, name: string, grower: Grower, records: Records): Promise<void> {
  const { count } = records;
  const samples = new Float64Array(count);
  const long: LongCall[] = [];
  const collections: { startMs: number; endMs: number }[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) {
      collections.push({ startMs: startTime, endMs: startTime + duration });
    }
  });
  observer.observe({ entryTypes: ["gc" as EntryType] });
  await collectGarbage();
  const waiting = new Waiting();
  let index = 0;
  for (const { keys, values } of records.series(0, 0, SERIES_COUNT)) {
    for (let from = 0; from < keys.length; from += WATCHED_COUNT) {
      const to = Math.min(from + WATCHED_COUNT, keys.length);
      const known = long.length;
      const cpuStart = cpuNs();
      let waitedStartNs = waiting.ns();
      for (let i = from; i < to; i += 1) {
        const key = keys[i]!;
        const value = values[i]!;
        const deviceStartNs = grower.deviceNs();
        const startMs = performance.now();
        grower.set(key, value);
        const ns = (performance.now() - startMs) * 1e6;
        samples[index] = ns;
        if (ns > LONG_NS) {
          const waitedNs = waiting.ns();
          const deviceNs = grower.deviceNs() - deviceStartNs;
          long.push({ index, startMs, ns, deviceNs, waitedNs: Math.min(waitedNs - waitedStartNs, ns), cpuNsMax: 0 });
          waitedStartNs = waitedNs;
        }
        index += 1;
      }
      if (long.length > known) {
        const cpuNsMax = cpuNs() - cpuStart;
        for (let i = known; i < long.length; i += 1) long[i]!.cpuNsMax = cpuNsMax;
      }
    }
    await setTimeout(0);
  }
  observer.disconnect();
  waiting.close();
  await grower.close();
  samples.sort();
  const ownNs = (call: LongCall): number =>
    Math.max(Math.min(call.ns - call.deviceNs - call.waitedNs - collectedNs(call, collections), call.cpuNsMax), 0);
  const longestShort = samples.findLast((ns) => ns <= LONG_NS) ?? 0;
  const add = (figure: string, unit: Unit, value: number): void =>
    run.ledger.add(
      { workload: WORKLOAD, name: figure, store: name, unit, records: count, valueSize: VALUE_SIZE },
      value,
    );
  add("set P50", "ns", percentile(samples, 0.5));
  add("set P99.99", "ns", percentile(samples, 0.9999));
  add("set P99.9999", "ns", percentile(samples, 0.999999));
  add("longest set", "ns", samples[count - 1]!);
  add("longest set, own time", "ns", Math.max(longestShort, ...long.map(ownNs)));
  const shown = long
    .toSorted((a, b) => ownNs(b) - ownNs(a))
    .slice(0, SHOWN_COUNT)
    .map(
      (call) =>
        `${ms(call.ns)} at record ${call.index.toLocaleString("en")} (device ${ms(call.deviceNs)}, ` +
        `waited ${ms(call.waitedNs)}, collector ${ms(collectedNs(call, collections))}, CPU at most ${ms(call.cpuNsMax)})`,
    );
  run.notes.push(`growth, ${name}: ${long.length} calls over 0.1 ms. Longest own times: ${shown.join("; ") || "none"}`);
}

function collectedNs({ startMs, ns }: LongCall, collections: readonly { startMs: number; endMs: number }[]): number {
  const endMs = startMs + ns / 1e6;
  let total = 0;
  for (const collection of collections) {
    total += Math.max(Math.min(endMs, collection.endMs) - Math.max(startMs, collection.startMs), 0);
  }
  return Math.min(total * 1e6, ns);
}

function ms(ns: number): string {
  return `${(ns / 1e6).toFixed(2)} ms`;
}
