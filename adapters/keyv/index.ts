/**
 * `cairn-kv/keyv`: a storage adapter of Keyv, for its versions 5 and 6.
 *
 * The two call an adapter differently. Keyv 5 puts its namespace before keys itself, and passes how long an entry lives;
 * Keyv 6 leaves the namespace to the adapter, and passes until when. An adapter of Keyv 6 says by `capabilities` that it is
 * one, which Keyv 5 does not look at: so the adapter knows by that which one it serves. Both keep entries under the same
 * keys, `namespace:key`.
 *
 * @module cairn-kv/keyv
 */
import { type BatchOperation, type BlockDevice, type OpenOptions, open, type Store } from "cairn-kv";
import { Emitter } from "./emitter.ts";

export type { KeyvListener } from "./emitter.ts";

/** The store beneath an adapter: Keyv turns values into strings before they come here. */
export type KeyvStore = Store<string, string>;

/** Options of the adapter, and, for a location, those of `open`. */
export interface KeyvCairnOptions extends Omit<OpenOptions, "keyEncoding" | "valueEncoding"> {
  /**
   * Whether writes resolve only when they are on stable storage. Default `true`; with `false` they resolve at once, and are
   * durable as the option `durability` says.
   */
  sync?: boolean;
  /** The version of Keyv that the adapter serves, for who calls it without Keyv. Default: what Keyv shows itself to be. */
  keyv?: 5 | 6;
  /** The namespace. Keyv sets its own. */
  namespace?: string;
}

/** An entry of `setMany`: Keyv 5 says how long it lives in milliseconds, Keyv 6 until when, in milliseconds since 1970. */
export interface KeyvCairnEntry {
  /** The key, with its namespace under Keyv 5. */
  key: string;
  /** What Keyv made of the value. */
  // biome-ignore lint/suspicious/noExplicitAny: as in Keyv's own types.
  value: any;
  /** Milliseconds that it lives. Absent: for ever. */
  ttl?: number | undefined;
  /** Until when it lives, in milliseconds since 1970. Absent: for ever. */
  expires?: number | undefined;
}

/** What Keyv 6 asks an adapter for. */
export interface KeyvCairnCapabilities {
  /** That this is an adapter. */
  compatible: true;
  /** That it is one for the storage of Keyv 6. */
  store: "keyvStorage";
  /** That it lets entries expire by itself. */
  expires: true;
  /** The calls that it has, all of which return promises. */
  methods: Record<
    KeyvMethod,
    {
      /** That it is there. */
      exists: true;
      /** That it returns a promise. */
      methodType: "async";
    }
  >;
}

/** The names of the calls that an adapter has. */
export type KeyvMethod =
  | "get"
  | "getMany"
  | "has"
  | "hasMany"
  | "set"
  | "setMany"
  | "delete"
  | "deleteMany"
  | "clear"
  | "disconnect"
  | "iterator";

const METHODS: readonly KeyvMethod[] = [
  "get",
  "getMany",
  "has",
  "hasMany",
  "set",
  "setMany",
  "delete",
  "deleteMany",
  "clear",
  "disconnect",
  "iterator",
];

/** Entries that the iterator takes at once. */
const BLOCK_COUNT = 256;

/**
 * A storage adapter of Keyv over a store: `new Keyv({ store: new KeyvCairn("cache.cairn") })`.
 *
 * A location is what `open` takes; it is opened at once, and `disconnect` closes it. When that fails, an `error` is emitted,
 * and every call rejects with it. A store that is passed instead has the encodings `"utf8"`, stays open at `disconnect`, and
 * may be shared: each Keyv gets an adapter of its own over it. Expired entries are invisible at once.
 *
 * Keys with their namespace have at most 2,048 bytes, values 64 MiB; what exceeds a limit rejects before anything changes.
 * `setMany` and `deleteMany` are atomic, also after a crash.
 */
export class KeyvCairn extends Emitter {
  /** What Keyv 5 looks at before it iterates. */
  readonly opts: {
    /** A name that it knows. */
    dialect: string;
    /** Where the store is. */
    url: string;
  };
  /** The namespace, which Keyv sets. */
  namespace: string | undefined;
  private readonly opening: Promise<KeyvStore>;
  private readonly isOwned: boolean;
  private readonly syncs: boolean;
  private keyv: 5 | 6;

  /** An adapter over a location, which is opened at once, or over a store that is open. */
  constructor(place: string | URL | BlockDevice | KeyvStore, options: KeyvCairnOptions = {}) {
    super();
    const { sync = true, keyv = 5, namespace, ...rest } = options;
    this.syncs = sync;
    this.keyv = keyv;
    this.namespace = namespace;
    this.isOwned = !isStore(place);
    this.opening = isStore(place)
      ? Promise.resolve(place)
      : (open(place, { ...rest, keyEncoding: "utf8", valueEncoding: "utf8" }) as Promise<KeyvStore>);
    this.opening.catch((error) => this.emit("error", error));
    // Keyv 5 iterates only where it knows the name of the dialect, and for a file on this machine that is "sqlite".
    this.opts = { dialect: "sqlite", url: isStore(place) || typeof place === "object" ? "cairn:" : `cairn:${place}` };
  }

  /** What Keyv 6 asks for, and Keyv 5 does not: whoever asks is served as Keyv 6. */
  get capabilities(): KeyvCairnCapabilities {
    this.keyv = 6;
    const methods = Object.fromEntries(METHODS.map((name) => [name, { exists: true, methodType: "async" }]));
    return {
      compatible: true,
      store: "keyvStorage",
      expires: true,
      methods: methods as KeyvCairnCapabilities["methods"],
    };
  }

  /** The store, when it is open. */
  get store(): Promise<KeyvStore> {
    return this.opening;
  }

  /** The value of a key, or `undefined`. */
  // biome-ignore lint/suspicious/noExplicitAny: as in Keyv's own types.
  async get<Value = any>(key: string): Promise<Value | undefined> {
    return (await (await this.opening).getAsync(this.stored(key))) as Value | undefined;
  }

  /** The values of many keys, in their order. */
  // biome-ignore lint/suspicious/noExplicitAny: as in Keyv's own types.
  async getMany<Value = any>(keys: string[]): Promise<(Value | undefined)[]> {
    const store = await this.opening;
    return (await store.getMany(keys.map((key) => this.stored(key)))) as (Value | undefined)[];
  }

  /** Stores a value; `expiry` as the version of Keyv says. */
  // biome-ignore lint/suspicious/noExplicitAny: as in Keyv's own types.
  async set(key: string, value: any, expiry?: number): Promise<boolean> {
    const store = await this.opening;
    const options = this.keyv === 6 ? until(expiry) : lasting(expiry);
    if (this.syncs) await store.put(this.stored(key), value, options);
    else store.set(this.stored(key), value, options);
    return true;
  }

  /** Stores many values: all of them, or none. Resolves to nothing for Keyv 5, and to whether each was stored for Keyv 6. */
  // biome-ignore lint/suspicious/noExplicitAny: the two versions expect different results.
  async setMany(entries: KeyvCairnEntry[]): Promise<any> {
    const operations = entries.map(({ key, value, ttl, expires }): BatchOperation => {
      const expiry = expires === undefined ? lasting(ttl) : until(expires);
      return { type: "set", key: this.stored(key), value, ...expiry };
    });
    await this.write(operations);
    return this.keyv === 6 ? entries.map(() => true) : undefined;
  }

  /** Deletes a key: whether it was there. */
  async delete(key: string): Promise<boolean> {
    const store = await this.opening;
    return this.syncs ? store.del(this.stored(key)) : store.delete(this.stored(key));
  }

  /** Deletes many keys: whether one was there for Keyv 5, whether each was for Keyv 6. */
  // biome-ignore lint/suspicious/noExplicitAny: the two versions expect different results.
  async deleteMany(keys: string[]): Promise<any> {
    const deleted = await this.write(keys.map((key) => ({ type: "del", key: this.stored(key) })));
    return this.keyv === 6 ? deleted : deleted.includes(true);
  }

  /** Whether a key is there. */
  async has(key: string): Promise<boolean> {
    return (await this.opening).has(this.stored(key));
  }

  /** Whether each of the keys is there. */
  async hasMany(keys: string[]): Promise<boolean[]> {
    const store = await this.opening;
    return keys.map((key) => store.has(this.stored(key)));
  }

  /** Deletes the entries of the namespace, or, without one, all of the store. */
  async clear(): Promise<void> {
    const store = await this.opening;
    // Namespaces of the store are not Keyv's.
    store.clear({ prefix: this.namespace ? `${this.namespace}:` : "" });
    if (this.syncs) await store.flush();
  }

  /** Entries of a snapshot, in the order of keys: those of the namespace, or, without one, all. */
  async *iterator(namespace: string | undefined = this.namespace): AsyncGenerator<[string, string], void> {
    const prefix = namespace ? `${namespace}:` : "";
    const own = this.keyv === 6 ? prefix.length : 0;
    const walk = (await this.opening).entries(prefix === "" ? {} : { prefix });
    try {
      for (
        let block = await walk.nextvAsync(BLOCK_COUNT);
        block.length > 0;
        block = await walk.nextvAsync(BLOCK_COUNT)
      ) {
        for (const [key, value] of block) yield [key.slice(own), value];
      }
    } finally {
      walk.return();
    }
  }

  /** Closes the store that was opened for the adapter. */
  async disconnect(): Promise<void> {
    if (this.isOwned) await (await this.opening).close();
  }

  private async write(operations: BatchOperation[]): Promise<boolean[]> {
    const store = await this.opening;
    if (this.syncs) return store.batch(operations);
    const batch = store.batch();
    for (const operation of operations) {
      if (operation.type !== "set") batch.delete(operation.key);
      else
        batch.set(operation.key, operation.value, { expiresIn: operation.expiresIn, expiresAt: operation.expiresAt });
    }
    return batch.commit();
  }

  private stored(key: string): string {
    return this.keyv === 6 && this.namespace ? `${this.namespace}:${key}` : key;
  }
}

/** For Keyv 5: milliseconds from now on; 0 and nothing are for ever. */
function lasting(ttl: number | undefined): { expiresIn?: number } {
  return ttl ? { expiresIn: ttl } : {};
}

/** For Keyv 6: milliseconds since 1970; what is past is gone at once. */
function until(expires: number | undefined): { expiresAt?: number } {
  return expires === undefined ? {} : { expiresAt: expires };
}

function isStore(place: string | URL | BlockDevice | KeyvStore): place is KeyvStore {
  return typeof place === "object" && "getAsync" in place;
}
