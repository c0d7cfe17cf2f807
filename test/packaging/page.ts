/** A page in a headless Chromium, served from a folder on loopback. */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import process from "node:process";
import { type Browser, chromium } from "playwright";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(
    " ",
  );
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** Why no page can be shown; `undefined` when one can. In CI Chromium may not be missing: it throws. */
export function chromiumMissing(): string | undefined {
  if (existsSync(CHROMIUM)) return undefined;
  const reason = `${CHROMIUM} is not there`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  return reason;
}

/** A Chromium with a profile of its own. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
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
  const context = await browser.newContext();
  const log: string[] = [];
  try {
    const page = await context.newPage();
    page.on("console", (message) => log.push(message.text()));
    page.on("pageerror", (error) => log.push(String(error)));
    page.on("response", (response) => {
      if (!response.ok()) log.push(`${response.status()} ${response.url()}`);
    });
    await page.goto(url);
    const outcome = await page.waitForFunction(() => (globalThis as { outcome?: unknown }).outcome, null, {
      timeout: 20_000,
    });
    return await outcome.jsonValue();
  } catch (error) {
    throw new Error(`the page gave no outcome: ${log.join("; ")}`, { cause: error });
  } finally {
    await context.close();
  }
}
