/** One request and its answer, and what the connections of a server have in common. */
import type { RequestInfo } from "../wire.ts";
import type { Body } from "./body.ts";
import type { Head } from "./http-head.ts";
import { LightRequest } from "./request.ts";
import type { Connection } from "./sockets.ts";

/** What a server's connections have in common. */
export interface HttpServing {
  readonly headerMs: number;
  readonly bodyMs: number;
  readonly idleMs: number;
  readonly requestMs: number;
  readonly bodyBytes: number;
  /** Milliseconds of a clock that goes on now and then, and the time as HTTP writes it. */
  readonly clock: { now: number; date: string };
  /** Whether connections are to end after the answer they are at. */
  readonly isClosing: boolean;
  handle(request: Request, info: RequestInfo): Response | Promise<Response>;
  /**
   * Takes a request that wants to become a WebSocket, never within the call. A response refuses it; `undefined`: it is taken, `rest`
   * being what came behind it.
   */
  upgrade(
    request: Request,
    head: Head,
    connection: Connection,
    info: RequestInfo,
    rest: () => Buffer,
  ): Promise<Response | undefined>;
  /** So many more, or with a negative number fewer, bytes of answers wait for clients: false where that is too much. */
  waits(size: number): boolean;
  /** The connection is gone. */
  gone(connection: object): void;
}

/** One request and its answer. */
export class Exchange {
  readonly head: Head;
  readonly body: Body;
  readonly request: LightRequest;
  readonly isUpgrade: boolean;
  isAnswered = false;
  isEnded = false;
  answerBy: number;
  /** When the body must have come on by `BODY_PACE`, and how much there was at the last look. */
  bodyBy = 0;
  bodyMark = 0;
  /** The client waits to be told that its body is wanted. */
  awaitsContinue = false;

  constructor(head: Head, body: Body, isSecure: boolean, answerBy: number) {
    this.head = head;
    this.body = body;
    this.request = new LightRequest(head, body, isSecure);
    this.isUpgrade = head.upgrade === "websocket" && head.method === "GET";
    this.answerBy = answerBy;
  }
}
