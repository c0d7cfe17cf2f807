/** What the owner of a store and its workers say to each other beside calls, as JSON. */
import type { ActivitySecond, RawSecond } from "../activity.ts";
import type { AuditEntry, LogLine, Settings } from "../config.ts";
import type { SlowOperation } from "../context.ts";
import type { Family } from "../metrics/families.ts";
import type { Principal } from "../principal.ts";

/** How a worker is told where its owner is: the environment's variable of this name, `WorkerStart` as JSON. */
export const START_VARIABLE = "CAIRN_WORKER";

/** See above. */
export interface WorkerStart {
  /** The owner's socket. */
  path: string;
  /** Which worker it is, from 1 on. */
  worker: number;
  /** What shows that it is the process that was started. */
  token: string;
}

/** What limits have seen since the last time. */
export interface LimitNews {
  /** Requests that were let through. */
  spent: [tenant: string, id: string, cost: number, limits: Principal["limits"] | null][];
  /** What tenants have at present: of one process towards the owner, of all others towards a process. */
  held: [tenant: string, connections: number, bytes: number][];
  /** Addresses whose keys did not count. */
  failed: [address: string, count: number][];
  /** Connections at the port of HTTP at present. */
  web: number;
}

/** Settings as they travel: what is a function is kept by the owner, and called there. */
export type SentSettings = Omit<Settings, "log" | "audit"> & { audit: string | undefined };

/** What another process may be asked to tell: figures of its own, or those of all. */
export type Question = { what: "families" } | { what: "slow" } | { what: "activity"; count: number };
export interface Answers {
  families: Family[];
  slow: SlowOperation[];
  activity: ActivitySecond[];
}

/** From a worker. */
export type ToOwner =
  | { type: "hello"; worker: number; token: string }
  /** It can listen. */
  | { type: "ready" }
  | { type: "listening"; host: string; port: number; riocPort: number | undefined }
  /** Of its error what is said of it: a store's has an operation, a system's a call. */
  | {
      type: "failed";
      message: string;
      code?: string | undefined;
      operation?: string | undefined;
      syscall?: string | undefined;
    }
  | { type: "limits"; news: LimitNews }
  /** Of all processes. */
  | { type: "ask"; id: number; question: Question }
  | { type: "telling"; id: number; families?: Family[]; seconds?: RawSecond[] }
  | { type: "slow"; operation: SlowOperation }
  | { type: "log"; line: LogLine }
  | { type: "audit"; entry: AuditEntry };

/** From the owner. */
export type ToWorker =
  | {
      type: "settings";
      settings: SentSettings;
      /** Whether lines of the log, and entries of the audit log, are the owner's to take. */
      takesLog: boolean;
      takesAudit: boolean;
      reusePort: boolean;
      /** The name of its session at the owner. */
      session: string;
    }
  | { type: "listen"; port: number; riocPort: number | undefined }
  | { type: "close"; graceMs: number }
  | { type: "limits"; news: LimitNews }
  /** Of its own. */
  | { type: "tell"; id: number; question: Question }
  | { type: "answer"; id: number; value: Answers[keyof Answers] }
  /** What notifications show of a partial update. */
  | { type: "patched"; namespace: string; version: number; key: string; shown: string };
