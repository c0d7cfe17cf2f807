/**
 * Filling a fresh store with records as they stood in another one: for `repair`, which keeps their sequences.
 *
 * The records go to segments of copies, where they may stand in any order. They count when the note at the end is durable;
 * until then the store is empty, whatever happens. No index is built: the store is opened anew to be read.
 *
 * Invariant: nothing else is written to the store before `rebuildFinish`.
 */
import { pad8 } from "../bytes/compare";
import { compressReserve } from "../engine/compress";
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { Record, RecordFlags } from "../format/record";
import { noteAppend } from "../log/append";
import { flushSync } from "../log/group";
import { liveAdd } from "../log/segments";
import { sideAdmit, sideAlign, sideBytes, sideClose, sidePlace, sideReady } from "../log/side";
import { EXCHANGE_IN, root } from "../root";
import { Status } from "../status";

/**
 * Begins a record whose first `head` bytes, up to the end of its key, lie in the exchange area, and whose whole size is
 * `total`. The value follows in pieces (`rebuildBytes`). NO_SPACE, DEVICE_WRITE, OUT_OF_MEMORY; INVALID_ARGUMENT when it does
 * not fit a segment.
 */
export function rebuildRecord(head: u32, total: u32): i32 {
  if (root.blocked) return root.blocked;
  if (total > (root.segmentBlocks - 1) * BLOCK_PAYLOAD_SIZE) return Status.INVALID_ARGUMENT;
  const admitted = sideAdmit(head, total);
  if (admitted < 0) return admitted;
  if (<u32>changetype<Record>(EXCHANGE_IN).flags & RecordFlags.COMPRESSED) {
    const said = compressReserve();
    if (said < 0) return said;
  }
  const sequence = changetype<Record>(EXCHANGE_IN).sequence;
  if (sequence > root.sequence) root.sequence = sequence;
  const address = sidePlace(head, total);
  sideBytes(EXCHANGE_IN, head);
  // A segment without live bytes would be given back.
  liveAdd(address, pad8(total));
  return Status.OK;
}

/** Appends `size` bytes of the record's value out of the exchange area. NO_SPACE, DEVICE_WRITE. */
export function rebuildBytes(size: u32): i32 {
  for (let done: u32 = 0; done < size; ) {
    const ready = sideReady();
    if (ready < 0) return ready;
    const piece = min(size - done, BLOCK_PAYLOAD_SIZE);
    sideBytes(EXCHANGE_IN + done, piece);
    done += piece;
  }
  return Status.OK;
}

/** Ends the record. */
export function rebuildEnd(): void {
  sideAlign();
}

/**
 * Lets the records count and makes all durable; `close` follows. `sequence` is the highest one that was ever used, as
 * far as anybody knows; changes up to it can no longer be told. NO_SPACE, DEVICE_WRITE.
 */
export function rebuildFinish(sequence: f64, highestTimeMs: f64): i32 {
  const closed = sideClose();
  if (closed < 0) return closed;
  root.sequence = max(root.sequence, <u64>sequence);
  root.sequenceCeiling = root.sequence + 1;
  root.droppedTombstones = root.sequence;
  root.highestTimeMs = max(root.highestTimeMs, <u64>highestTimeMs);
  const noted = noteAppend();
  if (noted < 0) return noted;
  return flushSync();
}
