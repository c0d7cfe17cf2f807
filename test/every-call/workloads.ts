/** What is done to a store while each of its calls fails in turn: between them these touch every path to the device. */
import type { Watch } from "../../store/watch.ts";
import type { DeviceKind } from "./device.ts";
import type { Commit } from "./history.ts";
import { lasting } from "./history.ts";
import type { Life } from "./life.ts";
import { key, plainText, text } from "./texts.ts";
import type { Workload } from "./trial.ts";
import { Violation } from "./violation.ts";

const FILE: DeviceKind = { growable: true, readsAsync: true, commits: true };
/** What an embedder brings: only what has to be there. */
const PLAIN: DeviceKind = { growable: true, readsAsync: false, commits: false };
const VOLUME: DeviceKind = { growable: false, readsAsync: true, commits: true };
const SEGMENT = 65_536;
const MIB = 1_048_576;

function fill(life: Life, from: number, to: number, length: number): void {
  for (let i = from; i < to; i++) life.set(key(i), text(life.commits.length, length));
}

/** A commit of several keys. */
function commit(...entries: [string, string | undefined][]): Commit {
  return new Map(entries.map(([name, value]) => [name, value === undefined ? undefined : lasting(value)]));
}

/** The commit that deletes all keys that begin with a text. */
function without(life: Life, prefix: string): Commit {
  const keys = [...life.model.keys()].filter((name) => name.startsWith(prefix));
  return new Map(keys.map((name) => [name, undefined]));
}

async function writeAll(life: Life): Promise<void> {
  life.set("a", "1");
  life.put("b", text(1, 300));
  life.set(key(1), text(2, 90));
  life.delete(key(2));
  await life.settle();
  life.batch(commit(["c", "3"], [key(3), undefined], ["d", text(3, 3000)], ["c", "4"]));
  life.del(key(4));
  await life.settle();
  life.write("append", commit(["a", "12"]), (store) => store.append("a", "2"));
  life.write("patch", commit(["a", "32"]), (store) => store.patch("a", 0, "3"));
  life.write("increment", commit(["a", "42"]), (store) => store.increment("a", 10n));
  life.write("update", commit(["a", "42!"]), (store) => store.update("a", (old) => `${old}!`));
  life.write("merge", commit(["json", '{"x":1}']), (store) => store.merge("json", { x: 1 }));
  life.write("set", commit(["fresh", "1"]), (store) => store.set("fresh", "1", { ifVersion: null }));
  life.flushSync();
  life.write("set", commit(["e", text(4, 5000)]), (store) => store.set("e", text(4, 5000)));
  life.put("f", "1");
  await life.flush();
  life.delete("b");
  await life.settle(50);
  life.scan();
}

async function readAll(life: Life): Promise<void> {
  for (let i = 0; i < 24; i += 3) life.get(key(i));
  for (let i = 1; i < 24; i += 4) {
    await life.later("getAsync", async (store) => life.same(key(i), await store.getAsync(key(i))));
  }
  const many = [2, 5, 8, 11, 14, 17, 20, 23].map(key);
  await life.later("getMany", async (store) => {
    const found = await store.getMany(many);
    for (const [i, name] of many.entries()) life.same(name, found[i]);
  });
  life.read("getEntry", (store) => life.same(key(3), store.getEntry(key(3))?.value));
  await life.later("entries", async (store) => {
    for await (const [name, value] of store.entries()) life.same(name, value);
  });
  await life.later("nextv", async (store) => {
    const walk = store.entries({ gte: key(6), reverse: true });
    for (;;) {
      const some = await walk.nextv(3);
      if (some.length === 0) break;
      for (const [name, value] of some) life.same(name, value);
    }
  });
  life.read("values", (store) => void [...store.values({ limit: 5 })]);
  life.scan();
}

async function overwriteAll(life: Life): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20; i++) {
      life.set(key(i), text(life.commits.length, 2500));
      if (i % 5 === 0) await life.settle(2);
    }
  }
  await life.settle(60);
  life.scan();
}

async function compactAll(life: Life): Promise<void> {
  await life.later("compact", async (store) => void (await store.compact()));
  life.set("between", text(1, 500));
  await life.later("compact", async (store) => void (await store.compact({ full: true })));
  life.scan();
  await life.flush();
}

/** Twice as much as there need be. */
async function garbage(life: Life): Promise<void> {
  fill(life, 0, 40, 3000);
  await life.flush();
  for (let i = 0; i < 40; i += 2) life.set(key(i), text(life.commits.length, 3000));
  for (let i = 1; i < 40; i += 6) life.delete(key(i));
  await life.flush();
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: "format",
    options: { device: FILE },
    opening: true,
    run: async (life) => {
      life.set("a", "1");
      life.put("b", text(1, 5000));
      await life.settle();
      await life.close();
    },
  },
  { name: "writes", options: { device: FILE }, before: (life) => fill(life, 0, 10, 200), run: writeAll },
  { name: "writes, plain device", options: { device: PLAIN }, before: (life) => fill(life, 0, 10, 200), run: writeAll },
  {
    name: "durability sync",
    options: { device: FILE, durability: "sync" },
    before: (life) => fill(life, 0, 6, 200),
    run: async (life) => {
      life.set("a", "1");
      life.set(key(1), text(1, 9000));
      life.delete(key(2));
      life.put("b", "2");
      await life.settle();
      life.write("transaction", commit(["c", "3"], [key(3), undefined]), (store) =>
        store.transaction((tx) => {
          tx.set("c", "3");
          tx.delete(key(3));
        }),
      );
      life.scan();
    },
  },
  {
    name: "large values",
    options: { device: FILE, outgrows: true },
    before: async (life) => {
      life.set("large", text(1, 200_000));
      await life.flush();
    },
    run: async (life) => {
      life.set("new", text(2, 90_000));
      life.get("new");
      life.put("large", text(3, 300_000));
      await life.settle();
      life.get("large");
      await life.later("getAsync", async (store) => life.same("large", await store.getAsync("large")));
      const longer = `${life.model.get("new")?.text ?? ""}!`;
      life.write("append", commit(["new", longer]), (store) => store.append("new", "!"));
      life.batch(commit(["x", text(4, 150_000)], ["large", undefined], ["y", "2"]));
      await life.settle();
      life.scan();
    },
  },
  {
    name: "buffer full",
    options: { device: FILE, durability: "manual", outgrows: true },
    before: (life) => fill(life, 0, 3, 200),
    run: async (life) => {
      fill(life, 10, 50, 12_000);
      life.flushSync();
      fill(life, 20, 45, 12_000);
      life.batch(new Map(Array.from({ length: 40 }, (_, i) => [key(100 + i), lasting(text(1000 + i, 9000))])));
      await life.settle();
      life.write("clear", without(life, "key 002"), (store) => store.clear({ prefix: "key 002" }));
      await life.flush();
      life.scan();
    },
  },
  {
    name: "cold reads",
    options: { device: FILE, cacheBytes: 0 },
    before: (life) => fill(life, 0, 24, 9000),
    run: readAll,
  },
  {
    name: "cold reads, plain device",
    options: { device: PLAIN, cacheBytes: 0 },
    before: (life) => fill(life, 0, 24, 9000),
    run: readAll,
  },
  {
    name: "snapshots",
    options: { device: FILE, cacheBytes: 0 },
    before: (life) => fill(life, 0, 12, 5000),
    run: async (life) => {
      const then = new Map(life.model);
      let view: ReturnType<Life["store"]["snapshot"]> | undefined;
      life.read("snapshot", (store) => {
        view = store.snapshot();
      });
      const walk = life.store.entries()[Symbol.iterator]();
      life.read("entries", () => void walk.next());
      for (let i = 0; i < 12; i += 2) life.set(key(i), text(life.commits.length, 5000));
      life.delete(key(3));
      await life.flush();
      life.read("get", () => life.same(key(4), view?.get(key(4)), then));
      life.read("entries", () => {
        for (const [name, value] of view?.entries() ?? []) life.same(name, value, then);
      });
      life.read("entries", () => {
        for (let next = walk.next(); !next.done; next = walk.next()) life.same(next.value[0], next.value[1], then);
      });
      life.read("close", () => view?.close());
      life.set(key(1), "1");
      await life.flush();
      life.scan();
    },
  },
  {
    name: "transactions",
    options: { device: FILE, cacheBytes: 0 },
    before: (life) => fill(life, 0, 8, 5000),
    run: async (life) => {
      life.write("transaction", commit(["a", "1"], [key(1), undefined]), (store) =>
        store.transaction((tx) => {
          life.same(key(2), tx.get(key(2)));
          tx.set("a", "1");
          tx.delete(key(1));
        }),
      );
      await life.later("transact", async (store) => {
        await store.transact(async (tx) => {
          life.same(key(3), tx.get(key(3)));
          await Promise.resolve();
          for await (const [name, value] of tx.entries({ gte: key(4) })) life.same(name, value);
        });
      });
      life.promised("transact", commit(), (store) => store.transact(async (tx) => void tx.get(key(5))));
      life.put("b", "2");
      await life.settle();
      life.scan();
    },
  },
  {
    name: "watch with history",
    options: { device: FILE, cacheBytes: 0, history: { bytes: MIB, ms: 60_000 } },
    before: async (life) => {
      fill(life, 0, 8, 5000);
      await life.flush();
      life.delete(key(1));
    },
    run: async (life) => {
      const since = life.store.version;
      const seen: string[] = [];
      const watching = (options: { since?: number }, most: number): Watch => {
        const changes = life.store.watch(undefined, options);
        life.expect(
          "watch",
          (async () => {
            let count = 0;
            for await (const change of changes) {
              seen.push(change.key as string);
              if (change.type === "set" && change.key.startsWith("new")) life.same(change.key, change.value);
              if (++count === most) break;
            }
          })(),
        );
        return changes;
      };
      let live: Watch | undefined;
      life.read("watch", () => {
        live = watching({}, 3);
      });
      life.set("new a", text(1, 3000));
      life.delete(key(2));
      life.put("new b", text(2, 3000));
      // What was refused, nobody sees.
      const made = life.store.version - since;
      if (made < 3) await live?.return();
      await life.settle(30);
      life.read("watch", () => {
        if (made > 0) watching({ since }, Math.min(made, 2));
      });
      await life.settle();
      life.scan();
    },
  },
  {
    name: "namespaces",
    options: { device: FILE, namespaces: ["n", "m"] },
    before: (life) => fill(life, 0, 6, 300),
    run: async (life) => {
      life.write("set", commit(["n:a", "1"]), (store) => store.sub("n").set("a", "1"));
      life.promised("put", commit(["m:b", text(1, 2000)]), (store) => store.sub("m").put("b", text(1, 2000)));
      await life.settle();
      life.promised("batch", commit(["n:c", "3"], ["d", "4"], ["n:a", undefined]), (store) =>
        store.batch([
          { type: "set", key: "c", value: "3", sub: store.sub("n") },
          { type: "set", key: "d", value: "4" },
          { type: "delete", key: "a", sub: store.sub("n") },
        ]),
      );
      await life.settle();
      life.scan();
      life.write("clear", without(life, "n:"), (store) => store.sub("n").clear());
      life.write("clear", without(life, "key"), (store) => store.clear({ prefix: "key" }));
      await life.flush();
      life.scan();
    },
  },
  {
    name: "expiry",
    options: { device: FILE },
    before: (life) => fill(life, 0, 4, 300),
    run: async (life) => {
      for (let i = 0; i < 6; i++) life.set(`soon ${i}`, text(i, 400), { expiresIn: 40 });
      life.set("late", "1", { expiresIn: 3_600_000 });
      await life.flush();
      await life.settle(120);
      life.set("then", "1");
      await life.settle(120);
      await life.later("compact", async (store) => void (await store.compact()));
      life.scan();
      await life.flush();
    },
  },
  { name: "compaction", options: { device: FILE, cacheBytes: 0 }, before: garbage, run: compactAll },
  { name: "compaction, plain device", options: { device: PLAIN, cacheBytes: 0 }, before: garbage, run: compactAll },
  {
    name: "compaction by itself",
    options: { device: FILE, compacts: true },
    before: (life) => fill(life, 0, 20, 2500),
    run: overwriteAll,
  },
  {
    name: "checkpoints",
    options: { device: FILE, checkpoints: { logBytes: 40_000, liveThousandths: 0, stepBlocks: 1 } },
    before: (life) => fill(life, 0, 30, 500),
    run: overwriteAll,
  },
  {
    name: "growth",
    options: { device: FILE },
    run: async (life) => {
      for (let i = 0; i < 40; i++) {
        if (i % 8 === 0) life.put(key(i), text(i, 20_000));
        else life.set(key(i), text(i, 20_000));
        if (i % 4 === 0) await life.settle(3);
      }
      await life.flush();
      life.scan();
    },
  },
  {
    name: "shrinking",
    options: { device: FILE, compacts: true },
    before: (life) => fill(life, 0, 60, 12_000),
    run: async (life) => {
      for (let i = 0; i < 56; i++) life.delete(key(i));
      await life.flush();
      await life.later("compact", async (store) => void (await store.compact({ full: true })));
      life.set("a", "1");
      await life.settle(60);
      await life.close();
    },
  },
  {
    name: "close",
    options: { device: FILE, checkpoints: { logBytes: 40_000, liveThousandths: 0 } },
    before: (life) => fill(life, 0, 60, 900),
    run: async (life) => {
      fill(life, 30, 40, 900);
      life.put("a", "1");
      life.delete(key(1));
      await life.close();
    },
  },
  {
    name: "open after a close",
    options: { device: FILE },
    opening: true,
    before: (life) => fill(life, 0, 60, 900),
    run: async (life) => {
      life.get(key(5));
      life.set("a", "1");
      await life.flush();
      await life.close();
    },
  },
  {
    name: "open after a crash",
    options: { device: FILE, checkpoints: { auto: false } },
    opening: true,
    cut: true,
    before: async (life) => {
      fill(life, 0, 30, 2500);
      await life.flush();
      for (let i = 0; i < 6; i++) {
        life.batch(commit([key(i), text(100 + i, 900)], [key(i + 10), undefined]));
        await life.settle();
      }
      fill(life, 40, 44, 9000);
      await life.settle(60);
    },
    run: async (life) => {
      life.scan();
      life.put("a", "1");
      await life.settle();
      await life.close();
    },
  },
  {
    name: "open after a crash, with checkpoints",
    options: { device: FILE, checkpoints: { logBytes: 60_000, liveThousandths: 0, stepBlocks: 4 } },
    opening: true,
    cut: true,
    before: async (life) => {
      await overwriteAll(life);
      life.put("last", "1");
    },
    run: async (life) => {
      life.scan();
      life.set("a", "1");
      await life.flush();
    },
  },
  {
    name: "readOnly",
    options: { device: FILE, readOnly: true, cacheBytes: 0, looksAgain: true },
    opening: true,
    before: (life) => fill(life, 0, 24, 9000),
    run: async (life) => {
      for (let i = 0; i < 6; i++) life.get(key(i));
      await life.later("getAsync", async (store) => life.same(key(9), await store.getAsync(key(9))));
      await life.later("refresh", async (store) => store.refresh());
      life.get(key(7));
      life.scan();
    },
  },
  {
    name: "backup",
    options: { device: FILE, cacheBytes: 0 },
    before: (life) => fill(life, 0, 20, 5000),
    run: async (life) => {
      let version = 0;
      for (const isFull of [true, false]) {
        // Without a first one there is nothing to add to.
        if (!isFull && version === 0) return;
        await life.later("backup", async (store) => {
          const stream = store.backup(isFull ? {} : { since: version });
          const reader = stream.getReader();
          let size = 0;
          for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) size += chunk.value.length;
          version = await stream.version;
          if (size === 0) throw new Violation("the backup is empty");
        });
        life.set(key(1), text(life.commits.length, 5000));
        await life.flush();
      }
      life.scan();
    },
  },
  {
    name: "verify",
    options: { device: FILE, cacheBytes: 0, looksAgain: true },
    before: garbage,
    run: async (life) => {
      life.set("a", "1");
      await life.later("verify", async (store) => void (await store.verify()));
      await life.flush();
    },
  },
  {
    name: "compressed",
    options: { device: FILE, cacheBytes: 0, compression: "lz4", outgrows: true },
    before: (life) => {
      for (let i = 0; i < 8; i++) life.set(key(i), plainText(i, 20_000));
    },
    run: async (life) => {
      life.set("a", plainText(100, 3000));
      life.put("b", plainText(101, 400_000));
      await life.settle();
      for (let i = 0; i < 8; i += 2) life.get(key(i));
      await life.later("getAsync", async (store) => life.same("b", await store.getAsync("b")));
      life.batch(commit(["c", plainText(102, 9000)], [key(1), plainText(103, 150_000)]));
      await life.settle();
      await life.later("compact", async (store) => void (await store.compact({ full: true })));
      life.scan();
    },
  },
  {
    name: "first compressed value",
    options: { device: FILE, compression: "lz4" },
    beforeOptions: { compression: "none" },
    before: (life) => fill(life, 0, 4, 900),
    run: async (life) => {
      life.set("a", plainText(1, 3000));
      await life.flush();
      life.scan();
    },
  },
  {
    name: "a full volume",
    options: { device: VOLUME, deviceSize: MIB + 14 * SEGMENT, cacheBytes: 0, codes: ["NO_SPACE"] },
    before: async (life) => {
      for (let i = 0; i < 60; i++) life.set(key(i), text(i, 8000));
      await life.flush();
    },
    run: async (life) => {
      for (let i = 0; i < 12; i++) life.set(key(i), text(life.commits.length, 8000));
      for (let i = 20; i < 32; i++) life.delete(key(i));
      await life.flush();
      for (let i = 0; i < 12; i++) life.set(key(i), text(life.commits.length, 8000));
      life.put("a", "1");
      await life.settle();
      life.scan();
    },
  },
];

/** Those of which every growth of the memory is refused. */
export const MEMORY_WORKLOADS: readonly Workload[] = [
  "writes",
  "large values",
  "buffer full",
  "cold reads",
  "snapshots",
  "transactions",
  "watch with history",
  "expiry",
  "compaction",
  "compaction by itself",
  "checkpoints",
  "growth",
  "close",
  "open after a close",
  "open after a crash",
  "readOnly",
  "backup",
  "verify",
  "compressed",
].map((name) => WORKLOADS.find((workload) => workload.name === name) as Workload);
