/** The worker that a page starts: for `connect`, and to restore. */

/** Starts it. What it is for is said by the first message that it is sent. */
export function startPageWorker(): Worker {
  return new Worker(new URL("./browser-worker.js", import.meta.url), { type: "module" });
}

/** Why it could not be run, of the event `error`. */
export function reasonOfWorker(event: ErrorEvent): string {
  return event.message === undefined || event.message === "" ? "its script did not load" : event.message;
}
