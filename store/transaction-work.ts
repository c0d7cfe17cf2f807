/**
 * What a transaction has read and is going to write, until it ends.
 *
 * 1. Writes are kept here, in encoded form; the core knows nothing of them. So giving a transaction up leaves no trace.
 * 2. At its end all writes are one batch of the core: one sequence, whole or not at all.
 * 3. With a view, reads are recorded: keys, absent ones included, and ranges as far as they were walked. None of them may
 *    have changed when the writes are done.
 */
import type { ScopedOperation } from "./batch.ts";
import type { CursorState } from "./cursors.ts";
import { expires } from "./entry.ts";
import type { CairnError } from "./error.ts";
import type { Span } from "./range.ts";
import { invalid } from "./refusals.ts";
import { latin1, type Scope } from "./scope.ts";
import type { Session } from "./session.ts";

const LOWER = 2;
const UPPER = 4;
const STAT_VERSION = 3;
const STAT_HIGHEST_TIME = 31;

/** A write that waits for the transaction's end. `id` orders as the key does. */
export interface Pending extends ScopedOperation {
  id: string;
}

/** What of the order of keys was looked at: [lower, upper), an end open where `undefined`. Walks move its ends. */
export interface Looked {
  lower: Uint8Array | undefined;
  upper: Uint8Array | undefined;
  /** Nothing was seen yet. */
  isEmpty: boolean;
}

/** A transaction under way. */
export class TransactionWork {
  readonly session: Session;
  /** What it reads through; `undefined`: what is there now, which nothing else can change. */
  readonly view: CursorState | undefined;
  readonly pending = new Map<string, Pending>();
  /** Walks that are not over. */
  private walks: Set<{ return(): unknown }> | undefined;
  private points: Map<string, { scope: Scope; key: string | Uint8Array }> | undefined;
  private readonly ranges: Looked[] = [];
  private isOpen = true;
  private inOrder: Pending[] | undefined;

  constructor(session: Session, view: CursorState | undefined) {
    this.session = session;
    this.view = view;
    if (view !== undefined) view.over = endedError;
  }

  /** Throws when the transaction is over, or the store takes no calls. */
  check(operation: string): void {
    this.session.ready(operation);
    if (this.isOpen) return;
    throw endedError(operation);
  }

  /** Adds a write; an earlier one of the same key is forgotten. */
  write(operation: Pending): void {
    this.inOrder = undefined;
    this.pending.set(operation.id, operation);
  }

  /** The time by which its own writes have expired, or not: the highest that the store has seen. */
  nowMs(): number {
    return Math.max(Date.now(), this.session.core.exports.stat(STAT_HIGHEST_TIME));
  }

  /** What a pending write leaves: `undefined` for a deletion, and for what has expired by now. */
  valueOf({ value, words }: Pending): string | Uint8Array | undefined {
    if (words === undefined || value === undefined || !expires(words)) return value;
    return words.expiry <= this.nowMs() ? undefined : value;
  }

  /** The pending writes of a span, in the order of keys. What has expired by now is a deletion. */
  pendingIn({ lower, upper }: Span): Pending[] {
    if (this.pending.size === 0) return [];
    this.inOrder ??= [...this.pending.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const first = lower === undefined ? 0 : firstAt(this.inOrder, latin1(lower));
    const end = upper === undefined ? this.inOrder.length : firstAt(this.inOrder, latin1(upper));
    const within = this.inOrder.slice(first, Math.max(first, end));
    for (let i = 0; i < within.length; i++) {
      const pending = within[i] as Pending;
      if (pending.words !== undefined) within[i] = { ...pending, value: this.valueOf(pending) };
    }
    return within;
  }

  /** A walk has begun: it ends with the transaction. */
  walkBegan(walk: { return(): unknown }): void {
    this.walks ??= new Set();
    this.walks.add(walk);
  }

  /** A walk is over. */
  walkEnded(walk: { return(): unknown }): void {
    this.walks?.delete(walk);
  }

  /** Notes that a key was looked at. */
  lookedAt(id: string, scope: Scope, key: string | Uint8Array): void {
    if (this.view === undefined) return;
    this.points ??= new Map();
    this.points.set(id, { scope, key });
  }

  /** Notes that a range is looked at; the walk moves its ends. */
  looksAt(looked: Looked): Looked {
    if (this.view !== undefined) this.ranges.push(looked);
    return looked;
  }

  /** Whether nothing that was read has changed since. Costs what looking at it again does. */
  isValid(): boolean {
    const { session, view } = this;
    if (view === undefined) return true;
    const { core, cursors } = session;
    const handle = cursors.handleOf(view, "transact");
    if (core.exports.stat(STAT_VERSION) === core.exports.viewVersion(handle)) return true;
    return session.guard(() => {
      for (const { scope, key } of this.points?.values() ?? []) {
        if (core.exports.keyChanged(scope.keyEncodedIn(key, "transact"), handle) !== 0) return false;
      }
      for (const { lower, upper, isEmpty } of this.ranges) {
        if (isEmpty) continue;
        if (lower !== undefined) core.bytes.set(lower, core.keyA);
        if (upper !== undefined) core.bytes.set(upper, core.keyB);
        const flags = (lower === undefined ? 0 : LOWER) | (upper === undefined ? 0 : UPPER);
        if (core.exports.rangeChanged(flags, lower?.length ?? 0, upper?.length ?? 0, handle) !== 0) return false;
      }
      return true;
    });
  }

  /** Does all writes. `syncs`: durable as the option `durability` says. */
  commit(operation: string, syncs: boolean): void {
    this.session.writes.runPrepared([...this.pending.values()], syncs, operation);
  }

  /** The transaction is over: its walks end, and its view is released. */
  end(): void {
    this.isOpen = false;
    for (const walk of this.walks ?? []) walk.return();
    this.walks = undefined;
    if (this.view !== undefined) this.session.cursors.close(this.view);
  }
}

function endedError(operation: string): CairnError {
  return invalid(operation, "the transaction has ended. What it wrote was done, or given up, when its function did.");
}

/** Index of the first write at or above a key. */
export function firstAt(sorted: readonly Pending[], id: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as Pending).id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
