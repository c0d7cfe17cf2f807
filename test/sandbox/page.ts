/**
 * The built sandbox page in a real browser: built once for each file of tests, served on loopback, opened in headless
 * Chromium.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BrowserContext, chromium, type Page } from "playwright";
import { build, preview } from "vite";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { browsersOfRun, CHROMIUM_FLAGS, executableOf } from "../browser/browsers.ts";

const CONFIG = fileURLToPath(new URL("../../adapters/sandbox/vite.config.ts", import.meta.url));
/** A name for this machine that Chromium does not hold for secure. */
export const INSECURE_HOST = "sandbox.test";
/** What a file of tests is skipped by where there is no Chromium. */
export const NO_CHROMIUM = !browsersOfRun().includes("chromium");

/** Where the browser keeps its profile, and with it the files of all origins. */
export const profileOfTests = (): string => join(folderOfTests(), "profile");

/** The page, served. */
export interface Site {
  url: string;
  /** A folder for files of the tests. */
  folder: string;
  close(): Promise<void>;
}

let folderMade: string | undefined;

/** Where the built page, the browser's profile and the files of the tests lie. */
function folderOfTests(): string {
  folderMade ??= mkdtempSync(join(tmpdir(), "cairn-sandbox-"));
  return folderMade;
}

/** Builds the page as `npm run build:sandbox` does, into a folder of its own, and serves it. */
export async function startSite(): Promise<Site> {
  const folder = folderOfTests();
  const outDir = join(folder, "site");
  await build({
    configFile: CONFIG,
    logLevel: "warn",
    build: { outDir, emptyOutDir: true, minify: false, reportCompressedSize: false },
  });
  const server = await preview({
    configFile: CONFIG,
    logLevel: "warn",
    build: { outDir },
    preview: { host: "127.0.0.1", port: 0, allowedHosts: [INSECURE_HOST] },
  });
  const [url] = server.resolvedUrls?.local ?? [];
  if (url === undefined) throw new Error("the preview server has no address");
  return {
    url,
    folder,
    async close() {
      await server.close();
      // The browser's processes may outlive it for a moment, and write to its profile.
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

/** Starts Chromium with a profile on disk: in a private window all files would be in memory. End it before the site. */
export function startChromium(): Promise<BrowserContext> {
  return chromium.launchPersistentContext(profileOfTests(), {
    executablePath: executableOf("chromium"),
    args: [...CHROMIUM_FLAGS, `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`],
    viewport: { width: 1280, height: 800 },
  });
}

let pageCount = 0;

/** The page on an origin of its own, without any store. What the page itself reports as an error fails the test. */
export async function openPage(browser: BrowserContext, site: Site): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => {
    throw error;
  });
  // Every name below localhost is this machine, and an origin with files of its own.
  await page.goto(site.url.replace(/127\.0\.0\.1|localhost/, `test${++pageCount}.localhost`));
  return page;
}

/** Closes the pages of a test. The browser's first one stays: it would end with its last. */
export async function closePages(browser: BrowserContext): Promise<void> {
  await Promise.all(
    browser
      .pages()
      .slice(1)
      .map((page) => page.close()),
  );
}

/** The page, served; Chromium; and a fresh page of it for each test: of a file that calls `useSandbox`. */
export let site: Site;
export let browser: BrowserContext;
export let page: Page;

/** Serves the page and starts Chromium for the tests of a file, and opens the page anew for each. */
export function useSandbox(): void {
  beforeAll(async () => {
    [site, browser] = await Promise.all([startSite(), startChromium()]);
  });
  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });
  beforeEach(async () => {
    page = await openPage(browser, site);
  });
  afterEach(async () => {
    await closePages(browser);
  });
}

/** Creates a store through the form, and waits until it is open. */
export async function createStore(page: Page, name: string): Promise<void> {
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Open or create" }).click();
  await page.getByText(`${name} is open.`).waitFor();
}

/** Writes a record through the form, and waits until it is durable. */
export async function saveRecord(page: Page, key: string, value: string): Promise<void> {
  await page.getByRole("button", { name: "New" }).click();
  await page.getByLabel("Key", { exact: true }).fill(key);
  await page.getByLabel("Value", { exact: true }).fill(value);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText(/^Saved .* durably\.$/).waitFor();
}

/** Adds sample records, and waits until they are durable. */
export async function addSamples(page: Page, count: number): Promise<void> {
  await page.getByLabel("Sample records").fill(String(count));
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByText(/^Added .* sample records, durably/).waitFor({ timeout: 60_000 });
}

/** Drops a file on the page, as a person does. */
export async function dropFile(page: Page, path: string): Promise<void> {
  const field = await page.evaluateHandle(() => Object.assign(document.createElement("input"), { type: "file" }));
  await field.setInputFiles(path);
  const dataTransfer = await field.evaluateHandle(({ files }) => {
    const transfer = new DataTransfer();
    for (const file of files ?? []) transfer.items.add(file);
    return transfer;
  });
  await page.dispatchEvent("#drop", "dragover", { dataTransfer });
  await page.dispatchEvent("#drop", "drop", { dataTransfer });
}

/** Presses the button and takes what the browser saves: the path of the file. */
export async function downloadStore(page: Page, path: string): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download" }).click(),
  ]);
  await download.saveAs(path);
  await page.getByText("as a download.").waitFor();
  return path;
}

/** Keys that the list shows now, placeholders aside. */
export function shownKeys(page: Page): Promise<string[]> {
  return page.locator("#keys [role=option]:not(.loading)").allTextContents();
}
