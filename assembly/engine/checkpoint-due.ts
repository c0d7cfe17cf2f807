/**
 * When a checkpoint is due, and what the kept ones mean for deletions.
 */
import { ROOT_SIZE, SuperblockRoot } from "../format/superblock";
import { checkpointWork } from "../log/checkpoint-writer";
import { segmentAt } from "../log/segments";
import { KEPT_ROOTS, root } from "../root";

/** A kept checkpoint's root: 0 the newer one, 1 the older one. */
export function rootAt(which: u32): SuperblockRoot {
  return changetype<SuperblockRoot>(KEPT_ROOTS + <usize>which * ROOT_SIZE);
}

/** Bytes of log behind the newest checkpoint. */
export function loggedBytes(): u64 {
  return <u64>(<i64>root.bytesAppended - root.checkpointBase);
}

/** Whether enough was written behind the newest checkpoint. */
export function isDue(): bool {
  if (!root.sequence) return false;
  const live = liveBytes();
  const logged = loggedBytes();
  if (logged < root.checkpointLogBytes) return false;
  // Deletions that nothing but an old checkpoint needs are garbage with the next one but one.
  const kept = root.surveyTombstones - root.surveyTombstonesHeld - root.surveyTombstonesPast;
  return logged * 1000 >= live * root.checkpointThousandths || kept * 4 > live + kept;
}

/** When the next look is worth while. */
export function dueSet(): void {
  const needed = max(root.checkpointLogBytes, (liveBytes() * root.checkpointThousandths) / 1000);
  const logged = loggedBytes();
  const step = (<u64>root.segmentBlocks) << 12;
  const wanted = needed > logged ? min(needed - logged, max(step * 8, root.checkpointLogBytes / 8)) : 0;
  root.checkpointDueAt = root.bytesAppended + wanted;
}

/** No checkpoint is kept: opening reads all that is live, as if it had been logged behind the last one. */
export function baseForget(): void {
  root.checkpointBase = min(root.checkpointBase, <i64>root.bytesAppended - <i64>liveBytes());
}

/** Live bytes of all segments. O(segments). */
function liveBytes(): u64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) bytes += segmentAt(i).liveBytes;
  return bytes;
}

/** The lowest sequence of what is kept, or under way. */
export function floorSet(): void {
  let floor: u64 = 0;
  for (let which: u32 = 0; which < 2; which++) {
    const kept = rootAt(which);
    if (kept.kind && (!floor || kept.sequence < floor)) floor = kept.sequence;
  }
  if (root.checkpointWork && (!floor || checkpointWork().sequence < floor)) floor = checkpointWork().sequence;
  root.checkpointFloor = floor;
}
