/** `npm run test:tabs`: kills workers, pages and browsers in the midst of commits: test/browser/kills/program.ts. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/tabs-program.mjs");
/** A source finds what lies beside it, wherever the bundle lies. @type {import("esbuild").Plugin} */
const places = {
  name: "places",
  setup({ onLoad }) {
    onLoad({ filter: /\/test\/browser\/.*\.ts$/ }, ({ path: source }) => {
      const url = JSON.stringify(pathToFileURL(source).href);
      return { contents: readFileSync(source, "utf8").replaceAll("import.meta.url", url), loader: "ts" };
    });
  },
};
await build({
  entryPoints: [path("test/browser/kills/program.ts")],
  outfile: PROGRAM,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  logLevel: "warning",
  plugins: [places],
});
// The program ends by itself, and says what it came to.
process.on("SIGINT", () => undefined);
const run = spawnSync(process.execPath, [PROGRAM, ...process.argv.slice(2)], { stdio: "inherit" });
if (run.signal !== null) console.error(`test:tabs was ended by ${run.signal}`);
process.exitCode = run.status ?? 2;
