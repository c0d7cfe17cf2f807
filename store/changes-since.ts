/**
 * Each key's latest change after a version, in the order of versions: what a watcher gets that was not there, or was too slow.
 *
 * Keys that are there are found by a walk over their nodes, in time by their number; deletions by their tombstones, in the segments
 * of the log that hold newer ones. Writes go on: what is changed meanwhile is newer than `until`, and the watcher's queue has it.
 * A view is open for as long as it takes. At most COUNT_MAX changes are kept, the earliest ones, and those of one version stay together.
 */

import type { CursorState } from "./cursors.ts";
import { factsOf } from "./entry.ts";
import { CairnError } from "./error.ts";
import type { Span } from "./range.ts";
import { latin1 } from "./scope.ts";
import type { Session } from "./session.ts";

/** Changes that are found at once; beyond, it is walked again. */
const COUNT_MAX = 32_768;
/** What is done at once between two turns of the event loop. */
const TURN_MS = 4;
/** Times that deletions are looked for anew, because compaction moved some, before the event loop has to wait. */
const AGAIN_MAX = 3;
const LOWER = 2;
const UPPER = 4;
const FROM_HERE = 256;
const NO_MORE = -1;
const STAT_VERSION = 3;
const STAT_SEGMENTS = 14;
const STAT_RECOVERED_VERSION = 36;
const STAT_DROPPED = 150;
const STAT_MOVED = 151;

/** Which keys. */
export interface Filter {
  readonly span: Span;
  readonly keys: ReadonlyMap<string, Uint8Array> | undefined;
  covers(key: Uint8Array): boolean;
}

/** A change that was found: what the key holds, when it was not deleted, is read when it is given. */
export interface Found {
  key: Uint8Array;
  version: number;
  isDeleted: boolean;
}

/**
 * The changes above `since` and up to `until`; deletions only above `deletionsAfter`. `bound`: up to which version these are all,
 * where there were more than can be kept. `VERSION_COMPACTED`, `DEVICE_READ`, `CORRUPT`, and what `Session.ready` throws.
 */
export async function changesSince(
  session: Session,
  filter: Filter,
  since: number,
  deletionsAfter: number,
  until: number,
): Promise<{ found: Found[]; bound: number | undefined }> {
  const { cursors } = session;
  const search = new Search(session, filter, until);
  const view = cursors.takeView("watch");
  try {
    await search.sets(since);
    await search.deletions(deletionsAfter, view);
    checkSince(session, deletionsAfter);
    return search.result();
  } finally {
    cursors.close(view);
  }
}

/** Throws `VERSION_COMPACTED` unless all deletions after a version are still there. */
export function checkSince(session: Session, since: number): void {
  const { exports } = session.core;
  const newest = exports.stat(STAT_VERSION);
  const dropped = exports.stat(STAT_DROPPED);
  let why: string | undefined;
  if (since > newest) why = `this store has no version above ${newest}`;
  else if (since < dropped) why = `deletions up to version ${dropped} are gone`;
  else if (since > exports.stat(STAT_RECOVERED_VERSION) && since < session.openedVersion) {
    why = "that version was lost when the store was not closed in order";
  }
  if (why === undefined) return;
  const message = `watch: what changed since version ${since} is not known: ${why}. Read the range anew, or watch it with since: 0; the option history keeps more of the past.`;
  throw new CairnError("VERSION_COMPACTED", "watch", message);
}

class Search {
  private readonly session: Session;
  private readonly filter: Filter;
  private readonly until: number;
  private readonly kept = new Map<string, Found>();
  private bound: number | undefined;
  /** So many are kept before the latest are left out. */
  private trimAt = 2 * COUNT_MAX;
  /** Whether a key was kept since this was reset of which none was before. */
  private isNewKept = false;
  private turnStart = performance.now();

  constructor(session: Session, filter: Filter, until: number) {
    this.session = session;
    this.filter = filter;
    this.until = until;
  }

  async sets(since: number): Promise<void> {
    const { session, filter } = this;
    const { core } = session;
    if (filter.keys !== undefined) {
      for (const [id, key] of filter.keys) {
        core.bytes.set(key, core.keyA);
        const facts = session.guard(() => factsOf(core, key.length));
        if (facts !== undefined && facts.version > since) this.add(id, key, facts.version, false);
      }
      return;
    }
    const { lower, upper } = filter.span;
    let from = lower;
    let flags = (lower === undefined ? 0 : LOWER | FROM_HERE) | (upper === undefined ? 0 : UPPER);
    while (true) {
      if (from !== undefined) core.bytes.set(from, core.keyA);
      if (upper !== undefined) core.bytes.set(upper, core.keyB);
      const sizes = [from?.length ?? 0, upper?.length ?? 0] as const;
      const count = session.guard(() => core.exports.changesSet(flags, ...sizes, since, this.bound ?? this.until));
      const { result, words } = core;
      const isEnd = words[result + 2] === 1;
      const at = (words[result] as number) >>> 0;
      const next = isEnd ? undefined : core.bytes.slice(at, at + (words[result + 1] as number));
      this.take(count, false);
      if (next === undefined) return;
      from = next;
      flags = LOWER | (flags & UPPER);
      await this.turn();
    }
  }

  async deletions(after: number, view: CursorState): Promise<void> {
    const { exports } = this.session.core;
    if (this.filter.keys !== undefined && this.allThere()) return;
    for (let round = 0; ; round++) {
      const moved = exports.stat(STAT_MOVED);
      const bound = this.bound;
      this.isNewKept = false;
      await this.deletionsOnce(after, view, round < AGAIN_MAX);
      // What was left out as too late may be the later one of a key whose earlier one was kept behind it.
      const isSure = this.bound === undefined || (this.bound === bound && !this.isNewKept);
      if (isSure && exports.stat(STAT_MOVED) === moved) return;
    }
  }

  result(): { found: Found[]; bound: number | undefined } {
    const found = [...this.kept.values()].filter(({ version }) => this.isInBound(version));
    return { found: found.sort((a, b) => a.version - b.version), bound: this.bound };
  }

  private allThere(): boolean {
    const { session, filter } = this;
    const { core } = session;
    for (const key of filter.keys?.values() ?? []) {
      core.bytes.set(key, core.keyA);
      if (session.guard(() => factsOf(core, key.length)) === undefined) return false;
    }
    return true;
  }

  private async deletionsOnce(after: number, view: CursorState, mayTurn: boolean): Promise<void> {
    const { session } = this;
    const { core } = session;
    const { exports, words, result } = core;
    for (let segment = 0; segment < exports.stat(STAT_SEGMENTS); segment++) {
      if (exports.changesNewest(segment) <= after) continue;
      for (let block = 0; block !== NO_MORE; ) {
        const count = session.guard(() => exports.changesDeleted(segment, block, after, view.handle));
        if (count < 0) throw session.error(count, "watch");
        block = words[result + 1] as number;
        this.take(count, true);
        if (mayTurn) await this.turn();
      }
    }
  }

  /** Takes the entries that a step of the core found. */
  private take(count: number, isDeleted: boolean): void {
    const { filter } = this;
    const { core } = this.session;
    for (let i = 0; i < count; i++) {
      const at = core.exchangeOut + i * 16;
      const keyAt = (core.words[at >> 2] as number) >>> 0;
      const key = core.bytes.subarray(keyAt, keyAt + (core.words[(at >> 2) + 1] as number));
      if (isDeleted && filter.keys === undefined && !filter.covers(key)) continue;
      const id = latin1(key);
      if (filter.keys !== undefined && !filter.keys.has(id)) continue;
      this.add(id, key, core.floats[(at >> 3) + 1] as number, isDeleted);
    }
  }

  /**
   * Keeps a change. One that is too late is not among those that are found; but where an earlier one of its key is kept it takes
   * the place of that, so that the earlier one is not found either, also when it is met again.
   */
  private add(id: string, key: Uint8Array, version: number, isDeleted: boolean): void {
    if (version > this.until) return;
    const known = this.kept.get(id);
    if (known === undefined && !this.isInBound(version)) return;
    if (known !== undefined && known.version >= version) return;
    if (known === undefined) this.isNewKept = true;
    this.kept.set(id, { key: known?.key ?? key.slice(), version, isDeleted });
    if (this.kept.size > this.trimAt) this.trim();
  }

  private isInBound(version: number): boolean {
    return this.bound === undefined || version <= this.bound;
  }

  /** Leaves the latest out, whole versions of them. Those of one version are all kept, however many they are. */
  private trim(): void {
    const versions: number[] = [];
    for (const { version } of this.kept.values()) if (this.isInBound(version)) versions.push(version);
    versions.sort((a, b) => a - b);
    const bound = versions[Math.min(COUNT_MAX, versions.length >> 1)] as number;
    this.trimAt = 2 * Math.max(COUNT_MAX, this.kept.size);
    if (bound === versions.at(-1)) return;
    this.bound = bound;
    for (const [id, { version }] of this.kept) if (version > bound) this.kept.delete(id);
    this.trimAt = 2 * Math.max(COUNT_MAX, this.kept.size);
  }

  /** Lets the event loop turn now and then. */
  private async turn(): Promise<void> {
    if (performance.now() - this.turnStart < TURN_MS) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.session.ready("watch");
    this.turnStart = performance.now();
  }
}
