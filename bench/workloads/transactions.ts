/**
 * Transactions, batches, snapshots and first entries, of Cairn alone: nothing beside it has calls of the same kind. Random keys;
 * what was written is counted up at the end. Garbage of what was done before is collected outside the timed spans.
 *
 * CPU time, but for batches: that is the time of their calls, after each of which the event loop turns.
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { open, type Store } from "../../hosts/node.ts";
import { OURS, type Unit } from "../figures.ts";
import { collectGarbage, cpuNs, expectCount, expectValue, wallNs } from "../measure.ts";
import { Random } from "../random.ts";
import { inFolder, type Run } from "../run.ts";

const WORKLOAD = "transactions";
const VALUE_SIZE = 100;
const PASS_COUNT = 100_000;
const KEYS_MAX = 1_000_000;
const BATCH_SIZE = 1000;
const BATCH_COUNT = 200;

/** Runs it, for the largest count of records up to a million. */
export async function runTransactions(run: Run): Promise<void> {
  const records = Math.max(...run.options.records.filter((count) => count <= KEYS_MAX), 10_000);
  const keys = Array.from({ length: records }, (_, i) => keyOf((i * 7919) % records));
  run.progress.expect(run.options.rounds + 1);
  for (let round = 0; round <= run.options.rounds; round += 1) {
    run.progress.step(`cairn: transactions, ${records} records, round ${round}`);
    await inFolder(run, async (folder) => {
      const store = await open(join(folder, "store.cairn"));
      for (const key of keys) store.set(key, "x".repeat(VALUE_SIZE));
      await store.flush();
      // The first round lets the compiler see every path.
      await passes(store, keys, round, (name, unit, figure) => {
        if (round > 0)
          run.ledger.add({ workload: WORKLOAD, name, store: OURS, unit, records, valueSize: VALUE_SIZE }, figure);
      });
      await store.close();
    });
  }
}

async function passes(
  store: Store,
  keys: string[],
  round: number,
  add: (name: string, unit: Unit, figure: number) => void,
): Promise<void> {
  const random = new Random(round + 1);
  const key = (): string => keys[random.below(keys.length)] as string;
  const time = (count: number, work: () => void): number => {
    const start = cpuNs();
    for (let i = 0; i < count; i += 1) work();
    return (cpuNs() - start) / count;
  };
  let written = 0;
  const value = `y${"x".repeat(VALUE_SIZE - 1)}`;
  const seen = new Set<string>();
  await collectGarbage();
  const transactionNs = time(PASS_COUNT, () => {
    const a = key();
    const b = key();
    store.transaction((tx) => {
      if (tx.get(a) !== undefined && tx.get(b) !== undefined) written += 2;
      tx.set(a, value);
      tx.set(b, value);
    });
  });
  expectCount(OURS, "keys read in transactions", written, PASS_COUNT * 2);
  for (const [name, held] of store.entries()) if (held === value) seen.add(name);
  if (seen.size === 0 || seen.size > written) throw new Error(`cairn: ${seen.size} keys were written by transactions`);
  add("transaction, 2 reads and 2 writes", "operations/CPU s", 1e9 / transactionNs);

  add("batches of 1,000, records", "operations/s", await batches(store, () => keyOf(random.below(keys.length))));

  await collectGarbage();
  const start = cpuNs();
  for (let i = 0; i < PASS_COUNT / 10; i += 1) {
    await store.transact(async (tx) => {
      tx.get(key());
      return tx.get(key());
    });
  }
  add("transact, 2 reads", "operations/CPU s", ((PASS_COUNT / 10) * 1e9) / (cpuNs() - start));

  await collectGarbage();
  const firstNs = time(PASS_COUNT, () => {
    const walk = store.entries({ gte: key() });
    walk.next();
    walk.return();
  });
  add("first entry of an iterator", "ns", firstNs);

  await collectGarbage();
  const snapshot = store.snapshot();
  add("get through a snapshot", "operations/CPU s", 1e9 / time(PASS_COUNT, () => snapshot.get(key())));
  snapshot.close();
}

/** A new string each time. */
function keyOf(record: number): string {
  return `key:${String(record).padStart(9, "0")}`;
}

/** Records a second that calls of `batch` take, whose promises are awaited together at the end. */
async function batches(store: Store, key: () => string): Promise<number> {
  await collectGarbage();
  const promises: Promise<boolean[]>[] = [];
  const lastOf = new Map<string, string>();
  let ns = 0;
  for (let i = 0; i < BATCH_COUNT; i += 1) {
    const operations = Array.from({ length: BATCH_SIZE }, (_, j) => ({
      type: "set" as const,
      key: key(),
      value: `${i}:${j}`.padEnd(VALUE_SIZE, "b"),
    }));
    const start = wallNs();
    promises.push(store.batch(operations));
    ns += wallNs() - start;
    const last = operations[BATCH_SIZE - 1];
    if (last !== undefined) lastOf.set(last.key, last.value);
    for (const { key: name, value } of operations) if (lastOf.has(name)) lastOf.set(name, value);
    await setImmediate();
  }
  await Promise.all(promises);
  for (const [name, value] of lastOf) expectValue(OURS, name, store.get(name), value);
  return (BATCH_COUNT * BATCH_SIZE * 1e9) / ns;
}
