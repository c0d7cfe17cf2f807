/**
 * Whoever holds the store, as one server sees it: this process, or the owner whose worker this process is (see `workers/`). What a server
 * asks of it is the same either way.
 */
import { listenToStore } from "../../store/events.ts";
import type { StoreEvent } from "../../store/options.ts";
import type { Access } from "./access/index.ts";
import type { Activity } from "./activity.ts";
import type { ServerLimits, Settings } from "./config.ts";
import type { LimitKeeper, Log, ReportingStore, ServedStore, ServerContext } from "./context.ts";
import { type Feed, feedOf } from "./feed/index.ts";
import type { Limiter } from "./limits/limiter.ts";
import type { Family } from "./metrics/families.ts";
import type { Traffic } from "./metrics/index.ts";
import type { StoreOperations } from "./operations/store-operations.ts";
import { remoteHandler } from "./remote/index.ts";
import type { RestContext } from "./rest/index.ts";
import type { SnapshotKeeper } from "./rest/snapshots.ts";
import type { SlowRing } from "./slow.ts";
import { Tenants } from "./tenants.ts";
import type { UpgradeHandler } from "./wire.ts";

/** What a server has when it opens. */
export interface HolderParts {
  readonly settings: Settings;
  readonly access: Access;
  readonly limiter: Limiter;
  namespaceOf(tenant: string): string;
  readonly log: Log;
  readonly slow: SlowRing;
  readonly activity: Activity;
  readonly closing: AbortSignal;
}

/** What a server tells of itself. */
export interface Told {
  families(): Promise<Family[]>;
  readonly slow: RestContext["slow"];
  readonly activity: RestContext["activity"];
}

/** What listens. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  readonly riocPort: number | undefined;
  /** Connections at the port of HTTP. */
  readonly connections: number;
  /** Those of them that speak HTTP. */
  readonly http: { open: number; opened: number };
  readonly traffic: { web: Traffic; rioc: Traffic };
  close(graceMs: number): Promise<void>;
}

/** The store, for the parts of one server. */
export interface Held {
  operationsOf(tenant: string): StoreOperations;
  readonly feed: Feed;
  readonly limits: LimitKeeper;
  /** Where REST keeps its snapshots. `undefined`: with itself. */
  readonly snapshots: SnapshotKeeper | undefined;
  /** What takes clients of `cairn-kv/client`. */
  remote(context: ServerContext): UpgradeHandler;
  /** Of what this process tells, what the server tells. `storeEvent` is to be given the events of a store in this process. */
  told(own: Told & { storeEvent(event: StoreEvent): void }): Told;
  /** Listens, where that is not for this process to do. */
  listen?(): Promise<Listening>;
  end(): void;
}

/** See above. */
export interface Holder {
  readonly store: ReportingStore;
  /** Whether another process holds it, and tells its figures. */
  readonly isElsewhere: boolean;
  /** Which of its workers this process is. */
  readonly worker?: number | undefined;
  hold(parts: HolderParts): Held;
  /** Where this process is to listen, where that is not what the configuration says. */
  ports?(): { port: number; riocPort: number | undefined; reusePort: boolean };
  /** The limits of this process's connections, where it is one of several. */
  connectionLimits?(limits: ServerLimits): ServerLimits;
}

/** A store of this process, which serves it alone. */
export function localHolder(store: ServedStore): Holder {
  return { store, isElsewhere: false, hold: (parts) => heldHere(store, parts) };
}

/** A store of this process. */
export function heldHere(
  store: ServedStore,
  { namespaceOf, limiter }: Pick<HolderParts, "namespaceOf" | "limiter">,
): Held & { tenants: Tenants } {
  const tenants = new Tenants(store, namespaceOf);
  let unlisten = (): void => {};
  return {
    tenants,
    operationsOf: (tenant) => tenants.operationsOf(tenant),
    feed: feedOf(store, namespaceOf, tenants),
    limits: limiter,
    snapshots: undefined,
    remote: (context) => remoteHandler({ ...context, store }),
    told({ storeEvent, ...own }) {
      unlisten = listenToStore(store, storeEvent);
      return own;
    },
    end: () => unlisten(),
  };
}
