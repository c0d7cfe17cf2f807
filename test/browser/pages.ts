/** Pages of a real browser that have the built package as `cairn`, and workers of their own. */
import type { Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type BrowserName, type RunningBrowser, startBrowser } from "./browsers.ts";
import { type PageServer, servePages } from "./server.ts";

/** What every page has. */
export interface PageWorld {
  cairn: typeof import("../../hosts/browser.ts");
  /** What a test keeps on a page between its steps. */
  // biome-ignore lint/suspicious/noExplicitAny: a page is another world
  kept: any;
  /** The value of a promise, or the code and message of its error. */
  outcome(promise: Promise<unknown>): Promise<{ value?: unknown; code?: string; message?: string }>;
  /** Starts a dedicated worker that runs functions of the package and of what it keeps. */
  startWorker(): PageWorker;
}

/** A worker of a page. */
export interface PageWorker {
  // biome-ignore lint/suspicious/noExplicitAny: a worker is another world
  run(body: (cairn: PageWorld["cairn"], kept: any, args: any) => unknown, args?: unknown): Promise<any>;
  terminate(): void;
}

const PAGE = `<!doctype html><title>Cairn</title><script type="module">
import * as cairn from "/build/hosts/browser.js";
const outcome = (promise) => promise.then((value) => ({ value }), ({ code, message }) => ({ code, message }));
const startWorker = () => {
  const worker = new Worker("/worker.js", { type: "module" });
  const waiting = new Map();
  let next = 0;
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.code === undefined) resolve(data.value);
    else reject(Object.assign(new Error(data.message), { code: data.code }));
  };
  return {
    run: (body, args) => new Promise((resolve, reject) => {
      waiting.set(next, { resolve, reject });
      worker.postMessage({ id: next++, body: body.toString(), args });
    }),
    terminate: () => worker.terminate(),
  };
};
Object.assign(window, { cairn, outcome, startWorker, kept: {} });
</script>`;

const WORKER = `import * as cairn from "/build/hosts/browser.js";
const kept = {};
onmessage = async ({ data: { id, body, args } }) => {
  try {
    postMessage({ id, value: await new Function("cairn", "kept", "args", "return (" + body + ")(cairn, kept, args)")(cairn, kept, args) });
  } catch (error) {
    postMessage({ id, code: error.code ?? error.name, message: String(error.message) });
  }
};`;

/** The pages of one test file in one browser. */
export class Pages {
  readonly name: BrowserName;
  private running: RunningBrowser | undefined;
  private server: PageServer | undefined;
  private open: Page[] = [];
  private count = 0;

  /** Starts browser and server before the suite's tests, and ends them after. Pages are closed after each test. */
  constructor(name: BrowserName) {
    this.name = name;
    beforeAll(async () => {
      this.server = await servePages({ "/": PAGE, "/worker.js": WORKER });
      this.running = await startBrowser(name);
    });
    afterEach(async () => {
      for (const page of this.open.splice(0)) await page.close().catch(() => undefined);
    });
    afterAll(async () => {
      await this.running?.close();
      await this.server?.close();
    });
  }

  /** Where the server listens. */
  get origin(): string {
    return (this.server as PageServer).origin;
  }

  /** A name that no store has yet. */
  newName(): string {
    return `store-${this.count++}.cairn`;
  }

  /** A new page, in a tab of its own, with the package loaded. */
  async newPage(url = `${this.origin}/`): Promise<Page> {
    const page = await (this.running as RunningBrowser).browser.newPage();
    this.open.push(page);
    await page.goto(url);
    await page.waitForFunction("window.startWorker !== undefined", { timeout: 15_000 });
    return page;
  }

  /** Closes a page as a person does, whatever it is doing. */
  async closePage(page: Page): Promise<void> {
    this.open = this.open.filter((other) => other !== page);
    await page.close();
  }
}
