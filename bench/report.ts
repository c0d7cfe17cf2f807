/** What a run leaves behind: tables on the terminal, a JSON file with every round, and a page with plots. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { advantageOf, type Figure, type Ledger, OURS, summaryOf, type Unit } from "./figures.ts";
import type { Machine } from "./machine.ts";
import type { Options } from "./options.ts";
import { pageOf } from "./report-page.ts";
import type { Target } from "./targets.ts";

/** A store as the report names it. */
export interface StoreLine {
  name: string;
  version: string;
  settings: { buffered: string; durable: string };
}

/** Everything about a run. */
export interface Report {
  startedAt: string;
  seconds: number;
  loadBefore: number;
  loadAfter: number;
  machine: Machine;
  options: Options;
  stores: StoreLine[];
  notes: string[];
  targets: Target[];
  figures: Figure[];
}

/** A table of one workload at one size: a row a figure, a column a store. */
export interface Table {
  title: string;
  stores: string[];
  rows: { name: string; unit: Unit; cells: (Cell | undefined)[] }[];
}

/** A store's figure, and how many times better Cairn's is. */
export interface Cell {
  figure: Figure;
  advantage: number | undefined;
}

/** Tables of all figures, in the order in which they were measured. */
export function tablesOf(ledger: Ledger): Table[] {
  const tables = new Map<string, Table>();
  for (const figure of ledger.figures) {
    const title = titleOf(figure);
    let table = tables.get(title);
    if (table === undefined) {
      table = { title, stores: [], rows: [] };
      tables.set(title, table);
    }
    if (!table.stores.includes(figure.store)) table.stores.push(figure.store);
    if (!table.rows.some((row) => row.name === figure.name)) {
      table.rows.push({ name: figure.name, unit: figure.unit, cells: [] });
    }
  }
  for (const [title, table] of tables) {
    for (const row of table.rows) {
      const all = ledger.select({ name: row.name }).filter((figure) => titleOf(figure) === title);
      const ours = all.find((figure) => figure.store === OURS);
      row.cells = table.stores.map((store) => {
        const figure = all.find((other) => other.store === store);
        return figure && { figure, advantage: figure === ours ? undefined : advantageOf(ours, figure) };
      });
    }
  }
  return [...tables.values()];
}

function titleOf({ workload, records, valueSize }: Figure): string {
  return `${workload}: ${records.toLocaleString("en")} records, values of ${valueSize.toLocaleString("en")} bytes`;
}

/** A figure as it is shown: three digits and a unit that fits. */
export function shownFigure(figure: number, unit: Unit): string {
  switch (unit) {
    case "operations/CPU s":
    case "operations/s":
    case "entries/s":
      if (figure >= 1e6) return `${(figure / 1e6).toPrecision(3)} M/s`;
      if (figure >= 1e4) return `${(figure / 1e3).toPrecision(3)} k/s`;
      return `${figure.toFixed(0)} /s`;
    case "ns":
      if (figure >= 1e9) return `${(figure / 1e9).toPrecision(3)} s`;
      if (figure >= 1e6) return `${(figure / 1e6).toPrecision(3)} ms`;
      return figure >= 1e4 ? `${(figure / 1e3).toPrecision(3)} µs` : `${figure.toFixed(0)} ns`;
    case "ms":
      return `${figure.toPrecision(3)} ms`;
    case "bytes":
      return `${figure.toFixed(1)} B`;
    case "misses":
      return `${figure.toFixed(2)} misses`;
    case "times":
      return `${figure.toFixed(2)} times`;
    case "of raw":
      return `${figure.toFixed(2)} of raw`;
  }
}

/** An advantage as it is shown; a loss is marked. */
export function shownAdvantage(advantage: number): string {
  const figure = advantage >= 10 ? advantage.toFixed(0) : advantage.toFixed(advantage < 1 ? 2 : 1);
  return advantage < 1 ? `${figure}x loss` : `${figure}x`;
}

/** All tables and targets as lines for a terminal. */
export function textOf(report: Report, tables: readonly Table[]): string {
  const lines: string[] = [];
  const { machine } = report;
  lines.push(
    `${machine.cpu}, ${machine.cpuCount} CPUs, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB; ${machine.platform}; Node ${machine.node}`,
    `load ${report.loadBefore.toFixed(2)} before, ${report.loadAfter.toFixed(2)} after; ${report.options.rounds} rounds; ` +
      "median ±half the spread; in brackets: how many times better cairn is",
    "",
    ...report.stores.map((store) => `${store.name} ${store.version}: ${store.settings.buffered}`),
  );
  for (const table of tables) {
    const rows = table.rows.map((row) => [row.name, ...row.cells.map(cellText)]);
    lines.push("", table.title, ...columns([["", ...table.stores], ...rows]));
  }
  if (report.notes.length > 0) lines.push("", ...report.notes);
  if (report.targets.length > 0) {
    const rows = report.targets.map((target) => [
      target.figure,
      target.target,
      target.reached,
      target.isMet ? "met" : "NOT MET",
    ]);
    lines.push("", "targets", ...columns([["figure", "target", "reached", ""], ...rows]));
  }
  return lines.join("\n");
}

function cellText(cell: Cell | undefined): string {
  if (cell === undefined) return "-";
  const { median, spread } = summaryOf(cell.figure);
  const range = cell.figure.rounds.length > 1 ? ` ±${(spread * 50).toFixed(0)}%` : "";
  const text = `${shownFigure(median, cell.figure.unit)}${range}`;
  return cell.advantage === undefined ? text : `${text} (${shownAdvantage(cell.advantage)})`;
}

function columns(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}

/** Writes the JSON file and the page: their paths. */
export function writeReport(report: Report, tables: readonly Table[]): string[] {
  mkdirSync(report.options.out, { recursive: true });
  const stem = `${report.options.workloads.join("-")}-${report.startedAt.replaceAll(":", "").slice(0, 15)}`;
  const json = join(report.options.out, `${stem}.json`);
  const html = join(report.options.out, `${stem}.html`);
  writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(html, pageOf(report, tables));
  return [json, html];
}
