/** The hunt for many bugs at once: known seeds first, new ones for what these no longer catch. */
import type { Bug, NamedTest } from "./bug.ts";
import { BUGS } from "./bugs.ts";
import type { PlantedBuild } from "./build.ts";
import { type Catch, hunt, huntByTest, numberOf, runTests } from "./hunt.ts";
import type { KnownSeeds } from "./seeds.ts";

/** How a hunt is made. */
export interface WholeHunt {
  root: string;
  planted: PlantedBuild;
  /** Names of bugs. */
  names: readonly string[];
  seeds: KnownSeeds;
  lanes: number;
  /** Where new seeds begin, and how many, and how many seconds long, are tried for a bug. */
  first: string;
  count: number;
  seconds: number;
  /** Whether any check will do, also for bugs that are there to show certain ones. */
  anyCheck?: boolean;
  /** Called with each catch, and each miss, as it comes. */
  report(result: Catch): void;
}

/** Hunts. Of each bug the catches: one at least, unless it was missed; then one that says why. */
export async function huntAll(whole: WholeHunt): Promise<Catch[]> {
  const { root, planted, lanes, names } = whole;
  const bugs = names.map((name) => BUGS[numberOf(name) - 1] as Bug);
  await expectGreen(root, planted, bugs);
  const waiting = [...bugs];
  const results: Catch[] = [];
  const lane = async (): Promise<void> => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      for await (const result of huntOne(whole, bug)) {
        results.push(result);
        whole.report(result);
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

async function* huntOne(whole: WholeHunt, bug: Bug): AsyncGenerator<Catch> {
  const { root, planted, seeds, first, count, seconds, anyCheck = false } = whole;
  const { name, test } = bug;
  const shows = anyCheck ? [] : (bug.shows ?? []);
  if (test !== undefined) {
    yield huntByTest(root, planted, { ...bug, test });
    return;
  }
  const shown = new Set<string>();
  for (const seed of Object.keys(seeds[name] ?? {})) {
    const result = await hunt(planted, name, { first: seed, count: 1, seconds });
    if (result.by === undefined) continue;
    shown.add(result.check as string);
    yield result;
  }
  const wanted = shows.length > 0 ? shows.filter((check) => !shown.has(check)) : shown.size > 0 ? [] : [undefined];
  for (const check of wanted) yield hunt(planted, name, { first, count, seconds, check });
}

/** Throws unless all tests that are to fail for a bug pass where none is on. */
async function expectGreen(root: string, planted: PlantedBuild, bugs: readonly Bug[]): Promise<void> {
  const tests = bugs.map(({ test }) => test).filter((test): test is NamedTest => test !== undefined);
  if (tests.length === 0) return;
  const { passed } = await runTests(root, planted, 0, tests);
  for (const { file, name } of tests) {
    if (!passed.includes(name)) throw new Error(`${file}: "${name}" does not pass where no planted bug is on`);
  }
}

/** The checks that catches have shown red: by name the bugs that did it. */
export function shownBy(catches: readonly Catch[]): Map<string, string[]> {
  const shown = new Map<string, string[]>();
  for (const { name, check } of catches) {
    if (check === undefined || shown.get(check)?.includes(name)) continue;
    shown.set(check, [...(shown.get(check) ?? []), name]);
  }
  return shown;
}
