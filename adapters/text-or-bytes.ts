/** Values that are text or bytes as a program gives them, and come out as bytes. */
import type { Codec } from "cairn-kv";

/** Strings are kept as UTF-8, bytes as they are; what is read is bytes, for whoever reads to decode. */
export const TEXT_OR_BYTES: Codec<string | Uint8Array> = {
  name: "text or bytes",
  encode: (value) => value,
  decode: (bytes) => bytes,
};

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What was read as text. */
export function textOf(value: string | Uint8Array): string {
  return typeof value === "string" ? value : decoder.decode(value);
}
