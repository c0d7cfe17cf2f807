/**
 * Planted bugs: deliberate faults, each of which the simulation must catch.
 *
 * A bug is a change of the text of one source, made on its way into a build of its own: the product's sources and its binary
 * know nothing of it. All bugs are in that one build; which of them is on is said when it is started (`--planted N`).
 */

/** One deliberate fault. */
export interface Bug {
  /** What it is called in reports, in kebab-case. */
  name: string;
  /** The source that it changes, relative to the root: in `assembly/`, or in `store/` or `hosts/`. */
  file: string;
  /** Text that stands in that source exactly once. */
  find: string;
  /** What takes its place: `PLANTED` in it is true where this bug is on, and then it behaves as `find` does not. */
  replace: string;
  /** What it breaks, in a few words. */
  breaks: string;
  /** A seed at which to begin to look: those before it are known to miss it. Default 1. */
  from?: number;
  /** Set where no seed has caught it yet: why. It is hunted when it is asked for by name. */
  uncaught?: string;
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
    if (bug.file !== file) continue;
    const parts = changed.split(bug.find);
    if (parts.length !== 2) {
      throw new Error(`planted bug ${bug.name}: its text stands ${parts.length - 1} times in ${file}, not once`);
    }
    changed = parts.join(bug.replace.replaceAll("PLANTED", condition(i + 1)));
  }
  return changed;
}
