/** A browser whose pages write to stores, and that can be killed and started again over the same profile. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Browser, Page } from "puppeteer-core";
import { launchBrowser } from "../browsers.ts";
import { type PageServer, servePages } from "../server.ts";
import type { Report } from "./page.ts";
import type { Session } from "./session.ts";

const PAGE = '<!doctype html><title>Kills</title><script type="module" src="/kills.js"></script>';

/** See above. */
export class World {
  private readonly profile = mkdtempSync(join(tmpdir(), "cairn-kills-"));
  private server: PageServer | undefined;
  private browser: Browser | undefined;
  private readonly sessions = new Map<number, Session>();
  private nextSession = 1;

  /** Serves the pages, and starts the browser. */
  async start(): Promise<void> {
    const [page, worker] = await Promise.all(["page", "worker"].map((name) => bundled(`${name}.ts`)));
    this.server = await servePages({ "/": PAGE, "/kills.js": page as string, "/kills-worker.js": worker as string });
    await this.launch();
  }

  /** Ends everything, and removes the profile. */
  async end(): Promise<void> {
    await this.browser?.close().catch(() => undefined);
    await this.server?.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** A new page of an origin, which has files of its own, and processes that it shares with no other. */
  async newPage(label: string): Promise<Page> {
    const page = await (this.browser as Browser).newPage();
    await page.exposeFunction("cairnReport", (text: string) => {
      const report = JSON.parse(text) as Report;
      this.sessions.get(report.session)?.hear(report);
    });
    // Every name below localhost is this machine.
    const { port } = new URL((this.server as PageServer).origin);
    await page.goto(`http://lane${label}.localhost:${port}/`);
    await isReady(page);
    return page;
  }

  /** A number for a session, whose page's reports go to it. */
  register(make: (id: number) => Session): Session {
    const id = this.nextSession++;
    const session = make(id);
    this.sessions.set(id, session);
    return session;
  }

  /** Kills all processes of the browser, and starts it again. */
  async kill(): Promise<void> {
    const process = this.browser?.process();
    const ended = new Promise((resolve) => process?.once("exit", resolve));
    // It was started as the leader of a group.
    globalThis.process.kill(-(process?.pid as number), "SIGKILL");
    await ended;
    await this.launch();
  }

  private async launch(): Promise<void> {
    this.browser = await launchBrowser("chromium", this.profile, false);
  }
}

const READY_MS = 60_000;

/** Waits until a page can be asked. */
export async function isReady(page: Page): Promise<void> {
  const end = performance.now() + READY_MS;
  // While a page is loaded it may be another one between a question and its answer.
  while ((await page.evaluate("window.kills !== undefined").catch(() => false)) !== true) {
    if (performance.now() > end) throw new Error(`a page has not loaded for ${READY_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The source of a page's script, with all that it imports but the package. */
async function bundled(name: string): Promise<string> {
  const entry = fileURLToPath(new URL(name, import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
  });
  return (outputFiles[0] as { text: string }).text;
}
