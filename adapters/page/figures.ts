/** Numbers as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const SIZES = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** A count: `1,234,567`. */
export const counted = (count: number): string => WHOLE.format(count);

/** A count in three digits: `1.23M`. */
export const compact = (count: number): string => COMPACT.format(count);

/** Three significant digits: `0.0123`, `12.3`. */
export const short = (value: number): string => SHORT.format(value);

/** A size: `1.5 MiB`. */
export function sized(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < SIZES.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? WHOLE.format(size) : SHORT.format(size)} ${SIZES[unit]}`;
}

/** A duration: `340 µs`, `12.3 ms`, `1.5 s`. */
export function lasted(ms: number): string {
  if (ms > 0 && ms < 1) return `${SHORT.format(ms * 1000)} µs`;
  return ms < 1000 ? `${SHORT.format(ms)} ms` : `${SHORT.format(ms / 1000)} s`;
}
