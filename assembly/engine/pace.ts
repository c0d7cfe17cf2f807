/**
 * Which segments compaction moves, and how fast it runs by itself.
 *
 * **Pace.** A bound says how many segments may be in use: the live ones by `garbageRatio`, and on a device that cannot grow
 * what writes may use. For each block of the log, compaction reads as many blocks as give one back: the inverse of the
 * last source's garbage. That balances; the distance to the bound speeds it up and slows it down, so it runs evenly and
 * neither starves nor runs ahead. Segments that are given back already, but not free yet, count against the bound.
 *
 * **Choice.** What moving a segment gives for what it costs, times its age (Rosenblum and Ousterhout): cold garbage is worth
 * having early, since no more of it will come, while hot segments get better by waiting. Under uniform writes that picks
 * the same segments as the most garbage does.
 */
import { BLOCK_PAYLOAD_SIZE } from "../format/block";
import { For, SegmentState, segmentAt, segmentsKept } from "../log/segments";
import { Space, tombstonesNeeded } from "../log/space";
import { root } from "../root";

/** The least share of a segment that moving it must give, where room is short: one part in so many. */
const LEAST_GAIN_SHARE: u32 = 16;
/** Where deletions fill more than one part in so many of the closed segments, the oldest one is moved. */
const TOMBSTONE_SHARE: u64 = 4;
/** Segments that may be in use beyond the live ones, however few these are. */
const SLACK_SEGMENTS: f64 = 6;
/** How much of the mean of what is on its way to be free the newest survey is. */
const MEAN_SHARE: f64 = 0.0625;
/** Segments beyond the bound at which the pace doubles; and below it, at which compaction rests. */
const SPAN: f64 = 2;
const FACTOR_MAX: f64 = 16;
/** Part of the ratio of garbage that closed segments may hold, whatever else is in use; and the segments that are open. */
const LEAST_GARBAGE: f64 = 0.8;
const OPEN_SEGMENTS: f64 = 2;

/** Why compaction runs: what it may do, and which segments are worth it. */
export namespace CompactMode {
  /** By itself, in proportion to what is written; free segments come with the notes that the log writes anyway. */
  export const AUTO: u32 = 0;
  /** Because somebody asks for it: segments above the ratio of garbage. */
  export const ASKED: u32 = 1;
  /** Everything that gives back at least a block, where that makes a segment in all. */
  export const FULL: u32 = 2;
  /** Because a write finds no room: the best segment that gives enough. */
  export const NEED: u32 = 3;
  /** The last segments of a file, to free ones before them: see lower.ts. */
  export const LOWER: u32 = 4;
}

/** Why compaction passes a segment by. */
export namespace Stuck {
  export const PINNED: u32 = 1;
  export const UNREADABLE: u32 = 2;
}

/** Sets whether compaction runs by itself, and above which share of garbage, in thousandths. */
export function compactConfigure(auto: bool, thousandths: u32): void {
  root.compactAuto = auto ? 1 : 0;
  root.compactThousandths = thousandths;
}

/** After a survey: whether compaction runs by itself, and how many bytes it reads for each byte that is written. */
export function paceSet(): void {
  root.paceDue = 0;
  root.compactActive = 0;
  if (!root.compactAuto || root.surveyCount < 3) return;
  const capacity = <f64>capacityOf();
  const kept = (<f64>root.surveyLive + <f64>root.surveyTombstones) / capacity;
  const beyond = segmentsBeyond();
  const oldest = root.surveyTombstonesHeld * TOMBSTONE_SHARE > root.surveyCount * <u64>capacity;
  const garbage = 1.0 - kept / <f64>root.surveyCount;
  if ((beyond <= -SPAN || garbage * <f64>LEAST_GAIN_SHARE < 1.0) && !oldest) return;
  root.compactActive = 1;
  // Before there was a source, the mean of all is the best guess.
  const gain = root.moveGain ? <f64>root.moveGain / 1000.0 : garbage;
  const even = 1.0 / max(gain, 0.05);
  const factor = even * min(2.0, max(1.0 + beyond / SPAN, oldest ? 1.0 : 0.0));
  root.compactFactor = <u32>(min(factor, FACTOR_MAX) * 1000.0);
}

/** How many segments more are in use than should be. */
function segmentsBeyond(): f64 {
  const kept = (<f64>root.surveyLive + <f64>root.surveyTombstones) / <f64>((<u64>1) << root.segmentSizeLog2);
  const ratio = <f64>root.compactThousandths / 1000.0;
  // What was moved whole waits for its copies, for a note or for the mark. How much that is swings with each segment that
  // is closed, and the pace should not: so its mean counts.
  const given = <f64>(root.surveyMoved + root.emptiedCount + root.notedCount);
  root.givenMean += (given - root.givenMean) * MEAN_SHARE;
  const used = <f64>root.surveyUsed - given;
  // A small store has little garbage beside what is open or on its way. To have still less of it costs more than it gives.
  const least = max(kept / (1.0 - ratio * LEAST_GARBAGE) + OPEN_SEGMENTS, kept + SLACK_SEGMENTS);
  const beyond = used - max(kept / (1.0 - ratio) - root.givenMean, least);
  if (root.growable) return beyond;
  const room = <f64>(root.segmentCount - segmentsKept(For.WRITING)) - root.givenMean;
  return max(beyond, used - room);
}

/** Payload bytes of a segment. */
export function capacityOf(): u32 {
  return (root.segmentBlocks - 1) * BLOCK_PAYLOAD_SIZE;
}

/** The segment that is worth most, index plus 1, or 0 when none gives enough. O(segments). */
export function victimFind(mode: u32): u32 {
  const capacity = capacityOf();
  let least: u32 = capacity / LEAST_GAIN_SHARE;
  if (mode == CompactMode.FULL) {
    if (!fullGains()) return oldestFind(mode, capacity);
    least = BLOCK_PAYLOAD_SIZE;
  } else if (mode == CompactMode.ASKED) {
    least = max<u32>(least, <u32>((<u64>capacity * root.compactThousandths) / 2000));
  }
  let best: u32 = 0;
  let bestWorth: f64 = 0;
  let bestGain: u32 = 0;
  let gains: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (!movable(state)) continue;
    if (mode == CompactMode.FULL && state.generation > root.compactBefore) continue;
    const kept = keptOf(i, state);
    // A segment whose records were all moved waits for their copies; one that was filled by copies gives nothing.
    if ((!kept && state.movedTo) || isPacked(state, kept)) continue;
    const gain = capacity > kept ? capacity - kept : 0;
    if (gain < least) continue;
    gains += gain;
    // Where room is short, most is best; and what holds nothing costs nothing.
    const age = mode == CompactMode.NEED ? 1.0 : <f64>(root.sequence - min(state.born, root.sequence)) + 1.0;
    const worth = (<f64>gain * age) / <f64>(capacity + kept);
    if (worth <= bestWorth) continue;
    best = i + 1;
    bestWorth = worth;
    bestGain = gain;
  }
  // Copies may use more of what is kept when they are sure to give back more than they take.
  root.rescuing = root.deleting || gains >= <u64>capacity * 2 ? 1 : 0;
  if (best) root.moveGain = max<u32>(1, <u32>((<u64>bestGain * 1000) / capacity));
  if (best || mode == CompactMode.NEED) return best;
  return oldestFind(mode, capacity);
}

/** Deletions are kept for the sake of the oldest segment: moving it makes them garbage. Index plus 1, or 0. */
function oldestFind(mode: u32, capacity: u32): u32 {
  if (!root.bornOldestSegment) return 0;
  const used = <u64>root.surveyCount * capacity;
  if (mode != CompactMode.FULL && root.surveyTombstonesHeld * TOMBSTONE_SHARE <= used) return 0;
  const oldest = segmentAt(root.bornOldestSegment - 1);
  if (!movable(oldest) || !root.surveyTombstonesHeld || (mode == CompactMode.FULL && !tombstonesWeigh())) return 0;
  if (mode == CompactMode.FULL && oldest.generation > root.compactBefore) return 0;
  if (!oldest.liveBytes && oldest.movedTo) return 0;
  return root.bornOldestSegment;
}

/**
 * Whether a full compaction would make a segment free, or a deletion superfluous: what was compacted once is not copied
 * again for the sake of what the copies' last segment has left. After a survey, before it begins.
 */
export function fullIsDue(): bool {
  root.compactBefore = u64.MAX_VALUE;
  return root.emptiedCount != 0 || root.notedCount != 0 || tombstonesWeigh() || fullGains();
}

/** Whether deletions that are still needed fill a block. */
function tombstonesWeigh(): bool {
  return root.surveyTombstonesHeld >= <u64>BLOCK_PAYLOAD_SIZE;
}

/** Whether moving everything that holds garbage would make a segment free. */
function fullGains(): bool {
  const capacity = capacityOf();
  // A record that does not fit leaves the end of a segment empty.
  const filled = capacity - BLOCK_PAYLOAD_SIZE;
  let count: u64 = 0;
  let kept: u64 = 0;
  for (let i: u32 = 0; i < root.segmentCount; i++) {
    const state = segmentAt(i);
    if (state.generation > root.compactBefore) continue;
    // What is open will be closed when a full compaction begins.
    const open = state.space == Space.OPEN || state.space == Space.COPYING;
    if (open ? root.compactBefore != u64.MAX_VALUE || !state.liveBytes : !movable(state)) continue;
    const size = keptOf(i, state);
    if ((!size && state.movedTo) || isPacked(state, size)) continue;
    if (size + BLOCK_PAYLOAD_SIZE > capacity) continue;
    count++;
    kept += size;
  }
  // What the open segment of copies still takes costs nothing, once it is begun.
  const begun = root.compactBefore != u64.MAX_VALUE && root.sideSegment != 0;
  const room: u64 = begun ? <u64>(root.segmentBlocks - 1 - root.sideBlock) * BLOCK_PAYLOAD_SIZE : 0;
  const rest = kept > room ? kept - room : 0;
  return count > (rest + filled - 1) / filled;
}

/**
 * Whether a segment of copies was filled until nothing more fitted it, and all of it is among the `kept` bytes that would be
 * moved: its empty end is no garbage, for its records would leave the same behind them elsewhere.
 */
function isPacked(state: SegmentState, kept: u32): bool {
  return state.packed != 0 && state.packed == kept;
}

function keptOf(index: u32, state: SegmentState): u32 {
  const kept = <u32>state.liveBytes;
  return tombstonesNeeded(index, state.newestTombstone) ? kept + state.tombstoneBytes : kept;
}

/** Whether compaction may read a segment now, and may hope to free it: what a backup pins stays as long as that reads it. */
export function movable(state: SegmentState): bool {
  if (state.space != Space.LIVE || state.pins || state.closedGroup > root.durableGroup) return false;
  return !state.stuck || (state.stuck == Stuck.PINNED && !root.versionCount);
}
