/** The newest slow operations. */
import { create, element } from "../../../page/elements.ts";
import { lasted } from "../../../page/figures.ts";
import { whileSeen } from "./panels.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 2_000;

interface Slow {
  thresholdMs: number;
  operations: { at: number; operation: string; ms: number; tenant: string; requestId?: string }[];
}

/** Sets the panel up. */
export function startSlow(session: Session): void {
  const table = element("slow-table", HTMLTableElement);
  const note = element("slow-note", HTMLParagraphElement);
  const body = table.tBodies[0] ?? table.createTBody();

  whileSeen(session, "panel-slow", LOOK_MS, {
    ask: (api) => api.json<Slow>("stats/slow"),
    show({ thresholdMs, operations }) {
      note.textContent =
        operations.length === 0
          ? `No operation took ${lasted(thresholdMs)} or more since the server was started.`
          : `The newest operations that took ${lasted(thresholdMs)} or more.`;
      table.hidden = operations.length === 0;
      body.replaceChildren(
        ...operations.map(({ at, operation, ms, tenant, requestId }) => {
          const row = create("tr");
          const when = create("td", new Date(at).toLocaleString("en-GB"));
          const what = create("td", operation);
          what.className = "code";
          row.append(when, what, create("td", lasted(ms)), create("td", tenant || "–"), create("td", requestId ?? "–"));
          return row;
        }),
      );
    },
    clear() {
      table.hidden = true;
      body.replaceChildren();
      note.textContent = "";
    },
  });
}
