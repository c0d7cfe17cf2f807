/** The core's allocator, as hosts call it that grow what they pass while they write it: wasmtime does so with strings. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { withNames } from "../../scripts/component-names.mjs";

const CORE = new URL("../../build/component-core.wasm", import.meta.url);
const ARENA_SIZE = 190 * 1024 * 1024;

type Realloc = (old: number, oldSize: number, align: number, size: number) => number;

/** The core, with a memory of its own, which nobody calls into the host from. */
function core(): { realloc: Realloc; bytes: Uint8Array } {
  const module = new WebAssembly.Module(withNames(readFileSync(CORE)) as BufferSource);
  const imports: Record<string, Record<string, () => never>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const members = imports[from] ?? {};
    imports[from] = members;
    members[name] = () => {
      throw new Error(`${from} ${name} was called`);
    };
  }
  const { exports } = new WebAssembly.Instance(module, imports);
  const memory = exports["memory"] as WebAssembly.Memory;
  return { realloc: exports["cabi_realloc"] as Realloc, bytes: new Uint8Array(memory.buffer) };
}

test("grows what was allocated last in its place, and copies what was not", () => {
  const { realloc, bytes } = core();
  const first = realloc(0, 0, 1, 10);
  expect(realloc(first, 10, 1, 20)).toBe(first);
  bytes.fill(7, first, first + 20);
  const second = realloc(0, 0, 8, 8);
  expect(second).toBe(first + 24);
  const moved = realloc(first, 20, 1, 40);
  expect(moved).toBeGreaterThanOrEqual(second + 8);
  expect(bytes.subarray(moved, moved + 20)).toEqual(new Uint8Array(20).fill(7));
  // What shrinks, shrinks in its place, and what follows takes its end.
  expect(realloc(moved, 40, 1, 5)).toBe(moved);
  expect(realloc(0, 0, 1, 1)).toBe(moved + 5);
});

test("traps where nothing more fits: the canonical ABI knows no other answer", () => {
  const { realloc } = core();
  expect(() => realloc(0, 0, 1, ARENA_SIZE + 1)).toThrow(WebAssembly.RuntimeError);
  const all = realloc(0, 0, 1, ARENA_SIZE);
  expect(all).toBeGreaterThan(0);
  expect(() => realloc(all, ARENA_SIZE, 1, ARENA_SIZE + 1)).toThrow(WebAssembly.RuntimeError);
  expect(() => realloc(0, 0, 1, 1)).toThrow(WebAssembly.RuntimeError);
  expect(realloc(all, ARENA_SIZE, 1, 16)).toBe(all);
  expect(realloc(0, 0, 1, 1)).toBe(all + 16);
});
