/** Errors of encodings, which name the key that they were about. */
import type { Format } from "./encoding.ts";
import { CairnError } from "./error.ts";

/** Errors that name their key already. */
const complete = new WeakSet<CairnError>();

/** A key or a value as it is stored. Strings are stored as UTF-8. */
export type Stored = string | Uint8Array;

/** Encodes a value; what fails names the key. */
export function encodeOf(format: Format, value: unknown, key: unknown, operation: string): Stored {
  try {
    return format.encode(value, "value", operation);
  } catch (error) {
    throw named(error, key, format.name);
  }
}

/** An error of an encoding, with the key that it was about; any other one as it is. */
export function named(error: unknown, key: unknown, format: string): unknown {
  if (!(error instanceof CairnError) || error.code !== "INVALID_ARGUMENT" || complete.has(error)) return error;
  const message = `${error.message} The key is ${shown(key)}, the encoding ${format}.`;
  const whole = new CairnError(error.code, error.operation, message, { cause: error.cause });
  complete.add(whole);
  return whole;
}

/** A key in a message. */
export function shown(key: unknown): string {
  if (typeof key === "string") return JSON.stringify(key.length > 64 ? `${key.slice(0, 64)}…` : key);
  if (key instanceof Uint8Array) {
    const hex = Array.from(key.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `0x${hex}${key.length > 32 ? "…" : ""}`;
  }
  try {
    return String(JSON.stringify(key)).slice(0, 80);
  } catch {
    return String(key);
  }
}
