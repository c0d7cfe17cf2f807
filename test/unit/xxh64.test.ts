/** XXH64 against published values and against a second implementation, written from the specification in big integers. */
import { describe, expect, test } from "vitest";
import { EXCHANGE, instantiate, Random, SEED } from "./units.ts";

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
const MASK = (1n << 64n) - 1n;

function rotate(value: bigint, bits: bigint): bigint {
  return ((value << bits) | (value >> (64n - bits))) & MASK;
}

function round(accumulator: bigint, lane: bigint): bigint {
  return (rotate((accumulator + lane * P2) & MASK, 31n) * P1) & MASK;
}

/** The steps of the specification, by its names. */
function reference(input: Uint8Array, seed: bigint): bigint {
  const view = new DataView(input.buffer, input.byteOffset, input.length);
  let at = 0;
  let accumulator = (seed + P5) & MASK;
  if (input.length >= 32) {
    const lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK];
    for (; at + 32 <= input.length; at += 32) {
      for (let lane = 0; lane < 4; lane++) lanes[lane] = round(lanes[lane]!, view.getBigUint64(at + 8 * lane, true));
    }
    const rotations = [1n, 7n, 12n, 18n];
    accumulator = lanes.reduce((sum, lane, index) => (sum + rotate(lane, rotations[index]!)) & MASK, 0n);
    for (const lane of lanes) accumulator = ((accumulator ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  accumulator = (accumulator + BigInt(input.length)) & MASK;
  for (; at + 8 <= input.length; at += 8) {
    accumulator = (rotate(accumulator ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4) & MASK;
  }
  if (at + 4 <= input.length) {
    accumulator = (rotate(accumulator ^ ((BigInt(view.getUint32(at, true)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < input.length; at++) {
    accumulator = (rotate(accumulator ^ ((BigInt(input[at]!) * P5) & MASK), 11n) * P1) & MASK;
  }
  accumulator = ((accumulator ^ (accumulator >> 33n)) * P2) & MASK;
  accumulator = ((accumulator ^ (accumulator >> 29n)) * P3) & MASK;
  return accumulator ^ (accumulator >> 32n);
}

/** The buffer of the self-test of the reference implementation in C. */
function sanityBuffer(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let generator = 2654435761n;
  for (let i = 0; i < size; i++) {
    bytes[i] = Number(generator >> 56n);
    generator = (generator * 11400714785074694797n) & MASK;
  }
  return bytes;
}

const text = (value: string) => new TextEncoder().encode(value);
const PRIME32 = 2654435761n;

/** Values that the reference implementation and its ports publish. */
const VECTORS: [string, Uint8Array, bigint, bigint][] = [
  ["nothing", text(""), 0n, 0xef46db3751d8e999n],
  ["a", text("a"), 0n, 0xd24ec4f1a98c6e5bn],
  ["abc", text("abc"), 0n, 0x44bc2cf5ad770999n],
  ["xxhash", text("xxhash"), 0n, 0x32dd38952c4bc720n],
  ["xxhash, seeded", text("xxhash"), 20141025n, 0xb559b98d844e0635n],
  ["39 bytes", text("Nobody inspects the spammish repetition"), 0n, 0xfbcea83c8a378bf1n],
  ["nothing, seeded", text(""), PRIME32, 0xac75fda2929b17efn],
  ["1 byte", sanityBuffer(1), 0n, 0xe934a84adb052768n],
  ["1 byte, seeded", sanityBuffer(1), PRIME32, 0x5014607643a9b4c3n],
  ["4 bytes", sanityBuffer(4), 0n, 0x9136a0dca57457een],
  ["14 bytes", sanityBuffer(14), 0n, 0x8282dcc4994e35c8n],
  ["14 bytes, seeded", sanityBuffer(14), PRIME32, 0xc3bd6bf63deb6df0n],
  ["222 bytes", sanityBuffer(222), 0n, 0xb641ae8cb691c174n],
  ["222 bytes, seeded", sanityBuffer(222), PRIME32, 0x20cb8ab7ae10c14an],
];

describe(`XXH64, seed ${SEED}`, () => {
  const { units, bytes } = instantiate(1);

  /** The core's hash of bytes at an address that is not aligned, amid others. */
  function hash(input: Uint8Array, seed: bigint, shift: number): bigint {
    bytes.set(input, EXCHANGE + shift);
    return BigInt.asUintN(64, units.xxh64(EXCHANGE + shift, input.length, seed));
  }

  test.each(VECTORS)("published value: %s", (_, input, seed, wanted) => {
    for (const filler of [0, 0xff]) {
      bytes.fill(filler, EXCHANGE, EXCHANGE + 512);
      expect(hash(input, seed, 8).toString(16)).toBe(wanted.toString(16));
    }
    expect(reference(input, seed).toString(16)).toBe(wanted.toString(16));
  });

  test("equals the second implementation at every size up to 300, and for blocks", () => {
    const random = new Random(SEED);
    const sizes = Array.from({ length: 300 }, (_, size) => size);
    for (let i = 0; i < 40; i++) sizes.push(300 + random.below(4000));
    for (let i = 0; i < 20; i++) sizes.push(4080);
    sizes.push(4095, 4096, 65_536);
    for (const size of sizes) {
      const input = random.fill(new Uint8Array(size));
      const seed = random.pick([0n, 1n, MASK, 1n << 63n, random.long()]);
      random.fill(bytes.subarray(EXCHANGE, EXCHANGE + size + 64));
      expect(hash(input, seed, random.below(9)), `${size} bytes, seed ${seed}`).toBe(reference(input, seed));
    }
  });
});
