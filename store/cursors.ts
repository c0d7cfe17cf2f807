/** The open cursors of one store: opened for walks, closed with them, or when a program drops a walk half-way. */
import type { Core } from "./core.ts";
import { CairnError } from "./error.ts";
import type { Span } from "./range.ts";

const REVERSE = 1;
const LOWER = 2;
const UPPER = 4;
const UNPINNED = 16;
const SHORT_SIZE_MAX = 32;
/** Walks that are watched one by one only if they outlast the turn that they began in. */
const YOUNG_COUNT_MAX = 64;

/** An open cursor of the core, or an open view. */
export interface CursorState {
  handle: number;
  isView: boolean;
  openedMs: number;
  /** What a read through it that comes too late is told; `undefined`: that a snapshot is closed. */
  over?: (operation: string) => CairnError;
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
  /** Throws when the store takes no calls. */
  private readonly ready: (operation: string) => void;
  private readonly fail: (status: number, operation: string) => CairnError;
  /** Runs calls of the core; a trap poisons the store. */
  readonly guard: <T>(run: () => T) => T;
  private readonly open = new Set<CursorState>();
  private youngIterators: object[] = [];
  private youngStates: CursorState[] = [];
  private usable = true;
  private isSuperseded = false;

  constructor(
    core: Core,
    ready: (operation: string) => void,
    fail: (status: number, operation: string) => CairnError,
    guard: <T>(run: () => T) => T,
  ) {
    this.core = core;
    this.ready = ready;
    this.fail = fail;
    this.guard = guard;
  }

  /**
   * A cursor over a span with a snapshot: of this moment, or what a view sees. Without one when it is `unpinned`: then it
   * is for deleting.
   */
  take(span: Span, operation: string, view?: CursorState, unpinned = false): CursorState {
    const { core } = this;
    const seen = view === undefined ? 0 : this.handleOf(view, operation);
    let flags = (span.reverse ? REVERSE : 0) | (unpinned ? UNPINNED : 0);
    if (span.lower !== undefined) {
      place(core.bytes, span.lower, core.keyA);
      flags |= LOWER;
    }
    if (span.upper !== undefined) {
      place(core.bytes, span.upper, core.keyB);
      flags |= UPPER;
    }
    const { lower, upper } = span;
    const handle = this.guard(() => core.exports.cursorOpen(flags, lower?.length ?? 0, upper?.length ?? 0, seen));
    return this.opened(handle, false, view?.openedMs ?? Date.now(), operation);
  }

  /** A view of this moment. */
  takeView(operation: string): CursorState {
    return this.opened(
      this.guard(() => this.core.exports.viewOpen()),
      true,
      Date.now(),
      operation,
    );
  }

  /** The handle of a view that is open. `CLOSED` when it is not, `SNAPSHOT_EXPIRED` when the store was refreshed since. */
  handleOf(view: CursorState, operation: string): number {
    this.check(operation);
    if (this.open.has(view)) return view.handle;
    if (view.over !== undefined) throw view.over(operation);
    throw new CairnError("CLOSED", operation, `${operation}: the snapshot is closed. Take a new one.`);
  }

  /** Closes a cursor; more than once does no harm. */
  close(state: CursorState): void {
    if (!this.open.delete(state) || !this.usable) return;
    try {
      if (state.isView) this.core.exports.viewClose(state.handle);
      else this.core.exports.cursorClose(state.handle);
    } catch {
      // Only a trapped instance comes here, and its memory goes with it.
    }
  }

  /** Closes `state` when `iterator`, or the snapshot, is collected. Most walks end in the turn that they began in, and cost nothing here. */
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

  /** Age of the oldest snapshot, of a cursor or of a view, in milliseconds. */
  oldestAgeMs(): number {
    const now = Date.now();
    let oldest = now;
    for (const { openedMs } of this.open) oldest = Math.min(oldest, openedMs);
    return now - oldest;
  }

  private opened(handle: number, isView: boolean, openedMs: number, operation: string): CursorState {
    if (handle < 0) throw this.fail(handle, operation);
    const state = { handle, isView, openedMs, watched: false };
    this.open.add(state);
    return state;
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
    const message = `${operation}: the store was refreshed after this iterator or snapshot began. Begin a new one.`;
    throw new CairnError("SNAPSHOT_EXPIRED", operation, message);
  }
}

/** `set`, which costs more than the copy where there are few bytes. */
function place(memory: Uint8Array, bytes: Uint8Array, at: number): void {
  const { length } = bytes;
  if (length > SHORT_SIZE_MAX) memory.set(bytes, at);
  else for (let i = 0; i < length; i++) memory[at + i] = bytes[i] as number;
}
