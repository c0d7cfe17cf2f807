/** Reading all of a store in several ways, which must agree. */
import { CairnError } from "../../store/error.ts";
import type { Store } from "./host.ts";
import { type Found, UNREADABLE } from "./timeline.ts";
import { decodeKey, describe, sameValue } from "./values.ts";
import { Violation } from "./violation.ts";

/**
 * Everything that a store holds: a scan, a look at each key, and a count, held against each other. Where the device lied
 * (`isSilent`), values may be unreadable; a scan, which ends at the first of them, is left out.
 */
export function contentsOf(store: Store, isSilent: boolean): Found {
  const found = new Map<string, unknown>();
  let before = "";
  for (const entry of isSilent ? store.keys() : store.entries()) {
    const [encoded, value] = isSilent ? [entry, undefined] : (entry as [unknown, unknown]);
    const key = decodeKey(encoded);
    if (key <= before) throw new Violation(`a scan gives ${before} before ${key}`);
    before = key;
    const alone = readOne(store, encoded as string, isSilent);
    if (alone === undefined) throw new Violation(`a scan gives ${key}, and get does not`);
    if (!isSilent && !same(alone, value)) {
      throw new Violation(`${key}: get gives ${describe(alone)}, a scan ${describe(value)}`);
    }
    found.set(key, alone);
  }
  const count = store.count();
  if (count !== found.size) throw new Violation(`count is ${count}, a scan gives ${found.size}`);
  return found;
}

/** Everything that a scan gives. */
export function scanOf(store: Store): Found {
  const found = new Map<string, unknown>();
  for (const [key, value] of store.entries()) found.set(decodeKey(key), value);
  return found;
}

function readOne(store: Store, key: string | Uint8Array, isSilent: boolean): unknown {
  try {
    return store.get(key);
  } catch (error) {
    if (isSilent && error instanceof CairnError && error.code === "CORRUPT") return UNREADABLE;
    throw error;
  }
}

function same(a: unknown, b: unknown): boolean {
  return sameValue({ serial: 0, size: 0, data: a as string | Uint8Array }, b);
}
