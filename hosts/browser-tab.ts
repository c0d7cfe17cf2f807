/**
 * A tab's part in sharing a store: its worker, which stands for election, and the way to the owner, which is that worker
 * or one of another tab.
 *
 * 1. The worker of this tab is reached directly, that of another by a channel of their own; who owns the store is heard
 *    on a channel of all tabs. `hello` is said again until somebody answers: the first may come too early for a channel.
 * 2. Whether a worker or a tab lives is known by a lock that it holds.
 */

import { Conversation } from "../store/connection/conversation.ts";
import { fromWireError, type ToClient, type WireClient, type WireError } from "../store/connection/wire.ts";
import { CairnError } from "../store/error.ts";
import type { StoreEvent, StoreProgress } from "../store/options.ts";
import {
  clientPlaceName,
  type FromWorker,
  placeName,
  type ToAll,
  type ToWorker,
  workerPlaceName,
} from "./page-wire.ts";
import { reasonOfWorker, startPageWorker } from "./page-worker.ts";

/** After so long without an answer an owner is looked for again. */
const HELLO_MS = 250;
/** Workers in a row that may end before one of them has reached a store. */
const START_COUNT_MAX = 5;

/** What a tab needs to know of its connection. */
export interface TabOptions {
  name: string;
  client: WireClient;
  /** Options of `open` that can be cloned. */
  options: object;
  wasm: WebAssembly.Module | undefined;
  onEvent: ((event: StoreEvent) => void) | undefined;
  onProgress: ((progress: StoreProgress) => void) | undefined;
}

/** A tab that takes part. */
export class Tab {
  readonly conversation = new Conversation();
  private readonly options: TabOptions;
  private readonly all: BroadcastChannel | undefined;
  private readonly own: BroadcastChannel | undefined;
  private worker: Worker | undefined;
  /** Whether the owner is this tab's worker. */
  private ownsStore = false;
  private startCount = 0;
  private startsSinceJoined = 0;
  private watching = new AbortController();
  /** Set while the lock is held that says that this tab lives. */
  private endPresence: (() => void) | undefined;
  private hasJoined = false;
  private helloTimer: ReturnType<typeof setTimeout> | undefined;
  private joined!: () => void;
  private failed!: (error: CairnError) => void;
  private closed: ((error: WireError | undefined) => void) | undefined;
  private closing: Promise<void> | undefined;
  private isOver = false;
  /** Resolves when the store is reached for the first time. */
  readonly ready: Promise<void>;

  constructor(options: TabOptions) {
    this.options = options;
    const { name, client } = options;
    this.ready = new Promise((resolve, reject) => {
      this.joined = resolve;
      this.failed = reject;
    });
    if (name !== ":memory:") {
      this.all = new BroadcastChannel(placeName(name));
      this.own = new BroadcastChannel(clientPlaceName(name, client.id));
      this.all.onmessage = ({ data }: MessageEvent<ToAll>) => {
        if (data.type === "elected") this.hello();
      };
      const { own } = this;
      own.onmessage = ({ data }: MessageEvent<ToClient>) =>
        this.hear(data, (message) => own.postMessage(message), false);
      void navigator.locks.request(clientPlaceName(name, client.id), () => {
        if (this.isOver) return undefined;
        const presence = new Promise<void>((resolve) => {
          this.endPresence = resolve;
        });
        this.hello();
        return presence;
      });
    }
    this.startWorker();
  }

  /** Whether the store is held by the worker of this tab. */
  get isOwner(): boolean {
    return this.ownsStore;
  }

  /** Ends this tab's worker at once, and starts another. */
  killWorker(): void {
    if (this.isOver) return;
    // What the program ends is no sign that something is in the way.
    this.startsSinceJoined = 0;
    this.workerEnded();
  }

  /** Gives the store up in order: what was asked is answered, and what was written is durable. */
  close(reason: CairnError): Promise<void> {
    this.closing ??= this.leave(reason);
    return this.closing;
  }

  private async leave(reason: CairnError): Promise<void> {
    const { conversation } = this;
    if (this.isOver) return;
    // The owner's store flushes when it is closed.
    const flushed = this.ownsStore ? undefined : conversation.ask("flush", []);
    conversation.refuse(reason);
    try {
      await flushed;
      if (this.isOver || this.worker === undefined) return;
      const failure = await new Promise<WireError | undefined>((resolve) => {
        this.closed = resolve;
        this.tell({ type: "close" });
      });
      if (failure !== undefined) throw fromWireError(failure);
    } finally {
      this.end(reason);
    }
  }

  private startWorker(): void {
    this.watching.abort();
    this.watching = new AbortController();
    if (++this.startsSinceJoined > START_COUNT_MAX) {
      const message = `connect: ${START_COUNT_MAX} workers ended before one of them held the store. Reload the page.`;
      this.fail(new CairnError("UNSUPPORTED", "connect", message));
      return;
    }
    const start = ++this.startCount;
    const { name, client, options, wasm } = this.options;
    const worker = startPageWorker();
    this.worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (this.worker !== worker) return;
      if (data.type === "alive") this.watch(workerPlaceName(name, client.id, start));
      else if (data.type === "opening") this.reportProgress(data.progress);
      else if (data.type === "failed") this.fail(fromWireError(data.error));
      else if (data.type === "closed") this.closed?.(data.error);
      else this.hear(data, (message, transfer) => worker.postMessage(message, transfer), true);
    };
    worker.onerror = (event) => {
      if (this.worker !== worker) return;
      event.preventDefault?.();
      const message = `connect: the worker could not be run: ${reasonOfWorker(event)}.`;
      this.fail(new CairnError("UNSUPPORTED", "connect", message));
    };
    this.tell({ type: "start", name, client, options, wasm, start });
    if (this.hasJoined) this.tell({ type: "joined" });
  }

  private tell(message: ToWorker): void {
    this.worker?.postMessage(message);
  }

  /** Starts another worker when this one has ended, whatever ended it. */
  private watch(lock: string): void {
    const { worker } = this;
    const { signal } = this.watching;
    navigator.locks
      .request(lock, { signal }, () => {
        if (this.worker === worker && !this.isOver) this.workerEnded();
      })
      .catch(() => undefined);
  }

  private workerEnded(): void {
    this.worker?.terminate();
    this.worker = undefined;
    // Nobody answers any more what waits for the end of it.
    this.closed?.(undefined);
    if (this.ownsStore) {
      this.ownsStore = false;
      this.conversation.lose();
    }
    if (this.options.name === ":memory:") {
      const message = "connect: the worker ended, and the store with it, which was in memory alone.";
      this.fail(new CairnError("CLOSED", "connect", message));
      return;
    }
    this.startWorker();
    this.hello();
  }

  /** Looks for an owner in other tabs. */
  private hello(): void {
    clearTimeout(this.helloTimer);
    if (this.isOver || this.all === undefined || this.endPresence === undefined) return;
    this.all.postMessage({ type: "hello", client: this.options.client } satisfies ToAll);
    this.helloTimer = setTimeout(() => {
      if (!this.conversation.isAttached) this.hello();
    }, HELLO_MS);
  }

  private hear(
    message: ToClient,
    send: (message: Extract<ToWorker, { type: "calls" }>, transfer: ArrayBuffer[]) => void,
    isOwn: boolean,
  ): void {
    const { conversation } = this;
    if (this.isOver) return;
    if (message.type === "owner") {
      // Who asked has an owner that lives: nothing is in the way.
      this.startsSinceJoined = 0;
      if (message.owner === conversation.ownerNow) return;
      this.ownsStore = isOwn;
      this.hasJoined = true;
      conversation.attach(message, send);
      if (!isOwn) this.tell({ type: "joined" });
      this.joined();
    } else if (message.owner !== conversation.ownerNow) {
      // An owner that was given up.
    } else if (message.type === "answers") {
      conversation.answer(message);
    } else if (message.type === "progress") {
      conversation.progress(message);
    } else if (message.type === "storeProgress") {
      this.reportProgress(message.progress);
    } else if (message.type === "durable") {
      conversation.durable(message.durableVersion);
    } else if (message.type === "watched") {
      conversation.advance(message.watches);
    } else if (message.type === "closing") {
      conversation.leave(message.lastId);
    } else {
      this.report(message.event);
    }
  }

  private report(event: Extract<ToClient, { type: "event" }>["event"]): void {
    try {
      this.options.onEvent?.(
        event.type === "poisoned" ? { type: "poisoned", error: fromWireError(event.error) } : event,
      );
    } catch {
      // A listener's failure is not the store's.
    }
  }

  private reportProgress(progress: StoreProgress): void {
    try {
      this.options.onProgress?.(progress);
    } catch {
      // A listener's failure is not the store's.
    }
  }

  private fail(error: CairnError): void {
    this.failed(error);
    this.end(error);
  }

  private end(error: CairnError): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.helloTimer);
    this.conversation.end(error);
    this.watching.abort();
    this.worker?.terminate();
    this.worker = undefined;
    this.closed?.(undefined);
    this.all?.postMessage({ type: "bye", id: this.options.client.id } satisfies ToAll);
    this.all?.close();
    this.own?.close();
    this.endPresence?.();
  }
}
