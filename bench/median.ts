/** The median, for code that runs on every runtime. */

/** The middle figure; between two, their mean. Throws when there is none. */
export function median(figures: ArrayLike<number>): number {
  const sorted = Float64Array.from(figures).sort();
  if (sorted.length === 0) throw new RangeError("a median needs at least one figure");
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
