/** What nobody means well: the documented answer, never 500, never another tenant's records, and nothing kept. */
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodedSegment } from "../../adapters/server/rest/address.ts";
import { breakOf, placeOf } from "../../adapters/server/rest/json-place.ts";
import { pause } from "../store/harness.ts";
import { type Asking, KEYS, type Served, serve } from "./rest-harness.ts";

/** Numbers that follow from a seed. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const SEED = Number(process.env["CAIRN_SEED"] ?? Date.now() % 2 ** 31);

test("the place of a break in JSON is where the parser breaks, and no valid text has one", () => {
  const roll = numbersFrom(SEED);
  const alphabet = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    '"a"',
    "\\",
    "\\u00e9",
    "1",
    "-",
    "0",
    ".",
    "e5",
    "true",
    "null",
    " ",
    "\n",
    "\t",
    "é",
    "x",
  ];
  const value = (depth: number): unknown => {
    const kind = roll(depth > 3 ? 4 : 6);
    if (kind === 0) return roll(1000) / 8;
    if (kind === 1) return ["", 'a"\\\n\u2028', "é😀", "__proto__"][roll(4)];
    if (kind === 2) return [true, false, null][roll(3)];
    if (kind === 3) return -roll(1e6);
    if (kind === 4) return Array.from({ length: roll(4) }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: roll(4) }, (_, i) => [`m${i}`, value(depth + 1)]));
  };
  for (let i = 0; i < 3000; i++) {
    let text = "";
    if (i % 3 === 0) for (let n = roll(12); n >= 0; n--) text += alphabet[roll(alphabet.length)];
    else {
      text = JSON.stringify(value(0), null, roll(2) * 2) ?? "null";
      if (i % 3 === 1) {
        const at = roll(text.length + 1);
        text = text.slice(0, at) + alphabet[roll(alphabet.length)] + text.slice(at + roll(2));
      }
    }
    let isValid = true;
    try {
      JSON.parse(text);
    } catch {
      isValid = false;
    }
    const at = breakOf(text);
    const whole = text.trimEnd().length;
    const where = `seed ${SEED}, text ${JSON.stringify(text)}, at ${at}`;
    if (isValid) expect(at, where).toBeGreaterThanOrEqual(whole);
    else {
      // What stands before the place could go on to be JSON; with it, nothing could.
      expect(at, where).toBeLessThanOrEqual(text.length);
      if (at < text.length) expect(breakOf(text.slice(0, at)), where).toBe(at);
    }
  }
  expect(placeOf('{\n "a": x}', 8)).toBe("line 2, column 7");
});

describe("random requests", () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve({ heartbeatMs: 20, snapshotIdleMs: 1000 });
  });
  afterAll(() => served.close());

  test("are answered below 500, in time, with what is the tenant's", async () => {
    const roll = numbersFrom(SEED);
    const any = <T>(list: readonly T[]): T => list[roll(list.length)] as T;
    const secret = "the other tenant's secret";
    served.store.sub("two").set("secret", secret);
    served.store.sub("two").set("k", secret);
    const words = [
      "k",
      "secret",
      "record",
      "..",
      ".",
      "%2e%2e",
      "two",
      "%ff",
      "%00",
      "%",
      "%zz",
      "é",
      "%C3%A9",
      "a%2Fb",
      "\\",
      "atomic",
      "count",
      "__proto__",
      "constructor",
      "/wD+",
      "_3R3b_9r",
      "%EF%BF%BD",
    ];
    const paths = [
      "/record",
      "/record/",
      "/records",
      "/records/count",
      "/record/atomic",
      "/snapshots",
      "/snapshots/",
      "/watch",
      "/stats",
      "/ping",
      "/token/websocket",
      "/openapi.json",
      "/",
      "//",
      "/search",
      "/nothing/",
    ];
    const names = [
      "key",
      "startKey",
      "endKey",
      "start",
      "end",
      "after",
      "prefix",
      "limit",
      "reverse",
      "keysOnly",
      "snapshot",
      "keyEncoding",
      "ttl",
      "timestamp",
      "since",
      "all",
      "token",
      "__proto__",
    ];
    const values = [
      "",
      "k",
      "1",
      "0",
      "-1",
      "true",
      "false",
      "base64",
      "99999999999999999999",
      "%25",
      "%2525",
      "%ff",
      "+",
      "a%26b",
      "%F0%9F%98%80",
      "%ED%A0%80",
      "NaN",
      "1e9",
    ];
    const headers: [string, string[]][] = [
      ["content-type", ["application/json", "application/x-ndjson", "text/plain", "text/plain; charset=x", "", ";;;"]],
      ["accept", ["application/x-ndjson", "text/plain", "*/*;q=0", "application/octet-stream", ",,;q=", "a/b"]],
      ["if-match", ["*", '"1"', "W/", '""', "x".repeat(500), '"1","2"']],
      ["if-none-match", ["*", '"1"', "é"]],
      ["last-event-id", ["1", "x", "", "99999999999999999999"]],
      ["x-ttl", ["1000", "-1", "x"]],
      ["content-length", ["0", "5", "x", "-1", "99999999999999"]],
      ["authorization", ["Bearer x", "Bearer", "bearer ", "Basic eA=="]],
    ];
    const json = [
      '{"key":"k","value":"v"}',
      '{"key":"k","increment":1}',
      '{"key":"k","value":"{}","partialUpdate":true}',
      '{"subscribeKeys":["k"]}',
      '{"__proto__":{"key":"k"},"value":"v"}',
      "{",
      "[]",
      '{"key":"\\ud800","value":"v"}',
      '{"key":"k","value":"x","encoding":"base64"}',
      "null",
      "\u0000",
      '{"key":"k","value":"v"}\n{"key":',
    ];
    const deadline = performance.now() + 20_000;
    let done = 0;
    for (; done < 1500 && performance.now() < deadline; done++) {
      let path = any(paths);
      for (let n = roll(3); n > 0; n--) path += any(words);
      const query = Array.from({ length: roll(4) }, () => `${any(names)}=${any(values)}${any(["", any(words)])}`);
      if (query.length > 0) path += `?${query.join("&")}`;
      const method = any(["GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]);
      const asking: Asking = {
        method,
        headers: {},
        as: any(["admin", "admin", "admin", "reader", "orders", "root", null]),
      };
      for (let n = roll(3); n > 0; n--) {
        const [name, list] = any(headers);
        const value = any(list);
        if ([...value].every((character) => character < "\u0080"))
          (asking.headers as Record<string, string>)[name] = value;
      }
      if (method !== "GET" && method !== "HEAD") {
        asking.body = any([
          any(json),
          any(json),
          Uint8Array.from({ length: roll(40) }, () => roll(256)),
          "x".repeat(roll(3) * 600_000),
        ]);
      }
      const where = `seed ${SEED}, request ${done}: ${method} ${path} ${JSON.stringify(asking.headers)} as ${asking.as}`;
      let response: Response;
      try {
        response = await Promise.race([
          served.ask(path, asking),
          pause(10_000).then(() => {
            throw new Error("no answer");
          }),
        ]);
      } catch (error) {
        if (error instanceof TypeError && /URL|header|method/i.test(error.message)) continue;
        throw new Error(where, { cause: error });
      }
      if (response.status >= 500 && response.status !== 501)
        throw new Error(`${where}: ${response.status} ${await response.text()}`);
      if (response.headers.get("content-type") === "text/event-stream") {
        await response.body?.cancel();
        continue;
      }
      const text = await response.text();
      if (text.includes(secret)) throw new Error(`${where}: shows another tenant's record`);
      if (response.status >= 400 && method !== "HEAD") {
        const { error, message } = JSON.parse(text);
        if (typeof error !== "string" || error === "" || error !== message) throw new Error(`${where}: ${text}`);
      }
    }
    expect(done).toBeGreaterThan(100);
    expect(served.errors).toEqual([]);
    expect(served.limits.bytes).toBe(0);
    await expect.poll(() => served.limits.connections).toBe(0);
    expect(served.store.sub("two").get("secret")).toBe(secret);
    expect(served.store.sub("two").count()).toBe(2);
    expect(({} as { key?: unknown }).key).toBeUndefined();
    await expect.poll(() => served.store.stats().snapshotCount).toBe(0);
  });
});

describe("over a socket", () => {
  let served: Served;
  let url: URL;
  beforeEach(async () => {
    served = await serve();
    url = new URL(await served.listen());
  });
  afterEach(() => served.close());

  const send = (text: string) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.on("error", () => undefined);
    socket.write(text.replaceAll("\n", "\r\n"));
    return socket;
  };
  const head = (line: string, more = "") => `${line} HTTP/1.1\nhost: x\nx-api-key: ${KEYS.admin.text}\n${more}\n`;

  test("a client that vanishes in the midst of a body or a bulk load harms nobody", async () => {
    send(`${head("POST /record", "content-length: 1000\n")}{"key":"half`).destroySoon();
    const bulk = send(head("POST /records", "content-type: application/x-ndjson\ntransfer-encoding: chunked\n"));
    const line = '{"key":"whole","value":"v"}\r\n';
    bulk.write(`${(line.length + 5).toString(16)}\r\n${line}{"key\r\n`);
    await expect.poll(() => served.tenants.operationsOf("one").get("whole")).toBe("v");
    bulk.destroy();
    await pause(20);
    expect(await served.json("/records/count")).toEqual({ count: 1 });
    expect(served.limits.bytes).toBe(0);
    expect(served.errors).toEqual([]);
  });

  test("a client that does not read a large stream has little of it made", async () => {
    const one = served.store.sub("one");
    for (let i = 0; i < 4000; i++) one.set(`k${i}`, "v".repeat(10_000));
    let made = 0;
    const socket = send(head("GET /records", "accept: application/x-ndjson\n"));
    socket.pause();
    socket.on("data", (piece) => {
      made += piece.length;
    });
    await pause(200);
    expect(await served.json("/record/k1")).toMatchObject({ key: "k1" });
    expect(served.store.stats().snapshotCount).toBeGreaterThan(0);
    socket.destroy();
    await expect.poll(() => served.store.stats().snapshotCount).toBe(0);
    expect(made).toBeLessThan(40_000_000);
  });
});

test("a path of raw bytes stands for the UTF-8 that they are, and for nothing else", () => {
  const raw = (text: string) => String.fromCharCode(...new TextEncoder().encode(text));
  expect(decodedSegment(raw("ü😀"))).toBe("ü😀");
  expect(decodedSegment(`${raw("ü")}%C3%BC`)).toBe("üü");
  expect(decodedSegment("日本")).toBe("日本");
  for (const path of ["\u00ff", "\ud800", `${raw("ü")}%`]) expect(() => decodedSegment(path)).toThrow("The path is no");
});
