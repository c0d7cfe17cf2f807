/** The store's counters and gauges, live. */
import { create, element } from "./elements.ts";
import { compact, counted, lasted, sized } from "./figures.ts";
import { report } from "./messages.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 500;
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

/** Sets the panel up. */
export function startStats(session: Session): void {
  const tables = element("stats-tables", HTMLDivElement);
  const panel = element("panel-stats", HTMLDivElement);
  let cells = new Map<string, HTMLTableCellElement>();
  let before: { ms: number; stats: Record<string, unknown> } | undefined;
  let isLooking = false;

  session.onChange(() => {
    before = undefined;
    cells = new Map();
    tables.replaceChildren();
    void look();
  });
  new MutationObserver(() => void look()).observe(panel, { attributeFilter: ["hidden"] });
  setInterval(() => void look(), LOOK_MS);

  async function look(): Promise<void> {
    const { connection } = session;
    if (!connection || panel.hidden || document.hidden || isLooking) return;
    isLooking = true;
    try {
      const stats: Record<string, unknown> = { ...(await connection.stats()) };
      if (session.connection === connection) show(stats, performance.now());
    } catch (error) {
      if (session.connection === connection) report(error);
    } finally {
      isLooking = false;
    }
  }

  function show(stats: Record<string, unknown>, ms: number): void {
    if (Object.keys(stats).some((name) => !cells.has(name))) {
      cells = layOut(tables, Object.keys(stats));
    }
    for (const [name, value] of Object.entries(stats)) {
      const cell = cells.get(name);
      if (!cell) continue;
      const text = valued(name, value);
      const change = before && rate(name, before.stats[name], value, ms - before.ms);
      cell.textContent = text;
      if (change) cell.append(create("small", change));
    }
    before = { ms, stats };
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
