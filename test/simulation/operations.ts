/** What each kind of operation does to the store, and what it must give. */
import { BACKUP_OPERATIONS } from "./backups.ts";
import {
  burst,
  type Encoded,
  encoded,
  expectEntry,
  expectOneOf,
  expectValue,
  later,
  makeValue,
  newBatch,
  newRange,
  newValue,
  pickKey,
  read,
  writeSync,
} from "./drawing.ts";
import { EXPIRY_OPERATIONS } from "./expiry.ts";
import { LIFE_OPERATIONS } from "./lives.ts";
import type { Random } from "./random.ts";
import { READER_OPERATIONS } from "./readers.ts";
import type { Session } from "./session.ts";
import { SNAPSHOT_OPERATIONS } from "./snapshots.ts";
import { TRANSACTION_OPERATIONS } from "./transactions.ts";
import { decodeKey, type Value } from "./values.ts";
import { Violation } from "./violation.ts";
import type { OperationKind } from "./workload.ts";

type Body = (session: Session, random: Random) => void | Promise<void>;

/** Every operation by its kind. */
export const OPERATIONS: Record<OperationKind, Body> = {
  ...BACKUP_OPERATIONS,
  ...EXPIRY_OPERATIONS,
  ...LIFE_OPERATIONS,
  ...READER_OPERATIONS,
  ...SNAPSHOT_OPERATIONS,
  ...TRANSACTION_OPERATIONS,

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
      expectOneOf(key, session.mayHold(timeline, key, from), value);
    });
  },

  getMany(session, random) {
    const keys = Array.from({ length: random.between(1, 12) }, () => pickKey(session, random));
    const from = session.issued;
    const { timeline } = session;
    const list = keys.map((key) => encoded(session, key));
    session.expect(later(session.store.getMany(list)), (values) => {
      for (const [i, key] of keys.entries()) expectOneOf(key, session.mayHold(timeline, key, from), values[i]);
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
    let isOver = true;
    read(session, () => {
      for (let n = random.between(1, 20); n > 0; n--) {
        const { done, value } = walk.iterator.next() as IteratorResult<[Encoded, Encoded]>;
        if (done) {
          if (walk.position !== walk.expected.length) throw new Violation("an open walk ended early");
          break;
        }
        expectEntry(walk.expected[walk.position++], value[0], value[1]);
        session.coverage.walksOverWrites++;
      }
      isOver = false;
    });
    // One that was refused a read gives nothing more.
    if (isOver) session.walks = session.walks.filter((one) => one !== walk);
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

  burst,

  compact(session) {
    session.expect(later(session.store.compact({ maxMs: 1e-9 })), () => undefined);
  },

  compactFull(session) {
    session.expect(later(session.store.compact({ full: true })), () => undefined);
  },

  verify(session) {
    session.expect(later(session.store.verify()), ({ faults }) => {
      if (session.isSilent) return;
      // Reads that the device refused are told, and so is what could not be checked without them.
      if (session.struck("read-error") && faults.some(({ kind }) => kind === "device")) return;
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
    const { version } = session.store;
    const struckBefore = session.device.faults?.struck.size ?? 0;
    await session.clock.advance(flushIntervalMs * 3000 + device.latencyUs * 40 + 20_000);
    session.rethrow();
    const isQuiet = struckBefore === 0 && (session.device.faults?.struck.size ?? 0) === 0;
    if (durability !== "interval" || session.poisoned || session.wasFull || !isQuiet) return;
    const { durableVersion } = session.store;
    if (durableVersion < version)
      throw new Violation(`long after the interval ${durableVersion} of ${version} is durable`);
    // What was written meanwhile, if anything was, need not be durable yet.
    if (session.store.version === version) session.acknowledge(session.issued);
  },
};

/** Kinds that a poisoned store is still asked for. */
export const ENDINGS: readonly OperationKind[] = [
  "powerCut",
  "kill",
  "reopen",
  "enlarge",
  "cutShort",
  "wait",
  "settle",
];

/** Writes what a tight device holds from the beginning, and many small values where they were asked for. */
export function ballast(session: Session): void {
  const { crowd = 0 } = session.plan.options;
  const commit = new Map<string, Value>();
  for (let i = 0; i < crowd; i++) commit.set(`~crowd/${String(i).padStart(4, "0")}`, makeValue(session, 8));
  if (crowd > 0) {
    writeSync(session, commit, () => {
      const batch = session.store.batch();
      for (const [key, value] of commit) batch.set(encoded(session, key), value.data);
      batch.commit();
    });
  }
  for (let i = 0; i < session.plan.options.ballast && !session.poisoned; i++) {
    const key = `~ballast/${String(i).padStart(3, "0")}`;
    const value = makeValue(session, 40_000);
    writeSync(session, new Map([[key, value]]), () => {
      session.store.set(encoded(session, key), value.data);
    });
  }
}
