/** Reads over a connection: of what is there now, through a snapshot, and within a transaction. */
import type { Entry } from "../entry.ts";
import type { Range } from "../range.ts";
import { invalid } from "../refusals.ts";
import type { ConnectionFace } from "./face.ts";
import type { ConnectionSnapshot } from "./snapshot.ts";
import { EntryWalk, KeyWalk, ValueWalk } from "./walk.ts";
import type { WireBytes } from "./wire.ts";

/** A range of a connection. */
export type ConnectionRange<K = string> = Omit<Range<K>, "snapshot"> & {
  /** Read through this snapshot. */
  snapshot?: ConnectionSnapshot<unknown, unknown>;
};

/** The calls that read. */
export abstract class ConnectionReads<K, V, R = ConnectionRange<K>> {
  /** Whom its calls go to. @internal */
  readonly face: ConnectionFace;

  constructor(face: ConnectionFace) {
    this.face = face;
  }

  /** The value of a key, or `undefined`. */
  async get(key: K): Promise<V | undefined> {
    const face = this.reading(undefined, "get");
    return face.value(await face.ask("get", [face.key(key, "get")]), key, "get") as V | undefined;
  }

  /** The values of many keys, in their order, `undefined` for those that are not there. */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    const face = this.reading(undefined, "getMany");
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    const found = await face.ask("getMany", [keys.map((key) => face.key(key, "getMany"))]);
    return (found as (WireBytes | undefined)[]).map(
      (value, at) => face.value(value, keys[at], "getMany") as V | undefined,
    );
  }

  /** The value of a key with its version, expiry and timestamp, or `undefined`. */
  async getEntry(key: K): Promise<Entry<V> | undefined> {
    const face = this.reading(undefined, "getEntry");
    const entry = (await face.ask("getEntry", [face.key(key, "getEntry")])) as Entry<WireBytes> | undefined;
    if (entry === undefined) return undefined;
    return { ...entry, value: face.value(entry.value, key, "getEntry") as V };
  }

  /** Whether a key is there. */
  async has(key: K): Promise<boolean> {
    const face = this.reading(undefined, "has");
    return (await face.ask("has", [face.key(key, "has")])) as boolean;
  }

  /** Keys and values of a range, through a snapshot that is taken when this call reaches the store. */
  entries(range?: R): EntryWalk<K, V> {
    const face = this.reading(range, "entries");
    return new EntryWalk<K, V>(face, face.range(bare(range), "entries"));
  }

  /** Keys of a range, through a snapshot as that of `entries`. */
  keys(range?: R): KeyWalk<K> {
    const face = this.reading(range, "keys");
    return new KeyWalk<K>(face, face.range(bare(range), "keys"));
  }

  /** Values of a range in the order of their keys, through a snapshot as that of `entries`. */
  values(range?: R): ValueWalk<K, V> {
    const face = this.reading(range, "values");
    return new ValueWalk<K, V>(face, face.range(bare(range), "values"));
  }

  /** All entries: `for await (const [key, value] of connection)`. */
  [Symbol.asyncIterator](): EntryWalk<K, V> {
    return this.entries();
  }

  /** How many keys a range holds. */
  async count(range?: R): Promise<number> {
    const face = this.reading(range, "count");
    return (await face.ask("count", [face.range(bare(range), "count")])) as number;
  }

  /** Whom a read of a range goes to. Throws when nothing can be read. */
  protected abstract reading(range: R | undefined, operation: string): ConnectionFace;
}

/** A range without its snapshot. */
function bare(range: unknown): unknown {
  if (typeof range !== "object" || range === null || !("snapshot" in range)) return range;
  return { ...range, snapshot: undefined };
}
