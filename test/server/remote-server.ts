/** A small server of WebSockets on loopback, for what is behind one path alone: `remoteHandler`, over node:http and the package ws. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket as NetSocket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Principal, Verb } from "../../adapters/server/principal.ts";
import {
  type RemoteContext,
  type RemoteLimits,
  remoteCheck,
  remoteHandler,
} from "../../adapters/server/remote/index.ts";
import type { Socket, SocketSession } from "../../adapters/server/wire.ts";
import type { Store } from "../../store/store.ts";

/** A key that a test server knows. `prefixes`: what each verb is allowed for; a verb that is not there is not allowed. */
export interface TestKey {
  tenant: string;
  prefixes: Partial<Record<Verb, string>>;
  revoked: AbortController;
}

const EVERYTHING: TestKey["prefixes"] = { read: "", write: "", delete: "", range: "", watch: "", admin: "" };
export const VERBS_OF_KEYS = { read: "", write: "", delete: "", range: "", watch: "" } as const;

export const key = (tenant: string, prefixes: TestKey["prefixes"] = EVERYTHING): TestKey => ({
  tenant,
  prefixes,
  revoked: new AbortController(),
});

function principalOf(id: string, { tenant, prefixes, revoked }: TestKey): Principal {
  const text = (given: string | Uint8Array | undefined): string =>
    typeof given === "string" ? given : new TextDecoder().decode(given);
  return {
    id,
    tenant,
    may: (verb, given) => prefixes[verb] !== undefined && text(given).startsWith(prefixes[verb]),
    mayRange: (verb, start, end) => {
      const prefix = prefixes[verb];
      if (prefix === undefined || prefix === "") return prefix === "";
      return start !== undefined && end !== undefined && text(start).startsWith(prefix) && text(end).startsWith(prefix);
    },
    mayAll: (verb) => prefixes[verb] === "",
    subscribes: undefined,
    revoked: revoked.signal,
  };
}

export interface ServerOptions {
  keys: Record<string, TestKey>;
  tokens?: Record<string, TestKey>;
  port?: number;
  limits?: Partial<RemoteLimits>;
  readOnly?: boolean;
  frameBytes?: number;
  /** Seconds to wait before the next call of a tenant. */
  request?: (tenant: string) => number;
}

export interface RemoteServer {
  url: string;
  port: number;
  store: Store;
  /** Connections that are there. */
  readonly count: number;
  /** Bytes that waited to be sent on one connection, at most. */
  readonly bufferedBytesMax: number;
  /** Ends all connections without a word, as a network does. */
  cut(): void;
  /** Closes in order: connections, then the listener, then the store. */
  close(): Promise<void>;
  /** Ends it as a kill would: nothing more is written. */
  kill(): Promise<void>;
}

/** Serves a store. Namespaces are named as their tenants, but for "whole", which has the store itself. */
export async function serve(store: Store, options: ServerOptions): Promise<RemoteServer> {
  const { keys, tokens = {}, limits = {}, readOnly, frameBytes, request } = options;
  const closing = new AbortController();
  const found = (of: Record<string, TestKey>, text: string): Principal | undefined =>
    Object.hasOwn(of, text) ? principalOf(text.slice(0, 4), of[text] as TestKey) : undefined;
  const context: RemoteContext = {
    store,
    config: { readOnly, limits: { frameBytes } },
    access: {
      authenticate: (text) => found(keys, text),
      verifyToken: (text) => found(tokens, text),
      tenant: (name) => ({ namespace: name === "whole" ? "" : name }),
      denied: () => undefined,
      audit: { admin: () => undefined },
    },
    limits: {
      request: ({ tenant }) => request?.(tenant) ?? 0,
      authenticationDelay: () => 0,
      authenticationFailed: () => undefined,
    },
    closing: closing.signal,
  };
  const upgrade = remoteHandler(context, limits);
  const check = remoteCheck(context);
  const http = createServer((request, response) => {
    const { status } = check(requestOf(request), { address: "127.0.0.1", secure: false });
    response.writeHead(status).end();
  });
  const sockets = new Set<WebSocket>();
  let bufferedBytesMax = 0;
  const sent = (size: number): void => {
    bufferedBytesMax = Math.max(bufferedBytesMax, size);
  };
  const webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: frameBytes ?? 72 * 1024 * 1024,
    handleProtocols: () => "cairn.v1",
  });
  http.on("upgrade", async (request: IncomingMessage, socket: NetSocket, head: Buffer) => {
    socket.on("error", () => undefined);
    const answer = await upgrade(requestOf(request), { address: "127.0.0.1", secure: false });
    if (answer instanceof Response) {
      socket.end(`HTTP/1.1 ${answer.status} No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      sockets.add(webSocket);
      const session = answer.begin(socketOf(webSocket, sent));
      listen(webSocket, session, () => sockets.delete(webSocket));
    });
  });
  await listenAt(http, options.port ?? 0);
  const { port } = http.address() as AddressInfo;
  const end = async (): Promise<void> => {
    const ended = new Promise((resolve) => http.close(resolve));
    for (const socket of sockets) socket.terminate();
    http.closeAllConnections?.();
    await ended;
  };
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    store,
    get count() {
      return sockets.size;
    },
    get bufferedBytesMax() {
      return bufferedBytesMax;
    },
    cut() {
      for (const socket of sockets) socket.terminate();
    },
    async close() {
      closing.abort();
      for (let i = 0; sockets.size > 0 && i < 300; i++) await new Promise((resolve) => setTimeout(resolve, 20));
      await end();
      await store.close();
    },
    async kill() {
      await end();
    },
  };
}

function requestOf({ headers, url }: IncomingMessage): Request {
  const given = Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return new Request(`http://${headers.host}${url}`, { headers: given });
}

/** Listens; a port that was free before may be another process's for a moment. */
async function listenAt(http: Server, port: number): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await new Promise<void>((resolve, reject) => {
        http.once("error", reject);
        http.listen(port, "127.0.0.1", () => {
          http.off("error", reject);
          resolve();
        });
      });
      return;
    } catch (error) {
      if (i === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function socketOf(webSocket: WebSocket, sent: (bufferedBytes: number) => void): Socket {
  return {
    send(frame) {
      webSocket.send(frame);
      sent(webSocket.bufferedAmount);
    },
    get bufferedBytes() {
      return webSocket.bufferedAmount;
    },
    close: (code, reason) => webSocket.close(code, reason),
    terminate: () => webSocket.terminate(),
    pause: () => webSocket.pause?.(),
    resume: () => webSocket.resume?.(),
  };
}

function listen(webSocket: WebSocket, session: SocketSession, gone: () => void): void {
  webSocket.on("message", (data: Buffer, isBinary: boolean) => session.message(isBinary ? data : data.toString()));
  webSocket.on("error", () => undefined);
  webSocket.on("close", () => {
    gone();
    session.closed();
  });
}
