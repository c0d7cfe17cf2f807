/**
 * Every operation that the server's protocols have, by a number: what metrics, the list of slow operations and traces call it. The table
 * is fixed when the program begins, so that nothing that a client sends adds to it.
 */

import { CALLS } from "../../../store/connection/frames.ts";
import { USE } from "../../../store/connection/wire.ts";
import { isBelowRecord } from "../rest/address.ts";
import { ROUTES } from "../rest/routes.ts";

export const PROTOCOLS = ["rest", "websocket", "rioc", "remote"] as const;
/** `websocket`: HPKV's protocol; `remote`: that of `cairn-kv/client`. */
export type Protocol = (typeof PROTOCOLS)[number];

export interface Operation {
  readonly protocol: Protocol;
  /** `GET /record/{key}`, `set`, `range`, …: never a key. */
  readonly name: string;
  /** Of REST: the address, with names in braces for what differs. */
  readonly route: string | undefined;
}

const OTHER = "other";
/** What the server answers beside the routes of REST. */
const SERVER_PATHS = ["/metrics", "/healthz", "/readyz", "/openapi.json", "/console"] as const;
const WEBSOCKET_NAMES = ["get", "set", "patch", "delete", "range", "atomic"];
const RIOC_NAMES = ["get", "insert", "delete", "partial_update", "range", "atomic"];

const rest: readonly [method: string, path: string][] = [
  ...ROUTES.map(({ method, path }): [string, string] => [method, path]),
  ...SERVER_PATHS.map((path): [string, string] => ["GET", path]),
];

/** All of them; an operation's number is its place. */
export const OPERATIONS: readonly Operation[] = [
  ...rest.map(([method, path]): Operation => ({ protocol: "rest", name: `${method} ${path}`, route: path })),
  { protocol: "rest", name: "preflight", route: undefined },
  { protocol: "rest", name: "upgrade", route: undefined },
  ...named("rest", []),
  ...named("websocket", WEBSOCKET_NAMES),
  ...named("rioc", RIOC_NAMES),
  ...named(
    "remote",
    CALLS.filter((call) => call !== USE),
  ),
];

/** What the list of slow operations and the log call them. */
export const LABELS: readonly string[] = OPERATIONS.map(({ protocol, name }) =>
  protocol === "rest" ? name : `${protocol} ${name}`,
);

const numbers = new Map(OPERATIONS.map(({ protocol, name }, number) => [`${protocol} ${name}`, number]));
export const REST_OTHER = numberOf("rest", OTHER);
export const PREFLIGHT = numberOf("rest", "preflight");
/** A call that waits until something is written: as long as that takes, and so never slow. */
export const CHANGES = numberOf("remote", "changes");
export const UPGRADE = numberOf("rest", "upgrade");

/** The number of an operation; that of `other` where the protocol has none of this name. For the beginning of a program, not for each request. */
export function numberOf(protocol: Protocol, name: string): number {
  return numbers.get(`${protocol} ${name}`) ?? (numbers.get(`${protocol} ${OTHER}`) as number);
}

const METHODS = ["GET", "POST", "PUT", "DELETE"] as const;
/** By path: the numbers of its methods, in the order of `METHODS`. */
const whole = new Map<string, Int16Array>();
/** Paths that end with a name in braces. */
const open: [prefix: string, numbers: Int16Array][] = [];
for (const [method, path] of rest) {
  const brace = path.indexOf("{");
  const prefix = brace < 0 ? path : path.slice(0, brace);
  let of = brace < 0 ? whole.get(path) : open.find(([known]) => known === prefix)?.[1];
  if (of === undefined) {
    of = new Int16Array(METHODS.length).fill(REST_OTHER);
    if (brace < 0) whole.set(path, of);
    else open.push([prefix, of]);
  }
  of[METHODS.indexOf(method as (typeof METHODS)[number])] = numberOf("rest", `${method} ${path}`);
}

/** The number of a request over HTTP. `HEAD` counts as `GET`. */
export function restOperation(method: string, path: string): number {
  const at = methodAt(method);
  if (at < 0) return REST_OTHER;
  // The one that is asked most, without a look-up.
  if (isBelowRecord(path) && (path.length !== ATOMIC.length || path !== ATOMIC)) return recordNumbers[at] as number;
  const known = whole.get(path)?.[at];
  if (known !== undefined && known !== REST_OTHER) return known;
  for (const [prefix, of] of open) if (path.startsWith(prefix)) return of[at] as number;
  return path.startsWith("/console/") && at === 0 ? CONSOLE : REST_OTHER;
}

const CONSOLE = numberOf("rest", "GET /console");
const ATOMIC = "/record/atomic";
const recordNumbers = METHODS.map((method) => numberOf("rest", `${method} /record/{key}`));

function methodAt(method: string): number {
  switch (method) {
    case "GET":
    case "HEAD":
      return 0;
    case "POST":
      return 1;
    case "PUT":
      return 2;
    default:
      return method === "DELETE" ? 3 : -1;
  }
}

function named(protocol: Protocol, names: readonly string[]): Operation[] {
  return [...names, OTHER].map((name) => ({ protocol, name, route: undefined }));
}
