/** The component while its file system fails, its handles or its memory run out, or somebody is at work beside it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { changeSuperblocks, FIELD } from "../store/superblock.ts";
import { bench, missing } from "./component.ts";

const { run, folder } = bench();
const SEGMENTS_OFFSET = 1024 * 1024;

/** A folder with a closed store that buckets lie in: the store's path. */
async function bucketStore(name: string): Promise<string> {
  mkdirSync(join(folder, name));
  const path = join(folder, name, "keyvalue.cairn");
  const store = await open(path);
  // Each takes a read, and none comes with its neighbour's.
  for (let i = 0; i < 8; i++) store.set(`b\0k${i}`, `${i}`.repeat(9000));
  store.set("b\0huge", "h".repeat(600_000));
  await store.close();
  return path;
}

describe.skipIf(missing)("a device that fails", () => {
  test("to read: every call says so, with the place, and the next one works", async () => {
    await bucketStore("reads");
    const { failed, placed, after } = await run("node", "failingReads", { name: "reads" });
    expect(failed).toEqual([
      ...Array(3).fill("device-read"),
      "DEVICE_READ",
      "DEVICE_READ",
      "DEVICE_READ",
      "DEVICE_READ",
    ]);
    expect(placed).toBeGreaterThan(SEGMENTS_OFFSET);
    expect(after).toEqual([null, null, null, null, "NOT_A_NUMBER", null, null]);
  });

  test("to write: the call says so, the store takes no more, and what was durable is there", async () => {
    const lives = await run("node", "failingWrites", { name: "writes", error: "io" });
    expect(lives).toHaveLength(12);
    for (const { kind, said, later, after, close, n } of lives) {
      const native = ["putDurable", "deleteDurable", "flush", "large"].includes(kind);
      expect(said, kind).toBe(native ? "device-write" : "DEVICE_WRITE");
      expect([...later, ...after], kind).toEqual(Array(11).fill("POISONED"));
      expect([close, n], kind).toEqual([null, "5"]);
    }
  });

  test("for want of room: the call says so, reads go on, and writes do once there is some", async () => {
    const lives = await run("node", "failingWrites", { name: "full", error: "insufficient-space" });
    for (const { kind, said, later, after, close, n } of lives) {
      const native = ["putDurable", "deleteDurable", "flush", "large"].includes(kind);
      expect(said, kind).toBe(native ? "no-space" : "NO_SPACE");
      expect(later.slice(0, 4), kind).toEqual(Array(4).fill(null));
      expect(after, kind).toEqual(Array(3).fill(null));
      expect(close, kind).toBeNull();
      expect(n, kind).toMatch(/^[567]$/);
    }
  });

  test("for want of room: what was written is held, and goes out with the first write that finds some", async () => {
    expect(await run("node", "heldForRoom", { name: "held" })).toEqual({
      counts: [true, true, true],
      refused: "no-space",
      deleted: true,
      found: [null, "there", "new", "new"],
    });
  });

  test("by its quota, by taking nothing, or by saying that it took more than there was", async () => {
    expect(await run("node", "oddWrites", { name: "odd" })).toEqual(["no-space", "device-write", "device-write"]);
  });

  test("in the midst of compaction: the store is poisoned, and every key is there", async () => {
    const given = { name: "compaction", first: 60, stride: 31, count: 3 };
    const said = await run("node", "failingCompaction", given);
    expect(said).toEqual(Array(3).fill(["device-write", 1500]));
  });
});

describe.skipIf(missing)("a bucket", () => {
  test("of a store that cannot be opened says why, as the store does", async () => {
    const change = async (name: string, field: number, value: number): Promise<void> => {
      const path = await bucketStore(name);
      const image = readFileSync(path);
      changeSuperblocks(image, (superblock) => superblock.setUint32(field, value, true));
      writeFileSync(path, image);
    };
    await change("newer", FIELD.formatVersion, 9);
    await change("engine", FIELD.engine, 2);
    const shrunk = await bucketStore("shrunk");
    writeFileSync(shrunk, readFileSync(shrunk).subarray(0, SEGMENTS_OFFSET + 65_536));
    const damaged = await bucketStore("damaged");
    const image = readFileSync(damaged);
    image.fill(1, 0, SEGMENTS_OFFSET);
    image.set(readFileSync(shrunk).subarray(0, 8));
    writeFileSync(damaged, image);
    const held = await open(await bucketStore("held-by-node"));
    const names = ["newer", "engine", "shrunk", "damaged", "held-by-node"];
    expect(await run("node", "wrongStores", names)).toEqual([
      ["UNSUPPORTED_FORMAT", "unsupported-format"],
      ["ENGINE_MISMATCH", "engine-mismatch"],
      ["DEVICE_SHRUNK", "device-shrunk"],
      ["CORRUPT", "corrupt"],
      ["LOCKED", null],
    ]);
    await held.close();
  });

  test("and its kin: how many there can be, and what they say when their store is closed, read-only or fenced", async () => {
    const { counts, said, swapped, closed, readOnly, fenced } = await run("node", "handles", { name: "handles" });
    expect(counts).toEqual([512, 1023, 1024]);
    expect(said).toEqual([
      expect.stringContaining("512 compare-and-swap handles are open"),
      expect.stringContaining("1,024 buckets are open"),
      expect.stringContaining("1,024 cursors are open"),
    ]);
    expect(swapped).toBe("OUT_OF_MEMORY");
    expect(closed).toEqual(["CLOSED", "CLOSED", "CLOSED"]);
    expect(readOnly).toEqual(["READ_ONLY", "READ_ONLY"]);
    expect(fenced).toEqual(["FENCED", "POISONED"]);
  });
});

test.skipIf(missing)("arguments and results that do not fit are refused, or trap, and harm nothing", async () => {
  const { said, messages, trapped, after } = await run("node", "fullArena", { name: "arena" });
  expect(said).toEqual(["OUT_OF_MEMORY", "key-size", "out-of-memory", "", "", "OUT_OF_MEMORY", "", "", ""]);
  // Where there is no room for a text either, there is none.
  expect(messages).toEqual(["", ""]);
  expect(trapped).toContain("unreachable");
  expect(after).toEqual([60 << 20, "NOT_A_NUMBER"]);
});

describe.skipIf(missing)("a lock", { concurrent: true }, () => {
  test.each([
    ["gone", { said: null, makes: 2, ours: true, left: false }],
    ["always", { said: "locked", makes: 8, ours: false, left: false }],
    ["ends", { said: null, makes: 2, ours: true, left: false }],
    ["torn", { said: "locked", makes: 1, ours: false, left: true }],
    ["other", { said: "locked", makes: 1, ours: false, left: true }],
    ["future", { said: "locked", makes: 1, ours: false, left: true }],
    ["claimed", { said: "locked", makes: 1, ours: false, left: true }],
    ["full", { said: "no-space", makes: 1, ours: false, left: true }],
    ["slow", { said: null, makes: 2, ours: true, left: false }],
    ["unnamed", { said: null, makes: 2, ours: true, left: false }],
    ["folder", { said: "locked", makes: 1, ours: false, left: true }],
    ["hex", { said: "locked", makes: 1, ours: false, left: true }],
    ["unwritten", { said: "device-write", makes: 1, ours: false, left: false }],
  ])("that changes between two calls of an opening: %s", async (kind, expected) => {
    expect(await run("node", "lockRaces", { name: `lock-${kind}`, kind })).toEqual(expected);
  });
});

test.skipIf(missing)("an opening that meets a folder, a blank file, or a system that refuses", async () => {
  expect(await run("node", "openings", { name: "openings" })).toEqual([
    "invalid-argument",
    "invalid-argument",
    "not-a-store",
    null,
    "device-read",
    "device-write",
    null,
    "device-read",
    "device-write",
    "locked",
    null,
  ]);
});
