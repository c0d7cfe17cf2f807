/**
 * Transactions: functions whose writes are done all at once, or not at all.
 *
 * `transaction` runs its function at a stretch, so nothing else can write in between, and reads what is there.
 * `transact` lets it await: it reads through a view, and what it read is looked at again before its writes are done.
 */
import { DELETE_OPTIONS, type DeleteOptions, type Entry, readWriteOptions, type WriteOptions } from "./entry.ts";
import { CairnError } from "./error.ts";
import { encodeOf } from "./key-errors.ts";
import { checkOffset } from "./partial.ts";
import { type Range, spanOf } from "./range.ts";
import { countSpan, isThere, readValue, spanToClear } from "./reads.ts";
import { invalid, isPlain } from "./refusals.ts";
import { type Face, faceOf, type Scope } from "./scope.ts";
import type { Session } from "./session.ts";
import type { Store } from "./store.ts";
import { ownBytes, shownValue, TransactionKey } from "./transaction-keys.ts";
import { TransactionWalk, type WalkMode } from "./transaction-walk.ts";
import { TransactionWork } from "./transaction-work.ts";
import { checkValueSize } from "./writes.ts";

/** Options of `transact`. */
export interface TransactOptions {
  /** How often the function runs again after a conflict. Default 10. */
  retries?: number;
}

/** A range as a transaction takes it: it reads through its own snapshot. */
export type TransactionRange<K = string> = Omit<Range<K>, "snapshot">;

const RETRIES_DEFAULT = 10;
const RETRIES_MAX = 1000;
/** The longest pause before a retry, in milliseconds, is two to this power. */
const BACKOFF_DOUBLINGS_MAX = 6;

/**
 * The store as its function sees it within a transaction: its own writes are there already, nobody else's. It is void when
 * the function has ended.
 */
export class Transaction<K = string, V = string> {
  private readonly work: TransactionWork;
  private readonly face: Face;

  /** `transaction` and `transact` make these. @internal */
  constructor(work: TransactionWork, face: Face) {
    this.work = work;
    this.face = face;
  }

  /** The value of a key, or `undefined`. */
  get(key: K): V | undefined {
    const { work } = this;
    const scope = this.begin("get");
    // The usual first calls: nothing is pending, and nothing recorded.
    if (work.view === undefined && work.pending.size === 0) {
      return readValue(work.session, scope, scope.encodedKey(key, "get"), undefined, "get") as V | undefined;
    }
    return new TransactionKey(work, scope, key, "get").value() as V | undefined;
  }

  /** The value of a key, or `undefined`, without blocking on the device. Of use in `transact` alone. */
  async getAsync(key: K): Promise<V | undefined> {
    return this.key(key, "getAsync").valueAsync() as Promise<V | undefined>;
  }

  /** The values of many keys, in their order, `undefined` for those that are not there; read at the same time. */
  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    this.begin("getMany");
    if (!Array.isArray(keys)) throw invalid("getMany", "the keys must be an array.");
    return Promise.all(keys.map((key: K) => this.key(key, "getMany").valueAsync() as Promise<V | undefined>));
  }

  /**
   * The value of a key with its version, expiry and timestamp, or `undefined`. What the transaction has written itself has
   * the version 0, which no condition takes: it gets one at the end.
   */
  getEntry(key: K): Entry<V> | undefined {
    const found = this.key(key, "getEntry");
    const facts = found.facts();
    return facts === undefined ? undefined : { value: found.value() as V, ...facts };
  }

  /** Whether a key is there. Never reads the device. */
  has(key: K): boolean {
    return this.key(key, "has").isThere();
  }

  /**
   * Stores a value when the transaction ends. `true`, or `false` when `ifVersion` is given and the transaction sees another
   * version of the key; conditions are judged at once, and an optimistic transaction has read the key then. `expiresIn`
   * counts from this call. `KEY_SIZE`, `VALUE_SIZE`, `STALE_TIMESTAMP` before anything changes.
   */
  set(key: K, value: V, options?: WriteOptions): boolean {
    const scope = this.begin("set");
    const words = options === undefined ? undefined : readWriteOptions(options, "set");
    if (words === undefined) {
      // The usual case, which asks for nothing.
      const encoded = scope.keptKey(key, "set");
      const bytes = ownBytes(encodeOf(scope.values, value, key, "set"));
      checkValueSize(bytes, "set");
      this.work.write({ scope, key: encoded, value: bytes, id: scope.idOf(encoded) });
      return true;
    }
    const target = new TransactionKey(this.work, scope, key, "set");
    return target.write(ownBytes(encodeOf(scope.values, value, key, "set")), words);
  }

  /** Deletes a key when the transaction ends: whether it was there, and had the version that `ifVersion` asks for. */
  delete(key: K, options?: DeleteOptions): boolean {
    this.begin("delete");
    const words = options === undefined ? undefined : readWriteOptions(options, "delete", DELETE_OPTIONS);
    return this.key(key, "delete").erase(words);
  }

  /** `Store.append`, of what the transaction sees. This and the next four read the value, also from the device. */
  append(key: K, bytes: string | Uint8Array): boolean {
    return this.key(key, "append").splice(bytes, undefined);
  }

  /** `Store.patch`, of what the transaction sees. */
  patch(key: K, offset: number, bytes: string | Uint8Array): boolean {
    checkOffset(offset);
    return this.key(key, "patch").splice(bytes, offset);
  }

  /** `Store.increment`, of what the transaction sees. */
  increment(key: K, by = 1n): bigint {
    return this.key(key, "increment").increment(by);
  }

  /** `Store.merge`, of what the transaction sees. */
  merge(key: K, patch: unknown): boolean {
    return this.key(key, "merge").merge(key, patch);
  }

  /** `Store.update`, of what the transaction sees. `fn` may use the transaction, but not write this very key: `REENTRANT`. */
  update<R extends V | undefined>(key: K, fn: (value: V | undefined) => R): R {
    return this.key(key, "update").update(key, fn) as R;
  }

  /** Keys and values of a range, what was written before included. */
  entries(range?: TransactionRange<K>): TransactionWalk<K, [K, V]> {
    return this.walk("entries", range);
  }

  /** Keys of a range, what was written before included. */
  keys(range?: TransactionRange<K>): TransactionWalk<K, K> {
    return this.walk("keys", range);
  }

  /** Values of a range in the order of their keys, what was written before included. */
  values(range?: TransactionRange<K>): TransactionWalk<K, V> {
    return this.walk("values", range);
  }

  /** All entries: `for (const [key, value] of tx)`. */
  [Symbol.iterator](): TransactionWalk<K, [K, V]> {
    return this.entries();
  }

  /** How many keys a range holds. About 1 ns a key, and a lookup for each pending write in the range. */
  count(range?: TransactionRange<K>): number {
    const { work } = this;
    const scope = this.begin("count", range);
    const span = spanOf(range, scope, "count");
    work.looksAt({ lower: span.lower, upper: span.upper, isEmpty: false });
    let count = countSpan(work.session, scope, { ...span, limit: Number.POSITIVE_INFINITY }, work.view, "count");
    for (const { scope: owner, key, value } of work.pendingIn(span)) {
      const was = isThere(work.session, owner, key, work.view, "count");
      count += (value === undefined ? 0 : 1) - (was ? 1 : 0);
    }
    return Math.min(count, span.limit);
  }

  /**
   * Deletes the keys of a range when the transaction ends; without one everything, namespaces included: how many there
   * were. Takes memory for each until then.
   */
  clear(range?: TransactionRange<K>): number {
    const scope = this.begin("clear", range);
    const span = spanToClear(scope, range);
    const { raw } = scope;
    const keys: Uint8Array[] = [];
    const walk = new TransactionWalk<Uint8Array, Uint8Array>(this.work, raw, span, "keys", () => undefined);
    for (const key of walk) keys.push(key);
    for (const key of keys) this.work.write({ scope: raw, key, value: undefined, id: raw.idOf(key) });
    return keys.length;
  }

  /** The same transaction in a namespace of the same store, or in the store itself. */
  in<SubK, SubV>(sub: Store<SubK, SubV>): Transaction<SubK, SubV> {
    this.work.check("in");
    return new Transaction<SubK, SubV>(this.work, faceOf(sub, this.work.session, "in"));
  }

  private walk<T>(mode: WalkMode, range: TransactionRange<K> | undefined): TransactionWalk<K, T> {
    const scope = this.begin(mode, range);
    const span = spanOf(range, scope, mode);
    return new TransactionWalk<K, T>(this.work, scope, span, mode, (value) => shownValue(scope.values, value, mode));
  }

  private key(key: K, operation: string): TransactionKey {
    return new TransactionKey(this.work, this.begin(operation), key, operation);
  }

  private begin(operation: string, range?: unknown): Scope {
    this.work.check(operation);
    if (range !== undefined && (range as Range | null)?.snapshot !== undefined) {
      throw invalid(operation, "a range of a transaction names no snapshot: it reads through its own.");
    }
    return this.face.scope;
  }
}

/** `Store.transaction`. */
export function transaction<T>(session: Session, face: Face, fn: (tx: Transaction<unknown, unknown>) => T): T {
  checkCall(session, fn, "transaction");
  if (session.transacting) {
    const message = 'transaction: a transaction is under way already. Use its "tx"; what it does is one transaction.';
    throw new CairnError("REENTRANT", "transaction", message);
  }
  const work = new TransactionWork(session, undefined);
  session.transacting = true;
  let result: T;
  try {
    result = fn(new Transaction(work, face));
  } finally {
    session.transacting = false;
    work.end();
  }
  if (typeof (result as { then?: unknown } | null | undefined)?.then === "function") {
    // What it goes on to do fails, and is nobody's to handle.
    Promise.resolve(result).catch(() => undefined);
    throw invalid("transaction", "the function returned a promise, and nothing was done. Use transact.");
  }
  session.ready("transaction");
  work.commit("transaction", true);
  return result;
}

/** `Store.transact`. */
export async function transact<T>(
  session: Session,
  face: Face,
  fn: (tx: Transaction<unknown, unknown>) => Promise<T> | T,
  options: TransactOptions | undefined,
): Promise<T> {
  checkCall(session, fn, "transact");
  const retries = retriesOf(options);
  for (let attempt = 0; ; attempt++) {
    session.ready("transact");
    const work = new TransactionWork(session, session.cursors.takeView("transact"));
    let isDone = false;
    let result: T;
    try {
      result = await fn(new Transaction(work, face));
      session.ready("transact");
      isDone = work.pending.size === 0 || work.isValid();
      if (isDone) work.commit("transact", false);
    } finally {
      work.end();
    }
    // One that wrote nothing may rest on what others wrote.
    if (isDone) return session.committer.durable(result);
    if (attempt === retries) throw conflictError(attempt);
    await backoff(attempt);
  }
}

/** What the last of a transaction's runs came to. `attempt` counts from 0. */
export function conflictError(attempt: number): CairnError {
  const tries = attempt === 0 ? "Its only run" : `All of its ${attempt + 1} runs`;
  const message = `transact: ${tries} met writes of others to what it had read. Nothing was done; try again later.`;
  return new CairnError("CONFLICT", "transact", message);
}

/** The pause before a transaction runs again. */
export function backoff(attempt: number): Promise<void> {
  const longest = 2 ** Math.min(attempt, BACKOFF_DOUBLINGS_MAX);
  return new Promise((resolve) => setTimeout(resolve, Math.random() * longest));
}

function checkCall(session: Session, fn: unknown, operation: string): void {
  session.ready(operation);
  if (typeof fn !== "function") throw invalid(operation, "the transaction must be a function.");
}

/** How often `transact` runs its function again. `INVALID_ARGUMENT` names what is wrong with its options. */
export function retriesOf(options: unknown): number {
  if (options === undefined) return RETRIES_DEFAULT;
  if (!isPlain(options)) throw invalid("transact", "options must be an object { retries }.");
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && name !== "retries") throw invalid("transact", `there is no option ${name}.`);
  }
  const { retries = RETRIES_DEFAULT } = options as TransactOptions;
  if (Number.isInteger(retries) && retries >= 0 && retries <= RETRIES_MAX) return retries;
  throw invalid("transact", `retries must be a whole number from 0 to ${RETRIES_MAX}.`);
}
