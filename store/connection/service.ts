/** The owner's side of connections: does the calls of every client on the one store, and sends back what they came to. */

import type { StoreEvent, StoreProgress } from "../options.ts";
import { afterGroup } from "../turn.ts";
import type { VerifyProgress } from "../verify.ts";
import { type WireStore, WireStores } from "./faces.ts";
import { handOver, ServedCalls } from "./served-calls.ts";
import {
  type AnswersMessage,
  ARGUMENT_COUNTS,
  type CallsMessage,
  type EventMessage,
  type ToClient,
  toWireError,
  USE,
  type WireCall,
  type WireClient,
  type WireFace,
} from "./wire.ts";

/** Sends a message to a client, and hands buffers over where the way to it can do that. */
export type Post = (message: ToClient, transfer: ArrayBuffer[]) => void;
class ServedClient {
  readonly served: ServedCalls;
  /** What its calls are done on where nothing else is said. */
  readonly plain: WireFace;
  readonly wire: WireClient;
  readonly post: Post;
  lastId = 0;
  /** Answers that came later, and go out together. */
  later: AnswersMessage | undefined;
  laterTransfer: ArrayBuffer[] = [];

  constructor(wire: WireClient, post: Post, served: ServedCalls) {
    this.wire = wire;
    this.post = post;
    this.served = served;
    this.plain = { path: [], keysAreText: wire.keysAreText, valuesAreText: wire.valuesAreText };
  }
}

/** Serves one store to its clients. */
export class ConnectionService {
  private readonly store: WireStore;
  private readonly stores: WireStores;
  private readonly owner: string;
  private readonly clients = new Map<string, ServedClient>();
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
      client = new ServedClient(wire, post, new ServedCalls(this.stores, this.owner));
      this.clients.set(wire.id, client);
    }
    client.post({ type: "owner", owner: this.owner, recoveredVersion: this.store.recoveredVersion }, []);
  }

  /** Lets a client go, with all that it has begun and not ended. */
  leave(id: string): void {
    const client = this.clients.get(id);
    if (client === undefined) return;
    this.clients.delete(id);
    client.served.end();
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
        const id = callId;
        const onProgress = (progress: VerifyProgress): void => this.tell(client, id, progress);
        value = client.served.run(face, call, calls, at + 1, { transfer, onProgress });
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
      if (client.served.watchCount > 0) this.tellPlaces(client);
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
      client.served.views.end();
    }
    await this.store.close();
    // Answers of the last group go out in the turn after it.
    await new Promise((resolve) => setTimeout(resolve));
  }

  /** Tells a client how far its watches are that have nothing to give. Those that were woken have looked by then. */
  private tellPlaces(client: ServedClient): void {
    setTimeout(() => {
      if (!this.clients.has(client.wire.id)) return;
      const watches = client.served.places();
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
    afterGroup(() => {
      client.later = undefined;
      this.send(client, later, client.laterTransfer.splice(0));
    });
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
