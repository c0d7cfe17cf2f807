/** What leaves through the host beside everything else: superblocks that grow a file, checkpoints, and quick cold reads. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Store } from "../../store/store.ts";
import { nextTurn } from "../../store/turn.ts";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB };
/** What a read takes that the host has in its cache. */
const QUICK_READ_MS = 1 / 256;
const COPIES = [0, 262_144, 524_288, 786_432];

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Counts superblocks, those that block the calling thread apart, and holds superblocks that the host writes. */
class Watched extends ImageDevice {
  superblockCount = 0;
  flownCount = 0;
  private superblockGate: Promise<void> | undefined;

  /** Makes superblocks in flight wait until the result is called. */
  holdSuperblocks(): () => void {
    let release = (): void => {};
    this.superblockGate = new Promise((resolve) => {
      release = () => {
        this.superblockGate = undefined;
        resolve();
      };
    });
    return release;
  }

  override write(offset: number, source: Uint8Array): number {
    if (COPIES.includes(offset)) this.superblockCount++;
    return super.write(offset, source);
  }

  override async syncAsync(): Promise<void> {
    await turn();
    super.sync();
  }

  override async writeAsync(pieces: Parameters<ImageDevice["writeAsync"]>[0]): Promise<void> {
    if (pieces.some(({ offset }) => COPIES.includes(offset))) {
      this.flownCount++;
      await this.superblockGate;
    }
    await turn();
    for (const { offset, source } of pieces) super.write(offset, source);
  }
}

/** 2,000 characters that no compression makes fewer. */
function noise(seed: number): string {
  let state = seed + 1;
  return Array.from({ length: 2000 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return String.fromCharCode(48 + (state >>> 26));
  }).join("");
}

/** Writes records of about 2 KiB, with turns of the event loop between them. */
async function fill(store: Store, model: Map<string, string>, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    model.set(`key ${i}`, noise(i));
    store.set(`key ${i}`, model.get(`key ${i}`) as string);
    if (i % 2 === 1) await turn();
  }
}

function expectSame(store: Store, model: ReadonlyMap<string, string>): void {
  expect(store.count()).toBe(model.size);
  for (const [key, value] of model) expect(store.get(key)).toBe(value);
}

describe("a growing file", () => {
  test("is raised, and checkpoints of it are named, while no operation waits for that", async () => {
    const device = new Watched();
    const model = new Map<string, string>();
    const store = await openTiny(device, { ...SMALL, flushIntervalMs: 5 }, 16, {
      logBytes: 400_000,
      liveThousandths: 100,
    });
    await fill(store, model, 0, 200);
    const before = { superblocks: device.superblockCount, segments: store.stats().segmentCount };
    await fill(store, model, 200, 1500);
    expect(store.stats().segmentCount).toBeGreaterThan(before.segments * 2);
    expect(store.stats().checkpointMadeCount).toBeGreaterThan(1);
    expect(device.flownCount).toBeGreaterThan(8);
    // One, of two copies, may be needed at once where the turns of the event loop are late.
    expect(device.superblockCount - before.superblocks).toBeLessThanOrEqual(2);
    expectSame(store, model);
    const report = await store.verify();
    expect(report.faults).toEqual([]);
    await store.close();
    const again = await openTiny(device.reopen(), SMALL, 16);
    expectSame(again, model);
    expect(again.stats().checkpointFallbackCount).toBe(0);
    await again.close();
  });

  test("grows at once where a superblock in flight is slow, which lands late without harm", async () => {
    const device = new Watched();
    const model = new Map<string, string>();
    const store = await openTiny(device, { ...SMALL, flushIntervalMs: 5 }, 16);
    await fill(store, model, 0, 200);
    const release = device.holdSuperblocks();
    const { flownCount } = device;
    let next = 200;
    while (device.flownCount === flownCount) await fill(store, model, next++, 1);
    const { superblockCount } = device;
    // More than the one in flight would raise: the other pair of copies says so.
    await fill(store, model, next, 1500);
    expect(device.superblockCount).toBeGreaterThan(superblockCount);
    await store.flush();
    const crashed = await openTiny(ImageDevice.of(device.image()), SMALL, 16);
    expectSame(crashed, model);
    await crashed.close();
    const segments = store.stats().segmentCount;
    release();
    for (let i = 0; i < 20; i++) await turn();
    expect(store.stats().segmentCount).toBeGreaterThanOrEqual(segments);
    const later = await openTiny(ImageDevice.of(device.image()), SMALL, 16);
    expectSame(later, model);
    await later.close();
    await fill(store, model, next + 1500, 400);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    const again = await openTiny(device.reopen(), SMALL, 16);
    expectSame(again, model);
    await again.close();
  });

  test.each(["a backup", "the first compressed value"])(
    "is as large as what flies says, where %s overtakes it",
    async (what) => {
      const device = new Watched();
      const model = new Map<string, string>();
      const isBackup = what === "a backup";
      const compression = isBackup ? "none" : "lz4";
      const store = await openTiny(device, { ...SMALL, flushIntervalMs: 5, compression }, 16);
      await fill(store, model, 0, 200);
      const release = device.holdSuperblocks();
      const { flownCount, superblockCount } = device;
      let next = 200;
      while (device.flownCount === flownCount) await fill(store, model, next++, 1);
      if (isBackup) await store.backup().cancel();
      else {
        model.set("large", "v".repeat(5000));
        store.set("large", "v".repeat(5000));
      }
      expect(device.superblockCount).toBeGreaterThan(superblockCount);
      release();
      for (let i = 0; i < 20; i++) await turn();
      // Every durable state until the next superblock: what landed may be used, so the newest superblock has to say it.
      const before = device.superblockCount + device.flownCount;
      for (let i = 0; i < 400 && device.superblockCount + device.flownCount === before; i += 4) {
        await fill(store, model, next, 4);
        next += 4;
        await store.flush();
        const crashed = await openTiny(ImageDevice.of(device.image()), SMALL, 16);
        expectSame(crashed, model);
        await crashed.close();
      }
      await store.close();
    },
  );

  test("is closed only when what flies has landed, and nothing flies after that", async () => {
    for (let round = 0; round < 12; round++) {
      const device = new Watched();
      const model = new Map<string, string>();
      const store = await openTiny(device, { ...SMALL, flushIntervalMs: 5 }, 16, {
        logBytes: 100_000,
        liveThousandths: 1,
      });
      await fill(store, model, 0, 200 + round * 17);
      await store.close();
      const { length } = device.events;
      for (let i = 0; i < 4; i++) await turn();
      expect(device.events).toHaveLength(length);
      const again = await openTiny(device.reopen(), SMALL, 16);
      expectSame(again, model);
      await again.close();
    }
  });
});

/** A device whose reads take so long by a clock that nothing else moves, and that counts them. */
class CachedDevice extends ImageDevice {
  readonly hasHostCache = true;
  readMs = QUICK_READ_MS;
  nowMs = 0;
  readCount = 0;
  laterCount = 0;
  /** Reads without a turn of the event loop between them: now, and at most. */
  heldCount = 0;
  heldCountMax = 0;

  override read(offset: number, target: Uint8Array): number {
    this.readCount++;
    this.nowMs += this.readMs;
    if (this.heldCount++ === 0) {
      nextTurn(() => {
        this.heldCount = 0;
      });
    }
    this.heldCountMax = Math.max(this.heldCountMax, this.heldCount);
    return super.read(offset, target);
  }

  async readAsync(pieces: readonly { offset: number; target: Uint8Array }[]): Promise<void> {
    this.laterCount += pieces.length;
    await turn();
    for (const { offset, target } of pieces) super.read(offset, target);
  }
}

describe("getAsync through a cache of the host", () => {
  afterEach(() => void vi.restoreAllMocks());

  async function filled(): Promise<{ device: CachedDevice; store: Store }> {
    const device = new CachedDevice();
    const store = await openTiny(device, { ...SMALL, durability: "manual" }, 16);
    for (let i = 0; i < 3000; i++) store.set(`key ${i}`, `${i}`.padEnd(2000, "v"));
    store.flushSync();
    Object.assign(device, { readCount: 0, heldCount: 0, heldCountMax: 0 });
    // How long reads took is asked of this clock: what is decided by that holds on machines of any speed.
    vi.spyOn(performance, "now").mockImplementation(() => device.nowMs);
    return { device, store };
  }

  async function read(store: Store, count: number): Promise<void> {
    for (let from = 0; from < count; from += 16) {
      const keys = Array.from({ length: 16 }, (_, i) => ((from + i) * 977) % 2500);
      const values = await Promise.all(keys.map((i) => store.getAsync(`key ${i}`)));
      values.forEach((value, i) => void expect(value).toBe(`${keys[i]}`.padEnd(2000, "v")));
    }
  }

  test("reads at once what comes at once, and lets the event loop turn", async () => {
    const { device, store } = await filled();
    await read(store, 8000);
    expect(device.readCount).toBeGreaterThan(4000);
    // A millisecond of them, and those of lookups that have waited once and still miss something.
    expect(device.heldCountMax).toBeLessThan(2 / QUICK_READ_MS);
    await store.close();
  });

  test("leaves slow reads to the host: it tries again seldom", async () => {
    const { device, store } = await filled();
    device.readMs = 1;
    await read(store, 4000);
    // Pauses of 64, 128, 256 and so on; a record may lie in two blocks.
    expect(device.readCount).toBeLessThan(20);
    expect(device.readCount).toBeGreaterThan(0);
    expect(device.laterCount).toBeGreaterThan(1000);
    await store.close();
  });
});
