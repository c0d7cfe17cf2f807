/**
 * Optimistic transactions over a connection. The worker that owns the store holds the transaction: its snapshot, its
 * writes, and what it has read, which is validated there when it ends. Only the function runs on the page.
 */
import { DELETE_OPTIONS, type DeleteOptions, readWriteOptions, type WriteOptions } from "../entry.ts";
import { CairnError } from "../error.ts";
import { checkOffset, merging, refusePromise } from "../partial.ts";
import { compareBytes } from "../range.ts";
import { invalid } from "../refusals.ts";
import { backoff, conflictError, retriesOf, type TransactionRange, type TransactOptions } from "../transaction.ts";
import type { Connection } from "./connection.ts";
import { ConnectionFace, checkWritable, pieceOf, spaceIn, transferOf } from "./face.ts";
import { ConnectionReads } from "./reads.ts";
import type { WireBytes, WireCall, WireRange, WireView } from "./wire.ts";

/** A transaction under way, shared by its faces for namespaces. */
interface Work {
  readonly view: WireView;
  readonly isReadOnly: boolean;
  isOver: boolean;
  /** Writes that were sent and not answered. */
  readonly writes: Set<Promise<unknown>>;
  /** `merge` and `update` read, and write later: they take turns. */
  turns: Promise<unknown>;
  /** The key that `merge` or `update` is making a value for, and whether it was written meanwhile. */
  making: { path: string; key: WireBytes; isWritten: boolean } | undefined;
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
    await this.replace(key, "merge", (value) => merged(value) as V);
    return true;
  }

  /** `Store.update`. `fn` is synchronous. Who writes this very key meanwhile gets `REENTRANT`. */
  async update<R extends V | undefined>(key: K, fn: (value: V | undefined) => R): Promise<R> {
    this.writing("update");
    if (typeof fn !== "function") throw invalid("update", "fn must be a function.");
    return this.replace(key, "update", (value) => {
      const next = fn(value);
      refusePromise(next);
      return next;
    });
  }

  /** Deletes the keys of a range when the transaction ends; without one everything: how many there were. */
  async clear(range?: TransactionRange<K>): Promise<number> {
    const face = this.writing("clear");
    const wire = face.rangeToClear(range);
    const { making } = this.work;
    if (making !== undefined && covers(wire, face, making)) making.isWritten = true;
    return (await this.write("clear", [wire])) as number;
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
    const { writes, making } = this.work;
    // The range of a `clear` was looked at; all other calls have their key in front.
    if (making !== undefined && call !== "clear" && pathOf(this.face) === making.path) {
      if (compareBytes(bytesOf(args[0] as WireBytes), bytesOf(making.key)) === 0) making.isWritten = true;
    }
    const written = this.face.ask(call, args, transfer);
    writes.add(written);
    const answered = (): void => {
      writes.delete(written);
    };
    written.then(answered, answered);
    return written;
  }

  private replace<R extends V | undefined>(key: K, operation: string, next: (value: V | undefined) => R): Promise<R> {
    const { work, face } = this;
    const done = work.turns.then(async () => {
      const making = { path: pathOf(face), key: face.key(key, operation), isWritten: false };
      work.making = making;
      try {
        const entry = await this.getEntry(key);
        const value = next(entry?.value);
        const encoded = value === undefined ? undefined : face.encoded(value, key, operation);
        this.check(operation);
        if (making.isWritten) {
          const message = `${operation}: the key was written while its new value was being made, by fn, by a codec, or by a call that was not awaited. Return the value instead of writing it, and await each call.`;
          throw new CairnError("REENTRANT", operation, message);
        }
        // From here on a write comes after this one.
        work.making = undefined;
        const { expiresAt, timestamp } = entry ?? {};
        if (encoded !== undefined) {
          await this.write("set", [making.key, encoded, { expiresAt, timestamp }], transferOf(encoded));
        } else if (entry !== undefined) {
          await this.write("delete", [making.key, undefined]);
        }
        return value;
      } finally {
        work.making = undefined;
      }
    });
    work.turns = done.catch(() => undefined);
    return done;
  }
}

/** A namespace, as one string. */
function pathOf({ path }: ConnectionFace): string {
  return JSON.stringify(path);
}

const encoder = new TextEncoder();

function bytesOf(key: WireBytes): Uint8Array {
  return typeof key === "string" ? encoder.encode(key) : key;
}

/** Whether a range to clear has a key in it, which may lie in a namespace below it. */
function covers({ gte, lt }: WireRange, face: ConnectionFace, of: { path: string; key: WireBytes }): boolean {
  const isWhole = gte === undefined && lt === undefined;
  if (pathOf(face) !== of.path) {
    return isWhole && face.path.every((name, at) => name === (JSON.parse(of.path) as string[])[at]);
  }
  const key = bytesOf(of.key);
  if (gte !== undefined && compareBytes(key, gte) < 0) return false;
  return lt === undefined || compareBytes(key, lt) < 0;
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
    const work: Work = {
      view,
      isReadOnly,
      isOver: false,
      writes: new Set(),
      turns: Promise.resolve(),
      making: undefined,
    };
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
