/**
 * The feed: what is written, in the order of commits, for a store that somebody watches.
 *
 * Every way to write ends in one of three places: `set`, the last piece of a streamed value, `removeAt`. Each leaves an entry
 * here while the feed is open, after the write is done. The host takes all entries between its calls. Small values lie in
 * their entry; a larger one is read by the host before anything else is written, so an entry without its value asks for
 * attention at once. Entries of one batch have one sequence.
 *
 * Invariants: (1) entries stand in the order of their sequences; (2) what finds no room is not left out silently: `feedLost` is
 * set, and whoever watches goes on by the versions of nodes (engine/changes.ts).
 *
 * ```
 * entry
 *   0  f64 sequence       8  u32 key size     12  u32 value size
 *  16  u32 kind           20  u32 size of the entry
 *  24  key, padded to 8, then the value, padded to 8, where kind says that it is here
 * ```
 */
import { copyBytes, pad8 } from "../bytes/compare";
import { KeyNode } from "../index/key-node";
import { CHUNK_SIZE, chunkGive, chunkTake } from "../memory/chunks";
import { Attention, root } from "../root";
import { Status } from "../status";

const ENTRY_HEADER_SIZE: u32 = 24;
const VALUE_SIZE_MAX: u32 = 4096;
/** What an entry takes at most. */
const ENTRY_SIZE_MAX: u32 = ENTRY_HEADER_SIZE + 2048 + VALUE_SIZE_MAX;

/** What an entry tells. */
export namespace FeedKind {
  export const SET: u32 = 1;
  export const DELETE: u32 = 2;
  /** A value that is not here. */
  export const SET_LARGE: u32 = 3;
}

/** Opens the feed. OUT_OF_MEMORY. */
export function feedOpen(): i32 {
  if (root.feed) return Status.OK;
  const chunk = chunkTake();
  if (!chunk) return Status.OUT_OF_MEMORY;
  root.feed = <u32>chunk;
  root.feedUsed = 0;
  root.feedLost = 0;
  return Status.OK;
}

/** Closes the feed; what was not taken is gone. */
export function feedClose(): void {
  if (!root.feed) return;
  chunkGive(<usize>root.feed);
  root.feed = 0;
}

/** Gives out all entries: bytes of them, at `resultPointer` until the next write; `resultFlags` is 1 when some were lost. */
export function feedTake(): u32 {
  const used = root.feedUsed;
  root.resultPointer = root.feed;
  root.resultFlags = root.feedLost;
  root.feedUsed = 0;
  root.feedLost = 0;
  root.attention &= ~Attention.CHANGES_DUE;
  return used;
}

/** Whether an entry might not find room. */
export function feedIsFull(): bool {
  return root.feed != 0 && root.feedUsed + ENTRY_SIZE_MAX > <u32>CHUNK_SIZE;
}

/** Tells of a value that was stored; `value` 0 when it lies in several pieces. The feed is open. */
export function feedSet(key: usize, keySize: u32, value: usize, valueSize: u32): void {
  const here = value != 0 && valueSize <= VALUE_SIZE_MAX;
  const entry = entryTake(here ? FeedKind.SET : FeedKind.SET_LARGE, key, keySize, here ? valueSize : 0);
  if (!entry) return;
  store<u32>(entry, valueSize, 12);
  if (here) copyBytes(entry + ENTRY_HEADER_SIZE + pad8(keySize), value, valueSize);
  else root.attention |= Attention.CHANGES_DUE;
}

/** Tells of a deletion. The feed is open. */
export function feedDelete(node: KeyNode): void {
  entryTake(FeedKind.DELETE, node.key, node.keySize, 0);
}

function entryTake(kind: u32, key: usize, keySize: u32, valueSize: u32): usize {
  const size = ENTRY_HEADER_SIZE + pad8(keySize) + pad8(valueSize);
  const used = root.feedUsed;
  if (used + size > <u32>CHUNK_SIZE) {
    root.feedLost = 1;
    root.attention |= Attention.CHANGES_DUE;
    return 0;
  }
  const entry = <usize>root.feed + used;
  root.feedUsed = used + size;
  if (used + size > <u32>CHUNK_SIZE / 2) root.attention |= Attention.CHANGES_DUE;
  store<f64>(entry, <f64>root.sequence);
  store<u32>(entry, keySize, 8);
  store<u32>(entry, 0, 12);
  store<u32>(entry, kind, 16);
  store<u32>(entry, size, 20);
  copyBytes(entry + ENTRY_HEADER_SIZE, key, keySize);
  return entry;
}
