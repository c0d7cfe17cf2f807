/** Clients that are none, or mean harm: frames of any bytes, calls that no client makes, floods; beside one that means well. */
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { connect } from "../../adapters/client/index.ts";
import { CborReader, CborWriter } from "../../store/connection/cbor.ts";
import { CALLS, readServerFrame } from "../../store/connection/frames.ts";
import { ARGUMENT_COUNTS, type WireCall } from "../../store/connection/wire.ts";
import { open, runSeed } from "../store/harness.ts";
import { key, type RemoteServer, type ServerOptions, serve } from "./remote-server.ts";

const seed = runSeed();
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function started(options: Partial<ServerOptions> = {}): Promise<RemoteServer> {
  const store = await open(":memory:");
  const server = await serve(store, { keys: { mine: key("mine"), theirs: key("theirs") }, ...options });
  ends.push(() => server.close());
  return server;
}

/** A socket of this protocol, without a client behind it. */
class Raw {
  readonly socket: WebSocket;
  readonly frames: Uint8Array[] = [];
  readonly ended: Promise<number>;
  private readonly opened: Promise<unknown>;

  constructor({ url }: RemoteServer) {
    this.socket = new WebSocket(url, ["cairn.v1"], { headers: { "x-api-key": "mine" } });
    this.opened = new Promise((resolve) => this.socket.once("message", resolve));
    this.ended = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("message", (data: Buffer) => this.frames.push(new Uint8Array(data)));
    this.socket.on("error", () => undefined);
  }

  static async open(server: RemoteServer): Promise<Raw> {
    const raw = new Raw(server);
    await raw.opened;
    return raw;
  }

  /** Sends items as a frame. */
  send(...items: unknown[]): void {
    const writer = new CborWriter();
    for (const item of items) writer.value(item);
    this.socket.send(writer.take());
  }

  /** The code of the failure with which a call is answered; "" when it is done. */
  async codeOf(id: number, ...items: unknown[]): Promise<string> {
    this.send(1, id, ...items);
    let found: string | undefined;
    await expect
      .poll(
        () => {
          for (const frame of this.frames.slice(1)) {
            const answers = readServerFrame(frame, "");
            if (answers.type !== "answers") continue;
            if (answers.ids.includes(id)) found = "";
            for (const [failed, { code }] of answers.failures) if (failed === id) found = code;
          }
          return found;
        },
        { timeout: 10_000 },
      )
      .toBeDefined();
    return found as string;
  }
}

const number = (call: WireCall): number => CALLS.indexOf(call);

test("frames that are none end their connection, and no other", async () => {
  const server = await started();
  const db = await connect(server.url, { key: "theirs" });
  await db.put("a", "1");
  const bad: (Uint8Array | string)[] = [
    "text",
    new Uint8Array(0),
    Uint8Array.of(0),
    Uint8Array.of(9),
    Uint8Array.of(1),
    Uint8Array.of(2, 1),
    // No such call; a call that is cut off; a face of numbers; a negative id; an array without end.
    Uint8Array.of(1, 1, 0x18, 99),
    Uint8Array.of(1, 1, 1),
    Uint8Array.of(1, 1, 0, 0x82, 1, 2),
    Uint8Array.of(1, 0x20, 1, 0x61, 0x61),
    Uint8Array.of(1, 1, 1, 0x9f),
    Uint8Array.of(1, 1, 1, 0x5a, 0xff, 0xff, 0xff, 0xff),
  ];
  for (const frame of bad) {
    const raw = await Raw.open(server);
    raw.socket.send(frame);
    expect([String(frame), await raw.ended]).toEqual([String(frame), typeof frame === "string" ? 1003 : 1002]);
  }
  const back = await Raw.open(server);
  back.send(1, 5, number("get"), "a");
  back.send(1, 4, number("get"), "a");
  expect(await back.ended).toBe(1002);
  expect(await db.get("a")).toBe("1");
  await db.close();
  await expect.poll(() => server.count).toBe(0);
});

test("calls that no client makes are refused, and do nothing", async () => {
  const server = await started();
  server.store.sub("mine").set("a", "1");
  const raw = await Raw.open(server);
  let id = 1;
  const codeOf = (call: WireCall, ...args: unknown[]): Promise<string> => raw.codeOf(id++, number(call), ...args);
  const through = (face: unknown[], call: WireCall, ...args: unknown[]): Promise<string> =>
    raw.codeOf(id++, 0, face, number(call), ...args);
  const whole = { gte: undefined, lt: undefined, reverse: false };
  for (const [call, ...args] of [
    ["get", 1],
    ["get", null],
    ["get", ["a"]],
    ["set", "a", { length: 1 }, undefined],
    ["set", "a", "2", [1]],
    ["set", "a", "2", { ifVersion: "x" }],
    ["set", "a", "2", { __proto: 1 }],
    ["patch", "a", "0", "x"],
    ["patch", "a", 1.5, "x"],
    ["increment", "a", 1],
    ["increment", "a", 2n ** 100n],
    ["getMany", "a"],
    ["getMany", [1]],
    ["batch", [["a", "2"], []]],
    ["batch", [["a", "2", undefined, "path"]]],
    ["batch", [["a", "2", undefined, [""]]]],
    ["batchDurable", { length: 1 }],
    ["count", undefined],
    ["count", { gte: 1 }],
    ["count", { limit: "x" }],
    ["count", { reverse: 1 }],
    ["walk", "all", whole, 10],
    ["walk", "toString", whole, 10],
    ["walk", "keys", whole, 0],
    ["walk", "keys", whole, -1],
    ["walk", "keys", whole, 2n],
    ["end", "x"],
    ["release", -1],
    ["commit"],
    ["rollback"],
    ["watch", { what: 1 }],
    ["watch", { what: ["a"], since: -1 }],
    ["watch", { what: ["a"], bufferBytes: 1 }],
    ["changes", {}],
    ["backup", "x"],
    ["compact", 7],
  ] as [WireCall, ...unknown[]][]) {
    expect([call, args, await codeOf(call, ...args)]).toEqual([
      call,
      args,
      expect.stringMatching(/^(INVALID_ARGUMENT|OUT_OF_RANGE)$/),
    ]);
  }
  // Names of namespaces lead down alone.
  expect(await through(["..", "theirs"], "get", "a")).toBe("");
  expect(await through([""], "get", "a")).toBe("INVALID_ARGUMENT");
  expect(await through([7], "get", "a")).toBe("SNAPSHOT_EXPIRED");
  // What a snapshot, or a transaction, has no calls for.
  expect(await codeOf("snapshot")).toBe("");
  for (const [call, ...args] of [
    ["set", "a", "2", undefined],
    ["clear", whole],
    ["flush"],
    ["batch", []],
    ["commit"],
  ] as [WireCall, ...unknown[]][]) {
    expect([call, await through([1], call, ...args)]).toEqual([call, "INVALID_ARGUMENT"]);
  }
  expect(await codeOf("begin")).toBe("");
  expect(await through([2], "put", "a", "2", undefined)).toBe("INVALID_ARGUMENT");
  expect(await through([2], "rollback")).toBe("");
  expect(await through([2], "commit")).toBe("SNAPSHOT_EXPIRED");
  expect(server.store.sub("mine").get("a")).toBe("1");
});

/** Frames as a client sends them, with any argument in any place. */
const argument = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    "a",
    "b",
    "mine",
    "theirs",
    0,
    1,
    2,
    64,
    -1,
    1.5,
    1n,
    {},
    [],
    ["a"],
    [["a", "1"]],
    true,
  ),
  fc.constantFrom<unknown>(
    { gte: new Uint8Array(0) },
    { lt: Uint8Array.of(0xff) },
    { what: ["a"] },
    { what: {}, since: 0 },
    { full: true },
  ),
  fc.constantFrom<unknown>(
    "keys",
    "entries",
    { ifVersion: null },
    { snapshot: 1, prefix: "a", gt: "a" },
    { path: ["theirs"] },
  ),
  fc.uint8Array({ maxLength: 20 }),
);
const call = fc.constantFrom(...CALLS.slice(1)) as fc.Arbitrary<WireCall>;
const face = fc.option(fc.array(fc.oneof(fc.constantFrom("a", "theirs", "mine", ".."), fc.nat(6)), { maxLength: 3 }), {
  nil: undefined,
});
const step = fc.record({ call, face, args: fc.array(argument, { minLength: 4, maxLength: 4 }) });

test("whatever one tenant's connections send, the server goes on, and another tenant's records stay", async () => {
  const server = await started();
  const theirs = await connect(server.url, { key: "theirs" });
  for (const name of ["a", "b", "mine"]) await theirs.put(name, name);
  await theirs.sub("a").put("a", "inner");
  server.store.set("a", "own");
  const version = new Map<string, number | undefined>();
  for (const name of ["a", "b", "mine"]) version.set(name, server.store.sub("theirs").getEntry(name)?.version);
  const other = server.store.sub("other");
  other.set("a", "1");
  let raw = await Raw.open(server);
  let id = 1;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 30 }),
      fc.nat(),
      fc.nat(1000),
      async (steps, place, byte) => {
        const writer = new CborWriter();
        writer.uint(1);
        writer.uint(id);
        for (const { call: name, face: on, args } of steps) {
          if (on !== undefined) {
            writer.uint(0);
            writer.value(on);
          }
          writer.uint(number(name));
          for (let i = 0; i < ARGUMENT_COUNTS[name]; i++) writer.value(args[i]);
        }
        id += steps.length;
        const frame = writer.take();
        // One in four is damaged as well.
        if (byte < 256) frame[place % frame.length] = byte;
        if (raw.socket.readyState !== WebSocket.OPEN) {
          raw = await Raw.open(server);
          id = 1000;
        }
        raw.socket.send(frame);
        if (byte % 8 === 0) expect(await theirs.get("a")).toBe("a");
      },
    ),
    { seed, numRuns: 1500, endOnFailure: true },
  );
  expect(await theirs.entries().nextv(9)).toEqual(["a", "b", "mine"].map((name) => [name, name]));
  for (const [name, before] of version) expect((await theirs.getEntry(name))?.version).toBe(before);
  expect(await theirs.sub("a").get("a")).toBe("inner");
  expect([server.store.get("a"), other.get("a")]).toEqual(["own", "1"]);
  await theirs.close();
  raw.socket.terminate();
  await expect.poll(() => server.count).toBe(0);
  expect((await server.store.verify()).ok).toBe(true);
});

test("who sends more than may be unanswered, and never reads, is ended; what it held is free", async () => {
  const server = await started({ limits: { windowSize: 4096, frameSizeMax: 8192, sendSizeHigh: 16_384 } });
  server.store.sub("mine").set("large", "x".repeat(100_000));
  const raw = await Raw.open(server);
  raw.socket.pause();
  const frame = new CborWriter();
  frame.uint(1);
  frame.uint(1);
  for (let i = 0; i < 500; i++) {
    frame.uint(number("get"));
    frame.value("large");
  }
  const calls = frame.take();
  raw.socket.send(calls);
  // The answers to one frame are more than the sockets between hold: the server does not go on, and more frames only wait.
  for (let i = 1; i < 30; i++) {
    const later = calls.slice();
    later[1] = 0;
    raw.socket.send(later);
  }
  raw.socket.resume();
  expect(await raw.ended).toBeGreaterThan(1000);
  await expect.poll(() => server.count).toBe(0);
  expect(server.store.stats().oldestSnapshotAgeMs).toBe(0);
});

test("a client that says nothing is gone after a while, and what is left unused ends before", async () => {
  const server = await started({ limits: { idleMs: 600, unusedMs: 150 } });
  const db = await connect(server.url, { key: "mine" });
  for (let i = 0; i < 300; i++) await db.set(`k${i}`, "");
  const snapshot = await db.snapshot();
  const walk = db.keys();
  await walk.next();
  const held = db.transact(async (tx) => {
    await tx.get("k1");
    await new Promise((resolve) => setTimeout(resolve, 700));
    await tx.set("k1", "late");
  });
  await expect(held).rejects.toMatchObject({ code: "SNAPSHOT_EXPIRED" });
  await expect(snapshot.get("k1")).rejects.toMatchObject({ code: "SNAPSHOT_EXPIRED" });
  await expect(walk.nextv(300)).rejects.toMatchObject({ code: "SNAPSHOT_EXPIRED" });
  // Its client pings: it is there still.
  expect([server.count, await db.get("k1")]).toEqual([1, ""]);
  const raw = await Raw.open(server);
  expect(await raw.ended).toBe(1001);
  await expect.poll(() => server.count).toBe(1);
  await db.close();
});

test("the first write of an empty store is told of as not durable, and then as durable", async () => {
  const server = await started();
  const raw = await Raw.open(server);
  raw.send(1, 1, number("set"), "a", "1", undefined);
  const said = (): unknown[] => raw.frames.slice(1).map((frame) => readServerFrame(frame, ""));
  await expect.poll(() => said().length).toBe(2);
  const version = server.store.sub("mine").getEntry("a")?.version;
  expect(said()).toEqual([
    { type: "answers", owner: "", ids: [1], values: [true], versions: [version], failures: [], durableVersion: 0 },
    { type: "durable", owner: "", durableVersion: version },
  ]);
  raw.socket.terminate();
});

test("items that are read one by one are those of the frame", () => {
  const reader = new CborReader(Uint8Array.of(0x61, 0x61, 0x41, 1, 0x81, 0x61, 0x62));
  expect([reader.bytesOrValue(), reader.bytesOrValue(), reader.bytesOrValue()]).toEqual([
    Uint8Array.of(0x61),
    Uint8Array.of(1),
    [Uint8Array.of(0x62)],
  ]);
});

test("what the processes of a server say to each other is refused over a network", async () => {
  const server = await started();
  const raw = await Raw.open(server);
  expect(await raw.codeOf(0, CALLS.indexOf("serve"), [9])).toBe("FORBIDDEN");
});
