/** Changes of the keys with a prefix as they become durable, newest first. */
import { bytesOf, hexOf, labelOf, textOf } from "../../../page/bytes.ts";
import { button, create, element, input } from "../../../page/elements.ts";
import { counted } from "../../../page/figures.ts";
import { report } from "../../../page/messages.ts";
import { reasonOf } from "../../../page/reason.ts";
import { type Api, ApiError, base64Of, bytesOfMember } from "./api.ts";
import { eventsOf } from "./events.ts";
import type { Session } from "./session.ts";

/** Changes that are shown, characters of a value, and what is waited before a broken stream is asked for again. */
const ROWS_MAX = 500;
const SHOWN_LENGTH = 200;
const AGAIN_MS = 2_000;

interface Change {
  type: "set" | "delete";
  key: string;
  keyEncoding?: string;
  value?: string;
  encoding?: string;
  version: number;
}

/** Sets the panel up. */
export function startWatch(session: Session): void {
  const form = element("watch-form", HTMLFormElement);
  const prefix = input("watch-prefix");
  const isHex = input("watch-hex");
  const note = element("watch-note", HTMLOutputElement);
  const table = element("watch-table", HTMLTableElement);
  const body = table.tBodies[0] ?? table.createTBody();
  /** What is watched now. */
  let watching: AbortController | undefined;
  let count = 0;
  /** Rows that wait for the next frame. */
  let fresh: HTMLTableRowElement[] = [];

  function tell(text: string, isBad = false): void {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  }

  function stop(): void {
    watching?.abort();
    watching = undefined;
    button("watch-toggle").textContent = "Watch";
    prefix.readOnly = false;
    isHex.disabled = false;
  }

  function add(change: Change): void {
    count++;
    if (fresh.length === 0) requestAnimationFrame(draw);
    fresh.unshift(rowOf(change));
    if (fresh.length > ROWS_MAX) fresh.length = ROWS_MAX;
  }

  function draw(): void {
    body.prepend(...fresh);
    fresh = [];
    while (body.rows.length > ROWS_MAX) body.deleteRow(-1);
    table.hidden = false;
    if (watching !== undefined) tell(`${counted(count)} ${count === 1 ? "change" : "changes"}`);
  }

  /** Follows the changes until it is stopped; goes on where it was when the connection breaks. */
  async function follow(api: Api, asked: Uint8Array, { signal }: AbortController): Promise<void> {
    let last = "";
    for (;;) {
      try {
        const headers = { accept: "text/event-stream", ...(last === "" ? {} : { "last-event-id": last }) };
        const query = { prefix: base64Of(asked), keyEncoding: "base64" };
        const response = await api.ask("watch", { query, headers, signal });
        if (response.body === null) throw new ApiError(0, "The server sent no stream.");
        if (count === 0) tell("Waiting for changes …");
        for await (const { type, data } of eventsOf(response.body, (id) => {
          last = id;
        })) {
          if (type === "error") throw failureOf(data);
          add(JSON.parse(data) as Change);
        }
      } catch (error) {
        if (signal.aborted || api.ended.aborted) return;
        // Refusals stay what they are; what broke may come back.
        const status = error instanceof ApiError ? error.status : 0;
        if (status >= 400 && status !== 429 && status !== 503) throw error;
        tell(`${reasonOf(error)} Trying again …`, true);
      }
      if (signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { api } = session;
    if (watching !== undefined) {
      stop();
      tell(`Stopped after ${counted(count)} ${count === 1 ? "change" : "changes"}.`);
      return;
    }
    if (api === undefined) return;
    let asked: Uint8Array;
    try {
      asked = bytesOf(prefix.value, isHex.checked ? "hex" : "text");
    } catch (error) {
      tell(reasonOf(error), true);
      return;
    }
    const own = new AbortController();
    watching = own;
    count = 0;
    body.replaceChildren();
    table.hidden = true;
    button("watch-toggle").textContent = "Stop";
    prefix.readOnly = true;
    isHex.disabled = true;
    tell("Connecting …");
    follow(api, asked, own).catch((error: unknown) => {
      if (watching !== own) return;
      stop();
      const isForbidden = error instanceof ApiError && error.status === 403;
      tell(isForbidden ? "This API key may not watch these keys. Type a prefix that it may." : reasonOf(error), true);
      if (!(error instanceof ApiError)) report(error);
    });
  });

  session.onChange(() => {
    stop();
    count = 0;
    fresh = [];
    prefix.value = "";
    body.replaceChildren();
    table.hidden = true;
    tell("");
  });
}

function failureOf(data: string): ApiError {
  const { status, error } = JSON.parse(data) as { status: number; error: string };
  return new ApiError(status, error);
}

function rowOf({ type, key, keyEncoding, value, encoding, version }: Change): HTMLTableRowElement {
  const row = create("tr");
  const what = create("td", type);
  what.className = type === "set" ? "good" : "bad";
  const name = create("td", labelOf(bytesOfMember(key, keyEncoding)));
  const shown = create("td", value === undefined ? "" : previewOf(bytesOfMember(value, encoding)));
  name.className = "code";
  shown.className = "code value";
  row.append(create("td", new Date().toLocaleTimeString("en-GB")), what, name, shown, create("td", String(version)));
  return row;
}

function previewOf(value: Uint8Array): string {
  const text = textOf(value, "many") ?? `0x${hexOf(value.subarray(0, SHOWN_LENGTH / 2)).replaceAll(" ", "")}`;
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}
