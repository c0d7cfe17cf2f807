/** The console in headless Firefox, once through: sign in by keyboard, browse, edit, watch. What it does in all detail is tested in Chromium. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { type CairnServer, createServer } from "../../adapters/server/index.ts";
import { open, type Store } from "../../hosts/node.ts";
import { browsersOfRun, type RunningBrowser, SECOND_TRY, startBrowser } from "../browser/browsers.ts";

const key = newApiKey();
const FILE = {
  version: 1,
  tenants: { main: { operator: true } },
  keys: { [key.id]: { tenant: "main", role: "admin", sha256: key.sha256 } },
};

describe.skipIf(!browsersOfRun().includes("firefox"))("the console in Firefox", SECOND_TRY, () => {
  let folder: string;
  let store: Store;
  let server: CairnServer;
  let url: string;
  let firefox: RunningBrowser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "cairn-console-firefox-"));
    store = await open(join(folder, "served.cairn"), { memoryBytes: 67_108_864 });
    server = createServer(store, { keys: FILE, log: () => undefined });
    ({ url } = await server.listen());
    firefox = await startBrowser("firefox");
    page = await firefox.browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => complaints.push(String(error)));
  });
  afterAll(async () => {
    await firefox?.close();
    await server?.close({ graceMs: 0 });
    await store?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  const textOf = (selector: string): Promise<string> =>
    page.evaluate((which) => document.querySelector(which)?.textContent ?? "", selector);
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? "");
  const valueShown = (): Promise<string> =>
    page.evaluate(() => (document.querySelector("#record-value") as HTMLTextAreaElement | null)?.value ?? "");

  test("signs in, browses, edits and watches", async () => {
    const records = store.sub("main") as unknown as Store;
    for (let n = 0; n < 2_000; n++) records.set(`user:${String(n).padStart(4, "0")}`, `{"id": ${n}}`);
    await page.goto(`${url}/console`);
    await page.keyboard.type(key.text);
    await page.keyboard.press("Enter");
    await expect.poll(() => textOf("#key-count")).toBe("2,000 keys");
    await expect.poll(focused).toBe("prefix");

    await page.keyboard.press("ArrowDown");
    await expect.poll(valueShown).toBe('{"id": 0}');
    await page.keyboard.press("End");
    await expect.poll(valueShown).toBe('{"id": 1999}');
    await page.keyboard.press("Enter");
    await expect.poll(focused).toBe("record-value");
    await page.keyboard.down("Control");
    await page.keyboard.press("a");
    await page.keyboard.up("Control");
    await page.keyboard.type('{"id": 1e400}');
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await expect.poll(() => records.get("user:1999")).toBe('{"id": 1e400}');
    await expect.poll(() => textOf("body")).toContain("Saved 13 bytes, durably.");

    await page.locator("#tab-watch").click();
    await page.locator("#watch-prefix").fill("job:");
    await page.keyboard.press("Enter");
    await expect.poll(() => textOf("body")).toContain("Waiting for changes");
    await records.put("job:1", "begun");
    await records.put("user:0000", "not watched");
    await records.put("job:1", "done");
    const rows = (): Promise<string[]> =>
      page.evaluate(() => [...document.querySelectorAll("#watch-table tbody tr")].map((row) => row.textContent ?? ""));
    await expect.poll(async () => (await rows()).length).toBe(2);
    expect((await rows()).every((row) => row.includes("job:1"))).toBe(true);
    expect((await rows()).some((row) => row.includes("done"))).toBe(true);
    expect(complaints).toEqual([]);
  });
});
