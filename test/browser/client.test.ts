/** `cairn-kv/client` on a page: bundled for browsers, against a server of this process, another origin than the page's. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { type CairnServer, createServer } from "../../adapters/server/index.ts";
import { open } from "../../hosts/node.ts";
import type { Store } from "../../store/store.ts";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const client: typeof import("../../adapters/client/index.ts");
declare const kept: PageWorld["kept"];
declare const outcome: PageWorld["outcome"];

let script = "";
let store: Store;
let server: CairnServer | undefined;
const { id, text, sha256 } = newApiKey();

/** Serves the store to pages of an origin. */
async function serve(origin: string, port = 0): Promise<{ url: string; port: number }> {
  const keys = { tenants: { acme: {} }, keys: { [id]: { tenant: "acme", role: "admin", sha256 } } };
  server = createServer(store, { keys, origins: [origin], port, logLevel: "silent" });
  return server.listen();
}

beforeAll(async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(new URL("../../adapters/client/index.ts", import.meta.url))],
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "iife",
    globalName: "client",
    target: "es2022",
  });
  script = outputFiles[0]?.text as string;
  // Of packages, the stub alone that ws has for browsers; nothing of Node.
  const packages = Object.keys(metafile.inputs).filter((path) => path.includes("node_modules"));
  expect(packages.map((path) => path.replace(/.*node_modules\//, ""))).toEqual(["ws/browser.js"]);
  expect(script).not.toMatch(/["']node:/);
  store = await open(":memory:", { memoryBytes: 67_108_864 });
});

afterAll(async () => {
  await server?.close({ graceMs: 0 });
  await store.close();
});

describe.each(browsersOfRun())("the client in %s", (browser) => {
  const pages = new Pages(browser);

  test("has the calls of a store, and comes back when its server does", async () => {
    const { url, port } = await serve(pages.origin);
    const page = await pages.newPage();
    await page.addScriptTag({ content: script });
    const seen = await page.evaluate(
      async (url, key) => {
        const states: string[] = [];
        const db = await client.connect(url, {
          key,
          pauseMs: 10,
          pauseMsMax: 100,
          onState: (state) => states.push(state),
        });
        Object.assign(kept, { db, states, changes: [] });
        const seen: Record<string, unknown> = {};
        seen["set"] = [
          await db.set("a", "é"),
          await db.put("b", "2"),
          await db.get("a"),
          (await db.get("none")) ?? "none",
        ];
        seen["many"] = (await Promise.all(Array.from({ length: 3000 }, (_, i) => db.increment("n", BigInt(i)))))
          .at(-1)
          ?.toString();
        seen["walk"] = await db.entries({ prefix: "a" }).nextv(9);
        seen["json"] = await db.sub("s", { valueEncoding: "json" }).transact(async (tx) => {
          await tx.set("doc", { deep: [1] });
          return tx.get("doc");
        });
        seen["error"] = (await outcome(db.get("k".repeat(3000)))).code;
        seen["large"] = (await db.put("large", "x".repeat(3_000_000))) && (await db.get("large"))?.length;
        const watch = db.watch({ prefix: "w" });
        (async () => {
          for await (const { key } of watch) kept.changes.push(key);
        })();
        await db.get("a");
        return seen;
      },
      url,
      text,
    );
    expect(seen).toEqual({
      set: [true, true, "é", "none"],
      many: "4498500",
      walk: [["a", "é"]],
      json: { deep: [1] },
      error: "KEY_SIZE",
      large: 3_000_000,
    });
    store.sub("acme").set("w1", "");
    await store.flush();
    await expect.poll(() => page.evaluate(() => kept.changes)).toEqual(["w1"]);
    await server?.close();
    const waiting = page.evaluate(() => kept.db.get("b"));
    store.sub("acme").set("w2", "");
    await store.flush();
    await serve(pages.origin, port);
    expect(await waiting).toBe("2");
    await expect.poll(() => page.evaluate(() => kept.changes)).toEqual(["w1", "w2"]);
    const states = await page.evaluate(async () => {
      await kept.db.close();
      return kept.states;
    });
    expect([states[1], states[2], states.at(-2), states.at(-1)]).toEqual(["open", "lost", "open", "closed"]);
    await server?.close();
  });

  test("is told of a key that does not count, and gets nowhere from an origin that is not allowed", async () => {
    const { url } = await serve(pages.origin);
    const page = await pages.newPage();
    await page.addScriptTag({ content: script });
    const wrong = await page.evaluate((url) => outcome(client.connect(url, { key: "ck_wrong" })), url);
    expect(wrong.code).toBe("FORBIDDEN");
    await server?.close();
    const other = await serve("https://app.example");
    const code = await page.evaluate(
      async (url, key) => (await outcome(client.connect(url, { key, timeoutMs: 500 }))).code,
      other.url,
      text,
    );
    expect(code).toBe("UNREACHABLE");
    await server?.close();
  });
});
