/**
 * The whole API in random order against plain maps, shrunk to the fewest calls that still fail: writes with conditions,
 * timestamps and expiries under a clock that is turned, partial updates, batches, both kinds of transactions, namespaces,
 * snapshots and iterators that outlive writes, clearing, compaction, checkpoints, closing and crashes.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Snapshot } from "../../store/snapshot.ts";
import type { Store } from "../../store/store.ts";
import type { Transaction } from "../../store/transaction.ts";
import { Clock } from "./clock.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import type { Model, ModelRange } from "./model.ts";
import { bytes, type Call, FACES, type Held, inBytes, type Outcome, WholeModel } from "./whole-model.ts";

const seed = runSeed();
const OPTIONS = { writeBufferBytes: 262_144, cacheBytes: 262_144, durability: "manual" } as const;
/** Checkpoints come by themselves, in the smallest steps. */
const OFTEN = { logBytes: 65_536, liveThousandths: 0, stepBlocks: 1 };

type Readable = Pick<Transaction, "get" | "has" | "getEntry" | "count" | "getAsync" | "getMany"> & {
  entries(range: object): Iterable<[string, string]> & { seek(key: string): void; nextv(count: number): unknown[] };
  keys(range: object): Iterable<string>;
};
type Writable = Pick<Transaction, "set" | "delete" | "append" | "patch" | "increment" | "merge" | "update" | "clear">;

/** A walk that was begun, what it has to show, and how far it is. */
interface Walk {
  real: ReturnType<Readable["entries"]> & { return(): unknown };
  shown: [string, string][];
  reverse: boolean;
  at: number;
}

/** What a run holds: the store, and the model beside it. */
class World {
  readonly clock = new Clock();
  /** The highest time that the store has seen. */
  now = this.clock.now;
  model = new WholeModel();
  /** What the store held after each commit, since the last that is durable. */
  states: WholeModel[] = [this.model.at(0)];
  device = new ImageDevice();
  store!: Store;
  private openings = seed % 2;
  faces: Store[] = [];
  snapshots: { snapshot: Snapshot; model: WholeModel }[] = [];
  walks: Walk[] = [];
  /** Of the last commit that was looked at, and of the last that is durable. */
  version = 0;
  durableVersion = 0;

  async open(device: ImageDevice): Promise<void> {
    this.device = device;
    this.snapshots = [];
    this.walks = [];
    // What is written under one is read under the other.
    this.openings = (this.openings + 1) % 2;
    const compression = this.openings === 0 ? "lz4" : "none";
    this.store = await openTiny(device, { ...OPTIONS, compression }, 16, OFTEN);
    const outer = this.store.sub("a");
    this.faces = [this.store, outer, this.store.sub("ab"), outer.sub("b")];
  }

  face(at: number): Store {
    return this.faces[at] as Store;
  }

  /** Turns the clock on, or to where it was. */
  turn(ms: number): void {
    this.clock.turn(ms);
    this.now = Math.max(this.now, this.clock.now);
  }

  /** A commit is done: what it has written has one version, newer than all before. */
  committed(): void {
    let version: number | undefined;
    for (const [at, model] of this.model.faces.entries()) {
      for (const { key, value } of model.range()) {
        if (value.version !== 0) continue;
        const found = this.face(at).getEntry(new TextDecoder().decode(Uint8Array.from(key, (c) => c.charCodeAt(0))));
        // What has expired already has a version that nobody can see.
        if (value.expiresAt !== undefined && value.expiresAt <= this.now) {
          model.set(key, { ...value, version: -1 });
          continue;
        }
        version ??= found?.version ?? Number.NaN;
        expect(found?.version).toBe(version);
        model.set(key, { ...value, version });
      }
    }
    if (version !== undefined) {
      expect(version).toBeGreaterThan(this.version);
      this.version = version;
    }
    this.states.push(this.model.at(0));
  }

  /** Everything so far is on the device. */
  durable(): void {
    this.states = [this.model.at(0)];
    this.durableVersion = this.version;
  }
}

/** What a call comes to. */
function outcomeOf(run: () => unknown): Outcome {
  try {
    return { returned: run() };
  } catch (error) {
    return { code: (error as { code?: string }).code ?? String(error) };
  }
}

function optionsOf(call: Call & { kind: "set" | "delete" }, model: WholeModel, now: number): object | undefined {
  const { timestamp, life } = call;
  const ifVersion = model.versionFor(call, now);
  if (timestamp === undefined && life === undefined && ifVersion === undefined) return undefined;
  return { timestamp, ifVersion, ...(call.kind === "set" ? { expiresIn: life } : {}) };
}

function doReal(target: Writable, call: Call, model: WholeModel, now: number): Outcome {
  return outcomeOf(() => {
    const { key } = call;
    switch (call.kind) {
      case "set":
        return target.set(key, call.value, optionsOf(call, model, now));
      case "delete":
        return target.delete(key, optionsOf(call, model, now));
      case "append":
        return target.append(key, call.value);
      case "patch":
        return target.patch(key, call.offset, call.value);
      case "increment":
        return target.increment(key, call.by);
      case "merge":
        return target.merge(key, call.patch);
      case "update":
        return target.update(key, (value) => `<${value ?? "none"}${call.value}`);
      case "remove":
        return target.update(key, () => undefined);
    }
  });
}

/** A look: a key, a range, and a place in it. */
interface Look {
  face: number;
  key: string;
  range: ModelRange;
  place: string;
}

/** Everything that reads without waiting, of one face, beside its model. */
function compare(real: Readable, whole: WholeModel, { face, key, range, place }: Look): void {
  const model = whole.faces[face] as Model<Held>;
  const held = model.get(bytes(key));
  expect(real.get(key)).toBe(held?.value);
  expect(real.has(key)).toBe(held !== undefined);
  const entry = real.getEntry(key);
  expect(entry).toEqual(held === undefined ? undefined : { ...held });
  const wanted = model.range(inBytes(range)).map((one) => [one.key, one.value.value]);
  expect([...real.entries(range)].map(([found, value]) => [bytes(found), value])).toEqual(wanted);
  expect([...real.keys(range)].map(bytes)).toEqual(wanted.map(([found]) => found));
  expect([real.count(range), real.count({})]).toEqual([wanted.length, model.size]);
  const { limit: _, ...unlimited } = range;
  const walk = real.entries(unlimited);
  walk.seek(place);
  const from = bytes(place);
  const behind = model.range(inBytes(unlimited)).filter((one) => (range.reverse ? one.key <= from : one.key >= from));
  expect(walk.nextv(99).length).toBe(behind.length);
}

async function compareLater(real: Readable, whole: WholeModel, { face, key, place }: Look): Promise<void> {
  const model = whole.faces[face] as Model<Held>;
  expect(await real.getAsync(key)).toBe(model.get(bytes(key))?.value);
  expect(await real.getMany([place, key])).toEqual([place, key].map((name) => model.get(bytes(name))?.value));
}

function clearable({ limit: _, reverse: __, ...bounds }: ModelRange): ModelRange {
  return { gte: "", ...bounds };
}

type Command = fc.AsyncCommand<WholeModel, World>;

/** One kind of command: what it draws, and what it does to the world. */
function command<T>(name: string, given: fc.Arbitrary<T>, run: (world: World, drawn: T) => unknown) {
  return given.map(
    (drawn): Command => ({
      check: () => true,
      run: async (_, world) => {
        await run(world, drawn);
      },
      toString: () => `${name}(${fc.stringify(drawn)})`,
    }),
  );
}

const face = fc.nat(FACES - 1);
const key = fc.constantFrom("a", "b", "ab", "abc", "é", "\u{10ffff}", "\0", "k".repeat(300));
const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom("7", "-40", "{}", '{"a":1}', "x".repeat(200), "y".repeat(9000), "z".repeat(40_000)),
);
const short = fc.string({ maxLength: 12 });
const range: fc.Arbitrary<ModelRange> = fc.record(
  { gt: key, gte: key, lt: key, lte: key, prefix: key, reverse: fc.boolean(), limit: fc.nat(6) },
  { requiredKeys: [] },
);
const look = fc.record({ face, key, range, place: key });
const words = {
  ifVersion: fc.constantFrom("absent" as const, "present" as const, "wrong" as const),
  timestamp: fc.nat(5),
  life: fc.integer({ min: 1, max: 3000 }),
};
const required = { requiredKeys: ["face", "key", "kind", "value"] as ("face" | "key" | "kind" | "value")[] };
const writing = fc.record(
  { face, key, kind: fc.constantFrom("set" as const, "delete" as const), value: text, ...words },
  required,
);
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 3, arbitrary: writing as fc.Arbitrary<Call> },
  fc.record({ face, key, kind: fc.constantFrom("append" as const, "update" as const), value: short }),
  fc.record({ face, key, kind: fc.constant("patch" as const), value: short, offset: fc.nat(6) }),
  fc.record({ face, key, kind: fc.constant("increment" as const), by: fc.bigInt({ min: -99n, max: 99n }) }),
  fc.record({
    face,
    key,
    kind: fc.constant("merge" as const),
    patch: fc.constantFrom({ a: 2 }, { a: null }, { b: { c: 1 } }, 5),
  }),
  fc.record({ face, key, kind: fc.constant("remove" as const) }),
);

/** What a transaction does: its writes, reading all that it sees behind each, and what it clears. */
const work = fc.record({
  calls: fc.array(call, { maxLength: 5 }),
  look,
  clears: fc.option(fc.record({ face, range })),
});
type Work = typeof work extends fc.Arbitrary<infer T> ? T : never;

function doWithin(world: World, tx: Transaction, draft: WholeModel, { calls, look: given, clears }: Work): boolean {
  let wrote = false;
  for (const one of calls) {
    const inside = tx.in(world.face(one.face));
    const before = draft.at(world.now);
    const did = doReal(inside, one, before, world.now);
    expect(did).toEqual(draft.do(one, world.now));
    wrote ||= did.code === undefined && did.returned !== false;
    compare(inside as unknown as Readable, draft.at(world.now), { ...given, face: one.face, key: one.key });
  }
  if (clears !== null) {
    const bounds = clearable(clears.range);
    const count = tx.in(world.face(clears.face)).clear(bounds);
    expect(count).toBe(draft.clear(clears.face, bounds, world.now));
    wrote ||= count > 0;
  }
  compare(tx.in(world.face(given.face)) as unknown as Readable, draft.at(world.now), given);
  return wrote;
}

const commands = [
  command("call", call, (world, one) => {
    const before = world.model.at(world.now);
    const did = doReal(world.face(one.face), one, before, world.now);
    expect(did).toEqual(world.model.do(one, world.now));
    world.committed();
  }),
  command(
    "batch",
    fc.record({ calls: fc.array(writing as fc.Arbitrary<Call>, { maxLength: 6 }), waits: fc.boolean() }),
    async (world, { calls, waits }) => {
      const before = world.model.at(world.now);
      const batch = world.store.batch();
      for (const one of calls) {
        const part = batch.in(world.face(one.face));
        const options = optionsOf(one as Call & { kind: "set" }, before, world.now);
        if (one.kind === "set") part.set(one.key, one.value, options);
        else part.delete(one.key, options);
      }
      const wanted = world.model.batch(calls, world.now);
      if (waits) {
        const found = batch.commitDurable().then(
          (returned) => ({ returned }),
          (error) => ({ code: error.code }),
        );
        expect(await found).toEqual(wanted);
      } else {
        expect(outcomeOf(() => batch.commit())).toEqual(wanted);
      }
      world.committed();
      if (waits && wanted.code === undefined) world.durable();
    },
  ),
  command("look", look, async (world, given) => {
    const real = world.face(given.face) as unknown as Readable;
    compare(real, world.model.at(world.now), given);
    await compareLater(real, world.model.at(world.now), given);
  }),
  command("clear", fc.record({ face, range: fc.option(range) }), (world, given) => {
    const bounds = given.range === null ? undefined : clearable(given.range);
    expect(world.face(given.face).clear(bounds)).toBe(world.model.clear(given.face, bounds, world.now));
    world.committed();
  }),
  command("turn the clock", fc.integer({ min: 1, max: 2000 }), (world, ms) => world.turn(ms)),
  command("turn the clock back", fc.integer({ min: 1, max: 5000 }), (world, ms) => {
    // It is seen first by a record that may expire.
    world.store.set("seen", "", { expiresIn: 1 });
    world.store.delete("seen");
    world.turn(-ms);
  }),
  command("snapshot", fc.constant(undefined), (world) => {
    world.snapshots.push({ snapshot: world.store.snapshot(), model: world.model.at(world.now) });
  }),
  command("look through a snapshot", fc.record({ which: fc.nat(9), look }), async ({ snapshots, faces }, given) => {
    const held = snapshots[given.which % Math.max(1, snapshots.length)];
    if (held === undefined) return;
    const inside = held.snapshot.in(faces[given.look.face] as Store) as unknown as Readable;
    compare(inside, held.model, given.look);
    await compareLater(inside, held.model, given.look);
  }),
  command("close a snapshot", fc.nat(9), ({ snapshots }, which) => {
    const [held] = snapshots.splice(which % Math.max(1, snapshots.length), 1);
    held?.snapshot.close();
  }),
  command("begin a walk", fc.record({ face, range }), (world, given) => {
    const { limit: _, ...bounds } = given.range;
    const shown = (world.model.at(world.now).faces[given.face] as Model<Held>).range(inBytes(bounds));
    const real = world.face(given.face).entries(bounds) as unknown as Walk["real"];
    const entries = shown.map((one): [string, string] => [one.key, one.value.value]);
    world.walks.push({ real, shown: entries, reverse: given.range.reverse === true, at: 0 });
  }),
  command(
    "go on with a walk",
    fc.record({ which: fc.nat(9), count: fc.integer({ min: 1, max: 4 }), seek: fc.option(key) }),
    ({ walks }, given) => {
      const walk = walks[given.which % Math.max(1, walks.length)];
      if (walk === undefined) return;
      if (given.seek !== null) {
        walk.real.seek(given.seek);
        const from = bytes(given.seek);
        const at = walk.shown.findIndex(([name]) => (walk.reverse ? name <= from : name >= from));
        walk.at = at < 0 ? walk.shown.length : at;
      }
      const wanted = walk.shown.slice(walk.at, walk.at + given.count);
      expect((walk.real.nextv(given.count) as [string, string][]).map(([name, value]) => [bytes(name), value])).toEqual(
        wanted,
      );
      walk.at += wanted.length;
      if (wanted.length === given.count) return;
      // It has said that it is at its end.
      walks.splice(walks.indexOf(walk), 1);
      expect(walk.real.nextv(1)).toEqual([]);
    },
  ),
  command("transaction", fc.record({ work, fails: fc.boolean() }), (world, given) => {
    const draft = world.model.at(0);
    const body = (tx: Transaction): void => {
      doWithin(world, tx, draft, given.work);
      if (given.fails) throw new Error("rolled back");
    };
    if (given.fails) {
      expect(() => world.store.transaction(body)).toThrow("rolled back");
      return;
    }
    world.store.transaction(body);
    world.model = draft;
    world.committed();
  }),
  command(
    "transact",
    fc.record({ work, meanwhile: fc.option(writing as fc.Arbitrary<Call>) }),
    async (world, given) => {
      let draft = world.model.at(0);
      let runs = 0;
      let touched = false;
      let conflicts = false;
      await world.store.transact(async (tx) => {
        draft = world.model.at(0);
        touched = doWithin(world, tx, draft, given.work);
        await compareLater(
          tx.in(world.face(given.work.look.face)) as unknown as Readable,
          draft.at(world.now),
          given.work.look,
        );
        if (runs++ > 0 || given.meanwhile === null) return;
        const did = doReal(world.face(given.meanwhile.face), given.meanwhile, world.model.at(world.now), world.now);
        expect(did).toEqual(world.model.do(given.meanwhile, world.now));
        world.committed();
        // It has looked at the whole of that face, so it meets a conflict if anything has changed and it has something to do.
        tx.in(world.face(given.meanwhile.face)).count();
        conflicts = touched && did.returned === true;
        if (touched) tx.set("has something to do", "");
        if (touched) draft.do({ kind: "set", face: 0, key: "has something to do", value: "" }, world.now);
      });
      expect(runs).toBe(conflicts ? 2 : 1);
      if (!touched) return;
      world.model = draft;
      world.committed();
      world.durable();
    },
  ),
  command("flush", fc.boolean(), async (world, waits) => {
    if (waits) await world.store.flush();
    else world.store.flushSync();
    world.durable();
  }),
  command("compact", fc.boolean(), async (world, full) => {
    await world.store.compact({ full });
  }),
  command("reopen", fc.constant(undefined), async (world) => {
    await world.store.close();
    await world.open(world.device.reopen());
    world.durable();
  }),
  command("crash", fc.constant(undefined), async (world) => {
    const before = world.store;
    const image = ImageDevice.of(world.device.image());
    // A clock that went back has gone on by the time that a machine is up again.
    world.clock.now = world.now;
    await world.open(image);
    await before.close();
    expect(world.store.recoveredVersion).toBeGreaterThanOrEqual(world.durableVersion);
    const found = world.faces.map((one) => [...one.keys()].map((name) => [bytes(name), one.getEntry(name)]));
    const kept = world.states.findLast((state) => {
      const shown = state.at(world.now).faces.map((model) => model.range().map((one) => [one.key, one.value]));
      return isSame(found, shown);
    });
    // It is one of the states that the store had, none older than what was durable.
    expect(kept, `recovered ${fc.stringify(found)}`).toBeDefined();
    world.model = (kept as WholeModel).at(0);
    // What was lost was never durable.
    world.states = [world.model.at(0)];
  }),
];

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** The members of objects in one order, those that are there. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value)
    .filter(([, held]) => held !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

describe(`the whole API against plain maps, CAIRN_SEED=${seed}`, () => {
  test("in random order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60 }), async (drawn) => {
        const world = new World();
        await world.open(world.device);
        try {
          await fc.asyncModelRun(() => ({ model: world.model, real: world }), drawn);
          for (const { snapshot } of world.snapshots) snapshot.close();
          for (const { real } of world.walks) real.return();
          expect(world.store.stats().snapshotCount).toBe(0);
          const { faults } = await world.store.verify();
          expect(faults).toEqual([]);
        } finally {
          await world.store.close();
        }
      }),
      { seed, numRuns: 30 },
    );
  });
});
