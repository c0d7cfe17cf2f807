/** What the server does: operations and their latency by the second, and the store's counters. */
import { element } from "../../../page/elements.ts";
import { compact, counted, lasted, sized } from "../../../page/figures.ts";
import { Plot, type Series } from "../../../page/plot.ts";
import { StatsTables } from "../../../page/stats-tables.ts";
import { whileSeen } from "./panels.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 1_000;
/** How far back the plots go. */
const SECONDS = 120;

interface Second {
  at: number;
  count: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

interface Activity {
  seconds: Second[];
  stats: { tenant: { keyCount: number }; store?: Record<string, unknown> };
}

/** Sets the panel up. */
export function startActivity(session: Session): void {
  const along = (share: number): string => (share === 1 ? "now" : `−${Math.round((1 - share) * SECONDS)} s`);
  const throughput = new Plot(element("throughput-plot", HTMLDivElement), {
    kind: "linear",
    title: "Throughput",
    value: compact,
    legend: (rate) => `${compact(rate)}/s`,
    along,
  });
  const latency = new Plot(element("latency-plot", HTMLDivElement), {
    kind: "logarithmic",
    title: "Latency",
    value: lasted,
    legend: lasted,
    along,
  });
  const tables = new StatsTables(element("stats-tables", HTMLDivElement));
  const figure = (id: string, text: string): void => {
    element(id, HTMLElement).textContent = text;
  };

  whileSeen(session, "panel-activity", LOOK_MS, {
    async ask(api): Promise<Activity> {
      const [{ seconds }, stats] = await Promise.all([
        api.json<{ seconds: Second[] }>("stats/activity"),
        api.json<Activity["stats"]>("stats"),
      ]);
      return { seconds, stats };
    },
    show({ seconds, stats: { tenant, store = {} } }) {
      const line = (name: string, of: (second: Second) => number): Series => ({
        name,
        points: seconds.map((second, index) => ({
          share: 1 - (seconds.length - 1 - index) / (SECONDS - 1),
          rate: of(second),
        })),
      });
      throughput.show([line("operations", ({ count }) => count)]);
      latency.show([
        line("median", ({ p50Ms }) => p50Ms),
        line("99 of 100", ({ p99Ms }) => p99Ms),
        line("longest", ({ maxMs }) => maxMs),
      ]);
      const last = seconds.at(-1);
      figure("activity-rate", last ? `${compact(last.count)}/s` : "–");
      figure("activity-p99", last && last.count > 0 ? lasted(last.p99Ms) : "–");
      figure("activity-keys", counted(tenant.keyCount));
      figure("activity-size", typeof store["liveBytes"] === "number" ? sized(store["liveBytes"]) : "–");
      tables.show(store, performance.now());
    },
    clear() {
      throughput.show([]);
      latency.show([]);
      tables.clear();
    },
  });
}
