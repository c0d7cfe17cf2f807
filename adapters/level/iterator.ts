/**
 * Iterators of Level over walks of a store.
 *
 * Each reads one snapshot, of the moment that it was made or the program's own. A walk of the store cannot be moved once it
 * has said that it is at its end, and one of Level can: then a new walk begins, on the same snapshot. Entries come in
 * blocks, and values that are not in memory are read without blocking.
 */
import {
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractKeyIterator,
  type AbstractKeyIteratorOptions,
  AbstractValueIterator,
  type AbstractValueIteratorOptions,
} from "abstract-level";
import { formatted, type LevelData, type LevelFormat, type LevelSpan, plainKey, spanOf, targetIn } from "./keys.ts";
import type { CairnLevel } from "./level.ts";
import type { LevelRange, LevelView } from "./snapshot.ts";

/** What all of the store's walks can do. */
interface Walk<T> {
  nextvAsync(count: number): Promise<T[]>;
  seek(key: LevelData): void;
  return(): unknown;
}

/** Entries that are fetched at once by `all`. */
const ALL_COUNT = 1000;
/** Entries that a first `next` takes at once, and later ones. */
const AHEAD_COUNT_FIRST = 4;
const AHEAD_COUNT_MAX = 256;

/** A walk that can be moved at any time, and gives what a listener of Level gets. */
class Course<T> {
  private readonly range: LevelSpan & { reverse: boolean };
  private readonly begin: (range: LevelRange) => Walk<T>;
  private readonly signal: AbortSignal | undefined;
  private readonly dispose: (() => void) | undefined;
  private walk: Walk<T> | undefined;
  /** Entries that were fetched and not taken yet, the next one last. */
  private ahead: T[] = [];
  private aheadCount = AHEAD_COUNT_FIRST;
  private isOver = false;

  constructor(
    { view, isOwned }: Reading,
    options: CourseOptions,
    begin: (view: LevelView, range: LevelRange) => Walk<T>,
  ) {
    this.begin = (range) => begin(view, range);
    this.dispose = isOwned ? () => view.close() : undefined;
    this.range = { ...spanOf(options), reverse: options.reverse === true };
    this.signal = options.signal ?? undefined;
  }

  /** Up to `count` entries; none at the end. */
  async take(count: number): Promise<T[]> {
    const { ahead } = this;
    if (ahead.length > 0) return ahead.splice(-Math.min(count, ahead.length)).reverse();
    if (this.isOver) return [];
    this.walk ??= this.begin(this.range);
    const entries = await this.walk.nextvAsync(count);
    if (this.signal?.aborted) throw aborted();
    if (entries.length < count) {
      // The store's walk is at its end, and stays there.
      this.isOver = true;
      this.walk = undefined;
    }
    return entries;
  }

  /** The next entry, fetched with some more. */
  async takeOne(): Promise<T | undefined> {
    if (this.ahead.length > 0) return this.ahead.pop();
    const entries = await this.take(this.aheadCount);
    this.aheadCount = Math.min(this.aheadCount * 4, AHEAD_COUNT_MAX);
    this.ahead = entries.reverse();
    return this.ahead.pop();
  }

  /** Goes on at or behind `target`, or, in reverse, at or before it; a target outside of the range ends the walk. */
  seek(target: LevelData): void {
    this.ahead = [];
    const key = targetIn(target, this.range);
    this.isOver = key === undefined;
    if (key === undefined) return;
    this.walk ??= this.begin(this.range);
    this.walk.seek(key);
  }

  close(): void {
    this.ahead = [];
    this.walk?.return();
    this.walk = undefined;
    this.dispose?.();
  }
}

/** What an iterator reads, and whether it is the iterator's to close. */
export interface Reading {
  view: LevelView;
  isOwned: boolean;
}

/** What a course needs of an iterator's options, whose bounds are encoded. */
export interface CourseOptions extends AbstractIteratorOptions<LevelData, LevelData> {
  keyEncoding?: LevelFormat;
  valueEncoding?: LevelFormat;
}

/** `all` of an iterator, within what its limit leaves. */
async function takeAll<T>(course: Course<T>, left: number): Promise<T[]> {
  const entries: T[] = [];
  while (entries.length < left) {
    const block = await course.take(Math.min(ALL_COUNT, left - entries.length));
    if (block.length === 0) break;
    for (const entry of block) entries.push(entry);
  }
  return entries;
}

type Database = CairnLevel<unknown, unknown>;
type EntryOfStore = [LevelData | undefined, LevelData | undefined];

/** `db.iterator()`. */
export class CairnIterator extends AbstractIterator<Database, unknown, unknown> {
  private readonly course: Course<EntryOfStore>;
  private readonly keyFormat: LevelFormat;
  private readonly valueFormat: LevelFormat;

  constructor(db: Database, options: CourseOptions, reading: Reading) {
    super(db, options as AbstractIteratorOptions<unknown, unknown>);
    this.keyFormat = options.keyEncoding ?? "utf8";
    this.valueFormat = options.valueEncoding ?? "utf8";
    const { keys = true, values = true } = options;
    this.course = new Course<EntryOfStore>(reading, options, (view, range) => {
      if (!values) return mapped(view.keys(range), (key): EntryOfStore => [key, undefined]);
      if (!keys) return mapped(view.values(range), (value): EntryOfStore => [undefined, value]);
      return view.entries(range);
    });
  }

  async _next(): Promise<EntryOfStore | undefined> {
    const entry = await this.course.takeOne();
    return entry === undefined ? undefined : this.format(entry);
  }

  async _nextv(count: number): Promise<EntryOfStore[]> {
    return (await this.course.take(count)).map((entry) => this.format(entry));
  }

  async _all(): Promise<EntryOfStore[]> {
    return (await takeAll(this.course, this.limit - this.count)).map((entry) => this.format(entry));
  }

  _seek(target: LevelData): void {
    this.course.seek(target);
  }

  async _close(): Promise<void> {
    this.course.close();
  }

  private format(entry: EntryOfStore): EntryOfStore {
    const [key, value] = entry;
    if (key !== undefined) entry[0] = plainKey(key, this.keyFormat);
    if (value !== undefined) entry[1] = formatted(value, this.valueFormat);
    return entry;
  }
}

/** `db.keys()`. */
export class CairnKeyIterator extends AbstractKeyIterator<Database, unknown> {
  private readonly course: Course<LevelData>;
  private readonly format: LevelFormat;

  constructor(db: Database, options: CourseOptions, reading: Reading) {
    super(db, options as AbstractKeyIteratorOptions<unknown>);
    this.format = options.keyEncoding ?? "utf8";
    this.course = new Course<LevelData>(reading, options, (view, range) => view.keys(range));
  }

  async _next(): Promise<LevelData | undefined> {
    const key = await this.course.takeOne();
    return key === undefined ? undefined : plainKey(key, this.format);
  }

  async _nextv(count: number): Promise<LevelData[]> {
    return (await this.course.take(count)).map((key) => plainKey(key, this.format));
  }

  async _all(): Promise<LevelData[]> {
    return (await takeAll(this.course, this.limit - this.count)).map((key) => plainKey(key, this.format));
  }

  _seek(target: LevelData): void {
    this.course.seek(target);
  }

  async _close(): Promise<void> {
    this.course.close();
  }
}

/** `db.values()`. */
export class CairnValueIterator extends AbstractValueIterator<Database, unknown, unknown> {
  private readonly course: Course<LevelData>;
  private readonly format: LevelFormat;

  constructor(db: Database, options: CourseOptions, reading: Reading) {
    super(db, options as AbstractValueIteratorOptions<unknown, unknown>);
    this.format = options.valueEncoding ?? "utf8";
    this.course = new Course<LevelData>(reading, options, (view, range) => view.values(range));
  }

  async _next(): Promise<LevelData | undefined> {
    const value = await this.course.takeOne();
    return value === undefined ? undefined : formatted(value, this.format);
  }

  async _nextv(count: number): Promise<LevelData[]> {
    return (await this.course.take(count)).map((value) => formatted(value, this.format));
  }

  async _all(): Promise<LevelData[]> {
    return (await takeAll(this.course, this.limit - this.count)).map((value) => formatted(value, this.format));
  }

  _seek(target: LevelData): void {
    this.course.seek(target);
  }

  async _close(): Promise<void> {
    this.course.close();
  }
}

/** A walk whose entries come out changed. */
function mapped<T, U>(walk: Walk<T>, change: (item: T) => U): Walk<U> {
  return {
    nextvAsync: async (count) => (await walk.nextvAsync(count)).map(change),
    seek: (key) => walk.seek(key),
    return: () => walk.return(),
  };
}

/** What Level throws when a signal ends a read. */
function aborted(): Error {
  return Object.assign(new Error("Operation has been aborted"), { name: "AbortError", code: "LEVEL_ABORTED" });
}
