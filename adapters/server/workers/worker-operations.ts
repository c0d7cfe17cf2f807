/** A worker's operations over the records of one namespace, which its owner does. */
import { Connection, type Line } from "../../../store/connection/connection.ts";
import { ConnectionFace } from "../../../store/connection/face.ts";
import { subFormats } from "../../../store/namespace.ts";
import type { KeyOf, ValueOf } from "../../../store/options.ts";
import { ServerFailure } from "../failure.ts";
import { textOrBytes } from "../operations/exact.ts";
import { PatchNotes } from "../operations/patch-notes.ts";
import { StoreOperations } from "../operations/store-operations.ts";
import { BOUNDS, bytesOf, type WalkRange } from "../operations/walk.ts";
import type { ServedEntry, ServedWriteOptions } from "../operations.ts";
import { type Faces, facesWith, type Watching } from "../tenants.ts";
import { SERVE, type SentFailure, type ServedRow } from "./served-operations.ts";

type Key = string | Uint8Array;
type Value = string | Uint8Array;

/** Asks the owner; see `SERVE`. */
export type Ask = (asked: unknown[]) => Promise<unknown>;

/** The owner's operations, over a line. */
export function askOver({ conversation }: Line): Ask {
  return (asked) => conversation.ask("serve", [asked]).then(given);
}

function given(answer: unknown): unknown {
  if (typeof answer !== "object" || answer === null || !("failure" in answer)) return answer;
  const [status, message, retryAfter] = (answer as SentFailure).failure;
  throw new ServerFailure(status, message, retryAfter);
}

/** The records of a namespace over a line; `""`: the store's own. */
export function connectionTo<K extends "utf8" | "binary", V extends "utf8" | "binary">(
  line: Line,
  namespace: string,
  keyEncoding: K,
  valueEncoding: V,
): Connection<KeyOf<K>, ValueOf<V>> {
  const path = namespace === "" ? [] : [namespace];
  const face = new ConnectionFace(line.conversation, { path, ...subFormats({ keyEncoding, valueEncoding }) });
  return new Connection(line, { durability: "interval", readOnly: false }, face);
}

function facesOver(line: Line, namespace: string): Faces {
  return facesWith(namespace, ({ keyEncoding, valueEncoding }) =>
    connectionTo(line, namespace, keyEncoding, valueEncoding),
  );
}

/** See above. Walks, ranges, watches and views go over the connection; what is about one record, and what writes, is one call. */
export class WorkerOperations extends StoreOperations {
  private readonly ask: Ask;
  private readonly space: number;
  private readonly versions = new WeakMap<Promise<unknown>, Promise<number | undefined>>();

  /** `space` stands for the namespace from now on. */
  constructor(line: Line, namespace: string, space: number) {
    // What notifications show, the owner notes.
    super(facesOver(line, namespace), new PatchNotes());
    this.ask = askOver(line);
    this.space = space;
    this.ask([SERVE.space, space, namespace]).catch(() => undefined);
  }

  override get(key: Key): Promise<Value | undefined> {
    return this.getBytes(key).then((bytes) => bytes && textOrBytes(bytes));
  }

  override getBytes(key: Key): Promise<Uint8Array | undefined> {
    return this.ask([SERVE.get, this.space, this.checkedKey(key)]) as Promise<Uint8Array | undefined>;
  }

  override getEntrySoon(key: Key): Promise<ServedEntry | undefined> {
    return this.ask([SERVE.entry, this.space, this.checkedKey(key)]).then(entryOf);
  }

  override put(key: Key, value: Value, options?: ServedWriteOptions): Promise<boolean> {
    return this.versioned([SERVE.put, this.space, this.checkedKey(key), value, options]);
  }

  override delete(key: Key, options?: ServedWriteOptions): Promise<boolean> {
    return this.ask([SERVE.delete, this.space, this.checkedKey(key), options]) as Promise<boolean>;
  }

  override patchIf(key: Key, value: Value, sizeMax: number, options?: ServedWriteOptions): Promise<boolean> {
    return this.versioned([SERVE.patch, this.space, this.checkedKey(key), value, sizeMax, options]);
  }

  override increment(key: Key, by: bigint): Promise<bigint> {
    return this.versioned([SERVE.increment, this.space, this.checkedKey(key), by]);
  }

  override incrementIf(key: Key, by: bigint, ifVersion: number | null): Promise<bigint | undefined> {
    return this.versioned([SERVE.incrementIf, this.space, this.checkedKey(key), by, ifVersion]);
  }

  override deleteRange(range: WalkRange): Promise<number> {
    const asked: WalkRange = {};
    for (const name of BOUNDS) if (range[name] !== undefined) asked[name] = bytesOf(range[name]);
    return this.ask([SERVE.deleteRange, this.space, asked]) as Promise<number>;
  }

  override watch(range: WalkRange, since: number | undefined): Watching {
    const watching = super.watch(range, since);
    // The owner has begun to watch when it answers what was asked behind.
    const begun = this.ask([SERVE.version]).catch(() => undefined);
    return Object.assign(watching, { begun });
  }

  override versionOf(done: Promise<unknown>): Promise<number | undefined> | undefined {
    return this.versions.get(done);
  }

  private versioned<T>(asked: unknown[]): Promise<T> {
    const answer = this.ask(asked) as Promise<[T, number | undefined]>;
    const done = answer.then(([result]) => result);
    const version = answer.then(([, made]) => made);
    // Who waits for the write hears of a failure.
    version.catch(() => undefined);
    this.versions.set(done, version);
    return done;
  }

  /** A key as it travels. Text does, as UTF-8: half a surrogate pair becomes what the store makes of it. */
  private checkedKey(key: Key): Key {
    return typeof key === "string" ? key : this.checked(key);
  }
}

function entryOf(row: unknown): ServedEntry | undefined {
  if (row === undefined) return undefined;
  const [value, version, expiresAt] = row as ServedRow;
  return expiresAt === undefined
    ? { value: textOrBytes(value), version }
    : { value: textOrBytes(value), version, expiresAt };
}
