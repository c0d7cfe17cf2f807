/** Full disks and block devices of our own: a small tmpfs, a small ext4, loop devices. They need root. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { StoreEvent } from "../../store/options.ts";
import { runProgram } from "../runtime.ts";
import { codeOf, errorOf, open, pause, scratchFolder } from "./harness.ts";
import { hashOf, privilegeMissing, run } from "./node-machine.ts";

const folder = scratchFolder();
const MIB = 1_048_576;
const mounts: string[] = [];
const loops: string[] = [];

afterAll(() => {
  for (const mount of mounts) run("umount", mount);
  for (const loop of loops) run("losetup", "-d", loop);
});

let missing = privilegeMissing();

beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});

/** A loop device over a new image of `size` bytes; `undefined` where there are none. */
function newLoop(name: string, size: number): string | undefined {
  const image = join(folder, name);
  fs.writeFileSync(image, "");
  fs.truncateSync(image, size);
  const attached = run("losetup", "-f", "--show", image);
  if ("failure" in attached) {
    missing = `needs loop devices (${attached.failure})`;
    return undefined;
  }
  loops.push(attached.output);
  return attached.output;
}

/** A small file system, mounted; `undefined` where that cannot be. */
function newMount(kind: "tmpfs" | "ext4", size: number): string | undefined {
  const point = join(folder, `${kind}-${mounts.length}`);
  fs.mkdirSync(point);
  if (kind === "tmpfs") {
    const mounted = run("mount", "-t", "tmpfs", "-o", `size=${size}`, "none", point);
    if ("failure" in mounted) return undefined;
  } else {
    const loop = newLoop(`${kind}-${mounts.length}.image`, size);
    if (loop === undefined) return undefined;
    if ("failure" in run("mkfs.ext4", "-q", "-F", "-m", "0", loop)) return undefined;
    if ("failure" in run("mount", loop, point)) return undefined;
  }
  mounts.push(point);
  return point;
}

describe("a full disk", () => {
  for (const kind of ["tmpfs", "ext4"] as const) {
    test(`of ${kind} is NO_SPACE, reads go on, and so do writes once there is space`, async ({ skip }) => {
      const point = newMount(kind, 16 * MIB) ?? skip(`cannot mount a ${kind}`);
      const path = join(point, "store");
      const filler = join(point, "filler");
      const events: string[] = [];
      const onEvent = (event: StoreEvent): void => void events.push(event.type);
      const store = await open(path, { onEvent, writeBufferBytes: 262_144, cacheBytes: 262_144, flushIntervalMs: 10 });
      for (let i = 0; i < 100; i++) store.set(`key ${i}`, `${i}`.padEnd(3000, "."));
      await store.flush();
      try {
        for (const chunk = new Uint8Array(65_536); ; ) fs.appendFileSync(filler, chunk);
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
      }
      let acknowledged = 0;
      let code = "";
      while (code === "" && acknowledged < 10_000) {
        try {
          await store.put(`more ${acknowledged}`, "m".repeat(3000));
          acknowledged++;
        } catch (error) {
          code = (error as { code: string }).code;
        }
      }
      expect(code).toBe("NO_SPACE");
      const count = store.count();
      expect(await codeOf(() => store.set("refused", "r".repeat(3000)))).toBe("NO_SPACE");
      expect(await codeOf(() => store.flush())).toBe("NO_SPACE");
      await pause(50);
      expect(store.count()).toBe(count);
      for (let i = 0; i < 100; i++) expect(store.get(`key ${i}`)).toBe(`${i}`.padEnd(3000, "."));
      expect([...store.values({ prefix: "more" })].every((value) => value === "m".repeat(3000))).toBe(true);
      expect(events).toContain("full");
      expect(events).not.toContain("poisoned");

      fs.unlinkSync(filler);
      store.set("after", "a");
      await store.put("later", "l".repeat(500_000));
      expect(store.stats().durableVersion).toBe(store.stats().version);
      await store.close();
      const again = await open(path);
      expect(again.count()).toBe(count + 2);
      for (let i = 0; i < acknowledged; i++) expect(again.get(`more ${i}`)).toBe("m".repeat(3000));
      await again.close();
    });
  }

  const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 } as const;
  const textOf = (i: number): string => `${i}`.padEnd(10_000, ".");

  /** Writes a file until nothing more fits the file system. */
  function fill(path: string): void {
    try {
      for (const chunk = new Uint8Array(4096); ; ) fs.appendFileSync(path, chunk);
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
    }
  }

  for (const kind of ["tmpfs", "ext4"] as const) {
    test(`of ${kind} without a byte of room: a store opens, reads, deletes, compacts and is written again in its own space`, async ({
      skip,
    }) => {
      const point = newMount(kind, 40 * MIB) ?? skip(`cannot mount a ${kind}`);
      const path = join(point, "store");
      const store = await open(path, SMALL);
      // Overwritten again and again, so that all of the file was written once.
      for (let round = 0; round < 6; round++) {
        for (let i = 0; i < 800; i++) store.set(`key ${i}`, textOf(i));
        await store.flush();
      }
      await store.close();
      fill(join(point, "filler"));
      const events: string[] = [];
      const again = await open(path, { ...SMALL, onEvent: ({ type }) => void events.push(type) });
      expect(again.count()).toBe(800);
      for (let i = 0; i < 800; i += 7) expect(again.get(`key ${i}`)).toBe(textOf(i));
      expect((await errorOf(() => open(path))).code).toBe("LOCKED");
      for (let i = 0; i < 800; i++) if (i % 8 !== 0) again.delete(`key ${i}`);
      // Where the file had grown ahead, what comes to lie there waits for a little room, and nothing is lost.
      const goOn = async <T>(work: () => Promise<T>): Promise<T> => {
        try {
          return await work();
        } catch (error) {
          expect((error as { code?: string }).code).toBe("NO_SPACE");
          fs.truncateSync(join(point, "filler"), fs.statSync(join(point, "filler")).size - 4 * MIB);
          return work();
        }
      };
      const { segmentsFreed } = await goOn(() => again.compact({ full: true }));
      expect(segmentsFreed).toBeGreaterThan(5);
      // What was cut off is room on the file system.
      for (let i = 0; i < 400; i++) await goOn(() => again.put(`new ${i}`, textOf(i)));
      expect(events).not.toContain("poisoned");
      expect((await again.verify()).faults).toEqual([]);
      await again.close();
      expect(fs.readdirSync(point).filter((name) => name.startsWith("store"))).toEqual(["store"]);
      const last = await open(path, SMALL);
      expect(last.count()).toBe(500);
      for (let i = 0; i < 400; i += 9) expect(last.get(`new ${i}`)).toBe(textOf(i));
      await last.close();
    });

    test(`of ${kind} without a byte of room: a file that was never written to its end holds what is written until there is some`, async ({
      skip,
    }) => {
      const point = newMount(kind, 24 * MIB) ?? skip(`cannot mount a ${kind}`);
      const path = join(point, "store");
      const store = await open(path, SMALL);
      for (let i = 0; i < 800; i++) store.set(`key ${i}`, textOf(i));
      await store.flush();
      await store.close();
      const filler = join(point, "filler");
      fill(filler);
      const events: string[] = [];
      const again = await open(path, { ...SMALL, onEvent: ({ type }) => void events.push(type) });
      expect(again.count()).toBe(800);
      // Written until the room that the file has of its own is used up: then a group is held.
      let count = 0;
      let code = "";
      while (code === "" && count < 3000) {
        code = await again.put(`more ${count++}`, "m".repeat(3000)).then(
          () => "",
          (error) => error.code,
        );
      }
      expect(code).toBe("NO_SPACE");
      const refused = [
        () => again.set("refused", "r".repeat(3000)),
        () => again.delete("key 7"),
        () => again.flush(),
        () => again.compact({ full: true }),
      ];
      for (const call of refused) expect(await codeOf(call)).toBe("NO_SPACE");
      expect(again.count()).toBe(800 + count);
      for (let i = 0; i < 800; i += 8) expect(again.get(`key ${i}`)).toBe(textOf(i));
      // A little is enough: what the store gives back makes the rest.
      fs.truncateSync(filler, fs.statSync(filler).size - 2 * MIB);
      for (let i = 0; i < 800; i++) if (i % 8 !== 0) again.delete(`key ${i}`);
      await again.flush();
      await again.compact({ full: true });
      for (let i = 0; i < 400; i++) await again.put(`new ${i}`, textOf(i));
      expect(events).not.toContain("poisoned");
      await again.close();
      const last = await open(path, SMALL);
      expect(last.count()).toBe(500 + count);
      for (let i = 0; i < count; i++) expect(last.get(`more ${i}`)).toBe("m".repeat(3000));
      await last.close();
    });
  }

  test("has no room for a store, and none is left behind", async ({ skip }) => {
    const point = newMount("tmpfs", 65_536) ?? skip("cannot mount a tmpfs");
    fs.writeFileSync(join(point, "filler"), new Uint8Array(40_000));
    const error = await errorOf(() => open(join(point, "store")));
    expect(error.code).toBe("NO_SPACE");
    expect(fs.readdirSync(point)).toEqual(["filler"]);
  });
});

describe("a block device", () => {
  test("is formatted when it is blank, and keeps what it was given", async ({ skip }) => {
    const loop = newLoop("blank.image", 24 * MIB) ?? skip(missing);
    const store = await open(loop, { writeBufferBytes: 262_144, cacheBytes: 262_144 });
    expect(store.stats().deviceBytes).toBe(24 * MIB);
    for (let i = 0; i < 200; i++) store.set(`key ${i}`, `${i}`.repeat(1000));
    await store.put("large", "l".repeat(3 * MIB));
    const error = await errorOf(() => open(loop));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(loop);
    await store.close();
    expect(fs.existsSync(`${loop}.lock`)).toBe(false);
    const body = `
      const store = await open(target, { memoryBytes });
      say([store.count(), store.get("key 7").length, store.get("large").length]);
      store.set("from another process", "1");
      process.exit(0);
    `;
    expect(runProgram(body, loop).said).toEqual([[201, 1000, 3 * MIB]]);
    const again = await open(loop);
    expect(again.get("from another process")).toBe("1");
    expect(again.get("key 199")).toBe("199".repeat(1000));
    await again.close();
    const reader = await open(loop, { readOnly: true });
    expect(reader.count()).toBe(202);
    await reader.close();
  });

  test("that holds a file system is refused, unless format is true", async ({ skip }) => {
    const loop = newLoop("other.image", 16 * MIB) ?? skip(missing);
    const made = run("mkfs.ext4", "-q", "-F", loop);
    if ("failure" in made) skip(made.failure);
    const image = join(folder, "other.image");
    run("sync", image);
    const hash = hashOf(image);
    for (const options of [{}, { readOnly: true }, { create: true }]) {
      const error = await errorOf(() => open(loop, options));
      expect(error.code).toBe("NOT_A_STORE");
    }
    run("blockdev", "--flushbufs", loop);
    expect(hashOf(image)).toBe(hash);
    const store = await open(loop, { format: true });
    store.set("a", "1");
    await store.close();
    const again = await open(loop);
    expect(again.get("a")).toBe("1");
    await again.close();
  });

  test("that is full refuses before its reserve, and still reads, deletes, closes and opens", async ({ skip }) => {
    const loop = newLoop("full.image", 12 * MIB) ?? skip(missing);
    const store = await open(loop, { writeBufferBytes: 262_144, cacheBytes: 262_144 });
    let count = 0;
    let code = "";
    while (code === "") {
      try {
        store.set(`key ${String(count).padStart(6, "0")}`, `${count}`.padEnd(2000, "."));
        count++;
      } catch (error) {
        code = (error as { code: string }).code;
      }
    }
    expect(code).toBe("NO_SPACE");
    expect(count).toBeGreaterThan(2000);
    expect(await codeOf(() => store.put("more", "m".repeat(3000)))).toBe("NO_SPACE");
    await store.flush();
    for (let i = 0; i < count; i += 11) {
      expect(store.get(`key ${String(i).padStart(6, "0")}`)).toBe(`${i}`.padEnd(2000, "."));
    }
    for (let i = 0; i < 100; i++) await store.del(`key ${String(i).padStart(6, "0")}`);
    expect(store.clear({ lt: "key 000200" })).toBe(100);
    await store.close();
    const again = await open(loop);
    expect(again.count()).toBe(count - 200);
    expect(again.delete("key 000200")).toBe(true);
    await again.close();
  });

  test("that is too small is NO_SPACE, and untouched", async ({ skip }) => {
    const loop = newLoop("small.image", 2 * MIB) ?? skip(missing);
    expect(await codeOf(() => open(loop))).toBe("NO_SPACE");
    run("blockdev", "--flushbufs", loop);
    expect(fs.readFileSync(join(folder, "small.image")).every((byte) => byte === 0)).toBe(true);
  });
});
