/**
 * The ordered index against a sorted array, by random operations over keys of many shapes.
 *
 * Keys are strings of characters up to 0xff, one a byte: JavaScript then orders them as the index does. The seed is in
 * each test's name; CAIRN_SEED sets it.
 */
import { describe, expect, test } from "vitest";
import {
  INVALID_ARGUMENT,
  instantiate,
  KEY_A,
  KEY_B,
  EXCHANGE as OUT,
  OUT_OF_MEMORY,
  PAGE,
  POOL,
  Random,
  SEED,
  type Units,
  writeKey,
} from "./units.ts";

const KEY_OFFSET = 24;
const GE = 0;
const GT = 1;
const LE = 2;
const LT = 3;

/** The index beside the sorted array that it must equal. */
class Pair {
  readonly memory: WebAssembly.Memory;
  readonly units: Units;
  readonly keys: string[] = [];
  readonly nodes = new Map<string, number>();
  readonly chunksEmpty: number;

  constructor(poolChunks: number) {
    ({ memory: this.memory, units: this.units } = instantiate(poolChunks));
    this.units.memoryInitialize(POOL, POOL + poolChunks * PAGE);
    expect(this.units.treeInitialize()).toBe(0);
    this.chunksEmpty = this.units.chunksUsed();
  }

  writeKey(at: number, key: string): number {
    return writeKey(new Uint8Array(this.memory.buffer), at, key);
  }

  keyOf(node: number): string {
    const view = new DataView(this.memory.buffer);
    return Buffer.from(this.memory.buffer, node + KEY_OFFSET, view.getUint16(node + 14, true)).toString("latin1");
  }

  takeNode(key: string): number {
    return this.units.keyNodeTake(this.writeKey(KEY_A, key)) >>> 0;
  }

  /** Index of the first key at or above `key`. */
  lowerBound(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  upperBound(key: string): number {
    const index = this.lowerBound(key);
    return this.keys[index] === key ? index + 1 : index;
  }

  insert(key: string): void {
    const node = this.takeNode(key);
    expect(node, "memory for a key node").not.toBe(0);
    const version = this.units.treeVersion();
    if (this.nodes.has(key)) {
      expect(this.units.treeInsert(node)).toBe(INVALID_ARGUMENT);
      expect(this.units.treeVersion()).toBe(version);
      this.units.keyNodeGive(node);
      return;
    }
    if (this.units.treeInsert(node) !== 0) throw new Error("insert failed");
    if (this.units.treeVersion() === version) throw new Error("the version did not change");
    this.keys.splice(this.lowerBound(key), 0, key);
    this.nodes.set(key, node);
  }

  remove(key: string): void {
    const node = this.nodes.get(key);
    if (node === undefined) {
      const absent = this.takeNode(key);
      expect(this.units.treeRemove(absent)).toBe(0);
      this.units.keyNodeGive(absent);
      return;
    }
    const version = this.units.treeVersion();
    if (!this.units.treeRemove(node)) throw new Error("remove missed a key");
    if (this.units.treeVersion() === version) throw new Error("the version did not change");
    this.units.keyNodeGive(node);
    this.keys.splice(this.lowerBound(key), 1);
    this.nodes.delete(key);
  }

  replace(key: string): void {
    const node = this.nodes.get(key);
    if (node === undefined) return;
    const version = this.units.treeVersion();
    const other = this.takeNode(key);
    expect(this.units.treeReplace(other, node)).toBe(0);
    expect(this.units.treeReplace(node, other)).toBe(1);
    expect(this.units.treeVersion()).toBe(version);
    // What the index still read through the old node would now differ.
    new Uint8Array(this.memory.buffer, node + KEY_OFFSET, key.length).fill(0xaa);
    this.units.keyNodeGive(node);
    this.nodes.set(key, other);
  }

  seek(key: string, mode: number): void {
    const found = this.units.treeSeek(KEY_A, this.writeKey(KEY_A, key), mode) >>> 0;
    const index =
      mode === GE
        ? this.lowerBound(key)
        : mode === GT
          ? this.upperBound(key)
          : (mode === LE ? this.upperBound(key) : this.lowerBound(key)) - 1;
    const wanted = this.keys[index] === undefined ? 0 : this.nodes.get(this.keys[index]!)!;
    if (found !== wanted) throw new Error(`seek, mode ${mode}, key ${JSON.stringify(key)}: index ${index}`);
    if (!wanted) expect(this.units.treePositionLeaf()).toBe(0);
  }

  /** Collects from the position to the end in blocks of random sizes. */
  collect(random: Random, backward: boolean, bound: string | undefined): number[] {
    const at = bound === undefined ? 0 : KEY_B;
    const size = bound === undefined ? 0 : this.writeKey(KEY_B, bound);
    const collected: number[] = [];
    for (;;) {
      const block = 1 + random.below(200);
      new Uint32Array(this.memory.buffer, OUT, block + 1).fill(0xdeadbeef);
      const taken = backward
        ? this.units.treeCollectBackward(OUT, block, at, size)
        : this.units.treeCollectForward(OUT, block, at, size);
      const out = new Uint32Array(this.memory.buffer, OUT, block + 1);
      expect(out[taken]).toBe(0xdeadbeef);
      collected.push(...out.subarray(0, taken));
      if (taken < block) break;
    }
    expect(this.units.treePositionLeaf()).toBe(0);
    return collected;
  }

  /** Everything in both directions, as a whole and step by step, and ranges between keys of any kind. */
  compare(random: Random, key: () => string): void {
    expect(this.units.treeVerify()).toBe(0);
    const wanted = this.keys.map((each) => this.nodes.get(each)!);
    this.units.treeFirst();
    expect(this.collect(random, false, undefined)).toEqual(wanted);
    this.units.treeLast();
    expect(this.collect(random, true, undefined)).toEqual(wanted.slice().reverse());
    const forward: number[] = [];
    for (let node = this.units.treeFirst(); node; node = this.units.treeNext()) forward.push(node >>> 0);
    expect(forward).toEqual(wanted);
    expect(this.units.treeNext()).toBe(0);
    const backward: number[] = [];
    for (let node = this.units.treeLast(); node; node = this.units.treePrevious()) backward.push(node >>> 0);
    expect(backward).toEqual(wanted.slice().reverse());
    expect(this.units.treePrevious()).toBe(0);
    for (let i = 0; i < 20; i++)
      this.compareRange(random, wanted, this.someKey(random, key), this.someKey(random, key));
  }

  compareRange(random: Random, wanted: number[], a: string, b: string): void {
    const [low, high] = a < b ? [a, b] : [b, a];
    const range = wanted.slice(this.lowerBound(low), this.lowerBound(high));
    this.units.treeSeek(KEY_A, this.writeKey(KEY_A, low), GE);
    expect(this.collect(random, false, high)).toEqual(range);
    this.units.treeSeek(KEY_A, this.writeKey(KEY_A, high), LT);
    expect(this.collect(random, true, low)).toEqual(range.reverse());
    // A bound that the position is already beyond.
    this.units.treeSeek(KEY_A, this.writeKey(KEY_A, high), GE);
    expect(this.collect(random, false, low)).toEqual([]);
    this.units.treeSeek(KEY_A, this.writeKey(KEY_A, low), LT);
    expect(this.collect(random, true, high)).toEqual([]);
  }

  /** A fresh key, one that is held, or a neighbour of one that is. */
  someKey(random: Random, key: () => string): string {
    const held = this.keys[random.below(this.keys.length || 1)];
    if (held === undefined) return key();
    switch (random.below(5)) {
      case 0:
        return held;
      case 1:
        return held.length < 2048 ? `${held}\0` : held;
      case 2:
        return held.slice(0, 1 + random.below(held.length));
      case 3:
        return held.slice(0, -1) + String.fromCharCode((held.charCodeAt(held.length - 1) + 255) & 255);
      default:
        return key();
    }
  }
}

function digits(value: number, size = 8): string {
  return String(value).padStart(size, "0");
}

interface Shape {
  name: string;
  count: number;
  make(random: Random): () => string;
}

function shape(name: string, count: number, make: (random: Random) => () => string): Shape {
  return { name, count, make };
}

const SHAPES: Shape[] = [
  shape("random, 13 bytes", 6000, (random) => () => random.bytes(13, 256)),
  shape("ascending", 6000, () => {
    let next = 0;
    return () => `user:${digits(next++)}`;
  }),
  shape("descending", 6000, () => {
    let next = 1e7;
    return () => `user:${digits(next--)}`;
  }),
  shape("numbers", 6000, (random) => () => `user:${digits(random.below(20_000))}`),
  shape("a prefix of 30 bytes", 4000, (random) => () => "p".repeat(30) + random.bytes(6, 10, 48)),
  shape("a prefix of 40 bytes", 4000, (random) => () => "p".repeat(40) + random.bytes(3, 20, 48)),
  shape("a prefix of 300 bytes", 2500, (random) => () => "q".repeat(300) + random.bytes(4, 10, 48)),
  shape("a prefix of 2,000 bytes", 1000, (random) => () => "r".repeat(2000) + random.bytes(1 + random.below(48), 3)),
  shape("prefixes of any size", 3000, (random) => () => {
    const size = [0, 7, 8, 9, 24, 39, 40, 41, 48, 90, 500][random.below(11)]!;
    return "s".repeat(size) + random.bytes(1 + random.below(12), 4, 113);
  }),
  shape("tenants", 5000, (random) => () => {
    const tenant = String.fromCharCode(97 + random.below(5));
    return `${tenant.repeat(10 + tenant.charCodeAt(0) - 97)}/${digits(random.below(5000), 5)}`;
  }),
  shape("zero bytes", 4000, (random) => () => random.bytes(1 + random.below(14), 2)),
  shape("zero bytes only", 1500, (random) => () => "\0".repeat(1 + random.below(2048))),
  shape("every byte", 5000, (random) => () => random.bytes(1 + random.below(5), 256)),
  shape("sizes from 1 to 2,048", 1200, (random) => () => random.bytes(1 + random.below(2048), 3, 97)),
  shape("prefixes of each other", 2048, (random) => () => "ab".repeat(1024).slice(0, 1 + random.below(2048))),
];

describe(`ordered index, seed ${SEED}`, () => {
  test.each(SHAPES)("equals a sorted array: $name", ({ count, make }) => {
    const random = new Random(SEED);
    const key = make(random);
    const pair = new Pair(600);
    // Up, to and fro, down to nothing; twice, so that freed memory is used again.
    for (const removals of [2, 5, 9, 1, 5, 9]) {
      for (let done = 0; done < count; ) {
        done += churn(pair, random, key, removals);
        if (random.below(60) === 0) pair.compare(random, key);
        for (let i = 0; i < 4; i++) for (const mode of [GE, GT, LE, LT]) pair.seek(pair.someKey(random, key), mode);
      }
      pair.compare(random, key);
      if (removals === 9) expectEmptied(pair, random);
    }
  });

  /** One key or a run of neighbours, put in or taken out: how many. `removals` of ten are removals. */
  function churn(pair: Pair, random: Random, key: () => string, removals: number): number {
    const isRemoval = random.below(10) < removals;
    const run = random.below(4) === 0 ? 1 + random.below(100) : 1;
    if (isRemoval) {
      const from = random.below(pair.keys.length || 1);
      const doomed = pair.keys.slice(from, from + run);
      if (random.below(2)) doomed.reverse();
      for (const each of doomed) {
        pair.remove(each);
        // A search elsewhere must not lead the next removal astray.
        if (random.below(4) === 0) pair.seek(pair.someKey(random, key), random.below(4));
      }
      if (random.below(10) === 0) pair.remove(pair.someKey(random, key));
    } else {
      const fresh = Array.from({ length: run }, () => (random.below(8) ? key() : pair.someKey(random, key)));
      if (random.below(2)) fresh.sort();
      if (random.below(4) === 0) fresh.reverse();
      for (const each of fresh) {
        pair.insert(each);
        if (random.below(8) === 0) pair.seek(pair.someKey(random, key), random.below(4));
      }
      if (random.below(4) === 0) pair.replace(pair.someKey(random, key));
    }
    return run;
  }

  function expectEmptied(pair: Pair, random: Random): void {
    while (pair.keys.length) pair.remove(pair.keys[random.below(pair.keys.length)]!);
    expect(pair.units.treeVerify()).toBe(0);
    expect(pair.units.treeFirst()).toBe(0);
    expect(pair.units.treeLast()).toBe(0);
    expect(pair.units.treeNodeCount()).toBe(1);
    expect(pair.units.treeHeight()).toBe(1);
    expect(pair.units.treeSeparatorBytes()).toBe(0);
    expect(pair.units.treeBytes()).toBe(1024);
    expect(pair.units.chunksUsed()).toBe(pair.chunksEmpty);
  }

  test("many levels, by ascending, descending and random keys; removed in every order", () => {
    const random = new Random(SEED);
    const count = 300_000;
    const chunks = 1000;
    const { memory, units, bytes } = instantiate(chunks);
    for (const insertOrder of ["ascending", "descending", "random"] as const) {
      for (const removeOrder of ["ascending", "descending", "random"] as const) {
        units.memoryInitialize(POOL, POOL + chunks * PAGE);
        expect(units.treeInitialize()).toBe(0);
        const nodes = new Uint32Array(count);
        bytes.fill(0, KEY_A, KEY_A + 16);
        for (const i of orderOf(insertOrder, count, random)) {
          Buffer.from(memory.buffer).write(`k${digits(i)}`, KEY_A, "latin1");
          nodes[i] = units.keyNodeTake(9);
          if (units.treeInsert(nodes[i]!) !== 0) throw new Error("insert failed");
        }
        expect(units.treeVerify()).toBe(0);
        expect(units.treeHeight()).toBeGreaterThan(2);
        // A leaf has room for 80; edges are filled to the brim, random leaves to about 69 of a hundred.
        const leavesFull = count / 80;
        expect(units.treeNodeCount()).toBeLessThan(leavesFull * (insertOrder === "random" ? 1.6 : 1.025));
        const order = orderOf(removeOrder, count, random);
        for (let i = 0; i < count; i++) {
          if (!units.treeRemove(nodes[order[i]!]!)) throw new Error("remove missed a key");
          if (i % 50_000 === 25_000 || i === count - 40) expect(units.treeVerify()).toBe(0);
        }
        expect(units.treeVerify()).toBe(0);
        expect(units.treeNodeCount()).toBe(1);
        expect(units.treeHeight()).toBe(1);
        for (const node of nodes) units.keyNodeGive(node);
        expect(units.chunksUsed()).toBe(1);
      }
    }
  });

  function orderOf(kind: "ascending" | "descending" | "random", count: number, random: Random): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    if (kind === "descending") order.reverse();
    if (kind === "random") {
      for (let i = count - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
    }
    return order;
  }

  test("nodes of every level are merged while keys go, not only when all are gone", () => {
    const random = new Random(SEED);
    const pair = new Pair(400);
    const count = 200_000;
    const nodes = new Uint32Array(count);
    for (const i of orderOf("random", count, random)) {
      nodes[i] = pair.takeNode(digits(i));
      if (pair.units.treeInsert(nodes[i]!) !== 0) throw new Error("insert failed");
    }
    expect(pair.units.treeHeight()).toBe(4);
    for (const i of orderOf("random", count, random)) {
      if (i % 200 === 0) continue;
      if (!pair.units.treeRemove(nodes[i]!)) throw new Error("remove missed a key");
      pair.units.keyNodeGive(nodes[i]!);
    }
    for (let i = 0; i < count; i += 200) {
      pair.keys.push(digits(i));
      pair.nodes.set(digits(i), nodes[i]!);
    }
    pair.compare(random, () => digits(random.below(count)));
    // 1,000 keys; a leaf with fewer than 20 of them has full neighbours, or is alone under its parent.
    expect(pair.units.treeNodeCount()).toBeLessThan(80);
    expect(pair.units.treeHeight()).toBeLessThan(4);
  });

  test("a leaf that drains is merged with the next one, or with the one before", () => {
    for (const drained of [0, 80]) {
      const pair = new Pair(4);
      for (let i = 0; i < 160; i++) pair.insert(digits(i));
      expect(pair.units.treeNodeCount()).toBe(3);
      for (let i = 0; i < 40; i++) pair.remove(digits(80 - drained + i));
      for (let i = 0; i < 60; i++) pair.remove(digits(drained + i));
      expect(pair.units.treeNodeCount()).toBe(3);
      pair.remove(digits(drained + 60));
      expect(pair.units.treeNodeCount()).toBe(1);
      expect(pair.units.treeVerify()).toBe(0);
    }
  });

  test("a run of ascending keys fills its leaves, wherever it is", () => {
    const random = new Random(SEED);
    const pair = new Pair(100);
    for (let i = 0; i < 100; i++) for (const side of ["a", "c"]) pair.insert(side + digits(i));
    const before = pair.units.treeNodeCount();
    for (let i = 0; i < 8000; i++) pair.insert(`b${digits(i)}`);
    expect(pair.units.treeNodeCount()).toBeLessThan(before + 110);
    pair.compare(random, () => `b${digits(random.below(8000))}`);
  });

  test("separators are short, and prefixes are as long as the keys allow", () => {
    const random = new Random(SEED);
    const pair = new Pair(100);
    const prefix = "w".repeat(300);
    for (let i = 0; i < 2000; i++) pair.insert(prefix + random.bytes(400, 26, 97));
    for (const outlier of ["a", "w", `${prefix}\0`, "x"]) pair.insert(outlier);
    for (let i = 0; i < 2000; i++) pair.insert(prefix + random.bytes(400, 26, 97));
    pair.compare(random, () => prefix + random.bytes(4, 26, 97));
    // Three bytes tell two random keys of thousands apart, the prefix comes before them: an item of 512 bytes.
    expect(pair.units.treeSeparatorBytes()).toBeLessThanOrEqual(512 * pair.units.treeNodeCount());
    const header = (leaf: number) => new Uint16Array(pair.memory.buffer, leaf, 32);
    let leaves = 0;
    let short = 0;
    pair.units.treeFirst();
    for (
      let leaf = pair.units.treePositionLeaf() >>> 0;
      leaf;
      leaf = new Uint32Array(pair.memory.buffer, leaf, 3)[2]!
    ) {
      leaves++;
      if (header(leaf)[2]! < 300) short++;
    }
    expect(leaves).toBeGreaterThan(40);
    expect(short).toBeLessThanOrEqual(3);
  });

  test("a failed insert changes nothing", () => {
    const random = new Random(SEED);
    for (const size of [8, 16, 24, 700, 2000]) {
      for (const chunksLeft of size > 24 ? [0, 1] : [0, 1, 2]) {
        const pair = new Pair(250);
        const key = () => "m".repeat(size - 8) + random.bytes(8, 10, 48);
        const fresh = [...new Set(Array.from({ length: size > 24 ? 5000 : 15_000 }, key))];
        const nodes = fresh.map((each) => pair.takeNode(each));
        expect(nodes).not.toContain(0);
        const chunks: number[] = [];
        while (pair.units.chunksAvailable() > chunksLeft) chunks.push(pair.units.chunkTake());
        const state = () => [
          pair.units.treeVersion(),
          pair.units.treeNodeCount(),
          pair.units.treeSeparatorBytes(),
          pair.units.treeHeight(),
          pair.units.chunksUsed(),
        ];
        let failures = 0;
        for (let i = 0; i < fresh.length; i++) {
          const before = state();
          const status = pair.units.treeInsert(nodes[i]!);
          if (status === 0) {
            pair.keys.splice(pair.lowerBound(fresh[i]!), 0, fresh[i]!);
            pair.nodes.set(fresh[i]!, nodes[i]!);
            continue;
          }
          failures++;
          expect(status).toBe(OUT_OF_MEMORY);
          expect(state()).toEqual(before);
          pair.units.keyNodeGive(nodes[i]!);
          // Make room now and then, so that a failure is followed by success.
          if (failures % 40 === 0) pair.remove(pair.keys[random.below(pair.keys.length)]!);
          if (failures % 400 === 0 && chunks.length) pair.units.chunkGive(chunks.pop()!);
        }
        expect(failures).toBeGreaterThan(0);
        pair.compare(random, key);
        while (pair.keys.length) pair.remove(pair.keys[random.below(pair.keys.length)]!);
        for (const chunk of chunks) pair.units.chunkGive(chunk);
        expect(pair.units.chunksUsed()).toBe(pair.chunksEmpty);
      }
    }
  });

  test("what was reserved is there", () => {
    const random = new Random(SEED);
    let granted = 0;
    let refused = 0;
    for (let round = 0; round < 150; round++) {
      const pair = new Pair(60);
      const size = [13, 200, 1500][random.below(3)]!;
      const start = random.below(size === 1500 ? 300 : 2000);
      const key = () => "z".repeat(size - 13) + random.bytes(13, 256);
      for (let i = 0; i < start; i++) pair.insert(key());
      const count = 1 + random.below(random.below(2) ? 10 : size === 1500 ? 200 : 2000);
      const fresh = Array.from({ length: count }, key);
      if (random.below(2)) fresh.sort();
      const nodes = fresh.map((each) => pair.takeNode(each));
      if (nodes.includes(0)) continue;
      // Leave about as many chunks as are needed.
      const left = random.below(2 + (random.below(3) ? 8 : 40));
      while (pair.units.chunksAvailable() > left) pair.units.chunkTake();
      if (!pair.units.treeReserve(count, size)) {
        refused++;
        continue;
      }
      granted++;
      for (const node of nodes) expect(pair.units.treeInsert(node)).toBe(0);
      expect(pair.units.treeVerify()).toBe(0);
    }
    expect(granted).toBeGreaterThan(10);
    expect(refused).toBeGreaterThan(10);
  });

  test("what was reserved is there when every leaf splits", () => {
    const leaves = 1200;
    const pair = new Pair(250);
    for (let i = 0; i < leaves * 80; i++) expect(pair.units.treeInsert(pair.takeNode(`${digits(i)}a`))).toBe(0);
    const nodes = Array.from({ length: leaves }, (_, i) => pair.takeNode(`${digits(i * 80 + 40)}b`));
    expect(nodes).not.toContain(0);
    // The fewest chunks for which the answer is yes.
    const chunks: number[] = [];
    while (pair.units.chunksAvailable()) chunks.push(pair.units.chunkTake());
    while (!pair.units.treeReserve(leaves, 9)) pair.units.chunkGive(chunks.pop()!);
    expect(chunks.length).toBeGreaterThan(0);
    for (const node of nodes) expect(pair.units.treeInsert(node)).toBe(0);
    expect(pair.units.treeVerify()).toBe(0);
  });

  test("a position kept by a caller goes on where it was", () => {
    const pair = new Pair(100);
    for (let i = 0; i < 1000; i++) pair.insert(digits(i));
    const walk = (): [number, number] => [pair.units.treePositionLeaf(), pair.units.treePositionIndex()];
    pair.units.treeFirst();
    let a = walk();
    pair.units.treeLast();
    let b = walk();
    for (let i = 0; i < 1000; i++) {
      pair.units.treePositionSet(...a);
      expect(pair.units.treeCollectForward(OUT, 1, 0, 0)).toBe(1);
      expect(pair.keyOf(new Uint32Array(pair.memory.buffer, OUT, 1)[0]!)).toBe(digits(i));
      a = walk();
      pair.units.treePositionSet(...b);
      expect(pair.units.treeCollectBackward(OUT, 1, 0, 0)).toBe(1);
      expect(pair.keyOf(new Uint32Array(pair.memory.buffer, OUT, 1)[0]!)).toBe(digits(999 - i));
      b = walk();
    }
    expect(a[0]).toBe(0);
    expect(b[0]).toBe(0);
  });

  test("treeVerify sees what is wrong", () => {
    const pair = new Pair(100);
    for (let i = 0; i < 5000; i++) pair.insert(`v${digits((i * 2654435761) % 100_000)}`);
    expect(pair.units.treeVerify()).toBe(0);
    const words = new Uint32Array(pair.memory.buffer);
    pair.units.treeFirst();
    const first = pair.units.treePositionLeaf() >>> 0;
    const second = words[(first >> 2) + 2]!;
    // Words of the root view; see assembly/root.ts.
    const rootView = (offset: number): number => 0x400 + offset;
    const [top, height, leafFirst, leafLast, nodeCount, separatorBytes, finger] = [
      96, 100, 104, 108, 112, 120, 132,
    ].map(rootView) as [number, number, number, number, number, number, number];
    expect(words[height >> 2]).toBe(pair.units.treeHeight());
    expect(words[nodeCount >> 2]).toBe(pair.units.treeNodeCount());
    const inner = words[top >> 2]!;
    const separator = words[(inner + 536) >> 2]!;
    const faults: [string, number, (value: number) => number][] = [
      ["count", second, (value) => value - 1],
      ["level", second, (value) => value + 0x10000],
      ["prefix size", second + 4, (value) => value + 1],
      ["shorter prefix size", second + 4, (value) => value - 1],
      ["next", second + 8, () => first],
      ["previous", second + 12, () => 0],
      ["prefix", second + 24, (value) => value ^ 1],
      ["head", second + 64, (value) => value ^ 1],
      ["entry", second + 704, () => words[(second + 708) >> 2]!],
      ["key in another leaf", second + 704, () => words[(first + 704) >> 2]!],
      ["more entries than fit", second, (value) => value | 0x3ff],
      ["no entries", second, (value) => value & 0xffff0000],
      ["a separator that is too low", separator + 8, () => 0],
      ["a separator that is too high", separator + 8, () => 0xffffffff],
      ["no height", height, () => 0],
      ["a height that cannot be", height, () => 1000],
      ["another height", height, (value) => value + 1],
      ["fewer nodes", nodeCount, (value) => value - 1],
      ["more nodes", nodeCount, (value) => value + 1],
      ["more bytes of separators", separatorBytes, (value) => value + 8],
      ["another first leaf", leafFirst, () => second],
      ["another last leaf", leafLast, () => second],
      ["a finger that is no leaf", finger, () => inner],
    ];
    for (const [what, at, change] of faults) {
      const value = words[at >> 2]!;
      words[at >> 2] = change(value);
      expect(pair.units.treeVerify(), what).not.toBe(0);
      words[at >> 2] = value;
      expect(pair.units.treeVerify(), what).toBe(0);
    }
  });
});
