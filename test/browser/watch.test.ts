/** `watch` of connections in real browsers: what any tab writes, once and in order, whichever worker holds the store meanwhile. */
import type { Page } from "puppeteer-core";
import { describe, expect, test } from "vitest";
import type { Change } from "../../store/watch.ts";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

/** Connects a page and watches all from there, noting type, key, version and the value's size; `ms` after each large one. */
async function watching(page: Page, name: string, ms = 0): Promise<void> {
  await page.evaluate(
    async (name, ms) => {
      kept.store = await cairn.connect(name);
      kept.seen = [];
      kept.watch = kept.store.watch();
      kept.done = (async () => {
        for await (const { type, key, value, version } of kept.watch) {
          kept.seen.push([type, key, version, value?.length ?? -1]);
          if (ms > 0 && (value?.length ?? 0) > 10_000) await new Promise((resolve) => setTimeout(resolve, ms));
        }
      })().catch((error) => {
        kept.failed = `${error.code} ${error.message}`;
      });
      await kept.store.get("none");
    },
    name,
    ms,
  );
}

type Seen = [type: string, key: string, version: number, size: number];

/** What a page has seen when it has seen a key. */
async function seenUpTo(page: Page, key: string): Promise<Seen[]> {
  await page.waitForFunction(
    `kept.failed !== undefined || kept.seen.some((seen) => seen[1] === ${JSON.stringify(key)})`,
    {
      timeout: 30_000,
      polling: 20,
    },
  );
  expect(await page.evaluate(() => kept.failed)).toBe(undefined);
  return page.evaluate(() => kept.seen);
}

/** Each once, and in the order of versions. */
function expectInOrder(seen: readonly Seen[]): void {
  for (let i = 1; i < seen.length; i++) {
    const [before, after] = [seen[i - 1] as Seen, seen[i] as Seen];
    if (after[2] < before[2]) throw new Error(`${after} after ${before}`);
  }
  expect(new Set(seen.map(([, key, version]) => `${key} ${version}`)).size).toBe(seen.length);
}

describe.each(browsersOfRun())("watch in %s", (browser) => {
  const pages = new Pages(browser);

  test("shows what any tab writes: ranges, keys, versions, bytes beside text", async () => {
    const name = pages.newName();
    const [first, second] = [await pages.newPage(), await pages.newPage()];
    await first.evaluate(async (name) => {
      kept.store = await cairn.connect(name);
      await kept.store.put("user:0", "before");
      await kept.store.put("gone", "x");
    }, name);
    await second.evaluate(async (name) => {
      const take = async (watch: AsyncIterator<Change<unknown, unknown>>, count: number): Promise<unknown[]> => {
        const changes: unknown[] = [];
        while (changes.length < count) {
          const { type, key, value } = (await watch.next()).value as Change<unknown, unknown>;
          const shown = (what: unknown) => (what instanceof Uint8Array ? [...what] : what);
          changes.push([type, shown(key), shown(value)]);
        }
        return changes;
      };
      kept.store = await cairn.connect(name);
      const bytes = await cairn.connect(name, { keyEncoding: "binary", valueEncoding: "binary" });
      kept.range = take(kept.store.watch({ prefix: "user:" }), 4);
      kept.keys = take(kept.store.watch(["a", "user:2"]), 3);
      kept.since = take(kept.store.watch(undefined, { since: 0 }), 4);
      kept.bytes = take(bytes.watch({ gte: new Uint8Array([117]) }), 2);
      await kept.store.get("a");
      await bytes.count();
    }, name);
    await first.evaluate(async () => {
      await kept.store.put("a", "1");
      await kept.store.batch([
        { type: "set", key: "user:1", value: "é" },
        { type: "set", key: "user:2", value: "" },
      ]);
      await kept.store.del("user:2");
      await kept.store.put("user:3", "3");
    });
    const seen = await second.evaluate(() => Promise.all([kept.range, kept.keys, kept.since, kept.bytes]));
    const user = (n: number): number[] => [...`user:${n}`].map((c) => c.charCodeAt(0));
    // Of what a page gives back, one browser's protocol makes null of undefined, another's does not.
    expect(JSON.parse(JSON.stringify(seen))).toEqual([
      [
        ["set", "user:1", "é"],
        ["set", "user:2", ""],
        ["delete", "user:2", null],
        ["set", "user:3", "3"],
      ],
      [
        ["set", "a", "1"],
        ["set", "user:2", ""],
        ["delete", "user:2", null],
      ],
      [
        ["set", "user:0", "before"],
        ["set", "gone", "x"],
        ["set", "a", "1"],
        ["set", "user:1", "é"],
      ],
      [
        ["set", user(1), [195, 169]],
        ["set", user(2), []],
      ],
    ]);
  });

  test("ends with its signal, its loop and its connection, and refuses what a store refuses", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const seen: Record<string, unknown> = {};
      const stop = new AbortController();
      const waits = outcome(store.watch(undefined, { signal: stop.signal }).next());
      await store.put("a", "1");
      const aborted = store.watch(undefined, { signal: stop.signal, since: 0 });
      const first = (await aborted.next()).value;
      stop.abort(Object.assign(new Error("enough"), { code: "MINE" }));
      seen["aborted"] = [(await waits).value !== undefined, first?.key, (await outcome(aborted.next())).code];
      seen["after"] = (await aborted.next()).done;
      const returned = store.watch();
      const last = returned.next();
      await returned.return();
      seen["returned"] = [(await last).done, (await returned.next()).done];
      const { version } = await store.stats();
      const placed = store.watch(["none"]);
      void placed.next();
      for (let i = 0; i < 5; i++) await store.put("b", `${i}`);
      // Nothing that it is about was written, and yet it knows that it has seen all.
      await new Promise((resolve) => setTimeout(resolve, 100));
      seen["placed"] = (placed.version as number) > version;
      const codes: unknown[] = [];
      const refused = [{ durable: false }, { since: -1 }, { since: 1.5 }, { bufferBytes: 1 }, { other: 1 }];
      for (const options of refused)
        codes.push((await outcome((async () => store.watch({}, options as object))())).code);
      codes.push((await outcome((async () => store.watch({ reverse: true } as object))())).code);
      codes.push((await outcome(store.watch({}, { since: 2 ** 40 }).next())).code);
      seen["codes"] = codes;
      const open = store.watch();
      const waiting = open.next();
      await store.close();
      seen["closed"] = [(await waiting).done, (await outcome(store.watch().next())).value];
      return JSON.parse(JSON.stringify(seen));
    }, pages.newName());
    expect(seen).toEqual({
      aborted: [true, "a", "MINE"],
      after: true,
      returned: [true, true],
      placed: true,
      codes: [
        "UNSUPPORTED",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "VERSION_COMPACTED",
      ],
      closed: [true, { done: true }],
    });
  });

  test("its version counts what was given, not what has come, when it is left or a value cannot be decoded", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const decode = (bytes: Uint8Array): string => {
        const text = new TextDecoder().decode(bytes);
        if (kept.isBroken && text === "2") throw new Error("no such value");
        return text;
      };
      const codec = { name: "fragile", encode: (value: string) => value, decode };
      const store = await cairn.connect(name, { valueEncoding: codec });
      for (const key of ["1", "2", "3"]) await store.put(key, key);
      const rest = async (version: unknown): Promise<string[]> => {
        const watch = store.watch(undefined, { since: version as number });
        const keys: string[] = [];
        while (keys.at(-1) !== "3") keys.push((await watch.next()).value?.key as string);
        await watch.return();
        return keys;
      };
      const left = store.watch(undefined, { since: 0 });
      await left.next();
      await left.return();
      const seen: unknown[] = [await rest(left.version)];
      kept.isBroken = true;
      const failing = store.watch(undefined, { since: 0 });
      await failing.next();
      seen.push((await outcome(failing.next())).code);
      kept.isBroken = false;
      seen.push(await rest(failing.version));
      const stop = new AbortController();
      const aborted = store.watch(undefined, { since: 0, signal: stop.signal });
      await aborted.next();
      stop.abort();
      seen.push(await rest(aborted.version));
      await store.close();
      return seen;
    }, pages.newName());
    expect(seen).toEqual([["2", "3"], "INVALID_ARGUMENT", ["2", "3"], ["2", "3"]]);
  });

  test("its listener is taken off the signal when it ends, and when the page drops it", async () => {
    const page = await pages.newPage();
    const count = async (): Promise<number> => (await page.evaluate(() => kept.listeners.size)) as number;
    await page.evaluate(async (name) => {
      kept.store = await cairn.connect(name);
      const { signal } = new AbortController();
      kept.listeners = new Set();
      const { addEventListener, removeEventListener } = signal;
      signal.addEventListener = (...given: [string, never]) => {
        kept.listeners.add(new WeakRef(given[1]));
        addEventListener.apply(signal, given);
      };
      signal.removeEventListener = (...given: [string, never]) => {
        for (const listener of kept.listeners) if (listener.deref() === given[1]) kept.listeners.delete(listener);
        removeEventListener.apply(signal, given);
      };
      kept.signal = signal;
      const left = kept.store.watch(undefined, { signal });
      await left.return();
      kept.afterLeft = kept.listeners.size;
      for (let i = 0; i < 50; i++) kept.store.watch(undefined, { signal });
      await kept.store.get("none");
    }, pages.newName());
    expect(await page.evaluate(() => kept.afterLeft)).toBe(0);
    expect(await count()).toBe(50);
    // Only Chromium collects garbage when a test asks for it.
    if (browser !== "chromium") return;
    const session = await page.createCDPSession();
    for (let i = 0; i < 50 && (await count()) > 1; i++) {
      await session.send("HeapProfiler.collectGarbage");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await count()).toBeLessThanOrEqual(1);
  });

  test("goes on without a gap when the worker that holds the store is killed, in the midst of commits too", async () => {
    const name = pages.newName();
    const [writer, reader] = [await pages.newPage(), await pages.newPage()];
    await writer.evaluate(async (name) => {
      kept.store = await cairn.connect(name);
    }, name);
    await watching(reader, name, 1);
    for (const page of [writer, reader]) {
      await page.evaluate(() => {
        kept.kills = new BroadcastChannel("kills");
        kept.killed = 0;
        kept.kill = () => {
          if (!kept.store.tab.isOwner) return false;
          kept.killed++;
          kept.store.killWorker();
          return true;
        };
        kept.kills.onmessage = kept.kill;
      });
    }
    const acknowledged = await writer.evaluate(async () => {
      const acknowledged: string[] = [];
      const write = async (keys: string[], done: Promise<unknown>): Promise<void> => {
        try {
          await done;
          acknowledged.push(...keys);
        } catch {
          // It may be there or not.
        }
      };
      for (let round = 0; round < 40; round++) {
        const { store } = kept;
        const writes: Promise<void>[] = [];
        for (let i = 0; i < 10; i++) {
          const key = `k${round}-${i}`;
          writes.push(write([key], i % 2 === 0 ? store.put(key, "v".repeat(i)) : store.set(key, "v".repeat(i))));
        }
        // More than a block of changes holds, all of one version.
        const keys = Array.from({ length: 100 }, (_, i) => `b${round}-${i}`);
        const operations = keys.map((key) => ({ type: "set", key, value: "w".repeat(30_000) }));
        // Its reader has the first block then, and not the others.
        const kill = () => setTimeout(() => kept.kill() || kept.kills.postMessage(0), 15);
        if (round % 8 === 3) writes.push(write(keys, store.batch(operations).then(kill)));
        if (round % 8 === 6) setTimeout(() => kept.kill() || kept.kills.postMessage(0), (round * 7) % 20);
        await Promise.all(writes);
      }
      // The last worker may still be killed.
      while (!(await kept.store.put("the end", "", { ifVersion: null }).catch(() => false))) {
        if (await kept.store.has("the end")) break;
      }
      return acknowledged;
    });
    const seen = await seenUpTo(reader, "the end");
    expectInOrder(seen);
    const keys = seen.map(([, key]) => key);
    const known = new Set(keys);
    expect(acknowledged.filter((key) => !known.has(key))).toEqual([]);
    // Each key was written once.
    expect(known.size).toBe(keys.length);
    expect(acknowledged.length).toBeGreaterThan(600);
    // Which tab takes over is the browser's choice: Firefox may give the store to the same one each time.
    const killed = await Promise.all([writer, reader].map((page) => page.evaluate(() => kept.killed as number)));
    if (browser === "chromium") expect(Math.min(...killed)).toBeGreaterThan(0);
    expect(killed.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
  });

  test("goes on without a gap when the tab that holds the store is closed, and then when this one holds it", async () => {
    const name = pages.newName();
    const [owner, reader, writer] = [await pages.newPage(), await pages.newPage(), await pages.newPage()];
    await owner.evaluate(async (name) => {
      kept.store = await cairn.connect(name);
      await kept.store.put("first", "1");
    }, name);
    await watching(reader, name);
    await writer.evaluate(async (name) => {
      kept.store = await cairn.connect(name);
      kept.acknowledged = [];
      kept.going = true;
      kept.writing = (async () => {
        for (let i = 0; kept.going; i++) {
          const key = `k${i}`;
          await kept.store.put(key, "v").then(
            () => kept.acknowledged.push(key),
            () => undefined,
          );
          if (i % 3 === 0) await kept.store.del(key).catch(() => undefined);
        }
      })();
    }, name);
    const written = (count: number) =>
      writer.waitForFunction(`kept.acknowledged.length >= ${count}`, { timeout: 20_000, polling: 20 });
    await written(30);
    await pages.closePage(owner);
    await written(60);
    await reader.evaluate(() => kept.store.killWorker());
    await written(90);
    const acknowledged = await writer.evaluate(async () => {
      kept.going = false;
      await kept.writing;
      await kept.store.put("the end", "");
      return kept.acknowledged as string[];
    });
    const seen = await seenUpTo(reader, "the end");
    expectInOrder(seen);
    const last = new Map(seen.map(([type, key]) => [key, type]));
    const there = new Set((await writer.evaluate(() => kept.store.keys().nextv(100_000))) as string[]);
    for (const key of acknowledged) expect([key, last.get(key)]).toEqual([key, there.has(key) ? "set" : "delete"]);
    await reader.evaluate(async () => {
      await kept.store.close();
      await kept.done;
    });
    expect(await reader.evaluate(() => kept.failed)).toBe(undefined);
  });
});
