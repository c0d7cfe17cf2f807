/** The calls of the whole API in random order against ordered maps, shrunk to the fewest that still fail. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Snapshot } from "../../store/snapshot.ts";
import type { Store } from "../../store/store.ts";
import type { Transaction } from "../../store/transaction.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Model, type ModelRange } from "./model.ts";

const seed = runSeed();
/** The store, two namespaces, and one within a namespace. */
const FACES = 4;
type Models = Model<string>[];

interface Real {
  device: ImageDevice;
  store: Store;
  faces: Store[];
  snapshots: Map<number, { snapshot: Snapshot; models: Models }>;
  next: number;
  openings: number;
}
type Command = fc.AsyncCommand<Models, Real>;

const key = fc.constantFrom(..."abcdefgh", "ab", "abc", "é", "\u{10ffff}", "\0");
const value = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("x".repeat(200), "y".repeat(9000)));
const face = fc.nat(FACES - 1);
const range: fc.Arbitrary<ModelRange> = fc.record(
  { gt: key, gte: key, lt: key, lte: key, prefix: key, reverse: fc.boolean(), limit: fc.nat(6) },
  { requiredKeys: [] },
);
const write = fc.record({ face, key, value: fc.option(value, { nil: undefined }) });

/** The model's keys are strings of bytes. */
const bytes = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

function inBytes({ gt, gte, lt, lte, prefix, ...rest }: ModelRange): ModelRange {
  const bounds = Object.entries({ gt, gte, lt, lte, prefix }).filter(([, bound]) => bound !== undefined);
  return { ...rest, ...Object.fromEntries(bounds.map(([name, bound]) => [name, bytes(bound as string)])) };
}

function copyOf(models: Models): Models {
  return models.map((model) => {
    const copy = new Model<string>();
    for (const { key: name, value: held } of model.range()) copy.set(name, held);
    return copy;
  });
}

type Readable = Pick<Transaction, "get" | "has" | "count" | "in"> & {
  entries(range: object): Iterable<[string, string]> & { seek(key: string): void };
  keys(range: object): Iterable<string>;
};

/** Everything that reads, of one face, beside its model. */
function compare(real: Readable, model: Model<string>, name: string, given: ModelRange, place: string): void {
  expect(real.get(name)).toBe(model.get(bytes(name)));
  expect(real.has(name)).toBe(model.has(bytes(name)));
  const wanted = model.range(inBytes(given)).map((entry) => [entry.key, entry.value]);
  expect([...real.entries(given)].map(([found, held]) => [bytes(found), held])).toEqual(wanted);
  expect([...real.keys(given)].map(bytes)).toEqual(wanted.map(([found]) => found));
  expect(real.count(given)).toBe(wanted.length);
  expect(real.count({})).toBe(model.size);
  const { limit: _, ...unlimited } = given;
  const walk = real.entries(unlimited);
  walk.seek(place);
  const from = bytes(place);
  const behind = model
    .range(inBytes(unlimited))
    .filter((entry) => (given.reverse ? entry.key <= from : entry.key >= from));
  expect([...walk].map(([found]) => bytes(found))).toEqual(behind.map((entry) => entry.key));
}

function apply(
  models: Models,
  { face: at, key: name, value: held }: { face: number; key: string; value: string | undefined },
): boolean {
  const model = models[at] as Model<string>;
  if (held === undefined) return model.delete(bytes(name));
  model.set(bytes(name), held);
  return true;
}

function command<T>(
  name: string,
  given: fc.Arbitrary<T>,
  run: (models: Models, real: Real, drawn: T) => Promise<void> | void,
): fc.Arbitrary<Command> {
  return given.map((drawn) => ({
    check: () => true,
    run: async (models, real) => run(models, real, drawn),
    toString: () => `${name}(${fc.stringify(drawn)})`,
  }));
}

function within(tx: Transaction, { faces }: Real, at: number): Transaction {
  return tx.in(faces[at] as Store);
}

/** What a transaction does to the models, read back as it goes. */
function doWithin(
  tx: Transaction,
  real: Real,
  draft: Models,
  writes: { face: number; key: string; value: string | undefined }[],
  given: ModelRange,
): void {
  for (const one of writes) {
    const inside = within(tx, real, one.face);
    const did = one.value === undefined ? inside.delete(one.key) : inside.set(one.key, one.value);
    expect(did).toBe(apply(draft, one));
    compare(inside, draft[one.face] as Model<string>, one.key, given, one.key);
  }
}

const transactionGiven = fc.record({
  writes: fc.array(write, { maxLength: 5 }),
  range,
  clears: fc.option(fc.record({ face, range }), { nil: undefined }),
  fails: fc.boolean(),
});

function clearable({ limit: _, reverse: __, ...bounds }: ModelRange): ModelRange {
  return bounds;
}

function take(models: Models, draft: Models): void {
  for (const [i, model] of draft.entries()) models[i] = model;
}

const commands = [
  command("write", write, (models, { faces }, one) => {
    const target = faces[one.face] as Store;
    const did = one.value === undefined ? target.delete(one.key) : target.set(one.key, one.value);
    expect(did).toBe(apply(models, one));
  }),
  command("batch", fc.array(write, { maxLength: 6 }), async (models, { faces }, writes) => {
    const at = writes[0]?.face ?? 0;
    const wanted = writes.map((one) => apply(models, { ...one, face: at }));
    const operations = writes.map(({ key: name, value: held }) =>
      held === undefined ? { type: "delete" as const, key: name } : { type: "set" as const, key: name, value: held },
    );
    expect(await (faces[at] as Store).batch(operations)).toEqual(wanted);
  }),
  command("read", fc.record({ face, key, range, place: key }), async (models, { faces }, drawn) => {
    const target = faces[drawn.face] as Store;
    const model = models[drawn.face] as Model<string>;
    compare(target as unknown as Readable, model, drawn.key, drawn.range, drawn.place);
    expect(await target.getAsync(drawn.key)).toBe(model.get(bytes(drawn.key)));
    expect(await target.getMany([drawn.place, drawn.key])).toEqual(
      [drawn.place, drawn.key].map((name) => model.get(bytes(name))),
    );
  }),
  command("clear", fc.record({ face, range }), (models, { faces }, drawn) => {
    const bounds = clearable(drawn.range);
    expect((faces[drawn.face] as Store).clear({ gte: "", ...bounds })).toBe(
      (models[drawn.face] as Model<string>).clear(inBytes(bounds)),
    );
  }),
  command("snapshot", fc.constant(undefined), (models, real) => {
    real.snapshots.set(real.next++, { snapshot: real.store.snapshot(), models: copyOf(models) });
  }),
  command(
    "read a snapshot",
    fc.record({ which: fc.nat(20), face, key, range, place: key }),
    async (_, { faces, snapshots }, drawn) => {
      const held = [...snapshots.values()][drawn.which % Math.max(1, snapshots.size)];
      if (held === undefined) return;
      const inside = held.snapshot.in(faces[drawn.face] as Store);
      const model = held.models[drawn.face] as Model<string>;
      compare(inside as unknown as Readable, model, drawn.key, drawn.range, drawn.place);
      expect(await inside.getAsync(drawn.key)).toBe(model.get(bytes(drawn.key)));
    },
  ),
  command("close a snapshot", fc.nat(20), (_, { snapshots }, which) => {
    const [id, held] = [...snapshots][which % Math.max(1, snapshots.size)] ?? [];
    held?.snapshot.close();
    if (id !== undefined) snapshots.delete(id);
  }),
  command("transaction", transactionGiven, (models, real, { writes, range: given, clears, fails }) => {
    const draft = copyOf(models);
    const body = (tx: Transaction): void => {
      doWithin(tx, real, draft, writes, given);
      if (clears !== undefined) {
        const bounds = clearable(clears.range);
        expect(within(tx, real, clears.face).clear({ gte: "", ...bounds })).toBe(
          (draft[clears.face] as Model<string>).clear(inBytes(bounds)),
        );
      }
      if (fails) throw new Error("rolled back");
    };
    if (fails) expect(() => real.store.transaction(body)).toThrow("rolled back");
    else {
      real.store.transaction(body);
      take(models, draft);
    }
  }),
  command(
    "transact",
    fc.record({
      ...{ writes: fc.array(write, { maxLength: 4 }), range },
      meanwhile: fc.option(write, { nil: undefined }),
    }),
    async (models, real, { writes, range: given, meanwhile }) => {
      let draft = copyOf(models);
      let isFirst = true;
      await real.store.transact(async (tx) => {
        draft = copyOf(models);
        doWithin(tx, real, draft, writes, given);
        await undefined;
        if (isFirst && meanwhile !== undefined) {
          isFirst = false;
          const target = real.faces[meanwhile.face] as Store;
          const did =
            meanwhile.value === undefined ? target.delete(meanwhile.key) : target.set(meanwhile.key, meanwhile.value);
          expect(did).toBe(apply(models, meanwhile));
          // What was read may have been changed, or not: what is certain is what is there at the end.
          draft = copyOf(models);
          for (const one of writes) apply(draft, one);
        }
      });
      if (writes.length > 0) take(models, draft);
    },
  ),
  command("reopen", fc.constant(undefined), async (_, real) => {
    real.snapshots.clear();
    await real.store.close();
    await openAgain(real);
  }),
];

async function openAgain(real: Real): Promise<void> {
  real.store = await openTiny(real.device.reopen(), {
    writeBufferBytes: 262_144,
    cacheBytes: 262_144,
    durability: "manual",
    // What is written under one is read under the other.
    compression: real.openings++ % 2 === 0 ? "lz4" : "none",
  });
  const outer = real.store.sub("a");
  real.faces = [real.store, outer, real.store.sub("ab"), outer.sub("b")];
}

describe(`the API against ordered maps, CAIRN_SEED=${seed}`, () => {
  test("in random order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 40 }), async (drawn) => {
        const real = {
          device: new ImageDevice(),
          snapshots: new Map(),
          next: 0,
          openings: seed % 2,
        } as unknown as Real;
        await openAgain(real);
        try {
          await fc.asyncModelRun(
            () => ({ model: Array.from({ length: FACES }, () => new Model<string>()), real }),
            drawn,
          );
          for (const { snapshot } of real.snapshots.values()) snapshot.close();
          expect(real.store.stats()).toMatchObject({ snapshotCount: 0, olderVersionCount: 0 });
          const report = await real.store.verify();
          expect(report.faults).toEqual([]);
        } finally {
          await real.store.close();
        }
      }),
      { seed, numRuns: 40 },
    );
  });
});
