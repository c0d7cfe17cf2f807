/**
 * Crash images: a store runs over a device that records all it does; every prefix of the record, with what was not yet
 * synced kept, lost, torn, reordered or garbled, is mounted, and must give a state that the store had between what was
 * acknowledged as durable and what was issued (G1, G2). Recovery's own writes are recorded and crashed as well.
 */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CairnError } from "../../store/error.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { nextTurn } from "../../store/turn.ts";
import { host as hostHere } from "../store/harness.ts";
import { History } from "./history.ts";
import { CRASH_MODES, CrashImages, RecordingDevice, randomFrom } from "./recorder.ts";

const MIB = 1_048_576;
/** Of the recovered images, so many are verified. */
const VERIFY_SHARE = 0.25;
const HALF_FORMATTED = ["CORRUPT", "NOT_A_STORE"];
const { onExit: _, ...host } = await hostHere();

/** What a run is made on. */
interface Kind {
  name: string;
  growable: boolean;
  /** Bytes of a device that does not grow. */
  size: number;
  /** Whether a step of compaction follows each operation. */
  compacts: boolean;
  /** Values of 40 kB that are there from the beginning, so that segments are used anew as soon as they are free. */
  ballast: number;
  operations: number;
  /** Of the positions, how many are crashed at. */
  share: number;
  /** Whether checkpoints are made all the time, a block at a step. */
  checkpoints?: boolean;
  /** Whether values are compressed: those of some length are, then, something that gets half as small. */
  compressed?: boolean;
  /** Whether keys are so long that blocks of checkpoints are packed. */
  longKeys?: boolean;
  /** Whether each operation comes with new records and a turn of the event loop, so that the file grows ahead. */
  grows?: boolean;
  /** Whether it is emptied and compacted again and again, so that the file shrinks and grows. */
  breathes?: boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: "a growing file",
    growable: true,
    size: 0,
    compacts: false,
    ballast: 0,
    operations: 70,
    share: 0.16,
    grows: true,
  },
  { name: "a file", growable: true, size: 0, compacts: false, ballast: 0, operations: 60, share: 1 },
  { name: "a fixed device", growable: false, size: 6 * MIB, compacts: false, ballast: 0, operations: 60, share: 1 },
  // Twenty segments of 16 blocks.
  {
    name: "a compacted device",
    growable: false,
    size: 2.25 * MIB,
    compacts: true,
    ballast: 12,
    operations: 160,
    share: 0.08,
  },
  { name: "a compacted file", growable: true, size: 0, compacts: true, ballast: 0, operations: 120, share: 0.25 },
  {
    name: "a compacted file with checkpoints",
    growable: true,
    size: 0,
    compacts: true,
    ballast: 0,
    operations: 160,
    share: 0.07,
    checkpoints: true,
  },
  {
    name: "a compacted device with checkpoints",
    growable: false,
    size: 2.75 * MIB,
    compacts: true,
    ballast: 6,
    operations: 160,
    share: 0.06,
    checkpoints: true,
  },
  {
    name: "a breathing file",
    growable: true,
    size: 0,
    compacts: true,
    ballast: 0,
    operations: 50,
    share: 0.03,
    breathes: true,
  },
  {
    name: "a breathing file with checkpoints",
    growable: true,
    size: 0,
    compacts: true,
    ballast: 0,
    operations: 50,
    share: 0.03,
    breathes: true,
    checkpoints: true,
  },
  {
    name: "a compressed file",
    growable: true,
    size: 0,
    compacts: false,
    ballast: 0,
    operations: 60,
    share: 0.5,
    compressed: true,
  },
  {
    name: "a compressed and compacted file with checkpoints",
    growable: true,
    size: 0,
    compacts: true,
    ballast: 0,
    operations: 160,
    share: 0.02,
    checkpoints: true,
    compressed: true,
  },
  {
    name: "a compacted file with packed checkpoints",
    growable: true,
    size: 0,
    compacts: true,
    ballast: 0,
    operations: 100,
    share: 0.05,
    checkpoints: true,
    compressed: true,
    longKeys: true,
  },
];
/** A checkpoint whenever a segment is full. */
const OFTEN = { logBytes: 1, liveThousandths: 0, stepBlocks: 1 };
const SELDOM = {};

interface Progress {
  acknowledged: number;
  issued: number;
}

async function mount(device: RecordingDevice, kind: Kind, auto = false): Promise<Store> {
  const settings = readOptions({
    memoryBytes: 16 * MIB,
    writeBufferBytes: 256 * 1024,
    cacheBytes: MIB,
    durability: "manual",
    compaction: { auto, garbageRatio: 0.05 },
    compression: kind.compressed === true ? "lz4" : "none",
  });
  const checkpoints = kind.checkpoints === true ? OFTEN : SELDOM;
  return openStore<string, string>(
    { device, host, release: () => undefined, segmentBlocks: 16, checkpoints },
    settings,
  );
}

/** Some turns of the event loop, as many on every machine. */
async function turns(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise<void>(nextTurn);
}

/** A run of random operations on a fresh store: the device's record with marks of what was issued and acknowledged. */
async function run(seed: number, kind: Kind) {
  const random = randomFrom(seed);
  const device = new RecordingDevice(new Uint8Array(kind.size), random, kind.growable);
  const history = new History();
  const progress: Progress = { acknowledged: 0, issued: 0 };
  const mark = (): void => device.mark({ ...progress });
  const acknowledge = (count: number): void => {
    progress.acknowledged = Math.max(progress.acknowledged, count);
    mark();
  };
  const keyCount = (kind.longKeys === true ? 24 : 4) + Math.floor(random() * 40);
  const large = random() < 0.4;
  const key = (): string => {
    const n = Math.floor(random() * keyCount);
    return kind.longKeys === true ? `${n}:`.padEnd(500, `${n} `) : `key:${n}`;
  };
  let serial = 0;
  const value = (): string => {
    serial += 1;
    const pick = random();
    const size =
      pick < 0.6
        ? random() * 60
        : pick < (kind.compacts ? 0.7 : 0.9)
          ? random() * 1500
          : random() * (large && pick > 0.96 ? 90_000 : 9000);
    return `${serial}:${kind.compressed === true ? halves(size) : "x".repeat(Math.floor(size))}`;
  };
  /** Text whose every part stands there twice. */
  const halves = (size: number): string => {
    let text = "";
    while (text.length < size) text += random().toString(36).slice(2).repeat(2);
    return text.slice(0, size);
  };
  const issue = (commit: Map<string, string | undefined>): number => {
    progress.issued = history.add(commit);
    mark();
    return progress.issued;
  };
  const auto = kind.compacts && random() < 0.5;
  let store = await mount(device, kind, auto);
  const pending: Promise<unknown>[] = [];
  let freed = 0;
  let checkpoints = 0;
  /** Does what was issued last, unless a full device refuses it: then it never was. */
  const attempt = (write: () => void): void => {
    try {
      write();
    } catch (error) {
      if (!(error instanceof CairnError) || error.code !== "NO_SPACE" || kind.growable) throw error;
      history.commits.pop();
      progress.issued -= 1;
      mark();
    }
  };
  /** The same for a write that gives a promise. */
  const attemptDurable = (number: number, write: () => Promise<unknown>): void => {
    const before = store.stats().version;
    const written = write();
    let durable = number;
    if (store.stats().version === before) {
      // Refused, or nothing to do: either way the state is the one before.
      history.commits.pop();
      progress.issued -= 1;
      durable -= 1;
      mark();
    }
    pending.push(
      written.then(
        () => acknowledge(durable),
        (error) => {
          if (error.code !== "NO_SPACE" || kind.growable) throw error;
        },
      ),
    );
  };
  for (let i = 0; i < kind.ballast; i++) {
    const v = `${i}`.padEnd(40_000, "b");
    issue(new Map([[`ballast:${i}`, v]]));
    attempt(() => store.set(`ballast:${i}`, v));
  }
  for (let i = 0; i < kind.operations; i++) {
    if (kind.compacts) await store.compact({ maxMs: 1e-9 });
    if (kind.compacts && random() < 0.03) {
      // More than the write buffer takes: blocks of a group are on the device before it has an end.
      for (let n = 40 + Math.floor(random() * 60); n > 0; n--) {
        const k = key();
        const v = `${n}`.padEnd(3800, "z");
        issue(new Map([[k, v]]));
        attempt(() => store.set(k, v));
      }
    }
    if (kind.grows === true) {
      for (let n = 0; n < 6; n++) {
        const v = `${i},${n}`.padEnd(3000, "g");
        issue(new Map([[`grow:${i},${n}`, v]]));
        store.set(`grow:${i},${n}`, v);
      }
      await turns();
    }
    if (kind.checkpoints === true && random() < 0.3) await turns();
    if (kind.breathes === true && random() < 0.25) {
      for (let n = 0; n < 12; n++) {
        const k = `breath:${n}`;
        const v = random() < 0.4 ? undefined : `${i},${n}`.padEnd(30_000 * (1 + (n & 1)), "y");
        issue(new Map([[k, v]]));
        if (v === undefined) store.delete(k);
        else store.set(k, v);
      }
      for (let n = 11; n >= 0 && random() < 0.9; n--) {
        issue(new Map([[`breath:${n}`, undefined]]));
        store.delete(`breath:${n}`);
      }
      const number = progress.issued;
      await store.compact({ full: true });
      // It makes everything durable that was written before it.
      acknowledge(number);
    }
    const pick = random();
    if (pick < 0.35) {
      const way = random();
      const k = way < 0.2 ? `n:${Math.floor(random() * 4)}` : key();
      if (way < 0.2) {
        const n = BigInt(store.get(k) ?? 0) + BigInt(i);
        issue(new Map([[k, `${n}`]]));
        attempt(() => store.increment(k, BigInt(i)));
      } else if (way < 0.4) {
        const piece = value();
        issue(new Map([[k, `${store.get(k) ?? ""}${piece}`]]));
        attempt(() => store.append(k, piece));
      } else {
        const v = value();
        issue(new Map([[k, v]]));
        // An expiry that is far off, and a timestamp, ride along.
        attempt(() =>
          store.set(k, v, way < 0.6 ? { expiresIn: 1e9 } : way < 0.7 ? { expiresIn: 1e9, timestamp: i } : {}),
        );
      }
    } else if (pick < 0.5) {
      const k = key();
      issue(new Map([[k, undefined]]));
      // A record whose time is over is as good as a deletion, and makes one later.
      if (random() < 0.3) attempt(() => store.set(k, value(), { expiresAt: 1 }));
      else attempt(() => store.delete(k));
    } else if (pick < 0.65) {
      const k = key();
      const v = value();
      const number = issue(new Map([[k, v]]));
      attemptDurable(number, () => store.put(k, v));
    } else if (pick < 0.75) {
      const commit = new Map<string, string | undefined>();
      const list: ({ type: "set"; key: string; value: string } | { type: "delete"; key: string })[] = [];
      for (let n = 1 + Math.floor(random() * 6); n > 0; n--) {
        const k = key();
        if (random() < 0.7) {
          const v = value();
          commit.set(k, v);
          list.push({ type: "set", key: k, value: v });
        } else {
          commit.set(k, undefined);
          list.push({ type: "delete", key: k });
        }
      }
      const number = issue(commit);
      attemptDurable(number, () => store.batch(list));
    } else if (pick < 0.83) {
      const number = progress.issued;
      store.flushSync();
      acknowledge(number);
    } else if (pick < 0.95) {
      const jobs = Math.floor(random() * 12);
      for (let t = 0; t < jobs; t++) await Promise.resolve();
      // Superblocks and checkpoints leave in turns of the event loop.
      if (random() < 0.4) await turns();
    } else if (pick < 0.97) {
      await Promise.all(pending);
    } else {
      const number = progress.issued;
      freed += store.stats().freedSegmentCount;
      checkpoints += store.stats().checkpointMadeCount;
      await store.close();
      acknowledge(number);
      store = await mount(device, kind, auto);
    }
  }
  freed += store.stats().freedSegmentCount;
  checkpoints += store.stats().checkpointMadeCount;
  if (random() < 0.5) await store.close();
  else await Promise.all(pending);
  return { device, history, freed, checkpoints };
}

function contents(store: Store): Map<string, string> {
  const found = new Map<string, string>();
  let before = "";
  for (const [key, value] of store.entries()) {
    if (key <= before) throw new Error(`keys out of order: ${before} before ${key}`);
    before = key;
    found.set(key, value);
  }
  for (const [key, value] of found) {
    if (store.get(key) !== value) throw new Error(`get and entries disagree about ${key}`);
  }
  if (store.count() !== found.size) throw new Error(`count is ${store.count()}, entries are ${found.size}`);
  return found;
}

/** The first few keys in which two states differ, for messages. */
function difference(expected: ReadonlyMap<string, string>, found: ReadonlyMap<string, string>): string {
  const short = (value: string | undefined): string =>
    value === undefined ? "absent" : `${value.slice(0, 8)}(${value.length})`;
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter((key) => expected.get(key) !== found.get(key))
    .slice(0, 6)
    .map((key) => `${key} expected ${short(expected.get(key))}, found ${short(found.get(key))}`)
    .join("; ");
}

/** Mounts an image and checks it: how many commits it holds. Mounting what recovery left must change nothing. */
async function check(
  image: Uint8Array,
  history: History,
  progress: Progress,
  random: () => number,
  depth: number,
  kind: Kind,
): Promise<number> {
  const device = new RecordingDevice(image, random, kind.growable);
  let store: Store;
  try {
    store = await mount(device, kind);
  } catch (cause) {
    // What a power cut left of a formatting that never ended is no store, and nothing was lost with it.
    if (progress.issued === 0 && cause instanceof CairnError && HALF_FORMATTED.includes(cause.code)) return 0;
    throw cause;
  }
  if (random() < VERIFY_SHARE) {
    // A power cut may leave a copy of the superblock half written; the next one replaces it.
    const faults = (await store.verify()).faults.filter(({ kind }) => kind !== "superblock");
    if (faults.length > 0) throw new Error(`what was recovered is not sound: ${JSON.stringify(faults.slice(0, 3))}`);
  }
  // A crash damages no checkpoint that a superblock names.
  if (store.stats().checkpointFallbackCount > 0) throw new Error("a checkpoint was damaged");
  const found = contents(store);
  const count = history.find(found, progress.acknowledged, progress.issued);
  if (count < 0) {
    const nearest = history.nearest(found);
    throw new Error(
      `the recovered state is none of the states ${progress.acknowledged} to ${progress.issued}, nearest is ${nearest}: ` +
        difference(history.state(nearest), found),
    );
  }
  if (depth > 0) {
    // A crash in the midst of recovery loses nothing either: what was recovered may not be less than before.
    const images = new CrashImages(image, device.events);
    const at = Math.floor(random() * (device.events.length + 1));
    images.advance(at);
    const mode = CRASH_MODES[Math.floor(random() * CRASH_MODES.length)] as (typeof CRASH_MODES)[number];
    await check(images.image(mode, random), history, progress, random, depth - 1, kind);
  }
  const again = await mount(new RecordingDevice(device.snapshot(), random, kind.growable), kind);
  if (history.find(contents(again), count, count) < 0) throw new Error("mounting again gave another state");
  // What is written after a recovery survives the next one.
  try {
    store.set("after", "recovery");
    found.set("after", "recovery");
  } catch (error) {
    if (kind.growable || !(error instanceof CairnError) || error.code !== "NO_SPACE") throw error;
    // A device that is full still deletes.
    const [key] = found.keys();
    if (key === undefined || !store.delete(key)) throw error;
    found.delete(key);
  }
  if (kind.compacts && random() < 0.5) await store.compact({ full: true });
  store.flushSync();
  const later = await mount(new RecordingDevice(device.snapshot(), random, kind.growable), kind);
  const after = contents(later);
  if (difference(found, after) !== "") throw new Error(`after a write and a recovery: ${difference(found, after)}`);
  return count;
}

/** Where in its record a device was made smaller. */
function cutsOf(device: RecordingDevice): number[] {
  let size = 0;
  const cuts: number[] = [];
  for (const [index, event] of device.events.entries()) {
    if (event.type !== "resize") continue;
    if (event.size < size) cuts.push(index);
    size = event.size;
  }
  return cuts;
}

/** Superblocks that the host wrote beside everything else. */
function superblocksFlown(device: RecordingDevice): number {
  return device.events.filter((event) => event.type === "write" && event.isAsync && event.offset < MIB).length;
}

/** Summaries of packed checkpoints that were written. */
function packedSummaries(device: RecordingDevice): number {
  let count = 0;
  for (const event of device.events) {
    if (event.type !== "write" || event.offset < MIB) continue;
    const view = new DataView(event.bytes.buffer, event.bytes.byteOffset, event.bytes.byteLength);
    for (let at = 56; at + 8 <= view.byteLength; at += 4096) {
      if (view.getUint32(at, true) === 0x504b4343 && view.getUint32(at + 4, true) === 2) count++;
    }
  }
  return count;
}

/** What crashing a run came to. */
interface Crashed {
  mounted: number;
  freed: number;
  checkpoints: number;
  cuts: number;
  flown: number;
  packed: number;
}

async function crashEverywhere(seed: number, kind: Kind): Promise<Crashed> {
  const { device, history, freed, checkpoints } = await run(seed, kind);
  const random = randomFrom(seed ^ 0x5eed);
  const images = new CrashImages(new Uint8Array(kind.size), device.events);
  const cuts = cutsOf(device);
  let progress: Progress = { acknowledged: 0, issued: 0 };
  let mounted = 0;
  for (let position = 1; position <= device.events.length; position++) {
    const event = device.events[position - 1] as (typeof device.events)[number];
    images.advance(position);
    if (event.type === "mark") progress = event.mark as Progress;
    // All steps of some cuts, and what follows them until the next sync.
    const cutting = cuts.some((cut, index) => index % 4 === 0 && position > cut - 9 && position < cut + 6);
    if (event.type === "mark" || random() > (cutting ? 1 : kind.share)) continue;
    // A crash between an issue and its write may also find the commit that was being issued.
    for (const mode of ["all", CRASH_MODES[Math.floor(random() * CRASH_MODES.length)] as "all"] as const) {
      const image = images.image(mode, random);
      if (image.length < MIB) continue;
      try {
        await check(image, history, progress, random, random() < 0.3 ? 2 : 0, kind);
      } catch (cause) {
        throw new Error(`seed ${seed}, crash after event ${position} of ${device.events.length}, mode ${mode}`, {
          cause,
        });
      }
      mounted += 1;
    }
  }
  const flown = superblocksFlown(device);
  return { mounted, freed, checkpoints, cuts: cuts.length, flown, packed: packedSummaries(device) };
}

const { CAIRN_SEED, CAIRN_CRASH_RUNS } = process.env;
const SEED = Number(CAIRN_SEED ?? Math.floor(Math.random() * 1_000_000));
/** How many runs of each kind are crashed: fewer where the store is tested on a further runtime, one for a given seed. */
const RUNS = Number(CAIRN_CRASH_RUNS ?? (CAIRN_SEED === undefined ? 3 : 1));

/** What each look at the clock takes: steps end after so many looks on every machine. */
const LOOK_MS = 1 / 1024;

beforeEach(() => {
  let nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => {
    nowMs += LOOK_MS;
    return nowMs;
  });
});
afterEach(() => void vi.restoreAllMocks());

for (const kind of KINDS) {
  test(`every prefix of a recorded run mounts as a state between acknowledged and issued (${kind.name}, seed ${SEED})`, async () => {
    let mounted = 0;
    let freed = 0;
    let checkpoints = 0;
    let cuts = 0;
    let flown = 0;
    let packed = 0;
    for (let i = 0; i < RUNS; i++) {
      const result = await crashEverywhere(SEED + i, kind);
      mounted += result.mounted;
      freed += result.freed;
      checkpoints += result.checkpoints;
      cuts += result.cuts;
      flown += result.flown;
      packed += result.packed;
    }
    expect(mounted).toBeGreaterThan(20 * RUNS);
    // Segments were used anew, or no crash could have met it.
    if (kind.compacts) expect(freed).toBeGreaterThan(2 * RUNS);
    if (kind.checkpoints === true) expect(checkpoints).toBeGreaterThan(2 * RUNS);
    if (kind.grows === true || (kind.checkpoints === true && kind.growable)) expect(flown).toBeGreaterThan(2 * RUNS);
    if (kind.longKeys === true) expect(packed).toBeGreaterThan(2 * RUNS);
    if (kind.breathes === true) expect(cuts).toBeGreaterThan(2 * RUNS);
  }, 600_000);
}
