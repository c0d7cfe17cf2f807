/** The hash index against a Map, by random operations, and its chains bucket by bucket. */
import { describe, expect, test } from "vitest";
import {
  HASH_DIRECTORY,
  type Instance,
  instantiate,
  KEY_A,
  OK,
  OUT_OF_MEMORY,
  PAGE,
  POOL,
  Random,
  SEED,
  same,
  writeKey,
} from "./units.ts";

const SLAB_TABLE = 0xa2000;
const BUCKETS_INITIAL = 4096;
const KEYS_PER_BUCKET = 7;
const SLOTS = 10;

interface Entry {
  node: number;
  hash: bigint;
}

type Hash = (key: string, instance: Instance) => bigint;

/** The index beside the map that it must equal. Its hashes are what `hash` says. */
class Pair {
  readonly instance: Instance;
  readonly entries = new Map<string, Entry>();
  readonly keys: string[] = [];
  readonly chunksEmpty: number;
  private readonly hash: Hash;

  constructor(poolChunks: number, hash: Hash) {
    this.hash = hash;
    this.instance = instantiate(poolChunks);
    this.instance.units.memoryInitialize(POOL, POOL + poolChunks * PAGE);
    // What the memory held before must not matter.
    const chunks = Array.from({ length: 8 }, () => this.instance.units.chunkTake());
    for (const chunk of chunks) {
      this.instance.bytes.fill(0xee, chunk, chunk + PAGE);
      this.instance.units.chunkGive(chunk);
    }
    same(this.instance.units.hashInitialize(), OK, "hashInitialize");
    this.chunksEmpty = this.instance.units.chunksUsed();
  }

  hashOf(key: string): bigint {
    return this.hash(key, this.instance);
  }

  find(key: string, hash: bigint): number {
    return this.instance.units.hashFind(KEY_A, writeKey(this.instance.bytes, KEY_A, key), hash) >>> 0;
  }

  nodeAt(slot: number): number {
    return slot ? this.instance.view.getUint32(slot, true) : 0;
  }

  /** Whether memory sufficed. */
  insert(key: string): boolean {
    const { units, bytes } = this.instance;
    const hash = this.hashOf(key);
    same(this.find(key, hash), 0, "an absent key was found");
    const node = units.keyNodeTake(writeKey(bytes, KEY_A, key)) >>> 0;
    if (!node) return false;
    const buckets = units.hashBucketCount();
    const overflow = units.hashOverflowCount();
    const chunks = units.chunksUsed();
    const status = units.hashInsert(hash, node);
    if (status !== OK) {
      same(status, OUT_OF_MEMORY, "status");
      units.keyNodeGive(node);
      return false;
    }
    // An insert splits one bucket at most, and clears one fresh chunk of buckets and one of overflow at most.
    const grown = units.hashBucketCount() - buckets;
    if (grown !== 0 && grown !== 1) throw new Error(`${grown} buckets split`);
    if (units.chunksUsed() - chunks > 2) throw new Error(`${units.chunksUsed() - chunks} chunks taken`);
    if (units.hashOverflowCount() - overflow > 2) throw new Error("too many overflow buckets taken");
    this.entries.set(key, { node, hash });
    this.keys.push(key);
    same(this.nodeAt(this.find(key, hash)), node, "what was inserted");
    return true;
  }

  remove(index: number): void {
    const { units } = this.instance;
    const key = this.keys[index]!;
    const { node, hash } = this.entries.get(key)!;
    const slot = this.find(key, hash);
    same(this.nodeAt(slot), node, "what is removed");
    units.hashRemove(slot);
    same(this.find(key, hash), 0, "what was removed");
    units.keyNodeGive(node);
    this.entries.delete(key);
    this.keys[index] = this.keys.at(-1)!;
    this.keys.pop();
  }

  /** Chains by bucket: the entries of each, as the layout at the head of the file has them. */
  chains(): { tag: number; node: number }[][] {
    const { units, view } = this.instance;
    const chains: { tag: number; node: number }[][] = [];
    let overflowCount = 0;
    for (let index = 0; index < units.hashBucketCount(); index++) {
      const chunk = view.getUint32(HASH_DIRECTORY + 4 * (index >>> 10), true);
      const chain: { tag: number; node: number }[] = [];
      for (let bucket = chunk + 64 * (index & 1023); bucket; bucket = view.getUint32(bucket + 20, true)) {
        same(bucket % 64, 0, "alignment of a bucket");
        if (bucket !== chunk + 64 * (index & 1023)) overflowCount++;
        for (let slot = 0; slot < SLOTS; slot++) {
          const tag = view.getUint16(bucket + 2 * slot, true);
          if (tag) chain.push({ tag, node: view.getUint32(bucket + 24 + 4 * slot, true) });
        }
      }
      chains.push(chain);
    }
    same(units.hashOverflowCount(), overflowCount, "count of overflow buckets");
    same(units.hashBytes(), (units.hashBucketCount() + overflowCount) * 64, "hashBytes");
    return chains;
  }

  /** Every key lies in the one chain, under the one tag, where its hash says. */
  check(): void {
    const { units } = this.instance;
    same(units.keyCount(), this.entries.size, "key count");
    same(units.hashCount(), this.entries.size, "entries counted");
    const byNode = new Map([...this.entries.values()].map((entry) => [entry.node, entry.hash]));
    const chains = this.chains();
    const low = 2 ** Math.floor(Math.log2(chains.length));
    let entries = 0;
    for (const [index, chain] of chains.entries()) {
      for (const { tag, node } of chain) {
        const hash = byNode.get(node);
        if (hash === undefined) throw new Error("an entry without a key");
        byNode.delete(node);
        const folded = Number(hash & BigInt(2 * low - 1));
        same(index, folded < chains.length ? folded : folded & (low - 1), "bucket");
        same(tag, Number((hash >> 12n) & 0xffffn) || 0x8000, "tag");
        entries++;
      }
    }
    same(entries, this.entries.size, "entries");
    for (const [key, { node, hash }] of this.entries) same(this.nodeAt(this.find(key, hash)), node, key);
  }

  /** Buckets of the longest chain as it is now, if its entries lay without a gap. */
  longestChain(): number {
    return Math.ceil(this.chains().reduce((longest, chain) => Math.max(longest, chain.length), 1) / SLOTS);
  }
}

const realHash: Hash = (key, { units, bytes }) =>
  BigInt.asUintN(64, units.keyHash(KEY_A, writeKey(bytes, KEY_A, key), 0x1234_5678_9abc_def0n));

describe(`hash index, seed ${SEED}`, () => {
  test("equals a Map through three doublings, and down to nothing", () => {
    const random = new Random(SEED);
    const pair = new Pair(220, realHash);
    const { units } = pair.instance;
    let absent = 0;
    const fresh = () => (random.below(3) ? `key:${random.below(1 << 30)}` : random.bytes(1 + random.below(30), 256));
    for (const [target, removals] of [
      [20_000, 2],
      [70_000, 1],
      [40_000, 8],
      [118_000, 1],
      [0, 10],
      [30_000, 2],
      [0, 10],
    ] as const) {
      while (target ? Math.abs(pair.keys.length - target) > 20 : pair.keys.length) {
        if (random.below(10) < removals && pair.keys.length) {
          pair.remove(random.below(pair.keys.length));
        } else {
          const key = fresh();
          if (pair.entries.has(key)) {
            same(pair.nodeAt(pair.find(key, pair.hashOf(key))), pair.entries.get(key)?.node ?? 0, "a held key");
          } else if (random.below(8)) {
            if (!pair.insert(key)) throw new Error("out of memory");
          } else {
            absent++;
            same(pair.find(key, pair.hashOf(key)), 0, "an absent key");
          }
        }
      }
      pair.check();
    }
    expect(absent).toBeGreaterThan(1000);
    expect(units.hashCount()).toBe(0);
    expect(units.hashBucketCount()).toBeGreaterThan(4 * BUCKETS_INITIAL);
    // A good hash gives chains of a few buckets, so that no insert walks or splits more.
    expect(units.hashChainLongest()).toBeLessThanOrEqual(4);
  });

  test("a bucket splits with each key beyond seven a bucket", () => {
    const pair = new Pair(80, realHash);
    for (let i = 0; i < 60_000; i++) {
      if (!pair.insert(`n${i}`)) throw new Error("out of memory");
      const wanted = Math.max(BUCKETS_INITIAL, Math.ceil((i + 1) / KEYS_PER_BUCKET));
      same(pair.instance.units.hashBucketCount(), wanted, `buckets at ${i + 1} keys`);
    }
    pair.check();
  });

  test("keys of one bucket, found by search: a chain that overflows, splits and closes up", () => {
    const random = new Random(SEED);
    const pair = new Pair(120, realHash);
    const { units } = pair.instance;
    // Buckets 0, 1 and 2 split first, 4,095 last.
    for (const bucket of [0, 1, 2, 4095]) {
      const colliding: string[] = [];
      for (let i = 0; colliding.length < 45; i++) {
        const key = `${bucket}/${i}`;
        if (Number(pair.hashOf(key) & 0xfffn) === bucket) colliding.push(key);
      }
      for (const key of colliding) pair.insert(key);
      expect(units.hashChainLongest()).toBeGreaterThanOrEqual(5);
      expect(pair.chains()[bucket]!.length).toBeGreaterThanOrEqual(45);
    }
    pair.check();
    const overflowBefore = units.hashOverflowCount();
    expect(overflowBefore).toBeGreaterThanOrEqual(16);
    // Holes in the middle of the chains.
    for (let i = 0; i < 60; i++) pair.remove(random.below(pair.keys.length));
    pair.check();
    for (let i = 0; units.hashBucketCount() < 2 * BUCKETS_INITIAL; i++) pair.insert(`filler${i}`);
    pair.check();
    const chains = pair.chains();
    for (const bucket of [0, 1, 2, 4095]) {
      expect(chains[bucket]!.length).toBeLessThan(45);
      expect(chains[bucket + BUCKETS_INITIAL]!.length).toBeGreaterThan(0);
    }
    while (pair.keys.length) pair.remove(random.below(pair.keys.length));
    pair.check();
  });

  test("a split leaves no more overflow buckets than its entries need", () => {
    const pair = new Pair(120, (key) => BigInt(key));
    const { units } = pair.instance;
    // 100 keys of bucket 0: half of them, by bit 12, belong to bucket 4,096.
    for (let i = 0; i < 100; i++) pair.insert(String(BigInt(i) << 12n));
    expect(units.hashOverflowCount()).toBe(9);
    expect(units.hashChainLongest()).toBe(10);
    for (let i = 0; units.hashBucketCount() === BUCKETS_INITIAL; i++) {
      pair.insert(String(BigInt(1 + (i % 4095)) | (BigInt(Math.floor(i / 4095)) << 12n)));
    }
    expect(units.hashBucketCount()).toBe(BUCKETS_INITIAL + 1);
    expect(units.hashOverflowCount()).toBe(8);
    pair.check();
    // The others went back to the slab: its chunk counts the live items, and no node here is as large as a bucket.
    const { view } = pair.instance;
    const overflow = view.getUint32(view.getUint32(HASH_DIRECTORY, true) + 20, true);
    const state = SLAB_TABLE + Math.floor(overflow / PAGE) * 32;
    expect(view.getUint32(state + 4, true)).toBe(8);
  });

  test.each([
    ["one hash", () => 0x5555_5555_5555_5555n],
    ["hash zero, whose tag would mark a free slot", () => 0n],
    ["all bits set", () => 0xffff_ffff_ffff_ffffn],
    ["one bucket, any tag", (key: string) => (BigInt(Buffer.from(key).readUInt32BE(0)) << 12n) | 5n],
    ["any bucket, tag zero", (key: string) => BigInt(Buffer.from(key).readUInt16BE(0) & 0xfff)],
    [
      "tags 0 and 0x8000",
      (key: string) => (key.charCodeAt(0) & 1 ? 0x800_0000n : 0n) | (key.charCodeAt(1) & 1 ? 9n : 0n),
    ],
  ] as [string, (key: string) => bigint][])("keys are told apart by their bytes: %s", (_, hash) => {
    const random = new Random(SEED);
    const pair = new Pair(60, hash);
    for (const removals of [2, 5, 9, 1, 9]) {
      for (let i = 0; i < 400; i++) {
        if (random.below(10) < removals && pair.keys.length) pair.remove(random.below(pair.keys.length));
        else {
          const key = random.bytes(4 + random.below(3), 128);
          if (!pair.entries.has(key)) pair.insert(key);
          // Its neighbours in the chain differ in size or in one byte.
          same(pair.nodeAt(pair.find(`${key}\0`, pair.hashOf(key))), pair.entries.get(`${key}\0`)?.node ?? 0, "longer");
        }
      }
      pair.check();
    }
    while (pair.keys.length) pair.remove(random.below(pair.keys.length));
    pair.check();
  });

  test("chains through many splits, when half of the keys share their buckets", () => {
    const random = new Random(SEED);
    // Bits 0 to 11 are one of four buckets for every other key; the bits of the tag are random.
    const pair = new Pair(150, (key) => {
      const [number, odd] = [BigInt(key.slice(1)), key.charCodeAt(0) & 1];
      const mixed = (number * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn;
      return odd ? ((mixed >> 20n) << 12n) | (number & 3n) : mixed >> 13n;
    });
    for (let i = 0; i < 70_000; i++) {
      const shared = i % 50 === 0;
      if (!pair.insert(`${shared ? "a" : "b"}${i}`)) throw new Error("out of memory");
      if (i % 5 === 0) pair.remove(random.below(pair.keys.length));
      if (i % 20_000 === 0) pair.check();
    }
    pair.check();
    expect(pair.longestChain()).toBeGreaterThan(5);
    while (pair.keys.length) pair.remove(random.below(pair.keys.length));
    pair.check();
  });

  test("memory that runs out loses no key, and growth is made up for when it is back", () => {
    const random = new Random(SEED);
    const pair = new Pair(90, realHash);
    const { units } = pair.instance;
    let inserted = 0;
    for (; inserted < 35_000; inserted++) if (!pair.insert(`m${inserted}`)) throw new Error("out of memory");
    const held: number[] = [];
    while (units.chunksAvailable() > 2) held.push(units.chunkTake());
    const buckets = units.hashBucketCount();
    let refused = 0;
    for (let i = 0; refused < 10; i++) {
      if (pair.insert(`more${i}`)) inserted++;
      else refused++;
    }
    pair.check();
    expect(units.hashBucketCount()).toBe(buckets);
    expect(units.chunksAvailable()).toBe(0);
    for (let i = 0; i < 5000; i++) pair.remove(random.below(pair.keys.length));
    pair.check();
    for (const chunk of held) units.chunkGive(chunk);
    for (let i = 0; i < 20_000; i++) if (!pair.insert(`again${i}`)) throw new Error("out of memory");
    expect(units.hashBucketCount()).toBeGreaterThan(buckets);
    pair.check();
  });

  test("an overflow bucket that cannot be had refuses the insert", () => {
    const pair = new Pair(60, () => 77n);
    const { units } = pair.instance;
    const keys = Array.from({ length: 40 }, (_, i) => `x${i}`);
    for (const key of keys.slice(0, SLOTS)) pair.insert(key);
    // Nodes still find room in the chunk that they have; a bucket of 64 bytes does not.
    while (units.chunksAvailable()) units.chunkTake();
    expect(pair.insert(keys[SLOTS]!)).toBe(false);
    pair.check();
    pair.remove(3);
    expect(pair.insert(keys[SLOTS + 1]!)).toBe(true);
    expect(pair.insert(keys[SLOTS + 2]!)).toBe(false);
    pair.check();
  });

  test("what was reserved is there", () => {
    const random = new Random(SEED);
    let granted = 0;
    let refused = 0;
    for (let round = 0; round < 16; round++) {
      const pair = new Pair(100, realHash);
      const { units, bytes } = pair.instance;
      for (let i = 0; i < 28_000; i++) pair.insert(`r${i}`);
      const count = 1 + random.below(random.below(2) ? 5 : 6000);
      const nodes = Array.from({ length: count }, (_, i) => {
        const key = `${round}/${i}`;
        return { hash: pair.hashOf(key), node: units.keyNodeTake(writeKey(bytes, KEY_A, key)) };
      });
      const left = random.below(14);
      while (units.chunksAvailable() > left) units.chunkTake();
      if (!units.hashReserve(count)) {
        refused++;
        continue;
      }
      granted++;
      for (const { hash, node } of nodes) same(units.hashInsert(hash, node), OK, "a reserved insert");
      same(units.hashCount(), 28_000 + count, "entries");
    }
    expect(granted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });
});
