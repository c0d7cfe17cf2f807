/** Pages in headless browsers, served from a folder on loopback. */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import process from "node:process";
import type { Browser } from "puppeteer-core";
import { type BrowserName, executableOf } from "../browser/browsers.ts";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** Why no page can be shown in a browser; `undefined` when one can. In CI both may not be missing: it throws. */
export function browserMissing(name: BrowserName): string | undefined {
  const executable = executableOf(name);
  if (existsSync(executable)) return undefined;
  const reason = `${executable} is not there`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  return reason;
}

/** Serves the files of `folder` on loopback until it is closed. */
export async function serveFolder(folder: string): Promise<{ origin: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url as string, "http://localhost");
    const path = join(folder, pathname === "/" ? "index.html" : pathname);
    const type = TYPES[extname(path)];
    if (type === undefined || !existsSync(path)) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": type }).end(readFileSync(path));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/**
 * Opens `url` and waits until the page sets `globalThis.outcome`, which it returns. Rejects with what the page logged when
 * that does not come.
 */
export async function outcomeOf(browser: Browser, url: string): Promise<unknown> {
  const context = await browser.createBrowserContext();
  const log: string[] = [];
  try {
    const page = await context.newPage();
    page.on("console", (message) => log.push(message.text()));
    page.on("pageerror", (error) => log.push(String(error)));
    page.on("response", (response) => {
      if (!response.ok()) log.push(`${response.status()} ${response.url()}`);
    });
    await page.goto(url);
    const outcome = await page.waitForFunction(() => (globalThis as { outcome?: unknown }).outcome, {
      timeout: 20_000,
    });
    return await outcome.jsonValue();
  } catch (error) {
    throw new Error(`the page gave no outcome: ${log.join("; ")}`, { cause: error });
  } finally {
    await context.close();
  }
}
