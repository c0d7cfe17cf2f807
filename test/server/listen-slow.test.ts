/** Clients that are slow, vanish, or never take what they asked for; what it costs others and the server. */
import { expect, test } from "vitest";
import { reply } from "../../adapters/server/reply.ts";
import { delay, get, Raw, statusesOf } from "./raw.ts";
import { startWeb } from "./web.ts";

/** Deadlines of tests; a connection ends within them and some time that a busy machine takes. */
const SHORT_MS = 400;

async function dribble(client: Raw, text: string, ms: number): Promise<void> {
  for (const letter of text) {
    if (client.isClosed) return;
    client.write(letter);
    await delay(ms);
  }
}

test("gives up a head that comes byte by byte, and serves others meanwhile", async () => {
  const { port } = await startWeb({ timeouts: { headerMs: SHORT_MS } });
  const startMs = performance.now();
  const slow = await Raw.to(port);
  const silent = await Raw.to(port);
  const dribbling = dribble(slow, get("/slow", `x-long: ${"a".repeat(2000)}\r\n`), 20);
  const other = await Raw.to(port);
  other.write(get("/", "connection: close\r\n"));
  expect(statusesOf(await other.end())).toEqual([200]);
  expect(statusesOf(await slow.end())).toEqual([408]);
  expect(performance.now() - startMs).toBeGreaterThan(SHORT_MS - 50);
  expect(await silent.end()).toBe("");
  await dribbling;
});

test("gives up the head of a later request as well", async () => {
  const { port } = await startWeb({ timeouts: { headerMs: SHORT_MS } });
  const client = await Raw.to(port);
  client.write(get("/first"));
  await client.until((text) => text.includes("GET /first"));
  await dribble(client, "GET /second HTTP/1.1\r\nHost: localhost\r\n", 30);
  expect(statusesOf(await client.end())).toEqual([200, 408]);
});

test("gives up a body that comes byte by byte, whether its length is told or not", async () => {
  const failures: unknown[] = [];
  const { port } = await startWeb({
    timeouts: { bodyMs: SHORT_MS },
    async handle(request) {
      try {
        return reply(200, await request.text());
      } catch (error) {
        failures.push((error as { status?: number }).status, request.signal.aborted);
        throw error;
      }
    },
  });
  for (const framing of ["Content-Length: 5000", "Transfer-Encoding: chunked"]) {
    const client = await Raw.to(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
    const dribbling = dribble(client, framing.startsWith("C") ? "a".repeat(400) : "1\r\na\r\n".repeat(100), 10);
    expect(statusesOf(await client.end())).toEqual([408]);
    await dribbling;
  }
  expect(failures).toEqual([408, true, 408, true]);
});

test("waits for a large body as long as it comes on", async () => {
  const { port } = await startWeb({
    timeouts: { bodyMs: SHORT_MS },
    handle: async (request) => reply(200, `<${(await request.arrayBuffer()).byteLength}>`),
    limits: { bodyBytes: 10_000_000 },
  });
  const client = await Raw.to(port);
  client.write("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6000000\r\n\r\n");
  for (let part = 0; part < 12; part++) {
    client.write(Buffer.alloc(500_000, "x"));
    await delay(100);
  }
  expect(await client.end()).toContain("<6000000>");
});

test("keeps a connection open between requests, and ends it after the time for that", async () => {
  const { port } = await startWeb({ timeouts: { idleMs: 1_500 } });
  const client = await Raw.to(port);
  client.write(get("/1"));
  await client.until((text) => text.includes("GET /1"));
  await delay(700);
  client.write(get("/2"));
  await client.until((text) => text.includes("GET /2"));
  const startMs = performance.now();
  expect(statusesOf(await client.end())).toEqual([200, 200]);
  expect(performance.now() - startMs).toBeGreaterThan(1_000);
});

test("answers 503 for a handler that does not", async () => {
  let aborted = false;
  const { port } = await startWeb({
    timeouts: { requestMs: SHORT_MS },
    handle: (request) =>
      new Promise((_resolve) => {
        request.signal.addEventListener("abort", () => {
          aborted = true;
        });
      }),
  });
  const client = await Raw.to(port);
  client.write(get("/"));
  const text = await client.end();
  expect(statusesOf(text)).toEqual([503]);
  expect(text).toContain("retry-after: 1");
  expect(aborted).toBe(true);
});

test("reads no more of a stream than its client takes, and ends a client that takes nothing", async () => {
  let pulled = 0;
  let isCancelled = false;
  const server = await startWeb({
    timeouts: { bodyMs: SHORT_MS },
    handle: async () =>
      new Response(
        new ReadableStream<Uint8Array>(
          {
            pull(controller) {
              pulled += 65_536;
              controller.enqueue(new Uint8Array(65_536));
            },
            cancel() {
              isCancelled = true;
            },
          },
          { highWaterMark: 0 },
        ),
      ),
  });
  const client = await Raw.to(server.port);
  client.socket.pause();
  client.write(get("/endless"));
  await expect.poll(() => isCancelled).toBe(true);
  // Buffers of the system's sockets are all that it may take.
  expect(pulled).toBeLessThan(32_000_000);
  await expect.poll(() => server.connections.http).toBe(0);
  client.destroy();
});

test("handles no more pipelined requests than their answers are taken, then goes on where the client does", async () => {
  let handled = 0;
  const { port } = await startWeb({
    handle: async () => {
      handled++;
      return reply(200, "x".repeat(100_000));
    },
  });
  const client = await Raw.to(port);
  client.socket.pause();
  const count = 600;
  client.write(get("/").repeat(count - 1) + get("/", "connection: close\r\n"));
  let before = -1;
  while (handled !== before) {
    before = handled;
    await delay(300);
  }
  expect(handled).toBeLessThan(400);
  client.socket.resume();
  await expect.poll(() => handled).toBe(count);
  await client.end();
  expect(client.size).toBeGreaterThan(count * 100_000);
});

test("tells a handler that its client has vanished, in the midst of the body or while it works", async () => {
  const told: string[] = [];
  const server = await startWeb({
    handle: async (request) => {
      if (request.method === "POST") {
        try {
          await request.text();
        } catch {
          told.push("body");
        }
      } else {
        await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
        told.push("work");
      }
      return reply(200);
    },
  });
  const sending = await Raw.to(server.port);
  sending.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\nabc");
  const waiting = await Raw.to(server.port);
  waiting.write(get("/"));
  await expect.poll(() => server.connections.http).toBe(2);
  await delay(50);
  sending.destroy();
  waiting.socket.resetAndDestroy();
  await expect.poll(() => told.toSorted()).toEqual(["body", "work"]);
  await expect.poll(() => server.connections.http).toBe(0);
});

test("tells a stream that its client has vanished, though it has nothing to say", async () => {
  let isCancelled = false;
  const server = await startWeb({
    handle: async () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start(controller) {
            controller.enqueue(Buffer.from("hello"));
          },
          cancel() {
            isCancelled = true;
          },
        }),
      ),
  });
  const client = await Raw.to(server.port);
  client.write(get("/events"));
  await client.until((text) => text.includes("hello"));
  expect(isCancelled).toBe(false);
  client.destroy();
  await expect.poll(() => isCancelled).toBe(true);
});

test("tells connections over the limit so, and takes them again when there is room", async () => {
  const server = await startWeb({ limits: { connections: 3 } });
  const clients = await Promise.all([Raw.to(server.port), Raw.to(server.port), Raw.to(server.port)]);
  for (const client of clients) client.write(get("/"));
  for (const client of clients) await client.until((text) => text.includes("GET /"));
  const over = await Raw.to(server.port);
  const text = await over.end();
  expect(statusesOf(text)).toEqual([503]);
  expect(text).toContain("retry-after: 1");
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  expect(Buffer.byteLength(body)).toBe(Number(/content-length: (\d+)/.exec(text)?.[1]));
  expect(JSON.parse(body)).toHaveProperty("error");
  clients[0]?.destroy();
  await expect.poll(() => server.connections.http).toBe(2);
  const next = await Raw.to(server.port);
  next.write(get("/", "connection: close\r\n"));
  expect(statusesOf(await next.end())).toEqual([200]);
  for (const client of clients) client.destroy();
});

test("ends a client whose answers are more than may wait in all", async () => {
  const server = await startWeb({
    limits: { bytesInFlight: 20_000_000 },
    handle: async () => reply(200, new Uint8Array(15_000_000)),
  });
  const clients: Raw[] = [];
  for (let count = 0; count < 4; count++) {
    const client = await Raw.to(server.port);
    client.socket.pause();
    client.write(get("/"));
    clients.push(client);
  }
  await expect.poll(() => server.connections.http).toBeLessThan(4);
  expect(server.connections.http).toBeGreaterThan(0);
  for (const client of clients) client.destroy();
});

test("closes: idle connections at once, others after their answer, nothing new", async () => {
  const server = await startWeb({ handle: slowly(300) });
  const idle = await Raw.to(server.port);
  idle.write(get("/0"));
  await idle.until((text) => text.includes("done"));
  const busy = await Raw.to(server.port);
  busy.write(get("/1") + get("/2"));
  await delay(50);
  const closed = server.close(10_000);
  expect(statusesOf(await idle.end())).toEqual([200]);
  const text = await busy.end();
  expect(statusesOf(text)).toEqual([200]);
  expect(text).toContain("connection: close");
  await closed;
  await expect(Raw.to(server.port)).rejects.toThrow();
});

test("closes after the time that it was given, whatever hangs", async () => {
  const server = await startWeb({ handle: () => new Promise(() => {}) });
  const client = await Raw.to(server.port);
  client.write(get("/"));
  await delay(50);
  const startMs = performance.now();
  await server.close(200);
  expect(performance.now() - startMs).toBeLessThan(5_000);
  expect(await client.end()).toBe("");
});

function slowly(ms: number): () => Promise<Response> {
  return async () => {
    await delay(ms);
    return reply(200, "done");
  };
}
