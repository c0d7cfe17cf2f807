/** Planted bugs: some of them are caught, each by a seed; nothing is caught where none is on; a failing seed shrinks. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { path, simulate } from "../simulation/lanes.ts";
import { plantedSource } from "./bug.ts";
import { BUGS } from "./bugs.ts";
import { buildPlanted, type PlantedBuild } from "./build.ts";
import { hunt } from "./hunt.ts";

/** Of each layer one or two, which an early seed catches; `npm run test:planted` hunts all. */
const SOME = [
  "flush-without-sync",
  "torn-group-is-kept",
  "tail-counts-as-settled",
  "deletions-are-dropped",
  "value-of-many-blocks-is-read-off-by-one",
  "promises-settle-at-once",
];

describe.skipIf(RUNTIME !== "node")("planted bugs", () => {
  let folder = "";
  let planted: PlantedBuild;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "cairn-planted-"));
    planted = await buildPlanted(path("."), folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("each has a name of its own, and its text stands in its source once", () => {
    expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length);
    for (const file of new Set(BUGS.map((bug) => bug.file))) {
      const text = readFileSync(path(file), "utf8");
      expect(plantedSource(file, text, BUGS, () => "true")).not.toBe(text);
    }
    expect(() => plantedSource("x.ts", "b b", [{ ...BUGS[0], file: "x.ts", find: "b" } as never], () => "")).toThrow(
      "2 times",
    );
  });

  test("the product's binary knows of none", () => {
    const importsOf = (file: string): string[] =>
      WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(file))).map(({ name }) => name);
    expect(importsOf(planted.binary)).toContain("planted");
    expect(importsOf(path("build/cairn.wasm"))).not.toContain("planted");
  });

  test("with none of them on, the build with all of them passes", async () => {
    expect(await hunt(planted, "none", 1, 5, 100)).toMatchObject({ seed: undefined, failure: "not caught by 5 seeds" });
  });

  test.for(SOME)("%s is caught", async (name) => {
    const { seed, failure } = await hunt(planted, name, 1, 60, 100);
    expect(failure).not.toContain("not caught");
    expect(seed).toBeDefined();
  });

  test("a failing seed shrinks to a command that shows it again", async () => {
    const number = BUGS.findIndex(({ name }) => name === "flush-without-sync") + 1;
    const node = commandOf("node") as Command;
    const { seed } = await hunt(planted, "flush-without-sync", 1, 60, 100);
    const [line] = await simulate(node, planted.program, [
      planted.binary,
      "--planted",
      String(number),
      "--seed",
      String(seed),
    ]);
    const words = String(line?.again).replace("npm run simulate -- ", "").replaceAll('"', "").split(" ");
    expect(words.slice(0, 3)).toEqual(["--seed", seed, "--ops"]);
    expect(String(words[3]).split(",").length).toBeLessThan(20);
    const again = await simulate(node, planted.program, [
      planted.binary,
      "--planted",
      String(number),
      "--no-shrink",
      ...words,
    ]);
    expect(again[0]?.failure).toBeDefined();
    const without = await simulate(node, planted.program, [planted.binary, ...words]);
    expect(without[0]?.failure).toBeUndefined();
  });
});
