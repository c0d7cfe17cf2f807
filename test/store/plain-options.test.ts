/** Options are plain objects: what else is one in JavaScript is refused by name, since all of its options would be lost. */
import { expect, test } from "vitest";
import { errorOf, open, openRaw } from "./harness.ts";

const NOT_PLAIN: readonly [string, object][] = [
  ["an array", []],
  ["a Map", new Map([["ifVersion", 1]])],
  ["a Set", new Set()],
  ["an AbortSignal in place of { signal }", new AbortController().signal],
  ["an AbortController", new AbortController()],
  ["a Date", new Date(0)],
  ["bytes", new Uint8Array(1)],
];

test.each(NOT_PLAIN)("regression: %s is refused as the options of every call", async (_, given) => {
  const store = await open(":memory:");
  const users = store.sub("users");
  const calls: [operation: string, call: () => unknown][] = [
    ["open", () => openRaw(":memory:", given)],
    ["open", () => open(":memory:", { compaction: given })],
    ["open", () => open(":memory:", { history: given })],
    ["set", () => store.set("k", "v", given)],
    ["put", () => store.put("k", "v", given)],
    ["delete", () => users.delete("k", given)],
    ["del", () => users.del("k", given)],
    ["batch", () => store.batch().set("k", "v", given)],
    ["batch", () => store.batch().delete("k", given)],
    ["set", () => store.transaction((tx) => tx.set("k", "v", given))],
    ["delete", () => store.transaction((tx) => tx.delete("k", given))],
    ["transact", () => store.transact((tx) => tx.set("k", "v"), given)],
    ["watch", () => store.watch(undefined, given)],
    ["sub", () => store.sub("others", given)],
    ["compact", () => store.compact(given)],
    ["backup", () => store.backup(given)],
  ];
  for (const [operation, call] of calls) {
    const error = await errorOf(call);
    expect([operation, error.code, error.operation]).toEqual([operation, "INVALID_ARGUMENT", operation]);
    expect(error.message).toMatch(/must be an object/);
  }
  expect([store.count(), users.count()]).toEqual([0, 0]);
  await store.close();
});

test("an object without a prototype, or of a class, holds options as any other", async () => {
  class Options {
    ifVersion = null;
  }
  const store = await open(":memory:");
  expect(store.set("k", "v", new Options())).toBe(true);
  expect(store.set("k", "w", Object.assign(Object.create(null), { ifVersion: null }))).toBe(false);
  await store.close();
});
