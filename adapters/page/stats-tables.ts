/** The counters and gauges of a store as tables by group, each with the rate at which it changes. */
import { create } from "./elements.ts";
import { compact, counted, lasted, sized } from "./figures.ts";

/** Which name belongs where; what a later version adds comes under the last heading. */
const GROUPS: [string, RegExp][] = [
  ["Records", /^(key|value|version|durable|snapshot|olderVersion|oldestSnapshot|inPlace)/],
  ["Memory", /^(node|hash|ordered|memory)/],
  ["Log", /^(segment|live|flush|block|append|buffer)/],
  ["Device", /^(device|epoch|recovered|persisted)/],
  ["Cache", /^cache/],
  ["Connection", /^isOwner/],
  ["Other", /^/],
];
/** Gauges: their change is no rate that means anything. */
const GAUGE = /(AgeMs|Height|Longest|epoch)$/;

/** Tables in an element. */
export class StatsTables {
  private readonly box: HTMLElement;
  private cells = new Map<string, HTMLTableCellElement>();
  private before: { ms: number; stats: Readonly<Record<string, unknown>> } | undefined;

  constructor(box: HTMLElement) {
    this.box = box;
  }

  /** Shows nothing, until there are new figures: of another store. */
  clear(): void {
    this.before = undefined;
    this.cells = new Map();
    this.box.replaceChildren();
  }

  /** Shows figures as they were at a time of `performance.now()`. */
  show(stats: Readonly<Record<string, unknown>>, ms: number): void {
    const { before } = this;
    if (Object.keys(stats).some((name) => !this.cells.has(name))) {
      this.cells = layOut(this.box, Object.keys(stats));
    }
    for (const [name, value] of Object.entries(stats)) {
      const cell = this.cells.get(name);
      if (!cell) continue;
      const change = before && rate(name, before.stats[name], value, ms - before.ms);
      cell.textContent = valued(name, value);
      if (change) cell.append(create("small", change));
    }
    this.before = { ms, stats };
  }
}

/** Tables by group: the cell of each name. */
function layOut(box: HTMLElement, names: string[]): Map<string, HTMLTableCellElement> {
  const cells = new Map<string, HTMLTableCellElement>();
  const bodies = GROUPS.map(() => create("tbody"));
  for (const name of names) {
    const row = create("tr");
    const heading = create("th", name);
    heading.scope = "row";
    const cell = create("td");
    cell.dataset["name"] = name;
    row.append(heading, cell);
    bodies[GROUPS.findIndex(([, pattern]) => pattern.test(name))]?.append(row);
    cells.set(name, cell);
  }
  const made = bodies.flatMap((body, index) => {
    if (body.rows.length === 0) return [];
    const table = create("table");
    table.append(create("caption", GROUPS[index]?.[0]), body);
    return [table];
  });
  box.replaceChildren(...made);
  return cells;
}

function valued(name: string, value: unknown): string {
  if (typeof value !== "number") return String(value);
  if (name.endsWith("Bytes")) return sized(value);
  return name.endsWith("Ms") ? lasted(value) : counted(value);
}

function rate(name: string, from: unknown, to: unknown, ms: number): string | undefined {
  if (typeof from !== "number" || typeof to !== "number" || from === to || GAUGE.test(name)) return undefined;
  const change = ((to - from) * 1000) / ms;
  const sign = change > 0 ? "+" : "−";
  const size = Math.abs(change);
  return `${sign}${name.endsWith("Bytes") ? sized(size) : compact(size)}/s`;
}
