/**
 * The calls of the client in random order against plain maps: one by one, many at once, in batches and in transactions, over namespaces,
 * snapshots and walks, while the connection is cut now and then. Shrunk to the fewest calls that still fail.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Connection, connect } from "../../adapters/client/index.ts";
import { open, runSeed } from "../store/harness.ts";
import type { Model, ModelRange } from "../store/model.ts";
import { bytes, type Call, FACES, type Held, inBytes, type Outcome, WholeModel } from "../store/whole-model.ts";
import { serve, key as testKey } from "./remote-server.ts";

const seed = runSeed();

type Reads = Pick<Connection, "get" | "has" | "getEntry" | "getMany" | "count"> & {
  entries(range: object): {
    nextv(count: number): Promise<[string, string][]>;
    seek(key: string): void;
    return(): unknown;
  };
};
type Writes = Pick<Connection, "set" | "delete" | "append" | "patch" | "increment" | "merge" | "update">;

const face = fc.nat(FACES - 1);
const key = fc.constantFrom("a", "b", "ab", "abc", "é", "\u{10ffff}", "\0", "k".repeat(300));
const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom("7", "-40", "{}", '{"a":1}', "x".repeat(300), "z".repeat(9000)),
);
const short = fc.string({ maxLength: 12 });
const range: fc.Arbitrary<ModelRange> = fc.record(
  { gt: key, gte: key, lt: key, lte: key, prefix: key, reverse: fc.boolean(), limit: fc.nat(6) },
  { requiredKeys: [] },
);
const one = { face, key };
const plain: fc.Arbitrary<Call> = fc.oneof(
  fc.record({ ...one, kind: fc.constantFrom("set" as const, "delete" as const), value: text }),
  fc.record({ ...one, kind: fc.constant("append" as const), value: short }),
  fc.record({ ...one, kind: fc.constant("patch" as const), value: short, offset: fc.nat(9) }),
  fc.record({ ...one, kind: fc.constant("increment" as const), by: fc.bigInt({ min: -9n, max: 9n }) }),
);
const conditional: fc.Arbitrary<Call> = fc.oneof(
  fc.record(
    {
      ...one,
      kind: fc.constantFrom("set" as const, "delete" as const),
      value: text,
      ifVersion: fc.constantFrom("absent" as const, "present" as const, "wrong" as const),
      timestamp: fc.nat(5),
    },
    { requiredKeys: ["face", "key", "kind", "value"] },
  ),
  fc.record({
    ...one,
    kind: fc.constant("merge" as const),
    patch: fc.constantFrom<unknown>({ a: null, b: 1 }, 7, { a: { c: [1] } }),
  }),
  fc.record({ ...one, kind: fc.constant("update" as const), value: short }),
  fc.record({ ...one, kind: fc.constant("remove" as const) }),
);
const many = fc.array(plain, { minLength: 1, maxLength: 8 });
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant("many" as const), calls: many }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("one" as const), call: conditional }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("batch" as const), calls: many, durable: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("transact" as const), calls: many, fails: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("clear" as const), face, range: fc.option(range, { nil: undefined }) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("look" as const), face, key, range, place: key }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("snapshot" as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("cut" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function outcomeOf(run: Promise<unknown>): Promise<Outcome> {
  try {
    return { returned: await run };
  } catch (error) {
    return { code: (error as { code?: string }).code ?? String(error) };
  }
}

function start(target: Writes, call: Call, model: WholeModel): Promise<unknown> {
  const { key: name } = call;
  switch (call.kind) {
    case "set":
    case "delete": {
      const ifVersion = model.versionFor(call, 0);
      const options = { ifVersion, timestamp: call.timestamp };
      return call.kind === "set" ? target.set(name, call.value, options) : target.delete(name, options);
    }
    case "append":
      return target.append(name, call.value);
    case "patch":
      return target.patch(name, call.offset, call.value);
    case "increment":
      return target.increment(name, call.by);
    case "merge":
      return target.merge(name, call.patch);
    case "update":
      return target.update(name, (value) => `<${value ?? "none"}${call.value}`);
    case "remove":
      return target.update(name, () => undefined);
  }
}

async function compare(
  real: Reads,
  whole: WholeModel,
  { face: at, key: name, range: span, place }: Step & { type: "look" },
): Promise<void> {
  const model = whole.faces[at] as Model<Held>;
  const held = model.get(bytes(name));
  const walk = real.entries(span);
  const { limit: _, ...unlimited } = span;
  const jumping = real.entries(unlimited);
  jumping.seek(place);
  const [got, has, entry, both, entries, behind, count] = await Promise.all([
    real.get(name),
    real.has(name),
    real.getEntry(name),
    real.getMany([place, name]),
    walk.nextv(99),
    jumping.nextv(99),
    real.count(span),
  ]);
  expect([got, has, entry?.value]).toEqual([held?.value, held !== undefined, held?.value]);
  expect([entry?.timestamp, both]).toEqual([held?.timestamp, [model.get(bytes(place))?.value, held?.value]]);
  const wanted = model.range(inBytes(span)).map((found) => [found.key, found.value.value]);
  expect(entries.map(([found, value]) => [bytes(found), value])).toEqual(wanted);
  expect(count).toBe(wanted.length);
  const from = bytes(place);
  expect(behind.map(([found]) => bytes(found))).toEqual(
    model
      .range(inBytes(unlimited))
      .map((found) => found.key)
      .filter((found) => (span.reverse ? found <= from : found >= from)),
  );
}

test("the client does what maps do", async () => {
  const store = await open(":memory:");
  const server = await serve(store, { keys: { secret: testKey("tenant") } });
  const db = await connect(server.url, { key: "secret", pauseMs: 1, pauseMsMax: 5 });
  const outer = db.sub("a");
  const faces = [db, outer, db.sub("ab"), outer.sub("b")];
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        await db.clear();
        let model = new WholeModel();
        let snapshot: { real: Awaited<ReturnType<Connection["snapshot"]>>; model: WholeModel } | undefined;
        /** Versions as the server has them, for conditions. */
        const learn = async (): Promise<void> => {
          for (const [at, of] of model.faces.entries()) {
            for (const { key: found, value } of of.range()) {
              if (value.version !== 0) continue;
              const name = new TextDecoder().decode(Uint8Array.from(found, (c) => c.charCodeAt(0)));
              const version = (await (faces[at] as Connection).getEntry(name))?.version;
              expect(version).toBeGreaterThan(0);
              of.set(found, { ...value, version: version as number });
            }
          }
        };
        for (const todo of steps) {
          if (todo.type === "many") {
            const started = todo.calls.map((call) => outcomeOf(start(faces[call.face] as Connection, call, model)));
            expect(await Promise.all(started)).toEqual(todo.calls.map((call) => model.do(call, 0)));
          } else if (todo.type === "one") {
            await learn();
            const done = await outcomeOf(start(faces[todo.call.face] as Connection, todo.call, model));
            expect(done).toEqual(model.do(todo.call, 0));
          } else if (todo.type === "batch") {
            const calls = todo.calls.filter(({ kind }) => kind === "set" || kind === "delete") as (Call & {
              kind: "set" | "delete";
            })[];
            const batch = db.batch();
            for (const call of calls) {
              const part = batch.in(faces[call.face] as Connection);
              if (call.kind === "set") part.set(call.key, call.value);
              else part.delete(call.key);
            }
            const done = await outcomeOf(todo.durable ? batch.commitDurable() : batch.commit());
            expect(done).toEqual(model.batch(calls, 0));
          } else if (todo.type === "transact") {
            const copy = model.at(0);
            const done = db.transact(async (tx) => {
              for (const call of todo.calls) {
                const outcome = await outcomeOf(start(tx.in(faces[call.face] as Connection), call, copy));
                expect(outcome).toEqual(copy.do(call, 0));
              }
              for (let at = 0; at < FACES; at++) {
                await compare(tx.in(faces[at] as Connection), copy, {
                  type: "look",
                  face: at,
                  key: "a",
                  range: {},
                  place: "ab",
                });
              }
              if (todo.fails) throw new RangeError("no");
            });
            if (todo.fails) await expect(done).rejects.toThrow(RangeError);
            else await done.then(() => (model = copy));
          } else if (todo.type === "clear") {
            const bounds =
              todo.range === undefined
                ? undefined
                : (({ limit: _, reverse: __, ...rest }) => ({ gte: "", ...rest }))(todo.range);
            expect(await (faces[todo.face] as Connection).clear(bounds)).toBe(model.clear(todo.face, bounds, 0));
          } else if (todo.type === "look") {
            await compare(faces[todo.face] as Connection, model, todo);
            if (snapshot !== undefined)
              await compare(snapshot.real.in(faces[todo.face] as Connection), snapshot.model, todo);
          } else if (todo.type === "snapshot") {
            await snapshot?.real.close();
            snapshot = { real: await db.snapshot(), model: model.at(0) };
          } else {
            server.cut();
            snapshot = undefined;
            await db.flush();
          }
        }
        await snapshot?.real.close();
        for (let at = 0; at < FACES; at++) {
          await compare(faces[at] as Connection, model, { type: "look", face: at, key: "a", range: {}, place: "b" });
        }
      }),
      { seed, numRuns: 120, endOnFailure: false },
    );
    expect(store.stats().oldestSnapshotAgeMs).toBe(0);
  } finally {
    await db.close();
    await server.close();
  }
});
