/** A server on the loopback interface for pages of tests: the built package under `/build/`, beside them. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const BUILD = fileURLToPath(new URL("../../build", import.meta.url));
const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".map": "application/json",
  ".wasm": "application/wasm",
  ".html": "text/html",
};

/** Where a server listens, and how to end it. */
export interface PageServer {
  /** With another path it is the same origin, with `127.0.0.2` for `127.0.0.1` another one. */
  origin: string;
  close(): Promise<void>;
}

/** Starts a server. `pages` are served by their paths: scripts when those end in `.js`, else HTML. */
export async function servePages(pages: Record<string, string>): Promise<PageServer> {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    const page = pages[path];
    if (page !== undefined) {
      const type = path.endsWith(".js") ? "text/javascript" : "text/html";
      response.writeHead(200, { ...headers, "Content-Type": type }).end(page);
      return;
    }
    if (path === "/favicon.ico") {
      response.writeHead(204, headers).end();
      return;
    }
    const file = normalize(join(BUILD, path.replace(/^\/build\//, "")));
    try {
      if (!path.startsWith("/build/") || !file.startsWith(BUILD)) throw new Error("not below build/");
      const bytes = await readFile(file);
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      // Each server is an origin of its own: what one has sent is not asked for again.
      response.writeHead(200, { ...headers, "Content-Type": type, "Cache-Control": "max-age=3600" });
      response.end(bytes);
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
