/** A server with two tenants, for tests that speak to it over the network. */
import { createServer as createHttp } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { Access } from "../../adapters/server/access/index.ts";
import { resolveConfig, type ServerConfig } from "../../adapters/server/config.ts";
import { failureOf } from "../../adapters/server/failure.ts";
import { feedOf } from "../../adapters/server/feed/index.ts";
import { socketHandler } from "../../adapters/server/socket/index.ts";
import { Tenants } from "../../adapters/server/tenants.ts";
import type { Store } from "../../store/store.ts";
import { MemoryDevice, open } from "../store/harness.ts";

export interface TestServer {
  readonly url: string;
  readonly apiKey: string;
  readonly otherKey: string;
  readonly readerKey: string;
  readonly store: Store<unknown, unknown>;
  /** A token for WebSocket, made with a key. */
  token(wants: object, apiKey?: string): Promise<string>;
  revoke(): Promise<void>;
  close(): Promise<void>;
}

export async function startServer(given: Partial<ServerConfig> & { timestamps?: boolean } = {}): Promise<TestServer> {
  const { timestamps, ...config } = given;
  const store = (await open(new MemoryDevice())) as unknown as Store<unknown, unknown>;
  const key = newApiKey();
  const other = newApiKey();
  const reader = newApiKey();
  const settings = resolveConfig({
    ...config,
    keys: {
      tenants: { acme: {}, other: {} },
      keys: {
        [key.id]: { tenant: "acme", role: "admin", sha256: key.sha256 },
        [reader.id]: { tenant: "acme", role: "reader", sha256: reader.sha256 },
        [other.id]: { tenant: "other", role: "admin", sha256: other.sha256 },
      },
    },
  });
  const access = await Access.open(settings);
  const namespaceOf = (tenant: string): string => access.tenant(tenant).namespace;
  const tenants = new Tenants(store, namespaceOf);
  const feed = feedOf(store, namespaceOf, tenants);
  const upgrade = socketHandler({
    access,
    operationsOf: (tenant) => tenants.operationsOf(tenant),
    limits: { request: () => 0, take: () => true, release: () => {} },
    log: { warn: () => {} },
    slow: { note: () => {} },
    feed,
    settings: {
      sendQueueBytes: settings.limits.sendQueueBytes,
      valueSizeLimit: settings.legacyValueLimit ? 102_401 : 102_400,
      ordersByTimestamps: timestamps ?? false,
    },
  });
  const http = createHttp((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const principal = access.authenticate(String(request.headers["x-api-key"]));
      let status = 200;
      let body: object;
      try {
        if (principal === undefined) throw Object.assign(new Error("no"), { status: 401 });
        body = access.issueToken(principal, JSON.parse(Buffer.concat(chunks).toString()));
      } catch (error) {
        status = (error as { status?: number }).status ?? failureOf(error).status;
        body = { error: String(error) };
      }
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    });
  });
  const server = new WebSocketServer({ noServer: true, maxPayload: settings.limits.frameBytes });
  const sockets = new Set<WebSocket>();
  http.on("upgrade", async (request, socket, head) => {
    const url = `http://${request.headers.host}${request.url}`;
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) headers.set(name, String(value));
    const answer = await upgrade(new Request(url, { headers }), { address: "127.0.0.1", secure: false });
    if (answer instanceof Response) {
      socket.end(`HTTP/1.1 ${answer.status} Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    server.handleUpgrade(request, socket, head, (ws) => {
      sockets.add(ws);
      const session = answer.begin({
        send: (frame) => ws.send(frame),
        get bufferedBytes() {
          return ws.bufferedAmount;
        },
        close: (code, reason) => ws.close(code, reason),
        terminate: () => ws.terminate(),
        pause: () => ws.pause(),
        resume: () => ws.resume(),
      });
      ws.on("message", (data, isBinary) => session.message(isBinary ? (data as Buffer) : String(data)));
      socket.on("drain", () => session.drained());
      ws.on("close", () => {
        sockets.delete(ws);
        session.closed();
      });
      ws.on("error", () => {});
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return {
    url,
    async token(wants, apiKey = key.text) {
      const response = await fetch(`${url}/token/websocket`, {
        method: "POST",
        headers: { "x-api-key": apiKey, "content-type": "application/json" },
        body: JSON.stringify(wants),
      });
      const answer = (await response.json()) as { token?: string };
      if (answer.token === undefined) throw new Error(`no token: ${response.status} ${JSON.stringify(answer)}`);
      return answer.token;
    },
    apiKey: key.text,
    otherKey: other.text,
    readerKey: reader.text,
    store,
    revoke: async () => {},
    close: async () => {
      feed.close();
      for (const ws of sockets) ws.terminate();
      await new Promise((resolve) => http.close(resolve));
      await access.close();
      await store.close();
    },
  };
}
