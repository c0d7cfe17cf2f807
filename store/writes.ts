/**
 * Writes: encoded records into the core, one by one or as a batch that is done whole or not at all.
 *
 * Needs are set aside before anything changes, so what a write refuses leaves no trace.
 */
import { prepare, type ScopedOperation, type SubOperation, sizeOf, type Weight, weigh } from "./batch.ts";
import { trap } from "./commit.ts";
import { measurePieces, PIECE_SIZE, placesIn, unshared } from "./compression.ts";
import { ASCII_VALUE, CHANGES_DUE, COMPRESSED_VALUE, CONDITION_FAILED } from "./core.ts";
import { checkedBefore, expires, type WriteWords } from "./entry.ts";
import { CairnError } from "./error.ts";
import { encodeOf } from "./key-errors.ts";
import type { Span } from "./range.ts";
import { invalid, keySizeError, refuseDetached, VALUE_SIZE_MAX, valueSizeError } from "./refusals.ts";
import { faceOf, type Scope } from "./scope.ts";
import type { Session } from "./session.ts";

const BATCH_SIZE_MAX = 1024 * 1024 * 1024;
/** Keys that one call of the core deletes. */
const CLEAR_COUNT = 256;
/** The same where somebody watches: as many as the feed surely takes. */
const CLEAR_COUNT_WATCHED = 16;
/** Bits of a call's flags that its record keeps. */
const RECORD_FLAGS = 15;

const encoder = new TextEncoder();

/** The writes of one store. */
export class Writes {
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  /** Stores a value. False when a condition did not hold, as for all that follow. */
  write(scope: Scope, key: unknown, value: unknown, operation: string, words?: WriteWords): boolean {
    this.checkWritable(operation);
    const encodedKey = scope.keysAreText ? key : scope.keys.encode(key, "key", operation);
    const encoded = scope.valuesAreText ? value : encodeOf(scope.values, value, key, operation);
    let stored = true;
    if (typeof encoded === "string") {
      stored = this.writeText(scope, encodedKey, encoded, operation, words);
    } else if (!scope.valuesAreText && encoded instanceof Uint8Array) {
      stored = this.writeBytes(scope, encodedKey, encoded, operation, words);
    } else {
      scope.values.encode(value, "value", operation);
    }
    this.session.afterWrite();
    return stored;
  }

  /** Stores a value that is encoded. */
  writeEncoded(
    scope: Scope,
    key: unknown,
    value: string | Uint8Array,
    operation: string,
    words: WriteWords | undefined,
  ): boolean {
    return typeof value === "string"
      ? this.writeText(scope, key, value, operation, words)
      : this.writeBytes(scope, key, value, operation, words);
  }

  /** Writes a text to the exchange area: its size, or -1 when it does not fit. */
  textIn(scope: Scope, text: string): number {
    const { core } = this.session;
    const { length } = text;
    const size = scope.asciiAt(text, core.exchangeIn);
    if (size >= 0) return size;
    if (core.text.write !== undefined && length * 3 <= core.exchangeSize) return core.text.write(text, core.exchangeIn);
    if (length > core.exchangeSize) return -1;
    const { read, written } = encoder.encodeInto(text, core.valueArea);
    return read < length ? -1 : written;
  }

  /** Calls the core, again when there is room by then; throws what its status means. */
  call(run: () => number, operation: string): number {
    let status: number;
    try {
      status = run();
    } catch (cause) {
      throw this.session.trapped(cause);
    }
    if (status < 0 && this.session.retries(status)) status = this.session.guard(run);
    if (status < 0) throw this.session.error(status, operation);
    return status;
  }

  private writeText(scope: Scope, key: unknown, text: string, operation: string, words?: WriteWords): boolean {
    const size = this.textIn(scope, text);
    if (size < 0) {
      return this.writeLarge(scope, key, encoder.encode(text), sizeOf(text) === text.length, operation, words);
    }
    const keySize = scope.keyEncodedIn(key, operation);
    const flags = size === text.length ? ASCII_VALUE | scope.keyFlags : scope.keyFlags;
    return this.commitSet(keySize, size, flags, operation, words);
  }

  private writeBytes(scope: Scope, key: unknown, bytes: Uint8Array, operation: string, words?: WriteWords): boolean {
    const size = bytes.length;
    if (size > this.session.core.exchangeSize) {
      return this.writeLarge(scope, key, bytes, false, operation, words);
    }
    this.session.core.bytes.set(bytes, this.session.core.exchangeIn);
    return this.commitSet(scope.keyEncodedIn(key, operation), size, scope.keyFlags, operation, words);
  }

  private commitSet(keySize: number, valueSize: number, flags: number, operation: string, words?: WriteWords): boolean {
    const { core } = this.session;
    if (words !== undefined) return this.commitWith(keySize, valueSize, flags, operation, words);
    let status: number;
    try {
      status = core.exports.set(keySize, valueSize, flags);
    } catch (cause) {
      throw this.session.trapped(cause);
    }
    if (status >= 0) return true;
    // A group that met a full device is held; when it can be written now, so can this.
    if (this.session.retries(status)) status = this.session.guard(() => core.exports.set(keySize, valueSize, flags));
    if (status < 0) throw this.session.error(status, operation);
    return true;
  }

  /** A write with a condition, an expiry or a timestamp. */
  private commitWith(keySize: number, valueSize: number, flags: number, operation: string, words: WriteWords): boolean {
    const { exports } = this.session.core;
    const all = flags | words.flags;
    const { version, expiry, timestamp } = words;
    const status = this.call(() => exports.setWith(keySize, valueSize, all, version, expiry, timestamp), operation);
    if (expires(words)) this.session.sweeper.arm();
    return status !== CONDITION_FAILED;
  }

  private writeLarge(
    scope: Scope,
    key: unknown,
    given: Uint8Array,
    ascii: boolean,
    operation: string,
    words?: WriteWords,
  ): boolean {
    const { core } = this.session;
    const size = given.length;
    if (size > VALUE_SIZE_MAX) throw valueSizeError(size, operation);
    const compresses = this.session.settings.compression === "lz4";
    const bytes = compresses ? unshared(given) : given;
    const keySize = scope.keyEncodedIn(key, operation);
    let flags = scope.keyFlags | (ascii ? ASCII_VALUE : 0);
    if (words !== undefined) {
      if (!this.condition(keySize, words, operation)) return false;
      flags |= words.flags & RECORD_FLAGS;
      if (expires(words)) this.session.sweeper.arm();
    }
    const places = compresses ? measurePieces(core, bytes) : undefined;
    if (places !== undefined) flags |= COMPRESSED_VALUE;
    this.call(() => {
      if (places !== undefined) placesIn(core, places);
      return core.exports.writeBegin(keySize, size, flags);
    }, operation);
    const pieceSize = places === undefined ? core.exchangeSize : PIECE_SIZE;
    for (let offset = 0; offset < size; ) {
      const piece = bytes.subarray(offset, offset + pieceSize);
      core.bytes.set(piece, core.exchangeIn);
      const status = this.session.guard(() => core.exports.writePart(piece.length));
      if (status < 0) throw this.session.error(status, operation);
      offset += piece.length;
    }
    return true;
  }

  /** Whether what a write of the key in KEY_A asks for holds; keeps its expiry and its timestamp for it. */
  private condition(keySize: number, words: WriteWords, operation: string): boolean {
    const { flags, version, expiry, timestamp } = words;
    const { session } = this;
    const status = session.guard(() => session.core.exports.condition(keySize, flags, version, expiry, timestamp));
    if (status < 0) throw session.error(status, operation);
    return status !== 0;
  }

  /** Deletes a key: whether it was there, and the condition held. */
  erase(scope: Scope, key: unknown, operation: string, words?: WriteWords): boolean {
    return this.eraseIn(scope.keyIn(key, operation), operation, words);
  }

  /** Deletes the key in KEY_A. */
  eraseIn(size: number, operation: string, words?: WriteWords): boolean {
    this.checkWritable(operation);
    const { core } = this.session;
    let status: number;
    if (words === undefined) {
      try {
        status = core.exports.remove(size);
      } catch (cause) {
        throw this.session.trapped(cause);
      }
      if (status < 0 && this.session.retries(status)) status = this.session.guard(() => core.exports.remove(size));
      if (status < 0) throw this.session.error(status, operation);
    } else {
      const { flags, version, timestamp } = words;
      status = this.call(() => core.exports.removeWith(size, flags, version, timestamp), operation);
    }
    if (status === 1) this.session.afterWrite();
    return status === 1;
  }

  /** Does a batch. `syncs`: it is durable as the option `durability` says. */
  runBatch(scope: Scope, operations: readonly unknown[], syncs: boolean): boolean[] {
    this.session.ready("batch");
    this.checkWritable("batch");
    if (!Array.isArray(operations)) throw invalid("batch", "the operations must be an array.");
    const prepared: ScopedOperation[] = [];
    for (let i = 0; i < operations.length; i++) {
      const operation = prepare(operations[i], i, this.ownerOf(operations[i], scope));
      checkSizes(operation, `batch: operation ${i}`, "batch");
      prepared.push(operation);
    }
    // Codecs and getters of later operations are code of the program's own: nothing of theirs runs from here on.
    for (let i = 0; i < prepared.length; i++) {
      const { key, value } = prepared[i] as ScopedOperation;
      if (key instanceof Uint8Array) refuseDetached(key, `key of operation ${i}`, "batch");
      if (value instanceof Uint8Array) refuseDetached(value, `value of operation ${i}`, "batch");
    }
    return this.runPrepared(prepared, syncs, "batch");
  }

  /** Whose keys an operation of a batch means: `scope`'s, unless it names a namespace. */
  private ownerOf(operation: unknown, scope: Scope): Scope {
    if (typeof operation !== "object" || operation === null) return scope;
    const { sub } = operation as Partial<SubOperation>;
    return sub === undefined ? scope : faceOf(sub, this.session, "batch").scope;
  }

  /** Does operations whose sizes were checked, all of them or none. */
  runPrepared(prepared: readonly ScopedOperation[], syncs: boolean, name: string): boolean[] {
    const { session } = this;
    if (prepared.length === 0) {
      if (syncs && session.durability === "sync") session.committer.sync(name);
      return [];
    }
    const weight = { records: 0, resident: 0, keyMax: 0, valueMax: 0, givesBack: true };
    for (const operation of prepared) weigh(operation, operation.scope.prefix.length, weight);
    if (weight.records > BATCH_SIZE_MAX) {
      const exact = prepared.reduce((sum, { scope, key, value = "" }) => {
        return sum + scope.prefix.length + sizeOf(key) + sizeOf(value) + 24;
      }, 0);
      if (exact > BATCH_SIZE_MAX) {
        const message = `${name}: ${prepared.length} operations of ${exact} bytes exceed the limit of ${BATCH_SIZE_MAX}. Split them.`;
        throw new CairnError("BATCH_SIZE", name, message);
      }
    }
    if (!this.conditionsHold(prepared, name)) {
      if (syncs && session.durability === "sync") session.committer.sync(name);
      return prepared.map(() => false);
    }
    this.setAside(prepared.length, weight, name);
    try {
      return this.apply(prepared, name);
    } finally {
      session.core.exports.batchEnd();
      session.afterWrite();
      if (syncs && session.durability === "sync" && session.committer.poisoned === undefined) {
        session.committer.sync(name);
      }
    }
  }

  /** Whether all conditions of a batch hold, before any of it is done. */
  private conditionsHold(prepared: readonly ScopedOperation[], name: string): boolean {
    for (const { scope, key, words } of prepared) {
      if (words !== undefined && !this.condition(scope.keyEncodedIn(key, name), words, name)) return false;
    }
    return true;
  }

  /** Does a batch whose needs are set aside. What fails now is the device, and half a batch is never made durable. */
  private apply(prepared: readonly ScopedOperation[], name: string): boolean[] {
    const results: boolean[] = [];
    const { core } = this.session;
    try {
      for (const { scope, key, value, words } of prepared) {
        if (((core.words[core.attention] as number) & CHANGES_DUE) !== 0) this.session.changes?.collect(false);
        if (value === undefined) {
          const size = scope.keyEncodedIn(key, name);
          const status = this.session.guard(() => this.session.core.exports.remove(size));
          if (status < 0) throw this.session.error(status, name);
          results.push(status === 1);
          continue;
        }
        this.writeEncoded(scope, key, value, name, checkedBefore(words));
        results.push(true);
      }
    } catch (error) {
      throw this.session.committer.poison(trap(error));
    }
    return results;
  }

  /** Makes the core set aside what a batch needs. */
  private setAside(count: number, weight: Weight, operation: string): void {
    const { exports } = this.session.core;
    const { records, resident, keyMax, valueMax, givesBack } = weight;
    const begin = (): number => exports.batchBegin(count, records, resident, keyMax, valueMax, givesBack);
    let status = this.session.guard(begin);
    if (status < 0 && this.session.retries(status)) status = this.session.guard(begin);
    if (status < 0) throw this.session.error(status, operation);
  }

  /** Deletes the keys of a span, all at once: how many there were. */
  clearSpan(span: Span): number {
    this.checkWritable("clear");
    const { core } = this.session;
    const walk = this.session.cursors.take(span, "clear", undefined, true);
    try {
      const records = this.session.guard(() => core.exports.cursorWeigh(walk.handle));
      const keyMax = core.words[core.result + 1] as number;
      const count = core.words[core.result] as number;
      if (count === 0) return 0;
      this.setAside(count, { records, resident: 0, keyMax, valueMax: 0, givesBack: true }, "clear");
      try {
        let deleted = 0;
        while (true) {
          const { changes } = this.session;
          const most = changes === undefined ? CLEAR_COUNT : CLEAR_COUNT_WATCHED;
          const status = this.session.guard(() => core.exports.cursorDelete(walk.handle, most));
          if (status === 0) return deleted;
          if (status < 0) throw this.session.committer.poison(this.session.error(status, "clear"));
          // Those that had expired are no longer there for who counts.
          deleted += core.words[core.result + 1] as number;
          changes?.collect(false);
        }
      } finally {
        core.exports.batchEnd();
      }
    } finally {
      this.session.cursors.close(walk);
    }
  }

  /** Throws within the function of a transaction: what it writes goes through the transaction. */
  checkWritable(operation: string): void {
    if (!this.session.transacting) return;
    const message = `${operation}: the store is not written to while a transaction's function runs. Write through the transaction, "tx", that the function is given.`;
    throw new CairnError("REENTRANT", operation, message);
  }
}

/** Throws when the key or the value of an operation is too large. */
export function checkSizes({ scope, key, value }: ScopedOperation, where: string, operation: string): void {
  const keySize = sizeOf(key);
  if (keySize === 0 || keySize > scope.keySizeMax) throw keySizeError(keySize, where, operation, scope.keySizeMax);
  if (value !== undefined) checkValueSize(value, operation);
}

/** Throws when a value is too large. */
export function checkValueSize(value: string | Uint8Array, operation: string): void {
  if (value.length > VALUE_SIZE_MAX / 3 && sizeOf(value) > VALUE_SIZE_MAX) {
    throw valueSizeError(sizeOf(value), operation);
  }
}
