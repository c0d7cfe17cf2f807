/**
 * Iterators: a range of entries, read through one consistent snapshot, fetched from the core a block at a time.
 *
 * The first block is small, so that a first entry comes quickly; blocks grow while the walk goes on. The snapshot lasts
 * until the walk has said that it is at its end, so that `seek` can go back before. A walk that is dropped half-way is
 * closed when it is collected.
 */
import type { Core } from "./core.ts";
import type { Format } from "./encoding.ts";
import { CairnError } from "./error.ts";
import { behind, bytesOf, compareBytes, type Span } from "./range.ts";
import { Reader } from "./reader.ts";

const REVERSE = 1;
const LOWER = 2;
const UPPER = 4;
const UNPINNED = 16;
const KEYS = 1;
const VALUES = 2;
const ASCII_BIT = 0x8000_0000;
const PIECES_BIT = 0x4000_0000;
const SIZE_MASK = 0x3fff_ffff;
const BLOCK_COUNT_FIRST = 16;
const BLOCK_COUNT_MAX = 512;
/** Walks that are watched one by one only if they outlast the turn that they began in. */
const YOUNG_COUNT_MAX = 64;

/** An open cursor of the core. */
interface CursorState {
  handle: number;
  openedMs: number;
  /** Whether the registry knows it. */
  watched: boolean;
}

/**
 * Closes the cursors of iterators that programs drop. One for all stores: V8 calls nothing back for a registry that is
 * itself collected.
 */
const dropped = new FinalizationRegistry<{ cursors: Cursors; state: CursorState }>(({ cursors, state }) =>
  cursors.close(state),
);

/** Opens cursors for one core, and closes what programs drop. */
export class Cursors {
  readonly core: Core;
  readonly keyReader: Reader;
  readonly valueReader: Reader;
  readonly keys: Format;
  /** Throws when the store takes no calls. */
  private readonly ready: (operation: string) => void;
  private readonly fail: (status: number, operation: string) => CairnError;
  private readonly open = new Set<CursorState>();
  private youngIterators: object[] = [];
  private youngStates: CursorState[] = [];
  private usable = true;
  private isSuperseded = false;

  constructor(
    core: Core,
    keys: Format,
    values: Format,
    ready: (operation: string) => void,
    fail: (status: number, operation: string) => CairnError,
  ) {
    this.core = core;
    this.keys = keys;
    this.keyReader = new Reader(core, keys, "key");
    this.valueReader = new Reader(core, values, "value");
    this.ready = ready;
    this.fail = fail;
  }

  /** A cursor over a span, with a snapshot unless it is `unpinned`: then it is for deleting. */
  take(span: Span, operation: string, unpinned = false): CursorState {
    const { core } = this;
    let flags = (span.reverse ? REVERSE : 0) | (unpinned ? UNPINNED : 0);
    if (span.lower !== undefined) {
      core.bytes.set(span.lower, core.keyA);
      flags |= LOWER;
    }
    if (span.upper !== undefined) {
      core.bytes.set(span.upper, core.keyB);
      flags |= UPPER;
    }
    const handle = core.exports.cursorOpen(flags, span.lower?.length ?? 0, span.upper?.length ?? 0);
    if (handle < 0) throw this.fail(handle, operation);
    const state = { handle, openedMs: Date.now(), watched: false };
    this.open.add(state);
    return state;
  }

  /** Closes a cursor; more than once does no harm. */
  close(state: CursorState): void {
    if (!this.open.delete(state) || !this.usable) return;
    try {
      this.core.exports.cursorClose(state.handle);
    } catch {
      // Only a trapped instance comes here, and its memory goes with it.
    }
  }

  /** Closes `state` when `iterator` is collected. Most walks end in the turn that they began in, and cost nothing here. */
  watch(iterator: object, state: CursorState): void {
    const { length } = this.youngStates;
    if (length === 0) queueMicrotask(() => this.watchYoung());
    else if (length === YOUNG_COUNT_MAX) this.watchYoung();
    this.youngIterators.push(iterator);
    this.youngStates.push(state);
  }

  /** The iterator of `state` needs no watching any more. */
  unwatch(state: CursorState): void {
    if (state.watched) dropped.unregister(state);
  }

  /** A status of a cursor as an error. */
  error(status: number, operation: string): CairnError {
    return this.fail(status, operation);
  }

  /** Age of the oldest open cursor in milliseconds. */
  oldestAgeMs(): number {
    const first = this.open.values().next().value;
    return first === undefined ? 0 : Math.max(0, Date.now() - first.openedMs);
  }

  private watchYoung(): void {
    const iterators = this.youngIterators;
    const states = this.youngStates;
    this.youngIterators = [];
    this.youngStates = [];
    for (let i = 0; i < states.length; i++) {
      const state = states[i] as CursorState;
      if (!this.open.has(state)) continue;
      state.watched = true;
      dropped.register(iterators[i] as object, { cursors: this, state }, state);
    }
  }

  /** The store is closing: no cursor is touched again. */
  abandon(): void {
    this.usable = false;
    this.open.clear();
  }

  /** The store has moved on to another core: the walks over this one are refused. */
  supersede(): void {
    this.isSuperseded = true;
    this.abandon();
  }

  /** Throws when a walk cannot go on: the store takes no calls, or has been refreshed since. */
  check(operation: string): void {
    this.ready(operation);
    if (!this.isSuperseded) return;
    const message = `${operation}: the store was refreshed after this iterator began. Begin a new one.`;
    throw new CairnError("SNAPSHOT_EXPIRED", operation, message);
  }
}

/** What `entries`, `keys` and `values` return: an iterable iterator that can also jump, and hand out many at once. */
export abstract class RangeIterator<K, T> implements IterableIterator<T> {
  protected readonly cursors: Cursors;
  protected keyBlock: unknown[] = [];
  protected valueBlock: unknown[] = [];
  private readonly span: Span;
  private readonly mode: number;
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

  constructor(cursors: Cursors, span: Span, mode: number, operation: string) {
    this.cursors = cursors;
    this.span = span;
    this.mode = mode;
    this.operation = operation;
    this.left = span.limit;
    if (this.left > 0) this.state = cursors.take(span, operation);
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
    while (entries.length < count && (this.position < this.size || this.fill())) {
      entries.push(this.at(this.position++));
    }
    return entries;
  }

  /**
   * Goes on at the first key at or above `key`, or, in reverse, at or below it. The range's ends still hold. A walk that
   * has said that it is at its end stays there.
   */
  seek(key: K): void {
    const { span, cursors } = this;
    cursors.check("seek");
    const target = bytesOf(key, cursors.keys, "seek");
    if (this.state === undefined) return;
    this.left -= this.position;
    this.position = 0;
    this.size = 0;
    const { core } = cursors;
    const limit = span.reverse ? span.upper : span.lower;
    let place = span.reverse ? behind(target) : target;
    if (limit !== undefined && (span.reverse ? compareBytes(place, limit) > 0 : compareBytes(place, limit) < 0)) {
      place = limit;
    }
    core.bytes.set(place, core.keyA);
    const status = core.exports.cursorSeek(this.state.handle, place.length);
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

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }

  /** Entry `index` of the block. */
  protected abstract at(index: number): T;

  private fill(): boolean {
    if (this.state === undefined) return false;
    const { cursors, mode } = this;
    cursors.check(this.operation);
    const { core } = cursors;
    this.left -= this.size;
    this.position = 0;
    this.size = 0;
    if (this.exhausted || this.left <= 0) {
      this.end();
      return false;
    }
    const asked = Math.min(this.blockCount, this.left);
    const count = core.exports.cursorNext(this.state.handle, asked, mode);
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
      this.decode(count);
    } catch (error) {
      this.end();
      throw error;
    }
    this.size = count;
    if (this.blockCount < BLOCK_COUNT_MAX) this.blockCount *= 4;
    if (!this.watched) {
      this.watched = true;
      cursors.watch(this, this.state);
    }
    return true;
  }

  private decode(count: number): void {
    const { cursors, mode, keyBlock, valueBlock, operation } = this;
    const { core, keyReader, valueReader } = cursors;
    const { words } = core;
    let at = core.exchangeOut >> 2;
    for (let i = 0; i < count; i++, at += 4) {
      if ((mode & KEYS) !== 0) {
        const size = words[at + 1] as number;
        const pointer = (words[at] as number) >>> 0;
        keyBlock[i] = keyReader.readLater(pointer, size & SIZE_MASK, (size & ASCII_BIT) !== 0, operation);
      }
      if ((mode & VALUES) !== 0) {
        const size = words[at + 3] as number;
        if ((size & PIECES_BIT) === 0) {
          const pointer = (words[at + 2] as number) >>> 0;
          valueBlock[i] = valueReader.readLater(pointer, size & SIZE_MASK, (size & ASCII_BIT) !== 0, operation);
        } else {
          const bytes = readPieces(core, size & SIZE_MASK, (status) => cursors.error(status, operation));
          valueBlock[i] = valueReader.isForeign ? bytes : valueReader.own(bytes, operation);
        }
      }
    }
    const foreignKeys = (mode & KEYS) !== 0 && keyReader.isForeign;
    const foreignValues = (mode & VALUES) !== 0 && valueReader.isForeign;
    if (!foreignKeys && !foreignValues) return;
    for (let i = 0; i < count; i++) {
      if (foreignKeys) keyBlock[i] = keyReader.own(keyBlock[i] as Uint8Array, operation);
      if (foreignValues) valueBlock[i] = valueReader.own(valueBlock[i] as Uint8Array, operation);
    }
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
  constructor(cursors: Cursors, span: Span) {
    super(cursors, span, KEYS, "keys");
  }
  protected at(index: number): K {
    return this.keyBlock[index] as K;
  }
}

/** Values of a range, in the order of their keys. */
export class ValueIterator<K, V> extends RangeIterator<K, V> {
  constructor(cursors: Cursors, span: Span) {
    super(cursors, span, VALUES, "values");
  }
  protected at(index: number): V {
    return this.valueBlock[index] as V;
  }
}

/** Keys of a range with their values. */
export class EntryIterator<K, V> extends RangeIterator<K, [K, V]> {
  constructor(cursors: Cursors, span: Span) {
    super(cursors, span, KEYS | VALUES, "entries");
  }
  protected at(index: number): [K, V] {
    return [this.keyBlock[index] as K, this.valueBlock[index] as V];
  }
}

/** Reads a large value that the core has opened, piece by piece. */
export function readPieces(core: Core, size: number, fail: (status: number) => CairnError): Uint8Array {
  const value = new Uint8Array(size);
  for (let offset = 0; offset < size; ) {
    const count = core.exports.valueRead(offset);
    if (count < 0) throw fail(count);
    value.set(core.bytes.subarray(core.exchangeOut, core.exchangeOut + count), offset);
    offset += count;
  }
  return value;
}
