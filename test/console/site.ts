/** A served store with its console in headless Chromium. Each file of tests that calls `useConsole` has its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile } from "../../adapters/server/config.ts";
import { type CairnServer, createServer } from "../../adapters/server/index.ts";
import { open, type Store } from "../../hosts/node.ts";
import { browsersOfRun, CHROMIUM_FLAGS, executableOf } from "../browser/browsers.ts";

/** What a file of tests is skipped by where there is no Chromium. */
export const NO_CHROMIUM = !browsersOfRun().includes("chromium");

const names = ["admin", "reader", "orders", "other"] as const;
/** API keys by what they may: all with everything, read all, use `order:…` alone, and all of another tenant. */
export const KEYS = Object.fromEntries(names.map((name) => [name, newApiKey()])) as Record<
  (typeof names)[number],
  ReturnType<typeof newApiKey>
>;
const keyOf = (name: (typeof names)[number], tenant: string, role: string) => ({
  tenant,
  role,
  sha256: KEYS[name].sha256,
});
export const FILE: KeysFile = {
  version: 1,
  tenants: { main: { operator: true }, second: {} },
  roles: { orders: [{ prefix: "order:", verbs: ["read", "write", "range", "watch"] }] },
  keys: {
    [KEYS.admin.id]: keyOf("admin", "main", "admin"),
    [KEYS.reader.id]: keyOf("reader", "main", "reader"),
    [KEYS.orders.id]: keyOf("orders", "main", "orders"),
    [KEYS.other.id]: keyOf("other", "second", "admin"),
  },
};

export let url: string;
export let folder: string;
/** The file of the keys, which the server follows. */
export let keysPath: string;
export let store: Store;
/** The records of the tenant `main`, and of `second`. */
export let records: Store;
export let others: Store;
export let browser: Browser;
export let context: BrowserContext;
export let page: Page;
/** Addresses that the page has asked for in this test, and what the browser and the page complained of. */
export let asked: string[];
export let complaints: string[];

/** Serves a store, starts Chromium, and opens the console anew for each test. */
export function useConsole(): void {
  let server: CairnServer;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "cairn-console-"));
    store = await open(join(folder, "served.cairn"), { memoryBytes: 268_435_456 });
    records = store.sub("main") as unknown as Store;
    others = store.sub("second") as unknown as Store;
    keysPath = join(folder, "keys.json");
    writeFileSync(keysPath, JSON.stringify(FILE));
    server = createServer(store, { keys: keysPath, log: () => undefined });
    ({ url } = await server.listen());
    browser = await chromium.launch({ executablePath: executableOf("chromium"), args: [...CHROMIUM_FLAGS] });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close({ graceMs: 0 });
    await store?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    page = await context.newPage();
    page.setDefaultTimeout(30_000);
    asked = [];
    complaints = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // Refusals that a test is about are errors of the network to the browser.
      if (message.type() === "error" && !/Failed to load resource/.test(message.text()))
        complaints.push(message.text());
    });
    await page.goto(`${url}/console`);
  });
  afterEach(async () => {
    await context?.close();
    expect(complaints).toEqual([]);
    for (const address of asked) {
      expect(address.startsWith(`${url}/`) || address.startsWith(`blob:${url}/`), address).toBe(true);
      for (const { text } of Object.values(KEYS)) expect(address).not.toContain(text);
    }
    await records.clear();
    await others.clear();
  });
}

/** Signs in, and waits until the keys are counted. */
export async function signIn(name: (typeof names)[number]): Promise<void> {
  await page.getByLabel("API key", { exact: true }).fill(KEYS[name].text);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#work").waitFor();
  await expect.poll(() => page.locator("#key-count").textContent()).not.toBe("");
}

/** Keys that the list shows now, placeholders aside. */
export function shownKeys(): Promise<string[]> {
  return page.locator("#keys [role=option]:not(.loading)").allTextContents();
}

/** What is in the field of the value. */
export function valueShown(): Promise<string> {
  return page.getByLabel("Value", { exact: true }).inputValue();
}
