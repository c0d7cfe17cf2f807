/**
 * Wraps `build/component-core.wasm` as a WASI 0.2 component, `build/cairn.component.wasm`: its exports get the names that
 * the canonical ABI gives to those of the world `cairn` in `wit/`, and jco makes a component of it. jco stands with the
 * other tools of the tests in `test/peers` (scripts/install-peers.mjs).
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { withNames } from "./component-names.mjs";

const ROOT = new URL("../", import.meta.url);
const CORE = new URL("build/component-core.wasm", ROOT);
const COMPONENT = new URL("build/cairn.component.wasm", ROOT);
const PEERS = new URL("test/peers/package.json", ROOT);
const require = createRequire(PEERS);
/**
 * @param {string} name
 * @returns {Promise<any>}
 */
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

if (!existsSync(new URL("node_modules/@bytecodealliance/jco", PEERS))) {
  console.error("jco is missing: node scripts/install-peers.mjs");
  process.exit(1);
}
// jco reads the WIT files through the shim, which shows it no directory by itself.
const { _addPreopen } = await load("@bytecodealliance/preview2-shim/filesystem");
_addPreopen("/", "/");
const { componentEmbed, componentNew } = await load("@bytecodealliance/jco");
const binary = withNames(readFileSync(CORE));
const witPath = fileURLToPath(new URL("wit", ROOT));
const component = await componentNew(await componentEmbed({ binary, witPath, world: "cairn" }), []);
// In one step, since test files may build it side by side.
const draft = new URL(`${COMPONENT.href}.${process.pid}`);
writeFileSync(draft, component);
renameSync(draft, COMPONENT);
console.log(`build/cairn.component.wasm: ${component.length} bytes`);
