/** `segments()`: what each segment holds, against the figures of the whole store. */
import { describe, expect, test } from "vitest";
import { codeOf, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

/** Checkpoints come by themselves, in the smallest steps. */
const OFTEN = { logBytes: 65_536, liveThousandths: 0, stepBlocks: 1 };

describe("segments", () => {
  test("add up to what stats() says, as records are written, replaced, compacted and checkpointed", async () => {
    const options = { writeBufferBytes: 262_144, cacheBytes: 262_144, durability: "manual" } as const;
    const device = new ImageDevice();
    let store = await openTiny(device, options, 16, OFTEN);
    const look = () => {
      const segments = store.segments();
      const stats = store.stats();
      expect(segments.map(({ segment }) => segment)).toEqual(Array.from({ length: stats.segmentCount }, (_, i) => i));
      const records = segments.filter(({ kind }) => kind === "log" || kind === "copies");
      expect(records).toHaveLength(stats.segmentUsedCount);
      expect(records.reduce((sum, { liveBytes }) => sum + liveBytes, 0)).toBe(stats.liveBytes);
      for (const { usedBytes, liveBytes } of records) expect(usedBytes).toBeGreaterThanOrEqual(liveBytes);
      for (const { kind, usedBytes } of segments) if (kind === "free") expect(usedBytes).toBe(0);
      return segments;
    };
    look();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 40; i++) store.set(`key ${i}`, `${round}`.repeat(2_000));
      await store.flush();
      look();
    }
    await store.compact({ full: true });
    look();
    // Closing writes a checkpoint.
    await store.close();
    store = await openTiny(device.reopen(), options, 16, OFTEN);
    expect(look().some(({ kind }) => kind === "checkpoint")).toBe(true);
    const all = store.segments();
    expect(store.segments(1, 2)).toEqual(all.slice(1, 3));
    expect(store.segments(all.length)).toEqual([]);
    expect(store.segments(0, 0)).toEqual([]);
    for (const first of [-1, 0.5, Number.NaN, "1" as unknown as number]) {
      expect(await codeOf(() => store.segments(first))).toBe("INVALID_ARGUMENT");
    }
    await store.close();
    expect(await codeOf(() => store.segments())).toBe("CLOSED");
  });
});
