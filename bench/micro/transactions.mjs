/**
 * Micro-benchmark of synchronous transactions, first entries of iterators, and the single calls that they are made of, in
 * nanoseconds of CPU time each, the best of some runs. Build first: npm run build. Then: node bench/micro/transactions.mjs
 * [records] [runs]. `BUILD` is another build to measure in the same run, in turns.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const RECORDS = Number(process.argv[2] ?? 1_000_000);
const RUNS = Number(process.argv[3] ?? 5);
const COUNT = 100_000;
const builds = [new URL("../../build", import.meta.url).pathname, ...(process.env["BUILD"]?.split(",") ?? [])];
const folder = mkdtempSync(join(tmpdir(), "cairn-micro-"));
const keys = Array.from({ length: RECORDS }, (_, i) => `key:${String((i * 7919) % RECORDS).padStart(9, "0")}`);
const value = "x".repeat(100);
let state = 1;
/** A key, another one each time. */
const key = () => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return keys[state % RECORDS] ?? "";
};

/** @type {Record<string, (store: any) => void>} */
const WORKS = {
  "transaction, 2 reads and 2 writes": (store) => {
    const a = key();
    const b = key();
    store.transaction((/** @type {any} */ tx) => {
      if (tx.get(a) === undefined || tx.get(b) === undefined) throw new Error("a key is not there");
      tx.set(a, value);
      tx.set(b, value);
    });
  },
  "2 gets and 2 sets": (store) => {
    const a = key();
    const b = key();
    if (store.get(a) === undefined || store.get(b) === undefined) throw new Error("a key is not there");
    store.set(a, value);
    store.set(b, value);
  },
  "first entry of an iterator": (store) => {
    const walk = store.entries({ gte: key() });
    walk.next();
    walk.return();
  },
};

const stores = [];
for (const [i, build] of builds.entries()) {
  const { open } = await import(pathToFileURL(join(resolve(build), "hosts/node.js")).href);
  const store = await open(join(folder, `${i}.cairn`));
  for (const each of keys) store.set(each, value);
  await store.flush();
  stores.push(store);
}
for (const [name, work] of Object.entries(WORKS)) {
  const best = stores.map(() => Number.POSITIVE_INFINITY);
  for (let run = 0; run <= RUNS; run++) {
    for (const [i, store] of stores.entries()) {
      const start = process.cpuUsage();
      for (let n = 0; n < COUNT; n++) work(store);
      const { user } = process.cpuUsage(start);
      if (run > 0) best[i] = Math.min(best[i] ?? 0, (user * 1000) / COUNT);
      await new Promise((resolved) => setTimeout(resolved, 30));
    }
  }
  process.stdout.write(`${name}: ${best.map((ns) => `${Math.round(ns)} ns`).join(", ")}\n`);
}
for (const store of stores) await store.close();
rmSync(folder, { recursive: true, force: true });
