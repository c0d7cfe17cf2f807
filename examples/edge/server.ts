/**
 * A key-value service on one store, the same file on Deno and on Bun.
 *
 *   GET /keys/NAME      200 with the value, or 404
 *   PUT /keys/NAME      204 once the body is on stable storage
 *   DELETE /keys/NAME   204 once the deletion is, or 404
 *   GET /health         200 with a few counters while the store takes writes, 503 once it does not
 *
 * CAIRN_STORE is the store: a path on a mounted volume, or a block device. PORT (8080) and HOST (0.0.0.0) say where to
 * listen. SIGTERM and SIGINT let requests end, then close the store. There is no authentication: put it behind something
 * that has it.
 */
import process from "node:process";
import { CairnError, type CairnErrorCode, open } from "cairn-kv";

/** What of the two runtimes is used here. */
interface Runtimes {
  Deno?: {
    serve(
      options: object,
      fetch: (request: Request) => Promise<Response>,
    ): { addr: { port: number }; shutdown(): Promise<void> };
  };
  Bun?: {
    serve(options: object): { port: number; stop(): Promise<void> };
  };
}

const target = process.env["CAIRN_STORE"];
if (target === undefined || target === "") {
  console.error("CAIRN_STORE is not set. Name a file on a volume, or a block device, such as /data/app.cairn.");
  process.exit(2);
}
const port = Number(process.env["PORT"] ?? 8080);
const hostname = process.env["HOST"] ?? "0.0.0.0";

/** HTTP statuses of what the request is to blame for; everything else is the store's, and 503. */
const STATUSES: Partial<Record<CairnErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  KEY_SIZE: 414,
  VALUE_SIZE: 413,
  NO_SPACE: 507,
};

const VALUE_BYTES_MAX = 64 * 1024 * 1024;

/** How long a store is waited for that another instance still holds, or held when it was killed in another container. */
const PATIENCE_MS = 30_000;

let failure: CairnError | undefined;
const store = await openPatiently(target);

function openStore(path: string) {
  return open(path, {
    valueEncoding: "binary",
    onEvent: (event) => {
      if (event.type === "poisoned") failure = event.error;
    },
  });
}

async function openPatiently(path: string): ReturnType<typeof openStore> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await openStore(path);
    } catch (error) {
      if (!(error instanceof CairnError) || error.code !== "LOCKED" || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/health") {
    if (failure !== undefined) return Response.json({ status: "failed", reason: failure.message }, { status: 503 });
    return Response.json({ status: "ok", records: store.count() });
  }
  if (!pathname.startsWith("/keys/")) return new Response("not found\n", { status: 404 });
  let key: string;
  try {
    key = decodeURIComponent(pathname.slice("/keys/".length));
  } catch {
    return new Response("the key is not valid percent-encoding\n", { status: 400 });
  }
  if (request.method === "GET") {
    const value = store.get(key);
    return value === undefined ? new Response("not found\n", { status: 404 }) : new Response(value as BodyInit);
  }
  if (request.method === "PUT") {
    if (Number(request.headers.get("content-length") ?? 0) > VALUE_BYTES_MAX) {
      return new Response("a value has at most 64 MiB\n", { status: 413 });
    }
    await store.put(key, new Uint8Array(await request.arrayBuffer()));
    return new Response(null, { status: 204 });
  }
  if (request.method === "DELETE") return new Response(null, { status: (await store.del(key)) ? 204 : 404 });
  return new Response("use GET, PUT or DELETE\n", { status: 405, headers: { allow: "GET, PUT, DELETE" } });
}

let ending = false;
let requestCount = 0;
let onDrained: (() => void) | undefined;

async function handle(request: Request): Promise<Response> {
  if (ending) return new Response("this instance is ending\n", { status: 503, headers: { connection: "close" } });
  requestCount += 1;
  try {
    return await answer(request);
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    return new Response(`${error.code}: ${error.message}\n`, { status: STATUSES[error.code] ?? 503 });
  } finally {
    requestCount -= 1;
    if (requestCount === 0) onDrained?.();
  }
}

/** Starts listening. `stop` resolves once the answers are sent. */
function listen(): { port: number; stop(): Promise<void> } {
  const { Deno, Bun } = globalThis as Runtimes;
  if (Deno !== undefined) {
    const server = Deno.serve({ port, hostname, onListen: () => {} }, handle);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ port, hostname, fetch: handle, maxRequestBodySize: VALUE_BYTES_MAX });
    return { port: server.port, stop: () => server.stop() };
  }
  throw new Error("This example serves requests on Deno and on Bun.");
}

const server = listen();
console.log(`serving ${target} on http://${hostname}:${server.port}`);

/** Deno's shutdown cuts off bodies that are still arriving, so the requests are waited for first. */
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  if (requestCount > 0) {
    await new Promise<void>((resolve) => {
      onDrained = resolve;
    });
  }
  await server.stop();
  await store.close();
  process.exit(0);
}
process.on("SIGTERM", end);
process.on("SIGINT", end);
