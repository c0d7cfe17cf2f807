/** Who is told about which changes, in which form, and when not. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { startServer, type TestServer } from "./hpkv-server.ts";
import { type RawSocket, rawSocket } from "./raw-socket.ts";

const SEND_QUEUE_BYTES = 1_048_576;

let server: TestServer;
let tenant: Store;
const opened: RawSocket[] = [];

beforeAll(async () => {
  server = await startServer({ limits: { sendQueueBytes: SEND_QUEUE_BYTES } });
  tenant = server.store.sub("acme");
});
afterAll(() => server.close());
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

async function connect(query = `apiKey=${server.apiKey}`): Promise<RawSocket> {
  const socket = await rawSocket(`${server.url}/ws?${query}`);
  opened.push(socket);
  return socket;
}

async function subscriber(body: object, apiKey = server.apiKey): Promise<RawSocket> {
  return connect(`token=${await server.token(body, apiKey)}`);
}

/** Waits until a connection has at least so many notifications, and gives all. */
async function told(socket: RawSocket, count: number): Promise<{ key: string; value: string | null }[]> {
  await expect.poll(() => socket.notices.length).toBeGreaterThanOrEqual(count);
  return socket.notices;
}

const pairs = (notices: { key: string; value: string | null }[]) => notices.map(({ key, value }) => [key, value]);

describe("a subscriber", () => {
  test("is told about each change of its keys once, in the order of commits, whoever made it", async () => {
    const socket = await subscriber({
      subscribeKeys: ["w:1", "w:*", "metrics:*"],
      subscribePatterns: ["w:*", "*:1", "w:1", "^w:[0-9]$"],
      accessPattern: "^w:",
    });
    const writer = await connect();
    await writer.ask({ op: 2, key: "w:1", value: "by WebSocket", messageId: 1 });
    await writer.ask({ op: 2, key: "not:told", value: "-", messageId: 2 });
    await writer.ask({ op: 6, key: "w:2", value: 41, messageId: 3 });
    await writer.ask({ op: 3, key: "w:2", value: "0", messageId: 4 });
    await tenant.put("w:a:b:c", "by the program");
    await tenant.batch([
      { type: "put", key: "w:3", value: "in a batch" },
      { type: "put", key: "other", value: "-" },
      { type: "del", key: "w:1" },
    ]);
    await tenant.put("w:3", "again");
    await writer.ask({ op: 4, key: "w:2", messageId: 5 });
    await tenant.put("metrics:", "5");
    const before = Date.now();
    expect(pairs(await told(socket, 9))).toEqual([
      ["w:1", "by WebSocket"],
      ["w:2", "41"],
      ["w:2", "410"],
      ["w:a:b:c", "by the program"],
      ["w:3", "in a batch"],
      ["w:1", null],
      ["w:3", "again"],
      ["w:2", null],
      ["metrics:", "5"],
    ]);
    for (const notice of socket.notices) {
      expect(Object.keys(notice).sort()).toEqual(["key", "timestamp", "type", "value"]);
      expect(Math.abs(notice.timestamp - before)).toBeLessThan(60_000);
    }
  });

  test("is told when the writer is, its own changes included", async () => {
    const socket = await subscriber({ subscribePatterns: ["own:*"], accessPattern: "^own:" });
    const other = await subscriber({ subscribePatterns: ["own:*"] });
    for (let i = 0; i < 20; i++) {
      await socket.ask({ op: 2, key: "own:1", value: String(i), messageId: i + 1 });
      // One more round trip: what was sent with the reply has come.
      await socket.ask({ op: 1, key: "own:1", messageId: 100 });
      await other.ask({ op: 1, key: "own:1", messageId: 100 });
      expect(socket.notices.length).toBe(i + 1);
      expect(other.notices.length).toBe(i + 1);
    }
  });

  test("sees a patch as the whole document, with what it deleted as null", async () => {
    const socket = await subscriber({ subscribeKeys: ["doc"], accessPattern: "^doc$" });
    const writer = await connect();
    const patches = [
      '{"a":1,"b":{"c":1,"d":2},"l":[1,2]}',
      '{"a":null,"b":{"c":null,"x":null},"e":3}',
      '{"l":[null]}',
      "tail",
    ];
    for (const [i, value] of patches.entries()) await writer.ask({ op: 3, key: "doc", value, messageId: i + 1 });
    const values = (await told(socket, 4)).map(({ value }) => value as string);
    expect(values[0]).toBe(patches[0]);
    expect(JSON.parse(values[1] as string)).toEqual({ a: null, b: { c: null, d: 2, x: null }, e: 3, l: [1, 2] });
    const stored = { b: { d: 2 }, e: 3, l: [null] };
    expect(JSON.parse(values[2] as string)).toEqual(stored);
    expect(values[3]).toBe(`${values[2]}tail`);
    expect(await writer.ask({ op: 1, key: "doc", messageId: 9 })).toMatchObject({ value: values[3] });
  });

  test("sees an expiry as a deletion, and bytes that are no text as base64", async () => {
    const socket = await subscriber({ subscribePatterns: ["x:*"] });
    const bytes = server.store.sub("acme", { keyEncoding: "binary", valueEncoding: "binary" });
    await bytes.put(Buffer.from("x:bytes"), Uint8Array.of(0xff, 1));
    await bytes.put(Uint8Array.of(0x78, 0x3a, 0xff), Uint8Array.of(1));
    await tenant.put("x:expires", "soon", { expiresIn: 30 });
    const notices = await told(socket, 3);
    expect(pairs(notices)).toEqual([
      ["x:bytes", "/wE="],
      ["x:expires", "soon"],
      ["x:expires", null],
    ]);
    expect(notices[0]).toMatchObject({ encoding: "base64" });
  });

  test("hears nothing of what was before it connected, and nothing twice after it has connected again", async () => {
    const token = await server.token({ subscribePatterns: ["again:*"] });
    const keeper = await connect(`token=${token}`);
    const writer = await connect();
    // Not durable yet: the watch that both share tells of it when the second one is there already.
    tenant.set("again:1", "early");
    const first = await connect(`token=${token}`);
    await tenant.flush();
    await writer.ask({ op: 2, key: "again:1", value: "one", messageId: 1 });
    await told(first, 1);
    first.close(1002);
    await first.ended();
    await writer.ask({ op: 2, key: "again:1", value: "missed", messageId: 2 });
    const second = await connect(`token=${token}`);
    await writer.ask({ op: 2, key: "again:1", value: "two", messageId: 3 });
    expect(pairs(await told(second, 1))).toEqual([["again:1", "two"]]);
    expect(pairs(await told(keeper, 4))).toEqual([
      ["again:1", "early"],
      ["again:1", "one"],
      ["again:1", "missed"],
      ["again:1", "two"],
    ]);
    expect(first.notices.length).toBe(1);
  });

  test("is of one tenant; connections with a key are told nothing", async () => {
    const mine = await subscriber({ subscribePatterns: ["*"] });
    const theirs = await subscriber({ subscribePatterns: ["*"] }, server.otherKey);
    const none = await subscriber({ subscribePatterns: [] });
    const writer = await connect();
    await writer.ask({ op: 2, key: "t", value: "mine", messageId: 1 });
    await server.store.sub("other").put("t", "theirs");
    expect(pairs(await told(mine, 1))).toEqual([["t", "mine"]]);
    expect(pairs(await told(theirs, 1))).toEqual([["t", "theirs"]]);
    await writer.ask({ op: 1, key: "t", messageId: 2 });
    expect(writer.notices).toEqual([]);
    expect(none.notices).toEqual([]);
  });

  test("sees a key's changes in their order when many write it at once", async () => {
    const socket = await subscriber({ subscribeKeys: ["sum"] });
    const writers = [await connect(), await connect(), await connect()];
    const each = 200;
    for (const writer of writers) {
      writer.send(...Array.from({ length: each }, (_, i) => ({ op: 6, key: "sum", value: 1, messageId: i + 1 })));
    }
    for (const writer of writers) await writer.replies(each);
    const values = (await told(socket, each * 3)).map(({ value }) => Number(value));
    expect(values).toEqual(Array.from({ length: each * 3 }, (_, i) => i + 1));
  });
});

describe("subscribers that are slow", () => {
  test("are ended, and those that read are told everything", async () => {
    const token = await server.token({ subscribePatterns: ["slow:*"] });
    const slow = await connect(`token=${token}`);
    const quick = await connect(`token=${token}`);
    slow.pause();
    const value = "x".repeat(100_000);
    const count = 300;
    for (let i = 0; i < count; i++) await tenant.put(`slow:${i}`, value);
    await told(quick, count);
    expect(quick.notices.map(({ key }) => key)).toEqual(Array.from({ length: count }, (_, i) => `slow:${i}`));
    slow.resume();
    expect(await slow.ended()).toBe(1006);
    expect(slow.notices.length).toBeLessThan(count);
    // It connects again, as clients do.
    const again = await connect(`token=${token}`);
    await tenant.put("slow:again", "1");
    expect(pairs(await told(again, 1))).toEqual([["slow:again", "1"]]);
  });

  test("get each key's latest change when the server itself cannot keep up", async () => {
    const socket = await subscriber({ subscribePatterns: ["burst:*"] });
    const keys = Array.from({ length: 120 }, (_, i) => `burst:${i}`);
    const value = "x".repeat(50_000);
    // More than a watch keeps, in one turn of the event loop.
    for (let round = 0; round < 3; round++) for (const key of keys) tenant.set(key, `${round}${value}`);
    tenant.delete("burst:7");
    await tenant.flush();
    const latest = (): Map<string, string | null> =>
      new Map(socket.notices.map((notice) => [notice.key, notice.value === null ? null : notice.value[0]]));
    const expected = new Map<string, string | null>(keys.map((key) => [key, key === "burst:7" ? null : "2"]));
    await expect.poll(() => [...latest()].sort()).toEqual([...expected].sort());
    expect(socket.notices.length).toBeLessThan(keys.length * 3);
  });
});
