/**
 * The LZ4 codec against vectors, against a second decoder written from the format's description, and against another
 * implementation; and its decoder on bytes that nobody wrote.
 */
import { compress as otherCompress, decompress as otherDecompress } from "lz4-wasm-nodejs";
import { describe, expect, test } from "vitest";
import { EXCHANGE, instantiate, PAGE, POOL, Random, SEED, same } from "./units.ts";

const CHUNKS = 8;
const { bytes, units } = instantiate(CHUNKS);
const TABLE = POOL;
const TARGET = POOL + PAGE;
const OUT = POOL + 4 * PAGE;
const END = POOL + CHUNKS * PAGE;
const PIECE = 65_536;
const SLACK = 32;

/** The format's description, byte for byte. */
function reference(block: Uint8Array): Uint8Array {
  const out: number[] = [];
  let at = 0;
  const count = (low: number): number => {
    let sum = low;
    if (low === 15) {
      let more: number;
      do {
        more = block[at++]!;
        sum += more;
      } while (more === 255);
    }
    return sum;
  };
  while (true) {
    const token = block[at++]!;
    const literals = count(token >> 4);
    for (let i = 0; i < literals; i++) out.push(block[at++]!);
    if (at === block.length) return Uint8Array.from(out);
    const distance = block[at]! + 256 * block[at + 1]!;
    at += 2;
    const size = count(token & 15) + 4;
    for (let i = 0; i < size; i++) out.push(out[out.length - distance]!);
  }
}

function compress(input: Uint8Array, room = input.length + 300): Uint8Array | undefined {
  bytes.set(input, EXCHANGE);
  bytes.fill(0xa5, TARGET, TARGET + room + 2 * SLACK);
  // What an earlier call left in the table is no matter.
  const size = units.lz4Compress(EXCHANGE, input.length, TARGET, room, TABLE);
  for (let i = room + SLACK; i < room + 2 * SLACK; i++) same(bytes[TARGET + i], 0xa5, "a byte behind the slack");
  if (size === 0) return undefined;
  expect(size).toBeLessThanOrEqual(room);
  return bytes.slice(TARGET, TARGET + size);
}

/** Reads a block that ends where the memory does, so that a look beyond it traps. */
function decompress(block: Uint8Array, rawSize: number): Uint8Array | undefined {
  bytes.set(block, END - block.length);
  bytes.fill(0xa5, OUT - SLACK, OUT);
  bytes.fill(0xa5, OUT + rawSize, OUT + rawSize + SLACK);
  const ok = units.lz4Decompress(END - block.length, block.length, OUT, rawSize) !== 0;
  for (let i = 0; i < SLACK; i++) {
    same(bytes[OUT - SLACK + i], 0xa5, "a byte before the target");
    same(bytes[OUT + rawSize + i], 0xa5, "a byte behind the target");
  }
  return ok ? bytes.slice(OUT, OUT + rawSize) : undefined;
}

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.replaceAll(" ", "").match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Text of many kinds: noise, runs, repeated words, records. */
function input(random: Random, size: number): Uint8Array {
  const out = new Uint8Array(size);
  const kind = random.below(5);
  if (kind === 0) return random.fill(out);
  if (kind === 1) return out.fill(random.below(256));
  for (let at = 0; at < size; ) {
    const again = at > 0 && random.below(4) > 0;
    const length = Math.min(size - at, 1 + random.below(kind === 2 ? 400 : kind === 3 ? 24 : 9));
    const from = again ? Math.max(0, at - 1 - random.below(kind === 4 ? 7 : at)) : 0;
    for (let i = 0; i < length; i++) out[at + i] = again ? out[from + i]! : random.below(kind === 3 ? 4 : 256);
    at += length;
  }
  return out;
}

describe(`LZ4, seed ${SEED}`, () => {
  test.each([
    ["nothing", "00", ""],
    ["literals alone", "30 61 34 39", "a49"],
    ["a run", "13 61 01 00 50 61 61 61 61 61", "a".repeat(13)],
    ["a match into itself", "35 61 62 63 03 00 50 62 63 61 62 63", "abcabcabcabcbcabc"],
    ["fifteen literals", `f0 00 ${"62".repeat(15)}`, "b".repeat(15)],
    ["270 literals", `f0 ff 00 ${"63".repeat(270)}`, "c".repeat(270)],
    ["a long match", "1f 64 01 00 ff 02 50 64 64 64 64 64", "d".repeat(1 + 4 + 15 + 257 + 5)],
  ])("reads %s", (_name, block, text) => {
    const wanted = ascii(text);
    expect(reference(hex(block))).toEqual(wanted);
    expect(decompress(hex(block), wanted.length)).toEqual(wanted);
    expect(decompress(hex(block), wanted.length + 1)).toBeUndefined();
    if (wanted.length > 0) expect(decompress(hex(block), wanted.length - 1)).toBeUndefined();
  });

  test.each([
    ["no block", "", 0],
    ["literals that are not there", "50 61 62", 5],
    ["a count that does not end", "f0 ff ff", 600],
    ["a match before the first byte", "10 61 02 00 00", 5],
    ["a distance of 0", "10 61 00 00 00", 5],
    ["half a distance", "10 61 01", 5],
    ["a match without an end", "1f 61 01 00 ff", 300],
    ["no last literals", "10 61 01 00", 5],
    ["a match beyond the end", "1f 61 01 00 ff ff ff 00 00", 64],
  ])("refuses %s", (_name, block, size) => {
    expect(decompress(hex(block), size)).toBeUndefined();
  });

  test("reads what it wrote, and so do others, at every size up to 300", () => {
    const random = new Random(SEED);
    for (let size = 1; size <= 300; size++) {
      const raw = input(random, size);
      const block = compress(raw)!;
      expect(reference(block)).toEqual(raw);
      expect(decompress(block, size)).toEqual(raw);
    }
  });

  test("agrees with another implementation, both ways", () => {
    const random = new Random(SEED + 1);
    for (let round = 0; round < 300; round++) {
      const size = round < 20 ? PIECE - round : 1 + random.below(round < 100 ? PIECE : 6000);
      const raw = input(random, size);
      const block = compress(raw)!;
      const prefixed = new Uint8Array(block.length + 4);
      new DataView(prefixed.buffer).setUint32(0, size, true);
      prefixed.set(block, 4);
      expect(Buffer.compare(otherDecompress(prefixed), raw)).toBe(0);
      expect(Buffer.compare(decompress(block, size)!, raw)).toBe(0);
      expect(Buffer.compare(decompress(otherCompress(raw).subarray(4), size)!, raw)).toBe(0);
    }
  });

  test("makes a block as small as the other implementation does, within a tenth", () => {
    const words = ascii(
      Array.from({ length: 90 }, (_, i) => `{"user":${i * 7919},"name":"name ${i}","on":true}`).join(","),
    );
    expect(compress(words)!.length).toBeLessThan(1.1 * (otherCompress(words).length - 4));
  });

  test("gives up where the block would not fit, and never writes beyond its room", () => {
    const random = new Random(SEED + 2);
    for (let round = 0; round < 200; round++) {
      const raw = input(random, 1 + random.below(3000));
      const whole = compress(raw)!;
      expect(compress(raw, whole.length + 8)).toEqual(whole);
      const room = random.below(whole.length);
      expect(compress(raw, room)).toBeUndefined();
    }
  });

  test("the format's last bytes are literals", () => {
    for (let size = 13; size < 200; size++) {
      const block = compress(new Uint8Array(size).fill(7))!;
      // The last sequence is a token with at least five literals.
      expect(block.at(-6)! >> 4).toBeGreaterThanOrEqual(5);
    }
  });

  test("changed bytes give an answer of the right size or none, and change nothing else", () => {
    const random = new Random(SEED + 3);
    let refused = 0;
    for (let round = 0; round < 4000; round++) {
      const raw = input(random, 1 + random.below(700));
      const block = compress(raw)!;
      for (let i = 0; i <= random.below(3); i++) block[random.below(block.length)] = random.below(256);
      const cut = random.below(4) === 0 ? block.subarray(0, random.below(block.length + 1)) : block;
      if (decompress(cut, raw.length) === undefined) refused++;
    }
    expect(refused).toBeGreaterThan(1000);
  });

  test("a block that ends within a count, or behind a match, is refused", () => {
    // 20 bytes: a token with 15 literals and more to come, and nothing; then what counts on without an end.
    for (const block of [
      "f0",
      "f0 ff",
      "f0 ff ff ff",
      "1f 41 0100",
      "1f 41 0100 ff",
      "1f 41 0100 ff ff",
      "14 41 0100",
    ]) {
      for (const size of [0, 1, 20, 300, 3000]) expect(decompress(hex(block), size), block).toBeUndefined();
    }
    // The same far from the end of what is written, where more is read at once.
    const far = "10 41".repeat(1);
    for (let ends = 0; ends < 40; ends++) {
      const block = `${far} 0100 ${"10 42 0100 ".repeat(12)}1f 43 0100 ${"ff ".repeat(ends)}`;
      for (const size of [100, 20_000]) expect(decompress(hex(block), size), block).toBeUndefined();
    }
  });

  test("a block that grows is never larger than it said, and reads as what was added", () => {
    const random = new Random(SEED + 5);
    for (let round = 0; round < 400; round++) {
      const raw = input(random, 1 + random.below(round < 40 ? 32_768 : 5000));
      bytes.set(raw, EXCHANGE);
      units.lz4GrowBegin(TABLE, EXCHANGE, TARGET);
      let end = 0;
      while (end < raw.length) {
        end = Math.min(raw.length, end + 1 + random.below(random.below(2) === 0 ? 40 : 3000));
        const before = units.lz4GrownSize(TABLE, EXCHANGE + end);
        if (random.below(3) > 0) units.lz4Grow(TABLE, EXCHANGE + end);
        const after = units.lz4GrownSize(TABLE, EXCHANGE + end);
        if (after > before) throw new Error(`${after} bytes, and ${before} before matches were found`);
      }
      const said = units.lz4GrownSize(TABLE, EXCHANGE + end);
      bytes.fill(0xa5, TARGET + said, TARGET + said + 2 * SLACK);
      const size = units.lz4GrowEnd(TABLE, EXCHANGE + end);
      expect(size).toBe(said);
      for (let i = SLACK; i < 2 * SLACK; i++) same(bytes[TARGET + said + i], 0xa5, "a byte behind the slack");
      const block = bytes.slice(TARGET, TARGET + size);
      expect(Buffer.compare(reference(block), raw)).toBe(0);
      expect(Buffer.compare(decompress(block, raw.length)!, raw)).toBe(0);
    }
  });

  test("a block that grows in one piece is as small as one that is written at once, within a hundredth", () => {
    const words = ascii(Array.from({ length: 300 }, (_, i) => `{"user":${i * 7919},"name":"name ${i}"}`).join(","));
    bytes.set(words, EXCHANGE);
    units.lz4GrowBegin(TABLE, EXCHANGE, TARGET);
    units.lz4Grow(TABLE, EXCHANGE + words.length);
    const size = units.lz4GrowEnd(TABLE, EXCHANGE + words.length);
    expect(size).toBeLessThan(1.01 * compress(words)!.length);
  });

  test("noise is refused or read, within its bounds", () => {
    const random = new Random(SEED + 4);
    for (let round = 0; round < 4000; round++) {
      decompress(random.fill(new Uint8Array(random.below(200))), random.below(3000));
    }
  });
});
