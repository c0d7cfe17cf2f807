/** What REST needs of the server around it. */
import type { Origin } from "../access/index.ts";
import type { ActivitySecond } from "../activity.ts";
import type { ReportingStore, SlowOperation } from "../context.ts";
import type { Operations } from "../operations.ts";
import type { Principal, Verb } from "../principal.ts";
import type { SnapshotKeeper } from "./snapshots.ts";

/** What the requests of one server share: a part of what `createServer` makes. */
export interface RestContext {
  readonly store: ReportingStore;
  /** Where snapshots are kept. Default: here. */
  readonly snapshots?: SnapshotKeeper | undefined;
  readonly access: {
    authenticate(apiKey: string, from?: Origin): Principal | undefined;
    verifyToken(token: string, from?: Origin): Principal | undefined;
    /** Throws `ServerFailure`: 400 for a bad pattern, 403 where the key may not. */
    issueToken(
      principal: Principal,
      wants: { subscribeKeys?: string[]; subscribePatterns?: string[]; accessPattern?: string },
      from?: Origin,
    ): { token: string; expiresAt: number };
    /** Tells the audit log what was refused for want of a right. */
    denied(principal: Principal, verb: Verb, key?: string | Uint8Array, from?: Origin): void;
    readonly audit: { admin(operation: string, fields?: Record<string, unknown>): void };
  };
  /** What `Tenants` gives. */
  operationsOf(tenant: string): Operations;
  readonly limits: {
    /** Takes one request from the budgets: 0, or the seconds after which to try again. */
    request(principal: Pick<Principal, "id" | "tenant" | "limits">): number;
    /** Takes bytes that are in flight, until `release`; false, and nothing taken, where that is more than may be. */
    take(tenant: string, size: number): boolean;
    release(tenant: string, size: number): void;
    /** Takes one of the tenant's long-lived connections, until `disconnected`. */
    connected(tenant: string): boolean;
    disconnected(tenant: string): void;
    /** 0, or the seconds for which an address may not try to authenticate. */
    authenticationDelay(address: string): number;
    authenticationFailed(address: string): void;
  };
  readonly log: { error(message: string, fields?: Record<string, unknown>): void };
  readonly slow: { readonly thresholdMs: number; list(): SlowOperation[] | Promise<SlowOperation[]> };
  readonly activity: { list(count: number): ActivitySecond[] | Promise<ActivitySecond[]> };
  /** Aborts when the server begins to close: streams end then. */
  readonly closing: AbortSignal;
}

/** Decided values. */
export interface RestSettings {
  /** Bytes that a value of HPKV's endpoints must stay below. */
  readonly valueSizeLimit: number;
  /** Bytes of a raw body, and of a line of a bulk load, at most. */
  readonly bodyBytes: number;
  /** After so long without a reader a stream ends, in milliseconds. */
  readonly stallMs: number;
  /** Silence of `GET /watch` after which a comment is sent, in milliseconds. */
  readonly heartbeatMs: number;
  /** After so long without a read a snapshot is closed, in milliseconds. */
  readonly snapshotIdleMs: number;
  /** Snapshots that a tenant may have open. */
  readonly snapshotsMax: number;
}

export const REST_SETTINGS: RestSettings = {
  valueSizeLimit: 102_400,
  bodyBytes: 64 * 1024 * 1024,
  stallMs: 60_000,
  heartbeatMs: 15_000,
  snapshotIdleMs: 60_000,
  snapshotsMax: 16,
};
