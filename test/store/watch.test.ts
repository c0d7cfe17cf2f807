/** Watching: what a live watcher sees of every way to write, in which order, and when. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Change } from "../../store/watch.ts";
import { codeOf, garbageCollector, MemoryDevice, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { take, told } from "./watched.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
});
afterEach(() => store.close());

/** A signal, and how many listeners it has. */
function countedSignal(): { signal: AbortSignal; count: () => number } {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given: [string, never]) => {
    listeners.add(given[1]);
    addEventListener.apply(signal, given);
  };
  signal.removeEventListener = (...given: [string, never]) => {
    listeners.delete(given[1]);
    removeEventListener.apply(signal, given);
  };
  return { signal, count: () => listeners.size };
}

describe("a live watcher", () => {
  test("sees each change of each call once, in the order of commits, with the value of its version", async () => {
    store.set("old", "1");
    const watch = store.watch();
    store.set("a", "1");
    store.set("a", "2");
    await store.put("b", "x");
    store.delete("a");
    store.delete("a");
    await store.del("b");
    store.append("log", "one,");
    store.append("log", "two");
    store.patch("log", 0, "ONE");
    store.set("json", '{"a":1}');
    store.merge("json", { b: 2 });
    store.increment("n", 5n);
    store.increment("n");
    store.update("n", (n) => `${n}!`);
    store.update("n", () => undefined);
    store.batch().set("p", "1").delete("json").set("q", "2").set("p", "3").commit();
    store.transaction((tx) => {
      tx.set("t", "1");
      tx.delete("q");
    });
    await store.transact(async (tx) => void tx.set("u", tx.get("t") ?? ""));
    store.clear({ gte: "t" });
    const expected =
      'a=1 a=2 b=x -a -b log=one, log=one,two log=ONE,two json={"a":1} json={"a":1,"b":2} n=5 n=6 n=6! -n ' +
      "-json q=2 p=3 t=1 -q u=1 -t -u";
    const changes = await take(watch, expected.split(" ").length);
    expect(changes.map(told).join(" ")).toBe(expected);
    const versions = changes.map(({ version }) => version);
    expect(versions).toEqual([...versions].sort((x, y) => x - y));
    const ofBatch = changes.slice(14, 17).map(({ version }) => version);
    expect(new Set(ofBatch).size).toBe(1);
    expect(changes[21]?.version).toBe(changes[20]?.version);
    expect(changes[21]?.version).toBe(store.version);
    await watch.return();
  });

  test("sees its range, its keys, or its namespace, and nothing else", async () => {
    const users = store.sub("users");
    const deep = users.sub("deep", { valueEncoding: "json" });
    const all = store.watch();
    const range = store.watch({ gte: "b", lt: "d" });
    const prefix = store.watch({ prefix: "c" });
    const keys = store.watch(["a", "cc", "ü"]);
    const ofUsers = users.watch();
    const ofDeep = deep.watch();
    for (const key of ["a", "b", "c", "cc", "d", "ü"]) store.set(key, key);
    users.set("a", "in users");
    deep.set("a", { n: [1] });
    store.delete("cc");
    store.clear();
    store.set("z", "end");
    store.set("c", "end");
    store.set("cc", "end");
    users.set("z", "end");
    deep.set("z", "end");
    expect((await take(all, 7 + 5 + 3)).map(told).join(" ")).toBe(
      "a=a b=b c=c cc=cc d=d ü=ü -cc -a -b -c -d -ü z=end c=end cc=end",
    );
    expect((await take(range, 8)).map(told).join(" ")).toBe("b=b c=c cc=cc -cc -b -c c=end cc=end");
    expect((await take(prefix, 6)).map(told).join(" ")).toBe("c=c cc=cc -cc -c c=end cc=end");
    expect((await take(keys, 7)).map(told).join(" ")).toBe("a=a cc=cc ü=ü -cc -a -ü cc=end");
    expect((await take(ofUsers, 3)).map(told).join(" ")).toBe("a=in users -a z=end");
    expect((await take(ofDeep, 3)).map(({ value }) => value)).toEqual([{ n: [1] }, undefined, "end"]);
    for (const watch of [all, range, prefix, keys, ofUsers, ofDeep]) await watch.return();
  });

  test("sees values of every size, and bytes of its own", async () => {
    const bytes = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" });
    const first = bytes.watch();
    const second = bytes.watch();
    const sizes = [0, 1, 128, 129, 4096, 4097, 70_000, 131_072, 131_073, 700_000];
    const value = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 31 + size) & 0xff);
    for (const [i, size] of sizes.entries()) bytes.set(Uint8Array.of(1, i), value(size));
    bytes.batch(sizes.map((size, i) => ({ type: "set" as const, key: Uint8Array.of(2, i), value: value(size) })));
    const check = (seen: Change<Uint8Array, Uint8Array>[]): void => {
      for (const [i, { value: found = new Uint8Array(1) }] of seen.entries()) {
        const size = sizes[i % sizes.length] as number;
        expect(found.length).toBe(size);
        expect(found.every((byte, at) => byte === ((at * 31 + size) & 0xff))).toBe(true);
      }
    };
    const seen = await take(first, 2 * sizes.length);
    check(seen);
    // What one consumer does with its bytes is not seen by another.
    for (const { value: found } of seen) found?.fill(9);
    check(await take(second, 2 * sizes.length));
    await bytes.close();
  });

  test("sees an expired record go when it is taken away", async () => {
    const device = new MemoryDevice();
    const other = await open(device, { flushIntervalMs: 5 });
    const watch = other.watch();
    other.set("a", "1", { expiresIn: 20 });
    other.set("b", "2");
    await pause(40);
    expect(other.get("a")).toBeUndefined();
    await other.compact();
    await other.flush();
    expect((await take(watch, 3)).map(told).join(" ")).toBe("a=1 b=2 -a");
    await other.close();
  });

  test("sees more records go at once than the feed holds", async () => {
    const long = "k".repeat(2000);
    const watch = store.watch(undefined, { bufferBytes: 16 * 1024 * 1024 });
    const batch = store.batch();
    for (let i = 0; i < 500; i++) batch.set(`${long}${i + 100}`, `${i}`, { expiresIn: 30 });
    batch.commit();
    for (let i = 0; i < 500; i++) store.set(`x${long}${i + 100}`, `${i}`);
    store.clear({ prefix: "x" });
    await pause(40);
    await store.compact();
    await store.flush();
    // On a busy machine some expire before the others are written.
    const seen = await take(watch, 2000);
    expect(new Set(seen.filter(({ type }) => type === "set").map(({ key }) => key)).size).toBe(1000);
    const gone = seen.filter(({ type }) => type === "delete");
    expect(new Set(gone.map(({ key }) => key)).size).toBe(1000);
    expect(new Set(gone.filter(({ key }) => key.startsWith("x")).map(({ version }) => version)).size).toBe(1);
    await watch.return();
  });

  test("sees compressed values as they were written, of every size", async () => {
    const other = await open(new MemoryDevice(), { compression: "lz4" });
    const watch = other.watch(undefined, { durable: false });
    const values = [100, 1000, 5000, 100_000, 3_000_000].map((size) => "abc ".repeat(size / 4));
    for (const [i, value] of values.entries()) other.set(`${i}`, value);
    expect(
      other
        .batch()
        .set("b", values[2] as string)
        .commit(),
    ).toEqual([true]);
    await other.flush();
    const seen = await take(watch, values.length + 1);
    expect(seen.map(({ value }) => value)).toEqual([...values, values[2]]);
    await other.close();
  });

  test("what fails, or is refused, is not seen", async () => {
    const watch = store.watch();
    expect(store.set("a", "1", { ifVersion: 77 })).toBe(false);
    expect(() => store.set("", "1")).toThrow();
    expect(() =>
      store.transaction((tx) => {
        tx.set("a", "1");
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(await store.batch([{ type: "set", key: "b", value: "1", ifVersion: 5 }])).toEqual([false]);
    store.set("end", "1");
    expect((await take(watch, 1)).map(told)).toEqual(["end=1"]);
    await watch.return();
  });
});

describe("when a change is shown", () => {
  test("only what is on stable storage; with durable: false at once", async () => {
    const device = new ImageDevice();
    const other = await openTiny(device, { durability: "manual" });
    const durable = other.watch();
    const immediate = other.watch(undefined, { durable: false });
    const release = device.holdWrites();
    const written = other.put("a", "1");
    expect((await take(immediate, 1)).map(told)).toEqual(["a=1"]);
    let isShown = false;
    const shown = take(durable, 1).then((changes) => {
      isShown = true;
      return changes;
    });
    await pause(20);
    expect(isShown).toBe(false);
    release();
    await written;
    expect((await shown).map(told)).toEqual(["a=1"]);
    other.set("a", "2");
    const next = durable.next();
    other.flushSync();
    expect((await next).value).toEqual({ type: "set", key: "a", value: "2", version: other.version });
    await other.close();
  });

  test("on a poisoned store what was durable is given, then POISONED", async () => {
    const device = new ImageDevice();
    const other = await openTiny(device, { durability: "manual" });
    const watch = other.watch();
    await other.put("a", "1");
    other.set("b", "2");
    device.before = (operation) => {
      if (operation === "sync") throw new Error("the device is gone");
    };
    expect(await codeOf(() => other.flushSync())).toBe("DEVICE_WRITE");
    expect((await take(watch, 1)).map(told)).toEqual(["a=1"]);
    expect(await codeOf(() => watch.next())).toBe("POISONED");
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    await other.close();
  });

  test("closing gives what is queued, and ends", async () => {
    const other = await open(":memory:");
    const watch = other.watch();
    const idle = other.watch(["none"]);
    const waits = idle.next();
    other.set("a", "1");
    other.set("b", "2");
    await other.close();
    expect(await waits).toEqual({ done: true, value: undefined });
    expect((await take(watch, 2)).map(told).join(" ")).toBe("a=1 b=2");
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    expect(await codeOf(() => other.watch())).toBe("CLOSED");
  });
});

describe("the end of a watch", () => {
  test("a loop that breaks, return, and a signal end it", async () => {
    store.set("a", "0");
    const looped = store.watch();
    store.set("a", "1");
    store.set("a", "2");
    for await (const { value } of looped) {
      expect(value).toBe("1");
      break;
    }
    expect(await looped.next()).toEqual({ done: true, value: undefined });

    const returned = store.watch();
    const waits = returned.next();
    await returned.return();
    expect(await waits).toEqual({ done: true, value: undefined });

    const controller = new AbortController();
    const aborted = store.watch(undefined, { signal: controller.signal });
    store.set("a", "3");
    await store.flush();
    const next = aborted.next();
    expect((await next).value?.value).toBe("3");
    const waiting = aborted.next();
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await waiting.catch((error) => error)).toBe(reason);
    expect(await aborted.next()).toEqual({ done: true, value: undefined });
    expect(() => store.watch(undefined, { signal: controller.signal })).toThrow(reason);
  });

  test("calls of next are answered in their order", async () => {
    const watch = store.watch();
    const waiting = [watch.next(), watch.next(), watch.next()];
    store.batch().set("a", "1").set("b", "2").set("c", "3").commit();
    await store.flush();
    const keys = (await Promise.all(waiting)).map(({ value }) => value?.key);
    expect(keys).toEqual(["a", "b", "c"]);
    await watch.return();
  });

  test("one that a program drops is stopped", async () => {
    const collect = await garbageCollector();
    if (collect === undefined) return;
    (() => void store.watch())();
    const session = (store as unknown as { session: { changes: unknown } }).session;
    expect(session.changes).toBeDefined();
    for (let i = 0; i < 50 && session.changes !== undefined; i++) {
      collect();
      await pause(5);
    }
    expect(session.changes).toBeUndefined();
  });
});

describe("listeners of a signal", () => {
  test("are gone when a watch has failed, ended or was left", async () => {
    const { signal, count } = countedSignal();
    let isBroken = false;
    const codec = {
      name: "fragile",
      encode: (value: string) => value,
      decode: (): string => {
        if (isBroken) throw new Error("no such value");
        return "";
      },
    };
    const fragile = store.sub("fragile", { valueEncoding: codec });
    const failing = fragile.watch(undefined, { signal });
    const left = store.watch(undefined, { signal });
    const ending = store.watch(undefined, { signal });
    expect(count()).toBe(3);
    await left.return();
    expect(count()).toBe(2);
    isBroken = true;
    await fragile.put("a", "1");
    const loop = async (): Promise<void> => {
      for await (const _ of failing);
    };
    await expect(loop()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(count()).toBe(1);
    await store.close();
    for await (const _ of ending);
    expect(count()).toBe(0);
  });

  test("are gone when programs drop their watches", async () => {
    const collect = await garbageCollector();
    if (collect === undefined) return;
    const { signal, count } = countedSignal();
    (() => {
      for (let i = 0; i < 100; i++) store.watch(undefined, { signal });
    })();
    expect(count()).toBe(100);
    // What a stack or a register still holds may keep the last one.
    for (let i = 0; i < 100 && count() > 1; i++) {
      collect();
      await pause(5);
    }
    expect(count()).toBeLessThanOrEqual(1);
  });
});

describe("arguments", () => {
  test.for<[string, unknown, unknown]>([
    ["a limit", { limit: 5 }, {}],
    ["reverse", { reverse: true }, {}],
    ["a bound that is no key", { gt: 5 }, {}],
    ["an unknown part of a range", { from: "a" }, {}],
    ["a key that is none", [5], {}],
    ["options that are none", undefined, 5],
    ["an unknown option", undefined, { after: 5 }],
    ["a since that is no version", undefined, { since: -1 }],
    ["a since that is no number", undefined, { since: "1" }],
    ["a signal that is none", undefined, { signal: {} }],
    ["a durable that is none", undefined, { durable: 1 }],
    ["a buffer that is too small", undefined, { bufferBytes: 10 }],
  ])("%s is INVALID_ARGUMENT", async ([, what, options]) => {
    expect(await codeOf(() => store.watch(what as never, options as never))).toBe("INVALID_ARGUMENT");
  });

  test("history is checked, and a readOnly store is not watched", async () => {
    for (const history of [5, { bytes: -1 }, { ms: 1.5 }, { days: 1 }]) {
      expect(await codeOf(() => open(":memory:", { history: history as never }))).toBe("INVALID_ARGUMENT");
    }
    const device = new ImageDevice();
    await (await openTiny(device)).close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    expect(await codeOf(() => reader.watch())).toBe("UNSUPPORTED");
    await reader.close();
  });
});
