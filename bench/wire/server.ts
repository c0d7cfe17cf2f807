/**
 * A server to be measured, in a process of its own on any runtime: `server.js <kind> <folder>` prints its port and then serves until it is
 * killed.
 *
 *   bare      the runtime's own HTTP server, answering from a `Map`
 *   adapter   the listener of `cairn-kv/server`, answering from a `Map`
 *   served    `cairn-kv/server` over a store in a file of the folder, with keys, limits and all
 */
import { join } from "node:path";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer } from "../../adapters/server/index.ts";
import { listenOnWeb } from "../../adapters/server/listen/web-server.ts";
import { reply } from "../../adapters/server/reply.ts";
import type { Open } from "../../hosts/opening.ts";
import { RECORD_COUNT } from "./constants.ts";

const VALUE = "v".repeat(100);
const JSON_TYPE = Object.freeze({ "content-type": "application/json" });

interface BunServer {
  serve(options: { port: number; hostname: string; fetch(request: Request): Response | Promise<Response> }): {
    port: number;
  };
}
interface DenoServer {
  serve(
    options: { port: number; hostname: string; onListen(address: { port: number }): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): unknown;
}
const { Bun, Deno } = globalThis as { Bun?: BunServer; Deno?: DenoServer };

const map = new Map<string, string>();
for (let index = 0; index < RECORD_COUNT; index++) map.set(`key-${index}`, VALUE);

function say(port: number, key = "none"): void {
  console.log(JSON.stringify({ port, key }));
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

async function served(folder: string): Promise<void> {
  const { open } = (await import(
    Bun !== undefined ? "../../hosts/bun.js" : Deno !== undefined ? "../../hosts/deno.js" : "../../hosts/node.js"
  )) as { open: Open };
  const store = await open(join(folder, "wire.cairn"), { memoryBytes: 512 * 1024 * 1024 });
  const key = newApiKey();
  const home = store.sub("home");
  for (const [name, value] of map) home.set(name, value);
  const keys = { tenants: { home: {} }, keys: { [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 } } };
  const { port } = await createServer(store, { keys }).listen();
  say(port, key.text);
}

const [kind, folder = ""] = process.argv.slice(2);
if (kind === "bare") await bare();
else if (kind === "adapter") await adapter();
else await served(folder);
