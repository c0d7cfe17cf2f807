/** The figures that a release has to reach, beside what this run reached. */
import { advantageOf, type Figure, type FigureId, type Ledger, OURS, summaryOf } from "./figures.ts";
import { ratioOf } from "./measure.ts";
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
const LONG = { workload: "long, uniform" };
const LARGER = { workload: "larger" };
const START = { workload: "start" };
const DURABLE = { workload: "durable" };
const RUNTIMES = { workload: "runtimes" };
const TRANSACTIONS = { workload: "transactions" };
const PAGE = { workload: "page", name: "100,000 sets and flush" };
const WIRE = { workload: "wire" };
const RUNTIME_LIMITS: readonly [string, number][] = [
  ["bun", 1.3],
  ["deno", 1.3],
  ["chromium", 1.5],
];

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
    ...rawShare(ledger, { ...DURABLE, name: "one writer, share of raw append and sync" }, 0.8),
    ...rawShare(ledger, { ...LARGER, name: "get, O_DIRECT, share of bare reads" }, 0.85),
    ...rawShare(ledger, { ...LARGER, name: "get, page cache warm, share of bare reads" }, 0.5),
    ...rawShare(ledger, { ...LARGER, name: "getAsync, 32 in flight, O_DIRECT, share of bare reads" }, 0.9),
    ...rawShare(ledger, { ...LARGER, name: "getAsync, 32 in flight, page cache warm, share of bare reads" }, 0.9),
    ...rateAtLeast(ledger, { ...LARGER, name: "scan, for of, page cache warm" }, 200_000),
    ...rawShare(ledger, { workload: "backup", name: "backup, share of a copy" }, 0.5),
    ...shares(ledger, { ...WIRE, name: "GET, share of the runtime's own server" }, 0.7),
    ...shares(ledger, { ...WIRE, name: "GET, share of this listener" }, 0.85),
    ...shares(ledger, { ...WIRE, name: "POST, durable, share of the runtime's own server" }, 0.5),
    ...shares(ledger, { ...WIRE, name: "WebSocket get, times GET" }, 3),
    ...rates(ledger, { ...WIRE, name: "RIOC get, batches of 16, served" }, 400_000),
    ...shares(ledger, { ...WIRE, name: "RIOC get, single, one connection, share of an echo" }, 0.9),
    ...shares(ledger, { ...WIRE, name: "RIOC get, single, share of an echo" }, 0.9),
    ...rateAtLeast(ledger, { workload: "writes", name: "increment" }, 2_000_000),
    ...rateAtLeast(ledger, { ...POINT, name: "scan, entries" }, 3_000_000),
    ...rateAtLeast(ledger, { ...POINT, name: "scan, keys" }, 6_000_000),
    ...rateAtLeast(ledger, { ...TRANSACTIONS, name: "transaction, 2 reads and 2 writes" }, 200_000),
    ...rateAtLeast(ledger, { ...TRANSACTIONS, name: "batches of 1,000, records" }, 1_500_000),
    ...atMost(ledger, { ...TRANSACTIONS, name: "first entry of an iterator" }, 3000),
    ...atMost(ledger, { ...LONG, name: "write amplification" }, 2.3),
    ...atMost(ledger, { ...LONG, name: "space, used segments by live records" }, 1.45),
    ...rateAtLeast(ledger, { ...LONG, name: "slowest second by the median" }, 0.5),
    ...atMost(ledger, { ...LONG, name: "set P99.9999, own time" }, 2e6),
    ...atMost(ledger, { ...LONG, name: "longest step of compaction, own time" }, 1e6),
    ...atMost(ledger, { ...LONG, name: "file after close by live records" }, 2.1),
    ...atMost(ledger, { workload: "growth", name: "longest set, own time" }, 1e6),
    ...atMost(ledger, { ...START, records: 1_000_000, name: "open after close" }, 200),
    ...atMost(ledger, { ...START, records: 10_000_000, name: "open after close" }, 2000),
    ...atMost(ledger, { ...START, name: "more after a kill, for 256 MiB of log" }, 1000),
    ...atMost(ledger, { ...START, records: 1_000_000, name: "checkpoint, beside each key" }, 24),
    ...RUNTIME_LIMITS.flatMap(([runtime, times]) =>
      ["get", "set new", "set over"].flatMap((name) => atMostOurs(ledger, name, runtime, times)),
    ),
    ...["bare read", "bare read, new buffer"].flatMap((bare) =>
      ledger.select({ ...RUNTIMES, name: `cold get over ${bare}` }).map((figure) => coldShare(figure, bare)),
    ),
    ...atLeast(ledger, PAGE, "IndexedDB", 10),
    ...atLeast(ledger, PAGE, "SQLite", 3),
    ...atLeast(ledger, { ...PAGE, name: `${PAGE.name}, in a worker` }, "SQLite", 3),
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

/** A runtime's figure beside Node's. */
function atMostOurs(ledger: Ledger, name: string, runtime: string, times: number): Target[] {
  const ours = ledger.find({ ...RUNTIMES, name, store: OURS });
  const theirs = ledger.find({ ...RUNTIMES, name, store: runtime });
  if (ours === undefined || theirs === undefined) return [];
  const ratio = ratioOf(theirs.rounds, ours.rounds);
  return [
    {
      figure: `${name}, ${runtime}`,
      target: `at most ${times} times Node's`,
      reached: ratio.toFixed(2),
      isMet: ratio <= times,
    },
  ];
}

function coldShare(figure: Figure, bare: string): Target {
  const { median } = summaryOf(figure);
  return {
    figure: `cold get of 4 KiB, ${figure.store === OURS ? "node" : figure.store}`,
    target: `at most 1.3 times a ${bare} and 0.8 µs`,
    reached: median.toFixed(2),
    isMet: median <= 1.3,
  };
}

function rateAtLeast(ledger: Ledger, what: Partial<FigureId>, least: number): Target[] {
  const figure = ledger.find({ ...what, store: OURS });
  if (figure === undefined) return [];
  const { median } = summaryOf(figure);
  return [
    {
      figure: `${figure.name}, ${figure.records.toLocaleString("en")} records`,
      target: `at least ${shownFigure(least, figure.unit)}`,
      reached: shownFigure(median, figure.unit),
      isMet: median >= least,
    },
  ];
}

/** The same rate, on every runtime that was measured. */
function rates(ledger: Ledger, what: Partial<FigureId>, least: number): Target[] {
  return ledger.select({ ...what, unit: "operations/CPU s" }).map((figure) => {
    const { median } = summaryOf(figure);
    return {
      figure: `${figure.name}, ${figure.store === OURS ? "Node" : figure.store}`,
      target: `at least ${shownFigure(least, figure.unit)}`,
      reached: shownFigure(median, figure.unit),
      isMet: median >= least,
    };
  });
}

/** The same share, on every runtime that was measured. */
function shares(ledger: Ledger, what: Partial<FigureId>, least: number): Target[] {
  return ledger.select({ ...what, unit: "of raw" }).map((figure) => {
    const { median } = summaryOf(figure);
    const runtime = figure.store === OURS ? "Node" : figure.store;
    return {
      figure: `${figure.name}, ${runtime}`,
      target: `at least ${least}`,
      reached: median.toFixed(3),
      isMet: median >= least,
    };
  });
}

function rawShare(ledger: Ledger, what: Partial<FigureId>, share: number): Target[] {
  const figure = ledger.find({ ...what, store: OURS });
  if (figure === undefined) return [];
  const { median } = summaryOf(figure);
  return [
    {
      figure: figure.name,
      target: `${share} of the raw cost`,
      reached: median.toFixed(3),
      isMet: median >= share,
    },
  ];
}
