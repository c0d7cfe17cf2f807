/** `createServer`: what is joined around the parts, over a real store and real sockets. */
import { request as requestHttps } from "node:https";
import { expect, onTestFinished, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer, type LogLine } from "../../adapters/server/index.ts";
import { openOfRuntime } from "../runtime.ts";
import { CERT, KEY } from "./certificate.ts";
import { RawSocket, upgradeRequest } from "./frames.ts";
import { get, Raw, statusesOf } from "./raw.ts";

const open = await openOfRuntime();

async function served(config: ServerConfig = {}) {
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const lines: LogLine[] = [];
  const server = createServer(store, { log: (line) => lines.push(line as LogLine), ...config });
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  return { server, store, lines };
}

test("says where it listens, and that it lives and is ready until the store is not", async () => {
  const { server, store } = await served();
  const { url, port, host } = await server.listen();
  expect([url, host]).toEqual([`http://127.0.0.1:${port}`, "127.0.0.1"]);
  expect((await server.listen()).port).toBe(port);
  const health = async (path: string): Promise<unknown> => {
    const response = await fetch(url + path);
    return [response.status, await response.json()];
  };
  expect(await health("/healthz")).toEqual([200, { status: "ok" }]);
  expect(await health("/readyz")).toEqual([200, { status: "ready" }]);
  await store.close();
  expect(await health("/healthz")).toEqual([200, { status: "ok" }]);
  expect(await health("/readyz")).toEqual([503, { status: "the store cannot be used" }]);
});

test("answers without listening, with the runtime's own Response", async () => {
  const { server } = await served();
  const response = await server.fetch(new Request("http://anywhere/healthz"));
  expect(Object.getPrototypeOf(response)).toBe(Response.prototype);
  expect(await response.json()).toEqual({ status: "ok" });
  const missing = await server.fetch(new Request("http://anywhere/none"));
  expect(missing.status).toBeGreaterThanOrEqual(400);
  await server.close();
  expect((await server.fetch(new Request("http://anywhere/readyz"))).status).toBe(503);
  await expect(server.listen()).rejects.toThrow(/closed/);
});

test("refuses keys that do not count, and tells an address that shows many to wait", async () => {
  const { server, lines } = await served();
  const { url } = await server.listen();
  const statuses: number[] = [];
  let last: Response | undefined;
  for (let count = 0; count < 22; count++) {
    last = await fetch(`${url}/record/a?apiKey=hidden-secret`, { headers: { "x-api-key": `hidden-secret-${count}` } });
    statuses.push(last.status);
    await last.text();
  }
  expect(statuses.slice(0, 20)).toEqual(Array(20).fill(401));
  expect(statuses.at(-1)).toBe(429);
  expect(Number(last?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  expect(JSON.stringify(lines)).not.toContain("hidden-secret");
});

test("lets a key through as often as its limits say, then says when to try again", async () => {
  const key = newApiKey();
  const keys: KeysFile = {
    tenants: { home: {} },
    keys: { [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 } },
  };
  const { server } = await served({ keys, limits: { tenant: { requestsPerSecond: 1, burst: 3 } } });
  const { url } = await server.listen();
  const statuses: number[] = [];
  for (let count = 0; count < 5; count++) {
    const response = await fetch(`${url}/nothing-is-here`, { headers: { "x-api-key": key.text } });
    statuses.push(response.status);
    if (response.status === 429) expect(Number(response.headers.get("retry-after"))).toBe(1);
    await response.text();
  }
  expect(statuses).toEqual([404, 404, 404, 429, 429]);
});

test("answers browsers of allowed origins, and no others", async () => {
  const { server } = await served({ origins: ["https://app.example"] });
  const { url, port } = await server.listen();
  const preflight = (origin: string) =>
    server.fetch(
      new Request(`${url}/record`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "x-api-key, content-type",
        },
      }),
    );
  const allowed = await preflight("https://app.example");
  expect(allowed.status).toBe(204);
  expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
  expect(allowed.headers.get("access-control-allow-methods")).toContain("POST");
  expect(allowed.headers.get("access-control-allow-headers")).toContain("x-api-key");
  const refused = await preflight("https://evil.example");
  expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  const asked = async (origin: string) => {
    const client = await Raw.to(port);
    client.write(get("/healthz", `origin: ${origin}\r\nconnection: close\r\n`));
    return client.end();
  };
  expect(await asked("https://app.example")).toContain("access-control-allow-origin: https://app.example\r\n");
  expect(await asked("https://evil.example")).not.toContain("access-control-allow-origin");
  const upgrade = async (more: string) => {
    const client = await Raw.to(port);
    client.write(upgradeRequest("/ws", more));
    const text = await client.until((received) => received.includes("\r\n\r\n"));
    client.destroy();
    return text;
  };
  expect(await upgrade("origin: https://evil.example\r\n")).toMatch(/ 403 [\s\S]*origin/);
  expect(await upgrade("origin: https://app.example\r\n")).not.toMatch(/of this origin/);
  expect(await upgrade("origin: http://localhost\r\n")).not.toMatch(/of this origin/);
});

test("logs requests at the level debug, with ids, and without secrets", async () => {
  const { server, lines } = await served({ logLevel: "debug" });
  const { port } = await server.listen();
  const client = await Raw.to(port);
  client.write(
    get("/ws?apiKey=hidden&token=hidden&limit=3", "x-request-id: mine-7\r\nx-api-key: hidden\r\nconnection: close\r\n"),
  );
  expect(await client.end()).toContain("x-request-id: mine-7\r\n");
  const line = lines.find(({ message }) => message === "request");
  expect(line).toMatchObject({
    level: "debug",
    requestId: "mine-7",
    method: "GET",
    status: 401,
    url: "/ws?apiKey=***&token=***&limit=3",
  });
  expect(JSON.stringify(lines)).not.toContain("hidden");
});

test("serves TLS, and plain sockets beyond this machine only where that is allowed", async () => {
  const { server } = await served({ tls: { cert: CERT, key: KEY } });
  const { url, port } = await server.listen();
  expect(url).toBe(`https://127.0.0.1:${port}`);
  const answer = await new Promise<string>((resolve, reject) => {
    const asked = requestHttps({ host: "127.0.0.1", port, path: "/healthz", ca: CERT, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(`${response.statusCode} ${text}`));
    });
    asked.on("error", reject);
    asked.end();
  });
  expect(answer).toBe('200 {"status":"ok"}');
  const plain = await Raw.to(port);
  plain.write(get("/healthz"));
  expect(await plain.end()).not.toContain("200");
  const open = await served({ host: "0.0.0.0" });
  await expect(open.server.listen()).rejects.toThrow(/allowPlain/);
  const allowed = await served({ host: "0.0.0.0", allowPlain: true });
  expect((await allowed.server.listen()).port).toBeGreaterThan(0);
});

test("rejects where the address is taken, and for what is wrong with the configuration", async () => {
  const { server } = await served();
  const { port } = await server.listen();
  const second = await served({ port });
  await expect(second.server.listen()).rejects.toThrow(/EADDRINUSE|in use|listen/i);
  const unreadable = await served({ keys: "/nowhere/keys.json" });
  await expect(unreadable.server.listen()).rejects.toThrow(/keys/);
  expect((await unreadable.server.fetch(new Request("http://x/record/a"))).status).toBe(503);
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  expect(() => createServer(store, { prot: 80 } as ServerConfig)).toThrow(/prot/);
  await store.close();
});

test("ends sockets and streams when it closes", async () => {
  const { server } = await served();
  const { port } = await server.listen();
  await expect(RawSocket.to(port)).rejects.toThrow(/no upgrade/);
  const idle = await Raw.to(port);
  idle.write(get("/healthz"));
  await idle.until((text) => text.includes("ok"));
  await server.close();
  expect(statusesOf(await idle.end())).toEqual([200]);
  await expect(Raw.to(port)).rejects.toThrow();
});
