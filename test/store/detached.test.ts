/** Bytes whose buffer was transferred, or shrank below them: refused by name, before anything changes. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KeyEncoding, ValueEncoding } from "../../store/encoding.ts";
import { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { errorOf, open } from "./harness.ts";

const there = Uint8Array.of(1, 2, 3);
const KEY = Uint8Array.of(7);

let store: Store<Uint8Array, Uint8Array>;

beforeEach(async () => {
  store = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" });
  store.set(KEY, there);
});

afterEach(async () => {
  // Not poisoned, and as it was.
  expect([...store.entries()]).toEqual([[KEY, there]]);
  expect(store.delete(KEY)).toBe(true);
  await store.close();
});

function detached(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(10);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}

/** A view that its buffer, which has shrunk, no longer holds. */
function outside(): Uint8Array<ArrayBuffer> {
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: object,
  ) => ArrayBuffer & { resize(to: number): void };
  const buffer = new Resizable(16, { maxByteLength: 16 });
  const bytes = new Uint8Array(buffer, 8, 8);
  buffer.resize(4);
  return bytes;
}

async function expectRefused(body: () => unknown, operation: string): Promise<void> {
  const error = await errorOf(body);
  expect(error).toBeInstanceOf(CairnError);
  expect([error.code, error.operation]).toEqual(["INVALID_ARGUMENT", operation]);
  expect(error.message).toMatch(/the bytes of .* are detached: .* Pass bytes that are there/);
}

describe.each([
  ["detached", detached],
  ["out-of-bounds", outside],
])("%s bytes", (_, make) => {
  test("regression: a batch refuses them as a value instead of poisoning the store", async () => {
    await expectRefused(() => store.batch().delete(KEY).set(KEY, make()).commit(), "batch");
    await expectRefused(() => store.batch().delete(KEY).set(KEY, make()).commitDurable(), "batch");
    await expectRefused(
      () =>
        store.batch([
          { type: "del", key: KEY },
          { type: "put", key: KEY, value: make() },
        ]),
      "batch",
    );
  });

  test("no write takes them as a value", async () => {
    await expectRefused(() => store.set(KEY, make()), "set");
    await expectRefused(() => store.set(KEY, make(), { expiresIn: 1000 }), "set");
    await expectRefused(() => store.put(KEY, make()), "put");
    await expectRefused(() => store.append(KEY, make()), "append");
    await expectRefused(() => store.patch(KEY, 0, make()), "patch");
    await expectRefused(() => store.update(KEY, make), "update");
  });

  test("no write of a transaction takes them as a value", async () => {
    await expectRefused(() => store.transaction((tx) => tx.set(KEY, make())), "set");
    await expectRefused(() => store.transaction((tx) => tx.append(KEY, make())), "append");
    await expectRefused(() => store.transaction((tx) => tx.patch(KEY, 0, make())), "patch");
    await expectRefused(() => store.transaction((tx) => tx.update(KEY, make)), "update");
    await expectRefused(() => store.transact(async (tx) => tx.set(KEY, make())), "set");
  });

  test("no call takes them as a key, or as a bound of a range", async () => {
    await expectRefused(() => store.get(make()), "get");
    await expectRefused(() => store.has(make()), "has");
    await expectRefused(() => store.set(make(), there), "set");
    await expectRefused(() => store.delete(make()), "delete");
    await expectRefused(() => store.append(make(), there), "append");
    await expectRefused(() => store.getMany([KEY, make()]), "getMany");
    await expectRefused(() => store.batch().delete(KEY).set(make(), there).commit(), "batch");
    await expectRefused(() => store.transaction((tx) => tx.set(make(), there)), "set");
    await expectRefused(() => store.count({ gte: make() }), "count");
    await expectRefused(() => store.clear({ prefix: make() }), "clear");
  });

  test("a codec does not get them through", async () => {
    const codec = {
      name: "broken",
      encode: (_value: unknown) => make(),
      decode: (bytes: Uint8Array) => bytes as unknown,
    };
    const encodings: [KeyEncoding, ValueEncoding][] = [
      ["binary", codec],
      [codec, "binary"],
    ];
    for (const [keyEncoding, valueEncoding] of encodings) {
      const other = store.sub("other", { keyEncoding, valueEncoding }) as unknown as Store<unknown, unknown>;
      await expectRefused(() => other.set(KEY, there), "set");
      await expectRefused(() => other.batch([{ type: "set", key: KEY, value: there }]), "batch");
    }
  });

  test("an element of a tuple is refused by its place", async () => {
    const tuples = store.sub("tuples", { keyEncoding: "tuple" });
    await expectRefused(() => tuples.set(["a", [make()]], "v"), "set");
    expect((await errorOf(() => tuples.set(["a", [make()]], "v"))).message).toContain("element 1[0]");
    tuples.set(["a", new Uint8Array(0)], "v");
    expect(tuples.clear()).toBe(1);
  });
});

test("regression: bytes that a later operation of the batch detaches are refused before anything changes", async () => {
  const bytes = new Uint8Array(10);
  const list = [
    { type: "set" as const, key: KEY, value: bytes },
    {
      type: "set" as const,
      key: KEY,
      get value() {
        structuredClone(bytes, { transfer: [bytes.buffer] });
        return there;
      },
    },
  ];
  await expectRefused(() => store.batch(list), "batch");
});

test("bytes that are empty and there are a value", () => {
  store.set(KEY, new Uint8Array(0));
  expect(store.get(KEY)).toEqual(new Uint8Array(0));
  store.append(KEY, new Uint8Array(0));
  expect(store.batch().set(KEY, new Uint8Array(0)).set(KEY, there).commit()).toEqual([true, true]);
});
