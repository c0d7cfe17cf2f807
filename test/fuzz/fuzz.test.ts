/**
 * Fuzzed images: mutations of all kinds, and single bits flipped all over the small images. `CAIRN_SEED` asks for another seed,
 * `CAIRN_FUZZ_IMAGES` for another number; `npm run test:fuzz` is for more of them.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundleFuzz, fuzz, type Line, path } from "./lines.ts";

const { CAIRN_FUZZ_IMAGES = "2500", CAIRN_SEED = "20261130" } = process.env;
/** Fewer say nothing: the machine was as good as stopped. */
const LEAST = 25;
const MINUTES = "1";
const BINARY = path("build/cairn.wasm");

const folder = mkdtempSync(join(tmpdir(), "cairn-fuzz-"));
const program = join(folder, "fuzz.mjs");
beforeAll(() => bundleFuzz(program));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function expectClean(lines: readonly Line[], what: string): void {
  const { total } = lines.at(-1) as Line;
  console.log(`${total?.images} ${what}, ${total?.perMinute} a minute, seed ${CAIRN_SEED}`);
  expect(lines.filter(({ message }) => message !== undefined)).toEqual([]);
  expect(total?.findings).toBe(0);
  expect(total?.images).toBeGreaterThanOrEqual(Math.min(LEAST, Number(CAIRN_FUZZ_IMAGES)));
}

test(`${CAIRN_FUZZ_IMAGES} mutated images: no hang, no untyped error, no wrong value`, {
  timeout: 120_000,
}, async () => {
  const words = ["--seed", CAIRN_SEED, "--images", CAIRN_FUZZ_IMAGES, "--minutes", MINUTES, "--lanes", "1"];
  const lines = await fuzz(program, BINARY, words);
  expectClean(lines, "mutated images");
  // A kind of outcome that no image meets proves nothing.
  const { total } = lines.at(-1) as Line;
  expect(Math.min(total?.opened ?? 0, total?.refused ?? 0, total?.repaired ?? 0)).toBeGreaterThan(0);
});

test(`${CAIRN_FUZZ_IMAGES} flips of single bits, all over the small images`, { timeout: 120_000 }, async () => {
  // A prime that is no divisor of the bits of a block: every block and every place in it is met.
  const stride = "2399";
  const words = ["--seed", CAIRN_SEED, "--flips", "--stride", stride, "--images", CAIRN_FUZZ_IMAGES];
  expectClean(await fuzz(program, BINARY, [...words, "--minutes", MINUTES, "--lanes", "1"]), "flips");
});
