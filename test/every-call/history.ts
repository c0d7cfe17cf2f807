/** What a store was told to hold, commit by commit, and which of its states a recovered one may be. */

/** A value, and when it expires, in milliseconds since 1970. */
export interface Value {
  text: string;
  expiresAt: number;
}

/** The writes of one commit: values by key, `undefined` for a deletion. Keys of a namespace have its name and a `:` before them. */
export type Commit = ReadonlyMap<string, Value | undefined>;
export type State = Map<string, Value>;
/** Texts by key, as they were read. */
export type Found = ReadonlyMap<string, string>;

/** The time that the store goes by lies from `lowMs` to `highMs`, in milliseconds since 1970. */
export interface Times {
  lowMs: number;
  highMs: number;
}

/** A value that does not expire. */
export function lasting(text: string): Value {
  return { text, expiresAt: Number.POSITIVE_INFINITY };
}

export function apply(state: State, commit: Commit): void {
  for (const [key, value] of commit) {
    if (value === undefined) state.delete(key);
    else state.set(key, value);
  }
}

/** The state after so many commits. */
export function stateAfter(commits: readonly Commit[], count: number): State {
  const state: State = new Map();
  for (let i = 0; i < count; i++) apply(state, commits[i] as Commit);
  return state;
}

/**
 * The number of the commit after which the state was `found`, from `least` to `most`: -1 when there is none. That it is not
 * less is G1, that there is one at all is G2, and that no text is another one G3.
 */
export function findState(commits: readonly Commit[], found: Found, least: number, most: number, times: Times): number {
  const state = stateAfter(commits, least);
  for (let count = least; ; count++) {
    if (difference(state, found, times) === undefined) return count;
    if (count >= most) return -1;
    apply(state, commits[count] as Commit);
  }
}

/** A key in which a state and what was read differ, or `undefined`. */
export function difference(state: State, found: Found, times: Times): string | undefined {
  let seen = 0;
  for (const [key, { text, expiresAt }] of state) {
    const other = found.get(key);
    if (other === undefined) {
      if (expiresAt > times.highMs) return `${key} is missing`;
      continue;
    }
    if (expiresAt <= times.lowMs) return `${key} has expired, and is there`;
    if (other !== text) return `${key} is ${shown(other)}, not ${shown(text)}`;
    seen++;
  }
  if (seen === found.size) return undefined;
  for (const [key, text] of found) if (!state.has(key)) return `${key} is ${shown(text)}, and should not be there`;
  return undefined;
}

function shown(text: string): string {
  return `${JSON.stringify(text.slice(0, 16))} of ${text.length}`;
}
