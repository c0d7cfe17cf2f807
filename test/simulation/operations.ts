/** What each kind of operation does to the store, and what it must give. */
import type { BatchOperation } from "../../store/batch.ts";
import type { Range } from "../../store/range.ts";
import { CRASH_MODES } from "./crash.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Commit, State } from "./timeline.ts";
import { bytesValue, decodeKey, describe, encodeKey, keyOf, sameValue, textValue, type Value } from "./values.ts";
import { Violation } from "./violation.ts";
import type { OperationKind } from "./workload.ts";

type Encoded = string | Uint8Array;
type Body = (session: Session, random: Random) => void | Promise<void>;

/** Sizes of the four classes of values, least and most. */
const SIZES = [
  [0, 128],
  [129, 1500],
  [1500, 14_000],
  [50_000, 150_000],
] as const;

/** Every operation by its kind. */
export const OPERATIONS: Record<OperationKind, Body> = {
  set(session, random) {
    const key = pickKey(session, random);
    const value = newValue(session, random);
    writeSync(session, new Map([[key, value]]), () => {
      session.store.set(encoded(session, key), value.data);
    });
  },

  put(session, random) {
    const key = pickKey(session, random);
    const value = newValue(session, random);
    const put = (): Promise<boolean> => session.store.put(encoded(session, key), value.data);
    session.writeLater(new Map([[key, value]]), put, () => undefined);
  },

  delete(session, random) {
    const key = pickKey(session, random);
    const was = session.model.has(key);
    writeSync(session, new Map([[key, undefined]]), () => {
      const deleted = session.store.delete(encoded(session, key));
      if (deleted !== was) throw new Violation(`delete of ${key} gave ${deleted}`);
    });
  },

  del(session, random) {
    const key = pickKey(session, random);
    const was = session.model.has(key);
    const del = (): Promise<boolean> => session.store.del(encoded(session, key));
    session.writeLater(new Map([[key, undefined]]), del, (answer) => {
      if (answer !== was) throw new Violation(`del of ${key} gave ${answer}`);
    });
  },

  batch(session, random) {
    const { list, commit } = newBatch(session, random);
    session.writeLater(
      commit,
      () => session.store.batch(list),
      () => undefined,
    );
  },

  commit(session, random) {
    const { list, commit } = newBatch(session, random);
    writeSync(session, commit, () => {
      const batch = session.store.batch();
      for (const operation of list) {
        if (operation.type === "set") batch.set(operation.key, operation.value);
        else batch.delete(operation.key);
      }
      batch.commit();
    });
  },

  clear(session, random) {
    const { range, keys } = newRange(session, random, true);
    writeSync(session, new Map(keys.map((key) => [key, undefined])), () => {
      const count = session.store.clear(range);
      if (count !== keys.length) throw new Violation(`clear gave ${count}, the model has ${keys.length}`);
    });
  },

  get(session, random) {
    const key = pickKey(session, random);
    read(session, () => {
      const value = session.store.get(encoded(session, key));
      expectValue(key, session.model.get(key), value);
      if (session.store.has(encoded(session, key)) !== session.model.has(key)) throw new Violation(`has of ${key}`);
    });
  },

  getAsync(session, random) {
    const key = pickKey(session, random);
    const from = session.issued;
    const { timeline } = session;
    session.expect(later(session.store.getAsync(encoded(session, key))), (value) => {
      expectOneOf(key, timeline.valuesOf(key, from, session.issued), value);
    });
  },

  getMany(session, random) {
    const keys = Array.from({ length: random.between(1, 12) }, () => pickKey(session, random));
    const from = session.issued;
    const { timeline } = session;
    const list = keys.map((key) => encoded(session, key));
    session.expect(later(session.store.getMany(list)), (values) => {
      for (const [i, key] of keys.entries()) expectOneOf(key, timeline.valuesOf(key, from, session.issued), values[i]);
    });
  },

  count(session, random) {
    const { range, keys } = newRange(session, random, false);
    read(session, () => {
      const count = session.store.count(range);
      if (count !== keys.length) throw new Violation(`count is ${count}, the model has ${keys.length}`);
    });
  },

  scan(session, random) {
    const { range, keys } = newRange(session, random, false);
    read(session, () => {
      const entries = [...session.store.entries(range)];
      if (entries.length !== keys.length) throw new Violation(`a scan of ${keys.length} gave ${entries.length}`);
      for (const [i, [key, value]] of entries.entries()) {
        if (decodeKey(key) !== keys[i]) throw new Violation(`a scan gave ${decodeKey(key)} for ${keys[i]}`);
        expectValue(keys[i] as string, session.model.get(keys[i] as string), value);
      }
    });
  },

  scanAsync(session, random) {
    const { range, keys } = newRange(session, random, false);
    const expected = keys.map((key) => [key, session.model.get(key)] as [string, Value]);
    const walk = async (): Promise<void> => {
      let i = 0;
      for await (const [key, value] of session.store.entries(range)) expectEntry(expected[i++], key, value);
      if (i !== expected.length) throw new Violation(`a walk of ${expected.length} gave ${i}`);
    };
    session.expect(walk(), () => undefined);
  },

  open(session, random) {
    if (session.walks.length >= 3) return;
    const { range, keys } = newRange(session, random, false);
    read(session, () => {
      const iterator = session.store.entries(range);
      const expected = keys.map((key) => [key, session.model.get(key)] as [string, Value]);
      session.walks.push({ iterator, expected, position: 0 });
    });
  },

  step(session, random) {
    const walk = session.walks[random.below(session.walks.length)];
    if (walk === undefined) return;
    read(session, () => {
      for (let n = random.between(1, 20); n > 0; n--) {
        const { done, value } = walk.iterator.next() as IteratorResult<[Encoded, Encoded]>;
        if (done) {
          if (walk.position !== walk.expected.length) throw new Violation("an open walk ended early");
          return;
        }
        expectEntry(walk.expected[walk.position++], value[0], value[1]);
        session.coverage.walksOverWrites++;
      }
    });
  },

  drop(session, random) {
    const [walk] = session.walks.splice(random.below(session.walks.length), 1);
    read(session, () => walk?.iterator.return?.());
  },

  flush(session) {
    const number = session.issued;
    session.expect(later(session.store.flush()), () => session.acknowledge(number));
  },

  flushSync(session) {
    const number = session.issued;
    read(session, () => {
      session.store.flushSync();
      session.acknowledge(number);
    });
  },

  burst(session, random) {
    // More than the write buffer takes: blocks of a group are on the device before it has an end.
    const key = pickKey(session, random);
    for (let n = random.between(30, 90); n > 0 && !session.poisoned; n--) {
      const value = makeValue(session, 3800);
      writeSync(session, new Map([[key, value]]), () => {
        session.store.set(encoded(session, key), value.data);
      });
    }
  },

  compact(session) {
    session.expect(later(session.store.compact({ maxMs: 1e-9 })), () => undefined);
  },

  compactFull(session) {
    session.expect(later(session.store.compact({ full: true })), () => undefined);
  },

  verify(session) {
    session.expect(later(session.store.verify()), ({ faults }) => {
      if (session.isSilent) return;
      const real = faults.filter(({ kind }) => kind !== "superblock");
      if (real.length > 0) throw new Violation(`verify finds ${JSON.stringify(real.slice(0, 2))}`);
    });
  },

  async wait(session, random) {
    await session.clock.advance(random.below(session.plan.options.device.latencyUs * 3));
  },

  settle(session) {
    return session.settle();
  },

  async rest(session) {
    const { durability, flushIntervalMs, device } = session.plan.options;
    const struckBefore = session.device.faults?.struck.size ?? 0;
    await session.clock.advance(flushIntervalMs * 3000 + device.latencyUs * 40 + 20_000);
    session.rethrow();
    const isQuiet = struckBefore === 0 && (session.device.faults?.struck.size ?? 0) === 0;
    if (durability !== "interval" || session.poisoned || session.wasFull || !isQuiet) return;
    const { version, durableVersion } = session.store;
    if (durableVersion < version)
      throw new Violation(`long after the interval ${durableVersion} of ${version} is durable`);
    session.acknowledge(session.issued);
  },

  jump(session, random) {
    session.clock.skewMs += random.between(-100_000_000, 100_000_000);
  },

  async reopen(session) {
    session.coverage.closes++;
    session.tally();
    session.isClosing = true;
    const { issued } = session;
    const closed = session.store.close().then(
      () => true,
      (error) => {
        session.refused(error);
        return false;
      },
    );
    const inOrder = await session.clock.wait(closed, () => new Violation("close never ends"));
    session.rethrow();
    if (inOrder && !session.poisoned) session.acknowledge(issued);
    await session.revive();
  },

  async powerCut(session, random) {
    session.cutPower(random.pick(CRASH_MODES));
    await session.revive();
  },

  async kill(session) {
    session.kill();
    await session.revive();
  },
};

/** Kinds that a poisoned store is still asked for. */
export const ENDINGS: readonly OperationKind[] = ["powerCut", "kill", "reopen", "wait", "settle"];

/** Writes what a tight device holds from the beginning. */
export function ballast(session: Session): void {
  for (let i = 0; i < session.plan.options.ballast && !session.poisoned; i++) {
    const key = `~ballast/${String(i).padStart(3, "0")}`;
    const value = makeValue(session, 40_000);
    writeSync(session, new Map([[key, value]]), () => {
      session.store.set(encoded(session, key), value.data);
    });
  }
}

/** A promise that may be rejected before anybody listens. */
function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

function read(session: Session, body: () => void): void {
  try {
    body();
  } catch (error) {
    session.refused(error);
  }
}

/** A write under `durability: "sync"` is durable when it has returned, unless it was refused or had nothing to do. */
function writeSync(session: Session, commit: Commit, call: () => void): void {
  const changed = session.write(commit, call);
  if (!changed || session.plan.options.durability !== "sync" || session.poisoned || session.wasFull) return;
  const { version, durableVersion } = session.store;
  if (durableVersion < version) throw new Violation("a synchronous write is not durable");
  session.acknowledge(session.issued);
}

function pickKey(session: Session, random: Random): string {
  const { keyCount, skew, ballast: count } = session.plan.options;
  if (count > 0 && random.chance(0.05)) return `~ballast/${String(random.below(count)).padStart(3, "0")}`;
  return keyOf(random.below(random.chance(skew) ? Math.min(3, keyCount) : keyCount));
}

function encoded(session: Session, key: string): Encoded {
  return encodeKey(key, session.plan.options.binaryKeys);
}

function newValue(session: Session, random: Random): Value {
  const [least, most] = SIZES[random.weighted(session.plan.options.sizes)] as readonly [number, number];
  return makeValue(session, random.between(least, most));
}

function makeValue(session: Session, size: number): Value {
  const serial = session.serial();
  return session.plan.options.binaryValues ? bytesValue(serial, size) : textValue(serial, size);
}

function newBatch(session: Session, random: Random) {
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

/** A range, and the keys of the model that it holds, in its order. */
function newRange(session: Session, random: Random, forClearing: boolean) {
  const range: Range<Encoded> = {};
  let keys = [...(session.model as State).keys()].sort();
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

function expectValue(key: string, expected: Value | undefined, found: unknown): void {
  if (sameValue(expected, found)) return;
  throw new Violation(`${key.slice(0, 24)} holds ${describe(found)} instead of ${describe(expected)}`);
}

function expectOneOf(key: string, values: readonly (Value | undefined)[], found: unknown): void {
  if (values.some((value) => sameValue(value, found))) return;
  throw new Violation(`${key.slice(0, 24)} gave ${describe(found)}, which it never held meanwhile`);
}

function expectEntry(expected: readonly [string, Value] | undefined, key: unknown, value: unknown): void {
  if (expected === undefined) throw new Violation(`a walk gave ${decodeKey(key)} behind its end`);
  if (decodeKey(key) !== expected[0]) throw new Violation(`a walk gave ${decodeKey(key)} for ${expected[0]}`);
  expectValue(expected[0], expected[1], value);
}
