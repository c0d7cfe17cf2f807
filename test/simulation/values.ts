/**
 * Keys and values of the simulation. A value is known by its number and its size: its bytes follow from both, so that no
 * byte of another value, or of another place in this one, passes for one of it.
 */
import { mix } from "./random.ts";

/** A value that was written. `serial` is its number, above 0; `size` is in bytes. */
export interface Value {
  serial: number;
  size: number;
  data: string | Uint8Array;
  /** When it expires, in milliseconds since 1970. Absent: never. */
  expiresAt?: number;
}

const ASCII = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Text of so many characters. Every seventh value has characters of more than one byte. */
export function textValue(serial: number, length: number): Value {
  const wide = serial % 7 === 0;
  const parts: string[] = [`${serial}:`.slice(0, length)];
  for (let at = (parts[0] as string).length, i = 0; at < length; i++) {
    let word = mix(serial * 0x01000193 + i);
    let part = "";
    for (let n = 0; n < 5 && at < length; n++, at++) {
      part += wide && n === 0 ? "é" : ASCII[word & 63];
      word >>>= 6;
    }
    parts.push(part);
  }
  const data = parts.join("");
  return { serial, size: wide ? encoder.encode(data).length : length, data };
}

/** So many bytes. */
export function bytesValue(serial: number, size: number): Value {
  const data = new Uint8Array(size);
  const words = new Uint32Array(data.buffer, 0, size >>> 2);
  for (let i = 0; i < words.length; i++) words[i] = mix(serial * 0x01000193 + i);
  for (let i = words.length * 4; i < size; i++) data[i] = mix(serial + i);
  return { serial, size, data };
}

/** Whether the store gave back what was written. */
export function sameValue(expected: Value | undefined, found: unknown): boolean {
  if (expected === undefined) return found === undefined;
  const { data } = expected;
  if (typeof data === "string" || !(found instanceof Uint8Array)) return data === found;
  return data.length === found.length && Buffer.compare(data, found) === 0;
}

/** A key by its number. The order of the strings is that of the encoded keys; some are long, some not ASCII. */
export function keyOf(number: number): string {
  const word = mix(number + 77);
  const head = (word % 997).toString(36).padStart(2, "0");
  if (word % 11 === 0) return `${head}/é${number}`;
  if (word % 13 === 0) return `${head}/${number}/`.padEnd(200 + (word % 700), "k");
  return `${head}/${number}`;
}

/** A key as the store is given it. */
export function encodeKey(key: string, binary: boolean): string | Uint8Array {
  return binary ? encoder.encode(key) : key;
}

/** A key as the store gave it. */
export function decodeKey(key: unknown): string {
  return typeof key === "string" ? key : decoder.decode(key as Uint8Array);
}

/** A value in a few words, for messages. */
export function describe(value: unknown): string {
  if (value === undefined) return "absent";
  if (typeof value === "string") return `${JSON.stringify(value.slice(0, 12))} of ${value.length}`;
  if (value instanceof Uint8Array) return `${Array.from(value.subarray(0, 4)).join(",")} of ${value.length} bytes`;
  const { serial, size } = value as Value;
  return `value ${serial} of ${size}`;
}
