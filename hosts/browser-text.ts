/**
 * Text between memory and strings in browsers, which have no `Buffer`: `TextDecoder` and `TextEncoder` take some 0.4 µs
 * for any text in Chromium, so short ones are read and written here, a few characters at a time.
 */
import type { TextAccess } from "../store/core.ts";
import { asciiIn, SHORT_STRING_SIZE_MAX, shortString } from "../store/text.ts";

/** Longest ASCII string that is put together from short ones. */
const ASCII_SIZE_MAX = 144;
/** Longest string that is written here. */
const WRITE_LENGTH_MAX = 2000;

/** The text access of a memory. */
export function browserText(memory: WebAssembly.Memory): TextAccess {
  const bytes = new Uint8Array(memory.buffer);
  const words = new Int32Array(memory.buffer);
  const units = new Uint16Array(SHORT_STRING_SIZE_MAX);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const encoder = new TextEncoder();
  const decode = (start: number, end: number): string => decoder.decode(bytes.subarray(start, end));

  const ascii = (start: number, end: number): string => {
    if (end - start > ASCII_SIZE_MAX) return decode(start, end);
    let text = "";
    let at = start;
    for (; end - at > SHORT_STRING_SIZE_MAX; at += SHORT_STRING_SIZE_MAX) {
      text += shortString(bytes, at, SHORT_STRING_SIZE_MAX);
    }
    return text + shortString(bytes, at, end - at);
  };

  const utf8 = (start: number, end: number): string => {
    if (end - start > SHORT_STRING_SIZE_MAX) return decode(start, end);
    let count = 0;
    for (let at = start; at < end; ) {
      const first = bytes[at++] as number;
      if (first < 0x80) {
        units[count++] = first;
        continue;
      }
      // Two and three bytes, well formed; whatever else there is, the decoder knows.
      const second = at < end ? (bytes[at++] as number) : 0;
      if ((second & 0xc0) !== 0x80) return decode(start, end);
      if (first >= 0xc2 && first < 0xe0) {
        units[count++] = ((first & 0x1f) << 6) | (second & 0x3f);
        continue;
      }
      const third = at < end ? (bytes[at++] as number) : 0;
      if ((third & 0xc0) !== 0x80 || (first & 0xf0) !== 0xe0) return decode(start, end);
      const unit = ((first & 0x0f) << 12) | ((second & 0x3f) << 6) | (third & 0x3f);
      if (unit < 0x800 || (unit & 0xf800) === 0xd800) return decode(start, end);
      units[count++] = unit;
    }
    return shortString(units, 0, count);
  };

  const write = (text: string, at: number): number => {
    const { length } = text;
    if (length > WRITE_LENGTH_MAX) return encoder.encodeInto(text, bytes.subarray(at, at + length * 3)).written;
    const size = (at & 3) === 0 ? asciiIn(bytes, words, at, text) : -1;
    if (size >= 0) return size;
    let to = at;
    for (let i = 0; i < length; i++) {
      let unit = text.charCodeAt(i);
      if (unit < 0x80) {
        bytes[to++] = unit;
        continue;
      }
      if (unit < 0x800) {
        bytes[to++] = 0xc0 | (unit >> 6);
        bytes[to++] = 0x80 | (unit & 0x3f);
        continue;
      }
      if ((unit & 0xf800) === 0xd800) {
        const low = (unit & 0x400) === 0 && i + 1 < length ? text.charCodeAt(i + 1) : 0;
        if ((low & 0xfc00) === 0xdc00) {
          const point = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
          bytes[to++] = 0xf0 | (point >> 18);
          bytes[to++] = 0x80 | ((point >> 12) & 0x3f);
          bytes[to++] = 0x80 | ((point >> 6) & 0x3f);
          bytes[to++] = 0x80 | (point & 0x3f);
          i += 1;
          continue;
        }
        // Half a pair is no text: it becomes the replacement character, as everywhere.
        unit = 0xfffd;
      }
      bytes[to++] = 0xe0 | (unit >> 12);
      bytes[to++] = 0x80 | ((unit >> 6) & 0x3f);
      bytes[to++] = 0x80 | (unit & 0x3f);
    }
    return to - at;
  };

  return { ascii, utf8, write };
}
