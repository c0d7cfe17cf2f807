/**
 * Changes as server-sent events: `GET /watch`.
 *
 * The id of an event is the version to go on from when it was the last one seen, so that a client which comes back with
 * `Last-Event-ID` misses nothing, and sees a batch again whose end it had not. A client that reads slowly is given each key's latest
 * change instead of all: what waits for it is bounded by the store's watch.
 */
import { failureOf, ServerFailure } from "../failure.ts";
import { textOrBytes } from "../operations/exact.ts";
import { reply } from "../reply.ts";
import type { Watching } from "../tenants.ts";
import { digitsOnly } from "./address.ts";
import type { Call } from "./call.ts";
import { recordMembers } from "./members.ts";
import { askedOf } from "./ranges.ts";
import { type PieceSource, streamOf } from "./streams.ts";

export const EVENTS_TYPE = "text/event-stream";
/** What a client waits before it comes back. */
const RETRY_MS = 2000;

const encoder = new TextEncoder();

/** `GET /watch` */
export function getWatch(call: Call): Response {
  const { range, shows } = askedOf(call, "watch");
  if (range.reverse === true || range.keysOnly === true) {
    throw new ServerFailure(400, "What is watched has no reverse and no keysOnly.");
  }
  const { limits } = call.rest.context;
  const { tenant } = call.principal;
  const watching = call.operations.watch(range, sinceOf(call));
  if (!limits.connected(tenant)) {
    ignored(watching.return());
    throw new ServerFailure(429, "The tenant has too many connections open.", 1);
  }
  const source = new Events(watching, shows, call.rest.settings.heartbeatMs, () => limits.disconnected(tenant));
  return reply(200, streamOf(call, source), { "content-type": EVENTS_TYPE, "cache-control": "no-cache" });
}

/** The version to go on from: what the client saw last, or what its address says. */
function sinceOf(call: Call): number | undefined {
  const last = call.header("last-event-id") ?? call.query.text("since");
  if (last === undefined || last === "") return undefined;
  const since = digitsOnly(last) ? Number(last) : Number.NaN;
  if (Number.isSafeInteger(since)) return since;
  throw new ServerFailure(400, "Last-Event-ID must be the id of an event: a version.");
}

type Step = Awaited<ReturnType<Watching["next"]>>;

class Events implements PieceSource {
  readonly isEndless = true;
  private readonly watching: Watching;
  private readonly shows: ((key: string | Uint8Array) => boolean) | undefined;
  private readonly heartbeatMs: number;
  private readonly ended: () => void;
  /** The change that was asked for: under way, or come. */
  private coming: Promise<void> | undefined;
  private step: Step | undefined;
  private failure: { cause: unknown } | undefined;
  private wake: () => void = () => {};
  private hasBegun = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(watching: Watching, shows: Events["shows"], heartbeatMs: number, ended: () => void) {
    this.watching = watching;
    this.shows = shows;
    this.heartbeatMs = heartbeatMs;
    this.ended = ended;
  }

  async next(): Promise<Uint8Array | undefined> {
    const { watching } = this;
    if (!this.hasBegun) {
      this.hasBegun = true;
      // Who is told so is told of what comes from then on.
      if (watching.begun !== undefined) await watching.begun;
      return encoder.encode(`retry: ${RETRY_MS}\n: changes follow\n\n`);
    }
    for (;;) {
      if (this.failure !== undefined) return this.failed(this.failure.cause);
      this.coming ??= this.take();
      await this.change();
      if (this.failure !== undefined) continue;
      const { step } = this;
      // The id of an event without data is remembered, too.
      if (step === undefined) return encoder.encode(`id: ${watching.version}\n: nothing new\n\n`);
      if (step.done === true) return undefined;
      this.step = undefined;
      this.coming = undefined;
      const key = textOrBytes(step.value.key);
      if (this.shows !== undefined && !this.shows(key)) continue;
      const { type, value, version } = step.value;
      const members = recordMembers(key, value === undefined ? undefined : textOrBytes(value));
      const data = `{"type":"${type}",${members},"version":${version}}`;
      return encoder.encode(`id: ${watching.version}\nevent: ${type}\ndata: ${data}\n\n`);
    }
  }

  /** Asks for the next change, and notes it when it comes. */
  private async take(): Promise<void> {
    try {
      this.step = await this.watching.next();
    } catch (cause) {
      this.failure = { cause };
    }
    this.wake();
  }

  /** Resolves when the change has come, or nothing came for long. */
  private change(): Promise<void> {
    if (this.step !== undefined || this.failure !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.timer = setTimeout(resolve, this.heartbeatMs);
      (this.timer as { unref?(): void }).unref?.();
      this.wake = () => {
        clearTimeout(this.timer);
        resolve();
      };
    });
  }

  end(): void {
    clearTimeout(this.timer);
    ignored(this.watching.return());
    this.ended();
  }

  /** Says why it ends: who comes back is answered with a status. */
  private failed(error: unknown): Uint8Array {
    const { status, message } = failureOf(error);
    this.failure = undefined;
    this.step = { done: true, value: undefined };
    return encoder.encode(`event: error\ndata: ${JSON.stringify({ status, error: message })}\n\n`);
  }
}

function ignored(done: Promise<unknown>): void {
  done.catch(() => undefined);
}
