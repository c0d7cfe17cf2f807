/** `open` in a dedicated worker of real browsers: files of the origin private file system, and what goes wrong with them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "puppeteer-core";
import { afterAll, describe, expect, test } from "vitest";
import { open as openOnNode } from "../../hosts/node.ts";
import { changeSuperblocks, FIELD, putText } from "../store/superblock.ts";
import { browsersOfRun, INSECURE_HOST } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];
declare const startWorker: PageWorld["startWorker"];

const folder = mkdtempSync(join(tmpdir(), "cairn-image-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let imageCount = 0;

/** The image of a store that Node made: `node 0` to `node 499`, and a large value. */
async function imageOfNode(change: (image: Uint8Array) => void = () => undefined): Promise<string> {
  const path = join(folder, `image-${imageCount++}.cairn`);
  const store = await openOnNode(path, { memoryBytes: 67_108_864 });
  for (let i = 0; i < 500; i++) store.set(`node ${i}`, `${i}`.repeat(i % 50));
  store.set("large", "l".repeat(300_000));
  await store.close();
  const image = new Uint8Array(readFileSync(path));
  change(image);
  return Buffer.from(image).toString("base64");
}

/** Makes a file of the origin private file system out of bytes. */
async function putFile(page: Page, name: string, base64: string): Promise<void> {
  await page.evaluate(
    async (name, base64) => {
      const bytes = await (await fetch(`data:application/octet-stream;base64,${base64}`)).arrayBuffer();
      const file = await (await navigator.storage.getDirectory()).getFileHandle(name, { create: true });
      const writable = await file.createWritable();
      await writable.write(bytes);
      await writable.close();
    },
    name,
    base64,
  );
}

/** The bytes of a file of the origin private file system; `undefined` when there is none. */
async function fileOf(page: Page, name: string): Promise<string | undefined> {
  const base64 = await page.evaluate(async (name) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle(name).catch(() => undefined);
    if (handle === undefined) return undefined;
    const blob = await handle.getFile();
    return new Promise<string>((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
      reader.readAsDataURL(blob);
    });
  }, name);
  return base64 ?? undefined;
}

describe.each(browsersOfRun())("open in a worker of %s", (browser) => {
  const pages = new Pages(browser);

  test("keeps a store in a file, with folders before it", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async () => {
      const body = async (cairn: PageWorld["cairn"]): Promise<unknown> => {
        const name = "folder/in a folder/store.cairn";
        const store = await cairn.open(name, { writeBufferBytes: 262_144, cacheBytes: 0 });
        for (let i = 0; i < 3000; i++) store.set(`key ${i}`, `${i}`.padEnd(1000, "."));
        const put = await store.put("large", "l".repeat(2_000_000));
        store.flushSync();
        const { deviceBytes, deviceReadCount, persisted, memoryBudgetBytes } = store.stats();
        let wrong = 0;
        for (let i = 0; i < 3000; i += 7) if (store.get(`key ${i}`) !== `${i}`.padEnd(1000, ".")) wrong++;
        const read = store.stats().deviceReadCount - deviceReadCount;
        await store.close();
        const again = await cairn.open(name, { create: false });
        const result = [again.count(), again.get("large")?.length, again.get("key 2999")?.length];
        await again.close();
        return {
          put,
          grew: deviceBytes > 5_000_000,
          persisted: typeof persisted,
          memoryBudgetBytes,
          wrong,
          read,
          result,
        };
      };
      const worker = startWorker();
      return (await worker.run(body)) as Record<string, unknown>;
    });
    expect(seen).toMatchObject({
      put: true,
      grew: true,
      persisted: "boolean",
      memoryBudgetBytes: 512 * 1024 * 1024,
      wrong: 0,
      result: [3001, 2_000_000, 1000],
    });
    // The values were read from the file, not from memory.
    expect(seen["read"]).toBeGreaterThan(200);
  });

  test("excludes every other opener, until it is closed or its worker has ended", async () => {
    const [page, other] = [await pages.newPage(), await pages.newPage()];
    const name = pages.newName();
    await page.evaluate(async (name) => {
      kept.worker = startWorker();
      await kept.worker.run(async (cairn: PageWorld["cairn"], kept: PageWorld["kept"], name: string) => {
        kept.store = await cairn.open(name);
        await kept.store.put("a", "1");
      }, name);
    }, name);
    const tryToOpen = (name: string): Promise<{ value?: unknown; code?: string; message?: string }> =>
      outcome(
        startWorker().run(async (cairn, _, name) => {
          const store = await cairn.open(name);
          const value = store.get("a");
          await store.close();
          return value;
        }, name),
      );
    const locked = await other.evaluate(tryToOpen, name);
    expect(locked.code).toBe("LOCKED");
    expect(locked.message).toContain(name);
    expect((await page.evaluate(tryToOpen, name)).code).toBe("LOCKED");
    const shared = await other.evaluate((name) => outcome(cairn.connect(name)), name);
    expect(shared.code).toBe("LOCKED");
    await page.evaluate(() => kept.worker.terminate());
    await expect.poll(() => other.evaluate(tryToOpen, name), { timeout: 10_000 }).toEqual({ value: "1" });
    expect(await page.evaluate(tryToOpen, name)).toEqual({ value: "1" });
  });

  test("with readOnly writes nothing, and needs a store", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    const image = await imageOfNode();
    await putFile(page, name, image);
    const seen = await page.evaluate(
      async (name, none) => {
        return startWorker().run(
          async (cairn, _, [name, none]) => {
            const code = (error: { code: string }): string => error.code;
            const store = await cairn.open(name, { readOnly: true });
            const seen = {
              count: store.count(),
              value: store.get("large")?.length,
              put: await store.put("a", "1").catch(code),
              none: await cairn.open(none, { readOnly: true }).catch(code),
              kept: await cairn.open(none, { create: false }).catch(code),
            };
            await store.close();
            return seen;
          },
          [name, none],
        );
      },
      name,
      pages.newName(),
    );
    expect(seen).toEqual({
      count: 501,
      value: 300_000,
      put: "READ_ONLY",
      none: "NOT_A_STORE",
      kept: "NOT_A_STORE",
    });
    expect(await fileOf(page, name)).toBe(image);
  });

  test("with readOnly is beside a writer and follows it, where the browser has handles for that", async () => {
    const [page, other] = [await pages.newPage(), await pages.newPage()];
    const name = pages.newName();
    await page.evaluate(async (name) => {
      kept.writer = await cairn.connect(name);
      await kept.writer.put("a", "1");
      // A later commit proves the one before it.
      await kept.writer.put("mark", "1");
    }, name);
    const reader = await other.evaluate(async (name) => {
      kept.worker = startWorker();
      const body = async (cairn: PageWorld["cairn"], kept: PageWorld["kept"], name: string): Promise<unknown> => {
        kept.store = await cairn.open(name, { readOnly: true });
        return kept.store.get("a");
      };
      return outcome(kept.worker.run(body, name));
    }, name);
    if (browser === "firefox") {
      expect(reader.code).toBe("LOCKED");
      return;
    }
    expect(reader).toEqual({ value: "1" });
    await page.evaluate(async () => {
      for (let i = 0; i < 2000; i++) void kept.writer.set(`key ${i}`, "v".repeat(1000));
      await kept.writer.flush();
      await kept.writer.put("mark", "2");
    });
    const seen = await other.evaluate(() =>
      kept.worker.run(async (_: unknown, { store }: PageWorld["kept"]) => {
        const before = store.count();
        await store.refresh();
        return [before, store.count(), store.get("key 1999").length];
      }),
    );
    expect(seen).toEqual([1, 2002, 1000]);
  });

  test("opens what Node wrote, and Node opens what came of it", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    await putFile(page, name, await imageOfNode());
    const seen = await page.evaluate(
      async (name, expected) => {
        const store = await cairn.connect(name);
        let wrong = 0;
        for (let i = 0; i < expected; i++) if ((await store.get(`node ${i}`)) !== `${i}`.repeat(i % 50)) wrong++;
        const large = (await store.get("large"))?.length;
        for (let i = 0; i < 500; i++) void store.set(`browser ${i}`, `é${i}`);
        await store.clear({ lt: "browser 2" });
        await store.delete("node 7");
        await store.close();
        return { wrong, large };
      },
      name,
      500,
    );
    expect(seen).toEqual({ wrong: 0, large: 300_000 });
    const path = join(folder, "from-browser.cairn");
    writeFileSync(path, Buffer.from((await fileOf(page, name)) ?? "", "base64"));
    const store = await openOnNode(path, { memoryBytes: 67_108_864 });
    expect(store.has("node 7")).toBe(false);
    expect(store.get("node 8")).toBe("8".repeat(8));
    expect(store.get("browser 299")).toBe("é299");
    expect(store.has("browser 100")).toBe(false);
    expect(store.count({ prefix: "browser" })).toBe(500 - 112);
    await store.close();
  });

  test("refuses an image of a newer format, names what it needs, and leaves it alone", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    const image = await imageOfNode((bytes) =>
      changeSuperblocks(bytes, (superblock) => {
        superblock.setBigUint64(FIELD.incompatible, 1n << 40n, true);
        putText(superblock, FIELD.featureName, "folded-segments");
        putText(superblock, FIELD.versionNeeded, "9.9.9");
      }),
    );
    await putFile(page, name, image);
    const seen = await page.evaluate(async (name) => {
      const body = async (cairn: PageWorld["cairn"], _: unknown, name: string): Promise<void> =>
        void (await cairn.open(name));
      return [
        await outcome(startWorker().run(body, name)),
        await outcome(cairn.connect(name)),
        await outcome(cairn.connect(name, { create: false })),
      ];
    }, name);
    for (const { code, message } of seen) {
      expect(code).toBe("UNSUPPORTED_FORMAT");
      expect(message).toContain("folded-segments");
      expect(message).toContain("9.9.9");
    }
    expect(await fileOf(page, name)).toBe(image);
  });

  test("refuses what is no store, and what cannot name a file", async () => {
    const page = await pages.newPage();
    const name = pages.newName();
    const text = Buffer.from("something else entirely. ".repeat(1000)).toString("base64");
    await putFile(page, name, text);
    await putFile(page, "short.cairn", Buffer.from("short").toString("base64"));
    const seen = await page.evaluate(async (name) => {
      const body = async (cairn: PageWorld["cairn"], _: unknown, name: string): Promise<void> =>
        void (await cairn.open(name));
      const codes: unknown[] = [];
      const names = [name, "short.cairn", `${name}/below`, "a/../b", "a//b", "./a", "", "file:///tmp/a"];
      for (const each of names) codes.push((await outcome(startWorker().run(body, each))).code);
      return codes;
    }, name);
    expect(seen).toEqual([
      "NOT_A_STORE",
      "NOT_A_STORE",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
    ]);
    expect(await fileOf(page, name)).toBe(text);
  });

  test("is UNSUPPORTED on a page, and where there is no file system, with the reason", async () => {
    const page = await pages.newPage();
    const onPage = await page.evaluate((name) => outcome(cairn.open(name)), pages.newName());
    expect(onPage.code).toBe("UNSUPPORTED");
    expect(onPage.message).toContain("connect");
    const insecure = await pages.newPage(pages.origin.replace("127.0.0.1", INSECURE_HOST));
    const seen = await insecure.evaluate(async () => [
      isSecureContext,
      await outcome(cairn.connect("a.cairn")),
      await outcome(startWorker().run(async (cairn) => void (await cairn.open("a.cairn")))),
      await startWorker().run(async (cairn) => {
        const store = await cairn.open(":memory:");
        store.set("a", "1");
        const value = store.get("a");
        await store.close();
        return value;
      }),
    ]);
    expect(seen[0]).toBe(false);
    for (const refused of [seen[1], seen[2]]) {
      expect(refused).toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("secure context") });
    }
    expect(seen[3]).toBe("1");
  });

  test("gives space back when records were deleted, after a full compaction and at close", async () => {
    const page = await pages.newPage();
    const sizes = await page.evaluate(async (name) => {
      const sizeNow = async (): Promise<number> => {
        const root = await navigator.storage.getDirectory();
        return (await (await root.getFileHandle(name)).getFile()).size;
      };
      const fill = async (store: PageWorld["kept"], prefix: string): Promise<void> => {
        for (let i = 0; i < 2000; i++) void store.set(`${prefix} ${i}`, `${i}`.padEnd(5000, "."));
        await store.flush();
      };
      const options = { writeBufferBytes: 262_144, cacheBytes: 262_144, compaction: { auto: false } };
      const store = await cairn.connect(name, options);
      await fill(store, "key");
      const full = await sizeNow();
      for (let i = 0; i < 2000; i++) if (i % 20 !== 19) void store.delete(`key ${i}`);
      await store.compact({ full: true });
      const compacted = await sizeNow();
      const { deviceBytes } = await store.stats();
      await fill(store, "new");
      const grown = await sizeNow();
      await store.clear({ prefix: "new" });
      await store.close();
      const again = await cairn.connect(name, options);
      await again.compact({ full: true });
      await again.close();
      const closed = await sizeNow();
      const last = await cairn.connect(name);
      const held = [await last.count(), (await last.get("key 19"))?.length, (await last.get("key 1999"))?.length];
      await last.close();
      return { full, compacted, deviceBytes, grown, closed, held };
    }, pages.newName());
    const MIB = 1_048_576;
    expect(sizes.full).toBeGreaterThan(9 * MIB);
    expect(sizes.compacted).toBeLessThan(5 * MIB);
    expect(sizes.deviceBytes).toBe(sizes.compacted);
    expect(sizes.grown).toBeGreaterThan(9 * MIB);
    expect(sizes.closed).toBeLessThan(7 * MIB);
    expect(sizes.held).toEqual([100, 5000, 5000]);
  });

  test("is NO_SPACE when the quota is used up: reads go on, and so do writes once there is room", async ({ skip }) => {
    if (browser !== "chromium") skip("only Chromium lets a test set the quota");
    const page = await pages.newPage();
    const name = pages.newName();
    const session = await page.createCDPSession();
    const { origin } = pages;
    await page.evaluate(async (name) => {
      kept.events = [];
      const onEvent = ({ type }: { type: string }): void => void kept.events.push(type);
      kept.store = await cairn.connect(name, { onEvent, writeBufferBytes: 262_144, cacheBytes: 262_144 });
      for (let i = 0; i < 100; i++) void kept.store.set(`key ${i}`, `${i}`.padEnd(3000, "."));
      await kept.store.flush();
    }, name);
    const usage = await page.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: usage + 1_000_000 });
    const full = await page.evaluate(async () => {
      const { store } = kept;
      let acknowledged = 0;
      let code: string | undefined;
      let message: string | undefined;
      while (code === undefined && acknowledged < 5000) {
        ({ code, message } = await outcome(store.put(`more ${acknowledged}`, "m".repeat(3000))));
        if (code === undefined) acknowledged++;
      }
      let wrong = 0;
      for (let i = 0; i < 100; i++) if ((await store.get(`key ${i}`)) !== `${i}`.padEnd(3000, ".")) wrong++;
      kept.acknowledged = acknowledged;
      const again = (await outcome(store.put("again", "a".repeat(3000)))).code;
      return { acknowledged, code, message, wrong, again, poisoned: kept.events.includes("poisoned") };
    });
    expect(full).toMatchObject({ code: "NO_SPACE", wrong: 0, again: "NO_SPACE", poisoned: false });
    const small = await page.evaluate(async (name) => outcome(cairn.connect(`${name}.new`)), name);
    expect(small.code).toBe("NO_SPACE");
    expect(await fileOf(page, `${name}.new`)).toBeUndefined();
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    const after = await page.evaluate(async (name) => {
      const { store } = kept;
      await store.put("after", "a".repeat(500_000));
      await store.close();
      const again = await cairn.connect(name);
      let missing = 0;
      for (let i = 0; i < kept.acknowledged; i++) if (!(await again.has(`more ${i}`))) missing++;
      const seen = { missing, after: (await again.get("after"))?.length, first: (await again.get("key 0"))?.length };
      await again.close();
      return seen;
    }, name);
    expect(after).toEqual({ missing: 0, after: 500_000, first: 3000 });
  });
});
