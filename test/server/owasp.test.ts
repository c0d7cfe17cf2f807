/**
 * The OWASP API security top ten of 2023, one `describe` an entry, against `createServer(...).listen()` with real sockets: who asks, and for how much.
 *
 * https://owasp.org/API-Security/editions/2023/en/0x11-t10/
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { codeOf } from "../store/harness.ts";
import { KEYS, type Name, type Served, served, servedHere } from "./owasp-server.ts";
import { Raw, statusesOf } from "./raw.ts";
import { Refused, rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

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
    const other = await servedHere();
    for (let count = 0; count < 22; count++) {
      const headers = { authorization: `Bearer guess-${count}` };
      statuses.push(await status(other.ask("/record/a", undefined, { headers })));
    }
    expect(statuses.slice(-22, -2)).toEqual(Array(20).fill(401));
    expect(statuses.at(-1)).toBe(429);
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
