/** Backups of connections, and `restore` on a page, in real browsers: what they hold, and what becomes of them when somebody goes. */
import type { Page } from "puppeteer-core";
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

/** Connects a page, keeps the connection there, and fills a new store with `count` records of 20,000 bytes. */
async function connected(page: Page, name: string, count = 0): Promise<void> {
  await page.evaluate(
    async (name, count) => {
      kept.progress = 0;
      const onProgress = ({ phase, done }: { phase: string; done: number }): void => {
        if (phase === "backup") kept.progress = done;
      };
      kept.store = await cairn.connect(name, { onProgress });
      for (let i = 0; i < count; i++) void kept.store.set(`key ${i}`, `${i} `.padEnd(20_000, "v"));
      await kept.store.flush();
    },
    name,
    count,
  );
}

const pinned = (page: Page): Promise<number> =>
  page.evaluate(async () => (await kept.store.stats()).backupPinnedBytes as number);

describe.each(browsersOfRun())("backups in %s", (browser) => {
  const pages = new Pages(browser);

  test("hold what a store held, of namespaces too, and are restored on the page, also one that adds to another", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(
      async (name, other) => {
        const store = await cairn.connect(name);
        const users = store.sub("users", { valueEncoding: "json" });
        for (let i = 0; i < 300; i++) void store.set(`key ${i}`, `${i} `.padEnd(9000, "v"));
        await users.set("ada", { n: 1 });
        const first = users.backup();
        const monday = await first.version;
        const seen: Record<string, unknown> = { version: monday === (await store.stats()).version };
        void store.delete("key 0");
        await users.set("bob", { n: 2 });
        const whole = await new Response(first).blob();
        const second = store.backup({ since: monday });
        const tuesday = await second.version;
        const rest = await new Response(second).blob();
        seen["sizes"] = [whole.size > 2_700_000, rest.size < 700_000];
        seen["pinned"] = (await store.stats()).backupPinnedBytes;
        seen["forgotten"] = (await outcome(store.backup({ since: 1 }).getReader().read())).code;
        await store.close();

        const progress: { phase: string; done: number; total: number }[] = [];
        const onProgress = (at: (typeof progress)[number]): void => {
          progress.push(at);
          throw new Error("a listener's own failure");
        };
        const report = await cairn.restore(other, whole.stream(), { onProgress });
        seen["report"] = [report.version === monday, report.bytes === progress.at(-1)?.total, progress[0]?.phase];
        const back = await cairn.connect(other);
        const records = back.sub("users", { valueEncoding: "json" });
        const values = await back.getMany(Array.from({ length: 300 }, (_, i) => `key ${i}`));
        seen["monday"] = [
          values.every((value, i) => value === `${i} `.padEnd(9000, "v")),
          await back.count(),
          await records.get("ada"),
          (await records.get("bob")) ?? null,
          (await back.verify()).faults,
        ];
        await back.close();
        const both = await cairn.restore(other, [whole.stream(), rest.stream()], { overwrite: true });
        seen["both"] = both.version === tuesday;
        const later = await cairn.connect(other);
        seen["tuesday"] = [
          (await later.get("key 0")) ?? null,
          await later.count(),
          await later.sub("users", { valueEncoding: "json" }).get("bob"),
        ];
        await later.close();
        return seen;
      },
      pages.newName(),
      `folder/${pages.newName()}`,
    );
    expect(seen).toEqual({
      version: true,
      sizes: [true, true],
      pinned: 0,
      forgotten: "VERSION_COMPACTED",
      report: [true, true, "restore"],
      monday: [true, 300, { n: 1 }, null, []],
      both: true,
      tuesday: [null, 299, { n: 2 }],
    });
  });

  test("reach another tab than the owner's, and are read no faster than it takes them", async () => {
    const name = pages.newName();
    const [owner, other] = [await pages.newPage(), await pages.newPage()];
    await connected(owner, name, 500);
    await connected(other, name);
    const size = await other.evaluate(async () => {
      kept.reader = kept.store.backup().getReader();
      kept.chunks = [(await kept.reader.read()).value];
      return (await kept.store.stats()).backupPinnedBytes as number;
    });
    expect(size).toBeGreaterThan(9_000_000);
    // Time enough for all of it, if somebody did not wait.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await owner.evaluate(() => kept.progress)).toBeLessThan(5_000_000);
    const seen = await other.evaluate(async (name) => {
      for (let i = 0; i < 500; i++) void kept.store.set(`key ${i}`, "overwritten");
      for (;;) {
        const { done, value } = await kept.reader.read();
        if (done) break;
        kept.chunks.push(value);
      }
      const { backupPinnedBytes, backupHeldBytes } = await kept.store.stats();
      await cairn.restore(name, kept.chunks);
      const back = await cairn.connect(name);
      const values = await back.values().nextv(1000);
      await back.close();
      return {
        backupPinnedBytes,
        backupHeldBytes,
        right:
          values.length === 500 && values.every((value) => value === `${value.split(" ")[0]} `.padEnd(20_000, "v")),
      };
    }, pages.newName());
    expect(seen).toEqual({ backupPinnedBytes: 0, backupHeldBytes: 0, right: true });
    expect(await owner.evaluate(() => kept.progress)).toBeGreaterThan(9_000_000);
  });

  test("let go of what they pin when they are cancelled or aborted, and when their tab goes", async () => {
    const name = pages.newName();
    const [owner, other] = [await pages.newPage(), await pages.newPage()];
    await connected(owner, name, 300);
    await connected(other, name);
    for (const page of [owner, other]) {
      await page.evaluate(async () => {
        kept.reader = kept.store.backup().getReader();
        await kept.reader.read();
      });
      expect(await pinned(page)).toBeGreaterThan(5_000_000);
      await page.evaluate(() => kept.reader.cancel());
      expect(await pinned(page)).toBe(0);
      const seen = await page.evaluate(async () => {
        const stop = new AbortController();
        const stream = kept.store.backup({ signal: stop.signal });
        const reader = stream.getReader();
        await reader.read();
        stop.abort(Object.assign(new Error("enough"), { code: "MINE" }));
        const early = kept.store.backup({ signal: stop.signal });
        // One that is given up before its owner has begun it.
        const atOnce = kept.store.backup();
        await atOnce.cancel();
        return [
          (await outcome(reader.read())).code,
          (await outcome(early.getReader().read())).code,
          (await outcome(early.version)).code,
        ];
      });
      expect(seen).toEqual(["MINE", "MINE", "MINE"]);
      await expect.poll(() => pinned(page)).toBe(0);
    }
    await other.evaluate(() => kept.store.backup().getReader().read());
    expect(await pinned(owner)).toBeGreaterThan(5_000_000);
    await pages.closePage(other);
    await expect.poll(() => pinned(owner)).toBe(0);
  });

  test("end with their owner and with their connection, and can be begun at the next one", async () => {
    const name = pages.newName();
    const [first, second] = [await pages.newPage(), await pages.newPage()];
    await connected(first, name, 300);
    await connected(second, name);
    const begin = (): Promise<void> =>
      second.evaluate(async () => {
        const stream = kept.store.backup();
        kept.reader = stream.getReader();
        kept.version = await stream.version;
        await kept.reader.read();
        await kept.reader.read();
      });
    const rest = (): Promise<{ code?: string; message?: string }> =>
      second.evaluate(() =>
        outcome(
          (async () => {
            while (!(await kept.reader.read()).done);
          })(),
        ),
      );
    // In order,
    await begin();
    await first.evaluate(() => kept.store.close());
    const closed = await rest();
    expect([closed.code, closed.message?.startsWith("backup: the worker")]).toEqual(["SNAPSHOT_EXPIRED", true]);
    // and as a crash.
    await begin();
    await second.evaluate(() => kept.store.killWorker());
    expect((await rest()).code).toBe("SNAPSHOT_EXPIRED");
    // What the earlier owner remembered, the present one does.
    const seen = await second.evaluate(async () => {
      await kept.store.set("more", "1");
      const small = await new Response(kept.store.backup({ since: kept.version })).blob();
      return { size: small.size, pinned: (await kept.store.stats()).backupPinnedBytes };
    });
    expect(seen.size).toBeLessThan(1_500_000);
    expect(seen.pinned).toBe(0);
    await begin();
    const ended = await second.evaluate(async () => {
      await kept.store.close();
      const after = kept.store.backup();
      return [(await outcome(after.version)).code, (await outcome(after.getReader().read())).code];
    });
    expect(ended).toEqual(["CLOSED", "CLOSED"]);
    expect((await rest()).code).toBe("CLOSED");
  });

  test.skipIf(browser !== "chromium")("that a page dropped let go when they are collected", async () => {
    const name = pages.newName();
    const [owner, other] = [await pages.newPage(), await pages.newPage()];
    await connected(owner, name, 300);
    await connected(other, name);
    await other.evaluate(async () => {
      const stop = new AbortController();
      kept.stop = stop;
      await kept.store.backup({ signal: stop.signal }).version;
    });
    expect(await pinned(owner)).toBeGreaterThan(5_000_000);
    const session = await other.createCDPSession();
    await expect
      .poll(async () => {
        await session.send("HeapProfiler.collectGarbage");
        return pinned(owner);
      })
      .toBe(0);
    await other.evaluate(() => kept.stop.abort());
  });

  test("refuse what is wrong, and restoring leaves the target as it is then", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(
      async (name, target) => {
        const store = await cairn.connect(name, { readOnly: false });
        for (let i = 0; i < 200; i++) void store.set(`key ${i}`, `${i}`.padEnd(9000, "v"));
        const reader = await cairn.connect(name, { readOnly: true });
        const bytes = new Uint8Array(await new Response(reader.backup()).arrayBuffer());
        const code = async (call: () => unknown): Promise<unknown> => (await outcome((async () => call())())).code;
        const seen: Record<string, unknown> = {};
        seen["options"] = [
          await code(() => store.backup({ since: -1 })),
          await code(() => store.backup({ until: 1 } as object)),
          await code(() => store.backup({ signal: {} as AbortSignal })),
        ];
        const held = await cairn.connect(target);
        await held.put("here", "before");
        seen["locked"] = await code(() => cairn.restore(target, [bytes], { overwrite: true }));
        await held.close();
        const damaged = bytes.slice();
        damaged[1_500_000] = (damaged[1_500_000] as number) ^ 1;
        const failing = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (kept.isHalfway) throw Object.assign(new Error("the network"), { code: "MINE" });
            kept.isHalfway = true;
            controller.enqueue(bytes.slice(0, 1_000_000));
          },
        });
        let stopped = 0;
        const endless = new ReadableStream<Uint8Array>({
          pull: (controller) => controller.enqueue(new Uint8Array(1000)),
          cancel: () => {
            stopped++;
          },
        });
        seen["restore"] = [
          await code(() => cairn.restore(target, [bytes])),
          await code(() => cairn.restore(target, [damaged], { overwrite: true })),
          await code(() => cairn.restore(target, [bytes.subarray(0, bytes.length - 1000)], { overwrite: true })),
          await code(() => cairn.restore(target, failing, { overwrite: true })),
          await code(() => cairn.restore(target, endless, { overwrite: true })),
          await code(() => cairn.restore(target, [bytes, "text" as never], { overwrite: true })),
          await code(() => cairn.restore(target, 5 as never)),
          await code(() => cairn.restore(target, [bytes], { force: true } as object)),
          await code(() => cairn.restore("a/../b", [bytes])),
          await code(() => cairn.restore(":memory:", [bytes])),
        ];
        seen["stopped"] = stopped;
        const after = await cairn.connect(target);
        seen["after"] = [await after.get("here"), await after.count()];
        await after.close();
        // What the program passed is still its own.
        await cairn.restore(target, [bytes.subarray(0, 70_000), bytes.subarray(70_000)], { overwrite: true });
        const back = await cairn.connect(target);
        seen["back"] = [await back.count(), bytes.length > 1_800_000];
        for (const one of [back, reader, store]) await one.close();
        return seen;
      },
      pages.newName(),
      pages.newName(),
    );
    expect(seen).toEqual({
      options: ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
      locked: "LOCKED",
      restore: [
        "INVALID_ARGUMENT",
        "CORRUPT",
        "CORRUPT",
        "MINE",
        "NOT_A_STORE",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
      ],
      stopped: 1,
      after: ["before", 1],
      back: [200, true],
    });
  });

  test.skipIf(browser !== "chromium")("a restore whose worker ends says so, and can be done again", async () => {
    const page = await pages.newPage();
    await connected(page, pages.newName(), 300);
    const target = pages.newName();
    await page.evaluate(async (target) => {
      const whole = await new Response(kept.store.backup()).blob();
      await kept.store.close();
      kept.whole = whole;
      const source = new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(new Uint8Array(await whole.slice(0, 2_000_000).arrayBuffer()));
        },
      });
      kept.restoring = outcome(cairn.restore(target, source));
    }, target);
    // The page watches it once it has said that it lives, and it waits for bytes that do not come.
    const isWatched = (): Promise<boolean> =>
      page.evaluate(async () => {
        const { pending = [] } = await navigator.locks.query();
        return pending.some(({ name }) => name?.startsWith("cairn-kv:restore:"));
      });
    await expect.poll(isWatched).toBe(true);
    await expect.poll(() => page.workers().length).toBe(1);
    await page.workers()[0]?.evaluate(() => self.close());
    expect((await page.evaluate(() => kept.restoring)).code).toBe("DEVICE_WRITE");
    const again = await page.evaluate(async (target) => {
      await cairn.restore(target, kept.whole.stream());
      const back = await cairn.connect(target);
      const count = await back.count();
      await back.close();
      return count;
    }, target);
    expect(again).toBe(300);
  });
});
