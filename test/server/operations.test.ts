/** What protocols ask of a tenant's records: one after the other, text or bytes, pages, partial updates. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StoreOperations } from "../../adapters/server/operations/store-operations.ts";
import { Tenants } from "../../adapters/server/tenants.ts";
import type { Store } from "../../store/store.ts";
import { MemoryDevice, open, pause } from "../store/harness.ts";

const NO_TEXT = Uint8Array.of(0x61, 0xff, 0xfe);
const REPLACED = "a\ufffd b";

/** What a call throws or rejects with. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

let store: Store<unknown, unknown>;
let tenants: Tenants;
let of: StoreOperations;

beforeEach(async () => {
  store = (await open(new MemoryDevice())) as Store<unknown, unknown>;
  tenants = new Tenants(store, (tenant) => (tenant === "root" ? "" : tenant));
  of = tenants.operationsOf("one");
});
afterEach(() => store.close());

describe.each(["one", "root"])("the tenant %s", (tenant) => {
  beforeEach(() => {
    of = tenants.operationsOf(tenant);
  });

  test("gives text as text and other bytes as bytes, for keys of both kinds", async () => {
    const values = ["", "text", "übung", REPLACED, NO_TEXT, Uint8Array.of(), "x".repeat(9000)];
    for (const [i, value] of values.entries()) {
      for (const key of [`key ${i}`, Uint8Array.of(0x61, 0xfe, i)]) {
        expect(await of.put(key, value)).toBe(true);
        const shown = value instanceof Uint8Array && value.length === 0 ? "" : value;
        expect(await of.get(key)).toEqual(shown);
        const { version, ...entry } = (await of.getEntry(key)) ?? {};
        expect(entry).toEqual({ value: shown });
        expect(version).toBe(of.version);
        const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
        expect(new Uint8Array((await of.getBytes(key)) ?? [])).toEqual(bytes);
      }
    }
    const { records, truncated } = await of.range({});
    expect(truncated).toBe(false);
    expect(records.length).toBe(values.length * 2);
    expect(records.slice(0, values.length).map(({ key }) => key)).toEqual(
      values.map((_, i) => Uint8Array.of(0x61, 0xfe, i)).sort((a, b) => (a[2] as number) - (b[2] as number)),
    );
    expect(records.at(-1)).toEqual({ key: "key 6", value: "x".repeat(9000) });
  });

  test("shows writes to reads that are called behind them, before they are durable", async () => {
    const put = of.put("a", "1");
    expect(of.get("a")).toBe("1");
    const sum = of.increment("a", 5n);
    expect(of.get("a")).toBe("6");
    const patched = of.patch("a", "0", 100);
    expect(of.get("a")).toBe("60");
    const range = of.range({ start: "a", end: "a" });
    const deleted = of.delete("a");
    expect(of.get("a")).toBeUndefined();
    expect(await Promise.all([put, sum, patched, deleted])).toEqual([true, 6n, undefined, true]);
    expect(await range).toEqual({ records: [{ key: "a", value: "60" }], truncated: false });
    expect(await of.delete("a")).toBe(false);
  });
});

test("keys of one tenant are not there for another, as text or as bytes", async () => {
  const root = tenants.operationsOf("root");
  const two = tenants.operationsOf("two");
  await Promise.all([of.put("k", "1"), two.put("k", "2"), root.put("k", "0")]);
  expect([of.get("k"), two.get("k"), root.get("k")]).toEqual(["1", "2", "0"]);
  for (const operations of [of, two, root]) {
    const pages = [
      operations.range({}),
      operations.range({ start: Uint8Array.of(0x01), end: Uint8Array.of(0xff, 0xff) }),
    ];
    for (const page of await Promise.all(pages)) {
      expect(page.records).toEqual([{ key: "k", value: operations.get("k") }]);
    }
  }
  const inside = Uint8Array.of(0xff, 0x6f, 0x6e, 0x65, 0xff, 0x6b);
  const calls = [
    () => root.get(inside),
    () => root.getBytes(inside),
    () => root.getEntry(inside),
    () => root.put(inside, "x"),
    () => root.delete(inside),
    () => root.patch(inside, "x", 10),
    () => root.increment(inside, 1n),
  ];
  for (const call of calls) {
    expect(await errorOf(async () => call())).toMatchObject({ status: 400 });
  }
  expect(of.get("k")).toBe("1");
});

describe("a partial update", () => {
  const update = async (before: string | Uint8Array | undefined, patch: string, sizeMax = 1000) => {
    await of.delete("k");
    if (before !== undefined) await of.put("k", before);
    await of.patch("k", patch, sizeMax);
    return of.get("k");
  };

  test("creates what is missing, merges objects, and appends anything else", async () => {
    expect(await update(undefined, '{"a":null}')).toBe('{"a":null}');
    expect(await update('{"a":1,"n":{"x":1,"y":[1,2]}}', '{"b":2,"n":{"y":[3],"z":{"w":null,"v":1}}}')).toBe(
      '{"a":1,"n":{"x":1,"y":[3],"z":{"v":1}},"b":2}',
    );
    expect(await update(' {"a":1}', ' {"a":null}')).toBe("{}");
    expect(await update("Hello ", "World!")).toBe("Hello World!");
    expect(await update("[1]", "[2]")).toBe("[1][2]");
    expect(await update('{"a":1}', "[2]")).toBe('{"a":1}[2]');
    expect(await update("1", '{"a":1}')).toBe('1{"a":1}');
    expect(await update("{not JSON", '{"a":1}')).toBe('{not JSON{"a":1}');
    expect(await update(NO_TEXT, "!")).toEqual(Uint8Array.of(0x61, 0xff, 0xfe, 0x21));
    expect(await update('{"a":1}', '{"__proto__":{"polluted":1},"constructor":2}')).toBe(
      '{"a":1,"__proto__":{"polluted":1},"constructor":2}',
    );
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test("keeps the expiry, and refuses what grows too large before anything changes", async () => {
    const expiresAt = Date.now() + 60_000;
    await of.put("k", "12345", { expiresAt });
    expect(await errorOf(() => of.patch("k", "678", 7))).toMatchObject({ status: 400 });
    expect(await of.getEntry("k")).toMatchObject({ value: "12345", expiresAt });
    await of.patch("k", "67", 7);
    expect(await of.getEntry("k")).toMatchObject({ value: "1234567", expiresAt });
    await of.put("k", '{"a":"123"}');
    expect(await errorOf(() => of.patch("k", '{"b":"ü"}', 19))).toMatchObject({ status: 400 });
    await of.patch("k", '{"b":"ü"}', 20);
    expect(of.get("k")).toBe('{"a":"123","b":"ü"}');
  });

  test("notes what it deleted, by version, for notifications", async () => {
    const shownOf = async (before: string, patch: string) => {
      await update(before, patch);
      return tenants.patched("one", (await of.getEntry("k"))?.version ?? 0, "k");
    };
    expect(await shownOf('{"a":1,"n":{"x":1}}', '{"a":null,"n":{"x":null,"y":2},"z":null}')).toBe(
      '{"n":{"y":2,"x":null},"a":null,"z":null}',
    );
    expect(of.get("k")).toBe('{"n":{"y":2}}');
    expect(await shownOf('{"a":1}', '{"a":{"b":null}}')).toBe('{"a":{"b":null}}');
    expect(of.get("k")).toBe('{"a":{}}');
    expect(await shownOf('{"a":1}', '{"a":[null]}')).toBeUndefined();
    expect(await shownOf("text", '{"a":null}')).toBeUndefined();
    expect(await shownOf('{"a":1}', '{"__proto__":null}')).toBe('{"a":1,"__proto__":null}');
    const { version } = of;
    expect(tenants.patched("two", version ?? 0, "k")).toBeUndefined();
    await of.patch("k", '{"a":null}', 100);
    await of.patch("k", '{"b":null}', 100);
    expect([1, 2].map((i) => tenants.patched("one", (version ?? 0) + i, "k"))).toEqual(['{"a":null}', '{"b":null}']);
  });
});

test("increments create, count in 64 bits, and refuse what is no integer", async () => {
  expect(await of.increment("n", -(2n ** 63n))).toBe(-(2n ** 63n));
  expect(of.get("n")).toBe("-9223372036854775808");
  expect(await errorOf(() => of.increment("n", -1n))).toMatchObject({ code: "OUT_OF_RANGE" });
  await of.put("n", "1.5");
  expect(await errorOf(() => of.increment("n", 1n))).toMatchObject({ code: "NOT_A_NUMBER" });
  expect(of.get("n")).toBe("1.5");
});

test("conditions hold back a write, and a stale timestamp refuses it", async () => {
  expect(await of.put("k", "1", { ifVersion: null, timestamp: 5 })).toBe(true);
  expect(await of.put("k", "2", { ifVersion: null })).toBe(false);
  const { version } = of;
  expect(await of.put("k", "2", { ifVersion: version, timestamp: 5 })).toBe(true);
  expect(await of.delete("k", { ifVersion: version })).toBe(false);
  expect(await errorOf(() => of.put("k", "3", { timestamp: 4 }))).toMatchObject({ code: "STALE_TIMESTAMP" });
  expect(await errorOf(() => of.delete("k", { timestamp: 4 }))).toMatchObject({ code: "STALE_TIMESTAMP" });
  expect(await of.delete("k", { ifVersion: of.version })).toBe(true);
});

describe("a page of a range", () => {
  beforeEach(async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => of.put(`r${String(i).padStart(2, "0")}`, `${i}`)));
  });

  test("holds both ends, and tells whether there is more", async () => {
    const keysOf = async (range: Parameters<typeof of.range>[0]) => {
      const { records, truncated } = await of.range(range);
      return [records.map(({ key }) => key).join(), truncated];
    };
    expect(await keysOf({ start: "r01", end: "r03" })).toEqual(["r01,r02,r03", false]);
    expect(await keysOf({ start: "r01", end: "r03", limit: 3 })).toEqual(["r01,r02,r03", false]);
    expect(await keysOf({ start: "r01", end: "r03", limit: 2 })).toEqual(["r01,r02", true]);
    expect(await keysOf({ start: "r03", end: "r01" })).toEqual(["", false]);
    expect(await keysOf({ start: "r48" })).toEqual(["r48,r49", false]);
    expect(await keysOf({ end: Uint8Array.of(0x72, 0x30, 0x31) })).toEqual(["r00,r01", false]);
    expect(await keysOf({ start: "r47\0" })).toEqual(["r48,r49", false]);
    // Three bytes of key, one of value, ten of overhead.
    expect(await keysOf({ sizeMax: 42, overhead: 10 })).toEqual(["r00,r01,r02", true]);
    expect(await keysOf({ sizeMax: 41, overhead: 10 })).toEqual(["r00,r01", true]);
    expect(await keysOf({ sizeMax: 1 })).toEqual(["r00", true]);
    expect(await keysOf({ sizeMax: 1, start: "r49" })).toEqual(["r49", false]);
    expect(await keysOf({ limit: 2, shows: (key) => `${key}`.endsWith("5") })).toEqual(["r05,r15", true]);
    expect(await keysOf({ limit: 5, shows: (key) => `${key}`.endsWith("5") })).toEqual(["r05,r15,r25,r35,r45", false]);
  });

  test("goes on as bytes behind the first record that is no text, in the same view", async () => {
    await of.put("r20", NO_TEXT);
    const page = of.range({ start: "r18", end: "r23", limit: 5 });
    await of.put("r22", "changed");
    expect(await page).toEqual({
      records: [
        { key: "r18", value: "18" },
        { key: "r19", value: "19" },
        { key: "r20", value: NO_TEXT },
        { key: "r21", value: "21" },
        { key: "r22", value: "22" },
      ],
      truncated: true,
    });
    await pause(1);
    expect(store.stats().snapshotCount).toBe(0);
  });

  test("leaves the event loop to others, however much it leaves out", async () => {
    const one = store.sub("one");
    for (let i = 0; i < 20_000; i++) one.set(`s${i}`, "");
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const page = await of.range({ start: "s", shows: () => false });
    clearInterval(timer);
    expect(page).toEqual({ records: [], truncated: false });
    expect(turns).toBeGreaterThan(1);
  });
});
