/**
 * A watcher: what it watches, what waits for its consumer, and where it is.
 *
 * It is live as long as its queue takes what is written. When the queue is full it is given up, and the watcher is
 * behind: what follows then comes from the store itself, as each key's latest change after the last version that was given
 * (`changesSince`), until it has caught up. Which of both it is decides only what a consumer sees, never that it sees a gap.
 */
import type { Changes, Commit, EncodedChange } from "./changes.ts";
import { changesSince, type Filter, type Found } from "./changes-since.ts";
import { ASK_NO_READS, AT_MEMORY } from "./core.ts";
import { factsOf } from "./entry.ts";
import { CairnError } from "./error.ts";
import { named } from "./key-errors.ts";
import { compareBytes, type Span } from "./range.ts";
import { closedError } from "./refusals.ts";
import type { Face } from "./scope.ts";
import type { Session } from "./session.ts";

/** Commits that were given before they are cut off the queue. */
const QUEUE_TRIM = 64;

/** A change as a watcher gives it. */
export interface Change<K = string, V = string> {
  /** What was done with the key; an expiry is a deletion. */
  type: "set" | "delete";
  /** The key. */
  key: K;
  /** What this version of the key holds. Absent for a deletion. */
  value?: V;
  /** The version of the commit; the changes of a batch have one, and follow each other. */
  version: number;
}

/** What one watcher is asked for. */
export interface WatchTerms {
  span: Span;
  /** Keys by the characters of their bytes; `undefined`: all keys of the span. */
  keys: Map<string, Uint8Array> | undefined;
  since: number | undefined;
  isDurable: boolean;
  bytesMax: number;
}

/** See above. */
export class Watcher implements Filter {
  readonly span: Span;
  readonly keys: Map<string, Uint8Array> | undefined;
  readonly isDurable: boolean;
  readonly bytesMax: number;
  private readonly session: Session;
  private readonly changes: Changes;
  private readonly face: Face;
  /** All up to this version was given, or stands in `ready` or `found`. */
  private position: number;
  /** Deletions up to this version are of no interest: whoever begins with nothing has nothing to delete. */
  private deletionsAfter: number;
  private isBehind: boolean;
  /** Whether what the queue has not is being looked for. */
  private isSearching = false;
  private queue: Commit[] = [];
  private queueAt = 0;
  private queued = 0;
  private ready: EncodedChange[] = [];
  private readyAt = 0;
  private found: Found[] = [];
  private foundAt = 0;
  /** The version of the found change whose value is not in hand yet; 0: there is none. */
  private reading = 0;
  private waiting: (() => void) | undefined;
  private failure: { cause: unknown } | undefined;
  private isAborted = false;
  private isEnded = false;
  private isDone = false;

  constructor(session: Session, changes: Changes, face: Face, terms: WatchTerms) {
    this.session = session;
    this.changes = changes;
    this.face = face;
    this.span = terms.span;
    this.keys = terms.keys;
    this.isDurable = terms.isDurable;
    this.bytesMax = terms.bytesMax;
    this.isBehind = terms.since !== undefined;
    this.position = terms.since ?? changes.version;
    this.deletionsAfter = this.position === 0 ? changes.version : this.position;
    changes.add(this);
  }

  /** All changes up to this version were given; see `Watch.version`. */
  get version(): number {
    if (this.readyAt < this.ready.length) return this.position - 1;
    if (this.reading !== 0) return this.reading - 1;
    if (this.foundAt < this.found.length) return (this.found[this.foundAt] as Found).version - 1;
    return this.isIdle ? Math.max(this.position, this.changes.durableVersion) : this.position;
  }

  /** Whether nothing waits that is durable, and whoever asked for more has all that was. */
  get isIdle(): boolean {
    if (this.isBehind || this.isSearching || this.isDone || this.isEnded || this.failure !== undefined) return false;
    if (this.waiting === undefined || this.foundAt < this.found.length) return false;
    const head = this.queue[this.queueAt];
    return head === undefined || !this.isVisible(head.version);
  }

  /** Whether a key, which is in the span's store, is in the span. */
  covers(key: Uint8Array): boolean {
    const { lower, upper } = this.span;
    if (lower !== undefined && compareBytes(key, lower) < 0) return false;
    return upper === undefined || compareBytes(key, upper) < 0;
  }

  /** Whether a commit of so many bytes is kept. When it is too much the watcher falls behind. */
  takes(bytes: number): boolean {
    if (this.isBehind) return false;
    if (this.queued + bytes <= this.bytesMax) return true;
    this.fallBehind();
    return false;
  }

  /** Queues a commit. */
  push(commit: Commit): void {
    if (!this.takes(commit.bytes)) return;
    this.queue.push(commit);
    this.queued += commit.bytes;
  }

  /** Gives the queue up. */
  fallBehind(): void {
    this.isBehind = true;
    this.queue = [];
    this.queueAt = 0;
    this.queued = 0;
    this.wake();
  }

  /** There may be something to give. */
  wake(): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  /** Ends with an error, when what is queued and durable was given; at once when `isAborted`. */
  fail(cause: unknown, isAborted = false): void {
    if (this.isDone || this.failure !== undefined) return;
    this.failure = { cause };
    this.isAborted = isAborted;
    this.changes.remove(this);
    this.wake();
  }

  /** The store is closed: what is queued is still given. */
  end(): void {
    this.isEnded = true;
    this.changes.remove(this);
    this.wake();
  }

  /** The consumer wants nothing any more. */
  stop(): void {
    this.position = this.version;
    this.isDone = true;
    this.forget();
    this.changes.remove(this);
    this.wake();
  }

  /** The next change, or `undefined` when there will be none. */
  async next(): Promise<Change<unknown, unknown> | undefined> {
    try {
      return await this.advance();
    } catch (error) {
      // Who has stopped hears no more of it.
      if (this.isDone) return undefined;
      this.stop();
      throw error;
    }
  }

  private async advance(): Promise<Change<unknown, unknown> | undefined> {
    while (!this.isDone) {
      if (this.failure !== undefined && this.isAborted) throw this.failure.cause;
      if (this.readyAt < this.ready.length) {
        const change = this.decoded(this.ready[this.readyAt] as EncodedChange);
        this.readyAt++;
        return change;
      }
      if (this.foundAt < this.found.length) {
        const change = await this.nextFound();
        // Not when that has failed: the version stays in front of it.
        this.reading = 0;
        if (change !== undefined) return change;
        continue;
      }
      const head = this.queue[this.queueAt];
      if (head !== undefined && this.isVisible(head.version)) {
        this.unqueue();
        this.queued -= head.bytes;
        this.ready = head.changes;
        this.readyAt = 0;
        this.position = head.version;
        continue;
      }
      if (this.failure !== undefined) throw this.failure.cause;
      if (this.isEnded) {
        if (this.isBehind) throw this.behindError();
        this.isDone = true;
        return undefined;
      }
      if (this.isBehind) await this.catchUp();
      else await this.pause();
    }
    return undefined;
  }

  /** Takes the first commit out of the queue, whose memory it gives back now and then: an array's `shift` moves all of it. */
  private unqueue(): void {
    this.queueAt++;
    if (this.queueAt < QUEUE_TRIM || this.queueAt * 2 < this.queue.length) return;
    this.queue = this.queue.slice(this.queueAt);
    this.queueAt = 0;
  }

  private isVisible(version: number): boolean {
    return !this.isDurable || version <= this.changes.durableVersion;
  }

  private pause(): Promise<void> {
    // The process must not end while what this waits for is on its way to the device.
    const release = this.isDurable ? this.session.committer.awaited() : undefined;
    return new Promise((resolve) => {
      this.waiting = () => {
        release?.();
        resolve();
      };
    });
  }

  /** Finds what the queue has not: from here on it takes what is written anew. */
  private async catchUp(): Promise<void> {
    const { session, changes } = this;
    session.ready("watch");
    changes.collect();
    this.isBehind = false;
    this.isSearching = true;
    const until = changes.version;
    const deletionsAfter = Math.max(this.position, this.deletionsAfter);
    const { found, bound } = await changesSince(session, this, this.position, deletionsAfter, until);
    this.isSearching = false;
    if (this.isDone) return;
    this.found = found;
    this.foundAt = 0;
    this.position = bound ?? until;
    // More than can be kept was found: what is written meanwhile is found with the rest.
    if (bound !== undefined) this.fallBehind();
  }

  /** The next change that was found, unless a later one of its key has taken its place: that one is still to come. */
  private async nextFound(): Promise<Change<unknown, unknown> | undefined> {
    const next = this.found[this.foundAt] as Found;
    if (!this.isVisible(next.version)) {
      if (this.failure !== undefined) throw this.failure.cause;
      if (this.isEnded) throw this.behindError();
      await this.pause();
      return undefined;
    }
    this.reading = next.version;
    this.foundAt++;
    if (this.foundAt === this.found.length) this.found = [];
    if (this.found.length === 0) this.foundAt = 0;
    const { key, version } = next;
    if (next.isDeleted) return { type: "delete", key: this.decodedKey(key), version };
    if (this.failure !== undefined) throw this.failure.cause;
    if (this.isEnded) throw this.behindError();
    this.session.ready("watch");
    if (this.versionOf(key) !== version) return undefined;
    const { scope, values } = this.face;
    const { core } = scope;
    let value: unknown;
    try {
      const status = this.session.guard(() => core.exports.getAhead(key.length, ASK_NO_READS, 0));
      if (status === AT_MEMORY) {
        const at = (core.words[core.result] as number) >>> 0;
        value = scope.valueReader.read(at, core.words[core.result + 1] as number, false, "watch");
      } else {
        value = await scope.raw.lookups.get(key, undefined, "watch");
        if (this.isDone || this.versionOf(key) !== version) return undefined;
      }
    } catch (error) {
      throw named(error, this.decodedKey(key), values.name);
    }
    return { type: "set", key: this.decodedKey(key), value, version };
  }

  private versionOf(key: Uint8Array): number | undefined {
    const { session } = this;
    if (this.isEnded) throw this.behindError();
    session.ready("watch");
    const { core } = session;
    core.bytes.set(key, core.keyA);
    return session.guard(() => factsOf(core, key.length))?.version;
  }

  private decoded({ bytes, keySize, valueAt, version }: EncodedChange): Change<unknown, unknown> {
    const key = this.decodedKey(bytes.subarray(0, keySize));
    if (valueAt < 0) return { type: "delete", key, version };
    const { values } = this.face;
    // Bytes that a program gets are its own.
    const value = values.kind === "utf8" ? bytes.subarray(valueAt) : bytes.slice(valueAt);
    try {
      return { type: "set", key, value: values.decode(value, "value", "watch"), version };
    } catch (error) {
      throw named(error, key, values.name);
    }
  }

  private decodedKey(key: Uint8Array): unknown {
    const { keys, prefix } = this.face;
    try {
      return keys.decode(key.slice(prefix.length), "key", "watch");
    } catch (error) {
      throw named(error, key.slice(prefix.length), keys.name);
    }
  }

  private forget(): void {
    this.queue = [];
    this.queueAt = 0;
    this.queued = 0;
    this.ready = [];
    this.readyAt = 0;
    this.found = [];
    this.foundAt = 0;
    this.reading = 0;
  }

  /** The store was closed before a watcher had caught up. */
  private behindError(): CairnError {
    const { message } = closedError("watch");
    const next = `Watch it with since: the version of the last change that was seen, for what is missing.`;
    return new CairnError("CLOSED", "watch", `${message} ${next}`);
  }
}
