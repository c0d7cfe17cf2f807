/**
 * Loaded into each process and worker of Node below `npm run coverage`, before anything else: where the program compiles a binary
 * of the engine, it gets the one with counters, and a branch that is taken for the first time is marked in a file that all
 * processes share. A mark is one byte, written at once, so that it outlives the kill of its process.
 *
 * `CAIRN_COVERAGE` names the folder: `hits`, and for each binary `NAME.original.wasm` and `NAME.wasm`.
 */
import { openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const FOLDER = /** @type {string} */ (process.env["CAIRN_COVERAGE"]);
const TAKEN = Uint8Array.of(1);
/** An export that the core of the component has, and nothing else: it is found in whatever jco made of it. */
const OF_COMPONENT = Buffer.from("cairn:kv/store@0.1.0#[static]store.open");

/** @type {Map<string, Buffer>} */
const read = new Map();
/** @param {string} name */
function file(name) {
  const bytes = read.get(name) ?? readFileSync(join(FOLDER, name));
  read.set(name, bytes);
  return bytes;
}

/**
 * The bytes with counters for those of the engine, and any others as they are.
 *
 * @param {unknown} given
 */
function withCounters(given) {
  let bytes;
  if (given instanceof ArrayBuffer) bytes = Buffer.from(given);
  else if (ArrayBuffer.isView(given)) bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  else return given;
  for (const name of ["index", "units"]) {
    if (bytes.equals(file(`${name}.original.wasm`))) return file(`${name}.wasm`);
  }
  // The component itself holds its core: only a module is exchanged.
  const isModule = bytes.length > 8 && bytes.readUInt32LE(4) === 1;
  return isModule && bytes.includes(OF_COMPONENT) ? file("component.wasm") : given;
}

const hits = openSync(join(FOLDER, "hits"), "r+");
/** @type {Set<number>} */
const seen = new Set();
const coverage = {
  /** @param {number} branch */
  hit(branch) {
    if (seen.has(branch)) return;
    seen.add(branch);
    writeSync(hits, TAKEN, 0, 1, branch);
  },
};

const wasm = /** @type {any} */ (WebAssembly);
const { compile, instantiate, validate } = wasm;
/** @type {(bytes: unknown, ...rest: unknown[]) => unknown} */
wasm.compile = (bytes, ...rest) => compile(withCounters(bytes), ...rest);
/** @type {(bytes: unknown, ...rest: unknown[]) => unknown} */
wasm.validate = (bytes, ...rest) => validate(withCounters(bytes), ...rest);
/** @type {(source: unknown, imports?: object, ...rest: unknown[]) => unknown} */
wasm.instantiate = (source, imports, ...rest) => instantiate(withCounters(source), { ...imports, coverage }, ...rest);
wasm.Module = new Proxy(wasm.Module, {
  construct: (target, [bytes, ...rest], self) => Reflect.construct(target, [withCounters(bytes), ...rest], self),
});
wasm.Instance = new Proxy(wasm.Instance, {
  construct: (target, [module, imports, ...rest], self) =>
    Reflect.construct(target, [module, { ...imports, coverage }, ...rest], self),
});
