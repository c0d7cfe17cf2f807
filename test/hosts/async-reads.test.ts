/** Asynchronous reads, and reads past the page cache, of a file: what they give, and every way in which they fail. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FileDevice } from "../../hosts/file-device.ts";
import type { DeviceTarget } from "../../store/device.ts";
import { bytesOf, codeOf, directMissing, errorOf, pageAligned, scratchFolder } from "./scratch.ts";

vi.mock("node:fs", async (importOriginal) => {
  const actual = await importOriginal<typeof fs>();
  return { ...actual, read: vi.fn(actual.read), readv: vi.fn(actual.readv), readSync: vi.fn(actual.readSync) };
});
const actual = await vi.importActual<typeof fs>("node:fs");

type Callback = (cause: NodeJS.ErrnoException | null, count: number) => void;
type ReadArguments = [number, Uint8Array, number, number, number, Callback];
const read = vi.mocked(fs.read as unknown as (...args: ReadArguments) => void);
const readv = vi.mocked(fs.readv as unknown as (...args: [number, Uint8Array[], number, Callback]) => void);
const readSync = vi.mocked(fs.readSync as (...args: unknown[]) => number);
const actualRead = actual.read as unknown as (...args: ReadArguments) => void;

const folder = scratchFolder();
const missing = directMissing(folder);
const BLOCK = 4096;
const BLOCKS = 64;
const content = bytesOf(11, BLOCKS * BLOCK);
let fileCount = 0;
let device: FileDevice;
let path: string;

beforeEach(() => {
  path = join(folder, `file-${fileCount++}`);
  fs.writeFileSync(path, content);
  device = new FileDevice(path, fs.openSync(path, "r+"), { readOnly: false });
  vi.clearAllMocks();
});

afterEach(() => {
  read.mockReset().mockImplementation(actualRead);
  device.close();
});

/** Targets for so many blocks at each place, in memory that starts at a page. */
function targetsAt(...places: [block: number, count: number][]): DeviceTarget[] {
  const memory = pageAligned(new Uint8Array(BLOCKS * BLOCK));
  let used = 0;
  return places.map(([block, count]) => {
    const target = memory.subarray(used, used + count * BLOCK);
    used += count * BLOCK;
    return { offset: block * BLOCK, target };
  });
}

function check(pieces: DeviceTarget[]): void {
  for (const { offset, target } of pieces) {
    expect(target).toEqual(content.subarray(offset, offset + target.length));
  }
}

/** The descriptors that were read from. */
function descriptors(): Set<unknown> {
  return new Set([...read.mock.calls, ...readv.mock.calls, ...readSync.mock.calls].map(([descriptor]) => descriptor));
}

describe("readAsync", () => {
  test("reads one block, neighbours in one call, and others in their own", async () => {
    const one = targetsAt([5, 1]);
    await device.readAsync(one);
    check(one);
    expect([read.mock.calls.length, readv.mock.calls.length]).toEqual([1, 0]);
    const neighbours = targetsAt([10, 1], [11, 2], [13, 1]);
    await device.readAsync(neighbours);
    check(neighbours);
    expect([read.mock.calls.length, readv.mock.calls.length]).toEqual([1, 1]);
    const others = targetsAt([20, 1], [21, 1], [40, 1], [2, 1]);
    await device.readAsync(others);
    check(others);
    expect([read.mock.calls.length, readv.mock.calls.length]).toEqual([3, 2]);
    await device.readAsync([]);
  });

  test("goes on where the kernel gave less, one way and the other", async () => {
    read.mockImplementation((descriptor, target, offset, length, position, callback) => {
      actualRead(descriptor, target, offset, Math.min(length, 1000), position, callback);
    });
    const one = targetsAt([7, 2]);
    await device.readAsync(one);
    check(one);
    const actualReadv = actual.readv as unknown as typeof readv;
    readv.mockImplementationOnce((descriptor, buffers, position, callback) => {
      actualReadv(descriptor, [(buffers[0] as Uint8Array).subarray(0, 100)], position, callback);
    });
    const some = targetsAt([30, 1], [31, 1]);
    await device.readAsync(some);
    check(some);
  });

  test("tries EIO again twice, then it is DEVICE_READ with its cause", async () => {
    const eio = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    read.mockImplementationOnce((...args) => args[5](eio, 0)).mockImplementationOnce((...args) => args[5](eio, 0));
    const one = targetsAt([7, 1]);
    await device.readAsync(one);
    check(one);
    read.mockClear().mockImplementation((...args) => args[5](eio, 0));
    const error = await errorOf(() => device.readAsync(targetsAt([8, 1])));
    expect(error.code).toBe("DEVICE_READ");
    expect(error.cause).toBe(eio);
    expect(error.message).toContain(`offset ${8 * BLOCK}`);
    expect(read).toHaveBeenCalledTimes(3);
  });

  test("beyond the end is DEVICE_SHRUNK, known or met", async () => {
    expect(await codeOf(() => device.readAsync(targetsAt([BLOCKS, 1])))).toBe("DEVICE_SHRUNK");
    expect(read).not.toHaveBeenCalled();
    fs.truncateSync(path, 10 * BLOCK);
    expect(await codeOf(() => device.readAsync(targetsAt([9, 2])))).toBe("DEVICE_SHRUNK");
    expect(await codeOf(() => device.readAsync(targetsAt([2, 1], [30, 1])))).toBe("DEVICE_SHRUNK");
  });

  test("is waited for by closing, and refused after it", async () => {
    const pieces = targetsAt([1, 1], [20, 4]);
    const reading = device.readAsync(pieces.slice(0, 1));
    const other = device.readAsync(pieces.slice(1));
    let closed = false;
    device.closeThen(() => {
      closed = true;
    });
    expect(closed).toBe(false);
    await Promise.all([reading, other]);
    expect(closed).toBe(true);
    check(pieces);
    expect(await codeOf(() => device.readAsync(targetsAt([1, 1])))).toBe("CLOSED");
  });
});

describe("reads past the page cache", () => {
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });

  test("go through a descriptor of their own, synchronous and asynchronous", async () => {
    device.prepareUncachedReads();
    vi.clearAllMocks();
    const pieces = targetsAt([3, 1], [9, 3]);
    const [first, second] = pieces as [DeviceTarget, DeviceTarget];
    expect(device.readUncached(first.offset, first.target)).toBe(BLOCK);
    await device.readAsync([second], true);
    check(pieces);
    const direct = descriptors();
    expect(direct.size).toBe(1);
    const flags = fs.readFileSync(`/proc/self/fdinfo/${[...direct][0]}`, "latin1").match(/flags:\s*(\d+)/)?.[1];
    expect(Number.parseInt(flags ?? "0", 8) & fs.constants.O_DIRECT).not.toBe(0);
    vi.clearAllMocks();
    device.read(first.offset, first.target);
    await device.readAsync([second]);
    expect([...descriptors()]).not.toEqual([...direct]);
  });

  test("see what was written just before, through the cache and past it", () => {
    device.prepareUncachedReads();
    for (let round = 0; round < 20; round++) {
      const bytes = pageAligned(bytesOf(round, BLOCK));
      if (round % 2 === 0) device.write(round * BLOCK, bytes);
      else device.writeUncached(round * BLOCK, bytes);
      const [piece] = targetsAt([round, 1]) as [DeviceTarget];
      device.readUncached(piece.offset, piece.target);
      expect(piece.target).toEqual(bytes);
    }
  });

  test("of memory that is not aligned go through the cache", async () => {
    device.prepareUncachedReads();
    const target = pageAligned(new Uint8Array(3 * BLOCK)).subarray(100, 100 + BLOCK);
    device.readUncached(6 * BLOCK, target);
    check([{ offset: 6 * BLOCK, target }]);
    await device.readAsync([{ offset: 7 * BLOCK, target }], true);
    check([{ offset: 7 * BLOCK, target }]);
  });

  test("that the kernel refuses go through the cache", async () => {
    device.prepareUncachedReads();
    const einval = Object.assign(new Error("EINVAL: invalid argument, read"), { code: "EINVAL" });
    const [first, second] = targetsAt([6, 1], [9, 1]) as [DeviceTarget, DeviceTarget];
    read.mockImplementationOnce((...args) => args[5](einval, 0));
    await device.readAsync([first], true);
    check([first]);
    // The buffer is known to be refused now: nothing is tried with it.
    vi.clearAllMocks();
    device.readUncached(second.offset, second.target);
    check([second]);
    expect(readSync).toHaveBeenCalledTimes(1);
    const target = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer, 0, BLOCK);
    readSync.mockImplementationOnce(() => {
      throw einval;
    });
    device.readUncached(6 * BLOCK, target);
    check([{ offset: 6 * BLOCK, target }]);
  });

  test("are UNSUPPORTED, with the reason, where there are none", async () => {
    fs.renameSync(path, `${path}-moved`);
    const gone = await errorOf(() => device.prepareUncachedReads());
    expect(gone.code).toBe("UNSUPPORTED");
    expect(gone.message).toMatch(/directReads: .*ENOENT/);
    fs.writeFileSync(path, content);
    expect((await errorOf(() => device.prepareUncachedReads())).message).toMatch(/names another file by now/);
    const [piece] = targetsAt([6, 1]) as [DeviceTarget];
    device.readUncached(piece.offset, piece.target);
    check([piece]);
    fs.rmSync(path);
    fs.renameSync(`${path}-moved`, path);
    device.prepareUncachedReads();
  });
});
