/** `cairn-kv/client` against a server on loopback: every call, pipelining, and what it does when the connection is lost. */
import { readFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type ClientOptions, type Connection, connect } from "../../adapters/client/index.ts";
import type { KeyEncoding, ValueEncoding } from "../../store/encoding.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, open, restore, scratchPaths } from "../store/harness.ts";
import { key, type RemoteServer, type ServerOptions, serve } from "./remote-server.ts";

const ends: (() => unknown)[] = [];
const clientEnds: (() => unknown)[] = [];
const path = scratchPaths();

afterEach(async () => {
  // What a client has not heard to be durable it waits for a server with.
  for (const end of [...clientEnds.splice(0), ...ends.splice(0).reverse()]) await end();
});

/** A server of a store in memory, or of the one given. */
async function started(options: Partial<ServerOptions> = {}, given?: Store): Promise<RemoteServer> {
  const store = given ?? (await open(":memory:", { history: { ms: 600_000 } }));
  const server = await serve(store, { keys: { secret: key("whole"), other: key("other") }, ...options });
  ends.push(() => server.close());
  return server;
}

/** A client that is closed with the test. */
async function client<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  { url }: { url: string },
  options: ClientOptions<K, V> = {},
) {
  const connection = await connect<K, V>(url, { key: "secret", pauseMs: 5, pauseMsMax: 100, ...options });
  clientEnds.push(() => connection.close());
  return connection;
}

describe("calls", () => {
  test("reads and writes as the store does", async () => {
    const server = await started();
    const db = await client(server);
    expect(await db.set("a", "1")).toBe(true);
    expect(await db.put("b", "zwei")).toBe(true);
    expect([await db.get("a"), await db.get("b"), await db.get("none")]).toEqual(["1", "zwei", undefined]);
    expect(await db.has("a")).toBe(true);
    const entry = await db.getEntry("a");
    expect(entry).toEqual({ value: "1", version: server.store.getEntry("a")?.version });
    expect(await db.set("a", "2", { ifVersion: 1e9 })).toBe(false);
    expect(await db.set("a", "2", { ifVersion: entry?.version as number, timestamp: 7 })).toBe(true);
    expect(await codeOf(() => db.put("a", "3", { timestamp: 6 }))).toBe("STALE_TIMESTAMP");
    const later = Date.now() + 60_000;
    await db.put("soon", "gone", { expiresAt: later });
    expect((await db.getEntry("soon"))?.expiresAt).toBe(later);
    expect(await db.getMany(["b", "none", "a"])).toEqual(["zwei", undefined, "2"]);
    expect([await db.delete("soon"), await db.delete("soon"), await db.del("b")]).toEqual([true, false, true]);
    expect(await db.append("log", "eins")).toBe(true);
    await db.append("log", new TextEncoder().encode(" zwei"));
    await db.patch("log", 5, "ZWEI!");
    expect(await db.get("log")).toBe("eins ZWEI!");
    expect(await codeOf(() => db.patch("log", 99, "x"))).toBe("OUT_OF_RANGE");
    expect([await db.increment("n"), await db.increment("n", -43n)]).toEqual([1n, -42n]);
    expect(await codeOf(() => db.increment("log"))).toBe("NOT_A_NUMBER");
    await db.merge("doc", { a: 1, b: { c: 2 } });
    await db.merge("doc", { b: { c: null, d: 3 } });
    expect(JSON.parse((await db.get("doc")) as string)).toEqual({ a: 1, b: { d: 3 } });
    expect(await db.update("n", (value) => `${value}!`)).toBe("-42!");
    await db.flush();
    expect(server.store.get("n")).toBe("-42!");
  });

  test("refuses what the store refuses, with its code and its words", async () => {
    const db = await client(await started());
    const long = "k".repeat(2049);
    for (const [code, call] of [
      ["KEY_SIZE", () => db.set(long, "")],
      ["KEY_SIZE", () => db.get("")],
      ["INVALID_ARGUMENT", () => db.set("a", 1 as never)],
      ["INVALID_ARGUMENT", () => db.increment("a", 1 as never)],
      ["INVALID_ARGUMENT", () => db.increment("a", (() => 1) as never)],
      ["OUT_OF_RANGE", () => db.increment("a", 2n ** 63n)],
      ["INVALID_ARGUMENT", () => db.patch("a", -1, "")],
      ["INVALID_ARGUMENT", () => db.clear({})],
      ["INVALID_ARGUMENT", () => db.compact({ maxMs: "long" } as never)],
      ["VERSION_COMPACTED", () => db.watch({ gte: "" }, { since: 2 ** 40 }).next()],
    ] as const) {
      expect([String(call), await codeOf(call)]).toEqual([String(call), code]);
    }
    const error = await errorOf(() => db.get(long));
    expect([error.operation, error.message]).toEqual(["get", expect.stringContaining("2049 bytes")]);
    expect(await db.count()).toBe(0);
  });

  test("does batches whole, over namespaces as well", async () => {
    const server = await started();
    const db = await client(server);
    const sub = db.sub("sub", { valueEncoding: "json" });
    await db.set("old", "x");
    const done = await db.batch([
      { type: "put", key: "a", value: "1" },
      { type: "del", key: "old" },
      { type: "del", key: "none" },
      { type: "put", key: "b", value: { deep: [1] }, sub } as never,
    ]);
    expect(done).toEqual([true, true, false, true]);
    expect([await db.get("a"), await db.has("old"), await sub.get("b")]).toEqual(["1", false, { deep: [1] }]);
    const batch = db.batch().set("c", "3").delete("a");
    batch.in(sub).set("d", null);
    expect(await batch.commitDurable()).toEqual([true, true, true]);
    expect(await db.batch().set("c", "4", { ifVersion: null }).set("e", "5").commit()).toEqual([false, false]);
    expect([await db.get("c"), await db.has("e"), await sub.get("d")]).toEqual(["3", false, null]);
    expect(server.store.sub("sub").get("d")).toBe("null");
  });

  test("walks ranges in blocks, through one snapshot, and can jump", async () => {
    const server = await started();
    for (let i = 0; i < 10_000; i++) server.store.set(`k${String(i).padStart(5, "0")}`, `v${i}`);
    const db = await client(server);
    const walk = db.entries({ gte: "k00100", lt: "k09000" });
    expect((await walk.next()).value).toEqual(["k00100", "v100"]);
    await db.clear({ gte: "k00500", lt: "k00600" });
    let count = 1;
    for await (const [found] of walk) {
      expect(found).toBe(`k${String(100 + count).padStart(5, "0")}`);
      count++;
    }
    expect(count).toBe(8900);
    expect(await db.count({ prefix: "k005" })).toBe(0);
    const keys = db.keys({ reverse: true });
    keys.seek("k00599");
    expect(await keys.nextv(2)).toEqual(["k00499", "k00498"]);
    await keys.return();
    expect(await db.values({ limit: 2 }).nextv(9)).toEqual(["v0", "v1"]);
    expect(await db.clear()).toBe(9900);
  });

  test("keeps bytes, tuples, JSON and a program's own codecs apart from text", async () => {
    const server = await started();
    const bytes = await client(server, { keyEncoding: "binary", valueEncoding: "binary" });
    const all = Uint8Array.from({ length: 256 }, (_, at) => at);
    await bytes.set(all, all);
    const got = (await bytes.get(all)) as Uint8Array;
    expect(got).toEqual(all);
    got.fill(0);
    expect(await bytes.get(all)).toEqual(all);
    const tuples = await client(server, { key: "other", keyEncoding: "tuple", valueEncoding: "json" });
    await tuples.set(["a", 1, true], { at: [null] });
    await tuples.set(["a", -1], "first");
    expect(await tuples.entries({ prefix: ["a"] }).nextv(9)).toEqual([
      [["a", -1], "first"],
      [["a", 1, true], { at: [null] }],
    ]);
    const dates = {
      name: "date",
      encode: (date: Date) => date.toISOString(),
      decode: (b: Uint8Array) => new Date(new TextDecoder().decode(b)),
    };
    const codec = await client(server, { key: "other", valueEncoding: dates });
    await codec.set("now", new Date(7));
    expect(await codec.get("now")).toEqual(new Date(7));
    expect(await bytes.count()).toBeGreaterThan(1);
  });

  test("reads through snapshots, and in transactions that are validated", async () => {
    const server = await started();
    const db = await client(server);
    const sub = db.sub("s");
    await db.set("a", "1");
    await sub.set("a", "sub");
    await using snapshot = await db.snapshot();
    await db.set("a", "2");
    await sub.delete("a");
    expect([await snapshot.get("a"), await snapshot.in(sub).get("a")]).toEqual(["1", "sub"]);
    expect(await snapshot.entries().nextv(9)).toEqual([["a", "1"]]);
    expect(await db.count({ snapshot })).toBe(1);
    let runs = 0;
    const result = await db.transact(async (tx) => {
      const value = await tx.get("a");
      if (runs++ === 0) await db.set("a", "3");
      await tx.set("b", `${value}!`);
      await tx.in(sub).increment("n", 2n);
      expect(await tx.get("b")).toBe(`${value}!`);
      return value;
    });
    expect([runs, result, await db.get("b"), await sub.get("n")]).toEqual([2, "3", "3!", "2"]);
    const failing = db.transact(async (tx) => {
      await tx.clear();
      throw new RangeError("no");
    });
    await expect(failing).rejects.toThrow(RangeError);
    const conflict = db.transact(async (tx) => tx.set("z", `${await tx.get("a")}${await db.increment("a")}`), {
      retries: 1,
    });
    expect(await codeOf(() => conflict)).toBe("CONFLICT");
    expect(await db.get("b")).toBe("3!");
    expect(await codeOf(() => db.transact((tx) => tx.set("k".repeat(3000), "")))).toBe("KEY_SIZE");
  });

  test("watches keys and ranges, from a version on as well", async () => {
    const server = await started();
    const db = await client(server);
    await db.put("u:1", "one");
    const since = server.store.version;
    const watch = db.watch({ prefix: "u:" });
    const ofKeys = db.watch(["x", "u:2"]);
    await ofKeys.next;
    await db.put("u:2", "two");
    await db.put("v:1", "no");
    await db.del("u:1");
    const strip = ({ version: _, ...change }: { version: number }) => change;
    const seen = [strip((await watch.next()).value as never), strip((await watch.next()).value as never)];
    expect(seen).toEqual([
      { type: "set", key: "u:2", value: "two" },
      { type: "delete", key: "u:1" },
    ]);
    expect((await ofKeys.next()).value).toMatchObject({ key: "u:2", value: "two" });
    const past = db.watch({ prefix: "u:" }, { since });
    expect([(await past.next()).value?.key, (await past.next()).value?.key]).toEqual(["u:2", "u:1"]);
    const stopped = watch.next();
    await watch.return();
    expect(await stopped).toEqual({ done: true, value: undefined });
    expect(await codeOf(() => db.watch({}, { durable: false } as never))).toBe("UNSUPPORTED");
    const abort = new AbortController();
    const aborted = db.watch(["a"], { signal: abort.signal }).next();
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
  });

  test("tells of the whole store, verifies and compacts it, and backs it up", async () => {
    const server = await started();
    const db = await client(server);
    for (let i = 0; i < 2000; i++) server.store.set(`k${i}`, "v".repeat(500));
    await db.sub("inner").put("a", "1");
    expect((await db.stats()).keyCount).toBe(2001);
    const progress: number[] = [];
    expect(await db.verify({ onProgress: ({ done }) => progress.push(done) })).toMatchObject({ ok: true, keys: 2001 });
    expect(progress.length).toBeGreaterThan(0);
    expect(await db.compact({ full: true })).toMatchObject({ done: true });
    const target = path();
    const backup = db.backup();
    const report = await restore(target, backup);
    expect(report).toBeDefined();
    const copy = await open(target);
    expect([copy.count(), copy.sub("inner").get("a")]).toEqual([2000, "1"]);
    await copy.close();
    const cancelled = db.backup().getReader();
    await cancelled.read();
    await cancelled.cancel();
    await db.backup().cancel();
  });
});

test("a walk whose last entries were fetched jumps forward, either way", async () => {
  const db = await client(await started());
  for (const name of ["a", "b", "c", "d"]) await db.set(name, name);
  for (const [reverse, target, wanted] of [
    [false, "bb", ["c", "d"]],
    [true, "bb", ["b", "a"]],
    [false, "e", []],
  ] as const) {
    const walk = db.keys({ reverse });
    // It has come whole by then.
    await db.count();
    walk.seek(target);
    expect(await walk.nextv(9)).toEqual(wanted);
  }
});

test("the program of docs/server/client.md runs", async () => {
  const page = readFileSync(new URL("../../docs/server/client.md", import.meta.url), "utf8");
  const program = /```js\n([\s\S]*?)```/.exec(page)?.[1] as string;
  const server = await started();
  const body = program.replace(/^import .*$/m, "").replace("wss://db.example", server.url);
  const run = Object.getPrototypeOf(async () => undefined).constructor as new (
    ...parts: string[]
  ) => (...given: unknown[]) => Promise<unknown>;
  const result = await new run("connect", "API_KEY", `${body}; return { names, change };`)(connect, "secret");
  expect(result).toMatchObject({ names: ["Ada", "Grace"], change: { type: "set", key: "user:3", value: "Barbara" } });
  expect(server.store.get("visits")).toBe("2");
  expect([...server.store.sub("seen").keys()]).toEqual(["user:1"]);
});

describe("many at once", () => {
  test("does calls in their order, however many are made", async () => {
    const server = await started();
    const db = await client(server);
    const count = 30_000;
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < count; i++) calls.push(i % 3 === 0 ? db.set("k", `${i}`) : db.get("k"));
    const answers = await Promise.all(calls);
    const wrong = answers.filter((answer, i) => answer !== (i % 3 === 0 ? true : `${i - (i % 3)}`));
    expect(wrong).toEqual([]);
  });

  test("moves values of many sizes both ways, larger than the window and than a frame", async () => {
    const server = await started({ frameBytes: 3 * 1024 * 1024, limits: { windowSize: 256 * 1024 } });
    const db = await client(server);
    const sizes = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 700_000, 2_900_000];
    const values = sizes.map((size) => "é".repeat(size >> 1) + "x".repeat(size & 1));
    await Promise.all(values.map((value, at) => db.put(`k${at}`, value)));
    const got = await Promise.all(values.map((_, at) => db.get(`k${at}`)));
    expect(got.map((value) => value?.length)).toEqual(values.map((value) => value.length));
    expect(got).toEqual(values);
    const [large, small] = await Promise.allSettled([db.put("large", "x".repeat(3_200_000)), db.put("small", "1")]);
    expect(large).toMatchObject({ status: "rejected", reason: { code: "BATCH_SIZE" } });
    expect(small).toMatchObject({ status: "fulfilled", value: true });
    expect([await db.has("large"), await db.get("small")]).toEqual([false, "1"]);
  });

  test("answers that are not read yet take little of the server's memory, however many were asked for", async () => {
    const server = await started();
    server.store.set("large", "x".repeat(1_000_000));
    server.store.flushSync();
    const db = await client(server);
    const all = await Promise.all([
      ...Array.from({ length: 100 }, () => db.get("large")),
      ...Array.from({ length: 50 }, () => db.getMany(["large", "large"]).then(([value]) => value)),
    ]);
    expect(all.every((value) => value?.length === 1_000_000)).toBe(true);
    expect(server.bufferedBytesMax).toBeGreaterThan(100_000);
    expect(server.bufferedBytesMax).toBeLessThan(5_000_000);
  });
});

/** Writes and what they came to, until told to stop. */
async function writeOn(db: Connection, isOver: () => boolean): Promise<Map<string, string>> {
  const outcomes = new Map<string, string>();
  for (let i = 0; !isOver(); i++) {
    const group = Array.from({ length: 20 }, (_, j) => `k${i * 20 + j}`);
    await Promise.all(
      group.map((name) =>
        (i % 2 === 0 ? db.set(name, name) : db.put(name, name)).then(
          () => outcomes.set(name, "done"),
          ({ code }) => outcomes.set(name, code),
        ),
      ),
    );
  }
  return outcomes;
}

describe("a connection that is lost", () => {
  test("is made anew: reads are asked again, writes are done or said to be in doubt, none is done twice", async () => {
    const server = await started();
    const db = await client(server);
    let isOver = false;
    const writing = writeOn(db, () => isOver);
    let count = 0;
    let doubt = 0;
    const counting = (async () => {
      while (!isOver) {
        await db.increment("n").then(
          () => count++,
          ({ code }) => {
            expect(code).toBe("DEVICE_WRITE");
            doubt++;
          },
        );
      }
    })();
    const reading = (async () => {
      while (!isOver) expect(await db.getMany(["none"])).toEqual([undefined]);
    })();
    for (let i = 0; i < 12; i++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      server.cut();
    }
    isOver = true;
    const outcomes = await writing;
    await Promise.all([counting, reading]);
    const codes = new Set(outcomes.values());
    codes.delete("done");
    codes.delete("DEVICE_WRITE");
    expect([...codes]).toEqual([]);
    for (const [name, outcome] of outcomes) if (outcome === "done") expect(server.store.get(name)).toBe(name);
    const n = Number(server.store.get("n") ?? 0);
    expect(n).toBeGreaterThanOrEqual(count);
    expect(n).toBeLessThanOrEqual(count + doubt);
  });

  test("what was answered and is not durable yet is not sent again to the server that has it", async () => {
    const store = await open(":memory:", { durability: "manual" });
    const server = await started({}, store);
    const db = await client(server);
    for (let i = 0; i < 10; i++) await db.increment("n");
    for (let i = 0; i < 3; i++) {
      server.cut();
      expect([await db.get("n"), store.durableVersion < store.version]).toEqual(["10", true]);
    }
  });

  test("leaves nothing behind at the server", async () => {
    const server = await started();
    const db = await client(server);
    for (let i = 0; i < 200; i++) await db.set(`k${i}`, "");
    await db.snapshot();
    await db.keys().next();
    db.transact(() => new Promise(() => undefined)).catch(() => undefined);
    await db.get("a");
    expect(server.store.stats().oldestSnapshotAgeMs).toBeGreaterThan(0);
    await db.close();
    await expect.poll(() => server.store.stats().oldestSnapshotAgeMs).toBe(0);
  });

  test("ends snapshots, walks, transactions and backups, and says so; transactions run again", async () => {
    const server = await started();
    const db = await client(server);
    for (let i = 0; i < 3000; i++) server.store.set(`k${i}`, "v".repeat(400));
    const snapshot = await db.snapshot();
    const walk = db.keys();
    await walk.next();
    const backup = db.backup().getReader();
    await backup.read();
    let runs = 0;
    const transaction = db.transact(async (tx) => {
      await tx.get("k1");
      if (runs++ === 0) {
        server.cut();
        await db.get("k1");
      }
      await tx.set("t", `${runs}`);
    });
    await transaction;
    expect([runs, await db.get("t")]).toEqual([2, "2"]);
    expect(await codeOf(() => snapshot.get("k1"))).toBe("SNAPSHOT_EXPIRED");
    expect(await codeOf(() => walk.nextv(2000))).toBe("SNAPSHOT_EXPIRED");
    expect(
      await codeOf(async () => {
        while (!(await backup.read()).done);
      }),
    ).toBe("SNAPSHOT_EXPIRED");
    await snapshot.close();
    expect(await (await db.snapshot()).get("t")).toBe("2");
    const error = await errorOf(() =>
      snapshot
        .in(db)
        .get("k1")
        .catch((reason) => {
          throw reason;
        }),
    );
    expect(error.message).not.toContain("worker");
  });

  test("watches go on without a gap and without doubles", async () => {
    const server = await started();
    const db = await client(server);
    const watch = db.watch({ prefix: "w" });
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { key: found } of watch) if (seen.push(found) === 300) break;
    })();
    await db.get("ready");
    for (let i = 0; i < 300; i++) {
      server.store.set(`w${String(i).padStart(3, "0")}`, "");
      if (i % 40 === 20) {
        await server.store.flush();
        await new Promise((resolve) => setTimeout(resolve, 15));
        server.cut();
      }
    }
    await server.store.flush();
    await watching;
    expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => `w${String(i).padStart(3, "0")}`));
  });

  test("a server that closes in order refuses nothing; calls wait for the one that comes", async () => {
    const file = path();
    let server = await started({}, await open(file));
    const db = await client(server);
    const { port } = server;
    const states: string[] = [];
    const other = await client(server, { onState: (state) => states.push(state) });
    const written = await client(server);
    await written.set("w", "1");
    let isOver = false;
    const writing = writeOn(db, () => isOver);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    // It has said that all is durable: nobody has to be reached.
    await written.close();
    const waiting = other.get("k0");
    server = await started({ port }, await open(file));
    await new Promise((resolve) => setTimeout(resolve, 50));
    isOver = true;
    const outcomes = await writing;
    expect([...new Set(outcomes.values())]).toEqual(["done"]);
    for (const name of outcomes.keys()) expect(server.store.get(name)).toBe(name);
    expect(await waiting).toBe("k0");
    expect(states).toContain("lost");
    expect(states.at(-1)).toBe("open");
  });

  test("is given up when nothing comes through it any more, though it stands", async () => {
    const server = await started({ limits: { idleMs: 300 } });
    const between: Socket[] = [];
    const proxy = createTcpServer((near) => {
      const far = connectTcp(server.port, "127.0.0.1");
      between.push(near, far);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    ends.push(() => {
      for (const socket of between) socket.destroy();
      return new Promise((resolve) => proxy.close(resolve));
    });
    const states: string[] = [];
    const { port } = proxy.address() as AddressInfo;
    const db = await client({ url: `ws://127.0.0.1:${port}` }, { onState: (state) => states.push(state) });
    await db.put("a", "1");
    for (const socket of between) {
      socket.unpipe();
      socket.pause();
    }
    expect(await db.get("a")).toBe("1");
    expect(states).toEqual(["connecting", "open", "lost", "connecting", "open"]);
  });

  test("calls reject with UNREACHABLE when no server comes back in time, and later ones try again", async () => {
    const file = path();
    let server = await started({}, await open(file));
    const { port } = server;
    const db = await client(server, { patienceMs: 100 });
    await server.close();
    expect(await codeOf(() => db.get("a"))).toBe("UNREACHABLE");
    server = await started({ port }, await open(file));
    await expect.poll(() => db.get("a").catch(() => "not yet")).toBe(undefined);
  });
});

describe("connecting", () => {
  const noServer = "ws://127.0.0.1:9";

  test("refuses what is no server's address, no option and no key", async () => {
    for (const [url, options] of [
      ["127.0.0.1:1", {}],
      ["ftp://127.0.0.1", {}],
      ["ws://me:pass@127.0.0.1", {}],
      ["ws://example.com", {}],
      [noServer, { keys: "x" }],
      [noServer, { key: "" }],
      [noServer, { key: "a", token: "b" }],
      [noServer, { timeoutMs: 0 }],
      [noServer, { durability: "manual" }],
      [noServer, { keyEncoding: "no" }],
    ] as const) {
      expect([url, options, await codeOf(() => connect(url, options as never))]).toEqual([
        url,
        options,
        "INVALID_ARGUMENT",
      ]);
    }
  });

  test("says when nobody is there, and when the key or token does not count", async () => {
    const error = await errorOf(() => connect(noServer, { timeoutMs: 50 }));
    expect([error.code, error.message]).toEqual(["UNREACHABLE", expect.stringContaining("127.0.0.1:9")]);
    const server = await started({ tokens: { fresh: key("whole") } });
    expect(await codeOf(() => connect(server.url, { key: "wrong" }))).toBe("FORBIDDEN");
    expect(await codeOf(() => connect(server.url, { token: "wrong" }))).toBe("FORBIDDEN");
    expect(await codeOf(() => connect(server.url))).toBe("FORBIDDEN");
    const tokens = ["stale", "fresh"];
    const db = await client(server, { key: undefined, token: async () => tokens.shift() ?? "fresh" });
    expect(await db.get("a")).toBe(undefined);
    expect(await codeOf(() => connect(server.url, { token: () => "stale" }))).toBe("FORBIDDEN");
  });

  test.runIf("WebSocket" in globalThis)(
    "goes through the runtime's own WebSocket, with the key in no URL",
    async () => {
      const server = await started();
      const urls: string[] = [];
      class Noting extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols);
          urls.push(url);
        }
      }
      const db = await client(server, { WebSocket: Noting as never });
      await db.put("a", "é");
      expect(await db.get("a")).toBe("é");
      expect(urls.join()).not.toContain("secret");
      for (const wrong of [{ key: "wrong" }, { token: "wrong" }, {}]) {
        expect(await codeOf(() => connect(server.url, { ...wrong, WebSocket: Noting as never }))).toBe("FORBIDDEN");
      }
    },
  );

  test("ends when the key is revoked, and when a token expires", async () => {
    const keys = { secret: key("whole"), other: key("other") };
    const server = await started({ keys });
    const db = await client(server);
    const other = await client(server, { key: "other" });
    await db.put("a", "1");
    keys.secret.revoked.abort();
    await expect.poll(() => db.get("a").catch(({ code }) => code)).toBe("FORBIDDEN");
    expect(await other.get("a")).toBe(undefined);
  });

  test("closes: what was written is durable, and later calls are refused", async () => {
    const server = await started();
    const db = await connect(server.url, { key: "secret" });
    const states: string[] = [];
    const watched = await connect(server.url, { key: "secret", onState: (state) => states.push(state) });
    const writes = Promise.all(Array.from({ length: 100 }, (_, i) => db.set(`k${i}`, "v")));
    const closing = db.close();
    await Promise.all([writes, closing]);
    expect(server.store.durableVersion).toBe(server.store.version);
    expect(await codeOf(() => db.get("k1"))).toBe("CLOSED");
    await db.close();
    const waiting = watched.watch(["a"]).next();
    await watched.get("a");
    await watched.close();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(states.at(-1)).toBe("closed");
    await expect.poll(() => server.count).toBe(0);
  });
});
