/**
 * A watch over a connection. The owner takes changes ahead, a block at a time, and gives them when they are asked for.
 *
 * It survives its owner: with the next one it is begun anew, since the version up to which all was given. Of a commit of which
 * only a part had come, it is begun before it, and what had come is left out.
 */
import { CairnError } from "../error.ts";
import type { Range } from "../range.ts";
import { invalid } from "../refusals.ts";
import { latin1 } from "../scope.ts";
import { readWatchOptions } from "../watch.ts";
import type { Change } from "../watcher.ts";
import type { Conversation, Place } from "./conversation.ts";
import type { ConnectionFace } from "./face.ts";
import { decodeWire, type WireBytes, type WireChanges, type WireWatch, type WireWatching } from "./wire.ts";

/** Key, value and version. */
const ITEMS = 3;

/** What ends a watch that its program dropped. It must not hold the iterator. */
interface Held {
  conversation: Conversation;
  id: number;
  owner: string | undefined;
}

const dropped = new FinalizationRegistry<Held>(end);

/** Takes the listeners of signals away whose watch a program dropped. */
const listening = new FinalizationRegistry<() => void>((release) => release());

/** What is asked of the owner. */
type Asked = Pick<WireWatch, "what" | "since" | "bufferBytes">;

/** What `watch` of a connection returns: for `for await`. One consumer; calls of `next` are answered in their order. */
export class ConnectionWatch<K = string, V = string> implements AsyncIterableIterator<Change<K, V>> {
  private readonly face: ConnectionFace;
  private readonly asked: Asked;
  private readonly release: () => void;
  /** At the owner that serves it; `undefined` until it has answered, and when it is gone. */
  private held: Held | undefined;
  /** What the owner was asked last. Never rejects. */
  private coming: Promise<void> | undefined;
  /** All changes up to its version have come, as an owner knew it; `undefined` before one has answered. */
  private place: Place | undefined;
  private placeLife: string | undefined;
  /** The keys that have come of a commit of which more may follow, and its version. */
  private readonly partKeys = new Set<string>();
  private partVersion = 0;
  private items: WireChanges["items"] = [];
  private at = 0;
  private failure: { cause: unknown } | undefined;
  private isDone = false;
  private wake: (() => void) | undefined;
  private turns: Promise<unknown> = Promise.resolve();

  /** Connections make these: `connection.watch()`. */
  constructor(face: ConnectionFace, asked: Asked, signal: AbortSignal | undefined) {
    this.face = face;
    this.asked = asked;
    this.release = listen(this, signal, (watch, reason) => watch.fail(reason));
    listening.register(this, this.release, this);
    // In the order of the connection's calls: what is written after this one is seen.
    this.coming = this.ask();
  }

  /**
   * The version to go on from, with `since`: all changes up to it were given. Where a part of a commit was given it is below
   * that commit. `undefined` until the store has answered.
   */
  get version(): number | undefined {
    if (this.at < this.items.length) return (this.items[this.at + 2] as number) - 1;
    return this.place?.version;
  }

  /** The next change. Waits for it. `VERSION_COMPACTED`, `POISONED`, and the errors of the connection. */
  next(): Promise<IteratorResult<Change<K, V>, undefined>> {
    const next = this.turns.then(() => this.step());
    this.turns = next.catch(() => undefined);
    return next;
  }

  /** Ends it, one that waits included. */
  async return(): Promise<IteratorResult<Change<K, V>, undefined>> {
    this.stop();
    return { done: true, value: undefined };
  }

  /** `return`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Itself: `for await (const change of …)`. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  private async step(): Promise<IteratorResult<Change<K, V>, undefined>> {
    while (true) {
      if (this.at < this.items.length) return { done: false, value: this.take() };
      if (this.failure !== undefined) {
        const { cause } = this.failure;
        this.failure = undefined;
        throw cause;
      }
      if (this.isDone) return { done: true, value: undefined };
      this.coming ??= this.ask();
      const { coming } = this;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        void coming.then(resolve);
      });
    }
  }

  private take(): Change<K, V> {
    const { items, at } = this;
    try {
      const change = this.decoded(items, at);
      this.at += ITEMS;
      return change;
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  private decoded(items: WireChanges["items"], at: number): Change<K, V> {
    const key = decodeWire(this.face.keys, items[at], "key", "watch") as K;
    const version = items[at + 2] as number;
    if (items[at + 1] === undefined) return { type: "delete", key, version };
    return { type: "set", key, value: decodeWire(this.face.values, items[at + 1], "value", "watch") as V, version };
  }

  /** Asks the owner for what comes next; `coming` until then. */
  private async ask(): Promise<void> {
    const { held } = this;
    // An owner that is gone is not asked.
    if (held !== undefined && held.owner !== this.face.conversation.ownerNow) this.leave();
    if (this.held === undefined) await this.begin();
    else await this.fetch(this.held);
    this.coming = undefined;
  }

  /** Begins it at the present owner, or at the next one, from where it is. */
  private async begin(): Promise<void> {
    const { face, asked, place, placeLife } = this;
    const { conversation } = face;
    const terms: WireWatch = { ...asked, since: place?.version ?? asked.since, owner: placeLife };
    try {
      const { watch, version } = (await face.ask("watch", [terms])) as WireWatching;
      const held = { conversation, id: watch, owner: conversation.ownerNow };
      if (this.isDone) {
        end(held);
        return;
      }
      this.held = held;
      this.place = { version };
      this.placeLife = conversation.lifeNow;
      conversation.follow(watch, this.place);
      dropped.register(this, held, this);
    } catch (error) {
      // Who closes a connection ends its watches in order.
      if (conversation.isClosed) this.stop();
      else this.fail(error);
    }
  }

  private async fetch(held: Held): Promise<void> {
    const { conversation } = this.face;
    try {
      const { items, version, done } = (await conversation.ask("changes", [held.id])) as WireChanges;
      if (this.isDone) return;
      this.receive(items, version);
      // The owner gives its store up: the next one goes on.
      if (done) this.leave();
    } catch (error) {
      const isGone = error instanceof CairnError && (error.code === "SNAPSHOT_EXPIRED" || error.code === "CLOSED");
      if (isGone) this.leave();
      else this.fail(error);
    }
  }

  private receive(items: WireChanges["items"], version: number): void {
    const { partKeys, place } = this;
    this.items = partKeys.size === 0 ? items : this.unseen(items);
    this.at = 0;
    if (version >= this.partVersion) partKeys.clear();
    for (let at = items.length - ITEMS; at >= 0 && (items[at + 2] as number) > version; at -= ITEMS) {
      this.partVersion = items[at + 2] as number;
      partKeys.add(idOf(items[at] as WireBytes));
    }
    if (place !== undefined) place.version = Math.max(place.version, version);
  }

  private unseen(items: WireChanges["items"]): WireChanges["items"] {
    const unseen: WireChanges["items"] = [];
    for (let at = 0; at < items.length; at += ITEMS) {
      if (items[at + 2] === this.partVersion && this.partKeys.has(idOf(items[at] as WireBytes))) continue;
      unseen.push(items[at], items[at + 1], items[at + 2]);
    }
    return unseen;
  }

  /** The owner is gone, or serves it no more. */
  private leave(): void {
    this.held = undefined;
    dropped.unregister(this);
  }

  private fail(cause: unknown): void {
    if (this.isDone) return;
    this.failure = { cause };
    this.stop();
  }

  private stop(): void {
    const { held, version } = this;
    this.isDone = true;
    // What has come and was not given is not counted.
    if (version !== undefined) this.place = { version };
    this.items = [];
    this.at = 0;
    this.partKeys.clear();
    this.release();
    listening.unregister(this);
    this.leave();
    if (held !== undefined) end(held);
    this.wake?.();
  }
}

/** See `Connection.watch`. */
export function watchOver<K, V>(face: ConnectionFace, what: unknown, options: unknown): ConnectionWatch<K, V> {
  const { since, signal, durable, bufferBytes } = readWatchOptions(options);
  if (!durable) {
    const message = "watch: a connection shows what is durable, since another owner would not have the rest.";
    throw new CairnError("UNSUPPORTED", "watch", message);
  }
  let wire: WireWatch["what"];
  if (Array.isArray(what)) {
    wire = what.map((key) => face.key(key, "watch"));
  } else {
    const { gte, lt, reverse, limit } = face.range(what, "watch");
    if (reverse || limit !== undefined || (what as Range | undefined)?.snapshot !== undefined) {
      throw invalid("watch", "a range to watch has no reverse, no limit and no snapshot.");
    }
    wire = { gte, lt };
  }
  signal?.throwIfAborted();
  return new ConnectionWatch<K, V>(face, { what: wire, since, bufferBytes }, signal);
}

/** Calls `abort` when the signal says so, without holding the watch: how to take the listener away. */
function listen<W extends object>(
  watch: W,
  signal: AbortSignal | undefined,
  abort: (watch: W, reason: unknown) => void,
): () => void {
  if (signal === undefined) return () => undefined;
  const held = new WeakRef(watch);
  const onAbort = (): void => {
    const watch = held.deref();
    if (watch !== undefined) abort(watch, signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return () => signal.removeEventListener("abort", onAbort);
}

function end({ conversation, id, owner }: Held): void {
  if (conversation.ownerNow !== owner) return;
  conversation.unfollow(id);
  conversation.ask("unwatch", [id]).catch(() => undefined);
}

function idOf(key: WireBytes): string {
  return typeof key === "string" ? key : latin1(key);
}
