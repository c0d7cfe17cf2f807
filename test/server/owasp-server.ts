/** `createServer(...).listen()` with keys of every kind, for tests that mean harm. */
import { onTestFinished } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer, type LogLine } from "../../adapters/server/index.ts";
import { openOfRuntime } from "../runtime.ts";

const open = await openOfRuntime();

/** Whoever asks: by their roles, in two tenants, of which "home" operates the store. */
export const NAMES = ["operator", "admin", "writer", "reader", "scoped", "expired"] as const;
export type Name = (typeof NAMES)[number];
export const KEYS = Object.fromEntries(NAMES.map((name) => [name, newApiKey()])) as Record<
  Name,
  ReturnType<typeof newApiKey>
>;
const GRANTS: Record<Name, { tenant: string; role: string; expires?: string }> = {
  operator: { tenant: "home", role: "admin" },
  admin: { tenant: "guest", role: "admin" },
  writer: { tenant: "home", role: "writer" },
  reader: { tenant: "home", role: "reader" },
  scoped: { tenant: "home", role: "notes" },
  expired: { tenant: "home", role: "admin", expires: "2020-01-01T00:00:00Z" },
};
export const FILE: KeysFile = {
  tenants: { home: { operator: true }, guest: { operator: false } },
  roles: { notes: [{ prefix: "note:", verbs: ["read", "write", "range"] }] },
  keys: Object.fromEntries(NAMES.map((name) => [KEYS[name].id, { ...GRANTS[name], sha256: KEYS[name].sha256 }])),
};

/** A server that listens. */
export async function served(config: ServerConfig = {}) {
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const lines: LogLine[] = [];
  const server = createServer(store, { keys: FILE, log: (line) => lines.push(line), logLevel: "debug", ...config });
  const { url, port, riocPort } = await server.listen();
  const ask = (path: string, as: Name | undefined, init: RequestInit = {}): Promise<Response> => {
    const key = as === undefined ? {} : { "x-api-key": KEYS[as].text };
    return fetch(url + path, { ...init, headers: { ...key, ...(init.headers as Record<string, string>) } });
  };
  const post = (path: string, body: unknown, as: Name | undefined): Promise<Response> =>
    ask(path, as, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return {
    store,
    server,
    url,
    port,
    riocPort: riocPort ?? 0,
    lines,
    ask,
    post,
    /** The status of an answer, whose body is let go. */
    async status(answer: Promise<Response>): Promise<number> {
      const response = await answer;
      await response.body?.cancel();
      return response.status;
    },
    async token(wants: object, as: Name = "operator"): Promise<string> {
      return ((await (await post("/token/websocket", wants, as)).json()) as { token: string }).token;
    },
    async close() {
      await server.close({ graceMs: 0 });
      await store.close();
    },
  };
}
export type Served = Awaited<ReturnType<typeof served>>;

/** One that ends with its test. */
export async function servedHere(config: ServerConfig = {}): Promise<Served> {
  const made = await served(config);
  onTestFinished(() => made.close());
  return made;
}

export interface Document {
  paths: Record<string, Record<string, { operationId: string; security: unknown[] }>>;
}

/** What the server says of itself. */
export async function documentOf({ ask }: Served): Promise<Document> {
  return (await (await ask("/openapi.json", undefined)).json()) as Document;
}
