/**
 * Proves that nothing imports against the order of the layers, and that a layer uses only what it may.
 *
 *   assembly   itself
 *   store      itself; no package, nothing of a runtime
 *   hosts      store, itself, and the runtime's own modules
 *   adapters   store, itself, the entry points in hosts/ and "cairn-kv"; packages as listed below
 *   examples   store, adapters, itself, and the entry points in hosts/
 *   scripts    itself; packages as listed below
 *   test, bench anything, and nothing imports them; nor does anything but the compiler take assembly/units.ts
 */
import { existsSync, readFileSync } from "node:fs";
import { lineOf, sourceFiles, withoutComments } from "./sources.mjs";

const ROOT = new URL("../", import.meta.url);
const LAYERS = ["assembly", "store", "hosts", "adapters", "examples", "scripts", "test", "bench"];

/** Entry points: what joins store and host for one runtime, and so what a program may open a store with. */
const ENTRY_POINT = /^hosts\/(node|bun|deno|browser|memory|wasi)\.ts$/;

/** @type {Record<string, { layers: string[], entryPoints: boolean, runtime: boolean }>} */
const RULES = {
  assembly: { layers: ["assembly"], entryPoints: false, runtime: false },
  store: { layers: ["store"], entryPoints: false, runtime: false },
  hosts: { layers: ["store", "hosts"], entryPoints: true, runtime: true },
  adapters: { layers: ["store", "adapters"], entryPoints: true, runtime: true },
  examples: { layers: ["store", "adapters", "examples"], entryPoints: true, runtime: true },
  scripts: { layers: ["scripts"], entryPoints: false, runtime: true },
};

/** Packages that a folder, or one file, may import; everything else is part of this repository or of the runtime. */
const PACKAGES = [
  { folder: "adapters/cli/", packages: ["commander", "cli-progress", "csv-parse"] },
  { folder: "adapters/deno-kv/", packages: ["devalue"] },
  { folder: "adapters/server/", packages: ["re2js", "@opentelemetry/api"] },
  { folder: "adapters/client/", packages: ["ws"] },
  { folder: "adapters/level/", packages: ["abstract-level", "buffer"] },
  { folder: "adapters/s3/", packages: ["@aws-sdk/client-s3"] },
  { folder: "adapters/unstorage/", packages: ["unstorage"] },
  { folder: "adapters/msgpack.ts", packages: ["@msgpack/msgpack"] },
  { folder: "adapters/sandbox/vite.config.ts", packages: ["vite"] },
  { folder: "examples/automerge/", packages: ["@automerge/automerge-repo"] },
  { folder: "scripts/program.mjs", packages: ["esbuild"] },
  { folder: "scripts/console.mjs", packages: ["esbuild"] },
  { folder: "scripts/text-module.mjs", packages: ["binaryen"] },
  { folder: "scripts/coverage/", packages: ["assemblyscript"] },
];

/** Module specifiers: of `import` and `export … from` and bare `import` at the start of a line; of `import()`, `require()`. */
const SPECIFIER =
  /^[ \t]*(?:import|export)\b[^;"'`]*?\bfrom\s*(["'])([^"'\n]+)\1|^[ \t]*import\s*(["'])([^"'\n]+)\3|\b(?:import|require)\s*\(\s*(["'`])([^"'`\n]+)\5/gm;

/**
 * Why `file` may not import `specifier`, or nothing when it may.
 *
 * @param {string} file
 * @param {string} specifier
 * @returns {string | undefined}
 */
function objection(file, specifier) {
  const layer = /** @type {string} */ (file.split("/")[0]);
  const rule = RULES[layer];
  if (!rule) return undefined;

  if (/^(node|bun|deno):/.test(specifier)) {
    return rule.runtime ? undefined : `${layer}/ uses nothing of a runtime`;
  }
  if (!specifier.startsWith(".")) {
    if (/^cairn-kv($|\/)/.test(specifier) && layer === "examples") return undefined;
    // The package by its own name: the entry point of whichever runtime, or bundler's target, takes the adapter.
    if (specifier === "cairn-kv" && layer === "adapters") return undefined;
    const name = /** @type {string} */ (/^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0]);
    const isListed = PACKAGES.some(({ folder, packages }) => file.startsWith(folder) && packages.includes(name));
    return isListed ? undefined : "the package is not listed in scripts/layering.mjs for this folder";
  }

  const url = new URL(specifier, new URL(file, ROOT));
  if (!url.href.startsWith(ROOT.href)) return "it lies outside the repository";
  const target = url.href.slice(ROOT.href.length);
  const targetFile = layer === "assembly" && !target.endsWith(".ts") ? `${target}.ts` : target;
  if (targetFile === "assembly/units.ts") return "assembly/units.ts is for unit tests alone";
  if (!existsSync(new URL(targetFile, ROOT))) return `there is no ${targetFile}`;
  const targetLayer = /** @type {string} */ (targetFile.split("/")[0]);
  if (rule.layers.includes(targetLayer)) return undefined;
  if (targetLayer === "hosts" && rule.entryPoints) {
    return ENTRY_POINT.test(targetFile) ? undefined : "of hosts/ it may import only an entry point";
  }
  return `${layer}/ imports only ${rule.layers.map((name) => `${name}/`).join(", ")}`;
}

const faults = [];
let importCount = 0;
const files = sourceFiles(ROOT, LAYERS);
for (const file of files) {
  const text = withoutComments(readFileSync(new URL(file, ROOT), "utf8"), { literals: "keep" });
  for (const match of text.matchAll(SPECIFIER)) {
    const specifier = /** @type {string} */ (match[2] ?? match[4] ?? match[6]);
    const reason = objection(file, specifier);
    if (reason) faults.push(`${file}:${lineOf(text, match.index)}: "${specifier}": ${reason}`);
    importCount++;
  }
}

for (const fault of faults) console.error(fault);
console.log(`layering: ${files.length} files, ${importCount} imports, ${faults.length} against the order`);
if (faults.length > 0) process.exitCode = 1;
