/** Bytes that are no text, in JSON and in addresses. */
import { Buffer } from "node:buffer";

/** Bytes as base64, padded. */
export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** What base64 stands for, in either alphabet, with padding or without; `undefined` for anything else. */
export function bytesOfBase64(text: string): Uint8Array | undefined {
  const plain = unpadded(text).replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Buffer.from(plain, "base64");
  // Node leaves out what it does not know.
  if (unpadded(bytes.toString("base64")) !== plain) return undefined;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unpadded(text: string): string {
  let { length } = text;
  for (let count = 0; count < 2 && text.charCodeAt(length - 1) === 0x3d; count++) length--;
  return text.slice(0, length);
}

/** Whether text has no half of a surrogate pair, which UTF-8 cannot express. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}
