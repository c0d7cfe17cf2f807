/** The block cache against CLOCK written down in JavaScript, by random operations. */
import { describe, expect, test } from "vitest";
import { BLOCK_SIZE, type Instance, instantiate, PAGE, POOL, Random, SEED, same } from "./units.ts";

const FRAMES_PER_CHUNK = 16;
/** Chunks that the cache leaves to the indexes. */
const CHUNKS_KEPT = 64;
const GENERATION_OFFSET = 16;
const STAMP_OFFSET = 2048;

interface Frame {
  block: number | undefined;
  used: boolean;
  generation: bigint;
}

/** The cache beside a model of it. */
class Pair {
  readonly instance: Instance;
  readonly capacity: number;
  readonly frames: Frame[] = [];
  readonly byBlock = new Map<number, number>();
  readonly pointers: number[] = [];
  hand = 0;
  hits = 0;
  misses = 0;

  constructor(capacity: number, poolChunks: number) {
    this.capacity = capacity;
    this.instance = instantiate(poolChunks);
    this.instance.units.memoryInitialize(POOL, POOL + poolChunks * PAGE);
    same(this.instance.units.cacheInitialize(capacity), 1, "cacheInitialize");
  }

  find(block: number, generation: bigint): number {
    const { units, view } = this.instance;
    const pointer = units.cacheFind(block, generation) >>> 0;
    const index = this.byBlock.get(block);
    const frame = index === undefined ? undefined : this.frames[index];
    if (!frame || frame.generation !== generation) {
      same(pointer, 0, `block ${block} found`);
      this.misses++;
    } else {
      same(pointer, this.pointers[index!]!, `block ${block}`);
      same(view.getBigUint64(pointer + GENERATION_OFFSET, true), generation, "generation");
      same(view.getUint32(pointer + STAMP_OFFSET, true), block, "bytes of the frame");
      frame.used = true;
      this.hits++;
    }
    same(units.cacheHits(), BigInt(this.hits), "hits");
    same(units.cacheMisses(), BigInt(this.misses), "misses");
    return pointer;
  }

  /** Which frame the block gets, by the model. */
  private claim(block: number): number {
    const present = this.byBlock.get(block);
    if (present !== undefined) return present;
    const chunkNeeded = this.frames.length % FRAMES_PER_CHUNK === 0;
    if (this.frames.length < this.capacity && (!chunkNeeded || this.instance.units.chunksAvailable() > CHUNKS_KEPT)) {
      this.frames.push({ block: undefined, used: false, generation: 0n });
      return this.frames.length - 1;
    }
    for (;;) {
      const index = this.hand;
      this.hand = (this.hand + 1) % this.frames.length;
      const frame = this.frames[index]!;
      if (frame.used) {
        frame.used = false;
        continue;
      }
      if (frame.block !== undefined) this.byBlock.delete(frame.block);
      frame.block = undefined;
      return index;
    }
  }

  /** Reads a block in, as the engine does; `outcome` says how the read ends. */
  read(block: number, generation: bigint, outcome: "kept" | "dropped" | "left"): void {
    const { units, view, bytes } = this.instance;
    const index = this.claim(block);
    const claim = units.cacheClaim(block);
    same(claim, index + 1, `claim for block ${block}`);
    const pointer = units.cacheFrame(claim) >>> 0;
    this.pointers[index] ??= pointer;
    same(pointer, this.pointers[index]!, "place of the frame");
    same(units.cacheFrameCount(), this.frames.length, "count of frames");
    const frame = this.frames[index]!;
    if (outcome === "left" && frame.block === undefined) return;
    bytes.fill(0xcc, pointer, pointer + BLOCK_SIZE);
    view.setBigUint64(pointer + GENERATION_OFFSET, generation, true);
    view.setUint32(pointer + STAMP_OFFSET, block, true);
    frame.generation = generation;
    if (outcome === "dropped") {
      units.cacheDrop(claim);
      if (frame.block !== undefined) this.byBlock.delete(frame.block);
      frame.block = undefined;
      frame.used = false;
      return;
    }
    units.cacheKeep(claim, block);
    frame.block = block;
    frame.used = false;
    this.byBlock.set(block, index);
  }

  /** Every block that is held is found, and nothing else; frames do not overlap. */
  check(random: Random, blockOf: () => number): void {
    for (const [block, index] of this.byBlock) this.find(block, this.frames[index]!.generation);
    for (let i = 0; i < 20; i++) {
      const block = blockOf();
      if (!this.byBlock.has(block)) this.find(block, random.long());
    }
    const sorted = this.pointers.slice().sort((a, b) => a - b);
    for (let i = 1; i < sorted.length; i++) {
      if (sorted[i]! - sorted[i - 1]! < BLOCK_SIZE) throw new Error("frames overlap");
    }
    if (this.frames.length > this.capacity) throw new Error("more frames than the capacity");
  }
}

/** The slot that a table of 1,024 looks for a block in first. */
function homeOf(block: number): number {
  const mixed = Math.imul(block, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) & 1023;
}

function blocksAt(slots: number[], count: number): number[] {
  const blocks: number[] = [];
  for (let block = 256; blocks.length < count; block++) if (slots.includes(homeOf(block))) blocks.push(block);
  return blocks;
}

describe(`block cache, seed ${SEED}`, () => {
  test.each([
    ["few frames", 64, 100, 150],
    ["frames that do not fill their last chunk", 75, 200, 150],
    ["as many frames as half of the table", 512, 900, 150],
    ["more frames than blocks", 300, 200, 150],
    ["a pool that gives four chunks of frames", 300, 150, CHUNKS_KEPT + 5],
    ["a table that is larger", 1500, 3000, 200],
  ] as const)("equals CLOCK: %s", (_, capacity, blockCount, poolChunks) => {
    const random = new Random(SEED);
    const pair = new Pair(capacity, poolChunks);
    const blocks = Array.from({ length: blockCount }, () => 256 + random.below(1 << 22));
    // Some are asked for more often than others; generations pass on.
    const blockOf = () => blocks[Math.floor((random.below(1 << 16) / 65536) ** 2 * blocks.length)]!;
    const generations = new Map<number, bigint>();
    const generationOf = (block: number) => generations.get(block) ?? 1n;
    for (let i = 0; i < 20_000; i++) {
      const block = blockOf();
      if (random.below(50) === 0) generations.set(block, generationOf(block) + (1n << BigInt(random.below(40))));
      if (!pair.find(block, generationOf(block))) {
        pair.read(block, generationOf(block), random.pick(["kept", "kept", "kept", "kept", "kept", "dropped", "left"]));
      }
      if (i % 1000 === 0) pair.check(random, blockOf);
    }
    pair.check(random, blockOf);
    expect(pair.hits).toBeGreaterThan(1000);
    expect(pair.misses).toBeGreaterThan(50);
    if (poolChunks < 100) expect(pair.frames.length).toBe(4 * FRAMES_PER_CHUNK);
    else if (blockCount > capacity) expect(pair.frames.length).toBe(capacity);
  });

  test.each([
    ["one slot", [77]],
    ["neighbouring slots", [500, 501, 502, 503, 504]],
    ["the table's end and start", [1021, 1022, 1023, 0, 1]],
    ["the last slot", [1023]],
  ])("what collides stays findable when others go: %s", (_, slots) => {
    const random = new Random(SEED);
    const blocks = blocksAt(slots, 120);
    const pair = new Pair(70, 150);
    for (let i = 0; i < 3000; i++) {
      const block = random.pick(blocks);
      if (random.below(5) === 0) pair.read(block, 1n, "dropped");
      else if (!pair.find(block, 1n)) pair.read(block, 1n, "kept");
      pair.check(random, () => random.pick(blocks));
    }
  });

  test("frames in use outlive a scan", () => {
    const pair = new Pair(128, 150);
    const hot = Array.from({ length: 40 }, (_, i) => 1000 + i);
    let lost = 0;
    for (let scanned = 0; scanned < 5000; scanned++) {
      pair.read(1_000_000 + scanned, 1n, "kept");
      // Each hot block is asked for once in the time of a third of a sweep: first come, first gone would lose a third.
      const block = hot[scanned % hot.length]!;
      if (pair.find(block, 1n)) continue;
      pair.read(block, 1n, "kept");
      if (scanned >= hot.length) lost++;
    }
    expect(lost).toBeLessThan(5000 * 0.1);
  });

  test("a frame of a former life is never found, and makes room for the new one", () => {
    const pair = new Pair(64, 150);
    for (let block = 300; block < 364; block++) pair.read(block, 5n, "kept");
    for (let block = 300; block < 364; block++) {
      for (const generation of [0n, 4n, 6n, 5n + (1n << 32n), 5n + (1n << 63n)])
        expect(pair.find(block, generation)).toBe(0);
      expect(pair.find(block, 5n)).not.toBe(0);
      pair.read(block, 6n, "kept");
      expect(pair.find(block, 5n)).toBe(0);
      expect(pair.find(block, 6n)).not.toBe(0);
    }
    expect(pair.frames.length).toBe(64);
  });

  test("a pool that is short gives no frame, or as many as it can spare", () => {
    const none = new Pair(64, CHUNKS_KEPT + 1);
    expect(none.instance.units.cacheClaim(300)).toBe(0);
    expect(none.instance.units.chunksAvailable()).toBe(CHUNKS_KEPT);
    const some = new Pair(64, CHUNKS_KEPT + 2);
    for (let i = 0; i < 200; i++) some.read(300 + i, 1n, "kept");
    expect(some.frames.length).toBe(FRAMES_PER_CHUNK);
    const { units } = instantiate(4);
    units.memoryInitialize(POOL, POOL + 4 * PAGE);
    expect(units.cacheInitialize(100_000)).toBe(0);
  });

  test("one scan larger than the cache leaves the hot set where it is", () => {
    const { units, read, holds } = filled(256);
    const hot = Array.from({ length: 180 }, (_, i) => 1000 + i);
    for (const block of hot) read(block);
    for (const block of hot) same(units.cacheFind(block, 1n) !== 0, true, `block ${block}`);
    units.cacheModeSet(SCAN);
    for (let i = 0; i < 256 * 20; i++) {
      if (!units.cacheFind(100_000 + i, 1n)) read(100_000 + i);
    }
    units.cacheModeSet(SINGLE);
    expect(hot.filter(holds).length).toBe(hot.length);
    expect(units.cacheFrameCount()).toBe(256);
    // Read singly, as many blocks push the hot set out: what kept it above was the scan's mode.
    for (let i = 0; i < 256 * 20; i++) if (!units.cacheFind(200_000 + i, 1n)) read(200_000 + i);
    expect(hot.filter(holds).length).toBe(0);
  });

  test("a scan keeps its newest blocks, as many as its share", () => {
    const { units, read, holds } = filled(256);
    for (let i = 0; i < 256; i++) read(5000 + i);
    units.cacheModeSet(SCAN);
    for (let i = 0; i < 1000; i++) read(100_000 + i);
    const share = units.cacheScanShare();
    expect(share).toBe(32);
    expect(Array.from({ length: 1000 }, (_, i) => 100_000 + i).filter(holds)).toEqual(
      Array.from({ length: share }, (_, i) => 100_000 + 1000 - share + i),
    );
  });

  test("a scanned block that a single read finds stays when the scan goes on", () => {
    const { units, read, holds } = filled(128);
    for (let i = 0; i < 128; i++) read(5000 + i);
    units.cacheModeSet(SCAN);
    for (let i = 0; i < 10; i++) read(100_000 + i);
    units.cacheModeSet(SINGLE);
    expect(units.cacheFind(100_004, 1n)).not.toBe(0);
    units.cacheModeSet(SCAN);
    for (let i = 10; i < 1000; i++) read(100_000 + i);
    expect(Array.from({ length: 900 }, (_, i) => 100_000 + i).filter(holds)).toEqual([100_004]);
  });

  test("a scan that fits the cache is found by the next one", () => {
    const { units, read, holds } = filled(256);
    units.cacheModeSet(SCAN);
    for (let i = 0; i < 200; i++) read(100_000 + i);
    expect(Array.from({ length: 200 }, (_, i) => 100_000 + i).filter(holds).length).toBe(200);
  });

  test("what is pinned, or in flight, is given to no other block", () => {
    const { units, read, holds } = filled(64);
    for (let i = 0; i < 64; i++) read(5000 + i);
    expect(units.cachePinnable()).toBe(32);
    const pinned: number[] = [];
    for (let i = 0; i < 16; i++) {
      const claim = units.cachePeek(5000 + i, 1n);
      units.cachePin(claim);
      pinned.push(5000 + i);
    }
    const flights: number[] = [];
    for (let i = 0; i < 16; i++) {
      const claim = units.cacheClaim(7000 + i);
      units.cachePin(claim);
      units.cacheFlightBegin(claim, 7000 + i);
      flights.push(claim);
    }
    expect(units.cachePinnable()).toBe(0);
    const marks = flights.map((claim) => units.cacheFrame(claim) >>> 0);
    for (const mode of [SINGLE, SCAN]) {
      units.cacheModeSet(mode);
      for (let i = 0; i < 500; i++) {
        const claim = units.cacheClaim(9000 + mode * 1000 + i);
        same(claim > 0 && !flights.includes(claim), true, "a frame that is free");
        read(9000 + mode * 1000 + i);
      }
    }
    units.cacheModeSet(SINGLE);
    expect(pinned.filter(holds)).toEqual(pinned);
    // A block in flight is not found, and a read of it meanwhile gets another frame, which the flight's keeps out.
    expect(units.cacheFind(7003, 1n)).toBe(0);
    const other = units.cacheClaim(7003);
    expect(flights).not.toContain(other);
    units.cacheKeep(other, 7003);
    expect(units.cacheInFlight(7003)).toBe(flights[3]);
    units.cacheFrameFill(marks[3]!, 7003n, 1n);
    units.cacheFlightEnd(flights[3]!);
    expect(units.cacheFind(7003, 1n) >>> 0).toBe(marks[3]);
    units.cacheUnpin(flights[3]!);
    expect(units.cachePinnable()).toBe(1);
  });
});

const SINGLE = 0;
const SCAN = 1;

/** A cache of so many frames, with what reads a block of generation 1 into it, and tells whether it is held. */
function filled(capacity: number) {
  const { units } = instantiate(150);
  units.memoryInitialize(POOL, POOL + 150 * PAGE);
  same(units.cacheInitialize(capacity), 1, "cacheInitialize");
  const read = (block: number): void => {
    const claim = units.cacheClaim(block);
    units.cacheFrameFill(units.cacheFrame(claim), BigInt(block), 1n);
    units.cacheKeep(claim, block);
  };
  return { units, read, holds: (block: number) => units.cachePeek(block, 1n) !== 0 };
}
