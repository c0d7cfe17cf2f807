/** What an attacker would try that no other suite names: each was found by reading the sources as one, and is mended. */
import { expect, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { resolveConfig } from "../../adapters/server/config.ts";
import { FrameReader } from "../../adapters/server/listen/frames.ts";
import { Origins } from "../../adapters/server/origins.ts";
import { reply } from "../../adapters/server/reply.ts";
import { linesOf } from "../../adapters/server/rest/lines.ts";
import { frame } from "./frames.ts";
import { FILE, KEYS, servedHere } from "./owasp-server.ts";
import { delay, Raw, statusesOf } from "./raw.ts";
import { clientFrame, rawSocket } from "./raw-socket.ts";
import { startWeb } from "./web.ts";

test("an op that is no number is 400 and counts as no operation, however deep it is and wherever it waits", async () => {
  const { url, ask } = await servedHere();
  const socket = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.writer.text });
  const ops = [
    '"length"',
    '"constructor"',
    '"__proto__"',
    '"1"',
    "[1]",
    "{}",
    "null",
    `${"[".repeat(60_000)}${"]".repeat(60_000)}`,
  ];
  // So many writes that what comes behind them waits, and is done outside of any call of the listener.
  const writes = Array.from({ length: 3000 }, (_, n) => `{"op":2,"key":"w","value":"${n}","messageId":1}`);
  const hostile = ops.map((op) => `{"op":${op},"key":"a","messageId":2}`);
  socket.sendBytes(Buffer.concat([...writes, ...hostile, ...writes, ...hostile].map((text) => clientFrame(text))));
  const replies = await socket.replies(2 * (writes.length + hostile.length));
  expect(replies.filter(({ code }) => code === 400).length).toBe(2 * ops.length);
  expect(replies.filter(({ code }) => code === 200).length).toBe(2 * writes.length);
  expect(await socket.ask({ op: 1, key: "w" })).toMatchObject({ code: 200, value: "2999" });
  expect(socket.closeCode).toBeUndefined();
  socket.close();
  const text = await (await ask("/metrics", "operator")).text();
  const refused = /cairn_requests_total\{[^}]*protocol="websocket"[^}]*status="400"[^}]*\} (\d+)/.exec(text);
  expect(Number(refused?.[1])).toBe(2 * ops.length);
});

test("an increment needs the right to read, over every protocol: adding nothing would tell what is there", async () => {
  const counter = newApiKey();
  const keys = {
    ...FILE,
    roles: { ...FILE.roles, blind: [{ prefix: "", verbs: ["write" as const, "delete" as const] }] },
    keys: { ...FILE.keys, [counter.id]: { tenant: "home", role: "blind", sha256: counter.sha256 } },
  };
  const { url, post } = await servedHere({ keys });
  expect((await post("/record", { key: "salary", value: "123456" }, "writer")).status).toBe(200);
  const headers = { "x-api-key": counter.text, "content-type": "application/json" };
  const answer = await fetch(`${url}/record/atomic`, {
    method: "POST",
    headers,
    body: '{"key":"salary","increment":0}',
  });
  expect([answer.status, await answer.text()]).toEqual([403, expect.not.stringContaining("123456")]);
  const socket = await rawSocket(`${url}/ws`, { "x-api-key": counter.text });
  expect((await socket.ask({ op: 6, key: "salary", value: 0 })).code).toBe(403);
  expect((await socket.ask({ op: 2, key: "note", value: "0" })).code).toBe(200);
  socket.close();
  const client = await connect(url, { key: counter.text });
  await expect(client.increment("salary", 0n)).rejects.toMatchObject({ code: "FORBIDDEN" });
  await client.close();
});

test("metrics that ask for no key are not read by a page whose name was made to lead to this machine", async () => {
  const made = await servedHere();
  const asked = async (port: number, host: string, more = ""): Promise<number | undefined> => {
    const raw = await Raw.to(port);
    raw.write(`GET /metrics HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`);
    return statusesOf(await raw.end())[0];
  };
  for (const host of ["127.0.0.1:80", "localhost:3000", "[::1]", "app.localhost", ""])
    expect([host, await asked(made.port, host)]).toEqual([host, 200]);
  for (const host of ["evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3"])
    expect([host, await asked(made.port, host)]).toEqual([host, host === "1.2.3" ? 200 : 403]);
  // Whoever shows a key is no such page, and a server for others asks for one.
  expect(await asked(made.port, "db.example", `x-api-key: ${KEYS.reader.text}\r\n`)).toBe(200);
  expect(resolveConfig({ host: "0.0.0.0", allowPlain: true }).metrics.key).toBe(true);
});

test("what a page of any origin may ask is not put into answers as it came, where no answer could hold it", async () => {
  const { port } = await servedHere({ origins: ["*"] });
  const sent = async (head: string): Promise<string> => {
    const raw = await Raw.to(port);
    raw.write(Buffer.from(`${head}Host: x\r\nConnection: close\r\n\r\n`, "latin1"));
    return raw.end();
  };
  const preflight = await sent(
    "OPTIONS /record HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x\xe4\r\n",
  );
  expect(statusesOf(preflight)).toEqual([204]);
  expect(preflight).toContain("access-control-allow-headers: content-type, x-api-key\r\n");
  const strange = await sent("GET /healthz HTTP/1.1\r\nOrigin: https://\xe4.example\r\n");
  expect(statusesOf(strange)).toEqual([200]);
  expect(strange).not.toContain("access-control");
  const origins = new Origins(["*"]);
  expect([origins.isAllowed("https://a.example"), origins.isAllowed("null"), origins.isAllowed("a\r\nb")]).toEqual([
    true,
    true,
    false,
  ]);
});

test("a value that is called as a header does not hide that header from an upgrade", async () => {
  const server = await startWeb({ upgrade: () => reply(418, "asked") });
  const raw = await Raw.to(server.port);
  raw.write(
    "GET /ws HTTP/1.1\r\nHost: x\r\nX-A: sec-websocket-version\r\nX-B: sec-websocket-key\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  expect(statusesOf(await raw.end())).toEqual([418]);
});

test("pieces of a byte each cost no more than their bytes: chunks of a body, parts of a message, a line's pieces", async () => {
  const count = 300_000;
  let pieces = 0;
  const server = await startWeb({
    limits: { bodyBytes: 2 * count },
    handle: async (request) => {
      let size = 0;
      if (new URL(request.url).pathname === "/whole") size = (await request.bytes()).length;
      else {
        const reader = (request.body as ReadableStream<Uint8Array>).getReader();
        for (let step = await reader.read(); !step.done; step = await reader.read()) {
          pieces++;
          size += step.value.length;
        }
      }
      return reply(200, `size ${size};`);
    },
  });
  for (const path of ["/whole", "/pieces"]) {
    const raw = await Raw.to(server.port);
    raw.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`);
    raw.write(`${"1\r\nb\r\n".repeat(count)}0\r\n\r\n`);
    expect(await raw.end()).toContain(`size ${count};`);
  }
  // Each holds what came at once, not a byte.
  expect(pieces).toBeLessThan(count / 50);

  const received: (string | Uint8Array)[] = [];
  const message = (content: string | Uint8Array): number => received.push(content);
  const reader = new FrameReader(2 * count, { message, control: () => {}, keeps: () => true, isFull: false });
  reader.take(frame({ first: 1, payload: "p" }));
  for (let n = 0; n < count; n++) reader.take(frame({ first: 0, payload: "p" }));
  reader.take(frame({ first: 0x80, payload: "p" }));
  expect(received).toEqual(["p".repeat(count + 2)]);

  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < 50_000; n++) yield Uint8Array.of(n % 10_000 === 9999 ? 10 : 0x6c);
  }
  const lines: (number | undefined)[] = [];
  for await (const list of linesOf(bytes(), 9999)) lines.push(...list.map((line) => line.bytes?.length));
  expect(lines).toEqual(Array(5).fill(9999));
  const short: (number | undefined)[] = [];
  for await (const list of linesOf(bytes(), 9998)) short.push(...list.map((line) => line.bytes?.length));
  expect(short).toEqual(Array(5).fill(undefined));
});

test("a body of many small pieces that nobody reads holds its connection up, as a large one does", async () => {
  let read: (() => void) | undefined;
  const server = await startWeb({
    handle: async (request) => {
      await new Promise<void>((resolve) => {
        read = resolve;
      });
      return reply(200, `${(await request.bytes()).length}`);
    },
  });
  const raw = await Raw.to(server.port);
  raw.write("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n");
  for (let n = 0; n < 3000; n++) {
    raw.write("b");
    if (n % 4 === 0) await delay(0);
  }
  read?.();
  expect(await raw.end()).toContain("\r\n\r\n3000");
});
