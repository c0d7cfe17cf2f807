/**
 * Applications that import the installed package, built by each bundler for a browser and for Node, and run: in headless
 * browsers, on Node. docs/bundlers.md says what is needed with each; these tests are its proof.
 */
import { copyFileSync, mkdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as esbuild from "esbuild";
import { build, createServer } from "vite";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import webpack from "webpack";
import { type RunningBrowser, startBrowser } from "../browser/browsers.ts";
import { mainText, OUTCOME, workerText } from "./application.ts";
import { browserMissing, outcomeOf, serveFolder } from "./page.ts";
import { installPacked, run, temporaryFolder } from "./project.ts";

const missing = browserMissing("chromium");
const folder = realpathSync(temporaryFolder());
const binary = join(folder, "node_modules/cairn-kv/build/cairn.wasm");
let chromium: RunningBrowser | undefined;

function pageText(script: string): string {
  return `<!doctype html><html lang="en"><title>application</title><link rel="icon" href="data:,"><script type="module" src="${script}"></script></html>\n`;
}

/** What comes of the page in a folder. */
async function outcomeIn(outFolder: string, { browser } = chromium as RunningBrowser): Promise<unknown> {
  const server = await serveFolder(outFolder);
  try {
    return await outcomeOf(browser, `${server.origin}/`);
  } finally {
    await server.close();
  }
}

function needChromium(context: TestContext): void {
  if (missing !== undefined) context.skip(missing);
}

beforeAll(async () => {
  installPacked(folder);
  writeFileSync(join(folder, "main.js"), mainText());
  writeFileSync(join(folder, "worker.js"), workerText());
  writeFileSync(join(folder, "index.html"), pageText("/main.js"));
  if (missing === undefined) chromium = await startBrowser("chromium");
});

afterAll(() => chromium?.close());

test("Vite builds for a browser without configuration", async (context) => {
  needChromium(context);
  const outDir = join(folder, "out-vite");
  await build({ root: folder, configFile: false, logLevel: "error", build: { outDir } });
  expect(await outcomeIn(outDir)).toEqual(OUTCOME);
});

test("what Vite builds runs in Firefox as well", async (context) => {
  const reason = browserMissing("firefox");
  if (reason !== undefined) context.skip(reason);
  const outDir = join(folder, "out-vite-firefox");
  await build({ root: folder, configFile: false, logLevel: "error", build: { outDir } });
  const firefox = await startBrowser("firefox");
  try {
    expect(await outcomeIn(outDir, firefox)).toEqual(OUTCOME);
  } finally {
    await firefox.close();
  }
});

test("Vite's development server serves the package without configuration", async (context) => {
  needChromium(context);
  const server = await createServer({
    root: folder,
    configFile: false,
    logLevel: "error",
    server: { host: "127.0.0.1", port: 0 },
  });
  try {
    await server.listen();
    const url = server.resolvedUrls?.local[0] as string;
    expect(await outcomeOf((chromium as RunningBrowser).browser, url)).toEqual(OUTCOME);
  } finally {
    await server.close();
  }
});

test("webpack builds for a browser without configuration", async (context) => {
  needChromium(context);
  const path = join(folder, "out-webpack");
  await runWebpack({ context: folder, entry: "./main.js", mode: "production", output: { path } });
  writeFileSync(join(path, "index.html"), pageText("/main.js"));
  expect(await outcomeIn(path)).toEqual(OUTCOME);
});

test("esbuild builds for a browser with the worker as an entry and the binary copied", async (context) => {
  needChromium(context);
  const outFolder = join(folder, "out-esbuild");
  await esbuild.build({
    absWorkingDir: folder,
    entryPoints: {
      "app/main": "main.js",
      "app/worker": "worker.js",
      "app/browser-worker": "node_modules/cairn-kv/build/hosts/browser-worker.js",
    },
    bundle: true,
    format: "esm",
    outdir: outFolder,
  });
  copyFileSync(binary, join(outFolder, "cairn.wasm"));
  writeFileSync(join(outFolder, "index.html"), pageText("/app/main.js"));
  expect(await outcomeIn(outFolder)).toEqual(OUTCOME);
});

test("esbuild takes the binary into a page, which passes the module to connect and to open", async (context) => {
  needChromium(context);
  const outFolder = join(folder, "out-esbuild-passed");
  const passing = (text: string): string =>
    `import bytes from "cairn-kv/cairn.wasm";\n${text.replace(
      '.cairn")',
      '.cairn", { wasm: new WebAssembly.Module(bytes) })',
    )}`;
  writeFileSync(join(folder, "passing-main.js"), passing(mainText()));
  writeFileSync(join(folder, "passing-worker.js"), passing(workerText()));
  await esbuild.build({
    absWorkingDir: folder,
    entryPoints: {
      main: "passing-main.js",
      worker: "passing-worker.js",
      "browser-worker": "node_modules/cairn-kv/build/hosts/browser-worker.js",
    },
    bundle: true,
    format: "esm",
    loader: { ".wasm": "binary" },
    outdir: outFolder,
  });
  writeFileSync(join(outFolder, "index.html"), pageText("/main.js"));
  expect(await outcomeIn(outFolder)).toEqual(OUTCOME);
});

test("a bundle of esbuild whose binary was not copied says so", async (context) => {
  needChromium(context);
  const outFolder = join(folder, "out-esbuild-lacking");
  const entryPoints = { main: "lacking.js" };
  writeFileSync(
    join(folder, "lacking.js"),
    `import { open } from "cairn-kv";
    open(":memory:").catch((error) => [error.code, error.message]).then((outcome) => { globalThis.outcome = outcome; });`,
  );
  await esbuild.build({ absWorkingDir: folder, entryPoints, bundle: true, format: "esm", outdir: outFolder });
  writeFileSync(join(outFolder, "index.html"), pageText("/main.js"));
  expect(await outcomeIn(outFolder)).toEqual(["UNSUPPORTED", expect.stringContaining("cairn.wasm")]);
});

/** A program for Node, in one file with what it imports. */
const PROGRAM = `
import { open } from "cairn-kv";
open(":memory:").then(async (store) => {
  await store.put("user:1", "Ada");
  console.log(store.get("user:1"));
  await store.close();
}, (error) => console.log(error.code ?? error.name));
`;

/** Builds `text` with esbuild for Node into a folder of its own, and runs it there. */
async function runOnNode(name: string, text: string, options: esbuild.BuildOptions, copied = false): Promise<string> {
  const extension = options.format === "cjs" ? "cjs" : "mjs";
  const outFolder = join(folder, name);
  const outfile = join(outFolder, `dist/program.${extension}`);
  writeFileSync(join(folder, `${name}.js`), text);
  rmSync(outFolder, { recursive: true, force: true });
  mkdirSync(outFolder);
  if (copied) copyFileSync(binary, join(outFolder, "cairn.wasm"));
  await esbuild.build({
    absWorkingDir: folder,
    entryPoints: [`${name}.js`],
    bundle: true,
    platform: "node",
    logLevel: "silent",
    outfile,
    ...options,
  });
  return (await run(outFolder, process.execPath, [outfile])).out;
}

test("esbuild builds for Node with the package left external", async () => {
  const packages = "external" as const;
  expect(await runOnNode("external-esm", PROGRAM, { format: "esm", packages })).toBe("Ada\n");
  expect(await runOnNode("external-cjs", PROGRAM, { format: "cjs", packages })).toBe("Ada\n");
});

test("esbuild bundles the package for Node as an ES module when the binary is copied one folder up", async () => {
  expect(await runOnNode("copied", PROGRAM, { format: "esm" }, true)).toBe("Ada\n");
  expect(await runOnNode("not-copied", PROGRAM, { format: "esm" })).toBe("DEVICE_READ\n");
});

test("esbuild bundles the package and its binary for Node into one file, as an ES module and as CommonJS", async () => {
  const text = `import bytes from "cairn-kv/cairn.wasm";\n${PROGRAM.replace(
    'open(":memory:")',
    'open(":memory:", { wasm: new WebAssembly.Module(bytes) })',
  )}`;
  const options = { loader: { ".wasm": "binary" as const }, target: "node20" };
  expect(await runOnNode("one-file-esm", text, { format: "esm", ...options })).toBe("Ada\n");
  expect(await runOnNode("one-file-cjs", text, { format: "cjs", ...options })).toBe("Ada\n");
});

test("webpack builds for Node without configuration", async () => {
  const path = join(folder, "out-webpack-node");
  writeFileSync(join(folder, "program.js"), PROGRAM);
  const output = { path, filename: "program.cjs" };
  await runWebpack({ context: folder, entry: "./program.js", mode: "none", target: "node20", output });
  expect((await run(path, process.execPath, ["program.cjs"])).out).toBe("Ada\n");
});

test("a bundle of webpack for Node that addresses the binary by URL path says what to do", async () => {
  const path = join(folder, "out-webpack-relative");
  writeFileSync(join(folder, "refused.js"), PROGRAM.replace("error.code ?? error.name", "error.code, error.message"));
  const output = { path, filename: "program.cjs", publicPath: "/assets/" };
  const parser = { javascript: { url: "relative" as const } };
  const entry = "./refused.js";
  await runWebpack({ context: folder, entry, mode: "none", target: "node20", output, module: { parser } });
  const { out } = await run(path, process.execPath, ["program.cjs"]);
  expect(out).toMatch(/^UNSUPPORTED open: .*\/assets\/.*\.wasm.* the option wasm\.\n$/);
});

test("Vite builds for Node with the package left external", async () => {
  const outDir = join(folder, "out-vite-node");
  writeFileSync(join(folder, "program.js"), PROGRAM);
  await build({ root: folder, configFile: false, logLevel: "error", build: { ssr: "program.js", outDir } });
  expect((await run(outDir, process.execPath, ["program.js"])).out).toBe("Ada\n");
});

function runWebpack(configuration: webpack.Configuration): Promise<void> {
  return new Promise((resolve, reject) => {
    webpack(configuration).run((error, stats) => {
      if (error !== null) reject(error);
      else if (stats?.hasErrors() || stats?.hasWarnings()) reject(new Error(stats.toString("errors-warnings")));
      else resolve();
    });
  });
}
