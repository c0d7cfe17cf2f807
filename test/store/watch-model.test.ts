/** Random writes of all kinds against watchers of random ranges, quick and slow, over reopening and crashes. */
import { expect, test } from "vitest";
import type { Change, Watch } from "../../store/watch.ts";
import { openTiny, pause, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { faultIn, Recorded } from "./watched.ts";

const seed = runSeed();
/** Nothing of the past goes. */
const OPTIONS = { flushIntervalMs: 2, history: { bytes: 2 ** 40 } };

interface Observer {
  watch: Watch;
  covers: (key: string) => boolean;
  since: number;
  seen: Change[];
  isSlow: boolean;
  run: Promise<void>;
}

/** Starts a watcher of a random range. `isSlow` has hardly any buffer, and stops now and then. */
function observe(recorded: Recorded, random: Random, since: number | undefined): Observer {
  const { store } = recorded;
  const kind = random.below(4);
  const at = `k${random.below(4)}`;
  const isSlow = random.below(2) === 0;
  const options = {
    since,
    durable: random.below(3) > 0,
    ...(isSlow ? { bufferBytes: 1024 + random.below(8192) } : { bufferBytes: 2 ** 30 }),
  };
  const keys = Array.from({ length: 5 }, (_, i) => `k${random.below(4)}${i}`);
  const covers = (key: string): boolean => {
    if (kind === 0) return true;
    if (kind === 1) return key.startsWith(at);
    return kind === 2 ? key >= at && key < "k3" : keys.includes(key);
  };
  const what = [undefined, { prefix: at }, { gte: at, lt: "k3" }, keys][kind];
  const observer: Observer = {
    watch: store.watch(what, options),
    covers,
    since: since ?? store.version,
    seen: [],
    isSlow,
    run: Promise.resolve(),
  };
  observer.run = (async () => {
    for await (const change of observer.watch) {
      observer.seen.push(change);
      if (isSlow && observer.seen.length % 7 === 0) await pause(1);
    }
  })();
  return observer;
}

/** By version, and those of one version by key. */
function sorted(changes: readonly Change[]): Change[] {
  return [...changes].sort((a, b) => a.version - b.version || (a.key < b.key ? -1 : 1));
}

/** Waits until a watcher has seen all, then ends it, and holds what it saw against what was done. */
async function check(recorded: Recorded, observer: Observer, isLive: boolean): Promise<void> {
  const { seen, covers, since, isSlow } = observer;
  const last = recorded.since(since, covers).at(-1)?.version ?? 0;
  const latest = recorded.latest(since, covers);
  for (let i = 0; i < 2000 && (seen.at(-1)?.version ?? 0) < last; i++) await pause(1);
  // The changes of one version come together.
  await pause(5);
  await observer.watch.return();
  await observer.run;
  const why = `seed ${seed}`;
  expect(faultIn(seen, recorded.since(since, covers), latest), why).toBeUndefined();
  // A transaction's changes come in an order of their own.
  if (isLive && !isSlow) expect(sorted(seen), why).toEqual(sorted(recorded.since(since, covers)));
}

test(`watchers see every change once, in order, also slow ones; seed ${seed}`, async () => {
  const random = new Random(seed);
  const device = new ImageDevice();
  const recorded = new Recorded(await openTiny(device, OPTIONS), random, 30);
  const observers = Array.from({ length: 8 }, () => observe(recorded, random, undefined));
  const later: Observer[] = [];
  for (let i = 0; i < 1200; i++) {
    await recorded.write();
    if (i % 50 === 0) await pause(1);
    // From a version of the past, while writes go on.
    if (i % 200 === 150)
      later.push(observe(recorded, random, recorded.changes[random.below(recorded.changes.length)]?.version));
  }
  await recorded.store.flush();
  for (const observer of observers) await check(recorded, observer, true);
  for (const observer of later) await check(recorded, observer, false);
  expect(
    observers.some(({ isSlow, seen, since, covers }) => isSlow && seen.length < recorded.since(since, covers).length),
  ).toBe(true);
  await recorded.store.close();
});

test(`what a watcher has not seen is given after reopening, and after a crash; seed ${seed}`, async () => {
  const random = new Random(seed);
  let device = new ImageDevice();
  const recorded = new Recorded(await openTiny(device, OPTIONS), random, 20);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 120; i++) await recorded.write();
    await recorded.store.flush();
    const { changes, store } = recorded;
    const from = changes[random.below(changes.length)]?.version ?? 0;
    if (round % 2 === 0) {
      await store.close();
      device.reopen();
    } else {
      device = ImageDevice.of(device.image());
    }
    const former = store;
    recorded.store = await openTiny(device, OPTIONS);
    if (round % 2 === 1) await former.close();
    const all = recorded.store.watch(undefined, { since: from });
    const expected = recorded.latest(from, () => true);
    const seen: Change[] = [];
    while (seen.length < expected.length) seen.push((await all.next()).value as Change);
    const byKey = (list: Change[]): Change[] => [...list].sort((a, b) => (a.key < b.key ? -1 : 1));
    expect(byKey(seen), `seed ${seed}`).toEqual(byKey(expected));
    expect(seen.map(({ version }) => version)).toEqual(expected.map(({ version }) => version));
    recorded.store.set("k0live", "1");
    await recorded.store.flush();
    expect((await all.next()).value).toEqual({
      type: "set",
      key: "k0live",
      value: "1",
      version: recorded.store.version,
    });
    recorded.changes.push({ type: "set", key: "k0live", value: "1", version: recorded.store.version });
    recorded.state.set("k0live", "1");
    await all.return();
    const some = observe(recorded, random, from);
    for (let i = 0; i < 40; i++) await recorded.write();
    await recorded.store.flush();
    await check(recorded, some, false);
  }
  await recorded.store.close();
});
