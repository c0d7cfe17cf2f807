/**
 * OpenTelemetry, where the program has it: spans of operations, and the server's metrics as observable instruments.
 *
 * 1. `@opentelemetry/api` is loaded when the server opens, if it is installed. Whoever wants traces registers a tracer provider before that;
 *    where there is none, `tracesOf` is `undefined`, and no operation pays for it.
 * 2. Spans hold operations, statuses and tenants: no key, value or address of a record.
 * 3. A request over HTTP is a child of what its `traceparent` names, and the context is its span's while it is handled. Operations over other
 *    protocols have spans of their own, made when they have ended.
 */
import type { Attributes, BatchObservableResult, Context, Meter, Observable, Span, Tracer } from "@opentelemetry/api";
import { failureOf } from "../failure.ts";
import type { RequestInfo } from "../wire.ts";
import type { Family } from "./families.ts";
import type { Tracing } from "./meter.ts";
import { OPERATIONS, restOperation } from "./operations.ts";

type Api = typeof import("@opentelemetry/api");

const SCOPE = "cairn-kv";
const SYSTEM = "cairn";
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const UNITS: Readonly<Record<string, string>> = { seconds: "s", bytes: "By", ratio: "1" };

/** The API's package; `undefined` where it is not installed. */
export async function loadTelemetry(): Promise<Api | undefined> {
  try {
    return await import("@opentelemetry/api");
  } catch {
    return undefined;
  }
}

/** Makes spans. */
export interface Traces {
  /** Handles a request within a span. */
  request(
    request: Request,
    path: string,
    info: RequestInfo,
    handle: () => Response | Promise<Response>,
  ): Response | Promise<Response>;
  /** Of an operation of another protocol, which has ended. */
  readonly operation: Tracing;
}

/** Traces, where a provider is registered. */
export function tracesOf(api: Api): Traces | undefined {
  const provider = api.trace.getTracerProvider() as { getDelegateTracer?(name: string): Tracer | undefined };
  const tracer =
    provider.getDelegateTracer === undefined ? api.trace.getTracer(SCOPE) : provider.getDelegateTracer(SCOPE);
  return tracer === undefined ? undefined : new ServerTraces(api, tracer);
}

class ServerTraces implements Traces {
  private readonly api: Api;
  private readonly tracer: Tracer;
  /** What is the same for all spans of an operation. */
  private readonly attributes: readonly Attributes[];

  constructor(api: Api, tracer: Tracer) {
    this.api = api;
    this.tracer = tracer;
    this.attributes = OPERATIONS.map(({ protocol, name, route }) => {
      const common = { "db.system": SYSTEM, "db.system.name": SYSTEM, "db.operation.name": name };
      if (protocol === "rest")
        return route === undefined ? common : { ...common, "http.route": route, "url.path": route };
      return { ...common, "network.protocol.name": protocol === "rioc" ? "rioc" : "websocket", "rpc.system": protocol };
    });
  }

  request(
    request: Request,
    path: string,
    info: RequestInfo,
    handle: () => Response | Promise<Response>,
  ): Response | Promise<Response> {
    const { context, trace, SpanKind } = this.api;
    const { method, headers } = request;
    const number = restOperation(method, path);
    const parent = this.parentOf(headers);
    const span = this.tracer.startSpan(
      OPERATIONS[number]?.route === undefined ? method : `${method} ${OPERATIONS[number]?.route}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          ...this.attributes[number],
          "http.request.method": method,
          "url.scheme": info.secure ? "https" : "http",
          "network.protocol.name": "http",
          "client.address": info.address,
        },
      },
      parent,
    );
    let answered: Response | Promise<Response>;
    try {
      answered = context.with(trace.setSpan(parent, span), handle);
    } catch (error) {
      this.end(span, failureOf(error).status);
      throw error;
    }
    if (!(answered instanceof Promise)) {
      this.end(span, answered.status);
      return answered;
    }
    return answered.then(
      (response) => {
        this.end(span, response.status);
        return response;
      },
      (error) => {
        this.end(span, failureOf(error).status);
        throw error;
      },
    );
  }

  readonly operation: Tracing = (number, status, ms, tenant) => {
    const { protocol, name } = OPERATIONS[number] as (typeof OPERATIONS)[number];
    const end = Date.now();
    const { SpanKind, ROOT_CONTEXT } = this.api;
    const span = this.tracer.startSpan(
      `${protocol} ${name}`,
      {
        kind: SpanKind.SERVER,
        startTime: end - ms,
        attributes: { ...this.attributes[number], "db.namespace": tenant, "db.response.status_code": String(status) },
      },
      ROOT_CONTEXT,
    );
    this.fail(span, status);
    span.end(end);
  };

  private end(span: Span, status: number): void {
    span.setAttribute("http.response.status_code", status);
    this.fail(span, status);
    span.end();
  }

  private fail(span: Span, status: number): void {
    if (status < 500) return;
    span.setAttribute("error.type", String(status));
    span.setStatus({ code: this.api.SpanStatusCode.ERROR });
  }

  /** What the request's headers name: by the registered propagator, or W3C's where it finds nothing. */
  private parentOf(headers: Headers): Context {
    const { propagation, trace, ROOT_CONTEXT } = this.api;
    const found = propagation.extract(ROOT_CONTEXT, headers, {
      get: (from, name) => from.get(name) ?? undefined,
      keys: (from) => [...from.keys()],
    });
    if (trace.getSpanContext(found) !== undefined) return found;
    const [, version, traceId = "", spanId = "", flags = ""] = TRACEPARENT.exec(headers.get("traceparent") ?? "") ?? [];
    if (version === undefined || version === "ff" || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return found;
    const traceFlags = Number.parseInt(flags, 16) & 1;
    return trace.setSpanContext(found, { traceId, spanId, traceFlags, isRemote: true });
  }
}

/** Gives the server's metrics to the registered meter provider, as often as that asks. What is returned ends it. */
export async function observeMetrics(api: Api, families: () => Promise<Family[]>): Promise<() => void> {
  const meter = api.metrics.getMeter(SCOPE);
  const instruments = new Map<string, Observable>();
  for (const family of await families()) {
    const { name, type, help: description } = family;
    if (name.startsWith("process_")) continue;
    const unit = UNITS[/_(seconds|bytes|ratio)(?:_total)?$/.exec(name)?.[1] ?? ""];
    const base = instrumentName(name);
    if (type === "histogram") {
      instruments.set(`${name} count`, meter.createObservableCounter(`${base}.count`, { description }));
      instruments.set(`${name} sum`, meter.createObservableCounter(`${base}.sum`, { description, unit: "s" }));
      continue;
    }
    const options = unit === undefined ? { description } : { description, unit };
    instruments.set(
      name,
      type === "counter" ? meter.createObservableCounter(base, options) : gauge(meter, base, options),
    );
  }
  const observe = async (result: BatchObservableResult): Promise<void> => {
    const tell = (key: string, value: number, labels: Family["samples"][number]["labels"]): void => {
      const instrument = instruments.get(key);
      if (instrument !== undefined) result.observe(instrument, value, Object.fromEntries(labels));
    };
    for (const family of await families()) {
      if (family.type === "histogram") {
        for (const { labels, distribution } of family.samples) {
          tell(`${family.name} count`, distribution.count, labels);
          tell(`${family.name} sum`, distribution.sumMs / 1000, labels);
        }
      } else {
        for (const { labels, value } of family.samples) tell(family.name, value, labels);
      }
    }
  };
  const all = [...instruments.values()];
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
}

/** `cairn.store.flushes` of `cairn_store_flushes_total`: a unit is told apart there. */
function instrumentName(name: string): string {
  return name
    .replace(/_total$/, "")
    .replace(/_(seconds|bytes|ratio)$/, (_, unit: string) => (unit === "seconds" ? "" : `_${unit}`))
    .replace(/^cairn_(store_|tenant_)?/, (_, part: string | undefined) => `cairn.${part?.replace("_", ".") ?? ""}`);
}

function gauge(meter: Meter, name: string, options: { description: string; unit?: string }): Observable {
  return meter.createObservableGauge(name, options);
}
