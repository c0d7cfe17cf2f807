/** The owner's side of connections: does the calls of every client on the one store, and sends back what they came to. */

import { deleteOperation, setOperation } from "../store/batch.ts";
import type { CompactOptions } from "../store/compaction.ts";
import type { Codec } from "../store/encoding.ts";
import type { DeleteOptions, WriteOptions } from "../store/entry.ts";
import { CairnError } from "../store/error.ts";
import type { StoreEvent } from "../store/options.ts";
import type { Store } from "../store/store.ts";
import type { VerifyProgress } from "../store/verify.ts";
import {
  type AnswersMessage,
  ARGUMENT_COUNTS,
  type CallsMessage,
  type EventMessage,
  type ToClient,
  toWireError,
  type WireBlock,
  type WireBytes,
  type WireCall,
  type WireClient,
  type WireOperation,
  type WireRange,
} from "./connection-wire.ts";

/** What a store over the wire holds: keys and values in encoded form. */
export type WireStore = Store<WireBytes, WireBytes>;
/** Sends a message to a client, and hands buffers over where the way to it can do that. */
export type Post = (message: ToClient, transfer: ArrayBuffer[]) => void;
type Walk = Iterator<WireBytes | [WireBytes, WireBytes]>;

/** Bytes of keys and values after which a block ends. */
const BLOCK_BYTES_MAX = 1024 * 1024;
/** A buffer of at least this size is handed over, not copied. */
const TRANSFER_SIZE_MIN = 4096;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What passes keys and values on as they came. */
export type WireCodec = Codec<WireBytes>;

/** Encodings for a store whose clients say, each for itself, whether they want text or bytes back. */
export class WireFormats {
  keysAreText = true;
  valuesAreText = true;
  readonly keys: WireCodec = wireCodec(() => this.keysAreText);
  readonly values: WireCodec = wireCodec(() => this.valuesAreText);
}

function wireCodec(isText: () => boolean): WireCodec {
  return {
    name: "wire",
    encode: (value) => value,
    // A small result is a view on a slab, which would be cloned as a whole.
    decode: (bytes) =>
      isText() ? decoder.decode(bytes) : bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice(),
  };
}

class ServedClient {
  readonly walks = new Map<number, Walk>();
  readonly wire: WireClient;
  readonly post: Post;
  lastId = 0;
  /** Answers that came later, and go out together. */
  later: AnswersMessage | undefined;

  constructor(wire: WireClient, post: Post) {
    this.wire = wire;
    this.post = post;
  }
}

/** Serves one store to its clients. */
export class ConnectionService {
  private readonly store: WireStore;
  private readonly formats: WireFormats;
  private readonly owner: string;
  private readonly clients = new Map<string, ServedClient>();
  private walkNext = 1;
  private closing = false;

  constructor(store: WireStore, formats: WireFormats, owner: string) {
    this.store = store;
    this.formats = formats;
    this.owner = owner;
  }

  /** Takes a client on, and tells it so. One that is known already is told again. */
  join(wire: WireClient, post: Post): void {
    if (this.closing) return;
    let client = this.clients.get(wire.id);
    if (client === undefined) {
      client = new ServedClient(wire, post);
      this.clients.set(wire.id, client);
    }
    client.post({ type: "owner", owner: this.owner, recoveredVersion: this.store.recoveredVersion }, []);
  }

  /** Lets a client go, with its walks. */
  leave(id: string): void {
    const client = this.clients.get(id);
    if (client === undefined) return;
    this.clients.delete(id);
    for (const walk of client.walks.values()) walk.return?.();
  }

  /** Does the calls of a message, in their order. */
  handle(id: string, message: CallsMessage): void {
    const client = this.clients.get(id);
    if (client === undefined || this.closing || message.owner !== this.owner) return;
    const { store, formats } = this;
    formats.keysAreText = client.wire.keysAreText;
    formats.valuesAreText = client.wire.valuesAreText;
    const answers = this.newAnswers();
    const transfer: ArrayBuffer[] = [];
    const { calls } = message;
    let version = store.version;
    let callId = message.id;
    for (let at = 0; at < calls.length; callId++) {
      const call = calls[at] as WireCall;
      let value: unknown;
      try {
        value = this.run(client, call, callId, calls, at + 1, transfer);
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
    }
  }

  /** Does no further calls, answers those that wait, and closes the store. */
  async close(): Promise<void> {
    this.closing = true;
    for (const client of this.clients.values()) {
      client.post({ type: "closing", owner: this.owner, lastId: client.lastId }, []);
    }
    await this.store.close();
    // Answers of the last group go out in the turn after it.
    await new Promise((resolve) => setTimeout(resolve));
  }

  private run(
    client: ServedClient,
    call: WireCall,
    id: number,
    args: unknown[],
    at: number,
    transfer: ArrayBuffer[],
  ): unknown {
    const { store } = this;
    const first = args[at] as WireBytes;
    switch (call) {
      case "get":
        return handOver(store.get(first), transfer);
      case "getEntry": {
        const entry = store.getEntry(first);
        handOver(entry?.value, transfer);
        return entry;
      }
      case "has":
        return store.has(first);
      case "getMany":
        return store.getMany(args[at] as WireBytes[]);
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
        for (const [key, value, options] of args[at] as WireOperation[]) {
          if (value === undefined) batch.delete(key, options);
          else batch.set(key, value, options);
        }
        return batch.commit();
      }
      case "batchDurable":
        return store.batch(
          (args[at] as WireOperation[]).map(([key, value, options]) =>
            value === undefined
              ? deleteOperation<WireBytes, WireBytes>(key, options)
              : setOperation<WireBytes, WireBytes>(key, value, options),
          ),
        );
      case "count":
        return store.count(args[at] as WireRange as object);
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
      case "walk": {
        const range = args[at + 1] as WireRange as object;
        const walk = store[args[at] as "entries" | "keys" | "values"](range) as Walk;
        const walkId = this.walkNext++;
        client.walks.set(walkId, walk);
        return this.block(client, walkId, walk, args[at + 2] as number);
      }
      case "next":
        return this.next(client, args[at] as number, args[at + 1] as number, args[at + 2] as WireBytes | undefined);
      case "end":
        client.walks.get(args[at] as number)?.return?.();
        client.walks.delete(args[at] as number);
        return undefined;
    }
  }

  private tell(client: ServedClient, id: number, progress: VerifyProgress): void {
    if (this.clients.has(client.wire.id)) client.post({ type: "progress", owner: this.owner, id, progress }, []);
  }

  private next(client: ServedClient, id: number, count: number, seek: WireBytes | undefined): WireBlock {
    const walk = client.walks.get(id) as (Walk & { seek(key: WireBytes): void }) | undefined;
    if (walk === undefined)
      throw new CairnError("SNAPSHOT_EXPIRED", "next", "next: the walk has ended. Begin it again.");
    if (seek !== undefined) walk.seek(seek);
    return this.block(client, id, walk, count);
  }

  /** The next entries of a walk; less than `count` when it ends, or when they are large. */
  private block(client: ServedClient, id: number, walk: Walk, count: number): WireBlock {
    const items: WireBytes[] = [];
    let bytes = 0;
    for (let taken = 0; taken < count && bytes < BLOCK_BYTES_MAX; taken++) {
      const step = walk.next();
      if (step.done) {
        client.walks.delete(id);
        return { walk: id, items, done: true };
      }
      const { value } = step;
      if (typeof value === "string" || value instanceof Uint8Array) {
        items.push(value);
        bytes += value.length;
      } else {
        items.push(value[0], value[1]);
        bytes += value[0].length + value[1].length;
      }
    }
    return { walk: id, items, done: false };
  }

  private answerLater(client: ServedClient, id: number, call: WireCall, promise: Promise<unknown>): void {
    promise.then(
      (value) => {
        const later = this.laterAnswers(client);
        later.ids.push(id);
        later.values.push(value);
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
        this.send(client, later, []);
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
