/**
 * Pins: segments that backups still read.
 *
 * A block that was handed to the device keeps its bytes while its segment lives, so a backup needs no copy: it is enough
 * that the segment is not taken anew. One that comes free meanwhile is HELD (log/space.ts), and free with its last pin.
 */
import { root } from "../root";
import { SegmentState, segmentAt, segmentFree } from "./segments";
import { Space } from "./space";

/** Keeps what a segment holds on the device. */
export function segmentPin(index: u32): void {
  if (!segmentAt(index).pins++) root.segmentsPinned++;
}

/** Takes back one pin. */
export function segmentUnpin(index: u32): void {
  const state = segmentAt(index);
  assert(state.pins);
  if (--state.pins) return;
  root.segmentsPinned--;
  if (state.space != Space.HELD) return;
  root.segmentsHeld--;
  segmentFree(index);
}

/** A segment that is pinned holds nothing that counts any more. */
export function segmentHold(state: SegmentState): void {
  state.space = Space.HELD;
  state.firstBlock = 0;
  root.segmentsHeld++;
}
