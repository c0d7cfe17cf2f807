/**
 * Walks over a connection: async iterators that fetch entries in blocks.
 *
 * The first block is small, and comes with the answer that begins the walk; blocks grow while the walk goes on. A walk
 * that is dropped half-way is ended when it is collected.
 */
import { CairnError } from "../error.ts";
import { compareBytes } from "../range.ts";
import type { Conversation } from "./conversation.ts";
import type { ConnectionFace } from "./face.ts";
import { decodeWire, type WireBlock, type WireBytes, type WireRange } from "./wire.ts";

const BLOCK_COUNT_FIRST = 64;
const BLOCK_COUNT_MAX = 4096;

/** What ends a walk that its program dropped. It must not hold the iterator. */
interface Held {
  conversation: Conversation;
  id: number;
  owner: string | undefined;
}

const dropped = new FinalizationRegistry<Held>(({ conversation, id, owner }) => {
  if (conversation.ownerNow === owner) conversation.ask("end", [id]).catch(() => undefined);
});

/** What `entries`, `keys` and `values` of a connection return. */
export abstract class Walk<K, T> implements AsyncIterableIterator<T> {
  protected readonly face: ConnectionFace;
  /** Entries at hand, from `position` on. */
  private items: WireBytes[] = [];
  private position = 0;
  private coming: Promise<WireBlock> | undefined;
  private held: Held | undefined;
  private isDone = false;
  private blockCount = BLOCK_COUNT_FIRST;
  private readonly isReverse: boolean;
  private target: WireBytes | undefined;
  /** Calls take their turns, so that two that are made at once get different entries. */
  private turns: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(face: ConnectionFace, kind: "entries" | "keys" | "values", range: WireRange) {
    this.face = face;
    this.isReverse = range.reverse;
    this.coming = face.ask("walk", [kind, range, BLOCK_COUNT_FIRST]) as Promise<WireBlock>;
    // Whoever takes the first step hears of a failure.
    this.coming.catch(() => undefined);
  }

  /** The next entry. */
  next(): Promise<IteratorResult<T>> {
    return this.inTurn(async () => {
      if (!(await this.fill())) return { done: true, value: undefined };
      return { done: false, value: this.take() };
    });
  }

  /** Up to `count` entries at once; an empty array at the end. */
  async nextv(count: number): Promise<T[]> {
    if (typeof count !== "number" || !(count >= 1)) {
      throw new CairnError("INVALID_ARGUMENT", "nextv", "nextv: count must be 1 or more.");
    }
    return this.inTurn(async () => {
      const entries: T[] = [];
      while (entries.length < count && (await this.fill())) entries.push(this.take());
      return entries;
    });
  }

  /**
   * Goes on at the first key at or above `key`, or, in reverse, at or below it. The range's ends still hold. A walk whose
   * last entries have been fetched, which may be some thousand before they are delivered, goes forward only, and of values alone it
   * goes nowhere then.
   */
  seek(key: K): void {
    const encoded = this.face.keys.encode(key, "key", "seek");
    this.target = typeof encoded === "string" ? encoded : new Uint8Array(encoded);
  }

  /** Ends the walk and releases its snapshot. */
  return(value?: unknown): Promise<IteratorResult<T>> {
    return this.inTurn(async () => {
      if (this.coming !== undefined) await this.arrive().catch(() => undefined);
      this.items = [];
      this.position = 0;
      this.end(true);
      return { done: true, value };
    });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** `return`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** How many items an entry takes. */
  protected abstract readonly width: number;
  /** Whether the first of them is its key. */
  protected readonly hasKeys: boolean = true;

  /** The entry whose items begin at `position`. */
  protected abstract entryOf(items: readonly WireBytes[], position: number): T;

  private inTurn<R>(step: () => Promise<R>): Promise<R> {
    const result = this.turns.then(step);
    this.turns = result.catch(() => undefined);
    return result;
  }

  private take(): T {
    const entry = this.entryOf(this.items, this.position);
    this.position += this.width;
    return entry;
  }

  /** Whether an entry is at hand. */
  private async fill(): Promise<boolean> {
    if (this.coming !== undefined) await this.arrive();
    if (this.target !== undefined) {
      if (this.isDone) this.skip(this.target);
      else this.position = this.items.length;
    }
    while (this.position >= this.items.length) {
      const { held } = this;
      if (this.isDone || held === undefined) return false;
      if (held.owner !== this.face.conversation.ownerNow) {
        this.end(false);
        const message = `next: ${this.face.conversation.loss}, and the walk's snapshot with it. Begin the walk again.`;
        throw new CairnError("SNAPSHOT_EXPIRED", "next", message);
      }
      if (this.blockCount < BLOCK_COUNT_MAX) this.blockCount *= 4;
      const { target } = this;
      this.target = undefined;
      this.coming = this.face.ask("next", [held.id, this.blockCount, target]) as Promise<WireBlock>;
      await this.arrive();
    }
    return true;
  }

  /** Passes over what is at hand before a key, where keys are at hand: the owner has ended the walk. */
  private skip(target: WireBytes): void {
    this.target = undefined;
    const key = bytesOfKey(target);
    while (this.hasKeys && this.position < this.items.length) {
      const order = compareBytes(bytesOfKey(this.items[this.position] as WireBytes), key);
      if (this.isReverse ? order <= 0 : order >= 0) return;
      this.position += this.width;
    }
  }

  private async arrive(): Promise<void> {
    const coming = this.coming as Promise<WireBlock>;
    this.coming = undefined;
    try {
      const { walk, items, done } = await coming;
      this.items = items;
      this.position = 0;
      if (done) {
        this.end(false);
      } else if (this.held === undefined) {
        this.held = { conversation: this.face.conversation, id: walk, owner: this.face.conversation.ownerNow };
        dropped.register(this, this.held, this);
      }
    } catch (error) {
      this.end(false);
      throw error;
    }
  }

  private end(tell: boolean): void {
    const { held } = this;
    this.isDone = true;
    this.held = undefined;
    if (held === undefined) return;
    dropped.unregister(this);
    if (tell && held.owner === this.face.conversation.ownerNow) {
      this.face.conversation.ask("end", [held.id]).catch(() => undefined);
    }
  }
}

const encoder = new TextEncoder();

function bytesOfKey(key: WireBytes): Uint8Array {
  return typeof key === "string" ? encoder.encode(key) : key;
}

/** Keys of a range with their values. */
export class EntryWalk<K, V> extends Walk<K, [K, V]> {
  protected readonly width = 2;
  /** @internal */
  constructor(face: ConnectionFace, range: WireRange) {
    super(face, "entries", range);
  }
  protected entryOf(items: readonly WireBytes[], position: number): [K, V] {
    const key = decodeWire(this.face.keys, items[position], "key", "entries") as K;
    return [key, decodeWire(this.face.values, items[position + 1], "value", "entries") as V];
  }
}

/** Keys of a range. */
export class KeyWalk<K> extends Walk<K, K> {
  protected readonly width = 1;
  /** @internal */
  constructor(face: ConnectionFace, range: WireRange) {
    super(face, "keys", range);
  }
  protected entryOf(items: readonly WireBytes[], position: number): K {
    return decodeWire(this.face.keys, items[position], "key", "keys") as K;
  }
}

/** Values of a range, in the order of their keys. */
export class ValueWalk<K, V> extends Walk<K, V> {
  protected readonly width = 1;
  protected override readonly hasKeys = false;
  /** @internal */
  constructor(face: ConnectionFace, range: WireRange) {
    super(face, "values", range);
  }
  protected entryOf(items: readonly WireBytes[], position: number): V {
    return decodeWire(this.face.values, items[position], "value", "values") as V;
  }
}
