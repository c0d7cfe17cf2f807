/** Space on real media: files that give it back, disks that are full, block devices that become larger and smaller. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { codeOf, errorOf, open, scratchFolder, scratchPaths } from "./harness.ts";
import { hashOf, privilegeMissing, run } from "./node-machine.ts";

const folder = scratchFolder();
const newPath = scratchPaths();
const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 } as const;
const mounts: string[] = [];
const loops: string[] = [];

afterAll(() => {
  for (const mount of mounts) run("umount", mount);
  for (const loop of loops) run("losetup", "-d", loop);
});

/** A loop device over a new image of `size` bytes, and the image; skips where there are none. */
function newLoop(name: string, size: number, skip: (why?: string) => never): { loop: string; image: string } {
  const missing = privilegeMissing();
  if (missing !== undefined) skip(missing);
  const image = join(folder, name);
  fs.writeFileSync(image, "");
  fs.truncateSync(image, size);
  const attached = run("losetup", "-f", "--show", image);
  if ("failure" in attached) skip(`needs loop devices (${attached.failure})`);
  loops.push(attached.output);
  return { loop: attached.output, image };
}

const textOf = (i: number): string => `${i}`.padEnd(5000, ".");

/** Bytes of a file as it is listed, and those that the file system has given it. */
function sizesOf(path: string): { size: number; allocated: number } {
  const { size, blocks } = fs.statSync(path);
  return { size, allocated: blocks * 512 };
}

test("a file gives its space back to the file system: after a full compaction, and at close", async () => {
  const path = newPath();
  const store = await open(path, { ...SMALL, compaction: { auto: false } });
  for (let i = 0; i < 4000; i++) store.set(`key ${i}`, textOf(i));
  await store.flush();
  const full = sizesOf(path);
  expect(full.allocated).toBeGreaterThan(19 * MIB);
  for (let i = 0; i < 4000; i++) if (i % 20 !== 19) store.delete(`key ${i}`);
  await store.compact({ full: true });
  const compacted = sizesOf(path);
  expect(compacted.size).toBeLessThan(6 * MIB);
  expect(compacted.allocated).toBeLessThan(6 * MIB);
  // It grows anew, and holds what it held.
  for (let i = 0; i < 4000; i++) store.set(`new ${i}`, textOf(i));
  await store.flush();
  expect(sizesOf(path).allocated).toBeGreaterThan(19 * MIB);
  expect(store.clear({ prefix: "new" })).toBe(4000);
  await store.close();
  const closing = sizesOf(path);
  const again = await open(path, SMALL);
  expect(again.count()).toBe(200);
  for (let i = 19; i < 4000; i += 20) expect(again.get(`key ${i}`)).toBe(textOf(i));
  // What was deleted is free by now, and goes with the next close.
  await again.compact({ full: true });
  await again.close();
  const closed = sizesOf(path);
  expect(closed.size).toBeLessThanOrEqual(closing.size);
  expect(closed.size).toBeLessThan(8 * MIB);
  expect(closed.allocated).toBeLessThan(8 * MIB);
});

describe("a full disk", () => {
  test("a batch that outgrows the write buffer is refused whole on a full ext4, and done once there is room", async ({
    skip,
  }) => {
    const { loop } = newLoop("batch.image", 24 * MIB, skip);
    const made = run("mkfs.ext4", "-q", "-F", "-m", "0", loop);
    if ("failure" in made) skip(made.failure);
    const point = join(folder, "batch");
    fs.mkdirSync(point);
    const mounted = run("mount", loop, point);
    if ("failure" in mounted) skip(mounted.failure);
    mounts.push(point);
    const path = join(point, "store");
    const filler = join(point, "filler");
    const events: string[] = [];
    const store = await open(path, { ...SMALL, onEvent: ({ type }) => void events.push(type) });
    await store.put("before", "1");
    try {
      for (const chunk = new Uint8Array(65_536); fs.statfsSync(point).bavail > 1000; ) fs.appendFileSync(filler, chunk);
      const batch = Array.from(
        { length: 1600 },
        (_, i) => ({ type: "set", key: `key ${i}`, value: textOf(i) }) as const,
      );
      const { version } = store;
      expect(await codeOf(() => store.batch(batch))).toBe("NO_SPACE");
      expect(store.version).toBe(version);
      expect([...store.keys()]).toEqual(["before"]);
      await store.put("small", "2");
      expect(events).not.toContain("poisoned");
      fs.unlinkSync(filler);
      await store.batch(batch);
      expect(store.count()).toBe(1602);
    } finally {
      await store.close();
    }
    const again = await open(path, SMALL);
    for (let i = 0; i < 1600; i += 13) expect(again.get(`key ${i}`)).toBe(textOf(i));
    await again.close();
  });
});

describe("a block device", () => {
  test("a block device that was enlarged is used to its end at the next opening", async ({ skip }) => {
    const { loop, image } = newLoop("grows.image", 12 * MIB, skip);
    const fill = async (): Promise<number> => {
      const store = await open(loop, SMALL);
      let count = store.count();
      try {
        for (; ; count++) store.set(`key ${count}`, textOf(count));
      } catch (error) {
        expect((error as { code: string }).code).toBe("NO_SPACE");
      }
      await store.close();
      return count;
    };
    const before = await fill();
    fs.truncateSync(image, 40 * MIB);
    const grown = run("losetup", "-c", loop);
    if ("failure" in grown) skip(grown.failure);
    const after = await fill();
    // Of 28 MiB more, what checkpoints and the reserve take apart.
    expect(after - before).toBeGreaterThan((22 * MIB) / 5100);
    const again = await open(loop, SMALL);
    expect(again.stats().deviceBytes).toBe(40 * MIB);
    expect(again.count()).toBe(after);
    for (let i = 0; i < after; i += 17) expect(again.get(`key ${i}`)).toBe(textOf(i));
    expect((await again.verify()).faults).toEqual([]);
    await again.close();
  });

  test("a block device that is smaller than recorded is DEVICE_SHRUNK, and not one byte changes", async ({ skip }) => {
    const { loop, image } = newLoop("shrinks.image", 24 * MIB, skip);
    const store = await open(loop, SMALL);
    for (let i = 0; i < 1000; i++) store.set(`key ${i}`, textOf(i));
    await store.close();
    run("blockdev", "--flushbufs", loop);
    const whole = fs.readFileSync(image);
    fs.truncateSync(image, 16 * MIB);
    const made = run("losetup", "-c", loop);
    if ("failure" in made) skip(made.failure);
    const hash = hashOf(image);
    for (const options of [{}, { readOnly: true }, { create: true }]) {
      const error = await errorOf(() => open(loop, { ...SMALL, ...options }));
      expect(error.code).toBe("DEVICE_SHRUNK");
      expect(error.message).toContain("Restore its size");
    }
    run("blockdev", "--flushbufs", loop);
    expect(hashOf(image)).toBe(hash);
    // With its size, and what lay there, it is the store again.
    fs.writeFileSync(image, whole);
    run("losetup", "-c", loop);
    run("blockdev", "--flushbufs", loop);
    const again = await open(loop, SMALL);
    expect(again.count()).toBe(1000);
    await again.close();
  });
});
