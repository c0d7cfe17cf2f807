/**
 * Ranges of `cairn:kv/store`, as the engine's cursors take them: [lower, upper) in KEY_A and KEY_B, both ends optional;
 * a zero byte appended to a key means behind it.
 */
import { CursorFlags } from "../engine/cursor";
import { KEY_SIZE_MAX } from "../limits";
import { KEY_A, KEY_B } from "../root";
import { Status } from "../status";

/** The cases of `bound`. */
namespace Bound {
  export const NONE: u32 = 0;
  export const EXCLUDED: u32 = 2;
}

/** What `rangePlace` found, for `cursorOpen`. */
@unmanaged
export class Ends {
  flags: u32 = 0;
  lowerSize: u32 = 0;
  upperSize: u32 = 0;
}

/** Takes the lower end: the key in `key` is put into KEY_A. KEY_SIZE when it is longer than any key. */
export function lowerPlace(ends: Ends, bound: u32, key: usize, size: u32): i32 {
  if (bound == Bound.NONE) return Status.OK;
  if (size > KEY_SIZE_MAX) return Status.KEY_SIZE;
  ends.flags |= CursorFlags.LOWER;
  ends.lowerSize = endPlace(KEY_A, key, size, bound == Bound.EXCLUDED);
  return Status.OK;
}

/** Takes the upper end: the key in `key` is put into KEY_B. KEY_SIZE when it is longer than any key. */
export function upperPlace(ends: Ends, bound: u32, key: usize, size: u32): i32 {
  if (bound == Bound.NONE) return Status.OK;
  if (size > KEY_SIZE_MAX) return Status.KEY_SIZE;
  ends.flags |= CursorFlags.UPPER;
  ends.upperSize = endPlace(KEY_B, key, size, bound != Bound.EXCLUDED);
  return Status.OK;
}

/** Narrows the ends to keys that begin with a prefix. KEY_SIZE when that is longer than any key. */
export function prefixPlace(ends: Ends, prefix: usize, size: u32): i32 {
  if (size > KEY_SIZE_MAX) return Status.KEY_SIZE;
  if (!size) return Status.OK;
  if (!(ends.flags & CursorFlags.LOWER) || compare(prefix, size, KEY_A, ends.lowerSize) > 0) {
    ends.flags |= CursorFlags.LOWER;
    ends.lowerSize = endPlace(KEY_A, prefix, size, false);
  }
  // The first key behind all that begin with the prefix: its last byte that is not 255, raised by one.
  let last = size;
  while (last && load<u8>(prefix + last - 1) == 255) last--;
  if (!last) return Status.OK;
  store<u8>(prefix + last - 1, load<u8>(prefix + last - 1) + 1);
  if (!(ends.flags & CursorFlags.UPPER) || compare(prefix, last, KEY_B, ends.upperSize) < 0) {
    ends.flags |= CursorFlags.UPPER;
    ends.upperSize = endPlace(KEY_B, prefix, last, false);
  }
  store<u8>(prefix + last - 1, load<u8>(prefix + last - 1) - 1);
  return Status.OK;
}

function endPlace(target: usize, key: usize, size: u32, behind: bool): u32 {
  memory.copy(target, key, size);
  if (!behind) return size;
  store<u8>(target + size, 0);
  return size + 1;
}

function compare(left: usize, leftSize: u32, right: usize, rightSize: u32): i32 {
  const order = memory.compare(left, right, min(leftSize, rightSize));
  if (order) return order;
  return <i32>leftSize - <i32>rightSize;
}
