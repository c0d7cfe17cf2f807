/**
 * A verification in the smallest steps, with writes, compaction and checkpoints between each two of them: what it is at is
 * replaced, given back and taken anew under its hands, and nothing of that is a fault. And checkpoints that say what nobody wrote.
 */
import { expect, test } from "vitest";
import type { Core } from "../../store/core.ts";
import { faultOf } from "../../store/verify.ts";
import { coreOver, ENGINE, GROWABLE, initialize, MIB, OK, putKey, set } from "./bare-core.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { checkpointBlocks, newestSuperblock, sealBlock } from "./kept-checkpoints.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const BLOCK = 4096;
const PHASE_DONE = 5;
const FAULTS = 6;
const MODE_FULL = 2;

/** The faults that a step has found. */
function faultsOf(core: Core): string[] {
  const view = new DataView(core.memory.buffer);
  const found: string[] = [];
  let at = (core.words[core.result] as number) >>> 0;
  const end = at + (core.words[core.result + 1] as number);
  while (at < end) {
    const size = view.getUint32(at + 4, true);
    const details = { a: view.getFloat64(at + 16, true), b: view.getFloat64(at + 24, true) };
    const { message } = faultOf(view.getUint32(at, true), details);
    const key = new TextDecoder().decode(core.bytes.slice(at + 32, at + 32 + size));
    found.push(`${view.getFloat64(at + 8, true)}: ${message} ${key}`);
    at += 32 + ((size + 7) & ~7);
  }
  return found;
}

test.each([
  // Segments of more than 256 blocks are left off and gone on with.
  [512, 1500],
  [16, 900],
])(`segments of %i blocks, seed ${seed}`, { timeout: 300_000 }, async (segmentBlocks, keys) => {
  const random = new Random(seed);
  const core = await coreOver(new ImageDevice(), 32 * MIB);
  const { exports } = core;
  expect(initialize(core)).toBe(OK);
  expect(exports.format(core.handle, ENGINE, segmentBlocks, GROWABLE)).toBe(OK);
  expect(exports.probe(core.handle)).toBe(1);
  expect(exports.mount(core.handle, core.handle, ENGINE, GROWABLE)).toBe(OK);
  exports.checkpointConfigure(true, 1, 0, 2);
  const put = (i: number): void => {
    const value = `${i}`.padEnd(random.pick([20, 700, 3000, 9000]), "v");
    expect(set(core, `key ${i % keys}`, value)).toBeGreaterThanOrEqual(OK);
  };
  for (let i = 0; i < keys; i++) put(i);
  expect(exports.flushSync()).toBe(OK);
  for (let round = 0; round < 3; round++) {
    expect(exports.verifyBegin()).toBe(OK);
    let phase = 0;
    let steps = 0;
    const faults: string[] = [];
    while (phase !== PHASE_DONE) {
      phase = exports.verifyStep(0);
      expect(phase).toBeGreaterThanOrEqual(OK);
      faults.push(...faultsOf(core));
      if (++steps > 20_000) throw new Error("it does not end");
      for (let i = random.below(round === 0 ? 3 : 30); i > 0; i--) put(random.below(1 << 20));
      if (random.below(4) === 0) exports.remove(putKey(core, `key ${random.below(keys)}`));
      if (random.below(3) === 0) expect(exports.flushSync()).toBe(OK);
      for (let i = 0; i < 4; i++) expect(exports.checkpointStep()).toBeGreaterThanOrEqual(OK);
      if (round === 2) expect(exports.compactStep(MODE_FULL, 0, 2000)).toBeGreaterThanOrEqual(OK);
    }
    expect(faults).toEqual([]);
    expect(exports.verifyFigure(FAULTS)).toBe(0);
    expect(steps).toBeGreaterThan(20);
    exports.verifyEnd();
  }
});

test(`entries of kept checkpoints that say what nobody wrote are told of, and nothing else is, seed ${seed}`, async () => {
  const random = new Random(seed + 1);
  const device = new ImageDevice();
  const options = {
    durability: "manual",
    writeBufferBytes: 262_144,
    cacheBytes: 262_144,
    memoryBytes: 16 * MIB,
  } as const;
  const pace = { logBytes: 1, liveThousandths: 0, stepBlocks: 200 };
  for (let round = 0; round < 2; round++) {
    const store = await openTiny(device.reopen(), { ...options, compression: round === 0 ? "none" : "lz4" }, 16, pace);
    for (let i = 0; i < 120; i++) {
      const key = `${i}:${round}`;
      const words = [{}, { expiresIn: 1e9 }, { timestamp: 77 }, { expiresIn: 1e9, timestamp: 78 }][i % 4];
      store.set(key, `${i} `.repeat(i % 9 === 0 ? 900 : 8), words as object);
    }
    store.set(`large ${round}`, `${round}`.repeat(200_000));
    await store.close();
  }
  const store = await openTiny(device.reopen(), options, 16, { auto: false });
  expect((await store.verify()).faults).toEqual([]);
  const image = device.bytes;
  const newest = newestSuperblock(image);
  const blocks = checkpointBlocks(image).flat();
  expect(blocks.length).toBeGreaterThan(4);
  let told = 0;
  for (let round = 0; round < 400; round++) {
    const at = random.pick(blocks);
    const before = image.slice(at, at + BLOCK);
    const view = new DataView(image.buffer, image.byteOffset + at, BLOCK);
    const used = view.getUint16(40, true);
    if (random.below(20) === 0) view.setUint16(42, view.getUint16(42, true) ^ 2, true);
    else {
      for (let i = random.below(3); i >= 0; i--) {
        const place = 56 + random.below(Math.max(8, random.pick([used, 60])));
        image[at + place] = random.pick([0, 1, 255, (image[at + place] as number) ^ (1 << random.below(8))]);
      }
    }
    sealBlock(view, newest);
    const { faults } = await store.verify();
    if (faults.length > 0) told++;
    for (const { kind } of faults) expect(kind, `round ${round}, block at ${at}`).toBe("checkpoint");
    image.set(before, at);
  }
  // Bytes that nothing reads, and those that were not changed, are no fault.
  expect(told).toBeGreaterThan(200);
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
});
