/** The driver of unstorage: what its documents and its own drivers' tests expect of one, through `createStorage`. */
import { createStorage, restoreSnapshot, snapshot } from "unstorage";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import cairnDriver, { type CairnDriverOptions, type CairnDriverStore } from "../../adapters/unstorage/index.ts";
import { codeOf, MEMORY_BYTES, pause, scratchPaths } from "../store/harness.ts";

const newPath = scratchPaths();
const memoryBytes = MEMORY_BYTES;

function newStorage(options: Partial<CairnDriverOptions> = {}) {
  const driver = cairnDriver({ base: ":memory:", memoryBytes, ...options });
  return { driver, storage: createStorage({ driver }) };
}

describe("a storage", () => {
  let { driver, storage } = newStorage();

  beforeEach(() => {
    ({ driver, storage } = newStorage());
  });

  afterEach(() => storage.dispose());

  test("is empty at first", async () => {
    expect(await storage.hasItem("a:b")).toBe(false);
    expect(await storage.getItem("a:b")).toBe(null);
    expect(await storage.getItemRaw("a:b")).toBe(null);
    expect(await storage.getKeys()).toEqual([]);
    await storage.clear();
  });

  test("has an item under its key, however that is written", async () => {
    await storage.setItem("a:b", "text");
    await storage.setItem("c/d?query=1", "more");
    expect(await storage.hasItem("a/b")).toBe(true);
    expect(await storage.getItem("a:b")).toBe("text");
    expect(await storage.getItem("c:d?query=2")).toBe("more");
    expect(await storage.getKeys()).toEqual(["a:b", "c:d"]);
  });

  test.for([{ json: [1, { two: null }] }, true, false, 0, 12.5, "", "text", "ä€😀"])("gives %j back", async (value) => {
    await storage.setItem("key", value);
    expect(await storage.getItem("key")).toEqual(value);
  });

  test("stores what toJSON gives, and refuses what cannot be text", async () => {
    await storage.setItem("a", { toJSON: () => ({ inner: "x" }) });
    class Opaque {}
    await expect(storage.setItem("b", new Opaque())).rejects.toThrow("Cannot stringify value");
    expect(await storage.hasItem("b")).toBe(false);
  });

  test("keeps bytes as they are", async () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
    await storage.setItemRaw("raw", bytes);
    expect(await storage.getItemRaw<Uint8Array>("raw")).toEqual(bytes);
    await storage.setItemRaw("raw", bytes.buffer.slice(3, 5));
    expect([...(await storage.getItemRaw("raw"))]).toEqual([3, 4]);
    await storage.setItemRaw("raw", new DataView(bytes.buffer, 7, 2));
    expect([...(await storage.getItemRaw("raw"))]).toEqual([7, 8]);
    await storage.setItemRaw("raw", "text");
    expect(await storage.getItem("raw")).toBe("text");
    expect(await codeOf(() => storage.setItemRaw("raw", { an: "object" }))).toBe("INVALID_ARGUMENT");
    expect(await storage.getItem("raw")).toBe("text");
  });

  test("takes and gives many at once", async () => {
    await storage.setItems<object | string>([
      { key: "t:1", value: "one" },
      { key: "t:2", value: { two: 2 } },
    ]);
    expect(await storage.getItems([{ key: "t:2" }, "t/1", "t:3"])).toEqual([
      { key: "t:2", value: { two: 2 } },
      { key: "t:1", value: "one" },
      { key: "t:3", value: null },
    ]);
  });

  test("takes many at once, or none of them", async () => {
    const items = [
      { key: "fits", value: "v" },
      { key: "k".repeat(2049), value: "v" },
    ];
    expect(await codeOf(() => storage.setItems(items))).toBe("KEY_SIZE");
    expect(await storage.getKeys()).toEqual([]);
  });

  test("lists and clears keys below a base", async () => {
    for (const key of ["s1:a", "s1:b:c", "s10:a", "s2:a"]) await storage.setItem(key, "v");
    expect(await storage.getKeys("s1")).toEqual(["s1:a", "s1:b:c"]);
    // A storage clears whole mounts only; the driver clears below a base as well.
    await driver.clear?.("s1:", {});
    expect(await storage.getKeys()).toEqual(["s10:a", "s2:a"]);
    await storage.clear();
    expect(await storage.getKeys()).toEqual([]);
  });

  test("lists keys down to a depth", async () => {
    const keys = ["a", "b:c", "b:d:e", "b:d:f", "b:d0", "b;", "b0", "x:y:z:deep"];
    for (const key of keys) await storage.setItem(key, "v");
    for (let maxDepth = 0; maxDepth <= 3; maxDepth++) {
      const expected = keys.filter((key) => key.split(":").length - 1 <= maxDepth).sort();
      expect((await storage.getKeys(undefined, { maxDepth })).sort(), `depth ${maxDepth}`).toEqual(expected);
    }
    expect(await storage.getKeys("b", { maxDepth: 1 })).toEqual(["b:c", "b:d0"]);
  });

  test("removes an item, with its meta data where that is asked for", async () => {
    await storage.setItem("a", "v");
    await storage.setMeta("a", { author: "Ada" });
    expect(await storage.getMeta("a")).toMatchObject({ author: "Ada", size: 1 });
    await storage.removeItem("a", { removeMeta: true });
    expect(await storage.hasItem("a")).toBe(false);
    expect(await storage.getMeta("a")).toEqual({});
  });

  test("says the size, the version and the time left of an item", async () => {
    await storage.setItem("a", "ä");
    const { version, ...meta } = await storage.getMeta("a", { nativeOnly: true });
    expect(meta).toEqual({ size: 2 });
    await storage.setItem("a", "b", { ttl: 100 });
    const later = await storage.getMeta("a", { nativeOnly: true });
    expect(later["version"]).toBeGreaterThan(version as number);
    expect(later.ttl).toBeGreaterThan(90);
    expect(later.ttl).toBeLessThanOrEqual(100);
  });

  test("forgets an item when its time is over", async () => {
    await storage.setItem("a", "v", { ttl: 0.05 });
    await storage.setItemRaw("b", "v", { ttl: 0.05 });
    await storage.setItems<object | string>([
      { key: "c", value: "v", options: { ttl: 0.05 } },
      { key: "d", value: "v" },
    ]);
    expect(await storage.getKeys()).toEqual(["a", "b", "c", "d"]);
    await pause(70);
    expect(await storage.getItem("a")).toBe(null);
    expect(await storage.getKeys()).toEqual(["d"]);
    expect(await codeOf(() => storage.setItem("a", "v", { ttl: -1 }))).toBe("INVALID_ARGUMENT");
  });

  test("tells a watcher of what is set and removed", async () => {
    const seen: string[] = [];
    const unwatch = await storage.watch((event, key) => seen.push(`${event} ${key}`));
    await storage.setItem("a:b", "v");
    await storage.setItemRaw("c", "v");
    await storage.removeItem("a:b");
    for (let turn = 0; turn < 100 && seen.length < 3; turn++) await pause(1);
    expect(seen).toEqual(["update a:b", "update c", "remove a:b"]);
    await unwatch();
    await storage.setItem("d", "v");
    await pause(10);
    expect(seen.length).toBe(3);
  });

  test("tells a watcher of what goes past the storage, too: many at once, an expiry, what is cleared, the store's own calls", async () => {
    const seen: string[] = [];
    await storage.watch((event, key) => seen.push(`${event} ${key}`));
    const until = async (count: number): Promise<void> => {
      for (let turn = 0; turn < 2000 && seen.length < count; turn++) await pause(1);
    };
    await storage.setItems([
      { key: "a", value: "1" },
      { key: "b", value: "2" },
    ]);
    const store = (await driver.getInstance?.()) as CairnDriverStore;
    await store.put("c", "3");
    await until(3);
    expect(seen.splice(0)).toEqual(["update a", "update b", "update c"]);
    await storage.clear();
    await until(3);
    expect(seen.splice(0)).toEqual(["remove a", "remove b", "remove c"]);
    await storage.setItem("brief", "v", { ttl: 0.02 });
    await until(2);
    expect(seen.splice(0)).toEqual(["update brief", "remove brief"]);
  });

  test("goes into a snapshot and comes back from it", async () => {
    await storage.setItem("a:b", "v");
    await storage.setItem("a:c", { n: 1 });
    const image = await snapshot(storage, "a");
    await storage.clear();
    await restoreSnapshot(storage, image, "again");
    expect(await storage.getItem("again:c")).toEqual({ n: 1 });
  });

  test("may be mounted beneath others", async () => {
    const root = createStorage();
    root.mount("cairn", driver);
    await root.setItem("cairn:x", "v");
    expect(await root.getKeys("cairn")).toEqual(["cairn:x"]);
    expect((await driver.getInstance?.())?.get("x")).toBeDefined();
    await root.dispose();
  });
});

test("a driver has after a restart what it had before, and gives up its lock when it is disposed of", async () => {
  const base = newPath();
  const { storage } = newStorage({ base });
  await storage.setItem("a", { n: 1 });
  const other = newStorage({ base });
  expect(await codeOf(() => other.storage.getItem("a"))).toBe("LOCKED");
  await storage.dispose();
  // The call after a failed opening tries again.
  expect(await other.storage.getItem("a")).toEqual({ n: 1 });
  await other.storage.dispose();
});

test("a driver without a base is refused", async () => {
  expect(await codeOf(() => cairnDriver({} as CairnDriverOptions))).toBe("INVALID_ARGUMENT");
});

test("with sync: false a write is visible when it resolves, and durable later", async () => {
  const { driver, storage } = newStorage({ base: newPath(), sync: false, durability: "manual" });
  const store = await driver.getInstance?.();
  const durable = store?.durableVersion;
  await storage.setItem("a", "v");
  await storage.setItems([{ key: "b", value: "v" }]);
  expect(await storage.getKeys()).toEqual(["a", "b"]);
  expect(store?.durableVersion).toBe(durable);
  await storage.dispose();
});
