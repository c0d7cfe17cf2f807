/** The table of routes, and which one a request asks for. */
import { isBelowRecord, RECORD } from "./address.ts";
import { JSON_TYPE } from "./answers.ts";
import { OPERATOR_ROUTES } from "./operator-routes.ts";
import { RANGE_ROUTES } from "./range-routes.ts";
import { RECORD_ROUTES } from "./record-routes.ts";
import { BYTES, INTEGER, inQuery, type Method, objectOfMembers, type Route, TEXT } from "./route.ts";
import { getBackup, getPing, getStats, notImplemented, postToken } from "./whole.ts";

const TEXTS = { type: "array", items: TEXT };
const BAD = { description: "The request is malformed, or beyond a limit." };
const FORBIDDEN = { description: "The key may not do this." };
const NONE = { description: "This server has no semantic search." };

const WHOLE_ROUTES: readonly Route[] = [
  {
    method: "POST",
    path: "/token/websocket",
    id: "postToken",
    summary: "A token for WebSocket connections",
    description:
      "subscribeKeys and subscribePatterns, in which `*` stands for anything, say which changes it is told about; accessPattern, a regular expression, which keys it may use.",
    body: {
      [JSON_TYPE]: objectOfMembers({ "subscribeKeys?": TEXTS, "subscribePatterns?": TEXTS, "accessPattern?": TEXT }),
    },
    answers: {
      200: {
        description: "The token.",
        content: { [JSON_TYPE]: objectOfMembers({ token: TEXT, expiresAt: INTEGER }) },
      },
      400: BAD,
      403: FORBIDDEN,
      413: { description: "The body is too large." },
    },
    handle: postToken,
  },
  {
    method: "GET",
    path: "/stats",
    id: "getStats",
    summary: "Figures of the tenant, and for administrators of the store",
    answers: {
      200: {
        description: "The figures.",
        content: {
          [JSON_TYPE]: objectOfMembers({
            tenant: objectOfMembers({ name: TEXT, keyCount: INTEGER }),
            "store?": { type: "object" },
          }),
        },
      },
      403: FORBIDDEN,
    },
    handle: getStats,
  },
  {
    method: "GET",
    path: "/backup",
    id: "getBackup",
    summary: "A backup of the whole store",
    description: "For administrators. What `restore` and `cairn restore` take.",
    parameters: [inQuery("since", INTEGER, "The version of an earlier backup: what that one holds is left out.")],
    answers: {
      200: {
        description: "The backup, as it is made.",
        content: { "application/octet-stream": BYTES },
        headers: { "x-backup-version": "The version that it holds." },
      },
      400: BAD,
      403: FORBIDDEN,
      410: { description: "The version is none of the newest backups." },
    },
    handle: getBackup,
  },
  {
    method: "GET",
    path: "/ping",
    id: "getPing",
    summary: "Whether the key counts",
    answers: { 200: { description: "pong", content: { "text/plain": TEXT } } },
    handle: getPing,
  },
  {
    method: "POST",
    path: "/search",
    id: "postSearch",
    summary: "Not here",
    isOpen: true,
    answers: { 501: NONE },
    handle: notImplemented,
  },
  {
    method: "POST",
    path: "/query",
    id: "postQuery",
    summary: "Not here",
    isOpen: true,
    answers: { 501: NONE },
    handle: notImplemented,
  },
];

/** The routes without that of the document itself. */
export const ROUTES: readonly Route[] = [...RECORD_ROUTES, ...RANGE_ROUTES, ...WHOLE_ROUTES, ...OPERATOR_ROUTES];

/** What a path has: its methods, and what it has for the name in braces. */
export interface Found {
  methods: ReadonlyMap<string, Route>;
  segment: string | undefined;
}

/** Finds routes by path. */
export class Router {
  private readonly whole = new Map<string, Map<string, Route>>();
  /** Paths that end with a name in braces, by what stands before it. */
  private readonly open: [prefix: string, methods: Map<string, Route>][] = [];
  /** The same for records, and the listed paths below them: what is asked most is found without a look-up. */
  private readonly records: Map<string, Route> | undefined;
  private readonly besides: string[];

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.methodsAt(route.path).set(route.method, route);
    this.records = this.open.find(([prefix]) => prefix === RECORD)?.[1];
    this.besides = [...this.whole.keys()].filter((path) => path.startsWith(RECORD));
  }

  /** The route of a request: of a path that is listed as it is, else of one with a name. `undefined`: the path has none. */
  find(method: string, path: string): Found | undefined {
    if (this.records !== undefined && isBelowRecord(path) && !this.besides.includes(path)) {
      return { methods: this.records, segment: path.slice(RECORD.length) };
    }
    const whole = this.whole.get(path);
    if (whole?.has(method) === true) return { methods: whole, segment: undefined };
    for (const [prefix, methods] of this.open) {
      if (!path.startsWith(prefix)) continue;
      const all = whole === undefined || methods.has(method) ? methods : new Map([...methods, ...whole]);
      return { methods: all, segment: path.slice(prefix.length) };
    }
    return whole === undefined ? undefined : { methods: whole, segment: undefined };
  }

  private methodsAt(path: string): Map<string, Route> {
    const brace = path.indexOf("{");
    if (brace < 0) {
      const methods = this.whole.get(path) ?? new Map<string, Route>();
      this.whole.set(path, methods);
      return methods;
    }
    const prefix = path.slice(0, brace);
    let methods = this.open.find(([known]) => known === prefix)?.[1];
    if (methods === undefined) {
      methods = new Map();
      this.open.push([prefix, methods]);
    }
    return methods;
  }
}

/** What `Allow` says of a path. */
export function allowOf(methods: ReadonlyMap<string, Route>): string {
  const names: string[] = [...methods.keys()];
  if (methods.has("GET" satisfies Method)) names.push("HEAD");
  return [...names, "OPTIONS"].sort().join(", ");
}
