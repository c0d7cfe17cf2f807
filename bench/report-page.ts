/**
 * The page of a report: one file without scripts or anything loaded, light or dark as the reader has it.
 *
 * Each row of a table is a small plot of its own, from zero, with the range of the rounds as a line over each bar. Where
 * a figure was measured at several sizes, a plot over the sizes follows.
 */
import { type Figure, isRate, OURS, summaryOf } from "./figures.ts";
import { type Cell, type Report, shownAdvantage, shownFigure, type Table } from "./report.ts";

const BAR_WIDTH = 320;
const BAR_HEIGHT = 14;
const BAR_GAP = 4;
const PLOT_WIDTH = 330;
const PLOT_HEIGHT = 190;
const PLOT_MARGIN = { left: 52, right: 12, top: 12, bottom: 30 };
const COLOR_COUNT = 6;

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2329; --soft: #66707a; --line: #d9dee3; --paper: #fdfdfc; --good: #1a7f4b; --bad: #b3362b;
  --c0: #c2571a; --c1: #2f6f9f; --c2: #6d8f3a; --c3: #8a63a8; --c4: #3d8f8a; --c5: #9a8446; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #98a2ac; --line: #363d44; --paper: #16191c; --good: #57c48c; --bad: #ee8578;
  --c0: #f08a4b; --c1: #6aaede; --c2: #a3c76a; --c3: #bf9ade; --c4: #6cc7c1; --c5: #d0b873; } }
body { margin: 2.5rem auto; max-width: 66rem; padding: 0 1.25rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p, li { color: var(--soft); margin: .2rem 0; } ul { padding-left: 1.2rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .4rem .75rem .4rem 0; vertical-align: top; border-top: 1px solid var(--line); font-weight: normal; }
th { color: var(--soft); border-top: 0; } .scroll { overflow-x: auto; }
.met { color: var(--good); } .missed { color: var(--bad); }
.figures { display: grid; grid-template-columns: auto auto auto; gap: 0 1rem; width: max-content; font-variant-numeric: tabular-nums; line-height: ${BAR_HEIGHT + BAR_GAP}px; font-size: 13px; }
.figures span:nth-child(3n+1) { color: var(--soft); } .legend { display: flex; flex-wrap: wrap; gap: 1rem; }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin-right: .35rem; border-radius: 2px; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; } figcaption { font-size: 13px; }
svg { display: block; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
`;

/** The page's text. */
export function pageOf(report: Report, tables: readonly Table[]): string {
  const { machine } = report;
  const names = [...new Set(tables.flatMap((table) => table.stores))];
  const colorOf = (store: string): string => `var(--c${names.indexOf(store) % COLOR_COUNT})`;
  const memory = (machine.memoryBytes / 2 ** 30).toFixed(0);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Cairn measured: ${escaped(report.options.workloads.join(", "))}</title>
<style>${STYLE}</style>
<h1>Cairn, measured beside what one would use instead</h1>
<p>${escaped(report.startedAt.slice(0, 16).replace("T", " "))} UTC, ${report.seconds} s. ${escaped(machine.cpu)}, ${machine.cpuCount} CPUs, ${memory} GiB; ${escaped(machine.platform)}; Node ${escaped(machine.node)}; transparent huge pages: ${escaped(machine.hugePages)}.
Load ${report.loadBefore.toFixed(2)} before, ${report.loadAfter.toFixed(2)} after.</p>
<p>Medians of ${report.options.rounds} rounds; the line over a bar spans all rounds. "4.0x" says how many times better cairn did than that store in the same rounds. Figures of different runs are not to be compared.</p>
<ul>${report.stores.map((store) => `<li>${escaped(`${store.name} ${store.version}: ${store.settings.buffered}`)}</li>`).join("")}</ul>
${targetsPart(report)}
<p class="legend">${names.map((name) => `<span><i style="background:${colorOf(name)}"></i>${escaped(name)}</span>`).join("")}</p>
${tables.map((table) => tablePart(table, colorOf)).join("\n")}
${sizesPart(report.figures, colorOf)}
${report.notes.length > 0 ? `<h2>Notes</h2><ul>${report.notes.map((note) => `<li>${escaped(note)}</li>`).join("")}</ul>` : ""}
</html>
`;
}

function targetsPart({ targets }: Report): string {
  if (targets.length === 0) return "";
  const rows = targets.map(
    ({ figure, target, reached, isMet }) =>
      `<tr><td>${escaped(figure)}<td>${escaped(target)}<td>${escaped(reached)}<td class="${isMet ? "met" : "missed"}">${isMet ? "met" : "not met"}`,
  );
  return `<h2>Targets</h2><div class="scroll"><table><tr><th>figure<th>target<th>reached<th>${rows.join("")}</table></div>`;
}

function tablePart(table: Table, colorOf: (store: string) => string): string {
  const rows = table.rows.map(({ name, unit, cells }) => {
    const present = cells.filter((cell) => cell !== undefined);
    const direction = isRate(unit) ? "more is better" : "less is better";
    return `<tr><td>${escaped(name)}<p>${direction}</p><td>${bars(present, colorOf)}<td>${figuresOf(present)}`;
  });
  return `<h2>${escaped(table.title)}</h2><div class="scroll"><table>${rows.join("")}</table></div>`;
}

/** A bar a store from zero to its median, with the range of its rounds. */
function bars(cells: readonly Cell[], colorOf: (store: string) => string): string {
  const summaries = cells.map(({ figure }) => summaryOf(figure));
  const most = Math.max(...summaries.map(({ high }) => high), Number.MIN_VALUE);
  const place = (figure: number): string => ((Math.max(figure, 0) / most) * BAR_WIDTH).toFixed(1);
  const parts = cells.map(({ figure }, index) => {
    const { median, low, high } = summaries[index]!;
    const top = index * (BAR_HEIGHT + BAR_GAP) + BAR_GAP / 2;
    const middle = top + BAR_HEIGHT / 2;
    return (
      `<rect x="0" y="${top}" width="${place(median)}" height="${BAR_HEIGHT}" rx="2" fill="${colorOf(figure.store)}"/>` +
      `<path d="M${place(low)} ${middle}H${place(high)}" stroke="var(--ink)" stroke-width="1.5" opacity=".65"/>`
    );
  });
  const height = cells.length * (BAR_HEIGHT + BAR_GAP);
  return `<svg width="${BAR_WIDTH + 2}" height="${height}" role="img">${parts.join("")}</svg>`;
}

function figuresOf(cells: readonly Cell[]): string {
  const spans = cells.map(({ figure, advantage }) => {
    const text = advantage === undefined ? "" : shownAdvantage(advantage);
    const mark = advantage === undefined || advantage >= 1 ? "" : ' class="missed"';
    const { median } = summaryOf(figure);
    return `<span>${escaped(figure.store)}</span><span>${shownFigure(median, figure.unit)}</span><span${mark}>${text}</span>`;
  });
  return `<div class="figures">${spans.join("")}</div>`;
}

/** Rates over the number of records, where there are several, on two logarithmic scales. */
function sizesPart(figures: readonly Figure[], colorOf: (store: string) => string): string {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) {
    if (!isRate(figure.unit)) continue;
    const title = `${figure.name}, values of ${figure.valueSize} bytes`;
    groups.set(title, [...(groups.get(title) ?? []), figure]);
  }
  const plots: string[] = [];
  for (const [title, group] of groups) {
    if (new Set(group.map((figure) => figure.records)).size > 1) plots.push(sizesPlot(title, group, colorOf));
  }
  return plots.length === 0 ? "" : `<h2>Over the number of records</h2><div class="plots">${plots.join("")}</div>`;
}

function sizesPlot(title: string, figures: readonly Figure[], colorOf: (store: string) => string): string {
  const { left, right, top, bottom } = PLOT_MARGIN;
  const counts = [...new Set(figures.map((figure) => figure.records))].sort((a, b) => a - b);
  const medians = figures.map((figure) => summaryOf(figure).median);
  const low = 10 ** Math.floor(Math.log10(Math.min(...medians)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...medians)));
  const across = (count: number): number =>
    left + (share(count, counts[0]!, counts.at(-1)!) || 0) * (PLOT_WIDTH - left - right);
  const down = (figure: number): number => top + (1 - share(figure, low, high)) * (PLOT_HEIGHT - top - bottom);
  const parts: string[] = [];
  for (let tick = low; tick <= high * 1.01; tick *= 10) {
    const y = down(tick).toFixed(1);
    parts.push(`<path d="M${left} ${y}H${PLOT_WIDTH - right}" stroke="var(--line)"/>`);
    parts.push(`<text x="${left - 6}" y="${y}" text-anchor="end" dominant-baseline="middle">${short(tick)}</text>`);
  }
  for (const count of counts) {
    parts.push(`<text x="${across(count)}" y="${PLOT_HEIGHT - 10}" text-anchor="middle">${short(count)}</text>`);
  }
  for (const store of new Set(figures.map((figure) => figure.store))) {
    const points = figures
      .filter((figure) => figure.store === store)
      .sort((a, b) => a.records - b.records)
      .map((figure) => `${across(figure.records).toFixed(1)},${down(summaryOf(figure).median).toFixed(1)}`);
    const width = store === OURS ? 2.5 : 1.5;
    parts.push(
      `<polyline points="${points.join(" ")}" fill="none" stroke="${colorOf(store)}" stroke-width="${width}"/>`,
    );
    for (const point of points) {
      const [x, y] = point.split(",");
      parts.push(`<circle cx="${x}" cy="${y}" r="3" fill="${colorOf(store)}"/>`);
    }
  }
  return `<figure><figcaption>${escaped(title)}, ${escaped(figures[0]!.unit)}</figcaption><svg width="${PLOT_WIDTH}" height="${PLOT_HEIGHT}" role="img">${parts.join("")}</svg></figure>`;
}

/** Where `figure` lies between `low`, 0, and `high`, 1, on a logarithmic scale. */
function share(figure: number, low: number, high: number): number {
  return Math.log(figure / low) / Math.log(high / low);
}

function short(count: number): string {
  if (count >= 1e6) return `${count / 1e6} M`;
  return count >= 1e3 ? `${count / 1e3} k` : String(count);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
