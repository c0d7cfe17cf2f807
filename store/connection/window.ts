/** How much of a conversation may be unanswered, and how much a call counts. */

/** How much may be unanswered, where an owner says so. */
export interface Window {
  calls: number;
  /** Bytes, about; a single call may have more. */
  size: number;
}

/** Bytes that a call, and an argument, take at most beside what they hold; text is taken for one byte a character. */
const CALL_OVERHEAD = 64;
const ARGUMENT_OVERHEAD = 9;
/** Bytes of a call with these arguments, about. */
export function callSize(args: readonly unknown[]): number {
  return sizeOf(args) + CALL_OVERHEAD;
}

/** Bytes of arguments, about. */
function sizeOf(args: readonly unknown[]): number {
  let size = 0;
  for (const arg of args) {
    if (typeof arg === "string" || arg instanceof Uint8Array) size += arg.length;
    else if (Array.isArray(arg)) size += sizeOf(arg);
    size += ARGUMENT_OVERHEAD;
  }
  return size;
}
