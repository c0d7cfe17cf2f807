/**
 * Bad input over every protocol that it can come by, against one server with all of them: the documented answer, then each protocol's bystander
 * asks as if nothing had been, and nothing is counted as in flight. What is slow, vanishes and idles has suites of its own as well.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { type Connection, connect } from "../../adapters/client/index.ts";
import { CborWriter } from "../../store/connection/cbor.ts";
import { CALLS } from "../../store/connection/frames.ts";
import { frame } from "./frames.ts";
import { KEYS, type Served, served } from "./owasp-server.ts";
import { Raw, statusesOf } from "./raw.ts";
import { type RawSocket, rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

let server: Served;
let client: Connection;
let socket: RawSocket;
let rioc: RiocClient;
let token: string;
const riocConfig = { riocPort: 0, riocTenant: "home" };
const limits = { bodyBytes: 300_000, frameBytes: 300_000 };

beforeAll(async () => {
  server = await served({ ...riocConfig, limits, timeouts: { bodyMs: 2_000 } });
  client = await connect(server.url, { key: KEYS.writer.text });
  socket = await rawSocket(`${server.url}/ws`, { "x-api-key": KEYS.writer.text });
  rioc = await RiocClient.open(server.riocPort);
  token = await server.token({ accessPattern: "^mine:" }, "writer");
});
afterAll(async () => {
  socket.destroy();
  await rioc.close();
  await client.close();
  await server.close();
});

/** A request over HTTP, byte for byte: the statuses of what is answered until the end. */
async function http(text: string | Uint8Array): Promise<number[]> {
  const raw = await Raw.to(server.port);
  raw.write(text);
  return statusesOf(await raw.end());
}
const head = (line: string, ...more: string[]): string =>
  [`${line} HTTP/1.1`, "Host: x", `x-api-key: ${KEYS.writer.text}`, "Connection: close", ...more, "", ""].join("\r\n");
const post = (path: string, body: string): string =>
  head(`POST ${path}`, "content-type: application/json", `content-length: ${Buffer.byteLength(body)}`) + body;
const put = (path: string, body: string): string =>
  head(`PUT ${path}`, "content-type: text/plain", `content-length: ${Buffer.byteLength(body)}`) + body;
const bearer = (line: string): string =>
  `${line} HTTP/1.1\r\nHost: x\r\nauthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`;

/** A frame of text over a WebSocket of its own: the code of the reply. */
async function ws(request: object | string): Promise<number> {
  const own = await rawSocket(`${server.url}/ws`, { "x-api-key": KEYS.writer.text });
  own.send(request as object);
  const { code } = JSON.parse(await own.next()) as { code: number };
  own.close();
  return code;
}

/** Bytes over a WebSocket of its own: the code that it is closed with. */
async function wsBytes(bytes: Uint8Array): Promise<number | undefined> {
  const own = await rawSocket(`${server.url}/ws`, { "x-api-key": KEYS.writer.text });
  own.sendBytes(bytes);
  return own.ended();
}

/** Bytes over a connection of RIOC: the status of the reply, or "ended". */
async function riocBytes(bytes: Uint8Array): Promise<number | string> {
  const own = await RiocClient.open(server.riocPort);
  await own.send(bytes);
  const reply = await own.reply().catch(() => undefined);
  own.socket.destroy();
  return reply?.status ?? "ended";
}

/** A frame of calls as `cairn-kv/client` sends them: what comes after the welcome is an answer, or the code of the end. */
async function remote(bytes: Uint8Array): Promise<"answered" | number> {
  const own = new WebSocket(server.url.replace("http", "ws"), ["cairn.v1"], {
    headers: { "x-api-key": KEYS.writer.text },
  });
  own.on("error", () => undefined);
  let count = 0;
  const end = await new Promise<"answered" | number>((resolve) => {
    own.on("message", () => {
      count++;
      if (count === 1) own.send(bytes);
      else resolve("answered");
    });
    own.on("close", resolve);
  });
  own.terminate();
  return end;
}
function calls(...items: unknown[]): Uint8Array {
  const writer = new CborWriter();
  for (const item of items) writer.value(item);
  return writer.take();
}
const call = (name: string, ...args: unknown[]): Uint8Array => calls(1, 1, CALLS.indexOf(name as never), ...args);
const failureOf = async (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => "done",
    (error: { code?: string }) => error.code,
  );

const TLS_HELLO = Buffer.from("16030100a5010000a10303", "hex");
const key = (size: number): string => "k".repeat(size);
const LARGE = "v".repeat(310_000);

const TABLE: [what: string, protocol: string, answer: unknown, ask: () => Promise<unknown>][] = [
  ["malformed JSON", "REST", [400], () => http(post("/record", '{"key":"a",'))],
  ["malformed JSON", "REST", [400], () => http(put("/record/a", "{").replace("text/plain", "application/json"))],
  ["malformed JSON", "WebSocket", 400, () => ws('{"op":1,')],
  ["malformed CBOR", "client", 1002, () => remote(Uint8Array.of(1, 1, 1, 0x9f))],
  ["bad percent-encoding", "REST", [400], () => http(head("GET /record/%E0%A4"))],
  ["bad percent-encoding", "REST", [400], () => http(head("GET /record/%zz"))],
  ["bad percent-encoding", "REST", [400], () => http(head("GET /records?start=%ff"))],
  [
    "bad percent-encoding",
    "WebSocket",
    403,
    async () => (await rawSocket(`${server.url}/ws?apiKey=%zz`).catch((e) => e)).status,
  ],
  ["an oversized key", "REST", [400], () => http(post("/record", JSON.stringify({ key: key(513), value: "v" })))],
  ["an oversized key", "REST", [400], () => http(put(`/record/${key(2100)}`, "v"))],
  ["an oversized key", "WebSocket", 400, () => ws({ op: 2, key: key(513), value: "v" })],
  ["an oversized key", "RIOC", -8, () => riocBytes(joined(batch(1), operation(2, key(513), "v")))],
  ["an oversized key", "client", "answered", () => remote(call("set", Buffer.from(key(3000)), Buffer.from("v"), null))],
  ["an oversized key", "client", "KEY_SIZE", () => failureOf(client.put(key(3000), "v"))],
  ["an oversized value", "REST", [400], () => http(post("/record", JSON.stringify({ key: "a", value: key(102_400) })))],
  ["an oversized value", "WebSocket", 400, () => ws({ op: 2, key: "a", value: key(102_400) })],
  ["an oversized value", "RIOC", -8, () => riocBytes(joined(batch(1), operation(2, "a", key(102_401))))],
  ["an oversized value", "client", "BATCH_SIZE", () => failureOf(client.put("a", LARGE))],
  ["an oversized body", "REST", [413], () => http(put("/record/a", LARGE))],
  ["an oversized frame", "WebSocket", 1009, () => wsBytes(frame({ first: 0x81, payload: LARGE }))],
  ["an oversized frame", "client", 1009, () => remote(call("set", Buffer.from("a"), Buffer.from(LARGE), null))],
  ["an oversized batch", "RIOC", "ended", () => riocBytes(batch(129))],
  ["wrong magic", "RIOC", "ended", () => riocBytes(batch(1, 2, 0x12345678))],
  ["wrong magic", "RIOC", "ended", () => riocBytes(joined(batch(1, 9), operation(1, "a")))],
  ["HTTP", "RIOC", "ended", () => riocBytes(Buffer.from(post("/record", '{"key":"a","value":"x"}')))],
  ["TLS", "RIOC without it", "ended", () => riocBytes(TLS_HELLO)],
  ["RIOC", "REST", [400], () => http(joined(batch(1), operation(1, "a"), Buffer.from("\r\n\r\n")))],
  ["TLS", "REST without it", [400], () => http(joined(TLS_HELLO, Buffer.from("\r\n\r\n")))],
  ["HTTP/2", "REST", [505], () => http("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
  [
    "a length that lies",
    "REST",
    [400],
    () => http(post("/record", '{"key":"lie","value":"x"}').replace("length: 25", "length: 20")),
  ],
  [
    "a length that lies",
    "REST",
    [408],
    () => http(post("/record", '{"key":"lie","value":"x"}').replace("length: 25", "length: 99")),
  ],
  ["a length that lies", "REST", [413], () => http(put("/record/lie", "x").replace("length: 1", "length: 999999999"))],
  [
    "a length that lies",
    "WebSocket",
    1009,
    () => wsBytes(frame({ first: 0x81, payload: "x", says: 2 ** 40, form: 64 })),
  ],
  [
    "a length that lies",
    "RIOC",
    "ended",
    () => riocBytes(joined(batch(1), operation(2, "lie", "x", { valueSize: 99 }))),
  ],
  ["a length that lies", "client", 1002, () => remote(Uint8Array.of(1, 1, 1, 0x5a, 0xff, 0xff, 0xff, 0xff))],
  ["a token for other keys", "REST", [403], () => http(bearer("GET /record/yours:1"))],
  ["a token for other keys", "REST", [403], () => http(bearer("DELETE /record/yours:1"))],
  [
    "a token for other keys",
    "WebSocket",
    403,
    async () => {
      const own = await rawSocket(`${server.url}/ws?token=${token}`);
      const { code } = await own.ask({ op: 2, key: "yours:1", value: "x" });
      own.close();
      return code;
    },
  ],
  [
    "a token for other keys",
    "client",
    "FORBIDDEN",
    async () => {
      const own = await connect(server.url, { token });
      const code = await failureOf(own.put("yours:1", "x"));
      await own.close();
      return code;
    },
  ],
];

let turn = 0;
/** Others ask as ever, and see what they were told was stored. */
async function bystanders(): Promise<void> {
  const value = `v${turn++}`;
  await client.put("bystander", value);
  expect(await socket.ask({ op: 1, key: "bystander" })).toMatchObject({ code: 200, value });
  await rioc.send(joined(batch(1), operation(1, "bystander")));
  expect(Buffer.from((await rioc.reply()).body).toString()).toBe(value);
  expect(await (await server.ask("/record/bystander", "reader")).json()).toMatchObject({ value });
}

async function inFlight(): Promise<number> {
  const text = await (await server.ask("/metrics", "operator")).text();
  return Number(/^cairn_in_flight_bytes (\d+)$/m.exec(text)?.[1]);
}

test.each(TABLE)("%s over %s is %j, and harms nobody", async (_what, _protocol, answer, ask) => {
  expect(await ask()).toEqual(answer);
  await bystanders();
  expect(server.store.sub("home").get("lie")).toBeUndefined();
  expect(server.store.sub("home").get("yours:1")).toBeUndefined();
  await expect.poll(inFlight).toBe(0);
});

test("a client of the package that vanishes in the midst of its batches: what was answered is there, and others go on", async () => {
  let answered = 0;
  for (let n = 0; n < 20; n++) {
    const own = await connect(server.url, { key: KEYS.writer.text, patienceMs: 100 });
    const writes = Array.from({ length: 200 }, (_, at) => own.put(`gone:${n}:${at}`, `${at}`));
    const settled = Promise.allSettled(writes);
    // In the midst: some are answered, others are not.
    await Promise.race([writes[n * 8], new Promise((resolve) => setTimeout(resolve, n % 3))]).catch(() => undefined);
    await own.close();
    for (const [at, { status }] of (await settled).entries()) {
      if (status !== "fulfilled") continue;
      answered++;
      expect(server.store.sub("home").get(`gone:${n}:${at}`)).toBe(`${at}`);
    }
  }
  expect(answered).toBeGreaterThan(0);
  await bystanders();
  await expect.poll(inFlight).toBe(0);
});
