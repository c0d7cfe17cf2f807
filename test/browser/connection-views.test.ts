/** `connect`: namespaces, batches over them, snapshots and transactions, and what becomes of them when the owner ends. */
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

describe.each(browsersOfRun())("connect in %s", (browser) => {
  const pages = new Pages(browser);

  test("has namespaces, nested, with encodings of their own, and batches over several", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const users = store.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
      const inner = users.sub("inner");
      const bytes = store.sub("bytes", { keyEncoding: "binary", valueEncoding: "binary" });
      const seen: Record<string, unknown> = {};
      await Promise.all([
        store.set("own", "1"),
        users.set(["ada", 1n], { n: 1 }),
        inner.set("é", "ü"),
        bytes.put(Uint8Array.of(255, 1), new Uint8Array(5000).fill(7)),
        users.set(["bob"], { n: 2 }),
      ]);
      seen["get"] = [
        await store.get("own"),
        await users.get(["ada", 1n]),
        await inner.get("é"),
        (await bytes.get(Uint8Array.of(255, 1)))?.length,
        await store.get("ada"),
      ];
      seen["many"] = await users.getMany([["bob"], ["none"], ["ada", 1n]]);
      seen["counts"] = await Promise.all([store, users, inner, bytes].map((one) => one.count()));
      const keys: unknown[] = [];
      for await (const [key, value] of users) keys.push([`${key}`, value]);
      seen["entries"] = keys;
      seen["prefix"] = (await users.keys({ prefix: ["ada"] }).nextv(9)).length;
      seen["bytes"] = [...((await bytes.keys().nextv(9))[0] as Uint8Array)];
      seen["partial"] = [
        `${await users.increment(["n"])}`,
        await users.merge(["bob"], { m: 1 }),
        await users.update(["bob"], (value) => ({ ...(value as object), z: 1 })),
        await inner.append("é", "!"),
        await inner.get("é"),
        (await users.getEntry(["bob"]))?.value,
      ];
      const batch = store.batch().set("own", "2").in(users).set(["c"], 3).in(inner).set("i", "4").delete("é");
      seen["batch"] = [
        batch.length,
        await batch.commitDurable(),
        await store.batch([
          { type: "set", key: "own", value: "3" },
          { type: "set", key: ["c"], value: 9, sub: users, ifVersion: null },
        ]),
        await users.batch([
          { type: "del", key: ["c"] },
          { type: "put", key: "own", value: "4", sub: store },
        ]),
        [await store.get("own"), await users.has(["c"]), await inner.get("i"), await inner.has("é")],
      ];
      seen["clear"] = [
        await users.clear({ prefix: ["bob"] }),
        await users.clear(),
        await inner.count(),
        await store.count(),
      ];
      const codes: unknown[] = [];
      const emptied = (): Uint8Array => {
        const bytes = new Uint8Array(8);
        structuredClone(bytes, { transfer: [bytes.buffer] });
        return bytes;
      };
      for (const call of [
        () => store.sub(""),
        () => store.sub("x", { encoding: "utf8" } as object),
        () => store.sub("x", { keyEncoding: "none" as "utf8" }),
        () => store.sub("x".repeat(1600)),
        () => store.batch().in({} as typeof users),
        () => users.set(["k".repeat(2048)], 1),
        () => users.set("text" as never, 1),
        () => users.clear({ reverse: true }),
        () => users.clear(new Set(["bob"]) as object),
        () => users.clear({ prefix: undefined } as object),
        () => store.transact((tx) => tx.clear({})),
        () => store.append("own", emptied()),
      ]) {
        codes.push((await outcome((async () => call())())).code);
      }
      seen["codes"] = codes;
      await inner.close();
      seen["closed"] = [(await outcome(store.get("own"))).code, (await outcome(users.get(["a"]))).code];
      await store.close();
      return JSON.parse(JSON.stringify(seen, (_, value) => value ?? null));
    }, name);
    expect(seen).toEqual({
      get: ["1", { n: 1 }, "ü", 5000, null],
      many: [{ n: 2 }, null, { n: 1 }],
      counts: [1, 2, 1, 1],
      entries: [
        ["ada,1", { n: 1 }],
        ["bob", { n: 2 }],
      ],
      prefix: 1,
      bytes: [255, 1],
      partial: ["1", true, { n: 2, m: 1, z: 1 }, true, "ü!", { n: 2, m: 1, z: 1 }],
      batch: [4, [true, true, true, true], [false, false], [true, true], ["4", false, "4", false]],
      clear: [1, 3, 0, 1],
      codes: [...Array(5).fill("INVALID_ARGUMENT"), "KEY_SIZE", ...Array(6).fill("INVALID_ARGUMENT")],
      closed: ["CLOSED", "CLOSED"],
    });
    // What a connection writes in a namespace is what a store of a worker finds there.
    const found = await page.evaluate(
      (name) =>
        startWorker().run(async (cairn, _, name) => {
          const store = await cairn.open(name);
          const keys = [...store.keys()];
          await store.close();
          return keys;
        }, name),
      name,
    );
    expect(found).toEqual(["own"]);
  });

  test("has snapshots, of namespaces too, until they are closed or the owner ends", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const users = store.sub("users", { valueEncoding: "json" });
      for (let i = 0; i < 300; i++) void store.set(`k${String(i).padStart(3, "0")}`, `${i}`);
      await users.set("u", { n: 1 }, { timestamp: 5 });
      const snapshot = await store.snapshot();
      const inside = snapshot.in(users);
      const before = await store.getEntry("k001");
      await Promise.all([store.clear(), users.set("u", { n: 2 }), store.set("new", "1")]);
      const seen: Record<string, unknown> = {};
      seen["get"] = [
        await snapshot.get("k001"),
        await snapshot.has("new"),
        await snapshot.getMany(["k002", "new"]),
        (await snapshot.getEntry("k001"))?.version === before?.version,
        await inside.get("u"),
        (await inside.getEntry("u"))?.timestamp,
        await users.get("u"),
        snapshot.version < (await store.stats()).version,
      ];
      seen["count"] = [await snapshot.count(), await snapshot.count({ lt: "k010" }), await inside.count()];
      let walked = 0;
      for await (const [key, value] of snapshot.entries({ gte: "k010" }))
        if (key.endsWith(value.padStart(3, "0"))) walked++;
      seen["walked"] = walked;
      seen["ranges"] = [
        (await store.keys({ snapshot, reverse: true, limit: 2 }).nextv(9)).join(),
        await store.count({ snapshot }),
        await users.values({ snapshot }).nextv(9),
      ];
      const walk = snapshot.keys();
      await walk.next();
      await snapshot.close();
      await snapshot.close();
      let rest = 1;
      for await (const _ of walk) rest++;
      seen["rest"] = rest;
      seen["open"] = (await store.stats()).snapshotCount;
      const other = await cairn.connect(name);
      const fresh = await other.snapshot();
      seen["codes"] = [
        (await outcome(snapshot.get("k001"))).code,
        (await outcome(inside.get("u"))).code,
        (await outcome(store.count({ snapshot }))).code,
        (await outcome(store.count({ snapshot: fresh }))).code,
        (await outcome(store.count({ snapshot: {} as typeof fresh }))).code,
        (await outcome(fresh.count({ snapshot: fresh } as object))).code,
        (await outcome(store.clear({ snapshot: fresh } as object))).code,
        (await outcome((async () => fresh.in(users as never))())).code,
      ];
      // What a client held goes with it.
      seen["held"] = (await store.stats()).snapshotCount;
      await other.close();
      while ((await store.stats()).snapshotCount > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const lost = await store.snapshot();
      await store.flush();
      const asked = outcome(lost.get("new"));
      store.killWorker();
      await asked;
      seen["lost"] = [(await outcome(lost.get("new"))).code, await store.get("new"), await outcome(lost.close())];
      const again = await store.snapshot();
      seen["again"] = await again.get("new");
      await store.close();
      seen["ended"] = (await outcome(again.get("new"))).code;
      return JSON.parse(JSON.stringify(seen, (_, value) => value ?? null));
    }, pages.newName());
    expect(seen).toEqual({
      get: ["1", false, ["2", null], true, { n: 1 }, 5, { n: 2 }, true],
      count: [300, 10, 1],
      walked: 290,
      ranges: ["k299,k298", 300, [{ n: 1 }]],
      rest: 300,
      open: 0,
      codes: [...Array(3).fill("CLOSED"), ...Array(5).fill("INVALID_ARGUMENT")],
      held: 1,
      lost: ["SNAPSHOT_EXPIRED", "1", { value: null }],
      again: "1",
      ended: "CLOSED",
    });
  });

  test("has optimistic transactions: own writes, validated reads, conflicts and retries", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const users = store.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
      await store.batch().set("a", "1").set("b", "2").set("n", "41").in(users).set(["x"], { n: 1 }).commit();
      const seen: Record<string, unknown> = {};
      const { version } = await store.stats();
      seen["result"] = await store.transact(async (tx) => {
        const inside = tx.in(users);
        const did = [
          await tx.set("c", "3"),
          await tx.delete("b"),
          await tx.delete("none"),
          await tx.append("a", "!"),
          await tx.patch("a", 0, "0"),
          `${await tx.increment("n")}`,
          await inside.merge(["x"], { m: 2 }),
          await inside.update(["y"], (value) => [value ?? "none"]),
          await tx.set("a", "x", { ifVersion: null }),
          await tx.set("d", "4", { ifVersion: null, expiresIn: 60_000, timestamp: 3 }),
        ];
        const read = [
          await tx.get("a"),
          await tx.has("b"),
          await tx.getMany(["c", "b", "n"]),
          (await tx.getEntry("d"))?.timestamp,
          await inside.get(["x"]),
          (await tx.keys().nextv(9)).join(),
          (await tx.entries({ reverse: true, limit: 1 }).nextv(9)).join(),
          await tx.count({ gte: "c" }),
          await inside.count(),
          await store.get("c"),
        ];
        return { did, read };
      });
      seen["after"] = [
        (await store.keys().nextv(9)).join(),
        await store.get("a"),
        await users.getMany([["x"], ["y"]]),
        (await store.stats()).version - version,
        (await store.stats()).durableVersion - version,
      ];
      // A function that does not wait for its writes has them done all the same, or none.
      await store.transact((tx) => {
        void tx.set("quick", "1");
        void tx.set("quicker", "2");
      });
      seen["quick"] = await store.getMany(["quick", "quicker"]);
      seen["whole"] = [
        (
          await outcome(
            store.transact((tx) => void [tx.set("half", "1"), tx.set("", "2")].map((p) => p.catch(() => 0))),
          )
        ).code,
        await store.has("half"),
      ];
      const runs: string[] = [];
      await store.transact(async (tx) => {
        runs.push((await tx.get("a")) as string);
        if (runs.length === 1) await store.set("a", "changed");
        await tx.set("copy", runs.at(-1) as string);
      });
      seen["again"] = [runs, await store.get("copy")];
      let ranges = 0;
      await store.transact(async (tx) => {
        const found = await tx.count({ prefix: "new" });
        if (ranges++ === 0) await store.set("new key", "phantom");
        await tx.set("found", `${found}`);
      });
      seen["phantom"] = [ranges, await store.get("found")];
      const conflict = await outcome(
        store.transact(
          async (tx) => {
            await tx.get("a");
            await store.set("a", `${Math.random()}`);
            await tx.set("never", "1");
          },
          { retries: 2 },
        ),
      );
      seen["conflict"] = [conflict.code, conflict.message?.includes("3 runs"), await store.has("never")];
      seen["thrown"] = [
        (
          await outcome(
            store.transact(async (tx) => [await tx.set("never", "1"), Promise.reject(new Error("mine"))][1]),
          )
        ).message,
        await store.has("never"),
      ];
      let gone: { get(key: string): Promise<unknown> } | undefined;
      await store.transact(async (tx) => {
        gone = tx;
      });
      const code = async (call: (tx: never) => unknown): Promise<unknown> =>
        (await outcome(store.transact(async (tx) => call(tx as never)))).code;
      type Tx = Parameters<Parameters<typeof store.transact>[0]>[0];
      seen["codes"] = [
        (await outcome(gone?.get("a") as Promise<unknown>)).code,
        await code((tx: Tx) => tx.set("k".repeat(2049), "1")),
        await code((tx: Tx) => tx.set("d", "1", { timestamp: 2 })),
        await code((tx: Tx) => tx.increment("a")),
        await code((tx: Tx) => tx.patch("a", -1, "x")),
        await code((tx: Tx) => tx.keys({ snapshot: {} } as object)),
        await code((tx: Tx) => tx.update("a", (async () => "x") as never)),
        (await outcome(store.transact(5 as never))).code,
        (await outcome(store.transact(async () => 1, { retries: -1 }))).code,
      ];
      const reader = await cairn.connect(name, { readOnly: true });
      seen["reader"] = [
        await reader.transact((tx) => tx.get("copy")),
        (await outcome(reader.transact((tx) => tx.set("copy", "1")))).code,
      ];
      await reader.close();
      seen["snapshots"] = (await store.stats()).snapshotCount;
      await store.close();
      seen["closed"] = (await outcome(store.transact(async () => 1))).code;
      return JSON.parse(JSON.stringify(seen, (_, value) => value ?? null));
    }, pages.newName());
    expect(seen).toEqual({
      result: {
        did: [true, true, false, true, true, "42", true, ["none"], false, true],
        read: ["0!", false, ["3", null, "42"], 3, { n: 1, m: 2 }, "a,c,d,n", "n,42", 3, 2, null],
      },
      after: ["a,c,d,n", "0!", [{ n: 1, m: 2 }, ["none"]], 1, 1],
      quick: ["1", "2"],
      whole: ["KEY_SIZE", false],
      again: [["0!", "changed"], "changed"],
      phantom: [2, "1"],
      conflict: ["CONFLICT", true, false],
      thrown: ["mine", false],
      codes: [
        ...["INVALID_ARGUMENT", "KEY_SIZE", "STALE_TIMESTAMP", "NOT_A_NUMBER"],
        ...Array(5).fill("INVALID_ARGUMENT"),
      ],
      reader: ["changed", "READ_ONLY"],
      snapshots: 0,
      closed: "CLOSED",
    });
  });

  test("loses no update between tabs, though the worker that owns the store is killed again and again", async () => {
    const name = pages.newName();
    const all = [await pages.newPage(), await pages.newPage()];
    for (const page of all) {
      await page.evaluate(async (name) => {
        kept.store = await cairn.connect(name);
      }, name);
    }
    const counted = await Promise.all(
      all.map((page, at) =>
        page.evaluate(async (at) => {
          const { store } = kept;
          let [certain, doubtful, killed] = [0, 0, 0];
          const codes: string[] = [];
          const add = async (i: number): Promise<void> => {
            const { code } = await outcome(
              store.transact(
                async (tx: {
                  get(key: string): Promise<string>;
                  set(key: string, value: string): Promise<boolean>;
                }) => {
                  const before = Number((await tx.get("sum")) ?? 0);
                  if (i % 5 === 3 && at === 0 && killed < i) {
                    killed = i;
                    store.killWorker();
                  }
                  await tx.set("sum", `${before + 1}`);
                },
                { retries: 200 },
              ),
            );
            if (code === undefined) certain += 1;
            else if (code === "DEVICE_WRITE") doubtful += 1;
            else codes.push(code);
          };
          for (let i = 0; i < 30; i++) await add(i);
          return { certain, doubtful, codes };
        }, at),
      ),
    );
    const sum = await (all[1] as (typeof all)[0]).evaluate(async () => Number(await kept.store.get("sum")));
    const certain = counted.reduce((total, one) => total + one.certain, 0);
    const doubtful = counted.reduce((total, one) => total + one.doubtful, 0);
    expect(counted.flatMap(({ codes }) => codes)).toEqual([]);
    expect(certain + doubtful).toBe(60);
    expect(certain).toBeGreaterThan(45);
    expect(sum).toBeGreaterThanOrEqual(certain);
    expect(sum).toBeLessThanOrEqual(certain + doubtful);
  });
});

declare function startWorker(): ReturnType<PageWorld["startWorker"]>;
