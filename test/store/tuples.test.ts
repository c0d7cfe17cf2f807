/** Tuple keys: they come back as they went in, and order as their elements do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packTuple, type Tuple, type TupleElement, unpackTuple } from "../../store/tuple.ts";
import { codeOf, errorOf, open, runSeed } from "./harness.ts";

const seed = runSeed();
const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

const element: fc.Arbitrary<TupleElement> = fc.letrec<{ any: TupleElement; list: TupleElement[] }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true }).map((value) => (value === 0 ? 0 : value)),
    fc.integer(),
    fc.bigInt(),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.string({ unit: "grapheme", maxLength: 8 }),
    fc.string({ unit: fc.constantFrom("\0", "a", "\u00ff", "\u{10ffff}"), maxLength: 4 }),
    fc.uint8Array({ maxLength: 6 }),
    fc.array(fc.constantFrom(0, 1, 255), { maxLength: 4 }).map((bytes) => Uint8Array.from(bytes)),
    tie("list"),
  ),
  list: fc.array(tie("any"), { maxLength: 4 }),
})).any;
const tuple = fc.array(element, { maxLength: 4 });

/** The order that the documents promise, by its own rules. */
function compare(a: TupleElement, b: TupleElement): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0) return rank;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareLists([...a], [...b]);
  if (typeof a === "string" && typeof b === "string") return compareLists(points(a), points(b));
  if (Array.isArray(a) && Array.isArray(b)) return compareLists(a, b);
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
}

function compareLists(a: readonly TupleElement[], b: readonly TupleElement[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compare(a[i] as TupleElement, b[i] as TupleElement);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function points(text: string): number[] {
  return [...text].map((character) => character.codePointAt(0) as number);
}

function rankOf(value: TupleElement): number {
  if (value === null) return 0;
  if (value instanceof Uint8Array) return 1;
  if (Array.isArray(value)) return 3;
  return { string: 2, bigint: 4, number: 5, boolean: 6 }[typeof value as "string"] ?? 7;
}

describe(`tuples, CAIRN_SEED=${seed}`, () => {
  test("come back as they went in", () => {
    fc.assert(
      fc.property(tuple, (given) => {
        expect(unpackTuple(packTuple(given))).toEqual(given);
      }),
      { seed, numRuns: 2000 },
    );
  });

  test("order as their elements do, one after the other", () => {
    fc.assert(
      fc.property(tuple, tuple, (a, b) => {
        const byBytes = compareLists([...packTuple(a)], [...packTuple(b)]);
        expect(Math.sign(byBytes)).toBe(Math.sign(compareLists(a, b)));
      }),
      { seed, numRuns: 3000 },
    );
  });

  test("start with a prefix exactly when their elements do", async () => {
    const store = await open(":memory:", { keyEncoding: "tuple", valueEncoding: "json" });
    fc.assert(
      fc.property(fc.array(tuple, { maxLength: 12 }), fc.array(element, { maxLength: 2 }), (keys, prefix) => {
        store.clear();
        const inside: Tuple[] = keys.filter((key) => key.length > 0);
        for (const key of inside) store.set(key, 0);
        const wanted = inside
          .filter((key) => compareLists(key.slice(0, prefix.length), prefix) === 0 && key.length >= prefix.length)
          .sort(compareLists)
          .filter((key, i, all) => i === 0 || compareLists(key, all[i - 1] as Tuple) !== 0);
        expect([...store.keys({ prefix })]).toEqual(wanted);
      }),
      { seed, numRuns: 300 },
    );
    await store.close();
  });

  test("have the bytes of FoundationDB's tuple layer", () => {
    const known: [Tuple, string][] = [
      [[null], "00"],
      [[Uint8Array.of(0x66, 0, 0x6f)], "01 66 00 ff 6f 00"],
      [["FÔO\0bar"], "02 46 c3 94 4f 00 ff 62 61 72 00"],
      [[["foo\0bar", null, []]], "05 02 66 6f 6f 00 ff 62 61 72 00 00 ff 05 00 00"],
      [[-5551212n], "11 ab 4b 93"],
      [[0n], "14"],
      [[2n ** 64n - 1n], "1c ff ff ff ff ff ff ff ff"],
      [[2n ** 64n], "1d 09 01 00 00 00 00 00 00 00 00"],
      [[-(2n ** 64n)], "0b f6 fe ff ff ff ff ff ff ff ff"],
      [[-42], "21 3f ba ff ff ff ff ff ff"],
      [[1], "21 bf f0 00 00 00 00 00 00"],
      [[false, true], "26 27"],
    ];
    for (const [given, bytes] of known) expect(hex(packTuple(given))).toBe(bytes);
  });

  test("hold bigints of every size that a key takes", async () => {
    const store = await open(":memory:", { keyEncoding: "tuple" });
    const bits = [7, 8, 63, 64, 65, 2031, 2032, 2033, 2040, 2048, 16_000];
    const values = bits.flatMap((bit) => [2n ** BigInt(bit), 2n ** BigInt(bit) - 1n]);
    const sorted = [...values, 0n, ...values.map((value) => -value)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    for (const value of sorted) store.set([value], "v");
    expect([...store.keys()]).toEqual(sorted.map((value) => [value]));
    expect(await codeOf(() => store.set([2n ** 17_000n], "v"))).toBe("KEY_SIZE");
    expect(await codeOf(() => store.set([2n ** 600_000n], "v"))).toBe("INVALID_ARGUMENT");
    await store.close();
  });

  test("take -0 for 0, and refuse what has no place in an order", async () => {
    const store = await open(":memory:", { keyEncoding: "tuple" });
    store.set([-0], "zero");
    expect(store.get([0])).toBe("zero");
    expect(Object.is((store.keys().next().value as Tuple)[0], 0)).toBe(true);
    let deep: unknown = null;
    for (let i = 0; i < 300; i++) deep = [deep];
    const wrong: [unknown, string][] = [
      [[Number.NaN], "element 0 is NaN"],
      [["a", undefined], "element 1 must be"],
      [["a", [1, Symbol("s")]], "element 1[1] must be"],
      [[{}], "not object"],
      [[deep], "nested deeper"],
      ["a", "an array"],
    ];
    for (const [key, message] of wrong) {
      const error = await errorOf(() => store.set(key as Tuple, "v"));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain(message);
    }
    expect(await codeOf(() => store.set([], "v"))).toBe("KEY_SIZE");
    expect(store.count()).toBe(1);
    await store.close();
  });

  test("are not made of bytes that are none", () => {
    for (const bytes of [[0x03], [0x01, 0x61], [0x21, 1, 2], [0x16, 1], [0x05, 0x26], [0x1d], [0x02, 0xff, 0x00]]) {
      expect(() => unpackTuple(Uint8Array.from(bytes))).toThrow();
    }
  });
});
