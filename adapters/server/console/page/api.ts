/**
 * The server's REST as the page asks it: every request with the API key in a header, none with it in its address.
 *
 * Addresses are relative to the page, so that it works behind whatever stands in front of the server.
 */
import { Refusal } from "../../../page/reason.ts";

/** A refusal of the server. */
export class ApiError extends Refusal {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What a request may have. */
export interface Asking {
  method?: "GET" | "PUT" | "DELETE";
  /** Parameters of the address; `undefined` ones are left out. */
  query?: Readonly<Record<string, string | number | undefined>>;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array<ArrayBuffer>;
  signal?: AbortSignal;
}

/** What a key may do: with all keys of its tenant, with one key, with those of a prefix. */
export interface Rights {
  id: string;
  tenant: string;
  all: string[];
  key?: string[];
  prefix?: string[];
}

/** The server, asked by whoever has signed in. */
export class Api {
  private readonly key: string;
  private readonly refused: () => void;
  private readonly over = new AbortController();

  /** `refused` is told when the key does not count any more. */
  constructor(key: string, refused: () => void) {
    this.key = key;
    this.refused = refused;
  }

  /** Aborts when this person signs out. */
  get ended(): AbortSignal {
    return this.over.signal;
  }

  /** Ends all requests under way. */
  end(): void {
    this.over.abort();
  }

  /** An answer below 300; others throw `ApiError`. */
  async ask(path: string, { method = "GET", query = {}, headers = {}, body, signal }: Asking = {}): Promise<Response> {
    const url = new URL(`../${path}`, location.href);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: { ...headers, "x-api-key": this.key },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: signal === undefined ? this.ended : AbortSignal.any([this.ended, signal]),
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      if (this.ended.aborted || signal?.aborted === true) throw error;
      throw new ApiError(0, "The server does not answer.");
    }
    if (response.ok) return response;
    if (response.status === 401) this.refused();
    throw new ApiError(response.status, await messageOf(response));
  }

  /** An answer that is JSON. */
  async json<T>(path: string, asking?: Asking): Promise<T> {
    return (await (await this.ask(path, asking)).json()) as T;
  }

  /** What the key may do. */
  rights(of: { key?: Uint8Array; prefix?: Uint8Array } = {}): Promise<Rights> {
    const { key, prefix } = of;
    const query = { key: key && base64Of(key), prefix: prefix && base64Of(prefix), keyEncoding: "base64" };
    return this.json("rights", { query });
  }
}

/** Bytes as base64. */
export function base64Of(bytes: Uint8Array): string {
  let units = "";
  for (const byte of bytes) units += String.fromCharCode(byte);
  return btoa(units);
}

/** The bytes that base64 stands for. */
export function bytesOfBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
}

const encoder = new TextEncoder();

/** A member of the server's JSON as bytes: text, or base64 where its encoding says so. */
export function bytesOfMember(text: string, encoding: string | undefined): Uint8Array<ArrayBuffer> {
  return encoding === "base64" ? bytesOfBase64(text) : encoder.encode(text);
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === "string") return `${error} (${response.status})`;
  } catch {
    // A proxy's answer, perhaps.
  }
  return `The server answers with status ${response.status}.`;
}
