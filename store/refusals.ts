/** Refusals that several calls share: what happened, and what to do. */
import { CairnError } from "./error.ts";

/** Longest key, in bytes as encoded, the prefix of its namespace included. */
export const KEY_SIZE_MAX = 2048;
/** Longest value, in bytes as encoded. */
export const VALUE_SIZE_MAX = 64 * 1024 * 1024;

/** What a step of the store's own work may meet without harm: it goes on when that has changed. */
const HARMLESS = ["NO_SPACE", "CORRUPT", "DEVICE_READ", "OUT_OF_MEMORY"];

/** How bytes come to be detached, and what to do. */
export const WHY_DETACHED =
  "their buffer was transferred, or has shrunk. Pass bytes that are there, or transfer their buffer after the call.";

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

/**
 * Throws for bytes that are no longer there: their buffer was transferred, or shrank below them. `what` is what they were
 * to be. Such bytes have no length, so others cost a comparison.
 */
export function refuseDetached(bytes: Uint8Array, what: string, operation: string): void {
  if (bytes.length === 0 && isDetached(bytes))
    throw invalid(operation, `the bytes of the ${what} are detached: ${WHY_DETACHED}`);
}

/** Whether bytes are no longer there. */
export function isDetached(bytes: Uint8Array): boolean {
  try {
    return new Uint8Array(bytes).length !== 0;
  } catch {
    return true;
  }
}

/** Whether a value is an object as `{ name: value }` makes one: no array, collection, date, signal or promise. */
export function isPlain(value: unknown): value is object {
  return Object.prototype.toString.call(value) === "[object Object]";
}

/** A place or a result beyond what there can be. */
export function outOfRange(operation: string, message: string): CairnError {
  return new CairnError("OUT_OF_RANGE", operation, `${operation}: ${message} Nothing was changed.`);
}

/** A patch that begins behind the end of a value of `size` bytes. */
export function beyondEnd(size: number, offset: number, operation: string): CairnError {
  return outOfRange(operation, `the value has ${size} bytes, so none can be written at ${offset}.`);
}
