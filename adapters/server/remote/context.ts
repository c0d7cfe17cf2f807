/** What the connections of clients need of their server. `ServerContext` has it. */
import type { Store } from "../../../store/store.ts";
import type { Origin } from "../access/index.ts";
import type { Meter } from "../context.ts";
import type { Principal, Verb } from "../principal.ts";

/** See above. */
export interface RemoteContext {
  /** The store, whatever its encodings are. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the program has opened.
  readonly store: Store<any, any>;
  readonly config: {
    readonly readOnly?: boolean | undefined;
    readonly limits?: { readonly frameBytes?: number | undefined; readonly sendQueueBytes?: number | undefined };
  };
  readonly access: {
    authenticate(apiKey: string, from?: Origin): Principal | undefined;
    verifyToken(token: string, from?: Origin): Principal | undefined;
    /** Tells the audit log what was refused for want of a right. */
    denied(principal: Principal, verb: Verb, key?: string | Uint8Array, from?: Origin): void;
    readonly audit: { admin(operation: string, fields?: Record<string, unknown>): void };
    tenant(name: string): { readonly namespace: string };
  };
  readonly limits: {
    request(principal: Pick<Principal, "id" | "tenant" | "limits">, cost?: number): number;
    authenticationDelay(address: string): number;
    authenticationFailed(address: string): void;
  };
  /** Told of each call. */
  readonly meter?: Pick<Meter, "took"> | undefined;
  readonly closing: AbortSignal;
}

/** What one connection may have at once. */
export interface RemoteLimits {
  /** Bytes of a frame from a client. */
  frameSizeMax: number;
  /** Bytes and calls that a client may leave unanswered; what it sends beyond four times as much ends its connection. */
  windowSize: number;
  windowCalls: number;
  /** Bytes that wait to be sent, from which on no further call is done. */
  sendSizeHigh: number;
  /** Bytes of one answer. */
  answerSizeMax: number;
  /** Calls that wait for the store. */
  pendingMax: number;
  /** Keys of a `getMany`, operations of a batch. */
  keysMax: number;
  walks: number;
  snapshots: number;
  transactions: number;
  watches: number;
  backups: number;
  /** Bytes of changes that wait for a watcher. */
  watchBytesMax: number;
  /** Milliseconds after which a client that says nothing is gone. */
  idleMs: number;
  /** Milliseconds that a transaction, a snapshot and a walk may be left unused. */
  unusedMs: number;
}

const MIB = 1024 * 1024;

/** The defaults, within what the server's configuration allows. What can be written can be read: frames and answers have one limit. */
export function limitsFor({ config }: RemoteContext, given: Partial<RemoteLimits>): RemoteLimits {
  const { frameBytes = 72 * MIB, sendQueueBytes = 72 * MIB } = config.limits ?? {};
  const sendSizeHigh = Math.min(MIB, Math.ceil(sendQueueBytes / 8));
  // Before an answer no more waits than `sendSizeHigh`, and the frame that it is in.
  const answerSizeMax = Math.max(1024, sendQueueBytes - 2 * sendSizeHigh);
  const frameSizeMax = Math.min(frameBytes, answerSizeMax);
  return {
    frameSizeMax,
    windowSize: Math.min(4 * MIB, frameSizeMax),
    windowCalls: 8192,
    sendSizeHigh,
    answerSizeMax,
    pendingMax: 8192,
    keysMax: 65_536,
    walks: 64,
    snapshots: 64,
    transactions: 32,
    watches: 256,
    backups: 1,
    watchBytesMax: 4 * MIB,
    idleMs: 180_000,
    unusedMs: 600_000,
    ...given,
  };
}
