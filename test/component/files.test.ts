/** The component and the plain Node host over the same files, on each runtime; what the component asks of its host. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { bench, jco, missing, RUNTIMES, type Runtime } from "./component.ts";
import { record } from "./records.mjs";

const { run, folder, binary } = bench();
const RECORD_COUNT = 240;
const BYTES = { keyEncoding: "binary", valueEncoding: "binary" } as const;

/** Whether the scenario `write` leaves record `i` there. */
const stays = (i: number): boolean => i % 9 !== 0;

describe.skipIf(missing)("the component", () => {
  test("imports nothing but WASI, and exports its store and wasi:keyvalue", async () => {
    const { componentWit } = await jco();
    const wit: string = await componentWit(binary());
    const world = wit.slice(wit.indexOf("world root"), wit.indexOf("\n}\n"));
    const named = (kind: string): string[] =>
      [...world.matchAll(new RegExp(`^\\s+${kind} (\\S+);$`, "gm"))].map((match) => match[1] as string).sort();
    expect(named("import")).toEqual([
      "wasi:clocks/monotonic-clock@0.2.12",
      "wasi:clocks/wall-clock@0.2.12",
      "wasi:filesystem/preopens@0.2.12",
      "wasi:filesystem/types@0.2.12",
      "wasi:io/poll@0.2.12",
      "wasi:random/random@0.2.12",
    ]);
    expect(named("export")).toEqual([
      "cairn:kv/store@0.1.0",
      "wasi:keyvalue/atomics@0.2.0-draft2",
      "wasi:keyvalue/batch@0.2.0-draft2",
      "wasi:keyvalue/store@0.2.0-draft2",
    ]);
    // No import of another form either: every line that begins with `import` was matched above.
    expect(world.match(/^\s+import /gm)).toHaveLength(6);
  });

  describe.each(RUNTIMES)("on %s", (runtime: Runtime) => {
    test("writes what Node reads, and reads what Node writes", async () => {
      const name = `${runtime}.cairn`;
      const path = join(folder, name);
      const written = await run(runtime, "write", { name, from: 0, to: RECORD_COUNT, mark: "c" });
      const expected = Array.from({ length: RECORD_COUNT }, (_, i) => i).filter(stays);
      expect(written).toEqual({ count: expected.length, deleted: true, again: "closed" });

      // The component reads compressed values, and writes none.
      const store = await open(path, { ...BYTES, create: false, compression: "lz4" });
      expect(store.stats().compressedValueCount).toBe(0);
      for (let i = 0; i < RECORD_COUNT; i++) {
        const [key, value] = record(i, "c");
        const found = store.get(key);
        if (stays(i)) expect(Buffer.compare(found as Uint8Array, value), `record ${i}`).toBe(0);
        else expect(found, `record ${i}`).toBeUndefined();
      }
      expect(store.count()).toBe(expected.length);
      for (let i = 0; i < RECORD_COUNT; i += 2) store.set(...record(i, "n"));
      for (let i = 1; i < RECORD_COUNT; i += 2) store.delete(record(i, "n")[0]);
      const entries = [...store.entries()];
      expect(store.stats().compressedValueCount).toBeGreaterThan(10);
      await store.close();

      const read = await run(runtime, "read", { name, from: 0, to: RECORD_COUNT, mark: "n" });
      const keys = entries.map(([key]) => Buffer.from(key).toString("hex"));
      const size = entries.reduce((sum, [, value]) => sum + value.length, 0);
      expect(read).toEqual({
        there: RECORD_COUNT / 2,
        wrong: [],
        walks: [
          { keys, size },
          { keys: keys.toReversed(), size },
        ],
        keyCount: RECORD_COUNT / 2,
      });
    });
  });

  test("compacts by itself, within its calls", async () => {
    const rounds = 40;
    const given = { name: "compacted.cairn", count: 400, rounds, size: 4000 };
    const { fileSize, wrong, keyCount } = await run("node", "overwrite", given);
    expect({ wrong, keyCount }).toEqual({ wrong: 0, keyCount: 400 });
    // Written were 64 MB, of which 1.6 MB are live.
    expect(fileSize).toBeLessThan(20_000_000);
  });

  test("walks ranges with every kind of end, forwards and back", async () => {
    const numbered = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, i) => `a${String(from + i).padStart(2, "0")}`);
    const cases: [unknown, string[]][] = [
      [{ lower: ["included", "a10"], upper: ["included", "a12"] }, numbered(10, 13)],
      [{ lower: ["excluded", "a10"], upper: ["excluded", "a12"], reverse: true }, ["a11"]],
      [{ lower: ["included", "a95"], reverse: true }, ["\xff\xff", "\xff", ...numbered(95, 100).toReversed()]],
      [{ prefix: "a9", lower: ["excluded", "a95"] }, numbered(96, 100)],
      [{ prefix: "a9", upper: ["excluded", "a93"], reverse: true }, numbered(90, 93).toReversed()],
      [{ prefix: "a9", lower: ["included", "a0"], upper: ["included", "b"] }, numbered(90, 100)],
      [{ prefix: "\xff" }, ["\xff", "\xff\xff"]],
      [{ lower: ["included", "b"], upper: ["excluded", "a"] }, []],
      [{ lower: ["included", "b"], upper: ["excluded", "a"], reverse: true }, []],
      [{ upper: ["included", ""] }, []],
    ];
    const results = await run(
      "node",
      "ranges",
      cases.map(([range]) => range),
    );
    expect(results).toEqual(cases.map(([, keys]) => ({ keys, count: keys.length })));
  });

  test("finds the directory that a path begins with", async () => {
    const [deep, here, first, data] = ["deep", "here", "first", "all"].map((name) => {
      mkdirSync(join(folder, "paths", name, "inner"), { recursive: true });
      return join(folder, "paths", name);
    });
    const several = { "/all": data, "/all/deep/": deep, ".": here, other: first };
    const one = { "/somewhere": first };
    const cases: [unknown, string | undefined, string | undefined | null][] = [
      [several, "/all/a.cairn", null],
      [several, "/all/deep/b.cairn", null],
      [several, "/all/inner/c.cairn", null],
      [several, "d.cairn", null],
      [several, "inner/e.cairn", null],
      [several, "other/f.cairn", null],
      [several, "/allover/g.cairn", "invalid-argument"],
      [several, "/g.cairn", "invalid-argument"],
      [several, "", "invalid-argument"],
      [several, "missing/g.cairn", "invalid-argument"],
      [one, "h.cairn", null],
      [{ "/": join(folder, "paths") }, "/first/i.cairn", null],
      [{}, "g.cairn", "invalid-argument"],
      [{}, undefined, "no-such-store"],
    ];
    const codes = await run(
      "node",
      "paths",
      cases.map(([preopens, path]) => ({ preopens, path })),
    );
    expect(codes).toEqual(cases.map(([, , code]) => code));
    const files = readdirSync(join(folder, "paths"), { recursive: true, encoding: "utf8" });
    expect(files.filter((file) => file.includes(".cairn")).sort()).toEqual([
      "all/a.cairn",
      "all/inner/c.cairn",
      "deep/b.cairn",
      "first/f.cairn",
      "first/h.cairn",
      "first/i.cairn",
      "here/d.cairn",
      "here/inner/e.cairn",
    ]);
  });

  test("walks a snapshot", async () => {
    expect(await run("node", "snapshot")).toEqual({
      seen: ["old a", "old b", "old c"],
      end: 0,
      open: 1,
      now: ["old a", "new b", "new d"],
      bad: { code: "invalid-argument", message: "count must be 1 to 1,024." },
    });
  });
});
