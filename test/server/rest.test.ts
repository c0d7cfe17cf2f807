/** HPKV's REST protocol, row by row. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Asking, KEYS, type Served, serve } from "./rest-harness.ts";

let served: Served;
beforeEach(async () => {
  served = await serve();
});
afterEach(() => served.close());

const post = (body: unknown, more: Asking = {}): Asking => ({ method: "POST", body: JSON.stringify(body), ...more });
const set = (key: string, value: string, more: object = {}) => served.json("/record", post({ key, value, ...more }));
const encoded = encodeURIComponent;

describe("a record", () => {
  test("is stored, read, replaced and deleted", async () => {
    expect(await set("user:1", "Ada")).toEqual({ success: true, message: "Record stored" });
    expect(await served.json("/record/user:1")).toEqual({ key: "user:1", value: "Ada" });
    await set("user:1", '{"a":"é\\"\\u2028"}');
    expect(await served.json("/record/user%3A1")).toEqual({ key: "user:1", value: '{"a":"é\\"\\u2028"}' });
    expect(await served.json("/record/user:1", { method: "DELETE" })).toEqual({
      success: true,
      message: "Record deleted",
    });
    const missing = { error: "Record not found", message: "Record not found" };
    expect(await served.json("/record/user:1", { status: 404 })).toEqual(missing);
    expect(await served.json("/record/user:1", { method: "DELETE", status: 404 })).toEqual(missing);
  });

  test("has any key: of the path once decoded, after routing, and of the body never", async () => {
    const keys = [
      "a/b",
      "a%2Fb",
      "%41",
      "100%",
      "a b+c",
      "ünï",
      "\0",
      "nul\0l",
      "q?x=1&y#z",
      "atomic",
      "😀",
      "..%2f..",
      "__proto__",
    ];
    for (const key of keys) {
      await set(key, `value of ${key}`);
      expect(await served.json(`/record/${encoded(key)}`)).toEqual({ key, value: `value of ${key}` });
      expect(await served.json(`//record/${encoded(key)}`)).toMatchObject({ key });
    }
    expect((await served.json("/records?limit=1000")) as object).toMatchObject({ count: keys.length });
    expect(await served.json("/record/a/b")).toMatchObject({ key: "a/b" });
    for (const key of [".", ".."]) {
      await set(key, "dots");
      expect(await served.json(`/record?key=${key}`)).toEqual({ key, value: "dots" });
      expect(await served.json(`/record?key=${key}`, { method: "DELETE" })).toMatchObject({ success: true });
    }
  });

  test.each(["/record/%", "/record/%zz", "/record/%ff", "/record/%c3%28", "/record/a%"])(
    "whose path is %s is refused",
    async (path) => {
      expect(await served.json(path, { status: 400 })).toMatchObject({
        error: expect.stringContaining("percent-encoded"),
      });
    },
  );

  test("keeps to HPKV's limits, counted in bytes", async () => {
    const value = (size: number) => "v".repeat(size);
    await set("k".repeat(512), "v");
    await set("é".repeat(256), value(102_399));
    await set("k", "é".repeat(51_199));
    for (const body of [
      { key: "k".repeat(513), value: "v" },
      { key: "é".repeat(257), value: "v" },
      { key: "k", value: value(102_400) },
      { key: "k", value: "é".repeat(51_200) },
      { key: "", value: "v" },
      { key: "k", value: "" },
      { value: "v" },
      { key: "k" },
      { key: 1, value: "v" },
      { key: "k", value: 1 },
      { key: "k", value: { a: 1 } },
      { key: "k", value: null },
      { key: "k", value: "v", partialUpdate: "yes" },
      { key: "\ud800", value: "v" },
      { key: "k", value: "\udc00" },
    ]) {
      const { error, message } = await served.json("/record", { ...post(body), status: 400 });
      expect(error).toBe(message);
    }
    expect(await served.json("/record/k")).toMatchObject({ value: "é".repeat(51_199) });
    // All escapes: six bytes of JSON for one of the value.
    await served.json("/record", { method: "POST", body: `{"key":"k","value":"${"\\u0001".repeat(102_399)}"}` });
    const legacy = await serve({ valueSizeLimit: 102_401 });
    await legacy.json("/record", post({ key: "k", value: value(102_400) }));
    await legacy.json("/record", { ...post({ key: "k", value: value(102_401) }), status: 400 });
    await legacy.close();
  });

  test.each([
    ["", "The body is empty"],
    ["{", "it ends too early"],
    ['{"key":"a",}', '"}" does not fit at line 1, column 12'],
    ['{\n "key": a }', '"a" does not fit at line 2, column 9'],
    ["[1]", "no object"],
    ["null", "no object"],
    ['"text"', "no object"],
    ["{'key':1}", "column 2"],
    ['{"key":"a"} x', '"x" does not fit'],
  ])("in the malformed body %s is refused, with the place", async (body, text) => {
    const { error } = await served.json("/record", { method: "POST", body, status: 400 });
    expect(error).toContain(text);
  });

  test("in a body that is no UTF-8, or too large, is refused", async () => {
    const bytes = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d);
    expect(await served.json("/record", { method: "POST", body: bytes, status: 400 })).toMatchObject({
      error: "This is no UTF-8.",
    });
    const large = `{"key":"k","value":"v","more":"${"x".repeat(1_048_576)}"}`;
    await served.json("/record", { method: "POST", body: large, status: 413 });
    await served.json("/record", { method: "POST", body: large, headers: { "content-length": "3" }, status: 413 });
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(65_536).fill(0x20));
      },
    });
    await served.json("/record", { method: "POST", body: endless, status: 413 });
    expect(pulled).toBeLessThan(25);
    expect(served.limits.bytes).toBe(0);
    await served.json("/record/k", { status: 404 });
  });
});

describe("a partial update", () => {
  test("merges, appends, creates and is refused where it grows too large", async () => {
    await set("p", '{"name":"Ada","at":{"x":1,"y":2},"list":[1,2]}', { partialUpdate: true });
    expect(await set("p", '{"at":{"y":null,"z":3},"list":[3],"age":36}', { partialUpdate: true })).toEqual({
      success: true,
      message: "Record updated",
    });
    const { value } = await served.json("/record/p");
    expect(JSON.parse(String(value))).toEqual({ name: "Ada", at: { x: 1, z: 3 }, list: [3], age: 36 });
    await set("t", "Hello ");
    await set("t", "World!", { partialUpdate: true });
    expect(await served.json("/record/t")).toMatchObject({ value: "Hello World!" });
    await set("t", "x".repeat(102_380));
    await served.json("/record", { ...post({ key: "t", value: "y".repeat(20), partialUpdate: true }), status: 400 });
    await set("t", "y".repeat(19), { partialUpdate: true });
  });

  test("of different members at once loses none", async () => {
    await set("m", "{}");
    await Promise.all(Array.from({ length: 50 }, (_, i) => set("m", `{"m${i}":${i}}`, { partialUpdate: true })));
    const { value } = await served.json("/record/m");
    expect(Object.keys(JSON.parse(String(value))).length).toBe(50);
  });

  test("of what is nested beyond measure is refused or done, and nothing breaks", async () => {
    const nested = `${'{"a":'.repeat(15_000)}1${"}".repeat(15_000)}`;
    await set("deep", nested);
    const response = await served.ask("/record", post({ key: "deep", value: '{"b":1}', partialUpdate: true }));
    expect([200, 400]).toContain(response.status);
    expect(await served.json("/record/deep")).toMatchObject({ key: "deep" });
  });
});

describe("an atomic increment", () => {
  const add = (key: string, increment: unknown, status = 200) =>
    served.json("/record/atomic", { ...post({ key, increment }), status });

  test("counts from what is there, or from 0, and every client finds its field", async () => {
    await set("n", "10");
    expect(await add("n", 5)).toEqual({
      success: true,
      result: 15,
      newValue: 15,
      key: "n",
      message: "Counter updated",
    });
    expect(await add("n", -3)).toMatchObject({ result: 12 });
    expect(await served.json("/record/n")).toMatchObject({ value: "12" });
    expect(await add("new", 1)).toMatchObject({ result: 1 });
    const response = await served.ask("/record/atomic", post({ key: "big", increment: "9223372036854775807" }));
    expect(await response.text()).toContain('"result":9223372036854775807,');
    await Promise.all(Array.from({ length: 100 }, () => add("many", 1)));
    expect(await served.json("/record/many")).toMatchObject({ value: "100" });
  });

  test("is refused for what is no integer, on either side, and for what overflows", async () => {
    await set("t", "text");
    await add("t", 1, 400);
    for (const by of [1.5, "1.5", "", "-", null, undefined, true, 2 ** 63, "9223372036854775808", 1e300])
      await add("n", by, 400);
    await add("n", "9223372036854775807");
    await add("n", 1, 400);
    await add("", 1, 400);
    await served.json("/record/atomic", { status: 404 });
    expect(await served.json("/record/n")).toMatchObject({ value: "9223372036854775807" });
  });
});

describe("a range", () => {
  beforeEach(async () => {
    for (const name of ["a", "b", "c", "d", "e"]) await set(`r:${name}`, name.toUpperCase());
  });
  const range = async (query: string) => {
    const { records, ...rest } = await served.json(`/records?${query}`);
    return [(records as { key: string }[]).map(({ key }) => key).join(), rest];
  };

  test("holds both ends, in order, with what is left out told", async () => {
    expect(await served.json("/records?startKey=r:b&endKey=r:c")).toEqual({
      records: [
        { key: "r:b", value: "B" },
        { key: "r:c", value: "C" },
      ],
      count: 2,
      truncated: false,
    });
    expect(await range("startKey=r:a&endKey=r:e&limit=2")).toEqual(["r:a,r:b", { count: 2, truncated: true }]);
    expect(await range("startKey=r:a&endKey=r:e&limit=5")).toEqual([
      "r:a,r:b,r:c,r:d,r:e",
      { count: 5, truncated: false },
    ]);
    expect(await range("startKey=x&endKey=y")).toEqual(["", { count: 0, truncated: false }]);
    expect(await range("startKey=r:e&endKey=r:a")).toEqual(["", { count: 0, truncated: false }]);
    expect(await range("startKey=r:a&endKey=r:e&limit=100000")).toEqual([
      "r:a,r:b,r:c,r:d,r:e",
      { count: 5, truncated: false },
    ]);
    for (const limit of ["0", "-1", "1.5", "x", "", "1e3", "%00"]) {
      await served.json(`/records?startKey=a&endKey=z&limit=${limit}`, { status: 400 });
    }
    await Promise.all(Array.from({ length: 1100 }, (_, i) => set(`s:${i}`, "v")));
    expect(await range("startKey=s:&endKey=s:~&limit=5000")).toMatchObject({ 1: { count: 1000, truncated: true } });
    expect(await range("startKey=s:&endKey=s:~")).toMatchObject({ 1: { count: 100, truncated: true } });
    const order = ["z", "é", "\uffff", "😀"];
    for (const name of order) await set(`u:${name}`, "v");
    expect(await range(`startKey=u:&endKey=${encoded("u:\u{10ffff}")}`)).toMatchObject([
      order.map((name) => `u:${name}`).join(),
      {},
    ]);
  });

  test("takes ends that are encoded once, twice, or with an escape that is none", async () => {
    for (const key of ["we/ird key", "a%^b", "x+y", "é😀", "50%"]) {
      await set(key, "v");
      const once = new URLSearchParams({ startKey: key, endKey: key });
      const twice = new URLSearchParams({ startKey: encoded(key), endKey: encoded(key) });
      for (const params of [once, twice])
        expect(await range(`${params}`)).toEqual([key, { count: 1, truncated: false }]);
    }
    expect(await range("startKey=we%252Fird%2520key&endKey=we%252Fird%2520key")).toMatchObject(["we/ird key", {}]);
    expect(await range("startKey=we/ird+key&endKey=we/ird+key")).toMatchObject(["we/ird key", {}]);
    await served.json("/records?startKey=%ff&endKey=z", { status: 400 });
  });

  test("ends where a page grows too large", async () => {
    await Promise.all(
      Array.from({ length: 60 }, (_, i) => set(`big:${String(i).padStart(2, "0")}`, "v".repeat(102_399))),
    );
    const { count, truncated } = await served.json("/records?startKey=big:&endKey=big:~");
    expect(truncated).toBe(true);
    expect(count).toBeGreaterThan(30);
    expect(count).toBeLessThan(45);
  });
});

describe("who asks", () => {
  test("shows a key in x-api-key or as bearer, a token as bearer, or is refused", async () => {
    await set("k", "v");
    const bearer = (text: string): Asking => ({ as: null, headers: { authorization: text } });
    expect(await served.json("/record/k", bearer(`Bearer ${KEYS.admin.text}`))).toMatchObject({ value: "v" });
    const token = String(
      (await served.json("/token/websocket", post({ subscribeKeys: ["k"], accessPattern: "^k$" })))["token"],
    );
    expect(await served.json("/record/k", bearer(`bearer ${token}`))).toMatchObject({ value: "v" });
    await served.json("/record/other", { ...bearer(`Bearer ${token}`), status: 403 });
    const none: Asking[] = [
      { as: null },
      { as: null, headers: { "x-api-key": "" } },
      { as: null, headers: { "x-api-key": "nobody" } },
      { as: null, headers: { "x-api-key": token } },
      bearer("Bearer nobody"),
      bearer("Basic YTpi"),
      bearer(KEYS.admin.text),
    ];
    for (const asking of none) {
      expect(await served.json("/record/k", { ...asking, status: 401 })).toEqual({
        error: "Missing or invalid API key",
        message: "Missing or invalid API key",
      });
    }
    expect(served.limits.failures).toBe(4);
    served.limits.waitSeconds = 0.3;
    const limited = await served.ask("/record/k");
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "1"]);
  });

  test("sees its own tenant alone", async () => {
    for (const as of ["one", "two", "root"] as const) {
      const name = as === "one" ? "admin" : as;
      await served.json("/record", post({ key: "k", value: as }, { as: name }));
    }
    for (const as of ["admin", "two", "root"] as const) {
      const value = as === "admin" ? "one" : as;
      expect(await served.json("/record/k", { as })).toMatchObject({ value });
      expect(await served.json("/records", { as })).toMatchObject({ records: [{ key: "k", value }], count: 1 });
      expect(await served.json("/records/count", { as })).toEqual({ count: 1 });
    }
    expect(await served.json("/records?all=true", { method: "DELETE", as: "root" })).toMatchObject({ deleted: 1 });
    expect(await served.json("/record/k", { as: "two" })).toMatchObject({ value: "two" });
  });

  test("may do what its role says, and nothing else", async () => {
    await set("order:1", "1");
    await set("user:1", "u");
    const forbidden: [string, Asking][] = [
      ["/record", post({ key: "k", value: "v" }, { as: "reader" })],
      ["/record/order:1", { method: "DELETE", as: "reader" }],
      ["/record/order:1", { method: "PUT", body: "v", as: "reader" }],
      ["/record/atomic", post({ key: "k", increment: 1 }, { as: "reader" })],
      ["/records?prefix=order:", { method: "DELETE", as: "reader" }],
      ["/record/user:1", { as: "orders" }],
      ["/record", post({ key: "user:1", value: "v" }, { as: "orders" })],
      ["/records", { as: "orders" }],
      ["/records?startKey=order:&endKey=user:", { as: "orders" }],
      ["/records/count", { as: "orders" }],
      ["/records?prefix=order", { method: "DELETE", as: "orders" }],
      ["/watch", { as: "orders" }],
      ["/stats", { as: "orders" }],
      ["/backup", { as: "writer" }],
      ["/backup", { as: "two" }],
    ];
    for (const [path, asking] of forbidden) {
      expect(await served.json(path, { ...asking, status: 403 })).toEqual({
        error: "Permission denied",
        message: "Permission denied",
      });
    }
    expect(await served.json("/record/order:1", { as: "orders" })).toMatchObject({ value: "1" });
    expect(await served.json("/records?prefix=order:", { as: "orders" })).toMatchObject({ count: 1 });
    expect(await served.json("/records?startKey=order:&endKey=order:z", { as: "orders" })).toMatchObject({ count: 1 });
  });
});

describe("a path", () => {
  test("answers HEAD as GET without a body, OPTIONS with what is allowed, and other methods with 405", async () => {
    await set("k", "väl");
    const get = await served.ask("/record/k");
    const head = await served.ask("/record/k", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe(String(new TextEncoder().encode(await get.text()).length));
    expect(head.headers.get("etag")).toBe(get.headers.get("etag"));
    expect((await served.ask("/record/none", { method: "HEAD" })).status).toBe(404);
    const options = await served.ask("/record/k", { method: "OPTIONS", as: null });
    expect([options.status, options.headers.get("allow"), await options.text()]).toEqual([
      204,
      "DELETE, GET, HEAD, OPTIONS, PUT",
      "",
    ]);
    for (const [method, path, allow] of [
      ["POST", "/record/k", "DELETE, GET, HEAD, OPTIONS, PUT"],
      ["PATCH", "/record", "DELETE, GET, HEAD, OPTIONS, POST, PUT"],
      ["PUT", "/records", "DELETE, GET, HEAD, OPTIONS, POST"],
      ["PATCH", "/record/atomic", "DELETE, GET, HEAD, OPTIONS, POST, PUT"],
      ["POST", "/record/%61tomic", "DELETE, GET, HEAD, OPTIONS, PUT"],
      ["GET", "/token/websocket", "OPTIONS, POST"],
    ] as const) {
      const response = await served.ask(path, { method });
      expect([method, path, response.status, response.headers.get("allow")]).toEqual([method, path, 405, allow]);
    }
  });

  test("that is unknown is 404, and those of semantic search 501", async () => {
    for (const path of ["/", "/nothing", "/Record/k", "/record%2Fk", "/recordsx", "/snapshots"]) {
      const { status } = await served.ask(path, { as: null });
      expect([path, status]).toEqual([path, path === "/snapshots" ? 405 : 404]);
    }
    await served.json("/search", { ...post({ query: "x" }), status: 501 });
    await served.json("/query/more", { status: 501 });
    expect(await (await served.ask("/ping")).text()).toBe("pong");
  });
});

test("a store that takes no calls is 503, and says nothing of itself", async () => {
  await served.store.close();
  const response = await served.ask("/record/k");
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await response.json()).toEqual({
    error: "The store cannot answer at present.",
    message: "The store cannot answer at present.",
  });
  expect(served.errors.length).toBe(1);
});
