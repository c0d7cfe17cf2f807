/**
 * Reads for whoever serves many at once: what is in memory is answered at once, without a promise; what is not is read by the
 * host, and the promise gives what the key held at the call, whatever is written meanwhile.
 */
import { type Entry, factsOf } from "./entry.ts";
import { named } from "./key-errors.ts";
import type { Scope } from "./scope.ts";
import type { Session } from "./session.ts";

/** See `Store.getSoon`. */
export function valueSoon(session: Session, scope: Scope, key: unknown, operation = "get"): unknown {
  session.ready(operation);
  const found = scope.lookups.soon(scope.encodedKey(key, operation), operation, {
    // Nothing is written to a store that is open for reading.
    begin: () => (session.settings.readOnly ? undefined : session.cursors.takeView(operation)),
    end: (view) => session.cursors.close(view),
  });
  if (!(found instanceof Promise) || scope.values.kind !== "codec") return found;
  return found.catch((error: unknown) => {
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
  const size = scope.keyIn(key, "getEntry");
  const facts = session.guard(() => factsOf(scope.core, size));
  if (facts === undefined) return undefined;
  const value = valueSoon(session, scope, key, "getEntry");
  // `undefined` where it has expired in between.
  if (!(value instanceof Promise)) return value === undefined ? undefined : { value, ...facts };
  return value.then((later: unknown) => (later === undefined ? undefined : { value: later, ...facts }));
}
