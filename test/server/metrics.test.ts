/** `/metrics`: what is counted over which protocol, in which form, for whom; and that its document names all of it. */
import { readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer } from "../../adapters/server/index.ts";
import { ServerMeter } from "../../adapters/server/metrics/meter.ts";
import { LABELS, numberOf, OPERATIONS, restOperation } from "../../adapters/server/metrics/operations.ts";
import { ROUTES } from "../../adapters/server/rest/index.ts";
import { SlowRing } from "../../adapters/server/slow.ts";
import { openOfRuntime } from "../runtime.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

async function served(config: ServerConfig = {}) {
  const [key, reader, other] = [newApiKey(), newApiKey(), newApiKey()];
  const keys: KeysFile = {
    tenants: { home: { operator: true }, guest: { operator: false } },
    keys: {
      [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 },
      [reader.id]: { tenant: "home", role: "reader", sha256: reader.sha256 },
      [other.id]: { tenant: "guest", role: "admin", sha256: other.sha256 },
    },
  };
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const server = createServer(store, { keys, riocPort: 0, riocTenant: "home", log: () => {}, ...config });
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  const address = await server.listen();
  const metrics = async (headers: Record<string, string> = {}) => {
    const response = await fetch(`${address.url}/metrics`, { headers });
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };
  return { ...address, store, server, metrics, key: key.text, reader: reader.text, other: other.text };
}

/** Reads Prometheus' form, strictly: each sample belongs to a family that was announced, once, with help and type. */
function parsed(text: string): { families: Map<string, { type: string; help: string }>; samples: Sample[] } {
  const families = new Map<string, { type: string; help: string }>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  let help: [string, string] | undefined;
  let current = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, what, name = "", rest = ""] = comment;
      if (what === "HELP") help = [name, rest];
      else {
        expect(help?.[0]).toBe(name);
        expect(families.has(name)).toBe(false);
        expect(rest).toMatch(/^(counter|gauge|histogram)$/);
        families.set(name, { type: rest, help: help?.[1] as string });
        current = name;
      }
      continue;
    }
    const sample = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample === null) throw new Error(`no sample: ${line}`);
    const [, name = "", inner = "", value = ""] = sample;
    const { type } = families.get(current) as { type: string };
    expect(type === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name).toBe(current);
    if (type === "counter") expect(name).toMatch(/_total$/);
    const labels = Object.fromEntries([...inner.matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]));
    const series = `${name}{${inner}}`;
    expect([series, seen.has(series)]).toEqual([series, false]);
    seen.add(series);
    expect(Number.isFinite(Number(value))).toBe(true);
    samples.push({ name, labels, value: Number(value) });
  }
  return { families, samples };
}

const figure = (samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined =>
  samples.find((sample) => sample.name === name && Object.entries(labels).every(([at, is]) => sample.labels[at] === is))
    ?.value;

async function busy(server: Awaited<ReturnType<typeof served>>): Promise<void> {
  const { url, key, riocPort } = server;
  const headers = { "x-api-key": key, "content-type": "application/json" };
  await fetch(`${url}/record`, { method: "POST", headers, body: '{"key":"hidden-key","value":"hidden-value"}' });
  await (await fetch(`${url}/record/hidden-key`, { headers })).text();
  await (await fetch(`${url}/record/hidden-none`, { headers })).text();
  await (await fetch(`${url}/hidden/path`, { headers })).text();
  await (await fetch(`${url}/record/hidden-key`, { headers: { "x-api-key": "hidden-wrong" } })).text();
  const rioc = await RiocClient.open(riocPort as number);
  await rioc.send(joined(batch(3), operation(1, "hidden-none"), operation(2, "r", "v"), operation(1, "r")));
  expect([(await rioc.reply()).status, (await rioc.reply()).status, (await rioc.reply()).status]).toEqual([-6, 0, 0]);
  await rioc.close();
  const socket = await rawSocket(`${url}/ws?apiKey=${key}`);
  for (const text of ['{"op":1,"key":"hidden-key"}', '{"op":1,"key":"hidden-none"}', "no json"]) {
    socket.send(text);
    await socket.next();
  }
  const client = await connect(url, { key });
  expect(await client.get("hidden-key")).toBe("hidden-value");
  await client.put("hidden-key", "hidden-value");
  await client.close();
  socket.close();
}

test("counts every protocol's operations by status, and how long they took, and names no key", async () => {
  const server = await served();
  await busy(server);
  await expect
    .poll(async () => {
      const { samples } = parsed((await server.metrics()).text);
      return [
        figure(samples, "cairn_connections", { protocol: "rioc" }),
        figure(samples, "cairn_connections", { protocol: "websocket" }),
        figure(samples, "cairn_connections", { protocol: "remote" }),
      ];
    })
    .toEqual([0, 0, 0]);
  const { status, type, text } = await server.metrics();
  expect([status, type]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(text).not.toContain("hidden");
  expect(text).not.toContain(server.key);
  const { families, samples } = parsed(text);
  const requests = (protocol: string, name: string, code: number) =>
    figure(samples, "cairn_requests_total", { protocol, operation: name, status: String(code) });
  expect([
    requests("rest", "POST /record", 200),
    requests("rest", "GET /record/{key}", 200),
    requests("rest", "GET /record/{key}", 404),
    requests("rest", "GET /record/{key}", 401),
    requests("rest", "other", 404),
    requests("rioc", "get", 404),
    requests("rioc", "get", 200),
    requests("rioc", "insert", 200),
    requests("websocket", "get", 200),
    requests("websocket", "get", 404),
    requests("websocket", "other", 400),
    requests("remote", "get", 200),
    requests("remote", "put", 200),
  ]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
  for (const protocol of ["websocket", "rioc", "remote"]) {
    expect(figure(samples, "cairn_connections_opened_total", { protocol })).toBe(1);
  }
  expect(figure(samples, "cairn_connections", { protocol: "http" })).toBeGreaterThanOrEqual(1);
  expect(figure(samples, "cairn_authentication_failures_total")).toBe(1);
  expect(figure(samples, "cairn_in_flight_bytes")).toBe(0);
  for (const port of ["web", "rioc"]) {
    expect(figure(samples, "cairn_received_bytes_total", { port })).toBeGreaterThan(64);
    expect(figure(samples, "cairn_sent_bytes_total", { port })).toBeGreaterThan(16);
  }
  expect(figure(samples, "cairn_store_up")).toBe(1);
  expect(figure(samples, "cairn_store_keys")).toBe(2);
  expect(figure(samples, "cairn_store_flushes_total")).toBeGreaterThan(0);
  expect(figure(samples, "cairn_store_flush_duration_seconds_count")).toBeGreaterThan(0);
  expect(figure(samples, "cairn_store_flushed_bytes_total")).toBeGreaterThan(0);
  expect(figure(samples, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(Math.abs((figure(samples, "process_start_time_seconds") as number) - Date.now() / 1000)).toBeLessThan(36_000);
  // Buckets grow, and the last one is the count; the count is that of all statuses.
  const durations = samples.filter(({ name }) => name === "cairn_request_duration_seconds_count");
  expect(durations.length).toBeGreaterThanOrEqual(8);
  for (const { labels, value } of durations) {
    const same = (sample: Sample) =>
      sample.labels["protocol"] === labels["protocol"] && sample.labels["operation"] === labels["operation"];
    const buckets = samples.filter((sample) => sample.name === "cairn_request_duration_seconds_bucket" && same(sample));
    expect(buckets.map((bucket) => bucket.value)).toEqual(buckets.map((bucket) => bucket.value).sort((a, b) => a - b));
    expect(buckets.at(-1)).toMatchObject({ labels: { le: "+Inf" }, value });
    const all = samples.filter((sample) => sample.name === "cairn_requests_total" && same(sample));
    expect(all.reduce((sum, sample) => sum + sample.value, 0)).toBe(value);
  }
  expect(families.get("cairn_request_duration_seconds")?.type).toBe("histogram");
});

test("speaks OpenMetrics to who asks for it, and nothing but GET", async () => {
  const { metrics, url } = await served();
  const { type, text } = await metrics({ accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" });
  expect(type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
  expect(text.endsWith("# EOF\n")).toBe(true);
  expect(text).toContain("# TYPE cairn_store_device_syncs counter\n");
  expect(text).toMatch(/\ncairn_store_device_syncs_total \d+\n/);
  expect(text).toContain("# UNIT cairn_in_flight_bytes bytes\n");
  const posted = await fetch(`${url}/metrics`, { method: "POST", body: "x" });
  expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
  const head = await fetch(`${url}/metrics`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("asks for the key of an operator's admin where the configuration says so", async () => {
  const { metrics, key, reader, other } = await served({ metrics: { key: true } });
  expect((await metrics()).status).toBe(401);
  expect((await metrics({ "x-api-key": reader })).status).toBe(403);
  expect((await metrics({ "x-api-key": other })).status).toBe(403);
  expect((await metrics({ authorization: `Bearer ${other}` })).status).toBe(403);
  expect((await metrics({ authorization: "Bearer none" })).status).toBe(401);
  expect((await metrics({ "x-api-key": key })).status).toBe(200);
  expect((await metrics({ authorization: `Bearer ${key}` })).status).toBe(200);
  const { text } = await metrics({ "x-api-key": key });
  expect(figure(parsed(text).samples, "cairn_authentication_failures_total")).toBe(1);
});

test("tells tenants apart where it is asked to, the rest as one", async () => {
  const without = await served();
  expect((await without.metrics()).text).not.toContain("cairn_tenant");
  const { metrics, url, key, other } = await served({
    metrics: { tenants: 1 },
    limits: { tenant: { burst: 3, requestsPerSecond: 1 } },
  });
  for (let count = 0; count < 5; count++) await (await fetch(`${url}/ping`, { headers: { "x-api-key": key } })).text();
  await (await fetch(`${url}/ping`, { headers: { "x-api-key": other } })).text();
  const { samples } = parsed((await metrics()).text);
  expect([
    figure(samples, "cairn_tenant_requests_total", { tenant: "home" }),
    figure(samples, "cairn_tenant_refusals_total", { tenant: "home" }),
    figure(samples, "cairn_tenant_requests_total", { tenant: "" }),
    figure(samples, "cairn_limit_refusals_total", { limit: "requests" }),
  ]).toEqual([3, 2, 1, 2]);
});

test("a store that is closed shows as not up, and everything else stays", async () => {
  const { metrics, store } = await served();
  await store.close();
  const { status, text } = await metrics();
  const { samples } = parsed(text);
  expect([status, figure(samples, "cairn_store_up"), figure(samples, "cairn_store_keys")]).toEqual([200, 0, undefined]);
  expect(figure(samples, "process_resident_memory_bytes")).toBeGreaterThan(0);
});

test("the document lists every metric with its type, and no other", async () => {
  const { metrics } = await served({ metrics: { tenants: 3 } });
  const { families } = parsed((await metrics()).text);
  const page = readFileSync(new URL("../../docs/server/metrics.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| `((?:cairn|process)_[a-z_]+)` \| (counter|gauge|histogram) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  expect(listed.sort()).toEqual([...families].map(([name, { type }]) => `${name} ${type}`).sort());
});

test("operations are a fixed table: every route and call is in it, and what a client sends adds nothing", () => {
  expect(new Set(LABELS).size).toBe(OPERATIONS.length);
  for (const { method, path } of ROUTES) {
    const asked = path.replace(/\{\w+\}/, "some%2Fkey");
    expect(LABELS[restOperation(method, asked)]).toBe(`${method} ${path}`);
    if (method === "GET") expect(restOperation("HEAD", asked)).toBe(restOperation("GET", asked));
  }
  expect(LABELS[restOperation("GET", "/record/atomic")]).toBe("GET /record/{key}");
  expect(LABELS[restOperation("GET", "/console/app.js")]).toBe("GET /console");
  for (const [method, path] of [
    ["GET", "/nothing"],
    ["BREW", "/record/a"],
    ["PUT", "/stats"],
  ] as const) {
    expect(LABELS[restOperation(method, path)]).toBe("other");
  }
});

test("telling of an operation costs some nanoseconds; the bound is that of a slow machine", () => {
  const meter = new ServerMeter(new SlowRing());
  const number = numberOf("rest", "GET /record/{key}");
  const COUNT = 200_000;
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    for (let at = 0; at < COUNT; at++) meter.took(number, 200, (at & 15) / 10, "home");
    best = Math.min(best, ((performance.now() - start) / COUNT) * 1e6);
  }
  const [told] = [...meter.operations()];
  expect(told?.statuses).toEqual([["200", COUNT * 10]]);
  expect(told?.durations.count).toBe(COUNT * 10);
  expect(best).toBeLessThan(1000);
  if (process.env["CAIRN_SHOW_COST"] !== undefined) console.log(`${best.toFixed(1)} ns`);
});
