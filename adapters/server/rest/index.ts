/**
 * REST: HPKV's protocol, and what goes beyond it, as one handler of requests.
 *
 * 1. Paths are matched before they are decoded, and keys are decoded once.
 * 2. Every route but the document asks for an API key or a token, and checks what it may do before it looks at any record.
 * 3. Nothing that a request holds makes the handler throw, or answer 500: that is left to faults of the store and of this code.
 */
import { Buffer } from "node:buffer";
import type { Origin } from "../access/index.ts";
import { ServerFailure } from "../failure.ts";
import { failedAttempt } from "../limits/attempts.ts";
import { targetOf } from "../listen/request.ts";
import type { Principal } from "../principal.ts";
import { partsOf, reply } from "../reply.ts";
import type { RequestInfo } from "../wire.ts";
import { addressOf, Query } from "./address.ts";
import { errorAnswer, failureAnswer, JSON_TYPE, jsonAnswer, TEXTS } from "./answers.ts";
import { Call, type Rest } from "./call.ts";
import { REST_SETTINGS, type RestContext, type RestSettings } from "./context.ts";
import { openApiOf } from "./openapi.ts";
import type { Route } from "./route.ts";
import { allowOf, ROUTES, Router } from "./routes.ts";
import { Snapshots } from "./snapshots.ts";

export { REST_SETTINGS, type RestContext, type RestSettings } from "./context.ts";
export { openApiOf } from "./openapi.ts";
export { ROUTES } from "./routes.ts";

/** The version of the interface that the document tells. */
const INTERFACE_VERSION = "1.0.0";
const BEARER = "bearer ";
/** What keys of the API begin with, and no token. */
const KEY_START = "cairn_";

/** Answers a request. `principal`: whose API key it shows, where that is known already; it was admitted by the limits then. */
export type RestHandler = (
  request: Request,
  info: Partial<RequestInfo>,
  principal?: Principal,
) => Response | Promise<Response>;

/** A route that another part of the server answers, for the document. */
export type DocumentedRoute = Omit<Route, "handle">;

/** The handler of one server. It takes every path that no other part of the server does. `others`: what the document names besides. */
export function restHandler(
  context: RestContext,
  given: Partial<RestSettings> = {},
  others: readonly DocumentedRoute[] = [],
): RestHandler {
  const settings = { ...REST_SETTINGS, ...given };
  const rest: Rest = { context, settings, snapshots: context.snapshots ?? new Snapshots(context, settings) };
  const documented: Route = {
    method: "GET",
    path: "/openapi.json",
    id: "getOpenApi",
    summary: "This document",
    isOpen: true,
    answers: { 200: { description: "OpenAPI 3.1.", content: { [JSON_TYPE]: { type: "object" } } } },
    handle: () => jsonAnswer(200, document),
  };
  const routes = [...ROUTES, documented];
  const document = JSON.stringify(openApiOf([...routes, ...others], INTERFACE_VERSION));
  const router = new Router(routes);

  function failed(error: unknown, call?: Call): Response {
    call?.release();
    const refused = failureAnswer(error);
    if (refused.status >= 500 && refused.status !== 501 && refused.status !== 507) {
      context.log.error("a request failed", { method: call?.request.method, status: refused.status, error });
    }
    return refused;
  }

  function handle(request: Request, info: Partial<RequestInfo>, principal?: Principal): Response | Promise<Response> {
    let call: Call | undefined;
    try {
      const { method } = request;
      const { path, query } = addressOf(targetOf(request));
      const found = router.find(method === "HEAD" ? "GET" : method, path);
      if (found === undefined) return unknownPath(path);
      const { methods, segment } = found;
      const route = methods.get(method === "HEAD" ? "GET" : method);
      if (route === undefined) return otherMethod(method, allowOf(methods));
      let who = principal;
      if (who === undefined && route.isOpen !== true)
        who = principalOf(context, request, info.address ?? "", route, query);
      const current = new Call(rest, request, who, segment, query, info.address ?? "");
      call = current;
      const answered = route.handle(current);
      if (!(answered instanceof Promise)) return answered;
      return answered.then(
        (response) => {
          current.release();
          return response;
        },
        (error: unknown) => failed(error, current),
      );
    } catch (error) {
      return failed(error, call);
    }
  }

  return (request, info, principal) => {
    const answered = handle(request, info, principal);
    if (request.method !== "HEAD") return answered;
    return answered instanceof Promise ? answered.then(withoutBody) : withoutBody(answered);
  };
}

function unknownPath(path: string): Response {
  if (path.startsWith("/search") || path.startsWith("/query")) {
    return errorAnswer(501, "Semantic search is not part of this server.");
  }
  return errorAnswer(404, "There is nothing at this path. See /openapi.json for what there is.");
}

function otherMethod(method: string, allow: string): Response {
  if (method === "OPTIONS") return reply(204, null, { allow });
  return errorAnswer(405, `The method is not allowed here. Allowed: ${allow}.`, undefined, { allow });
}

/** Who asks, by a header, or by a token in the address where the route takes one. Counts against the limits. 401, 429. */
function principalOf(context: RestContext, request: Request, address: string, route: Route, query: string): Principal {
  const { access, limits } = context;
  const from: Origin = { address, protocol: "rest" };
  const apiKey = request.headers.get("x-api-key");
  const authorization = request.headers.get("authorization");
  let shown = apiKey;
  let principal = apiKey === null ? undefined : access.authenticate(apiKey, from);
  if (apiKey === null && authorization?.slice(0, BEARER.length).toLowerCase() === BEARER) {
    shown = authorization.slice(BEARER.length).trim();
    principal = shown.startsWith(KEY_START) ? access.authenticate(shown, from) : access.verifyToken(shown, from);
  }
  if (shown === null && route.takesTokenInQuery === true) {
    shown = new Query(query).text("token") ?? null;
    principal = shown === null ? undefined : access.verifyToken(shown, from);
  }
  if (principal === undefined) {
    const failure = new ServerFailure(401, TEXTS.unauthorized);
    throw shown === null ? failure : failedAttempt(limits, address, failure);
  }
  const wait = limits.request(principal);
  if (wait > 0) throw new ServerFailure(429, "Rate limit exceeded", wait);
  return principal;
}

/** The answer to `HEAD`: what `GET` would say of itself. */
function withoutBody(response: Response): Response {
  const parts = partsOf(response);
  if (parts === undefined) return response;
  const { status, headers, body } = parts;
  if (body instanceof ReadableStream) {
    body.cancel().catch(() => undefined);
    return reply(status, null, headers);
  }
  const size = body === null ? 0 : Buffer.byteLength(body);
  return reply(status, null, size === 0 ? headers : { ...headers, "content-length": String(size) });
}
