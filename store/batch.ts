/** Batches: operations that are checked and encoded first, so that they are then done whole or not at all. */

import type { Format } from "./encoding.ts";
import { CairnError } from "./error.ts";
import type { Scope } from "./scope.ts";

/** One operation of a batch. `"put"` is another word for `"set"`, `"del"` for `"delete"`. */
export type BatchOperation<K = string, V = string> =
  | { type: "set" | "put"; key: K; value: V }
  | { type: "delete" | "del"; key: K };

/** An operation in encoded form. Strings are stored as UTF-8. */
export interface PreparedOperation {
  key: string | Uint8Array;
  /** `undefined` deletes. */
  value: string | Uint8Array | undefined;
}

/** An operation with whose key it is. */
export interface ScopedOperation extends PreparedOperation {
  scope: Scope;
}

const RECORD_HEADER_SIZE = 16;
const INLINE_VALUE_SIZE_MAX = 128;
const KNOWN = ["type", "key", "value"];

/** Checks one operation and encodes it. */
export function prepare(
  operation: unknown,
  index: number,
  { keys, values }: { keys: Format; values: Format },
): PreparedOperation {
  const where = `operation ${index}`;
  if (typeof operation !== "object" || operation === null)
    throw invalid(`${where} must be an object { type, key, value }.`);
  const given = operation as Record<string, unknown>;
  const { type } = given as { type?: unknown };
  for (const name of Object.keys(given)) {
    if (given[name] !== undefined && !KNOWN.includes(name)) refuseOption(name, "batch");
  }
  const key = keys.encode(given["key"], "key", "batch");
  if (type === "delete" || type === "del") return { key, value: undefined };
  if (type !== "set" && type !== "put") throw invalid(`the type of ${where} must be "set", "put", "delete" or "del".`);
  return { key, value: values.encode(given["value"], "value", "batch") };
}

/** Options of a write that the contract has and this version does not: refused, not ignored. */
export function refuseOptions(options: unknown, operation: string): void {
  if (typeof options !== "object" || options === null) {
    throw new CairnError("INVALID_ARGUMENT", operation, `${operation}: options must be an object.`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) refuseOption(name, operation);
  }
}

function refuseOption(name: string, operation: string): never {
  if (["ifVersion", "expiresIn", "expiresAt", "timestamp"].includes(name)) {
    const message = `${operation}: the option ${name} is not supported by this version.`;
    throw new CairnError("UNSUPPORTED", operation, message);
  }
  throw new CairnError("INVALID_ARGUMENT", operation, `${operation}: there is no option ${name}.`);
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
  batch.records += RECORD_HEADER_SIZE + key + value + 8;
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

/** Collects operations; nothing happens before `commit` or `commitDurable`, and then all of it. */
export class Batch<K, V> {
  private operations: BatchOperation<K, V>[] = [];
  private readonly run: (operations: BatchOperation<K, V>[]) => boolean[];
  private readonly durable: <T>(value: T) => Promise<T>;

  /** Stores make these: `store.batch()`. */
  constructor(run: (operations: BatchOperation<K, V>[]) => boolean[], durable: <T>(value: T) => Promise<T>) {
    this.run = run;
    this.durable = durable;
  }

  /** How many operations wait. */
  get length(): number {
    return this.operations.length;
  }

  /** Adds a write. */
  set(key: K, value: V, options?: object): this {
    if (options !== undefined) refuseOptions(options, "batch");
    this.operations.push({ type: "set", key, value });
    return this;
  }

  /** Adds a deletion. */
  delete(key: K, options?: object): this {
    if (options !== undefined) refuseOptions(options, "batch");
    this.operations.push({ type: "delete", key });
    return this;
  }

  /** Forgets all operations. */
  clear(): this {
    this.operations = [];
    return this;
  }

  /** Does all operations at once: visible when it returns, durable as `set` is. What each of them returned. */
  commit(): boolean[] {
    const results = this.run(this.operations);
    this.operations = [];
    return results;
  }

  /** Does all operations at once: a promise that resolves when they are on stable storage. */
  async commitDurable(): Promise<boolean[]> {
    return this.durable(this.commit());
  }
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "batch", `batch: ${message}`);
}
