/**
 * Workload 6: data larger than memory, under a cache of a sixteenth of it. Single reads and many at once, beside bare
 * reads of 4 KiB of the same file by the runtime itself; scans in the order of keys that were written in random order.
 *
 * 1. Once past the page cache on both sides, once with the file in it.
 * 2. Ours and the bare reads take turns, so that what the device and the machine do meanwhile weighs on both.
 * 3. Rates are of wall time. Every value is compared with what was written.
 * 4. A record of 1 KiB lies in two blocks as often as one in four: those reads are larger than the bare ones.
 */
import { closeSync, constants, fstatSync, openSync, read, readSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { open } from "../../hosts/node.ts";
import { CairnError } from "../../store/error.ts";
import { OURS, type Unit } from "../figures.ts";
import { collectGarbage, expectCount, expectValue, wallNs } from "../measure.ts";
import { Random } from "../random.ts";
import { inFolder, type Run } from "../run.ts";

const WORKLOAD = "larger";
const VALUE_SIZE = 1024;
const BLOCK_SIZE = 4096;
/** The cache is this share of the values. */
const CACHE_SHARE = 16;
const MIB = 2 ** 20;
const MEMORY_BYTES_MIN = 512 * MIB;
/** Bytes of memory that a key takes beside the cache, roughly: what the budget is made from. */
const KEY_MEMORY = 160;
/** The column of the runtime's own reads. */
const RAW = "bare reads";
const IN_FLIGHT = 32;
const TURNS = 10;
/** Reads of each kind in a turn: past the page cache, and with the file in it. */
const TURN_COUNTS = { direct: 1500, warm: 15_000 };
const POOL_COUNT = 1009;

type Store = Awaited<ReturnType<typeof open>>;
type Way = "direct" | "warm";

const WAYS: Record<Way, string> = { direct: "O_DIRECT", warm: "page cache warm" };

/** Keys with their values. */
class Data {
  readonly count: number;
  private readonly pool: string[];

  constructor(count: number) {
    this.count = count;
    const random = new Random(7);
    this.pool = Array.from({ length: POOL_COUNT }, () =>
      Buffer.from(Uint8Array.from({ length: VALUE_SIZE }, () => 97 + random.below(26))).toString("latin1"),
    );
  }

  /** A new string each time. */
  key(index: number): string {
    return `user:${String(index).padStart(8, "0")}`;
  }

  value(index: number): string {
    return this.pool[index % POOL_COUNT]!;
  }

  check(key: string, index: number, value: string | undefined): void {
    if (value !== this.value(index)) expectValue(OURS, key, value, this.value(index));
  }
}

/** Runs it. */
export async function runLarger(run: Run): Promise<void> {
  const { options, progress } = run;
  const data = new Data(options.larger);
  const sizes = sizesOf(data);
  run.notes.push(
    `larger: ${(data.count * VALUE_SIZE) / MIB} MiB of values, cacheBytes ${sizes.cacheBytes / MIB} MiB, ` +
      `memoryBytes ${sizes.memoryBytes / MIB} MiB; ${IN_FLIGHT} in flight; bare reads: ${BLOCK_SIZE} bytes at random blocks`,
  );
  progress.expect(1 + options.rounds * 2);
  await inFolder(run, async (folder) => {
    const path = join(folder, "store.cairn");
    progress.step(`writing ${data.count.toLocaleString("en")} records in random order`);
    await fill(path, data, sizes);
    for (let round = 0; round < options.rounds; round += 1) {
      for (const way of ["direct", "warm"] as const) {
        progress.step(`${WAYS[way]}, round ${round + 1}`);
        await runRound(run, path, data, way, round);
      }
    }
  });
}

function sizesOf(data: Data): { cacheBytes: number; memoryBytes: number } {
  const cacheBytes = Math.ceil((data.count * VALUE_SIZE) / CACHE_SHARE / MIB) * MIB;
  const needed = cacheBytes * 2 + data.count * KEY_MEMORY + 64 * MIB;
  return { cacheBytes, memoryBytes: Math.max(MEMORY_BYTES_MIN, Math.ceil(needed / MIB) * MIB) };
}

async function fill(path: string, data: Data, sizes: ReturnType<typeof sizesOf>): Promise<void> {
  const store = await open(path, sizes);
  const order = Uint32Array.from({ length: data.count }, (_, index) => index);
  const random = new Random(3);
  for (let i = order.length - 1; i > 0; i -= 1) {
    const other = random.below(i + 1);
    const index = order[i]!;
    order[i] = order[other]!;
    order[other] = index;
  }
  for (let i = 0; i < order.length; i += 1) {
    store.set(data.key(order[i]!), data.value(order[i]!));
    if (i % 8192 === 0) await setImmediate();
  }
  await store.close();
}

async function runRound(run: Run, path: string, data: Data, way: Way, round: number): Promise<void> {
  const add = (name: string, unit: Unit, figure: number, store = OURS): void => {
    const id = { workload: WORKLOAD, name, store, unit, records: data.count, valueSize: VALUE_SIZE };
    run.ledger.add(id, figure);
  };
  const isDirect = way === "direct";
  const residentBefore = process.memoryUsage.rss();
  let store: Store;
  try {
    store = await open(path, { ...sizesOf(data), readOnly: true, directReads: isDirect });
  } catch (error) {
    if (!(error instanceof CairnError) || error.code !== "UNSUPPORTED") throw error;
    run.notes.push(`larger, ${WAYS[way]}: not measured. ${error.message}`);
    return;
  }
  if (!isDirect) readFileWhole(path);
  const raw = new BareReads(path, isDirect, round);
  const random = new Random(1000 + round);
  const next = (): number => random.below(data.count);
  try {
    const count = TURN_COUNTS[way];
    const single = await inTurns(
      () => {
        for (let i = 0; i < count; i += 1) {
          const index = next();
          const key = data.key(index);
          data.check(key, index, store.get(key) as string | undefined);
        }
      },
      () => raw.one(count),
    );
    const many = await inTurns(
      () =>
        crowd(count, async () => {
          const index = next();
          const key = data.key(index);
          data.check(key, index, (await store.getAsync(key)) as string | undefined);
        }),
      () => raw.many(count),
    );
    for (const [name, { ours, theirs }] of [
      [`get, ${WAYS[way]}`, single],
      [`getAsync, ${IN_FLIGHT} in flight, ${WAYS[way]}`, many],
    ] as const) {
      add(name, "operations/s", (TURNS * count * 1e9) / ours);
      add(name, "operations/s", (TURNS * count * 1e9) / theirs, RAW);
      add(`${name}, share of bare reads`, "of raw", theirs / ours);
    }
    if (!isDirect) await scans(store, data, add);
    const { memoryUsedBytes, memoryBudgetBytes, cacheUsedBytes } = store.stats();
    const grown = process.memoryUsage.rss() - residentBefore;
    if (memoryUsedBytes > memoryBudgetBytes || cacheUsedBytes > sizesOf(data).cacheBytes) {
      throw new Error(`the store took more than its budget: ${memoryUsedBytes} of ${memoryBudgetBytes} bytes`);
    }
    if (round === 0) {
      const [used, budget, cache, whole] = [memoryUsedBytes, memoryBudgetBytes, cacheUsedBytes, grown].map(inMib);
      run.notes.push(
        `larger, ${WAYS[way]}: memory used ${used} of ${budget}, ${cache} of it cache; the process grew by ${whole}`,
      );
    }
  } finally {
    raw.close();
    await store.close();
  }
}

async function scans(store: Store, data: Data, add: (name: string, unit: Unit, figure: number) => void): Promise<void> {
  await collectGarbage();
  let count = 0;
  let start = wallNs();
  for (const [key, value] of store.entries()) data.check(key as string, count++, value as string);
  add("scan, for of, page cache warm", "entries/s", (count * 1e9) / (wallNs() - start));
  expectCount(OURS, "entries", count, data.count);
  await collectGarbage();
  count = 0;
  start = wallNs();
  for await (const [key, value] of store.entries()) data.check(key as string, count++, value as string);
  add("scan, for await, page cache warm", "entries/s", (count * 1e9) / (wallNs() - start));
  expectCount(OURS, "entries", count, data.count);
}

/** Runs both in turns: nanoseconds that each took in all. */
async function inTurns(
  ours: () => void | Promise<void>,
  theirs: () => void | Promise<void>,
): Promise<{ ours: number; theirs: number }> {
  const spent = { ours: 0, theirs: 0 };
  await collectGarbage();
  for (let turn = 0; turn < TURNS; turn += 1) {
    const start = wallNs();
    await ours();
    const middle = wallNs();
    await theirs();
    spent.ours += middle - start;
    spent.theirs += wallNs() - middle;
  }
  return spent;
}

/** So many calls, a fixed number of them at a time. */
async function crowd(count: number, call: () => Promise<void>): Promise<void> {
  let begun = 0;
  const worker = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** The runtime's own reads of blocks of a file. */
class BareReads {
  private readonly descriptor: number;
  private readonly blocks: number;
  private readonly random: Random;
  /** Memory that starts at a page. */
  private readonly memory = new Uint8Array(new WebAssembly.Memory({ initial: 2, maximum: 2 }).buffer);

  constructor(path: string, isDirect: boolean, seed: number) {
    this.descriptor = openSync(path, constants.O_RDONLY | (isDirect ? constants.O_DIRECT : 0));
    this.blocks = Math.floor(fstatSync(this.descriptor).size / BLOCK_SIZE);
    this.random = new Random(2000 + seed);
  }

  one(count: number): void {
    for (let i = 0; i < count; i += 1) {
      expectCount(RAW, "bytes", readSync(this.descriptor, this.memory, 0, BLOCK_SIZE, this.next()), BLOCK_SIZE);
    }
  }

  many(count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let begun = 0;
      let done = 0;
      const step = (slot: number): void => {
        begun += 1;
        read(this.descriptor, this.memory, slot * BLOCK_SIZE, BLOCK_SIZE, this.next(), (cause, size) => {
          done += 1;
          if (cause !== null || size !== BLOCK_SIZE) reject(cause ?? new Error(`${size} bytes were read`));
          else if (begun < count) step(slot);
          else if (done === count) resolve();
        });
      };
      for (let slot = 0; slot < IN_FLIGHT; slot += 1) step(slot);
    });
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private next(): number {
    return this.random.below(this.blocks) * BLOCK_SIZE;
  }
}

function inMib(bytes: number): string {
  return `${(bytes / MIB).toFixed(0)} MiB`;
}

/** Brings a file into the page cache. */
function readFileWhole(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    const bytes = Buffer.allocUnsafe(MIB);
    while (readSync(descriptor, bytes, 0, MIB, null) > 0);
  } finally {
    closeSync(descriptor);
  }
}
