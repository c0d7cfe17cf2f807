/** What the configuration and the keys file say to connections over WebSocket: rates, timestamps, revoked keys, sizes, the end. */
import { expect, onTestFinished, test } from "vitest";
import type { ServerConfig } from "../../adapters/server/index.ts";
import { startServer, type TestServer } from "./hpkv-server.ts";
import { type RawSocket, Refused, rawSocket } from "./raw-socket.ts";

async function served(config: ServerConfig = {}): Promise<TestServer> {
  const server = await startServer(config);
  let isClosed = false;
  const close = server.close.bind(server);
  server.close = async () => {
    if (!isClosed) await close();
    isClosed = true;
  };
  onTestFinished(() => server.close());
  return server;
}

async function connect(server: TestServer, query = `apiKey=${server.apiKey}`): Promise<RawSocket> {
  const socket = await rawSocket(`${server.url}/ws?${query}`);
  onTestFinished(() => socket.destroy());
  return socket;
}

test("a rate that is passed is 429 with the messageId, for a key and its tokens together, and the connection stays", async () => {
  const server = await served({ limits: { tenant: { requestsPerSecond: 2, burst: 10 } } });
  const byToken = await connect(server, `token=${await server.token({ accessPattern: "." })}`);
  const byKey = await connect(server);
  const asks = Array.from({ length: 40 }, (_, i) => ({ op: 2, key: `k${i}`, value: "1", messageId: i + 1 }));
  byKey.send(...asks);
  const replies = await byKey.replies(40);
  const refused = replies.filter(({ code }) => code === 429);
  expect(refused.length).toBeGreaterThan(15);
  expect(refused[0]).toEqual({
    code: 429,
    messageId: expect.any(Number),
    key: expect.any(String),
    error: expect.stringContaining("Rate limit exceeded"),
    retryAfter: expect.any(Number),
  });
  // Nothing of what was refused was done.
  const stored = [...server.store.sub("acme").keys()];
  expect(stored.sort()).toEqual(
    replies.flatMap(({ code, messageId }) => (code === 200 ? [`k${messageId - 1}`] : [])).sort(),
  );
  byToken.send(...asks.map(({ messageId }) => ({ op: 1, key: "none", messageId })));
  expect((await byToken.replies(40)).filter(({ code }) => code === 429).length).toBeGreaterThan(15);
  await expect.poll(async () => (await byKey.ask({ op: 1, key: "k0", messageId: 1 })).code).toBe(200);
});

test("a timestamp is not looked at", async () => {
  const server = await served();
  const socket = await connect(server);
  for (const timestamp of [5_000, 1, "later", null, -1]) {
    expect(await socket.ask({ op: 2, key: "k", value: "1", timestamp, messageId: 1 })).toMatchObject({ code: 200 });
  }
});

test("a timestamp orders writes where the configuration says so", async () => {
  const server = await served({ socketTimestamps: "strict" });
  const socket = await connect(server);
  const write = { op: 2, key: "k", messageId: 1 };
  expect(await socket.ask({ ...write, value: "new", timestamp: 5_000 })).toMatchObject({ code: 200 });
  expect(await socket.ask({ ...write, value: "old", timestamp: 4_999 })).toEqual({
    code: 409,
    messageId: 1,
    key: "k",
    error: "Timestamp conflict",
  });
  expect(await socket.ask({ ...write, op: 4, timestamp: 4_999 })).toMatchObject({ code: 409 });
  expect(await socket.ask({ op: 1, key: "k", messageId: 2 })).toMatchObject({ value: "new" });
  expect(await socket.ask({ ...write, value: "newer", timestamp: 5_001 })).toMatchObject({ code: 200 });
  for (const timestamp of ["later", 1.5, -1]) {
    expect(await socket.ask({ ...write, value: "x", timestamp })).toMatchObject({ code: 400 });
  }
  expect(await socket.ask({ ...write, op: 4, timestamp: 5_002 })).toMatchObject({ code: 200 });
});

test("values of exactly 102,400 bytes are taken where the configuration says so", async () => {
  const server = await served({ legacyValueLimit: true });
  const socket = await connect(server);
  const write = { op: 2, key: "k", messageId: 1 };
  expect(await socket.ask({ ...write, value: "x".repeat(102_400) })).toMatchObject({ code: 200 });
  expect(await socket.ask({ ...write, value: "x".repeat(102_401) })).toMatchObject({ code: 400 });
  expect(await socket.ask({ ...write, op: 3, value: "x" })).toMatchObject({ code: 400 });
});

test("a revoked key ends its connections and those of its tokens, and no others", async () => {
  const server = await served();
  const kept = await connect(server);
  const keptToken = await connect(server, `token=${await server.token({ subscribePatterns: ["*"] })}`);
  const token = await server.token({ subscribePatterns: ["*"] }, server.readerKey);
  const ended = [await connect(server, `apiKey=${server.readerKey}`), await connect(server, `token=${token}`)];
  server.revokeReader();
  for (const socket of ended) expect(await socket.ended()).toBe(1008);
  await kept.ask({ op: 2, key: "after", value: "1", messageId: 1 });
  await expect.poll(() => keptToken.notices.length).toBe(1);
  expect(ended[1]?.notices).toEqual([]);
  await expect(connect(server, `apiKey=${server.readerKey}`)).rejects.toThrow(Refused);
  await expect(connect(server, `token=${token}`)).rejects.toMatchObject({ status: 403 });
});

test("a token that has run out opens no connection, and those that are open stay", async () => {
  const server = await served({ tokenLifetimeMs: 1_000 });
  const token = await server.token({ subscribePatterns: ["*"] });
  const socket = await connect(server, `token=${token}`);
  await expect
    .poll(() =>
      connect(server, `token=${token}`).then(
        () => 101,
        (error: Refused) => error.status,
      ),
    )
    .toBe(403);
  expect(await socket.ask({ op: 1, key: "none", messageId: 1 })).toMatchObject({ code: 404 });
  await server.store.sub("acme").put("k", "1");
  await expect.poll(() => socket.notices.length).toBe(1);
});

test("a value that is too large for a frame is refused alone, and ranges stay small", async () => {
  const server = await served();
  const socket = await connect(server);
  const tenant = server.store.sub("acme");
  await tenant.put("k:large", "x".repeat(5_000_000));
  // Each character takes six as JSON.
  for (let i = 0; i < 20; i++) await tenant.put(`e:${i}`, "\u0001".repeat(50_000));
  expect(await socket.ask({ op: 1, key: "k:large", messageId: 1 })).toMatchObject({ code: 413, key: "k:large" });
  expect(await socket.ask({ op: 5, key: "k:", endKey: "k:z", messageId: 2 })).toMatchObject({ code: 413 });
  socket.send({ op: 5, key: "e:", endKey: "e:z", messageId: 3 });
  const frame = await socket.next();
  expect(frame.length).toBeLessThan(1_024_000);
  expect(JSON.parse(frame)).toMatchObject({ code: 200, count: 3, truncated: true });
});

test("a client that asks for more than it reads is not done for until it reads, and nothing grows", async () => {
  const server = await served({ limits: { sendQueueBytes: 4_194_304 } });
  const writer = await connect(server);
  await writer.ask({ op: 2, key: "v", value: "x".repeat(100_000), messageId: 1 });
  const reader = await connect(server);
  reader.pause();
  const count = 600;
  const asks: object[] = [];
  for (let i = 0; i < count; i++) {
    asks.push(
      { op: i % 2 === 0 ? 1 : 5, key: "v", endKey: "v", messageId: i * 2 + 1 },
      { op: 6, key: "n", value: 1, messageId: i * 2 + 2 },
    );
  }
  reader.send(...asks);
  let before = -1;
  // Some of it is done, and then no more.
  await expect
    .poll(
      async () => {
        const { value } = await writer.ask({ op: 1, key: "n", messageId: 1 });
        const isSame = value === before;
        before = value;
        return isSame && value !== undefined;
      },
      { interval: 200 },
    )
    .toBe(true);
  expect(Number(before)).toBeLessThan(count / 2);
  reader.resume();
  const replies = await reader.replies(asks.length);
  expect(replies.every(({ code }) => code === 200)).toBe(true);
  expect(await writer.ask({ op: 1, key: "n", messageId: 2 })).toMatchObject({ value: String(count) });
});

test("a server that closes tells its connections, and answers what it has begun", async () => {
  const server = await served();
  const socket = await connect(server, `token=${await server.token({ subscribePatterns: ["*"], accessPattern: "." })}`);
  await socket.ask({ op: 2, key: "k", value: "1", messageId: 1 });
  await server.close();
  expect(await socket.ended()).toBe(1001);
});
