/** Batches: operations that are checked and encoded first, so that they are then done whole or not at all. */

import type { Format } from "./encoding.ts";
import {
  DELETE_OPTIONS,
  type DeleteOptions,
  readWriteOptions,
  WRITE_OPTIONS,
  type WriteOptions,
  type WriteWords,
} from "./entry.ts";
import { CairnError } from "./error.ts";
import { encodeOf } from "./key-errors.ts";
import type { Scope } from "./scope.ts";
import type { Store } from "./store.ts";

/** One operation of a batch. `"put"` is another word for `"set"`, `"del"` for `"delete"`. */
export type BatchOperation<K = string, V = string> =
  | ({
      /** A write. */
      type: "set" | "put";
      /** The key. */
      key: K;
      /** The new value. */
      value: V;
    } & WriteOptions)
  | ({
      /** A deletion. */
      type: "delete" | "del";
      /** The key. */
      key: K;
    } & DeleteOptions);

/** An operation of a batch on a namespace of the same store, or on the store itself. Key and value are checked when it is done. */
export type SubOperation = (
  | ({
      /** A write. */
      type: "set" | "put";
      /** The key, as the namespace takes it. */
      key: unknown;
      /** The new value, as the namespace takes it. */
      value: unknown;
    } & WriteOptions)
  | ({
      /** A deletion. */
      type: "delete" | "del";
      /** The key, as the namespace takes it. */
      key: unknown;
    } & DeleteOptions)
) & {
  /** What `sub()` has returned. */
  sub: object;
};

/** An operation in encoded form. Strings are stored as UTF-8. */
export interface PreparedOperation {
  key: string | Uint8Array;
  /** `undefined` deletes. */
  value: string | Uint8Array | undefined;
  /** What the write asks for beside its value. */
  words?: WriteWords | undefined;
}

/** An operation with whose key it is. */
export type ScopedOperation = PreparedOperation & { scope: Scope };

const RECORD_HEADER_SIZE = 16;
const INLINE_VALUE_SIZE_MAX = 128;
/** Expiry and timestamp. */
const WORDS_SIZE_MAX = 16;
const KNOWN = ["type", "key", "value", "sub"];

/** Checks one operation on the keys of `scope` and encodes it. */
export function prepare<S extends { keys: Format; values: Format }>(
  operation: unknown,
  index: number,
  scope: S,
): PreparedOperation & { scope: S } {
  const { keys, values } = scope;
  const where = `operation ${index}`;
  if (typeof operation !== "object" || operation === null)
    throw invalid(`${where} must be an object { type, key, value }.`);
  const given = operation as Record<string, unknown>;
  const { type } = given as { type?: unknown };
  const key = keys.encode(given["key"], "key", "batch");
  const deletes = type === "delete" || type === "del";
  if (!deletes && type !== "set" && type !== "put") {
    throw invalid(`the type of ${where} must be "set", "put", "delete" or "del".`);
  }
  const words = readWriteOptions(given, "batch", deletes ? DELETE_OPTIONS : WRITE_OPTIONS, KNOWN);
  const value = deletes ? undefined : encodeOf(values, given["value"], given["key"], "batch");
  return { scope, key, value, words };
}

/** What a batch asks for, in bytes, none of it less than it will be. */
export interface Weight {
  /** All records. */
  records: number;
  /** What may stay in memory. */
  resident: number;
  /** The largest key and the largest value. */
  keyMax: number;
  valueMax: number;
  /** Whether all operations are deletions. */
  givesBack: boolean;
}

/** Adds an operation, whose key gets a prefix of so many bytes, to the weight of its batch. */
export function weigh(operation: PreparedOperation, prefixSize: number, batch: Weight): void {
  const key = prefixSize + sizeMax(operation.key);
  const value = operation.value === undefined ? 0 : sizeMax(operation.value);
  const words = operation.words === undefined ? 0 : WORDS_SIZE_MAX;
  batch.records += RECORD_HEADER_SIZE + words + key + value + 8;
  batch.resident += key + Math.min(value, INLINE_VALUE_SIZE_MAX);
  batch.keyMax = Math.max(batch.keyMax, key);
  batch.valueMax = Math.max(batch.valueMax, value);
  if (operation.value !== undefined) batch.givesBack = false;
}

/** Bytes of a string as UTF-8, or of bytes. */
export function sizeOf(encoded: string | Uint8Array): number {
  if (typeof encoded !== "string") return encoded.length;
  let size = encoded.length;
  for (let i = 0; i < encoded.length; i++) {
    const unit = encoded.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) {
      size += 1;
      continue;
    }
    const paired = unit >= 0xd800 && unit < 0xdc00 && (encoded.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    size += 2;
    // A pair of two units takes four bytes in all.
    if (paired) i += 1;
  }
  return size;
}

/** An upper bound of `sizeOf` that costs nothing for short strings, and is exact for long ones. */
export function sizeMax(encoded: string | Uint8Array): number {
  if (typeof encoded !== "string") return encoded.length;
  return encoded.length <= 256 ? encoded.length * 3 : sizeOf(encoded);
}

/** An operation as the builders of batches take it. `INVALID_ARGUMENT` names what is wrong with its options. */
export function setOperation<K, V>(key: K, value: V, options: WriteOptions | undefined): BatchOperation<K, V> {
  if (options === undefined) return { type: "set", key, value };
  readWriteOptions(options, "batch");
  return { ...options, type: "set", key, value };
}

/** The same for a deletion. */
export function deleteOperation<K, V>(key: K, options: DeleteOptions | undefined): BatchOperation<K, V> {
  if (options === undefined) return { type: "delete", key };
  readWriteOptions(options, "batch", DELETE_OPTIONS);
  return { ...options, type: "delete", key };
}

/** A batch that fills: shared by its builders, one for each namespace. */
export interface BatchOperations {
  operations: (BatchOperation<never, never> | SubOperation)[];
  /** `INVALID_ARGUMENT` for what is no namespace of the same store. */
  check(sub: unknown): void;
}

/** Collects operations, for whoever does them: a store, or a connection. */
export abstract class BatchBuilder<K, V, W extends BatchOperations> {
  protected readonly work: W;
  private readonly sub: object | undefined;

  /** Stores and connections make these: `batch()`. @internal */
  constructor(work: W, sub?: object) {
    this.work = work;
    this.sub = sub;
  }

  /** How many operations wait, those on namespaces included. */
  get length(): number {
    return this.work.operations.length;
  }

  /** Adds a write. */
  set(key: K, value: V, options?: WriteOptions): this {
    return this.add(setOperation(key, value, options));
  }

  /** Adds a deletion. */
  delete(key: K, options?: DeleteOptions): this {
    return this.add(deleteOperation(key, options));
  }

  /** Forgets all operations. */
  clear(): this {
    this.work.operations = [];
    return this;
  }

  private add(operation: BatchOperation<K, V>): this {
    const { work, sub } = this;
    work.operations.push((sub === undefined ? operation : { ...operation, sub }) as SubOperation);
    return this;
  }
}

/** What a store does with a batch. */
export interface BatchWork extends BatchOperations {
  run(operations: readonly (BatchOperation<never, never> | SubOperation)[]): boolean[];
  durable<T>(value: T): Promise<T>;
}

/** Collects operations; nothing happens before `commit` or `commitDurable`, and then all of it. */
export class Batch<K, V> extends BatchBuilder<K, V, BatchWork> {
  /**
   * The same batch for a namespace of the same store, or for the store itself: each commits what was added to either.
   * `INVALID_ARGUMENT` for any other.
   */
  in<SubK, SubV>(sub: Store<SubK, SubV>): Batch<SubK, SubV> {
    this.work.check(sub);
    return new Batch<SubK, SubV>(this.work, sub);
  }

  /** Does all operations at once: visible when it returns, durable as `set` is. What each of them returned. */
  commit(): boolean[] {
    const { work } = this;
    const results = work.run(work.operations);
    work.operations = [];
    return results;
  }

  /** Does all operations at once: a promise that resolves when they are on stable storage. */
  async commitDurable(): Promise<boolean[]> {
    return this.work.durable(this.commit());
  }
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "batch", `batch: ${message}`);
}
