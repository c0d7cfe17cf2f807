/** HPKV's WebSocket protocol, frame by frame. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startServer, type TestServer } from "./hpkv-server.ts";
import { clientFrame, type RawSocket, Refused, rawSocket } from "./raw-socket.ts";

let server: TestServer;
const opened: RawSocket[] = [];

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

async function connect(query = `apiKey=${server.apiKey}`, path = "/ws", headers = {}): Promise<RawSocket> {
  const socket = await rawSocket(`${server.url}${path}?${query}`, headers);
  opened.push(socket);
  return socket;
}

async function statusOf(query: string, headers = {}): Promise<number> {
  try {
    await connect(query, "/ws", headers);
    return 101;
  } catch (error) {
    if (error instanceof Refused) return error.status;
    throw error;
  }
}

describe("the upgrade", () => {
  test("takes a key from the query or from a header, and a path with two slashes", async () => {
    expect(await statusOf(`apiKey=${server.apiKey}`)).toBe(101);
    expect(await statusOf("", { "x-api-key": server.apiKey })).toBe(101);
    const socket = await connect(`apiKey=${server.apiKey}`, "//ws");
    expect(await socket.ask({ op: 1, key: "none", messageId: 1 })).toMatchObject({ code: 404 });
  });

  test("is refused with 403 for credentials that do not count", async () => {
    const token = await server.token({ subscribeKeys: ["a"] });
    expect(await statusOf(`token=${token}`)).toBe(101);
    expect(await statusOf("")).toBe(403);
    expect(await statusOf("apiKey=wrong")).toBe(403);
    expect(await statusOf("token=invalid-token")).toBe(403);
    expect(await statusOf(`token=${token.slice(0, -2)}`)).toBe(403);
    expect(await statusOf(`token=${server.apiKey}`)).toBe(403);
    expect(await statusOf(`apiKey=${token}`)).toBe(403);
    // A token counts alone: beside one that does not, a key gives nothing.
    expect(await statusOf(`token=x&apiKey=${server.apiKey}`)).toBe(403);
  });

  test("says nothing until it is asked", async () => {
    const socket = await connect();
    await expect(socket.next(100)).rejects.toThrow("no frame");
  });
});

describe("replies", () => {
  test("of each operation have what clients look at, and no error", async () => {
    const socket = await connect();
    const key = 'r/%2E "quoted" ü\u0000';
    expect(await socket.ask({ op: 2, key, value: "12", messageId: 7 })).toEqual({
      code: 200,
      messageId: 7,
      success: true,
      message: expect.any(String),
    });
    expect(await socket.ask({ op: 1, key, value: "", messageId: 8 })).toEqual({
      code: 200,
      messageId: 8,
      key,
      value: "12",
    });
    expect(await socket.ask({ op: 6, key, value: -2, messageId: 9 })).toEqual({
      code: 200,
      messageId: 9,
      success: true,
      key,
      newValue: 10,
      result: 10,
    });
    expect(await socket.ask({ op: 3, key, value: "0", messageId: 10 })).toEqual({
      code: 200,
      messageId: 10,
      success: true,
      message: expect.any(String),
    });
    expect(await socket.ask({ op: 5, key, endKey: `${key}z`, messageId: 11 })).toEqual({
      code: 200,
      messageId: 11,
      records: [{ key, value: "100" }],
      count: 1,
      truncated: false,
    });
    expect(await socket.ask({ op: 4, key, value: "", messageId: 12 })).toEqual({
      code: 200,
      messageId: 12,
      success: true,
      message: expect.any(String),
    });
    for (const op of [1, 4]) {
      expect(await socket.ask({ op, key, messageId: 13 })).toEqual({
        code: 404,
        messageId: 13,
        key,
        error: "Record not found",
      });
    }
    expect(socket.sawBinary).toBe(false);
  });

  test("repeat the messageId digit by digit", async () => {
    const socket = await connect();
    for (const id of ["0", "-1", "1.5", "12345678901234567890", "1e400", "4e2", '"text"']) {
      socket.send(`{"value":{"messageId":3,"x":["\\"messageId\\":4"]},"op":1,"key":"none","message\\u0049d" : ${id} }`);
      const frame = await socket.next();
      const shown = id === "4e2" ? "400" : id;
      expect(frame).toContain(`"messageId":${shown},`);
      expect(JSON.parse(frame).code).toBe(404);
    }
    for (const id of ["", ',"messageId":null']) {
      socket.send(`{"op":1,"key":"none"${id}}`);
      expect(JSON.parse(await socket.next())).toEqual({ code: 404, key: "none", error: "Record not found" });
    }
    for (const id of ["{}", "[1]", "true", `"${"x".repeat(200)}"`]) {
      socket.send(`{"op":1,"key":"none","messageId":${id}}`);
      const reply = JSON.parse(await socket.next());
      expect(reply.code).toBe(400);
      expect(reply).not.toHaveProperty("messageId");
    }
  });

  test("to what is no request are 400 in an object, and the conversation goes on", async () => {
    const socket = await connect();
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    for (const frame of ["", "{", "null", "1", '"text"', "[]", "[{}]", "{}x", deep, '{"op":1', "\u0000"]) {
      const reply = await socket.ask(frame);
      expect(reply).toEqual({ code: 400, error: expect.any(String) });
    }
    socket.sendBytes(clientFrame(Uint8Array.of(0xff, 0xfe)));
    expect(JSON.parse(await socket.next())).toEqual({ code: 400, error: expect.any(String) });
    // Text in a binary frame is text.
    socket.sendBytes(clientFrame(Buffer.from('{"op":1,"key":"none","messageId":1}')));
    expect(JSON.parse(await socket.next())).toMatchObject({ code: 404, messageId: 1 });
    expect(await socket.ask({ op: 2, key: "after", value: "1", messageId: 2 })).toMatchObject({ code: 200 });
  });

  test("to members that are wrong are 400, and nothing is done", async () => {
    const socket = await connect();
    const key = "checked";
    await socket.ask({ op: 2, key, value: "1", messageId: 1 });
    const wrong: object[] = [
      { key },
      { op: "2", key, value: "2" },
      { op: 0, key },
      { op: 7, key },
      { op: 1.5, key },
      { op: null, key },
      { op: [2], key, value: "2" },
      { op: 1 },
      { op: 1, key: "" },
      { op: 1, key: 1 },
      { op: 1, key: null },
      { op: 1, key: "x".repeat(513) },
      { op: 1, key: "ü".repeat(257) },
      { op: 1, key: "\ud800" },
      { op: 2, key },
      { op: 2, key, value: "" },
      { op: 2, key, value: 2 },
      { op: 2, key, value: { a: 1 } },
      { op: 2, key, value: "x".repeat(102_400) },
      { op: 2, key, value: "ü".repeat(51_200) },
      { op: 2, key, value: "\udc00" },
      { op: 2, key, value: "MQ==", encoding: "hex" },
      { op: 2, key, value: "MQ=", encoding: "base64" },
      { op: 2, key, value: "M Q==", encoding: "base64" },
      { op: 2, key, value: Buffer.alloc(102_400).toString("base64"), encoding: "base64" },
      { op: 3, key, value: "" },
      { op: 3, key, value: "x".repeat(102_399) },
      { op: 6, key },
      { op: 6, key, value: "1" },
      { op: 6, key, value: 0.5 },
      { op: 6, key, value: 1e300 },
      { op: 6, key, value: null },
      { op: 5, key },
      { op: 5, key: "", endKey: "z" },
      { op: 5, key, endKey: "" },
      { op: 5, key, endKey: "z", limit: 0 },
      { op: 5, key, endKey: "z", limit: -1 },
      { op: 5, key, endKey: "z", limit: 1.5 },
      { op: 5, key, endKey: "z", limit: "5" },
    ];
    for (const [at, request] of wrong.entries()) {
      const reply = await socket.ask({ ...request, messageId: at + 10 });
      expect(reply, JSON.stringify(request).slice(0, 100)).toMatchObject({
        code: 400,
        messageId: at + 10,
        error: expect.any(String),
      });
      expect(reply).not.toHaveProperty("success");
    }
    expect(await socket.ask({ op: 1, key, messageId: 2 })).toMatchObject({ value: "1" });
  });

  test("of atomic operations know 64 bits", async () => {
    const socket = await connect();
    const key = "big";
    socket.send(`{"op":6,"key":"${key}","value":9007199254740993,"messageId":1}`);
    expect(await socket.next()).toContain('"newValue":9007199254740993,"result":9007199254740993');
    for (const value of ["9223372036854775808", "-9223372036854775809", "9223372036854775807", "1e25", "1.5e0"]) {
      const reply = await socket.ask(`{"op":6,"key":"${key}","value":${value},"messageId":2}`);
      expect(reply).toMatchObject({ code: 400, messageId: 2, key });
    }
    await socket.ask({ op: 2, key, value: "no number", messageId: 3 });
    expect(await socket.ask({ op: 6, key, value: 1, messageId: 4 })).toMatchObject({ code: 400 });
    expect(await socket.ask({ op: 6, key: "fresh", value: 1, messageId: 5 })).toMatchObject({ newValue: 1 });
    expect(await socket.ask({ op: 6, key: "fresh", value: 5, messageId: 6 })).toMatchObject({ newValue: 6 });
  });
});

describe("keys and values", () => {
  test("reach their limits", async () => {
    const socket = await connect();
    for (const key of ["k".repeat(512), "ü".repeat(256)]) {
      for (const value of ["v".repeat(102_399), "ü".repeat(51_199)]) {
        expect(await socket.ask({ op: 2, key, value, messageId: 1 })).toMatchObject({ code: 200 });
        expect(await socket.ask({ op: 1, key, messageId: 2 })).toMatchObject({ key, value });
      }
      // Readers of ranges go on from the last key and a NUL.
      const next = await socket.ask({ op: 5, key: `${key}\u0000`, endKey: `${key}\u0000z`, messageId: 3 });
      expect(next).toMatchObject({ code: 200, count: 0, truncated: false });
      await socket.ask({ op: 4, key, messageId: 4 });
    }
  });

  test("of bytes that are no text travel as base64, both ways", async () => {
    const socket = await connect();
    const bytes = Uint8Array.of(0xff, 0, 0x80, 0x41);
    const value = Buffer.from(bytes).toString("base64");
    const sub = server.store.sub("acme", { valueEncoding: "binary" });
    expect(await socket.ask({ op: 2, key: "b1", value, encoding: "base64", messageId: 1 })).toMatchObject({
      code: 200,
    });
    expect(sub.get("b1")).toEqual(bytes);
    expect(await socket.ask({ op: 1, key: "b1", messageId: 2 })).toEqual({
      code: 200,
      messageId: 2,
      key: "b1",
      value,
      encoding: "base64",
    });
    expect(await socket.ask({ op: 3, key: "b1", value, encoding: "base64", messageId: 3 })).toMatchObject({
      code: 200,
    });
    expect(sub.get("b1")).toEqual(Uint8Array.of(...bytes, ...bytes));
    // Bytes that are text are given as text.
    await socket.ask({ op: 2, key: "b2", value: "w7w=", encoding: "base64", messageId: 4 });
    expect(await socket.ask({ op: 5, key: "b1", endKey: "b2", messageId: 5 })).toMatchObject({
      records: [
        { key: "b1", value: Buffer.concat([bytes, bytes]).toString("base64"), encoding: "base64" },
        { key: "b2", value: "ü" },
      ],
    });
  });
});

describe("ranges", () => {
  test("are in the order of bytes, with both ends, a limit, and what is truncated", async () => {
    const socket = await connect();
    const keys = Array.from({ length: 120 }, (_, i) => `range:${String(i).padStart(3, "0")}`);
    socket.send(...keys.map((key, i) => ({ op: 2, key, value: key, messageId: i + 1 })));
    await socket.replies(keys.length);
    const all = { op: 5, key: "range:", endKey: "range:\u00ff", messageId: 1 };
    const page = await socket.ask(all);
    expect(page.records.map(({ key }: { key: string }) => key)).toEqual(keys.slice(0, 100));
    expect(page).toMatchObject({ count: 100, truncated: true });
    const rest = await socket.ask({ ...all, key: `${page.records[99].key}\u0000` });
    expect(rest.records.map(({ key }: { key: string }) => key)).toEqual(keys.slice(100));
    expect(rest).toMatchObject({ count: 20, truncated: false });
    expect(await socket.ask({ ...all, limit: 120 })).toMatchObject({ count: 120, truncated: false });
    expect(await socket.ask({ ...all, limit: 5000 })).toMatchObject({ count: 120, truncated: false });
    expect(await socket.ask({ ...all, key: "range:001", endKey: "range:003" })).toMatchObject({ count: 3 });
    expect(await socket.ask({ ...all, key: "range:z", endKey: "range:a" })).toMatchObject({
      records: [],
      count: 0,
      truncated: false,
    });
    // Replies stay below what HPKV's clients take.
    socket.send(...keys.slice(0, 30).map((key, i) => ({ op: 2, key, value: "x".repeat(100_000), messageId: i + 1 })));
    await socket.replies(30);
    socket.send(all);
    const frame = await socket.next();
    expect(frame.length).toBeLessThan(1_024_000);
    const large = JSON.parse(frame);
    expect(large.truncated).toBe(true);
    expect(large.count).toBeGreaterThan(5);
  });
});

describe("one connection", () => {
  test("has its requests done in their order, however many come in one packet", async () => {
    const socket = await connect();
    const rounds = 500;
    const requests: object[] = [];
    for (let i = 0; i < rounds; i++) {
      requests.push(
        { op: 2, key: "order", value: String(i), messageId: i * 5 + 1 },
        { op: 1, key: "order", messageId: i * 5 + 2 },
        { op: 6, key: "order", value: 1, messageId: i * 5 + 3 },
        { op: 1, key: "order", messageId: i * 5 + 4 },
        { op: 4, key: "order", messageId: i * 5 + 5 },
      );
    }
    socket.send(...requests);
    const replies = await socket.replies(requests.length);
    const byId = new Map(replies.map((reply) => [reply.messageId, reply]));
    expect(byId.size).toBe(requests.length);
    for (let i = 0; i < rounds; i++) {
      expect(byId.get(i * 5 + 2)).toMatchObject({ value: String(i) });
      expect(byId.get(i * 5 + 3)).toMatchObject({ newValue: i + 1 });
      expect(byId.get(i * 5 + 4)).toMatchObject({ value: String(i + 1) });
      expect(byId.get(i * 5 + 5)).toMatchObject({ code: 200 });
    }
  });

  test("may ask for far more than it reads: what is not read waits, and all of it is answered", async () => {
    const writer = await connect();
    const value = "x".repeat(100_000);
    await writer.ask({ op: 2, key: "large", value, messageId: 1 });
    const reader = await connect();
    reader.pause();
    const count = 400;
    reader.send(...Array.from({ length: count }, (_, i) => ({ op: 1, key: "large", messageId: i + 1 })));
    await new Promise((resolve) => setTimeout(resolve, 200));
    // Others are served meanwhile.
    expect(await writer.ask({ op: 1, key: "large", messageId: 2 })).toMatchObject({ code: 200 });
    reader.resume();
    const replies = await reader.replies(count);
    expect(new Set(replies.map(({ messageId }) => messageId)).size).toBe(count);
    expect(replies.every((reply) => reply.value === value)).toBe(true);
  });

  test("may vanish in the midst of a batch: what was acknowledged is there, and others go on", async () => {
    const other = await connect();
    for (let round = 0; round < 5; round++) {
      const socket = await connect();
      const requests = Array.from({ length: 300 }, (_, i) => ({
        op: 2,
        key: `v:${round}:${i}`,
        value: "1",
        messageId: i + 1,
      }));
      socket.send(...requests);
      await socket.next();
      socket.destroy();
      const acknowledged = socket.frames.map((frame) => JSON.parse(frame).messageId as number);
      for (const id of acknowledged.slice(-3)) {
        expect(await other.ask({ op: 1, key: `v:${round}:${id - 1}`, messageId: 1 })).toMatchObject({ value: "1" });
      }
    }
  });

  test("is closed as the client asks, and another one is taken at once", async () => {
    for (const code of [1000, 1002, 3001]) {
      const socket = await connect();
      socket.close(code);
      await socket.ended();
      expect(await (await connect()).ask({ op: 1, key: "none", messageId: 1 })).toMatchObject({ code: 404 });
    }
  });
});

describe("rights", () => {
  test("keep tenants apart", async () => {
    const mine = await connect();
    const theirs = await connect(`apiKey=${server.otherKey}`);
    await mine.ask({ op: 2, key: "secret", value: "mine", messageId: 1 });
    expect(await theirs.ask({ op: 1, key: "secret", messageId: 1 })).toMatchObject({ code: 404 });
    expect(await theirs.ask({ op: 5, key: "\u0000", endKey: "\uffff", messageId: 2 })).toMatchObject({ count: 0 });
  });

  test("follow the key's role", async () => {
    await (await connect()).ask({ op: 2, key: "role", value: "1", messageId: 1 });
    const socket = await connect(`apiKey=${server.readerKey}`);
    expect(await socket.ask({ op: 1, key: "role", messageId: 1 })).toMatchObject({ code: 200 });
    expect(await socket.ask({ op: 5, key: "role", endKey: "role", messageId: 2 })).toMatchObject({ count: 1 });
    for (const op of [2, 3, 4, 6]) {
      const reply = await socket.ask({ op, key: "role", value: op === 6 ? 1 : "2", messageId: 3 });
      expect(reply).toMatchObject({ code: 403, key: "role", messageId: 3 });
    }
    expect(await socket.ask({ op: 1, key: "role", messageId: 4 })).toMatchObject({ value: "1" });
  });

  test("of a token are what its accessPattern finds anywhere in the key", async () => {
    const owner = await connect();
    for (const key of ["sub-test-1", "xsub-test-2", "restricted-1"]) {
      await owner.ask({ op: 2, key, value: "1", messageId: 1 });
    }
    const socket = await connect(
      `token=${await server.token({ subscribeKeys: ["sub-test-1"], accessPattern: "sub-test-*" })}`,
    );
    for (const key of ["sub-test-1", "xsub-test-2"]) {
      expect(await socket.ask({ op: 1, key, messageId: 1 })).toMatchObject({ code: 200 });
      expect(await socket.ask({ op: 3, key, value: "2", messageId: 1 })).toMatchObject({ code: 200 });
    }
    for (const [op, value] of [[1], [2, "2"], [3, "2"], [4], [6, 1]]) {
      expect(await socket.ask({ op, key: "restricted-1", value, messageId: 2 })).toMatchObject({
        code: 403,
        messageId: 2,
        key: "restricted-1",
      });
    }
    const range = { op: 5, key: "sub-test-", endKey: "xsub-test-9", messageId: 3 };
    const { records } = await socket.ask(range);
    expect(records.map(({ key }: { key: string }) => key)).toEqual(["sub-test-1", "xsub-test-2"]);
    expect(await socket.ask({ ...range, endKey: "z" })).toMatchObject({ code: 403 });
    expect(await socket.ask({ ...range, key: "a" })).toMatchObject({ code: 403 });
  });

  test("of a token without accessPattern are those of its subscription", async () => {
    const socket = await connect(`token=${await server.token({ subscribePatterns: ["only:*"] })}`);
    expect(await socket.ask({ op: 2, key: "only:1", value: "1", messageId: 1 })).toMatchObject({ code: 200 });
    expect(await socket.ask({ op: 2, key: "other:1", value: "1", messageId: 2 })).toMatchObject({ code: 403 });
    const nothing = await connect(`token=${await server.token({})}`);
    expect(await nothing.ask({ op: 1, key: "only:1", messageId: 3 })).toMatchObject({ code: 403 });
  });
});
