/** `connect` on pages of real browsers: the calls, and what becomes of them when the worker that does them ends. */
import type { Page } from "puppeteer-core";
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

/** Connects a page, and keeps the connection there. */
async function connected(page: Page, name: string, options: object = {}): Promise<void> {
  await page.evaluate(
    async (name, options) => {
      kept.store = await cairn.connect(name, options);
    },
    name,
    options,
  );
}

describe.each(browsersOfRun())("connect in %s", (browser) => {
  const pages = new Pages(browser);

  test("has partial updates, conditions and expiries, as promises", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const seen: Record<string, unknown> = {};
      seen["append"] = [
        await store.append("a", "one"),
        await store.append("a", new Uint8Array([33])),
        await store.get("a"),
      ];
      seen["patch"] = [await store.patch("a", 0, "ONE"), await store.get("a")];
      seen["range"] = (await outcome(store.patch("a", 9, "x"))).code;
      seen["increment"] = [`${await store.increment("n")}`, `${await store.increment("n", 2n ** 40n)}`];
      seen["none"] = (await outcome(store.increment("a"))).code;
      seen["merge"] = [
        await store.merge("j", { x: 1 }),
        await store.merge("j", { y: 2, x: null }),
        await store.get("j"),
      ];
      const all = Array.from({ length: 20 }, () => store.update("u", (value) => `${Number(value ?? 0) + 1}`));
      seen["update"] = [
        (await Promise.all(all)).length,
        await store.get("u"),
        await store.update("u", () => undefined),
      ];
      seen["gone"] = await store.has("u");
      const soon = Date.now() + 60_000;
      seen["set"] = [
        await store.set("t", "v", { expiresAt: soon, timestamp: 5 }),
        await store.set("x", "v", { expiresIn: 1 }),
      ];
      const entry = await store.getEntry("t");
      seen["entry"] = [entry?.value, entry?.expiresAt === soon, entry?.timestamp, await store.getEntry("none")];
      seen["stale"] = (await outcome(store.put("t", "w", { timestamp: 4 }))).code;
      const ifVersion = entry?.version as number;
      seen["if"] = [await store.set("t", "w", { ifVersion: null }), await store.set("t", "w", { ifVersion })];
      seen["del"] = [await store.delete("t", { ifVersion }), await store.del("t", { ifVersion: null })];
      seen["batch"] = await store.batch([
        { type: "set", key: "b", value: "1", ifVersion: null, expiresIn: 60_000 },
        { type: "delete", key: "t" },
      ]);
      seen["refused"] = await store.batch().set("c", "1").set("b", "2", { ifVersion: null }).commit();
      seen["expires"] = (await store.getEntry("b"))?.expiresAt !== undefined;
      seen["wrong"] = [
        (await outcome(store.set("a", "x", { expiresIn: 0 }))).code,
        (await outcome(store.append("a", 5 as unknown as string))).code,
        (await outcome(store.update("a", (async () => "x") as never))).code,
        (await outcome(store.merge("a", {}))).code,
      ];
      while (await store.has("x")) await new Promise((resolve) => setTimeout(resolve, 1));
      const keys = await store.keys().nextv(100);
      await store.close();
      return JSON.parse(JSON.stringify({ ...seen, keys }, (_, value) => value ?? null));
    }, pages.newName());
    expect(seen).toEqual({
      append: [true, true, "one!"],
      patch: [true, "ONE!"],
      range: "OUT_OF_RANGE",
      increment: ["1", `${2 ** 40 + 1}`],
      none: "NOT_A_NUMBER",
      merge: [true, true, '{"y":2}'],
      update: [20, "20", null],
      gone: false,
      set: [true, true],
      entry: ["v", true, 5, null],
      stale: "STALE_TIMESTAMP",
      if: [false, true],
      del: [false, false],
      batch: [true, true],
      refused: [false, false],
      expires: true,
      wrong: ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
      keys: ["a", "b", "j", "n"],
    });
  });

  test("has the calls of a store, as promises", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const seen: Record<string, unknown> = {};
      seen["set"] = await store.set("a", "1");
      seen["put"] = await store.put("b", "2");
      seen["get"] = [await store.get("a"), await store.get("none")];
      seen["many"] = await store.getMany(["b", "none", "a"]);
      seen["has"] = [await store.has("a"), await store.has("none")];
      seen["delete"] = [await store.delete("a"), await store.delete("a")];
      seen["del"] = [await store.del("b"), await store.del("b")];
      seen["batch"] = await store.batch([
        { type: "set", key: "c", value: "3" },
        { type: "del", key: "none" },
      ]);
      const batch = store.batch().set("d", "4").delete("c").set("e", "é€😀");
      seen["built"] = [batch.length, await batch.commit(), await store.batch().set("f", "").commitDurable()];
      seen["count"] = [await store.count(), await store.count({ gt: "d", lte: "e" })];
      const entries: unknown[] = [];
      for await (const entry of store) entries.push(entry);
      seen["entries"] = entries;
      seen["keys"] = await store.keys({ reverse: true, limit: 2 }).nextv(10);
      seen["values"] = await store.values({ prefix: "e" }).nextv(10);
      seen["clear"] = [await store.clear({ lt: "e" }), await store.clear(), await store.count()];
      await store.flush();
      const { keyCount, version, durableVersion, isOwner } = await store.stats();
      seen["stats"] = [keyCount, durableVersion === version, isOwner];
      const { ok, keys, faults } = await store.verify();
      seen["verify"] = [ok, keys, faults];
      for (let i = 0; i < 60_000; i++) void store.set(`key ${i % 100}`, `${i}`.padEnd(100, "v"));
      const { done, bytesFreed } = await store.compact({ full: true });
      seen["compact"] = [done, bytesFreed > 0, await store.get("key 99").then((value) => value?.slice(0, 5))];
      seen["refused"] = (await outcome(store.compact({ full: 1 } as object))).code;
      await store.close();
      return JSON.parse(JSON.stringify(seen, (_, value) => value ?? null));
    }, pages.newName());
    expect(seen).toEqual({
      set: true,
      put: true,
      get: ["1", null],
      many: ["2", null, "1"],
      has: [true, false],
      delete: [true, false],
      del: [true, false],
      batch: [true, false],
      built: [3, [true, true, true], [true]],
      count: [3, 1],
      entries: [
        ["d", "4"],
        ["e", "é€😀"],
        ["f", ""],
      ],
      keys: ["f", "e"],
      values: ["é€😀"],
      clear: [1, 2, 0],
      stats: [0, true, true],
      verify: [true, 0, []],
      compact: [true, true, "59999"],
      refused: "INVALID_ARGUMENT",
    });
  });

  test("tells how far a verification is, and refuses what are no options of it", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      for (let i = 0; i < 20_000; i++) void store.set(`key ${i}`, "v".repeat(i % 100));
      const progress: { phase: string; done: number; total: number }[] = [];
      const { ok, keys } = await store.verify({
        onProgress(at) {
          progress.push(at);
          throw new Error("a listener's own failure");
        },
      });
      const refused = await outcome(store.verify({ quick: true } as object));
      await store.close();
      return { ok, keys, progress, refused };
    }, pages.newName());
    expect(seen).toMatchObject({ ok: true, keys: 20_000, refused: { code: "INVALID_ARGUMENT" } });
    const phases = seen.progress.map(({ phase }) => phase);
    expect(phases).toEqual([...phases].sort().reverse());
    expect(new Set(phases)).toEqual(new Set(["log", "index"]));
    expect(seen.progress.at(-1)).toEqual({ phase: "index", done: 20_000, total: 20_000 });
  });

  // The listener went to the worker with the other options, and could not be cloned.
  test("tells its listener how far opening and compaction are, whichever tab holds the store", async () => {
    const name = pages.newName();
    const [first, second] = [await pages.newPage(), await pages.newPage()];
    for (const page of [first, second]) {
      await page.evaluate(async (name) => {
        kept.phases = [];
        kept.store = await cairn.connect(name, {
          onProgress({ phase }) {
            kept.phases.push(phase);
            throw new Error("a listener's own failure");
          },
        });
      }, name);
    }
    await second.evaluate(async () => {
      for (let i = 0; i < 60_000; i++) void kept.store.set(`key ${i % 100}`, `${i}`.padEnd(100, "v"));
      await kept.store.compact({ full: true });
    });
    for (const page of [first, second]) {
      await expect.poll(() => page.evaluate(() => kept.phases.includes("compaction"))).toBe(true);
    }
    await first.evaluate(() => kept.store.killWorker());
    await expect
      .poll(async () => {
        const seen = await Promise.all([first, second].map((page) => page.evaluate(() => kept.phases)));
        return seen.flat().includes("recovery");
      })
      .toBe(true);
  });

  test("encodes on the page: bytes, JSON and codecs share a store with text", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const text = await cairn.connect(name);
      const bytes = await cairn.connect(name, { keyEncoding: "binary", valueEncoding: "binary" });
      const json = await cairn.connect(name, { valueEncoding: "json" });
      const point = {
        name: "point",
        encode: ({ x, y }: { x: number; y: number }) => Uint8Array.of(x, y),
        decode: ([x = 0, y = 0]: Uint8Array) => ({ x, y }),
      };
      const codec = await cairn.connect(name, { valueEncoding: point });
      const large = new Uint8Array(300_000).map((_, index) => index % 251);
      const part = large.subarray(10, 20);
      const put = bytes.put(part, large);
      part.fill(0);
      await put;
      part.set(large.subarray(261, 271));
      const back = (await bytes.get(part)) as Uint8Array;
      await text.set("text", "héllo");
      await json.set("json", { list: [1, "two", null] });
      await codec.set("point", { x: 3, y: 4 });
      const seen = {
        size: back.length,
        start: [...back.subarray(8, 12)],
        same: back.every((byte, index) => byte === (index >= 10 && index < 20 ? back[index] : index % 251)),
        ofText: [...((await bytes.get(new TextEncoder().encode("text"))) ?? [])],
        prefix: (await bytes.keys({ prefix: new TextEncoder().encode("t") }).nextv(5)).map((key) => [...key]),
        json: await json.get("json"),
        ofJson: await text.get("json"),
        point: await codec.get("point"),
        broken: await outcome(json.get("text")),
      };
      for (const store of [text, bytes, json, codec]) await store.close();
      return seen;
    }, pages.newName());
    expect(seen).toMatchObject({
      size: 300_000,
      start: [8, 9, 10, 11],
      same: true,
      ofText: [...new TextEncoder().encode("héllo")],
      prefix: [[...new TextEncoder().encode("text")]],
      json: { list: [1, "two", null] },
      ofJson: '{"list":[1,"two",null]}',
      point: { x: 3, y: 4 },
      broken: { code: "INVALID_ARGUMENT" },
    });
  });

  test("walks through one snapshot, in blocks, and can jump", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const keyOf = (i: number): string => `key ${String(i).padStart(6, "0")}`;
      for (let i = 0; i < 20_000; i++) void store.set(keyOf(i), `${i}`);
      const walk = store.entries();
      void store.clear();
      let next = 0;
      for await (const [key, value] of walk) {
        if (key !== keyOf(next) || value !== `${next}`) break;
        next++;
      }
      const empty = await store.count();
      for (let i = 0; i < 5000; i++) void store.set(keyOf(i), `${i}`);
      const jumping = store.keys();
      const first = await jumping.next();
      jumping.seek(keyOf(4000));
      const [atTarget] = await jumping.nextv(1);
      jumping.seek(keyOf(7));
      const two = [(await jumping.next()).value, (await jumping.next()).value];
      await jumping.return();
      const pair = await Promise.all([store.keys().next(), store.keys().next()]);
      const open = (await store.stats()).snapshotCount;
      const after = await jumping.next();
      await store.close();
      return { next, empty, first: first.value, atTarget, two, after: after.done, pair: pair[1]?.value, open };
    }, pages.newName());
    expect(seen).toEqual({
      next: 20_000,
      empty: 0,
      first: "key 000000",
      atTarget: "key 004000",
      two: ["key 000007", "key 000008"],
      after: true,
      pair: "key 000000",
      open: 2,
    });
  });

  test("refuses what is wrong, with the errors of a store", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      await store.set("a", "1");
      const codes: Record<string, unknown> = {};
      const code = async (promise: Promise<unknown>): Promise<unknown> => (await outcome(promise)).code;
      codes["key"] = await code(store.set(5 as unknown as string, "1"));
      codes["empty"] = await code(store.set("", "1"));
      codes["long"] = await code(store.put("k".repeat(2049), "1"));
      codes["value"] = await code(store.set("k", undefined as unknown as string));
      codes["large"] = await code(store.put("k", "v".repeat(64 * 1024 * 1024 + 1)));
      codes["option"] = await code(store.set("k", "v", { sync: true } as object));
      codes["range"] = await code(store.count({ from: "a" } as object));
      codes["batch"] = await code(store.batch([{ type: "set", key: "", value: "" }]));
      codes["options"] = await code(cairn.connect(name, { durability: "never" as "sync" }));
      codes["name"] = [await code(cairn.connect("a/../b")), await code(cairn.connect(""))];
      const reader = await cairn.connect(name, { readOnly: true });
      codes["readOnly"] = [await code(reader.set("a", "2")), await code(reader.clear()), await reader.get("a")];
      codes["missing"] = await code(cairn.connect("none.cairn", { create: false }));
      await reader.close();
      await store.close();
      await store.close();
      codes["closed"] = [await code(store.get("a")), await code(store.put("a", "2")), await code(store.keys().next())];
      const error = (await store.get("a").catch((error: unknown) => error)) as InstanceType<typeof cairn.CairnError>;
      codes["class"] = [error instanceof cairn.CairnError, error.name];
      return codes;
    }, pages.newName());
    expect(seen).toEqual({
      key: "INVALID_ARGUMENT",
      empty: "KEY_SIZE",
      long: "KEY_SIZE",
      value: "INVALID_ARGUMENT",
      large: "VALUE_SIZE",
      option: "INVALID_ARGUMENT",
      range: "INVALID_ARGUMENT",
      batch: "KEY_SIZE",
      options: "INVALID_ARGUMENT",
      name: ["INVALID_ARGUMENT", "INVALID_ARGUMENT"],
      readOnly: ["READ_ONLY", "READ_ONLY", "1"],
      missing: "NOT_A_STORE",
      closed: ["CLOSED", "CLOSED", "CLOSED"],
      class: [true, "CairnError"],
    });
  });

  test("keeps a store in memory for one connection, gone with its worker", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async () => {
      const one = await cairn.connect(":memory:");
      const two = await cairn.connect(":memory:");
      await one.put("a", "1");
      const apart = await two.has("a");
      one.killWorker();
      const gone = (await outcome(one.get("a"))).code;
      await one.close();
      await two.close();
      return { apart, gone };
    });
    expect(seen).toEqual({ apart: false, gone: "CLOSED" });
  });

  test("loses nothing acknowledged when the worker is killed in the midst of writes", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    await connected(page, name, { flushIntervalMs: 10_000 });
    const seen = await page.evaluate(async () => {
      const { store } = kept;
      const acknowledged = new Map<string, string>();
      const codes = new Set<string>();
      const write = async (call: "set" | "put", key: string, value: string): Promise<void> => {
        try {
          await store[call](key, value);
          acknowledged.set(key, value);
        } catch (error) {
          codes.add((error as { code: string }).code);
        }
      };
      let refusedReads = 0;
      for (let round = 0; round < 4; round++) {
        const writes: Promise<void>[] = [];
        for (let i = 0; i < 3000; i++) {
          writes.push(write(i % 3 === 0 ? "put" : "set", `${round} ${i}`, `${i}`.padEnd(i % 500, ".")));
          if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve));
          if (i % 500 === 499) store.get(`${round} 0`).catch(() => refusedReads++);
          if (i === 1500 + round * 300) store.killWorker();
        }
        await Promise.all(writes);
      }
      let missing = 0;
      for (const [key, value] of acknowledged) if ((await store.get(key)) !== value) missing++;
      return {
        acknowledged: acknowledged.size,
        missing,
        codes: [...codes],
        refusedReads,
        epoch: (await store.stats()).epoch,
      };
    });
    expect(seen.missing).toBe(0);
    expect(seen.acknowledged).toBeGreaterThan(6000);
    expect(seen.codes.filter((code) => code !== "DEVICE_WRITE")).toEqual([]);
    expect(seen.refusedReads).toBe(0);
    expect(seen.epoch).toBe(5);
    const again = await pages.newPage();
    await page.evaluate(() => kept.store.close());
    await connected(again, name);
    expect(await again.evaluate(() => kept.store.count())).toBeGreaterThanOrEqual(seen.acknowledged);
  });

  test("says which writes a killed worker had not answered, and begins its walks anew", async () => {
    const page = await pages.newPage();
    await connected(page, pages.newName());
    const seen = await page.evaluate(async () => {
      const { store } = kept;
      for (let i = 0; i < 1000; i++) void store.set(`key ${i}`, "v");
      await store.flush();
      const walk = store.keys();
      await walk.next();
      const put = outcome(store.put("late", "1"));
      const get = outcome(store.get("key 1"));
      // The calls go out in the microtasks of this turn, and the worker cannot answer before the next.
      await Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => Promise.resolve())
        .then(() => Promise.resolve());
      await Promise.resolve().then(() => Promise.resolve());
      store.killWorker();
      const rest: string[] = [];
      const walked = await outcome(
        (async () => {
          for await (const key of walk) rest.push(key);
        })(),
      );
      return { put: await put, get: await get, walked, rest: rest.length, count: await store.count({ prefix: "key" }) };
    });
    expect(seen.put.code).toBe("DEVICE_WRITE");
    expect(seen.put.message).toContain("may have happened or not");
    expect(seen.get).toEqual({ value: "v" });
    expect(seen.walked.code).toBe("SNAPSHOT_EXPIRED");
    // What the first block held is delivered.
    expect(seen.rest).toBe(63);
    expect(seen.count).toBe(1000);
  });

  test("under durability sync answers a set when it is durable, whatever the owner's is", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const owner = await cairn.connect(name, { durability: "manual" });
      const store = await cairn.connect(name, { durability: "sync" });
      const pending = async (): Promise<boolean> => {
        const { version, durableVersion } = await owner.stats();
        return version !== durableVersion;
      };
      await owner.set("a", "1");
      const manual = await pending();
      await store.set("b", "2");
      const afterSet = await pending();
      await owner.set("c", "3");
      await store.delete("b");
      const afterDelete = await pending();
      await owner.set("d", "4");
      await store.batch().set("e", "5").commit();
      const afterBatch = await pending();
      await owner.set("f", "6");
      await store.clear({ gte: "e" });
      const afterClear = await pending();
      await store.close();
      await owner.close();
      return { manual, afterSet, afterDelete, afterBatch, afterClear };
    }, pages.newName());
    expect(seen).toEqual({ manual: true, afterSet: false, afterDelete: false, afterBatch: false, afterClear: false });
  });
});
