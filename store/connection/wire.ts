/**
 * What clients and whoever holds their store say to each other, a page and a worker or a program and a server. All of it can be
 * cloned; `frames.ts` makes bytes of it.
 *
 * Calls of one turn travel in one message, flat: `call, arguments…, call, arguments…`, with as many arguments as
 * `ARGUMENT_COUNTS` says; `USE` between them says what the calls behind it are done on. Their ids count up from the message's `id`. Keys and values travel encoded: as strings, or as
 * bytes; the page encodes and decodes.
 */
import type { Format } from "../encoding.ts";
import type { WriteOptions } from "../entry.ts";
import { CairnError, type CairnErrorCode } from "../error.ts";
import type { StoreEvent, StoreProgress } from "../options.ts";
import type { VerifyProgress } from "../verify.ts";

/** Calls, with the count of their arguments. */
export const ARGUMENT_COUNTS = {
  /** key */
  get: 1,
  getEntry: 1,
  has: 1,
  /** key, options */
  delete: 2,
  del: 2,
  /** keys */
  getMany: 1,
  /** key, value, options */
  set: 3,
  put: 3,
  /** key, bytes */
  append: 2,
  /** key, offset, bytes */
  patch: 3,
  /** key, by */
  increment: 2,
  /** operations */
  batch: 1,
  batchDurable: 1,
  /** range */
  count: 1,
  clear: 1,
  flush: 0,
  stats: 0,
  /** options */
  compact: 1,
  /** whether to tell how far it is, in `ProgressMessage`s */
  verify: 1,
  /** "entries", "keys" or "values"; range; count. Answers `WireBlock`. */
  walk: 3,
  /** walk, count, key to seek or `undefined`. Answers `WireBlock`. */
  next: 3,
  /** walk */
  end: 1,
  /** Answers `view`, `owner` and `version` of a snapshot. */
  snapshot: 0,
  /** view */
  release: 1,
  /** Answers `WireView` of a transaction. */
  begin: 0,
  /** Of the transaction that its face names. Answers whether it was done, on stable storage; else it met a conflict. */
  commit: 0,
  rollback: 0,
  /** `WireWatch`. Answers `WireWatching`. */
  watch: 1,
  /** watch. Answers `WireChanges`, when there are any. */
  changes: 1,
  /** watch */
  unwatch: 1,
  /** since. Answers `WireBackup`. */
  backup: 1,
  /** backup. Answers its next bytes, `undefined` at its end. */
  backupPart: 1,
  /** backup */
  backupEnd: 1,
  /** An array, which means something to whoever holds the store, and to nobody over a network. */
  serve: 1,
} as const;

/** The name of a call. */
export type WireCall = keyof typeof ARGUMENT_COUNTS;

/** Calls that change the store. One that was sent and not answered may have happened or not. */
export const WRITES: ReadonlySet<WireCall> = new Set<WireCall>([
  "set",
  "put",
  "delete",
  "del",
  "append",
  "patch",
  "increment",
  "batch",
  "batchDurable",
  "clear",
  "commit",
]);

/** Stands before calls: whom the calls behind it in the message are for, a `WireFace` or `undefined`. It has no id. */
export const USE = "use";

/** What calls are done on. Where nothing is said, it is the store itself as it is now, and its client's encodings. */
export interface WireFace extends Partial<WireView> {
  /** Names of namespaces that lead to the keys. */
  path: readonly string[];
  keysAreText: boolean;
  valuesAreText: boolean;
}

/** A snapshot, or a transaction, that an owner holds for a client. It means nothing to another owner. */
export interface WireView {
  view: number;
  owner: string;
}

/** A key or a value in encoded form. */
export type WireBytes = string | Uint8Array;

/** A range of encoded keys. */
export interface WireRange {
  gte: Uint8Array | undefined;
  lt: Uint8Array | undefined;
  reverse: boolean;
  limit: number | undefined;
}

/** One operation of a batch; without a value it deletes. `path` leads to another namespace than that of the call. */
export type WireOperation = [
  key: WireBytes,
  value?: WireBytes | undefined,
  options?: WriteOptions | undefined,
  path?: readonly string[],
];

/** The next part of a walk. `items` alternates keys and values for entries. */
export interface WireBlock {
  walk: number;
  items: WireBytes[];
  done: boolean;
}

/** What to watch, and from where. */
export interface WireWatch {
  /** Keys, or a range. */
  what: WireBytes[] | Pick<WireRange, "gte" | "lt">;
  /** `undefined`: from now on. */
  since: number | undefined;
  /** Of which life of the store `since` is known: `undefined` for a version that the program gave. */
  owner: string | undefined;
  bufferBytes: number | undefined;
}

/** A watch that was begun: its number, and the version that it goes on from. */
export interface WireWatching {
  watch: number;
  version: number;
}

/** The next part of a watch. */
export interface WireChanges {
  /** Key, value (`undefined`: it was deleted) and version of each change. */
  items: (WireBytes | number | undefined)[];
  /** All changes up to this version are in this part or were in those before. */
  version: number;
  done: boolean;
}

/** A backup that was begun, and the version that it holds. It means nothing to another owner. */
export interface WireBackup {
  backup: number;
  owner: string;
  version: number;
}

/** How a client wants keys and values back. */
export interface WireClient {
  id: string;
  keysAreText: boolean;
  valuesAreText: boolean;
  wantsEvents: boolean;
  wantsProgress: boolean;
}

/** A `CairnError` that can be cloned. */
export interface WireError {
  code: CairnErrorCode;
  operation: string;
  message: string;
  cause?: string | WireError;
}

/** From a client: calls. */
export interface CallsMessage {
  type: "calls";
  /** The owner that they are meant for. */
  owner: string;
  id: number;
  calls: unknown[];
}

/** To a client: what its calls came to. */
export interface AnswersMessage {
  type: "answers";
  owner: string;
  ids: number[];
  values: unknown[];
  /** Beside `ids`: the version that a write made which is not durable yet, else 0. Absent: all 0. */
  versions?: number[];
  /** Calls that failed, which are not in `ids`. */
  failures: [id: number, error: WireError][];
  durableVersion: number;
}

/**
 * To a client: the store is held here. `recoveredVersion` is the newest version that came back when it was opened.
 *
 * A store that stays open while its owners come and go, as behind a server, names its opening as its `life`: what was written in the
 * same life is there. Absent: each owner has opened it.
 */
export interface OwnerMessage {
  type: "owner";
  owner: string;
  recoveredVersion: number;
  life?: string;
}

/** To a client: what was written up to a version is on stable storage. */
export interface DurableMessage {
  type: "durable";
  owner: string;
  durableVersion: number;
}

/** To a client: watches of its have given all up to a version, though nothing was written that they are about. */
export interface WatchedMessage {
  type: "watched";
  owner: string;
  watches: [watch: number, version: number][];
}

/** To a client: the owner gives up in order. Calls from `lastId` on, exclusive, it will not do. */
export interface ClosingMessage {
  type: "closing";
  owner: string;
  lastId: number;
}

/** To a client: how far a call is that is not answered yet. */
export interface ProgressMessage {
  type: "progress";
  owner: string;
  id: number;
  progress: VerifyProgress;
}

/** To a client: an event of the store. */
export interface EventMessage {
  type: "event";
  owner: string;
  event: Exclude<StoreEvent, { type: "poisoned" }> | { type: "poisoned"; error: WireError };
}

/** To a client: how far something is that the store does, for whomever. */
export interface StoreProgressMessage {
  type: "storeProgress";
  owner: string;
  progress: StoreProgress;
}

/** What an owner says to one client. */
export type ToClient =
  | AnswersMessage
  | OwnerMessage
  | DurableMessage
  | WatchedMessage
  | ClosingMessage
  | ProgressMessage
  | StoreProgressMessage
  | EventMessage;

/** Whether an encoding's bytes come back as text. */
export function isText(format: Format): boolean {
  return format.kind === "utf8" || format.decodeText !== undefined;
}

/** What came over the wire, as a program gets it. */
export function decodeWire(format: Format, wire: unknown, what: "key" | "value", operation: string): unknown {
  if (typeof wire !== "string") return format.decode(wire as Uint8Array, what, operation);
  return format.decodeText === undefined ? wire : format.decodeText(wire, what, operation);
}

/** Any error in a form that can be cloned. */
export function toWireError(error: unknown, operation: string): WireError {
  if (!(error instanceof CairnError)) {
    const message = `${operation}: ${error instanceof Error ? error.message : String(error)}`;
    return { code: "INVALID_ARGUMENT", operation, message };
  }
  const { code, message, cause } = error;
  const wire: WireError = { code, operation: error.operation, message };
  if (cause instanceof CairnError) wire.cause = toWireError(cause, operation);
  else if (cause !== undefined) wire.cause = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  return wire;
}

/** The `CairnError` again. Its cause is an `Error` with the message of what was thrown. */
export function fromWireError({ code, operation, message, cause }: WireError): CairnError {
  if (cause === undefined) return new CairnError(code, operation, message);
  return new CairnError(code, operation, message, {
    cause: typeof cause === "string" ? new Error(cause) : fromWireError(cause),
  });
}
