/**
 * Partial updates: `append`, `patch`, `increment`, `merge` and `update`. Each reads the value, makes the new one and writes it
 * whole, in one step that nothing comes between, and leaves expiry and timestamp as they are.
 *
 * Where the new value follows from bytes alone the core does all of it in one call, as long as the value fits its
 * exchange area. What needs code of the program's own (a codec, `fn`) runs here; should that code write the same key, the
 * call is refused, for one of the two writes would be lost.
 */
import { ASCII_VALUE, AT_MEMORY, type Core, RESULT_ASCII_VALUE, TOO_LARGE } from "./core.ts";
import type { Format } from "./encoding.ts";
import { type Facts, factsOf, wordsOf } from "./entry.ts";
import { CairnError } from "./error.ts";
import { readPieces } from "./iterator.ts";
import { encodeOf, named, type Stored, shown } from "./key-errors.ts";
import { mergePatch } from "./merge-patch.ts";
import { beyondEnd, invalid, outOfRange, refuseDetached, VALUE_SIZE_MAX } from "./refusals.ts";
import type { Face, Scope } from "./scope.ts";
import type { Session } from "./session.ts";

const STAT_HIGHEST_TIME = 31;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The partial updates of one face of a store. */
export class Partials {
  private readonly session: Session;
  private readonly face: Face;

  constructor(session: Session, face: Face) {
    this.session = session;
    this.face = face;
  }

  /** See `Store.append`. */
  append(key: unknown, bytes: unknown): true {
    return this.splice(key, undefined, bytes, "append");
  }

  /** See `Store.patch`. */
  patch(key: unknown, offset: unknown, bytes: unknown): true {
    checkOffset(offset);
    return this.splice(key, offset as number, bytes, "patch");
  }

  /** See `Store.increment`. */
  increment(key: unknown, by: unknown): bigint {
    const { session, face } = this;
    this.ready("increment");
    if (by !== 1n) {
      if (typeof by !== "bigint") throw invalid("increment", `by must be a bigint, not ${nameOf(by)}.`);
      if (BigInt.asIntN(64, by) !== by) throw outOfRange("increment", "by is no integer of 64 bits.");
    }
    const { scope } = face;
    const keySize = scope.keyIn(key, "increment");
    const { core } = scope;
    const flags = scope.keyFlags;
    session.writes.call(() => {
      core.integers[core.exchangeIn >> 3] = by as bigint;
      return core.exports.increment(keySize, flags);
    }, "increment");
    this.wrote("increment");
    return core.integers[core.incremented] as bigint;
  }

  /** See `Store.merge`. */
  merge(key: unknown, patch: unknown): true {
    this.ready("merge");
    const { values } = this.face;
    this.replace(key, "merge", merging(values, key, patch), (value) => encodeOf(values, value, key, "merge"));
    return true;
  }

  /** See `Store.update`. */
  update(key: unknown, fn: unknown): unknown {
    this.ready("update");
    if (typeof fn !== "function") throw invalid("update", "fn must be a function.");
    return this.replace(
      key,
      "update",
      (value) => {
        const next: unknown = fn(value);
        refusePromise(next);
        return next;
      },
      (value) => encodeOf(this.face.values, value, key, "update"),
    );
  }

  /** Throws when no write may begin. */
  private ready(operation: string): void {
    this.session.ready(operation);
    this.session.writes.checkWritable(operation);
  }

  /** What follows a write. */
  private wrote(operation: string): void {
    const { session } = this;
    session.afterWrite();
    if (session.durability === "sync") session.committer.sync(operation);
  }

  /** Appends bytes, or without an offset writes them there. */
  private splice(key: unknown, offset: number | undefined, bytes: unknown, operation: string): true {
    const { session, face } = this;
    this.ready(operation);
    if (typeof bytes !== "string" && !(bytes instanceof Uint8Array)) {
      throw invalid(operation, `the bytes must be a string or a Uint8Array, not ${nameOf(bytes)}.`);
    }
    const encoded = face.keys.encode(key, "key", operation);
    // A codec of keys is code of the program's own, too.
    if (typeof bytes !== "string") refuseDetached(bytes, "piece", operation);
    const { scope } = face;
    const { core } = scope;
    const size = this.pieceIn(scope, bytes);
    const keySize = scope.keyEncodedIn(encoded, operation);
    const flags = scope.keyFlags | (typeof bytes === "string" && size === bytes.length ? ASCII_VALUE : 0);
    // A larger one could not be appended to anything.
    const beyond = offset !== undefined && offset > VALUE_SIZE_MAX;
    let status = TOO_LARGE;
    if (size >= 0 && !beyond) {
      let isIn = true;
      try {
        status = session.writes.call(() => {
          // What was refused for want of room may have moved the piece.
          if (!isIn) this.pieceIn(scope, bytes);
          isIn = false;
          return offset === undefined
            ? core.exports.append(keySize, size, flags)
            : core.exports.patch(keySize, offset, size, flags);
        }, operation);
      } catch (error) {
        if (offset === undefined || !(error instanceof CairnError) || error.code !== "OUT_OF_RANGE") throw error;
        throw beyondEnd(
          this.valueOf(core, scope.keyEncodedIn(encoded, operation), operation).valueSize,
          offset,
          operation,
        );
      }
    }
    if (status === TOO_LARGE) this.spliceLarge(scope, encoded, offset, bytes, operation);
    else this.wrote(operation);
    return true;
  }

  /** Puts a piece into the exchange area: its size, or -1 when it does not fit. */
  private pieceIn(scope: Scope, bytes: Stored): number {
    const { core } = scope;
    if (typeof bytes === "string") return this.session.writes.textIn(scope, bytes);
    if (bytes.length > core.exchangeSize) return -1;
    core.bytes.set(bytes, core.exchangeIn);
    return bytes.length;
  }

  /** The same for a value that is too large for one call: it comes out, and goes in again, in pieces. */
  private spliceLarge(scope: Scope, key: Stored, offset: number | undefined, bytes: Stored, operation: string): void {
    const piece = typeof bytes === "string" ? encoder.encode(bytes) : bytes;
    const size = scope.keyEncodedIn(key, operation);
    const facts = this.session.guard(() => factsOf(scope.core, size));
    const { valueSize, read } = this.valueOf(scope.core, scope.keyEncodedIn(key, operation), operation);
    const from = offset ?? valueSize;
    if (from > valueSize) throw beyondEnd(valueSize, from, operation);
    const newSize = Math.max(valueSize, from + piece.length);
    if (newSize > VALUE_SIZE_MAX) {
      const message = `${operation}: a value of ${newSize} bytes would exceed the limit of ${VALUE_SIZE_MAX}. Nothing was changed.`;
      throw new CairnError("VALUE_SIZE", operation, message);
    }
    const value = new Uint8Array(newSize);
    value.set(read());
    value.set(piece, from);
    this.session.writes.writeEncoded(scope, key, value, operation, wordsOf(facts));
    this.wrote(operation);
  }

  /** The size of the value of the key in KEY_A, 0 when it is absent, and how to get its bytes. */
  private valueOf(core: Core, keySize: number, operation: string): { valueSize: number; read(): Uint8Array } {
    const { session } = this;
    const status = session.guard(() => core.exports.get(keySize));
    if (status < 0) throw session.error(status, operation);
    if (status === 0) return { valueSize: 0, read: () => new Uint8Array(0) };
    const valueSize = core.words[core.result + 1] as number;
    if (status !== AT_MEMORY) {
      return {
        valueSize,
        read: () =>
          readPieces(
            core,
            valueSize,
            (run) => session.guard(run),
            (failed) => session.error(failed, operation),
          ),
      };
    }
    const at = (core.words[core.result] as number) >>> 0;
    return { valueSize, read: () => core.bytes.slice(at, at + valueSize) };
  }

  /** Reads a value, lets code of the program's own make the next one, and writes that, if the key is still the same. */
  private replace(
    key: unknown,
    operation: string,
    next: (value: unknown) => unknown,
    encode: (value: unknown) => Stored,
  ): unknown {
    const { session, face } = this;
    const given = face.keys.encode(key, "key", operation);
    // The program may change its buffer meanwhile.
    const encoded = typeof given === "string" ? given : new Uint8Array(given);
    const facts = this.facts(encoded, operation);
    const before = facts === undefined ? undefined : this.decoded(encoded, key, operation);
    const value = next(before);
    const bytes = value === undefined ? undefined : encode(value);
    this.ready(operation);
    const now = this.facts(encoded, operation);
    if (now?.version !== facts?.version) {
      // It has expired since it was read: the write comes before that, and is gone as well.
      if (now === undefined && this.hasExpired(facts)) return value;
      const message = `${operation}: the key was written while its new value was being made, by fn or by a codec. Return the value instead of writing it.`;
      throw new CairnError("REENTRANT", operation, message);
    }
    const { scope } = face;
    if (bytes !== undefined) session.writes.writeEncoded(scope, encoded, bytes, operation, wordsOf(now));
    else if (now !== undefined) session.writes.eraseIn(scope.keyEncodedIn(encoded, operation), operation);
    this.wrote(operation);
    return value;
  }

  private facts(key: Stored, operation: string): Facts | undefined {
    const { scope } = this.face;
    const keySize = scope.keyEncodedIn(key, operation);
    return this.session.guard(() => factsOf(scope.core, keySize));
  }

  private hasExpired(facts: Facts | undefined): boolean {
    if (facts?.expiresAt === undefined) return false;
    return facts.expiresAt <= Math.max(Date.now(), this.session.core.exports.stat(STAT_HIGHEST_TIME));
  }

  private decoded(key: Stored, given: unknown, operation: string): unknown {
    const { session } = this;
    const { scope } = this.face;
    const { core, valueReader } = scope;
    const keySize = scope.keyEncodedIn(key, operation);
    const status = session.guard(() => core.exports.get(keySize));
    if (status === 0) return undefined;
    if (status < 0) throw session.error(status, operation);
    const size = core.words[core.result + 1] as number;
    try {
      if (status !== AT_MEMORY) {
        return valueReader.own(
          readPieces(
            core,
            size,
            (run) => session.guard(run),
            (failed) => session.error(failed, operation),
          ),
          operation,
        );
      }
      const isAscii = ((core.words[core.result + 2] as number) & RESULT_ASCII_VALUE) !== 0;
      return valueReader.read((core.words[core.result] as number) >>> 0, size, isAscii, operation);
    } catch (error) {
      throw named(error, given, this.face.values.name);
    }
  }
}

/**
 * What `merge` makes of a value under an encoding: for `utf8` and `binary` the value is the text of the JSON, else what the
 * encoding decodes to. `INVALID_ARGUMENT` for a patch that JSON does not have; what is returned throws it for such a value.
 */
export function merging(format: Format, key: unknown, patch: unknown): (value: unknown) => unknown {
  if (patch === undefined || typeof patch === "function" || typeof patch === "symbol") {
    throw invalid("merge", "the patch must be a value that JSON can represent.");
  }
  if (format.kind === "codec") return (value) => mergePatch(value, patch);
  return (value) => {
    const before = value === undefined ? undefined : parse(value as Stored, key, format.name);
    const text = stringify(mergePatch(before, patch), key, format.name);
    return format.kind === "binary" ? encoder.encode(text) : text;
  };
}

/** The place of a patch. */
export function checkOffset(offset: unknown): void {
  if (Number.isSafeInteger(offset) && (offset as number) >= 0) return;
  throw invalid("patch", "the offset must be a safe integer from 0 on.");
}

/** What a synchronous function must not return. */
export function refusePromise(next: unknown): void {
  if (typeof (next as { then?: unknown } | undefined | null)?.then !== "function") return;
  // Nobody else will wait for it.
  Promise.resolve(next).catch(() => undefined);
  throw invalid("update", "fn must be synchronous: it returned a promise. Nothing was changed.");
}

function parse(value: Stored, key: unknown, format: string): unknown {
  try {
    return JSON.parse(typeof value === "string" ? value : decoder.decode(value));
  } catch (cause) {
    const message = `merge: the value of the key ${shown(key)} is not JSON under the encoding ${format}. Nothing was changed.`;
    throw new CairnError("INVALID_ARGUMENT", "merge", message, { cause });
  }
}

function stringify(value: unknown, key: unknown, format: string): string {
  let text: string | undefined;
  let failure: unknown;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    failure = cause;
  }
  if (text !== undefined) return text;
  const message = `merge: the merged value of the key ${shown(key)} cannot be written as JSON under the encoding ${format}. Nothing was changed.`;
  throw new CairnError("INVALID_ARGUMENT", "merge", message, failure === undefined ? undefined : { cause: failure });
}

function nameOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
}
