/**
 * Packing the entries of a checkpoint, where the store was opened with compression: a block takes as many entries as it
 * holds compressed. Its entries are gathered apart; once they would not fit a block as they are, matches are found in
 * them as often as it takes to know that they still fit compressed.
 *
 * ```
 * chunk
 *        0  the LZ4 block that grows, and its table
 *   0x2800  that block
 *   0x4000  the entries as they are
 * ```
 *
 * Invariants: (1) what was gathered always fits a block, as it is or compressed, so nothing that was written is ever taken
 * back; (2) a block that would not hold more for it is stored as it is.
 */
import { LZ4_SLACK } from "../bytes/lz4";
import {
  LZ4_GROWING_MAX,
  LZ4_GROWING_SIZE,
  Lz4Growing,
  lz4Grow,
  lz4GrowBegin,
  lz4GrowEnd,
  lz4GrownSize,
} from "../bytes/lz4-growing";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { ENTRIES_OFFSET, ENTRIES_SIZE_MAX, entriesHead } from "../format/checkpoint";
import { CHUNK_SIZE, chunkGive, chunkTake } from "../memory/chunks";
import { root } from "../root";

const PACKED: usize = 0x2800;
const GATHERED: usize = 0x4000;
/** Bytes that an LZ4 block may have. */
const ROOM: u32 = BLOCK_PAYLOAD_SIZE - ENTRIES_OFFSET;
/** Fewer bytes are not looked at for matches by themselves. */
const GROW_SIZE_MIN: u32 = 64;
/** Entries are stored word by word, over their end. */
const SLACK: usize = 64;

if (LZ4_GROWING_SIZE > PACKED || PACKED + ROOM + LZ4_SLACK > GATHERED) ERROR("the growing block");
if (GATHERED + ENTRIES_SIZE_MAX + SLACK > CHUNK_SIZE || ENTRIES_SIZE_MAX > LZ4_GROWING_MAX) ERROR("the entries");

/** Takes the memory, where entries are to be packed. Without it they are stored as they are. */
export function packTake(): void {
  root.checkpointPack = root.compression ? <u32>chunkTake() : 0;
}

/** Gives the memory back. */
export function packGive(): void {
  if (root.checkpointPack) chunkGive(<usize>root.checkpointPack);
  root.checkpointPack = 0;
}

/** Begins the entries of a block. */
export function packBegin(): void {
  root.checkpointPackSeen = 0;
}

/** Where the entry goes before which `used` bytes of a block's payload would be in use, were its entries stored as they are. */
export function packAt(used: u32): usize {
  return gathered() + (used - ENTRIES_OFFSET);
}

/** Whether an entry of `size` bytes goes in behind the `used` ones. About 1 ns for each byte since it was last looked at. */
export function packTakes(used: u32, size: u32): bool {
  const end = used + size;
  if (end <= BLOCK_PAYLOAD_SIZE) return true;
  if (end > ENTRIES_OFFSET + ENTRIES_SIZE_MAX) return false;
  const block = growing();
  if (!root.checkpointPackSeen) {
    lz4GrowBegin(block, gathered(), <usize>root.checkpointPack + PACKED);
    root.checkpointPackSeen = ENTRIES_OFFSET;
  } else if (lz4GrownSize(block, packAt(end)) <= ROOM) {
    return true;
  }
  if (used - root.checkpointPackSeen < GROW_SIZE_MIN) return false;
  lz4Grow(block, packAt(used));
  root.checkpointPackSeen = used;
  return lz4GrownSize(block, packAt(end)) <= ROOM;
}

/**
 * Puts what was gathered into a block's payload, whose entries count back from `sequence`: bytes of it that are in use
 * then. They are fewer than `used` when it was compressed.
 */
export function packEnd(used: u32, sequence: u64, payload: usize): u32 {
  if (used <= BLOCK_PAYLOAD_SIZE) {
    memory.copy(payload + ENTRIES_OFFSET, gathered(), used - ENTRIES_OFFSET);
    return used;
  }
  const size = lz4GrowEnd(growing(), packAt(used));
  assert(size <= ROOM);
  store<u64>(payload, entriesHead(sequence, used - ENTRIES_OFFSET));
  memory.copy(payload + ENTRIES_OFFSET, <usize>root.checkpointPack + PACKED, size);
  return ENTRIES_OFFSET + size;
}

function growing(): Lz4Growing {
  return changetype<Lz4Growing>(<usize>root.checkpointPack);
}

function gathered(): usize {
  return <usize>root.checkpointPack + GATHERED;
}
