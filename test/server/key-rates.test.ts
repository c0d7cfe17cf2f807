/** Keys and certificates with a rate of their own: held to it over every protocol, together with their tokens, and nobody else with them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer } from "../../adapters/server/index.ts";
import { openOfRuntime } from "../runtime.ts";
import { authority, type Certificate, signed } from "./certificates.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();
const [slow, free] = [newApiKey(), newApiKey()];
const fileOf = (limits: object | undefined, certificates: KeysFile["certificates"] = {}): KeysFile => ({
  version: 1,
  tenants: { home: {} },
  keys: {
    [slow.id]: { tenant: "home", role: "admin", sha256: slow.sha256, ...(limits && { limits: limits as never }) },
    [free.id]: { tenant: "home", role: "admin", sha256: free.sha256 },
  },
  certificates,
});
const FIVE = { requestsPerSecond: 1, burst: 5 };

let folder: string;
let ca: Certificate;
let own: Certificate;
let client: Certificate;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cairn-rates-"));
  ca = authority(folder, "ca");
  own = signed(folder, "own", "ca");
  client = signed(folder, "client", "ca");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function started(keys: ServerConfig["keys"], config: ServerConfig = {}) {
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const server = createServer(store, { keys, logLevel: "silent", ...config });
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  return { server, ...(await server.listen()) };
}

async function ping(url: string, headers: Record<string, string>): Promise<Response> {
  const response = await fetch(`${url}/ping`, { headers });
  await response.text();
  return response;
}

/** How many of `count` requests that come at once are let through. */
async function admitted(url: string, headers: Record<string, string>, count: number): Promise<number> {
  const answers = await Promise.all(Array.from({ length: count }, () => ping(url, headers)));
  return answers.filter(({ status }) => status === 200).length;
}

test("over REST: 429 with Retry-After, for a key and its tokens together, and for no other key of the tenant", async () => {
  const { url } = await started(fileOf(FIVE));
  const key = { "x-api-key": slow.text };
  const made = await fetch(`${url}/token/websocket`, {
    method: "POST",
    body: '{"accessPattern":"."}',
    headers: { ...key, "content-type": "application/json" },
  });
  const { token } = (await made.json()) as { token: string };
  const startedAt = performance.now();
  const byBoth = (await admitted(url, key, 20)) + (await admitted(url, { authorization: `Bearer ${token}` }, 20));
  const seconds = (performance.now() - startedAt) / 1000;
  expect(byBoth).toBeGreaterThanOrEqual(4);
  expect(byBoth).toBeLessThanOrEqual(5 + Math.ceil(seconds));
  expect(await admitted(url, { "x-api-key": free.text }, 20)).toBe(20);
  await expect
    .poll(async () => {
      const { status, headers } = await ping(url, key);
      return [status, Number(headers.get("retry-after"))];
    })
    .toEqual([429, 1]);
});

test("over WebSocket: 429 with retryAfter, and the connection stays", async () => {
  const { url } = await started(fileOf(FIVE));
  const socket = await rawSocket(`${url}/ws`, { "x-api-key": slow.text });
  socket.send(...Array.from({ length: 50 }, (_, messageId) => ({ op: 1, key: "none", messageId })));
  const replies = await socket.replies(50);
  const refused = replies.filter(({ code }) => code === 429);
  expect(refused.length).toBeGreaterThan(30);
  expect(refused[0]).toMatchObject({ retryAfter: expect.any(Number) });
  const other = await rawSocket(`${url}/ws`, { "x-api-key": free.text });
  expect(await other.ask({ op: 1, key: "none" })).toMatchObject({ code: 404 });
  await expect.poll(async () => (await socket.ask({ op: 1, key: "none" })).code).toBe(404);
  socket.close();
  other.close();
});

test("over RIOC, by certificate: the status of what is busy", async () => {
  const certificates = { [client.fingerprint]: { tenant: "home", role: "writer", limits: FIVE } };
  const tls = { cert: own.cert, key: own.key, ca: ca.cert, requestClient: true };
  const { riocPort } = await started(fileOf(undefined, certificates), { tls, riocPort: 0 });
  const rioc = await RiocClient.open(riocPort ?? 0, { ca: ca.cert, cert: client.cert, key: client.key });
  for (let n = 0; n < 30; n++) await rioc.send(joined(batch(1), operation(1, "none")));
  const statuses: number[] = [];
  for (let n = 0; n < 30; n++) statuses.push((await rioc.reply()).status);
  expect(statuses.slice(0, 5)).toEqual(Array(5).fill(-6));
  expect(statuses.filter((status) => status === -7).length).toBeGreaterThan(15);
  await rioc.close();
});

test("over the client's connection: calls wait, and are done", async () => {
  const { url } = await started(fileOf({ requestsPerSecond: 20, burst: 5 }));
  const connection = await connect(url, { key: slow.text });
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: 25 }, (_, n) => connection.put(`k${n}`, "1")));
  // 20 of them had to wait for a place: a second, but for the grain of the clock.
  expect(performance.now() - startedAt).toBeGreaterThan(800);
  expect(await connection.count()).toBe(25);
  await connection.close();
});

test("a rate that changes in the file is in force for who is connected, whose connections stay", async () => {
  const path = join(folder, "keys.json");
  const write = (limits?: object): void => writeFileSync(path, JSON.stringify(fileOf(limits)), { mode: 0o600 });
  write();
  const { url } = await started(path);
  const socket = await rawSocket(`${url}/ws`, { "x-api-key": slow.text });
  const refusedOf = async (count: number): Promise<number> => {
    socket.send(...Array.from({ length: count }, (_, messageId) => ({ op: 1, key: "none", messageId })));
    return (await socket.replies(count)).filter(({ code }) => code === 429).length;
  };
  expect(await refusedOf(100)).toBe(0);
  write(FIVE);
  await expect.poll(() => refusedOf(50)).toBeGreaterThan(30);
  write();
  await expect.poll(() => refusedOf(50)).toBe(0);
  expect(socket.closeCode).toBeUndefined();
  socket.close();
});
