/** Overwriting: a new value in place of an old one, of every size that shares its record's room and not its node's. */
import { expect, test } from "vitest";
import { open } from "./harness.ts";

test("a value that still fits its record need not fit its node", async () => {
  for (const keySize of [5, 30, 64, 65, 70, 100]) {
    const store = await open(":memory:", { durability: "manual" });
    const keyOf = (index: number): string => `${index}`.padStart(keySize, "k");
    for (let size = 0; size < 140; size++) {
      for (let index = 0; index < 40; index++) store.set(keyOf(index), "a".repeat(size));
      // Grown by less than a word, in the same block: neighbours in memory must not notice.
      for (let more = 1; more < 8; more++) {
        for (let index = 0; index < 40; index += 2) store.set(keyOf(index), "b".repeat(size + more));
        for (let index = 0; index < 40; index++) {
          expect(store.get(keyOf(index))).toBe(index % 2 === 0 ? "b".repeat(size + more) : "a".repeat(size));
        }
      }
    }
    expect(store.count()).toBe(40);
    expect(store.clear()).toBe(40);
    await store.close();
  }
});
