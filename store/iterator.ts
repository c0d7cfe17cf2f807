/**
 * Iterators: a range of entries, read through one consistent snapshot, fetched from the core a block at a time.
 *
 * The first block holds one entry, so that it comes quickly, or as many as are asked for; blocks grow while the walk goes on. The snapshot lasts
 * until the walk has said that it is at its end, so that `seek` can go back before. A walk that is dropped half-way is
 * closed when it is collected.
 *
 * `for await`, and `nextvAsync`, never wait for the device: the reads that a block needs are planned, and it is fetched
 * when they have landed; meanwhile the program works on the block before.
 */
import { AHEAD_READS, type Core } from "./core.ts";
import type { CursorState, Cursors } from "./cursors.ts";
import { CairnError } from "./error.ts";
import { named } from "./key-errors.ts";
import { bytesOf, placeOfSeek, type Span } from "./range.ts";
import type { Scope } from "./scope.ts";

const KEYS = 1;
const VALUES = 2;
/** The blocks of the entries were counted, and read, before. */
const COUNTED = 4;
const ASCII_BIT = 0x8000_0000;
const PIECES_BIT = 0x4000_0000;
const SIZE_MASK = 0x3fff_ffff;
const PLAN_TRIES_MAX = 3;
/** The first block of a walk that steps, and of one that waits for the device; what large values make of a block. */
const BLOCK_COUNT_FIRST = 1;
const BLOCK_COUNT_MIN = 4;
const BLOCK_COUNT_MAX = 512;

/** An entry of a block whose value is too large for it. */
interface LargeEntry {
  index: number;
  key: Uint8Array;
}

/** What `entries`, `keys` and `values` return: an iterable iterator that can also jump, and hand out many at once. */
export abstract class RangeIterator<K, T> implements IterableIterator<T>, AsyncIterable<T> {
  protected readonly scope: Scope;
  private readonly cursors: Cursors;
  protected keyBlock: unknown[] = [];
  protected valueBlock: unknown[] = [];
  private readonly span: Span;
  private readonly mode: number;
  /** What the core is asked for: keys too where a value may be refused by its encoding, which names its key. */
  private readonly asked: number;
  private readonly operation: string;
  private state: CursorState | undefined;
  private watched = false;
  /** Whether the cursor has nothing behind the present block. */
  private exhausted = false;
  private blockCount = BLOCK_COUNT_FIRST;
  private position = 0;
  private size = 0;
  /** Entries that may still be delivered, those of the present block included. */
  private left: number;
  /** The fetch that is under way, for those who wait. */
  private fetching: Promise<boolean> | undefined;
  private isFetching = false;
  /** The entry of the block that is decoded, and whether its key is. */
  private entryAt = 0;
  private isKeyWhole = false;
  /** Whether the reads of the next block were planned when the present one was fetched. */
  private isPlanned = false;

  /** @internal */
  constructor(scope: Scope, span: Span, mode: number, operation: string, view?: CursorState) {
    this.scope = scope;
    this.cursors = scope.cursors;
    this.span = span;
    this.mode = mode;
    this.asked = (mode & VALUES) === 0 || scope.valueReader.isPlain ? mode : mode | KEYS;
    this.operation = operation;
    this.left = span.limit;
    if (this.left > 0) this.state = scope.cursors.take(span, operation, view);
  }

  /** The next entry. */
  next(): IteratorResult<T> {
    if (this.position === this.size && !this.fill()) return { done: true, value: undefined };
    return { done: false, value: this.at(this.position++) };
  }

  /** Up to `count` entries at once; an empty array at the end. */
  nextv(count: number): T[] {
    if (typeof count !== "number" || !(count >= 1))
      throw new CairnError("INVALID_ARGUMENT", "nextv", "nextv: count must be 1 or more.");
    const entries: T[] = [];
    if (this.blockCount === BLOCK_COUNT_FIRST) this.blockCount = Math.min(Math.floor(count), BLOCK_COUNT_MAX);
    while (entries.length < count && (this.position < this.size || this.fill())) {
      entries.push(this.at(this.position++));
    }
    return entries;
  }

  /**
   * Up to `count` entries at once, as a promise; an empty array at the end. Values that are not in memory are read
   * without blocking.
   */
  async nextvAsync(count: number): Promise<T[]> {
    if (typeof count !== "number" || !(count >= 1))
      throw new CairnError("INVALID_ARGUMENT", "nextvAsync", "nextvAsync: count must be 1 or more.");
    const entries: T[] = [];
    while (entries.length < count && (this.position < this.size || (await this.fetch()))) {
      while (entries.length < count && this.position < this.size) entries.push(this.at(this.position++));
    }
    return entries;
  }

  /** `for await`: the same walk, without blocking on the device. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    const walk: AsyncIterableIterator<T> = {
      next: () => {
        if (this.position < this.size && !this.isFetching) {
          return Promise.resolve({ done: false, value: this.at(this.position++) });
        }
        return this.nextLater();
      },
      return: (value?: unknown) => Promise.resolve(this.return(value)),
      [Symbol.asyncIterator]: () => walk,
    };
    return walk;
  }

  /**
   * Goes on at the first key at or above `key`, or, in reverse, at or below it. The range's ends still hold. A walk that
   * has said that it is at its end stays there.
   */
  seek(key: K): void {
    const { span, scope, cursors } = this;
    cursors.check("seek");
    const target = bytesOf(key, scope, "seek");
    if (this.state === undefined) return;
    this.checkIdle("seek");
    this.isPlanned = false;
    this.left -= this.position;
    this.position = 0;
    this.size = 0;
    const { core } = cursors;
    const place = placeOfSeek(span, target);
    core.bytes.set(place, core.keyA);
    const { handle } = this.state;
    const status = cursors.guard(() => core.exports.cursorSeek(handle, place.length));
    if (status < 0) throw cursors.error(status, "seek");
    this.exhausted = false;
  }

  /** Ends the walk and releases its snapshot. */
  return(value?: unknown): IteratorResult<T> {
    this.end();
    this.position = 0;
    this.size = 0;
    return { done: true, value };
  }

  /** Itself. */
  [Symbol.iterator](): this {
    return this;
  }

  /** `return`, for `using`. */
  [Symbol.dispose](): void {
    this.return();
  }

  /** Entry `index` of the block. */
  protected abstract at(index: number): T;

  private async nextLater(): Promise<IteratorResult<T>> {
    while (this.position === this.size) {
      if (!(await this.fetch())) return { done: true, value: undefined };
    }
    return { done: false, value: this.at(this.position++) };
  }

  /** `fill`, when what it needs is there. One at a time. */
  private fetch(): Promise<boolean> {
    if (this.fetching === undefined) {
      this.isFetching = true;
      this.fetching = this.fillLater().finally(() => {
        this.fetching = undefined;
        this.isFetching = false;
      });
    }
    return this.fetching;
  }

  private async fillLater(): Promise<boolean> {
    const { scope, cursors, mode } = this;
    this.blockCount = Math.max(this.blockCount, BLOCK_COUNT_MIN);
    if ((mode & VALUES) !== 0 && !this.exhausted && this.left - this.size > 0) {
      const planned = this.isPlanned;
      this.isPlanned = false;
      await scope.cold.settle((again) => this.plan(again || planned ? 1 : 0), PLAN_TRIES_MAX, this.operation);
    }
    const large: LargeEntry[] = [];
    if (!this.fill(large)) return false;
    const { state } = this;
    for (const { index, key } of large) {
      const size = this.size;
      // Nobody takes the entry before it is whole.
      this.size = index;
      try {
        const bytes = await scope.lookups.parts(key, true, state, this.operation);
        if (this.state === undefined) return false;
        cursors.check(this.operation);
        this.valueBlock[index] = scope.valueReader.own(bytes as Uint8Array, this.operation);
        this.size = size;
      } catch (error) {
        // Whoever has ended the walk meanwhile is told of its end.
        if (this.state === undefined) return false;
        this.end();
        this.entryAt = index;
        throw this.keyNamed(error);
      }
    }
    if ((mode & VALUES) !== 0 && !scope.cold.isCrowded) {
      const status = this.plan(0);
      this.isPlanned = status === AHEAD_READS;
      if (this.isPlanned) scope.cold.prefetch();
    }
    return true;
  }

  /** Plans the reads of the next block, unless there is none. */
  private plan(again: number): number {
    const { state, cursors } = this;
    if (state === undefined || this.exhausted || this.left - this.size <= 0) return 0;
    cursors.check(this.operation);
    const most = Math.min(this.blockCount, this.left - this.size);
    return cursors.guard(() => cursors.core.exports.cursorAhead(state.handle, most, again));
  }

  /** With `large`, values that are read in pieces are left out, and listed. */
  private fill(large?: LargeEntry[]): boolean {
    if (this.state === undefined) return false;
    const { cursors, asked } = this;
    cursors.check(this.operation);
    if (large === undefined) this.checkIdle(this.operation);
    const { core } = cursors;
    this.left -= this.size;
    this.position = 0;
    this.size = 0;
    if (this.exhausted || this.left <= 0) {
      this.end();
      return false;
    }
    const most = Math.min(this.blockCount, this.left);
    const { handle } = this.state;
    const how = large === undefined ? asked : asked | COUNTED;
    const count = cursors.guard(() => core.exports.cursorNext(handle, most, how));
    if (count < 0) {
      this.end();
      throw cursors.error(count, this.operation);
    }
    this.exhausted = (core.words[core.result + 2] as number) === 1;
    if (count === 0) {
      this.end();
      return false;
    }
    try {
      this.decode(count, large);
    } catch (error) {
      this.end();
      throw this.keyNamed(error);
    }
    this.size = count;
    // Where values fill the block before that many entries do, the next one asks for as many as may fit.
    if (count < most) this.blockCount = Math.max(BLOCK_COUNT_MIN, count + (count >> 2));
    else if (this.blockCount < BLOCK_COUNT_MAX) this.blockCount = Math.min(this.blockCount * 4, BLOCK_COUNT_MAX);
    if (!this.watched) {
      this.watched = true;
      cursors.watch(this, this.state);
    }
    return true;
  }

  private decode(count: number, large?: LargeEntry[]): void {
    const { scope, cursors, mode, asked, keyBlock, valueBlock, operation } = this;
    const { core, keyReader, valueReader } = scope;
    const { words } = core;
    let at = core.exchangeOut >> 2;
    for (let i = 0; i < count; i++, at += 4) {
      this.entryAt = i;
      this.isKeyWhole = false;
      if ((asked & KEYS) !== 0) {
        const size = words[at + 1] as number;
        const pointer = (words[at] as number) >>> 0;
        keyBlock[i] = keyReader.readLater(pointer, size & SIZE_MASK, (size & ASCII_BIT) !== 0, operation);
      }
      if ((mode & VALUES) !== 0) {
        this.isKeyWhole = true;
        const size = words[at + 3] as number;
        if ((size & PIECES_BIT) === 0) {
          const pointer = (words[at + 2] as number) >>> 0;
          valueBlock[i] = valueReader.readLater(pointer, size & SIZE_MASK, (size & ASCII_BIT) !== 0, operation);
        } else if (large !== undefined && this.state !== undefined) {
          const pointer = (words[at] as number) >>> 0;
          const key = core.bytes.slice(pointer, pointer + ((words[at + 1] as number) & SIZE_MASK));
          large.push({ index: i, key });
        } else {
          const bytes = readPieces(core, size & SIZE_MASK, cursors.guard, (status) => cursors.error(status, operation));
          valueBlock[i] = valueReader.isForeign ? bytes : valueReader.own(bytes, operation);
        }
      }
    }
    const foreignKeys = (mode & KEYS) !== 0 && keyReader.isForeign;
    const foreignValues = (mode & VALUES) !== 0 && valueReader.isForeign;
    if (!foreignKeys && !foreignValues) return;
    for (let i = 0; i < count; i++) {
      this.entryAt = i;
      this.isKeyWhole = false;
      if (foreignKeys) keyBlock[i] = keyReader.own(keyBlock[i] as Uint8Array, operation);
      this.isKeyWhole = true;
      if (foreignValues && large?.some(({ index }) => index === i) !== true)
        valueBlock[i] = valueReader.own(valueBlock[i] as Uint8Array, operation);
    }
  }

  /** What an encoding has refused of the entry that is decoded, with its key. */
  private keyNamed(error: unknown): unknown {
    const { scope, asked, keyBlock, entryAt, isKeyWhole } = this;
    if ((asked & KEYS) === 0 || !isKeyWhole) return error;
    return named(error, keyBlock[entryAt], scope.values.name);
  }

  /** A fetch that is under way has the cursor to itself. */
  private checkIdle(operation: string): void {
    if (!this.isFetching) return;
    const message = `${operation}: the iterator waits for entries that were asked for before. Await them first.`;
    throw new CairnError("INVALID_ARGUMENT", operation, message);
  }

  private end(): void {
    const { state } = this;
    if (state === undefined) return;
    this.state = undefined;
    this.cursors.unwatch(state);
    this.cursors.close(state);
  }
}

/** Keys of a range. */
export class KeyIterator<K> extends RangeIterator<K, K> {
  /** @internal */
  constructor(scope: Scope, span: Span, view?: CursorState) {
    super(scope, span, KEYS, "keys", view);
  }
  protected at(index: number): K {
    return this.keyBlock[index] as K;
  }
}

/** Values of a range, in the order of their keys. */
export class ValueIterator<K, V> extends RangeIterator<K, V> {
  /** @internal */
  constructor(scope: Scope, span: Span, view?: CursorState) {
    super(scope, span, VALUES, "values", view);
  }
  protected at(index: number): V {
    return this.valueBlock[index] as V;
  }
}

/** Keys of a range with their values. */
export class EntryIterator<K, V> extends RangeIterator<K, [K, V]> {
  /** @internal */
  constructor(scope: Scope, span: Span, view?: CursorState) {
    super(scope, span, KEYS | VALUES, "entries", view);
  }
  protected at(index: number): [K, V] {
    return [this.keyBlock[index] as K, this.valueBlock[index] as V];
  }
}

/** Reads a large value that the core has opened, piece by piece. `guard` runs calls of the core. */
export function readPieces(
  core: Core,
  size: number,
  guard: <T>(run: () => T) => T,
  fail: (status: number) => CairnError,
): Uint8Array {
  const value = new Uint8Array(size);
  for (let offset = 0; offset < size; ) {
    const at = offset;
    const count = guard(() => core.exports.valueRead(at));
    if (count < 0) throw fail(count);
    value.set(core.bytes.subarray(core.exchangeOut, core.exchangeOut + count), offset);
    offset += count;
  }
  return value;
}
