/** Random numbers of the simulation: everything that a run decides comes from one seed of 64 bits. */

const GOLDEN = 0x9e3779b9;

/** A finalizer of 32 bits: every bit of `x` changes about half of the result's. */
export function mix(x: number): number {
  let z = x | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}

/** xoshiro128**: the same numbers on every runtime. About 5 ns each. */
export class Random {
  private readonly high: number;
  private readonly low: number;
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  /** `seed` is taken modulo 2^64. */
  constructor(seed: bigint) {
    this.high = Number(BigInt.asUintN(32, seed >> 32n));
    this.low = Number(BigInt.asUintN(32, seed));
    const word = (n: number): number => mix(this.high ^ mix(this.low + Math.imul(n, GOLDEN)));
    this.a = word(1);
    this.b = word(2);
    this.c = word(3);
    this.d = word(4) | 1;
  }

  /** A generator of its own for what `label` names: what this one has given so far does not matter. */
  fork(label: number): Random {
    const high = BigInt(mix(this.high ^ mix(label)));
    const low = BigInt(mix(this.low + Math.imul(label + 1, GOLDEN)));
    return new Random((high << 32n) | low);
  }

  /** 32 bits. */
  word(): number {
    const result = Math.imul(rotate(Math.imul(this.b, 5), 7), 9) >>> 0;
    const t = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= t;
    this.d = rotate(this.d, 11);
    return result;
  }

  /** 64 bits. */
  long(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }

  /** A number in [0, 1). */
  unit(): number {
    return this.word() / 4_294_967_296;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  /** A whole number in [least, most]. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** An index, each as likely as its weight says. */
  weighted(weights: readonly number[]): number {
    let left = this.unit() * weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < weights.length; i++) {
      left -= weights[i] as number;
      if (left < 0) return i;
    }
    return weights.length - 1;
  }
}

function rotate(x: number, count: number): number {
  return (x << count) | (x >>> (32 - count));
}
