/** Spans and instruments, with the real API package and providers that keep in memory what they are given. */
import {
  type Attributes,
  type BatchObservableCallback,
  type Context,
  context,
  createNoopMeter,
  type Meter,
  metrics,
  type Observable,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer } from "../../adapters/server/index.ts";
import { loadTelemetry, tracesOf } from "../../adapters/server/metrics/telemetry.ts";
import { openOfRuntime } from "../runtime.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();

/** A span that has ended. */
interface Kept {
  name: string;
  kind: SpanKind | undefined;
  attributes: Attributes;
  status: SpanStatus | undefined;
  parent: SpanContext | undefined;
  ms: number;
}

function tracerInto(spans: Kept[]): Tracer {
  let count = 0;
  const startSpan = (
    name: string,
    { kind, attributes, startTime }: SpanOptions = {},
    parentContext?: Context,
  ): Span => {
    const parent = parentContext === undefined ? undefined : trace.getSpanContext(parentContext);
    const kept: Kept = { name, kind, attributes: { ...attributes }, status: undefined, parent, ms: 0 };
    const started = (startTime as number | undefined) ?? Date.now();
    count++;
    const own = {
      traceId: parent?.traceId ?? "a".repeat(32),
      spanId: count.toString(16).padStart(16, "0"),
      traceFlags: 1,
    };
    const span: Span = {
      spanContext: () => own,
      setAttribute: (at, value) => {
        kept.attributes[at] = value;
        return span;
      },
      setAttributes: (more) => {
        Object.assign(kept.attributes, more);
        return span;
      },
      addEvent: () => span,
      addLink: () => span,
      addLinks: () => span,
      setStatus: (status) => {
        kept.status = status;
        return span;
      },
      updateName: () => span,
      end: (time) => {
        kept.ms = ((time as number | undefined) ?? Date.now()) - started;
        spans.push(kept);
      },
      isRecording: () => true,
      recordException: () => {},
    };
    return span;
  };
  return { startSpan, startActiveSpan: () => expect.fail("it is not used") };
}

/** The instruments that were made, and what reads them. */
function meterInto(instruments: Map<Observable, { name: string; kind: string; unit?: string | undefined }>) {
  const callbacks = new Set<BatchObservableCallback>();
  const made = (kind: string) => (name: string, options?: { unit?: string }) => {
    const instrument = { addCallback: () => {}, removeCallback: () => {} } as unknown as Observable;
    instruments.set(instrument, { name, kind, unit: options?.unit });
    return instrument;
  };
  const meter: Meter = Object.assign(createNoopMeter(), {
    createObservableCounter: made("counter"),
    createObservableGauge: made("gauge"),
    addBatchObservableCallback: (callback: BatchObservableCallback) => void callbacks.add(callback),
    removeBatchObservableCallback: (callback: BatchObservableCallback) => void callbacks.delete(callback),
  });
  return { meter, callbacks };
}

async function served() {
  const key = newApiKey();
  const keys = {
    tenants: { home: {} },
    keys: { [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 } },
  };
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const server = createServer(store, { keys, riocPort: 0, riocTenant: "home", log: () => {} });
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  return { ...(await server.listen()), server, store, key: key.text };
}

afterEach(() => {
  trace.disable();
  metrics.disable();
  context.disable();
});

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("a request is a span with the standard attributes, below what its traceparent names", async () => {
  const spans: Kept[] = [];
  trace.setGlobalTracerProvider({ getTracer: () => tracerInto(spans) });
  const { url, key, store } = await served();
  const headers = { "x-api-key": key };
  const body = JSON.stringify({ key: "hidden-key", value: "hidden-value" });
  await (
    await fetch(`${url}/record`, { method: "POST", headers: { ...headers, traceparent: TRACEPARENT }, body })
  ).text();
  await (await fetch(`${url}/record/hidden-key`, { headers })).text();
  await (await fetch(`${url}/record/hidden-none?token=hidden`, { headers })).text();
  await (await fetch(`${url}/hidden/path`, { headers: { ...headers, traceparent: "00-00-zz" } })).text();
  await store.close();
  await (await fetch(`${url}/record/hidden-key`, { headers })).text();
  expect(spans.map(({ name, attributes }) => [name, attributes["http.response.status_code"]])).toEqual([
    ["POST /record", 200],
    ["GET /record/{key}", 200],
    ["GET /record/{key}", 404],
    ["GET", 404],
    ["GET /record/{key}", 503],
  ]);
  expect(spans[0]?.parent).toEqual({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    traceFlags: 1,
    isRemote: true,
  });
  expect(spans[3]?.parent).toBeUndefined();
  expect(spans[1]).toMatchObject({
    kind: SpanKind.SERVER,
    status: undefined,
    attributes: {
      "http.request.method": "GET",
      "http.route": "/record/{key}",
      "url.path": "/record/{key}",
      "url.scheme": "http",
      "client.address": "127.0.0.1",
      "db.system": "cairn",
      "db.operation.name": "GET /record/{key}",
    },
  });
  expect(spans[4]).toMatchObject({ status: { code: SpanStatusCode.ERROR }, attributes: { "error.type": "503" } });
  expect(JSON.stringify(spans)).not.toContain("hidden");
});

test("the context of a request is its span's while it is handled", async () => {
  const spans: Kept[] = [];
  const seen: (SpanContext | undefined)[] = [];
  let active: Context | undefined;
  context.setGlobalContextManager({
    active: () => active ?? ({} as Context),
    with: (given, run, self, ...args) => {
      active = given;
      seen.push(trace.getSpanContext(given));
      try {
        return run.call(self as never, ...args);
      } finally {
        active = undefined;
      }
    },
    bind: (_, target) => target,
    enable() {
      return this;
    },
    disable() {
      return this;
    },
  });
  trace.setGlobalTracerProvider({ getTracer: () => tracerInto(spans) });
  const { server } = await served();
  await server.fetch(new Request("http://x/healthz", { headers: { traceparent: TRACEPARENT } }));
  expect(seen).toEqual([{ traceId: TRACEPARENT.slice(3, 35), spanId: "0000000000000001", traceFlags: 1 }]);
  expect(spans[0]).toMatchObject({ name: "GET /healthz", attributes: { "http.response.status_code": 200 } });
});

test("operations of other protocols have spans, with how long they took", async () => {
  const spans: Kept[] = [];
  trace.setGlobalTracerProvider({ getTracer: () => tracerInto(spans) });
  const { url, key, riocPort } = await served();
  const rioc = await RiocClient.open(riocPort as number);
  await rioc.send(joined(batch(2), operation(2, "hidden-key", "hidden-value"), operation(1, "hidden-none")));
  expect([(await rioc.reply()).status, (await rioc.reply()).status]).toEqual([0, -6]);
  await rioc.close();
  const socket = await rawSocket(`${url}/ws?apiKey=${key}`);
  await socket.ask({ op: 1, key: "hidden-key" });
  socket.close();
  await socket.ended();
  const told = spans.filter(({ name }) => !name.startsWith("GET"));
  expect(told.map(({ name, attributes }) => [name, attributes["db.response.status_code"]]).sort()).toEqual([
    ["rioc get", "404"],
    ["rioc insert", "200"],
    ["websocket get", "200"],
  ]);
  for (const span of told) {
    expect(span).toMatchObject({ kind: SpanKind.SERVER, attributes: { "db.system": "cairn", "db.namespace": "home" } });
    expect(span.ms).toBeGreaterThanOrEqual(0);
    expect(span.ms).toBeLessThan(60_000);
  }
  expect(JSON.stringify(told)).not.toContain("hidden");
});

test("metrics are observable instruments, until the server closes", async () => {
  const instruments = new Map<Observable, { name: string; kind: string; unit?: string | undefined }>();
  const { meter, callbacks } = meterInto(instruments);
  metrics.setGlobalMeterProvider({ getMeter: () => meter });
  const { url, key, server } = await served();
  await (await fetch(`${url}/record/none`, { headers: { "x-api-key": key } })).text();
  const observed: [string, number, Attributes | undefined][] = [];
  expect(callbacks.size).toBe(1);
  for (const callback of callbacks) {
    await callback({
      observe: (instrument, value, attributes) =>
        void observed.push([instruments.get(instrument as Observable)?.name ?? "", value, attributes as Attributes]),
    });
  }
  const labels = { protocol: "rest", operation: "GET /record/{key}" };
  expect(observed).toContainEqual(["cairn.requests", 1, { ...labels, status: "404" }]);
  expect(observed).toContainEqual(["cairn.request_duration.count", 1, labels]);
  expect(observed).toContainEqual(["cairn.store.up", 1, {}]);
  expect(observed.every(([name]) => name !== "")).toBe(true);
  const list = [...instruments.values()];
  expect(new Set(list.map(({ name }) => name)).size).toBe(list.length);
  expect(list).toContainEqual({ name: "cairn.store.device_syncs", kind: "counter", unit: undefined });
  expect(list).toContainEqual({ name: "cairn.store.memory_used_bytes", kind: "gauge", unit: "By" });
  expect(list).toContainEqual({ name: "cairn.request_duration.sum", kind: "counter", unit: "s" });
  await server.close();
  expect(callbacks.size).toBe(0);
});

test("without a provider there are no traces, and nothing is paid", async () => {
  const api = await loadTelemetry();
  expect(api === undefined ? "missing" : tracesOf(api)).toBeUndefined();
});
