/** Writes past the page cache: that they are, that reads see them, and every way in which the system refuses them. */
import * as fs from "node:fs";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FileDevice } from "../../hosts/file-device.ts";
import type { DevicePiece } from "../../store/device.ts";
import {
  bytesOf,
  codeOf,
  directMissing,
  errorOf,
  openBelow,
  pageAligned,
  privilegeMissing,
  run,
  scratchFolder,
} from "./scratch.ts";

vi.mock("node:fs", async (importOriginal) => {
  const actual = await importOriginal<typeof fs>();
  const mocked = { openSync: vi.fn(actual.openSync), writeSync: vi.fn(actual.writeSync), write: vi.fn(actual.write) };
  return { ...actual, ...mocked, fdatasync: vi.fn(actual.fdatasync) };
});
const actual = await vi.importActual<typeof fs>("node:fs");

type WriteCallback = (cause: NodeJS.ErrnoException | null, count: number) => void;
type WriteArguments = [number, Uint8Array, number, number, number, WriteCallback];

const openSync = vi.mocked(fs.openSync);
const writeSync = vi.mocked(fs.writeSync as (...args: unknown[]) => number);
const write = vi.mocked(fs.write as unknown as (...args: WriteArguments) => void);
const fdatasync = vi.mocked(fs.fdatasync);
const actualWriteSync = actual.writeSync as (...args: unknown[]) => number;
const actualWrite = actual.write as unknown as (...args: WriteArguments) => void;

const folder = scratchFolder();
const missing = directMissing(folder);
const BLOCK = 4096;
const MIB = 1024 * 1024;
const { O_DIRECT, O_DSYNC } = fs.constants;
/** The flags of every descriptor that was opened. */
const flagsOf = new Map<number, number>();
let fileCount = 0;

function openNoting(...args: Parameters<typeof fs.openSync>): number {
  const descriptor = actual.openSync(...args);
  flagsOf.set(descriptor, typeof args[1] === "number" ? args[1] : 0);
  return descriptor;
}

function openDevice(blockCount: number, name = join(folder, `file-${fileCount++}`)): FileDevice {
  const device = new FileDevice(name, fs.openSync(name, "wx+"), { readOnly: false });
  device.resize(blockCount * BLOCK);
  device.sync();
  vi.clearAllMocks();
  return device;
}

function blocks(seed: number, count: number): Uint8Array {
  return pageAligned(bytesOf(seed, count * BLOCK));
}

function uncachedPiece(index: number, source: Uint8Array): DevicePiece {
  return { offset: index * BLOCK, source, uncached: true };
}

function readBack(device: FileDevice, index: number, count: number): Uint8Array {
  const target = new Uint8Array(count * BLOCK);
  expect(device.read(index * BLOCK, target)).toBe(target.length);
  return target;
}

/** How every write since the last clearing went, with its place and size in blocks. */
function ways(): string[] {
  const calls = [...writeSync.mock.calls, ...write.mock.calls] as [number, Uint8Array, number, number, number][];
  return calls.map(([descriptor, , , length, position]) => {
    const flags = flagsOf.get(descriptor) ?? 0;
    const way = (flags & O_DIRECT) !== 0 ? "direct" : "cached";
    return `${way}${(flags & O_DSYNC) === O_DSYNC ? " durable" : ""} ${position / BLOCK}+${length / BLOCK}`;
  });
}

function openCount(): number {
  return openSync.mock.calls.filter(([, flags]) => typeof flags === "number" && (flags & O_DIRECT) !== 0).length;
}

function isDirect(descriptor: unknown): boolean {
  return ((flagsOf.get(descriptor as number) ?? 0) & O_DIRECT) !== 0;
}

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: planted`), { code });
}

/** Direct writes fail with `code` from now on. */
function failDirect(code: string): void {
  writeSync.mockImplementation((...args) => {
    if (isDirect(args[0])) throw failure(code);
    return actualWriteSync(...args);
  });
  write.mockImplementation((...args) => {
    if (isDirect(args[0])) setImmediate(args[5], failure(code), 0);
    else actualWrite(...args);
  });
}

beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
  openSync.mockImplementation(openNoting);
});

afterEach(() => {
  writeSync.mockReset().mockImplementation(actualWriteSync);
  write.mockReset().mockImplementation(actualWrite);
  fdatasync.mockReset().mockImplementation(actual.fdatasync);
});

describe("an uncached write", () => {
  test("bypasses the cache in every kind of write, and a sync covers it", async () => {
    const device = openDevice(1024);
    expect(device.writeUncached(0, blocks(1, 256))).toBe(MIB);
    await device.writeAsync([uncachedPiece(256, blocks(2, 32)), { offset: 300 * BLOCK, source: blocks(3, 32) }]);
    // What goes through the cache is written first: both are never in flight together.
    expect(ways()).toEqual(["direct 0+256", "cached 300+32", "direct 256+32"]);
    vi.clearAllMocks();
    await device.commitAsync([uncachedPiece(4, blocks(4, 1))]);
    expect(fdatasync, "the writes before it are unsynced").toHaveBeenCalledTimes(1);
    await device.commitAsync([uncachedPiece(5, blocks(5, 1))]);
    expect(fdatasync).toHaveBeenCalledTimes(1);
    await device.commitAsync([{ offset: 6 * BLOCK, source: blocks(6, 1) }]);
    expect(ways()).toEqual(["direct 4+1", "direct durable 5+1", "cached durable 6+1"]);
    device.close();
    const content = new Uint8Array(fs.readFileSync(device.path));
    const at = (index: number, count: number): Uint8Array => content.slice(index * BLOCK, (index + count) * BLOCK);
    expect(at(0, 4)).toEqual(bytesOf(1, MIB).slice(0, 4 * BLOCK));
    expect([4, 5, 6].map((index) => at(index, 1))).toEqual([4, 5, 6].map((seed) => bytesOf(seed, BLOCK)));
    expect(at(256, 32)).toEqual(bytesOf(2, 32 * BLOCK));
    expect(at(300, 32)).toEqual(bytesOf(3, 32 * BLOCK));
  });

  test("is seen by reads, also of pages that were in the cache, clean or dirty", async () => {
    const device = openDevice(2048);
    const model = bytesOf(1, 2048 * BLOCK);
    device.write(0, model);
    device.sync();
    for (let index = 0; index < 2048; index += 64) readBack(device, index, 64);
    for (let round = 0; round < 40; round += 1) {
      const index = (round * 397) % 2000;
      const source = blocks(100 + round, 1 + (round % 40));
      model.set(source, index * BLOCK);
      const under = { offset: index * BLOCK, source: pageAligned(bytesOf(round, source.length)) };
      // Every third finds dirty pages: the older bytes must not come after its own.
      if (round % 3 === 0) device.write(under.offset, under.source);
      else readBack(device, index, 48);
      if (round % 2 === 0) device.writeUncached(under.offset, source);
      else await device.commitAsync([uncachedPiece(index, source)]);
      expect(Buffer.compare(readBack(device, index, source.length / BLOCK), source)).toBe(0);
      if (round % 10 === 9) device.sync();
      expect(Buffer.compare(readBack(device, 0, 2048), model)).toBe(0);
    }
    expect(ways().filter((way) => way.startsWith("direct")).length).toBe(40);
    device.close();
    expect(Buffer.compare(fs.readFileSync(device.path), model)).toBe(0);
  });

  test("has its window filled past the cache too, and so no page to write back", async () => {
    const device = openDevice(64);
    await device.commitAsync([uncachedPiece(17, blocks(1, 1))]);
    expect(ways()).toEqual(["direct 18+14", "direct 17+1"]);
    vi.clearAllMocks();
    for (let index = 18; index < 32; index += 1) await device.commitAsync([uncachedPiece(index, blocks(index, 1))]);
    expect(ways()).toEqual(Array.from({ length: 14 }, (_, index) => `direct durable ${18 + index}+1`));
    expect(fdatasync).not.toHaveBeenCalled();
    device.writeUncached(32 * BLOCK, blocks(32, 1));
    expect(ways()).toContain("direct 33+15");
    await device.commitAsync([{ offset: 48 * BLOCK, source: blocks(48, 1) }]);
    expect(ways()).toContain("cached 49+15");
    device.close();
    const content = new Uint8Array(fs.readFileSync(device.path));
    for (let index = 18; index < 32; index += 1) {
      expect(content.slice(index * BLOCK, (index + 1) * BLOCK)).toEqual(bytesOf(index, BLOCK));
    }
    expect(content.subarray(33 * BLOCK, 48 * BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  test("goes the way of what is in flight: the two ways are never in flight together", async () => {
    for (const isFirstDirect of [true, false]) {
      const device = openDevice(64);
      const piece = (index: number, uncached: boolean): DevicePiece => ({
        ...uncachedPiece(index, blocks(1, 1)),
        uncached,
      });
      let release = (): void => {};
      write.mockImplementationOnce((...args) => {
        release = () => actualWrite(...args);
      });
      const first = device.writeAsync([piece(0, isFirstDirect)]);
      const others = Promise.all([
        device.writeAsync([piece(2, !isFirstDirect)]),
        device.commitAsync([piece(4, !isFirstDirect)]),
      ]);
      device.write(6 * BLOCK, blocks(1, 1));
      device.writeUncached(8 * BLOCK, blocks(1, 1));
      await others;
      const way = isFirstDirect ? "direct" : "cached";
      expect(ways().filter((one) => !one.startsWith(way))).toEqual([]);
      expect(ways().length).toBeGreaterThanOrEqual(5);
      release();
      await first;
      vi.clearAllMocks();
      await device.writeAsync([piece(10, !isFirstDirect)]);
      expect(
        ways().filter((one) => one.startsWith(way)),
        "and its own when that has landed",
      ).toEqual([]);
      await device.syncAsync();
      device.close();
    }
  });

  test("opens no descriptor before it is needed, and closes those that it opened", async () => {
    const device = openDevice(64);
    await device.commitAsync([{ offset: 0, source: blocks(1, 1) }]);
    expect(openCount()).toBe(0);
    const openDescriptors = (): number =>
      openBelow(folder).filter((file) => file.endsWith(basename(device.path))).length;
    // Its own, one for commits in one trip, and two for syncs.
    expect(openDescriptors()).toBe(4);
    await device.commitAsync([uncachedPiece(1, blocks(1, 1))]);
    device.writeUncached(2 * BLOCK, blocks(2, 1));
    device.writeUncached(3 * BLOCK, blocks(2, 1));
    expect(openCount()).toBe(2);
    expect(openDescriptors()).toBe(6);
    device.close();
    expect(openDescriptors()).toBe(0);
    expect(await codeOf(() => device.writeUncached(0, blocks(1, 1)))).toBe("CLOSED");
  });

  test("keeps the bounds of a write", async () => {
    const device = openDevice(4);
    expect(await codeOf(() => device.writeUncached(4 * BLOCK, blocks(1, 1)))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => device.writeUncached(100, blocks(1, 1)))).toBe("INVALID_ARGUMENT");
    expect(ways()).toEqual([]);
    device.close();
    const readOnly = new FileDevice(device.path, fs.openSync(device.path, "r"), { readOnly: true });
    expect(await codeOf(() => readOnly.writeUncached(0, blocks(1, 1)))).toBe("READ_ONLY");
    readOnly.close();
  });

  test("goes through the cache from memory that is not aligned", async () => {
    const device = openDevice(64);
    const bytes = pageAligned(new Uint8Array(4 * BLOCK));
    const source = bytes.subarray(16, 16 + BLOCK);
    source.set(bytesOf(1, BLOCK));
    device.writeUncached(0, source);
    await device.commitAsync([uncachedPiece(1, source)]);
    expect(ways().filter((way) => way.endsWith("+1"))).toEqual(["cached 0+1", "cached 1+1"]);
    // A buffer of JavaScript starts anywhere. Whether that will do is for the kernel to say.
    const plain = bytesOf(2, 3 * BLOCK);
    device.writeUncached(2 * BLOCK, plain);
    await device.commitAsync([uncachedPiece(5, plain)]);
    await device.commitAsync([uncachedPiece(8, plain)]);
    expect(readBack(device, 0, 1)).toEqual(source);
    expect(readBack(device, 1, 1)).toEqual(source);
    for (const index of [2, 5, 8]) expect(readBack(device, index, 3)).toEqual(plain);
    vi.clearAllMocks();
    device.writeUncached(0, blocks(3, 1));
    expect(ways(), "aligned memory is not made to suffer for it").toEqual(["direct 0+1"]);
    device.close();
  });
});

describe("where direct writes are refused", () => {
  test.each(["EINVAL", "ENOTSUP"])("at opening (%s), they are not tried again", async (code) => {
    openSync.mockImplementation((...args) => {
      if (typeof args[1] === "number" && (args[1] & O_DIRECT) !== 0) throw failure(code);
      return openNoting(...args);
    });
    const device = openDevice(64);
    for (let index = 0; index < 8; index += 1) {
      device.writeUncached(index * BLOCK, blocks(index, 1));
      await device.commitAsync([uncachedPiece(8 + index, blocks(index, 1))]);
      await device.commitAsync([uncachedPiece(16 + index, blocks(index, 1))]);
      expect(readBack(device, index, 1)).toEqual(bytesOf(index, BLOCK));
      expect(readBack(device, 16 + index, 1)).toEqual(bytesOf(index, BLOCK));
    }
    expect(openCount()).toBe(2);
    expect(ways().some((way) => way.startsWith("direct"))).toBe(false);
    device.close();
  });

  test.each(["EINVAL", "ENOTSUP", "EOPNOTSUPP"])("at the write (%s), the bytes go through the cache", async (code) => {
    const kinds: ((device: FileDevice, index: number) => unknown)[] = [
      (device, index) => device.writeUncached(index * BLOCK, blocks(index, 1)),
      (device, index) => device.writeAsync([uncachedPiece(index, blocks(index, 1))]),
      (device, index) => device.commitAsync([uncachedPiece(index, blocks(index, 1))]),
    ];
    for (const kind of kinds) {
      const device = openDevice(64);
      await device.commitAsync([{ offset: 0, source: blocks(1, 1) }]);
      failDirect(code);
      await kind(device, 1);
      expect(ways().filter((way) => way.startsWith("direct")).length).toBe(1);
      vi.clearAllMocks();
      await kind(device, 2);
      await device.commitAsync([uncachedPiece(20, blocks(20, 1))]);
      expect(ways().some((way) => /^direct.* (2|20)\+1$/.test(way))).toBe(false);
      for (const index of [1, 2, 20]) expect(readBack(device, index, 1)).toEqual(bytesOf(index, BLOCK));
      device.sync();
      device.close();
    }
  });
});

describe("a direct write that the system cuts short", () => {
  test("goes on at a block's boundary", async () => {
    const device = openDevice(64);
    // Nothing of the windows is left to fill.
    device.write(0, blocks(9, 64));
    vi.clearAllMocks();
    const cut = (length: number): number => (length > 2 * BLOCK ? 2 * BLOCK + 512 : length);
    writeSync.mockImplementation((...args) => {
      actualWriteSync(...args);
      return isDirect(args[0]) ? cut(args[3] as number) : (args[3] as number);
    });
    write.mockImplementation((...args) =>
      actualWrite(...(args.slice(0, 5).concat(cutLater(args, cut)) as WriteArguments)),
    );
    device.writeUncached(0, blocks(1, 5));
    await device.writeAsync([uncachedPiece(16, blocks(2, 5))]);
    await device.commitAsync([uncachedPiece(20, blocks(3, 5))]);
    await device.commitAsync([uncachedPiece(20, blocks(4, 5))]);
    expect(ways()).toEqual(
      ["direct 0+5", "direct 2+3", "direct 4+1"]
        .concat(["direct 16+5", "direct 18+3", "direct 20+1", "direct 20+5", "direct 22+3", "direct 24+1"])
        .concat(["direct durable 20+5", "direct durable 22+3", "direct durable 24+1"]),
    );
    expect(readBack(device, 0, 5)).toEqual(bytesOf(1, 5 * BLOCK));
    expect(readBack(device, 16, 4)).toEqual(bytesOf(2, 5 * BLOCK).slice(0, 4 * BLOCK));
    expect(readBack(device, 20, 5)).toEqual(bytesOf(4, 5 * BLOCK));
    device.close();
  });

  test("inside the first block, it goes through the cache", async () => {
    const device = openDevice(64);
    writeSync.mockImplementation((...args) => (isDirect(args[0]) ? 1000 : actualWriteSync(...args)));
    write.mockImplementation((...args) => {
      if (isDirect(args[0])) setImmediate(args[5], null, 1000);
      else actualWrite(...args);
    });
    device.writeUncached(0, blocks(1, 2));
    expect(readBack(device, 0, 2)).toEqual(bytesOf(1, 2 * BLOCK));
    device.close();
    const other = openDevice(64);
    await other.commitAsync([uncachedPiece(0, blocks(2, 2))]);
    expect(readBack(other, 0, 2)).toEqual(bytesOf(2, 2 * BLOCK));
    other.close();
  });

  function cutLater(args: WriteArguments, cut: (length: number) => number): WriteCallback {
    const [descriptor, , , length, , callback] = args;
    return (cause, count) => callback(cause, isDirect(descriptor) ? Math.min(count, cut(length)) : count);
  }
});

describe("a failed direct write", () => {
  test("is NO_SPACE for want of space, in one trip too, and the device goes on", async () => {
    const device = openDevice(64);
    await device.commitAsync([uncachedPiece(0, blocks(1, 1))]);
    failDirect("ENOSPC");
    expect(await codeOf(() => device.writeUncached(0, blocks(2, 1)))).toBe("NO_SPACE");
    expect(await codeOf(() => device.writeAsync([uncachedPiece(0, blocks(2, 1))]))).toBe("NO_SPACE");
    expect(await codeOf(() => device.commitAsync([uncachedPiece(0, blocks(2, 1))]))).toBe("NO_SPACE");
    writeSync.mockImplementation(actualWriteSync);
    write.mockImplementation(actualWrite);
    await device.commitAsync([uncachedPiece(0, blocks(3, 1))]);
    expect(readBack(device, 0, 1)).toEqual(bytesOf(3, BLOCK));
    device.close();
  });

  test("is asked again in two trips when one met a full disk", async () => {
    const device = openDevice(64);
    await device.commitAsync([uncachedPiece(0, blocks(1, 1))]);
    vi.clearAllMocks();
    write.mockImplementationOnce((...args) => void setImmediate(args[5], failure("ENOSPC"), 0));
    await device.commitAsync([uncachedPiece(0, blocks(2, 1))]);
    expect(ways()).toEqual(["direct durable 0+1", "direct 0+1"]);
    expect(fdatasync).toHaveBeenCalledTimes(1);
    device.close();
  });

  test("is DEVICE_WRITE after EIO; in one trip it is a failed sync", async () => {
    const device = openDevice(64);
    await device.commitAsync([uncachedPiece(0, blocks(1, 1))]);
    failDirect("EIO");
    expect(await codeOf(() => device.writeUncached(0, blocks(2, 1)))).toBe("DEVICE_WRITE");
    expect(await codeOf(() => device.writeAsync([uncachedPiece(0, blocks(2, 1))]))).toBe("DEVICE_WRITE");
    device.sync();
    const error = await errorOf(() => device.commitAsync([uncachedPiece(0, blocks(2, 1))]));
    expect(error.code).toBe("DEVICE_WRITE");
    expect((error.cause as NodeJS.ErrnoException).code).toBe("EIO");
    expect(await errorOf(() => device.sync())).toBe(error);
    device.close();
  });

  test("does not fail the commit whose window cannot be filled", async () => {
    const device = openDevice(64);
    writeSync.mockImplementation(() => {
      throw failure("ENOSPC");
    });
    await device.commitAsync([uncachedPiece(0, blocks(1, 1))]);
    await device.commitAsync([uncachedPiece(1, blocks(2, 1))]);
    expect(writeSync).toHaveBeenCalledTimes(1);
    device.close();
  });
});

describe("a full ext4 of our own", () => {
  const mountPoint = join(folder, "disk");
  let unavailable = privilegeMissing();
  let mounted = false;

  beforeEach((context) => {
    if (unavailable === undefined && !mounted) {
      const image = join(folder, "image");
      fs.writeFileSync(image, "");
      fs.truncateSync(image, 16 * MIB);
      fs.mkdirSync(mountPoint);
      for (const [tool, ...args] of [
        ["mkfs.ext4", "-q", "-m", "0", "-b", "4096", image],
        ["mount", "-o", "loop", image, mountPoint],
      ] as [string, ...string[]][]) {
        const result = run(tool, args);
        if ("failure" in result) unavailable ??= `needs ext4 on a loop device (${result.failure})`;
      }
      mounted = unavailable === undefined;
      unavailable ??= directMissing(mountPoint);
    }
    if (unavailable !== undefined) context.skip(unavailable);
  });

  afterAll(() => {
    if (mounted) run("umount", [mountPoint]);
  });

  test("is NO_SPACE in every kind of uncached write, and overwrites go on", async () => {
    const device = openDevice(1024, join(mountPoint, "store"));
    device.writeUncached(0, blocks(1, 16));
    device.sync();
    const filler = join(mountPoint, "filler");
    const descriptor = fs.openSync(filler, "w");
    for (const size of [64 * BLOCK, BLOCK]) {
      const fill = (): never => {
        for (;;) {
          actualWriteSync(descriptor, new Uint8Array(size));
          fs.fsyncSync(descriptor);
        }
      };
      expect(fill).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    }
    fs.closeSync(descriptor);
    const piece = uncachedPiece(512, blocks(2, 8));
    for (const kind of [
      () => device.writeUncached(piece.offset, piece.source),
      () => device.writeAsync([piece]),
      () => device.commitAsync([piece]),
    ]) {
      const error = await errorOf(kind);
      expect(error.code).toBe("NO_SPACE");
      expect((error.cause as NodeJS.ErrnoException).code).toBe("ENOSPC");
    }
    await device.commitAsync([uncachedPiece(0, blocks(3, 16))]);
    expect(readBack(device, 0, 16)).toEqual(bytesOf(3, 16 * BLOCK));
    fs.unlinkSync(filler);
    await device.commitAsync([piece]);
    expect(readBack(device, 512, 8)).toEqual(bytesOf(2, 8 * BLOCK));
    expect(ways().some((way) => way.startsWith("cached"))).toBe(false);
    device.close();
  });
});
