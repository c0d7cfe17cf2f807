/** An engine of the units binary with 500 keys, for tests that spoil its memory, and what `verify` says of it then. */
import { expect } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { faultOf } from "../../store/verify.ts";
import { EXCHANGE, type Instance, instantiate, KEY_A, writeKey } from "./units.ts";

export const KEYS = 500;
export const PHASE_DONE = 5;
export const MIB = 1_048_576;

/** Offsets in tree nodes; see assembly/index. */
export const LEAF_HEADS = 64;
export const LEAF_ENTRIES = 704;
export const LEAF_NEXT = 8;
/** Words of the root view; see assembly/root.ts. */
export const ROOT = 0x400;
export const TREE_ROOT = ROOT + 96;
export const TREE_HEIGHT = ROOT + 100;

export interface Engine extends Instance {
  nodes: number[];
}

/** An engine with 500 keys, all of them on the device. */
export function engine(): Engine {
  const device = new MemoryDevice(MIB + 2 * 65536);
  const instance = instantiate(220, device);
  const { units, bytes, memory } = instance;
  expect(units.logSetUp(instance.device, memory.buffer.byteLength, 16, 64)).toBe(1);
  expect(units.engineSetUp()).toBe(1);
  for (let i = 0; i < KEYS; i++) put(instance, keyOf(i), `value ${i}`);
  units.laterApply();
  expect(units.flushSync()).toBe(0);
  const out = EXCHANGE + 131_072;
  units.treeFirst();
  const count = units.treeCollectForward(out, KEYS, 0, 0);
  const nodes = Array.from(new Uint32Array(bytes.buffer, out, count));
  return { ...instance, nodes };
}

export function keyOf(number: number): string {
  return `key ${String(number).padStart(4, "0")}`;
}

export function put({ units, bytes }: Instance, key: string, value: string): void {
  const keySize = writeKey(bytes, KEY_A, key);
  const valueSize = writeKey(bytes, EXCHANGE, value);
  expect(units.set(keySize, valueSize, 3)).toBeGreaterThanOrEqual(0);
}

/** All faults, as kinds and keys. */
export function faultsOf({ units, bytes, view }: Instance): string[] {
  const faults: string[] = [];
  expect(units.verifyBegin()).toBe(0);
  for (let steps = 0; ; steps++) {
    expect(steps).toBeLessThan(10_000);
    const phase = units.verifyStep(1);
    expect(phase).toBeGreaterThanOrEqual(0);
    let at = units.resultPointer() >>> 0;
    const end = at + units.resultSize();
    while (at < end) {
      const size = view.getUint32(at + 4, true);
      const details = { a: view.getFloat64(at + 16, true), b: view.getFloat64(at + 24, true) };
      const { kind, message } = faultOf(view.getUint32(at, true), details);
      const key = Buffer.from(bytes.subarray(at + 32, at + 32 + size)).toString();
      faults.push(
        `${kind}${kind === "ordered-index" || kind === "total" ? `(${message.replace(/.*key: /, "")})` : ""} ${key}`.trim(),
      );
      at += 32 + ((size + 7) & ~7);
    }
    if (phase === PHASE_DONE) break;
  }
  expect(units.verifyFigure(6)).toBe(faults.length);
  units.verifyEnd();
  return faults;
}
