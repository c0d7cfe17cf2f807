/** Small file systems without a byte of room: what a store does on them, and that it goes on once there is some. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { codeOf } from "../thrown.ts";
import { type FileSystem, fillUp, MIB, privilegeMissing, refusalOf } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";

const SMALL = {
  memoryBytes: 33_554_432,
  writeBufferBytes: 262_144,
  cacheBytes: 262_144,
  flushIntervalMs: 10,
} as const;
const CASES: { kind: FileSystem; size: number }[] = [
  { kind: "ext4", size: 16 * MIB },
  { kind: "xfs", size: 300 * MIB },
  { kind: "btrfs", size: 64 * MIB },
];

/** Half a MiB each. */
const SPARES = 8;

const machine = machineOfTests(privilegeMissing());

const textOf = (i: number): string => `${i}`.padEnd(3000, ".");

describe("a full file system", () => {
  test.for(CASES)(
    "of $kind is NO_SPACE before anything changes; reads go on, and writes once there is room",
    async ({ kind, size }, { skip }) => {
      let point = "";
      const missing = refusalOf(() => {
        ({ point } = machine.newMount(kind, size));
      });
      if (missing !== undefined) skip(missing);
      const path = join(point, "store");
      const events: string[] = [];
      const onEvent = ({ type }: { type: string }): void => void events.push(type);
      const store = await open(path, { ...SMALL, onEvent });
      const model = new Map<string, string>();
      for (let i = 0; i < 600; i++) {
        store.set(`key ${i}`, textOf(i));
        model.set(`key ${i}`, textOf(i));
      }
      await store.flush();
      const giveRoom = fillUp(point, SPARES);

      // Written until a group is held: it stays visible, and was never acknowledged.
      let code = "";
      for (let i = 0; code === "" && i < 5000; i++) {
        model.set(`more ${i}`, textOf(i));
        code = await store.put(`more ${i}`, textOf(i)).then(
          () => "",
          (error) => error.code,
        );
        // What was refused before it was taken has changed nothing.
        if (code !== "" && !store.has(`more ${i}`)) model.delete(`more ${i}`);
      }
      expect(code).toBe("NO_SPACE");
      const { version } = store;
      for (const call of [
        () => store.set("refused", textOf(1)),
        () => store.batch([{ type: "set", key: "refused", value: textOf(1) }]),
        () => store.transaction((tx) => tx.set("refused", "1")),
      ]) {
        expect(await codeOf(call)).toBe("NO_SPACE");
      }
      expect(store.version).toBe(version);
      expect(new Map(store.entries())).toEqual(model);
      expect(await store.getAsync("key 3")).toBe(textOf(3));

      // A little room, and all goes on: what was held, deletions, compaction, which gives the file's own space back.
      giveRoom(SPARES);
      await store.flush();
      expect(store.durableVersion).toBe(store.version);
      for (let i = 0; i < 600; i++) {
        if (i % 6 === 0) continue;
        store.delete(`key ${i}`);
        model.delete(`key ${i}`);
      }
      await store.flush();
      await store.compact({ full: true });
      for (let i = 0; i < 300; i++) {
        await store.put(`new ${i}`, textOf(i));
        model.set(`new ${i}`, textOf(i));
      }
      expect(events).toContain("full");
      expect(events).not.toContain("poisoned");
      expect((await store.verify()).faults).toEqual([]);
      await store.close();
      const again = await open(path, SMALL);
      expect(new Map(again.entries())).toEqual(model);
      await again.close();
    },
  );

  test.for(CASES)(
    "of $kind: a store that has room of its own opens, deletes, compacts and is written on",
    async ({ kind, size }, { skip }) => {
      let point = "";
      const missing = refusalOf(() => {
        ({ point } = machine.newMount(kind, size));
      });
      if (missing !== undefined) skip(missing);
      const path = join(point, "store");
      const store = await open(path, SMALL);
      // Overwritten, so that segments of it are free.
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 500; i++) store.set(`key ${i}`, textOf(i + round));
        await store.flush();
      }
      await store.close();
      const giveRoom = fillUp(point, SPARES);
      const model = new Map(Array.from({ length: 500 }, (_, i) => [`key ${i}`, textOf(i + 4)]));
      const events: string[] = [];
      const goOn = async <T>(work: () => Promise<T> | T): Promise<T> => {
        for (;;) {
          try {
            return await work();
          } catch (error) {
            // A file that writes in place (ext4, xfs) may have grown ahead of what was written; btrfs writes nothing in place.
            expect((error as { code?: string }).code).toBe("NO_SPACE");
            expect(giveRoom(1), "there is room enough").toBe(true);
          }
        }
      };
      // A mount writes: its superblock at least.
      const again = await goOn(() => open(path, { ...SMALL, onEvent: ({ type }) => void events.push(type) }));
      expect(new Map(again.entries())).toEqual(model);
      for (let i = 0; i < 400; i++) {
        await goOn(() => again.delete(`key ${i}`));
        model.delete(`key ${i}`);
      }
      await goOn(() => again.flush());
      await goOn(() => again.compact({ full: true }));
      for (let i = 0; i < 200; i++) {
        await goOn(() => again.put(`new ${i}`, textOf(i)));
        model.set(`new ${i}`, textOf(i));
      }
      expect(events).not.toContain("poisoned");
      await goOn(() => again.flush());
      await again.close();
      const last = await open(path, SMALL);
      expect(new Map(last.entries())).toEqual(model);
      expect((await last.verify()).faults).toEqual([]);
      await last.close();
    },
  );
});
