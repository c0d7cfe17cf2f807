/** A backup of the whole store as a download. */
import { button, element, input } from "../../../page/elements.ts";
import { sized } from "../../../page/figures.ts";
import { reasonOf } from "../../../page/reason.ts";
import type { Session } from "./session.ts";

/** The browser may begin to read only after this turn. */
const LINK_MS = 60_000;
const TELL_MS = 200;

/** Sets the panel up. */
export function startBackup(session: Session): void {
  const form = element("backup-form", HTMLFormElement);
  const since = input("backup-since");
  const note = element("backup-note", HTMLOutputElement);
  const cancel = button("backup-cancel");
  let loading: AbortController | undefined;

  function tell(text: string, isBad = false): void {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  }

  function settle(own: AbortController): void {
    if (loading !== own) return;
    loading = undefined;
    button("backup-start").disabled = false;
    cancel.hidden = true;
  }

  async function load(own: AbortController): Promise<void> {
    const { api } = session;
    if (api === undefined) return;
    const query = { since: since.value === "" ? undefined : since.value };
    const response = await api.ask("backup", { query, signal: own.signal });
    const version = response.headers.get("x-backup-version") ?? "";
    let size = 0;
    let toldMs = 0;
    const counting = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        size += piece.length;
        controller.enqueue(piece);
        if (performance.now() - toldMs < TELL_MS) return;
        toldMs = performance.now();
        tell(`${sized(size)} …`);
      },
    });
    // The browser keeps what is large of it on disk. A broken stream rejects: half a backup is never handed out.
    const blob = await new Response(response.body?.pipeThrough(counting)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
    link.download = `cairn-${version}${since.value === "" ? "" : `-since-${since.value}`}.backup`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), LINK_MS);
    tell(`Version ${version}, ${sized(size)}, as a download. What changes from here on: since version ${version}.`);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (loading !== undefined) return;
    const own = new AbortController();
    loading = own;
    button("backup-start").disabled = true;
    cancel.hidden = false;
    tell("The backup is being made …");
    load(own)
      .catch((error: unknown) => {
        if (loading === own) tell(own.signal.aborted ? "Given up." : reasonOf(error), !own.signal.aborted);
      })
      .finally(() => settle(own));
  });
  cancel.addEventListener("click", () => loading?.abort());

  session.onChange(() => {
    const own = loading;
    own?.abort();
    if (own !== undefined) settle(own);
    since.value = "";
    tell("");
  });
}
