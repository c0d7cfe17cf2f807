/** Panels that ask the server again and again while they are seen. */
import { element } from "../../../page/elements.ts";
import { report } from "../../../page/messages.ts";
import type { Api } from "./api.ts";
import type { Session } from "./session.ts";

/**
 * Asks and shows every `everyMs` while the panel is shown to somebody who has signed in: one question at a time, and at once when the
 * panel comes into view. `clear` when somebody signs in or out.
 */
export function whileSeen<T>(
  session: Session,
  panelId: string,
  everyMs: number,
  { ask, show, clear }: { ask(api: Api): Promise<T>; show(answer: T): void; clear(): void },
): void {
  const panel = element(panelId, HTMLDivElement);
  let isAsking = false;

  async function look(): Promise<void> {
    const { api } = session;
    if (!api || !session.mayAll("admin") || panel.hidden || document.hidden || isAsking) return;
    isAsking = true;
    try {
      const answer = await ask(api);
      if (session.api === api) show(answer);
    } catch (error) {
      if (session.api === api) report(error);
    } finally {
      isAsking = false;
    }
  }

  session.onChange(() => {
    clear();
    void look();
  });
  new MutationObserver(() => void look()).observe(panel, { attributeFilter: ["hidden"] });
  setInterval(() => void look(), everyMs);
}
