/** What a transaction's writes may ask for, its partial updates, and entries: in transactions, through snapshots, in batches. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Transaction } from "../../store/transaction.ts";
import { Clock } from "./clock.ts";
import { codeOf, errorOf, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

let device: ImageDevice;
let store: Store;
let clock: Clock;

beforeEach(async () => {
  clock = new Clock();
  device = new ImageDevice();
  store = await openTiny(device);
});
afterEach(() => store.close());

/** Both kinds, so that what they share is tested over both. */
const KINDS: [string, <T>(fn: (tx: Transaction) => T) => Promise<T>][] = [
  ["transaction", async (fn) => store.transaction(fn)],
  ["transact", (fn) => store.transact(async (tx) => fn(tx))],
];

/** What a call throws, or what it gives. */
function codeIn(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

describe.for(KINDS)("%s", ([, run]) => {
  test("judges conditions at once, by what it sees", async () => {
    store.set("a", "1");
    const version = store.getEntry("a")?.version as number;
    await run((tx) => {
      expect(tx.getEntry("a")).toEqual({ value: "1", version });
      expect(tx.getEntry("none")).toBeUndefined();
      expect([tx.set("a", "x", { ifVersion: null }), tx.set("a", "x", { ifVersion: version + 1 })]).toEqual([
        false,
        false,
      ]);
      expect(tx.get("a")).toBe("1");
      expect([tx.set("b", "2", { ifVersion: null }), tx.set("b", "3", { ifVersion: null })]).toEqual([true, false]);
      expect(tx.getEntry("b")).toEqual({ value: "2", version: 0 });
      expect(tx.set("a", "2", { ifVersion: version })).toBe(true);
      // Its own write has no version that anybody could name.
      expect(tx.set("a", "3", { ifVersion: version })).toBe(false);
      expect([tx.delete("a", { ifVersion: version }), tx.delete("none", { ifVersion: null })]).toEqual([false, false]);
      expect([tx.delete("a"), tx.set("a", "4", { ifVersion: null })]).toEqual([true, true]);
    });
    expect([...store.entries()]).toEqual([
      ["a", "4"],
      ["b", "2"],
    ]);
    const entry = store.getEntry("a");
    await run((tx) => {
      expect(tx.delete("a", { ifVersion: entry?.version as number })).toBe(true);
      expect(tx.has("a")).toBe(false);
    });
    expect(store.has("a")).toBe(false);
  });

  test("refuses what is stale by what it sees, and keeps timestamps", async () => {
    store.set("a", "1", { timestamp: 10 });
    await run((tx) => {
      expect(tx.getEntry("a")?.timestamp).toBe(10);
      expect(codeIn(() => tx.set("a", "x", { timestamp: 9 }))).toBe("STALE_TIMESTAMP");
      expect(codeIn(() => tx.delete("a", { timestamp: 9 }))).toBe("STALE_TIMESTAMP");
      expect(tx.get("a")).toBe("1");
      expect(tx.set("a", "2", { timestamp: 12 })).toBe(true);
      expect(codeIn(() => tx.set("a", "x", { timestamp: 11 }))).toBe("STALE_TIMESTAMP");
      expect(tx.set("b", "2", { timestamp: 3 })).toBe(true);
    });
    expect(store.getEntry("a")).toMatchObject({ value: "2", timestamp: 12 });
    expect(store.getEntry("b")).toMatchObject({ value: "2", timestamp: 3 });
    // What is gone by its own doing makes nothing stale, at the end either.
    await run((tx) => {
      tx.delete("a");
      expect(tx.set("a", "3", { timestamp: 1 })).toBe(true);
    });
    expect(store.getEntry("a")).toMatchObject({ value: "3", timestamp: 1 });
  });

  test("gives records an expiry, which counts from the call, and hides its own that have expired", async () => {
    await run((tx) => {
      tx.set("a", "1", { expiresIn: 1000 });
      tx.set("b", "2", { expiresAt: clock.now + 5000 });
      tx.set("c", "3", { expiresIn: 10 });
      expect(tx.getEntry("a")).toEqual({ value: "1", version: 0, expiresAt: clock.now + 1000 });
      clock.turn(20);
      expect([tx.get("c"), tx.has("c"), tx.getEntry("c"), tx.count()]).toEqual([undefined, false, undefined, 2]);
      expect([...tx.keys()]).toEqual(["a", "b"]);
      expect(tx.delete("c")).toBe(false);
      expect(tx.set("c", "again", { ifVersion: null, expiresIn: 100 })).toBe(true);
    });
    const start = clock.now - 20;
    expect(store.getEntry("a")).toMatchObject({ value: "1", expiresAt: start + 1000 });
    expect(store.getEntry("b")).toMatchObject({ value: "2", expiresAt: start + 5000 });
    expect(store.get("c")).toBe("again");
    clock.turn(1000);
    expect([...store.keys()]).toEqual(["b"]);
    await store.close();
    store = await openTiny(device.reopen());
    expect([...store.keys()]).toEqual(["b"]);
    clock.turn(5000);
    expect(store.count()).toBe(0);
  });

  test("has the partial updates, over what is there and over what it wrote, keeping expiry and timestamp", async () => {
    const expiresAt = clock.now + 60_000;
    store.set("text", "one", { expiresAt, timestamp: 4 });
    store.set("n", "41");
    store.set("j", '{"x":1,"y":{"z":2}}', { timestamp: 9 });
    const json = store.sub("json", { valueEncoding: "json" });
    json.set("o", { a: 1 });
    const bytes = store.sub("bytes", { keyEncoding: "binary", valueEncoding: "binary" });
    const key = Uint8Array.of(255, 0);
    await run((tx) => {
      expect([tx.append("text", " two"), tx.append("text", "é"), tx.append("new", "n")]).toEqual([true, true, true]);
      expect([tx.patch("text", 0, "ON"), tx.patch("text", 9, Uint8Array.of(33, 33))]).toEqual([true, true]);
      expect(tx.get("text")).toBe("ONe two\u00e9!!");
      expect(tx.getEntry("text")).toMatchObject({ version: 0, expiresAt, timestamp: 4 });
      expect([tx.increment("n"), tx.increment("n", -50n), tx.increment("m")]).toEqual([42n, -8n, 1n]);
      expect(tx.merge("j", { y: { z: null, w: 3 }, x: 2 })).toBe(true);
      expect(tx.merge("j", { v: "é" })).toBe(true);
      expect(tx.in(json).merge("o", { b: [1] })).toBe(true);
      expect(tx.in(json).increment("count", 5n)).toBe(5n);
      expect(tx.in(json).get("count")).toBe(5);
      expect(tx.in(bytes).append(key, Uint8Array.of(1, 2))).toBe(true);
      expect(tx.in(bytes).patch(key, 1, Uint8Array.of(9))).toBe(true);
      expect(tx.update("up", (value) => `${value ?? "none"}!`)).toBe("none!");
      expect(tx.update("up", (value) => `${value}!`)).toBe("none!!");
      expect(tx.update("new", () => undefined)).toBeUndefined();
      expect(tx.has("new")).toBe(false);
      expect(tx.update("absent", () => undefined)).toBeUndefined();
    });
    expect(store.getEntry("text")).toMatchObject({ value: "ONe two\u00e9!!", expiresAt, timestamp: 4 });
    expect([store.get("n"), store.get("m"), store.get("up"), store.has("new")]).toEqual(["-8", "1", "none!!", false]);
    expect(store.getEntry("j")).toMatchObject({ value: '{"x":2,"y":{"w":3},"v":"é"}', timestamp: 9 });
    expect([json.get("o"), json.get("count")]).toEqual([{ a: 1, b: [1] }, 5]);
    expect(bytes.get(key)).toEqual(Uint8Array.of(1, 9));
    expect(store.increment("n", 8n)).toBe(0n);
  });

  test("reads and changes values of every size", async () => {
    const sizes = [0, 1, 128, 129, 5000, 70_000, 1_500_000];
    for (const size of sizes) store.set(`k${size}`, "v".repeat(size));
    await run((tx) => {
      for (const size of sizes) {
        expect(tx.getEntry(`k${size}`)?.value).toBe("v".repeat(size));
        tx.append(`k${size}`, "+");
        tx.patch(`k${size}`, 0, "-");
        expect(tx.get(`k${size}`)?.length).toBe(Math.max(size + 1, 1));
      }
    });
    for (const size of sizes) expect(store.get(`k${size}`)).toBe(size === 0 ? "-" : `-${"v".repeat(size - 1)}+`);
  });

  test("refuses what is wrong with any of it, names key and encoding, and changes nothing", async () => {
    const codec = {
      name: "picky",
      encode: (value: unknown) => {
        if (value === "bad") throw new Error("no");
        return String(value);
      },
      decode: (bytes: Uint8Array) => {
        if (bytes.length === 3) throw new Error("three");
        return new TextDecoder().decode(bytes) as unknown;
      },
    };
    const picky = store.sub("picky", { valueEncoding: codec });
    store.set("text", "hello");
    store.set("max", `${2n ** 63n - 1n}`);
    for (const [at, value] of ["-0", "007", "1e3", " 1", "", "9223372036854775808"].entries())
      store.set(`w${at}`, value);
    picky.set("three", "abc");
    const { version } = store;
    const codes: unknown[] = [];
    const messages: string[] = [];
    const trying = (body: () => unknown): void => {
      try {
        codes.push(body());
      } catch (error) {
        codes.push((error as { code: string }).code);
        messages.push((error as Error).message);
      }
    };
    await run((tx) => {
      const large = "x".repeat(40 * 2 ** 20);
      tx.set("large", large);
      trying(() => tx.append("large", large));
      expect(tx.get("large")?.length).toBe(large.length);
      trying(() => tx.patch("text", 6, "x"));
      trying(() => tx.patch("text", -1, "x"));
      trying(() => tx.append("text", 5 as never));
      trying(() => tx.append("", "x"));
      trying(() => tx.increment("text"));
      trying(() => tx.increment("text", 1 as never));
      trying(() => tx.increment("n", 2n ** 63n));
      trying(() => tx.increment("max"));
      for (let at = 0; at < 6; at++) trying(() => tx.increment(`w${at}`));
      const from = messages.length;
      trying(() => tx.merge("text", {}));
      trying(() => tx.in(picky).update("key", () => "bad"));
      trying(() => tx.in(picky).update("three", () => "good"));
      expect(messages[from]).toContain('"text"');
      expect(messages[from]).toContain("utf8");
      for (const message of messages.slice(from + 1)) expect(message).toContain("picky");
      expect(messages[from + 1]).toContain('"key"');
      expect(messages[from + 2]).toContain('"three"');
      trying(() => tx.update("text", (async () => "x") as never));
      trying(() => tx.update("text", 5 as never));
      trying(() =>
        tx.update("twice", () => {
          tx.set("twice", "in between");
          return "lost";
        }),
      );
      expect(tx.delete("twice")).toBe(true);
      trying(() => tx.set("text", "x", { ifVersion: 0 }));
      trying(() => tx.set("text", "x", { expiresIn: 0 }));
      trying(() => tx.set("text", "x", { nothing: 1 } as never));
      trying(() => tx.delete("text", { expiresIn: 5 } as never));
      trying(() => tx.in({} as never));
      tx.delete("large");
      expect(tx.count()).toBe(8);
    });
    expect(codes).toEqual([
      ...["VALUE_SIZE", "OUT_OF_RANGE", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "KEY_SIZE"],
      ...["NOT_A_NUMBER", "INVALID_ARGUMENT", "OUT_OF_RANGE", "OUT_OF_RANGE"],
      ...Array(6).fill("NOT_A_NUMBER"),
      ...["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
      ...["INVALID_ARGUMENT", "INVALID_ARGUMENT", "REENTRANT"],
      ...["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
    ]);
    // Only the deletions of what never was there.
    expect(store.version).toBeLessThanOrEqual(version + 1);
    expect(store.get("text")).toBe("hello");
  });

  test("leaves no trace of any of it when it throws, memory included", async () => {
    store.set("a", "1", { expiresIn: 60_000, timestamp: 3 });
    const before = store.stats();
    const entry = store.getEntry("a");
    for (let round = 0; round < 20; round++) {
      const thrown = run((tx) => {
        for (let i = 0; i < 200; i++) tx.set(`many ${i}`, "x".repeat(1000), { expiresIn: 5, timestamp: i });
        tx.append("a", "x".repeat(100_000));
        tx.increment("n");
        tx.set("a", "2", { ifVersion: null });
        throw new Error("rolled back");
      });
      await expect(thrown).rejects.toThrow("rolled back");
    }
    const { deviceReadCount, ...after } = store.stats();
    expect({ ...after, deviceReadCount }).toEqual({ ...before, deviceReadCount });
    expect(store.getEntry("a")).toEqual(entry);
  });
});

describe("transact", () => {
  test("has read what a condition, a partial update or an entry looked at", async () => {
    store.set("a", "1");
    const looks: ((tx: Transaction) => unknown)[] = [
      (tx) => tx.set("a", "2", { ifVersion: 999 }),
      (tx) => tx.set("a", "2", { timestamp: 5 }),
      (tx) => tx.delete("a", { ifVersion: 999 }),
      (tx) => tx.getEntry("a"),
      (tx) => tx.append("a", "x"),
      (tx) => tx.update("a", (value) => value),
      (tx) => tx.getMany(["a", "none"]),
    ];
    for (const look of looks) {
      let runs = 0;
      await store.transact(async (tx) => {
        runs += 1;
        await look(tx);
        tx.set("other", "1");
        if (runs === 1) store.set("a", `${runs}`);
      });
      expect(runs, look.toString()).toBe(2);
    }
    // A write that asks for nothing has read nothing.
    let runs = 0;
    await store.transact(async (tx) => {
      runs += 1;
      tx.set("a", "mine", { expiresIn: 1000 });
      store.set("a", "theirs");
    });
    expect([runs, store.get("a")]).toEqual([1, "mine"]);
  });

  test("sees entries as they were when it began", async () => {
    store.set("a", "1", { expiresIn: 1000, timestamp: 7 });
    const entry = store.getEntry("a");
    await store.transact(async (tx) => {
      store.set("a", "2");
      store.delete("a");
      expect(tx.getEntry("a")).toEqual(entry);
      expect(await tx.getMany(["a", "b", "a"])).toEqual(["1", undefined, "1"]);
    });
    expect(await codeOf(() => store.transact(async (tx) => tx.getMany("a" as never)))).toBe("INVALID_ARGUMENT");
  });

  test("with ifVersion of a record that has changed since is repeated, and sees the new one", async () => {
    store.set("a", "1");
    const { version } = store;
    const results: boolean[] = [];
    await store.transact(async (tx) => {
      results.push(tx.set("a", "mine", { ifVersion: version }));
      if (results.length === 1) store.set("a", "theirs");
    });
    expect(results).toEqual([true, false]);
    expect(store.get("a")).toBe("theirs");
  });
});

describe("a snapshot", () => {
  test("gives entries as they were, with their versions, whatever was written since", () => {
    store.set("a", "1", { expiresIn: 1000, timestamp: 7 });
    store.set("b", "x".repeat(100_000));
    const seen = [store.getEntry("a"), store.getEntry("b")];
    const users = store.sub("users");
    users.set("u", "1");
    const user = users.getEntry("u");
    const snapshot = store.snapshot();
    for (let i = 0; i < 3; i++) {
      store.set("a", `${i}`, { timestamp: 8 + i });
      store.append("b", "more");
    }
    store.delete("b");
    users.clear();
    expect([snapshot.getEntry("a"), snapshot.getEntry("b"), snapshot.getEntry("none")]).toEqual([...seen, undefined]);
    expect(snapshot.in(users).getEntry("u")).toEqual(user);
    // What had not expired when it was taken does not expire for it.
    clock.turn(2000);
    expect(snapshot.getEntry("a")).toEqual(seen[0]);
    snapshot.close();
    expect(codeIn(() => snapshot.getEntry("a"))).toBe("CLOSED");
  });
});

describe("a batch over namespaces", () => {
  test("is done whole: by the builder, by operations with sub, and after a crash", async () => {
    const users = store.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
    const inner = users.sub("inner");
    const batch = store.batch().set("count", "1");
    const inUsers = batch.in(users).set(["a"], { n: 1 }).set(["b"], { n: 2 }, { timestamp: 5 });
    inUsers.in(inner).set("i", "1", { expiresIn: 1000 });
    inUsers.delete(["none"]);
    expect([batch.length, inUsers.length]).toEqual([5, 5]);
    const { version } = store;
    expect(inUsers.commit()).toEqual([true, true, true, true, false]);
    expect([batch.length, store.version]).toEqual([0, version + 1]);
    expect([store.get("count"), users.get(["b"]), inner.get("i")]).toEqual(["1", { n: 2 }, "1"]);
    expect(users.getEntry(["b"])?.timestamp).toBe(5);
    const all = [
      { type: "set", key: "count", value: "2", ifVersion: store.getEntry("count")?.version as number },
      { type: "del", key: ["a"], sub: users },
      { type: "put", key: "i", value: "2", sub: inner },
      { type: "set", key: "back", value: "1", sub: store },
    ] as const;
    expect(await users.batch([{ ...all[1], ifVersion: 999 } as never])).toEqual([false]);
    expect(await store.batch(all)).toEqual([true, true, true, true]);
    expect([store.get("count"), users.has(["a"]), inner.get("i"), store.get("back")]).toEqual(["2", false, "2", "1"]);
    const after = await openTiny(ImageDevice.of(device.image()));
    expect(after.sub("users").sub("inner").get("i")).toBe("2");
    await after.close();
    // One condition of any of them decides for all.
    expect(
      await store.batch([
        { type: "set", key: "x", value: "1" },
        { type: "set", key: ["b"], value: 0, ifVersion: null, sub: users },
      ]),
    ).toEqual([false, false]);
    expect(store.has("x")).toBe(false);
    batch.in(users).set(["x"], 1);
    expect(batch.clear().in(users).length).toBe(0);
    expect(await batch.in(users).set(["y"], 1).commitDurable()).toEqual([true]);
    expect(users.get(["y"])).toBe(1);
  });

  test("refuses a foreign namespace, and what its encodings or limits refuse, whole", async () => {
    const other = await openTiny(new ImageDevice());
    const users = store.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
    const { version } = store;
    const first = { type: "set", key: "a", value: "1" } as const;
    const refused = async (second: object): Promise<string> => {
      const error = await errorOf(() => store.batch([first, second as typeof first]));
      return error.code;
    };
    expect([
      await refused({ ...first, sub: other.sub("users") }),
      await refused({ ...first, sub: {} }),
      await refused({ ...first, sub: null }),
      await refused({ ...first, sub: users }),
      await refused({ type: "set", key: ["k".repeat(2048)], value: 1, sub: users }),
      await refused({ type: "set", key: ["k"], value: undefined, sub: users }),
    ]).toEqual([...Array(4).fill("INVALID_ARGUMENT"), "KEY_SIZE", "INVALID_ARGUMENT"]);
    expect([store.version, store.has("a")]).toEqual([version, false]);
    await other.close();
  });
});
