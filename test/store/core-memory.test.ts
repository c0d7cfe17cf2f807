/** The core in memories that are too small, that are used up, and over a device with more segments than one block tells of. */
import { expect, test } from "vitest";
import {
  COMPRESSION,
  coreOver,
  ENGINE,
  GROWABLE,
  initialize,
  MIB,
  OK,
  OUT_OF_MEMORY,
  PAGE,
  putKey,
  READ_ONLY,
  set,
} from "./bare-core.ts";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

test("a memory that is too small for the core is refused, page by page, until it is large enough", async () => {
  const statuses: number[] = [];
  for (let pages = 44; statuses.at(-1) !== OK; pages++) {
    expect(pages).toBeLessThan(400);
    statuses.push(initialize(await coreOver(new ImageDevice(), pages * PAGE)));
  }
  expect(new Set(statuses.slice(0, -1))).toEqual(new Set([OUT_OF_MEMORY]));
  expect(statuses.length).toBeGreaterThan(10);
});

test("a memory that is too small for a store is refused when it is mounted, and the device keeps every byte", async () => {
  for (const [compression, checkpoint] of [
    ["none", true],
    ["lz4", false],
  ] as const) {
    const image = await manyKeys(compression, checkpoint);
    const least = await leastPages(image);
    for (const flags of [GROWABLE | READ_ONLY, GROWABLE | COMPRESSION]) {
      let refused = 0;
      for (let pages = least; ; pages += 7) {
        const device = ImageDevice.of(image);
        const core = await coreOver(device, pages * PAGE);
        expect(initialize(core)).toBe(OK);
        expect(core.exports.probe(core.handle)).toBe(1);
        const status = core.exports.mount(core.handle, core.handle, ENGINE, flags);
        if (status === OK) break;
        expect(status).toBe(OUT_OF_MEMORY);
        refused++;
        expect(refused).toBeLessThan(200);
      }
      expect(refused).toBeGreaterThan(0);
    }
  }
});

/** A store that was closed, with more keys than the least memory holds; some of their values have several parts. */
async function manyKeys(compression: "none" | "lz4", checkpoint: boolean): Promise<Uint8Array> {
  const device = new ImageDevice();
  const pace = checkpoint ? { logBytes: 1, liveThousandths: 0 } : { stepBlocks: 0 };
  const options = { writeBufferBytes: 1_048_576, durability: "manual", compression } as const;
  const store = await openTiny(device, options, 64, pace);
  for (let i = 0; i < 18_000; i++) store.set(`key ${i}`.padEnd(100 + (i % 60), "k"), "v".repeat(i % 90));
  for (let i = 0; i < 5; i++) store.set(`large ${i}`, `${i}`.repeat(400_000));
  await store.close();
  return device.image();
}

/** Pages with which the core can be initialised. */
async function leastPages(image: Uint8Array): Promise<number> {
  let pages = 44;
  while (initialize(await coreOver(ImageDevice.of(image), pages * PAGE)) !== OK) pages++;
  return pages;
}

test("a memory that is used up refuses whatever needs more of it, serves what is there, and goes on when it is given back", async () => {
  const device = new ImageDevice();
  const core = await coreOver(device, ((await leastPages(new Uint8Array(0))) + 8) * PAGE);
  const { exports } = core;
  expect(initialize(core)).toBe(OK);
  expect(exports.format(core.handle, ENGINE, 16, GROWABLE)).toBe(OK);
  expect(exports.probe(core.handle)).toBe(1);
  expect(exports.mount(core.handle, core.handle, ENGINE, GROWABLE | COMPRESSION)).toBe(OK);
  const [LOWER, UPPER] = [1, 2];
  let keys = 0;
  let status = OK;
  for (; status >= 0; keys++) {
    status = set(core, `key ${keys}`.padEnd(1000 + (keys % 7) * 100, "k"), "v".repeat(keys % 100));
    if (keys % 100 === 99) expect(exports.flushSync()).toBe(OK);
  }
  expect(status).toBe(OUT_OF_MEMORY);
  expect(keys).toBeGreaterThan(1000);
  expect(exports.batchBegin(10_000, 1e7, 1e7, 1000, 1000, false)).toBe(OUT_OF_MEMORY);
  // What a write leaves to others, cursors and views take, down to the last byte.
  const cursors: number[] = [];
  core.bytes.fill(107, core.keyA, core.keyA + 2048);
  core.bytes.fill(120, core.keyB, core.keyB + 2048);
  for (const [flags, size] of [
    [LOWER | UPPER, 2048],
    [LOWER | UPPER, 900],
    [LOWER, 500],
    [UPPER, 200],
    [LOWER, 60],
    [0, 0],
  ] as const) {
    for (;;) {
      const cursor = exports.cursorOpen(flags, size, size, 0);
      if (cursor < 0) {
        expect(cursor).toBe(OUT_OF_MEMORY);
        break;
      }
      cursors.push(cursor);
    }
  }
  expect(cursors.length).toBeGreaterThan(100);
  const views: number[] = [];
  for (let view = exports.viewOpen(); view >= 0; view = exports.viewOpen()) views.push(view);
  const last = cursors.at(-1) as number;
  core.bytes.fill(107, core.keyA, core.keyA + 2048);
  expect(exports.cursorSeek(last, 2048)).toBe(OUT_OF_MEMORY);
  expect(exports.viewOpen()).toBe(OUT_OF_MEMORY);
  expect(exports.feedOpen()).toBe(OUT_OF_MEMORY);
  expect(exports.historyConfigure(1000, 0)).toBe(OUT_OF_MEMORY);
  expect(exports.verifyBegin()).toBe(OUT_OF_MEMORY);
  exports.checkpointConfigure(true, 0, 0, 2);
  expect(exports.checkpointStep()).toBeGreaterThanOrEqual(OK);
  expect(exports.writeBegin(putKey(core, "large"), 3_000_000, 0)).toBe(OUT_OF_MEMORY);
  const gone = "key 5".padEnd(1500, "k");
  expect(exports.remove(putKey(core, gone))).toBe(OUT_OF_MEMORY);
  expect(exports.compactBegin()).toBeGreaterThanOrEqual(OUT_OF_MEMORY);
  for (let i = 0; i < 5; i++) expect(exports.compactStep(2, 0, 1000)).toBeGreaterThanOrEqual(OUT_OF_MEMORY);
  expect(exports.get(putKey(core, gone))).toBe(1);
  for (const view of views) exports.viewClose(view);
  for (const cursor of cursors) exports.cursorClose(cursor);
  exports.maintain();
  expect(exports.remove(putKey(core, gone))).toBe(1);
  expect(exports.feedOpen()).toBe(OK);
  exports.feedClose();
  expect(exports.verifyBegin()).toBe(OK);
  exports.verifyEnd();
  expect(exports.stat(0)).toBe(keys - 2);
  expect(exports.close()).toBe(OK);
});

/** A large device that holds next to nothing: blocks that were never written are zeros. */
class SparseDevice extends ImageDevice {
  private readonly blocks = new Map<number, Uint8Array>();
  private readonly length: number;

  constructor(length: number) {
    super(0, false);
    this.length = length;
  }

  override size(): number {
    return this.length;
  }

  override read(offset: number, target: Uint8Array): number {
    for (let at = 0; at < target.length; at += 4096) {
      target.set(this.blocks.get(offset + at) ?? new Uint8Array(4096), at);
    }
    return target.length;
  }

  override write(offset: number, source: Uint8Array): number {
    for (let at = 0; at < source.length; at += 4096) this.blocks.set(offset + at, source.slice(at, at + 4096));
    return source.length;
  }
}

test("forty thousand segments have headers of several blocks, and all is there when it is opened again", async () => {
  const device = new SparseDevice(MIB + 40_000 * PAGE);
  for (let round = 0; round < 3; round++) {
    const core = await coreOver(device.reopen() as ImageDevice, 32 * MIB);
    const { exports } = core;
    expect(initialize(core)).toBe(OK);
    if (round === 0) expect(exports.format(core.handle, ENGINE, 16, 0)).toBe(OK);
    expect(exports.probe(core.handle)).toBe(1);
    expect(exports.mount(core.handle, core.handle, ENGINE, 0)).toBe(OK);
    expect(exports.stat(14)).toBe(40_000);
    expect(exports.stat(0)).toBe(round * 100);
    for (let i = 0; i < 100; i++) {
      expect(set(core, `key ${round} ${i}`, `${i}`.repeat(2000))).toBeGreaterThanOrEqual(OK);
    }
    expect(exports.flushSync()).toBe(OK);
    expect(exports.verifyBegin()).toBe(OK);
    while (exports.verifyStep(50) !== 5);
    expect(exports.verifyFigure(6)).toBe(0);
    exports.verifyEnd();
    // The last one is not closed: what it wrote is found behind the mark.
    if (round < 2) expect(exports.close()).toBe(OK);
  }
  const core = await coreOver(device, 32 * MIB);
  expect(initialize(core)).toBe(OK);
  expect(core.exports.probe(core.handle)).toBe(1);
  expect(core.exports.mount(core.handle, core.handle, ENGINE, 0)).toBe(OK);
  expect(core.exports.stat(0)).toBe(300);
});
