/** Limits as the configuration and the keys file have them. */
import type { KeyLimits } from "../principal.ts";
import { countOf, record, refuseUnknown, wrong } from "./fields.ts";

/** What a server, or one tenant, may take. Counts, bytes, and requests in a second. */
export interface Limits {
  /** Requests that begin in a second, on average. An operation of a RIOC batch or of a WebSocket counts as one. */
  requestsPerSecond: number;
  /** Requests that may come at once after a pause. */
  burst: number;
  /** Connections that are open. */
  connections: number;
  /** Bytes of bodies and frames that have come in and are not answered. */
  bytesInFlight: number;
  /** Bytes of one request's body; bodies that are streamed are not held to it. */
  bodyBytes: number;
  /** Bytes of one frame of a WebSocket. */
  frameBytes: number;
  /** Bytes that wait for a slow reader before its connection ends. */
  sendQueueBytes: number;
}

const LIMIT_FIELDS = [
  "requestsPerSecond",
  "burst",
  "connections",
  "bytesInFlight",
  "bodyBytes",
  "frameBytes",
  "sendQueueBytes",
] as const satisfies readonly (keyof Limits)[];

/** What a key or certificate may take of what its tenant may. */
export type GrantLimits = Pick<Limits, "requestsPerSecond"> & Partial<Pick<Limits, "burst">>;

/** Checks limits of a key or certificate in the keys file. */
export function checkGrantLimits(given: unknown, field: string): void {
  if (given === undefined) return;
  const limits = record(given, field);
  refuseUnknown(limits, ["requestsPerSecond", "burst"], field);
  const allowed = "a whole number of at least 1";
  const rate = countOf(limits["requestsPerSecond"], `${field}.requestsPerSecond`, 1, Number.MAX_SAFE_INTEGER);
  if (rate === undefined) throw wrong(`${field}.requestsPerSecond`, undefined, allowed);
  countOf(limits["burst"], `${field}.burst`, 1, Number.MAX_SAFE_INTEGER);
}

/** The same, with what is missing decided: at once may come what may come in a second. */
export function keyLimitsOf(limits: GrantLimits | undefined): KeyLimits | undefined {
  if (limits === undefined) return undefined;
  const { requestsPerSecond, burst = requestsPerSecond } = limits;
  return { requestsPerSecond, burst };
}

/** The limits of a tenant: its own where it has some, else `base`. `undefined` fields are left to `base`. */
export function limitsOver(base: Limits, own: Partial<Limits> | undefined): Limits {
  if (own === undefined) return base;
  const limits = { ...base };
  for (const field of LIMIT_FIELDS) limits[field] = own[field] ?? base[field];
  return limits;
}

/** Checks limits that are given in part, in the configuration or in the keys file; `field` is where they stand. */
export function partialLimits(given: unknown, field: string, more: readonly string[] = []): Partial<Limits> {
  const limits = record(given, field);
  refuseUnknown(limits, [...LIMIT_FIELDS, ...more], field);
  const checked: Partial<Limits> = {};
  for (const name of LIMIT_FIELDS) {
    const value = countOf(limits[name], `${field}.${name}`, 1, Number.MAX_SAFE_INTEGER);
    if (value !== undefined) checked[name] = value;
  }
  return checked;
}
