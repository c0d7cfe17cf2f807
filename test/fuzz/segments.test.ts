/** Segments that are lost as a whole: what is left in them of former lives is not taken for what counted there. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Random } from "../simulation/random.ts";
import { runSeed } from "../store/harness.ts";
import { FIRST_BLOCK, SEGMENT_BLOCKS, viewOf } from "./blocks.ts";
import { Canvas, type Subject, subjectOf } from "./canvas.ts";
import { Checker } from "./check.ts";
import { Memories } from "./host.ts";
import { path } from "./lines.ts";
import { Vouchers } from "./oracle.ts";
import { makeReference } from "./reference.ts";

const seed = runSeed();
const module = new WebAssembly.Module(readFileSync(path("build/cairn.wasm")));
const STEPS = { reads: false, writes: true, repairs: true };

/** The segments of an image that were begun. */
function segmentsOf({ written }: Subject): number[] {
  const headers = written.filter((number) => number >= FIRST_BLOCK && (number - FIRST_BLOCK) % SEGMENT_BLOCKS === 0);
  return headers.map((number) => (number - FIRST_BLOCK) / SEGMENT_BLOCKS);
}

/** Checks a store with each of its segments damaged in turn: how many images that were. */
async function each(kind: string, round: number, damage: (canvas: Canvas, first: number) => void): Promise<number> {
  const random = new Random(BigInt(seed)).fork(round);
  const subject = subjectOf(await makeReference(kind, module, random));
  const vouchers = new Vouchers(subject);
  const checker = new Checker(module, new Memories());
  const segments = segmentsOf(subject);
  for (const segment of segments) {
    const canvas = new Canvas(subject);
    damage(canvas, FIRST_BLOCK + segment * SEGMENT_BLOCKS);
    await checker.check(canvas, vouchers, STEPS, random);
  }
  return segments.length;
}

describe(`lost segments, seed ${seed}`, () => {
  test("all blocks of a segment's life: no key that was deleted comes back in a repaired store", async () => {
    let count = 0;
    for (let round = 0; round < 8; round++) {
      count += await each("fixed and reused", round, (canvas, first) => {
        const generation = viewOf(canvas.page(first)).getBigUint64(16, true);
        for (let i = first; i < first + SEGMENT_BLOCKS; i++) {
          if (viewOf(canvas.page(i)).getBigUint64(16, true) === generation) canvas.own(i).fill(7);
        }
      });
    }
    expect(count).toBeGreaterThan(8);
  });

  test.for(["compacted", "extents", "fixed and reused"])("all blocks of a segment are zeros: %s", async (kind) => {
    const count = await each(kind, 100, (canvas, first) => {
      for (let i = first; i < first + SEGMENT_BLOCKS; i++) canvas.own(i).fill(0);
    });
    expect(count).toBeGreaterThan(1);
  });
});
