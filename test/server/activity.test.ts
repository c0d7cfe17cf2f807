/** What the server remembers of the last seconds, against the durations themselves; slow operations; the map of segments. */
import { describe, expect, test } from "vitest";
import { Activity } from "../../adapters/server/activity.ts";
import { SlowRing } from "../../adapters/server/slow.ts";
import { MemoryDevice } from "../store/harness.ts";
import { serve } from "./rest-harness.ts";

const SEED = Number(process.env["CAIRN_SEED"] ?? Date.now() % 2 ** 31);

describe("activity", () => {
  test("tells counts, quantiles and the longest of each second, and forgets what is old", () => {
    let state = SEED >>> 0 || 1;
    const random = (): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) / 2 ** 32;
    };
    let nowMs = 500_000;
    const activity = new Activity(() => nowMs);
    const expected: number[][] = [];
    for (let second = 0; second < 400; second++) {
      const taken = Array.from(
        { length: second % 7 === 3 ? 0 : 1 + Math.floor(random() * 60) },
        () => 10 ** (random() * 7 - 3.5),
      );
      for (const ms of taken) activity.took(ms);
      expected.push(taken.sort((a, b) => a - b));
      nowMs += 1000;
      activity.tick();
    }
    const list = activity.list(120);
    expect(list).toHaveLength(120);
    for (const [i, { at, count, p50Ms, p99Ms, maxMs }] of list.entries()) {
      const where = `seed ${SEED}, second ${i}`;
      const taken = expected.slice(-120)[i] as number[];
      expect(at, where).toBeCloseTo(Date.now() - nowMs + 500_000 + (280 + i) * 1000, -3);
      expect(count, where).toBe(taken.length);
      expect(maxMs, where).toBe(taken.at(-1) ?? 0);
      for (const [share, told] of [
        [0.5, p50Ms],
        [0.99, p99Ms],
      ] as const) {
        const exact = taken[Math.max(1, Math.ceil(taken.length * share)) - 1] ?? 0;
        // A quarter too long at most, or as short as is told apart.
        expect(told, where).toBeGreaterThanOrEqual(Math.min(exact, 500_000) * 0.999 - 0.001);
        expect(told, where).toBeLessThanOrEqual(exact * 1.26 + 0.002);
      }
    }
    nowMs += 1_000_000;
    expect(activity.list(500).every(({ count }) => count === 0)).toBe(true);
  });

  test("counts what slow operations are told of, and lists of them the newest that were slow", () => {
    let nowMs = 10_000;
    const activity = new Activity(() => nowMs);
    const told: string[] = [];
    const slow = new SlowRing(({ operation }) => told.push(operation), activity);
    slow.note("quick", 1, "one");
    for (let i = 0; i < 200; i++) slow.note(`slow ${i}`, 100 + i, "one", `id-${i}`);
    nowMs += 1000;
    expect(activity.list(1)).toMatchObject([{ count: 201, maxMs: 299 }]);
    expect(slow.list()).toHaveLength(128);
    expect(slow.list()[0]).toMatchObject({ operation: "slow 199", ms: 299, tenant: "one", requestId: "id-199" });
    expect(told).toHaveLength(200);
  });
});

describe("for operators", () => {
  test("the map has every segment once, with what the store says of them in all", async () => {
    const served = await serve({}, new MemoryDevice());
    try {
      for (let i = 0; i < 60; i++) await served.store.put(`k${i % 20}`, `${i}`.repeat(20_000));
      const map = (await served.json("/stats/segments")) as {
        segmentCount: number;
        segmentBytes: number;
        segmentsPerCell: number;
        cells: { first: number; free: number; log: number; checkpoint: number; usedBytes: number; liveBytes: number }[];
      };
      const stats = served.store.stats();
      const sum = (of: (cell: (typeof map.cells)[number]) => number): number =>
        map.cells.reduce((a, cell) => a + of(cell), 0);
      expect(map).toMatchObject({
        segmentCount: stats.segmentCount,
        segmentBytes: stats.segmentBytes,
        segmentsPerCell: 1,
      });
      expect(map.cells.map(({ first }) => first)).toEqual(Array.from({ length: stats.segmentCount }, (_, i) => i));
      expect(sum(({ free, log, checkpoint }) => free + log + checkpoint)).toBe(stats.segmentCount);
      expect(sum(({ log }) => log)).toBe(stats.segmentUsedCount);
      expect(sum(({ liveBytes }) => liveBytes)).toBe(stats.liveBytes);
      expect(sum(({ usedBytes }) => usedBytes)).toBeGreaterThan(stats.liveBytes);
    } finally {
      await served.close();
    }
  });

  test("slow operations and seconds are told as they are noted", async () => {
    const served = await serve();
    try {
      served.slow.note("GET /record", 250.5, "two", "r-1");
      expect(await served.json("/stats/slow")).toMatchObject({
        thresholdMs: 100,
        operations: [{ operation: "GET /record", ms: 250.5, tenant: "two", requestId: "r-1" }],
      });
      const { seconds } = (await served.json("/stats/activity")) as { seconds: unknown[] };
      expect(seconds.length).toBeLessThanOrEqual(120);
      await served.json("/stats/slow", { as: "two", status: 403 });
      await served.json("/stats/activity", { as: "root", status: 403 });
      await served.json("/stats/segments", { as: "reader", status: 403 });
    } finally {
      await served.close();
    }
  });
});
