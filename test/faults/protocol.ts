/** What a child of these tests is told, on one line of its standard input, and says, a line of JSON each. */

/** What it is told. */
export interface Order {
  /** Which life of the stores this is, from 1 on. */
  life: number;
  /** Where they are, and what their writes are drawn from. */
  stores: { path: string; seed: number }[];
  /** Walks every block and both indexes when it has opened. */
  verifies: boolean;
  /** Opens, says what is there, closes and ends. */
  looksOnly: boolean;
}

/** What it says. `store` is the index of the one that it speaks of. */
export type Saying =
  /** It has started and waits for its order. */
  | { type: "ready" }
  /** The store is open, and holds this; `version` is its newest one. */
  | { type: "open"; store: number; version: number; entries: [key: string, tag: string][]; faults: string[] }
  /** Commits of this life up to this one are durable; `version` was the newest one when that one was issued. */
  | { type: "durable"; store: number; commit: number; version: number }
  /** A call failed: with what, and what calls after it were answered with. */
  | { type: "failed"; store: number; code: string; message: string; afterwards: string[] }
  /** The store is closed in order. */
  | { type: "closed"; store: number };
