/** What operations are made of: keys, values, batches and ranges by seeded numbers, and what a store must answer. */
import type { BatchOperation } from "../../store/batch.ts";
import type { Range } from "../../store/range.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Commit, State } from "./timeline.ts";
import { bytesValue, decodeKey, describe, encodeKey, keyOf, sameValue, textValue, type Value } from "./values.ts";
import { Violation } from "./violation.ts";

/** A key, or bytes, as the store takes them. */
export type Encoded = string | Uint8Array;

/** Sizes of the four classes of values, least and most. */
const SIZES = [
  [0, 128],
  [129, 1500],
  [1500, 14_000],
  [50_000, 150_000],
] as const;

/** A promise that may be rejected before anybody listens. */
export function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Runs what only reads; a refusal must be one that was to be expected. */
export function read(session: Session, body: () => void): void {
  try {
    body();
  } catch (error) {
    session.refused(error);
  }
}

/** What a write under `durability: "sync"` says is durable when it has returned, unless it was refused. */
export function writeSync(session: Session, commit: Commit, call: () => void): void {
  session.write(commit, call);
  if (session.plan.options.durability !== "sync" || session.poisoned || session.wasFull) return;
  // Where nobody could look who has the store, the next group covers it.
  if (session.wasRefused) return;
  const { version, durableVersion } = session.store;
  if (durableVersion < version) throw new Violation("a synchronous write is not durable");
  session.acknowledge(session.issued);
}

/** Writes a key more often than the write buffer takes: blocks of a group are on the device before it has an end. */
export function burst(session: Session, random: Random): void {
  const key = pickKey(session, random);
  for (let n = random.between(30, 90); n > 0 && !session.poisoned; n--) {
    const value = makeValue(session, 3800);
    writeSync(session, new Map([[key, value]]), () => {
      session.store.set(encoded(session, key), value.data);
    });
  }
}

/** Now and then turns the log over: segments that were garbage, or become it, are used anew. */
export async function turnOver(session: Session, random: Random): Promise<void> {
  if (!random.chance(0.3)) return;
  for (let n = 0; n < 3 && !session.poisoned; n++) {
    burst(session, random);
    session.expect(later(session.store.flush()), () => undefined);
    await session.clock.advance(session.plan.options.device.latencyUs * 8);
  }
}

/** A key that the run uses. */
export function pickKey(session: Session, random: Random): string {
  const { keyCount, skew, ballast: count } = session.plan.options;
  if (count > 0 && random.chance(0.05)) return `~ballast/${String(random.below(count)).padStart(3, "0")}`;
  return keyOf(random.below(random.chance(skew) ? Math.min(3, keyCount) : keyCount));
}

/** A key as this run gives it to the store. */
export function encoded(session: Session, key: string): Encoded {
  return encodeKey(key, session.plan.options.binaryKeys);
}

/** A new value of a size that the run uses. */
export function newValue(session: Session, random: Random): Value {
  const [least, most] = SIZES[random.weighted(session.plan.options.sizes)] as readonly [number, number];
  return makeValue(session, random.between(least, most));
}

/** A new value of a size in bytes, or in characters. */
export function makeValue(session: Session, size: number): Value {
  const serial = session.serial();
  return session.plan.options.binaryValues ? bytesValue(serial, size) : textValue(serial, size);
}

/** Writes and deletions, and the commit that they are. */
export function newBatch(session: Session, random: Random) {
  const commit = new Map<string, Value | undefined>();
  const list: BatchOperation<Encoded, Encoded>[] = [];
  for (let n = random.between(1, 8); n > 0; n--) {
    const key = pickKey(session, random);
    if (random.chance(0.7)) {
      const value = newValue(session, random);
      commit.set(key, value);
      list.push({ type: "set", key: encoded(session, key), value: value.data });
    } else {
      commit.set(key, undefined);
      list.push({ type: "delete", key: encoded(session, key) });
    }
  }
  return { list, commit };
}

/** A range, and the keys of a state that it holds, in its order. */
export function newRange(session: Session, random: Random, forClearing: boolean, state: State = session.model) {
  // A range to clear has a bound.
  const range: Range<Encoded> = forClearing ? { gte: encoded(session, "") } : {};
  let keys = [...state.keys()].sort();
  const bound = (): string => keyOf(random.below(session.plan.options.keyCount));
  if (random.chance(forClearing ? 0.9 : 0.5)) {
    const low = bound();
    range.gte = encoded(session, low);
    keys = keys.filter((key) => key >= low);
  }
  if (random.chance(forClearing ? 0.9 : 0.3)) {
    const high = bound();
    range.lt = encoded(session, high);
    keys = keys.filter((key) => key < high);
  }
  if (!forClearing && random.chance(0.3)) {
    range.reverse = true;
    keys.reverse();
  }
  if (!forClearing && random.chance(0.3)) {
    range.limit = random.below(10);
    keys = keys.slice(0, range.limit);
  }
  return { range, keys };
}

/** Throws unless a key holds what it should. */
export function expectValue(key: string, expected: Value | undefined, found: unknown): void {
  if (sameValue(expected, found)) return;
  throw new Violation(`${key.slice(0, 24)} holds ${describe(found)} instead of ${describe(expected)}`);
}

/** Throws unless a key gave what it held at some time. */
export function expectOneOf(key: string, values: readonly (Value | undefined)[], found: unknown): void {
  if (values.some((value) => sameValue(value, found))) return;
  throw new Violation(`${key.slice(0, 24)} gave ${describe(found)}, which it never held meanwhile`);
}

/** Throws unless a walk gave what comes next. */
export function expectEntry(expected: readonly [string, Value] | undefined, key: unknown, value: unknown): void {
  if (expected === undefined) throw new Violation(`a walk gave ${decodeKey(key)} behind its end`);
  if (decodeKey(key) !== expected[0]) throw new Violation(`a walk gave ${decodeKey(key)} for ${expected[0]}`);
  expectValue(expected[0], expected[1], value);
}
