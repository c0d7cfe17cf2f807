/** Bad input: each wrong argument is named, and nothing has changed afterwards. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CairnError, type CairnErrorCode } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, MEMORY_BYTES, open, openRaw } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const KEY_MAX = 2048;
const VALUE_MAX = 64 * 1024 * 1024;

type Call = "get" | "has" | "set" | "put" | "delete" | "del" | "getMany" | "batch" | "close" | Ranged;
type Ranged = "entries" | "keys" | "values" | "count" | "clear";

/** A store whose calls take anything. */
type Loose = Record<Call, (...args: unknown[]) => unknown>;

const RANGED: readonly Ranged[] = ["entries", "keys", "values", "count", "clear"];

let store: Store;
let loose: Loose;

beforeEach(async () => {
  store = await open(":memory:");
  loose = store as unknown as Loose;
  store.set("a", "1");
});

afterEach(async () => {
  expect([...store.entries()]).toEqual([["a", "1"]]);
  expect(store.stats().snapshotCount).toBe(0);
  await store.close();
});

async function expectError(body: () => unknown, code: CairnErrorCode, operation: string, ...named: string[]) {
  const error = await errorOf(body);
  expect(error.code).toBe(code);
  expect(error.operation).toBe(operation);
  expect(error.name).toBe("CairnError");
  expect(error).toBeInstanceOf(Error);
  if (operation !== "open") expect(error.message).toContain(operation);
  for (const name of named) expect(error.message).toContain(name);
}

/** All calls that take a key, with one. */
function keyCalls(key: unknown): [operation: string, call: () => unknown][] {
  return [
    ["get", () => loose.get(key)],
    ["has", () => loose.has(key)],
    ["set", () => loose.set(key, "v")],
    ["put", () => loose.put(key, "v")],
    ["delete", () => loose.delete(key)],
    ["del", () => loose.del(key)],
    ["getMany", () => loose.getMany(["a", key])],
    ["batch", () => loose.batch([{ type: "set", key, value: "v" }])],
    [
      "batch",
      () =>
        loose.batch([
          { type: "delete", key: "a" },
          { type: "delete", key },
        ]),
    ],
    [
      "batch",
      () =>
        store
          .batch()
          .delete("a")
          .set(key as string, "v")
          .commit(),
    ],
    [
      "batch",
      () =>
        store
          .batch()
          .delete("a")
          .delete(key as string)
          .commitDurable(),
    ],
  ];
}

describe("a key", () => {
  test("must not be empty", async () => {
    for (const [operation, call] of keyCalls("")) await expectError(call, "KEY_SIZE", operation, "empty");
  });

  test("has at most 2,048 bytes, however many characters", async () => {
    const longest = ["k".repeat(KEY_MAX), "é".repeat(KEY_MAX / 2), "🙂".repeat(KEY_MAX / 4), `${"€".repeat(682)}xx`];
    const tooLong: [string, number][] = [
      ["k".repeat(KEY_MAX + 1), KEY_MAX + 1],
      [`${"é".repeat(KEY_MAX / 2)}x`, KEY_MAX + 1],
      [`${"🙂".repeat(KEY_MAX / 4)}x`, KEY_MAX + 1],
      [`${"€".repeat(682)}xxx`, KEY_MAX + 1],
      [`${"x".repeat(KEY_MAX - 1)}é`, KEY_MAX + 1],
      ["k".repeat(100_000), 100_000],
    ];
    for (const key of longest) {
      store.set(key, "v");
      expect(store.get(key)).toBe("v");
      expect([...store.keys({ gte: key, lte: key })]).toEqual([key]);
      expect([...store.keys({ prefix: key })]).toEqual([key]);
      expect([...store.keys({ reverse: true, lte: key, limit: 1 })]).toEqual([key]);
      expect((await store.batch([{ type: "delete", key }]))[0]).toBe(true);
    }
    for (const [key, size] of tooLong) {
      for (const [operation, call] of keyCalls(key)) {
        await expectError(call, "KEY_SIZE", operation, String(size), String(KEY_MAX));
      }
    }
  });

  test("has at most 2,048 bytes as bytes", async () => {
    const binary = await open(":memory:", { keyEncoding: "binary" });
    binary.set(new Uint8Array(KEY_MAX), "v");
    expect(binary.get(new Uint8Array(KEY_MAX))).toBe("v");
    for (const size of [0, KEY_MAX + 1]) {
      const key = new Uint8Array(size);
      const calls = [
        () => binary.get(key),
        () => binary.has(key),
        () => binary.set(key, "v"),
        () => binary.put(key, "v"),
        () => binary.delete(key),
        () => binary.del(key),
        () => binary.getMany([key]),
        () => binary.batch([{ type: "set", key, value: "v" }]),
      ];
      for (const call of calls) expect(await codeOf(call)).toBe("KEY_SIZE");
    }
    expect(binary.count()).toBe(1);
    await binary.close();
  });

  test("is text under utf8 and bytes under binary, and nothing else", async () => {
    for (const key of [undefined, null, 5, 5n, true, {}, [], ["a"], Symbol("a"), new Uint8Array(1), () => "a"]) {
      for (const [operation, call] of keyCalls(key)) await expectError(call, "INVALID_ARGUMENT", operation, "key");
      for (const operation of RANGED) {
        for (const bound of ["gt", "gte", "lt", "lte", "prefix"]) {
          if (key === undefined) continue;
          await expectError(() => loose[operation]({ [bound]: key }), "INVALID_ARGUMENT", operation, "key");
        }
      }
      const keys = store.keys();
      await expectError(() => keys.seek(key as string), "INVALID_ARGUMENT", "seek", "key");
      keys.return();
    }
    const binary = (await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" })) as unknown as Loose;
    const bytes = Uint8Array.of(1);
    for (const wrong of [
      undefined,
      null,
      "text",
      5,
      {},
      [1],
      new Uint16Array(1),
      new ArrayBuffer(1),
      new DataView(new ArrayBuffer(1)),
    ]) {
      expect(await codeOf(() => binary.get(wrong))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => binary.set(wrong, bytes))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => binary.set(bytes, wrong))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => binary.put(bytes, wrong))).toBe("INVALID_ARGUMENT");
    }
    expect(binary.count()).toBe(0);
    await binary.close();
  });
});

describe("a value", () => {
  test("has at most 64 MiB, however many characters, and may be exactly that large", async () => {
    const roomy = await open(":memory:", { memoryBytes: MEMORY_BYTES, valueEncoding: "utf8" });
    const tooLong: [string, number][] = [
      ["x".repeat(VALUE_MAX + 1), VALUE_MAX + 1],
      [`${"é".repeat(VALUE_MAX / 2)}x`, VALUE_MAX + 1],
    ];
    for (const [value, size] of tooLong) {
      const calls: [string, () => unknown][] = [
        ["set", () => roomy.set("k", value)],
        ["put", () => roomy.put("k", value)],
        [
          "batch",
          () =>
            roomy.batch([
              { type: "set", key: "j", value: "v" },
              { type: "set", key: "k", value },
            ]),
        ],
        ["batch", () => roomy.batch().set("j", "v").set("k", value).commit()],
      ];
      for (const [operation, call] of calls) {
        await expectError(call, "VALUE_SIZE", operation, String(size), String(VALUE_MAX));
      }
    }
    expect(roomy.count()).toBe(0);
    expect(roomy.stats().appendedBytes).toBe(0);
    const largest = `${"é".repeat(VALUE_MAX / 2 - 1)}xx`;
    roomy.set("k", largest);
    expect(roomy.get("k") === largest).toBe(true);
    await roomy.close();
  });

  test("has at most 64 MiB as bytes", async () => {
    const binary = await open(":memory:", { valueEncoding: "binary" });
    const value = new Uint8Array(VALUE_MAX + 1);
    expect(await codeOf(() => binary.set("k", value))).toBe("VALUE_SIZE");
    expect(await codeOf(() => binary.put("k", value))).toBe("VALUE_SIZE");
    expect(await codeOf(() => binary.batch([{ type: "set", key: "k", value }]))).toBe("VALUE_SIZE");
    expect(binary.count()).toBe(0);
    value[VALUE_MAX - 1] = 9;
    await binary.put("k", value.subarray(0, VALUE_MAX));
    const got = binary.get("k") as Uint8Array;
    expect([got.length, got[0], got[VALUE_MAX - 1]]).toEqual([VALUE_MAX, 0, 9]);
    await binary.close();
  });

  test("is text under utf8, and nothing else", async () => {
    for (const value of [undefined, null, 5, 5n, true, {}, [], Symbol("a"), new Uint8Array(1), () => "a"]) {
      const calls: [string, () => unknown][] = [
        ["set", () => loose.set("a", value)],
        ["put", () => loose.put("a", value)],
        [
          "batch",
          () =>
            loose.batch([
              { type: "delete", key: "a" },
              { type: "put", key: "b", value },
            ]),
        ],
        [
          "batch",
          () =>
            store
              .batch()
              .delete("a")
              .set("b", value as string)
              .commit(),
        ],
      ];
      for (const [operation, call] of calls) await expectError(call, "INVALID_ARGUMENT", operation, "value");
    }
  });
});

describe("other arguments", () => {
  test("getMany takes an array of keys", async () => {
    for (const keys of [undefined, null, "abc", 5, { length: 1, 0: "a" }, new Set(["a"])]) {
      await expectError(() => loose.getMany(keys), "INVALID_ARGUMENT", "getMany", "array");
    }
    expect(await store.getMany([])).toEqual([]);
  });

  test("a batch takes an array of operations that it knows", async () => {
    for (const operations of [null, "abc", 5, {}, new Map()]) {
      await expectError(() => loose.batch(operations), "INVALID_ARGUMENT", "batch", "array");
    }
    const good = { type: "delete", key: "a" };
    const wrong: [unknown, string][] = [
      [null, "operation 1"],
      ["set", "operation 1"],
      [{ key: "b", value: "v" }, "type"],
      [{ type: "increment", key: "b", value: "v" }, "type"],
      [{ type: "SET", key: "b", value: "v" }, "type"],
      [{ type: "set", key: "b", value: "v", color: "red" }, "color"],
      [{ type: "set", value: "v" }, "key"],
      [{ type: "set", key: "b" }, "value"],
    ];
    for (const [operation, named] of wrong) {
      await expectError(() => loose.batch([good, operation]), "INVALID_ARGUMENT", "batch", named);
    }
    // A hole is no operation.
    const holes: unknown[] = [good];
    holes.length = 3;
    await expectError(() => loose.batch(holes), "INVALID_ARGUMENT", "batch", "operation 1");
    expect(await store.batch([])).toEqual([]);
    expect(store.batch().commit()).toEqual([]);
  });

  test("a batch over 1 GiB is BATCH_SIZE", async () => {
    const binary = await open(":memory:", { valueEncoding: "binary" });
    const value = new Uint8Array(VALUE_MAX);
    const operations = Array.from({ length: 17 }, (_, index) => ({ type: "set" as const, key: `k${index}`, value }));
    await expectError(() => binary.batch(operations), "BATCH_SIZE", "batch", String(1024 * 1024 * 1024));
    expect(binary.count()).toBe(0);
    await binary.close();
  });

  test("a range is an object of bounds", async () => {
    const wrong: [unknown, string][] = [
      [null, "range"],
      ["a", "range"],
      [5, "range"],
      [["a"], "range"],
      [{ from: "a" }, "from"],
      [{ reverse: "yes" }, "reverse"],
      [{ reverse: 1 }, "reverse"],
      [{ limit: "5" }, "limit"],
      [{ limit: Number.NaN }, "limit"],
      [{ limit: -1 }, "limit"],
      [{ limit: 5n }, "limit"],
    ];
    for (const operation of RANGED) {
      for (const [range, named] of wrong) {
        await expectError(() => loose[operation](range), "INVALID_ARGUMENT", operation, named);
      }
      await expectError(
        () => loose[operation]({ gt: "k".repeat(KEY_MAX + 1) }),
        "KEY_SIZE",
        operation,
        String(KEY_MAX),
      );
    }
    await expectError(() => store.clear({ limit: 1 }), "INVALID_ARGUMENT", "clear", "limit");
    await expectError(() => store.clear({ reverse: true }), "INVALID_ARGUMENT", "clear", "reverse");
    expect([...store.keys({ gt: undefined, limit: undefined } as object)]).toEqual(["a"]);
    expect([...store.keys({ limit: Number.POSITIVE_INFINITY })]).toEqual(["a"]);
    expect([...store.keys({ gt: "", prefix: "" })]).toEqual(["a"]);
  });

  test("nextv takes a count", async () => {
    const keys = store.keys();
    for (const count of [0, -1, Number.NaN, undefined, null, "5", 5n, {}]) {
      await expectError(() => keys.nextv(count as number), "INVALID_ARGUMENT", "nextv", "count");
    }
    expect(keys.nextv(Number.POSITIVE_INFINITY)).toEqual(["a"]);
  });

  test("options of a write are an object of options that exist", async () => {
    for (const options of [null, "sync", 5, true]) {
      await expectError(() => loose.set("a", "2", options), "INVALID_ARGUMENT", "set", "options");
      await expectError(() => loose.put("a", "2", options), "INVALID_ARGUMENT", "put", "options");
      await expectError(() => loose.delete("a", options), "INVALID_ARGUMENT", "delete", "options");
      await expectError(() => loose.del("a", options), "INVALID_ARGUMENT", "del", "options");
    }
    await expectError(() => loose.set("a", "2", { sync: true }), "INVALID_ARGUMENT", "set", "sync");
    await expectError(() => loose.delete("a", { sync: true }), "INVALID_ARGUMENT", "delete", "sync");
    expect(loose.set("a", "1", {})).toBe(true);
    expect(loose.set("a", "1", { ifVersion: undefined })).toBe(true);
  });
});

describe("what later versions bring is UNSUPPORTED", () => {
  test("options of open", async () => {
    const options: [object, string][] = [
      [{ encryption: { passphrase: "secret" } }, "encryption"],
      [{ engine: "hybrid-log" }, "hybrid-log"],
      [{ engine: "append-log" }, "append-log"],
      [{ engine: "lsm" }, "lsm"],
    ];
    for (const [given, named] of options)
      await expectError(() => openRaw(":memory:", given), "UNSUPPORTED", "open", named);
  });
});

describe("options of open", () => {
  test("are checked one by one, and the option is named", async () => {
    const wrong: [unknown, string][] = [
      [null, "options"],
      ["create", "options"],
      [5, "options"],
      [[], "options"],
      [{ creat: true }, "creat"],
      [{ engine: "btree" }, "engine"],
      [{ engine: null }, "engine"],
      [{ create: "yes" }, "create"],
      [{ format: 1 }, "format"],
      [{ readOnly: "false" }, "readOnly"],
      [{ format: true, readOnly: true }, "readOnly"],
      [{ durability: "strong" }, "durability"],
      [{ durability: true }, "durability"],
      [{ flushIntervalMs: 0 }, "flushIntervalMs"],
      [{ flushIntervalMs: "100" }, "flushIntervalMs"],
      [{ flushIntervalMs: Number.NaN }, "flushIntervalMs"],
      [{ flushIntervalMs: 4_000_000 }, "flushIntervalMs"],
      [{ cacheBytes: -1 }, "cacheBytes"],
      [{ cacheBytes: Number.POSITIVE_INFINITY }, "cacheBytes"],
      [{ writeBufferBytes: 1000 }, "writeBufferBytes"],
      [{ writeBufferBytes: 2 ** 31 }, "writeBufferBytes"],
      [{ writeBufferBytes: 2 ** 26, memoryBytes: 2 ** 26 }, "writeBufferBytes"],
      [{ memoryBytes: 1_000_000 }, "memoryBytes"],
      [{ memoryBytes: 2 ** 32 }, "memoryBytes"],
      [{ memoryBytes: 100n }, "memoryBytes"],
      [{ keyEncoding: "utf16" }, "keyEncoding"],
      [{ valueEncoding: 5 }, "valueEncoding"],
      [{ valueEncoding: { name: "half", encode: () => "" } }, "valueEncoding"],
      [{ valueEncoding: { encode: () => "", decode: () => "" } }, "valueEncoding"],
      [{ onEvent: "log" }, "onEvent"],
      [{ onProgress: 1 }, "onProgress"],
      [{ compression: "zip" }, "compression"],
    ];
    for (const [options, named] of wrong) {
      await expectError(() => openRaw(":memory:", options), "INVALID_ARGUMENT", "open", named);
    }
  });

  test("may be there with no value", async () => {
    const empty = await openRaw(":memory:", {
      memoryBytes: MEMORY_BYTES,
      create: undefined,
      encryption: undefined,
      engine: "dual",
      compression: "none",
    });
    await empty.close();
  });

  test("a target is a path, a file: URL or a BlockDevice", async () => {
    const targets = [
      undefined,
      null,
      5,
      "",
      "a\0b",
      {},
      [],
      true,
      () => "x",
      new Uint8Array(4096),
      new URL("https://example.org/store"),
    ];
    for (const target of targets) {
      await expectError(() => openRaw(target, { memoryBytes: MEMORY_BYTES }), "INVALID_ARGUMENT", "open", "target");
    }
    const half = { size: () => 0, read: () => 0, write: () => 0 };
    await expectError(() => openRaw(half), "INVALID_ARGUMENT", "open", "BlockDevice");
  });
});

describe("a closed store", () => {
  test("answers every call with CLOSED, and closes again without a word", async () => {
    const closed = await open(":memory:");
    closed.set("a", "1");
    const batch = closed.batch().set("b", "2");
    const keys = closed.keys();
    await closed.close();
    const calls: [string, () => unknown][] = [
      ["get", () => closed.get("a")],
      ["getMany", () => closed.getMany(["a"])],
      ["has", () => closed.has("a")],
      ["set", () => closed.set("a", "2")],
      ["delete", () => closed.delete("a")],
      ["put", () => closed.put("a", "2")],
      ["del", () => closed.del("a")],
      ["batch", () => closed.batch([{ type: "delete", key: "a" }])],
      ["batch", () => closed.batch([])],
      ["batch", () => closed.batch()],
      ["batch", () => batch.commit()],
      ["batch", () => batch.commitDurable()],
      ["entries", () => closed.entries()],
      ["entries", () => closed[Symbol.iterator]()],
      ["keys", () => closed.keys()],
      ["values", () => closed.values()],
      ["count", () => closed.count()],
      ["count", () => closed.count({ gt: "a" })],
      ["clear", () => closed.clear()],
      ["flush", () => closed.flush()],
      ["flushSync", () => closed.flushSync()],
      ["stats", () => closed.stats()],
      ["keys", () => keys.next()],
      ["keys", () => keys.nextv(2)],
      ["seek", () => keys.seek("a")],
    ];
    for (const [operation, call] of calls) await expectError(call, "CLOSED", operation);
    expect(closed.close()).toBe(closed.close());
    await closed.close();
    await closed[Symbol.asyncDispose]();
  });

  test("is closed from the call on, and keeps what was written before", async () => {
    const device = new ImageDevice();
    const first = await open(device);
    const written = first.put("durable", "1");
    first.set("buffered", "2");
    const closing = first.close();
    expect(await codeOf(() => first.get("durable"))).toBe("CLOSED");
    expect(await written).toBe(true);
    await closing;
    const second = await open(device.reopen());
    expect([...second.entries()]).toEqual([
      ["buffered", "2"],
      ["durable", "1"],
    ]);
    await second.close();
  });

  test("settles what was under way, whenever it is closed", async () => {
    for (const syncMs of [0, 2]) {
      for (let turns = 0; turns < 12; turns++) {
        const device = new ImageDevice();
        const busy = await open(device);
        device.syncMs = syncMs;
        const writes = [busy.put("a", "1"), busy.batch([{ type: "set", key: "b", value: "2" }])];
        for (let i = 0; i < turns; i++) await null;
        const flushed = busy.flush();
        await busy.close();
        expect(await Promise.all([...writes, flushed])).toEqual([true, [true], undefined]);
        const again = await open(device.reopen());
        expect(again.count()).toBe(2);
        await again.close();
      }
    }
  });
});

test("promises reject, they do not throw", () => {
  const calls = [() => loose.put(""), () => loose.del(5), () => loose.batch(5), () => loose.getMany(5)];
  for (const call of calls) {
    const promise = call() as Promise<unknown>;
    promise.catch((error) => expect(error).toBeInstanceOf(CairnError));
    expect(promise).toBeInstanceOf(Promise);
  }
});
