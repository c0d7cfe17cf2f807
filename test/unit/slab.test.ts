/** The slab allocator against a list of live items, by random takes and gives whose sizes shift. */
import { describe, expect, test } from "vitest";
import { allAre, type Instance, instantiate, PAGE, POOL, Random, SEED, same } from "./units.ts";

interface Item {
  sizeClass: number;
  size: number;
  stamp: number;
}

/** The allocator beside what it must have given out. */
class Pair {
  readonly instance: Instance;
  readonly poolChunks: number;
  readonly items = new Map<number, Item>();
  readonly pointers: number[] = [];
  /** Live items of each chunk that has some, and its class. */
  readonly chunks = new Map<number, { sizeClass: number; live: number }>();

  constructor(poolChunks: number) {
    this.poolChunks = poolChunks;
    this.instance = instantiate(poolChunks);
    this.instance.units.memoryInitialize(POOL, POOL + poolChunks * PAGE);
  }

  capacityOf(sizeClass: number): number {
    return Math.floor(PAGE / this.instance.units.slabClassSize(sizeClass));
  }

  hasRoom(sizeClass: number): boolean {
    const capacity = this.capacityOf(sizeClass);
    for (const chunk of this.chunks.values()) {
      if (chunk.sizeClass === sizeClass && chunk.live < capacity) return true;
    }
    return false;
  }

  /** Takes an item of `size` bytes. Whether there was one; it must be there when there is room. */
  take(random: Random, size: number): boolean {
    const { units } = this.instance;
    const sizeClass = units.slabClassOf(size);
    const room = this.hasRoom(sizeClass);
    const used = this.chunks.size;
    const pointer = units.slabTake(sizeClass) >>> 0;
    if (!pointer) {
      same(room, false, "refused although there was room");
      same(used, this.poolChunks, "chunks when refused");
      return false;
    }
    same(pointer % 8, 0, "alignment");
    const itemSize = units.slabClassSize(sizeClass);
    const base = pointer - (pointer % PAGE);
    if (pointer + itemSize > base + PAGE) throw new Error("an item beyond its chunk");
    if (base < POOL || base + PAGE > POOL + this.poolChunks * PAGE) throw new Error("an item outside the pool");
    const chunk = this.chunks.get(base) ?? { sizeClass, live: 0 };
    // A fresh chunk only when no other has room.
    if (!chunk.live) same(room, false, "a fresh chunk although there was room");
    same(chunk.sizeClass, sizeClass, "class of the chunk");
    chunk.live++;
    this.chunks.set(base, chunk);
    same(units.chunksUsed(), this.chunks.size, "chunks used");
    const stamp = random.word();
    this.words(pointer, itemSize).fill(stamp);
    same(this.items.has(pointer), false, "given out twice");
    this.items.set(pointer, { sizeClass, size: itemSize, stamp });
    this.pointers.push(pointer);
    return true;
  }

  give(index: number): void {
    const { units } = this.instance;
    const pointer = this.pointers[index]!;
    this.checkStamp(pointer);
    this.pointers[index] = this.pointers.at(-1)!;
    this.pointers.pop();
    this.items.delete(pointer);
    const base = pointer - (pointer % PAGE);
    const chunk = this.chunks.get(base)!;
    chunk.live--;
    if (!chunk.live) this.chunks.delete(base);
    units.slabGive(pointer);
    same(units.chunksUsed(), this.chunks.size, "chunks used");
  }

  words(pointer: number, size: number): Uint32Array {
    return new Uint32Array(this.instance.memory.buffer, pointer, size >>> 2);
  }

  checkStamp(pointer: number): void {
    const { size, stamp } = this.items.get(pointer)!;
    if (!allAre(this.words(pointer, size), stamp)) throw new Error(`an item of ${size} bytes changed`);
  }

  /** No two items share a byte, and all hold what was put in them. */
  check(): void {
    let end = 0;
    for (const pointer of this.pointers.slice().sort((a, b) => a - b)) {
      if (pointer < end) throw new Error("items overlap");
      end = pointer + this.items.get(pointer)!.size;
      this.checkStamp(pointer);
    }
  }
}

describe(`slab allocator, seed ${SEED}`, () => {
  test("classes cover every size, tightly and in order", () => {
    const { units } = instantiate(1);
    const largest = units.slabItemSizeMax();
    expect(largest).toBe(PAGE - 64);
    let before = 0;
    for (let size = 0; size <= largest; size++) {
      const sizeClass = units.slabClassOf(size);
      const itemSize = units.slabClassSize(sizeClass);
      if (sizeClass < before || sizeClass > before + 1) throw new Error(`class ${sizeClass} follows ${before}`);
      if (itemSize < size) throw new Error(`an item of ${itemSize} for ${size}`);
      if (sizeClass && units.slabClassSize(sizeClass - 1) >= size) throw new Error(`${size} fits a smaller class`);
      const waste = size <= 16 ? 16 : size <= 256 ? 7 : size <= 1024 ? 31 : size <= 2304 ? 127 : size;
      if (itemSize - size > waste) throw new Error(`${itemSize - size} bytes wasted on ${size}`);
      before = sizeClass;
    }
    expect(before).toBeLessThan(units.slabClassCount());
    for (let sizeClass = 0; sizeClass <= before; sizeClass++) {
      const itemSize = units.slabClassSize(sizeClass);
      expect(itemSize % 8).toBe(0);
      expect(units.slabClassOf(itemSize)).toBe(sizeClass);
      // What is left of a chunk is less than a seventeenth.
      expect((PAGE - 64) % itemSize).toBeLessThan(PAGE / 17);
    }
    // Buckets of 64 bytes must not straddle cache lines.
    expect(units.slabClassSize(units.slabClassOf(64))).toBe(64);
    expect(units.slabClassSize(units.slabClassOf(1024))).toBe(1024);
  });

  test.each([
    ["small items", 12, (random: Random) => 1 + random.below(300)],
    ["large items", 40, (random: Random) => 1000 + random.below(64_000)],
    ["one size", 6, () => 100],
    ["two to a chunk", 8, () => 32_736],
    ["one to a chunk", 8, () => 65_472],
    ["sizes of any class", 90, (random: Random) => 1 + (random.below(65_472) >>> random.below(16))],
  ] as const)("items keep apart and all chunks come back: %s", (_, poolChunks, sizeOf) => {
    const random = new Random(SEED);
    const pair = new Pair(poolChunks);
    let refused = 0;
    for (let round = 0; round < 3; round++) {
      for (const gives of [1, 5, 9]) {
        // Until full, for a while, until empty.
        const steps = gives === 5 ? 1500 : 20_000;
        for (let i = 0; i < steps; i++) {
          if (random.below(10) < gives) {
            if (pair.pointers.length) pair.give(random.below(pair.pointers.length));
            else if (gives === 9) break;
          } else if (!pair.take(random, sizeOf(random))) {
            refused++;
            if (gives === 1) break;
          }
        }
        pair.check();
      }
    }
    expect(refused).toBeGreaterThan(0);
    while (pair.pointers.length) pair.give(random.below(pair.pointers.length));
    expect(pair.instance.units.chunksUsed()).toBe(0);
    expect(pair.instance.units.chunksAvailable()).toBe(poolChunks);
  });

  test("memory moves from one size to another", () => {
    const random = new Random(SEED);
    const pair = new Pair(20);
    for (const size of [24, 2000, 64, 65_000, 16, 700]) {
      const wanted = 20 * pair.capacityOf(pair.instance.units.slabClassOf(size));
      let taken = 0;
      while (pair.take(random, size)) taken++;
      expect(taken).toBe(wanted);
      while (pair.pointers.length) pair.give(random.below(pair.pointers.length));
    }
  });

  test("what slabCanTake promises can be taken", () => {
    const random = new Random(SEED);
    const pair = new Pair(12);
    const { units } = pair.instance;
    let granted = 0;
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      if (pair.pointers.length > 40 && random.below(2)) pair.give(random.below(pair.pointers.length));
      else pair.take(random, 1 + (random.below(20_000) >>> random.below(8)));
      const size = 1 + (random.below(65_472) >>> random.below(16));
      const count = random.below(2) ? 1 : 1 + random.below(3000);
      if (!units.slabCanTake(units.slabClassOf(size), count)) {
        refused++;
        continue;
      }
      granted++;
      const taken: number[] = [];
      for (let k = 0; k < count; k++) taken.push(units.slabTake(units.slabClassOf(size)) >>> 0);
      same(taken.includes(0), false, "refused what was promised");
      for (const item of taken) units.slabGive(item);
      same(units.chunksUsed(), pair.chunks.size, "chunks used");
    }
    expect(granted).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(100);
    pair.check();
  });
});
