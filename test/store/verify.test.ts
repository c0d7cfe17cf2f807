/** `verify`: sound stores of many shapes are found sound, with exact counts; each planted damage is told with its place. */
import { describe, expect, test } from "vitest";
import type { StoreProgress } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import type { VerifyFault, VerifyReport } from "../../store/verify.ts";
import { codeOf, MemoryDevice, open, openTiny, pause, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;
const TINY_SEGMENT = 16 * BLOCK;

function expectSound(report: VerifyReport, expected: Partial<VerifyReport> = {}): void {
  expect(report.faults).toEqual([]);
  expect(report).toMatchObject({ ok: true, faultCount: 0, truncated: false, ...expected });
}

/** What a fault says but for its sentence. */
function gist({ kind, place, key }: VerifyFault): Record<string, unknown> {
  return {
    kind,
    ...(place === undefined ? {} : { offset: place.offset, segment: place.segment, block: place.block }),
    ...(key === undefined ? {} : { key: new TextDecoder().decode(key) }),
  };
}

function flip(image: Uint8Array, at: number): void {
  image[at] = (image[at] as number) ^ 0x10;
}

/** Fills a store of tiny segments: values in nodes, beside them, over several blocks, and in extents. */
function fill(store: Store, count = 300): void {
  for (let i = 0; i < count; i++) store.set(`small ${i}`, "s".repeat(i % 128));
  for (let i = 0; i < 20; i++) store.set(`middle ${i}`, `${i}`.repeat(900));
  store.set("extents", "e".repeat(200_000));
}

describe("sound", () => {
  test("an empty store", async () => {
    const store = await open(new ImageDevice());
    expectSound(await store.verify(), {
      blocksRead: 0,
      blocksBuffered: 0,
      recordsRead: 0,
      keys: 0,
      segmentsUsed: 0,
      segmentsFree: 2,
      totalsCompared: true,
    });
    await store.close();
  });

  test("counts blocks and records exactly, on the device and before they are there", async () => {
    const device = new ImageDevice();
    const store = await open(device, { durability: "manual" });
    for (let i = 0; i < 10; i++) store.set(`key ${i}`, `${i}`);
    // A segment's header and one open block.
    expectSound(await store.verify(), { blocksRead: 0, blocksBuffered: 2, recordsRead: 10, keys: 10 });
    store.flushSync();
    expectSound(await store.verify(), { blocksRead: 2, blocksBuffered: 0, recordsRead: 10, keys: 10 });
    store.set("key 3", "another");
    store.delete("key 4");
    expectSound(await store.verify(), { blocksRead: 2, blocksBuffered: 1, recordsRead: 12, keys: 9, segmentsUsed: 1 });
    await store.close();
    const again = await open(device.reopen());
    expectSound(await again.verify(), { blocksRead: 3, blocksBuffered: 0, recordsRead: 12, keys: 9 });
    await again.close();
  });

  test("every size of value, overwritten and deleted, before and after opening again", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device);
    fill(store);
    for (let i = 0; i < 300; i += 3) store.set(`small ${i}`, "t".repeat((i * 7) % 200));
    for (let i = 0; i < 300; i += 7) store.delete(`small ${i}`);
    store.set("extents", "f".repeat(150_000));
    store.set("middle 3", "short");
    const keys = store.count();
    expectSound(await store.verify(), { keys, totalsCompared: true });
    await store.close();
    for (const readOnly of [true, false]) {
      const again = await open(device.reopen(), { readOnly });
      const report = await again.verify();
      expectSound(report, { keys, totalsCompared: true });
      expect(report.segmentsUsed + report.segmentsFree).toBe(again.stats().segmentCount);
      await again.close();
    }
  });

  test("older versions that an iterator sees, and what is left when it is closed", async () => {
    const store = await openTiny(new ImageDevice());
    fill(store);
    const walk = store.entries();
    walk.next();
    for (let i = 0; i < 300; i += 2) store.set(`small ${i}`, "newer");
    for (let i = 0; i < 300; i += 5) store.delete(`small ${i}`);
    store.set("extents", "e".repeat(70_000));
    expectSound(await store.verify(), { totalsCompared: true });
    walk.return?.();
    expectSound(await store.verify());
    await store.close();
  });

  test("batches that repeat keys, and updates in place", async () => {
    const store = await openTiny(new ImageDevice());
    for (let round = 0; round < 20; round++) {
      store.set("in place", `${round}`.padEnd(1000));
      const batch = store.batch();
      for (let i = 0; i < 30; i++) batch.set(`key ${i % 7}`, `${round} ${i}`.padEnd(300));
      batch.delete("key 3");
      batch.commit();
    }
    expectSound(await store.verify(), { keys: 7 });
    await store.close();
  });

  test("what a crash left, at any sync", async () => {
    const device = new ImageDevice();
    const images: Uint8Array[] = [];
    device.before = (operation) => {
      if (operation === "sync") images.push(device.image());
    };
    const store = await openTiny(device);
    for (let i = 0; i < 40; i++) {
      store.set(`key ${i % 25}`, "v".repeat(i * 90));
      if (i % 3 === 0) store.flushSync();
    }
    await store.close();
    for (const image of images) {
      const crashed = ImageDevice.of(image);
      let opened: Store;
      try {
        opened = await open(crashed);
      } catch {
        // Formatting was not over yet.
        continue;
      }
      const report = await opened.verify();
      // A copy of the superblock may have been under way, nothing else.
      expect(report.faults.filter(({ kind }) => kind !== "superblock")).toEqual([]);
      opened.set("more", "1");
      opened.flushSync();
      await opened.close();
      const again = await open(crashed.reopen());
      expectSound(await again.verify());
      await again.close();
    }
    expect(images.length).toBeGreaterThan(20);
  });

  test("a tail that recovery moved to safety", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device);
    fill(store, 50);
    await store.flush();
    store.set("last", "one");
    await store.flush();
    const image = device.image();
    await store.close();
    const crashed = ImageDevice.of(image);
    const recovered = await open(crashed);
    expect(recovered.stats().recoveredTailBlockCount).toBeGreaterThan(0);
    expectSound(await recovered.verify(), { keys: 72 });
    for (let i = 0; i < 50; i++) recovered.set(`later ${i}`, "x".repeat(i * 40));
    expectSound(await recovered.verify(), { keys: 122 });
    await recovered.close();
  });

  test("segments that are too large for one step, also while they are written to", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { memoryBytes: 128 * 1024 * 1024, compaction: { auto: false } }, 2048);
    // Keeps the first segment in use.
    store.set("first", "1");
    for (let i = 0; i < 90_000; i++) store.set(`key ${i % 60_000}`, "v".repeat(i % 300));
    expectSound(await store.verify(), { keys: 60_001, totalsCompared: true });
    let running = true;
    const verifying = store.verify().finally(() => {
      running = false;
    });
    for (let i = 0; running; i += 200) {
      for (let j = 0; j < 200; j++) store.set(`key ${(i + j) % 60_000}`, "w".repeat(j));
      await pause(0);
    }
    expectSound(await verifying, { totalsCompared: false });
    store.flushSync();
    // A count that is wrong is seen here, too: a block's records are not met.
    device.bytes.fill(0, SEGMENTS_OFFSET + 5 * BLOCK, SEGMENTS_OFFSET + 6 * BLOCK);
    expect((await store.verify()).faults.map(gist)[0]).toMatchObject({ kind: "block", segment: 0, block: 5 });
    await store.close();
  });

  test("a full device, and a value that it refused half-way", async () => {
    const store = await openTiny(new ImageDevice(SEGMENTS_OFFSET + 24 * TINY_SEGMENT, false), {
      writeBufferBytes: 262_144,
    });
    let written = 0;
    expect(
      await codeOf(() => {
        for (; ; written++) store.set(`key ${written}`, "v".repeat(2000));
      }),
    ).toBe("NO_SPACE");
    expect(await codeOf(() => store.set("too large", "x".repeat(1_000_000)))).toBe("NO_SPACE");
    expectSound(await store.verify(), { keys: written });
    for (let i = 0; i < written; i += 2) store.delete(`key ${i}`);
    expectSound(await store.verify(), { keys: Math.floor(written / 2) });
    await store.close();
  });

  test("a large value whose last part the device refuses is not part of the log", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { writeBufferBytes: 262_144 });
    fill(store);
    await store.flush();
    device.capacity = device.size();
    expect(await codeOf(() => store.set("too large", "x".repeat(3_000_000)))).toBe("NO_SPACE");
    expectSound(await store.verify());
    device.capacity = Number.POSITIVE_INFINITY;
    store.set("more", "1");
    store.flushSync();
    expectSound(await store.verify());
    await store.close();
  });
});

describe("while the store is written to", () => {
  test("nothing is told that is not so, and nothing is written", async () => {
    const seed = runSeed();
    const random = new Random(seed);
    const device = new ImageDevice();
    device.syncMs = 1;
    const store = await openTiny(device, { memoryBytes: 128 * 1024 * 1024 });
    const write = (): void => {
      const key = `key ${random.below(20_000)}`;
      if (random.chance(0.2)) store.delete(key);
      else store.set(key, "v".repeat(random.chance(0.02) ? random.below(90_000) : random.below(200)));
    };
    for (let i = 0; i < 30_000; i++) write();
    let running = true;
    const reports: VerifyReport[] = [];
    const verifying = (async () => {
      for (let i = 0; i < 3; i++) reports.push(await store.verify());
      running = false;
    })();
    let snapshot = store.entries();
    while (running) {
      for (let i = 0; i < 300; i++) write();
      if (random.chance(0.1)) {
        snapshot.return?.();
        snapshot = store.entries();
        snapshot.next();
      }
      await pause(0);
    }
    await verifying;
    snapshot.return?.();
    for (const report of reports) expect(report.faults, `seed ${seed}`).toEqual([]);
    expect(reports.some(({ totalsCompared }) => !totalsCompared)).toBe(true);
    expectSound(await store.verify(), { keys: store.count(), totalsCompared: true });
    await store.close();
  });

  test("the event loop turns, progress grows to its end, and the device is only read", async () => {
    const device = new ImageDevice();
    const store = await open(device, { durability: "manual" });
    for (let i = 0; i < 60_000; i++) store.set(`key ${i}`, "v".repeat(i % 100));
    store.flushSync();
    // What the store had put off to a turn of the event loop.
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
    device.events = [];
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const seen: { phase: string; done: number; total: number }[] = [];
    const report = await store.verify({
      onProgress: (progress) => {
        seen.push(progress);
        throw new Error("a listener's own failure");
      },
    });
    clearInterval(timer);
    expectSound(report, { keys: 60_000 });
    expect(device.events).toEqual([]);
    expect(turns).toBeGreaterThan(3);
    for (const phase of ["log", "index"]) {
      const steps = seen.filter((progress) => progress.phase === phase);
      expect(steps.every(({ done, total }, i) => done <= total && done >= (steps[i - 1]?.done ?? 0))).toBe(true);
    }
    expect(seen.at(-1)).toEqual({ phase: "index", done: 60_000, total: 60_000 });
    await store.close();
  });

  test("tells onProgress of the store, up to the end", async () => {
    const told: StoreProgress[] = [];
    const onProgress = (progress: StoreProgress): void => {
      told.push(progress);
      throw new Error("a listener's own failure");
    };
    const store = await open(new MemoryDevice(), { onProgress });
    for (let i = 0; i < 3000; i++) store.set(`key ${i}`, "v".repeat(1000));
    await store.flush();
    const { ok, blocksRead } = await store.verify();
    expect(ok).toBe(true);
    expect(new Set(told.map(({ phase }) => phase))).toEqual(new Set(["verify"]));
    expect(told.every(({ done, total }, i) => done <= total && done >= (told[i - 1]?.done ?? 0))).toBe(true);
    expect(told.at(-1)).toEqual({ phase: "verify", done: blocksRead * 4096, total: blocksRead * 4096 });
    await store.close();
  });

  test("a second one waits, closing ends it, and what are no options are refused", async () => {
    const store = await open(new MemoryDevice());
    for (let i = 0; i < 30_000; i++) store.set(`key ${i}`, "v");
    const [first, second] = await Promise.all([store.verify(), store.verify()]);
    expectSound(first, { keys: 30_000 });
    expectSound(second, { keys: 30_000 });
    expect(await codeOf(() => store.verify({ onProgress: 1 } as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.verify(null as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.verify({ quick: true } as never))).toBe("INVALID_ARGUMENT");
    const broken = store.verify();
    await pause(0);
    const closing = store.close();
    expect(await codeOf(() => broken)).toBe("CLOSED");
    await closing;
    expect(await codeOf(() => store.verify())).toBe("CLOSED");
  });

  test("a group in flight, and one that waits for room, are taken from memory", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { durability: "manual" });
    store.set("there", "1");
    store.flushSync();
    const release = device.holdWrites();
    store.set("flying", "v".repeat(9000));
    const flight = store.flush();
    await pause(5);
    store.set("behind", "2");
    const report = await store.verify();
    expectSound(report, { keys: 3, recordsRead: 3, blocksRead: 2 });
    expect(report.blocksBuffered).toBe(4);
    release();
    await flight;
    await store.flush();
    expectSound(await store.verify(), { keys: 3, blocksRead: 6, blocksBuffered: 0 });
    await store.close();
  });
});

describe("damage", () => {
  /** An open store whose device can be damaged, and where its blocks lie. */
  async function damageable(): Promise<{ store: Store; device: ImageDevice; blocks: number[] }> {
    const device = new ImageDevice();
    const store = await openTiny(device, { writeBufferBytes: 262_144, cacheBytes: 0, durability: "manual" });
    for (let i = 0; i < 60; i++) {
      store.set(`key ${i}`, `(${i})`.padEnd(600, "."));
      if (i % 20 === 19) store.flushSync();
    }
    const blocks: number[] = [];
    for (let at = SEGMENTS_OFFSET; at + BLOCK <= device.size(); at += BLOCK) {
      if (device.bytes.subarray(at, at + BLOCK).some((byte) => byte !== 0)) blocks.push(at);
    }
    return { store, device, blocks };
  }

  /** Keys that the store holds in the block at an offset, in order: those whose text lies there. */
  function keysIn(image: Uint8Array, offset: number): string[] {
    const text = Buffer.from(image.subarray(offset, offset + BLOCK)).toString("latin1");
    return [...text.matchAll(/key \d+/g)].map(([key]) => key).sort();
  }

  function place(offset: number): { offset: number; segment: number; block: number } {
    const within = offset - SEGMENTS_OFFSET;
    return { offset, segment: Math.floor(within / TINY_SEGMENT), block: (within % TINY_SEGMENT) / BLOCK };
  }

  test("in each copy of the superblock", async () => {
    const { store, device } = await damageable();
    for (let copy = 0; copy < 4; copy++) {
      const offset = copy * SUPERBLOCK_STRIDE;
      flip(device.bytes, offset + 1000 * copy + 20);
      const report = await store.verify();
      expect(report.faults.map(gist)).toEqual([{ kind: "superblock", offset, segment: undefined, block: undefined }]);
      expect(report.faults[0]?.message).toContain(`copy ${copy}`);
      flip(device.bytes, offset + 1000 * copy + 20);
    }
    expectSound(await store.verify());
    // An older superblock where the newest was written: a write that was lost.
    const newest = device.bytes.slice(0, BLOCK);
    const other = device.bytes.slice(2 * SUPERBLOCK_STRIDE, 2 * SUPERBLOCK_STRIDE + BLOCK);
    device.bytes.set(other, 0);
    expect((await store.verify()).faults.map(gist)).toMatchObject([{ kind: "superblock", offset: 0 }]);
    device.bytes.set(newest, 0);
    await store.close();
  });

  test("in any bit of any block: its place, and the keys that are lost with it", async () => {
    const { store, device, blocks } = await damageable();
    const random = new Random(runSeed());
    for (const offset of blocks) {
      const { block } = place(offset);
      const at = offset + random.below(BLOCK);
      const lost = block === 0 ? [] : keysIn(device.bytes, offset);
      flip(device.bytes, at);
      const report = await store.verify();
      const [first, ...others] = report.faults.map(gist);
      expect(first, `byte ${at}`).toEqual({ kind: "block", ...place(offset) });
      // A value may begin in the block before; it is lost, too.
      for (const other of others) expect(other["kind"]).toBe("record-missing");
      const named = others.map(({ key }) => key);
      expect(named).toEqual(expect.arrayContaining(lost));
      expect(new Set(named).size).toBe(named.length);
      if (block > 0) expect(named.length).toBeGreaterThan(0);
      expect(report.ok).toBe(false);
      flip(device.bytes, at);
    }
    expectSound(await store.verify());
    await store.close();
  });

  test("two blocks that changed places", async () => {
    const { store, device, blocks } = await damageable();
    const [a, b] = blocks.filter((offset) => place(offset).block > 0) as [number, number];
    const kept = device.bytes.slice(a, a + BLOCK);
    device.bytes.copyWithin(a, b, b + BLOCK);
    device.bytes.set(kept, b);
    const report = await store.verify();
    const misplaced = report.faults.filter(({ kind }) => kind === "block-place").map(gist);
    expect(misplaced).toEqual([
      { kind: "block-place", ...place(a) },
      { kind: "block-place", ...place(b) },
    ]);
    expect(report.faults[0]?.message).toContain(`device block ${b / BLOCK}`);
    await store.close();
  });

  test("a block that was never written", async () => {
    const { store, device, blocks } = await damageable();
    const offset = blocks[3] as number;
    device.bytes.fill(0, offset, offset + BLOCK);
    const [fault] = (await store.verify()).faults as [VerifyFault];
    expect(gist(fault)).toEqual({ kind: "block", ...place(offset) });
    expect(fault.message).toContain("never written");
    await store.close();
  });

  test("blocks whose check is right and whose content is not", async () => {
    const { store, device, blocks } = await damageable();
    const whole = device.image();
    const superblock = new DataView(whole.buffer, 0, BLOCK);
    const high = superblock.getBigUint64(56, true);
    const seed = superblock.getBigUint64(48, true) ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n));
    /** Changes a block and gives it its check: what a bug writes, not what a device makes of it. */
    const plant = async (offset: number, change: (view: DataView) => void): Promise<Record<string, unknown>[]> => {
      const bytes = device.bytes.subarray(offset, offset + BLOCK);
      const view = new DataView(bytes.buffer, bytes.byteOffset, BLOCK);
      change(view);
      view.setBigUint64(0, xxh64(bytes.subarray(16), seed), true);
      const { faults } = await store.verify();
      device.bytes.set(whole.subarray(offset, offset + BLOCK), offset);
      return faults.map(gist);
    };
    const [header, block] = blocks as [number, number];
    expect(await plant(block, () => undefined)).toEqual([]);
    // Of a former life of its segment.
    const stale = await plant(block, (view) => view.setBigUint64(16, view.getBigUint64(16, true) - 1n, true));
    expect(stale[0]).toEqual({ kind: "block-life", ...place(block) });
    expect(stale.slice(1).every(({ kind }) => kind === "record-missing")).toBe(true);
    const group = await plant(block, (view) => view.setBigUint64(32, view.getBigUint64(32, true) + 1n, true));
    // The block itself, and the one behind it, which does not go on with its group.
    expect(group).toEqual([
      { kind: "group", ...place(block) },
      { kind: "group", ...place(block + BLOCK) },
    ]);
    const end = blocks.filter((offset) => (whole[offset + 42] as number) === 1)[0] as number;
    const unended = await plant(end, (view) => view.setUint16(42, 0, true));
    expect(unended).toEqual([{ kind: "group", ...place(end + BLOCK) }]);
    for (const field of [0, 4, 8, 16, 28]) {
      const at = 56 + field;
      const changed = await plant(header, (view) => view.setUint8(at, view.getUint8(at) + 1));
      expect(changed, `field ${field}`).toEqual([{ kind: "segment-header", ...place(header) }]);
    }
    const first = place(block + 56);
    const record = { ...first, block: 1 };
    expect(await plant(block, (view) => view.setUint8(62, 9))).toEqual(
      expect.arrayContaining([
        { kind: "record", ...record },
        { kind: "record-missing", ...record, key: "key 0" },
      ]),
    );
    expect(await plant(block, (view) => view.setUint32(64, 50, true))).toEqual([
      { kind: "record-newer", ...record, key: "key 0" },
      { kind: "record-missing", ...record, key: "key 0" },
    ]);
    // The name of its key: the account goes wrong as well, since nobody names the record now.
    expect(await plant(block, (view) => view.setUint8(72, 0x4b))).toEqual([
      { kind: "live-bytes", ...place(header) },
      { kind: "record-missing", ...record, key: "key 0" },
    ]);
    // A value beside the node is held by the log alone; its flags are not.
    expect(await plant(block, (view) => view.setUint8(63, view.getUint8(63) ^ 4))).toEqual([
      { kind: "record-differs", ...record, key: "key 0" },
    ]);
    expectSound(await store.verify());
    await store.close();
  });

  test("beside a writer that has gone on it is not damage: SNAPSHOT_EXPIRED", async () => {
    const { store, device, blocks } = await damageable();
    await store.close();
    const reader = await open(ImageDevice.of(device.image()), { readOnly: true });
    const { bytes } = (reader as unknown as { session: { core: { device: ImageDevice } } }).session.core.device;
    const superblock = new DataView(bytes.buffer, 0, BLOCK);
    const high = superblock.getBigUint64(56, true);
    const seed = superblock.getBigUint64(48, true) ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n));
    const [header, block] = blocks as [number, number];
    const renew = (offset: number, by: bigint): void => {
      const view = new DataView(bytes.buffer, offset, BLOCK);
      view.setBigUint64(16, view.getBigUint64(16, true) + by, true);
      view.setBigUint64(0, xxh64(bytes.subarray(offset + 16, offset + BLOCK), seed), true);
    };
    renew(block, 1n);
    expect(await codeOf(() => reader.verify())).toBe("SNAPSHOT_EXPIRED");
    // A block that is just being written, in a segment whose header was written already.
    flip(bytes, block + 100);
    renew(header, 1n);
    expect(await codeOf(() => reader.verify())).toBe("SNAPSHOT_EXPIRED");
    // An older life is damage all the same.
    renew(header, -1n);
    flip(bytes, block + 100);
    renew(block, -2n);
    expect((await reader.verify()).faults.map(gist)[0]).toEqual({ kind: "block-life", ...place(block) });
    renew(block, 1n);
    expectSound(await reader.verify());
    await reader.close();
  });

  test("in the middle of a large value names its key, and only it", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { writeBufferBytes: 262_144, cacheBytes: 0 });
    store.set("before", "b".repeat(300));
    store.set("large", "L".repeat(400_000));
    store.set("after", "a".repeat(300));
    store.flushSync();
    for (let i = 0; i < 200; i++) store.set(`push ${i}`, "p".repeat(3000));
    store.flushSync();
    const text = Buffer.from(device.bytes.buffer).toString("latin1");
    const offset = Math.floor((text.indexOf("L".repeat(3000)) + 200_000) / BLOCK) * BLOCK;
    flip(device.bytes, offset + 2000);
    const report = await store.verify();
    expect(report.faults.map(gist)).toEqual([
      { kind: "block", ...place(offset) },
      { kind: "record-missing", ...place(offset), key: "large" },
    ]);
    await store.close();
  });

  test("a device that cannot be read, in parts or at all, is a fault of its own", async () => {
    const { store, device, blocks } = await damageable();
    const bad = blocks[2] as number;
    let together = true;
    device.before = (operation, offset) => {
      if (operation !== "read") return;
      // The read that brings several blocks at once fails as a whole, then one of the blocks alone.
      const fails = offset === bad || (offset === blocks[0] && together);
      if (offset === blocks[0]) together = false;
      if (fails) throw new Error("EIO");
    };
    const some = await store.verify();
    expect(some.faults.map(gist)[0]).toEqual({ kind: "device", ...place(bad) });
    expect(some.faults[0]?.message).toContain("DEVICE_READ");
    expect(new Set(some.faults.slice(1).map(({ kind }) => kind))).toEqual(new Set(["record-missing"]));
    const named = some.faults.slice(1).map(({ key }) => new TextDecoder().decode(key));
    expect(named).toEqual(expect.arrayContaining(keysIn(device.bytes, bad)));
    expect(some.blocksRead).toBe(blocks.length - 1);
    device.before = (operation) => {
      if (operation === "read") throw new Error("EIO");
    };
    const none = await store.verify();
    expect(none.blocksRead).toBe(0);
    expect(none.faults.filter(({ kind }) => kind === "device").length).toBe(4 + blocks.length);
    device.before = undefined;
    expectSound(await store.verify());
    // It shrank: what lies beyond its end is gone.
    const whole = device.image();
    device.resize(SEGMENTS_OFFSET + TINY_SEGMENT);
    const shrunk = await store.verify();
    expect(shrunk.faults.some(({ message }) => message.includes("DEVICE_SHRUNK"))).toBe(true);
    expect(store.get("key 1")).toBe("(1)".padEnd(600, "."));
    device.resize(whole.length);
    device.bytes.set(whole);
    expectSound(await store.verify());
    await store.close();
  });

  test("more faults than a report lists are counted", async () => {
    const device = new ImageDevice();
    const store = await open(device, { writeBufferBytes: 262_144, cacheBytes: 0 });
    for (let i = 0; i < 4000; i++) store.set(`key ${i}`, `${i}`.padEnd(1000));
    store.flushSync();
    const blocks = (await store.verify()).blocksRead;
    device.bytes.fill(0xff, SEGMENTS_OFFSET, device.size());
    const report = await store.verify();
    expect(report).toMatchObject({ ok: false, truncated: true });
    expect(report.faults.length).toBe(1000);
    expect(report.faultCount).toBeGreaterThanOrEqual(blocks + 4000 - 262_144 / 1000);
    expect(report.faultCount).toBeLessThanOrEqual(blocks + 4000 + 1);
    await store.close();
  });
});
