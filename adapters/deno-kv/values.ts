/**
 * Values of Deno KV as bytes, and back: a tag, then
 *
 *   00  what `structuredClone` makes of the value, as text of devalue, the same on every runtime
 *   01  a `Uint8Array`, as it is
 *   02  a `KvU64`, 8 bytes, least significant first
 */
import { CairnError } from "cairn-kv";
import { parse, stringify } from "devalue";

const CLONE = 0;
const BYTES = 1;
const U64 = 2;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A number for `sum`, `min` and `max`: an unsigned one of 64 bits. */
export class KvU64 {
  /** The number, from 0 to 2^64 - 1. */
  readonly value: bigint;

  /** `RangeError` for what 64 bits do not hold, `TypeError` for what is no bigint, as in Deno. */
  constructor(value: bigint) {
    if (typeof value !== "bigint") throw new TypeError(`Value must be a bigint: received ${typeof value}`);
    if (value < 0n) throw new RangeError(`Value must be a positive bigint: received ${value}`);
    if (value > 0xffff_ffff_ffff_ffffn) throw new RangeError("Value must fit in a 64-bit unsigned integer");
    this.value = value;
    Object.freeze(this);
  }

  /** The number. */
  valueOf(): bigint {
    return this.value;
  }

  /** The number in decimal digits. */
  toString(): string {
    return this.value.toString();
  }

  /** As in Deno. */
  get [Symbol.toStringTag](): string {
    return "Deno.KvU64";
  }
}

const ERRORS: Record<string, ErrorConstructor> = {
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
} as Record<string, ErrorConstructor>;

/** What structured clones have and devalue does not know. Each becomes an array that it does. */
const REDUCERS = {
  Error: (value: unknown) =>
    value instanceof Error
      ? [value.name, value.message, value.stack, ...("cause" in value ? [value.cause] : [])]
      : false,
  DataView: (value: unknown) =>
    value instanceof DataView ? [value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength)] : false,
};
const REVIVERS = {
  Error: ([name, message, stack, ...cause]: [string, string, string | undefined, ...unknown[]]) => {
    const type = ERRORS[name] ?? Error;
    const error = cause.length > 0 ? new type(message, { cause: cause[0] }) : new type(message);
    Object.defineProperty(error, "stack", { value: stack, writable: true, configurable: true });
    return error;
  },
  DataView: ([buffer]: [ArrayBuffer]) => new DataView(buffer),
};

/** A value as bytes. `INVALID_ARGUMENT` for what cannot be cloned, such as a function. */
export function encodeValue(value: unknown, operation: string): Uint8Array {
  const number = u64Of(value);
  if (number !== undefined) return encodeU64(number);
  if (value instanceof Uint8Array) return tagged(BYTES, value);
  try {
    return tagged(CLONE, encoder.encode(stringify(structuredClone(value), REDUCERS)));
  } catch (cause) {
    // Runtimes end their reasons with a full stop or not.
    const reason = String(cause instanceof Error ? cause.message : cause).replace(/\.$/, "");
    const message = `${operation}: the value cannot be stored: ${reason}. Nothing was changed.`;
    throw new CairnError("INVALID_ARGUMENT", operation, message, { cause });
  }
}

/** The value of bytes. */
export function decodeValue(bytes: Uint8Array): unknown {
  if (bytes[0] === BYTES) return bytes.slice(1);
  if (bytes[0] === U64) return new KvU64(decodeU64(bytes) as bigint);
  return parse(decoder.decode(bytes.subarray(1)), REVIVERS);
}

/** A number of 64 bits as a value. */
export function encodeU64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = U64;
  new DataView(bytes.buffer).setBigUint64(1, value, true);
  return bytes;
}

/** The number that a value is, or `undefined` for another value. */
export function decodeU64(bytes: Uint8Array): bigint | undefined {
  if (bytes[0] !== U64) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(1, true);
}

/** What a `KvU64` holds, this one or, on Deno, Deno's own. */
export function u64Of(value: unknown): bigint | undefined {
  if (value instanceof KvU64) return value.value;
  const { Deno } = globalThis as { Deno?: { KvU64?: new (value: bigint) => { value: bigint } } };
  if (Deno?.KvU64 !== undefined && value instanceof Deno.KvU64) return value.value;
  return undefined;
}

function tagged(tag: number, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(rest.length + 1);
  bytes[0] = tag;
  bytes.set(rest, 1);
  return bytes;
}
