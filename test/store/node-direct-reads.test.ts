/** The option `directReads` on a real file: cold values come from the device though the system has them in its cache. */
import { existsSync, readFileSync } from "node:fs";
import { beforeEach, expect, test } from "vitest";
import { directMissing } from "../hosts/scratch.ts";
import { open, scratchFolder, scratchPaths } from "./harness.ts";

const pathOf = scratchPaths();
const missing = directMissing(scratchFolder());
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };
const COUNT = 2000;
const keyOf = (i: number): string => `key ${i}`;
const textOf = (i: number): string => `${i}:${"v".repeat(3000)}`;

beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
  if (!existsSync("/proc/self/io")) skip("needs /proc/self/io");
});

/** Bytes that this process has had read from devices so far. */
function deviceBytes(): number {
  return Number(/^read_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "latin1"))?.[1]);
}

test.each([true, false])("directReads: %s", async (directReads) => {
  const path = pathOf();
  const store = await open(path, { ...SMALL, directReads });
  for (let i = 0; i < COUNT; i++) store.set(keyOf(i), textOf(i));
  await store.flush();
  // Now the system has all of it in its cache.
  readFileSync(path);
  const places = Array.from({ length: COUNT }, (_, i) => (i * 709) % COUNT);
  const readBy = async (body: () => unknown): Promise<number> => {
    const before = deviceBytes();
    await body();
    return deviceBytes() - before;
  };
  const sync = await readBy(() => {
    for (const i of places) if (store.get(keyOf(i)) !== textOf(i)) throw new Error(keyOf(i));
  });
  const async = await readBy(async () => {
    const found = await store.getMany(places.map(keyOf));
    places.forEach((i, place) => {
      if (found[place] !== textOf(i)) throw new Error(keyOf(i));
    });
  });
  const scan = await readBy(() => {
    for (const [key, value] of store.entries()) if (value !== textOf(Number(key.slice(4)))) throw new Error(key);
  });
  for (const bytes of [sync, async, scan]) {
    if (directReads) expect(bytes).toBeGreaterThan(COUNT * 2500);
    else expect(bytes).toBeLessThan(COUNT * 100);
  }
  await store.close();
});
