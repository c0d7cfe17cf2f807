/** What REST has beyond HPKV's protocol: bytes, conditions, streams, bulk, snapshots, backup. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MemoryDevice, open, pause, restore } from "../store/harness.ts";
import { type Asking, type Served, serve } from "./rest-harness.ts";

let served: Served;
beforeEach(async () => {
  served = await serve();
});
afterEach(() => served.close());

const post = (body: unknown, more: Asking = {}): Asking => ({ method: "POST", body: JSON.stringify(body), ...more });
const put = (body: string | Uint8Array, type?: string, more: Record<string, string> = {}): Asking => ({
  method: "PUT",
  body,
  headers: type === undefined ? more : { "content-type": type, ...more },
});
const NO_TEXT = Uint8Array.of(0xff, 0x00, 0xfe);
const NO_TEXT_BASE64 = "/wD+";
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());

describe("values", () => {
  test("go in raw, as text or as checked JSON, and come out as Accept says", async () => {
    await served.json("/record/b", put(NO_TEXT, "application/octet-stream"));
    await served.json("/record/t", put("tëxt", "text/plain; charset=utf-8"));
    await served.json("/record/j", put('{"a": 1}', "application/json"));
    await served.json("/record/e", put(""));
    expect(await served.json("/record/b")).toEqual({ key: "b", value: NO_TEXT_BASE64, encoding: "base64" });
    expect(await served.json("/record/t")).toEqual({ key: "t", value: "tëxt" });
    expect(await served.json("/record/j")).toEqual({ key: "j", value: '{"a": 1}' });
    expect(await served.json("/record/e")).toEqual({ key: "e", value: "" });
    const raw = await served.ask("/record/b", { headers: { accept: "application/octet-stream" } });
    expect([raw.headers.get("content-type"), raw.headers.get("x-content-type-options")]).toEqual([
      "application/octet-stream",
      "nosniff",
    ]);
    expect(await bytesOf(raw)).toEqual(NO_TEXT);
    const text = await served.ask("/record/t", { headers: { accept: "text/html;q=0.9, text/plain, */*;q=0.1" } });
    expect([text.headers.get("content-type"), await text.text()]).toEqual(["text/plain; charset=utf-8", "tëxt"]);
    expect((await served.ask("/record/b", { headers: { accept: "text/plain" } })).status).toBe(406);
    for (const accept of [
      "application/json;q=1, text/plain;q=0.5",
      "image/png",
      "text/plain;q=0",
      "*/*",
      "application/*",
      ";;,",
      "text/plain;q=9",
    ]) {
      const response = await served.ask("/record/t", { headers: { accept } });
      expect([accept, response.headers.get("content-type")]).toEqual([accept, "application/json"]);
    }
    await served.json("/record/t", { ...put(NO_TEXT, "text/plain"), status: 400 });
    await served.json("/record/t", { ...put("x", "text/plain; charset=latin1"), status: 415 });
    await served.json("/record/j", { ...put('{"a": }', "application/json"), status: 400 });
    expect(await served.json("/record/j")).toMatchObject({ value: '{"a": 1}' });
  });

  test("and keys of bytes travel as base64, both ways", async () => {
    await served.json(
      "/record",
      post({ key: NO_TEXT_BASE64, keyEncoding: "base64", value: NO_TEXT_BASE64, encoding: "base64" }),
    );
    const record = { key: NO_TEXT_BASE64, keyEncoding: "base64", value: NO_TEXT_BASE64, encoding: "base64" };
    for (const path of [
      "/record/_wD-?keyEncoding=base64",
      "/record/%2FwD%2B?keyEncoding=base64",
      "/record?key=%2FwD%2B&keyEncoding=base64",
    ]) {
      expect(await served.json(path)).toEqual(record);
    }
    expect(await served.json("/records")).toEqual({ records: [record], count: 1, truncated: false });
    expect(await served.json("/records?start=_w&end=__8&keyEncoding=base64")).toMatchObject({ count: 1 });
    expect(await served.json("/records?start=_w&end=_wA&keyEncoding=base64")).toMatchObject({ count: 0 });
    expect(await served.json("/record/atomic", post({ key: "_w", keyEncoding: "base64", increment: 2 }))).toMatchObject(
      {
        result: 2,
        key: "/w==",
        keyEncoding: "base64",
      },
    );
    await served.json("/record", {
      ...post({ key: NO_TEXT_BASE64, keyEncoding: "base64", value: "x" }, { as: "root" }),
      status: 403,
    });
    expect(await served.json("/record/_wD-?keyEncoding=base64", { method: "DELETE" })).toMatchObject({ success: true });
    for (const body of [
      { key: "k", value: "a-", encoding: "base64url" },
      { key: "k", value: "a", encoding: "base64" },
      { key: "k", value: "!!!!", encoding: "base64" },
      { key: "a\n", keyEncoding: "base64", value: "x" },
    ]) {
      await served.json("/record", { ...post(body), status: 400 });
    }
    await served.json("/record/x?keyEncoding=hex", { status: 400 });
  });

  test("of the store's own limits go in raw and in bulk", async () => {
    const large = "v".repeat(3_000_000);
    await served.json(`/record/${"k".repeat(1500)}`, put(large));
    expect((await served.json(`/record/${"k".repeat(1500)}`))["value"]).toBe(large);
    await served.json(`/record/${"k".repeat(2049)}`, { ...put("v"), status: 400 });
    await served.json(`/record/${"k".repeat(2049)}`, { status: 400 });
    expect(served.limits.bytes).toBe(0);
    served.limits.bytesMax = 1000;
    const refused = await served.ask("/record/k", put(large));
    expect([refused.status, refused.headers.get("retry-after"), served.limits.bytes]).toEqual([429, "1", 0]);
    const small = await serve({ bodyBytes: 100_000 });
    await small.json("/record/k", { ...put("v".repeat(100_001)), status: 413 });
    await small.json("/record/k", put("v".repeat(100_000)));
    await small.close();
  });
});

describe("conditions", () => {
  const tagOf = async (path: string) => String((await served.ask(path)).headers.get("etag"));
  const statusOf = async (path: string, asking: Asking) => (await served.ask(path, asking)).status;

  test("hold back writes of every kind, and deletions", async () => {
    const none = { "if-none-match": "*" };
    const first = await served.ask("/record/k", put("1", undefined, none));
    expect(first.status).toBe(200);
    const tag = await tagOf("/record/k");
    expect(first.headers.get("etag")).toBe(tag);
    expect(tag).toMatch(/^"\d+"$/);
    const later = `"${Number(tag.slice(1, -1)) + 1000}"`;
    const writes: Asking[] = [
      put("2"),
      post({ key: "k", value: "2" }),
      post({ key: "k", value: "2", partialUpdate: true }),
      post({ key: "k", increment: 1 }),
      { method: "DELETE" },
    ];
    for (const [i, write] of writes.entries()) {
      const path = i === 3 ? "/record/atomic" : write.method === "POST" ? "/record" : "/record/k";
      const conditions = [
        none,
        { "if-match": later },
        { "if-match": `W/${tag}` },
        { "if-match": "x" },
        { "if-match": `${later}, "0"` },
        { "if-none-match": `"0", ${tag}` },
      ];
      for (const headers of conditions) {
        expect([path, headers, await statusOf(path, { ...write, headers })]).toEqual([path, headers, 412]);
      }
    }
    expect(await served.json("/record/k")).toMatchObject({ value: "1" });
    for (const headers of [{ "if-match": "*" }, { "if-none-match": later }]) {
      expect(await statusOf("/record/k", put("1", undefined, headers))).toBe(200);
    }
    for (const write of writes) {
      const path = write === writes[3] ? "/record/atomic" : write.method === "POST" ? "/record" : "/record/k";
      const now = await tagOf("/record/k");
      const done = await served.ask(path, { ...write, headers: { "if-match": `${later}, ${now}` } });
      expect([path, done.status]).toEqual([path, 200]);
      if (write.method !== "DELETE") expect(done.headers.get("etag")).toBe(await tagOf("/record/k"));
    }
    expect(await statusOf("/record/k", put("x", undefined, { "if-match": "*" }))).toBe(412);
    expect(await statusOf("/record/k", { method: "DELETE", headers: { "if-match": "*" } })).toBe(412);
    expect(await statusOf("/record/atomic", post({ key: "k", increment: 1 }, { headers: none }))).toBe(200);
    expect(await served.json("/record/k")).toMatchObject({ value: "1" });
  });

  test("let one of many writers through", async () => {
    await served.json("/record/k", put("0"));
    const tag = await tagOf("/record/k");
    const statuses = await Promise.all(
      Array.from({ length: 20 }, (_, i) => statusOf("/record/k", put(`${i}`, undefined, { "if-match": tag }))),
    );
    expect(statuses.filter((status) => status === 200).length).toBe(1);
    expect(statuses.filter((status) => status === 412).length).toBe(19);
  });

  test("spare a reader what it has", async () => {
    await served.json("/record/k", put("v"));
    const tag = await tagOf("/record/k");
    const same = await served.ask("/record/k", { headers: { "if-none-match": `"7", W/${tag}` } });
    expect([same.status, same.headers.get("etag"), await same.text()]).toEqual([304, tag, ""]);
    expect(await statusOf("/record/k", { headers: { "if-none-match": "*" } })).toBe(304);
    expect(await statusOf("/record/k", { headers: { "if-match": '"7"' } })).toBe(412);
    expect(await statusOf("/record/k", { headers: { "if-match": tag } })).toBe(200);
    expect(await statusOf("/record/none", { headers: { "if-match": "*" } })).toBe(412);
    await served.json("/record/k", put("w"));
    expect(await statusOf("/record/k", { headers: { "if-none-match": tag } })).toBe(200);
  });
});

describe("a time to live", () => {
  test("comes by body, query or header, and is shown", async () => {
    const before = Date.now();
    const { expiresAt } = await served.json("/record", post({ key: "a", value: "v", expiresIn: 50_000 }));
    expect(expiresAt).toBeGreaterThanOrEqual(before + 50_000);
    expect(await served.json("/record/a")).toEqual({ key: "a", value: "v", expiresAt });
    expect(await served.json("/record/b?ttl=60000", put("v"))).toMatchObject({ expiresAt: expect.any(Number) });
    await served.json("/record/c", put("v", undefined, { "x-ttl": "70000" }));
    const raw = await served.ask("/record/c", { headers: { accept: "application/octet-stream" } });
    expect(Number(raw.headers.get("x-expires-at"))).toBeGreaterThanOrEqual(before + 70_000);
    await served.json("/record", post({ key: "d", value: "v", expiresAt: 1 }));
    await served.json("/record/d", { status: 404 });
    await served.json("/record/e?ttl=400", put("v"));
    await served.json("/record/e");
    await pause(450);
    await served.json("/record/e", { status: 404 });
    await served.json("/record", post({ key: "a", value: "+", partialUpdate: true }));
    expect(await served.json("/record/a")).toMatchObject({ value: "v+", expiresAt });
    await served.json("/record", post({ key: "a", value: "v" }));
    expect(await served.json("/record/a")).toEqual({ key: "a", value: "v" });
  });

  test("that is none is refused", async () => {
    for (const more of [
      { expiresIn: 0 },
      { expiresIn: -1 },
      { expiresIn: "1" },
      { expiresAt: "x" },
      { expiresIn: 1e300 },
      { expiresIn: 5, expiresAt: 5 },
    ]) {
      await served.json("/record", { ...post({ key: "k", value: "v", ...more }), status: 400 });
    }
    for (const ttl of ["0", "-1", "x", "1.5", ""])
      await served.json(`/record/k?ttl=${ttl}`, { ...put("v"), status: 400 });
    await served.json("/record/k", { ...put("v", undefined, { "x-ttl": "soon" }), status: 400 });
    await served.json("/record/k?ttl=5", { ...put("v", undefined, { "x-ttl": "5" }), status: 400 });
    await served.json("/record/atomic", { ...post({ key: "k", increment: 1, expiresIn: 5 }), status: 400 });
    await served.json("/record/k?ttl=5", { method: "DELETE", status: 400 });
  });
});

test("a timestamp that is older than the record's is refused with 409", async () => {
  const write = (timestamp: unknown, status = 200) =>
    served.json("/record", { ...post({ key: "k", value: `at ${timestamp}`, timestamp }), status });
  await write(1000);
  await write(1000);
  expect(await write(999, 409)).toEqual({ error: "Timestamp conflict", message: "Timestamp conflict" });
  await write(1001);
  for (const timestamp of [-1, 1.5, "5", true]) await write(timestamp, 400);
  await served.json("/record", { ...post({ key: "k", value: "+", timestamp: 5, partialUpdate: true }), status: 409 });
  await served.json("/record/k?timestamp=5", { ...put("v"), status: 409 });
  await served.json("/record/k?timestamp=5", { method: "DELETE", status: 409 });
  expect(await served.json("/record/k")).toMatchObject({ value: "at 1001" });
  await served.json("/record", post({ key: "k", value: "+", timestamp: 1002, partialUpdate: true }));
  await served.json("/record/k?timestamp=1001", { method: "DELETE", status: 409 });
  await served.json("/record/k?timestamp=1002", { method: "DELETE" });
});

const NDJSON = { accept: "application/x-ndjson" };
const linesOf = async (path: string, asking: Asking = {}) => {
  const response = await served.ask(path, { ...asking, headers: NDJSON });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/x-ndjson"]);
  const text = await response.text();
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
};

describe("a stream of records", () => {
  test("has all of a range, in both directions, with or without values", async () => {
    const one = served.store.sub("one");
    for (let i = 0; i < 3000; i++) one.set(`k${String(i).padStart(4, "0")}`, `value ${i}`);
    const bytes = served.store.sub("one", { keyEncoding: "binary", valueEncoding: "binary" });
    bytes.set(Uint8Array.of(0x6b, 0x31, 0xff), NO_TEXT);
    const all = await linesOf("/records");
    expect(all.length).toBe(3001);
    expect(all[0]).toEqual({ key: "k0000", value: "value 0" });
    expect(all[2000]).toEqual({ key: "azH/", keyEncoding: "base64", value: NO_TEXT_BASE64, encoding: "base64" });
    expect(await linesOf("/records?reverse=true")).toEqual([...all].reverse());
    expect(await linesOf("/records?keysOnly&prefix=k00")).toEqual(all.slice(0, 100).map(({ key }) => ({ key })));
    expect(await linesOf("/records?after=k0009&limit=3")).toEqual(all.slice(10, 13));
    expect(await linesOf("/records?start=k2998&end=k9")).toEqual(all.slice(-2));
    expect(await linesOf("/records?prefix=k1&limit=1500&reverse=1")).toEqual(all.slice(1000, 2001).reverse());
    expect(await linesOf("/records?prefix=none")).toEqual([]);
    expect((await served.json("/records?after=k0009&limit=2&keysOnly=true"))["records"]).toEqual([
      { key: "k0010" },
      { key: "k0011" },
    ]);
    expect(await served.json("/records/count?prefix=k00")).toEqual({ count: 100 });
    expect(await served.json("/records/count")).toEqual({ count: 3001 });
    await pause(1);
    expect(served.store.stats().snapshotCount).toBe(0);
  });

  test("shows one moment, is made as it is read, and lets go when its reader leaves", async () => {
    const one = served.store.sub("one");
    for (let i = 0; i < 2000; i++) one.set(`k${String(i).padStart(4, "0")}`, "v".repeat(1000));
    const response = await served.ask("/records", { headers: NDJSON });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const first = await reader.read();
    await pause(20);
    one.clear();
    expect(first.value?.length).toBeLessThan(200_000);
    let size = first.value?.length ?? 0;
    for (let step = await reader.read(); !step.done; step = await reader.read()) size += step.value.length;
    expect(size).toBe(2000 * `{"key":"k0000","value":"${"v".repeat(1000)}"}\n`.length);
    for (let i = 0; i < 2000; i++) one.set(`k${i}`, "v".repeat(1000));
    const left = await served.ask("/records", { headers: NDJSON });
    const leaving = (left.body as ReadableStream<Uint8Array>).getReader();
    await leaving.read();
    expect(served.store.stats().snapshotCount).toBeGreaterThan(0);
    await leaving.cancel();
    await expect.poll(() => served.store.stats().snapshotCount).toBe(0);
  });

  test("ends when nobody reads it, and when the server closes", async () => {
    const slow = await serve({ stallMs: 30 });
    const one = slow.store.sub("one");
    for (let i = 0; i < 2000; i++) one.set(`k${i}`, "v".repeat(1000));
    const stalled = await slow.ask("/records", { headers: NDJSON });
    await expect.poll(() => slow.store.stats().snapshotCount).toBe(0);
    await expect(stalled.text()).rejects.toThrow("too long");
    await slow.close();
    const one2 = served.store.sub("one");
    for (let i = 0; i < 2000; i++) one2.set(`k${i}`, "v".repeat(1000));
    const cut = await served.ask("/records", { headers: NDJSON });
    await served.close();
    await expect(cut.text()).rejects.toThrow("ended by the server");
    served = await serve();
  });
});

describe("a bulk load", () => {
  const load = (body: Asking["body"], more: Asking = {}): Asking => ({
    method: "POST",
    body,
    headers: { "content-type": "application/x-ndjson" },
    ...more,
  });

  test("stores every line it can, and tells which it could not", async () => {
    const lines = [
      '{"key":"a","value":"1"}',
      "",
      '{"key":"b","value":"/wD+","encoding":"base64","expiresIn":60000}\r',
      "{not json}",
      '{"key":"","value":"x"}',
      `{"key":"${"k".repeat(3000)}","value":"x"}`,
      '{"key":"e","value":""}',
      '["key"]',
      '{"key":"/w==","keyEncoding":"base64","value":"bytes"}',
      '{"key":"__proto__","value":"proto","__proto__":{"key":"polluted"}}',
      '{"key":"last","value":"no line feed"}',
    ];
    const result = await served.json("/records", { ...load(lines.join("\n")), status: 207 });
    expect(result).toMatchObject({ success: false, stored: 6, failed: 4 });
    expect(
      (result["failures"] as { line: number; status: number }[]).map(({ line, status }) => [line, status]),
    ).toEqual([
      [4, 400],
      [5, 400],
      [6, 400],
      [8, 400],
    ]);
    expect((result["failures"] as { error: string }[])[0]?.error).toContain("line 1, column 2");
    expect(await served.json("/records?keysOnly=true")).toMatchObject({ count: 6 });
    expect(await served.json("/record/b")).toMatchObject({ encoding: "base64", expiresAt: expect.any(Number) });
    expect(await served.json("/record/__proto__")).toMatchObject({ value: "proto" });
    expect(await served.json("/record/last")).toMatchObject({ value: "no line feed" });
    expect(await served.json("/records", { ...load("x\ny"), status: 400 })).toMatchObject({ stored: 0, failed: 2 });
    expect(await served.json("/records", load(""))).toEqual({ success: true, stored: 0, failed: 0, failures: [] });
    await served.json("/records", { ...load("{}", { headers: {} }), status: 415 });
    const mixed = load('{"key":"order:1","value":"1"}\n{"key":"user:1","value":"1"}', { as: "orders" });
    expect(await served.json("/records", { ...mixed, status: 207 })).toMatchObject({
      stored: 1,
      failures: [{ line: 2, status: 403, error: "Permission denied" }],
    });
  });

  test("takes pieces of any size, is held back by the disk, and gives up what it cannot keep", async () => {
    const whole = new TextEncoder().encode(
      Array.from({ length: 3000 }, (_, i) => `{"key":"é${i}","value":"${i}"}\n`).join(""),
    );
    let at = 0;
    let size = 1;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        size = (size * 7) % 1009;
        controller.enqueue(whole.subarray(at, at + size));
        at += size;
        if (at >= whole.length) controller.close();
      },
    });
    expect(await served.json("/records", load(body))).toMatchObject({ stored: 3000, failed: 0 });
    expect(await served.json("/records/count")).toEqual({ count: 3000 });
    const small = await serve({ bodyBytes: 1000 });
    const long = `{"key":"a","value":"1"}\n{"key":"b","value":"${"x".repeat(2000)}"}\n{"key":"c","value":"1"}\n`;
    expect(await small.json("/records", { ...load(long), status: 207 })).toMatchObject({
      stored: 2,
      failures: [{ line: 2, status: 413 }],
    });
    await small.close();
    const broken = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{"key":"kept","value":"1"}\n{"key":"lo')),
      pull: (controller) => controller.error(new Error("the client vanished")),
    });
    await served.json("/records", { ...load(broken), status: 400 });
    expect(await served.json("/record/kept")).toMatchObject({ value: "1" });
  });
});

test("a range is deleted whole, with a bound or all=true, in steps where it is large", async () => {
  const one = served.store.sub("one");
  for (let i = 0; i < 25_500; i++) one.set(`k${String(i).padStart(5, "0")}`, "v");
  served.store.sub("one", { keyEncoding: "binary" }).set(Uint8Array.of(0x6b, 0x31, 0xff), "bytes");
  const clear = (query: string, status = 200) => served.json(`/records${query}`, { method: "DELETE", status });
  await clear("", 400);
  await clear("?prefix=", 400);
  await clear("?reverse=true", 400);
  expect(await clear("?start=k00010&end=k00019")).toEqual({ success: true, deleted: 10 });
  expect(await clear("?prefix=none")).toMatchObject({ deleted: 0 });
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  expect(await clear("?after=k00099")).toEqual({ success: true, deleted: 25_401 });
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
  expect(await served.json("/records/count")).toEqual({ count: 90 });
  served.store.sub("two").set("k", "other");
  expect(await clear("?all=true")).toEqual({ success: true, deleted: 90 });
  expect(served.store.sub("two").get("k")).toBe("other");
});

describe("a snapshot", () => {
  test("shows its moment to reads, ranges and counts, until it is deleted", async () => {
    await served.json("/record/a", put("old"));
    const { id, version } = await served.json("/snapshots", { method: "POST", status: 201 });
    const tag = (await served.ask("/record/a")).headers.get("etag");
    expect(`"${version}"`).toBe(tag);
    await served.json("/record/a", put("new"));
    await served.json("/record/b", put("new"));
    const seen = await served.ask(`/record/a?snapshot=${id}`);
    expect([seen.headers.get("etag"), await seen.json()]).toEqual([tag, { key: "a", value: "old" }]);
    await served.json(`/record/b?snapshot=${id}`, { status: 404 });
    expect(await served.json(`/records?snapshot=${id}`)).toMatchObject({ count: 1, records: [{ value: "old" }] });
    expect(await linesOf(`/records?snapshot=${id}`)).toEqual([{ key: "a", value: "old" }]);
    expect(await served.json(`/records/count?snapshot=${id}`)).toEqual({ count: 1 });
    for (const path of ["/record/a", "/records", "/records/count"]) {
      await served.json(`${path}?snapshot=${id}`, { as: "two", status: 410 });
      await served.json(`${path}?snapshot=none`, { status: 410 });
    }
    await served.json(`/snapshots/${id}`, { method: "DELETE", as: "two", status: 404 });
    await served.json(`/snapshots/${id}`, { method: "DELETE" });
    await served.json(`/snapshots/${id}`, { method: "DELETE", status: 404 });
    await served.json(`/record/a?snapshot=${id}`, { status: 410 });
    expect(served.store.stats().snapshotCount).toBe(0);
  });

  test("closes when nobody reads it, but not under a stream, and is one of a few", async () => {
    const short = await serve({ snapshotIdleMs: 80, snapshotsMax: 2 });
    const one = short.store.sub("one");
    for (let i = 0; i < 2000; i++) one.set(`k${i}`, "v".repeat(1000));
    // Where the walk goes on as bytes it reads through the snapshot anew.
    short.store.sub("one", { valueEncoding: "binary" }).set("z", NO_TEXT);
    const { id } = await short.json("/snapshots", { method: "POST", status: 201 });
    await short.json("/snapshots", { method: "POST", status: 201 });
    await short.json("/snapshots", { method: "POST", status: 429 });
    await short.json("/snapshots", { method: "POST", status: 201, as: "two" });
    expect(short.store.stats().snapshotCount).toBe(3);
    const response = await short.ask(`/records?snapshot=${id}`, { headers: NDJSON });
    await pause(250);
    expect(short.store.stats().snapshotCount).toBeLessThan(3);
    const text = await response.text();
    expect(text.split("\n").length).toBe(2002);
    await expect.poll(() => short.store.stats().snapshotCount).toBe(0);
    await short.json(`/records?snapshot=${id}`, { status: 410 });
    await short.close();
  });
});

test("figures are for those who may see all, and those of the store for its administrators", async () => {
  await served.json("/record/a", put("1"));
  await served.json("/record/b", { ...put("1"), as: "two" });
  const admin = await served.json("/stats");
  expect(admin).toMatchObject({ "Total records": "2", tenant: { name: "one", keyCount: 1 }, store: { keyCount: 2 } });
  expect(admin["Device size"]).toMatch(/^\d+ bytes$/);
  for (const as of ["reader", "two"] as const) {
    const name = as === "two" ? "two" : "one";
    expect(await served.json("/stats", { as })).toEqual({ tenant: { name, keyCount: 1 } });
  }
});

test("a backup is a store again, whole and since an earlier one", async () => {
  for (let i = 0; i < 500; i++) served.store.sub("one").set(`k${i}`, "v".repeat(8000));
  served.store.sub("two").set("k", "other");
  const response = await served.ask("/backup");
  const version = response.headers.get("x-backup-version");
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/octet-stream"]);
  const device = new MemoryDevice();
  const image = await bytesOf(response);
  await restore(device, new Blob([image]).stream());
  const copy = await open(device);
  expect([copy.sub("one").count(), copy.sub("two").get("k")]).toEqual([500, "other"]);
  await copy.close();
  served.store.sub("one").set("new", "1");
  const rest = await served.ask(`/backup?since=${version}`);
  expect((await bytesOf(rest)).length).toBeLessThan(image.length / 2);
  await served.json("/backup?since=999999999", { status: 410 });
  await served.json("/backup?since=x", { status: 400 });
  const left = await served.ask("/backup");
  await left.body?.cancel();
  await expect.poll(() => served.store.stats().backupHeldBytes).toBe(0);
});

describe("a token", () => {
  test("is made of checked patterns, and makes no tokens and no snapshots", async () => {
    const wants = { subscribeKeys: ["a:*"], subscribePatterns: [], accessPattern: "^a:" };
    const { token, expiresAt } = await served.json("/token/websocket", post(wants));
    expect(token).toMatch(/^[A-Za-z0-9_.-]+$/);
    expect(expiresAt).toBeGreaterThan(Date.now());
    await served.json("/token/websocket", post({}));
    for (const body of [
      { subscribeKeys: "a" },
      { subscribeKeys: [1] },
      { subscribePatterns: {} },
      { accessPattern: 1 },
      { accessPattern: "(" },
    ]) {
      await served.json("/token/websocket", { ...post(body), status: 400 });
    }
    await served.json("/token/websocket", { ...post({}, { as: null }), status: 401 });
    const bearer = { as: null, headers: { authorization: `Bearer ${token}` } };
    await served.json("/token/websocket", { ...post({}, bearer), status: 403 });
    await served.json("/snapshots", { method: "POST", ...bearer, status: 403 });
    await served.json("/records?all=true", { method: "DELETE", ...bearer, status: 403 });
    for (const key of ["a:1", "b:1", "a:2"]) await served.json(`/record/${key}`, put("v"));
    expect(await served.json("/records?start=a:&end=a:~", bearer)).toMatchObject({ count: 2 });
    expect(await served.json("/records?prefix=a:", bearer)).toMatchObject({ count: 2 });
    await served.json("/records", { ...bearer, status: 403 });
    await served.json("/records?start=a:&end=b:", { ...bearer, status: 403 });
    await served.json("/records/count?prefix=a:", { ...bearer, status: 403 });
  });
});
