/**
 * Cairn under the interface of Level: everything that takes an `abstract-level` database takes this one.
 *
 * What the private interface of `abstract-level` calls has an underscore before its name, and gets keys and values encoded
 * in one of the formats of the manifest.
 */
import {
  type AbstractBatchOperation,
  type AbstractBatchOptions,
  type AbstractChainedBatch,
  type AbstractClearOptions,
  type AbstractDatabaseOptions,
  type AbstractDelOptions,
  AbstractLevel,
  type AbstractPutOptions,
  type AbstractSnapshot,
} from "abstract-level";
import {
  type BatchOperation,
  type BlockDevice,
  CairnError,
  inspect,
  type OpenOptions,
  open,
  type Store,
} from "cairn-kv";
import { TEXT_OR_BYTES } from "../text-or-bytes.ts";
import { CairnIterator, CairnKeyIterator, CairnValueIterator, type CourseOptions, type Reading } from "./iterator.ts";
import { formatted, type LevelBounds, type LevelData, type LevelFormat, markedKey, spanOf } from "./keys.ts";
import { CairnSnapshot, type LevelView } from "./snapshot.ts";

/** What a store of the adapter is, for those who want the calls beneath. Keys have a byte of the adapter's own, "L". */
export type LevelStore = Store<LevelData, LevelData>;

/** What may be given when a database is made, and when it is opened. */
export interface CairnLevelOpenOptions
  extends Omit<OpenOptions, "keyEncoding" | "valueEncoding" | "create" | "format"> {
  /** Whether a missing file is created. Default `true`. */
  createIfMissing?: boolean;
  /** Whether opening fails when there is a store already. Default `false`. */
  errorIfExists?: boolean;
}

/** Options of `new CairnLevel`. */
export interface CairnLevelOptions<K, V>
  extends AbstractDatabaseOptions<K, V>,
    Omit<CairnLevelOpenOptions, "createIfMissing" | "errorIfExists"> {
  /**
   * Whether writes that do not say so themselves resolve only when they are on stable storage. Default `true`; with
   * `false` they resolve at once, and are durable as the option `durability` says.
   */
  sync?: boolean;
}

/** Options of a write. */
export interface CairnLevelWriteOptions {
  /** Whether it resolves only when it is on stable storage. Default: what the database was made with, or `true`. */
  sync?: boolean;
}

interface ReadOptions {
  keyEncoding?: string;
  valueEncoding?: string;
  snapshot?: AbstractSnapshot | null;
}

interface WriteOptions {
  sync?: boolean;
}

interface ClearOptions extends LevelBounds {
  limit: number;
  reverse: boolean;
  snapshot?: AbstractSnapshot | null;
  sync?: boolean;
}

interface LevelOperation {
  type: "put" | "del";
  key: LevelData;
  value?: LevelData;
}

/** The options that go on to the store; others are Level's, or for hooks of the program. */
const STORE_OPTIONS: Record<keyof Omit<OpenOptions, "keyEncoding" | "valueEncoding" | "create" | "format">, true> = {
  engine: true,
  readOnly: true,
  durability: true,
  flushIntervalMs: true,
  cacheBytes: true,
  writeBufferBytes: true,
  memoryBytes: true,
  directReads: true,
  compaction: true,
  history: true,
  onEvent: true,
  onProgress: true,
  compression: true,
  wasm: true,
};

/**
 * A database of Level in a Cairn store.
 *
 * `location` is what `open` of Cairn takes: a path, a `file:` URL, a block device, `":memory:"`, a file's name in a browser's
 * worker, a `BlockDevice`. A path names a file, not a folder. Keys have at most 2,047 bytes and may be empty, values 64 MiB;
 * what exceeds a limit rejects with `CairnError` (`KEY_SIZE`, `VALUE_SIZE`) before anything changes. When opening fails, the
 * `cause` of Level's error is the `CairnError`, with `LOCKED` for a store that another one has open.
 *
 * Everything of the manifest is there: `getSync`, `has`, implicit and explicit snapshots, `seek`, `nextv`, sublevels, hooks,
 * events, signals. Batches are atomic, also after a crash.
 */
export class CairnLevel<K = string, V = string> extends AbstractLevel<LevelData, K, V> {
  /** Where the database is. */
  readonly location: string | URL | BlockDevice;
  private readonly syncs: boolean;
  private opened: LevelStore | undefined;

  /** A database at a location. It opens with the first call, or by `open`. */
  constructor(location: string | URL | BlockDevice, options: CairnLevelOptions<K, V> = {}) {
    const isFile = typeof location === "string" ? location !== ":memory:" : location instanceof URL;
    super(
      {
        encodings: { utf8: true, buffer: true, view: true },
        has: true,
        getSync: true,
        seek: true,
        implicitSnapshots: true,
        explicitSnapshots: true,
        permanence: location !== ":memory:",
        createIfMissing: isFile,
        errorIfExists: isFile,
        signals: { iterators: true },
      } as object,
      options,
    );
    this.location = location;
    this.syncs = options.sync !== false;
  }

  /** The store beneath, while the database is open. */
  get store(): LevelStore {
    if (this.opened !== undefined) return this.opened;
    throw new CairnError("CLOSED", "level", "level: the database is not open. Open it first.");
  }

  /** Stores a value. Resolves when it is on stable storage, unless `sync` is `false`. */
  override put(key: K, value: V): Promise<void>;
  override put<K2 = K, V2 = V>(
    key: K2,
    value: V2,
    options: AbstractPutOptions<K2, V2> & CairnLevelWriteOptions,
  ): Promise<void>;
  override put(key: unknown, value: unknown, options?: AbstractPutOptions<unknown, unknown>): Promise<void> {
    return super.put<unknown, unknown>(key, value, options as AbstractPutOptions<unknown, unknown>);
  }

  /** Deletes a key, likewise. */
  override del(key: K): Promise<void>;
  override del<K2 = K>(key: K2, options: AbstractDelOptions<K2> & CairnLevelWriteOptions): Promise<void>;
  override del(key: unknown, options?: AbstractDelOptions<unknown>): Promise<void> {
    return super.del<unknown>(key, options as AbstractDelOptions<unknown>);
  }

  /** Does all operations at once, likewise; without arguments gives a batch to fill. */
  override batch(operations: AbstractBatchOperation<typeof this, K, V>[]): Promise<void>;
  override batch<K2 = K, V2 = V>(
    operations: AbstractBatchOperation<typeof this, K2, V2>[],
    options: AbstractBatchOptions<K2, V2> & CairnLevelWriteOptions,
  ): Promise<void>;
  /** Does all operations at once, likewise; without arguments gives a batch to fill. */
  override batch(): AbstractChainedBatch<typeof this, K, V>;
  // Level tells a batch to fill from an array that is missing by how many arguments there are.
  override batch(...given: unknown[]): never {
    return (super.batch as (...given: unknown[]) => never).apply(this, given);
  }

  /** Deletes the entries of a range, or of the database, likewise. */
  override clear(): Promise<void>;
  override clear<K2 = K>(options: AbstractClearOptions<K2> & CairnLevelWriteOptions): Promise<void>;
  override clear(options?: AbstractClearOptions<unknown>): Promise<void> {
    return super.clear<unknown>(options as AbstractClearOptions<unknown>);
  }

  /** @internal */
  async _open(options: Record<string, unknown>): Promise<void> {
    const given = Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(STORE_OPTIONS, name)));
    if (options["errorIfExists"] === true) await this.refuseExisting();
    this.opened = await open(this.location, {
      ...given,
      create: options["createIfMissing"] === true,
      keyEncoding: TEXT_OR_BYTES,
      valueEncoding: TEXT_OR_BYTES,
    });
  }

  /** @internal */
  async _close(): Promise<void> {
    await this.opened?.close();
    this.opened = undefined;
  }

  /** @internal */
  async _get(key: LevelData, options: ReadOptions): Promise<LevelData | undefined> {
    const { snapshot } = options;
    const marked = markedKey(key);
    const found = await (snapshot ? viewOf(snapshot) : this.store).getAsync(marked);
    return found === undefined ? undefined : formatted(found, formatOf(options.valueEncoding));
  }

  /** @internal */
  _getSync(key: LevelData, options: ReadOptions): LevelData | undefined {
    const { snapshot } = options;
    const found = (snapshot ? viewOf(snapshot) : this.store).get(markedKey(key));
    return found === undefined ? undefined : formatted(found, formatOf(options.valueEncoding));
  }

  /** @internal */
  async _getMany(keys: LevelData[], options: ReadOptions): Promise<(LevelData | undefined)[]> {
    const { snapshot } = options;
    const found = await (snapshot ? viewOf(snapshot) : this.store).getMany(keys.map(markedKey));
    const format = formatOf(options.valueEncoding);
    return found.map((value) => (value === undefined ? undefined : formatted(value, format)));
  }

  /** @internal */
  async _has(key: LevelData, { snapshot }: ReadOptions): Promise<boolean> {
    return (snapshot ? viewOf(snapshot) : this.store).has(markedKey(key));
  }

  /** @internal */
  async _hasMany(keys: LevelData[], { snapshot }: ReadOptions): Promise<boolean[]> {
    const view = snapshot ? viewOf(snapshot) : this.store;
    return keys.map((key) => view.has(markedKey(key)));
  }

  /** @internal */
  async _put(key: LevelData, value: LevelData, options: WriteOptions): Promise<void> {
    if (options.sync ?? this.syncs) await this.store.put(markedKey(key), value);
    else this.store.set(markedKey(key), value);
  }

  /** @internal */
  async _del(key: LevelData, options: WriteOptions): Promise<void> {
    if (options.sync ?? this.syncs) await this.store.del(markedKey(key));
    else this.store.delete(markedKey(key));
  }

  /** @internal */
  async _batch(operations: LevelOperation[], options: WriteOptions): Promise<void> {
    const list = operations.map(({ type, key, value }): BatchOperation<LevelData, LevelData> => {
      return type === "put" ? { type, key: markedKey(key), value: value as LevelData } : { type, key: markedKey(key) };
    });
    await this.write(list, options);
  }

  /** @internal */
  async _clear(options: ClearOptions): Promise<void> {
    const { limit, reverse, snapshot } = options;
    const span = spanOf(options);
    if (limit < 0 && !snapshot) {
      this.store.clear(span);
      if (options.sync ?? this.syncs) await this.store.flush();
      return;
    }
    const view = snapshot ? viewOf(snapshot) : this.store;
    const range = { ...span, reverse, ...(limit < 0 ? {} : { limit }) };
    const doomed = Array.from(view.keys(range), (key): BatchOperation<LevelData, LevelData> => ({ type: "del", key }));
    await this.write(doomed, options);
  }

  /** @internal */
  _iterator(options: CourseOptions): CairnIterator {
    return new CairnIterator(this as CairnLevel<unknown, unknown>, options, this.reading(options));
  }

  /** @internal */
  _keys(options: CourseOptions): CairnKeyIterator {
    return new CairnKeyIterator(this as CairnLevel<unknown, unknown>, options, this.reading(options));
  }

  /** @internal */
  _values(options: CourseOptions): CairnValueIterator {
    return new CairnValueIterator(this as CairnLevel<unknown, unknown>, options, this.reading(options));
  }

  /** @internal */
  _snapshot(options: { owner: object }): CairnSnapshot {
    return new CairnSnapshot(this.store.snapshot(), options);
  }

  private reading({ snapshot }: CourseOptions): Reading {
    return snapshot ? { view: viewOf(snapshot), isOwned: false } : { view: this.store.snapshot(), isOwned: true };
  }

  private async write(list: BatchOperation<LevelData, LevelData>[], options: WriteOptions): Promise<void> {
    if (options.sync ?? this.syncs) {
      await this.store.batch(list);
      return;
    }
    const batch = this.store.batch();
    for (const operation of list) {
      if (operation.type === "put" || operation.type === "set") batch.set(operation.key, operation.value);
      else batch.delete(operation.key);
    }
    batch.commit();
  }

  private async refuseExisting(): Promise<void> {
    try {
      const inspector = await inspect(this.location);
      inspector.close();
    } catch (error) {
      // Nothing, or no store, which opening refuses by itself.
      if (error instanceof CairnError && error.code === "NOT_A_STORE") return;
      throw error;
    }
    const message = `open: ${this.location} exists already, and errorIfExists is true. Name another file.`;
    throw new CairnError("INVALID_ARGUMENT", "open", message);
  }
}

function formatOf(encoding: string | undefined): LevelFormat {
  return encoding === "view" || encoding === "buffer" ? encoding : "utf8";
}

/** What a snapshot of a program sees. */
function viewOf(snapshot: AbstractSnapshot): LevelView {
  if (snapshot instanceof CairnSnapshot) return snapshot.view;
  const message = "level: the option snapshot must be a snapshot of this database. Use db.snapshot().";
  throw new CairnError("INVALID_ARGUMENT", "level", message);
}
