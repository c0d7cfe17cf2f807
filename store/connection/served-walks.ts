/** The walks that an owner does for one client, a block at a time. */
import { CairnError } from "../error.ts";
import { shownBytes, type WireTarget } from "./faces.ts";
import type { WireBlock, WireBytes, WireFace, WireRange } from "./wire.ts";

/** What a walk gives. */
export type WalkKind = "entries" | "keys" | "values";
type Walk = Iterator<WireBytes | [WireBytes, WireBytes]> & { seek(key: WireBytes): void };

/** A walk that has not ended. */
interface OpenWalk {
  id: number;
  kind: WalkKind;
  walk: Walk;
  /** By `performance.now()`. */
  usedAt: number;
}

/** Bytes of keys and values after which a block ends. */
const BLOCK_BYTES_MAX = 1024 * 1024;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** See above. */
export class ServedWalks {
  private readonly open = new Map<number, OpenWalk>();
  private idNext = 1;

  /** How many have not ended. */
  get count(): number {
    return this.open.size;
  }

  /** Begins one: its first `count` entries at most. */
  begin(target: WireTarget, face: WireFace, kind: WalkKind, range: WireRange, count: number): WireBlock {
    const walk = target[kind](range as object) as Walk;
    const open = { id: this.idNext++, kind, walk, usedAt: performance.now() };
    this.open.set(open.id, open);
    return this.block(face, open, count);
  }

  /** Its next `count` entries at most, from a key on when there is one. `SNAPSHOT_EXPIRED` when it has ended. */
  next(face: WireFace, id: number, count: number, seek: WireBytes | undefined): WireBlock {
    const open = this.open.get(id);
    if (open === undefined)
      throw new CairnError("SNAPSHOT_EXPIRED", "next", "next: the walk has ended. Begin it again.");
    open.usedAt = performance.now();
    if (seek !== undefined) open.walk.seek(seek);
    return this.block(face, open, count);
  }

  /** Ends one. */
  end(id: number): void {
    this.open.get(id)?.walk.return?.();
    this.open.delete(id);
  }

  /** Ends those that were last used before a time of `performance.now()`. */
  endUnused(before: number): void {
    for (const { id, usedAt } of [...this.open.values()]) if (usedAt < before) this.end(id);
  }

  /** Ends all. */
  endAll(): void {
    for (const id of [...this.open.keys()]) this.end(id);
  }

  /** The next entries of a walk; less than `count` when it ends, or when they are large. */
  private block(face: WireFace, { id, kind, walk }: OpenWalk, count: number): WireBlock {
    const items: WireBytes[] = [];
    let bytes = 0;
    for (let taken = 0; taken < count && bytes < BLOCK_BYTES_MAX; taken++) {
      const step = walk.next();
      if (step.done) {
        this.open.delete(id);
        return { walk: id, items, done: true };
      }
      const { value } = step;
      if (typeof value === "string" || value instanceof Uint8Array) {
        items.push(kind === "keys" ? shownKey(value, face) : (shownValue(value, face) as WireBytes));
        bytes += value.length;
      } else {
        items.push(shownKey(value[0], face), shownValue(value[1], face) as WireBytes);
        bytes += value[0].length + value[1].length;
      }
    }
    return { walk: id, items, done: false };
  }
}

/** A value as its client wants it. */
export function shownValue(value: WireBytes | undefined, { valuesAreText }: WireFace): WireBytes | undefined {
  return value === undefined ? undefined : shownBytes(value, valuesAreText, decoder);
}

/** A key as its client wants it. */
function shownKey(key: WireBytes, { keysAreText }: WireFace): WireBytes {
  return shownBytes(key, keysAreText, decoder);
}
