/** A raw block device: a loop device of our own over an image in a scratch folder. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openBlockDevice, RawBlockDevice } from "../../hosts/block-device.ts";
import type { TargetOptions } from "../../hosts/target.ts";
import type { DevicePiece } from "../../store/device.ts";
import { Machine, MIB, refusalOf } from "../faults/machine.ts";
import { bytesOf, codeOf, errorOf, openTarget, pageAligned, privilegeMissing, run, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const image = join(folder, "image");
const BLOCK = 4096;
const SIZE = 8 * 1024 * 1024;
const OPTIONS: TargetOptions = { create: true, readOnly: false, format: false };

let loop = "";
let missing = privilegeMissing();

beforeAll(() => {
  if (missing !== undefined) return;
  fs.writeFileSync(image, "");
  fs.truncateSync(image, SIZE + 512);
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

/** Milliseconds in which a sync that is under way beside this thread ends. */
const SYNC_MS = 1500;

/** Calls `run` with a device that cannot write what it takes: its image lies on a file system that is too small. */
async function withFailing(run: (device: RawBlockDevice) => Promise<void>): Promise<string | undefined> {
  const machine = new Machine();
  try {
    let failing = "";
    const refusal = refusalOf(() => {
      failing = machine.loop(32 * MIB, machine.newMount("tmpfs", 4 * MIB).point).loop;
    });
    if (refusal !== undefined) return refusal;
    const device = openBlockDevice(failing, { readOnly: false, exclusive: false });
    try {
      await run(device);
    } finally {
      device.close();
    }
    return undefined;
  } finally {
    machine.end();
  }
}

describe("a sync that has failed, of which nobody was told yet,", () => {
  const BEGUN: [string, (device: RawBlockDevice) => Promise<void>][] = [
    ["syncAsync", (device) => device.syncAsync()],
    // Pieces that lie apart go to the device in two trips.
    ["commitAsync", (device) => device.commitAsync([0, 2].map((at) => piece(at * BLOCK)))],
  ];
  const ASKED: [string, (device: RawBlockDevice) => Promise<void>][] = [
    ["sync", async (device) => device.sync()],
    ["syncAsync", (device) => device.syncAsync()],
    ["commitAsync", (device) => device.commitAsync([5, 7].map((at) => piece(at * BLOCK)))],
  ];
  const piece = (offset: number): DevicePiece => ({ offset, source: bytesOf(1, BLOCK) });

  for (const [begun, begin] of BEGUN) {
    for (const [asked, ask] of ASKED) {
      test(`fails the next one, too: ${begun}, then ${asked}`, async ({ skip }) => {
        const refusal = await withFailing(async (device) => {
          for (let at = 0; at < 16; at++) device.write(at * MIB + MIB, bytesOf(at, MIB));
          const first = codeOf(() => begin(device));
          if (asked === "sync") {
            // The event loop does not turn: what the kernel says waits to be heard.
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SYNC_MS);
          }
          expect(await codeOf(() => ask(device))).toBe("DEVICE_WRITE");
          expect(await first).toBe("DEVICE_WRITE");
        });
        if (refusal !== undefined) skip(refusal);
      });
    }
  }
});

describe("a block device", () => {
  test("knows its size, rounded down to a block, and does not grow", async () => {
    const target = await openTarget(loop, OPTIONS);
    expect(target.device).toBeInstanceOf(RawBlockDevice);
    expect(target.device.kind).toBe("block");
    expect(target.device.growable).toBe(false);
    expect(target.device.resize).toBeUndefined();
    expect(target.device.size()).toBe(SIZE);
    expect(target.created).toBe(false);
    target.release();
  });

  test("writes, syncs and reads back, in one trip and in two", async () => {
    const target = await openTarget(loop, OPTIONS);
    const { device } = target;
    device.write(0, bytesOf(1, BLOCK));
    device.sync();
    await device.commitAsync?.([{ offset: BLOCK, source: bytesOf(2, 2 * BLOCK) }]);
    await device.commitAsync?.([
      { offset: 8 * BLOCK, source: bytesOf(3, BLOCK) },
      { offset: SIZE - BLOCK, source: bytesOf(4, BLOCK) },
    ]);
    target.release();
    const content = fs.readFileSync(image);
    expect(new Uint8Array(content.subarray(0, BLOCK))).toEqual(bytesOf(1, BLOCK));
    expect(new Uint8Array(content.subarray(BLOCK, 3 * BLOCK))).toEqual(bytesOf(2, 2 * BLOCK));
    expect(new Uint8Array(content.subarray(8 * BLOCK, 9 * BLOCK))).toEqual(bytesOf(3, BLOCK));
    expect(new Uint8Array(content.subarray(SIZE - BLOCK, SIZE))).toEqual(bytesOf(4, BLOCK));
    expect(content.subarray(9 * BLOCK, SIZE - BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  test("takes writes past the cache, which its reads see", async () => {
    const target = await openTarget(loop, OPTIONS);
    const { device } = target;
    const sources = [11, 12, 13, 14].map((seed) => pageAligned(bytesOf(seed, 2 * BLOCK)));
    const [first, second, third, fourth] = sources as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const content = new Uint8Array(64 * BLOCK);
    device.read(0, content);
    device.writeUncached?.(20 * BLOCK, first);
    await device.writeAsync([{ offset: 24 * BLOCK, source: second, uncached: true }]);
    device.sync();
    await device.commitAsync?.([{ offset: 28 * BLOCK, source: third, uncached: true }]);
    await device.commitAsync?.([
      { offset: 32 * BLOCK, source: fourth, uncached: true },
      { offset: 36 * BLOCK, source: first },
    ]);
    device.read(0, content);
    const expected = [first, second, third, fourth, first];
    for (const [index, bytes] of expected.entries()) {
      const offset = (20 + 4 * index) * BLOCK;
      expect(content.subarray(offset, offset + 2 * BLOCK), `piece ${index}`).toEqual(bytes);
    }
    target.release();
    expect((await openTarget(loop, OPTIONS)).release(), "every descriptor is closed").toBeUndefined();
  });

  test("takes writes through the page cache beside ones past it, in what was read ahead, and syncs them", async () => {
    const target = await openTarget(loop, OPTIONS);
    const { device } = target;
    const whole = new Uint8Array(64 * BLOCK);
    const memory = pageAligned(new Uint8Array(8 * BLOCK));
    for (let round = 0; round < 300; round++) {
      // Neighbours lie in one folio of the cache then.
      device.read(SIZE / 2, whole);
      memory.fill(round);
      const pieceAt = (block: number, uncached: boolean): DevicePiece => ({
        offset: SIZE / 2 + block * BLOCK,
        source: memory.subarray((block % 8) * BLOCK, ((block % 8) + 1) * BLOCK),
        uncached,
      });
      const all = Array.from({ length: 24 }, (_, i) => pieceAt(i, i % 2 === 0));
      await Promise.all([device.writeAsync(all.slice(0, 12)), device.writeAsync(all.slice(12))]);
      await device.syncAsync();
    }
    device.read(SIZE / 2, whole);
    expect(whole.subarray(0, 24 * BLOCK).every((byte) => byte === 299 % 256)).toBe(true);
    target.release();
  });

  test("is LOCKED for a second opener, open to a reader, and leaves no lock file", async () => {
    const target = await openTarget(loop, OPTIONS);
    const error = await errorOf(() => openTarget(loop, OPTIONS));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(loop);
    const reader = await openTarget(loop, { ...OPTIONS, readOnly: true });
    reader.device.read(0, new Uint8Array(BLOCK));
    expect(await codeOf(() => reader.device.write(0, bytesOf(1, BLOCK)))).toBe("READ_ONLY");
    reader.release();
    target.discard();
    expect(fs.existsSync(`${loop}.lock`)).toBe(false);
    expect(fs.existsSync(loop)).toBe(true);
    (await openTarget(loop, OPTIONS)).release();
  });

  test("that is mounted is LOCKED, also for a runtime that cannot open exclusively", async ({ skip }) => {
    const made = run("mkfs.ext4", ["-q", "-F", loop]);
    if ("failure" in made) skip(`needs mkfs.ext4 (${made.failure})`);
    const point = join(folder, "mounted");
    fs.mkdirSync(point);
    const mounted = run("mount", [loop, point]);
    if ("failure" in mounted) skip(mounted.failure);
    try {
      expect(await codeOf(() => openTarget(loop, OPTIONS))).toBe("LOCKED");
      expect(await codeOf(() => openBlockDevice(loop, { readOnly: false, exclusive: false }))).toBe("LOCKED");
    } finally {
      run("umount", [point]);
    }
    openBlockDevice(loop, { readOnly: false, exclusive: false }).close();
  });

  test("is DEVICE_SHRUNK, for reads and writes, when it was made smaller beneath its opener", async () => {
    const target = await openTarget(loop, OPTIONS);
    fs.truncateSync(image, SIZE / 2);
    expect(run("losetup", ["-c", loop])).toHaveProperty("output");
    expect(target.device.read(0, new Uint8Array(BLOCK))).toBe(BLOCK);
    expect(await codeOf(() => target.device.read(SIZE / 2, new Uint8Array(BLOCK)))).toBe("DEVICE_SHRUNK");
    expect(await codeOf(() => target.device.write(SIZE / 2, bytesOf(1, BLOCK)))).toBe("DEVICE_SHRUNK");
    target.release();
  });
});
