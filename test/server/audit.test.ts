/**
 * The audit log over every protocol: one table of what is refused for want of a right, one of credentials that do not count, one of what is done
 * to the store as a whole. Each line is one request, and one entry.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Connection, connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { AuditEntry, KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { type CairnServer, createServer, type ServedStore } from "../../adapters/server/index.ts";
import type { Verb } from "../../adapters/server/principal.ts";
import { openOfRuntime } from "../runtime.ts";
import { authority, type Certificate, signed } from "./certificates.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, integer, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();
const [scoped, operator, late] = [newApiKey(), newApiKey(), newApiKey()];
const entry = (key: typeof scoped, tenant: string, role: string, more: object = {}) => ({
  [key.id]: { tenant, role, sha256: key.sha256, ...more },
});
const FILE: KeysFile = {
  tenants: { home: { operator: true }, guest: { operator: false } },
  roles: { notes: [{ prefix: "note:", verbs: ["read", "write", "range"] }] },
  keys: {
    ...entry(scoped, "home", "notes"),
    ...entry(operator, "home", "admin"),
    ...entry(late, "home", "admin", { expires: "2020-01-01T00:00:00Z" }),
  },
};

let store: ServedStore;
let server: CairnServer;
let url: string;
let riocPort: number;
let entries: AuditEntry[];

async function start(config: ServerConfig = {}): Promise<void> {
  entries = [];
  store = await open(":memory:", { memoryBytes: 67_108_864 });
  const audit = (told: AuditEntry): void => {
    entries.push(told);
  };
  const fixed = { keys: FILE, audit, logLevel: "silent" as const, metrics: { key: true } };
  server = createServer(store, { ...fixed, ...config });
  const address = await server.listen();
  url = address.url;
  riocPort = address.riocPort ?? 0;
}

async function end(): Promise<void> {
  await server.close({ graceMs: 0 });
  await store.close();
}

const told = (event: string): AuditEntry[] => entries.filter((one) => one.event === event);

async function ask(path: string, init: RequestInit = {}, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(url + path, { ...init, headers: { ...headers, ...(init.headers as object) } });
  await response.body?.cancel();
  return response;
}

/** What is asked for, by the words of the protocol; the verb that is wanting, the key that it is told with. */
type Denial<Way> = [what: string, verb: Verb, record: string | undefined, ask: Way];

describe("what a key may not do is told", () => {
  beforeEach(() => start());
  afterEach(() => end());

  const json = (body: object): RequestInit => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const lines: RequestInit = {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: '{"key":"x:1","value":"1"}\n',
  };
  const REST: Denial<[path: string, init?: RequestInit]>[] = [
    ["get", "read", "x:1", ["/record/x:1"]],
    ["get by query", "read", "x:1", ["/record?key=x:1"]],
    ["get of bytes", "read", "base64:/wE=", ["/record?key=%2FwE%3D&keyEncoding=base64"]],
    ["set", "write", "x:1", ["/record", json({ key: "x:1", value: "1" })]],
    ["patch", "write", "x:1", ["/record", json({ key: "x:1", value: "1", partialUpdate: true })]],
    ["put", "write", "x:1", ["/record/x:1", { method: "PUT", body: "1", headers: { "content-type": "text/plain" } }]],
    ["atomic", "write", "x:1", ["/record/atomic", json({ key: "x:1", increment: 1 })]],
    ["bulk load", "write", "x:1", ["/records", lines]],
    ["delete", "delete", "x:1", ["/record/x:1", { method: "DELETE" }]],
    ["delete, though it may write", "delete", "note:1", ["/record/note:1", { method: "DELETE" }]],
    ["range", "range", "x:1", ["/records?start=x:1&end=x:2"]],
    ["range by prefix", "range", "x:", ["/records?prefix=x:"]],
    ["range as a stream", "range", "x:1", ["/records?start=x:1", { headers: { accept: "application/x-ndjson" } }]],
    ["count", "range", "x:1", ["/records/count?start=x:1&end=x:2"]],
    ["clear", "delete", "note:1", ["/records?start=note:1&end=note:2", { method: "DELETE" }]],
    ["watch", "watch", "note:1", ["/watch?start=note:1&end=note:2"]],
    ["a token that would watch", "watch", undefined, ["/token/websocket", json({ subscribeKeys: ["note:1"] })]],
    ["figures of the tenant", "range", undefined, ["/stats"]],
    ["segments", "admin", undefined, ["/stats/segments"]],
    ["slow operations", "admin", undefined, ["/stats/slow"]],
    ["activity", "admin", undefined, ["/stats/activity"]],
    ["backup", "admin", undefined, ["/backup"]],
    ["metrics", "admin", undefined, ["/metrics"]],
  ];

  test("over REST", async () => {
    for (const [what, verb, record, [path, init]] of REST) {
      entries = [];
      const { status } = await ask(path, init, { "x-api-key": scoped.text });
      expect([what, status], "the status").toEqual([what, what === "bulk load" ? 400 : 403]);
      const common = { key: scoped.id, tenant: "home", protocol: "rest", address: "127.0.0.1" };
      expect([what, entries]).toEqual([what, [expect.objectContaining({ event: "access.denied", verb, ...common })]]);
      expect([what, entries[0]?.["record"]]).toEqual([what, record]);
    }
  });

  test("over REST, of a token", async () => {
    const made = await fetch(`${url}/token/websocket`, {
      ...json({ accessPattern: "^note:" }),
      headers: { "x-api-key": operator.text, "content-type": "application/json" },
    });
    const { token } = (await made.json()) as { token: string };
    expect(entries).toEqual([
      expect.objectContaining({ event: "token.issued", key: operator.id, address: "127.0.0.1", protocol: "rest" }),
    ]);
    const denials: [string, Verb, string | undefined, [string, RequestInit?]][] = [
      ["token", "admin", undefined, ["/token/websocket", json({ accessPattern: "." })]],
      ["snapshot", "admin", undefined, ["/snapshots", { method: "POST" }]],
      ["count", "range", "note:1", ["/records/count?start=note:1&end=note:2"]],
      ["clear", "delete", "note:1", ["/records?start=note:1&end=note:2", { method: "DELETE" }]],
      ["", "read", "x:1", ["/record/x:1"]],
      ["", "range", "x:1", ["/records?start=x:1&end=x:2"]],
    ];
    for (const [operation, verb, record, [path, init]] of denials) {
      entries = [];
      expect((await ask(path, init, { authorization: `Bearer ${token}` })).status).toBe(403);
      const wanted = { event: "access.denied", verb, protocol: "rest", key: operator.id };
      expect([path, entries]).toEqual([path, [expect.objectContaining(wanted)]]);
      expect([path, entries[0]?.["record"], entries[0]?.["operation"] ?? ""]).toEqual([path, record, operation]);
    }
  });

  test("over WebSocket", async () => {
    const requests: Denial<object>[] = [
      ["get", "read", "x:1", { op: 1, key: "x:1" }],
      ["set", "write", "x:1", { op: 2, key: "x:1", value: "1" }],
      ["patch", "write", "x:1", { op: 3, key: "x:1", value: "1" }],
      ["delete", "delete", "note:1", { op: 4, key: "note:1" }],
      ["range", "range", "x:1", { op: 5, key: "x:1", endKey: "x:2" }],
      ["atomic", "write", "x:1", { op: 6, key: "x:1", value: 1 }],
    ];
    const socket = await rawSocket(`${url}/ws`, { "x-api-key": scoped.text });
    for (const [what, verb, record, request] of requests) {
      entries = [];
      expect([what, (await socket.ask(request)).code]).toEqual([what, 403]);
      const wanted = { event: "access.denied", verb, record, protocol: "websocket", address: "127.0.0.1" };
      expect([what, entries]).toEqual([what, [expect.objectContaining({ ...wanted, key: scoped.id })]]);
    }
    socket.close();
  });

  const drained = async (walk: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of walk);
  };
  const CALLS: Denial<(client: Connection) => unknown>[] = [
    ["get", "read", "x:1", (client) => client.get("x:1")],
    ["getEntry", "read", "x:1", (client) => client.getEntry("x:1")],
    ["has", "read", "x:1", (client) => client.has("x:1")],
    ["getMany", "read", "x:1", (client) => client.getMany(["note:1", "x:1"])],
    ["set", "write", "x:1", (client) => client.set("x:1", "1")],
    ["put", "write", "x:1", (client) => client.put("x:1", "1")],
    ["append", "write", "x:1", (client) => client.append("x:1", "1")],
    ["patch", "write", "x:1", (client) => client.patch("x:1", 0, "1")],
    ["increment", "write", "x:1", (client) => client.increment("x:1")],
    ["delete", "delete", "note:1", (client) => client.delete("note:1")],
    ["del", "delete", "note:1", (client) => client.del("note:1")],
    [
      "batch",
      "delete",
      "note:1",
      (client) =>
        client.batch([
          { type: "set", key: "note:2", value: "1" },
          { type: "delete", key: "note:1" },
        ]),
    ],
    ["count", "range", "x:1", (client) => client.count({ gte: "x:1", lt: "x:2" })],
    ["walk", "range", "x:1", (client) => drained(client.keys({ gte: "x:1", lt: "x:2" }))],
    ["walk", "range", "x:1", (client) => drained(client.entries({ gte: "x:1", lt: "x:2" }))],
    ["clear", "delete", "note:1", (client) => client.clear({ gte: "note:1", lt: "note:2" })],
    ["watch", "watch", "note:1", async (client) => client.watch(["note:1"]).next()],
    ["stats", "admin", undefined, (client) => client.stats()],
    ["compact", "admin", undefined, (client) => client.compact()],
    ["verify", "admin", undefined, (client) => client.verify()],
    ["backup", "admin", undefined, (client) => client.backup().getReader().read()],
    ["get", "read", "x:1", (client) => client.sub("inner").get("x:1")],
  ];

  test("over the client's connection", async () => {
    const client = await connect(url, { key: scoped.text });
    for (const [what, verb, record, call] of CALLS) {
      entries = [];
      await expect((async () => call(client))(), what).rejects.toMatchObject({ code: "FORBIDDEN" });
      const common = { key: scoped.id, tenant: "home", protocol: "remote", address: "127.0.0.1" };
      const wanted = { event: "access.denied", verb, ...common };
      expect([what, entries]).toEqual([what, [expect.objectContaining(wanted)]]);
      expect([what, entries[0]?.["record"]]).toEqual([what, record]);
      expect([what, entries[0]?.["operation"]]).toEqual([what, what]);
    }
    await client.close();
  });

  test("and what is done to the store as a whole, though not every look at its figures", async () => {
    const by = { event: "admin", key: operator.id, tenant: "home", address: "127.0.0.1" };
    for (const path of ["/stats", "/stats/segments", "/metrics"]) await ask(path, {}, { "x-api-key": operator.text });
    expect(entries).toEqual([]);
    await ask("/backup", {}, { "x-api-key": operator.text });
    expect(entries).toEqual([expect.objectContaining({ ...by, operation: "backup", protocol: "rest" })]);
    entries = [];
    const client = await connect(url, { key: operator.text });
    await client.stats();
    await client.compact();
    await client.verify();
    const reader = client.backup().getReader();
    await reader.read();
    await reader.cancel();
    await client.close();
    expect(entries.map(({ event, operation }) => [event, operation])).toEqual([
      ["admin", "compact"],
      ["admin", "verify"],
      ["admin", "backup"],
    ]);
    expect(entries[0]).toMatchObject({ ...by, protocol: "remote" });
  });
});

describe("a credential that does not count is told, metered, and counted against its address", () => {
  beforeEach(() => start());
  afterEach(() => end());

  async function failures(): Promise<number> {
    const answer = await fetch(`${url}/metrics`, { headers: { "x-api-key": operator.text } });
    return Number(/^cairn_authentication_failures_total (\d+)$/m.exec(await answer.text())?.[1]);
  }

  const stranger = newApiKey().text;
  const signedBy = `${operator.id}.AAAA.${"A".repeat(43)}`;
  const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` });
  const refusedSocket =
    (path: string, headers: Record<string, string> = {}) =>
    async () => {
      await expect(rawSocket(url + path, headers)).rejects.toMatchObject({ status: expect.toSatisfy(isRefusal) });
    };
  const isRefusal = (status: number): boolean => status === 401 || status === 403;
  const refused = (path: string, headers: Record<string, string>) => async () => {
    expect((await ask(path, {}, headers)).status).toBe(401);
  };
  const client = (options: { key: string } | { token: string }) => async () => {
    await expect(connect(url, options)).rejects.toThrow();
  };
  const WAYS: [what: string, protocol: string, kind: string, reason: string, way: () => Promise<void>][] = [
    ["a key that is unknown", "rest", "key", "unknown", refused("/ping", { "x-api-key": stranger })],
    ["a key that is none", "rest", "key", "malformed", refused("/ping", { "x-api-key": "x" })],
    ["a key that is over", "rest", "key", "expired", refused("/ping", { "x-api-key": late.text })],
    ["a key of another secret", "rest", "key", "secret", refused("/ping", { "x-api-key": newApiKey(scoped.id).text })],
    ["a key as bearer", "rest", "key", "unknown", refused("/ping", bearer(stranger))],
    ["a token as bearer", "rest", "token", "signature", refused("/ping", bearer(signedBy))],
    ["what is neither", "rest", "token", "malformed", refused("/ping", bearer("x"))],
    ["a token in the address", "rest", "token", "malformed", refused("/watch?token=x", {})],
    ["a key for metrics", "rest", "key", "unknown", refused("/metrics", bearer(stranger))],
    ["a key over WebSocket", "websocket", "key", "unknown", refusedSocket(`/ws?apiKey=${stranger}`)],
    ["a key in a header", "websocket", "key", "unknown", refusedSocket("/ws", { "x-api-key": stranger })],
    ["a token over WebSocket", "websocket", "token", "signature", refusedSocket(`/ws?token=${signedBy}`)],
  ];

  test("over HTTP and WebSocket", async () => {
    for (const [what, protocol, kind, reason, way] of WAYS) {
      entries = [];
      const before = await failures();
      await way();
      const wanted = { event: "auth.failed", kind, reason, protocol, address: "127.0.0.1" };
      expect([what, entries]).toEqual([what, [expect.objectContaining(wanted)]]);
      expect([what, await failures()]).toEqual([what, before + 1]);
      expect(JSON.stringify(entries)).not.toContain(stranger.slice(-20));
    }
  });

  test("over the client's connection, each attempt once", async () => {
    for (const [kind, options] of [
      ["key", { key: stranger }],
      ["token", { token: signedBy }],
    ] as const) {
      entries = [];
      const before = await failures();
      await client(options)();
      // Where a runtime does not say why an upgrade was refused, the client asks once more, by an ordinary request.
      expect(entries.length).toBeGreaterThan(0);
      for (const one of entries) expect(one).toMatchObject({ event: "auth.failed", kind, address: "127.0.0.1" });
      expect(entries[0]?.["protocol"]).toBe("remote");
      expect(await failures()).toBe(before + entries.length);
    }
  });

  test("and holds nobody up who shows one that counts, over any protocol", async () => {
    const made = await fetch(`${url}/token/websocket`, {
      method: "POST",
      body: JSON.stringify({ accessPattern: ".", subscribeKeys: ["a"] }),
      headers: { "x-api-key": operator.text, "content-type": "application/json" },
    });
    const { token } = (await made.json()) as { token: string };
    let status = 401;
    for (let n = 0; n < 40 && status !== 429; n++) status = (await ask("/ping", {}, bearer("x"))).status;
    expect(status).toBe(429);
    expect((await ask("/ping", {}, bearer(token))).status).toBe(200);
    expect((await ask("/ping", {}, bearer(operator.text))).status).toBe(200);
    expect((await ask("/metrics", {}, bearer(operator.text))).status).toBe(200);
    (await rawSocket(`${url}/ws?token=${token}`)).close();
    await (await connect(url, { key: operator.text })).close();
    await (await connect(url, { token })).close();
  });
});

describe("certificates of RIOC", () => {
  let folder: string;
  let own: Certificate;
  let known: Certificate;
  let unknown: Certificate;
  let over: Certificate;
  let outsider: Certificate;
  let ca: Certificate;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "cairn-audit-"));
    ca = authority(folder, "ca");
    own = signed(folder, "own", "ca");
    known = signed(folder, "known", "ca");
    unknown = signed(folder, "unknown", "ca");
    over = signed(folder, "over", "ca");
    outsider = authority(folder, "outsider");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => end());

  async function startWith(config: ServerConfig, hasAuthority = true): Promise<void> {
    const certificates = {
      [known.fingerprint]: { tenant: "home", role: "notes" },
      [outsider.fingerprint]: { tenant: "home", role: "notes" },
      [over.fingerprint]: { tenant: "home", role: "notes", expires: "2020-01-01T00:00:00Z" },
    };
    const tls = { cert: own.cert, key: own.key, ...(hasAuthority ? { ca: ca.cert, requestClient: true } : {}) };
    await start({ keys: { ...FILE, certificates }, tls, riocPort: 0, ...config });
  }

  /** Whether the server answers. */
  async function isTaken(certificate?: Certificate): Promise<boolean> {
    try {
      const shown = certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key };
      const client = await RiocClient.open(riocPort, { ca: ca.cert, ...shown });
      await client.send(joined(batch(1), operation(1, "note:1")));
      await client.reply();
      await client.close();
      return true;
    } catch {
      return false;
    }
  }

  /** A request over HTTP from the same address. */
  const bad = async (): Promise<number> => {
    const request = new Request("https://x/ping", { headers: { "x-api-key": "guess" } });
    return (await server.fetch(request, { address: "127.0.0.1" })).status;
  };

  test("what one may not do is told", async () => {
    await startWith({});
    const client = await RiocClient.open(riocPort, { ca: ca.cert, cert: known.cert, key: known.key });
    const id = `cert-${known.fingerprint.slice(0, 16)}`;
    const commands: [Verb, string, Uint8Array][] = [
      ["read", "x:1", operation(1, "x:1")],
      ["write", "x:1", operation(2, "x:1", "1")],
      ["delete", "note:1", operation(3, "note:1")],
      ["write", "x:1", operation(4, "x:1", "1")],
      ["range", "x:1", operation(6, "x:1", "x:2")],
      ["write", "x:1", operation(7, "x:1", integer(1n))],
    ];
    for (const [verb, record, bytes] of commands) {
      entries = [];
      await client.send(joined(batch(1), bytes));
      expect([verb, (await client.reply()).status]).toEqual([verb, -1]);
      const wanted = { event: "access.denied", verb, record, key: id, protocol: "rioc", address: "127.0.0.1" };
      expect(entries).toEqual([expect.objectContaining(wanted)]);
    }
    // What is malformed is not refused for want of a right.
    entries = [];
    await client.send(joined(batch(1), operation(1, "")));
    expect((await client.reply()).status).toBe(-1);
    expect(entries).toEqual([]);
    await client.close();
  });

  test("one that does not count is told, metered, and counted against its address", async () => {
    await startWith({});
    const ways: [Certificate | undefined, string][] = [
      [unknown, "unknown"],
      [over, "expired"],
      [outsider, "authority"],
      [undefined, "none"],
    ];
    for (const [certificate, reason] of ways) {
      entries = [];
      expect(await isTaken(certificate)).toBe(false);
      await expect.poll(() => entries.length).toBe(1);
      const wanted = { event: "auth.failed", kind: "certificate", reason, protocol: "rioc", address: "127.0.0.1" };
      expect(entries[0]).toMatchObject(wanted);
    }
    const metrics = new Request("https://x/metrics", { headers: { "x-api-key": operator.text } });
    const text = await (await server.fetch(metrics, { address: "127.0.0.2" })).text();
    expect(text).toMatch(/^cairn_authentication_failures_total 4$/m);
    expect(await bad()).toBe(401);
    for (let n = 0; n < 24; n++) await isTaken(unknown);
    expect(await bad()).toBe(429);
    // Whoever shows one that counts is not held up.
    expect(await isTaken(known)).toBe(true);
    expect(told("auth.failed").length).toBeGreaterThan(20);
  });

  test("one that does not count is not let in for the tenant of those that show none", async () => {
    await startWith({ riocTenant: "home" });
    expect(await isTaken(unknown)).toBe(false);
    expect(await isTaken(over)).toBe(false);
    expect(await isTaken()).toBe(false);
    expect(await isTaken(known)).toBe(true);
    await end();
    await startWith({ riocTenant: "home" }, false);
    expect(await isTaken(over)).toBe(false);
    expect(await isTaken(unknown)).toBe(false);
    expect(await isTaken(outsider)).toBe(true);
    expect(await isTaken()).toBe(true);
  });
});
