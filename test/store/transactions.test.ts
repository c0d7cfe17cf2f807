/** Transactions: their own writes, all or nothing, and what goes wrong. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Transaction } from "../../store/transaction.ts";
import { codeOf, errorOf, MemoryDevice, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
  for (let i = 0; i < 6; i++) store.set(`k${i}`, `v${i}`);
});
afterEach(() => store.close());

/** Both kinds, so that what they share is tested over both. */
const KINDS: [string, <T>(fn: (tx: Transaction) => T) => Promise<T>][] = [
  ["transaction", async (fn) => store.transaction(fn)],
  ["transact", (fn) => store.transact(async (tx) => fn(tx))],
];

describe.for(KINDS)("%s", ([, run]) => {
  test("reads its own writes, nobody else does, and all are there at its end with one version", async () => {
    const { version } = store;
    const result = await run((tx) => {
      expect(tx.set("a", "1")).toBe(true);
      tx.set("k1", "changed");
      expect([tx.delete("k2"), tx.delete("k2"), tx.delete("none")]).toEqual([true, false, false]);
      tx.set("gone", "1");
      expect(tx.delete("gone")).toBe(true);
      expect([tx.get("a"), tx.get("k1"), tx.get("k2"), tx.get("gone"), tx.get("k3")]).toEqual([
        "1",
        "changed",
        undefined,
        undefined,
        "v3",
      ]);
      expect([tx.has("a"), tx.has("k2"), tx.has("k3")]).toEqual([true, false, true]);
      expect([store.get("a"), store.get("k1"), store.has("k2")]).toEqual([undefined, "v1", true]);
      return 42;
    });
    expect(result).toBe(42);
    expect([...store.entries()].flat().join()).toBe("a,1,k0,v0,k1,changed,k3,v3,k4,v4,k5,v5");
    expect(store.version).toBe(version + 1);
  });

  test("walks what it wrote merged with what is there, both ways, with seek, nextv and limits", async () => {
    await run((tx) => {
      tx.set("k15", "new");
      tx.set("k3", "over");
      tx.delete("k4");
      tx.set("z", "last");
      const all = ["k0", "k1", "k15", "k2", "k3", "k5", "z"];
      expect([...tx.keys()]).toEqual(all);
      expect([...tx.keys({ reverse: true })]).toEqual([...all].reverse());
      expect([...tx.values({ gt: "k1", lt: "k5" })]).toEqual(["new", "v2", "over"]);
      expect([...tx.entries({ prefix: "k1" })]).toEqual([
        ["k1", "v1"],
        ["k15", "new"],
      ]);
      expect([...tx].length).toBe(7);
      expect([...tx.keys({ limit: 3 })]).toEqual(all.slice(0, 3));
      expect([...tx.keys({ limit: 0 })]).toEqual([]);
      expect([tx.count(), tx.count({ gte: "k15", lte: "k4" }), tx.count({ limit: 2 })]).toEqual([7, 3, 2]);
      const walk = tx.keys();
      expect(walk.nextv(2)).toEqual(["k0", "k1"]);
      walk.seek("k3");
      expect(walk.nextv(9)).toEqual(["k3", "k5", "z"]);
      const back = tx.keys({ reverse: true, lte: "k5" });
      expect(back.next().value).toBe("k5");
      back.seek("k3");
      expect(back.nextv(2)).toEqual(["k3", "k2"]);
      back.seek("zz");
      expect(back.nextv(1)).toEqual(["k5"]);
      back.return();
      expect(back.next().done).toBe(true);
      const ended = tx.keys({ gte: "k5" });
      expect(ended.nextv(2)).toEqual(["k5", "z"]);
      ended.seek("k5");
      expect(ended.nextv(2)).toEqual(["k5", "z"]);
      const before = tx.keys({ gte: "k5" });
      tx.set("k9", "later");
      expect([...before]).toEqual(["k5", "z"]);
      expect([...tx.keys({ gte: "k5" })]).toEqual(["k5", "k9", "z"]);
    });
  });

  test("clears ranges, and writes after", async () => {
    await run((tx) => {
      tx.set("k25", "new");
      expect(tx.clear({ gte: "k2", lt: "k4" })).toBe(3);
      expect([...tx.keys()]).toEqual(["k0", "k1", "k4", "k5"]);
      tx.set("k3", "again");
      expect(tx.clear({ lt: "k1" })).toBe(1);
    });
    expect([...store.entries()].flat().join()).toBe("k1,v1,k3,again,k4,v4,k5,v5");
  });

  test("spans namespaces", async () => {
    const users = store.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
    users.set(["a"], 1);
    await run((tx) => {
      const inside = tx.in(users);
      inside.set(["b", 2n], { n: 2 });
      inside.delete(["a"]);
      expect([...inside.entries()]).toEqual([[["b", 2n], { n: 2 }]]);
      expect(inside.get(["b", 2n])).toEqual({ n: 2 });
      expect(inside.count()).toBe(1);
      tx.set("count", "1");
      expect([...inside.keys()].length).toBe(1);
      expect(tx.in(store).get("count")).toBe("1");
    });
    expect([...users.keys()]).toEqual([["b", 2n]]);
    expect(store.get("count")).toBe("1");
    await run((tx) => tx.clear());
    expect(users.count()).toBe(0);
  });

  test("that throws leaves no trace, memory included", async () => {
    const users = store.sub("users");
    await run((tx) => tx.in(users).set("x", "1")).then(() => users.clear());
    const before = store.stats();
    const walks: { next(): unknown }[] = [];
    for (let round = 0; round < 20; round++) {
      const failure = new Error(`round ${round}`);
      const thrown = await run((tx) => {
        for (let i = 0; i < 500; i++) tx.set(`many ${i}`, "x".repeat(1000));
        tx.clear({ prefix: "k" });
        tx.in(users).set("u", "1");
        walks.push(tx.keys(), tx.in(users).entries());
        for (const walk of walks.slice(-2)) walk.next();
        throw failure;
      }).catch((error: unknown) => error);
      expect(thrown).toBe(failure);
    }
    const { deviceReadCount, ...after } = store.stats();
    expect({ ...after, deviceReadCount }).toEqual({ ...before, deviceReadCount });
    expect([...store.keys()].length).toBe(6);
    for (const walk of walks) expect(await codeOf(() => walk.next())).toBe("INVALID_ARGUMENT");
  });

  test("refuses what exceeds a limit, is of the wrong type or fails to encode, and goes on", async () => {
    const codec = {
      name: "picky",
      encode: (value: unknown) => {
        if (value === "bad") throw new Error("no");
        return String(value);
      },
      decode: (bytes: Uint8Array) => new TextDecoder().decode(bytes),
    };
    const picky = store.sub("picky", { valueEncoding: codec });
    const { version } = store;
    await run(async () => undefined).catch(() => undefined);
    const codes: string[] = [];
    const messages: string[] = [];
    const trying = (body: () => unknown): void => {
      try {
        body();
      } catch (error) {
        codes.push((error as { code: string }).code);
        messages.push((error as Error).message);
      }
    };
    await run((tx) => {
      trying(() => tx.set("", "v"));
      trying(() => tx.set("k".repeat(2049), "v"));
      trying(() => tx.get("k".repeat(2049)));
      trying(() => tx.set("big", "x".repeat(64 * 1024 * 1024 + 1)));
      trying(() => tx.set(5 as never, "v"));
      trying(() => tx.set("k", 5 as never));
      trying(() => tx.in(picky).set("k", "bad"));
      trying(() => tx.keys({ snapshot: {} } as never));
      trying(() => tx.keys({ nothing: 1 } as never));
      trying(() => tx.clear({ limit: 5 }));
      trying(() => tx.keys().nextv(0));
      tx.in(picky).set("k", "good");
    });
    expect(codes).toEqual([
      ...["KEY_SIZE", "KEY_SIZE", "KEY_SIZE", "VALUE_SIZE", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
      ...["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
    ]);
    expect(messages[6]).toContain("picky");
    expect(picky.get("k")).toBe("good");
    expect(store.version).toBe(version + 1);
  });

  test("keeps what a program goes on to change, and gives out copies", async () => {
    const bytes = store.sub("bytes", { keyEncoding: "binary", valueEncoding: "binary" });
    await run((tx) => {
      const key = Uint8Array.of(1);
      const value = Uint8Array.of(1, 2, 3);
      const inside = tx.in(bytes);
      inside.set(key, value);
      key[0] = 9;
      value[0] = 9;
      const got = inside.get(Uint8Array.of(1)) as Uint8Array;
      expect(got).toEqual(Uint8Array.of(1, 2, 3));
      got[1] = 9;
      tx.set("half", "\ud800");
      expect(tx.get("half")).toBe("\ufffd");
    });
    expect([...bytes.entries()]).toEqual([[Uint8Array.of(1), Uint8Array.of(1, 2, 3)]]);
    expect(store.get("half")).toBe("\ufffd");
  });

  test("is void when it has ended, and when the store is closed", async () => {
    let kept!: Transaction;
    await run((tx) => {
      kept = tx;
    });
    for (const call of [
      () => kept.get("a"),
      () => kept.getAsync("a"),
      () => kept.has("a"),
      () => kept.set("a", "1"),
      () => kept.delete("a"),
      () => kept.keys(),
      () => kept.count(),
      () => kept.clear(),
      () => kept.in(store),
    ]) {
      expect(await codeOf(call)).toBe("INVALID_ARGUMENT");
    }
    const other = await open(":memory:");
    expect(await codeOf(() => run((tx) => tx.in(other)))).toBe("INVALID_ARGUMENT");
    await other.close();
    await store.close();
    expect(await codeOf(() => run(() => undefined))).toBe("CLOSED");
  });

  test("on a readOnly store reads, and is refused when it has written", async () => {
    const device = new ImageDevice();
    const writer = await openTiny(device);
    writer.set("a", "1");
    await writer.close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    expect(reader.transaction((tx) => tx.get("a"))).toBe("1");
    expect(await codeOf(() => reader.transaction((tx) => tx.set("a", "2")))).toBe("READ_ONLY");
    expect(await codeOf(() => reader.transact(async (tx) => tx.set("a", "2")))).toBe("READ_ONLY");
    await reader.close();
  });
});

describe("transaction", () => {
  test("takes no other writes, and no other transaction, meanwhile", async () => {
    const sub = store.sub("s");
    const { version } = store;
    const codes = store.transaction((tx) => {
      tx.get("k1");
      const found: string[] = [];
      for (const call of [
        () => store.set("a", "1"),
        () => sub.set("a", "1"),
        () => store.delete("k1"),
        () => store.clear(),
        () => store.batch().set("a", "1").commit(),
        () => store.transaction(() => undefined),
        () => sub.transaction(() => undefined),
      ]) {
        try {
          call();
        } catch (error) {
          found.push((error as { code: string }).code);
        }
      }
      return [
        found,
        [store.put("a", "1"), store.del("k1"), store.batch([{ type: "set", key: "a", value: "1" }])],
      ] as const;
    });
    expect(codes[0]).toEqual(Array(7).fill("REENTRANT"));
    for (const promise of codes[1]) expect(await codeOf(() => promise)).toBe("REENTRANT");
    expect(store.version).toBe(version);
    expect(store.set("a", "1")).toBe(true);
  });

  test("that awaits is INVALID_ARGUMENT and rolled back", async () => {
    const error = await errorOf(() =>
      store.transaction(async (tx) => {
        tx.set("a", "1");
        await pause();
        tx.set("b", "1");
      }),
    );
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain("transact");
    await pause(5);
    expect([store.has("a"), store.has("b")]).toEqual([false, false]);
    expect(await codeOf(() => store.transaction("fn" as never))).toBe("INVALID_ARGUMENT");
  });

  test("is one batch in the log: after a crash all of it is there, or none", async () => {
    const device = new ImageDevice();
    const first = await openTiny(device);
    first.transaction((tx) => {
      for (let i = 0; i < 300; i++) tx.set(`k${i}`, `v${i}`.repeat(20));
    });
    await first.flush();
    const image = device.image();
    await first.close();
    const second = await openTiny(ImageDevice.of(image));
    expect(second.count()).toBe(300);
    await second.close();
  });

  test("is durable when it returns under sync", async () => {
    const synced = await open(new MemoryDevice(), { durability: "sync" });
    synced.transaction((tx) => tx.set("a", "1"));
    expect(synced.durableVersion).toBe(synced.version);
    await synced.close();
  });

  test("that does not fit is refused whole", async () => {
    const small = await openTiny(new ImageDevice(4 * 1024 * 1024, false));
    small.set("a", "1");
    await small.flush();
    const error = await errorOf(() =>
      small.transaction((tx) => {
        tx.delete("a");
        for (let i = 0; i < 200; i++) tx.set(`k${i}`, "x".repeat(100_000));
      }),
    );
    expect(["NO_SPACE", "OUT_OF_MEMORY"]).toContain(error.code);
    expect([...small.entries()]).toEqual([["a", "1"]]);
    await small.close();
  });
});

describe("transact", () => {
  const conflicting: [string, (tx: Transaction) => unknown, () => unknown, boolean][] = [
    ["a key that was read and is changed", (tx) => tx.get("k1"), () => store.set("k1", "x"), true],
    ["a key that was read and is deleted", (tx) => tx.has("k1"), () => store.delete("k1"), true],
    ["a key that was absent and is there", (tx) => tx.get("new"), () => store.set("new", "x"), true],
    ["a key that another one wrote", (tx) => tx.get("k1"), () => store.set("k2", "x"), false],
    ["a key that was only written", (tx) => tx.set("k1", "y"), () => store.set("k1", "x"), false],
    ["a range and a key in it", (tx) => [...tx.keys({ gte: "k1", lt: "k3" })], () => store.set("k2", "x"), true],
    ["a range and a new key in it", (tx) => [...tx.keys({ gte: "k1", lt: "k3" })], () => store.set("k22", "x"), true],
    [
      "a range and a key deleted from it",
      (tx) => [...tx.keys({ gte: "k1", lt: "k3" })],
      () => store.delete("k2"),
      true,
    ],
    ["a range and a key behind it", (tx) => [...tx.keys({ gte: "k1", lt: "k3" })], () => store.set("k3", "x"), false],
    ["a range and a key before it", (tx) => [...tx.keys({ gte: "k1", lt: "k3" })], () => store.set("k09", "x"), false],
    [
      "a range in reverse and a key in it",
      (tx) => [...tx.keys({ lt: "k3", reverse: true })],
      () => store.set("k0", "x"),
      true,
    ],
    ["a count and a key in its range", (tx) => tx.count({ prefix: "k" }), () => store.set("k9", "x"), true],
    ["a count and a key not in its range", (tx) => tx.count({ prefix: "k" }), () => store.set("l", "x"), false],
    ["a clear and a new key in its range", (tx) => tx.clear({ prefix: "k" }), () => store.set("k9", "x"), true],
    ["a walk half-way and a key before it", (tx) => tx.keys().nextv(3), () => store.set("k05", "x"), true],
    ["a walk half-way and a key that it came to", (tx) => tx.keys().nextv(3), () => store.set("k2", "x"), true],
    ["a walk half-way and a key behind it", (tx) => tx.keys().nextv(3), () => store.set("k25", "x"), false],
    [
      "a walk back half-way and a key behind it",
      (tx) => tx.keys({ reverse: true }).nextv(2),
      () => store.set("k3", "x"),
      false,
    ],
    [
      "a walk back half-way and a key that it passed",
      (tx) => tx.keys({ reverse: true }).nextv(2),
      () => store.set("k45", "x"),
      true,
    ],
    [
      "a walk that ended and a key at its end",
      (tx) => tx.keys({ gte: "k4" }).nextv(9),
      () => store.set("z", "x"),
      true,
    ],
    [
      "a walk with a seek and a key between",
      (tx) => {
        const walk = tx.keys();
        walk.nextv(1);
        walk.seek("k4");
        walk.nextv(1);
      },
      () => store.set("k2", "x"),
      false,
    ],
    [
      "a walk with a seek and a key behind the seek",
      (tx) => {
        const walk = tx.keys();
        walk.seek("k4");
        walk.nextv(2);
      },
      () => store.set("k44", "x"),
      true,
    ],
    ["a limited walk and a key behind it", (tx) => [...tx.keys({ limit: 2 })], () => store.set("k15", "x"), false],
    ["a walk not begun", (tx) => tx.keys(), () => store.set("k0", "x"), false],
    ["a key deleted and written again", (tx) => tx.get("k1"), () => [store.delete("k1"), store.set("k1", "v1")], true],
    ["another namespace", (tx) => [...tx.keys()], () => store.sub("s").set("k1", "x"), false],
  ];

  test.for(conflicting)("%s", async ([, read, write, isConflict]) => {
    let runs = 0;
    const call = store.transact(
      async (tx) => {
        runs++;
        read(tx);
        tx.set("result", "1");
        await pause();
        write();
        await pause();
      },
      { retries: 0 },
    );
    if (isConflict) expect(await codeOf(() => call)).toBe("CONFLICT");
    else await call;
    expect(runs).toBe(1);
    expect(store.has("result")).toBe(!isConflict);
    expect(store.stats()).toMatchObject({ snapshotCount: 0, olderVersionCount: 0 });
  });

  test("runs again after a conflict, over a new snapshot, as often as it is told", async () => {
    let runs = 0;
    const result = await store.transact(async (tx) => {
      const value = tx.get("k1");
      if (runs++ < 3) store.set("k1", `round ${runs}`);
      tx.set("seen", value as string);
      return value;
    });
    expect([runs, result, store.get("seen")]).toEqual([4, "round 3", "round 3"]);
    runs = 0;
    const always = store.transact(
      async (tx) => {
        tx.get("k1");
        store.set("k1", `again ${runs++}`);
        tx.set("seen", "never");
      },
      { retries: 2 },
    );
    const error = await errorOf(() => always);
    expect([error.code, runs, store.get("seen")]).toEqual(["CONFLICT", 3, "round 3"]);
    expect(error.message).toContain("3 runs");
  });

  test("needs no validation when it only read, and shows one moment", async () => {
    const seen = await store.transact(
      async (tx) => {
        const before = tx.get("k1");
        store.set("k1", "x");
        store.set("k2", "x");
        await pause();
        return [before, tx.get("k1"), tx.get("k2"), await tx.getAsync("k2"), [...tx.values({ lte: "k2" })]];
      },
      { retries: 0 },
    );
    expect(seen).toEqual(["v1", "v1", "v2", "v2", ["v0", "v1", "v2"]]);
  });

  test("is durable when it resolves", async () => {
    const device = new ImageDevice();
    const first = await openTiny(device, { durability: "manual" });
    await first.transact(async (tx) => tx.set("a", "1"));
    const image = device.image();
    await first.close();
    const second = await openTiny(ImageDevice.of(image));
    expect(second.get("a")).toBe("1");
    await second.close();
  });

  test("walks without blocking, merged with what it wrote", async () => {
    await store.transact(async (tx) => {
      tx.set("k15", "new");
      tx.delete("k0");
      const keys: string[] = [];
      for await (const key of tx.keys()) keys.push(key);
      expect(keys).toEqual(["k1", "k15", "k2", "k3", "k4", "k5"]);
      const walk = tx.entries({ reverse: true });
      expect(await walk.nextvAsync(2)).toEqual([
        ["k5", "v5"],
        ["k4", "v4"],
      ]);
      walk.seek("k15");
      expect(await walk.nextvAsync(9)).toEqual([
        ["k15", "new"],
        ["k1", "v1"],
      ]);
      expect(await codeOf(() => walk.nextvAsync(0))).toBe("INVALID_ARGUMENT");
    });
  });

  test("moves money between accounts at once without losing any", async () => {
    for (let i = 0; i < 5; i++) store.set(`account ${i}`, "100");
    const transfers = Array.from({ length: 60 }, (_, i) =>
      store.transact(
        async (tx) => {
          const from = `account ${i % 5}`;
          const to = `account ${(i * 3 + 1) % 5}`;
          const amount = (i % 7) + 1;
          tx.set(from, `${Number(await tx.getAsync(from)) - amount}`);
          await pause();
          tx.set(to, `${Number(tx.get(to)) + amount}`);
        },
        { retries: 1000 },
      ),
    );
    await Promise.all(transfers);
    const sum = [...store.values({ prefix: "account" })].reduce((total, value) => total + Number(value), 0);
    expect(sum).toBe(500);
  });

  test("says what is wrong with its arguments", async () => {
    const loose = store as unknown as { transact(...args: unknown[]): Promise<unknown> };
    expect(await codeOf(() => loose.transact())).toBe("INVALID_ARGUMENT");
    for (const options of [null, 5, { retries: -1 }, { retries: 1.5 }, { retries: "1" }, { tries: 1 }]) {
      expect(await codeOf(() => loose.transact(async () => 1, options))).toBe("INVALID_ARGUMENT");
    }
  });
});
