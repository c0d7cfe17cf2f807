/**
 * Encodings: how keys and values become bytes.
 *
 * A key of `"utf8"` orders by its UTF-8 bytes, which is the order of code points. A codec is the program's own; what it
 * throws is reported with its name, and nothing is changed then.
 */
import { CairnError } from "./error.ts";
import { shown } from "./key-errors.ts";
import { refuseDetached } from "./refusals.ts";
import { packTuple, type Tuple, unpackTuple } from "./tuple.ts";

/** An encoding of the program's own. `encode` gives bytes or a string, `decode` takes bytes. */
export interface Codec<T = unknown> {
  /** What errors call it. */
  name: string;
  /** What a program passes, as bytes, or as a string, which is stored as UTF-8. */
  encode(value: T): Uint8Array | string;
  /** What a program gets. The bytes are its own, to keep or to change. */
  decode(bytes: Uint8Array): T;
}

/** How values become bytes. */
export type ValueEncoding = "utf8" | "binary" | "json" | Codec;
/** How keys become bytes. */
export type KeyEncoding = "utf8" | "binary" | "json" | "tuple" | Codec;

/** What a program passes and gets under an encoding. */
export type Encoded<E> = E extends "utf8"
  ? string
  : E extends "binary"
    ? Uint8Array
    : E extends "json"
      ? unknown
      : E extends "tuple"
        ? Tuple
        : E extends Codec<infer T>
          ? T
          : never;

/** Turns what a program passes into a string (stored as UTF-8) or bytes, and back. */
export interface Format {
  readonly name: string;
  /** Whether bytes come out as they are. */
  readonly kind: "utf8" | "binary" | "codec";
  /** What the option `prefix` of a range compares: bytes, whole elements of tuples, or nothing. */
  readonly prefixes: "bytes" | "elements" | "none";
  /** Whether no key starts with the byte 0xff, which namespaces start with: then ranges leave them out. */
  readonly isApart: boolean;
  encode(value: unknown, what: "key" | "value", operation: string): string | Uint8Array;
  /** `text` is given where the bytes were asked for as a string. */
  decode(bytes: Uint8Array, what: "key" | "value", operation: string): unknown;
  /** Decodes from a string, for encodings whose bytes are text. */
  decodeText?(text: string, what: "key" | "value", operation: string): unknown;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const UTF8: Format = {
  name: "utf8",
  kind: "utf8",
  prefixes: "bytes",
  isApart: true,
  encode(value, what, operation) {
    if (typeof value !== "string") throw wrongType(value, what, operation, "a string under the encoding utf8");
    return value;
  },
  decode: (bytes) => decoder.decode(bytes),
  decodeText: (text) => text,
};

/** Bytes as they are. */
export const BINARY: Format = {
  name: "binary",
  kind: "binary",
  prefixes: "bytes",
  isApart: false,
  encode(value, what, operation) {
    if (!(value instanceof Uint8Array))
      throw wrongType(value, what, operation, "a Uint8Array under the encoding binary");
    refuseDetached(value, what, operation);
    return value;
  },
  decode: (bytes) => bytes,
};

const JSON_FORMAT: Format = {
  name: "json",
  kind: "codec",
  prefixes: "none",
  isApart: true,
  encode(value, what, operation) {
    let text: string | undefined;
    try {
      text = JSON.stringify(value);
    } catch (cause) {
      throw codecFailed("json", "encode", what, operation, cause, value);
    }
    if (text === undefined) throw wrongType(value, what, operation, "a value that JSON can represent");
    return text;
  },
  decode: (bytes, what, operation) => parse(decoder.decode(bytes), what, operation),
  decodeText: parse,
};

function parse(text: string, what: "key" | "value", operation: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw codecFailed("json", "decode", what, operation, cause, text);
  }
}

const TUPLE: Format = {
  name: "tuple",
  kind: "codec",
  prefixes: "elements",
  isApart: true,
  encode(value, what, operation) {
    if (!Array.isArray(value)) throw wrongType(value, what, operation, "an array under the encoding tuple");
    try {
      return packTuple(value);
    } catch (cause) {
      if (cause instanceof CairnError || !(cause instanceof TypeError)) throw cause;
      throw new CairnError("INVALID_ARGUMENT", operation, `${operation}: the ${what} is no tuple: ${cause.message}`);
    }
  },
  decode(bytes, what, operation) {
    try {
      return unpackTuple(bytes);
    } catch (cause) {
      throw codecFailed("tuple", "decode", what, operation, cause, bytes);
    }
  },
};

/** The format of an option of `open` or of `sub`. `INVALID_ARGUMENT` when it is none. */
export function formatOf(encoding: unknown, option: "keyEncoding" | "valueEncoding", operation = "open"): Format {
  if (encoding === undefined || encoding === "utf8") return UTF8;
  if (encoding === "binary") return BINARY;
  if (encoding === "json") return JSON_FORMAT;
  if (encoding === "tuple" && option === "keyEncoding") return TUPLE;
  if (isCodec(encoding)) return codecFormat(encoding);
  const names = option === "keyEncoding" ? '"utf8", "binary", "json", "tuple"' : '"utf8", "binary", "json"';
  const message = `${operation}: ${option} must be ${names} or a codec { name, encode, decode }.`;
  throw new CairnError("INVALID_ARGUMENT", operation, message);
}

function isCodec(value: unknown): value is Codec {
  if (typeof value !== "object" || value === null) return false;
  const codec = value as Partial<Codec>;
  return typeof codec.name === "string" && typeof codec.encode === "function" && typeof codec.decode === "function";
}

function codecFormat(codec: Codec): Format {
  return {
    name: codec.name,
    kind: "codec",
    prefixes: "none",
    isApart: false,
    encode(value, what, operation) {
      let encoded: unknown;
      try {
        encoded = codec.encode(value);
      } catch (cause) {
        throw codecFailed(codec.name, "encode", what, operation, cause, value);
      }
      if (typeof encoded === "string") return encoded;
      // The codec may use its buffer again, for the value or for the next operation of a batch.
      if (encoded instanceof Uint8Array) {
        refuseDetached(encoded, what, operation);
        return what === "key" || operation === "batch" ? new Uint8Array(encoded) : encoded;
      }
      const message = `${operation}: the codec ${codec.name} must encode a ${what} to a string or a Uint8Array.`;
      throw new CairnError("INVALID_ARGUMENT", operation, message);
    },
    decode(bytes, what, operation) {
      try {
        return codec.decode(bytes);
      } catch (cause) {
        throw codecFailed(codec.name, "decode", what, operation, cause, bytes);
      }
    },
  };
}

/** `subject` is what could not be encoded or decoded: shown where it is a key. */
function codecFailed(
  name: string,
  step: string,
  what: string,
  operation: string,
  cause: unknown,
  subject: unknown,
): CairnError {
  const shownKey = what === "key" ? ` The key is ${shown(subject)}.` : "";
  const message = `${operation}: the encoding ${name} failed to ${step} a ${what}. Nothing was changed.${shownKey}`;
  return new CairnError("INVALID_ARGUMENT", operation, message, { cause });
}

function wrongType(value: unknown, what: string, operation: string, expected: string): CairnError {
  const got = value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: the ${what} must be ${expected}, not ${got}.`);
}
