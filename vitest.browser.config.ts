/**
 * The tests in browsers. In Chromium, the store's, unchanged: each file runs in a dedicated worker, over the origin
 * private file system, and a page beside it shows vitest the same tests. Then, in Chromium or, with
 * `CAIRN_RUNTIME=firefox`, in Firefox, what tabs do with the built package.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, defineProject, type Plugin } from "vitest/config";
import { SECOND_TRY } from "./test/browser/browsers.ts";
import { binaryOfBuild, sourcesOf } from "./vitest.config.ts";

const ROOT = fileURLToPath(new URL("./", import.meta.url));
const IN_WORKER = "?in-worker";
const { CAIRN_CHROMIUM = "/usr/bin/chromium", CAIRN_RUNTIME = "chromium" } = process.env;

/** A test file is what `test/browser/suite-on-page.ts` makes of it; with `?in-worker` it is itself. */
function filesInWorkers(): Plugin {
  return {
    name: "files-in-workers",
    enforce: "pre",
    load(id) {
      const [path = "", query = ""] = id.split("?");
      if (!/\/test\/(store|adapters)\/[^/]+\.test\.ts$/.test(path) || `?${query}`.startsWith(IN_WORKER))
        return undefined;
      const file = `/${path.slice(ROOT.length)}${IN_WORKER}`;
      return `import { runInWorker } from "/test/browser/suite-on-page.ts";\nawait runInWorker(${JSON.stringify(file)});`;
    },
    async resolveId(source, importer) {
      const isHarness = importer?.includes("/test/store/")
        ? source === "./harness.ts"
        : source === "../store/harness.ts";
      if (!isHarness || !/\/test\/(store|adapters)\//.test(importer ?? "")) return undefined;
      return this.resolve("/test/browser/harness.ts");
    },
  };
}

/** A private profile has no files on a disk, so the browser gets a profile of its own, which goes with the run. */
const profile = mkdtempSync(join(tmpdir(), "cairn-chromium-"));
process.on("exit", () => rmSync(profile, { recursive: true, force: true }));

const store = defineProject({
  plugins: [binaryOfBuild(), filesInWorkers()],
  resolve: { alias: sourcesOf("browser") },
  // Workers have no environment.
  define: { CAIRN_SEED: JSON.stringify(process.env["CAIRN_SEED"] ?? "") },
  // Pages that share memory between threads have to be isolated.
  server: { headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" } },
  optimizeDeps: { include: ["abstract-level", "abstract-level/test", "buffer/", "devalue", "unstorage"] },
  test: {
    name: "store",
    include: ["test/store/*.test.ts", "test/adapters/*.test.ts"],
    exclude: ["**/node-*"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({
        persistentContext: profile,
        launchOptions: {
          executablePath: CAIRN_CHROMIUM,
          args: [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--js-flags=--expose-gc",
          ],
        },
      }),
      instances: [{ browser: "chromium" }],
    },
  },
});

/** Tabs of real browsers, driven from Node: sharing, killing, closing. */
const tabs = defineProject({
  plugins: [binaryOfBuild()],
  test: {
    name: "tabs",
    environment: "node",
    include: ["test/browser/*.test.ts"],
    pool: "forks",
    env: { CAIRN_BROWSERS: CAIRN_RUNTIME },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    ...SECOND_TRY,
    expect: { poll: { timeout: 30_000 } },
  },
});

export default defineConfig({
  test: {
    projects: CAIRN_RUNTIME === "firefox" ? [tabs] : [store, tabs],
    fileParallelism: false,
    maxWorkers: 1,
    api: { host: "127.0.0.1" },
  },
});
