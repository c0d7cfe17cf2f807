/**
 * Micro-benchmark of the LZ4 codec, without the engine around it. Build first: npm run build:units. Then:
 * node bench/micro/lz4.mjs. Records of JSON, of several sizes, in GB of raw bytes a second of CPU time, the best of five runs.
 */
import { readFileSync } from "node:fs";

const PAGE = 65_536;
const PAGES = 64;
const SOURCE = 48 * PAGE;
const TABLE = 50 * PAGE;
const BLOCK = 51 * PAGE;
const OUT = 54 * PAGE;
const BYTES = 1e8;

const memory = new WebAssembly.Memory({ initial: PAGES, maximum: 65_536 });
const module = new WebAssembly.Module(readFileSync(new URL("../../build/cairn.units.wasm", import.meta.url)));
/** @type {any} */
const imports = { env: { memory } };
for (const each of WebAssembly.Module.imports(module)) {
  // No device is touched here.
  if (each.kind === "function") imports[each.module] = { ...imports[each.module], [each.name]: () => 0 };
}
/** @type {any} */
const units = new WebAssembly.Instance(module, imports).exports;

let text = "";
for (let i = 0; text.length < 70_000; i++) {
  const name = `user${(i * 7919) % 100_003}`;
  text += `{"id":${i},"name":"${name}","mail":"${name}@example.org","active":${i % 3 === 0},"score":${(i * 0.37).toFixed(2)}}\n`;
}
const raw = new TextEncoder().encode(text);
const bytes = new Uint8Array(memory.buffer);
for (const size of [300, 1024, 4096, PAGE]) {
  bytes.set(raw.subarray(0, size), SOURCE);
  const rounds = Math.ceil(BYTES / size);
  const block = units.lz4Compress(SOURCE, size, BLOCK, size, TABLE);
  const gigabytes = (/** @type {() => void} */ run) => {
    let best = 0;
    for (let round = 0; round < 5; round++) {
      const start = process.cpuUsage();
      for (let i = 0; i < rounds; i++) run();
      const { user, system } = process.cpuUsage(start);
      best = Math.max(best, (rounds * size) / (user + system) / 1000);
    }
    return best.toFixed(2);
  };
  const written = gigabytes(() => units.lz4Compress(SOURCE, size, BLOCK, size, TABLE));
  const read = gigabytes(() => units.lz4Decompress(BLOCK, block, OUT, size));
  process.stdout.write(`${size} bytes: ratio ${(size / block).toFixed(2)}, in ${written} GB/s, out ${read} GB/s\n`);
}
