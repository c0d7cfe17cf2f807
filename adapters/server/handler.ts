/**
 * One handler for every request, joined from the parts of the server: whose request it is, whether it may go on, which part answers it,
 * and what is noted of it.
 *
 * 1. A part that is not there answers nothing: its paths are those of `rest`, or 404.
 * 2. What a part throws becomes an answer here; nothing of the inside is in it.
 */
import type { ServerContext } from "./context.ts";
import { failureOf, ServerFailure } from "./failure.ts";
import type { Principal } from "./principal.ts";
import { reply } from "./reply.ts";
import type { RequestInfo, UpgradeHandler } from "./wire.ts";

/** What answers requests whose sender is known, or showed no key. */
export type PartHandler = (request: Request, info: RequestInfo, principal?: Principal) => Response | Promise<Response>;

/** The parts of a server. Each is made of the context by its own function. */
export interface Parts {
  /** Every path that none of the others takes. */
  rest?: PartHandler;
  /** `/metrics`. */
  metrics?: PartHandler;
  /** `/console` and what lies below. */
  console?: PartHandler;
  /** Upgrades at `/ws` and `//ws`. */
  socket?: UpgradeHandler;
  /** Upgrades that ask for the subprotocol "cairn.v1". */
  remote?: UpgradeHandler;
}

/** An error as an answer, in the form that HPKV's clients read. */
export function failureReply(error: unknown): Response {
  const { status, message, retryAfter } = failureOf(error);
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(retryAfter));
  return reply(status, JSON.stringify({ error: message, message }), headers);
}

/** The path of a request's URL, without query. */
export function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  return query < 0 ? url.slice(start) : url.slice(start, query);
}

/** Joins `parts` into one handler. */
export function handlerOf(
  context: ServerContext,
  parts: Parts,
): (request: Request, info: RequestInfo) => Response | Promise<Response> {
  function partOf(path: string): PartHandler | undefined {
    if (path === "/metrics" && parts.metrics !== undefined) return parts.metrics;
    if (path.startsWith("/console") && parts.console !== undefined) return parts.console;
    return parts.rest;
  }

  /** Whose key this is. Throws where it is nobody's, and where there were too many of those. */
  function principalOf(apiKey: string, address: string): Principal {
    const delay = context.limits.authenticationDelay(address);
    if (delay > 0) throw new ServerFailure(429, "Too many attempts with keys that do not count.", delay);
    const principal = context.access.authenticate(apiKey);
    if (principal !== undefined) return principal;
    context.limits.authenticationFailed(address);
    throw new ServerFailure(401, "Missing or invalid API key.");
  }

  return function handle(request, info) {
    try {
      const apiKey = request.headers.get("x-api-key");
      let principal: Principal | undefined;
      if (apiKey !== null) {
        principal = principalOf(apiKey, info.address);
        const wait = context.limits.request(principal);
        if (wait > 0) throw new ServerFailure(429, "Rate limit exceeded.", wait);
      }
      const part = partOf(pathOf(request.url));
      if (part === undefined) throw new ServerFailure(404, "There is nothing at this path.");
      const answer = part(request, info, principal);
      return answer instanceof Promise ? answer.catch(failureReply) : answer;
    } catch (error) {
      return failureReply(error);
    }
  };
}
