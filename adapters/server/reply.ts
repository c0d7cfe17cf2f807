/**
 * Answers that need no `Response`: building one costs more than a `get`. A `Reply` holds status, headers and a body that is whole, and
 * is a `Response` for whoever looks at it as one: that is built when something of it is asked for that is not at hand.
 *
 * 1. The listeners of this package send a reply as it is. `createServer().fetch` gives `responseOf` of it: servers of runtimes take only
 *    their own `Response`.
 * 2. Names of headers are lower case.
 */

/** What a body may be: whole, or a stream. */
export type ReplyBody = string | Uint8Array | ReadableStream<Uint8Array> | null;

export type ReplyHeaders = Record<string, string>;

/** Headers that have their own text, as lines that need no check, hold it under this name, as a getter of their class. */
export const HEADER_LINES = Symbol("lines");

const REAL = Symbol("response");
const GIVEN_STATUS = Symbol("status");
const GIVEN_HEADERS = Symbol("headers");
const GIVEN_BODY = Symbol("body");

/** What `reply` makes. Looks like a `Response` to handlers and tests, and is cheap to make. */
class LightReply {
  readonly [GIVEN_STATUS]: number;
  readonly [GIVEN_BODY]: ReplyBody;
  readonly [GIVEN_HEADERS]: ReplyHeaders;
  private [REAL]: Response | undefined = undefined;

  constructor(status: number, body: ReplyBody, headers: ReplyHeaders) {
    this[GIVEN_STATUS] = status;
    this[GIVEN_BODY] = body;
    this[GIVEN_HEADERS] = headers;
  }

  get status(): number {
    return this[GIVEN_STATUS];
  }
  get ok(): boolean {
    return this[GIVEN_STATUS] >= 200 && this[GIVEN_STATUS] < 300;
  }

  /** The answer as the runtime's own object. */
  real(): Response {
    this[REAL] ??= new Response(this[GIVEN_BODY] as BodyInit | null, {
      status: this[GIVEN_STATUS],
      headers: this[GIVEN_HEADERS],
    });
    return this[REAL];
  }
  /** Whether somebody may have changed or read what was given: then only the real one counts. */
  get isReal(): boolean {
    return this[REAL] !== undefined;
  }
}

for (const name of ["headers", "body", "bodyUsed", "statusText", "redirected", "type", "url"] as const) {
  Object.defineProperty(LightReply.prototype, name, {
    get(this: LightReply) {
      return this.real()[name];
    },
  });
}
for (const name of ["arrayBuffer", "blob", "bytes", "clone", "formData", "json", "text"] as const) {
  Object.defineProperty(LightReply.prototype, name, {
    value(this: LightReply) {
      return (this.real() as unknown as Record<string, () => unknown>)[name]?.();
    },
  });
}
Object.setPrototypeOf(LightReply.prototype, Response.prototype);

/** An answer. `headers` is kept, not copied; give `content-type` where there is a body. */
export function reply(status: number, body: ReplyBody = null, headers: ReplyHeaders = {}): Response {
  return new LightReply(status, body, headers) as unknown as Response;
}

/** What a reply was made of, while nobody has looked at it as a `Response`; `undefined` for any other answer. */
export function partsOf(response: Response): { status: number; headers: ReplyHeaders; body: ReplyBody } | undefined {
  if (!(response instanceof LightReply)) return undefined;
  const light = response as LightReply;
  if (light.isReal) return undefined;
  return { status: light[GIVEN_STATUS], headers: light[GIVEN_HEADERS], body: light[GIVEN_BODY] };
}

/** Any answer as the runtime's own `Response`. */
export function responseOf(response: Response): Response {
  return response instanceof LightReply ? (response as LightReply).real() : response;
}
