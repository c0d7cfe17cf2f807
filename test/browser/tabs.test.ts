/** Several tabs of a real browser on one store: who owns it, and what becomes of writes when the owner goes. */
import type { Page } from "puppeteer-core";
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

/** Connects a page, and keeps the connection there. */
async function connect(page: Page, name: string, options: object = {}): Promise<void> {
  await page.evaluate(
    async (name, options) => {
      kept.store = await cairn.connect(name, options);
    },
    name,
    options,
  );
}

/** Begins to write on a page, and goes on until `stopWriting`: puts and sets, up to 20 at once. */
async function startWriting(page: Page, prefix: string): Promise<void> {
  await page.evaluate((prefix) => {
    kept.acknowledged = [];
    kept.codes = [];
    kept.going = true;
    const write = async (i: number): Promise<void> => {
      const key = `${prefix} ${i}`;
      try {
        await kept.store[i % 2 === 0 ? "put" : "set"](key, `${i}`.padEnd(50 + (i % 300), "."));
        kept.acknowledged.push(key);
      } catch (error) {
        kept.codes.push((error as { code: string }).code);
      }
    };
    kept.writing = (async () => {
      for (let i = 0; kept.going; i += 20) {
        await Promise.all(Array.from({ length: 20 }, (_, j) => write(i + j)));
      }
    })();
  }, prefix);
}

/** Waits until a page has had `count` more writes acknowledged. */
async function waitForWrites(page: Page, count: number): Promise<void> {
  const before = await page.evaluate(() => kept.acknowledged.length);
  await page.waitForFunction(`kept.acknowledged.length >= ${before + count}`, { timeout: 20_000, polling: 20 });
}

/** Ends the writing of a page: what was acknowledged, which of it is not there, and the codes of what was refused. */
async function stopWriting(page: Page): Promise<{ count: number; missing: string[]; codes: string[] }> {
  return page.evaluate(async () => {
    kept.going = false;
    await kept.writing;
    const missing: string[] = [];
    for (const key of kept.acknowledged) {
      const i = Number(key.split(" ")[1]);
      if ((await kept.store.get(key)) !== `${i}`.padEnd(50 + (i % 300), ".")) missing.push(key);
    }
    return { count: kept.acknowledged.length, missing, codes: kept.codes };
  });
}

const isOwner = (page: Page): Promise<boolean> => page.evaluate(async () => (await kept.store.stats()).isOwner);

describe.each(browsersOfRun())("tabs of %s", (browser) => {
  const pages = new Pages(browser);

  test("share one store: each sees what the others wrote, and events reach all", async () => {
    const name = pages.newName();
    const all = [await pages.newPage(), await pages.newPage(), await pages.newPage()];
    for (const page of all) {
      await page.evaluate(async (name) => {
        kept.events = [];
        kept.store = await cairn.connect(name, { onEvent: ({ type }) => kept.events.push(type) });
      }, name);
    }
    expect(await Promise.all(all.map(isOwner))).toEqual([true, false, false]);
    await Promise.all(
      all.map((page, index) =>
        page.evaluate(async (index) => {
          const writes: Promise<unknown>[] = [];
          for (let i = 0; i < 500; i++) writes.push(kept.store.set(`${index} ${i}`, `${i}`));
          await Promise.all(writes);
          await kept.store.put(`large ${index}`, "l".repeat(200_000));
        }, index),
      ),
    );
    for (const page of all) {
      const seen = await page.evaluate(async () => {
        const keys: string[] = [];
        for await (const key of kept.store.keys({ prefix: "1 " })) keys.push(key);
        const large = await kept.store.getMany(["large 0", "large 1", "large 2"]);
        return {
          count: await kept.store.count(),
          keys: keys.length,
          large: large.map((value: string) => value.length),
          flushed: kept.events.includes("flushed"),
        };
      });
      expect(seen).toEqual({ count: 1503, keys: 500, large: [200_000, 200_000, 200_000], flushed: true });
    }
  });

  test("hand the store over when its owner closes its connection, and no call fails", async () => {
    const name = pages.newName();
    const [first, second, third] = [await pages.newPage(), await pages.newPage(), await pages.newPage()];
    for (const page of [first, second, third]) await connect(page, name, { flushIntervalMs: 5000 });
    await startWriting(second, "second");
    await startWriting(third, "third");
    await waitForWrites(second, 100);
    await first.evaluate(() => kept.store.close());
    await waitForWrites(second, 100);
    await waitForWrites(third, 100);
    const owner = (await isOwner(second)) ? second : third;
    const other = owner === second ? third : second;
    expect([await isOwner(owner), await isOwner(other)]).toEqual([true, false]);
    const ended = await stopWriting(owner);
    await owner.evaluate(() => kept.store.close());
    await waitForWrites(other, 100);
    for (const { count, missing, codes } of [ended, await stopWriting(other)]) {
      expect(count).toBeGreaterThan(100);
      expect(missing).toEqual([]);
      expect(codes).toEqual([]);
    }
    expect(await isOwner(other)).toBe(true);
    expect(await other.evaluate(() => kept.store.count())).toBeGreaterThanOrEqual(ended.count);
  });

  test("verify a store that its owner closes meanwhile, from the next one", async () => {
    // Where a busy machine lets the verification end before the owner has left, another store is tried.
    let isBegunAnew = false;
    for (let attempt = 0; attempt < 8 && !isBegunAnew; attempt++) {
      const name = pages.newName();
      const [first, second] = [await pages.newPage(), await pages.newPage()];
      for (const page of [first, second]) await connect(page, name);
      await first.evaluate(async () => {
        for (let i = 0; i < 60_000; i++) void kept.store.set(`key ${i}`, "v".repeat(i % 200));
        await kept.store.flush();
        const channel = new BroadcastChannel("verification");
        kept.closed = new Promise<void>((resolve) => {
          channel.onmessage = () => resolve();
        }).then(() => kept.store.close());
      });
      await second.evaluate(() => {
        const channel = new BroadcastChannel("verification");
        kept.progress = [];
        const onProgress = (at: object): void => {
          if (kept.progress.push(at) === 1) channel.postMessage("begun");
        };
        kept.report = kept.store.verify({ onProgress });
      });
      await first.evaluate(() => kept.closed);
      const { ok, keys, faults } = await second.evaluate(() => kept.report);
      expect({ ok, keys, faults }).toEqual({ ok: true, keys: 60_000, faults: [] });
      expect(await isOwner(second)).toBe(true);
      const done = (await second.evaluate(() => kept.progress)) as { phase: string; done: number }[];
      isBegunAnew = done.some((at, i) => i > 0 && at.phase === "log" && at.done < (done[i - 1]?.done ?? 0));
      for (const page of [first, second]) await pages.closePage(page);
    }
    expect(isBegunAnew).toBe(true);
  });

  const ends = {
    "is closed in the midst of a commit": (page: Page) => pages.closePage(page),
    "is reloaded": (page: Page) => page.reload(),
    ...(browser === "chromium" ? { crashes: (page: Page) => crash(page) } : {}),
  };
  test.each(Object.entries(ends))("replace an owner that %s, and lose nothing acknowledged", async (_, end) => {
    const name = pages.newName();
    const [witness, owner, other] = [await pages.newPage(), await pages.newPage(), await pages.newPage()];
    // What the owner had acknowledged outlives it in another tab.
    await witness.evaluate(() => {
      kept.heard = [];
      new BroadcastChannel("acknowledged").onmessage = ({ data }) => kept.heard.push(data);
    });
    await connect(owner, name);
    // Sets stay in memory for long: only the tab that made them can do them again.
    await connect(other, name, { flushIntervalMs: 20_000 });
    await owner.evaluate(() => {
      const channel = new BroadcastChannel("acknowledged");
      let next = 0;
      const write = async (): Promise<void> => {
        const key = `owner ${next++}`;
        await kept.store.put(key, key.repeat(20));
        channel.postMessage(key);
        void write();
      };
      for (let i = 0; i < 10; i++) void write();
    });
    await startWriting(other, "other");
    await waitForWrites(other, 200);
    await witness.waitForFunction("kept.heard.length > 50", { timeout: 20_000, polling: 20 });
    expect(await isOwner(other)).toBe(false);
    await end(owner);
    await waitForWrites(other, 200);
    const { missing, codes } = await stopWriting(other);
    expect(missing).toEqual([]);
    expect(codes.filter((code) => code !== "DEVICE_WRITE")).toEqual([]);
    expect(codes.length).toBeLessThanOrEqual(20);
    expect(await isOwner(other)).toBe(true);
    const heard = (await witness.evaluate(() => kept.heard)) as string[];
    expect(heard.length).toBeGreaterThan(50);
    const lost = await other.evaluate(async (keys) => {
      const values = await kept.store.getMany(keys);
      return keys.filter((key, index) => values[index] !== key.repeat(20));
    }, heard);
    expect(lost).toEqual([]);
  });

  test("are no owner's loss when they go: their walks end with them", async () => {
    const name = pages.newName();
    const [owner, other] = [await pages.newPage(), await pages.newPage()];
    await connect(owner, name);
    await connect(other, name);
    await other.evaluate(async () => {
      for (let i = 0; i < 1000; i++) void kept.store.set(`key ${i}`, "v");
      kept.walks = [kept.store.keys(), kept.store.entries()];
      for (const walk of kept.walks) await walk.next();
    });
    const snapshots = (): Promise<number> =>
      owner.evaluate(async () => (await kept.store.stats()).snapshotCount as number);
    expect(await snapshots()).toBe(2);
    await pages.closePage(other);
    await expect.poll(snapshots, { timeout: 10_000 }).toBe(0);
    expect(await owner.evaluate(() => kept.store.count())).toBe(1000);
  });

  test("may lose their workers any number of times beside an owner", async () => {
    const name = pages.newName();
    const [owner, other] = [await pages.newPage(), await pages.newPage()];
    await connect(owner, name);
    await connect(other, name);
    const seen = await other.evaluate(async () => {
      for (let i = 0; i < 8; i++) {
        kept.store.killWorker();
        await kept.store.set("count", `${i}`);
      }
      return kept.store.get("count");
    });
    expect(seen).toBe("7");
    const all = await other.evaluate(async () => {
      for (let i = 0; i < 12; i++) kept.store.killWorker();
      return kept.store.get("count");
    });
    expect(all).toBe("7");
    // One of them is there still to take over.
    await owner.evaluate(() => kept.store.close());
    expect(await other.evaluate(() => kept.store.get("count"))).toBe("7");
    expect(await isOwner(other)).toBe(true);
    // The owner's own, before the next one can have begun.
    await other.evaluate(async () => {
      for (let i = 0; i < 12; i++) kept.store.killWorker();
      await kept.store.set("count", "8");
    });
    expect(await isOwner(other)).toBe(true);
  });

  // Having had an owner, which is gone, was taken for having one.
  test("give up when their workers end one after the other, also once there was an owner", async () => {
    const name = pages.newName();
    const [owner, other, third] = [await pages.newPage(), await pages.newPage(), await pages.newPage()];
    await connect(owner, name);
    // Ends workers of the page unbeknown to the connection, ten at most.
    await other.evaluate(() => {
      kept.workers = [];
      kept.areEnding = false;
      kept.alive = new Promise((resolve) => {
        kept.isAlive = resolve;
      });
      globalThis.Worker = class extends Worker {
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          kept.workers.push(this);
          this.addEventListener("message", ({ data }) => {
            if (data.type === "alive") kept.isAlive();
            if (!kept.areEnding || data.type !== "alive" || kept.workers.length > 10) return;
            // The connection hears this after us, and watches the worker from then on.
            setTimeout(() => this.terminate());
          });
        }
      };
    });
    await connect(other, name);
    await other.evaluate(() => kept.store.set("a", "1"));
    // The owner may have answered before the page's own worker has begun, which nobody watches until then.
    await other.evaluate(() => kept.alive);
    // Whoever is elected next waits for the file, and does not get it.
    await third.evaluate(async (name) => {
      void navigator.locks.request(`cairn-kv:${name}:file`, () => new Promise(() => {}));
      // Answered when the request is there.
      await navigator.locks.query();
    }, name);
    await other.evaluate(async (name) => {
      const elected = async (): Promise<string | undefined> => {
        const { held = [] } = await navigator.locks.query();
        return held.find((lock) => lock.name === `cairn-kv:${name}`)?.clientId;
      };
      const first = await elected();
      kept.asked = (async () => {
        // A page that was closed may live on for a moment, and its worker answer.
        for (let now = first; now === first || now === undefined; now = await elected()) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const asked = outcome(kept.store.get("a"));
        kept.areEnding = true;
        kept.workers[0].terminate();
        return asked;
      })();
    }, name);
    await pages.closePage(owner);
    const { code, message } = await other.evaluate(() => kept.asked);
    expect([code, message]).toEqual(["UNSUPPORTED", expect.stringContaining("5 workers ended")]);
    // The one that was there, and five that took its place.
    expect(await other.evaluate(() => kept.workers.length)).toBe(6);
  });
});

/** Makes the process of a page crash. */
async function crash(page: Page): Promise<void> {
  const session = await page.createCDPSession();
  session.send("Page.crash").catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 200));
}
