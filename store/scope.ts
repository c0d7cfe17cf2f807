/**
 * A scope: how the keys and values of one store, or of one namespace in it, become bytes in the core's memory and come
 * back. It belongs to one core; when the store moves on to another one, its faces make new scopes.
 */

import { sizeOf } from "./batch.ts";
import type { ColdReads } from "./cold.ts";
import { ASCII_KEY, type Core } from "./core.ts";
import type { Cursors } from "./cursors.ts";
import { BINARY, type Format } from "./encoding.ts";
import { Lookups } from "./lookups.ts";
import { type Span, wholeOf } from "./range.ts";
import { Reader } from "./reader.ts";
import { invalid, KEY_SIZE_MAX, keySizeError, refuseDetached } from "./refusals.ts";
import type { Session } from "./session.ts";
import { ASCII_LOOP_SIZE_MAX, asciiIn } from "./text.ts";

const encoder = new TextEncoder();
/** The store itself has no prefix. */
export const NO_PREFIX: Uint8Array = new Uint8Array(0);

/** What a scope is made for: formats, and whoever knows the scope of the present core. */
export interface Face {
  readonly keys: Format;
  readonly values: Format;
  /** What the core's keys have in front: the prefix of a namespace; empty for the store itself. */
  readonly prefix: Uint8Array;
  /** The scope over the core that the store works on now. */
  readonly scope: Scope;
}

/** The face of a store, or of a namespace, of a session. `INVALID_ARGUMENT` for anything else. */
export function faceOf(store: unknown, session: Session, operation: string): Face {
  const { faceIn } = Object(store) as { faceIn?: (session: Session, operation: string) => Face };
  if (typeof faceIn !== "function") throw invalid(operation, "a namespace must be what sub() has returned.");
  return faceIn.call(store, session, operation);
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
  readonly prefix: Uint8Array;
  readonly whole: Readonly<Span>;
  /** Bytes that the prefix leaves of a key. */
  readonly keySizeMax: number;
  /** Flags for the core that go with the key that was encoded last. */
  keyFlags = 0;
  private readonly keyArea: Uint8Array;
  private readonly face: Face;
  private readonly session: Session;
  private rawScope: Scope | undefined;
  private prefixText: string | undefined;

  constructor(session: Session, face: Face) {
    const { core } = session;
    this.session = session;
    this.face = face;
    this.prefix = face.prefix;
    this.whole = wholeOf(face.keys, face.prefix);
    this.keySizeMax = KEY_SIZE_MAX - face.prefix.length;
    this.core = core;
    this.cursors = session.cursors;
    this.cold = session.cold;
    this.keys = face.keys;
    this.values = face.values;
    this.keysAreText = face.keys.kind === "utf8";
    this.valuesAreText = face.values.kind === "utf8";
    this.keyReader = new Reader(core, face.keys, "key", face.prefix.length);
    this.valueReader = new Reader(core, face.values, "value");
    this.keyArea = core.bytes.subarray(core.keyA + face.prefix.length, core.keyA + KEY_SIZE_MAX);
    this.lookups = new Lookups({
      core,
      cursors: session.cursors,
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
    return this.keyEncodedIn(this.encodedKey(key, operation), operation);
  }

  /** A key in encoded form; one of text is checked when it is put somewhere. */
  encodedKey(key: unknown, operation: string): unknown {
    return this.keysAreText ? key : this.keys.encode(key, "key", operation);
  }

  /** A key in encoded form, checked, and nobody's to change: for what is done with it later. */
  keptKey(key: unknown, operation: string): string | Uint8Array {
    const encoded = this.keys.encode(key, "key", operation);
    const { length } = encoded;
    if (length === 0 || length * 3 > this.keySizeMax) {
      const size = sizeOf(encoded);
      if (size === 0 || size > this.keySizeMax) throw keySizeError(size, operation, operation, this.keySizeMax);
    }
    return this.keys.kind === "binary" ? new Uint8Array(encoded as Uint8Array) : encoded;
  }

  /**
   * The bytes of an encoded key behind the prefix, one character a byte: equal for equal keys of the whole store, and in the
   * order of keys.
   */
  idOf(key: string | Uint8Array): string {
    const id = typeof key === "string" && isAscii(key) ? key : latin1(typeof key === "string" ? utf8(key) : key);
    return this.prefix.length === 0 ? id : this.prefixId + id;
  }

  /** Puts an encoded key into KEY_A, behind the prefix: its size. */
  keyEncodedIn(key: unknown, operation: string): number {
    const { core, prefix } = this;
    if (typeof key === "string") {
      const { length } = key;
      const size = prefix.length === 0 ? this.asciiAt(key, core.keyA) : this.asciiBehindPrefix(key);
      if (size > 0) {
        this.keyFlags = ASCII_KEY;
        return size;
      }
      this.prefixAt(core.keyA);
      const { read, written } = encoder.encodeInto(key, this.keyArea);
      if (read < length || length === 0) throw keySizeError(sizeOf(key), operation, operation, this.keySizeMax);
      this.keyFlags = written === length ? ASCII_KEY : 0;
      return prefix.length + written;
    }
    const bytes = this.keyBytes(key, operation);
    this.prefixAt(core.keyA);
    core.bytes.set(bytes, core.keyA + prefix.length);
    this.keyFlags = 0;
    return prefix.length + bytes.length;
  }

  /** Puts an encoded key, behind the prefix, at a multiple of 8, padded with zeros to one: its size. */
  keyAt(key: unknown, at: number, operation: string): number {
    const { core, prefix } = this;
    const start = at + prefix.length;
    if (typeof key === "string") {
      const { length } = key;
      let size = -1;
      if (length <= ASCII_LOOP_SIZE_MAX && prefix.length === 0) {
        core.floats[(at + length - 1) >> 3] = 0;
        size = asciiIn(core.bytes, core.words, at, key);
      }
      if (size < 0) {
        const limit = this.keySizeMax;
        if (length > limit) throw keySizeError(sizeOf(key), operation, operation, limit);
        this.prefixAt(at);
        if (core.text.write !== undefined) size = core.text.write(key, start);
        else size = encoder.encodeInto(key, core.bytes.subarray(start, start + KEY_SIZE_MAX * 3)).written;
        for (let end = start + size; (end & 7) !== 0; end++) core.bytes[end] = 0;
      }
      if (size === 0 || size > this.keySizeMax) throw keySizeError(size, operation, operation, this.keySizeMax);
      return prefix.length + size;
    }
    const bytes = this.keyBytes(key, operation);
    core.floats[(start + bytes.length - 1) >> 3] = 0;
    this.prefixAt(at);
    core.bytes.set(bytes, start);
    return prefix.length + bytes.length;
  }

  private get prefixId(): string {
    this.prefixText ??= latin1(this.prefix);
    return this.prefixText;
  }

  /** The same keys as bytes with their prefixes, and the same values. */
  get raw(): Scope {
    if (this.rawScope === undefined) {
      const { face } = this;
      const raw = {
        keys: BINARY,
        values: face.values,
        prefix: NO_PREFIX,
        get scope(): Scope {
          return face.scope.raw;
        },
      };
      this.rawScope = new Scope(this.session, raw);
    }
    return this.rawScope;
  }

  /** Checks a key that is encoded to bytes. */
  private keyBytes(key: unknown, operation: string): Uint8Array {
    if (this.keysAreText || !(key instanceof Uint8Array)) {
      this.keys.encode(key, "key", operation);
      throw invalid(operation, "the key could not be encoded.");
    }
    if (key.length === 0 || key.length > this.keySizeMax) {
      refuseDetached(key, "key", operation);
      throw keySizeError(key.length, operation, operation, this.keySizeMax);
    }
    return key;
  }

  private prefixAt(at: number): void {
    const { prefix } = this;
    const { bytes } = this.core;
    for (let i = 0; i < prefix.length; i++) bytes[at + i] = prefix[i] as number;
  }

  /** A short ASCII key behind the prefix in KEY_A: the size of both, or -1; then what was written is void. */
  private asciiBehindPrefix(text: string): number {
    const { length } = text;
    if (length > ASCII_LOOP_SIZE_MAX || length === 0) return -1;
    const { bytes, keyA } = this.core;
    this.prefixAt(keyA);
    const start = keyA + this.prefix.length;
    let any = 0;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      bytes[start + i] = unit;
      any |= unit;
    }
    return any > 127 || length > this.keySizeMax ? -1 : this.prefix.length + length;
  }

  /** Writes ASCII text at a multiple of 4, where that beats encoding: its size, or -1; then what was written is void. */
  asciiAt(text: string, at: number): number {
    const { core } = this;
    if (core.text.writeAscii !== undefined) return core.text.writeAscii(text, at);
    return text.length <= ASCII_LOOP_SIZE_MAX ? asciiIn(core.bytes, core.words, at, text) : -1;
  }
}

/** Bytes as a string of one character a byte. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}

function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}
