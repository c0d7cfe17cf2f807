import { expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { bytesOf, codeOf } from "./scratch.ts";

const BLOCK = 4096;
const MIB = 1024 * 1024;

test("a memory device grows, shrinks, and reads zeros where nothing was written", async () => {
  const device = new MemoryDevice();
  expect(device.size()).toBe(0);
  expect(device.read(0, new Uint8Array(BLOCK))).toBe(0);
  device.resize(3 * MIB);
  const source = bytesOf(1, MIB + 2 * BLOCK);
  expect(device.write(MIB - BLOCK, source)).toBe(source.length);
  await device.commitAsync([{ offset: 0, source: source.subarray(0, BLOCK) }]);
  device.sync();
  await device.syncAsync();
  const target = bytesOf(2, 3 * MIB);
  expect(device.read(0, target)).toBe(3 * MIB);
  const expected = new Uint8Array(3 * MIB);
  expected.set(source.subarray(0, BLOCK), 0);
  expected.set(source, MIB - BLOCK);
  expect(Buffer.compare(target, expected)).toBe(0);
  expect(device.read(3 * MIB - BLOCK, new Uint8Array(2 * BLOCK))).toBe(BLOCK);

  device.resize(MIB + BLOCK);
  device.resize(3 * MIB);
  device.read(0, target);
  expected.fill(0, MIB + BLOCK);
  expect(Buffer.compare(target, expected)).toBe(0);
});

test("a memory device refuses what passes its end, and everything once closed", async () => {
  const device = new MemoryDevice(2 * BLOCK);
  expect(await codeOf(() => device.write(2 * BLOCK, new Uint8Array(BLOCK)))).toBe("OUT_OF_RANGE");
  expect(await codeOf(() => device.writeAsync([{ offset: BLOCK, source: new Uint8Array(2 * BLOCK) }]))).toBe(
    "OUT_OF_RANGE",
  );
  device.close();
  device.close();
  expect(await codeOf(() => device.read(0, new Uint8Array(BLOCK)))).toBe("CLOSED");
  expect(await codeOf(() => device.syncAsync())).toBe("CLOSED");
});
