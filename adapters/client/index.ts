/**
 * A store behind a server, as promises: `connect(url, { key })`.
 *
 * @module cairn-kv/client
 */
import { Connection } from "../../store/connection/connection.ts";
import { ConnectionFace } from "../../store/connection/face.ts";
import { formatOf, type KeyEncoding, type ValueEncoding } from "../../store/encoding.ts";
import { CairnError } from "../../store/error.ts";
import type { KeyOf, ValueOf } from "../../store/options.ts";
import { isPlain } from "../../store/refusals.ts";
import { type ConnectionState, RemoteLine } from "./remote-line.ts";
import type { ClientTls, Credential, SocketConstructor } from "./sockets.ts";

export type { ConnectionBatch } from "../../store/connection/batch.ts";
export type { Connection } from "../../store/connection/connection.ts";
export type { ConnectionRange } from "../../store/connection/reads.ts";
export type { ConnectionSnapshot } from "../../store/connection/snapshot.ts";
export type { ConnectionTransaction } from "../../store/connection/transaction.ts";
export type { EntryWalk, KeyWalk, ValueWalk } from "../../store/connection/walk.ts";
export type { ConnectionWatch } from "../../store/connection/watch.ts";
export { CairnError, type CairnErrorCode } from "../../store/error.ts";
export type { ConnectionState } from "./remote-line.ts";
export type { ClientTls } from "./sockets.ts";

/** Options of `connect`. Times in milliseconds. */
export interface ClientOptions<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8"> {
  /** The API key. */
  key?: string | undefined;
  /** A token instead of a key, or what gives one before each attempt to connect: for pages, where a key would be everybody's. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** How keys become bytes. Default `"utf8"`. */
  keyEncoding?: K | undefined;
  /** How values become bytes. Default `"utf8"`. */
  valueEncoding?: V | undefined;
  /**
   * When `set`, `delete` and their kind resolve: `"interval"`, the default, when the write is visible at the server, which makes it durable soon
   * after, and is sent again where a server that ended lost it; `"sync"` when it is on stable storage.
   */
  durability?: "interval" | "sync" | undefined;
  /** Refuses writes, here already. Default `false`. */
  readOnly?: boolean | undefined;
  /** How long the first connection may take. Default 30,000. */
  timeoutMs?: number | undefined;
  /** How long calls wait while there is no connection, before they reject with `UNREACHABLE`. Default 60,000. */
  patienceMs?: number | undefined;
  /** The pause before the second attempt to connect; later ones double up to `pauseMsMax`. Default 100. */
  pauseMs?: number | undefined;
  /** The longest pause. Default 10,000. */
  pauseMsMax?: number | undefined;
  /** Allows `ws:` to other machines, where key and data travel for everybody to read. Default `false`. */
  allowPlain?: boolean | undefined;
  /** Told what the connection is doing, and with `"closed"` why. What it throws is ignored. */
  onState?: ((state: ConnectionState, reason?: CairnError) => void) | undefined;
  /** The WebSocket to use. Default: the package ws in Node, else the runtime's own. */
  WebSocket?: SocketConstructor | undefined;
  /** Certificates, in Node. */
  tls?: ClientTls | undefined;
}

const NAMES = [
  "key",
  "token",
  "keyEncoding",
  "valueEncoding",
  "durability",
  "readOnly",
  "timeoutMs",
  "patienceMs",
  "pauseMs",
  "pauseMsMax",
  "allowPlain",
  "onState",
  "WebSocket",
  "tls",
];
const PROTOCOLS: Readonly<Record<string, string>> = { "ws:": "ws:", "http:": "ws:", "wss:": "wss:", "https:": "wss:" };
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * Connects to the store behind a server: the calls of a store, as promises, on the keys of the key's tenant.
 *
 * `url` is the server's, `wss://host` (or `https:`; `ws:` and `http:` on this machine), with the path that the server is mounted at. Calls of one turn travel
 * together, and any number may be under way. When the connection is lost another one is made: reads are asked again, watches go on without a
 * gap, a write that was sent and not answered rejects with `DEVICE_WRITE`, since it may have happened or not; snapshots, walks, transactions
 * and backups end with `SNAPSHOT_EXPIRED`.
 *
 * Rejects with `CairnError`: `FORBIDDEN` where the key or token does not count, `UNREACHABLE` when no connection came about in time,
 * `UNSUPPORTED` where the runtime has no WebSocket and where the server speaks otherwise, `INVALID_ARGUMENT`.
 */
export async function connect<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  url: string | URL,
  options: ClientOptions<K, V> = {},
): Promise<Connection<KeyOf<K>, ValueOf<V>>> {
  if (!isPlain(options)) throw invalid("options must be an object { key }.");
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !NAMES.includes(name)) throw invalid(`there is no option ${name}.`);
  }
  const { durability = "interval", readOnly = false } = options;
  if (durability !== "interval" && durability !== "sync") throw invalid('durability must be "interval" or "sync".');
  if (typeof readOnly !== "boolean") throw invalid("readOnly must be true or false.");
  const keys = formatOf(options.keyEncoding, "keyEncoding", "connect");
  const values = formatOf(options.valueEncoding, "valueEncoding", "connect");
  const line = new RemoteLine({
    url: addressOf(url, options.allowPlain === true),
    ...credentialOf(options),
    timeoutMs: time(options, "timeoutMs", 30_000),
    patienceMs: time(options, "patienceMs", 60_000),
    pauseMs: time(options, "pauseMs", 100),
    pauseMsMax: time(options, "pauseMsMax", 10_000),
    onState: options.onState,
    WebSocket: options.WebSocket,
    tls: options.tls,
  });
  await line.ready;
  const face = new ConnectionFace(line.conversation, { path: [], keys, values }, undefined, true);
  return new Connection<KeyOf<K>, ValueOf<V>>(line, { durability, readOnly }, face);
}

/** Where the server takes connections. */
function addressOf(given: string | URL, allowPlain: boolean): URL {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw invalid("the url must be one, as wss://host.");
  }
  const protocol = PROTOCOLS[url.protocol];
  if (protocol === undefined) throw invalid(`the url must begin with wss: or https:, not ${url.protocol}`);
  if (url.username !== "" || url.password !== "") throw invalid("the url holds a password: pass it as the option key.");
  if (protocol === "ws:" && !allowPlain && !LOOPBACK.test(url.hostname)) {
    const message = `to ${url.hostname} the key and all data would travel for everybody to read. Use wss:, or allowPlain: true.`;
    throw invalid(message);
  }
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/connect`;
  url.hash = "";
  return new URL(url.href.replace(url.protocol, protocol));
}

function credentialOf({ key, token }: ClientOptions<KeyEncoding, ValueEncoding>): {
  credential(): Credential | undefined | Promise<Credential | undefined>;
  isRenewed: boolean;
} {
  if (key !== undefined && token !== undefined) throw invalid("pass a key or a token, not both.");
  if (key !== undefined && (typeof key !== "string" || key === "")) throw invalid("key must be a string.");
  if (typeof token === "function") {
    const credential = async (): Promise<Credential> => {
      const text: unknown = await token();
      if (typeof text !== "string" || text === "") throw new Error("the option token gave no token");
      return { kind: "token", text };
    };
    return { credential, isRenewed: true };
  }
  if (token !== undefined && (typeof token !== "string" || token === "")) throw invalid("token must be a string.");
  const text = key ?? token;
  const credential: Credential | undefined =
    text === undefined ? undefined : { kind: key === undefined ? "token" : "key", text };
  return { credential: () => credential, isRenewed: false };
}

function time(options: object, name: string, missing: number): number {
  const given = (options as Record<string, unknown>)[name] ?? missing;
  if (typeof given === "number" && given >= 1 && given < 2 ** 31) return given;
  throw invalid(`${name} must be a number of milliseconds, from 1 on.`);
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "connect", `connect: ${message}`);
}
