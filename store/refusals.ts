/** Refusals that several calls share: what happened, and what to do. */
import { CairnError } from "./error.ts";

/** Longest key, in bytes as encoded, the prefix of its namespace included. */
export const KEY_SIZE_MAX = 2048;
/** Longest value, in bytes as encoded. */
export const VALUE_SIZE_MAX = 64 * 1024 * 1024;

/** What a step of the store's own work may meet without harm: it goes on when that has changed. */
const HARMLESS = ["NO_SPACE", "CORRUPT", "DEVICE_READ", "OUT_OF_MEMORY"];

/** Throws what a step met, unless it may go on later. */
export function throwUnlessHarmless(error: CairnError): void {
  if (!HARMLESS.includes(error.code)) throw error;
}

/** The store takes no calls any more. */
export function closedError(operation: string): CairnError {
  return new CairnError("CLOSED", operation, `${operation}: the store is closed. Open it again.`);
}

/** A key of `size` bytes, where `limit` is what the prefix of its namespace leaves. */
export function keySizeError(size: number, prefix: string, operation: string, limit = KEY_SIZE_MAX): CairnError {
  let message = `${prefix}: a key is not empty.`;
  if (size !== 0) {
    const left = limit === KEY_SIZE_MAX ? `${limit}` : `${limit}, which the prefix of its namespace leaves`;
    message = `${prefix}: a key of ${size} bytes exceeds the limit of ${left}.`;
  }
  return new CairnError("KEY_SIZE", operation, message);
}

/** A value that is too large. */
export function valueSizeError(size: number, operation: string): CairnError {
  const message = `${operation}: a value of ${size} bytes exceeds the limit of ${VALUE_SIZE_MAX}.`;
  return new CairnError("VALUE_SIZE", operation, message);
}

/** An argument that is not what the call takes. */
export function invalid(operation: string, message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", operation, `${operation}: ${message}`);
}

/** A place or a result beyond what there can be. */
export function outOfRange(operation: string, message: string): CairnError {
  return new CairnError("OUT_OF_RANGE", operation, `${operation}: ${message} Nothing was changed.`);
}
