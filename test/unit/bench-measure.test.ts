import { describe, expect, it } from "vitest";
import { advantageOf, Ledger, summaryOf } from "../../bench/figures.ts";
import {
  expectCount,
  expectValue,
  percentile,
  ratioOf,
  span,
  spread,
  timerCostNs,
  WrongValueError,
} from "../../bench/measure.ts";
import { median } from "../../bench/median.ts";
import { countOf, readOptions } from "../../bench/options.ts";
import { KEY_SIZE, Records } from "../../bench/records.ts";
import { type Report, shownAdvantage, shownFigure, tablesOf, textOf } from "../../bench/report.ts";
import { pageOf } from "../../bench/report-page.ts";
import { Visitor } from "../../bench/stores/store.ts";
import { targetsOf } from "../../bench/targets.ts";

const POINT = { workload: "point", unit: "operations/CPU s", records: 1_000_000, valueSize: 100 } as const;

describe("medians, percentiles and ratios", () => {
  it("takes the middle figure, or the mean of the two in the middle, and leaves its argument alone", () => {
    const figures = [9, 1, 5];
    expect(median(figures)).toBe(5);
    expect(figures).toEqual([9, 1, 5]);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([10, 9, 100])).toBe(10);
    expect(() => median([])).toThrow(RangeError);
  });

  it("takes percentiles by nearest rank", () => {
    const samples = Float64Array.from({ length: 1000 }, (_, i) => i + 1);
    expect(percentile(samples, 0.5)).toBe(500);
    expect(percentile(samples, 0.99)).toBe(990);
    expect(percentile(samples, 0.999)).toBe(999);
    expect(percentile(samples, 0.999999)).toBe(1000);
    expect(percentile(samples, 1)).toBe(1000);
    expect(percentile([7], 0.001)).toBe(7);
    expect(() => percentile([], 0.5)).toThrow(RangeError);
    expect(() => percentile(samples, 0)).toThrow(RangeError);
    expect(() => percentile(samples, 1.1)).toThrow(RangeError);
  });

  it("gives the spread as a share of the median", () => {
    expect(spread([90, 100, 120])).toBeCloseTo(0.3);
    expect(spread([5])).toBe(0);
  });

  it("takes the ratio round by round, so that a slow round of the machine weighs on both sides", () => {
    expect(ratioOf([100, 10, 100], [50, 5, 20])).toBe(2);
    expect(() => ratioOf([1, 2], [1])).toThrow(RangeError);
  });

  it("measures CPU and wall time, and what reading the timer costs", async () => {
    const { cpuNs, wallNs } = await span(() => {
      const end = performance.now() + 30;
      while (performance.now() < end);
    });
    expect(wallNs).toBeGreaterThanOrEqual(30e6);
    expect(cpuNs).toBeGreaterThan(0);
    expect(timerCostNs()).toBeLessThan(100_000);
  });
});

describe("checks of what a store brings back", () => {
  it("passes what is right and fails what is wrong, with the store and the key in the message", () => {
    expect(() => expectValue("a", "k", "v", "v")).not.toThrow();
    expect(() => expectValue("a", "k", undefined, undefined)).not.toThrow();
    expect(() => expectValue("a", "user:1", "w", "v")).toThrow(WrongValueError);
    expect(() => expectValue("a", "user:1", undefined, "v")).toThrow('a gave nothing for user:1, not "v"');
    expect(() => expectValue("a", "k", "x".repeat(1000), "v")).toThrow(/1000 characters/);
    expect(() => expectCount("a", "records", 9, 10)).toThrow("a gave 9 records, not 10");
    expect(() => expectCount("a", "records", 10, 10)).not.toThrow();
  });

  it("notices a scan out of order, and one that brings a key twice", () => {
    const visitor = new Visitor({ checksOrder: true, keepEvery: 2 });
    for (const key of ["a", "b", "c", "d"]) visitor.entry(key, "xy");
    expect(visitor).toMatchObject({ count: 4, size: 12, isAscending: true, kept: ["b", "xy", "d", "xy"] });
    visitor.key("d");
    expect(visitor.isAscending).toBe(false);
  });
});

describe("records", () => {
  it("gives every store the same keys in the same order, all of them once", () => {
    const first = [...new Records(5000, 16).pass(7, 0)];
    const second = [...new Records(5000, 16).pass(7, 0)];
    expect(first).toEqual(second);
    const keys = first.flatMap((chunk) => chunk.keys);
    expect(new Set(keys).size).toBe(5000);
    expect(keys.every((key) => key.length === KEY_SIZE)).toBe(true);
    expect([...new Records(5000, 16).pass(8, 0)][0]!.keys).not.toEqual(first[0]!.keys);
  });

  it("keeps missing keys apart, changes values with the version, and cuts series into pieces", () => {
    const records = new Records(1000, 100);
    const [chunk] = [...records.pass(1, 0)];
    const [over] = [...records.pass(1, 1)];
    const there = new Set(chunk!.keys);
    expect([...records.missing(1, 0)][0]!.keys.some((key) => there.has(key))).toBe(false);
    expect(over!.keys).toEqual(chunk!.keys);
    expect(over!.values.every((value, i) => value !== chunk!.values[i] && value.length === 100)).toBe(true);
    expect([...records.series(1, 0, 300)].map((piece) => piece.keys.length)).toEqual([300, 300, 300, 100]);
    const number = records.numberOf(chunk!.keys[5]!);
    expect(records.value(number, 0)).toBe(chunk!.values[5]);
    expect(records.key(number)).toBe(chunk!.keys[5]);
  });
});

describe("options", () => {
  it("reads counts and lists, and refuses what it does not know", () => {
    expect(countOf("10k")).toBe(10_000);
    expect(countOf("1.5M")).toBe(1_500_000);
    expect(() => countOf("ten")).toThrow();
    expect(() => countOf("0")).toThrow();
    expect(readOptions(["point", "--records", "1k,2k", "--peers", "none"])).toMatchObject({
      workloads: ["point"],
      records: [1000, 2000],
      values: [100],
      rounds: 3,
      stores: ["cairn"],
    });
    expect(readOptions(["all"]).workloads).toEqual(["point", "durable", "growth", "larger", "runtimes", "start"]);
    expect(() => readOptions([])).toThrow();
    expect(() => readOptions(["points"])).toThrow('there is no workload "points"');
    expect(() => readOptions(["point", "--speed"])).toThrow();
  });
});

describe("figures, tables and targets", () => {
  const ledger = new Ledger();
  for (const figure of [4e6, 5e6, 4.5e6]) ledger.add({ ...POINT, name: "get", store: "cairn" }, figure);
  for (const figure of [1e6, 1e6, 0.9e6]) ledger.add({ ...POINT, name: "get", store: "lmdb" }, figure);
  for (const figure of [1e6, 1.1e6, 1e6]) ledger.add({ ...POINT, name: "set new", store: "cairn" }, figure);
  for (const figure of [2e6, 2e6, 2e6]) ledger.add({ ...POINT, name: "set new", store: "lmdb" }, figure);

  it("sums up rounds, and turns ratios so that above 1 wins for rates and times alike", () => {
    expect(summaryOf(ledger.find({ name: "get", store: "cairn" })!)).toMatchObject({ median: 4.5e6, low: 4e6 });
    const slow = { ...POINT, unit: "ns", name: "get P50", store: "lmdb", rounds: [900] } as const;
    const fast = { ...slow, store: "cairn", rounds: [300] };
    expect(advantageOf({ ...fast }, { ...slow, rounds: [...slow.rounds] })).toBe(3);
    expect(advantageOf(undefined, fast)).toBeUndefined();
  });

  it("says which targets are met and which are not, and leaves out those without figures", () => {
    expect(targetsOf(ledger)).toEqual([
      { figure: "get, 1,000,000 records", target: "4 times lmdb", reached: "5.00", isMet: true },
      { figure: "set new, 1,000,000 records", target: "6 times lmdb", reached: "0.50", isMet: false },
    ]);
  });

  it("shows losses beside wins, on the terminal and on the page", () => {
    const tables = tablesOf(ledger);
    expect(tables).toHaveLength(1);
    const report: Report = {
      startedAt: "2026-01-01T00:00:00.000Z",
      seconds: 1,
      loadBefore: 0,
      loadAfter: 0,
      machine: {
        cpu: "x<y",
        cpuCount: 2,
        memoryBytes: 2 ** 34,
        platform: "p",
        node: "20",
        v8: "11",
        hugePages: "never",
      },
      options: readOptions(["point"]),
      stores: [{ name: "cairn", version: "0.1.0", settings: { buffered: "b", durable: "d" } }],
      notes: ["a note"],
      targets: targetsOf(ledger),
      figures: ledger.figures,
    };
    const text = textOf(report, tables);
    expect(text).toContain("(5.0x)");
    expect(text).toContain("(0.50x loss)");
    expect(text).toContain("NOT MET");
    const page = pageOf(report, tables);
    expect(page).toContain("x&lt;y");
    expect(page).toContain("0.50x loss");
    expect(page).not.toMatch(/<script|https?:/);
    expect(shownAdvantage(12.34)).toBe("12x");
    expect(shownFigure(1_234_567, "operations/CPU s")).toBe("1.23 M/s");
    expect(shownFigure(351.2, "ns")).toBe("351 ns");
  });
});
