/**
 * Fuzzed images (test/fuzz): `npm run test:fuzz -- --images N [--seed S] [--minutes M]` on all cores, with a new seed where none is
 * given; `--flips` for every flip of a single bit; `--image N` for one image again. Ends with `N images, N findings`.
 */
import { BINARY, bundled, path, runByLines } from "./program.mjs";

const given = process.argv.slice(2);
const seeded = given.includes("--seed");
const seed = seeded ? [] : ["--seed", String(1 + Math.floor(Math.random() * 0x7fff_fffe))];
const bounded = ["--images", "--minutes", "--image", "--flips"].some((word) => given.includes(word));
const bound = bounded ? [] : ["--images", "10000"];
const program = await bundled("test/fuzz/program.ts", "fuzz");
const words = [BINARY, "--folder", path("build/fuzz"), ...seed, ...bound, ...given];
const status = await runByLines(program, words, ({ total }, line) => {
  console.log(line);
  if (total === undefined) return;
  const { images, findings, perMinute } = total;
  console.log(`${images} images, ${findings} findings, ${perMinute} images a minute, seed ${total.seed}`);
});
process.exitCode = status ?? 2;
