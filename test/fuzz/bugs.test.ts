/** Each check of the fuzzer fails where it must: for bugs that are planted in a build of their own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlanted, type PlantedBuild } from "../planted/build.ts";
import { FUZZ_BUGS } from "./bugs.ts";
import { fuzz, path } from "./lines.ts";

/** A machine that others use as well takes its time to meet a bug. */
const TIMEOUT_MS = 300_000;

describe("planted bugs", { timeout: TIMEOUT_MS }, () => {
  const folder = mkdtempSync(join(tmpdir(), "cairn-fuzz-bugs-"));
  let planted: PlantedBuild;
  beforeAll(async () => {
    planted = await buildPlanted(path("."), folder, FUZZ_BUGS, "test/fuzz/program.ts");
  }, TIMEOUT_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const hunt = (number: number, words: readonly string[] = []) =>
    fuzz(planted.program, planted.binary, [
      ...["--planted", String(number), "--seed", "1", "--images", "4000", "--minutes", "4", "--lanes", "1"],
      ...["--until-finding", ...words],
    ]);

  test("with none of them on, nothing is found", async () => {
    const lines = await hunt(0, ["--images", "150"]);
    expect(lines).toHaveLength(1);
    expect(lines[0]?.total?.findings).toBe(0);
  });

  test.for(FUZZ_BUGS.map((bug, i) => ({ ...bug, number: i + 1 })))("$name is found", async (bug) => {
    const [finding] = await hunt(bug.number, bug.words);
    expect(finding?.message).toMatch(bug.found);
  });
});
