/**
 * Makes the console's page out of adapters/server/console/page: a script, a style sheet, an icon, and the page that names them, in
 * build/adapters/server/console/page. Names hold a hash of what is in the files, so that browsers may keep them.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const SOURCES = new URL("../adapters/server/console/page/", import.meta.url);
const TARGET = new URL("../build/adapters/server/console/page/", import.meta.url);

rmSync(TARGET, { recursive: true, force: true });
mkdirSync(TARGET, { recursive: true });

/** What index.html names, and what takes its place. */
const ENTRIES = ["main.ts", "style.css", "icon.svg"];
const { metafile } = await build({
  entryPoints: ENTRIES.map((name) => fileURLToPath(new URL(name, SOURCES))),
  outdir: fileURLToPath(TARGET),
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox120", "safari17.5"],
  loader: { ".svg": "copy" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

let page = readFileSync(new URL("index.html", SOURCES), "utf8");
for (const [path, { entryPoint, inputs }] of Object.entries(metafile.outputs)) {
  const name = basename(entryPoint ?? Object.keys(inputs)[0] ?? "");
  if (!page.includes(`"./${name}"`)) throw new Error(`index.html does not name ${name}`);
  page = page.replace(`"./${name}"`, `"./${basename(path)}"`);
}
for (const name of ENTRIES) if (page.includes(`"./${name}"`)) throw new Error(`nothing was made of ${name}`);
writeFileSync(new URL("index.html", TARGET), page);
