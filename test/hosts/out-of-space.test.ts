/** A real full disk: a small tmpfs of our own. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { TargetOptions } from "../../hosts/target.ts";
import { bytesOf, errorOf, openTarget, privilegeMissing, run, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const BLOCK = 4096;
const SIZE = 512 * 1024;
const OPTIONS: TargetOptions = { create: true, readOnly: false, format: false };

let mounted = "";
let missing = privilegeMissing();

beforeAll(() => {
  if (missing !== undefined) return;
  const mountPoint = join(folder, "disk");
  fs.mkdirSync(mountPoint);
  const mount = run("mount", ["-t", "tmpfs", "-o", `size=${SIZE}`, "none", mountPoint]);
  if ("failure" in mount) missing = `needs to mount (${mount.failure})`;
  else mounted = mountPoint;
});

afterAll(() => {
  if (mounted !== "") run("umount", [mounted]);
});

beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});

/** Writes a file that leaves `size` bytes of the disk free. */
function fillBut(size: number): string {
  const filler = join(mounted, "filler");
  const { bavail, bsize } = fs.statfsSync(mounted);
  fs.writeFileSync(filler, new Uint8Array(bavail * bsize - size));
  return filler;
}

describe("a growing file on a full disk", () => {
  test("is NO_SPACE in every kind of write, and goes on once there is space", async () => {
    const target = await openTarget(join(mounted, "store"), OPTIONS);
    const { device } = target;
    device.resize?.(128 * BLOCK);
    device.write(0, bytesOf(1, 32 * BLOCK));
    device.sync();
    const filler = fillBut(0);
    const source = bytesOf(2, 2 * BLOCK);
    const pieces = [{ offset: 64 * BLOCK, source }];
    const writes = [
      () => device.write(64 * BLOCK, source),
      () => device.writeAsync(pieces),
      () => device.commitAsync?.(pieces),
    ];
    for (const write of writes) {
      const error = await errorOf(write);
      expect(error.code).toBe("NO_SPACE");
      expect((error.cause as NodeJS.ErrnoException).code).toBe("ENOSPC");
    }
    const content = new Uint8Array(32 * BLOCK);
    device.read(0, content);
    expect(content).toEqual(bytesOf(1, 32 * BLOCK));
    await device.commitAsync?.([{ offset: 0, source }]);
    fs.unlinkSync(filler);
    await device.commitAsync?.(pieces);
    const read = new Uint8Array(2 * BLOCK);
    device.read(64 * BLOCK, read);
    expect(read).toEqual(source);
    target.release();
    fs.unlinkSync(join(mounted, "store"));
  });

  test("takes the last free block, though its window cannot be filled", async () => {
    const target = await openTarget(join(mounted, "last"), OPTIONS);
    const { device } = target;
    device.resize?.(64 * BLOCK);
    const filler = fillBut(BLOCK);
    await device.commitAsync?.([{ offset: 0, source: bytesOf(1, BLOCK) }]);
    expect((await errorOf(() => device.write(16 * BLOCK, bytesOf(2, BLOCK)))).code).toBe("NO_SPACE");
    target.release();
    fs.unlinkSync(filler);
    fs.unlinkSync(join(mounted, "last"));
  });

  test("cannot be opened for writing without room for its lock, and nothing stays", async () => {
    const filler = fillBut(0);
    const error = await errorOf(() => openTarget(join(mounted, "new"), OPTIONS));
    expect(error.code).toBe("NO_SPACE");
    expect(fs.readdirSync(mounted)).toEqual(["filler"]);
    fs.unlinkSync(filler);
  });
});
