/** The ledger of a run: every figure of every round, found again by what it measures. */
import { ratioOf, spread } from "./measure.ts";
import { median } from "./median.ts";

/** The store that the others are compared with. */
export const OURS = "cairn";

/** Columns that are no store's: what the machine does by itself, or Cairn under other circumstances. */
export const CONTROLS: readonly string[] = ["raw append", "bare reads", "no store", "cairn, file"];

/** What a figure counts. More is better for rates, less for the others. */
export type Unit =
  | "operations/CPU s"
  | "operations/s"
  | "entries/s"
  | "ns"
  | "ms"
  | "bytes"
  | "misses"
  | "times"
  | "of raw";

const RATES: readonly Unit[] = ["operations/CPU s", "operations/s", "entries/s", "of raw"];

/** What is measured, and on what. */
export interface FigureId {
  workload: string;
  name: string;
  store: string;
  unit: Unit;
  /** Records in the store, and the size of each value in bytes. */
  records: number;
  valueSize: number;
}

/** A figure with all its rounds. */
export interface Figure extends FigureId {
  rounds: number[];
}

/** Whether more is better. */
export function isRate(unit: Unit): boolean {
  return RATES.includes(unit);
}

/** Collects figures in the order in which they come. */
export class Ledger {
  readonly figures: Figure[] = [];

  /** Adds one round. */
  add(id: FigureId, figure: number): void {
    const known = this.figures.find((other) => isSame(other, id));
    if (known === undefined) this.figures.push({ ...id, rounds: [figure] });
    else known.rounds.push(figure);
  }

  /** The first figure that has all properties of `what`. */
  find(what: Partial<FigureId>): Figure | undefined {
    return this.figures.find((figure) => matches(figure, what));
  }

  /** All figures that have all properties of `what`. */
  select(what: Partial<FigureId>): Figure[] {
    return this.figures.filter((figure) => matches(figure, what));
  }
}

/** A figure in short. */
export interface Summary {
  median: number;
  low: number;
  high: number;
  spread: number;
}

/** Median, extremes and spread of a figure's rounds. */
export function summaryOf(figure: Figure): Summary {
  const { rounds } = figure;
  return { median: median(rounds), low: Math.min(...rounds), high: Math.max(...rounds), spread: spread(rounds) };
}

/**
 * How many times better `ours` is than `theirs`: above 1 it wins. `undefined` when the two cannot be compared: other rounds,
 * a control, or a figure that is not above zero.
 */
export function advantageOf(ours: Figure | undefined, theirs: Figure | undefined): number | undefined {
  if (ours === undefined || theirs === undefined || CONTROLS.includes(theirs.store)) return undefined;
  if (ours.rounds.length !== theirs.rounds.length) return undefined;
  if (Math.min(...ours.rounds, ...theirs.rounds) <= 0) return undefined;
  return isRate(ours.unit) ? ratioOf(ours.rounds, theirs.rounds) : ratioOf(theirs.rounds, ours.rounds);
}

function matches(figure: Figure, what: Partial<FigureId>): boolean {
  return Object.entries(what).every(([name, value]) => figure[name as keyof FigureId] === value);
}

function isSame(figure: Figure, id: FigureId): boolean {
  return matches(figure, {
    workload: id.workload,
    name: id.name,
    store: id.store,
    unit: id.unit,
    records: id.records,
    valueSize: id.valueSize,
  });
}
