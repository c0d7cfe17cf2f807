/** The interface that workloads drive, and that Cairn and every peer is put behind. */

/** What writes promise: that they are taken, or that they are on stable storage. */
export type Promised = "buffered" | "durable";

/** An open store. Calls do what the store's own documents advise for the fastest of their kind. */
export interface BenchStore {
  get(key: string): string | undefined;
  getMany(keys: string[]): Promise<readonly (string | undefined)[]>;

  /** Issues a buffered write. It counts as done after `settle`. */
  set(key: string, value: string): void;

  /** Issues a buffered deletion of a key that is there. It counts as done after `settle`. */
  delete(key: string): void;

  /** Called once in a while during a series of writes: what a server's event loop gives a store between requests. */
  turn(): Promise<void>;

  /** Resolves when every write issued is done. */
  settle(): Promise<void>;

  /** Resolves when nothing is left to do in the background. Never part of a timed span. */
  quiesce(): Promise<void>;

  /** Hands every record to `visitor`, in the order of the keys. */
  scan(visitor: Visitor): Promise<void>;

  /** Hands every key to `visitor`, in order. */
  scanKeys(visitor: Visitor): Promise<void>;

  /** Resolves when the write is on stable storage; for a store opened for durable writes. */
  put(key: string, value: string): Promise<unknown>;

  /** As `put`, of many records in one batch. */
  batch(records: readonly BatchEntry[]): Promise<unknown>;

  /** Bytes of memory beside keys and values, where the store says; `undefined` where only the process's memory tells. */
  overheadBytes?(keyAndValueBytes: number): number | undefined;

  close(): Promise<void>;
}

/** One write of a batch, in the words of Cairn and Level. */
export interface BatchEntry {
  type: "put";
  key: string;
  value: string;
}

/** A store that can be opened. */
export interface StoreKind {
  name: string;
  version: string;
  /** The settings under which it is measured, in its own terms. */
  settings: Record<Promised, string>;
  /** Whether it keeps its keys in order. */
  isOrdered: boolean;
  /** Whether it can bring writes to stable storage. */
  isDurable: boolean;
  /** Whether a write is done when its call returns, so that timing a single call says something. */
  writesAtOnce: boolean;
  /** Opens an empty store in `folder`, which exists and is empty. */
  open(folder: string, promised: Promised): Promise<BenchStore>;
}

/** Counts what a scan brings, checks its order, and keeps every so manieth string. */
export class Visitor {
  count = 0;
  size = 0;
  readonly kept: string[] = [];
  isAscending = true;
  #last = "";
  readonly #checksOrder: boolean;
  readonly #keepMask: number;

  /** `keepEvery` is a power of two: of so many records one is kept. 0 keeps none. */
  constructor(options: { checksOrder?: boolean; keepEvery?: number } = {}) {
    this.#checksOrder = options.checksOrder ?? false;
    this.#keepMask = (options.keepEvery ?? 0) - 1;
  }

  entry(key: string, value: string): void {
    this.count += 1;
    this.size += key.length + value.length;
    if (this.#checksOrder) this.#check(key);
    if (this.#keepMask >= 0 && (this.count & this.#keepMask) === 0) this.kept.push(key, value);
  }

  key(key: string): void {
    this.count += 1;
    this.size += key.length;
    if (this.#checksOrder) this.#check(key);
  }

  #check(key: string): void {
    if (key <= this.#last) this.isAscending = false;
    this.#last = key;
  }
}
