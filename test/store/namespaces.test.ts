/** Namespaces: stores within a store. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { codeOf, errorOf, MemoryDevice, open, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
});
afterEach(() => store.close());

describe("a namespace", () => {
  test("is apart from its siblings, its parent, and what is in it", async () => {
    const a = store.sub("a");
    const ab = store.sub("ab");
    const nested = a.sub("b");
    const faces = [store, a, ab, nested];
    for (const [i, face] of faces.entries()) {
      for (const key of ["a", "b", "ab", "\u{10ffff}", "\0", "é"]) face.set(key, `${i}:${key}`);
    }
    for (const [i, face] of faces.entries()) {
      expect([...face.keys()]).toEqual(["\0", "a", "ab", "b", "é", "\u{10ffff}"]);
      expect([...face.values({ reverse: true, limit: 2 })]).toEqual([`${i}:\u{10ffff}`, `${i}:é`]);
      expect([...face.entries({ prefix: "a" })]).toEqual([
        ["a", `${i}:a`],
        ["ab", `${i}:ab`],
      ]);
      expect([face.count(), face.count({ gt: "a", lte: "b" }), face.count({ lt: "" })]).toEqual([6, 2, 0]);
      expect(face.get("ab")).toBe(`${i}:ab`);
      expect(await face.getAsync("é")).toBe(`${i}:é`);
      expect(await face.getMany(["a", "none", "\u{10ffff}"])).toEqual([`${i}:a`, undefined, `${i}:\u{10ffff}`]);
      const walk = face.keys();
      walk.seek("c");
      expect(walk.next().value).toBe("é");
    }
    expect(a.delete("a")).toBe(true);
    expect([store.has("a"), a.has("a"), ab.has("a"), nested.has("a")]).toEqual([true, false, true, true]);
    expect(nested.clear({ prefix: "a" })).toBe(2);
    expect([store.count(), a.count(), ab.count(), nested.count()]).toEqual([6, 5, 6, 4]);
  });

  test("is cleared with what is in it, and without what is not", () => {
    const a = store.sub("a");
    const b = store.sub("b");
    for (const face of [store, a, a.sub("x"), b]) for (let i = 0; i < 3; i++) face.set(`k${i}`, "v");
    expect(a.clear()).toBe(6);
    expect([store.count(), a.count(), a.sub("x").count(), b.count()]).toEqual([3, 0, 0, 3]);
    expect(store.clear({ gte: "" })).toBe(3);
    expect(b.count()).toBe(3);
    expect(store.clear()).toBe(3);
    expect(b.count()).toBe(0);
  });

  test("is cleared without a read of the device, whatever its values weigh", async () => {
    const device = new MemoryDevice();
    const large = await open(device, { cacheBytes: 0, writeBufferBytes: 262_144 });
    const sub = large.sub("files");
    for (let i = 0; i < 100; i++) sub.set(`f${i}`, "x".repeat(100_000));
    await large.flush();
    const before = large.stats().deviceReadCount;
    expect(sub.clear()).toBe(100);
    expect(large.stats().deviceReadCount).toBe(before);
    await large.close();
  });

  test("has encodings of its own, and is there when the store is opened again", async () => {
    const device = new ImageDevice();
    const first = await openTiny(device);
    const users = first.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
    users.set(["user", 7], { name: "Ada" });
    first.sub("raw", { keyEncoding: "binary", valueEncoding: "binary" }).set(Uint8Array.of(255, 0), Uint8Array.of(1));
    await first.close();
    const second = await openTiny(device.reopen());
    const again = second.sub("users", { keyEncoding: "tuple", valueEncoding: "json" });
    expect([...again.entries()]).toEqual([[["user", 7], { name: "Ada" }]]);
    const raw = second.sub("raw", { keyEncoding: "binary", valueEncoding: "binary" });
    expect([...raw.keys({ prefix: Uint8Array.of(255) })]).toEqual([Uint8Array.of(255, 0)]);
    expect(second.count()).toBe(0);
    expect(second.stats().keyCount).toBe(2);
    await second.close();
  });

  test("shows in a store of bytes, whose keys may be anything", async () => {
    const bytes = await open(":memory:", { keyEncoding: "binary" });
    bytes.sub("a").set("k", "v");
    expect([...bytes.keys()]).toEqual([Uint8Array.of(0xff, 0x61, 0xff, 0x6b)]);
    expect(bytes.count()).toBe(1);
    await bytes.close();
  });

  test("takes part in batches, durable writes and snapshots of its own", async () => {
    const sub = store.sub("s");
    expect(await sub.put("a", "1")).toBe(true);
    expect(
      await sub.batch([
        { type: "set", key: "b", value: "2" },
        { type: "del", key: "a" },
      ]),
    ).toEqual([true, true]);
    expect(sub.batch().set("c", "3").set("é".repeat(20), "4").commit()).toEqual([true, true]);
    const snapshot = store.snapshot();
    sub.clear();
    store.set("root", "1");
    const inside = snapshot.in(sub);
    expect([...inside.entries()].length).toBe(3);
    expect(inside.get("b")).toBe("2");
    expect(inside.count()).toBe(3);
    expect(snapshot.count()).toBe(0);
    expect([...sub.keys({ snapshot })]).toEqual(["b", "c", "é".repeat(20)]);
    inside.close();
    expect(await codeOf(() => snapshot.get("b"))).toBe("CLOSED");
    expect(await sub.del("c")).toBe(false);
  });

  test("regression: a batch refuses in() of anything but a namespace of its store at once", async () => {
    const other = await open(":memory:");
    const batch = store.batch().set("kept", "1");
    for (const wrong of [{}, undefined, null, "abc", other, other.sub("abc"), store.snapshot()]) {
      const error = await errorOf(() => batch.in(wrong as Store));
      expect([error.code, error.operation]).toEqual(["INVALID_ARGUMENT", "in"]);
      expect(await codeOf(() => batch.in(store.sub("abc")).in(wrong as Store))).toBe("INVALID_ARGUMENT");
    }
    batch.in(store.sub("abc")).set("k", "v").in(store).set("kept", "2");
    expect(batch.commit()).toEqual([true, true, true]);
    expect([store.get("kept"), store.sub("abc").get("k")]).toEqual(["2", "v"]);
    expect(store.clear()).toBe(2);
    await other.close();
  });

  test("leaves less of the largest key, and says how much", async () => {
    const sub = store.sub("abc");
    expect(sub.set("k".repeat(2043), "v")).toBe(true);
    expect(sub.get("k".repeat(2043))).toBe("v");
    for (const key of ["k".repeat(2044), "é".repeat(1022)]) {
      for (const call of [
        () => sub.set(key, "v"),
        () => sub.get(key),
        () => sub.batch([{ type: "set", key, value: "v" }]),
        () => sub.getMany([key]),
        () => sub.keys({ gte: key }),
        () => sub.transaction((tx) => tx.set(key, "v")),
      ]) {
        const error = await errorOf(call);
        expect(error.code).toBe("KEY_SIZE");
        expect(error.message).toContain("2043, which the prefix of its namespace leaves");
      }
    }
    expect(await codeOf(() => sub.set("", "v"))).toBe("KEY_SIZE");
    const binary = store.sub("abc", { keyEncoding: "binary" });
    expect(await codeOf(() => binary.set(new Uint8Array(2044), "v"))).toBe("KEY_SIZE");
    expect(sub.count()).toBe(1);
  });

  test("says what is wrong with its name or encodings", async () => {
    const loose = store as unknown as { sub(...args: unknown[]): unknown };
    for (const name of [undefined, 5, "", null]) expect(await codeOf(() => loose.sub(name))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => loose.sub("n".repeat(1600)))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => loose.sub("a", 5))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => loose.sub("a", { keyEncoding: "utf16" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => loose.sub("a", { valueEncoding: "tuple" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => loose.sub("a", { durability: "sync" }))).toBe("INVALID_ARGUMENT");
  });
});
