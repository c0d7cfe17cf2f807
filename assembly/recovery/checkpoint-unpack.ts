/** The entries of a checkpoint's block, decompressed where they are packed; see format/checkpoint.ts. Nothing is believed. */
import { lz4Decompress } from "../bytes/lz4";
import { storedAt } from "../engine/compress";
import { BLOCK_HEADER_SIZE, BlockHeader } from "../format/block";
import {
  CHECKPOINT_VERSION_PACKED,
  CheckpointSummary,
  ENTRIES_OFFSET,
  ENTRIES_SIZE_MAX,
  entriesSizeOf,
} from "../format/checkpoint";
import { EXCHANGE_SIZE, root } from "../root";

if (ENTRIES_SIZE_MAX + 64 > EXCHANGE_SIZE) ERROR("the working memory");

/**
 * Finds the entries of a sound block of a checkpoint, whose summary was read: where they begin, and in `root.entriesTo` where
 * they end; 0 when the block makes no sense. Packed ones lie in the memory of compression, until the next call that uses it.
 * About 1 ns a byte where they are packed.
 */
export function entriesOf(frame: usize, summary: CheckpointSummary): usize {
  const used = <u32>changetype<BlockHeader>(frame).used;
  if (used < ENTRIES_OFFSET) return 0;
  const payload = frame + BLOCK_HEADER_SIZE;
  const start = payload + ENTRIES_OFFSET;
  const size = entriesSizeOf(load<u64>(payload));
  if (!size) {
    root.entriesTo = <u32>(payload + used);
    return start;
  }
  if (summary.version != CHECKPOINT_VERSION_PACKED || size > ENTRIES_SIZE_MAX) return 0;
  const target = storedAt();
  if (!lz4Decompress(start, used - ENTRIES_OFFSET, target, size)) return 0;
  root.entriesTo = <u32>(target + size);
  return target;
}
