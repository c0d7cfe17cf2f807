/** Runs the benchmark's page in Chromium: bundles it, serves it on loopback, and calls what it offers. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright";
import { pathOfPeer } from "../stores/peers.ts";
import type { WriteFigures } from "./page.ts";
import type { Extent, ProbeFigures } from "./probe.ts";

const EXECUTABLE = "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
/** Where this file lies when it runs: build/bench/runtimes/. */
const HERE = dirname(fileURLToPath(import.meta.url));

/** The page, open in a Chromium of its own. */
export interface BenchPage {
  version: string;
  probe(extent: Extent): Promise<ProbeFigures>;
  writes(count: number): Promise<WriteFigures>;
  close(): Promise<void>;
}

/** What the page offers, see `page.ts`. */
interface PageCalls {
  probeInWorker(extent: Extent): Promise<ProbeFigures>;
  writes(count: number): Promise<WriteFigures>;
}

/** Opens it with a new profile. Throws when there is no Chromium. */
export async function openBenchPage(): Promise<BenchPage> {
  const folder = mkdtempSync(join(tmpdir(), "cairn-bench-"));
  await build({
    entryPoints: [
      join(HERE, "page.js"),
      join(HERE, "opfs-worker.js"),
      join(HERE, "sqlite-worker.js"),
      { in: join(HERE, "../../hosts/browser-worker.js"), out: "browser-worker" },
    ].map((entry) => (typeof entry === "string" ? { in: entry, out: entry.slice(HERE.length + 1, -3) } : entry)),
    outdir: join(folder, "pages"),
    bundle: true,
    format: "esm",
    target: "es2022",
  });
  const server = await serve({
    "/": join(folder, "pages"),
    "/sqlite/": join(dirname(pathOfPeer("@sqlite.org/sqlite-wasm")), ""),
    "/cairn.wasm": join(HERE, "../../cairn.wasm"),
  });
  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: EXECUTABLE,
    args: FLAGS,
  });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`);
  return {
    version: context.browser()?.version() ?? "",
    probe: (extent) => page.evaluate((given) => (globalThis as unknown as PageCalls).probeInWorker(given), extent),
    writes: (count) => page.evaluate((given) => (globalThis as unknown as PageCalls).writes(given), count),
    async close() {
      await context.close();
      server.close();
      server.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Serves files under the folders that paths begin with, isolated, so that the page's timer is a fine one. */
function serve(roots: Record<string, string>): Promise<Server> {
  const prefixes = Object.keys(roots).sort((a, b) => b.length - a.length);
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const prefix = prefixes.find((start) => path.startsWith(start)) as string;
    const root = roots[prefix] as string;
    const file = path === prefix && extname(root) !== "" ? root : normalize(join(root, path.slice(prefix.length)));
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
    if (path === "/index.html") {
      response.end(
        '<!doctype html><meta charset="utf-8"><title>bench</title><script type="module" src="/page.js"></script>',
      );
      return;
    }
    try {
      if (file !== root && !file.startsWith(root + sep)) throw new Error("outside");
      response.end(readFileSync(file));
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}
