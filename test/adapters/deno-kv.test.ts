/** `Deno.Kv` over a store: its calls, and, on Deno, the same calls on Deno's own, answer by answer. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Kv, type KvEntryMaybe, type KvKey, type KvKeyPart, KvU64, openKv } from "../../adapters/deno-kv/index.ts";
import { decodeKey, encodeKey } from "../../adapters/deno-kv/keys.ts";
import { decodeValue, encodeValue } from "../../adapters/deno-kv/values.ts";
import { codeOf, MEMORY_BYTES, pause, runSeed, scratchPaths } from "../store/harness.ts";
import { Random } from "../store/random.ts";

const newPath = scratchPaths();
const memoryBytes = MEMORY_BYTES;

interface DenoOwn {
  openKv(path: string): Promise<Kv>;
  KvU64: typeof KvU64;
}
const deno = (globalThis as { Deno?: DenoOwn }).Deno;

/** One part of each kind that a key may have, in the order of keys. */
const ORDERED: KvKeyPart[] = [
  new Uint8Array(),
  Uint8Array.of(0),
  Uint8Array.of(0, 0xff),
  Uint8Array.of(1),
  "",
  "\0",
  "a",
  "ab",
  "é",
  "￿",
  "😀",
  -(2n ** 2000n),
  -(2n ** 70n),
  -(2n ** 64n) + 1n,
  -256n,
  -255n,
  -5n,
  0n,
  5n,
  255n,
  256n,
  2n ** 64n - 1n,
  2n ** 70n,
  2n ** 2000n,
  Number.NEGATIVE_INFINITY,
  -1.5,
  -0,
  0,
  Number.MIN_VALUE,
  1,
  1.5,
  Number.MAX_VALUE,
  Number.POSITIVE_INFINITY,
  Number.NaN,
  false,
  true,
];

let kv: Kv;

beforeEach(async () => {
  kv = await openKv(":memory:", { memoryBytes });
});

afterEach(() => kv.close());

async function entriesOf<T>(list: AsyncIterable<T>): Promise<T[]> {
  const entries: T[] = [];
  for await (const entry of list) entries.push(entry);
  return entries;
}

async function keysOf(list: AsyncIterable<{ key: KvKey }>): Promise<KvKey[]> {
  return (await entriesOf(list)).map(({ key }) => key);
}

describe("keys", () => {
  test("come out of their bytes as they went in, also beside each other", () => {
    for (const part of ORDERED) {
      for (const key of [[part], ["x", part, 1], [part, part]]) expect(decodeKey(encodeKey(key, "get"))).toEqual(key);
    }
    expect(Object.is(decodeKey(encodeKey([-0], "get"))[0], -0)).toBe(true);
  });

  test("are ordered by their types and values", async () => {
    const shuffled = [...ORDERED];
    const seed = runSeed();
    const random = new Random(seed);
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j] as KvKeyPart, shuffled[i] as KvKeyPart];
    }
    for (const part of shuffled) await kv.set([part], 1);
    expect(await keysOf(kv.list({ prefix: [] })), `seed ${seed}`).toEqual(ORDERED.map((part) => [part]));
  });

  test.skipIf(deno === undefined)("have the order of Deno's", async () => {
    const own = await (deno as DenoOwn).openKv(":memory:");
    for (const part of ORDERED) await own.set([part], 1);
    expect(await keysOf(own.list({ prefix: [] }))).toEqual(ORDERED.map((part) => [part]));
    own.close();
  });

  test("are refused when they are empty, of another type or too long", async () => {
    expect(await codeOf(() => kv.set([], 1))).toBe("KEY_SIZE");
    expect(await codeOf(() => kv.atomic().set([], 1))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => kv.get([null as unknown as string]))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => kv.get("text" as unknown as KvKey))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => kv.set(["x".repeat(2047)], 1))).toBe("KEY_SIZE");
    expect(await codeOf(() => kv.set([2n ** 3000n], 1))).toBe("INVALID_ARGUMENT");
    expect(await kv.get([])).toEqual({ key: [], value: null, versionstamp: null });
    expect(kv.store.count()).toBe(0);
  });
});

describe("values", () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const values: [string, unknown][] = [
    ["undefined", undefined],
    ["null", null],
    ["numbers", [0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY]],
    ["a bigint", 2n ** 100n],
    ["text", "é😀\0"],
    ["a date", new Date(5)],
    ["a regular expression", /x+/gi],
    ["maps and sets", new Map<unknown, unknown>([[{ k: 1 }, new Set([1, "2"])]])],
    ["bytes", Uint8Array.of(0, 1, 255)],
    ["views and buffers", { a: new Float64Array([1.5]), b: new Uint16Array([7]).buffer, c: Uint8Array.of(9) }],
    // biome-ignore lint/suspicious/noSparseArray: that is what is tested.
    ["an array with a hole", [1, , 3]],
    ["an object that holds itself", cyclic],
    ["nothing at all", {}],
  ];

  test.for(values)("%s come back", async ([, value]) => {
    await kv.set(["v"], value);
    expect((await kv.get(["v"])).value).toEqual(value);
    expect(decodeValue(encodeValue(value, "set"))).toEqual(value);
  });

  test("errors come back with name, message, stack and cause", async () => {
    const error = new RangeError("too far", { cause: { code: 7 } });
    await kv.set(["v"], { error });
    const { value } = (await kv.get(["v"])) as { value: { error: Error } };
    expect(value.error).toBeInstanceOf(RangeError);
    expect(value.error.message).toBe("too far");
    // What a clone keeps of a stack and a cause is the runtime's affair.
    expect(value.error.cause).toEqual((structuredClone(error) as Error).cause);
    expect(value.error.stack).toContain("too far");
    const { error: again } = decodeValue(encodeValue({ error: value.error }, "set")) as { error: Error };
    expect(again).toMatchObject({ name: "RangeError", message: "too far" });
  });

  test("a view of data comes back, and an object of a class as a plain one", async () => {
    class Point {
      x = 1;
    }
    await kv.set(["v"], [new DataView(Uint8Array.of(1, 2, 3).buffer, 1), new Point()]);
    const [view, point] = (await kv.get(["v"])).value as [DataView, Point];
    expect([view.byteLength, view.getUint8(0)]).toEqual([2, 2]);
    expect(Object.getPrototypeOf(point)).toBe(Object.prototype);
    expect(point).toEqual({ x: 1 });
  });

  test("what cannot be cloned is refused, and nothing is changed", async () => {
    await kv.set(["v"], 1);
    await expect(kv.set(["v"], () => 2)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/stored: .*[^.]\. Nothing was changed\.$/s),
    });
    expect(await codeOf(() => kv.set(["v"], { deep: [Symbol("x")] }))).toBe("INVALID_ARGUMENT");
    expect((await kv.get(["v"])).value).toBe(1);
  });

  test("a KvU64 is one when it comes back, and refuses what 64 bits do not hold", async () => {
    await kv.set(["v"], new KvU64(3n));
    const { value } = await kv.get<KvU64>(["v"]);
    expect(value).toBeInstanceOf(KvU64);
    expect([value?.value, String(value)]).toEqual([3n, "3"]);
    expect(() => new KvU64(-1n)).toThrow(RangeError);
    expect(() => new KvU64(2n ** 64n)).toThrow(RangeError);
    expect(() => new KvU64(1 as unknown as bigint)).toThrow(TypeError);
  });
});

describe("reads and writes", () => {
  test("an entry has the versionstamp of the commit that wrote it", async () => {
    const first = await kv.set(["a"], 1);
    const second = await kv.atomic().set(["b"], 2).set(["c"], 3).commit();
    expect(await kv.get(["a"])).toEqual({ key: ["a"], value: 1, versionstamp: first.versionstamp });
    const [b, c, d] = await kv.getMany([["b"], ["c"], ["d"]]);
    expect(second).toEqual({ ok: true, versionstamp: b.versionstamp });
    expect(c.versionstamp).toBe(b.versionstamp);
    expect(d).toEqual({ key: ["d"], value: null, versionstamp: null });
    expect(first.versionstamp).toMatch(/^[0-9a-f]{20}$/);
    expect((b.versionstamp ?? "") > first.versionstamp).toBe(true);
    await kv.delete(["a"]);
    expect((await kv.get(["a"])).versionstamp).toBe(null);
    expect(await kv.delete(["a"])).toBeUndefined();
  });

  test("an entry is gone when its time is over", async () => {
    await kv.set(["a"], 1, { expireIn: 50 });
    await kv
      .atomic()
      .set(["b"], 1, { expireIn: 50 })
      .mutate({ type: "set", key: ["c"], value: 1, expireIn: 50 })
      .commit();
    await kv.set(["d"], 1, { expireIn: 0 });
    expect((await kv.get(["a"])).value).toBe(1);
    await pause(80);
    expect(await keysOf(kv.list({ prefix: [] }))).toEqual([]);
    expect(await codeOf(() => kv.set(["a"], 1, { expireIn: -1 }))).toBe("INVALID_ARGUMENT");
  });

  test("both consistencies are taken, and no other", async () => {
    await kv.set(["a"], 1);
    expect((await kv.get(["a"], { consistency: "eventual" })).value).toBe(1);
    expect((await kv.getMany([["a"]], { consistency: "strong" }))[0].value).toBe(1);
    expect(await codeOf(() => kv.get(["a"], { consistency: "weak" as "strong" }))).toBe("INVALID_ARGUMENT");
  });

  test("what is stored is there after a restart", async () => {
    const path = newPath();
    const first = await openKv(path, { memoryBytes });
    const { versionstamp } = await first.set(["users", 7n, true], { name: "Ada" });
    await first.close();
    const second = await openKv(path, { memoryBytes });
    const [entry] = await entriesOf(second.list({ prefix: ["users"] }));
    expect(entry).toEqual({ key: ["users", 7n, true], value: { name: "Ada" }, versionstamp });
    await second.close();
  });

  test("with sync: false a write is visible when it resolves, and durable later", async () => {
    const lazy = await openKv(newPath(), { memoryBytes, sync: false, durability: "manual" });
    const durable = lazy.store.durableVersion;
    const { versionstamp } = await lazy.set(["a"], 1);
    await lazy.atomic().sum(["n"], 2n).delete(["x"]).commit();
    expect(await lazy.get(["a"])).toEqual({ key: ["a"], value: 1, versionstamp });
    expect(lazy.store.durableVersion).toBe(durable);
    await lazy.close();
  });
});

describe("lists", () => {
  beforeEach(async () => {
    for (const a of ["a", "b", "c"]) for (let n = 0; n < 4; n++) await kv.set([a, n], `${a}${n}`);
    await kv.set(["b"], "itself");
  });

  test("have what a selector names", async () => {
    expect((await keysOf(kv.list({ prefix: ["b"] }))).length).toBe(4);
    expect(await keysOf(kv.list({ prefix: ["b"], start: ["b", 2] }))).toEqual([
      ["b", 2],
      ["b", 3],
    ]);
    expect(await keysOf(kv.list({ prefix: ["b"], end: ["b", 1] }))).toEqual([["b", 0]]);
    expect(await keysOf(kv.list({ start: ["a", 3], end: ["b", 1] }))).toEqual([["a", 3], ["b"], ["b", 0]]);
    expect(await keysOf(kv.list({ prefix: ["b"] }, { reverse: true, limit: 2 }))).toEqual([
      ["b", 3],
      ["b", 2],
    ]);
    expect((await keysOf(kv.list({ prefix: [] }, { batchSize: 3 }))).length).toBe(13);
  });

  test.for([true, false])("go on where a cursor says (reverse: %s)", async (reverse) => {
    const all = await keysOf(kv.list({ prefix: ["b"] }, { reverse }));
    const seen: KvKey[] = [];
    let cursor: string | undefined;
    for (let round = 0; round < 5; round++) {
      const list = kv.list({ prefix: ["b"] }, { reverse, limit: 1, ...(cursor === undefined ? {} : { cursor }) });
      const { done, value } = await list.next();
      if (done === true) break;
      seen.push(value.key);
      cursor = list.cursor;
    }
    expect(seen).toEqual(all);
  });

  test("see a batch as it was at one moment", async () => {
    const list = kv.list({ prefix: [] }, { batchSize: 5 });
    await list.next();
    await kv.set(["a", 1], "changed");
    await kv.delete(["c", 3]);
    const rest = await entriesOf(list);
    expect(rest[0]?.value).toBe("a1");
    expect(rest.at(-1)?.key).toEqual(["c", 2]);
  });

  test("refuse selectors, limits and cursors that mean nothing", async () => {
    const refused: [object, object?][] = [
      [{}],
      [{ start: ["a"] }],
      [{ prefix: ["a"], start: ["b"] }],
      [{ prefix: ["a"], end: ["b"] }],
      [{ prefix: ["a"], start: ["a"], end: ["a", 1] }],
      [{ start: ["b"], end: ["a"] }],
      [{ prefix: ["a"] }, { limit: 0 }],
      [{ prefix: ["a"] }, { batchSize: 1.5 }],
      [{ prefix: ["a"] }, { cursor: "***" }],
      [{ prefix: ["a"] }, { consistency: "none" }],
    ];
    for (const [selector, options] of refused) {
      expect(await codeOf(() => kv.list(selector as { prefix: KvKey }, options))).toBe("INVALID_ARGUMENT");
    }
    expect(await codeOf(() => kv.list({ prefix: [] }).cursor)).toBe("INVALID_ARGUMENT");
    const empty = kv.list({ prefix: ["nothing"] });
    await empty.next();
    expect(empty.cursor).toBe("");
  });
});

describe("atomic operations", () => {
  test("happen only when all checks hold", async () => {
    const { versionstamp } = await kv.set(["a"], 1);
    const fails = await kv
      .atomic()
      .check({ key: ["a"], versionstamp }, { key: ["b"], versionstamp })
      .set(["a"], 2)
      .commit();
    expect(fails).toEqual({ ok: false });
    expect((await kv.get(["a"])).value).toBe(1);
    const holds = await kv
      .atomic()
      .check({ key: ["a"], versionstamp }, { key: ["b"], versionstamp: null })
      .set(["a"], 2)
      .commit();
    expect(holds.ok).toBe(true);
    expect(
      await kv
        .atomic()
        .check({ key: ["a"], versionstamp })
        .delete(["a"])
        .commit(),
    ).toEqual({ ok: false });
    expect((await kv.get(["a"])).value).toBe(2);
    expect(await codeOf(() => kv.atomic().check({ key: ["a"], versionstamp: "00" }))).toBe("INVALID_ARGUMENT");
  });

  test("count without losing anything when many do it at once", async () => {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (;;) {
          const { value, versionstamp } = await kv.get<number>(["n"]);
          const done = await kv
            .atomic()
            .check({ key: ["n"], versionstamp })
            .set(["n"], (value ?? 0) + 1)
            .commit();
          if (done.ok) return;
        }
      }),
    );
    expect((await kv.get(["n"])).value).toBe(20);
  });

  test("sum, min and max numbers of 64 bits, round their end", async () => {
    await kv
      .atomic()
      .sum(["s"], 5n)
      .sum(["s"], 2n ** 64n - 1n)
      .min(["m"], 7n)
      .min(["m"], 9n)
      .max(["x"], 7n)
      .commit();
    await kv
      .atomic()
      .max(["x"], 9n)
      .mutate({ type: "sum", key: ["s"], value: new KvU64(1n) })
      .commit();
    const numbers = await kv.getMany<KvU64[]>([["s"], ["m"], ["x"]]);
    expect(numbers.map(({ value }) => value?.value)).toEqual([5n, 7n, 9n]);
  });

  test("do nothing at all when a number meets another value", async () => {
    await kv.set(["text"], "x");
    expect(await codeOf(() => kv.atomic().set(["a"], 1).sum(["text"], 1n).commit())).toBe("INVALID_ARGUMENT");
    expect(await kv.get(["a"])).toMatchObject({ value: null });
    expect(await codeOf(() => kv.atomic().sum(["n"], -1n))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => kv.atomic().mutate({ type: "append" as "delete", key: ["n"] }))).toBe("INVALID_ARGUMENT");
  });

  test("may be empty", async () => {
    expect((await kv.atomic().commit()).ok).toBe(true);
  });
});

describe("a watch", () => {
  test("gives the entries at first, at each change, and at an expiry, and ends with the store", async () => {
    const reader = kv.watch([["a"], ["b"]]).getReader();
    const read = async () =>
      ((await reader.read()).value as KvEntryMaybe<unknown>[] | undefined)?.map(({ value }) => value);
    expect(await read()).toEqual([null, null]);
    const waiting = read();
    await kv.set(["other"], 1);
    await kv.set(["a"], 1);
    expect(await waiting).toEqual([1, null]);
    await kv.atomic().set(["a"], 2).set(["b"], 3, { expireIn: 40 }).commit();
    expect(await read()).toEqual([2, 3]);
    expect(await read()).toEqual([2, null]);
    const last = reader.read();
    await kv.close();
    expect((await last).done).toBe(true);
  });

  test("sees what is written past it, and who is not woken by others", async () => {
    const reader = kv.watch([["a"]]).getReader();
    expect((await reader.read()).value?.[0]?.value).toBe(null);
    const waiting = reader.read();
    await kv.set(["b"], 1);
    const [bytes] = [...kv.store.keys()];
    const value = kv.store.get(bytes as Uint8Array) as Uint8Array;
    const key = (bytes as Uint8Array).map((byte) => (byte === 98 ? 97 : byte));
    await kv.store.put(key, value);
    expect((await waiting).value?.[0]?.value).toBe(1);
    const last = reader.read();
    await kv.store.close();
    expect((await last).done).toBe(true);
  });

  test("shows who reads slowly the newest entries only, and stops when it is cancelled", async () => {
    const reader = kv.watch([["a"]]).getReader();
    for (let n = 0; n < 10; n++) await kv.set(["a"], n);
    expect((await reader.read()).value?.[0]?.value).toBe(9);
    const pending = reader.read();
    await reader.cancel();
    expect((await pending).done).toBe(true);
    await kv.set(["a"], 10);
  });
});

test("queues and versionstamps in keys are refused, and say so", async () => {
  expect(await codeOf(() => kv.enqueue("job"))).toBe("UNSUPPORTED");
  expect(await codeOf(() => kv.listenQueue(() => {}))).toBe("UNSUPPORTED");
  expect(await codeOf(() => kv.atomic().enqueue())).toBe("UNSUPPORTED");
  expect(await codeOf(() => kv.commitVersionstamp())).toBe("UNSUPPORTED");
});

describe.skipIf(deno === undefined)("beside Deno's own", () => {
  /** Answers in a form in which both may be compared: a versionstamp as the number of the commit that it belongs to. */
  function comparable(own: DenoOwn | undefined): (answer: unknown) => unknown {
    const commits: string[] = [];
    const rank = (stamp: string): number => {
      if (!commits.includes(stamp)) commits.push(stamp);
      return commits.indexOf(stamp);
    };
    const form = (value: unknown): unknown => {
      if (value instanceof KvU64 || (own !== undefined && value instanceof own.KvU64)) return { u64: value.value };
      if (Array.isArray(value)) return value.map(form);
      if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [
          name,
          name === "versionstamp" && typeof inner === "string" ? rank(inner) : form(inner),
        ]),
      );
    };
    return form;
  }

  test("the same calls get the same answers", async () => {
    const own = deno as DenoOwn;
    const seed = runSeed();
    const random = new Random(seed);
    const theirs = await own.openKv(":memory:");
    const sides = [
      { side: kv, U64: KvU64, form: comparable(undefined), stamps: new Map<string, string | null>() },
      { side: theirs, U64: own.KvU64, form: comparable(own), stamps: new Map<string, string | null>() },
    ];
    const part = (): KvKeyPart => random.pick<KvKeyPart>(["a", "b", 1, 2n, true, Uint8Array.of(1)]);
    const newKey = (): KvKeyPart[] => Array.from({ length: random.between(1, 3) }, part);
    for (let step = 0; step < 600; step++) {
      const what = random.below(9);
      const keys = Array.from({ length: 3 }, newKey) as [KvKeyPart[], KvKeyPart[], KvKeyPart[]];
      const [first, second, third] = keys;
      const value = random.pick<unknown>([step, `v${step}`, { step }, [1n, undefined], Uint8Array.of(step), null]);
      const limit = random.between(1, 8);
      const reverse = random.chance(0.5);
      const n = BigInt(random.below(1000));
      const isStale = random.chance(0.3);
      const answers: unknown[] = [];
      for (const { side, U64, form, stamps } of sides) {
        const stampOf = async (key: KvKeyPart[]) =>
          isStale ? (stamps.get("last") ?? null) : (await side.get(key)).versionstamp;
        const run = async (): Promise<unknown> => {
          if (what === 0) return side.set(first, value);
          if (what === 1) return side.delete(first);
          if (what === 2) return side.get(first);
          if (what === 3) return side.getMany(keys);
          if (what === 4) return entriesOf(side.list({ prefix: first.slice(1) }, { limit, reverse, batchSize: 2 }));
          if (what === 5) {
            const check = { key: first, versionstamp: await stampOf(first) };
            const done = await side.atomic().check(check).set(second, value).delete(third).commit();
            if (done.ok) stamps.set("last", done.versionstamp);
            return { ok: done.ok };
          }
          // Of keys that hold numbers only: Deno's does half of an operation that meets another value.
          if (what === 6) {
            const [a, b] = [
              ["n", ...first],
              ["n", ...second],
            ];
            const done = await side.atomic().set(a, new U64(n)).sum(a, n).min(a, 700n).max(b, n).sum(b, 1n).commit();
            return done.ok;
          }
          if (what === 7) {
            const done = await side.atomic().sum(first, n).commit();
            return done.ok;
          }
          const list = side.list({ start: ["a"], end: [true, true] }, { limit, reverse });
          await list.next();
          return list.cursor;
        };
        answers.push(
          await run().then(form, (error: Error) => {
            return `threw: ${/non-U64|KvU64/.test(error.message) ? "another value" : /cursor/.test(error.message) ? "no cursor" : error.message}`;
          }),
        );
      }
      expect(answers[0], `seed ${seed}, step ${step}, call ${what}`).toEqual(answers[1]);
    }
    theirs.close();
  });
});
