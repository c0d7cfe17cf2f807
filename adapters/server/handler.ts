/**
 * One handler for every request, joined from the parts of the server: whose request it is, whether it may go on, which part answers it,
 * and what is noted of it.
 *
 * 1. A part that is not there answers nothing: its paths are those of `rest`, or 404.
 * 2. What a part throws becomes an answer here; nothing of the inside is in it.
 */
import { SUBPROTOCOL } from "../../store/connection/frames.ts";
import type { ServerContext } from "./context.ts";
import { failureOf, ServerFailure } from "./failure.ts";
import { failedAttempt } from "./limits/attempts.ts";
import { headerOf, targetOf } from "./listen/request.ts";
import { withoutSecrets } from "./log.ts";
import { LABELS, PREFLIGHT, restOperation, UPGRADE } from "./metrics/operations.ts";
import type { Traces } from "./metrics/telemetry.ts";
import { type Origins, withHeaders } from "./origins.ts";
import type { Principal } from "./principal.ts";
import { reply } from "./reply.ts";
import type { RequestInfo, UpgradeAccepted, UpgradeHandler } from "./wire.ts";

/** What answers requests whose sender is known, or showed no key. */
export type PartHandler = (request: Request, info: RequestInfo, principal?: Principal) => Response | Promise<Response>;

/** The parts of a server. Each is made of the context by its own function. */
export interface Parts {
  /** Every path that none of the others takes. */
  rest?: PartHandler | undefined;
  /** `/metrics`. */
  metrics?: PartHandler | undefined;
  /** `/console` and what lies below. */
  console?: PartHandler | undefined;
  /** Upgrades at `/ws` and `//ws`. */
  socket?: UpgradeHandler | undefined;
  /** Upgrades that ask for the subprotocol "cairn.v1". */
  remote?: UpgradeHandler | undefined;
  /** Requests at `/connect` that are no upgrades. */
  remoteCheck?: PartHandler | undefined;
}

const JSON_TYPE = Object.freeze({ "content-type": "application/json" });
const REQUEST_ID = /^[\w.-]{1,64}$/;

/** An error as an answer, in the form that HPKV's clients read. */
export function failureReply(error: unknown): Response {
  const { status, message, retryAfter } = failureOf(error);
  const headers: Record<string, string> = { ...JSON_TYPE };
  if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(retryAfter));
  return reply(status, JSON.stringify({ error: message, message }), headers);
}

/** The path of a request, without query. */
export function pathOf(request: Request): string {
  const target = targetOf(request);
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

function protocolOf({ protocol }: UpgradeAccepted): "remote" | "websocket" {
  return protocol === SUBPROTOCOL ? "remote" : "websocket";
}

/** What handles requests and decides about upgrades. */
export interface Handlers {
  handle(request: Request, info: RequestInfo): Response | Promise<Response>;
  upgrade(request: Request, info: RequestInfo): Promise<Response | UpgradeAccepted>;
  /** What an upgrade was given is free again. */
  left(accepted: UpgradeAccepted): void;
}

/** Joins `parts`. `isReady`: whether the store can be used; `traces`: where requests get spans. */
export function handlersOf(
  context: ServerContext,
  parts: Parts,
  origins: Origins,
  isReady: () => Promise<boolean>,
  traces?: Traces,
): Handlers {
  const { access, limits, log, slow, meter, activity, closing } = context;
  const idPrefix = Math.random().toString(36).slice(2, 8);
  let idCount = 0;

  function partOf(path: string): PartHandler | undefined {
    if (path === "/metrics" && parts.metrics !== undefined) return parts.metrics;
    if (parts.console !== undefined && (path === "/console" || path.startsWith("/console/"))) return parts.console;
    if (parts.remoteCheck !== undefined && path === "/connect") return parts.remoteCheck;
    return parts.rest;
  }

  function admitted(apiKey: string, address: string, now: number): Principal {
    const principal = access.authenticate(apiKey, { address, protocol: "rest" });
    if (principal === undefined)
      throw failedAttempt(limits, address, new ServerFailure(401, "Missing or invalid API key."));
    const wait = limits.request(principal, 1, now);
    if (wait > 0) throw new ServerFailure(429, "Rate limit exceeded.", wait);
    return principal;
  }

  async function health(path: string): Promise<Response> {
    if (path === "/healthz") return reply(200, JSON.stringify({ status: "ok", worker: context.worker }), JSON_TYPE);
    if (closing.aborted) return reply(503, '{"status":"closing"}', JSON_TYPE);
    const isOpen = await isReady();
    return reply(
      isOpen ? 200 : 503,
      isOpen ? '{"status":"ready"}' : '{"status":"the store cannot be used"}',
      JSON_TYPE,
    );
  }

  /** What follows every answer; the answer, with what it still needs. */
  function noted(
    request: Request,
    operation: number,
    info: RequestInfo,
    response: Response,
    startMs: number,
    principal: Principal | undefined,
  ): Response {
    const ms = performance.now() - startMs;
    const { status } = response;
    let answer = response;
    if (ms < slow.thresholdMs) activity.took(ms);
    const given = headerOf(request, "x-request-id");
    if (given !== null || status >= 500 || ms >= slow.thresholdMs || isDebugging) {
      const requestId = given !== null && REQUEST_ID.test(given) ? given : `${idPrefix}-${(idCount++).toString(36)}`;
      answer = withHeaders(answer, { "x-request-id": requestId });
      const label = LABELS[operation] as string;
      if (ms >= slow.thresholdMs) slow.note(label, ms, principal?.tenant ?? "", requestId);
      const fields = {
        requestId,
        operation: label,
        method: request.method,
        url: withoutSecrets(request.url),
        status,
        ms,
        key: principal?.id,
      };
      if (status >= 500 && status !== 503) log.error("a request failed", { ...fields, address: info.address });
      else log.debug("request", { ...fields, address: info.address });
    }
    meter.record(operation, status, ms);
    const origin = headerOf(request, "origin");
    return origin === null ? answer : origins.shown(origin, answer);
  }

  const isDebugging = context.config.logLevel === "debug";

  function failed(error: unknown): Response {
    if (failureOf(error).status === 500) log.error("a handler failed", { error });
    return failureReply(error);
  }

  function handle(request: Request, info: RequestInfo): Response | Promise<Response> {
    const path = pathOf(request);
    if (traces === undefined) return answered(request, path, info);
    return traces.request(request, path, info, () => answered(request, path, info));
  }

  function answered(request: Request, path: string, info: RequestInfo): Response | Promise<Response> {
    const startMs = performance.now();
    let principal: Principal | undefined;
    let answer: Response | Promise<Response>;
    try {
      const { method } = request;
      if (method === "OPTIONS") {
        const preflight = origins.preflight(request);
        if (preflight !== undefined) {
          meter.record(PREFLIGHT, preflight.status, performance.now() - startMs);
          return preflight;
        }
      }
      if (path === "/healthz" || path === "/readyz") {
        answer = health(path);
      } else {
        const apiKey = headerOf(request, "x-api-key");
        if (apiKey !== null) {
          principal = admitted(apiKey, info.address, startMs);
        }
        const part = partOf(path);
        if (part === undefined) throw new ServerFailure(404, "There is nothing at this path.");
        answer = part(request, info, principal);
      }
    } catch (error) {
      answer = failed(error);
    }
    if (answer instanceof Promise) {
      const done = (response: Response): Response =>
        noted(request, restOperation(request.method, path), info, response, startMs, principal);
      return answer.then(done, (error) => done(failed(error)));
    }
    return noted(request, restOperation(request.method, path), info, answer, startMs, principal);
  }

  function upgradeHandlerOf(request: Request, path: string): UpgradeHandler | undefined {
    const offered = request.headers.get("sec-websocket-protocol");
    if (parts.remote !== undefined && offered !== null && /(?:^|,)\s*cairn\.v1\s*(?:,|$)/.test(offered))
      return parts.remote;
    return path === "/ws" || path === "//ws" ? parts.socket : undefined;
  }

  async function upgrade(request: Request, info: RequestInfo): Promise<Response | UpgradeAccepted> {
    const startMs = performance.now();
    const path = pathOf(request);
    const answer = await decided(request, path, info);
    if (answer instanceof Response) return noted(request, UPGRADE, info, answer, startMs, undefined);
    meter.record(UPGRADE, 101, performance.now() - startMs);
    meter.connected(protocolOf(answer));
    return answer;
  }

  async function decided(request: Request, path: string, info: RequestInfo): Promise<Response | UpgradeAccepted> {
    try {
      if (!origins.mayUpgrade(request)) throw new ServerFailure(403, "Pages of this origin may not use the server.");
      const handler = upgradeHandlerOf(request, path);
      if (handler === undefined) throw new ServerFailure(404, "There is no WebSocket at this path.");
      const accepted = await handler(request, info);
      if (accepted instanceof Response) {
        const { status } = accepted;
        if (status !== 401 && status !== 403) return accepted;
        const failure = failedAttempt(limits, info.address, new ServerFailure(status, ""));
        return failure.status === status ? accepted : failureReply(failure);
      }
      if (limits.connected(accepted.principal.tenant)) return accepted;
      throw new ServerFailure(503, "There are too many connections.", 1);
    } catch (error) {
      return failed(error);
    }
  }

  function left(accepted: UpgradeAccepted): void {
    limits.disconnected(accepted.principal.tenant);
    meter.disconnected(protocolOf(accepted));
  }

  return { handle, upgrade, left };
}
