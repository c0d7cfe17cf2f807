/** Bytes as text, and what is none as base64. */
import { Buffer } from "node:buffer";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as UTF-8 text; `undefined` when they are none. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Bytes as base64, padded. */
export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** What base64 stands for; `undefined` when `text` is not exactly what `base64Of` makes: no spaces, with its padding. */
export function bytesOfBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) return undefined;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Whether text takes at most `sizeMax` bytes as UTF-8. Counts only what is near the limit. */
export function fits(text: string, sizeMax: number): boolean {
  return text.length * 3 <= sizeMax || (text.length <= sizeMax && Buffer.byteLength(text) <= sizeMax);
}

/** Whether text has no half of a surrogate pair, which UTF-8 cannot express. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}
