/**
 * The part of CBOR (RFC 8949) that connections use over a network: integers of 53 bits, doubles, bigints, text, bytes, arrays, maps with
 * text as keys, `false`, `true`, `null` and `undefined`, all of definite length.
 *
 *   major type 0, 1   a safe integer
 *   2, 3              bytes, text
 *   4, 5              an array, a map
 *   6                 tags 2 and 3 alone: a bigint
 *   7                 false f4, true f5, null f6, undefined f7, a double fb
 *
 * 1. What is written is the shortest form; what is read may be any form of the above.
 * 2. A reader believes nothing: a length or a count beyond the bytes that are there, more than `DEPTH_MAX` nested items, and anything
 *    else of CBOR is `MalformedError`. What it makes is bounded by the size of what it was given.
 * 3. Members of a map that are `undefined` are not written. `__proto__` is no member's name.
 */

/** Nested arrays and maps at most. */
const DEPTH_MAX = 16;
/** Bytes of a bigint at most. */
const BIGINT_SIZE_MAX = 32;
const SIZE_FIRST = 16 * 1024;
/** Text up to so many characters is looked at one by one before it goes to the decoder or the encoder of the runtime. */
const SHORT_TEXT = 32;
/** Longer text is encoded apart: room for the most that it may take would be three times what it takes. */
const LONG_TEXT = 1024 * 1024;
const TWO_32 = 2 ** 32;

const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const UNDEFINED = 0xf7;
const DOUBLE = 0xfb;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Bytes that are no message. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** Writes items one after the other. */
export class CborWriter {
  private bytes = new Uint8Array(SIZE_FIRST);
  private view = new DataView(this.bytes.buffer);
  private at = 0;

  /** Bytes written since the last `take`. */
  get size(): number {
    return this.at;
  }

  /** What was written, for whoever takes it to keep; the writer begins anew. */
  take(): Uint8Array {
    const { bytes, at } = this;
    this.at = 0;
    if (at < bytes.length >> 1 && at < SIZE_FIRST * 16) return bytes.slice(0, at);
    this.bytes = new Uint8Array(SIZE_FIRST);
    this.view = new DataView(this.bytes.buffer);
    return bytes.subarray(0, at);
  }

  /** Takes back what was written behind `size`. */
  cut(size: number): void {
    this.at = size;
  }

  /** An integer from 0 on. */
  uint(value: number): void {
    this.head(0, value);
  }

  /** Any value of the wire. Throws `TypeError` for one that is none. */
  value(value: unknown, depth = 0): void {
    switch (typeof value) {
      case "string":
        this.text(value);
        return;
      case "number":
        this.number(value);
        return;
      case "boolean":
        this.byte(value ? TRUE : FALSE);
        return;
      case "undefined":
        this.byte(UNDEFINED);
        return;
      case "bigint":
        this.bigint(value);
        return;
      case "object":
        if (value === null) this.byte(NULL);
        else if (value instanceof Uint8Array) this.blob(value);
        else if (depth === DEPTH_MAX) throw new TypeError(`more than ${DEPTH_MAX} nested objects`);
        else if (Array.isArray(value)) {
          this.head(4, value.length);
          for (const item of value) this.value(item, depth + 1);
        } else this.map(value, depth + 1);
        return;
    }
    throw new TypeError(`a ${typeof value} cannot be sent`);
  }

  private map(value: object, depth: number): void {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined);
    this.head(5, entries.length);
    for (const [name, member] of entries) {
      this.text(name);
      this.value(member, depth);
    }
  }

  private number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      if (value >= 0) this.head(0, value);
      else this.head(1, -1 - value);
      return;
    }
    this.room(9);
    this.bytes[this.at] = DOUBLE;
    this.view.setFloat64(this.at + 1, value);
    this.at += 9;
  }

  private bigint(value: bigint): void {
    let hex = (value < 0n ? -1n - value : value).toString(16);
    if (hex.length % 2 === 1) hex = `0${hex}`;
    const size = hex.length / 2;
    if (size > BIGINT_SIZE_MAX) throw new TypeError(`a bigint of more than ${BIGINT_SIZE_MAX} bytes cannot be sent`);
    this.byte(value < 0n ? 0xc3 : 0xc2);
    this.head(2, size);
    this.room(size);
    for (let i = 0; i < size; i++) this.bytes[this.at++] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }

  private blob(value: Uint8Array): void {
    this.head(2, value.length);
    this.append(value);
  }

  private append(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  private text(value: string): void {
    const { length } = value;
    if (length <= SHORT_TEXT) {
      this.room(length + 9);
      const { bytes } = this;
      const start = this.at + (length < 24 ? 1 : 2);
      let i = 0;
      for (; i < length; i++) {
        const code = value.charCodeAt(i);
        if (code > 0x7f) break;
        bytes[start + i] = code;
      }
      if (i === length) {
        this.head(3, length);
        this.at += length;
        return;
      }
    }
    if (length > LONG_TEXT) {
      const bytes = encoder.encode(value);
      this.head(3, bytes.length);
      this.append(bytes);
      return;
    }
    // Its size is known when it is there: leave room for the longest head, then move it where it belongs.
    this.room(9 + length * 3);
    const from = this.at + 9;
    const { written } = encoder.encodeInto(value, this.bytes.subarray(from));
    this.head(3, written);
    if (this.at !== from) this.bytes.copyWithin(this.at, from, from + written);
    this.at += written;
  }

  private byte(value: number): void {
    this.room(1);
    this.bytes[this.at++] = value;
  }

  /** The first bytes of an item: its major type, and a count or a value. */
  private head(major: number, value: number): void {
    this.room(9);
    const { bytes, at } = this;
    const type = major << 5;
    if (value < 24) {
      bytes[at] = type | value;
      this.at = at + 1;
    } else if (value < 0x100) {
      bytes[at] = type | 24;
      bytes[at + 1] = value;
      this.at = at + 2;
    } else if (value < 0x10000) {
      bytes[at] = type | 25;
      this.view.setUint16(at + 1, value);
      this.at = at + 3;
    } else if (value < TWO_32) {
      bytes[at] = type | 26;
      this.view.setUint32(at + 1, value);
      this.at = at + 5;
    } else {
      bytes[at] = type | 27;
      this.view.setUint32(at + 1, Math.floor(value / TWO_32));
      this.view.setUint32(at + 5, value % TWO_32);
      this.at = at + 9;
    }
  }

  private room(size: number): void {
    const needed = this.at + size;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}

/** Reads items one after the other. Throws `MalformedError`. */
export class CborReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly copySizeMax: number;
  private at = 0;

  /** Bytes that it gives are views on `bytes`, but for those of up to `copySizeMax`, which are copies. */
  constructor(bytes: Uint8Array, copySizeMax = -1) {
    this.copySizeMax = copySizeMax;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether all was read. */
  get isDone(): boolean {
    return this.at >= this.bytes.length;
  }

  /** An integer from 0 on. */
  uint(): number {
    const first = this.first();
    if (first >> 5 !== 0) throw new MalformedError("an integer from 0 on is missing");
    return this.count(first);
  }

  /** Any value of the wire. */
  value(): unknown {
    return this.item(0, false);
  }

  /** Any value of the wire, but text as its bytes, which are not looked at. */
  bytesOrValue(): unknown {
    return this.item(0, true);
  }

  private item(depth: number, rawText: boolean): unknown {
    const first = this.first();
    const major = first >> 5;
    switch (major) {
      case 0:
        return this.count(first);
      case 1: {
        const value = -1 - this.count(first);
        if (!Number.isSafeInteger(value)) throw new MalformedError("an integer has more than 53 bits");
        return value;
      }
      case 2: {
        const part = this.part(this.count(first));
        return part.length <= this.copySizeMax ? part.slice() : part;
      }
      case 3: {
        const size = this.count(first);
        return rawText ? this.part(size) : this.text(size);
      }
      case 4: {
        const count = this.items(first, depth, 1);
        const list = [];
        for (let i = 0; i < count; i++) list.push(this.item(depth + 1, rawText));
        return list;
      }
      case 5: {
        const count = this.items(first, depth, 2);
        const map: Record<string, unknown> = {};
        for (let i = 0; i < count; i++) {
          const nameFirst = this.first();
          if (nameFirst >> 5 !== 3) throw new MalformedError("a member's name is no text");
          const name = this.text(this.count(nameFirst));
          if (name === "__proto__") throw new MalformedError("a member is named __proto__");
          map[name] = this.item(depth + 1, rawText);
        }
        return map;
      }
      case 6:
        return this.bigint(first);
    }
    switch (first) {
      case FALSE:
        return false;
      case TRUE:
        return true;
      case NULL:
        return null;
      case UNDEFINED:
        return undefined;
      case DOUBLE: {
        if (this.at + 8 > this.bytes.length) throw cutOff();
        const value = this.view.getFloat64(this.at);
        this.at += 8;
        return value;
      }
    }
    throw new MalformedError(`the byte ${first} begins nothing that is used here`);
  }

  private bigint(first: number): bigint {
    if (first !== 0xc2 && first !== 0xc3) throw new MalformedError("a tag is used that is none of a bigint");
    const bytesFirst = this.first();
    if (bytesFirst >> 5 !== 2) throw new MalformedError("a bigint has no bytes");
    const bytes = this.part(this.count(bytesFirst));
    if (bytes.length > BIGINT_SIZE_MAX) throw new MalformedError("a bigint is too long");
    let value = 0n;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    return first === 0xc3 ? -1n - value : value;
  }

  private items(first: number, depth: number, size: number): number {
    const count = this.count(first);
    if (depth === DEPTH_MAX) throw new MalformedError("items are nested too deep");
    // Each has a byte at least.
    if (count * size > this.bytes.length - this.at) throw cutOff();
    return count;
  }

  private text(size: number): string {
    const { bytes, at } = this;
    const part = this.part(size);
    if (size <= SHORT_TEXT) {
      let text = "";
      for (let i = at; i < at + size; i++) {
        const byte = bytes[i] as number;
        if (byte > 0x7f) break;
        text += String.fromCharCode(byte);
      }
      if (text.length === size) return text;
    }
    try {
      return decoder.decode(part);
    } catch {
      throw new MalformedError("text is no UTF-8");
    }
  }

  private part(size: number): Uint8Array {
    const { bytes, at } = this;
    if (size > bytes.length - at) throw cutOff();
    this.at = at + size;
    return bytes.subarray(at, at + size);
  }

  private first(): number {
    if (this.at >= this.bytes.length) throw cutOff();
    return this.bytes[this.at++] as number;
  }

  /** What the first byte of an item says, with the bytes behind it. */
  private count(first: number): number {
    const { view, at } = this;
    const kind = first & 31;
    if (kind < 24) return kind;
    const size = kind > 27 ? 0 : 1 << (kind - 24);
    if (size === 0) throw new MalformedError("a length is indefinite, or of a kind that is reserved");
    if (at + size > this.bytes.length) throw cutOff();
    this.at = at + size;
    if (size === 1) return view.getUint8(at);
    if (size === 2) return view.getUint16(at);
    if (size === 4) return view.getUint32(at);
    const value = view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw new MalformedError("an integer has more than 53 bits");
    return value;
  }
}

function cutOff(): MalformedError {
  return new MalformedError("it ends in the midst of an item");
}
