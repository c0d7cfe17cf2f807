/**
 * Optimistic transactions over a connection. The worker that owns the store holds the transaction: its snapshot, its
 * writes, and what it has read, which is validated there when it ends. Only the function runs on the page.
 */
import { DELETE_OPTIONS, type DeleteOptions, readWriteOptions, type WriteOptions } from "../store/entry.ts";
import { CairnError } from "../store/error.ts";
import { checkOffset, merging, refusePromise } from "../store/partial.ts";
import { invalid } from "../store/refusals.ts";
import {
  backoff,
  conflictError,
  retriesOf,
  type TransactionRange,
  type TransactOptions,
} from "../store/transaction.ts";
import type { Connection } from "./connection.ts";
import { ConnectionFace, checkWritable, pieceOf, spaceIn, transferOf } from "./connection-face.ts";
import { ConnectionReads } from "./connection-reads.ts";
import type { WireCall, WireView } from "./connection-wire.ts";

/** A transaction under way, shared by its faces for namespaces. */
interface Work {
  readonly view: WireView;
  readonly isReadOnly: boolean;
  isOver: boolean;
  /** Writes that were sent and not answered. */
  readonly writes: Set<Promise<unknown>>;
  /** `merge` and `update` read, and write later: they take turns. */
  turns: Promise<unknown>;
}

/**
 * The store as the function of `transact` sees it: its own writes are there already, nobody else's. Await its calls. It is
 * void when the function has ended. When the worker that owns the store ends, calls reject with `SNAPSHOT_EXPIRED`, and the
 * function runs again over the next one.
 */
export class ConnectionTransaction<K = string, V = string> extends ConnectionReads<K, V, TransactionRange<K>> {
  private readonly work: Work;

  /** `transact` makes these. */
  constructor(face: ConnectionFace, work: Work) {
    super(face);
    this.work = work;
  }

  /** Stores a value when the transaction ends. `true`, or `false` when `ifVersion` does not hold of what it sees. */
  async set(key: K, value: V, options?: WriteOptions): Promise<boolean> {
    const face = this.writing("set");
    if (options !== undefined) readWriteOptions(options, "set");
    const encoded = face.encoded(value, key, "set");
    return (await this.write("set", [face.key(key, "set"), encoded, options], transferOf(encoded))) as boolean;
  }

  /** Deletes a key when the transaction ends: whether it was there, and had the version that `ifVersion` asks for. */
  async delete(key: K, options?: DeleteOptions): Promise<boolean> {
    const face = this.writing("delete");
    if (options !== undefined) readWriteOptions(options, "delete", DELETE_OPTIONS);
    return (await this.write("delete", [face.key(key, "delete"), options])) as boolean;
  }

  /** `Store.append`, of what the transaction sees, as are the next four. */
  async append(key: K, bytes: string | Uint8Array): Promise<boolean> {
    const face = this.writing("append");
    return (await this.write("append", [face.key(key, "append"), pieceOf(bytes, "append")])) as boolean;
  }

  /** `Store.patch`. */
  async patch(key: K, offset: number, bytes: string | Uint8Array): Promise<boolean> {
    const face = this.writing("patch");
    checkOffset(offset);
    return (await this.write("patch", [face.key(key, "patch"), offset, pieceOf(bytes, "patch")])) as boolean;
  }

  /** `Store.increment`. */
  async increment(key: K, by = 1n): Promise<bigint> {
    const face = this.writing("increment");
    return (await this.write("increment", [face.key(key, "increment"), by])) as bigint;
  }

  /** `Store.merge`. */
  async merge(key: K, patch: unknown): Promise<boolean> {
    const merged = merging(this.writing("merge").values, key, patch);
    await this.replace(key, (value) => merged(value) as V);
    return true;
  }

  /** `Store.update`. `fn` is synchronous. */
  async update<R extends V | undefined>(key: K, fn: (value: V | undefined) => R): Promise<R> {
    this.writing("update");
    if (typeof fn !== "function") throw invalid("update", "fn must be a function.");
    return this.replace(key, (value) => {
      const next = fn(value);
      refusePromise(next);
      return next;
    });
  }

  /** Deletes the keys of a range when the transaction ends; without one everything: how many there were. */
  async clear(range?: TransactionRange<K>): Promise<number> {
    const face = this.writing("clear");
    return (await this.write("clear", [face.rangeToClear(range)])) as number;
  }

  /** The same transaction in a namespace of the same store, or in the store itself. */
  in<SubK, SubV>(sub: Connection<SubK, SubV>): ConnectionTransaction<SubK, SubV> {
    const { face, work } = this;
    this.check("in");
    const space = spaceIn(sub, face.conversation, "in");
    return new ConnectionTransaction(new ConnectionFace(face.conversation, space, work.view), work);
  }

  protected reading(range: TransactionRange<K> | undefined, operation: string): ConnectionFace {
    this.check(operation);
    if ((range as { snapshot?: unknown } | null | undefined)?.snapshot === undefined) return this.face;
    throw invalid(operation, "a range of a transaction names no snapshot: it reads through its own.");
  }

  private writing(operation: string): ConnectionFace {
    this.check(operation);
    checkWritable(this.work.isReadOnly, operation);
    return this.face;
  }

  private check(operation: string): void {
    if (!this.work.isOver) return;
    throw invalid(operation, "the transaction has ended. What it wrote was done, or given up, when its function did.");
  }

  private write(call: WireCall, args: unknown[], transfer?: ArrayBuffer[]): Promise<unknown> {
    const { writes } = this.work;
    const written = this.face.ask(call, args, transfer);
    writes.add(written);
    const answered = (): void => {
      writes.delete(written);
    };
    written.then(answered, answered);
    return written;
  }

  private replace<R extends V | undefined>(key: K, next: (value: V | undefined) => R): Promise<R> {
    const { work } = this;
    const done = work.turns.then(async () => {
      const entry = await this.getEntry(key);
      const value = next(entry?.value);
      const { expiresAt, timestamp } = entry ?? {};
      if (value !== undefined) await this.set(key, value as V, { expiresAt, timestamp });
      else if (entry !== undefined) await this.delete(key);
      return value;
    });
    work.turns = done.catch(() => undefined);
    return done;
  }
}

/** `Connection.transact`. */
export async function transactOver<K, V, T>(
  of: ConnectionFace,
  isReadOnly: boolean,
  fn: (tx: ConnectionTransaction<K, V>) => Promise<T> | T,
  options: TransactOptions | undefined,
): Promise<T> {
  if (typeof fn !== "function") throw invalid("transact", "the transaction must be a function.");
  const retries = retriesOf(options);
  for (let attempt = 0; ; attempt++) {
    const view = (await of.ask("begin", [])) as WireView;
    const work: Work = { view, isReadOnly, isOver: false, writes: new Set(), turns: Promise.resolve() };
    const face = new ConnectionFace(of.conversation, of, view);
    let isDone = false;
    try {
      const result = await fn(new ConnectionTransaction<K, V>(face, work));
      await work.turns;
      // One that the function did not wait for, and that was refused, is no part of a whole.
      await Promise.all(work.writes);
      work.isOver = true;
      isDone = (await face.ask("commit", [])) as boolean;
      if (isDone) return result;
    } catch (error) {
      const isLost = of.conversation.ownerNow !== view.owner;
      if (!isLost || !(error instanceof CairnError) || error.code !== "SNAPSHOT_EXPIRED") throw error;
    } finally {
      if (!work.isOver) {
        work.isOver = true;
        face.ask("rollback", []).catch(() => undefined);
      }
    }
    if (attempt === retries) throw conflictError(attempt);
    await backoff(attempt);
  }
}
