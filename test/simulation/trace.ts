/** The trace of a run as a hash of 64 bits: two runs did the same exactly when their hashes are equal. */
import { mix } from "./random.ts";

/** Takes what happens, in order. */
export class Trace {
  private a = 0x6a09e667;
  private b = 0xbb67ae85;
  /** Things that happened so far. */
  count = 0;
  /** Called with each thing, for printing them. */
  listener: ((what: string, numbers: readonly number[]) => void) | undefined;

  /** Something happened: what, and numbers that go with it. Numbers are taken modulo 2^32. */
  add(what: string, ...numbers: number[]): void {
    this.count++;
    for (let i = 0; i < what.length; i++) this.word(what.charCodeAt(i));
    for (const number of numbers) this.word(number >>> 0);
    this.listener?.(what, numbers);
  }

  /** The hash so far, as 16 hexadecimal digits. */
  digest(): string {
    const hex = (word: number): string => mix(word).toString(16).padStart(8, "0");
    return hex(this.a ^ this.count) + hex(this.b + this.a);
  }

  private word(word: number): void {
    this.a = Math.imul(this.a ^ word, 0x01000193) >>> 0;
    this.b = (Math.imul(this.b, 0x85ebca6b) ^ (this.a >>> 15) ^ word) >>> 0;
  }
}

/** A hash of 32 bits over bytes whose count is a multiple of 4, and which begin at one. About 1 ns a word. */
export function hashOf(bytes: Uint8Array): number {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  let hash = bytes.length;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ (words[i] as number), 0x5bd1e995) ^ (hash >>> 13);
  return hash >>> 0;
}
