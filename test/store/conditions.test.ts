/** Versions, and writes that depend on what is there: `getEntry`, `ifVersion`, `timestamp`. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, open } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
});

afterEach(async () => {
  if (store.version > 0) expect((await store.verify()).faults).toEqual([]);
  await store.close();
});

function versionOf(key: string): number {
  return store.getEntry(key)?.version as number;
}

describe("getEntry", () => {
  test("gives the version of the key's commit, which only grows", async () => {
    expect(store.getEntry("a")).toBeUndefined();
    store.set("a", "1");
    const first = store.getEntry("a");
    expect(first).toEqual({ value: "1", version: store.version });
    store.set("b", "1");
    expect(store.getEntry("a")).toEqual(first);
    store.set("a", "2");
    expect(versionOf("a")).toBeGreaterThan(versionOf("b"));
    await store.batch([
      { type: "set", key: "c", value: "1" },
      { type: "set", key: "d", value: "1" },
    ]);
    expect(versionOf("c")).toBe(versionOf("d"));
    store.delete("a");
    expect(store.getEntry("a")).toBeUndefined();
    store.set("a", "3");
    expect(versionOf("a")).toBeGreaterThan(versionOf("d"));
  });

  test("reads values of every size", () => {
    for (const size of [0, 1, 128, 129, 5000, 131_072, 131_073, 3_000_000]) {
      store.set("a", "é".repeat(size >> 1));
      expect(store.getEntry("a")?.value === "é".repeat(size >> 1)).toBe(true);
    }
  });

  test("gives the same version after reopening", async () => {
    const device = new ImageDevice();
    let kept = await open(device);
    kept.set("a", "1");
    kept.set("b", "1", { timestamp: 0 });
    const entries = [kept.getEntry("a"), kept.getEntry("b")];
    expect(entries[1]).toHaveProperty("timestamp", 0);
    await kept.close();
    kept = await open(device.reopen());
    expect([kept.getEntry("a"), kept.getEntry("b")]).toEqual(entries);
    expect(kept.set("a", "2", { ifVersion: entries[0]?.version })).toBe(true);
    await kept.close();
  });
});

describe("ifVersion", () => {
  test("writes only over the version that it names, or where nothing is", async () => {
    expect(store.set("a", "1", { ifVersion: null })).toBe(true);
    const version = versionOf("a");
    expect(store.set("a", "x", { ifVersion: null })).toBe(false);
    expect(store.set("a", "x", { ifVersion: version + 1 })).toBe(false);
    expect(store.set("b", "x", { ifVersion: version })).toBe(false);
    expect(await store.put("a", "x", { ifVersion: version - 1 || version + 9 })).toBe(false);
    expect(store.delete("a", { ifVersion: version + 1 })).toBe(false);
    expect(store.delete("a", { ifVersion: null })).toBe(false);
    expect(await store.del("a", { ifVersion: version + 1 })).toBe(false);
    expect([...store]).toEqual([["a", "1"]]);
    expect(store.version).toBe(version);
    expect(await store.put("a", "2", { ifVersion: version })).toBe(true);
    expect(store.delete("b", { ifVersion: null })).toBe(false);
    expect(await store.del("a", { ifVersion: versionOf("a") })).toBe(true);
    expect(store.set("a", "3", { ifVersion: null })).toBe(true);
    expect(store.delete("a", { ifVersion: versionOf("a") })).toBe(true);
    expect(store.count()).toBe(0);
  });

  test("with values in pieces", () => {
    const large = "l".repeat(300_000);
    expect(store.set("a", large, { ifVersion: null, timestamp: 5 })).toBe(true);
    expect(store.set("a", large, { ifVersion: null })).toBe(false);
    expect(store.set("a", `${large}2`, { ifVersion: versionOf("a"), timestamp: 6 })).toBe(true);
    expect(store.getEntry("a")).toMatchObject({ value: `${large}2`, timestamp: 6 });
  });

  test("makes concurrent increments add up", async () => {
    const add = async (): Promise<void> => {
      while (true) {
        const entry = store.getEntry("n");
        await Promise.resolve();
        const next = String(Number(entry?.value ?? 0) + 1);
        if (await store.put("n", next, { ifVersion: entry?.version ?? null })) return;
      }
    };
    await Promise.all(Array.from({ length: 40 }, add));
    expect(store.get("n")).toBe("40");
  });

  test("that is no version is refused", async () => {
    store.set("a", "1");
    for (const ifVersion of [0, -1, 1.5, "1", 1n, Number.NaN, true]) {
      const options = { ifVersion } as object;
      expect((await errorOf(() => store.set("a", "2", options))).message).toContain("ifVersion");
      expect(await codeOf(() => store.del("a", options))).toBe("INVALID_ARGUMENT");
    }
    expect(store.get("a")).toBe("1");
  });
});

describe("timestamp", () => {
  test("refuses what is older than the record there; equal is accepted, and so is one where the record has none", async () => {
    expect(store.set("a", "1", { timestamp: 100 })).toBe(true);
    expect(await codeOf(() => store.set("a", "2", { timestamp: 99 }))).toBe("STALE_TIMESTAMP");
    expect(await codeOf(() => store.put("a", "2", { timestamp: 0 }))).toBe("STALE_TIMESTAMP");
    expect(await codeOf(() => store.set("a", "2".repeat(200_000), { timestamp: 0 }))).toBe("STALE_TIMESTAMP");
    expect(await codeOf(() => store.delete("a", { timestamp: 99 }))).toBe("STALE_TIMESTAMP");
    expect(await codeOf(() => store.del("a", { timestamp: 99 }))).toBe("STALE_TIMESTAMP");
    expect(store.getEntry("a")).toMatchObject({ value: "1", timestamp: 100 });
    expect(store.set("a", "2", { timestamp: 100 })).toBe(true);
    expect(store.set("a", "3", { timestamp: Number.MAX_SAFE_INTEGER })).toBe(true);
    expect(store.getEntry("a")?.timestamp).toBe(Number.MAX_SAFE_INTEGER);
    // Without one a write is never stale, and leaves none.
    expect(store.set("a", "4")).toBe(true);
    expect(store.getEntry("a")).not.toHaveProperty("timestamp");
    expect(store.set("a", "5", { timestamp: 1 })).toBe(true);
    expect(store.delete("a", { timestamp: 1 })).toBe(true);
    // A deletion leaves none either.
    expect(store.set("a", "6", { timestamp: 0 })).toBe(true);
  });

  test("a condition that does not hold comes before a timestamp that is stale", async () => {
    store.set("a", "1", { timestamp: 100 });
    expect(store.set("a", "2", { timestamp: 50, ifVersion: null })).toBe(false);
    expect(await codeOf(() => store.set("a", "2", { timestamp: 50, ifVersion: versionOf("a") }))).toBe(
      "STALE_TIMESTAMP",
    );
  });

  test("that is none is refused", async () => {
    for (const timestamp of [-1, 1.5, "1", 1n, Number.NaN, 2 ** 53, null]) {
      const options = { timestamp } as object;
      expect((await errorOf(() => store.set("a", "2", options))).message).toContain("timestamp");
      expect(await codeOf(() => store.delete("a", options))).toBe("INVALID_ARGUMENT");
    }
    expect(store.count()).toBe(0);
  });
});

describe("a batch", () => {
  test("is done whole when all conditions hold, else not at all", async () => {
    store.set("a", "1");
    const ifVersion = versionOf("a");
    const { version } = store;
    const refused = await store.batch([
      { type: "set", key: "b", value: "2" },
      { type: "set", key: "a", value: "2", ifVersion },
      { type: "delete", key: "a" },
      { type: "set", key: "c", value: "3", ifVersion },
    ]);
    expect(refused).toEqual([false, false, false, false]);
    expect(store.batch().set("b", "2").delete("a", { ifVersion: null }).commit()).toEqual([false, false]);
    expect([...store]).toEqual([["a", "1"]]);
    expect(store.version).toBe(version);
    const done = await store.batch([
      { type: "set", key: "b", value: "2", ifVersion: null },
      { type: "set", key: "a", value: "2", ifVersion },
      // Against what was there before the batch.
      { type: "put", key: "a", value: "3", ifVersion },
      { type: "del", key: "c", ifVersion: null },
      { type: "set", key: "l", value: "l".repeat(200_000), ifVersion: null, timestamp: 4 },
    ]);
    expect(done).toEqual([true, true, true, false, true]);
    expect([...store.entries({ lt: "l" })]).toEqual([
      ["a", "3"],
      ["b", "2"],
    ]);
    expect(store.getEntry("l")?.timestamp).toBe(4);
  });

  test("with one timestamp that is stale is refused", async () => {
    store.set("a", "1", { timestamp: 10 });
    const stale = [
      { type: "set", key: "b", value: "2" },
      { type: "set", key: "a", value: "2", timestamp: 9 },
    ] as const;
    expect(await codeOf(() => store.batch(stale))).toBe("STALE_TIMESTAMP");
    expect(await codeOf(() => store.batch().delete("a", { timestamp: 9 }).commit())).toBe("STALE_TIMESTAMP");
    expect([...store]).toEqual([["a", "1"]]);
    // Within a batch the order of its operations counts.
    const done = await store.batch([
      { type: "set", key: "a", value: "2", timestamp: 12 },
      { type: "set", key: "a", value: "3", timestamp: 11 },
    ]);
    expect(done).toEqual([true, true]);
    expect(store.getEntry("a")).toMatchObject({ value: "3", timestamp: 11 });
  });
});

test("on a store that is read alone every kind of write is READ_ONLY", async () => {
  const device = new ImageDevice();
  const writer = await open(device);
  writer.set("a", "1");
  await writer.close();
  const reader = await open(device.reopen(), { readOnly: true });
  expect(reader.getEntry("a")).toMatchObject({ value: "1" });
  const writes = [
    () => reader.set("a", "2", { ifVersion: null }),
    () => reader.set("a", "2", { expiresIn: 5 }),
    () => reader.delete("a", { ifVersion: null }),
    () => reader.batch([{ type: "set", key: "a", value: "2", timestamp: 5 }]),
    () => reader.append("a", "2"),
    () => reader.append("a", "2".repeat(200_000)),
    () => reader.patch("a", 0, "2"),
    () => reader.increment("a"),
    () => reader.merge("a", {}),
    () => reader.update("a", () => "2"),
    () => reader.update("a", () => undefined),
  ];
  for (const write of writes) expect(await codeOf(write), String(write)).toBe("READ_ONLY");
  expect(reader.get("a")).toBe("1");
  await reader.close();
});
