/** `npm run test:tabs`: kills workers, pages and browsers in the midst of commits: test/browser/kills/program.ts. */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { bundled, runToEnd } from "./program.mjs";

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
const program = await bundled("test/browser/kills/program.ts", "tabs-program", {
  packages: "external",
  plugins: [places],
});
// The program ends by itself, and says what it came to.
process.on("SIGINT", () => undefined);
const signal = runToEnd(program, process.argv.slice(2));
if (signal !== null) console.error(`test:tabs was ended by ${signal}`);
