/** Values of the workloads: each is known by its number, and none holds bytes of another. */
import { mix } from "../simulation/random.ts";

const ASCII = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/** Text number `serial` of so many characters, which does not compress. */
export function text(serial: number, length: number): string {
  let made = `${serial}:`;
  for (let i = 0; made.length < length; i++) {
    let word = mix(serial * 0x01000193 + i);
    for (let n = 0; n < 5; n++) {
      made += ASCII[word & 63];
      word >>>= 6;
    }
  }
  return made.slice(0, length);
}

/** Text number `serial` of so many characters, which compresses well. */
export function plainText(serial: number, length: number): string {
  return `${text(serial, 40)}, `.repeat(Math.ceil(length / 42)).slice(0, length);
}

/** Key number `i`. */
export function key(i: number): string {
  return `key ${String(i).padStart(4, "0")}`;
}
