/**
 * Judges what came back of a store, life after life: it must be the state after some commit between the last one that was
 * acknowledged as durable and the last one that can have been issued, batches whole.
 */
import type { Saying } from "./protocol.ts";
import { apply, WINDOW, Workload } from "./workload.ts";

type Opened = Extract<Saying, { type: "open" }>;

/** What is known of one store. */
export class Oracle {
  /** Commits that were acknowledged as durable, in all lives. */
  durableCount = 0;
  /** Lives that were judged. */
  judgedCount = 0;
  private readonly seed: number;
  /** What was there when the last life that was heard of had opened the store. */
  private state = new Map<string, string>();
  /** That life, and which of its commits are durable. */
  private life = 0;
  private durable = 0;
  private version = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** A life says that commits up to `commit` are durable. */
  acknowledged({ commit, version }: { commit: number; version: number }): void {
    this.durableCount += commit - this.durable;
    this.durable = commit;
    this.version = Math.max(this.version, version);
  }

  /** A life has opened the store: what is wrong with what it found, or `undefined`. */
  judge(life: number, { entries, faults, version }: Opened): string | undefined {
    const found = new Map(entries);
    if (faults.length > 0) return faults.slice(0, 3).join("; ");
    if (version < this.version) return `version ${version} after ${this.version} was given out`;
    const at = this.find(found);
    if (typeof at === "string") return at;
    this.judgedCount += 1;
    this.state = found;
    this.life = life;
    this.durable = 0;
    return undefined;
  }

  /** After which commit of the last life the state was `found`; what is wrong when there is none. */
  private find(found: ReadonlyMap<string, string>): number | string {
    const { life, durable } = this;
    const state = new Map(this.state);
    const different = new Set([...state.keys(), ...found.keys()].filter((key) => state.get(key) !== found.get(key)));
    const workload = new Workload(this.seed, life);
    // What the child knew to be durable it may not have said any more.
    const most = life === 0 ? 0 : durable + 2 * WINDOW;
    let early = -1;
    let nearest: { commit: number; keys: string[] } | undefined;
    for (let commit = 0; ; commit++) {
      if (different.size === 0) {
        if (commit >= durable) return commit;
        early = commit;
      }
      if (commit >= durable && different.size < (nearest?.keys.length ?? Number.POSITIVE_INFINITY)) {
        nearest = { commit, keys: [...different] };
      }
      if (commit === most) break;
      for (const key of apply(state, workload.nextCommit())) {
        if (state.get(key) === found.get(key)) different.delete(key);
        else different.add(key);
      }
    }
    if (early >= 0) return `LOST: life ${life} had ${durable} commits durable, and ${early} are there`;
    const keys = nearest?.keys.slice(0, 4).map((key) => `${key} holds ${found.get(key) ?? "nothing"}`) ?? [];
    return `no state of life ${life} from commit ${durable} on; nearest is ${nearest?.commit}, but ${keys.join(", ")}`;
  }
}
