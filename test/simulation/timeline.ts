/** The oracle's memory: every commit in its order, and which states a recovery may give. */
import { describe, sameValue, type Value } from "./values.ts";

/** The writes of one commit: values by key, `undefined` for a deletion. */
export type Commit = ReadonlyMap<string, Value | undefined>;
/** What a store holds. */
export type State = Map<string, Value>;

/** A store's contents as they were read: by key what `get` gave, or the code that it was refused with. */
export type Found = ReadonlyMap<string, unknown>;

/** The time by which a store judges what has expired: some time from `lowMs` to `highMs`, in milliseconds since 1970. */
export interface Times {
  lowMs: number;
  highMs: number;
}

/** A value that could not be read, because what is on the device is not what was written. */
export class Unreadable {}
export const UNREADABLE = new Unreadable();

/** All commits of a store's life so far, and of the lives before it as far as they were recovered. */
export class Timeline {
  private readonly commits: Commit[];

  constructor(commits: Commit[] = []) {
    this.commits = commits;
  }

  /** Number of the last commit, the first being 1. */
  get end(): number {
    return this.commits.length;
  }

  add(commit: Commit): number {
    this.commits.push(commit);
    return this.end;
  }

  /** Takes back the last commit, which never was. */
  pop(): void {
    this.commits.pop();
  }

  /** A timeline that goes on behind commit `count`. */
  from(count: number): Timeline {
    return new Timeline(this.commits.slice(0, count));
  }

  /** The state after commit `count`. */
  state(count: number): State {
    const state: State = new Map();
    for (let i = 0; i < count; i++) apply(state, this.commits[i] as Commit);
    return state;
  }

  /** What a key held after the commits `from` to `to`, one of them each. */
  valuesOf(key: string, from: number, to: number): (Value | undefined)[] {
    const values = [this.state(from).get(key)];
    for (let i = from; i < to; i++) {
      const commit = this.commits[i] as Commit;
      if (commit.has(key)) values.push(commit.get(key));
    }
    return values;
  }

  /**
   * The number of the commit after which the state was `found`, at least `least` and at most `most`; -1 when there is
   * none. It is G1 that it is not less, and G2 that there is one at all. Where values are unreadable, any will do.
   */
  find(found: Found, least: number, most: number, times: Times): number {
    const state = this.state(least);
    // Which value a key was found to hold: most of a state is that of the commit before.
    const known = new Map<string, Value>();
    for (let count = least; ; count++) {
      if (agree(state, found, times, known)) return count;
      if (count >= Math.min(most, this.end)) return -1;
      apply(state, this.commits[count] as Commit);
    }
  }

  /**
   * Whether a commit behind the first `from` names one of the keys; with `changes`, one that was there then or is there now: what
   * came and went in between changes nothing for who found the key absent.
   */
  touches(keys: ReadonlySet<string>, from: number, changes: boolean): boolean {
    const then = this.state(from);
    const now = this.state(this.commits.length);
    for (let i = from; i < this.commits.length; i++) {
      for (const key of (this.commits[i] as Commit).keys()) {
        if (keys.has(key) && (!changes || then.has(key) || now.has(key))) return true;
      }
    }
    return false;
  }

  /** What is wrong with a state that is none: the nearest one, and the keys in which they differ. */
  explain(found: Found, least: number, most: number): string {
    let nearest = 0;
    let fewest = Number.POSITIVE_INFINITY;
    let text = "";
    for (let count = 0; count <= this.end; count++) {
      const different = differences(this.state(count), found);
      if (different.length >= fewest) continue;
      fewest = different.length;
      nearest = count;
      text = different.slice(0, 4).join("; ");
    }
    return `the state is none of ${least} to ${most}; nearest is ${nearest}${text === "" ? "" : `: ${text}`}`;
  }
}

export function apply(state: State, commit: Commit): void {
  for (const [key, value] of commit) {
    if (value === undefined) state.delete(key);
    else state.set(key, value);
  }
}

function agree(state: State, found: Found, { lowMs, highMs }: Times, known: Map<string, Value>): boolean {
  let seen = 0;
  for (const [key, expected] of state) {
    const { expiresAt = Number.POSITIVE_INFINITY } = expected;
    const value = found.get(key);
    if (value === undefined) {
      if (expiresAt > highMs) return false;
      continue;
    }
    if (expiresAt <= lowMs) return false;
    if (known.get(key) !== expected) {
      if (value !== UNREADABLE && !sameValue(expected, value)) return false;
      known.set(key, expected);
    }
    seen++;
  }
  return seen === found.size;
}

function differences(state: State, found: Found): string[] {
  const list: string[] = [];
  for (const key of new Set([...state.keys(), ...found.keys()])) {
    const value = found.get(key);
    const expected = state.get(key);
    if (value === UNREADABLE ? expected !== undefined : sameValue(expected, value)) continue;
    list.push(`${key.slice(0, 24)} expected ${describe(expected)}, found ${describe(value)}`);
  }
  return list;
}
