/**
 * What a store may say of a damaged image. Nothing but what its keys once held; and all of it together a state that the store
 * once had, but for keys whose reading fails: the last one, or, where nothing that is whole vouches for the last groups, one
 * that a whole block still vouches for.
 */
import { BLOCK_SIZE } from "../../store/layout.ts";
import { pageOf } from "../simulation/pages.ts";
import {
  FIRST_BLOCK,
  FLAG_GROUP_END,
  FLAG_SEGMENT_HEADER,
  fieldOf,
  isBlank,
  isSound,
  readField,
  SEGMENT_BLOCKS,
  SUPERBLOCKS,
  TRAILER_OFFSET,
  viewOf,
} from "./blocks.ts";
import type { Canvas, Subject } from "./canvas.ts";
import { Finding } from "./finding.ts";
import type { Held, State } from "./reference.ts";

/** What was got of each key: what it holds, nothing, or why it could not be read. */
export type Answers = ReadonlyMap<string, Held | undefined | Error>;

/** A whole block that says how far the log was durable. */
interface Voucher {
  block: number;
  durableGroup: bigint;
  /** Of the group that ends here; none for superblocks. */
  group?: bigint;
  version?: number;
}

/** Who vouches for what in a reference. */
export class Vouchers {
  private readonly subject: Subject;
  private readonly list: Voucher[] = [];

  constructor(subject: Subject) {
    this.subject = subject;
    const { pages } = subject.reference.image;
    for (const block of subject.written) {
      const page = pageOf(pages, block);
      if (SUPERBLOCKS.includes(block)) {
        this.list.push({ block, durableGroup: readField(page, 0, fieldOf("Superblock", "durableGroup")) });
        continue;
      }
      const view = viewOf(page);
      if ((view.getUint16(42, true) & FLAG_GROUP_END) === 0 || !isSound(page, block, subject.seed)) continue;
      this.list.push({
        block,
        durableGroup: view.getBigUint64(TRAILER_OFFSET, true),
        group: view.getBigUint64(32, true),
        version: Number(view.getBigUint64(TRAILER_OFFSET + 24, true)),
      });
    }
  }

  /** The lowest version that the state of a damaged image may have. */
  floor(damaged: ReadonlySet<number>): number {
    let durable = 0n;
    for (const { block, durableGroup } of this.list) {
      if (!damaged.has(block) && durableGroup > durable) durable = durableGroup;
    }
    let version = 0;
    for (const one of this.list) {
      if (one.group !== undefined && one.group <= durable) version = Math.max(version, one.version as number);
    }
    return Math.min(version, this.subject.reference.versions.at(-1) as number);
  }
}

/** Blocks at a segment's start that must be zeros for the segment to look as if it was never written. */
const BLANK_BLOCKS = 4;

/**
 * The blocks of an image that are not what they were; of a segment whose header is an older one that is sound, all; and all of one
 * that begins with so many zeros that opening takes it for one that was never written.
 */
export function damagedBlocks(canvas: Canvas): Set<number> {
  const { subject } = canvas;
  const damaged = new Set<number>();
  for (const number of canvas.changed) {
    const before = pageOf(subject.reference.image.pages, number);
    const after = canvas.page(number);
    const isThere = number * BLOCK_SIZE < canvas.size;
    if (isThere && (before === after || Buffer.compare(before, after) === 0)) continue;
    damaged.add(number);
    const isFirst = number >= FIRST_BLOCK && (number - FIRST_BLOCK) % SEGMENT_BLOCKS === 0;
    if (!isFirst) continue;
    const start = Array.from({ length: BLANK_BLOCKS }, (_, i) => canvas.page(number + i));
    const isHeader =
      canvas.replayed.has(number) &&
      (viewOf(after).getUint16(42, true) & FLAG_SEGMENT_HEADER) !== 0 &&
      isSound(after, number, subject.seed);
    if (!isHeader && !start.every(isBlank)) continue;
    for (let i = 0; i < SEGMENT_BLOCKS; i++) damaged.add(number + i);
  }
  return damaged;
}

/** A state that explains what was got. A finding where there is none. */
export function explain(subject: Subject, answers: Answers, floor: number, where: string, isPart = false): State {
  const { history, states, versions } = subject.reference;
  for (const [key, answer] of answers) {
    if (answer === undefined || answer instanceof Error) continue;
    if (history.get(key)?.has(answer.value) === true) continue;
    throw new Finding(`${where}: wrong value: ${name(key)} never was ${name(answer.value)}`);
  }
  for (let n = states.length - 1; n >= 0 && (versions[n] as number) >= floor; n--) {
    const state = states[n] as State;
    if (difference(state, answers, isPart) === undefined) return state;
  }
  const what = difference(states.at(-1) as State, answers, isPart);
  throw new Finding(`${where}: no state from version ${floor} on is what was read: of the last one, ${what}`);
}

/** A key that differs, in words; with `isPart` keys may be absent. */
function difference(state: State, answers: Answers, isPart: boolean): string | undefined {
  for (const [key, answer] of answers) {
    if (answer instanceof Error) continue;
    const held = state.get(key);
    if (answer === undefined) {
      if (held === undefined || isPart) continue;
      return `${name(key)} is missing`;
    }
    if (held === undefined) return `${name(key)} was deleted and is ${name(answer.value)}`;
    if (same(held, answer)) continue;
    return `${name(key)} was ${shown(held)} and is ${shown(answer)}`;
  }
  return undefined;
}

/** Whether two answers are the same. */
export function same(a: Held, b: Held): boolean {
  return a.value === b.value && a.version === b.version && a.expiresAt === b.expiresAt && a.timestamp === b.timestamp;
}

/** A text as it is told of. */
export function name(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}... (${text.length})` : text);
}

function shown({ value, version, expiresAt, timestamp }: Held): string {
  return `${name(value)} (version ${version}, expires ${expiresAt}, timestamp ${timestamp})`;
}
