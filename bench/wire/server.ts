/**
 * A server to be measured, in a process of its own on any runtime: `server.js <kind> <folder>` prints its port and then serves until it is
 * killed.
 *
 *   bare      the runtime's own HTTP server, answering from a `Map`
 *   adapter   the listener of `cairn-kv/server`, answering from a `Map`
 *   echo      the runtime's own sockets: for each request of RIOC as many bytes as its reply has, whatever it says
 *   served    `cairn-kv/server` over a store in a file of the folder, with keys, limits and all
 */
import { join } from "node:path";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer } from "../../adapters/server/index.ts";
import { listenOnWeb } from "../../adapters/server/listen/web-server.ts";
import { reply } from "../../adapters/server/reply.ts";
import type { Open } from "../../hosts/opening.ts";
import { RECORD_COUNT, RIOC_GET_SIZE, RIOC_REPLY_SIZE } from "./constants.ts";

const VALUE = "v".repeat(100);
const JSON_TYPE = Object.freeze({ "content-type": "application/json" });

interface BunServer {
  serve(options: { port: number; hostname: string; fetch(request: Request): Response | Promise<Response> }): {
    port: number;
  };
  listen(options: {
    port: number;
    hostname: string;
    socket: { data(socket: { write(bytes: Uint8Array): number }, chunk: Uint8Array): void };
  }): { port: number };
}
interface DenoConn {
  setNoDelay(value: boolean): void;
  read(target: Uint8Array): Promise<number | null>;
  write(source: Uint8Array): Promise<number>;
}
interface DenoServer {
  listen(options: { port: number; hostname: string }): AsyncIterable<DenoConn> & { addr: { port: number } };
  serve(
    options: { port: number; hostname: string; onListen(address: { port: number }): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): unknown;
}
const { Bun, Deno } = globalThis as { Bun?: BunServer; Deno?: DenoServer };

const map = new Map<string, string>();
for (let index = 0; index < RECORD_COUNT; index++) map.set(`key-${index}`, VALUE);

function say(port: number, key = "none", riocPort = port): void {
  console.log(JSON.stringify({ port, key, riocPort }));
}

function got(path: string): string {
  const key = decodeURIComponent(path.slice("/record/".length));
  return JSON.stringify({ key, value: map.get(key) });
}

function posted(body: string): string {
  const { key, value } = JSON.parse(body) as { key: string; value: string };
  map.set(key, value);
  return '{"success":true,"message":"Record stored"}';
}

async function answer(request: Request): Promise<string> {
  const { url } = request;
  return request.method === "GET" ? got(url.slice(url.indexOf("/", 8))) : posted(await request.text());
}

async function bare(): Promise<void> {
  const host = "127.0.0.1";
  const handle = (request: Request): Response | Promise<Response> => {
    const { url } = request;
    if (request.method === "GET") return new Response(got(url.slice(url.indexOf("/", 8))), { headers: JSON_TYPE });
    return answer(request).then((text) => new Response(text, { headers: JSON_TYPE }));
  };
  if (Bun !== undefined) {
    say(Bun.serve({ port: 0, hostname: host, fetch: handle }).port);
  } else if (Deno !== undefined) {
    Deno.serve({ port: 0, hostname: host, onListen: ({ port }) => say(port) }, handle);
  } else {
    const { createServer: createHttp } = await import("node:http");
    const server = createHttp((request, response) => {
      const send = (text: string): void => {
        response.writeHead(200, { ...JSON_TYPE, "content-length": Buffer.byteLength(text) });
        response.end(text);
      };
      if (request.method === "GET") {
        send(got(request.url ?? ""));
        return;
      }
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => send(posted(Buffer.concat(chunks).toString())));
    });
    server.listen(0, host, () => say((server.address() as { port: number }).port));
  }
}

async function adapter(): Promise<void> {
  const { port } = await listenOnWeb({
    host: "127.0.0.1",
    port: 0,
    timeouts: { headerMs: 10_000, bodyMs: 30_000, idleMs: 75_000, requestMs: 60_000 },
    limits: { connections: 1000, bodyBytes: 1e6, frameBytes: 1e6, sendQueueBytes: 1e7, bytesInFlight: 1e8 },
    handle(request) {
      const { url } = request;
      if (request.method === "GET") return reply(200, got(url.slice(url.indexOf("/", 8))), JSON_TYPE);
      return answer(request).then((text) => reply(200, text, JSON_TYPE));
    },
    upgrade: () => reply(404),
    left: () => {},
    keeps: () => true,
  });
  say(port);
}

/** What one connection is answered for so many more bytes. */
function echoing(): (size: number) => Uint8Array {
  const replies = new Uint8Array(RIOC_REPLY_SIZE * 1024);
  for (let at = 0; at < replies.length; at += RIOC_REPLY_SIZE) replies[at + 4] = VALUE.length;
  let held = 0;
  return (size) => {
    held += size;
    const count = Math.floor(held / RIOC_GET_SIZE);
    held -= count * RIOC_GET_SIZE;
    return replies.subarray(0, count * RIOC_REPLY_SIZE);
  };
}

async function echo(): Promise<void> {
  const hostname = "127.0.0.1";
  if (Bun !== undefined) {
    const echoes = new WeakMap<object, (size: number) => Uint8Array>();
    const socket = {
      open: (one: object) => void echoes.set(one, echoing()),
      data(one: { write(bytes: Uint8Array): number }, chunk: Uint8Array) {
        const answer = echoes.get(one)?.(chunk.length) as Uint8Array;
        if (one.write(answer) !== answer.length) throw new Error("the client does not take what it asked for");
      },
    };
    say(Bun.listen({ port: 0, hostname, socket }).port);
  } else if (Deno !== undefined) {
    const listener = Deno.listen({ port: 0, hostname });
    say(listener.addr.port);
    const serve = async (conn: DenoConn): Promise<void> => {
      conn.setNoDelay(true);
      const answer = echoing();
      const chunk = new Uint8Array(16_384);
      for (;;) {
        const size = await conn.read(chunk);
        if (size === null) return;
        for (let left = answer(size); left.length > 0; ) left = left.subarray(await conn.write(left));
      }
    };
    for await (const conn of listener) void serve(conn).catch(() => {});
  } else {
    const { createServer: createSockets } = await import("node:net");
    const server = createSockets({ noDelay: true }, (socket) => {
      const answer = echoing();
      socket.on("data", (chunk) => socket.write(answer(chunk.length)));
      socket.on("error", () => {});
    });
    server.listen(0, hostname, () => say((server.address() as { port: number }).port));
  }
}

async function served(folder: string): Promise<void> {
  const { open } = (await import(
    Bun !== undefined ? "../../hosts/bun.js" : Deno !== undefined ? "../../hosts/deno.js" : "../../hosts/node.js"
  )) as { open: Open };
  const store = await open(join(folder, "wire.cairn"), { memoryBytes: 512 * 1024 * 1024 });
  const key = newApiKey();
  const home = store.sub("home");
  for (const [name, value] of map) home.set(name, value);
  const keys = { tenants: { home: {} }, keys: { [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 } } };
  const { port, riocPort } = await createServer(store, { keys, riocPort: 0, riocTenant: "home" }).listen();
  say(port, key.text, riocPort);
}

const [kind, folder = ""] = process.argv.slice(2);
if (kind === "bare") await bare();
else if (kind === "echo") await echo();
else if (kind === "adapter") await adapter();
else await served(folder);
