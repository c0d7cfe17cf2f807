/**
 * What is written, handed to those who watch: taken from the core's feed, put together by commit, and queued for each watcher
 * that it concerns.
 *
 * The feed is taken when it asks for that, when something has become durable, and, where a watcher wants to see what is not
 * durable yet, at the end of the turn. While a batch runs, what is taken of it waits for its end. Bytes are copied once for
 * all watchers, and only where one is concerned.
 */
import { AT_MEMORY, type Core } from "./core.ts";
import type { CairnError } from "./error.ts";
import { readPieces } from "./iterator.ts";
import { joined } from "./range.ts";
import { latin1 } from "./scope.ts";
import type { Session } from "./session.ts";
import type { Watcher } from "./watcher.ts";

const ENTRY_HEADER_SIZE = 24;
/** Kinds of entries; see engine/feed.ts. */
const DELETE = 2;
const SET_LARGE = 3;
const STAT_VERSION = 3;
const STAT_DURABLE_VERSION = 4;
/** What a change is counted with beside its key and its value. */
const CHANGE_OVERHEAD = 96;

/** One change, encoded: one array for key and value, since there may be many. */
export interface EncodedChange {
  /** The key with the prefix of its namespace, from the start on; the value from `valueAt` to the end. */
  bytes: Uint8Array;
  keySize: number;
  /** -1: the key was deleted. */
  valueAt: number;
  version: number;
}

/** The changes of one commit that concern one watcher. */
export interface Commit {
  version: number;
  changes: EncodedChange[];
  /** What it is counted with. */
  bytes: number;
}

/** The changes of one store, and its watchers. */
export class Changes {
  /** The newest version that is known to be on stable storage. */
  durableVersion: number;
  private readonly session: Session;
  private readonly onEmpty: () => void;
  private readonly byRange = new Set<Watcher>();
  private readonly byKey = new Map<string, Set<Watcher>>();
  private readonly all = new Set<Watcher>();
  /** The commit that is being put together: its version, 0 when there is none, and the part of each watcher that it concerns. */
  private openVersion = 0;
  private readonly open = new Map<Watcher, Commit>();
  private immediateCount = 0;
  private isScheduled = false;

  constructor(session: Session, onEmpty: () => void) {
    this.session = session;
    this.onEmpty = onEmpty;
    this.durableVersion = this.stat(STAT_DURABLE_VERSION);
  }

  /** The newest version. */
  get version(): number {
    return this.stat(STAT_VERSION);
  }

  /** A watcher gets what is written from now on. */
  add(watcher: Watcher): void {
    this.collect();
    this.all.add(watcher);
    if (!watcher.isDurable) this.immediateCount++;
    if (watcher.keys === undefined) this.byRange.add(watcher);
    for (const id of watcher.keys?.keys() ?? []) {
      const watchers = this.byKey.get(id);
      if (watchers === undefined) this.byKey.set(id, new Set([watcher]));
      else watchers.add(watcher);
    }
  }

  /** A watcher gets nothing any more. */
  remove(watcher: Watcher): void {
    if (!this.all.delete(watcher)) return;
    if (!watcher.isDurable) this.immediateCount--;
    this.byRange.delete(watcher);
    for (const id of watcher.keys?.keys() ?? []) {
      const watchers = this.byKey.get(id);
      watchers?.delete(watcher);
      if (watchers?.size === 0) this.byKey.delete(id);
    }
    if (this.all.size === 0) this.onEmpty();
  }

  /** Something was written. */
  wrote(): void {
    if (this.immediateCount === 0 || this.isScheduled) return;
    this.isScheduled = true;
    queueMicrotask(() => {
      this.isScheduled = false;
      if (this.all.size === 0 || !this.collected()) return;
      for (const watcher of this.all) watcher.wake();
    });
  }

  /** Something may have become durable. */
  publish(): void {
    if (!this.collected()) return;
    this.durableVersion = this.stat(STAT_DURABLE_VERSION);
    for (const watcher of this.all) watcher.wake();
  }

  /** `collect` for those who are nobody's call: false when the store is poisoned, and who watches was told. */
  private collected(): boolean {
    if (this.session.committer.poisoned !== undefined) return false;
    try {
      this.collect();
      return true;
    } catch {
      return false;
    }
  }

  /** Takes everything from the feed. With `isWhole` false the last commit goes on. */
  collect(isWhole = true): void {
    const { session } = this;
    const { core } = session;
    const used = session.guard(() => core.exports.feedTake());
    const start = (core.words[core.result] as number) >>> 0;
    // What is lost cannot be said to concern nobody.
    if (core.words[core.result + 2] === 1) for (const watcher of this.all) watcher.fallBehind();
    for (let at = start; at < start + used; ) {
      const word = at >> 2;
      this.take(
        core,
        at,
        core.words[word + 2] as number,
        core.words[word + 3] as number,
        core.words[word + 4] as number,
      );
      at += core.words[word + 5] as number;
    }
    if (isWhole) this.complete();
  }

  /** The store is poisoned: who watches is told so when all that is known to be durable was given. */
  fail(error: CairnError): void {
    for (const watcher of [...this.all]) watcher.fail(error);
  }

  /** The store is closed. */
  end(): void {
    if (this.session.committer.poisoned !== undefined) return;
    this.publish();
    for (const watcher of [...this.all]) watcher.end();
  }

  private take(core: Core, at: number, keySize: number, valueSize: number, kind: number): void {
    const version = core.floats[at >> 3] as number;
    if (version !== this.openVersion) {
      if (this.openVersion !== 0) this.complete();
      this.openVersion = version;
    }
    const keyAt = at + ENTRY_HEADER_SIZE;
    const key = core.bytes.subarray(keyAt, keyAt + keySize);
    const weight = CHANGE_OVERHEAD + keySize + valueSize;
    const commits = this.commitsFor(key, version, weight);
    if (commits.length === 0) return;
    let bytes: Uint8Array;
    let valueAt = -1;
    if (kind === DELETE) {
      bytes = key.slice();
    } else if (kind === SET_LARGE) {
      const value = this.readLarge(key, commits);
      // It was written with an expiry that is over: nobody can ever read it, and its deletion follows.
      if (value === undefined) return;
      valueAt = keySize;
      bytes = joined(key, value);
    } else {
      valueAt = (keySize + 7) & ~7;
      bytes = core.bytes.slice(keyAt, keyAt + valueAt + valueSize);
    }
    const change = { bytes, keySize, valueAt, version };
    for (const commit of commits) {
      commit.changes.push(change);
      commit.bytes += weight;
    }
  }

  /** The parts of the commit that a change goes to. Whoever could not keep its part falls behind at once, since a batch may be large. */
  private commitsFor(key: Uint8Array, version: number, weight: number): Commit[] {
    const commits: Commit[] = [];
    for (const watcher of this.watchersOf(key)) {
      const commit = this.open.get(watcher) ?? { version, changes: [], bytes: 0 };
      if (!watcher.takes(commit.bytes + weight)) {
        this.open.delete(watcher);
        continue;
      }
      this.open.set(watcher, commit);
      commits.push(commit);
    }
    return commits;
  }

  /** The value of a key that was just written. */
  private readLarge(key: Uint8Array, commits: readonly Commit[]): Uint8Array | undefined {
    const { session } = this;
    const { core } = session;
    core.bytes.set(key, core.keyA);
    const status = session.guard(() => core.exports.get(key.length));
    if (status === 0) return undefined;
    if (status < 0) {
      // It was written and cannot be read: who watches finds that out by reading it.
      for (const [watcher, commit] of this.open) if (commits.includes(commit)) watcher.fallBehind();
      return undefined;
    }
    const size = core.words[core.result + 1] as number;
    if (status !== AT_MEMORY)
      return readPieces(
        core,
        size,
        (run) => session.guard(run),
        (failed) => session.error(failed, "watch"),
      );
    const at = (core.words[core.result] as number) >>> 0;
    return core.bytes.slice(at, at + size);
  }

  private watchersOf(key: Uint8Array): Watcher[] {
    const found: Watcher[] = [];
    for (const watcher of this.byRange) if (watcher.covers(key)) found.push(watcher);
    if (this.byKey.size > 0) for (const watcher of this.byKey.get(latin1(key)) ?? []) found.push(watcher);
    return found;
  }

  /** Queues the commit that was put together. Of a key that a batch repeats only the last change counts. */
  private complete(): void {
    this.openVersion = 0;
    if (this.open.size === 0) return;
    for (const [watcher, commit] of this.open) {
      if (commit.changes.length > 1) commit.changes = lastOfEach(commit.changes);
      if (commit.changes.length > 0) watcher.push(commit);
    }
    this.open.clear();
  }

  private stat(what: number): number {
    return this.session.core.exports.stat(what);
  }
}

function lastOfEach(changes: readonly EncodedChange[]): EncodedChange[] {
  const last = new Map<string, EncodedChange>();
  for (const change of changes) {
    const id = latin1(change.bytes.subarray(0, change.keySize));
    last.delete(id);
    last.set(id, change);
  }
  return [...last.values()];
}
