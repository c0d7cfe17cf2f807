/**
 * Bytes as text where they are text. A store decodes faster than anything here, and puts U+FFFD where bytes are no UTF-8: a
 * text without it is what was stored, and only one with it is looked at again.
 */

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const REPLACED = "\uFFFD";

/** Whether a text that was decoded may stand for bytes that are no UTF-8. At once where all characters are Latin. */
export function isDoubtful(text: string): boolean {
  return text.includes(REPLACED);
}

/** Bytes as text, or themselves where they are no UTF-8. */
export function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  try {
    return strict.decode(bytes);
  } catch {
    return bytes;
  }
}
