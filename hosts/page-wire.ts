/** What pages and workers say to each other beside calls and answers, and the names of their locks and channels. */
import type { CallsMessage, ToClient, WireClient, WireError } from "../store/connection/wire.ts";
import type { StoreProgress } from "../store/options.ts";

/** On the channel that all tabs of a store hear: who looks for an owner, and who leaves. */
export type ToAll = { type: "hello"; client: WireClient } | { type: "bye"; id: string } | { type: "elected" };

/** From a page to its own worker: the first message. */
export interface StartMessage {
  type: "start";
  name: string;
  client: WireClient;
  options: object;
  wasm: WebAssembly.Module | undefined;
  /** How many workers the tab has started for this connection. */
  start: number;
}

/** From a page to its own worker. */
export type ToWorker = CallsMessage | StartMessage | { type: "joined" } | { type: "close" };

/** From a worker to its own page, beside what an owner says. */
export type FromWorker =
  | ToClient
  | { type: "alive" }
  | { type: "opening"; progress: StoreProgress }
  | { type: "failed"; error: WireError }
  | { type: "closed"; error: WireError | undefined };

/** The lock that the owner of a store holds, and the channel that all its tabs hear. */
export function placeName(name: string): string {
  return `cairn-kv:${name}`;
}

/** The lock that a client holds while it lives, and the channel between it and the owner. */
export function clientPlaceName(name: string, client: string): string {
  return `${placeName(name)}:client:${client}`;
}

/** The lock that a tab's worker holds while it lives. */
export function workerPlaceName(name: string, client: string, start: number): string {
  return `${placeName(name)}:worker:${client}:${start}`;
}
