/**
 * Walks over a tenant's records that leave the event loop to others every few milliseconds.
 *
 * Records are read as text. When one comes that is no UTF-8 the walk goes on from there as bytes, through the same view.
 */
import { nextTurn } from "../../../store/turn.ts";
import type { ServedRecord } from "../operations.ts";
import type { Faces, View, ViewRange } from "../tenants.ts";
import { isDoubtful, textOrBytes } from "./exact.ts";

type Key = string | Uint8Array;

/** Which records, in which order. Bounds of one side may be combined; the tighter one counts. */
export interface WalkRange {
  gt?: Key | undefined;
  gte?: Key | undefined;
  lt?: Key | undefined;
  lte?: Key | undefined;
  prefix?: Key | undefined;
  reverse?: boolean | undefined;
  limit?: number | undefined;
  /** Without values: they are empty. */
  keysOnly?: boolean | undefined;
  /** A view of the same store to read through. Whoever opened it closes it. Default: one of this moment. */
  view?: View | undefined;
}

/** What is done at once between two turns of the event loop, and how many records are given before that is looked at. */
const TURN_MS = 4;
const TURN_RECORDS = 32;
/** Names of what bounds a range. */
export const BOUNDS = ["gt", "gte", "lt", "lte", "prefix"] as const;
/** What the namespaces among a store's own keys begin with. */
export const NAMESPACE = 0xff;

const encoder = new TextEncoder();

/** A walk. Begins at once, with what is there then. End it, or take its last record. */
export class RecordWalk {
  private readonly faces: Faces;
  private readonly range: WalkRange;
  private view: View | Promise<View> | undefined;
  /** Entries, or keys, of the store: as text until one comes that is none. */
  private entries: AsyncIterator<[Key, Key] | Key> | undefined;
  private isText: boolean;
  private last: Key | undefined;
  private given = 0;
  private turnAt = performance.now();

  constructor(faces: Faces, range: WalkRange) {
    this.faces = faces;
    this.range = range;
    this.isText = BOUNDS.every((name) => !(range[name] instanceof Uint8Array));
    this.view = range.view ?? faces.text.snapshot();
    if (this.view instanceof Promise) {
      // Whoever takes the first step hears of it.
      ignored(this.view);
      return;
    }
    try {
      const isText = this.isTextIn(this.view);
      if (typeof isText !== "boolean") {
        ignored(isText);
        return;
      }
      this.isText = isText;
      this.entries = this.begin(this.view);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** The next record; `undefined` at the end. One call at a time. */
  async next(): Promise<ServedRecord | undefined> {
    if (this.given % TURN_RECORDS === TURN_RECORDS - 1 && performance.now() - this.turnAt > TURN_MS) {
      await new Promise<void>(nextTurn);
      this.turnAt = performance.now();
    }
    try {
      while (this.view !== undefined) {
        if (this.entries === undefined) {
          const view = await this.view;
          if (this.isText) this.isText = await this.isTextIn(view);
          this.entries = this.begin(view);
        }
        const { done, value } = await this.entries.next();
        if (done === true) break;
        const record = this.recordOf(value);
        if (record !== undefined) {
          this.given++;
          return record;
        }
        const { entries } = this;
        this.isText = false;
        this.entries = undefined;
        await entries.return?.();
      }
    } catch (error) {
      this.end();
      throw error;
    }
    this.end();
    return undefined;
  }

  /** Ends it and releases what it holds. A second call does nothing. */
  end(): void {
    const { view, entries } = this;
    this.view = undefined;
    this.entries = undefined;
    // What a connection says to that, nobody waits for.
    ignored(entries?.return?.());
    if (view === this.range.view || view === undefined) return;
    if (view instanceof Promise) ignored(view.then((taken) => taken.close()));
    else ignored(view.close());
  }

  /**
   * Whether the range may be read as text: behind all text lie keys that begin with 0xff, which ranges of text leave out. Among the
   * store's own keys those are the namespaces, and left out here, too.
   */
  private isTextIn(snapshot: View): boolean | Promise<boolean> {
    const { faces, range, isText } = this;
    if (!isText || faces.isRoot || range.lt !== undefined || range.lte !== undefined) return isText;
    if (range.prefix !== undefined && range.prefix.length > 0) return true;
    const beyond = faces.bytes.count({ gte: Uint8Array.of(NAMESPACE), limit: 1, snapshot });
    return beyond instanceof Promise ? beyond.then((count) => count === 0) : beyond === 0;
  }

  /** What the store gives, from behind the last record on. */
  private begin(snapshot: View): AsyncIterator<[Key, Key] | Key> {
    const { faces, range, isText } = this;
    const keysOnly = range.keysOnly === true;
    if (isText) {
      const asked = { ...this.asked((key) => key as string), snapshot };
      return (keysOnly ? faces.text.keys(asked) : faces.text.entries(asked))[Symbol.asyncIterator]();
    }
    const asked = { ...this.asked(bytesOf), snapshot };
    if (faces.isRoot && (asked.lt === undefined || asked.lt[0] === NAMESPACE)) asked.lt = Uint8Array.of(NAMESPACE);
    return (keysOnly ? faces.bytes.keys(asked) : faces.bytes.entries(asked))[Symbol.asyncIterator]();
  }

  /** The range in the terms of a store. */
  private asked<K>(keyOf: (key: Key) => K): Omit<ViewRange<K>, "snapshot"> {
    const { range, last, given } = this;
    const asked: Omit<ViewRange<K>, "snapshot"> = {};
    for (const name of BOUNDS) {
      const bound = range[name];
      if (bound !== undefined) asked[name] = keyOf(bound);
    }
    if (range.reverse === true) asked.reverse = true;
    if (range.limit !== undefined) asked.limit = range.limit - given;
    if (last !== undefined) asked[range.reverse === true ? "lt" : "gt"] = keyOf(last);
    return asked;
  }

  /** An entry as a record; `undefined` for one that was decoded as text and may be none. */
  private recordOf(entry: [Key, Key] | Key): ServedRecord | undefined {
    const [key, value] = this.range.keysOnly === true ? [entry as Key, ""] : (entry as [Key, Key]);
    if (!this.isText)
      return { key: textOrBytes(key as Uint8Array), value: value === "" ? value : textOrBytes(value as Uint8Array) };
    if (isDoubtful(key as string) || isDoubtful(value as string)) return undefined;
    this.last = key;
    return { key, value };
  }
}

/** A key as bytes. */
export function bytesOf(key: Key): Uint8Array {
  return typeof key === "string" ? encoder.encode(key) : key;
}

function ignored(done: unknown): void {
  if (done instanceof Promise) done.catch(() => undefined);
}
