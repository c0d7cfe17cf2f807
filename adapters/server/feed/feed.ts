/**
 * Who is told about changes, whatever they were made by: one watch for each tenant that has subscribers, shared by them all.
 *
 * 1. A change is told when it is on stable storage, in the order of commits, once to each subscriber that it concerns.
 * 2. A subscriber hears of what is committed after it has subscribed, and of nothing before.
 * 3. A watch that cannot keep up gives each key's latest change instead of all (docs/guide/watch.md). Where not even that is possible,
 *    all subscribers are told that they have lost something: none misses a key's last state without a word.
 * 4. Keys that are no UTF-8 are told to nobody: subscriptions are text.
 *
 * A change costs a call of each distinct `matches`, and a call of each subscriber that it concerns; the value is decoded and the frame
 * written when the first one asks for it.
 */
import { setImmediate } from "node:timers";
import type { Change } from "../../../store/watch.ts";
import { textOf } from "../bytes-as-text.ts";
import { Notice } from "./notice.ts";

/** Bytes of changes that wait while the event loop is busy, for each tenant with subscribers. */
const BUFFER_BYTES = 8 * 1024 * 1024;
/** Calls, and characters for each subscriber, in one turn of the event loop; then sockets get one, so that no queue grows for want of it. */
const CALLS_PER_TURN = 512;
const LENGTH_PER_TURN = 65_536;
/** How long all wait for a subscriber that is crowded, once: one that has not read by then is not waited for until it has. */
const CROWD_WAIT_MS = 200;
const CROWD_LOOK_MS = 1;

/** The keys of a tenant, as bytes. */
export interface WatchedStore {
  /** Of the last write before this moment; `undefined` where only the source's `versionNow` tells. */
  readonly version: number | undefined;
  watch(
    what: undefined,
    options: { signal: AbortSignal; bufferBytes: number },
  ): AsyncIterable<Change<Uint8Array, Uint8Array>>;
}

/** Where changes come from. */
export interface FeedSource {
  /** A tenant's keys and values as bytes. */
  bytesOf(tenant: string): WatchedStore;
  /** What watchers are to be shown of a patch: the document with explicit nulls. `undefined`: what is stored. */
  patched(tenant: string, version: number, key: string): string | undefined;
  /**
   * Where changes come from another process: the version of the last write before the answer, which comes when the watches that were begun
   * before are in force.
   */
  versionNow?(): Promise<number>;
  /** How long a watch goes on without subscribers, in milliseconds. Default 0: it ends with the last one. */
  readonly lingerMs?: number;
}

/** Somebody who is told. Neither call may throw. */
export interface Subscriber {
  notify(notice: Notice): void;
  /** Whether much of what was told still waits for its reader. */
  readonly isCrowded: boolean;
  /** Changes were lost, and no more will come: whoever needs them has to subscribe again, and read what is there. */
  lost(error: unknown): void;
}

/** Subscribers with one and the same `matches`: connections of one token. */
interface Group {
  readonly matches: (key: string) => boolean;
  /** Each with the version after which it hears of changes. */
  readonly subscribers: Map<Subscriber, number>;
}

/** See above. */
export class Feed {
  private readonly source: FeedSource;
  private readonly tenants = new Map<string, TenantFeed>();
  private isClosed = false;

  constructor(source: FeedSource) {
    this.source = source;
  }

  /**
   * Where changes come from another process: resolves when those of `tenant` are on their way, with the version from which on. Whoever
   * subscribes then, and says so to a client, has told it the truth. `undefined`: that is so at any time.
   */
  ready(tenant: string): Promise<number> | undefined {
    const { source } = this;
    if (source.versionNow === undefined || this.isClosed) return undefined;
    // First the watch, then the question.
    this.feedOf(tenant).linger();
    return source.versionNow();
  }

  /**
   * From now on `subscriber` is told about changes of keys for which `matches` is true; with `since`, what `ready` gave, from that version on.
   * What this returns ends it, at once. Throws what `watch` of the store throws; `CLOSED` when the store is closed.
   */
  subscribe(tenant: string, matches: (key: string) => boolean, subscriber: Subscriber, since?: number): () => void {
    if (this.isClosed) throw new Error("the feed is closed: the server ends.");
    return this.feedOf(tenant).add(matches, subscriber, since);
  }

  private feedOf(tenant: string): TenantFeed {
    let feed = this.tenants.get(tenant);
    if (feed === undefined) {
      const made = new TenantFeed(tenant, this.source, () => {
        if (this.tenants.get(tenant) === made) this.tenants.delete(tenant);
      });
      feed = made;
      this.tenants.set(tenant, made);
    }
    return feed;
  }

  /** Ends all watches. Subscribers hear no more. */
  close(): void {
    this.isClosed = true;
    for (const feed of [...this.tenants.values()]) feed.end();
  }
}

/** The watch of one tenant. */
class TenantFeed {
  private readonly tenant: string;
  private readonly source: FeedSource;
  private readonly store: WatchedStore;
  private readonly onEnd: () => void;
  private readonly groups = new Map<(key: string) => boolean, Group>();
  private readonly stop = new AbortController();
  private crowded: Subscriber[] = [];
  private readonly late = new WeakSet<Subscriber>();
  private calls = 0;
  private length = 0;
  private lingering: ReturnType<typeof setTimeout> | undefined;

  constructor(tenant: string, source: FeedSource, onEnd: () => void) {
    this.tenant = tenant;
    this.source = source;
    this.store = source.bytesOf(tenant);
    this.onEnd = onEnd;
    const changes = this.store.watch(undefined, { signal: this.stop.signal, bufferBytes: BUFFER_BYTES });
    void this.run(changes);
  }

  add(matches: (key: string) => boolean, subscriber: Subscriber, since = this.store.version ?? 0): () => void {
    let group = this.groups.get(matches);
    if (group === undefined) {
      group = { matches, subscribers: new Map() };
      this.groups.set(matches, group);
    }
    const { subscribers } = group;
    subscribers.set(subscriber, since);
    return () => {
      if (!subscribers.delete(subscriber) || subscribers.size > 0) return;
      this.groups.delete(matches);
      this.linger();
    };
  }

  /** Ends it soon, unless somebody subscribes. */
  linger(): void {
    clearTimeout(this.lingering);
    if (this.groups.size > 0) return;
    const { lingerMs = 0 } = this.source;
    if (lingerMs === 0) {
      this.end();
      return;
    }
    this.lingering = setTimeout(() => this.groups.size === 0 && this.end(), lingerMs);
    (this.lingering as { unref?(): void }).unref?.();
  }

  end(): void {
    clearTimeout(this.lingering);
    this.groups.clear();
    this.onEnd();
    this.stop.abort();
  }

  private async run(changes: AsyncIterable<Change<Uint8Array, Uint8Array>>): Promise<void> {
    let failure: unknown;
    try {
      for await (const change of changes) {
        this.tell(change);
        if (this.crowded.length > 0) await this.waitForReaders();
        if (this.calls < CALLS_PER_TURN && this.length < LENGTH_PER_TURN) continue;
        this.calls = 0;
        this.length = 0;
        await new Promise((resolve) => setImmediate(resolve));
      }
      failure = new Error("the store was closed");
    } catch (error) {
      failure = error;
    }
    // Whoever is still here has not left by itself.
    const left = [...this.groups.values()].flatMap(({ subscribers }) => [...subscribers.keys()]);
    this.end();
    for (const subscriber of left) subscriber.lost(failure);
  }

  private tell(change: Change<Uint8Array, Uint8Array>): void {
    const key = textOf(change.key);
    if (key === undefined) return;
    let notice: Notice | undefined;
    for (const { matches, subscribers } of this.groups.values()) {
      this.calls++;
      if (!matches(key)) continue;
      for (const [subscriber, since] of subscribers) {
        if (change.version <= since) continue;
        this.calls++;
        notice ??= new Notice(key, this.shownOf(change, key), Date.now());
        subscriber.notify(notice);
        if (!subscriber.isCrowded) this.late.delete(subscriber);
        else if (!this.late.has(subscriber)) this.crowded.push(subscriber);
      }
    }
    if (notice !== undefined) this.length += notice.frame.length;
  }

  /** A burst is told as fast as readers take it, so that it ends none that reads. */
  private async waitForReaders(): Promise<void> {
    const untilMs = performance.now() + CROWD_WAIT_MS;
    let left = this.crowded;
    this.crowded = [];
    while (left.length > 0 && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, CROWD_LOOK_MS));
      left = left.filter((subscriber) => subscriber.isCrowded);
    }
    for (const subscriber of left) this.late.add(subscriber);
  }

  private shownOf({ type, version, value }: Change<Uint8Array, Uint8Array>, key: string): string | Uint8Array | null {
    if (type === "delete") return null;
    return this.source.patched(this.tenant, version, key) ?? (value as Uint8Array);
  }
}
