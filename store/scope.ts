/**
 * A scope: how the keys and values of one store, or of one namespace in it, become bytes in the core's memory and come
 * back. It belongs to one core; when the store moves on to another one, its faces make new scopes.
 */

import { sizeOf } from "./batch.ts";
import type { ColdReads } from "./cold.ts";
import { ASCII_KEY, type Core } from "./core.ts";
import type { Cursors } from "./cursors.ts";
import type { Format } from "./encoding.ts";
import { Lookups } from "./lookups.ts";
import { Reader } from "./reader.ts";
import { invalid, KEY_SIZE_MAX, keySizeError } from "./refusals.ts";
import type { Session } from "./session.ts";
import { ASCII_LOOP_SIZE_MAX, asciiIn } from "./text.ts";

const encoder = new TextEncoder();

/** What a scope is made for: formats, and whoever knows the scope of the present core. */
export interface Face {
  readonly keys: Format;
  readonly values: Format;
  /** The scope over the core that the store works on now. */
  readonly scope: Scope;
}

/** Keys and values of one face over one core. */
export class Scope {
  readonly core: Core;
  readonly cursors: Cursors;
  readonly cold: ColdReads;
  readonly keys: Format;
  readonly values: Format;
  readonly keysAreText: boolean;
  readonly valuesAreText: boolean;
  readonly keyReader: Reader;
  readonly valueReader: Reader;
  readonly lookups: Lookups;
  /** Flags for the core that go with the key that was encoded last. */
  keyFlags = 0;
  private readonly keyArea: Uint8Array;

  constructor(session: Session, face: Face) {
    const { core } = session;
    this.core = core;
    this.cursors = session.cursors;
    this.cold = session.cold;
    this.keys = face.keys;
    this.values = face.values;
    this.keysAreText = face.keys.kind === "utf8";
    this.valuesAreText = face.values.kind === "utf8";
    this.keyReader = new Reader(core, face.keys, "key");
    this.valueReader = new Reader(core, face.values, "value");
    this.keyArea = core.bytes.subarray(core.keyA, core.keyA + KEY_SIZE_MAX);
    this.lookups = new Lookups({
      core,
      cold: session.cold,
      valueReader: this.valueReader,
      successor: () => (session.core === core ? undefined : face.scope.lookups),
      ready: (operation) => session.ready(operation),
      closing: (operation) => session.closingError(operation),
      keyIn: (key, operation) => this.keyEncodedIn(key, operation),
      keyAt: (key, at, operation) => this.keyAt(key, at, operation),
      error: (status, operation) => session.error(status, operation),
      guard: (run) => session.guard(run),
    });
  }

  /** Encodes a key into KEY_A: its size. */
  keyIn(key: unknown, operation: string): number {
    return this.keyEncodedIn(this.keysAreText ? key : this.keys.encode(key, "key", operation), operation);
  }

  /** Puts an encoded key into KEY_A: its size. */
  keyEncodedIn(key: unknown, operation: string): number {
    const { core } = this;
    if (typeof key === "string") {
      const { length } = key;
      const size = this.asciiAt(key, core.keyA);
      if (size > 0) {
        this.keyFlags = ASCII_KEY;
        return size;
      }
      const { read, written } = encoder.encodeInto(key, this.keyArea);
      if (read < length || length === 0) throw keySizeError(sizeOf(key), operation, operation);
      this.keyFlags = written === length ? ASCII_KEY : 0;
      return written;
    }
    if (this.keysAreText || !(key instanceof Uint8Array)) {
      this.keys.encode(key, "key", operation);
      throw invalid(operation, "the key could not be encoded.");
    }
    if (key.length === 0 || key.length > KEY_SIZE_MAX) throw keySizeError(key.length, operation, operation);
    core.bytes.set(key, core.keyA);
    this.keyFlags = 0;
    return key.length;
  }

  /** Puts an encoded key at a multiple of 8, padded with zeros to one: its size. */
  keyAt(key: unknown, at: number, operation: string): number {
    const { core } = this;
    if (typeof key === "string") {
      const { length } = key;
      let size = -1;
      if (length <= ASCII_LOOP_SIZE_MAX) {
        core.floats[(at + length - 1) >> 3] = 0;
        size = asciiIn(core.bytes, core.words, at, key);
      }
      if (size < 0) {
        if (length > KEY_SIZE_MAX) throw keySizeError(sizeOf(key), operation, operation);
        if (core.text.write !== undefined) size = core.text.write(key, at);
        else size = encoder.encodeInto(key, core.bytes.subarray(at, at + KEY_SIZE_MAX * 3)).written;
        for (let end = at + size; (end & 7) !== 0; end++) core.bytes[end] = 0;
      }
      if (size === 0 || size > KEY_SIZE_MAX) throw keySizeError(size, operation, operation);
      return size;
    }
    if (this.keysAreText || !(key instanceof Uint8Array)) {
      this.keys.encode(key, "key", operation);
      throw invalid(operation, "the key could not be encoded.");
    }
    const { length } = key;
    if (length === 0 || length > KEY_SIZE_MAX) throw keySizeError(length, operation, operation);
    core.floats[(at + length - 1) >> 3] = 0;
    core.bytes.set(key, at);
    return length;
  }

  /** Writes ASCII text at a multiple of 4, where that beats encoding: its size, or -1; then what was written is void. */
  asciiAt(text: string, at: number): number {
    const { core } = this;
    if (core.text.writeAscii !== undefined) return core.text.writeAscii(text, at);
    return text.length <= ASCII_LOOP_SIZE_MAX ? asciiIn(core.bytes, core.words, at, text) : -1;
  }
}
