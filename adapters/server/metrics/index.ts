/** `/metrics`: what Prometheus and what else speaks its language reads. */
import type { StoreStats } from "../../../store/stats.ts";
import { isLoopback } from "../config.ts";
import type { ServerContext } from "../context.ts";
import { ServerFailure } from "../failure.ts";
import type { PartHandler } from "../handler.ts";
import { failedAttempt } from "../limits/attempts.ts";
import type { Principal } from "../principal.ts";
import { reply } from "../reply.ts";
import { type Family, OPEN_METRICS_TYPE, TEXT_TYPE, textOfFamilies } from "./families.ts";
import { LoopDelay, type ServerSource, serverFamilies } from "./server-metrics.ts";
import { StoreMetrics } from "./store-metrics.ts";

export { restOperation } from "./operations.ts";
export type { ServerSource, Traffic } from "./server-metrics.ts";

/** All metrics of one server. */
export class Metrics {
  /** Takes the store's events. */
  readonly store = new StoreMetrics();
  private readonly delay: LoopDelay;
  private readonly source: ServerSource;
  private readonly stats: (() => StoreStats | Promise<StoreStats>) | undefined;

  /**
   * `stats` are those of the store, `undefined` where another process tells them; what throws or rejects shows as a store that is not up.
   * `onTick` gets the time ten times a second.
   */
  constructor(
    source: ServerSource,
    stats: (() => StoreStats | Promise<StoreStats>) | undefined,
    onTick: (now: number) => void = () => {},
  ) {
    this.delay = new LoopDelay(onTick);
    this.source = source;
    this.stats = stats;
  }

  /** What there is to tell at present. */
  async families(): Promise<Family[]> {
    const own = serverFamilies(this.source, this.delay);
    if (this.stats === undefined) return own;
    let stats: StoreStats | undefined;
    try {
      stats = await this.stats();
    } catch {
      stats = undefined;
    }
    return [...own, ...this.store.families(stats)];
  }

  close(): void {
    this.delay.close();
  }
}

/** Whether a request is to an address or to this machine's own name: a name of somebody else may lead here, and a page of it with it. */
function isOwnHost(url: string): boolean {
  const { hostname } = new URL(url);
  return /^(.*\.)?localhost$/.test(hostname) || hostname.startsWith("[") || /^\d{1,3}(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Answers `/metrics`. Where the configuration asks for a key, it is one of an admin of a tenant that operates the store, as the header
 * `x-api-key` or as `authorization: Bearer`, which is what Prometheus sends.
 */
export function metricsHandler(
  context: Pick<ServerContext, "access" | "config" | "limits">,
  metrics: Pick<Metrics, "families">,
): PartHandler {
  const { access, config, limits } = context;
  const isOwn = !config.metrics.key && isLoopback(config.host);

  function bearerOf(request: Request, address: string): Principal | undefined {
    const apiKey = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    if (apiKey === undefined) return undefined;
    const principal = access.authenticate(apiKey, { address, protocol: "rest" });
    if (principal === undefined) {
      throw failedAttempt(limits, address, new ServerFailure(401, "Missing or invalid API key."));
    }
    const wait = limits.request(principal);
    if (wait > 0) throw new ServerFailure(429, "Rate limit exceeded.", wait);
    return principal;
  }

  return async (request, info, shown) => {
    if (isOwn && shown === undefined && !isOwnHost(request.url)) {
      const message =
        "Metrics without a key are for requests to localhost or to an IP address. Set metrics.key for others.";
      throw new ServerFailure(403, message);
    }
    if (config.metrics.key) {
      const principal = shown ?? bearerOf(request, info.address);
      if (principal === undefined) throw new ServerFailure(401, "Missing or invalid API key.");
      if (!principal.mayAll("admin")) {
        const { address } = info;
        access.denied(principal, "admin", undefined, { address, protocol: "rest", operation: "metrics" });
        throw new ServerFailure(403, "Metrics are for admins of a tenant that operates the store.");
      }
    }
    const { method, headers } = request;
    if (method !== "GET" && method !== "HEAD") {
      return reply(405, '{"error":"The method is not allowed here. Allowed: GET, HEAD."}', {
        "content-type": "application/json",
        allow: "GET, HEAD, OPTIONS",
      });
    }
    const isOpenMetrics = (headers.get("accept") ?? "").includes("application/openmetrics-text");
    const text = textOfFamilies(await metrics.families(), isOpenMetrics);
    const answerHeaders = {
      "content-type": isOpenMetrics ? OPEN_METRICS_TYPE : TEXT_TYPE,
      "cache-control": "no-store",
    };
    return reply(200, method === "HEAD" ? null : text, answerHeaders);
  };
}
