/**
 * Pages of other origins: which of them may use the server from a browser (CORS, and `Origin` of WebSockets).
 *
 * Origins compare as text. Programs that are no browsers send none, and are not concerned.
 */
import { partsOf, reply } from "./reply.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const EXPOSED = "etag, retry-after, location, x-request-id, x-version";
const MAX_AGE_SECONDS = "7200";
const PRINTABLE = /^[\x20-\x7e]*$/;

export class Origins {
  private readonly allowed: ReadonlySet<string>;
  private readonly all: boolean;

  constructor(origins: readonly string[]) {
    this.allowed = new Set(origins);
    this.all = this.allowed.has("*");
  }

  isAllowed(origin: string): boolean {
    // It is repeated in answers, which nothing but ASCII may be in.
    return this.all ? PRINTABLE.test(origin) : this.allowed.has(origin);
  }

  /** Whether a WebSocket may be opened: browsers do that for any page, so the server has to look. */
  mayUpgrade(request: Request): boolean {
    const origin = request.headers.get("origin");
    if (origin === null || this.isAllowed(origin)) return true;
    return origin === new URL(request.url).origin;
  }

  /** The answer to a browser that asks before it sends; `undefined`: the request is none of that kind. */
  preflight(request: Request): Response | undefined {
    const { headers } = request;
    const origin = headers.get("origin");
    if (origin === null || headers.get("access-control-request-method") === null) return undefined;
    if (!this.isAllowed(origin)) return reply(403, null, { vary: "origin" });
    const asked = headers.get("access-control-request-headers");
    return reply(204, null, {
      "access-control-allow-origin": origin,
      "access-control-allow-methods": METHODS,
      "access-control-allow-headers": asked !== null && PRINTABLE.test(asked) ? asked : "content-type, x-api-key",
      "access-control-max-age": MAX_AGE_SECONDS,
      vary: "origin, access-control-request-headers",
    });
  }

  /** An answer that the page may read. */
  shown(origin: string, response: Response): Response {
    if (!this.isAllowed(origin)) return response;
    return withHeaders(response, {
      "access-control-allow-origin": origin,
      "access-control-expose-headers": EXPOSED,
      vary: "origin",
    });
  }
}

/** An answer with more headers; those that it has stay, but for `vary`, which grows. */
export function withHeaders(response: Response, more: Record<string, string>): Response {
  const parts = partsOf(response);
  if (parts !== undefined) {
    const headers: Record<string, string> = { ...more, ...parts.headers };
    const vary = parts.headers["vary"];
    if (vary !== undefined && more["vary"] !== undefined) headers["vary"] = `${vary}, ${more["vary"]}`;
    return reply(parts.status, parts.body, headers);
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(more)) {
    if (name === "vary") headers.append(name, value);
    else if (!headers.has(name)) headers.set(name, value);
  }
  return new Response(response.body, { status: response.status, headers });
}
