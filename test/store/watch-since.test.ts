/** Watching from a version on: the past that is there, the past that is gone, and what slow consumers get. */
import { expect, onTestFinished, test } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Change } from "../../store/watch.ts";
import { codeOf, MEMORY_BYTES, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { take, told } from "./watched.ts";

/** A clock that each look finds later than a turn may last: the search gives way behind each of its steps. */
function hurriedClock(): { looks: number } {
  const { now } = performance;
  const clock = { looks: 0 };
  performance.now = () => now.call(performance) + clock.looks++ * 10;
  onTestFinished(() => {
    performance.now = now;
  });
  return clock;
}

/** Keys that come and go, until compaction has dropped deletions that only the log's oldest segment made necessary. */
async function churn(store: Store, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 300; i++) store.set(`c${i}`, "x".repeat(500));
    for (let i = 0; i < 300; i++) store.delete(`c${i}`);
    await store.flush();
    await store.compact({ full: true });
  }
}

test("since 0 gives what is there, whatever became of the past, and goes on live", async () => {
  const store = await openTiny(new ImageDevice());
  await churn(store, 6);
  store.set("a", "1");
  store.set("b", "2");
  store.set("a", "3");
  const watch = store.watch(undefined, { since: 0 });
  store.set("c", "4");
  store.delete("b");
  await store.flush();
  expect((await take(watch, 3)).map(told)).toEqual(["a=3", "c=4", "-b"]);
  await store.close();
});

test("each key's latest change comes first, deletions among them, in the order of versions", async () => {
  const store = await openTiny(new ImageDevice());
  for (const key of ["a", "b", "c", "d"]) store.set(key, "0");
  const since = store.version;
  store.delete("c");
  store.set("a", "1");
  store.set("a", "2");
  store.delete("b");
  store.set("c", "3");
  store.delete("c");
  store.set("e", "e");
  store.delete("e");
  const watch = store.watch(undefined, { since });
  const keyed = store.watch(["b", "d", "none"], { since });
  await store.flush();
  expect((await take(watch, 4)).map(told)).toEqual(["a=2", "-b", "-c", "-e"]);
  expect((await take(keyed, 1)).map(told)).toEqual(["-b"]);
  store.set("d", "9");
  await store.flush();
  expect((await take(watch, 1)).map(told)).toEqual(["d=9"]);
  expect((await take(keyed, 1)).map(told)).toEqual(["d=9"]);
  await store.close();
});

test("when deletions were dropped, what is before them is VERSION_COMPACTED, also after a crash and after closing", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device);
  store.set("a", "1");
  await store.flush();
  const before = store.version;
  await churn(store, 6);
  const after = store.version;
  expect(await codeOf(() => store.watch(undefined, { since: before }))).toBe("VERSION_COMPACTED");
  expect(await codeOf(() => store.watch(undefined, { since: after + 1 }))).toBe("VERSION_COMPACTED");
  await store.flush();
  const crashed = await openTiny(ImageDevice.of(device.image()));
  expect(await codeOf(() => crashed.watch(undefined, { since: before }))).toBe("VERSION_COMPACTED");
  crashed.set("b", "2");
  await crashed.flush();
  const watch = crashed.watch(undefined, { since: after });
  expect((await take(watch, 1)).map(told)).toEqual(["b=2"]);
  await crashed.close();
  await store.close();
  const reopened = await openTiny(device.reopen());
  expect(await codeOf(() => reopened.watch(undefined, { since: before }))).toBe("VERSION_COMPACTED");
  await reopened.close();
});

test("a watcher that falls behind what was dropped ends with VERSION_COMPACTED", async () => {
  const store = await openTiny(new ImageDevice());
  store.set("a", "1");
  await store.flush();
  const watch = store.watch(undefined, { bufferBytes: 1024 });
  await churn(store, 6);
  expect(await codeOf(() => take(watch, 100_000))).toBe("VERSION_COMPACTED");
  expect(await watch.next()).toEqual({ done: true, value: undefined });
  await store.close();
});

test("history keeps deletions that are within it, and lets others go", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, { history: { bytes: 2 ** 30 } });
  store.set("a", "1");
  await store.flush();
  const before = store.version;
  await churn(store, 6);
  const watch = store.watch(undefined, { since: before });
  const keys = new Set((await take(watch, 300)).map(told));
  expect(keys.size).toBe(300);
  expect(keys.has("-c7")).toBe(true);
  await watch.return();
  await store.close();
  const byTime = await openTiny(device.reopen(), { history: { ms: 3_600_000 } });
  await churn(byTime, 3);
  expect((await take(byTime.watch(undefined, { since: before }), 300)).every(({ type }) => type === "delete")).toBe(
    true,
  );
  await byTime.close();
  const little = await openTiny(device.reopen(), { history: { bytes: 200_000, ms: 1 } });
  await churn(little, 12);
  expect(await codeOf(() => little.watch(undefined, { since: before }))).toBe("VERSION_COMPACTED");
  const recent = little.version;
  little.set("d", "1");
  little.delete("d");
  await little.flush();
  await little.compact({ full: true });
  expect((await take(little.watch(undefined, { since: recent }), 1)).map(told)).toEqual(["-d"]);
  await little.close();
});

test("a version that a crash took back is VERSION_COMPACTED, and the version of the opening is not", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, { durability: "manual" });
  await store.put("a", "1");
  const durable = store.version;
  const image = device.image();
  store.set("a", "2");
  store.set("a", "3");
  const lost = store.version;
  const again = await openTiny(ImageDevice.of(image), { durability: "manual" });
  expect(again.recoveredVersion).toBe(durable);
  expect(await codeOf(() => again.watch(undefined, { since: lost }))).toBe("VERSION_COMPACTED");
  const watch = again.watch(undefined, { since: again.version });
  const other = again.watch(undefined, { since: durable });
  await again.put("a", "4");
  expect((await take(watch, 1)).map(told)).toEqual(["a=4"]);
  expect((await take(other, 1)).map(told)).toEqual(["a=4"]);
  await again.close();
  await store.close();
});

test("a batch that no buffer takes is given as each key's latest change, and memory does not follow it", async () => {
  const store = await openTiny(new ImageDevice());
  const watch = store.watch(undefined, { bufferBytes: 100_000 });
  const batch = store.batch();
  for (let i = 0; i < 1000; i++) batch.set(`k${i + 1000}`, `${i}`.padEnd(1000, "."));
  batch.commit();
  await store.flush();
  const seen = await take(watch, 1000);
  expect(new Set(seen.map(({ version }) => version))).toEqual(new Set([store.version]));
  expect(new Set(seen.map(({ key }) => key)).size).toBe(1000);
  expect(seen.every(({ key, value }) => value === `${Number(key.slice(1)) - 1000}`.padEnd(1000, "."))).toBe(true);
  await store.close();
});

test("what waits for a consumer that never comes is bounded", async () => {
  const store = await openTiny(new ImageDevice());
  const watches = Array.from({ length: 20 }, () => store.watch(undefined, { bufferBytes: 50_000 }));
  const waiting = (): number =>
    watches.reduce((sum, watch) => {
      const { queue } = (watch as unknown as { watcher: { queue: { bytes: number }[] } }).watcher;
      return sum + queue.reduce((bytes, commit) => bytes + commit.bytes, 0);
    }, 0);
  let most = 0;
  for (let i = 0; i < 20_000; i++) {
    store.set(`k${i % 50}`, `${i}`.padEnd(200, "."));
    if (i % 100 === 0) most = Math.max(most, waiting());
    if (i % 2000 === 0) await pause();
  }
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(20 * 50_000);
  await store.flush();
  const latest = new Map([...store.entries()]);
  for (const watch of watches) {
    const seen = new Map((await take(watch, 50)).map(({ key, value }) => [key, value]));
    expect(seen).toEqual(latest);
    await watch.return();
  }
  await store.close();
});

test("more changes than are kept at once come in order, while writes go on", async () => {
  const store = await openTiny(new ImageDevice(), { memoryBytes: MEMORY_BYTES * 2 }, 256);
  const count = 150_000;
  store.set("first", "1");
  for (let i = 0; i < count; i++) store.set(`k${(i * 7919) % count}`, "1");
  const gone = store.version;
  for (let i = 0; i < 80_000; i++) store.delete(`k${i}`);
  await store.flush();
  const watch = store.watch({ lt: "x" }, { since: gone - count });
  const states = new Map<string, string | undefined>();
  let version = 0;
  let writes = 0;
  while (states.size < count || writes < 30) {
    const change = (await watch.next()).value as Change;
    if (change.version < version) throw new Error(`version ${change.version} after ${version}`);
    version = change.version;
    if (change.version <= gone + 80_000 && states.has(change.key)) throw new Error(`${change.key} came twice`);
    states.set(change.key, change.value);
    if (states.size % 5000 === 0 && writes < 30) {
      store.set(`k${count - 1 - writes++}`, "late");
      await store.flush();
    }
  }
  await store.flush();
  while (states.get(`k${count - 1 - 29}`) !== "late") {
    const change = (await watch.next()).value as Change;
    states.set(change.key, change.value);
  }
  expect([...states.values()].filter((value) => value === undefined).length).toBe(80_000);
  for (const [key, value] of states) if (store.get(key) !== value) throw new Error(`${key} is not ${value}`);
  await store.close();
});

test("a deletion that its own batch took back is not shown, also when the key goes while it is looked for", async () => {
  const store = await openTiny(new ImageDevice());
  for (let i = 0; i < 9000; i++) store.set(`k${i}`, "x");
  store.set("z", "1");
  const since = store.version;
  store.delete("k7");
  await store.batch([
    { type: "delete", key: "z" },
    { type: "set", key: "z", value: "2" },
  ]);
  const watch = store.watch(undefined, { since });
  const clock = hurriedClock();
  const first = watch.next();
  for (let i = 0; i < 100 && clock.looks < 2; i++) await pause();
  store.delete("z");
  await store.flush();
  expect(told((await first).value as Change)).toBe("-k7");
  expect((await watch.next()).value).toEqual({ type: "delete", key: "z", version: store.version });
  expect(store.stats().snapshotCount).toBe(0);
  await store.close();
});

test("one that is left while the past is looked for ends, though the store is closed meanwhile", async () => {
  const store = await openTiny(new ImageDevice());
  for (let i = 0; i < 9000; i++) store.set(`k${i}`, "x");
  const watch = store.watch(undefined, { since: 0 });
  const clock = hurriedClock();
  const first = watch.next();
  for (let i = 0; i < 100 && clock.looks < 2; i++) await pause();
  await watch.return();
  await store.close();
  expect(await first).toEqual({ done: true, value: undefined });
});

test("the version of a watch is where to go on from: of commits that were given in part, of quiet times, too", async () => {
  const store = await openTiny(new ImageDevice());
  const watch = store.watch({ prefix: "a" });
  await store.batch([
    { type: "set", key: "a1", value: "1" },
    { type: "set", key: "a2", value: "2" },
  ]);
  expect(told((await watch.next()).value as Change)).toBe("a1=1");
  expect(watch.version).toBe(store.version - 1);
  expect((await take(store.watch({ prefix: "a" }, { since: watch.version }), 2)).map(told)).toEqual(["a1=1", "a2=2"]);
  expect(told((await watch.next()).value as Change)).toBe("a2=2");
  expect(watch.version).toBe(store.version);
  const waiting = watch.next();
  for (let i = 0; i < 5; i++) await store.put("b", `${i}`);
  for (let i = 0; i < 100 && watch.version < store.version; i++) await pause();
  expect(watch.version).toBe(store.version);
  await store.put("a3", "3");
  expect(told((await waiting).value as Change)).toBe("a3=3");
  await store.close();
});

test("a snapshot, and what is written after it, are all there is", async () => {
  const store = await openTiny(new ImageDevice());
  await store.batch([
    { type: "set", key: "a", value: "1" },
    { type: "set", key: "b", value: "2" },
  ]);
  const snapshot = store.snapshot();
  store.delete("a");
  const watch = store.watch(undefined, { since: snapshot.version });
  store.set("c", "3");
  await store.flush();
  const state = new Map(snapshot.entries());
  for (const { key, type, value } of await take(watch, 2)) {
    if (type === "set") state.set(key, value as string);
    else state.delete(key);
  }
  expect(state).toEqual(new Map(store.entries()));
  snapshot.close();
  await store.close();
});

test("a past that time keeps, and bytes alone would not, is whole however often it was looked at", async () => {
  // A look is due every 256 bytes, and none is forgotten for an hour: there are more looks than are kept.
  const store = await openTiny(new ImageDevice(), { durability: "manual", history: { bytes: 4096, ms: 3_600_000 } });
  for (const key of ["a", "b", "c"]) store.set(key, "0");
  const since = store.version;
  for (const key of ["a", "b", "c"]) store.delete(key);
  for (let i = 0; i < 200; i++) {
    store.set(`filler ${i % 10}`, "f".repeat(900));
    store.flushSync();
  }
  await store.compact({ full: true });
  const watch = store.watch(["a", "b", "c"], { since });
  expect((await take(watch, 3)).map(told).sort()).toEqual(["-a", "-b", "-c"]);
  await store.close();
});
