/**
 * Snapshots: read-only views of what a store held at one moment.
 *
 * A snapshot is a number in the core, a sequence; it copies nothing. What it costs is what is written after it: a value
 * that is replaced or deleted is kept while the oldest open snapshot may see it.
 */
import type { CursorState, Cursors } from "./cursors.ts";
import { type Entry, factsOf } from "./entry.ts";
import { EntryIterator, KeyIterator, ValueIterator } from "./iterator.ts";
import { named } from "./key-errors.ts";
import { type Range, spanOf } from "./range.ts";
import { countKeys, isThere, readValue } from "./reads.ts";
import { invalid } from "./refusals.ts";
import { type Face, faceOf, type Scope } from "./scope.ts";
import type { Session } from "./session.ts";
import type { Store } from "./store.ts";

/** A range as a snapshot takes it: it is the snapshot. */
export type SnapshotRange<K = string> = Omit<Range<K>, "snapshot">;

/** What a snapshot holds on to: shared by its faces for namespaces. */
export interface View {
  session: Session;
  /** Of the core that it was taken on. */
  cursors: Cursors;
  state: CursorState;
  /** The snapshot that the program took, so that a face of it keeps it from being collected. */
  origin?: object;
}

/**
 * A read-only view of what a store held at one moment. Close it, or use `using`; one that is dropped is released when it
 * is collected. After `close` its calls throw `CLOSED`; iterators that it gave go on.
 */
export class Snapshot<K = string, V = string> {
  private readonly view: View;
  private readonly face: Face;
  private readonly reads = new Set<unknown>();

  /** Stores make these: `store.snapshot()`. @internal */
  constructor(view: View, face: Face) {
    this.view = view;
    this.face = face;
  }

  /** The version that it shows: what is newer was written after it. */
  get version(): number {
    const { cursors, state } = this.view;
    return cursors.core.exports.viewVersion(cursors.handleOf(state, "version"));
  }

  /** The value of a key, or `undefined`. As fast as the store's own. */
  get(key: K): V | undefined {
    const { session, state } = this.view;
    const scope = this.begin("get");
    return readValue(session, scope, scope.encodedKey(key, "get"), state, "get") as V | undefined;
  }

  /** The value of a key, or `undefined`, without blocking on the device. Rejects with `CLOSED` when it is closed meanwhile. */
  async getAsync(key: K): Promise<V | undefined> {
    const scope = this.begin("getAsync");
    const encoded = scope.encodedKey(key, "getAsync");
    // One that is dropped is not collected, and so not released, while it reads.
    this.reads.add(encoded);
    try {
      return (await scope.lookups.get(encoded, this.view.state)) as V | undefined;
    } catch (error) {
      throw named(error, key, scope.values.name);
    } finally {
      this.reads.delete(encoded);
    }
  }

  /** The values of many keys, in their order, `undefined` for those that are not there; read at the same time. */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    this.begin("getMany");
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    return Promise.all(keys.map((key: K) => this.getAsync(key)));
  }

  /** The value of a key with its version, expiry and timestamp, or `undefined`. */
  getEntry(key: K): Entry<V> | undefined {
    const { session, state, cursors } = this.view;
    const scope = this.begin("getEntry");
    const encoded = scope.encodedKey(key, "getEntry");
    const size = scope.keyEncodedIn(encoded, "getEntry");
    const facts = session.guard(() => factsOf(scope.core, size, cursors.handleOf(state, "getEntry")));
    if (facts === undefined) return undefined;
    return { value: readValue(session, scope, encoded, state, "getEntry") as V, ...facts };
  }

  /** Whether a key is there. Never reads the device. */
  has(key: K): boolean {
    const { session, state } = this.view;
    const scope = this.begin("has");
    return isThere(session, scope, scope.encodedKey(key, "has"), state, "has");
  }

  /** Keys and values of a range. */
  entries(range?: SnapshotRange<K>): EntryIterator<K, V> {
    const scope = this.begin("entries", range);
    return new EntryIterator<K, V>(scope, spanOf(range, scope, "entries"), this.view.state);
  }

  /** Keys of a range. Never reads the device. */
  keys(range?: SnapshotRange<K>): KeyIterator<K> {
    const scope = this.begin("keys", range);
    return new KeyIterator<K>(scope, spanOf(range, scope, "keys"), this.view.state);
  }

  /** Values of a range in the order of their keys. */
  values(range?: SnapshotRange<K>): ValueIterator<K, V> {
    const scope = this.begin("values", range);
    return new ValueIterator<K, V>(scope, spanOf(range, scope, "values"), this.view.state);
  }

  /** All entries: `for (const [key, value] of snapshot)`. */
  [Symbol.iterator](): EntryIterator<K, V> {
    return this.entries();
  }

  /** How many keys a range holds. About 1 ns a key, more where much was written since. */
  count(range?: SnapshotRange<K>): number {
    const scope = this.begin("count", range);
    return countKeys(this.view.session, scope, range, this.view.state);
  }

  /** The same moment of a namespace of the same store, or of the store itself. Closing one closes both. */
  in<SubK, SubV>(sub: Store<SubK, SubV>): Snapshot<SubK, SubV> {
    this.begin("in");
    const face = faceOf(sub, this.view.session, "in");
    return new Snapshot<SubK, SubV>({ ...this.view, origin: this.view.origin ?? this }, face);
  }

  /** Releases what is kept for it. A second call does nothing. */
  close(): void {
    const { cursors, state } = this.view;
    cursors.unwatch(state);
    cursors.close(state);
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The view of a snapshot that a range names. `INVALID_ARGUMENT` unless it is one of the same store. @internal */
  static viewOf(snapshot: unknown, session: Session, operation: string): CursorState {
    if (!(snapshot instanceof Snapshot) || snapshot.view.session !== session) {
      throw invalid(operation, "snapshot must be a snapshot of this store.");
    }
    snapshot.view.cursors.handleOf(snapshot.view.state, operation);
    return snapshot.view.state;
  }

  private begin(operation: string, range?: unknown): Scope {
    const { cursors, state } = this.view;
    cursors.handleOf(state, operation);
    if (range !== undefined && (range as Range | null)?.snapshot !== undefined) {
      throw invalid(operation, "a range of a snapshot names no other snapshot.");
    }
    return this.face.scope;
  }
}
