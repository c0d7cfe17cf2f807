/**
 * The configuration of the server: what a program passes to `createServer`, and what the file of `cairn serve --config` holds.
 *
 * 1. Every field has a default. `resolveConfig` gives `Settings`, in which nothing is missing any more.
 * 2. What is wrong is refused before anything starts, with the field, the value and what is allowed; a field that nobody knows
 *    is refused, too: a limit with a typing error would be no limit.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { CairnError } from "../../store/error.ts";
import {
  choiceOf,
  countOf,
  flagOf,
  functionOf,
  listOf,
  portOf,
  record,
  refuseUnknown,
  textOf,
  wrong,
} from "./access/fields.ts";
import { type KeysFile, parseKeys, withTokenSecret } from "./access/keys-format.ts";
import { type Limits, limitsOver, partialLimits } from "./access/limit-fields.ts";

export type { KeysFile } from "./access/keys-format.ts";
export { type Limits, limitsOver } from "./access/limit-fields.ts";

/** The limits of the server in all, and of each tenant. */
export interface ServerLimits extends Limits {
  /** What each tenant may take, unless the keys file gives it limits of its own. */
  tenant: Limits;
}

/** Limits, as far as they are to differ from the defaults. */
export interface PartialLimits extends Partial<Limits> {
  /** Of each tenant, unless the keys file gives it limits of its own. */
  tenant?: Partial<Limits> | undefined;
}

/** When the server gives up, in milliseconds. */
export interface Timeouts {
  /** From the connection, or the end of the request before, until the headers are there. Default 10,000. */
  headerMs: number;
  /** Without a byte of a body that is still coming. Default 30,000. */
  bodyMs: number;
  /** Of a connection that is kept open between requests. Default 75,000. */
  idleMs: number;
  /** Of a request in all, until its answer begins. Streams are not held to it. Default 60,000. */
  requestMs: number;
}

/** Certificates: PEM text, or paths of PEM files. */
export interface TlsConfig {
  /** The server's certificate, with what lies between it and its authority. */
  cert: string;
  /** Its private key. */
  key: string;
  /** Whose client certificates are trusted. */
  ca?: string | undefined;
  /** Whether a client must show a certificate. Default: true when `ca` is given. */
  requestClient?: boolean | undefined;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
/** From which level on lines are logged. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What the server tells about itself. Never keys of the API, values, or tokens. */
export interface LogLine {
  /** ISO 8601. */
  time: string;
  /** How much it matters. */
  level: Exclude<LogLevel, "silent">;
  /** What happened. */
  message: string;
  [field: string]: unknown;
}

/** One entry of the audit log. */
export interface AuditEntry {
  /** ISO 8601. */
  time: string;
  /** `auth.failed`, `access.denied`, `token.issued`, `key.added`, … */
  event: string;
  [field: string]: unknown;
}

/** What `createServer` takes, and what a configuration file holds: functions apart, it is JSON. */
export interface ServerConfig {
  /** The keys file's path, or its contents. Default: no key counts. */
  keys?: string | KeysFile | undefined;
  /** The address to listen on. Default "127.0.0.1". */
  host?: string | undefined;
  /** The port of HTTP and WebSocket. Default 0: any that is free. */
  port?: number | undefined;
  /** The port of RIOC. Default: none. */
  riocPort?: number | undefined;
  /** The tenant of RIOC connections that show no certificate. Default: none. */
  riocTenant?: string | undefined;
  /** Whether a RIOC write with an older timestamp than the record's is refused. Default "ignore". */
  riocTimestamps?: "ignore" | "strict" | undefined;
  /** Whether `timestamp` in a request over WebSocket orders writes: one older than the record's is refused with 409. Default "ignore". */
  socketTimestamps?: "ignore" | "strict" | undefined;
  /** Certificates. Default: none, and so no TLS. */
  tls?: TlsConfig | undefined;
  /** Whether to serve without TLS on addresses other than this machine's own. Default false. */
  allowPlain?: boolean | undefined;
  /** Origins of pages that may use the server, as `https://app.example`; `*`: all. Default: those of the server itself. */
  origins?: readonly string[] | undefined;
  /** What may go on at once, in all and for each tenant (`tenant`). What is missing has its default. */
  limits?: PartialLimits | undefined;
  /** When the server gives up waiting. What is missing has its default. */
  timeouts?: Partial<Timeouts> | undefined;
  /** Default "info". */
  logLevel?: LogLevel | undefined;
  /** Takes lines of the log. Default: JSON on standard error. */
  log?: ((line: LogLine) => void) | undefined;
  /** The audit log's path, or what takes its entries. Default: none is kept. */
  audit?: string | ((entry: AuditEntry) => void) | undefined;
  /** Whether `/console` is served. Default true. */
  console?: boolean | undefined;
  /** `key`: whether `/metrics` asks for an API key. Default: when `host` is not this machine's own. */
  metrics?:
    | {
        /** Whether it asks for an API key. */
        key?: boolean | undefined;
        /** How many tenants metrics tell apart, those with most requests; the rest is one. Default 0: none is named. */
        tenants?: number | undefined;
      }
    | undefined;
  /**
   * How many processes serve the network, on one port, for the one that has the store: 0 to 64. Default 0: the process that has the store
   * serves it itself.
   */
  workers?: number | undefined;
  /** Refuses every write. Default false. */
  readOnly?: boolean | undefined;
  /** How long a token counts. Default 7,200,000 (2 h). */
  tokenLifetimeMs?: number | undefined;
  /** Whether HPKV's endpoints take values of exactly 102,400 bytes. Default false. */
  legacyValueLimit?: boolean | undefined;
}

/** The configuration with nothing missing. `undefined` stands for what is left out on purpose. */
export interface Settings {
  readonly keys: string | KeysFile | undefined;
  readonly host: string;
  readonly port: number;
  readonly riocPort: number | undefined;
  readonly riocTenant: string | undefined;
  readonly riocTimestamps: "ignore" | "strict";
  readonly socketTimestamps: "ignore" | "strict";
  readonly tls: (TlsConfig & { requestClient: boolean }) | undefined;
  readonly allowPlain: boolean;
  readonly origins: readonly string[];
  readonly limits: ServerLimits;
  readonly timeouts: Timeouts;
  readonly logLevel: LogLevel;
  readonly log: ((line: LogLine) => void) | undefined;
  readonly audit: string | ((entry: AuditEntry) => void) | undefined;
  readonly console: boolean;
  readonly metrics: { readonly key: boolean; readonly tenants: number };
  readonly workers: number;
  readonly readOnly: boolean;
  readonly tokenLifetimeMs: number;
  readonly legacyValueLimit: boolean;
}

const MIB = 1_048_576;

/** The limits of the server in all. */
export const DEFAULT_LIMITS: Readonly<Limits> = {
  requestsPerSecond: 2_000_000,
  burst: 2_000_000,
  connections: 20_000,
  bytesInFlight: 256 * MIB,
  bodyBytes: 96 * MIB,
  frameBytes: 16 * MIB,
  sendQueueBytes: 16 * MIB,
};

/** The limits of each tenant. */
export const DEFAULT_TENANT_LIMITS: Readonly<Limits> = {
  ...DEFAULT_LIMITS,
  requestsPerSecond: 1_000_000,
  burst: 1_000_000,
  connections: 15_000,
  bytesInFlight: 128 * MIB,
};

export const DEFAULT_TIMEOUTS: Readonly<Timeouts> = {
  headerMs: 10_000,
  bodyMs: 30_000,
  idleMs: 75_000,
  requestMs: 60_000,
};

const TOKEN_LIFETIME_MS = 7_200_000;
/** More than this many cores one owner of a store does not keep busy. */
export const WORKERS_MAX = 64;
const FIELDS = [
  "keys",
  "host",
  "port",
  "riocPort",
  "riocTenant",
  "riocTimestamps",
  "socketTimestamps",
  "tls",
  "allowPlain",
  "origins",
  "limits",
  "timeouts",
  "logLevel",
  "log",
  "audit",
  "console",
  "metrics",
  "workers",
  "readOnly",
  "tokenLifetimeMs",
  "legacyValueLimit",
] as const satisfies readonly (keyof ServerConfig)[];
const TIMEOUT_FIELDS = Object.keys(DEFAULT_TIMEOUTS) as (keyof Timeouts)[];

/** The configuration with its defaults. `INVALID_ARGUMENT` for what is wrong with it. */
export function resolveConfig(config: ServerConfig = {}): Settings {
  const given = record(config, "the configuration");
  refuseUnknown(given, FIELDS, "");
  const host = textOf(given["host"], "host") ?? "127.0.0.1";
  const metrics = record(given["metrics"] ?? {}, "metrics");
  refuseUnknown(metrics, ["key", "tenants"], "metrics");
  const riocTenant = textOf(given["riocTenant"], "riocTenant");
  const settings: Settings = {
    keys: keysOf(given["keys"]),
    host,
    port: portOf(given["port"], "port") ?? 0,
    riocPort: portOf(given["riocPort"], "riocPort"),
    riocTenant,
    riocTimestamps: choiceOf(given["riocTimestamps"], ["ignore", "strict"], "riocTimestamps") ?? "ignore",
    socketTimestamps: choiceOf(given["socketTimestamps"], ["ignore", "strict"], "socketTimestamps") ?? "ignore",
    tls: tlsOf(given["tls"]),
    allowPlain: flagOf(given["allowPlain"], "allowPlain") ?? false,
    origins: originsOf(given["origins"]),
    limits: limitsOf(given["limits"]),
    timeouts: timeoutsOf(given["timeouts"]),
    logLevel: choiceOf(given["logLevel"], LOG_LEVELS, "logLevel") ?? "info",
    log: functionOf(given["log"], "log") as Settings["log"],
    audit: (typeof given["audit"] === "function"
      ? given["audit"]
      : textOf(given["audit"], "audit", "a path or a function")) as Settings["audit"],
    console: flagOf(given["console"], "console") ?? true,
    metrics: {
      key: flagOf(metrics["key"], "metrics.key") ?? !isLoopback(host),
      tenants: countOf(metrics["tenants"], "metrics.tenants", 0, 1000) ?? 0,
    },
    workers: countOf(given["workers"], "workers", 0, WORKERS_MAX) ?? 0,
    readOnly: flagOf(given["readOnly"], "readOnly") ?? false,
    tokenLifetimeMs: countOf(given["tokenLifetimeMs"], "tokenLifetimeMs", 1_000, 31_536_000_000) ?? TOKEN_LIFETIME_MS,
    legacyValueLimit: flagOf(given["legacyValueLimit"], "legacyValueLimit") ?? false,
  };
  return settings;
}

/**
 * Reads a configuration file: JSON with the fields of `ServerConfig` that are no functions. Paths in it are taken from the
 * file's folder. `INVALID_ARGUMENT` for what is wrong, the file named.
 */
export async function readConfigFile(path: string): Promise<ServerConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw failed(`the configuration file ${path} cannot be read: ${(error as Error).message}`, error);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw failed(`the configuration file ${path} is not JSON: ${(error as Error).message}`, error);
  }
  try {
    const config = record(parsed, "the configuration") as ServerConfig;
    resolveConfig(config);
    return fromFolder(config, dirname(path));
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    throw failed(`in the configuration file ${path}: ${error.message}`, error);
  }
}

/** Whether an address is this machine's own, so that nobody else hears what is said in plain. */
export function isLoopback(host: string): boolean {
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  return bare === "localhost" || bare === "::1" || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(bare);
}

function limitsOf(given: unknown): ServerLimits {
  if (given === undefined) return { ...DEFAULT_LIMITS, tenant: { ...DEFAULT_TENANT_LIMITS } };
  const own = partialLimits(given, "limits", ["tenant"]);
  const tenant = (given as { tenant?: unknown }).tenant;
  const ofTenant = tenant === undefined ? undefined : partialLimits(tenant, "limits.tenant");
  return { ...limitsOver(DEFAULT_LIMITS, own), tenant: { ...limitsOver(DEFAULT_TENANT_LIMITS, ofTenant) } };
}

function timeoutsOf(given: unknown): Timeouts {
  const timeouts = record(given ?? {}, "timeouts");
  refuseUnknown(timeouts, TIMEOUT_FIELDS, "timeouts");
  const checked: Timeouts = { ...DEFAULT_TIMEOUTS };
  for (const name of TIMEOUT_FIELDS) {
    checked[name] = countOf(timeouts[name], `timeouts.${name}`, 1, 2_147_483_647) ?? DEFAULT_TIMEOUTS[name];
  }
  return checked;
}

function tlsOf(given: unknown): Settings["tls"] {
  if (given === undefined) return undefined;
  const tls = record(given, "tls");
  refuseUnknown(tls, ["cert", "key", "ca", "requestClient"], "tls");
  const expected = "PEM text, or a path of it";
  const cert = textOf(tls["cert"], "tls.cert", expected);
  const key = textOf(tls["key"], "tls.key", expected);
  if (cert === undefined) throw wrong("tls.cert", undefined, expected);
  if (key === undefined) throw wrong("tls.key", undefined, expected);
  const ca = textOf(tls["ca"], "tls.ca", expected);
  const requestClient = flagOf(tls["requestClient"], "tls.requestClient") ?? ca !== undefined;
  if (requestClient && ca === undefined) {
    throw wrong("tls.ca", undefined, "PEM text, or a path of it, since tls.requestClient asks for certificates");
  }
  return { cert, key, ca, requestClient };
}

function originsOf(given: unknown): readonly string[] {
  const origins = listOf(given, "origins", "a list of origins, as https://app.example, or *") ?? [];
  for (const [at, origin] of origins.entries()) {
    if (origin === "*") continue;
    // What a browser sends is compared as text: a path, a slash or capitals would never be equal to it.
    if (typeof origin !== "string" || !URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw wrong(
        `origins[${at}]`,
        origin,
        "scheme, host and port, without a slash at the end, as https://app.example, or *",
      );
    }
  }
  return origins as string[];
}

function keysOf(given: unknown): Settings["keys"] {
  if (given === undefined) return undefined;
  if (typeof given === "string") return textOf(given, "keys");
  if (typeof given !== "object" || given === null) throw wrong("keys", given, "a keys file's path, or its contents");
  return withTokenSecret(parseKeys(given, "keys"));
}

function fromFolder(config: ServerConfig, folder: string): ServerConfig {
  const moved = { ...config };
  if (typeof moved.keys === "string") moved.keys = resolve(folder, moved.keys);
  if (typeof moved.audit === "string") moved.audit = resolve(folder, moved.audit);
  if (moved.tls !== undefined) {
    const place = (text: string): string => (text.includes("-----BEGIN") ? text : resolve(folder, text));
    const { cert, key, ca } = moved.tls;
    moved.tls = { ...moved.tls, cert: place(cert), key: place(key), ...(ca === undefined ? {} : { ca: place(ca) }) };
  }
  return moved;
}

function failed(message: string, cause: unknown): CairnError {
  return new CairnError("INVALID_ARGUMENT", "config", message, { cause });
}
