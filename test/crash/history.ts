/** The oracle of the crash tests: what was issued, what was acknowledged, and which states a recovery may give. */

/** The writes of one commit: values by key, `undefined` for a deletion. */
export type Commit = Map<string, string | undefined>;

/** All commits of a run in their order. */
export class History {
  readonly commits: Commit[] = [];

  /** Adds a commit: its number, from 1. */
  add(commit: Commit): number {
    this.commits.push(commit);
    return this.commits.length;
  }

  /** The state after the first `count` commits. */
  state(count: number): Map<string, string> {
    const state = new Map<string, string>();
    for (let i = 0; i < count; i++) {
      for (const [key, value] of this.commits[i] as Commit) {
        if (value === undefined) state.delete(key);
        else state.set(key, value);
      }
    }
    return state;
  }

  /** The number of commits whose state differs from `found` in the fewest keys, for messages. */
  nearest(found: ReadonlyMap<string, string>): number {
    let nearest = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let count = 0; count <= this.commits.length; count++) {
      const state = this.state(count);
      const keys = new Set([...state.keys(), ...found.keys()]);
      const different = [...keys].filter((key) => state.get(key) !== found.get(key)).length;
      if (different < least) [least, nearest] = [different, count];
    }
    return nearest;
  }

  /**
   * The number of commits after which the state was `found`, between `least` and `most`: -1 when there is none. It is
   * G1 that it is at least `least`, and G2 that there is one at all.
   */
  find(found: ReadonlyMap<string, string>, least: number, most: number): number {
    const state = this.state(least);
    for (let count = least; ; count++) {
      if (equal(state, found)) return count;
      if (count >= most || count === this.commits.length) return -1;
      for (const [key, value] of this.commits[count] as Commit) {
        if (value === undefined) state.delete(key);
        else state.set(key, value);
      }
    }
  }
}

function equal(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}
