/** A core by itself, over a device in memory, for tests of what no store asks of it. */
import { expect } from "vitest";
import { Core } from "../../store/core.ts";
import { host } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

export const OK = 0;
export const CORRUPT = -4;
export const NO_SPACE = -8;
export const OUT_OF_MEMORY = -9;
export const KEY_SIZE = -10;
export const VALUE_SIZE = -11;
export const POISONED = -14;
export const REENTRANT = -15;
export const INVALID_ARGUMENT = -16;

export const PAGE = 65_536;
export const MIB = 1_048_576;
export const ENGINE = 1;
export const GROWABLE = 2;
export const READ_ONLY = 1;
export const COMPRESSION = 64;
export const WRITE_BUFFER = 262_144;
export const CACHE = 262_144;
/** Flags of calls; see assembly/engine/dual.ts. */
export const COMPRESSED = 256;

export async function coreOver(device: ImageDevice, memoryBytes: number = 16 * MIB): Promise<Core> {
  return Core.create(await host(), device, memoryBytes);
}

export function initialize({ exports, memory }: Core): number {
  return exports.initialize(memory.buffer.byteLength, WRITE_BUFFER, CACHE, 0);
}

/** A core over a fresh store of small segments. */
export async function mounted(device = new ImageDevice(), flags = GROWABLE): Promise<Core> {
  const core = await coreOver(device);
  expect(initialize(core)).toBe(OK);
  expect(core.exports.format(core.handle, ENGINE, 16, flags)).toBe(OK);
  expect(core.exports.probe(core.handle)).toBe(1);
  expect(core.exports.mount(core.handle, core.handle, ENGINE, flags)).toBe(OK);
  return core;
}

export function putKey(core: Core, key: string): number {
  core.bytes.set(new TextEncoder().encode(key), core.keyA);
  return key.length;
}

export function set(core: Core, key: string, value: string): number {
  core.bytes.set(new TextEncoder().encode(value), core.exchangeIn);
  return core.exports.set(putKey(core, key), value.length, 0);
}
