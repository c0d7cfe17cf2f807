import "./scripts/node20.mjs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";

/** Tests run the sources; binary and console's page the build leaves in build/: the paths that sources give hold there only. */
export function binaryOfBuild(): Plugin {
  return {
    name: "binary-of-build",
    enforce: "pre",
    transform(code, id) {
      if (/\/adapters\/server\/console\/index\.ts$/.test(id)) {
        return { code: code.replace('"./page/"', '"../../../build/adapters/server/console/page/"'), map: null };
      }
      if (!/\/hosts\/[^/]+\.ts$/.test(id)) return undefined;
      return {
        code: code
          .replaceAll('"../cairn.wasm"', '"../build/cairn.wasm"')
          .replaceAll('"./browser-worker.js"', '"./browser-worker.ts"'),
        map: null,
      };
    },
  };
}

/** The package by its own name, as adapters import it: the sources of the entry point of `runtime`. */
export function sourcesOf(runtime: "node" | "bun" | "deno" | "browser"): { find: RegExp; replacement: string }[] {
  const entry = new URL(`hosts/${runtime}.ts`, import.meta.url);
  return [{ find: /^cairn-kv$/, replacement: fileURLToPath(entry) }];
}

const runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

export default defineConfig({
  plugins: [binaryOfBuild()],
  resolve: { alias: sourcesOf(runtime) },
  test: {
    environment: "node",
    include: ["test/**/*.test.ts"],
    exclude: ["test/browser/**"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // The default of a second is less than a busy machine may take to show what a test waits for.
    expect: { poll: { timeout: 30_000 } },
  },
});
