/** Snapshots: what they show, what they cost, and when they end. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Snapshot } from "../../store/snapshot.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, garbageCollector, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
  for (let i = 0; i < 10; i++) store.set(`k${i}`, `v${i}`);
});
afterEach(() => store.close());

describe("a snapshot", () => {
  test("shows what was there when it was taken, by every call", async () => {
    const snapshot = store.snapshot();
    const { version } = store;
    store.set("k1", "changed");
    store.delete("k2");
    store.set("new", "1");
    store.clear({ gte: "k8", lt: "l" });
    expect(snapshot.version).toBe(version);
    expect([snapshot.get("k1"), snapshot.get("k2"), snapshot.get("new")]).toEqual(["v1", "v2", undefined]);
    expect([snapshot.has("k2"), snapshot.has("new"), snapshot.has("k9")]).toEqual([true, false, true]);
    expect(await snapshot.getAsync("k1")).toBe("v1");
    expect(await snapshot.getMany(["k1", "new", "k9"])).toEqual(["v1", undefined, "v9"]);
    expect([...snapshot.keys()]).toEqual(["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"]);
    expect([...snapshot.values({ gte: "k1", lte: "k2", reverse: true })]).toEqual(["v2", "v1"]);
    expect([...snapshot].at(1)).toEqual(["k1", "v1"]);
    expect([snapshot.count(), snapshot.count({ prefix: "k" }), snapshot.count({ gt: "k5", limit: 2 })]).toEqual([
      10, 10, 2,
    ]);
    expect([...store.keys()]).toEqual(["k0", "k1", "k3", "k4", "k5", "k6", "k7", "new"]);
    expect([...store.entries({ snapshot, lt: "k2" })]).toEqual([
      ["k0", "v0"],
      ["k1", "v1"],
    ]);
    expect(store.count({ snapshot })).toBe(10);
    snapshot.close();
  });

  test("shows large values and values in several extents as they were", async () => {
    const large = "x".repeat(3_000_000);
    store.set("large", large);
    store.set("medium", "y".repeat(5000));
    const snapshot = store.snapshot();
    store.set("large", "small");
    store.delete("medium");
    expect(snapshot.get("large")).toBe(large);
    expect(await snapshot.getAsync("large")).toBe(large);
    expect(snapshot.get("medium")).toBe("y".repeat(5000));
    expect(store.get("large")).toBe("small");
    snapshot.close();
  });

  test("keeps the oldest of many apart, whichever closes first", () => {
    const snapshots: Snapshot[] = [];
    for (let i = 0; i < 50; i++) {
      store.set("k0", `round ${i}`);
      snapshots.push(store.snapshot());
    }
    for (let i = 1; i < 50; i += 2) (snapshots[i] as Snapshot).close();
    const walk = (snapshots[10] as Snapshot).values({ limit: 1 });
    (snapshots[10] as Snapshot).close();
    expect(walk.next().value).toBe("round 10");
    for (let i = 12; i < 50; i += 2) expect((snapshots[i] as Snapshot).get("k0")).toBe(`round ${i}`);
    for (const snapshot of snapshots) snapshot.close();
    walk.return();
    expect(store.stats()).toMatchObject({ snapshotCount: 0, olderVersionCount: 0 });
  });

  test("costs memory for what changed, not for what is there: thousands of them", () => {
    for (let i = 0; i < 1000; i++) store.set("k1", `round ${i}`);
    const before = store.stats();
    const snapshots = Array.from({ length: 5000 }, () => store.snapshot());
    const held = store.stats();
    expect(held.snapshotCount).toBe(5000);
    expect(held.olderVersionCount).toBe(0);
    expect(held.memoryUsedBytes - before.memoryUsedBytes).toBeLessThanOrEqual(5 * 65_536);
    for (let i = 0; i < 1000; i++) store.set("k1", `round ${i}`);
    expect(store.stats().olderVersionCount).toBe(1);
    for (const snapshot of snapshots) snapshot.close();
    const after = store.stats();
    expect(after).toMatchObject({ snapshotCount: 0, olderVersionCount: 0 });
    expect(after.memoryUsedBytes).toBe(before.memoryUsedBytes);
  });

  test("is released by using, by close, twice, and when it is collected", async ({ skip }) => {
    {
      using snapshot = store.snapshot();
      expect(snapshot.get("k1")).toBe("v1");
      using keys = snapshot.keys();
      keys.next();
      expect(store.stats().snapshotCount).toBe(2);
    }
    const closed = store.snapshot();
    closed.close();
    closed.close();
    expect(store.stats().snapshotCount).toBe(0);
    const collect = (await garbageCollector()) ?? skip("the runtime collects when it likes");
    for (let i = 0; i < 50; i++) store.snapshot().get("k1");
    expect(store.stats().snapshotCount).toBe(50);
    for (let i = 0; i < 20 && store.stats().snapshotCount > 1; i++) {
      await pause(10);
      collect();
    }
    expect(store.stats().snapshotCount).toBeLessThanOrEqual(1);
  });

  test("has an age that stats tell, also while only an iterator of it is left", async () => {
    const snapshot = store.snapshot();
    await pause(30);
    const walk = snapshot.keys();
    const young = store.keys();
    expect(store.stats().oldestSnapshotAgeMs).toBeGreaterThanOrEqual(25);
    snapshot.close();
    expect(store.stats().oldestSnapshotAgeMs).toBeGreaterThanOrEqual(25);
    walk.return();
    expect(store.stats().oldestSnapshotAgeMs).toBeLessThan(25);
    young.return();
    expect(store.stats().oldestSnapshotAgeMs).toBe(0);
  });

  test("says what is wrong with a call", async () => {
    const snapshot = store.snapshot();
    const other = await open(":memory:");
    const foreign = other.snapshot();
    expect(await codeOf(() => store.keys({ snapshot: foreign }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.keys({ snapshot: {} as never }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.clear({ snapshot }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => snapshot.keys({ snapshot } as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => snapshot.in(other))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => snapshot.get(5 as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => snapshot.get(""))).toBe("KEY_SIZE");
    expect(await codeOf(() => snapshot.getMany("k1" as never))).toBe("INVALID_ARGUMENT");
    await other.close();
    expect(await codeOf(() => foreign.get("k1"))).toBe("CLOSED");
    snapshot.close();
    for (const call of [
      () => snapshot.get("k1"),
      () => snapshot.getAsync("k1"),
      () => snapshot.getMany([]),
      () => snapshot.has("k1"),
      () => snapshot.entries(),
      () => snapshot.keys(),
      () => snapshot.values(),
      () => snapshot.count(),
      () => snapshot.in(store),
    ]) {
      expect(await codeOf(call)).toBe("CLOSED");
    }
    expect(await codeOf(() => snapshot.version)).toBe("CLOSED");
    expect(await codeOf(() => store.keys({ snapshot }))).toBe("CLOSED");
  });

  test("of a readOnly store expires when it is refreshed", async () => {
    const device = new ImageDevice();
    const writer = await openTiny(device);
    writer.set("a", "1");
    await writer.close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    const snapshot = reader.snapshot();
    expect(snapshot.get("a")).toBe("1");
    await reader.refresh();
    expect(reader.get("a")).toBe("1");
    expect(await codeOf(() => snapshot.get("a"))).toBe("SNAPSHOT_EXPIRED");
    expect(await codeOf(() => snapshot.getAsync("a"))).toBe("SNAPSHOT_EXPIRED");
    snapshot.close();
    await reader.close();
  });
});
