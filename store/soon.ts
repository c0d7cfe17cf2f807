/**
 * Reads for whoever serves many at once: what is in memory is answered at once, without a promise; what is not is read by the
 * host, and the promise gives what the key held at the call, whatever is written meanwhile.
 */
import { type Entry, factsOf } from "./entry.ts";
import { named } from "./key-errors.ts";
import type { Scope } from "./scope.ts";
import type { Session } from "./session.ts";

/** See `Store.getSoon`. */
export function valueSoon(session: Session, scope: Scope, key: unknown): unknown {
  session.ready("get");
  return lookedUp(session, scope, key, scope.encodedKey(key, "get"), "get", undefined);
}

/** `size`: of the key, where it lies in KEY_A already. */
function lookedUp(
  session: Session,
  scope: Scope,
  key: unknown,
  encoded: unknown,
  operation: string,
  size: number | undefined,
): unknown {
  const value = scope.lookups.soon(encoded, operation, session.laterViews, size);
  if (!(value instanceof Promise) || scope.values.kind !== "codec") return value;
  return value.catch((error: unknown) => {
    throw named(error, key, scope.values.name);
  });
}

/** See `Store.getEntrySoon`. */
export function entrySoon(
  session: Session,
  scope: Scope,
  key: unknown,
): Entry<unknown> | undefined | Promise<Entry<unknown> | undefined> {
  session.ready("getEntry");
  const encoded = scope.encodedKey(key, "getEntry");
  const size = scope.keyEncodedIn(encoded, "getEntry");
  const facts = session.guard(() => factsOf(scope.core, size));
  if (facts === undefined) return undefined;
  const value = lookedUp(session, scope, key, encoded, "getEntry", size);
  // `undefined` where it has expired in between.
  if (!(value instanceof Promise)) return value === undefined ? undefined : { value, ...facts };
  return value.then((later: unknown) => (later === undefined ? undefined : { value: later, ...facts }));
}
