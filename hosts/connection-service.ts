/** The owner's side of connections: does the calls of every client on the one store, and sends back what they came to. */

import { type BatchOperation, deleteOperation, type SubOperation, setOperation } from "../store/batch.ts";
import type { CompactOptions } from "../store/compaction.ts";
import type { DeleteOptions, WriteOptions } from "../store/entry.ts";
import type { StoreEvent, StoreProgress } from "../store/options.ts";
import type { VerifyProgress } from "../store/verify.ts";
import { ClientViews, type WireStore, WireStores } from "./connection-faces.ts";
import {
  type AnswersMessage,
  ARGUMENT_COUNTS,
  type CallsMessage,
  type EventMessage,
  type ToClient,
  toWireError,
  USE,
  type WireBytes,
  type WireCall,
  type WireClient,
  type WireFace,
  type WireOperation,
  type WireRange,
  type WireWatch,
  type WireWatching,
} from "./connection-wire.ts";
import { ServedBackups } from "./served-backups.ts";
import { ServedWalks, shownValue, type WalkKind } from "./served-walks.ts";
import { ServedWatch } from "./served-watch.ts";

/** Sends a message to a client, and hands buffers over where the way to it can do that. */
export type Post = (message: ToClient, transfer: ArrayBuffer[]) => void;
/** A buffer of at least this size is handed over, not copied. */
const TRANSFER_SIZE_MIN = 4096;

class ServedClient {
  readonly walks = new ServedWalks();
  readonly watches = new Map<number, ServedWatch>();
  readonly views: ClientViews;
  readonly backups: ServedBackups;
  /** What its calls are done on where nothing else is said. */
  readonly plain: WireFace;
  readonly wire: WireClient;
  readonly post: Post;
  lastId = 0;
  /** Answers that came later, and go out together. */
  later: AnswersMessage | undefined;
  laterTransfer: ArrayBuffer[] = [];

  constructor(wire: WireClient, post: Post, views: ClientViews, owner: string) {
    this.wire = wire;
    this.post = post;
    this.views = views;
    this.backups = new ServedBackups(owner);
    this.plain = { path: [], keysAreText: wire.keysAreText, valuesAreText: wire.valuesAreText };
  }
}

/** Serves one store to its clients. */
export class ConnectionService {
  private readonly store: WireStore;
  private readonly stores: WireStores;
  private readonly owner: string;
  private readonly clients = new Map<string, ServedClient>();
  private watchNext = 1;
  private closing = false;

  constructor(store: WireStore, owner: string) {
    this.store = store;
    this.stores = new WireStores(store);
    this.owner = owner;
  }

  /** Takes a client on, and tells it so. One that is known already is told again. */
  join(wire: WireClient, post: Post): void {
    if (this.closing) return;
    let client = this.clients.get(wire.id);
    if (client === undefined) {
      client = new ServedClient(wire, post, new ClientViews(this.stores, this.owner), this.owner);
      this.clients.set(wire.id, client);
    }
    client.post({ type: "owner", owner: this.owner, recoveredVersion: this.store.recoveredVersion }, []);
  }

  /** Lets a client go, with all that it has begun and not ended. */
  leave(id: string): void {
    const client = this.clients.get(id);
    if (client === undefined) return;
    this.clients.delete(id);
    client.walks.endAll();
    for (const watch of client.watches.values()) watch.stop();
    client.views.end();
    client.backups.endAll();
  }

  /** Does the calls of a message, in their order. */
  handle(id: string, message: CallsMessage): void {
    const client = this.clients.get(id);
    if (client === undefined || this.closing || message.owner !== this.owner) return;
    const { store } = this;
    let face = client.plain;
    const answers = this.newAnswers();
    const transfer: ArrayBuffer[] = [];
    const { calls } = message;
    let version = store.version;
    let callId = message.id;
    for (let at = 0; at < calls.length; ) {
      if (calls[at] === USE) {
        face = (calls[at + 1] as WireFace | undefined) ?? client.plain;
        at += 2;
        continue;
      }
      const call = calls[at] as WireCall;
      let value: unknown;
      try {
        value = this.run(client, face, call, callId, calls, at + 1, transfer);
        if (value instanceof Promise) {
          this.answerLater(client, callId, call, value);
        } else {
          answers.ids.push(callId);
          answers.values.push(value);
          const now = store.version;
          if (now !== version) {
            answers.versions ??= [];
            answers.versions[answers.ids.length - 1] = now;
          }
        }
      } catch (error) {
        answers.failures.push([callId, toWireError(error, call)]);
      }
      version = store.version;
      at += 1 + ARGUMENT_COUNTS[call];
      callId++;
    }
    client.lastId = callId;
    if (answers.ids.length > 0 || answers.failures.length > 0) this.send(client, answers, transfer);
  }

  /** Passes an event on. What is durable now, clients need not remember any more. */
  event(event: StoreEvent): void {
    const wire: EventMessage["event"] =
      event.type === "poisoned" ? { type: "poisoned", error: toWireError(event.error, "flush") } : event;
    for (const client of this.clients.values()) {
      if (client.wire.wantsEvents) client.post({ type: "event", owner: this.owner, event: wire }, []);
      if (event.type !== "flushed") continue;
      client.post({ type: "durable", owner: this.owner, durableVersion: this.store.durableVersion }, []);
      if (client.watches.size > 0) this.tellPlaces(client);
    }
  }

  /** Passes on how far something is. */
  progress(progress: StoreProgress): void {
    for (const client of this.clients.values()) {
      if (client.wire.wantsProgress) client.post({ type: "storeProgress", owner: this.owner, progress }, []);
    }
  }

  /** Does no further calls, answers those that wait, and closes the store. */
  async close(): Promise<void> {
    this.closing = true;
    for (const client of this.clients.values()) {
      client.post({ type: "closing", owner: this.owner, lastId: client.lastId }, []);
      client.views.end();
    }
    await this.store.close();
    // Answers of the last group go out in the turn after it.
    await new Promise((resolve) => setTimeout(resolve));
  }

  private run(
    client: ServedClient,
    face: WireFace,
    call: WireCall,
    id: number,
    args: unknown[],
    at: number,
    transfer: ArrayBuffer[],
  ): unknown {
    const first = args[at] as WireBytes;
    const { views, walks, backups } = client;
    switch (call) {
      case "next":
        return walks.next(face, args[at] as number, args[at + 1] as number, args[at + 2] as WireBytes | undefined);
      case "end":
        return walks.end(args[at] as number);
      case "watch":
        return this.watch(client, face, args[at] as WireWatch);
      case "changes": {
        const watch = client.watches.get(args[at] as number);
        return watch === undefined ? { items: [], version: 0, done: true } : watch.take();
      }
      case "unwatch":
        client.watches.get(args[at] as number)?.stop();
        client.watches.delete(args[at] as number);
        return undefined;
      case "snapshot":
        return views.snapshot();
      case "release":
        return views.release(args[at] as number);
      case "begin":
        return views.begin();
      case "commit":
        return views.commit(face.view);
      case "rollback":
        return views.rollback(face.view);
      case "backup":
        return backups.begin(this.store, args[at] as number | undefined);
      case "backupPart":
        return backups.part(args[at] as number);
      case "backupEnd":
        return backups.end(args[at] as number);
    }
    const target = views.target(face);
    switch (call) {
      case "get":
        return handOver(shownValue(target.get(first), face), transfer);
      case "getEntry": {
        const entry = target.getEntry(first);
        return entry && { ...entry, value: handOver(shownValue(entry.value, face), transfer) };
      }
      case "has":
        return target.has(first);
      case "getMany":
        return target.getMany(args[at] as WireBytes[]).then((found) => found.map((value) => shownValue(value, face)));
      case "count":
        return target.count(args[at] as WireRange as object);
      case "walk":
        return walks.begin(target, face, args[at] as WalkKind, args[at + 1] as WireRange, args[at + 2] as number);
    }
    // Pages send nothing of this through snapshots.
    return this.write(target as WireStore, call, id, args, at, client);
  }

  /** What changes a store, or is about all of it. Of a transaction, the part that it has. */
  private write(
    store: WireStore,
    call: WireCall,
    id: number,
    args: unknown[],
    at: number,
    client: ServedClient,
  ): unknown {
    const first = args[at] as WireBytes;
    switch (call) {
      case "set":
        return store.set(first, args[at + 1] as WireBytes, args[at + 2] as WriteOptions | undefined);
      case "put":
        return store.put(first, args[at + 1] as WireBytes, args[at + 2] as WriteOptions | undefined);
      case "delete":
        return store.delete(first, args[at + 1] as DeleteOptions | undefined);
      case "del":
        return store.del(first, args[at + 1] as DeleteOptions | undefined);
      case "append":
        return store.append(first, args[at + 1] as WireBytes);
      case "patch":
        return store.patch(first, args[at + 1] as number, args[at + 2] as WireBytes);
      case "increment":
        return store.increment(first, args[at + 1] as bigint);
      case "batch": {
        const batch = store.batch();
        for (const [key, value, options, path] of args[at] as WireOperation[]) {
          const part = path === undefined ? batch : batch.in(this.stores.at(path));
          if (value === undefined) part.delete(key, options);
          else part.set(key, value, options);
        }
        return batch.commit();
      }
      case "batchDurable":
        return store.batch((args[at] as WireOperation[]).map((operation) => this.operation(operation)));
      case "clear": {
        const { gte, lt } = args[at] as WireRange;
        return gte === undefined && lt === undefined ? store.clear() : store.clear({ gte, lt } as object);
      }
      case "flush":
        return store.flush();
      case "stats":
        return store.stats();
      case "compact":
        return store.compact(args[at] as CompactOptions);
      case "verify":
        return store.verify(args[at] === true ? { onProgress: (progress) => this.tell(client, id, progress) } : {});
    }
    return undefined;
  }

  private operation([key, value, options, path]: WireOperation): BatchOperation<WireBytes, WireBytes> | SubOperation {
    const operation =
      value === undefined
        ? deleteOperation<WireBytes, WireBytes>(key, options)
        : setOperation<WireBytes, WireBytes>(key, value, options);
    return path === undefined ? operation : { ...operation, sub: this.stores.at(path) };
  }

  private watch(client: ServedClient, { path }: WireFace, terms: WireWatch): WireWatching {
    const { what, since, owner, bufferBytes } = terms;
    // What another owner lost nobody saw: of what came back there is nothing to leave out.
    const isFromAnother = since !== undefined && owner !== undefined && owner !== this.owner;
    const start = isFromAnother ? Math.min(since as number, this.store.recoveredVersion) : since;
    const watch = this.stores.at(path).watch(what as WireBytes[], { since: start, bufferBytes });
    const id = this.watchNext++;
    client.watches.set(id, new ServedWatch(watch));
    return { watch: id, version: watch.version };
  }

  /** Tells a client how far its watches are that have nothing to give. Those that were woken have looked by then. */
  private tellPlaces(client: ServedClient): void {
    setTimeout(() => {
      if (!this.clients.has(client.wire.id)) return;
      const watches: [number, number][] = [];
      for (const [id, watch] of client.watches) if (watch.isIdle) watches.push([id, watch.version]);
      if (watches.length > 0) client.post({ type: "watched", owner: this.owner, watches }, []);
    });
  }

  private tell(client: ServedClient, id: number, progress: VerifyProgress): void {
    if (this.clients.has(client.wire.id)) client.post({ type: "progress", owner: this.owner, id, progress }, []);
  }

  private answerLater(client: ServedClient, id: number, call: WireCall, promise: Promise<unknown>): void {
    promise.then(
      (value) => {
        const later = this.laterAnswers(client);
        later.ids.push(id);
        later.values.push(value);
        if (value instanceof Uint8Array) handOver(value, client.laterTransfer);
      },
      (error) => this.laterAnswers(client).failures.push([id, toWireError(error, call)]),
    );
  }

  /** Promises of a group settle in one turn: their answers share a message. */
  private laterAnswers(client: ServedClient): AnswersMessage {
    if (client.later !== undefined) return client.later;
    const later = this.newAnswers();
    client.later = later;
    queueMicrotask(() =>
      queueMicrotask(() => {
        client.later = undefined;
        this.send(client, later, client.laterTransfer.splice(0));
      }),
    );
    return later;
  }

  private newAnswers(): AnswersMessage {
    return { type: "answers", owner: this.owner, ids: [], values: [], failures: [], durableVersion: 0 };
  }

  private send(client: ServedClient, answers: AnswersMessage, transfer: ArrayBuffer[]): void {
    if (!this.clients.has(client.wire.id)) return;
    answers.durableVersion = this.store.durableVersion;
    client.post(answers, transfer);
  }
}

/** Large bytes are ours alone, and go without a copy. */
function handOver(value: WireBytes | undefined, transfer: ArrayBuffer[]): WireBytes | undefined {
  if (value instanceof Uint8Array && value.length >= TRANSFER_SIZE_MIN) transfer.push(value.buffer as ArrayBuffer);
  return value;
}
