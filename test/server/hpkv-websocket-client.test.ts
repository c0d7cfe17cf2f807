/** `@hpkv/websocket-client` against this server: what its own suites, and the protocol's document, ask of one. */
import {
  AuthenticationError,
  ConnectionError,
  type HPKVApiClient,
  HPKVClientFactory,
  HPKVError,
  type HPKVNotificationResponse,
  type HPKVSubscriptionClient,
  WebsocketTokenManager,
} from "@hpkv/websocket-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { RUNTIME } from "../runtime.ts";
import { startServer, type TestServer } from "./hpkv-server.ts";

// Its suites hide the runtime's WebSocket, so that the package `ws` is used, which says with which status an upgrade was refused.
(globalThis as { WebSocket?: unknown }).WebSocket = undefined;

const PREFIX = "sub-test-";
const THROTTLING = { throttling: { enabled: true, rateLimit: 30 } };

let server: TestServer;
let tokens: WebsocketTokenManager;
let api: HPKVApiClient;
const clients: (HPKVApiClient | HPKVSubscriptionClient)[] = [];

beforeAll(async () => {
  server = await startServer();
  tokens = new WebsocketTokenManager(server.apiKey, server.url);
  api = HPKVClientFactory.createApiClient(server.apiKey, server.url, { throttling: { enabled: false } });
  await api.connect();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await end(client);
});
afterAll(async () => {
  await end(api);
  await server.close();
});

async function end(client: HPKVApiClient | HPKVSubscriptionClient): Promise<void> {
  if (client.getConnectionStats().isConnected) await client.disconnect(false);
  client.destroy();
}

function track<C extends HPKVApiClient | HPKVSubscriptionClient>(client: C): C {
  clients.push(client);
  return client;
}

async function subscribed(
  subscribePatterns: string[],
  accessPattern = `${PREFIX}*`,
  config = {},
): Promise<HPKVSubscriptionClient> {
  const token = await tokens.generateToken({ subscribePatterns, accessPattern });
  const client = track(HPKVClientFactory.createSubscriptionClient(token, server.url, { ...THROTTLING, ...config }));
  await client.connect();
  return client;
}

function eventsOf(client: HPKVSubscriptionClient): HPKVNotificationResponse[] {
  const events: HPKVNotificationResponse[] = [];
  client.subscribe((event) => void events.push(event as HPKVNotificationResponse));
  return events;
}

/** The socket that a client has: for closing it as its suites do, from beneath. */
function socketOf(client: HPKVSubscriptionClient): { close(code: number, reason: string): void } {
  return (client as unknown as { ws: { close(code: number, reason: string): void } }).ws;
}

async function codeOf(call: Promise<unknown>): Promise<number | undefined> {
  try {
    await call;
  } catch (error) {
    expect(error).toBeInstanceOf(HPKVError);
    return (error as HPKVError).code;
  }
  return undefined;
}

let keyCount = 0;
const freshKey = (name: string): string => `${PREFIX}${name}-${keyCount++}`;

describe("connecting", () => {
  test("works with a key, with a token, and with a base that ends in a slash or in /ws", async () => {
    for (const base of [server.url, `${server.url}/`, `${server.url}/ws`]) {
      const client = track(HPKVClientFactory.createApiClient(server.apiKey, base, THROTTLING));
      await client.connect();
      expect(client.getConnectionStats().isConnected).toBe(true);
      await client.disconnect();
      expect(client.getConnectionStats().isConnected).toBe(false);
    }
    expect((await subscribed(["x"])).getConnectionStats().isConnected).toBe(true);
  });

  test("fails with a token that does not count, and says 403", async () => {
    const client = track(HPKVClientFactory.createSubscriptionClient("invalid-token", server.url));
    const failures = await Promise.allSettled([client.connect(), client.connect()]);
    for (const failure of failures) {
      expect(failure).toMatchObject({ status: "rejected", reason: expect.any(ConnectionError) });
      // Bun has a `ws` of its own, which does not say the status.
      if (RUNTIME !== "bun") expect((failure as PromiseRejectedResult).reason.message).toContain("403");
    }
    expect(client.getConnectionStats().isConnected).toBe(false);
    const wrongKey = track(HPKVClientFactory.createApiClient("invalid-key", server.url));
    await expect(wrongKey.connect()).rejects.toThrow(ConnectionError);
  });

  test("with a token is for several connections at once, and again after a drop", async () => {
    const token = await tokens.generateToken({ subscribePatterns: ["reused"], accessPattern: "reused" });
    for (let round = 0; round < 2; round++) {
      const pair = [1, 2].map(() => track(HPKVClientFactory.createSubscriptionClient(token, server.url)));
      await Promise.all(pair.map((client) => client.connect()));
      for (const client of pair) expect(await client.set("reused", "1")).toMatchObject({ code: 200 });
      for (const client of pair) await client.disconnect();
    }
  });

  test("asks for tokens in vain with a key that does not count", async () => {
    const wrong = new WebsocketTokenManager("invalid-key", server.url);
    await expect(wrong.generateToken({ subscribePatterns: ["a"], accessPattern: "a" })).rejects.toThrow(
      AuthenticationError,
    );
    expect(await tokens.generateToken({ subscribePatterns: [], accessPattern: "^a$" })).toMatch(/^[\w.-]+$/);
  });
});

describe("operations", () => {
  test("store, read, replace, delete", async () => {
    const key = freshKey("crud");
    expect(await api.set(key, "one")).toMatchObject({ code: 200, success: true });
    expect(await api.get(key)).toMatchObject({ code: 200, key, value: "one" });
    expect(await api.set(key, "two")).toMatchObject({ code: 200 });
    expect(await api.get(key)).toMatchObject({ value: "two" });
    expect(await api.delete(key)).toMatchObject({ code: 200, success: true });
    expect(await codeOf(api.get(key))).toBe(404);
    expect(await codeOf(api.delete(key))).toBe(404);
    await expect(api.get(key)).rejects.toThrow("Record not found");
  });

  test("take objects as JSON, and merge them", async () => {
    const key = freshKey("json");
    const value = { name: "Ada", tags: [1, 2], nested: { a: 1, b: 2 } };
    await api.set(key, value);
    expect(JSON.parse((await api.get(key)).value as string)).toEqual(value);
    await api.set(key, { tags: [3], nested: { b: null, c: 3 }, name: null }, true);
    expect(JSON.parse((await api.get(key)).value as string)).toEqual({ tags: [3], nested: { a: 1, c: 3 } });
    const text = freshKey("text");
    await api.set(text, "Hello ", true);
    await api.set(text, "World!", true);
    expect(await api.get(text)).toMatchObject({ value: "Hello World!" });
  });

  test("count from nothing", async () => {
    const key = freshKey("count");
    expect(await api.atomicIncrement(key, 1)).toMatchObject({ code: 200, success: true, newValue: 1 });
    expect(await api.atomicIncrement(key, 5)).toMatchObject({ newValue: 6 });
    expect(await api.atomicIncrement(key, -10)).toMatchObject({ newValue: -4 });
    expect(await api.get(key)).toMatchObject({ value: "-4" });
    await api.set(key, "no number");
    expect(await codeOf(api.atomicIncrement(key, 1))).toBe(400);
  });

  test("give ranges in order, with a limit", async () => {
    const base = freshKey("range");
    const keys = [1, 2, 3].map((i) => `${base}:${i}`);
    await Promise.all(keys.map((key) => api.set(key, `value of ${key}`)));
    const all = await api.range(`${base}:`, `${base}:\u00ff`);
    expect(all.records?.map(({ key }) => key)).toEqual(keys);
    expect(all).toMatchObject({ count: 3, truncated: false });
    expect(await api.range(`${base}:`, `${base}:\u00ff`, { limit: 2 })).toMatchObject({ count: 2, truncated: true });
  });

  test("are refused with 400 for an empty key or value", async () => {
    expect(await codeOf(api.set("", "value"))).toBe(400);
    expect(await codeOf(api.set(freshKey("empty"), ""))).toBe(400);
    expect(await codeOf(api.set(freshKey("large"), "x".repeat(102_400)))).toBe(400);
  });

  test("run at once, hundreds of them", async () => {
    const base = freshKey("many");
    const client = track(
      HPKVClientFactory.createApiClient(server.apiKey, server.url, { throttling: { enabled: false } }),
    );
    await client.connect();
    await Promise.all(Array.from({ length: 300 }, (_, i) => client.set(`${base}:${i}`, String(i))));
    const values = await Promise.all(Array.from({ length: 300 }, (_, i) => client.get(`${base}:${i}`)));
    expect(values.map(({ value }) => value)).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
  });

  test("of a token are refused with 403 beyond its accessPattern", async () => {
    const client = await subscribed([`${PREFIX}a`]);
    const restricted = "restricted-key-1";
    await api.set(restricted, "restricted");
    expect(await client.set(freshKey("allowed"), "1")).toMatchObject({ code: 200 });
    for (const call of [
      client.set(restricted, "2"),
      client.get(restricted),
      client.delete(restricted),
      client.atomicIncrement(restricted, 1),
    ]) {
      expect(await codeOf(call)).toBe(403);
    }
    const other = await subscribed([restricted], "restricted-key-*");
    expect(await other.get(restricted)).toMatchObject({ value: "restricted" });
    expect(await codeOf(other.set(freshKey("no"), "1"))).toBe(403);
  });
});

describe("subscriptions", () => {
  test("tell of changes of their keys, and of no others, to every client", async () => {
    const key = freshKey("told");
    const other = freshKey("not-told");
    const [one, two] = [await subscribed([key]), await subscribed([key])];
    const [events, same] = [eventsOf(one), eventsOf(two)];
    await api.set(other, "1");
    await api.set(key, "updated");
    await api.delete(key);
    await expect.poll(() => [events.length, same.length]).toEqual([2, 2]);
    expect(events).toEqual(same);
    expect(events.map(({ key, value }) => [key, value])).toEqual([
      [key, "updated"],
      [key, null],
    ]);
    expect(events[0]).toMatchObject({ type: "notification", timestamp: expect.any(Number) });
  });

  test("by pattern tell of each change once, however many patterns match", async () => {
    const base = freshKey("pattern");
    const client = await subscribed([`${base}:*`, `${base}:a*`, `${base}:a:b`, "*"]);
    const events = eventsOf(client);
    await api.set(`${base}:a:b`, "1");
    await api.set(`${base}`, "2");
    await expect.poll(() => events.length).toBe(2);
    await api.get(base);
    expect(events.map(({ value }) => value)).toEqual(["1", "2"]);
  });

  test("end with unsubscribe, and outlive other callbacks", async () => {
    const key = freshKey("unsubscribe");
    const client = await subscribed([key]);
    const events: unknown[] = [];
    const id = client.subscribe((event) => void events.push(event));
    const kept = eventsOf(client);
    await api.set(key, "before");
    await expect.poll(() => events.length).toBe(1);
    client.unsubscribe(id);
    await api.set(key, "after");
    await expect.poll(() => kept.length).toBe(2);
    expect(events.length).toBe(1);
  });

  test("go on after a drop, and tell of each change once", async () => {
    const key = freshKey("drop");
    const client = await subscribed([key], `${PREFIX}*`, {
      initialDelayBetweenReconnects: 20,
      maxReconnectAttempts: 5,
    });
    const events = eventsOf(client);
    const states: string[] = [];
    for (const state of ["connected", "disconnected", "reconnecting"] as const)
      client.on(state, () => states.push(state));
    await api.set(key, "before");
    await expect.poll(() => events.length).toBe(1);
    socketOf(client).close(RUNTIME === "node" ? 1002 : 3001, "a drop");
    await expect.poll(() => states).toContain("connected");
    expect(client.getConnectionStats().isConnected).toBe(true);
    await api.set(key, "after");
    await expect.poll(() => events.length).toBe(2);
    expect(await client.get(key)).toMatchObject({ value: "after" });
    expect(events.map(({ value }) => value)).toEqual(["before", "after"]);
  });
});

test("a rate that is passed is told with 429, and slows the client down", async () => {
  const limited = await startServer({ limits: { tenant: { requestsPerSecond: 50, burst: 20 } } });
  const client = HPKVClientFactory.createApiClient(limited.apiKey, limited.url, {
    throttling: { enabled: true, rateLimit: 1000 },
  });
  try {
    await client.connect();
    const calls = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => client.set(`r:${i}`, "1")));
    const refused = calls.filter((call) => call.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: 429, message: expect.stringContaining("Rate limit") });
    expect(calls.length - refused.length).toBeGreaterThanOrEqual(20);
    expect(client.getThrottlingStatus().metrics.currentRate).toBeLessThan(1000);
    // The connection stays; whoever goes on at once is made to wait by the client itself.
    expect(client.getConnectionStats().isConnected).toBe(true);
  } finally {
    client.destroy();
    await limited.close();
  }
});
