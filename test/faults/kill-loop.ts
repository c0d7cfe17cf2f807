/**
 * `kill -9` in a loop: one child after another goes on with the same stores, is killed at a random moment, while it opens
 * them, or writes, or compacts, or closes, and the next one says what it found.
 */
import type { RuntimeName } from "../runtime.ts";
import { Random } from "../simulation/random.ts";
import { bundleChild, Child, type Command, commandIn, says } from "./children.ts";
import { Oracle } from "./oracle.ts";
import type { Saying } from "./protocol.ts";

/** A device of this size compaction has to keep from being full. */
export const LOOP_SIZE = 48 * 1_048_576;

/** What to kill, and how often. */
export interface KillPlan {
  /** The repository. */
  root: string;
  runtime: RuntimeName;
  /** Files and block devices: each child writes into all of them. They are created, or blank, at first. */
  paths: readonly string[];
  /** Kills. */
  count: number;
  /** Decides what is written, and when a child is killed, but not how far it comes. */
  seed: number;
  /** When to end at the latest, by `performance.now()`. */
  endMs?: number;
  /** Ends it early. */
  abort?: AbortSignal;
  /** Called before each child gets its stores, while nobody has them open. */
  before?: (life: number) => void;
  /** Called after each kill. */
  after?: (kills: number) => void;
}

/** What came of it. */
export interface KillReport {
  kills: number;
  /** Of these, before all stores were open. */
  killsWhileOpening: number;
  /** Times that a store was opened after a kill and held against what it may be. */
  judged: number;
  /** Commits that were acknowledged as durable. */
  durable: number;
  seconds: number;
  /** The first thing that was wrong. */
  failure?: string;
}

/** Share of the kills while a child opens its stores, and how long one goes on at most otherwise, in milliseconds. */
const WHILE_OPENING = 0.25;
const RUN_MS_MAX = 60;
/** What no child takes to open its stores. */
const OPEN_MS_MAX = 60_000;
/** Every so many lives all is walked. */
const VERIFY_EVERY = 20;

/** Kills children until the count is reached, time is over, or something is wrong. Never rejects for what a store did. */
export async function killLoop(plan: KillPlan): Promise<KillReport> {
  const start = performance.now();
  const loop = new KillLoop(plan, await commandOf(plan));
  const { count, endMs = Number.POSITIVE_INFINITY } = plan;
  const goesOn = (): boolean => loop.kills < count && performance.now() < endMs && plan.abort?.aborted !== true;
  let failure: string | undefined;
  try {
    while (failure === undefined && goesOn()) failure = await loop.round();
    failure ??= await loop.look();
  } finally {
    loop.end();
  }
  const { kills, killsWhileOpening, oracles } = loop;
  const judged = oracles.reduce((sum, { judgedCount }) => sum + judgedCount, 0);
  const durable = oracles.reduce((sum, { durableCount }) => sum + durableCount, 0);
  const report = { kills, killsWhileOpening, judged, durable, seconds: (performance.now() - start) / 1000 };
  return failure === undefined ? report : { ...report, failure };
}

async function commandOf({ root, runtime }: KillPlan): Promise<Command> {
  const found = commandIn(root, runtime);
  if (found === undefined) throw new Error(`${runtime} is not installed`);
  return { command: found.command, args: [...found.args, await bundleChild(root, "child", runtime)] };
}

class KillLoop {
  kills = 0;
  killsWhileOpening = 0;
  readonly oracles: Oracle[];
  private readonly plan: KillPlan;
  private readonly command: Command;
  private readonly random: Random;
  private life = 0;
  /** Started ahead: it waits for its order. */
  private next: Child;

  constructor(plan: KillPlan, command: Command) {
    this.plan = plan;
    this.command = command;
    this.random = new Random(BigInt(plan.seed)).fork(0);
    this.oracles = plan.paths.map((_, index) => new Oracle(this.seedOf(index)));
    this.next = new Child(command);
  }

  /** One life, to its kill. Returns what was wrong. */
  async round(): Promise<string | undefined> {
    const { random } = this;
    const whileOpening = random.chance(WHILE_OPENING);
    const delayMs = whileOpening ? random.unit() ** 2 * 40 : random.unit() * RUN_MS_MAX;
    const child = await this.begin(false);
    let open = 0;
    let timer = setTimeout(() => child.kill(), whileOpening ? delayMs : OPEN_MS_MAX);
    const wrong = this.listen(child, () => {
      open += 1;
      if (open < this.plan.paths.length || whileOpening) return;
      clearTimeout(timer);
      timer = setTimeout(() => child.kill(), delayMs);
    });
    const { signal, status, complaint } = await child.ended;
    clearTimeout(timer);
    if (wrong.length > 0) return this.saysOf(wrong[0] as string);
    if (signal !== "SIGKILL") return this.saysOf(`the child ended by itself with ${status ?? signal}: ${complaint}`);
    if (!whileOpening && open < this.plan.paths.length) return this.saysOf("opening did not end");
    this.kills += 1;
    if (open < this.plan.paths.length) this.killsWhileOpening += 1;
    this.plan.after?.(this.kills);
    return undefined;
  }

  /** A last child only looks, and closes. */
  async look(): Promise<string | undefined> {
    const child = await this.begin(true);
    const timer = setTimeout(() => child.kill(), OPEN_MS_MAX);
    const wrong = this.listen(child, () => undefined);
    const { signal, status, complaint } = await child.ended;
    clearTimeout(timer);
    const closed = child.sayings.filter(says("closed")).length;
    if (wrong.length > 0) return this.saysOf(wrong[0] as string);
    if (closed === this.plan.paths.length && status === 0) return undefined;
    return this.saysOf(`closing ended with ${status ?? signal}: ${complaint}`);
  }

  /** No child is left behind. */
  end(): void {
    this.next.kill();
  }

  private async begin(looksOnly: boolean): Promise<Child> {
    const child = this.next;
    await child.heardOf(says("ready"));
    this.next = new Child(this.command);
    this.life += 1;
    this.plan.before?.(this.life);
    const stores = this.plan.paths.map((path, index) => ({ path, seed: this.seedOf(index) }));
    child.send({ life: this.life, stores, verifies: looksOnly || this.life % VERIFY_EVERY === 0, looksOnly });
    return child;
  }

  /** Judges what a child says; what is wrong comes into the list that is returned, and ends the child. */
  private listen(child: Child, opened: () => void): string[] {
    const wrong: string[] = [];
    child.onSaying((saying: Saying) => {
      const fault = this.faultIn(saying);
      if (fault !== undefined) {
        wrong.push(`${this.plan.paths[(saying as { store: number }).store]}: ${fault}`);
        child.kill();
      } else if (saying.type === "open") opened();
    });
    return wrong;
  }

  private faultIn(saying: Saying): string | undefined {
    if (saying.type === "ready" || saying.type === "closed") return undefined;
    const oracle = this.oracles[saying.store] as Oracle;
    if (saying.type === "open") return oracle.judge(this.life, saying);
    if (saying.type === "failed") return `${saying.code} ${saying.message}`;
    oracle.acknowledged(saying);
    return undefined;
  }

  private seedOf(index: number): number {
    return (this.plan.seed + index * 7919) >>> 0;
  }

  private saysOf(what: string): string {
    return `${this.plan.runtime}, seed ${this.plan.seed}, life ${this.life}, after ${this.kills} kills: ${what}`;
  }
}
