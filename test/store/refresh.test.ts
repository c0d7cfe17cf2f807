/** Readers beside a writer: what they see when they open, and what `refresh` moves them to. */
import { describe, expect, test } from "vitest";
import { codeOf, errorOf, open, openTiny, pause, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { WaitingDevice } from "./waiting-device.ts";

const newPath = scratchPaths();

describe("refresh", () => {
  test("moves a reader to what its writer has made durable since, also when the file has grown", async () => {
    const path = newPath();
    const writer = await open(path);
    await writer.put("a", "1");
    // A later commit proves the one before it.
    await writer.put("mark", "1");
    const reader = await open(path, { readOnly: true });
    expect(reader.get("a")).toBe("1");
    for (let i = 0; i < 200; i++) writer.set(`large ${i}`, `${i}`.padStart(20_000, "-"));
    writer.delete("a");
    await writer.flush();
    await writer.put("mark", "2");
    expect(reader.get("a")).toBe("1");
    expect(reader.count({ prefix: "large" })).toBe(0);
    await reader.refresh();
    expect(reader.get("a")).toBeUndefined();
    expect(reader.count({ prefix: "large" })).toBe(200);
    for (let i = 0; i < 200; i++) expect(reader.get(`large ${i}`)).toBe(`${i}`.padStart(20_000, "-"));
    expect(reader.stats().deviceBytes).toBeGreaterThan(4_000_000);
    await writer.put("b", "2");
    await writer.close();
    await reader.refresh();
    expect(reader.get("b")).toBe("2");
    expect(await codeOf(() => reader.set("c", "3"))).toBe("READ_ONLY");
    await reader.close();
  });

  test("ends the iterators that are open, and no others", async () => {
    const device = new ImageDevice();
    const writer = await openTiny(device);
    for (let i = 0; i < 100; i++) writer.set(`k${i}`, "v");
    await writer.close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    const fresh = reader.keys();
    const begun = reader.entries();
    begun.next();
    const ended = reader.keys({ limit: 1 });
    expect([...ended]).toHaveLength(1);
    await reader.refresh();
    const error = await errorOf(() => fresh.next());
    expect(error.code).toBe("SNAPSHOT_EXPIRED");
    expect(error.message).toContain("refreshed");
    expect(await codeOf(() => begun.nextv(100))).toBe("SNAPSHOT_EXPIRED");
    expect(await codeOf(() => begun.seek("k5"))).toBe("SNAPSHOT_EXPIRED");
    expect(ended.next().done).toBe(true);
    expect(begun.return().done).toBe(true);
    expect([...reader.keys()]).toHaveLength(100);
    expect(reader.stats().snapshotCount).toBe(0);
    await reader.close();
  });

  test("answers the lookups that wait for the device from the newest state, and refuses the walks that do", async () => {
    const device = new WaitingDevice();
    const small = { writeBufferBytes: 262_144, cacheBytes: 0 };
    const writer = await openTiny(device, small);
    const textOf = (i: number): string => `${i}:${"v".repeat(2000)}`;
    const large = "l".repeat(200_000);
    for (let i = 0; i < 500; i++) writer.set(`k${i}`, textOf(i));
    writer.set("large", large);
    await writer.flush();
    await writer.put("mark", "1");
    const reader = await openTiny(device, { ...small, readOnly: true });
    const release = device.holdReads();
    const lookups = Array.from({ length: 100 }, (_, i) => reader.getAsync(`k${i}`));
    const many = reader.getMany(["k200", "k201", "large"]);
    const walk = errorOf(() => reader.entries().nextvAsync(5));
    await pause(5);
    expect(device.inFlightCount).toBeGreaterThan(0);
    for (let i = 0; i < 100; i += 2) writer.set(`k${i}`, `new ${i}`);
    writer.delete("k201");
    await writer.flush();
    await writer.put("mark", "2");
    await reader.refresh();
    release();
    expect(await Promise.all(lookups)).toEqual(
      Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? `new ${i}` : textOf(i))),
    );
    expect(await many).toEqual([textOf(200), undefined, large]);
    expect((await walk).code).toBe("SNAPSHOT_EXPIRED");
    expect(await reader.getAsync("k300")).toBe(textOf(300));
    expect(device.inFlightCount).toBe(0);
    await reader.close();
    await writer.close().catch(() => undefined);
  });

  test("is INVALID_ARGUMENT for a store that writes, and CLOSED for one that is closed", async () => {
    const store = await open(":memory:");
    const error = await errorOf(() => store.refresh());
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.operation).toBe("refresh");
    expect(error.message).toContain("readOnly");
    await store.close();
    expect(await codeOf(() => store.refresh())).toBe("CLOSED");
  });

  test("that fails leaves the reader where it was", async () => {
    const device = new ImageDevice();
    const writer = await openTiny(device);
    writer.set("a", "1");
    await writer.close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    device.before = (operation) => {
      if (operation === "read") throw new Error("no reading now");
    };
    expect(await codeOf(() => reader.refresh())).toBe("DEVICE_READ");
    expect(reader.get("a")).toBe("1");
    device.before = undefined;
    await reader.refresh();
    expect(reader.get("a")).toBe("1");
    const [first, second] = [reader.refresh(), reader.refresh()];
    await first;
    await second;
    const late = reader.refresh();
    await reader.close();
    expect(await codeOf(() => late)).toBe("CLOSED");
  });

  test("always finds a state that the store had, while the writer goes on", async () => {
    const path = newPath();
    const writer = await open(path, { flushIntervalMs: 5 });
    await writer.put("a 0", "0");
    await writer.put("b 0", "0");
    const reader = await open(path, { readOnly: true });
    let written = 0;
    let isOver = false;
    const writing = (async () => {
      while (!isOver) {
        written += 1;
        const value = String(written).padStart(30_000, "x");
        // Both halves of a batch, and all batches before it, or none.
        await writer.batch([
          { type: "set", key: `a ${written}`, value },
          { type: "set", key: `b ${written}`, value },
        ]);
        await pause();
      }
    })();
    let seen = 0;
    for (let round = 0; round < 25; round++) {
      await pause(5);
      await reader.refresh();
      const count = reader.count({ prefix: "a " });
      expect(reader.count({ prefix: "b " })).toBe(count);
      expect(count).toBeGreaterThanOrEqual(seen);
      for (let i = 1; i < count; i++) expect(reader.has(`a ${i}`) && reader.has(`b ${i}`)).toBe(true);
      if (count > 1) expect(reader.get(`b ${count - 1}`)).toBe(String(count - 1).padStart(30_000, "x"));
      seen = count;
    }
    isOver = true;
    await writing;
    expect(seen).toBeGreaterThan(5);
    await reader.close();
    await writer.close();
  });
});

describe("a store that is readOnly", () => {
  test("refuses to delete a key that is absent, as one that is there", async () => {
    const device = new ImageDevice();
    const writer = await openTiny(device);
    writer.set("a", "1");
    await writer.close();
    const reader = await openTiny(device.reopen(), { readOnly: true });
    for (const key of ["a", "absent"]) {
      expect(await codeOf(() => reader.delete(key))).toBe("READ_ONLY");
      expect(await codeOf(() => reader.del(key))).toBe("READ_ONLY");
      expect(await codeOf(() => reader.sub("face").delete(key))).toBe("READ_ONLY");
      expect(await codeOf(() => reader.batch([{ type: "delete", key }]))).toBe("READ_ONLY");
    }
    expect(reader.get("a")).toBe("1");
    await reader.close();
  });
});
