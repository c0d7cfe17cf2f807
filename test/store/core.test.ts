/**
 * The core by its exports alone, as no store calls it: in the wrong order, with numbers that make no
 * sense. It answers with a status, and stays what it was.
 */
import { expect, test } from "vitest";
import {
  COMPRESSED,
  COMPRESSION,
  CORRUPT,
  coreOver,
  ENGINE,
  GROWABLE,
  INVALID_ARGUMENT,
  initialize,
  KEY_SIZE,
  MIB,
  mounted,
  NO_SPACE,
  OK,
  POISONED,
  putKey,
  REENTRANT,
  set,
  VALUE_SIZE,
} from "./bare-core.ts";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

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

test("in the midst of a batch, or of a value in pieces, nothing else is begun", async () => {
  const core = await mounted();
  const { exports } = core;
  exports.hostFlies();
  exports.compactConfigure(true, 100);
  exports.checkpointConfigure(true, 0, 0, 1);
  expect(set(core, "key", "value")).toBeGreaterThanOrEqual(OK);
  const idle = (): void => {
    expect(exports.compactStep(0, 0, 1000)).toBe(0);
    expect(exports.checkpointStep()).toBe(0);
    expect(exports.superblockBegin()).toBe(0);
    expect(exports.shrink(0)).toBe(0);
    expect(exports.shrink(2)).toBe(0);
    expect(exports.expirySweep()).toBe(0);
    expect(exports.backupBegin()).toBe(REENTRANT);
  };
  expect(exports.batchBegin(2, 1000, 1000, 10, 100, false)).toBe(OK);
  idle();
  expect(set(core, "more", "value")).toBeGreaterThanOrEqual(OK);
  exports.batchEnd();
  expect(exports.writeBegin(putKey(core, "large"), 300_000, 0)).toBeGreaterThanOrEqual(OK);
  expect(exports.writePart(100_000)).toBe(2);
  idle();
  expect(exports.writePart(100_000)).toBe(2);
  expect(exports.writePart(100_000)).toBe(1);
  expect(exports.stat(0)).toBe(3);
  expect(exports.close()).toBe(OK);
});

test("what asks of a store without keys, of keys that are not there, and twice, is answered", async () => {
  const core = await mounted();
  const { exports } = core;
  const size = putKey(core, "absent");
  const view = exports.viewOpen();
  expect(exports.rangeChanged(0, 0, 0, view)).toBe(0);
  expect(exports.rangeChanged(1, size, 0, view)).toBe(0);
  expect(exports.changesSet(0, 0, 0, 0, 10)).toBe(0);
  expect(exports.partAhead(size, 0, 0, 0)).toBe(0);
  expect(exports.getAhead(size, 0, 0)).toBe(0);
  expect(exports.entryOpenAt(size, view)).toBe(0);
  expect(exports.feedOpen()).toBe(OK);
  expect(exports.feedOpen()).toBe(OK);
  exports.feedClose();
  for (const bytes of [1000, 2000, 0]) expect(exports.historyConfigure(bytes, 0)).toBe(OK);
  for (let i = 0; i < 1500; i++) expect(set(core, `key ${i}`, `value ${i}`)).toBeGreaterThanOrEqual(OK);
  expect(set(core, "middling", "m".repeat(20_000))).toBeGreaterThanOrEqual(OK);
  expect(exports.flushSync()).toBe(OK);
  // Written since the view was opened: not there for it.
  const known = putKey(core, "key 7");
  expect(exports.entryOpenAt(known, view)).toBe(0);
  expect(exports.getAt(known, view)).toBe(0);
  expect(exports.partAhead(known, 0, view, 0)).toBe(0);
  expect(exports.partAhead(known, 3, 0, 0)).toBe(1);
  expect(exports.partAhead(known, 100, 0, 0)).toBe(INVALID_ARGUMENT);
  expect(exports.rangeChanged(0, 0, 0, view)).toBe(1);
  const later = exports.viewOpen();
  expect(exports.rangeChanged(0, 0, 0, later)).toBe(0);
  expect(exports.changesSet(0, 0, 0, 0, 1e9)).toBeGreaterThan(0);
  for (const each of [view, later]) exports.viewClose(each);
  for (let i = 0; i < 400; i++) expect(exports.remove(putKey(core, `key ${i}`))).toBe(1);
  expect(exports.flushSync()).toBe(OK);
  const since = exports.viewOpen();
  let deletions = 0;
  for (let segment = 0; segment < exports.stat(14); segment++) {
    for (let block = 0; block !== -1 && block !== 0xffffffff; ) {
      deletions += exports.changesDeleted(segment, block, 0, since);
      block = (core.words[core.result + 1] as number) >>> 0;
    }
    expect(exports.changesDeleted(segment, 1 << 20, 0, since)).toBe(0);
  }
  expect(deletions).toBe(400);
  exports.viewClose(since);
  const cursor = exports.cursorOpen(0, 0, 0, 0);
  while (exports.cursorNext(cursor, 500, 1) > 0 && core.words[core.result + 2] !== 1);
  expect(exports.cursorAhead(cursor, 10, 0)).toBe(0);
  exports.cursorClose(cursor);
  expect(exports.close()).toBe(OK);
});

test("a checkpoint is made without a host that flies, and of a store without keys", async () => {
  const device = new ImageDevice();
  const core = await mounted(device);
  const { exports } = core;
  exports.checkpointConfigure(true, 0, 0, 1);
  for (const keys of [600, 0]) {
    for (let i = 0; i < keys; i++) expect(set(core, `key ${i}`.padEnd(200, "k"), "v")).toBeGreaterThanOrEqual(OK);
    if (keys === 0) for (let i = 0; i < 600; i++) exports.remove(putKey(core, `key ${i}`.padEnd(200, "k")));
    const made = exports.stat(80);
    for (let i = 0; exports.stat(80) === made; i++) {
      expect(i).toBeLessThan(10_000);
      expect(exports.checkpointStep()).toBeGreaterThanOrEqual(OK);
      // What is written to the log pays for it.
      expect(set(core, `more ${i % 10}`, "m".repeat(4000))).toBeGreaterThanOrEqual(OK);
      if (i % 5 === 0) expect(exports.flushSync()).toBe(OK);
    }
  }
  for (let i = 0; i < 10; i++) exports.remove(putKey(core, `more ${i}`));
  expect(exports.stat(0)).toBe(0);
  expect(exports.close()).toBe(OK);
  const again = await coreOver(device.reopen());
  expect(initialize(again)).toBe(OK);
  expect(again.exports.probe(again.handle)).toBe(1);
  expect(again.exports.mount(again.handle, again.handle, ENGINE, GROWABLE)).toBe(OK);
  expect(again.exports.stat(0)).toBe(0);
  expect(again.exports.close()).toBe(OK);
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
  expect(core.exports.backupBegin()).toBe(REENTRANT);
  expect(core.exports.rebuildRecord(20, 16 * 4096)).toBe(INVALID_ARGUMENT);
});

test("a backup that is begun while the first checkpoint is written leaves out what is there of it", async () => {
  const core = await mounted();
  const { exports } = core;
  for (let i = 0; i < 400; i++) expect(set(core, `key ${i}`, "v".repeat(900))).toBeGreaterThanOrEqual(OK);
  expect(exports.flushSync()).toBe(OK);
  exports.checkpointConfigure(true, 1, 0, 1);
  // A few blocks of it, not all.
  for (let i = 0; i < 40; i++) {
    expect(set(core, `more ${i}`, "v".repeat(900))).toBeGreaterThanOrEqual(OK);
    expect(exports.checkpointStep()).toBeGreaterThanOrEqual(OK);
  }
  expect(exports.flushSync()).toBe(OK);
  const CHECKPOINT = 3;
  expect(exports.backupBegin()).toBe(OK);
  const count = exports.backupSegments(0);
  const view = new DataView(core.memory.buffer, core.exchangeOut);
  const kinds = Array.from({ length: count }, (_, i) => view.getUint32(i * 24 + 4, true));
  expect(count).toBeGreaterThan(5);
  expect(kinds).not.toContain(CHECKPOINT);
  for (let i = 0; i < count; i++) exports.backupUnpin(view.getUint32(i * 24, true));
});

test("any part of a compressed value is read by itself", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, { compression: "lz4" }, 64);
  const value = Array.from({ length: 30_000 }, (_, i) => `${i}:${i * 7919},`).join("");
  store.set("large", value);
  await store.close();
  const core = await coreOver(device.reopen());
  expect(initialize(core)).toBe(OK);
  expect(core.exports.probe(core.handle)).toBe(1);
  expect(core.exports.mount(core.handle, core.handle, ENGINE, GROWABLE)).toBe(OK);
  expect(core.exports.get(putKey(core, "large"))).toBeGreaterThan(1);
  for (const offset of [0, 1, 65_535, 65_536, 100_000, value.length - 1]) {
    const count = core.exports.valueRead(offset);
    expect(count).toBeGreaterThan(0);
    const part = new TextDecoder().decode(core.bytes.slice(core.exchangeOut, core.exchangeOut + count));
    expect(part === value.slice(offset, offset + count), `from ${offset} on`).toBe(true);
  }
});

test("a feed that nobody takes from says that changes were lost, and goes on", async () => {
  const core = await mounted();
  const { exports, words, result } = core;
  expect(exports.feedOpen()).toBe(OK);
  for (let i = 0; i < 400; i++) expect(set(core, `key ${i}`, "v".repeat(400))).toBeGreaterThanOrEqual(OK);
  expect(exports.flushSync()).toBe(OK);
  expect(exports.feedTake()).toBeLessThanOrEqual(65_536);
  expect(words[result + 2]).toBe(1);
  expect(set(core, "key 7", "after")).toBeGreaterThanOrEqual(OK);
  expect(exports.flushSync()).toBe(OK);
  expect(exports.feedTake()).toBeGreaterThan(0);
  expect(words[result + 2]).toBe(0);
});

test("what holds no deletions has none to tell of, and a store that is read only stays as long as it is", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, {}, 16, { logBytes: 1, liveThousandths: 0 });
  for (let i = 0; i < 300; i++) store.set(`key ${i}`, "v".repeat(2000));
  await store.close();
  const size = device.size();
  const core = await coreOver(device.reopen());
  const { exports } = core;
  expect(initialize(core)).toBe(OK);
  expect(exports.probe(core.handle)).toBe(1);
  expect(exports.mount(core.handle, core.handle, ENGINE, GROWABLE | 1)).toBe(OK);
  const view = exports.viewOpen();
  const kinds = new Set<number>();
  for (let i = 0; exports.segmentFigure(i, 0) >= 0; i++) {
    kinds.add(exports.segmentFigure(i, 0));
    expect(exports.changesNewest(i)).toBe(0);
    expect(exports.changesDeleted(i, 0, 0, view)).toBe(0);
  }
  // The log, a checkpoint, and what is free.
  expect(kinds.size).toBeGreaterThanOrEqual(2);
  for (const mode of [0, 1, 2]) expect(exports.shrink(mode)).toBe(0);
  expect(device.size()).toBe(size);
});

test("blocks of a device without a superblock are shown as far as they go", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device);
  for (let i = 0; i < 20; i++) store.set(`key ${i}`, "v".repeat(200));
  await store.close();
  device.bytes.fill(0, 0, MIB);
  device.reopen();
  device.before = (operation, offset) => {
    if (operation === "read" && offset === 262_144) throw new Error("EIO: it fails");
  };
  const core = await coreOver(device);
  const { exports } = core;
  expect(initialize(core)).toBe(OK);
  expect(exports.inspectBegin(core.handle)).toBeLessThanOrEqual(OK);
  expect(exports.inspectSuperblock(0)).toBe(3);
  expect(exports.inspectSuperblock(1)).toBeLessThan(OK);
  // Without the seed of the checks every block is damaged; what its bytes can be taken for is told.
  expect(exports.inspectBlock(MIB / 4096 + 1) & 15).toBe(1);
  expect(exports.inspectRecords()).toBeGreaterThanOrEqual(15);
  expect(exports.inspectBlock(1_000_000)).toBeLessThan(OK);
  // A segment's header holds none.
  expect(exports.inspectBlock(MIB / 4096) & 16).toBe(16);
  expect(exports.inspectRecords()).toBe(0);
});
