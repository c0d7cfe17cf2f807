/** Ranges: regressions. The random ranges are in the model test. */
import { expect, test } from "vitest";
import { open } from "./harness.ts";

test("a Buffer as prefix finds its keys and is not changed", async () => {
  const store = await open(":memory:", { keyEncoding: "binary", memoryBytes: 64 * 1024 * 1024 });
  store.set(Buffer.from("ab"), "1");
  store.set(Buffer.from("b"), "2");
  const prefix = Buffer.from("a");
  expect([...store.values({ prefix })]).toEqual(["1"]);
  expect(prefix.toString()).toBe("a");
  await store.close();
});
