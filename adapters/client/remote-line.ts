/**
 * The way to a server: a WebSocket at a time, a new one when it is lost.
 *
 * 1. A connection counts once the server has said its first frame; until then, and after it is lost, calls wait.
 * 2. Attempts come after pauses that double, each shortened at random by up to a half, so that many clients of a server that comes back do
 *    not come at once.
 * 3. What cannot get better by waiting ends the line: a key that does not count, a server that speaks otherwise, bad frames.
 */
import { CborWriter } from "../../store/connection/cbor.ts";
import type { Line } from "../../store/connection/connection.ts";
import { Conversation } from "../../store/connection/conversation.ts";
import { framesOf, pingFrame, readServerFrame, type ServerFrame, type Welcome } from "../../store/connection/frames.ts";
import { type CallsMessage, toWireError } from "../../store/connection/wire.ts";
import { CairnError } from "../../store/error.ts";
import { type ClientSocket, type ClientTls, type Credential, openSocket, type SocketConstructor } from "./sockets.ts";

/** What a line is doing. `"lost"` is followed by `"connecting"`; `"closed"` is the last. */
export type ConnectionState = "connecting" | "open" | "lost" | "closed";

/** What a line needs to know. Times in milliseconds. */
export interface LineOptions {
  url: URL;
  /** Asked before each attempt. */
  credential(): Credential | undefined | Promise<Credential | undefined>;
  /** Whether `credential` may give another one later. */
  isRenewed: boolean;
  /** How long the first connection may take. */
  timeoutMs: number;
  /** How long calls wait for a connection. */
  patienceMs: number;
  /** The first pause between attempts, and the longest. */
  pauseMs: number;
  pauseMsMax: number;
  onState: ((state: ConnectionState, reason?: CairnError) => void) | undefined;
  WebSocket: SocketConstructor | undefined;
  tls: ClientTls | undefined;
}

/** How often a server is asked whether it is there, at least. */
const PING_MS = 20_000;
/** How long a server may take from the attempt to its first frame. */
const HANDSHAKE_MS = 10_000;
/** A connection that has lasted so long counts as a good one: pauses begin anew. */
const GOOD_MS = 5000;
/** Ends of a connection that the next one would meet as well. */
const FATAL: Readonly<Record<number, string>> = {
  1002: "the server does not understand this client",
  1003: "the server does not understand this client",
  1007: "the server does not understand this client",
  1009: "a message was larger than the server takes",
};
const REVOKED = 1008;

/** See above. */
export class RemoteLine implements Line {
  readonly conversation = new Conversation("the connection to the server was lost");
  /** Resolves when the server is reached for the first time. */
  readonly ready: Promise<void>;
  private readonly options: LineOptions;
  private readonly writer = new CborWriter();
  private socket: ClientSocket | undefined;
  private welcome: Welcome | undefined;
  /** Attempts since the last good connection. */
  private attempts = 0;
  /** Times in a row that the server did not know the credential. */
  private refusals = 0;
  private openedAt = 0;
  /** Whether nothing was heard since the last ping. */
  private isPinged = false;
  private lostAt = performance.now();
  private lastReason = "no answer";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pinging: ReturnType<typeof setInterval> | undefined;
  private readonly deadline: ReturnType<typeof setTimeout>;
  private closing: Promise<void> | undefined;
  private isOver = false;
  private reached!: () => void;
  private failed!: (error: CairnError) => void;

  constructor(options: LineOptions) {
    this.options = options;
    this.ready = new Promise((resolve, reject) => {
      this.reached = resolve;
      this.failed = reject;
    });
    this.deadline = setTimeout(() => this.end(this.unreachable("connect")), options.timeoutMs);
    void this.attempt();
  }

  close(reason: CairnError): Promise<void> {
    this.closing ??= this.leave(reason);
    return this.closing;
  }

  private async leave(reason: CairnError): Promise<void> {
    const { conversation } = this;
    if (this.isOver) return;
    // Where nothing is on its way, nobody has to be reached.
    const isDone = this.welcome === undefined && !conversation.isOwed;
    const flushed = isDone ? undefined : conversation.ask("flush", []);
    conversation.refuse(reason);
    try {
      await flushed;
    } finally {
      this.socket?.close();
      this.socket = undefined;
      this.end(reason);
    }
  }

  private async attempt(): Promise<void> {
    const { options } = this;
    this.tellState("connecting");
    try {
      const credential = await options.credential();
      if (this.isOver) return;
      const guard = { isCurrent: true };
      const socket = await openSocket(options.url, credential, options.WebSocket, options.tls, {
        message: (frame) => {
          if (guard.isCurrent) this.hear(frame);
        },
        closed: (code, reason, status) => {
          if (!guard.isCurrent) return;
          guard.isCurrent = false;
          this.lost(code, reason, status);
        },
      });
      if (this.isOver) {
        guard.isCurrent = false;
        socket.drop();
        return;
      }
      this.socket = socket;
      this.timer = setTimeout(() => {
        socket.drop();
        this.lastReason = "the server did not answer in time";
      }, HANDSHAKE_MS);
    } catch (error) {
      this.lastReason = error instanceof Error ? error.message : String(error);
      this.retry();
    }
  }

  private hear(bytes: Uint8Array): void {
    this.isPinged = false;
    let frame: ServerFrame;
    try {
      frame = readServerFrame(bytes, this.welcome?.owner ?? "");
    } catch (error) {
      this.fatal(new CairnError("UNSUPPORTED", "connect", `connect: ${FATAL[1002]}: ${(error as Error).message}.`));
      return;
    }
    const { conversation } = this;
    switch (frame.type) {
      case "welcome":
        this.begin(frame.welcome);
        return;
      case "answers":
        conversation.answer(frame);
        return;
      case "durable":
        conversation.durable(frame.durableVersion);
        return;
      case "watched":
        conversation.advance(frame.watches);
        return;
      case "closing":
        conversation.leave(frame.lastId);
        return;
      case "progress":
        conversation.progress(frame);
        return;
    }
  }

  private begin(welcome: Welcome): void {
    const { owner, life, recoveredVersion, windowCalls, windowSize, idleMs } = welcome;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    this.welcome = welcome;
    this.refusals = 0;
    this.openedAt = performance.now();
    this.isPinged = false;
    this.pinging = setInterval(() => this.ping(), Math.min(PING_MS, idleMs / 3));
    const send = (message: CallsMessage): void => this.send(message);
    const window = { calls: windowCalls, size: windowSize };
    this.conversation.attach({ type: "owner", owner, life, recoveredVersion }, send, window);
    this.tellState("open");
    this.reached();
  }

  private send(message: CallsMessage): void {
    const { socket, welcome } = this;
    if (socket === undefined || welcome === undefined) return;
    const { frames, refused } = framesOf(message, welcome.frameSizeMax, this.writer);
    for (const frame of frames) socket.send(frame);
    if (refused.length === 0) return;
    const failures = refused.map(({ id, call, cause }): [number, ReturnType<typeof toWireError>] => {
      const code = cause instanceof RangeError ? "BATCH_SIZE" : "INVALID_ARGUMENT";
      const text = `${call}: ${(cause as Error).message}. Nothing was sent.`;
      return [id, toWireError(new CairnError(code, call, text), call)];
    });
    const { owner } = welcome;
    queueMicrotask(() => {
      this.conversation.answer({ type: "answers", owner, ids: [], values: [], failures, durableVersion: 0 });
    });
  }

  /** Says that it is there; a server that has not answered the last time is gone. A page in the background comes here once a minute. */
  private ping(): void {
    if (this.isPinged) {
      this.socket?.drop();
      return;
    }
    this.isPinged = true;
    this.socket?.send(pingFrame());
  }

  private lost(code: number, reason: string, status: number | undefined): void {
    const wasOpen = this.welcome !== undefined;
    clearTimeout(this.timer);
    clearInterval(this.pinging);
    this.socket = undefined;
    this.welcome = undefined;
    if (this.isOver) return;
    if (wasOpen) this.lostAt = performance.now();
    if (wasOpen && this.lostAt - this.openedAt > GOOD_MS) this.attempts = 0;
    this.conversation.lose();
    if (status === 401 || status === 403) {
      this.refusals++;
      // A token that has expired is another one the next time.
      if (!this.options.isRenewed || this.refusals > 1) {
        this.fatal(new CairnError("FORBIDDEN", "connect", "connect: the server does not know this key or token."));
        return;
      }
    }
    if (code === REVOKED && !this.options.isRenewed) {
      this.fatal(new CairnError("FORBIDDEN", "connect", `connect: the server has ended the connection: ${reason}.`));
      return;
    }
    const why = FATAL[code];
    if (why !== undefined) {
      this.fatal(new CairnError("UNSUPPORTED", "connect", `connect: ${why}: ${reason || code}.`));
      return;
    }
    if (status !== undefined) this.lastReason = `the server answered with the status ${status}`;
    else if (wasOpen || reason !== "") this.lastReason = `the connection ended with ${code} ${reason}`.trimEnd();
    if (wasOpen) this.tellState("lost");
    this.retry();
  }

  private retry(): void {
    if (this.isOver) return;
    const { pauseMs, pauseMsMax, patienceMs } = this.options;
    if (performance.now() - this.lostAt >= patienceMs) this.conversation.giveUpWaiting(this.unreachable("call"));
    const pause = Math.min(pauseMsMax, pauseMs * 2 ** Math.min(this.attempts++, 30));
    this.timer = setTimeout(() => void this.attempt(), pause * (0.5 + Math.random() / 2));
  }

  private unreachable(operation: string): CairnError {
    const { host } = this.options.url;
    const message = `${operation}: no connection to ${host} came about: ${this.lastReason}. See whether the server runs, and try again.`;
    return new CairnError("UNREACHABLE", operation, message);
  }

  private tellState(state: ConnectionState, reason?: CairnError): void {
    try {
      this.options.onState?.(state, reason);
    } catch {
      // A listener's failure is not the connection's.
    }
  }

  private fatal(error: CairnError): void {
    this.socket?.drop();
    this.end(error);
  }

  private end(error: CairnError): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    clearInterval(this.pinging);
    this.socket?.drop();
    this.socket = undefined;
    this.failed(error);
    this.conversation.end(error);
    this.tellState("closed", error);
  }
}
