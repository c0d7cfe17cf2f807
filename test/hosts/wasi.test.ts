/** The return areas of the imports, byte by byte, against what the canonical ABI says of the WIT types. */
import { beforeEach, expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { WasiTable } from "../../hosts/wasi.ts";
import type { BlockDevice } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { bytesOf } from "./scratch.ts";

const BLOCK = 4096;
const AREA = 1024;
const FRAME = 8192;

let memory: WebAssembly.Memory;
let device: MemoryDevice;
let table: WasiTable;
let handle: number;
let asked: number[];

beforeEach(() => {
  memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
  device = new MemoryDevice(4 * BLOCK);
  asked = [];
  table = new WasiTable(
    memory,
    (oldPointer, oldSize, alignment, size) => {
      asked = [oldPointer, oldSize, alignment, size];
      return FRAME;
    },
    { monotonicNs: () => 123_456_789_012n, wallMs: () => 1_700_000_000_250, randomU64: () => 0xfedcba9876543210n },
  );
  handle = table.add(device);
  area(112).fill(0xaa);
});

function area(size: number): Uint8Array {
  return new Uint8Array(memory.buffer, AREA, size);
}

function call(name: string, ...args: (number | bigint)[]): unknown {
  const [module, field] = name.split("#") as [string, string];
  const imported = (table.imports[module] as Record<string, (...args: unknown[]) => unknown>)[field];
  return imported?.(...args);
}

const METHOD = "wasi:filesystem/types@0.2.12#[method]descriptor.";

/** The little-endian bytes of `value`. */
function u(size: number, value: number): number[] {
  return Array.from({ length: size }, (_, index) => Math.floor(value / 256 ** index) % 256);
}

test("the memory is imported as env.memory", () => {
  const { env } = table.imports;
  expect(env).toEqual({ memory });
});

test("read answers the frame, the size and whether the file ended", () => {
  device.write(BLOCK, bytesOf(1, BLOCK));
  call(`${METHOD}read`, handle, BigInt(BLOCK), BigInt(BLOCK), AREA);
  expect(asked).toEqual([0, 0, 1, BLOCK]);
  expect([...area(14)]).toEqual([0, 0xaa, 0xaa, 0xaa, ...u(4, FRAME), ...u(4, BLOCK), 0, 0xaa]);
  expect(new Uint8Array(memory.buffer, FRAME, BLOCK)).toEqual(bytesOf(1, BLOCK));

  call(`${METHOD}read`, handle, BigInt(2 * BLOCK), BigInt(3 * BLOCK), AREA);
  expect([...area(13)]).toEqual([0, 0xaa, 0xaa, 0xaa, ...u(4, FRAME), ...u(4, BLOCK), 1]);
});

test("read is readInto where the device has that, on the memory as it is when it has grown", () => {
  const grown = new WebAssembly.Memory({ initial: 1, maximum: 2 });
  const seen: [number, ArrayBufferLike, number, number, boolean][] = [];
  const other = new WasiTable(grown, () => FRAME);
  const into = other.add({
    ...plain(),
    read: () => {
      throw new Error("readInto is there");
    },
    readInto(offset, target, at, size) {
      seen.push([offset, target.buffer, at, size, other.entered]);
      target[at] = 77;
      return size - 1;
    },
  });
  const read = other.imports["wasi:filesystem/types@0.2.12"]?.["[method]descriptor.read"] as (
    ...args: unknown[]
  ) => void;
  const first = grown.buffer;
  read(into, BigInt(BLOCK), BigInt(2 * BLOCK), AREA);
  expect(seen.pop()).toEqual([2 * BLOCK, first, FRAME, BLOCK, true]);
  grown.grow(1);
  read(into, BigInt(BLOCK), BigInt(3 * BLOCK), AREA);
  expect(seen).toEqual([[3 * BLOCK, grown.buffer, FRAME, BLOCK, true]]);
  const bytes = new Uint8Array(grown.buffer);
  expect([...bytes.subarray(AREA, AREA + 13)].filter((_, index) => index === 0 || index >= 4)).toEqual([
    0,
    ...u(4, FRAME),
    ...u(4, BLOCK - 1),
    1,
  ]);
  expect(bytes[FRAME]).toBe(77);
});

test("write answers the count of bytes", () => {
  new Uint8Array(memory.buffer, FRAME, BLOCK).set(bytesOf(2, BLOCK));
  call(`${METHOD}write`, handle, FRAME, BLOCK, BigInt(2 * BLOCK), AREA);
  expect([...area(17)]).toEqual([0, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, ...u(8, BLOCK), 0xaa]);
  const target = new Uint8Array(BLOCK);
  device.read(2 * BLOCK, target);
  expect(target).toEqual(bytesOf(2, BLOCK));
});

test("write through an uncached handle is writeUncached where the device has that", () => {
  const calls: [string, number, number, boolean][] = [];
  const note =
    (name: string) =>
    (offset: number, source: Uint8Array): number => {
      calls.push([name, offset, source.length, table.entered]);
      return source.length;
    };
  const both = { ...plain(), write: note("write"), writeUncached: note("writeUncached") };
  const cached = table.add(both);
  const uncached = table.add(both, { uncached: true });
  const without = table.add({ ...plain(), write: note("write") }, { uncached: true });
  for (const other of [cached, uncached, without]) {
    call(`${METHOD}write`, other, FRAME, BLOCK, BigInt(3 * BLOCK), AREA);
    expect([...area(16)].filter((_, index) => index === 0 || index >= 8)).toEqual([0, ...u(8, BLOCK)]);
  }
  expect(calls).toEqual([
    ["write", 3 * BLOCK, BLOCK, true],
    ["writeUncached", 3 * BLOCK, BLOCK, true],
    ["write", 3 * BLOCK, BLOCK, true],
  ]);
  expect(table.entered).toBe(false);
  call("wasi:filesystem/types@0.2.12#[resource-drop]descriptor", cached);
  call(`${METHOD}write`, cached, FRAME, BLOCK, 0n, AREA);
  expect(area(1)[0]).toBe(1);
  call(`${METHOD}write`, uncached, FRAME, BLOCK, 0n, AREA);
  expect(area(1)[0], "the other handle of the device stays").toBe(0);
});

test("sync-data and set-size answer a discriminant", () => {
  call(`${METHOD}sync-data`, handle, AREA);
  expect([...area(2)]).toEqual([0, 0xaa]);
  area(1).fill(0xaa);
  call(`${METHOD}set-size`, handle, BigInt(8 * BLOCK), AREA);
  expect([...area(2)]).toEqual([0, 0xaa]);
  expect(device.size()).toBe(8 * BLOCK);
});

test("stat answers type, link count, size and no times", () => {
  call(`${METHOD}stat`, handle, AREA);
  const head = [0, ...u(7, 0), 6, ...u(7, 0), ...u(8, 1), ...u(8, 4 * BLOCK)];
  expect([...area(105)]).toEqual([...head, ...new Array(72).fill(0), 0xaa]);
});

test("clocks and random numbers come from the given sources", () => {
  expect(call("wasi:clocks/monotonic-clock@0.2.12#now")).toBe(123_456_789_012n);
  call("wasi:clocks/wall-clock@0.2.12#now", AREA);
  expect([...area(13)]).toEqual([...u(8, 1_700_000_000), ...u(4, 250_000_000), 0xaa]);
  expect(call("wasi:random/random@0.2.12#get-random-u64")).toBe(0xfedcba9876543210n);
});

test("the system's clocks and random numbers are the default", () => {
  const { imports } = new WasiTable(memory, () => FRAME);
  const { now } = imports["wasi:clocks/monotonic-clock@0.2.12"] as { now: () => bigint };
  const random = imports["wasi:random/random@0.2.12"]?.["get-random-u64"] as () => bigint;
  const first = now();
  expect(now()).toBeGreaterThanOrEqual(first);
  expect(random()).not.toBe(random());
});

const ERROR_CASES: [string, unknown, number][] = [
  ["no room in the file system", Object.assign(new Error("full"), { code: "ENOSPC" }), 23],
  ["no room in the quota", Object.assign(new Error("full"), { code: "EDQUOT" }), 6],
  ["NO_SPACE", new CairnError("NO_SPACE", "write", "full"), 23],
  ["EIO", Object.assign(new Error("broken"), { code: "EIO" }), 13],
  ["DEVICE_WRITE whose cause is ENOSPC", new CairnError("DEVICE_WRITE", "sync", "", { cause: { code: "ENOSPC" } }), 13],
  ["CLOSED", new CairnError("CLOSED", "write", "closed"), 3],
  ["READ_ONLY", new CairnError("READ_ONLY", "write", "read only"), 33],
  ["a bare string", "boom", 13],
];

test.each(ERROR_CASES)("nothing is thrown across the boundary: %s", (_name, cause, code) => {
  const fail = (): never => {
    throw cause;
  };
  const broken: BlockDevice = { ...plain(), read: fail, write: fail, sync: fail, resize: fail, size: fail };
  const other = table.add(broken);
  const expectError = (errorAt: number): void => {
    expect([area(1)[0], area(16)[errorAt]]).toEqual([1, code]);
    expect(table.lastCause).toBe(cause);
    table.lastCause = undefined;
    area(112).fill(0xaa);
  };
  call(`${METHOD}read`, other, BigInt(BLOCK), 0n, AREA);
  expectError(4);
  call(`${METHOD}write`, other, FRAME, BLOCK, 0n, AREA);
  expectError(8);
  call(`${METHOD}sync-data`, other, AREA);
  expectError(1);
  call(`${METHOD}set-size`, other, 0n, AREA);
  expectError(1);
  call(`${METHOD}stat`, other, AREA);
  expectError(8);
});

test("a device that shrank answers that the file ends", () => {
  const cause = new CairnError("DEVICE_SHRUNK", "read", "shrunk");
  const other = table.add({
    ...plain(),
    read: () => {
      throw cause;
    },
  });
  call(`${METHOD}read`, other, BigInt(BLOCK), 0n, AREA);
  expect([...area(13)]).toEqual([0, 0xaa, 0xaa, 0xaa, ...u(4, FRAME), ...u(4, 0), 1]);
  expect(table.lastCause).toBe(cause);
});

test("a fixed device, a span outside the memory and a dropped handle are error codes", () => {
  call(`${METHOD}set-size`, table.add(plain()), 0n, AREA);
  expect([...area(2)]).toEqual([1, 27]);
  call(`${METHOD}write`, handle, -4096, 2 * BLOCK, 0n, AREA);
  expect([area(1)[0], area(9)[8]]).toEqual([1, 12]);
  call("wasi:filesystem/types@0.2.12#[resource-drop]descriptor", handle);
  call(`${METHOD}sync-data`, handle, AREA);
  expect([...area(2)]).toEqual([1, 3]);
});

/** A device that does nothing and cannot grow. */
function plain(): BlockDevice {
  return {
    size: () => 0,
    read: () => 0,
    write: (_offset, source) => source.length,
    writeAsync: async () => {},
    sync: () => {},
    syncAsync: async () => {},
    close: () => {},
  };
}
