/**
 * The past that can be counted on: deletions that are younger than so many milliseconds, or within so many bytes of the log,
 * stay where they are, though nothing else needs them.
 *
 * Which sequence that comes to is known from samples, taken as groups are sealed: the newest sample that is outside both
 * bounds is the floor. There are few, so the floor errs on the side of keeping, by about a sixteenth of the bounds. A store
 * that was just opened has none of its former samples, and keeps all until it has new ones.
 *
 * ```
 * sample, 24 bytes:  0 u64 sequence    8 u64 bytes appended    16 u64 time in ms
 * ```
 */
import { tickMs } from "../device/device";
import { chunkTake } from "../memory/chunks";
import { root } from "../root";
import { Status } from "../status";

const SAMPLE_SIZE: usize = 24;
/** Of each bound, samples are taken after so small a share. */
const SHARE: u64 = 16;
/** Those within both bounds, and a few outside. */
const SAMPLES_MAX: u32 = 48;

/** Keeps deletions from now on that are within `bytes` of the log or younger than `ms`. Both 0: no longer than needed. */
export function historyConfigure(bytes: f64, ms: f64): i32 {
  root.historyBytes = <u64>bytes;
  root.historyMs = <u64>ms;
  if (bytes == 0 && ms == 0) return Status.OK;
  if (!root.history) root.history = <u32>chunkTake();
  if (!root.history) return Status.OUT_OF_MEMORY;
  root.historyCount = 0;
  root.historyFloor = 0;
  historySample();
  return Status.OK;
}

/** Notes where the log stands, where that is worth a sample. */
export function historySample(): void {
  if (!root.history) return;
  const now = tickMs();
  const count = root.historyCount;
  if (count) {
    const last = sampleAt(count - 1);
    const bytes = root.bytesAppended - load<u64>(last, 8);
    const ms = now - load<u64>(last, 16);
    const isDue =
      (root.historyBytes != 0 && bytes * SHARE >= root.historyBytes) ||
      (root.historyMs != 0 && ms * SHARE >= root.historyMs);
    if (!isDue) return;
  }
  historyTrim();
  if (root.historyCount == SAMPLES_MAX) return;
  const at = sampleAt(root.historyCount++);
  store<u64>(at, root.sequence);
  store<u64>(at, root.bytesAppended, 8);
  store<u64>(at, now, 16);
}

/** Raises the floor to the newest sample that is outside both bounds, and forgets those up to it. */
export function historyTrim(): void {
  if (!root.history) return;
  const now = tickMs();
  let gone: u32 = 0;
  while (gone < root.historyCount) {
    const at = sampleAt(gone);
    if (root.bytesAppended - load<u64>(at, 8) < root.historyBytes) break;
    if (now - load<u64>(at, 16) < root.historyMs) break;
    root.historyFloor = load<u64>(at);
    gone++;
  }
  if (!gone) return;
  root.historyCount -= gone;
  memory.copy(sampleAt(0), sampleAt(gone), <usize>root.historyCount * SAMPLE_SIZE);
}

/** Whether a deletion is kept for the sake of the past. After a survey. */
export function historyHolds(sequence: u64): bool {
  return root.history != 0 && sequence > root.historyFloor;
}

function sampleAt(index: u32): usize {
  return <usize>root.history + <usize>index * SAMPLE_SIZE;
}
