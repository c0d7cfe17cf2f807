/**
 * The long run: a store whose live records fill 70 % of what it uses is overwritten for ten times its data, uniformly and
 * then with a hot set (20 % of the keys get 80 % of the writes).
 *
 * 1. The first half of the writes brings the store to its steady state; the figures are those of the second half.
 * 2. Write amplification and space are counted in record bytes: what compaction copied beside what was written, and whole
 *    segments in use beside live records.
 * 3. The event loop turns after every 256 calls, as a server's does. Of a long call, or turn, it is known how long the
 *    thread waited for a CPU; what remains is its own time. It includes what the device takes of the calling thread.
 * 4. A turn is all that happens between two series of calls: what compaction does there is in its own time, too.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../hosts/node.ts";
import type { Unit } from "../figures.ts";
import { collectGarbage, percentile } from "../measure.ts";
import { median } from "../median.ts";
import { Random } from "../random.ts";
import { inFolder, type Run } from "../run.ts";
import { StepTimes } from "../step-times.ts";
import { Waiting } from "../waiting.ts";

const VALUE_SIZE = 100;
const MEMORY_BYTES = 1.5 * 2 ** 30;
/** Times that the data is written over. */
const TIMES = 10;
/** Calls whose keys are made ahead, and calls between two turns of the event loop. */
const SERIES_COUNT = 65_536;
const TURN_COUNT = 256;
const LONG_NS = 100_000;
const SECOND_MS = 1000;

/** Which record is written next. */
type Draw = (random: Random, count: number) => number;

const uniform: Draw = (random, count) => random.below(count);
const hotSet: Draw = (random, count) => {
  const hot = Math.floor(count / 5);
  return random.below(5) > 0 ? random.below(hot) : hot + random.below(count - hot);
};

/** Runs it. */
export async function runLong(run: Run): Promise<void> {
  const draws: [string, Draw][] = [
    ["long, uniform", uniform],
    ["long, hot set", hotSet],
  ];
  run.progress.expect(draws.length * (TIMES + 1));
  for (const [workload, draw] of draws) await inFolder(run, (folder) => overwrite(run, workload, draw, folder));
}

async function overwrite(run: Run, workload: string, draw: Draw, folder: string): Promise<void> {
  const count = run.options.long;
  const path = join(folder, "store.cairn");
  const store = await open(path, { memoryBytes: MEMORY_BYTES });
  const random = new Random(count);
  const waiting = new Waiting();
  const steps = new StepTimes(waiting);
  const total = count * TIMES;
  const samples = new Float64Array(Math.ceil(total / 2));
  const perSecond: number[] = [];
  const space: number[] = [];
  let taken = 0;
  let longestTurnNs = 0;
  let before = store.stats();

  const write = async (from: number, to: number, next: (i: number) => number, isMeasured: boolean): Promise<void> => {
    let second = performance.now();
    let inSecond = 0;
    for (let start = from; start < to; start += SERIES_COUNT) {
      const size = Math.min(SERIES_COUNT, to - start);
      const keys = Array.from({ length: size }, (_, i) => keyOf(next(start + i)));
      const values = Array.from({ length: size }, (_, i) => String(start + i).padEnd(VALUE_SIZE, "v"));
      // Making keys is not the store's time.
      second += await timed(() => collectGarbage());
      let waitedNs = waiting.ns();
      for (let i = 0; i < size; i++) {
        const startMs = performance.now();
        store.set(keys[i]!, values[i]!);
        let ns = (performance.now() - startMs) * 1e6;
        if (ns > LONG_NS) {
          const now = waiting.ns();
          ns = Math.max(LONG_NS, ns - (now - waitedNs));
          waitedNs = now;
        }
        if (isMeasured) samples[taken++] = ns;
        if (i % TURN_COUNT !== TURN_COUNT - 1) continue;
        const turnMs = performance.now();
        await new Promise((resolve) => setImmediate(resolve));
        const now = performance.now();
        const waited = waiting.ns();
        if (isMeasured) longestTurnNs = Math.max(longestTurnNs, (now - turnMs) * 1e6 - (waited - waitedNs));
        waitedNs = waited;
        inSecond += TURN_COUNT;
        if (now - second < SECOND_MS) continue;
        if (isMeasured) {
          perSecond.push((inSecond / (now - second)) * SECOND_MS);
          const { segmentUsedCount, segmentBytes, liveBytes } = store.stats();
          space.push((segmentUsedCount * segmentBytes) / liveBytes);
        }
        inSecond = 0;
        second = performance.now();
      }
    }
  };

  run.progress.step(`${workload}: ${count} records`);
  const stride = coprime(count);
  await write(0, count, (i) => (i * stride) % count, false);
  await store.flush();
  for (let time = 0; time < TIMES; time++) {
    run.progress.step(`${workload}: overwriting, ${time + 1} of ${TIMES}`);
    const isMeasured = time >= TIMES / 2;
    if (time === TIMES / 2) before = store.stats();
    await write(time * count, (time + 1) * count, () => draw(random, count), isMeasured);
  }
  const after = store.stats();
  await store.close();
  const longestStepMs = await steps.stop();
  waiting.close();
  const sorted = samples.subarray(0, taken).sort();
  const add = (name: string, unit: Unit, value: number): void =>
    run.ledger.add({ workload, name, store: "cairn", unit, records: count, valueSize: VALUE_SIZE }, value);
  const appended = after.appendedBytes - before.appendedBytes;
  add("write amplification", "times", 1 + (after.relocatedBytes - before.relocatedBytes) / appended);
  if (space.length > 0) add("space, used segments by live records", "times", mean(space));
  if (perSecond.length > 0) {
    add("set", "operations/s", median(perSecond));
    add("slowest second by the median", "of raw", Math.min(...perSecond) / median(perSecond));
  }
  add("set P99.99, own time", "ns", percentile(sorted, 0.9999));
  add("set P99.9999, own time", "ns", percentile(sorted, 0.999999));
  add("longest set, own time", "ns", sorted[taken - 1]!);
  add("longest turn between sets, own time", "ns", longestTurnNs);
  add("longest step of compaction, own time", "ns", longestStepMs * 1e6);
  add("file after close by live records", "times", statSync(path).size / after.liveBytes);
}

function keyOf(record: number): string {
  return `user:${String(record).padStart(8, "0")}`;
}

/** A stride through `count` records that meets each of them once. */
function coprime(count: number): number {
  let stride = Math.floor(count * 0.618) | 1;
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  while (divisor(stride, count) !== 1) stride += 2;
  return stride;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function mean(figures: readonly number[]): number {
  return figures.reduce((sum, figure) => sum + figure, 0) / figures.length;
}
