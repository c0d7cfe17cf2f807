/** The chunk pool against a count of what is free, by random takes and gives. */
import { describe, expect, test } from "vitest";
import { allAre, instantiate, PAGE, POOL, Random, SEED, same } from "./units.ts";

describe(`chunk pool, seed ${SEED}`, () => {
  test("chunks are whole, aligned, apart, and all come back", () => {
    const random = new Random(SEED);
    for (const [startShift, endShift] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [4096, 60_000],
      [PAGE - 1, PAGE - 1],
    ] as const) {
      const { units, memory } = instantiate(52);
      const words = (chunk: number) => new Uint32Array(memory.buffer, chunk, PAGE / 4);
      const start = POOL + startShift;
      const end = POOL + 52 * PAGE - endShift;
      const capacity = Math.floor(end / PAGE) - Math.ceil(start / PAGE);
      units.chunksInitialize(start, end);
      const live = new Map<number, number>();
      // Chunks that were never given out, and those that came back.
      let fresh = capacity;
      let free = 0;
      const enter = (chunk: number) => {
        same(chunk % PAGE, 0, "alignment");
        if (chunk < start || chunk + PAGE > end) throw new Error("a chunk outside the pool");
        same(live.has(chunk), false, "given out twice");
        const stamp = random.word();
        words(chunk).fill(stamp);
        live.set(chunk, stamp);
      };
      const leave = (chunk: number) => {
        const stamp = live.get(chunk)!;
        if (!allAre(words(chunk), stamp)) throw new Error("a chunk that is taken changed");
        live.delete(chunk);
        units.chunkGive(chunk);
        free++;
      };
      for (let round = 0; round < 4; round++) {
        // Filling up, to and fro, emptying.
        for (const gives of [2, 5, 8]) {
          for (let i = 0; i < 150; i++) {
            if (random.below(10) < gives && live.size) leave(random.pick([...live.keys()]));
            else if (random.below(40) === 0) {
              const count = 1 + random.below(6);
              const run = units.chunkTakeRun(count) >>> 0;
              if (count > fresh) {
                expect(run).toBe(0);
                continue;
              }
              fresh -= count;
              for (let k = 0; k < count; k++) {
                if (!allAre(words(run + k * PAGE), 0)) throw new Error("a run that is not zero");
                enter(run + k * PAGE);
              }
            } else {
              const chunk = units.chunkTake() >>> 0;
              if (!fresh && !free) {
                expect(live.size).toBe(capacity);
                expect(chunk).toBe(0);
                continue;
              }
              if (free) free--;
              else fresh--;
              enter(chunk);
            }
            same(units.chunksUsed(), live.size, "chunks used");
            same(units.chunksAvailable(), capacity - live.size, "chunks available");
          }
        }
      }
      for (const chunk of [...live.keys()]) leave(chunk);
      expect(units.chunksUsed()).toBe(0);
      expect(units.chunksAvailable()).toBe(capacity);
      for (let i = 0; i < capacity; i++) enter(units.chunkTake() >>> 0);
      expect(units.chunkTake()).toBe(0);
      expect(units.chunkTake()).toBe(0);
      expect(units.chunksAvailable()).toBe(0);
    }
  });

  test("a run that is too long takes nothing", () => {
    const { units } = instantiate(10);
    units.chunksInitialize(POOL, POOL + 10 * PAGE);
    for (const count of [11, 65_536, 65_537, 0x7fff_ffff, 0xffff_ffff]) expect(units.chunkTakeRun(count)).toBe(0);
    expect(units.chunksAvailable()).toBe(10);
    expect(units.chunkTakeRun(10)).toBe(POOL);
    expect(units.chunksAvailable()).toBe(0);
    expect(units.chunkTakeRun(1)).toBe(0);
    expect(units.chunkTake()).toBe(0);
  });

  test("a pool with room for no chunk gives none", () => {
    const { units } = instantiate(4);
    for (const [start, end] of [
      [POOL, POOL],
      [POOL + 1, POOL + PAGE],
      [POOL + 1, POOL + 2 * PAGE - 1],
      [POOL + PAGE, POOL],
    ] as const) {
      units.chunksInitialize(start, end);
      expect(units.chunkTake()).toBe(0);
      expect(units.chunkTakeRun(1)).toBe(0);
      expect(units.chunksAvailable()).toBe(0);
      expect(units.chunksUsed()).toBe(0);
    }
  });
});
