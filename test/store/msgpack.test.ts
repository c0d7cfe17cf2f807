/** Values as MessagePack. */
import { expect, test } from "vitest";
import { msgpack, msgpackCodec } from "../../adapters/msgpack.ts";
import { errorOf, open } from "./harness.ts";

test("values come back from MessagePack as they went in", async () => {
  const store = await open(":memory:", { valueEncoding: msgpack });
  const values = [
    null,
    true,
    1.5,
    -7,
    "é",
    [1, [2]],
    { a: { b: Uint8Array.of(0, 255) } },
    new Date(5),
    "x".repeat(5000),
  ];
  values.forEach((value, i) => {
    store.set(`k${i}`, value);
  });
  expect(values.map((_, i) => store.get(`k${i}`))).toEqual(values);
  expect([...store.values()]).toEqual(values);
  expect(await store.getMany(["k6"])).toEqual([values[6]]);
  await store.close();
});

test("what MessagePack cannot hold names the call, the codec and the cause, and changes nothing", async () => {
  const store = await open(":memory:", { valueEncoding: msgpack });
  store.set("k", 1);
  const error = await errorOf(() => store.set("k", () => 1));
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.message).toContain("msgpack");
  expect(error.cause).toBeInstanceOf(Error);
  expect(store.get("k")).toBe(1);
  await store.close();
});

test("options reach the package", async () => {
  const store = await open(":memory:", { valueEncoding: msgpackCodec<bigint>({ useBigInt64: true }) });
  store.set("k", 2n ** 60n);
  expect(store.get("k")).toBe(2n ** 60n);
  await store.close();
});
