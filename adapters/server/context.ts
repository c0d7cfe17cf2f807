/**
 * What the parts of a server share: made once by `createServer`, given to each part's function, which gives back what it serves.
 *
 *   restHandler(context)    (request, info, principal?) => Response     every path that no other part takes
 *   socketHandler(context)  UpgradeHandler                              `/ws`, and `//ws`
 *   remoteHandler(context)  UpgradeHandler                              the subprotocol "cairn.v1"
 *
 *   listenRioc(context, tls)  { port, close }                           RIOC on a port of its own
 *   metrics(context), consoleHandler(context)                           `/metrics`; `/console` and what lies below
 *
 * 1. Who asks by a header is known before a handler of requests is called, and was admitted by the limits; a key that does not count was
 *    answered. Without a key `principal` is `undefined`: what needs one answers 401.
 * 2. Who asks by an upgrade is the upgrade handler's to find out. It answers 401 or 403, which counts against the address. Each message of a
 *    socket is the session's to admit: `limits.request`.
 * 3. Answers made by `reply` go out without a `Response` being built.
 */
import type { BackupOptions, BackupStream } from "../../store/backup/stream.ts";
import type { SegmentUse } from "../../store/segments.ts";
import type { StoreStats } from "../../store/stats.ts";
import type { Store } from "../../store/store.ts";
import type { Access } from "./access/index.ts";
import type { Activity } from "./activity.ts";
import type { Settings } from "./config.ts";
import type { Operations } from "./operations.ts";
import type { Principal } from "./principal.ts";

/** The store, whatever its encodings are. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the program has opened.
export type ServedStore = Store<any, any>;

/** What the parts need of the store as a whole, wherever it is. */
export interface ReportingStore {
  stats(): StoreStats | Promise<StoreStats>;
  segments(first?: number, count?: number): SegmentUse[] | Promise<SegmentUse[]>;
  backup(options?: BackupOptions): BackupStream;
}

/** What every part needs of `Access`. */
export type AccessPoint = Pick<Access, "authenticate" | "verifyToken" | "issueToken" | "certificate" | "close">;

/** Structured logs. What a level lets through goes out as one object; secrets never come here. */
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** An operation that took longer than the threshold. */
export interface SlowOperation {
  /** Milliseconds since the epoch at which it began. */
  at: number;
  /** `GET /record/{key}`, `websocket range`, …: the operation, never the key. */
  operation: string;
  /** How long it took, in milliseconds. */
  ms: number;
  /** Whose it was; "" where that is not known. */
  tenant: string;
  /** The id of its request: the one that the answer has in `x-request-id`. */
  requestId?: string;
}

/** The newest slow operations, a bounded number of them. */
export interface SlowOperations {
  /** From how many milliseconds on an operation counts as slow. */
  readonly thresholdMs: number;
  /** Notes an operation, with the server's activity; and, when it was slow, as such. */
  note(operation: string, ms: number, tenant: string, requestId?: string): void;
  /** Newest first. */
  list(): SlowOperation[];
}

/** What protocols tell of each operation: for metrics, for the list of slow operations, for traces. Costs some nanoseconds. */
export interface Meter {
  /**
   * An operation was answered: its number in `metrics/operations.ts`, a status of HTTP, and how many milliseconds it took. Tells `slow`,
   * too.
   */
  took(operation: number, status: number, ms: number, tenant: string): void;
  /** The same, and nobody else is told. */
  record(operation: number, status: number, ms: number): void;
  /** A long-lived connection began, and ended. */
  connected(protocol: "websocket" | "rioc" | "remote"): void;
  disconnected(protocol: "websocket" | "rioc" | "remote"): void;
}

/** What may go on. Each call costs well under a microsecond. */
export interface LimitKeeper {
  /**
   * Takes one request from the budgets of the key, its tenant and the server: 0, or the seconds after which to try again. `now`: the
   * time of `performance`, where the caller has just read it.
   */
  request(principal: Pick<Principal, "id" | "tenant" | "limits">, cost?: number, now?: number): number;
  /**
   * Takes `size` bytes of what is in flight for the tenant and in all, until `release(tenant, size)`; false, and nothing taken, where
   * that is more than may be.
   */
  take(tenant: string, size: number): boolean;
  release(tenant: string, size: number): void;
  /** Takes one of the tenant's long-lived connections (WebSocket, RIOC, events), until `disconnected`. */
  connected(tenant: string): boolean;
  disconnected(tenant: string): void;
  /** 0, or the seconds for which an address that failed too often may not try to authenticate. */
  authenticationDelay(address: string): number;
  authenticationFailed(address: string): void;
}

/** What the parts of one server share. */
export interface ServerContext<Config = Settings> {
  readonly store: ReportingStore;
  /** The configuration, checked, with everything decided. */
  readonly config: Config;
  readonly access: Access;
  /** The operations over a tenant's records; the same object each time. */
  operationsOf(tenant: string): Operations;
  readonly log: Log;
  readonly limits: LimitKeeper;
  readonly slow: SlowOperations;
  /** What was done lately. Protocols tell `slow` of each operation, which passes it on. */
  readonly activity: Activity;
  readonly meter: Meter;
  /** Which of several workers this process is, from 1 on; `undefined`: none. */
  readonly worker: number | undefined;
  /** Aborts when the server begins to close: streams and sockets end then. */
  readonly closing: AbortSignal;
}
