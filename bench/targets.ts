/** The figures that a release has to reach, beside what this run reached. */
import { advantageOf, type FigureId, type Ledger, OURS, summaryOf } from "./figures.ts";
import { shownFigure } from "./report.ts";

/** One of them. */
export interface Target {
  figure: string;
  target: string;
  reached: string;
  isMet: boolean;
}

const POINT = { workload: "point", records: 1_000_000, valueSize: 100 };
const SINGLE = { workload: "point, single calls", valueSize: 100 };
const DURABLE = { workload: "durable" };

/** Those that the run has figures for. */
export function targetsOf(ledger: Ledger): Target[] {
  return [
    ...atLeast(ledger, { ...POINT, name: "get" }, "lmdb", 4),
    ...atLeast(ledger, { ...POINT, name: "set new" }, "lmdb", 6),
    ...atLeast(ledger, { ...POINT, name: "set over" }, "lmdb", 8),
    ...atLeast(ledger, { ...POINT, name: "scan, entries" }, "lmdb", 1.7),
    ...atMost(ledger, { ...SINGLE, records: 100_000, name: "get P50" }, 250),
    ...atMost(ledger, { ...SINGLE, records: 1_000_000, name: "get P50 in dependent misses" }, 2.7),
    ...atMost(ledger, { ...SINGLE, records: 100_000, name: "set new P50" }, 460),
    ...atMost(ledger, { ...SINGLE, records: 100_000, name: "set over P50" }, 460),
    ...atMost(ledger, { ...SINGLE, records: 100_000, name: "delete P50" }, 380),
    ...atMost(ledger, { workload: "memory", name: "beside key and value, from stats()" }, 80),
    ...atLeast(ledger, { ...DURABLE, name: "put, 1,000 at a time" }, "lmdb", 5),
    ...atLeast(ledger, { ...DURABLE, name: "put, 1,000 at a time" }, "lmdb-strict", 5),
    ...rawShare(ledger, 0.8),
    ...atMost(ledger, { workload: "growth", name: "longest set, own time" }, 1e6),
  ];
}

function atLeast(ledger: Ledger, what: Partial<FigureId>, peer: string, times: number): Target[] {
  const theirs = ledger.find({ ...what, store: peer });
  const advantage = advantageOf(ledger.find({ ...what, store: OURS }), theirs);
  if (advantage === undefined) return [];
  return [
    {
      figure: `${what.name}${what.records === undefined ? "" : `, ${what.records.toLocaleString("en")} records`}`,
      target: `${times} times ${peer}`,
      reached: advantage.toFixed(2),
      isMet: advantage >= times,
    },
  ];
}

function atMost(ledger: Ledger, what: Partial<FigureId>, limit: number): Target[] {
  const figure = ledger.find({ ...what, store: OURS });
  if (figure === undefined) return [];
  const { median } = summaryOf(figure);
  return [
    {
      figure: `${figure.name}, ${figure.records.toLocaleString("en")} records`,
      target: `at most ${shownFigure(limit, figure.unit)}`,
      reached: shownFigure(median, figure.unit),
      isMet: median <= limit,
    },
  ];
}

function rawShare(ledger: Ledger, share: number): Target[] {
  const figure = ledger.find({ ...DURABLE, name: "one writer, share of raw append and sync", store: OURS });
  if (figure === undefined) return [];
  const { median } = summaryOf(figure);
  return [
    {
      figure: "put, one writer",
      target: `${share} of a raw append and fdatasync`,
      reached: median.toFixed(3),
      isMet: median >= share,
    },
  ];
}
