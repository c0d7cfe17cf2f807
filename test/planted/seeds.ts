/**
 * The seeds that are known to catch planted bugs, in `seeds.json`: by the name of a bug, seeds, and by each the check of the
 * oracle that finds it. `npm run test:planted -- --save` writes what it has found.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** By the name of a bug: seeds, and the check that each shows. */
export type KnownSeeds = Record<string, Record<string, string>>;

const FILE = "test/planted/seeds.json";

export function readSeeds(root: string): KnownSeeds {
  return JSON.parse(readFileSync(join(root, FILE), "utf8"));
}

export function writeSeeds(root: string, seeds: KnownSeeds): void {
  writeFileSync(join(root, FILE), `${JSON.stringify(seeds, null, 2)}\n`);
}
