/** Builds the sandbox page into build/sandbox: static files, for any server. The binary must have been built before. */
import { defineConfig, type Plugin } from "vite";

/** The page is made from the sources; the paths in an entry point are those of the build. */
function pathsOfBuild(): Plugin {
  return {
    name: "paths-of-build",
    enforce: "pre",
    transform(code, id) {
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

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  plugins: [pathsOfBuild()],
  worker: { format: "es", plugins: () => [pathsOfBuild()] },
  build: {
    outDir: "../../build/sandbox",
    emptyOutDir: true,
    target: "es2023",
    modulePreload: { polyfill: false },
  },
  preview: { host: "127.0.0.1", port: 4173 },
});
