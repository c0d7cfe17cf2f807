/**
 * Planted bugs: deliberate faults, each of which a test must catch.
 *
 * A bug is a change of the text of one source, or of several, made on its way into a build of its own: the product's sources
 * and its binary know nothing of it. All bugs are in that one build; which of them is on is said when it is started
 * (`--planted N`).
 */

/** A change of one text of one source. */
export interface Change {
  /** The source, relative to the root: in `assembly/`, or in `store/` or `hosts/`. */
  file: string;
  /** Text that stands in that source exactly once, and in no other change. */
  find: string;
  /** What takes its place: `PLANTED` in it is true where the bug is on, and then it behaves as `find` does not. */
  replace: string;
}

/** Which runs of the simulation are tried, where too few seeds would meet a bug by themselves. */
export interface Search {
  /** Only seeds whose plan has all of these: kinds of operations or faults, or options that are on. */
  with?: readonly string[];
  /** Options that take the place of those that the seed gives (`SimulationOptions`). */
  options?: Readonly<Record<string, unknown>>;
  /** It shows while a store lives: what crashes leave is not looked at. */
  live?: boolean;
}

/** A test, by its file and its own name, without those of the groups that it is in. */
export interface NamedTest {
  file: string;
  name: string;
}

/** One deliberate fault. */
export interface Bug extends Change {
  /** What it is called in reports, in kebab-case. */
  name: string;
  /** What it breaks, in a few words. */
  breaks: string;
  /** Further changes that it is made of: where one check stands behind another, both are left out. */
  also?: readonly Change[];
  search?: Search;
  /** Checks of the oracle that only this bug is known to show, by their names in checks.ts: each is hunted for. */
  shows?: readonly string[];
  /** The test that must turn red, where that is not the simulation. */
  test?: NamedTest;
}

/** All changes that a bug is made of. */
export function changesOf(bug: Bug): readonly Change[] {
  return [bug, ...(bug.also ?? [])];
}

/** A source with its bugs, each behind `condition` of its number. Throws when the text of one is not there once. */
export function plantedSource(
  file: string,
  text: string,
  bugs: readonly Bug[],
  condition: (number: number) => string,
): string {
  let changed = text;
  for (const [i, bug] of bugs.entries()) {
    for (const change of changesOf(bug)) {
      if (change.file === file) changed = changedOnce(changed, change, bug.name, condition(i + 1));
    }
  }
  return changed;
}

function changedOnce(text: string, { file, find, replace }: Change, name: string, condition: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`planted bug ${name}: its text stands ${parts.length - 1} times in ${file}, not once`);
  }
  return parts.join(replace.replaceAll("PLANTED", condition));
}
