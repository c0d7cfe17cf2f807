/**
 * The core by its exports alone, as no store calls it: with memories of every size, in the wrong order, with numbers that make no
 * sense. It answers with a status, and stays what it was.
 */
import { expect, test } from "vitest";
import { Core } from "../../store/core.ts";
import { host, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const OK = 0;
const CORRUPT = -4;
const NO_SPACE = -8;
const OUT_OF_MEMORY = -9;
const KEY_SIZE = -10;
const VALUE_SIZE = -11;
const POISONED = -14;
const INVALID_ARGUMENT = -16;

const PAGE = 65_536;
const MIB = 1_048_576;
const ENGINE = 1;
const GROWABLE = 2;
const READ_ONLY = 1;
const COMPRESSION = 64;
const WRITE_BUFFER = 262_144;
const CACHE = 262_144;
/** Flags of calls; see assembly/engine/dual.ts. */
const COMPRESSED = 256;

async function coreOver(device: ImageDevice, memoryBytes: number = 16 * MIB): Promise<Core> {
  return Core.create(await host(), device, memoryBytes);
}

function initialize({ exports, memory }: Core): number {
  return exports.initialize(memory.buffer.byteLength, WRITE_BUFFER, CACHE, 0);
}

/** A core over a fresh store of small segments. */
async function mounted(device = new ImageDevice(), flags = GROWABLE): Promise<Core> {
  const core = await coreOver(device);
  expect(initialize(core)).toBe(OK);
  expect(core.exports.format(core.handle, ENGINE, 16, flags)).toBe(OK);
  expect(core.exports.probe(core.handle)).toBe(1);
  expect(core.exports.mount(core.handle, core.handle, ENGINE, flags)).toBe(OK);
  return core;
}

function putKey(core: Core, key: string): number {
  core.bytes.set(new TextEncoder().encode(key), core.keyA);
  return key.length;
}

function set(core: Core, key: string, value: string): number {
  core.bytes.set(new TextEncoder().encode(value), core.exchangeIn);
  return core.exports.set(putKey(core, key), value.length, 0);
}

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

test("reports on flights that were never begun are refused", async () => {
  const { exports } = await mounted();
  for (const result of [0, 1, 2]) {
    expect(exports.groupFinish(result)).toBe(INVALID_ARGUMENT);
    expect(exports.sideFinish(result)).toBe(INVALID_ARGUMENT);
    expect(exports.superblockLanded(result)).toBe(INVALID_ARGUMENT);
    expect(exports.checkpointLanded(result)).toBe(INVALID_ARGUMENT);
  }
  exports.sourceLanded(8, true);
  exports.sourceLanded(0, true);
  expect(exports.groupBegin()).toBe(0);
  expect(exports.sideBegin()).toBe(0);
  expect(exports.superblockBegin()).toBe(0);
  expect(exports.checkpointBegin()).toBe(0);
  expect(exports.sourcePlan()).toBe(-1);
  expect(exports.checkpointStep()).toBe(0);
  expect(exports.verifyStep(1)).toBe(INVALID_ARGUMENT);
  exports.verifyEnd();
  exports.writeAbort();
  exports.feedClose();
  expect(exports.close()).toBe(OK);
});

test("sizes that no key and no value has are refused, and so are pieces that nobody began", async () => {
  const core = await mounted();
  const { exports } = core;
  const size = putKey(core, "key");
  for (const keySize of [0, 2049, -1]) {
    expect(exports.set(keySize, 1, 0)).toBe(KEY_SIZE);
    expect(exports.remove(keySize)).toBe(KEY_SIZE);
    expect(exports.writeBegin(keySize, 1, 0)).toBe(KEY_SIZE);
  }
  expect(exports.set(size, core.exchangeSize + 1, 0)).toBe(VALUE_SIZE);
  expect(exports.writeBegin(size, (64 << 20) + 1, 0)).toBe(VALUE_SIZE);
  expect(exports.writePart(1)).toBe(INVALID_ARGUMENT);
  // The store has no compression.
  expect(exports.writeBegin(size, 200_000, COMPRESSED)).toBe(INVALID_ARGUMENT);
  expect(exports.writeBegin(size, 200_000, 0)).toBeGreaterThanOrEqual(OK);
  expect(exports.writePart(core.exchangeSize + 1)).toBe(INVALID_ARGUMENT);
  expect(exports.writePart(100_000)).toBe(2);
  expect(exports.writePart(100_001)).toBe(INVALID_ARGUMENT);
  exports.writeAbort();
  expect(exports.has(size)).toBe(0);
  expect(exports.valueRead(1 << 30)).toBe(INVALID_ARGUMENT);
  expect(exports.close()).toBe(OK);
});

test("places of compressed pieces that make no sense are refused, and so are other pieces than were measured", async () => {
  const rawSize = 200_000;
  const [pieceSize, count] = [65_536, 4];
  const sizeOf = (piece: number): number => Math.min(pieceSize, rawSize - piece * pieceSize);
  const prepared = async () => {
    const core = await mounted(new ImageDevice(), GROWABLE | COMPRESSION);
    const size = putKey(core, "key");
    const fill = (piece: number): void => {
      core.bytes.fill(piece + 1, core.exchangeIn, core.exchangeIn + sizeOf(piece));
    };
    const places: number[] = [];
    for (let piece = 0; piece < count; piece++) {
      fill(piece);
      places.push((places.at(-1) ?? count * 4) + core.exports.compressMeasure(sizeOf(piece)));
    }
    const begin = (list: readonly number[], raw = rawSize): number => {
      core.words.set(list, core.exchangeIn >> 2);
      return core.exports.writeBegin(size, raw, COMPRESSED);
    };
    return { core, exports: core.exports, size, places, fill, begin };
  };
  const { begin, places, fill, exports, size } = await prepared();
  expect(begin(places, 1000)).toBe(INVALID_ARGUMENT);
  const wrongs = [[0, ...places.slice(1)], places.map((at) => at + 100_000), places.map((at) => at | (1 << 31))];
  for (const wrong of wrongs) expect(begin(wrong)).toBe(INVALID_ARGUMENT);
  expect(begin(places)).toBeGreaterThanOrEqual(OK);
  for (let piece = 0; piece < count; piece++) {
    fill(piece);
    expect(exports.writePart(sizeOf(piece))).toBe(piece + 1 < count ? 2 : 1);
  }
  expect(exports.has(size)).toBe(1);
  expect(exports.close()).toBe(OK);
  // Pieces of another size, and of other bytes.
  for (const bytes of [1000, pieceSize]) {
    const other = await prepared();
    expect(other.begin(other.places)).toBeGreaterThanOrEqual(OK);
    for (let i = 0; i < bytes; i++) other.core.bytes[other.core.exchangeIn + i] = (i * 7919) >> 3;
    expect(other.exports.writePart(bytes)).toBe(INVALID_ARGUMENT);
    expect(other.exports.writePart(bytes)).toBe(INVALID_ARGUMENT);
    expect(other.exports.has(other.size)).toBe(0);
  }
});

test("figures by numbers that there are none of are -1, and all there are are numbers", async () => {
  const core = await mounted();
  const { exports } = core;
  expect(set(core, "key", "value")).toBeGreaterThanOrEqual(OK);
  for (let what = 0; what < 200; what++) expect(Number.isFinite(exports.stat(what)), `figure ${what}`).toBe(true);
  expect(exports.stat(199)).toBe(-1);
  expect(exports.stat(0)).toBe(1);
  for (let what = 0; what < 30; what++) expect(exports.layout(what)).toBeGreaterThan(0);
  expect(exports.segmentFigure(1 << 20, 0)).toBe(-1);
  for (let what = 0; what < 12; what++) expect(Number.isFinite(exports.verifyFigure(what))).toBe(true);
  expect(exports.close()).toBe(OK);
});

test("geometries that there are none of are refused, and so is a device without room", async () => {
  const device = new ImageDevice(2 * MIB, false);
  const core = await coreOver(device);
  expect(initialize(core)).toBe(OK);
  for (const blocks of [0, 8, 24, 32_768]) {
    expect(core.exports.format(core.handle, ENGINE, blocks, 0)).toBe(INVALID_ARGUMENT);
  }
  expect(core.exports.format(core.handle, ENGINE, 64, 0)).toBe(NO_SPACE);
  expect(device.events).toEqual([]);
  expect(core.exports.format(core.handle, ENGINE, 16, 0)).toBe(OK);
});

test("a store that was closed, or poisoned, takes no write of any kind", async () => {
  for (const end of ["close", "poison"] as const) {
    const core = await mounted();
    const { exports } = core;
    expect(set(core, "key", "value")).toBeGreaterThanOrEqual(OK);
    if (end === "close") expect(exports.close()).toBe(OK);
    else exports.poison();
    const size = putKey(core, "key");
    expect(exports.set(size, 5, 0)).toBe(POISONED);
    expect(exports.remove(size)).toBe(POISONED);
    expect(exports.writeBegin(size, 200_000, 0)).toBe(POISONED);
    expect(exports.batchBegin(1, 100, 100, 3, 5, false)).toBe(POISONED);
    expect(exports.append(size, 1, 0)).toBe(POISONED);
    expect(exports.increment(size, 0)).toBe(POISONED);
    expect(exports.condition(size, 0, 0, 0, 0)).toBe(POISONED);
    expect(exports.setWith(size, 5, 0, 0, 0, 0)).toBe(POISONED);
    expect(exports.removeWith(size, 0, 0, 0)).toBe(POISONED);
    expect(exports.compactBegin()).toBe(POISONED);
    expect(exports.compactSettle(0)).toBe(POISONED);
    expect(exports.compactStep(2, 0, 1000)).toBe(0);
    expect(exports.checkpointStep()).toBe(0);
    expect(exports.checkpointBegin()).toBe(0);
    expect(exports.sideBegin()).toBe(0);
    expect(exports.superblockBegin()).toBe(0);
    expect(exports.rebuildRecord(20, 30)).toBe(POISONED);
    expect(exports.shrink(2)).toBe(0);
    expect(exports.expirySweep()).toBeLessThanOrEqual(OK);
  }
});

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

test("blocks of a backup that are not what they were are CORRUPT, with their place", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device);
  await store.put("key", "value");
  await store.close();
  const core = await coreOver(device.reopen());
  expect(initialize(core)).toBe(OK);
  expect(core.exports.probe(core.handle)).toBe(1);
  expect(core.exports.mount(core.handle, core.handle, ENGINE, GROWABLE)).toBe(OK);
  core.bytes.fill(0, core.exchangeIn, core.exchangeIn + 4096);
  expect(core.exports.backupBlocks(256, 1, 1, 1)).toBe(CORRUPT);
  expect(core.exports.stat(33)).toBe(256 * 4096);
  expect(set(core, "more", "value")).toBeGreaterThanOrEqual(OK);
  // What is not on the device is in no backup.
  expect(core.exports.backupBegin()).toBe(-15);
  expect(core.exports.rebuildRecord(20, 16 * 4096)).toBe(INVALID_ARGUMENT);
});
