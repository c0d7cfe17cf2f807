/** A commit in flight leaves the thread to the program, on every runtime. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openTarget, scratchFolder } from "./scratch.ts";

const SIZE = 64 * 1024 * 1024;
const PIECE_COUNT = 16;

test("a large commit does not block the event loop", async () => {
  const path = join(scratchFolder(), "store");
  const target = await openTarget(path, { create: true, readOnly: false, format: false });
  const { device } = target;
  device.resize?.(SIZE * 2);
  device.sync();
  const memory = new WebAssembly.Memory({ initial: SIZE / 65_536, maximum: SIZE / 65_536 });
  new Uint8Array(memory.buffer).fill(7);
  let turns = 0;
  let longestMs = 0;
  let lastMs = performance.now();
  const turn = (): void => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
    turns += 1;
  };
  const timer = setInterval(turn, 1);
  const startMs = performance.now();
  const pieces = Array.from({ length: PIECE_COUNT }, (_, index) => {
    const size = SIZE / PIECE_COUNT;
    return { offset: index * 2 * size, source: new Uint8Array(memory.buffer, index * size, size), uncached: index > 8 };
  });
  await device.commitAsync?.(pieces);
  const ms = performance.now() - startMs;
  turn();
  clearInterval(timer);
  target.release();
  expect(statSync(path).size).toBe(2 * SIZE);
  // Written on this thread, it would be one pause of all that time.
  expect(turns, `${ms} ms`).toBeGreaterThan(4);
  expect(longestMs, `of ${ms} ms`).toBeLessThan(Math.max(100, ms * 0.7));
});
