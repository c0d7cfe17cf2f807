/** What the suite of `abstract-level` does not ask of a database of Level. */
import { Buffer } from "buffer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CairnLevel, type CairnLevelOptions } from "../../adapters/level/index.ts";
import { codeOf, MEMORY_BYTES, scratchPaths } from "../store/harness.ts";

const newPath = scratchPaths();

function newLevel(location: string = ":memory:", options: CairnLevelOptions<string, string> = {}): CairnLevel {
  return new CairnLevel(location, { memoryBytes: MEMORY_BYTES, ...options });
}

describe("a database", () => {
  let db: CairnLevel;

  beforeEach(async () => {
    db = newLevel();
    await db.open();
    await db.batch(["a", "b", "c", "d", "e"].map((key) => ({ type: "put", key, value: `v${key}` })));
  });

  afterEach(() => db.close());

  test("says that it can do everything that Level asks for", () => {
    expect(db.supports).toMatchObject({
      implicitSnapshots: true,
      explicitSnapshots: true,
      snapshots: true,
      has: true,
      getSync: true,
      seek: true,
      deferredOpen: true,
      signals: { iterators: true },
      encodings: { utf8: true, buffer: true, view: true, json: true },
    });
    expect(newLevel(newPath()).supports).toMatchObject({
      createIfMissing: true,
      errorIfExists: true,
      permanence: true,
    });
  });

  test("takes an empty key, in every format", async () => {
    await db.put("", "empty");
    expect(await db.get("")).toBe("empty");
    expect(db.getSync(new Uint8Array(), { keyEncoding: "view" })).toBe("empty");
    expect(await db.keys({ limit: 2 }).all()).toEqual(["", "a"]);
    expect(await db.has("")).toBe(true);
    await db.del("");
    expect(await db.keys({ limit: 1 }).all()).toEqual(["a"]);
  });

  test("gives one value in the format that is asked for", async () => {
    await db.put("k", Uint8Array.of(0xc3, 0xa4), { valueEncoding: "view" });
    expect(await db.get("k")).toBe("ä");
    expect(await db.get("k", { valueEncoding: "view" })).toEqual(Uint8Array.of(0xc3, 0xa4));
    expect(Buffer.isBuffer(await db.get("k", { valueEncoding: "buffer" }))).toBe(true);
    expect(await db.get("k", { valueEncoding: "hex" })).toBe("c3a4");
  });

  test("keeps what else is in the store out of walks and clears", async () => {
    db.store.set("K", "before");
    db.store.set("M", "behind");
    expect(await db.keys().all()).toEqual(["a", "b", "c", "d", "e"]);
    await db.clear({ reverse: true, limit: 2 });
    expect(await db.keys().all()).toEqual(["a", "b", "c"]);
    await db.clear();
    expect(await db.keys().all()).toEqual([]);
    expect([...db.store.keys()].length).toBe(2);
  });

  test("ends a walk whose seek leaves the range, and takes it up again when one comes back", async () => {
    const range = { gte: "b", lt: "e" };
    for (const [reverse, outside, inside, rest] of [
      [false, "a", "c", ["c", "d"]],
      [false, "e", "d", ["d"]],
      [true, "e", "c", ["c", "b"]],
      [true, "a", "b", ["b"]],
    ] as const) {
      const keys = db.keys({ ...range, reverse });
      expect(await keys.next()).toBe(reverse ? "d" : "b");
      keys.seek(outside);
      expect(await keys.next()).toBeUndefined();
      await db.put("c5", "not in the snapshot");
      keys.seek(inside);
      expect(await keys.nextv(10)).toEqual(rest);
      await keys.close();
      await db.del("c5");
    }
  });

  test("lets a signal end a read that is under way", async () => {
    const abort = new AbortController();
    const keys = db.keys({ signal: abort.signal });
    const read = keys.next();
    abort.abort();
    await expect(read).rejects.toMatchObject({ name: "AbortError", code: "LEVEL_ABORTED" });
    await keys.close();
  });

  test("leaves no snapshot open behind closed iterators and snapshots", async () => {
    const snapshot = db.snapshot();
    expect(await db.keys({ snapshot }).all()).toHaveLength(5);
    for await (const _ of db.iterator()) break;
    await db.values().close();
    await snapshot.close();
    expect(db.store.stats().snapshotCount).toBe(0);
  });

  test("takes snapshots of its own only", async () => {
    const other = newLevel();
    await other.open();
    const snapshot = other.snapshot();
    await other.close();
    expect(await codeOf(() => db.get("a", { snapshot: { ref() {}, unref() {} } as typeof snapshot }))).toBe(
      "INVALID_ARGUMENT",
    );
  });

  test("does a batch whole or not at all", async () => {
    const long = "k".repeat(2048);
    const batch = [
      { type: "put", key: "new", value: "v" },
      { type: "put", key: long, value: "v" },
    ] as const;
    expect(await codeOf(() => db.batch([...batch]))).toBe("KEY_SIZE");
    expect(await db.has("new")).toBe(false);
    await db.put("k".repeat(2047), "fits");
  });

  test("keeps sublevels apart, each with its own encodings", async () => {
    const numbers = db.sublevel<string, number>("numbers", { valueEncoding: "json" });
    await numbers.put("a", 1);
    expect([await numbers.get("a"), await db.get("a")]).toEqual([1, "va"]);
    await numbers.clear();
    expect(await db.get("a")).toBe("va");
  });
});

test("a database has after a restart what it had before", async () => {
  const path = newPath();
  const db = newLevel(path);
  await db.put("a", "1");
  await db.close();
  await db.open();
  expect(await db.get("a")).toBe("1");
  await db.close();
  const again = newLevel(path);
  expect(await again.get("a")).toBe("1");
  await again.close();
});

test("an error of opening has the reason as its cause", async () => {
  const path = newPath();
  const first = newLevel(path);
  await first.open();
  const second = newLevel(path);
  await expect(second.open()).rejects.toMatchObject({
    code: "LEVEL_DATABASE_NOT_OPEN",
    cause: { code: "LOCKED", name: "CairnError" },
  });
  await first.close();
});

test("a write is durable when it resolves, unless sync is false", async () => {
  const db = newLevel(newPath(), { durability: "manual" });
  await db.open();
  const { store } = db;
  await db.put("a", "1");
  expect(store.durableVersion).toBe(store.version);
  await db.put("b", "2", { sync: false });
  await db.batch([{ type: "put", key: "c", value: "3" }], { sync: false });
  await db.del("a", { sync: false });
  expect(store.durableVersion).toBeLessThan(store.version);
  expect(await db.keys().all()).toEqual(["b", "c"]);
  await db.clear();
  expect(store.durableVersion).toBe(store.version);
  await db.close();
});
