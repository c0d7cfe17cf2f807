import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FileDevice } from "../../hosts/file-device.ts";
import { bytesOf, codeOf, pageAligned, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const BLOCK = 4096;

function openDevice(name: string, options = { readOnly: false }): FileDevice {
  const path = join(folder, name);
  const flags = options.readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR | fs.constants.O_CREAT;
  return new FileDevice(path, fs.openSync(path, flags, 0o666), options);
}

describe("a file device", () => {
  test("writes, syncs and reads back, one way and the other", async () => {
    const device = openDevice("round-trip");
    expect(device.size()).toBe(0);
    expect(device.kind).toBe("file");
    expect(device.growable).toBe(true);
    device.resize(64 * BLOCK);
    expect(device.size()).toBe(64 * BLOCK);
    const first = bytesOf(1, BLOCK);
    const second = bytesOf(2, 3 * BLOCK);
    const third = bytesOf(3, BLOCK);
    const fourth = bytesOf(4, BLOCK);
    expect(device.write(0, first)).toBe(BLOCK);
    device.sync();
    await device.writeAsync([
      { offset: 8 * BLOCK, source: second },
      { offset: 63 * BLOCK, source: third },
    ]);
    await device.syncAsync();
    await device.commitAsync([{ offset: 12 * BLOCK, source: fourth }]);
    await device.commitAsync([]);
    device.close();

    const again = openDevice("round-trip", { readOnly: true });
    const read = (offset: number, size: number): Uint8Array => {
      const target = new Uint8Array(size);
      expect(again.read(offset, target)).toBe(size);
      return target;
    };
    expect(read(0, BLOCK)).toEqual(first);
    expect(read(8 * BLOCK, 3 * BLOCK)).toEqual(second);
    expect(read(63 * BLOCK, BLOCK)).toEqual(third);
    expect(read(12 * BLOCK, BLOCK)).toEqual(fourth);
    expect(read(40 * BLOCK, BLOCK)).toEqual(new Uint8Array(BLOCK));
    expect(await codeOf(() => again.write(0, first))).toBe("READ_ONLY");
    expect(await codeOf(() => again.commitAsync([{ offset: 0, source: first }]))).toBe("READ_ONLY");
    again.close();
  });

  test("writes from and reads into WebAssembly memory without detaching it", async () => {
    const device = openDevice("wasm-memory");
    device.resize(16 * BLOCK);
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
    const source = new Uint8Array(memory.buffer, BLOCK, BLOCK);
    source.set(bytesOf(7, BLOCK));
    await device.commitAsync([{ offset: BLOCK, source }]);
    await device.commitAsync([{ offset: 2 * BLOCK, source }]);
    const target = new Uint8Array(memory.buffer, 4 * BLOCK, BLOCK);
    device.read(2 * BLOCK, target);
    expect(memory.buffer.byteLength).toBe(4 * 65536);
    expect(target).toEqual(source);
    device.close();
  });

  test("never becomes smaller by growing, where another opener has grown it further", () => {
    const device = openDevice("grown-by-two");
    device.resize(4 * BLOCK);
    const other = openDevice("grown-by-two");
    other.resize(64 * BLOCK);
    other.write(63 * BLOCK, bytesOf(5, BLOCK));
    device.resize(16 * BLOCK);
    expect(device.size()).toBe(16 * BLOCK);
    const found = new Uint8Array(BLOCK);
    expect(other.read(63 * BLOCK, found)).toBe(BLOCK);
    expect(found).toEqual(bytesOf(5, BLOCK));
    device.measure();
    expect(device.size()).toBe(64 * BLOCK);
    // What the other has added is filled with nothing beside a small write.
    other.write(33 * BLOCK, bytesOf(6, BLOCK));
    device.write(32 * BLOCK, bytesOf(7, BLOCK));
    other.read(33 * BLOCK, found);
    expect(found).toEqual(bytesOf(6, BLOCK));
    device.close();
    other.close();
  });

  test("reads short only beyond its size", () => {
    const device = openDevice("short");
    device.resize(2 * BLOCK);
    expect(device.read(BLOCK, new Uint8Array(4 * BLOCK))).toBe(BLOCK);
    expect(device.read(2 * BLOCK, new Uint8Array(BLOCK))).toBe(0);
    expect(device.read(9 * BLOCK, new Uint8Array(BLOCK))).toBe(0);
    device.close();
  });

  test("says DEVICE_SHRUNK when the file was truncated beneath it", async () => {
    const device = openDevice("shrunk");
    device.resize(8 * BLOCK);
    fs.truncateSync(join(folder, "shrunk"), 3 * BLOCK);
    expect(device.read(0, new Uint8Array(3 * BLOCK))).toBe(3 * BLOCK);
    expect(await codeOf(() => device.read(2 * BLOCK, new Uint8Array(2 * BLOCK)))).toBe("DEVICE_SHRUNK");
    device.close();
  });

  test("reads into a part of memory alone, with the answers of read", async () => {
    const device = openDevice("into");
    device.resize(8 * BLOCK);
    device.write(0, bytesOf(3, 8 * BLOCK));
    const memory = new Uint8Array(8 * BLOCK);
    const expected = new Uint8Array(8 * BLOCK);
    expect(device.readInto(2 * BLOCK, memory, 3 * BLOCK, 2 * BLOCK)).toBe(2 * BLOCK);
    expected.set(bytesOf(3, 8 * BLOCK).subarray(2 * BLOCK, 4 * BLOCK), 3 * BLOCK);
    expect(memory).toEqual(expected);
    expect(device.readInto(7 * BLOCK, memory, 0, 2 * BLOCK)).toBe(BLOCK);
    expect(device.readInto(8 * BLOCK, memory, 0, BLOCK)).toBe(0);
    fs.truncateSync(join(folder, "into"), 3 * BLOCK);
    expect(await codeOf(() => device.readInto(2 * BLOCK, memory, 0, 2 * BLOCK))).toBe("DEVICE_SHRUNK");
    device.close();
    expect(await codeOf(() => device.readInto(0, memory, 0, BLOCK))).toBe("CLOSED");
  });

  test("refuses what passes its end or is not aligned, and changes nothing", async () => {
    const device = openDevice("bounds");
    device.resize(4 * BLOCK);
    const block = bytesOf(1, BLOCK);
    expect(await codeOf(() => device.write(4 * BLOCK, block))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => device.write(100, block))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => device.write(0, block.subarray(1)))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => device.resize(BLOCK + 1))).toBe("INVALID_ARGUMENT");
    const pieces = [
      { offset: 0, source: block },
      { offset: 4 * BLOCK, source: block },
    ];
    expect(await codeOf(() => device.writeAsync(pieces))).toBe("OUT_OF_RANGE");
    expect(fs.readFileSync(join(folder, "bounds"))).toEqual(Buffer.alloc(4 * BLOCK));
    device.close();
  });

  test("rounds an odd size down, and its new space reads as zeros", () => {
    const path = join(folder, "odd");
    fs.writeFileSync(path, bytesOf(5, 2 * BLOCK + 777));
    const device = openDevice("odd");
    expect(device.size()).toBe(2 * BLOCK);
    device.resize(4 * BLOCK);
    const target = bytesOf(6, 2 * BLOCK);
    device.read(2 * BLOCK, target);
    expect(target).toEqual(new Uint8Array(2 * BLOCK));
    device.close();
  });

  test("answers CLOSED after close, and ends what was in flight first", async () => {
    const device = openDevice("closed");
    device.resize(1024 * BLOCK);
    const source = bytesOf(9, 1024 * BLOCK);
    const write = device.writeAsync([{ offset: 0, source }]);
    let isDone = false;
    device.closeThen(() => {
      isDone = true;
    });
    expect(isDone).toBe(false);
    await write;
    await Promise.resolve();
    expect(isDone).toBe(true);
    expect(Buffer.compare(fs.readFileSync(join(folder, "closed")), source)).toBe(0);
    expect(await codeOf(() => device.read(0, new Uint8Array(BLOCK)))).toBe("CLOSED");
    expect(await codeOf(() => device.sync())).toBe("CLOSED");
    expect(await codeOf(() => device.commitAsync([]))).toBe("CLOSED");
    device.close();
  });

  test.each([1, 2, 3, 4, 5, 6])(
    "never loses a byte to filling, or to the cache, whichever way: seed %i",
    async (seed) => {
      let state = seed;
      const random = (limit: number): number => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return Math.floor((state / 2 ** 32) * limit);
      };
      const name = `model-${seed}`;
      let device = openDevice(name);
      let model = Buffer.alloc(0);
      const resize = (size: number): void => {
        device.resize(size);
        const next = Buffer.alloc(size);
        model.copy(next);
        model = next;
      };
      resize((8 + random(40)) * BLOCK);
      for (let round = 0; round < 40; round += 1) {
        const pending: Promise<void>[] = [];
        // Pieces of one round do not overlap: each takes blocks that the round has not used.
        const used = new Set<number>();
        for (let step = 0; step < 12; step += 1) {
          const blockCount = model.length / BLOCK;
          const start = random(blockCount);
          const count = Math.min(random(10) === 0 ? 1 + random(30) : 1 + random(3), blockCount - start);
          const indexes = Array.from({ length: count }, (_, index) => start + index);
          if (indexes.some((index) => used.has(index))) continue;
          for (const index of indexes) used.add(index);
          const source = pageAligned(bytesOf(random(1e6), count * BLOCK));
          const uncached = seed > 2 && random(seed > 4 ? 2 : 8) > 0;
          const piece = { offset: start * BLOCK, source, uncached };
          model.set(source, piece.offset);
          const way = random(4);
          if (way === 0) uncached ? device.writeUncached(piece.offset, source) : device.write(piece.offset, source);
          else if (way === 1) pending.push(device.writeAsync([piece]));
          else pending.push(device.commitAsync([piece]));
        }
        await Promise.all(pending);
        const next = random(12);
        if (next === 0) resize(model.length + random(64) * BLOCK);
        if (next === 1) resize(Math.max(8, Math.floor(model.length / BLOCK) - random(30)) * BLOCK);
        if (next === 2) {
          device.close();
          device = openDevice(name);
        }
        const content = Buffer.alloc(model.length);
        device.read(0, content);
        expect(Buffer.compare(content, model)).toBe(0);
      }
      device.close();
    },
  );
});
