/** A real full disk: a small tmpfs of our own. */

import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { acquireLock } from "../../hosts/lock.ts";
import type { TargetOptions } from "../../hosts/target.ts";
import { commandOf, programFile, RUNTIME } from "../runtime.ts";
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

  test("is opened under a lock without content, which holds, and says what it should once there is room", async () => {
    const path = join(mounted, "locked");
    fs.writeFileSync(path, bytesOf(1, BLOCK));
    const filler = fillBut(0);
    const timings = { heartbeatMs: 100, staleMs: 500 };
    const lock = await acquireLock(path, timings);
    lock.identify("test");
    expect(fs.statSync(`${path}.lock`).size).toBe(0);
    const content = (): string => fs.readFileSync(`${path}.lock`, "utf8");
    // This thread knows at once that it holds it, another process with its heartbeat.
    expect((await errorOf(() => acquireLock(path, timings))).message).toContain("open in this process");
    const body = `
      import { acquireLock } from ${JSON.stringify(new URL("../../build/hosts/lock.js", import.meta.url).href)};
      const error = await acquireLock(target, ${JSON.stringify(timings)}).catch((error) => error);
      say([error.code, error.message.includes("no room to say which")]);
    `;
    const other = await new Promise<string>((resolve, reject) => {
      const { command, args } = commandOf(RUNTIME) ?? { command: "", args: [] };
      execFile(command, [...args, programFile(body), path], (error, out) => (error ? reject(error) : resolve(out)));
    });
    expect(JSON.parse(other)).toEqual(["LOCKED", true]);
    fs.unlinkSync(filler);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(JSON.parse(content())).toMatchObject({ cairnLock: 1, pid: process.pid });
    lock.release();
    expect(fs.readdirSync(mounted)).toEqual(["locked"]);
    const refilled = fillBut(0);
    const again = await acquireLock(path, timings);
    expect(content()).toBe("");
    again.release();
    expect(fs.readdirSync(mounted).sort()).toEqual(["filler", "locked"]);
    fs.unlinkSync(refilled);
    fs.unlinkSync(path);
  });
});
