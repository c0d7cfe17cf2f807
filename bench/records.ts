/**
 * The records that every store is given: the same keys, in the same order, with the same values.
 *
 * 1. A key is `user:` and eight digits, 13 bytes. Records have even numbers; odd ones are the keys that are missing, which
 *    lie between the others.
 * 2. A key string is always a new flat one, laid out in memory in the order of its use, as if just parsed from a request:
 *    no store profits from a hash or an interned string of an earlier pass.
 * 3. Orders come from a seed. The same seed gives every store the same order.
 */
import { Random } from "./random.ts";

/** Size of every key in bytes. */
export const KEY_SIZE = 13;

/** Keys held as strings at one time: what a timed span goes through in one piece. */
export const CHUNK_COUNT_MAX = 1_000_000;

const VALUE_COUNT = 1024;
const NUMBER_OFFSET = 5;
const NUMBER_SIZE = 8;

/** Part of a pass: keys with what is, or is to be, stored under each. */
export interface Chunk {
  keys: string[];
  values: string[];
}

/** A key set of `count` records with values of `valueSize` characters, one byte each. */
export class Records {
  readonly count: number;
  readonly valueSize: number;
  readonly #values: string[];
  readonly #ids: Uint32Array;
  readonly #keyBytes = Buffer.from("user:00000000", "latin1");

  constructor(count: number, valueSize: number) {
    this.count = count;
    this.valueSize = valueSize;
    this.#ids = new Uint32Array(count);
    const random = new Random(valueSize);
    const bytes = Buffer.alloc(valueSize);
    this.#values = Array.from({ length: VALUE_COUNT }, () => {
      for (let i = 0; i < valueSize; i += 1) bytes[i] = 32 + random.below(95);
      return bytes.toString("latin1");
    });
  }

  /** Bytes of all keys and values. */
  get size(): number {
    return this.count * (KEY_SIZE + this.valueSize);
  }

  /**
   * All records in an order of `seed`, in chunks, with the values of `version`. A chunk is to be used up before the next
   * is taken.
   */
  *pass(seed: number, version: number): Generator<Chunk> {
    this.#shuffle(seed);
    yield* this.#chunks(this.count, version, 0);
  }

  /** As `pass`, in chunks of `chunkCount`. */
  *series(seed: number, version: number, chunkCount: number): Generator<Chunk> {
    this.#shuffle(seed);
    yield* this.#chunks(this.count, version, 0, chunkCount);
  }

  /** As `pass`, of the first `count` records of that order only. */
  *sample(seed: number, version: number, count: number): Generator<Chunk> {
    this.#shuffle(seed);
    yield* this.#chunks(Math.min(count, this.count), version, 0);
  }

  /** Keys that are missing, as many as there are records or `count`, each between two that are there. */
  *missing(seed: number, version: number, count = this.count): Generator<Chunk> {
    this.#shuffle(seed);
    yield* this.#chunks(Math.min(count, this.count), version, 1);
  }

  /** A new string of the key with `number`. */
  key(number: number): string {
    const bytes = this.#keyBytes;
    let rest = number;
    for (let at = NUMBER_OFFSET + NUMBER_SIZE - 1; at >= NUMBER_OFFSET; at -= 1) {
      bytes[at] = 48 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    return bytes.toString("latin1");
  }

  /** What is stored under the key with `number` at `version`. */
  value(number: number, version: number): string {
    return this.#values[((Math.imul(number, 0x9e3779b1) >>> 16) + version) % VALUE_COUNT]!;
  }

  /** The number of a key. */
  numberOf(key: string): number {
    return Number(key.slice(NUMBER_OFFSET));
  }

  *#chunks(count: number, version: number, odd: number, chunkCount = CHUNK_COUNT_MAX): Generator<Chunk> {
    for (let from = 0; from < count; from += chunkCount) {
      const ids = this.#ids.subarray(from, Math.min(from + chunkCount, count));
      const keys = new Array<string>(ids.length);
      const values = new Array<string>(ids.length);
      for (let i = 0; i < ids.length; i += 1) {
        const number = ids[i]! * 2 + odd;
        keys[i] = this.key(number);
        values[i] = this.value(number, version);
      }
      yield { keys, values };
    }
  }

  #shuffle(seed: number): void {
    const ids = this.#ids;
    const random = new Random(seed);
    for (let i = 0; i < ids.length; i += 1) ids[i] = i;
    for (let i = ids.length - 1; i > 0; i -= 1) {
      const j = random.below(i + 1);
      const id = ids[i]!;
      ids[i] = ids[j]!;
      ids[j] = id;
    }
  }
}
