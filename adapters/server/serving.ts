/** One server of a store, whoever holds that: its parts, what they share, where it listens, and its end. */
import { readFile } from "node:fs/promises";
import { CairnError } from "../../store/error.ts";
import { Access } from "./access/index.ts";
import { Activity } from "./activity.ts";
import { isLoopback, type Settings } from "./config.ts";
import { consoleHandler } from "./console/index.ts";
import type { ServerContext, SlowOperation } from "./context.ts";
import type { Feed } from "./feed/index.ts";
import { failureReply, type Handlers, handlersOf, type Parts } from "./handler.ts";
import type { Held, Holder, Listening, Told } from "./holder.ts";
import { Limiter } from "./limits/limiter.ts";
import { listenOnWeb } from "./listen/web-server.ts";
import { logOf, toStandardError } from "./log.ts";
import { Metrics, metricsHandler } from "./metrics/index.ts";
import { ServerMeter } from "./metrics/meter.ts";
import { loadTelemetry, observeMetrics, tracesOf } from "./metrics/telemetry.ts";
import type { StoreOperations } from "./operations/store-operations.ts";
import { Origins } from "./origins.ts";
import { withoutWrites } from "./read-only.ts";
import { remoteCheck } from "./remote/index.ts";
import { responseOf } from "./reply.ts";
import { restHandler } from "./rest/index.ts";
import { listenRioc, type RiocTls } from "./rioc/listener.ts";
import { serverRoutes } from "./server-routes.ts";
import { SlowRing } from "./slow.ts";
import { socketHandler } from "./socket/index.ts";
import type { FetchHandler, RequestInfo } from "./wire.ts";

/** How long requests in flight have when the server closes. */
const GRACE_MS = 10_000;
/** How often what leaves no trace in the limits is forgotten. */
const SWEEP_MS = 10_000;
/** How often it is looked which second it is, for the activity. */
const TICK_MS = 200;
const NO_BYTES = { received: 0, sent: 0 };
const NO_TRAFFIC = { web: NO_BYTES, rioc: NO_BYTES };
const NO_CONNECTIONS = { open: 0, opened: 0 };

/** Where a server listens. */
export interface ServerAddress {
  /** `http://127.0.0.1:8080`, or `https://…`: HTTP and, with `ws` for `http`, WebSocket. */
  readonly url: string;
  /** The address that it listens on. */
  readonly host: string;
  /** The port of HTTP and WebSocket. */
  readonly port: number;
  /** The port of RIOC, where the configuration asks for it. */
  readonly riocPort: number | undefined;
  /** The same as an address: `rioc://127.0.0.1:9000`, or `riocs://…` with TLS. */
  readonly riocUrl: string | undefined;
}

/** A served store. */
export interface CairnServer {
  /** Answers a request, in whichever server it came. It never throws. */
  readonly fetch: FetchHandler;
  /** Listens, on what the configuration says: resolves when connections are taken, with where. Once for each server. */
  listen(): Promise<ServerAddress>;
  /** The newest slow operations, newest first. */
  readonly slowOperations: () => SlowOperation[];
  /**
   * Stops accepting, answers what is in flight for at most `graceMs` (default 10,000), closes WebSockets with 1001. The store is the
   * program's, and stays open; all that was answered as written is on stable storage.
   */
  close(options?: { graceMs?: number }): Promise<void>;
  /** `close()`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What opening has brought. */
interface Opened {
  context: ServerContext;
  handlers: Handlers;
  feed: Feed;
  held: Held;
  /** What ends with the server. */
  endings: (() => void)[];
}

/** A server, and what only who made it may do. */
export interface Serving {
  readonly server: CairnServer;
  /** Opens all but the ports: rejects with what is wrong with the keys file. */
  open(): Promise<void>;
  /** Connections at the port of HTTP. */
  readonly connections: number;
}

/** A server of the store that `holder` gives. */
export function serverOver(settings: Settings, holder: Holder): Serving {
  const closing = new AbortController();
  const log = logOf(settings.logLevel, settings.log ?? toStandardError);
  // A clock that is read ten times a second: reading the real one costs more than all else that an operation's end does.
  const clock = { now: performance.now() };
  const activity = new Activity(() => clock.now);
  const slow = new SlowRing((operation) => log.warn("slow operation", { ...operation }), activity);
  const meter = new ServerMeter(slow);
  let opened: Opened | undefined;
  let opening: Promise<Opened> | undefined;
  let listening: Promise<Listening> | undefined;
  let servers: Listening | undefined;
  let closed: Promise<void> | undefined;
  let sweeper: ReturnType<typeof setInterval> | undefined;
  let ticker: ReturnType<typeof setInterval> | undefined;

  const open = (): Promise<Opened> => {
    opening ??= (async () => {
      const access = await Access.open(settings, (level, message, fields) => log[level](message, fields));
      const limiter = new Limiter(settings.limits, (tenant) => ({
        ...settings.limits.tenant,
        ...definedOf(access.tenant(tenant).limits),
      }));
      const namespaceOf = (tenant: string): string => access.tenant(tenant).namespace;
      const held = holder.hold({
        settings,
        access,
        limiter,
        namespaceOf,
        log,
        slow,
        activity,
        closing: closing.signal,
      });
      const { feed, limits } = held;
      const readOnly = new Map<string, StoreOperations>();
      const operationsOf = (tenant: string): StoreOperations => {
        const operations = held.operationsOf(tenant);
        if (!settings.readOnly) return operations;
        const known = readOnly.get(tenant) ?? withoutWrites(operations);
        readOnly.set(tenant, known);
        return known;
      };
      const context: ServerContext = {
        store: holder.store,
        config: settings,
        access,
        operationsOf,
        log,
        limits,
        slow,
        activity,
        meter,
        worker: holder.worker,
        closing: closing.signal,
      };
      sweeper = setInterval(() => limiter.sweep(), SWEEP_MS);
      ticker = setInterval(() => activity.tick(), TICK_MS);
      for (const timer of [sweeper, ticker]) (timer as { unref?: () => void }).unref?.();
      const metrics = new Metrics(
        {
          meter,
          limits: limiter,
          slowCount: () => slow.count,
          tenantsMax: settings.metrics.tenants,
          http: () => servers?.http ?? NO_CONNECTIONS,
          traffic: () => servers?.traffic ?? NO_TRAFFIC,
        },
        holder.isElsewhere ? undefined : () => holder.store.stats(),
        (now) => {
          clock.now = now;
        },
      );
      const telemetry = await loadTelemetry();
      const traces = telemetry && tracesOf(telemetry);
      meter.tracing = traces?.operation;
      const told = held.told({
        families: () => metrics.families(),
        slow: { thresholdMs: slow.thresholdMs, list: () => slow.list() },
        activity: { list: (count) => activity.list(count) },
        storeEvent: (event) => metrics.store.event(event),
      });
      const endings = [() => metrics.close(), () => held.end()];
      // A worker's figures are among those of its owner, which tells them once.
      if (telemetry !== undefined && !holder.isElsewhere)
        endings.push(await observeMetrics(telemetry, () => told.families()));
      const parts: Parts = { ...partsOf(context, held, told), metrics: metricsHandler(context, told) };
      const handlers = handlersOf(context, parts, new Origins(settings.origins), isReady, traces);
      opened = { context, handlers, feed, held, endings };
      return opened;
    })();
    return opening;
  };

  /** Whether the store takes calls: closed and poisoned ones throw. */
  async function isReady(): Promise<boolean> {
    try {
      await holder.store.stats();
      return true;
    } catch {
      return false;
    }
  }

  function answer(request: Request, info: RequestInfo): Response | Promise<Response> {
    if (opened !== undefined) return opened.handlers.handle(request, info);
    return open().then(
      ({ handlers }) => handlers.handle(request, info),
      (error) => {
        log.error("the server cannot be opened", { error });
        return failureReply(new CairnError("CLOSED", "fetch", "the server cannot be opened", { cause: error }));
      },
    );
  }

  async function listen(): Promise<Listening> {
    const tls = await readTls(settings);
    if (tls === undefined && !settings.allowPlain && !isLoopback(settings.host)) {
      throw new CairnError(
        "INVALID_ARGUMENT",
        "listen",
        `on ${settings.host} everybody on the way could read keys and values, since there is no TLS. Set tls, or allowPlain where something in front of the server has it.`,
      );
    }
    const { handlers, context, held } = await open();
    servers = await (held.listen?.() ?? listenHere(context, handlers, tls));
    return servers;
  }

  /** Listens in this process. */
  async function listenHere(context: ServerContext, handlers: Handlers, tls: RiocTls | undefined): Promise<Listening> {
    const { port, riocPort, reusePort = false } = holder.ports?.() ?? { ...settings, reusePort: false };
    const { host, timeouts } = settings;
    const rioc =
      riocPort === undefined
        ? undefined
        : await listenRioc({ ...context, config: { ...settings, riocPort } }, tls, reusePort);
    try {
      const web = await listenOnWeb({
        host,
        port,
        reusePort,
        // Who must show a certificate is RIOC's to ask: over HTTP a key says who somebody is.
        tls: tls === undefined ? undefined : { cert: tls.cert, key: tls.key },
        timeouts,
        limits: holder.connectionLimits?.(settings.limits) ?? settings.limits,
        handle: handlers.handle,
        upgrade: handlers.upgrade,
        left: handlers.left,
        keeps(tenant, size) {
          if (size > 0) return context.limits.take(tenant, size);
          context.limits.release(tenant, -size);
          return true;
        },
      });
      return {
        host: web.host,
        port: web.port,
        riocPort: rioc?.port,
        get connections() {
          return web.connections.http + web.connections.webSocket;
        },
        get http() {
          return { open: web.connections.http, opened: web.traffic.opened };
        },
        get traffic() {
          return { web: web.traffic, rioc: rioc?.traffic ?? NO_BYTES };
        },
        async close(graceMs) {
          await Promise.all([web.close(graceMs), rioc?.close(graceMs)]);
        },
      };
    } catch (error) {
      await rioc?.close(0);
      throw error;
    }
  }

  async function end(graceMs: number): Promise<void> {
    closing.abort();
    const listened = await listening?.catch(() => undefined);
    await listened?.close(graceMs);
    clearInterval(sweeper);
    clearInterval(ticker);
    const { context, feed, endings = [] } = (await opening?.catch(() => undefined)) ?? {};
    for (const end of endings) end();
    feed?.close();
    await context?.access.close();
  }

  const server: CairnServer = {
    fetch(request, info) {
      const whole = { address: info?.address ?? "", secure: info?.secure ?? request.url.startsWith("https:") };
      const response = answer(request, whole);
      return response instanceof Promise ? response.then(responseOf) : responseOf(response);
    },
    async listen() {
      if (closing.signal.aborted) throw new CairnError("CLOSED", "listen", "the server is closed");
      listening ??= listen();
      const { host, port, riocPort } = await listening;
      const shown = host.includes(":") ? `[${host}]` : host;
      const secure = settings.tls === undefined ? "" : "s";
      return {
        url: `http${secure}://${shown}:${port}`,
        host,
        port,
        riocPort,
        riocUrl: riocPort === undefined ? undefined : `rioc${secure}://${shown}:${riocPort}`,
      };
    },
    slowOperations: () => slow.list(),
    close({ graceMs = GRACE_MS } = {}) {
      closed ??= end(graceMs);
      return closed;
    },
    [Symbol.asyncDispose]() {
      return this.close();
    },
  };

  return {
    server,
    async open() {
      await open();
    },
    get connections() {
      return servers?.connections ?? 0;
    },
  };
}

/** The parts of the server. */
function partsOf(context: ServerContext, held: Held, told: Told): Parts {
  const { limits, timeouts, legacyValueLimit } = context.config;
  // HPKV's endpoints take values below 102,400 bytes, and the older ones of them that many.
  const valueSizeLimit = legacyValueLimit ? 102_401 : 102_400;
  const { sendQueueBytes } = limits;
  return {
    rest: restHandler(
      { ...context, snapshots: held.snapshots, slow: told.slow, activity: told.activity },
      { valueSizeLimit, bodyBytes: limits.bodyBytes, stallMs: timeouts.bodyMs },
      serverRoutes(context.config.metrics.key),
    ),
    socket: socketHandler({
      ...context,
      feed: held.feed,
      settings: { sendQueueBytes, valueSizeLimit, ordersByTimestamps: context.config.socketTimestamps === "strict" },
    }),
    remote: held.remote(context),
    remoteCheck: remoteCheck(context),
    console: context.config.console ? consoleHandler(context) : undefined,
  };
}

function definedOf<T extends object>(fields: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(fields ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Certificates as PEM text, wherever they are. */
async function readTls(settings: Settings): Promise<RiocTls | undefined> {
  const { tls } = settings;
  if (tls === undefined) return undefined;
  const pem = async (field: string, text: string): Promise<string> => {
    if (text.includes("-----BEGIN")) return text;
    try {
      return await readFile(text, "utf8");
    } catch (cause) {
      const message = `tls.${field} cannot be read: ${(cause as Error).message}`;
      throw new CairnError("INVALID_ARGUMENT", "listen", message, { cause });
    }
  };
  const ca = tls.ca === undefined ? undefined : await pem("ca", tls.ca);
  return { cert: await pem("cert", tls.cert), key: await pem("key", tls.key), ca };
}
