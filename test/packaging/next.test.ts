/**
 * A Next.js application that imports the installed package on the server, in a route, and on the page, in a client
 * component; built by both of its bundlers, without a network. Turbopack needs no configuration for the package, webpack
 * has to leave it external on the server.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningBrowser, startBrowser } from "../browser/browsers.ts";
import { mainText, OUTCOME, workerText } from "./application.ts";
import { browserMissing, outcomeOf } from "./page.ts";
import { installPacked, linkPeers, peerMissing, run, temporaryFolder } from "./project.ts";

const missing = peerMissing("next") ?? browserMissing("chromium");
const folder = realpathSync(temporaryFolder());
const NEXT = "node_modules/next/dist/bin/next";
/** A build with webpack takes 20 s on an idle machine. */
const TIMEOUT_MS = 280_000;
const env = { NEXT_TELEMETRY_DISABLED: "1", CI: "1" };
let chromium: RunningBrowser | undefined;

const PAGE = `"use client";
import { useEffect } from "react";
import { show } from "./main.js";

export default function Page() {
  useEffect(show, []);
  return <p>application</p>;
}
`;

const LAYOUT = `export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>;
}
`;

const ROUTE = `import { open } from "cairn-kv";

export const dynamic = "force-dynamic";

export async function GET() {
  const store = await open("route.cairn");
  await store.put("user:1", "Ada");
  const value = store.get("user:1");
  await store.close();
  return Response.json({ value });
}
`;

/** Turbopack reads nothing outside of its root, and in this test next is a link to the outside. */
const CONFIGURATIONS: Record<string, string> = {
  turbopack: 'export default { turbopack: { root: "/" } };\n',
  webpack: 'export default { serverExternalPackages: ["cairn-kv"] };\n',
};

beforeAll(async () => {
  if (missing !== undefined) return;
  installPacked(folder);
  linkPeers(folder, ["next", "react", "react-dom"]);
  mkdirSync(join(folder, "app/route"), { recursive: true });
  writeFileSync(join(folder, "app/page.js"), PAGE);
  writeFileSync(join(folder, "app/layout.js"), LAYOUT);
  writeFileSync(join(folder, "app/route/route.js"), ROUTE);
  writeFileSync(join(folder, "app/worker.js"), workerText());
  writeFileSync(join(folder, "app/main.js"), mainText("export { show };"));
  chromium = await startBrowser("chromium");
});

afterAll(() => chromium?.close());

/** The address of a server that says so on its standard output. */
async function originOf(server: ChildProcess): Promise<string> {
  let printed = "";
  for await (const chunk of server.stdout as AsyncIterable<Buffer>) {
    printed += chunk.toString();
    const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(printed)?.[0];
    if (origin !== undefined && printed.includes("Ready")) return origin;
  }
  throw new Error(`next start ended: ${printed}`);
}

test.for(["turbopack", "webpack"])(
  "Next.js with %s bundles the package for routes and for pages",
  { timeout: TIMEOUT_MS + 20_000 },
  async (bundler, context) => {
    if (missing !== undefined) context.skip(missing);
    rmSync(join(folder, ".next"), { recursive: true, force: true });
    writeFileSync(join(folder, "next.config.mjs"), CONFIGURATIONS[bundler] as string);
    const built = await run(folder, process.execPath, [NEXT, "build", `--${bundler}`], { env, timeoutMs: TIMEOUT_MS });
    expect(built, built.err).toMatchObject({ status: 0 });
    const server = spawn(process.execPath, [NEXT, "start", "-H", "127.0.0.1", "-p", "0"], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "ignore"],
    });
    try {
      const origin = await originOf(server);
      expect(await (await fetch(`${origin}/route`)).json()).toEqual({ value: "Ada" });
      expect(await outcomeOf((chromium as RunningBrowser).browser, `${origin}/`)).toEqual(OUTCOME);
    } finally {
      server.kill("SIGKILL");
      if (server.exitCode === null) await once(server, "exit");
    }
  },
);
