/**
 * Single keys as a transaction sees them: what it has written itself, else what is there, with version, expiry and
 * timestamp; and the writes that depend on that. Every look at what is there counts as a read of the transaction.
 */
import { sizeOf } from "./batch.ts";
import type { Format } from "./encoding.ts";
import {
  asksOf,
  type Facts,
  factsOf,
  factsOfWords,
  hasVersion,
  isStale,
  settledWords,
  type WriteWords,
  wordsOf,
} from "./entry.ts";
import { CairnError } from "./error.ts";
import { encodeOf, named, type Stored } from "./key-errors.ts";
import { merging, refusePromise } from "./partial.ts";
import { isThere, readBytes, readValue } from "./reads.ts";
import { beyondEnd, invalid, outOfRange, refuseDetached, VALUE_SIZE_MAX, valueSizeError } from "./refusals.ts";
import type { Scope } from "./scope.ts";
import type { Pending, TransactionWork } from "./transaction-work.ts";
import { checkValueSize } from "./writes.ts";

const STATUS_STALE_TIMESTAMP = -19;
const STATUS_NOT_A_NUMBER = -21;
const NUMBER = /^(0|-?[1-9][0-9]{0,18})$/;
const NUMBER_SIZE_MAX = 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** One key within a transaction. It is good for one call: it holds what was found. */
export class TransactionKey {
  private readonly work: TransactionWork;
  private readonly scope: Scope;
  private readonly key: Stored;
  private readonly id: string;
  private readonly operation: string;

  constructor(work: TransactionWork, scope: Scope, given: unknown, operation: string) {
    this.work = work;
    this.scope = scope;
    this.operation = operation;
    this.key = scope.keptKey(given, operation);
    this.id = scope.idOf(this.key);
  }

  /** Whether the key is there. */
  isThere(): boolean {
    const { work, scope, key, operation } = this;
    const pending = this.look();
    if (pending !== undefined) return work.valueOf(pending) !== undefined;
    return isThere(work.session, scope, key, work.view, operation);
  }

  /** The decoded value, or `undefined`. */
  value(): unknown {
    const { work, scope, key, operation } = this;
    const pending = this.look();
    if (pending !== undefined) return this.shown(pending);
    return readValue(work.session, scope, key, work.view, operation);
  }

  /** The same without blocking on the device. */
  async valueAsync(): Promise<unknown> {
    const { work, scope, key } = this;
    const pending = this.look();
    if (pending !== undefined) return this.shown(pending);
    try {
      return await scope.lookups.get(key, work.view);
    } catch (error) {
      throw named(error, key, scope.values.name);
    }
  }

  /** Version, expiry and timestamp, or `undefined`. What the transaction has written has no version yet: 0. */
  facts(): Facts | undefined {
    const { work, scope, key, operation } = this;
    const pending = this.look();
    if (pending !== undefined) {
      return work.valueOf(pending) === undefined ? undefined : factsOfWords(pending.words);
    }
    const handle = work.view === undefined ? 0 : scope.cursors.handleOf(work.view, operation);
    const size = scope.keyEncodedIn(key, operation);
    return work.session.guard(() => factsOf(scope.core, size, handle));
  }

  /** Writes a value that is encoded, and nobody else's, if what is asked for holds: whether it did. */
  write(value: Stored, words: WriteWords | undefined): boolean {
    const { work, scope, key, id, operation } = this;
    const next: Pending = { scope, key, value, id };
    checkValueSize(value, operation);
    if (words !== undefined) {
      if (!this.holds(words)) return false;
      next.words = settledWords(words, work.nowMs()) as WriteWords;
    }
    work.write(next);
    return true;
  }

  /** Deletes the key, if it is there and what is asked for holds: whether it did. */
  erase(words: WriteWords | undefined): boolean {
    const { work, scope, key, id } = this;
    if (words !== undefined && !this.holds(words)) return false;
    const isThere = this.isThere();
    // One that the transaction has written, or that has expired since, leaves a deletion in its place.
    if (isThere || work.pending.has(id)) work.write({ scope, key, value: undefined, id });
    return isThere;
  }

  /** Writes bytes over the value from `offset` on, or behind it. Expiry and timestamp stay. */
  splice(bytes: unknown, offset: number | undefined): true {
    const { operation } = this;
    if (typeof bytes !== "string" && !(bytes instanceof Uint8Array)) {
      throw invalid(operation, "the bytes must be a string or a Uint8Array.");
    }
    if (typeof bytes !== "string") refuseDetached(bytes, "piece", operation);
    const facts = this.facts();
    const before = this.bytes() ?? new Uint8Array(0);
    const from = offset ?? before.length;
    if (from > before.length) throw beyondEnd(before.length, from, operation);
    const size = Math.max(before.length, from + sizeOf(bytes));
    if (size > VALUE_SIZE_MAX) throw valueSizeError(size, operation);
    const value = new Uint8Array(size);
    value.set(before);
    value.set(typeof bytes === "string" ? encoder.encode(bytes) : bytes, from);
    this.write(value, wordsOf(facts));
    return true;
  }

  /** Adds to a number of 64 bits: the sum. Expiry and timestamp stay. */
  increment(by: unknown): bigint {
    const { work, operation } = this;
    if (typeof by !== "bigint") throw invalid(operation, "by must be a bigint.");
    if (BigInt.asIntN(64, by) !== by) throw outOfRange(operation, "by is no integer of 64 bits.");
    const facts = this.facts();
    const bytes = this.bytes();
    let before = 0n;
    if (bytes !== undefined) {
      const text = bytes.length > NUMBER_SIZE_MAX ? "" : decoder.decode(bytes);
      before = NUMBER.test(text) ? BigInt(text) : 0n;
      if (before.toString() !== text || BigInt.asIntN(64, before) !== before) {
        throw work.session.error(STATUS_NOT_A_NUMBER, operation);
      }
    }
    const sum = before + by;
    if (BigInt.asIntN(64, sum) !== sum) throw outOfRange(operation, "the sum is no integer of 64 bits.");
    this.write(sum.toString(), wordsOf(facts));
    return sum;
  }

  /** Merges a patch into a JSON value. `given` is the key as the program has it. Expiry and timestamp stay. */
  merge(given: unknown, patch: unknown): true {
    this.replace(given, merging(this.scope.values, given, patch));
    return true;
  }

  /** Lets `fn` make the next value, `undefined` to delete the key: what it returned. Expiry and timestamp stay. */
  update(given: unknown, fn: unknown): unknown {
    if (typeof fn !== "function") throw invalid(this.operation, "fn must be a function.");
    return this.replace(given, (value) => {
      const next: unknown = fn(value);
      refusePromise(next);
      return next;
    });
  }

  private replace(given: unknown, next: (value: unknown) => unknown): unknown {
    const { work, scope, id, operation } = this;
    const { values } = scope;
    const facts = this.facts();
    const pending = work.pending.get(id);
    let before: unknown;
    try {
      before = this.value();
    } catch (error) {
      throw named(error, given, values.name);
    }
    const value = next(before);
    const encoded = value === undefined ? undefined : ownBytes(encodeOf(values, value, given, operation));
    work.check(operation);
    if (work.pending.get(id) !== pending) {
      const message = `${operation}: the key was written while its new value was being made, by fn or by a codec. Return the value instead of writing it.`;
      throw new CairnError("REENTRANT", operation, message);
    }
    if (encoded !== undefined) this.write(encoded, wordsOf(facts));
    else this.erase(undefined);
    return value;
  }

  private shown(pending: Pending): unknown {
    const { values } = this.scope;
    try {
      return shownValue(values, this.work.valueOf(pending), this.operation);
    } catch (error) {
      throw named(error, this.key, values.name);
    }
  }

  /** The stored bytes, or `undefined`. */
  private bytes(): Uint8Array | undefined {
    const { work, scope, key, operation } = this;
    const pending = this.look();
    if (pending === undefined) return readBytes(work.session, scope, key, work.view, operation);
    const value = work.valueOf(pending);
    return typeof value === "string" ? encoder.encode(value) : value;
  }

  /** Whether what a write asks for holds. `STALE_TIMESTAMP`. */
  private holds(words: WriteWords): boolean {
    if (!asksOf(words)) return true;
    const facts = this.facts();
    if (!hasVersion(words, facts)) return false;
    if (isStale(words, facts)) throw this.work.session.error(STATUS_STALE_TIMESTAMP, this.operation);
    return true;
  }

  /** The pending write; without one, the key is noted as read. */
  private look(): Pending | undefined {
    const { work, scope, key, id } = this;
    const pending = work.pending.get(id);
    if (pending === undefined) work.lookedAt(id, scope, key);
    return pending;
  }
}

/** What a program, or its codec, goes on to change is not what it has set. */
export function ownBytes(encoded: Stored): Stored {
  return typeof encoded === "string" ? encoded : new Uint8Array(encoded);
}

/** What a pending write holds, as it would be read: nobody else's bytes. */
export function shownValue(format: Format, value: Stored | undefined, operation: string): unknown {
  if (value === undefined) return undefined;
  if (typeof value === "string") {
    if (format.decodeText !== undefined && isWellFormed(value)) return format.decodeText(value, "value", operation);
    return format.decode(encoder.encode(value), "value", operation);
  }
  return format.decode(value.slice(), "value", operation);
}

/** Whether a string has no half of a pair: one is stored as U+FFFD. */
function isWellFormed(text: string): boolean {
  return !/[\ud800-\udfff]/.test(text);
}
