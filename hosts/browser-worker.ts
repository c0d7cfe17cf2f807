/**
 * The worker that a page starts: `restore` for what it writes, and `connect`, one in each tab, which stands for election.
 * Whoever gets the lock of a store's name holds the store and serves all tabs; the others wait, and one of them gets it
 * when the owner's worker has ended, however that came about.
 *
 * 1. The lock is requested first and held until the store is closed: there is at most one owner.
 * 2. The handle of an owner that was killed may outlive its lock by a moment, so a new owner waits for it.
 */

import { WIRE_CODEC, type WireCodec, type WireStore } from "../store/connection/faces.ts";
import { ConnectionService, type Post } from "../store/connection/service.ts";
import { type CallsMessage, toWireError, type WireClient } from "../store/connection/wire.ts";
import { CairnError } from "../store/error.ts";
import type { StoreEvent, StoreProgress } from "../store/options.ts";
import { browserRuntime } from "./browser-runtime.ts";
import { openOn } from "./opening.ts";
import {
  clientPlaceName,
  type FromWorker,
  placeName,
  type StartMessage,
  type ToAll,
  type ToWorker,
  workerPlaceName,
} from "./page-wire.ts";
import { restoreForPage } from "./restore-in-worker.ts";
import type { RestoreMessage } from "./restore-wire.ts";
import { restoreOn } from "./restoring.ts";

/** How long the handle of an owner that was killed is waited for. */
const PATIENCE_MS = 3000;

/** The part of a dedicated worker's scope that is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker | RestoreMessage>) => void) | null;
  postMessage(message: FromWorker, transfer: ArrayBuffer[]): void;
  close(): void;
}

const open = openOn(browserRuntime(PATIENCE_MS));
const scope = globalThis as unknown as WorkerScope;
const owner = crypto.randomUUID();
const election = new AbortController();
let start: StartMessage | undefined;
let hasJoined = false;
let closing = false;
let service: ConnectionService | undefined;
let endOwnership: (() => void) | undefined;

scope.onmessage = ({ data }) => {
  if (data.type === "calls") service?.handle((start as StartMessage).client.id, data);
  else if (data.type === "joined") hasJoined = true;
  else if (data.type === "start") void begin(data);
  else if (data.type === "restore") void restoreForPage(restoreOn(openOn(browserRuntime(0))), data);
  else void close();
};

async function begin(data: StartMessage): Promise<void> {
  start = data;
  const { name, client } = data;
  void navigator.locks.request(workerPlaceName(name, client.id, data.start), () => {
    scope.postMessage({ type: "alive" }, []);
    return new Promise(() => {});
  });
  if (name === ":memory:") {
    await own(data);
    return;
  }
  await navigator.locks.request(placeName(name), { signal: election.signal }, () => own(data)).catch(() => undefined);
}

/** Holds the store until it is closed. */
async function own(data: StartMessage): Promise<void> {
  const { name, client } = data;
  let store: WireStore;
  try {
    store = await open<WireCodec, WireCodec>(name, {
      ...data.options,
      // A store that was held already is never formatted over.
      ...(hasJoined ? { format: false } : {}),
      ...(data.wasm === undefined ? {} : { wasm: data.wasm }),
      keyEncoding: WIRE_CODEC,
      valueEncoding: WIRE_CODEC,
      onEvent: (event: StoreEvent) => service?.event(event),
      onProgress: (progress: StoreProgress) => {
        if (service !== undefined) service.progress(progress);
        else if (client.wantsProgress) scope.postMessage({ type: "opening", progress }, []);
      },
    });
  } catch (error) {
    scope.postMessage({ type: "failed", error: toWireError(error, "connect") }, []);
    return;
  }
  service = new ConnectionService(store, owner);
  service.join(client, (message, transfer) => scope.postMessage(message, transfer));
  const stop = name === ":memory:" ? () => undefined : serveOthers(service, name, client.id);
  await new Promise<void>((resolve) => {
    endOwnership = resolve;
    if (closing) resolve();
  });
  let failure: unknown;
  try {
    await service.close();
  } catch (error) {
    failure = error;
  }
  stop();
  const error = failure === undefined ? undefined : toWireError(failure, "close");
  scope.postMessage({ type: "closed", error }, []);
}

/** Serves the clients of other tabs until the result is called. */
function serveOthers(service: ConnectionService, name: string, ownId: string): () => void {
  const all = new BroadcastChannel(placeName(name));
  const channels = new Map<string, BroadcastChannel>();
  const watching = new AbortController();
  const drop = (id: string): void => {
    service.leave(id);
    channels.get(id)?.close();
    channels.delete(id);
  };
  const welcome = (client: WireClient): void => {
    let channel = channels.get(client.id);
    if (channel === undefined) {
      const opened = new BroadcastChannel(clientPlaceName(name, client.id));
      channel = opened;
      channels.set(client.id, opened);
      opened.onmessage = ({ data }: MessageEvent<CallsMessage>) => service.handle(client.id, data);
      // The client holds this lock while it lives.
      navigator.locks
        .request(clientPlaceName(name, client.id), { signal: watching.signal }, () => drop(client.id))
        .catch(() => undefined);
    }
    const to = channel;
    const post: Post = (message) => to.postMessage(message);
    service.join(client, post);
  };
  all.onmessage = ({ data }: MessageEvent<ToAll>) => {
    if (data.type === "hello" && data.client.id !== ownId) welcome(data.client);
    else if (data.type === "bye") drop(data.id);
  };
  all.postMessage({ type: "elected" } satisfies ToAll);
  return () => {
    watching.abort();
    all.close();
    for (const channel of channels.values()) channel.close();
  };
}

async function close(): Promise<void> {
  closing = true;
  if (endOwnership !== undefined) {
    endOwnership();
    return;
  }
  election.abort(new CairnError("CLOSED", "connect", "connect: the connection was closed."));
  scope.postMessage({ type: "closed", error: undefined }, []);
}
