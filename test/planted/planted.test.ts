/** Planted bugs: known seeds catch them; nothing is caught where none is on; a failing seed shrinks. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { path, simulate } from "../simulation/lanes.ts";
import { type Bug, changesOf, plantedSource } from "./bug.ts";
import { BUGS } from "./bugs.ts";
import { buildPlanted, type PlantedBuild } from "./build.ts";
import { checksOf, withNamedChecks } from "./checks.ts";
import { hunt } from "./hunt.ts";
import { readSeeds } from "./seeds.ts";
import { huntAll } from "./whole-hunt.ts";

const ROOT = path(".");
/** A bug that an early seed catches. */
const EASY = "flush-without-sync";
/** Of the bugs that are caught by a test, which take seconds each, those that are hunted here. */
const BY_TEST = "rotten-block-is-read";
/** How far a bug is hunted whose known seeds catch it no longer. */
const ANEW = { first: "1", count: 60, seconds: 100 };

describe.skipIf(RUNTIME !== "node")("planted bugs", () => {
  const seeds = readSeeds(ROOT);
  let folder = "";
  let planted: PlantedBuild;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "cairn-planted-"));
    planted = await buildPlanted(ROOT, folder);
  }, 400_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("each has a name of its own, and its text stands in its source once", () => {
    expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length);
    for (const file of new Set(BUGS.flatMap(changesOf).map((change) => change.file))) {
      const text = readFileSync(path(file), "utf8");
      expect(plantedSource(file, text, BUGS, () => "true")).not.toBe(text);
    }
    const twice = { ...BUGS[0], file: "x.ts", find: "b", also: [] } as Bug;
    expect(() => plantedSource("x.ts", "b b", [twice], () => "")).toThrow("2 times");
  });

  test("each is known to be caught, by a seed or by a test, and each check of the oracle to be shown red by one", () => {
    const byTest = BUGS.filter((bug) => bug.test !== undefined).map(({ name }) => name);
    expect(byTest).toContain(BY_TEST);
    expect([...Object.keys(seeds), ...byTest].sort()).toEqual(BUGS.map(({ name }) => name).sort());
    const checks = checksOf(ROOT);
    expect(new Set(checks).size).toBe(checks.length);
    const shown = new Set(Object.values(seeds).flatMap((known) => Object.values(known)));
    expect(checks.filter((check) => !shown.has(check))).toEqual([]);
  });

  test("checks are called after their file and what they say", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: that is what a source looks like.
    const source = 'throw new Violation(`a ${b({ c })} d`);\nnew Violation("e (f)", { cause });';
    expect(withNamedChecks("x.ts", source)).toBe(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the same.
      'throw Violation.of("x.ts: a … d", `a ${b({ c })} d`);\nViolation.of("x.ts: e (f)", "e (f)", { cause });',
    );
  });

  test("the product's binary knows of none", () => {
    const importsOf = (file: string): string[] =>
      WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(file))).map(({ name }) => name);
    expect(importsOf(planted.binary)).toContain("planted");
    expect(importsOf(path("build/cairn.wasm"))).not.toContain("planted");
  });

  test("with none of them on, the build with all of them passes", async () => {
    const result = await hunt(planted, "none", { first: 1, count: 5, seconds: 100 });
    expect(result).toMatchObject({ by: undefined, failure: "not caught by 5 seeds" });
  });

  test("each that a seed is known to catch is caught, and one that a test catches", { timeout: 900_000 }, async () => {
    const names = BUGS.filter(({ name, test: by }) => by === undefined || name === BY_TEST).map(({ name }) => name);
    // One seed each: `npm run test:planted` tries all of them, and hunts for the checks that they show.
    const first = Object.fromEntries(Object.entries(seeds).map(([name, known]) => [name, firstOf(known)]));
    const missed: string[] = [];
    await huntAll({
      root: ROOT,
      planted,
      names,
      seeds: first,
      lanes: 1,
      ...ANEW,
      anyCheck: true,
      report: ({ name, by, failure }) => {
        if (by === undefined) missed.push(`${name}: ${failure}`);
      },
    });
    expect(missed).toEqual([]);
  });

  test("a failing seed shrinks to a command that shows it again", async () => {
    const number = BUGS.findIndex(({ name }) => name === EASY) + 1;
    const node = commandOf("node") as Command;
    const { seed } = await hunt(planted, EASY, { first: 1, count: 60, seconds: 100 });
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

function firstOf(known: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(known).slice(0, 1));
}
