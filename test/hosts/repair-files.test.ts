/** `repair` of real files and block devices: what is made, what is locked, what takes which place, and what stays as it was. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type RepairOptions, repairOn } from "../../hosts/repairing.ts";
import type { RepairProgress } from "../../store/repair/report.ts";
import { openOfRuntime } from "../runtime.ts";
import { codeOf, errorOf, privilegeMissing, run, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const open = await openOfRuntime();
const BLOCK = 4096;
const SEGMENTS_OFFSET = 1_048_576;
const MEMORY = { memoryBytes: 64 * 1_048_576 };
let count = 0;

const repair = (path: string, options: RepairOptions = {}) => repairOn(open)(path, { ...MEMORY, ...options });
const hashOf = (path: string): string => createHash("sha256").update(fs.readFileSync(path)).digest("hex");

/** A closed store in a file of its own: 2,000 keys, a few of them deleted, one value of many blocks. */
async function storeFile(): Promise<string> {
  const path = join(folder, `store-${count++}.cairn`);
  const store = await open(path, MEMORY);
  for (let i = 0; i < 2000; i++) store.set(`key ${i}`, `${i} `.repeat(30));
  for (let i = 0; i < 2000; i += 5) store.delete(`key ${i}`);
  store.set("large", "l".repeat(300_000));
  await store.close();
  return path;
}

function destroy(path: string, ...places: number[]): void {
  const descriptor = fs.openSync(path, "r+");
  for (const at of places) fs.writeSync(descriptor, new Uint8Array(BLOCK).fill(0xa5), 0, BLOCK, at);
  fs.closeSync(descriptor);
}

async function expectWhole(path: string): Promise<void> {
  const store = await open(path, MEMORY);
  expect(store.count()).toBe(1601);
  expect(store.get("key 1")).toBe("1 ".repeat(30));
  expect(store.has("key 5")).toBe(false);
  expect(store.get("large")).toBe("l".repeat(300_000));
  expect((await store.verify()).ok).toBe(true);
  await store.close();
}

const ALL_SUPERBLOCKS = [0, 1, 2, 3].map((copy) => copy * 262_144);

describe("files", () => {
  test("the repaired store lies beside the damaged one, which keeps every byte and loses its lock", async () => {
    const path = await storeFile();
    destroy(path, ...ALL_SUPERBLOCKS);
    const before = hashOf(path);
    expect(await codeOf(() => open(path, MEMORY))).toBe("NOT_A_STORE");
    const seen: RepairProgress[] = [];
    const report = await repair(path, { onProgress: (progress) => seen.push(progress) });
    expect(report).toMatchObject({ complete: true, output: `${path}.repaired`, superblockRebuilt: true });
    expect(report.unproven).toBeUndefined();
    expect(fs.existsSync(`${path}.unproven`)).toBe(false);
    expect(hashOf(path)).toBe(before);
    expect(fs.readdirSync(folder).filter((name) => name.endsWith(".lock"))).toEqual([]);
    expect(seen.every(({ phase, done, total }) => phase === "repair" && done <= total)).toBe(true);
    expect(new Set(seen.map(({ step }) => step))).toEqual(
      new Set(["survey", "collect", "verify"].concat(seen.some(({ step }) => step === "copy") ? ["copy"] : [])),
    );
    await expectWhole(`${path}.repaired`);
  });

  test("values that cannot be proven go to a store of their own", async () => {
    const path = await storeFile();
    destroy(path, SEGMENTS_OFFSET + 3 * BLOCK);
    const report = await repair(path);
    expect(report).toMatchObject({ complete: false, unproven: `${path}.unproven`, gapCount: 1 });
    const store = await open(`${path}.repaired`, MEMORY);
    const unproven = await open(`${path}.unproven`, MEMORY);
    expect(unproven.count()).toBe(report.keysUnproven);
    for (const [key, value] of unproven.entries()) {
      expect(value).toBe(`${key.slice(4)} `.repeat(30));
      expect(store.has(key)).toBe(false);
    }
    // What was written behind the lost block is proven.
    expect(store.get("large")).toBe("l".repeat(300_000));
    await store.close();
    await unproven.close();
  });

  test("in place: one rename, and the damaged store stays under another name", async () => {
    const path = await storeFile();
    destroy(path, ...ALL_SUPERBLOCKS);
    const before = hashOf(path);
    const report = await repair(path, { inPlace: true });
    expect(report).toMatchObject({ complete: true, output: path, damaged: `${path}.damaged` });
    expect(hashOf(`${path}.damaged`)).toBe(before);
    expect(fs.existsSync(`${path}.repaired`)).toBe(false);
    await expectWhole(path);
    fs.rmSync(`${path}.damaged`);
    await repair(path, { inPlace: true, keepDamaged: false });
    expect(fs.existsSync(`${path}.damaged`)).toBe(false);
    await expectWhole(path);
  });

  test("nothing that exists is written over, and nothing is left of a repair that failed", async () => {
    const path = await storeFile();
    for (const suffix of [".repaired", ".unproven", ".damaged"]) {
      fs.writeFileSync(`${path}${suffix}`, "mine");
      const error = await errorOf(() => repair(path, { inPlace: true }));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain(`${path}${suffix} exists already`);
      expect(fs.readFileSync(`${path}${suffix}`, "utf8")).toBe("mine");
      fs.rmSync(`${path}${suffix}`);
    }
    expect(await codeOf(() => repair(path, { output: path }))).toBe("INVALID_ARGUMENT");
    const text = join(folder, "text.txt");
    fs.writeFileSync(text, "no store".repeat(10_000));
    const names = fs.readdirSync(folder);
    expect(await codeOf(() => repair(text))).toBe("NOT_A_STORE");
    expect(await codeOf(() => repair(join(folder, "missing.cairn")))).toBe("NOT_A_STORE");
    expect(fs.readdirSync(folder)).toEqual(names);
    await expectWhole(path);
  });

  test("a store that is open is LOCKED, and one that is being repaired cannot be opened", async () => {
    const path = await storeFile();
    const store = await open(path, MEMORY);
    expect(await codeOf(() => repair(path))).toBe("LOCKED");
    await store.close();
    let code = "";
    let asked: Promise<void> | undefined;
    await repair(path, {
      onProgress: () => {
        asked ??= codeOf(() => open(path, MEMORY)).then((found) => {
          code = found;
        });
      },
    });
    await asked;
    expect(code).toBe("LOCKED");
  });
});

describe("a block device", () => {
  let loop = "";
  let missing = privilegeMissing();

  beforeAll(() => {
    if (missing !== undefined) return;
    const image = join(folder, "loop-image");
    fs.writeFileSync(image, "");
    fs.truncateSync(image, 16 * 1_048_576);
    const attached = run("losetup", ["-f", "--show", image]);
    if ("failure" in attached) missing = `needs loop devices (${attached.failure})`;
    else loop = attached.output;
  });

  afterAll(() => {
    if (loop !== "") run("losetup", ["-d", loop]);
  });

  beforeEach((context) => {
    if (missing !== undefined) context.skip(missing);
  });

  test("is repaired to a file, and in place only from a file that is complete", async () => {
    const store = await open(loop, MEMORY);
    for (let i = 0; i < 500; i++) store.set(`key ${i}`, `${i}`);
    await store.close();
    destroy(loop, ...ALL_SUPERBLOCKS);
    expect(await codeOf(() => repair(loop))).toBe("INVALID_ARGUMENT");
    const output = join(folder, "from-loop.cairn");
    const unproven = join(folder, "from-loop.unproven");
    expect(await repair(loop, { output, unproven })).toMatchObject({ complete: true, keysRepaired: 500, output });
    expect(await codeOf(() => open(loop, MEMORY))).toBe("NOT_A_STORE");
    fs.rmSync(output);
    expect(await repair(loop, { output, unproven, inPlace: true })).toMatchObject({ complete: true });
    for (const place of [loop, output]) {
      const again = await open(place, MEMORY);
      expect(again.count()).toBe(500);
      again.set("more", "1");
      expect((await again.verify()).ok).toBe(true);
      await again.close();
    }
  });
});
