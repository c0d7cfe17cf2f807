/**
 * A request as handlers get it from the listeners: a `Request` for whoever looks at it as one, and cheap to make. A real one is built
 * only when something is asked for that is not at hand here.
 */
import type { Body } from "./body.ts";
import type { Head } from "./http-head.ts";

const decoder = new TextDecoder();

/** Headers of a request: those that are looked up are found without an index. A real `Headers` is made for everything else. */
class LightHeaders {
  private readonly fields: string[];
  private made: Headers | undefined;

  constructor(fields: string[]) {
    this.fields = fields;
  }

  get(name: string): string | null {
    return this.at(name.toLowerCase());
  }
  /** `get` of a name in lower case. */
  at(wanted: string): string | null {
    if (this.made !== undefined) return this.made.get(wanted);
    const { fields } = this;
    let found: string | null = null;
    for (let at = 0; at < fields.length; at += 2) {
      if (fields[at] !== wanted) continue;
      const value = fields[at + 1] as string;
      found = found === null ? value : `${found}${wanted === "cookie" ? "; " : ", "}${value}`;
    }
    return found;
  }
  has(name: string): boolean {
    return this.get(name) !== null;
  }
  real(): Headers {
    if (this.made === undefined) {
      this.made = new Headers();
      for (let at = 0; at < this.fields.length; at += 2) {
        this.made.append(this.fields[at] as string, this.fields[at + 1] as string);
      }
    }
    return this.made;
  }
}

for (const name of ["append", "delete", "set", "forEach", "entries", "keys", "values", "getSetCookie"] as const) {
  Object.defineProperty(LightHeaders.prototype, name, {
    value(this: LightHeaders, ...args: unknown[]) {
      const real = this.real() as unknown as Record<string, (...args: unknown[]) => unknown>;
      return real[name]?.(...args);
    },
  });
}
Object.defineProperty(LightHeaders.prototype, Symbol.iterator, {
  value(this: LightHeaders) {
    return this.real()[Symbol.iterator]();
  },
});
Object.setPrototypeOf(LightHeaders.prototype, Headers.prototype);

/** The request of one head and its body. */
export class LightRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  readonly headers: Headers;
  private readonly host: string;
  private readonly isSecure: boolean;
  private readonly content: Body;
  private aborter: AbortController | undefined;
  private made: Request | undefined;
  private streamed: ReadableStream<Uint8Array> | undefined;
  private isAborted = false;

  constructor(head: Head, body: Body, isSecure: boolean) {
    this.method = head.method;
    this.target = head.target;
    this.host = head.host;
    this.isSecure = isSecure;
    this.headers = new LightHeaders(head.fields) as unknown as Headers;
    this.content = body;
  }

  get url(): string {
    return `${this.isSecure ? "https" : "http"}://${this.host === "" ? "localhost" : this.host}${this.target}`;
  }
  /** Aborts when the other side has gone. */
  get signal(): AbortSignal {
    this.aborter ??= new AbortController();
    if (this.isAborted) this.aborter.abort();
    return this.aborter.signal;
  }
  /** The other side has gone. */
  abort(): void {
    this.isAborted = true;
    this.aborter?.abort();
  }

  get bodyUsed(): boolean {
    return this.content.isUsed;
  }
  get body(): ReadableStream<Uint8Array> | null {
    if (this.method === "GET" || this.method === "HEAD") return null;
    if (this.streamed === undefined && this.content.isComplete && this.content.size === 0) return null;
    this.streamed ??= this.content.stream();
    return this.streamed;
  }
  async bytes(): Promise<Uint8Array> {
    return this.whole();
  }
  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = await this.whole();
    return bytes.byteLength === bytes.buffer.byteLength
      ? (bytes.buffer as ArrayBuffer)
      : (new Uint8Array(bytes).buffer as ArrayBuffer);
  }
  async text(): Promise<string> {
    return decoder.decode(await this.whole());
  }
  async json(): Promise<unknown> {
    return JSON.parse(decoder.decode(await this.whole()));
  }

  /** The body, where all of it is there and nobody has read it. */
  arrived(): Uint8Array | undefined {
    const { content } = this;
    if (!content.isComplete || content.isUsed || content.failure !== undefined) return undefined;
    return content.whole() as Uint8Array;
  }

  private whole(): Uint8Array | Promise<Uint8Array> {
    if (this.content.isUsed) throw new TypeError("the body of the request has been read");
    return this.content.whole();
  }

  /** The request as the runtime's own object. */
  real(): Request {
    if (this.made === undefined) {
      const { body } = this;
      this.made = new Request(this.url, {
        method: this.method,
        headers: (this.headers as unknown as LightHeaders).real(),
        signal: this.signal,
        ...(body === null ? {} : { body: body as BodyInit, duplex: "half" }),
      } as RequestInit);
    }
    return this.made;
  }
}

for (const name of ["blob", "clone", "formData"] as const) {
  Object.defineProperty(LightRequest.prototype, name, {
    value(this: LightRequest) {
      return (this.real() as unknown as Record<string, () => unknown>)[name]?.();
    },
  });
}
for (const [name, value] of Object.entries({
  cache: "default",
  credentials: "same-origin",
  destination: "",
  integrity: "",
  keepalive: false,
  mode: "cors",
  redirect: "follow",
  referrer: "about:client",
  referrerPolicy: "",
  duplex: "half",
})) {
  Object.defineProperty(LightRequest.prototype, name, { value });
}
Object.setPrototypeOf(LightRequest.prototype, Request.prototype);

/** The request of one head, for handlers. */
export function asRequest(request: LightRequest): Request {
  return request as unknown as Request;
}

/** `request.headers.get(name)` of a name in lower case: without looking at that, where the request is one of a listener's. */
export function headerOf(request: Request, name: string): string | null {
  const headers: unknown = request.headers;
  return headers instanceof LightHeaders ? (headers as LightHeaders).at(name) : (headers as Headers).get(name);
}

/** The body of a request, where it has come as a whole already. */
export function arrivedBody(request: Request): Uint8Array | undefined {
  return request instanceof LightRequest ? (request as LightRequest).arrived() : undefined;
}

/** Path and query of a request, as they came. */
export function targetOf(request: Request): string {
  if (request instanceof LightRequest) return (request as LightRequest).target;
  const { url } = request;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start < 0 ? "/" : url.slice(start);
}
