/** What iterators promise beside the entries themselves: limits, jumps, snapshots that end. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { codeOf, garbageCollector, open, pause } from "./harness.ts";

let store: Store;

beforeEach(async () => {
  store = await open(":memory:");
  for (let i = 0; i < 10; i++) store.set(`k${i}`, `v${i}`);
});

afterEach(() => store.close());

describe("seek", () => {
  test("works after a first entry was taken, however few there are", () => {
    const keys = store.keys();
    expect(keys.next().value).toBe("k0");
    keys.seek("k7");
    expect(keys.nextv(10)).toEqual(["k7", "k8", "k9"]);
  });

  test("goes back as well", () => {
    const keys = store.keys();
    expect(keys.nextv(5)).toEqual(["k0", "k1", "k2", "k3", "k4"]);
    keys.seek("k1");
    expect([...keys]).toEqual(["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"]);
  });

  test("goes on at or below the key in reverse", () => {
    const keys = store.keys({ reverse: true });
    expect(keys.next().value).toBe("k9");
    keys.seek("k55");
    expect(keys.next().value).toBe("k5");
    keys.seek("k3");
    expect(keys.next().value).toBe("k3");
  });

  test("counts what was delivered towards the limit, not what was fetched", () => {
    const keys = store.keys({ limit: 3 });
    expect(keys.next().value).toBe("k0");
    keys.seek("k5");
    expect([...keys]).toEqual(["k5", "k6"]);
  });

  test("reads the snapshot of the beginning", () => {
    const entries = store.entries();
    entries.next();
    store.set("k5", "new");
    store.delete("k6");
    entries.seek("k5");
    expect(entries.nextv(2)).toEqual([
      ["k5", "v5"],
      ["k6", "v6"],
    ]);
  });

  test("does not bring an ended walk back", () => {
    const keys = store.keys();
    expect([...keys].length).toBe(10);
    keys.seek("k3");
    expect(keys.next().done).toBe(true);
    const limited = store.keys({ limit: 1 });
    limited.next();
    limited.seek("k3");
    expect(limited.next().done).toBe(true);
  });
});

describe("a walk", () => {
  test("leaves no snapshot behind when it ends, returns or breaks off", () => {
    expect([...store.keys()].length).toBe(10);
    for (const _ of store.entries({ limit: 4 }));
    for (const _ of store.values()) break;
    store.keys().return();
    store.keys().nextv(11);
    expect(store.stats().snapshotCount).toBe(0);
  });

  test("is one snapshot for as long as it lasts", () => {
    const keys = store.keys();
    expect(store.stats().snapshotCount).toBe(1);
    keys.next();
    expect(store.stats().snapshotCount).toBe(1);
    expect(store.stats().oldestSnapshotAgeMs).toBeGreaterThanOrEqual(0);
    keys.return();
    expect(store.stats().snapshotCount).toBe(0);
  });

  test("keeps no older version once it is over", () => {
    const keys = store.keys();
    for (let round = 0; round < 20; round++) for (let i = 0; i < 10; i++) store.set(`k${i}`, `round ${round}`);
    expect(store.stats().olderVersionCount).toBe(10);
    keys.return();
    expect(store.stats().olderVersionCount).toBe(0);
  });

  test("that was dropped in mid-course is released when it is collected", async ({ skip }) => {
    const collect = (await garbageCollector()) ?? skip("the runtime collects when it likes");
    for (let i = 0; i < 100; i++) store.set(`more${i}`, "v");
    for (let i = 0; i < 50; i++) store.keys().next();
    expect(store.stats().snapshotCount).toBe(50);
    for (let i = 0; i < 20 && store.stats().snapshotCount > 1; i++) {
      await pause(10);
      collect();
    }
    expect(store.stats().snapshotCount).toBeLessThanOrEqual(1);
  });

  test("is released also when another store was dropped before, with walks of its own", async ({ skip }) => {
    const collect = (await garbageCollector()) ?? skip("the runtime collects when it likes");
    await (async () => {
      const dropped = await open(":memory:");
      for (let i = 0; i < 100; i++) dropped.set(`k${i}`, "v");
      for (let i = 0; i < 50; i++) dropped.keys().next();
      await pause();
    })();
    for (let i = 0; i < 100; i++) store.set(`more${i}`, "v");
    for (let i = 0; i < 50; i++) store.keys().next();
    for (let i = 0; i < 20 && store.stats().snapshotCount > 1; i++) {
      await pause(10);
      collect();
    }
    expect(store.stats().snapshotCount).toBeLessThanOrEqual(1);
  });

  test("takes no call once the store is closed", async () => {
    const keys = store.keys();
    await store.close();
    expect(await codeOf(() => keys.next())).toBe("CLOSED");
    expect(await codeOf(() => keys.nextv(1))).toBe("CLOSED");
    expect(await codeOf(() => keys.seek("k1"))).toBe("CLOSED");
    expect(keys.return().done).toBe(true);
  });
});
