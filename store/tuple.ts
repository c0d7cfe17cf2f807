/**
 * The encoding `"tuple"`: arrays of values as bytes whose order is the order of the arrays, element by element.
 *
 * It is FoundationDB's tuple layer (github.com/apple/foundationdb, design/tuple.md), as far as JavaScript has the types:
 *
 * ```
 * null              00
 * bytes             01, the bytes with 00 as 00 FF, 00
 * string            02, UTF-8 with 00 as 00 FF, 00
 * nested tuple      05, its elements with null as 00 FF, 00
 * bigint            14 + n, n bytes, big-endian        positive, n = 1 to 8; zero is 14 alone
 *                   14 - n, n bytes of its complement  negative
 *                   1D, n, n bytes; 0B, n and bytes complemented   above 8 bytes
 * number            21, the 8 bytes of the double: sign bit inverted, all bits when negative
 * false, true       26, 27
 * ```
 *
 * So the order of types is null, bytes, strings, nested tuples, bigints, numbers, booleans. A number and a bigint of the
 * same value are different elements: what comes out is what went in. `-0` is stored as `0`, as `Map` does; `NaN` has no
 * place in an order and is refused. Beyond FoundationDB a bigint may be longer than 254 bytes: n is then FF, followed by
 * two bytes of length.
 */

import { isDetached, WHY_DETACHED } from "./refusals.ts";

/** What a tuple may hold. */
export type TupleElement = null | Uint8Array | string | number | bigint | boolean | readonly TupleElement[];

/** A key under the encoding `"tuple"`. */
export type Tuple = readonly TupleElement[];

const NULL = 0x00;
const BYTES = 0x01;
const STRING = 0x02;
const NESTED = 0x05;
const NEGATIVE = 0x0b;
const ZERO = 0x14;
const POSITIVE = 0x1d;
const DOUBLE = 0x21;
const FALSE = 0x26;
const TRUE = 0x27;
/** Stands behind a zero byte that does not end its element. */
const ESCAPE = 0xff;
/** Lengths from here on take three bytes. */
const LONG_SIZE = 0xff;
/** Far more than fits a key. */
const DEPTH_MAX = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A tuple as bytes. Throws a `TypeError` that names the element it does not take. */
export function packTuple(tuple: Tuple): Uint8Array {
  const out = new Sink();
  for (let i = 0; i < tuple.length; i++) pack(out, tuple[i], `element ${i}`, 0);
  return out.done();
}

/** Bytes as a tuple. Throws when they are none. */
export function unpackTuple(bytes: Uint8Array): TupleElement[] {
  const source = new Source(bytes);
  const tuple: TupleElement[] = [];
  while (!source.atEnd) tuple.push(source.element(0));
  return tuple;
}

/** Bytes that grow. */
class Sink {
  private bytes = new Uint8Array(64);
  private size = 0;

  byte(value: number): void {
    if (this.size === this.bytes.length) this.grow(1);
    this.bytes[this.size++] = value;
  }

  /** Bytes with their zeros escaped, and a zero behind them. */
  escaped(bytes: Uint8Array): void {
    this.grow(bytes.length * 2 + 1);
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      this.bytes[this.size++] = byte;
      if (byte === 0) this.bytes[this.size++] = ESCAPE;
    }
    this.bytes[this.size++] = 0;
  }

  done(): Uint8Array {
    return this.bytes.slice(0, this.size);
  }

  private grow(more: number): void {
    if (this.size + more <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.size + more));
    larger.set(this.bytes);
    this.bytes = larger;
  }
}

function pack(out: Sink, value: unknown, where: string, depth: number): void {
  if (typeof value === "string") {
    out.byte(STRING);
    out.escaped(encoder.encode(value));
  } else if (typeof value === "number") packNumber(out, value, where);
  else if (typeof value === "bigint") packBigint(out, value, where);
  else if (typeof value === "boolean") out.byte(value ? TRUE : FALSE);
  else if (value === null) {
    out.byte(NULL);
    // Inside a tuple a bare zero ends it.
    if (depth > 0) out.byte(ESCAPE);
  } else if (value instanceof Uint8Array) {
    if (value.length === 0 && isDetached(value))
      throw new TypeError(`the bytes of ${where} are detached: ${WHY_DETACHED}`);
    out.byte(BYTES);
    out.escaped(value);
  } else if (Array.isArray(value)) {
    if (depth === DEPTH_MAX) throw new TypeError(`${where} is nested deeper than ${DEPTH_MAX} tuples.`);
    out.byte(NESTED);
    for (let i = 0; i < value.length; i++) pack(out, value[i], `${where}[${i}]`, depth + 1);
    out.byte(0);
  } else {
    const got = value === undefined ? "undefined" : typeof value;
    throw new TypeError(`${where} must be null, bytes, a string, number, bigint, boolean or an array, not ${got}.`);
  }
}

const double = new DataView(new ArrayBuffer(8));

function packNumber(out: Sink, value: number, where: string): void {
  if (Number.isNaN(value)) throw new TypeError(`${where} is NaN, which has no place in an order.`);
  out.byte(DOUBLE);
  double.setFloat64(0, value === 0 ? 0 : value);
  const flip = double.getUint8(0) >= 0x80 ? 0xff : 0;
  out.byte(double.getUint8(0) ^ (flip === 0 ? 0x80 : 0xff));
  for (let i = 1; i < 8; i++) out.byte(double.getUint8(i) ^ flip);
}

function packBigint(out: Sink, value: bigint, where: string): void {
  const isNegative = value < 0n;
  let digits = (isNegative ? -value : value).toString(16);
  if (digits === "0") {
    out.byte(ZERO);
    return;
  }
  if (digits.length % 2 === 1) digits = `0${digits}`;
  const size = digits.length / 2;
  if (size > 0xffff) throw new TypeError(`${where} is a bigint of ${size} bytes, longer than any key.`);
  const flip = isNegative ? 0xff : 0;
  if (size <= 8) out.byte(isNegative ? ZERO - size : ZERO + size);
  else {
    out.byte(isNegative ? NEGATIVE : POSITIVE);
    if (size < LONG_SIZE) out.byte(size ^ flip);
    else {
      out.byte(LONG_SIZE ^ flip);
      out.byte((size >> 8) ^ flip);
      out.byte((size & 0xff) ^ flip);
    }
  }
  for (let i = 0; i < digits.length; i += 2) out.byte(Number.parseInt(digits.slice(i, i + 2), 16) ^ flip);
}

/** Reads elements from bytes. */
class Source {
  private readonly bytes: Uint8Array;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get atEnd(): boolean {
    return this.at === this.bytes.length;
  }

  element(depth: number): TupleElement {
    const code = this.byte();
    switch (code) {
      case NULL:
        if (depth > 0) this.byte();
        return null;
      case BYTES:
        return this.escaped();
      case STRING:
        return decoder.decode(this.escaped());
      case NESTED:
        return this.nested(depth + 1);
      case DOUBLE:
        return this.double();
      case FALSE:
        return false;
      case TRUE:
        return true;
      case ZERO:
        return 0n;
      case NEGATIVE:
      case POSITIVE:
        return this.bigint(this.size(code === NEGATIVE ? 0xff : 0), code === NEGATIVE);
      default:
        if (code > NEGATIVE && code < POSITIVE) return this.bigint(Math.abs(code - ZERO), code < ZERO);
        throw new Error(`there is no element with the code 0x${code.toString(16)}`);
    }
  }

  private byte(): number {
    if (this.at >= this.bytes.length) throw new Error("the bytes end within an element");
    return this.bytes[this.at++] as number;
  }

  private escaped(): Uint8Array {
    const { bytes } = this;
    const out = new Uint8Array(bytes.length - this.at);
    let size = 0;
    while (true) {
      const byte = this.byte();
      if (byte === 0) {
        if (bytes[this.at] !== ESCAPE) return out.slice(0, size);
        this.at++;
      }
      out[size++] = byte;
    }
  }

  private nested(depth: number): TupleElement[] {
    if (depth > DEPTH_MAX) throw new Error("the tuples are nested too deep");
    const tuple: TupleElement[] = [];
    while (true) {
      if (this.at < this.bytes.length && this.bytes[this.at] === 0 && this.bytes[this.at + 1] !== ESCAPE) {
        this.at++;
        return tuple;
      }
      tuple.push(this.element(depth));
    }
  }

  private double(): number {
    const first = this.byte();
    const flip = first >= 0x80 ? 0 : 0xff;
    double.setUint8(0, first ^ (flip === 0 ? 0x80 : 0xff));
    for (let i = 1; i < 8; i++) double.setUint8(i, this.byte() ^ flip);
    return double.getFloat64(0);
  }

  private size(flip: number): number {
    const size = this.byte() ^ flip;
    if (size < LONG_SIZE) return size;
    const high = this.byte() ^ flip;
    return (high << 8) | (this.byte() ^ flip);
  }

  private bigint(size: number, isNegative: boolean): bigint {
    const flip = isNegative ? 0xff : 0;
    let digits = "0x";
    for (let i = 0; i < size; i++) digits += (this.byte() ^ flip).toString(16).padStart(2, "0");
    const value = BigInt(digits);
    return isNegative ? -value : value;
  }
}
