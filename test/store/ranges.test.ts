/** Ranges: regressions. The random ranges are in the model test. */
import { expect, test } from "vitest";
import { codeOf, errorOf, open } from "./harness.ts";

test("a Buffer as prefix finds its keys and is not changed", async () => {
  const store = await open(":memory:", { keyEncoding: "binary", memoryBytes: 64 * 1024 * 1024 });
  store.set(Buffer.from("ab"), "1");
  store.set(Buffer.from("b"), "2");
  const prefix = Buffer.from("a");
  expect([...store.values({ prefix })]).toEqual(["1"]);
  expect(prefix.toString()).toBe("a");
  await store.close();
});

/** What is no range; a `limit` and the like hide nothing. */
const NO_RANGES: readonly [string, unknown][] = [
  ["a Set", new Set(["a"])],
  ["a Map", new Map([["prefix", "a"]])],
  ["a Date", new Date(0)],
  ["a RegExp", /a/],
  ["a promise", Promise.resolve({ prefix: "a" })],
  ["an array", [["a"]]],
  ["an ArrayBuffer", new ArrayBuffer(1)],
  ["a function", () => undefined],
  ["null", null],
];

test.each(NO_RANGES)("regression: %s is no range: nothing is deleted, walked or watched", async (_, given) => {
  const store = await open(":memory:");
  const users = store.sub("users");
  store.set("a", "1");
  users.set("b", "2");
  const range = given as object;
  for (const part of [store, users]) {
    for (const call of ["clear", "count", "entries", "keys", "values"] as const) {
      const error = await errorOf(() => part[call](range));
      expect([error.code, error.operation]).toEqual(["INVALID_ARGUMENT", call]);
      expect(error.message).toContain("the range must be an object { gt, gte, lt, lte, prefix }");
    }
    if (!Array.isArray(given)) expect(await codeOf(() => part.watch(range))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => part.transaction((tx) => tx.count(range)))).toBe("INVALID_ARGUMENT");
  }
  expect([store.get("a"), users.get("b")]).toEqual(["1", "2"]);
  await store.close();
});

test("regression: a range without a bound clears nothing; without a range all is cleared", async () => {
  const store = await open(":memory:");
  const users = store.sub("users");
  store.set("a", "1");
  users.set("b", "2");
  for (const range of [
    {},
    { prefix: undefined },
    { gt: undefined, lte: undefined, reverse: false },
    Object.create(null),
  ]) {
    const error = await errorOf(() => store.clear(range as object));
    expect([error.code, error.operation]).toEqual(["INVALID_ARGUMENT", "clear"]);
    expect(error.message).toContain("the range has no bound");
    expect(await codeOf(() => users.clear(range as object))).toBe("INVALID_ARGUMENT");
    expect(store.count(range as object)).toBe(1);
  }
  expect([store.get("a"), users.get("b")]).toEqual(["1", "2"]);
  expect(store.clear({ prefix: "" })).toBe(1);
  expect(users.get("b")).toBe("2");
  store.set("a", "1");
  expect(store.clear(undefined)).toBe(2);
  await store.close();
});
