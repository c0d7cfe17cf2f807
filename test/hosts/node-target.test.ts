import * as fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import type { TargetOptions } from "../../hosts/target.ts";
import { bytesOf, codeOf, errorOf, openTarget, run, scratchFolder } from "./scratch.ts";

const folder = fs.realpathSync(scratchFolder());
const BLOCK = 4096;
const DEFAULTS: TargetOptions = { create: true, readOnly: false, format: false };

function pathOf(name: string): string {
  return join(folder, name);
}

/** Runs `body` without the rights of root, which no permission stops. */
async function unprivileged<T>(body: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return body();
  fs.chmodSync(folder, 0o755);
  process.seteuid?.(65534);
  try {
    return await body();
  } finally {
    process.seteuid?.(0);
  }
}

describe("a file as target", () => {
  test("is created with its lock, opened again, and keeps what was written", async () => {
    const path = pathOf("created");
    const target = await openTarget(path, DEFAULTS);
    expect(target.created).toBe(true);
    expect(target.device.kind).toBe("file");
    expect(target.device.size()).toBe(0);
    expect(fs.existsSync(`${path}.lock`)).toBe(true);
    target.device.resize?.(4 * BLOCK);
    target.device.write(0, bytesOf(1, BLOCK));
    target.device.sync();
    target.release();
    target.release();
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
    expect(await codeOf(() => target.device.sync())).toBe("CLOSED");

    const again = await openTarget(pathToFileURL(path), { ...DEFAULTS, create: false });
    expect(again.created).toBe(false);
    const content = new Uint8Array(BLOCK);
    again.device.read(0, content);
    expect(content).toEqual(bytesOf(1, BLOCK));
    again.discard();
    expect(fs.statSync(path).size, "discard removes only what the opening created").toBe(4 * BLOCK);
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  test("that was created is gone with discard, and its lock", async () => {
    const path = pathOf("discarded");
    const target = await openTarget(path, DEFAULTS);
    target.discard();
    target.discard();
    expect(fs.existsSync(path)).toBe(false);
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  test("is LOCKED under each of its names while it is open", async () => {
    const path = pathOf("named");
    const target = await openTarget(path, DEFAULTS);
    fs.symlinkSync(path, pathOf("symbolic"));
    fs.linkSync(path, pathOf("hard"));
    fs.mkdirSync(pathOf("sub"));
    for (const name of [path, pathOf("symbolic"), pathOf("hard"), `${folder}/sub/../named`]) {
      const error = await errorOf(() => openTarget(name, DEFAULTS));
      expect(error.code).toBe("LOCKED");
      expect(error.message).toContain(String(process.pid));
    }
    expect(fs.existsSync(`${pathOf("hard")}.lock`)).toBe(false);
    const reader = await openTarget(path, { ...DEFAULTS, readOnly: true });
    expect(await codeOf(() => reader.device.write(0, new Uint8Array(0)))).toBe("READ_ONLY");
    reader.release();
    target.release();
    (await openTarget(pathOf("symbolic"), DEFAULTS)).release();
  });

  test("is opened by exactly one of several openings at once", async () => {
    const path = pathOf("rush");
    const openings = await Promise.allSettled(Array.from({ length: 8 }, () => openTarget(path, DEFAULTS)));
    const winners = openings.filter((opening) => opening.status === "fulfilled");
    expect(winners).toHaveLength(1);
    winners[0]?.value.release();
  });

  test("that is readOnly is not locked, written or created", async () => {
    const path = pathOf("read-only");
    expect(await codeOf(() => openTarget(path, { ...DEFAULTS, readOnly: true }))).toBe("NOT_A_STORE");
    fs.writeFileSync(path, bytesOf(3, BLOCK + 5), { mode: 0o444 });
    const before = fs.statSync(path);
    const target = await unprivileged(() => openTarget(path, { ...DEFAULTS, readOnly: true }));
    expect(target.device.size()).toBe(BLOCK);
    target.device.read(0, new Uint8Array(BLOCK));
    target.release();
    const after = fs.statSync(path);
    expect([after.size, after.mtimeMs]).toEqual([before.size, before.mtimeMs]);
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  test("that is missing is NOT_A_STORE when create is false", async () => {
    const error = await errorOf(() => openTarget(pathOf("missing"), { ...DEFAULTS, create: false }));
    expect(error.code).toBe("NOT_A_STORE");
    expect(error.message).toMatch(/missing does not exist.*create is false/);
    expect(fs.existsSync(pathOf("missing"))).toBe(false);
  });
});

describe("what cannot be a target", () => {
  const refused = async (target: string | URL, pattern: RegExp): Promise<void> => {
    const before = fs.readdirSync(folder);
    const error = await errorOf(() => openTarget(target, DEFAULTS));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.operation).toBe("open");
    expect(error.message).toMatch(pattern);
    expect(fs.readdirSync(folder)).toEqual(before);
  };

  test("a directory", () => refused(folder, /cairn-hosts-\w+ is a directory/));
  test("a folder that is missing", () => refused(pathOf("nowhere/store"), /folder of the target .* does not exist/));
  test("a path through a file", async () => {
    fs.writeFileSync(pathOf("plain"), "");
    await refused(pathOf("plain/store"), /cannot name a file/);
  });
  test("a symbolic link to nothing", async () => {
    fs.symlinkSync(pathOf("nothing"), pathOf("dangling"));
    await refused(pathOf("dangling"), /symbolic link to nothing/);
  });
  test("an empty path, one with NUL, one too long, and a URL of another kind", async () => {
    await refused("", /is not empty/);
    await refused("a\0b", /no NUL/);
    await refused(pathOf("x".repeat(300)), /cannot name a file/);
    await refused(new URL("https://example.org/store"), /no file: URL/);
    await refused(7 as unknown as string, /must be a path/);
  });
  test.skipIf(process.platform === "win32")("a character device, a named pipe", async () => {
    await refused("/dev/null", /character device/);
    expect(run("mkfifo", [pathOf("pipe")])).toHaveProperty("output");
    await refused(pathOf("pipe"), /named pipe/);
  });
});

describe.skipIf(process.platform === "win32")("without permission", () => {
  test("a file that may not be written is DEVICE_WRITE, and no lock stays", async () => {
    const path = pathOf("not-writable");
    fs.writeFileSync(path, bytesOf(1, BLOCK));
    fs.chmodSync(path, 0o444);
    const open = join(folder, "open-folder");
    fs.mkdirSync(open);
    fs.chmodSync(open, 0o777);
    fs.renameSync(path, join(open, "not-writable"));
    const error = await unprivileged(() => errorOf(() => openTarget(join(open, "not-writable"), DEFAULTS)));
    expect(error.code).toBe("DEVICE_WRITE");
    expect(error.message).toMatch(/no permission to write it/);
    expect((error.cause as NodeJS.ErrnoException).code).toBe("EACCES");
    expect(fs.readdirSync(open)).toEqual(["not-writable"]);
  });

  test("a folder that may not be written is DEVICE_WRITE", async () => {
    const closed = join(folder, "closed-folder");
    fs.mkdirSync(closed);
    fs.chmodSync(closed, 0o555);
    const error = await unprivileged(() => errorOf(() => openTarget(join(closed, "store"), DEFAULTS)));
    expect(error.code).toBe("DEVICE_WRITE");
    expect(error.message).toMatch(/lock file .* cannot be made/);
    expect(fs.readdirSync(closed)).toEqual([]);
  });

  test("a file that may not be read is DEVICE_READ for a reader", async () => {
    const path = pathOf("not-readable");
    fs.writeFileSync(path, bytesOf(1, BLOCK));
    fs.chmodSync(path, 0o000);
    const options = { ...DEFAULTS, readOnly: true };
    const error = await unprivileged(() => errorOf(() => openTarget(path, options)));
    expect(error.code).toBe("DEVICE_READ");
    expect(error.message).toMatch(/no permission to read it/);
  });
});
