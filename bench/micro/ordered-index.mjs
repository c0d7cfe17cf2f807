/**
 * Micro-benchmark of the ordered index: what an insert, a seek, a step and a remove cost in WebAssembly, without the
 * engine around them. Build first: npm run build:units. Then: node bench/micro/ordered-index.mjs [keys] [binary]
 * Prints CPU time, in nanoseconds an operation, the median of three runs; keys are 13 bytes.
 */
import { readFileSync } from "node:fs";

const count = Number(process.argv[2] ?? 1_000_000);
const binary = process.argv[3] ?? new URL("../../build/cairn.units.wasm", import.meta.url);
const PAGE = 65536;
const KEY_A = 0x2000;
const KEY_SIZE = 13;
const KEY_STRIDE = 16;
const POOL = 0x100000;
const poolEnd = align(POOL + count * 80 + (8 << 20));
const listPointer = poolEnd;
const keysPointer = align(listPointer + count * 4);
const outPointer = align(keysPointer + count * KEY_STRIDE);
const memory = new WebAssembly.Memory({ initial: outPointer / PAGE + 1, maximum: 65536 });
const bytes = new Uint8Array(memory.buffer);
const words = new Uint32Array(memory.buffer);
// Touch every page first: a first touch costs more than an insert.
for (let at = POOL; at < bytes.length; at += 4096) bytes[at] = 0;
const module = new WebAssembly.Module(readFileSync(binary));
/** @type {any} */
const imports = { env: { memory } };
for (const each of WebAssembly.Module.imports(module)) {
  // No device is touched here.
  if (each.kind === "function") imports[each.module] = { ...imports[each.module], [each.name]: () => 0 };
}
/** @type {any} */
const units = new WebAssembly.Instance(module, imports).exports;

/** @param {number} size */
function align(size) {
  return Math.ceil(size / PAGE) * PAGE;
}

function cpuNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/**
 * ns an operation: the median of three runs, each after `prepare`.
 * @param {number} operations
 * @param {() => void} prepare
 * @param {() => void} run
 */
function measure(operations, prepare, run) {
  const figures = [];
  for (let i = 0; i < 3; i++) {
    prepare();
    const start = cpuNs();
    run();
    figures.push((cpuNs() - start) / operations);
  }
  return figures.sort((a, b) => a - b)[1] ?? 0;
}

let seed = 1;
/** @param {number} limit */
function random(limit) {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % limit;
}

/** @param {any[]} list */
function shuffled(list) {
  const copy = list.slice();
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

const encoder = new TextEncoder();
/** @type {Record<string, (i: number) => string>} */
const keyKinds = {
  "user:%08d": (i) => `user:${String(i).padStart(8, "0")}`,
  "random printable": (i) => {
    let state = (i + 1) * 2654435761;
    let key = "";
    for (let j = 0; j < KEY_SIZE; j++) {
      state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d + j) >>> 0;
      key += String.fromCharCode(48 + (state >>> 26));
    }
    return key;
  },
};

/**
 * @param {unknown} condition
 * @param {string} what
 */
function check(condition, what) {
  if (!condition) throw new Error(what);
}

/**
 * Fresh memory, an empty index, and key nodes in the order in which they will be inserted.
 * @param {any[]} keys
 * @param {any[]} order
 */
function fill(keys, order) {
  units.memoryInitialize(POOL, poolEnd);
  check(units.treeInitialize() === 0, "treeInitialize");
  for (let i = 0; i < order.length; i++) {
    bytes.set(keys[order[i]], KEY_A);
    bytes.fill(0, KEY_A + KEY_SIZE, KEY_A + KEY_STRIDE);
    const node = units.keyNodeTake(KEY_SIZE);
    check(node, "memory");
    words[(listPointer >> 2) + i] = node;
  }
}

const insert = () => check(units.treeInsertList(listPointer, count) === 0, "insert");
const bytesAKey = () => (units.treeBytes() / count).toFixed(1);

for (const [kind, keyOf] of Object.entries(keyKinds)) {
  const distinct = new Set();
  for (let i = 0; distinct.size < count; i++) distinct.add(keyOf(i));
  /** @type {any[]} */
  const keys = [...distinct].sort().map((key) => encoder.encode(key));
  const ascending = keys.map((_, i) => i);
  const descending = ascending.slice().reverse();
  const mixed = shuffled(ascending);
  /** @type {number[]} */
  const batches = [];
  for (let i = 0; i < count; i += 1000) {
    for (const id of mixed.slice(i, i + 1000).sort((a, b) => a - b)) batches.push(id);
  }
  /** @type {(name: string, figure: string, unit?: string) => void} */
  const row = (name, figure, unit = "ns") => console.log(`${kind.padEnd(18)}${name.padEnd(36)}${figure} ${unit}`);
  for (let i = 0; i < 3; i++) {
    fill(keys, mixed.slice(0, 30_000));
    units.treeInsertList(listPointer, 30_000);
  }
  row("insert, ascending", measure(count, () => fill(keys, ascending), insert).toFixed(0));
  row("bytes a key, ascending", bytesAKey(), "B");
  row("insert, descending", measure(count, () => fill(keys, descending), insert).toFixed(0));
  row("insert, sorted batches of 1,000", measure(count, () => fill(keys, batches), insert).toFixed(0));
  row("insert, random", measure(count, () => fill(keys, mixed), insert).toFixed(0));
  row("bytes a key, random", bytesAKey(), "B");
  row("levels", units.treeHeight(), "");
  const sought = shuffled(ascending);
  for (let i = 0; i < count; i++) bytes.set(keys[sought[i]], keysPointer + i * KEY_STRIDE);
  const seek = () => check(units.treeSeekList(keysPointer, KEY_STRIDE, KEY_SIZE, count, 0) === count, "seek");
  row("seek", measure(count, () => {}, seek).toFixed(0));
  const walk = () => check(units.treeWalk(outPointer, 256) === count, "walk");
  row("walk, blocks of 256", measure(count, () => {}, walk).toFixed(2));
  const step = () => {
    let met = 0;
    for (let node = units.treeFirst(); node; node = units.treeNext()) met++;
    check(met === count, "step");
  };
  row("treeNext, each from JavaScript", measure(count, () => {}, step).toFixed(1));
  check(units.treeVerify() === 0, "treeVerify");
  const refill = () => {
    fill(keys, mixed);
    insert();
  };
  const remove = () => check(units.treeRemoveList(listPointer, count) === 0, "remove");
  row("remove, random", measure(count, refill, remove).toFixed(0));
  check(units.treeNodeCount() === 1, "nodes are left");
}
