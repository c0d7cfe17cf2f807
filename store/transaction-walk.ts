/**
 * Walks of transactions: what the transaction reads through, merged with what it has written.
 *
 * A walk shows the pending writes as they were when it began. It notes how far it has come, which is what must not have
 * changed when an optimistic transaction ends: what lies between where it began and what it gave last, or all of its range
 * when it was at its end.
 */
import { CairnError } from "./error.ts";
import { EntryIterator, KeyIterator } from "./iterator.ts";
import { named, type Stored } from "./key-errors.ts";
import { behind, bytesOf, placeOfSeek, type Span } from "./range.ts";
import { latin1, type Scope } from "./scope.ts";
import { firstAt, type Looked, type Pending, type TransactionWork } from "./transaction-work.ts";

const FETCH_COUNT_FIRST = 16;
const FETCH_COUNT_MAX = 256;

/** What a walk gives of each entry. */
export type WalkMode = "entries" | "keys" | "values";
/** Bytes of a key with its prefix; the value unless only keys are walked. */
type BaseEntry = [Uint8Array, unknown];

/** A walk over a range within a transaction. It ends with the transaction. */
export class TransactionWalk<K, T> implements IterableIterator<T>, AsyncIterable<T> {
  private readonly work: TransactionWork;
  private readonly scope: Scope;
  private readonly span: Span;
  private readonly mode: WalkMode;
  private readonly shownValue: (value: Stored) => unknown;
  private readonly pending: Pending[];
  /** The next pending write; it moves down in reverse. */
  private pendingAt: number;
  private base: KeyIterator<Uint8Array> | EntryIterator<Uint8Array, unknown> | undefined;
  private fetched: BaseEntry[] = [];
  private fetchedAt = 0;
  private fetchCount = FETCH_COUNT_FIRST;
  private isExhausted = false;
  private isOver = false;
  private left: number;
  private looked: Looked;

  /** Transactions make these. `shownValue` gives the value of a pending write. @internal */
  constructor(work: TransactionWork, scope: Scope, span: Span, mode: WalkMode, shownValue: (value: Stored) => unknown) {
    this.work = work;
    this.scope = scope;
    this.span = span;
    this.mode = mode;
    this.shownValue = shownValue;
    this.left = span.limit;
    this.pending = work.pendingIn(span);
    this.pendingAt = span.reverse ? this.pending.length - 1 : 0;
    this.looked = this.looksFrom(span.reverse ? span.upper : span.lower);
    this.begin();
    work.walkBegan(this);
  }

  /** The next entry. */
  next(): IteratorResult<T> {
    this.work.check(this.mode);
    while (!this.isOver) {
      if (this.needsFetch) this.take(this.base?.nextv(this.fetchCount) ?? []);
      const found = this.step();
      if (found !== undefined) return found;
    }
    return { done: true, value: undefined };
  }

  /** Up to `count` entries at once; an empty array at the end. */
  nextv(count: number): T[] {
    checkCount(count, "nextv");
    const entries: T[] = [];
    while (entries.length < count) {
      const { done, value } = this.next();
      if (done === true) break;
      entries.push(value);
    }
    return entries;
  }

  /** Up to `count` entries at once, as a promise, without blocking on the device. */
  async nextvAsync(count: number): Promise<T[]> {
    checkCount(count, "nextvAsync");
    const entries: T[] = [];
    while (entries.length < count) {
      const { done, value } = await this.nextLater();
      if (done === true) break;
      entries.push(value);
    }
    return entries;
  }

  /** `for await`: the same walk, without blocking on the device. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    const walk: AsyncIterableIterator<T> = {
      next: () => this.nextLater(),
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
    this.work.check("seek");
    const target = bytesOf(key, this.scope, "seek");
    if (this.isOver) return;
    const { span, pending } = this;
    const place = placeOfSeek(span, target);
    const at = firstAt(pending, latin1(place));
    this.pendingAt = span.reverse ? at - 1 : at;
    this.looked = this.looksFrom(place);
    this.begin(place);
  }

  /** Ends the walk. */
  return(value?: unknown): IteratorResult<T> {
    this.isOver = true;
    this.fetched = [];
    this.base?.return();
    this.base = undefined;
    this.work.walkEnded(this);
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

  private get needsFetch(): boolean {
    return this.fetchedAt === this.fetched.length && !this.isExhausted;
  }

  private async nextLater(): Promise<IteratorResult<T>> {
    this.work.check(this.mode);
    while (!this.isOver) {
      if (this.needsFetch) {
        const { base } = this;
        const more = (await base?.nextvAsync(this.fetchCount)) ?? [];
        this.work.check(this.mode);
        // A seek, or another call, may have come between.
        if (base !== this.base || !this.needsFetch) continue;
        this.take(more);
      }
      const found = this.step();
      if (found !== undefined) return found;
    }
    return { done: true, value: undefined };
  }

  /** Begins to read what lies beneath, at a place or where the range begins. */
  private begin(place?: Uint8Array): void {
    const { work, scope, span, mode } = this;
    this.base?.return();
    this.base = undefined;
    this.fetched = [];
    this.fetchedAt = 0;
    this.fetchCount = FETCH_COUNT_FIRST;
    this.isExhausted = this.left <= 0;
    if (this.isExhausted) return;
    const part = { ...span, limit: Number.POSITIVE_INFINITY };
    if (place !== undefined) {
      if (span.reverse) part.upper = place;
      else part.lower = place;
    }
    this.base =
      mode === "keys"
        ? new KeyIterator<Uint8Array>(scope.raw, part, work.view)
        : new EntryIterator<Uint8Array, unknown>(scope.raw, part, work.view);
  }

  private take(more: readonly (Uint8Array | BaseEntry)[]): void {
    this.fetched = more.map((entry) => (entry instanceof Uint8Array ? [entry, undefined] : entry));
    this.fetchedAt = 0;
    this.isExhausted = more.length === 0;
    this.fetchCount = Math.min(this.fetchCount * 4, FETCH_COUNT_MAX);
  }

  /** The next entry of both; `undefined` when there was none to give, or more has to be fetched. */
  private step(): IteratorResult<T> | undefined {
    if (this.left <= 0) return this.finish(false);
    const beneath = this.fetched[this.fetchedAt];
    const pending = this.pending[this.pendingAt];
    if (pending === undefined) {
      if (beneath === undefined) return this.finish(true);
      this.fetchedAt++;
      return this.give(beneath[0], beneath[1]);
    }
    if (beneath !== undefined) {
      const id = latin1(beneath[0]);
      if (this.span.reverse ? id > pending.id : id < pending.id) {
        this.fetchedAt++;
        return this.give(beneath[0], beneath[1]);
      }
      if (id === pending.id) this.fetchedAt++;
    }
    this.pendingAt += this.span.reverse ? -1 : 1;
    if (pending.value === undefined) return undefined;
    const key = bytesOfId(pending.id);
    return this.give(key, this.mode === "keys" ? undefined : this.pendingValue(key, pending.value));
  }

  private pendingValue(key: Uint8Array, value: Stored): unknown {
    try {
      return this.shownValue(value);
    } catch (error) {
      const { keys, prefix, values } = this.scope;
      throw named(error, keys.decode(key.slice(prefix.length), "key", this.mode), values.name);
    }
  }

  private give(key: Uint8Array, value: unknown): IteratorResult<T> {
    const { scope, mode, looked } = this;
    this.left--;
    looked.isEmpty = false;
    if (this.span.reverse) looked.lower = key.slice();
    else looked.upper = behind(key);
    if (mode === "values") return { done: false, value: value as T };
    const shown = scope.keys.decode(key.slice(scope.prefix.length), "key", mode);
    return { done: false, value: (mode === "keys" ? shown : [shown, value]) as T };
  }

  /** The end: of the range, or of what was asked for. */
  private finish(isWhole: boolean): IteratorResult<T> {
    const { looked, span } = this;
    if (isWhole) {
      looked.isEmpty = false;
      if (span.reverse) looked.lower = span.lower;
      else looked.upper = span.upper;
    }
    return this.return();
  }

  private looksFrom(place: Uint8Array | undefined): Looked {
    return this.work.looksAt({ lower: place, upper: place, isEmpty: true });
  }
}

function bytesOfId(id: string): Uint8Array {
  return Uint8Array.from(id, (character) => character.charCodeAt(0));
}

function checkCount(count: unknown, operation: string): void {
  if (typeof count === "number" && count >= 1) return;
  throw new CairnError("INVALID_ARGUMENT", operation, `${operation}: count must be 1 or more.`);
}
