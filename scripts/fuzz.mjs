/**
 * Fuzzed images (test/fuzz): `npm run test:fuzz -- --images N [--seed S] [--minutes M]` on all cores, with a new seed where none is
 * given; `--flips` for every flip of a single bit; `--image N` for one image again. Ends with `N images, N findings`.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PROGRAM = path("build/fuzz.mjs");
buildSync({
  entryPoints: [path("test/fuzz/program.ts")],
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
  outfile: PROGRAM,
});
const given = process.argv.slice(2);
const seeded = given.includes("--seed");
const seed = seeded ? [] : ["--seed", String(1 + Math.floor(Math.random() * 0x7fff_fffe))];
const bounded = ["--images", "--minutes", "--image", "--flips"].some((word) => given.includes(word));
const bound = bounded ? [] : ["--images", "10000"];
const words = [PROGRAM, path("build/cairn.wasm"), "--folder", path("build/fuzz"), ...seed, ...bound, ...given];
const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
let text = "";
child.stdout.on("data", (data) => {
  text += data;
  const lines = text.split("\n");
  text = lines.pop() ?? "";
  for (const line of lines) {
    console.log(line);
    const { total } = JSON.parse(line);
    if (total === undefined) continue;
    const { images, findings, perMinute } = total;
    console.log(`${images} images, ${findings} findings, ${perMinute} images a minute, seed ${total.seed}`);
  }
});
child.on("close", (status) => {
  process.exitCode = status ?? 2;
});
