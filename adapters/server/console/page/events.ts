/** Server-sent events out of a body: browsers' `EventSource` sends no headers, and a key belongs in one. */

/** One event. */
export interface ServerEvent {
  /** The id to come back with: the last one that was sent, of this event or before. */
  id: string;
  type: string;
  data: string;
}

/** The events of a body, as they come. Comments and fields that nobody needs are left out; an id alone is kept for the next. */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  told: (id: string) => void,
): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  let event: ServerEvent = { id: "", type: "message", data: "" };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (event.id !== "") told(event.id);
          if (event.data !== "") yield event;
          event = { id: event.id, type: "message", data: "" };
          continue;
        }
        const colon = line.indexOf(":");
        const field = line.slice(0, colon);
        const text = line.slice(colon + 1).replace(/^ /, "");
        if (field === "id") event.id = text;
        else if (field === "event") event.type = text;
        else if (field === "data") event.data += event.data === "" ? text : `\n${text}`;
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
