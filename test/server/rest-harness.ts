/** A store behind the REST handler, with keys, as calls of the handler and on a port. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Access } from "../../adapters/server/access/access.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile } from "../../adapters/server/access/keys-format.ts";
import { Activity } from "../../adapters/server/activity.ts";
import type { Principal } from "../../adapters/server/principal.ts";
import { type RestHandler, type RestSettings, restHandler } from "../../adapters/server/rest/index.ts";
import { SlowRing } from "../../adapters/server/slow.ts";
import { Tenants } from "../../adapters/server/tenants.ts";
import type { BlockDevice } from "../../store/device.ts";
import type { Store } from "../../store/store.ts";
import { MemoryDevice, open } from "../store/harness.ts";

const names = ["admin", "writer", "reader", "orders", "two", "root"] as const;
type Name = (typeof names)[number];

/** Keys by what they may. `two` and `root` are of other tenants. */
export const KEYS = Object.fromEntries(names.map((name) => [name, newApiKey()])) as Record<
  Name,
  ReturnType<typeof newApiKey>
>;

const keyOf = (name: Name, tenant: string, role: string) => ({ tenant, role, sha256: KEYS[name].sha256 });
const FILE: KeysFile = {
  tenants: { one: { operator: true }, two: {}, root: { namespace: "" } },
  roles: { orders: [{ prefix: "order:", verbs: ["read", "write", "delete", "range", "watch"] }] },
  keys: {
    [KEYS.admin.id]: keyOf("admin", "one", "admin"),
    [KEYS.writer.id]: keyOf("writer", "one", "writer"),
    [KEYS.reader.id]: keyOf("reader", "one", "reader"),
    [KEYS.orders.id]: keyOf("orders", "one", "orders"),
    [KEYS.two.id]: keyOf("two", "two", "admin"),
    [KEYS.root.id]: keyOf("root", "root", "admin"),
  },
};

/** What a request of a test may have. */
export interface Asking {
  method?: string;
  body?: string | Uint8Array | ReadableStream<Uint8Array> | undefined;
  headers?: Record<string, string>;
  /** Whose key is sent; `null`: nobody's. Default "admin". */
  as?: Name | null;
}

/** A budget of bytes and connections that is counted, and that a test can set. */
class Counted {
  bytesMax = Number.POSITIVE_INFINITY;
  connectionsMax = Number.POSITIVE_INFINITY;
  waitSeconds = 0;
  bytes = 0;
  connections = 0;
  failures = 0;
  request(): number {
    return this.waitSeconds;
  }
  take(_tenant: string, size: number): boolean {
    if (this.bytes + size > this.bytesMax) return false;
    this.bytes += size;
    return true;
  }
  release(_tenant: string, size: number): void {
    this.bytes -= size;
  }
  connected(): boolean {
    if (this.connections >= this.connectionsMax) return false;
    this.connections++;
    return true;
  }
  disconnected(): void {
    this.connections--;
  }
  authenticationDelay(): number {
    return 0;
  }
  authenticationFailed(): void {
    this.failures++;
  }
}

/** A served store. */
export interface Served {
  store: Store<unknown, unknown>;
  tenants: Tenants;
  access: Access;
  limits: Counted;
  slow: SlowRing;
  activity: Activity;
  handler: RestHandler;
  /** What the log got as errors. */
  errors: unknown[];
  /** Calls the handler. */
  ask(path: string, asking?: Asking): Promise<Response>;
  /** The JSON of an answer that must have a status. */
  json(path: string, asking?: Asking & { status?: number }): Promise<Record<string, unknown>>;
  principal(name: Name): Principal;
  /** Listens on a port of this machine: the address. */
  listen(): Promise<string>;
  close(): Promise<void>;
}

/** Opens a store in memory and serves it. */
export async function serve(
  settings: Partial<RestSettings> = {},
  device: BlockDevice = new MemoryDevice(),
): Promise<Served> {
  const store = (await open(device)) as Store<unknown, unknown>;
  const access = await Access.open({ keys: FILE });
  const tenants = new Tenants(store, (tenant) => access.tenant(tenant).namespace);
  const limits = new Counted();
  const closing = new AbortController();
  const errors: unknown[] = [];
  const activity = new Activity();
  const slow = new SlowRing(undefined, activity);
  const handler = restHandler(
    {
      store,
      access,
      operationsOf: (tenant) => tenants.operationsOf(tenant),
      limits,
      log: { error: (message, fields) => errors.push({ message, ...fields }) },
      slow,
      activity,
      closing: closing.signal,
    },
    settings,
  );
  const endings: (() => Promise<void>)[] = [];
  const ask = async (path: string, { method = "GET", body, headers = {}, as = "admin" }: Asking = {}) => {
    const key = as === null ? {} : { "x-api-key": KEYS[as].text };
    const init = { method, body: body ?? null, headers: { ...key, ...headers }, duplex: "half" };
    return handler(new Request(`http://cairn.test${path}`, init as RequestInit), {});
  };
  return {
    store,
    tenants,
    access,
    limits,
    slow,
    activity,
    handler,
    errors,
    ask,
    async json(path, { status = 200, ...asking } = {}) {
      const response = await ask(path, asking);
      const text = await response.text();
      if (response.status !== status) throw new Error(`${asking.method ?? "GET"} ${path}: ${response.status} ${text}`);
      if (response.headers.get("content-type") !== "application/json") throw new Error(`${path}: no JSON`);
      return JSON.parse(text);
    },
    principal(name) {
      const principal = access.authenticate(KEYS[name].text);
      if (principal === undefined) throw new Error(`${name} is nobody`);
      return principal;
    },
    async listen() {
      const server = createServer((incoming, outgoing) => {
        forward(handler, incoming, outgoing).catch(() => outgoing.destroy());
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      endings.push(async () => {
        server.closeAllConnections?.();
        await new Promise((resolve) => server.close(resolve));
      });
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    async close() {
      closing.abort();
      for (const end of endings) await end();
      await access.close();
      await store.close();
    },
  };
}

/** One request of a socket through the handler, in both directions as fast as the slower side. */
async function forward(handler: RestHandler, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const method = incoming.method ?? "GET";
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) headers.set(name, String(value));
  const hasBody = method !== "GET" && method !== "HEAD";
  const pieces = incoming[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done === true) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
  });
  const init = { method, headers, ...(hasBody ? { body, duplex: "half" } : {}) };
  const response = await handler(new Request(`http://127.0.0.1${incoming.url}`, init as RequestInit), {});
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  const reader = response.body?.getReader();
  outgoing.on("close", () => reader?.cancel().catch(() => undefined));
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) break;
    if (!outgoing.write(value)) await new Promise((resolve) => outgoing.once("drain", resolve));
  }
  outgoing.end();
}
