/**
 * The OWASP API security top ten of 2023, one `describe` an entry, against `createServer(...).listen()` with real sockets: what may be asked for.
 *
 * https://owasp.org/API-Security/editions/2023/en/0x11-t10/
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Connection, connect } from "../../adapters/client/index.ts";
import { OPERATIONS } from "../../adapters/server/metrics/operations.ts";
import { codeOf } from "../store/harness.ts";
import { documentOf, KEYS, type Name, type Served, served, servedHere } from "./owasp-server.ts";
import { Raw, statusesOf } from "./raw.ts";
import { type RawSocket, rawSocket } from "./raw-socket.ts";

let shared: Served;
beforeAll(async () => {
  shared = await served({ riocPort: 0, riocTenant: "guest", metrics: { key: true } });
});
afterAll(() => shared.close());

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
  getRights: "key",
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
