/** Partial updates: what they make of a value, what they leave alone, and that a refused one changes nothing. */
import { afterEach, describe, expect, test } from "vitest";
import type { Codec } from "../../store/encoding.ts";
import { mergePatch } from "../../store/merge-patch.ts";
import type { Store } from "../../store/store.ts";
import { Clock } from "./clock.ts";
import { codeOf, errorOf, open, openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const MIB = 1_048_576;
const VALUE_MAX = 64 * MIB;
const encoder = new TextEncoder();
const seed = runSeed();

/** What is verified and closed after the test. */
let store: Store<unknown, unknown> | undefined;

async function opened(options: object = {}): Promise<Store<string, string>> {
  const made = await open(":memory:", options);
  store = made as unknown as Store<unknown, unknown>;
  return made;
}

afterEach(async () => {
  if (store === undefined) return;
  expect((await store.verify()).faults).toEqual([]);
  expect(store.stats().snapshotCount).toBe(0);
  await store.close();
  store = undefined;
});

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

describe("append and patch", () => {
  test("text and bytes, on keys that are there and on keys that are not", async () => {
    const text = await opened();
    expect(text.append("a", "one")).toBe(true);
    expect(text.append("a", ", two")).toBe(true);
    expect(text.append("a", encoder.encode(", drei é"))).toBe(true);
    expect(text.append("a", "")).toBe(true);
    expect(text.get("a")).toBe("one, two, drei é");
    expect(text.patch("a", 0, "ONE")).toBe(true);
    expect(text.patch("a", 5, "TWO")).toBe(true);
    expect(text.patch("a", "one, two, drei é".length + 1, "!")).toBe(true);
    expect(text.patch("a", 16, "?!?")).toBe(true);
    expect(text.get("a")).toBe("ONE, TWO, drei \u{fffd}?!?");
    expect(text.patch("b", 0, "new")).toBe(true);
    expect(text.append("c", "")).toBe(true);
    expect([...text.entries({ gt: "a" })]).toEqual([
      ["b", "new"],
      ["c", ""],
    ]);
  });

  test("whatever the sizes, against a buffer", async () => {
    const random = new Random(seed);
    const device = new ImageDevice();
    const bytes = await openTiny(device, {
      keyEncoding: "binary",
      valueEncoding: "binary",
      writeBufferBytes: 262_144,
      cacheBytes: 262_144,
    });
    store = bytes as unknown as Store<unknown, unknown>;
    const key = Uint8Array.of(1);
    let expected = new Uint8Array(0);
    for (let i = 0; i < 400; i++) {
      const size = random.pick([0, 1, 7, 8, 100, 128, 129, 4000, 70_000, 140_000]);
      const piece = new Uint8Array(size).fill(i);
      const appends = random.chance(0.5);
      const offset = appends ? expected.length : random.between(0, expected.length);
      const next = new Uint8Array(Math.max(expected.length, offset + size));
      next.set(expected);
      next.set(piece, offset);
      if (appends) bytes.append(key, piece);
      else bytes.patch(key, offset, piece);
      expected = next;
      const got = bytes.get(key) as Uint8Array;
      expect(got.length, `seed ${seed}, step ${i}`).toBe(expected.length);
      expect(equal(got, expected), `seed ${seed}, step ${i}`).toBe(true);
      if (expected.length > 900_000) {
        bytes.set(key, new Uint8Array(0));
        expected = new Uint8Array(0);
      }
      // From the device as well as from memory.
      if (random.chance(0.2)) bytes.flushSync();
      if (random.chance(0.1)) for (let n = 0; n < 40; n++) bytes.set(Uint8Array.of(2), new Uint8Array(9000));
    }
  });

  test("what goes too far is refused", async () => {
    const text = await opened({ memoryBytes: 192 * MIB });
    text.set("a", "1234");
    const { version } = text;
    expect(await codeOf(() => text.patch("a", 5, "x"))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => text.patch("a", 5, ""))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => text.patch("a", 5, "x".repeat(200_000)))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => text.patch("a", 2 ** 40, "x"))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => text.patch("none", 1, "x"))).toBe("OUT_OF_RANGE");
    for (const offset of [5, 2 ** 40]) {
      for (const patch of [
        () => text.patch("a", offset, "x"),
        () => text.transaction((tx) => tx.patch("a", offset, "x")),
      ]) {
        const { message } = await errorOf(patch);
        expect(message, "regression: every patch behind the end says where the end is").toBe(
          `patch: the value has ${text.get("a")?.length} bytes, so none can be written at ${offset}. Nothing was changed.`,
        );
      }
    }
    expect((await errorOf(() => text.patch("none", 1, "x"))).message).toContain("the value has 0 bytes");
    for (const offset of [-1, 1.5, "1", null, undefined, Number.NaN, 2 ** 53]) {
      expect(await codeOf(() => text.patch("a", offset as number, "x"))).toBe("INVALID_ARGUMENT");
    }
    for (const bytes of [1, null, undefined, {}, [1], new ArrayBuffer(2)]) {
      expect(await codeOf(() => text.append("a", bytes as string))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => text.patch("a", 0, bytes as string))).toBe("INVALID_ARGUMENT");
    }
    expect(await codeOf(() => text.append("", "x"))).toBe("KEY_SIZE");
    expect(await codeOf(() => text.append("k".repeat(2049), "x"))).toBe("KEY_SIZE");
    expect([...text]).toEqual([["a", "1234"]]);
    text.set("max", "m".repeat(VALUE_MAX - 1));
    expect(await codeOf(() => text.append("max", "xy"))).toBe("VALUE_SIZE");
    for (const piece of ["xy", "x".repeat(200_000)]) {
      const { message } = await errorOf(() => text.append("max", piece));
      expect(message, "regression: a small piece, too, says what the limit is").toContain(`the limit of ${VALUE_MAX}`);
      expect(message).toContain("Nothing was changed.");
    }
    expect(await codeOf(() => text.patch("max", VALUE_MAX - 1, "xy"))).toBe("VALUE_SIZE");
    expect(await codeOf(() => text.append("max", "x".repeat(200_000)))).toBe("VALUE_SIZE");
    expect(text.getEntry("max")?.version).toBe(version + 1);
    expect(text.append("max", "x")).toBe(true);
    expect(await codeOf(() => text.append("max", "x"))).toBe("VALUE_SIZE");
    expect(text.append("max", "")).toBe(true);
  }, 30_000);
});

describe("increment", () => {
  test("counts in decimal digits, from nothing and over every boundary", async () => {
    const text = await opened();
    expect(text.increment("n")).toBe(1n);
    expect(text.increment("n")).toBe(2n);
    expect(text.increment("n", 40n)).toBe(42n);
    expect(text.increment("n", -50n)).toBe(-8n);
    expect(text.increment("n", 0n)).toBe(-8n);
    expect(text.get("n")).toBe("-8");
    const least = -(2n ** 63n);
    const most = 2n ** 63n - 1n;
    for (const value of [9n, 99n, 999_999n, -10n, 2n ** 31n - 1n, 2n ** 53n, 10n ** 18n, most - 1n, least]) {
      text.set("n", `${value}`);
      expect(text.increment("n", 1n)).toBe(value + 1n);
      expect(text.increment("n", -1n)).toBe(value);
      expect(text.get("n")).toBe(`${value}`);
    }
    expect(text.increment("most", most)).toBe(most);
    expect(text.get("most")).toBe("9223372036854775807");
    expect(text.increment("least", least)).toBe(least);
    expect(text.get("least")).toBe("-9223372036854775808");
    expect(text.increment("least", most)).toBe(-1n);
  });

  test("refuses what is no number, and sums that are none", async () => {
    const text = await opened();
    const none = ["", "-", "x", "1x", " 1", "1 ", "1.5", "+1", "01", "-0", "00", "1e3", "0x1", "9223372036854775808"];
    none.push("-9223372036854775809", "99999999999999999999", "1".repeat(30), "é", "1".repeat(200_000));
    for (const value of none) {
      text.set("n", value);
      const { version } = text;
      expect(await codeOf(() => text.increment("n")), value.slice(0, 30)).toBe("NOT_A_NUMBER");
      expect(text.get("n") === value).toBe(true);
      expect(text.version).toBe(version);
    }
    text.set("n", "9223372036854775807");
    expect(await codeOf(() => text.increment("n"))).toBe("OUT_OF_RANGE");
    text.set("m", "-9223372036854775808");
    expect(await codeOf(() => text.increment("m", -1n))).toBe("OUT_OF_RANGE");
    expect(await codeOf(() => text.increment("m", 2n ** 63n))).toBe("OUT_OF_RANGE");
    for (const by of [1, "1", null, 1.5, true]) {
      const error = await errorOf(() => text.increment("m", by as unknown as bigint));
      expect(error).toMatchObject({ code: "INVALID_ARGUMENT", operation: "increment" });
      expect(error.message).toContain("by");
    }
    expect([...text.values()]).toEqual(["-9223372036854775808", "9223372036854775807"]);
  });

  test("under every encoding, and in JSON it is a number", async () => {
    const json = await open(":memory:", { valueEncoding: "json" });
    json.set("n", 41);
    expect(json.increment("n")).toBe(42n);
    expect(json.get("n")).toBe(42);
    json.set("n", "41");
    expect(await codeOf(() => json.increment("n"))).toBe("NOT_A_NUMBER");
    await json.close();
    const binary = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary" });
    binary.increment(Uint8Array.of(7), 12n);
    expect([...(binary.get(Uint8Array.of(7)) as Uint8Array)]).toEqual([0x31, 0x32]);
    await binary.close();
  });

  test("hot counters are updated where they lie, and all of it is there after reopening", async () => {
    const device = new ImageDevice();
    let kept = await open(device, { flushIntervalMs: 5 });
    const rounds = 20_000;
    for (let i = 0; i < rounds; i++) kept.increment(`c${i % 7}`, BigInt(i));
    expect(kept.stats().inPlaceUpdateCount).toBeGreaterThan(rounds / 2);
    await kept.close();
    kept = await open(device.reopen());
    let sum = 0n;
    for (const value of kept.values()) sum += BigInt(value);
    expect(sum).toBe((BigInt(rounds) * BigInt(rounds - 1)) / 2n);
    await kept.close();
  });
});

describe("merge", () => {
  // Appendix A of RFC 7396.
  const cases: [unknown, unknown, unknown][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];

  test("as RFC 7396 has it, under JSON, text, bytes and a codec", async () => {
    const codec: Codec = {
      name: "reversed",
      encode: (value) => encoder.encode([...JSON.stringify(value)].reverse().join("")),
      decode: (bytes) => JSON.parse([...new TextDecoder().decode(bytes)].reverse().join("")),
    };
    for (const valueEncoding of ["json", "utf8", "binary", codec] as const) {
      const made = (await open(":memory:", { valueEncoding: valueEncoding as "json" })) as Store<string, unknown>;
      const out = (value: unknown): unknown => {
        if (valueEncoding === "utf8") return JSON.stringify(value);
        return valueEncoding === "binary" ? encoder.encode(JSON.stringify(value)) : value;
      };
      for (const [value, patch, expected] of cases) {
        made.set("k", out(value));
        expect(made.merge("k", patch)).toBe(true);
        expect(made.get("k")).toEqual(out(expected));
      }
      expect(made.merge("new", { a: 1, b: null })).toBe(true);
      expect(made.get("new")).toEqual(out({ a: 1 }));
      await made.close();
    }
  });

  test("leaves prototypes and what it was given alone", () => {
    const value = JSON.parse('{"a":{"x":1},"__proto__":{"b":1}}');
    const patch = JSON.parse('{"__proto__":{"polluted":true},"a":{"y":2}}');
    const before = JSON.stringify([value, patch]);
    const merged = mergePatch(value, patch) as Record<string, unknown>;
    expect(JSON.stringify(merged)).toBe('{"a":{"x":1,"y":2},"__proto__":{"b":1,"polluted":true}}');
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(JSON.stringify([value, patch])).toBe(before);
  });

  test("names the key and the encoding of what it cannot merge, and changes nothing", async () => {
    const text = await opened();
    text.set("notes:7", "no JSON");
    const { version } = text;
    const error = await errorOf(() => text.merge("notes:7", { a: 1 }));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", operation: "merge" });
    expect(error.message).toContain('"notes:7"');
    expect(error.message).toContain("utf8");
    expect(error.cause).toBeInstanceOf(SyntaxError);
    for (const patch of [undefined, () => 1, Symbol("s")]) {
      expect(await codeOf(() => text.merge("notes:7", patch))).toBe("INVALID_ARGUMENT");
    }
    const ring: Record<string, unknown> = {};
    ring["ring"] = [ring];
    expect(await codeOf(() => text.merge("other", ring))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => text.merge("other", { a: 1n }))).toBe("INVALID_ARGUMENT");
    expect([...text]).toEqual([["notes:7", "no JSON"]]);
    expect(text.version).toBe(version);
    // How deep JSON may go the runtime says, and a refusal of its is one of ours.
    let deep: unknown = 1;
    for (let i = 0; i < 200_000; i++) deep = { a: deep };
    let refusal: unknown = "INVALID_ARGUMENT";
    try {
      text.merge("other", deep);
    } catch (error) {
      refusal = (error as { code: unknown }).code;
    }
    expect(refusal).toBe("INVALID_ARGUMENT");
    expect(text.has("other")).toBe(text.version > version);
  });
});

describe("update", () => {
  test("reads, changes and writes, deletes and leaves alone", async () => {
    const text = await opened();
    expect(text.update("a", (value) => value ?? "first")).toBe("first");
    expect(text.update("a", (value) => `${value}!`)).toBe("first!");
    expect(text.update("a", () => undefined)).toBeUndefined();
    expect(text.has("a")).toBe(false);
    const { version } = text;
    expect(text.update("a", () => undefined)).toBeUndefined();
    expect(text.version).toBe(version);
    text.update("l", () => "l".repeat(300_000));
    text.update("l", (value) => `${value}é`);
    expect(text.get("l")?.length).toBe(300_001);
  });

  test("is undone by what fn throws, by a promise, and by a value that cannot be stored", async () => {
    const text = await opened();
    text.set("a", "1");
    const own = new Error("mine");
    expect(() =>
      text.update("a", () => {
        throw own;
      }),
    ).toThrow(own);
    expect(await codeOf(() => text.update("a", (async () => "2") as never))).toBe("INVALID_ARGUMENT");
    expect(
      await codeOf(() =>
        text.update("a", (async () => {
          throw own;
        }) as never),
      ),
    ).toBe("INVALID_ARGUMENT");
    const error = await errorOf(() => text.update("a", (() => 5) as never));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", operation: "update" });
    expect(error.message).toContain('"a"');
    expect(await codeOf(() => text.update("a", "x" as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => text.update("", () => "x"))).toBe("KEY_SIZE");
    expect([...text]).toEqual([["a", "1"]]);
  });

  test("lets fn use the store, but not write the same key", async () => {
    const text = await opened();
    text.set("a", "1");
    text.set("b", "2");
    const sum = text.update("a", (value) => {
      text.set("log", "updating");
      text.increment("count");
      text.update("b", (other) => `${other}${other}`);
      return `${value}${text.get("b")}${text.count()}${[...text.keys()].length}`;
    });
    expect(sum).toBe("12244");
    expect(text.get("a")).toBe("12244");
    const writes: (() => unknown)[] = [
      () => text.set("a", "x"),
      () => text.increment("a"),
      () => text.delete("a"),
      () => text.update("a", () => "x"),
      () => text.clear(),
    ];
    for (const write of writes) {
      text.clear();
      text.set("a", "1");
      const error = await errorOf(() =>
        text.update("a", () => {
          write();
          return "lost";
        }),
      );
      expect(error).toMatchObject({ code: "REENTRANT", operation: "update" });
      expect(text.get("a")).not.toBe("lost");
    }
    expect(
      await codeOf(() =>
        text.update("new", () => {
          text.set("new", "x");
          return "lost";
        }),
      ),
    ).toBe("REENTRANT");
    expect(text.get("new")).toBe("x");
  });

  test("a codec that writes the key meanwhile is found out as well", async () => {
    let made: Store<string, unknown> | undefined;
    let writes = false;
    const codec: Codec = {
      name: "busy",
      encode: (value) => {
        if (writes) {
          writes = false;
          made?.set("a", "by the codec");
        }
        return JSON.stringify(value);
      },
      decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
    };
    made = (await open(":memory:", { valueEncoding: codec })) as Store<string, unknown>;
    made.set("a", { n: 1 });
    writes = true;
    expect(await codeOf(() => made?.merge("a", { n: 2 }))).toBe("REENTRANT");
    expect(made.get("a")).toBe("by the codec");
    await made.close();
  });

  test("a store that fn closes takes no write", async () => {
    const text = await open(":memory:");
    let closed: Promise<void> | undefined;
    expect(
      await codeOf(() =>
        text.update("a", () => {
          closed = text.close();
          return "x";
        }),
      ),
    ).toBe("CLOSED");
    await closed;
  });
});

test("partial updates leave expiry and timestamp as they are", async () => {
  const clock = new Clock();
  const text = await opened();
  const words = { expiresAt: clock.now + 100, timestamp: 7 };
  const updates: [string, string, () => unknown, string][] = [
    ["append", "1", () => text.append("append", "2"), "12"],
    ["large", "1", () => text.append("large", "2".repeat(200_000)), `1${"2".repeat(200_000)}`],
    ["patch", "12", () => text.patch("patch", 1, "3"), "13"],
    ["increment", "9", () => text.increment("increment"), "10"],
    ["merge", "{}", () => text.merge("merge", { a: 1 }), '{"a":1}'],
    ["update", "1", () => text.update("update", (value) => `${value}2`), "12"],
  ];
  for (const [key, value, update, expected] of updates) {
    text.set(key, value, words);
    update();
    expect(text.getEntry(key), key).toMatchObject({ value: expected, ...words });
    text.set(`${key}:only`, value, { timestamp: 7 });
  }
  expect(text.increment("increment", -1n)).toBe(9n);
  expect(text.getEntry("increment")).toMatchObject(words);
  clock.turn(99);
  // fn takes its time: the record has expired when it returns, and so has what it becomes.
  expect(
    text.update("update", (value) => {
      clock.turn(1);
      return `${value}!`;
    }),
  ).toBe("12!");
  expect([...text.keys()].every((key) => key.endsWith(":only"))).toBe(true);
  // What has expired counts as absent.
  expect(text.increment("increment")).toBe(1n);
  expect(text.append("append", "new")).toBe(true);
  expect(text.getEntry("append")).toEqual({ value: "new", version: text.version });
});

test("a full device refuses a partial update whole, and takes it when there is room", async () => {
  const device = new ImageDevice(2 * MIB, false);
  const full = await openTiny(device, { durability: "manual", writeBufferBytes: 262_144 });
  full.set("n", "41");
  full.set("text", "a".repeat(100));
  let count = 0;
  let code: string | undefined;
  while (code === undefined) {
    try {
      full.set(`fill:${count}`, "f".repeat(3000));
      count++;
    } catch (error) {
      code = (error as { code: string }).code;
    }
  }
  expect(code).toBe("NO_SPACE");
  expect(await codeOf(() => full.append("text", "b".repeat(90_000)))).toBe("NO_SPACE");
  expect(await codeOf(() => full.append("text", "b".repeat(200_000)))).toBe("NO_SPACE");
  expect(full.get("text")).toBe("a".repeat(100));
  for (let i = 0; i < count; i++) full.delete(`fill:${i}`);
  expect(full.append("text", "b".repeat(90_000))).toBe(true);
  expect(full.get("text")).toBe("a".repeat(100) + "b".repeat(90_000));
  expect(full.increment("n")).toBe(42n);
  expect((await full.verify()).faults).toEqual([]);
  await full.close();
});
