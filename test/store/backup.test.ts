/** Backups: what was there when one began is what it brings back, whatever is written, moved and freed while it is read. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { backupOf, bytesOf, failureOf, MANUAL, restored } from "./backups.ts";
import { garbageCollector, open, openTiny, pause, restore, runSeed, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { expectSame, MapModel } from "./map-model.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const BLOCK = 4096;
/** Thirty segments of 16 blocks. */
const THIRTY = MIB + 30 * 65_536;
/** A checkpoint as often as a segment is filled, in steps of a block. */
const OFTEN = { logBytes: 1, liveThousandths: 0, stepBlocks: 1 };

const nextPath = scratchPaths();

async function expectSound(store: Store): Promise<void> {
  expect((await store.verify()).faults).toEqual([]);
}

describe(`backups, seed ${seed}`, () => {
  test("leave a full device of fixed size its deletions, whose compaction copies nothing that they pin", async () => {
    const store = await openTiny(new ImageDevice(MIB + 100 * 65_536, false), { ...MANUAL, flushIntervalMs: 5 }, 16);
    let count = 0;
    expect(
      await failureOf(
        (async () => {
          for (; ; count++) {
            store.set(`key ${count}`, `${count}`.padEnd(1500, "v"));
            if (count % 4 === 0) store.flushSync();
          }
        })(),
      ),
    ).toMatchObject({ code: "NO_SPACE" });
    store.flushSync();
    const reader = store.backup().getReader();
    await reader.read();
    for (let i = 0; i < count; i += 2) {
      store.delete(`key ${i}`);
      if (i % 8 === 0) store.flushSync();
    }
    store.flushSync();
    expect(store.count()).toBe(Math.floor(count / 2));
    await reader.cancel();
    await expectSound(store);
    await store.close();
  });

  for (const growable of [true, false]) {
    test(`under writes, compaction and checkpoints hold what a map held (${growable ? "a file" : "thirty segments"})`, async () => {
      const random = new Random(seed);
      const device = new ImageDevice(growable ? 0 : THIRTY, growable);
      const options = { ...MANUAL, compaction: { auto: true, garbageRatio: 0.05 } };
      let store = await openTiny(device, options, 16, OFTEN);
      const writes = new MapModel(random);
      const model = writes.map;
      let i = 0;
      const write = async (): Promise<void> => {
        for (let count = random.below(12); count > 0; count--, i++) {
          const choice = random.below(100);
          try {
            if (choice < 60) writes.set(store, writes.key(), i);
            else if (choice < 80) writes.delete(store, writes.key());
            else if (choice < 85) await writes.batch(store, writes.key(), i);
            else if (choice < 92) store.flushSync();
            else await store.compact({ maxMs: 1e-9 });
          } catch (error) {
            if ((error as { code?: string }).code !== "NO_SPACE" || growable) throw error;
          }
        }
      };
      let held = 0;
      for (let round = 0; round < 12; round++) {
        for (let n = 0; n < 10; n++) await write();
        const first = store.backup();
        expect(await first.version).toBe(store.version);
        const then = new Map(model);
        await write();
        const second = store.backup();
        await second.version;
        const later = new Map(model);
        // Both are read while writing goes on.
        const look = async (): Promise<void> => {
          await write();
          held = Math.max(held, store.stats().backupHeldBytes);
        };
        const [one, two] = [await bytesOf(first, look), await bytesOf(second, look)];
        expect(store.stats()).toMatchObject({ backupPinnedBytes: 0, backupHeldBytes: 0 });
        const fixed = random.chance(0.5);
        for (const [bytes, map] of [
          [one, then],
          [two, later],
        ] as const) {
          const back = await restored([bytes], new ImageDevice(fixed ? THIRTY + 65_536 * 40 : 0, !fixed), OFTEN);
          expectSame(back, map);
          await expectSound(back);
          // It is a store like any other.
          back.set("after", "x");
          await back.close();
        }
        await expectSound(store);
        if (random.chance(0.3)) {
          await store.close();
          store = await openTiny(device.reopen(), options, 16, OFTEN);
        }
      }
      expectSame(store, model);
      await store.close();
      expect(held).toBeGreaterThan(0);
    });
  }

  test("versions, expiry and timestamps are those of the original", async () => {
    const store = await openTiny(new ImageDevice(), MANUAL);
    store.set("plain", "1");
    store.set("passing", "2", { expiresAt: Date.now() + 3_600_000 });
    store.set("stamped", "3", { timestamp: 77 });
    store.set("large", "L".repeat(200_000));
    const { bytes, version } = await backupOf(store);
    const back = await restored([bytes]);
    expect(back.recoveredVersion).toBe(version);
    for (const key of ["plain", "passing", "stamped", "large"]) expect(back.getEntry(key)).toEqual(store.getEntry(key));
    back.set("plain", "4");
    expect(back.getEntry("plain")?.version).toBeGreaterThan(version);
    await Promise.all([back.close(), store.close()]);
  });

  test("an empty store", async () => {
    const store = await openTiny(new ImageDevice(), MANUAL);
    const { bytes } = await backupOf(store);
    const back = await restored([bytes]);
    expect(back.count()).toBe(0);
    back.set("a", "1");
    await Promise.all([back.close(), store.close()]);
  });

  test("to a file, of one opened for reading alone", async () => {
    const path = nextPath();
    const target = nextPath();
    const store = await open(path);
    for (let i = 0; i < 2000; i++) store.set(`key ${i}`, `${i}`.repeat(30));
    await store.close();
    const reader = await open(path, { readOnly: true });
    const stream = reader.backup();
    const report = await restore(target, stream);
    expect(report.version).toBe(await stream.version);
    await reader.close();
    const back = await open(target);
    expect(back.count()).toBe(2000);
    expect(back.get("key 1999")).toBe("1999".repeat(30));
    await back.close();
  });

  test("cancelled, aborted and closed ones let go of what they pinned", async () => {
    const store = await openTiny(new ImageDevice(), MANUAL);
    for (let i = 0; i < 40; i++) store.set(`key ${i}`, "v".repeat(20_000));
    const pinned = (): number => store.stats().backupPinnedBytes;
    const cancelled = store.backup().getReader();
    await cancelled.read();
    expect(pinned()).toBeGreaterThan(10 * 65_536);
    await cancelled.cancel();
    expect(pinned()).toBe(0);

    const controller = new AbortController();
    const aborted = store.backup({ signal: controller.signal }).getReader();
    await aborted.read();
    controller.abort(new Error("enough"));
    expect((await failureOf(aborted.read())).message).toBe("enough");
    for (let turns = 0; pinned() > 0 && turns < 1000; turns++) await pause();
    expect(pinned()).toBe(0);
    const before = store.backup({ signal: AbortSignal.abort(new Error("at once")) });
    expect((await failureOf(before.getReader().read())).message).toBe("at once");
    expect((await failureOf(before.version)).message).toBe("at once");
    expect(pinned()).toBe(0);

    const open = store.backup().getReader();
    await open.read();
    await store.close();
    const rest = async (): Promise<void> => {
      while (!(await open.read()).done);
    };
    expect((await failureOf(rest())).code).toBe("CLOSED");
    expect((await failureOf((async () => store.backup())())).code).toBe("CLOSED");
  });

  test("one that its program drops lets go when it is collected, and one that is held can still be aborted", async ({
    skip,
  }) => {
    const collect = (await garbageCollector()) ?? skip("the runtime collects when it likes");
    const store = await openTiny(new ImageDevice(), MANUAL);
    for (let i = 0; i < 40; i++) store.set(`key ${i}`, "v".repeat(20_000));
    const { backups } = (store as unknown as { session: { backups: Set<unknown> } }).session;
    const controller = new AbortController();
    const { signal } = controller;
    // Until they have been counted: the runtime may collect whenever it likes, too.
    const held: unknown[] = [];
    const begin = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const stream = store.backup({ signal });
        held.push(stream);
        await stream.version;
        if (i % 2 === 0) await stream.getReader().read();
      }
    };
    await begin(10);
    expect(backups.size).toBe(10);
    held.length = 0;
    // What a stack or a register still holds may keep the last one.
    for (let i = 0; i < 100 && backups.size > 1; i++) {
      collect();
      await pause(5);
    }
    expect(backups.size).toBeLessThanOrEqual(1);
    const reader = store.backup({ signal }).getReader();
    await reader.read();
    for (let i = 0; i < 5; i++) {
      collect();
      await pause(5);
    }
    controller.abort(new Error("enough"));
    expect((await failureOf(reader.read())).message).toBe("enough");
    for (let turns = 0; backups.size > 0 && turns < 1000; turns++) await pause();
    expect(store.stats().backupPinnedBytes).toBe(0);
    await store.close();
  });

  test("one that is neither read nor cancelled ends with its store", async () => {
    const device = new ImageDevice();
    let store = await openTiny(device, MANUAL);
    for (let i = 0; i < 40; i++) store.set(`key ${i}`, "v".repeat(20_000));
    const left = store.backup();
    await left.version;
    store.clear();
    await store.compact({ full: true });
    expect(store.stats().backupHeldBytes).toBeGreaterThan(10 * 65_536);
    await store.close();
    store = await openTiny(device.reopen(), MANUAL);
    expect(store.stats()).toMatchObject({ backupPinnedBytes: 0, backupHeldBytes: 0 });
    await expectSound(store);
    await store.close();
    // A response in Chromium would give an error of its own.
    const reader = left.getReader();
    const drained = (async () => {
      while (!(await reader.read()).done);
    })();
    expect((await failureOf(drained)).code).toBe("CLOSED");
  });

  test("what a backup pins is neither reused nor cut off, and free afterwards", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...MANUAL, compaction: { auto: false } });
    for (let i = 0; i < 60; i++) store.set(`key ${i}`, "v".repeat(20_000));
    const stream = store.backup();
    await stream.version;
    store.clear();
    await store.compact({ full: true });
    const { backupHeldBytes, segmentUsedCount } = store.stats();
    expect(backupHeldBytes).toBeGreaterThan(15 * 65_536);
    const size = device.size();
    const back = await restored([await bytesOf(stream)]);
    expect(back.count()).toBe(60);
    expect(store.stats().backupHeldBytes).toBe(0);
    await store.compact({ full: true });
    expect(device.size()).toBeLessThan(size - 15 * 65_536);
    expect(store.stats().segmentUsedCount).toBeLessThanOrEqual(segmentUsedCount);
    await expectSound(store);
    await Promise.all([store.close(), back.close()]);
  });

  test("the writer beside a reader may go on over what the reader backs up", async () => {
    const device = new ImageDevice(THIRTY, false);
    const store = await openTiny(device, { ...MANUAL, compaction: { auto: true } });
    const fill = (): void => {
      for (let i = 0; i < 40; i++) store.set(`key ${i}`, `${i}`.padEnd(20_000, "v"));
      store.flushSync();
    };
    fill();
    // The mark of the next group is what a reader goes by.
    store.set("key 0", "again");
    store.flushSync();
    const shared = Object.create(device, { close: { value: () => undefined } }) as ImageDevice;
    const reader = await openTiny(shared, { ...MANUAL, readOnly: true });
    const stream = reader.backup();
    await stream.version;
    for (let round = 0; round < 10; round++) {
      fill();
      await store.compact();
    }
    expect((await failureOf(bytesOf(stream))).code).toBe("SNAPSHOT_EXPIRED");
    await reader.refresh();
    const back = await restored([(await backupOf(reader)).bytes]);
    expect(back.count()).toBe(40);
    await back.close();
    await reader.close();
    await store.close();
  });

  test("a damaged block is not backed up", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, MANUAL);
    for (let i = 0; i < 40; i++) store.set(`key ${i}`, "v".repeat(20_000));
    store.flushSync();
    device.bytes[MIB + 65_536 * 2 + 5 * BLOCK + 1000] = 0xff;
    const error = await failureOf(backupOf(store));
    expect(error.code).toBe("CORRUPT");
    expect(error.message).toContain(`${MIB + 65_536 * 2 + 5 * BLOCK}`);
    expect(store.stats().backupPinnedBytes).toBe(0);
    await store.close();
  });

  test("options are checked", async () => {
    const store = await openTiny(new ImageDevice(), MANUAL);
    const backup = (options: unknown) => failureOf((async () => store.backup(options as object))());
    expect((await backup({ when: 1 })).message).toContain("there is no option when");
    expect((await backup({ since: -1 })).message).toContain("since must be a version");
    expect((await backup({ signal: 1 })).message).toContain("signal must be an AbortSignal");
    await store.close();
  });
});
