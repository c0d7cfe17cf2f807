/** Comparing and copying words against JavaScript, by random bytes and sizes. */
import { describe, expect, test } from "vitest";
import { EXCHANGE, instantiate, Random, SEED, same } from "./units.ts";

const A = EXCHANGE;
const B = EXCHANGE + 0x4000;
const SIZE_MAX = 2048;
const GUARD = 64;

/** Bytes whose order and sign are easily mistaken stand out. */
const ALPHABETS = [
  [0],
  [0, 1],
  [0x7f, 0x80],
  [0, 0xff],
  [0x61, 0x62, 0],
  Array.from({ length: 256 }, (_, byte) => byte),
];

function randomKey(random: Random, size: number): Buffer {
  const alphabet = random.pick(ALPHABETS);
  return Buffer.from(Array.from({ length: size }, () => random.pick(alphabet)));
}

/** A key, or one that shares a beginning with `other` and differs soon after, or not at all. */
function relative(random: Random, other: Buffer): Buffer {
  const shared = other.subarray(0, random.below(other.length + 1));
  const rest = random.pick([0, 0, 1, 7, 8, 9, random.below(200)]);
  return Buffer.concat([shared, randomKey(random, rest)]).subarray(0, SIZE_MAX);
}

function sizeOf(random: Random): number {
  return random.pick([random.below(10), random.below(40), random.below(300), random.below(SIZE_MAX + 1)]);
}

function sharedOf(a: Buffer, b: Buffer): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
  return shared;
}

describe(`bytes, seed ${SEED}`, () => {
  const { units, bytes, view } = instantiate(1);

  /** Puts a key at an address, zero-padded to 8; what lies behind the padding differs each time. */
  function place(random: Random, at: number, key: Buffer): void {
    random.fill(bytes.subarray(at - GUARD, at + key.length + GUARD));
    bytes.fill(0, at, at + ((key.length + 7) & ~7));
    bytes.set(key, at);
  }

  test("keys compare as memcmp, then by size", () => {
    const random = new Random(SEED);
    const outcomes = new Map<number, number>();
    for (let i = 0; i < 15_000; i++) {
      const a = randomKey(random, sizeOf(random));
      const b = relative(random, a);
      const [atA, atB] = [A + random.below(8), B + random.below(8)];
      place(random, atA, a);
      place(random, atB, b);
      const wanted = Buffer.compare(a, b);
      outcomes.set(wanted, (outcomes.get(wanted) ?? 0) + 1);
      same(
        Math.sign(units.compareKeys(atA, a.length, atB, b.length)),
        wanted,
        `compareKeys of ${a.length}, ${b.length}`,
      );
      same(Math.sign(units.compareKeys(atB, b.length, atA, a.length)), 0 - wanted || 0, "compareKeys the other way");
      const size = Math.min(a.length, b.length);
      const shared = sharedOf(a, b);
      const limit = random.below(size + 1);
      same(units.commonPrefix(atA, atB, size), shared, `commonPrefix of ${size}`);
      same(units.commonPrefix(atA, atB, limit), Math.min(shared, limit), `commonPrefix up to ${limit}`);
      same(units.bytesEqual(atA, atB, size), shared === size ? 1 : 0, `bytesEqual of ${size}`);
      same(units.bytesEqual(atA, atB, limit), shared >= limit ? 1 : 0, `bytesEqual of ${limit}`);
      if (a.length === b.length) same(units.keyEquals(atA, atB, size), wanted ? 0 : 1, `keyEquals of ${size}`);
    }
    for (const outcome of [-1, 0, 1]) expect(outcomes.get(outcome)).toBeGreaterThan(300);
  });

  test("one changed byte anywhere is seen", () => {
    const random = new Random(SEED);
    for (const size of [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 500, SIZE_MAX]) {
      const key = randomKey(random, size);
      for (let at = 0; at < size; at++) {
        const other = Buffer.from(key);
        other[at] = other[at]! ^ (1 << random.below(8));
        place(random, A, key);
        place(random, B, other);
        same(units.keyEquals(A, B, size), 0, "keyEquals");
        same(units.bytesEqual(A, B, size), 0, "bytesEqual");
        same(units.commonPrefix(A, B, size), at, "commonPrefix");
        same(Math.sign(units.compareKeys(A, size, B, size)), Buffer.compare(key, other), "compareKeys");
      }
      place(random, A, key);
      place(random, B, key);
      same(units.keyEquals(A, B, size), 1, "keyEquals");
      same(units.bytesEqual(A, B, size), 1, "bytesEqual");
      same(units.commonPrefix(A, B, size), size, "commonPrefix");
      same(units.compareKeys(A, size, B, size), 0, "compareKeys");
    }
  });

  test("bytesEqual needs no padding", () => {
    const random = new Random(SEED);
    for (let size = 0; size < 100; size++) {
      const bytesA = randomKey(random, size);
      place(random, A, bytesA);
      place(random, B, bytesA);
      bytes.fill(1, A + size, A + size + 16);
      bytes.fill(2, B + size, B + size + 16);
      same(units.bytesEqual(A, B, size), 1, `size ${size}`);
    }
  });

  test.each([
    ["copyBytes", (size: number) => size],
    ["copyWords", (size: number) => (size + 7) & ~7],
  ] as const)("%s copies what it says and nothing behind it", (name, extentOf) => {
    const random = new Random(SEED);
    const sizes = [...Array.from({ length: 600 }, (_, size) => size), 2047, 2048, 4000, 4095, 4096, 8191];
    for (const size of sizes) {
      const [source, target] = [A + random.below(16), B + random.below(16)];
      random.fill(bytes.subarray(source - GUARD, source + size + GUARD));
      random.fill(bytes.subarray(target - GUARD, target + size + GUARD));
      const wanted = Buffer.from(bytes.subarray(target - GUARD, target + size + GUARD));
      const given = Buffer.from(bytes.subarray(source - GUARD, source + size + GUARD));
      given.copy(wanted, GUARD, GUARD, GUARD + extentOf(size));
      units[name](target, source, size);
      if (Buffer.compare(wanted, bytes.subarray(target - GUARD, target + size + GUARD))) {
        throw new Error(`${size} bytes from ${source % 16} to ${target % 16}`);
      }
      same(Buffer.compare(given, bytes.subarray(source - GUARD, source + size + GUARD)), 0, "the source changed");
    }
  });

  test("pad8 and loadBigEndian", () => {
    const random = new Random(SEED);
    for (const size of [0, 1, 7, 8, 9, 2047, 2048, 67_108_864, 0x7fff_fff9, 0xffff_fff8]) {
      expect(units.pad8(size) >>> 0).toBe(Math.ceil(size / 8) * 8);
    }
    for (let i = 0; i < 1000; i++) {
      const at = A + random.below(64);
      random.fill(bytes.subarray(at - 8, at + 16));
      same(BigInt.asUintN(64, units.loadBigEndian(at)), view.getBigUint64(at), "loadBigEndian");
    }
  });
});
