/** Workers, pages and the whole browser killed in the midst of commits; `npm run test:tabs` does it for longer. */
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { operationOf, writtenBy, writtenValue } from "./kills/operations.ts";
import { apply, checkKept, checkPrefix, type State } from "./kills/oracle.ts";
import { runKills } from "./kills/run.ts";

const { CAIRN_SEED } = process.env;
const seed = Number(CAIRN_SEED) || 1 + Math.floor(Math.random() * 0x7fff_fffe);
const BUDGET_MS = 25_000;

describe.skipIf(!browsersOfRun().includes("chromium"))(`kills in Chromium, seed ${seed}`, () => {
  test("of workers, pages and the browser lose nothing acknowledged, and leave a prefix with whole batches", async () => {
    const report = await runKills({ seed, count: 80, budgetMs: BUDGET_MS });
    console.log(JSON.stringify(report));
    expect(report.violations).toEqual([]);
    expect(report.killCount).toBeGreaterThan(10);
    expect(report.kills.browser).toBeGreaterThan(0);
    expect(report.acknowledged).toBeGreaterThan(100);
  }, 120_000);
});

describe("the oracle of kills", () => {
  const operations = (index: number): ReturnType<typeof operationOf> => operationOf(7, "a", index);
  const stateAt = (last: number): Map<string, number> => {
    const state = new Map<string, number>();
    for (let index = 0; index <= last; index++) apply(state, operations(index), index);
    return state;
  };
  /** The first number from `from` on of an operation that is so. */
  const find = (from: number, is: (index: number) => boolean): number => {
    for (let index = from; ; index++) if (is(index)) return index;
  };
  const prefix = (found: State, durable: number): object =>
    checkPrefix(operations, new Map(), { from: 0, durable, isOpen: true }, found);

  test("takes every state from the last durable operation on, and no other", () => {
    for (let last = 100; last < 140; last++) expect(prefix(stateAt(last), 100)).not.toHaveProperty("violation");
    const writing = find(200, (index) => operations(index).call === "put");
    // One acknowledged write is not there,
    expect(prefix(stateAt(writing - 1), writing)).toHaveProperty("violation");
    const lost = stateAt(writing + 20);
    lost.delete([...lost].find(([, index]) => index < 150)?.[0] as string);
    expect(prefix(lost, 100)).toHaveProperty("violation");
    // one is there without those before it,
    const later = stateAt(writing - 1);
    const next = find(writing + 1, (index) => operations(index).call === "put");
    apply(later, operations(next), next);
    expect(prefix(later, 100)).toHaveProperty("violation");
    // of a batch one write is there,
    const batch = find(200, (index) => operations(index).writes.filter(({ size }) => size !== undefined).length > 2);
    const torn = stateAt(batch - 1);
    const [first] = operations(batch).writes.filter(({ size }) => size !== undefined);
    torn.set((first as { key: string }).key, batch);
    expect(prefix(torn, 100)).toHaveProperty("violation");
    // or something that nobody had written meanwhile.
    const still = stateAt(150);
    const shut = { from: 151, durable: 150, isOpen: false };
    expect(checkPrefix(operations, still, shut, stateAt(150))).not.toHaveProperty("violation");
    expect(checkPrefix(operations, still, shut, stateAt(170))).toHaveProperty("violation");
  });

  test("of a writer that lived on takes what was not acknowledged or not, and no batch in parts", () => {
    const all = (last: number, except: readonly number[] = []): Set<number> =>
      new Set(Array.from({ length: last + 1 }, (_, index) => index).filter((index) => !except.includes(index)));
    const kept = (found: State, acknowledged: ReadonlySet<number>): string | undefined =>
      checkKept(operations, new Map(), { from: 0, issued: 300, acknowledged }, found);
    expect(kept(stateAt(300), all(300))).toBe(undefined);
    const end = stateAt(300);
    const stays = (index: number): boolean => operations(index).writes.every(({ key }) => end.get(key) === index);
    const put = find(200, (index) => operations(index).call === "put" && stays(index));
    const without = (index: number): Map<string, number> => {
      const state = new Map<string, number>();
      for (let i = 0; i <= 300; i++) if (i !== index) apply(state, operations(i), i);
      return state;
    };
    expect(kept(without(put), all(300, [put]))).toBe(undefined);
    expect(kept(stateAt(300), all(300, [put]))).toBe(undefined);
    expect(kept(without(put), all(300))).toContain("acknowledged");
    const batch = find(200, (index) => operations(index).writes.length > 2 && stays(index));
    const torn = without(batch);
    const [first] = operations(batch).writes.filter(({ size }) => size !== undefined);
    torn.set((first as { key: string }).key, batch);
    expect(kept(torn, all(300, [batch]))).toContain("of the batch");
  });

  test("knows a value by all of its bytes, and the key that it was written to", () => {
    const put = find(0, (index) => operations(index).call === "put" && (operations(index).writes[0]?.size ?? 0) > 50);
    const [{ key, size }] = operations(put).writes as [{ key: string; size: number }];
    const value = writtenValue("a", put, size);
    expect(writtenBy(7, key, value)).toBe(put);
    expect(writtenBy(7, key, value.slice(0, -1))).toBe(undefined);
    expect(writtenBy(7, key, `${value.slice(0, 40)}~${value.slice(41)}`)).toBe(undefined);
    expect(writtenBy(7, `${key}0`, value)).toBe(undefined);
    expect(writtenBy(7, key, "")).toBe(undefined);
  });
});
