/** `repair`: what it saves of a damaged file, where it puts that, what it says, and its exit status. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, scratchFolder } from "./tool.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1_048_576;
const SUPERBLOCK_STRIDE = 262_144;
const scratch = scratchFolder();
const path = scratch("whole.cairn");
const model = new Map<string, string>();

{
  const store = await open(path);
  for (let i = 0; i < 2000; i++) {
    store.set(`key:${i}`, `${i} `.repeat(40));
    model.set(`key:${i}`, `${i} `.repeat(40));
  }
  for (let i = 0; i < 2000; i += 4) {
    store.delete(`key:${i}`);
    model.delete(`key:${i}`);
  }
  await store.close();
}

/** A copy of the store with blocks filled with zeros. */
function damaged(name: string, ...places: number[]): string {
  const bytes = readFileSync(path);
  for (const at of places) bytes.fill(0, at, at + BLOCK);
  const target = scratch(name);
  writeFileSync(target, bytes);
  return target;
}

/** What a store holds, none of it wrong: how many of the keys. */
async function countRight(file: string): Promise<number> {
  const store = await open(file, { create: false });
  for (const [key, value] of store.entries()) expect(value).toBe(model.get(key));
  const count = store.count();
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
  return count;
}

const SUPERBLOCKS = [0, 1, 2, 3].map((copy) => copy * SUPERBLOCK_STRIDE);

test("a sound store is copied: status 0, and not a byte of it changed", async () => {
  const before = readFileSync(path);
  const { mtimeMs } = statSync(path);
  const run = cairn(["repair", path]);
  expect(run).toMatchObject({ status: 0, out: "" });
  expect(run.err).toContain("Nothing is lost");
  expect(Buffer.compare(readFileSync(path), before)).toBe(0);
  expect(statSync(path).mtimeMs).toBe(mtimeMs);
  expect(existsSync(`${path}.lock`)).toBe(false);
  expect(existsSync(`${path}.unproven`)).toBe(false);
  expect(await countRight(`${path}.repaired`)).toBe(model.size);
});

test("a store without any superblock comes back, and --json tells of it", async () => {
  const target = damaged("headless.cairn", ...SUPERBLOCKS);
  const opened = cairn(["get", target, "key:1"]);
  expect(opened.status).toBe(1);
  const run = cairn(["repair", target, "--json"]);
  expect(run.status).toBe(0);
  expect(JSON.parse(run.out)).toMatchObject({
    store: target,
    complete: true,
    output: `${target}.repaired`,
    superblocksIntact: 0,
    superblockRebuilt: true,
    keysRepaired: model.size,
    keysUnproven: 0,
    keysLost: 0,
  });
  expect(await countRight(`${target}.repaired`)).toBe(model.size);
});

test("a lost block of the log costs what was in it: status 1, the rest is there, and in place the old file stays", async () => {
  const hole = SEGMENTS_OFFSET + 5 * BLOCK;
  const target = damaged("hole.cairn", hole);
  const before = readFileSync(target);
  const run = cairn(["repair", target, "--in-place", "--json"]);
  expect(run.status).toBe(1);
  const report = JSON.parse(run.out);
  expect(report).toMatchObject({ complete: false, output: target, damaged: `${target}.damaged`, gapCount: 1 });
  expect(report.gaps[0]).toMatchObject({ kind: "blocks", place: { offset: hole } });
  expect(run.err).toContain("Something is lost");
  expect(Buffer.compare(readFileSync(`${target}.damaged`), before)).toBe(0);
  const repaired = await countRight(target);
  expect(repaired).toBe(report.keysRepaired);
  expect(repaired + (await countPlausible(`${target}.unproven`))).toBeGreaterThan(model.size - 60);

  // What the lost block may have changed is taken as it is, where that is asked for.
  const again = cairn(["repair", `${target}.damaged`, "--output", scratch("exposed.cairn"), "--keep-exposed"]);
  expect(again.status).toBe(1);
  expect(await countPlausible(scratch("exposed.cairn"))).toBeGreaterThan(model.size - 60);
});

/** Values that are not proven were at some time those of their keys. */
async function countPlausible(file: string): Promise<number> {
  const store = await open(file, { create: false });
  for (const [key, value] of store.entries()) expect(value).toBe(`${key.slice(4)} `.repeat(40));
  const count = store.count();
  await store.close();
  return count;
}

test("what exists is not written over, what is open is LOCKED, and noise is NOT_A_STORE", async () => {
  const run = cairn(["repair", path]);
  expect(run.status).toBe(1);
  expect(run.err).toContain(`${path}.repaired exists already`);

  const store = await open(path);
  const busy = cairn(["repair", path, "--output", scratch("busy.cairn")]);
  await store.close();
  expect(busy.status).toBe(1);
  expect(busy.err).toContain("LOCKED");
  expect(existsSync(scratch("busy.cairn"))).toBe(false);

  const noise = scratch("noise.cairn");
  writeFileSync(noise, Buffer.alloc(2 * SEGMENTS_OFFSET, 7));
  const nothing = cairn(["repair", noise]);
  expect(nothing.status).toBe(1);
  expect(nothing.err).toContain("NOT_A_STORE");
  expect(existsSync(`${noise}.repaired`)).toBe(false);

  expect(cairn(["repair", scratch("absent.cairn")]).status).not.toBe(0);
  expect(cairn(["repair"]).status).toBe(2);
});
