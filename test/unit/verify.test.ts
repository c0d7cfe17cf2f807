/** Verifying an engine whose memory was spoilt: what is wrong is told, with its key, and nothing else is. */
import { expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { faultOf } from "../../store/verify.ts";
import { EXCHANGE, type Instance, instantiate, KEY_A, writeKey } from "./units.ts";

const KEYS = 500;
const PHASE_DONE = 5;
const MIB = 1_048_576;

/** Offsets in tree nodes and key nodes; see assembly/index. */
const LEAF_HEADS = 64;
const LEAF_ENTRIES = 704;
const LEAF_NEXT = 8;

interface Engine extends Instance {
  nodes: number[];
}

/** An engine with 500 keys, all of them on the device. */
function engine(): Engine {
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

function keyOf(number: number): string {
  return `key ${String(number).padStart(4, "0")}`;
}

function put({ units, bytes }: Instance, key: string, value: string): void {
  const keySize = writeKey(bytes, KEY_A, key);
  const valueSize = writeKey(bytes, EXCHANGE, value);
  expect(units.set(keySize, valueSize, 3)).toBeGreaterThanOrEqual(0);
}

/** All faults, as kinds and keys. */
function faultsOf({ units, bytes, view }: Instance): string[] {
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

test("an engine that is sound has no fault, again and again, and gives its memory back", () => {
  const instance = engine();
  const used = instance.units.chunksUsed();
  for (let i = 0; i < 3; i++) expect(faultsOf(instance)).toEqual([]);
  expect(instance.units.chunksUsed()).toBe(used);
  expect(instance.units.verifyBegin()).toBe(0);
  expect(instance.units.verifyBegin()).toBe(-16);
  instance.units.verifyEnd();
  expect(instance.units.verifyStep(1)).toBe(-16);
});

test("a key that the hash index lost, and one that only it has", () => {
  const instance = engine();
  const { units, bytes } = instance;
  const size = writeKey(bytes, KEY_A, keyOf(77));
  // The units' hash seed is zero.
  const slot = units.hashFind(KEY_A, size, units.keyHash(KEY_A, size, 0n));
  units.hashRemove(slot);
  expect(faultsOf(instance)).toEqual([
    "live-bytes",
    `hash-index ${keyOf(77)}`,
    "total(entries of the two indexes differ: 1 less kept than counted)",
  ]);
  units.hashInsert(units.keyHash(KEY_A, size, 0n), instance.nodes[77] as number);
  expect(faultsOf(instance)).toEqual([]);
  units.treeRemove(instance.nodes[78] as number);
  expect(faultsOf(instance)).toEqual([
    `ordered-index(it is only in the hash index) ${keyOf(78)}`,
    "total(entries of the two indexes differ: 1 more kept than counted)",
    "total(keys differ: 1 more kept than counted)",
    "total(bytes of keys differ: 8 more kept than counted)",
    "total(bytes of values differ: 8 more kept than counted)",
  ]);
});

test("entries out of order, a wrong head, a broken link", () => {
  const instance = engine();
  const { units, view } = instance;
  const leaf = units.treeLeafFirst() >>> 0;
  const entry = (index: number): number => leaf + LEAF_ENTRIES + index * 4;
  const [a, b] = [view.getUint32(entry(4), true), view.getUint32(entry(5), true)];
  view.setUint32(entry(4), b, true);
  view.setUint32(entry(5), a, true);
  const swapped = faultsOf(instance);
  expect(swapped[0]).toMatch(/^ordered-index\(a head\) key 0000$/);
  expect(swapped.every((fault) => fault.startsWith("ordered-index"))).toBe(true);
  const heads = [view.getBigInt64(leaf + LEAF_HEADS + 32, true), view.getBigInt64(leaf + LEAF_HEADS + 40, true)];
  view.setBigInt64(leaf + LEAF_HEADS + 32, heads[1] as bigint, true);
  view.setBigInt64(leaf + LEAF_HEADS + 40, heads[0] as bigint, true);
  expect(faultsOf(instance)[0]).toBe("ordered-index(keys that do not ascend) key 0000");
  view.setUint32(entry(4), a, true);
  view.setUint32(entry(5), b, true);
  view.setBigInt64(leaf + LEAF_HEADS + 32, heads[0] as bigint, true);
  view.setBigInt64(leaf + LEAF_HEADS + 40, heads[1] as bigint, true);
  expect(faultsOf(instance)).toEqual([]);
  const next = view.getUint32(leaf + LEAF_NEXT, true);
  view.setUint32(leaf + LEAF_NEXT, leaf, true);
  expect(faultsOf(instance).some((fault) => fault.includes("a walk that does not end"))).toBe(true);
  view.setUint32(leaf + LEAF_NEXT, next, true);
  view.setUint32(entry(9), 3, true);
  expect(faultsOf(instance)[0]).toBe("ordered-index(a pointer that leads nowhere)");
});

test("a node that names another place, version or value than its record", () => {
  const instance = engine();
  const { units, bytes, nodes } = instance;
  const node = nodes[250] as number;
  const [address, flags, sequence] = [
    units.keyNodeAddress(node),
    units.keyNodeFlags(node),
    units.keyNodeSequence(node),
  ] as const;
  const other = units.keyNodeAddress(nodes[251] as number);
  units.keyNodeSet(node, other, flags, sequence);
  expect(faultsOf(instance)).toEqual(["live-bytes", `record-missing ${keyOf(250)}`]);
  for (const nowhere of [address + 1n, 4096n, 1n << 40n, BigInt(MIB) + 56n]) {
    units.keyNodeSet(node, nowhere, flags, sequence);
    expect(faultsOf(instance)).toEqual(["live-bytes", `key-node ${keyOf(250)}`]);
  }
  units.keyNodeSet(node, address, flags, sequence - 1n);
  expect(faultsOf(instance)).toEqual([`record-newer ${keyOf(250)}`, `record-missing ${keyOf(250)}`]);
  units.keyNodeSet(node, address, flags, sequence);
  const body = units.keyNodeBody(node);
  bytes[body + 2] = (bytes[body + 2] as number) ^ 1;
  expect(faultsOf(instance)).toEqual([`record-differs ${keyOf(250)}`]);
  bytes[body + 2] = (bytes[body + 2] as number) ^ 1;
  units.keyNodeSet(node, address, flags ^ 8, sequence);
  expect(faultsOf(instance)).toEqual([`record-differs ${keyOf(250)}`]);
  units.keyNodeSet(node, address, flags, sequence);
  expect(faultsOf(instance)).toEqual([]);
});

test("accounts that are wrong", () => {
  const instance = engine();
  const { units } = instance;
  const live = units.segmentLiveBytes(0);
  units.segmentLiveBytesSet(0, live - 32n);
  expect(faultsOf(instance)).toEqual(["live-bytes"]);
  units.segmentLiveBytesSet(0, live);
  units.liveKeyCountSet(KEYS + 2);
  expect(faultsOf(instance)).toEqual(["total(keys differ: 2 more kept than counted)"]);
  units.liveKeyCountSet(KEYS);
  expect(faultsOf(instance)).toEqual([]);
  units.segmentFreeCountSet(7);
  expect(faultsOf(instance)[0]).toMatch(/^total\(free segments differ: \d more kept than counted\)$/);
});

test("takes no more memory than it says, and none when there is none", () => {
  const instance = engine();
  const { units } = instance;
  while (units.chunksAvailable() > 1) units.chunkTake();
  const used = units.chunksUsed();
  expect(units.verifyBegin()).toBe(-9);
  expect(units.chunksUsed()).toBe(used);
});

test("separators, sizes of keys and older versions that are spoilt are told of", () => {
  const instance = engine();
  const { units, view, nodes } = instance;
  const node = nodes[100] as number;
  // Words of the root view; see assembly/root.ts.
  const ROOT = 0x400;
  const inner = view.getUint32(ROOT + 96, true);
  expect(view.getUint32(ROOT + 100, true)).toBe(units.treeHeight());
  const separator = view.getUint32(inner + 536, true);
  const spoilt: readonly (readonly [string, number, (word: number) => number])[] = [
    ["a separator", separator + 8, () => 0xffffffff],
    ["a lower separator", separator + 8, () => 1],
    ["the key size of a node", node + 12, () => 0],
    ["an older version nowhere", node + 20, () => 12],
    ["an older version beyond the end", node + 20, () => 0xfffffff8],
    ["an older version of a store that has none", node + 20, () => nodes[101] as number],
  ];
  for (const [what, at, change] of spoilt) {
    const word = view.getUint32(at, true);
    view.setUint32(at, change(word) >>> 0, true);
    expect(faultsOf(instance).length, what).toBeGreaterThan(0);
    view.setUint32(at, word, true);
  }
  expect(faultsOf(instance)).toEqual([]);
});
