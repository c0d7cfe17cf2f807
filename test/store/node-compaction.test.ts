/** Compaction over a real file: while the event loop turns, none of its steps reads, writes or syncs synchronously. */
import { expect, test } from "vitest";
import { openTarget } from "../../hosts/node-target.ts";
import type { BlockDevice, DevicePiece, DeviceTarget } from "../../store/device.ts";
import { openTiny, pause, scratchPaths } from "./harness.ts";

const SEGMENTS_OFFSET = 1_048_576;
/** After so long without a turn of the event loop, compaction does not wait for what lands in one. */
const TURNLESS_MS = 20;
const path = scratchPaths();

/** Passes every call on to a device, and counts those that block. */
class CountingDevice implements BlockDevice {
  /** Writes to segments, and reads of more than a block; and syncs. */
  blocking = 0;
  syncs = 0;
  asynchronous = 0;
  private readonly device: BlockDevice;

  constructor(device: BlockDevice) {
    this.device = device;
  }

  get growable(): boolean {
    return this.device.growable ?? false;
  }

  size(): number {
    return this.device.size();
  }

  read(offset: number, target: Uint8Array): number {
    if (target.length > 4096) this.blocking++;
    return this.device.read(offset, target);
  }

  async readAsync(pieces: readonly DeviceTarget[]): Promise<void> {
    this.asynchronous++;
    await this.device.readAsync?.(pieces);
  }

  write(offset: number, source: Uint8Array): number {
    if (offset >= SEGMENTS_OFFSET) this.blocking++;
    return this.device.write(offset, source);
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    this.asynchronous++;
    await this.device.writeAsync(pieces);
  }

  sync(): void {
    this.syncs++;
    this.device.sync();
  }

  syncAsync(): Promise<void> {
    return this.device.syncAsync();
  }

  resize(size: number): void {
    this.device.resize?.(size);
  }

  close(): void {
    this.device.close();
  }
}

test("leaves reads, writes and syncs to the host while the event loop turns", async () => {
  const opened = await openTarget(path(), { create: true, readOnly: false, format: false });
  const device = new CountingDevice(opened.device);
  // The interval would flush synchronously where the device takes longer than that for a group.
  // A checkpoint writes its own blocks in its steps.
  const settings = { cacheBytes: 1_048_576, flushIntervalMs: 60_000 };
  const store = await openTiny(device, settings, 256, { auto: false });
  const count = 16_000;
  const value = (round: number, i: number): string => `${round},${i}`.padEnd(1000, "v");
  // Filled first: growing the file, which syncs, has then come to its end.
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < count; i++) {
      store.set(`key ${(i * 7919) % count}`, value(round, (i * 7919) % count));
      if (i % 100 === 0) await pause();
    }
  }
  const { segmentCount, relocatedBytes, freedSegmentCount } = store.stats();
  const before = { asynchronous: device.asynchronous, syncs: device.syncs };
  // What blocked in stretches between two turns that a busy machine did not draw out.
  let blocking = 0;
  let stretches = 0;
  let turned = { ms: performance.now(), blocking: device.blocking };
  for (let i = 0; i < count * 2; i++) {
    const key = (i * 104_729 + Math.floor(i / 7)) % count;
    store.set(`key ${key}`, value(3, key));
    if (i % 50 !== 0) continue;
    if (performance.now() - turned.ms < TURNLESS_MS) {
      stretches++;
      blocking += device.blocking - turned.blocking;
    }
    await pause();
    turned = { ms: performance.now(), blocking: device.blocking };
  }
  const stats = store.stats();
  expect(stats.relocatedBytes - relocatedBytes).toBeGreaterThan(1_048_576);
  expect(stats.freedSegmentCount - freedSegmentCount).toBeGreaterThan(10);
  expect(device.asynchronous - before.asynchronous).toBeGreaterThan(100);
  expect(blocking).toBe(0);
  // A file that still grew has synced its superblock: three times for each time.
  if (stats.segmentCount === segmentCount) expect(device.syncs - before.syncs).toBe(0);
  expect(stretches).toBeGreaterThan(count / 100);
  await store.compact({ full: true });
  expect(store.count()).toBe(count);
  for (let i = 0; i < count; i++) expect(store.get(`key ${i}`)?.endsWith("v")).toBe(true);
  await store.close();
  opened.release();
});
