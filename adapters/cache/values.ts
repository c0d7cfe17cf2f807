/** Values of a cache as text or bytes, and back. */
import { CairnError, type Codec, type ValueEncoding } from "cairn-kv";
import { textOf } from "../text-or-bytes.ts";

const encoder = new TextEncoder();

/** How values become text or bytes. */
export interface ValueFormat {
  encode(value: unknown): string | Uint8Array;
  decode(stored: string | Uint8Array): unknown;
}

/** The format of an encoding. What it cannot encode is `INVALID_ARGUMENT`, which names it. */
export function valueFormat(encoding: ValueEncoding): ValueFormat {
  if (encoding === "utf8") {
    return { encode: (value) => checked(value, typeof value === "string", encoding), decode: textOf };
  }
  if (encoding === "binary") {
    return {
      encode: (value) => checked(value, value instanceof Uint8Array, encoding),
      decode: (stored) => (typeof stored === "string" ? encoder.encode(stored) : stored),
    };
  }
  if (encoding === "json") {
    return {
      encode: (value) => {
        const text = attempt("json", () => JSON.stringify(value));
        return checked(text, text !== undefined, "json");
      },
      decode: (stored) => JSON.parse(textOf(stored)),
    };
  }
  const codec: Codec = encoding;
  return {
    encode: (value) => attempt(codec.name, () => codec.encode(value)),
    decode: (stored) => codec.decode(typeof stored === "string" ? encoder.encode(stored) : stored),
  };
}

/** Bytes of what a format gave. */
export function sizeOf(stored: string | Uint8Array): number {
  return typeof stored === "string" ? encoder.encode(stored).length : stored.length;
}

function checked(value: unknown, fits: boolean, encoding: string): string | Uint8Array {
  if (fits) return value as string | Uint8Array;
  const message = `cache: the encoding ${encoding} does not take a value of type ${typeof value}. Nothing was changed.`;
  throw new CairnError("INVALID_ARGUMENT", "cache", message);
}

function attempt<T>(name: string, encode: () => T): T {
  try {
    return encode();
  } catch (cause) {
    const message = `cache: the encoding ${name} failed to encode a value. Nothing was changed.`;
    throw new CairnError("INVALID_ARGUMENT", "cache", message, { cause });
  }
}
