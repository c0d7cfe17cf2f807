/** A leaderboard: the best score of each player, the first ones in order, and anybody's rank. */
import { open, type Store, type Tuple } from "cairn-kv";

/** A player's place. Equal scores have equal ranks, and the next rank counts them all. */
export interface Place {
  rank: number;
  player: string;
  score: number;
}

/**
 * `["best", player]` holds a score, `["place", -score, player]` puts it in order: tuples order by their elements, so the
 * highest score comes first. A rank is the count of the places before it, about 1 ns each.
 */
export class Leaderboard {
  private readonly store: Store<Tuple, unknown>;

  private constructor(store: Store<Tuple, unknown>) {
    this.store = store;
  }

  static async open(path: string): Promise<Leaderboard> {
    return new Leaderboard(await open(path, { keyEncoding: "tuple", valueEncoding: "json" }));
  }

  /** Takes a score: whether it is the player's best so far. Visible at once, on stable storage with the next commit. */
  submit(player: string, score: number): boolean {
    return this.store.transaction((tx) => {
      const best = tx.get(["best", player]) as number | undefined;
      if (best !== undefined && best >= score) return false;
      if (best !== undefined) tx.delete(["place", -best, player]);
      tx.set(["best", player], score);
      tx.set(["place", -score, player], null);
      return true;
    });
  }

  /** The first `count` places. */
  top(count: number): Place[] {
    return Array.from(this.store.keys({ prefix: ["place"], limit: count }), (key) => this.placeOf(key));
  }

  /** The place of a player, or `undefined`. */
  place(player: string): Place | undefined {
    const score = this.store.get(["best", player]) as number | undefined;
    return score === undefined ? undefined : { rank: this.rankOf(score), player, score };
  }

  /** A player's place with up to `count` before and behind it. */
  around(player: string, count: number): Place[] {
    const score = this.store.get(["best", player]) as number | undefined;
    if (score === undefined) return [];
    const own: Tuple = ["place", -score, player];
    const before = this.store.keys({ prefix: ["place"], lt: own, reverse: true, limit: count });
    const from = this.store.keys({ prefix: ["place"], gte: own, limit: count + 1 });
    return [...[...before].reverse(), ...from].map((key) => this.placeOf(key));
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }

  private placeOf(key: Tuple): Place {
    const [, below, player] = key as [string, number, string];
    const score = 0 - below;
    return { rank: this.rankOf(score), player, score };
  }

  private rankOf(score: number): number {
    return this.store.count({ prefix: ["place"], lt: ["place", -score] }) + 1;
  }
}
