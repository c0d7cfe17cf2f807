/** The store's counters and gauges, live. */
import { element } from "../page/elements.ts";
import { report } from "../page/messages.ts";
import { StatsTables } from "../page/stats-tables.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 500;

/** Sets the panel up. */
export function startStats(session: Session): void {
  const tables = new StatsTables(element("stats-tables", HTMLDivElement));
  const panel = element("panel-stats", HTMLDivElement);
  let isLooking = false;

  session.onChange(() => {
    tables.clear();
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
      if (session.connection === connection) tables.show(stats, performance.now());
    } catch (error) {
      if (session.connection === connection) report(error);
    } finally {
      isLooking = false;
    }
  }
}
