/** Reads that stores, snapshots and transactions have in common: through a view, or of what is there now. */
import { AT_MEMORY, RESULT_ASCII_VALUE } from "./core.ts";
import type { CursorState } from "./cursors.ts";
import { readPieces } from "./iterator.ts";
import { named } from "./key-errors.ts";
import { allOf, checkBounded, namespacesIn, type Range, type Span, spanOf } from "./range.ts";
import { invalid } from "./refusals.ts";
import type { Scope } from "./scope.ts";
import type { Session } from "./session.ts";

const STAT_KEYS = 0;

/** The value of an encoded key, or `undefined`. */
export function readValue(
  session: Session,
  scope: Scope,
  key: unknown,
  view: CursorState | undefined,
  operation: string,
): unknown {
  const { core } = scope;
  const handle = view === undefined ? 0 : scope.cursors.handleOf(view, operation);
  const size = scope.keyEncodedIn(key, operation);
  let status: number;
  try {
    status = handle === 0 ? core.exports.get(size) : core.exports.getAt(size, handle);
  } catch (cause) {
    throw session.trapped(cause);
  }
  return status === 0 ? undefined : valueFound(session, scope, status, key, operation);
}

/** The stored bytes of an encoded key, or `undefined`. */
export function readBytes(
  session: Session,
  scope: Scope,
  key: unknown,
  view: CursorState | undefined,
  operation: string,
): Uint8Array | undefined {
  const { core } = scope;
  const handle = view === undefined ? 0 : scope.cursors.handleOf(view, operation);
  const size = scope.keyEncodedIn(key, operation);
  const status = session.guard(() => (handle === 0 ? core.exports.get(size) : core.exports.getAt(size, handle)));
  if (status === 0) return undefined;
  if (status < 0) throw session.error(status, operation);
  const at = (core.words[core.result] as number) >>> 0;
  const valueSize = core.words[core.result + 1] as number;
  if (status === AT_MEMORY) return core.bytes.slice(at, at + valueSize);
  return readPieces(
    core,
    valueSize,
    (run) => session.guard(run),
    (failed) => session.error(failed, operation),
  );
}

/** The value of `key` that a call of the core has found. What its encoding refuses names the key. */
export function valueFound(session: Session, scope: Scope, status: number, key: unknown, operation: string): unknown {
  const { core, valueReader } = scope;
  const { words, result } = core;
  try {
    if (status === AT_MEMORY) {
      return valueReader.read(
        (words[result] as number) >>> 0,
        words[result + 1] as number,
        ((words[result + 2] as number) & RESULT_ASCII_VALUE) !== 0,
        operation,
      );
    }
    if (status < 0) throw session.error(status, operation);
    const bytes = readPieces(
      core,
      words[result + 1] as number,
      (run) => session.guard(run),
      (failed) => session.error(failed, operation),
    );
    return valueReader.own(bytes, operation);
  } catch (error) {
    throw named(error, key, scope.values.name);
  }
}

/** Whether an encoded key is there. */
export function isThere(
  session: Session,
  scope: Scope,
  key: unknown,
  view: CursorState | undefined,
  operation: string,
): boolean {
  const { exports } = scope.core;
  const handle = view === undefined ? 0 : scope.cursors.handleOf(view, operation);
  const size = scope.keyEncodedIn(key, operation);
  return session.guard(() => (handle === 0 ? exports.has(size) : exports.hasAt(size, handle))) === 1;
}

/** How many keys a range holds; without one, those of the scope, at once where that can be. */
export function countKeys(
  session: Session,
  scope: Scope,
  range: unknown,
  view: CursorState | undefined,
  operation = "count",
): number {
  if (range !== undefined || view !== undefined || scope.prefix.length > 0) {
    return countSpan(session, scope, spanOf(range, scope, operation), view, operation);
  }
  const all = session.guard(() => session.core.exports.stat(STAT_KEYS));
  return scope.keys.isApart ? all - countSpan(session, scope, namespacesIn(scope), view, operation) : all;
}

/** How many keys a span holds. About 1 ns a key. */
export function countSpan(
  session: Session,
  scope: Scope,
  span: Span,
  view: CursorState | undefined,
  operation: string,
): number {
  const { cursors, core } = scope;
  const cursor = cursors.take({ ...span, reverse: false }, operation, view);
  try {
    return Math.min(
      session.guard(() => core.exports.cursorCount(cursor.handle)),
      span.limit,
    );
  } finally {
    cursors.close(cursor);
  }
}

/** What `clear` deletes: the keys of a range that has a bound, or, without one, everything in the scope, namespaces included. */
export function spanToClear(scope: Scope, range: unknown): Span {
  const span = range === undefined ? allOf(scope) : spanOf(range, scope, "clear");
  if ((range as Range | undefined)?.snapshot !== undefined) throw invalid("clear", "a range to clear has no snapshot.");
  if (span.reverse || span.limit !== Number.POSITIVE_INFINITY) {
    throw invalid("clear", "a range to clear has no reverse and no limit.");
  }
  checkBounded(range);
  return span;
}
