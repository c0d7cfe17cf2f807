/**
 * Wraps `build/component-core.wasm` as a WASI 0.2 component, `build/cairn.component.wasm`: its exports get the names that
 * the canonical ABI gives to those of the world `cairn` in `wit/`, and jco makes a component of it. jco stands with the
 * other tools of the tests in `test/peers` (scripts/install-peers.mjs).
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = new URL("../", import.meta.url);
const CORE = new URL("build/component-core.wasm", ROOT);
const COMPONENT = new URL("build/cairn.component.wasm", ROOT);
const PEERS = new URL("test/peers/package.json", ROOT);
const EXPORT_SECTION = 7;
const HEADER_SIZE = 8;

const STORE = "cairn:kv/store@0.1.0#";
const BUCKETS = "wasi:keyvalue/store@0.2.0-draft2#";
const ATOMICS = "wasi:keyvalue/atomics@0.2.0-draft2#";
const BATCH = "wasi:keyvalue/batch@0.2.0-draft2#";

/** Exports of assembly/component/index.ts, and what the component calls them. */
const NAMES = new Map([
  ["memory", "memory"],
  ["cabi_realloc", "cabi_realloc"],
  ["storeOpen", `${STORE}[static]store.open`],
  ["storeGet", `${STORE}[method]store.get`],
  ["storeHas", `${STORE}[method]store.has`],
  ["storeSet", `${STORE}[method]store.set`],
  ["storeDelete", `${STORE}[method]store.delete`],
  ["storePutDurable", `${STORE}[method]store.put-durable`],
  ["storeDeleteDurable", `${STORE}[method]store.delete-durable`],
  ["storeFlush", `${STORE}[method]store.flush`],
  ["storeScan", `${STORE}[method]store.scan`],
  ["storeCount", `${STORE}[method]store.count`],
  ["storeStats", `${STORE}[method]store.stats`],
  ["storeClose", `${STORE}[method]store.close`],
  ["storeDrop", `${STORE}[dtor]store`],
  ["cursorEntries", `${STORE}[method]cursor.next`],
  ["cursorDrop", `${STORE}[dtor]cursor`],
  ["bucketOpen", `${BUCKETS}open`],
  ["bucketGet", `${BUCKETS}[method]bucket.get`],
  ["bucketSet", `${BUCKETS}[method]bucket.set`],
  ["bucketDelete", `${BUCKETS}[method]bucket.delete`],
  ["bucketExists", `${BUCKETS}[method]bucket.exists`],
  ["bucketListKeys", `${BUCKETS}[method]bucket.list-keys`],
  ["bucketDrop", `${BUCKETS}[dtor]bucket`],
  ["casNew", `${ATOMICS}[static]cas.new`],
  ["casCurrent", `${ATOMICS}[method]cas.current`],
  ["casDropped", `${ATOMICS}[dtor]cas`],
  ["increment", `${ATOMICS}increment`],
  ["swap", `${ATOMICS}swap`],
  ["getMany", `${BATCH}get-many`],
  ["setMany", `${BATCH}set-many`],
  ["deleteMany", `${BATCH}delete-many`],
]);

/**
 * A number as unsigned LEB128.
 *
 * @param {number} value
 * @returns {number[]}
 */
function leb(value) {
  const bytes = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

/** Reads a binary from front to back. */
class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = /** @type {number} */ (this.bytes[this.at++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** @param {number} size */
  take(size) {
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}

/**
 * The export section with the component's names. Throws when an export has none, or one is missing.
 *
 * @param {Uint8Array} section
 */
function renamed(section) {
  const reader = new Reader(section);
  const count = reader.number();
  const out = leb(count);
  const missing = new Set(NAMES.keys());
  for (let i = 0; i < count; i++) {
    const name = new TextDecoder().decode(reader.take(reader.number()));
    const kind = reader.take(1);
    const index = reader.number();
    const to = NAMES.get(name);
    if (to === undefined) throw new Error(`the export ${name} has no name in the component: add it to NAMES`);
    missing.delete(name);
    const bytes = new TextEncoder().encode(to);
    out.push(...leb(bytes.length), ...bytes, ...kind, ...leb(index));
  }
  if (missing.size > 0) throw new Error(`assembly/component exports no ${[...missing].join(", ")}`);
  return out;
}

/**
 * A module with the component's names for its exports.
 *
 * @param {Uint8Array} binary
 */
function withNames(binary) {
  const reader = new Reader(binary);
  /** @type {Uint8Array[]} */
  const parts = [reader.take(HEADER_SIZE)];
  while (reader.at < binary.length) {
    const id = /** @type {number} */ (reader.take(1)[0]);
    const section = reader.take(reader.number());
    const body = id === EXPORT_SECTION ? renamed(section) : section;
    parts.push(Uint8Array.from([id, ...leb(body.length)]), Uint8Array.from(body));
  }
  return Buffer.concat(parts);
}

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
