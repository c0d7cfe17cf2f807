/**
 * An LZ4 block that grows with its source: bytes are added, and how large the block would be if it ended here is known at any
 * time. For who must fill a room with as much as goes in, and cannot tell beforehand what that will be.
 *
 * What was added lies in one piece and stays as it is. `lz4Grow` finds the matches in it; what has none yet counts as it
 * is, as literals.
 *
 * Invariant: finding matches never makes the block larger. A match of `m` bytes between `a` and `b` literals, in place of all of
 * them as literals, costs 3 bytes and up to two more that continue a length, and `m` is at least 4, or 19 where its own length
 * is continued; of two lengths that are split only one byte more is ever needed.
 */
import {
  equalBytes,
  LAST_LITERALS,
  LAST_MATCH,
  LZ4_SIZE_MAX,
  LZ4_SLACK,
  literalsWrite,
  MATCH_MIN,
  PATIENCE_LOG2,
  restWrite,
} from "./lz4";

const TABLE_BITS: u32 = 12;
const TABLE_SIZE: usize = (<usize>2) << TABLE_BITS;
/** Bytes that are added to a count of literals from this one on. */
const COUNT_FIRST: u32 = 15;

/** A block that grows, and behind it its table. */
@unmanaged
export class Lz4Growing {
  /** Where its source begins, and the next place where a match may start. */
  source: u32;
  at: u32;
  /** The first byte of the source that is not in the block yet. */
  anchor: u32;
  /** Where the block begins, and where it goes on. */
  target: u32;
  out: u32;
}

/** Bytes of a growing block with its table. */
export const LZ4_GROWING_SIZE: usize = 64 + TABLE_SIZE;
/** Bytes that its source may have at most; as many behind them as LZ4_SLACK are read. */
export const LZ4_GROWING_MAX: u32 = LZ4_SIZE_MAX - 1;

if (offsetof<Lz4Growing>() > 64) ERROR("Lz4Growing outgrew its place");

/** Begins a block at `target` of what will lie at `source`. 0.2 µs. */
export function lz4GrowBegin(growing: Lz4Growing, source: usize, target: usize): void {
  growing.source = <u32>source;
  // An empty slot of the table names the first byte.
  growing.at = <u32>source + 1;
  growing.anchor = <u32>source;
  growing.target = <u32>target;
  growing.out = <u32>target;
  memory.fill(tableOf(growing), 0, TABLE_SIZE);
}

/** Bytes of the block if its source ended at `end`. O(1). */
export function lz4GrownSize(growing: Lz4Growing, end: usize): u32 {
  const literals = <u32>end - growing.anchor;
  return growing.out - growing.target + 1 + (literals + (255 - COUNT_FIRST)) / 255 + literals;
}

/** Finds the matches of what lies before `end`. It writes up to what `lz4GrownSize` says. About 1 ns a byte. */
export function lz4Grow(growing: Lz4Growing, end: usize): void {
  const source = <usize>growing.source;
  if (end < source + LAST_MATCH) return;
  const table = tableOf(growing);
  const searchEnd = end - LAST_MATCH;
  const matchEnd = end - LAST_LITERALS;
  let at = <usize>growing.at;
  let anchor = <usize>growing.anchor;
  let out = <usize>growing.out;
  while (at <= searchEnd) {
    let looked: u32 = 1 << PATIENCE_LOG2;
    let candidate: usize = 0;
    while (at <= searchEnd) {
      const word = load<u32>(at);
      const slot = slotOf(table, word);
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
    const extra = equalBytes(at + MATCH_MIN, candidate + MATCH_MIN, matchEnd);
    out = literalsWrite(out, anchor, <u32>(at - anchor), min(extra, COUNT_FIRST));
    store<u16>(out, <u16>(at - candidate));
    out += 2;
    if (extra >= COUNT_FIRST) out = restWrite(out, extra - COUNT_FIRST);
    at += MATCH_MIN + extra;
    anchor = at;
    if (at <= searchEnd) store<u16>(slotOf(table, load<u32>(at - 2)), <u16>(at - 2 - source));
  }
  growing.at = <u32>at;
  growing.anchor = <u32>anchor;
  growing.out = <u32>out;
}

/** Ends the block: its size, which is what `lz4GrownSize` says; LZ4_SLACK bytes behind it may be written over. */
export function lz4GrowEnd(growing: Lz4Growing, end: usize): u32 {
  const out = literalsWrite(<usize>growing.out, <usize>growing.anchor, <u32>end - growing.anchor, 0);
  return <u32>out - growing.target;
}

function tableOf(growing: Lz4Growing): usize {
  return changetype<usize>(growing) + 64;
}

function slotOf(table: usize, word: u32): usize {
  return table + ((<usize>((word * 2654435761) >>> (32 - TABLE_BITS))) << 1);
}

if (LZ4_SLACK < 16) ERROR("the slack");
