/** Tests over the build with the planted bugs, which lies in `CAIRN_PLANTED_BUILD`; `CAIRN_PLANTED` is the bug that is on. */
import { join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";
import { sourcesOf } from "../../vitest.config.ts";
import { testedSource } from "./host-source.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const { CAIRN_PLANTED_BUILD = "" } = process.env;
const BINARY = pathToFileURL(join(CAIRN_PLANTED_BUILD, "planted.wasm")).href;

function plantedSources(): Plugin {
  return {
    name: "planted-sources",
    enforce: "pre",
    transform(code, id) {
      const file = relative(ROOT, id).split(sep).join("/");
      if (!/^(store|hosts)\/.*\.ts$/.test(file)) return undefined;
      return { code: testedSource(file, code).replaceAll('"../cairn.wasm"', JSON.stringify(BINARY)), map: null };
    },
  };
}

export default defineConfig({
  root: ROOT,
  plugins: [plantedSources()],
  resolve: { alias: sourcesOf("node") },
  test: {
    environment: "node",
    // What these sources become hangs on the build's place and on the bugs, which a kept transform knows nothing of.
    fsModuleCache: false,
    include: ["test/store/*.test.ts", "test/hosts/*.test.ts"],
    setupFiles: ["test/planted/setup.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    expect: { poll: { timeout: 5000 } },
  },
});
