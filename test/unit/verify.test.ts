/** Verifying an engine whose memory was spoilt: what is wrong is told, with its key, and nothing else is. */
import { expect, test } from "vitest";
import {
  engine,
  faultsOf,
  KEYS,
  keyOf,
  LEAF_ENTRIES,
  LEAF_HEADS,
  LEAF_NEXT,
  MIB,
  PHASE_DONE,
  TREE_HEIGHT,
  TREE_ROOT,
} from "./spoilt-engine.ts";
import { HASH_DIRECTORY, KEY_A, PAGE, Random, SEED, writeKey } from "./units.ts";

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
  const inner = view.getUint32(TREE_ROOT, true);
  expect(view.getUint32(TREE_HEIGHT, true)).toBe(units.treeHeight());
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

test("leaves and inner nodes that cannot be looked at are told of, and nothing is read through them", () => {
  const instance = engine();
  const { units, view } = instance;
  const leaf = units.treeLeafFirst() >>> 0;
  const second = view.getUint32(leaf + LEAF_NEXT, true);
  const inner = view.getUint32(TREE_ROOT, true);
  const nowhere = [12, 0xffffffc0, view.byteLength - 64, leaf + 4];
  const words: readonly (readonly [string, number, readonly number[]])[] = [
    // The count is the lower half of the first word, the level lies above it.
    ["the count of the first leaf", leaf, [0, 81, 0xffff]],
    ["the count of the second leaf", second, [0, 81, 0xffff]],
    ["the level of the second leaf", second, [1 << 16, 0xff << 16]],
    ["the prefix size of the second leaf", second + 4, [0xffff]],
    ["the link of the first leaf", leaf + LEAF_NEXT, nowhere],
    ["the count of the inner node", inner, [60 | (1 << 16), 0xffff | (1 << 16)]],
    ["the level of the inner node", inner, [5, 5 | (9 << 16)]],
    ["the prefix size of the inner node", inner + 4, [0xffff]],
    ["a separator's place", inner + 536, nowhere],
    ["a separator's size", view.getUint32(inner + 536, true), [0xffff, 0xffffffff]],
    ["a child", inner + 772 + 4, nowhere],
    ["an entry", second + LEAF_ENTRIES, nowhere],
    ["the height", TREE_HEIGHT, [0, 17, 0xffffffff]],
    ["the root", TREE_ROOT, nowhere],
  ];
  for (const [what, at, values] of words) {
    const word = view.getUint32(at, true);
    for (const value of values) {
      view.setUint32(at, value, true);
      const faults = faultsOf(instance);
      expect(
        faults.filter((each) => each.startsWith("ordered-index(")),
        `${what}: ${value}`,
      ).not.toEqual([]);
      view.setUint32(at, word, true);
    }
  }
  expect(faultsOf(instance)).toEqual([]);
});

test("the proof of the ordered index tells each of its faults", () => {
  const { units, view } = engine();
  const leaf = units.treeLeafFirst() >>> 0;
  const second = view.getUint32(leaf + LEAF_NEXT, true);
  let last = second;
  while (view.getUint32(last + LEAF_NEXT, true) !== 0) last = view.getUint32(last + LEAF_NEXT, true);
  const inner = view.getUint32(TREE_ROOT, true);
  const separator = view.getUint32(inner + 536, true);
  const count = view.getUint16(leaf, true);
  expect(units.treeVerify()).toBe(0);
  const faults: readonly (readonly [string, number, number, number])[] = [
    ["the height", TREE_HEIGHT, 0, 1],
    ["the height", TREE_HEIGHT, 17, 1],
    ["the level of the root", inner, (view.getUint32(inner, true) & 0xffff) | (7 << 16), 1],
    ["the level of a leaf", second, (view.getUint32(second, true) & 0xffff) | (1 << 16), 1],
    ["more entries than a leaf takes", leaf, 81, 2],
    ["a prefix of no entries", leaf, 0, 3],
    ["a separator without the prefix", separator + 8, 0xffffffff, 3],
    ["the link back", second + 12, 0, 7],
    ["the link of the last leaf", last + LEAF_NEXT, leaf, 7],
    ["the link of the first leaf", leaf + LEAF_NEXT, last, 7],
    ["fewer entries", leaf, count - 1, 9],
  ];
  for (const [what, at, value, fault] of faults) {
    const word = view.getUint32(at, true);
    view.setUint32(at, value, true);
    expect([what, units.treeVerify()]).toEqual([what, fault]);
    view.setUint32(at, word, true);
  }
  // The first separator's last byte, one more and one less, with the head that it has then.
  const size = view.getUint32(separator, true);
  const prefixSize = view.getUint16(inner + 4, true);
  const places = [separator + 8 + size - 1, inner + LEAF_HEADS + 7 - (size - 1 - prefixSize)];
  for (const by of [1, -2]) {
    for (const at of places) view.setUint8(at, view.getUint8(at) + by);
    expect(units.treeVerify()).toBe(6);
  }
  for (const at of places) view.setUint8(at, view.getUint8(at) + 1);
  expect(units.treeVerify()).toBe(0);
  // Without entries there is no prefix; and only a root may have none, of leaves, and all but a root, of inner nodes.
  for (const node of [leaf, inner]) {
    const words = [view.getUint32(node, true), view.getUint32(node + 4, true)] as const;
    view.setUint32(node, words[0] & 0xffff0000, true);
    view.setUint32(node + 4, 0, true);
    expect(units.treeVerify()).toBe(2);
    view.setUint32(node, words[0], true);
    view.setUint32(node + 4, words[1], true);
  }
  expect(units.treeVerify()).toBe(0);
});

test("what is asked at a wrong time, or does not exist, is answered", () => {
  const { units } = engine();
  expect(units.verifyBegin()).toBe(0);
  let phase = 0;
  while (phase !== PHASE_DONE) phase = units.verifyStep(1);
  // Behind its end a verification stays there.
  expect(units.verifyStep(1)).toBe(PHASE_DONE);
  expect(units.verifyFigure(99)).toBe(-1);
  units.verifyEnd();
  units.verifyEnd();
});

test("chains of the hash index that lead nowhere are told of, and nothing is looked up in them", () => {
  const instance = engine();
  const { view } = instance;
  const bucket = view.getUint32(HASH_DIRECTORY, true);
  const slots = Array.from({ length: PAGE / 64 }, (_, i) => bucket + i * 64 + 24);
  const node = slots.find((at) => view.getUint32(at, true) !== 0) as number;
  for (const [at, value] of [
    [node, 12],
    [node, 0xfffffff8],
    [bucket + 20, 12],
    [bucket + 20, 0xffffffc0],
    [bucket + 20, bucket],
    [HASH_DIRECTORY, 64],
  ] as const) {
    const word = view.getUint32(at, true);
    view.setUint32(at, value, true);
    expect(faultsOf(instance), `${at}: ${value}`).toEqual(["hash-index"]);
    view.setUint32(at, word, true);
  }
  expect(faultsOf(instance)).toEqual([]);
});

test(`whatever word of the indexes is spoilt, a verification comes to its end (seed ${SEED})`, {
  timeout: 60_000,
}, () => {
  const instance = engine();
  const { units, view, nodes } = instance;
  const random = new Random(SEED);
  const inner = view.getUint32(TREE_ROOT, true);
  const leaves: number[] = [];
  for (let leaf = units.treeLeafFirst() >>> 0; leaf; leaf = view.getUint32(leaf + LEAF_NEXT, true)) leaves.push(leaf);
  const separators = leaves.slice(1).map((_, i) => view.getUint32(inner + 536 + i * 4, true));
  const bucket = view.getUint32(HASH_DIRECTORY, true);
  /** Start and bytes of something that the indexes are made of. */
  const places: (() => readonly [number, number])[] = [
    () => [inner, 1024],
    () => [random.pick(leaves), 1024],
    () => [random.pick(leaves), 24],
    () => [random.pick(separators), 24],
    () => [random.pick(nodes), 48],
    () => [bucket, PAGE],
    () => [TREE_ROOT, 4],
    () => [TREE_HEIGHT, 4],
  ];
  let told = 0;
  const ROUNDS = 400;
  for (let i = 0; i < ROUNDS; i++) {
    const [start, size] = random.pick(places)();
    const at = start + random.below(size / 4) * 4;
    const word = view.getUint32(at, true);
    const value = random.pick([0, 1, word ^ (1 << random.below(32)), 0xffffffff, random.word(), random.pick(nodes)]);
    view.setUint32(at, value >>> 0, true);
    try {
      if (faultsOf(instance).length > 0) told++;
    } catch (error) {
      throw new Error(`${(at - start).toString()} of ${start}: ${value >>> 0} for ${word}`, { cause: error });
    }
    view.setUint32(at, word, true);
  }
  // Not every word means something.
  expect(told).toBeGreaterThan(ROUNDS / 8);
  expect(faultsOf(instance)).toEqual([]);
});
