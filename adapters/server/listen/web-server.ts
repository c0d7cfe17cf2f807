/**
 * HTTP and WebSocket on one port: every connection of a listener, its clock, its limits, its end.
 *
 * 1. A connection over the limit is told so, with 503, and ends; it costs nothing else.
 * 2. One timer looks at all connections now and then: deadlines are late by at most twice `CHECK_MS`, and cost a request nothing.
 */
import { createHash } from "node:crypto";
import { reply } from "../reply.ts";
import type { RequestInfo, UpgradeAccepted } from "../wire.ts";
import type { HttpServing } from "./exchange.ts";
import { HttpConnection } from "./http-connection.ts";
import type { Head } from "./http-head.ts";
import {
  type Connection,
  type ConnectionHandler,
  listenOnSockets,
  type SocketListener,
  type SocketTls,
} from "./sockets.ts";
import { WebSocketConnection, type WebSocketServing } from "./web-socket.ts";

const CHECK_MS = 250;
const KEY_OF_PROTOCOL = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TOO_MANY =
  "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-type: application/json\r\n" +
  'content-length: 39\r\n\r\n{"error":"There are too many clients."}';

export interface WebServerOptions {
  host: string;
  port: number;
  tls?: SocketTls | undefined;
  /** See `SocketOptions`. */
  reusePort?: boolean | undefined;
  timeouts: { headerMs: number; bodyMs: number; idleMs: number; requestMs: number };
  limits: { connections: number; bodyBytes: number; frameBytes: number; sendQueueBytes: number; bytesInFlight: number };
  handle(request: Request, info: RequestInfo): Response | Promise<Response>;
  /** Decides about an upgrade. */
  upgrade(request: Request, info: RequestInfo): Response | UpgradeAccepted | Promise<Response | UpgradeAccepted>;
  /** The upgraded connection of `accepted` is gone. */
  left(accepted: UpgradeAccepted): void;
  /** Bytes of WebSocket messages that are not whole yet: false where that is too much for the tenant. */
  keeps(tenant: string, size: number): boolean;
}

export interface WebServer {
  readonly host: string;
  readonly port: number;
  /** How many connections there are. */
  readonly connections: { http: number; webSocket: number };
  /** How many connections were taken so far, and their bytes. */
  readonly traffic: { opened: number; received: number; sent: number };
  /**
   * Stops accepting, ends what is idle, lets requests in flight be answered, closes WebSockets with 1001, and after `graceMs` ends
   * everything. Resolves when no connection is left.
   */
  close(graceMs: number): Promise<void>;
}

/** Listens. Rejects with the system's error where the address is taken or may not be used. */
export async function listenOnWeb(options: WebServerOptions): Promise<WebServer> {
  const { timeouts, limits } = options;
  const clock = { now: performance.now(), date: new Date().toUTCString() };
  const requests = new Set<HttpConnection>();
  const sockets = new Map<WebSocketConnection, UpgradeAccepted>();
  let datedAt = clock.now;
  let isClosing = false;
  let waitingBytes = 0;
  let opened = 0;
  let onEmpty: (() => void) | undefined;

  const left = (): void => {
    if (requests.size === 0 && sockets.size === 0) onEmpty?.();
  };

  const socketServing: WebSocketServing = {
    ...limits,
    idleMs: timeouts.idleMs,
    clock,
    keeps: (tenant, size) => options.keeps(tenant, size),
    gone(socket) {
      const accepted = sockets.get(socket);
      sockets.delete(socket);
      if (accepted !== undefined) options.left(accepted);
      left();
    },
  };

  const serving: HttpServing = {
    // The clock is behind by as much: none is early.
    headerMs: timeouts.headerMs + CHECK_MS,
    bodyMs: timeouts.bodyMs + CHECK_MS,
    idleMs: timeouts.idleMs + CHECK_MS,
    requestMs: timeouts.requestMs + CHECK_MS,
    bodyBytes: limits.bodyBytes,
    clock,
    get isClosing() {
      return isClosing;
    },
    handle: options.handle,
    waits(size) {
      waitingBytes += size;
      return size < 0 || waitingBytes <= limits.bytesInFlight;
    },
    async upgrade(request, head, connection, info, rest) {
      const refused = refusedUpgrade(head);
      if (refused !== undefined) return refused;
      // Never within the call: what came behind the request is with the connection by then.
      await null;
      const accepted = await options.upgrade(request, info);
      if (accepted instanceof Response) return accepted;
      if (isClosing) {
        options.left(accepted);
        return reply(503, "The server is closing.", { "content-type": "text/plain", "retry-after": "1" });
      }
      if (request.signal.aborted) {
        options.left(accepted);
        return undefined;
      }
      const former = connection.handler as HttpConnection;
      const socket = new WebSocketConnection(connection, socketServing, accepted);
      sockets.set(socket, accepted);
      requests.delete(former);
      connection.handler = socket;
      connection.write(switchingTo(head, accepted.protocol));
      socket.begin(accepted, rest());
      connection.resume();
      return undefined;
    },
    gone(connection) {
      requests.delete(connection as HttpConnection);
      left();
    },
  };

  const timer = setInterval(() => {
    clock.now = performance.now();
    if (clock.now - datedAt >= 1000 - CHECK_MS) {
      datedAt = clock.now;
      clock.date = new Date().toUTCString();
    }
    for (const connection of requests) connection.check(clock.now);
    for (const socket of sockets.keys()) socket.check(clock.now);
  }, CHECK_MS);

  let listener: SocketListener;
  try {
    listener = await listenOnSockets({
      host: options.host,
      port: options.port,
      tls: options.tls,
      reusePort: options.reusePort,
      handshakeMs: timeouts.headerMs,
      onConnection(connection) {
        if (isClosing || requests.size + sockets.size >= limits.connections) return refuse(connection);
        clock.now = performance.now();
        const served = new HttpConnection(connection, serving);
        requests.add(served);
        opened++;
        return served;
      },
    });
  } catch (error) {
    clearInterval(timer);
    throw error;
  }

  async function end(graceMs: number): Promise<void> {
    isClosing = true;
    await listener.close();
    for (const connection of [...requests]) connection.closeSoon();
    for (const socket of [...sockets.keys()]) socket.close(1001, "the server is going away");
    if (requests.size > 0 || sockets.size > 0) {
      const grace = setTimeout(() => {
        for (const connection of [...requests]) connection.connection.destroy();
        for (const socket of [...sockets.keys()]) socket.terminate();
      }, graceMs);
      await new Promise<void>((resolve) => {
        onEmpty = resolve;
      });
      clearTimeout(grace);
    }
    clearInterval(timer);
  }

  let closing: Promise<void> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    get connections() {
      return { http: requests.size, webSocket: sockets.size };
    },
    get traffic() {
      return { opened, ...listener.traffic };
    },
    close(graceMs) {
      closing ??= end(graceMs);
      return closing;
    },
  };
}

/** Why a request is no upgrade to a WebSocket, if so. */
function refusedUpgrade(head: Head): Response | undefined {
  const text = { "content-type": "text/plain" };
  if (fieldOf(head, "sec-websocket-version") !== "13") {
    return reply(426, "WebSocket's version 13 is spoken here.", {
      ...text,
      "sec-websocket-version": "13",
      upgrade: "websocket",
    });
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(fieldOf(head, "sec-websocket-key") ?? "") || head.length !== 0) {
    return reply(400, "The upgrade is malformed.", text);
  }
  return undefined;
}

function fieldOf(head: Head, name: string): string | undefined {
  const { fields } = head;
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}

function switchingTo(head: Head, protocol: string | undefined): string {
  const key = fieldOf(head, "sec-websocket-key");
  const accept = createHash("sha1").update(`${key}${KEY_OF_PROTOCOL}`).digest("base64");
  const chosen = protocol === undefined ? "" : `sec-websocket-protocol: ${protocol}\r\n`;
  return `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n${chosen}\r\n`;
}

/** Tells a connection that there is no place for it. */
function refuse(connection: Connection): ConnectionHandler {
  const handler: ConnectionHandler = {
    data: () => {},
    ended: () => connection.destroy(),
    drained: () => {},
    closed: () => clearTimeout(timer),
  };
  // Its request may be on the way: closing at once would take the answer from it.
  const timer = setTimeout(() => connection.destroy(), 1000);
  queueMicrotask(() => {
    connection.write(TOO_MANY);
    connection.end();
  });
  return handler;
}
