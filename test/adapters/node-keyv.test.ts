/** The storage adapter of Keyv: the suite of Keyv over it, under its versions 5 and 6, and what the suite does not ask. */
import { existsSync } from "node:fs";
import Keyv5, { type KeyvStoreAdapter } from "keyv";
import type { KeyvStorageAdapter } from "keyv-6";
import * as vitest from "vitest";
import { KeyvCairn, type KeyvStore } from "../../adapters/keyv/index.ts";
import { codeOf, MEMORY_BYTES, open, pause, scratchPaths } from "../store/harness.ts";

const { afterAll, beforeAll, describe, expect, test } = vitest;
const newPath = scratchPaths();
const memoryBytes = MEMORY_BYTES;

/** Keyv 6 says that it needs Node 22.19; Bun and Deno stand in for later ones. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const runsKeyv6 = major > 22 || (major === 22 && minor >= 19);
const keyv6 = runsKeyv6 ? (await import("keyv-6")).Keyv : undefined;

const SUITE = new URL("../peers/node_modules/@keyv/test-suite/dist/index.js", import.meta.url);
interface Suite {
  default(test: typeof vitest, keyv: unknown, store: () => unknown): void;
  keyvIteratorTests(test: typeof vitest, keyv: unknown, store: () => unknown): void;
}
const suite: Suite | undefined = existsSync(SUITE) ? await import(/* @vite-ignore */ SUITE.href) : undefined;
if (suite === undefined && process.env["CI"]) throw new Error("@keyv/test-suite is missing: npm run peers");

let store: KeyvStore;
/** The suite sets the clock forward, and a store never takes it back. */
let suiteStore: KeyvStore;

beforeAll(async () => {
  store = await open(newPath());
  suiteStore = await open(newPath());
});

afterAll(async () => {
  await store.close();
  await suiteStore.close();
});

describe.skipIf(suite === undefined)("@keyv/test-suite, Keyv 5", () => {
  suite?.default(vitest, Keyv5, () => new KeyvCairn(suiteStore));
  suite?.keyvIteratorTests(vitest, Keyv5, () => new KeyvCairn(suiteStore));
});

/** The suite is that of Keyv 5, which says by one boolean whether any of many keys was deleted. Keyv 6 says it for each. */
const DIFFERENT_IN_6 = ".deleteMany([keys]) with nonexistent keys resolves to false";
const vitestFor6 = {
  ...vitest,
  it: (name: string, run: () => unknown) => (name === DIFFERENT_IN_6 ? undefined : vitest.it(name, run)),
} as unknown as typeof vitest;

describe.skipIf(suite === undefined || keyv6 === undefined)("@keyv/test-suite, Keyv 6", () => {
  suite?.default(vitestFor6, keyv6, () => new KeyvCairn(suiteStore));
  suite?.keyvIteratorTests(vitest, keyv6, () => new KeyvCairn(suiteStore));
});

// What the tests call is the same in both, and their types are not.
const versions: [string, ((store: KeyvCairn, namespace?: string) => Keyv5) | undefined][] = [
  ["Keyv 5", (adapter, namespace) => new Keyv5({ store: adapter satisfies KeyvStoreAdapter, ...named(namespace) })],
  [
    "Keyv 6",
    keyv6 === undefined
      ? undefined
      : (adapter, namespace) =>
          new keyv6({ store: adapter satisfies KeyvStorageAdapter, ...named(namespace) }) as unknown as Keyv5,
  ],
];

function named(namespace: string | undefined): { namespace?: string } {
  return namespace === undefined ? {} : { namespace };
}

describe.each(versions)("an adapter under %s", (name, make) => {
  test.skipIf(make === undefined)("keeps namespaces apart, also where one clears", async () => {
    const a = make?.(new KeyvCairn(store), "a") as Keyv5;
    const b = make?.(new KeyvCairn(store), "b") as Keyv5;
    await a.set("x", 1);
    await b.set("x", 2);
    expect([await a.get("x"), await b.get("x")]).toEqual([1, 2]);
    expect(store.has("a:x")).toBe(true);
    await a.clear();
    expect([await a.get("x"), await b.get("x")]).toEqual([undefined, 2]);
    await b.clear();
  });

  test.skipIf(make === undefined)("takes many at once, and gives them", async () => {
    const keyv = make?.(new KeyvCairn(store), "many") as Keyv5;
    await keyv.setMany([
      { key: "a", value: 1 },
      { key: "b", value: { two: 2 } },
    ]);
    expect(await keyv.get(["a", "b", "c"])).toEqual([1, { two: 2 }, undefined]);
    expect(await keyv.hasMany(["a", "c"])).toEqual([true, false]);
    const seen: unknown[] = [];
    for await (const entry of keyv.iterator?.("many") ?? []) seen.push(entry);
    expect(seen).toEqual([
      ["a", 1],
      ["b", { two: 2 }],
    ]);
    const deleted = await keyv.deleteMany(["a", "c"]);
    expect(deleted).toEqual(name === "Keyv 5" ? true : [true, false]);
    expect(await keyv.get(["a", "b"])).toEqual([undefined, { two: 2 }]);
    await keyv.clear();
  });

  test.skipIf(make === undefined)("says of a deletion of many what Keyv says over a Map", async () => {
    const keyv = make?.(new KeyvCairn(store)) as Keyv5;
    const overMap = name === "Keyv 5" ? false : await new keyv6!({ store: new Map() }).delete(["x", "y"]);
    expect(await keyv.delete(["x", "y"])).toEqual(overMap);
  });

  test.skipIf(make === undefined)("lets the store itself expire an entry", async () => {
    const keyv = make?.(new KeyvCairn(store), "ttl") as Keyv5;
    await keyv.set("gone", "soon", 40);
    await keyv.set("stays", "long", 100_000);
    await keyv.setMany([{ key: "many", value: "soon", ttl: 40 }]);
    expect(store.getEntry("ttl:gone")?.expiresAt).toBeGreaterThan(Date.now() - 1000);
    expect(await keyv.get("gone")).toBe("soon");
    await pause(60);
    // Not through Keyv, which looks at the time itself.
    expect(["ttl:gone", "ttl:many", "ttl:stays"].map((key) => store.has(key))).toEqual([false, false, true]);
    await keyv.clear();
  });

  test.skipIf(make === undefined)("has after a restart what it had before", async () => {
    const path = newPath();
    const keyv = make?.(new KeyvCairn(path, { memoryBytes }), "n") as Keyv5;
    await keyv.set("a", [1, 2, 3]);
    await keyv.disconnect();
    const again = make?.(new KeyvCairn(path, { memoryBytes }), "n") as Keyv5;
    expect(await again.get("a")).toEqual([1, 2, 3]);
    await again.disconnect();
  });

  test.skipIf(make === undefined)("says by an error event that a store cannot be opened", async () => {
    const path = newPath();
    const first = new KeyvCairn(path, { memoryBytes });
    await first.store;
    const adapter = new KeyvCairn(path, { memoryBytes });
    const errors: unknown[] = [];
    const keyv = make?.(adapter) as Keyv5;
    keyv.on("error", (error: unknown) => errors.push(error));
    await keyv.get("a");
    expect(errors.length).toBeGreaterThan(0);
    expect(errors[0]).toMatchObject({ code: "LOCKED" });
    expect(await codeOf(() => adapter.get("a"))).toBe("LOCKED");
    await first.disconnect();
  });
});

test("a store that was passed stays open when its adapter disconnects", async () => {
  const adapter = new KeyvCairn(store);
  await adapter.disconnect();
  expect(store.has("nothing")).toBe(false);
});

test("an adapter rejects a key that is too long, and stores nothing", async () => {
  const adapter = new KeyvCairn(store);
  expect(await codeOf(() => adapter.set("k".repeat(2049), "v"))).toBe("KEY_SIZE");
  expect(
    await codeOf(() =>
      adapter.setMany([
        { key: "fits", value: "v" },
        { key: "", value: "v" },
      ]),
    ),
  ).toBe("KEY_SIZE");
  expect(await adapter.has("fits")).toBe(false);
});

test("an entry of Keyv 6 that is past already is gone at once", async () => {
  const adapter = new KeyvCairn(store, { keyv: 6, namespace: "past" });
  await adapter.set("a", "1");
  await adapter.set("b", "1");
  await adapter.set("a", "2", Date.now() - 1);
  await adapter.setMany([{ key: "b", value: "2", expires: Date.now() - 1 }]);
  expect(await adapter.hasMany(["a", "b"])).toEqual([false, false]);
});

test("with sync: false a write is visible when it resolves, and durable later", async () => {
  const path = newPath();
  const adapter = new KeyvCairn(path, { memoryBytes, sync: false, durability: "manual" });
  const own = await adapter.store;
  const durable = own.durableVersion;
  await adapter.set("a", "1");
  await adapter.setMany([{ key: "b", value: "2" }]);
  expect(await adapter.getMany(["a", "b"])).toEqual(["1", "2"]);
  expect(own.durableVersion).toBe(durable);
  await adapter.disconnect();
});

test("an emitter calls listeners in order, once where that was asked for, and forgets them", () => {
  const adapter = new KeyvCairn(store);
  const calls: string[] = [];
  const first = (value: string) => calls.push(`first ${value}`);
  adapter.on("event", first).once("event", (value) => calls.push(`once ${value}`));
  adapter.prependListener("event", (value) => calls.push(`before ${value}`));
  expect(adapter.emit("event", "1")).toBe(true);
  adapter.off("event", first);
  adapter.emit("event", "2");
  expect(calls).toEqual(["before 1", "first 1", "once 1", "before 2"]);
  expect(adapter.eventNames()).toEqual(["event"]);
  expect(adapter.listenerCount("event")).toBe(1);
  adapter.removeAllListeners("event");
  expect(adapter.emit("event", "3")).toBe(false);
});
