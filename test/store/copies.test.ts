/** Copies of compaction in flight: what happens while they are, when they fail, and when they find no room. */
import { describe, expect, test } from "vitest";
import type { DevicePiece } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { expectSame } from "./map-model.ts";

const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB } as const;
/** Twenty segments of 16 blocks. */
const TWENTY = 2.25 * MIB;

/** A device that tells copies from groups: these come with their sync. Copies can be held, and fail on demand. */
class CopyDevice extends ImageDevice {
  copyCount = 0;
  /** What the next writes of copies are rejected with. */
  failure: CairnError | undefined;
  private gateOfCopies: Promise<void> | undefined;

  static override of(image: Uint8Array, growable = true): CopyDevice {
    const device = new CopyDevice(image.length, growable);
    device.bytes.set(image);
    return device;
  }

  /** Makes copies wait before their first byte, until the result is called. */
  holdCopies(): () => void {
    let release = (): void => {};
    this.gateOfCopies = new Promise((resolve) => {
      release = () => {
        this.gateOfCopies = undefined;
        resolve();
      };
    });
    return release;
  }

  async commitAsync(pieces: readonly DevicePiece[]): Promise<void> {
    await super.writeAsync(pieces);
    await this.syncAsync();
  }

  override async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    this.copyCount++;
    await this.gateOfCopies;
    if (this.failure !== undefined) throw this.failure;
    await super.writeAsync(pieces);
  }
}

/** A store of which every other record is garbage: 60 keys are left, of 3,000 bytes each. */
async function halfGarbage(device: ImageDevice, auto = false): Promise<{ store: Store; model: Map<string, string> }> {
  const store = await openTiny(device, { ...SMALL, durability: "manual", compaction: { auto } });
  const model = new Map<string, string>();
  for (let i = 0; i < 120; i++) {
    const value = `${i}`.padEnd(3000, "v");
    store.set(`key ${i}`, value);
    if (i % 2 === 0) model.set(`key ${i}`, value);
  }
  // What follows fills the cache, so that what is read afterwards is cold.
  for (let i = 1; i < 120; i += 2) store.delete(`key ${i}`);
  await store.flush();
  return { store, model };
}

describe("copies in flight", () => {
  test("can be read, and count only when they are written", async () => {
    const device = new CopyDevice();
    const { store, model } = await halfGarbage(device);
    const release = device.holdCopies();
    const compacting = store.compact({ full: true });
    for (let i = 0; device.copyCount === 0 && i < 100; i++) await pause();
    expect(device.copyCount).toBe(1);
    // Groups go on, with notes that may not count what is held.
    for (let i = 0; i < 40; i++) {
      store.set(`new ${i % 4}`, `${i}`.padEnd(3000, "n"));
      model.set(`new ${i % 4}`, `${i}`.padEnd(3000, "n"));
      await store.flush();
      expectSame(store, model);
      const crashed = await openTiny(ImageDevice.of(device.image()), SMALL);
      expectSame(crashed, model);
      await crashed.close();
    }
    expect(store.stats().freedSegmentCount).toBe(0);
    release();
    expect((await compacting).segmentsFreed).toBeGreaterThan(2);
    expectSame(store, model);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    const again = await openTiny(device.reopen(), SMALL);
    expectSame(again, model);
    await again.close();
  });

  test("are written once more by a write that needs their room, and land late without harm", async () => {
    const device = new CopyDevice(TWENTY, false);
    const store = await openTiny(device, { ...SMALL, durability: "manual" });
    const model = new Map<string, string>();
    const put = (key: string, value: string): void => {
      store.set(key, value);
      model.set(key, value);
    };
    for (let i = 0; i < 60; i++) put(`kept ${i}`, `${i}`.padEnd(7000, "k"));
    let releases = 0;
    for (let round = 0; round < 12; round++) {
      const release = device.holdCopies();
      const before = device.copyCount;
      for (let i = 0; i < 40 && device.copyCount === before; i++) {
        put(`kept ${(round * 7 + i) % 60}`, `${round},${i}`.padEnd(7000, "k"));
        await pause();
      }
      if (device.copyCount > before) releases++;
      // Much more than is free: segments that blocks are in flight to are emptied, and may not be used anew.
      for (let i = 0; i < 200; i++) put(`hot ${i % 5}`, `${round},${i}`.padEnd(3000, "h"));
      expectSame(store, model);
      release();
      await pause();
      await pause();
      expectSame(store, model);
    }
    expect(releases).toBeGreaterThan(3);
    expect((await store.verify()).faults).toEqual([]);
    await store.flush();
    const crashed = await openTiny(ImageDevice.of(device.image(), false), SMALL);
    expectSame(crashed, model);
    await crashed.close();
    await store.close();
  });

  test("are waited for by close", async () => {
    const device = new CopyDevice();
    const { store, model } = await halfGarbage(device);
    const release = device.holdCopies();
    const compacting = codeOf(() => store.compact({ full: true }));
    for (let i = 0; device.copyCount === 0 && i < 100; i++) await pause();
    let closed = false;
    const closing = store.close().then(() => {
      closed = true;
    });
    await pause(5);
    expect(closed).toBe(false);
    release();
    await closing;
    expect(await compacting).toBe("CLOSED");
    const again = await openTiny(device.reopen(), SMALL);
    expectSame(again, model);
    await again.close();
  });
});

describe("copies that cannot be written", () => {
  test("poison the store, with the cause", async () => {
    for (const auto of [false, true]) {
      const device = new CopyDevice();
      const { store, model } = await halfGarbage(device, auto);
      device.failure = new CairnError("DEVICE_WRITE", "write", "the cable is out");
      if (auto) {
        for (let i = 0; i < 400 && device.copyCount === 0; i++) {
          // What is live moves over all segments, and all keep some of it.
          store.set(`hot ${i % 5}`, "h".repeat(3000));
          if (i % 8 === 0) await store.flush();
          await pause();
        }
        await pause();
      } else {
        const error = await errorOf(() => store.compact({ full: true }));
        expect(error.code).toBe("POISONED");
      }
      expect(device.copyCount).toBe(1);
      const error = await errorOf(() => store.set("more", "m"));
      expect(error.code).toBe("POISONED");
      expect((error.cause as CairnError).code).toBe("DEVICE_WRITE");
      expect((error.cause as CairnError).cause).toBe(device.failure);
      await store.close();
      const again = await openTiny(device.reopen(), SMALL);
      for (const [key, value] of model) expect(again.get(key)).toBe(value);
      await again.close();
    }
  });

  test("for want of room stay where they are, and are written again when there is some", async () => {
    const device = new CopyDevice();
    const { store, model } = await halfGarbage(device);
    device.failure = new CairnError("NO_SPACE", "write", "the disk is full");
    for (let i = 0; i < 3; i++) {
      const report = await store.compact({ full: true });
      expect(report.done).toBe(false);
      expect(report.segmentsFreed).toBe(0);
      expectSame(store, model);
      store.set("between", `${i}`);
      model.set("between", `${i}`);
      await store.flush();
      const crashed = await openTiny(ImageDevice.of(device.image()), SMALL);
      expectSame(crashed, model);
      await crashed.close();
    }
    expect(device.copyCount).toBeGreaterThan(2);
    device.failure = undefined;
    const report = await store.compact({ full: true });
    expect(report.done).toBe(true);
    expect(report.segmentsFreed).toBeGreaterThan(2);
    expectSame(store, model);
    await store.close();
    const again = await openTiny(device.reopen(), SMALL);
    expectSame(again, model);
    await again.close();
  });
});

describe("compact", () => {
  test("moves nothing in a store that it compacted before", async () => {
    const { store, model } = await halfGarbage(new ImageDevice());
    expect((await store.compact({ full: true })).bytesWritten).toBeGreaterThan(100_000);
    const { relocatedBytes, segmentUsedCount } = store.stats();
    for (let i = 0; i < 3; i++) {
      expect(await store.compact({ full: true })).toMatchObject({ bytesRead: 0, bytesWritten: 0, done: true });
    }
    expect(store.stats()).toMatchObject({ relocatedBytes, segmentUsedCount });
    expectSame(store, model);
    await store.close();
  });

  test("does its work in as many calls as it is given time for, and reports each part once", async () => {
    const { store, model } = await halfGarbage(new ImageDevice());
    const sum = { bytesRead: 0, bytesWritten: 0, bytesFreed: 0, segmentsFreed: 0 };
    let calls = 0;
    for (let done = false; !done; calls++) {
      const report = await store.compact({ maxMs: 1e-9 });
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += report[name];
      done = report.done;
      expect(calls).toBeLessThan(100);
    }
    expect(calls).toBeGreaterThan(4);
    const stats = store.stats();
    expect(sum.bytesWritten).toBe(stats.relocatedBytes);
    expect(sum.segmentsFreed).toBe(stats.freedSegmentCount);
    expect(sum.bytesFreed).toBe(stats.freedSegmentCount * stats.segmentBytes);
    expect(sum.segmentsFreed).toBeGreaterThan(2);
    expectSame(store, model);
    await store.close();
  });
});
