/**
 * The OWASP API security top ten of 2023, one `describe` an entry, against `createServer(...).listen()` with real sockets.
 *
 * https://owasp.org/API-Security/editions/2023/en/0x11-t10/
 */
import { readdirSync, readFileSync } from "node:fs";
import { createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Connection, connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer, type LogLine } from "../../adapters/server/index.ts";
import { OPERATIONS } from "../../adapters/server/metrics/operations.ts";
import { openOfRuntime } from "../runtime.ts";
import { codeOf } from "../store/harness.ts";
import { Raw, statusesOf } from "./raw.ts";
import { type RawSocket, Refused, rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();

const NAMES = ["operator", "admin", "writer", "reader", "scoped", "expired"] as const;
type Name = (typeof NAMES)[number];
const KEYS = Object.fromEntries(NAMES.map((name) => [name, newApiKey()])) as Record<Name, ReturnType<typeof newApiKey>>;
const GRANTS: Record<Name, { tenant: string; role: string; expires?: string }> = {
  operator: { tenant: "home", role: "admin" },
  admin: { tenant: "guest", role: "admin" },
  writer: { tenant: "home", role: "writer" },
  reader: { tenant: "home", role: "reader" },
  scoped: { tenant: "home", role: "notes" },
  expired: { tenant: "home", role: "admin", expires: "2020-01-01T00:00:00Z" },
};
const FILE: KeysFile = {
  tenants: { home: { operator: true }, guest: { operator: false } },
  roles: { notes: [{ prefix: "note:", verbs: ["read", "write", "range"] }] },
  keys: Object.fromEntries(NAMES.map((name) => [KEYS[name].id, { ...GRANTS[name], sha256: KEYS[name].sha256 }])),
};

async function served(config: ServerConfig = {}) {
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const lines: LogLine[] = [];
  const server = createServer(store, { keys: FILE, log: (line) => lines.push(line), logLevel: "debug", ...config });
  const { url, port, riocPort } = await server.listen();
  const ask = (path: string, as: Name | undefined, init: RequestInit = {}): Promise<Response> => {
    const key = as === undefined ? {} : { "x-api-key": KEYS[as].text };
    return fetch(url + path, { ...init, headers: { ...key, ...(init.headers as Record<string, string>) } });
  };
  const post = (path: string, body: unknown, as: Name | undefined): Promise<Response> =>
    ask(path, as, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return {
    store,
    server,
    url,
    port,
    riocPort: riocPort ?? 0,
    lines,
    ask,
    post,
    /** The status of an answer, whose body is let go. */
    async status(answer: Promise<Response>): Promise<number> {
      const response = await answer;
      await response.body?.cancel();
      return response.status;
    },
    async token(wants: object, as: Name = "operator"): Promise<string> {
      return ((await (await post("/token/websocket", wants, as)).json()) as { token: string }).token;
    },
    async close() {
      await server.close({ graceMs: 0 });
      await store.close();
    },
  };
}
type Served = Awaited<ReturnType<typeof served>>;

/** One that ends with its test. */
async function servedHere(config: ServerConfig = {}): Promise<Served> {
  const made = await served(config);
  onTestFinished(() => made.close());
  return made;
}

let shared: Served;
beforeAll(async () => {
  shared = await served({ riocPort: 0, riocTenant: "guest", metrics: { key: true } });
});
afterAll(() => shared.close());

const SECRET = "of-home-alone";

describe("API1: broken object level authorization", () => {
  beforeAll(async () => {
    await shared.post("/record", { key: "note:1", value: SECRET }, "operator");
    await shared.post("/record", { key: "plan:1", value: SECRET }, "operator");
  });

  test("another tenant's records are not there, by any route of REST", async () => {
    const { ask, post } = shared;
    const made = (await (await post("/snapshots", {}, "operator")).json()) as { id: string };
    const texts: string[] = [];
    for (const path of [
      "/record/note:1",
      "/record?key=note:1",
      "/record?key=bm90ZTox&keyEncoding=base64",
      "/record/%FF%04homenote:1",
      "/records?start=a&end=z",
      "/records?prefix=note:",
      "/records/count",
      `/record/note:1?snapshot=${made.id}`,
      `/records?snapshot=${made.id}`,
      "/stats",
    ]) {
      const response = await ask(path, "admin");
      texts.push(`${path} ${response.status} ${await response.text()}`);
    }
    for (const text of texts) expect(text).not.toContain(SECRET);
    expect(texts.filter((text) => / (404|410) /.test(text)).length).toBeGreaterThanOrEqual(4);
    expect((await ask("/record/note:1", "admin", { method: "DELETE" })).status).toBe(404);
    expect((await ask(`/snapshots/${made.id}`, "admin", { method: "DELETE" })).status).toBe(404);
    expect((await ask("/records?prefix=", "admin", { method: "DELETE" })).status).toBeLessThan(500);
    expect((await ask("/record/note:1", "operator")).status).toBe(200);
    expect((await ask(`/snapshots/${made.id}`, "operator", { method: "DELETE" })).status).toBeLessThan(300);
  });

  test("nor over WebSocket, RIOC and the client's connection", async () => {
    const socket = await rawSocket(`${shared.url}/ws`, { "x-api-key": KEYS.admin.text });
    expect(await socket.ask({ op: 1, key: "note:1" })).toMatchObject({ code: 404 });
    expect(await socket.ask({ op: 4, key: "note:1" })).toMatchObject({ code: 404 });
    expect(await socket.ask({ op: 5, key: "a", endKey: "z" })).toMatchObject({ records: [] });
    socket.close();
    const rioc = await RiocClient.open(shared.riocPort);
    await rioc.send(joined(batch(2), operation(1, "note:1"), operation(3, "note:1")));
    expect([(await rioc.reply()).status, (await rioc.reply()).status]).toEqual([-6, -6]);
    await rioc.close();
    const client = await connect(shared.url, { key: KEYS.admin.text });
    expect(await client.get("note:1")).toBeUndefined();
    expect(await client.count()).toBe(0);
    expect(await client.sub("home").get("note:1")).toBeUndefined();
    await client.close();
  });

  test("of its own tenant a key has what its role names, and a token what it is for", async () => {
    const { ask, status, url, token } = shared;
    expect(await status(ask("/record/note:1", "scoped"))).toBe(200);
    expect(await status(ask("/record/plan:1", "scoped"))).toBe(403);
    expect(await status(ask("/record/plan:none", "scoped"))).toBe(403);
    expect(await status(ask("/records?start=a&end=z", "scoped"))).toBe(403);
    expect(await status(ask("/records?prefix=note:", "scoped"))).toBe(200);
    const bearer = { authorization: `Bearer ${await token({ accessPattern: "^note:" })}` };
    expect(await status(ask("/record/note:1", undefined, { headers: bearer }))).toBe(200);
    expect(await status(ask("/record/plan:1", undefined, { headers: bearer }))).toBe(403);
    const socket = await rawSocket(`${url}/ws?token=${await token({ accessPattern: "^note:" })}`);
    expect(await socket.ask({ op: 1, key: "plan:1" })).toMatchObject({ code: 403 });
    expect(await socket.ask({ op: 1, key: "note:1" })).toMatchObject({ value: SECRET });
    socket.close();
    const client = await connect(url, { key: KEYS.scoped.text });
    expect([await client.get("note:1"), await codeOf(() => client.get("plan:1"))]).toEqual([SECRET, "FORBIDDEN"]);
    expect(await codeOf(() => client.sub("x").get("note:1"))).toBe("FORBIDDEN");
    await client.close();
  });
});

describe("API2: broken authentication", () => {
  test("nothing but a key or token that counts is let in, and no answer says why not", async () => {
    const made = await servedHere();
    const good = KEYS.operator.text;
    const token = await made.token({ accessPattern: ".*" });
    const [id, payload, signature] = token.split(".") as [string, string, string];
    const flipped = `${payload.slice(0, -1)}${payload.endsWith("A") ? "B" : "A"}`;
    const shown: Record<string, string>[] = [
      {},
      { "x-api-key": "" },
      { "x-api-key": KEYS.expired.text },
      { "x-api-key": good.slice(0, -1) },
      { "x-api-key": `${good}x` },
      { "x-api-key": good.toUpperCase() },
      { "x-api-key": `${KEYS.operator.id}` },
      { "x-api-key": token },
      { authorization: `Basic ${Buffer.from(`x:${good}`).toString("base64")}` },
      { authorization: `Bearer ${id}.${flipped}.${signature}` },
      { authorization: `Bearer ${id}.${payload}.` },
      { authorization: `Bearer ${KEYS.reader.id}.${payload}.${signature}` },
      { authorization: `Bearer eyJhbGciOiJub25lIn0.${payload}.` },
    ];
    const bodies = new Set<string>();
    for (const headers of shown) {
      const response = await made.ask("/record/a", undefined, { headers });
      expect([headers, response.status]).toEqual([headers, 401]);
      bodies.add((await response.text()).toLowerCase().replace(/\./g, ""));
    }
    expect(bodies.size).toBe(1);
    expect(await made.status(made.ask(`/record/a?apiKey=${good}`, undefined))).toBe(401);
    expect(await made.status(made.ask(`/record/a?token=${token}`, undefined))).toBe(401);
    for (const query of ["", "?apiKey=none", `?token=${id}.${flipped}.${signature}`, `?token=${good}`]) {
      await expect(rawSocket(`${made.url}/ws${query}`)).rejects.toMatchObject({
        status: expect.toSatisfy((is) => is === 401 || is === 403 || is === 429),
      });
    }
    expect(await codeOf(() => connect(made.url, { key: `${good}x` }))).toMatch(
      /^(FORBIDDEN|CLOSED|UNSUPPORTED|INVALID_ARGUMENT)$/,
    );
  });

  test("guessing is slowed down, for the address that does it, over every way in", async () => {
    const { ask, status, url } = await servedHere();
    const statuses: number[] = [];
    for (let count = 0; count < 24; count++) {
      statuses.push(await status(ask("/record/a", undefined, { headers: { "x-api-key": `guess-${count}` } })));
    }
    expect(new Set(statuses)).toEqual(new Set([401, 429]));
    expect(statuses.at(-1)).toBe(429);
    await expect(rawSocket(`${url}/ws?apiKey=guess`)).rejects.toMatchObject({ status: 429 });
    // Whoever has a key goes on.
    expect(await status(ask("/ping", "operator"))).toBe(200);
  });

  test("tokens make no tokens, and end with their lifetime", async () => {
    const { ask, post, status, token } = await servedHere({ tokenLifetimeMs: 1000 });
    const made = await token({ accessPattern: ".*" });
    const headers = { authorization: `Bearer ${made}`, "content-type": "application/json" };
    const again = ask("/token/websocket", undefined, { method: "POST", headers, body: '{"accessPattern":".*"}' });
    expect(await status(again)).toBe(403);
    const wide = { accessPattern: ".*", expiresAt: 9e15, lifetimeMs: 9e15 };
    const { expiresAt } = (await (await post("/token/websocket", wide, "operator")).json()) as { expiresAt: number };
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 1000);
    await expect.poll(() => status(ask("/record/a", undefined, { headers })), { timeout: 20_000 }).toBe(401);
  });
});

describe("API3: broken object property level authorization", () => {
  test("members of JSON that name what an object inherits are data, or refused, and pollute nothing", async () => {
    const { post, ask } = shared;
    const hostile =
      '{"key":"proto","value":"{}","__proto__":{"isOpen":true,"partialUpdate":true},"constructor":{"prototype":{"x":1}}}';
    expect((await post("/record", hostile, "writer")).status).toBe(200);
    const patch = {
      key: "proto",
      value: '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
      partialUpdate: true,
    };
    expect((await post("/record", patch, "writer")).status).toBe(200);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(({} as Record<string, unknown>)["isOpen"]).toBeUndefined();
    const { value } = (await (await ask("/record/proto", "reader")).json()) as { value: string };
    expect(value).toBe('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect((await ask(`/record/${key}`, "reader")).status).toBe(404);
      expect((await post("/record", { key, value: "own" }, "writer")).status).toBe(200);
      expect(await (await ask(`/record/${key}`, "reader")).json()).toMatchObject({ key, value: "own" });
    }
  });

  test("members that a request does not have are not taken over", async () => {
    const { post, ask, status, url } = shared;
    const wide = {
      key: "mine",
      value: "v",
      tenant: "guest",
      namespace: "guest",
      role: "admin",
      version: 1e9,
      id: "x",
      principal: { tenant: "guest" },
    };
    expect((await post("/record", wide, "writer")).status).toBe(200);
    expect(await status(ask("/record/mine", "admin"))).toBe(404);
    const answer = (await (await ask("/record/mine", "reader")).json()) as object;
    expect(Object.keys(answer).sort()).toEqual(["key", "value"]);
    const wants = {
      accessPattern: "^mine$",
      tenant: "guest",
      role: "admin",
      verbs: ["admin"],
      issuer: KEYS.operator.id,
    };
    const { token } = (await (await post("/token/websocket", wants, "reader")).json()) as { token: string };
    const socket = await rawSocket(`${url}/ws?token=${token}`);
    expect(await socket.ask({ op: 1, key: "mine", tenant: "guest" })).toMatchObject({ value: "v" });
    expect(await socket.ask({ op: 2, key: "mine", value: "x", role: "admin" })).toMatchObject({ code: 403 });
    socket.close();
  });

  test("figures of the store, and of others, are for who operates it", async () => {
    const stats = async (as: Name) => Object.keys((await (await shared.ask("/stats", as)).json()) as object);
    expect(await stats("admin")).toEqual(["tenant"]);
    expect(await stats("reader")).toEqual(["tenant"]);
    expect(await stats("operator")).toContain("store");
  });
});

describe("API4: unrestricted resource consumption", () => {
  test("bodies, frames, headers and operations end at a limit, while they come", async () => {
    const { ask, status, url, port, riocPort } = await servedHere({
      limits: { bodyBytes: 4096, frameBytes: 4096 },
      riocPort: 0,
      riocTenant: "home",
    });
    const large = "x".repeat(5000);
    expect(
      await status(
        ask("/record/a", "writer", { method: "PUT", body: large, headers: { "content-type": "text/plain" } }),
      ),
    ).toBe(413);
    const lying = await Raw.to(port);
    lying.write(
      `PUT /record/a HTTP/1.1\r\nHost: x\r\nx-api-key: ${KEYS.writer.text}\r\ncontent-length: 999999999999\r\n\r\n`,
    );
    expect(statusesOf(await lying.end())).toEqual([413]);
    const chunked = await Raw.to(port);
    chunked.write(
      `PUT /record/a HTTP/1.1\r\nHost: x\r\nx-api-key: ${KEYS.writer.text}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    for (let at = 0; at < 8; at++) chunked.write(`400\r\n${"y".repeat(1024)}\r\n`);
    expect(statusesOf(await chunked.end())).toEqual([413]);
    const long = await Raw.to(port);
    long.write(`GET /ping HTTP/1.1\r\nHost: x\r\nx-long: ${"z".repeat(100_000)}\r\n\r\n`);
    expect(statusesOf(await long.end())[0]).toBe(431);
    const socket = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.writer.text });
    socket.send({ op: 2, key: "a", value: large });
    expect(await socket.ended()).toBe(1009);
    const rioc = await RiocClient.open(riocPort);
    await rioc.send(joined(batch(1), operation(2, "a", new Uint8Array(102_401))));
    expect((await rioc.reply()).status).toBe(-8);
    await rioc.close();
  });

  test("requests, connections and bytes have a rate, and answers say when to try again", async () => {
    const { ask, url, status } = await servedHere({
      limits: { tenant: { requestsPerSecond: 1, burst: 2, connections: 1 } },
    });
    expect(await status(ask("/ping", "reader"))).toBe(200);
    expect(await status(ask("/ping", "reader"))).toBe(200);
    const refused = await ask("/ping", "reader");
    expect([refused.status, Number(refused.headers.get("retry-after"))]).toEqual([429, 1]);
    const one = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.reader.text });
    await expect(rawSocket(`${url}/ws`, { "x-api-key": KEYS.reader.text })).rejects.toBeInstanceOf(Refused);
    const replies = [
      await one.ask({ op: 1, key: "a" }),
      await one.ask({ op: 1, key: "a" }),
      await one.ask({ op: 1, key: "a" }),
    ];
    expect(replies).toContainEqual(expect.objectContaining({ code: 429 }));
    // Another tenant is not held up.
    expect(await status(ask("/ping", "admin"))).toBe(200);
    one.close();
  });

  test("pages have an end, and what is asked costs no more than its size", async () => {
    const { ask, post, status, store } = await servedHere();
    const home = store.sub("home");
    for (let at = 0; at < 1500; at++) home.set(`k${String(at).padStart(5, "0")}`, "v");
    const page = (await (await ask("/records?start=k&end=l&limit=1000000", "reader")).json()) as {
      records?: unknown[];
      error?: string;
    };
    expect(page.error ?? page.records?.length).toSatisfy((is) => is === 1000 || typeof is === "string");
    const plain = (await (await ask("/records?start=k&end=l", "reader")).json()) as {
      records: unknown[];
      truncated: boolean;
    };
    expect([plain.records.length <= 1000, plain.truncated]).toEqual([true, true]);
    // A pattern that takes exponential time with backtracking, against a key that provokes it.
    const start = performance.now();
    const made = (await (await post("/token/websocket", { accessPattern: "^(a+)+$" }, "operator")).json()) as {
      token: string;
    };
    const headers = { authorization: `Bearer ${made.token}` };
    expect(await status(ask(`/record/${"a".repeat(400)}b`, undefined, { headers }))).toBe(403);
    expect(await status(ask(`/record/${"a".repeat(400)}`, undefined, { headers }))).toBe(404);
    // Nesting, as deep as a body may be.
    expect(await status(post("/record", "[".repeat(100_000), "writer"))).toBe(400);
    const deep = `{"key":"d","value":"${'{\\"a\\":'.repeat(5000)}1${"}".repeat(5000)}","partialUpdate":true}`;
    expect(await status(post("/record", deep, "writer"))).toBeLessThan(500);
    expect(await status(post("/record", deep, "writer"))).toBeLessThan(500);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

/** Verbs, and: `clear` and `count` of a range, which no token may; a key, no token; all of the tenant; the store. */
type Needs =
  | "open"
  | "key"
  | "keyOnly"
  | "read"
  | "write"
  | "delete"
  | "clear"
  | "range"
  | "count"
  | "watch"
  | "tenant"
  | "admin";

/** What a route asks for, by its id in the document. One that is not here must be for administrators. */
const NEEDS: Record<string, Needs> = {
  getRecord: "read",
  getRecordByQuery: "read",
  putRecord: "write",
  putRecordByQuery: "write",
  deleteRecord: "delete",
  deleteRecordByQuery: "delete",
  postRecord: "write",
  postAtomic: "write",
  getRecords: "range",
  postRecords: "write",
  deleteRecords: "clear",
  countRecords: "count",
  watch: "watch",
  postSnapshot: "keyOnly",
  deleteSnapshot: "key",
  postToken: "keyOnly",
  getStats: "tenant",
  getPing: "key",
  postSearch: "open",
  postQuery: "open",
  getOpenApi: "open",
  getHealth: "open",
  getReadiness: "open",
};
const ALLOWED: Record<string, ReadonlySet<Needs>> = {
  none: new Set<Needs>(["open"]),
  token: new Set<Needs>(["open", "key", "read", "write", "delete", "range", "watch"]),
  scoped: new Set<Needs>(["open", "key", "keyOnly", "read", "write", "range", "count"]),
  reader: new Set<Needs>(["open", "key", "keyOnly", "read", "range", "count", "watch", "tenant"]),
  writer: new Set<Needs>([
    "open",
    "key",
    "keyOnly",
    "read",
    "write",
    "delete",
    "clear",
    "range",
    "count",
    "watch",
    "tenant",
  ]),
  admin: new Set<Needs>([
    "open",
    "key",
    "keyOnly",
    "read",
    "write",
    "delete",
    "clear",
    "range",
    "count",
    "watch",
    "tenant",
  ]),
  operator: new Set<Needs>([
    "open",
    "key",
    "keyOnly",
    "read",
    "write",
    "delete",
    "clear",
    "range",
    "count",
    "watch",
    "tenant",
    "admin",
  ]),
};

interface Document {
  paths: Record<string, Record<string, { operationId: string; security: unknown[] }>>;
}

async function documentOf({ ask }: Served): Promise<Document> {
  return (await (await ask("/openapi.json", undefined)).json()) as Document;
}

/** A request that a route takes from whoever may: keys are below `note:`, which the scoped role has. */
function sample(method: string, path: string): { path: string; init: RequestInit } {
  const filled = path.replace("{key}", "note:table").replace(/\{\w+\}/, "none");
  const json = { "content-type": "application/json" };
  if (method === "POST" && path === "/records") {
    const headers = { "content-type": "application/x-ndjson" };
    return { path: filled, init: { method, headers, body: '{"key":"note:table","value":"v"}\n' } };
  }
  if (method === "POST") {
    const body = JSON.stringify({ key: "note:count", value: "1", increment: 1, accessPattern: "^note:" });
    return { path: filled, init: { method, headers: json, body } };
  }
  if (method === "PUT") {
    return {
      path: `${filled}${path === "/record" ? "?key=note:table" : ""}`,
      init: { method, headers: json, body: "1" },
    };
  }
  const query =
    path === "/record" ? "?key=note:table" : /^\/(records|watch)/.test(path) ? "?start=note:a&end=note:a" : "";
  return { path: filled + query, init: { method } };
}

describe("API5: broken function level authorization", () => {
  test("every route of the document, for every role", async () => {
    const made = await servedHere({ metrics: { key: true } });
    const { paths } = await documentOf(made);
    const token = await made.token({ accessPattern: "^note:", subscribePatterns: ["note:*"] });
    const wrong: string[] = [];
    let asked = 0;
    for (const [path, methods] of Object.entries(paths)) {
      for (const [name, { operationId, security }] of Object.entries(methods)) {
        const needs = NEEDS[operationId] ?? "admin";
        if ((security.length === 0) !== (needs === "open")) wrong.push(`${operationId}: the document says otherwise`);
        for (const [role, allowed] of Object.entries(ALLOWED)) {
          const { path: address, init } = sample(name.toUpperCase(), path);
          const headers = { ...(init.headers as Record<string, string>) };
          if (role === "token") headers["authorization"] = `Bearer ${token}`;
          const as = role === "none" || role === "token" ? undefined : (role as Name);
          const status = await made.status(made.ask(address, as, { ...init, headers }));
          asked++;
          // A bulk load says of each line what came of it; here of its only one.
          const isRefused = status === 401 || status === 403 || (operationId === "postRecords" && status === 400);
          const expected = allowed.has(needs);
          if (isRefused === expected) wrong.push(`${role} ${name} ${address}: ${status}`);
          if (role === "none" && needs !== "open" && status !== 401)
            wrong.push(`${name} ${address} without a key: ${status}`);
          if (status >= 500 && status !== 501) wrong.push(`${role} ${name} ${address}: ${status}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(asked).toBeGreaterThan(150);
  });

  test("calls of the client's connection that are about the whole store", async () => {
    const calls: [string, (client: Connection) => Promise<unknown>][] = [
      ["stats", (client) => client.stats()],
      ["compact", (client) => client.compact()],
      ["verify", (client) => client.verify()],
    ];
    for (const as of ["admin", "writer", "reader"] as const) {
      const client = await connect(shared.url, { key: KEYS[as].text });
      for (const [name, call] of calls)
        expect([as, name, await codeOf(() => call(client as Connection))]).toEqual([as, name, "FORBIDDEN"]);
      if (as === "reader") expect(await codeOf(() => client.put("note:x", "v"))).toBe("FORBIDDEN");
      await client.close();
    }
  });

  test("a method in a header, in other case or on another path changes nothing", async () => {
    const { ask, status, port } = shared;
    for (const headers of [
      { "x-http-method-override": "DELETE" },
      { "x-method-override": "DELETE" },
      { "x-original-url": "/backup" },
      { "x-rewrite-url": "/backup" },
    ]) {
      expect(await status(ask("/record/note:1", "reader", { headers }))).toBeLessThan(405);
      expect(await status(ask("/record/note:1?_method=DELETE", "reader", { headers }))).toBeLessThan(405);
    }
    for (const line of [
      "GET //backup",
      "GET /./backup",
      "GET /x/../backup",
      "GET /BACKUP",
      "GET /backup/",
      "GET /%62ackup",
      "get /backup",
      "DELETE /record/note:1",
    ]) {
      const raw = await Raw.to(port);
      raw.write(`${line} HTTP/1.1\r\nHost: x\r\nx-api-key: ${KEYS.reader.text}\r\nconnection: close\r\n\r\n`);
      const [code] = statusesOf(await raw.end());
      expect([line, code]).toEqual([line, expect.toSatisfy((is) => [400, 403, 404, 405, 501].includes(is as number))]);
    }
  });
});

describe("API6: unrestricted access to sensitive business flows", () => {
  test("what must happen once happens once: of many conditional writes of a version one is done", async () => {
    const { ask, post } = shared;
    const made = await post("/record", { key: "note:ticket", value: "free" }, "writer");
    const etag = (await ask("/record/note:ticket", "writer")).headers.get("etag") as string;
    expect(made.status).toBe(200);
    const statuses = await Promise.all(
      Array.from({ length: 16 }, async (_, at) => {
        const init = {
          method: "PUT",
          body: `buyer ${at}`,
          headers: { "content-type": "text/plain", "if-match": etag },
        };
        const response = await ask("/record/note:ticket", "writer", init);
        await response.text();
        return response.status;
      }),
    );
    expect(statuses.filter((status) => status < 300).length).toBe(1);
    expect(statuses.filter((status) => status === 412).length).toBe(15);
  });

  test("counting does not lose, over all protocols at once", async () => {
    const { post, url } = shared;
    const client = await connect(url, { key: KEYS.writer.text });
    const socket: RawSocket = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.writer.text });
    socket.send(...Array.from({ length: 20 }, () => ({ op: 6, key: "note:stock", value: 1 })));
    const added = [
      ...Array.from({ length: 20 }, () => client.increment("note:stock")),
      ...Array.from({ length: 20 }, () => post("/record/atomic", { key: "note:stock", increment: 1 }, "writer")),
    ];
    await Promise.all([...added, socket.replies(20)]);
    expect(await client.increment("note:stock", 0n)).toBe(60n);
    await client.close();
    socket.close();
  });
});

describe("API7: server side request forgery", () => {
  test("no request makes the server connect to anything", async () => {
    let connections = 0;
    const trap = createTcpServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => trap.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void trap.close());
    const { port: trapPort } = trap.address() as { port: number };
    const target = `http://127.0.0.1:${trapPort}/x`;
    const { post, ask, status, port, url } = shared;
    const bodies = [
      { key: target, value: target, url: target, callback: target, webhook: target },
      { key: "note:ssrf", value: JSON.stringify({ $ref: target, href: target }), partialUpdate: true },
      { subscribeKeys: [target], subscribePatterns: [target], accessPattern: target },
    ];
    for (const path of ["/record", "/token/websocket", "/snapshots", "/search"]) {
      for (const body of bodies) expect(await status(post(path, body, "operator"))).toBeLessThan(502);
    }
    const headers = {
      origin: target,
      referer: target,
      "x-forwarded-host": `127.0.0.1:${trapPort}`,
      forwarded: `host=127.0.0.1:${trapPort}`,
      "x-callback-url": target,
    };
    for (const path of [
      `/record/${encodeURIComponent(target)}`,
      `/backup?since=0&url=${target}`,
      `/stats?url=${target}`,
      `/watch?url=${target}&start=a&end=a`,
    ]) {
      await status(ask(path, "operator", { headers }));
    }
    for (const line of [
      `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${trapPort}`,
      `CONNECT 127.0.0.1:${trapPort} HTTP/1.1\r\nHost: 127.0.0.1:${trapPort}`,
    ]) {
      const raw = await Raw.to(port);
      raw.write(`${line}\r\nx-api-key: ${KEYS.operator.text}\r\nconnection: close\r\n\r\n`);
      await raw.end();
    }
    const socket = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.operator.text });
    await socket.ask({ op: 2, key: target, value: target });
    socket.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(connections).toBe(0);
  });

  test("nothing in the server's sources makes requests", () => {
    const folder = new URL("../../adapters/server/", import.meta.url);
    const files = readdirSync(folder, { recursive: true }) as string[];
    const found: string[] = [];
    for (const file of files.filter((name) => name.endsWith(".ts"))) {
      const source = readFileSync(new URL(file, folder), "utf8");
      if (/from "node:(http|https|http2|dgram|dns|child_process)"|new WebSocket\(|(?<![.\w])fetch\(/.test(code(source)))
        found.push(file);
      if (/import \{[^}]*\bconnect\b[^}]*\} from "node:(net|tls)"|Deno\.connect|Bun\.connect/.test(source))
        found.push(file);
    }
    expect(files.length).toBeGreaterThan(80);
    expect(found).toEqual([]);
  });
});

/** Source without its comments, types of methods and methods named `fetch`. */
function code(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*(readonly )?fetch\(.*$/gm, "");
}

describe("API8: security misconfiguration", () => {
  test("answers to pages of other origins give nothing away unless origins are named", async () => {
    const { ask, url } = shared;
    const origin = "https://evil.example";
    for (const path of ["/record/note:1", "/metrics", "/healthz", "/openapi.json"]) {
      const { headers } = await ask(path, "operator", { headers: { origin } });
      expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
    const preflight = await ask("/record", undefined, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([403, null]);
    await expect(rawSocket(`${url}/ws?apiKey=${KEYS.operator.text}`, { origin })).rejects.toMatchObject({
      status: 403,
    });
    await expect(rawSocket(`${url}/ws?apiKey=${KEYS.operator.text}`, { origin: "null" })).rejects.toMatchObject({
      status: 403,
    });
    const named = await servedHere({ origins: ["https://app.example"] });
    const { headers } = await named.ask("/ping", "reader", { headers: { origin: "https://app.example" } });
    expect(headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("answers say nothing about what serves them, and values are not sniffed", async () => {
    const { ask } = shared;
    await ask("/record/note:page", "writer", {
      method: "PUT",
      body: "<script>1</script>",
      headers: { "content-type": "text/plain" },
    });
    const response = await ask("/record/note:page", "reader", { headers: { accept: "text/html, text/plain" } });
    expect([response.headers.get("content-type"), response.headers.get("x-content-type-options")]).toEqual([
      "text/plain; charset=utf-8",
      "nosniff",
    ]);
    for (const name of ["server", "x-powered-by", "via", "set-cookie"]) expect(response.headers.get(name)).toBeNull();
  });

  test("methods that nobody needs are refused", async () => {
    for (const method of ["TRACE", "TRACK", "CONNECT", "PROPFIND", "PATCH", "BREW"]) {
      const raw = await Raw.to(shared.port);
      raw.write(
        `${method} /record/note:1 HTTP/1.1\r\nHost: x\r\nx-api-key: ${KEYS.operator.text}\r\nx-echo: do-not-echo\r\nconnection: close\r\n\r\n`,
      );
      const text = await raw.end();
      expect([method, statusesOf(text)[0]]).toEqual([
        method,
        expect.toSatisfy((is) => is === 405 || is === 400 || is === 501),
      ]);
      expect(text).not.toContain("do-not-echo");
    }
  });

  test("errors have no traces, paths or words of the inside, in answers or for a store that is gone", async () => {
    const made = await servedHere();
    const texts: string[] = [];
    const keep = async (answer: Promise<Response>): Promise<void> => void texts.push(await (await answer).text());
    await keep(made.post("/record", "{ no json", "writer"));
    await keep(made.post("/record", '{"key":1,"value":{}}', "writer"));
    await keep(made.ask("/record/%E0%A4%A", "reader"));
    await keep(made.ask("/backup?since=x", "operator"));
    await keep(made.ask("/nothing", "reader"));
    await made.store.close();
    for (const path of ["/record/a", "/records?start=a&end=b", "/records/count", "/stats", "/backup", "/readyz"]) {
      const response = await made.ask(path, "operator");
      expect([path, response.status]).toEqual([path, 503]);
      texts.push(await response.text());
    }
    for (const text of texts)
      expect(text).not.toMatch(/\bat .*:\d+|node:|\.ts\b|\.js\b|\/work\/|\/home\/|Error:|stack|undefined|wasm/);
  });

  test("what is insecure has to be asked for: plain beyond this machine, and settings that nobody knows", async () => {
    const store = await open(":memory:", { memoryBytes: 67_108_864 });
    onTestFinished(() => store.close());
    const beyond = createServer(store, { host: "0.0.0.0", keys: FILE, log: () => {} });
    await expect(beyond.listen()).rejects.toThrow(/allowPlain/);
    await beyond.close();
    expect(() => createServer(store, { alowPlain: true } as ServerConfig)).toThrow(/allowPlain/);
    expect(() =>
      createServer(store, {
        keys: { ...FILE, keys: { abcd: { tenant: "none", role: "admin", sha256: "0".repeat(64) } } },
      }),
    ).toThrow(/tenant/);
    const nobody = createServer(store, { log: () => {} });
    const { url } = await nobody.listen();
    expect((await fetch(`${url}/record/a`, { headers: { "x-api-key": KEYS.operator.text } })).status).toBe(401);
    await nobody.close();
  });
});

describe("API9: improper inventory management", () => {
  test("what the server answers is in the document, and nothing else is answered", async () => {
    const { paths } = await documentOf(shared);
    const documented = new Set(
      Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      ),
    );
    const known = OPERATIONS.filter(({ protocol, route }) => protocol === "rest" && route !== undefined).map(
      ({ name }) => name,
    );
    // The console is a page, and no interface.
    expect(known.filter((name) => !documented.has(name) && name !== "GET /console")).toEqual([]);
    for (const name of documented) expect(known).toContain(name);
    for (const path of [
      "/",
      "/v1/record/a",
      "/api/record/a",
      "/admin",
      "/debug",
      "/debug/pprof",
      "/.env",
      "/.git/config",
      "/server-status",
      "/actuator",
      "/keys",
      "/config",
      "/metrics/x",
    ]) {
      expect([path, await shared.status(shared.ask(path, "operator"))]).toEqual([path, 404]);
    }
  });
});

describe("API10: unsafe consumption of APIs", () => {
  // It does not apply: the server calls nobody's interface. What it would take is tested as API7: its sources connect to nothing.
  test("the server imports no package that calls anybody", () => {
    const folder = new URL("../../adapters/server/", import.meta.url);
    const imported = new Set<string>();
    for (const file of readdirSync(folder, { recursive: true }) as string[]) {
      if (!file.endsWith(".ts")) continue;
      const source = readFileSync(new URL(file, folder), "utf8");
      for (const [, name = ""] of source.matchAll(/(?:from|import\() ?"([^".][^"]*)"/g)) {
        if (!name.startsWith("node:")) imported.add(name);
      }
    }
    // Regular expressions, and the interface of OpenTelemetry, which does nothing by itself.
    expect([...imported].sort()).toEqual(["@opentelemetry/api", "re2js"]);
  });
});

describe("logs", () => {
  test("of a busy server hold no key of the API, token, value or record's key, at any level", async () => {
    const made = await servedHere({ riocPort: 0, riocTenant: "home" });
    const token = await made.token({ accessPattern: "^hidden" });
    const value = "hidden-value";
    for (const as of ["writer", "reader", "expired", undefined] as const) {
      await made.status(made.post("/record", { key: "hidden-record", value }, as));
      await made.status(made.ask("/record/hidden-record", as));
      await made.status(made.ask("/record?key=hidden-record", as));
      await made.status(made.ask(`/records?start=hidden-a&end=hidden-z&token=${token}`, as));
      await made.status(made.ask(`/hidden-record-elsewhere/hidden-record?${KEYS.operator.text}`, as));
    }
    await made.status(made.post("/record", `{"key":"hidden-record","value":"${value}`, "writer"));
    await made.status(made.ask("/record/a", undefined, { headers: { authorization: `Bearer ${token}x` } }));
    const socket = await rawSocket(`${made.url}/ws?token=${token}`);
    await socket.ask({ op: 2, key: "hidden-record", value });
    await socket.ask(`{"op":2,"key":"hidden-record","value":"${value}`);
    socket.close();
    await rawSocket(`${made.url}/ws?apiKey=${KEYS.expired.text}`).catch(() => undefined);
    const rioc = await RiocClient.open(made.riocPort);
    await rioc.send(joined(batch(1), operation(2, "hidden-record", value)));
    await rioc.reply();
    await rioc.send(new TextEncoder().encode(`hidden-record ${value} is no batch`));
    await rioc.closed;
    const client = await connect(made.url, { key: KEYS.writer.text });
    await client.put("hidden-record", value);
    await codeOf(() => client.increment("hidden-record"));
    await client.close();
    await made.store.close();
    await made.status(made.ask("/record/hidden-record", "writer"));
    const text = JSON.stringify(made.lines, (_, is) => (is instanceof Error ? `${is.message} ${is.stack}` : is));
    expect(made.lines.length).toBeGreaterThan(20);
    expect(new Set(made.lines.map(({ level }) => level)).size).toBeGreaterThanOrEqual(2);
    for (const name of NAMES) expect(text).not.toContain(KEYS[name].text.slice(KEYS[name].id.length + 8));
    for (const secret of [token, token.split(".")[2] as string, value, 'hidden-record"', "/hidden-record", "hidden-a"])
      expect(text).not.toContain(secret);
    const asked = made.lines.filter(({ message }) => message === "request");
    expect(asked[0]).toMatchObject({
      requestId: expect.any(String),
      method: "POST",
      operation: "POST /token/websocket",
      status: 200,
      ms: expect.any(Number),
      key: KEYS.operator.id,
    });
    expect(new Set(asked.map(({ requestId }) => requestId)).size).toBe(asked.length);
  });
});
