/** The OpenAPI document against the handlers: every route and status that it tells is given, and it tells every one that is. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROUTES } from "../../adapters/server/rest/index.ts";
import { type Asking, type Served, serve } from "./rest-harness.ts";

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string; required: boolean }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
  security: object[];
}
interface Schema {
  $ref?: string;
  type?: string | string[];
  required?: string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

let served: Served;
let document: Document;
let snapshot: string;
let tag: string;

const post = (body: unknown, more: Asking = {}): Asking => ({ method: "POST", body: JSON.stringify(body), ...more });
const put = (body: string | Uint8Array, headers: Record<string, string> = {}, more: Asking = {}): Asking => ({
  method: "PUT",
  body,
  headers,
  ...more,
});
const NDJSON = { "content-type": "application/x-ndjson" };
const LARGE = " ".repeat(1_048_577);

beforeAll(async () => {
  served = await serve({ bodyBytes: 1_500_000, snapshotsMax: 2 });
  document = (await served.json("/openapi.json", { as: null })) as unknown as Document;
  await served.json("/record", post({ key: "k", value: "v", timestamp: 1000 }));
  await served.json("/record/bytes", put(Uint8Array.of(0xff)));
  tag = String((await served.ask("/record/k")).headers.get("etag"));
  served.slow.note("GET /record", 250.5, "two", "r-1");
  served.activity.took(1.5);
  snapshot = String((await served.json("/snapshots", { method: "POST", status: 201 }))["id"]);
});
afterAll(() => served.close());

/** How each documented answer is come by: operation, status, and requests of which each gives it. */
const raw = (path: (key: string) => string, suffix: string): [string, number, () => [string, Asking]][] => [
  [`getRecord${suffix}`, 200, () => [path("k"), {}]],
  [`getRecord${suffix}`, 304, () => [path("k"), { headers: { "if-none-match": tag } }]],
  [`getRecord${suffix}`, 400, () => [path(""), {}]],
  [`getRecord${suffix}`, 401, () => [path("k"), { as: null }]],
  [`getRecord${suffix}`, 403, () => [path("k"), { as: "orders" }]],
  [`getRecord${suffix}`, 404, () => [path("none"), {}]],
  [`getRecord${suffix}`, 406, () => [path("bytes"), { headers: { accept: "text/plain" } }]],
  [`getRecord${suffix}`, 410, () => [`${path("k")}${path("k").includes("?") ? "&" : "?"}snapshot=none`, {}]],
  [`getRecord${suffix}`, 412, () => [path("k"), { headers: { "if-match": '"999999"' } }]],
  [`putRecord${suffix}`, 200, () => [path("put"), put("v")]],
  [`putRecord${suffix}`, 400, () => [path("put"), put("{", { "content-type": "application/json" })]],
  [`putRecord${suffix}`, 401, () => [path("put"), put("v", {}, { as: null })]],
  [`putRecord${suffix}`, 403, () => [path("put"), put("v", {}, { as: "reader" })]],
  [`putRecord${suffix}`, 409, () => [`${path("k")}${path("k").includes("?") ? "&" : "?"}timestamp=1`, put("v")]],
  [`putRecord${suffix}`, 412, () => [path("put"), put("v", { "if-match": '"999999"' })]],
  [`putRecord${suffix}`, 413, () => [path("put"), put(LARGE + LARGE)]],
  [`putRecord${suffix}`, 415, () => [path("put"), put("v", { "content-type": "text/plain;charset=utf-16" })]],
  [`deleteRecord${suffix}`, 200, () => [path("put"), { method: "DELETE" }]],
  [`deleteRecord${suffix}`, 400, () => [path(""), { method: "DELETE" }]],
  [`deleteRecord${suffix}`, 401, () => [path("k"), { method: "DELETE", as: null }]],
  [`deleteRecord${suffix}`, 403, () => [path("k"), { method: "DELETE", as: "reader" }]],
  [`deleteRecord${suffix}`, 404, () => [path("none"), { method: "DELETE" }]],
  [
    `deleteRecord${suffix}`,
    409,
    () => [`${path("k")}${path("k").includes("?") ? "&" : "?"}timestamp=1`, { method: "DELETE" }],
  ],
  [`deleteRecord${suffix}`, 412, () => [path("k"), { method: "DELETE", headers: { "if-match": '"999999"' } }]],
];

const CASES: [string, number, () => [string, Asking]][] = [
  ["postRecord", 200, () => ["/record", post({ key: "p", value: "v", expiresIn: 60_000 })]],
  ["postRecord", 400, () => ["/record", post({})]],
  ["postRecord", 401, () => ["/record", post({}, { as: null })]],
  ["postRecord", 403, () => ["/record", post({ key: "k", value: "v" }, { as: "reader" })]],
  ["postRecord", 409, () => ["/record", post({ key: "k", value: "v", timestamp: 1 })]],
  ["postRecord", 412, () => ["/record", post({ key: "k", value: "v" }, { headers: { "if-none-match": "*" } })]],
  ["postRecord", 413, () => ["/record", { method: "POST", body: LARGE }]],
  ["postAtomic", 200, () => ["/record/atomic", post({ key: "n", increment: 1 })]],
  ["postAtomic", 400, () => ["/record/atomic", post({ key: "n" })]],
  ["postAtomic", 401, () => ["/record/atomic", post({}, { as: null })]],
  ["postAtomic", 403, () => ["/record/atomic", post({ key: "n", increment: 1 }, { as: "reader" })]],
  [
    "postAtomic",
    412,
    () => ["/record/atomic", post({ key: "n", increment: 1 }, { headers: { "if-match": '"999999"' } })],
  ],
  ["postAtomic", 413, () => ["/record/atomic", { method: "POST", body: LARGE }]],
  ...raw((key) => `/record/${key}`, ""),
  ...raw((key) => `/record?key=${key}`, "ByQuery"),
  ["getRecords", 200, () => ["/records", {}]],
  ["getRecords", 400, () => ["/records?limit=x", {}]],
  ["getRecords", 401, () => ["/records", { as: null }]],
  ["getRecords", 403, () => ["/records", { as: "orders" }]],
  ["getRecords", 410, () => ["/records?snapshot=none", {}]],
  ["postRecords", 200, () => ["/records", { method: "POST", headers: NDJSON, body: '{"key":"l","value":"1"}' }]],
  ["postRecords", 207, () => ["/records", { method: "POST", headers: NDJSON, body: '{"key":"l","value":"1"}\nx' }]],
  ["postRecords", 400, () => ["/records", { method: "POST", headers: NDJSON, body: "x" }]],
  ["postRecords", 401, () => ["/records", { method: "POST", as: null }]],
  ["postRecords", 415, () => ["/records", { method: "POST", body: "x" }]],
  ["deleteRecords", 200, () => ["/records?prefix=l", { method: "DELETE" }]],
  ["deleteRecords", 400, () => ["/records", { method: "DELETE" }]],
  ["deleteRecords", 401, () => ["/records?prefix=l", { method: "DELETE", as: null }]],
  ["deleteRecords", 403, () => ["/records?prefix=l", { method: "DELETE", as: "reader" }]],
  ["countRecords", 200, () => [`/records/count?snapshot=${snapshot}`, {}]],
  ["countRecords", 400, () => ["/records/count?start=%ff", {}]],
  ["countRecords", 401, () => ["/records/count", { as: null }]],
  ["countRecords", 403, () => ["/records/count", { as: "orders" }]],
  ["countRecords", 410, () => ["/records/count?snapshot=none", {}]],
  ["watch", 200, () => ["/watch", {}]],
  ["watch", 400, () => ["/watch?since=x", {}]],
  ["watch", 401, () => ["/watch", { as: null }]],
  ["watch", 403, () => ["/watch", { as: "orders" }]],
  ["watch", 410, () => ["/watch?since=999999999", {}]],
  ["postSnapshot", 201, () => ["/snapshots", { method: "POST" }]],
  ["postSnapshot", 429, () => ["/snapshots", { method: "POST" }]],
  ["postSnapshot", 401, () => ["/snapshots", { method: "POST", as: null }]],
  [
    "postSnapshot",
    403,
    () => {
      const { token } = served.access.issueToken(served.principal("admin"), { subscribeKeys: ["k"] });
      return ["/snapshots", { method: "POST", as: null, headers: { authorization: `Bearer ${token}` } }];
    },
  ],
  ["deleteSnapshot", 200, () => [`/snapshots/${snapshot}`, { method: "DELETE" }]],
  ["deleteSnapshot", 401, () => [`/snapshots/${snapshot}`, { method: "DELETE", as: null }]],
  ["deleteSnapshot", 404, () => ["/snapshots/none", { method: "DELETE" }]],
  ["postToken", 200, () => ["/token/websocket", post({ subscribeKeys: ["a"] })]],
  ["postToken", 400, () => ["/token/websocket", post({ subscribeKeys: 1 })]],
  ["postToken", 401, () => ["/token/websocket", post({}, { as: null })]],
  [
    "postToken",
    403,
    () => {
      const { token } = served.access.issueToken(served.principal("admin"), { subscribeKeys: ["k"] });
      return ["/token/websocket", post({}, { as: null, headers: { authorization: `Bearer ${token}` } })];
    },
  ],
  ["postToken", 413, () => ["/token/websocket", { method: "POST", body: LARGE }]],
  ["getStats", 200, () => ["/stats", {}]],
  ["getStats", 401, () => ["/stats", { as: null }]],
  ["getStats", 403, () => ["/stats", { as: "orders" }]],
  ["getRights", 200, () => ["/rights?key=k&prefix=order%3A", { as: "orders" }]],
  ["getRights", 400, () => ["/rights?key=%21&keyEncoding=base64", {}]],
  ["getRights", 401, () => ["/rights", { as: null }]],
  ["getSegments", 200, () => ["/stats/segments", {}]],
  ["getSegments", 401, () => ["/stats/segments", { as: null }]],
  ["getSegments", 403, () => ["/stats/segments", { as: "two" }]],
  ["getSlow", 200, () => ["/stats/slow", {}]],
  ["getSlow", 401, () => ["/stats/slow", { as: null }]],
  ["getSlow", 403, () => ["/stats/slow", { as: "two" }]],
  ["getActivity", 200, () => ["/stats/activity", {}]],
  ["getActivity", 401, () => ["/stats/activity", { as: null }]],
  ["getActivity", 403, () => ["/stats/activity", { as: "two" }]],
  ["getBackup", 200, () => ["/backup", {}]],
  ["getBackup", 400, () => ["/backup?since=x", {}]],
  ["getBackup", 401, () => ["/backup", { as: null }]],
  ["getBackup", 403, () => ["/backup", { as: "two" }]],
  ["getBackup", 410, () => ["/backup?since=999999999", {}]],
  ["getPing", 200, () => ["/ping", {}]],
  ["getPing", 401, () => ["/ping", { as: null }]],
  ["postSearch", 501, () => ["/search", post({}, { as: null })]],
  ["postQuery", 501, () => ["/query", post({}, { as: null })]],
  ["getOpenApi", 200, () => ["/openapi.json", { as: null }]],
];

const operations = (): [path: string, method: string, operation: Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [path, method, operation]),
  );

/** Whether a value is what a schema says: as far as the document's schemas go. Members that it does not name count as wrong. */
function misfit(value: unknown, schema: Schema, place = "$"): string | undefined {
  const { $ref } = schema;
  if ($ref !== undefined)
    return misfit(value, document.components.schemas[$ref.split("/").at(-1) as string] as Schema, place);
  if (schema.const !== undefined && value !== schema.const) return `${place} is not ${schema.const}`;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return `${place} is none of ${schema.enum}`;
  const kind = Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
  const types = schema.type === undefined ? [kind] : [schema.type].flat();
  if (!types.includes(kind) && !(kind === "integer" && types.includes("number")))
    return `${place} is a ${kind}, not ${types}`;
  if (kind === "array") {
    for (const [i, item] of (value as unknown[]).entries()) {
      const wrong = misfit(item, schema.items ?? {}, `${place}[${i}]`);
      if (wrong !== undefined) return wrong;
    }
  }
  if (kind !== "object" || schema.properties === undefined) return undefined;
  const members = value as Record<string, unknown>;
  for (const name of schema.required ?? []) if (!(name in members)) return `${place}.${name} is missing`;
  for (const [name, member] of Object.entries(members)) {
    // What clients of the old server read.
    if (/^(Total records|Total disk usage|Device size)$/.test(name)) continue;
    const known = schema.properties[name];
    if (known === undefined) return `${place}.${name} is not documented`;
    const wrong = misfit(member, known, `${place}.${name}`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

describe("the document", () => {
  test("is OpenAPI 3.1, with every route of the table once", () => {
    expect(document.openapi).toBe("3.1.0");
    const told = operations().map(
      ([path, method, { operationId }]) => `${method.toUpperCase()} ${path} ${operationId}`,
    );
    const served = ROUTES.map(({ method, path, id }) => `${method} ${path} ${id}`);
    expect(told.sort()).toEqual([...served, "GET /openapi.json getOpenApi"].sort());
    expect(new Set(ROUTES.map(({ id }) => id)).size).toBe(ROUTES.length);
    for (const [path, , { parameters = [] }] of operations()) {
      const named = parameters.filter((parameter) => parameter.in === "path").map(({ name }) => `{${name}}`);
      expect(path.match(/\{\w+\}/g) ?? []).toEqual(named);
      for (const parameter of parameters) expect(parameter.required).toBe(parameter.in === "path");
    }
  });

  test("tells exactly the answers that are tested here", () => {
    const told = operations().flatMap(([, , { operationId, responses }]) =>
      Object.keys(responses)
        .filter((status) => status !== "default")
        .map((status) => `${operationId} ${status}`),
    );
    expect(told.sort()).toEqual(CASES.map(([id, status]) => `${id} ${status}`).sort());
  });

  test.each(CASES)("tells how %s answers with %i", async (id, status, asked) => {
    const [path, asking] = asked();
    const [, , operation] = operations().find(([, , { operationId }]) => operationId === id) as [
      string,
      string,
      Operation,
    ];
    const response = await served.ask(path, asking);
    const told = operation.responses[status] as NonNullable<Operation["responses"][string]>;
    expect([path, response.status]).toEqual([path, status]);
    if (id === "watch" && status === 200) {
      expect(told.content).toHaveProperty(["text/event-stream"]);
      await response.body?.cancel();
      return;
    }
    const text = await response.text();
    if (told.content === undefined) {
      expect(text).toBe("");
      return;
    }
    const type = String(response.headers.get("content-type"));
    const form = told.content[type];
    if (form === undefined) throw new Error(`${type} is not documented`);
    if (type === "application/json") expect(misfit(JSON.parse(text), form.schema)).toBeUndefined();
  });
});
