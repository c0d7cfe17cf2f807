/** What the WebSocket protocol needs of the server around it. */
import type { Meter } from "../context.ts";
import type { Feed } from "../feed/feed.ts";
import type { Operations } from "../operations.ts";
import type { Principal, Verb } from "../principal.ts";

/** Decided values; see the configuration. */
export interface SocketSettings {
  /** Bytes that wait for one connection's reader at most; a connection whose notifications pass it is ended. */
  readonly sendQueueBytes: number;
  /** Values must be shorter than this many bytes. */
  readonly valueSizeLimit: number;
  /** Whether the `timestamp` of a request orders writes; else it is not looked at. */
  readonly ordersByTimestamps: boolean;
}

/** Where a request came from, for the audit log. */
export interface Origin {
  address: string;
  protocol: "websocket";
}

/** What the sessions of one server share. */
export interface SocketContext {
  readonly access: {
    authenticate(apiKey: string, from?: Origin): Principal | undefined;
    verifyToken(token: string, from?: Origin): Principal | undefined;
    /** For the audit log. */
    denied(principal: Principal, verb: Verb, key?: string | Uint8Array, from?: Origin): void;
  };
  operationsOf(tenant: string): Operations;
  readonly limits: {
    /** Takes one request from the budgets of key, tenant and server: 0, or the seconds after which to try again. */
    request(principal: Pick<Principal, "id" | "tenant" | "limits">): number;
    /** Takes bytes that are in flight, until `release`; false, and nothing taken, where that is more than may be. */
    take(tenant: string, size: number): boolean;
    release(tenant: string, size: number): void;
  };
  readonly log: { warn(message: string, fields?: Record<string, unknown>): void };
  readonly meter: Pick<Meter, "took" | "connected" | "disconnected">;
  readonly feed: Feed;
  readonly settings: SocketSettings;
}
