/** What the operating system does only now and then: short transfers, EIO, failed syncs. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { FileDevice } from "../../hosts/file-device.ts";
import { bytesOf, codeOf, errorOf, scratchFolder } from "./scratch.ts";

vi.mock("node:fs", async (importOriginal) => {
  const actual = await importOriginal<typeof fs>();
  const mocked = { readSync: vi.fn(actual.readSync), writeSync: vi.fn(actual.writeSync), write: vi.fn(actual.write) };
  const synced = { fdatasync: vi.fn(actual.fdatasync), fdatasyncSync: vi.fn(actual.fdatasyncSync) };
  return { ...actual, ...mocked, ...synced };
});
const actual = await vi.importActual<typeof fs>("node:fs");

type WriteCallback = (cause: NodeJS.ErrnoException | null, count: number) => void;
type WriteArguments = [number, Uint8Array, number, number, number, WriteCallback];

const readSync = vi.mocked(fs.readSync as (...args: unknown[]) => number);
const writeSync = vi.mocked(fs.writeSync as (...args: unknown[]) => number);
const write = vi.mocked(fs.write as unknown as (...args: WriteArguments) => void);
const fdatasync = vi.mocked(fs.fdatasync);
const fdatasyncSync = vi.mocked(fs.fdatasyncSync);

const folder = scratchFolder();
const BLOCK = 4096;
let fileCount = 0;

function openDevice(blockCount: number): FileDevice {
  const path = join(folder, `file-${fileCount++}`);
  const device = new FileDevice(path, fs.openSync(path, "wx+"), { readOnly: false });
  device.resize(blockCount * BLOCK);
  device.sync();
  vi.clearAllMocks();
  return device;
}

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: planted`), { code });
}

afterEach(() => {
  readSync.mockReset().mockImplementation(actual.readSync as (...args: unknown[]) => number);
  writeSync.mockReset().mockImplementation(actual.writeSync as (...args: unknown[]) => number);
  write.mockReset().mockImplementation(actual.write as unknown as (...args: WriteArguments) => void);
  fdatasync.mockReset().mockImplementation(actual.fdatasync);
  fdatasyncSync.mockReset().mockImplementation(actual.fdatasyncSync);
});

test("short reads and writes are carried to their end", async () => {
  const device = openDevice(64);
  const cut =
    <R>(call: (...args: unknown[]) => R) =>
    (...args: unknown[]): R => {
      args[3] = Math.min(args[3] as number, 1000);
      return call(...args);
    };
  readSync.mockImplementation(cut(actual.readSync as (...args: unknown[]) => number));
  writeSync.mockImplementation(cut(actual.writeSync as (...args: unknown[]) => number));
  write.mockImplementation(cut(actual.write as unknown as (...args: unknown[]) => void));
  const source = bytesOf(1, 4 * BLOCK);
  device.write(0, source);
  await device.writeAsync([{ offset: 8 * BLOCK, source }]);
  await device.commitAsync([{ offset: 40 * BLOCK, source }]);
  await device.commitAsync([{ offset: 44 * BLOCK, source }]);
  for (const offset of [0, 8, 40, 44]) {
    const target = new Uint8Array(source.length);
    expect(device.read(offset * BLOCK, target)).toBe(source.length);
    expect(target).toEqual(source);
  }
  device.close();
});

test("EIO on read is tried again twice, then it is DEVICE_READ with its cause", async () => {
  const device = openDevice(4);
  const fail = (): never => {
    throw failure("EIO");
  };
  readSync.mockImplementationOnce(fail).mockImplementationOnce(fail);
  expect(device.read(0, new Uint8Array(BLOCK))).toBe(BLOCK);
  readSync.mockClear().mockImplementation(fail);
  const error = await errorOf(() => device.read(0, new Uint8Array(BLOCK)));
  expect(error.code).toBe("DEVICE_READ");
  expect((error.cause as NodeJS.ErrnoException).code).toBe("EIO");
  expect(readSync).toHaveBeenCalledTimes(3);
  device.close();
});

test("an interrupted call is issued again", async () => {
  const device = openDevice(4);
  const source = bytesOf(1, BLOCK);
  const interrupt = (): never => {
    throw failure("EINTR");
  };
  writeSync.mockImplementationOnce(interrupt);
  device.write(0, source);
  readSync.mockImplementationOnce(interrupt);
  const target = new Uint8Array(BLOCK);
  device.read(0, target);
  expect(target).toEqual(source);
  device.close();
});

test("a write that moves nothing is DEVICE_WRITE, not an endless loop", async () => {
  const device = openDevice(4);
  writeSync.mockImplementation(() => 0);
  expect(await codeOf(() => device.write(0, bytesOf(1, BLOCK)))).toBe("DEVICE_WRITE");
  write.mockImplementation((...args) => setImmediate(args[5], null, 0));
  expect(await codeOf(() => device.writeAsync([{ offset: 0, source: bytesOf(1, BLOCK) }]))).toBe("DEVICE_WRITE");
  device.close();
});

test("a failed piece is reported when no other is in flight any more", async () => {
  const device = openDevice(64);
  const pieces = [0, 1, 2, 3, 4].map((index) => ({ offset: index * BLOCK, source: bytesOf(index, BLOCK) }));
  let inFlightCount = 0;
  write.mockImplementation((...args) => {
    inFlightCount += 1;
    const isFirst = args[4] === 0;
    setTimeout(
      () => {
        inFlightCount -= 1;
        if (isFirst) args[5](failure("EIO"), 0);
        else args[5](null, args[3]);
      },
      isFirst ? 1 : 30,
    );
  });
  expect(await codeOf(() => device.writeAsync(pieces))).toBe("DEVICE_WRITE");
  expect(inFlightCount).toBe(0);
  expect(write.mock.calls.length).toBeLessThan(pieces.length);
  device.close();
});

test("a failed sync is never tried again", async () => {
  const device = openDevice(64);
  device.write(0, bytesOf(1, BLOCK));
  fdatasync.mockImplementationOnce((_descriptor, callback) => setImmediate(callback, failure("EIO")));
  const error = await errorOf(() => device.syncAsync());
  expect(error.code).toBe("DEVICE_WRITE");
  vi.clearAllMocks();
  expect(await errorOf(() => device.sync())).toBe(error);
  expect(await errorOf(() => device.syncAsync())).toBe(error);
  expect(await errorOf(() => device.commitAsync([{ offset: 0, source: bytesOf(1, BLOCK) }]))).toBe(error);
  expect(fdatasync).not.toHaveBeenCalled();
  expect(fdatasyncSync).not.toHaveBeenCalled();
  device.close();
});

test("a commit in one trip is taken only when it leaves nothing unsynced", async (context) => {
  if (process.platform !== "linux") context.skip("O_DSYNC is used on Linux only");
  const device = openDevice(64);
  const piece = (index: number) => ({ offset: index * BLOCK, source: bytesOf(index, BLOCK) });
  await device.commitAsync([piece(0)]);
  expect(fdatasync, "fresh space takes two trips and is filled").toHaveBeenCalledTimes(1);
  await device.commitAsync([piece(1)]);
  expect(fdatasync, "allocated space takes one").toHaveBeenCalledTimes(1);
  device.write(2 * BLOCK, bytesOf(2, BLOCK));
  await device.commitAsync([piece(3)]);
  expect(fdatasync, "an earlier write is covered by the commit").toHaveBeenCalledTimes(2);
  await device.commitAsync([piece(4)]);
  await device.commitAsync([piece(5), piece(6)]);
  expect(fdatasync, "two pieces take two trips").toHaveBeenCalledTimes(3);
  device.close();
});

test("the window of a small commit is filled once, a large write's and old space never", async () => {
  const device = openDevice(64);
  const fills = (): [number, number][] => {
    const calls = writeSync.mock.calls.filter(([, bytes]) => (bytes as Uint8Array).every((byte) => byte === 0));
    return calls.map(([, , , length, position]) => [(position as number) / BLOCK, (length as number) / BLOCK]);
  };
  await device.commitAsync([{ offset: 17 * BLOCK, source: bytesOf(1, BLOCK) }]);
  expect(fills()).toEqual([[18, 14]]);
  await device.commitAsync([{ offset: 18 * BLOCK, source: bytesOf(1, BLOCK) }]);
  device.write(16 * BLOCK, bytesOf(1, BLOCK));
  await device.commitAsync([{ offset: 32 * BLOCK, source: bytesOf(1, 17 * BLOCK) }]);
  expect(fills()).toEqual([[18, 14]]);
  // The large write reached one block into the last window. What is below its reach is left alone.
  device.write(48 * BLOCK, bytesOf(1, BLOCK));
  expect(fills().slice(1)).toEqual([[49, 15]]);
  device.close();

  const again = new FileDevice(device.path, fs.openSync(device.path, "r+"), { readOnly: false });
  writeSync.mockClear();
  again.write(BLOCK, bytesOf(1, BLOCK));
  again.resize(90 * BLOCK);
  again.write(65 * BLOCK, bytesOf(1, BLOCK));
  again.write(88 * BLOCK, bytesOf(1, BLOCK));
  expect(fills()).toEqual([
    [66, 14],
    [89, 1],
  ]);
  again.close();
});

test("filling stays above writes that are in flight", async () => {
  const device = openDevice(16);
  let finish = (): void => {};
  write.mockImplementationOnce((...args) => {
    finish = () => actual.write(args[0], args[1], args[2], args[3], args[4], args[5]);
  });
  const late = device.writeAsync([{ offset: 8 * BLOCK, source: bytesOf(8, 2 * BLOCK) }]);
  device.write(0, bytesOf(1, BLOCK));
  const fill = writeSync.mock.calls.at(-1);
  expect([fill?.[4], fill?.[3]]).toEqual([10 * BLOCK, 6 * BLOCK]);
  finish();
  await late;
  device.close();
});

test("a full disk does not fail the commit whose window it cannot fill", async () => {
  const device = openDevice(64);
  const full = (...args: unknown[]): number => {
    if ((args[1] as Uint8Array).every((byte) => byte === 0)) throw failure("ENOSPC");
    return (actual.writeSync as (...args: unknown[]) => number)(...args);
  };
  writeSync.mockImplementation(full);
  await device.commitAsync([{ offset: 0, source: bytesOf(1, BLOCK) }]);
  const count = writeSync.mock.calls.length;
  await device.commitAsync([{ offset: BLOCK, source: bytesOf(2, BLOCK) }]);
  expect(writeSync.mock.calls.length, "filling is not tried again before the next resize").toBe(count);
  device.close();
});

test("a sync does not cover a write that was still in flight when it was issued", async (context) => {
  if (process.platform !== "linux") context.skip("O_DSYNC is used on Linux only");
  const device = openDevice(64);
  const piece = (index: number) => ({ offset: index * BLOCK, source: bytesOf(index, BLOCK) });
  await device.commitAsync([piece(0)]);
  let finish = (): void => {};
  write.mockImplementationOnce((...args) => {
    finish = () => actual.write(args[0], args[1], args[2], args[3], args[4], args[5]);
  });
  const late = device.writeAsync([piece(1)]);
  device.sync();
  finish();
  await late;
  vi.clearAllMocks();
  await device.commitAsync([piece(2)]);
  expect(fdatasync).toHaveBeenCalledTimes(1);
  device.close();
});

test("ENOSPC in one trip is asked again in two, which tell the write from the sync", async (context) => {
  if (process.platform !== "linux") context.skip("O_DSYNC is used on Linux only");
  const device = openDevice(64);
  const piece = { offset: 0, source: bytesOf(1, BLOCK) };
  await device.commitAsync([piece]);
  const full = (...args: WriteArguments): void => void setImmediate(args[5], failure("ENOSPC"), 0);
  write.mockImplementationOnce(full);
  await device.commitAsync([piece]);
  write.mockImplementationOnce(full).mockImplementationOnce(full);
  expect(await codeOf(() => device.commitAsync([piece]))).toBe("NO_SPACE");
  await device.commitAsync([piece]);
  fdatasync.mockImplementationOnce((_descriptor, callback) => setImmediate(callback, failure("ENOSPC")));
  expect(await codeOf(() => device.syncAsync()), "a full disk in a sync is a failed sync").toBe("DEVICE_WRITE");
  device.close();
});
