/** Memory of a process whose data is larger than its budget: what the store takes, and what the process takes beside it. */
import { expect, test } from "vitest";
import { RUNTIME, runProgram } from "../runtime.ts";
import { open, scratchPaths } from "./harness.ts";

const newPath = scratchPaths();
const MIB = 1_048_576;
const BUDGET = 32 * MIB;
const COUNT = 30_000;
const VALUE_SIZE = 4000;

test("data of four times the budget is read, walked and compacted within it", async () => {
  const path = newPath();
  const store = await open(path, { durability: "manual", compaction: { auto: false } });
  for (let round = 0; round < 2; round++) {
    // Every second one is overwritten: garbage in each segment.
    for (let i = 0; i < COUNT; i += 1 + round) store.set(`key ${i}`, `${i}`.padEnd(VALUE_SIZE, "."));
    await store.flush();
  }
  await store.close();
  const body = `
    const budget = ${BUDGET};
    const store = await open(target, { memoryBytes: budget, writeBufferBytes: 1048576, compaction: { auto: false } });
    const stats = () => {
      const { memoryBudgetBytes, memoryUsedBytes } = store.stats();
      return [memoryBudgetBytes, memoryUsedBytes, process.memoryUsage().rss];
    };
    const collect = globalThis.gc ?? (() => {});
    let rssMax = 0;
    let usedMax = 0;
    let wrong = 0;
    const look = () => {
      const [, used, rss] = stats();
      rssMax = Math.max(rssMax, rss);
      usedMax = Math.max(usedMax, used);
    };
    const check = (i, value) => {
      if (value?.length !== ${VALUE_SIZE} || !value.startsWith(i + ".")) wrong++;
    };
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 2147483647) % ${COUNT};
    // A first round, so that code and buffers are there.
    for (let i = 0; i < 500; i++) check(i, store.get("key " + i));
    collect();
    const [budgetBytes, , before] = stats();
    for (let n = 0; n < 20000; n++) {
      const i = random();
      check(i, n % 2 ? store.get("key " + i) : await store.getAsync("key " + i));
      if (n % 500 === 0) look();
    }
    for (let n = 0; n < 300; n++) {
      const some = Array.from({ length: 32 }, random);
      const values = await store.getMany(some.map((i) => "key " + i));
      some.forEach((i, at) => check(i, values[at]));
      look();
    }
    let walked = 0;
    for await (const [key, value] of store.entries()) {
      check(key.slice(4), value);
      if (walked++ % 500 === 0) look();
    }
    const { segmentsFreed } = await store.compact({ full: true });
    look();
    for (let n = 0; n < 2000; n++) {
      const i = random();
      check(i, store.get("key " + i));
    }
    look();
    await store.close();
    say({ budgetBytes, usedMax, before, rssMax, walked, wrong, segmentsFreed });
  `;
  const { said, failed } = runProgram(body, path);
  expect(failed).toBe("");
  const seen = said[0] as Record<
    "budgetBytes" | "usedMax" | "before" | "rssMax" | "walked" | "wrong" | "segmentsFreed",
    number
  >;
  expect(seen).toMatchObject({ budgetBytes: BUDGET, walked: COUNT, wrong: 0 });
  expect(seen.segmentsFreed).toBeGreaterThan(20);
  expect(seen.usedMax).toBeLessThanOrEqual(BUDGET);
  // Some of the budget's pages were not touched before; the rest is garbage that the runtime has not collected yet.
  if (RUNTIME === "node") expect(seen.rssMax - seen.before).toBeLessThan(BUDGET + 64 * MIB);
}, 60_000);
