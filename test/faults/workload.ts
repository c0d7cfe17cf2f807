/**
 * What a child writes into a store, life after life: drawn from a seed and the number of the life, so that whoever judges
 * what came back can draw it again. A commit is numbered from 1 on in its life; no two lives write the same value.
 */
import { mix, Random } from "../simulation/random.ts";

/** A write: the key, and the tag of its value; `undefined` is a deletion, `+N` adds N to a counter. */
export type Write = readonly [key: string, tag: string | undefined];

/** One thing that a child does. Those that write are one commit each. */
export interface Step {
  kind: StepKind;
  /** Empty where nothing is written. Of a `clear`: the prefix, as the only key. */
  writes: readonly Write[];
  /** Whether the child waits until it is durable. */
  waits: boolean;
}

const KINDS = {
  set: 30,
  delete: 5,
  put: 20,
  del: 4,
  batch: 8,
  transaction: 5,
  increment: 4,
  clear: 0.3,
  flush: 2,
  flushSync: 1.5,
  compact: 0.4,
  scan: 1,
  reopen: 0.4,
} as const;

export type StepKind = keyof typeof KINDS;

const NAMES = Object.keys(KINDS) as StepKind[];
const WEIGHTS = Object.values(KINDS);
const KEY_COUNT = 300;
/** Keys by their first digits: a `clear` takes those of one. */
const PREFIX_COUNT = 15;

export const COUNTER = "counter";

/** More commits than these are never issued and not acknowledged. */
export const WINDOW = 400;

/** The steps of one life of a store. */
export class Workload {
  private readonly random: Random;
  private readonly life: number;
  private serial = 0;

  constructor(seed: number, life: number) {
    this.random = new Random((BigInt(seed) << 32n) | BigInt(mix(life)));
    this.life = life;
  }

  next(): Step {
    const { random } = this;
    const kind = NAMES[random.weighted(WEIGHTS)] as StepKind;
    return { kind, writes: this.writesOf(kind), waits: random.chance(0.3) };
  }

  /** The next step that writes. */
  nextCommit(): Step {
    for (;;) {
      const step = this.next();
      if (step.writes.length > 0) return step;
    }
  }

  private writesOf(kind: StepKind): Write[] {
    const { random } = this;
    switch (kind) {
      case "set":
      case "put":
        return [[this.key(), this.tag()]];
      case "delete":
      case "del":
        return [[this.key(), undefined]];
      case "increment":
        return [[COUNTER, `+${random.between(1, 9)}`]];
      case "clear":
        return [[prefixOf(random.below(PREFIX_COUNT)), undefined]];
      case "batch":
      case "transaction": {
        const writes: Write[] = [];
        for (let left = random.between(2, kind === "batch" ? 24 : 6); left > 0; left--) {
          writes.push([this.key(), random.chance(0.25) ? undefined : this.tag()]);
        }
        return writes;
      }
      default:
        return [];
    }
  }

  private key(): string {
    const number = this.random.below(KEY_COUNT);
    return `${prefixOf(number % PREFIX_COUNT)}${number}`;
  }

  /** Mostly small values, which lie in memory, some of a block and more. */
  private tag(): string {
    const { random } = this;
    const [least, most] = [
      [0, 120],
      [120, 2000],
      [4000, 30_000],
    ][random.weighted([70, 26, 4])] as [number, number];
    return `${this.life}.${this.serial++}.${random.between(least, most)}`;
  }
}

function prefixOf(number: number): string {
  return `${String.fromCharCode(97 + number)}/`;
}

/** The value of a tag: the tag, and text that nothing else would give. */
export function textOf(tag: string): string {
  const size = Number(tag.slice(tag.lastIndexOf(".") + 1));
  const piece = `${mix(size + tag.length * 31 + tag.charCodeAt(0))} ${tag}/`;
  return `${tag}:${piece.repeat(Math.ceil(size / piece.length)).slice(0, size)}`;
}

/** The tag of a value that was read; `undefined` when these are not the bytes that were written. */
export function tagOf(key: string, value: string): string | undefined {
  if (key === COUNTER) return /^\d+$/.test(value) ? value : undefined;
  const tag = value.slice(0, value.indexOf(":"));
  return value === textOf(tag) ? tag : undefined;
}

/** Does a commit to a model of the store. Returns the keys that it may have changed. */
export function apply(state: Map<string, string>, { kind, writes }: Step): string[] {
  if (kind === "clear") {
    const [prefix] = writes[0] as Write;
    const cleared = [...state.keys()].filter((key) => key.startsWith(prefix));
    for (const key of cleared) state.delete(key);
    return cleared;
  }
  for (const [key, tag] of writes) {
    if (tag === undefined) state.delete(key);
    else if (kind === "increment") state.set(key, String(Number(state.get(key) ?? "0") + Number(tag.slice(1))));
    else state.set(key, tag);
  }
  return writes.map(([key]) => key);
}
