/** Workers where something is busy, full, closed or cannot be had: nothing waits for ever, nothing grows without bound, no counter goes back. */
import { readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { Tenants } from "../../adapters/server/tenants.ts";
import { pauseAfter } from "../../adapters/server/workers/pool.ts";
import { WorkerSession } from "../../adapters/server/workers/worker-session.ts";
import { framesOf, readServerFrame } from "../../store/connection/frames.ts";
import { builtEntry, RUNTIME } from "../runtime.ts";
import { type HttpLine, linesToAll } from "./lines.ts";
import { delay } from "./raw.ts";
import { fresh, keysFile, Serving } from "./serving.ts";

const { open } = await import(builtEntry(RUNTIME));

async function served(workers: number, more: object = {}) {
  const { createServer } = await import("../../build/adapters/server/index.js" as string);
  const { keys, key } = keysFile();
  const store = await open(":memory:");
  const server = createServer(store, { keys, port: 0, workers, logLevel: "debug", log: () => {}, ...more });
  const { url } = await server.listen();
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close().catch(() => undefined);
  });
  return { store, url, key };
}

test("a store that is closed under its server: every question is answered with 503 at once, upgrades too, and the owner goes on", async () => {
  const { store, url, key } = await served(1);
  const ask = async (path: string, method = "GET", body?: string) => {
    const signal = AbortSignal.timeout(20_000);
    const headers = { "x-api-key": key, ...(body === undefined ? {} : { "content-type": "text/plain" }) };
    return (await fetch(`${url}${path}`, { method, headers, signal, ...(body === undefined ? {} : { body }) })).status;
  };
  expect(await ask("/record/a", "PUT", "x")).toBe(200);
  await store.close();
  expect(await ask("/readyz")).toBe(503);
  expect(await ask("/record/a")).toBe(503);
  expect(await ask("/record/a", "PUT", "y")).toBe(503);
  expect(await ask("/records")).toBe(503);
  const line = (await linesToAll(url, 1, key))[1];
  const upgrade = ["GET /connect HTTP/1.1", "host: localhost", "connection: upgrade", "upgrade: websocket"];
  upgrade.push("sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==");
  upgrade.push("sec-websocket-protocol: cairn.v1", `x-api-key: ${key}`);
  line?.raw.write(`${upgrade.join("\r\n")}\r\n\r\n`);
  expect((await line?.next())?.status).toBe(503);
  expect(await ask("/ping")).toBe(200);
}, 60_000);

test("calls of a worker that does not read wait: what they would bring is not put together meanwhile, and comes in order", async () => {
  const store = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" });
  onTestFinished(() => store.close());
  const size = 1024 * 1024;
  const key = new TextEncoder().encode("k");
  await store.put(key, new Uint8Array(size));
  let sent: Uint8Array[] = [];
  const parts = { tenants: new Tenants(store, () => ""), version: () => store.version } as never;
  const session = new WorkerSession(store, parts, "owner", {
    send: (frame) => void sent.push(frame),
    get isFull() {
      return sent.length >= 4;
    },
    broken: (error) => expect.unreachable(String(error)),
  });
  const calls = Array.from({ length: 32 }, () => ["get", key]).flat();
  const message = { type: "calls", owner: "owner", id: 1, calls } as const;
  const ask = (id: number) => {
    for (const frame of framesOf({ ...message, id }, 1e9).frames) session.calls(Buffer.from(frame));
  };
  ask(1);
  ask(33);
  const ids: number[] = [];
  for (let round = 0; round < 64 && ids.length < 64; round++) {
    expect(sent.length).toBeLessThanOrEqual(5);
    for (const bytes of sent) {
      const frame = readServerFrame(bytes, "owner");
      if (frame.type === "answers") ids.push(...frame.ids);
    }
    sent = [];
    session.drained();
    await delay(1);
  }
  expect(ids).toEqual(Array.from({ length: 64 }, (_, at) => at + 1));
  session.end();
}, 30_000);

test("a client of a tunnel that sends on while the owner is busy is made to wait, and goes on after", async () => {
  const { keys, key } = keysFile();
  const serving = new Serving([fresh("busy.cairn"), "--keys", keys, "--port", "0", "--workers", "1"]);
  onTestFinished(() => serving.signal("SIGKILL"));
  const url = await serving.url();
  const line = (await linesToAll(url, 1, key))[1];
  const { socket } = (line as HttpLine).raw;
  line?.raw.write(
    `GET /connect HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: cairn.v1\r\nx-api-key: ${key}\r\n\r\n`,
  );
  await expect.poll(() => line?.raw.received.toString("latin1"), { timeout: 20_000 }).toContain("101");
  serving.signal("SIGSTOP");
  onTestFinished(() => serving.signal("SIGCONT"));
  // Masked with zeros: pings of the protocol, which are answered, in frames of a megabyte.
  const size = 1024 * 1024;
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff]);
  const frame = Buffer.concat([head, Buffer.alloc(4), Buffer.alloc(size, 1)]);
  let taken = 0;
  for (let at = 0; at < 128; at++)
    socket.write(frame, (error) => (taken += error === undefined || error === null ? 1 : 0));
  let before = -1;
  while (taken !== before) {
    before = taken;
    await delay(1000);
  }
  expect(taken).toBeLessThan(64);
  serving.signal("SIGCONT");
  // These are no calls: the owner, when it comes to them, ends the connection.
  await expect.poll(() => line?.raw.isClosed, { timeout: 100_000 }).toBe(true);
}, 180_000);

test("a worker that has ended young again and again, and then lived, is started at once when it ends", () => {
  let ends = 0;
  const pauses = [0, 0, 0, 0].map(() => {
    const { pauseMs, youngEnds } = pauseAfter(0, ends);
    ends = youngEnds;
    return pauseMs;
  });
  expect(pauses).toEqual([0, 250, 500, 1000]);
  expect(pauseAfter(3_600_000, ends)).toEqual({ pauseMs: 0, youngEnds: 0 });
  expect(pauseAfter(0, 50).pauseMs).toBe(30_000);
});

test("a worker that the system cannot start at once is tried again", async () => {
  const lines: { message: string; pid?: number; reason?: string }[] = [];
  const { url, key } = await served(1, { log: (line: (typeof lines)[number]) => lines.push(line) });
  const pid = lines.find(({ message }) => message === "a worker listens")?.pid as number;
  // More than the system passes on to a process.
  process.env["CAIRN_TEST_HUGE"] = "x".repeat(4 * 1024 * 1024);
  try {
    process.kill(pid, "SIGKILL");
    const failed = () =>
      lines.filter(({ message, reason }) => message.startsWith("a worker ended") && reason !== undefined);
    await expect.poll(() => failed().length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(failed()[0]?.reason).toMatch(/E2BIG|Argument list too long/);
  } finally {
    delete process.env["CAIRN_TEST_HUGE"];
  }
  await expect
    .poll(() => lines.some(({ message }) => message === "a worker was started again"), { timeout: 40_000 })
    .toBe(true);
  expect((await fetch(`${url}/ping`, { headers: { "x-api-key": key } })).status).toBe(200);
}, 90_000);

test("counters do not go back while a worker is too busy to tell", async () => {
  const lines: { message: string; worker?: number; pid?: number }[] = [];
  const { url, key } = await served(2, { log: (line: (typeof lines)[number]) => lines.push(line) });
  const [, one, two] = await linesToAll(url, 2, key);
  for (let at = 0; at < 20; at++) await one?.ask("/ping");
  const count = async () => {
    const { text } = await (two as HttpLine).ask("/metrics");
    return [...text.matchAll(/^cairn_requests_total\{.*\} (\d+)$/gm)].reduce(
      (sum, [, value]) => sum + Number(value),
      0,
    );
  };
  const before = await count();
  expect(before).toBeGreaterThanOrEqual(20);
  const pid = lines.find(({ message, worker }) => message === "a worker listens" && worker === 1)?.pid as number;
  expect(readFileSync(`/proc/${pid}/status`, "utf8")).toContain("State:");
  process.kill(pid, "SIGSTOP");
  try {
    expect(await count()).toBeGreaterThanOrEqual(before);
  } finally {
    process.kill(pid, "SIGCONT");
  }
}, 60_000);
