/** Watching since a version when more has changed than is kept at once: what is left out as too late must not bring up what it replaced. */
import { expect, test } from "vitest";
import type { Core } from "../../store/core.ts";
import type { Store } from "../../store/store.ts";
import type { Change } from "../../store/watch.ts";
import { CRASH_MODES, CrashImages, RecordingDevice, randomFrom } from "../crash/recorder.ts";
import { MEMORY_BYTES, openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const OPTIONS = {
  memoryBytes: MEMORY_BYTES * 2,
  durability: "manual",
  history: { bytes: 2 ** 30 },
  compaction: { auto: false },
} as const;
/** More than the search keeps before it leaves the latest out. */
const COUNT = 70_000;
/** Crashes that are looked at. */
const CRASHES = 6;
const STAT_SEGMENTS = 14;
const STAT_MOVED = 151;
const TWICE = ["a", "b", "c"];

/** Each key's latest change after a version, from the changes themselves. */
function latestOf(changes: readonly Change[], since: number, until: number): string[] {
  const last = new Map<string, Change>();
  for (const change of changes) if (change.version > since && change.version <= until) last.set(change.key, change);
  return [...last.values()].sort((a, b) => a.version - b.version).map(told);
}

const told = ({ type, key, version, value }: Change): string => `${version} ${type} ${key} ${value ?? ""}`;

/** What a watcher gets of the past: up to a mark that is written now. */
async function past(store: Store, since: number): Promise<string[]> {
  const watch = store.watch({ lt: "z" }, { since });
  const seen: string[] = [];
  store.set("y", "the end");
  await store.flush();
  for await (const change of watch) {
    if (change.key === "y") break;
    seen.push(told(change));
  }
  return seen;
}

/** The highest version of a deletion in each segment. */
function newestIn(store: Store): number[] {
  const { exports } = (store as unknown as { session: { core: Core } }).session.core;
  return Array.from({ length: exports.stat(STAT_SEGMENTS) }, (_, segment) => exports.changesNewest(segment));
}

/**
 * Deletions of keys that came back and were deleted again, when `again` of the many others had been deleted. Where segments were
 * freed before, the later deletions lie in segments in front of those of the earlier ones.
 */
async function deletedTwice(
  device: ImageDevice,
  isFreed: boolean,
  count: number,
  again: number,
): Promise<{ store: Store; since: number; changes: Change[] }> {
  const store = await openTiny(device, OPTIONS, 64);
  const changes: Change[] = [];
  const gone = (key: string): void => {
    store.delete(key);
    changes.push({ type: "delete", key, version: store.version });
  };
  for (let i = 0; i < 60; i++) store.set(`z${i}`, "z".repeat(100_000));
  for (const key of TWICE) store.set(key, "1");
  for (let i = 0; i < count; i++) store.set(`m${i}`, "");
  const since = store.version;
  for (const key of TWICE) gone(key);
  for (let i = 0; i < 60; i++) store.delete(`z${i}`);
  await store.flush();
  const earlier = newestIn(store).findIndex((version) => version > since);
  if (isFreed) await store.compact({ maxMs: 10_000 });
  for (let i = 0; i < count; i++) {
    if (i === again) {
      for (const key of TWICE) {
        store.set(key, "2");
        changes.push({ type: "set", key, value: "2", version: store.version });
      }
      for (const key of TWICE) gone(key);
    }
    gone(`m${i}`);
  }
  await store.flush();
  // The first of the others may share the segment, or go to one that was at hand.
  const others = newestIn(store).flatMap((version, segment) => (version > since + 25_000 ? [segment] : []));
  if (isFreed) expect(Math.max(...others)).toBeLessThan(earlier);
  else expect(Math.min(...others)).toBeGreaterThan(earlier);
  return { store, since, changes };
}

for (const { order, isFreed, count, again } of [
  { order: "later, cut, earlier", isFreed: true, count: 90_000, again: 50_000 },
  { order: "cut, later, earlier", isFreed: true, count: 90_000, again: 89_000 },
  { order: "later, earlier, cut", isFreed: true, count: 70_000, again: 40_000 },
  { order: "earlier, later, cut", isFreed: false, count: 70_000, again: 40_000 },
  { order: "earlier, cut, later", isFreed: false, count: 70_000, again: 69_000 },
]) {
  test(`no earlier deletion stands for a later one of its key that is left out; met: ${order}`, async () => {
    const { store, since, changes } = await deletedTwice(new ImageDevice(), isFreed, count, again);
    const expected = latestOf(changes, since, store.version);
    const seen = await past(store, since);
    expect(seen.filter((line) => !line.includes(" m"))).toEqual(expected.filter((line) => !line.includes(" m")));
    expect(seen).toEqual(expected);
    await store.close();
  });
}

test("nor after a crash, while compaction moves the deletions", async () => {
  const seed = runSeed();
  const random = randomFrom(seed);
  const first = new ImageDevice();
  const { store: before, since, changes } = await deletedTwice(first, true, 90_000, 50_000);
  await before.close();
  const image = first.image();
  const device = new RecordingDevice(image, random);
  const store = await openTiny(device, OPTIONS);
  for (let round = 0; round < 3; round++) {
    for (const key of TWICE) {
      store.set(key, `${round}`);
      changes.push({ type: "set", key, value: `${round}`, version: store.version });
      store.delete(key);
      changes.push({ type: "delete", key, version: store.version });
    }
    await store.flush();
    await store.compact();
  }
  await store.compact({ full: true });
  const { core } = (store as unknown as { session: { core: Core } }).session;
  expect(core.exports.stat(STAT_MOVED)).toBeGreaterThan(0);
  const images = new CrashImages(image, device.events);
  const positions = Array.from({ length: CRASHES }, () => 1 + Math.floor(random() * device.events.length));
  for (const [index, position] of positions.sort((a, b) => a - b).entries()) {
    images.advance(position);
    const mode = CRASH_MODES[index % CRASH_MODES.length] as (typeof CRASH_MODES)[number];
    const crashed = await openTiny(ImageDevice.of(images.image(mode, random)), OPTIONS);
    const expected = latestOf(changes, since, crashed.recoveredVersion);
    const seen = await past(crashed, since);
    const fault = seen.findIndex((line, at) => line !== expected[at]);
    if (fault >= 0 || seen.length !== expected.length) {
      const where = `seed ${seed}, event ${position} of ${device.events.length}, ${mode}: change ${fault} of ${seen.length}`;
      throw new Error(`${where} is ${seen[fault]}, not ${expected[fault]} of ${expected.length}`);
    }
    await crashed.close();
  }
  await store.close();
});

test("all changes of one commit are kept together, in time by their number", async () => {
  const store = await openTiny(new ImageDevice(), OPTIONS, 64);
  for (let i = 0; i < COUNT; i++) store.set(`m${i}`, "");
  const since = store.version;
  store.clear();
  const { version } = store;
  await store.flush();
  const start = performance.now();
  const seen = await past(store, since);
  expect(seen.length).toBe(COUNT);
  expect(seen.every((line) => line.startsWith(`${version} delete m`))).toBe(true);
  // A look at all that is kept, for each that is kept beyond what there should be, takes minutes.
  expect(performance.now() - start).toBeLessThan(20_000);
  await store.close();
}, 60_000);
