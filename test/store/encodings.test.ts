/** Encodings: what goes in comes out, in the program's own hands, and what a codec does wrong changes nothing. */
import { afterEach, describe, expect, test } from "vitest";
import type { Codec, KeyEncoding, ValueEncoding } from "../../store/encoding.ts";
import type { OpenOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, open } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const encoder = new TextEncoder();
const stores: Store<never, never>[] = [];

async function opened<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(options: OpenOptions<K, V>) {
  const store = await open<K, V>(":memory:", options);
  stores.push(store as unknown as Store<never, never>);
  return store;
}

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

function pattern(size: number, first: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (first + index * 7) & 0xff);
}

const SIZES = [
  0, 1, 3, 4, 5, 8, 24, 25, 28, 29, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 4000, 4040, 4095, 4096, 4097,
  20_000, 131_071, 131_072, 131_073, 500_000,
];

describe("utf8", () => {
  test("gives back every kind of text, at every size", async () => {
    const store = await opened({});
    const kinds = {
      ascii: (size: number) => "a".repeat(size),
      latin1: (size: number) => "é".repeat(size),
      asciiThenNot: (size: number) => (size === 0 ? "" : `${"a".repeat(size - 1)}ÿ`),
      twoByte: (size: number) => "ж".repeat(size),
      threeByte: (size: number) => "€".repeat(size),
      pairs: (size: number) => "🙂".repeat(size),
      control: (size: number) => "\0\u0001\u007f".repeat(size),
      byteOrderMark: (size: number) => `\ufeff${"x".repeat(size)}\ufeff`,
    };
    for (const [kind, make] of Object.entries(kinds)) {
      for (const size of SIZES) store.set(`${kind} ${size}`, make(size));
    }
    for (const [kind, make] of Object.entries(kinds)) {
      for (const size of SIZES) {
        const name = `${kind} ${size}`;
        const text = make(size);
        expect(store.get(name) === text, name).toBe(true);
        expect((await store.getMany([name]))[0] === text, name).toBe(true);
        expect(store.values({ gte: name }).next().value === text, name).toBe(true);
      }
    }
  });

  test("keeps keys as text, long and short, in the order of their UTF-8", async () => {
    const store = await opened({});
    const keys = ["", "a", "é", "ж", "€", "🙂", "\uffff", "\ufeff", "\0"].flatMap((text) => [
      `${text}x`,
      `${text}${"n".repeat(26)}`,
      `${text}${"n".repeat(27)}`,
      `${text}${"é".repeat(15)}`,
      `${text}${"€".repeat(600)}`,
      `${text}${"n".repeat(1023)}`,
      `${text}${"n".repeat(1024)}`,
      `${text}${"n".repeat(2040)}`,
    ]);
    keys.forEach((key, index) => void store.set(key, `${index}`));
    keys.forEach((key, index) => void expect(store.get(key)).toBe(`${index}`));
    const ordered = [...keys].sort((a, b) => Buffer.compare(encoder.encode(a), encoder.encode(b)));
    expect([...store.keys()]).toEqual(ordered);
    // A pair comes behind what UTF-16 puts behind it.
    expect(ordered.indexOf("🙂x")).toBeGreaterThan(ordered.indexOf("\uffffx"));
  });

  test("stores U+FFFD in place of a lone surrogate", async () => {
    const store = await opened({});
    for (const lone of [
      "\ud800",
      "\udc00",
      `${"a".repeat(40)}\ud83d`,
      "\udc00\ud800",
      `${"b".repeat(140_000)}\udfff`,
    ]) {
      const clean = lone.replace(/[\ud800-\udfff]/g, "\ufffd");
      store.set("value", lone);
      expect(store.get("value")).toBe(clean);
      if (lone.length > 600) continue;
      store.set(lone, "key");
      expect(store.get(clean)).toBe("key");
      expect(store.has(lone)).toBe(true);
      expect([...store.keys({ gte: lone, lte: lone })]).toEqual([clean]);
      expect((await store.getMany([lone]))[0]).toBe("key");
      await store.batch([{ type: "set", key: `${lone}!`, value: lone }]);
      expect(store.get(`${clean}!`)).toBe(clean);
    }
  });

  test("gives text for bytes that another encoding stored, and bytes for text", async () => {
    const device = new ImageDevice();
    const binary = await open(device, { keyEncoding: "binary", valueEncoding: "binary" });
    binary.set(encoder.encode("ключ"), encoder.encode("значение"));
    binary.set(encoder.encode("broken"), Uint8Array.of(0x61, 0xff, 0x62));
    binary.set(encoder.encode("ascii"), encoder.encode("plain"));
    await binary.close();
    const text = await open(device.reopen());
    expect(text.get("ключ")).toBe("значение");
    expect(text.get("broken")).toBe("a\ufffdb");
    expect(text.get("ascii")).toBe("plain");
    text.set("both", "ä");
    await text.close();
    const again = await open(device.reopen(), { valueEncoding: "binary" });
    expect(again.get("both")).toEqual(encoder.encode("ä"));
    await again.close();
  });
});

describe("binary", () => {
  test("gives back all bytes, at every size and alignment", async () => {
    const store = await opened({ keyEncoding: "binary", valueEncoding: "binary" });
    for (const size of SIZES) {
      for (let key = 1; key <= 9; key++) {
        const name = pattern(key, size);
        store.set(name, pattern(size, key));
        const expected = pattern(size, key);
        expect(Buffer.compare(expected, store.get(name) as Uint8Array)).toBe(0);
        expect(Buffer.compare(expected, (await store.getMany([name]))[0] as Uint8Array)).toBe(0);
        expect(Buffer.compare(expected, store.values({ gte: name }).next().value)).toBe(0);
      }
    }
  });

  test("takes buffers, parts of buffers and of shared memory, and reads only what they cover", async () => {
    const store = await opened({ keyEncoding: "binary", valueEncoding: "binary" });
    const around = pattern(100, 1);
    const part = around.subarray(10, 15);
    store.set(part, around.subarray(20, 60));
    expect(store.get(Uint8Array.from(part))).toEqual(around.slice(20, 60));
    store.set(Buffer.from("from a buffer"), Buffer.from("value"));
    expect(store.get(encoder.encode("from a buffer"))).toEqual(encoder.encode("value"));
    const shared = new Uint8Array(new SharedArrayBuffer(16), 4, 8).fill(7);
    store.set(shared, shared);
    expect(store.get(shared)).toEqual(new Uint8Array(8).fill(7));
    const large = pattern(400_000, 3);
    store.set(part, large.subarray(1, 399_999));
    expect(Buffer.compare(large.subarray(1, 399_999), store.get(part) as Uint8Array)).toBe(0);
    await store.batch([{ type: "set", key: around.subarray(30, 32), value: around.subarray(50, 51) }]);
    expect(store.get(around.slice(30, 32))).toEqual(around.slice(50, 51));
    expect([...store.keys({ prefix: around.subarray(30, 31) })]).toEqual([around.slice(30, 32)]);
  });

  test("is not touched by what is done to the arguments afterwards", async () => {
    const store = await opened({ keyEncoding: "binary", valueEncoding: "binary" });
    for (const size of [5, 200, 5000, 300_000]) {
      const key = pattern(8, size);
      const value = pattern(size, 1);
      store.set(key, value);
      const written = store.put(pattern(9, size), value);
      value.fill(0);
      key.fill(0);
      await written;
      for (const name of [pattern(8, size), pattern(9, size)]) {
        expect(Buffer.compare(pattern(size, 1), store.get(name) as Uint8Array)).toBe(0);
      }
    }
  });

  test("gives results that no later call changes, and whose change the store does not see", async () => {
    const store = await opened({ keyEncoding: "binary", valueEncoding: "binary", writeBufferBytes: 262_144 });
    const results: { got: Uint8Array; copy: Uint8Array }[] = [];
    const keep = (got: Uint8Array | undefined): void => {
      results.push({ got: got as Uint8Array, copy: (got as Uint8Array).slice() });
    };
    for (const size of [0, 1, 3, 17, 100, 128, 129, 255, 256, 257, 3000, 4500, 100_000, 200_000]) {
      const key = encoder.encode(`key ${size}`);
      store.set(key, pattern(size, 1));
      keep(store.get(key));
      keep((await store.getMany([key]))[0]);
      keep(store.values({ gte: key }).next().value);
      keep(store.keys({ gte: key }).next().value);
      for (const array of store.entries({ gte: key, lte: key }).next().value ?? []) keep(array);
    }
    for (let i = 0; i < 3000; i++) store.set(encoder.encode(`key ${i % 500}`), pattern(200 + i, 9));
    for (const [key] of store.entries()) store.delete(key);
    await store.flush();
    for (const { got, copy } of results) expect(got).toEqual(copy);

    const key = encoder.encode("mine");
    for (const size of [10, 200, 3000, 200_000]) {
      store.set(key, pattern(size, 1));
      const first = store.get(key) as Uint8Array;
      const second = store.get(key) as Uint8Array;
      first.fill(0xee);
      expect(second).toEqual(pattern(size, 1));
      expect(store.get(key)).toEqual(pattern(size, 1));
    }
  });
});

describe("json", () => {
  test("gives back what JSON keeps, as keys too", async () => {
    const store = await opened({ keyEncoding: "json", valueEncoding: "json" });
    const values = [
      null,
      true,
      0,
      -1.5,
      1e300,
      "",
      "text €",
      [],
      {},
      [1, [2, { a: null }]],
      { a: { b: ["c"] } },
      "\ud800",
    ];
    values.forEach((value, index) => void store.set({ index }, value));
    values.forEach((value, index) => void expect(store.get({ index })).toEqual(value));
    const large = { text: "x".repeat(300_000), more: ["é".repeat(1000)] };
    store.set([1, "large"], large);
    expect(store.get([1, "large"])).toEqual(large);
    expect([...store.entries({ gte: [1, ""], lt: [2] })]).toEqual([[[1, "large"], large]]);
  });

  test("refuses what JSON cannot say, and changes nothing", async () => {
    const store = await opened({ valueEncoding: "json" });
    store.set("a", 1);
    const circular: { self?: unknown } = {};
    circular.self = circular;
    for (const value of [undefined, () => 1, Symbol("s"), 1n, circular]) {
      const error = await errorOf(() => store.set("a", value));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain("value");
      await expect(store.put("a", value)).rejects.toThrow();
      await expect(
        store.batch([
          { type: "set", key: "b", value: 2 },
          { type: "set", key: "a", value },
        ]),
      ).rejects.toThrow();
    }
    expect(store.get("a")).toBe(1);
    expect(store.count()).toBe(1);
  });

  test("says so when the stored bytes are no JSON", async () => {
    const device = new ImageDevice();
    const text = await open(device);
    text.set("a", "{broken");
    await text.close();
    const json = await open(device.reopen(), { valueEncoding: "json" });
    const error = await errorOf(() => json.get("a"));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain("json");
    expect(error.cause).toBeInstanceOf(SyntaxError);
    expect(await codeOf(() => json.getMany(["a"]))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => [...json.values()])).toBe("INVALID_ARGUMENT");
    json.set("a", 5);
    expect(json.get("a")).toBe(5);
    await json.close();
  });
});

describe("a codec", () => {
  /** Dates, as text of fixed width. */
  const DATE: Codec<Date> = {
    name: "date",
    encode: (date) => date.toISOString(),
    decode: (bytes) => new Date(new TextDecoder().decode(bytes)),
  };

  test("stands for keys and for values", async () => {
    const store = await opened({ keyEncoding: DATE, valueEncoding: DATE });
    const days = [3, 1, 2].map((day) => new Date(Date.UTC(2024, 0, day)));
    for (const day of days) store.set(day, new Date(day.getTime() + 1));
    expect(store.get(days[1] as Date)).toEqual(new Date(Date.UTC(2024, 0, 1) + 1));
    expect([...store.keys()].map((day) => day.getUTCDate())).toEqual([1, 2, 3]);
    expect([...store.keys({ gt: days[1] as Date })].map((day) => day.getUTCDate())).toEqual([2, 3]);
    expect(await codeOf(() => store.keys({ prefix: days[0] as Date }))).toBe("INVALID_ARGUMENT");
  });

  test("that throws is named, and nothing has changed", async () => {
    const picky: Codec<string> = {
      name: "picky",
      encode: (text) => {
        if (text === "bad") throw new RangeError("not this one");
        return text;
      },
      decode: (bytes) => {
        const text = new TextDecoder().decode(bytes);
        if (text === "unreadable") throw new RangeError("cannot read it");
        return text;
      },
    };
    const store = await opened({ keyEncoding: picky, valueEncoding: picky });
    store.set("a", "1");
    const calls: (() => unknown)[] = [
      () => store.set("bad", "x"),
      () => store.set("a", "bad"),
      () => store.put("a", "bad"),
      () => store.get("bad"),
      () => store.has("bad"),
      () => store.delete("bad"),
      () => store.del("bad"),
      () => store.getMany(["a", "bad"]),
      () =>
        store.batch([
          { type: "set", key: "b", value: "2" },
          { type: "set", key: "a", value: "bad" },
        ]),
      () =>
        store.batch([
          { type: "delete", key: "a" },
          { type: "delete", key: "bad" },
        ]),
      () => store.batch().delete("a").set("a", "bad").commit(),
      () => store.batch().delete("a").set("a", "bad").commitDurable(),
      () => store.keys({ gte: "bad" }),
      () => store.count({ lt: "bad" }),
      () => store.clear({ gt: "bad" }),
      () => store.keys().seek("bad"),
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain("picky");
      expect(error.message).toMatch(/The key is "(a|bad)"/);
      expect(error.cause).toBeInstanceOf(RangeError);
    }
    expect([...store.entries()]).toEqual([["a", "1"]]);

    store.set("b", "unreadable");
    store.set("c", "3");
    const snapshot = store.snapshot();
    const reads: (() => unknown)[] = [
      () => store.get("b"),
      () => store.getEntry("b"),
      () => store.getAsync("b"),
      () => store.getMany(["a", "b"]),
      () => [...store.entries()],
      () => store.entries().nextvAsync(9),
      () => snapshot.get("b"),
      () => snapshot.getAsync("b"),
      () => snapshot.getMany(["a", "b"]),
      () => store.transaction((tx) => tx.get("b")),
      () => store.transact((tx) => tx.getAsync("b")),
      () => store.update("b", () => "x"),
      () => store.transaction((tx) => [tx.set("b", "unreadable"), tx.get("b")]),
    ];
    for (const call of reads) {
      const error = await errorOf(call);
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message, call.toString()).toContain("picky");
      expect(error.message, call.toString()).toMatch(/The key is ("b"|0x62)/);
      expect(error.message.match(/The key is/g)).toHaveLength(1);
      expect(error.cause).toBeInstanceOf(RangeError);
    }
    snapshot.close();
    const json = store.sub("json", { valueEncoding: "json" });
    store.sub("json").set("k", "no json");
    const refused: (() => unknown)[] = [
      () => json.get("k"),
      () => json.getAsync("k"),
      () => json.getMany(["k"]),
      () => [...json.entries()],
      () => json.set("k", () => 1),
      () => json.batch([{ type: "set", key: "k", value: 1n }]),
      () => json.transaction((tx) => tx.set("k", 1n)),
    ];
    for (const call of refused) {
      const { message } = await errorOf(call);
      expect(message, call.toString()).toContain("json");
      expect(message, call.toString()).toContain('The key is "k"');
    }
    expect(store.sub("json").get("k")).toBe("no json");
    json.clear();
    // The walk ends where it failed: it does not pass over what it could not read.
    const before = store.stats().snapshotCount;
    const values = store.values({ gte: "b" });
    await errorOf(() => values.next());
    expect(values.next().done).toBe(true);
    expect(store.stats().snapshotCount).toBe(before);
    expect(store.get("c")).toBe("3");
    expect(store.has("b")).toBe(true);
  });

  test("and its key are named where values without keys are walked, whole, large, pending or of JSON", async () => {
    const picky: Codec<string> = {
      name: "picky",
      encode: (value) => encoder.encode(value),
      decode: (bytes) => {
        const text = new TextDecoder().decode(bytes);
        if (text.startsWith("bad")) throw new Error("not liked");
        return text;
      },
    };
    const store = await opened({});
    const face = store.sub("face", { valueEncoding: picky });
    face.set("a", "good");
    const walks = async (expected: string[]) => {
      const refused = [
        () => [...face.values()],
        () => face.values().nextv(5),
        () => face.values().nextvAsync(5),
        () => face.entries().nextvAsync(5),
        () => [...face.snapshot().values()],
      ];
      for (const walk of refused) {
        const { code, message } = await errorOf(walk);
        expect(code).toBe("INVALID_ARGUMENT");
        for (const part of expected) expect(message).toContain(part);
      }
    };
    expect([...face.values()]).toEqual(["good"]);
    face.set("b", "bad");
    await walks(['The key is "b"', "picky"]);
    face.set("b", `bad${"x".repeat(3_000_000)}`);
    await walks(['The key is "b"', "picky"]);
    face.delete("b");
    const pending = await errorOf(() =>
      face.transaction((tx) => {
        tx.set("c", "bad");
        return [...tx.values()];
      }),
    );
    expect(pending.message).toContain('The key is "c", the encoding picky');
    store.sub("json").set("d", "{not");
    const json = await errorOf(() => [...store.sub("json", { valueEncoding: "json" }).values()]);
    expect(json.message).toContain('The key is "d", the encoding json');
  });

  test("that gives neither text nor bytes is refused", async () => {
    const wrong: Codec = { name: "wrong", encode: (value) => value as string, decode: (bytes) => bytes };
    const store = await opened({ valueEncoding: wrong });
    for (const value of [undefined, null, 5, {}, [1], new Uint16Array(2), new ArrayBuffer(2)]) {
      const error = await errorOf(() => store.set("a", value));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain("wrong");
    }
    expect(store.count()).toBe(0);
  });

  test("may use the store while it encodes and decodes", async () => {
    let use: (() => void) | undefined;
    const nosy: Codec<string> = {
      name: "nosy",
      encode: (text) => {
        use?.();
        return text;
      },
      decode: (bytes) => {
        const copy = new TextDecoder().decode(bytes);
        use?.();
        return copy;
      },
    };
    const store = await opened({ keyEncoding: nosy, valueEncoding: nosy, writeBufferBytes: 262_144 });
    const sizes = [1, 100, 128, 129, 1000, 4000, 9000, 100_000, 120_000, 150_000];
    const expected = sizes.map(
      (size) => [`key ${String(size).padStart(8, "0")}`, "v".repeat(size)] as [string, string],
    );
    for (const [key, value] of expected) store.set(key, value);
    let calls = 0;
    use = () => {
      const kept = use;
      use = undefined;
      calls++;
      store.set(`noise ${calls % 7}`, "n".repeat((calls * 613) % 6000));
      store.get("key 00009000");
      store.get("key 00150000");
      store.delete(`noise ${(calls + 3) % 7}`);
      for (const _ of store.entries({ gte: "key", limit: 9 }));
      use = kept;
    };
    for (const [key, value] of expected) expect(store.get(key) === value, key).toBe(true);
    const got = await store.getMany(expected.map(([key]) => key));
    for (const [index, [key, value]] of expected.entries()) expect(got[index] === value, key).toBe(true);
    const walked = [...store.entries({ gte: "key", lt: "kez" })];
    expect(walked.map(([key, value]) => `${key} ${value.length}`)).toEqual(
      expected.map(([key, value]) => `${key} ${value.length}`),
    );
    for (const [index, [key, value]] of walked.entries()) expect(value === expected[index]?.[1], key).toBe(true);
    await store.batch(expected.map(([key, value]) => ({ type: "set", key: `copy of ${key}`, value })));
    for (const [key, value] of expected) expect(store.get(`copy of ${key}`) === value, key).toBe(true);
    expect(calls).toBeGreaterThan(50);
  });

  test("may give the same buffer again and again", async () => {
    const scratch = new Uint8Array(1000);
    const thrifty: Codec<string> = {
      name: "thrifty",
      encode: (text) => scratch.subarray(0, encoder.encodeInto(text, scratch).written),
      decode: (bytes) => new TextDecoder().decode(bytes),
    };
    const store = await opened({ keyEncoding: thrifty, valueEncoding: thrifty });
    store.set("key one", "value");
    await store.batch([
      { type: "set", key: "key two", value: "2" },
      { type: "set", key: "key three", value: "33" },
    ]);
    expect(await store.getMany(["key one", "key two", "key three"])).toEqual(["value", "2", "33"]);
    expect([...store.keys({ gte: "key t", lte: "key three" })]).toEqual(["key three"]);
    expect(store.count()).toBe(3);
  });
});
