/**
 * Workload 1: single records, found, written and deleted in random order, and scans over all of them; then the same
 * calls timed singly.
 *
 * 1. Each round opens an empty store of each kind, one after the other, and gives each the same passes.
 * 2. A rate is operations a CPU second: the machine may be busy with other things.
 * 3. What a pass brings back is summed up and compared inside the pass; after each pass of writes, every record is read
 *    and compared whole, outside of timed spans.
 */
import type { FigureId, Unit } from "../figures.ts";
import { PointerChase } from "../machine.ts";
import { collectGarbage, expectCount, expectValue, percentile, type Span, span, timerCostNs } from "../measure.ts";
import { type Chunk, KEY_SIZE, Records } from "../records.ts";
import { inFolder, inTurn, type Run } from "../run.ts";
import { type BenchStore, type StoreKind, Visitor } from "../stores/store.ts";
import { loopsFor } from "./point-loops.ts";

type Loops = Awaited<ReturnType<typeof loopsFor>>;

/** Operations that a pass consists of at least; small stores are gone through several times. */
const PASS_COUNT_MIN = 200_000;
const WARM_UP_COUNT = 20_000;
const LATENCY_RECORDS = [100_000, 1_000_000];
const LATENCY_PERCENTILES: readonly [string, number][] = [
  ["P50", 0.5],
  ["P99", 0.99],
  ["P99.9", 0.999],
];
const KEEP_EVERY = 64;

/** What the phases of one round are called, in their order. */
export const PHASES = [
  "set new",
  "get",
  "get missing",
  "getMany of 32",
  "set over",
  "scan, entries",
  "scan, keys",
  "delete",
] as const;

/** Runs it. */
export async function runPoint(run: Run): Promise<void> {
  const { options, kinds, progress } = run;
  const sizes = options.records.flatMap((count) => options.values.map((valueSize) => ({ count, valueSize })));
  const latencySizes = sizes.filter(({ count }) => LATENCY_RECORDS.includes(count));
  progress.expect((sizes.length * PHASES.length + latencySizes.length) * kinds.length * options.rounds + kinds.length);
  const loops = new Map<string, Loops>();
  for (const kind of kinds) {
    progress.step(`${kind.name}: warming up`);
    const own = await loopsFor(kind.name);
    loops.set(kind.name, own);
    await warmUp(run, kind, own);
  }
  for (const { count, valueSize } of sizes) {
    const records = new Records(count, valueSize);
    for (let round = 0; round < options.rounds; round += 1) {
      for (const kind of inTurn(kinds, round)) await runRound(run, kind, loops.get(kind.name)!, records, round);
    }
  }
  if (latencySizes.length === 0) return;
  const chase = new PointerChase();
  const timerNs = timerCostNs();
  run.notes.push(
    `Calls timed singly with performance.now(), which itself takes ${timerNs.toFixed(0)} ns here: taken off each figure.`,
    "A store may put work off from one call to a later one: the mean has all of it, P50 has not.",
    "Writes of lmdb and classic-level happen on another thread after the call: only their reads are timed singly.",
  );
  for (const { count, valueSize } of latencySizes) {
    const records = new Records(count, valueSize);
    for (let round = 0; round < options.rounds; round += 1) {
      for (const kind of inTurn(kinds, round)) {
        progress.step(`${kind.name}: single calls, ${count} records, round ${round + 1}`);
        await timeSingly(run, kind, loops.get(kind.name)!, records, round, { chase, timerNs });
      }
    }
  }
}

/** Lets the compiler see every path before anything counts. */
async function warmUp(run: Run, kind: StoreKind, loops: Loops): Promise<void> {
  const records = new Records(WARM_UP_COUNT, run.options.values[0]!);
  const quiet: Run = { ...run, options: { ...run.options, rounds: 1 } };
  await inFolder(quiet, async (folder) => {
    const store = await kind.open(folder, "buffered");
    const passes = new Passes(kind, store, loops, records, 99, WARM_UP_COUNT * 5);
    for (const phase of PHASES) if (passes.has(phase)) await passes.run(phase);
    const samples = new Float64Array(WARM_UP_COUNT);
    for (const { keys, values } of records.pass(1, 0)) {
      if (kind.writesAtOnce) loops.setEach(store, keys, values, samples);
      loops.getEach(store, keys, samples);
      if (kind.writesAtOnce) loops.deleteEach(store, keys, samples);
    }
    await store.close();
  });
}

async function runRound(run: Run, kind: StoreKind, loops: Loops, records: Records, round: number): Promise<void> {
  const { count, valueSize } = records;
  const { ledger, progress } = run;
  await inFolder(run, async (folder) => {
    const store = await kind.open(folder, "buffered");
    const passes = new Passes(kind, store, loops, records, round, PASS_COUNT_MIN);
    for (const phase of PHASES) {
      progress.step(`${kind.name}: ${phase}, ${count} records of ${valueSize} bytes, round ${round + 1}`);
      if (!passes.has(phase)) continue;
      const { operations, cpuNs } = await passes.run(phase);
      const id: FigureId = {
        workload: "point",
        name: phase,
        store: kind.name,
        unit: "operations/CPU s",
        records: count,
        valueSize,
      };
      ledger.add(id, (operations * 1e9) / cpuNs);
    }
    await store.close();
  });
}

/** A phase's work and what it took. */
interface Taken {
  operations: number;
  cpuNs: number;
}

/** The phases of one round over one store. */
class Passes {
  readonly #kind: StoreKind;
  readonly #store: BenchStore;
  readonly #loops: Loops;
  readonly #records: Records;
  readonly #seed: number;
  readonly #repeats: number;
  #version = 0;
  #passCount = 0;

  constructor(kind: StoreKind, store: BenchStore, loops: Loops, records: Records, round: number, countMin: number) {
    this.#kind = kind;
    this.#store = store;
    this.#loops = loops;
    this.#records = records;
    this.#seed = round * 1000;
    this.#repeats = Math.ceil(countMin / records.count);
  }

  /** Whether the store can do it. */
  has(phase: (typeof PHASES)[number]): boolean {
    return this.#kind.isOrdered || !phase.startsWith("scan");
  }

  async run(phase: (typeof PHASES)[number]): Promise<Taken> {
    switch (phase) {
      case "set new":
        return this.#setNew();
      case "set over":
        return this.#setOver();
      case "delete":
        return this.#delete();
      case "get":
        return this.#read((keys) => this.#loops.getAll(this.#store, keys));
      case "getMany of 32":
        return this.#read((keys) => this.#loops.getManyAll(this.#store, keys));
      case "get missing":
        return this.#readMissing();
      case "scan, entries":
        return this.#scan((visitor) => this.#store.scan(visitor), this.#records.size);
      case "scan, keys":
        return this.#scan((visitor) => this.#store.scanKeys(visitor), this.#records.count * KEY_SIZE);
    }
  }

  /** Small stores are filled several times, and emptied in between outside of the timed span. */
  async #setNew(): Promise<Taken> {
    const taken = { operations: 0, cpuNs: 0 };
    for (let repeat = 0; repeat < this.#repeats; repeat += 1) {
      if (repeat > 0) await this.#erase();
      await this.#timed(taken, this.#records.pass(this.#nextSeed(), this.#version), ({ keys, values }) =>
        this.#loops.setAll(this.#store, keys, values),
      );
      if (repeat === 0) await this.#check();
    }
    return taken;
  }

  async #setOver(): Promise<Taken> {
    const taken = { operations: 0, cpuNs: 0 };
    for (let repeat = 0; repeat < this.#repeats; repeat += 1) {
      this.#version += 1;
      await this.#timed(taken, this.#records.pass(this.#nextSeed(), this.#version), ({ keys, values }) =>
        this.#loops.setAll(this.#store, keys, values),
      );
    }
    await this.#check();
    return taken;
  }

  async #delete(): Promise<Taken> {
    const taken = { operations: 0, cpuNs: 0 };
    for (let repeat = 0; repeat < this.#repeats; repeat += 1) {
      if (repeat > 0) await this.#fill();
      await this.#timed(taken, this.#records.pass(this.#nextSeed(), this.#version), ({ keys }) =>
        this.#loops.deleteAll(this.#store, keys),
      );
    }
    for (const { keys } of this.#records.sample(this.#nextSeed(), 0, PASS_COUNT_MIN)) {
      for (const key of keys) expectValue(this.#kind.name, key, this.#store.get(key), undefined);
    }
    return taken;
  }

  async #read(read: (keys: string[]) => number | Promise<number>): Promise<Taken> {
    const taken = { operations: 0, cpuNs: 0 };
    for (let repeat = 0; repeat < this.#repeats; repeat += 1) {
      await this.#timed(taken, this.#records.pass(this.#nextSeed(), this.#version), async ({ keys }) => {
        const size = await read(keys);
        expectCount(this.#kind.name, "bytes of values", size, keys.length * this.#records.valueSize);
      });
    }
    return taken;
  }

  async #readMissing(): Promise<Taken> {
    const taken = { operations: 0, cpuNs: 0 };
    for (let repeat = 0; repeat < this.#repeats; repeat += 1) {
      await this.#timed(taken, this.#records.missing(this.#nextSeed(), this.#version), ({ keys }) => {
        expectCount(this.#kind.name, "bytes of missing values", this.#loops.getAll(this.#store, keys), 0);
      });
    }
    return taken;
  }

  async #scan(scan: (visitor: Visitor) => Promise<void>, size: number): Promise<Taken> {
    const { count } = this.#records;
    const { name } = this.#kind;
    const visitor = new Visitor();
    await this.#store.quiesce();
    await collectGarbage();
    const { cpuNs } = await span(async () => {
      for (let repeat = 0; repeat < this.#repeats; repeat += 1) await scan(visitor);
    });
    const operations = count * this.#repeats;
    expectCount(name, "scanned records", visitor.count, operations);
    expectCount(name, "scanned bytes", visitor.size, size * this.#repeats);
    await this.#checkScan(scan, size / count);
    return { operations, cpuNs };
  }

  /** The order, the values, and that a kept string keeps nothing else alive. */
  async #checkScan(scan: (visitor: Visitor) => Promise<void>, recordSize: number): Promise<void> {
    const visitor = new Visitor({ checksOrder: true, keepEvery: KEEP_EVERY });
    await collectGarbage();
    const before = heldBytes();
    await scan(visitor);
    await collectGarbage();
    const held = heldBytes() - before;
    const { name } = this.#kind;
    expectCount(name, "scans out of order", visitor.isAscending ? 0 : 1, 0);
    const { kept } = visitor;
    const allowed = 2 ** 20 + kept.length * (recordSize + 64) * 2;
    if (held > allowed) throw new Error(`${name}: ${kept.length} strings kept from a scan hold ${held} bytes`);
    for (let i = 0; i < kept.length; i += 2) this.#expect(kept[i]!, kept[i + 1]);
  }

  async #timed(taken: Taken, chunks: Iterable<Chunk>, work: (chunk: Chunk) => void | Promise<void>): Promise<void> {
    for (const chunk of chunks) {
      await this.#store.quiesce();
      // Once a pass: small stores are gone through often, and would pay for what a collection leaves to its threads.
      if (taken.operations === 0 || chunk.keys.length >= PASS_COUNT_MIN) await collectGarbage();
      add(taken, chunk.keys.length, await span(() => work(chunk)));
    }
  }

  /** Every record, whole. */
  async #check(): Promise<void> {
    for (const { keys, values } of this.#records.pass(this.#nextSeed(), this.#version)) {
      for (let i = 0; i < keys.length; i += 1) {
        expectValue(this.#kind.name, keys[i]!, this.#store.get(keys[i]!), values[i]);
      }
    }
  }

  #expect(key: string, value: string | undefined): void {
    const number = this.#records.numberOf(key);
    expectValue(this.#kind.name, key, value, this.#records.value(number, this.#version));
  }

  async #fill(): Promise<void> {
    for (const { keys, values } of this.#records.pass(this.#nextSeed(), this.#version)) {
      await this.#loops.setAll(this.#store, keys, values);
    }
  }

  async #erase(): Promise<void> {
    for (const { keys } of this.#records.pass(this.#nextSeed(), this.#version)) {
      await this.#loops.deleteAll(this.#store, keys);
    }
  }

  #nextSeed(): number {
    this.#passCount += 1;
    return this.#seed + this.#passCount;
  }
}

function add(taken: Taken, operations: number, { cpuNs }: Span): void {
  taken.operations += operations;
  taken.cpuNs += cpuNs;
}

function heldBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What single calls are measured against. */
interface Yardsticks {
  chase: PointerChase;
  timerNs: number;
}

/**
 * Percentiles of single calls on a store that holds all records: new keys are those that lie between the others, and are
 * deleted again, singly timed as well.
 */
async function timeSingly(
  run: Run,
  kind: StoreKind,
  loops: Loops,
  records: Records,
  round: number,
  { chase, timerNs }: Yardsticks,
): Promise<void> {
  const { count, valueSize } = records;
  const seed = round * 1000;
  const sampleCount = Math.max(20_000, count / 10);
  const add = (name: string, unit: Unit, figure: number): void =>
    run.ledger.add(
      { workload: "point, single calls", name, store: kind.name, unit, records: count, valueSize },
      figure,
    );
  const report = (name: string, samples: Float64Array): void => {
    samples.sort();
    add(`${name} mean`, "ns", samples.reduce((total, one) => total + one, 0) / samples.length - timerNs);
    for (const [label, fraction] of LATENCY_PERCENTILES) {
      add(`${name} ${label}`, "ns", Math.max(percentile(samples, fraction) - timerNs, 0));
    }
  };
  await inFolder(run, async (folder) => {
    const store = await kind.open(folder, "buffered");
    for (const { keys, values } of records.pass(seed, 0)) await loops.setAll(store, keys, values);
    await store.quiesce();
    for (const { keys } of records.sample(seed + 1, 0, count)) {
      const samples = new Float64Array(keys.length);
      await collectGarbage();
      const size = loops.getEach(store, keys, samples);
      expectCount(kind.name, "bytes of values", size, keys.length * valueSize);
      report("get", samples);
      const missNs = chase.missNs();
      add("get P50 in dependent misses", "misses", Math.max(percentile(samples, 0.5) - timerNs, 0) / missNs);
      if (kind.name === "cairn") add("dependent miss", "ns", missNs);
    }
    if (kind.writesAtOnce) {
      const samples = new Float64Array(sampleCount);
      for (const { keys, values } of records.sample(seed + 2, 1, sampleCount)) {
        await collectGarbage();
        loops.setEach(store, keys, values, samples);
        report("set over", samples);
      }
      await store.quiesce();
      for (const { keys, values } of records.missing(seed + 3, 1, sampleCount)) {
        await collectGarbage();
        loops.setEach(store, keys, values, samples);
        report("set new", samples);
      }
      await store.quiesce();
      for (const { keys } of records.sample(seed + 4, 1, sampleCount)) {
        await collectGarbage();
        loops.deleteEach(store, keys, samples);
        report("delete", samples);
      }
    }
    await store.close();
  });
}
