/** Keys and values as a person sees and types them: text where that is lossless, otherwise hex. */

/** How bytes are shown. */
export type Form = "text" | "hex";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** What a text field would alter or not show: controls but tab and line feed; in a field of one line these too. */
const UNTYPABLE = /[^\P{Cc}\t\n]/u;
const SINGLE_LINE_UNTYPABLE = /\p{Cc}/u;

/** Bytes as text that goes through a text field unchanged; `undefined` when there is none. */
export function textOf(bytes: Uint8Array, lines: "one" | "many"): string | undefined {
  try {
    const text = decoder.decode(bytes);
    return (lines === "one" ? SINGLE_LINE_UNTYPABLE : UNTYPABLE).test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Bytes as hex digits, a space after each eighth byte. */
export function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const [index, byte] of bytes.entries()) {
    if (index > 0 && index % 8 === 0) text += " ";
    text += byte.toString(16).padStart(2, "0");
  }
  return text;
}

/** What a person typed, as bytes. Throws when it is no hex though it should be. */
export function bytesOf(typed: string, form: Form): Uint8Array<ArrayBuffer> {
  if (form === "text") return encoder.encode(typed);
  const digits = typed.replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) {
    throw new Error("Hex takes pairs of the digits 0 to 9 and a to f; spaces between them do no harm.");
  }
  const bytes = new Uint8Array(digits.length / 2);
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16);
  }
  return bytes;
}

/** A key for a heading or a message: text, or hex with a mark, cut to a length that a line takes. */
export function labelOf(key: Uint8Array): string {
  const text = textOf(key, "one") ?? `0x${hexOf(key.subarray(0, 64)).replaceAll(" ", "")}`;
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
