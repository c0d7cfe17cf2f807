/**
 * LZ4 blocks, written from the description of the format by its author (LZ4 Block Format Description, in the reference
 * implementation's repository lz4/lz4, doc/lz4_Block_format.md).
 *
 * ```
 * sequence   u8 token: literals in the high 4 bits, match less 4 in the low ones; 15 in either is gone on with
 *            bytes that are added, up to one below 255: to the count of literals
 *            the literals
 *            u16 distance of the match, 1 to 65,535
 *            bytes that are added to the match's length
 * ```
 *
 * The last sequence ends with its literals. A writer's last 5 bytes are literals, and its last match starts at least 12
 * bytes before the end; a reader does not count on it.
 *
 * A block says neither its size nor that of what it holds: both come from elsewhere, and a block that is not exactly
 * that is no block. The reader looks at no byte outside of it and writes none outside of its target, whatever it says.
 */
import { copyBytes } from "./compare";

/** Bytes that a block may be made of at most, so that every place in it, and every distance, has 16 bits. */
export const LZ4_SIZE_MAX: u32 = 65536;
/** Bytes of a writer's table; it needs no clearing. */
export const LZ4_TABLE_SIZE: u32 = 16384;
/** A writer writes over so many bytes behind its room, and reads as many behind its source. */
export const LZ4_SLACK: u32 = 32;

export const MATCH_MIN: u32 = 4;
/** Of a short sequence: bytes that are read at most, and bytes that are written, with what is too much. */
const IN_FAR: u32 = 18;
const OUT_FAR: u32 = 48;
/** Bytes at the end that are always literals, and within which no match starts. */
export const LAST_LITERALS: u32 = 5;
export const LAST_MATCH: u32 = 12;
const TABLE_BITS_MIN: u32 = 9;
const TABLE_BITS_MAX: u32 = 13;
/** Places without a match that are looked at one by one before some are left out, as a power of two. */
export const PATIENCE_LOG2: u32 = 6;

if (2 << TABLE_BITS_MAX != LZ4_TABLE_SIZE) ERROR("the table outgrew its place");

/**
 * Writes `size` bytes, LZ4_SIZE_MAX at most, as a block of at most `room` bytes: its size, or 0 when it would be larger.
 * The same bytes make the same block. `table` is LZ4_TABLE_SIZE bytes of scratch. About 1 ns a byte, less where nothing
 * repeats.
 */
export function lz4Compress(source: usize, size: u32, target: usize, room: u32, table: usize): u32 {
  let out = target;
  const outEnd = target + room;
  const end = source + size;
  let anchor = source;
  if (size > LAST_MATCH) {
    const bits = min(TABLE_BITS_MAX, max(TABLE_BITS_MIN, 31 - clz(size)));
    const shift = 32 - bits;
    memory.fill(table, 0, (<usize>2) << bits);
    const searchEnd = end - LAST_MATCH;
    const matchEnd = end - LAST_LITERALS;
    // An empty slot names the first byte, which is as good a guess as any.
    let at = source + 1;
    while (true) {
      let looked: u32 = 1 << PATIENCE_LOG2;
      let candidate: usize = 0;
      while (at <= searchEnd) {
        const word = load<u32>(at);
        const slot = table + ((<usize>((word * 2654435761) >>> shift)) << 1);
        candidate = source + load<u16>(slot);
        store<u16>(slot, <u16>(at - source));
        if (load<u32>(candidate) == word) break;
        at += looked++ >>> PATIENCE_LOG2;
      }
      if (at > searchEnd) break;
      while (at > anchor && candidate > source && load<u8>(at - 1) == load<u8>(candidate - 1)) {
        at--;
        candidate--;
      }
      const matched = MATCH_MIN + equalBytes(at + MATCH_MIN, candidate + MATCH_MIN, matchEnd);
      const literals = <u32>(at - anchor);
      const extra = matched - MATCH_MIN;
      if (out + 5 + literals + literals / 255 + extra / 255 > outEnd) return 0;
      out = literalsWrite(out, anchor, literals, min(extra, 15));
      store<u16>(out, <u16>(at - candidate));
      out += 2;
      if (extra >= 15) out = restWrite(out, extra - 15);
      at += matched;
      anchor = at;
      if (at > searchEnd) break;
      const before = load<u32>(at - 2);
      store<u16>(table + ((<usize>((before * 2654435761) >>> shift)) << 1), <u16>(at - 2 - source));
    }
  }
  const literals = <u32>(end - anchor);
  if (out + 1 + literals + (literals + 240) / 255 > outEnd) return 0;
  return <u32>(literalsWrite(out, anchor, literals, 0) - target);
}

/**
 * Reads a block of `size` bytes that must hold exactly `rawSize` bytes, to `target`. False when it does not; what is at the
 * target then is undefined, and nothing outside of it has changed. About 0.2 ns a byte.
 */
export function lz4Decompress(source: usize, size: u32, target: usize, rawSize: u32): bool {
  let at = source;
  const end = source + size;
  let out = target;
  const outEnd = target + rawSize;
  // Far from both ends a short sequence is copied with what lies behind it, and nothing of it needs to be looked at but the
  // distance.
  const atFar = end - min(size, IN_FAR);
  const outFar = outEnd - min(rawSize, OUT_FAR);
  while (at < end) {
    while (at < atFar && out < outFar) {
      const token = <u32>load<u8>(at);
      const literals = token >>> 4;
      if (literals == 15) break;
      v128.store(out, v128.load(at, 1));
      const next = at + literals;
      const distance = <u32>load<u16>(next, 1);
      const to = out + literals;
      const from = to - distance;
      if (distance - 1 >= <u32>(to - target)) return false;
      const short = token & 15;
      if (short == 15 || distance < 16) {
        let matched = short;
        let rest = next + 3;
        if (short == 15) {
          let more: u32;
          do {
            if (rest >= end) return false;
            more = load<u8>(rest++);
            matched += more;
          } while (more == 255);
        }
        matched += MATCH_MIN;
        const left = <u32>(outEnd - to);
        if (matched > left) return false;
        if (distance >= 16 && matched + 32 <= left) {
          v128.store(to, v128.load(from));
          v128.store(to, v128.load(from, 16), 16);
          for (let i: u32 = 32; i < matched; i += 16) v128.store(to + i, v128.load(from + i));
        } else {
          matchCopy(to, from, distance, matched);
        }
        at = rest;
        out = to + matched;
        continue;
      }
      v128.store(to, v128.load(from));
      store<u16>(to, load<u16>(from, 16), 16);
      at = next + 3;
      out = to + short + MATCH_MIN;
    }
    if (at >= end) return false;
    const token = <u32>load<u8>(at++);
    let literals = token >>> 4;
    if (literals == 15) {
      let more: u32;
      do {
        if (at >= end) return false;
        more = load<u8>(at++);
        literals += more;
      } while (more == 255);
    }
    if (literals > <u32>(end - at) || literals > <u32>(outEnd - out)) return false;
    copyBytes(out, at, literals);
    at += literals;
    out += literals;
    if (at == end) return out == outEnd;
    if (<u32>(end - at) < 2) return false;
    const distance = <u32>load<u16>(at);
    at += 2;
    if (distance - 1 >= <u32>(out - target)) return false;
    let matched = token & 15;
    if (matched == 15) {
      let more: u32;
      do {
        if (at >= end) return false;
        more = load<u8>(at++);
        matched += more;
      } while (more == 255);
    }
    matched += MATCH_MIN;
    const left = <u32>(outEnd - out);
    if (matched > left) return false;
    matchCopy(out, out - distance, distance, matched);
    out += matched;
  }
  return false;
}

/** Copies a match whose source may run into its own target, and no byte behind it. */
function matchCopy(out: usize, from: usize, distance: u32, size: u32): void {
  const end = out + size;
  // What repeats is copied from a multiple of the distance before, so that whole words can be.
  const apart = distance * (7 / distance + 1);
  const bytes = min(end, distance < 8 ? out + apart - distance : out);
  while (out < bytes) store<u8>(out++, load<u8>(from++));
  from = out - (distance < 8 ? apart : distance);
  for (; out + 8 <= end; out += 8, from += 8) store<u64>(out, load<u64>(from));
  while (out < end) store<u8>(out++, load<u8>(from++));
}

/** How many bytes at two places are the same, up to `end` for the one at `a`. */
export function equalBytes(a: usize, b: usize, end: usize): u32 {
  const start = a;
  while (a + 8 <= end) {
    const difference = load<u64>(a) ^ load<u64>(b);
    if (difference) return <u32>(a - start) + (<u32>ctz(difference) >>> 3);
    a += 8;
    b += 8;
  }
  while (a < end && load<u8>(a) == load<u8>(b)) {
    a++;
    b++;
  }
  return <u32>(a - start);
}

/** Writes a token with its literals: where they end. */
export function literalsWrite(out: usize, from: usize, literals: u32, low: u32): usize {
  store<u8>(out, <u8>((min<u32>(literals, 15) << 4) | low));
  out++;
  if (literals >= 15) out = restWrite(out, literals - 15);
  if (literals > 256) {
    memory.copy(out, from, literals);
  } else {
    for (let i: u32 = 0; i < literals; i += 16) v128.store(out + i, v128.load(from + i));
  }
  return out + literals;
}

/** Writes what a length has beyond 15. */
export function restWrite(out: usize, rest: u32): usize {
  for (; rest >= 255; rest -= 255) store<u8>(out++, 255);
  store<u8>(out, <u8>rest);
  return out + 1;
}
